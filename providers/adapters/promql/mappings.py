"""Which queries say what a machine uses, exporter by exporter. Pure; the tables are data.

A row asks for one part of a metric and names it as the steward knows it (``series``): by the metric names of agents that
push, so that what is pulled is folded by the same rules, or ``guanjia_<metric>`` for a figure that is taken as it is. What
may stand in a query: ``$match`` (matchers of the source, then a comma), ``$by`` (the label that names the machine) and, in a
gauge's, ``$window`` (a slot). Its result keeps ``$by`` and whatever tells devices apart.

``proof``: with what its rows were tried (providers.base.QueryProof). Each follows its exporter's own documentation, named in
``source``; what has no proof is offered as unverified until somebody has looked at what it gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from providers.base import CERTIFICATE_SERIES, PROBE_SERIES, QueryProof
from providers.metrics import METRICS


class ReadingManner(StrEnum):
    """How a query's result is to be understood."""

    COUNTER = "counter"  # only grows; read at the edges of slots
    BUSY = "busy"  # a counter of CPU seconds without its idle time: what CPUs there are (``of``) tells the rest
    GAUGE = "gauge"  # the mean over a slot
    LEVEL = "level"  # a size: its last value in a slot
    PROBE = "probe"  # every sample: whether an endpoint answered; of no machine


@dataclass(frozen=True, slots=True, eq=False)
class MappingRow:
    """One query. ``labels``: given to its result; ``of``: of BUSY, the query for how many CPUs a machine has."""

    series: str
    manner: ReadingManner
    query: str
    labels: Mapping[str, str] = field(default_factory=dict)
    of: str = ""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A query that finds the machines of which an exporter's rows read nothing, or not all. ``code``: of the reason, as those of
    refusals (`console.words.refusals`)."""

    query: str
    code: str


@dataclass(frozen=True, slots=True)
class Exporter:
    """An exporter's rows. ``by``: the label that names the machine if nothing else is said; ``clock``: a series that each of
    its scrapes has, by which it is told when they were, and which are missing; ``versions``: earlier or later versions of it
    that call or measure the same otherwise, asked for beside it, as a fleet is not renewed in one day; ``doubts``: of which machines
    what they say is not believed, each named among a reading's doubts."""

    name: str
    source: str
    by: str
    clock: str
    rows: Sequence[MappingRow]
    proof: QueryProof = QueryProof.NONE
    versions: tuple[Exporter, ...] = ()
    doubts: Sequence[Doubt] = ()


def _counter(series: str, keys: str, metric: str) -> MappingRow:
    """Of two senders that tell the same place the higher counts."""
    return MappingRow(series, ReadingManner.COUNTER, f"max by ($by, {keys}) ({metric})")


def _gauge(series: str, metric: str, keys: str = "", named: Callable[[str], str] = str) -> MappingRow:
    """``named``: the query that calls a label of the other by the name in ``keys``."""
    means = named(f"avg_over_time({metric}[$window])")
    return MappingRow(series, ReadingManner.GAUGE, f"max by ($by{', ' if keys else ''}{keys}) ({means})")


def _mean(metric: str) -> str:
    """The mean of all readings within a slot, into how many series labels that change split them (a pod that gets a card, a
    guest that moves to another host)."""
    return f"sum by ($by) (sum_over_time({metric}[$window])) / sum by ($by) (count_over_time({metric}[$window]))"


def _direct(metric: str, query: str) -> MappingRow:
    return MappingRow(f"guanjia_{metric}", ReadingManner.GAUGE, query)


NODE = Exporter(
    "node",
    "prometheus/node_exporter 1.5.0, collectors cpu, meminfo, filesystem, netdev, netclass, diskstats, loadavg, pressure",
    "instance",
    "node_memory_MemTotal_bytes{$match}",
    (
        MappingRow(
            "node_cpu_seconds_total",
            ReadingManner.COUNTER,
            "sum by ($by, mode) (max by ($by, cpu, mode) (node_cpu_seconds_total{$match}))",
        ),
        MappingRow(
            "system.cpu.logical.count",
            ReadingManner.LEVEL,
            'count by ($by) (max by ($by, cpu) (node_cpu_seconds_total{$match mode="idle"}))',
        ),
        _gauge("node_memory_MemTotal_bytes", "node_memory_MemTotal_bytes{$match}"),
        _gauge("node_memory_MemAvailable_bytes", "node_memory_MemAvailable_bytes{$match}"),
        _gauge("node_filesystem_size_bytes", "node_filesystem_size_bytes{$match}", "device, mountpoint, fstype"),
        _gauge("node_filesystem_avail_bytes", "node_filesystem_avail_bytes{$match}", "device, mountpoint, fstype"),
        _gauge("node_network_speed_bytes", "node_network_speed_bytes{$match}", "device"),
        _counter("node_network_receive_bytes_total", "device", "node_network_receive_bytes_total{$match}"),
        _counter("node_network_transmit_bytes_total", "device", "node_network_transmit_bytes_total{$match}"),
        _counter("node_disk_read_bytes_total", "device", "node_disk_read_bytes_total{$match}"),
        _counter("node_disk_written_bytes_total", "device", "node_disk_written_bytes_total{$match}"),
        _gauge("node_load1", "node_load1{$match}"),
        *(
            MappingRow(name, ReadingManner.COUNTER, f"max by ($by) ({name}{{$match}})")
            for name in ("node_pressure_cpu_waiting_seconds_total", "node_pressure_memory_waiting_seconds_total")
        ),
        *(
            _counter(name, "device", f"{name}{{$match}}")
            for name in (
                "node_disk_read_time_seconds_total",
                "node_disk_write_time_seconds_total",
                "node_disk_reads_completed_total",
                "node_disk_writes_completed_total",
            )
        ),
    ),
    proof=QueryProof.EXPORTER,
)

