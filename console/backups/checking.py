"""Whether backups can be relied on: every piece of a point read and held against its name; or, the whole proof, a point
brought back into a folder of its own and verified there as a house is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from console.backups import keyring, points
from console.backups.bringing_back import DamagedBackup, restore
from console.backups.pieces import DamagedPiece, Pieces
from console.backups.places import BackupPlace
from console.backups.points import BackupPoint, DamagedPoint
from console.settings import Settings
from console.verification import examine
from metering.lake import Lake
from metering.workbench import Progress, Workbench, silent
from quota.db import Book
from quota.errors import N_, NotFound, Refused


@dataclass(slots=True)
class Check:
    """points, pieces, bytes: what was read; problems: what does not fit, naming point and file."""

    points: list[str] = field(default_factory=list)
    pieces: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "clean": not self.problems,
            "points": self.points,
            "pieces": self.pieces,
            "bytes": self.bytes,
            "problems": self.problems,
        }


def check(
    settings: Settings,
    place: BackupPlace,
    names: list[str],
    *,
    drill: bool = False,
    database: str = "",
    progress: Progress = silent,
) -> Check:
    """Read every piece of the points ``names`` (none: of the newest); with ``drill`` bring each back, too, into a folder of
    the data directory that goes again, and verify it. ``database``: the address of an empty database for the drill of a
    book that lies in PostgreSQL. Raises NotFound, Unreachable, NoRoom; WrongState where that database is not empty."""
    found, there = Check(), points.names(place)
    if not there:
        raise NotFound("backup.nothing", N_("%(place)s 没有备份"), place=place.shown)
    pieces = Pieces(place)
    read: dict[str, str] = {}
    for name in names or there[-1:]:
        found.points.append(name)
        try:
            point = points.read(place, name)
        except DamagedPoint as damaged:
            found.problems.append(str(damaged))
            continue
        found.problems += _pieces(pieces, point, read, found, progress)
        found.problems += _sealed(settings, place, point)
        if drill and not found.problems:
            found.problems += _drill(replace(settings, database=database), place, name)
    return found


def _pieces(
    pieces: Pieces, point: BackupPoint, read: dict[str, str], found: Check, progress: Progress
) -> Iterator[str]:
    """What is wrong with each file; a piece that several have is read once."""
    parts = (("book", point.book.files), ("lake", point.lake), ("files", point.files))
    done, of = 0, point.count
    for folder, files in parts:
        for file, kept in files.items():
            for digest, length in kept.lengths():
                if digest not in read:
                    read[digest] = ""
                    found.pieces, found.bytes = found.pieces + 1, found.bytes + length
                    try:
                        pieces.read(digest, length)
                    except DamagedPiece as damaged:
                        read[digest] = str(damaged)
                if read[digest]:
                    yield f"{point.name}: {folder}/{file}: {read[digest]}"
            done += 1
            progress("verify", done, of)


def _sealed(settings: Settings, place: BackupPlace, point: BackupPoint) -> Iterator[str]:
    """Whether the keys open, where there is a key to try."""
    if point.sealed and settings.backup_key:
        try:
            keyring.opened(place.read(points.key_path(point.name)), settings.backup_key)
        except FileNotFoundError:
            yield f"{point.name}: its keys are not there"
        except Refused as refused:
            yield f"{point.name}: its keys: {refused.code}"


def _drill(settings: Settings, place: BackupPlace, name: str) -> Iterator[str]:
    """A point brought back into a folder of its own and verified there."""
    with tempfile.TemporaryDirectory(prefix=".drill-", dir=settings.data) as folder:
        apart = replace(settings, data=Path(folder) / "data", lake=Path())
        try:
            restore(apart, place, name, keys=False)
        except DamagedBackup as damaged:
            yield f"{name}: {damaged.params['why']}"
            return
        book = Book(apart.database_url)
        try:
            verified = examine(Workbench(book, Lake(apart.lake_dir), apart.data))
        finally:
            book.dispose()
        yield from (f"{name}: {one}" for one in verified.problems)
