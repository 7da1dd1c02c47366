"""Quota and its use: capacities of pools, what departments hold and use, what was measured of it, what could be taken back,
what it costs. Base units throughout; ratios from 0 to 1; unknown is left out, never 0."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from sqlalchemy import func, select

from metering import statements
from metering.overview import Utilization, gains
from metering.statements import StatementLine, StatementRun
from quota import ledger
from quota.db import Tx
from quota.directory import CloudProvider, Department, Pool, PoolCapacity, System
from quota.inventory import Resource
from quota.ledger import OWNED, Account

MOST_DEPARTMENTS, MOST_SYSTEMS = 300, 1000
"""So many have series of their own, those with the most machines; a city has a hundred and some hundreds."""
REST = "(others)"
"""The code under which all others are told together."""
FEN = 100
PERCENT = 100


def collect(tx: Tx) -> Iterator[Metric]:
    """All of it."""
    departments = _codes(tx, Department, Resource.department_id, MOST_DEPARTMENTS)
    systems = _codes(tx, System, Resource.system_id, MOST_SYSTEMS)
    pools: dict[int, str] = {one: code for one, code in tx.execute(select(Pool.id, Pool.code))}  # noqa: C416
    yield from _directory(tx, departments, systems)
    yield from _pools(tx)
    yield from _ledger(tx)
    yield from _departments(tx, pools, departments)
    yield from _resources(tx)
    yield from _systems(tx, systems)
    yield from _measured(tx, pools, departments, systems)
    yield from _costs(tx, departments)


def _codes(tx: Tx, model: Any, column: Any, most: int) -> dict[int, str]:
    """Id → its code, or REST for those beyond ``most``; those with the most machines come first."""
    machines = (
        select(column.label("id"), func.count().label("n"))
        .where(Resource.gone_at.is_(None))
        .group_by(column)
        .subquery()
    )
    query = (
        select(model.id, model.code)
        .outerjoin(machines, machines.c.id == model.id)
        .order_by(func.coalesce(machines.c.n, 0).desc(), model.id)
    )
    return {one: code if place < most else REST for place, (one, code) in enumerate(tx.execute(query))}


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


def _ledger(tx: Tx) -> Iterator[Metric]:
    balance = GaugeMetricFamily(
        "guanjia_ledger_balance",
        "Base units on the ledger's accounts by pool, resource class, architecture and holder.",
        labels=["pool", "kind", "arch", "holder"],
    )
    query = (
        select(Pool.code, Account.kind, Account.arch, Account.holder, func.sum(Account.balance))
        .join(Pool, Pool.id == Account.pool_id)
        .group_by(Pool.code, Account.kind, Account.arch, Account.holder)
    )
    for pool, kind, arch, holder, amount in tx.execute(query):
        balance.add_metric([pool, kind, arch, holder], float(amount))
    yield balance
    yield GaugeMetricFamily(
        "guanjia_ledger_conserved",
        "1 while free + held + granted + used + lent equals capacity in every pool and class.",
        value=float(ledger.conserved(tx)),
    )


def _departments(tx: Tx, pools: Mapping[int, str], departments: Mapping[int, str]) -> Iterator[Metric]:
    """Quota is all that a department owns: granted and free, held by its requests, in use, borrowed."""
    held: dict[tuple[str, ...], int] = defaultdict(int)
    quota: dict[tuple[str, ...], int] = defaultdict(int)
    owned = [one.value for one in OWNED]
    query = select(
        Account.department_id, Account.pool_id, Account.kind, Account.arch, Account.holder, Account.balance
    ).where(Account.department_id.is_not(None), Account.holder.in_(owned), Account.balance != 0)
    for department, pool, kind, arch, holder, amount in tx.execute(query):
        where = (departments.get(department or 0, REST), pools[pool], kind, arch)
        held[*where, holder] += amount
        quota[where] += amount
    labels = ["department", "pool", "kind", "arch"]
    yield _family("guanjia_department_quota", "Base units that a department owns, in use or not.", labels, quota)
    yield _family(
        "guanjia_department_balance",
        "Base units of a department by holder: granted (free to use), held (by requests), used, lent (borrowed, not in use).",
        [*labels, "holder"],
        held,
    )


def _family(name: str, text: str, labels: list[str], figures: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for where, figure in sorted(figures.items()):
        family.add_metric(list(where), figure)
    return family


def _resources(tx: Tx) -> Iterator[Metric]:
    family = GaugeMetricFamily("guanjia_resources", "Resources in the inventory.", labels=["pool", "kind", "state"])
    query = (
        select(Pool.code, Resource.kind, Resource.state, func.count())
        .join(Pool, Pool.id == Resource.pool_id)
        .where(Resource.gone_at.is_(None))
        .group_by(Pool.code, Resource.kind, Resource.state)
    )
    for pool, kind, state, count in tx.execute(query):
        family.add_metric([pool, kind, state], count)
    yield family


def _systems(tx: Tx, systems: Mapping[int, str]) -> Iterator[Metric]:
    count: dict[tuple[str, ...], int] = defaultdict(int)
    query = (
        select(Resource.system_id, func.count())
        .where(Resource.gone_at.is_(None), Resource.system_id.is_not(None))
        .group_by(Resource.system_id)
    )
    for system, resources in tx.execute(query):
        count[(systems.get(system or 0, REST),)] += resources
    yield _family("guanjia_system_resources", "Resources of a system.", ["system"], count)


def _measured(
    tx: Tx, pools: Mapping[int, str], departments: Mapping[int, str], systems: Mapping[int, str]
) -> Iterator[Metric]:
    """Of the latest assessment: means over its longest window, weighed by what each machine has."""
    by_department: dict[tuple[str, ...], Utilization] = defaultdict(Utilization)
    by_pool: dict[tuple[str, ...], Utilization] = defaultdict(Utilization)
    found = gains(tx)
    for (pool, department, kind), one in found.uses.items():
        by_department[departments.get(department or 0, REST), kind].join(one)
        by_pool[pools[pool], kind].join(one)
    by_system: dict[tuple[str, ...], Utilization] = defaultdict(Utilization)
    for (system, kind), one in found.systems.items():
        by_system[systems.get(system or 0, REST), kind].join(one)
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
    freed: dict[tuple[str, ...], int] = defaultdict(int)
    for (pool, department, kind), amount in found.reclaimable.items():
        freed[departments.get(department or 0, REST), pools[pool], kind] += amount
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
