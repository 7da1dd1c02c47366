"""A file that comes into the lake in several deliveries: nobody sees any of them before all are durable and it lands."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from metering.lake.files import room, write_json, write_whole
from metering.lake.landings import empty, locked, remove, settle, waiting

if TYPE_CHECKING:
    from metering.lake.store import Lake, Receipt


class Landing:
    """One landing: ``with Landing(lake, key, pool=…, named=…) as it: it.append(…); it.land(done)``.

    Left without ``close``, by whatever but a kill, what had not landed is gone, and the landing with it where nothing
    had. Raises Conflict where another process has a landing of that key under way.
    """

    def __init__(self, lake: Lake, key: str, *, pool: str, named: list[str]) -> None:
        self.lake, self.folder = lake, lake.root / "landings" / key
        self.about: dict[str, Any] = {
            "pool": pool,
            "files": len(named),
            "done": 0,
            "named": named[:20],
            "begun": datetime.now(UTC).isoformat(),
        }
        self.resumed = False
        self._closed = False
        self._lock = -1

    def __enter__(self) -> Landing:
        with room():
            self._lock = locked(self.folder)
            self.resumed = (self.folder / "about.json").exists()
            settle(self.lake, self.folder)
            empty(self.folder)
            write_json(self.folder / "about.json", self.about)
        return self

    def append(self, source: str, table: pa.Table, not_after: datetime) -> Receipt:
        """As Lake.append, except that nobody sees it before ``land``."""
        return self.lake.append(source, table, not_after=not_after, landing=self.folder)

    def land(self, done: int) -> None:
        """Put what was appended in its place; ``done`` files of this landing are in the lake, whole."""
        with room():
            if waiting(self.folder):
                write_whole(self.folder / "whole", b"")
                settle(self.lake, self.folder)
            self.about["done"] = done
            write_json(self.folder / "about.json", self.about)

    def close(self) -> None:
        """All of it is in the lake, and the book knows what was refused."""
        self._closed = True
        remove(self.folder)

    def __exit__(self, *_: object) -> None:
        if not self._closed and not (self.folder / "whole").exists():
            with suppress(OSError):
                empty(self.folder)
                if not self.about["done"]:
                    remove(self.folder)
        os.close(self._lock)
