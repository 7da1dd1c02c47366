"""How companies did: their cards of the period, incidents with whose they were ruled to be, and what they were ordered to put
right."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select, true
from sqlalchemy.orm import joinedload, selectinload

from metering.reports.frames import Frame, rounded
from metering.reports.scopes import ScopeKind
from metering.supervision import SupervisionAlert, SupervisionItem
from providers.assessment import Rectification, RectificationState, ScorecardRecord
from providers.billing import Incident
from quota.directory import Pool, System


def cards(frame: Frame) -> list[dict[str, Any]]:
    """Published cards of months and quarters within the period, as they were known; the newest revision of each. They are
    published to everybody, yet a department's report is about itself."""
    if frame.scope.kind not in (ScopeKind.CITY, ScopeKind.PROVIDER):
        return []
    months = frame.period.months()
    query = (
        select(ScorecardRecord)
        .where(
            ScorecardRecord.provider_id.is_not(None),
            ScorecardRecord.month.in_([*months, *_quarters(months)]),
            ScorecardRecord.published_at <= frame.known_at,
            frame.scope.rows(provider=ScorecardRecord.provider_id),
        )
        .order_by(ScorecardRecord.month, ScorecardRecord.provider_id, ScorecardRecord.revision)
    )
    newest = {(one.month, one.provider_id): one for one in frame.tx.scalars(query)}
    return [
        {
            "period": one.month,
            "provider": frame.name("provider", one.provider_id),
            "revision": one.revision,
            "total": None if one.total is None else str(one.total),
            "grade": one.grade,
            "scored": str(one.scored_weight),
            "formula": one.formula_version,
            "veto": bool(one.veto),
            "digest": one.digest,
        }
        for one in newest.values()
    ]


def _quarters(months: Iterable[str]) -> list[str]:
    """The quarters all of whose months are among ``months``."""
    known = list(months)
    found = []
    for month in known:
        year, number = int(month[:4]), int(month[5:])
        if number % 3 == 0 and all(f"{year}-{one:02d}" in known for one in (number - 2, number - 1)):
            found.append(f"{year}-Q{number // 3}")
    return found


def incidents(frame: Frame) -> dict[str, Any]:
    """Incidents that began in the period by level, whose they were ruled to be, and how long they lasted (minutes); without reports
    that were ruled to be of the same outage as another."""
    query = select(Incident).where(
        Incident.started_at >= frame.start,
        Incident.started_at < frame.end,
        Incident.reported_at <= frame.known_at,
        frame.scope.rows(pool=Incident.pool_id, provider=Incident.provider_id),
    )
    every = frame.tx.scalars(query.order_by(Incident.started_at, Incident.id))
    rows = [one for one in every if one.same_as_id is None or not _settled(frame, one)]
    levels: dict[int, list[Incident]] = {}
    for one in rows:
        levels.setdefault(one.level, []).append(one)
    return {
        "levels": [
            {
                "level": level,
                "count": len(mine),
                "minutes": rounded(sum(_minutes(frame, one) for one in mine)),
                "unsettled": sum(not _settled(frame, one) for one in mine),
                "companies": sum(_settled(frame, one) and one.responsibility == "provider" for one in mine),
            }
            for level, mine in sorted(levels.items())
        ],
        "list": [
            {
                "provider": frame.name("provider", one.provider_id),
                "pool": frame.name("pool", one.pool_id),
                "title": one.title,
                "level": one.level,
                "started": one.started_at.astimezone(frame.calendar.zone).isoformat(timespec="minutes"),
                "minutes": rounded(_minutes(frame, one)),
                "responsibility": one.responsibility if _settled(frame, one) else None,
            }
            for one in rows
        ],
    }


def _settled(frame: Frame, incident: Incident) -> bool:
    return incident.settled_at is not None and incident.settled_at <= frame.known_at


def _minutes(frame: Frame, incident: Incident) -> float:
    """To its recovery, or to the end of the period where it was not over then."""
    until = (
        incident.recovered_at if incident.recovered_at is not None and incident.recovered_at < frame.end else frame.end
    )
    return max(0.0, (until - incident.started_at).total_seconds() / 60)


