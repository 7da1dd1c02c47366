"""The lake: samples in, once; closed days, rollups, charts and windows out.

A delivery is durable before `append` returns, and lies *hot* until `roll` closes its days: one dense file a
day, with hours and daily histograms beside it. Any number of processes may read while one process per source
appends and one rolls. A crash at any byte leaves each file old or new; hot files go only when what they held
is durable elsewhere, so that a roll can be repeated and gives the same bytes.

What a closed day holds depends on what was delivered, not on the order or the batches in which it came
(deliveries that contradict each other apart: there the later wins).

    lake = Lake(root)
    lake.append("agent-7", table)
    lake.roll()
    for window in lake.windows(None, first_day, last_day, ("cpu_pct", "mem_pct")): ...

`chart` sees hot samples at once; `hours`, `windows` and `daily` read closed days alone. `hot_days` says which
days have something that they don't show yet.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering import lake_health, readings, rollup
from metering.dayblock import Edges, freeze, lay, unsettled
from metering.lake_files import (
    BLOCK,
    HotName,
    Reader,
    cells_table,
    check_source,
    count_values,
    dated,
    day_of,
    hot_days,
    hot_names,
    hot_tables,
    make_folder,
    sweep,
    table_of,
    write_json,
    write_tables,
)
from metering.samples import COLUMNS, Array, Cells, canonical, nothing

_FORMAT = 1
# Resources closed at a time: bounds the memory of a roll, whatever the size of the city.
_CHUNK = 16 * BLOCK


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a delivery. rows: delivered; taken: with something to say; refused: "column:reason" ->
    how many; days: local days touched; files: written now, 0 if exactly this lay there already."""

    rows: int
    taken: int
    refused: Mapping[str, int]
    days: tuple[date, ...]
    files: int


