"""The seals of rows: what they are, and how a transaction puts its own behind those of all before it.

A *sealing* holds the digests of the rows that one transaction wrote, read back as the database keeps them, and is linked to
the sealing before it and to the audit record that stood last. ``digest`` of a row is SM3 over its columns under seal in
canonical form; "" says that the row is gone. ``hints`` are two bytes a column (CRC-32, shortened): they prove nothing, and
tell which column it is where a row differs.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from itertools import islice
from json.encoder import encode_basestring
from typing import Any, cast
from weakref import WeakKeyDictionary

from sqlalchemy import (
    CheckConstraint,
    Engine,
    Index,
    RowMapping,
    Select,
    String,
    Table,
    Text,
    and_,
    bindparam,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.orm import Mapped, mapped_column

from quota import audit
from quota.base import Base, append_only
from quota.inspection import mappings
from quota.sealing import cover
from quota.seals import link, plain
from quota.seals import seal as sm3_of
from quota.transactions import Tx

PART = 5000
"""Rows of one sealing at the most: a check holds no more at once."""
ASKED = 500
"""Keys that one query names."""


class Sealing(Base):
    """One link: ``record`` and ``rows`` are numbers (of the audit record that stood last, of rows); ``as_found`` where
    they were sealed as they stood, by a migration."""

    __tablename__ = "sealings"

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(64))
    record: Mapped[int]
    rows: Mapped[int]
    as_found: Mapped[bool] = mapped_column(default=False)
    digest: Mapped[str] = mapped_column(String(64))


class RowSeal(Base):
    """A row of ``place`` (a table) as that sealing found it written."""

    __tablename__ = "row_seals"
    __table_args__ = (Index("ix_row_seals_sealing", "sealing"),)

    place: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(256), primary_key=True)
    sealing: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    layout: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
    hints: Mapped[str] = mapped_column(Text)


class SealLayout(Base):
    """The columns of a table that seals cover from ``since`` on, by name, with spaces between."""

    __tablename__ = "seal_layouts"

    id: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[str] = mapped_column(String(64), index=True)
    columns: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime]


class SealHead(Base):
    """The end of the chain: one row, locked by whoever seals."""

    __tablename__ = "seal_head"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sequence: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))


for _table in (Sealing, RowSeal, SealLayout):
    append_only(_table.__table__)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Seal:
    """What one seal says of one row."""

    place: str
    key: str
    layout: int
    digest: str
    hints: str

    @property
    def line(self) -> str:
        return f"{self.place} {self.key} {self.layout} {self.digest} {self.hints}"


# --------------------------------------------------------------------------------------------------------------- digests


_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def digest_of(columns: Sequence[str], values: Mapping[str, Any] | RowMapping) -> tuple[str, str]:
    """(digest, hints) of a row by the names of its columns under seal, sorted.

    What is digested is ``seals.canonical`` of these columns, put together here column by column: every write pays for it.
    """
    return _digested(_heads(tuple(columns)), [values[name] for name in columns])


def _digested(heads: Sequence[str], values: Sequence[Any]) -> tuple[str, str]:
    parts = [(head + _canonical(value)).encode() for head, value in zip(heads, values, strict=True)]
    hints = "".join([f"{zlib.crc32(part) & 0xFFFF:04x}" for part in parts])
    return sm3_of(b"{" + b",".join(parts) + b"}"), hints


@cache
def _heads(columns: tuple[str, ...]) -> list[str]:
    return [f"{_ENCODER.encode(name)}:" for name in columns]


def _canonical(value: Any) -> str:
    if value is None:
        return "null"
    kind = type(value)
    if kind is int:
        return str(value)
    if kind is str:
        return encode_basestring(value)
    if kind is Decimal:
        return f'"{value}"'
    if kind is dict or kind is list:  # a document, as the database gives it back, is plain already
        return _ENCODER.encode(value)
    if kind is bytes or kind is memoryview:
        value = sm3_of(bytes(value))
    return _ENCODER.encode(plain(value))


def spelled(key: Iterable[Any]) -> str:
    """A key as seals name it: its parts with slashes between."""
    return "/".join(str(plain(one)) for one in key)


def linked(previous: str, sealing: Mapping[str, Any], record_digest: str, seals: Iterable[Seal]) -> str:
    """The digest of a sealing (its columns but the digest) behind ``previous``."""
    lines = sorted(one.line for one in seals)
    return link(previous, {**sealing, "record_digest": record_digest, "seals": sm3_of("\n".join(lines).encode())})


# --------------------------------------------------------------------------------------------------------------- sealing


def head(tx: Tx) -> tuple[int, str]:
    """(number of sealings, digest of the last)."""
    return audit.end_of(tx, _table_of(SealHead))


def changed(tx: Tx, since: int) -> list[str]:
    """The places (tables) of which a row was sealed by a sealing after number ``since``."""
    return list(tx.scalars(select(RowSeal.place).where(RowSeal.sealing > since).distinct()))


def seal(tx: Tx) -> None:
    """Seal the rows that ``tx`` wrote, as the database holds them now. Called by ``Book.transaction`` just before it commits,
    after the audit notes."""
    if not tx.touched:
        return
    tx.flush()
    touched, tx.touched = tx.touched, {}
    last = audit.hold(tx, _table_of(SealHead))
    seals = _seals(tx, touched)
    while part := list(islice(seals, PART)):
        last = _append(tx, last, part)


def begin(tx: Tx) -> dict[str, int]:
    """Seal as they are found the rows of each table that no seal covers yet; table → rows.

    What was changed before is sealed as it was changed: seals speak of the time since.
    """
    _known.pop(tx.get_bind().engine, None)
    known = set(tx.scalars(select(SealLayout.place).distinct()))
    return _as_found(tx, [one for one in cover.under_seal() if one.name not in known])


def reseal(tx: Tx, places: Iterable[str]) -> dict[str, int]:
    """Seal anew, as they are found, all rows of these tables, and say so in the trail: for migrations that rewrote them;
    table → rows."""
    wanted = set(places)
    return _as_found(tx, [one for one in cover.under_seal() if one.name in wanted])


def _as_found(tx: Tx, tables: Sequence[Table]) -> dict[str, int]:
    tx.flush()
    counts: dict[str, int] = {}
    if not tables:
        return counts
    last = audit.hold(tx, _table_of(SealHead))
    for table in tables:
        layout = _layout(tx, table)
        names = [one.name for one in cover.columns(table)]
        keys = [one.name for one in table.primary_key]
        rows = mappings(tx, select(table), table, [])  # what cannot be read stays without a seal, and is named so
        seals = (Seal(table.name, spelled(row[one] for one in keys), layout, *digest_of(names, row)) for row in rows)
        while part := list(islice(seals, PART)):
            last = _append(tx, last, part, as_found=True)
            counts[table.name] = counts.get(table.name, 0) + len(part)
    return counts


def _append(tx: Tx, last: tuple[int, str], seals: list[Seal], *, as_found: bool = False) -> tuple[int, str]:
    """One sealing behind ``last`` (number, digest); returns its own."""
    record, record_digest = audit.head(tx)
    number, connection = last[0] + 1, tx.connection()
    content = {
        "sequence": number,
        "at": tx.now,
        "actor": tx.actor.login,
        "record": record,
        "rows": len(seals),
        "as_found": as_found,
    }
    digest = linked(last[1], content, record_digest, seals)
    connection.execute(insert(_table_of(Sealing)), [{**content, "digest": digest}])
    connection.execute(
        insert(_table_of(RowSeal)),
        [
            {"place": one.place, "key": one.key, "sealing": number, "layout": one.layout, "digest": one.digest, "hints": one.hints}
            for one in seals
        ],
    )  # fmt: skip
    audit.extend(tx, _table_of(SealHead), number, digest)
    return number, digest


def _table_of(model: type[Base]) -> Table:
    return cast("Table", model.__table__)


def _seals(tx: Tx, touched: Mapping[str, set[tuple[Any, ...]]]) -> Iterator[Seal]:
    for name in sorted(touched):
        table = Base.metadata.tables[name]
        layout = _layout(tx, table)
        names = [one.name for one in cover.columns(table)]
        heads, places = _heads(tuple(names)), [table.columns.keys().index(one) for one in names]
        own = [table.columns.keys().index(one.name) for one in table.primary_key]
        keys = sorted(touched[name])
        for low in range(0, len(keys), ASKED):
            some = keys[low : low + ASKED]
            there = set()
            for row in _rows(tx, table, some):
                key = spelled(row[place] for place in own)
                there.add(key)
                yield Seal(name, key, layout, *_digested(heads, [row[place] for place in places]))
            gone = [one for one in map(spelled, some) if one not in there]
            for key in live(tx, name, gone):  # what never was sealed came and went within this transaction
                yield Seal(name, key, layout, "", "")


def _rows(tx: Tx, table: Table, keys: Sequence[tuple[Any, ...]]) -> Iterable[Sequence[Any]]:
    """The rows of ``table`` with one of these keys, as the database keeps them."""
    connection = tx.connection()
    if len(table.primary_key) == 1:
        return connection.execute(_by_key(table), {"keys": [key[0] for key in keys]})
    return connection.execute(select(table).where(named(table, keys)))


@cache
def _by_key(table: Table) -> Select[Any]:
    """A statement that is made once: every write passes here."""
    (key,) = table.primary_key
    return select(table).where(key.in_(bindparam("keys", expanding=True)))


def named(table: Table, keys: Sequence[tuple[Any, ...]]) -> Any:
    """The rows of ``table`` with one of these keys."""
    columns = list(table.primary_key)
    if len(columns) == 1:
        return columns[0].in_([key[0] for key in keys])
    return or_(*(and_(*(column == part for column, part in zip(columns, key, strict=True))) for key in keys))


def latest(tx: Tx, place: str, keys: Sequence[str]) -> dict[str, Any]:
    """Key → the newest seal (row of ``row_seals``) of each of these rows."""
    if not keys:
        return {}
    seals = RowSeal.__table__
    newest = (
        select(seals.c.key, func.max(seals.c.sealing).label("sealing"))
        .where(seals.c.place == place, seals.c.key.in_(keys))
        .group_by(seals.c.key)
        .subquery()
    )
    query = select(seals).join(newest, and_(newest.c.key == seals.c.key, newest.c.sealing == seals.c.sealing))
    return {row.key: row for row in tx.execute(query.where(seals.c.place == place))}


def live(tx: Tx, place: str, keys: Sequence[str]) -> list[str]:
    """Those of ``keys`` whose newest seal says that the row is there."""
    return sorted(key for key, row in latest(tx, place, keys).items() if row.digest)


_known: WeakKeyDictionary[Engine, dict[str, tuple[str, int]]] = WeakKeyDictionary()
"""Engine → table → (columns, number) of layouts that were found committed."""


def _layout(tx: Tx, table: Table) -> int:
    """The number of the layout that covers what is under seal of ``table`` today; made where there is none."""
    columns = " ".join(one.name for one in cover.columns(table))
    engine = tx.get_bind().engine
    known = _known.setdefault(engine, {})
    if table.name in known and known[table.name][0] == columns:
        return known[table.name][1]
    found = tx.scalar(
        select(SealLayout.id).where(SealLayout.place == table.name, SealLayout.columns == columns).order_by(SealLayout.id).limit(1)
    )  # fmt: skip
    if found is not None:
        known[table.name] = (columns, found)
        return found
    made = SealLayout(place=table.name, columns=columns, since=tx.now)
    tx.add(made)
    tx.flush()
    return made.id
