"""Settlement: what of a period is payable now by a company's contracts, what is withheld, and why."""

from __future__ import annotations

from metering.settlement import budgets, focus_datasets, reckoning, shares, sheets, years
from metering.settlement.budgets import BudgetOutlook, DepartmentBudget
from metering.settlement.reckoning import LINE_LABELS, Reckoned, SettlementLine, Withholding
from metering.settlement.sheets import FINAL, SettlementSheet
from metering.settlement.years import (
    FINDING_LABELS,
    BillingYear,
    YearFinding,
    YearPreview,
    YearShare,
    YearState,
    YearTerms,
    YearUnit,
)

__all__ = [
    "FINAL",
    "FINDING_LABELS",
    "LINE_LABELS",
    "BillingYear",
    "BudgetOutlook",
    "DepartmentBudget",
    "Reckoned",
    "SettlementLine",
    "SettlementSheet",
    "Withholding",
    "YearFinding",
    "YearPreview",
    "YearShare",
    "YearState",
    "YearTerms",
    "YearUnit",
    "budgets",
    "focus_datasets",
    "reckoning",
    "shares",
    "sheets",
    "years",
]
