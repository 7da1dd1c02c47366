"""Pages of quota: the board, a wallet, accounts, direct acts, loans, promises."""

from __future__ import annotations

from console.pages.quota import promises
from console.pages.quota.quota import capacity, mine_or_any, wallets

__all__ = [
    "capacity",
    "mine_or_any",
    "promises",
    "wallets",
]
