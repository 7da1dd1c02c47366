"""What was granted for a time and is given back by itself (临时扩容): an order that makes the resource what it was before.

A clock makes nothing smaller that is still needed: storeys above say what stands against it (``against``), when it would be ordered
and again before a cloud is told. It stays as it is until the department gives it back, has the term extended, or nothing stands
against it any more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import String, cast, exists, literal, select

from providers.base import Verb
from providers.orders.handwork import cancel
from providers.orders.placing import place
from providers.orders.tables import BY_CLOCK, RETURN, OrderState, WorkOrder
from quota.actors import Role
from quota.calendar import ZONE
from quota.errors import N_, Conflict, Refused, WrongState
from quota.inventory import Resource, ResourceState
from quota.requests import (
    NoticeKind,
    Request,
    RequestState,
    changed,
    kind_of,
    known,
    lock,
    must_be,
    notices,
    own,
    targets,
    terms,
)
from quota.units import Amount

if TYPE_CHECKING:
    from quota.db import Tx

Objection = Callable[["Tx", Resource, Amount, date], Refused | None]
"""Why a resource must not be made by a clock what the amounts say, having been more since the day, as a refusal with its sentence;
None where it may."""

OTHERWISE = Conflict("return.changed", N_("资源规格已另行变更，期满不再自动恢复，须核对是否归还"))

LATELY = timedelta(hours=1)

_objections: list[Objection] = []


class LoanStanding(StrEnum):
    """What became of what was granted for a time: it is there as it was granted; more was granted for a time on top of it; it was
    changed otherwise, and is no loan any more; the resource is gone."""

    THERE = "there"
    UNDER = "under"
    CHANGED = "changed"
    GONE = "gone"


def against(objection: Objection) -> Objection:
    """Have ``objection`` asked before a clock gives anything back (a decorator)."""
    if objection not in _objections:
        _objections.append(objection)
    return objection


def order_of(tx: Tx, request: Request) -> WorkOrder | None:
    """The order that gives back what ``request`` was granted; None where there is none that goes, or went."""
    query = select(WorkOrder).where(
        WorkOrder.key.startswith(_key(request)), WorkOrder.state != OrderState.CANCELLED.value
    )
    return tx.scalar(query.order_by(WorkOrder.id.desc()).limit(1))


def standing(tx: Tx, request: Request) -> bool:
    """Whether what ``request`` was granted for a time is there and accepted, and nothing gives it back yet."""
    if not kind_of(request).returns or request.state != RequestState.DONE or order_of(tx, request) is not None:
        return False
    return _look(tx, request) is LoanStanding.THERE


def lent(tx: Tx, resource: Resource) -> list[Request]:
    """The requests by which a resource has more for a time, accepted or not yet, that nothing gives back."""
    lending = [kind.code for kind in known() if kind.returns]
    query = select(Request).where(
        Request.resource_id == resource.id, Request.kind.in_(lending), Request.state.in_(terms.GRANTED)
    )
    found = [one for one in tx.scalars(query.order_by(Request.id)) if order_of(tx, one) is None]
    return [one for one in found if _look(tx, one) in (LoanStanding.THERE, LoanStanding.UNDER)]


def return_all(tx: Tx) -> list[WorkOrder]:
    """Give back what is over, and take back what was ordered so and is needed by now; where something stands against it, tell the
    department and the supervisor once what. A job's work. Returns the orders placed."""
    tx.actor.must_be(Role.SYSTEM)
    _call_back(tx)
    return _return(tx, _over(tx))


def return_by_hour(tx: Tx) -> list[WorkOrder]:
    """Give back what ends at an hour of this day, within the hour after it; what is held then is looked at by ``return_all``. A job's
    work, often. Returns the orders placed."""
    tx.actor.must_be(Role.SYSTEM)
    return _return(tx, _over(tx, lately=True))


