"""An edition's files: drawn from what it rests on, and from nothing else."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from console.reports import contents
from console.reports.documents import Document, Say
from console.reports.letters import docx
from console.reports.pages import html
from console.reports.pdf import pdf
from console.reports.sheets import xlsx
from metering.reports import ReportEdition, editions
from quota.errors import N_, Invalid

if TYPE_CHECKING:
    from quota.db import Tx

FORMATS: Mapping[str, Callable[[Document, str], bytes]] = {"pdf": pdf, "docx": docx, "xlsx": xlsx, "html": html}
"""Ending → how it is drawn."""

MIME = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "html": "text/html; charset=utf-8",
}


def source(message: str, **places: object) -> str:
    """A text as the sources have it: Chinese, the language of files that no reader asks for."""
    return message % places if places else message.replace("%%", "%")


def document(tx: Tx, edition: ReportEdition, zone: ZoneInfo, say: Say = source, language: str = "zh") -> Document:
    """What the edition says."""
    return contents.document(
        edition.inputs.document(),
        number=edition.number,
        digest=edition.inputs_digest,
        reason=edition.reason,
        changes=editions.changes(tx, edition),
        say=say,
        zone=zone,
        language=language,
    )


def name(edition: ReportEdition, ending: str, whose: str = "", language: str = "zh") -> str:
    """The file's name: report-city-2026-10-1.pdf (in English …-1-en.pdf), in letters that every file system has."""
    code = re.sub(r"[^A-Za-z0-9.-]+", "-", whose).strip("-") if whose else ""
    middle = "-".join(filter(None, (edition.scope, code)))
    tail = "" if language == "zh" else f"-{language}"
    return f"report-{middle}-{edition.period.code.replace('..', '_')}-{edition.number}{tail}.{ending}"


def chosen(text: str) -> list[str]:
    """``pdf,docx`` → endings, each once. Raises Invalid."""
    found = [one.strip().lower() for one in text.split(",") if one.strip()]
    unknown = [one for one in found if one not in FORMATS]
    if unknown or not found:
        raise Invalid(
            "report.format",
            N_("没有“%(name)s”这种格式；有 %(known)s"),
            name=(unknown or [""])[0][:32],
            known="、".join(FORMATS),
            field="format",
        )
    return list(dict.fromkeys(found))


def write(folder: Path, contents_of: Mapping[str, bytes]) -> list[Path]:
    """Files into a folder (made where it is not), each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for file_name, content in contents_of.items():
        handle, beside = tempfile.mkstemp(dir=folder, prefix=".report-")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(beside, 0o600)
            os.replace(beside, folder / file_name)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
        written.append(folder / file_name)
    return written


def drawn(made: Document, endings: Iterable[str], author: str = "") -> dict[str, bytes]:
    """Ending → the file."""
    return {ending: FORMATS[ending](made, author) for ending in endings}
