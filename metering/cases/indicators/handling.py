"""The steward's own handling of cases: what waits too long with it, what it should not have taken, what it was contradicted in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import select

from metering.cases.files import Case, Reply, Ruling
from metering.cases.indicators import judged
from metering.cases.steps import Answer, Matter, RulingDecision
from metering.judging import TAKES, Verdict
from providers.assessment import (
    OK,
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
    register,
)
from providers.billing import month_bounds
from quota.calendar import working_days
from quota.errors import N_

STEWARD = frozenset({SubjectType.STEWARD})
HEARD = (Answer.OBJECT.value, Answer.EXEMPT.value)
LONGEST = timedelta(days=400)
"""How long before a month something may have been said that is to be ruled on within it."""


def rulings(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """Objections and pleas for exemption whose day for a ruling fell into the month and is over; ``ok``: they were ruled on by
    then. A case that ended before without a ruling owes none."""
    tx = gathering.tx
    start, end = month_bounds(month)
    days = working_days(tx)
    found = tx.execute(
        select(Reply, Case)
        .join(Case, Case.id == Reply.case_id)
        .where(Reply.answer.in_(HEARD), Reply.at >= start - LONGEST, Reply.at < end)
        .order_by(Reply.id)
    ).all()
    rows = []
    for reply, case in found:
        due = days.due(reply.at, case.procedure().ruling_days)
        if not start <= due < min(end, tx.now):
            continue
        ruled = min((one.at for one in case.rulings if one.at >= reply.at), default=None)
        if ruled is None and case.closed_at is not None and case.closed_at <= due:
            continue
        told = {"number": case.number, "due_at": _spelled(due), "ruled_at": _spelled(ruled)}
        rows.append(EvidenceRow(f"case:{case.id}/{reply.id}", {**told, "ok": ruled is not None and ruled <= due}))
    return rows


def regret(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """Cases by which something was stopped or shrunk in the month; ``ok``: it was not wanted back, nor strained."""
    start, end = month_bounds(month)
    found = gathering.tx.scalars(
        select(Case)
        .where(Case.kind.in_([kind.value for kind in TAKES]), Case.effective_at >= start, Case.effective_at < end)
        .order_by(Case.id)
    )
    return [
        EvidenceRow(f"case:{case.id}", {"effective_at": _spelled(case.effective_at), "ok": case.regretted_at is None})
        for case in found
    ]


def objections(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """Rulings of the month on objections; ``ok``: the case stood."""
    start, end = month_bounds(month)
    found = gathering.tx.scalars(
        select(Ruling)
        .where(Ruling.matter == Matter.OBJECTION.value, Ruling.at >= start, Ruling.at < end)
        .order_by(Ruling.id)
    )
    return [
        EvidenceRow(f"case:{one.case_id}/{one.id}", {"ruled_at": _spelled(one.at), "ok": one.said() is not RulingDecision.UPHOLD})
        for one in found
    ]  # fmt: skip


def coverage(gathering: Gathering, _rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """What the newest assessment of the period looked at, and of how much it could say anything."""
    run = judged.run_of(gathering.tx, gathering.period)
    if run is None or not run.resources:
        return []
    unknown = int(run.counts.get(Verdict.UNKNOWN.value, 0))
    told = {"count": run.resources, "good": run.resources - unknown, "on": run.last_day.isoformat()}
    return [EvidenceRow(f"assessed:{run.id}", told)]


def _spelled(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


register(
    Indicator(
        code="rulings",
        label=N_("案件裁定及时"),
        explanation=N_("当期应裁定的异议和豁免申请中按时裁定的比例;逾期未裁定的计为未按时"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=measures.SHARE,
        weight=Decimal(15),
        limits={"full": Decimal("0.98"), "per_point": Decimal("0.5")},
        order=20,
        edition=1,
        happened=rulings,
        facts=(
            Fact("number", N_("案件"), FactFormat.PLAIN, names=True),
            Fact("due_at", N_("期限"), FactFormat.MOMENT),
            Fact("ruled_at", N_("裁定于"), FactFormat.MOMENT),
            OK,
        ),
        subjects=STEWARD,
    )
)
register(
    Indicator(
        code="regret",
        label=N_("收回得当"),
        explanation=N_("当期停机或缩容的案件中没有被要求归还、变更后也没有吃紧的比例"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=measures.PROPORTION,
        weight=Decimal(15),
        limits={"whole": Decimal(15)},
        order=30,
        edition=1,
        happened=regret,
        facts=(Fact("effective_at", N_("执行于"), FactFormat.MOMENT), OK),
        subjects=STEWARD,
    )
)
register(
    Indicator(
        code="objections",
        label=N_("异议裁定维持"),
        explanation=N_("当期裁定的异议中案件得到维持的比例"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=measures.PROPORTION,
        weight=Decimal(10),
        limits={"whole": Decimal(10)},
        order=40,
        edition=1,
        happened=objections,
        facts=(Fact("ruled_at", N_("裁定于"), FactFormat.MOMENT), OK),
        subjects=STEWARD,
    )
)
register(
    Indicator(
        code="coverage",
        label=N_("采集覆盖"),
        explanation=N_("期末评估的资源中有足够数据可以认定的比例"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=measures.COUNTED,
        weight=Decimal(15),
        limits={"full": Decimal("0.9"), "per_point": Decimal("0.5")},
        order=50,
        edition=1,
        holding=coverage,
        facts=(Fact("count", N_("资源")), Fact("good", N_("可以认定")), Fact("on", N_("评估至"), FactFormat.MOMENT)),
        sources={"assessed": RefSource(N_("评估"))},
        subjects=STEWARD,
    )
)
