"""Rows of the door: who is logged in where, how often it was tried, by which rules, and what proves a second time who it is."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.base import Base, append_only
from quota.directory import Person


class SignIn(Base):
    """登录: one session of one person in one browser.

    The browser holds a token, the book its digest. A session is open while nobody ended it, its ``epoch`` is that of the
    person (which rises with every password, role and closing) and it is younger than the settings allow.
    """

    __tablename__ = "sign_ins"
    __table_args__ = (Index("ix_sign_ins_person_id_started_at", "person_id", "started_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    epoch: Mapped[int]
    method: Mapped[str] = mapped_column(String(16))  # how it was proven who this is: a code of ``proofs``
    factor: Mapped[str] = mapped_column(String(16), default="")  # the second proof, where there was one
    outside: Mapped[str] = mapped_column(String(32), default="", index=True)  # what the way of proving calls it
    address: Mapped[str] = mapped_column(String(64))
    browser: Mapped[str] = mapped_column(String(200))  # as it names itself
    started_at: Mapped[datetime] = mapped_column(index=True)
    seen_at: Mapped[datetime]  # to some minutes
    proven_at: Mapped[datetime]  # when the person last proved to be there
    again_at: Mapped[datetime | None]  # when the source that they came by is asked anew; None: never
    unheard_at: Mapped[
        datetime | None
    ]  # since when somebody works here without its answer that was due; None: it is not due, or nobody was here
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str] = mapped_column(String(64), default="")  # a login

    person: Mapped[Person] = relationship()


class TryCounter(Base):
    """How often something was tried, until ``expires_at``: shared by all web processes. Names no person: see ``throttle``."""

    __tablename__ = "try_counters"

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    count: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class AccessRule(Base):
    """登录安全规则: one version; the newest is in force. ``rules``: ``access_rules.AccessRules`` as JSON."""

    __tablename__ = "access_rules"

    id: Mapped[int] = mapped_column(primary_key=True)
    rules: Mapped[dict[str, Any]]
    reason: Mapped[str] = mapped_column(Text)
    enacted_by: Mapped[str] = mapped_column(String(64))
    enacted_at: Mapped[datetime]


append_only(AccessRule.__table__)  # type: ignore[arg-type]


class SecondFactor(Base):
    """第二因子 of a person. ``sealed``: what its kind keeps, sealed by the vault; ``state``: what must only grow (a step of time, a
    counter of signatures), so that nothing is taken twice; ``name``: what its person calls it, where there may be several. Not
    confirmed: shown to its person and not proven yet."""

    __tablename__ = "second_factors"
    __table_args__ = (Index("ix_second_factors_person_id", "person_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(64), default="", server_default="")
    sealed: Mapped[str] = mapped_column(Text)
    state: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]


class RecoveryCode(Base):
    """恢复码: by its digest; each lets its person in once."""

    __tablename__ = "recovery_codes"
    __table_args__ = (UniqueConstraint("person_id", "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    digest: Mapped[str] = mapped_column(String(64))
    made_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class LossState(StrEnum):
    OPEN = "open"
    GRANTED = "granted"
    DECLINED = "declined"


class FactorLoss(Base):
    """第二因子遗失: one administrator says that somebody lost theirs, another lets them enrol anew."""

    __tablename__ = "factor_losses"
    __table_args__ = (Index("ix_factor_losses_person_id_state", "person_id", "state"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    state: Mapped[str] = mapped_column(String(8), default=LossState.OPEN.value)
    reason: Mapped[str] = mapped_column(Text)
    asked_by: Mapped[str] = mapped_column(String(64))
    asked_at: Mapped[datetime]
    decided_by: Mapped[str] = mapped_column(String(64), default="")
    decided_at: Mapped[datetime | None]

    person: Mapped[Person] = relationship()