WINDOWS = Exporter(
    "windows",
    "prometheus-community/windows_exporter 0.31.8, docs/collector.{cpu,memory,logical_disk,physical_disk,net}.md",
    "instance",
    "windows_memory_available_bytes{$match}",
    (
        MappingRow(
            "windows_cpu_time_total",
            ReadingManner.COUNTER,
            "sum by ($by, mode) (max by ($by, core, mode) (windows_cpu_time_total{$match}))",
        ),
        MappingRow(
            "system.cpu.logical.count",
            ReadingManner.LEVEL,
            'count by ($by) (max by ($by, core) (windows_cpu_time_total{$match mode="idle"}))',
        ),
        _gauge("windows_memory_physical_total_bytes", "windows_memory_physical_total_bytes{$match}"),
        _gauge("windows_cs_physical_memory_bytes", "windows_cs_physical_memory_bytes{$match}"),
        _gauge("windows_memory_available_bytes", "windows_memory_available_bytes{$match}"),
        _gauge("windows_logical_disk_size_bytes", "windows_logical_disk_size_bytes{$match}", "volume"),
        _gauge("windows_logical_disk_free_bytes", "windows_logical_disk_free_bytes{$match}", "volume"),
        _counter("windows_net_bytes_received_total", "nic", "windows_net_bytes_received_total{$match}"),
        _counter("windows_net_bytes_sent_total", "nic", "windows_net_bytes_sent_total{$match}"),
        _counter("windows_physical_disk_read_bytes_total", "disk", "windows_physical_disk_read_bytes_total{$match}"),
        _counter("windows_physical_disk_write_bytes_total", "disk", "windows_physical_disk_write_bytes_total{$match}"),
    ),
    proof=QueryProof.DOCUMENTED,
)

LIBVIRT = Exporter(
    "libvirt",
    "kumina/libvirt_exporter 0.2.0 (Debian prometheus-libvirt-exporter); memory as guests see it is not among it",
    "domain",
    "libvirt_domain_info_virtual_cpus{$match}",
    (
        MappingRow(
            "node_cpu_seconds_total",
            ReadingManner.BUSY,
            "sum by ($by) (libvirt_domain_info_cpu_time_seconds_total{$match})",
            of="max by ($by) (libvirt_domain_info_virtual_cpus{$match})",
        ),
        MappingRow(
            "system.cpu.logical.count", ReadingManner.LEVEL, "max by ($by) (libvirt_domain_info_virtual_cpus{$match})"
        ),
        *(
            MappingRow(name, ReadingManner.COUNTER, f"sum by ($by) ({metric}{{$match}})", {"device": "guest"})
            for name, metric in (
                ("node_network_receive_bytes_total", "libvirt_domain_interface_stats_receive_bytes_total"),
                ("node_network_transmit_bytes_total", "libvirt_domain_interface_stats_transmit_bytes_total"),
                ("node_disk_read_bytes_total", "libvirt_domain_block_stats_read_bytes_total"),
                ("node_disk_written_bytes_total", "libvirt_domain_block_stats_write_bytes_total"),
            )
        ),
    ),
    proof=QueryProof.EXPORTER,
)

_TEMPLATES = "unless vmware_vm_template{$match} == 1"
"""What is switched off for good, and no machine: by all that the exporter says of it, as a guest elsewhere may be called the same."""


def _partition(metric: str) -> str:
    return f'label_replace({metric}, "device", "$$1", "partition", "(.*)")'


