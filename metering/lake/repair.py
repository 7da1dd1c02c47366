"""Damaged files put aside and written anew where what they were made of still exists.

A rollup is made again from its dense day. Of a damaged dense day the row groups that are still whole are kept, and the
resources that were lost with the others are named. A damaged delivery can only be put aside: its source may be asked
again. Nothing damaged is deleted: it goes to `quarantine/`.

Samples of resources that the book does not have (a lake that is newer than its book has them) are set aside as well: the
next machine that the book registers would be given their number, and their past with it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from metering.lake import closing, health, landings
from metering.lake.corrections import corrections
from metering.lake.files import Damaged, Reader, Sheet, hot_names, make_folder, sync_folder, write_json
from metering.lake.sources import closed_days

if TYPE_CHECKING:
    from metering.lake.places import Places


@dataclass(frozen=True, slots=True)
class Repair:
    """path: what did not fit, why: how; quarantined: where it lies now (None: there was nothing to put aside);
    rebuilt: whether its place is whole again; lost: what could not be got back, in words."""

    path: Path
    why: str
    quarantined: Path | None
    rebuilt: bool
    lost: str = ""


def repair(lake: Places) -> list[Repair]:
    """Everything that `verify` names. A second run finds nothing more to do, except what was lost."""
    problems = health.verify(lake)
    with closing.rolling(lake):
        # All that can't be read goes first: a day is settled between its neighbours.
        aside = {one.path: quarantine(lake, one.path) for one in problems if not _readable(one.path)}
        days: dict[date, list[health.LakeProblem]] = {}
        done: list[Repair] = []
        for one in problems:
            day = _day(one.path)
            if day is None:
                done.append(Repair(one.path, one.why, aside.get(one.path), False, "the delivery"))
            else:
                days.setdefault(day, []).append(one)
        for day, mine in sorted(days.items()):
            done += _closed_day(lake, day, mine, aside)
        for landing in landings.clear(lake):
            if landing.state == "broken_off":
                rest = f"{landing.files - landing.done} of {landing.files} files, of which nothing was taken"
                path = lake.root / "landings" / landing.key
                done.append(Repair(path, "an import that was broken off", None, False, f"{rest}: import them again"))
    return done


def _day(path: Path) -> date | None:
    """The closed day whose file this is; None for a delivery."""
    return date.fromisoformat(path.stem) if path.parent.name in closing.KINDS else None


def _closed_day(
    lake: Places, day: date, problems: list[health.LakeProblem], aside: dict[Path, Path | None]
) -> Iterator[Repair]:
    dense = lake.path("days", day)
    damaged = aside.get(dense)
    lost = "all samples of the day" if not dense.exists() and damaged is None else ""
    if damaged is not None:
        lost = _salvage(damaged, dense)
    if dense.exists():
        if day.strftime("%Y-%m") in lake.sealed():
            closing.write_day(lake, day, [], keep_states=True)
        else:
            closing.close(lake, day, settle=True)
    for one in problems:
        whole = _readable(one.path)
        yield Repair(one.path, one.why, aside.get(one.path), whole, lost if one.path == dense or not whole else "")


def _readable(path: Path) -> bool:
    """Whether the file is there and every page of it is whole."""
    try:
        with Reader(path) as reader:
            for group in range(len(reader.ranges)):
                reader.part(group)
    except (Damaged, FileNotFoundError):
        return False
    return True


def quarantine(lake: Places, path: Path) -> Path | None:
    """Move a file to `quarantine/`, under the name of its place; None if it is not there."""
    if not path.exists():
        return None
    folder = lake.root / "quarantine"
    make_folder(folder)
    name = "-".join(path.relative_to(lake.root).parts)
    target, number = folder / name, 1
    while target.exists():
        target, number = folder / f"{name}.{number}", number + 1
    os.replace(path, target)
    sync_folder(folder)
    sync_folder(path.parent)
    return target


def _salvage(damaged: Path, place: Path) -> str:
    """Write what is whole of a damaged dense day to its place; says which resources are lost."""
    try:
        reader = Reader(damaged)
    except Damaged:
        return "all samples of the day"
    gone = []
    with reader, Sheet(place) as sheet:
        for group, (low, high) in enumerate(reader.ranges):
            try:
                sheet.write(reader.part(group))
            except Damaged:
                gone.append(f"{low}–{high}")
        sheet.finish(reader.about())
    return f"samples of resources {', '.join(gone)}" if gone else ""


# --- what the book does not know ---------------------------------------------------------------------------


def strangers(lake: Places, newest: int) -> Iterator[Path]:
    """The files that have samples of resources above ``newest``, by their footers alone; damaged ones are left to verify."""
    for path in _samples(lake):
        try:
            with Reader(path) as reader:
                if any(last > newest for _, last in reader.ranges):
                    yield path
        except (Damaged, FileNotFoundError):
            continue


def set_aside(lake: Places, newest: int) -> list[Path]:
    """Take all of that out; the files that it was in. A second run finds nothing more to do."""
    with closing.rolling(lake):
        done = list(strangers(lake, newest))
        for path in done:
            _copy_aside(lake, path)
            if path.parent.name != "days":
                _without(path, newest, path.with_name(_renamed(path)))
                path.unlink()
            elif _without(path, newest, path):
                day = date.fromisoformat(path.stem)
                if day.strftime("%Y-%m") in lake.sealed():
                    closing.write_day(lake, day, [], keep_states=True)
                else:
                    closing.close(lake, day, settle=True)
            else:
                _forget(lake, date.fromisoformat(path.stem))
            sync_folder(path.parent)
    return done


def _samples(lake: Places) -> Iterator[Path]:
    for day in lake.days():
        yield lake.path("days", day)
    for day in lake.hot_days():
        yield from lake.hot_files(day)
    yield from (one.path for one in corrections(lake))


def _copy_aside(lake: Places, path: Path) -> None:
    folder = lake.root / "quarantine"
    make_folder(folder)
    shutil.copy2(path, folder / f"strangers-{'-'.join(path.relative_to(lake.root).parts)}")
    sync_folder(folder)


def _without(path: Path, newest: int, target: Path) -> bool:
    """Write to ``target`` what ``path`` has of resources up to ``newest``; whether there was any."""
    written = False
    with Reader(path) as reader, Sheet(target) as sheet:
        for group in reader.groups(0, newest + 1):
            table = reader.part(group)
            kept = table.filter(pc.less_equal(table["resource"], newest))
            if kept.num_rows:
                sheet.write(kept)
                written = True
        sheet.finish(reader.about())
    return written


def _renamed(path: Path) -> str:
    """Another digest: the same delivery, if it comes again, is not what lies here."""
    (name,) = (one for one in hot_names(path.parent.parent) if str(one) == path.name and one.source == path.parent.name)
    return str(replace(name, digest="0" * 16))


def _forget(lake: Places, day: date) -> None:
    """Nothing of a day is left: it was never closed."""
    write_json(lake.root / "days.json", [str(one) for one in closed_days(lake.root) if one != day])
    for kind in closing.KINDS:
        lake.path(kind, day).unlink(missing_ok=True)
