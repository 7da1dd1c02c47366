"""The book's schema: every table of the house, and how a database is brought up to date."""

from __future__ import annotations

from console.schema import models, upgrade

__all__ = [
    "models",
    "upgrade",
]
