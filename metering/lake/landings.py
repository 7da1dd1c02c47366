"""Landings: deliveries that come into the lake together or not at all, for files larger than one delivery.

    landings/<key>/about.json                  what is being landed, by whom it is told, how much of it lies in the lake
    landings/<key>/hot/…  corrections/…        what waits, laid out as in the lake, where nobody reads it
    landings/<key>/whole                       all of it is here: whoever comes after a crash puts the rest in its place

Killed before `whole`, nothing of it counts and the landing stays to be seen (`broken_off`) until it is made again or
cleared; killed after, the next landing or roll puts the rest in its place.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metering.lake.files import dated, hot_names, make_folder, sync_folder
from quota.errors import N_, Conflict

if TYPE_CHECKING:
    from metering.lake.places import Places

KINDS = ("hot", "corrections")


@dataclass(frozen=True, slots=True)
class Landed:
    """One landing as it lies there. files: how many it is of; done: how many of them are in the lake, whole; named:
    their names, the first few; waiting: lake files of the next one that nobody reads yet; under_way: its process lives.
    """

    key: str
    pool: str
    files: int
    done: int
    named: tuple[str, ...]
    begun: datetime
    waiting: int
    under_way: bool

    @property
    def state(self) -> str:
        """under_way; broken_off: some files are in the lake and the rest is not; unentered: all are, and the book was
        not told what was refused."""
        if self.under_way:
            return "under_way"
        return "broken_off" if self.done < self.files else "unentered"


def locked(folder: Path) -> int:
    """The landing's lock, held: of the folder that is there now, not of one that was just removed."""
    while True:
        make_folder(folder)
        try:
            handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise Conflict("import.under_way", N_("同一批文件正在另一个进程中导入")) from error
        with suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == (folder / ".lock").stat().st_ino:
                return handle
        os.close(handle)


def settle(lake: Places, folder: Path) -> None:
    """Put a landing that is whole in its place, or the rest of it. Two processes may do it at once.

    Deliveries are numbered as of now: that is when they came, for a month that was settled meanwhile.
    """
    if not (folder / "whole").exists():
        return
    for kind in KINDS:
        for day in dated(folder / kind, ""):
            waits = folder / kind / day.isoformat()
            place = lake.hot_folder(day) if kind == "hot" else lake.correction_folder(day)
            number = max(time.time_ns(), *(name.number + 1 for name in hot_names(place)), 0)
            for at, name in enumerate(hot_names(waits)):
                target = place / name.source
                while True:  # a roll removes folders that it has emptied
                    make_folder(target)
                    try:
                        os.replace(waits / name.source / str(name), target / str(replace(name, number=number + at)))
                        sync_folder(target)
                    except FileNotFoundError:
                        if (waits / name.source / str(name)).exists():
                            continue
                    break
    (folder / "whole").unlink(missing_ok=True)
    sync_folder(folder)


def settle_all(lake: Places) -> None:
    """Put every landing that is whole in its place."""
    for folder in _folders(lake):
        settle(lake, folder)


def landings(lake: Places) -> list[Landed]:
    """Landings that are under way, or were when their process died, oldest first."""
    found = []
    for folder in _folders(lake):
        try:
            about: Mapping[str, Any] = json.loads((folder / "about.json").read_text())
        except FileNotFoundError:
            continue  # just begun, or just done
        begun = datetime.fromisoformat(about["begun"])
        left = len(waiting(folder))
        found.append(
            Landed(
                folder.name,
                about["pool"],
                about["files"],
                about["done"],
                tuple(about["named"]),
                begun,
                left,
                _alive(folder),
            )
        )
    return sorted(found, key=lambda one: one.begun)


def clear(lake: Places) -> list[Landed]:
    """Forget the landings that were broken off, and what of them had not landed; returns them."""
    gone = []
    settle_all(lake)
    for one in landings(lake):
        if not one.under_way:
            remove(lake.root / "landings" / one.key)
            gone.append(one)
    return gone


def _folders(lake: Places) -> list[Path]:
    root = lake.root / "landings"
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def waiting(folder: Path) -> list[Path]:
    return [path for kind in KINDS for path in (folder / kind).glob("*/*/[!.]*.parquet")]


def empty(folder: Path) -> None:
    for kind in KINDS:
        shutil.rmtree(folder / kind, ignore_errors=True)


def remove(folder: Path) -> None:
    """The note last, so that a crash leaves a landing that says what it is."""
    empty(folder)
    (folder / "about.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _alive(folder: Path) -> bool:
    try:
        handle = os.open(folder / ".lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
