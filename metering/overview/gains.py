"""What the latest assessment says of systems, and what could be taken back from whom: for programs that watch the city.

Use is told apart for those ``departments`` and ``systems`` that are named (every one where None); the others come together under
0, as nobody's does.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Select, String, case, cast, func, literal, select, type_coerce

from metering.judging import WORTH, Finding, MeasuredUse, Verdict, findings, wholes
from metering.overview.utilizations import Utilization, UtilizationKey
from quota.db import among
from quota.inventory import Resource
from quota.units import CLASSES, Amount, ClassCode

if TYPE_CHECKING:
    from metering.judging import Assessment
    from quota.db import Tx

SUMS = [func.sum(one) for one in (MeasuredUse.load, MeasuredUse.measured, MeasuredUse.covered, MeasuredUse.total)]


@dataclass(slots=True)
class Gains:
    """``uses``: pool, department and kind, and ``systems``: system and kind → its utilisation; ``reclaimable``: pool, department
    and kind → base units that its findings would free."""

    uses: Mapping[UtilizationKey, Utilization] = field(default_factory=dict)
    systems: Mapping[tuple[int, ClassCode], Utilization] = field(default_factory=dict)
    reclaimable: Mapping[UtilizationKey, int] = field(default_factory=dict)


def gains(tx: Tx, departments: Collection[int] | None = None, systems: Collection[int] | None = None) -> Gains:
    """Of the latest assessment."""
    run = findings.last_run(tx)
    if run is None:
        return Gains()
    whose = _apart(MeasuredUse.department_id, departments)
    where = (MeasuredUse.pool_id, whose, MeasuredUse.kind)
    query = select(*where, *SUMS).where(*_measured(run)).group_by(*where)
    uses = {
        (pool_id, department_id, ClassCode(kind)): _utilization(*sums)
        for pool_id, department_id, kind, *sums in tx.execute(query)
    }
    return Gains(uses, _systems(tx, run, systems), reclaimable(tx))


def reclaimable(tx: Tx) -> Mapping[UtilizationKey, int]:
    """``Gains.reclaimable`` alone, each department apart; kept in this process until there is another assessment."""
    run = findings.last_run(tx)
    if run is None:
        return {}
    kept = _kept((str(tx.get_bind().engine.url), run.id, run.resources))
    if not kept:
        kept.append(_reclaimable(tx, run))
    return kept[0]


@lru_cache(maxsize=4)
def _kept(key: tuple[str, int, int]) -> list[dict[UtilizationKey, int]]:  # noqa: ARG001 - what it is kept by
    return []


def most_reclaimable(tx: Tx, most: int) -> list[tuple[int, Amount]]:
    """The departments whose findings of the latest assessment would free the most (by ``WORTH``), the most first: id, and what."""
    run = findings.last_run(tx)
    if run is None:
        return []
    alike = _alike(run).subquery()
    # SQLite has no type for what it reads as JSON, and would make a number of it.
    told = alike.c.freed
    freed = cast(told, JSON) if tx.get_bind().dialect.name == "postgresql" else type_coerce(told, JSON)
    sums = {kind: func.coalesce(func.sum(freed[kind].as_integer() * alike.c.machines), 0) for kind in CLASSES}
    worth = sum((sums[kind] * weight for kind, weight in WORTH.items() if kind in sums), start=literal(0.0))
    query = (
        select(alike.c.department_id, *sums.values())
        .where(alike.c.department_id != 0)
        .group_by(alike.c.department_id)
        .having(worth > 0)
        .order_by(worth.desc(), alike.c.department_id.desc())
        .limit(most)
    )
    return [
        (department_id, Amount({kind: int(figure) for kind, figure in zip(sums, figures, strict=True) if figure}))
        for department_id, *figures in tx.execute(query)
    ]


def _alike(run: Assessment) -> Select[int, int, str, int]:
    """Of what is there still: pool, department (0: nobody's), the text of what each would free, and of how many machines."""
    freed = cast(Finding.recoverable, String).label("freed")
    where = (Resource.pool_id, func.coalesce(Resource.department_id, 0).label("department_id"), freed)
    return (
        select(*where, func.count().label("machines"))
        .join(Finding, Finding.resource_id == Resource.id)
        .where(
            Finding.assessment_id == run.id,
            Finding.verdict.in_([Verdict.IDLE.value, Verdict.UNDERUSED.value]),
            Resource.gone_at.is_(None),
        )
        .group_by(*where)
    )


def _reclaimable(tx: Tx, run: Assessment) -> dict[UtilizationKey, int]:
    """Of what is there still; by the text of what each would free, of which there are few: a database takes a figure out of JSON
    far slower."""
    read = cache(json.loads)
    found: dict[UtilizationKey, int] = {}
    for pool_id, department_id, told, count in tx.execute(_alike(run)):
        for kind, amount in read(told or "{}").items():
            key = (pool_id, department_id, ClassCode(kind))
            found[key] = found.get(key, 0) + amount * count
    return found


def _systems(
    tx: Tx, run: Assessment, systems: Collection[int] | None
) -> dict[tuple[int, ClassCode], Utilization]:  # fmt: skip
    where = (_apart(MeasuredUse.system_id, systems), MeasuredUse.kind)
    query = select(*where, *SUMS).where(*_measured(run), MeasuredUse.system_id.is_not(None)).group_by(*where)
    return {(system_id, ClassCode(kind)): _utilization(*sums) for system_id, kind, *sums in tx.execute(query)}


def _apart(column: Any, named: Collection[int] | None) -> Any:
    return func.coalesce(column, 0) if named is None else case((among(column, named), column), else_=0)


def _measured(run: Assessment) -> tuple[Any, ...]:
    return (
        MeasuredUse.assessment_id == run.id,
        MeasuredUse.kind.in_(list(wholes.FIGURES)),
        MeasuredUse.total > 0,
    )


def _utilization(load: float, known: int, covered: float, total: int) -> Utilization:
    return Utilization(float(load), int(known), float(covered), int(total))
