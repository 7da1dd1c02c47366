"""What one sample may say, and which sample speaks for a slot of five minutes.

`METRICS` is the table of what can be measured. `canonical` turns a delivered table into cells: one per
(resource, slot), by rules that make the order in which batches arrive indifferent:

* of several samples in a slot each metric is the first by (ts, cpu_pct descending) that reports it; as a
  rule that is one and the same sample, and where it isn't, the metric's *lag* says by how many seconds;
* a sample with vcpu = 0 says "off but reporting". It gives the slot a state, never values, and only where
  no live sample does;
* the same (resource, ts) delivered again replaces what was delivered before, metric by metric.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from providers.metrics import LIVE, METRICS, MISSING, OFF, Array, reported

NO_SEC = np.uint16(65535)
"""The second within a slot at which nothing was reported."""

EARLIEST, LATEST = 946_684_800, 4_102_444_800
"""Times outside 2000..2099 are no times of a sample (seconds since 1970, UTC)."""


CAPACITIES: Mapping[str, np.dtype[Any]] = {"vcpu": np.dtype(np.uint16), "mem_mb": np.dtype(np.uint32)}
"""Capacity as observed at the sample; the type's greatest number = not reported."""

COLUMNS: Mapping[str, np.dtype[Any]] = {**{m.name: m.dtype for m in METRICS.values()}, **CAPACITIES}


def nothing(name: str) -> Any:
    """The value that says "not reported" in column `name`."""
    dtype = COLUMNS[name]
    return np.float32(np.nan) if dtype.kind == "f" else dtype.type(np.iinfo(dtype).max)


def natural(name: str, values: Array) -> NDArray[np.float64]:
    """A metric's column in its unit, float64, NaN where nothing was reported."""
    plain = values.astype(np.float64)
    if METRICS[name].percent:
        plain /= 100
        plain[values == MISSING] = np.nan
    return plain


@dataclass(slots=True)
class Cells:
    """Samples of one local day, at most one per (resource, slot), sorted by both.

    resource: int32 [n], slot: uint16 [n] within the day, sec: uint16 [n] within the slot, state: uint8 [n],
    values: column -> [n]; lags: column -> uint16 [n], seconds after `sec`, only for columns that have any.
    """

    resource: NDArray[np.int32]
    slot: NDArray[np.uint16]
    sec: NDArray[np.uint16]
    state: NDArray[np.uint8]
    values: dict[str, Array]
    lags: dict[str, NDArray[np.uint16]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.resource)

    def take(self, rows: Any) -> Cells:
        """The cells at `rows`: a slice, a mask or indices."""
        return Cells(
            self.resource[rows],
            self.slot[rows],
            self.sec[rows],
            self.state[rows],
            {name: column[rows] for name, column in self.values.items()},
            {name: column[rows] for name, column in self.lags.items()},
        )


@dataclass(slots=True)
class Delivery:
    """A delivered table, read: cells and time span per local day (days since 1970), and what was refused.

    A row has something to say if it has a metric or says "off" (vcpu = 0); the others are "row:empty".
    taken: rows with something to say; refused: "column:reason" -> how many values (or rows, for "row:…").
    """

    days: dict[int, tuple[Cells, int, int]]
    rows: int
    taken: int
    refused: Counter[str]


def canonical(table: pa.Table, step_s: int, utc_offset_s: int, latest: int | None = None) -> Delivery:
    """The cells of a delivered table: columns `resource` and `ts`, any of METRICS, `vcpu`, `mem_mb`. A row later
    than `latest` (seconds since 1970) is refused: its clock is ahead.

    Raises KeyError for a missing column, ValueError for an unknown one, TypeError for one of a wrong type.
    """
    refused: Counter[str] = Counter()
    resource, ts, values = _columns(table, refused)
    off = values["vcpu"] == 0 if "vcpu" in values else np.zeros(len(ts), bool)
    says = off.copy()
    for name in METRICS.keys() & values.keys():
        says |= reported(values[name])
    refused["row:empty"] += int(np.count_nonzero(~says))
    known = says & (resource >= 0) & (resource < 2**31) & (ts >= EARLIEST) & (ts < LATEST)
    refused["row:resource"] += int(np.count_nonzero(says & ~((resource >= 0) & (resource < 2**31))))
    refused["row:ts"] += int(np.count_nonzero(says & ~((ts >= EARLIEST) & (ts < LATEST))))
    if latest is not None:
        ahead = known & (ts > latest)
        refused["row:future"] += int(np.count_nonzero(ahead))
        known &= ~ahead
    if not known.all():
        resource, ts, off = resource[known], ts[known], off[known]
        values = {name: column[known] for name, column in values.items()}

    key = resource << 32 | ts
    if np.any(key[1:] <= key[:-1]):
        cpu = values.get("cpu_pct", np.zeros(len(key), np.uint16))
        # Highest first at the same instant; what has no CPU figure comes last.
        order = np.lexsort((np.where(cpu == MISSING, -1, cpu.astype(np.int32)) * -1, key))
        resource, ts, off = resource[order], ts[order], off[order]
        values = {name: column[order] for name, column in values.items()}
    local = ts + utc_offset_s
    day, within = np.divmod(local, 86_400)
    slot, sec = np.divmod(within, step_s)
    for name, column in values.items():
        column[off] = nothing(name)
    cells = Cells(
        resource.astype(np.int32),
        slot.astype(np.uint16),
        sec.astype(np.uint16),
        np.where(off, OFF, LIVE).astype(np.uint8),
        values,
    )
    split = dict(_by_day(cells, day.astype(np.int32), ts))
    return Delivery(split, table.num_rows, len(ts), +refused)


