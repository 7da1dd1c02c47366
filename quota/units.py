"""What is counted, and in what: resource kinds, chip architectures, and amounts in integer base units. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from quota.errors import N_, Invalid


class Kind(StrEnum):
    """What a department can have quota of."""

    VCPU = "vcpu"
    MEMORY = "memory"
    BLOCK = "block"
    OBJECT = "object"
    BANDWIDTH = "bandwidth"
    EIP = "eip"
    DATABASE = "database"
    MIDDLEWARE = "middleware"
    SECURITY = "security"
    CRYPTOGRAPHY = "cryptography"
    ACCELERATOR = "accelerator"


class Arch(StrEnum):
    """Instruction set. It is a placement constraint: reclaimed x86_64 cannot serve an aarch64 request."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"
    LOONGARCH64 = "loongarch64"
    SW_64 = "sw_64"
    ANY = "any"


class Group(StrEnum):
    """The six capability groups of the city's one cloud, plus AI."""

    COMPUTE = "compute"
    STORAGE = "storage"
    NETWORK = "network"
    SECURITY = "security"
    DATABASE = "database"
    MIDDLEWARE = "middleware"
    AI = "ai"


@dataclass(frozen=True, slots=True)
class Unit:
    """How one kind is counted: ``factor`` base units make one ``shown`` unit."""

    group: Group
    base: str
    shown: str
    factor: int
    label: str
    by_arch: bool  # False: the chip does not matter (storage, addresses, network)


UNITS: Mapping[Kind, Unit] = {
    Kind.VCPU: Unit(Group.COMPUTE, "vCPU", "vCPU", 1, N_("vCPU"), True),
    Kind.MEMORY: Unit(Group.COMPUTE, "MiB", "GB", 1024, N_("内存"), True),
    Kind.BLOCK: Unit(Group.STORAGE, "GB", "GB", 1, N_("块存储"), False),
    Kind.OBJECT: Unit(Group.STORAGE, "GB", "GB", 1, N_("对象存储"), False),
    Kind.BANDWIDTH: Unit(Group.NETWORK, "Mbps", "Mbps", 1, N_("带宽"), False),
    Kind.EIP: Unit(Group.NETWORK, "个", "个", 1, N_("弹性公网IP"), False),
    Kind.DATABASE: Unit(Group.DATABASE, "实例", "实例", 1, N_("数据库"), True),
    Kind.MIDDLEWARE: Unit(Group.MIDDLEWARE, "实例", "实例", 1, N_("中间件"), True),
    Kind.SECURITY: Unit(Group.SECURITY, "套", "套", 1, N_("安全服务"), False),
    Kind.CRYPTOGRAPHY: Unit(Group.SECURITY, "实例", "实例", 1, N_("密码服务"), False),
    Kind.ACCELERATOR: Unit(Group.AI, "卡", "卡", 1, N_("加速卡"), True),
}

UNIT_NAMES = (N_("个"), N_("实例"), N_("套"), N_("卡"))


@dataclass(frozen=True, slots=True, order=True)
class ResourceClass:
    """A kind on an architecture: what an account of the ledger counts. Written ``vcpu:aarch64``."""

    kind: Kind
    arch: Arch

    def __str__(self) -> str:
        return f"{self.kind}:{self.arch}"

    @classmethod
    def parse(cls, text: str) -> ResourceClass:
        """``vcpu:aarch64`` → ResourceClass. Raises Invalid for anything else."""
        kind, _, arch = text.partition(":")
        try:
            return cls(Kind(kind), Arch(arch or "any"))
        except ValueError:
            raise Invalid("class.unknown", N_("没有这种资源类别:%(text)s"), text=text) from None

    @classmethod
    def of(cls, kind: Kind, arch: Arch) -> ResourceClass:
        """The class that ``kind`` is booked under on a machine of ``arch``."""
        return cls(kind, arch if UNITS[kind].by_arch else Arch.ANY)


Amounts = Mapping[Kind, int]
"""Base units by kind; absent means none."""


def amounts(raw: Mapping[str, int]) -> dict[Kind, int]:
    """Stored JSON (kind name → base units) → amounts. Raises Invalid for unknown kinds and negative figures."""
    result: dict[Kind, int] = {}
    for name, figure in raw.items():
        if name not in Kind.__members__.values():
            raise Invalid("kind.unknown", N_("没有这种资源:%(name)s"), name=name)
        if isinstance(figure, bool) or not isinstance(figure, int) or figure < 0:
            raise Invalid("amount.bad", N_("%(name)s的数量须为非负整数"), name=name)
        if figure:
            result[Kind(name)] = figure
    return result


def total(many: Iterable[Amounts]) -> dict[Kind, int]:
    """The sum of amounts, kind by kind."""
    result: dict[Kind, int] = {}
    for one in many:
        for kind, figure in one.items():
            result[kind] = result.get(kind, 0) + figure
    return result


def times(one: Amounts, count: int) -> dict[Kind, int]:
    """``count`` pieces of ``one``."""
    return {kind: figure * count for kind, figure in one.items()}


def classes(one: Amounts, arch: Arch) -> dict[ResourceClass, int]:
    """Amounts of a thing on ``arch`` → what the ledger books."""
    return {ResourceClass.of(kind, arch): figure for kind, figure in one.items() if figure}


def shown(kind: Kind, figure: int) -> float | int:
    """Base units → the unit people read (GB for memory)."""
    factor = UNITS[kind].factor
    return figure if factor == 1 else (figure // factor if figure % factor == 0 else figure / factor)
