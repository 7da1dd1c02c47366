"""Imports: files of usage and of inventory, as people have them, into the lake and the book of one pool.

A file is taken whole, less the rows that the report lists, or not at all, wherever the import is cut off: see
metering.lake.landings. Importing again changes nothing: the lake takes no sample twice, and what was refused is entered
as evidence once.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from sqlalchemy import select

from metering.intake.collection import UNKNOWN, SampleRefusal
from metering.lake import Landing
from metering.workbench import Progress, Workbench, silent
from providers import observation
from providers.base import Inventory, Samples
from providers.mappings import held_sheets, sheet_mappings
from providers.observation import CAUTION, Caution, Drift
from providers.readers import (
    PLAIN,
    ColumnMapping,
    Convention,
    Refusals,
    UsageFile,
    find_usage,
    inventory_from_usage,
    read_inventory,
    read_usage_files,
    sheet_purposes,
)
from quota import inventory
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.db import Book, Tx
from quota.directory import Pool
from quota.errors import N_, Conflict, Invalid, Refused
from quota.units import Arch

if TYPE_CHECKING:
    from metering.lake import Receipt


@dataclass(slots=True)
class Imported:
    """What one import brought. rows, taken, …: of the files, in ``report``; samples: into the lake; ``written``: lake
    files that are new (0: it all lay there already); ``refused``: values that the lake refused, by reason; ``unknown``:
    samples of machines that no listing of the pool has shown, by machine."""

    pool: str
    report: Refusals = field(default_factory=Refusals)
    samples: int = 0
    written: int = 0
    registered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    days: set[date] = field(default_factory=set)

    @property
    def whole(self) -> bool:
        """Whether everything in every file was taken."""
        return not (
            self.report.refused or self.report.values_refused or self.report.failed or self.refused or self.unknown
        )

    def to_json(self, most: int = 20) -> dict[str, Any]:
        return {
            "pool": self.pool,
            **self.report.as_json(most),
            "samples_taken": self.samples,
            "lake_files_written": self.written,
            "machines_registered": self.registered,
            "refused_by_the_lake": dict(self.refused),
            "unknown_machines": dict(self.unknown.most_common(most)),
            "unknown_samples": sum(self.unknown.values()),
            "days": [day.isoformat() for day in sorted(self.days)],
        }


def import_usage(
    workbench: Workbench,
    pool: Pool,
    paths: Sequence[Path],
    convention: Convention = PLAIN,
    *,
    register: bool = False,
    write: bool = True,
    actor: Actor | None = None,
    mapping: ColumnMapping | None = None,
    progress: Progress = silent,
) -> Imported:
    """Import usage files and folders of them for ``pool``, then close the days that they touch, but today.

    register: enter machines that no listing has shown, as the files tell them. write False: only look what would come
    of it. mapping: tried before those that are kept for the pool. Raises NotFound for a path that is not there; a file that cannot be used is in the report.
    """
    actor = actor or steward("import")
    actor.must_be(Role.SYSTEM, Role.SUPERVISOR)
    found = Imported(pool.code)
    with workbench.book.reading() as tx:
        kept = sheet_mappings.in_force(tx, pool.id, sheet_purposes.USAGE)
    convention = replace(convention, mappings=(*([mapping] if mapping is not None else []), *kept))
    files = [file for path in paths for file in find_usage(path, found.report)]
    told = len(found.report.files)
    if register:
        listing = inventory_from_usage(_batches(files, Refusals(), convention, progress, "look"), arch=Arch(pool.arch))
        found.registered = _register(workbench, pool, listing, actor) if write else _strangers(workbench, pool, listing)
    if not write:
        for batch in _batches(files, found.report, convention, progress, "import"):
            table, strangers = _known(workbench, pool, batch, found, guessing=register)
            found.samples += table.num_rows + (strangers if register else 0)
        return found
    with Landing(workbench.lake, _key(pool, files), pool=pool.code, named=[file.name for file in files]) as landing:
        for batch in _batches(files, found.report, convention, progress, "import"):
            table, _strangers_there = _known(workbench, pool, batch, found)
            if table.num_rows:
                source = f"{pool.code}.{batch.source}"
                _count(found, landing.append(source, table, workbench.book.clock()))
            if not batch.unfinished:
                landing.land(max(0, len(found.report.files) - told - 1))  # the last one is only being read
        landing.land(len(files))
        today = workbench.book.clock().astimezone(ZONE).date()
        waiting = set(workbench.lake.hot_days())
        workbench.lake.roll(
            [day for day in sorted(found.days & waiting) if day < today], lambda n, of: progress("roll", n, of)
        )
        with workbench.book.transaction(actor) as tx:
            _evidence(tx, pool, found, again=landing.resumed)
        landing.close()
    return found


def _key(pool: Pool, files: Sequence[UsageFile]) -> str:
    """What an import is known by: its pool and its files' names and sizes."""
    digest = hashlib.blake2b(pool.code.encode(), digest_size=8)
    for file in files:
        digest.update(f"\x00{file.name}\x01{file.path.stat().st_size}".encode())
    return digest.hexdigest()


