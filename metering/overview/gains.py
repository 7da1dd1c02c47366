"""What the latest assessment says of systems, and what could be taken back from whom: for programs that watch the city."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import String, cast, func, select

from metering.judging import Finding, MeasuredUse, Verdict, findings, wholes
from metering.overview.utilizations import Utilization, UtilizationKey, measured
from quota.inventory import Resource
from quota.units import ClassCode

if TYPE_CHECKING:
    from metering.judging import Assessment
    from quota.db import Tx


@dataclass(slots=True)
class Gains:
    """``uses``: pool, department (0: nobody's) and kind, and ``systems``: system and kind → its utilisation; ``reclaimable``:
    pool, department (0: nobody's) and kind → base units that its findings would free."""

    uses: Mapping[UtilizationKey, Utilization] = field(default_factory=dict)
    systems: dict[tuple[int, ClassCode], Utilization] = field(default_factory=dict)
    reclaimable: dict[tuple[int, int, ClassCode], int] = field(default_factory=dict)


def gains(tx: Tx) -> Gains:
    """Of the latest assessment; kept in this process until there is another."""
    run = findings.last_run(tx)
    if run is None:
        return Gains()
    kept = _kept((str(tx.get_bind().engine.url), run.id, run.resources))
    if not kept:
        kept.append(_read(tx, run))
    return kept[0]


@lru_cache(maxsize=4)
def _kept(key: tuple[str, int, int]) -> list[Gains]:  # noqa: ARG001 - what it is kept by
    return []


def _read(tx: Tx, run: Assessment) -> Gains:
    return Gains(measured(tx, apart=True).of, _systems(tx, run), _reclaimable(tx, run))


def _systems(tx: Tx, run: Assessment) -> dict[tuple[int, ClassCode], Utilization]:
    sums = [func.sum(one) for one in (MeasuredUse.load, MeasuredUse.measured, MeasuredUse.covered, MeasuredUse.total)]
    query = (
        select(MeasuredUse.system_id, MeasuredUse.kind, *sums)
        .where(
            MeasuredUse.assessment_id == run.id,
            MeasuredUse.kind.in_(list(wholes.FIGURES)),
            MeasuredUse.system_id.is_not(None),
            MeasuredUse.total > 0,
        )
        .group_by(MeasuredUse.system_id, MeasuredUse.kind)
    )
    found: dict[tuple[int, ClassCode], Utilization] = {}
    for system_id, kind, *figures in tx.execute(query):
        load, known, covered, total = figures
        found[system_id or 0, ClassCode(kind)] = Utilization(float(load), int(known), float(covered), int(total))
    return found


def _reclaimable(tx: Tx, run: Assessment) -> dict[tuple[int, int, ClassCode], int]:
    """By the text of what each would free, of which there are few: a database takes a figure out of JSON far slower."""
    freed = cast(Finding.recoverable, String)
    query = (
        select(Resource.pool_id, Resource.department_id, freed, func.count())
        .join(Finding, Finding.resource_id == Resource.id)
        .where(
            Finding.assessment_id == run.id,
            Finding.verdict.in_([Verdict.IDLE.value, Verdict.UNDERUSED.value]),
            Resource.gone_at.is_(None),
        )
        .group_by(Resource.pool_id, Resource.department_id, freed)
    )
    found: dict[tuple[int, int, ClassCode], int] = {}
    for pool_id, department_id, told, count in tx.execute(query):
        for kind, amount in json.loads(told or "{}").items():
            key = (pool_id, department_id or 0, ClassCode(kind))
            found[key] = found.get(key, 0) + amount * count
    return found
