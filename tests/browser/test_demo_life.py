"""The demo city as it stands today: something in every state that a visitor may ask for, and a book that is proven."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import func, select

from console.verification import examine
from metering import closings, focus_files, statements
from metering.case_files import Case, Reply
from metering.case_steps import Ending, State
from metering.certificates import Certificate
from metering.exemptions import Exemption
from metering.lake import Lake
from metering.late_figures import SAMPLES, LateFigure
from metering.notices import Notice
from metering.statement_rows import CORRECTION, StatementLine
from metering.works import Works
from providers.appeals import Appeal
from providers.bills import Bill
from providers.incidents import Incident
from providers.marks import ScorecardRecord
from providers.orders import OrderState, WorkOrder
from providers.ratings import Rating
from quota import ledger
from quota.db import Book, Tx
from quota.dossier import Request, RequestState, RequestStep


@pytest.fixture(scope="module")
def works(demo_home: Path):
    book = Book(f"sqlite:///{demo_home / 'book.db'}")
    yield Works(book, Lake(demo_home / "lake"), demo_home)
    book.dispose()


@pytest.fixture
def tx(works: Works):
    with works.book.reading() as tx:
        yield tx


def count(tx: Tx, query) -> int:
    return int(tx.scalar(select(func.count()).select_from(query.subquery())) or 0)


@pytest.mark.parametrize(
    "state",
    [
        RequestState.DRAFT,
        RequestState.IN_REVIEW,
        RequestState.SUPPLEMENT,
        RequestState.DELIVERING,
        RequestState.ACCEPTING,
        RequestState.DONE,
        RequestState.REJECTED,
        RequestState.WITHDRAWN,
    ],
)
def test_requests_are_in_every_state(tx: Tx, state: RequestState) -> None:
    assert count(tx, select(Request).where(Request.state == state.value))


@pytest.mark.parametrize("step", ["form_check", "technical_review", "authority_approval"])
def test_something_waits_at_every_step(tx: Tx, step: str) -> None:
    waiting = tx.scalars(select(Request).where(Request.state == RequestState.IN_REVIEW.value)).all()
    assert step in {one.current.name for one in waiting if one.current}


def test_something_is_overdue_and_something_was_approved_in_part(tx: Tx) -> None:
    assert count(tx, select(Request).where(Request.state == RequestState.IN_REVIEW.value, Request.due_at < tx.now))
    assert count(tx, select(RequestStep).where(RequestStep.decision == "approve_part"))


def test_orders_were_delivered_in_time_and_late(tx: Tx) -> None:
    done = select(WorkOrder).where(WorkOrder.state.in_([OrderState.DELIVERED.value, OrderState.ACCEPTED.value]))
    assert count(tx, done.where(WorkOrder.delivered_at <= WorkOrder.due_at))
    assert count(tx, done.where(WorkOrder.delivered_at > WorkOrder.due_at))


@pytest.mark.parametrize("state", [State.DETECTED, State.NOTICED, State.DISPUTED, State.BINNED, State.CLOSED])
def test_cases_are_in_every_state(tx: Tx, state: State) -> None:
    assert count(tx, select(Case).where(Case.state == state.value))


def test_cases_were_agreed_to_objected_to_and_exempted(tx: Tx) -> None:
    assert {answer for (answer,) in tx.execute(select(Reply.answer))} >= {"agree", "object", "exempt"}
    assert count(tx, select(Exemption))
    assert count(tx, select(Certificate))
    endings = {ending for (ending,) in tx.execute(select(Case.ending))}
    assert {Ending.SHRUNK.value, Ending.UPHELD.value, Ending.EXEMPTED.value} <= endings


def test_letters_were_sent_and_reminded_of(tx: Tx) -> None:
    assert count(tx, select(Notice))
    assert count(tx, select(Notice).where(Notice.reminded_at.is_not(None)))


def test_companies_were_billed_and_scored_and_incidents_settled(tx: Tx) -> None:
    assert count(tx, select(Bill)) >= 3
    assert count(tx, select(ScorecardRecord).where(ScorecardRecord.published)) >= 2
    assert count(tx, select(Incident).where(Incident.settled_at.is_not(None)))


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


def test_deliveries_were_rated_and_a_score_appealed(tx: Tx) -> None:
    assert {stars for (stars,) in tx.execute(select(Rating.stars))} >= {2, 5}
    assert count(tx, select(Appeal))


def test_the_book_is_conserved_and_verifies_clean(works: Works, tx: Tx) -> None:
    assert ledger.conserved(tx)
    found = examine(works)
    assert found.clean, found.problems[:5]
