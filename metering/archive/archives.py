"""Findings out of the book: in Parquet files of the lake, named in the book by their digest, and read from there by whoever asks.

Every night judges every resource, and each finding keeps all that it was judged by: of a large city tens of gigabytes a year that
nobody asks for again, and that must not be lost. In the book stay the findings of the last ``NIGHTS`` nights, of each policy's newest
run and of the last judged day of each month (cards of a period rest on those), and whatever anything in the book refers to.
The rest goes: written whole and durable first, then named in the book with the digest of the file, then deleted, which the
database lets nobody do before. A crash in between leaves work for the next night, and nothing twice or nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import delete, exists, select
from sqlalchemy.orm.attributes import set_committed_value

from metering.judging import Assessment, Finding, FindingArchive, PolicyVersion, findings
from metering.lake import Damaged, room, write_whole
from metering.workbench import Workbench
from quota.actors import Actor, steward
from quota.base import Base
from quota.errors import N_, NotFound
from quota.inspection import going_on
from quota.inventory import Resource
from quota.seals import sm3

if TYPE_CHECKING:
    from metering.lake import Lake
    from quota.db import Tx

NIGHTS = 62
"""Nights whose findings stay in the book, as long as the lake keeps samples at least."""

FOLDER = "findings"
GROUP = 4096
"""Findings a row group: one is read with as many others."""
BATCH = 2000
"""Findings deleted in one transaction: nobody waits long behind it."""

DOCUMENTS = ("numbers", "reasons", "shape", "target", "recoverable")
SCHEMA = pa.schema(
    [("id", pa.int64()), ("resource_id", pa.int64()), ("verdict", pa.string()), ("coverage", pa.float64())]
    + [(name, pa.string()) for name in DOCUMENTS]
)
"""What a file holds of a finding. Documents are JSON text: of findings side by side zstd keeps less of it than of a column for each
figure, and each number is again what it was, to its type."""


@dataclass(frozen=True, slots=True)
class ArchivedFindings:
    """What a night took out of the book: runs, their findings, bytes of their files; ``deleted``: rows of the book."""

    runs: int
    findings: int
    size_bytes: int
    deleted: int


def archive(workbench: Workbench, today: date) -> ArchivedFindings:
    """Take out of the book what it need not keep. Raises LakeFull where the lake has no room; what was done by then stays done."""
    who = steward("job:retain")
    with workbench.book.reading(who) as tx:
        ids = due(tx, today)
    count = size = 0
    for run_id in ids:
        with workbench.book.reading(who) as tx:
            run = tx.get_one(Assessment, run_id)
            path = place(workbench.lake.root, run)
            total, first, last = _write(tx, path, run)
        content = path.read_bytes()
        with workbench.book.transaction(who) as tx:
            if tx.get(FindingArchive, run_id) is not None:  # another process was quicker
                continue
            kept = FindingArchive(
                assessment_id=run_id, findings=total, first_id=first, last_id=last, size_bytes=len(content),
                digest=sm3(content).hex(), archived_at=tx.now, archived_by=tx.actor.login,
            )  # fmt: skip
            tx.add(kept)
            after = {"findings": total, "size_bytes": len(content), "digest": kept.digest}
            tx.audit("assessment.archive", f"assessment:{run_id}", after=after)
        count, size = count + total, size + len(content)
    return ArchivedFindings(len(ids), count, size, _sweep(workbench, who))


def due(tx: Tx, today: date) -> list[int]:
    """The assessments whose findings the book need no longer keep, the oldest first."""
    query = (
        select(Assessment.id, Assessment.last_day, Assessment.as_of, PolicyVersion.name)
        .join(PolicyVersion)
        .where(findings.in_book(), Assessment.resources > 0)
        .order_by(Assessment.last_day, Assessment.id)
    )
    rows = tx.execute(query).all()
    newest: dict[str, tuple[Any, int]] = {}
    ends: dict[tuple[str, int, int], date] = {}
    for run_id, last, as_of, name in rows:
        newest[name] = max(newest.get(name, (as_of, run_id)), (as_of, run_id))
        month = name, last.year, last.month
        ends[month] = max(ends.get(month, last), last)
    line = today - timedelta(days=NIGHTS)
    return [
        run_id
        for run_id, last, _as_of, name in rows
        if last < line and last != ends[name, last.year, last.month] and run_id != newest[name][1]
    ]


def place(lake: Path, run: Assessment) -> Path:
    """The file of an assessment's findings below a lake's folder. Its name tells runs of one number apart: a book may have been put back
    to an older one."""
    return lake / FOLDER / f"{run.id}-{run.digest[:16]}.parquet"


# ------------------------------------------------------------------------------------------------------------ reading


def finding(tx: Tx, lake: Lake, finding_id: int) -> Finding:
    """The finding, from the book or the archive. NotFound where there is none, or its file cannot be read, saying which."""
    there = tx.get(Finding, finding_id)
    if there is not None:
        return there
    within = select(FindingArchive).where(FindingArchive.last_id >= finding_id, FindingArchive.first_id <= finding_id)
    for one in tx.scalars(within.order_by(FindingArchive.assessment_id)):

        def held(group: Any) -> bool:
            statistics = group.column(0).statistics
            return statistics is None or bool(statistics.min <= finding_id <= statistics.max)

        with _readable(one.assessment):
            for values in _read(place(lake.root, one.assessment), held):
                if values["id"] == finding_id:
                    return _made(values, one.assessment, tx.get_one(Resource, values["resource_id"]))
    return findings.finding(tx, finding_id)


def verdicts(lake: Path, run: Assessment) -> list[tuple[int, str]]:
    """Resource id and class of every finding of a run that was archived below a lake's folder. NotFound where its file cannot be read,
    saying which."""
    path = place(lake, run)
    with _readable(run), _undamaged(path):
        table = pq.read_table(path, columns=["resource_id", "verdict"])
        return list(zip(*(table[name].to_pylist() for name in ("resource_id", "verdict")), strict=True))


def archived_at(tx: Tx, run: Assessment) -> datetime | None:
    """When the findings of a run were archived; None = the book has them."""
    there = tx.get(FindingArchive, run.id)
    return there.archived_at if there else None


def of_run(tx: Tx, lake: Lake, run: Assessment) -> list[Finding]:
    """The findings of a run by resource, from the book or the archive. NotFound where the run's file cannot be read, saying which."""
    if tx.get(FindingArchive, run.id) is None:
        return findings.of_run(tx, run)
    resources = {one.id: one for one in tx.scalars(select(Resource))}
    with _readable(run):
        return [_made(values, run, resources[values["resource_id"]]) for values in _read(place(lake.root, run))]


