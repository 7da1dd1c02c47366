"""Quota and its use: capacities of pools, what departments and systems hold and use, what was measured of it, what could be
taken back, what it costs. Base units throughout; ratios from 0 to 1; unknown is left out, never 0."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from sqlalchemy import String, case, cast, func, select

from console.metrics.kept import Family, ScrapeCache, families
from metering import statements
from metering.overview import Utilization, gains
from metering.statements import StatementLine, StatementRun
from quota import ledger
from quota.db import Tx, among
from quota.directory import CloudProvider, Department, Pool, PoolCapacity, System
from quota.inventory import Resource
from quota.ledger import OWNED, Account

MOST_DEPARTMENTS, MOST_SYSTEMS = 300, 1000
"""So many have series of their own, those with the most machines; a city has a hundred and some hundreds."""
REST = "(others)"
"""The code under which all others are told together."""
FEN = 100
PERCENT = 100


NAMED = ("departments", "systems", "pools", "cloud_providers")
"""Tables of what has a code."""


def collect(tx: Tx, kept: ScrapeCache) -> Iterator[Family]:
    """All of it; each part as it was while nothing that it rests on has changed."""
    departments = kept.of(
        "department codes",
        ("resources", "departments"),
        lambda: _codes(tx, Department, _machines(tx, Resource.department_id), MOST_DEPARTMENTS),
    )
    of_systems: SystemsHave = kept.of("systems have", ("resources",), lambda: _systems_have(tx))
    systems = kept.of(
        "system codes", ("systems",), lambda: _codes(tx, System, of_systems.machines, MOST_SYSTEMS), of_systems.machines
    )
    pools = kept.of("pool codes", ("pools",), lambda: dict(tx.execute(select(Pool.id, Pool.code)).all()))
    codes = (departments, systems)

    def part(name: str, places: Sequence[str], make: Callable[[], Iterable[Metric]], *by: object) -> list[Family]:
        return kept.of(name, places, lambda: families(make()), *by)

    yield from part("directory", NAMED, lambda: _directory(tx, departments, systems), codes)
    yield from part("pools", ("pool_capacities", "pools"), lambda: _pools(tx))
    yield from part("ledger", ("accounts",), lambda: _ledger(tx, pools, departments), pools, departments)
    yield from families([_conserved(tx)])
    yield from part("resources", ("resources",), lambda: _resources(tx, pools), pools)
    yield from part("systems", (), lambda: _systems(systems, of_systems), systems, of_systems)
    yield from part("measured", ("assessments",), lambda: _measured(tx, pools, departments, systems), pools, codes)
    yield from part("costs", ("statement_runs",), lambda: _costs(tx, departments), departments)


def _codes(tx: Tx, model: Any, machines: Mapping[int, int], most: int) -> dict[int, str]:
    """Id → its code, or REST for those beyond ``most``; those with the most ``machines`` come first."""
    every = tx.execute(select(model.id, model.code))
    ranked = sorted(every, key=lambda one: (-machines.get(one[0], 0), one[0]))
    return {one: code if place < most else REST for place, (one, code) in enumerate(ranked)}


def _machines(tx: Tx, column: Any) -> dict[int, int]:
    """Whose machines, by ``column`` → how many are there."""
    counted = select(column, func.count()).where(Resource.gone_at.is_(None), column.is_not(None)).group_by(column)
    return dict(tx.execute(counted).all())


@dataclass(frozen=True, slots=True)
class SystemsHave:
    """``machines``: system → its resources that are there; ``booked``: system and kind → base units that the ledger counts as used for
    them, also for what is gone and was not written off."""

    machines: Mapping[int, int]
    booked: Mapping[tuple[int, str], int]


def _systems_have(tx: Tx) -> SystemsHave:
    """By the text of what is booked, of which there are few: a database takes a figure out of JSON far slower."""
    spelled = cast(Resource.booked, String)
    where = (Resource.system_id, spelled)
    there = func.count(case((Resource.gone_at.is_(None), 1)))
    query: Any = select(*where, func.count(), there).where(Resource.system_id.is_not(None))
    read = cache(json.loads)
    machines: dict[int, int] = defaultdict(int)
    booked: dict[tuple[int, str], int] = defaultdict(int)
    for system, told, count, machines_there in tx.execute(query.group_by(*where)):
        if machines_there:
            machines[system] += machines_there
        for kind, amount in read(told or "{}").items():
            booked[system, kind] += amount * count
    return SystemsHave(machines, booked)


def _told(codes: Mapping[int, str]) -> list[int]:
    """The ids that have series of their own."""
    return [one for one, code in codes.items() if code != REST]


def _directory(tx: Tx, departments: Mapping[int, str], systems: Mapping[int, str]) -> Iterator[Metric]:
    """What stands behind a code, once: to be joined on it."""
    of_pool = InfoMetricFamily("guanjia_pool", "A pool: its name, company, architecture and network zone.",
                               labels=["pool"])  # fmt: skip
    query = select(Pool.code, Pool.name, CloudProvider.code, Pool.arch, Pool.zone).join(
        CloudProvider, CloudProvider.id == Pool.provider_id
    )
    for code, name, company, arch, zone in tx.execute(query.order_by(Pool.code)):
        of_pool.add_metric([code], {"name": name, "provider": company, "arch": arch, "zone": zone})
    of_department = InfoMetricFamily("guanjia_department", "A department: its name.", labels=["department"])
    for one, code, name in tx.execute(select(Department.id, Department.code, Department.name)):
        if departments.get(one) == code:
            of_department.add_metric([code], {"name": name})
    of_system = InfoMetricFamily("guanjia_system", "A system: its name and department.", labels=["system"])
    query_systems = select(System.id, System.code, System.name, System.department_id)
    for one, code, name, owner in tx.execute(query_systems):
        if systems.get(one) == code:
            of_system.add_metric([code], {"name": name, "department": departments.get(owner, REST)})
    yield from (of_pool, of_department, of_system)


def _pools(tx: Tx) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "guanjia_pool_capacity",
        "Base units of a pool: as the company stated them (total), kept back (reserved), to be given out (usable).",
        labels=["pool", "kind", "arch", "of"],
    )
    query = select(Pool.code, Pool.arch, PoolCapacity).join(Pool, Pool.id == PoolCapacity.pool_id)
    for pool, arch, one in tx.execute(query.order_by(Pool.code, PoolCapacity.kind)):
        for of, amount in (("total", one.total), ("reserved", one.reserved), ("usable", one.usable)):
            family.add_metric([pool, one.kind, arch, of], amount)
    yield family


NOBODY = -1
"""In place of the department of an account that is no department's."""


