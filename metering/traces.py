"""Published utilisation traces (../shared/traces) as canonical series, for judging and for replaying
policies.

A *canonical series* of a machine: rows with cores > 0 (where cores are known), one per 300 s slot
(floor(ts / 300)), the first by (ts, CPU descending). Machines are kept one after the other in flat arrays,
because their histories differ in length and have gaps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

STEP_S = 300
MISSING = 65535
LIVE = 1

Array = NDArray[Any]


@dataclass(frozen=True)
class Series:
    """Canonical samples of r machines, n in all; machine i owns the rows ``starts[i]:starts[i + 1]``.

    names: r machine names; starts: int64 [r + 1]; slot: int64 [n], floor(epoch seconds / 300), rising within
    a machine; cpu: uint16 [n], hundredths of a per cent of the machine's own size; cores: float64 [n], the
    size at that sample (1.0 where the source does not know); mem: uint16 [n] as cpu, 65535 = not reported, or
    None.
    """

    dataset: str
    names: tuple[str, ...]
    starts: Array
    slot: Array
    cpu: Array
    cores: Array
    mem: Array | None = None
    cores_known: bool = True

    def __len__(self) -> int:
        return len(self.names)

    @property
    def machine(self) -> Array:
        """int64 [n]: the machine that each sample belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def take(self, which: Array) -> Series:
        """The machines at the integer indices `which`, in that order."""
        which = np.asarray(which)
        rows = np.concatenate(
            [np.arange(self.starts[i], self.starts[i + 1]) for i in which] or [np.arange(0)]
        )
        starts = np.concatenate(([0], np.cumsum(np.diff(self.starts)[which])))
        return Series(
            self.dataset,
            tuple(self.names[i] for i in which),
            starts,
            self.slot[rows],
            self.cpu[rows],
            self.cores[rows],
            None if self.mem is None else self.mem[rows],
            self.cores_known,
        )


def hundredths(percent: Array) -> Array:
    """Per cent as uint16 hundredths; NaN or infinite becomes 65535 (missing), anything above 655.34 % is
    clipped."""
    known = np.isfinite(percent)
    scaled = np.rint(np.where(known, percent, 0.0) * 100.0)
    return np.where(known, np.clip(scaled, 0, MISSING - 1), MISSING).astype(np.uint16)


def load(path: str | Path) -> Series:
    """The canonical series of a trace in the Parquet layout of ../shared/traces/README.md.

    Needs columns vm_id, ts and cpu_pct; uses cpu_cores, mem_pct or mem_used_mb / mem_total_mb if there. Rows
    without a CPU figure (other metrics of CloudWatch exports) are left out. Raises KeyError for a missing
    column, and what pyarrow raises for a file that is not Parquet.
    """
    path = Path(path)
    source = pq.ParquetFile(path)
    there = set(source.schema_arrow.names)
    if missing := {"vm_id", "ts", "cpu_pct"} - there:
        raise KeyError(f"{path.name}: no column {', '.join(sorted(missing))}")
    wanted = ["vm_id", "ts", "cpu_pct", "cpu_cores", "mem_pct", "mem_used_mb", "mem_total_mb"]
    table = source.read(columns=[name for name in wanted if name in there])
    keep = pc.is_valid(table["cpu_pct"])
    if "cpu_cores" in there:
        keep = pc.and_(keep, pc.greater(table["cpu_cores"], 0))
    table = table.filter(keep)

    coded = pc.dictionary_encode(table["vm_id"]).combine_chunks()
    spelled = np.asarray(coded.dictionary.to_pylist(), dtype=object)
    rank = np.empty(len(spelled), np.int64)
    rank[np.argsort(spelled)] = np.arange(len(spelled))
    vm = rank[coded.indices.to_numpy(zero_copy_only=False)]
    ts = table["ts"].to_numpy()
    cpu_pct = table["cpu_pct"].to_numpy().astype(np.float64)
    order = np.lexsort((-cpu_pct, ts, vm))
    slot = ts[order] // STEP_S
    vm = vm[order]
    first = np.ones(len(vm), bool)
    first[1:] = (vm[1:] != vm[:-1]) | (slot[1:] != slot[:-1])
    rows = order[first]
    vm = vm[first]

    mem = None
    if "mem_pct" in there:
        mem = hundredths(table["mem_pct"].to_numpy()[rows])
    elif "mem_used_mb" in there:
        total = table["mem_total_mb"].to_numpy()[rows].astype(np.float64)
        used = table["mem_used_mb"].to_numpy()[rows]
        mem = hundredths(np.divide(100.0 * used, total, out=np.full(len(rows), np.nan), where=total > 0))
    cores = (
        table["cpu_cores"].to_numpy()[rows].astype(np.float64) if "cpu_cores" in there else np.ones(len(rows))
    )
    return Series(
        path.stem,
        tuple(sorted(spelled)),
        np.searchsorted(vm, np.arange(len(spelled) + 1)),
        slot[first],
        hundredths(cpu_pct[rows]),
        cores,
        mem,
        "cpu_cores" in there,
    )


@dataclass(frozen=True)
class Grid:
    """A series laid out by local day: matrices [r, days * slots a day], as the assessment reads them.

    cpu, mem: uint16 hundredths, 65535 = missing; state: uint8, 0 missing, 1 live; first_day: days since
    1970-01-01 local; expected_from, expected_to: int64 [r], first and one past the last slot in which the
    machine reported.
    """

    cpu: Array
    mem: Array | None
    state: Array
    first_day: int
    expected_from: Array
    expected_to: Array


def grid(series: Series, utc_offset_s: int = 28800) -> Grid:
    """Lay a series out over whole local days from its first to its last sample, one row a machine."""
    per_day = 86400 // STEP_S
    local = series.slot + utc_offset_s // STEP_S
    first_day = int(local.min() // per_day)
    days = int(local.max() // per_day) - first_day + 1
    column = local - first_day * per_day
    row = series.machine

    def dense(values: Array) -> Array:
        matrix = np.full((len(series), days * per_day), MISSING, np.uint16)
        matrix[row, column] = values
        return matrix

    state = np.zeros((len(series), days * per_day), np.uint8)
    state[row, column] = LIVE
    return Grid(
        dense(series.cpu),
        None if series.mem is None else dense(series.mem),
        state,
        first_day,
        column[series.starts[:-1]],
        column[series.starts[1:] - 1] + 1,
    )