def _batches(
    files: Sequence[UsageFile], report: Refusals, convention: Convention, progress: Progress, stage: str
) -> Iterator[Samples]:
    sizes = {file.path: file.path.stat().st_size for file in files}
    total, done = sum(sizes.values()) or 1, 0

    def told(path: Path, _size: int) -> None:
        nonlocal done
        done += sizes[path]
        progress(stage, done, total)

    yield from read_usage_files(files, report, convention, progress=told)


def _known(
    workbench: Workbench, pool: Pool, batch: Samples, found: Imported, *, guessing: bool = False
) -> tuple[pa.Table, int]:
    """What a batch says of machines that the pool knows, by their numbers, and how many samples are of others; those are
    counted, unless they would be entered (``guessing``)."""
    with workbench.book.reading() as tx:
        known = inventory.ids(tx, pool.id, batch.external_ids)
    dense = np.array([known.get(name, -1) for name in batch.external_ids], np.int32)
    index = batch.table["resource"].to_numpy()
    ids = dense[index]
    stranger = ids < 0
    if stranger.any() and not guessing:
        counts = np.bincount(index[stranger], minlength=len(dense))
        found.unknown.update({batch.external_ids[one]: int(counts[one]) for one in np.flatnonzero(counts)})
    table = batch.table.set_column(0, "resource", pa.array(ids))
    if stranger.any():
        table = table.filter(pa.array(~stranger))
    return table, int(np.count_nonzero(stranger))


def _count(found: Imported, receipt: Receipt) -> None:
    found.samples += receipt.taken
    found.written += receipt.files
    found.refused.update(receipt.refused)
    found.days.update(receipt.days)


def _register(workbench: Workbench, pool: Pool, listing: Inventory, actor: Actor) -> int:
    """Enter what the files speak of and no listing has shown; what is known stays as its listings tell it."""
    with workbench.book.transaction(actor) as tx:
        where = tx.get_one(Pool, pool.id)
        known = inventory.ids(tx, pool.id, [one.external_id for one in listing.facts])
        fresh = [one for one in listing.facts if one.external_id not in known]
        if not fresh:
            return 0
        latest = observation.last_listing(tx, pool.id)
        as_of = max(min(listing.as_of, tx.now), latest.as_of) if latest else min(listing.as_of, tx.now)
        observation.observe(tx, where, Inventory(as_of, fresh, complete=False))
    return len(fresh)


def _strangers(workbench: Workbench, pool: Pool, listing: Inventory) -> int:
    with workbench.book.reading() as tx:
        known = inventory.ids(tx, pool.id, [one.external_id for one in listing.facts])
    return len(listing.facts) - len(known)


