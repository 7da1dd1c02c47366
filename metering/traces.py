"""Published utilisation traces (../shared/traces) as canonical series, for judging and for replaying
policies.

A *canonical series* of a machine: rows with cores > 0 (where cores are known), one per 300 s slot
(floor(ts / 300)), the first by (ts, CPU descending). Machines are kept one after the other in flat arrays,
because their histories differ in length and have gaps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from metering.series import STEP_S, Series, hundredths

MOST = 1_000.0  # per cent, as the lake has it
LATEST = 100_000_000_000  # seconds: a greater number is milliseconds, or no time at all


def load(path: str | Path) -> Series:
    """The canonical series of a trace in the Parquet layout of ../shared/traces/README.md.

    Needs columns vm_id, ts and cpu_pct; uses cpu_cores, mem_pct or mem_used_mb / mem_total_mb if there. Rows in any
    order and repeated ones give the same. Rows without a CPU figure (other metrics of CloudWatch exports), without a
    machine or a time, or with a figure that cannot be are left out. Raises KeyError for a missing column, ValueError
    for one that holds something else, and what pyarrow raises for a file that is not Parquet.
    """
    path = Path(path)
    source = pq.ParquetFile(path)
    there = set(source.schema_arrow.names)
    if missing := {"vm_id", "ts", "cpu_pct"} - there:
        raise KeyError(f"{path.name}: no column {', '.join(sorted(missing))}")
    wanted = ["vm_id", "ts", "cpu_pct", "cpu_cores", "mem_pct", "mem_used_mb", "mem_total_mb"]
    table = source.read(columns=[name for name in wanted if name in there])
    cpu = _figures(path, table, "cpu_pct")
    keep = table["vm_id"].is_valid().to_numpy() & table["ts"].is_valid().to_numpy()
    # What no machine does is no sample: not even a burst is ten times the machine.
    keep &= np.isfinite(cpu) & (cpu >= 0) & (cpu <= MOST)
    if "cpu_cores" in there:
        cores_told = _figures(path, table, "cpu_cores")
        keep &= np.isfinite(cores_told) & (cores_told > 0)
    table, cpu_pct = table.filter(pa.array(keep)), cpu[keep]
    ts = _seconds(path, table["ts"])

    coded = pc.dictionary_encode(table["vm_id"]).combine_chunks()
    spelled = np.asarray([str(one) for one in coded.dictionary.to_pylist()], dtype=object)
    rank = np.empty(len(spelled), np.int64)
    rank[np.argsort(spelled)] = np.arange(len(spelled))
    vm = rank[coded.indices.to_numpy(zero_copy_only=False)]
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
    cores = cores_told[keep][rows] if "cpu_cores" in there else np.ones(len(rows))
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


def _figures(path: Path, table: pa.Table, name: str) -> NDArray[np.float64]:
    """A column as numbers, NaN where there is none. Raises ValueError for one that holds something else."""
    try:
        return np.asarray(table[name].cast(pa.float64()).to_numpy(), np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"{path.name}: column {name} holds no numbers ({error})") from None


def _seconds(path: Path, column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Times as epoch seconds, from numbers or timestamps. Raises ValueError for anything else."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("s", column.type.tz), safe=False)
    try:
        seconds = np.asarray(column.cast(pa.int64(), safe=False).to_numpy(), np.int64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"{path.name}: column ts holds no times ({error})") from None
    if len(seconds) and not (seconds.min() >= 0 and seconds.max() < LATEST):
        raise ValueError(
            f"{path.name}: column ts must be epoch seconds, it goes from {seconds.min()} to {seconds.max()}"
        )
    return seconds
