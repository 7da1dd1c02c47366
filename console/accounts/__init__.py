"""Accounts: who somebody is (``proofs``, ``factors``), whether they may come in (``admission``, by ``access_rules``), what stays open
(``sessions``), how often one may try (``throttle``), and what the administrators may do to an account."""

from __future__ import annotations

from console.accounts import (
    access_rules,
    accounts,
    admission,
    factors,
    passwords,
    proofs,
    security_keys,
    sessions,
    tables,
    throttle,
)
from console.accounts.factor_kinds import Site
from console.accounts.origins import Origin
from console.accounts.tables import FactorLoss, LossState, SignIn

__all__ = [
    "FactorLoss",
    "LossState",
    "Origin",
    "SignIn",
    "Site",
    "access_rules",
    "accounts",
    "admission",
    "factors",
    "passwords",
    "proofs",
    "security_keys",
    "sessions",
    "tables",
    "throttle",
]
