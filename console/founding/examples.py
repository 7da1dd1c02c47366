"""Ready-made things to begin with, marked 示例 and without prices: a catalogue, and the example city of the workbook. Pure."""

from __future__ import annotations

from datetime import date
from typing import Any

_CHIPS = "x86_64、aarch64"


def _machine(cores: int, memory: int) -> dict[str, Any]:
    return {
        "code": f"vm-{cores}c{memory}g", "name": f"云主机 {cores}C{memory}G", "name_en": f"VM {cores}C{memory}G",
        "service": "云主机", "archs": _CHIPS, "unit": "台·月", "delivery_days": 2, "takes_vcpu": cores,
        "takes_memory": memory,
    }  # fmt: skip


def _one(code: str, name: str, english: str, service: str, kind: str, unit: str, archs: str = "不限", days: int = 2,
         figure: int = 1) -> dict[str, Any]:  # fmt: skip
    return {
        "code": code, "name": name, "name_en": english, "service": service, "archs": archs, "unit": unit,
        "delivery_days": days, f"takes_{kind}": figure,
    }  # fmt: skip


CATALOGUE: list[dict[str, Any]] = [
    *(_machine(cores, memory) for cores, memory in (
        (2, 4), (4, 8), (8, 16), (16, 32), (2, 8), (4, 16), (8, 32), (16, 64), (32, 64), (32, 128),
    )),
    _one("volume-1g", "云硬盘 1 GB", "Volume 1 GB", "云硬盘", "block", "GB·月"),
    _one("object-1g", "对象存储 1 GB", "Object store 1 GB", "对象存储", "object", "GB·月"),
    _one("eip", "弹性公网IP", "Elastic IP", "弹性公网IP", "eip", "个·月"),
    _one("bandwidth-1m", "带宽 1 Mbps", "Bandwidth 1 Mbps", "带宽", "bandwidth", "Mbps·月"),
    _one("db", "关系型数据库", "Relational database", "数据库", "database", "实例·月", _CHIPS),
    _one("mw", "应用中间件", "Application middleware", "中间件", "middleware", "实例·月", _CHIPS),
    _one("security", "安全服务", "Security service", "安全服务", "security", "套·年"),
    _one("cryptography", "密码服务", "Cryptography service", "密码服务", "cryptography", "实例·月"),
    _one("card", "加速卡", "Accelerator card", "加速卡", "accelerator", "卡·月", _CHIPS, 10),
]  # fmt: skip
"""Rows of the sheet 服务目录: the shapes that cities use, and a unit of each other class."""

CITY: dict[str, list[dict[str, Any]]] = {
    "city": [
        {"item": "城市名称", "value": "示例市"},
        {"item": "主管部门名称", "value": "示例市政务服务和数据管理局"},
        {"item": "采用现成服务目录", "value": "是"},
        {"item": "采用现成审批规则", "value": "是"},
        {"item": "采用现成评估策略", "value": "是"},
    ],
    "companies": [
        {
            "code": "shili", "name": "示例云科技有限公司", "contract_number": "示例-2026-01",
            "contract_from": date(2026, 1, 1), "contract_until": date(2028, 12, 31),
            "contacts": "示例联系人,运维值班,020-00000000,ops@example.com",
        }
    ],
    "departments": [
        {"code": "A00", "name": "市直单位（示例）"},
        {"code": "A01", "name": "市教育局（示例）", "parent": "A00"},
        {"code": "A02", "name": "市水务局（示例）", "parent": "A00"},
    ],
    "people": [
        {"login": "zhuguan", "name": "示例主管", "role": "主管部门"},
        {"login": "jiandu1", "name": "示例监督甲", "role": "运营监督方"},
        {"login": "jiandu2", "name": "示例监督乙", "role": "运营监督方"},
        {"login": "jiaoyu", "name": "示例教育", "role": "使用单位", "department": "A01"},
        {"login": "shuiwu", "name": "示例水务", "role": "使用单位", "department": "A02"},
        {"login": "yunwei", "name": "示例运维", "role": "云服务商", "provider": "shili"},
        {"login": "shenji", "name": "示例审计", "role": "审计观察员"},
    ],
    "systems": [
        {"code": "S001", "name": "学籍管理系统（示例）", "department": "A01", "mlps_level": 3, "owner": "示例负责人"},
        {"code": "S002", "name": "水情监测系统（示例）", "department": "A02", "mlps_level": 2},
    ],
    "pools": [
        {
            "code": "gov-x86", "name": "政务外网池（示例）", "provider": "shili", "arch": "x86_64", "zone": "政务外网",
            "xinchuang": "否", "adapter": "files",
        }
    ],
    "connections": [{"pool": "gov-x86", "option": "folder", "value": "{home}/pools/gov-x86"}],
    "capacity": [
        {"pool": "gov-x86", "kind": "vCPU", "total": 512, "reserved": 16, "ratio": 1, "reason": "首次投入（示例）"},
        {"pool": "gov-x86", "kind": "内存", "total": 2048, "reserved": 64, "ratio": 1, "reason": "首次投入（示例）"},
        {"pool": "gov-x86", "kind": "块存储", "total": 50000, "reason": "首次投入（示例）"},
    ],
}  # fmt: skip
"""Rows of every sheet of the example city."""
