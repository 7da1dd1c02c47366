"""Workbooks that people fill in: sheets of columns, what a cell may hold, the template with its drop-downs, and every fault of a filled
one by sheet, row and column. What the rows mean is its user's matter: the founding of a city, requests filed together."""

from __future__ import annotations

from console.workbooks.cells import YES, CellShape, SheetColumn, WorkbookSheet, read, yes
from console.workbooks.reading import BATCH, CellFault, SheetRow, Workbook, headed, load, place, told
from console.workbooks.writing import options, write

__all__ = [
    "BATCH",
    "YES",
    "CellFault",
    "CellShape",
    "SheetColumn",
    "SheetRow",
    "Workbook",
    "WorkbookSheet",
    "headed",
    "load",
    "options",
    "place",
    "read",
    "told",
    "write",
    "yes",
]