VMWARE = Exporter(
    "vmware",
    "pryorda/vmware_exporter 0.18.4; units of vSphere's performance counters: hundredths of a per cent, KiB/s, ms of 20 s",
    "vm_name",
    "vmware_vm_power_state{$match}",
    (
        # Of a guest that is off the exporter tells its size and that it is off: then it has no CPUs.
        MappingRow(
            "system.cpu.logical.count",
            ReadingManner.LEVEL,
            f"max by ($by) ((vmware_vm_num_cpu{{$match}} {_TEMPLATES}) * on ($by) group_left ()"
            " max by ($by) (vmware_vm_power_state{$match}))",
        ),
        MappingRow(
            "node_memory_MemTotal_bytes",
            ReadingManner.LEVEL,
            f"max by ($by) (vmware_vm_memory_max{{$match}} {_TEMPLATES}) * 1048576",
        ),
        _direct("cpu_pct", f"{_mean('vmware_vm_cpu_usage_average{$match}')} / 100"),
        _direct(
            "steal_pct",
            f"{_mean('vmware_vm_cpu_ready_summation{$match}')} / 200 / on ($by)"
            f" max by ($by) (vmware_vm_num_cpu{{$match}} {_TEMPLATES})",
        ),
        _direct("mem_pct", f"{_mean('vmware_vm_mem_usage_average{$match}')} / 100"),
        _direct("net_rx_kbps", f"{_mean('vmware_vm_net_received_average{$match}')} * 8.192"),
        _direct("net_tx_kbps", f"{_mean('vmware_vm_net_transmitted_average{$match}')} * 8.192"),
        _direct("disk_read_kbs", _mean("vmware_vm_disk_read_average{$match}")),
        _direct("disk_write_kbs", _mean("vmware_vm_disk_write_average{$match}")),
        _gauge("node_filesystem_size_bytes", "vmware_vm_guest_disk_capacity{$match}", "device", _partition),
        _gauge("node_filesystem_avail_bytes", "vmware_vm_guest_disk_free{$match}", "device", _partition),
    ),
    proof=QueryProof.DOCUMENTED,
)

KUBERNETES = Exporter(
    "kubernetes",
    'google/cadvisor docs/storage/prometheus.md (root cgroup id="/") with the label node, as Prometheus Operator scrapes'
    " kubelets; kube-state-metrics v2 docs/metrics/cluster/node-metrics.md",
    "node",
    'container_cpu_usage_seconds_total{$match id="/"}',
    (
        MappingRow(
            "node_cpu_seconds_total",
            ReadingManner.BUSY,
            'max by ($by) (sum by ($by, instance) (container_cpu_usage_seconds_total{$match id="/"}))',
            of='max by ($by) (kube_node_status_capacity{$match resource="cpu"})',
        ),
        MappingRow(
            "system.cpu.logical.count",
            ReadingManner.LEVEL,
            'max by ($by) (kube_node_status_capacity{$match resource="cpu"})',
        ),
        MappingRow(
            "node_memory_MemTotal_bytes",
            ReadingManner.LEVEL,
            'max by ($by) (kube_node_status_capacity{$match resource="memory"})',
        ),
        _direct(
            "mem_pct",
            '100 * max by ($by) (avg_over_time(container_memory_working_set_bytes{$match id="/"}[$window]))'
            ' / on ($by) max by ($by) (kube_node_status_capacity{$match resource="memory"})',
        ),
        *(
            _counter(
                name,
                "device",
                f'label_replace({metric}{{$match id="/"}}, "device", "$$1", "interface", "(.*)")',
            )
            for name, metric in (
                ("node_network_receive_bytes_total", "container_network_receive_bytes_total"),
                ("node_network_transmit_bytes_total", "container_network_transmit_bytes_total"),
            )
        ),
        _counter("node_disk_read_bytes_total", "device", 'container_fs_reads_bytes_total{$match id="/"}'),
        _counter("node_disk_written_bytes_total", "device", 'container_fs_writes_bytes_total{$match id="/"}'),
    ),
    proof=QueryProof.DOCUMENTED,
)

_DCGM_PER_CENT = "DCGM_FI_DEV_GPU_UTIL{$match $by!=''}"
_DCGM_RATIO = "DCGM_FI_DEV_GPU_UTIL_RATIO{$match $by!=''}"
_DCGM_NO_RATIO = f"(max by ($by) (max_over_time({_DCGM_RATIO}[$window])) > 1 or max by ($by) (max_over_time({_DCGM_RATIO}[1d:5m])) > 1)"
_DCGM_BETWEEN = f"({_DCGM_RATIO} > 0 < 1)"
_DCGM_SURE = f"(max by ($by) (max_over_time({_DCGM_BETWEEN}[$window:30s])) or max by ($by) (max_over_time({_DCGM_BETWEEN}[1d:5m])))"
"""Machines that said something between 0 and 1: whole per cent never does. Until then a 1 is 1 % or all of it, and a 0 is 0."""
_DCGM_UNSURE = f"(max by ($by) (max_over_time({_DCGM_RATIO}[$window])) == 1 unless on ($by) {_DCGM_SURE})"
_DCGM_ROWS = (_direct("card_pct", _mean(_DCGM_PER_CENT)),)
_DCGM_SOURCE = "NVIDIA/dcgm-exporter, etc/default-counters.csv; the mean over the machine's cards"

