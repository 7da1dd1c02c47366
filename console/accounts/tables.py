"""Rows of the door: who is logged in where, and how often it was tried."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.base import Base
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
    address: Mapped[str] = mapped_column(String(64))
    browser: Mapped[str] = mapped_column(String(200))  # as it names itself
    started_at: Mapped[datetime] = mapped_column(index=True)
    seen_at: Mapped[datetime]  # to some minutes
    proven_at: Mapped[datetime]  # when the person last proved to be there
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str] = mapped_column(String(64), default="")  # a login

    person: Mapped[Person] = relationship()


class TryCounter(Base):
    """How often something was tried, until ``expires_at``: shared by all web processes. Names no person: see ``throttle``."""

    __tablename__ = "try_counters"

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    count: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(index=True)
