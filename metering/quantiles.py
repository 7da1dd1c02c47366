"""Quantiles of many resources at once: exact from samples, near from half-point histograms. Pure.

Percentages travel as uint16 hundredths (1234 = 12.34 %); 65535 says that nothing was reported.
A quantile is linear interpolation between the two neighbouring order statistics at position
q * (n - 1): numpy's default, DuckDB's and SQL's `quantile_cont` (type 7 of Hyndman & Fan 1996).
"""

from __future__ import annotations

from functools import cache
from time import perf_counter
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from providers.metrics import MISSING

STARVED = 1000
"""Hundredths of a per cent: a tenth of what a machine wants, from which on its provider delivers short."""

HUNDREDTHS = 100
BIN_HUNDREDTHS = 50
"""Width of a histogram bin: half a point."""

BINS = 201
"""Bins [0, 0.5), [0.5, 1) ... [99.5, 100), and last the overflow: 100 % and more."""

WIDE_BINS = 65535 // BIN_HUNDREDTHS + 2
"""Enough bins for every storable percentage: nothing overflows, so nothing is lost above 100 %."""

_BIN_OF = (np.arange(65536) // BIN_HUNDREDTHS).astype(np.uint16)

# One histogram chunk counts in a table of rows x bins cells; this keeps it inside the processor's cache.
_HISTOGRAM_ROWS = 256


def exact(values: NDArray[np.uint16], qs: ArrayLike, valid: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Exact quantiles of each row: `values` uint16 hundredths [r, n] -> per cent, float64 [r, len(qs)].

    MISSING values, and those where `valid` [r, n] is False, are left out; a row with none left is NaN.
    """
    if valid is not None:
        values = np.where(valid, values, MISSING)
    return of_sorted(np.sort(values, axis=1, kind=sorter()), qs)


@cache
def sorter() -> Literal["quicksort", "stable"]:
    """numpy's faster way, on this processor, to sort 16 bits; what comes out is the same.

    "stable" is a radix sort. The default is twice as fast with AVX-512, and thirty times slower without it; numpy has
    no public word on which it is, so both are tried once, on a few thousand numbers.
    """
    taken: dict[Literal["quicksort", "stable"], float] = {}
    for kind in ("stable", "quicksort"):
        numbers = np.random.default_rng(0).integers(0, 10_000, 16_384, np.uint16)
        since = perf_counter()
        numbers.sort(kind=kind)
        taken[kind] = perf_counter() - since
    return min(taken, key=lambda kind: taken[kind])


def of_sorted(ordered: NDArray[np.uint16], qs: ArrayLike) -> NDArray[np.float64]:
    """Quantiles of rows that are sorted already, MISSING last: uint16 [r, n] -> per cent [r, len(qs)]."""
    count = count_sorted(ordered)
    rows, width = ordered.shape
    if not width:
        return np.full((rows, np.size(qs)), np.nan)
    low, fraction = _positions(count, qs)
    high = np.minimum(low + 1, np.maximum(count - 1, 0)[:, None])
    below = np.take_along_axis(ordered, low, axis=1).astype(np.float64)
    above = np.take_along_axis(ordered, high, axis=1).astype(np.float64)
    result = (below + (above - below) * fraction) / HUNDREDTHS
    result[count == 0] = np.nan
    return result


def count_sorted(ordered: NDArray[np.uint16]) -> NDArray[np.int64]:
    """How many values of each sorted row are not MISSING: int64 [r], by bisection of all rows at once."""
    rows, width = ordered.shape
    low = np.zeros(rows, np.int64)
    high = np.full(rows, width, np.int64)
    each = np.arange(rows)
    while np.any(open_ := low < high):
        middle = (low + high) // 2
        reported = ordered[each, np.minimum(middle, max(width - 1, 0))] != MISSING
        low = np.where(open_ & reported, middle + 1, low)
        high = np.where(open_ & ~reported, middle, high)
    return low


def histogram(
    values: NDArray[np.uint16], valid: NDArray[np.bool_] | None = None, bins: int = BINS
) -> NDArray[np.uint32]:
    """Counts per half-point bin, the last one open: uint16 hundredths [r, n] -> uint32 [r, bins]."""
    rows = len(values)
    counts = np.zeros((rows, bins), np.uint32)
    for first in range(0, rows, _HISTOGRAM_ROWS):
        block = values[first : first + _HISTOGRAM_ROWS]
        cell = np.minimum(_BIN_OF[block], bins - 1).astype(np.int64)
        cell += (np.arange(len(block)) * (bins + 1))[:, None]
        gone = block == MISSING
        if valid is not None:
            gone |= ~valid[first : first + _HISTOGRAM_ROWS]
        # What doesn't count falls into a last column that is cut off.
        np.copyto(cell, (np.arange(len(block)) * (bins + 1) + bins)[:, None], where=gone)
        table = np.bincount(cell.ravel(), minlength=len(block) * (bins + 1)).reshape(len(block), bins + 1)
        counts[first : first + len(block)] = table[:, :bins]
    return counts


def from_histogram(
    counts: NDArray[np.integer], qs: ArrayLike, maximum: NDArray[np.floating] | None = None
) -> NDArray[np.float64]:
    """Quantiles of each row of half-point counts [r, bins] -> per cent, float64 [r, len(qs)].

    An order statistic inside a bin is taken at the bin's middle, so no quantile is off by more than
    0.25 points. Above the last edge, (bins - 1) / 2 per cent, the rank is spread evenly up to `maximum`
    (per cent [r]; NaN or None: unknown, the edge itself): there the error is only bounded by the maximum.
    Count into WIDE_BINS where values above 100 % matter. An empty row is NaN.
    """
    rows, bins = counts.shape
    cumulative = np.cumsum(counts, axis=1, dtype=np.int64)
    total = cumulative[:, -1]
    edge = (bins - 1) * BIN_HUNDREDTHS / HUNDREDTHS
    top = np.full(rows, np.inf) if maximum is None else np.asarray(maximum, np.float64)
    low, fraction = _positions(total, qs)
    high = np.minimum(low + 1, np.maximum(total - 1, 0)[:, None])
    result = np.empty(low.shape)
    for column in range(low.shape[1]):
        below = _order_statistic(counts, cumulative, low[:, column], edge, top)
        above = _order_statistic(counts, cumulative, high[:, column], edge, top)
        result[:, column] = below + (above - below) * fraction[:, column]
    result[total == 0] = np.nan
    return result


def _order_statistic(
    counts: NDArray[np.integer],
    cumulative: NDArray[np.int64],
    rank: NDArray[np.int64],
    edge: float,
    top: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The value, in per cent, of the rank-th smallest sample (from 0) of each row."""
    rows, bins = counts.shape
    each = np.arange(rows)
    where = np.minimum((cumulative <= rank[:, None]).sum(axis=1), bins - 1)
    middle = (where * BIN_HUNDREDTHS + (BIN_HUNDREDTHS - 1) / 2) / HUNDREDTHS
    count = counts[each, where].astype(np.float64)
    into = rank - (cumulative[each, where] - count) + 0.5
    ceiling = np.where(np.isfinite(top), np.maximum(top, edge), edge)
    over = edge + (ceiling - edge) * into / np.maximum(count, 1)
    value: NDArray[np.float64] = np.where(where == bins - 1, over, np.fmin(middle, top))
    return value


def _positions(count: NDArray[np.int64], qs: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Lower rank and fraction of q * (n - 1), both [r, len(qs)]; rank 0 where there is nothing."""
    probabilities = np.atleast_1d(np.asarray(qs, np.float64))
    if probabilities.ndim != 1 or np.any((probabilities < 0) | (probabilities > 1)):
        raise ValueError("quantiles are numbers from 0 to 1")
    position = np.maximum(count - 1, 0)[:, None] * probabilities[None, :]
    low = np.floor(position)
    return low.astype(np.int64), position - low
