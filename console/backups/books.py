"""The book of one moment as files, and back, on either database.

SQLite: the file itself, by its online backup. PostgreSQL: every table as rows in the order of its key (COPY), as of one
snapshot; it is brought back into tables that migrations make, so that it needs neither a client nor a server of the
version it came from. Others read and write meanwhile; nothing of it goes over a network while the snapshot is held.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, inspect, text

from console.backups.places import parts
from console.schema import upgrade
from quota import search
from quota.db import Book
from quota.errors import N_, Invalid, NoRoom, WrongState, out_of_room

FILE = "book.db"
TABLE = ".copy"
VERSION = "alembic_version"
READ_B = 1 << 20


class Snapshot(Protocol):
    """A book at one moment, which ``fix`` sets; ``write`` lays it into a folder as files and says what is in them."""

    def fix(self) -> None: ...

    def write(self, folder: Path) -> BookSummary: ...


class BookSummary:
    """Revision, rows a table, columns a table (PostgreSQL alone), end of the trail."""

    def __init__(
        self, revision: str, rows: dict[str, int], columns: dict[str, list[str]], head: tuple[int, str]
    ) -> None:
        self.revision, self.rows, self.columns, self.head = revision, rows, columns, head


@contextmanager
def snapshot(book: Book) -> Iterator[Snapshot]:
    """A snapshot of the book, not fixed yet."""
    if book.engine.dialect.name == "sqlite":
        path = Path(book.url.database or "").resolve()
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=60)) as connection:
            connection.isolation_level = None
            yield _OfSqlite(connection)
    else:
        with book.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            yield _OfPostgresql(connection)


class _OfSqlite:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def fix(self) -> None:
        self.connection.execute("BEGIN")
        self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def write(self, folder: Path) -> BookSummary:
        target = folder / FILE
        try:
            with closing(sqlite3.connect(target)) as copy:
                self.connection.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")  # one file is all of it
                self.connection.execute("ROLLBACK")
                return figures(copy)
        except sqlite3.Error as error:
            if out_of_room(error):
                raise NoRoom(error) from error
            raise


def figures(connection: sqlite3.Connection) -> BookSummary:
    """What is in a SQLite book."""
    one = connection.execute
    names = [
        row[0]
        for row in one("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
        if not row[0].startswith(search.BESIDE["sqlite"])  # made of the entries, and of no other database
    ]
    rows = {name: int(one(f'SELECT count(*) FROM "{name}"').fetchone()[0]) for name in sorted(names)}
    revision = one(f"SELECT version_num FROM {VERSION}").fetchone()[0]
    head = one("SELECT sequence, digest FROM audit_head").fetchone() or (0, "")
    return BookSummary(str(revision), rows, {}, (int(head[0]), str(head[1])))


class _OfPostgresql:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def fix(self) -> None:
        self.connection.execute(text("SET TRANSACTION READ ONLY"))
        self.connection.execute(text("SELECT 1"))

    def write(self, folder: Path) -> BookSummary:
        seen = inspect(self.connection)
        rows: dict[str, int] = {}
        columns: dict[str, list[str]] = {}
        for name in sorted(seen.get_table_names()):
            columns[name] = [one["name"] for one in seen.get_columns(name)]
            key = seen.get_pk_constraint(name)["constrained_columns"] or columns[name]
            query = f"SELECT {_listed(columns[name])} FROM {_quoted(name)} ORDER BY {_listed(key)}"
            with _driver(self.connection).cursor() as cursor, (folder / f"{name}{TABLE}").open("wb") as file:
                with cursor.copy(f"COPY ({query}) TO STDOUT") as rows_of:
                    for part in rows_of:
                        file.write(part)
                rows[name] = cursor.rowcount
        revision = self.connection.scalar(text(f"SELECT version_num FROM {VERSION}"))
        head = self.connection.execute(text("SELECT sequence, digest FROM audit_head")).first() or (0, "")
        return BookSummary(str(revision), rows, columns, (int(head[0]), str(head[1])))


def spread(path: Path, folder: Path) -> dict[str, list[str]]:
    """A SQLite book as the files of one in PostgreSQL; columns a table. Texts, figures and moments are written as they are
    kept, and mean the same there (moments are UTC)."""
    columns: dict[str, list[str]] = {}
    with closing(sqlite3.connect(path)) as connection:
        for name in figures(connection).rows:
            columns[name] = [row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(name)})")]
            with (folder / f"{name}{TABLE}").open("w", encoding="utf-8", newline="\n") as file:
                for row in connection.execute(f"SELECT {_listed(columns[name])} FROM {_quoted(name)}"):
                    file.write("\t".join(map(_copied, row)) + "\n")
    return columns


_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _copied(value: object) -> str:
    """A value as COPY reads it."""
    if value is None:
        return "\\N"
    if isinstance(value, bytes):
        return f"\\\\x{value.hex()}"
    return str(value).translate(_ESCAPED)


# ---------------------------------------------------------------------------------------------------- bringing back


def must_be_empty(book: Book) -> None:
    """Raises WrongState where the database has any table, or a SQLite file is there."""
    if book.engine.dialect.name == "sqlite":
        if Path(str(book.url.database)).exists():
            raise WrongState("restore.database", N_("数据库不是空的；请给出一个空数据库"))
        return
    with book.engine.connect() as connection:
        if inspect(connection).get_table_names():
            raise WrongState("restore.database", N_("数据库不是空的；请给出一个空数据库"))


def load(book: Book, revision: str, columns: dict[str, list[str]], folder: Path) -> None:
    """Fill an empty PostgreSQL database with a book's tables: all in one transaction."""
    with book.engine.begin() as connection:
        connection.execute(text("SET LOCAL TIME ZONE 'UTC'"))
        upgrade.migrate_on(connection, revision)
        made = set(inspect(connection).get_table_names())
        if strange := sorted(columns.keys() - made):
            raise Invalid("restore.tables", N_("备份中有本版本不认识的表：%(tables)s"), tables=", ".join(strange))
        keys = list(connection.execute(text(_FOREIGN_KEYS)).all())
        for table, name, _ in keys:
            connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {_quoted(name)}"))
        for name in sorted(made):  # what migrations put in, and the guards that would not let it go
            connection.execute(text(f"ALTER TABLE {_quoted(name)} DISABLE TRIGGER USER"))
        connection.execute(text(f"TRUNCATE {_listed(sorted(made))}"))
        for name in sorted(columns):
            statement = f"COPY {_quoted(name)} ({_listed(columns[name])}) FROM STDIN"
            with _driver(connection).cursor() as cursor, cursor.copy(statement) as copy:
                for part in parts(folder / f"{name}{TABLE}", READ_B):
                    copy.write(part)
        for table, column, sequence in connection.execute(text(_SEQUENCES)).all():
            connection.execute(
                text(f"SELECT setval('{sequence}', (SELECT coalesce(max({column}), 0) + 1 FROM {table}), false)")
            )
        for name in sorted(made):
            connection.execute(text(f"ALTER TABLE {_quoted(name)} ENABLE TRIGGER USER"))
        for table, name, definition in keys:
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD CONSTRAINT {_quoted(name)} {definition}")


_FOREIGN_KEYS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype = 'f' AND connamespace = current_schema()::regnamespace ORDER BY 1, 2
"""
_SEQUENCES = """
SELECT quote_ident(table_name), quote_ident(column_name), pg_get_serial_sequence(quote_ident(table_name), column_name)
FROM information_schema.columns
WHERE table_schema = current_schema() AND pg_get_serial_sequence(quote_ident(table_name), column_name) IS NOT NULL
"""


def counted(book: Book) -> tuple[dict[str, int], tuple[int, str]]:
    """Rows a table, and the end of the trail, as they are now."""
    with book.engine.connect() as connection:
        names = sorted(inspect(connection).get_table_names())
        rows = {name: int(connection.scalar(text(f"SELECT count(*) FROM {_quoted(name)}")) or 0) for name in names}
        head = connection.execute(text("SELECT sequence, digest FROM audit_head")).first() or (0, "")
        return rows, (int(head[0]), str(head[1]))


def _driver(connection: Connection) -> Any:
    """psycopg's own connection, in the same transaction."""
    return connection.connection.driver_connection


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _listed(names: list[str]) -> str:
    return ", ".join(map(_quoted, names))
