"""What is counted, and in what: resource classes, chip architectures, and amounts in integer base units. Pure."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NewType

from quota.errors import N_, Invalid

ClassCode = NewType("ClassCode", str)
"""Names a resource class, wherever something is counted; ``CLASSES`` tells what it means."""

# The classes that the house itself names; any other is known by its row alone.
VCPU = ClassCode("vcpu")
MEMORY = ClassCode("memory")
BLOCK = ClassCode("block")
OBJECT = ClassCode("object")
BANDWIDTH = ClassCode("bandwidth")
EIP = ClassCode("eip")
DATABASE = ClassCode("database")
MIDDLEWARE = ClassCode("middleware")
SECURITY = ClassCode("security")
CRYPTOGRAPHY = ClassCode("cryptography")
ACCELERATOR = ClassCode("accelerator")


class Arch(StrEnum):
    """Instruction set. It is a placement constraint: reclaimed x86_64 cannot serve an aarch64 request."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"
    LOONGARCH64 = "loongarch64"
    SW_64 = "sw_64"
    MIPS64 = "mips64"
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
class ResourceClass:
    """What a department can have quota of, and how it is counted: ``factor`` base units make one ``shown`` unit."""

    code: ClassCode
    group: Group
    base: str
    shown: str
    factor: int
    label: str
    by_arch: bool  # False: the chip does not matter (storage, addresses, network)
    label_en: str = ""
    resizable: bool = False  # a resource that is there can be given more or less of it
    measured: bool = False  # the lake tells how much of it is used
    recyclable: bool = True  # what is not used of it may be taken back
    ended: bool = False  # held and counted on, but nothing new of it
    whole: ClassCode = ClassCode("")  # of slices: the class of the card that they are parts of
    parts: int = 0  # of slices: how many a whole makes
    profiles: tuple[str, ...] = ()  # of slices: what clouds call the placement of one
    named: int = 0  # how often that was said anew


def profile_key(name: str) -> str:
    """A profile as it is compared: one cloud writes MIG-1g.10gb, the next mig_1g_10gb, CUSTOM_MIG_1G_10GB or nvidia.com/mig-1g.10gb."""
    told = re.sub(r"[^0-9a-z]", "", name.rpartition("/")[2].casefold())
    return told.removeprefix("custom").removeprefix("mig")


SEED = (
    ResourceClass(VCPU, Group.COMPUTE, "vCPU", "vCPU", 1, N_("vCPU"), True, "vCPU", True, True),
    ResourceClass(MEMORY, Group.COMPUTE, "MiB", "GB", 1024, N_("内存"), True, "memory", True, True),
    ResourceClass(BLOCK, Group.STORAGE, "GB", "GB", 1, N_("块存储"), False, "block storage", True, True),
    ResourceClass(OBJECT, Group.STORAGE, "GB", "GB", 1, N_("对象存储"), False, "object storage", True, True),
    ResourceClass(BANDWIDTH, Group.NETWORK, "Mbps", "Mbps", 1, N_("带宽"), False, "bandwidth", True, True),
    ResourceClass(EIP, Group.NETWORK, "个", "个", 1, N_("弹性公网IP"), False, "elastic IP", False, False),
    ResourceClass(DATABASE, Group.DATABASE, "实例", "实例", 1, N_("数据库"), True, "database", False, False),
    ResourceClass(MIDDLEWARE, Group.MIDDLEWARE, "实例", "实例", 1, N_("中间件"), True, "middleware", False, False),
    ResourceClass(SECURITY, Group.SECURITY, "套", "套", 1, N_("安全服务"), False, "security service", False, False),
    ResourceClass(CRYPTOGRAPHY, Group.SECURITY, "实例", "实例", 1, N_("密码服务"), False, "cryptography", False, False),
    ResourceClass(ACCELERATOR, Group.AI, "卡", "卡", 1, N_("加速卡"), True, "accelerator", False, True),
)

UNIT_NAMES = (N_("个"), N_("实例"), N_("套"), N_("卡"))


