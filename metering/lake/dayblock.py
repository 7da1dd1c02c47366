"""One day of a range of resources as matrices [resource, slot]: deliveries laid over each other, and what froze.

A machine that is gone may go on reporting its last values. A *run* is a sequence of live samples of one
resource with all metrics identical; gaps don't end it, an "off" sample or a whole day of silence does. It is
frozen

* after an hour of samples, if at least two metrics that move by themselves on a living machine (CPU, card,
  disk and network rates, connections) have digits enough (`Metric.telling`) not to repeat by chance;
* after a day of samples, if anything but disk_pct is not zero. An idle machine rounded to 0.5 % CPU and
  nothing else repeats itself for hours; it can't be told from a frozen one sooner.

All zero is never frozen: it is what idle machines say. Runs go on over midnight, for one day either way: the
two neighbours' `Edges` are enough to know.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metering.lake.samples import CAPACITIES, COLUMNS, NO_SEC, Cells, nothing
from providers.metrics import ABSENT, FROZEN, LIVE, METRICS, OFF, Array, reported


@dataclass(slots=True)
class DayBlock:
    """resource: int32 [r], sorted; state: uint8, sec: uint16, values and lags by column: all [r, slots]."""

    resource: NDArray[np.int32]
    state: NDArray[np.uint8]
    sec: NDArray[np.uint16]
    values: dict[str, Array]
    lags: dict[str, NDArray[np.uint16]]

    def cells(self) -> Cells:
        """All slots of all resources, those in which nothing came too."""
        r, slots = self.state.shape
        return Cells(
            np.repeat(self.resource, slots),
            np.tile(np.arange(slots, dtype=np.uint16), r),
            self.sec.ravel(),
            self.state.ravel(),
            {name: column.ravel() for name, column in self.values.items()},
            {name: lag.ravel() for name, lag in self.lags.items()},
        )

    def rows(self, first: int, end: int) -> DayBlock:
        """Some of the resources, by position."""
        part = slice(first, end)
        return DayBlock(
            self.resource[part],
            self.state[part],
            self.sec[part],
            {name: column[part] for name, column in self.values.items()},
            {name: lag[part] for name, lag in self.lags.items()},
        )


def _places(several: Sequence[NDArray[np.int32]]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """All ids of these, each once and in order, and the place among them of each id from the first on. Ids lie close together: to
    mark those that are there costs a tenth of sorting them."""
    if not several:
        return np.zeros(0, np.int32), np.zeros(0, np.int64)
    low, high = min(int(one.min()) for one in several), max(int(one.max()) for one in several)
    there = np.zeros(high - low + 1, bool)
    for one in several:
        there[one - low] = True
    return (np.flatnonzero(there) + low).astype(np.int32), np.cumsum(there) - 1


@dataclass(frozen=True, slots=True)
class _Spots:
    """Where the cells of one delivery lie in matrices [r, slots]: `box` (rows, slots) if each resource has the same slots without a
    gap between, as of those who report in time; else `cells`, counted row by row."""

    box: tuple[Any, slice] | None
    shape: tuple[int, ...]
    cells: NDArray[np.int64]

    @classmethod
    def of(cls, part: Cells, row: NDArray[np.int64], slots: int) -> _Spots:
        """`row`: in which row each of its cells lies, rising."""
        each = int(np.searchsorted(row, row[0], side="right"))
        if len(part) % each == 0:
            rows, slot = row.reshape(-1, each), part.slot.reshape(-1, each)
            first, end = int(slot[0, 0]), int(slot[0, -1]) + 1
            if end - first == each and (rows[:, 0] == rows[:, -1]).all() and (slot == slot[0]).all():
                low, high = int(rows[0, 0]), int(rows[-1, 0]) + 1
                which = slice(low, high) if high - low == len(rows) else rows[:, 0]
                return cls((which, slice(first, end)), rows.shape, np.zeros(0, np.int64))
        return cls(None, (len(part),), row * slots + part.slot)

    def get(self, matrix: Array) -> Array:
        found: Array = matrix.reshape(-1)[self.cells] if self.box is None else matrix[self.box]
        return found

    def put(self, matrix: Array, column: Any) -> None:
        told = column.reshape(self.shape) if isinstance(column, np.ndarray) else column
        if self.box is None:
            matrix.reshape(-1)[self.cells] = told
        else:
            matrix[self.box] = told


def lay(parts: Sequence[Cells], slots: int, columns: Collection[str] = (), lagging: Collection[str] = ()) -> DayBlock:
    """Deliveries of one day laid over each other, in the order in which they came (see metering.lake.samples).

    The block has the columns that say anything, and `columns` (and the lags `lagging`) even where they don't.
    """
    names = [name for name in COLUMNS if name in columns or any(name in part.values for part in parts)]
    parts = [part for part in parts if len(part)]
    ids, place = _places([part.resource for part in parts])
    spots = [_Spots.of(part, place[part.resource - ids[0]], slots) for part in parts]
    if not any(part.lags for part in parts) and _apart(spots, (len(ids), slots)):
        return _beside(parts, spots, ids, slots, names, columns, lagging)
    return _over(parts, ids, place, slots, names, columns, lagging)


def _apart(several: Sequence[_Spots], shape: tuple[int, int]) -> bool:
    """Whether no two deliveries have a cell in common."""
    if len(several) < 2:
        return True
    taken = np.zeros(shape, bool)
    for spots in several:
        if spots.get(taken).any():
            return False
        spots.put(taken, True)
    return True


def _beside(
    parts: Sequence[Cells],
    several: Sequence[_Spots],
    ids: NDArray[np.int32],
    slots: int,
    names: Sequence[str],
    columns: Collection[str],
    lagging: Collection[str],
) -> DayBlock:
    """As `_over`, of deliveries that have no cell in common and no lags: each cell is as the one that has it says."""
    shape = len(ids), slots
    values: dict[str, Array] = {name: np.full(shape, nothing(name), COLUMNS[name]) for name in names}
    first = np.full(shape, NO_SEC)
    state = np.full(shape, ABSENT, np.uint8)
    said: set[str] = set()
    for part, spots in zip(parts, several, strict=True):
        there = {name: reported(column) for name, column in part.values.items()}
        whole = {name: bool(one.all()) for name, one in there.items()}
        live: Array | None = None  # None: all of them
        if not any(whole[name] for name in whole if name in METRICS):
            live = np.zeros(len(part), bool)
            for name, one in there.items():
                if name in METRICS:
                    live |= one
        for name, column in part.values.items():
            if name in CAPACITIES and live is not None:
                there[name] = there[name] & live
                whole[name] = bool(there[name].all())
            if whole[name]:
                spots.put(values[name], column)
                said.add(name)
            elif there[name].any():
                spots.put(values[name], np.where(there[name], column, nothing(name)))
                said.add(name)
        if live is None:
            spots.put(first, part.sec)
            spots.put(state, LIVE)
        else:
            off = ~live & (part.state == OFF)
            spots.put(first, np.where(live | off, part.sec, NO_SEC))
            spots.put(state, np.where(live, LIVE, np.where(off, OFF, ABSENT)).astype(np.uint8))
    lags = {name: np.zeros(shape, np.uint16) for name in names if name in lagging}
    return DayBlock(ids, state, first, {n: c for n, c in values.items() if n in columns or n in said}, lags)


def _over(
    parts: Sequence[Cells],
    ids: NDArray[np.int32],
    place: NDArray[np.int64],
    slots: int,
    names: Sequence[str],
    columns: Collection[str],
    lagging: Collection[str],
) -> DayBlock:
    """Deliveries that may have cells in common: of each column the first to the second says it."""
    size = len(ids) * slots
    values: dict[str, Array] = {name: np.full(size, nothing(name), COLUMNS[name]) for name in names}
    secs = {name: np.full(size, NO_SEC) for name in names}
    off_sec = np.full(size, NO_SEC)
    for part in parts:
        cell = place[part.resource - ids[0]] * slots + part.slot
        off = np.flatnonzero(part.state == OFF)
        if len(off):
            gone, sec = cell[off], part.sec[off]
            off_sec[gone] = np.minimum(off_sec[gone], sec)
            for name in names:
                corrected = gone[secs[name][gone] == sec]
                values[name][corrected] = nothing(name)
                secs[name][corrected] = NO_SEC
        for name, column in part.values.items():
            sec = part.sec + part.lags[name] if name in part.lags else part.sec
            speaks = reported(column) & (sec <= secs[name][cell])
            if speaks.all():
                values[name][cell], secs[name][cell] = column, sec
            else:
                values[name][cell[speaks]], secs[name][cell[speaks]] = column[speaks], sec[speaks]

    first = np.full(size, NO_SEC)
    for name in names:
        if name in METRICS:
            np.minimum(first, secs[name], out=first)
    live = first != NO_SEC
    off_now = ~live & (off_sec != NO_SEC)
    for name in names:
        if name in CAPACITIES:
            values[name][~live], secs[name][~live] = nothing(name), NO_SEC
            np.minimum(first, secs[name], out=first)
    first[off_now] = off_sec[off_now]
    state = np.where(live, LIVE, np.where(off_now, OFF, ABSENT)).astype(np.uint8)
    lags = {}
    for name in names:
        late = (secs[name] != first) & (secs[name] != NO_SEC)
        if name in lagging or late.any():
            lags[name] = np.where(late, secs[name] - first, 0).astype(np.uint16).reshape(-1, slots)
    matrices = {n: c.reshape(-1, slots) for n, c in values.items() if n in columns or reported(c).any()}
    return DayBlock(ids, state.reshape(-1, slots), first.reshape(-1, slots), matrices, lags)


@dataclass(slots=True)
class Edges:
    """First and last run of each resource's day: what its neighbours need to know.

    resource: int32 [r]; run: samples, uint16; mark: a number that equal values share, uint64, 0 = none;
    limit: uint16, the samples after which such a run is frozen. whole: the day is one run, bool.
    """

    resource: NDArray[np.int32]
    head_run: NDArray[np.uint16]
    head_mark: NDArray[np.uint64]
    head_limit: NDArray[np.uint16]
    tail_run: NDArray[np.uint16]
    tail_mark: NDArray[np.uint64]
    tail_limit: NDArray[np.uint16]
    whole: NDArray[np.bool_]

    @classmethod
    def none(cls, resource: NDArray[np.int32]) -> Edges:
        """No runs at all."""
        r = len(resource)
        short, long = np.zeros(r, np.uint16), np.zeros(r, np.uint64)
        return cls(resource, short, long, short, short, long, short, np.zeros(r, bool))

    def of(self, resource: NDArray[np.int32]) -> Edges:
        """The edges of those resources; empty ones for who is not there."""
        if not len(self.resource):
            return Edges.none(resource)
        at = np.minimum(np.searchsorted(self.resource, resource), len(self.resource) - 1)
        there = self.resource[at] == resource
        columns = [getattr(self, f.name)[at] for f in fields(self)[1:]]
        return Edges(resource, *(np.where(there, c, np.zeros(1, c.dtype)).astype(c.dtype) for c in columns))


def freeze(block: DayBlock, before: Edges, after: Edges, *, day: int | None = None) -> Edges:
    """Mark frozen slots in `block.state`, knowing the edges of the days before and after; returns its own.

    day: samples of a whole day, where the block is a part of one.
    """
    r, slots = block.state.shape
    day = day or slots
    told = block.state == LIVE
    live = np.flatnonzero(told)
    edges = Edges.none(block.resource)
    if not len(live):
        return edges
    of_row = np.count_nonzero(told, axis=1)
    seen = np.flatnonzero(of_row)
    ends = np.cumsum(of_row[seen])  # where in `live` each row that has any ends
    starts, length = _runs(block, live, ends, every=day < 48)
    is_head = np.isin(starts, ends - of_row[seen], assume_unique=True)
    is_tail = np.isin(starts + length, ends, assume_unique=True)
    closed_head, closed_tail = _closed_by_off(block.state, live, starts, length, is_head, is_tail)

    limit = np.zeros(len(starts), np.uint16)
    mark = np.zeros(len(starts), np.uint64)
    asked = np.flatnonzero((length >= day // 24) | is_head | is_tail)
    limit[asked], mark[asked] = _evidence(block, live[starts[asked]], day)

    def edge(which: NDArray[np.bool_], open_: NDArray[np.bool_], column: Array, dtype: type) -> Array:
        full: Array = np.zeros(r, dtype)
        full[seen] = np.where(open_, column[which], 0)
        return full

    edges = Edges(
        block.resource,
        edge(is_head, ~closed_head, length, np.uint16),
        edge(is_head, ~closed_head, mark, np.uint64),
        edge(is_head, ~closed_head, limit, np.uint16),
        edge(is_tail, ~closed_tail, length, np.uint16),
        edge(is_tail, ~closed_tail, mark, np.uint64),
        edge(is_tail, ~closed_tail, limit, np.uint16),
        edge(is_head, is_tail[is_head] & ~closed_head & ~closed_tail, np.ones(len(starts), bool), np.bool_),
    )
    total = length.astype(np.int64)
    left, right = before.of(block.resource), after.of(block.resource)
    total[is_head] += extension(edges.head_mark, left.tail_mark, left.tail_run)[seen]
    total[is_tail] += extension(edges.tail_mark, right.head_mark, right.head_run)[seen]
    frozen = (limit > 0) & (total >= limit)
    if frozen.any():
        block.state.reshape(-1)[live[spread(starts[frozen], length[frozen])]] = FROZEN
    return edges


def extension(mark: Array, other_mark: Array, other_run: Array) -> NDArray[np.int64]:
    """By how many samples a run goes on beyond midnight: the neighbour's run, if its values are the same."""
    return np.where((mark != 0) & (mark == other_mark), other_run, 0).astype(np.int64)


