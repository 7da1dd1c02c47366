"""What an agent's series say about a machine. Arrow tables in and out; no file, no database, no clock.

Agents push what they count: CPU seconds by mode, bytes received, memory available. A *signal* is one such part of a
metric; `recognise` names the signal of a series by its name and labels, `scale` the factor from its unit to the
steward's, and `metering.intake.folding` turns points into one sample for each (resource, slot).

Sources: node_exporter's and windows_exporter's metric names; OpenTelemetry semantic conventions for host metrics (system.*).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.intake import conventions, devices
from providers.metrics import METRICS


class Signal(IntEnum):
    """A part of a metric. Names end in what is counted; DIRECT + n is the n-th metric of the lake, as it is, SHARE + n the
    same as a share of 1; + n * LAYER says that a device lies n layers above the hardware (metering.intake.devices)."""

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
    CPU_STEAL_S = 17  # was wanted, and given to others by the hypervisor
    CPU_WAIT_S = 18  # idle, waiting for a disk
    CPUS = 19
    LINK_SPEED_BS = 20
    LOAD = 21  # tasks that run or want to
    CPU_PRESSED_S = 22  # something waited for a CPU
    MEM_PRESSED_S = 23  # something waited for memory
    DISK_READ_S = 24  # of all reads that ended
    DISK_WRITE_S = 25
    DISK_READS = 26
    DISK_WRITES = 27


DIRECT = 64
SHARE = 128
LAYER = 256
COUNTERS = frozenset(
    {
        Signal.CPU_BUSY_S,
        Signal.CPU_IDLE_S,
        Signal.CPU_STEAL_S,
        Signal.CPU_WAIT_S,
        Signal.NET_RX_B,
        Signal.NET_TX_B,
        Signal.DISK_READ_B,
        Signal.DISK_WRITTEN_B,
        Signal.CPU_PRESSED_S,
        Signal.MEM_PRESSED_S,
        Signal.DISK_READ_S,
        Signal.DISK_WRITE_S,
        Signal.DISK_READS,
        Signal.DISK_WRITES,
    }
)
CPU_TIMES = (Signal.CPU_BUSY_S, Signal.CPU_IDLE_S, Signal.CPU_WAIT_S, Signal.CPU_STEAL_S)
SHARES = frozenset({Signal.CPU_USED_SHARE, Signal.MEM_USED_SHARE, Signal.FS_USED_SHARE})
"""Between 0 and 1."""
MOST_SHARE = 1.01
"""A share of 1 that is more than rounded up."""

_DIRECT = {
    series: DIRECT + number
    for number, metric in enumerate(METRICS.values())
    for series in (f"guanjia_{metric.name}", *metric.series)
} | {series: SHARE + number for number, metric in enumerate(METRICS.values()) for series in metric.shares}
_OF_SHARES = [DIRECT + number for number, metric in enumerate(METRICS.values()) if metric.shares]
_NOT_A_FILESYSTEM = frozenset({"tmpfs", "devtmpfs", "overlay", "squashfs", "ramfs", "iso9660", "rootfs", "nsfs"})
_NO_LETTER = re.compile(r"_Total|HarddiskVolume\d*", re.IGNORECASE)
_MODES: Mapping[str, Signal] = {
    "idle": Signal.CPU_IDLE_S,
    "iowait": Signal.CPU_WAIT_S,
    "wait": Signal.CPU_WAIT_S,
    "steal": Signal.CPU_STEAL_S,
}
"""The others are busy."""

_COUNTED = frozenset({"guest", "guest_nice"})
"""Modes that another one contains: guest is in user (proc_stat(5))."""

NOWHERE = ""
"""The place of what speaks of the whole machine."""


def recognise(labels: Mapping[str, str]) -> int | None:
    """The signal of a series with ``labels`` (its name as ``__name__``); None where the steward has no use for it."""
    name = labels.get("__name__", "")
    known = _DIRECT.get(name)
    if known is not None:
        return known
    find = _FAMILIES.get(name)
    return None if find is None else find(labels)


def scale(labels: Mapping[str, str], signal: int) -> float | None:
    """The factor from the series' unit (pseudo-label UNIT) to the steward's; None = a unit that does not fit."""
    unit = labels.get(conventions.UNIT, "")
    if signal >= SHARE and signal < LAYER:
        return 1.0
    if signal >= DIRECT and signal < SHARE:
        metric = list(METRICS.values())[signal - DIRECT]
        return conventions.scale(unit, _UNITS[metric.unit])
    base = signal % LAYER
    if base in SECONDS:
        return conventions.scale(unit, conventions.SECONDS)
    if base in SHARES:
        return conventions.scale(unit, conventions.SHARE)
    return conventions.scale(unit, conventions.COUNT if base in COUNTS else conventions.BYTES)


def no_share(base: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a value, scaled already, is more than all of it. ``base``: its signal without a device's layers."""
    whole = (np.isin(base, list(SHARES)) | (base >= SHARE)) & (value > MOST_SHARE)
    return whole | (np.isin(base, _OF_SHARES) & (value > 100 * MOST_SHARE))


