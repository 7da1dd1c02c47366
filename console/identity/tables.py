"""Rows of identities from elsewhere: sources, what was enacted of them, whose account is whose there, who is logged in by one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.base import Base, append_only
from quota.directory import Person

ISSUER_LENGTH = SUBJECT_LENGTH = 255


class IdentitySource(Base):
    """身份源: somebody who says who people are. ``options`` are those of its ``kind``, secrets by reference; ``code`` stands in
    addresses and is permanent."""

    __tablename__ = "identity_sources"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(32), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(64))  # as the button of the login page says
    options: Mapped[dict[str, Any]]
    active: Mapped[bool] = mapped_column(default=True)
    generation: Mapped[int] = mapped_column(default=1)
    changed_by: Mapped[str] = mapped_column(String(64))
    changed_at: Mapped[datetime]


class IdentityRule(Base):
    """身份源规则: one version of what a source's claims mean, as ``console.identity.rules`` reads it. Never edited."""

    __tablename__ = "identity_rules"
    __table_args__ = (UniqueConstraint("source_id", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("identity_sources.id"))
    version: Mapped[int]
    content: Mapped[dict[str, Any]]
    reason: Mapped[str] = mapped_column(Text)
    enacted_by: Mapped[str] = mapped_column(String(64))
    enacted_at: Mapped[datetime]


append_only(IdentityRule.__table__)  # type: ignore[arg-type]


class IdentityLink(Base):
    """关联: that ``subject`` of ``issuer`` is this person here. ``allowed``: the rights that their claims allowed when they last
    came. ``differs_since``: since when they hold one that was not among them, and nobody has looked at that."""

    __tablename__ = "identity_links"
    __table_args__ = (UniqueConstraint("issuer", "subject"), UniqueConstraint("source_id", "person_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("identity_sources.id"))
    issuer: Mapped[str] = mapped_column(String(ISSUER_LENGTH))
    subject: Mapped[str] = mapped_column(String(SUBJECT_LENGTH))
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    linked_by: Mapped[str] = mapped_column(String(64))  # a login; of a rule, its source
    linked_at: Mapped[datetime]
    seen_at: Mapped[datetime | None]
    allowed: Mapped[list[Any]] = mapped_column(default=list)
    differs_since: Mapped[datetime | None] = mapped_column(index=True)
    settled: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    """What was allowed when somebody found the difference to be right; None: nobody did."""

    person: Mapped[Person] = relationship()
    source: Mapped[IdentitySource] = relationship()


class IdentitySession(Base):
    """That somebody came by a source: what it takes to leave there, too, and to know them when it says that they left."""

    __tablename__ = "identity_sessions"
    __table_args__ = (
        Index("ix_identity_sessions_issuer_subject", "issuer", "subject"),
        Index("ix_identity_sessions_issuer_session", "issuer", "session"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("identity_sources.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    issuer: Mapped[str] = mapped_column(String(ISSUER_LENGTH))
    subject: Mapped[str] = mapped_column(String(SUBJECT_LENGTH))
    session: Mapped[str] = mapped_column(String(255))  # its name at the source; "": it has none
    hint: Mapped[str] = mapped_column(Text)  # what the source wants back on leaving; taken away when the session ends
    started_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]

    source: Mapped[IdentitySource] = relationship()


class UsedMark(Base):
    """What may be used once: a try to log in, a message of a source. Kept by digest until it would be refused for its age."""

    __tablename__ = "used_marks"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    until: Mapped[datetime] = mapped_column(index=True)


class BreakGlass(Base):
    """应急账号: somebody who may come in by password whatever the rules ask of their role."""

    __tablename__ = "break_glass"

    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
    reason: Mapped[str] = mapped_column(Text)
    named_by: Mapped[str] = mapped_column(String(64))
    named_at: Mapped[datetime]

    person: Mapped[Person] = relationship()


class BreakGlassUse(Base):
    """That such an account was used where the rules ask others for more: told to those who watch."""

    __tablename__ = "break_glass_uses"

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    at: Mapped[datetime] = mapped_column(index=True)
    address: Mapped[str] = mapped_column(String(64))

    person: Mapped[Person] = relationship()


append_only(BreakGlassUse.__table__)  # type: ignore[arg-type]
