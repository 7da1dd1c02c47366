"""Pages of work orders and of the stars that deliveries get."""

from __future__ import annotations

from console.pages.orders import dialogues, orders
from console.pages.orders.orders import company_filter

__all__ = [
    "company_filter",
    "dialogues",
    "orders",
]
