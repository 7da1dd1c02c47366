"""Reading a book that may have been changed behind its back: what cannot be read is named by its table and key, and the
reading goes on.

SQLite keeps any value in any column, and a database that was restored or written to by hand holds what no rule of ours let
in. So a check trusts neither that a row can be read nor that what was read makes sense.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    Select,
    Table,
    and_,
    exists,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import JSON, NullType

from quota import spans
from quota.base import Base
from quota.spans import WHOLE, NumberSpan
from quota.transactions import Tx

BATCH = 500
FAR = 4096
"""Parts of a table that are counted up to its highest number: where that is higher still, there are gaps."""
MOST_SAID = 300
"""Characters of an error that are shown: it may hold the whole row."""

PLAIN: dict[type, tuple[type, ...]] = {
    int: (int,),
    float: (float, int),
    str: (str,),
    bool: (bool,),
    bytes: (bytes, memoryview),
    datetime: (datetime,),
    date: (date,),
    Decimal: (Decimal, int),
}
"""Python type of a column → types of the values that it may hold."""

Found = TypeVar("Found")


@contextmanager
def going_on(said: list[str], table: str, key: object) -> Iterator[None]:
    """What goes wrong in the block is said of the row, and no more."""
    try:
        yield
    except Exception as error:
        said.append(f"{table}: row {key} cannot be checked: {_told(error)}")


def to_the_end(what: str, check: Iterable[str]) -> Iterator[str]:
    """The sentences of a check, and one more where it did not come to its end."""
    try:
        yield from check
    except Exception as error:
        yield f"{what}: the check could not be finished: {_told(error)}"


def rows(tx: Tx, query: Select[Found], said: list[str]) -> Iterator[Found]:
    """The objects of ``query`` (of one mapped class) that can be read and hold what their columns say.

    Of each other row a sentence is added to ``said``.
    """
    table: Table = query.column_descriptions[0]["entity"].__table__
    for one in _careful(tx, query, table, said, lambda asked: tx.scalars(asked)):
        values = {column.name: vars(one)[column.key] for column in table.columns if column.key in vars(one)}
        if wrong := _misfit(table, values):
            said.append(f"{table.name}: row {_key(values[column.name] for column in table.primary_key)} {wrong}")
        else:
            yield one


def readable(tx: Tx, query: Select[*tuple[Any, ...]], table: Table, said: list[str]) -> Iterator[Any]:
    """The rows of ``query``, one for each row of ``table``, as far as they can be read; of each other row a sentence is added to
    ``said``, whichever of the tables that are read with it has what cannot be read."""
    yield from _careful(tx, query, table, said, lambda asked: tx.execute(asked))


def mappings(tx: Tx, query: Select[Any], table: Any, said: list[str]) -> Iterator[Any]:
    """The rows of ``query`` (of columns, all of ``table`` among them) by the names of their columns, as far as they can be
    read; of each other row a sentence is added to ``said``."""
    yield from _careful(tx, query, table, said, lambda asked: tx.execute(asked).mappings())


def check(tx: Tx) -> Iterator[str]:
    """Read every row of every table: a sentence for each that cannot be read, holds what its column cannot hold, or names
    a row that is not there."""
    for table in Base.metadata.sorted_tables:
        yield from check_table(tx, table)


def check_table(tx: Tx, table: Table, span: NumberSpan = WHOLE) -> Iterator[str]:
    """As ``check``, of one table, or of its rows of these numbers."""
    yield from to_the_end(table.name, _unsound(tx, table, span))
    for constraint in sorted(table.foreign_key_constraints, key=lambda one: str(one.name)):
        yield from to_the_end(table.name, _dangling(tx, table, constraint, span))


def _unsound(tx: Tx, table: Table, span: NumberSpan) -> Iterator[str]:
    columns = [
        # A boolean of SQLite is read as whatever Python holds for true.
        type_coerce(column, NullType()).label(column.name) if _bit(tx, column) else column
        for column in table.columns
        if not isinstance(column.type, LargeBinary)  # its own check reads it
    ]
    query = select(*columns).where(*within(table, span)).order_by(*table.primary_key)
    said: list[str] = []
    for row in _careful(tx, query, table, said, lambda asked: tx.execute(asked).mappings()):
        yield from said
        said.clear()
        if wrong := _misfit(table, row, bits=tx.dialect == "sqlite"):
            yield f"{table.name}: row {_key(row[column.name] for column in table.primary_key)} {wrong}"
    yield from said


def _dangling(tx: Tx, table: Table, constraint: ForeignKeyConstraint, span: NumberSpan) -> Iterator[str]:
    referred = constraint.referred_table
    parent = referred.alias() if referred is table else referred
    pairs = [(one.parent, parent.columns[one.column.name]) for one in constraint.elements]
    there = exists(
        select(1).select_from(parent).correlate(table).where(and_(*(there == here for here, there in pairs)))
    )
    query = select(*map(_raw, table.primary_key)).where(
        *within(table, span), *(here.is_not(None) for here, _there in pairs), ~there
    )
    names = ", ".join(here.name for here, _there in pairs)
    for key in tx.execute(query.order_by(*table.primary_key)):
        yield f"{table.name}: row {_key(key)} names by {names} a row of {referred.name} that is not there"


def numbered(table: Table) -> Column[Any] | None:
    """The column of a table's key by whose numbers it is read in parts; None where there is none."""
    named = table.info.get("numbered")
    return table.c[named] if named else next((one for one in table.primary_key if isinstance(one.type, Integer)), None)


