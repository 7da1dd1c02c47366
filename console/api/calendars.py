"""Due dates as iCalendar: what waits for a person, for the calendar that the person looks at anyway.

The address holds a token that opens this calendar alone, can be revoked, and ends. It says number, kind and deadline, and leads to
the page, which asks for the login; nothing else leaves the house by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from icalendar import Calendar, Event
from sqlalchemy import select

from console.words import _
from metering import cases
from providers import orders, tickets
from providers.assessment import rectifications
from providers.billing import maintenances
from providers.orders import WorkOrder
from quota.actors import Actor, Role
from quota.db import Tx
from quota.requests import approvals

MOST = 500
"""Entries of a calendar: the nearest."""
LASTS = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Due:
    """Something that waits for a person: ``of`` is what the book calls it (request:12). ``begins``: of what takes its time until
    ``at``."""

    of: str
    title: str
    at: datetime
    begins: datetime | None = None


def due(tx: Tx, who: Actor) -> list[Due]:
    """What waits for ``who`` with a deadline, the nearest first."""
    found = [
        *_requests(tx, who),
        *_cases(tx, who),
        *_orders(tx, who),
        *_rectifications(tx, who),
        *_tickets(tx, who),
        *_maintenances(tx, who),
    ]
    return sorted(found, key=lambda one: (one.at, one.of))[:MOST]


def _requests(tx: Tx, who: Actor) -> Iterator[Due]:
    for one in approvals.queue(tx, who):
        if one.due_at is not None:
            yield Due(one.subject, _("申请 %(number)s 待办", number=one.number), one.due_at)


def _cases(tx: Tx, who: Actor) -> Iterator[Due]:
    for one in cases.queue(tx, who):
        if one.due_at is not None:
            yield Due(one.subject, _("案件 %(number)s 待办", number=one.number), one.due_at)


def _orders(tx: Tx, who: Actor) -> Iterator[Due]:
    if who.role not in (Role.PROVIDER, Role.TENANT):
        return
    states = orders.UNDER_WAY if who.role is Role.PROVIDER else {orders.OrderState.DELIVERED}
    query = select(WorkOrder).where(orders.visible(tx, who), WorkOrder.state.in_([one.value for one in states]))
    for one in tx.scalars(query.order_by(WorkOrder.due_at, WorkOrder.id).limit(MOST)):
        if one.due_at is not None:
            yield Due(one.subject, _("工单 %(number)s 待办", number=one.number), one.due_at)


def _maintenances(tx: Tx, who: Actor) -> Iterator[Due]:
    for one in maintenances.to_come(tx, who, most=MOST):
        yield Due(one.subject, _("维护 %(pool)s", pool=one.pool.name), one.ends_at, one.starts_at)


def _rectifications(tx: Tx, who: Actor) -> Iterator[Due]:
    for one in rectifications.waiting(tx, who, MOST):
        if one.state in rectifications.PARTYS_TURN:  # the day is theirs, not the review's
            yield Due(one.ref, _("整改 %(number)s 待办", number=one.number), one.due_at)


def _tickets(tx: Tx, who: Actor) -> Iterator[Due]:
    for one in tickets.waiting(tx, who, MOST):
        if one.due_at is not None:
            yield Due(one.subject, _("运维请求 %(number)s 待办", number=one.number), one.due_at)


def written(found: Iterable[Due], house: str, at: datetime, address: Callable[[str], str | None]) -> bytes:
    """The calendar ``found`` as a file; ``address(of)`` is the page of a thing, absolute, or None. Entries keep their UID, so that
    a deadline that moves is moved."""
    calendar = Calendar()
    calendar.add("prodid", "-//guanjia//due dates//")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    calendar.add("x-wr-calname", _("管家待办"))
    for one in found:
        event = Event()
        event.add("uid", f"{one.of.replace(':', '-')}@{house}")
        event.add("dtstamp", at)
        event.add("dtstart", one.begins or one.at - LASTS)
        event.add("dtend", one.at)
        event.add("summary", one.title)
        if page := address(one.of):
            event.add("url", page)
        calendar.add_component(event)
    raw: bytes = calendar.to_ical()
    return raw