def unsettled(neighbour: Edges, old: Edges, new: Edges, *, neighbour_is_before: bool) -> bool:
    """Whether a day's change from `old` to `new` edges may freeze or thaw slots of its neighbour."""
    ids = np.union1d(old.resource, new.resource)
    there, was, now = neighbour.of(ids), old.of(ids), new.of(ids)
    if neighbour_is_before:
        run, mark, limit = there.tail_run, there.tail_mark, there.tail_limit
        reach = [extension(mark, side.head_mark, side.head_run) for side in (was, now)]
    else:
        run, mark, limit = there.head_run, there.head_mark, there.head_limit
        reach = [extension(mark, side.tail_mark, side.tail_run) for side in (was, now)]
    crossed = [(run + reached >= limit) for reached in reach]
    # A day that is one run may be reached from its other side as well.
    doubtful = there.whole & (reach[0] != reach[1])
    return bool(np.any((mark != 0) & (run < limit) & ((crossed[0] != crossed[1]) | doubtful)))


def spread(starts: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of runs, one run after another."""
    before = np.cumsum(length) - length
    found: NDArray[np.int64] = np.arange(int(length.sum())) + np.repeat(starts - before, length)
    return found


def _runs(
    block: DayBlock, live: NDArray[np.int64], ends: NDArray[np.int64], *, every: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start (index into `live`) and length of runs of identical live samples: of all (`every`), or, as most are a single
    sample that nobody asks for, of those of two samples and more and of the first and the last of each row."""
    told = [_bits(block.values[name]) for name in METRICS if name in block.values]
    first = told[0] if len(live) == block.state.size else told[0][live]
    same = first[1:] == first[:-1]
    same[ends[:-1] - 1] = False
    off = (block.state == OFF).ravel()
    if off.any():
        before = np.cumsum(off)[live]
        same &= before[1:] == before[:-1]
    left = np.flatnonzero(same)
    for bits in told[1:]:
        left = left[bits[live[left]] == bits[live[left + 1]]]
    if every:
        begins = np.ones(len(live), bool)
        begins[left + 1] = False
        starts = np.flatnonzero(begins)
        return starts, np.diff(starts, append=len(live))
    joins = np.flatnonzero(np.diff(left, prepend=-2) != 1)  # where in `left` a run of two and more begins
    long, length = left[joins], np.diff(joins, append=len(left)) + 1
    heads, tails = np.concatenate(([0], ends[:-1])), ends - 1
    inside = np.zeros(len(live), bool)
    inside[spread(long, length)] = True
    single = np.union1d(heads[~inside[heads]], tails[~inside[tails]])
    order = np.argsort(np.concatenate((long, single)), kind="stable")
    return (
        np.concatenate((long, single))[order],
        np.concatenate((length, np.ones(len(single), np.int64)))[order],
    )


def _closed_by_off(
    state: Array, live: Array, starts: Array, length: Array, is_head: Array, is_tail: Array
) -> tuple[Array, Array]:
    """Per row with live samples: was it off before the first of them, and after the last?"""
    slots = state.shape[1]
    first, last = live[starts[is_head]], live[(starts + length - 1)[is_tail]]
    off = (state == OFF).ravel()
    if not off.any():
        none = np.zeros(len(first), bool)
        return none, none
    count = np.concatenate(([0], np.cumsum(off)))
    row = first // slots
    return count[first] > count[row * slots], count[(row + 1) * slots] > count[last]


def _evidence(block: DayBlock, cells: NDArray[np.int64], slots: int) -> tuple[Array, Array]:
    """For the values at `cells`: after how many samples they count as frozen (0 = never), and their mark."""
    telling = np.zeros(len(cells), np.int64)
    something = np.zeros(len(cells), bool)
    mark = np.full(len(cells), 0xCBF29CE484222325, np.uint64)
    for name, metric in METRICS.items():
        column = block.values.get(name)
        if column is None:
            at = np.full(len(cells), nothing(name), COLUMNS[name])
        else:
            at = column.ravel()[cells]
        there = reported(at)
        something |= there & (at > 0) & (name != "disk_pct")
        if metric.telling is not None:
            telling += there & (at >= metric.telling * (100 if metric.percent else 1))
        # FNV-1a over the columns, with a shift so that high bits reach the low ones.
        mixed = (mark ^ _bits(at).astype(np.uint64)) * np.uint64(0x100000001B3)
        mixed ^= mixed >> np.uint64(29)
        mark = np.where(there, mixed, mark) if metric.joined else mixed
    limit = np.where(telling >= 2, slots // 24, np.where(something, slots, 0))
    return limit, np.where(limit > 0, mark | np.uint64(1), 0)


def _bits(column: Array) -> Array:
    """Values as integers, so that "not reported" equals itself."""
    flat = column.ravel()
    return flat.view(np.uint32) if flat.dtype.kind == "f" else flat
