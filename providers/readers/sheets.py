"""Workbooks (xlsx, xls) as tables: every row that is there, whatever range the file declares, each cell as a person sees
it.

What the reader of the cells passes over is looked up in the file itself: errors and formulas without a result, which it
gives as empty; money of another country; rows and columns that are hidden; how far the cells reach, before room is made
for them.
"""

from __future__ import annotations

import csv
import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree
from xml.parsers import expat

import python_calamine as calamine

from providers.readers.refusals import Reading, unusable
from providers.readers.tables import TITLE_ROWS, TableRow
from providers.readers.text_files import SEPARATORS, blocks, magic

PACKED, COMPOUND = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
"""How workbooks begin: xlsx and its kin, xls."""

MOST_CELLS = 5_000_000
"""Rows × columns of a sheet, empty ones among them: room is made for all of them at once."""

MOST_BYTES = 1 << 30
"""Of a workbook, unpacked."""

MOST_TEXT = 32 << 20
"""Bytes of a text file that is read as a whole."""

UNCOMPUTED = "=…"
"""What stands for a formula whose result was not saved."""

CellPlace = tuple[int, int]


@dataclass(slots=True)
class SheetMarks:
    """What a sheet's file says beside its values; places count from 0."""

    errors: dict[CellPlace, str] = field(default_factory=dict)
    foreign: dict[int, dict[int, str]] = field(default_factory=dict)  # row → column → sign of a currency
    hidden_rows: int = 0
    hidden_columns: int = 0
    last_row: int = 0
    last_column: int = 0


def is_workbook(head: bytes) -> bool:
    return head[:4] in (PACKED, COMPOUND)


def workbook_rows(path: Path, reading: Reading, fits: Callable[[Sequence[Any]], bool]) -> Iterator[TableRow]:
    """The rows of the one visible sheet that has headings which ``fits`` knows (of none, those of the first that holds
    anything). Names it and its format in ``reading``, and notes the sheets that are not read.

    Raises Invalid for what is no such workbook, and where several sheets might be meant.
    """
    book, parts = _opened(path, reading)
    try:
        with book:
            found: dict[str, tuple[list[TableRow], SheetMarks]] = {}
            others: list[str] = []
            for meta in book.sheets_metadata:
                if meta.typ is not calamine.SheetTypeEnum.WorkSheet:
                    continue
                if meta.visible is not calamine.SheetVisibleEnum.Visible:
                    others.append(meta.name)
                elif (read := _rows(book, meta.name, path, parts)) and read[0]:
                    found[meta.name] = read
    except calamine.CalamineError as error:
        raise unusable("file.unreadable", path.name, why=str(error)[:200]) from error
    fitting = [name for name, (rows, _) in found.items() if any(fits(row.cells) for row in rows[:TITLE_ROWS])]
    if len(fitting) > 1:
        raise unusable("sheet.several", path.name, sheets=", ".join(fitting))
    chosen = next(iter(fitting or found), None)
    if chosen is None:
        raise unusable("file.no_rows", path.name)
    rows, marks = found[chosen]
    reading.sheet = chosen
    others += [name for name in found if name != chosen]
    if others:
        reading.note("sheet.unread", sheets=", ".join(others)[:400])
    if marks.hidden_rows or marks.hidden_columns:
        reading.note("sheet.hidden", rows=marks.hidden_rows, columns=marks.hidden_columns)
    if reading.format == "xls":
        reading.note("sheet.xls")
    yield from rows


@dataclass(frozen=True, slots=True)
class SheetTable:
    """One sheet of a workbook: its rows that hold anything, its cells that show an error or have no result, by
    (line, place from 0), with what stands there, and whether people don't see it."""

    name: str
    rows: Sequence[TableRow]
    errors: Mapping[CellPlace, str]
    hidden: bool = False


def whole_tables(path: Path) -> Iterator[SheetTable]:
    """Every sheet of a workbook, or the one table of a text file (CSV), which has no name. Raises Invalid for what is neither."""
    if is_workbook(magic(path)):
        yield from sheet_tables(path)
    else:
        yield SheetTable("", _text_rows(path), {})


