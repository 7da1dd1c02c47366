"""The archive of findings: what leaves the book lies in the lake as it was, is read as before, and nothing else can leave."""

from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.exc import DBAPIError

from console.schema import upgrade
from console.verification import examine
from metering import archive as rooms
from metering.archive import archives, recompute
from metering.judging import Finding, FindingArchive, findings, pipeline, policies
from metering.lake.store import Lake
from metering.reports import ReportEdition, editions, periods
from metering.rollout import AwaitedCase
from metering.workbench import Workbench
from quota.actors import steward
from quota.calendar import ZONE
from quota.errors import NoRoom, NotFound
from tests.metering.past import found_past

DAYS = (date(2026, 4, 30), date(2026, 5, 20), date(2026, 5, 21), date(2026, 5, 31))
"""The last days of the runs: a month's last that is judged, two within a month, and the newest."""
OLD = date(2026, 12, 1)
"""A day on which all of them are old."""


@pytest.fixture
def works(book, tmp_path, clock):
    with book.transaction(steward()) as tx:
        policies.seed(tx)
    works = Workbench(book, Lake(tmp_path / "lake"), tmp_path)
    found_past(book, works, clock().astimezone(ZONE).date())
    return works


@pytest.fixture
def runs(works):
    return [pipeline.judge(works, day + timedelta(days=1)).id for day in DAYS]


def rows_of(works, run_id):
    with works.book.reading() as tx:
        found = archives.of_run(tx, works.lake, findings.assessment(tx, run_id))
        return [(one.id, one.resource.name, one.content(), one.assessment.last_day) for one in found]


def in_book(works, run_id):
    with works.book.reading() as tx:
        return tx.scalar(select(func.count()).select_from(Finding).where(Finding.assessment_id == run_id))


def complaints(works, *run_ids):
    with works.book.reading() as tx:
        return list(archives.check(tx, works.lake, run_ids))


def rested_on(works, run_id, name):
    """What a run found of a resource, which something else in the book now refers to."""
    with works.book.transaction(steward()) as tx:
        one = next(each for each in findings.of_run(tx, findings.assessment(tx, run_id)) if each.resource.name == name)
        whose = {"department_id": one.resource.department_id, "pool_id": one.resource.pool_id}
        why = {"why": "letters", "since": tx.now, "place": 1, "kind": "reclaim", "recoverable": {}, "worth": 1.0}
        tx.add(AwaitedCase(resource_id=one.resource_id, finding_id=one.id, assessment_id=run_id, **whose, **why))
        return one.id


def test_what_leaves_the_book_is_read_as_before(works, runs):
    before = {run: rows_of(works, run) for run in runs}
    rested = rested_on(works, runs[1], "quiet")
    assert archives.archive(works, date(2026, 6, 1)) == rooms.ArchivedFindings(0, 0, 0, 0)  # none is old
    told = archives.archive(works, OLD)
    assert (told.runs, told.findings, told.deleted) == (2, 10, 9)
    assert [in_book(works, run) for run in runs] == [5, 1, 0, 6]
    assert {run: rows_of(works, run) for run in runs} == before
    assert complaints(works, *runs) == []
    assert examine(works).problems == []
    with works.book.reading() as tx:
        for number, name, content, _last in before[runs[2]]:
            one = archives.finding(tx, works.lake, number)
            assert (one.id, one.resource.name, one.content()) == (number, name, content)
        assert tx.get(Finding, rested) is archives.finding(tx, works.lake, rested)
        with pytest.raises(NotFound):
            archives.finding(tx, works.lake, 10_000)
    assert recompute.run(works, runs[2]).same
    assert recompute.finding(works, before[runs[1]][0][0]).same
    assert archives.archive(works, OLD) == rooms.ArchivedFindings(0, 0, 0, 0)


