"""What the lake gives out: exact windows of many resources, charts of one, counts for coverage.

Windows come block by block, so that memory is bounded whatever the size of the city. A resource without a sample on
any day of the window is in no block: its silence is for the caller to say.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metering.lake.dayblock import lay
from metering.lake.files import BLOCK, Footers, Reader, number_of
from metering.lake.samples import COLUMNS, Cells, natural, nothing
from providers.metrics import ABSENT, FROZEN, LIVE, OFF, Array

if TYPE_CHECKING:
    from metering.lake.places import Places


_THREADS = min(4, os.cpu_count() or 1)
_footers = Footers()
"""Of the days that charts were last drawn of: the next resource's chart is of the same days."""


@dataclass(frozen=True, slots=True)
class SampleMatrix:
    """resources: int32 [r]; state: uint8 [r, n]; values: column -> [r, n] as the lake keeps it; n = days x slots."""

    resources: NDArray[np.int32]
    state: NDArray[np.uint8]
    values: dict[str, Array]


@dataclass(frozen=True, slots=True)
class ChartData:
    """ts: int64 [n], the starts of equal steps; state: uint8 [n]; values: metric -> float64 [n] in its unit, NaN = gap;
    count: live samples in each step, of ``expected``."""

    ts: NDArray[np.int64]
    state: NDArray[np.uint8]
    values: dict[str, NDArray[np.float64]]
    count: NDArray[np.int64]
    expected: int

    @property
    def coverage(self) -> float:
        """Live samples as a share of those expected over the chart, 0..1; NaN for an empty chart."""
        return float(self.count.sum() / (self.expected * len(self.ts))) if len(self.ts) else float("nan")


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


class Days(Protocol):
    """Closed days that can be read: a lake's own, or copies of them somewhere else."""

    slots: int

    def open(self, kind: str, day: date) -> Reader: ...


def windows(
    lake: Places, resources: Iterable[int] | None, first_day: date, last_day: date, metrics: Sequence[str]
) -> Iterator[SampleMatrix]:
    """Blocks of ``resources`` (None: all there are), sorted by id, over closed days ``first_day`` to ``last_day``.

    ``metrics``: metric or capacity columns. Raises KeyError for a column that is none, Damaged for a broken file.
    """
    with ExitStack() as stack:
        yield from blocks(_Held(lake, stack), resources, first_day, last_day, metrics)


class _Held:
    """A lake whose days, once opened, stay so until the stack is left: one pass sees each as it was."""

    def __init__(self, lake: Places, stack: ExitStack) -> None:
        self.slots, self._lake, self._stack = lake.slots, lake, stack

    def open(self, kind: str, day: date) -> Reader:
        return self._stack.enter_context(Reader(self._lake.path(kind, day)))


