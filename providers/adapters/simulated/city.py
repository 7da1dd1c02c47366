"""The simulated city 云港市 as plain data: departments, systems, companies, pools and the service catalogue.

Everything here is invented; a new book can be seeded from it. Amounts in base units of quota.units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from zlib import crc32

from providers.adapters.simulated.agencies import AGENCIES, GROUPS
from providers.base import ServiceKind
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

CITY = "云港市"


@dataclass(frozen=True, slots=True)
class CityDepartment:
    """A department; ``grouping`` marks a node of the tree that only holds others and uses nothing itself."""

    code: str
    name: str
    parent_code: str | None
    grouping: bool = False


@dataclass(frozen=True, slots=True)
class CitySystem:
    """An information system; ``rhythm`` names the simulated_load.Load of its business."""

    code: str
    name: str
    department_code: str
    mlps_level: int
    owner: str
    online_on: date
    registered_users: int
    monthly_active_users: int
    last_business_login_on: date
    pools: tuple[str, ...]
    rhythm: str
    zombie: bool


@dataclass(frozen=True, slots=True)
class CityCompany:
    code: str
    name: str


@dataclass(frozen=True, slots=True)
class CityCapacity:
    """What may be given out of a kind is ⌊(total − reserved) × ratio⌋."""

    kind: ClassCode
    total: int
    reserved: int
    ratio: Decimal

    @property
    def usable(self) -> int:
        return int((self.total - self.reserved) * self.ratio)


@dataclass(frozen=True, slots=True)
class CityPool:
    code: str
    name: str
    company_code: str
    arch: Arch
    zone: str
    xinchuang: bool
    capacities: tuple[CityCapacity, ...]


@dataclass(frozen=True, slots=True)
class CityItem:
    """One catalogue item. ``amounts``: what one piece takes; ``archs``: (Arch.ANY,) where no chip matters."""

    code: str
    name: str
    name_en: str
    service: ServiceKind
    amounts: Mapping[ClassCode, int]
    archs: tuple[Arch, ...]
    unit: str
    delivery_days: int


NET, GOV, XIN = "net-x86", "gov-x86", "gov-arm"
_POOL_OF = {"n": NET, "g": GOV, "x": XIN}


def departments() -> tuple[CityDepartment, ...]:
    """40 using units below two groupings (市直部门, 各区), parents first."""
    groups = tuple(CityDepartment(code, name, None, grouping=True) for code, name in GROUPS)
    return groups + tuple(
        CityDepartment(one.code, CITY.removesuffix("市") + one.name if one.group == "SZ" else one.name, one.group)
        for one in AGENCIES
    )


def systems(epoch: date) -> tuple[CitySystem, ...]:
    """116 systems as their owners would report them on ``epoch``; ten are zombies."""
    found = []
    for agency in AGENCIES:
        for number, text in enumerate(agency.systems, 1):
            name, level, where, rhythm, *rest = text.split()
            code = f"{agency.code}-{number:02d}"
            dice = crc32(code.encode())
            zombie = bool(rest)
            citizens = "n" in where and rhythm != "office"
            registered = (20_000 + dice % 900_000) if citizens else 80 + dice % 3_000
            share = 1 + dice % 3 if zombie else 22 + dice % 55
            quiet = 95 + dice % 300 if zombie and dice % 2 else dice % 3
            found.append(
                CitySystem(
                    code,
                    name,
                    agency.code,
                    int(level),
                    "信息化管理岗",
                    date(2017, 1, 1) + timedelta(days=dice % 2600),
                    registered,
                    registered * share // 100,
                    epoch - timedelta(days=quiet),
                    tuple(_POOL_OF[letter] for letter in where),
                    rhythm,
                    zombie,
                )
            )
    return tuple(found)


def companies() -> tuple[CityCompany, ...]:
    """Two companies; the second one's bills and reports are the less careful."""
    return CityCompany("haichen", "海辰云科技有限公司"), CityCompany("lantu", "澜图数据股份有限公司")


def _capacities(**figures: tuple[int, int, str]) -> tuple[CityCapacity, ...]:
    return tuple(
        CityCapacity(ClassCode(name), total, reserved, Decimal(ratio))
        for name, (total, reserved, ratio) in figures.items()
    )


def pools() -> tuple[CityPool, ...]:
    """Three pools. Ratios: vCPU overcommitted, memory and everything else not."""
    return (
        CityPool(
            NET,
            "互联网区 x86 资源池",
            "haichen",
            Arch.X86_64,
            "互联网区",
            False,
            _capacities(
                vcpu=(1_280, 128, "3"),
                memory=(8_192 * 1024, 512 * 1024, "1"),
                block=(40_000, 2_000, "1"),
                object=(100_000, 0, "1"),
                bandwidth=(1_500, 100, "1"),
                eip=(128, 8, "1"),
                database=(40, 2, "1"),
                middleware=(24, 2, "1"),
                security=(20, 0, "1"),
                cryptography=(12, 2, "1"),
                accelerator=(8, 0, "1"),
            ),
        ),
        CityPool(
            GOV,
            "政务外网区 x86 资源池",
            "lantu",
            Arch.X86_64,
            "政务外网区",
            False,
            _capacities(
                vcpu=(1_024, 96, "3"),
                memory=(12_288 * 1024, 1_024 * 1024, "1"),
                block=(48_000, 2_400, "1"),
                object=(120_000, 0, "1"),
                bandwidth=(800, 100, "1"),
                database=(40, 2, "1"),
                middleware=(24, 2, "1"),
                security=(20, 0, "1"),
                cryptography=(12, 2, "1"),
                accelerator=(16, 0, "1"),
            ),
        ),
        CityPool(
            XIN,
            "政务外网区信创资源池",
            "haichen",
            Arch.AARCH64,
            "政务外网区",
            True,
            _capacities(
                vcpu=(1_024, 128, "2"),
                memory=(8_192 * 1024, 512 * 1024, "1"),
                block=(24_000, 1_200, "1"),
                object=(80_000, 0, "1"),
                bandwidth=(800, 100, "1"),
                database=(24, 2, "1"),
                middleware=(16, 2, "1"),
                security=(12, 0, "1"),
                cryptography=(12, 2, "1"),
                accelerator=(48, 4, "1"),
            ),
        ),
    )


