"""What is kept of how systems are visited: how far each series was read, a row a day, and what it comes to."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Float, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from quota.base import Base, Count


class VisitKind(StrEnum):
    LOGINS = "logins"
    VISITS = "visits"
    USERS = "users"  # who was active within 30 days: a reading, no counter


class VisitSeries(Base):
    """How far a series of a source was read: its newest point and the most that it showed since it began."""

    __tablename__ = "visit_series"
    __table_args__ = (UniqueConstraint("source_id", "system_id", "kind", "series"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("push_sources.id"))
    system_id: Mapped[int] = mapped_column(ForeignKey("systems.id"), index=True)
    kind: Mapped[str] = mapped_column(String(8))
    series: Mapped[int] = mapped_column(BigInteger)
    first_at: Mapped[datetime]
    last_at: Mapped[datetime] = mapped_column(index=True)
    high: Mapped[float] = mapped_column(Float)


class SystemVisits(Base):
    """What a source told of a system on a local day: how many logins or visits at least, or the most users; ``known_s``: of how many
    seconds of the day it is known how many there were."""

    __tablename__ = "system_visits"
    __table_args__ = (UniqueConstraint("system_id", "source_id", "kind", "day"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    system_id: Mapped[int] = mapped_column(ForeignKey("systems.id"))
    source_id: Mapped[int] = mapped_column(ForeignKey("push_sources.id"))
    kind: Mapped[str] = mapped_column(String(8))
    day: Mapped[date] = mapped_column(index=True)
    count: Mapped[int] = mapped_column(Count)
    known_s: Mapped[int] = mapped_column(default=0)


class MeasuredVisits(Base):
    """What a system's days come to, made anew every night. ``last_login_on``: the last day with a login, by whom it was told;
    ``known_since``: from which day on logins are known, by some source, in nine tenths of the time; ``logins`` and ``visits`` of the last
    thirty whole days (None: nobody told), ``active_users`` as told within the last week. Each names its source."""

    __tablename__ = "measured_visits"

    system_id: Mapped[int] = mapped_column(ForeignKey("systems.id"), primary_key=True)
    last_login_on: Mapped[date | None]
    known_since: Mapped[date | None]
    logins: Mapped[int | None] = mapped_column(Count)
    logins_by: Mapped[int | None] = mapped_column(ForeignKey("push_sources.id"))
    visits: Mapped[int | None] = mapped_column(Count)
    visits_by: Mapped[int | None] = mapped_column(ForeignKey("push_sources.id"))
    active_users: Mapped[int | None] = mapped_column(Count)
    users_on: Mapped[date | None]
    users_by: Mapped[int | None] = mapped_column(ForeignKey("push_sources.id"))
