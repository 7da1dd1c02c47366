"""How well an information system uses its machines: mean use of cores and of memory over the assessment's longest window."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from metering.cases.indicators import judged
from metering.judging import wholes
from providers.assessment import (
    Direction,
    EvidenceRow,
    Fact,
    FactFormat,
    FigureUnit,
    Gathering,
    Indicator,
    Measure,
    MeasureLimit,
    MeasureResult,
    SubjectType,
    measures,
    register,
)
from quota.errors import N_
from quota.units import MEMORY, VCPU, ClassCode, shown


def used(kind: ClassCode, figure: str) -> Callable[[Gathering, Sequence[EvidenceRow]], list[EvidenceRow]]:
    """A row a machine of which the figure is known: what it has, and its mean use in per cent."""

    def gather(gathering: Gathering, _rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
        run = judged.run_of(gathering.tx, gathering.period)
        if run is None:
            return []
        found = []
        for finding, resource, _system in judged.of(gathering, run):
            mean, has = wholes.longest(finding.numbers, figure), int(finding.shape.get(kind, 0))
            if mean is not None and has:
                facts = {"has": str(shown(kind, has)), "mean": str(round(mean, 2)), "on": run.last_day.isoformat()}
                found.append(EvidenceRow(f"resource:{resource.id}/{kind}", facts))
        return found

    return gather


def _measure(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult | None:
    """The mean over what the machines have; below ``full``, ``per_point`` a percentage point."""
    has = sum((Decimal(row.facts["has"]) for row in rows), measures.ZERO)
    if not has:
        return None
    used = sum((Decimal(row.facts["has"]) * Decimal(row.facts["mean"]) for row in rows), measures.ZERO)
    share = used / has / measures.HUNDRED
    return MeasureResult(
        measures.rounded(share, 4), measures.below(share, limits),
        N_("%(count)s 台主机加权平均使用率 %(share)s%%,满分线 %(full)s%%"),
        {"count": len(rows), "share": measures.percent(share), "full": measures.percent(limits["full"])},
    )  # fmt: skip


WEIGHED_MEAN = Measure(
    "weighed_mean", (measures.FULL, MeasureLimit("per_point", N_("每差一个百分点扣"), FigureUnit.POINTS)), _measure
)

for _code, _kind, _figure, _label, _full, _order in (
    ("cpu_use", VCPU, "cpu_mean", N_("CPU 使用率"), Decimal("0.3"), 5),
    ("memory_use", MEMORY, "mem_mean", N_("内存使用率"), Decimal("0.4"), 6),
):
    register(
        Indicator(
            code=_code,
            label=_label,
            explanation=N_("期末评估中主机的平均使用率,按配置加权;只计有数据的主机"),
            unit=FigureUnit.SHARE,
            direction=Direction.HIGHER,
            measure=WEIGHED_MEAN,
            weight=Decimal(20),
            limits={"full": _full, "per_point": measures.ONE},
            order=_order,
            edition=1,
            holding=used(_kind, _figure),
            facts=(
                Fact("has", N_("配置")),
                Fact("mean", N_("平均使用率(%)")),
                Fact("on", N_("评估至"), FactFormat.MOMENT),
            ),
            subjects=frozenset({SubjectType.SYSTEM}),
        )
    )
