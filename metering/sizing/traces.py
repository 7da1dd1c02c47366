"""Published utilisation traces (../shared/traces) as canonical series, for judging and for backtesting
policies.

A *canonical series* of a machine: rows with cores > 0 (where cores are known), one per 300 s slot
(floor(ts / 300)), the first by (ts, CPU descending). Machines are kept one after the other in flat arrays,
because their histories differ in length and have gaps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from metering.series import MachineSeries, hundredths
from providers.metrics import STEP_S, Array

MOST = 1_000.0  # per cent, as the lake has it
MOST_CORES = 65_536  # as shapes may have at most
LATEST = 100_000_000_000  # seconds: a greater number is milliseconds, or no time at all
SLOTS_OF_ONE = 1 << 29  # more slots than there is time: a machine's place among all and a slot as one number
PART = 1 << 18  # rows of which figures are reckoned at a time
LONGEST = 20 * 366  # days from the first sample to the last: beyond that a clock was wrong, and no memory would hold it


def load(path: str | Path) -> MachineSeries:
    """The canonical series of a trace in the Parquet layout of ../shared/traces/README.md.

    Needs columns vm_id, ts and cpu_pct; uses cpu_cores, mem_pct or mem_used_mb / mem_total_mb if there. Rows in any
    order and repeated ones give the same. Rows without a CPU figure (other metrics of CloudWatch exports), without a
    machine or a time, or with a figure that cannot be are left out. Raises KeyError for a missing column, ValueError
    for one that holds something else, for samples that lie more than LONGEST days apart, and for a file that is not
    Parquet or is damaged.
    """
    path = Path(path)
    table = _read(path)
    there = set(table.column_names)
    cpu = _figures(path, table, "cpu_pct")
    keep = table["vm_id"].is_valid().to_numpy() & table["ts"].is_valid().to_numpy()
    if pa.types.is_floating(table["ts"].type):
        keep &= np.isfinite(_figures(path, table, "ts"))
    # What no machine does is no sample: not even a burst is ten times the machine.
    keep &= (cpu >= 0) & (cpu <= MOST)
    if "cpu_cores" in there:
        cores_told = _figures(path, table, "cpu_cores")
        keep &= (cores_told > 0) & (cores_told <= MOST_CORES)
    kept = np.flatnonzero(keep)
    ts = _seconds(path, table["ts"].filter(pa.array(keep)))
    vm, names = _machines(path, table["vm_id"], kept)
    at, kept = _in_order(vm, ts, kept, cpu)
    at //= STEP_S
    first = np.ones(len(at), bool)
    first[1:] = at[1:] != at[:-1]
    rows, at = kept[first], at[first]

    mem = None
    if "mem_pct" in there:
        share = _figures(path, table, "mem_pct")
        mem = _in_hundredths(rows, lambda part: share[part])
    elif {"mem_used_mb", "mem_total_mb"} <= there:
        used, total = (_figures(path, table, name) for name in ("mem_used_mb", "mem_total_mb"))
        mem = _in_hundredths(rows, lambda part: _share(used[part], total[part]))
    cores = cores_told[rows] if "cpu_cores" in there else np.ones(len(rows))
    return MachineSeries(
        path.stem,
        names,
        np.searchsorted(at, np.arange(len(names) + 1) * SLOTS_OF_ONE),
        at % SLOTS_OF_ONE,
        _in_hundredths(rows, lambda part: cpu[part]),
        cores,
        mem,
        "cpu_cores" in there,
    )


def _machines(path: Path, column: pa.ChunkedArray, rows: Array) -> tuple[Array, tuple[str, ...]]:
    """The machine of each of these rows, as its place among their names in order. Raises ValueError where they are no names."""
    try:
        coded = pc.dictionary_encode(column).combine_chunks()
    except pa.ArrowNotImplementedError:
        raise ValueError(f"{path.name}: column vm_id holds no names ({column.type})") from None
    code = pc.fill_null(coded.indices, 0).to_numpy()[rows]
    used = np.flatnonzero(np.bincount(code, minlength=1))
    spelled = [str(one) for one in coded.dictionary.take(pa.array(used)).to_pylist()] if len(rows) else []
    place = np.zeros(int(used.max(initial=0)) + 1, np.int64)
    place[used[: len(spelled)][np.argsort(np.asarray(spelled, dtype=object), kind="stable")]] = np.arange(len(spelled))
    return place[code], tuple(sorted(spelled))


def _in_order(vm: Array, ts: Array, rows: Array, cpu: Array) -> tuple[Array, Array]:
    """Machine and time as one number, and the row of each, by these and falling CPU: as they lie, where a file is in that order but for a few, as
    most are."""
    at = vm * (SLOTS_OF_ONE * STEP_S)
    at += ts
    if (at[1:] < at[:-1]).any():
        order = np.argsort(at, kind="stable")
        at, rows = at[order], rows[order]
    same = at[1:] == at[:-1]
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    among = rows[tied]
    rows[tied] = among[np.lexsort((-cpu[among], at[tied]))]
    return at, rows


def _in_hundredths(rows: Array, figures: Callable[[Array], Array]) -> Array:
    """Per cent of these rows as uint16 hundredths, a part at a time: whole columns of numbers in between cost more than what is done with them."""
    parts = [hundredths(figures(rows[low : low + PART])) for low in range(0, len(rows), PART)]
    return np.concatenate([np.zeros(0, np.uint16), *parts])


def _share(used: Array, total: Array) -> Array:
    return np.asarray(np.divide(100.0 * used, total, out=np.full(len(used), np.nan), where=total > 0))


def _read(path: Path) -> pa.Table:
    """The columns that are used of a Parquet file. Raises KeyError for one that is missing, ValueError for a file that
    can't be read."""
    wanted = ["vm_id", "ts", "cpu_pct", "cpu_cores", "mem_pct", "mem_used_mb", "mem_total_mb"]
    try:
        source = pq.ParquetFile(path)
        names = list(source.schema_arrow.names)
        there = set(names)
        if missing := {"vm_id", "ts", "cpu_pct"} - there:
            raise KeyError(f"{path.name}: no column {', '.join(sorted(missing))}")
        if twice := [name for name in wanted if names.count(name) > 1]:
            raise ValueError(f"{path.name}: more than one column {', '.join(twice)}")
        kind = source.schema_arrow.field("vm_id").type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            source = pq.ParquetFile(path, read_dictionary=["vm_id"])
        return source.read(columns=[name for name in wanted if name in there])
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path.name}: no Parquet file, or damaged ({error})") from None
    except OSError as error:
        if error.errno is not None:  # not there, or not to be read: that names the file
            raise
        raise ValueError(f"{path.name}: damaged ({error})") from None


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
    if len(seconds) and (days := int(seconds.max() - seconds.min()) // 86_400) > LONGEST:
        raise ValueError(f"{path.name}: the samples span {days:,} days; at most {LONGEST:,} can be backtested")
    return seconds
