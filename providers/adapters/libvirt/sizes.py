"""Sizes of guests: what one is defined with, which may be written while it runs and holds from its next start on; and its virtual
CPUs as it runs, where libvirt allows that.

While a guest runs, the number of its virtual CPUs may change within the most that it was started with; fewer only where enough of
them are said to be hotpluggable. Memory may not: less in its balloon is no smaller definition, and what it may have at the
most is fixed until its next start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree

from quota.units import MEMORY, VCPU


@dataclass(frozen=True, slots=True)
class Definition:
    """What a guest is started with: its CPUs and the most that it may be given as it runs; the most memory, and that of its
    balloon, KiB."""

    cpus: int
    most_cpus: int
    most_kib: int
    kib: int

    def sized(self, wanted: Mapping[str, int]) -> Definition:
        """The same with the amounts of ``wanted``. Room to grow is never taken away."""
        cpus = wanted.get(VCPU, self.cpus)
        mib = wanted.get(MEMORY)
        if mib is None:
            return replace(self, cpus=cpus, most_cpus=max(cpus, self.most_cpus))
        return Definition(cpus, max(cpus, self.most_cpus), mib * 1024, mib * 1024)


def defined(libvirt: Any, domain: Any) -> Definition:
    """What a guest will next be started with. Raises what libvirt raises."""
    root = ElementTree.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))  # noqa: S314 - from the hypervisor
    vcpu = root.find("vcpu")
    most = int((vcpu.text if vcpu is not None else None) or 1)
    most_kib = int(root.findtext("memory") or 0)  # KiB: libvirt writes no other unit
    return Definition(
        int(vcpu.get("current", most)) if vcpu is not None else most,
        most,
        most_kib,
        int(root.findtext("currentMemory") or most_kib),
    )


def stands(domain: Any, wanted: Mapping[str, int]) -> bool:
    """Whether a guest is defined so already; one that runs, whether it runs so."""
    _state, most_kib, _now_kib, cpus, _time = domain.info()
    return bool(wanted.get(VCPU, cpus) == cpus and wanted.get(MEMORY, most_kib // 1024) == most_kib // 1024)


def fits_live(domain: Any, wanted: Mapping[str, int]) -> bool:
    """Whether a guest that runs can be made so without being shut down."""
    _state, most_kib, _now_kib, cpus, _time = domain.info()
    if wanted.get(MEMORY, most_kib // 1024) != most_kib // 1024:
        return False
    fewer = cpus - wanted.get(VCPU, cpus)
    return _removable(domain) >= fewer if fewer > 0 else wanted.get(VCPU, 0) <= int(domain.maxVcpus())


def _removable(domain: Any) -> int:
    """How many CPUs of a guest that runs can be taken out again; none where libvirt does not tell of each."""
    root = ElementTree.fromstring(domain.XMLDesc(0))  # noqa: S314 - from the hypervisor
    return len(root.findall("./vcpus/vcpu[@enabled='yes'][@hotpluggable='yes']"))


def resize_live(libvirt: Any, domain: Any, wanted: Mapping[str, int]) -> bool:
    """Change the virtual CPUs of a guest that runs, and what it is defined with; False where the guest would not have it, and its
    definition is as it was. Raises what libvirt raises."""
    before = defined(libvirt, domain)
    domain.setVcpusFlags(wanted[VCPU], libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    if stands(domain, wanted):
        return True
    restore(libvirt, domain, before)
    return False


def define(libvirt: Any, domain: Any, wanted: Mapping[str, int]) -> None:
    """Have a guest start so the next time, all of it or nothing; one that is off has that size at once. Raises what libvirt raises."""
    before = defined(libvirt, domain)
    try:
        for call, figure, flags in _calls(libvirt, domain, before, before.sized(wanted)):
            call(figure, flags)
    except libvirt.libvirtError:
        restore(libvirt, domain, before)
        raise


def restore(libvirt: Any, domain: Any, former: Definition) -> bool:
    """Define a guest as it was, as far as libvirt goes along; whether all of it stands again."""
    try:
        for call, figure, flags in _calls(libvirt, domain, defined(libvirt, domain), former):
            try:
                call(figure, flags)
            except libvirt.libvirtError:  # what can be restored beside it is
                continue
        return defined(libvirt, domain) == former
    except libvirt.libvirtError:
        return False


def _calls(libvirt: Any, domain: Any, now: Definition, then: Definition) -> list[tuple[Any, int, int]]:
    """What leads from one definition to the other: what it may have first where that grows, last where it shrinks."""
    config = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    pairs = (
        (domain.setVcpusFlags, libvirt.VIR_DOMAIN_VCPU_MAXIMUM, (now.most_cpus, now.cpus), (then.most_cpus, then.cpus)),
        (domain.setMemoryFlags, libvirt.VIR_DOMAIN_MEM_MAXIMUM, (now.most_kib, now.kib), (then.most_kib, then.kib)),
    )
    found: list[tuple[Any, int, int]] = []
    for call, maximum, before, after in pairs:
        most = [(call, after[0], config | maximum)] if after[0] != before[0] else []
        some = [(call, after[1], config)] if after[1] != before[1] or most else []
        found += most + some if after[0] > before[0] else some + most
    return found
