"""What agents pushed, until it is folded into the lake: durable when it is acknowledged, kept while it may be late.

    push/<source>/<number>-<digest>.arrow          one delivery, as it came
    push/<source>/<number>-folded.arrow            what folds keep: the last two hours, up to when they reached, and for a
                                                   day what tells whether shares are shares

A fold reads all of it, appends the slots that are complete to the lake, writes what is kept, and removes the rest.
It may be cut off anywhere and done again: the lake takes nothing twice.

A point later than that still fills a slot of which the lake knows nothing. It does not replace what was folded from all of
the slot's points, since most of them are no longer here.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from metering.intake.folding import Fold, Habits, fold
from metering.intake.signals import POINTS, Points, Signal
from metering.lake import CAPACITIES, Damaged, Lake, check_source, lay, make_folder, recent, write_whole
from providers.metrics import METRICS, reported

KEPT = timedelta(hours=2)
"""How long points wait for late ones. Prometheus itself keeps two hours of what it could not send."""

GRACE = timedelta(seconds=60)
"""How long after its end a slot stays open for what is still under way."""

MemorySizes = Callable[[Sequence[int]], Mapping[int, float]]
"""Resource ids → the bytes of memory that the inventory says each has, for those of which it says any."""

_BY_USE = (Signal.MEM_USED_B, Signal.MEM_AVAILABLE_B)

ROUND_BYTES = 256 * 1024 * 1024
"""How much of the spool one round of a fold reads at most."""


@dataclass(slots=True)
class Folded:
    """What one fold did. points: taken up; samples: appended to the lake; refused by deliveries, by the fold and by the
    lake; examples: reason → what, or (resource, what)."""

    points: int = 0
    samples: int = 0
    ignored: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str | tuple[int, str]] = field(default_factory=dict)
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


def waiting(root: Path) -> dict[str, tuple[int, datetime]]:
    """Of the lake in ``root``: source → bytes of deliveries that no fold has taken up yet, and when the oldest of them came. Sources
    of which nothing waits are left out. Opens nothing, so that it answers whatever state the lake is in."""
    found: dict[str, tuple[int, datetime]] = {}
    for path in sorted((root / "push").glob("*/[0-9]*.arrow")):
        if path.stem.endswith("-folded"):
            continue
        with suppress(FileNotFoundError):  # taken up meanwhile
            size = path.stat().st_size
            came = datetime.fromtimestamp(int(path.stem.split("-")[0]) // 10**9, UTC)
            before, oldest = found.get(path.parent.name, (0, came))
            found[path.parent.name] = (before + size, min(oldest, came))
    return found


def fold_source(lake: Lake, source: str, now: datetime, sizes: MemorySizes | None = None) -> Folded:
    """Fold what the source delivered into the lake, round by round, until nothing new is left. ``sizes``: asked for the
    memory of machines that don't tell it."""
    done = Folded()
    with _alone(lake, source) as folder:
        _tidy(folder)
        while _round(lake, source, folder, now, sizes, done):
            pass
    return done


def _round(lake: Lake, source: str, folder: Path, now: datetime, sizes: MemorySizes | None, done: Folded) -> bool:
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
    since = min((_reached(table) for table in tables[: len(old)]), default=0)
    points = Points.of(pa.concat_tables([table.replace_schema_metadata(None) for table in tables]))
    step = lake.step_s * 1000
    until = int((now - GRACE).timestamp() * 1000) // step * step
    newest = int(points.ts.max()) if len(points) else 0
    if not taken and (until <= since or newest < since):
        return False
    habits = {one: moments for table in tables[: len(old)] for one, moments in _habits(table).items()}
    found = fold(points, lake.step_s, max(until, since), since, _asked(points, sizes), habits)
    done.refused.update(found.said.refused)
    for reason, example in found.said.examples.items():
        done.examples.setdefault(reason, example)
    if len(points):
        done.newest = datetime.fromtimestamp(newest / 1000, UTC)
        floor = (newest - int(KEPT.total_seconds() * 1000)) // step * step
        samples = _filling(lake, found.samples, _whole_since(points, floor), floor)
        if samples.num_rows:
            receipt = lake.append(f"push.{source}", samples)
            done.samples += receipt.taken
            done.refused.update({why: count for why, count in receipt.refused.items() if why != "row:empty"})
        kept = found.points.table(_kept(points, found, floor), found.points.folded)
        number = max(time.time_ns(), *(int(path.stem.split("-")[0]) + 1 for path in [*old, *taken]))
        about = kept.replace_schema_metadata({"until": str(max(until, since)), "habits": json.dumps(found.habits)})
        _write(folder / f"{number:020d}-folded.arrow", about)
    for path in [*old, *taken]:
        path.unlink()
    return len(waiting) > len(taken)


