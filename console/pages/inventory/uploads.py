"""Files that people upload: kept in a temporary place while they are read, refused with their places where they must be."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from werkzeug.datastructures import FileStorage

from console.book import transaction
from console.words import _, sentence
from providers.billing import LINE_FAULTS
from providers.mappings import looks
from providers.readers import NOTES, REASONS, Reading, SheetPurpose, sheet_purposes
from quota import attachments
from quota.attachments import StagedFile
from quota.errors import Refused

WORDS = {**REASONS, **LINE_FAULTS}
SUFFIXES = (".csv", ".txt", ".tsv", ".xlsx", ".xls", ".json", ".parquet", ".gz")


@contextmanager
def held(file: FileStorage) -> Iterator[Path]:
    """The uploaded file under its own name (no folders), for as long as the block runs."""
    name = Path((file.filename or "").replace("\\", "/")).name[:120] or "upload"
    with tempfile.TemporaryDirectory(prefix="guanjia-upload-") as folder:
        path = Path(folder) / name
        file.save(path)
        yield path


@contextmanager
def laid_out(kept: StagedFile) -> Iterator[Path]:
    """A file that was kept since an earlier page, as ``held`` does."""
    with tempfile.TemporaryDirectory(prefix="guanjia-upload-") as folder:
        path = Path(folder) / kept.name
        path.write_bytes(kept.content)
        yield path


def kept(file: FileStorage | None, token: str) -> StagedFile:
    """The file of a page of two steps: kept when it is sent, found again by its token with the second step.

    Raises Invalid where it is no longer there.
    """
    with transaction() as tx:
        if file is not None:
            token = attachments.keep(tx, file.filename or "", file.read()).token
        found = attachments.kept(tx, token)
        _loaded = found.content
    return found


LEAST_COLUMNS = 3
"""A file with fewer is no table of which a person could say what it means."""


def has_columns(file: StagedFile, purpose: SheetPurpose = sheet_purposes.INVENTORY) -> bool:
    """Whether a file that no reader knows is a table, of which a person may say what it means; forgotten where it is none."""
    try:
        with laid_out(file) as path:
            return len(looks.look(path, purpose=purpose).columns) >= LEAST_COLUMNS
    except Refused:
        forget(file.token)
        return False


def forget(token: str) -> None:
    """The file has been read, or is of no use."""
    with transaction() as tx:
        attachments.forget(tx, token)


def told(reading: Reading, **params: Any) -> dict[str, Any]:
    """What came of a file, for the page: counts, reasons in words with their counts, examples with their places."""

    def word(reason: str) -> str:
        return sentence(WORDS.get(reason, reason), {"month": "", **params})

    return {
        "file": reading.place,
        "rows": reading.rows,
        "taken": reading.taken,
        "duplicates": reading.duplicates,
        "refused": reading.refused,
        "error": sentence(reading.error.message, reading.error.params) if reading.error is not None else "",
        "notes": notes(reading),
        "reasons": [(word(reason), count) for reason, count in sorted(reading.reasons.items())],
        "examples": [
            (one.line, one.column, one.header or "", word(one.reason), one.text) for one in reading.examples[:50]
        ],
        "heads": [(_("行"), True), (_("列"), True), (_("表头"), False), (_("原因"), False), (_("内容"), False)],
    }


def notes(reading: Reading) -> list[str]:
    """What was decided about a file that its owner should know, in sentences."""
    return [sentence(NOTES[one.code], one.params) for one in reading.notes]
