"""Who reports into the lake: when each source last did, how much of what was due came on each day, who fell silent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select

from metering.lake import Damaged, Reader
from providers.metrics import Array
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


ALWAYS = ("vm", "bare_metal")
"""Kinds that are due from the first day; others (databases, cards) only once they have reported."""


def coverage(tx: Tx, lake: Lake, first: date, last: date) -> list[Coverage]:
    """Per pool and closed day: what came of what was due, 288 a day from each machine in the inventory that day.

    A machine is due from when it was made (or first seen) until it was gone. Days that are not closed are left out.
    """
    pools = {pool.id: pool.name for pool in tx.scalars(select(Pool).order_by(Pool.id))}
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
    found = {number: Coverage(name) for number, name in pools.items()}
    for day, got in came.items():
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() - lake.utc_offset_s
        share = np.clip(np.minimum(ends, midnight + 86_400) - np.maximum(begins, midnight), 0, 86_400) / 86_400
        due = np.maximum(np.where(reports, np.floor(share * lake.slots).astype(np.int64), 0), got)
        for number, one in found.items():
            mine = pool_of == number
            if due[mine].any():
                one.days[day] = (int(got[mine].sum()), int(due[mine].sum()))
    return [one for one in found.values() if one.days]


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
