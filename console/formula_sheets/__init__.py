"""An assessment formula as sheets: a workbook to fill in and the rows of a form, both read into the document that files hold, with every
fault by sheet, row and column."""

from __future__ import annotations

from console.formula_sheets.columns import SHEETS
from console.formula_sheets.rows import SheetDocument, document_of, faults_of, rows_of
from console.formula_sheets.workbook import is_workbook, parsed, workbook

__all__ = ["SHEETS", "SheetDocument", "document_of", "faults_of", "is_workbook", "parsed", "rows_of", "workbook"]