def _return(tx: Tx, request_ids: list[int]) -> list[WorkOrder]:
    placed = []
    for request_id in request_ids:
        request = lock(tx, request_id)
        if not ended(tx, request) or order_of(tx, request) is not None:
            continue
        found = _look(tx, request)
        if found is LoanStanding.CHANGED:
            _tell_held(tx, request, OTHERWISE, Role.SUPERVISOR)
        if found is not LoanStanding.THERE:
            continue
        waits = held(tx, request)
        if waits is not None:
            _tell_held(tx, request, waits, Role.TENANT, Role.SUPERVISOR)
            continue
        placed.append(_place(tx, request, N_("期限已到"), BY_CLOCK))
        notices.give(tx, request, NoticeKind.RETURNING, Role.TENANT, once=str(request.use_until))
    return placed


def held(tx: Tx, request: Request) -> Refused | None:
    """What stands against giving back by a clock what ``request`` was granted; None where nothing does."""
    asked = _extending(tx, request)
    if asked is not None:
        return asked
    try:
        targets.must_be_free(tx, request, tx.get_one(Resource, request.resource_id))
    except Refused as busy:
        return busy
    return _needed(tx, request)


def against_order(tx: Tx, order: WorkOrder) -> Refused | None:
    """What came up against an order by which the clock gives back, since it was placed; None for any other order, and where it may
    go. What the department itself gives back goes in any case. Locks the request and the resource."""
    if order.gives_back is None or not order.key.endswith(BY_CLOCK):
        return None
    request = lock(tx, order.gives_back)
    if not ended(tx, request):
        return Conflict("return.extended", N_("使用期限已延至 %(until)s"), until=str(request.use_until))
    return _extending(tx, request) or _needed(tx, request)


def give_back(tx: Tx, request_id: int, *, generation: int) -> WorkOrder:
    """The department gives back before the end, or after it what is held. Raises Conflict for a page that is stale and where another
    open request is about the resource, Invalid for one that is busy, WrongState where there is nothing to be given back."""
    request = lock(tx, request_id)
    own(tx, request)
    request = lock(tx, request, generation)
    must_be(request, RequestState.DONE)
    if not standing(tx, request):
        raise WrongState("return.nothing", N_("没有可以归还的临时扩容"))
    targets.must_be_free(tx, request, tx.get_one(Resource, request.resource_id))
    return _place(tx, request, N_("使用单位归还"))


# ---------------------------------------------------------------------------------------------------------- mechanism


def _over(tx: Tx, *, lately: bool = False) -> list[int]:
    """The requests to look at, oldest term first: those whose time is over and whose resource is there, without those that are or
    were given back and those of which the supervisor was told that they are no loans any more. ``lately``: at an hour of today."""
    today = tx.now.astimezone(ZONE).date()
    back = exists().where(
        WorkOrder.resource_id == Request.resource_id,
        WorkOrder.key.startswith(literal(RETURN) + cast(Request.id, String) + literal(":")),
        WorkOrder.state != OrderState.CANCELLED.value,
    )
    query = (
        select(Request)
        .join(Resource, Resource.id == Request.resource_id)
        .where(
            Request.kind.in_([kind.code for kind in known() if kind.returns]),
            Request.state == RequestState.DONE.value,
            Request.use_until == today if lately else Request.use_until <= today,
            Resource.gone_at.is_(None),
            Resource.state != ResourceState.DELETED.value,
            ~back,
        )
        .order_by(Request.use_until, Request.id)
    )
    rows = tx.scalars(query).all()
    found = [one for one in rows if one.use_until and (one.use_until < today or _hour_passed(tx, one, lately))]
    once = {one.id: f"{one.use_until}/{OTHERWISE.code}" for one in found}
    told = notices.told(tx, NoticeKind.HELD, Role.SUPERVISOR, once) if once else set()
    return [one.id for one in found if one.id not in told]


def _hour_passed(tx: Tx, request: Request, lately: bool) -> bool:
    """Whether the hour of today at which it ends is past, and ``lately``: for less than an hour."""
    ends = kind_of(request).ends
    at = ends(request) if ends is not None else None
    return at is not None and at <= tx.now and (not lately or tx.now - at < LATELY)


