"""The steward's indicator «报告按时»: whether the city's report of each month was there by the working day that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func, select

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
from providers.assessment import periods as assessed
from providers.billing import month_bounds
from quota.calendar import working_days
from quota.errors import N_
from quota.inventory import Resource

CODE = "reports"
DAYS = EvidenceTerm("days", N_("月末后几个工作日内出报告"), Decimal(10))


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """The reports whose day fell into the month and is over, each of an earlier month: when its first edition was made. What
    the house had nothing to report of owes none."""
    return list(_due(gathering, month))


def _due(gathering: Gathering, month: str) -> Iterator[EvidenceRow]:
    tx = gathering.tx
    start, end = month_bounds(month)
    days, since = working_days(tx), tx.scalar(select(func.min(Resource.first_seen_at)))
    told = assessed.before(month)
    while since is not None and since < (over := month_bounds(told)[1]):
        due = days.due(over, int(gathering.by.term(CODE, DAYS.name)))
        if due < start:
            return
        if due < min(end, tx.now):
            yield _row(gathering, told, due)
        told = assessed.before(told)


def _row(gathering: Gathering, month: str, due: datetime) -> EvidenceRow:
    period = periods.period(month)
    made = gathering.tx.scalar(
        select(ReportEdition.made_at).where(
            ReportEdition.scope == ScopeKind.CITY.value,
            ReportEdition.first_day == period.first,
            ReportEdition.last_day == period.last,
            ReportEdition.number == 1,
        )
    )
    told = {"due_at": due.isoformat(), "made_at": made and made.isoformat(), "ok": made is not None and made <= due}
    return EvidenceRow(f"monthly:{month}", told)


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