def _ledger(tx: Tx, pools: Mapping[int, str], departments: Mapping[int, str]) -> Iterator[Metric]:
    """All accounts in one pass. A department's quota is all that it owns: granted and free, held by its requests, in use,
    borrowed."""
    told = among(Account.department_id, _told(departments))
    own = case((Account.department_id.is_(None), NOBODY), (told, Account.department_id), else_=0)
    where = (own, Account.pool_id, Account.kind, Account.arch, Account.holder)
    balance: dict[tuple[str, ...], int] = defaultdict(int)
    held: dict[tuple[str, ...], int] = {}
    quota: dict[tuple[str, ...], int] = defaultdict(int)
    owned = {one.value for one in OWNED}
    query = select(*where, func.sum(Account.balance)).group_by(*where)
    for department, pool, kind, arch, holder, figure in tx.execute(query):
        of, amount = (pools[pool], kind, arch), int(figure)
        balance[*of, holder] += amount
        if amount and department != NOBODY and holder in owned:
            code = departments.get(department, REST)
            held[code, *of, holder] = amount
            quota[code, *of] += amount
    yield _family(
        "guanjia_ledger_balance",
        "Base units on the ledger's accounts by pool, resource class, architecture and holder.",
        ["pool", "kind", "arch", "holder"],
        balance,
    )
    labels = ["department", "pool", "kind", "arch"]
    yield _family("guanjia_department_quota", "Base units that a department owns, in use or not.", labels, quota)
    yield _family(
        "guanjia_department_balance",
        "Base units of a department by holder: granted (free to use), held (by requests), used, lent (borrowed, not in use).",
        [*labels, "holder"],
        held,
    )


def _conserved(tx: Tx) -> Metric:
    """Asked each time: it is what tells of a balance that was changed behind the book's back."""
    return GaugeMetricFamily(
        "guanjia_ledger_conserved",
        "1 while free + held + granted + used + lent equals capacity in every pool and class.",
        value=float(ledger.conserved(tx)),
    )


