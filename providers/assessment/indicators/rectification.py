"""整改: whether what was ordered to be put right was, by its day."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import ColumnElement, or_, select

from providers import comments
from providers.assessment import periods, whose
from providers.assessment.evidence import OK
from providers.assessment.measures import SHARE, EvidenceRow, FigureUnit
from providers.assessment.rectifications import Rectification, RectificationState
from providers.assessment.registry import Direction, Fact, FactFormat, Gathering, Indicator, register
from providers.assessment.subjects import SubjectType
from providers.billing import month_bounds
from quota.errors import N_


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """Orders whose day fell into the month and is over."""
    start, end = month_bounds(month)
    return _rows(gathering, Rectification.due_at > start, Rectification.due_at <= end)


def left(gathering: Gathering, rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """Orders of earlier periods that were still not put right when this one began: each costs once in every period."""
    start, _end = periods.bounds(gathering.period)
    known = {row.ref for row in rows}
    undone = or_(Rectification.handed_in_at.is_(None), Rectification.handed_in_at > start)
    return [row for row in _rows(gathering, Rectification.due_at <= start, undone) if row.ref not in known]


def _rows(gathering: Gathering, *chosen: ColumnElement[bool]) -> list[EvidenceRow]:
    tx = gathering.tx
    found = tx.scalars(
        select(Rectification)
        .where(
            whose.about(Rectification, gathering.subject),
            Rectification.state != RectificationState.WITHDRAWN.value,
            Rectification.due_at <= tx.now,
            *chosen,
        )
        .order_by(Rectification.id)
    ).all()
    excused = comments.upheld(tx, (one.ref for one in found))
    return [
        EvidenceRow(
            one.ref,
            {
                "title": one.title,
                "due_at": one.due_at.isoformat(),
                "handed_in_at": one.handed_in_at and one.handed_in_at.isoformat(),
                "ok": one.in_time(tx.now),
            },
        )
        for one in found
        if one.ref not in excused
    ]


register(
    Indicator(
        code="rectification",
        label=N_("整改完成率"),
        explanation=N_("当期到期的整改按期提交且未被退回的比例;往期逾期仍未整改的逐期计入,争议成立的不计"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=SHARE,
        lateness=("due_at", "handed_in_at"),
        weight=Decimal(5),
        limits={"full": Decimal(1), "per_point": Decimal("0.1")},
        order=55,
        edition=8,
        happened=gather,
        holding=left,
        subjects=frozenset(SubjectType),
        facts=(
            Fact("title", N_("整改事项"), FactFormat.PLAIN),
            Fact("due_at", N_("期限"), FactFormat.MOMENT),
            Fact("handed_in_at", N_("提交"), FactFormat.MOMENT),
            OK,
        ),
    )
)
