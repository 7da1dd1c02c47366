"""What agents pushed, until it is folded into the lake: durable when it is acknowledged, kept while it may be late.

    push/<source>/<number>-<digest>.arrow          one delivery, as it came
    push/<source>/<number>-folded.arrow            what folds keep: the last two hours, and each series' last point

A fold reads all of it, appends the slots that are complete to the lake, writes what is kept, and removes the rest.
It may be cut off anywhere and done again: the lake takes nothing twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from metering.lake import Lake
from metering.lake_files import Damaged, check_source, make_folder, write_whole
from metering.signals import POINTS, Points, fold

KEPT = timedelta(hours=2)
"""How long points wait for late ones. Prometheus itself keeps two hours of what it could not send."""

GRACE = timedelta(seconds=60)
"""How long after its end a slot stays open for what is still under way."""

ROUND_BYTES = 256 * 1024 * 1024
"""How much of the spool one round of a fold reads at most."""


@dataclass(slots=True)
class Folded:
    """What one fold did. points: taken up; samples: appended to the lake; the rest as the deliveries say."""

    points: int = 0
    samples: int = 0
    ignored: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    newest: datetime | None = None


def keep(lake: Lake, source: str, points: pa.Table, said: Mapping[str, object]) -> Path:
    """Make a delivery durable. ``said``: ``ignored``, ``refused`` (reason → count), ``examples`` (reason → text).

    The same delivery again is another file; folding it changes nothing. Raises OSError where the disk is full.
    """
    folder = _folder(lake, source)
    table = points.replace_schema_metadata({"said": json.dumps(said, ensure_ascii=False)})
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table)
    content = buffer.getvalue()
    digest = hashlib.blake2b(content, digest_size=6).hexdigest()
    path = folder / f"{time.time_ns():020d}-{digest}.arrow"
    write_whole(path, lambda sink: sink.write(content))
    return path


def sources(lake: Lake) -> list[str]:
    """Sources that have anything in the spool."""
    root = lake.root / "push"
    return sorted(one.name for one in root.iterdir() if one.is_dir()) if root.is_dir() else []


def fold_source(lake: Lake, source: str, now: datetime) -> Folded:
    """Fold what the source delivered into the lake, round by round, until nothing new is left."""
    done = Folded()
    with _alone(lake, source) as folder:
        _tidy(folder)
        while _round(lake, source, folder, now, done):
            pass
    return done


def _round(lake: Lake, source: str, folder: Path, now: datetime, done: Folded) -> bool:
    """One round; whether another one has something to do."""
    files = sorted(folder.glob("[0-9]*.arrow"))
    old = [path for path in files if path.stem.endswith("-folded")]
    waiting = [path for path in files if not path.stem.endswith("-folded")]
    taken: list[Path] = []
    size = 0
    for path in waiting:
        if taken and size + path.stat().st_size > ROUND_BYTES:
            break
        taken.append(path)
        size += path.stat().st_size
    if not taken and not old:
        return False
    tables = [_read(path) for path in [*old, *taken]]
    for table in tables[len(old) :]:
        _count(table, done)
    points = Points.of(pa.concat_tables([table.replace_schema_metadata(None) for table in tables]))
    if not taken and points.folded.all():
        return False
    until = int((now - GRACE).timestamp() * 1000)
    samples, folded = fold(points, lake.step_s, until)
    if not taken and not samples.num_rows and (folded == points.folded).all():
        return False
    if samples.num_rows:
        done.samples += lake.append(f"push.{source}", samples).taken
    if len(points):
        newest = int(points.ts.max())
        done.newest = datetime.fromtimestamp(newest / 1000, UTC)
        last = np.ones(len(points), bool)
        last[:-1] = points.series[1:] != points.series[:-1]
        young = points.ts >= newest - KEPT.total_seconds() * 1000
        kept = points.table(young | ~folded | last, folded)
        number = max(time.time_ns(), *(int(path.stem.split("-")[0]) + 1 for path in [*old, *taken]))
        _write(folder / f"{number:020d}-folded.arrow", kept)
    for path in [*old, *taken]:
        path.unlink()
    return len(waiting) > len(taken)


def _write(path: Path, table: pa.Table) -> None:
    def write(sink: object) -> None:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)

    write_whole(path, write)


def verify(lake: Lake) -> list[Damaged]:
    """Read everything that waits in the spool: what cannot be read, or is not what its name says."""
    found = []
    for path in sorted((lake.root / "push").glob("*/[0-9]*.arrow")):
        try:
            table = _read(path)
            _count(table, Folded())
            digest = path.stem.partition("-")[2]
            if digest != "folded" and hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest() != digest:
                found.append(Damaged(path, "not the delivery that its name says"))
        except Damaged as damage:
            if path.exists():  # else folded meanwhile
                found.append(damage)
        except FileNotFoundError:
            continue
        except Exception as error:
            found.append(Damaged(path, f"not a readable delivery ({type(error).__name__}: {error})"))
    return found


def _read(path: Path) -> pa.Table:
    try:
        with pa.OSFile(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise Damaged(path, f"not a readable delivery ({error})") from error
    if not table.schema.equals(POINTS):
        raise Damaged(path, "not a table of points")
    return table


def _count(table: pa.Table, done: Folded) -> None:
    said = json.loads((table.schema.metadata or {}).get(b"said", b"{}"))
    done.points += table.num_rows
    done.ignored += said.get("ignored", 0)
    done.refused.update(said.get("refused", {}))
    for reason, example in said.get("examples", {}).items():
        done.examples.setdefault(reason, example)


def _folder(lake: Lake, source: str) -> Path:
    return lake.root / "push" / check_source(source)


@contextmanager
def _alone(lake: Lake, source: str) -> Iterator[Path]:
    """One fold of a source at a time, whichever process it is in."""
    folder = _folder(lake, source)
    make_folder(folder)
    handle = os.open(folder / ".fold.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(handle)


def _tidy(folder: Path) -> None:
    """Remove what crashed deliveries left half-written more than an hour ago."""
    for beside in folder.glob(".*.tmp"):
        with suppress(FileNotFoundError):
            if time.time() - beside.stat().st_mtime > 3600:
                beside.unlink()
