"""``python -m benchmarks.migrations [--rows N] [--write FILE]``: what each migration since 0.1.0 locks, and for how long.

On a PostgreSQL of its own, every table as of 0.1.0, and each that comes later, is given N rows. Each migration runs alone, in a
transaction of its own; the locks are those that the server holds for it just before its commit. An upgrade runs all of them in one
transaction, in which they are held until the end: its sum is how long the house stands still. Rows are made up of numbers: what a
migration does row by row with what people wrote is told by the upgrade of the city of 0.1.0 (`tests/console/test_upgrades.py`).
"""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Boolean, Date, DateTime, Float, Integer, LargeBinary, Numeric, event, inspect, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection

from console.schema import upgrade
from quota.db import Book
from tests import books

RELEASE = "0021"
"""The revision of 0.1.0."""
STRONG = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
"""What keeps writers out; the last keeps readers out, too."""
HELD = text(
    "SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
    "WHERE l.pid = pg_backend_pid() AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
)
CHECKS = text(
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One migration: how long it took from its first statement that changes anything, and which tables that held rows it kept from ``writers`` or from ``readers`` as well."""

    revision: str
    subject: str
    seconds: float
    writers: tuple[str, ...]
    readers: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.migrations", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--write", type=Path, help="write the table to this Markdown file, too")
    options = parser.parse_args()
    with books.server() as server:
        book = Book(books.bare(server))
        steps = measured(book, options.rows)
        book.dispose()
    told = table(steps, options.rows)
    print(told)
    if options.write:
        options.write.write_text(told, encoding="utf-8")


def measured(book: Book, rows: int) -> list[Step]:
    """Each migration since the release, on tables of ``rows`` rows."""
    upgrade.migrate(book, RELEASE)
    filled = fill(book, rows, set())
    found = []
    script = ScriptDirectory.from_config(upgrade._config())
    for one in reversed(list(script.iterate_revisions("head", RELEASE))):
        began: list[float] = []

        def heard(_c: object, _cursor: object, said: str, *_more: object, at: list[float] = began) -> None:
            if not at and not re.match(r"\s*(SELECT|SHOW)\b", said, re.IGNORECASE):
                at.append(time.perf_counter())

        with book.engine.connect() as connection, connection.begin():
            event.listen(connection, "before_cursor_execute", heard)
            upgrade.migrate_on(connection, one.revision)
            seconds = time.perf_counter() - began[0]
            held = connection.execute(HELD).all()
        strong = {
            name: {mode for at, mode in held if at == name} & set(STRONG) for name, _mode in held if name in filled
        }
        readers = {name for name, modes in strong.items() if "AccessExclusiveLock" in modes}
        writers = {name for name, modes in strong.items() if modes} - readers
        subject = (one.module.__doc__ or "").splitlines()[0]
        found.append(Step(one.revision, subject, seconds, tuple(sorted(writers)), tuple(sorted(readers))))
        filled |= fill(book, rows, filled)
    return found


def fill(book: Book, rows: int, filled: set[str]) -> set[str]:
    """Give ``rows`` rows to each table that is not ``filled``; which they are."""
    with book.engine.connect() as connection, connection.begin():
        names = set(inspect(connection).get_table_names()) - filled - {"alembic_version"}
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # neither references nor guards
        checks = [one for one in connection.execute(CHECKS).all() if one[0] in names]
        for table_, name, _said in checks:
            connection.execute(text(f'ALTER TABLE {table_} DROP CONSTRAINT "{name}"'))
        for name in sorted(names):
            _fill(connection, name, rows)
        for table_, name, said in checks:
            connection.execute(text(f'ALTER TABLE {table_} ADD CONSTRAINT "{name}" {said} NOT VALID'))
    with book.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    return names


def _fill(connection: Connection, name: str, rows: int) -> None:
    values = {}
    for one in inspect(connection).get_columns(name):
        kind = one["type"]
        if isinstance(kind, Boolean):
            value = "false"
        elif isinstance(kind, JSON | JSONB):
            value = "'{}'"
        elif isinstance(kind, Integer):
            value = "g"
        elif isinstance(kind, Date):
            value = "DATE '2020-01-01' + g"
        elif isinstance(kind, DateTime):
            value = "TIMESTAMPTZ '2026-06-01 00:00:00Z' + g * INTERVAL '1 second'"
        elif isinstance(kind, Float | Numeric):
            value = "1"
        elif isinstance(kind, LargeBinary):
            value = "'x'"
        else:
            value = f"right(g::text, {getattr(kind, 'length', None) or 64})"
        values[f'"{one["name"]}"'] = value
    connection.execute(
        text(
            f'INSERT INTO "{name}" ({", ".join(values)}) SELECT {", ".join(values.values())} '
            f"FROM generate_series(1, {rows}) g ON CONFLICT DO NOTHING"
        )
    )


def table(steps: list[Step], rows: int) -> str:
    """The steps as Markdown, the longest of all and their sum first."""
    longest = max(steps, key=lambda one: one.seconds)
    lines = [
        "# Measured: what migrations lock",
        "",
        f"`python -m benchmarks.migrations` on PostgreSQL, {rows:,} rows in every table: all of an upgrade from 0.1.0 "
        f"{sum(one.seconds for one in steps):.1f} s, the longest step {longest.revision} {longest.seconds:.1f} s. Of tables that "
        "held rows, those that were kept from writers, and those that were kept from readers, too.",
        "",
        "| migration | s | kept from writers | and from readers |",
        "|---|--:|---|---|",
    ]
    lines += [
        f"| {one.revision} {one.subject} | {one.seconds:.2f} | {', '.join(one.writers) or '—'} | {', '.join(one.readers) or '—'} |"
        for one in steps
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