class Registry(Mapping[ClassCode, ResourceClass]):
    """The resource classes by their codes, in their order, as the book had them when it was last looked at.

    One for the process; ``quota.db`` has it learn the rows of the book that is open, and what they have become.
    """

    def __init__(self, classes: Iterable[ResourceClass]) -> None:
        self.learn(classes)

    def learn(self, classes: Iterable[ResourceClass]) -> None:
        """Know ``classes``, and no others, from now on."""
        known = {one.code: one for one in classes}
        self._places = {code: place for place, code in enumerate(known)}
        self._english = {one.label: one.label_en for one in known.values() if one.label_en}
        self._profiles = {profile_key(name): one.code for one in known.values() for name in one.profiles}
        self._classes = known  # last: what other threads find in it, they find in the others
        self.learnt = classes

    @property
    def stamp(self) -> int:
        """How often a class was added or ended, or its profiles were named, as far as is known here."""
        return len(self._classes) + sum(one.ended + one.named for one in self._classes.values())

    def open(self) -> list[ClassCode]:
        """The classes of which something new may be offered, asked for or built, in their order."""
        return [code for code, one in self._classes.items() if not one.ended]

    def place(self, code: ClassCode) -> int:
        """Where ``code`` stands in their order."""
        return self._places[code]

    def of_profile(self, name: str) -> ClassCode | None:
        """The class of the slices that a cloud places as ``name``; None where it is no profile that somebody named."""
        return self._profiles.get(profile_key(name))

    def english(self, label: str) -> str | None:
        """The English name of the class that is called ``label``, where it has one."""
        return self._english.get(label)

    def __getitem__(self, code: ClassCode) -> ResourceClass:
        return self._classes[code]

    def __iter__(self) -> Iterator[ClassCode]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)

    def known(self, text: str) -> ClassCode:
        """``text`` as the code that it is. Raises Invalid where no class has it."""
        code = ClassCode(text)
        if code not in self._classes:
            raise Invalid("kind.unknown", N_("没有这种资源:%(name)s"), name=text)
        return code

    def offered(self, code: ClassCode) -> ResourceClass:
        """The class of ``code``, of which something new may be. Raises Invalid where there is none, or it has ended."""
        found = self._classes[self.known(code)]
        if found.ended:
            raise Invalid("class.ended", N_("资源类别“%(name)s”已停用"), name=found.label)
        return found


CLASSES = Registry(SEED)
"""The classes that there are, those that have ended among them."""


@dataclass(frozen=True, slots=True, order=True)
class Commodity:
    """A resource class on an architecture: what an account of the ledger counts. Written ``vcpu:aarch64``."""

    kind: ClassCode
    arch: Arch

    def __str__(self) -> str:
        return f"{self.kind}:{self.arch}"

    @classmethod
    def parse(cls, text: str) -> Commodity:
        """``vcpu:aarch64`` → Commodity. Raises Invalid for anything else."""
        kind, _, arch = text.partition(":")
        try:
            return cls(CLASSES.known(kind), Arch(arch or "any"))
        except (ValueError, Invalid):
            raise Invalid("class.unknown", N_("没有这种资源类别:%(text)s"), text=text) from None

    @classmethod
    def of(cls, kind: ClassCode, arch: Arch) -> Commodity:
        """What ``kind`` is booked as on a machine of ``arch``."""
        return cls(kind, arch if CLASSES[kind].by_arch else Arch.ANY)


Shown = NewType("Shown", float)
"""A figure in the unit that people read (GB of memory), whole where it can be; never what is booked."""


