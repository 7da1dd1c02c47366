"""``guanjia verify`` on a book and a lake that hold anything at all: every table in turn, by the metadata, none named by hand.

A table gets a row for each of its columns and for each thing that no such column should hold. What cannot be read is named
by table and key; what can be read and makes no sense breaks nothing; the verification comes to its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import JSON, Boolean, Date, DateTime, Float, Integer, LargeBinary, Numeric, String, Table, select, text
from sqlalchemy.engine import Connection

from console import founding
from console.cli import commands
from console.settings import Settings
from console.verification.checks import examine
from metering.lake.store import Lake
from metering.workbench import Workbench
from quota import inspection, spans
from quota.base import Base
from quota.db import Book
from quota.directory.people import Person
from quota.inspection import rows
from tests.city import CONSOLE, CONSOLE_POOL, City
from tests.metering.samples import joined, steady

TABLES = sorted(Base.metadata.tables)


def batched(names: list[str], size: int) -> list[list[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


class Value:
    """Something put where it does not belong: as SQL, and whether a row that holds it can still be read."""

    def __init__(self, sql: str, *, readable: bool) -> None:
        self.sql, self.readable = sql, readable

    def __repr__(self) -> str:
        return self.sql


def bad(sql: str) -> Value:
    return Value(sql, readable=False)


def odd(sql: str) -> Value:
    return Value(sql, readable=True)


TEXT = [bad("x'fffe'"), bad("CAST(x'fffe' AS TEXT)"), odd("''"), odd("'0'")]
SQLITE: list[tuple[type, list[Value]]] = [
    (JSON, [bad("'{broken'"), bad("x'ff'"), bad("''"), odd("'5'"), odd("'[1, [2]]'"), odd("'\"x\"'"), odd("'null'"),
            odd("'{\"a\": {\"b\": [NaN, 1e400, -1]}}'"), odd("'{\"section\": 7}'")]),
    (Boolean, [bad("7"), bad("'x'")]),
    (Integer, [bad("'abc'"), bad("1.5"), bad("x'ff'"), odd("-1"), odd("9223372036854775807")]),
    (DateTime, [bad("'yesterday'"), bad("12"), bad("x'ff'"), bad("'2026-13-45 00:00:00'"), odd("'0001-01-01 00:00:00'")]),
    (Date, [bad("'today'"), bad("12"), bad("'2026-02-30'"), odd("'9999-12-31'")]),
    (Float, [bad("'abc'"), odd("-1"), odd("1e300")]),
    (Numeric, [bad("'abc'"), odd("-1"), odd("1e300")]),
    (LargeBinary, [odd("'text'"), odd("''")]),
    (String, TEXT),
]  # fmt: skip
POSTGRES: list[tuple[type, list[Value]]] = [
    (JSON, [odd("'5'"), odd("'[1, [2]]'"), odd("'\"x\"'"), odd("'null'"), odd("'{\"section\": 7, \"a\": [1e400, -1]}'")]),
    (Boolean, [odd("true")]),
    (Integer, [odd("-1"), odd("2147483647")]),
    (DateTime, [bad("'infinity'"), bad("'-infinity'"), bad("'20000-01-01'"), odd("'0001-01-02'")]),
    (Date, [bad("'20000-01-01'"), odd("'9999-12-31'")]),
    (Float, [odd("'NaN'"), odd("-1"), odd("'Infinity'")]),
    (Numeric, [odd("-1"), odd("0")]),
    (LargeBinary, [odd("''::bytea")]),
    (String, [odd("''"), odd("'0'")]),
]  # fmt: skip
USUAL: list[tuple[type, str]] = [
    (JSON, "'{}'"),
    (Boolean, "false"),
    (Integer, ""),
    (DateTime, "'2026-06-01 00:00:00'"),
    (Date, "'2026-06-01'"),
    (Float, "1.0"),
    (Numeric, "1.0"),
    (LargeBinary, "'x'"),
]
FIRST = 800_000
AT_ONCE = 12
"""Tables that are spoilt together: a verification of the whole book takes longer than of what was spoilt."""


def of(kinds: list[tuple[type, list[Value]]], column: Any) -> list[Value]:
    """What does not belong into a column of this type."""
    return next(values for kind, values in kinds if isinstance(getattr(column.type, "impl", column.type), kind))


def of_moments(column: Any) -> bool:
    return isinstance(getattr(column.type, "impl", column.type), DateTime)


def usual(column: Any, number: int) -> str:
    """What a column holds in an unsuspicious row, as SQL; whatever may have to be unique is the row's number."""
    kind = next((kind for kind, _value in USUAL if isinstance(getattr(column.type, "impl", column.type), kind)), String)
    if kind is Integer:
        return str(number)
    if kind is Date and column.primary_key:
        return f"'{date(2026, 6, 1) + timedelta(days=number - FIRST)}'"
    if kind is String:
        return f"'{str(number)[-(column.type.length or 6) :]}'"
    return dict(USUAL)[kind]


