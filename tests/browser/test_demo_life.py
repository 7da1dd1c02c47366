"""The demo city as it stands today: every feature that a visitor may ask for (tests/features.py), and a book that is proven.
How it stands on other days is tested by tests/console/test_demo_days.py."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import select

from console.founding import FOUNDED
from console.verification.checks import examine
from metering.intake.late_figures import SAMPLES, LateFigure
from metering.lake.store import Lake
from metering.statements import closings, focus_files, statements
from metering.statements.tables import CORRECTION, StatementLine
from metering.workbench import Workbench
from quota.audit import AuditRecord
from quota.db import Book, Tx
from quota.ledger import entries
from tests.features import missing


@pytest.fixture(scope="module")
def works(demo_home: Path):
    book = Book(f"sqlite:///{demo_home / 'book.db'}")
    yield Workbench(book, Lake(demo_home / "lake"), demo_home)
    book.dispose()


@pytest.fixture
def tx(works: Workbench):
    with works.book.reading() as tx:
        yield tx


def test_every_feature_is_there(works: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    founded = select(AuditRecord.at).where(AuditRecord.action == FOUNDED)
    with works.book.reading() as tx:
        at = tx.scalars(founded).one()  # a test may run past midnight
    monkeypatch.setattr(works.book, "clock", lambda: at)
    with works.book.reading() as tx:
        assert missing(tx) == []


def test_what_came_too_late_is_listed_corrected_and_exported(tx: Tx) -> None:
    late = tx.scalars(select(LateFigure)).all()
    assert late
    (month,) = {one.month for one in late}
    assert all(one.samples_after > one.samples_before for one in late if one.metric == SAMPLES)
    run = statements.latest(tx, closings.following(month))
    assert run is not None
    assert run.correction_fen > 0
    corrected = StatementLine.charge == CORRECTION
    assert {one.resource_id for one in statements.lines_of(tx, run, corrected)} <= {one.resource_id for one in late}
    rows = [row for row in focus_files.rows_of(tx, run) if row["ChargeClass"] == "Correction"]
    assert {row["x_CorrectedMonth"] for row in rows} == {month}
    assert sum(Decimal(row["BilledCost"] or 0) for row in rows) * 100 == run.correction_fen


def test_the_book_is_conserved_and_verifies_clean(works: Workbench, tx: Tx) -> None:
    assert entries.conserved(tx)
    found = examine(works)
    assert found.clean, found.problems[:5]