def _text_rows(path: Path) -> list[TableRow]:
    """Each row of a text file under the number of its first line; a cell may run over several. An empty cell is None."""
    if path.stat().st_size > MOST_TEXT:
        raise unusable("file.unreadable", path.name, why=f"more than {MOST_TEXT >> 20} MB")
    text = b"".join(one.data for one in blocks(path, path.name, Reading(path.name))).decode("utf-8", "replace")
    first = text.partition("\n")[0]
    rows, line = [], 1
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(SEPARATORS, key=first.count))
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(TableRow(line, [cell if cell.strip() else None for cell in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise unusable("file.unreadable", path.name, why=f"{reader.line_num}: {error}") from error
    return rows


def sheet_tables(path: Path) -> Iterator[SheetTable]:
    """Every sheet of a workbook, hidden ones among them. Raises Invalid for what is no workbook that can be read."""
    book, parts = _opened(path, Reading(path.name))
    try:
        with book:
            for meta in book.sheets_metadata:
                if meta.typ is calamine.SheetTypeEnum.WorkSheet:
                    rows, marks = _rows(book, meta.name, path, parts)
                    wrong = {(row + 1, column): text for (row, column), text in marks.errors.items()}
                    hidden = meta.visible is not calamine.SheetVisibleEnum.Visible
                    yield SheetTable(meta.name, rows, wrong, hidden)
    except calamine.CalamineError as error:
        raise unusable("file.unreadable", path.name, why=str(error)[:200]) from error


def _opened(path: Path, reading: Reading) -> tuple[calamine.CalamineWorkbook, _Parts | None]:
    """The workbook, and what is looked up beside it. Raises Invalid for what is none that can be read."""
    parts = None
    try:
        with path.open("rb") as file:
            packed = file.read(4) == PACKED
        if packed:
            parts = _Parts(path)
        reading.format = "xlsx" if packed else "xls"
        return calamine.load_workbook(path), parts
    except calamine.PasswordError as error:
        raise unusable("file.locked", path.name) from error
    except (calamine.CalamineError, *DAMAGED) as error:
        raise unusable("file.unreadable", path.name, why=str(error)[:200]) from error


def _rows(
    book: calamine.CalamineWorkbook, name: str, path: Path, parts: _Parts | None
) -> tuple[list[TableRow], SheetMarks]:
    """The rows of a sheet that hold anything, and its marks. A cell that spans rows stands in each of them."""
    try:
        marks = parts.marks(name) if parts is not None else SheetMarks()
    except DAMAGED as error:
        raise unusable("file.unreadable", path.name, why=str(error)[:200]) from error
    if (marks.last_row + 1) * (marks.last_column + 1) > MOST_CELLS:
        raise unusable("sheet.vast", f"{path.name} [{name}]", line=marks.last_row + 1, column=marks.last_column + 1)
    sheet = book.get_sheet_by_name(name)
    cells = [[_plain(cell) for cell in row] for row in sheet.to_python(skip_empty_area=False)]
    for (row, column), text in marks.errors.items():
        if row < len(cells) and column < len(cells[row]):
            cells[row][column] = text
    merged: dict[int, set[int]] = {}
    for (top, left), (bottom, _right) in sheet.merged_cell_ranges or ():
        if bottom > top and top < len(cells) and left < len(cells[top]):
            for row in range(top, min(bottom + 1, len(cells))):
                cells[row][left] = cells[top][left]
                merged.setdefault(row, set()).add(left)
    return [
        TableRow(at + 1, row, frozenset(merged.get(at, ())), marks.foreign.get(at, {}))
        for at, row in enumerate(cells)
        if any(cell not in ("", None) for cell in row)
    ], marks


def _plain(cell: Any) -> Any:
    """Whole numbers as such, as far as a spreadsheet keeps all their digits."""
    return int(cell) if isinstance(cell, float) and cell.is_integer() and abs(cell) < 10**15 else cell


# ------------------------------------------------------------------------------------------- what lies beside the values

DAMAGED = (
    zipfile.BadZipFile, ElementTree.ParseError, expat.ExpatError, KeyError, ValueError, OSError, EOFError, RuntimeError,
    NotImplementedError, IndexError, zlib.error,
)  # fmt: skip

_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_STRICT = "{http://purl.oclc.org/ooxml/officeDocument/relationships}id"


class _Parts:
    """The parts of an xlsx file. Raises Invalid for another kind of packed file, and what zipfile raises."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with zipfile.ZipFile(path) as packed:
            names = set(packed.namelist())
            if "xl/workbook.xml" not in names:
                sheets = "xl/workbook.bin" in names or "content.xml" in names
                raise unusable("file.sheets" if sheets else "file.zip", path.name)
            if sum(one.file_size for one in packed.infolist()) > MOST_BYTES:
                raise unusable("file.vast", path.name, most=MOST_BYTES >> 20)
            targets = {
                one.get("Id"): posixpath.normpath(posixpath.join("/xl", one.get("Target", "")))[1:]
                for one in ElementTree.fromstring(packed.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
            }
            book = ElementTree.fromstring(packed.read("xl/workbook.xml"))  # noqa: S314 - expat bounds what entities make
            self.sheets = {
                one.get("name"): targets[one.get(_RELATION) or one.get(_STRICT)]
                for one in book.iter()
                if _bare(one.tag) == "sheet"
            }
            styles = packed.read("xl/styles.xml") if "xl/styles.xml" in names else b"<none/>"
            self.currencies = dict(_currencies(ElementTree.fromstring(styles)))  # noqa: S314

    def marks(self, sheet: str) -> SheetMarks:
        with zipfile.ZipFile(self.path) as packed, packed.open(self.sheets[sheet]) as part:
            return _Scan(self.currencies).marks_of(part)


class _Scan:
    """One pass over the XML of a sheet."""

    def __init__(self, currencies: dict[str, str]) -> None:
        self.currencies, self.marks = currencies, SheetMarks()
        self.row, self.column = -1, -1
        self.kind, self.formula, self.text, self.inside = "", False, "", False

    def marks_of(self, part: Any) -> SheetMarks:
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.buffer_text = True
        source: BinaryIO = part
        parser.ParseFile(source)
        return self.marks

    def _start(self, tag: str, given: dict[str, str]) -> None:
        tag = _bare(tag)
        if tag == "c":
            self._place(given)
            self.kind, self.formula, self.text = given.get("t", ""), False, ""
            if (sign := self.currencies.get(given.get("s", ""))) is not None:
                self.marks.foreign.setdefault(self.row, {})[self.column] = sign
        elif tag == "row":
            self.row, self.column = int(given["r"]) - 1 if "r" in given else self.row + 1, -1
            self.marks.hidden_rows += given.get("hidden") in ("1", "true")
        elif tag == "f":
            self.formula = True
        elif tag == "v":
            self.inside = True
        elif tag == "col" and given.get("hidden") in ("1", "true"):
            first = int(given.get("min", 1))
            self.marks.hidden_columns += max(0, min(int(given.get("max", first)), 16_384) - first + 1)

    def _place(self, given: dict[str, str]) -> None:
        found = re.fullmatch(r"\$?([A-Za-z]{1,3})\$?(\d{1,7})", given.get("r", ""))
        if found:
            self.column = 0
            for letter in found[1].upper():
                self.column = self.column * 26 + ord(letter) - 64
            self.column -= 1
            self.row = int(found[2]) - 1
        else:
            self.column += 1
        self.marks.last_row = max(self.marks.last_row, self.row)
        self.marks.last_column = max(self.marks.last_column, self.column)

    def _data(self, text: str) -> None:
        if self.inside:
            self.text += text

    def _end(self, tag: str) -> None:
        tag = _bare(tag)
        if tag == "v":
            self.inside = False
        elif tag == "c":
            if self.kind == "e":
                self.marks.errors[self.row, self.column] = self.text.strip() or "#N/A"
            elif self.formula and not self.text and self.kind != "str":
                self.marks.errors[self.row, self.column] = UNCOMPUTED


def _bare(tag: str) -> str:
    return re.sub(r"^(\{.*\}|.*:)", "", tag)


_HOME = re.compile(r"\[\$(?:[¥¥]|rmb|cny|元|cn¥)?(?:-(?!411)[0-9a-f]+)?\]|_.", re.I)
"""Parts of a number format that name our own money, a locale or a blank; 411 is Japan's, which writes ¥, too."""

_FOREIGN = re.compile(r"\[\$([^\]\-]+)(?:-\w+)?\]|([$€£₩₽]|\b(?:USD|EUR|HKD|JPY|GBP)\b)", re.I)


def _currencies(styles: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """Style number (as cells name it) → the sign of another country's money that its number format shows."""
    formats = {one.get("numFmtId"): one.get("formatCode", "") for one in styles.iter() if _bare(one.tag) == "numFmt"}
    for group in styles:
        if _bare(group.tag) == "cellXfs":
            for number, style in enumerate(group):
                found = _FOREIGN.search(_HOME.sub("", formats.get(style.get("numFmtId"), "")))
                if found:
                    yield str(number), found[1] or found[2]
