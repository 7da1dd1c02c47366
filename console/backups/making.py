"""Making a point: book and lake held at one moment, laid beside the house, then carried to the place piece by piece.

While the house goes on: a writer waits for nobody, closing a day waits while the lake's files get their second names
(seconds). The moment of the book comes first: whatever it knows of the lake is in the copy, and what the lake has beyond
it (deliveries of those seconds) is taken once when it comes again.
"""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import select

from console.backups import books, keyring, points, retention
from console.backups.pieces import KeptFile, Pieces
from console.backups.places import BackupPlace
from console.backups.points import BackupPoint, BookPart, DamagedPoint
from console.occupancy import HousePart, occupied
from console.settings import Settings
from metering.lake import Lake, moments
from metering.workbench import Progress, silent
from quota.audit import AuditRecord
from quota.db import Book
from quota.errors import N_, Conflict, Invalid, NoRoom, out_of_room

log = logging.getLogger("guanjia.backups")

STAGE = ".backup"
HOUSE = "house.json"
SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Made:
    """A point that was made. ``added``: pieces that no former point had, ``stored``: bytes that they take; ``gone``: points
    that the rule of retention let go."""

    point: BackupPoint
    added: int
    stored: int
    gone: tuple[str, ...]


def make(settings: Settings, book: Book, place: BackupPlace, progress: Progress = silent) -> Made:
    """Make a point of the house at ``place`` now. Raises Conflict where another backup of it goes on, or the place holds
    those of another house; Unreachable; NoRoom."""
    with occupied(settings.data, HousePart.BACKUP):
        try:
            return _made(settings, book, place, progress)
        except (OSError, sqlite3.Error) as error:
            if out_of_room(error):
                raise NoRoom(error) from error
            raise


def _made(settings: Settings, book: Book, place: BackupPlace, progress: Progress) -> Made:
    _ours(place, book)
    before, there = points.newest(place), points.names(place)
    at = book.clock().astimezone(UTC).replace(microsecond=0)
    if there and at <= points.moment_of(there[-1]):  # two within a second, or a clock that was set back
        at = points.moment_of(there[-1]) + timedelta(seconds=1)
    pieces = Pieces(place)
    pieces.look()
    with _stage(settings.data) as stage, ExitStack() as holding:
        with books.snapshot(book) as snapshot:  # closed before anything goes over a network
            lake = holding.enter_context(moments.moment(Lake(settings.lake_dir), snapshot.fix))
            told = snapshot.write(_folder(stage / "book"))
        _others(settings, place, _folder(stage / "files"))
        folders = [_files(stage / "book"), _files(lake), _files(stage / "files")]
        copying = _Copying(pieces, progress, sum(map(len, folders)))
        kept = [
            copying.keep(files, former)
            for files, former in zip(folders, ({}, before.lake if before else {}, {}), strict=True)
        ]
    part = BookPart(book.engine.dialect.name, told.revision, kept[0], told.rows, told.columns, told.head)
    sealed = bool(settings.backup_key)
    point = BackupPoint(points.name_of(at), at, version("guanjia"), part, kept[1], kept[2], sealed)
    if sealed:
        place.write(points.key_path(point.name), keyring.seal(settings))
    point.write(place)
    gone = _let_go(place, pieces, settings, point)
    return Made(point, pieces.added, pieces.stored, gone)


def house(book: Book) -> str:
    """What sets this house apart from others: the first record of its trail."""
    with book.reading() as tx:
        return tx.scalar(select(AuditRecord.digest).where(AuditRecord.sequence == 1)) or ""


def _ours(place: BackupPlace, book: Book) -> None:
    mine = house(book)
    try:
        found = json.loads(place.read(HOUSE))["house"]
    except FileNotFoundError:
        place.prepare()
        told = {"format": points.FORMAT, "house": mine}
        place.write(HOUSE, (json.dumps(told) + "\n").encode())
        return
    except (ValueError, KeyError, TypeError):
        raise Invalid("backup.not_a_place", N_("无法读取 %(place)s 的 house.json"), place=place.shown) from None
    if found != mine:
        raise Conflict("backup.other_house", N_("%(place)s 存放的是另一套管家的备份"), place=place.shown)


