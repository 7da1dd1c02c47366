"""Tables of people's files, text or workbook: the row with the headings found, columns named, rows as they stand.

Rows that sum others up are left out and named; a cell that a spreadsheet could not compute is no value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from providers.readers.figures import FORMULA, is_error, is_rounded, is_total, unwrapped
from providers.readers.refusals import Reading, unusable
from providers.readers.text_files import SEPARATORS, TextBlock, blocks, fields, split
from providers.readers.usage_columns import plain

TITLE_ROWS = 10
"""How far down the headings may stand, below titles and blank rows."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row as written: its line (or row) in the file and its cells. ``merged``: columns whose cell spans several rows;
    ``foreign``: columns whose number is shown as money of another country, and its sign."""

    line: int
    cells: Sequence[Any]
    merged: frozenset[int] = frozenset()
    foreign: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column that is read: its place from 0, its heading as written, what was said behind the word, in brackets, and the line
    that it stands in."""

    at: int
    head: str
    unit: str = ""
    line: int = 1


@dataclass(frozen=True, slots=True)
class Heading:
    """The words by which a kind of table knows its columns. ``words``: as ``plain`` spells them → the column's name;
    ``needed``: names without which it is none; ``units``: whether a heading's brackets are understood, by name and unit."""

    words: Mapping[str, str]
    needed: Sequence[str]
    units: Callable[[str, str], bool] = lambda _name, _unit: False

    def column(self, at: int, head: Any) -> tuple[str, TableColumn] | None:
        """The name of a column, or None. A unit in brackets is told apart where the whole is no word of its own."""
        if not isinstance(head, str) or not head.strip():
            return None
        if (name := self.words.get(plain(head))) is not None:
            return name, TableColumn(at, head)
        found = re.fullmatch(r"(.+?)[(\[【](.+?)[)\]】]", unicodedata.normalize("NFKC", head).strip())
        name = self.words.get(plain(found[1])) if found else None
        if found is None or name is None or not self.units(name, plain(found[2])):
            return None
        return name, TableColumn(at, head, plain(found[2]))

    def names(self, cells: Sequence[Any]) -> set[str]:
        return {found[0] for cell in cells if (found := self.column(0, cell))}

    def fits(self, cells: Sequence[Any]) -> bool:
        """Whether a row may be the headings of such a table."""
        found = self.names(cells)
        return len(found) >= 2 and set(self.needed) <= found


def columns_of(
    rows: Iterator[TableRow], heading: Heading, reading: Reading
) -> tuple[dict[str, TableColumn], Iterator[TableRow]]:
    """The columns by name, and the rows below their headings: of the first rows, the one that knows most.

    Notes every column that is not read. Raises Invalid where none is a row of headings, one that is needed is missing, or
    one stands twice.
    """
    first = list(islice(rows, TITLE_ROWS))
    known = [len(heading.names(row.cells)) for row in first]
    if not known or max(known) < 2:
        raise unusable("file.unknown", reading.place, line=1, header=_told(first[0].cells) if first else "")
    at = known.index(max(known))
    head = first[at]
    line = max(head.line, 1)
    columns: dict[str, TableColumn] = {}
    unread: list[str] = []
    for place, text in enumerate(head.cells):
        found = heading.column(place, text)
        if found is None:
            unread += [str(text).strip()] if text is not None and str(text).strip() else []
        elif found[0] in columns:
            raise unusable("column.twice", reading.place, line=line, column=place + 1, header=text)
        else:
            columns[found[0]] = replace(found[1], line=line)
    for name in heading.needed:
        if name not in columns:
            raise unusable("column.missing", reading.place, line=line, column=name)
    if unread:
        reading.note("column.unused", columns=", ".join(unread)[:400])

    def below() -> Iterator[TableRow]:
        yield from first[at + 1 :]
        yield from rows

    return columns, below()


def _told(cells: Sequence[Any]) -> str:
    return " ".join(str(cell) for cell in cells if cell is not None)[:80]


class UnfitError(Exception):
    """This row cannot be taken; it was counted."""


class RowCells:
    """One row on its way to what it means."""

    def __init__(self, row: TableRow, columns: Mapping[str, TableColumn], reading: Reading) -> None:
        self.row, self.columns, self.reading = row, columns, reading

    def raw(self, name: str) -> Any:
        column = self.columns.get(name)
        return self.row.cells[column.at] if column is not None and column.at < len(self.row.cells) else None

    def text(self, name: str) -> str:
        value = self.raw(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # spreadsheets know no integers
        return "" if value is None else str(value).strip()

    def refuse(self, reason: str, name: str, *, rows: bool = True) -> None:
        column = self.columns.get(name, TableColumn(-1, name))
        self.reading.refuse(reason, self.row.line, column.at + 1 or None, column.head, self.text(name), rows=rows)

    def unfit(self, reason: str, name: str) -> UnfitError:
        """Count the refusal of this row for what it says under ``name``."""
        self.refuse(reason, name)
        return UnfitError(reason)

    def is_blank(self) -> bool:
        return bool(self.row.cells) and all(cell is None or not str(cell).strip() for cell in self.row.cells)

    def is_total(self, name: str) -> bool:
        """Whether the row sums others up: its ``name`` says so, or it has none and another cell does."""
        return is_total(self.raw(name)) or (not self.text(name) and any(is_total(cell) for cell in self.row.cells))

    def must_be_computed(self) -> None:
        """Raises UnfitError where a cell that is read holds an error or a formula without its result."""
        for name in self.columns:
            text = self.text(name)
            if is_error(text):
                raise self.unfit("cell.error", name)
            if text[:1] == "=" and FORMULA.fullmatch(text):
                raise self.unfit("cell.formula", name)

    def must_be_own(self, name: str) -> None:
        """Raises UnfitError for a figure in a cell that spans several rows: how much of it is this row's, it does not
        say."""
        if name in self.columns and self.columns[name].at in self.row.merged:
            raise self.unfit("cell.merged", name)

    def identity(self, name: str) -> str:
        """An id as written. Raises UnfitError for one that a spreadsheet has changed."""
        if is_rounded(self.raw(name)):
            raise self.unfit("id.rounded", name)
        return self.text(name)


def text_rows(path: Path, heading: Heading, reading: Reading) -> Iterator[TableRow]:
    """Rows of a text file; what the splitting refuses (cut, ragged, undecodable lines) is counted there, the rest is not
    yet."""
    separator, width = "", 0
    for block in blocks(path, path.name, reading):
        if not separator and not block.cut:
            head = block.data[: 1 << 16].decode("utf-8", "replace").split("\n")[:-1][:TITLE_ROWS]
            choices = [(mark, line) for line in head for mark in SEPARATORS]
            separator, line = max(
                choices, key=lambda one: len(heading.names(fields(one[1], one[0]))), default=(",", "")
            )
            width = len(fields(line, separator))
            for at, title in enumerate(head, 1):  # titles above the headings have other widths
                if title == line:
                    yield TableRow(at, fields(line, separator))
                    skip = sum(len(one.encode()) + 1 for one in head[:at])
                    block = TextBlock(block.data[skip:], at + 1)
                    break
        if block.data:
            lines = split(block, separator or ",", width, reading)
            reading.rows -= len(lines)  # counted by who takes them
            for row in range(len(lines)):
                yield TableRow(
                    int(lines.numbers[row]), [unwrapped(cell) for cell in fields(lines.text(row), separator)]
                )
