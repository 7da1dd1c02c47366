"""Endpoints that are probed from the city's side: whose each is, and how it stands.

Which pool and, where it is a system's, which system an endpoint belongs to is entered by the steward; what its probes said is
read by a feed of the pool (``blackbox_exporter``'s ``probe_success``). A probe is counted once, whoever tells of it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.incident_terms import LEVELS
from providers.monitoring import outages, probing
from providers.monitoring.outages import OutageSignal, SignalKind
from quota.actors import Role
from quota.base import Base
from quota.calendar import ZONE
from quota.directory import Pool, System, dated
from quota.errors import N_, Conflict, Invalid, NotFound, stated

if TYPE_CHECKING:
    from quota.db import Tx

MOST_FAILS = 10
_DAY_S = 86_400
_BEYOND = 7_258_118_400  # 2200: no certificate's end is believed from there on


class ProbeEndpoint(Base):
    """监测端点. ``target``: as the store names it (label instance); ``interval_s``: how often it is probed; ``fails``: failed
    probes in a row that are an outage; ``level``: of the incident that one is. What follows is by its probes: ``probed_ms``
    the last one, ``down_ms`` since when they fail, ``failed`` how many in a row."""

    __tablename__ = "probe_endpoints"
    __table_args__ = (
        UniqueConstraint("pool_id", "target"),
        CheckConstraint("level BETWEEN 1 AND 4", name="level"),
        CheckConstraint("interval_s > 0 AND fails > 0", name="pace"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"), index=True)
    target: Mapped[str] = mapped_column(String(256))
    name: Mapped[str] = mapped_column(String(128))
    level: Mapped[int]
    interval_s: Mapped[int]
    fails: Mapped[int]
    active: Mapped[bool] = mapped_column(default=True)
    entered_by: Mapped[str] = mapped_column(String(64))
    entered_at: Mapped[datetime]
    generation: Mapped[int] = mapped_column(default=1)
    probed_ms: Mapped[int | None] = mapped_column(BigInteger)
    up: Mapped[bool] = mapped_column(default=True)
    down_ms: Mapped[int | None] = mapped_column(BigInteger)
    failed: Mapped[int] = mapped_column(default=0)

    pool: Mapped[Pool] = relationship()
    system: Mapped[System | None] = relationship()

    @property
    def subject(self) -> str:
        return f"endpoint:{self.id}"

    @property
    def probed_at(self) -> datetime | None:
        return None if self.probed_ms is None else _moment(self.probed_ms)


class EndpointDay(Base):
    """One day of the city of one endpoint: ms that were looked at, and of them ms that began with a failed probe."""

    __tablename__ = "endpoint_days"
    __table_args__ = (UniqueConstraint("endpoint_id", "day"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("probe_endpoints.id"))
    day: Mapped[date]
    seen_ms: Mapped[int] = mapped_column(BigInteger)
    down_ms: Mapped[int] = mapped_column(BigInteger)


def endpoint(tx: Tx, endpoint_id: int) -> ProbeEndpoint:
    """The endpoint, or NotFound."""
    found = tx.get(ProbeEndpoint, endpoint_id)
    if found is None:
        raise NotFound("endpoint.none", N_("没有编号为 %(id)s 的监测端点"), id=endpoint_id)
    return found


def register(
    tx: Tx, pool_id: int, target: str, name: str, *, system_id: int | None, level: int, interval_s: int, fails: int
) -> ProbeEndpoint:
    """Enter an endpoint. By the steward. Raises Invalid naming the field, Conflict for a target that the pool has."""
    tx.actor.must_be(Role.SUPERVISOR)
    pool = tx.get(Pool, pool_id)
    if pool is None or not pool.active:
        raise Invalid("endpoint.pool", N_("没有这个资源池,或已停用"), field="pool")
    target = stated(target, "target", code="endpoint.target", message=N_("请填写探测目标"))
    stated(name, "name", code="endpoint.name", message=N_("请填写名称"))
    if tx.scalar(select(ProbeEndpoint.id).filter_by(pool_id=pool_id, target=target)) is not None:
        raise Conflict(
            "endpoint.taken", N_("该资源池已登记目标 %(target)s"), target=target, field="target"
        )  # fmt: skip
    told = _sound(tx, pool_id, name, system_id, level, interval_s, fails)
    found = ProbeEndpoint(
        pool_id=pool_id, target=target, active=True, entered_by=tx.actor.login, entered_at=tx.now, generation=1, up=True,
        failed=0, **told,
    )  # fmt: skip
    tx.add(found)
    tx.flush()
    tx.audit("endpoint.register", found.subject, after={"pool": pool.code, "target": target, **told})
    return found


def change(
    tx: Tx, endpoint_id: int, generation: int, *, name: str, system_id: int | None, level: int, interval_s: int,
    fails: int, active: bool,
) -> ProbeEndpoint:  # fmt: skip
    """Say otherwise whose it is and what its failing means; what it led to stays. An outage of one that is no longer watched
    ends with its last probe."""
    tx.actor.must_be(Role.SUPERVISOR)
    found = endpoint(tx, endpoint_id)
    outages.alone(tx, found.pool_id)
    tx.lock_as_shown(found, generation, Conflict("endpoint.stale", N_("监测端点已被更新,请刷新后再操作")))
    told = _sound(tx, found.pool_id, name, system_id, level, interval_s, fails) | {"active": active}
    before = {key: getattr(found, key) for key in told if getattr(found, key) != told[key]}
    if not before:
        return found
    for key in before:
        setattr(found, key, told[key])
    found.generation += 1
    if not active:
        _lost(tx, found)
    tx.flush()
    tx.audit("endpoint.change", found.subject, before=before, after={key: told[key] for key in before})
    return found


def _sound(
    tx: Tx, pool_id: int, name: str, system_id: int | None, level: int, interval_s: int, fails: int
) -> dict[str, object]:
    stated(name, "name", code="endpoint.name", message=N_("请填写名称"))
    if level not in LEVELS:
        raise Invalid("incident.level", N_("故障级别须为 1 至 4"), field="level")
    if not 1 <= interval_s <= 3600:
        raise Invalid("endpoint.interval", N_("探测间隔须在 1 到 3600 秒之间"), field="interval_s")
    if not 1 <= fails <= MOST_FAILS:
        raise Invalid("endpoint.fails", N_("连续失败次数须在 1 到 %(most)s 之间"), most=MOST_FAILS, field="fails")
    if system_id is not None:
        if tx.get(System, system_id) is None:
            raise Invalid("endpoint.system", N_("没有这个信息系统"), field="system")
        if not outages.machines(tx, pool_id, system_id):
            raise Invalid("endpoint.machines", N_("该信息系统在这个资源池中没有主机"), field="system")
    return {
        "name": name.strip()[:128],
        "system_id": system_id,
        "level": level,
        "interval_s": interval_s,
        "fails": fails,
    }


# ------------------------------------------------------------------------------------------------------------ probes


def take(
    tx: Tx, pool_id: int, probes: Mapping[str, Iterable[tuple[int, bool]]], until: datetime
) -> tuple[int, dict[str, int]]:
    """Enter what probes said: target → (ms, succeeded), all that there is before ``until``. (How many were new, targets that
    nobody entered → how many probes of theirs.)"""
    outages.alone(tx, pool_id)
    mine = {
        one.target: one
        for one in tx.scalars(
            select(ProbeEndpoint)
            .where(ProbeEndpoint.pool_id == pool_id, ProbeEndpoint.active)
            .order_by(ProbeEndpoint.id)
            .with_for_update()
        )
    }
    new, strangers = 0, {}
    for target, said in probes.items():
        found = mine.get(target)
        if found is None:
            strangers[target] = sum(1 for _one in said)
        else:
            new += _take(tx, found, said)
    end = round(until.timestamp() * 1000)
    for one in mine.values():
        missing = one.probed_ms is not None and end - one.probed_ms > probing.MOST_MISSING * one.interval_s * 1000
        if one.down_ms is not None and missing:
            _lost(tx, one)
    return new, strangers


def certified(tx: Tx, pool_id: int, ends: Mapping[str, int]) -> None:
    """Enter until when the certificates of endpoints are good (target → second of the end): the last day that is whole."""
    if not ends:
        return
    mine = select(ProbeEndpoint).where(ProbeEndpoint.pool_id == pool_id, ProbeEndpoint.active)
    for one in tx.scalars(mine.order_by(ProbeEndpoint.id)).all():
        second = ends.get(one.target, 0)
        if 0 < second < _BEYOND:
            last = datetime.fromtimestamp(second - _DAY_S + 1, UTC).astimezone(ZONE).date()
            dated.observe(
                tx, one.subject, f"{one.name} {one.target}", last, system_id=one.system_id,
                department_id=one.system.department_id if one.system is not None else None,
            )  # fmt: skip


def _take(tx: Tx, found: ProbeEndpoint, said: Iterable[tuple[int, bool]]) -> int:
    pulse = probing.Pulse(found.probed_ms, found.up, found.down_ms, found.failed)
    done = probing.fold(pulse, sorted(said), found.interval_s * 1000, found.fails, ZONE)
    if not done.probes:
        return 0
    now = done.pulse
    found.probed_ms, found.up, found.down_ms, found.failed = now.at, now.up, now.down_since, now.fails
    for day, (seen, down) in done.days.items():
        row = tx.scalar(select(EndpointDay).filter_by(endpoint_id=found.id, day=day).with_for_update())
        if row is None:
            tx.add(EndpointDay(endpoint_id=found.id, day=day, seen_ms=seen, down_ms=down))
        else:
            row.seen_ms += seen
            row.down_ms += down
    tx.flush()
    for outage in done.outages:
        _tell(tx, found, outage)
    if now.down_since is not None and now.fails >= found.fails:
        _tell(tx, found, probing.ProbedOutage(now.down_since, None))
    return done.probes


def _tell(tx: Tx, found: ProbeEndpoint, outage: probing.ProbedOutage) -> None:
    """Note an outage that began, or that one is over."""
    key, began = str(found.id), _moment(outage.began)
    signal = tx.scalar(select(OutageSignal).filter_by(kind=SignalKind.PROBE.value, key=key, began_at=began))
    if signal is None:
        signal = OutageSignal(
            kind=SignalKind.PROBE.value, key=key, began_at=began, name=f"{found.name} {found.target}"[:256],
            pool_id=found.pool_id, system_id=found.system_id, level=found.level, endpoint_id=found.id,
            labels={"instance": found.target}, heard_at=tx.now, heard_by=tx.actor.login, last_heard_at=tx.now, presumed=False,
        )  # fmt: skip
        tx.add(signal)
        tx.flush()
        outages.enter(tx, signal)
    if outage.ended is not None:
        outages.ended(tx, signal, _moment(outage.ended))
    else:
        outages.goes_on(tx, signal)


def _lost(tx: Tx, found: ProbeEndpoint) -> None:
    """Nobody looks any more: what went on ended, as far as anybody knows, with the last probe."""
    if found.down_ms is not None and found.failed >= found.fails and found.probed_ms is not None:
        _tell(tx, found, probing.ProbedOutage(found.down_ms, found.probed_ms + found.interval_s * 1000))
    found.down_ms, found.failed = None, 0


def availability(
    tx: Tx, endpoint_ids: Iterable[int], first: date, last: date
) -> dict[int, tuple[timedelta, timedelta]]:
    """Endpoint → how long it was looked at on these days, and how long of that it failed."""
    rows = tx.execute(
        select(EndpointDay.endpoint_id, func.sum(EndpointDay.seen_ms), func.sum(EndpointDay.down_ms))
        .where(EndpointDay.endpoint_id.in_(list(endpoint_ids)), EndpointDay.day >= first, EndpointDay.day <= last)
        .group_by(EndpointDay.endpoint_id)
    )
    return {
        number: (timedelta(milliseconds=int(seen)), timedelta(milliseconds=int(down))) for number, seen, down in rows
    }


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
