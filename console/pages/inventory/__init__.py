"""Pages of the inventory: resources, listings, drift."""

from __future__ import annotations

from console.pages.inventory import inquiries, inquiry_forms, uploads

__all__ = [
    "inquiries",
    "inquiry_forms",
    "uploads",
]
