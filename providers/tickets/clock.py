"""The clock of a ticket with one party: by when it must be answered and solved. Time with the department is not counted.

Pure. Limits are kept with the ticket as they stood when it was filed (``written``), so that no later rule moves them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from providers.ticket_terms import TicketTerms

if TYPE_CHECKING:
    from quota.calendar import WorkingDays

Allowed = Mapping[str, Any]
"""As ``written``: ``respond`` and ``resolve`` in minutes or working days, ``confirm`` in working days."""


def written(terms: TicketTerms, level: int) -> dict[str, Any]:
    """What a ticket of this level is held to, as it is kept."""
    limit = terms.limits[level]
    return {
        "respond": _told(limit.respond),
        "resolve": _told(limit.recover),
        "confirm": {"days": terms.confirm_days},
    }


def _told(allowed: timedelta | int) -> dict[str, int]:
    return {"days": allowed} if isinstance(allowed, int) else {"minutes": int(allowed.total_seconds()) // 60}


def limits(
    days: WorkingDays,
    began: datetime,
    allowed: Allowed,
    pauses: Sequence[Sequence[str]],
    responded: datetime | None,
) -> tuple[datetime, datetime]:
    """By when it must be answered, and solved. ``pauses``: (from, to) of the times that it lay with the department or with another
    party; ``responded``: when it was answered, after which no pause moves the time for that."""
    respond_by, resolve_by = _after(days, began, allowed["respond"]), _after(days, began, allowed["resolve"])
    for start, end in pauses:
        since, until = datetime.fromisoformat(start), datetime.fromisoformat(end)
        resolve_by = _later(days, resolve_by, allowed["resolve"], since, until)
        if responded is None or since < responded:
            respond_by = _later(days, respond_by, allowed["respond"], since, until)
    return respond_by, resolve_by


def confirm_by(days: WorkingDays, since: datetime, allowed: Allowed) -> datetime:
    """By when the department must say something."""
    return _after(days, since, allowed["confirm"])


def _later(days: WorkingDays, at: datetime, told: Mapping[str, int], since: datetime, until: datetime) -> datetime:
    return days.due(at, days.between(since, until)) if "days" in told else at + (until - since)


def _after(days: WorkingDays, start: datetime, told: Mapping[str, int]) -> datetime:
    return days.due(start, told["days"]) if "days" in told else start + timedelta(minutes=told["minutes"])
