"""Use of many resources out of a lake's files, block by block, by whichever engine: for reports and exports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.judging import BlockSurvey, BlockTask, Engine, named
from metering.lake import BLOCK, CHUNK, ClosedDays, SampleMatrix
from metering.overview import usage
from metering.overview.usage import Usage
from providers.metrics import MISSING, Array
from quota.calendar import WorkingDays

UTILISATIONS = ("cpu_pct", "mem_pct")


@dataclass(frozen=True)
class Report:
    """ids: int32 [r], sorted; cpu, mem: of those resources, over `days` days."""

    ids: NDArray[np.int32]
    cpu: Usage
    mem: Usage
    days: int


def exact(place: str, first: date, last: date, calendar: WorkingDays, engine: Engine | None = None) -> Report:
    """Use from samples, of every resource that has any in those closed days."""
    return _reported(place, first, last, calendar, engine, _exact)


def near(place: str, first: date, last: date, calendar: WorkingDays, engine: Engine | None = None) -> Report:
    """Use from daily histograms: quantiles within half a point, the rest exact, in a fraction of the time."""
    return _reported(place, first, last, calendar, engine, _near)


def _reported(
    place: str,
    first: date,
    last: date,
    calendar: WorkingDays,
    engine: Engine | None,
    function: Callable[[ClosedDays, BlockSurvey, BlockTask], Any],
) -> Report:
    shelf = ClosedDays(place)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    # As many at once as a row group of those files holds: reading part of one costs as much as all of it.
    size = BLOCK if function is _exact else CHUNK
    lows: set[int] = set()
    for day in days:
        try:
            reader = shelf.open("days" if function is _exact else "daily", day)
        except FileNotFoundError:
            continue
        for low, high in reader.ranges:
            lows.update(range(low // size, high // size + 1))
    worked = np.array([calendar.is_working(day) for day in days])
    tasks = [
        BlockTask(np.arange(low * size, (low + 1) * size, dtype=np.int32), {"worked": worked}) for low in sorted(lows)
    ]
    parts = [one for one in (engine or named())(function, BlockSurvey(place, first, last), tasks) if len(one[0])]
    if not parts:
        raise LookupError(f"no closed day from {first} to {last} has a sample")
    ids, cpu, mem = zip(*parts, strict=True)
    return Report(np.concatenate(ids), Usage.joined(list(cpu)), Usage.joined(list(mem)), len(days))


def _exact(shelf: ClosedDays, survey: BlockSurvey, task: BlockTask) -> tuple[NDArray[np.int32], Usage, Usage]:
    worked = task.about["worked"]
    window = next(
        shelf.windows(task.ids, survey.first, survey.last, UTILISATIONS),
        SampleMatrix(np.zeros(0, np.int32), np.zeros((0, len(worked) * shelf.slots), np.uint8), {}),
    )
    nothing = np.zeros((0, len(worked) * shelf.slots), np.uint16)
    cpu, mem = (usage.profile(window.values.get(name, nothing), window.state, worked) for name in UTILISATIONS)
    return window.resources, cpu, mem


def _near(shelf: ClosedDays, survey: BlockSurvey, task: BlockTask) -> tuple[NDArray[np.int32], Usage, Usage]:
    worked = task.about["worked"]
    low, high = int(task.ids[0]), int(task.ids[-1]) + 1
    found: list[tuple[int, dict[str, Array]]] = []
    for number in range(len(worked)):
        try:
            reader = shelf.open("daily", survey.first + timedelta(days=number))
        except FileNotFoundError:
            continue
        groups = reader.groups(low, high)
        if groups:
            found.append((number, reader.histograms(groups, UTILISATIONS, low, high)))
    ids = np.unique(np.concatenate([np.zeros(0, np.int32), *(one["resource"] for _, one in found)])).astype(np.int32)
    cpu, mem = (_from_days(name, found, ids, worked) for name in UTILISATIONS)
    return ids, cpu, mem


def _from_days(
    name: str,
    found: Sequence[tuple[int, dict[str, Array]]],
    ids: NDArray[np.int32],
    worked: NDArray[np.bool_],
) -> Usage:
    r, d = len(ids), len(worked)
    n, sums, top = np.zeros((r, d), np.int64), np.zeros((r, d)), np.full(r, -1.0)
    mine = [(number, day) for number, day in found if f"{name}_n" in day]
    width = max([usage.LEVELS, *(int(day[f"{name}_bins"].max(initial=0)) + 1 for _, day in mine)])
    table = np.zeros((r, width), np.uint32)
    for number, day in mine:
        row = np.searchsorted(ids, day["resource"])
        n[row, number] = day[f"{name}_n"]
        sums[row, number] = day[f"{name}_sum"].astype(np.float64) / 100
        best = day[f"{name}_max"].astype(np.float64)
        top[row] = np.maximum(top[row], np.where(best == MISSING, -1, best / 100))
        rows = np.repeat(row, day[f"{name}_lengths"].astype(np.int64))
        # A day names a bin of a resource once, and `width` holds them all: no two entries meet in a cell.
        table.reshape(-1)[rows * width + day[f"{name}_bins"]] += day[f"{name}_counts"]
    return usage.from_days(table, n, sums, np.where(top < 0, np.nan, top), worked)


def table(report: Report) -> pa.Table:
    """One row a resource; figures of CPU and memory side by side, unknown ones null."""
    columns: dict[str, Array] = {"resource": report.ids}
    for name, used in (("cpu", report.cpu), ("mem", report.mem)):
        columns |= {f"{name}_{field.name}": getattr(used, field.name) for field in fields(used)}
    return pa.table({name: pa.array(column, from_pandas=True) for name, column in columns.items()})


def step_s(place: str) -> int:
    """Seconds of one slot of the lake at a place."""
    return ClosedDays(place).step_s
