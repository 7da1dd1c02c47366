"""Files of a day, a record a line: ``audit-2026-11-29.jsonl``, readable by their owner alone, on the disk before they count."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

from console.trail.records import ExportedRecord, read

NAME = re.compile(r"audit-(\d{4}-\d{2}-\d{2})\.jsonl")
BLOCK = 64 * 1024


class Folder:
    """Where the files lie."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def days(self) -> list[tuple[date, Path]]:
        """The files, oldest first."""
        found = []
        if self.path.is_dir():
            for path in self.path.iterdir():
                named = NAME.fullmatch(path.name)
                with suppress(ValueError):
                    if named:
                        found.append((date.fromisoformat(named[1]), path))
        return sorted(found)

    def last(self) -> tuple[int, str] | None:
        """(sequence, digest) of the last whole line; None where there is none. What a crash left of a line is cut off."""
        for _day, path in reversed(self.days()):
            lines = _tail(path)
            if lines:
                return read(lines[-1])
        return None

    def write(self, records: Sequence[ExportedRecord], day: date) -> None:
        """Append to the file of ``day``, or to a later one that is there already. Raises OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = self.days()
        if known and known[-1][0] > day:  # a clock that was set back: the order of lines is that of the trail
            day = known[-1][0]
        path = self.path / f"audit-{day.isoformat()}.jsonl"
        fresh = not path.exists()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "wb") as file:
            before = file.tell()
            try:
                file.write("".join(f"{one.line()}\n" for one in records).encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    os.ftruncate(handle, before)
                raise
        if fresh:
            folder = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def retain(self, today: date, keep_days: int) -> list[str]:
        """Remove files that are older than ``keep_days``, never the newest; their names."""
        gone = []
        for day, path in self.days()[:-1]:
            if day < today - timedelta(days=keep_days):
                path.unlink()
                gone.append(path.name)
        return gone


def _tail(path: Path) -> list[str]:
    """The last lines of a file, whole ones; half a line at its end is taken off the file."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        start, tail = size, b""
        while start and tail.count(b"\n") < 2:
            step = min(BLOCK, start)
            start -= step
            file.seek(start)
            tail = file.read(step) + tail
        if tail and not tail.endswith(b"\n"):
            whole = tail.rfind(b"\n") + 1
            file.truncate(start + whole)
            tail = tail[:whole]
    return [line for line in tail.decode().split("\n")[1 if start else 0 :] if line]
