"""Rows of the API: tokens, and what posts with a key were answered."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.base import Base
from quota.directory import Person


class TokenKind(StrEnum):
    PERSONAL = "personal"
    SERVICE = "service"
    CALENDAR = "calendar"  # stands in an address, and opens nothing but a calendar
    WALL = "wall"  # stands in an address, and opens nothing but the cockpit


IN_ADDRESSES = frozenset({TokenKind.CALENDAR, TokenKind.WALL})
"""Tokens without scopes: what they open is said by their address."""


class ApiToken(Base):
    """A token: its secret is kept as a digest alone. ``prefix`` finds it and is shown; ``granted`` is False for a service's
    until the security administrator confirms it. It is good until ``expires_at``, unless revoked before."""

    __tablename__ = "api_tokens"
    __table_args__ = (Index("ix_api_tokens_person_id", "person_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    kind: Mapped[str] = mapped_column(String(12))
    name: Mapped[str] = mapped_column(String(64))
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    digest: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(default=list)
    granted: Mapped[bool] = mapped_column(default=True)
    made_by: Mapped[str] = mapped_column(String(64))
    made_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]
    used_from: Mapped[str] = mapped_column(String(64), default="")

    person: Mapped[Person] = relationship()


class KeyState(StrEnum):
    RUNNING = "running"
    DONE = "done"


class ApiKeyUse(Base):
    """What a post with an Idempotency-Key was answered: the same post by the same person is answered so again. ``request`` is a
    digest of address and body."""

    __tablename__ = "api_key_uses"
    __table_args__ = (
        UniqueConstraint("person_id", "key"),
        Index("ix_api_key_uses_begun_at", "begun_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    key: Mapped[str] = mapped_column(String(64))
    request: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(8))
    begun_at: Mapped[datetime]
    status: Mapped[int] = mapped_column(default=0)
    answer: Mapped[dict[str, Any]] = mapped_column(default=dict)
