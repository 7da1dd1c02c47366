"""The workbook to fill in: every sheet with its columns, hints and drop-downs; whole with a small example city, or blank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.comments import Comment
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter, quote_sheetname
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.worksheet import Worksheet

from console.founding.examples import CITY
from console.founding.reading import CHOICES, INTRODUCTION, headed
from console.founding.sheets import SHEETS, YES, CellShape, SheetColumn, WorkbookSheet
from providers import registry
from quota.errors import N_

ROWS = 1000
"""Rows that a drop-down covers."""
LINES = (
    N_("《管家》筹建工作簿"),
    N_("每个表一类内容，第一行是列名，带 * 的必填；鼠标停在列名上有说明。只填要登记或要改的行。"),
    N_("空表可以不填。再次导入同一工作簿不改变任何东西；以后的工作簿只增加新的、改变不同的。"),
    N_("有任何一处错误，全部都不登记，并逐一指出表、行、列和原因。"),
    N_("口令不写在这里：连接参数里写口令在哪里（file:/路径 或 env:变量名）。人员的初始密码录入后写成文件。"),
)
EXAMPLE = N_("【示例】本工作簿中的城市、公司、人员、编号都是示例，请换成本市的；不要的行整行删除。")


def write(path: Path, *, blank: bool = False, demo: bool = False) -> None:
    """Write the workbook to ``path``; without rows where ``blank``. ``demo``: whether made-up clouds may be chosen."""
    book = Workbook()
    first = book.active
    first.title = INTRODUCTION
    for line in (*LINES, *(() if blank else (EXAMPLE,))):
        first.append([line])
    first.append([])
    for sheet in SHEETS:
        first.append([sheet.title, sheet.about])
    first.column_dimensions["A"].width = 16
    first["A1"].font = Font(bold=True, size=14)
    choices = book.create_sheet(CHOICES)
    choices.sheet_state = "hidden"
    for sheet in SHEETS:
        _sheet(book.create_sheet(sheet.title), sheet, choices, [] if blank else CITY.get(sheet.name, []), demo)
    book.move_sheet(choices, len(SHEETS))
    book.save(path)


def _sheet(page: Worksheet, sheet: WorkbookSheet, choices: Worksheet, rows: list[dict[str, Any]], demo: bool) -> None:
    page.append([headed(column) for column in sheet.columns])
    page.freeze_panes = "A2"
    for number, column in enumerate(sheet.columns, 1):
        letter = get_column_letter(number)
        head = page.cell(1, number)
        head.font = Font(bold=True)
        page.column_dimensions[letter].width = max(12, min(30, 2 * len(column.label) + 6))
        if column.hint:
            head.comment = Comment(column.hint, "guanjia")
        _drop_down(page, letter, _options(column, demo), choices)
        if column.shape is CellShape.DATE:
            page.column_dimensions[letter].number_format = "yyyy-mm-dd"
    for row in rows:
        page.append([row.get(column.key) for column in sheet.columns])


def _options(column: SheetColumn, demo: bool) -> list[str]:
    if column.key == "adapter":
        return registry.offered(demo=demo)
    if column.shape is CellShape.YES:
        return list(YES)
    return list(column.options) if column.shape is CellShape.CHOICE else []


def _drop_down(page: Worksheet, letter: str, options: list[str], choices: Worksheet) -> None:
    if not options:
        return
    number = choices.max_column + 1 if choices.cell(1, 1).value is not None else 1
    for at, option in enumerate(options, 1):
        choices.cell(at, number, option)
    column = get_column_letter(number)
    area = f"{quote_sheetname(CHOICES)}!${column}$1:${column}${len(options)}"
    rule = DataValidation(type="list", formula1=f"={area}", allow_blank=True)
    page.add_data_validation(rule)
    rule.add(f"{letter}2:{letter}{ROWS}")
