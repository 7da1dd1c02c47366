"""Published utilisation traces (../shared/traces) as canonical series, for judging and for replaying
policies.

A *canonical series* of a machine: rows with cores > 0 (where cores are known), one per 300 s slot
(floor(ts / 300)), the first by (ts, CPU descending). Machines are kept one after the other in flat arrays,
because their histories differ in length and have gaps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from metering.series import STEP_S, Series, hundredths


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
    cores = table["cpu_cores"].to_numpy()[rows].astype(np.float64) if "cpu_cores" in there else np.ones(len(rows))
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