@pytest.mark.parametrize("scope", ["city", "department:P1"])
def test_a_report_made_again_counts_what_it_counted(works, runs, scope):
    period = periods.between(date(2026, 5, 1), date(2026, 5, 21))
    first = editions.make(works, scope, period, actor=steward())
    with works.book.reading() as tx:
        told = tx.get_one(ReportEdition, first.id).inputs.document()["findings"]
    assert told["last"] == "2026-05-21"
    assert told["verdicts"]
    archives.archive(works, OLD)
    assert in_book(works, runs[2]) == 0
    assert editions.make(works, scope, period, actor=steward(), anew=True, reason="核对").id == first.id
    with works.book.reading() as tx:
        archives.place(works.lake.root, findings.assessment(tx, runs[2])).unlink()
    with pytest.raises(NotFound, match=r"assessment\.unreadable"):
        editions.make(works, scope, period, actor=steward(), anew=True, reason="核对")


def test_nobody_deletes_what_is_not_archived(works, runs):
    archives.archive(works, OLD)
    for run in (runs[0], runs[3]):
        with pytest.raises(DBAPIError, match="append-only"), works.book.transaction(steward()) as tx:
            tx.execute(delete(Finding).where(Finding.assessment_id == run))
    for statement in (delete(FindingArchive), Finding.__table__.update().values(verdict="idle")):
        with pytest.raises(DBAPIError, match="append-only"), works.book.transaction(steward()) as tx:
            tx.execute(statement)
    assert upgrade.missing_guards(works.book.engine) == []


def test_a_file_that_is_another_one_is_named(works, runs):
    rested = rested_on(works, runs[1], "quiet")
    archives.archive(works, OLD)
    with works.book.reading() as tx:
        first, second = (archives.place(works.lake.root, findings.assessment(tx, run)) for run in runs[1:3])
    whole = first.read_bytes()

    table = pq.read_table(first)
    busy = ["idle" if one == "overloaded" else one for one in table["verdict"].to_pylist()]
    pq.write_table(table.set_column(2, "verdict", pa.array(busy)), first)
    told = "\n".join(complaints(works, runs[1]))
    assert "is not the file that was archived" in told
    assert "says idle, its own figures say overloaded" in told
    assert f"run {runs[1]} does not match its seal" in told

    lacking = table.filter(pa.array([one != rested for one in table["id"].to_pylist()]))
    pq.write_table(lacking, first)
    assert any(f"run {runs[1]} lacks 1 findings" in one for one in complaints(works, runs[1]))

    first.write_bytes(whole[: len(whole) // 2])
    assert len(complaints(works, *runs)) == 2  # not that file, and not to be read; the others are as they should be
    with works.book.reading() as tx, pytest.raises(NotFound, match=r"assessment\.unreadable"):
        archives.of_run(tx, works.lake, findings.assessment(tx, runs[1]))

    first.write_bytes(whole)
    second.unlink()
    assert complaints(works, *runs) == [
        f"finding_archives: the findings of run {runs[2]} cannot be read: {second}: No such file or directory"
    ]


def test_a_night_that_breaks_off_leaves_nothing_twice_or_nowhere(works, runs, monkeypatch):
    before = {run: rows_of(works, run) for run in runs}

    def broken_off(what, error, raised):
        with monkeypatch.context() as broken:
            broken.setattr(archives, what, lambda *_: (_ for _ in ()).throw(error))
            with pytest.raises(raised):
                archives.archive(works, OLD)
        assert [in_book(works, run) for run in runs] == [5, 5, 5, 6]
        assert complaints(works, *runs) == []

    broken_off("write_whole", OSError(28, "No space left on device"), NoRoom)
    broken_off("sm3", KeyboardInterrupt(), KeyboardInterrupt)  # written, and not yet named in the book
    broken_off("_sweep", KeyboardInterrupt(), KeyboardInterrupt)  # named, and not yet deleted
    assert archives.archive(works, OLD).deleted == 10
    assert {run: rows_of(works, run) for run in runs} == before
