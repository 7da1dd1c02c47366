"""What there was at an instant: resources with their shapes, states and owners as the inventory's history has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from metering.overview import MACHINES
from metering.reports.frames import Frame
from quota.directory import Department
from quota.inventory import Change, Resource, ResourceChange
from quota.units import CLASSES, MEMORY, VCPU, ClassCode


@dataclass(slots=True)
class ResourceHistory:
    """A resource through the period. ``at``: its amounts (base units by class) at each of the instants asked for, None
    where it was not there; ``since``: when the history first shows it; ``until``: since when it is gone; ``address`` and
    ``addresses``: what was last said of where it is reached; ``state``: what it was last seen in, at the last of the instants."""

    id: int
    kind: str
    pool_id: int
    department_id: int | None
    system_id: int | None
    since: datetime
    until: datetime | None = None
    address: str | None = None
    state: str | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)
    at: list[Mapping[str, int] | None] = field(default_factory=list)

    @property
    def machine(self) -> bool:
        return self.kind in MACHINES


def held(frame: Frame, instants: Sequence[datetime]) -> list[ResourceHistory]:
    """Every resource of the scope that was ever there before the last of ``instants`` (which run forward), by id. Of what is
    told of a time, only what the book had been told by ``frame.known_at`` counts."""
    owners = _owners_then(frame)
    found: dict[int, ResourceHistory] = {}
    about = (Resource.kind, Resource.pool_id, Resource.department_id, Resource.system_id)
    query = (
        select(ResourceChange.resource_id, ResourceChange.at, ResourceChange.after, *about)
        .join(Resource, Resource.id == ResourceChange.resource_id)
        .where(ResourceChange.at < instants[-1], ResourceChange.seen_at <= frame.known_at)
        .order_by(ResourceChange.resource_id, ResourceChange.at, ResourceChange.id)
    )
    amounts: Mapping[str, int] = {}
    there = False
    one: ResourceHistory | None = None
    for resource_id, at, after, kind, pool_id, department_id, system_id in frame.tx.execute(query):
        if one is None or one.id != resource_id:
            _close(one, amounts if there else None, len(instants))
            amounts, there, one = {}, False, None
            owner = owners.get(resource_id, department_id)
            if frame.scope.takes(department=owner, pool=pool_id, system=system_id):
                one = found[resource_id] = ResourceHistory(resource_id, kind, pool_id, owner, system_id, at)
        if one is None:
            continue
        while len(one.at) < len(instants) and instants[len(one.at)] <= at:
            one.at.append(amounts if there else None)
        amounts = after.get("amounts", amounts)
        one.address = after.get("address", one.address)
        one.addresses = after.get("tags", one.addresses) or {}
        if "state" in after:
            one.state = after["state"]
            there = one.state is not None
            one.until = None if there else at
    _close(one, amounts if there else None, len(instants))
    return [found[key] for key in sorted(found)]


def _close(history: ResourceHistory | None, amounts: Mapping[str, int] | None, count: int) -> None:
    while history is not None and len(history.at) < count:
        history.at.append(amounts)


def _owners_then(frame: Frame) -> dict[int, int | None]:
    """Resource → the department that it had at the end of the period, of those that changed hands since. What nobody knew of then
    (a house that was founded since, a cloud that was connected since) had the first that was found for it: it is in the report
    by what was told later, and so is whose it is."""
    ids = {name: one_id for (kind, one_id), name in frame.names.items() if kind == "department"}
    ids = {one.name: one.id for one in frame.departments_then.values()} | ids  # a history says the name of its own day
    later = {name: one_id for one_id, name in frame.tx.execute(select(Department.id, Department.name))} | ids
    told_since = select(ResourceChange.resource_id).where(
        ResourceChange.what == Change.APPEARED.value, ResourceChange.seen_at >= frame.end
    )
    query = (
        select(
            ResourceChange.resource_id, ResourceChange.before, ResourceChange.after, ResourceChange.seen_at,
            ResourceChange.resource_id.in_(told_since),
        )
        .where(ResourceChange.at >= frame.end, ResourceChange.what == Change.OWNER.value)
        .order_by(ResourceChange.at.desc(), ResourceChange.id.desc())
    )  # fmt: skip
    then: dict[int, int | None] = {}
    for resource_id, before, after, seen_at, unknown in frame.tx.execute(query):
        if "owner" not in before:
            continue
        if unknown and before["owner"] is None and seen_at <= frame.known_at:
            then[resource_id] = later.get(after["owner"])
        else:
            then[resource_id] = ids.get(before["owner"])
    return then


def summed(rows: Iterable[ResourceHistory], at: int) -> dict[str, int]:
    """Base units by class of what was there at the instant number ``at``, classes in their order."""
    total: Counter[str] = Counter()
    for one in rows:
        total.update(one.at[at] or {})
    return {code: total[code] for code in CLASSES if total[code]}


def scale(frame: Frame, rows: Sequence[ResourceHistory], instants: Sequence[str]) -> dict[str, Any]:
    """Units, systems, machines and amounts at each of the named ``instants``; shares on domestic chips; by kind of service."""
    then = {name: _counted(frame, rows, at) for at, name in enumerate(instants)}
    last = len(instants) - 1
    there = [one for one in rows if one.at[last] is not None]
    return {
        "at": then,
        "services": [[kind, count] for kind, count in sorted(Counter(one.kind for one in there).items())],
        "appeared": sum(frame.start <= one.since < frame.end for one in rows),
        "gone": sum(one.until is not None and frame.start <= one.until for one in rows),
        "ownerless": sum(one.department_id is None for one in there),
    }


def _counted(frame: Frame, rows: Sequence[ResourceHistory], at: int) -> dict[str, Any]:
    there = [one for one in rows if one.at[at] is not None]
    machines = [one for one in there if one.machine]
    domestic = [one for one in machines if frame.pools[one.pool_id].xinchuang]
    return {
        "departments": len({one.department_id for one in there} - {None}),
        "systems": len({one.system_id for one in there} - {None}),
        "machines": len(machines),
        "resources": len(there),
        "amounts": summed(there, at),
        "domestic_machines": len(domestic),
        "domestic_vcpu": sum(int((one.at[at] or {}).get(VCPU, 0)) for one in domestic),
        "machine_vcpu": sum(int((one.at[at] or {}).get(VCPU, 0)) for one in machines),
    }


def owners(frame: Frame, rows: Sequence[ResourceHistory], at: int) -> list[dict[str, Any]]:
    """What each department had, the largest by vCPU first; nobody's last."""
    by: dict[int | None, list[ResourceHistory]] = {}
    for one in rows:
        if one.at[at] is not None:
            by.setdefault(one.department_id, []).append(one)
    told = [
        {
            "department": frame.name("department", one_id),
            "systems": len({one.system_id for one in mine} - {None}),
            "machines": sum(one.machine for one in mine),
            "resources": len(mine),
            "vcpu": _sum(mine, at, VCPU),
            "memory": _sum(mine, at, MEMORY),
        }
        for one_id, mine in by.items()
    ]
    return sorted(told, key=lambda one: (one["department"] is None, -one["vcpu"], one["department"] or ""))


def _sum(rows: Iterable[ResourceHistory], at: int, kind: ClassCode) -> int:
    return sum(int((one.at[at] or {}).get(kind, 0)) for one in rows)
