"""Taking over what runs: a department's in one act, resting on a document, by two where it is much."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from quota.actors import steward
from quota.directory import Adjustment, Department, System, city, reorganisations
from quota.errors import Conflict, Invalid, NotAllowed, OverCapacity, WrongState
from quota.inventory import Resource, takeovers
from quota.inventory.takeovers import Takeover, TakeoverState, Threshold
from quota.ledger import Holder
from quota.requests import kinds
from quota.requests.asks import Line
from quota.units import BLOCK, MEMORY, VCPU
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


def test_a_whole_pool_is_taken_over_in_one_act(town: City, running: list[int]) -> None:
    town.standing_machine(SHAPE, "nobody's", department_id=None, basis="", booked={})
    with town.book.reading() as tx:
        seen = takeovers.preview(tx, None, pool_ids=[town.arm])
        assert [one.id for one in seen.resources] == running
        assert [(one.department.id, one.resources) for one in seen.shares] == [(town.bureau, 2), (town.neighbour, 1)]
    takeover = propose(town, running, department_id=None, pool_id=town.arm)
    assert (takeover.state, takeover.resources, takeover.department_id) == (TakeoverState.BOOKED, 3, None)
    assert takeover.shares == [[town.bureau, 2, {"vcpu": 16, "memory": 32 * GB}], [town.neighbour, 1, {"vcpu": 8, "memory": 16 * GB}]]  # fmt: skip
    assert takeover.approved()[VCPU] == 24
    assert {basis(town, one)[0] for one in running} == {takeover.subject}
    town.prove()
    assert propose(town, running, department_id=None).id == takeover.id
    with pytest.raises(Conflict, match=r"key\.reused"):
        propose(town, running)


def test_a_pool_wants_two_persons_and_books_for_whoever_has_it_by_then(town: City, running: list[int]) -> None:
    takeover = propose(town, running, department_id=None, threshold=Threshold(1))
    with town.book.transaction(town.people["chief"]) as tx:
        reorganisations.reorganise(tx, Adjustment.MERGE, town.bureau, town.neighbour, reason="机构改革", key="m")
    assert confirm(town, takeover).state == TakeoverState.BOOKED
    with town.book.reading() as tx:
        assert {tx.get_one(Resource, one).department_id for one in running} == {town.neighbour}
    town.prove()


def test_what_nobody_owns_is_not_taken_over(town: City, running: list[int]) -> None:
    stray = town.standing_machine(SHAPE, "stray", department_id=None, basis="", booked={})
    with pytest.raises(Invalid, match=r"takeover\.not_open"):
        propose(town, [*running, stray], department_id=None)
    assert counted(town) == {"free": 200}


@pytest.mark.parametrize(
    ("limits", "signatures"),
    [
        (Threshold(2), 1),
        (Threshold(1), 2),
        (Threshold(None, vcpu=16), 1),
        (Threshold(None, vcpu=15), 2),
        (Threshold(None, None, memory_gb=32), 1),
        (Threshold(None, None, memory_gb=31), 2),
        (Threshold(None, None, None, storage_gb=99), 2),
        (Threshold(None, None, None, storage_gb=100), 1),
    ],
)
def test_much_is_counted_by_amounts_as_well(town: City, limits: Threshold, signatures: int) -> None:
    bare: dict[str, Any] = {"basis": "", "booked": {}}
    town.standing_machine({**SHAPE, BLOCK: 60}, "a", **bare)
    town.standing_machine({**SHAPE, BLOCK: 40}, "b", **bare)
    with town.book.reading() as tx:
        assert takeovers.preview(tx, town.bureau, threshold=limits).signatures == signatures


def test_the_city_says_how_much_is_much(town: City, running: list[int]) -> None:
    with town.book.reading() as tx:
        assert takeovers.city_threshold(tx) == takeovers.THRESHOLD
    for who, limits, code in (
        ("checker", {"resources": 1}, None),
        ("sysadmin", {"resources": 1}, None),
        ("chief", {"resources": -1}, "city.limit"),
        ("chief", {"colour": 1}, "city.field"),
        ("chief", dict.fromkeys(("resources", "vcpu", "memory_gb", "storage_gb")), "city.no_limit"),
    ):
        with town.book.transaction(town.people[who]) as tx:
            with pytest.raises((NotAllowed, Invalid)) as refusal:
                city.limit_takeovers(tx, limits)
            assert code is None or refusal.value.code == code
    with town.book.transaction(town.people["chief"]) as tx:
        city.limit_takeovers(tx, {"resources": None, "vcpu": 15})
        assert takeovers.city_threshold(tx) == Threshold(None, 15)
    assert propose(town, running[:1], key="one").state == TakeoverState.BOOKED
    assert propose(town, running[1:], key="two", department_id=None).state == TakeoverState.PROPOSED


def test_nobody_cuts_much_into_pieces(town: City, running: list[int], clock: Any) -> None:
    limits = Threshold(2)
    assert propose(town, running[:1], key="one", threshold=limits).state == TakeoverState.BOOKED
    assert propose(town, running[1:2], key="two", threshold=limits).state == TakeoverState.BOOKED
    with town.book.reading(town.people["checker"]) as tx:
        assert takeovers.preview(tx, town.neighbour, threshold=limits).signatures == 2
    with town.book.reading(town.people["reviewer"]) as tx:
        assert takeovers.preview(tx, town.neighbour, threshold=limits).signatures == 1
    third = propose(town, running[2:], key="three", department_id=town.neighbour, threshold=limits)
    assert third.state == TakeoverState.PROPOSED
    confirm(town, third)  # what two persons signed is nobody's alone
    clock.advance(days=1)
    more = town.standing_machine(SHAPE, "more", basis="", booked={})
    assert propose(town, [more], key="four", threshold=limits).state == TakeoverState.BOOKED


def test_what_speaks_against_it_is_told_and_what_bars_it_refuses(town: City, running: list[int]) -> None:
    with town.book.transaction(steward()) as tx:
        tx.get_one(Resource, running[0]).department_code = tx.get_one(Department, town.neighbour).code
        system = tx.scalars(select(System).where(System.department_id == town.neighbour)).first()
        system = system or System(code="n1", name="邻局门户", department_id=town.neighbour)
        tx.add(system)
        tx.flush()
        tx.get_one(Resource, running[1]).system_id = system.id
    waits = propose(town, running[2:], department_id=town.neighbour, threshold=Threshold(0), key="first")
    with town.book.reading() as tx:
        told = takeovers.preview(tx, None).conflicts
        assert [(one.resource.id, one.barring) for one in told] == [
            (running[0], False), (running[1], False), (running[2], True),
        ]  # fmt: skip
    with pytest.raises(Invalid, match=r"takeover\.conflict"):
        propose(town, running, department_id=None, key="second")
    assert propose(town, running[:2], key="third").state == TakeoverState.BOOKED
    confirm(town, waits)
    town.prove()
