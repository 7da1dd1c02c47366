"""What sheets are read as: listings or usage; for each the fields that a column may be, their units, and the words of theirs that
cells may hold. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from providers.metrics import KBPS_IN_KBS, METRICS
from providers.readers.inventory_words import arch_of, kind_of, state_of
from providers.readers.usage_columns import QUANTITIES, ColumnMeaning, metric
from quota.errors import N_, Invalid

WRITTEN = "-"
"""In place of a unit: each figure has its own behind it."""

LEFT_OUT = "-"
"""In place of a word of ours: rows that say this are no part of what is read."""


@dataclass(frozen=True, slots=True)
class SheetPurpose:
    """``fields``: what a column may be read as → its name for people; ``units``: fields whose bare figures mean nothing → the units
    that they may be in (``written``: or behind each figure), each with how it is spelled in headings; ``words``: fields that hold
    a word of ours, and how one that everybody uses is understood; ``owners``: fields that hold a code of the house's, where a
    sheet may have a name; ``complete``: raises Invalid naming the field where columns lack what it cannot do without."""

    code: str
    fields: Mapping[str, str]
    units: Mapping[str, Mapping[str, str]]
    written: frozenset[str]
    words: Mapping[str, Callable[[str], object]]
    owners: tuple[str, ...]
    complete: Callable[[Mapping[str, str]], None]

    def choices(self, name: str) -> tuple[str, ...]:
        """The units of a field, ``WRITTEN`` among them where each figure may have its own."""
        return (*self.units[name], *((WRITTEN,) if name in self.written else ()))

    def unit(self, name: str, spelling: str) -> str:
        """The unit of a field that is spelled so, "" where none is."""
        return next(
            (unit for unit, many in self.units.get(name, {}).items() if spelling and spelling in many.split()), ""
        )


def _listing_complete(columns: Mapping[str, str]) -> None:
    if "id" not in columns:
        raise Invalid("mapping.id", N_("请指明哪一列是资源编号"), field="id")


_BYTES = {"GB": "g gb gib", "MB": "m mb mib", "TB": "t tb tib"}

INVENTORY = SheetPurpose(
    code="inventory",
    fields={
        "id": N_("资源编号"), "name": N_("资源名称"), "kind": N_("资源类型"), "state": N_("状态"), "arch": N_("架构"),
        "department": N_("使用单位"), "system": N_("信息系统"), "address": N_("IP 地址"), "spec": N_("规格（如 4C8G）"),
        "vcpu": N_("CPU 核数"), "memory_gb": N_("内存"), "block_gb": N_("磁盘"), "object_gb": N_("对象存储容量"),
        "bandwidth_mbps": N_("带宽"), "eip": N_("公网 IP 数"), "database": N_("数据库数"), "middleware": N_("中间件数"),
        "security": N_("安全服务数"), "cryptography": N_("密码服务数"), "accelerator": N_("加速卡数"), "profile": N_("切片规格（如 1g.10gb）"), "count": N_("数量（台、个）"),
        "memory_unit": N_("内存单位"), "block_unit": N_("磁盘单位"), "created_at": N_("开通时间"), "stopped_at": N_("关机时间"),
        "attached_to": N_("挂载到（资源编号）"), "tags": N_("标签"),
    },
    units={
        "memory_gb": _BYTES, "block_gb": _BYTES, "object_gb": _BYTES,
        "bandwidth_mbps": {"Mbps": "m mbps", "Gbps": "g gbps"},
    },
    written=frozenset({"memory_gb", "block_gb", "object_gb", "bandwidth_mbps"}),
    words={"kind": kind_of, "state": state_of, "arch": arch_of},
    owners=("department", "system"),
    complete=_listing_complete,
)  # fmt: skip

# --- usage ---------------------------------------------------------------------------------------------------------

SHARE = "0-1"
"""The unit of a share of the whole, one being all of it."""

_Units = Mapping[str, tuple[float, str]]
_PERCENT: _Units = {"%": (1, "% percent pct 百分比"), SHARE: (100, "0-1 0~1 比例 小数")}
_NET: _Units = {
    "kbit/s": (1, "kbps kbit/s kb/秒"), "Mbit/s": (1000, "mbps mbit/s 兆"), "KB/s": (KBPS_IN_KBS, "kb/s kib/s"),
    "MB/s": (KBPS_IN_KBS * 1024, "mb/s mib/s"), "B/s": (8 / 1000, "b/s byte/s bytes/s"), "bit/s": (1 / 1000, "bps bit/s"),
}  # fmt: skip
_DISK: _Units = {
    "KB/s": (1, "kb/s kib/s kbps"), "MB/s": (1024, "mb/s mib/s mbps"), "B/s": (1 / 1024, "b/s byte/s bytes/s bps"),
}  # fmt: skip
_MEMORY: _Units = {
    "MB": (1, "m mb mib"), "GB": (1024, "g gb gib"), "KB": (1 / 1024, "k kb kib"), "B": (1 / 2**20, "b byte bytes 字节"),
}  # fmt: skip
_BY_UNIT: Mapping[str, _Units] = {"%": _PERCENT, "kbit/s": _NET, "KiB/s": _DISK}

FACTORS: Mapping[str, _Units] = {
    **{name: _BY_UNIT[one.unit] for name, one in METRICS.items() if one.unit in _BY_UNIT},
    "mem_mb": _MEMORY,
    "mem_used_mb": _MEMORY,
}
"""Quantity → its units, each with the factor to the quantity's own and its spellings."""

