"""What the simulated cloud was told to do: an append-only log of orders in one SQLite file.

The log is the whole state. What a resource is at any moment follows from its origin and the orders that
took effect before, so samples of the past stay what they were. An order is in the file, synced to the
disk, before anybody hears of it: a process killed at any point leaves either all of an order or nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from providers.base import Order, ProviderFault
from quota.units import Amount

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    pool TEXT NOT NULL,
    key TEXT NOT NULL,
    body TEXT NOT NULL,
    received INTEGER NOT NULL,
    effective INTEGER NOT NULL,
    external_id TEXT,
    amounts TEXT NOT NULL,
    failed TEXT NOT NULL,
    UNIQUE (pool, key)
);
"""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One order and its fate, decided once. Times in epoch seconds; ``failed`` tells why, if it did."""

    order: Order
    received: int
    effective: int
    external_id: str | None
    amounts: Amount
    failed: str = ""


class Journal:
    """The orders of one pool. ``path`` None: kept in memory. A file is safe for many processes."""

    def __init__(self, path: str | Path | None, pool: str) -> None:
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._pool = pool
        self._lock = Lock()
        self._memory = None if path is not None else self._connect(":memory:")
        self._read: list[JournalEntry] = []
        self._last = 0

    def entries(self) -> list[JournalEntry]:
        """All orders in the order in which they came."""
        with self._open() as db:
            return self._news(db)

    def find(self, key: str) -> JournalEntry | None:
        """The entry of the order with that key, None where there is none."""
        with self._open() as db:
            row = db.execute("SELECT * FROM orders WHERE pool = ? AND key = ?", (self._pool, key)).fetchone()
            return None if row is None else _entry(row)

    def record(self, order: Order, decide: Callable[[list[JournalEntry]], JournalEntry]) -> JournalEntry:
        """The entry of this order; if none, what ``decide`` makes of the orders so far, recorded durably.

        ``decide`` runs while no other order can come in. Raises ProviderFault for a key used before for
        another order.
        """
        text = _dump(order)
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                found = db.execute(
                    "SELECT * FROM orders WHERE pool = ? AND key = ?", (self._pool, order.key)
                ).fetchone()
                if found:
                    if found["body"] != text:
                        raise ProviderFault(f"订单号 {order.key} 已用于另一个订单", transient=False)
                    return _entry(found)
                entry = decide(self._news(db))
                db.execute(
                    "INSERT INTO orders (pool, key, body, received, effective, external_id, amounts, failed)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        self._pool,
                        order.key,
                        text,
                        entry.received,
                        entry.effective,
                        entry.external_id,
                        json.dumps(entry.amounts.to_json()),
                        entry.failed,
                    ),
                )
                db.execute("COMMIT")
                return entry
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def _news(self, db: sqlite3.Connection) -> list[JournalEntry]:
        """Entries never change, so only new ones are read. The list is the caller's own."""
        for row in db.execute(
            "SELECT * FROM orders WHERE pool = ? AND seq > ? ORDER BY seq", (self._pool, self._last)
        ).fetchall():
            self._read.append(_entry(row))
            self._last = row["seq"]
        return list(self._read)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._memory is not None:
                yield self._memory
                return
            try:
                with closing(self._connect(str(self._path))) as db:
                    yield db
            except sqlite3.Error as error:
                raise ProviderFault(f"状态文件 {self._path} 读写失败:{error}", transient=True) from error

    @staticmethod
    def _connect(path: str) -> sqlite3.Connection:
        db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        db.row_factory = sqlite3.Row
        # FULL: an order that was answered must survive a power cut.
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(_SCHEMA)
        return db


def _dump(order: Order) -> str:
    return json.dumps(order.to_json(), ensure_ascii=False, sort_keys=True)


def _entry(row: sqlite3.Row) -> JournalEntry:
    return JournalEntry(
        Order.from_json(json.loads(row["body"])),
        row["received"],
        row["effective"],
        row["external_id"],
        Amount.from_json(json.loads(row["amounts"])),
        row["failed"],
    )
