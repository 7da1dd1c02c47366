"""Workbooks to fill in: an introduction, every sheet with its columns, hints and drop-downs, and rows where there are any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.cell import Cell
from openpyxl.comments import Comment
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter, quote_sheetname
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.worksheet import Worksheet

from console.workbooks.cells import YES, CellShape, SheetColumn, WorkbookSheet
from console.workbooks.reading import BATCH, CHOICES, INTRODUCTION, headed

Options = Callable[[SheetColumn], list[str]]

ROWS = 1000
"""Rows that a drop-down covers."""


def options(column: SheetColumn) -> list[str]:
    """What the drop-down of a column offers; nothing where there is none."""
    if column.shape is CellShape.YES:
        return list(YES)
    return list(column.options) if column.shape is CellShape.CHOICE else []


def write(
    path: Path, lines: Sequence[str], sheets: Sequence[WorkbookSheet], rows: Mapping[str, Sequence[Mapping[str, Any]]],
    offered: Options = options, *, batch: str = "",
) -> None:  # fmt: skip
    """Write a workbook of ``sheets`` to ``path``: ``lines`` introduce it, ``rows`` (by sheet, a value a column) stand in it, and it
    bears the number ``batch`` where there is one."""
    book = Workbook()
    first = book.active
    first.title = INTRODUCTION
    for line in lines:
        _append(first, [line])
    if batch:
        _append(first, [BATCH, batch])
    first.append([])
    for sheet in sheets:
        _append(first, [sheet.title, sheet.about])
    first.column_dimensions["A"].width = 16
    first["A1"].font = Font(bold=True, size=14)
    choices = book.create_sheet(CHOICES)
    choices.sheet_state = "hidden"
    for sheet in sheets:
        _sheet(book.create_sheet(sheet.title), sheet, choices, rows.get(sheet.name, []), offered)
    book.move_sheet(choices, len(sheets))
    book.save(path)


def _sheet(
    page: Worksheet, sheet: WorkbookSheet, choices: Worksheet, rows: Sequence[Mapping[str, Any]], offered: Options
) -> None:  # fmt: skip
    page.append([headed(column) for column in sheet.columns])
    page.freeze_panes = "A2"
    for number, column in enumerate(sheet.columns, 1):
        letter = get_column_letter(number)
        head = page.cell(1, number)
        head.font = Font(bold=True)
        page.column_dimensions[letter].width = max(12, min(30, 2 * len(column.label) + 6))
        if column.hint:
            head.comment = Comment(column.hint, "guanjia")
        _drop_down(page, letter, offered(column), choices)
        if column.shape is CellShape.DATE:
            page.column_dimensions[letter].number_format = "yyyy-mm-dd"
    for row in rows:
        _append(page, [row.get(column.key) for column in sheet.columns])


def _append(page: Worksheet, values: Sequence[Any]) -> None:
    """A row of ``values``: what begins with "=" is a text of the book's, and no formula."""
    cells = [Cell(page, value=value) for value in values]
    for cell in cells:
        if cell.data_type == "f":
            cell.data_type = "s"
    page.append(cells)


def _drop_down(page: Worksheet, letter: str, offered: list[str], choices: Worksheet) -> None:
    if not offered:
        return
    number = choices.max_column + 1 if choices.cell(1, 1).value is not None else 1
    for at, option in enumerate(offered, 1):
        choices.cell(at, number, option).data_type = "s"
    column = get_column_letter(number)
    area = f"{quote_sheetname(CHOICES)}!${column}$1:${column}${len(offered)}"
    rule = DataValidation(type="list", formula1=f"={area}", allow_blank=True)
    page.add_data_validation(rule)
    rule.add(f"{letter}2:{letter}{ROWS}")
