"""Closing a day: its dense file and rollups from what was delivered, in bounded memory, repeatable after any crash.

A day's three files are each replaced whole, one after another. `closing.json` names the day while that goes on;
whoever comes after a crash does that day again, and its neighbours, which nothing else would remember.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.lake import landings, rollup
from metering.lake import sources as lake_sources
from metering.lake.dayblock import DayBlock, Edges, freeze, lay, unsettled
from metering.lake.files import (
    BLOCK,
    HotName,
    Reader,
    Sheet,
    cells_table,
    hot_names,
    make_folder,
    row_groups,
    sweep,
    sync_folder,
    write_json,
)
from metering.lake.samples import COLUMNS, Cells
from providers.metrics import ABSENT, FROZEN, METRICS, reported

if TYPE_CHECKING:
    from metering.lake.places import Places

CHUNK = 16 * BLOCK
"""Resource ids closed at a time: bounds the memory of a roll, whatever the size of the city."""

KINDS = ("days", "hours", "daily")
_LEFT_OVER_S = 3600


@contextmanager
def rolling(lake: Places, *, shared: bool = False) -> Iterator[None]:
    """One roll at a time, whichever process it is in; what a crash interrupted is done first.

    `shared`: for those who compare files with each other and must not see a roll half-way; no two of them wait for
    each other.
    """
    handle = os.open(lake.root / ".roll.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        if not shared:
            for kind in KINDS:
                make_folder(lake.root / kind)
                sweep(lake.root / kind)
            sweep(lake.root / "hot", _LEFT_OVER_S)
            sweep(lake.root / "corrections", _LEFT_OVER_S)
            interrupted(lake)
            landings.settle_all(lake)
        yield
    finally:
        os.close(handle)


def under_way(lake: Places) -> date | None:
    """The day that is being closed, or was when its process died."""
    try:
        return date.fromisoformat(json.loads((lake.root / "closing.json").read_text())["day"])
    except FileNotFoundError:
        return None


def interrupted(lake: Places) -> None:
    """Do again what a crash interrupted. Under the roll's lock."""
    day = under_way(lake)
    if day is not None:
        told = json.loads((lake.root / "closing.json").read_text())
        close(lake, day, settle=True, up_to=told.get("up_to"))


def close(lake: Places, day: date, *, settle: bool = False, up_to: int | None = None) -> None:
    """Close a day with what is hot (`up_to`: of deliveries with numbers up to this one), and its neighbours where that changes what is frozen there (`settle`: anyway).

    A day of a sealed month, or one whose samples were deleted by the rule, is left as it is; what came for it lies
    beside as a correction. Under the roll's lock.
    """
    sealed = lake.sealed()
    line = lake.kept_from("days")
    folder = lake.hot_folder(day)
    names = [name for name in hot_names(folder) if up_to is None or name.number <= up_to]
    if up_to is not None and not names and not settle:
        return
    if day.strftime("%Y-%m") in sealed or (line is not None and day < line):
        set_aside(lake, day, names)
        if settle and lake.path("days", day).exists():
            write_day(lake, day, [], keep_states=True)
        (lake.root / "closing.json").unlink(missing_ok=True)
        return
    if not names and not lake.path("days", day).exists():
        (lake.root / "closing.json").unlink(missing_ok=True)
        return
    write_json(lake.root / "closing.json", {"day": day.isoformat(), "up_to": up_to})
    old = lake.edges(day)
    write_day(lake, day, names)
    new = lake.edges(day)
    for step in (-1, 1):
        beside = day + timedelta(days=step)
        if beside.strftime("%Y-%m") in sealed or not lake.path("days", beside).exists():
            continue
        if settle or unsettled(lake.edges(beside), old, new, neighbour_is_before=step < 0):
            write_day(lake, beside, [])
    closed = set(lake_sources.closed_days(lake.root))
    if day not in closed:
        write_json(lake.root / "days.json", [d.isoformat() for d in sorted(closed | {day})])
    lake_sources.note_sources(lake, day, names)
    _drop(folder, names)
    (lake.root / "closing.json").unlink()
    sync_folder(lake.root)


