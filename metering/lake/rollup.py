"""A day's block rolled up: hours for charts, daily histograms for quantiles over any window, with coverage.

Only live slots count; each figure says of how many samples it is made. Histograms are kept sparse, as lists of
half-point bins and their counts, so that percentages far above 100 cost nothing and lose nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.lake.dayblock import DayBlock, Edges
from metering.lake.files import table_of
from metering.lake.samples import CAPACITIES, nothing
from metering.quantiles import BIN_HUNDREDTHS, sorter
from providers.metrics import ABSENT, FROZEN, LIVE, METRICS, OFF, Array, reported

_EMPTY_BIN = np.uint16(65535)


def both(block: DayBlock, edges: Edges) -> tuple[pa.Table, pa.Table]:
    """`hours` and `daily`, of figures that are summed up once."""
    figures = _figures(block)
    return hours(block, figures), daily(block, edges, figures)


def hours(block: DayBlock, figures: Sequence[HourFigures] | None = None) -> pa.Table:
    """24 rows a resource: resource, hour, n_live, n_off, n_frozen, and per metric _n, _mean, _max."""
    r = len(block.resource)
    columns: dict[str, Array] = {
        "resource": np.repeat(block.resource, 24),
        "hour": np.tile(np.arange(24, dtype=np.uint8), r),
    }
    for name, state in (("n_live", LIVE), ("n_off", OFF), ("n_frozen", FROZEN)):
        columns[name] = _by_hour(np.add, (block.state == state).astype(np.uint8)).ravel()
    for name, n, total, top in _figures(block) if figures is None else figures:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (total / n).astype(np.float32)
        columns[f"{name}_n"] = n.ravel()
        columns[f"{name}_mean"] = (mean / np.float32(100) if METRICS[name].percent else mean).ravel()
        columns[f"{name}_max"] = top.ravel()
    return table_of(columns)


def daily(block: DayBlock, edges: Edges, figures: Sequence[HourFigures] | None = None) -> pa.Table:
    """One row a resource: states counted, first and last slot, capacity last seen, edges of runs, and per metric
    _n, _sum (percentages: hundredths), _max, for some _last, _bins and _counts."""
    came = block.state != ABSENT
    slots = block.state.shape[1]
    columns: dict[str, Array | pa.Array] = {"resource": block.resource}
    for name, state in (("n_live", LIVE), ("n_off", OFF), ("n_frozen", FROZEN)):
        columns[name] = np.count_nonzero(block.state == state, axis=1).astype(np.uint16)
    columns["first_slot"] = came.argmax(axis=1).astype(np.uint16)
    columns["last_slot"] = (slots - 1 - came[:, ::-1].argmax(axis=1)).astype(np.uint16)
    for name in CAPACITIES:
        if name in block.values:
            columns[name] = _last(name, block.values[name])
    for field in fields(edges)[1:]:
        columns[field.name] = getattr(edges, field.name)
    live = block.state == LIVE
    for name, n, total, top in _figures(block) if figures is None else figures:
        columns[f"{name}_n"] = n.sum(axis=1, dtype=np.uint16)
        columns[f"{name}_sum"] = total.sum(axis=1)
        columns[f"{name}_max"] = _reduce_top(name, top)
        if METRICS[name].last:
            columns[f"{name}_last"] = _last(name, np.where(live, block.values[name], nothing(name)))
        if METRICS[name].histogram:
            counts = live & reported(block.values[name])
            bins = np.where(counts, block.values[name] // np.uint16(BIN_HUNDREDTHS), _EMPTY_BIN)
            columns[f"{name}_bins"], columns[f"{name}_counts"] = _sparse(bins)
    return table_of(columns)


HourFigures = tuple[str, Array, Array, Array]


def _figures(block: DayBlock) -> list[HourFigures]:
    """Per metric: name, and per hour [r, 24] live samples uint8, their sum, and their maximum."""
    live = block.state == LIVE
    n_live = _by_hour(np.add, live.astype(np.uint8))
    found = []
    for name, metric in METRICS.items():
        if name not in block.values:
            continue
        values = block.values[name]
        counts = live & reported(values)
        whole = bool(counts.all())
        n = n_live if whole or np.array_equal(counts, live) else _by_hour(np.add, counts.astype(np.uint8))
        total, most = _sums(values, None if whole else counts, np.uint32 if metric.percent else np.float64)
        top = np.where(n > 0, most, nothing(name)).astype(metric.dtype)
        found.append((name, n, total, top))
    return found


_ROWS = 64
"""Resources summed up at a time: their samples stay in the processor's cache."""


def _sums(values: Array, counts: Array | None, kind: type) -> tuple[Array, Array]:
    """Of slots [r, 24 * k] those that count (None: all) as sums and maxima of hours [r, 24], of type ``kind``; added in the order of the slots."""
    r, k = len(values), values.shape[1] // 24
    total: Array = np.empty((r, 24), kind)
    top: Array = np.empty((r, 24), kind)
    for low in range(0, r, _ROWS):
        part = slice(low, low + _ROWS)
        known = values[part] if counts is None else np.where(counts[part], values[part], 0)
        turned: Array = np.ascontiguousarray(known.reshape(-1, k).T, dtype=kind)  # a row for each slot of the hour
        sums, tops = turned[0].copy(), turned[0].copy()
        for slot in turned[1:]:
            np.add(sums, slot, out=sums)
            np.maximum(tops, slot, out=tops)
        total[part], top[part] = sums.reshape(-1, 24), tops.reshape(-1, 24)
    return total, top


def _by_hour(combine: Callable[..., Array], values: Array) -> Array:
    """Slots [r, 24 * k] combined to hours [r, 24]; column by column, since rows of k are too short to reduce."""
    k = values.shape[1] // 24
    combined = values[:, ::k].copy()
    for slot in range(1, k):
        combine(combined, values[:, slot::k], out=combined)
    return combined


def _reduce_top(name: str, top: Array) -> Array:
    known = np.where(reported(top), top, 0).max(axis=1)
    best: Array = np.where(reported(top).any(axis=1), known, nothing(name)).astype(top.dtype)
    return best


def _last(name: str, values: Array) -> Array:
    """The last reported value of each row."""
    there = reported(values)
    at = values.shape[1] - 1 - there[:, ::-1].argmax(axis=1)
    last: Array = np.where(there.any(axis=1), values[np.arange(len(values)), at], nothing(name))
    return last.astype(values.dtype)


def _sparse(bins: NDArray[np.uint16]) -> tuple[pa.Array, pa.Array]:
    """Rows of bin numbers [r, n] (65535 = none) as lists: the bins that occur, rising, and how often each does."""
    r, n = bins.shape
    ordered = np.sort(bins, axis=1, kind=sorter()).ravel()
    begins = np.ones(len(ordered), bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    begins[::n] = True
    start = np.flatnonzero(begins)
    count = np.diff(start, append=len(ordered))
    counted = ordered[start] != _EMPTY_BIN
    start, count = start[counted], count[counted]
    offsets = np.zeros(r + 1, np.int32)
    np.cumsum(np.bincount(start // n, minlength=r), out=offsets[1:])
    kind = pa.list_(pa.field("element", pa.uint16(), nullable=False))
    lists = [
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(items.astype(np.uint16)), type=kind)
        for items in (ordered[start], count)
    ]
    return lists[0], lists[1]
