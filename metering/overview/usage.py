"""How much of each resource was used: quantiles, hours over and under, working days and weekends, and the trend.

Pure. The figures that a report on many resources wants, from exact samples in one pass (`profile`), or near ones from
daily histograms (`from_days`). r = resources, d = days; percentages are floats, counts whole slots.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metering import quantiles
from providers.metrics import LIVE, MISSING, Array

QUANTILES = (0.50, 0.95, 0.99)
LEVELS = 202
"""Half-point bins that `from_days` needs at least: 0 to 100 % and beyond."""

ROWS = 32
"""Rows handled at once: what is at work stays inside a processor's cache."""


@dataclass(frozen=True)
class Usage:
    """One metric, [r] each; NaN = not known. n: live samples with a value; p50 … mean in per cent; over, under: samples
    at or above, and below, the given levels; workdays, weekends: means; trend: mean of the last seven days less that of
    the seven before."""

    n: Array
    p50: Array
    p95: Array
    p99: Array
    top: Array
    mean: Array
    over: Array
    under: Array
    workdays: Array
    weekends: Array
    trend: Array

    @classmethod
    def joined(cls, parts: list[Usage]) -> Usage:
        """Blocks of resources one after another; at least one."""
        return cls(*(np.concatenate([getattr(one, f.name) for one in parts]) for f in fields(cls)))


def profile(
    values: NDArray[np.uint16],
    state: NDArray[np.uint8],
    worked: NDArray[np.bool_],
    *,
    over: float = 80.0,
    under: float = 5.0,
) -> Usage:
    """Exact figures of one metric: uint16 hundredths [r, d * slots], 65535 = missing, and states [r, d * slots].

    worked: bool [d], which days are working days. Only live samples count; gaps bend nothing.
    """
    r, width = values.shape
    days = len(worked)
    if not days or width % days:
        raise ValueError(f"{width} slots are not {days} whole days")
    slots = width // days
    ones = np.ones(slots)
    ordered = np.empty_like(values)
    sums = np.empty((r, days))
    gone = np.zeros((r, days), np.int64)
    for low in range(0, r, ROWS):
        part, how = values[low : low + ROWS], state[low : low + ROWS]
        if (how != LIVE).any():
            part = np.where(how == LIVE, part, np.uint16(MISSING))
        ordered[low : low + ROWS] = part
        by_day = part.reshape(-1, slots)
        sums[low : low + ROWS] = (by_day.astype(np.float64) @ ones).reshape(-1, days)
        absent = part == MISSING
        if absent.any():
            gone[low : low + ROWS] = absent.reshape(-1, days, slots).sum(axis=2)
        ordered[low : low + ROWS].sort(axis=1, kind=quantiles.sorter())
    sums -= gone * float(MISSING)
    counts = slots - gone
    n = counts.sum(axis=1)
    found = quantiles.of_sorted(ordered, (*QUANTILES, 1.0)) if width else np.full((r, 4), np.nan)
    return _usage(found, n, sums / 100.0, counts, worked, n - _below(ordered, over, n), _below(ordered, under, n))


def _below(ordered: Array, level: float, n: Array) -> Array:
    """How many of each sorted row's values are below a level (per cent)."""
    bound = min(round(level * 100), MISSING)
    low, high = np.zeros(len(ordered), np.int64), n.copy()
    each = np.arange(len(ordered))
    while np.any(open_ := low < high):
        middle = (low + high) // 2
        less = ordered[each, np.minimum(middle, ordered.shape[1] - 1)] < bound
        low = np.where(open_ & less, middle + 1, low)
        high = np.where(open_ & ~less, middle, high)
    return low


def from_days(
    counts: Array,
    n: Array,
    sums: Array,
    top: Array,
    worked: NDArray[np.bool_],
    *,
    over: float = 80.0,
    under: float = 5.0,
) -> Usage:
    """The same from daily rollups: counts [r, bins] in half-point bins over all days; n, sums (per cent) [r, d]; top [r].

    Means, maxima, counts of samples over and under levels of whole half points are exact, quantiles within half a
    point.
    """
    found = np.concatenate([quantiles.from_histogram(counts, QUANTILES, top), top[:, None]], axis=1)
    found[n.sum(axis=1) == 0] = np.nan
    above, below = round(over * 2), round(under * 2)
    return _usage(found, n.sum(axis=1), sums, n, worked, counts[:, above:].sum(axis=1), counts[:, :below].sum(axis=1))


def _usage(found: Array, n: Array, sums: Array, counts: Array, worked: Array, over: Array, under: Array) -> Usage:
    def mean(which: Any) -> Array:
        whole = counts[:, which].sum(axis=1)
        share: Array = np.divide(sums[:, which].sum(axis=1), whole, out=np.full(len(n), np.nan), where=whole > 0)
        return share

    p50, p95, p99, top = found.T
    return Usage(
        n,
        p50,
        p95,
        p99,
        top,
        mean(slice(None)),
        over,
        under,
        mean(worked),
        mean(~worked),
        mean(slice(-7, None)) - mean(slice(-14, -7)),
    )
