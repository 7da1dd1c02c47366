"""An open transaction: a session that knows who acts and what time it is, and what it has to seal when it commits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from quota.actors import Actor
from quota.errors import Conflict

Clock = Callable[[], datetime]
Row = TypeVar("Row")

LOCKS = ("FOR UPDATE", "FOR NO KEY UPDATE")
WRITER = "guanjia_writer"
"""Under this name a connection knows the transaction that writes through it."""


@dataclass(frozen=True, slots=True)
class Note:
    """A record that waits for its seal."""

    action: str
    subject: str
    before: dict[str, Any]
    after: dict[str, Any]
    reason: str


class Tx(Session):
    """An open transaction: a Session that knows who acts and what time it is.

    ``now`` is read when the transaction holds what orders it after others. On SQLite that is the lock that admits one
    writer: the times of transactions run as their commits do. PostgreSQL admits many writers, and what orders two of them
    is a row: each time that rows were locked (SELECT … FOR UPDATE, waiting for whoever held them), ``now`` is read again.
    So who holds a row writes no time earlier than those written by who held it before; as the head of the audit chain is
    such a row, the times of the chain never go back there either. Between transactions that share no row nothing is
    promised, nor where the clock itself is set back.
    """

    def __init__(self, bind: Engine, actor: Actor, clock: Clock, *, writes: bool) -> None:
        super().__init__(bind, expire_on_commit=False, autoflush=True)
        self.actor = actor
        self.clock = clock
        self.now = clock()
        self.writes = writes
        self.notes: list[Note] = []
        self.touched: dict[str, set[tuple[Any, ...]]] = {}  # table → keys of the rows that were written, to be sealed

    def begin_writing(self) -> None:
        """Begin in the database, waiting for who writes there now, and read the clock after it."""
        connection = self.connection()
        if connection.dialect.name != "sqlite":
            connection.info[WRITER] = self
        self.now = self.clock()

    @contextmanager
    def apart(self) -> Iterator[None]:
        """A part of the transaction: where it fails it alone is undone, with what it noted for the audit."""
        noted = len(self.notes)
        try:
            with self.begin_nested():
                yield
        except Exception:
            del self.notes[noted:]
            raise

    def waited(self) -> None:
        """Rows were locked: what is written from now on comes after what their former holder wrote."""
        self.now = max(self.now, self.clock())

    @property
    def dialect(self) -> str:
        return self.get_bind().dialect.name

    def alone(self, what: str) -> None:
        """Wait until no other transaction is alone with the same, and keep all others waiting until this one ends.

        ``what`` is a thing of the house ("months") or an idempotency key: whoever sends the same one at this moment waits,
        and then finds what was made under it, instead of making it twice. First of all locks of a verb. SQLite lets only
        one transaction write at a time anyway.
        """
        if self.dialect == "postgresql":
            key = int.from_bytes(hashlib.blake2b(what.encode(), digest_size=8).digest(), "big", signed=True)
            self.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
            self.waited()

    def lock(self, row: Row) -> Row:
        """``row`` with nobody else writing to it until this transaction ends, read anew."""
        self.flush()
        self.refresh(row, with_for_update={"of": type(row)})
        return row

    def lock_as_shown(self, row: Row, generation: int | None, stale: Conflict) -> Row:
        """``row`` locked; raises ``stale`` where it is not of the ``generation`` that a page showed any more (None: of
        whichever)."""
        self.lock(row)
        if generation is not None and getattr(row, "generation") != generation:  # noqa: B009 - rows that pages show have one
            raise stale
        return row

    def audit(
        self,
        action: str,
        subject: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        reason: str = "",
    ) -> None:
        """Note that the actor did ``action`` (``request.submit``) to ``subject`` (``request:12``).

        ``before`` and ``after`` hold only what changed. The note is sealed into the chain when the block commits.
        """
        self.notes.append(Note(action, subject, dict(before or {}), dict(after or {}), reason))
