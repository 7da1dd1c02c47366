"""Holding the rows of the book against their seals, and the seals against their chain.

Rows and seals are streamed, never held at once. The chain is recomputed whole each time: it is what all else rests on. Rows
are read whole too, but for ``turn``: there tables of more than ``SMALL`` rows are read by that share of their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Date, Integer, String, Table, func, select

from quota.audit import AuditRecord
from quota.inspection import going_on, mappings, share, to_the_end
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
from quota.transactions import Tx

SMALL = 20_000


def check(tx: Tx, turn: int | None = None, turns: int = 1, counts: dict[str, int] | None = None) -> Iterator[str]:
    """The chain, and every table under seal: a sentence for each seal and row that does not fit, naming it. ``counts`` is told
    under "sealed_rows" how many rows were read, and under "left" how many were not."""
    yield from check_chain(tx)
    for table in cover.under_seal():
        yield from to_the_end(table.name, check_table(tx, table, turn, turns, counts))


def check_chain(tx: Tx) -> Iterator[str]:
    """Walk the whole chain of sealings with the seals of each."""
    said: list[str] = []
    sealings = Sealing.__table__
    query = (
        select(sealings, AuditRecord.digest.label("record_digest"))
        .outerjoin(AuditRecord, AuditRecord.sequence == sealings.c.record)
        .order_by(sealings.c.sequence)
    )
    seals = _grouped(tx, said)
    waiting = next(seals, None)
    previous, expected = GENESIS, 1
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
            if linked(previous, content, row["record_digest"] or GENESIS, mine) != row["digest"]:
                said.append(
                    f"sealings: row {number} (by {row['actor']}, after audit record {row['record']}) does not match its seal: "
                    "it, that record, or one of its row_seals was changed, added or removed"
                )
        yield from said
        said.clear()
        previous, expected = row["digest"], number + 1
    while waiting is not None:
        yield f"row_seals: {len(waiting[1])} seals are of sealing {waiting[0]}, which is not there"
        waiting = next(seals, None)
    unread = bool(said)
    yield from said
    if head(tx) != (expected - 1, previous) and not unread:
        yield f"seal_head: row 1 says {head(tx)[0]} sealings, the chain ends at {expected - 1}"


def _grouped(tx: Tx, said: list[str]) -> Iterator[tuple[int, list[Seal]]]:
    """The seals of each sealing, in its order."""
    seals = RowSeal.__table__
    rows = mappings(tx, select(seals).order_by(seals.c.sealing), seals, said)
    for number, some in groupby(rows, key=lambda row: row["sealing"]):
        yield number, [Seal(row["place"], row["key"], row["layout"], row["digest"], row["hints"]) for row in some]


def check_table(
    tx: Tx, table: Table, turn: int | None = None, turns: int = 1, counts: dict[str, int] | None = None
) -> Iterator[str]:
    """Every row of ``table`` against the newest seal that names it, and the other way round."""
    whole = tx.scalar(select(func.count()).select_from(table)) or 0
    if turn is not None and whole <= SMALL:
        turn = None
    layouts = {
        one.id: one.columns.split()
        for one in tx.execute(select(SealLayout.__table__).where(SealLayout.place == table.name))
        if isinstance(one.columns, str)
    }
    said: list[str] = []
    query = select(table).where(*share(table, turn, turns)).order_by(*table.primary_key)
    rows, read = mappings(tx, query, table, said), 0
    while part := list(islice(rows, ASKED)):
        read += len(part)
        by_key = {spelled(row[one.name] for one in table.primary_key): row for row in part}
        seals = latest(tx, table.name, list(by_key))
        for key, row in by_key.items():
            with going_on(said, table.name, key):
                said += _held_against(tx, table, key, row, seals.get(key), layouts)
        yield from said
        said.clear()
    yield from said
    yield from _gone(tx, table, turn, turns)
    if counts is not None:
        counts["sealed_rows"] = counts.get("sealed_rows", 0) + read
        counts["left"] = counts.get("left", 0) + max(0, whole - read)


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


def _gone(tx: Tx, table: Table, turn: int | None, turns: int) -> Iterator[str]:
    """Rows that their newest seal says are there, and that are not."""
    seals = RowSeal.__table__
    keys = (
        select(seals.c.key, func.max(seals.c.sealing).label("sealing"))
        .where(seals.c.place == table.name)
        .group_by(seals.c.key)
        .order_by(seals.c.key)
    )
    found = iter(tx.execute(keys.execution_options(yield_per=ASKED)))
    while part := list(islice(found, ASKED)):
        parsed = {}
        for key, number in part:
            try:
                wanted = _parsed(table, key)
            except ValueError:
                yield f"row_seals: seal {number} names row {key} of {table.name}, which is no key of it"
                continue
            if turn is None or wanted[0] % turns == turn:
                parsed[key] = wanted
        if not parsed:
            continue
        query = select(*table.primary_key).where(named(table, list(parsed.values())))
        there = {spelled(row) for row in tx.execute(query)}
        missing = [key for key in parsed if key not in there]
        for key, seal in latest(tx, table.name, missing).items():
            if seal.digest:
                yield f"{table.name}: row {key} is gone: {_told(tx, seal.sealing)} says that it is there"


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
