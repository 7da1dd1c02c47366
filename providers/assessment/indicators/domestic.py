"""信创 share: how much of a department's resources lies in pools on domestic chips."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import select

from providers.assessment import periods
from providers.assessment.measures import COUNTED, EvidenceRow, FigureUnit
from providers.assessment.registry import Direction, Fact, Gathering, Indicator, RefSource, register
from providers.assessment.subjects import SubjectType
from providers.assessment.whose import resources
from quota.directory import Pool
from quota.errors import N_
from quota.inventory import Resource, there_at
from quota.units import VCPU


def gather(gathering: Gathering, _rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """A row a pool: vCPU of what the department had there at the period's end, and as many of them as are on domestic chips."""
    tx = gathering.tx
    cores: dict[int, int] = {}
    own = resources(tx, gathering.subject)
    for pool_id, amounts in tx.execute(
        select(Resource.pool_id, Resource.amounts).where(own, there_at(periods.end(gathering.period, tx.now)))
    ):
        cores[pool_id] = cores.get(pool_id, 0) + int(amounts.get(VCPU, 0))
    pools = tx.scalars(select(Pool).where(Pool.id.in_(cores)).order_by(Pool.id))
    return [
        EvidenceRow(
            f"domestic:{pool.code}",
            {"domestic": pool.xinchuang, "count": cores[pool.id], "good": cores[pool.id] if pool.xinchuang else 0},
        )
        for pool in pools
        if cores[pool.id]
    ]


register(
    Indicator(
        code="domestic",
        label=N_("信创占比"),
        explanation=N_("期末 vCPU 中部署在信创资源池的比例"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=COUNTED,
        weight=Decimal(10),
        limits={"full": Decimal("0.5"), "per_point": Decimal("0.2")},
        order=60,
        edition=1,
        holding=gather,
        facts=(Fact("domestic", N_("信创资源池")), Fact("count", N_("vCPU")), Fact("good", N_("信创 vCPU"))),
        sources={"domestic": RefSource(N_("信创占比"))},
        subjects=frozenset({SubjectType.DEPARTMENT}),
    )
)
