"""Usage out of Gnocchi, as Ceilometer keeps it there: one question over all servers, whatever their number.

``cpu`` counts nanoseconds of all CPUs; its aggregate ``rate:mean`` is what a *measure* grew by, averaged over the measures
of a bucket. So the seconds between two polls are needed beside it: told, or as many as the bucket has. ``memory.usage`` is in
MiB as the guest sees it. A value of the bucket that begins at t speaks of [t, t + granularity), and is taken once Gnocchi's own
clock is past its end and a while, when late measures have come.

What goes wrong there by itself is left out, never bent: a fall below zero (the guest began anew), a NaN, a bucket that a
reset bent within the hour.
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
Sizes = Mapping[str, tuple[int, int]]
Told = Mapping[str, list[tuple[int, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """How a cloud keeps usage: ``granularity_s`` of the buckets, ``poll_s`` between two polls of a server, ``settle_s`` until a
    bucket that is over does not change any more."""

    granularity_s: int = STEP_S
    poll_s: int = STEP_S
    settle_s: int = 300
    resource_type: str = "instance"


def samples(
    session: CloudSession, archive: Archive, since: datetime, until: datetime, sizes: Sizes
) -> Iterator[Samples]:
    """Usage of all servers in since <= t < until, in pieces. ``sizes``: server → (vCPUs, MiB) as they are now, for those of
    which Gnocchi keeps no sizes. Raises ProviderFault."""
    step = archive.granularity_s
    at = since.replace(microsecond=0) - timedelta(seconds=int(since.timestamp()) % step)
    while at < until:
        end = min(at + PIECE, until)
        told = _asked(session, archive, at, end)
        now = datetime.now(UTC).timestamp() + (session.clock_ahead_s or 0.0)
        low, high = int(since.timestamp()), min(int(until.timestamp()), int(now - archive.settle_s) - step + 1)
        yield _table(told, archive, low, high, sizes)
        at = end


def _asked(session: CloudSession, archive: Archive, start: datetime, stop: datetime) -> dict[str, dict[str, Any]]:
    """Server → metric → aggregate → [[time, granularity, value]]. What Gnocchi does not know is left out; but where one series
    lacks an aggregate or a granularity that was asked for, it refuses the whole question."""
    for pairs in ([*USED, *SIZE], USED):
        body = {
            "operations": ["metric", *pairs],
            "search": {"!=": {"id": NOBODY}},
            "resource_type": archive.resource_type,
        }
        try:
            answer = session.post(
                METRIC, "/v1/aggregates", body, start=_iso(start), stop=_iso(stop), granularity=archive.granularity_s
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
        return measures
    return {}


def _table(told: Mapping[str, Mapping[str, Any]], archive: Archive, low: int, high: int, sizes: Sizes) -> Samples:
    """Samples of low <= t < high, epoch seconds."""
    names = sorted(name for name in told if isinstance(told[name], Mapping))
    parts: list[tuple[Any, ...]] = []
    for number, name in enumerate(names):
        cpu = _series(told[name], CPU, "rate:mean", archive.granularity_s)
        memory = _series(told[name], MEMORY, "mean", archive.granularity_s)
        vcpus = _series(told[name], VCPUS, "mean", archive.granularity_s)
        ram = _series(told[name], RAM, "mean", archive.granularity_s)
        ts = np.array(sorted(one for one in {*cpu, *memory} if low <= one < high), np.int64)
        if not len(ts):
            continue
        cores = _held(vcpus, ts, sizes.get(name, (0, 0))[0])
        mib = _held(ram, ts, sizes.get(name, (0, 0))[1])
        grown = np.array([cpu.get(one, np.nan) for one in ts.tolist()])
        used = np.array([memory.get(one, np.nan) for one in ts.tolist()])
        with np.errstate(divide="ignore", invalid="ignore"):
            cpu_pct = np.where((grown >= 0) & (cores > 0), grown / (archive.poll_s * 1e9 * cores) * 100, np.nan)
            mem_pct = np.where((used >= 0) & (mib > 0), used / mib * 100, np.nan)
        keep = ~(np.isnan(cpu_pct) & np.isnan(mem_pct))
        parts.append((np.full(keep.sum(), number), ts[keep], cpu_pct[keep], mem_pct[keep], cores[keep], mib[keep]))
    columns = [np.concatenate([part[place] for part in parts]) if parts else np.zeros(0) for place in range(6)]
    order = np.argsort(columns[1], kind="stable")
    table = pa.table(
        {
            "resource": pa.array(columns[0][order].astype(np.int32)),
            "ts": pa.array(columns[1][order].astype(np.int64)),
            "cpu_pct": pa.array(columns[2][order].astype(np.float64)),
            "mem_pct": pa.array(columns[3][order].astype(np.float64)),
            "vcpu": pa.array(columns[4][order].astype(np.int32)),
            "mem_mb": pa.array(columns[5][order].astype(np.int64)),
        }
    )
    return Samples("gnocchi", names, table)


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
