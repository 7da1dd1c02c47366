"""What sources push of systems: which series is which, kept durable until a job reads it into the book.

    push-systems/<source>/<number>-<digest>.arrow        one delivery, as it came

A delivery that is read twice changes nothing: each series says how far it was read. What was read is removed afterwards.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from sqlalchemy import select

from metering.lake import Damaged, Lake, write_whole
from metering.visits.counters import CounterState, by_day, days, read
from metering.visits.tables import SystemVisits, VisitKind, VisitSeries
from metering.workbench import Workbench
from providers.metrics import Array
from quota.actors import steward
from quota.db import among
from quota.directory import System

if TYPE_CHECKING:
    from quota.db import Tx

LABEL = "system"
"""The label of a series that says by its code which system it is about."""
USERS = 42
SIGNALS: Mapping[int, VisitKind] = {40: VisitKind.LOGINS, 41: VisitKind.VISITS, USERS: VisitKind.USERS}
"""How points name what they count: numbers that no part of a machine's metrics has (``metering.intake.signals``)."""
NAMES: Mapping[str, int] = {
    "guanjia_system_logins_total": 40,
    "guanjia_system_visits_total": 41,
    "guanjia_system_active_users": USERS,
}
REPLICAS = frozenset({"prometheus_replica", "__replica__"})
"""Labels by which two senders of the same counters tell themselves apart: they make no other series."""
MOST_USERS = 10**10
"""More people than there are."""
MOST_SERIES = 500
"""Series of one system that a source may tell of; beyond, its labels are never the same twice."""