def rectifications(frame: Frame) -> list[dict[str, Any]]:
    """Orders to rectify that ran within the period, as they stood at its end. ``in_time``: whether what stood was handed in by
    its day; None where the day was still to come, or nothing is asked any more."""
    systems = select(System.department_id).where(System.id == Rectification.system_id).scalar_subquery()
    query = (
        select(Rectification)
        .where(
            Rectification.ordered_at < frame.end,
            or_(Rectification.closed_at.is_(None), Rectification.closed_at >= frame.start),
            frame.scope.rows(
                provider=Rectification.provider_id,
                system=Rectification.system_id,
                department=func.coalesce(Rectification.department_id, systems),
            ),
        )
        .options(selectinload(Rectification.steps))
        .order_by(Rectification.due_at, Rectification.id)
    )
    return [_rectified(frame, one) for one in frame.tx.scalars(query)]


def supervision(frame: Frame) -> list[dict[str, Any]]:
    """Alerts of supervision that stood within the period, as they were at its end: of what a report is about, those that its reader was
    told of. ``in_time``: whether it was answered by its limit; None where that was still to come, or it was over before."""
    one, item = SupervisionAlert, SupervisionItem
    owners = select(System.department_id).where(System.id == one.system_id).scalar_subquery()
    companies = select(Pool.provider_id).where(Pool.id == one.pool_id).scalar_subquery()
    told = {
        ScopeKind.DEPARTMENT: item.tells_department,
        ScopeKind.SYSTEM: item.tells_department,
        ScopeKind.PROVIDER: item.tells_provider,
    }
    query = (
        select(one)
        .join(item, item.id == one.item_id)
        .where(
            one.opened_at < frame.end,
            or_(one.closed_at.is_(None), one.closed_at >= frame.start),
            told.get(frame.scope.kind, true()),
            frame.scope.rows(
                provider=func.coalesce(one.provider_id, companies),
                system=one.system_id,
                department=func.coalesce(one.department_id, owners),
            ),
        )
        .options(joinedload(one.item))
        .order_by(one.id)
    )
    return [_alerted(frame, row) for row in frame.tx.scalars(query)]


def _alerted(frame: Frame, alert: SupervisionAlert) -> dict[str, Any]:
    zone, end = frame.calendar.zone, frame.end
    closed = alert.closed_at if alert.closed_at is not None and alert.closed_at < end else None
    answered = alert.answered_at if alert.answered_at is not None and alert.answered_at < end else None
    late = alert.due_at < (answered or closed or end)
    kind, _colon, number = alert.object_key.partition(":")
    return {
        "code": alert.number,
        "item": alert.item.name,
        "level": alert.item.level,
        "about": frame.name(kind, int(number)) if number else None,
        "figure": f"{alert.opened_with.normalize():f}",
        "side": alert.item.side,
        "threshold": f"{alert.item.threshold.normalize():f}",
        "unit": alert.item.measured.unit,
        "opened": alert.opened_at.astimezone(zone).isoformat(timespec="minutes"),
        "closed": None if closed is None else closed.astimezone(zone).isoformat(timespec="minutes"),
        "in_time": not late if answered is not None or late else None,
    }


def _whom(frame: Frame, rectification: Rectification) -> str | None:
    """The name of whom it is about; None: the steward itself."""
    return (
        frame.name("provider", rectification.provider_id)
        or frame.name("department", rectification.department_id)
        or frame.name("system", rectification.system_id)
    )


def _rectified(frame: Frame, rectification: Rectification) -> dict[str, Any]:
    stands = RectificationState.ORDERED
    handed_in: datetime | None = None
    for step in (step for step in rectification.steps if step.at < frame.end):
        stands = RectificationState(step.step)
        if stands is RectificationState.PROVEN:
            handed_in = step.at
        elif stands is RectificationState.REFUSED:
            handed_in = None
    in_time: bool | None = None
    if stands is not RectificationState.WITHDRAWN:
        late = rectification.due_at < (handed_in or frame.end)
        in_time = not late if handed_in is not None or late else None
    zone = frame.calendar.zone
    return {
        "code": rectification.number,
        "whom": _whom(frame, rectification),
        "about": rectification.title,
        "due": rectification.due_at.astimezone(zone).date().isoformat(),
        "handed_in": None if handed_in is None else handed_in.astimezone(zone).isoformat(timespec="minutes"),
        "stands": stands.value,
        "in_time": in_time,
    }
