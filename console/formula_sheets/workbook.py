"""A formula's document as a workbook, and back."""

from __future__ import annotations

import tempfile
from pathlib import Path

from console import workbooks
from console.formula_sheets import rows
from console.formula_sheets.columns import SHEETS
from console.formula_sheets.rows import SheetDocument
from providers.assessment import FormulaDocument, formula_documents
from quota.errors import N_, Invalid

LINES = (
    N_("考核公式"),
    N_("改好后在“起草考核公式”上传；写错的地方按表、行、列指出。草案由主管部门另一人签署后才施行。"),
)


def workbook(document: FormulaDocument) -> bytes:
    """The workbook of a document."""
    with tempfile.TemporaryDirectory(prefix="guanjia-formula-") as folder:
        path = Path(folder) / "formula.xlsx"
        workbooks.write(path, LINES, SHEETS, rows.rows_of(document))
        return path.read_bytes()


def is_workbook(sent: bytes) -> bool:
    """Whether a file is a workbook rather than text."""
    return sent.startswith(b"PK")


def parsed(sent: bytes) -> SheetDocument:
    """What a workbook says, with every fault of its cells and rows. Raises Invalid for what is none, or too large."""
    if len(sent) > formula_documents.MOST_BYTES:
        raise Invalid("formula.large", N_("考核公式文件过大"), field="file")
    with tempfile.TemporaryDirectory(prefix="guanjia-formula-") as folder:
        path = Path(folder) / "formula.xlsx"
        path.write_bytes(sent)
        book = workbooks.load(path, SHEETS)
    found = rows.document_of(book.rows)
    found.faults = [*book.faults, *found.faults]
    return found
