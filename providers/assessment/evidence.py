"""Rows that several indicators rest on: orders by their limit, records of the steward, pools and what was seen of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from providers import comments
from providers.assessment import periods, records
from providers.assessment.measures import EvidenceRow
from providers.assessment.records import AssessmentRecord
from providers.assessment.registry import Fact, FactFormat, Gathering
from providers.base import Verb
from providers.billing import month_bounds
from providers.orders import VERB_LABELS, OrderState, WorkOrder
from quota.directory import Pool
from quota.errors import N_

if TYPE_CHECKING:
    from quota.db import Tx

OK = Fact("ok", N_("达标"))
_VERBS: Mapping[str, str] = {verb.value: VERB_LABELS[verb] for verb in Verb}
ORDER_FACTS = (
    Fact("number", N_("工单号"), FactFormat.PLAIN, names=True),
    Fact("verb", N_("事项"), FactFormat.WORD, words=_VERBS),
    Fact("due_at", N_("期限"), FactFormat.MOMENT),
    Fact("delivered_at", N_("交付"), FactFormat.MOMENT),
    OK,
)


def orders_due(gathering: Gathering, month: str, placed_for: Any) -> list[EvidenceRow]:
    """Orders whose limit fell into the month and is over, so that each order counts once and none too early. ``placed_for``
    chooses among them."""
    tx = gathering.tx
    start, end = month_bounds(month)
    found = tx.scalars(
        select(WorkOrder)
        .where(
            WorkOrder.provider_id == gathering.subject.id,
            placed_for,
            WorkOrder.due_at >= start,
            WorkOrder.due_at < end,
            WorkOrder.due_at < tx.now,
            WorkOrder.state != OrderState.CANCELLED.value,
        )
        .order_by(WorkOrder.id)
    ).all()
    excused = comments.upheld(tx, (order.basis for order in found))
    return [
        EvidenceRow(
            f"order:{order.id}",
            {
                "number": order.number,
                "verb": order.verb,
                "due_at": _spelled(order.due_at),
                "delivered_at": _spelled(order.delivered_at),
                "ok": bool(order.in_time(tx.now)),
            },
        )
        for order in found
        if order.basis not in excused
    ]


def recorded(gathering: Gathering, month: str, *kinds: str) -> list[AssessmentRecord]:
    """What was recorded of whom it is about in the month and not withdrawn."""
    return [
        record
        for record in records.standing(gathering.tx, gathering.subject, *kinds)
        if periods.month_of(record.happened_on) == month
    ]


def pools(tx: Tx, provider_id: int) -> list[Pool]:
    return list(tx.scalars(select(Pool).where(Pool.provider_id == provider_id).order_by(Pool.id)))


def _spelled(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
