"""Evidence for the scorecards: which rows of the book speak of a company in a month, for each indicator.

What comes from the eye (how many samples were due and how many came, what it metered of what was billed) is handed in by
whoever has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from providers import comments
from providers.assessment.measures import Row
from providers.assessment.scorecard import Evidence, Indicator
from providers.base import Responsibility
from providers.billing import Incident, incidents, month_bounds
from providers.orders import OrderState, WorkOrder
from quota.calendar import working_days

if TYPE_CHECKING:
    from quota.db import Tx


def gather(
    tx: Tx,
    provider_id: int,
    month: str,
    *,
    reporting: Sequence[Row] = (),
    metering: Sequence[Row] = (),
) -> Evidence:
    """Every row that speaks of the company in ``month`` (2026-10), up to now.

    ``reporting``: rows with ``expected`` and ``received`` samples and ``lag_minutes`` (None: not known), one a pool and
    day, say (``reported`` makes one). ``metering``: the lines of the company's bills of the month with what was ``billed``,
    ``metered`` and ``disputed`` of each ``kind``, as the four-way line compared them.
    """
    return {
        Indicator.DELIVERY: _orders(tx, provider_id, month, WorkOrder.request_id.is_not(None)),
        Indicator.OPTIMISATION: _orders(tx, provider_id, month, WorkOrder.case_id.is_not(None)),
        Indicator.INCIDENTS: _incidents(tx, provider_id, month),
        Indicator.METERING: list(metering),
        Indicator.REPORTING: list(reporting),
    }


def reported(ref: str, expected: int, received: int, lag_minutes: float | None = None, **facts: Any) -> Row:
    """A row for data reporting: samples due and samples that came."""
    lag = None if lag_minutes is None else str(round(lag_minutes, 1))
    return Row(ref, {"expected": expected, "received": received, "lag_minutes": lag, **facts})


def _orders(tx: Tx, provider_id: int, month: str, placed_for: Any) -> list[Row]:
    """Orders whose limit fell into the month and is over, so that each order counts once and none too early."""
    start, end = month_bounds(month)
    found = tx.scalars(
        select(WorkOrder)
        .where(
            WorkOrder.provider_id == provider_id,
            placed_for,
            WorkOrder.due_at >= start,
            WorkOrder.due_at < end,
            WorkOrder.due_at < tx.now,
            WorkOrder.state != OrderState.CANCELLED.value,
        )
        .order_by(WorkOrder.id)
    ).all()
    excused = comments.upheld(tx, (one.basis for one in found))
    return [
        Row(
            f"order:{one.id}",
            {
                "number": one.number,
                "verb": one.verb,
                "due_at": _spelled(one.due_at),
                "delivered_at": _spelled(one.delivered_at),
                "ok": bool(one.in_time(tx.now)),
            },
        )
        for one in found
        if one.basis not in excused
    ]


def _incidents(tx: Tx, provider_id: int, month: str) -> list[Row]:
    """Incidents that began in the month and were settled as the company's."""
    start, end = month_bounds(month)
    days = working_days(tx)
    found = tx.scalars(
        select(Incident)
        .where(
            Incident.provider_id == provider_id,
            Incident.started_at >= start,
            Incident.started_at < end,
            Incident.responsibility == Responsibility.PROVIDER.value,
        )
        .order_by(Incident.id)
    ).all()
    excused = comments.upheld(tx, (f"incident:{one.id}" for one in found))
    return [
        Row(f"incident:{one.id}", {"level": one.level, "misses": incidents.misses(one, days, tx.now)})
        for one in found
        if f"incident:{one.id}" not in excused
    ]


def _spelled(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
