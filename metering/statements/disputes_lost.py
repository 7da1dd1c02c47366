"""The steward's indicator «争议主张成立»: of the differences that it claimed, how many were found to be so."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import select

from metering.statements.disputes import Dispute
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
from quota.errors import N_


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """Claims that were settled in the month; ``ok``: the company takes something back."""
    start, end = month_bounds(month)
    found = gathering.tx.scalars(
        select(Dispute)
        .where(Dispute.claimed_at.is_not(None), Dispute.settled_at >= start, Dispute.settled_at < end)
        .order_by(Dispute.id)
    )
    return [
        EvidenceRow(f"dispute:{one.id}", {"month": one.month, "settled_at": one.settled_at and one.settled_at.isoformat(),
                                          "ok": bool(one.settled_fen)})
        for one in found
    ]  # fmt: skip


register(
    Indicator(
        code="disputes",
        label=N_("争议主张成立"),
        explanation=N_("当期了结的账单争议中主张得到支持的比例"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=measures.PROPORTION,
        weight=Decimal(5),
        limits={"whole": Decimal(5)},
        order=60,
        edition=1,
        happened=gather,
        facts=(Fact("month", N_("账期"), FactFormat.PLAIN), Fact("settled_at", N_("了结于"), FactFormat.MOMENT), OK),
        sources={"dispute": RefSource(N_("账单争议"))},
        subjects=frozenset({SubjectType.STEWARD}),
    )
)
