"""The engine, and the only place that commits.

``Book.transaction(actor)`` is how anything is written: one transaction, committed at the end of the block, rolled back
on any exception. What is audited in it is sealed into the audit chain just before the commit, in the same transaction,
and behind it the rows that it wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar, cast

from sqlalchemy import (
    ColumnElement,
    Engine,
    Text,
    create_engine,
    event,
    literal,
)
from sqlalchemy.engine import Connection, ExceptionContext, make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from quota import resource_classes, sealing, search
from quota.actors import Actor, steward
from quota.audit import seal
from quota.errors import NoRoom, out_of_room
from quota.transactions import LOCKS, WRITER, Clock, Tx
from quota.units import CLASSES, Amount, ResourceClass

__all__ = ["Book", "Clock", "Tx", "among", "batches"]


class Book:
    """One database holding the book. ``clock`` tells the time; a replay gives its own. ``lasting`` False: it is thrown away
    when its process ends, so that SQLite need not wait for the disk."""

    def __init__(self, url: str, *, clock: Clock | None = None, lasting: bool = True) -> None:
        self.url = make_url(url)
        self.clock: Clock = clock or (lambda: datetime.now(UTC))
        self.engine = _engine(url, lasting=lasting)
        self._writer = self.engine.execution_options(guanjia_writes=True)
        self._classes: tuple[ResourceClass, ...] | None = None

    @contextmanager
    def transaction(self, actor: Actor) -> Iterator[Tx]:
        """Open a transaction by ``actor`` that is committed when the block ends, audit notes sealed in it."""
        with self._writing(actor) as tx:
            yield tx
            tx.flush()
            seal(tx)
            search.keep(tx)
            sealing.seal(tx)
            tx.commit()
        if resource_classes.CHANGED in tx.info:
            self.look_at_classes()

    @contextmanager
    def trial(self, actor: Actor) -> Iterator[Tx]:
        """Open a transaction in which everything may be done, and nothing of it stays: what would come of a thing."""
        with self._writing(actor) as tx:
            yield tx
            tx.rollback()

    @contextmanager
    def _writing(self, actor: Actor) -> Iterator[Tx]:
        self._know_classes()
        tx = Tx(self._writer, actor, self.clock, writes=True)
        try:
            tx.begin_writing()
            yield tx
        except BaseException:
            tx.rollback()
            raise
        finally:
            tx.close()

    @contextmanager
    def reading(self, actor: Actor | None = None, *, one_moment: bool = False) -> Iterator[Tx]:
        """Open a transaction that is never committed: for pages, exports and checks. Where no ``actor`` is named it is the
        steward's own look.

        ``one_moment``: everything it reads is as of its first look, on PostgreSQL too (SQLite does so always).
        """
        self._know_classes()
        tx = Tx(self.engine, actor or steward(), self.clock, writes=False)
        try:
            if one_moment and tx.dialect == "postgresql":
                tx.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield tx
        finally:
            tx.close()  # rolls the connection back; what was loaded may still be read, which rollback() would expire

    def look_at_classes(self, stamp: int | None = None) -> None:
        """Read the resource classes anew, unless they are known to be as of ``stamp`` (of ``resource_classes.stamp``).

        For whoever may serve what another process changed meanwhile: once a request of a page, once a run of a job.
        """
        if stamp is None or stamp != CLASSES.stamp:
            self._classes = None
        self._know_classes()

    def _know_classes(self) -> None:
        """Have the process know this book's resource classes; asks the database the first time alone."""
        if self._classes is None:
            self._classes = resource_classes.read(self.engine)
        if CLASSES.learnt is not self._classes:
            CLASSES.learn(self._classes)

    def dispose(self) -> None:
        self.engine.dispose()


Key = TypeVar("Key", int, str)


def batches(ids: Iterable[Key], size: int = 5000) -> Iterator[list[Key]]:
    """Ids, or other keys, in parts that a statement may name: databases bound how many values one can carry (SQLite 32,766)."""
    waiting = iter(ids)
    while part := list(islice(waiting, size)):
        yield part


class _Numbers(FunctionElement[int]):
    """The numbers of a JSON list, as rows."""

    inherit_cache = True


@compiles(_Numbers, "sqlite")
def _numbers_of_sqlite(element: _Numbers, compiler: Any, **kw: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **kw)}))"


@compiles(_Numbers, "postgresql")
def _numbers_of_postgresql(element: _Numbers, compiler: Any, **kw: Any) -> str:
    return (
        f"(SELECT value::bigint FROM json_array_elements_text(CAST({compiler.process(element.clauses, **kw)} AS json)))"
    )


def among(column: Any, ids: Iterable[int]) -> ColumnElement[bool]:
    """Whether ``column`` is one of ``ids``, however many: they go as one value, where ``in_`` sends each as one of its
    own and databases bound how many of those a statement carries (SQLite 32,766, PostgreSQL 65,535)."""
    told = literal(json.dumps(sorted(int(one) for one in ids)), Text)
    return cast("ColumnElement[bool]", column.bool_op("IN")(_Numbers(told)))


def _engine(url: str, *, lasting: bool) -> Engine:
    """SQLite in WAL mode with real transactions, or PostgreSQL. Either says by NoRoom that its disk is full."""
    engine = _connected(url, lasting=lasting)

    @event.listens_for(engine, "handle_error")
    def full(context: ExceptionContext) -> None:
        if out_of_room(context.original_exception):
            raise NoRoom(context.original_exception) from context.original_exception

    return engine


STATEMENTS = 2_000
"""Statements kept as they were put into words: the pages without parameters alone ask some six hundred, and SQLAlchemy's own
500 would have a console that is used for everything compile them again and again."""


def _spelled(value: Any) -> str:
    """A value of a JSON column; an amount as its figures."""
    return json.dumps(value, default=_figures)


def _figures(value: Any) -> dict[str, int]:
    if isinstance(value, Amount):
        return value.to_json()
    raise TypeError(f"{type(value).__name__} cannot be kept as JSON")


def _connected(url: str, *, lasting: bool) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(
            url, pool_pre_ping=True, json_serializer=_spelled, hide_parameters=True, query_cache_size=STATEMENTS
        )

        @event.listens_for(engine, "after_cursor_execute")
        def locked(connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
            writer = connection.info.get(WRITER)
            if writer is not None and any(lock in statement for lock in LOCKS):
                writer.waited()

        @event.listens_for(engine, "checkin")
        def done(_connection: Any, record: Any) -> None:
            record.info.pop(WRITER, None)

        return engine
    # What a statement carried (a password's hash, a person's number) is in no message of its error.
    engine = create_engine(
        url,
        connect_args={"timeout": 30, "check_same_thread": False},
        json_serializer=_spelled,
        hide_parameters=True,
        query_cache_size=STATEMENTS,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={'FULL' if lasting else 'OFF'}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA busy_timeout=30000")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer takes the lock at once: upgrading a read transaction later fails with SQLITE_BUSY under load.
        writes = connection.get_execution_options().get("guanjia_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