def spoil(connection: Connection, table: Table, kinds: list[tuple[type, list[Value]]]) -> dict[str, Value]:
    """A row for each column and value; key → what was put there of those that cannot be read."""
    named: dict[str, Value] = {}
    number = FIRST
    for column in table.columns:
        for value in [] if column.primary_key else of(kinds, column):
            number += 1
            values = {one.name: usual(one, number) for one in table.columns} | {column.name: value.sql}
            names = ", ".join(f'"{name}"' for name in values)
            with connection.begin_nested():
                connection.exec_driver_sql(
                    f'INSERT INTO "{table.name}" ({names}) VALUES ({", ".join(values.values())})'
                )
            if not value.readable:
                named["/".join(usual(one, number).strip("'") for one in table.primary_key)] = value
    assert number > FIRST or len(table.columns) == len(table.primary_key)
    return named


def let_anything_in(connection: Connection) -> None:
    """Take off every rule that the database itself keeps; that guards are gone is one of the problems named."""
    if connection.dialect.name == "sqlite":
        for name in connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
            connection.execute(text(f"DROP TRIGGER {name}"))
        for name in connection.scalars(
            text("SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '%UNIQUE%'")
        ).all():
            connection.execute(text(f"DROP INDEX {name}"))
        return
    for table, name in connection.execute(
        text("SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype IN ('c', 'f', 'u') AND connamespace = 'public'::regnamespace")
    ).all():  # fmt: skip
        connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {name} CASCADE"))
    for name in TABLES:
        connection.execute(text(f'ALTER TABLE "{name}" DISABLE TRIGGER USER'))


@pytest.fixture
def hostile(book: Book, tmp_path: Path) -> Iterator[tuple[Workbench, Connection]]:
    """A small city's book, beside it an empty lake, and a connection that writes whatever it likes."""
    City(book, plan=CONSOLE).add(CONSOLE_POOL)
    if book.engine.dialect.name == "sqlite":
        engine = book.engine.execution_options(guanjia_writes=True)
        with engine.connect() as connection:
            connection.exec_driver_sql("ROLLBACK")
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.exec_driver_sql("PRAGMA ignore_check_constraints=ON")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            let_anything_in(connection)
            connection.commit()
            yield Workbench(book, Lake(tmp_path / "lake"), tmp_path), connection
    else:
        with book.engine.connect() as connection:
            let_anything_in(connection)
            connection.commit()
            yield Workbench(book, Lake(tmp_path / "lake"), tmp_path), connection


def test_every_table_in_turn(hostile: tuple[Workbench, Connection]) -> None:
    works, connection = hostile
    kinds = SQLITE if connection.dialect.name == "sqlite" else POSTGRES
    for names in batched(TABLES, AT_ONCE):
        named = {name: spoil(connection, Base.metadata.tables[name], kinds) for name in names}
        connection.commit()
        found = examine(works)
        for name in names:
            said = {one.split(" ", 3)[2] for one in found.problems if one.startswith(f"{name}: row ")}
            assert {key: value for key, value in named[name].items() if key not in said} == {}, name
        unfinished = [one for one in found.problems if "could not be finished" in one]
        assert not unfinished, (names, unfinished)
        for name in names:
            first = next(iter(Base.metadata.tables[name].primary_key))
            put = f"> {FIRST}" if isinstance(first.type, Integer) else "LIKE '80____'"
            put = ">= '2026-06-01'" if isinstance(first.type, Date) else put
            connection.exec_driver_sql(f'DELETE FROM "{name}" WHERE "{first.name}" {put.replace("%", "%%")}')
        connection.commit()


