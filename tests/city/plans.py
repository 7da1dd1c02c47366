"""What a city of the tests can be founded with. Each plan is drawn; a test that needs another says ``replace(PLAN, …)``.

TOWN         company c ── pool x86 (100 vCPU, 400 GB, 1000 GB block, not 信创)      bureau ── branch     system of bureau
             company o └─ pool arm (200 vCPU, 800 GB, 1000 GB block, 8 cards, 信创)  neighbour            item 4C8G
             where it acts: arm, bureau; the default rules; people of every role, for both departments and companies

WORKS        haichen ── pool (gov-arm, simulated: 1792 vCPU …)      bureau ── system     item 4C8G
             lantu   ── hand (the same, no adapter that acts)       neighbour
             bureau is granted 32 vCPU and 128 GB in both pools and uses nothing yet

CASES        company ── pool (x86_64: 2000 vCPU, 4000 GB, 10,000 GB block, 50 addresses)     department     other
             the first policy in force; supervisor signs notices, second and authority may rule, tenant answers

STATEMENTS   jia ── pool jia (aarch64)     d1
             yi  ── pool yi (x86_64)       d2     nothing in them: listings, samples and prices come by hand

CONSOLE      provider (甲云)     A01 市教育局     A02 市水务局
             <role>1 and <role>2 of every role with passwords; tenant1 in A01, tenant2 in A02; both providers of 甲云

CONSOLE_POOL beside CONSOLE: pool p1 政务外网区 (aarch64, 信创: 200 vCPU, 400 GB, 1000 GB block, 4 cards), the default
             rules, items small 4C8G and large 8C16G; A01 is granted 40 vCPU and 80 GB
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from metering.judging.procedure import Procedure
from providers.adapters.simulated.city import CityCapacity
from providers.adapters.simulated.city import pools as simulated_pools
from quota.actors import Role
from quota.units import MEMORY, NOTHING, VCPU, Amount, Arch, ClassCode

GB = 1024
SMALL: Amount = Amount({VCPU: 4, MEMORY: 8 * GB})
LARGE: Amount = Amount({VCPU: 8, MEMORY: 16 * GB})


@dataclass(frozen=True)
class PoolPlan:
    company: str
    arch: Arch = Arch.AARCH64
    capacities: Sequence[CityCapacity] = ()
    code: str = ""  # or as the plan calls it
    name: str = ""
    zone: str = "政务外网"
    xinchuang: bool = False
    adapter: str = "files"


@dataclass(frozen=True)
class DepartmentPlan:
    code: str
    name: str
    above: str = ""  # a name of the plan


@dataclass(frozen=True)
class PersonPlan:
    role: Role
    department: str = ""
    company: str = ""
    login: str = ""  # or as the plan calls them
    name: str = ""


@dataclass(frozen=True)
class Plan:
    """What each is called (``city.<name>`` gives it) → what it is. Where it acts unless told: the pool named ``at``,
    or the first, and the first department."""

    companies: Mapping[str, tuple[str, str]]
    """name → (code, name)"""
    departments: Mapping[str, DepartmentPlan]
    pools: Mapping[str, PoolPlan] = field(default_factory=dict)
    at: str = ""
    systems: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    """name → (code, name, department)"""
    items: Mapping[str, tuple[str, str, Amount, Sequence[Arch]]] = field(default_factory=dict)
    """name → (code, name, shape, architectures)"""
    people: Mapping[str, PersonPlan] = field(default_factory=dict)
    enrolled: bool = False
    """Two people of every role with passwords, too."""
    ruled: bool = False
    """Whether the default rules say who must sign a request, from ``ruled_from`` or the founding on."""
    ruled_from: date | None = None
    granted: Amount = NOTHING
    """To the first department, in every pool."""
    judged: bool = False
    """Whether a policy is in force."""
    procedure: Procedure | None = None
    """How cases are handled, where it differs."""


def _all(**totals: int) -> tuple[CityCapacity, ...]:
    return tuple(CityCapacity(ClassCode(kind), total, 0, Decimal(1)) for kind, total in totals.items())


TOWN = Plan(
    companies={"company": ("c", "某云"), "other_company": ("o", "另一朵云")},
    pools={
        "x86": PoolPlan("company", Arch.X86_64, _all(vcpu=100, memory=400 * GB, block=1000)),
        "arm": PoolPlan(
            "company", Arch.AARCH64, _all(vcpu=200, memory=800 * GB, block=1000, accelerator=8), xinchuang=True
        ),
    },
    at="arm",
    departments={
        "bureau": DepartmentPlan("b", "某局"),
        "branch": DepartmentPlan("b1", "某局信息中心", above="bureau"),
        "neighbour": DepartmentPlan("n", "邻局"),
    },
    systems={"system": ("s", "一网通办", "bureau")},
    items={"item": ("4c8g", "4C8G", SMALL, (Arch.X86_64, Arch.AARCH64))},
    people={
        "clerk": PersonPlan(Role.TENANT, "bureau"),
        "branch_clerk": PersonPlan(Role.TENANT, "branch"),
        "stranger": PersonPlan(Role.TENANT, "neighbour"),
        "checker": PersonPlan(Role.SUPERVISOR),
        "reviewer": PersonPlan(Role.SUPERVISOR),
        "chief": PersonPlan(Role.AUTHORITY),
        "operator": PersonPlan(Role.PROVIDER, company="company"),
        "rival": PersonPlan(Role.PROVIDER, company="other_company"),
        "auditor": PersonPlan(Role.AUDITOR),
        "sysadmin": PersonPlan(Role.SYSADMIN),
    },
    ruled=True,
)

_ARM = next(one for one in simulated_pools() if one.code == "gov-arm")

WORKS = Plan(
    companies={"haichen": ("haichen", "haichen"), "lantu": ("lantu", "lantu")},
    pools={
        "pool": PoolPlan(
            "haichen",
            Arch.AARCH64,
            _ARM.capacities,
            "gov-arm",
            "gov-arm",
            _ARM.zone,
            xinchuang=True,
            adapter="simulated",
        ),
        "hand": PoolPlan("lantu", Arch.AARCH64, _ARM.capacities, zone=_ARM.zone, xinchuang=True),
    },
    departments={"bureau": DepartmentPlan("b1", "某局"), "neighbour": DepartmentPlan("b2", "邻局")},
    systems={"system": ("p1", "门户", "bureau")},
    items={"item": ("4C8G", "4 核 8 GB", SMALL, (Arch.AARCH64,))},
    people={
        "clerk": PersonPlan(Role.TENANT, "bureau"),
        "stranger": PersonPlan(Role.TENANT, "neighbour"),
        "checker": PersonPlan(Role.SUPERVISOR),
        "reviewer": PersonPlan(Role.SUPERVISOR),
        "chief": PersonPlan(Role.AUTHORITY),
        "operator": PersonPlan(Role.PROVIDER, company="haichen"),
        "rival": PersonPlan(Role.PROVIDER, company="lantu"),
        "auditor": PersonPlan(Role.AUDITOR),
    },
    ruled=True,
    ruled_from=date(2026, 1, 1),
    granted={VCPU: 32, MEMORY: 128 * GB},
)

CASES = Plan(
    companies={"company": ("c", "某云")},
    pools={
        "pool": PoolPlan(
            "company", Arch.X86_64, _all(vcpu=2000, memory=4000 * GB, block=10_000, eip=50), "p", "政务外网区"
        )
    },
    departments={"department": DepartmentPlan("d1", "某局"), "other": DepartmentPlan("d2", "另一局")},
    people={
        "supervisor": PersonPlan(Role.SUPERVISOR, login="wang", name="王"),
        "second": PersonPlan(Role.SUPERVISOR, login="li", name="李"),
        "authority": PersonPlan(Role.AUTHORITY, login="zhao", name="赵"),
        "tenant": PersonPlan(Role.TENANT, "department", login="qian", name="钱"),
        "stranger": PersonPlan(Role.TENANT, "other", login="sun", name="孙"),
        "provider": PersonPlan(Role.PROVIDER, company="company", login="zhou", name="周"),
    },
    judged=True,
)

STATEMENTS = Plan(
    companies={"jia_company": ("jia", "jia云"), "yi_company": ("yi", "yi云")},
    pools={"jia": PoolPlan("jia_company"), "yi": PoolPlan("yi_company", Arch.X86_64)},
    departments={"first": DepartmentPlan("d1", "d1"), "second": DepartmentPlan("d2", "d2")},
    people={
        "authority": PersonPlan(Role.AUTHORITY, login="zhao", name="赵"),
        "supervisor": PersonPlan(Role.SUPERVISOR, login="wang", name="王"),
    },
)

CONSOLE = Plan(
    companies={"provider": ("jia", "甲云")},
    departments={"first": DepartmentPlan("A01", "市教育局"), "second": DepartmentPlan("A02", "市水务局")},
    enrolled=True,
)

CONSOLE_POOL = Plan(
    companies={},
    pools={
        "pool": PoolPlan(
            "provider",
            Arch.AARCH64,
            _all(vcpu=200, memory=400 * GB, block=1000, accelerator=4),
            "p1",
            "政务外网区",
            xinchuang=True,
        )
    },
    departments={},
    items={
        "small": ("4C8G", "4C8G", SMALL, (Arch.AARCH64,)),
        "large": ("8C16G", "8C16G", LARGE, (Arch.AARCH64,)),
    },
    ruled=True,
    granted={VCPU: 40, MEMORY: 80 * GB},
)
