"""Pages of the inventory: resources, listings, drift."""

from __future__ import annotations

from console.pages.inventory import uploads

__all__ = [
    "uploads",
]
