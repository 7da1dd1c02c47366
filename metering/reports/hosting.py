"""Hosted equipment at the end of a period: what a company keeps for whom, as the register and the trail have it then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from metering.reports.frames import Frame
from metering.reports.scopes import ScopeKind
from quota.audit import AuditRecord
from quota.directory import HostedEquipment


def hosting(frame: Frame) -> list[dict[str, Any]]:
    """By company and kind: what is there at the end, its units of height and power, what of it is over; what came and what left in the
    period. Of the city, a department or a company."""
    if frame.scope.kind is ScopeKind.SYSTEM:
        return []
    rows = frame.tx.scalars(
        select(HostedEquipment).where(HostedEquipment.entered_at < frame.end).order_by(HostedEquipment.id)
    ).all()
    owners = frame.owners_then("hosted_equipment", {one.id: one.department_id for one in rows})
    amended = _amended_since(frame)
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for one in rows:
        mine = one.provider_id == frame.scope.id if frame.scope.kind is ScopeKind.PROVIDER else True
        if frame.scope.kind is ScopeKind.DEPARTMENT:
            mine = owners[one.id] in (frame.scope.departments or ())
        left = one.left_at if one.left_at is not None and one.left_at < frame.end else None
        if not mine or (left is not None and left < frame.start):
            continue
        said = amended.get(one.id, {})
        cell = found.setdefault(
            (one.provider_id, said.get("kind", one.kind)),
            {"there": 0, "height_u": 0, "power_w": 0, "over": 0, "came": 0, "left": 0},
        )
        cell["came"] += one.entered_at >= frame.start
        cell["left"] += left is not None
        if left is None:
            cell["there"] += 1
            cell["height_u"] += said.get("height_u", one.height_u)
            cell["power_w"] += said.get("power_w", one.power_w)
            cell["over"] += str(said.get("ends_on", one.ends_on)) < frame.period.last.isoformat()
    return [
        {"provider": frame.name("provider", company), "kind": kind, **cell}
        for (company, kind), cell in sorted(found.items())
    ]


def _amended_since(frame: Frame) -> Mapping[int, dict[str, Any]]:
    """What was said of each then, where it is said otherwise since."""
    since = (
        select(AuditRecord.subject, AuditRecord.before)
        .where(AuditRecord.at >= frame.end, AuditRecord.action == "hosted.amend")
        .order_by(AuditRecord.sequence.desc())
    )
    found: dict[int, dict[str, Any]] = {}
    for subject, before in frame.tx.execute(since):
        found.setdefault(int(subject.partition(":")[2]), {}).update(before)
    return found