SECONDS = frozenset({*CPU_TIMES, Signal.CPU_PRESSED_S, Signal.MEM_PRESSED_S, Signal.DISK_READ_S, Signal.DISK_WRITE_S})
COUNTS = frozenset({Signal.CPUS, Signal.LOAD, Signal.DISK_READS, Signal.DISK_WRITES})
_UNITS: Mapping[str, Mapping[str, float]] = {
    "%": conventions.PERCENT,
    "kbit/s": conventions.KBPS,
    "KiB/s": conventions.KBS,
    "ms": conventions.MILLISECONDS,
    "": conventions.COUNT,
}


def _cpu(labels: Mapping[str, str]) -> int | None:
    mode = labels.get("mode") or labels.get("state") or labels.get("cpu.mode") or labels.get("system.cpu.state")
    if mode is None or mode in _COUNTED:
        return None
    return _MODES.get(mode, Signal.CPU_BUSY_S)


def _windows_cpu(labels: Mapping[str, str]) -> int | None:
    """Of Windows' modes privileged contains interrupt and dpc (the counter % Privileged Time)."""
    found = {"idle": Signal.CPU_IDLE_S, "user": Signal.CPU_BUSY_S, "privileged": Signal.CPU_BUSY_S}
    return found.get(labels.get("mode", ""))


def _on(signal: Signal, layer: int) -> int | None:
    return None if layer == devices.INSIDE else signal + LAYER * layer


def _link(signal: Signal) -> Any:
    return lambda labels: _on(signal, devices.link(labels.get("device") or labels.get("nic", "")))


def _disk(signal: Signal) -> Any:
    def find(labels: Mapping[str, str]) -> int | None:
        name = labels.get("device") or labels.get("volume") or labels.get("disk", "")
        return _on(signal, devices.disk(name))

    return find


def _filesystem(signal: Signal) -> Any:
    return lambda labels: None if labels.get("fstype", "") in _NOT_A_FILESYSTEM else signal


def _volume(signal: Signal) -> Any:
    """Without the sum of all, and without volumes that have no letter: recovery and boot partitions are full for good."""
    return lambda labels: None if _NO_LETTER.fullmatch(labels.get("volume", "_Total")) else signal


def _net_io(labels: Mapping[str, str]) -> int | None:
    way = labels.get("direction") or labels.get("network.io.direction") or labels.get("system.network.direction")
    signal = {"receive": Signal.NET_RX_B, "transmit": Signal.NET_TX_B}.get(way or "")
    device = labels.get("device") or labels.get("network.interface.name") or labels.get("system.device", "")
    return None if signal is None else _on(signal, devices.link(device))


def _disk_io(read: Signal, written: Signal) -> Any:
    def find(labels: Mapping[str, str]) -> int | None:
        way = labels.get("direction") or labels.get("disk.io.direction") or labels.get("system.disk.direction")
        signal = {"read": read, "write": written}.get(way or "")
        device = labels.get("device") or labels.get("system.device", "")
        return None if signal is None else _on(signal, devices.disk(device))

    return find


