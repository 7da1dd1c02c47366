"""What runs there: the lists of an OpenStack's services as facts. A service that can't be read, or not to its end, is told by the
kinds that it lists; the others are told all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from providers.adapters.openstack import words
from providers.adapters.openstack.session import (
    ADMIN,
    BALANCERS,
    COMPUTE,
    IDENTITY,
    IMAGES,
    NETWORK,
    ROUND,
    VOLUMES,
    CloudSession,
    ReadList,
)
from providers.base import Inventory, ProjectFact, ProviderFault, ResourceFact, ServiceKind
from quota.units import BLOCK, EIP, Arch

SERVERS = (ServiceKind.VM, ServiceKind.BARE_METAL)
KINDS: Mapping[str, tuple[ServiceKind, ...]] = {
    "servers": SERVERS,
    "volumes": (ServiceKind.VOLUME,),
    "snapshots": (ServiceKind.SNAPSHOT,),
    "images": (ServiceKind.IMAGE,),
    "addresses": (ServiceKind.EIP,),
    "ports": (ServiceKind.PORT,),
    "balancers": (ServiceKind.LOAD_BALANCER,),
}
"""What can be listed, by the names that the options know → the kinds that it is told as."""

HANGING = ("volumes", "addresses")
"""What hangs on servers, and is of the pool where these are."""


ASKED_OFF = 20
"""Servers of which it is asked since when they are off, in one reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudScope:
    """Which part of a cloud the pool is: zones and host aggregates of its servers, types and zones of its volumes, flavors by
    architecture, and what of it is listed at all."""

    lists: tuple[str, ...] = tuple(KINDS)
    arch: Arch = Arch.X86_64
    only_arch: bool = False
    arches: Sequence[tuple[str, Arch]] = ()
    zones: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()
    volume_types: tuple[str, ...] = ()
    volume_zones: tuple[str, ...] = ()
    accelerators: tuple[str, ...] = ()
    local_disks: bool = False
    department_key: str = "department"
    system_key: str = "system"

    @property
    def part(self) -> bool:
        """Whether servers may lie outside of the pool."""
        return bool(self.zones or self.aggregates or self.only_arch)


