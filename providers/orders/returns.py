"""What was granted for a time and is given back by itself (临时扩容): an order that makes the resource what it was before.

A clock makes nothing smaller that is still needed: storeys above say what stands against it (``against``), and it stays as it is
until the department gives it back, has the term extended, or nothing stands against it any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import select

from providers.base import Verb
from providers.orders.placing import place
from providers.orders.tables import RETURN, OrderState, WorkOrder
from quota.actors import Role
from quota.calendar import ZONE
from quota.errors import N_, Conflict, Refused, WrongState
from quota.inventory import Resource, ResourceState, engagements
from quota.requests import NoticeKind, Request, RequestState, kind_of, known, lock, must_be, notices, own, terms
from quota.units import Amount

if TYPE_CHECKING:
    from quota.db import Tx

Objection = Callable[["Tx", Resource, Amount], Refused | None]
"""Why a resource must not be made by a clock what the amounts say, as a refusal with its sentence; None where it may."""

HANDED_OVER = (RequestState.ACCEPTING.value, RequestState.DONE.value)

_objections: list[Objection] = []


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
    """Whether what ``request`` was granted for a time is there, and nothing gives it back yet."""
    if not kind_of(request).returns or request.state not in HANDED_OVER or order_of(tx, request) is not None:
        return False
    return _as_granted(request)


def return_all(tx: Tx) -> list[WorkOrder]:
    """Give back what is over; where something stands against it, tell the department and the supervisor once what. A job's work.
    Returns the orders placed."""
    tx.actor.must_be(Role.SYSTEM)
    today = tx.now.astimezone(ZONE).date()
    kinds = [kind.code for kind in known() if kind.returns]
    over = select(Request.id).where(Request.kind.in_(kinds), Request.state.in_(HANDED_OVER), Request.use_until < today)
    placed = []
    for request_id in tx.scalars(over.order_by(Request.use_until, Request.id)).all():
        request = lock(tx, request_id)
        if not standing(tx, request):
            continue
        waits = held(tx, request)
        if waits is None:
            placed.append(_place(tx, request, N_("期限已到")))
            notices.give(tx, request, NoticeKind.RETURNING, Role.TENANT, once=str(request.use_until))
            continue
        for role in (Role.TENANT, Role.SUPERVISOR):
            once = f"{request.use_until}/{waits.code}"
            notices.give(tx, request, NoticeKind.HELD, role, once=once, text=str(waits.message))
    return placed


def held(tx: Tx, request: Request) -> Refused | None:
    """What stands against giving back by a clock what ``request`` was granted; None where nothing does."""
    asked = terms.extension(tx, request)
    if asked is not None:
        return Conflict("return.extending", N_("延期申请 %(number)s 办结之前保持现有规格"), number=asked.number)
    resource = tx.get_one(Resource, request.resource_id)
    try:
        engagements.must_be_free(tx, resource)
    except Refused as busy:
        return busy
    return next((why for each in _objections if (why := each(tx, resource, _before(request))) is not None), None)


def give_back(tx: Tx, request_id: int, *, generation: int) -> WorkOrder:
    """The department gives back before the end, or after it what is held. Raises Conflict for a page that is stale and for a resource
    that is busy, WrongState where there is nothing to be given back."""
    request = lock(tx, request_id)
    own(tx, request)
    request = lock(tx, request, generation)
    must_be(request, RequestState.DONE)
    if not standing(tx, request):
        raise WrongState("return.nothing", N_("没有可以归还的临时扩容"))
    engagements.must_be_free(tx, tx.get_one(Resource, request.resource_id))
    return _place(tx, request, N_("使用单位归还"))


def _place(tx: Tx, request: Request, reason: str) -> WorkOrder:
    resource = tx.get_one(Resource, request.resource_id)
    placed = place(
        tx,
        request.pool,
        Verb.RESIZE,
        key=f"{_key(request)}{request.generation}",
        resource=resource,
        amounts=_before(request),
    )
    tx.audit("request.give_back", request.subject, after={"order": placed.number}, reason=reason)
    return placed


def _key(request: Request) -> str:
    return f"{RETURN}{request.id}:"


def _before(request: Request) -> Amount:
    """What the resource had of what was added to."""
    (line,) = request.lines
    return Amount(
        {code: line.current.get(code, 0) for code, figure in line.difference(approved=True).items() if figure > 0}
    )


def _as_granted(request: Request) -> bool:
    """Whether the resource is there and has what it was granted; what was changed otherwise since is no loan any more."""
    resource = request.resource
    if resource is None or resource.gone_at is not None or resource.state == ResourceState.DELETED:
        return False
    granted, has = Amount.from_json(request.lines[0].granted_amounts), resource.actual()
    return all(has.get(code, 0) == granted.get(code, 0) for code in _before(request))
