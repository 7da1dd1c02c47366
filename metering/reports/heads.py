"""Who headed a department at the end of a period, as the register and the trail had it then."""

from __future__ import annotations

from typing import Any

from sqlalchemy import or_, select

from metering.reports.frames import Frame
from metering.reports.scopes import ScopeKind
from quota.audit import AuditRecord
from quota.directory import Duty, Headship


def head(frame: Frame) -> dict[str, Any] | None:
    """Of a department's own report: name and title; None where nobody was said to be, and of other reports."""
    if frame.scope.kind is not ScopeKind.DEPARTMENT:
        return None
    tx, last = frame.tx, frame.period.last
    found = tx.scalar(
        select(Headship)
        .where(
            Headship.department_id == frame.scope.id, Headship.duty == Duty.HEAD.value, Headship.at < frame.end, Headship.since <= last,
            or_(Headship.until.is_(None), Headship.until >= last, Headship.ended_at >= frame.end),
        )
        .order_by(Headship.since.desc(), Headship.id.desc())
        .limit(1)
    )  # fmt: skip
    if found is None:
        return None
    told = {"name": found.name, "title": found.title}
    amended = (
        select(AuditRecord.before)
        .where(
            AuditRecord.at >= max(frame.end, found.at), AuditRecord.action == "department.amend_head",
            AuditRecord.subject == found.subject,
        )
        .order_by(AuditRecord.sequence.desc())
    )  # fmt: skip
    if found.ended_at is not None:
        amended = amended.where(AuditRecord.at <= found.ended_at)
    for before in tx.scalars(amended):
        if before.get("duty") == Duty.HEAD:
            told |= {name: before[name] for name in told if name in before}
    return told
