"""The engine, and the only place that commits.

``Book.transaction(actor)`` is how anything is written: one transaction, committed at the end of the block, rolled back
on any exception. What is audited in it is sealed into the audit chain just before the commit, in the same transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import DDL, JSON, BigInteger, DateTime, Engine, MetaData, Table, create_engine, event, text
from sqlalchemy.engine import Connection, Dialect, ExceptionContext, make_url
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

from quota.actors import Actor, steward
from quota.errors import NoRoom, out_of_room

if TYPE_CHECKING:
    from quota.audit import Note

Clock = Callable[[], datetime]

LOCKS = ("FOR UPDATE", "FOR NO KEY UPDATE")
WRITER = "guanjia_writer"
"""Under this name a connection knows the transaction that writes through it."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant, kept as UTC. A naive datetime is a bug and is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: instants carry their zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Every table of the house. Names of constraints follow one convention so that migrations can find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[Any]: JSON,
        list[str]: JSON,
        dict[str, int]: JSON,
        dict[str, str]: JSON,
    }


Count = BigInteger
"""Column type of amounts in base units."""


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

    def begin_writing(self) -> None:
        """Begin in the database, waiting for who writes there now, and read the clock after it."""
        connection = self.connection()
        if connection.dialect.name != "sqlite":
            connection.info[WRITER] = self
        self.now = self.clock()

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
        from quota.audit import Note

        self.notes.append(Note(action, subject, dict(before or {}), dict(after or {}), reason))


class Book:
    """One database holding the book. ``clock`` tells the time; a replay gives its own."""

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self.url = make_url(url)
        self.clock: Clock = clock or (lambda: datetime.now(UTC))
        self.engine = _engine(url)
        self._writer = self.engine.execution_options(guanjia_writes=True)

    @contextmanager
    def transaction(self, actor: Actor | None = None) -> Iterator[Tx]:
        """Open a transaction that is committed when the block ends, audit notes sealed in it."""
        from quota.audit import seal

        tx = Tx(self._writer, actor or steward(), self.clock, writes=True)
        try:
            tx.begin_writing()
            yield tx
            tx.flush()
            seal(tx)
            tx.commit()
        except BaseException:
            tx.rollback()
            raise
        finally:
            tx.close()

    @contextmanager
    def reading(self, actor: Actor | None = None, *, one_moment: bool = False) -> Iterator[Tx]:
        """Open a transaction that is never committed: for pages, exports and checks.

        ``one_moment``: everything it reads is as of its first look, on PostgreSQL too (SQLite does so always).
        """
        tx = Tx(self.engine, actor or steward(), self.clock, writes=False)
        try:
            if one_moment and tx.dialect == "postgresql":
                tx.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield tx
        finally:
            tx.close()  # rolls the connection back; what was loaded may still be read, which rollback() would expire

    def dispose(self) -> None:
        self.engine.dispose()


def batches(ids: Iterable[int], size: int = 5000) -> Iterator[list[int]]:
    """Ids in parts that a statement may name: databases bound how many values one can carry (SQLite 32,766)."""
    waiting = iter(ids)
    while part := list(islice(waiting, size)):
        yield part


def _engine(url: str) -> Engine:
    """SQLite in WAL mode with real transactions, or PostgreSQL. Either says by NoRoom that its disk is full."""
    engine = _connected(url)

    @event.listens_for(engine, "handle_error")
    def full(context: ExceptionContext) -> None:
        if out_of_room(context.original_exception):
            raise NoRoom(context.original_exception) from context.original_exception

    return engine


def _connected(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(url, pool_pre_ping=True)

        @event.listens_for(engine, "after_cursor_execute")
        def locked(connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
            writer = connection.info.get(WRITER)
            if writer is not None and any(lock in statement for lock in LOCKS):
                writer.waited()

        @event.listens_for(engine, "checkin")
        def done(_connection: Any, record: Any) -> None:
            record.info.pop(WRITER, None)

        return engine
    engine = create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA busy_timeout=30000")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer takes the lock at once: upgrading a read transaction later fails with SQLITE_BUSY under load.
        writes = connection.get_execution_options().get("guanjia_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


GUARDED: list[str] = []
"""Names of the tables that triggers keep append-only."""


def append_only(table: Table) -> None:
    """Guard ``table`` by triggers against update and delete. An ORM guard is bypassed by bulk updates."""
    GUARDED.append(table.name)
    for dialect, statements in append_only_ddl(table.name).items():
        for statement in statements:
            event.listen(
                table,
                "after_create",
                DDL(statement.replace("%", "%%")).execute_if(dialect=dialect),  # type: ignore[no-untyped-call]
            )


def append_only_ddl(name: str) -> dict[str, list[str]]:
    """Dialect → statements that make the table ``name`` append-only."""
    return {
        "sqlite": [
            f"CREATE TRIGGER {name}_no_{verb} BEFORE {verb.upper()} ON {name} "
            f"BEGIN SELECT RAISE(ABORT, '{name} is append-only'); END"
            for verb in ("update", "delete")
        ],
        "postgresql": [
            "CREATE OR REPLACE FUNCTION guanjia_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$",
            f"CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION guanjia_append_only()",
        ],
    }


def drop_append_only_ddl(name: str) -> dict[str, list[str]]:
    """Dialect → statements that take the guard off again (for migrations going down)."""
    return {
        "sqlite": [f"DROP TRIGGER {name}_no_{verb}" for verb in ("update", "delete")],
        "postgresql": [f"DROP TRIGGER {name}_append_only ON {name}"],
    }
