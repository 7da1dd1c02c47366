"""Accounts: how somebody gets in, and what the administrators may do to an account."""

from __future__ import annotations

from console.accounts import accounts, passwords

__all__ = [
    "accounts",
    "passwords",
]
