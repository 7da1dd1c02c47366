"""Backups: book, lake and keys of one moment, kept elsewhere, proven, and brought back.

    house.json                          whose backups these are, and in which format
    points/<moment>.json.gz             a point: which files there were, of which pieces each consists; written last
    keys/<moment>.sealed                its keys, sealed with the backup key; may be kept elsewhere, or not at all
    pieces/<2 hex>/<64 hex>             a piece of up to 8 MiB by the SHA-256 of what it holds, compressed

A piece is kept once, whichever files and points hold it: of a second point only what changed is copied.
"""

from __future__ import annotations

from console.backups import points, retention, runs
from console.backups.bringing_back import Restored, restore
from console.backups.checking import Check, check
from console.backups.making import Made, make
from console.backups.places import BackupPlace
from console.backups.points import BackupPoint

__all__ = [
    "BackupPlace",
    "BackupPoint",
    "Check",
    "Made",
    "Restored",
    "check",
    "make",
    "points",
    "restore",
    "retention",
    "runs",
]
