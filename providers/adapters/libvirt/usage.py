"""Counters of guests as their host keeps them: read in one question where the driver answers it, device by device where it
does not; told as readings that grow from nothing within a piece."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from providers.adapters.libvirt import guests
from providers.adapters.libvirt.journal import LibvirtJournal
from providers.base import Readings

LABEL = "uuid"

NS = 1_000_000_000

NOT_RUNNING = frozenset({"shutoff", "crashed", "nostate"})


def counters(libvirt: Any, opened: Any, domains: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """UUID → what its counters say: ``cpus`` (0 = off), ``busy_ns`` and ``wait_ns`` (ready, and no CPU of the host free) of all
    CPUs, ``mem_kib`` and ``free_kib`` as the guest sees its memory, ``links`` and ``disks`` by name (bytes in, out). A guest
    that is off has none: some drivers let its counters grow on."""
    if not domains:
        return {}
    groups = (
        libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL | libvirt.VIR_DOMAIN_STATS_BALLOON
        | libvirt.VIR_DOMAIN_STATS_VCPU | libvirt.VIR_DOMAIN_STATS_INTERFACE | libvirt.VIR_DOMAIN_STATS_BLOCK
    )  # fmt: skip
    wanted = {one.UUIDString() for one in domains}
    found = {}
    for domain, stats in opened.getAllDomainStats(groups, 0):
        uuid = domain.UUIDString()
        if uuid in wanted:
            try:
                found[uuid] = _counters(libvirt, domain, stats)
            except libvirt.libvirtError as error:
                if error.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
                    raise  # else it ended while it was looked at
    return found


def _counters(libvirt: Any, domain: Any, stats: Mapping[str, Any]) -> dict[str, Any]:
    state = guests.state_of(domain)
    if state in NOT_RUNNING:
        return {"cpus": 0}
    _state, _most, _now, cpus, busy = domain.info()
    said: dict[str, Any] = {"cpus": stats.get("vcpu.current", cpus), "busy_ns": stats.get("cpu.time", busy)}
    waits = [stats[key] for n in range(stats.get("vcpu.maximum", 0)) if (key := f"vcpu.{n}.delay") in stats]
    if waits:
        said["wait_ns"] = sum(waits)
    if "balloon.available" in stats and "balloon.usable" in stats:
        said["mem_kib"], said["free_kib"] = stats["balloon.available"], stats["balloon.usable"]
    shape = guests.shape(domain.XMLDesc(0)) if "net.count" not in stats or "block.count" not in stats else None
    said["links"] = _group(stats, "net", "rx.bytes", "tx.bytes") if "net.count" in stats else {}
    said["disks"] = _group(stats, "block", "rd.bytes", "wr.bytes") if "block.count" in stats else {}
    if shape is not None and "net.count" not in stats:
        said["links"] = _each(libvirt, shape.links, lambda dev: _pick(domain.interfaceStats(dev), 0, 4))
    if shape is not None and "block.count" not in stats:
        said["disks"] = _each(libvirt, shape.disks, lambda dev: _pick(domain.blockStats(dev), 1, 3))
    return said


def _group(stats: Mapping[str, Any], of: str, first: str, second: str) -> dict[str, list[int]]:
    found = {}
    for n in range(stats[f"{of}.count"]):
        name, here = stats.get(f"{of}.{n}.name", str(n)), f"{of}.{n}."
        if here + first in stats and here + second in stats:
            found[name] = [stats[here + first], stats[here + second]]
    return found


def _each(libvirt: Any, devices: Iterable[str], ask: Any) -> dict[str, list[int]]:
    """Device by device; those of which the driver can tell nothing are left out."""
    found = {}
    for one in devices:
        try:
            found[one] = ask(one)
        except libvirt.libvirtError:
            continue
    return found


def _pick(told: Sequence[int], first: int, second: int) -> list[int]:
    return [told[first], told[second]]


# ---------------------------------------------------------------------------------------------------------- readings


def readings_of(journal: LibvirtJournal, first: int, last: int, notes: tuple[str, ...]) -> Readings:
    """The polls of the slots first <= t < last (ms), with the one before and the one after."""
    before, after = journal.around(first, last)
    made = _Series()
    polls = journal.polls(first if before is None else before, last if after is None else after)
    for guest, rows in groupby(polls, key=lambda one: one[1]):
        _guest(made, guest, [(ts, said) for ts, _guest_, said in rows])
    return Readings(
        made.labels, np.array(made.index, np.int64), np.array(made.ts, np.int64), np.array(made.value, np.float64), LABEL,
        datetime.fromtimestamp(first / 1000, UTC), datetime.fromtimestamp(last / 1000, UTC), notes, "libvirt",
    )  # fmt: skip


class _Series:
    """Points as Readings hold them."""

    def __init__(self) -> None:
        self.labels: list[dict[str, str]] = []
        self.index: list[int] = []
        self.ts: list[int] = []
        self.value: list[float] = []

    def add(self, labels: dict[str, str], points: Sequence[tuple[int, float]]) -> None:
        if points:
            self.index += [len(self.labels)] * len(points)
            self.labels.append(labels)
            self.ts += [ts for ts, _value in points]
            self.value += [value for _ts, value in points]


def _guest(made: _Series, guest: str, rows: list[tuple[int, dict[str, Any]]]) -> None:
    made.add({"__name__": "system.cpu.logical.count", LABEL: guest}, [(ts, float(said["cpus"])) for ts, said in rows])
    for name, mode in (("busy", "user"), ("wait", "steal"), ("idle", "idle")):
        points = _grown(rows, name)
        made.add({"__name__": "node_cpu_seconds_total", "mode": mode, LABEL: guest}, points)
    for key, series in (("mem_kib", "node_memory_MemTotal_bytes"), ("free_kib", "node_memory_MemAvailable_bytes")):
        made.add({"__name__": series, LABEL: guest}, [(ts, said[key] * 1024.0) for ts, said in rows if key in said])
    for part, ways in (
        ("links", ("node_network_receive_bytes_total", "node_network_transmit_bytes_total")),
        ("disks", ("node_disk_read_bytes_total", "node_disk_written_bytes_total")),
    ):
        names = dict.fromkeys(name for _ts, said in rows for name in said.get(part, {}))
        for name in names:
            for way, one in enumerate(ways):
                points = [(ts, float(said[part][name][way])) for ts, said in rows if name in said.get(part, {})]
                # the host's end of a guest's cable (vnet0) would be taken for a machine's inner one
                made.add({"__name__": one, "device": f"guest:{name}", LABEL: guest}, points)


def _grown(rows: list[tuple[int, dict[str, Any]]], name: str) -> list[tuple[int, float]]:
    """Seconds of CPU from nothing on. An interval at an end of which the guest is off tells nothing: neither grows in it."""
    on = [(ts, said) for ts, said in rows if said["cpus"]]
    if not on or (name == "wait" and all("wait_ns" not in said for _ts, said in on)):
        return []
    grown, points = 0.0, [(rows[0][0], 0.0)]
    for (before, was), (ts, said) in pairwise(rows):
        if was["cpus"] and said["cpus"]:
            busy = _rise(was.get("busy_ns", 0), said.get("busy_ns", 0)) / NS
            wait = _rise(was.get("wait_ns", 0), said.get("wait_ns", 0)) / NS
            idle = max(said["cpus"] * (ts - before) / 1000 - busy - wait, 0.0)
            grown += {"busy": busy, "wait": wait, "idle": idle}[name]
        points.append((ts, grown))
    return points


def _rise(before: int, after: int) -> int:
    """What a counter rose by; one that is lower began anew with the guest."""
    return after if after < before else after - before