def parts(tx: Tx, table: Table, size: int | None = None) -> list[NumberSpan]:
    """The rows of ``table`` in parts of ``size`` numbers that are read one after the other, the newest last."""
    column, size = numbered(table), size or spans.SPAN
    newest = None if column is None else tx.scalar(select(func.max(column)))
    if column is None or not isinstance(newest, int):
        return [WHOLE]
    if newest <= FAR * size:
        return spans.spans(newest, size)
    query = select((column - 1) / literal_column(str(size))).where(column > 0).distinct()  # of whole numbers
    return spans.buckets(sorted(int(one) for one in tx.scalars(query)), size)


def within(table: Table, span: NumberSpan) -> list[ColumnElement[bool]]:
    """What a query asks for the rows of these numbers: nothing where rows have none."""
    column = numbered(table)
    return [] if column is None else span.of(column)


def _careful(
    tx: Tx, query: Select[Any], table: Table, said: list[str], ask: Callable[[Select[Any]], Iterable[Found]]
) -> Iterator[Found]:
    """What ``ask`` gives for ``query``: all in one go, and from the first row that cannot be read on, some at a time."""
    done = 0
    source = (one for part in [query.execution_options(yield_per=BATCH)] for one in ask(part))  # nothing is asked yet
    while True:
        try:
            one = next(source)
        except StopIteration:
            return
        except Exception:
            break
        done += 1
        yield one
    raw = list(map(_raw, table.primary_key))
    keys = tx.execute(query.with_only_columns(*raw, maintain_column_froms=True)).all()[done:]
    while keys:
        some, keys = keys[:BATCH], keys[BATCH:]
        try:
            yield from list(ask(query.where(or_(*(_is(raw, key) for key in some)))))
            continue
        except Exception:  # noqa: S110 - one of them; which one, is seen below
            pass
        for key in some:
            try:
                found = list(ask(query.where(_is(raw, key))))
            except Exception as error:
                said.append(f"{table.name}: row {_key(key)} cannot be read: {_told(error)}")
                continue
            yield from found


def _raw(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column as the driver reads it."""
    return type_coerce(column, NullType())


def _is(raw: list[ColumnElement[Any]], key: Iterable[Any]) -> ColumnElement[bool]:
    return and_(*(column == value for column, value in zip(raw, key, strict=True)))


def _bit(tx: Tx, column: Column[Any]) -> bool:
    return tx.dialect == "sqlite" and isinstance(column.type, Boolean)


def _misfit(table: Table, values: Any, *, bits: bool = False) -> str:
    """What a row holds that its column cannot; empty where all is well. ``bits``: booleans are as the driver read them."""
    for column in table.columns:
        if column.name not in values or isinstance(column.type, JSON):
            continue
        value = values[column.name]
        if value is None:
            if not column.nullable:
                return f"has no {column.name}"
        elif bits and isinstance(column.type, Boolean):
            if type(value) is not int or value not in (0, 1):
                return f"holds {_shown(value)} as {column.name}, which is neither 0 nor 1"
        elif type(value) not in PLAIN.get(column.type.python_type, (type(value),)):
            return f"holds {_shown(value)} as {column.name}, which is no {column.type.python_type.__name__}"
    return ""


def _key(values: Iterable[Any]) -> str:
    return "/".join(str(one) for one in values)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:MOST_SAID]