SPOOLED = pa.schema(
    [
        ("system", pa.int32()),
        ("signal", pa.int16()),
        ("series", pa.int64()),
        ("ts", pa.int64()),
        ("value", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class TakenUp:
    """What of a source's deliveries was read: its points, and the newest of them."""

    points: int
    newest: datetime


def signal_of(labels: Mapping[str, str]) -> int | None:
    """What a series counts of a system; None where it speaks of something else."""
    return NAMES.get(labels.get("__name__", ""))


def absurd(signal: Array, value: Array) -> Array:
    """Where as many users are told as there are no people."""
    return np.asarray((signal == USERS) & (value > MOST_USERS))


def systems(tx: Tx) -> dict[str, int]:
    """Code → id of the systems that may be told of."""
    return dict(tx.execute(select(System.code, System.id).where(System.active)).all())


def keep(lake: Lake, source_id: int, points: pa.Table) -> None:
    """Make a delivery (SPOOLED) durable. Raises OSError where the disk is full."""
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_file(buffer, points.schema) as writer:
        writer.write_table(points)
    content = buffer.getvalue()
    digest = hashlib.blake2b(content, digest_size=6).hexdigest()
    path = lake.root / "push-systems" / str(source_id) / f"{time.time_ns():020d}-{digest}.arrow"
    write_whole(path, lambda sink: sink.write(content))


def take_up(workbench: Workbench) -> dict[int, TakenUp]:
    """Read what every source delivered into the book; source id → what. A delivery that cannot be read keeps no other source waiting; the
    first such fault is raised when all were tried."""
    done: dict[int, TakenUp] = {}
    faults: list[Exception] = []
    for folder in sorted((workbench.lake.root / "push-systems").glob("[0-9]*")):
        paths = sorted(folder.glob("[0-9]*.arrow"))
        if not paths:
            continue
        try:
            points = pa.concat_tables([_read(path) for path in paths])
            with workbench.book.transaction(steward("job:fold")) as tx:
                _count(tx, int(folder.name), points)
        except (Damaged, OSError) as fault:
            faults.append(fault)
            continue
        newest = datetime.fromtimestamp(int(np.max(points["ts"].to_numpy())) / 1000, UTC)
        done[int(folder.name)] = TakenUp(points.num_rows, newest)
        for path in paths:
            path.unlink()
    if faults:
        raise faults[0]
    return done


# ---------------------------------------------------------------------------------------------------------- mechanism

Group = tuple[int, str]
"""System and kind."""


def _read(path: Path) -> pa.Table:
    try:
        with pa.ipc.open_file(path.read_bytes()) as reader:
            return reader.read_all().cast(SPOOLED)
    except (pa.ArrowInvalid, ValueError) as error:
        raise Damaged(path, str(error)) from error


def _count(tx: Tx, source_id: int, points: pa.Table) -> None:
    """Read each series on from where it stood. The time that is known of a system is that in which any of its series was, from the newest
    point of all of them on."""
    tx.alone(f"visits:{source_id}")
    told: dict[tuple[int, str, int], list[tuple[int, float]]] = defaultdict(list)
    for system, signal, series, ts, value in zip(*(points[name].to_pylist() for name in SPOOLED.names), strict=True):
        told[system, SIGNALS[signal].value, series].append((ts, value))
    mine = (
        VisitSeries.source_id == source_id,
        among(VisitSeries.system_id, {system for system, _kind, _series in told}),
    )
    known = {(one.system_id, one.kind, one.series): one for one in tx.scalars(select(VisitSeries).where(*mine))}
    reached: dict[Group, int] = defaultdict(int)
    for (system, kind, _series), row in known.items():
        reached[system, kind] = max(reached[system, kind], _ms(row.last_at))
    counts: dict[tuple[int, str, date], int] = defaultdict(int)
    spans: dict[Group, list[tuple[int, int]]] = defaultdict(list)
    for (system, kind, series), found in sorted(told.items()):
        before = known.get((system, kind, series))
        state = CounterState(_ms(before.last_at), before.high) if before is not None else None
        if kind == VisitKind.USERS:
            fresh = [(ts, value) for ts, value in found if state is None or ts > state.ts]
            for ts, value in fresh:
                day = next(days(ts, ts + 1))[0]
                counts[system, kind, day] = max(counts[system, kind, day], int(value))
            after = CounterState(*max(fresh)) if fresh else state
        else:
            after, rises = read(state, found)
            for rise in rises:
                for day, count in by_day(rise):
                    counts[system, kind, day] += count
                if rise.known:
                    spans[system, kind].append((rise.since, rise.until))
        if before is None and after is not None:
            first = datetime.fromtimestamp(min(found)[0] / 1000, UTC)
            before = VisitSeries(source_id=source_id, system_id=system, kind=kind, series=series, first_at=first)
            tx.add(before)
        if before is not None and after is not None:
            before.last_at, before.high = datetime.fromtimestamp(after.ts / 1000, UTC), after.high
    _write(tx, source_id, counts, _known(spans, reached))


def _known(
    spans: Mapping[Group, list[tuple[int, int]]], reached: Mapping[Group, int]
) -> dict[tuple[int, str, date], float]:
    """Seconds of each day that lie in some span and after what was reached before."""
    found: dict[tuple[int, str, date], float] = defaultdict(float)
    for (system, kind), mine in spans.items():
        at = reached.get((system, kind), 0)
        for since, until in sorted(mine):
            for day, begin, end in days(max(since, at), until):
                found[system, kind, day] += (end - begin) / 1000
            at = max(at, until)
    return found


def _write(
    tx: Tx, source_id: int, counts: Mapping[tuple[int, str, date], int], known: Mapping[tuple[int, str, date], float]
) -> None:
    wanted = {*counts, *known}
    if not wanted:
        return
    query = select(SystemVisits).where(
        SystemVisits.source_id == source_id,
        among(SystemVisits.system_id, {system for system, _kind, _day in wanted}),
        SystemVisits.day.between(min(day for *_of, day in wanted), max(day for *_of, day in wanted)),
    )
    there = {(one.system_id, one.kind, one.day): one for one in tx.scalars(query)}
    for key in sorted(wanted):
        system, kind, day = key
        row = there.get(key)
        if row is None:
            row = SystemVisits(source_id=source_id, system_id=system, kind=kind, day=day, count=0, known_s=0)
            tx.add(row)
        more = counts.get(key, 0)
        row.count = max(row.count, more) if kind == VisitKind.USERS else row.count + more
        row.known_s = row.known_s + round(known.get(key, 0.0))
    tx.flush()


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
