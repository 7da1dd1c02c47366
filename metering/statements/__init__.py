"""Statements: the month held, priced, closed and corrected; the four-way line beside the bills; FOCUS files."""

from __future__ import annotations

from metering.statements import (
    accuracy,  # noqa: F401 - it registers itself
    asked_costs,
    closings,
    disputes,
    disputes_lost,  # noqa: F401 - it registers itself
    focus,
    focus_files,
    performance,
    reconciliation,
    settling,
    tariffs,
)
from metering.statements.closings import MonthClosing
from metering.statements.disputes import ANSWER_LABELS, STATE_LABELS, Dispute, DisputeAnswer, DisputeState
from metering.statements.performance import PerformanceClass, PerformanceTest
from metering.statements.reconciliation import LABELS
from metering.statements.reconciliation_tables import FourWayLine, ReconciliationRun
from metering.statements.statements import (
    check,
    check_closings,
    differences,
    invoice_number,
    invoices,
    latest,
    lines_of,
    make,
    months,
    run,
    runs_of,
    settle,
    visible,
)
from metering.statements.tables import CORRECTION, StatementLine, StatementRun, unit_hours, yuan
from metering.statements.tariffs import EXAMPLE, PER_LABELS, Per, Tariff

__all__ = [
    "ANSWER_LABELS",
    "CORRECTION",
    "EXAMPLE",
    "LABELS",
    "PER_LABELS",
    "STATE_LABELS",
    "Dispute",
    "DisputeAnswer",
    "DisputeState",
    "FourWayLine",
    "MonthClosing",
    "Per",
    "PerformanceClass",
    "PerformanceTest",
    "ReconciliationRun",
    "StatementLine",
    "StatementRun",
    "Tariff",
    "asked_costs",
    "check",
    "check_closings",
    "closings",
    "differences",
    "disputes",
    "focus",
    "focus_files",
    "invoice_number",
    "invoices",
    "latest",
    "lines_of",
    "make",
    "months",
    "performance",
    "reconciliation",
    "run",
    "runs_of",
    "settle",
    "settling",
    "tariffs",
    "unit_hours",
    "visible",
    "yuan",
]
