"""Incidents: what companies, the steward and departments report, and whose each is. Nothing counts before its responsibility is
settled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    Select,
    String,
    Text,
    UniqueConstraint,
    false,
    select,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.base import IncidentFact, Provider, Responsibility, accountable
from providers.billing import maintenances
from providers.billing.maintenances import Maintenance
from providers.incident_terms import DEFAULT, LEVELS, IncidentTerms
from quota.actors import Actor, Role, steward
from quota.base import Base
from quota.calendar import ZONE, WorkingDays, working_days
from quota.directory import CloudProvider, Person, Pool
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Book, Tx

RESPONSIBILITY_LABELS = {
    Responsibility.PROVIDER: N_("云服务商责任"),
    Responsibility.TENANT: N_("使用单位责任"),
    Responsibility.THIRD_PARTY: N_("第三方责任"),
    Responsibility.FORCE_MAJEURE: N_("不可抗力"),
    Responsibility.MAINTENANCE: N_("已公告的维护"),
}

TermsSource = Callable[["Tx", int, datetime], IncidentTerms]
_sources: list[TermsSource] = []


def laid_down_by(source: TermsSource) -> None:
    """Register who knows the terms that hold for a company's incidents of a moment: whoever assesses companies."""
    _sources[:] = [source]


def terms(tx: Tx, found: Incident) -> IncidentTerms:
    """The terms that an incident is held to: those of its start; our default where nobody lays any down."""
    return _sources[0](tx, found.provider_id, found.started_at) if _sources else DEFAULT


