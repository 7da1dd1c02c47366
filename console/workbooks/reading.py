"""A workbook as rows: each with its place, and everything that is wrong with a cell by itself. Nothing is looked up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from console.workbooks.cells import SheetColumn, WorkbookSheet, read
from providers.readers import SheetTable, sheet_tables, whole_tables
from quota.errors import N_, Invalid, Refused

INTRODUCTION = N_("说明")
"""The sheet that people read and nobody enters."""
CHOICES = N_("可选项")
"""The sheet behind the drop-downs."""

BATCH = N_("批号")
"""What stands before the number of a workbook on its first sheet."""

MOST_ROWS = 20_000
LONGEST_BATCH = 64


@dataclass(frozen=True, slots=True)
class CellFault:
    """What is wrong, and where: the sheet's title, the row as the workbook counts (0: the sheet itself), the column's
    heading. ``code`` is the kind; ``message`` a sentence with places for ``params``."""

    sheet: str
    row: int
    column: str
    code: str
    message: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class SheetRow:
    """One row of a sheet. ``sound``: nothing is wrong with any of its cells."""

    sheet: WorkbookSheet
    number: int
    values: dict[str, Any]
    sound: bool = True

    @property
    def code(self) -> str:
        """What others name it by: its first column."""
        return str(self.values.get(self.sheet.columns[0].key) or "")


@dataclass(slots=True)
class Workbook:
    """``rows`` by the name of their sheet, and ``faults``: what is wrong with cells by themselves. ``batch``: the number that it was
    written with; empty where it bears none."""

    rows: dict[str, list[SheetRow]]
    faults: list[CellFault]
    batch: str = ""


def load(path: Path, sheets: Sequence[WorkbookSheet], only: str | None = None) -> Workbook:
    """The rows of the workbook at ``path``, whose ``sheets`` are known, with all faults of its cells; of a text file (CSV) those of
    the one sheet ``only`` (None: workbooks alone are taken). Raises Invalid for what is neither, and for a text file of which it
    isn't said which sheet it is."""
    found = Workbook({one.name: [] for one in sheets}, [])
    titles = {one.title: one for one in sheets}
    try:
        for table in sheet_tables(path) if only is None else whole_tables(path):
            name = table.name.strip() or next((one.title for one in sheets if one.name == only), "")
            if not name:
                raise Invalid("sheet.which", N_("CSV 文件只有一个表，请选择它是哪一个表"), field="sheet")
            if name == INTRODUCTION:
                found.batch = _batch(table)
            if name in (INTRODUCTION, CHOICES):
                continue
            if name in titles:
                _sheet(titles[name], table, found)
            else:
                known = {"known": ", ".join(titles)}
                told = CellFault(table.name, 0, "", "sheet.unknown", N_("没有这个表;可用:%(known)s"), known)
                found.faults.append(told)
    except Invalid as refused:
        refused.params.setdefault("field", "file")
        raise
    return found


def _batch(table: SheetTable) -> str:
    """The number that stands on the first sheet of a workbook; a later one counts nothing."""
    for line in table.rows:
        name, number = (str(cell or "").strip() for cell in (*line.cells, None, None)[:2])
        if name == BATCH and number:
            return number[:LONGEST_BATCH]
    return ""


def _sheet(sheet: WorkbookSheet, table: SheetTable, found: Workbook) -> None:
    if not table.rows:
        return
    if len(table.rows) > MOST_ROWS:
        found.faults.append(CellFault(sheet.title, 0, "", "sheet.long", N_("最多 %(most)s 行"), {"most": MOST_ROWS}))
        return
    head, *rows = table.rows
    places = _headings(sheet, head.line, [str(cell or "").strip() for cell in head.cells], found)
    if places is None:
        return
    seen: dict[tuple[Any, ...], int] = {}
    for line in rows:
        number, cells = line.line, line.cells
        if all(cell is None or str(cell).strip() == "" for cell in cells):
            continue
        row = SheetRow(sheet, number, {})
        for column in sheet.columns:
            at = places.get(column.key)
            raw = cells[at] if at is not None and at < len(cells) else None
            try:
                if (number, at) in table.errors:
                    raise Invalid("cell.error", N_("单元格是错误值,或公式没有算出结果:%(text)s"), text=raw)
                row.values[column.key] = read(column, raw)
            except Invalid as wrong:
                row.sound = False
                row.values[column.key] = None
                found.faults.append(
                    CellFault(sheet.title, number, column.label, wrong.code, wrong.message, wrong.params)
                )
        key = tuple(_folded(row.values[name]) for name in sheet.key)
        if sheet.key and row.values[sheet.key[0]] is not None:
            first = seen.setdefault(key, number)
            if first != number:
                row.sound = False
                label = sheet.columns[0].label
                found.faults.append(
                    CellFault(sheet.title, number, label, "row.twice", N_("与第 %(first)s 行重复"), {"first": first})
                )
        found.rows[sheet.name].append(row)


def _folded(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _headings(sheet: WorkbookSheet, line: int, heads: list[str], found: Workbook) -> dict[str, int] | None:
    """Column → its place. None where one that must be there is not, so that no row can be read."""
    labels = {one.label: one for one in sheet.columns}
    places: dict[str, int] = {}
    for at, head in enumerate(heads):
        column = labels.get(head.rstrip("*").strip())
        if column is not None and column.key not in places:
            places[column.key] = at
        elif column is not None:
            found.faults.append(CellFault(sheet.title, line, head, "column.twice", N_("这一列出现了两次")))
        elif head:
            found.faults.append(CellFault(sheet.title, line, head[:80], "column.unknown", N_("没有这一列")))
    missing = [one for one in sheet.columns if one.required and one.key not in places]
    for one in missing:
        found.faults.append(CellFault(sheet.title, line, one.label, "column.missing", N_("缺少这一列")))
    return None if missing else places


def headed(column: SheetColumn) -> str:
    """A column's heading: what must be filled in bears a star."""
    return f"{column.label}*" if column.required else column.label


PLACE, PLACE_OF_SHEET = N_("%(sheet)s 第 %(row)s 行 %(column)s"), "%(sheet)s"


def place(fault: CellFault) -> tuple[str, dict[str, Any]]:
    """Where a fault is, as a sentence with places and what stands in them: what is wrong with a sheet is in no row of it."""
    if not fault.row:
        return PLACE_OF_SHEET, {"sheet": fault.sheet}
    return PLACE, {"sheet": fault.sheet, "row": fault.row, "column": fault.column}


def told(faults: Iterable[CellFault]) -> Iterator[tuple[str, str]]:
    """(place, sentence) of each fault, in Chinese as the source has it: for the command line."""
    for one in faults:
        words, params = place(one)
        yield (words % params).rstrip(), str(Refused(one.code, one.message, **dict(one.params)))