def _asked(points: Points, sizes: MemorySizes | None) -> Mapping[int, float]:
    """The memory of the machines that tell what is used of it, without telling of how much."""
    if sizes is None:
        return {}
    telling = np.unique(points.resource[points.signal == Signal.MEM_TOTAL_B])
    using = np.unique(points.resource[np.isin(points.signal, _BY_USE)])
    silent = np.setdiff1d(using, telling)
    return sizes(silent.tolist()) if len(silent) else {}


def _kept(points: Points, found: Fold, floor: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """What the next fold needs: the last two hours of the source, and of each machine that is just catching up."""
    resource, ts = found.points.resource, found.points.ts
    ids, which = np.unique(resource, return_inverse=True)
    last = np.zeros(len(ids), np.int64)
    np.maximum.at(last, which, ts)
    behind = np.isin(ids, points.resource[~points.folded])
    own = last - int(KEPT.total_seconds() * 1000)
    return (ts >= floor) | (behind[which] & (ts >= own[which]))


def _whole_since(points: Points, floor: int) -> dict[int, int]:
    """Machine → since when all of its points are here, ms, where that is before ``floor``: it is catching up."""
    known = np.flatnonzero(points.folded & (points.ts < floor))
    ids, which = np.unique(points.resource[known], return_inverse=True)
    first = np.full(len(ids), floor)
    np.minimum.at(first, which, points.ts[known])
    return dict(zip(ids.tolist(), first.tolist(), strict=True))


def _filling(lake: Lake, samples: pa.Table, whole: Mapping[int, int], floor: int) -> pa.Table:
    """``samples`` without what would replace, from a few late points, what was folded from all of them."""
    if not samples.num_rows:
        return samples
    ids, ts = samples["resource"].to_numpy(), samples["ts"].to_numpy()
    since = np.array([whole.get(one, floor) for one in ids.tolist()])
    late = ts * 1000 < since
    if not late.any():
        return samples
    columns = {name: samples[name].to_numpy(zero_copy_only=False).copy() for name in samples.column_names}
    names = [name for name in columns if name in METRICS]
    hour = 3600
    for begin in np.unique(ts[late] // hour).tolist():
        rows = np.flatnonzero(late & (ts // hour == begin))
        there = np.unique(ids[rows])
        block = lay(
            recent.deliveries(lake, datetime.fromtimestamp((begin + 1) * hour, UTC), names, there),
            hour // lake.step_s,
        )
        if not len(block.resource):
            continue
        at = np.minimum(np.searchsorted(block.resource, ids[rows]), len(block.resource) - 1)
        known = block.resource[at] == ids[rows]
        slot = (ts[rows] - begin * hour) // lake.step_s
        any_known = np.zeros(len(rows), bool)
        for name in names:
            if name in block.values:
                mine = known & reported(block.values[name][at, slot])
                columns[name][rows[mine]] = np.nan
                any_known |= mine
        for name in CAPACITIES.keys() & columns.keys():
            columns[name][rows[any_known]] = np.nan
    return pa.table(columns)


def _reached(table: pa.Table) -> int:
    """Up to when the fold that kept this had reached, ms."""
    return int((table.schema.metadata or {}).get(b"until", 0))


def _habits(table: pa.Table) -> Habits:
    """What the fold that kept this knew of machines that tell shares."""
    told = json.loads((table.schema.metadata or {}).get(b"habits", b"{}"))
    return {int(one): (above, between) for one, (above, between) in told.items()}


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
    done.points += table.num_rows - said.get("doubted", 0)
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
