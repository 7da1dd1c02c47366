"""Replies in time: of the cases that a department was written to about, how many it answered by the letter's last day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from metering.cases.deadlines import answerable_until
from metering.cases.files import Case, Reply
from metering.cases.notices import Notice
from providers.assessment import (
    Direction,
    EvidenceRow,
    Fact,
    FactFormat,
    FigureUnit,
    Gathering,
    Indicator,
    SubjectType,
    measures,
    register,
)
from providers.billing import month_bounds
from quota.calendar import working_days
from quota.directory import subtree
from quota.errors import N_

if TYPE_CHECKING:
    from datetime import datetime

LONGEST = timedelta(days=400)
"""How long before a month a letter may have been written whose last day falls into it."""


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """A row a letter whose last day fell into the month and is over. Cases that ended before it without a word are not
    counted: nobody had to answer."""
    return [
        EvidenceRow(
            f"notice:{letter.id}", {"number": letter.number, "due_at": until.isoformat(), "count": count, "good": good}
        )
        for letter, until in _letters(gathering, month)
        for count, good in [_answered(gathering, letter, until)]
        if count
    ]


def _letters(gathering: Gathering, month: str) -> Iterator[tuple[Notice, datetime]]:
    tx = gathering.tx
    start, end = month_bounds(month)
    days = working_days(tx)
    found = tx.scalars(
        select(Notice)
        .where(
            Notice.department_id.in_(subtree(tx, gathering.subject.id)),
            Notice.issued_at >= start - LONGEST,
            Notice.issued_at < end,
        )
        .order_by(Notice.id)
    )
    for letter in found:
        until = answerable_until(letter, days)
        if start <= until < min(end, tx.now):
            yield letter, until


def _answered(gathering: Gathering, letter: Notice, until: datetime) -> tuple[int, int]:
    first = (
        select(Reply.case_id, func.min(Reply.at).label("at"))
        .join(Case, Case.id == Reply.case_id)
        .where(Case.notice_id == letter.id)
        .group_by(Reply.case_id)
        .subquery()
    )
    asked = or_(first.c.at.is_not(None), Case.closed_at.is_(None), Case.closed_at > until)
    count, good = gathering.tx.execute(
        select(func.count(Case.id).filter(asked), func.count(Case.id).filter(first.c.at <= until))
        .select_from(Case)
        .outerjoin(first, first.c.case_id == Case.id)
        .where(Case.notice_id == letter.id)
    ).one()
    return int(count), int(good)


register(
    Indicator(
        code="replies",
        label=N_("答复及时"),
        explanation=N_("当期到期的闲收忙扩通知中按时答复的案件所占比例"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=measures.COUNTED,
        weight=Decimal(15),
        limits={"full": Decimal("0.95"), "per_point": Decimal("0.5")},
        order=20,
        edition=1,
        happened=gather,
        facts=(
            Fact("number", N_("文号"), FactFormat.PLAIN, names=True),
            Fact("due_at", N_("期限"), FactFormat.MOMENT),
            Fact("count", N_("案件")),
            Fact("good", N_("按时答复")),
        ),
        subjects=frozenset({SubjectType.DEPARTMENT}),
    )
)
