"""机构调整 on record: departments that merged, took over systems, or came under another; each one batch, enough to move it back."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.base import Base
from quota.directory.departments import Department
from quota.errors import N_, NotFound

if TYPE_CHECKING:
    from quota.db import Tx


class Adjustment(StrEnum):
    MERGE = "merge"  # the source is closed, the target takes over all
    SYSTEMS = "systems"  # the target takes over some systems with their resources and what these use
    PARENT = "parent"  # the source comes under the target


LABELS = {
    Adjustment.MERGE: N_("合并"),
    Adjustment.SYSTEMS: N_("系统划转"),
    Adjustment.PARENT: N_("隶属调整"),
}


class Reorganisation(Base):
    """One batch. ``moved`` (JSON) is what it moved, enough to move it back."""

    __tablename__ = "reorganisations"
    __table_args__ = (
        UniqueConstraint("key"),
        CheckConstraint("(undone_at IS NULL) = (undone_by = '')", name="undone"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(8))
    source_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    target_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"), index=True)  # None: the top
    reason: Mapped[str] = mapped_column(Text)
    moved: Mapped[dict[str, Any]]
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(64))
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[str] = mapped_column(String(64), default="")

    source: Mapped[Department] = relationship(foreign_keys=[source_id])
    target: Mapped[Department | None] = relationship(foreign_keys=[target_id])

    @property
    def subject(self) -> str:
        return f"reorganisation:{self.id}"


def reorganisation(tx: Tx, batch_id: int) -> Reorganisation:
    """The batch, or NotFound."""
    found = tx.get(Reorganisation, batch_id)
    if found is None:
        raise NotFound("reorganisation.none", N_("没有编号为 %(id)s 的机构调整"), id=batch_id)
    return found
