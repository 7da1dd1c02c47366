"""Bringing a point back onto an empty machine: everything beside its place first, then moved there, the book last.

What was brought back is held against what the point says: rows of every table, the end of the trail, every piece's
digest. A restore that is cut off leaves nothing that looks like a house.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from console.backups import books, keyring, points
from console.backups.pieces import DamagedPiece, KeptFile, Pieces
from console.backups.places import BackupPlace
from console.backups.points import BackupPoint, DamagedPoint
from console.occupancy import HousePart, occupied
from console.schema import upgrade
from console.settings import Settings
from metering.workbench import Progress, silent
from quota.db import Book
from quota.errors import N_, Invalid, NoRoom, NotFound, Refused, WrongState, out_of_room

STAGE = ".restoring"


class DamagedBackup(Refused):
    """The point cannot be brought back as it is."""

    def __init__(self, why: object) -> None:
        super().__init__("restore.damaged", N_("备份已损坏，没有恢复：%(why)s"), why=str(why))


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back: the point, whether its keys came with it, the revision that the book has now."""

    point: BackupPoint
    keys: bool
    revision: str


def restore(
    settings: Settings, place: BackupPlace, name: str = "", *, keys: bool = True, progress: Progress = silent
) -> Restored:
    """Bring the point ``name`` (the newest where none is named) into the empty house that ``settings`` name, and its book
    up to this release.

    Raises WrongState where anything is there already; Invalid for a point that this release or this database cannot
    take, or keys that ``settings.backup_key`` does not open; DamagedBackup; NotFound; Unreachable; NoRoom.
    """
    point = _point(place, name)
    sealed = _keys(settings, place, point) if keys and point.sealed else {}
    _fits(settings, point)
    with occupied(settings.data, HousePart.WEB, HousePart.JOBS, HousePart.FOUNDING):
        _empty(settings)
        stage = settings.data / STAGE
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(mode=0o700)
        try:
            _lay(Pieces(place), point, stage, progress)
            keyring.write(sealed, stage / "files")
            _put(settings, point, stage)
        except (DamagedPiece, sqlite3.DatabaseError) as damaged:
            raise DamagedBackup(damaged) from None
        except OSError as error:
            if out_of_room(error):
                raise NoRoom(error) from error
            raise
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    book = Book(settings.database_url)
    try:
        upgrade.migrate(book)
    finally:
        book.dispose()
    return Restored(point, bool(sealed), upgrade.latest() or "")


def _point(place: BackupPlace, name: str) -> BackupPoint:
    there = points.names(place)
    if not there:
        raise NotFound("backup.nothing", N_("%(place)s 没有备份"), place=place.shown)
    try:
        return points.read(place, name or there[-1])
    except DamagedPoint as damaged:
        raise DamagedBackup(damaged) from None


def _keys(settings: Settings, place: BackupPlace, point: BackupPoint) -> Mapping[str, bytes]:
    """The keys of the point; none where they are kept elsewhere."""
    try:
        sealed = place.read(points.key_path(point.name))
    except FileNotFoundError:
        return {}
    if not settings.backup_key:
        raise Invalid(
            "restore.no_key", N_("这份备份含有加密的密钥；请设置 GUANJIA_BACKUP_KEY，或用 --without-keys 不恢复密钥")
        )
    return keyring.opened(sealed, settings.backup_key)


def _fits(settings: Settings, point: BackupPoint) -> None:
    if not upgrade.knows(point.book.revision):
        raise Invalid(
            "restore.newer",
            N_("这份备份的账本是 %(revision)s 版，由更新的 %(product)s 备份；请用该版本恢复"),
            revision=point.book.revision,
            product=point.product,
        )
    target = make_url(settings.database_url).get_backend_name()
    if (point.book.dialect, target) == ("postgresql", "sqlite"):
        raise Invalid(
            "restore.dialect",
            N_("这份备份的账本在 %(of)s，不能恢复到 %(to)s"),
            of=point.book.dialect,
            to=target,
        )


ALLOWED = ("*.lock", STAGE, keyring.SETTINGS)
"""What an empty data directory may hold: whom it is in use by, what a restore left, the settings of the new machine."""


def _empty(settings: Settings) -> None:
    """Raise WrongState where there is a house, or anything else."""
    for folder in {settings.data, settings.lake_dir}:
        if not folder.exists():
            continue
        strange = [one.name for one in folder.iterdir() if not any(one.match(pattern) for pattern in ALLOWED)]
        if folder == settings.data and settings.lake_dir.parent == folder and not any(settings.lake_dir.glob("*")):
            strange = [name for name in strange if name != settings.lake_dir.name]
        if strange:
            raise WrongState(
                "restore.not_empty",
                N_("%(folder)s 不是空的（有 %(name)s），没有恢复"),
                folder=str(folder),
                name=min(strange),
            )
    book = Book(settings.database_url)
    try:
        books.must_be_empty(book)
    finally:
        book.dispose()


def _lay(pieces: Pieces, point: BackupPoint, stage: Path, progress: Progress) -> None:
    """Every file of the point into the stage, each piece held against its name."""
    done, of = 0, point.count
    parts: dict[str, Mapping[str, KeptFile]] = {"book": point.book.files, "lake": point.lake, "files": point.files}
    for folder, files in parts.items():
        (stage / folder).mkdir(mode=0o700)
        for name, kept in files.items():
            pieces.put(kept, _inside(stage / folder, name))
            done += 1
            progress("restore", done, of)


def _inside(folder: Path, name: str) -> Path:
    """The file ``name`` in the folder; a name that leads out of it is none of a backup."""
    target = folder / name
    if name.startswith("/") or ".." in target.parts:
        raise DamagedPiece(f"a file is called {name!r}")
    return target


def _put(settings: Settings, point: BackupPoint, stage: Path) -> None:
    """What lies in the stage into its places. The book is what makes it a house, and comes last."""
    if point.book.dialect == "sqlite":
        with closing(sqlite3.connect(stage / "book" / books.FILE)) as connection:
            told = books.figures(connection)
        _same(point, told.rows, told.head)
    lake = settings.lake_dir
    lake.parent.mkdir(parents=True, exist_ok=True)
    if lake.exists():
        lake.rmdir()
    shutil.move(stage / "lake", lake)
    for entry in sorted((stage / "files").iterdir()):
        if not (settings.data / entry.name).exists():  # the new machine's own settings stay
            os.replace(entry, settings.data / entry.name)
    target = make_url(settings.database_url)
    if target.get_backend_name() == "sqlite":
        shutil.move(stage / "book" / books.FILE, str(target.database))
        return
    columns = dict(point.book.columns)
    if point.book.dialect == "sqlite":  # a house that moves to PostgreSQL
        columns = books.spread(stage / "book" / books.FILE, stage / "book")
    book = Book(settings.database_url)
    try:
        books.load(book, point.book.revision, columns, stage / "book")
        _same(point, *books.counted(book))
    finally:
        book.dispose()


def _same(point: BackupPoint, rows: Mapping[str, int], head: tuple[int, str]) -> None:
    """Raise DamagedPiece where what was brought back is not what the point says."""
    for name in sorted(rows.keys() | point.book.rows.keys()):
        if rows.get(name, 0) != point.book.rows.get(name, 0):
            raise DamagedPiece(f"table {name} has {rows.get(name)} rows, not {point.book.rows.get(name)}")
    if head != tuple(point.book.head):
        raise DamagedPiece("the audit trail ends otherwise")
