"""Whether the lake is whole: every file read, every rollup recomputed from its day, nothing that was closed missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metering import rollup
from metering.dayblock import freeze, lay
from metering.lake_files import Damaged, Reader, dated
from metering.samples import Array

if TYPE_CHECKING:
    from metering.lake import Lake

CHUNK = 8192


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that does not fit, and why."""

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@dataclass(frozen=True, slots=True)
class Status:
    """days: closed; hot: days with deliveries that wait to be closed; values: metric values in closed days."""

    days: int
    first: date | None
    last: date | None
    files: int
    bytes: int
    values: int
    hot: int
    hot_files: int

    @property
    def bytes_per_value(self) -> float:
        """Bytes of everything closed a metric value."""
        return self.bytes / self.values if self.values else float("nan")


def closed_days(root: Path) -> list[date]:
    """The days that were closed, by the lake's own list."""
    try:
        return [date.fromisoformat(one) for one in json.loads((root / "days.json").read_text())]
    except FileNotFoundError:
        return []


def status(lake: Lake) -> Status:
    """Days, files, bytes and values."""
    days = lake.days()
    paths = [
        lake.path(kind, day) for day in days for kind in ("days", "hours", "daily") if lake.path(kind, day).exists()
    ]
    values = 0
    for day in days:
        try:
            with Reader(lake.path("days", day)) as reader:
                values += int(reader.about().get("values", 0))
        except Damaged:
            continue  # verify names it
    hot = lake.hot_days()
    return Status(
        len(days),
        days[0] if days else None,
        days[-1] if days else None,
        len(paths),
        sum(path.stat().st_size for path in paths),
        values,
        len(hot),
        sum(len(lake.hot_files(day)) for day in hot),
    )


def verify(lake: Lake) -> list[Problem]:
    """Read every file and recompute every rollup."""
    return list(_problems(lake))


def _problems(lake: Lake) -> Iterator[Problem]:
    listed, there = set(closed_days(lake.root)), set(lake.days())
    for day in sorted(listed - there):
        yield Problem(lake.path("days", day), "the closed day is missing")
    for kind in ("hours", "daily"):
        for day in sorted(set(dated(lake.root / kind, ".parquet")) - there):
            yield Problem(lake.path(kind, day), "a rollup without its day")
    for day in sorted(there):
        try:
            yield from _day(lake, day)
        except Damaged as damage:
            yield Problem(damage.path, damage.why)
        except FileNotFoundError as error:
            yield Problem(Path(str(error.filename or error)), "missing")
    for day in lake.hot_days():
        for path in lake.hot_files(day):
            try:
                with Reader(path) as reader:
                    reader.table()
            except Damaged as damage:
                yield Problem(damage.path, damage.why)
            except FileNotFoundError:
                continue  # closed meanwhile


def _day(lake: Lake, day: date) -> Iterator[Problem]:
    """One day's dense file against itself, and its rollups against it."""
    path = lake.path("days", day)
    sides = [lake.edges(day + timedelta(days=step)) for step in (-1, 1)]
    with (
        Reader(path) as dense,
        Reader(lake.path("hours", day)) as hours,
        Reader(lake.path("daily", day)) as daily,
    ):
        if dense.about().get("day") != day.isoformat():
            yield Problem(path, f"the file says that it is of {dense.about().get('day')}")
        if dense.file.metadata.num_rows % lake.slots:
            yield Problem(path, "not every resource has all slots")
            return
        for low in range(0, max((high for _, high in dense.ranges), default=-1) + 1, CHUNK):
            block = lay([dense.cells(low, low + CHUNK)], lake.slots)
            if not len(block.resource):
                continue
            edges = freeze(block, *sides)
            for reader, fresh in ((hours, rollup.hours(block)), (daily, rollup.daily(block, edges))):
                kept = reader.read(reader.groups(low, low + CHUNK), reader.file.schema_arrow.names)
                mine = (kept["resource"] >= low) & (kept["resource"] < low + CHUNK)
                for name in fresh.column_names:
                    if name.endswith(("_bins", "_counts")):
                        continue
                    if name not in kept or not _same(kept[name][mine], fresh[name].to_numpy()):
                        yield Problem(reader.path, f"column {name} is not what {path.name} makes it")
                        break


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
