"""What an OpenStack's own books say: the quota of each project (quota sets, and Keystone's limits beside them) and the pool's
capacity by Placement and Cinder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from providers.adapters.openstack import words
from providers.adapters.openstack.listing import CloudScope
from providers.adapters.openstack.session import COMPUTE, IDENTITY, NETWORK, PLACEMENT, ROUND, VOLUMES, CloudSession
from providers.base import CloudCapacity, ProjectFact, ProjectQuota, ProviderFault
from quota.units import BLOCK, EIP, ClassCode

SERVICE_PROJECT = "service"
DEFAULT_ZONE = "nova"


def whole(session: CloudSession, service: str, path: str, key: str, **more: Any) -> list[dict[str, Any]]:
    """All of a list. Raises ProviderFault where it is not all."""
    found = session.all(service, path, key, **more)
    if found.why:
        raise ProviderFault(found.why, transient=True, code=found.code or "partial")
    return found.rows


# ----------------------------------------------------------------------------------------------------------------- quotas


def quotas(session: CloudSession, projects: Mapping[str, ProjectFact]) -> list[ProjectQuota]:
    """Of every project but the services' own. As Nova answers for its quota sets whichever of the two it enforces, these
    are the limits, and Keystone's stand beside them."""
    unified = _unified(session)
    volumes, network = session.offers(VOLUMES), session.offers(NETWORK)
    found = []
    for id_, project in sorted(projects.items()):
        if project.name == SERVICE_PROJECT:
            continue
        limits: dict[ClassCode, int | None] = {}
        used: dict[ClassCode, int] = {}
        told = session.get(COMPUTE, f"/os-quota-sets/{id_}/detail", microversion=session.nova())["quota_set"]
        for name, (code, factor) in words.QUOTA_CLASSES.items():
            _enter(limits, used, code, told.get(name), factor)
        if volumes:
            told = session.get(VOLUMES, f"/os-quota-sets/{id_}", usage="True")["quota_set"]
            _enter(limits, used, BLOCK, told.get("gigabytes"))
        if network:
            told = session.get(NETWORK, f"/quotas/{id_}/details")["quota"]
            _enter(limits, used, EIP, told.get("floatingip"))
        found.append(ProjectQuota(project, limits, used, unified(id_)))
    return found


def _enter(
    limits: dict[ClassCode, int | None], used: dict[ClassCode, int], code: ClassCode, told: Any, factor: int = 1
) -> None:
    """One row of a quota set: a limit below zero is none. Nova and Cinder say in_use, Neutron used."""
    if isinstance(told, Mapping):
        most = int(told["limit"])
        limits[code] = None if most < 0 else most * factor
        used[code] = max(int(told.get("in_use", told.get("used", 0))), 0) * factor


@dataclass(frozen=True, slots=True)
class KeystoneLimits:
    """Nova's limits in Keystone, as they hold in our region: ``registered``: resource name → the row that holds for all;
    ``own``: project → resource name → the row of its own."""

    registered: Mapping[str, Mapping[str, Any]]
    own: Mapping[str, Mapping[str, Mapping[str, Any]]]


