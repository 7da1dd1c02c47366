"""Sizes of guests: what one is defined with, changed while it is off, or while it runs where libvirt allows that.

While a guest runs, the number of its virtual CPUs may change within the most that it was started with. Memory may not: less in
its balloon is no smaller definition, and what it may have at the most is fixed until its next start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quota.units import MEMORY, VCPU


def stands(domain: Any, wanted: Mapping[str, int]) -> bool:
    """Whether a guest is defined so already; one that runs, whether it runs so."""
    _state, most_kib, _now_kib, cpus, _time = domain.info()
    return bool(wanted.get(VCPU, cpus) == cpus and wanted.get(MEMORY, most_kib // 1024) == most_kib // 1024)


def fits_live(domain: Any, wanted: Mapping[str, int]) -> bool:
    """Whether a guest that runs can be made so without being shut down."""
    most_mib = domain.info()[1] // 1024
    return bool(wanted.get(MEMORY, most_mib) == most_mib and wanted.get(VCPU, 0) <= domain.maxVcpus())


def resize_live(libvirt: Any, domain: Any, wanted: Mapping[str, int]) -> bool:
    """Change the virtual CPUs of a guest that runs, and what it is defined with; False where the guest would not have it."""
    try:
        domain.setVcpusFlags(wanted[VCPU], libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    except libvirt.libvirtError:
        return False
    return stands(domain, wanted)


def resize(libvirt: Any, domain: Any, wanted: Mapping[str, int]) -> None:
    """Change a guest that is off: what it may have, then what it has; the other way round where it shrinks."""
    _state, most_kib, now_kib, cpus, _time = domain.info()
    config = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    try:
        if VCPU in wanted:
            _vcpus(libvirt, domain, wanted[VCPU], cpus)
        if MEMORY in wanted:
            kib = wanted[MEMORY] * 1024
            most = config | libvirt.VIR_DOMAIN_MEM_MAXIMUM
            for figure, flags in ((kib, most), (kib, config)) if kib > most_kib else ((kib, config), (kib, most)):
                domain.setMemoryFlags(figure, flags)
    except libvirt.libvirtError:
        _restore(libvirt, domain, cpus, most_kib, now_kib)
        raise


def _restore(libvirt: Any, domain: Any, cpus: int, most_kib: int, now_kib: int) -> None:
    """All of it or nothing, as far as libvirt goes along: what it may have stands now before, now after what it has."""
    config = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    for call, most, now, flag in (
        (domain.setVcpusFlags, cpus, cpus, libvirt.VIR_DOMAIN_VCPU_MAXIMUM),
        (domain.setMemoryFlags, most_kib, now_kib, libvirt.VIR_DOMAIN_MEM_MAXIMUM),
    ):
        for figure, flags in ((most, config | flag), (now, config), (most, config | flag)):
            try:
                call(figure, flags)
            except libvirt.libvirtError:
                continue


def _vcpus(libvirt: Any, domain: Any, wanted: int, before: int) -> None:
    config = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    most = config | libvirt.VIR_DOMAIN_VCPU_MAXIMUM
    for flags in (most, config) if wanted > before else (config, most):
        domain.setVcpusFlags(wanted, flags)
