"""The indicator «CPU 时间足额»: of the hours for which it is known how much of their CPU time was stolen from machines (steal), in
how many a tenth and more of it was. The share is of all their CPU time, idle included: how much of what a machine wanted that
was, it does not say. What the sizes of machines promise is a thing of «足额交付»; this is what they got of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import select

from metering.intake.indicators.completeness import HOSTS, whole_days
from metering.intake.short_deliveries import STOLEN_PCT
from metering.workbench import Workbench
from providers.assessment import (
    CardSubject,
    Direction,
    EvidenceRow,
    Fact,
    FactFormat,
    FigureUnit,
    Indicator,
    RefSource,
    measures,
    periods,
    register,
)
from quota.directory import Pool
from quota.errors import N_
from quota.inventory import Resource

if TYPE_CHECKING:
    from datetime import date, datetime

STOLEN = "stolen"
METRIC = "steal_pct"


def beforehand(workbench: Workbench, subject: CardSubject, period: str) -> Mapping[str, Sequence[EvidenceRow]]:
    """Month → a row a pool of which any machine told its stolen time: the lake is read here, while nobody waits for the book."""
    with workbench.book.reading() as tx:
        hosts = dict(
            tx.execute(
                select(Resource.id, Pool.code)
                .join(Pool, Pool.id == Resource.pool_id)
                .where(Pool.provider_id == subject.id, Resource.kind.in_(HOSTS))
            ).all()
        )
        first, now = next(iter(workbench.lake.days()), None), tx.now
    return {month: _of_month(workbench, hosts, month, first, now) for month in periods.months(period)}


def _of_month(
    workbench: Workbench, hosts: Mapping[int, str], month: str, first: date | None, now: datetime
) -> list[EvidenceRow]:
    days = list(whole_days(month, first, now))
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    if days and hosts:
        heard = workbench.lake.hours_above(hosts, days[0], days[-1], METRIC, STOLEN_PCT)
        for machine, (told, short) in heard.items():
            of_pool = sums[hosts[machine]]
            for place, figure in enumerate((1, told, short)):
                of_pool[place] += figure
    return [
        EvidenceRow(
            f"{STOLEN}:{pool}/{month}",
            {"pool": pool, "month": month, "days": len(days), "machines": machines, "whole": told, "part": short},
        )
        for pool, (machines, told, short) in sorted(sums.items())
    ]


register(
    Indicator(
        code="cpu_time",
        label=N_("CPU 时间足额"),
        explanation=N_(
            "主机全部CPU时间（含空闲）有一成以上被宿主机抢占的小时数，占能测到抢占时间的小时数之比；测不到的不计"
        ),
        unit=FigureUnit.SHARE,
        direction=Direction.LOWER,
        measure=measures.EXCESS,
        weight=Decimal(3),
        limits={"allowed": Decimal("0.01"), "per_point": measures.ONE},
        order=27,
        edition=6,
        beforehand=beforehand,
        facts=(
            Fact("pool", N_("资源池"), FactFormat.POOL),
            Fact("month", N_("月份"), FactFormat.PLAIN),
            Fact("days", N_("天数")),
            Fact("machines", N_("主机数")),
            Fact("whole", N_("测到抢占时间的小时数")),
            Fact("part", N_("不足的小时数")),
        ),
        sources={STOLEN: RefSource(N_("CPU 抢占时间"))},
    )
)
