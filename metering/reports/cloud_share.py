"""上云率 at the end of a period: systems in use that run nowhere outside the cloud, as the registers and the trail have them then, beside
the year's target."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import select

from metering.reports.adaptation import in_use
from metering.reports.frames import Frame
from metering.reports.scopes import ScopeKind
from quota.audit import AuditRecord
from quota.directory import OutsideFacility, OutsideFacilitySystem, cloud_targets

AMENDED = ("outside.register", "outside.amend", "outside.leave", "outside.reopen")


def share(frame: Frame) -> dict[str, Any] | None:
    """Of the city and each department with a target of its own, or of a department and what is below it; None of others."""
    if frame.scope.kind not in (ScopeKind.CITY, ScopeKind.DEPARTMENT):
        return None
    outside, owners, last = _outside(frame), frame.owners_of_systems, frame.period.last
    there = [
        one.id
        for one in frame.systems.values()
        if one.id not in frame.registered_since
        and in_use(frame, one, last)
        and frame.scope.takes(department=owners[one.id], pool=0, system=one.id)
    ]
    target = cloud_targets.of_year(frame.tx, last.year, frame.end)
    whose = None if frame.whole else frame.scope.id
    return {
        "year": last.year,
        "systems": len(there),
        "on": sum(one not in outside for one in there),
        "target": target.share(whose) if target is not None else None,
        "departments": _departments(frame, there, outside, target.shares) if frame.whole and target is not None else [],
    }


def _departments(frame: Frame, there: list[int], outside: set[int], shares: dict[str, int]) -> list[dict[str, Any]]:
    owners, parents = frame.owners_of_systems, {one.id: one.parent_id for one in frame.departments_then.values()}
    total: Counter[int] = Counter()
    away: Counter[int] = Counter()
    for system in there:
        line = _line(parents, owners[system])
        total.update(line)
        away.update(line if system in outside else [])
    return [
        {
            "department": frame.name("department", one.id),
            "systems": total[one.id],
            "on": total[one.id] - away[one.id],
            "target": shares[str(one.id)],
        }
        for one in frame.departments_then.values()
        if str(one.id) in shares
    ]


def _line(parents: dict[int, int | None], department_id: int | None) -> list[int]:
    """A department and all that it lies under."""
    found: list[int] = []
    while department_id is not None and department_id not in found:
        found.append(department_id)
        department_id = parents.get(department_id)
    return found


def _outside(frame: Frame) -> set[int]:
    """Systems that ran outside then: what was said otherwise since is taken back, as the trail has it."""
    tx, last = frame.tx, frame.period.last
    left = {
        one: day is not None and day <= last
        for one, day in tx.execute(select(OutsideFacility.id, OutsideFacility.left_on))
    }
    systems: dict[int, set[int]] = {one: set() for one in left}
    for facility, system in tx.execute(select(OutsideFacilitySystem.facility_id, OutsideFacilitySystem.system_id)):
        systems[facility].add(system)
    since = (
        select(AuditRecord.subject, AuditRecord.action, AuditRecord.before)
        .where(AuditRecord.at >= frame.end, AuditRecord.action.in_(AMENDED))
        .order_by(AuditRecord.sequence.desc())
    )
    for subject, action, before in tx.execute(since):
        number = int(subject.partition(":")[2])
        if action == "outside.register":
            left[number] = True
        elif action != "outside.amend":
            said = before.get("left_on")
            left[number] = said is not None and said <= last.isoformat()
        elif "systems" in before:
            systems[number] = set(before["systems"])
    return {system for facility, many in systems.items() if not left[facility] for system in many}
