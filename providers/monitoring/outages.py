"""Outages as monitoring tells of them, and the incidents that they make.

A signal is one outage as one teller has it: a fingerprint of Alertmanager or a probed endpoint. Signals of the same pool and
system at the same time tell of one incident, which lasts from the first that began to the last that ended. Where the mapping
says that an alert is about an endpoint, and the probes of that endpoint saw the same outage, its times are the probes': an
alert begins later than what it warns of and ends later. An alert about anything else, or one that outlives what the probes
saw, counts as it is. An incident whose responsibility was ruled stays as it was ruled; only when it was over is still noted.
One that a person has corrected stays as they said.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, ForeignKey, Index, String, UniqueConstraint, case, exists, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.base import ServiceKind
from providers.billing import Incident, incidents
from quota.actors import Role
from quota.base import Base
from quota.directory import Pool, System
from quota.errors import N_, NotFound, WrongState, stated
from quota.inventory import Resource

if TYPE_CHECKING:
    from quota.db import Tx

TOGETHER = timedelta(minutes=5)
"""So far an alert about an endpoint may lie beside the outage that its probes saw, and tells of it still: rules wait before they
fire, and before they call it over."""

MACHINES = (ServiceKind.VM.value, ServiceKind.BARE_METAL.value)


class SignalKind(StrEnum):
    ALERT = "alert"
    PROBE = "probe"


class OutageSignal(Base):
    """One outage as one teller has it. ``key``: the fingerprint, or the endpoint's number; ``pool_id`` None: no line of the
    mapping says what the alert is about, and it makes no incident; ``endpoint_id``: which endpoint it is about, where it is
    about one; ``labels``: of an alert; ``last_heard_at``: when it was last told to go on; ``presumed``: nobody told its end,
    which is when it was last heard; ``detached_by``: who said that it tells of no outage."""

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
    endpoint_id: Mapped[int | None] = mapped_column(ForeignKey("probe_endpoints.id"), index=True)
    incident_id: Mapped[int | None] = mapped_column(ForeignKey("incidents.id"), index=True)
    labels: Mapped[dict[str, str]] = mapped_column(default=dict)
    heard_at: Mapped[datetime]
    heard_by: Mapped[str] = mapped_column(String(64))
    last_heard_at: Mapped[datetime]
    presumed: Mapped[bool] = mapped_column(default=False)
    detached_by: Mapped[str | None] = mapped_column(String(64))

    pool: Mapped[Pool | None] = relationship()
    system: Mapped[System | None] = relationship()
    incident: Mapped[Incident | None] = relationship()

    @property
    def subject(self) -> str:
        return f"outage_signal:{self.id}"


def known(tx: Tx, kind: SignalKind, key: str, began: datetime, ended: datetime | None) -> OutageSignal | None:
    """The signal that already tells of this outage: the one that began at the same moment, else the newest that goes on at the
    same time."""
    same = OutageSignal.began_at == began
    during: ColumnElement[bool] = (OutageSignal.ended_at.is_(None)) | (OutageSignal.ended_at > began)
    if ended is not None:
        during &= OutageSignal.began_at < ended
    return tx.scalars(
        select(OutageSignal)
        .where(OutageSignal.kind == kind.value, OutageSignal.key == key, same | during)
        .order_by(case((same, 0), else_=1), OutageSignal.began_at.desc())
        .limit(1)
    ).first()


def ended(tx: Tx, signal: OutageSignal, at: datetime, *, presumed: bool = False) -> None:
    """It is over, once: what is told of it again changes nothing. ``presumed``: nobody told so, and who does after all is
    believed."""
    _alone(tx, signal)
    if signal.ended_at is not None and (presumed or not signal.presumed):
        return
    signal.ended_at, signal.presumed = max(at, signal.began_at), presumed
    _told(tx, signal)


def goes_on(tx: Tx, signal: OutageSignal) -> None:
    """It is heard again: that it had ended was only presumed. Nothing for one whose end was told."""
    _alone(tx, signal)
    if signal.presumed:
        signal.ended_at, signal.presumed = None, False
        _told(tx, signal)


def signal(tx: Tx, signal_id: int) -> OutageSignal:
    """The signal, or NotFound."""
    found = tx.get(OutageSignal, signal_id)
    if found is None:
        raise NotFound("outage_signal.none", N_("没有编号为 %(id)s 的监测告警"), id=signal_id)
    return found


def detach(tx: Tx, signal_id: int, reason: str) -> OutageSignal:
    """Say of a signal that it tells of no outage: it counts for no incident any more, whatever is heard of it. By the steward,
    with a reason. The incident goes by what else tells of it; where nothing else does, it stays to be corrected or ruled."""
    tx.actor.must_be(Role.SUPERVISOR)
    stated(reason)
    found = signal(tx, signal_id)
    _alone(tx, found)
    if found.incident is None:
        raise WrongState("outage_signal.without", N_("这条监测告警不是任何故障的依据"))
    incident, found.incident_id, found.detached_by = found.incident, None, tx.actor.login
    tx.flush()
    tx.refresh(found)
    tx.audit(
        "outage_signal.detach", found.subject, before={"incident": incident.external_id}, after={"incident": None},
        reason=reason.strip(),
    )  # fmt: skip
    _reckon(tx, incident)
    return found


def _alone(tx: Tx, signal: OutageSignal) -> None:
    """Nobody else tells of outages of its pool until this transaction ends; the signal as the last one left it."""
    tx.flush()
    if signal.pool_id is not None:
        alone(tx, signal.pool_id)
        tx.refresh(signal)


def alone(tx: Tx, pool_id: int) -> None:
    """Wait until nobody else tells of outages of a pool: alerts and probes would make two incidents of one."""
    tx.alone(f"outages:{pool_id}")


def _told(tx: Tx, signal: OutageSignal) -> None:
    tx.flush()
    if signal.incident is not None:
        _reckon(tx, signal.incident)


def enter(tx: Tx, signal: OutageSignal) -> None:
    """Have a signal with a pool tell of an incident: of one that is known, or of its own. A system that has no machine in the
    pool has nothing that could be down there: then it stays without."""
    if signal.pool is None or signal.level is None or signal.incident_id is not None or signal.detached_by is not None:
        return
    alone(tx, signal.pool.id)
    affected: tuple[str, ...] = ()
    if signal.system_id is not None:
        affected = machines(tx, signal.pool.id, signal.system_id)
        if not affected:
            return
    found = _same(tx, signal)
    if found is None:
        found = incidents.observe(
            tx, signal.pool, level=signal.level, title=signal.name if signal.system_id is None else incidents.SYSTEM_DOWN,
            started_at=signal.began_at, recovered_at=signal.ended_at, affected=affected,
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
    """The incident that a signal tells of, too: of the same pool and system, at the same time. What alert and probes tell of one
    endpoint may lie nearly so; two outages of one teller are two, where it was up between."""
    at_once, nearly = _during(signal, timedelta(0)), _during(signal, TOGETHER)
    system = OutageSignal.system_id
    told = _rests_on(system == signal.system_id if signal.system_id is not None else system.is_(None))
    when: ColumnElement[bool] = at_once
    if signal.endpoint_id is not None:
        its = OutageSignal.endpoint_id == signal.endpoint_id
        by_other = _rests_on(its, OutageSignal.kind != signal.kind) & ~_rests_on(its, OutageSignal.kind == signal.kind)
        when = at_once | (nearly & by_other)
    return tx.scalars(
        select(Incident)
        .where(Incident.pool_id == signal.pool_id, told, when)
        .order_by(case((at_once, 0), else_=1), Incident.started_at, Incident.id)
        .limit(1)
    ).first()


def _rests_on(*signals: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether any of these signals tells of an incident."""
    return exists().where(OutageSignal.incident_id == Incident.id, *signals)