ZONES: Mapping[str, int] = {"UTC+8": 28800, "UTC": 0}
"""Zones that times written without one may be in → seconds east of Greenwich."""

METRIC_MEANINGS: Mapping[str, ColumnMeaning] = {
    f"{name} {unit}".rstrip(): ColumnMeaning(name, float(factor))
    for name in QUANTITIES
    for unit, (factor, _many) in FACTORS.get(name, {"": (1.0, "")}).items()
}
"""What the name of a metric may mean in a sheet of a row a metric: quantity and unit."""


def metric_of(said: str) -> ColumnMeaning | None:
    """What a metric called ``said`` is: one of METRIC_MEANINGS, or a name that everybody uses."""
    return METRIC_MEANINGS.get(said) or metric(said)


def _usage_complete(columns: Mapping[str, str]) -> None:
    for name, why in (("id", N_("请指明哪一列是资源编号")), ("time", N_("请指明哪一列是时间"))):
        if name not in columns:
            raise Invalid(f"mapping.{name}", why, field=name)
    if ("metric" in columns) != ("value" in columns):
        lacking = "value" if "metric" in columns else "metric"
        raise Invalid("mapping.long", N_("指标名称和数值两列须同时指明"), field=lacking)
    measured = [name for name in columns if name in QUANTITIES]
    if "metric" in columns and measured:
        raise Invalid("mapping.both", N_("一张表或者每项用量一列，或者每行一个指标，不能两样都有"), field=measured[0])
    if "metric" not in columns and not any(name in METRICS or name == "mem_used_mb" for name in measured):
        raise Invalid("mapping.measure", N_("请至少指明一列用量"), field="cpu_pct")
    if "mem_used_mb" in columns and "mem_mb" not in columns:
        raise Invalid("mapping.memory", N_("已用内存须有内存总量才能算成使用率"), field="mem_used_mb")


USAGE = SheetPurpose(
    code="usage",
    fields={
        "id": N_("资源编号"), "time": N_("时间"), "dur_s": N_("时长（秒）"), "metric": N_("指标名称"), "value": N_("数值"),
        "cpu_pct": N_("CPU 使用率"), "mem_pct": N_("内存使用率"), "disk_pct": N_("磁盘使用率"), "card_pct": N_("加速卡使用率"),
        "net_rx_kbps": N_("入流量"), "net_tx_kbps": N_("出流量"), "disk_read_kbs": N_("磁盘读"), "disk_write_kbs": N_("磁盘写"),
        "connections": N_("连接数"), "conn_pct": N_("连接数使用率"), "steal_pct": N_("CPU 被抢占率"), "load_pct": N_("运行队列占核数比"),
        "cpu_wait_pct": N_("CPU 等待时间占比"), "mem_wait_pct": N_("内存等待时间占比"), "disk_wait_ms": N_("磁盘读写时延"), "vcpu": N_("CPU 核数"), "mem_mb": N_("内存总量"),
        "mem_used_mb": N_("已用内存"),
    },
    units={
        "time": {"UTC+8": "utc+8 gmt+8 北京时间 东八区", "UTC": "utc gmt"},
        **{name: {unit: many for unit, (_factor, many) in units.items()} for name, units in FACTORS.items()},
    },
    written=frozenset({"time"}),
    words={"metric": metric_of},
    owners=(),
    complete=_usage_complete,
)  # fmt: skip

PURPOSES: Mapping[str, SheetPurpose] = {one.code: one for one in (INVENTORY, USAGE)}


def metric_label(mean: str) -> tuple[str, str]:
    """(name for people, unit) of one of METRIC_MEANINGS."""
    name, _blank, unit = mean.partition(" ")
    return USAGE.fields[name], unit
