"""How far systems were moved to domestic chips, reached by IPv6, classed and assessed, as of the period's end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from metering.reports.frames import Frame
from metering.reports.inventories import ResourceHistory
from metering.reports.scopes import ScopeKind
from quota.directory import DatedKind, System, assurance, was_in_use
from quota.inventory import readiness


def adaptation(frame: Frame, rows: Sequence[ResourceHistory], at: int) -> dict[str, Any]:
    """Pools with their machines' addresses, and, but for a company, systems in use with what was said of them; ``at``: the last of
    the instants that ``rows`` tell of. What is in the recycle bin by then counts no more."""
    machines = [one for one in rows if one.machine and one.at[at] is not None and one.state not in readiness.PUT_AWAY]
    return {"pools": _pools(frame, machines), "systems": _systems(frame, machines)}


def _counts(machines: Sequence[ResourceHistory]) -> dict[str, int]:
    return {
        "machines": len(machines),
        "addressed": sum(readiness.addressed(one.address, one.addresses) for one in machines),
        "ipv6": sum(readiness.speaks_ipv6(one.address, one.addresses) for one in machines),
    }


def _pools(frame: Frame, machines: Sequence[ResourceHistory]) -> list[dict[str, Any]]:
    by: dict[int, list[ResourceHistory]] = {}
    for one in machines:
        by.setdefault(one.pool_id, []).append(one)
    return [
        {
            "pool": frame.name("pool", pool_id),
            "provider": frame.name("provider", frame.pools[pool_id].provider_id),
            "domestic": frame.pools[pool_id].xinchuang,
            **_counts(by[pool_id]),
        }
        for pool_id in sorted(by)
    ]


def _systems(frame: Frame, machines: Sequence[ResourceHistory]) -> list[dict[str, Any]]:
    """A company is told of no department's systems here. One that was entered since is there by machines that were: of a house that
    was founded since, or a cloud that was connected since."""
    if frame.scope.kind is ScopeKind.PROVIDER:
        return []
    by: dict[int, list[ResourceHistory]] = {}
    for one in machines:
        if one.system_id is not None:
            by.setdefault(one.system_id, []).append(one)
    last = frame.period.last
    found = []
    for system in frame.systems.values():
        mine, owner = by.get(system.id, []), frame.owners_of_systems[system.id]
        if system.id in frame.registered_since and not mine:
            continue
        if not frame.scope.takes(department=owner, pool=0, system=system.id) or not in_use(frame, system, last):
            continue
        found.append(
            {
                "system": frame.name("system", system.id),
                "department": frame.name("department", owner),
                "mlps_level": _said(frame, system, "mlps_level"),
                "record": bool(_said(frame, system, "mlps_record")),
                "mlps": _assessed(frame, system, DatedKind.MLPS, last),
                "crypto": _assessed(frame, system, DatedKind.CRYPTO, last),
                "crypto_level": _said(frame, system, "crypto_level"),
                "data": _said(frame, system, "data_level") or None,
                "planned": _day(_said(frame, system, "xinchuang_by")),
                "domestic": sum(frame.pools[one.pool_id].xinchuang for one in mine),
                **_counts(mine),
            }
        )
    return sorted(found, key=lambda one: (one["department"] or "", one["system"] or ""))


def in_use(frame: Frame, system: System, last: date) -> bool:
    """Whether a system was in use on ``last``, by what was said of it at the end of the period."""
    online, offline = (_date(_said(frame, system, name)) for name in ("online_on", "offline_on"))
    return was_in_use(last, online_on=online, offline_on=offline, active=bool(_said(frame, system, "active")))


def _said(frame: Frame, system: System, field: str) -> Any:
    return frame.said_of_systems.get(system.id, {}).get(field, getattr(system, field))


def _date(said: Any) -> date | None:
    return date.fromisoformat(said) if isinstance(said, str) and said else said or None


def _day(said: Any) -> str | None:
    found = _date(said)
    return None if found is None else found.isoformat()


def _assessed(frame: Frame, system: System, kind: DatedKind, last: date) -> dict[str, Any]:
    """The day of the last assessment that was known, and whether it still counted on the period's last day."""
    day = _date(_said(frame, system, assurance.KINDS[kind]))
    until = assurance.good_until(kind, _said(frame, system, "mlps_level"), day)
    return {"on": None if day is None else day.isoformat(), "good": until is not None and last <= until}
