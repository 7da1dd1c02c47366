"""Which links and disks of a machine carry its bytes, so that each byte counts once. Pure; the table is data.

A byte that leaves through a bond passes the bond and one of its legs; a VLAN, a bridge and a tunnel lie on top of a link,
a partition, a RAID and a logical volume on top of a disk. Each of them has counters of its own. A *layer* says how far
from the wire a device is: of the layers that a machine reports, the one nearest to it counts. So if only a bond is
reported, the bond counts.

Names tell the layer. What no row names is taken for hardware (0): `eth0`, `ens3`, `enp1s0f0`, `Ethernet 2`, `sda`, `vdb`,
`nvme0n1`, `xvda`. `INSIDE` never leaves the machine or never reaches a disk.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

VERSION = "2026-11"
"""Of the tables below."""

HARDWARE, INSIDE = 0, -1
BOND = 2

LINKS: Sequence[tuple[str, int, str]] = (
    # Inside the machine: loop-back and the ends of containers' and guests' cables. (pattern, layer, where it is from)
    (r"lo\d*|loopback.*", INSIDE, "node_exporter's loop-back; windows_exporter: 'Loopback Pseudo-Interface 1'"),
    (
        r"veth(?!ernet).*|lxc.*|cali.*|cni.*|flannel.*|cilium.*|nodelocaldns|kube-.*|dummy\d*|ifb\d*",
        INSIDE,
        "Docker, LXD, CNI",
    ),
    (r"docker\d*|docker_gwbridge|br-[0-9a-f]{12}|virbr.*|lxdbr.*|podman\d*", INSIDE, "bridges of a container engine"),
    (
        r"vnet\d+|tap.*|macvtap\d+|fwbr.*|fwln.*|fwpr.*|qbr.*|qvo.*|qvb.*|vxlan_sys_.*",
        INSIDE,
        "libvirt, Proxmox, Neutron",
    ),
    (
        r"isatap.*|teredo.*|6to4.*|sit\d*|ip6tnl\d*|gre\d*|gretap\d*|erspan\d*|tunl\d*",
        INSIDE,
        "fallback tunnels of a kernel",
    ),
    # Bonds and teams: kernel documentation networking/bonding.rst, teamd; lagg of FreeBSD; Windows LBFO.
    (
        r"bond\w*|team\d+|lagg\d+|trunk\d+|.*multiplexor.*",
        BOND,
        "rezolus #1184, netdata #18384: counted beside its legs",
    ),
    # On top of a link or a bond: VLANs (802.1Q: eth0.100, vlan100), bridges, macvlan, switches of Open vSwitch.
    (r".+\.\d{1,4}(@.*)?|vlan\w*", 3, "kernel documentation networking/vlan: name types of vconfig"),
    (
        r"br(?:\d+|[-_].*)?|vmbr\d+|bridge\d*|ovs.*|macvlan.*|ipvlan.*|vswitch.*|vethernet.*|.*hyper-v virtual switch.*",
        3,
        "bridges",
    ),
    # Tunnels: what they carry leaves through a link as well.
    (
        r"tun.*|utun\d*|wg.*|ppp\d*|vti\d*|ipsec\d*|xfrm\d*|vxlan.*|geneve.*|zt.*|tailscale\d*|nebula.*|.*wireguard.*",
        4,
        "tunnels",
    ),
)

DISKS: Sequence[tuple[str, int, str]] = (
    (r"loop\d+(?:p\d+)?|ram\d+|zram\d+|sr\d+|fd\d+|_total", INSIDE, "kernel documentation admin-guide/devices.txt"),
    (r"nvme\d+c\d+n\d+.*", INSIDE, "paths of native NVMe multipath: the namespace nvme0n1 counts them"),
    # Partitions: sda1, vda2, xvda1, nvme0n1p1, mmcblk0p2; Windows' volumes lie on physical disks.
    (r"(?:sd|vd|xvd|hd|ubd)[a-z]+\d+|(?:nvme\d+n\d+|mmcblk\d+|nbd\d+|rbd\d+)p\d+", 1, "partitions"),
    (r"[a-z]:|harddiskvolume\d+", 1, "windows_exporter, collector logical_disk: label volume"),
    # Software RAID and caches lie on disks or partitions; volumes, mappings and replicas on any of them.
    (r"md\d+|md_\w+|bcache\d+", 2, "kernel documentation admin-guide/md.rst, bcache.rst"),
    (r"dm-\d+|md\d+p\d+|mpath\w*|drbd\d+|zd\d+|.*/.*", 3, "device-mapper: LVM, crypt, multipath over its paths"),
)


def link(name: str) -> int:
    """The layer of a network interface; INSIDE where it carries nothing to or from the machine."""
    return _layer(name.strip().lower(), LINKS)


def disk(name: str) -> int:
    """The layer of a block device or volume; INSIDE where it is no disk."""
    return _layer(name.strip().lower().removeprefix("/dev/"), DISKS)


def _layer(name: str, table: Sequence[tuple[str, int, str]]) -> int:
    for pattern, (_text, layer, _source) in zip(_patterns(id(table)), table, strict=True):
        if pattern.fullmatch(name):
            return layer
    return HARDWARE


@cache
def _patterns(which: int) -> tuple[re.Pattern[str], ...]:
    table = LINKS if which == id(LINKS) else DISKS
    return tuple(re.compile(pattern) for pattern, _layer, _source in table)