class Amount(Mapping[ClassCode, int]):
    """How much of which resource classes, in integer base units. Immutable; a class that is left out: none of it.

    Everything that the house asks for, approves, holds and delivers is one of these; ``+``, ``-`` and ``*`` a number of
    pieces give another. Raises ValueError for what is no whole number, and below zero, also as the result of ``-``.
    """

    __slots__ = ("_figures", "_hash")

    def __init__(self, figures: Mapping[ClassCode, int] | Iterable[tuple[ClassCode, int]] = ()) -> None:
        if isinstance(figures, Amount):
            self._figures: dict[ClassCode, int] = figures._figures
        else:
            self._figures = {code: figure for code, figure in dict(figures).items() if figure}
            for code, figure in self._figures.items():
                if isinstance(figure, bool) or not isinstance(figure, int) or figure < 0:
                    raise ValueError(f"{figure!r} of {code} is no amount")
        self._hash: int | None = None

    @classmethod
    def from_json(cls, raw: Mapping[str, int]) -> Amount:
        """What the book has (class code → base units). Raises Invalid for unknown classes and figures that are none."""
        for name, figure in raw.items():
            CLASSES.known(name)
            if isinstance(figure, bool) or not isinstance(figure, int) or figure < 0:
                raise Invalid("amount.bad", N_("%(name)s的数量须为非负整数"), name=name)
        return cls({ClassCode(name): figure for name, figure in raw.items()})

    def to_json(self) -> dict[str, int]:
        """As the book keeps it: class code → base units, in the order in which they were given."""
        return {str(code): figure for code, figure in self._figures.items()}

    @classmethod
    def total(cls, many: Iterable[Mapping[ClassCode, int]]) -> Amount:
        """The sum, class by class."""
        result: dict[ClassCode, int] = {}
        for amount in many:
            for code, figure in amount.items():
                result[code] = result.get(code, 0) + figure
        return cls(result)

    def __getitem__(self, code: ClassCode) -> int:
        return self._figures[code]

    def __iter__(self) -> Iterator[ClassCode]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Amount):
            return self._figures == other._figures
        return self._figures == other if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._figures.items()))
        return self._hash

    def __repr__(self) -> str:
        return f"Amount({self._figures!r})"

    def __add__(self, other: Mapping[ClassCode, int]) -> Amount:
        return Amount.total((self, other))

    def __sub__(self, other: Mapping[ClassCode, int]) -> Amount:
        codes = dict.fromkeys((*self, *other))
        return Amount({code: self.get(code, 0) - other.get(code, 0) for code in codes})

    def __mul__(self, pieces: int) -> Amount:
        return Amount({code: figure * pieces for code, figure in self._figures.items()})

    def over(self, other: Mapping[ClassCode, int]) -> Amount:
        """What there is here beyond ``other``; ``-`` where there may be less."""
        return Amount({code: more for code, n in self._figures.items() if (more := n - other.get(code, 0)) > 0})

    def __or__(self, other: Mapping[ClassCode, int]) -> Amount:
        """What ``other`` names in place of what is here, the rest as it is here."""
        return Amount({**self._figures, **other})

    def differing(self, other: Mapping[ClassCode, int]) -> Amount:
        """What is not as it is in ``other``."""
        return Amount({code: figure for code, figure in self._figures.items() if other.get(code, 0) != figure})

    def within(self, other: Mapping[ClassCode, int]) -> Amount:
        """As much of it as there is in ``other``, too."""
        return Amount({code: min(figure, other.get(code, 0)) for code, figure in self._figures.items()})

    def only(self, codes: Container[ClassCode]) -> Amount:
        """What is of ``codes``."""
        return Amount({code: figure for code, figure in self._figures.items() if code in codes})

    def of_arch(self, arch: Arch) -> dict[Commodity, int]:
        """What the ledger books for a thing of this much on ``arch``."""
        return {Commodity.of(code, arch): figure for code, figure in self._figures.items()}

    def shown(self) -> dict[ClassCode, Shown]:
        """In the units that people read."""
        return {code: shown(code, figure) for code, figure in self._figures.items()}


NOTHING = Amount()


def base_units(kind: ClassCode, figure: int | float | Decimal, *, field: str = "") -> int:
    """The unit people read → base units. Raises Invalid about ``field`` for what is no whole number of them."""
    exact = (figure if isinstance(figure, Decimal) else Decimal(str(figure))) * CLASSES[kind].factor
    if not exact.is_finite() or exact != exact.to_integral_value():
        raise Invalid(
            "amount.part", N_("%(name)s须为整数个%(unit)s"),
            name=CLASSES[kind].label, unit=CLASSES[kind].base, field=field or kind,
        )  # fmt: skip
    return int(exact)


def shown(kind: ClassCode, figure: int) -> Shown:
    """Base units → the unit people read (GB for memory); a whole number stays one."""
    factor = CLASSES[kind].factor
    return Shown(figure if factor == 1 else figure // factor if figure % factor == 0 else figure / factor)
