"""Accounts: who somebody is (``proofs``), whether they may come in (``admission``), what stays open (``sessions``), how often one
may try (``throttle``), and what the administrators may do to an account."""

from __future__ import annotations

from console.accounts import accounts, admission, passwords, proofs, sessions, tables, throttle
from console.accounts.origins import Origin
from console.accounts.tables import SignIn

__all__ = [
    "Origin",
    "SignIn",
    "accounts",
    "admission",
    "passwords",
    "proofs",
    "sessions",
    "tables",
    "throttle",
]
