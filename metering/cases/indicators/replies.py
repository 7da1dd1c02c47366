"""Replies in time: of the cases that a department was written to about, how many it answered by the letter's last day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import func, select

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
from quota.db import among
from quota.directory import subtree
from quota.errors import N_

if TYPE_CHECKING:
    from datetime import datetime

    from quota.db import Tx

LONGEST = timedelta(days=400)
"""How long before a month a letter may have been written whose last day falls into it."""


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """A row a letter whose last day fell into the month and is over. Cases that ended before it without a word are not
    counted: nobody had to answer."""
    letters = dict(_letters(gathering, month))
    cases = _cases(gathering.tx, [letter.id for letter in letters])
    rows = []
    for letter, until in letters.items():
        asked = [(at, closed) for at, closed in cases.get(letter.id, ()) if at or closed is None or closed > until]
        good = sum(at is not None and at <= until for at, _closed in asked)
        facts = {"number": letter.number, "due_at": until.isoformat(), "count": len(asked), "good": good}
        rows += [EvidenceRow(f"notice:{letter.id}", facts)] if asked else []
    return rows


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


def _cases(tx: Tx, letter_ids: Sequence[int]) -> dict[int, list[tuple[datetime | None, datetime | None]]]:
    """Letter → of each of its cases, when it was first answered and when it ended."""
    first = select(Reply.case_id, func.min(Reply.at).label("at")).group_by(Reply.case_id).subquery()
    found: dict[int, list[tuple[datetime | None, datetime | None]]] = {}
    for letter_id, at, closed in tx.execute(
        select(Case.notice_id, first.c.at, Case.closed_at)
        .outerjoin(first, first.c.case_id == Case.id)
        .where(among(Case.notice_id, letter_ids))
        .order_by(Case.id)
    ):
        found.setdefault(letter_id, []).append((at, closed))
    return found


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
