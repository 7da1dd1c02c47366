"""Loans: conserved, guaranteed, called back with notice, home by themselves, and nothing that runs is harmed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from quota.actors import Role, steward
from quota.db import Tx
from quota.directory import departments
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, OverCapacity, WrongState
from quota.ledger import allotments, entries, lending
from quota.ledger.allotments import Act, Allotment
from quota.ledger.lending import Loan, LoanState
from quota.ledger.tables import Holder, Side
from quota.requests import kinds, submission
from quota.requests.asks import Ask, Line
from quota.units import VCPU
from tests.city import GB, City
from tests.quota.conftest import CPU, MEM

DAY = timedelta(days=1)


@pytest.fixture
def rich(town: City) -> City:
    """The bureau has 40 vCPU and 80 GB that it does not use."""
    town.grant({CPU: 40, MEM: 80 * GB}, "rich")
    return town


def offered(town: City, amount: int = 20, by: str = "clerk", **other: Any) -> Loan:
    terms: dict[str, Any] = {"days": 30, "guaranteed_days": 10, "notice_days": 5, "reason": "重保期间互助", "key": "l"}
    terms |= other
    with town.book.transaction(town.people[by]) as tx:
        return lending.offer(tx, town.arm, CPU, amount, town.bureau, town.neighbour, **terms)


def lent(town: City, amount: int = 20, **other: Any) -> Loan:
    one = offered(town, amount, **other)
    with town.book.transaction(town.people["stranger"]) as tx:
        return lending.accept(tx, one.id, generation=one.generation)


@contextmanager
def acting(town: City, by: str | None = None) -> Iterator[Tx]:
    with town.book.transaction(town.people[by] if by else steward()) as tx:
        yield tx


def has(town: City, holder: Holder, department_id: int) -> int:
    town.prove()
    with town.book.reading() as tx:
        return entries.balance(tx, Side(town.arm, CPU, holder, department_id))


def test_lending_moves_quota_and_keeps_the_sum(rich: City) -> None:
    one = offered(rich)
    assert has(rich, Holder.GRANTED, rich.bureau) == 40  # an offer moves nothing
    one = lent(rich)
    assert one.state == LoanState.ACTIVE
    assert one.ends_at is not None
    assert one.began_at is not None
    assert one.ends_at - one.began_at == 30 * DAY
    assert has(rich, Holder.GRANTED, rich.bureau) == 20
    assert has(rich, Holder.LENT, rich.neighbour) == 20


def test_what_is_borrowed_is_taken_up_after_ones_own(rich: City) -> None:
    lent(rich)
    with acting(rich) as tx:
        entries.grant(tx, rich.arm, rich.neighbour, {CPU: 4, MEM: 64 * GB}, key="own")
    request = rich.submit(kinds.CREATE, by="stranger", department_id=rich.neighbour)  # 8 vCPU
    assert not request.facts["over_quota"]
    assert has(rich, Holder.GRANTED, rich.neighbour) == 0
    assert has(rich, Holder.LENT, rich.neighbour) == 16
    assert has(rich, Holder.HELD, rich.neighbour) == 8
    with acting(rich, "stranger") as tx:
        submission.withdraw(tx, request.id, generation=request.generation, reason="不需要了")
    assert has(rich, Holder.LENT, rich.neighbour) == 20
    assert has(rich, Holder.GRANTED, rich.neighbour) == 4


def test_the_term_ends_and_it_goes_home_by_itself(rich: City, clock: Any) -> None:
    one = lent(rich)
    clock.advance(days=29)
    with acting(rich) as tx:
        assert lending.settle(tx) == []
    clock.advance(days=1)
    with acting(rich) as tx:
        assert [loan.id for loan in lending.settle(tx)] == [one.id]
    with acting(rich) as tx:
        assert lending.settle(tx) == []
        assert lending.loan(tx, one.id).state == LoanState.RETURNED
    assert has(rich, Holder.GRANTED, rich.bureau) == 40
    assert has(rich, Holder.LENT, rich.neighbour) == 0


def test_what_runs_is_not_harmed_and_the_rest_is_overdue(rich: City, clock: Any) -> None:
    one = lent(rich)
    with acting(rich) as tx:  # the neighbour uses 12 of the 20
        holds = entries.hold(
            tx,
            rich.arm,
            rich.neighbour,
            {CPU: 12},
            key="h",
            subject="request:0",
            source=Holder.LENT,
            target=Holder.USED,
        )
        entries.post(tx, holds, key="p")
    clock.advance(days=31)
    with acting(rich) as tx:
        lending.settle(tx)
        late = lending.loan(tx, one.id)
        assert (late.state, late.outstanding) == (LoanState.OVERDUE, 12)
    assert has(rich, Holder.USED, rich.neighbour) == 12  # untouched
    assert has(rich, Holder.GRANTED, rich.bureau) == 28
    with acting(rich) as tx:
        entries.release(tx, rich.arm, rich.neighbour, {CPU: 5}, key="smaller")
        assert len(lending.settle(tx)) == 1
    assert has(rich, Holder.GRANTED, rich.neighbour) == 0
    assert has(rich, Holder.GRANTED, rich.bureau) == 33
    with acting(rich) as tx:
        entries.release(tx, rich.arm, rich.neighbour, {CPU: 7}, key="gone")
        lending.settle(tx)
        assert lending.loan(tx, one.id).state == LoanState.RETURNED
    assert has(rich, Holder.GRANTED, rich.bureau) == 40


@pytest.mark.parametrize(
    ("after", "ends"),
    [(1, 10), (8, 13), (28, 30)],  # within the guaranteed time; after its notice; the term comes first
)
def test_a_recall_gives_notice_and_keeps_the_guarantee(rich: City, clock: Any, after: int, ends: int) -> None:
    one = lent(rich)
    began = one.began_at
    assert began is not None
    clock.advance(days=after)
    with acting(rich, "clerk") as tx:
        back = lending.recall(tx, one.id, generation=one.generation, reason="本单位扩容")
        assert back.ends_at == began + ends * DAY
        assert back.state == LoanState.RECALLED
    clock.now = began + ends * DAY - timedelta(seconds=1)
    with acting(rich) as tx:
        assert lending.settle(tx) == []
    clock.advance(seconds=1)
    with acting(rich) as tx:
        assert len(lending.settle(tx)) == 1


def test_the_borrower_gives_back_early_and_in_parts(rich: City) -> None:
    one = lent(rich)
    with acting(rich, "stranger") as tx:
        one = lending.give_back(tx, one.id, 5, generation=one.generation)
        assert (one.outstanding, one.state) == (15, LoanState.ACTIVE)
        one = lending.give_back(tx, one.id, generation=one.generation)
        assert one.state == LoanState.RETURNED
    assert has(rich, Holder.GRANTED, rich.bureau) == 40


def test_giving_back_what_is_in_use_is_refused_whole(rich: City) -> None:
    one = lent(rich)
    with acting(rich) as tx:
        entries.hold(
            tx, rich.arm, rich.neighbour, {CPU: 12}, key="h", subject="r:0", source=Holder.LENT, target=Holder.USED
        )
    with pytest.raises(OverCapacity) as refusal, acting(rich, "stranger") as tx:
        lending.give_back(tx, one.id, generation=one.generation)
    assert refusal.value.code == "loan.in_use"
    assert has(rich, Holder.LENT, rich.neighbour) == 8


def test_borrowed_quota_cannot_be_made_ones_own(rich: City) -> None:
    lent(rich)
    with pytest.raises(Invalid), acting(rich) as tx:
        entries.hold(
            tx, rich.arm, rich.neighbour, {CPU: 1}, key="h", subject="r", source=Holder.LENT, target=Holder.GRANTED
        )


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"days": 0}, "loan.days"),
        ({"days": 400}, "loan.days"),
        ({"guaranteed_days": 31}, "loan.guaranteed"),
        ({"notice_days": -1}, "loan.notice"),
        ({"reason": "  "}, "reason.missing"),
        ({"amount": 0}, "transfer.amount"),
    ],
)
def test_terms_make_sense(rich: City, terms: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as refusal:
        offered(rich, **terms)
    assert refusal.value.code == code


def test_nobody_lends_what_he_has_not(rich: City) -> None:
    with pytest.raises(OverCapacity):
        offered(rich, 41)
    one = offered(rich, 30)
    with acting(rich) as tx:  # used meanwhile
        entries.use(tx, rich.arm, rich.bureau, {CPU: 20}, key="u")
    with pytest.raises(OverCapacity), acting(rich, "stranger") as tx:
        lending.accept(tx, one.id, generation=one.generation)
    assert has(rich, Holder.GRANTED, rich.bureau) == 20


def test_a_form_sent_twice_is_one_offer(rich: City) -> None:
    assert offered(rich).id == offered(rich).id
    with pytest.raises(Conflict):
        offered(rich, 19)


def test_who_may_do_what(rich: City) -> None:
    with pytest.raises(NotAllowed):
        offered(rich, by="stranger")
    with pytest.raises(NotAllowed):
        offered(rich, by="branch_clerk")
    with pytest.raises(NotAllowed):
        offered(rich, by="reviewer")
    one = offered(rich)
    with pytest.raises(NotAllowed), acting(rich, "clerk") as tx:
        lending.accept(tx, one.id, generation=one.generation)
    with pytest.raises(NotFound), acting(rich, "branch_clerk") as tx:
        lending.loan(tx, one.id)
    with pytest.raises(Conflict), acting(rich, "stranger") as tx:
        lending.accept(tx, one.id, generation=7)
    with acting(rich, "stranger") as tx:
        assert lending.decline(tx, one.id, generation=one.generation).state == LoanState.DECLINED
    with pytest.raises(WrongState), acting(rich, "stranger") as tx:
        lending.accept(tx, one.id, generation=2)
    other = offered(rich, key="m")
    with acting(rich, "clerk") as tx:
        assert lending.decline(tx, other.id, generation=other.generation).state == LoanState.WITHDRAWN
    assert rich.people["chief"].role is Role.AUTHORITY
    third = offered(rich, by="chief", key="n")
    with acting(rich, "chief") as tx:
        assert lending.accept(tx, third.id, generation=third.generation).state == LoanState.ACTIVE


def test_a_closed_department_borrows_nothing(rich: City) -> None:
    with acting(rich) as tx:
        departments.department(tx, rich.neighbour).active = False
    with pytest.raises(Invalid):
        offered(rich)


def test_what_is_owed_to_a_lender_goes_to_nobody_else(rich: City, clock: Any) -> None:
    lent(rich)
    with acting(rich) as tx:  # the neighbour puts it to use, and stops using it again: its granted quota by now
        entries.hold(
            tx, rich.arm, rich.neighbour, {CPU: 20}, key="h", subject="r:0", source=Holder.LENT, target=Holder.USED
        )
        entries.post(tx, entries.pending(tx, "r:0"), key="p")
        entries.release(tx, rich.arm, rich.neighbour, {CPU: 20}, key="release")
        entries.grant(tx, rich.arm, rich.neighbour, {CPU: 3}, key="own")
    with rich.book.reading() as tx:
        assert lending.own(tx, rich.arm, CPU, rich.neighbour) == 3
        assert lending.spare(tx, rich.arm, rich.neighbour, {CPU: 20}) == {CPU: 3}
    for act, target in ((Act.RECLAIM, None), (Act.MOVE, rich.bureau)):
        what = Allotment(act, rich.arm, CPU, rich.neighbour, 4, "配额清理", target)
        with pytest.raises(OverCapacity) as refusal, acting(rich, "chief") as tx:
            allotments.carry_out(tx, what, key=f"a{act}")
        assert refusal.value.params["have"] == 3
    with pytest.raises(OverCapacity), acting(rich, "stranger") as tx:  # nor is it lent on
        lending.offer(
            tx, rich.arm, CPU, 4, rich.neighbour, rich.bureau, days=5, guaranteed_days=0, notice_days=0,
            reason="转借", key="on",
        )  # fmt: skip
    ask = Ask(kinds.QUOTA, rich.neighbour, rich.arm, [Line(asked={VCPU: -4})], "系统下线,退回不再使用的配额")
    with pytest.raises(Invalid) as returned, acting(rich, "stranger") as tx:
        submission.submit(tx, submission.draft(tx, ask), generation=1)
    assert returned.value.code == "request.too_much_back"
    clock.advance(days=31)
    with acting(rich) as tx:
        (one,) = lending.settle(tx)
    assert one.state == LoanState.RETURNED
    assert has(rich, Holder.GRANTED, rich.neighbour) == 3
