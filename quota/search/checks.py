"""The index of the search held against the rows that it is of, a part after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, cast

from sqlalchemy import Row, Table, select, text

from quota.inspection import mappings, readable
from quota.search import grams
from quota.search.entries import PART, SOUGHT, SearchEntry, Sought, id_of, marks_of
from quota.spans import WHOLE, NumberSpan
from quota.transactions import Tx


def check(tx: Tx, kind: str, span: NumberSpan = WHOLE) -> Iterator[str]:
    """Every entry of ``kind``, or those of rows of these numbers, against what its row is called: a sentence for each that is missing,
    says something else, is of no row, or is not what the full-text table beside it has."""
    one, low = SOUGHT[kind], span.low
    said: list[str] = []
    query = one.rows.where(*span.of(id_of(one))).order_by(id_of(one))
    rows = readable(tx, query, cast("Table", one.model.__table__), said)
    while part := list(islice(rows, PART)):
        last = part[-1].id
        yield from _compared(tx, one, NumberSpan(low, last), part)
        low = last + 1
    yield from _compared(tx, one, NumberSpan(low, span.high), [])
    yield from said


def _compared(tx: Tx, one: Sought, span: NumberSpan, rows: list[Row[Any]]) -> Iterator[str]:
    """The entries of these rows, which are all that there are within ``span``."""
    said: list[str] = []
    entries = SearchEntry.__table__
    query = select(entries).where(entries.c.kind == one.kind, *span.of(entries.c.ref)).order_by(entries.c.id)
    if span.low is not None and span.high is not None:  # by the key, where there are both ends
        query = query.where(entries.c.id.between(one.number(span.high), one.number(span.low)))
    there: dict[int, Mapping[str, Any]] = {row["id"]: row for row in mappings(tx, query, entries, said)}
    yield from said
    right = []
    for row in rows:
        try:
            wanted = one.entry(row)
        except Exception:  # a column holds what it cannot: that is named where its table is looked at
            there.pop(one.number(row.id), None)
            continue
        found = there.pop(wanted["id"], None)
        if found is None:
            yield f"search_entries: {one.kind} {row.id} has no entry: it cannot be found"
        elif differing := [name for name, value in wanted.items() if found[name] != value]:
            yield f"search_entries: row {wanted['id']} ({one.kind} {row.id}) differs in {', '.join(sorted(differing))} from its row"
        else:
            right.append(wanted)
    unread: set[int] = set()
    refs = iter([found["ref"] for found in there.values()])
    while some := list(islice(refs, PART)):
        unread.update(tx.scalars(select(id_of(one)).where(id_of(one).in_(some))))
    for number, found in there.items():
        if found["ref"] in unread:  # its row is named as what it is
            continue
        yield f"search_entries: row {number} is of {one.kind} {found['ref']}, which is not there"
    if tx.dialect == "sqlite":
        yield from _spelled(tx, one, right)


def _spelled(tx: Tx, one: Sought, entries: list[dict[str, Any]]) -> Iterator[str]:
    """The full-text table, which holds no rows: whether each entry is found there by all that it is called, in order."""
    asked = text("SELECT 1 FROM search_grams WHERE search_grams MATCH :asked AND rowid = :id")
    for each in entries:
        tokens = grams.tokens(each["told"], marks_of(one, each["department_id"], each["pool_id"]))
        if tx.execute(asked, {"asked": f'"{tokens}"', "id": each["id"]}).first() is None:
            yield f"search_grams: row {each['id']} ({one.kind} {each['ref']}) is not what its entry says: it cannot be found by all of it"


def check_strays(tx: Tx) -> Iterator[str]:
    """Entries of a kind that nothing is searched for by or under another number than their row's, and what of the full-text table has no
    entry."""
    for number in tx.scalars(select(SearchEntry.id).where(SearchEntry.kind.not_in(SOUGHT)).order_by(SearchEntry.id)):
        yield f"search_entries: row {number} is of a kind that is none"
    for one in SOUGHT.values():
        astray = select(SearchEntry.id).where(
            SearchEntry.kind == one.kind, SearchEntry.id + SearchEntry.ref != one.number(0)
        )
        for number in tx.scalars(astray.order_by(SearchEntry.id)):
            yield f"search_entries: row {number} is of {one.kind} {one.number(0) - number} by its number, and says another"
    if tx.dialect == "sqlite":
        asked = text("SELECT id FROM search_grams_docsize WHERE id NOT IN (SELECT id FROM search_entries) ORDER BY id")
        for (number,) in tx.execute(asked):
            yield f"search_grams: row {number} has no entry"
