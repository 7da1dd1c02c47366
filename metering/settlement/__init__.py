"""Contracts and settlement: what a company's contract says of money, and what of a period is payable now, what is withheld, and why."""

from __future__ import annotations

from metering.settlement import budgets, contracts, focus_datasets, reckoning, sheets, years
from metering.settlement.budgets import BudgetOutlook, DepartmentBudget
from metering.settlement.contracts import BASIS_LABELS, Contract, ContractBasis, ContractTerms, Instalment
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
    "BASIS_LABELS",
    "FINAL",
    "FINDING_LABELS",
    "LINE_LABELS",
    "BillingYear",
    "BudgetOutlook",
    "Contract",
    "ContractBasis",
    "ContractTerms",
    "DepartmentBudget",
    "Instalment",
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
    "contracts",
    "focus_datasets",
    "reckoning",
    "sheets",
    "years",
]
