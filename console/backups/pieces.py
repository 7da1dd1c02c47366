"""Files as lists of pieces, each kept once at a place, by the SHA-256 of what it holds.

Pieces are cut where they lie in their file. What grows at its end (the trail, the ledger) or is changed here and there
(a SQLite file) so shares nearly all of its pieces with what it was the day before.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from console.backups.places import BackupPlace, parts

PIECE = 8 << 20
CODEC = "zstd"


class DamagedPiece(Exception):
    """A piece that is not there, or is not what its name says."""


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file in a point: bytes, when it was last written (ns since 1970), and the digests of its pieces, in order."""

    size: int
    changed: int
    pieces: tuple[str, ...]

    def to_json(self) -> list[object]:
        return [self.size, self.changed, list(self.pieces)]

    @staticmethod
    def of_json(found: list[object]) -> KeptFile:
        size, changed, pieces = found
        return KeptFile(int(str(size)), int(str(changed)), tuple(pieces))  # type: ignore[arg-type]

    def lengths(self) -> Iterator[tuple[str, int]]:
        """Each piece with the bytes that it holds."""
        left = self.size
        for digest in self.pieces:
            yield digest, min(PIECE, left)
            left -= PIECE


@dataclass(slots=True)
class Pieces:
    """The pieces at a place. ``there``: those that are kept, listed once; added, stored: how many were added since, and
    the bytes that they take there."""

    place: BackupPlace
    there: set[str] = field(default_factory=set)
    added: int = 0
    stored: int = 0

    def look(self) -> None:
        """List what is kept. Raises Unreachable."""
        self.there = {name.rpartition("/")[2] for name in self.place.names("pieces")}

    def keep(self, path: Path, former: KeptFile | None = None) -> KeptFile:
        """Keep a file. One that looks as it did when ``former`` was kept (size and time of its last change) is not read."""
        found = path.stat()
        same = former is not None and (former.size, former.changed) == (found.st_size, found.st_mtime_ns)
        if same and former is not None and self.there.issuperset(former.pieces):
            return former
        digests = []
        size = 0
        for part in parts(path, PIECE):
            size += len(part)
            digest = hashlib.sha256(part).hexdigest()
            digests.append(digest)
            if digest not in self.there:
                content = pa.compress(part, codec=CODEC, asbytes=True)
                self.place.write(_name(digest), content)
                self.there.add(digest)
                self.added, self.stored = self.added + 1, self.stored + len(content)
        return KeptFile(size, found.st_mtime_ns, tuple(digests))

    def read(self, digest: str, length: int) -> bytes:
        """What a piece holds. Raises DamagedPiece."""
        try:
            packed = self.place.read(_name(digest))
        except FileNotFoundError:
            raise DamagedPiece(f"piece {digest} is not there") from None
        try:
            content: bytes = pa.decompress(packed, length, codec=CODEC, asbytes=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DamagedPiece(f"piece {digest} cannot be read: {error}") from None
        if len(content) != length or hashlib.sha256(content).hexdigest() != digest:
            raise DamagedPiece(f"piece {digest} is not what its name says")
        return content

    def put(self, kept: KeptFile, target: Path) -> None:
        """Lay a file as it was kept at ``target``, durable. Raises DamagedPiece; OSError where a disk is full."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for digest, length in kept.lengths():
                file.write(self.read(digest, length))
            file.flush()
            os.fsync(file.fileno())
        os.utime(target, ns=(kept.changed, kept.changed))

    def sweep(self, needed: Iterable[str]) -> int:
        """Forget every piece but those ``needed``; how many went."""
        gone = self.there - set(needed)
        for digest in sorted(gone):
            self.place.delete(_name(digest))
        self.there -= gone
        return len(gone)


def _name(digest: str) -> str:
    return f"pieces/{digest[:2]}/{digest}"
