"""OpenStack's words in ours: states, shapes, architectures, times. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from providers.base import ResourceState
from quota.units import ACCELERATOR, BLOCK, CLASSES, MEMORY, VCPU, Arch, ClassCode

SERVER_STATES: Mapping[str, ResourceState] = {
    "ACTIVE": ResourceState.RUNNING, "REBOOT": ResourceState.RUNNING, "HARD_REBOOT": ResourceState.RUNNING,
    "PASSWORD": ResourceState.RUNNING, "RESCUE": ResourceState.RUNNING, "MIGRATING": ResourceState.RUNNING,
    "BUILD": ResourceState.BUILDING,
    "REBUILD": ResourceState.CHANGING, "RESIZE": ResourceState.CHANGING, "VERIFY_RESIZE": ResourceState.CHANGING,
    "REVERT_RESIZE": ResourceState.CHANGING,
    "SHUTOFF": ResourceState.STOPPED, "PAUSED": ResourceState.STOPPED, "SUSPENDED": ResourceState.STOPPED,
    "SHELVED": ResourceState.STOPPED, "SHELVED_OFFLOADED": ResourceState.STOPPED,
    "SOFT_DELETED": ResourceState.RECYCLED, "DELETED": ResourceState.DELETED,
    "ERROR": ResourceState.ERROR, "UNKNOWN": ResourceState.ERROR,
}  # fmt: skip
"""Nova's status → ours. A resized server that waits for its confirmation holds both sizes; a shelved one holds its quota and
no host."""

SHELVED = frozenset({"SHELVED", "SHELVED_OFFLOADED"})
SWITCHED_OFF = frozenset({"SHUTOFF", "PAUSED", "SUSPENDED", *SHELVED})
TURNS_OFF = frozenset({"stop", "pause", "suspend", "shelve", "shelveOffload"})
TURNS_ON = frozenset({"create", "start", "unpause", "resume", "unshelve", "restore", "reboot", "rescue", "unrescue"})
"""Actions, as Nova's record names them. All others leave a server as it was, on or off."""
LOCKED_BY_US = "guanjia"
"""The reason that we give for a lock."""

ARCHES: Mapping[str, Arch] = {
    "x86_64": Arch.X86_64, "amd64": Arch.X86_64, "aarch64": Arch.AARCH64, "arm64": Arch.AARCH64,
    "loongarch64": Arch.LOONGARCH64, "sw_64": Arch.SW_64, "mips64": Arch.MIPS64,
    "mips64el": Arch.MIPS64, "any": Arch.ANY,
}  # fmt: skip
TRAITS: Mapping[str, Arch] = {
    "HW_ARCH_X86_64": Arch.X86_64, "HW_ARCH_AARCH64": Arch.AARCH64, "HW_ARCH_MIPS64": Arch.MIPS64,
    "HW_ARCH_MIPS64EL": Arch.MIPS64,
}  # fmt: skip
"""Of os-traits; LoongArch and SW have none there: their flavors are told by the options."""

QUOTA_CLASSES: Mapping[str, tuple[ClassCode, int]] = {"cores": (VCPU, 1), "ram": (MEMORY, 1)}
LIMIT_CLASSES: Mapping[str, ClassCode] = {"class:VCPU": VCPU, "class:MEMORY_MB": MEMORY}
PLACEMENT_CLASSES: Mapping[str, ClassCode] = {"VCPU": VCPU, "MEMORY_MB": MEMORY}


def server_state(status: str) -> ResourceState:
    """Ours for Nova's word; one that is not known is under way somewhere, so that nobody acts on it."""
    return SERVER_STATES.get(status.upper(), ResourceState.CHANGING)


def state_of(server: Mapping[str, Any]) -> ResourceState:
    """Ours for a server: one that is shelved and was locked by us (or, where Nova is too old to say by whom, by anybody) is
    recycled."""
    status = str(server.get("status"))
    if status.upper() in SHELVED and server.get("locked") and server.get("locked_reason", LOCKED_BY_US) == LOCKED_BY_US:
        return ResourceState.RECYCLED
    return server_state(status)


def off_since(actions: Sequence[Mapping[str, Any]]) -> datetime | None:
    """When a server that is off was turned off, by the record of its actions (in any order); what failed counts for nothing. None
    where the record does not tell."""
    since = None
    for one in sorted(actions, key=lambda one: str(one.get("start_time") or ""), reverse=True):
        if one.get("message"):
            continue
        if one.get("action") in TURNS_ON:
            break
        if one.get("action") in TURNS_OFF:
            since = moment(one.get("start_time")) or since
    return since


def thing_state(status: str) -> ResourceState:
    """Ours for the word of a volume, snapshot, image, address, port or balancer."""
    word = status.lower()
    if word.startswith("error") or word in ("killed", "unmanaged"):
        return ResourceState.ERROR
    if word in ("creating", "downloading", "queued", "saving", "importing", "uploading", "pending_create", "build"):
        return ResourceState.BUILDING
    if word in ("deleted", "pending_delete"):
        return ResourceState.DELETED if word == "deleted" else ResourceState.CHANGING
    if word in ("extending", "retyping", "attaching", "detaching", "deleting", "maintenance", "pending_update") or (
        "-" in word and word != "in-use"
    ):
        return ResourceState.CHANGING
    return ResourceState.STOPPED if word == "deactivated" else ResourceState.RUNNING


