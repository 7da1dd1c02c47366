"""Metered allocation: who held how much for how long, day by day, and how much of it is proven. Pure; integers only.

Figures are *unit-seconds*: base units of quota.units × seconds. A resource that changes size within a day is split at the
instant (whole seconds). Time is proven hour by hour: an hour is covered or it is silent, and what was held in a silent hour
is unmeasurable, never zero and never proven. Sums stay below 2^63 for any city: a thousand petabytes held for a month are
2.6e15 unit-seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.int64]
HOUR = 3600
BLOCK = 16_384
"""Spells taken at once: bounds the memory whatever the size of the city."""


@dataclass(frozen=True, slots=True)
class Spells:
    """n stretches. ``row``: the line of the coverage table that they belong to; ``stopped``: whether the machine was off;
    ``start`` <= t < ``end`` in seconds since the month began; ``amounts``: kind → base units held, 0 where none."""

    row: Seconds
    stopped: NDArray[np.bool_]
    start: Seconds
    end: Seconds
    amounts: Mapping[str, Seconds]


@dataclass(frozen=True, slots=True)
class HeldAmounts:
    """What was held of one kind. One line for each (row, stopped) that held any; ``allocated`` and ``proven`` are
    unit-seconds by day, [lines, days]; proven is never more than allocated."""

    row: Seconds
    stopped: NDArray[np.bool_]
    allocated: Seconds
    proven: Seconds


def allocate(state_periods: Spells, covered: NDArray[np.bool_], edges: Seconds) -> dict[str, HeldAmounts]:
    """Kind → what was held, for every kind of ``state_periods``.

    ``covered``: [rows, hours] from the month's start on; ``edges``: the starts of the days and the end of the last, in
    seconds since the month began. What lies before the first edge or after the last is left out. Raises ValueError for a
    table of hours that ends before the last day, or a spell that ends before it starts.
    """
    if covered.shape[1] * HOUR < int(edges[-1]) or int(edges[0]) < 0:
        raise ValueError("the hours do not reach over all days")
    if bool((state_periods.end < state_periods.start).any()):
        raise ValueError("a spell ends before it starts")
    order = np.lexsort((state_periods.start, state_periods.stopped, state_periods.row))
    row, stopped = state_periods.row[order], state_periods.stopped[order]
    start = np.clip(state_periods.start[order], edges[0], edges[-1])
    end = np.clip(state_periods.end[order], edges[0], edges[-1])
    counted = np.zeros((covered.shape[0], covered.shape[1] + 1), np.int16)  # hours of a month
    np.cumsum(covered, axis=1, out=counted[:, 1:])
    days = len(edges) - 1
    lasted = np.empty((len(row), days), np.int32)
    proven = np.empty((len(row), days), np.int32)
    for low in range(0, len(row), BLOCK):
        cut = slice(low, low + BLOCK)
        first = np.maximum(start[cut, None], edges[None, :-1])
        last = np.maximum(np.minimum(end[cut, None], edges[None, 1:]), first)
        lasted[cut] = last - first
        proven[cut] = _covered(counted, covered, row[cut, None], last) - _covered(
            counted, covered, row[cut, None], first
        )
    return {kind: _sums(row, stopped, amount[order], lasted, proven) for kind, amount in state_periods.amounts.items()}


def _covered(counted: NDArray[np.int16], covered: NDArray[np.bool_], row: Seconds, until: Seconds) -> NDArray[np.int64]:
    """Covered seconds of ``row`` from the month's start until an instant."""
    hour, rest = np.divmod(until, HOUR)
    within = np.minimum(hour, covered.shape[1] - 1)  # an instant at the very end: its rest is 0
    whole: NDArray[np.int64] = counted[row, hour].astype(np.int64) * HOUR + covered[row, within] * rest
    return whole


def _sums(row: Seconds, stopped: NDArray[np.bool_], amount: Seconds, lasted: Any, proven: Any) -> HeldAmounts:
    has = np.flatnonzero(amount)
    if not len(has):
        nothing = np.zeros((0, lasted.shape[1]), np.int64)
        return HeldAmounts(row[:0], stopped[:0], nothing, nothing)
    row, stopped, amount = row[has], stopped[has], amount[has]
    begins = np.ones(len(has), bool)
    begins[1:] = (row[1:] != row[:-1]) | (stopped[1:] != stopped[:-1])
    at = np.flatnonzero(begins)
    held, shown = (np.add.reduceat(amount[:, None] * one[has], at, axis=0) for one in (lasted, proven))
    there = held.any(axis=1)
    return HeldAmounts(row[at][there], stopped[at][there], held[there], shown[there])


def runs(days: NDArray[np.int64], since: int = 0) -> list[list[list[int]]]:
    """Equal days told once: [lines, days, 2] of (allocated, proven) → for each line the first days, the last days (counted
    from ``since``), what was allocated and what proven on each of them, as four lists; without the days on which nothing was
    held."""
    lines, count = days.shape[:2]
    if not lines or not count:
        return [[[], [], [], []] for _ in range(lines)]
    begins = np.ones((lines, count), bool)
    begins[:, 1:] = (days[:, 1:] != days[:, :-1]).any(axis=2)
    line, first = np.nonzero(begins)
    last = np.full(len(first), count - 1, np.int64)
    within = line[1:] == line[:-1]
    last[:-1][within] = first[1:][within] - 1
    told = days[line, first]
    held = told[:, 0] > 0
    cuts = np.searchsorted(line[held], np.arange(lines + 1)).tolist()
    columns = [one[held].tolist() for one in (first + since, last + since, told[:, 0], told[:, 1])]
    return [[column[low:high] for column in columns] for low, high in pairwise(cuts)]
