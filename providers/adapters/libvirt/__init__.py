"""Hosts that run their guests under libvirt (KVM, Xen, LXC …), asked and told what to do by libvirt's own library."""

from __future__ import annotations

from providers.adapters.libvirt.cloud import LibvirtCloud

__all__ = [
    "LibvirtCloud",
]
