"""The audit trail: who did what to what, before and after, from where; each record chained to the one before.

The chain is one: its head is a single row that a writer locks just before it commits, so records are sealed in the
order of their commits. The head is published (in /metrics and in reports); who rewrites the trail with all its
digests must also rewrite what was published.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, String, Text, select
from sqlalchemy.orm import Mapped, mapped_column

from quota.base import Base, append_only
from quota.inspection import going_on, rows
from quota.seals import GENESIS, link, plain
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
        return {
            "sequence": self.sequence,
            "at": self.at,
            "actor": self.actor,
            "role": self.role,
            "address": self.address,
            "request_id": self.request_id,
            "action": self.action,
            "subject": self.subject,
            "before": self.before,
            "after": self.after,
            "reason": self.reason,
        }


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
    head = tx.get(AuditHead, 1, with_for_update=True)
    if head is None:  # the first records of a book: only one of those who find none begins the chain
        tx.alone("audit_head")
        head = tx.get(AuditHead, 1, with_for_update=True, populate_existing=True)
    if head is None:
        head = AuditHead(id=1, sequence=0, digest=GENESIS)
        tx.add(head)
    for note in tx.notes:
        record = AuditRecord(
            sequence=head.sequence + 1,
            at=tx.now,
            actor=tx.actor.login,
            role=tx.actor.role.value,
            address=tx.actor.address,
            request_id=tx.actor.request_id,
            action=note.action,
            subject=note.subject,
            before=plain(note.before),
            after=plain(note.after),
            reason=note.reason,
        )
        record.digest = link(head.digest, record.content())
        tx.add(record)
        head.sequence, head.digest = record.sequence, record.digest
    tx.notes = []
    tx.flush()


def head(tx: Tx) -> tuple[int, str]:
    """(number of records, digest of the last): what is published."""
    row = tx.get(AuditHead, 1)
    return (row.sequence, row.digest) if row else (0, GENESIS)


def check(tx: Tx) -> Iterator[str]:
    """Walk the whole chain; yield a sentence for each row that does not fit, naming it."""
    previous, expected = GENESIS, 1
    said: list[str] = []
    for record in rows(tx, select(AuditRecord).order_by(AuditRecord.sequence), said):
        unread = bool(said)  # a row before this one, which is named: what it sealed is not known
        if record.sequence != expected and not unread:
            yield f"audit_records: row {expected} is missing (next is {record.sequence})"
        with going_on(said, "audit_records", record.sequence):
            if not unread and link(previous, record.content()) != record.digest:
                said.append(
                    f"audit_records: row {record.sequence} ({record.action} {record.subject}) does not match its seal"
                )
        yield from said
        said.clear()
        previous, expected = record.digest, record.sequence + 1
        tx.expunge(record)
    unread = bool(said)
    yield from said
    sequence, digest = head(tx)
    if (sequence, digest) != (expected - 1, previous) and not unread:
        yield f"audit_head: row 1 says {sequence} records, the trail ends at {expected - 1}"
