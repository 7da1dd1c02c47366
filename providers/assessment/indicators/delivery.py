"""Delivery in time: orders of requests."""

from __future__ import annotations

from decimal import Decimal

from providers.assessment.evidence import ORDER_FACTS, orders_due
from providers.assessment.measures import SHARE, EvidenceRow, FigureUnit
from providers.assessment.registry import Direction, Gathering, Indicator, register
from providers.orders import WorkOrder
from quota.errors import N_


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    return orders_due(gathering, month, WorkOrder.request_id.is_not(None))


register(
    Indicator(
        code="delivery",
        label=N_("交付及时率"),
        explanation=N_("当期到期的申请工单中按时交付的比例;争议成立的工单不计"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=SHARE,
        lateness=("due_at", "delivered_at"),
        weight=Decimal(10),
        limits={"full": Decimal("0.98"), "per_point": Decimal(1)},
        order=20,
        edition=2,
        happened=gather,
        facts=ORDER_FACTS,
    )
)