def _by_day(
    cells: Cells, day: NDArray[np.int32], ts: NDArray[np.int64]
) -> Iterator[tuple[int, tuple[Cells, int, int]]]:
    if not len(cells):
        return
    order: Any = slice(None)
    if day.min() != day.max():
        order = np.argsort(day, kind="stable")
        day = day[order]
    cells, ts = cells.take(order), ts[order]
    bounds = [0, *(np.flatnonzero(np.diff(day)) + 1).tolist(), len(day)]
    for first, end in pairwise(bounds):
        part = slice(first, end)
        yield int(day[first]), (_reduce(cells.take(part)), int(ts[part].min()), int(ts[part].max()))


def _reduce(cells: Cells) -> Cells:
    """One cell per (resource, slot) from samples sorted by (resource, ts, cpu descending)."""
    cell = cells.resource.astype(np.int64) << 16 | cells.slot
    head = np.concatenate(([True], cell[1:] != cell[:-1]))
    if head.all():
        return _tidy(cells)
    single = head & np.concatenate((head[1:], [True]))
    crowd = np.flatnonzero(~single)
    # Within a slot whoever is live speaks first.
    crowd = crowd[np.lexsort((cells.state[crowd], cell[crowd]))]
    many, lead = cells.take(crowd), cell[crowd]
    starts = np.flatnonzero(np.concatenate(([True], lead[1:] != lead[:-1])))
    one = many.take(starts)
    everyone = np.arange(len(crowd))
    for name, column in many.values.items():
        speaks = np.minimum.reduceat(np.where(reported(column), everyone, len(crowd)), starts)
        found = speaks < len(crowd)
        speaks = np.where(found, speaks, starts)
        one.values[name] = column[speaks]
        one.lags[name] = np.where(found, many.sec[speaks] - one.sec, 0).astype(np.uint16)
    rest = cells.take(single)
    order = np.argsort(np.concatenate((cell[single], lead[starts])), kind="stable")
    lags = {name: np.concatenate((np.zeros(len(rest), np.uint16), lag))[order] for name, lag in one.lags.items()}
    return _tidy(
        Cells(
            np.concatenate((rest.resource, one.resource))[order],
            np.concatenate((rest.slot, one.slot))[order],
            np.concatenate((rest.sec, one.sec))[order],
            np.concatenate((rest.state, one.state))[order],
            {n: np.concatenate((rest.values[n], one.values[n]))[order] for n in cells.values},
            lags,
        )
    )


def _tidy(cells: Cells) -> Cells:
    """Without the columns that say nothing."""
    cells.values = {name: column for name, column in cells.values.items() if reported(column).any()}
    cells.lags = {name: lag for name, lag in cells.lags.items() if name in cells.values and lag.any()}
    return cells


def _columns(table: pa.Table, refused: Counter[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, Array]]:
    for name in ("resource", "ts"):
        if name not in table.column_names:
            raise KeyError(f"a table of samples needs the column {name}")
        if not pa.types.is_integer(table.schema.field(name).type):
            raise TypeError(f"{name} is a column of integers, not of {table.schema.field(name).type}")
    values: dict[str, Array] = {}
    for name in table.column_names:
        if name in ("resource", "ts"):
            continue
        if name not in COLUMNS:
            raise ValueError(f"the lake has no column {name}; it has {', '.join(COLUMNS)}")
        kind = table.schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise TypeError(f"{name} is a column of numbers, not of {kind}")
        values[name] = _encode(name, table[name].to_numpy(), refused)
    return _whole(table["resource"]), _whole(table["ts"]), values


def _whole(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Integers as int64; a null becomes -1, which is no id and no time of a sample."""
    filled = column.fill_null(-1) if column.null_count else column
    whole: NDArray[np.int64] = filled.to_numpy().astype(np.int64)
    return whole


def _encode(name: str, given: Array, refused: Counter[str]) -> Array:
    """A column as the lake keeps it; values that can't be are refused, counted, and not reported."""
    plain = given.astype(np.float64)
    dtype = COLUMNS[name]
    limit = METRICS[name].limit if name in METRICS else float(np.iinfo(dtype).max - 1)
    absent = np.isnan(plain)
    negative, absurd = plain < 0, plain > limit
    refused[f"{name}:negative"] += int(np.count_nonzero(negative))
    refused[f"{name}:absurd"] += int(np.count_nonzero(absurd))
    silent = absent | negative | absurd
    plain[silent] = 0
    if dtype.kind == "f":
        encoded = plain.astype(np.float32)
        encoded += np.float32(0)
    elif name in METRICS:
        encoded = np.minimum(np.rint(plain * 100), int(MISSING) - 1).astype(dtype)
    else:
        encoded = np.ceil(plain).astype(dtype)
    encoded[silent] = nothing(name)
    return encoded