class Lake:
    """Samples of any number of resources at steps of `step_s` seconds, in days of UTC + `utc_offset_s`."""

    def __init__(self, root: Path | str, step_s: int = 300, utc_offset_s: int = 28_800) -> None:
        """Opens the lake at `root`, or makes it. ValueError if it was made with another step or offset."""
        if step_s < 15 or 3600 % step_s or utc_offset_s % step_s:
            raise ValueError("the step divides an hour and the UTC offset, and is no shorter than 15 s")
        self.root = Path(root)
        self.step_s, self.utc_offset_s = step_s, utc_offset_s
        self.slots = 86_400 // step_s
        ours = {"format": _FORMAT, "step_s": step_s, "utc_offset_s": utc_offset_s}
        about = self.root / "lake.json"
        try:
            found = json.loads(about.read_text())
        except FileNotFoundError:
            make_folder(self.root)
            write_json(about, ours)
        else:
            if found != ours:
                raise ValueError(f"{self.root} is a lake of {found}, not of {ours}")

    # --- in ---

    def append(self, source: str, table: pa.Table) -> Receipt:
        """Take a delivery: integer columns `resource` and `ts` (seconds since 1970, UTC), any of METRICS, `vcpu`
        and `mem_mb`; NaN or null = not reported. Durable on return; the same again changes nothing.

        Refuses values and rows that can't be, and counts them. Raises KeyError, ValueError or TypeError if
        the table has a column too few, too many or of a wrong type, OSError if the disk is full: then nothing
        of it is acknowledged, and delivering it again does no harm.
        """
        check_source(source)
        delivery = canonical(table, self.step_s, self.utc_offset_s)
        files = sum(
            self._keep(day_of(day), source, cells, first, last) for day, (cells, first, last) in delivery.days.items()
        )
        days = tuple(day_of(day) for day in delivery.days)
        return Receipt(delivery.rows, delivery.taken, dict(delivery.refused), days, files)

    def _keep(self, day: date, source: str, cells: Cells, first: int, last: int) -> int:
        folder = self._hot(day)
        digest = _digest(cells)
        there = [name for name in hot_names(folder) if name.source == source]
        over = [name for name in there if name.first <= last and name.last >= first]
        if over and (over[-1].first, over[-1].last, over[-1].digest) == (first, last, digest):
            return 0
        number = max(time.time_ns(), *(name.number + 1 for name in there), 0)
        name = HotName(number, source, first, last, digest)
        write_tables(folder / source / str(name), hot_tables(cells))
        return 1

    def hot_days(self) -> list[date]:
        """Days with deliveries that no roll has closed yet."""
        return hot_days(self.root)

    # --- closing days ---

    def days(self) -> list[date]:
        """The closed days."""
        return dated(self.root / "days", ".parquet")

    def roll(
        self, days: Sequence[date] | None = None, progress: Callable[[int, int], object] | None = None
    ) -> list[date]:
        """Close the days (default: all) that have hot files; returns those it closed, oldest first.

        A closed day with late deliveries is closed anew, and only it; beside it a neighbour, where a frozen
        run over midnight has become known. `progress` is called with (days done, days to do).
        """
        with self._rolling():
            waiting = [day for day in self.hot_days() if days is None or day in set(days)]
            for done, day in enumerate(waiting):
                if progress:
                    progress(done, len(waiting))
                self._close(day)
            if progress:
                progress(len(waiting), len(waiting))
        return waiting

    def rebuild(self, day: date) -> None:
        """Write a closed day's rollups, and its states, anew from its dense file (and what is hot)."""
        with self._rolling():
            self._close(day)

    def _close(self, day: date) -> None:
        names = hot_names(self._hot(day))
        old = self.edges(day)
        self._write_day(day, names)
        new = self.edges(day)
        before, after = day - timedelta(days=1), day + timedelta(days=1)
        if unsettled(self.edges(before), old, new, neighbour_is_before=True):
            self._write_day(before, [])
        if unsettled(self.edges(after), old, new, neighbour_is_before=False):
            self._write_day(after, [])
        ledger = self.root / "days.json"
        closed = set(lake_health.closed_days(self.root))
        if day not in closed:
            write_json(ledger, [d.isoformat() for d in sorted(closed | {day})])
        self._drop(day, names)

    def _write_day(self, day: date, names: Sequence[HotName]) -> None:
        """One day's three files from its dense file, if there is one, and the hot files named."""
        sides = [self.edges(day + timedelta(days=step)) for step in (-1, 1)]
        hours: list[pa.Table] = []
        daily: list[pa.Table] = []
        about = {"day": day.isoformat(), "values": 0, "cells": 0}

        def dense() -> Iterator[pa.Table]:
            for low in self._chunks(day, names):
                block = lay(list(self._parts(day, names, low, low + _CHUNK)), self.slots)
                edges = freeze(block, *sides)
                hours.append(rollup.hours(block))
                daily.append(rollup.daily(block, edges))
                cells = block.cells()
                about["values"] += count_values(cells)  # type: ignore[operator]
                about["cells"] += int(np.count_nonzero(cells.state))  # type: ignore[operator]
                cut = np.searchsorted(block.resource, np.arange(low, low + _CHUNK + BLOCK, BLOCK))
                for first, end in itertools.pairwise(cut):
                    if first < end:
                        yield cells_table(cells.take(slice(first * self.slots, end * self.slots)))

        write_tables(self.path("days", day), _one_schema(dense()), about)
        write_tables(self.path("hours", day), _one_schema(hours))
        write_tables(self.path("daily", day), _one_schema(daily))

    # --- out ---

    def windows(
        self, resources: Iterable[int] | None, first_day: date, last_day: date, metrics: Sequence[str]
    ) -> Iterator[readings.Window]:
        """Blocks of resources with every slot of the closed days; see metering.readings."""
        return readings.windows(self, resources, first_day, last_day, metrics)

    def chart(self, resource: int, start: datetime, end: datetime, metrics: Sequence[str]) -> readings.Chart:
        """One resource's samples, hot ones too; gaps are NaN."""
        return readings.chart(self, resource, start, end, metrics)

    def hours(self, resource: int, start: datetime, end: datetime, metrics: Sequence[str]) -> readings.Chart:
        """One resource's hourly means and sample counts, of closed days."""
        return readings.hours(self, resource, start, end, metrics)

    def counts(self, first_day: date, last_day: date) -> dict[int, NDArray[np.int64]]:
        """Resource -> samples [live, off, frozen] of the closed days."""
        return readings.counts(self, first_day, last_day)

    def status(self) -> lake_health.Status:
        """Days, files, bytes, values, and what waits to be closed."""
        return lake_health.status(self)

    def verify(self) -> list[lake_health.Problem]:
        """Every file read, every rollup recomputed; what does not fit is named."""
        return lake_health.verify(self)

    # --- places ---

    def path(self, kind: str, day: date) -> Path:
        """The file of a closed day: kind days, hours or daily."""
        return self.root / kind / f"{day.isoformat()}.parquet"

    def _hot(self, day: date) -> Path:
        return self.root / "hot" / day.isoformat()

    def hot_files(self, day: date) -> list[Path]:
        """The day's deliveries that no roll has taken up yet, in the order in which they came."""
        return [self._hot(day) / name.source / str(name) for name in hot_names(self._hot(day))]

    def edges(self, day: date) -> Edges:
        """The first and last runs of each resource on a closed day; none where it isn't closed."""
        try:
            with Reader(self.path("daily", day)) as reader:
                found = reader.read(range(len(reader.ranges)), [f.name for f in fields(Edges)])
        except FileNotFoundError:
            return Edges.none(np.zeros(0, np.int32))
        return Edges(**found)

    def _chunks(self, day: date, names: Sequence[HotName]) -> list[int]:
        """The first ids of the chunks in which the day has anything."""
        found: set[int] = set()
        for path in (self.path("days", day), *(self._hot(day) / name.source / str(name) for name in names)):
            if path.exists():
                with Reader(path) as reader:
                    for first, last in reader.ranges:
                        found.update(range(first // _CHUNK, last // _CHUNK + 1))
        return [number * _CHUNK for number in sorted(found)]

    def _parts(self, day: date, names: Sequence[HotName], low: int, high: int) -> Iterator[Cells]:
        """What is known of some resources on a day: the closed file first, then deliveries as they came."""
        for path in (self.path("days", day), *(self._hot(day) / name.source / str(name) for name in names)):
            if path.exists():
                with Reader(path) as reader:
                    yield reader.cells(low, high)

    def _drop(self, day: date, names: Sequence[HotName]) -> None:
        """Take away deliveries that the closed day holds now."""
        folder = self._hot(day)
        for name in names:
            (folder / name.source / str(name)).unlink(missing_ok=True)
        for source in {name.source for name in names}:
            with suppress(OSError):
                (folder / source).rmdir()
        with suppress(OSError):
            folder.rmdir()

    @contextmanager
    def _rolling(self) -> Iterator[None]:
        """One roll at a time, whichever process it is in."""
        handle = os.open(self.root / ".roll.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            for kind in ("days", "hours", "daily"):
                make_folder(self.root / kind)
                sweep(self.root / kind)
            yield
        finally:
            os.close(handle)


def _digest(cells: Cells) -> str:
    """16 hex digits that the same cells always have."""
    hasher = hashlib.blake2b(digest_size=8)
    columns: dict[str, Array] = {
        "resource": cells.resource,
        "slot": cells.slot,
        "sec": cells.sec,
        "state": cells.state,
        **cells.values,
        **{f"{name}_lag": lag for name, lag in cells.lags.items()},
    }
    for name, column in sorted(columns.items()):
        hasher.update(f"{name}:{column.dtype}:{len(column)};".encode())
        hasher.update(np.ascontiguousarray(column).tobytes())
    return hasher.hexdigest()


def _one_schema(tables: Iterable[pa.Table]) -> list[pa.Table]:
    """The tables with the same columns: what some lack is filled with "not reported"."""
    found = list(tables)
    types: dict[str, pa.DataType] = {}
    for table in found:
        types |= {field.name: field.type for field in table.schema}
    order = sorted(types, key=_column_order(found))
    return [
        table_of(
            {
                name: table[name].combine_chunks()
                if name in table.column_names
                else _filled(name, types[name], len(table))
                for name in order
            }
        )
        for table in found
    ]


def _column_order(tables: Sequence[pa.Table]) -> Callable[[str], tuple[int, str]]:
    longest: list[str] = max((table.column_names for table in tables), key=len, default=[])
    return lambda name: (longest.index(name) if name in longest else len(longest), name)


def _filled(name: str, kind: pa.DataType, rows: int) -> Any:
    """A column of "not reported" (or of no samples)."""
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(
            pa.array(np.zeros(rows + 1, np.int32)), pa.array([], kind.value_type), type=kind
        )
    if name in COLUMNS:
        return np.full(rows, nothing(name), COLUMNS[name])
    if pa.types.is_floating(kind) and not name.endswith("_sum"):
        return np.full(rows, np.nan, kind.to_pandas_dtype())
    if name.endswith(("_max", "_last")):
        return np.full(rows, nothing(name.rsplit("_", 1)[0]), kind.to_pandas_dtype())
    return np.zeros(rows, kind.to_pandas_dtype())
