"""Points: what a backup says of the house at one moment, and the list of them at a place."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from console.backups.pieces import KeptFile
from console.backups.places import BackupPlace
from quota.errors import N_, Invalid, NotFound

FORMAT = 1
_STAMP = "%Y%m%dT%H%M%SZ"


class DamagedPoint(Exception):
    """The list of a point cannot be read."""


@dataclass(frozen=True, slots=True)
class BookPart:
    """The book of a point: which database it lay in, its schema's revision, its files, rows a table, columns a table
    (PostgreSQL), (records, digest) of the trail's end."""

    dialect: str
    revision: str
    files: Mapping[str, KeptFile]
    rows: Mapping[str, int]
    columns: Mapping[str, list[str]]
    head: tuple[int, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "dialect": self.dialect,
            "revision": self.revision,
            "files": _to_json(self.files),
            "rows": dict(self.rows),
            "columns": dict(self.columns),
            "head": list(self.head),
        }

    @staticmethod
    def of_json(found: Mapping[str, Any]) -> BookPart:
        count, digest = found["head"]
        return BookPart(
            found["dialect"],
            found["revision"],
            _of_json(found["files"]),
            found["rows"],
            found["columns"],
            (count, digest),
        )


@dataclass(frozen=True, slots=True)
class BackupPoint:
    """A house at one moment. ``product``: the release that made it; ``files``: what else lay in the data directory;
    ``sealed``: whether its keys were kept."""

    name: str
    at: datetime
    product: str
    book: BookPart
    lake: Mapping[str, KeptFile]
    files: Mapping[str, KeptFile]
    sealed: bool

    def kept(self) -> Iterator[KeptFile]:
        """Every file."""
        for part in (self.book.files, self.lake, self.files):
            yield from part.values()

    @property
    def size(self) -> int:
        """Bytes of all files, as they lay in the house."""
        return sum(one.size for one in self.kept())

    @property
    def count(self) -> int:
        """Files."""
        return sum(1 for _ in self.kept())

    def pieces(self) -> Iterator[str]:
        for one in self.kept():
            yield from one.pieces

    def write(self, place: BackupPlace) -> None:
        """Have the point be there. Raises Unreachable."""
        told = {
            "format": FORMAT,
            "name": self.name,
            "at": self.at.isoformat(),
            "product": self.product,
            "book": self.book.to_json(),
            "lake": _to_json(self.lake),
            "files": _to_json(self.files),
            "sealed": self.sealed,
        }
        content = json.dumps(told, ensure_ascii=False, sort_keys=True).encode()
        place.write(path(self.name), gzip.compress(content, 6, mtime=0))


def path(name: str) -> str:
    return f"points/{name}.json.gz"


def key_path(name: str) -> str:
    return f"keys/{name}.sealed"


def name_of(at: datetime) -> str:
    """How a point of that moment is called; its order is that of time."""
    return at.astimezone(UTC).strftime(_STAMP)


def moment_of(name: str) -> datetime:
    """The moment of a point, UTC. Raises ValueError for what is no name of one."""
    return datetime.strptime(name, _STAMP).replace(tzinfo=UTC)


def names(place: BackupPlace) -> list[str]:
    """The points at a place, oldest first. Raises Unreachable."""
    found = []
    for name in place.names("points"):
        stem = name.rpartition("/")[2].removesuffix(".json.gz")
        try:
            moment_of(stem)
        except ValueError:
            continue
        found.append(stem)
    return sorted(found)


def read(place: BackupPlace, name: str) -> BackupPoint:
    """The point called ``name``. Raises NotFound; Invalid for one of a later format; DamagedPoint."""
    try:
        content = place.read(path(name))
    except FileNotFoundError:
        raise NotFound("backup.none", N_("%(place)s 没有时点 %(name)s 的备份"), place=place.shown, name=name) from None
    try:
        found = json.loads(gzip.decompress(content))
        if found["format"] > FORMAT:
            raise Invalid("backup.format", N_("时点 %(name)s 由更新的版本备份，本版本不能读取"), name=name)
        return BackupPoint(
            found["name"],
            datetime.fromisoformat(found["at"]),
            found["product"],
            BookPart.of_json(found["book"]),
            _of_json(found["lake"]),
            _of_json(found["files"]),
            found["sealed"],
        )
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedPoint(f"points/{name}: cannot be read ({type(error).__name__}: {error})") from None


def newest(place: BackupPlace) -> BackupPoint | None:
    """The newest point that can be read. Raises Unreachable."""
    for name in reversed(names(place)):
        try:
            return read(place, name)
        except DamagedPoint:
            continue
    return None


def _to_json(files: Mapping[str, KeptFile]) -> dict[str, list[object]]:
    return {name: one.to_json() for name, one in files.items()}


def _of_json(found: Mapping[str, list[object]]) -> dict[str, KeptFile]:
    return {name: KeptFile.of_json(one) for name, one in found.items()}
