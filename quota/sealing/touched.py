"""Which rows a transaction wrote: every way by which a session writes passes here, and one that cannot be followed is refused.

Objects are seen when they are flushed; statements that write past the session are asked which rows they wrote. Keys alone
are kept: what a row holds is read again when it is sealed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, RowMapping, Table, TextClause, event
from sqlalchemy.engine import Connection, Result
from sqlalchemy.orm import Mapper, ORMExecuteState, object_session

from quota.base import Base
from quota.sealing import cover
from quota.transactions import Tx

_WRITES = re.compile(
    r"\s*(insert|update|delete|replace|merge|truncate|with\b.*\b(insert|update|delete))\b", re.I | re.S
)


class Unfollowed(TypeError):
    """A statement writes to a table under seal in a way that does not tell which rows: a fault of the house's own code."""


def _note(tx: Tx, table: Table, key: tuple[Any, ...]) -> None:
    tx.touched.setdefault(table.name, set()).add(key)


def _written(mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    tx, table = object_session(target), mapper.local_table
    if isinstance(tx, Tx) and isinstance(table, Table) and cover.sealed(table):
        _note(tx, table, tuple(mapper.primary_key_from_instance(target)))


def _changed(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """A row of which nothing under seal changed was not written: SQLAlchemy tells of each that was set, be it to what it was. What the
    database reckoned itself is not in hand any more, and counts as changed."""
    place: str = mapper.local_table.name  # type: ignore[attr-defined]
    passing = cover.PASSING[place][0] if place in cover.PASSING else frozenset[str]()
    state, told = target.__dict__["_sa_instance_state"], target.__dict__
    for one in mapper.column_attrs:
        if one.columns[0].name in passing:
            continue
        if one.key not in told or mapper.class_manager[one.key].impl.get_history(state, told).has_changes():
            _written(mapper, connection, target)
            return


event.listen(Base, "after_insert", _written, propagate=True)
event.listen(Base, "after_delete", _written, propagate=True)
event.listen(Base, "after_update", _changed, propagate=True)


@event.listens_for(Tx, "do_orm_execute")
def _executed(state: ORMExecuteState) -> Result[Any] | None:
    """Have a statement that writes tell the keys of the rows that it wrote."""
    statement: Any = state.statement
    if isinstance(statement, TextClause):
        if _WRITES.match(statement.text):
            raise Unfollowed(f"text that writes is not sealed: {statement.text[:80]!r}")
        return None
    if not (state.is_insert or state.is_update or state.is_delete):
        return None
    table, tx = statement.table, state.session
    if not isinstance(tx, Tx) or not isinstance(table, Table) or not cover.sealed(table):
        return None
    given = state.parameters
    if state.is_update and isinstance(given, Sequence):
        for row in given:
            if not _passes(table, row):
                _note(tx, table, _named(table, row))
        return None
    if state.is_update and _passes(table, _set(statement)):
        return None
    tx.flush()
    told = {one.name for one in statement.exported_columns if isinstance(one, Column)}
    asks = bool(list(statement.exported_columns))
    if asks and (missing := {one.name for one in table.primary_key} - told):
        raise Unfollowed(
            f"{table.name} is under seal, and what is returned does not tell its {', '.join(sorted(missing))}"
        )
    found = state.invoke_statement(statement=statement if asks else statement.returning(*table.primary_key))
    if not asks:
        for key in found:
            _note(tx, table, tuple(key))
        return found
    kept = found.freeze()
    for written in kept().mappings():
        _note(tx, table, _named(table, written))
    return kept()


def _named(table: Table, row: Mapping[Any, Any] | RowMapping) -> tuple[Any, ...]:
    """The key of a row that is given by the names of its columns."""
    by_name = {getattr(name, "key", name): value for name, value in row.items()}
    try:
        return tuple(by_name[one.name] for one in table.primary_key)
    except KeyError as missing:
        raise Unfollowed(f"{table.name} is under seal, and what is written does not tell its {missing}") from None


def _set(statement: Any) -> Sequence[str]:
    """The columns that an UPDATE sets."""
    return [getattr(one, "name", one) for one in statement._values or ()]


def _passes(table: Table, names: Any) -> bool:
    """Whether none of ``names`` is a column under seal, the key apart."""
    if table.name not in cover.PASSING:
        return False
    keys = {one.name for one in table.primary_key}
    return {getattr(one, "key", one) for one in names} <= cover.PASSING[table.name][0] | keys