@dataclass(slots=True)
class CloudListing:
    """One reading of a cloud."""

    session: CloudSession
    scope: CloudScope
    facts: list[ResourceFact] = field(default_factory=list)
    short: dict[ServiceKind, str] = field(default_factory=dict)
    projects: dict[str, ProjectFact] = field(default_factory=dict)
    inside: set[str] = field(default_factory=set)
    unplaced: set[str] = field(default_factory=set)
    """Servers without a host, of which the cloud does not tell whether they are the pool's."""
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Server → (vCPUs, MiB)."""
    offs: dict[str, tuple[str, datetime | None]] = field(default_factory=dict)
    """Server → its state and ``updated`` when it was asked since when it is off, and the answer; kept from reading to reading."""

    def read(self, now: datetime) -> Inventory:
        """Everything that the scope lists. Raises ProviderFault where nobody answers for any of it."""
        session, wanted = self.session, self.scope.lists
        roles = session.roles()
        self._projects()
        readers: Mapping[str, Callable[[], Iterator[ResourceFact]]] = {
            "servers": self._servers, "volumes": self._volumes, "snapshots": self._snapshots, "images": self._images,
            "addresses": self._addresses, "ports": self._ports, "balancers": self._balancers,
        }  # fmt: skip
        faults: list[ProviderFault] = []
        for name in (one for one in KINDS if one in wanted):
            try:
                self.facts.extend(readers[name]())
            except ProviderFault as fault:
                faults.append(fault)
                self._is_short(name, str(fault))
            if name == "servers" and self.scope.part and ServiceKind.VM in self.short:
                for beside in HANGING:  # nobody knows which of these hang on servers of the pool
                    self._is_short(beside, self.short[ServiceKind.VM])
        if faults and not self.facts:
            raise faults[0]
        if ADMIN not in roles:
            self._as_no_admin()
        facts = sorted(self.facts, key=lambda one: (one.kind.value, one.external_id))
        return Inventory(
            now, facts, True, self.short, tuple(sorted(self.projects.values(), key=lambda one: one.external_id))
        )

    def _as_no_admin(self) -> None:
        """Cinder and Neutron show who is no administrator his own project's things as if that were all."""
        for name in ("volumes", "snapshots", "addresses", "ports", "balancers"):
            if not self.short.keys() & set(KINDS[name]):
                self._is_short(name, "no role 'admin': only what is our own project's may be shown")

    def _is_short(self, name: str, why: str) -> None:
        if name in self.scope.lists:
            self.short |= dict.fromkeys(KINDS[name], why)

    def _rows(self, name: str, found: ReadList) -> list[dict[str, Any]]:
        if found.why:
            if not found.rows:
                raise ProviderFault(found.why, transient=False, code=found.code)
            self._is_short(name, found.why)
        return found.rows

    # --------------------------------------------------------------------------------------------------------- whose

    def _projects(self) -> None:
        """Names of projects and their domains, as far as we may read them."""
        self._named(self.session.all(IDENTITY, "/projects", "projects", page=ROUND))

    def all_projects(self) -> dict[str, ProjectFact]:
        """Every project, by its id. Raises ProviderFault where these may not be all."""
        found = self.session.all(IDENTITY, "/projects", "projects", page=ROUND)
        if found.why:
            raise ProviderFault(found.why, transient=True, code=found.code or "partial")
        self._named(found)
        return self.projects

    def _named(self, found: ReadList) -> None:
        domains = {
            one["id"]: str(one["name"]) for one in self.session.all(IDENTITY, "/domains", "domains", page=ROUND).rows
        }
        for one in found.rows:
            if one.get("is_domain"):
                continue
            domain = str(one.get("domain_id") or "")
            self.projects[one["id"]] = ProjectFact(
                str(one["id"]), str(one.get("name") or ""), domains.get(domain, domain),
                tuple(sorted(map(str, one.get("tags") or ()))),
            )  # fmt: skip

    def _of(self, row: Mapping[str, Any], *names: str) -> ProjectFact | None:
        id_ = next((str(row[name]) for name in names if row.get(name)), "")
        return None if not id_ else self.projects.setdefault(id_, ProjectFact(id_))

    # -------------------------------------------------------------------------------------------------------- servers

    def hosts(self) -> set[str] | None:
        """Hosts of the aggregates and zones that the pool is made of; None: all."""
        scope = self.scope
        if not scope.aggregates:
            return None
        found = self.session.get(COMPUTE, "/os-aggregates", microversion=self.session.nova())["aggregates"]
        names = {one["name"] for one in found}
        strange = next((one for one in scope.aggregates if one not in names), None)
        if strange is not None:
            raise ProviderFault(f"compute: no aggregate named {strange}", transient=False, code="query")
        return {host for one in found if one["name"] in scope.aggregates for host in one["hosts"]}

    def _servers(self) -> Iterator[ResourceFact]:
        scope, session = self.scope, self.session
        version, hosts = session.nova(), self.hosts()
        listed = session.all(COMPUTE, "/servers/detail", "servers", microversion=version, all_tenants=1)
        rows = {one["id"]: one for one in self._rows("servers", listed)}
        binned = session.all(
            COMPUTE, "/servers/detail", "servers", microversion=version, all_tenants=1, status="SOFT_DELETED"
        )
        rows |= {one["id"]: one for one in binned.rows if one.get("status") == "SOFT_DELETED"}
        if binned.why and ServiceKind.VM not in self.short:
            self._is_short("servers", binned.why)
        mine = []
        for row in rows.values():
            arch = words.arch_of(row["flavor"], scope.arches, scope.arch)
            zone = str(row.get("OS-EXT-AZ:availability_zone") or "")
            here = self._of_pool(zone, str(row.get("OS-EXT-SRV-ATTR:host") or ""), hosts)
            if here is False or (scope.only_arch and arch != scope.arch):
                continue
            (self.unplaced if here is None else self.inside).add(row["id"])
            mine.append((row, arch, zone))
        self._ask_since([row for row, _arch, _zone in mine])
        yield from (self._server(*one) for one in mine)

    def _of_pool(self, zone: str, host: str, hosts: set[str] | None) -> bool | None:
        """Whether a server lies in the pool's zones and on its hosts; None where it has none: Nova takes the host, and with it the
        zone, from a server that is shelved."""
        said: list[bool | None] = []
        if self.scope.zones:
            said.append(zone in self.scope.zones if zone else None)
        if hosts is not None:
            said.append(host in hosts if host else None)
        return False if False in said else None if None in said else True

    def _ask_since(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Ask of servers that are off since when they are, out of Nova's record of actions: of each once for its state, of those
        that changed last first, and of ``ASKED_OFF`` a reading, so that a large cloud is no more work than a small one."""
        off = {str(row["id"]): _as_it_is(row) for row in rows if str(row.get("status")) in words.SWITCHED_OFF}
        for id_ in self.offs.keys() - off.keys():
            del self.offs[id_]
        waiting = [id_ for id_, state in off.items() if self.offs.get(id_, ("", None))[0] != state]
        changed = {str(row["id"]): str(row.get("updated") or "") for row in rows}
        for id_ in sorted(waiting, key=lambda one: changed[one], reverse=True)[:ASKED_OFF]:
            try:
                told = self.session.get(
                    COMPUTE, f"/servers/{id_}/os-instance-actions", microversion=self.session.nova()
                )
            except ProviderFault:
                return  # who may not, or cannot just now, asks again with the next reading
            self.offs[id_] = off[id_], words.off_since(told.get("instanceActions") or ())

    def _server(self, row: Mapping[str, Any], arch: Arch, zone: str) -> ResourceFact:
        scope, flavor = self.scope, row["flavor"]
        told = {str(name): str(value) for name, value in (row.get("metadata") or {}).items()}
        addresses = words.addresses(row)
        tags = {**told, "flavor": str(flavor.get("original_name", ""))}
        if zone:
            tags["zone"] = zone
        if len(addresses) > 1:
            tags["addresses"] = ", ".join(addresses)
        if disk := words.local_disk(row):
            tags["local_disk_gb"] = str(disk)
        self.sizes[row["id"]] = int(flavor["vcpus"]), int(flavor["ram"])
        return ResourceFact(
            external_id=row["id"],
            name=str(row.get("name") or ""),
            kind=ServiceKind.BARE_METAL if words.is_metal(flavor) else ServiceKind.VM,
            arch=arch,
            amounts=words.amounts(row, local_disks=scope.local_disks, accelerators=scope.accelerators),
            state=words.state_of(row),
            department_code=told.get(scope.department_key) or None,
            system_code=told.get(scope.system_key) or None,
            created_at=words.moment(row.get("created")),
            stopped_at=self.offs[row["id"]][1] if row["id"] in self.offs else None,
            address=addresses[0] if addresses else None,
            tags=tags,
            cloud_state=str(row.get("status") or ""),
            project=self._of(row, "tenant_id"),
            placed=row["id"] not in self.unplaced,
        )

    # -------------------------------------------------------------------------------------------------- what is beside

    def _here(self, server: str | None) -> bool:
        """Whether a thing that hangs on ``server`` is of the pool, as far as anybody knows."""
        return not self.scope.part or not server or server in self.inside or server in self.unplaced

    def _fact(self, row: Mapping[str, Any], kind: ServiceKind, **more: Any) -> ResourceFact:
        status = str(row.get("status") or "")
        given: dict[str, Any] = {
            "name": str(row.get("name") or ""), "arch": Arch.ANY, "amounts": {}, "state": words.thing_state(status),
            "cloud_state": status, "created_at": words.moment(row.get("created_at")),
            "project": self._of(row, "os-vol-tenant-attr:tenant_id", "os-extended-snapshot-attributes:project_id",
                                "project_id", "tenant_id", "owner"),
        }  # fmt: skip
        return ResourceFact(external_id=row["id"], kind=kind, **(given | more))

    def _volumes(self) -> Iterator[ResourceFact]:
        scope = self.scope
        listed = self.session.all(VOLUMES, "/volumes/detail", "volumes", all_tenants=1)
        for row in self._rows("volumes", listed):
            on = next((str(one["server_id"]) for one in row.get("attachments") or () if one.get("server_id")), None)
            if not self._here(on) or (scope.volume_types and row.get("volume_type") not in scope.volume_types):
                continue
            if scope.volume_zones and not on and row.get("availability_zone") not in scope.volume_zones:
                continue
            told = {str(name): str(value) for name, value in (row.get("metadata") or {}).items()}
            yield self._fact(
                row, ServiceKind.VOLUME, amounts={BLOCK: int(row["size"])}, attached_to=on, placed=on not in self.unplaced,
                department_code=told.get(scope.department_key) or None, system_code=told.get(scope.system_key) or None,
                tags={**told, "type": str(row.get("volume_type") or "")},
            )  # fmt: skip

    def _snapshots(self) -> Iterator[ResourceFact]:
        """Of volumes: their GB count against the same quota as volumes do."""
        listed = self.session.all(VOLUMES, "/snapshots/detail", "snapshots", all_tenants=1)
        for row in self._rows("snapshots", listed):
            yield self._fact(
                row, ServiceKind.SNAPSHOT, amounts={BLOCK: int(row.get("size") or 0)},
                attached_to=str(row["volume_id"]) if row.get("volume_id") else None,
            )  # fmt: skip

    def _images(self) -> Iterator[ResourceFact]:
        """Those of projects; what is public is the provider's own. Pictures of servers hang on these."""
        listed = self.session.all(IMAGES, "/images", "images")
        for row in self._rows("images", listed):
            if row.get("visibility") == "public":
                continue
            of = str(row.get("instance_uuid") or row.get("base_image_ref") or "")
            tags = {"type": str(row.get("image_type") or "image"), "size": str(row.get("size") or 0)}
            yield self._fact(row, ServiceKind.IMAGE, attached_to=of or None, tags=tags)

    def _addresses(self) -> Iterator[ResourceFact]:
        listed = self.session.all(NETWORK, "/floatingips", "floatingips")
        for row in self._rows("addresses", listed):
            on = str((row.get("port_details") or {}).get("device_id") or row.get("port_id") or "") or None
            if self._here(on):
                address = str(row["floating_ip_address"])
                yield self._fact(
                    row, ServiceKind.EIP, name=address, address=address, amounts={EIP: 1}, attached_to=on,
                    placed=on not in self.unplaced,
                )  # fmt: skip

    def _ports(self) -> Iterator[ResourceFact]:
        """Those that nothing uses: a server's own go with it."""
        fields = "id,name,device_id,device_owner,status,project_id,created_at,fixed_ips"
        listed = self.session.all(NETWORK, "/ports", "ports", fields=fields.split(","))
        for row in self._rows("ports", listed):
            if not row.get("device_id") and not row.get("device_owner"):
                fixed = [str(one["ip_address"]) for one in row.get("fixed_ips") or ()]
                yield self._fact(row, ServiceKind.PORT, address=fixed[0] if fixed else None)

    def _balancers(self) -> Iterator[ResourceFact]:
        """Where there are any: few clouds without them say so otherwise than by the catalogue."""
        if not self.session.offers(BALANCERS):
            return
        listed = self.session.all(BALANCERS, "/lbaas/loadbalancers", "loadbalancers")
        for row in self._rows("balancers", listed):
            status = str(row.get("provisioning_status") or "")
            yield self._fact(
                {**row, "status": status}, ServiceKind.LOAD_BALANCER, address=str(row.get("vip_address") or "") or None
            )


def _as_it_is(row: Mapping[str, Any]) -> str:
    """What changes when a server is started or stopped: any of its changes, the more seldom ones of its lock and name, too."""
    return f"{row.get('status')} {row.get('updated')}"
