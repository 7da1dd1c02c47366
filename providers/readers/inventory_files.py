"""Inventory files (CSV, workbooks, Parquet, JSON) → the facts of a pool, row by row, with a report of what was
not taken.

A row that is refused makes the listing incomplete, so nothing is concluded from a resource's absence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from providers.base import Inventory
from providers.readers.column_mapping import ColumnMapping, key_of
from providers.readers.inventory_rows import aware, facts_of, heading_of
from providers.readers.refusals import Reading, Refusals, missing, unusable
from providers.readers.sheets import is_workbook, sheet_tables, workbook_rows
from providers.readers.tables import Heading, TableColumn, TableRow, text_rows
from providers.readers.text_files import magic
from quota.errors import Refused
from quota.units import Arch

CITY_OFFSET_S = 28800

UNMAPPED = frozenset({"file.unknown", "column.missing", "sheet.changed"})
"""Codes of refusals of files whose columns a person can say the meaning of."""


def read_inventory(
    path: Path,
    report: Refusals,
    *,
    arch: Arch = Arch.ANY,
    utc_offset_s: int = CITY_OFFSET_S,
    mappings: Sequence[ColumnMapping] = (),
) -> Inventory:
    """Read one inventory file. ``arch`` is assumed where a row names none; dates without a zone are the
    city's; ``mappings``: how sheets with headings of their own are read.

    Raises Invalid if the file cannot be used (a code of ``UNMAPPED`` where a mapping would help), NotFound if it is not
    there; rows that cannot be taken are listed in ``report`` and make the result incomplete, as does a total of its own that is
    not the sum of what it has.
    """
    if not path.is_file():
        raise missing(str(path))
    reading = Reading(path.name)
    report.files.append(reading)
    try:
        as_of, rows = _open(path, reading, mappings)
        facts = facts_of(rows, reading, arch, timezone(timedelta(seconds=utc_offset_s)), mappings)
    except Refused as error:
        reading.fail(error)
        raise
    as_of = as_of or datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return Inventory(as_of, facts, complete=not reading.refused and "total.differs" not in reading.reasons)


def _open(
    path: Path, reading: Reading, mappings: Sequence[ColumnMapping]
) -> tuple[datetime | None, Iterator[TableRow]]:
    head = magic(path)
    heading, keys = heading_of(mappings), {one.key for one in mappings}
    if head[:4] == b"PAR1":
        reading.format = "parquet"
        return None, _parquet_rows(path)
    if is_workbook(head):
        fits = heading_of(()).fits
        return None, workbook_rows(path, reading, lambda cells: fits(cells) or key_of(cells) in keys)
    text = path.read_bytes()[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] in (b"{", b"["):
        reading.format = "json"
        return _json_rows(path)
    reading.format = "csv"
    return None, text_rows(path, heading, reading)


class _AnyHeading(Heading):
    """Whatever is text may be a heading."""

    def column(self, at: int, head: Any) -> tuple[str, TableColumn] | None:
        text = str(head).strip() if isinstance(head, str) else ""
        return (text, TableColumn(at, text)) if text and not text.replace(".", "", 1).isdigit() else None


ANY_HEADING = _AnyHeading({}, ())


def tables_in(path: Path, most: int | None = None) -> dict[str, list[TableRow]]:
    """Every table that a file holds, whatever it is about: sheet ("" where it is no workbook) → its rows as they stand, of text
    the first ``most``.

    Raises Invalid for what is no table.
    """
    head = magic(path)
    if is_workbook(head):
        return {one.name: list(one.rows) for one in sheet_tables(path) if one.rows and not one.hidden}
    if head[:4] == b"PAR1":
        return {"": list(_parquet_rows(path))}
    if path.read_bytes()[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return {"": list(_json_rows(path)[1])}
    return {"": list(islice(text_rows(path, ANY_HEADING, Reading(path.name)), most))}


def _parquet_rows(path: Path) -> Iterator[TableRow]:
    try:
        table = pq.read_table(path)
        yield TableRow(0, table.column_names)
        for at, one in enumerate(zip(*(column.to_pylist() for column in table.columns), strict=True), 1):
            yield TableRow(at, one)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unusable("file.parquet", path.name, why=str(error)[:200]) from error


def _json_rows(path: Path) -> tuple[datetime | None, Iterator[TableRow]]:
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

    def rows() -> Iterator[TableRow]:
        yield TableRow(0, heads)
        for at, one in enumerate(loaded, 1):
            yield TableRow(at, [one.get(head) for head in heads] if isinstance(one, dict) else ())

    return as_of, rows()
