"""Quota that is promised for a day to come: queued by day and order, filled as capacity comes, never beyond what there is."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from metering.cases import matching
from quota.actors import steward
from quota.calendar import ZONE
from quota.directory import Adjustment, Pool, reorganisations
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, OverCapacity, WrongState
from quota.ledger import Commitment, allotments, capacities, commitments, entries
from quota.ledger.allotments import Act, Allotment
from quota.ledger.tables import Holder, Side
from quota.requests import facts, kinds, notices, submission
from quota.requests.approvals import Decision
from quota.requests.asks import Line
from quota.requests.notices import RequestNotice
from quota.units import BLOCK, MEMORY, VCPU, Amount
from tests.city import GB, City
from tests.conftest import Clock
from tests.patience import together
from tests.quota.conftest import CPU


def day(town: City, days: int) -> date:
    return town.book.clock().astimezone(ZONE).date() + timedelta(days=days)


def promised(town: City, what: dict[Any, int], days: int, whose: int | None = None) -> int:
    """What two signatures would lead to, without them."""
    asked = town.draft(kinds.COMMITMENT, lines=[Line(asked=what)], fields={"wanted_on": str(day(town, days))})
    with town.book.transaction(steward()) as tx:
        return commitments.enter(
            tx, whose or town.bureau, town.arm, Amount(what), day(town, days), basis=asked.subject, called=asked.number
        ).id


def settled(town: City) -> tuple[list[int], list[int], list[int]]:
    with town.book.transaction(steward()) as tx:
        found = notices.settle_commitments(tx, town.arm)
        said = tuple([one.id for one in rows] for rows in (found.confirmed, found.given, found.late))
    town.prove()
    return said  # type: ignore[return-value]


def has(town: City, holder: Holder, whose: int | None = None) -> int:
    with town.book.reading() as tx:
        return entries.balance(tx, Side(town.arm, CPU, holder, whose))


def told(town: City) -> list[tuple[str, str]]:
    with town.book.reading() as tx:
        return [(one.kind, one.role) for one in tx.scalars(select(RequestNotice).order_by(RequestNotice.id))]


def equip(town: City, total: int) -> None:
    with town.book.transaction(steward()) as tx:
        capacities.equip(tx, tx.get_one(Pool, town.arm), VCPU, total, key=f"equip:{total}", reason="扩容")


def test_the_queue_is_filled_by_day_and_order_as_capacity_comes(town: City, clock: Clock) -> None:
    town.grant({CPU: 190}, "given")  # 10 of 200 vCPU are free
    late = promised(town, {VCPU: 5}, 60)
    large = promised(town, {VCPU: 40, MEMORY: GB}, 30)
    disk = promised(town, {BLOCK: 10}, 90)
    assert settled(town) == ([disk], [], []), "it wants nothing that those before it wait for"
    with town.book.reading() as tx:
        assert commitments.ahead(tx, tx.get_one(Commitment, late)) == 1
        assert commitments.outstanding(tx)[town.arm, CPU] == (45, day(town, 30), 45)
        assert commitments.waiting_for(tx, town.arm, [CPU])
        assert not commitments.waiting_for(tx, town.x86, [CPU])
    equip(town, 230)
    assert settled(town) == ([large], [], []), "40 are free: the first of the queue has them"
    assert (has(town, Holder.FREE), has(town, Holder.HELD, town.bureau)) == (0, 40)
    assert told(town) == [("confirmed", "tenant"), ("confirmed", "authority")] * 2
    with town.book.transaction(town.people["chief"]) as tx:  # freed by another: taken back
        allotments.carry_out(tx, Allotment(Act.RECLAIM, town.arm, CPU, town.bureau, 6, "闲置未用"), key="back")
    assert settled(town) == ([late], [], [])
    assert settled(town) == ([], [], [])
    before = has(town, Holder.GRANTED, town.bureau)
    clock.advance(days=30)
    assert settled(town) == ([], [large], [])
    assert (has(town, Holder.GRANTED, town.bureau), has(town, Holder.HELD, town.bureau)) == (before + 40, 5)
    assert told(town)[-2:] == [("given", "tenant"), ("given", "authority")]


def test_what_is_late_is_told_once_and_goes_on_waiting(town: City, clock: Clock) -> None:
    town.grant({CPU: 200}, "given")
    one = promised(town, {VCPU: 4}, 10)
    assert settled(town) == ([], [], [])
    clock.advance(days=10)
    assert settled(town) == ([], [], [one])
    assert settled(town) == ([], [], [])
    assert told(town) == [("short", "tenant"), ("short", "authority")]
    equip(town, 204)
    assert settled(town) == ([one], [one], []), "its day has come already"


def test_two_that_confirm_and_one_that_asks_at_once_never_have_more_than_there_is(town: City) -> None:
    town.grant({CPU: 190}, "given")
    for _each in range(5):
        passed_over(town, promised(town, {VCPU: 4}, 30))

    def confirm() -> None:
        with town.book.transaction(steward()) as tx:
            notices.settle_commitments(tx, town.arm)

    def ask() -> None:
        try:
            town.submit(kinds.QUOTA, "stranger", lines=[Line(asked={VCPU: 5})], department_id=town.neighbour)
        except OverCapacity:
            return

    together(confirm, ask, confirm)
    free, held = has(town, Holder.FREE), has(town, Holder.HELD, town.bureau)
    assert (free, held, has(town, Holder.HELD, town.neighbour)) in ((2, 8, 0), (1, 4, 5))
    with town.book.reading() as tx:
        confirmed = tx.scalars(select(Commitment.id).where(Commitment.state == "confirmed")).all()
        assert list(confirmed) == list(range(1, 1 + held // 4)), "each once, in order"
    town.prove()


def passed_over(town: City, one: int, by: str = "chief", **other: Any) -> Commitment:
    with town.book.transaction(town.people[by]) as tx:
        return notices.pass_over(tx, one, **{"generation": 1, "reason": "应急项目先行", **other})


def test_what_waits_is_served_before_what_asks_later_unless_the_authority_says_why_not(town: City) -> None:
    town.grant({CPU: 190}, "given")  # 10 of 200 vCPU are free
    before = town.submit(kinds.QUOTA, lines=[Line(asked={VCPU: 3})])
    one = promised(town, {VCPU: 12}, 30)

    def asked(amount: int, **other: Any) -> Any:
        return town.submit(
            kinds.QUOTA, "stranger", lines=[Line(asked={VCPU: amount})], department_id=town.neighbour, **other
        )

    for act in (lambda: asked(1), lambda: granted(town, 1, "g1")):
        with pytest.raises(OverCapacity) as refused:
            act()
        assert (refused.value.code, refused.value.params["have"], refused.value.params["kept"]) == (
            "capacity.promised",
            7,
            7,
        )
    town.sign(before, "checker", Decision.RETURN, reason="补充依据")
    for amount, fits in ((4, False), (2, True)):  # what it held when the other came is not asked for anew
        with town.book.transaction(town.people["clerk"]) as tx:
            seen = submission.lock(tx, before).generation
            now = submission.revise(
                tx, before.id, town.ask(kinds.QUOTA, lines=[Line(asked={VCPU: amount})]), generation=seen
            )
            if fits:
                assert submission.resubmit(tx, now, generation=now.generation).state == "in_review"
                continue
            with pytest.raises(OverCapacity):
                submission.resubmit(tx, now, generation=now.generation)
            tx.rollback()
    for by, other, wrong in (
        ("clerk", {}, NotAllowed), ("checker", {}, NotAllowed), ("chief", {"generation": 2}, Conflict), ("chief", {"reason": " "}, Invalid),
        ("chief", {"over": False}, WrongState), ("stranger", {}, NotFound),
    ):  # fmt: skip
        with pytest.raises(wrong):
            passed_over(town, one, by, **other)
    assert passed_over(town, one).passed_over_for == "应急项目先行"
    with pytest.raises(WrongState):
        passed_over(town, one, generation=2)
    assert asked(3).state == "in_review"
    granted(town, 1, "g2")
    later = promised(town, {VCPU: 4}, 60)
    assert settled(town) == ([later], [], []), "those after it in the queue go before it, too"
    assert passed_over(town, one, generation=2, over=False).passed_over_at is None
    equip(town, 201)
    with pytest.raises(OverCapacity):
        granted(town, 1, "g3")
    assert [kind for kind, _role in told(town) if kind in ("passed_over", "kept")] == ["passed_over", "kept"]
    equip(town, 212)
    assert settled(town) == ([one], [], [])


def granted(town: City, amount: int, key: str) -> None:
    with town.book.transaction(town.people["chief"]) as tx:
        allotments.carry_out(tx, Allotment(Act.GRANT, town.arm, CPU, town.bureau, amount, "统筹"), key=key)


def test_a_promise_is_called_off_by_whose_it_is(town: City) -> None:
    one = promised(town, {VCPU: 4}, 30)
    settled(town)
    with town.book.transaction(steward()) as tx, pytest.raises(WrongState, match="预占"):
        capacities.close(tx, tx.get_one(Pool, town.arm), "停用")

    def cancelled(by: str, **other: Any) -> Any:
        with town.book.transaction(town.people[by]) as tx:
            return notices.call_off(tx, one, **{"generation": 2, "reason": "不需要了", **other})

    for by, other, refused in (
        ("stranger", {}, NotFound), ("checker", {}, NotAllowed), ("clerk", {"generation": 1}, Conflict), ("clerk", {"reason": " "}, Invalid),
    ):  # fmt: skip
        with pytest.raises(refused):
            cancelled(by, **other)
    assert has(town, Holder.HELD, town.bureau) == 4
    cancelled("clerk")
    assert (has(town, Holder.FREE), has(town, Holder.HELD, town.bureau)) == (200, 0)
    with pytest.raises(WrongState):
        cancelled("chief", generation=3)
    other = promised(town, {VCPU: 400}, 30)
    with town.book.transaction(steward()) as tx, pytest.raises(WrongState, match="远期承诺"):
        capacities.close(tx, tx.get_one(Pool, town.arm), "停用")
    with town.book.transaction(town.people["chief"]) as tx:
        assert notices.call_off(tx, other, generation=1, reason="计划取消").state == "cancelled"
    assert told(town)[-2:] == [("called_off", "authority"), ("called_off", "tenant")], "each is told by the other"
    with town.book.transaction(steward()) as tx:
        capacities.close(tx, tx.get_one(Pool, town.arm), "停用")
    with pytest.raises(
        Invalid, match="已停用"
    ):  # approved after the pool went: it would hold and give what nobody may have
        promised(town, {VCPU: 4}, 30)


def test_a_merger_takes_what_was_promised_along(town: City) -> None:
    promised(town, {VCPU: 4}, 30)
    settled(town)
    promised(town, {VCPU: 400}, 40)
    with town.book.transaction(town.people["chief"]) as tx:
        reorganisations.reorganise(tx, Adjustment.MERGE, town.bureau, town.neighbour, reason="机构改革", key="m")
    with town.book.reading() as tx:
        assert set(tx.scalars(select(Commitment.department_id))) == {town.neighbour}
    assert has(town, Holder.HELD, town.neighbour) == 4
    equip(town, 700)
    assert settled(town)[0] == [2]
    assert has(town, Holder.HELD, town.neighbour) == 404


@pytest.mark.parametrize(
    ("amount", "days", "code"), [(0, 30, "request.nothing"), (4, 0, "commitment.day"), (4, 2000, "commitment.day")]
)
def test_what_is_no_promise_is_refused(town: City, amount: int, days: int, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        town.submit(
            kinds.COMMITMENT, lines=[Line(asked={VCPU: amount, MEMORY: 0})], fields={"wanted_on": str(day(town, days))}
        )
    assert refused.value.code in (code, "request.line")


def test_a_request_leads_to_a_promise_and_holds_nothing_before(town: City) -> None:
    asked = town.submit(kinds.COMMITMENT, lines=[Line(asked={VCPU: 500})], fields={"wanted_on": str(day(town, 30))})
    assert (has(town, Holder.FREE), has(town, Holder.HELD, town.bureau)) == (200, 0)
    with town.book.reading() as tx:
        assert matching.askers(tx) == [], "what is idle today serves nobody who asks for a day to come"
        line = submission.request(tx, asked.id).lines[0].id
    town.approve(asked, "checker", "reviewer")
    done = town.sign(asked, "chief", Decision.APPROVE_PART, amounts={line: {VCPU: 250}}, reason="按测算")
    assert done.state == "done"
    asks = town.draft(lines=[Line(item_id=town.item)])
    with town.book.reading() as tx:
        made = commitments.by_basis(tx, asked.subject)
        assert made is not None
        assert (made.amounts, made.called, made.wanted_on) == ({"vcpu": 250}, asked.number, day(town, 30))
        other = submission.request(tx, asks.id)
        assert facts.facts(tx, other, other.takes(), over_quota=False)["queued"] is True
    assert settled(town) == ([], [], [])
