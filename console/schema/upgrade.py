"""The book's schema on a real database: brought up to date by Alembic, by create_all only where the book is thrown away."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Connection, Engine, inspect, text
from sqlalchemy.exc import IntegrityError

from console.schema import models  # noqa: F401 - compare_metadata must see every table
from metering.judging import findings
from quota import audit, sealing, search
from quota.actors import steward
from quota.base import GUARDED, Base, append_only_ddl
from quota.db import Book

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

# Alembic is imported where it is used: web processes and most commands only ask at which version a book is.
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def migrate(book: Book, revision: str = "head") -> None:
    """Bring the book's schema to ``revision``; a later one going up, an earlier one going down. All or nothing.

    At the head, tables that nobody sealed yet are sealed as they are found, and those that a migration rewrote (it names them
    in ``RESEALS``) are sealed anew; the trail says which, with how many rows. The newest assessments are summed up where
    they were not yet.
    """
    since = current(book) or ""
    with _unguarded(book) as connection:
        rewritten = migrate_on(connection, revision)
    if current(book) == latest():
        _seal(book, since, rewritten)


def lay_scratch(book: Book) -> None:
    """The newest schema in an empty book that is thrown away: as the models say it, which is what the migrations make, step by
    step, in many times as long."""
    Base.metadata.create_all(book.engine, checkfirst=False)
    _seal(book, "", set())


@contextmanager
def _unguarded(book: Book) -> Iterator[Connection]:
    """A transaction to change the schema in. SQLite writes a table anew that others refer to by dropping it: references are not
    watched meanwhile, and looked at as a whole before the commit (sqlite.org/lang_altertable.html, 7)."""
    with book.engine.execution_options(guanjia_writes=True).connect() as connection:
        own: Any = connection.connection.driver_connection
        sqlite = connection.dialect.name == "sqlite"
        if sqlite:
            own.execute("PRAGMA foreign_keys=OFF")  # says nothing once a transaction is open
        try:
            with connection.begin():
                yield connection
                if sqlite and (broken := own.execute("PRAGMA foreign_key_check").fetchall()):
                    raise IntegrityError(
                        f"{len(broken)} rows refer to what is not there: {broken[:5]}", None, ValueError()
                    )
        finally:
            if sqlite:
                own.execute("PRAGMA foreign_keys=ON")


def migrate_on(connection: Connection, revision: str = "head") -> set[str]:
    """As ``migrate``, in the transaction of a connection, and without the seals; the tables that were rewritten."""
    from alembic import command
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = _config()
    config.attributes["connection"] = connection
    current = MigrationContext.configure(connection).get_current_revision()
    script = ScriptDirectory.from_config(config)
    if revision == "base" or (revision != "head" and _is_before(script, revision, current)):
        command.downgrade(config, revision)
        return set()
    with (
        warnings.catch_warnings()
    ):  # a table that is written anew has its neighbours read, whose index of an expression stays
        warnings.filterwarnings("ignore", message=".*expression-based index")
        command.upgrade(config, revision)
    reached = MigrationContext.configure(connection).get_current_revision()
    if current is None or reached is None or current == reached:
        return set()
    steps = script.iterate_revisions(reached, current)
    return {place for one in steps for place in getattr(one.module, "RESEALS", ())}


def _seal(book: Book, since: str, rewritten: set[str]) -> None:
    with book.transaction(steward("migrate")) as tx:
        trailed = audit.head(tx)[0] > 0  # a book that is being founded has nothing to tell yet
        found = sealing.begin(tx)
        anew = sealing.reseal(tx, rewritten - set(found))
        if trailed and (found or anew):
            tx.audit("house.seal", "house", after={"since": since, "found": found, "anew": anew})
        findings.sum_up(tx)
        search.fill(tx, rewritten)


def _is_before(script: ScriptDirectory, revision: str, current: str | None) -> bool:
    """Whether ``revision`` lies below ``current``."""
    if current is None or revision == current:
        return False
    return revision in {one.revision for one in script.iterate_revisions(current, "base")}


def current(book: Book) -> str | None:
    """The revision that the book is at; None for an empty database."""
    with book.engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return found


def latest() -> str | None:
    """The newest revision that this version of the product knows."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config()).get_current_head()


_REVISION = re.compile(r'^(down_)?revision(?:: .*)? = "(\w+)"', re.MULTILINE)


@cache
def newest() -> str | None:
    """As ``latest``, read from the files' own lines: a web process that is asked whether it is ready loads no Alembic."""
    revisions: set[str] = set()
    below: set[str] = set()
    for path in (MIGRATIONS / "versions").glob("*.py"):
        for down, revision in _REVISION.findall(path.read_text(encoding="utf-8")):
            (below if down else revisions).add(revision)
    (head,) = revisions - below
    return head


def knows(revision: str) -> bool:
    """Whether this version of the product has a way from ``revision`` to its own."""
    from alembic.script import ScriptDirectory

    return any(one.revision == revision for one in ScriptDirectory.from_config(_config()).walk_revisions())


def differences(book: Book) -> list[str]:
    """How the database differs from the models; empty when they agree. Indexes over expressions, which no database tells as they
    were written, are compared by their names."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    reckoned = {
        str(index.name)
        for table in Base.metadata.tables.values()
        for index in table.indexes
        if not all(isinstance(one, Column) for one in index.expressions)
    }

    beside = search.BESIDE[book.engine.dialect.name]

    def compared(_item: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
        if (name or "").startswith(beside):  # a full-text table has tables of its own
            return False
        return kind != "index" or name not in reckoned

    with book.engine.connect() as connection, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*expression-based index")
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": compared})
        found = [repr(one) for one in compare_metadata(context, Base.metadata)]
        told = {
            "sqlite": "SELECT name FROM sqlite_master",
            "postgresql": "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()",
        }
        there = set(connection.scalars(text(told[connection.dialect.name])))
        return found + sorted(f"no index {name}" for name in {*reckoned, beside} - there)


def missing_guards(engine: Engine) -> list[str]:
    """Names of append-only triggers that are not there (any more)."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            found = set(connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")))
        else:
            found = set(
                connection.scalars(text("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'"))
            )
        tables = set(inspect(connection).get_table_names())
    wanted = [
        statement.split()[2]
        for name, archived in GUARDED.items()
        if name in tables
        for statement in append_only_ddl(name, archived)[engine.dialect.name]
        if statement.startswith("CREATE TRIGGER")
    ]
    return [name for name in wanted if name not in found]