def _during(signal: OutageSignal, slack: timedelta) -> ColumnElement[bool]:
    """Whether an incident overlaps the signal, or lies beside it by less than ``slack``."""
    before: ColumnElement[bool] = (Incident.recovered_at.is_(None)) | (Incident.recovered_at > signal.began_at - slack)
    return before if signal.ended_at is None else before & (Incident.started_at < signal.ended_at + slack)


def signals(tx: Tx, incident_id: int) -> Sequence[OutageSignal]:
    """What an incident rests on, in the order of their beginnings."""
    return tx.scalars(
        select(OutageSignal)
        .where(OutageSignal.incident_id == incident_id)
        .order_by(OutageSignal.began_at, OutageSignal.id)
    ).all()


def _reckon(tx: Tx, found: Incident) -> None:
    """Say of an incident from when to when it was, by all that tells of it; not of one that a person has corrected."""
    tx.lock(found)
    every = signals(tx, found.id)
    if not every or found.corrected_by is not None:
        return
    told = [one for one in every if not any(_saw_it(other, one) for other in every)]
    ends = [one.ended_at for one in told]
    over = None if None in ends else max(one for one in ends if one is not None)
    level = min(one.level for one in every if one.level is not None)
    incidents.observed(tx, found, level=level, started_at=min(one.began_at for one in told), recovered_at=over)


def _saw_it(probe: OutageSignal, alert: OutageSignal) -> bool:
    """Whether these probes saw the whole outage that this alert is about, so that its times are theirs."""
    if (probe.kind, alert.kind) != (SignalKind.PROBE, SignalKind.ALERT) or probe.endpoint_id != alert.endpoint_id:
        return False
    outlived = probe.ended_at is not None and (alert.ended_at is None or alert.ended_at > probe.ended_at + TOGETHER)
    return not outlived and alert.began_at >= probe.began_at - TOGETHER
