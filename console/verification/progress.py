"""How far a verification has come, in a file: one that was killed is taken up where it was.

A line a part, written when the part was read, with what it found. What was read before the interruption is true of that time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

LOGS = "verification"
"""The folder of logs in the data directory."""
BY_HAND = "by-hand.jsonl"

Done = tuple[list[str], Counter[str]]
"""What a part found, and what it counted."""


class Log:
    """The log of one verification; without a ``path`` nothing is kept. ``taken_up``: parts that an interrupted one had done, where it
    is gone on with."""

    def __init__(self, path: Path | None = None, *, resume: bool = False) -> None:
        self._path = path
        self._done: dict[str, Done] = _read(path) if path is not None and resume else {}
        if not resume:
            self.end()

    @property
    def taken_up(self) -> int:
        return len(self._done)

    def done(self, part: str) -> Done | None:
        """What the part found, where it was read before the interruption."""
        return self._done.get(part)

    def add(self, part: str, problems: list[str], counts: Mapping[str, int]) -> None:
        if self._path is None:
            return
        line = json.dumps({"part": part, "problems": problems, "counts": counts})  # names of files may be no text
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"\n{line}")  # behind whatever was cut off
        except OSError:  # a disk that is full, a copy that nobody may write to: it is verified all the same, and can't be gone on with
            self._path = None

    def end(self) -> None:
        """It came to its end: there is nothing to go on with."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


def interrupted(path: Path) -> tuple[int, datetime] | None:
    """(parts that were done, when the last was) of a verification that was interrupted; None where there is none."""
    done = _read(path)
    return (len(done), datetime.fromtimestamp(path.stat().st_mtime).astimezone()) if done else None


def _read(path: Path) -> dict[str, Done]:
    """By part; a line that was cut off, or that is none of ours, was never written."""
    done: dict[str, Done] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return done
    for line in lines:
        try:
            told: Any = json.loads(line)
            done[str(told["part"])] = (
                [str(one) for one in told["problems"]],
                Counter({str(name): int(count) for name, count in told["counts"].items()}),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return done
