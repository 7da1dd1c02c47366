"""Outages as monitoring tells of them, and the incidents that they make.

A signal is one outage as one teller has it: a fingerprint of Alertmanager or a probed endpoint. Signals of the same pool and
system at the same time tell of one incident. Its times are those of the probes, where any are among them: an alert begins
later than what it warns of and ends later. An incident whose responsibility was ruled stays as it was ruled; only when it was
over is still noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.base import ServiceKind
from providers.billing import Incident, incidents
from quota.base import Base
from quota.directory import Pool, System
from quota.inventory import Resource

if TYPE_CHECKING:
    from quota.db import Tx

TOGETHER = timedelta(minutes=5)
"""So far an alert may lie beside the outage that probes saw, and tells of it still: rules wait before they fire, and before
they call it over."""

MACHINES = (ServiceKind.VM.value, ServiceKind.BARE_METAL.value)


class SignalKind(StrEnum):
    ALERT = "alert"
    PROBE = "probe"


class OutageSignal(Base):
    """One outage as one teller has it. ``key``: the fingerprint, or the endpoint's number; ``pool_id`` None: no line of the
    mapping says what the alert is about, and it makes no incident; ``labels``: of an alert."""

    __tablename__ = "outage_signals"
    __table_args__ = (
        UniqueConstraint("kind", "key", "began_at"),
        Index("ix_outage_signals_pool_id_began_at", "pool_id", "began_at"),
        Index("ix_outage_signals_began_at_id", "began_at", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    key: Mapped[str] = mapped_column(String(64))
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    name: Mapped[str] = mapped_column(String(256))
    pool_id: Mapped[int | None] = mapped_column(ForeignKey("pools.id"))
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"), index=True)
    level: Mapped[int | None]
    incident_id: Mapped[int | None] = mapped_column(ForeignKey("incidents.id"), index=True)
    labels: Mapped[dict[str, str]] = mapped_column(default=dict)
    heard_at: Mapped[datetime]
    heard_by: Mapped[str] = mapped_column(String(64))

    pool: Mapped[Pool | None] = relationship()
    system: Mapped[System | None] = relationship()
    incident: Mapped[Incident | None] = relationship()

    def covers(self, began: datetime, ended: datetime | None) -> bool:
        """Whether it overlaps [began, ended)."""
        return (self.ended_at is None or self.ended_at > began) and (ended is None or self.began_at < ended)


def known(tx: Tx, kind: SignalKind, key: str, began: datetime, ended: datetime | None) -> OutageSignal | None:
    """The signal that already tells of this outage: one that began at the same moment, or goes on at the same time."""
    rows = tx.scalars(
        select(OutageSignal)
        .where(OutageSignal.kind == kind.value, OutageSignal.key == key)
        .order_by(OutageSignal.began_at.desc())
    )
    return next((one for one in rows if one.began_at == began or one.covers(began, ended)), None)


def ended(tx: Tx, signal: OutageSignal, at: datetime) -> None:
    """It is over, once: what is told of it again changes nothing."""
    if signal.ended_at is not None:
        return
    signal.ended_at = max(at, signal.began_at)
    tx.flush()
    if signal.incident is not None:
        _reckon(tx, signal.incident)


def enter(tx: Tx, signal: OutageSignal) -> None:
    """Have a signal with a pool tell of an incident: of one that is known, or of its own. A system that has no machine in the
    pool has nothing that could be down there: then it stays without."""
    if signal.pool is None or signal.level is None or signal.incident_id is not None:
        return
    affected: tuple[str, ...] = ()
    if signal.system_id is not None:
        affected = machines(tx, signal.pool.id, signal.system_id)
        if not affected:
            return
    found = _same(tx, signal)
    if found is None:
        found = incidents.observe(
            tx, signal.pool, level=signal.level, title=signal.name, started_at=signal.began_at,
            recovered_at=signal.ended_at, affected=affected,
        )  # fmt: skip
    signal.incident_id = found.id
    tx.flush()
    tx.refresh(signal)
    _reckon(tx, found)


def machines(tx: Tx, pool_id: int, system_id: int) -> tuple[str, ...]:
    """The external ids of a system's machines in a pool."""
    query = select(Resource.external_id).where(
        Resource.pool_id == pool_id,
        Resource.system_id == system_id,
        Resource.kind.in_(MACHINES),
        Resource.gone_at.is_(None),
    )
    return tuple(tx.scalars(query.order_by(Resource.id)))


def _same(tx: Tx, signal: OutageSignal) -> Incident | None:
    """The incident that a signal tells of, too: of the same pool and system, at the same time. Where only one of them was seen
    by probes, nearly the same will do; what both saw by probes is two where the endpoint was up between."""
    of_it = select(OutageSignal.incident_id).where(
        OutageSignal.pool_id == signal.pool_id,
        OutageSignal.system_id == signal.system_id
        if signal.system_id is not None
        else OutageSignal.system_id.is_(None),
        OutageSignal.incident_id.is_not(None),
    )
    end = signal.ended_at
    near = select(Incident).where(Incident.id.in_(of_it), Incident.pool_id == signal.pool_id)
    if end is not None:
        near = near.where(Incident.started_at < end + TOGETHER)
    for one in tx.scalars(near.order_by(Incident.started_at, Incident.id)):
        probed = any(other.kind == SignalKind.PROBE for other in signals(tx, one.id))
        slack = timedelta(0) if probed and signal.kind == SignalKind.PROBE else TOGETHER
        over = one.recovered_at
        if (over is None or over + slack > signal.began_at) and (end is None or one.started_at < end + slack):
            return one
    return None


def signals(tx: Tx, incident_id: int) -> Sequence[OutageSignal]:
    """What an incident rests on, in the order of their beginnings."""
    return tx.scalars(
        select(OutageSignal)
        .where(OutageSignal.incident_id == incident_id)
        .order_by(OutageSignal.began_at, OutageSignal.id)
    ).all()


def _reckon(tx: Tx, found: Incident) -> None:
    """Say of an incident from when to when it was, by all that tells of it."""
    every = signals(tx, found.id)
    told = [one for one in every if one.kind == SignalKind.PROBE] or every
    ends = [one.ended_at for one in told]
    over = None if None in ends else max(one for one in ends if one is not None)
    level = min(one.level for one in every if one.level is not None)
    incidents.observed(tx, found, level=level, started_at=min(one.began_at for one in told), recovered_at=over)
