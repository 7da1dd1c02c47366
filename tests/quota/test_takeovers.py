"""Taking over what runs: a department's in one act, resting on a document, by two where it is much."""

from __future__ import annotations

from typing import Any

import pytest

from quota.actors import steward
from quota.directory import Adjustment, reorganisations
from quota.errors import Conflict, Invalid, NotAllowed, OverCapacity, WrongState
from quota.inventory import Resource, takeovers
from quota.inventory.takeovers import Takeover, TakeoverState, Threshold
from quota.ledger import Holder
from quota.requests import kinds
from quota.requests.asks import Line
from quota.units import MEMORY, VCPU
from tests.city import GB, City
from tests.quota.conftest import CPU

PAPER = "市数据局〔2026〕12 号《存量政务云资源接管清单》"
SHAPE = {VCPU: 8, MEMORY: 16 * GB}


@pytest.fixture
def running(town: City) -> list[int]:
    """Three machines that nobody approved: two of the bureau's, one of the neighbour's."""
    bare: dict[str, Any] = {"basis": "", "booked": {}}
    return [
        town.standing_machine(SHAPE, "a", **bare),
        town.standing_machine(SHAPE, "b", **bare),
        town.standing_machine(SHAPE, "c", department_id=town.neighbour, **bare),
    ]


def propose(town: City, ids: list[int], by: str = "checker", **other: Any) -> Takeover:
    given: dict[str, Any] = {"key": "k", "document": PAPER, "department_id": town.bureau} | other
    with town.book.transaction(town.people[by]) as tx:
        return takeovers.propose(tx, given.pop("department_id"), given.pop("document"), ids, **given)


def confirm(town: City, takeover: Takeover, by: str = "reviewer", generation: int = 1) -> Takeover:
    with town.book.transaction(town.people[by]) as tx:
        return takeovers.confirm(tx, takeover.id, generation)


def counted(town: City) -> dict[str, int]:
    town.prove()
    found = {holder.value: town.balance(holder, CPU) for holder in (Holder.FREE, Holder.GRANTED, Holder.USED)}
    return {name: amount for name, amount in found.items() if amount}


def basis(town: City, resource_id: int) -> tuple[str, dict[str, int]]:
    with town.book.reading() as tx:
        found = tx.get_one(Resource, resource_id)
        return found.basis, found.booked


def test_what_would_be_taken_over_is_told_with_what_stands_in_the_way(town: City, running: list[int]) -> None:
    town.standing_machine({}, "odd", basis="", booked={})
    town.standing_machine({VCPU: 500}, "huge", pool_id=town.x86, basis="", booked={})
    with town.book.reading() as tx:
        told = takeovers.preview(tx, town.bureau, threshold=Threshold(3))
        assert [one.name for one in told.resources] == ["a", "b", "odd", "huge"]
        assert [one.name for one in told.shapeless] == ["odd"]
        assert [(one.pool.id, one.commodity.kind, one.need, one.have) for one in told.short] == [
            (town.x86, VCPU, 500, 100)
        ]
        assert told.signatures == 2
        assert [one.name for one in takeovers.preview(tx, town.bureau, pool_ids=[town.arm]).resources] == [
            "a",
            "b",
            "odd",
        ]
    assert counted(town) == {"free": 200}


def test_a_department_is_taken_over_at_once_and_is_as_if_it_had_asked(town: City, running: list[int]) -> None:
    takeover = propose(town, running[:2])
    assert (takeover.state, takeover.decided_by) == (TakeoverState.BOOKED, "checker")
    assert counted(town) == {"free": 184, "used": 16}
    assert basis(town, running[0]) == (takeover.subject, {"vcpu": 8, "memory": 16 * GB})
    assert basis(town, running[2]) == ("", {})
    assert propose(town, running[:2]).id == takeover.id  # a form sent twice
    assert counted(town) == {"free": 184, "used": 16}
    with pytest.raises(Conflict, match=r"key\.reused"):
        propose(town, running[:1])
    request = town.submit(kinds.UNSUBSCRIBE, resource_id=running[0], lines=[Line(current=SHAPE, service="vm")])
    town.hand_over(town.approve(request))
    assert counted(town) == {"free": 184, "granted": 8, "used": 8}


