"""What has to outlive a process, in one SQLite file: the counters of each poll, since libvirt keeps no history, and the orders
that were taken, since libvirt knows no keys; what was planned for them, and which guests are owed a start."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
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
    "CREATE TABLE IF NOT EXISTS plans (key TEXT PRIMARY KEY, ts INTEGER NOT NULL, calls TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS owed (guest TEXT PRIMARY KEY, ts INTEGER NOT NULL) WITHOUT ROWID",
)


@dataclass(frozen=True, slots=True)
class OrderTaken:
    """An order that was taken: ``wanted`` amounts in base units, when it was begun, what became of it as far as is known.

    ``ran``: the guest is to run at the end, as it did before anything was done for this order or for one before it. ``live``: it is
    given its size as it runs, or not at all. ``former``: what it was defined with before a shutdown was asked for (the four
    figures of sizes.Definition). ``asked_at``: when the guest was asked to shut down; None: not yet. ``said``: why it is not
    gone on with.
    """

    key: str
    guest: str
    verb: str
    wanted: Mapping[str, int]
    begun_at: datetime
    ended_at: datetime | None = None
    failed: str = ""
    ran: bool = False
    live: bool = False
    former: tuple[int, ...] = ()
    asked_at: datetime | None = None
    said: str = ""
    stalled: bool = False


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
        return _order(key, *row)

    def keep(self, order: OrderTaken) -> None:
        said = {
            "wanted": dict(order.wanted),
            "begun_at": _written(order.begun_at),
            "ended_at": _written(order.ended_at),
            "failed": order.failed,
            "ran": order.ran,
            "live": order.live,
            "former": order.former,
            "asked_at": _written(order.asked_at),
            "said": order.said,
            "stalled": order.stalled,
        }
        with self._open() as opened:
            opened.execute(
                "INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?)",
                (order.key, order.guest, order.verb, json.dumps(said)),
            )

    def orders(self, guest: str) -> list[OrderTaken]:
        """Every order that was taken of a guest, in no order."""
        if not self.path.exists():
            return []
        with self._open() as opened:
            rows = opened.execute("SELECT key, guest, verb, said FROM orders WHERE guest = ?", (guest,)).fetchall()
        return [_order(*row) for row in rows]

    def plan(self, key: str, calls: Sequence[str], at: datetime) -> None:
        """What was planned for an order, by the names of its calls. Plans older than ``KEPT`` go."""
        ts = round(at.timestamp() * 1000)
        with self._open() as opened:
            opened.execute("INSERT OR REPLACE INTO plans VALUES (?, ?, ?)", (key, ts, json.dumps(list(calls))))
            opened.execute("DELETE FROM plans WHERE ts < ?", (ts - round(KEPT.total_seconds() * 1000),))

    def planned(self, key: str) -> list[str] | None:
        """The names of the calls that were last planned for an order; None where none were."""
        if not self.path.exists():
            return None
        with self._open() as opened:
            row = opened.execute("SELECT calls FROM plans WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def owe(self, guest: str, at: datetime) -> None:
        """Note that a guest which runs is about to be shut down for a while, whatever becomes of the order."""
        with self._open() as opened:
            opened.execute("INSERT OR REPLACE INTO owed VALUES (?, ?)", (guest, round(at.timestamp() * 1000)))

    def owed(self, guest: str, now: datetime) -> bool:
        """Whether a guest was shut down for a while, not longer than ``KEPT`` ago, and has not been seen running since."""
        if not self.path.exists():
            return False
        first = round((now - KEPT).timestamp() * 1000)
        with self._open() as opened:
            found = opened.execute("SELECT 1 FROM owed WHERE guest = ? AND ts >= ?", (guest, first)).fetchone()
        return found is not None

    def settle(self, guest: str) -> None:
        """It runs again, or is to be off."""
        with self._open() as opened:
            opened.execute("DELETE FROM owed WHERE guest = ?", (guest,))

    def drop(self, key: str) -> None:
        """An order that came to nothing: the same may be taken again."""
        with self._open() as opened:
            opened.execute("DELETE FROM orders WHERE key = ?", (key,))


def _order(key: str, guest: str, verb: str, text: str) -> OrderTaken:
    said = json.loads(text)
    return OrderTaken(
        key,
        guest,
        verb,
        said["wanted"],
        datetime.fromisoformat(said["begun_at"]),
        _read(said["ended_at"]),
        said["failed"],
        said.get("ran", False),
        said.get("live", False),
        tuple(said.get("former", ())),
        _read(said.get("asked_at", "")),
        said.get("said", ""),
        said.get("stalled", False),
    )


def _written(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat() if at else ""


def _read(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