def ended(tx: Tx, request: Request) -> bool:
    """Whether the time that ``request`` was granted something for is over, by the day and its hour."""
    today, until = tx.now.astimezone(ZONE).date(), request.use_until
    return until is not None and (until < today or (until == today and _hour_passed(tx, request, lately=False)))


def _look(tx: Tx, request: Request) -> LoanStanding:
    resource = request.resource
    if resource is None or resource.gone_at is not None or resource.state == ResourceState.DELETED:
        return LoanStanding.GONE
    last = _last_grant(tx, resource)
    if last is None or last.request_id != request.id:
        above = tx.get(Request, last.request_id) if last is not None and last.request_id is not None else None
        return LoanStanding.UNDER if above is not None and kind_of(above).returns else LoanStanding.CHANGED
    granted, has = Amount.from_json(request.lines[0].granted_amounts), resource.actual()
    as_granted = all(has.get(code, 0) == granted.get(code, 0) for code in _before(request))
    return LoanStanding.THERE if as_granted else LoanStanding.CHANGED


def _last_grant(tx: Tx, resource: Resource) -> WorkOrder | None:
    """The last change of shape that somebody was granted and that was not given back since. What a case lends and takes grants
    nothing: it is seen by the figures, while it is so."""
    query = select(WorkOrder).where(
        WorkOrder.resource_id == resource.id,
        WorkOrder.verb == Verb.RESIZE.value,
        WorkOrder.state.in_([OrderState.DELIVERED.value, OrderState.ACCEPTED.value]),
        WorkOrder.case_id.is_(None),
    )
    back: set[int] = set()
    for one in tx.scalars(query.order_by(WorkOrder.delivered_at.desc(), WorkOrder.id.desc())):
        if one.gives_back is not None:
            back.add(one.gives_back)
        elif one.request_id not in back:
            return one
    return None


def _extending(tx: Tx, request: Request) -> Refused | None:
    """That the department asks for longer."""
    asked = terms.extension(tx, request)
    if asked is None:
        return None
    return Conflict("return.extending", N_("延期申请 %(number)s 办结之前保持现有规格"), number=asked.number)


def _needed(tx: Tx, request: Request) -> Refused | None:
    """Why a clock must leave it as it is by what the storeys above know."""
    resource, before = tx.get_one(Resource, request.resource_id), _before(request)
    since = (request.delivered_at or tx.now).astimezone(ZONE).date()
    return next((why for each in _objections if (why := each(tx, resource, before, since)) is not None), None)


def _call_back(tx: Tx) -> None:
    """Cancel what the clock ordered and no cloud was told, where something stands against it by now: it would keep the resource from
    whatever else is asked for."""
    query = select(WorkOrder).where(
        WorkOrder.key.startswith(RETURN), WorkOrder.key.endswith(BY_CLOCK), WorkOrder.state == OrderState.PENDING.value
    )
    for order in tx.scalars(query.order_by(WorkOrder.id)).all():
        waits = against_order(tx, order)
        if waits is not None and order.may_be_called_back():
            cancel(tx, order.id, order.generation, waits.sentence())


def _tell_held(tx: Tx, request: Request, why: Refused, *roles: Role) -> None:
    for role in roles:
        once = f"{request.use_until}/{why.code}"
        notices.give(tx, request, NoticeKind.HELD, role, once=once, text=why.sentence())


def _place(tx: Tx, request: Request, reason: str, by: str = "") -> WorkOrder:
    placed = place(
        tx,
        request.pool,
        Verb.RESIZE,
        key=f"{_key(request)}{request.generation}{by}",
        resource=tx.get_one(Resource, request.resource_id),
        amounts=_before(request),
    )
    changed(tx, request, "request.give_back", after={"order": placed.number}, reason=reason)
    return placed


def _key(request: Request) -> str:
    return f"{RETURN}{request.id}:"


def _before(request: Request) -> Amount:
    """What the resource had of what was added to."""
    (line,) = request.lines
    return Amount(
        {code: line.current.get(code, 0) for code, figure in line.difference(approved=True).items() if figure > 0}
    )