def test_rows_are_read_in_parts(hostile: tuple[Workbench, Connection], monkeypatch: pytest.MonkeyPatch) -> None:
    works, connection = hostile
    kinds = SQLITE if connection.dialect.name == "sqlite" else POSTGRES
    table = Base.metadata.tables["notices"]
    named = spoil(connection, table, kinds)
    connection.commit()
    # Some are numbered far behind all others: a number may have been changed as well.
    monkeypatch.setattr(spans, "SPAN", 5)
    with works.book.reading() as tx:
        parts = inspection.parts(tx, table)
        told = [{one.split(" ", 3)[2] for one in inspection.check_table(tx, table, part)} for part in parts]
    assert {key: [n for n, part in enumerate(told) if key in part] for key in named} == {
        key: [n for n, part in enumerate(parts) if (part.low or int(key)) <= int(key) <= (part.high or int(key))]
        for key in named
    }
    assert len(parts) > 1
    assert (parts[0].low, parts[-1].high) == (None, None)


def test_the_sound_rows_are_read_whatever_lies_between(hostile: tuple[Workbench, Connection]) -> None:
    works, connection = hostile
    with works.book.reading() as tx:
        there = [one.id for one in tx.scalars(select(Person).order_by(Person.id))]
    moment = next(column.name for column in Base.metadata.tables["people"].columns if of_moments(column))
    value = "'yesterday'" if connection.dialect.name == "sqlite" else "'infinity'"
    connection.execute(text(f"UPDATE people SET {moment} = {value} WHERE id IN (2, 5)"))
    connection.commit()
    said: list[str] = []
    with works.book.reading() as tx:
        read = [one.id for one in rows(tx, select(Person).order_by(Person.id), said)]
    assert read == [one for one in there if one not in (2, 5)]
    assert [one.split(" cannot")[0] for one in said] == ["people: row 2", "people: row 5"]


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("lake/days.json", "{"),
        ("lake/days.json", "[7]"),
        ("lake/sealed.json", '{"a": 1}'),
        ("lake/retention.json", "[]"),
        ("lake/closing.json", "x"),
        ("lake/days/2026-09-21.parquet", "PAR1"),
        ("lake/hours/2026-09-21.parquet", ""),
        ("lake/daily/2026-09-21.parquet", "x" * 500),
        ("lake/sources/2026-09-21.json", "[1]"),
        ("lake/push/agent/00000000000000000001-abcdefabcdef.arrow", "ARROW1"),
        ("lake/push/agent/00000000000000000001-folded.arrow", ""),
    ],
)
def test_garbage_in_the_lake_and_the_spool_is_named(tmp_path: Path, place: str, content: str) -> None:
    founding.found(Settings(data=tmp_path), demo=False)
    lake = Lake(tmp_path / "lake")
    lake.append("a", joined(*(steady(one) for one in (1, 2))))
    lake.roll()
    damaged = tmp_path / place
    damaged.parent.mkdir(parents=True, exist_ok=True)
    damaged.write_text(content)
    answer = CliRunner().invoke(commands.main, ["verify", "--data", str(tmp_path), "--json"])
    assert answer.exit_code == 1, answer.output
    assert any(str(damaged) in one for one in json.loads(answer.stdout)["problems"]), answer.stdout


def test_a_lake_that_does_not_say_what_it_is(tmp_path: Path) -> None:
    founding.found(Settings(data=tmp_path), demo=False)
    (tmp_path / "lake" / "lake.json").write_text("{")
    answer = CliRunner().invoke(commands.main, ["verify", "--data", str(tmp_path)])
    assert (answer.exit_code, "lake.json" in answer.output) == (1, True), answer.output
