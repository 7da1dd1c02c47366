"""Contracts and settlement: what a company's contract says of money, and what of a period is payable now, what is withheld, and why."""

from __future__ import annotations

from metering.settlement import contracts, focus_datasets, reckoning, sheets
from metering.settlement.contracts import BASIS_LABELS, Contract, ContractBasis, ContractTerms, Instalment
from metering.settlement.reckoning import LINE_LABELS, Reckoned, SettlementLine, Withholding
from metering.settlement.sheets import FINAL, SettlementSheet

__all__ = [
    "BASIS_LABELS",
    "FINAL",
    "LINE_LABELS",
    "Contract",
    "ContractBasis",
    "ContractTerms",
    "Instalment",
    "Reckoned",
    "SettlementLine",
    "SettlementSheet",
    "Withholding",
    "contracts",
    "focus_datasets",
    "reckoning",
    "sheets",
]