def _evidence(tx: Tx, pool: Pool, found: Imported, *, again: bool) -> None:
    """Enter what was refused, and that the import was made; the same again is entered once, unless it was broken off."""
    rows: list[tuple[str, str, int, str]] = []
    for reading in found.report.files:
        if reading.error is not None:
            rows.append((reading.file, reading.error.code, max(1, reading.rows), str(reading.error)))
            continue
        for reason, count in sorted(reading.reasons.items()):
            first = next((one for one in reading.examples if one.reason == reason), None)
            place = f"{first.line}:{first.column} {first.text}" if first else ""
            rows.append((reading.file, reason, count, place))
    rows += [("", reason, count, "") for reason, count in sorted(found.refused.items())]
    rows += [("", UNKNOWN, count, name) for name, count in found.unknown.most_common(20)]
    entered = 0
    for file, reason, count, example in rows:
        source = f"import:{file}"[:256] if file else "import"
        kept = {"source": source, "reason": reason[:64], "count": count, "example": example}
        same = select(SampleRefusal.id).where(
            SampleRefusal.pool_id == pool.id, *(getattr(SampleRefusal, name) == value for name, value in kept.items())
        )
        if tx.scalar(same.limit(1)) is None:
            tx.add(SampleRefusal(pool_id=pool.id, at=tx.now, **kept))
            entered += 1
    if found.written or found.registered or entered or again:
        tx.audit(
            "usage.import",
            f"pool:{pool.id}",
            after={
                "files": len(found.report.files),
                "samples": found.samples,
                "refused": found.report.refused,
                "values_refused": found.report.values_refused,
                "unknown": sum(found.unknown.values()),
                "registered": found.registered,
            },
        )


@dataclass(frozen=True, slots=True)
class ListingReport:
    """What came of an inventory file. ``drift`` is None, and ``error`` says why, where nothing was entered; ``again``: it is
    the last listing once more, and changed nothing; ``missing``: names of what it would end or whose end is held, the first
    of them."""

    report: Refusals
    drift: Drift | None
    error: Refused | None = None
    again: bool = False
    missing: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether everything in the file was taken, and what it says of the pool holds."""
        return (
            self.error is None
            and not self.report.refused
            and not self.report.values_refused
            and not (self.drift and self.drift.held)
        )


MISSING_NAMED = 50


def import_inventory(
    book: Book,
    pool: Pool,
    path: Path,
    *,
    as_of: datetime | None = None,
    actor: Actor | None = None,
    caution: Caution | None = CAUTION,
    write: bool = True,
    mapping: ColumnMapping | None = None,
) -> ListingReport:
    """Enter a file as a listing of ``pool`` as of ``as_of`` (else what the file says, else its date), in one transaction.

    Rows that make no sense are refused with their places, and make the listing incomplete: nothing is then concluded
    from what it lacks. A file that cannot be used, is older than what is known or of the future enters nothing. caution:
    how much the listing may end by itself. write False: only look what would come of it. mapping: tried before those that
    are kept for the pool.
    """
    report = Refusals()
    actor = actor or steward("import")
    try:
        with book.reading() as tx:
            kept = sheet_mappings.in_force(tx, pool.id, sheet_purposes.INVENTORY)
            mappings = [*([mapping] if mapping is not None else []), *kept]
        listing = read_inventory(path, report, arch=Arch(pool.arch), mappings=mappings)
        if as_of is not None:
            listing = Inventory(as_of, listing.facts, complete=listing.complete)
        with book.transaction(actor) if write else book.trial(actor) as tx:
            last = observation.last_listing(tx, pool.id)
            before = (last.as_of, last.complete) if last is not None else None
            if listing.as_of > tx.now:
                raise Conflict("inventory.future", N_("清单的时点 %(at)s 晚于现在"), at=listing.as_of)
            drift = observation.observe(tx, tx.get_one(Pool, pool.id), listing, caution=caution)
            again = before == (listing.as_of, drift.complete) and not (drift.new or drift.changed or drift.gone)
            missing = inventory.names(tx, [*drift.gone, *drift.held][:MISSING_NAMED])
            held_sheets.release(tx, pool.id)
    except Refused as error:
        return ListingReport(report, None, error)
    return ListingReport(report, drift, None, again, tuple(missing))


def pool_of(tx: Tx, code: str) -> Pool:
    """The pool called ``code``. Raises Invalid naming those there are."""
    found = tx.scalar(select(Pool).where(Pool.code == code))
    if found is None:
        known = ", ".join(tx.scalars(select(Pool.code).order_by(Pool.code)))
        raise Invalid(
            "pool.unknown",
            N_("没有代码为 %(code)s 的资源池;现有:%(known)s"),
            code=code,
            known=known or "—",
            field="pool",
        )
    return found