def check(tx: Tx, lake: Lake, run_ids: Iterable[int]) -> Iterator[str]:
    """`findings.check`, of runs wherever their findings lie: a file must be what the book says, its findings must make the run's digest
    and come out again as they are, and what the book still has of them must be the same."""
    said: list[str] = []
    for run_id in run_ids:
        archived = None
        with going_on(said, "finding_archives", run_id):
            archived = tx.get(FindingArchive, run_id)
        if archived is None:
            yield from findings.check(tx, [run_id])
            continue
        with going_on(said, "finding_archives", run_id):
            yield from _recheck(tx, lake, archived)
    yield from said


# ---------------------------------------------------------------------------------------------------------- mechanism


@contextmanager
def _undamaged(path: Path) -> Iterator[None]:
    """Raises Damaged for what keeps a file from being read."""
    try:
        yield
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise Damaged(path, str(error)) from error


@contextmanager
def _readable(run: Assessment) -> Iterator[None]:
    try:
        yield
    except Damaged as error:
        text = N_("编号为 %(id)s 的评估已归档，归档文件不能读取：%(why)s")
        raise NotFound("assessment.unreadable", text, id=run.id, why=error.why) from error


def _write(tx: Tx, path: Path, run: Assessment) -> tuple[int, int, int]:
    """Write a run's findings whole; how many they are, and their first and last id."""
    columns = [getattr(Finding, name) for name in SCHEMA.names]
    query = select(*columns).where(Finding.assessment_id == run.id).order_by(Finding.resource_id)
    total, ids = 0, (0, 0)

    def written(sink: Any) -> None:
        nonlocal total, ids
        with pq.ParquetWriter(sink, SCHEMA, compression="zstd", compression_level=9) as writer:
            for part in tx.execute(query.execution_options(yield_per=GROUP)).partitions():
                numbers = [row.id for row in part]
                total, ids = total + len(part), (min(ids[0] or numbers[0], *numbers), max(ids[1], *numbers))
                table = {name: [getattr(row, name) for row in part] for name in SCHEMA.names}
                for name in DOCUMENTS:
                    table[name] = [json.dumps(each, ensure_ascii=False) for each in table[name]]
                writer.write_table(pa.table(table, schema=SCHEMA), row_group_size=GROUP)

    with room():
        write_whole(path, written)
    return total, *ids


