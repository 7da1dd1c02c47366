"""Whether the lake is whole: every file read, every rollup recomputed from its day, nothing that was closed missing."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from metering.lake import closing, rollup
from metering.lake.corrections import corrections
from metering.lake.dayblock import lay
from metering.lake.files import Damaged, Reader, dated
from metering.lake.sources import closed_days, sources

if TYPE_CHECKING:
    from metering.lake.places import Places


@dataclass(frozen=True, slots=True)
class LakeProblem:
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
    corrections: int
    sealed: tuple[str, ...]
    kept_from: date | None
    rolled_at: datetime | None

    @property
    def bytes_per_value(self) -> float:
        """Bytes of everything closed a metric value."""
        return self.bytes / self.values if self.values else float("nan")


def known_days(lake: Places) -> list[date]:
    """The days that were closed, by the lake's own list (where it can be read) or by what lies there."""
    try:
        listed = closed_days(lake.root)
    except Damaged:
        listed = []  # verify names it
    return sorted({*listed, *lake.days()})


def status(lake: Places) -> Status:
    """Days, files, bytes and values."""
    days = lake.days()
    paths = [lake.path(kind, day) for kind in closing.KINDS for day in dated(lake.root / kind, ".parquet")]
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
        len(corrections(lake)),
        tuple(sorted(lake.sealed())),
        lake.kept_from("days"),
        max((datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in paths), default=None),
    )


def verify(lake: Places, days: Container[date] | None = None, *, rest: bool = True) -> list[LakeProblem]:
    """Read every file and recompute every rollup, of closed days only those in ``days`` where they are given; what a
    crash interrupted is finished first. Not ``rest``: those days alone."""
    first: dict[Path, LakeProblem] = {}
    for problem in _hostile(lake.root, _problems(lake, days, rest)):
        first.setdefault(problem.path, problem)
    return list(first.values())


def _hostile(path: Path, found: Iterable[LakeProblem]) -> Iterator[LakeProblem]:
    """What was found, and whatever kept from finding more: a file may hold anything."""
    try:
        yield from found
    except Damaged as damage:
        yield LakeProblem(damage.path, damage.why)
    except Exception as error:
        yield LakeProblem(path, f"cannot be checked ({type(error).__name__}: {error})")


def _problems(lake: Places, days: Container[date] | None, rest: bool) -> Iterator[LakeProblem]:
    if rest:
        yield from _notes(lake)
    line, hour_line = (_line(lake, kind) for kind in ("days", "hours"))
    known = known_days(lake)
    for day in known:
        if days is not None and day not in days:
            continue
        # Each day for itself under the lock, so that a roll neither waits long nor is seen half-way.
        with closing.rolling(lake, shared=True):
            closed = lake.path("days", day).exists() or day >= line
            found = _day(lake, day) if closed else _rollups(lake, day, hours=day >= hour_line)
            yield from _hostile(lake.path("days", day), found)
    if not rest:
        return
    for kind in ("hours", "daily"):
        for day in sorted(set(dated(lake.root / kind, ".parquet")) - set(known)):
            yield LakeProblem(lake.path(kind, day), "a rollup without its day")
    for day in lake.hot_days():
        yield from _deliveries(lake.hot_files(day))
    yield from _deliveries([one.path for one in corrections(lake)])


def _notes(lake: Places) -> Iterator[LakeProblem]:
    """The lake's own lists, each read as those read it who need it; a roll that was cut off is finished."""

    def finish() -> None:
        if closing.under_way(lake) is not None:
            with closing.rolling(lake):
                pass

    readers: dict[str, Callable[[], object]] = {
        "closing.json": finish,
        "days.json": lambda: closed_days(lake.root),
        "retention.json": lambda: [lake.kept_from(kind) for kind in ("days", "hours")],
        "sealed.json": lambda: [date.fromisoformat(f"{month}-01") for month in lake.sealed()],
    }
    for day in dated(lake.root / "sources", ".json"):
        readers[f"sources/{day}.json"] = lambda at=day: sources(lake, at, at)  # type: ignore[misc]
    for name, read in readers.items():
        yield from _hostile(lake.root / name, _read(read))


def _read(read: Callable[[], object]) -> Iterator[LakeProblem]:
    read()
    yield from ()


