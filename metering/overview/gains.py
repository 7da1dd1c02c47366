"""What the latest assessment says of systems, and what could be taken back from whom: for programs that watch the city."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import String, cast, func, select

from metering.judging import Finding, Verdict, findings
from metering.overview.utilizations import FIGURES, Utilization, sums
from quota.inventory import Resource
from quota.units import ClassCode

if TYPE_CHECKING:
    from metering.judging import Assessment
    from quota.db import Tx


@dataclass(slots=True)
class Gains:
    """``systems``: system and kind → its utilisation; ``reclaimable``: pool, department (0: nobody's) and kind → base units
    that its findings would free."""

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
    numbers = tx.scalar(select(Finding.numbers).where(Finding.assessment_id == run.id).limit(1)) or {}
    windows: Mapping[str, object] = numbers.get("windows") or {"0": {}}
    longest = max(windows, key=int)
    return Gains(_systems(tx, run, longest), _reclaimable(tx, run))


def _systems(tx: Tx, run: Assessment, longest: str) -> dict[tuple[int, ClassCode], Utilization]:
    query = (
        select(Resource.system_id, *(one for kind in FIGURES for one in sums(kind, longest)))
        .join(Finding, Finding.resource_id == Resource.id)
        .where(Finding.assessment_id == run.id, Resource.gone_at.is_(None), Resource.system_id.is_not(None))
        .group_by(Resource.system_id)
    )
    found: dict[tuple[int, ClassCode], Utilization] = {}
    for system_id, *figures in tx.execute(query):
        for at, kind in enumerate(FIGURES):
            load, known, covered, total = figures[4 * at : 4 * at + 4]
            if total:
                found[system_id, kind] = Utilization(float(load or 0), int(known or 0), float(covered or 0), int(total))
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
