"""Expositions of exporters whose truth is known: what each exporter would have said of machines whose work is a formula.

The names, types and labels are those of the exporters' own documentation, kept beside here (``documented/*.prom``, each with the
document and version that it is from): whatever is not in there can't be made. The work of a machine is a slow wave, so that what
a slot holds is an integral that can be written down, whoever reads it how; ``truth`` has that, in the units of the steward.

Each exporter's machines show what is special about it: Windows' volumes without a letter and CPU time that is part of other
time, guests of vSphere that are off, templates, or moved to another host in the middle of a slot, containers beside the root
cgroup, cards whose pod changes, chips that are read one after the other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from tests.expositions import Series

BEGIN = datetime(2026, 10, 12, 0, 0, tzinfo=UTC)
START = int(BEGIN.timestamp())
SLOTS, STEP = 18, 300
END = START + SLOTS * STEP
MIB, GIB = 2.0**20, 2.0**30

_LINE = re.compile(r"(\w+)(?:\{(.*)\})? \S+")
_LABEL = re.compile(r'(\w+)="')


@dataclass(frozen=True, slots=True)
class Wave:
    """A rate that goes up and down about ``mean`` by ``swing``; ``hours`` long."""

    mean: float
    swing: float
    hours: float = 3.0
    ahead: float = 0.0

    def at(self, s: float) -> float:
        return self.mean + self.swing * math.sin(self._angle(s))

    def until(self, s: float) -> float:
        """What has come together since START."""
        return self.mean * (s - START) + self.swing / self._pace * (
            math.cos(self._angle(START)) - math.cos(self._angle(s))
        )

    def within(self, slot: int) -> float:
        """Its mean over the slot that begins then."""
        return (self.until(slot + STEP) - self.until(slot)) / STEP

    @property
    def _pace(self) -> float:
        return 2 * math.pi / (self.hours * 3600)

    def _angle(self, s: float) -> float:
        return self._pace * (s - START) + self.ahead


Truth = Mapping[str, Callable[[int], float]]
Truths = dict[str, Truth]


@dataclass
class Exposition:
    """Series of one exporter; ``truth``: machine → metric of the lake → what a slot holds of it."""

    exporter: str
    series: dict[tuple[tuple[str, str], ...], Series] = field(default_factory=dict)
    truth: Truths = field(default_factory=dict)

    def say(self, s: float, name: str, value: float, target: Mapping[str, str], /, **labels: str) -> None:
        """One sample. ``target``: labels that the scrape gives, not the exporter."""
        kinds, told = documented(self.exporter)
        assert frozenset(labels) in told.get(name, ()), (name, labels)
        assert (kinds[name] == "counter") == name.endswith("_total"), name
        every = {"__name__": name, **labels, **target}
        key = tuple(sorted(every.items()))
        self.series.setdefault(key, Series(every)).points.append((round(s * 1000), value))


@cache
def documented(exporter: str) -> tuple[dict[str, str], dict[str, set[frozenset[str]]]]:
    """Metric → its type; metric → the sets of labels that it has."""
    kinds: dict[str, str] = {}
    told: dict[str, set[frozenset[str]]] = {}
    for line in (Path(__file__).parent / "documented" / f"{exporter}.prom").read_text().splitlines():
        if line.startswith("# TYPE "):
            _hash, _type, name, kind = line.split()
            kinds[name] = kind
        elif not line.startswith("#"):
            found = _LINE.fullmatch(line)
            assert found is not None, line
            assert found[1] in kinds, line
            told.setdefault(found[1], set()).add(frozenset(_LABEL.findall(found[2] or "")))
    return kinds, told


def scrapes(pace: float, late: float) -> Iterator[float]:
    """Every ``pace`` seconds, from some before START to some after END."""
    at = START - 900 + late
    while at < END + 900:
        yield at
        at += pace


def whole(value: float, number: int) -> float:
    """``value`` as an exporter that has whole numbers alone reads it, by turns up and down."""
    return float(math.floor(value + (number * 0.618034) % 1))


def windows() -> Exposition:
    told = Exposition("windows")
    for machine, cores, late in (("win-1", 2, 3.1), ("win-2", 4, 11.7)):
        busy, free = Wave(0.35, 0.3, ahead=cores), Wave(3 * GIB, GIB)
        received, read = Wave(60_000, 40_000), Wave(200_000, 150_000, ahead=1.0)
        target = {"instance": f"{machine}:9182", "job": "windows"}
        for s in scrapes(15, late):
            up = 1e6 + s - START
            for core in range(cores):
                work = 1000 + busy.until(s)
                privileged = 0.3 * work
                for mode, value in (
                    ("user", 0.7 * work), ("privileged", privileged), ("idle", up - work),
                    ("interrupt", 0.2 * privileged), ("dpc", 0.1 * privileged),
                ):  # fmt: skip
                    told.say(s, "windows_cpu_time_total", round(value, 6), target, core=f"0,{core}", mode=mode)
            told.say(s, "windows_memory_physical_total_bytes", 8 * GIB, target)
            told.say(s, "windows_memory_available_bytes", float(round(free.at(s))), target)
            for volume, size, rest in (("C:", 100e9, 60e9), ("D:", 500e9, 150e9), ("HarddiskVolume2", 5e8, 2e7)):
                told.say(s, "windows_logical_disk_size_bytes", size, target, volume=volume)
                told.say(s, "windows_logical_disk_free_bytes", rest, target, volume=volume)
            for disk in "01":
                told.say(
                    s, "windows_physical_disk_read_bytes_total", float(round(5e9 + read.until(s))), target, disk=disk
                )
                told.say(
                    s,
                    "windows_physical_disk_write_bytes_total",
                    float(round(7e9 + 2 * read.until(s))),
                    target,
                    disk=disk,
                )
            told.say(s, "windows_logical_disk_read_bytes_total", float(round(5e9 + read.until(s))), target, volume="C:")
            for nic, share in (("Ethernet", 1), ("Loopback Pseudo-Interface 1", 9), ("isatap.example", 1)):
                told.say(
                    s,
                    "windows_net_bytes_received_total",
                    float(round(1e9 + share * received.until(s))),
                    target,
                    nic=nic,
                )
                told.say(
                    s,
                    "windows_net_bytes_sent_total",
                    float(round(1e9 + share * received.until(s) / 4)),
                    target,
                    nic=nic,
                )
        told.truth[machine] = {
            "cpu_pct": lambda t, busy=busy: 100 * busy.within(t),
            "mem_pct": lambda t, free=free: 100 - 100 * free.within(t) / (8 * GIB),
            "mem_mb": lambda _t: 8192.0,
            "vcpu": lambda _t, cores=cores: float(cores),
            "disk_pct": lambda _t: 70.0,
            "net_rx_kbps": lambda t, received=received: received.within(t) * 8 / 1000,
            "net_tx_kbps": lambda t, received=received: received.within(t) * 2 / 1000,
            "disk_read_kbs": lambda t, read=read: 2 * read.within(t) / 1024,
            "disk_write_kbs": lambda t, read=read: 4 * read.within(t) / 1024,
        }
    return told


def vmware() -> Exposition:
    told = Exposition("vmware")
    moved = START + 7 * STEP + 120
    for guest, cpus, on, template in (("app-1", 4, 1, 0), ("app-2", 2, 1, 0), ("off-1", 8, 0, 0), ("app-2", 64, 0, 1)):
        busy, ready, rate = Wave(40, 30, ahead=cpus), Wave(3, 2), Wave(900, 500)
        for number, s in enumerate(scrapes(20, 7.3)):
            host = "esx2" if guest == "app-1" and s > moved else "esx1"
            place = {
                "vm_name": guest,
                "ds_name": "ds1",
                "host_name": host,
                "dc_name": f"dc{1 + template}",
                "cluster_name": "c1",
            }
            target = {"instance": "vcenter.example", "job": "vmware_vcenter"}

            def say(name: str, value: float, s: float = s, place=place, target=target, **more: str) -> None:
                told.say(s, f"vmware_vm_{name}", value, target, **place, **more)

            say("power_state", on)
            say("template", template)
            say("num_cpu", cpus)
            say("memory_max", 16_384 * (1 + template))
            if not on:
                continue
            say("cpu_usage_average", whole(100 * busy.at(s), number))
            say("cpu_ready_summation", whole(ready.at(s) * 200 * cpus, number))
            say("mem_usage_average", whole(100 * (80 - busy.at(s) / 2), number))
            for name, share in (("net_received", 1), ("net_transmitted", 2), ("disk_read", 3), ("disk_write", 4)):
                say(f"{name}_average", whole(share * rate.at(s), number))
            for partition, size, rest in (("/", 40e9, 30e9), ("/data", 200e9, 50e9)):
                say("guest_disk_capacity", size, partition=partition)
                say("guest_disk_free", rest, partition=partition)
        if on:
            told.truth[guest] = {
                "cpu_pct": lambda t, busy=busy: busy.within(t),
                "steal_pct": lambda t, ready=ready: ready.within(t),
                "mem_pct": lambda t, busy=busy: 80 - busy.within(t) / 2,
                "mem_mb": lambda _t: 16_384.0,
                "vcpu": lambda _t, cpus=cpus: float(cpus),
                "disk_pct": lambda _t: 75.0,
                "net_rx_kbps": lambda t, rate=rate: rate.within(t) * 8.192,
                "net_tx_kbps": lambda t, rate=rate: 2 * rate.within(t) * 8.192,
                "disk_read_kbs": lambda t, rate=rate: 3 * rate.within(t),
                "disk_write_kbs": lambda t, rate=rate: 4 * rate.within(t),
            }
    told.truth["off-1"] = {"vcpu": lambda _t: 0.0, "mem_mb": lambda _t: 16_384.0}
    return told


def kubernetes() -> Exposition:
    told = Exposition("kubernetes")
    for node, cores, late in (("worker-1", 8, 2.0), ("worker-2", 16, 9.0)):
        busy, held, rate = Wave(0.45, 0.35, ahead=late), Wave(20 * GIB, 8 * GIB), Wave(3e6, 2e6)
        kubelet = {
            "instance": f"10.0.0.{cores}:10250",
            "job": "kubelet",
            "node": node,
            "metrics_path": "/metrics/cadvisor",
        }
        for number, s in enumerate(scrapes(30, late)):
            for resource, unit, value in (
                ("cpu", "core", cores),
                ("memory", "byte", 64 * GIB),
                ("pods", "integer", 110),
            ):
                state = {"instance": "10.244.0.3:8080", "job": "kube-state-metrics"}
                told.say(s, "kube_node_status_capacity", value, state, node=node, resource=resource, unit=unit)
            read = s - 1 - (number * 0.37) % 4  # cAdvisor reads cgroups in its own time, and says when
            for cgroup, share in (("/", 1.0), ("/kubepods.slice", 0.8)):
                base = {"container": "", "id": cgroup, "image": "", "name": "", "namespace": "", "pod": ""}
                work = 5e5 + share * cores * busy.until(read)
                told.say(read, "container_cpu_usage_seconds_total", round(work, 6), kubelet, cpu="total", **base)
                told.say(
                    read, "container_memory_working_set_bytes", float(round(share * held.at(read))), kubelet, **base
                )
                for device in ("/dev/vda", "/dev/vdb"):
                    for name, times in (("reads", 1), ("writes", 3)):
                        count = float(round(1e12 + share * times * rate.until(read)))
                        told.say(read, f"container_fs_{name}_bytes_total", count, kubelet, device=device, **base)
            root = {"container": "", "id": "/", "image": "", "name": "", "namespace": "", "pod": ""}
            for interface in ("eth0", "cali0123456789a", "flannel.1"):
                for name, times in (("receive", 1), ("transmit", 2)):
                    count = float(round(1e13 + times * rate.until(read)))
                    told.say(read, f"container_network_{name}_bytes_total", count, kubelet, interface=interface, **root)
        told.truth[node] = {
            "cpu_pct": lambda t, busy=busy: 100 * busy.within(t),
            "vcpu": lambda _t, cores=cores: float(cores),
            "mem_pct": lambda t, held=held: 100 * held.within(t) / (64 * GIB),
            "mem_mb": lambda _t: 65_536.0,
            "net_rx_kbps": lambda t, rate=rate: rate.within(t) * 8 / 1000,
            "net_tx_kbps": lambda t, rate=rate: 2 * rate.within(t) * 8 / 1000,
            "disk_read_kbs": lambda t, rate=rate: 2 * rate.within(t) / 1024,
            "disk_write_kbs": lambda t, rate=rate: 6 * rate.within(t) / 1024,
        }
    return told


def _cards(many: int) -> list[Wave]:
    return [Wave(50, 45, ahead=2.0 * card) for card in range(many)]


def _of_cards(cards: list[Wave]) -> Truth:
    return {"card_pct": lambda t: sum(card.within(t) for card in cards) / len(cards)}


def dcgm() -> Exposition:
    """Of three releases at once, as in a fleet that is being renewed."""
    told = Exposition("dcgm")
    taken = START + 5 * STEP + 40
    for machine, label, ratio in (
        ("gpu-1", "Hostname", False),
        ("gpu-2", "hostname", False),
        ("gpu-3", "hostname", True),
    ):
        cards = _cards(4 if ratio else 2)
        for number, s in enumerate(scrapes(15, 4.0)):
            for card, wave in enumerate(cards):
                pod = "train-7" if s > taken and card == 0 else ""
                labels = {
                    "gpu": str(card), "UUID": f"GPU-{machine}-{card}", "pci_bus_id": f"00000000:{card:02X}:00.0",
                    "device": f"nvidia{card}", "modelName": "NVIDIA A100-SXM4-80GB", label: machine,
                    "container": pod and "main", "namespace": pod and "ai", "pod": pod,
                }  # fmt: skip
                name = "DCGM_FI_DEV_GPU_UTIL_RATIO" if ratio else "DCGM_FI_DEV_GPU_UTIL"
                value = wave.at(s) / 100 if ratio else whole(wave.at(s), number)
                told.say(s, name, value, {"instance": f"10.244.1.{len(cards)}:9400", "job": "dcgm-exporter"}, **labels)
        told.truth[machine] = _of_cards(cards)
    return told


def ascend() -> Exposition:
    told = Exposition("ascend")
    taken = START + 5 * STEP + 40
    for machine, late in (("npu-1", 1.0), ("npu-2", 6.0)):
        cards = _cards(8)
        target = {"instance": f"{machine}:8082", "job": "npu-exporter"}
        for number, s in enumerate(scrapes(15, late)):
            told.say(s, "machine_npu_nums", 8.0, target)
            for card, wave in enumerate(cards):
                read = s - 3 + 0.345 * card  # one chip after the other
                pod = "infer-2" if s > taken and card < 4 else ""
                told.say(
                    read, "npu_chip_info_utilization", whole(wave.at(read), number), target, id=str(card),
                    model_name="910B-Ascend-V1", pcie_bus_info=f"0000:{card:02X}:00.0", vdie_id=f"{machine}-{card}",
                    container_name=pod and "main", namespace=pod and "ai", pod_name=pod,
                )  # fmt: skip
        told.truth[machine] = _of_cards(cards)
    return told


EVERY: Mapping[str, Callable[[], Exposition]] = {
    "windows": windows, "vmware": vmware, "kubernetes": kubernetes, "dcgm": dcgm, "ascend": ascend,
}  # fmt: skip
