"""A document as a workbook: its text first, then a sheet a table, figures as figures with their units in the headings."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter

from console.reports import archives
from console.reports.documents import Document, HeadingBlock, NumberFormat, Paragraph, Table

FORMATS = {
    NumberFormat.COUNT: "#,##0",
    NumberFormat.QUANTITY: "#,##0.##",
    NumberFormat.PERCENT: "0.0",
    NumberFormat.MONEY: "#,##0.00",
}
LONGEST_NAME = 31
_FORBIDDEN = re.compile(r"[\[\]:*?/\\']")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def xlsx(document: Document, author: str = "") -> bytes:
    """The workbook."""
    book = Workbook(write_only=True)
    book.properties.title = f"{document.title} {document.subtitle}"
    book.properties.creator = author or document.title
    taken: set[str] = set()
    _text(book.create_sheet(_name(document.subtitle, taken)), document)
    for table in document.tables:
        _sheet(book.create_sheet(_name(table.title, taken)), table)
    out = io.BytesIO()
    book.save(out)
    return archives.timeless(out.getvalue(), document.end)


def _name(title: str, taken: set[str]) -> str:
    """A name that a sheet may have and no other has."""
    base = _FORBIDDEN.sub(" ", clean(title)).strip()[:LONGEST_NAME] or "-"
    name, again = base, 2
    while name.casefold() in taken:
        ending = f" {again}"
        name, again = base[: LONGEST_NAME - len(ending)] + ending, again + 1
    taken.add(name.casefold())
    return name


def clean(text: str) -> str:
    """``text`` without what XML can't hold."""
    return _CONTROL.sub("", text)


def _text(sheet: Any, document: Document) -> None:
    sheet.column_dimensions["A"].width = 18
    sheet.column_dimensions["B"].width = 90
    sheet.append([_cell(sheet, document.title, bold=True, size=14)])
    sheet.append([_cell(sheet, document.subtitle)])
    for name, value in document.facts:
        sheet.append([_cell(sheet, name), _cell(sheet, value)])
    for block in document.blocks:
        match block:
            case HeadingBlock(text, _level):
                sheet.append([])
                sheet.append([_cell(sheet, text, bold=True)])
            case Paragraph(text, _note):
                sheet.append([None, _cell(sheet, text, wrap=True)])
            case Table():
                sheet.append([None, _cell(sheet, block.title)])


def _sheet(sheet: Any, table: Table) -> None:
    for at, width in enumerate(_widths(table), 1):
        sheet.column_dimensions[get_column_letter(at)].width = width
    sheet.freeze_panes = "A2"
    sheet.append([_cell(sheet, column.heading, bold=True) for column in table.columns])
    for row in table.rows:
        sheet.append([_value(sheet, column.figure, value) for column, value in zip(table.columns, row, strict=True)])


def _widths(table: Table) -> Iterable[float]:
    written = table.written()[:200]
    for at, column in enumerate(table.columns):
        longest = max([len(column.heading), *(len(row[at]) for row in written)])
        yield min(48, 4 + 1.7 * longest)


def _value(sheet: Any, figure: NumberFormat, value: Any) -> Any:
    if isinstance(value, str):
        return _cell(sheet, value)
    if value is None:
        return None
    cell = WriteOnlyCell(sheet, value if isinstance(value, int | Decimal) else round(float(value), 6))
    cell.number_format = FORMATS.get(figure, "General")
    return cell


def _cell(sheet: Any, text: str, *, bold: bool = False, size: int = 11, wrap: bool = False) -> Any:
    """A text that stays one, also where it begins with =."""
    cell = WriteOnlyCell(sheet, clean(text))
    cell.data_type = "s"
    if bold:
        cell.font = Font(bold=True, size=size)
    if wrap:
        cell.alignment = Alignment(wrap_text=True, vertical="top")
    return cell
