"""Services and states: what can be ordered from a cloud as one thing, and how such a thing can stand. Pure."""

from __future__ import annotations

from enum import StrEnum


class ServiceKind(StrEnum):
    """What can be ordered from a cloud as one thing."""

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


class ResourceState(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    RECYCLED = "recycled"
    DELETED = "deleted"
    ERROR = "error"