def blocks(
    days: Days, resources: Iterable[int] | None, first_day: date, last_day: date, metrics: Sequence[str]
) -> Iterator[SampleMatrix]:
    """As `windows`, from wherever the days lie."""
    for name in metrics:
        COLUMNS[name]  # a KeyError names the stranger
    wanted = None if resources is None else np.unique(np.fromiter(resources, np.int32))
    span = _days(first_day, last_day)
    readers: list[tuple[int, Reader]] = []
    for number, day in enumerate(span):
        with suppress(FileNotFoundError):
            readers.append((number, days.open("days", day)))
    lows = {low // BLOCK for _, reader in readers for low, high in reader.ranges if low <= high}
    if wanted is not None:
        lows &= set(np.unique(wanted // BLOCK).tolist())
    for block in sorted(lows):
        found = _block(days.slots, readers, block * BLOCK, len(span), metrics)
        if wanted is not None:
            keep = np.isin(found.resources, wanted, assume_unique=True)
            if not keep.all():
                found = SampleMatrix(
                    found.resources[keep],
                    found.state[keep],
                    {name: column[keep] for name, column in found.values.items()},
                )
        if len(found.resources):
            yield found


def _block(
    slots: int, readers: Sequence[tuple[int, Reader]], low: int, days: int, metrics: Sequence[str]
) -> SampleMatrix:
    parts = [
        (number, *reader.dense(groups, metrics, slots))
        for number, reader in readers
        if (groups := reader.groups(low, low + BLOCK))
    ]
    ids = np.unique(np.concatenate([there for _, there, _, _ in parts])) if parts else np.zeros(0, np.int32)
    state = np.full((len(ids), days, slots), ABSENT, np.uint8)
    values = {name: np.full((len(ids), days, slots), nothing(name), COLUMNS[name]) for name in metrics}
    for number, there, states, columns in parts:
        rows: Any = slice(None) if len(there) == len(ids) else np.searchsorted(ids, there)
        state[rows, number] = states
        for name, column in columns.items():
            values[name][rows, number] = column
    n = days * slots
    return SampleMatrix(ids, state.reshape(-1, n), {name: column.reshape(-1, n) for name, column in values.items()})


def chart(lake: Places, resource: int, start: datetime, end: datetime, metrics: Sequence[str]) -> ChartData:
    """One resource from ``start`` to ``end`` (rounded to slots) from raw samples, those not yet closed included."""
    step, offset = lake.step_s, lake.utc_offset_s
    first, last = int(start.timestamp()) // step, -(-int(end.timestamp()) // step)
    n = max(0, last - first)
    state = np.full(n, ABSENT, np.uint8)
    values = {name: np.full(n, np.nan) for name in metrics}
    days = _days(_local(start, offset), _local(end - timedelta(seconds=1), offset)) if n else []
    with ThreadPoolExecutor(_THREADS) as readers:  # unpacking a day's row group is work for a core of its own
        told = list(readers.map(lambda day: _day(lake, day, resource, list(metrics)), days))
    for day, found in zip(days, told, strict=True):
        begin = (number_of(day) * 86_400 - offset) // step - first
        low, high = max(0, begin), min(n, begin + lake.slots)
        if found is not None and low < high:
            cut = slice(low - begin, high - begin)
            state[low:high] = found[0][cut]
            for name, column in found[1].items():
                values[name][low:high] = natural(name, column)[cut]
    ts = (first + np.arange(n, dtype=np.int64)) * step
    return ChartData(ts, state, values, (state == LIVE).astype(np.int64), 1)


def _day(
    lake: Places, day: date, resource: int, metrics: Sequence[str]
) -> tuple[NDArray[np.uint8], dict[str, Array]] | None:
    """One resource's states and values on a day, closed or not; None if nothing came."""
    if not lake.hot_files(day):
        # The usual case: a closed day. Nothing has to be laid, its row of slots is read as it is.
        try:
            with Reader(lake.path("days", day), known=_footers) as reader:
                return reader.row(resource, metrics, lake.slots)
        except FileNotFoundError:
            pass  # not closed; or there is something hot by now
    parts = _parts(lake, day, resource, metrics)
    block = lay([part for part in parts if len(part)], lake.slots)
    if not len(block.resource):
        return None
    # A closed day knows which slots are frozen; laying its cells anew does not.
    known = _closed_states(parts, lake.slots)
    return np.where(known == FROZEN, FROZEN, block.state[0]), {
        name: block.values[name][0] for name in metrics if name in block.values
    }


def _parts(lake: Places, day: date, resource: int, columns: Sequence[str]) -> list[Cells]:
    """The closed day's cells first, then those of hot files, one resource's.

    Hot files are listed before the day is opened: what is no longer listed is in the day, and what has gone since it
    was listed sends us back to the beginning.
    """
    while True:
        hot = lake.hot_files(day)
        parts = []
        try:
            with Reader(lake.path("days", day)) as reader:
                parts.append(reader.cells(resource, resource + 1, columns))
        except FileNotFoundError:
            pass  # not closed yet
        try:
            for path in hot:
                with Reader(path) as reader:
                    parts.append(reader.cells(resource, resource + 1, columns))
        except FileNotFoundError:
            continue
        return parts


def _closed_states(parts: Sequence[Any], slots: int) -> NDArray[np.uint8]:
    known = np.full(slots, ABSENT, np.uint8)
    for part in parts:
        frozen = part.state == FROZEN
        known[part.slot[frozen]] = FROZEN
    return known


def _local(moment: datetime, offset: int) -> date:
    return (moment.astimezone(UTC) + timedelta(seconds=offset)).date()


def hours(lake: Places, resource: int, start: datetime, end: datetime, metrics: Sequence[str]) -> ChartData:
    """One resource's hourly means of closed days; ``count`` of 12 samples expected an hour (at a step of 300 s)."""
    offset = lake.utc_offset_s
    first, last = int(start.timestamp()) // 3600, -(-int(end.timestamp()) // 3600)
    n = max(0, last - first)
    values = {name: np.full(n, np.nan) for name in metrics}
    state = np.full(n, ABSENT, np.uint8)
    count = np.zeros(n, np.int64)
    day, stop = _local(start, offset), _local(end - timedelta(seconds=1), offset) if n else _local(start, offset)
    while n and day <= stop:
        try:
            with Reader(lake.path("hours", day), known=_footers) as reader:
                wanted = ["resource", "hour", "n_live", "n_off", "n_frozen", *(f"{name}_mean" for name in metrics)]
                found = reader.read(reader.groups(resource, resource + 1), wanted)
        except FileNotFoundError:
            found = {}
        if found:
            mine = found["resource"] == resource
            at = (number_of(day) * 86_400 - offset) // 3600 - first + found["hour"][mine].astype(np.int64)
            inside = (at >= 0) & (at < n)
            at = at[inside]
            live, off, frozen = (found[name][mine][inside] for name in ("n_live", "n_off", "n_frozen"))
            count[at] = live
            state[at] = np.select([live > 0, off > 0, frozen > 0], [LIVE, OFF, FROZEN], ABSENT)
            for name in metrics:
                if f"{name}_mean" in found:
                    values[name][at] = found[f"{name}_mean"][mine][inside]
        day += timedelta(days=1)
    ts = (first + np.arange(n, dtype=np.int64)) * 3600
    return ChartData(ts, state, values, count, 3600 // lake.step_s)


def counts(
    lake: Places, first_day: date, last_day: date, resources: Iterable[int] | None = None
) -> dict[int, NDArray[np.int64]]:
    """Resource -> samples [live, off, frozen] over the closed days: what coverage is made of. Of ``resources`` alone, where they are
    named: of a day only the row groups that may hold some of them are read."""
    total: dict[int, NDArray[np.int64]] = {}
    wanted = None if resources is None else np.unique(np.fromiter(resources, np.int64))
    for day in _days(first_day, last_day):
        ids, three = day_counts(lake, day, wanted)
        for resource, row in zip(ids.tolist(), three, strict=True):
            total[resource] = total[resource] + row if resource in total else row
    return total


def day_counts(
    lake: Places, day: date, wanted: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Resources [r], and their samples [r, 3] (live, off, frozen) of one day; none of a day that is not closed. Of ``wanted`` (rising)
    alone, where they are named."""
    nobody = np.zeros(0, np.int64), np.zeros((0, 3), np.int64)
    try:
        with Reader(lake.path("daily", day), known=_footers) as reader:
            groups = _groups(reader, wanted)
            if not groups:
                return nobody
            found = reader.read(groups, ["resource", "n_live", "n_off", "n_frozen"])
    except FileNotFoundError:
        return nobody
    ids = found["resource"].astype(np.int64)
    three = np.stack([found[name].astype(np.int64) for name in ("n_live", "n_off", "n_frozen")], axis=1)
    if wanted is not None:
        mine = np.isin(ids, wanted)
        ids, three = ids[mine], three[mine]
    return ids, three


def _groups(reader: Reader, wanted: NDArray[np.int64] | None) -> list[int]:
    """The row groups that may hold some of ``wanted`` (rising); all of them for None."""
    if wanted is None:
        return list(range(len(reader.ranges)))
    lows, highs = np.array(reader.ranges, np.int64).reshape(-1, 2).T
    theirs = np.searchsorted(wanted, lows) < np.searchsorted(wanted, highs, "right")
    return np.flatnonzero(theirs).tolist()


def hours_above(
    lake: Places, resources: Iterable[int], first_day: date, last_day: date, metric: str, least: float
) -> dict[int, tuple[int, int]]:
    """Of ``resources`` -> (hours of closed days in which ``metric`` was told, those of them whose mean is ``least`` or more).

    ``least`` in the metric's unit. Those that never told it are absent. Of a day only the row groups that may hold some of
    them are read, and what is kept is two numbers a resource, however many days there are.
    """
    wanted = np.unique(np.fromiter(resources, np.int64))
    hours, above = np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.int64)
    columns = ["resource", f"{metric}_n", f"{metric}_mean"]
    for day in _days(first_day, last_day):
        try:
            with Reader(lake.path("hours", day)) as reader:
                groups = _groups(reader, wanted)
                if columns[-1] not in reader.names or not groups:
                    continue  # nobody told it on that day, or none of these
                found = reader.read(groups, columns)
        except FileNotFoundError:
            continue
        told = (found[columns[1]] > 0) & np.isin(found["resource"], wanted)
        place = np.searchsorted(wanted, found["resource"][told])
        hours += np.bincount(place, minlength=len(wanted))
        above += np.bincount(place[found[columns[2]][told] >= least], minlength=len(wanted))
    heard = np.flatnonzero(hours)
    return {int(wanted[one]): (int(hours[one]), int(above[one])) for one in heard}


__all__ = ["ChartData", "SampleMatrix", "chart", "counts", "hours", "hours_above", "windows"]
