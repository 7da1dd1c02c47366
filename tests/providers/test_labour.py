"""Services of people: the rate that holds, jobs on both databases, what a merger takes along, what is held to by the database itself."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError

from providers.labour import LabourJob, LabourRate, LabourState, jobs, rates
from quota.calendar import ZONE
from quota.db import Book
from quota.directory import Adjustment, Pool, reorganisations
from quota.errors import Invalid, NotAllowed, NotFound
from quota.requests import declarations
from tests.city import TOWN, City


@pytest.fixture(name="town")
def _town(book: Book) -> City:
    return City(book, plan=TOWN)


def company(town: City) -> int:
    with town.book.reading() as tx:
        return tx.get_one(Pool, town.pool).provider_id


def rate(town: City, price: str, days: int = 0, by: str = "chief", **other: Any) -> int:
    with town.book.transaction(town.people[by]) as tx:
        on = tx.now.astimezone(ZONE).date() + timedelta(days=days)
        return rates.enter(tx, "MD", "工程师", "人天", Decimal(price), on, **other).id


def held(town: City) -> Decimal | None:
    with town.book.reading() as tx:
        found = rates.in_force(tx, tx.get_one(Pool, town.pool).provider_id, tx.now).get("MD")
        return found.price if found is not None else None


def job(town: City) -> int:
    said = {"service": "MD", "quantity": "2.5", "content": "驻场"}
    request = town.approve(town.submit(declarations.declared("labour"), fields=said))
    with town.book.reading() as tx:
        return tx.query(LabourJob).filter_by(request_id=request.id).one().id


def test_the_narrowest_newest_rate_holds_and_an_ended_one_is_none(town: City, clock: Any) -> None:
    with pytest.raises(NotAllowed):
        rate(town, "1", by="checker")
    rate(town, "1000")
    rate(town, "1100", days=2)
    assert held(town) == Decimal(1000)
    clock.advance(days=2)
    assert held(town) == Decimal(1100)
    with pytest.raises(Invalid, match=r"labour\.reason"):
        rate(town, "1200")
    rate(town, "1200", reason="更正")
    assert held(town) == Decimal(1200)
    rate(town, "900", provider_id=company(town))
    rate(town, "1300", days=1)
    clock.advance(days=1)
    assert held(town) == Decimal(900)  # its own holds before a later one of everybody's
    rate(town, "900", provider_id=company(town), offered=False)
    assert held(town) is None
    with pytest.raises(NotFound):
        rate(town, "1", days=9, provider_id=99_999)


def test_a_job_moves_with_its_department_until_it_is_confirmed(town: City) -> None:
    rate(town, "1000.01")
    open_, done = job(town), job(town)
    with town.book.transaction(town.people["chief"]) as tx:
        row = tx.get_one(LabourJob, done)
        row.state, row.done, row.fen = (
            LabourState.CONFIRMED.value,
            Decimal("2.5"),
            jobs.worth(Decimal("1000.01"), Decimal("2.5")),
        )
        row.confirmed_at, row.confirmed_by = tx.now, "clerk"
    assert jobs.worth(Decimal("1000.01"), Decimal("2.5")) == 250_003  # 250,002.5 fen, half up
    with town.book.transaction(town.people["chief"]) as tx:
        reorganisations.reorganise(tx, Adjustment.MERGE, town.bureau, town.neighbour, reason="机构改革", key="one")
    with town.book.reading() as tx:
        assert tx.get_one(LabourJob, open_).department_id == town.neighbour
        assert tx.get_one(LabourJob, done).department_id == town.bureau
        assert sum(jobs.by_month(tx, {f"{tx.now:%Y-%m}"}).values()) == 250_003
        assert jobs.by_month(tx, {"2020-01"}) == jobs.by_month(tx, set()) == {}


@pytest.mark.parametrize("wrong", [{"done": 3}, {"done": 0}, {"fen": 1}, {"quantity": 0}])
def test_the_database_holds_what_no_job_may_be(town: City, wrong: dict[str, int]) -> None:
    rate(town, "1000")
    one = job(town)
    with pytest.raises(DBAPIError), town.book.transaction(town.people["chief"]) as tx:
        tx.execute(update(LabourJob).where(LabourJob.id == one).values(wrong))


def test_rates_are_never_changed(town: City) -> None:
    one = rate(town, "1000")
    with pytest.raises(DBAPIError), town.book.transaction(town.people["chief"]) as tx:
        tx.execute(update(LabourRate).where(LabourRate.id == one).values(price=1))
