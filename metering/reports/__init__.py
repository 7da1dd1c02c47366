"""Reports (运营分析): a period's figures of the city, a department, a company or a system, as of its end, frozen as editions.

``editions.make`` gathers what an edition rests on and keeps it by its digest; whatever is drawn from it afterwards is drawn from
that alone.
"""

from __future__ import annotations

from metering.reports import editions, periods, punctuality, scopes  # noqa: F401 - its indicator registers itself
from metering.reports.differences import EditionDifference
from metering.reports.periods import PERIOD_LABELS, PeriodKind, ReportPeriod
from metering.reports.scopes import SCOPE_LABELS, ReportScope, ScopeKind
from metering.reports.tables import ReportEdition, ReportInputs
from metering.reports.usages import BANDS, MOST_SYSTEMS

__all__ = [
    "BANDS",
    "MOST_SYSTEMS",
    "PERIOD_LABELS",
    "SCOPE_LABELS",
    "EditionDifference",
    "PeriodKind",
    "ReportEdition",
    "ReportInputs",
    "ReportPeriod",
    "ReportScope",
    "ScopeKind",
    "editions",
    "periods",
    "scopes",
]
