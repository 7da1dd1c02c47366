"""Inquiries answered: of what a department was asked about its resources, how much it answered in time."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import and_, func, select

from providers.assessment.measures import COUNTED, EvidenceRow, FigureUnit
from providers.assessment.registry import Direction, Fact, FactFormat, Gathering, Indicator, register
from providers.assessment.subjects import SubjectType
from providers.billing import month_bounds
from quota.directory import subtree
from quota.errors import N_
from quota.inventory import inquiries


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """Letters whose last day fell into the month and is over; what was answered later counts as not, and what by then was settled
    otherwise or gone is not counted."""
    tx = gathering.tx
    start, end = month_bounds(month)
    one, item = inquiries.Inquiry, inquiries.InquiryItem
    in_time = and_(item.at.is_not(None), item.at <= one.due_at)
    settled = and_(in_time, item.answer.in_(inquiries.SETTLED_LABELS))
    asked, answered = (func.count(item.id).filter(which) for which in (~settled, and_(in_time, ~settled)))
    found = tx.execute(
        select(one, asked, answered)
        .join(item, item.inquiry_id == one.id)
        .where(
            one.department_id.in_(subtree(tx, gathering.subject.id)),
            one.due_at > start,
            one.due_at <= end,
            one.due_at < tx.now,
            one.state != inquiries.InquiryState.WITHDRAWN.value,
        )
        .group_by(one.id)
        .order_by(one.id)
    )
    return [
        EvidenceRow(
            f"inquiry:{letter.id}",
            {"number": letter.number, "due_on": letter.due_on.isoformat(), "count": count, "good": good},
        )
        for letter, count, good in found
        if count
    ]


register(
    Indicator(
        code="inquiries",
        label=N_("征询答复"),
        explanation=N_("当期到期的征询中按时答复的资源所占比例"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=COUNTED,
        weight=Decimal(15),
        limits={"full": Decimal("0.95"), "per_point": Decimal("0.5")},
        order=30,
        edition=1,
        happened=gather,
        facts=(
            Fact("number", N_("编号"), FactFormat.PLAIN, names=True),
            Fact("due_on", N_("期限"), FactFormat.MOMENT),
            Fact("count", N_("征询资源")),
            Fact("good", N_("按时答复")),
        ),
        subjects=frozenset({SubjectType.DEPARTMENT}),
    )
)
