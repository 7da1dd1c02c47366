"""Satisfaction: how departments rated what they accepted, or how they answered surveys; a formula says which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy import select

from providers.assessment import ratings
from providers.assessment.measures import EvidenceRow, FigureUnit, Measure, MeasureLimit, MeasureResult, plain, rounded
from providers.assessment.ratings import STARS, Rating
from providers.assessment.registry import Direction, EvidenceTerm, Fact, FactFormat, Gathering, Indicator, register
from providers.assessment.surveys import Survey, SurveyResult
from providers.billing import month_bounds
from quota.errors import N_

BEST = max(STARS)
CODE, ORDERS, SURVEYS = "satisfaction", "orders", "surveys"
SOURCE = EvidenceTerm(
    "source", N_("评价来源"), (ORDERS,), choices={ORDERS: N_("验收工单的评价"), SURVEYS: N_("满意度调查")}
)


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """Ratings given in the month, and surveys whose last day lies in it, as the formula says."""
    sources = gathering.by.term(CODE, SOURCE.name)
    return [
        *(_rated(gathering, month) if ORDERS in sources else []),
        *(_surveyed(gathering, month) if SURVEYS in sources else []),
    ]


def _surveyed(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """A row a survey: who said what is not told."""
    first = date.fromisoformat(f"{month}-01")
    found = gathering.tx.scalars(
        select(SurveyResult)
        .join(Survey, Survey.id == SurveyResult.survey_id)
        .where(
            SurveyResult.provider_id == gathering.subject.id, SurveyResult.answered > 0,
            Survey.ends_on >= first, Survey.ends_on < (first + timedelta(days=32)).replace(day=1),
        )
        .order_by(SurveyResult.id)
    )  # fmt: skip
    return [
        EvidenceRow(f"survey:{one.survey_id}", {"stars": str(one.stars), "answers": one.answered, "of": one.asked})
        for one in found
    ]


def _rated(gathering: Gathering, month: str) -> list[EvidenceRow]:
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
    """Mean of 1–5 stars of all answers, ``per_star`` for each star short of five. None below ``least_answers`` answers unless those who
    answered are ``least_share`` of the departments that the company serves (``of``)."""
    answers = [int(row.facts.get("answers", 1)) for row in rows]
    rated = {row.facts["department"] for row in rows if "department" in row.facts}
    answered = max(len(rated), *(int(row.facts.get("answers", 0)) for row in rows))
    of, count = max(int(row.facts["of"]) for row in rows), sum(answers)
    if count < limits["least_answers"] and (not of or Decimal(answered) / of < limits["least_share"]):
        return None
    mean = sum((Decimal(row.facts["stars"]) * n for row, n in zip(rows, answers, strict=True)), Decimal(0)) / count
    return MeasureResult(
        rounded(mean), (BEST - mean) * limits["per_star"],
        N_("%(count)s 份评价(%(answered)s 个单位,共 %(of)s 个),平均 %(mean)s 分,满分 5 分"),
        {"count": count, "answered": answered, "of": of, "mean": plain(rounded(mean))},
    )  # fmt: skip


register(
    Indicator(
        code=CODE,
        label=N_("满意度"),
        explanation=N_("使用单位对验收工单的平均评分，或满意度调查的结果;评价太少时不计分"),
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
        terms=(SOURCE,),
        facts=(
            Fact("order", N_("工单"), FactFormat.ORDER),
            Fact("stars", N_("评分")),
            Fact("department", N_("使用单位"), FactFormat.DEPARTMENT),
            Fact("answers", N_("答卷份数")),
            Fact("of", N_("服务单位数")),
        ),
    )
)