def _read(path: Path, wanted: Callable[[Any], bool] = lambda _group: True) -> Iterator[dict[str, Any]]:
    """Findings as the columns of the book, of the row groups that are ``wanted``, by resource. Raises Damaged."""
    with _undamaged(path), pq.ParquetFile(path) as file:
        for number in range(file.metadata.num_row_groups):
            if wanted(file.metadata.row_group(number)):
                for row in file.read_row_group(number).to_pylist():
                    yield row | {name: json.loads(row[name]) for name in DOCUMENTS}


def _made(values: Mapping[str, Any], run: Assessment, resource: Resource | None = None) -> Finding:
    """A finding as it was in the book, of no session: nothing that is done to it is written anywhere."""
    one = Finding(assessment_id=run.id, **values)
    set_committed_value(one, "assessment", run)
    if resource is not None:
        set_committed_value(one, "resource", resource)
    return one


def _recheck(tx: Tx, lake: Lake, archived: FindingArchive) -> Iterator[str]:
    run = archived.assessment
    path = place(lake.root, run)
    try:
        content = path.read_bytes()
    except OSError as error:
        yield f"finding_archives: the findings of run {run.id} cannot be read: {path}: {error.strerror}"
        return
    if sm3(content).hex() != archived.digest:
        yield f"finding_archives: {path} is not the file that was archived"
    left = {
        one.resource_id: one.content() for one in tx.scalars(select(Finding).where(Finding.assessment_id == run.id))
    }

    def compared() -> Iterator[Finding]:
        for values in _read(path):
            one = _made(values, run)
            if one.resource_id in left and left.pop(one.resource_id) != one.content():
                said.append(f"findings: row {one.id} is not what was archived of it")
            yield one

    said: list[str] = []
    yield from findings.recheck_all(run, compared(), said)
    if left:
        yield f"finding_archives: run {run.id} lacks {len(left)} findings that the book has"


def _sweep(workbench: Workbench, actor: Actor) -> int:
    """Delete what is archived and nothing refers to; how many rows."""
    with workbench.book.reading(actor) as tx:
        there = exists().where(Finding.assessment_id == FindingArchive.assessment_id, *_unreferred())
        ids = tx.scalars(select(FindingArchive.assessment_id).where(there).order_by(FindingArchive.assessment_id)).all()
    deleted = 0
    for run_id in ids:
        rows = select(Finding.id).where(Finding.assessment_id == run_id, *_unreferred()).limit(BATCH)
        while True:
            with workbench.book.transaction(actor) as tx:
                chosen = tx.scalars(rows).all()
                if chosen:
                    tx.execute(
                        delete(Finding).where(Finding.id.in_(chosen)).execution_options(synchronize_session=False)
                    )
            deleted += len(chosen)
            if len(chosen) < BATCH:
                break
    return deleted


def _unreferred() -> list[Any]:
    """That nothing in the book refers to a finding (SQL), by every foreign key that there is."""
    return [
        ~exists().where(key.parent == Finding.id)
        for table in Base.metadata.tables.values()
        for key in table.foreign_keys
        if key.column is Finding.__table__.c.id
    ]
