"""Anchors as the book keeps them, and where each was published."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from quota.base import Base, append_only
from quota.errors import N_


class Way(StrEnum):
    FOLDER = "folder"
    MAIL = "mail"
    WEBHOOK = "webhook"


WAYS = {Way.FOLDER: N_("文件夹"), Way.MAIL: N_("邮件"), Way.WEBHOOK: N_("网址")}


class PublicationState(StrEnum):
    WAITING = "waiting"
    DONE = "done"


class Anchor(Base):
    """锚点: ``token`` is the signed statement itself; the columns beside it are what it says."""

    __tablename__ = "anchors"

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    made_by: Mapped[str] = mapped_column(String(64))
    records: Mapped[int]
    sealings: Mapped[int]
    key_id: Mapped[str] = mapped_column(String(64))
    token: Mapped[str] = mapped_column(Text)


append_only(Anchor.__table__)  # type: ignore[arg-type]


class AnchorPublication(Base):
    """One place that an anchor goes to, tried until it is there; ``said`` is why it is not yet."""

    __tablename__ = "anchor_publications"
    __table_args__ = (Index("ix_anchor_publications_state_next_try_at", "state", "next_try_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    anchor: Mapped[int] = mapped_column(ForeignKey("anchors.sequence"), index=True)
    way: Mapped[str] = mapped_column(String(12))
    target: Mapped[str] = mapped_column(String(500))
    state: Mapped[str] = mapped_column(String(8))
    attempts: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    said: Mapped[str] = mapped_column(Text, default="")
