"""What is measured of what a request is about, and of what its department has already in its pool, as facts that approval rules may
speak of. Of the newest assessment alone; no data is not zero: what too little was measured of is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from metering.judging import FIGURES, SAFE_COVERAGE, Assessment, Finding, MeasuredUse, findings
from quota.errors import N_
from quota.requests import Request, RuleFact, facts
from quota.units import ACCELERATOR, MEMORY, VCPU

if TYPE_CHECKING:
    from quota.db import Tx

OF_THE_RESOURCE = {
    f"resource_{code}": RuleFact(float, label, 0)
    for code, label in (
        ("cpu_mean", N_("所涉资源 CPU 均值 %")),
        ("cpu_p95", N_("所涉资源 CPU P95 %")),
        ("mem_mean", N_("所涉资源内存均值 %")),
        ("mem_p95", N_("所涉资源内存 P95 %")),
    )
}
HELD: dict[str, str] = {VCPU: "cpu", MEMORY: "mem", ACCELERATOR: "card"}
OF_THE_HELD = {
    "held_cpu_mean": RuleFact(float, N_("本单位在该资源池 CPU 均值 %"), 0),
    "held_mem_mean": RuleFact(float, N_("本单位在该资源池内存均值 %"), 0),
    "held_card_mean": RuleFact(float, N_("本单位在该资源池加速卡均值 %"), 0),
    "held_cpu_idle": RuleFact(float, N_("本单位在该资源池 vCPU 闲置率 %"), 0),
    "held_mem_idle": RuleFact(float, N_("本单位在该资源池内存闲置率 %"), 0),
    "held_card_idle": RuleFact(float, N_("本单位在该资源池加速卡闲置率 %"), 0),
}


def uses(tx: Tx, request: Request) -> Mapping[str, Any]:
    """What the newest assessment says of the resource of ``request``, and of what its department has in its pool. None: not known."""
    run = findings.last_run(tx)
    if run is None:
        return dict.fromkeys({**OF_THE_RESOURCE, **OF_THE_HELD})
    return {**_of_the_resource(tx, run, request.resource_id), **_of_the_held(tx, run, request)}


def _of_the_resource(tx: Tx, run: Assessment, resource_id: int | None) -> Mapping[str, Any]:
    """Of each figure the longest window that knows enough of it."""
    query = select(Finding.numbers).where(Finding.assessment_id == run.id, Finding.resource_id == resource_id)
    numbers = tx.scalar(query) if resource_id is not None else None
    windows = (numbers or {}).get("windows") or {}
    longest_first = [windows[days] for days in sorted(windows, key=int, reverse=True)]

    def known(code: str) -> float | None:
        covered = FIGURES[code].coverage
        seen = (one[code] for one in longest_first if one.get(code) is not None and _enough(one.get(covered)))
        found = next(seen, None)
        return None if found is None else round(float(found), 2)

    return {name: known(name.removeprefix("resource_")) for name in OF_THE_RESOURCE}


def _enough(coverage: float | None) -> bool:
    return coverage is not None and coverage >= SAFE_COVERAGE


def _of_the_held(tx: Tx, run: Assessment, request: Request) -> Mapping[str, Any]:
    """Of each class the mean, and the share that findings would free; of as much measured as the policy asks for wholes."""
    query = (
        select(
            MeasuredUse.kind,
            func.sum(MeasuredUse.load),
            func.sum(MeasuredUse.measured),
            func.sum(MeasuredUse.reclaimable),
            func.sum(MeasuredUse.total),
        )
        .where(MeasuredUse.assessment_id == run.id, MeasuredUse.kind.in_(list(HELD)))
        .where(MeasuredUse.pool_id == request.pool_id, MeasuredUse.department_id == request.department_id)
        .group_by(MeasuredUse.kind)
    )
    covered = run.policy_version.policy().wholes.covered
    found: dict[str, Any] = dict.fromkeys(OF_THE_HELD)
    for kind, load, measured, freed, total in tx.execute(query):
        if measured and measured >= covered * int(total):  # PostgreSQL sums whole numbers as decimals
            found[f"held_{HELD[kind]}_mean"] = round(float(load) / int(measured), 2)
            found[f"held_{HELD[kind]}_idle"] = round(100 * int(freed) / int(total), 2)
    return found


facts.register_together({**OF_THE_RESOURCE, **OF_THE_HELD}, uses)
