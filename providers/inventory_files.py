"""Inventory files (CSV, XLSX, Parquet, JSON) → the facts of a pool, row by row, with a report of what was
not taken.

A row that is refused makes the listing incomplete, so nothing is concluded from a resource's absence.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from providers.base import Inventory
from providers.inventory_rows import TITLE_ROWS, Row, aware, facts_of, known
from providers.refusals import Reading, Refusals, missing, unusable
from providers.text_files import blocks, fields, magic, split
from providers.usage_formats import SEPARATORS
from quota.errors import Refused
from quota.units import Arch

CITY_OFFSET_S = 28800


def read_inventory(
    path: Path, report: Refusals, *, arch: Arch = Arch.ANY, utc_offset_s: int = CITY_OFFSET_S
) -> Inventory:
    """Read one inventory file. ``arch`` is assumed where a row names none; dates without a zone are the
    city's.

    Raises Invalid if the file cannot be used, NotFound if it is not there; rows that cannot be taken are
    listed in
    ``report`` and make the result incomplete.
    """
    if not path.is_file():
        raise missing(str(path))
    reading = Reading(path.name)
    report.files.append(reading)
    try:
        as_of, rows = _open(path, reading)
        facts = facts_of(rows, reading, arch, timezone(timedelta(seconds=utc_offset_s)))
    except Refused as error:
        reading.fail(error)
        raise
    as_of = as_of or datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return Inventory(as_of, facts, complete=not reading.refused)


def _open(path: Path, reading: Reading) -> tuple[datetime | None, Iterator[Row]]:
    head = magic(path)
    if head[:4] == b"PAR1":
        reading.format = "parquet"
        return None, _parquet_rows(path)
    if head[:4] == b"PK\x03\x04":
        reading.format = "xlsx"
        return None, _sheet_rows(path)
    text = path.read_bytes()[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] in (b"{", b"["):
        reading.format = "json"
        return _json_rows(path)
    reading.format = "csv"
    return None, _csv_rows(path, reading)


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        table = pq.read_table(path)
        yield Row(0, table.column_names)
        for at, one in enumerate(zip(*(column.to_pylist() for column in table.columns), strict=True), 1):
            yield Row(at, one)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unusable("file.parquet", path.name, why=str(error)[:200]) from error


def _sheet_rows(path: Path) -> Iterator[Row]:
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        for at, cells in enumerate(sheet.iter_rows(values_only=True), 1):
            if any(cell not in (None, "") for cell in cells):
                yield Row(at, cells)
        book.close()
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, IndexError, SyntaxError, EOFError) as error:
        raise unusable("file.unreadable", path.name, why=str(error)[:200]) from error


def _json_rows(path: Path) -> tuple[datetime | None, Iterator[Row]]:
    try:
        loaded = json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise unusable("file.encoding", path.name, line=1) from error
    except json.JSONDecodeError as error:
        raise unusable("json.bad", path.name, line=error.lineno, column=error.colno) from error
    except RecursionError as error:
        raise unusable("json.bad", path.name, line=1, column=1) from error
    as_of = None
    if isinstance(loaded, dict):
        as_of = aware(loaded.get("as_of"), UTC)
        loaded = loaded.get("resources")
    if not isinstance(loaded, list):
        raise unusable("column.missing", path.name, line=1, column="resources")
    heads = list(dict.fromkeys(key for one in loaded if isinstance(one, dict) for key in one))

    def rows() -> Iterator[Row]:
        yield Row(0, heads)
        for at, one in enumerate(loaded, 1):
            yield Row(at, [one.get(head) for head in heads] if isinstance(one, dict) else ())

    return as_of, rows()


def _csv_rows(path: Path, reading: Reading) -> Iterator[Row]:
    """Lines of a text file; what the splitting refuses (cut, ragged, undecodable lines) is counted
    there."""
    separator, width = "", 0
    for block in blocks(path, path.name, reading):
        if not separator and not block.cut:
            head = block.data[: 1 << 16].decode("utf-8", "replace").split("\n")[:-1][:TITLE_ROWS]
            choices = [(mark, line) for line in head for mark in SEPARATORS]
            separator, line = max(
                choices,
                key=lambda one: sum(known(cell) for cell in fields(one[1], one[0])),
                default=(",", ""),
            )
            width = len(fields(line, separator))
            for at, title in enumerate(head, 1):  # titles above the header have other widths
                if title == line:
                    yield Row(at, fields(line, separator))
                    skip = sum(len(one.encode()) + 1 for one in head[:at])
                    block = type(block)(block.data[skip:], at + 1)
                    break
        if block.data:
            lines = split(block, separator or ",", width, reading)
            reading.rows -= len(lines)  # counted again, with those of the other formats
            for row in range(len(lines)):
                yield Row(int(lines.numbers[row]), fields(lines.text(row), separator))
