"""Incidents: how many time limits of response and recovery were missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy import select

from providers import comments
from providers.assessment.measures import EvidenceRow, FigureUnit, Measure, MeasureLimit, MeasureResult
from providers.assessment.registry import Direction, Fact, Gathering, Indicator, register
from providers.base import Responsibility
from providers.billing import Incident, incidents, month_bounds
from quota.calendar import working_days
from quota.errors import N_


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """Incidents that began in the month and were settled as the company's."""
    tx = gathering.tx
    start, end = month_bounds(month)
    days = working_days(tx)
    found = tx.scalars(
        select(Incident)
        .where(
            Incident.provider_id == gathering.subject.id,
            Incident.started_at >= start,
            Incident.started_at < end,
            Incident.responsibility == Responsibility.PROVIDER.value,
        )
        .order_by(Incident.id)
    ).all()
    excused = comments.upheld(tx, (f"incident:{incident.id}" for incident in found))
    return [
        EvidenceRow(
            f"incident:{incident.id}",
            {"level": incident.level, "misses": incidents.misses(incident, days, tx.now, gathering.by.incidents)},
        )
        for incident in found
        if f"incident:{incident.id}" not in excused
    ]


def _measure(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult:
    """``per_miss`` for each time limit that was missed."""
    misses = sum(int(row.facts["misses"]) for row in rows)
    return MeasureResult(
        Decimal(misses), misses * limits["per_miss"],
        N_("%(count)s 起已定责故障中,超出响应或恢复时限 %(misses)s 次"),
        {"count": len(rows), "misses": misses},
    )  # fmt: skip


register(
    Indicator(
        code="incidents",
        label=N_("故障响应与恢复"),
        explanation=N_("当期发生、已定责为云服务商的故障超出响应或恢复时限的次数;争议成立的故障不计"),
        unit=FigureUnit.COUNT,
        direction=Direction.LOWER,
        measure=Measure("misses", (MeasureLimit("per_miss", N_("每次超时扣"), FigureUnit.POINTS),), _measure),
        weight=Decimal(12),
        limits={"per_miss": Decimal(2)},
        order=30,
        edition=2,
        happened=gather,
        by_incident_terms=True,
        facts=(Fact("level", N_("级别")), Fact("misses", N_("超时"))),
    )
)
