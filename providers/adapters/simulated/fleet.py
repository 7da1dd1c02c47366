"""The resources that the simulated city begins with, pool by pool, and what the life of one looks like."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from zlib import crc32

import numpy as np

from providers.adapters.simulated.city import GOV, NET, SHAPES, XIN, CityPool, CitySystem, systems
from providers.adapters.simulated.load import Load
from providers.base import ResourceState, ServiceKind
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

ZONE = timezone(timedelta(hours=8))
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class FleetChange:
    """From ``at`` (epoch seconds) on the resource is in ``state`` and has ``amounts``."""

    at: int
    state: ResourceState
    amounts: Mapping[ClassCode, int]


@dataclass(slots=True)
class Machine:
    """One resource of any kind. ``seat``: vCPU and MiB of an instance that is not sold by vCPU.

    ``load`` decides what it demands. In epoch seconds: ``turn``, when a frozen or ghost machine ceased to
    live; ``detached_at``, when a volume or address was taken off its ``host``; when each snapshot was
    made.
    """

    external_id: str
    name: str
    kind: ServiceKind
    arch: Arch
    department: str | None
    system: str | None
    load: Load
    life: list[FleetChange]
    seat: tuple[int, int] = (0, 0)
    host: str | None = None
    detached_at: int | None = None
    address: str | None = None
    turn: int | None = None
    snapshots: list[tuple[int, str]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    def at(self, moment: int) -> FleetChange | None:
        """What it is at ``moment``; None before it was created."""
        index = bisect_right(self.life, moment, key=lambda one: one.at)
        return self.life[index - 1] if index else None

    def size(self, amounts: Mapping[ClassCode, int]) -> tuple[int, int]:
        """What its demand is measured against: (cores, MiB), (cards, 0), (GB, 0) or (Mbps, 0)."""
        if self.seat != (0, 0):
            return self.seat
        main = MEASURE.get(self.kind)
        return (amounts.get(main, 0) if main else 0), amounts.get(MEMORY, 0)


MEASURE: Mapping[ServiceKind, ClassCode] = {
    ServiceKind.VM: VCPU,
    ServiceKind.BARE_METAL: VCPU,
    ServiceKind.ACCELERATOR: ACCELERATOR,
    ServiceKind.VOLUME: BLOCK,
    ServiceKind.OBJECT_STORE: OBJECT,
    ServiceKind.EIP: EIP,
    ServiceKind.BANDWIDTH: BANDWIDTH,
}

# What each pool has: 800 resources in all, 560 of them VMs. _GONE more a pool are deleted within the 90 days.
_HAS: Mapping[str, Mapping[ServiceKind, int]] = {
    NET: {
        ServiceKind.VM: 220,
        ServiceKind.BARE_METAL: 2,
        ServiceKind.VOLUME: 26,
        ServiceKind.OBJECT_STORE: 8,
        ServiceKind.EIP: 40,
        ServiceKind.BANDWIDTH: 4,
        ServiceKind.DATABASE: 12,
        ServiceKind.MIDDLEWARE: 6,
        ServiceKind.SECURITY: 5,
        ServiceKind.CRYPTOGRAPHY: 2,
        ServiceKind.ACCELERATOR: 1,
    },
    GOV: {
        ServiceKind.VM: 220,
        ServiceKind.BARE_METAL: 8,
        ServiceKind.VOLUME: 28,
        ServiceKind.OBJECT_STORE: 10,
        ServiceKind.BANDWIDTH: 2,
        ServiceKind.DATABASE: 14,
        ServiceKind.MIDDLEWARE: 7,
        ServiceKind.SECURITY: 4,
        ServiceKind.CRYPTOGRAPHY: 3,
        ServiceKind.ACCELERATOR: 4,
    },
    XIN: {
        ServiceKind.VM: 120,
        ServiceKind.BARE_METAL: 4,
        ServiceKind.VOLUME: 16,
        ServiceKind.OBJECT_STORE: 6,
        ServiceKind.BANDWIDTH: 2,
        ServiceKind.DATABASE: 8,
        ServiceKind.MIDDLEWARE: 5,
        ServiceKind.SECURITY: 3,
        ServiceKind.CRYPTOGRAPHY: 3,
        ServiceKind.ACCELERATOR: 7,
    },
}
_GONE = 4
_Add = Callable[[ServiceKind, CitySystem, Load, Mapping[ClassCode, int], int], Machine]
_Born = Callable[[CitySystem], int]
# Shares of a pool's VMs that are of a class by fate; the rest follows the rhythm of its system.
_FATES: Mapping[Load, float] = {
    Load.STOPPED: 0.025,
    Load.FROZEN: 0.012,
    Load.GHOST: 0.008,
    Load.GAPPY: 0.022,
    Load.YOUNG: 0.018,
    Load.SATURATED: 0.028,
    Load.BUSY: 0.07,
    Load.IDLE: 0.09,
    Load.LIGHT: 0.15,
    Load.STEADY: 0.03,
    Load.STARVED: 0.004,
}
_WEIGHTS = (0.14, 0.28, 0.24, 0.08, 0.05, 0.09, 0.07, 0.03, 0.015, 0.005)  # of city shapes, smallest first
_ROLES = ("app", "app", "web", "db", "job", "test")
_LABEL: Mapping[ServiceKind, tuple[str, str]] = {
    ServiceKind.VM: ("i", ""),
    ServiceKind.BARE_METAL: ("bm", "bm"),
    ServiceKind.VOLUME: ("vol", "disk"),
    ServiceKind.OBJECT_STORE: ("oss", "bucket"),
    ServiceKind.EIP: ("eip", "eip"),
    ServiceKind.BANDWIDTH: ("bw", "bandwidth"),
    ServiceKind.DATABASE: ("rds", "rds"),
    ServiceKind.MIDDLEWARE: ("mw", "mw"),
    ServiceKind.SECURITY: ("sec", "sec"),
    ServiceKind.CRYPTOGRAPHY: ("hsm", "crypto"),
    ServiceKind.ACCELERATOR: ("acc", "card"),
}
_SERVICES: Mapping[ServiceKind, tuple[str, ...]] = {
    ServiceKind.DATABASE: ("db-relational", "db-columnar"),
    ServiceKind.MIDDLEWARE: ("mw-queue", "mw-cache", "mw-gateway"),
    ServiceKind.SECURITY: ("sec-waf", "sec-bastion", "sec-audit"),
    ServiceKind.CRYPTOGRAPHY: ("crypto-hsm", "crypto-sign"),
}


def name_of(kind: ServiceKind, pool: str, key: str) -> str:
    """The external id of a resource: a short prefix and 8 hexadecimal digits of what it is known by."""
    return f"{_LABEL[kind][0]}-{crc32(f'{pool}/{key}'.encode()):08x}"


def moment(day: date, hour: float = 0.0) -> int:
    """Epoch seconds of an hour of a local day."""
    return int(datetime.combine(day, time(), ZONE).timestamp() + hour * 3600)


def local_day(at: int) -> date:
    return datetime.fromtimestamp(at, UTC).astimezone(ZONE).date()


def fleet(pool: CityPool, seed: int, start: date, epoch: date) -> list[Machine]:
    """The pool's original resources in a fixed order. Stopped, young, … are counted back from ``epoch``."""
    rng = np.random.default_rng([seed, crc32(pool.code.encode())])
    homes = [one for one in systems(epoch) if pool.code in one.pools]
    machines: list[Machine] = []
    loads = _vm_loads(_HAS[pool.code][ServiceKind.VM], homes, rng)
    counts: dict[tuple[str, ServiceKind], int] = {}

    def add(
        kind: ServiceKind,
        home: CitySystem,
        load: Load,
        amounts: Mapping[ClassCode, int],
        born: int,
        label: str = "",
    ) -> Machine:
        number = counts[home.code, kind] = counts.get((home.code, kind), 0) + 1
        name = f"{home.code.lower()}-{label or _LABEL[kind][1]}-{number:02d}"
        machine = Machine(
            name_of(kind, pool.code, name),
            name,
            kind,
            pool.arch,
            home.department_code,
            home.code,
            load,
            [FleetChange(born, ResourceState.RUNNING, dict(amounts))],
        )
        machine.tags["zone"] = pool.zone
        machines.append(machine)
        return machine

    def born(home: CitySystem) -> int:
        first = max(home.online_on, date(2019, 1, 1))
        days = max((start - first).days, 30)
        return moment(start - timedelta(days=int(rng.integers(5, days + 1))), float(rng.uniform(8, 18)))

    for number, (home, load) in enumerate(loads):
        cores, gigabytes = SHAPES[rng.choice(len(SHAPES), p=_WEIGHTS)]
        when = born(home)
        if load is Load.YOUNG:
            when = moment(epoch - timedelta(days=int(rng.integers(2, 12))), 10)
        vm = add(
            ServiceKind.VM,
            home,
            load,
            {VCPU: cores, MEMORY: gigabytes * 1024},
            when,
            str(rng.choice(_ROLES)),
        )
        vm.address = f"10.{(NET, GOV, XIN).index(pool.code) + 20}.{number // 200}.{number % 200 + 10}"
        if pool.code == XIN or number % 3 == 0:
            vm.tags["addresses"] = f"{vm.address},2001:db8:{(NET, GOV, XIN).index(pool.code)}::{number:x}"
        if load is Load.STOPPED:
            off = moment(epoch - timedelta(days=int(rng.integers(34, 80))), 17.5)
            vm.life.append(FleetChange(off, ResourceState.STOPPED, vm.life[0].amounts))
        elif load in (Load.FROZEN, Load.GHOST):
            vm.turn = moment(epoch - timedelta(days=int(rng.integers(20, 60))), 3.25)
        elif number >= len(loads) - _GONE:
            gone = moment(epoch - timedelta(days=int(rng.integers(8, 75))), 15)
            vm.life.append(FleetChange(gone, ResourceState.DELETED, vm.life[0].amounts))
    hosts = [one for one in machines if one.life[-1].state is not ResourceState.DELETED]
    site = _Site(pool, homes, hosts, rng, add, born, epoch)
    for kind, count in _HAS[pool.code].items():
        if kind is not ServiceKind.VM:
            _equip(site, kind, count)
    return machines


