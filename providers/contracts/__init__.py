"""Contracts with companies and their lots: what was agreed on money, and for what of it."""

from __future__ import annotations

from providers.contracts import contracts
from providers.contracts.contracts import BASIS_LABELS, Contract, ContractBasis, ContractTerms, Instalment
from providers.contracts.coverage import LABOUR, ContractCoverage, Held, Lot, Lots

__all__ = [
    "BASIS_LABELS",
    "LABOUR",
    "Contract",
    "ContractBasis",
    "ContractCoverage",
    "ContractTerms",
    "Held",
    "Instalment",
    "Lot",
    "Lots",
    "contracts",
]
