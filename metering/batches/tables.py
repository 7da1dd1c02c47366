"""What was signed in one act, and what became of each case of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.cases import Case, Notice
from metering.judging import PolicyVersion
from quota.base import Base
from quota.errors import N_


class BatchOutcome(StrEnum):
    """waiting: not done yet; done; excepted: left out by who signed; changed: no longer as the page showed it; refused: it may not be
    done, or not by who signed; later: the week admits no more letters."""

    WAITING = "waiting"
    DONE = "done"
    EXCEPTED = "excepted"
    CHANGED = "changed"
    REFUSED = "refused"
    LATER = "later"


OUTCOME_LABELS = {
    BatchOutcome.WAITING: N_("未办"),
    BatchOutcome.DONE: N_("已办"),
    BatchOutcome.EXCEPTED: N_("除外"),
    BatchOutcome.CHANGED: N_("已有变化,未办"),
    BatchOutcome.REFUSED: N_("不能办理"),
    BatchOutcome.LATER: N_("名额已满,未发"),
}


class CaseBatch(Base):
    """One act of one person on cases that are alike (the columns ``kind`` to ``matter`` say in what). ``reason``: the note, the text
    of the letters, or the reason of the ruling; ``decision``: of a ruling."""

    __tablename__ = "case_batches"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(128), unique=True)
    act: Mapped[str] = mapped_column(String(8))  # CaseAct
    kind: Mapped[str] = mapped_column(String(8))
    verdict: Mapped[str] = mapped_column(String(16))
    policy_version_id: Mapped[int] = mapped_column(ForeignKey("policy_versions.id"))
    matter: Mapped[str | None] = mapped_column(String(12))
    decision: Mapped[str | None] = mapped_column(String(8))
    reason: Mapped[str] = mapped_column(Text)
    by: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

    policy_version: Mapped[PolicyVersion] = relationship()

    @property
    def subject(self) -> str:
        return f"batch:{self.id}"


class BatchItem(Base):
    """One case of a batch, in the ``place`` in which it is done, and what became of it. ``generation``: as the page showed it;
    ``reason``: why it was left out; ``said``: the sentence and the places of a refusal; ``notice_id``: the letter that tells of it."""

    __tablename__ = "case_batch_items"
    __table_args__ = (
        UniqueConstraint("batch_id", "case_id"),
        Index("ix_case_batch_items_batch_id_place", "batch_id", "place"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("case_batches.id"))
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    generation: Mapped[int]
    place: Mapped[int]
    outcome: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str] = mapped_column(Text, default="")
    said: Mapped[dict[str, Any]] = mapped_column(default=dict)
    notice_id: Mapped[int | None] = mapped_column(ForeignKey("notices.id"))
    at: Mapped[datetime | None]

    batch: Mapped[CaseBatch] = relationship()
    case: Mapped[Case] = relationship()
    notice: Mapped[Notice | None] = relationship()
