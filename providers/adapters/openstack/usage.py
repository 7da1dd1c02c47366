"""Usage out of Gnocchi, as Ceilometer keeps it there: one question over all servers, whatever their number.

``cpu`` counts nanoseconds of all CPUs; its aggregate ``rate:mean`` is what a *measure* grew by, averaged over the measures
of a bucket. So the seconds between two polls are needed beside it: told, or as many as the bucket has. ``memory.usage`` is in
MiB as the guest sees it. A value of the bucket that begins at t speaks of [t, t + granularity), and is taken once Gnocchi's own
clock is past its end and a while, when late measures have come.

What goes wrong there by itself is left out, never bent: a fall below zero (the guest began anew), a NaN, a bucket that a
reset bent within the hour.

An archive policy keeps fine buckets for a while and coarse ones for longer. An hour of which a server has nothing fine any
more is told by its coarse bucket, as one sample of that width; an hour of which it has anything fine never is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from providers.adapters.openstack.session import METRIC, CloudSession
from providers.base import ProviderFault, Samples
from providers.metrics import STEP_S

CPU, MEMORY, VCPUS, RAM = "cpu", "memory.usage", "vcpus", "memory"
USED = ([CPU, "rate:mean"], [MEMORY, "mean"])
SIZE = ([VCPUS, "mean"], [RAM, "mean"])
NOBODY = "00000000-0000-0000-0000-000000000000"
"""What every resource differs from: a search has to ask something."""
PIECE = timedelta(hours=24)
"""How much is asked for at once: 200 servers of a day are some 8 MB."""
HELD_S = 3 * 3600
"""How long a size that was told is believed without being told again."""
FINE_FOR = timedelta(hours=12)
"""For so long every archive policy keeps its fine buckets: what has none there was not measured, and is not asked about twice."""
Sizes = Mapping[str, tuple[int, int]]
Told = Mapping[str, Mapping[str, Any]]
"""Server → metric → aggregate → [[time, width, value]]."""
Row = tuple[str, int, float, float, float, float, int]
"""Server, begin, CPU and memory in per cent, vCPUs, MiB, width in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """How a cloud keeps usage: ``granularity_s`` of the fine buckets, ``coarse_s`` of those that it keeps for longer (0: there are
    none), ``poll_s`` between two polls of a server, ``settle_s`` until a bucket that is over does not change any more."""

    granularity_s: int = STEP_S
    coarse_s: int = 0
    poll_s: int = STEP_S
    settle_s: int = 300
    resource_type: str = "instance"


def samples(
    session: CloudSession, archive: Archive, since: datetime, until: datetime, sizes: Sizes
) -> Iterator[Samples]:
    """Usage of all servers in since <= t < until, in pieces. ``sizes``: server → (vCPUs, MiB) as they are now, for those of
    which Gnocchi keeps no sizes. Raises ProviderFault."""
    edge = archive.coarse_s or archive.granularity_s
    at = _floor(since, edge)
    while at < until:
        end = at + PIECE if at + PIECE < until else until
        told = _asked(session, archive.resource_type, archive.granularity_s, at, _ceiling(end, edge))
        now = datetime.now(UTC).timestamp() + (session.clock_ahead_s or 0.0)
        low, high = max(int(since.timestamp()), int(at.timestamp())), int(end.timestamp())
        settled = min(high, int(now - archive.settle_s) - archive.granularity_s + 1)
        rows = _rows(told, archive, archive.granularity_s, low, settled, sizes)
        if archive.coarse_s and told:
            bare = _bare(told, archive, at, min(end, datetime.fromtimestamp(now, UTC) - FINE_FOR))
            if bare:
                first, last = min(min(one) for one in bare.values()), max(max(one) for one in bare.values())
                rows += _coarse(session, archive, bare, (max(low, first), min(high, last + 1)), sizes)
        yield _table(rows)
        at = end


def _floor(at: datetime, step: int) -> datetime:
    return at.replace(microsecond=0) - timedelta(seconds=int(at.timestamp()) % step)


def _ceiling(at: datetime, step: int) -> datetime:
    low = _floor(at, step)
    return low if low == at else low + timedelta(seconds=step)


def _bare(told: Told, archive: Archive, start: datetime, end: datetime) -> dict[str, set[int]]:
    """Server → beginnings of the coarse buckets that are over by ``end``, and of which it has nothing fine."""
    first, step = int(start.timestamp()), archive.coarse_s
    whole = set(range(first, int(end.timestamp()) - step + 1, step))
    found = {}
    for name, metrics in told.items():
        fine = {
            at // step * step
            for metric, aggregate in USED
            for at in _series(metrics, metric, aggregate, archive.granularity_s)
        }
        if whole - fine:
            found[name] = whole - fine
    return found


def _coarse(
    session: CloudSession, archive: Archive, bare: Mapping[str, set[int]], span: tuple[int, int], sizes: Sizes
) -> list[Row]:
    """What the coarse buckets of ``span`` say of the hours that are bare; nothing where the policies have none of that width."""
    start, stop = (datetime.fromtimestamp(one, UTC) for one in span)
    try:
        told = _asked(session, archive.resource_type, archive.coarse_s, start, _ceiling(stop, archive.coarse_s))
    except ProviderFault as fault:
        if "cannot be aggregated" in str(fault):
            return []
        raise
    rows = _rows({name: told[name] for name in bare if name in told}, archive, archive.coarse_s, *span, sizes)
    return [row for row in rows if row[1] in bare[row[0]]]


