"""What has to outlive a process, in one SQLite file: the counters of each poll, since libvirt keeps no history, and the orders
that were taken, since libvirt knows no keys."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from providers.base import ProviderFault

KEPT = timedelta(days=10)
"""How long polls are kept: an outage of the console that is longer leaves a hole."""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS polls (ts INTEGER NOT NULL, guest TEXT NOT NULL, said TEXT NOT NULL, PRIMARY KEY (ts, guest)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS orders (key TEXT PRIMARY KEY, guest TEXT, verb TEXT NOT NULL, said TEXT NOT NULL) WITHOUT ROWID",
)


@dataclass(frozen=True, slots=True)
class OrderTaken:
    """An order that was taken: ``wanted`` amounts in base units, when it was begun, what became of it as far as is known. ``ran``: the
    guest ran then, and is to run again at the end."""

    key: str
    guest: str
    verb: str
    wanted: Mapping[str, int]
    begun_at: datetime
    ended_at: datetime | None = None
    failed: str = ""
    ran: bool = False


class LibvirtJournal:
    """The file, made when something is first written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=30)) as opened, opened:
                for statement in _TABLES:
                    opened.execute(statement)
                yield opened
        except (sqlite3.Error, OSError) as error:
            raise ProviderFault(f"{self.path}: {error}", transient=True) from error

    def add(self, at: datetime, guests: Mapping[str, Mapping[str, Any]]) -> None:
        """One poll: what each guest's counters said at ``at``. What is older than ``KEPT`` goes."""
        ts = round(at.timestamp() * 1000)
        with self._open() as opened:
            opened.executemany(
                "INSERT OR REPLACE INTO polls VALUES (?, ?, ?)",
                [(ts, guest, json.dumps(said, separators=(",", ":"))) for guest, said in guests.items()],
            )
            opened.execute("DELETE FROM polls WHERE ts < ?", (ts - round(KEPT.total_seconds() * 1000),))

    def polls(self, first: int, last: int) -> list[tuple[int, str, dict[str, Any]]]:
        """(ms, guest, what it said) of first <= ms <= last, by guest and time."""
        with self._open() as opened:
            rows = opened.execute(
                "SELECT ts, guest, said FROM polls WHERE ts BETWEEN ? AND ? ORDER BY guest, ts", (first, last)
            ).fetchall()
        return [(ts, guest, json.loads(said)) for ts, guest, said in rows]

    def around(self, first: int, last: int) -> tuple[int | None, int | None]:
        """The last poll at or before ``first``, and the first at or after ``last`` (ms); None where there is none."""
        with self._open() as opened:
            before = opened.execute("SELECT max(ts) FROM polls WHERE ts <= ?", (first,)).fetchone()[0]
            after = opened.execute("SELECT min(ts) FROM polls WHERE ts >= ?", (last,)).fetchone()[0]
        return before, after

    def span(self) -> tuple[int, int] | None:
        """The first and the last poll (ms); None where there is none."""
        with self._open() as opened:
            first, last = opened.execute("SELECT min(ts), max(ts) FROM polls").fetchone()
        return None if first is None else (first, last)

    def order(self, key: str) -> OrderTaken | None:
        if not self.path.exists():
            return None
        with self._open() as opened:
            row = opened.execute("SELECT guest, verb, said FROM orders WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        said = json.loads(row[2])
        ended = datetime.fromisoformat(said["ended_at"]) if said["ended_at"] else None
        return OrderTaken(
            key, row[0], row[1], said["wanted"], datetime.fromisoformat(said["begun_at"]), ended, said["failed"],
            said.get("ran", False),
        )  # fmt: skip

    def keep(self, order: OrderTaken) -> None:
        said = {
            "wanted": dict(order.wanted),
            "begun_at": order.begun_at.astimezone(UTC).isoformat(),
            "ended_at": order.ended_at.astimezone(UTC).isoformat() if order.ended_at else "",
            "failed": order.failed,
            "ran": order.ran,
        }
        with self._open() as opened:
            opened.execute(
                "INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?)",
                (order.key, order.guest, order.verb, json.dumps(said)),
            )

    def drop(self, key: str) -> None:
        """An order that came to nothing: the same may be taken again."""
        with self._open() as opened:
            opened.execute("DELETE FROM orders WHERE key = ?", (key,))