DCGM = Exporter(
    "dcgm",
    f"{_DCGM_SOURCE}; until 4.8.2: DCGM_FI_DEV_GPU_UTIL, per cent, label Hostname",
    "Hostname",
    _DCGM_PER_CENT,
    _DCGM_ROWS,
    proof=QueryProof.DOCUMENTED,
    versions=(
        Exporter(
            "dcgm",
            f"{_DCGM_SOURCE}; from 4.8.3: DCGM_FI_DEV_GPU_UTIL, per cent, label hostname",
            "hostname",
            _DCGM_PER_CENT,
            _DCGM_ROWS,
            proof=QueryProof.DOCUMENTED,
        ),
        # Before DCGM 4.7 a file of one's own could ask for this name and was given per cent: a machine that says more than 1 says so
        # in its idle hours, too.
        Exporter(
            "dcgm",
            f"{_DCGM_SOURCE}; from 4.9: DCGM_FI_DEV_GPU_UTIL_RATIO, 0 to 1, label hostname; taken for per cent, and not read, where"
            " it was above 1 within a day; a 1 is believed where something between 0 and 1 was said within a day",
            "hostname",
            _DCGM_RATIO,
            (
                _direct(
                    "card_pct",
                    f"100 * ({_mean(_DCGM_RATIO)} unless on ($by) {_DCGM_NO_RATIO} unless on ($by) {_DCGM_UNSURE})",
                ),
            ),
            proof=QueryProof.DOCUMENTED,
            doubts=(
                Doubt(_DCGM_NO_RATIO, "card.per_cent"),
                Doubt(f"{_DCGM_UNSURE} unless on ($by) {_DCGM_NO_RATIO}", "card.unsure"),
            ),
        ),
    ),
)

ASCEND = Exporter(
    "ascend",
    "Ascend npu-exporter of MindCluster 7.3, Prometheus Metrics: npu_chip_info_utilization, per cent of a chip's AI cores; the"
    " mean over the machine's chips",
    "instance",
    "npu_chip_info_utilization{$match}",
    (_direct("card_pct", _mean("npu_chip_info_utilization{$match}")),),
    proof=QueryProof.DOCUMENTED,
)

BLACKBOX = Exporter(
    "blackbox",
    "prometheus/blackbox_exporter 0.23.0: probe_success, 1 where the probe succeeded; probe_ssl_earliest_cert_expiry, the second in"
    " which the first certificate of the chain ends; $by is the target",
    "instance",
    "",
    (
        MappingRow(PROBE_SERIES, ReadingManner.PROBE, "probe_success{$match}"),
        MappingRow(CERTIFICATE_SERIES, ReadingManner.PROBE, "probe_ssl_earliest_cert_expiry{$match}"),
    ),
    proof=QueryProof.EXPORTER,
)

EXPORTERS: Mapping[str, Exporter] = {
    one.name: one for one in (NODE, WINDOWS, LIBVIRT, VMWARE, KUBERNETES, DCGM, ASCEND, BLACKBOX)
}

_OWN = re.compile(r"\s*([a-z_]+)\s*=\s*(\S.*)")


def own(lines: str, by: str) -> Exporter | None:
    """Queries that people wrote, one a line: ``cpu_pct = 100 * max by ($by) (avg_over_time(x{$match}[$window]))``. None for
    none. Raises ValueError with the number of the line and what is wrong with it ("form" or "metric")."""
    rows = []
    for number, line in enumerate(lines.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _OWN.fullmatch(line)
        if found is None or "$by" not in found[2]:
            raise ValueError(number, "form")
        if found[1] not in METRICS:
            raise ValueError(number, "metric")
        rows.append(_direct(found[1], found[2].strip()))
    return Exporter("own", "written by the operator", by, "", rows, QueryProof.OWN) if rows else None


def filled(query: str, *, by: str, match: str = "", window: str = "") -> str:
    """``query`` with its places filled. ``$$1`` is a place of PromQL's own and becomes ``$1``."""
    matchers = match.strip().strip(",")
    text = query.replace("$match", f"{matchers}," if matchers else "").replace("$by", by).replace("$window", window)
    return text.replace("$$", "$")
