"""Services and states: what a cloud keeps as one thing, which of it can be ordered, and how such a thing can stand. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from quota.units import BANDWIDTH, BLOCK, DATABASE, EIP, MEMORY, MIDDLEWARE, OBJECT, VCPU, ClassCode


class ServiceKind(StrEnum):
    """What a cloud keeps as one thing."""

    VM = "vm"
    BARE_METAL = "bare_metal"
    VOLUME = "volume"
    OBJECT_STORE = "object_store"
    EIP = "eip"
    BANDWIDTH = "bandwidth"
    DATABASE = "database"
    MIDDLEWARE = "middleware"
    SECURITY = "security"
    CRYPTOGRAPHY = "cryptography"
    ACCELERATOR = "accelerator"
    OTHER = "other"
    """What has no kind of its own here (a licence, a VPN, backups): its resource classes say what it is."""
    # What comes with the others, counts against a cloud's own quota, and is ordered by nobody:
    SNAPSHOT = "snapshot"
    IMAGE = "image"
    PORT = "port"
    LOAD_BALANCER = "load_balancer"
    PROJECT = "project"
    """In which a cloud keeps the others: no resource of the register, and what an order about a quota is about."""


BESIDE = frozenset(
    {ServiceKind.SNAPSHOT, ServiceKind.IMAGE, ServiceKind.PORT, ServiceKind.LOAD_BALANCER, ServiceKind.PROJECT}
)
"""Listed and seen, and no service of the catalogue."""


_MACHINE = frozenset({VCPU, MEMORY, BLOCK})
MADE_OF: Mapping[str, frozenset[ClassCode]] = {
    ServiceKind.VM: _MACHINE,
    ServiceKind.BARE_METAL: _MACHINE,
    ServiceKind.VOLUME: frozenset({BLOCK}),
    ServiceKind.OBJECT_STORE: frozenset({OBJECT}),
    ServiceKind.EIP: frozenset({EIP, BANDWIDTH}),
    ServiceKind.BANDWIDTH: frozenset({BANDWIDTH}),
    ServiceKind.DATABASE: _MACHINE | {DATABASE},
    ServiceKind.MIDDLEWARE: _MACHINE | {MIDDLEWARE},
}
"""What one thing of a service can have of the classes that the house names. One that has more (a card, a city's own class) may have
more of that, too."""


class ResourceState(StrEnum):
    """BUILDING: being made, counted already and nowhere yet. CHANGING: under way from one shape or place to another, which
    may be held both. STOPPED is whatever keeps its place and does no work: off, paused, suspended, shelved."""

    RUNNING = "running"
    STOPPED = "stopped"
    RECYCLED = "recycled"
    DELETED = "deleted"
    ERROR = "error"
    BUILDING = "building"
    CHANGING = "changing"
