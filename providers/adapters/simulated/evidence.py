"""What the simulated companies hand in themselves: bills, with a few errors, and incident reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from providers.adapters.simulated.city import CityPool
from providers.adapters.simulated.faults import chance
from providers.adapters.simulated.fleet import FleetChange, Machine, moment
from providers.base import HOSTS, BillFact, IncidentFact, ResourceState, Responsibility
from quota.units import ClassCode, Commodity

CARELESS = "lantu"  # the company whose bills and reaction times are the worse
_HOUR_S = 3600
# Minutes to respond and to recover, by level: the limits that the city's rules set.
_LIMITS = {1: (15, 120), 2: (30, 240), 3: (120, 480), 4: (480, 1440)}
_TITLES = {
    1: ("核心交换机双机故障", "存储集群不可用"),
    2: ("计算节点批量宕机", "网络出口中断"),
    3: ("单台宿主机硬件故障", "对象存储访问缓慢", "负载均衡节点异常"),
    4: ("监控采集延迟", "控制台登录缓慢", "单块硬盘预警更换"),
}
_WHOSE = {
    Responsibility.TENANT: "应用变更引发访问异常",
    Responsibility.THIRD_PARTY: "运营商线路中断",
    Responsibility.MAINTENANCE: "计划内维护割接",
    Responsibility.FORCE_MAJEURE: "市电中断",
}


def month_of(month: str) -> tuple[int, int]:
    """Epoch seconds of the start and the end of a local month "2026-10". Raises ValueError otherwise."""
    first = date.fromisoformat(f"{month}-01")
    return moment(first), moment((first + timedelta(days=32)).replace(day=1))


def bills(machines: Iterable[Machine], pool: CityPool, seed: int, month: str) -> list[BillFact]:
    """The company's lines: amounts × hours until deletion, whatever the state.

    About 1 % are wrong for one company: a shape twice as large as delivered, three hosts a month at the least, or hours
    after the deletion.
    """
    begin, end = month_of(month)
    machines, lines = list(machines), []
    careless = pool.company_code == CARELESS
    thrown = {one.external_id: chance(seed, "bill", one.external_id, month) if careless else 1.0 for one in machines}
    there = [one.external_id for one in machines if one.kind in HOSTS and next(_spans(one, begin, end), None)]
    doubled = frozenset(sorted(there, key=thrown.__getitem__)[:3] if careless else ())
    for machine in machines:
        dice = thrown[machine.external_id]
        twice = dice < 0.008 or machine.external_id in doubled
        for since, until, last, change in _spans(machine, begin, end):
            if last and dice < 0.5:
                until = end
            for kind, figure in change.items():
                billed = figure * 2 if twice else figure
                hours = Decimal(until - since) / _HOUR_S
                lines.append(
                    BillFact(
                        month,
                        machine.external_id,
                        machine.kind,
                        kind,
                        Commodity.of(kind, machine.arch).arch,
                        (billed * hours).quantize(Decimal("0.01")),
                        _utc(since),
                        _utc(until),
                    )
                )
    return lines


def _spans(machine: Machine, begin: int, end: int) -> Iterator[tuple[int, int, bool, Mapping[ClassCode, int]]]:
    """Stretches of equal amounts within [begin, end): since, until, whether deletion ended it, amounts."""
    merged: list[FleetChange] = []
    for change in machine.life:
        gone = change.state is ResourceState.DELETED
        if not merged or gone or change.amounts != merged[-1].amounts:
            merged.append(change)
    for index, change in enumerate(merged):
        if change.state is ResourceState.DELETED:
            return
        following = merged[index + 1] if index + 1 < len(merged) else None
        since = max(change.at, begin)
        until = min(following.at, end) if following else end
        if since < until:
            deleted = following is not None and following.state is ResourceState.DELETED and following.at < end
            yield since, until, deleted, change.amounts


def incidents(
    machines: Sequence[Machine],
    pool: CityPool,
    seed: int,
    start: date,
    epoch: date,
    since: datetime,
    until: datetime,
) -> list[IncidentFact]:
    """Incidents since ``start`` that began, were answered or ended in since <= t < until, as then known. Beside those that
    chance brings, the careless company always has one of the day before ``epoch``."""
    low, high = int(since.timestamp()), int(until.timestamp())
    # The longest incident lasts under four days, so it began this month or in the one before.
    month = (max(since.astimezone(UTC).date(), start) - timedelta(days=35)).replace(day=1)
    facts = [_fresh(machines, pool, epoch)] if pool.company_code == CARELESS else []
    while moment(month) < high:
        facts.extend(_incident(machines, pool, seed, month, number) for number in range(_count(pool, seed, month)))
        month = (month + timedelta(days=32)).replace(day=1)
    found = []
    for fact in facts:
        happened = (fact.started_at, fact.responded_at, fact.recovered_at)
        if moment(start) <= fact.started_at.timestamp() and any(
            at is not None and low <= at.timestamp() < high for at in happened
        ):
            found.append(_known(fact, until))
    return sorted(found, key=lambda one: (one.started_at, one.external_id))


def _fresh(machines: Sequence[Machine], pool: CityPool, epoch: date) -> IncidentFact:
    """What happened at ten on the morning before ``epoch``: a host failed, and was answered later than it should be."""
    began = moment(epoch - timedelta(days=1), 10)
    there = [one.external_id for one in machines if one.kind in HOSTS and one.life[0].at < began]
    response, recovery = _LIMITS[3]
    return IncidentFact(
        f"INC-{pool.code}-{epoch - timedelta(days=1):%Y%m}-00",
        3,
        _TITLES[3][0],
        _utc(began),
        _utc(began + 60 * (response + 25)),
        _utc(began + 60 * (recovery - 90)),
        Responsibility.PROVIDER,
        tuple(there[:4]),
    )


def _count(pool: CityPool, seed: int, month: date) -> int:
    return 1 + int(chance(seed, "incidents", pool.code, month) * (4 if pool.company_code == CARELESS else 3))


def _known(fact: IncidentFact, at: datetime) -> IncidentFact:
    def past(moment_: datetime | None) -> datetime | None:
        return moment_ if moment_ is not None and moment_ < at else None

    return replace(fact, responded_at=past(fact.responded_at), recovered_at=past(fact.recovered_at))


def _incident(machines: Sequence[Machine], pool: CityPool, seed: int, month: date, number: int) -> IncidentFact:
    def dice(what: str) -> float:
        return chance(seed, "incident", pool.code, month, number, what)

    level = 1 + sum(dice("level") >= limit for limit in (0.03, 0.15, 0.50))
    began = moment(month) + int(dice("start") * 28 * 86_400) // 60 * 60
    # The careless company misses a limit now and then: up to 1.4 of it, the other stays below.
    reach = 1.4 if pool.company_code == CARELESS else 0.95
    response, recovery = (
        round(limit * (0.1 + (reach - 0.1) * dice(name) ** 2))
        for name, limit in zip(("response", "recovery"), _LIMITS[level], strict=True)
    )
    pick = dice("whose")
    whose = (
        Responsibility.PROVIDER
        if pick < 0.65
        else Responsibility.TENANT
        if pick < 0.78
        else Responsibility.THIRD_PARTY
        if pick < 0.88
        else Responsibility.MAINTENANCE
        if pick < 0.97
        else Responsibility.FORCE_MAJEURE
    )
    titles = _TITLES[level]
    title = _WHOSE.get(whose) or titles[int(dice("title") * len(titles))]
    announced = None
    if whose is Responsibility.MAINTENANCE:
        announced = _utc(began - 12 * 86_400)  # three working days, even across the longest holidays
    there = [one.external_id for one in machines if one.kind in HOSTS and one.life[0].at < began]
    affected = (
        ()
        if level == 1 or not there
        else tuple(there[int(dice(f"hit{i}") * len(there))] for i in range({2: 12, 3: 4, 4: 1}[level]))
    )
    return IncidentFact(
        f"INC-{pool.code}-{month:%Y%m}-{number + 1:02d}",
        level,
        title,
        _utc(began),
        _utc(began + 60 * response),
        _utc(began + 60 * max(recovery, response + 1)),
        whose,
        tuple(dict.fromkeys(affected)),
        announced,
    )


def _utc(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)