def moment(text: str | None) -> datetime | None:
    """Nova writes a Z, Cinder and others no zone at all: all of them mean UTC."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def arches(lines: str) -> list[tuple[str, Arch]]:
    """Lines of ``pattern = architecture`` as they are typed. Raises ValueError with the number of the first that is none."""
    found = []
    for number, line in enumerate(lines.splitlines(), 1):
        if not line.strip():
            continue
        pattern, equals, name = line.partition("=")
        if not equals or not pattern.strip() or name.strip().lower() not in ARCHES:
            raise ValueError(number)
        found.append((pattern.strip(), ARCHES[name.strip().lower()]))
    return found


def arch_of(flavor: Mapping[str, Any], patterns: Sequence[tuple[str, Arch]], otherwise: Arch) -> Arch:
    """Of what architecture a server of ``flavor`` is: as the options say by its name, as its traits say, or ``otherwise``."""
    name = str(flavor.get("original_name", ""))
    for pattern, arch in patterns:
        if fnmatch.fnmatchcase(name, pattern):
            return arch
    specs = flavor.get("extra_specs") or {}
    for key, value in specs.items():
        if key.startswith("trait") and value == "required" and key.rpartition(":")[2] in TRAITS:
            return TRAITS[key.rpartition(":")[2]]
    told = specs.get("hw:architecture") or specs.get("hw_architecture") or specs.get("capabilities:cpu_arch") or ""
    return ARCHES.get(str(told).removeprefix("s== ").strip().lower(), otherwise)


def is_metal(flavor: Mapping[str, Any]) -> bool:
    """Whether it is a whole machine of Ironic's."""
    return any(key.startswith("resources:CUSTOM_BAREMETAL") for key in flavor.get("extra_specs") or {})


def cards(flavor: Mapping[str, Any], names: Sequence[str]) -> int:
    """How many whole accelerators it has: devices of those PCI aliases or resource classes that the options call accelerators, and
    virtual GPUs, without what is a slice."""
    return sum(many for name, many, code in _devices(flavor) if code is None and name in ("VGPU", *names))


def slices(flavor: Mapping[str, Any]) -> dict[ClassCode, int]:
    """How many slices of cards it has: devices of PCI aliases and resource classes that are called as a profile of a class is
    (``CUSTOM_MIG_1G_10GB``), and virtual GPUs that a trait says the profile of."""
    found: dict[ClassCode, int] = {}
    for _name, many, code in _devices(flavor):
        if code is not None and many:
            found[code] = found.get(code, 0) + many
    return found


def _devices(flavor: Mapping[str, Any]) -> Iterator[tuple[str, int, ClassCode | None]]:
    """What a flavor asks for beside size: its name, how many, and the class of slices that this is."""
    specs = flavor.get("extra_specs") or {}
    traits = {
        code
        for key, value in specs.items()
        if key.startswith("trait") and value == "required" and (code := CLASSES.of_profile(key.rpartition(":")[2]))
    }
    profile = traits.pop() if len(traits) == 1 else None
    for key, value in specs.items():
        if key == "pci_passthrough:alias":
            for part in str(value).split(","):
                name, _colon, told = part.strip().partition(":")
                yield name, int(told or 1) if (told or "1").isdigit() else 0, CLASSES.of_profile(name)
        elif key.startswith("resources"):
            name = key.rpartition(":")[2]
            code = profile if name == "VGPU" else CLASSES.of_profile(name)
            yield name, int(value) if str(value).isdigit() else 0, code


def amounts(server: Mapping[str, Any], *, local_disks: bool, accelerators: Sequence[str]) -> dict[ClassCode, int]:
    """What a server has, by the flavor that it was made from: vCPU, MiB, cards and, where asked for, GB on its host's disk (one
    that boots from a volume has its root there)."""
    flavor = server["flavor"]
    found = {VCPU: int(flavor["vcpus"]), MEMORY: int(flavor["ram"])}
    if many := cards(flavor, accelerators):
        found[ACCELERATOR] = many
    found |= slices(flavor)
    if local_disks and (disk := local_disk(server)):
        found[BLOCK] = disk
    return found


def local_disk(server: Mapping[str, Any]) -> int:
    """GB of a server on its host's own disk."""
    flavor = server["flavor"]
    root = int(flavor.get("disk") or 0) if server.get("image") else 0
    return root + int(flavor.get("ephemeral") or 0) + -(-int(flavor.get("swap") or 0) // 1024)


def addresses(server: Mapping[str, Any]) -> list[str]:
    """Fixed ones first, each in the order of their networks' names."""
    found = [
        (one.get("OS-EXT-IPS:type", "fixed") != "fixed", network, one["addr"])
        for network, many in (server.get("addresses") or {}).items()
        for one in many
    ]
    return [addr for _floating, _network, addr in sorted(found, key=lambda one: one[:2])]
