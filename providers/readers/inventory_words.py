"""The words of inventory files: headers, kinds, chips, states and units as people write them, in both
languages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from providers.base import ResourceState, ServiceKind
from providers.readers.usage_columns import plain
from quota.units import (
    ACCELERATOR,
    BANDWIDTH,
    BLOCK,
    CRYPTOGRAPHY,
    DATABASE,
    EIP,
    MEMORY,
    MIDDLEWARE,
    OBJECT,
    SECURITY,
    VCPU,
    Arch,
    ClassCode,
)


@dataclass(frozen=True, slots=True)
class AmountColumn:
    """A column that holds an amount: of which kind, in what unit, and how many base units that is."""

    kind: ClassCode
    unit: str
    factor: float = 1.0


AMOUNTS: Mapping[str, AmountColumn] = {
    "vcpu": AmountColumn(VCPU, "core"),
    "memory_gb": AmountColumn(MEMORY, "gb", 1024),
    "memory_mb": AmountColumn(MEMORY, "mb"),
    "block_gb": AmountColumn(BLOCK, "gb"),
    "object_gb": AmountColumn(OBJECT, "gb"),
    "bandwidth_mbps": AmountColumn(BANDWIDTH, "mbps"),
    "eip": AmountColumn(EIP, "piece"),
    "database": AmountColumn(DATABASE, "piece"),
    "middleware": AmountColumn(MIDDLEWARE, "piece"),
    "security": AmountColumn(SECURITY, "piece"),
    "cryptography": AmountColumn(CRYPTOGRAPHY, "piece"),
    "accelerator": AmountColumn(ACCELERATOR, "piece"),
}

SUFFIXES: Mapping[str, Mapping[str, float]] = {
    "core": {"": 1, "核": 1, "c": 1, "vcpu": 1, "core": 1, "cores": 1},
    "gb": {
        "": 1,
        "g": 1,
        "gb": 1,
        "gib": 1,
        "t": 1024,
        "tb": 1024,
        "tib": 1024,
        "m": 1 / 1024,
        "mb": 1 / 1024,
        "mib": 1 / 1024,
    },
    "mb": {"": 1, "m": 1, "mb": 1, "mib": 1, "g": 1024, "gb": 1024, "gib": 1024, "t": 2**20, "tb": 2**20, "tib": 2**20},
    "mbps": {"": 1, "m": 1, "mbps": 1, "兆": 1, "g": 1000, "gbps": 1000},
    "piece": {"": 1, "个": 1, "台": 1, "套": 1, "实例": 1, "卡": 1, "张": 1, "块": 1},
}
"""What may stand behind a figure, by the unit of its column."""

UNSAID_UNITS: Mapping[str, str] = {
    "memory": "GB", "内存": "GB", "磁盘": "GB", "硬盘": "GB", "云硬盘": "GB", "存储": "GB", "块存储": "GB", "容量": "GB",
    "对象存储": "GB", "bandwidth": "Mbps", "带宽": "Mbps",
}  # fmt: skip
"""Headers that name no unit, and the one that their bare figures are read in."""

MOST: Mapping[ClassCode, int] = {VCPU: 65_534, MEMORY: 2**32 - 2}
MOST_OF_ANY = 10**12

NEEDED: Mapping[ServiceKind, tuple[ClassCode, ...]] = {
    ServiceKind.VM: (VCPU, MEMORY),
    ServiceKind.BARE_METAL: (VCPU, MEMORY),
    ServiceKind.VOLUME: (BLOCK,),
    ServiceKind.OBJECT_STORE: (OBJECT,),
    ServiceKind.BANDWIDTH: (BANDWIDTH,),
}
"""Amounts that a row of this kind must state."""

MAY_BE_ZERO = frozenset({OBJECT})
"""Amounts that a thing may have none of: an empty bucket is one."""

COUNTED: Mapping[ServiceKind, ClassCode] = {
    ServiceKind.EIP: EIP,
    ServiceKind.DATABASE: DATABASE,
    ServiceKind.MIDDLEWARE: MIDDLEWARE,
    ServiceKind.SECURITY: SECURITY,
    ServiceKind.CRYPTOGRAPHY: CRYPTOGRAPHY,
    ServiceKind.ACCELERATOR: ACCELERATOR,
}
"""Kinds where a row that states no amount is one piece."""


def _index(words: Mapping[str, str]) -> dict[str, str]:
    return {plain(word): name for name, many in words.items() for word in (name, *many.split())}


HEADERS: Mapping[str, str] = _index(
    {
        "id": "resource_id external_id vm_id instance_id server_id uuid 资源编号 资源id 云主机id 云主机编号 云服务器id 云服务器编号 "
        "虚拟机id 虚拟机编号 实例id 实例编号 主机id 设备编号 编号",
        "name": "resource_name instance_name host hostname 名称 资源名称 云主机名称 云服务器名称 虚拟机名称 实例名称 主机名 主机名称",
        "kind": "type 类型 资源类型 服务类型",
        "arch": "architecture 架构 芯片架构 cpu架构 芯片 指令集",
        "spec": "flavor 规格 配置",
        "vcpu": "vcpus cpu cpu_cores 核数 cpu核数 vcpu数 cpu(核) vcpu(核)",
        "memory_gb": "memory 内存 内存(gb) 内存(g)",
        "memory_mb": "内存(mb) 内存(m)",
        "block_gb": "disk_gb volume_gb 磁盘 磁盘(gb) 硬盘 硬盘(gb) 云硬盘 云硬盘(gb) 存储 存储(gb) 块存储 块存储(gb) "
        "容量 容量(gb)",
        "object_gb": "对象存储 对象存储(gb)",
        "bandwidth_mbps": "bandwidth 带宽 带宽(mbps) 带宽(m)",
        "eip": "eips 弹性公网ip数 公网ip数",
        "database": "databases 数据库数",
        "middleware": "中间件数",
        "security": "安全服务数",
        "cryptography": "密码服务数",
        "accelerator": "accelerators gpus 加速卡 加速卡数 卡数",
        "profile": "slice_profile mig_profile mig vnpu 切片规格 切片模板 切分规格 mig规格 vnpu模板 dcu切片",
        "department": "department_code 单位 单位编码 使用单位 部门",
        "system": "system_code 系统 信息系统 系统编码 系统名称 所属系统",
        "state": "status 状态 运行状态",
        "created_at": "created 创建时间 开通时间 开通日期 上线日期 交付日期",
        "stopped_at": "stopped 关机时间 停用时间",
        "attached_to": "attached 挂载到 挂载主机 绑定资源 关联资源",
        "address": "ip ip_address ip地址 内网ip 地址",
        "tags": "labels 标签",
        "count": "数量 台数 个数 数量(台) 数量(个)",
        "memory_unit": "内存单位",
        "block_unit": "磁盘单位 硬盘单位 存储单位 容量单位",
    }
)

KINDS: Mapping[str, str] = _index(
    {
        "vm": "server ecs 云主机 虚拟机 云服务器 弹性云服务器",
        "bare_metal": "bms 裸金属 物理机 裸金属服务器",
        "volume": "disk evs 云硬盘 磁盘 块存储",
        "object_store": "bucket obs oss 对象存储",
        "eip": "floating_ip 弹性公网ip 公网ip",
        "bandwidth": "带宽",
        "database": "rds 数据库 云数据库",
        "middleware": "中间件",
        "security": "安全 安全服务",
        "cryptography": "密码 密码服务",
        "accelerator": "gpu npu 加速卡",
        "other": "其他 其他服务",
        "snapshot": "快照",
        "image": "镜像",
        "load_balancer": "slb elb 负载均衡",
    }
)

ARCHES: Mapping[str, str] = _index(
    {
        "x86_64": "x86 amd64 x64 intel 海光 兆芯",
        "aarch64": "arm arm64 鲲鹏 飞腾",
        "loongarch64": "loongarch 龙芯",
        "sw_64": "申威",
        "mips64": "mips mips64el",
        "any": "不限",
    }
)

STATES: Mapping[str, str] = _index(
    {
        "running": "active on up 运行 运行中 开机 已开机 使用中",
        "stopped": "shutoff off down 关机 已关机 停机 已停机 停止 已停止",
        "recycled": "soft_deleted 回收站 已回收",
        "deleted": "已删除 删除 已退订",
        "error": "故障 异常 错误",
        "building": "build 创建中 正在创建",
        "changing": "resize verify_resize 变更中 调整中",
    }
)

OWNERLESS = frozenset(word for words in SUFFIXES.values() for word in words if len(word) > 1 or not word.isascii())
"""Words under 单位 that name a unit of measure, not who uses it."""

SPEC = re.compile(r"(\d+)\s*(?:c|核|v?cpu)\s*[/|,+x×\s]*\s*(\d+(?:\.\d+)?)\s*(?:g|gb|gib)?", re.I)
"""4C8G, 4核8GB, 4vCPU 8G."""


def kind_of(text: str) -> ServiceKind | None:
    found = KINDS.get(plain(text))
    return None if found is None else ServiceKind(found)


def arch_of(text: str) -> Arch | None:
    found = ARCHES.get(plain(text))
    return None if found is None else Arch(found)


def state_of(text: str) -> ResourceState | None:
    found = STATES.get(plain(text))
    return None if found is None else ResourceState(found)
