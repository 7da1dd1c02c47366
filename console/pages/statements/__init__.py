"""Pages of statements: months, tariffs, bills, corrections, the four-way line, disputes, the monthly report."""

from __future__ import annotations

from console.pages.statements import statement_sheets

__all__ = [
    "statement_sheets",
]
