"""Satisfaction: how departments rated what they accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy import select

from providers.assessment import ratings
from providers.assessment.measures import EvidenceRow, FigureUnit, Measure, MeasureLimit, MeasureResult, plain, rounded
from providers.assessment.ratings import STARS, Rating
from providers.assessment.registry import Direction, Fact, FactFormat, Gathering, Indicator, register
from providers.billing import month_bounds
from quota.errors import N_

BEST = max(STARS)


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    start, end = month_bounds(month)
    company = gathering.subject.id
    served = ratings.served(gathering.tx, company)
    found = gathering.tx.scalars(
        select(Rating).where(Rating.provider_id == company, Rating.at >= start, Rating.at < end).order_by(Rating.id)
    )
    return [
        EvidenceRow(
            f"rating:{rating.id}",
            {"order": rating.order_id, "stars": rating.stars, "department": rating.department_id, "of": served},
        )
        for rating in found
    ]


def _measure(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult | None:
    """Mean of 1–5 stars, ``per_star`` for each star short of five. None below ``least_answers`` answers unless those who
    answered are ``least_share`` of the departments that the company serves (``of``)."""
    answered = len({row.facts["department"] for row in rows})
    of = max(int(row.facts["of"]) for row in rows)
    if len(rows) < limits["least_answers"] and (not of or Decimal(answered) / of < limits["least_share"]):
        return None
    mean = Decimal(sum(int(row.facts["stars"]) for row in rows)) / len(rows)
    return MeasureResult(
        rounded(mean), (BEST - mean) * limits["per_star"],
        N_("%(count)s 份评价(%(answered)s 个单位,共 %(of)s 个),平均 %(mean)s 分,满分 5 分"),
        {"count": len(rows), "answered": answered, "of": of, "mean": plain(rounded(mean))},
    )  # fmt: skip


register(
    Indicator(
        code="satisfaction",
        label=N_("满意度"),
        explanation=N_("使用单位对验收工单的平均评分;评价太少时不计分"),
        unit=FigureUnit.STARS,
        direction=Direction.HIGHER,
        measure=Measure(
            "satisfaction",
            (
                MeasureLimit("per_star", N_("每差一星扣"), FigureUnit.POINTS),
                MeasureLimit("least_answers", N_("至少评价份数"), FigureUnit.COUNT),
                MeasureLimit("least_share", N_("或至少覆盖的使用单位"), FigureUnit.SHARE),
            ),
            _measure,
        ),
        weight=Decimal(10),
        limits={"per_star": Decimal("2.5"), "least_answers": Decimal(30), "least_share": Decimal("0.2")},
        order=70,
        edition=2,
        happened=gather,
        facts=(
            Fact("order", N_("工单"), FactFormat.ORDER),
            Fact("stars", N_("评分")),
            Fact("department", N_("使用单位"), FactFormat.DEPARTMENT),
            Fact("of", N_("服务单位数")),
        ),
    )
)