def _asked(
    session: CloudSession, resource_type: str, granularity: int, start: datetime, stop: datetime
) -> dict[str, dict[str, Any]]:
    """Server → metric → aggregate → [[time, granularity, value]]. What Gnocchi does not know is left out; but where one series
    lacks an aggregate or a granularity that was asked for, it refuses the whole question."""
    for pairs in ([*USED, *SIZE], USED):
        body = {
            "operations": ["metric", *pairs],
            "search": {"!=": {"id": NOBODY}},
            "resource_type": resource_type,
        }
        try:
            answer = session.post(
                METRIC, "/v1/aggregates", body, start=_iso(start), stop=_iso(stop), granularity=granularity
            )
        except ProviderFault as fault:
            if "does not exist" in str(fault):
                return {}  # nobody is measured there yet
            refused = any(word in str(fault) for word in ("unknown aggregation", "cannot be aggregated"))
            if refused and pairs is not USED:
                continue  # sizes are kept otherwise: what servers have now must do
            raise ProviderFault(
                str(fault), transient=fault.transient, code="query" if refused else fault.code
            ) from fault
        measures = answer.get("measures") if isinstance(answer, dict) else None
        if not isinstance(measures, dict):
            raise ProviderFault(f"metric: {str(answer)[:200]}", transient=False, code="kind")
        return {name: one for name, one in measures.items() if isinstance(one, dict)}
    return {}


def _rows(told: Told, archive: Archive, width: int, low: int, high: int, sizes: Sizes) -> list[Row]:
    """Samples of low <= t < high, epoch seconds, out of buckets that are ``width`` seconds wide."""
    found: list[Row] = []
    for name, one in told.items():
        cpu = _series(one, CPU, "rate:mean", width)
        memory = _series(one, MEMORY, "mean", width)
        ts = np.array(sorted(at for at in {*cpu, *memory} if low <= at < high), np.int64)
        if not len(ts):
            continue
        cores = _held(_series(one, VCPUS, "mean", width), ts, sizes.get(name, (0, 0))[0])
        mib = _held(_series(one, RAM, "mean", width), ts, sizes.get(name, (0, 0))[1])
        grown = np.array([cpu.get(at, np.nan) for at in ts.tolist()])
        used = np.array([memory.get(at, np.nan) for at in ts.tolist()])
        with np.errstate(divide="ignore", invalid="ignore"):
            cpu_pct = np.where((grown >= 0) & (cores > 0), grown / (archive.poll_s * 1e9 * cores) * 100, np.nan)
            mem_pct = np.where((used >= 0) & (mib > 0), used / mib * 100, np.nan)
        keep = ~(np.isnan(cpu_pct) & np.isnan(mem_pct))
        columns = (ts[keep], cpu_pct[keep], mem_pct[keep], cores[keep], mib[keep])
        found += [(name, *values, width) for values in zip(*(column.tolist() for column in columns), strict=True)]
    return found


def _table(rows: list[Row]) -> Samples:
    """Rows by time."""
    names = sorted({row[0] for row in rows})
    place = {name: number for number, name in enumerate(names)}
    rows.sort(key=lambda row: (row[1], row[0]))
    kinds = {"ts": pa.int64(), "cpu_pct": pa.float64(), "mem_pct": pa.float64(), "vcpu": pa.int32(), "mem_mb": pa.int64(),
             "width_s": pa.int32()}  # fmt: skip
    columns: dict[str, pa.Array] = {"resource": pa.array([place[row[0]] for row in rows], pa.int32())}
    for number, (name, kind) in enumerate(kinds.items(), 1):
        column = np.array([row[number] for row in rows], np.float64)
        columns[name] = pa.array(column if kind == pa.float64() else column.astype(np.int64)).cast(kind)
    return Samples("gnocchi", names, pa.table(columns))


def _series(of: Mapping[str, Any], metric: str, aggregate: str, granularity: int) -> dict[int, float]:
    """Bucket's start → value, at one granularity; a NaN is none."""
    rows = (of.get(metric) or {}).get(aggregate) or []
    found = {}
    for when, width, value in rows:
        if int(width) == granularity and value is not None and value == value:
            found[int(datetime.fromisoformat(when).timestamp())] = float(value)
    return found


def _held(told: Mapping[int, float], ts: Any, now: int) -> Any:
    """The size at each moment: as it was told last before it, or within the same while after; else as it is now."""
    if not told:
        return np.full(len(ts), float(now))
    at = np.array(sorted(told), np.int64)
    value = np.array([told[one] for one in at.tolist()])
    place = np.searchsorted(at, ts, side="right") - 1
    before = value[np.maximum(place, 0)]
    near = (place >= 0) & (ts - at[np.maximum(place, 0)] <= HELD_S)
    return np.where(near, before, float(now) if now else before)


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
