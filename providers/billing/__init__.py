"""Billing, incidents and maintenance: what companies claim, report and announce, kept as claims until they were compared or ruled on."""

from __future__ import annotations

from providers.billing import bills, incidents, maintenances
from providers.billing.bills import (
    COST_STEP,
    LINE_FAULTS,
    MOST,
    MOST_COST,
    QUANTITY_STEP,
    Bill,
    BilledLine,
    BillLine,
    Interval,
    fault,
    month_bounds,
)
from providers.billing.claims import CAUSE_LABELS, ROUNDING, ZERO, Cause, Comparison, ResourceMonth, Span, compare
from providers.billing.incidents import RESPONSIBILITY_LABELS, Incident
from providers.billing.maintenances import Maintenance

__all__ = [
    "CAUSE_LABELS",
    "COST_STEP",
    "LINE_FAULTS",
    "MOST",
    "MOST_COST",
    "QUANTITY_STEP",
    "RESPONSIBILITY_LABELS",
    "ROUNDING",
    "ZERO",
    "Bill",
    "BillLine",
    "BilledLine",
    "Cause",
    "Comparison",
    "Incident",
    "Interval",
    "Maintenance",
    "ResourceMonth",
    "Span",
    "bills",
    "compare",
    "fault",
    "incidents",
    "maintenances",
    "month_bounds",
]
