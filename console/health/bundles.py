"""What may be sent to who helps: how the house is set up and how it fares, and nothing of whom or what it is about.

No text that a person or a cloud wrote is in it: no names, logins, addresses, reasons, numbers of requests, messages of
errors. What is in it is counted, or one of the house's own codes.
"""

from __future__ import annotations

import io
import json
import platform
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

from sqlalchemy import func, inspect, select, text

from console.health.checks import examine
from console.schema import upgrade
from console.settings import Settings
from console.tables import BackupRun, JobRun, VerificationRun
from metering.lake import Lake, write_whole
from quota.db import Book

RUNS = 500
PLAIN = ("time_zone", "language", "mail_security", "log_format")
"""Settings in words that say nothing of whose house it is, or where its machines are; of the others but figures only whether
they are set."""


def bundle(settings: Settings, book: Book, target: Path) -> list[str]:
    """Write the bundle (tar.gz) to ``target``, whole or not at all; the names of what is in it."""
    parts: dict[str, Any] = {
        "about.json": _about(book),
        "settings.json": _settings(settings),
        "doctor.json": [_finding(settings, asdict(one)) for one in examine(settings, book)],
        "book.json": _book(book),
        "jobs.json": _jobs(book),
        "lake.json": _lake(Lake(settings.lake_dir)),
        "packages.json": {one.metadata["Name"]: one.version for one in distributions()},
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in parts.items():
            body = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True, default=str).encode()
            entry = tarfile.TarInfo(f"guanjia-support/{name}")
            entry.size, entry.mode, entry.mtime = len(body), 0o600, int(datetime.now(UTC).timestamp())
            archive.addfile(entry, io.BytesIO(body))
    write_whole(target, buffer.getvalue())
    return sorted(parts)


def _about(book: Book) -> dict[str, Any]:
    with book.engine.connect() as connection:
        server = connection.dialect.server_version_info
    return {
        "guanjia": version("guanjia"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "database": [book.engine.dialect.name, server],
        "revision": [upgrade.current(book), upgrade.latest()],
        "at": datetime.now(UTC).replace(microsecond=0),
    }


def _settings(settings: Settings) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for one in fields(settings):
        value = getattr(settings, one.name)
        if one.name in PLAIN or isinstance(value, bool | int):
            told[one.name] = value
        else:
            told[one.name] = "set" if str(value) not in ("", ".", str(one.default)) else "not set"
    return told


def _finding(settings: Settings, told: dict[str, Any]) -> dict[str, Any]:
    """A finding without the places that it names."""
    for path in sorted({str(settings.data), str(settings.lake_dir), str(settings.data.resolve())}, key=len)[::-1]:
        told["said"] = told["said"].replace(path, "<data>")
    if told["check"] in ("keys", "mail"):
        told["said"] = ""  # it may name a secret, or a server
    return told


def _book(book: Book) -> dict[str, Any]:
    with book.engine.connect() as connection:
        names = sorted(inspect(connection).get_table_names())
        rows = {name: connection.scalar(text(f'SELECT count(*) FROM "{name}"')) for name in names}
    with book.reading() as tx:
        checks = [
            {"at": one.ended_at, "state": one.state, "checked": one.checked, "problems": one.problem_count}
            for one in tx.scalars(select(VerificationRun).order_by(VerificationRun.id.desc()).limit(30))
        ]
        kept = [
            {"at": one.began_at, "took": one.ended_at - one.began_at, "good": bool(one.point), "size": one.size}
            for one in tx.scalars(select(BackupRun).order_by(BackupRun.id.desc()).limit(30))
        ]
    return {"rows": rows, "verifications": checks, "backups": kept}


def _jobs(book: Book) -> dict[str, Any]:
    with book.reading() as tx:
        runs = [
            {"job": one.job, "at": one.started_at, "seconds": one.seconds, "state": one.state, "said": _codes(one.said)}
            for one in tx.scalars(select(JobRun).order_by(JobRun.id.desc()).limit(RUNS))
        ]
        counts = tx.execute(select(JobRun.job, JobRun.state, func.count()).group_by(JobRun.job, JobRun.state)).all()
    return {"newest": runs, "counts": [list(one) for one in counts]}


def _codes(said: Any) -> list[str]:
    """What a run said, without its figures; of an error its kind alone."""
    told = []
    for one in said:
        code, figures = one
        kind = str(figures.get("error", "")).partition(":")[0] if isinstance(figures, Mapping) else ""
        told.append(f"{code} {kind}".strip() if kind.isidentifier() else str(code))
    return told


def _lake(lake: Lake) -> dict[str, Any]:
    found = asdict(lake.status())
    found["sources"] = len(lake.sources())
    return found
