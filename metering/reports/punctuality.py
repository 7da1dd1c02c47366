"""The steward's indicator «报告按时»: whether the city's report of each month was there by the working day that is asked for."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import select

from metering.reports import periods
from metering.reports.scopes import ScopeKind
from metering.reports.tables import ReportEdition
from providers.assessment import (
    OK,
    Direction,
    EvidenceRow,
    EvidenceTerm,
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

CODE = "reports"
DAYS = EvidenceTerm("days", N_("月末后几个工作日内出报告"), Decimal(10))


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """The report of the month, once its day is past: when its first edition was made."""
    tx = gathering.tx
    _start, end = month_bounds(month)
    due = working_days(tx).due(end, int(gathering.by.term(CODE, DAYS.name)))
    if due >= tx.now:
        return []
    period = periods.period(month)
    made = tx.scalar(
        select(ReportEdition.made_at).where(
            ReportEdition.scope == ScopeKind.CITY.value,
            ReportEdition.first_day == period.first,
            ReportEdition.last_day == period.last,
            ReportEdition.number == 1,
        )
    )
    told = {"due_at": due.isoformat(), "made_at": made and made.isoformat(), "ok": made is not None and made <= due}
    return [EvidenceRow(f"monthly:{month}", told)]


register(
    Indicator(
        code=CODE,
        label=N_("报告按时"),
        explanation=N_("各月全市运营报告在规定工作日内出具的比例"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=measures.PROPORTION,
        weight=Decimal(10),
        limits={"whole": Decimal(10)},
        order=70,
        edition=1,
        happened=gather,
        facts=(Fact("due_at", N_("期限"), FactFormat.MOMENT), Fact("made_at", N_("出具于"), FactFormat.MOMENT), OK),
        sources={"monthly": RefSource(N_("全市运营报告"))},
        subjects=frozenset({SubjectType.STEWARD}),
        terms=(DAYS,),
    )
)