def _memory(labels: Mapping[str, str]) -> int | None:
    state = labels.get("state") or labels.get("system.memory.state")
    found = {
        conventions.TOTAL: Signal.MEM_TOTAL_B,
        conventions.USED: Signal.MEM_USED_B,
        conventions.PART: Signal.MEM_REST_B,
    }
    return None if state is None else found.get(conventions.memory(labels, state) or "")


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
    "node_network_speed_bytes": _link(Signal.LINK_SPEED_BS),
    "node_disk_read_bytes_total": _disk(Signal.DISK_READ_B),
    "node_disk_written_bytes_total": _disk(Signal.DISK_WRITTEN_B),
    "node_disk_read_time_seconds_total": _disk(Signal.DISK_READ_S),
    "node_disk_write_time_seconds_total": _disk(Signal.DISK_WRITE_S),
    "node_disk_reads_completed_total": _disk(Signal.DISK_READS),
    "node_disk_writes_completed_total": _disk(Signal.DISK_WRITES),
    "node_load1": lambda _: Signal.LOAD,
    "node_pressure_cpu_waiting_seconds_total": lambda _: Signal.CPU_PRESSED_S,
    "node_pressure_memory_waiting_seconds_total": lambda _: Signal.MEM_PRESSED_S,
    "windows_cpu_time_total": _windows_cpu,
    "windows_memory_physical_total_bytes": lambda _: Signal.MEM_TOTAL_B,
    "windows_cs_physical_memory_bytes": lambda _: Signal.MEM_TOTAL_B,  # until 0.30
    "windows_memory_available_bytes": lambda _: Signal.MEM_AVAILABLE_B,
    "windows_logical_disk_size_bytes": _volume(Signal.FS_SIZE_B),
    "windows_logical_disk_free_bytes": _volume(Signal.FS_AVAILABLE_B),
    "windows_logical_disk_read_bytes_total": _disk(Signal.DISK_READ_B),
    "windows_logical_disk_write_bytes_total": _disk(Signal.DISK_WRITTEN_B),
    "windows_physical_disk_read_bytes_total": _disk(Signal.DISK_READ_B),
    "windows_physical_disk_write_bytes_total": _disk(Signal.DISK_WRITTEN_B),
    "windows_net_bytes_received_total": _link(Signal.NET_RX_B),
    "windows_net_bytes_sent_total": _link(Signal.NET_TX_B),
    "system.cpu.time": _cpu,
    "system.cpu.logical.count": lambda _: Signal.CPUS,
    "system.memory.usage": _memory,
    "system.memory.limit": lambda _: Signal.MEM_TOTAL_B,
    **dict.fromkeys(conventions.AVAILABLE, lambda _: Signal.MEM_AVAILABLE_B),
    "system.memory.utilization": _used(Signal.MEM_USED_SHARE, "system.memory.state"),
    "system.filesystem.usage": _usage,
    "system.filesystem.utilization": _used(Signal.FS_USED_SHARE, "system.filesystem.state"),
    "system.network.io": _net_io,
    "system.disk.io": _disk_io(Signal.DISK_READ_B, Signal.DISK_WRITTEN_B),
    "system.disk.operation_time": _disk_io(Signal.DISK_READ_S, Signal.DISK_WRITE_S),
    "system.disk.operations": _disk_io(Signal.DISK_READS, Signal.DISK_WRITES),
    "system.cpu.load_average.1m": lambda _: Signal.LOAD,
}


def place(labels: Mapping[str, str]) -> str:
    """Of what a series speaks within its machine: the CPU, or the filesystem. Parts of one place belong together."""
    for name in ("cpu", "core", "cpu.logical_number", "system.cpu.logical_number"):
        if name in labels:
            return f"cpu {labels[name]}"
    for name in ("device", "system.device", "network.interface.name", "nic", "volume", "disk"):
        if name in labels:
            return f"{labels[name]} {labels.get('mountpoint') or labels.get('system.filesystem.mountpoint', '')}"
    return NOWHERE


def number(text: str) -> int:
    """64 bits of a digest of ``text``: how points name a series and a place."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


WHOLE = number(NOWHERE)
"""The place of what speaks of the whole machine, as points name it."""


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