def keystone_limits(session: CloudSession) -> KeystoneLimits:
    """Nothing where Keystone has none, or is too old to keep any. Raises ProviderFault where they can't be read: that says nothing
    of whether there are any."""
    listed = session.all(IDENTITY, "/registered_limits", "registered_limits", page=ROUND)
    if listed.why and not listed.absent:
        raise ProviderFault(listed.why, transient=True, code=listed.code or "partial")
    service, region = session.whereabouts(COMPUTE)

    def ours(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Other services and regions give their limits the same names. One of a region goes before one of all."""
        found = [
            one
            for one in rows
            if (not service or one.get("service_id") in (None, service))
            and (not region or one.get("region_id") in (None, "", region))
        ]
        return sorted(found, key=lambda one: bool(one.get("region_id")))

    registered = {str(one["resource_name"]): one for one in ours(listed.rows)}
    own: dict[str, dict[str, Mapping[str, Any]]] = {}
    if registered:
        for one in ours(whole(session, IDENTITY, "/limits", "limits", page=ROUND)):
            own.setdefault(str(one.get("project_id")), {})[str(one["resource_name"])] = one
    return KeystoneLimits(registered, own)


def _unified(session: CloudSession) -> Any:
    """Project → its limits in Keystone: its own, or else those registered for all; nothing where there are none."""
    limits = keystone_limits(session)
    registered = {name: int(row["default_limit"]) for name, row in limits.registered.items()}
    own = {
        project: {name: int(row["resource_limit"]) for name, row in rows.items()}
        for project, rows in limits.own.items()
    }

    def of(project: str) -> dict[ClassCode, int | None]:
        told = {**registered, **own.get(project, {})}
        return {
            code: None if told[name] < 0 else told[name] for name, code in words.LIMIT_CLASSES.items() if name in told
        }

    return of


# --------------------------------------------------------------------------------------------------------------- capacity


def capacity(session: CloudSession, scope: CloudScope) -> list[CloudCapacity]:
    """What Placement has of each class on the pool's hosts, and Cinder in its backends."""
    providers = whole_providers(session)
    inside = _inside(session, scope)
    sums = _Sums()
    for one in providers:
        if inside is not None and one["uuid"] not in inside:
            continue
        has = session.get(PLACEMENT, f"/resource_providers/{one['uuid']}/inventories")["inventories"]
        if not has:
            continue
        gone = session.get(PLACEMENT, f"/resource_providers/{one['uuid']}/usages")["usages"]
        for name, code in words.PLACEMENT_CLASSES.items():
            if name in has:
                row = has[name]
                sums.add(
                    code, int(row["total"]), int(row.get("reserved", 0)), Decimal(str(row.get("allocation_ratio", 1))),
                    int(gone.get(name, 0)),
                )  # fmt: skip
    if "volumes" in scope.lists and session.offers(VOLUMES):
        _backends(session, sums)
    return sums.told()


def whole_providers(session: CloudSession) -> list[dict[str, Any]]:
    """Placement's resource providers; it has no pages."""
    found: list[dict[str, Any]] = session.get(PLACEMENT, "/resource_providers")["resource_providers"]
    return found


class _Sums:
    def __init__(self) -> None:
        self.rows: dict[ClassCode, list[Decimal]] = {}

    def add(self, code: ClassCode, total: int, reserved: int, ratio: Decimal, used: int) -> None:
        row = self.rows.setdefault(code, [Decimal(0)] * 4)
        for place, value in enumerate((Decimal(total), Decimal(reserved), (total - reserved) * ratio, Decimal(used))):
            row[place] += value

    def told(self) -> list[CloudCapacity]:
        """Of hosts with different ratios, the one that gives out as much in all."""
        found = []
        for code, (total, reserved, usable, used) in self.rows.items():
            rest = total - reserved
            found.append(
                CloudCapacity(code, int(total), int(reserved), usable / rest if rest else Decimal(1), int(used))
            )
        return found


def _inside(session: CloudSession, scope: CloudScope) -> set[str] | None:
    """Ids of the hypervisors (which are those of their resource providers) that the pool is made of; None: all."""
    if not scope.zones and not scope.aggregates:
        if scope.only_arch:
            raise ProviderFault(
                "placement: which hosts are of one architecture is told by zones or aggregates", transient=False, code="query"
            )  # fmt: skip
        return None
    aggregates = session.get(COMPUTE, "/os-aggregates", microversion=session.nova())["aggregates"]
    zones = {
        host: one["metadata"]["availability_zone"]
        for one in aggregates
        if one.get("availability_zone")
        for host in one["hosts"]
    }
    chosen = {host for one in aggregates if one["name"] in scope.aggregates for host in one["hosts"]}
    hypervisors: Iterable[dict[str, Any]] = whole(
        session, COMPUTE, "/os-hypervisors/detail", "hypervisors", microversion=session.nova()
    )
    found = set()
    for one in hypervisors:
        host = str(one["service"]["host"])
        if scope.zones and zones.get(host, DEFAULT_ZONE) not in scope.zones:
            continue
        if scope.aggregates and host not in chosen:
            continue
        found.add(str(one["id"]))
    return found


def _backends(session: CloudSession, sums: _Sums) -> None:
    """Cinder's backends; one that says it is infinite, or not how large, tells nothing."""
    for one in session.get(VOLUMES, "/scheduler-stats/get_pools", detail="True").get("pools", ()):
        has = one.get("capabilities") or {}
        try:
            total = int(float(has["total_capacity_gb"]))
            reserved = -(-total * int(has.get("reserved_percentage") or 0) // 100)
            used = int(float(has.get("provisioned_capacity_gb") or has.get("allocated_capacity_gb") or 0))
            ratio = Decimal(str(has.get("max_over_subscription_ratio") or 1)) if _thin(has) else Decimal(1)
        except (KeyError, ValueError, TypeError, ArithmeticError, OverflowError):
            continue
        sums.add(BLOCK, total, reserved, ratio, used)


def _thin(has: Mapping[str, Any]) -> bool:
    return str(has.get("thin_provisioning_support")).lower() == "true"