def test_much_wants_two_persons(town: City, running: list[int]) -> None:
    takeover = propose(town, running[:2], threshold=Threshold(1))
    assert takeover.state == TakeoverState.PROPOSED
    assert counted(town) == {"free": 200}
    with pytest.raises(NotAllowed, match=r"takeover\.same_person"):
        confirm(town, takeover, "checker")
    for who in ("clerk", "operator", "auditor"):
        with pytest.raises(NotAllowed):
            confirm(town, takeover, who)
    with pytest.raises(Conflict, match=r"takeover\.stale"):
        confirm(town, takeover, generation=7)
    done = confirm(town, takeover)
    assert (done.state, done.proposed_by, done.decided_by) == (TakeoverState.BOOKED, "checker", "reviewer")
    assert counted(town) == {"free": 184, "used": 16}
    with pytest.raises(WrongState, match=r"takeover\.decided"):
        confirm(town, takeover, "chief", generation=2)


def test_what_changed_since_it_was_proposed_is_not_booked(town: City, running: list[int]) -> None:
    takeover = propose(town, running[:2], threshold=Threshold(1))
    with town.book.transaction(steward()) as tx:
        tx.get_one(Resource, running[1]).amounts = {"vcpu": 32}
    with pytest.raises(Conflict, match=r"takeover\.changed"):
        confirm(town, takeover)
    with town.book.transaction(steward()) as tx:
        tx.get_one(Resource, running[1]).gone_at = tx.now
    with pytest.raises(Invalid, match=r"takeover\.not_open"):
        confirm(town, takeover)
    with town.book.transaction(town.people["chief"]) as tx:
        with pytest.raises(Invalid, match=r"reason\.missing"):
            takeovers.withdraw(tx, takeover.id, 1, " ")
        assert takeovers.withdraw(tx, takeover.id, 1, "清单有误").state == TakeoverState.WITHDRAWN
    assert propose(town, running[:1], key="again").state == TakeoverState.BOOKED
    assert counted(town) == {"free": 192, "used": 8}


@pytest.mark.parametrize(
    ("which", "other", "code"),
    [
        ([0], {"document": " "}, "takeover.document"),
        ([0], {"document": "长" * 201}, "takeover.document_long"),
        ([], {}, "takeover.empty"),
        ([0, 2], {}, "takeover.not_open"),
        ([0, 99], {}, "takeover.not_open"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_whole(town: City, running: list[int], which, other, code) -> None:
    ids = [running[n] if n < len(running) else 999 for n in which]
    with pytest.raises(Invalid) as refusal:
        propose(town, ids, **other)
    assert refusal.value.code == code
    assert refusal.value.params["field"]
    assert counted(town) == {"free": 200}
    assert basis(town, running[0]) == ("", {})


def test_more_than_the_pool_was_equipped_with_is_refused_whole(town: City, running: list[int]) -> None:
    huge = town.standing_machine({VCPU: 500}, "huge", basis="", booked={})
    with pytest.raises(OverCapacity):
        propose(town, [running[0], huge])
    assert counted(town) == {"free": 200}
    with pytest.raises(NotAllowed):
        propose(town, running[:1], by="clerk")


def test_a_proposal_goes_with_a_merged_department(town: City, running: list[int]) -> None:
    takeover = propose(town, running[:2], threshold=Threshold(1))
    with town.book.transaction(town.people["chief"]) as tx:
        reorganisations.reorganise(tx, Adjustment.MERGE, town.bureau, town.neighbour, reason="机构改革", key="m")
    assert confirm(town, takeover).department_id == town.neighbour
    with town.book.reading() as tx:
        assert {tx.get_one(Resource, one).department_id for one in running} == {town.neighbour}
    town.prove()
