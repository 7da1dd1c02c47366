"""Guests: domains as facts. Sizes are those that are defined (what the guest may have); less in a balloon is told in a tag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from providers.base import ResourceFact, ResourceState, ServiceKind
from quota.units import BLOCK, MEMORY, VCPU, Arch, ClassCode

ARCHES: Mapping[str, Arch] = {
    "x86_64": Arch.X86_64, "i686": Arch.X86_64, "aarch64": Arch.AARCH64, "loongarch64": Arch.LOONGARCH64, "sw_64": Arch.SW_64,
    "mips64": Arch.MIPS64, "mips64el": Arch.MIPS64,
}  # fmt: skip

STATES = ("nostate", "running", "blocked", "paused", "shutdown", "shutoff", "crashed", "pmsuspended")
"""libvirt's states by number (virDomainState)."""

_OURS: Mapping[str, ResourceState] = {
    "running": ResourceState.RUNNING, "blocked": ResourceState.RUNNING, "paused": ResourceState.RUNNING,
    "shutdown": ResourceState.RUNNING, "pmsuspended": ResourceState.RUNNING, "shutoff": ResourceState.STOPPED,
    "crashed": ResourceState.ERROR, "nostate": ResourceState.ERROR,
}  # fmt: skip
"""A guest that is paused or being shut down still holds what it was given."""


@dataclass(frozen=True, slots=True)
class GuestShape:
    """What a domain's XML says: its architecture as libvirt calls it, its disks and links by the name of their target."""

    arch: str
    title: str
    disks: tuple[str, ...] = ()
    links: tuple[str, ...] = field(default=())


def shape(xml: str) -> GuestShape:
    root = ElementTree.fromstring(xml)  # noqa: S314 - from the hypervisor; expat bounds what entities make
    kind = root.find("./os/type")
    disks = [
        one
        for one in root.findall("./devices/disk")
        if one.get("device", "disk") == "disk" and one.find("source") is not None
    ]
    return GuestShape(
        (kind.get("arch") if kind is not None else None) or "",
        (root.findtext("title") or "").strip(),
        _targets(disks),
        _targets(root.findall("./devices/interface")),
    )


def _targets(devices: list[ElementTree.Element]) -> tuple[str, ...]:
    return tuple(
        target.get("dev", "") for one in devices if (target := one.find("target")) is not None and target.get("dev")
    )


def state_of(domain: Any) -> str:
    """libvirt's word for the state that a domain is in."""
    number = domain.state()[0]
    return STATES[number] if number < len(STATES) else "nostate"


def fact(libvirt: Any, domain: Any, host: str, default: Arch) -> ResourceFact:
    """One domain. Raises what libvirt raises."""
    said = state_of(domain)
    _state, most_kib, now_kib, cpus, _time = domain.info()
    of = shape(domain.XMLDesc(0))
    amounts: dict[ClassCode, int] = {VCPU: cpus, MEMORY: most_kib // 1024}
    tags = {"host": host}
    if of.title:
        tags["title"] = of.title
    if now_kib < most_kib and said != "shutoff":
        tags["balloon_mb"] = str(now_kib // 1024)
    sizes = [_capacity(libvirt, domain, one) for one in of.disks]
    if sizes and all(one is not None for one in sizes):
        amounts[BLOCK] = -(-sum(one for one in sizes if one) // 2**30)
    elif sizes:
        tags["disks"] = "unknown"  # some are not told: no sum is better than a part of it
    arch = ARCHES.get(of.arch)
    if arch is None and of.arch:
        tags["cloud_arch"] = of.arch
    return ResourceFact(
        domain.UUIDString(), domain.name(), ServiceKind.VM, arch or default, amounts, _OURS[said], tags=tags, cloud_state=said
    )  # fmt: skip


def _capacity(libvirt: Any, domain: Any, target: str) -> int | None:
    """Bytes of a disk as the guest sees it; None where libvirt can't tell."""
    try:
        return int(domain.blockInfo(target)[0])
    except libvirt.libvirtError:
        return None
