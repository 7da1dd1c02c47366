"""The demo city 云港市, founded by the verbs of the trade and lived in."""

from __future__ import annotations

from console.demo import city

__all__ = [
    "city",
]
