"""Usage files and folders of them → batches of samples, with a report of what was taken and what was not.

A file is read to its end, checked and kept aside before any of its samples is handed on: either it is
taken, less the rows that the report lists, or it is refused whole.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from providers.base import Samples
from providers.readers.figures import SPOILT
from providers.readers.refusals import Reading, Refusals, missing, unusable
from providers.readers.sheets import is_workbook, workbook_rows
from providers.readers.tables import TITLE_ROWS
from providers.readers.text_files import TextBlock, TextLines, blocks, magic, split
from providers.readers.usage_columns import meaning
from providers.readers.usage_formats import Convention, ReadingPlan, recognise_schema, recognise_text
from providers.readers.usage_rows import FileCells, RowReader
from providers.readers.usage_spool import Spool
from quota.errors import Refused

PLAIN = Convention()
BATCH_ROWS = 2_000_000
PARQUET_ROWS = 1 << 20
UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".swp")

ReadProgress = Callable[[Path, int], None]


@dataclass(frozen=True, slots=True)
class UsageFile:
    """One file to read; ``name`` is what reports call it, relative to the folder that was asked for."""

    path: Path
    name: str


def find_usage(root: Path, report: Refusals) -> list[UsageFile]:
    """The files under ``root`` (or ``root`` itself), in order of their names.

    Hidden and half-written files (.tmp, .part, …), symbolic links and devices inside a folder are not read;
    links and unreadable folders are noted in ``report``. Raises NotFound.
    """
    if root.is_file():
        return [UsageFile(root, root.name)]
    if not root.is_dir():
        raise missing(str(root))
    found: list[UsageFile] = []

    def lost(error: OSError) -> None:
        failed = Reading(os.path.relpath(error.filename or root, root))
        failed.fail(unusable("file.unreadable", failed.file, why=error.strerror or str(error)))
        report.files.append(failed)

    for folder, folders, names in os.walk(root, onerror=lost):
        folders.sort()
        for name in sorted((*names, *(one for one in folders if os.path.islink(os.path.join(folder, one))))):
            path = Path(folder, name)
            short = os.path.relpath(path, root).encode("utf-8", "backslashreplace").decode()
            if name.startswith((".", "~$")):
                continue
            if name.endswith(UNFINISHED) or not stat.S_ISREG(path.lstat().st_mode):
                skipped = Reading(short)
                skipped.note("file.skipped")
                report.files.append(skipped)
            else:
                found.append(UsageFile(path, short))
    return sorted(found, key=lambda one: one.name)


def read_usage(
    path: Path,
    report: Refusals,
    convention: Convention = PLAIN,
    *,
    batch_rows: int = BATCH_ROWS,
    progress: ReadProgress | None = None,
) -> Iterator[Samples]:
    """All samples of a file or folder tree, at most ``batch_rows`` at a time; ``report`` fills while
    reading.

    A file that cannot be used raises Invalid if it is the only one asked for; in a folder it is listed in
    the report as refused whole, and the rest is read.
    """
    files = find_usage(path, report)
    yield from read_usage_files(files, report, convention, batch_rows=batch_rows, progress=progress)
    if path.is_file() and report.files[-1].error is not None:
        raise report.files[-1].error


def read_usage_files(
    files: Sequence[UsageFile],
    report: Refusals,
    convention: Convention = PLAIN,
    *,
    batch_rows: int = BATCH_ROWS,
    progress: ReadProgress | None = None,
) -> Iterator[Samples]:
    """As ``read_usage``, for the files given. Small files share a batch, large ones make several.

    A batch's ``source`` is its file (or first and last file) and a digest of what it holds: the same
    content has the same name whenever it is read, other content has another.
    """
    waiting = _Batch()
    for file in files:
        reading = Reading(file.name)
        report.files.append(reading)
        with Spool() as spool:
            try:
                ids = _read(file, reading, convention, spool)
            except Refused as error:
                reading.fail(error)
            else:
                for table in spool.tables():
                    for start in range(0, table.num_rows, batch_rows):
                        piece = table.slice(start, batch_rows)
                        if waiting.rows + piece.num_rows > batch_rows:
                            yield waiting.close(before=file.name)
                            waiting = _Batch()
                        waiting.add(file.name, ids, piece)
        if progress is not None:
            progress(file.path, file.path.stat().st_size)
    if waiting.rows:
        yield waiting.close()


def _read(file: UsageFile, reading: Reading, convention: Convention, spool: Spool) -> list[str]:
    """Read one file to its end into ``spool``; returns its resource ids. Raises Invalid if it cannot be
    used."""
    head = magic(file.path)
    if head[:4] == b"PAR1":
        rows = _read_parquet(file, reading, convention, spool)
    elif is_workbook(head):
        rows = _read_workbook(file, reading, convention, spool)
    else:
        rows = _read_text(file, reading, convention, spool)
    if not reading.rows:
        raise unusable("file.no_rows", file.name)
    if rows.plan.format != "merged":
        again = spool.drop_repeats()
        reading.duplicates += again
        reading.taken -= again
    reading.samples = spool.rows
    reading.span = spool.span
    return rows.ids


def _read_workbook(file: UsageFile, reading: Reading, convention: Convention, spool: Spool) -> RowReader:
    """As the text that its one sheet of usage would be, row by row at the same lines; what stands above the headings is left out."""

    def fits(cells: Sequence[Any]) -> bool:
        said = {found.name for cell in cells if isinstance(cell, str) and (found := meaning(cell))}
        return {"id", "time"} <= said

    table = list(workbook_rows(file.path, reading, fits))
    heads = next((row for row in table[:TITLE_ROWS] if fits(row.cells)), table[0])
    names = {at: of.name for at, head in enumerate(heads.cells) if (of := meaning(str(head)))}
    with tempfile.TemporaryDirectory(prefix="guanjia-") as folder:
        path = Path(folder) / file.path.with_suffix(".csv").name
        with path.open("w", encoding="utf-8", newline="") as out:
            write, line = csv.writer(out, lineterminator="\n").writerow, 1
            for row in table:
                out.write("\n" * (row.line - line))
                cells = [_written(cell, names.get(at, ""), at in row.merged) for at, cell in enumerate(row.cells)]
                write(cells if row.line >= heads.line else [])
                line = row.line + 1
        return _read_text(UsageFile(path, file.name), reading, convention, spool)


NAMING = ("id", "name", "time", "metric", "unit")
"""What a cell over several rows may say of each of them; a figure in one may be the sum of all."""


def _written(cell: Any, name: str, merged: bool) -> str:
    """A cell of the column ``name`` as a file of text would have it: a spreadsheet's times have no zone. A figure over several rows
    and an id that became a date are written so that they are refused."""
    if isinstance(cell, datetime | date):
        text = cell.isoformat(sep=" ") if isinstance(cell, datetime) else cell.isoformat()
        return text + SPOILT if name == "id" else text
    if merged and name not in NAMING and isinstance(cell, int | float):
        return f"{cell}{SPOILT}"
    return "" if cell is None else " ".join(str(cell).split())


def _read_text(file: UsageFile, reading: Reading, convention: Convention, spool: Spool) -> RowReader:
    pieces = blocks(file.path, file.name, reading)
    first = next(pieces)
    plan = recognise_text(first, file.path, convention, reading)
    reading.format = plan.format
    rows = RowReader(plan, reading, convention.prefix)
    parser = LineParser(plan)
    if plan.header_line:
        at = 0
        for _ in range(plan.header_line):
            at = first.data.index(b"\n", at) + 1
        first = TextBlock(first.data[at:], plan.header_line + 1)
    for block in chain([first], pieces):
        if block.data:
            lines = split(block, plan.separator, plan.width, reading, positional=plan.positional)
            for table in rows.take(parser.parse(lines)):
                spool.add(table)
    for table in rows.finish():
        spool.add(table)
    return rows


class LineParser:
    """Lines of fields → columns: as numbers at once where all are, as texts where one is not."""

    def __init__(self, plan: ReadingPlan) -> None:
        self.plan = plan
        texts = {"id", "metric", "unit", *(one.name for one in plan.aside)}
        self._fields = (*plan.fields, *plan.aside)
        number, text = pa.float64(), pa.dictionary(pa.int32(), pa.string())
        self._strict = {str(one.index): text if one.name in texts else number for one in self._fields}
        self._dated = {str(one.index): text if one.name in {*texts, "time"} else number for one in self._fields}
        self._as_written = {str(one.index): text for one in self._fields}
        self._tries = [self._strict, self._dated, self._as_written]

    def parse(self, lines: TextLines) -> FileCells:
        """The columns of a block. Row i of each is line i."""
        if not len(lines):
            return FileCells(lines.numbers, {}, lines.cell)
        for types in list(self._tries):
            try:
                table = self._table(lines, types)
            except pa.ArrowInvalid:
                if types is self._as_written:
                    raise
                continue
            if types is self._dated and self._tries[0] is self._strict:
                self._tries.pop(0)  # this file writes its times as text
            break
        columns = {one.name: table[str(one.index)].unify_dictionaries().combine_chunks() for one in self._fields}
        return FileCells(lines.numbers, columns, lines.cell)

    def _table(self, lines: TextLines, types: dict[str, Any]) -> pa.Table:
        return pcsv.read_csv(
            pa.BufferReader(_arrows_own(lines.data)),
            read_options=pcsv.ReadOptions(column_names=[str(at) for at in range(self.plan.width)]),
            parse_options=pcsv.ParseOptions(
                delimiter=lines.separator,
                quote_char='"' if b'"' in lines.data else False,
                ignore_empty_lines=False,
            ),
            convert_options=pcsv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=[""],
                strings_can_be_null=True,
                decimal_point=self.plan.decimal,
            ),
        )


def _arrows_own(data: bytes) -> pa.Buffer:
    """A copy that Arrow holds. Its threads let go of a block late; if that is the last hold on bytes of Python's while the
    interpreter ends, the process aborts."""
    sink = pa.BufferOutputStream()
    sink.write(data)
    return sink.getvalue()


def _read_parquet(file: UsageFile, reading: Reading, convention: Convention, spool: Spool) -> RowReader:
    reading.format = "parquet"
    try:
        schema = pq.read_schema(file.path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unusable("file.parquet", file.name, why=str(error)[:200]) from error
    plan = recognise_schema(schema, file.path, convention, reading)
    reading.format = plan.format
    rows = RowReader(plan, reading, convention.prefix)
    words = [one.header for one in plan.fields if one.name in ("id", "metric", "unit")]
    taken = (*plan.fields, *plan.aside)
    try:
        stored = pq.ParquetFile(file.path, read_dictionary=words, page_checksum_verification=True)
        done = 0
        for batch in stored.iter_batches(PARQUET_ROWS, columns=[one.header for one in taken]):
            batch.validate(full=True)  # a damaged dictionary would point outside itself
            columns = {one.name: batch.column(one.header) for one in taken}
            by_index = {one.index: columns[one.name] for one in plan.fields}
            lines = np.arange(done + 1, done + batch.num_rows + 1, dtype=np.int64)
            done += batch.num_rows
            reading.rows += batch.num_rows
            cells = FileCells(lines, columns, lambda row, at, of=by_index: str(of[at][row].as_py()))  # type: ignore[misc]
            for table in rows.take(cells):
                spool.add(table)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unusable("file.parquet", file.name, why=str(error)[:200]) from error
    for table in rows.finish():
        spool.add(table)
    return rows


class _Batch:
    """Pieces of files that will be handed on together."""

    def __init__(self) -> None:
        self.rows = 0
        self._names: list[str] = []
        self._index: dict[str, int] = {}
        self._tables: list[pa.Table] = []

    def add(self, name: str, ids: list[str], table: pa.Table) -> None:
        """Append rows, renumbering their resources in the batch."""
        local = table["resource"].to_numpy()
        place = np.zeros(len(ids), np.int32)
        for number in np.flatnonzero(np.bincount(local, minlength=len(ids))):
            place[number] = self._index.setdefault(ids[int(number)], len(self._index))
        self._tables.append(table.set_column(0, "resource", pa.array(place[local])))
        self._names.append(name)
        self.rows += table.num_rows

    def close(self, before: str | None = None) -> Samples:
        """The batch; `before`: the file whose rows come next."""
        table = pa.concat_tables(self._tables, promote_options="default").combine_chunks()
        digest = hashlib.blake2b("\n".join(self._index).encode(), digest_size=8)
        for at, name in enumerate(table.column_names):
            column = table[name].combine_chunks()
            if column.null_count:  # another file of the batch has this metric
                column = column.fill_null(np.nan)
                table = table.set_column(at, name, column)
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(column.to_numpy()).data)
        first, last = self._names[0], self._names[-1]
        name = first if first == last else f"{first}..{last}"
        safe = re.sub(r"[^A-Za-z0-9.-]+", "_", name)[:64]  # it becomes part of a file name in the lake
        return Samples(f"{safe}.{digest.hexdigest()}", list(self._index), table, unfinished=last == before)
