"""The yearly demand round: entered by departments, settled and enacted by the authority, granted when its year begins."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from quota.actors import steward
from quota.directory import Adjustment, reorganisations
from quota.errors import Conflict, Invalid, NotAllowed, OverCapacity, WrongState
from quota.ledger import allocations, allotments, demands, entries, expiry
from quota.ledger.allotments import Act, Allotment
from quota.ledger.demands import Demand, RoundState
from quota.ledger.tables import Holder, Side
from tests.city import City
from tests.quota.conftest import CPU

YEAR = 2027  # the clock of the tests stands in 2026


@pytest.fixture
def asked(town: City) -> tuple[City, int]:
    """A round of the next year: the bureau asks for 60 of the 200 vCPU, its neighbour for 100."""
    with town.book.transaction(town.people["chief"]) as tx:
        round_id = demands.open_round(tx, YEAR, date(2026, 9, 30)).id
    enter(town, round_id, "clerk", town.bureau, 60)
    enter(town, round_id, "stranger", town.neighbour, 100)
    return town, round_id


def enter(town: City, round_id: int, by: str, department_id: int, amount: int) -> int:
    with town.book.transaction(town.people[by]) as tx:
        return demands.enter(tx, round_id, department_id, town.arm, CPU, amount, "峰值并发三千").id


def settle(town: City, round_id: int, *amounts: int | None) -> None:
    with town.book.transaction(town.people["chief"]) as tx:
        rows = demands.of_round(tx, round_id)
        said = {one.id: (one.generation, n) for one, n in zip(rows, amounts, strict=True) if n is not None}
        demands.settle(tx, round_id, said)


def enact(town: City, round_id: int) -> RoundState:
    with town.book.transaction(town.people["chief"]) as tx:
        return RoundState(demands.enact(tx, round_id).state)


def night(town: City) -> list[int]:
    with town.book.transaction(steward()) as tx:
        expiry.settle(tx)
        return [one.year for one in demands.begin(tx)]


def granted(town: City, department_id: int) -> int:
    town.prove()
    with town.book.reading() as tx:
        return entries.balance(tx, Side(town.arm, CPU, Holder.GRANTED, department_id))


def test_what_is_settled_is_granted_on_the_first_day_until_the_last(asked: tuple[City, int], clock: Any) -> None:
    town, round_id = asked
    settle(town, round_id, 50, 80)
    assert enact(town, round_id) == RoundState.ENACTED
    assert night(town) == []
    assert granted(town, town.bureau) == 0
    clock.advance(days=220)  # into the new year
    assert night(town) == [YEAR]
    assert night(town) == []
    assert (granted(town, town.bureau), granted(town, town.neighbour)) == (50, 80)
    with town.book.reading() as tx:
        (one,) = allocations.between(tx, None, town.bureau, town.arm, CPU)
        assert (one.amount, one.ends_on) == (50, date(YEAR, 12, 31))
    clock.advance(days=365)
    night(town)
    assert granted(town, town.bureau) == 0


def test_the_round_of_a_year_that_has_begun_is_granted_at_once(town: City) -> None:
    with town.book.transaction(town.people["chief"]) as tx:
        round_id = demands.open_round(tx, 2026, date(2026, 6, 30)).id
    enter(town, round_id, "clerk", town.bureau, 20)
    settle(town, round_id, 20)
    assert enact(town, round_id) == RoundState.GRANTED
    assert granted(town, town.bureau) == 20


def test_no_more_is_enacted_than_there_will_be(asked: tuple[City, int], clock: Any) -> None:
    """150 are out until the end of this year: 50 are free now, 200 when the next begins."""
    town, round_id = asked
    what = Allotment(Act.GRANT, town.arm, CPU, town.bureau, 150, "本年度", ends_on=date(2026, 12, 31))
    with town.book.transaction(town.people["chief"]) as tx:
        allotments.carry_out(tx, what, key="this year")
        entries.grant(tx, town.arm, town.neighbour, {CPU: 45}, key="for good")
    settle(town, round_id, 60, 100)
    with pytest.raises(OverCapacity, match=r"demand\.short"):
        enact(town, round_id)
    settle(town, round_id, 60, 95)
    assert enact(town, round_id) == RoundState.ENACTED
    with town.book.transaction(steward()) as tx:  # forty stay in use beyond their end
        entries.use(tx, town.arm, town.bureau, {CPU: 40}, key="use")
    clock.advance(days=220)
    assert night(town) == []  # the neighbour's 95 have no room yet
    assert granted(town, town.bureau) == 60
    assert granted(town, town.neighbour) == 45
    with town.book.transaction(steward()) as tx:
        entries.release(tx, town.arm, town.bureau, {CPU: 40}, key="released")
    assert night(town) == [YEAR]
    assert granted(town, town.neighbour) == 140


def test_a_correction_opens_what_was_settled_and_refuses_a_stale_view(asked: tuple[City, int]) -> None:
    town, round_id = asked
    settle(town, round_id, 60, 100)
    with town.book.reading() as tx:
        seen = {one.id: (one.generation, one.asked) for one in demands.of_round(tx, round_id)}
    enter(town, round_id, "clerk", town.bureau, 30)
    with town.book.reading() as tx:
        assert demands.of_round(tx, round_id)[0].settled is None
        assert tx.query(Demand).count() == 2
    with pytest.raises(WrongState, match=r"demand\.unsettled"):
        enact(town, round_id)
    with pytest.raises(Conflict, match=r"demand\.stale"), town.book.transaction(town.people["chief"]) as tx:
        demands.settle(tx, round_id, seen)


def test_nothing_is_settled_where_one_is_wrong(asked: tuple[City, int]) -> None:
    town, round_id = asked
    with pytest.raises(Invalid, match=r"demand\.settled"):
        settle(town, round_id, 10, 101)
    with town.book.reading() as tx:
        assert [one.settled for one in demands.of_round(tx, round_id)] == [None, None]


def test_it_is_entered_for_ones_own_and_in_time(asked: tuple[City, int], clock: Any) -> None:
    town, round_id = asked
    with pytest.raises(NotAllowed):
        enter(town, round_id, "clerk", town.neighbour, 1)
    enter(town, round_id, "clerk", town.branch, 5)  # of those below, too
    for amount in (-1,):
        with pytest.raises(Invalid):
            enter(town, round_id, "clerk", town.bureau, amount)
    clock.now += timedelta(days=200)
    with pytest.raises(WrongState, match=r"demand\.closed"):
        enter(town, round_id, "clerk", town.bureau, 1)
    enter(town, round_id, "chief", town.bureau, 1)  # the authority may still correct it


@pytest.mark.parametrize(
    ("year", "closes", "error"),
    [(2025, date(2026, 7, 1), Invalid), (2032, date(2026, 7, 1), Invalid), (YEAR, date(2026, 5, 1), Invalid)],
)
def test_a_round_that_makes_no_sense_is_refused(town: City, year: int, closes: date, error: type[Exception]) -> None:
    with pytest.raises(error), town.book.transaction(town.people["chief"]) as tx:
        demands.open_round(tx, year, closes)


def test_a_year_is_asked_for_once_and_enacted_once(asked: tuple[City, int]) -> None:
    town, round_id = asked
    with pytest.raises(Conflict), town.book.transaction(town.people["chief"]) as tx:
        demands.open_round(tx, YEAR, date(2026, 9, 30))
    settle(town, round_id, 1, 0)
    enact(town, round_id)
    with pytest.raises(WrongState, match=r"demand\.enacted"):
        enact(town, round_id)
    with pytest.raises(WrongState, match=r"demand\.enacted"):
        enter(town, round_id, "clerk", town.bureau, 1)


def test_what_was_enacted_for_a_department_that_was_merged_goes_to_its_successor(
    asked: tuple[City, int], clock: Any
) -> None:
    town, round_id = asked
    settle(town, round_id, 50, 80)
    enact(town, round_id)
    with town.book.transaction(town.people["chief"]) as tx:
        reorganisations.reorganise(tx, Adjustment.MERGE, town.bureau, town.neighbour, reason="机构改革", key="m")
    clock.advance(days=220)
    assert night(town) == [YEAR]
    assert granted(town, town.neighbour) == 130
