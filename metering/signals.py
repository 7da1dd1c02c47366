"""What an agent's series say about a machine, and how they become the lake's metrics. Pure.

Agents push what they count: CPU seconds by mode, bytes received, memory available. A *signal* is one such part of a
metric; `recognise` names the signal of a series by its name and labels, `fold` turns points into one sample for each
(resource, slot):

* a counter speaks through differences of neighbouring points of one series, in the slot in which the later one lies.
  A counter that fell was reset: it has counted at least what it shows now. A difference across more than one step is
  silence, which is unknown, and is not used.
* cpu_pct = busy / (busy + idle) of all CPUs; rates = the sum over links or disks of difference / seconds between.
* a gauge speaks by its mean over the slot. mem_pct = 1 - available / total; disk_pct that of the fullest filesystem.
* a slot whose counters were seen for less than half of it has no rate.
* what two senders tell of one place of a machine (a pair of Prometheus servers, each with a label of its own) counts once.

Sources: node_exporter's metric names; OpenTelemetry semantic conventions for host metrics (system.*).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.samples import METRICS

Array = NDArray[Any]


class Signal(IntEnum):
    """A part of a metric. Names end in what is counted; DIRECT + n is the n-th metric of the lake, as it is."""

    CPU_BUSY_S = 1
    CPU_IDLE_S = 2
    MEM_TOTAL_B = 3
    MEM_AVAILABLE_B = 4
    MEM_USED_B = 5
    MEM_REST_B = 6  # with MEM_USED_B all of the memory, where the total itself is not told
    FS_SIZE_B = 7
    FS_AVAILABLE_B = 8
    NET_RX_B = 9
    NET_TX_B = 10
    DISK_READ_B = 11
    DISK_WRITTEN_B = 12
    CPU_USED_SHARE = 13
    MEM_USED_SHARE = 14
    FS_USED_SHARE = 15
    FS_USED_B = 16


DIRECT = 64
COUNTERS = frozenset(
    {
        Signal.CPU_BUSY_S,
        Signal.CPU_IDLE_S,
        Signal.NET_RX_B,
        Signal.NET_TX_B,
        Signal.DISK_READ_B,
        Signal.DISK_WRITTEN_B,
    }
)
_DIRECT = {f"guanjia_{name}": DIRECT + number for number, name in enumerate(METRICS)}
_NOT_A_LINK = re.compile(r"lo|veth|docker|br-|virbr|cali|flannel|cni|tun|tap")
_NOT_A_DISK = re.compile(r"loop|ram|zram|dm-|sr\d|fd\d")
_NOT_A_FILESYSTEM = frozenset({"tmpfs", "devtmpfs", "overlay", "squashfs", "ramfs", "iso9660", "rootfs", "nsfs"})
_IDLE = frozenset({"idle", "iowait", "steal", "wait"})


def recognise(labels: Mapping[str, str]) -> int | None:
    """The signal of a series with ``labels`` (its name as ``__name__``); None where the steward has no use for it."""
    name = labels.get("__name__", "")
    known = _DIRECT.get(name)
    if known is not None:
        return known
    find = _FAMILIES.get(name)
    return None if find is None else find(labels)


def _cpu(labels: Mapping[str, str]) -> int | None:
    mode = labels.get("mode") or labels.get("state") or labels.get("cpu.mode")
    if mode is None or mode in ("guest", "guest_nice"):  # counted in user already
        return None
    return Signal.CPU_IDLE_S if mode in _IDLE else Signal.CPU_BUSY_S


def _link(signal: Signal) -> Any:
    return lambda labels: None if _NOT_A_LINK.match(labels.get("device", "")) else signal


def _disk(signal: Signal) -> Any:
    return lambda labels: None if _NOT_A_DISK.match(labels.get("device", "")) else signal


def _filesystem(signal: Signal) -> Any:
    return lambda labels: None if labels.get("fstype", "") in _NOT_A_FILESYSTEM else signal


def _net_io(labels: Mapping[str, str]) -> int | None:
    device = labels.get("device") or labels.get("network.interface.name", "")
    if _NOT_A_LINK.match(device):
        return None
    way = labels.get("direction") or labels.get("network.io.direction")
    return {"receive": Signal.NET_RX_B, "transmit": Signal.NET_TX_B}.get(way or "")


def _disk_io(labels: Mapping[str, str]) -> int | None:
    device = labels.get("device") or labels.get("system.device", "")
    if _NOT_A_DISK.match(device):
        return None
    way = labels.get("direction") or labels.get("disk.io.direction")
    return {"read": Signal.DISK_READ_B, "write": Signal.DISK_WRITTEN_B}.get(way or "")


def _memory(labels: Mapping[str, str]) -> int | None:
    state = labels.get("state") or labels.get("system.memory.state")
    return None if state is None else (Signal.MEM_USED_B if state == "used" else Signal.MEM_REST_B)


def _usage(labels: Mapping[str, str]) -> int | None:
    if (labels.get("type") or labels.get("system.filesystem.type", "")) in _NOT_A_FILESYSTEM:
        return None
    state = labels.get("state") or labels.get("system.filesystem.state")
    return {"used": Signal.FS_USED_B, "free": Signal.FS_AVAILABLE_B}.get(state or "")


def _used(signal: Signal, state: str) -> Any:
    return lambda labels: signal if (labels.get("state") or labels.get(state)) == "used" else None


_FAMILIES: Mapping[str, Any] = {
    "node_cpu_seconds_total": _cpu,
    "node_memory_MemTotal_bytes": lambda _: Signal.MEM_TOTAL_B,
    "node_memory_MemAvailable_bytes": lambda _: Signal.MEM_AVAILABLE_B,
    "node_filesystem_size_bytes": _filesystem(Signal.FS_SIZE_B),
    "node_filesystem_avail_bytes": _filesystem(Signal.FS_AVAILABLE_B),
    "node_network_receive_bytes_total": _link(Signal.NET_RX_B),
    "node_network_transmit_bytes_total": _link(Signal.NET_TX_B),
    "node_disk_read_bytes_total": _disk(Signal.DISK_READ_B),
    "node_disk_written_bytes_total": _disk(Signal.DISK_WRITTEN_B),
    "system.cpu.time": _cpu,
    "system.memory.usage": _memory,
    "system.memory.limit": lambda _: Signal.MEM_TOTAL_B,
    "system.memory.utilization": _used(Signal.MEM_USED_SHARE, "system.memory.state"),
    "system.filesystem.usage": _usage,
    "system.filesystem.utilization": _used(Signal.FS_USED_SHARE, "system.filesystem.state"),
    "system.network.io": _net_io,
    "system.disk.io": _disk_io,
}


def place(labels: Mapping[str, str]) -> str:
    """Of what a series speaks within its machine: the CPU, or the filesystem. Parts of one place belong together."""
    for name in ("cpu", "cpu.logical_number"):
        if name in labels:
            return f"cpu {labels[name]}"
    for name in ("device", "system.device", "network.interface.name"):
        if name in labels:
            return f"{labels[name]} {labels.get('mountpoint') or labels.get('system.filesystem.mountpoint', '')}"
    return ""


POINTS = pa.schema(
    [
        ("resource", pa.int32()),
        ("signal", pa.int16()),
        ("series", pa.int64()),  # 64 bits of a digest of all labels
        ("place", pa.int64()),  # 64 bits of a digest of the place
        ("ts", pa.int64()),  # milliseconds since 1970, UTC
        ("value", pa.float64()),
        ("folded", pa.bool_()),
    ]
)
"""Points as the spool keeps them."""


@dataclass(frozen=True, slots=True)
class Points:
    """Points of many series, sorted by (series, ts), each (series, ts) once; numpy columns of POINTS."""

    resource: NDArray[np.int32]
    signal: NDArray[np.int16]
    series: NDArray[np.int64]
    place: NDArray[np.int64]
    ts: NDArray[np.int64]
    value: NDArray[np.float64]
    folded: NDArray[np.bool_]

    @classmethod
    def of(cls, table: pa.Table) -> Points:
        """Sort ``table`` (POINTS); of two points of one series at one instant the later row holds."""
        series, ts = table["series"].to_numpy(), table["ts"].to_numpy()
        order = np.lexsort((np.arange(len(ts)), ts, series))
        s, t = series[order], ts[order]
        last = np.ones(len(order), bool)
        last[:-1] = (s[1:] != s[:-1]) | (t[1:] != t[:-1])
        kept = order[last]
        return cls(*(table[name].to_numpy(zero_copy_only=False)[kept] for name in POINTS.names))

    def __len__(self) -> int:
        return len(self.ts)

    def table(self, keep: NDArray[np.bool_], folded: NDArray[np.bool_]) -> pa.Table:
        """Those to keep, with the mark of what has been folded."""
        columns = {name: getattr(self, name)[keep] for name in POINTS.names if name != "folded"}
        return pa.table({**columns, "folded": folded[keep]}, schema=POINTS)


def fold(points: Points, step_s: int, until_ms: int) -> tuple[pa.Table, NDArray[np.bool_]]:
    """Samples of every slot that ends by ``until_ms`` and holds a point that was not folded yet (or follows one).

    Returns a table as `Lake.append` takes it (resource, ts = the slot's start, metrics, mem_mb, vcpu), and for each
    point whether it has been folded now.
    """
    step = step_s * 1000
    slot = points.ts // step
    ready = (slot + 1) * step <= until_ms
    same = np.zeros(len(points), bool)
    same[1:] = points.series[1:] == points.series[:-1]
    fresh = ~points.folded
    # A late point changes the difference of the one behind it, too.
    stirred = fresh | (same & np.concatenate(([False], fresh[:-1])))
    key = points.resource.astype(np.int64) << 36 | slot
    wanted = np.unique(key[ready & stirred])
    folded = points.folded | ready
    if not len(wanted):
        return pa.table({"resource": pa.array([], pa.int32()), "ts": pa.array([], pa.int64())}), folded
    at = np.minimum(np.searchsorted(wanted, key), len(wanted) - 1)
    inside = wanted[at] == key
    columns = _Columns(points, at, inside, len(wanted), same, step)
    found = columns.metrics()
    said = np.zeros(len(wanted), bool)
    for column in found.values():
        said |= ~np.isnan(column)
    table = {
        "resource": (wanted >> 36)[said].astype(np.int32),
        "ts": (wanted & ((1 << 36) - 1))[said] * step_s,
        **{name: column[said] for name, column in found.items() if not np.isnan(column[said]).all()},
    }
    return pa.table(table), folded


class _Columns:
    """The arithmetic of one fold: sums of points and differences by (resource, slot), row by row of ``wanted``."""

    def __init__(
        self, points: Points, at: Array, inside: NDArray[np.bool_], rows: int, same: NDArray[np.bool_], step: int
    ) -> None:
        self.points, self.at, self.rows, self.step = points, at, rows, step
        self.inside = inside
        before = np.concatenate(([0], np.arange(len(points) - 1)))
        gone = points.ts - points.ts[before]
        rise = points.value - points.value[before]
        self.rise = np.where(rise < 0, points.value, rise)  # a reset counts from zero
        self.seconds = gone / 1000
        self.runs = inside & same & (gone > 0) & (gone <= step)

    def metrics(self) -> dict[str, NDArray[np.float64]]:
        found = {name: self.mean(DIRECT + number) for number, name in enumerate(METRICS)}
        with np.errstate(invalid="ignore", divide="ignore"):
            busy, idle = self.risen(Signal.CPU_BUSY_S), self.risen(Signal.CPU_IDLE_S)
            _first(found, "cpu_pct", 100 * busy / (busy + idle))
            total = self.told(Signal.MEM_TOTAL_B)
            used, rest = self.told(Signal.MEM_USED_B), self.told(Signal.MEM_REST_B, beside=Signal.MEM_USED_B)
            total = np.where(np.isnan(total), used + rest, total)
            _first(found, "mem_pct", 100 * (1 - self.told(Signal.MEM_AVAILABLE_B) / total))
            _first(found, "mem_pct", 100 * used / total)
            _first(found, "mem_pct", 100 * self.mean(Signal.MEM_USED_SHARE))
            _first(found, "disk_pct", self.fullest(Signal.FS_SIZE_B, Signal.FS_AVAILABLE_B, whole=True))
            _first(found, "disk_pct", self.fullest(Signal.FS_USED_B, Signal.FS_AVAILABLE_B, whole=False))
            _first(found, "disk_pct", 100 * self.highest(Signal.FS_USED_SHARE))
        _first(found, "net_rx_kbps", self.rate(Signal.NET_RX_B) * 8 / 1000)
        _first(found, "net_tx_kbps", self.rate(Signal.NET_TX_B) * 8 / 1000)
        _first(found, "disk_read_kbs", self.rate(Signal.DISK_READ_B) / 1024)
        _first(found, "disk_write_kbs", self.rate(Signal.DISK_WRITTEN_B) / 1024)
        found["mem_mb"] = total / 2**20
        found["vcpu"] = self.cpus()
        return found

    def _sum(self, chosen: NDArray[np.bool_], weights: Array) -> NDArray[np.float64]:
        return np.bincount(self.at[chosen], weights[chosen], self.rows).astype(np.float64)

    def risen(self, signal: int) -> NDArray[np.float64]:
        """What counters of ``signal`` rose by; NaN where they were seen for less than half of the slot."""
        chosen = self.runs & (self.points.signal == signal)
        return np.where(self._seen(chosen), self._sum(chosen, self.rise), np.nan)

    def rate(self, signal: int) -> NDArray[np.float64]:
        """The sum over places of rise / seconds, of several series of one place the highest; NaN as for ``risen``."""
        chosen = np.flatnonzero(self.runs & (self.points.signal == signal))
        result = np.full(self.rows, np.nan)
        if len(chosen):
            series, at = self.points.series[chosen], self.at[chosen]
            order = np.lexsort((series, at))
            chosen, series, at = chosen[order], series[order], at[order]
            head = np.concatenate(([True], (series[1:] != series[:-1]) | (at[1:] != at[:-1])))
            starts = np.flatnonzero(head)
            each = np.add.reduceat(self.rise[chosen], starts) / np.add.reduceat(self.seconds[chosen], starts)
            mask = np.zeros(len(self.points), bool)
            mask[chosen] = True
            where = np.stack([at[starts], self.points.place[chosen[starts]]])
            of, which = np.unique(where, axis=1, return_inverse=True)
            highest = np.full(of.shape[1], -np.inf)
            np.maximum.at(highest, which.ravel(), each)
            result = np.where(self._seen(mask), np.bincount(of[0], highest, self.rows), np.nan)
        return result

    def _seen(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Slots of which the series were seen for half or more, by the mean over series."""
        picked = np.flatnonzero(chosen)
        pairs = np.unique(np.stack([self.at[picked], self.points.series[picked]]), axis=1)
        series = np.bincount(pairs[0].astype(np.int64), minlength=self.rows)
        with np.errstate(invalid="ignore", divide="ignore"):
            seen: NDArray[np.bool_] = self._sum(chosen, self.seconds) / series >= self.step / 2000
        return seen

    def mean(self, signal: int) -> NDArray[np.float64]:
        """The mean of all points of ``signal``."""
        chosen = self.inside & (self.points.signal == signal)
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._sum(chosen, self.points.value) / np.bincount(self.at[chosen], minlength=self.rows)

    def _means(self, signal: int) -> tuple[Array, Array, Array, Array]:
        """(row, series, place, mean over the slot) of each series of ``signal``."""
        chosen = np.flatnonzero(self.inside & (self.points.signal == signal))
        series, at = self.points.series[chosen], self.at[chosen]
        order = np.lexsort((series, at))
        chosen, series, at = chosen[order], series[order], at[order]
        if not len(chosen):
            return at, series, series, np.zeros(0)
        head = np.concatenate(([True], (series[1:] != series[:-1]) | (at[1:] != at[:-1])))
        starts = np.flatnonzero(head)
        counts = np.diff(np.append(starts, len(chosen)))
        means = np.add.reduceat(self.points.value[chosen], starts) / counts
        return at[starts], series[starts], self.points.place[chosen[starts]], means

    def told(self, signal: int, beside: int | None = None) -> NDArray[np.float64]:
        """The sum over series of their means, for each series of ``beside`` (default: itself, so that it is their mean):
        there are as many of those as senders."""
        at, _series, _place, means = self._means(signal)
        senders = np.bincount(at if beside is None else self._means(beside)[0], minlength=self.rows)
        total = np.bincount(at, means, self.rows) / np.maximum(senders, 1)
        return np.where(np.bincount(at, minlength=self.rows) > 0, total, np.nan)

    def highest(self, signal: int) -> NDArray[np.float64]:
        """The greatest of the series' means."""
        at, _series, _place, means = self._means(signal)
        result = np.full(self.rows, -np.inf)
        np.maximum.at(result, at, means)
        return np.where(np.isinf(result), np.nan, result)

    def fullest(self, first: int, available: int, *, whole: bool) -> NDArray[np.float64]:
        """Use of the fullest place in percent; ``first`` is its size (``whole``) or what of it is used."""
        result = np.full(self.rows, -np.inf)
        a_at, _s, a_place, a = self._means(first)
        b_at, _s, b_place, b = self._means(available)
        known = {
            (row, where): value for row, where, value in zip(b_at.tolist(), b_place.tolist(), b.tolist(), strict=True)
        }
        for row, where, value in zip(a_at.tolist(), a_place.tolist(), a.tolist(), strict=True):
            free = known.get((row, where))
            size = value if whole else value + (free or 0.0)
            if free is not None and size > 0:
                result[row] = max(result[row], 100 * (1 - free / size))
        return np.where(np.isinf(result), np.nan, result)

    def cpus(self) -> NDArray[np.float64]:
        """How many CPUs there are: as many as tell of their idle time in the mode that most CPUs tell."""
        at, _series, place, _means = self._means(Signal.CPU_IDLE_S)
        pairs = np.unique(np.stack([at, place]), axis=1) if len(at) else np.zeros((2, 0), np.int64)
        count = np.bincount(pairs[0].astype(np.int64), minlength=self.rows).astype(np.float64)
        return np.where(count > 0, count, np.nan)


def _first(found: dict[str, NDArray[np.float64]], name: str, column: NDArray[np.float64]) -> None:
    """Fill what is not known yet: what is told directly comes before what is reckoned."""
    found[name] = np.where(np.isnan(found[name]), column, found[name])
