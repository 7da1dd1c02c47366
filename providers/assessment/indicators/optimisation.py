"""Resources optimised as ruled: orders of cases."""

from __future__ import annotations

from decimal import Decimal

from providers.assessment.evidence import ORDER_FACTS, orders_due
from providers.assessment.measures import SHARE, EvidenceRow, FigureUnit
from providers.assessment.registry import Direction, Gathering, Indicator, register
from providers.orders import WorkOrder
from quota.errors import N_


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    return orders_due(gathering, month, WorkOrder.case_id.is_not(None))


register(
    Indicator(
        code="optimisation",
        label=N_("资源优化执行"),
        explanation=N_("当期到期的案件工单(缩容、扩容、关停、回收)中按时完成的比例;争议成立的工单不计"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=SHARE,
        lateness=("due_at", "delivered_at"),
        weight=Decimal(8),
        limits={"full": Decimal("0.95"), "per_point": Decimal(1)},
        order=50,
        edition=2,
        happened=gather,
        facts=ORDER_FACTS,
    )
)
