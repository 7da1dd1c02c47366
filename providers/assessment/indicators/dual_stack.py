"""IPv6: how many of a department's or a system's machines are reached by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from providers.assessment import periods
from providers.assessment.measures import COUNTED, EvidenceRow, FigureUnit
from providers.assessment.registry import Direction, Fact, Gathering, Indicator, RefSource, register
from providers.assessment.subjects import SubjectType
from providers.assessment.whose import resources
from quota.db import batches
from quota.directory import Pool
from quota.errors import N_
from quota.inventory import Resource, ResourceChange, readiness, there_at

TOLD = ("address", "tags", "state")


def gather(gathering: Gathering, _rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """A row a pool: machines of which an address was known at the period's end, and as many of them as had one of IPv6."""
    tx, end = gathering.tx, periods.end(gathering.period, gathering.tx.now)
    there = tx.execute(
        select(Resource.id, Resource.pool_id, Resource.address, Resource.tags, Resource.state).where(
            resources(tx, gathering.subject), Resource.kind.in_(readiness.MACHINES), there_at(end)
        )
    ).all()
    before = _before(gathering, [one.id for one in there])
    sums: dict[int, list[int]] = {}
    for one in there:
        said = {"address": one.address, "tags": one.tags, "state": one.state} | before.get(one.id, {})
        if said["state"] in readiness.PUT_AWAY:
            continue
        if readiness.addressed(said["address"], said["tags"]):
            of_pool = sums.setdefault(one.pool_id, [0, 0])
            of_pool[0] += 1
            of_pool[1] += readiness.speaks_ipv6(said["address"], said["tags"])
    return [
        EvidenceRow(f"dual_stack:{pool.code}", {"count": sums[pool.id][0], "good": sums[pool.id][1]})
        for pool in tx.scalars(select(Pool).where(Pool.id.in_(sums)).order_by(Pool.id))
    ]


def _before(gathering: Gathering, machines: Sequence[int]) -> Mapping[int, dict[str, Any]]:
    """Machine → what its listing said at the period's end of what it says otherwise since, and its state then."""
    tx, end = gathering.tx, periods.end(gathering.period, gathering.tx.now)
    found: dict[int, dict[str, Any]] = {}
    for part in batches(machines):
        query = (
            select(ResourceChange.resource_id, ResourceChange.before)
            .where(ResourceChange.resource_id.in_(part), ResourceChange.at >= end)
            .order_by(ResourceChange.at.desc(), ResourceChange.id.desc())
        )
        for machine, said in tx.execute(query):
            found.setdefault(machine, {}).update({name: said[name] for name in TOLD if name in said})
    return {
        machine: {name: said[name] or ({} if name == "tags" else None) for name in said}
        for machine, said in found.items()
    }


register(
    Indicator(
        code="dual_stack",
        label=N_("IPv6 支持"),
        explanation=N_("期末已知地址的云主机与裸金属中有 IPv6 地址的比例；没有地址记录的不计"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=COUNTED,
        weight=Decimal(5),
        limits={"full": Decimal("0.5"), "per_point": Decimal("0.1")},
        order=65,
        edition=7,
        holding=gather,
        facts=(Fact("count", N_("已知地址的主机")), Fact("good", N_("有 IPv6 地址的主机"))),
        sources={"dual_stack": RefSource(N_("IPv6 支持"))},
        subjects=frozenset({SubjectType.DEPARTMENT, SubjectType.SYSTEM}),
    )
)
