"""Manuals: what each role does here, and a word on each page; read from the texts that the repository shows."""

from __future__ import annotations

from console.manuals.manuals import (
    MANUALS,
    PICTURES,
    Manual,
    ManualEntry,
    ManualSection,
    anchor,
    entries,
    manual_of,
    narrative,
)

__all__ = [
    "MANUALS",
    "PICTURES",
    "Manual",
    "ManualEntry",
    "ManualSection",
    "anchor",
    "entries",
    "manual_of",
    "narrative",
]