CHIPS = (Arch.X86_64, Arch.AARCH64)
SHAPES = ((2, 4), (4, 8), (8, 16), (16, 32), (2, 8), (4, 16), (8, 32), (16, 64), (32, 64), (32, 128))


_ANY = (Arch.ANY,)
_X86 = (Arch.X86_64,)
_ARM = (Arch.AARCH64,)


def catalogue() -> tuple[CityItem, ...]:
    """All seven capability groups; the VM shapes are those that cities use."""
    return (*_machines(), *_storage(), *_network(), *_services(), *_cards())


def _machines() -> Iterator[CityItem]:
    for c, g in SHAPES:
        takes = {VCPU: c, MEMORY: g * 1024}
        name, english = f"云主机 {c}C{g}G", f"Cloud server {c}C{g}G"
        yield CityItem(f"vm-{c}c{g}g", name, english, ServiceKind.VM, takes, CHIPS, "台·月", 2)
    for c, archs in ((64, _X86), (96, _ARM)):
        takes = {VCPU: c, MEMORY: 512 * 1024}
        name, english = f"裸金属 {c}C512G", f"Bare metal {c}C512G"
        yield CityItem(f"bm-{c}c512g", name, english, ServiceKind.BARE_METAL, takes, archs, "台·月", 10)


def _storage() -> Iterator[CityItem]:
    for size in (100, 500, 1000, 2000):
        name, english, takes = f"云硬盘 {size} GB", f"Volume {size} GB", {BLOCK: size}
        yield CityItem(f"volume-{size}g", name, english, ServiceKind.VOLUME, takes, _ANY, "GB·月", 2)
    for tera in (1, 5, 20):
        name, english, takes = f"对象存储 {tera} TB", f"Object store {tera} TB", {OBJECT: tera * 1000}
        yield CityItem(f"object-{tera}t", name, english, ServiceKind.OBJECT_STORE, takes, _ANY, "GB·月", 2)


def _network() -> Iterator[CityItem]:
    yield CityItem("eip", "弹性公网IP", "Elastic IP", ServiceKind.EIP, {EIP: 1}, _X86, "个·月", 2)
    for speed in (10, 50, 100, 200):
        name, english, takes = f"带宽 {speed} Mbps", f"Bandwidth {speed} Mbps", {BANDWIDTH: speed}
        yield CityItem(f"bandwidth-{speed}m", name, english, ServiceKind.BANDWIDTH, takes, _ANY, "Mbps·月", 2)


_SERVICES: tuple[tuple[ServiceKind, ClassCode, tuple[Arch, ...], str, int, tuple[tuple[str, str, str], ...]], ...] = (
    (
        ServiceKind.DATABASE, DATABASE, CHIPS, "实例·月", 2,
        (
            ("db-relational", "关系型数据库（主备）", "Relational database (primary/standby)"),
            ("db-domestic", "国产关系型数据库（主备）", "Domestic relational database"),
            ("db-columnar", "分析型数据库", "Analytical database"),
        ),
    ),
    (
        ServiceKind.MIDDLEWARE, MIDDLEWARE, CHIPS, "实例·月", 2,
        (
            ("mw-queue", "消息队列", "Message queue"),
            ("mw-cache", "分布式缓存", "Cache"),
            ("mw-gateway", "API 网关", "API gateway"),
        ),
    ),
    (
        ServiceKind.SECURITY, SECURITY, _ANY, "套·年", 2,
        (
            ("sec-waf", "Web 应用防火墙", "Web application firewall"),
            ("sec-bastion", "堡垒机", "Bastion host"),
            ("sec-audit", "日志审计", "Log audit"),
        ),
    ),
    (
        ServiceKind.CRYPTOGRAPHY, CRYPTOGRAPHY, _ANY, "实例·月", 5,
        (
            ("crypto-hsm", "云密码机", "Cloud HSM"),
            ("crypto-sign", "签名验签", "Signing"),
        ),
    ),
)  # fmt: skip
# Service, what one piece takes, chips, unit, days; then each item's code and names.


def _services() -> Iterator[CityItem]:
    for service, kind, archs, unit, days, items in _SERVICES:
        for code, name, english in items:
            yield CityItem(code, name, english, service, {kind: 1}, archs, unit, days)


def _cards() -> Iterator[CityItem]:
    for chip, archs in (("NPU", _ARM), ("GPU", _X86)):
        code, name, english = f"{chip.lower()}-card", f"{chip} 加速卡", f"{chip} card"
        yield CityItem(code, name, english, ServiceKind.ACCELERATOR, {ACCELERATOR: 1}, archs, "卡·月", 10)
