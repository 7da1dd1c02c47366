"""Mappings: sheets with headings of their own, what they seem to say, and what people said that they say."""

from __future__ import annotations

from providers.mappings import held_sheets, looks, sheet_mappings
from providers.mappings.held_sheets import HeldSheet
from providers.mappings.looks import ColumnLook, SheetLook
from providers.mappings.sheet_mappings import SheetMapping

__all__ = [
    "ColumnLook",
    "HeldSheet",
    "SheetLook",
    "SheetMapping",
    "held_sheets",
    "looks",
    "sheet_mappings",
]