def _line(lake: Places, kind: str) -> date:
    """The first day that is kept; where the lake's own note of it cannot be read, which is named, every day."""
    try:
        return lake.kept_from(kind) or date.min
    except Exception:
        return date.min


def _deliveries(paths: Sequence[Path]) -> Iterator[LakeProblem]:
    for path in paths:
        if path.exists():  # else closed meanwhile
            yield from _hostile(path, _delivery(path))


def _delivery(path: Path) -> Iterator[LakeProblem]:
    with suppress(FileNotFoundError), Reader(path) as reader:
        reader.table()
    yield from ()


def _rollups(lake: Places, day: date, *, hours: bool) -> Iterator[LakeProblem]:
    """A day whose samples are gone by the rule: its rollups can be read."""
    for kind in ("hours", "daily") if hours else ("daily",):
        path = lake.path(kind, day)
        if not path.exists():
            yield LakeProblem(path, "missing")
            continue
        with Reader(path) as reader:
            reader.table()


def _misled(dense: Reader, slots: int) -> int | None:
    """The first row group of which the footer tells other ids or states than are in it."""
    for group in range(len(dense.ranges)):
        found = dense.read([group], ["resource", "state"])
        ids, state = dense.consecutive(group, slots), dense.alike(group)
        if ids is not None and not np.array_equal(np.repeat(ids, slots), found["resource"]):
            return group
        if state is not None and (found["state"] != state).any():
            return group
    return None


def _day(lake: Places, day: date) -> Iterator[LakeProblem]:
    """One day's dense file against itself, and its rollups against it."""
    missing = [path for kind in closing.KINDS if not (path := lake.path(kind, day)).exists()]
    if missing:
        yield from (LakeProblem(path, "missing") for path in missing)
        return
    path = lake.path("days", day)
    keep = day.strftime("%Y-%m") in lake.sealed()
    with (
        Reader(path) as dense,
        Reader(lake.path("hours", day)) as hours,
        Reader(lake.path("daily", day)) as daily,
    ):
        if dense.about().get("day") != day.isoformat():
            yield LakeProblem(path, f"the file says that it is of {dense.about().get('day')}")
        if dense.file.metadata.num_rows % lake.slots:
            yield LakeProblem(path, "not every resource has all slots")
            return
        if (wrong := _misled(dense, lake.slots)) is not None:
            yield LakeProblem(path, f"the footer of row group {wrong} contradicts its samples")
            return
        sides = [lake.edges(day + timedelta(days=step)) for step in (-1, 1)]
        for low in range(0, max((high for _, high in dense.ranges), default=-1) + 1, closing.CHUNK):
            high = low + closing.CHUNK
            cells = dense.cells(low, high)
            block = lay([cells], lake.slots)
            if not len(block.resource):
                continue
            stored = block.state.copy()
            stored[np.searchsorted(block.resource, cells.resource), cells.slot] = cells.state
            edges = closing.settled(block, [cells], sides, keep_states=keep)
            if not np.array_equal(stored, block.state):
                yield LakeProblem(path, "what counts as frozen is not what its samples and its neighbours make it")
                return
            for reader, fresh in ((hours, rollup.hours(block)), (daily, rollup.daily(block, edges))):
                yield from _compared(reader, fresh, low, high, path)


def _compared(reader: Reader, fresh: pa.Table, low: int, high: int, dense: Path) -> Iterator[LakeProblem]:
    """A rollup against what the dense file makes it."""
    kept = pa.concat_tables([reader.part(group) for group in reader.groups(low, high)] or [fresh.schema.empty_table()])
    ids = kept["resource"].to_numpy()
    kept = kept.filter(pa.array((ids >= low) & (ids < high)))
    for name in fresh.column_names:
        if name not in kept.column_names or not _same(kept[name], fresh[name]):
            yield LakeProblem(reader.path, f"column {name} is not what {dense.name} makes it")
            return


def _same(a: pa.ChunkedArray, b: pa.ChunkedArray) -> bool:
    """Equal, NaN and NaN too."""
    if pa.types.is_list(a.type):
        return len(a) == len(b) and bool(a.combine_chunks().equals(b.combine_chunks()))
    x, y = a.to_numpy(), b.to_numpy()
    return x.shape == y.shape and bool(np.array_equal(x, y, equal_nan=x.dtype.kind == "f"))