def _vm_loads(count: int, homes: Sequence[CitySystem], rng: np.random.Generator) -> list[tuple[CitySystem, Load]]:
    """System and load of each VM, and of a few more that are deleted later (at the end of the list)."""
    weights = np.array([1 + 2 * one.mlps_level + 3 * (one.rhythm == "citizen") for one in homes], float)
    picks = np.concatenate(
        [np.arange(len(homes)), rng.choice(len(homes), count + _GONE - len(homes), p=weights / weights.sum())]
    )
    fates = [load for load, share in _FATES.items() for _ in range(max(1, round(share * count)))]
    chosen = dict(zip(rng.permutation(count).tolist(), fates, strict=False))
    result = []
    for number, pick in enumerate(picks.tolist()):
        home = homes[pick]
        load = chosen.get(number) or (Load.IDLE if home.zombie else Load(home.rhythm))
        result.append((home, load))
    return result


@dataclass(frozen=True, slots=True)
class _Site:
    """Where a pool's other resources are put: what they hang on, and how one of them comes to be."""

    pool: CityPool
    homes: Sequence[CitySystem]
    hosts: Sequence[Machine]
    rng: np.random.Generator
    add: _Add
    born: _Born
    epoch: date


def _equip(site: _Site, kind: ServiceKind, count: int) -> None:
    """Everything that is not a VM."""
    homes, rng = site.homes, site.rng
    order = rng.permutation(len(homes)).tolist()
    for number in range(count):
        home = homes[order[number % len(homes)]]
        load = Load.IDLE if home.zombie else Load(home.rhythm)
        when = site.born(home)
        match kind:
            case ServiceKind.BARE_METAL:
                cores = 96 if site.pool.arch is Arch.AARCH64 else 64
                takes = {VCPU: cores, MEMORY: 512 * 1024}
                machine = site.add(kind, home, Load.IDLE if number == 1 else Load.STEADY, takes, when)
                machine.address = f"10.{(NET, GOV, XIN).index(site.pool.code) + 20}.240.{number + 10}"
            case ServiceKind.VOLUME | ServiceKind.EIP:
                _attach(site, kind, number, when)
            case ServiceKind.OBJECT_STORE:
                size = int(rng.choice([1, 5, 20], p=[0.4, 0.4, 0.2])) * 1000
                site.add(kind, home, load, {OBJECT: size}, when)
            case ServiceKind.BANDWIDTH:
                site.add(kind, home, Load.CITIZEN, {BANDWIDTH: int(rng.choice([100, 200]))}, when)
            case ServiceKind.DATABASE | ServiceKind.MIDDLEWARE:
                _instance(site, kind, home, load, when)
            case ServiceKind.ACCELERATOR:
                # Every third set of cards is allocated and has no process on it.
                busy = (Load.BURSTY, Load.CITIZEN, Load.NIGHT)[number % 3]
                takes = {ACCELERATOR: int(rng.choice([1, 2, 4]))}
                machine = site.add(kind, home, Load.IDLE if number % 3 == 1 or count == 1 else busy, takes, when)
                machine.tags["service"] = "npu-card" if site.pool.arch is Arch.AARCH64 else "gpu-card"
            case ServiceKind.SECURITY | ServiceKind.CRYPTOGRAPHY:
                own = SECURITY if kind is ServiceKind.SECURITY else CRYPTOGRAPHY
                site.add(kind, home, load, {own: 1}, when).tags["service"] = str(rng.choice(_SERVICES[kind]))
            case _:  # pragma: no cover - every kind is above
                raise AssertionError(kind)


