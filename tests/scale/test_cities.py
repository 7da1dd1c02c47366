"""The city that the bench founds in any size: as large as it was asked for, counted by SQL, and nothing to be found wrong with it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import ColumnElement, func, select

from benchmarks.cities import CityPlan, found
from console import verification
from console.settings import Settings
from metering.cases import Case
from metering.judging import Assessment, Finding
from metering.lake.store import Lake
from metering.statements import StatementLine
from metering.workbench import Workbench
from providers.orders import WorkOrder
from quota.base import Base
from quota.db import Book
from quota.directory import Department, System
from quota.inventory import Resource
from quota.ledger import Entry
from quota.requests import Request
from tests import books

NOW = datetime(2026, 11, 12, 2, tzinfo=UTC)
PLAN = CityPlan(60, months=1, nights=2)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_city_is_as_large_as_asked_for_and_verifies_clean(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = books.bare(request.getfixturevalue("postgres")) if database == "postgresql" else ""
    said: list[str] = []
    settings = found(Settings(data=tmp_path, database=url), PLAN, now=NOW, say=said.append)
    book = Book(settings.database_url, clock=lambda: NOW)
    try:
        with book.reading() as tx:

            def many(table: type[Base], *which: ColumnElement[bool]) -> int:
                return tx.scalar(select(func.count()).select_from(table).where(*which)) or 0

            assert many(Resource) == many(Resource, Resource.basis == "adopted") == 60
            assert many(Resource, Resource.kind == "vm") == 48
            assert (many(Department), many(System), many(Request)) == (5, 10, 12)
            states = dict(tx.execute(select(Request.state, func.count()).group_by(Request.state)).all())
            assert states == {"draft": 2, "in_review": 5, "approved": 5}
            assert many(WorkOrder) == 5
            assert many(Assessment) == 2
            assert many(Finding) == 120
            assert 0 < many(Case) <= PLAN.cases
            # Two classes of each machine, one of everything else.
            assert many(StatementLine) == 48 * 2 + 12
            assert many(Entry) > 0
            used = tx.scalars(select(Finding.verdict).distinct()).all()
            assert len(used) > 2
        lake = Lake(settings.lake_dir)
        assert len(lake.days()) == 31 + 11
        examined = verification.examine(Workbench(book, lake, tmp_path))
        assert examined.problems == []
        assert examined.checked["lake_days"] == 31 + 11
    finally:
        book.dispose()
    assert any("resources" in line for line in said)
    with pytest.raises(ValueError, match="a house already"):
        found(settings, PLAN, now=NOW)


@pytest.mark.parametrize("wrong", [{"resources": 19}, {"resources": 10**7}, {"resources": 60, "months": 0}])
def test_what_no_city_can_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a city has"):
        CityPlan(**wrong)
