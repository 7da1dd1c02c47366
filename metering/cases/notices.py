"""Notices: one letter to one department about many cases, with the day by which it may answer each of them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, String, Text, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Role
from quota.base import Base
from quota.calendar import ZONE
from quota.directory import Department, subtree
from quota.errors import N_, NotFound

if TYPE_CHECKING:
    from quota.db import Tx


class Notice(Base):
    """A letter. Its cases name it (``Case.notice_id``); it is reminded of once, and noted as escalated once."""

    __tablename__ = "notices"

    id: Mapped[int] = mapped_column(primary_key=True)
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    text: Mapped[str] = mapped_column(Text, default="")
    issued_by: Mapped[str] = mapped_column(String(64))
    issued_at: Mapped[datetime] = mapped_column(index=True)
    reply_days: Mapped[int]
    reminder_days: Mapped[int]
    reminded_at: Mapped[datetime | None]
    escalated_at: Mapped[datetime | None]

    department: Mapped[Department] = relationship()

    @property
    def number(self) -> str:
        """闲收忙扩〔2026〕12号: the year of issue, and a number that is never given twice."""
        return f"闲收忙扩〔{self.issued_at.astimezone(ZONE).year}〕{self.id}号"


def write(tx: Tx, department_id: int, text: str, reply_days: int, reminder_days: int) -> Notice:
    """A letter to a department, issued now by the actor."""
    row = Notice(
        department_id=department_id,
        text=text.strip(),
        issued_by=tx.actor.login,
        issued_at=tx.now,
        reply_days=reply_days,
        reminder_days=reminder_days,
    )
    tx.add(row)
    tx.flush()
    return row


def notice(tx: Tx, notice_id: int) -> Notice:
    """The letter, or NotFound, also where the actor may not see it."""
    found = tx.get(Notice, notice_id)
    if found is None or not _may_see(tx, found):
        raise NotFound("notice.none", N_("没有编号为 %(id)s 的通知"), id=notice_id)
    return found


def notices(tx: Tx) -> list[Notice]:
    """The letters that the actor may see, newest first."""
    query = select(Notice).order_by(Notice.id.desc())
    if tx.actor.role is Role.TENANT and tx.actor.department_id is not None:
        query = query.where(Notice.department_id.in_(subtree(tx, tx.actor.department_id)))
    elif tx.actor.role not in READERS:
        return []
    return list(tx.scalars(query))


READERS = frozenset({Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM})


def _may_see(tx: Tx, row: Notice) -> bool:
    if tx.actor.role is Role.TENANT and tx.actor.department_id is not None:
        return row.department_id in subtree(tx, tx.actor.department_id)
    return tx.actor.role in READERS
