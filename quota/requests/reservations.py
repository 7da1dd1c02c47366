"""Reservations (预定): what was granted for a window that is still to come. The quota is used from the last signature on, the machine grows
shortly before the window begins, and goes back by itself when its term is over.

A reservation is a granted request whose delivery begins later (`RequestKind.starts`); until then its department may cancel it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, and_, case, func, select

from quota import ledger
from quota.errors import N_, WrongState, stated
from quota.requests import progress
from quota.requests.declarations import kind_of, known
from quota.requests.rules import StepName
from quota.requests.tables import OPEN, Request, RequestLine, RequestState, RequestStep
from quota.units import MEMORY, VCPU, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx


def begins(request: Request) -> datetime | None:
    """When the delivery of what was granted begins; None where it was not granted."""
    step = request.step(StepName.DELIVERY)
    return step.started_at if step is not None and request.state == RequestState.APPROVED else None


def waits(tx: Tx, request: Request) -> bool:
    """Whether it was granted for a window that is still to come."""
    at = begins(request)
    return at is not None and at > tx.now


def later(now: datetime) -> Select[int]:
    """Ids of requests whose delivery does not begin before then."""
    return select(RequestStep.request_id).where(
        RequestStep.name == StepName.DELIVERY.value, RequestStep.started_at > now
    )


def due(tx: Tx) -> list[int]:
    """Ids of granted requests whose delivery may begin, in the order in which they were filed."""
    query = select(Request.id).where(Request.state == RequestState.APPROVED.value, Request.id.not_in(later(tx.now)))
    return list(tx.scalars(query.order_by(Request.id)))


@dataclass(frozen=True, slots=True)
class ReservedDay:
    """How many machines are reserved for a day, and how many vCPU and MiB more that are; ``asked``: how many more are asked for."""

    machines: int = 0
    vcpu: int = 0
    memory: int = 0
    asked: int = 0


HELD = (RequestState.APPROVED, RequestState.DELIVERING, RequestState.ACCEPTING, RequestState.DONE)
"""States in which a reservation holds its quota, or has been carried out."""


BEGINS = "begins"
"""The field of a kind that reserves in which a request says the first day of its peak, YYYY-MM-DD."""


def peak() -> Any:
    """The first day of the peak that a request is for, as text; none where it says none."""
    return Request.fields[BEGINS].as_string()


def peak_of(request: Request) -> date | None:
    """The first day of the peak that a request of a kind that reserves is for; None where it is for none."""
    said = request.fields.get(BEGINS) if kind_of(request).starts is not None else None
    return date.fromisoformat(said) if said else None


def reserving() -> ColumnElement[bool]:
    """Whether a request reserves: its kind may, and it says for which peak."""
    return and_(Request.kind.in_([one.code for one in known() if one.starts is not None]), peak().is_not(None))


def by_day(tx: Tx, first: date, last: date) -> dict[date, ReservedDay]:
    """What is reserved for each of these days, as far as the actor may see it; days without anything are absent. Summed where it lies, a row
    for each window that there is."""
    held = case((Request.state.in_([one.value for one in HELD]), 1), else_=0)
    granted = func.coalesce(RequestLine.approved, RequestLine.asked)

    def more(cls: ClassCode) -> Any:
        return func.coalesce(granted[cls].as_integer(), 0) - func.coalesce(RequestLine.current[cls].as_integer(), 0)

    columns = peak().label("peak"), Request.use_until.label("until"), held.label("held"), more(VCPU).label("vcpu")
    inner = (
        select(*columns, more(MEMORY).label("memory"))
        .join(RequestLine, RequestLine.request_id == Request.id)
        .where(progress.visible(tx), Request.state.in_([one.value for one in (*HELD, *OPEN)]))
        .where(reserving(), peak() <= last.isoformat(), Request.use_until >= first)
        .subquery()
    )
    sums = select(
        inner.c.peak, inner.c.until, func.count(), func.sum(inner.c.held), *(func.sum(inner.c.held * one) for one in (inner.c.vcpu, inner.c.memory)),
    ).group_by(inner.c.peak, inner.c.until)  # fmt: skip
    found: dict[date, ReservedDay] = {}
    for begins_on, until, count, machines, vcpu, memory in tx.execute(sums):
        day = max(first, date.fromisoformat(begins_on))
        while day <= min(last, until):
            was = found.get(day, ReservedDay())
            found[day] = ReservedDay(
                was.machines + machines, was.vcpu + vcpu, was.memory + memory, was.asked + count - machines
            )
            day += timedelta(days=1)
    return found


def cancel(tx: Tx, request_id: int, *, generation: int, reason: str) -> Request:
    """The department needs it no more: what it took is the department's quota again. WrongState once its delivery may have begun."""
    found = progress.lock(tx, request_id, generation)
    progress.own(tx, found)
    reason = stated(reason)
    if not waits(tx, found):
        raise WrongState("reservation.begun", N_("预定已开始执行或已结束，不能取消"))
    takes = found.takes(approved=True)
    if takes:
        where = (found.pool_id, found.department_id)
        ledger.release(tx, *where, takes, key=f"{found.subject}/cancel", subject=found.subject)
        progress.refill(tx, found, takes, f"{found.subject}/cancel")
    progress.close(tx, found, RequestState.WITHDRAWN, "request.cancel_reservation", reason)
    return found
