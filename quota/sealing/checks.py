"""Holding the rows of the book against their seals, and the seals against their chain.

Rows and seals are streamed, never held at once. Either may be read in parts: rows by their numbers, each held against the newest
seal that names it; the chain by the numbers of its sealings, each seal that is the newest of its row asked whether the row is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Date, Integer, String, Table, exists, select

from quota.audit import AuditRecord
from quota.base import Base
from quota.inspection import going_on, mappings, to_the_end, within
from quota.sealing import cover
from quota.sealing.rows import (
    ASKED,
    RowSeal,
    Seal,
    Sealing,
    SealLayout,
    digest_of,
    head,
    latest,
    linked,
    named,
    spelled,
)
from quota.seals import GENESIS
from quota.spans import WHOLE, Links, NumberSpan
from quota.transactions import Tx


def check(tx: Tx) -> Iterator[str]:
    """The chain, and every table under seal: a sentence for each seal and row that does not fit, naming it."""
    yield from check_chain(tx)
    for table in cover.under_seal():
        yield from to_the_end(table.name, check_table(tx, table))
        yield from to_the_end(table.name, check_gone(tx, table))


def check_chain(tx: Tx, span: NumberSpan = WHOLE, links: Links | None = None) -> Iterator[str]:
    """Walk the chain of sealings, or the part of it with these numbers, with the seals of each. ``links`` is told every link that
    was passed."""
    said: list[str] = []
    sealings = Sealing.__table__
    query = (
        select(sealings, AuditRecord.digest.label("record_digest"))
        .outerjoin(AuditRecord, AuditRecord.sequence == sealings.c.record)
        .where(*span.of(sealings.c.sequence))
        .order_by(sealings.c.sequence)
    )
    expected = span.low or 1
    previous = GENESIS if expected == 1 else tx.scalar(select(Sealing.digest).where(Sealing.sequence == expected - 1))
    if previous is None:
        yield f"sealings: row {expected - 1} is missing (next is {expected})"
    seals = _grouped(tx, span, said)
    waiting = next(seals, None)
    for row in mappings(tx, query, sealings, said):
        number = row["sequence"]
        if number != expected and not said:
            yield f"sealings: row {expected} is missing (next is {number})"
        while waiting is not None and waiting[0] < number:
            yield f"row_seals: {len(waiting[1])} seals are of sealing {waiting[0]}, which is not there"
            waiting = next(seals, None)
        mine: list[Seal] = []
        if waiting is not None and waiting[0] == number:
            mine, waiting = waiting[1], next(seals, None)
        with going_on(said, "sealings", number):
            content = {name: row[name] for name in ("sequence", "at", "actor", "record", "rows", "as_found")}
            right = (
                previous is None or linked(previous, content, row["record_digest"] or GENESIS, mine) == row["digest"]
            )
            if not right:
                said.append(
                    f"sealings: row {number} (by {row['actor']}, after audit record {row['record']}) does not match its seal: "
                    "it, that record, or one of its row_seals was changed, added or removed"
                )
        yield from said
        said.clear()
        previous, expected = row["digest"], number + 1
        if links is not None:
            links.add(number, row["digest"])
    while waiting is not None:
        yield f"row_seals: {len(waiting[1])} seals are of sealing {waiting[0]}, which is not there"
        waiting = next(seals, None)
    unread = bool(said)
    yield from said
    if unread:
        return
    if span.high is not None:
        if expected <= span.high:
            yield f"sealings: row {expected} is missing (the chain goes on behind {span.high})"
    elif (end := head(tx)) != (expected - 1, previous):
        yield f"seal_head: row 1 says {end[0]} sealings, the chain ends at {expected - 1}"


def _grouped(tx: Tx, span: NumberSpan, said: list[str]) -> Iterator[tuple[int, list[Seal]]]:
    """The seals of each sealing of these numbers, in its order."""
    seals = RowSeal.__table__
    rows = mappings(tx, select(seals).where(*span.of(seals.c.sealing)).order_by(seals.c.sealing), seals, said)
    for number, some in groupby(rows, key=lambda row: row["sealing"]):
        yield number, [Seal(row["place"], row["key"], row["layout"], row["digest"], row["hints"]) for row in some]


def check_table(tx: Tx, table: Table, span: NumberSpan = WHOLE, counts: dict[str, int] | None = None) -> Iterator[str]:
    """Every row of ``table``, or those of these numbers, against the newest seal that names it. ``counts`` is told under
    "sealed_rows" how many were read."""
    layouts = {
        one.id: one.columns.split()
        for one in tx.execute(select(SealLayout.__table__).where(SealLayout.place == table.name))
        if isinstance(one.columns, str)
    }
    said: list[str] = []
    query = select(table).where(*within(table, span)).order_by(*table.primary_key)
    rows = mappings(tx, query, table, said)
    while part := list(islice(rows, ASKED)):
        if counts is not None:
            counts["sealed_rows"] = counts.get("sealed_rows", 0) + len(part)
        by_key = {spelled(row[one.name] for one in table.primary_key): row for row in part}
        seals = latest(tx, table.name, list(by_key))
        for key, row in by_key.items():
            with going_on(said, table.name, key):
                said += _held_against(tx, table, key, row, seals.get(key), layouts)
        yield from said
        said.clear()
    yield from said


def _held_against(
    tx: Tx, table: Table, key: str, row: Mapping[str, Any], seal: Any, layouts: Mapping[int, list[str]]
) -> Iterator[str]:
    if seal is None:
        yield f"{table.name}: row {key} has no seal: the book never wrote it"
        return
    if not seal.digest:
        yield f"{table.name}: row {key} is there, and {_told(tx, seal.sealing)} says that it was deleted"
        return
    columns = layouts.get(seal.layout)
    if columns is None:
        yield f"{table.name}: row {key} is sealed by layout {seal.layout}, which is not there"
        return
    if lost := [one for one in columns if one not in row]:
        yield f"{table.name}: row {key} was sealed with {', '.join(lost)}, which its table does not have any more"
        return
    digest, hints = digest_of(columns, row)
    if digest == seal.digest:
        return
    differing = [
        name
        for place, name in enumerate(columns)
        if hints[4 * place : 4 * place + 4] != seal.hints[4 * place : 4 * place + 4]
    ]
    where = f"in {', '.join(differing)} " if differing else ""
    yield f"{table.name}: row {key} differs {where}from {_told(tx, seal.sealing)}"


def _told(tx: Tx, number: int) -> str:
    """Which seal it is: who wrote the row then, and with which audit record."""
    found = tx.execute(select(Sealing.actor, Sealing.record).where(Sealing.sequence == number)).first()
    if found is None:
        return f"its seal {number}, which is in no sealing"
    return f"its seal {number} (by {found.actor}, audit record {found.record})"


def check_gone(tx: Tx, table: Table | None = None, span: NumberSpan = WHOLE) -> Iterator[str]:
    """Rows of ``table``, or of any, that their newest seal says are there, and that are not; of the seals of these sealings alone."""
    seals, later = RowSeal.__table__, RowSeal.__table__.alias()
    again = exists().where(
        later.c.place == seals.c.place, later.c.key == seals.c.key, later.c.sealing > seals.c.sealing
    )
    query = select(seals.c.place, seals.c.key, seals.c.sealing).where(
        seals.c.digest != "", ~again, *span.of(seals.c.sealing)
    )
    if table is not None:
        query = query.where(seals.c.place == table.name)
    found = iter(tx.execute(query.order_by(seals.c.place, seals.c.key).execution_options(yield_per=ASKED)))
    for place, some in groupby(found, key=lambda one: one.place):
        of = Base.metadata.tables.get(place)
        if of is None:  # of a table that this version does not have any more
            continue
        while part := list(islice(some, ASKED)):
            yield from _missing(tx, of, {key: number for _place, key, number in part})


def _missing(tx: Tx, table: Table, sealed: Mapping[str, int]) -> Iterator[str]:
    """Of these keys, which those seals say are there, the ones that are not."""
    wanted = {}
    for key, number in sealed.items():
        try:
            wanted[key] = _parsed(table, key)
        except ValueError:
            yield f"row_seals: seal {number} names row {key} of {table.name}, which is no key of it"
    if not wanted:
        return
    there = {spelled(row) for row in tx.execute(select(*table.primary_key).where(named(table, list(wanted.values()))))}
    for key in wanted:
        if key not in there:
            yield f"{table.name}: row {key} is gone: {_told(tx, sealed[key])} says that it is there"


def _parsed(table: Table, key: str) -> tuple[Any, ...]:
    columns = list(table.primary_key)
    parts = key.split("/", len(columns) - 1)
    if len(parts) != len(columns):
        raise ValueError(key)
    return tuple(_value(column, part) for column, part in zip(columns, parts, strict=True))


def _value(column: Any, part: str) -> Any:
    if isinstance(column.type, Integer):
        value = int(part)
        if not -(2**63) <= value < 2**63:
            raise ValueError(part)
        return value
    if isinstance(column.type, Date):
        return date.fromisoformat(part)
    if isinstance(column.type, String):
        return part
    raise ValueError(part)