def _family(name: str, text: str, labels: list[str], figures: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for where, figure in sorted(figures.items()):
        family.add_metric(list(where), figure)
    return family


def _resources(tx: Tx, pools: Mapping[int, str]) -> Iterator[Metric]:
    query = (
        select(Resource.pool_id, Resource.kind, Resource.state, func.count())
        .where(Resource.gone_at.is_(None))
        .group_by(Resource.pool_id, Resource.kind, Resource.state)
    )
    figures: dict[tuple[str, ...], float] = {}
    for pool, kind, state, count in tx.execute(query):
        figures[pools[pool], kind, state] = count
    yield _family("guanjia_resources", "Resources in the inventory.", ["pool", "kind", "state"], figures)


def _systems(systems: Mapping[int, str], have: SystemsHave) -> Iterator[Metric]:
    count: dict[tuple[str, ...], int] = defaultdict(int)
    for system, resources in have.machines.items():
        count[(systems.get(system, REST),)] += resources
    used: dict[tuple[str, ...], int] = defaultdict(int)
    for (system, kind), amount in have.booked.items():
        used[systems.get(system, REST), kind] += amount
    yield _family("guanjia_system_resources", "Resources of a system.", ["system"], count)
    yield _family(
        "guanjia_system_used",
        "Base units of its department's quota that a system's resources use, as the ledger counts.",
        ["system", "kind"],
        used,
    )


def _measured(
    tx: Tx, pools: Mapping[int, str], departments: Mapping[int, str], systems: Mapping[int, str]
) -> Iterator[Metric]:
    """Of the latest assessment: means over its longest window, weighed by what each machine has."""
    by_department: dict[tuple[str, ...], Utilization] = defaultdict(Utilization)
    by_pool: dict[tuple[str, ...], Utilization] = defaultdict(Utilization)
    found = gains(tx, _told(departments), _told(systems))
    for (pool, department, kind), one in found.uses.items():
        by_department[departments.get(department, REST), kind].join(one)
        by_pool[pools[pool], kind].join(one)
    by_system: dict[tuple[str, ...], Utilization] = defaultdict(Utilization)
    for (system, kind), one in found.systems.items():
        by_system[systems.get(system, REST), kind].join(one)
    for whole, of in (("pool", by_pool), ("department", by_department), ("system", by_system)):
        used = {where: one.mean / PERCENT for where, one in of.items() if one.mean is not None}
        seen = {where: one.coverage / PERCENT for where, one in of.items() if one.coverage is not None}
        labels = [whole, "kind"]
        yield _family(
            f"guanjia_{whole}_use_ratio", f"Measured use of what a {whole} has, where it is known.", labels, used
        )
        yield _family(
            f"guanjia_{whole}_coverage_ratio", f"Share of what a {whole} has of which use is known.", labels, seen
        )
    yield _family(
        "guanjia_system_measured",
        "Base units of what a system has that were found in use, of those whose use is known.",
        ["system", "kind"],
        {where: one.load / PERCENT for where, one in by_system.items() if one.measured},
    )
    freed: dict[tuple[str, ...], int] = defaultdict(int)
    for (pool, department, kind), amount in found.reclaimable.items():
        freed[departments.get(department, REST), pools[pool], kind] += amount
    yield _family(
        "guanjia_reclaimable",
        "Base units that the latest findings would free of what is idle or underused.",
        ["department", "pool", "kind"],
        freed,
    )


def _costs(tx: Tx, departments: Mapping[int, str]) -> Iterator[Metric]:
    """The newest statement of the newest month, with its corrections."""
    costs: dict[tuple[str, ...], float] = defaultdict(float)
    until = GaugeMetricFamily("guanjia_statement_until_timestamp_seconds", "Up to when the newest statement counts.")
    unpriced = GaugeMetricFamily("guanjia_statement_unpriced_lines", "Lines of the newest statement without a price.")
    months = statements.months(tx)
    run: StatementRun | None = statements.latest(tx, months[0]) if months else None
    if run is not None:
        until.add_metric([], run.until.timestamp())
        unpriced.add_metric([], run.unpriced)
        query = (
            select(StatementLine.department_id, CloudProvider.code, func.sum(StatementLine.cost_fen))
            .join(CloudProvider, CloudProvider.id == StatementLine.provider_id)
            .where(StatementLine.run_id == run.id)
            .group_by(StatementLine.department_id, CloudProvider.code)
        )
        for department, company, fen in tx.execute(query):
            costs[departments.get(department or 0, REST), company] += float(fen or 0) / FEN
    yield _family(
        "guanjia_cost_yuan", "Yuan on the newest statement for what is proven.", ["department", "provider"], costs
    )
    yield from (until, unpriced)
