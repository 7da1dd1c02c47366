"""Use of what one has: the share that could be given back, over the redundancy that the city allows."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from metering.cases import exemptions
from metering.cases.indicators import judged
from metering.judging import RECLAIMABLE
from providers.assessment import (
    Direction,
    EvidenceRow,
    Fact,
    FactFormat,
    FigureUnit,
    Gathering,
    Indicator,
    RefSource,
    SubjectType,
    measures,
    periods,
    register,
)
from quota.errors import N_
from quota.units import MEMORY, VCPU, ClassCode, shown

NO_SYSTEM = "none"


def gather(gathering: Gathering, _rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """A row a system and class: what its resources have, and what the assessment says could be given back. What was exempted
    at the period's end is had for a reason, and is not idle."""
    run = judged.run_of(gathering.tx, gathering.period)
    if run is None:
        return []
    exempt = exemptions.exempt_at(gathering.tx, periods.end(gathering.period, gathering.tx.now))
    sums: dict[tuple[str, str, ClassCode], list[int]] = {}
    for finding, resource, system in judged.of(gathering, run):
        free = finding.is_now() in RECLAIMABLE and resource.id not in exempt
        for kind in (VCPU, MEMORY):
            whole = int(finding.shape.get(kind, 0))
            if whole:
                key = (system.code, system.name, kind) if system is not None else (NO_SYSTEM, "", kind)
                of = sums.setdefault(key, [0, 0])
                of[0] += min(whole, int(finding.recoverable.get(kind, 0))) if free else 0
                of[1] += whole
    return [
        EvidenceRow(
            f"idle:{code}/{kind}",
            {"system": name, "kind": str(kind), "part": str(shown(kind, part)), "whole": str(shown(kind, whole)),
             "on": run.last_day.isoformat()},
        )
        for (code, name, kind), (part, whole) in sums.items()
    ]  # fmt: skip


register(
    Indicator(
        code="idle",
        label=N_("闲置占比"),
        explanation=N_("期末评估认定可收回的 vCPU 和内存占现有量的比例,超出允许的冗余度部分扣分;已获豁免的不计"),
        unit=FigureUnit.SHARE,
        direction=Direction.LOWER,
        measure=measures.EXCESS,
        weight=Decimal(25),
        limits={"allowed": Decimal("0.2"), "per_point": Decimal("0.5")},
        order=10,
        edition=1,
        holding=gather,
        facts=(
            Fact("system", N_("信息系统"), FactFormat.PLAIN),
            Fact("kind", N_("类别"), FactFormat.RESOURCE_CLASS, names=True),
            Fact("part", N_("可收回")),
            Fact("whole", N_("现有")),
            Fact("on", N_("评估至"), FactFormat.MOMENT),
        ),
        sources={"idle": RefSource(N_("闲置"))},
        subjects=frozenset({SubjectType.DEPARTMENT, SubjectType.SYSTEM}),
    )
)