@contextmanager
def _stage(data: Path) -> Iterator[Path]:
    """A folder beside the house for what is on its way; what a crash left in it goes."""
    folder = data / STAGE
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder(path: Path) -> Path:
    path.mkdir(mode=0o700)
    return path


PASSING = (".lock", ".log", "-wal", "-shm", "-journal")
"""Ends of the names of files that are of use to living processes alone."""


def _others(settings: Settings, place: BackupPlace, folder: Path) -> None:
    """What else lies in the data directory: mailboxes of agents, journals of clouds, files of companies. SQLite files by
    their online backup, and no secret."""
    apart = {settings.lake_dir.resolve(), (settings.data / "counters").resolve(), place.local}
    for path in _walked(settings.data, apart):
        name = path.relative_to(settings.data).as_posix()
        if keyring.is_secret(name) or name.startswith(books.FILE) or name.endswith(PASSING):
            continue
        target = folder / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            if name == "accounts.json":
                _accounts(path, target)
            elif _is_sqlite(path):
                with (
                    closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=60)) as source,
                    closing(sqlite3.connect(target)) as copy,
                ):
                    source.backup(copy)
                    copy.execute("PRAGMA journal_mode=DELETE")
            else:
                shutil.copy2(path, target)
        except FileNotFoundError:  # taken away meanwhile, as mails are
            target.unlink(missing_ok=True)


def _accounts(path: Path, target: Path) -> None:
    """Whether it is a demo; first passwords are copied of a demo alone."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if not found.get("demo"):
        found["accounts"] = {}
    target.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def _walked(folder: Path, apart: Collection[Path | None]) -> Iterator[Path]:
    """Files below a folder, without links, hidden names and the folders ``apart``."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_symlink() or path.resolve() in apart:
            continue
        if path.is_dir():
            yield from _walked(path, apart)
        elif path.is_file():
            yield path


def _files(folder: Path) -> dict[str, Path]:
    """Name below the folder → file."""
    return {one.relative_to(folder).as_posix(): one for one in sorted(folder.rglob("*")) if one.is_file()}


class _Copying:
    """Carries files to the place, and tells how far it is."""

    def __init__(self, pieces: Pieces, progress: Progress, of: int) -> None:
        self.pieces, self.progress, self.done, self.of = pieces, progress, 0, of

    def keep(self, files: Mapping[str, Path], before: Mapping[str, KeptFile]) -> dict[str, KeptFile]:
        """The files as they are kept; ``before``: as the former point has them."""
        kept = {}
        for name, path in files.items():
            kept[name] = self.pieces.keep(path, before.get(name))
            self.done += 1
            self.progress("backup", self.done, self.of)
        return kept


def _let_go(place: BackupPlace, pieces: Pieces, settings: Settings, newest: BackupPoint) -> tuple[str, ...]:
    """Forget the points that the rule no longer keeps, and the pieces that no point needs any more.

    Nothing is forgotten while any list cannot be read: what it needs is not known.
    """
    there = points.names(place)
    moments_of = {points.moment_of(name): name for name in there}
    rule = retention.RetentionRule(settings.backup_days, settings.backup_weeks, settings.backup_months)
    stay = retention.kept(list(moments_of), rule, settings.zone)
    gone = [name for at, name in moments_of.items() if at not in stay]
    needed = set(newest.pieces())
    try:
        for name in there:
            if name not in gone and name != newest.name:
                needed.update(points.read(place, name).pieces())
    except DamagedPoint as damaged:
        log.warning("nothing is let go of at %s: %s", place.shown, damaged)
        return ()
    for name in gone:
        place.delete(points.path(name))
        place.delete(points.key_path(name))
    pieces.sweep(needed)
    return tuple(gone)


def due(before: datetime | None, now: datetime, every: timedelta) -> bool:
    """Whether the next point is due; the slots of a schedule come a little early or late."""
    return before is None or now - before >= every - timedelta(minutes=10)
