"""What was delivered for an hour, out of what is hot and of the closed day, as it lies there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metering.lake.files import Footers, Reader, day_of, hot_names
from metering.lake.samples import Cells

if TYPE_CHECKING:
    from metering.lake.store import Lake

_THREADS = min(4, os.cpu_count() or 1)


_BATCH = 64
"""Row groups read at once: a million rows."""


def deliveries(lake: Lake, end: datetime, columns: Sequence[str], ids: NDArray[np.int32] | None) -> list[Cells]:
    """What was delivered for the hour up to ``end``, in order, its slots counted from the hour's beginning; of ``ids``
    (sorted) alone, None = of all."""
    stop = int(end.timestamp())
    first = (stop - 3600 + lake.utc_offset_s) // lake.step_s  # in slots of local time
    long = 3600 // lake.step_s
    found: list[Cells] = []
    for each in sorted({first // lake.slots, (first + long - 1) // lake.slots}):  # over midnight: two days
        begin = first - each * lake.slots
        found += _of_day(lake, day_of(each), stop, (max(0, begin), min(lake.slots, begin + long)), begin, columns, ids)
    return found


def _of_day(
    lake: Lake,
    day: date,
    stop: int,
    slots: tuple[int, int],
    begin: int,
    columns: Sequence[str],
    ids: NDArray[np.int32] | None,
) -> list[Cells]:
    """The closed day first, then what is hot. Listed before it is opened: what has gone meanwhile is in the day."""
    while True:
        folder = lake.hot_folder(day)
        names = [name for name in hot_names(folder) if name.last >= stop - 3600 and name.first < stop]
        paths: list[Path] = [lake.path("days", day)] if lake.path("days", day).exists() else []
        paths += [folder / name.source / str(name) for name in names]
        try:
            read = [_of_file(path, columns, slots, begin, ids) for path in paths]
        except FileNotFoundError:
            continue
        return [part for part in read if part is not None and len(part)]


def _of_file(
    path: Path, columns: Sequence[str], slots: tuple[int, int], begin: int, ids: NDArray[np.int32] | None
) -> Cells | None:
    """What a file holds of the hour, as one delivery. Each thread has a reader of its own: one is not for several."""
    footer = Footers(1)
    with Reader(path, known=footer) as reader:
        groups, ranges = list(_groups(reader, ids)), reader.ranges
    batches = [groups[first : first + _BATCH] for first in range(0, len(groups), _BATCH)]

    def read(batch: list[int]) -> Cells:
        with Reader(path, known=footer) as mine:
            if mine.ranges != ranges:  # a closed day that was closed anew meanwhile
                raise FileNotFoundError(path)
            part = _cells(mine, batch, columns, slots, begin)
        return part if ids is None else part.take(np.isin(part.resource, ids))

    if len(batches) < 2:
        return read(batches[0]) if batches else None
    with ThreadPoolExecutor(_THREADS) as pool:
        return _joined(list(pool.map(read, batches)))


def _groups(reader: Reader, ids: NDArray[np.int32] | None) -> Iterator[int]:
    for group, (low, high) in enumerate(reader.ranges):
        if low <= high and (ids is None or np.searchsorted(ids, low) < np.searchsorted(ids, high, side="right")):
            yield group


def _cells(reader: Reader, groups: Sequence[int], columns: Sequence[str], slots: tuple[int, int], begin: int) -> Cells:
    """The cells of some row groups that lie in the hour."""
    found = reader.read(groups, ["resource", "slot", "sec", "state", *columns, *(f"{name}_lag" for name in columns)])
    rows = np.flatnonzero((found["slot"] >= slots[0]) & (found["slot"] < slots[1]) & (found["state"] != 0))
    found = {name: column[rows] for name, column in found.items()}
    return Cells(
        found.pop("resource"),
        (found.pop("slot").astype(np.int32) - begin).astype(np.uint16),
        found.pop("sec"),
        found.pop("state"),
        {name: column for name, column in found.items() if not name.endswith("_lag")},
        {name.removesuffix("_lag"): column for name, column in found.items() if name.endswith("_lag")},
    )


def _joined(parts: Sequence[Cells]) -> Cells:
    """The row groups of one file as one delivery."""
    return Cells(
        np.concatenate([part.resource for part in parts]),
        np.concatenate([part.slot for part in parts]),
        np.concatenate([part.sec for part in parts]),
        np.concatenate([part.state for part in parts]),
        {name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values},
        {name: np.concatenate([part.lags[name] for part in parts]) for name in parts[0].lags},
    )
