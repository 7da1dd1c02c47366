"""Entries of the search: one for each thing that can be found, written with its row and found by any part of what it is called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from typing import Any, cast

from sqlalchemy import (
    DDL,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    String,
    Table,
    Text,
    Update,
    and_,
    bindparam,
    column,
    delete,
    event,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    table,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute, Mapped, mapped_column

from quota.actors import Actor
from quota.base import Base
from quota.search import grams
from quota.transactions import Tx

ALONE = "search"
"""What a transaction that writes entries waits to be alone with; between the head of the audit chain and that of the seals."""
PART = 500
"""Rows that are looked at at once."""
SPAN = 1 << 40
"""Of the ids of entries, for each kind: the first in rank comes first, and of a kind the newest."""


class SearchEntry(Base):
    """What ``ref`` (the id of a row of ``kind``) is called. ``told``: all that it is found by, as ``grams.normal`` has it.
    ``department_id`` and ``pool_id`` narrow what is looked at; the right to see it is asked of the row itself. ``state``: as that
    has it, empty where it has none."""

    __tablename__ = "search_entries"
    __table_args__: Any = {"info": {"numbered": "ref"}}  # noqa: RUF012 - ids count down from the ends of wide spans

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16))
    ref: Mapped[int] = mapped_column(Integer)
    title: Mapped[str] = mapped_column(String(256))
    detail: Mapped[str] = mapped_column(String(512))
    told: Mapped[str] = mapped_column(Text)
    department_id: Mapped[int | None] = mapped_column(Integer)
    pool_id: Mapped[int | None] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(24))


GRAMS_DDL: Mapping[str, tuple[str, ...]] = {
    "sqlite": (
        "DROP TABLE IF EXISTS search_grams",
        "CREATE VIRTUAL TABLE search_grams USING fts5(told, content='', tokenize='ascii')",
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION guanjia_grams(text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS "
        "$$ SELECT array_agg(DISTINCT substr($1, i, 2)) FROM generate_series(1, length($1) - 1) AS i $$",
        "CREATE INDEX ix_search_entries_grams ON search_entries USING gin (guanjia_grams(told))",
    ),
}  # fmt: skip
"""What is made beside the table, by dialect."""
NO_GRAMS_DDL: Mapping[str, tuple[str, ...]] = {
    "sqlite": ("DROP TABLE search_grams",),
    "postgresql": ("DROP INDEX ix_search_entries_grams", "DROP FUNCTION guanjia_grams(text)"),
}

BESIDE: Mapping[str, str] = {"sqlite": "search_grams", "postgresql": "ix_search_entries_grams"}
"""The name of what no model says."""

for _dialect, _statements in GRAMS_DDL.items():
    for _statement in _statements:
        event.listen(
            SearchEntry.__table__,
            "after_create",
            DDL(_statement.replace("%", "%%")).execute_if(dialect=_dialect),  # type: ignore[no-untyped-call]
        )

_grams = table("search_grams", column("rowid", BigInteger))


@dataclass(frozen=True, slots=True)
class Sought:
    """A kind of thing that can be found. ``rows``: a query of its id, ``department_id``, ``pool_id``, ``state`` and what ``tell`` makes of
    such a row: its title, a line about it, and what it is found by besides. ``visible`` is the right to see it. ``follows``: table → column of
    ``model`` that refers to it, where what is told changes with a row of that. ``narrowed`` False: departments and companies see
    more of it than their own, so that these narrow nothing."""

    kind: str
    rank: int
    model: type[Base]
    rows: Select[*tuple[Any, ...]]
    tell: Callable[[Any], tuple[str, str, Sequence[str]]]
    visible: Callable[[Tx, Actor], ColumnElement[bool]]
    follows: Mapping[str, Any] = field(default_factory=dict)
    narrowed: bool = True

    def number(self, ref: int) -> int:
        """The id of the entry of a row."""
        return (self.rank + 1) * SPAN - ref

    def entry(self, row: Any) -> dict[str, Any]:
        title, detail, more = self.tell(row)
        told = (grams.normal(one) for one in dict.fromkeys((title, *more)) if one)
        return {
            "id": self.number(row.id), "kind": self.kind, "ref": row.id, "title": title[:256], "detail": detail[:512],
            "told": grams.BREAK.join(told), "department_id": row.department_id, "pool_id": row.pool_id, "state": row.state or "",
        }  # fmt: skip


SOUGHT: dict[str, Sought] = {}
"""What can be found, by kind."""


def register(sought: Sought) -> None:
    """Have this kind of thing found."""
    SOUGHT[sought.kind] = sought
    _rows_of.cache_clear()


# ------------------------------------------------------------------------------------------------------------- writing


def keep(tx: Tx) -> None:
    """Write the entries of the rows that ``tx`` wrote, as they are now. Called by ``Book.transaction`` before it commits.

    One transaction at a time: what an entry says comes from several rows, and whoever wrote one of them must not see the others as they
    were before somebody who commits just now."""
    if not any({one.model.__tablename__, *one.follows} & tx.touched.keys() for one in SOUGHT.values()):
        return
    tx.alone(ALONE)
    for one in SOUGHT.values():
        ids = {int(key[0]) for key in tx.touched.get(one.model.__tablename__, ())}
        for place_, refers in one.follows.items():
            changed = sorted(int(key[0]) for key in tx.touched.get(place_, ()))
            for part in _parts(changed):
                ids.update(tx.scalars(select(id_of(one)).where(refers.in_(part))))
        _write(tx, one, sorted(ids))


def fill(tx: Tx, tables: Collection[str] = ()) -> None:
    """Write the entries of all rows of the kinds that have none yet, and of those of ``tables``, which were rewritten."""
    tx.alone(ALONE)
    for one in SOUGHT.values():
        span = SearchEntry.id.between(one.number(SPAN - 1), one.number(0))
        there = tx.scalar(select(SearchEntry.id).where(span).limit(1))
        if there is None or {one.model.__tablename__, *one.follows} & set(tables):
            _write(tx, one, tx.scalars(select(id_of(one)).order_by(id_of(one))).all())


def id_of(one: Sought) -> InstrumentedAttribute[int]:
    found: InstrumentedAttribute[int] = one.model.id  # type: ignore[attr-defined]
    return found


def _parts(ids: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(ids)
    while part := list(islice(rest, PART)):
        yield part


def _write(tx: Tx, one: Sought, ids: Sequence[int]) -> None:
    """The entries of these rows, as the rows are: new, changed, or gone with them. What says the same stays untouched."""
    entries = cast("Table", SearchEntry.__table__)
    for part in _parts(ids):
        now = {entry["id"]: entry for entry in map(one.entry, tx.execute(_rows_of(one.kind), {"some": part}))}
        numbers = [one.number(ref) for ref in part]
        before = {row["id"]: dict(row) for row in tx.connection().execute(_known(), {"some": numbers}).mappings()}
        new = [entry for number, entry in now.items() if number not in before]
        changed = [entry for number, entry in now.items() if number in before and before[number] != entry]
        gone = [number for number in before if number not in now]
        connection = tx.connection()
        if tx.dialect == "sqlite":
            other = [each for each in changed if any(before[each["id"]][name] != each[name] for name in SPELLED)]
            _spell(tx, one, [before[number] for number in [*(each["id"] for each in other), *gone]], forget=True)
            _spell(tx, one, [*new, *other])
        if gone:
            connection.execute(delete(entries).where(entries.c.id.in_(gone)))
        if changed:
            rows = [{f"new_{name}": value for name, value in each.items()} for each in changed]
            connection.execute(_changes(), rows)
        if new:
            connection.execute(insert(entries), new)


# Every write passes here: statements that are made once.


@cache
def _rows_of(kind: str) -> Select[*tuple[Any, ...]]:
    one = SOUGHT[kind]
    return one.rows.where(id_of(one).in_(bindparam("some", expanding=True)))


@cache
def _known() -> Select[*tuple[Any, ...]]:
    entries = cast("Table", SearchEntry.__table__)
    return select(entries).where(entries.c.id.in_(bindparam("some", expanding=True)))


@cache
def _changes() -> Update:
    entries = cast("Table", SearchEntry.__table__)
    values: dict[str, Any] = {one.name: bindparam(f"new_{one.name}") for one in entries.columns if one.name != "id"}
    return update(entries).where(entries.c.id == bindparam("new_id")).values(values)


def _spell(tx: Tx, one: Sought, entries: Sequence[Mapping[str, Any]], *, forget: bool = False) -> None:
    """Enter entries into the full-text table, or take them out of it, which wants the same tokens again."""
    if not entries:
        return
    into = (
        "search_grams(search_grams, rowid, told) VALUES ('delete', " if forget else "search_grams(rowid, told) VALUES ("
    )
    rows = [
        {"id": each["id"], "told": grams.tokens(each["told"], marks_of(one, each["department_id"], each["pool_id"]))}
        for each in entries
    ]
    tx.connection().execute(text(f"INSERT INTO {into}:id, :told)"), rows)


SPELLED = ("told", "department_id", "pool_id")
"""What the tokens of an entry say."""
EVERYBODYS = "x"
"""The mark of what neither a department nor a pool narrows; w12 is that of a department, p3 that of a pool."""


def marks_of(one: Sought, department_id: int | None, pool_id: int | None) -> list[str]:
    if not one.narrowed:
        return [EVERYBODYS]
    return [f"{letter}{number}" for letter, number in (("w", department_id), ("p", pool_id)) if number is not None]


# ------------------------------------------------------------------------------------------------------------- finding


def found(
    tx: Tx,
    actor: Actor,
    typed: str,
    *,
    departments: Collection[int] | None = None,
    pools: Collection[int] | None = None,
) -> Select[Any]:
    """The entries that hold every word of what was ``typed`` and that ``actor`` may see; none for nothing typed.

    ``departments`` or ``pools``: his own, where he sees no others': they narrow what is looked at. To be sorted by ``place``.
    """
    wanted = grams.words(typed)
    rights = {one.kind: one.visible(tx, actor) for one in SOUGHT.values()}
    kinds = [one for one in SOUGHT.values() if not rights[one.kind].compare(false())]
    query = select(SearchEntry)
    if tx.dialect == "sqlite":
        query = query.join(_grams, _grams.c.rowid == SearchEntry.id)
    if not wanted or not kinds:
        return query.where(false())
    if tx.dialect == "sqlite":
        own = {"w": departments, "p": pools}
        marks = [f"{letter}{number}" for letter, ids in own.items() for number in sorted(ids or ())]
        narrow = departments is not None or pools is not None
        asked = grams.phrase(wanted, [*marks, EVERYBODYS] if narrow else [])
        query = query.where(text("search_grams MATCH :asked").bindparams(asked=asked))
    else:
        pairs = list(dict.fromkeys(pair for word in wanted for pair in grams.pairs(word)))
        if pairs:
            query = query.where(func.guanjia_grams(SearchEntry.told).op("@>")(bindparam(None, pairs, ARRAY(Text))))
        query = query.where(*(func.strpos(SearchEntry.told, word) > 0 for word in wanted))
        free = [one.kind for one in kinds if not one.narrowed]
        for column_, ids in ((SearchEntry.department_id, departments), (SearchEntry.pool_id, pools)):
            if ids is not None:
                query = query.where(or_(column_.in_(sorted(ids)), SearchEntry.kind.in_(free)))
    return query.where(or_(*(_seen(one, rights[one.kind]) for one in kinds)))


def place(tx: Tx) -> Any:
    """By what entries are sorted: by their ids, on SQLite as the full-text table has them, which are in order as they are found."""
    return _grams.c.rowid if tx.dialect == "sqlite" else SearchEntry.id


def _seen(one: Sought, may: ColumnElement[bool]) -> ColumnElement[bool]:
    if may.compare(true()):
        return SearchEntry.kind == one.kind
    return and_(SearchEntry.kind == one.kind, exists().where(id_of(one) == SearchEntry.ref, may))
