"""The audit trail: who did what to what, before and after, from where; each record chained to the one before.

The chain is one: its head is a single row that a writer locks just before it commits, so records are sealed in the
order of their commits. The head is published (in /metrics and in reports); who rewrites the trail with all its
digests must also rewrite what was published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any, cast

from sqlalchemy import CheckConstraint, Index, Select, String, Table, Text, Update, bindparam, insert, select, update
from sqlalchemy.orm import Mapped, mapped_column

from quota.base import Base, append_only
from quota.inspection import going_on, mappings
from quota.seals import GENESIS, link, plain
from quota.spans import WHOLE, Links, NumberSpan
from quota.transactions import Tx


class AuditRecord(Base):
    __tablename__ = "audit_records"
    __table_args__ = (
        Index("ix_audit_records_subject", "subject"),
        Index("ix_audit_records_at", "at"),
        Index("ix_audit_records_actor", "actor"),
    )

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(128))
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]
    reason: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))

    def content(self) -> dict[str, Any]:
        """What the digest covers: everything but the digest."""
        return {name: getattr(self, name) for name in COVERED}


COVERED = tuple(one.name for one in AuditRecord.__table__.columns if one.name != "digest")

append_only(AuditRecord.__table__)  # type: ignore[arg-type]


class AuditHead(Base):
    """The end of the chain: one row, locked by whoever appends."""

    __tablename__ = "audit_head"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sequence: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))


def seal(tx: Tx) -> None:
    """Append the notes of ``tx`` to the chain. Called by ``Book.transaction`` just before it commits."""
    if not tx.notes:
        return
    ends, records = _table_of(AuditHead), _table_of(AuditRecord)
    sequence, digest = hold(tx, ends)
    rows = []
    for note in tx.notes:
        sequence += 1
        content = {
            "sequence": sequence,
            "at": tx.now,
            "actor": tx.actor.login,
            "role": tx.actor.role.value,
            "address": tx.actor.address,
            "request_id": tx.actor.request_id,
            "action": note.action,
            "subject": note.subject,
            "before": plain(note.before),
            "after": plain(note.after),
            "reason": note.reason,
        }
        digest = link(digest, content)
        rows.append({**content, "digest": digest})
    tx.connection().execute(insert(records), rows)
    extend(tx, ends, sequence, digest)
    tx.notes = []


def of(tx: Tx, subject: str, most: int) -> Sequence[AuditRecord]:
    """The newest records of ``subject``, the newest first."""
    query = select(AuditRecord).where(AuditRecord.subject == subject).order_by(AuditRecord.sequence.desc())
    return tx.scalars(query.limit(most)).all()


def head(tx: Tx) -> tuple[int, str]:
    """(number of records, digest of the last): what is published."""
    return end_of(tx, _table_of(AuditHead))


# Every write passes here: statements that are made once, past the session, whose bookkeeping would cost more than they do.


@cache
def _asks(ends: Table) -> Select[int, str]:
    return select(ends.c.sequence, ends.c.digest).where(ends.c.id == 1)


@cache
def _locks(ends: Table) -> Select[int, str]:
    return _asks(ends).with_for_update()


@cache
def _extends(ends: Table) -> Update:
    return update(ends).where(ends.c.id == 1).values(sequence=bindparam("number"), digest=bindparam("seal"))


def end_of(tx: Tx, ends: Table) -> tuple[int, str]:
    """(number, digest) of the last link of the chain whose end is the one row of ``ends``; as this transaction left it where it
    has extended it."""
    if ends.name in tx.info:
        number, digest = tx.info[ends.name]
        return number, digest
    row = tx.connection().execute(_asks(ends)).one_or_none()
    return (row[0], row[1]) if row else (0, GENESIS)


def hold(tx: Tx, ends: Table) -> tuple[int, str]:
    """As ``end_of``, with nobody else extending the chain until the transaction ends. It is begun where nobody did."""
    connection = tx.connection()
    row = connection.execute(_locks(ends)).one_or_none()
    if row is None:  # the first links of a book: only one of those who find none begins the chain
        tx.alone(ends.name)
        row = connection.execute(_locks(ends)).one_or_none()
    if row is not None:
        return row[0], row[1]
    connection.execute(insert(ends), {"id": 1, "sequence": 0, "digest": GENESIS})
    return 0, GENESIS


def extend(tx: Tx, ends: Table, number: int, digest: str) -> None:
    """The chain, which this transaction holds, ends with this link now."""
    tx.connection().execute(_extends(ends), {"number": number, "seal": digest})
    tx.info[ends.name] = number, digest


def _table_of(model: type[Base]) -> Table:
    return cast("Table", model.__table__)


def check(tx: Tx, span: NumberSpan = WHOLE, links: Links | None = None) -> Iterator[str]:
    """Walk the chain, or the part of it with these numbers, from the record before; yield a sentence for each row that does not
    fit, naming it. ``links`` is told every link that was passed."""
    records = _table_of(AuditRecord)
    expected = span.low or 1
    previous = (
        GENESIS if expected == 1 else tx.scalar(select(AuditRecord.digest).where(records.c.sequence == expected - 1))
    )
    said: list[str] = []
    if previous is None:
        yield f"audit_records: row {expected - 1} is missing (next is {expected})"
    query = select(records).where(*span.of(records.c.sequence)).order_by(records.c.sequence)
    for record in mappings(tx, query, records, said):
        number, digest = record["sequence"], record["digest"]
        unread = bool(said)  # a row before this one, which is named: what it sealed is not known
        if number != expected and not unread:
            yield f"audit_records: row {expected} is missing (next is {number})"
        with going_on(said, "audit_records", number):
            if (
                not unread
                and previous is not None
                and link(previous, {name: record[name] for name in COVERED}) != digest
            ):
                said.append(
                    f"audit_records: row {number} ({record['action']} {record['subject']}) does not match its seal"
                )
        yield from said
        said.clear()
        previous, expected = digest, number + 1
        if links is not None:
            links.add(number, digest)
    unread = bool(said)
    yield from said
    if unread:
        return
    if span.high is not None:
        if expected <= span.high:
            yield f"audit_records: row {expected} is missing (the trail goes on behind {span.high})"
    elif (end := head(tx)) != (expected - 1, previous):
        yield f"audit_head: row 1 says {end[0]} records, the trail ends at {expected - 1}"
