"""Usage out of Gnocchi, as Ceilometer keeps it there: one question over all servers and one over all their interfaces,
whatever their number.

``cpu`` counts nanoseconds of all CPUs; its aggregate ``rate:mean`` is what a *measure* grew by, averaged over the measures
of a bucket. So the seconds between two polls are needed beside it: told, or as many as the bucket has. ``memory.usage`` is in
MiB as the guest sees it. A value of the bucket that begins at t speaks of [t, t + granularity), and is taken once Gnocchi's own
clock is past its end and a while, when late measures have come.

What goes wrong there by itself is left out, never bent: a fall below zero (the guest began anew), a NaN, a bucket that a
reset bent within the hour.

Traffic is kept by the interface, as resources of a type of their own that name their server (``instance_id``): the measures and
whose they are come with one question more, and a server's is the sum of its interfaces'. Bytes are counted, and told as what
a measure grew by (``rate:mean``); older Ceilometers told bytes a second (``….rate``) instead. Where one interface of a
server began anew within a bucket, nothing is said of the server's traffic then.

An archive policy keeps fine buckets for a while and coarse ones for longer. An hour of which a server has nothing fine any
more is told by its coarse bucket, as one sample of that width; an hour of which it has anything fine never is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
WAYS = {"net_rx_kbps": "network.incoming.bytes", "net_tx_kbps": "network.outgoing.bytes"}
"""The lake's metric → what is counted on an interface."""
COUNTED = tuple([name, "rate:mean"] for name in WAYS.values())
SPEEDS = tuple([f"{name}.rate", "mean"] for name in WAYS.values())
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
Traffic = Mapping[str, Mapping[str, Mapping[int, float]]]
"""Server → the lake's metric → bucket's start → kbit/s."""
Row = tuple[str, int, float, float, float, float, float, float, int]
"""Server, begin, CPU and memory in per cent, kbit/s in and out, vCPUs, MiB, width in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """How a cloud keeps usage: ``granularity_s`` of the fine buckets, ``coarse_s`` of those that it keeps for longer (0: there are
    none), ``poll_s`` between two polls of a server, ``settle_s`` until a bucket that is over does not change any more."""

    granularity_s: int = STEP_S
    coarse_s: int = 0
    poll_s: int = STEP_S
    settle_s: int = 300
    resource_type: str = "instance"
    interface_type: str = "instance_network_interface"


def samples(
    session: CloudSession, archive: Archive, since: datetime, until: datetime, sizes: Sizes
) -> Iterator[Samples]:
    """Usage of all servers in since <= t < until, in pieces. ``sizes``: server → (vCPUs, MiB) as they are now, for those of
    which Gnocchi keeps no sizes. Raises ProviderFault."""
    edge = archive.coarse_s or archive.granularity_s
    at = _floor(since, edge)
    while at < until:
        end = at + PIECE if at + PIECE < until else until
        stop = _ceiling(end, edge)
        told = _asked(session, archive.resource_type, archive.granularity_s, at, stop)
        traffic = _traffic(session, archive, archive.granularity_s, at, stop) if told else {}
        now = datetime.now(UTC).timestamp() + (session.clock_ahead_s or 0.0)
        low, high = max(int(since.timestamp()), int(at.timestamp())), int(end.timestamp())
        settled = min(high, int(now - archive.settle_s) - archive.granularity_s + 1)
        rows = _rows(told, traffic, archive, archive.granularity_s, (low, settled), sizes)
        if archive.coarse_s and told:
            bare = _bare(told, archive, at, min(end, datetime.fromtimestamp(now, UTC) - FINE_FOR))
            if bare:
                first, last = min(min(one) for one in bare.values()), max(max(one) for one in bare.values())
                rows += _coarse(session, archive, bare, (max(low, first), min(high, last + 1)), sizes)
        yield _table(rows)
        at = end


def tells_traffic(session: CloudSession, archive: Archive) -> bool:
    """Whether anything is kept of any interface. Raises ProviderFault."""
    try:
        told = session.post(METRIC, f"/v1/search/resource/{archive.interface_type}", {"!=": {"id": NOBODY}}, limit=1)
    except ProviderFault as fault:
        if fault.transient or fault.code not in ("kind", "query"):
            raise
        return False
    return bool(told)


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
    """What the coarse buckets of ``span`` say of the hours that are bare; nothing where the policies have none of that width. Traffic
    is not asked for: a wide sample has one figure at most of those that move by themselves."""
    start, stop = (datetime.fromtimestamp(one, UTC) for one in span)
    try:
        told = _asked(session, archive.resource_type, archive.coarse_s, start, _ceiling(stop, archive.coarse_s))
    except ProviderFault as fault:
        if "cannot be aggregated" in str(fault):
            return []
        raise
    rows = _rows({name: told[name] for name in bare if name in told}, {}, archive, archive.coarse_s, span, sizes)
    return [row for row in rows if row[1] in bare[row[0]]]


def _asked(
    session: CloudSession, resource_type: str, granularity: int, start: datetime, stop: datetime
) -> dict[str, dict[str, Any]]:
    """Server → metric → aggregate → [[time, granularity, value]]. What Gnocchi does not know is left out; but where one series
    lacks an aggregate or a granularity that was asked for, it refuses the whole question: then sizes are not asked for, and what
    servers have now must do."""
    questions = ([*USED, *SIZE], [*USED])
    measures: dict[str, dict[str, Any]] = _first_answered(session, resource_type, questions, granularity, start, stop)[
        "measures"
    ]
    return measures


def _traffic(session: CloudSession, archive: Archive, width: int, start: datetime, stop: datetime) -> Traffic:
    """What all interfaces of each server sent and took in buckets that are ``width`` seconds wide; nothing where the cloud does not
    measure it, or keeps it otherwise."""
    try:
        answer = _first_answered(
            session, archive.interface_type, ([*COUNTED, *SPEEDS], [*SPEEDS], [*COUNTED]), width, start, stop, details=True
        )  # fmt: skip
    except ProviderFault as fault:
        if fault.code == "query":
            return {}  # CPU and memory are worth having without
        raise
    servers = {
        str(one["id"]): str(one["instance_id"])
        for one in answer.get("references") or []
        if isinstance(one, dict) and one.get("id") and one.get("instance_id")
    }
    found: dict[str, dict[str, dict[int, float]]] = {}
    for interface, told in answer["measures"].items():
        if interface not in servers:
            continue
        for metric, counted in WAYS.items():
            grown = {at: value / archive.poll_s for at, value in _series(told, counted, "rate:mean", width).items()}
            speeds = grown or _series(told, f"{counted}.rate", "mean", width)
            whole = found.setdefault(servers[interface], {}).setdefault(metric, {})
            for at, value in speeds.items():
                whole[at] = whole.get(at, 0.0) + (value * 8 / 1000 if value >= 0 else np.nan)
    return found


def _first_answered(
    session: CloudSession, resource_type: str, questions: Iterable[list[list[str]]], granularity: int, start: datetime,
    stop: datetime, *, details: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """What Gnocchi answers to the first of these questions that it does not refuse, with ``measures`` by resource: none where nobody
    is measured. Raises ProviderFault, with the code query where it refused all of them."""
    refusal: ProviderFault | None = None
    more = {"details": "true"} if details else {}
    for pairs in questions:
        body = {
            "operations": ["metric", *pairs],
            "search": {"!=": {"id": NOBODY}},
            "resource_type": resource_type,
        }
        try:
            answer = session.post(
                METRIC, "/v1/aggregates", body, start=_iso(start), stop=_iso(stop), granularity=granularity, **more
            )
        except ProviderFault as fault:
            if "does not exist" in str(fault):
                return {"measures": {}}  # nobody is measured there yet
            if not any(word in str(fault) for word in ("unknown aggregation", "cannot be aggregated")):
                raise
            refusal = fault
            continue
        measures = answer.get("measures") if isinstance(answer, dict) else None
        if not isinstance(measures, dict):
            raise ProviderFault(f"metric: {str(answer)[:200]}", transient=False, code="kind")
        return {**answer, "measures": {name: one for name, one in measures.items() if isinstance(one, dict)}}
    raise ProviderFault(str(refusal), transient=bool(refusal and refusal.transient), code="query") from refusal


def _rows(told: Told, traffic: Traffic, archive: Archive, width: int, span: tuple[int, int], sizes: Sizes) -> list[Row]:
    """Samples of span[0] <= t < span[1], epoch seconds, out of buckets that are ``width`` seconds wide."""
    found: list[Row] = []
    for name, one in told.items():
        cpu = _series(one, CPU, "rate:mean", width)
        memory = _series(one, MEMORY, "mean", width)
        ways = [traffic.get(name, {}).get(metric, {}) for metric in WAYS]
        ts = np.array(sorted(at for at in {*cpu, *memory, *ways[0], *ways[1]} if span[0] <= at < span[1]), np.int64)
        if not len(ts):
            continue
        cores = _held(_series(one, VCPUS, "mean", width), ts, sizes.get(name, (0, 0))[0])
        mib = _held(_series(one, RAM, "mean", width), ts, sizes.get(name, (0, 0))[1])
        grown, used, received, sent = (
            np.array([values.get(at, np.nan) for at in ts.tolist()]) for values in (cpu, memory, *ways)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            cpu_pct = np.where((grown >= 0) & (cores > 0), grown / (archive.poll_s * 1e9 * cores) * 100, np.nan)
            mem_pct = np.where((used >= 0) & (mib > 0), used / mib * 100, np.nan)
        figures = (cpu_pct, mem_pct, received, sent)
        keep = ~np.logical_and.reduce([np.isnan(values) for values in figures])
        columns = [column[keep].tolist() for column in (ts, *figures, cores, mib)]
        found += [(name, *values, width) for values in zip(*columns, strict=True)]
    return found


def _table(rows: list[Row]) -> Samples:
    """Rows by time."""
    names = sorted({row[0] for row in rows})
    place = {name: number for number, name in enumerate(names)}
    rows.sort(key=lambda row: (row[1], row[0]))
    shares = dict.fromkeys(("cpu_pct", "mem_pct", *WAYS), pa.float64())
    kinds = {"ts": pa.int64(), **shares, "vcpu": pa.int32(), "mem_mb": pa.int64(), "width_s": pa.int32()}
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
