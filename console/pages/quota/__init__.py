"""Pages of quota: the board, a wallet, accounts, direct acts, loans, promises."""

from __future__ import annotations

from console.pages.quota import promises
from console.pages.quota.quota import capacity, mine_or_any, wallets
from console.pages.quota.system_shares import share_table

__all__ = [
    "capacity",
    "mine_or_any",
    "promises",
    "share_table",
    "wallets",
]