def set_aside(lake: Places, day: date, names: Sequence[HotName]) -> None:
    """Move deliveries that raced with the sealing of their month to its corrections.

    They are numbered as of now, after all that lies there: who has entered those asks for later ones only.
    """
    number = max([time.time_ns(), *(one.number + 1 for one in hot_names(lake.correction_folder(day)))])
    for at, name in enumerate(names):
        source = lake.hot_folder(day) / name.source
        target = lake.correction_folder(day) / name.source
        make_folder(target)
        os.replace(source / str(name), target / str(replace(name, number=number + at)))
        sync_folder(target)
    _drop(lake.hot_folder(day), names)


def write_day(lake: Places, day: date, names: Sequence[HotName], *, keep_states: bool = False) -> None:
    """One day's three files from its dense file, if there is one, and the hot files named.

    Which columns the day has is known only when all of it was seen: begun with those that its sources have, and
    begun again in the rare case that one more is needed, or one is not.
    """
    sources = [path for path in (lake.path("days", day), *_paths(lake, day, names)) if path.exists()]
    lows, columns, lagging = outline(sources)
    while (told := _written(lake, day, sources, lows, columns, lagging, keep_states)) != (columns, lagging):
        columns, lagging = told


def outline(sources: Sequence[Path]) -> tuple[list[int], set[str], set[str]]:
    """The first ids of the chunks in which some files have anything, their columns, and those with lags."""
    columns: set[str] = set()
    lagging: set[str] = set()
    chunks: set[int] = set()
    for path in sources:
        with Reader(path) as reader:
            columns |= reader.names & COLUMNS.keys()
            lagging |= {name.removesuffix("_lag") for name in reader.names if name.endswith("_lag")}
            for first, last in reader.ranges:
                chunks.update(range(first // CHUNK, last // CHUNK + 1))
    return [number * CHUNK for number in sorted(chunks)], columns, lagging


def compact(lake: Places, day: date, at_least: int = 12) -> int:
    """Lay a day's waiting deliveries of each source together into one; returns how many files went. Under the roll's
    lock. A source whose resources another one reports as well is left: between the two the order of delivery counts.
    """
    names = hot_names(lake.hot_folder(day))
    by_source: dict[str, list[HotName]] = {}
    for name in names:
        by_source.setdefault(name.source, []).append(name)
    resources = {source: _resources(_paths(lake, day, mine)) for source, mine in by_source.items()}
    gone = 0
    for source, mine in by_source.items():
        others = [ids for other, ids in resources.items() if other != source]
        if len(mine) < at_least or (others and np.isin(resources[source], np.concatenate(others)).any()):
            continue
        digest = hashlib.blake2b("".join(one.digest for one in mine).encode(), digest_size=8).hexdigest()
        whole = HotName(
            mine[-1].number + 1, source, min(one.first for one in mine), max(one.last for one in mine), digest
        )
        paths = _paths(lake, day, mine)
        lows, columns, lagging = outline(paths)
        target = lake.hot_folder(day) / source / str(whole)
        while (told := _laid_together(lake, target, paths, lows, columns, lagging)) != lagging:
            lagging = told
        for path in paths:
            path.unlink()
        gone += len(mine) - 1
    return gone


def _resources(paths: Sequence[Path]) -> NDArray[np.int32]:
    found = [np.zeros(0, np.int32)]
    for path in paths:
        with Reader(path) as reader:
            found.append(np.unique(reader.read(range(len(reader.ranges)), ["resource"])["resource"]))
    return np.unique(np.concatenate(found))


def _laid_together(
    lake: Places, target: Path, paths: Sequence[Path], lows: Sequence[int], columns: set[str], lagging: set[str]
) -> set[str]:
    with Sheet(target) as sheet:
        for low in lows:
            block = lay(list(parts_of(paths, low, low + CHUNK)), lake.slots, columns, lagging)
            if not block.lags.keys() <= lagging:
                return lagging | block.lags.keys()
            cells = block.cells()
            for table in row_groups(cells_table(cells.take(cells.state != ABSENT))):
                sheet.write(table)
        sheet.finish()
    return lagging


def _paths(lake: Places, day: date, names: Sequence[HotName]) -> list[Path]:
    return [lake.hot_folder(day) / name.source / str(name) for name in names]


def _written(
    lake: Places,
    day: date,
    sources: Sequence[Path],
    lows: Sequence[int],
    columns: set[str],
    lagging: set[str],
    keep_states: bool,
) -> tuple[set[str], set[str]]:
    """Write the three files with these columns; or, if others are needed, say which and write nothing."""
    sides = [lake.edges(day + timedelta(days=step)) for step in (-1, 1)]
    about: dict[str, Any] = {"day": day.isoformat(), "values": 0, "cells": 0}
    said: set[str] = set()
    late: set[str] = set()

    def prepare(low: int) -> Chunk:
        parts = list(parts_of(sources, low, low + CHUNK))
        block = lay(parts, lake.slots, columns, lagging)
        edges = settled(block, parts, sides, keep_states=keep_states)
        return Chunk(low, block, *rollup.both(block, edges))

    with ExitStack() as stack:
        days, hours, daily = (stack.enter_context(Sheet(lake.path(kind, day))) for kind in KINDS)
        # While one chunk is written the next one is laid: both are work for a core of its own.
        ahead = stack.enter_context(ThreadPoolExecutor(1))
        waiting = iter(lows)
        next_one = ahead.submit(prepare, low) if (low := next(waiting, None)) is not None else None
        while next_one is not None:
            chunk = next_one.result()
            next_one = ahead.submit(prepare, low) if (low := next(waiting, None)) is not None else None
            if not chunk.block.lags.keys() <= lagging:
                return columns, lagging | chunk.block.lags.keys()
            hours.write(chunk.hours)
            daily.write(chunk.daily)
            cells = chunk.block.cells()
            told = {name: int(np.count_nonzero(reported(column))) for name, column in cells.values.items()}
            said |= {name for name, count in told.items() if count}
            late |= {name for name in lagging - late if cells.lags[name].any()}
            about["values"] += sum(count for name, count in told.items() if name in METRICS)
            about["cells"] += int(np.count_nonzero(cells.state))
            cut = np.searchsorted(chunk.block.resource, np.arange(chunk.low, chunk.low + CHUNK + BLOCK, BLOCK))
            for first, end in itertools.pairwise(cut):
                if first < end:
                    days.write(cells_table(cells.take(slice(first * lake.slots, end * lake.slots))))
        if (said, late) == (columns, lagging):
            days.finish(about)
            hours.finish()
            daily.finish()
    return said, late


@dataclass(frozen=True, slots=True)
class Chunk:
    """Resources from id `low` on, laid and rolled up, ready to be written."""

    low: int
    block: DayBlock
    hours: pa.Table
    daily: pa.Table


def settled(block: DayBlock, parts: Sequence[Cells], sides: Sequence[Edges], *, keep_states: bool) -> Edges:
    """Freeze a block between its neighbours; `keep_states`: frozen is what the closed file `parts[0]` says."""
    if not keep_states:
        return freeze(block, *sides)
    before = block.state.copy()
    edges = freeze(block, *sides)
    block.state[:] = before
    if parts:
        closed = parts[0]
        there = closed.state == FROZEN
        block.state[np.searchsorted(block.resource, closed.resource[there]), closed.slot[there]] = FROZEN
    return edges


def parts_of(sources: Sequence[Path], low: int, high: int) -> Iterator[Cells]:
    """What is known of some resources on a day: the closed file first, then deliveries as they came."""
    for path in sources:
        with Reader(path) as reader:
            if reader.groups(low, high):
                yield reader.cells(low, high)


def _drop(folder: Path, names: Sequence[HotName]) -> None:
    """Take away deliveries that the closed day holds now."""
    for name in names:
        (folder / name.source / str(name)).unlink(missing_ok=True)
    for source in {name.source for name in names}:
        with suppress(OSError):
            (folder / source).rmdir()
    with suppress(OSError):
        folder.rmdir()
