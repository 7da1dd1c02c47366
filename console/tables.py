"""Rows of the door itself: runs of jobs, mails, verifications, backups."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.base import Base
from quota.directory import Person


class RunState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"  # its process died before it could say how it ended


class JobRun(Base):
    """One run of one job for one slot of its schedule."""

    __tablename__ = "job_runs"
    __table_args__ = (UniqueConstraint("job", "slot"), Index("ix_job_runs_started", "started_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(String(32))
    slot: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(8), default=RunState.RUNNING.value)
    started_at: Mapped[datetime]
    lease_until: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=1)
    host: Mapped[str] = mapped_column(String(128), default="")
    said: Mapped[list[Any]]  # [code of sayings.WORDS, figures] each
    outcome: Mapped[str] = mapped_column(Text, default="")
    """What runs said before they kept codes; of a failed one, what was raised."""

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return (self.ended_at - self.started_at).total_seconds() if self.ended_at else None


class ScoringLook(Base):
    """How far the clock has looked for new evidence, of one type of subject in one period (a month or a quarter, as cards name it):
    up to which sealing, in which tables (``places``), whose cards it scored; ``stamp``: what lies outside seals, as it was."""

    __tablename__ = "scoring_looks"

    subject_type: Mapped[str] = mapped_column(String(12), primary_key=True)
    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    sealing: Mapped[int]
    stamp: Mapped[str] = mapped_column(String(64))
    places: Mapped[list[str]]
    subjects: Mapped[list[Any]]
    looked_at: Mapped[datetime]


class MailState(StrEnum):
    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"


class MailSource(StrEnum):
    """What is written about: a notice about a request; a letter about cases, or an inquiry about resources: when it is issued,
    reminded of, escalated; an emergency account that was used; quota given for a time that ends, or ended while in use; a report
    that was made; a step of an order to rectify, and its day: near, past; a step of a
    ticket, and its limit that went by; maintenance
    that was announced, or cancelled; a department's surplus: reminded of, past its time, urged, past that, ruled on; a dispute about a
    bill that is claimed, or answered; an appeal that is filed, or ruled on; what ends on a day: near, past; what is outside the cloud,
    recognised until a day or to move by it, and a combination's certificate: the same; a machine more for a
    tier: asked about, to be entered at the balancer, to be taken out of it; a billing year that is drawn up, or handed over; an alert
    of supervision: opened, past its limit; a survey: asked, near its end; a deputy who is named, or no more."""

    REQUEST = "request"
    LETTER = "letter"
    REMINDER = "reminder"
    ESCALATION = "escalation"
    INQUIRY = "inquiry"
    INQUIRY_REMINDER = "inquiry_near"
    INQUIRY_OVERDUE = "inquiry_late"
    BREAK_GLASS = "break_glass"
    ALLOCATION_NEAR = "quota_near"
    ALLOCATION_OVERDUE = "quota_late"
    REPORT = "report"
    RECTIFICATION = "rectification"
    RECTIFICATION_NEAR = "rectify_near"
    RECTIFICATION_LATE = "rectify_late"
    TICKET = "ticket"
    TICKET_LATE = "ticket_late"
    MAINTENANCE = "maintenance"
    MAINTENANCE_OFF = "maintenance_off"
    SURPLUS = "surplus"
    SURPLUS_LATE = "surplus_late"
    SURPLUS_URGED = "surplus_urged"
    SURPLUS_RIPE = "surplus_ripe"
    SURPLUS_RULED = "surplus_ruled"
    DISPUTE = "dispute"
    DISPUTE_ANSWERED = "dispute_answered"
    APPEAL = "appeal"
    APPEAL_RULED = "appeal_ruled"
    DATED_NEAR = "dated_near"
    DATED_OVER = "dated_over"
    OUTSIDE_NEAR = "outside_near"
    OUTSIDE_OVER = "outside_over"
    CERTIFICATE_NEAR = "certificate_near"
    CERTIFICATE_OVER = "certificate_over"
    SCALE_OUT = "scale_out"
    SCALE_OUT_ENTER = "scale_out_enter"
    SCALE_OUT_LEAVE = "scale_out_leave"
    YEAR_JUDGED = "year_judged"
    YEAR_HANDED = "year_handed"
    SURVEY = "survey"
    SURVEY_NEAR = "survey_near"
    SUPERVISED = "supervised"
    SUPERVISED_LATE = "supervised_late"
    DEPUTY = "deputy"
    DEPUTY_OFF = "deputy_off"


class Mail(Base):
    """One mail to one person. ``next_try_at`` is set before each try, so that a try that dies is repeated later, with the
    same Message-ID: a mail may come twice, it is never lost."""

    __tablename__ = "mails"
    __table_args__ = (Index("ix_mails_state_next_try_at", "state", "next_try_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    address: Mapped[str] = mapped_column(String(254))
    state: Mapped[str] = mapped_column(String(8))
    made_at: Mapped[datetime]
    next_try_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    ended_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(Text, default="")

    person: Mapped[Person] = relationship()
    items: Mapped[list[MailItem]] = relationship(order_by="MailItem.id")


class MailItem(Base):
    """That a notice was given to the post: for a mail, or for nobody, where nobody had an address. ``day``: that something ends on,
    where the day may be put off and then is written about again."""

    __tablename__ = "mail_items"
    __table_args__ = (UniqueConstraint("source", "source_id", "mail_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(String(16))
    source_id: Mapped[int]
    day: Mapped[date | None]
    mail_id: Mapped[int | None] = mapped_column(ForeignKey("mails.id"), index=True)


class VerificationState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class VerificationRun(Base):
    """One verification. ``night``: the day whose share it reads, None = everything; checked, left, problems:
    ``Verification``; ``problem_count`` counts those that are not kept, too; progress is ``done`` of ``total`` parts. ``wrong``: the
    parts that found something, which the next night reads again; ``nights``: within so many the rest is read."""

    __tablename__ = "verification_runs"
    __table_args__ = (Index("ix_verification_runs_state", "state"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(8))
    night: Mapped[date | None]
    asked_by: Mapped[str] = mapped_column(String(64))
    asked_at: Mapped[datetime]
    told_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    checked: Mapped[dict[str, int]] = mapped_column(default=dict)
    left_out: Mapped[dict[str, int]] = mapped_column(default=dict)
    problems: Mapped[list[str]] = mapped_column(default=list)
    problem_count: Mapped[int] = mapped_column(default=0)
    wrong: Mapped[list[str]] = mapped_column(default=list, server_default=text("'[]'"))
    nights: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    head: Mapped[str] = mapped_column(String(64), default="")
    error: Mapped[str] = mapped_column(Text, default="")

    @property
    def clean(self) -> bool:
        """Whether it came to its end and found nothing."""
        return self.state == VerificationState.DONE and not self.problem_count


class BackupRun(Base):
    """One backup that was tried. ``place``: where to, without what opens it; ``point``: its name there, "" of one that failed;
    size: bytes of all its files as they lay in the house; stored: bytes that it added to the place; sealed: whether the
    house's keys are in it; error: why it failed, as it was said."""

    __tablename__ = "backup_runs"
    __table_args__ = (Index("ix_backup_runs_began_at", "began_at", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[str] = mapped_column(String(500))
    point: Mapped[str] = mapped_column(String(16), default="")
    by: Mapped[str] = mapped_column(String(64))
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime]
    files: Mapped[int] = mapped_column(default=0)
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    stored: Mapped[int] = mapped_column(BigInteger, default=0)
    gone: Mapped[int] = mapped_column(default=0)
    sealed: Mapped[bool] = mapped_column(default=False)
    error: Mapped[str] = mapped_column(Text, default="")


class AuditExport(Base):
    """How far the audit trail was handed on to one ``place`` (file, syslog:HOST:PORT): up to ``sequence``, whose digest is
    kept with it. ``handed_at``: when it last had everything; error: what it answered since; ``gaps``: how often the trail did
    not go on where it was left, the newest after ``gap_at``."""

    __tablename__ = "audit_exports"

    id: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[str] = mapped_column(String(128), unique=True)
    kind: Mapped[str] = mapped_column(String(8))
    sequence: Mapped[int] = mapped_column(default=0)
    digest: Mapped[str] = mapped_column(String(64))
    tried_at: Mapped[datetime]
    handed_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(Text, default="")
    gaps: Mapped[int] = mapped_column(default=0)
    gap_at: Mapped[int | None]
    gap_why: Mapped[str | None] = mapped_column(String(8))
    gap_found_at: Mapped[datetime | None]
