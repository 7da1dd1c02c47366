"""Who reports into the lake: when each source last did, how much of what was due came on each day, who fell silent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import ForeignKey, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from metering.lake import Damaged, Reader
from providers.metrics import Array
from quota.base import Base, Count
from quota.directory import Pool
from quota.inventory import Resource

if TYPE_CHECKING:
    from metering.lake import Lake
    from metering.workbench import Workbench
    from quota.db import Tx

SILENT_AFTER = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Reporting:
    """last: the newest sample; silent: older than SILENT_AFTER; rows: samples in closed days."""

    name: str
    last: datetime
    silent: bool
    rows: int
    hot_files: int


def reporting(workbench: Workbench, now: datetime | None = None) -> list[Reporting]:
    """Every source, the longest silent first."""
    return reports(workbench.lake, now or workbench.book.clock())


def reports(lake: Lake, now: datetime) -> list[Reporting]:
    """Every source of `lake`, the longest silent first."""
    found = [
        Reporting(
            name,
            moment := datetime.fromtimestamp(one.last, UTC),
            now - moment > SILENT_AFTER,
            sum(one.rows.values()),
            one.hot_files,
        )
        for name, one in lake.sources().items()
    ]
    return sorted(found, key=lambda one: (one.last, one.name))


@dataclass(slots=True)
class Coverage:
    """One pool: day → samples that came (live, off or frozen) and that were due."""

    pool: str
    days: dict[date, tuple[int, int]] = field(default_factory=dict)


class CoverageDay(Base):
    """What came of what was due from a pool on a closed day, as of when the newest day was closed."""

    __tablename__ = "coverage_days"

    day: Mapped[date] = mapped_column(primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"), primary_key=True)
    came: Mapped[int] = mapped_column(Count)
    due: Mapped[int] = mapped_column(Count)


ALWAYS = ("vm", "bare_metal")
"""Kinds that are due from the first day; others (databases, cards) only once they have reported."""
DAYS = 30
"""So many of the newest closed days are kept, and shown."""


def keep(tx: Tx, lake: Lake, today: date) -> int:
    """Note what came of what was due on the closed days before ``today``; how many figures are others than before. A job's work, when a day
    was closed."""
    last = _last(lake, today)
    if last is None:
        return 0
    first, changed = last - timedelta(days=DAYS - 1), 0
    tx.execute(delete(CoverageDay).where(CoverageDay.day < first))
    stood = {(one.day, one.pool_id): one for one in tx.scalars(select(CoverageDay))}
    for (day, pool_id), (came, due) in _reckoned(tx, lake, first, last).items():
        one = stood.pop((day, pool_id), None)
        if one is None:
            tx.add(CoverageDay(day=day, pool_id=pool_id, came=came, due=due))
        elif (one.came, one.due) == (came, due):
            continue
        else:
            one.came, one.due = came, due
        changed += 1
    tx.flush()
    return changed


def kept(tx: Tx, lake: Lake, today: date) -> bool:
    """Whether the newest closed day is among what is kept."""
    last = _last(lake, today)
    return last is None or tx.scalar(select(func.max(CoverageDay.day))) == last


def coverage(tx: Tx, lake: Lake, first: date, last: date) -> list[Coverage]:
    """Per pool and closed day: what came of what was due, 288 a day from each machine in the inventory that day; as it was kept, or
    reckoned where a day was closed since.

    A machine is due from when it was made (or first seen) until it was gone. Days that are not closed are left out.
    """
    query = select(CoverageDay).where(CoverageDay.day >= first, CoverageDay.day <= last)
    figures = {(one.day, one.pool_id): (one.came, one.due) for one in tx.scalars(query)}
    newest = max((day for day, _pool in figures), default=None)
    if any(day <= last and day >= first and (newest is None or day > newest) for day in lake.days()):
        figures = _reckoned(tx, lake, first, last)
    found = {number: Coverage(name) for number, name in tx.execute(select(Pool.id, Pool.name).order_by(Pool.id))}
    for (day, number), (came, due) in sorted(figures.items()):
        if due:
            found[number].days[day] = (came, due)
    return [one for one in found.values() if one.days]


def _last(lake: Lake, today: date) -> date | None:
    return max((day for day in lake.days() if day < today), default=None)


def _reckoned(tx: Tx, lake: Lake, first: date, last: date) -> dict[tuple[date, int], tuple[int, int]]:
    """Closed day and pool → samples that came and that were due."""
    rows = tx.execute(
        select(
            Resource.id,
            Resource.kind,
            Resource.pool_id,
            Resource.created_at,
            Resource.first_seen_at,
            Resource.gone_at,
        ).order_by(Resource.id)
    ).all()
    ids = np.array([row.id for row in rows], np.int64)
    pool_of = np.array([row.pool_id for row in rows], np.int64)
    begins = np.array([(row.created_at or row.first_seen_at).timestamp() for row in rows])
    ends = np.array([row.gone_at.timestamp() if row.gone_at else np.inf for row in rows])
    days = [first + timedelta(days=step) for step in range((last - first).days + 1)]
    came = {day: got for day in days if (got := _came(lake, day, ids)) is not None}
    reports = np.array([row.kind in ALWAYS for row in rows], bool)
    for got in came.values():
        reports |= got > 0
    pools = list(tx.scalars(select(Pool.id).order_by(Pool.id)))
    found: dict[tuple[date, int], tuple[int, int]] = {}
    for day, got in came.items():
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() - lake.utc_offset_s
        share = np.clip(np.minimum(ends, midnight + 86_400) - np.maximum(begins, midnight), 0, 86_400) / 86_400
        due = np.maximum(np.where(reports, np.floor(share * lake.slots).astype(np.int64), 0), got)
        for number in pools:
            mine = pool_of == number
            found[day, number] = (int(got[mine].sum()), int(due[mine].sum()))
    return found


def _came(lake: Lake, day: date, ids: Array) -> Array | None:
    """Samples of each of `ids` (sorted) on a closed day; None if it isn't closed, or can't be read."""
    try:
        with Reader(lake.path("daily", day)) as reader:
            table = reader.read(range(len(reader.ranges)), ["resource", "n_live", "n_off", "n_frozen"])
    except (FileNotFoundError, Damaged):
        return None
    total = table["n_live"].astype(np.int64) + table["n_off"] + table["n_frozen"]
    got = np.zeros(len(ids), np.int64)
    if len(ids) and len(total):
        at = np.minimum(np.searchsorted(table["resource"], ids), len(total) - 1)
        there = table["resource"][at] == ids
        got[there] = total[at[there]]
    return got
