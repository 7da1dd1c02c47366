"""A job that has nothing to do asks the book the same few questions, however large the city is.

Counted in the demo city and in one of ten times its cases, requests and orders, a second after the job had done what there
was. And what ``advance`` passes over would indeed have stayed as it is: every such case is asked one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, select

from console import reports, scoring
from console.settings import Settings
from console.worklist import Worklist
from metering.cases import Case, CaseState, deadlines
from metering.lake import Lake
from metering.reports import editions, scopes
from metering.workbench import Workbench
from providers.assessment import CardSubject, SubjectType
from quota.actors import steward
from quota.calendar import ZONE, working_days
from quota.db import Book
from tests.scale.tenfold import tenfold

MOST = 40
"""Queries of a job that has nothing to do."""
JOBS = (
    "advance", "remind", "expire", "settle", "carry", "probe", "fold", "compact", "replay", "identities", "verify_asked", "mail",
    "score",
)  # fmt: skip


@pytest.fixture(scope="module")
def towns(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Workbench]]:
    place, books = tmp_path_factory.mktemp("idle"), {}
    for times in (1, 10):
        tenfold(demo_home / "book.db", place / f"{times}.db", times)
        books[times] = Workbench(Book(f"sqlite:///{place / f'{times}.db'}"), Lake(place / f"lake-{times}"), place)
    yield books
    for one in books.values():
        one.book.dispose()


@contextmanager
def asked(book: Book) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(book.engine, "before_cursor_execute", note)
    yield statements
    event.remove(book.engine, "before_cursor_execute", note)


def scored(workbench: Workbench) -> None:
    """As though every card that is due had been scored; of each type of subject a few are."""
    turn = scoring.ScoringRound(workbench)
    by_type: dict[SubjectType, list[tuple[CardSubject, str]]] = {}
    for subject, period in turn.wanted:
        by_type.setdefault(subject.type, []).append((subject, period))
    for one in by_type.values():
        for subject, period in one[:8]:
            turn.score(subject, period)
    turn._scored.update(turn.wanted)
    turn.keep()


@pytest.mark.parametrize("job", JOBS)
def test_a_job_with_nothing_to_do_asks_a_few_questions(towns: dict[int, Workbench], job: str) -> None:
    counts = {}
    for times, workbench in towns.items():
        run = getattr(Worklist(workbench, Settings(demo=True)), job)
        if job == "score":
            scored(workbench)
        run()
        with asked(workbench.book) as statements:
            run()
        counts[times] = len(statements)
    assert counts[10] <= MOST
    assert counts[10] <= counts[1] + 5, "it grows with the city"


def test_the_reports_that_are_due_are_found_by_a_few_questions(towns: dict[int, Workbench]) -> None:
    counts, found = {}, {}
    for times, workbench in towns.items():
        with workbench.book.reading() as tx, asked(workbench.book) as statements:
            found[times] = list(reports.due(tx, ZONE))
            counts[times] = len(statements)
            for text, period in found[times]:
                scope = scopes.scope(tx, text)
                assert editions.newest(tx, scope.kind, scope.id, period) is None
    assert len(found[10]) > len(found[1])
    assert counts[10] == counts[1] <= 10


@pytest.mark.parametrize("later", [timedelta(0), timedelta(days=3), timedelta(days=12), timedelta(days=40)], ids=str)
def test_a_case_that_is_passed_over_would_not_have_moved(towns: dict[int, Workbench], later: timedelta) -> None:
    book = Book(str(towns[1].book.url), clock=lambda: towns[1].book.clock() + later)
    try:
        with book.trial(steward("job:cases")) as tx:
            calendar, done = working_days(tx), deadlines.Advanced()
            deadlines._remind(tx, calendar, done)
            tx.flush()
            named = set(deadlines.movable(tx, calendar))
            open_ = tx.scalars(select(Case).where(Case.state != CaseState.CLOSED.value).order_by(Case.id)).all()
            assert len(open_) > 100
            assert len(named) < len(open_) or later > timedelta(days=10)
            for one in open_:
                if one.id not in named:
                    before = {name: getattr(one, name) for name in Case.__table__.columns.keys()}  # noqa: SIM118
                    deadlines._advance(tx, one, calendar, done)
                    assert {name: getattr(one, name) for name in before} == before
    finally:
        book.dispose()
