"""In which hours a resource is proven to have been there: by samples that arrived, or by listings that show it.

An hour is covered where a live sample or one of a machine that is off arrived in it. A frozen reading (an agent that repeats
itself) proves nothing. An hour is covered as well where it lies wholly between two listings of the pool that tell all of its kind, no more
than ``REACH`` apart, that both show the resource. All else is silence: unknown, not zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from metering.lake import Lake, Late, Reader, number_of
from metering.statements.allocation import HOUR
from providers import observation
from providers.observation import Listing
from quota.inventory import Resource

if TYPE_CHECKING:
    from quota.db import Tx

REACH = timedelta(hours=26)
"""Between listings further apart than this nobody knows: a day, and two hours for one that was late."""


@dataclass(frozen=True, slots=True)
class Presence:
    """``covered``: [resources, hours] from ``start`` on, in the order of ``ids`` (rising)."""

    ids: NDArray[np.int64]
    start: datetime
    covered: NDArray[np.bool_]

    def stretches(self) -> dict[int, list[tuple[datetime, datetime]]]:
        """Resource id → its covered stretches, for metering.statements.reconciliation."""
        edges = np.diff(np.pad(self.covered, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        rows, first = np.nonzero(edges == 1)
        _, last = np.nonzero(edges == -1)
        found: dict[int, list[tuple[datetime, datetime]]] = {int(one): [] for one in self.ids}
        for row, low, high in zip(rows.tolist(), first.tolist(), last.tolist(), strict=True):
            found[int(self.ids[row])].append((self.start + timedelta(hours=low), self.start + timedelta(hours=high)))
        return found


def observed(tx: Tx, lake: Lake, start: datetime, end: datetime, ids: Iterable[int]) -> Presence:
    """The hours within [start, end) in which each of ``ids`` is proven. ``start`` is a full hour."""
    ordered = np.unique(np.fromiter(ids, np.int64))
    covered = np.zeros((len(ordered), -(-int((end - start).total_seconds()) // HOUR)), bool)
    if len(ordered):
        _by_samples(lake, start, ordered, covered)
        _by_listings(tx, start, end, ordered, covered)
    return Presence(ordered, start, covered)


def _by_samples(lake: Lake, start: datetime, ids: NDArray[np.int64], covered: NDArray[np.bool_]) -> None:
    """Hours of closed days in which a sample arrived that tells something."""
    base = int(start.timestamp()) // HOUR
    for day in _days(lake, start, covered.shape[1]):
        try:
            with Reader(lake.path("hours", day)) as reader:
                groups = reader.groups(int(ids[0]), int(ids[-1]) + 1)
                found = reader.read(groups, ["resource", "hour", "n_live", "n_off"]) if groups else {}
        except FileNotFoundError:
            continue
        if not found:
            continue
        resource = found["resource"].astype(np.int64)
        heads = np.flatnonzero(np.append(True, resource[1:] != resource[:-1]))  # a resource's hours lie together
        row = np.minimum(np.searchsorted(ids, resource[heads]), len(ids) - 1)
        row = np.repeat(row, np.diff(np.append(heads, len(resource))))
        hour = _hour(lake, day) - base + found["hour"].astype(np.int64)
        told = (found["n_live"] > 0) | (found["n_off"] > 0)
        good = told & (ids[row] == resource) & (hour >= 0) & (hour < covered.shape[1])
        covered[row[good], hour[good]] = True
    _by_late_samples(lake, base, ids, covered)


def _by_late_samples(lake: Lake, base: int, ids: NDArray[np.int64], covered: NDArray[np.bool_]) -> None:
    """Hours of settled months that samples which came afterwards prove: they lie beside the days, as corrections. What is
    frozen, seen together with the day that they complete, proves nothing here either."""
    for day in sorted({one.day for one in _late(lake, base, covered.shape[1])}):
        for found in lake.corrected_hours(day):
            told = (found["n_live"].to_numpy() > 0) | (found["n_off"].to_numpy() > 0)
            resource = found["resource"].to_numpy().astype(np.int64)
            row = np.minimum(np.searchsorted(ids, resource), len(ids) - 1)
            hour = _hour(lake, day) - base + found["hour"].to_numpy().astype(np.int64)
            good = told & (ids[row] == resource) & (hour >= 0) & (hour < covered.shape[1])
            covered[row[good], hour[good]] = True


def evidence(lake: Lake, start: datetime, end: datetime) -> Iterator[str]:
    """Which of the lake's files tell of hours within [start, end): the same again, the same hours of samples. A file that
    was written again is another one."""
    hours = -(-int((end - start).total_seconds()) // HOUR)
    for day in _days(lake, start, hours):
        yield _which(lake.path("hours", day))
    late = _late(lake, int(start.timestamp()) // HOUR, hours)
    for one in late:
        yield f"{one.day} {one.source} {one.number} {one.digest}"
    for day in sorted({one.day for one in late}):  # what is frozen hangs on the day itself and on its neighbours
        yield _which(lake.path("days", day))
        for step in (-1, 1):
            yield _which(lake.path("daily", day + timedelta(days=step)))


def _which(path: Path) -> str:
    try:
        file = path.stat()
    except FileNotFoundError:
        return f"{path.parent.name}/{path.name} -"
    return f"{path.parent.name}/{path.name} {file.st_ino} {file.st_size} {file.st_mtime_ns}"


def _days(lake: Lake, start: datetime, hours: int) -> list[date]:
    """The lake's days that reach into so many hours from ``start`` on, and one more."""
    first = (start.astimezone(UTC) + timedelta(seconds=lake.utc_offset_s)).date()
    return [first + timedelta(days=ahead) for ahead in range(hours // 24 + 2)]


def _late(lake: Lake, base: int, hours: int) -> list[Late]:
    """What came for settled days that reach into so many hours from the hour ``base`` on."""
    return [one for one in lake.corrections() if -24 < _hour(lake, one.day) - base < hours]


def _hour(lake: Lake, day: date) -> int:
    """The hour since 1970 at which a day of the lake begins."""
    return (number_of(day) * 86_400 - lake.utc_offset_s) // HOUR


def _by_listings(tx: Tx, start: datetime, end: datetime, ids: NDArray[np.int64], covered: NDArray[np.bool_]) -> None:
    """Hours between listings that both show the resource."""
    told: dict[int, list[tuple[datetime, frozenset[str]]]] = {}
    for pool_id, as_of, short in tx.execute(
        select(Listing.pool_id, Listing.as_of, Listing.short)
        .where(observation.telling(), Listing.as_of > start - REACH, Listing.as_of < end + REACH)
        .order_by(Listing.pool_id, Listing.as_of)
    ):
        told.setdefault(pool_id, []).append((as_of, frozenset(short.split())))
    if not any(len(one) > 1 for one in told.values()):
        return

    @cache
    def hours(pool_id: int, kind: str) -> NDArray[np.bool_]:
        moments = [as_of for as_of, short in told[pool_id] if kind not in short]
        return _hours([(a, b) for a, b in pairwise(moments) if b - a <= REACH], start, covered.shape[1])

    wanted = set(ids.tolist())
    query = select(
        Resource.id, Resource.pool_id, Resource.kind, Resource.first_seen_at, Resource.last_seen_at
    ).where(Resource.last_seen_at.is_not(None), Resource.pool_id.in_(list(told)))  # fmt: skip
    for resource_id, pool_id, kind, seen, last in tx.execute(query):
        if resource_id in wanted and last is not None:
            low, high = _inside(seen, last, start, covered.shape[1])
            if low < high:
                row = int(np.searchsorted(ids, resource_id))
                covered[row, low:high] |= hours(pool_id, kind)[low:high]


def _hours(stretches: Sequence[tuple[datetime, datetime]], start: datetime, count: int) -> NDArray[np.bool_]:
    """Hours wholly within the stretches; those that touch are one."""
    merged: list[tuple[datetime, datetime]] = []
    for first, last in stretches:
        if merged and merged[-1][1] == first:
            merged[-1] = merged[-1][0], last
        else:
            merged.append((first, last))
    found = np.zeros(count, bool)
    for first, last in merged:
        low, high = _inside(first, last, start, count)
        found[low:high] = True
    return found


def _inside(first: datetime, last: datetime, start: datetime, count: int) -> tuple[int, int]:
    """The full hours within [first, last), counted from ``start``."""
    low = -(-int((first - start).total_seconds()) // HOUR)
    high = int((last - start).total_seconds()) // HOUR
    return max(low, 0), min(high, count)