class Incident(Base):
    """One incident of one pool. ``side``: who reported it (provider, supervisor, tenant, or monitoring
    for what nobody did). ``claimed`` is the responsibility that they state, ``responsibility`` the one that was settled; None where
    it was settled as the same outage as another report (``same_as_id``), which alone counts. ``corrected_by``: the person whose
    word stands against what monitoring found."""

    __tablename__ = "incidents"
    __table_args__ = (
        UniqueConstraint("pool_id", "external_id"),
        CheckConstraint("level BETWEEN 1 AND 4", name="level"),
        Index("ix_incidents_provider_id_started_at", "provider_id", "started_at"),
        Index("ix_incidents_started_at_id", "started_at", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"))
    external_id: Mapped[str] = mapped_column(
        String(128)
    )  # the company's own number, or the house's where others report
    level: Mapped[int]
    title: Mapped[str] = mapped_column(String(256))
    started_at: Mapped[datetime]
    responded_at: Mapped[datetime | None]
    recovered_at: Mapped[datetime | None]
    announced_at: Mapped[datetime | None]  # as the report says; the house's own windows are what counts
    affected: Mapped[list[str]] = mapped_column(default=list)  # external ids; empty: the whole pool
    claimed: Mapped[str] = mapped_column(String(16))
    description: Mapped[str] = mapped_column(Text, default="")
    evidence: Mapped[str] = mapped_column(Text, default="")  # logs, tickets, notices, as the company tells them
    reported_at: Mapped[datetime]
    reported_by: Mapped[str] = mapped_column(String(64))
    side: Mapped[str] = mapped_column(String(16), default=Role.PROVIDER.value)
    responsibility: Mapped[str | None] = mapped_column(String(16))
    settled_at: Mapped[datetime | None]
    settled_by: Mapped[str | None] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text, default="")
    generation: Mapped[int] = mapped_column(default=1)
    corrected_by: Mapped[str | None] = mapped_column(String(64))
    same_as_id: Mapped[int | None] = mapped_column(ForeignKey("incidents.id"), index=True)

    pool: Mapped[Pool] = relationship()
    provider: Mapped[CloudProvider] = relationship()
    same_as: Mapped[Incident | None] = relationship(remote_side=id)


TOLD = (
    "description",
    "evidence",
    "level",
    "title",
    "started_at",
    "responded_at",
    "recovered_at",
    "announced_at",
    "affected",
    "claimed",
)
"""What a company tells of an incident."""


def report(
    tx: Tx, pool: Pool, fact: IncidentFact, *, description: str | None = None, evidence: str | None = None
) -> Incident:
    """Enter what a company, the steward or a department reports, or adds to an earlier report of its own; the same again
    changes nothing. ``description`` and ``evidence`` are told by people only; None leaves what was told.

    Raises Invalid for times or a level that make no sense, NotAllowed for another company's staff or for what another side
    reported, WrongState where the incident was settled and would now be told differently.
    """
    tx.actor.must_be(Role.PROVIDER, Role.SUPERVISOR, Role.TENANT, Role.SYSTEM)
    if tx.actor.role is Role.PROVIDER and tx.actor.provider_id != pool.provider_id:
        raise NotAllowed("incident.not_yours", N_("只能报送本公司的故障"))
    _sound(tx, fact)
    by_hand = {"description": description, "evidence": evidence}
    told = {
        **{name: text.strip()[:8000] for name, text in by_hand.items() if text is not None},
        "level": fact.level,
        "title": fact.title.strip()[:256],
        "started_at": fact.started_at,
        "responded_at": fact.responded_at,
        "recovered_at": fact.recovered_at,
        "announced_at": fact.announced_at,
        "affected": list(fact.affected),
        "claimed": fact.responsibility.value,
    }
    found = tx.scalar(
        select(Incident).where(Incident.pool_id == pool.id, Incident.external_id == fact.external_id).with_for_update()
    )
    if found is None:
        found = Incident(
            pool_id=pool.id, provider_id=pool.provider_id, external_id=fact.external_id, reported_at=tx.now,
            reported_by=tx.actor.login, side=_side(tx.actor), reason="", generation=1, **{"description": "", "evidence": "", **told},
        )  # fmt: skip
        tx.add(found)
        tx.flush()
        tx.audit("incident.report", f"incident:{found.id}", after={"pool": pool.code, "side": found.side, **told})
        return found
    before = {name: getattr(found, name) for name in TOLD}
    after = {name: value for name, value in told.items() if value != before[name]}
    if not after:
        return found
    if not amendable(tx, found):
        raise NotAllowed("incident.others", N_("故障 %(id)s 是别方报送的,请发表意见,不能改报"), id=found.external_id)
    if found.settled_at is not None:
        raise WrongState("incident.settled", N_("故障 %(id)s 已定责,不能再改报"), id=found.external_id)
    for name, value in after.items():
        setattr(found, name, value)
    found.generation += 1
    tx.flush()
    tx.audit("incident.amend", f"incident:{found.id}", before={name: before[name] for name in after}, after=after)
    return found


MONITORING = "monitoring"
"""The side of what nobody reported: alerts and probes told of it."""

SYSTEM_DOWN = N_("监测发现信息系统不可用")
"""The title of what monitoring found of one system. Every department reads titles, and an endpoint's name and address are for
the system's own alone."""


def observe(
    tx: Tx,
    pool: Pool,
    *,
    level: int,
    title: str,
    started_at: datetime,
    recovered_at: datetime | None,
    affected: Sequence[str] = (),
) -> Incident:
    """Enter an incident that monitoring found. It claims the company's responsibility, or maintenance within a window that
    was announced in time; somebody rules on it, as on any other."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY, Role.SYSTEM)
    found = Incident(
        pool_id=pool.id, provider_id=pool.provider_id, external_id=_numbered(tx, MONITORING), level=level, title=title[:256],
        started_at=started_at, responded_at=recovered_at, recovered_at=recovered_at, affected=list(affected),
        claimed=Responsibility.PROVIDER.value, reported_at=tx.now, reported_by=tx.actor.login, side=MONITORING,
        description="", evidence="", reason="", generation=1,
    )  # fmt: skip
    tx.add(found)
    tx.flush()
    if window(tx, found, working_days(tx), terms(tx, found)) is not None:
        found.claimed = Responsibility.MAINTENANCE.value
    tx.audit(
        "incident.report", f"incident:{found.id}",
        after={"pool": pool.code, "side": found.side, "level": level, "title": found.title, "started_at": started_at,
               "recovered_at": recovered_at, "affected": found.affected, "claimed": found.claimed},
    )  # fmt: skip
    return found


def observed(tx: Tx, found: Incident, *, level: int, started_at: datetime, recovered_at: datetime | None) -> None:
    """Say more exactly what monitoring found: ``level`` as the worst that told of it, and its times. What was settled stays,
    but that it is over is noted once. Who has recovered has responded."""
    now: dict[str, Any] = {"level": level, "started_at": started_at, "recovered_at": recovered_at}
    if found.settled_at is not None:
        now = {"recovered_at": recovered_at} if found.recovered_at is None else {}
    said = found.responded_at if found.responded_at != found.recovered_at else None
    if now:
        now["responded_at"] = min((one for one in (said, recovered_at) if one is not None), default=None)
    before = {name: getattr(found, name) for name in now if getattr(found, name) != now[name]}
    if not before:
        return
    for name in before:
        setattr(found, name, now[name])
    found.generation += 1
    tx.flush()
    tx.audit("incident.amend", f"incident:{found.id}", before=before, after={name: now[name] for name in before})


def correct(
    tx: Tx, incident_id: int, generation: int, *, level: int, started_at: datetime, recovered_at: datetime | None,
    affected: Sequence[str], reason: str,
) -> Incident:  # fmt: skip
    """Say otherwise of an incident that monitoring found: how grave it was, from when to when, and what was hit (external ids;
    empty: the whole pool). By the supervisor, with a reason; monitoring changes nothing of it from then on. Of one that was settled
    only its end may still be said, where none is known.

    Raises NotAllowed for what people reported, Invalid for times or a level that make no sense, WrongState where it was settled.
    """
    tx.actor.must_be(Role.SUPERVISOR)
    found = incident(tx, incident_id)
    tx.lock_as_shown(found, generation, _stale(found))
    if found.side != MONITORING:
        raise NotAllowed("incident.reported", N_("故障 %(id)s 是人员报送的,由报送方续报"), id=found.external_id)
    stated(reason)
    fact = IncidentFact(
        found.external_id, level, found.title, started_at, None, recovered_at, Responsibility(found.claimed)
    )
    _sound(tx, fact)
    responded = found.responded_at if found.responded_at != found.recovered_at else None  # as the company said
    said: dict[str, Any] = {
        "level": level, "started_at": started_at, "recovered_at": recovered_at, "affected": list(affected),
        "responded_at": min((one for one in (responded and max(responded, started_at), recovered_at) if one), default=None),
    }  # fmt: skip
    before = {name: getattr(found, name) for name in said if getattr(found, name) != said[name]}
    if not before:
        return found
    if found.settled_at is not None and (
        found.recovered_at is not None or not before.keys() <= {"recovered_at", "responded_at"}
    ):
        raise WrongState("incident.settled_end", N_("故障 %(id)s 已定责,只能补记尚缺的恢复时间"), id=found.external_id)
    for name in before:
        setattr(found, name, said[name])
    found.corrected_by = tx.actor.login
    found.generation += 1
    tx.flush()
    tx.audit(
        "incident.correct", f"incident:{found.id}", before=before, after={name: said[name] for name in before},
        reason=reason.strip(),
    )  # fmt: skip
    return found


def respond(tx: Tx, incident_id: int, generation: int, at: datetime) -> Incident:
    """Say when an incident that others than the company entered was responded to. By its company, until it is settled.

    Raises NotAllowed for another's, Invalid for a time before it began, after it was over or to come.
    """
    tx.actor.must_be(Role.PROVIDER)
    found = incident(tx, incident_id)
    tx.lock_as_shown(found, generation, _stale(found))
    if found.side == Role.PROVIDER.value:
        raise NotAllowed("incident.own_report", N_("本公司报送的故障请用续报"))
    if found.settled_at is not None:
        raise WrongState("incident.settled", N_("故障 %(id)s 已定责,不能再改报"), id=found.external_id)
    if not found.started_at <= at <= (found.recovered_at or tx.now):
        raise Invalid("incident.responded", N_("响应时间须在开始之后、恢复之前,且不晚于现在"), field="responded_at")
    before, found.responded_at = found.responded_at, at
    found.generation += 1
    tx.flush()
    tx.audit("incident.amend", f"incident:{found.id}", before={"responded_at": before}, after={"responded_at": at})
    return found


def _side(actor: Actor) -> str:
    """Who reports: what a company's cloud tells is the company's."""
    return (Role.PROVIDER if actor.role is Role.SYSTEM else actor.role).value


def amendable(tx: Tx, found: Incident) -> bool:
    """Whether the actor may add to what was reported: its own side alone, of departments the same one."""
    if found.side != _side(tx.actor):
        return False
    if tx.actor.role is not Role.TENANT:
        return tx.actor.role is not Role.PROVIDER or tx.actor.provider_id == found.provider_id
    reporter = tx.scalar(select(Person.department_id).where(Person.login == found.reported_by))
    return reporter == tx.actor.department_id


def number(tx: Tx) -> str:
    """A number for what somebody else than the company reports; companies have their own."""
    return _numbered(tx, _side(tx.actor))


def _numbered(tx: Tx, side: str) -> str:
    return f"{side}-{tx.now.astimezone(ZONE):%Y%m%d}-{uuid4().hex[:8]}"


def collect(book: Book, pool_id: int, provider: Provider, since: datetime, until: datetime) -> list[Incident] | None:
    """Ask a pool's cloud for its incident reports, outside any transaction, and enter them; None where it has none to
    give. What was settled meanwhile stays as it was settled."""
    company = accountable(provider)
    if company is None:
        return None
    facts = company.incidents(since, until)
    found = []
    with book.transaction(steward("incidents")) as tx:
        pool = tx.get_one(Pool, pool_id)
        for fact in facts:
            known = tx.scalar(
                select(Incident).where(Incident.pool_id == pool_id, Incident.external_id == fact.external_id)
            )
            if known is not None and (known.settled_at is not None or known.side != Role.PROVIDER.value):
                found.append(known)
            else:
                found.append(report(tx, pool, fact))
    return found


def settle(tx: Tx, incident_id: int, generation: int, responsibility: Responsibility, reason: str) -> Incident:
    """Say whose an incident is; only then does it count. By the supervisor or the authority, once, with a reason.

    Raises Invalid for maintenance outside of a window that was announced in the house as early as its terms ask, or without
    a reason, NotAllowed for who reported it.
    """
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    found = _unsettled(tx, incident_id, generation)
    stated(reason)
    held = terms(tx, found)
    if responsibility is Responsibility.MAINTENANCE and window(tx, found, working_days(tx), held) is None:
        raise Invalid(
            "incident.not_announced",
            N_("维护须至少提前 %(days)s 个工作日在本系统公告"),
            days=held.announced_days,
            field="responsibility",
        )
    found.responsibility, found.reason = responsibility.value, reason.strip()
    found.settled_at, found.settled_by = tx.now, tx.actor.login
    found.generation += 1
    tx.flush()
    tx.audit(
        "incident.settle", f"incident:{found.id}", before={"claimed": found.claimed},
        after={"responsibility": responsibility}, reason=found.reason,
    )  # fmt: skip
    return found


def merge(tx: Tx, incident_id: int, generation: int, into_id: int, reason: str) -> Incident:
    """Rule that an incident is the same outage as another of its pool, which alone counts; what monitoring tells of it later goes with
    it. By the supervisor or the authority, once, with a reason, instead of saying whose it is.

    Raises Invalid for one that did not go on at the same time, or was itself ruled to be the same as another, NotAllowed for who
    reported it, WrongState where it was settled, or another was ruled to be the same as it.
    """
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    found = _unsettled(tx, incident_id, generation)
    stated(reason)
    into = tx.scalar(alongside(found).where(Incident.id == into_id).with_for_update())
    if into is None:
        raise Invalid("incident.apart", N_("只能并入同一资源池、同一时间的另一起故障"), field="into")
    if tx.scalar(select(Incident.id).where(Incident.same_as_id == found.id).limit(1)) is not None:
        raise WrongState("incident.others_same", N_("已有故障并入 %(id)s,它不能再并入别的故障"), id=found.external_id)
    found.same_as_id, found.reason = into.id, reason.strip()
    found.settled_at, found.settled_by = tx.now, tx.actor.login
    found.generation += 1
    tx.flush()
    tx.refresh(found)
    tx.audit(
        "incident.merge", f"incident:{found.id}", before={"same_as": None}, after={"same_as": into.external_id},
        reason=found.reason,
    )  # fmt: skip
    return found


def alongside(found: Incident) -> Select[Incident]:
    """The other incidents of its pool that went on at the same time and count by themselves, the first that began first."""
    query = select(Incident).where(
        Incident.pool_id == found.pool_id,
        Incident.id != found.id,
        Incident.same_as_id.is_(None),
        (Incident.recovered_at.is_(None)) | (Incident.recovered_at >= found.started_at),
    )
    if found.recovered_at is not None:
        query = query.where(Incident.started_at <= found.recovered_at)
    return query.order_by(Incident.started_at, Incident.id)


def _unsettled(tx: Tx, incident_id: int, generation: int) -> Incident:
    """The incident, locked, as shown and to be ruled on by the actor, a person."""
    tx.actor.must_sign()
    found = incident(tx, incident_id)
    tx.lock_as_shown(found, generation, _stale(found))
    if found.settled_at is not None:
        raise WrongState("incident.settled", N_("故障 %(id)s 已定责,不能再改报"), id=found.external_id)
    if tx.actor.login == found.reported_by:
        raise NotAllowed("incident.own", N_("报送人不能给自己报送的故障定责"))
    return found


def _stale(found: Incident) -> Conflict:
    return Conflict("incident.stale", N_("故障 %(id)s 已被更新,请刷新后再操作"), id=found.external_id)


def window(tx: Tx, found: Incident, days: WorkingDays, held: IncidentTerms = DEFAULT) -> Maintenance | None:
    """The window that it began in and that was announced early enough; None without one. By the house's own record: what a
    report says of an announcement was written after the event."""
    return maintenances.covering(tx, found.pool_id, found.started_at, days, held)


def limits(found: Incident, days: WorkingDays, held: IncidentTerms = DEFAULT) -> tuple[datetime, datetime]:
    """By when it had to be responded to, and recovered."""
    limit = held.limits[found.level]

    def by(allowed: timedelta | int) -> datetime:
        return days.due(found.started_at, allowed) if isinstance(allowed, int) else found.started_at + allowed

    return by(limit.respond), by(limit.recover)


def misses(found: Incident, days: WorkingDays, now: datetime, held: IncidentTerms = DEFAULT) -> int:
    """How many of its two limits were missed by ``now``: to respond and to recover, both from its start."""
    respond, recover = limits(found, days, held)
    return sum((done or now) > by for by, done in ((respond, found.responded_at), (recover, found.recovered_at)))


def incident(tx: Tx, incident_id: int) -> Incident:
    """The incident, or NotFound, also where the actor may not see it."""
    found = tx.scalar(select(Incident).where(Incident.id == incident_id, visible(tx.actor)))
    if found is None:
        raise NotFound("incident.none", N_("没有编号为 %(id)s 的故障"), id=incident_id)
    return found


def visible(actor: Actor) -> ColumnElement[bool]:
    """Incidents that ``actor`` may see: a company its own; authority, supervisor, auditor and tenants all, since a pool
    serves every department."""
    if actor.role is Role.PROVIDER:
        return Incident.provider_id == actor.provider_id if actor.provider_id is not None else false()
    open_to = (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM, Role.TENANT)
    return true() if actor.role in open_to else false()


def _sound(tx: Tx, fact: IncidentFact) -> None:
    """Refuse what cannot be: Invalid naming the field."""
    if fact.level not in LEVELS:
        raise Invalid("incident.level", N_("故障级别须为 1 至 4"), field="level")
    if not fact.external_id.strip() or not fact.title.strip():
        raise Invalid("incident.empty", N_("故障编号和标题都不能为空"), field="title")
    order = [one for one in (fact.started_at, fact.responded_at, fact.recovered_at) if one is not None]
    if fact.started_at > tx.now or order != sorted(order) or order[-1] > tx.now:
        raise Invalid("incident.times", N_("故障的开始、响应、恢复时间须依次先后,且不晚于现在"), field="started_at")
