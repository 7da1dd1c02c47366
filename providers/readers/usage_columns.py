"""The words of usage files: which header means which quantity, in what unit, and what a believable figure
is.

Throughput in KB/s means 1,024 bytes a second (as the Bitbrains traces have it); network figures are kept in
kilobits a second of 1,000 bits, so 1 KB/s = 8.192 kbps. CloudWatch reports bytes in a period of 300 s.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from providers.metrics import KBPS_IN_KBS, METRICS, PERIOD_S


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a column holds. Values outside 0 .. ``most`` are refused; ``whole`` ones must be integers.

    ``places`` marks what a row cannot do without: where it is bad, the row is refused, not only the value.
    """

    name: str
    most: float
    whole: bool = False
    places: bool = False


VCPU = Quantity("vcpu", 65534, whole=True, places=True)
MEM_MB = Quantity("mem_mb", 2**32 - 2)
MEM_USED_MB = Quantity("mem_used_mb", 2**32 - 2)

QUANTITIES: Mapping[str, Quantity] = {
    **{name: Quantity(name, metric.most) for name, metric in METRICS.items()},
    **{each.name: each for each in (VCPU, MEM_MB, MEM_USED_MB)},
}

ROLES = frozenset({"id", "name", "time", "metric", "value", "unit", "dur_s"})
"""Columns that are not quantities themselves but say whose, when, what and how long."""

MOST_DURATION_S = 31 * 86400


@dataclass(frozen=True, slots=True)
class ColumnMeaning:
    """What a header means: a role or the name of a quantity, and the factor to its unit."""

    name: str
    factor: float = 1.0


def _meanings() -> dict[str, ColumnMeaning]:
    words: list[tuple[str, float, str]] = [
        ("id", 1, "resource_id external_id vm_id instance_id server_id uuid 资源编号 资源id 云主机id 云主机编号 编号"),
        ("id", 1, "云服务器id 云服务器编号 虚拟机id 虚拟机编号 实例id 实例编号 主机id 设备编号"),
        ("name", 1, "resource_name instance_name instance host hostname 资源名称 云主机名称 云服务器名称 虚拟机名称"),
        ("name", 1, "实例名称 主机名 主机名称 服务器名称"),
        ("time", 1, "time ts timestamp timestamp[ms] timestamp[s] datetime"),
        ("time", 1, "时间 采集时间 时间戳 时间戳(毫秒) 时间戳(秒)"),
        ("metric", 1, "metric metric_name 指标 指标名称"),
        ("value", 1, "value 值 数值 指标值"),
        ("unit", 1, "unit 单位 计量单位"),
        ("dur_s", 1, "dur_s duration_s 时长(秒)"),
        *((metric.name, factor, many) for metric in METRICS.values() for factor, many in metric.headings),
        ("vcpu", 1, "vcpu vcpus cpu_cores cpucores 核数 cpu核数 vcpu数"),
        ("mem_mb", 1, "mem_mb mem_total_mb 内存(mb) 内存总量(mb)"),
        ("mem_mb", 1 / 1024, "memorycapacityprovisioned[kb] mem_total_kb 内存总量(kb)"),
        ("mem_mb", 1024, "mem_total_gb 内存(gb) 内存总量(gb)"),
        ("mem_used_mb", 1, "mem_used_mb 已用内存(mb)"),
        ("mem_used_mb", 1 / 1024, "memoryusage[kb] mem_used_kb 已用内存(kb)"),
        ("mem_used_mb", 1024, "mem_used_gb 已用内存(gb)"),
    ]
    return {plain(word): ColumnMeaning(name, factor) for name, factor, many in words for word in many.split()}


def plain(header: str) -> str:
    """A header without what people vary: width of characters, case, blanks, underscores, hyphens."""
    return re.sub(r"[\s_\-]", "", unicodedata.normalize("NFKC", header).casefold())


MEANINGS: Mapping[str, ColumnMeaning] = _meanings()


def meaning(header: str) -> ColumnMeaning | None:
    """What a column called ``header`` holds, or None."""
    return MEANINGS.get(plain(header))


def metric(name: str) -> ColumnMeaning | None:
    """What a metric called ``name`` is, in a file that has one row for each metric, or None."""
    found = MEANINGS.get(plain(name)) or MEANINGS.get(re.sub("^(ec2|rds|aws/ec2/|aws/rds/)", "", plain(name)))
    return None if found is None or found.name in ROLES else found


def metric_of_file(stem: str) -> ColumnMeaning | None:
    """The metric that a file name speaks of (``ec2_cpu_utilization_24ae8d``): the longest word that fits,
    or None."""
    name = plain(stem)
    fits = [word for word, found in MEANINGS.items() if found.name not in ROLES and len(word) >= 7 and word in name]
    return MEANINGS[max(fits, key=len)] if fits else None


_SAID: Mapping[str, frozenset[str]] = {
    "%": frozenset({"%", "percent", "pct", "百分比"}),
    "kbit/s": frozenset({"kbps", "kbit/s"}),
    "KiB/s": frozenset({"kb/s", "kib/s"}),
    "MiB": frozenset({"mb", "mib"}),
    "": frozenset({"核", "个", "core", "cores", "count", "none"}),
}
_UNIT: Mapping[str, str] = {
    **{name: metric.unit for name, metric in METRICS.items()},
    MEM_MB.name: "MiB",
    MEM_USED_MB.name: "MiB",
    VCPU.name: "",
}
_SAID_OTHERWISE: Mapping[float, frozenset[str]] = {
    KBPS_IN_KBS: frozenset({"kb/s", "kib/s"}),
    8 / 1000 / PERIOD_S: frozenset({"bytes", "byte"}),
    1 / 1024 / PERIOD_S: frozenset({"bytes", "byte"}),
    1 / 1024: frozenset({"kb", "kib"}),
    1024: frozenset({"gb", "gib"}),
}
"""How units are written, by a quantity's own, and by the factor where its header is in another unit."""


def agrees(found: ColumnMeaning, unit: str) -> bool:
    """Whether the unit written beside a value is the one that it is read in; an empty one says nothing."""
    word = plain(unit)
    return not word or word in (_SAID[_UNIT[found.name]] if found.factor == 1 else _SAID_OTHERWISE[found.factor])


def says_percent(header: str) -> bool:
    """Whether a header of utilisation says that it is in per cent. CPU使用率 alone may be a share from 0 to 1."""
    return not plain(header).endswith("率")


BITBRAINS = (
    "Timestamp [ms]",
    "CPU cores",
    "CPU capacity provisioned [MHZ]",
    "CPU usage [MHZ]",
    "CPU usage [%]",
    "Memory capacity provisioned [KB]",
    "Memory usage [KB]",
    "Disk read throughput [KB/s]",
    "Disk write throughput [KB/s]",
    "Network received throughput [KB/s]",
    "Network transmitted throughput [KB/s]",
)
"""The header of a Bitbrains file (GWA-T-12)."""

BESIDE = frozenset(plain(one) for one in (*BITBRAINS, "cpu_cap_mhz", "cpu_pct_max"))
"""Headers that are known and, where they have no Meaning, knowingly not used."""