def _attach(site: _Site, kind: ServiceKind, number: int, when: int) -> None:
    """A volume or an address of one of the hosts, and of its system; every sixth hangs on nothing any more."""
    rng = site.rng
    takes = {EIP: 1}
    if kind is ServiceKind.VOLUME:
        takes = {BLOCK: int(rng.choice([100, 500, 1000, 2000], p=[0.2, 0.4, 0.3, 0.1]))}
    host = site.hosts[int(rng.integers(len(site.hosts)))]
    home = next(each for each in site.homes if each.code == host.system)
    quiet = host.load in (Load.STOPPED, Load.FROZEN, Load.GHOST)
    load = Load.IDLE if quiet else host.load
    machine = site.add(kind, home, load, takes, max(when, host.life[0].at + 3600))
    if kind is ServiceKind.EIP:
        machine.address = f"198.51.100.{number + 1}"
    machine.host = host.external_id
    if number % 6 == 5:
        machine.detached_at = moment(site.epoch - timedelta(days=int(rng.integers(8, 85))), 11)


def _instance(site: _Site, kind: ServiceKind, home: CitySystem, load: Load, when: int) -> None:
    """A database or a middleware: sold by the instance, and seated on so many cores and so much memory."""
    own = DATABASE if kind is ServiceKind.DATABASE else MIDDLEWARE
    machine = site.add(kind, home, load, {own: 1}, when)
    cores, gigabytes = [(4, 16), (8, 32), (16, 64)][int(site.rng.choice(3, p=[0.5, 0.35, 0.15]))]
    machine.seat = cores, gigabytes * 1024
    machine.tags["shape"] = f"{cores}C{gigabytes}G"
    domestic = kind is ServiceKind.DATABASE and site.pool.xinchuang
    machine.tags["service"] = "db-domestic" if domestic else str(site.rng.choice(_SERVICES[kind]))
