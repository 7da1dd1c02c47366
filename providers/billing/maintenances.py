"""Maintenance as companies announce it: a window of a pool, entered before it begins. When it was announced is the house's own
record, not what anybody says afterwards; another time is another announcement.

What happens within a window that was announced early enough may be settled as maintenance; what goes on beyond its end is the
company's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index, String, Text, false, select, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.incident_terms import DEFAULT, IncidentTerms
from quota.actors import Actor, Role
from quota.base import Base
from quota.calendar import WorkingDays
from quota.directory import CloudProvider, Pool
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx

LONGEST = timedelta(days=7)
"""No window is longer: what is, is no maintenance."""

FURTHEST = timedelta(days=366)
"""So far ahead one may be announced."""


class Maintenance(Base):
    """One window, [starts_at, ends_at), of one pool."""

    __tablename__ = "maintenances"
    __table_args__ = (
        CheckConstraint("ends_at > starts_at", name="window"),
        Index("ix_maintenances_pool_id_starts_at", "pool_id", "starts_at"),
        Index("ix_maintenances_starts_at_id", "starts_at", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"), index=True)
    title: Mapped[str] = mapped_column(String(256))
    text: Mapped[str] = mapped_column(Text)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime] = mapped_column(index=True)
    announced_at: Mapped[datetime] = mapped_column(index=True)
    announced_by: Mapped[str] = mapped_column(String(64))
    cancelled_at: Mapped[datetime | None]
    cancelled_by: Mapped[str | None] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text, default="")
    generation: Mapped[int] = mapped_column(default=1)

    pool: Mapped[Pool] = relationship()
    provider: Mapped[CloudProvider] = relationship()

    @property
    def subject(self) -> str:
        """What the book calls it."""
        return f"maintenance:{self.id}"

    def in_time(self, days: WorkingDays, held: IncidentTerms = DEFAULT) -> bool:
        """Whether it was announced as many working days ahead as the terms ask."""
        return days.between(self.announced_at, self.starts_at) >= held.announced_days


def announce(tx: Tx, pool: Pool, starts_at: datetime, ends_at: datetime, title: str, text: str) -> Maintenance:
    """Enter a window that is to come. By the pool's company, or the supervisor for one that told by letter.

    Raises NotAllowed for another company's pool, Invalid for a window that is past, empty, too long or too far ahead.
    """
    tx.actor.must_be(Role.PROVIDER, Role.SUPERVISOR)
    if tx.actor.role is Role.PROVIDER and tx.actor.provider_id != pool.provider_id:
        raise NotAllowed("maintenance.not_yours", N_("只能公告本公司资源池的维护"))
    stated(title, "title", code="maintenance.title", message=N_("请填写维护标题"))
    stated(text, "text", code="maintenance.text", message=N_("请写明维护内容和影响"))
    if not tx.now < starts_at <= tx.now + FURTHEST:
        raise Invalid("maintenance.starts", N_("维护须在开始之前公告,且不早于一年"), field="starts_at")
    if not starts_at < ends_at <= starts_at + LONGEST:
        raise Invalid("maintenance.ends", N_("结束须晚于开始,且不超过七天"), field="ends_at")
    found = Maintenance(
        pool_id=pool.id, provider_id=pool.provider_id, title=title.strip()[:256], text=text.strip()[:8000], starts_at=starts_at,
        ends_at=ends_at, announced_at=tx.now, announced_by=tx.actor.login, reason="", generation=1,
    )  # fmt: skip
    tx.add(found)
    tx.flush()
    tx.audit(
        "maintenance.announce", found.subject,
        after={"pool": pool.code, "title": found.title, "starts_at": starts_at, "ends_at": ends_at},
    )  # fmt: skip
    return found


def cancel(tx: Tx, number: int, generation: int, reason: str) -> Maintenance:
    """It will not take place. By who may announce it, before it begins."""
    tx.actor.must_be(Role.PROVIDER, Role.SUPERVISOR)
    found = maintenance(tx, number)
    tx.lock_as_shown(found, generation, Conflict("maintenance.stale", N_("这次维护已被更新,请刷新后再操作")))
    if found.cancelled_at is not None or found.starts_at <= tx.now:
        raise WrongState("maintenance.begun", N_("维护已开始或已取消"))
    found.reason = stated(reason)[:4000]
    found.cancelled_at, found.cancelled_by = tx.now, tx.actor.login
    found.generation += 1
    tx.flush()
    tx.audit("maintenance.cancel", found.subject, after={"cancelled_at": tx.now}, reason=found.reason)
    return found


def covering(
    tx: Tx, pool_id: int, at: datetime, days: WorkingDays, held: IncidentTerms = DEFAULT
) -> Maintenance | None:
    """The window of a pool that covers ``at`` and was announced in time, the one that lasts longest; None without one."""
    return next((one for one in _around(tx, pool_id, at) if one.in_time(days, held)), None)


def _around(tx: Tx, pool_id: int, at: datetime) -> Sequence[Maintenance]:
    query = select(Maintenance).where(
        Maintenance.pool_id == pool_id,
        Maintenance.starts_at > at - LONGEST,
        Maintenance.starts_at <= at,
        Maintenance.ends_at > at,
        Maintenance.cancelled_at.is_(None),
    )
    return tx.scalars(query.order_by(Maintenance.ends_at.desc(), Maintenance.id)).all()


# ------------------------------------------------------------------------------------------------------------- reading


def maintenance(tx: Tx, number: int) -> Maintenance:
    """The window, or NotFound, also where the actor may not see it."""
    found = tx.scalar(select(Maintenance).where(Maintenance.id == number, visible(tx.actor)))
    if found is None:
        raise NotFound("maintenance.none", N_("没有编号为 %(id)s 的维护公告"), id=number)
    return found


def visible(actor: Actor) -> ColumnElement[bool]:
    """A company its own; everybody else who does business all, since a pool serves every department."""
    if actor.role is Role.PROVIDER:
        return Maintenance.provider_id == actor.provider_id if actor.provider_id is not None else false()
    open_to = (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM, Role.TENANT)
    return true() if actor.role in open_to else false()


def to_come(tx: Tx, who: Actor, until: datetime | None = None, most: int | None = None) -> Sequence[Maintenance]:
    """What is under way or to come, for ``who``, the next first; as far as it begins before ``until``."""
    query = select(Maintenance).where(visible(who), Maintenance.ends_at > tx.now, Maintenance.cancelled_at.is_(None))
    if until is not None:
        query = query.where(Maintenance.starts_at < until)
    return tx.scalars(query.order_by(Maintenance.starts_at, Maintenance.id).limit(most)).all()
