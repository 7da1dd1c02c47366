"""Delivery: orders are placed, carried to the cloud outside any transaction, and accepted.

``carry`` records the intent, commits, calls the cloud with the order's key, and records what it said in a
second transaction. Whatever dies in between, the next call asks with the same key and nothing is done
twice. Where the adapter has no hands, the provider's staff does the work and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from providers import enactment, orders
from providers.base import Order, Outcome, OutcomeState, Provider, ProviderFault, ServiceKind, Verb
from providers.inventory import Resource
from providers.orders import ACCEPTANCE_DAYS, OPEN, STANDARD_DAYS, STATE_LABELS, UNDER_WAY, OrderState, WorkOrder
from quota import fulfilment, requests
from quota.actors import Role, steward
from quota.calendar import working_days
from quota.catalog import CatalogItem
from quota.errors import N_, Conflict, Invalid, NotAllowed, Refused, WrongState
from quota.ledger import Classes, Holder
from quota.pools import Pool
from quota.requests import Request, RequestKind, RequestState
from quota.rules import StepName
from quota.units import Amounts, Arch, classes, total
from quota.units import amounts as figures

if TYPE_CHECKING:
    from quota.db import Book, Tx

ATTEMPTS = 5
"""Tries that may fail before an order is reported as failed."""

BACK_OFF = timedelta(minutes=5)
"""After the first failed try; doubled after each further one."""

POLL = timedelta(minutes=5)
"""How long to wait before asking again after an order that the cloud is still at."""

LEASE = timedelta(minutes=15)
"""How long a call may take before ``waiting`` offers its order again."""


LastLook = Callable[["Tx", int], str | None]
"""Asked with the id of an order: why it must not be sent now; None: it may."""


@dataclass(slots=True)
class Carried:
    """What one round did. Ids of work orders; ``faults``: what the cloud or the network said."""

    delivered: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    retried: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    by_hand: list[int] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)


# ------------------------------------------------------------------------------------------------- placing


def place(
    tx: Tx,
    pool: Pool,
    verb: Verb,
    *,
    key: str,
    resource: Resource | None = None,
    kind: ServiceKind | None = None,
    amounts: Amounts | None = None,
    name: str = "",
    department_id: int | None = None,
    system_id: int | None = None,
    item: CatalogItem | None = None,
    request_id: int | None = None,
    case_id: int | None = None,
    limit_days: int | None = None,
    emergency: bool = False,
    frees: Holder = Holder.GRANTED,
    paid: bool = False,
) -> WorkOrder:
    """Place an order; the same ``key`` again returns the first one.

    What it adds is counted as used at once, from the department's granted quota; ``paid``: a request's
    holds did so. What it frees goes to the department's quota, or to the city with ``frees`` FREE, when it
    is delivered. ``amounts`` of a resize name what shall change; kinds left out stay. Raises OverCapacity
    where the quota is short, Conflict where the key was used for something else, Invalid where the resource
    or its kind is not named.
    """
    earlier = tx.scalar(select(WorkOrder).where(WorkOrder.key == key))
    if earlier is not None:
        if (earlier.verb, earlier.resource_id if verb is not Verb.CREATE else None) != (
            verb.value,
            resource.id if resource else None,
        ):
            raise Conflict("key.reused", N_("幂等键 %(key)s 已用于另一笔操作"), key=key)
        return earlier
    if verb is not Verb.CREATE and resource is None:
        raise Invalid("order.no_target", N_("请指明工单针对的资源"), field="resource_id")
    if resource is not None:
        if resource.pool_id != pool.id:
            raise Invalid("order.other_pool", N_("资源不在资源池 %(pool)s"), pool=pool.name, field="resource_id")
        kind, department_id, system_id = ServiceKind(resource.kind), resource.department_id, resource.system_id
    if kind is None or (verb in (Verb.CREATE, Verb.RESIZE) and not amounts):
        raise Invalid("order.no_shape", N_("请写明资源类型和规格"), field="amounts")
    days = limit_days or (item.delivery_days if item else orders.LIMITS.get(kind, STANDARD_DAYS))
    one = WorkOrder(
        key=key,
        pool_id=pool.id,
        provider_id=pool.provider_id,
        verb=verb.value,
        kind=kind.value,
        resource_id=resource.id if resource else None,
        department_id=department_id,
        system_id=system_id,
        catalog_item_id=item.id if item else None,
        request_id=request_id,
        case_id=case_id,
        name=name or (resource.name if resource else ""),
        amounts={kind.value: figure for kind, figure in (amounts or {}).items() if figure},
        taken={},
        freed={},
        frees=frees.value,
        payload={},
        emergency=emergency,
        limit_days=days,
        due_at=orders.due(working_days(tx), tx.now, days, emergency=emergency),
        state=OrderState.PENDING.value,
        by_hand=False,
        attempts=0,
        refusals=0,
        last_error="",
        placed_at=tx.now,
        placed_by=tx.actor.login,
        discrepancy={},
        generation=1,
    )
    tx.add(one)
    tx.flush()
    one.number = orders.numbered(one.id, tx.now)
    enactment.take(tx, one, paid=paid)
    tx.flush()
    tx.audit(
        "order.place",
        one.basis,
        after={
            "number": one.number,
            "verb": verb,
            "kind": kind,
            "pool": pool.code,
            "resource": one.resource_id,
            "amounts": one.amounts,
            "due_at": one.due_at,
            "for": one.subject,
        },
    )
    return one


def place_for_request(tx: Tx, request: Request) -> list[WorkOrder]:
    """The orders of an approved request, one a piece; nothing for a change of quota. Twice is once."""
    requests.must_be(request, RequestState.APPROVED, RequestState.DELIVERING)
    kind = RequestKind(request.kind)
    if kind is RequestKind.QUOTA:
        return []
    step = request.step(StepName.DELIVERY)
    limit = step.limit_days if step is not None else None
    found = []
    for line in request.lines:
        wanted = figures(line.granted_amounts)
        for piece in range(1, line.granted_quantity + 1):
            key = f"request:{request.id}:{request.round}:{line.position}:{piece}"
            if kind is RequestKind.CREATE:
                found.append(
                    place(
                        tx,
                        request.pool,
                        Verb.CREATE,
                        key=key,
                        kind=ServiceKind(line.service),
                        amounts=wanted,
                        name=_piece_name(line.name, piece, line.granted_quantity),
                        item=line.item,
                        department_id=request.department_id,
                        system_id=request.system_id,
                        request_id=request.id,
                        limit_days=limit,
                        paid=True,
                    )
                )
                continue
            resource = tx.get_one(Resource, request.resource_id)
            change = kind is RequestKind.RESIZE
            changed = {one: figure for one, figure in wanted.items() if line.current.get(one.value) != figure}
            found.append(
                place(
                    tx,
                    request.pool,
                    Verb.RESIZE if change else Verb.DELETE,
                    key=key,
                    resource=resource,
                    amounts=changed if change else None,
                    item=line.item,
                    request_id=request.id,
                    limit_days=limit,
                    paid=True,
                )
            )
    return found


def _piece_name(name: str, piece: int, pieces: int) -> str:
    return f"{name}-{piece:02d}" if name and pieces > 1 else name


# ------------------------------------------------------------------------------------------------ carrying


def waiting(tx: Tx, pool_id: int) -> list[int]:
    """Ids of orders of a pool whose turn it is to be carried, oldest first; of one resource only its
    first."""
    blocked = select(WorkOrder.resource_id, WorkOrder.id).where(
        WorkOrder.pool_id == pool_id,
        WorkOrder.resource_id.is_not(None),
        WorkOrder.state.in_([*UNDER_WAY, OrderState.FAILED]),
    )
    first: dict[int | None, int] = {}
    for resource_id, order_id in tx.execute(blocked):
        first[resource_id] = min(order_id, first.get(resource_id, order_id))
    query = (
        select(WorkOrder.id, WorkOrder.resource_id)
        .where(
            WorkOrder.pool_id == pool_id,
            WorkOrder.state.in_(list(UNDER_WAY)),
            WorkOrder.by_hand.is_(False),
            or_(WorkOrder.next_try_at.is_(None), WorkOrder.next_try_at <= tx.now),
        )
        .order_by(WorkOrder.id)
    )
    return [one for one, resource_id in tx.execute(query) if resource_id is None or first[resource_id] == one]


def carry_all(book: Book, pool_id: int, provider: Provider, look: LastLook | None = None) -> Carried:
    """Carry every order of the pool whose turn it is, one after the other. ``look``: as for `carry`."""
    round_ = Carried()
    with book.reading() as tx:
        found = waiting(tx, pool_id)
    for order_id in found:
        one = carry(book, order_id, provider, look)
        state = OrderState(one.state)
        if state is OrderState.DELIVERED:
            round_.delivered.append(one.id)
        elif state is OrderState.FAILED:
            round_.failed.append(one.id)
        elif one.by_hand:
            round_.by_hand.append(one.id)
        else:
            (round_.pending if state is OrderState.DELIVERING else round_.retried).append(one.id)
        if one.last_error and state is not OrderState.DELIVERED:
            round_.faults[one.id] = one.last_error
    return round_


def carry(book: Book, order_id: int, provider: Provider, look: LastLook | None = None) -> WorkOrder:
    """Take one order a step further: send it, or ask what became of it. Returns it as it then stands.

    ``look`` is asked in the transaction that sends it whether something came up against it since it was placed; then
    it is not sent, and tried again later. Safe to call again at any time, also by two at once: the cloud knows the order by its key, and what
    another call recorded meanwhile stands.
    """
    actor = steward("delivery")
    with book.transaction(actor) as tx:
        # Looked at first: rows are locked in the order case, resource, work order by everybody.
        objection = look(tx, order_id) if look and orders.order(tx, order_id).state == OrderState.PENDING else None
        one = _locked(tx, order_id)
        if OrderState(one.state) not in UNDER_WAY or one.by_hand:
            return one
        if objection is not None and one.state == OrderState.PENDING:
            one.next_try_at, one.last_error = tx.now + POLL, objection
            return one
        if Verb(one.verb) not in provider.capabilities:
            _hand_over(tx, one)
            return one
        asked = _send(tx, one)
    try:
        outcome = provider.deliver(asked, book.clock())
    except ProviderFault as fault:
        with book.transaction(actor) as tx:
            one = _locked(tx, order_id)
            if _still(one, asked):
                _fault(tx, one, str(fault), final=not fault.transient)
            return one
    try:
        with book.transaction(actor) as tx:
            one = _locked(tx, order_id)
            if _still(one, asked):
                _record(tx, one, outcome, provider)
            return one
    except (
        Refused
    ) as refusal:  # an answer that cannot be entered is its company's to mend, and keeps no other order waiting
        with book.transaction(actor) as tx:
            one = _locked(tx, order_id)
            if _still(one, asked):
                _fault(tx, one, str(refusal), final=True)
            return one


def _send(tx: Tx, one: WorkOrder) -> Order:
    """Record that the cloud is about to be told, and what."""
    if one.state == OrderState.PENDING:
        first = one.sent_at is None
        one.sent_at = one.sent_at or tx.now
        _move(tx, one, OrderState.SENT, "order.send", attempts=one.attempts)
        if first:
            _request_is_delivering(tx, one)
    one.next_try_at = tx.now + LEASE
    resource = one.resource
    wanted = one.approved()
    if one.verb == Verb.RESIZE and resource is not None:
        has = resource.has()
        wanted = {kind: figure for kind, figure in wanted.items() if has.get(kind) != figure} or wanted
    return Order(
        key=one.cloud_key,
        verb=Verb(one.verb),
        kind=ServiceKind(one.kind),
        arch=Arch(one.pool.arch),
        external_id=resource.external_id if resource is not None and one.verb != Verb.CREATE else None,
        amounts=wanted if one.verb in (Verb.CREATE, Verb.RESIZE) else {},
        name=one.name or None,
        department_code=one.department.code if one.department else None,
        system_code=one.system.code if one.system else None,
    )


def _still(one: WorkOrder, asked: Order) -> bool:
    """Whether the answer to ``asked`` is still awaited: nobody recorded, cancelled or took it over
    meanwhile."""
    return OrderState(one.state) in UNDER_WAY and not one.by_hand and one.cloud_key == asked.key


def _record(tx: Tx, one: WorkOrder, outcome: Outcome, provider: Provider) -> None:
    if outcome.state is OutcomeState.PENDING:
        one.next_try_at, one.last_error = tx.now + POLL, ""
        if one.state != OrderState.DELIVERING:
            _move(tx, one, OrderState.DELIVERING, "order.under_way")
    elif outcome.state is OutcomeState.FAILED:
        one.refusals += 1  # the cloud says that it did nothing: the next try is a new command to it
        _fault(tx, one, outcome.message, final=False)
    else:
        if outcome.message:
            one.payload = {**one.payload, "message": outcome.message}
        _delivered(
            tx,
            one,
            at=min(max(outcome.at, one.sent_at or outcome.at), tx.now),  # nobody did it before he was told
            by=provider.name,
            external_id=outcome.external_id,
            has=outcome.amounts,
            releases=provider.releases,
        )


def _fault(tx: Tx, one: WorkOrder, message: str, *, final: bool) -> None:
    """A try failed: back off, or give up and report it."""
    one.attempts += 1
    one.last_error = message
    if final or one.attempts >= ATTEMPTS:
        one.next_try_at = None
        _move(tx, one, OrderState.FAILED, "order.fail", attempts=one.attempts, error=message)
    else:
        one.next_try_at = tx.now + BACK_OFF * 2 ** (one.attempts - 1)
        _move(tx, one, OrderState.PENDING, "order.retry", attempts=one.attempts, error=message)


def _hand_over(tx: Tx, one: WorkOrder) -> None:
    """This cloud cannot be told so by a program: it is its staff's to do."""
    one.by_hand, one.sent_at, one.next_try_at = True, one.sent_at or tx.now, None
    _move(tx, one, OrderState.SENT, "order.hand_over")
    _request_is_delivering(tx, one)


def _delivered(
    tx: Tx,
    one: WorkOrder,
    *,
    at: datetime,
    by: str,
    external_id: str | None,
    has: Amounts,
    releases: enactment.Releases,
) -> None:
    enactment.enact(tx, one, at=at, external_id=external_id, has=has, releases=releases)
    one.delivered_at, one.delivered_by, one.next_try_at, one.last_error = at, by, None, ""
    _move(tx, one, OrderState.DELIVERED, "order.deliver", at=at, by=by, resource=one.resource_id, freed=one.freed)
    if one.request_id is not None and not _of_request(tx, one.request_id, UNDER_WAY | {OrderState.FAILED}):
        fulfilment.delivered(tx, one.request_id, at=at, gives=_freed(tx, one.request_id))


# ------------------------------------------------------------------------------------------ what people do


def start(tx: Tx, order_id: int, generation: int) -> WorkOrder:
    """The provider's staff begins an order that is done by hand."""
    one = _locked(tx, order_id, generation)
    _own_company(tx, one)
    _must_be(one, OrderState.PENDING, OrderState.SENT, OrderState.FAILED)
    if one.state == OrderState.SENT and not one.by_hand:
        raise WrongState("order.at_cloud", N_("工单 %(number)s 正由云平台接口执行"), number=one.number)
    one.by_hand, one.sent_at = True, one.sent_at or tx.now
    _move(tx, one, OrderState.DELIVERING, "order.start")
    _request_is_delivering(tx, one)
    return one


def mark_delivered(
    tx: Tx,
    order_id: int,
    generation: int,
    *,
    external_id: str | None = None,
    has: Amounts | None = None,
    note: str = "",
) -> WorkOrder:
    """The provider's staff has done what no adapter could, or what failed there. A creation names its
    resource.

    Delivered is now: nobody dates a delivery back. Raises WrongState while the cloud's interface is at it.
    """
    one = _locked(tx, order_id, generation)
    _own_company(tx, one)
    _must_be(one, OrderState.PENDING, OrderState.SENT, OrderState.DELIVERING, OrderState.FAILED)
    if not one.by_hand and one.state in (OrderState.SENT, OrderState.DELIVERING):
        raise WrongState("order.at_cloud", N_("工单 %(number)s 正由云平台接口执行"), number=one.number)
    one.by_hand, one.sent_at = True, one.sent_at or tx.now
    if note:
        one.payload = {**one.payload, "message": note}
    _request_is_delivering(tx, one)
    _delivered(
        tx,
        one,
        at=tx.now,
        by=tx.actor.login,
        external_id=(external_id or "").strip() or None,
        has=has or {},
        releases=enactment.BY_HAND,
    )
    return one


def report_failed(tx: Tx, order_id: int, generation: int, reason: str) -> WorkOrder:
    """The provider's staff cannot do it, and says why; the supervisor has it tried again or takes it back. The limit
    runs on. Raises WrongState while the cloud's interface is at it."""
    one = _locked(tx, order_id, generation)
    _own_company(tx, one)
    _must_be(one, OrderState.PENDING, OrderState.SENT, OrderState.DELIVERING)
    if not one.by_hand and one.state in (OrderState.SENT, OrderState.DELIVERING):
        raise WrongState("order.at_cloud", N_("工单 %(number)s 正由云平台接口执行"), number=one.number)
    reason = requests.reasoned(reason)
    one.attempts += 1
    one.last_error, one.next_try_at = reason, None
    _move(tx, one, OrderState.FAILED, "order.fail", reason=reason, attempts=one.attempts, error=reason)
    return one


def accept(tx: Tx, order_id: int, generation: int) -> WorkOrder:
    """The department (of orders without a request also the supervisor) has looked: it is what was ordered.

    The last order of a request closes the request with it. A difference between what was approved and what
    appeared is recorded, not hidden by the acceptance.
    """
    one = _locked(tx, order_id, generation)
    _may_judge(tx, one)
    _must_be(one, OrderState.DELIVERED)
    _accept(tx, one, tx.actor.login, "order.accept")
    if one.request_id is not None and not _of_request(tx, one.request_id, OPEN):
        fulfilment.accepted(tx, one.request_id)
    return one


def accept_request(tx: Tx, request_id: int, generation: int) -> list[WorkOrder]:
    """The department accepts all that was delivered for a request, and the request with it."""
    fulfilment.accepted(tx, request_id, generation=generation)
    found = _of_request(tx, request_id, {OrderState.DELIVERED})
    for one in found:
        _accept(tx, one, tx.actor.login, "order.accept")
    return found


def refuse(tx: Tx, order_id: int, generation: int, reason: str) -> WorkOrder:
    """What was delivered is not what was approved: back to the provider's staff, with the reason and a new
    limit."""
    one = _locked(tx, order_id, generation)
    _may_judge(tx, one)
    _must_be(one, OrderState.DELIVERED)
    reason = requests.reasoned(reason)
    if one.request_id is not None:
        request = requests.lock(tx, one.request_id)
        fulfilment.refused(tx, request, generation=request.generation, reason=reason)
    one.by_hand, one.delivered_at, one.delivered_by, one.last_error = True, None, None, reason
    one.due_at = orders.due(working_days(tx), tx.now, one.limit_days, emergency=one.emergency)
    _move(tx, one, OrderState.DELIVERING, "order.refuse", reason=reason, due_at=one.due_at)
    return one


def deem_accepted(tx: Tx) -> list[WorkOrder]:
    """Accept what nobody looked at for 3 working days. Requests by their own clock, and their orders with
    them."""
    fulfilment.deemed_accepted(tx)
    calendar = working_days(tx)
    waiting_ = tx.scalars(
        select(WorkOrder.id).where(WorkOrder.state == OrderState.DELIVERED.value).order_by(WorkOrder.id)
    ).all()
    done = []
    for order_id in waiting_:
        one = _locked(tx, order_id)
        if one.state != OrderState.DELIVERED:  # accepted or refused between our reading and our lock
            continue
        if one.request_id is not None:
            over = tx.scalar(select(Request.state).where(Request.id == one.request_id)) == RequestState.DONE
        else:
            over = one.delivered_at is not None and calendar.due(one.delivered_at, ACCEPTANCE_DAYS) < tx.now
        if over:
            _accept(tx, one, "deemed", "order.deem_accepted")
            done.append(one)
    return done


def retry(tx: Tx, order_id: int, generation: int) -> WorkOrder:
    """The supervisor has a failed order tried again."""
    tx.actor.must_be(Role.SUPERVISOR, Role.SYSTEM)
    one = _locked(tx, order_id, generation)
    _must_be(one, OrderState.FAILED)
    one.attempts, one.next_try_at = 0, None
    _move(tx, one, OrderState.PENDING, "order.retry")
    return one


def cancel(tx: Tx, order_id: int, generation: int, reason: str) -> WorkOrder:
    """The supervisor takes back an order that was not sent, that failed, or that the provider's staff was handed and has
    not begun; what it took is quota again. The last order of a request takes it along: delivered as far as it was, or
    ended where nothing was."""
    tx.actor.must_be(Role.SUPERVISOR, Role.SYSTEM)
    one = _locked(tx, order_id, generation)
    if not one.may_be_called_back():
        _must_be(one, OrderState.PENDING, OrderState.FAILED)
    reason = requests.reasoned(reason)
    enactment.give_back(tx, one)
    one.next_try_at = None
    _move(tx, one, OrderState.CANCELLED, "order.cancel", reason=reason)
    if one.request_id is not None and not _of_request(tx, one.request_id, UNDER_WAY | {OrderState.FAILED}):
        rest = _of_request(tx, one.request_id, {OrderState.DELIVERED, OrderState.ACCEPTED})
        if rest:
            last = max(o.delivered_at for o in rest if o.delivered_at)
            fulfilment.delivered(tx, one.request_id, at=last, gives=_freed(tx, one.request_id))
        else:
            fulfilment.abandoned(tx, one.request_id, reason=reason)
    return one


# ----------------------------------------------------------------------------------------------- mechanism


def _locked(tx: Tx, order_id: int, generation: int | None = None) -> WorkOrder:
    """The order, locked, its request before it: one order of locking for all."""
    request_id = orders.order(tx, order_id).request_id
    if request_id is not None:
        requests.lock(tx, request_id)
    return orders.locked(tx, order_id, generation)


def _move(tx: Tx, one: WorkOrder, state: OrderState, action: str, reason: str = "", **after: object) -> None:
    before = one.state
    one.state = state.value
    one.generation += 1
    tx.flush()
    tx.audit(action, one.basis, before={"state": before}, after={"state": state, **after}, reason=reason)


def _must_be(one: WorkOrder, *states: OrderState) -> None:
    if one.state not in states:
        raise WrongState(
            "order.state",
            N_("工单 %(number)s 现为“%(state)s”,不能这样操作"),
            number=one.number,
            state=STATE_LABELS[OrderState(one.state)],
        )


def _own_company(tx: Tx, one: WorkOrder) -> None:
    tx.actor.must_be(Role.PROVIDER, Role.SYSTEM)
    if tx.actor.role is Role.PROVIDER and tx.actor.provider_id != one.provider_id:
        raise NotAllowed("order.not_yours", N_("只能办理本公司的工单"))


def _may_judge(tx: Tx, one: WorkOrder) -> None:
    """Whoever may see it and is the department's, or the supervisor for orders that the steward placed
    itself."""
    if one.request_id is not None:
        tx.actor.must_be(Role.TENANT)
    else:
        tx.actor.must_be(Role.TENANT, Role.SUPERVISOR, Role.SYSTEM)


def _accept(tx: Tx, one: WorkOrder, by: str, action: str) -> None:
    one.discrepancy = enactment.compare(one)
    one.accepted_at, one.accepted_by = tx.now, by
    _move(tx, one, OrderState.ACCEPTED, action, by=by, discrepancy=one.discrepancy)


def _of_request(tx: Tx, request_id: int, states: set[OrderState] | frozenset[OrderState]) -> list[WorkOrder]:
    return list(
        tx.scalars(
            select(WorkOrder)
            .where(WorkOrder.request_id == request_id, WorkOrder.state.in_([one.value for one in states]))
            .order_by(WorkOrder.id)
        )
    )


def _freed(tx: Tx, request_id: int) -> Classes:
    """What the orders of a request freed of what is counted for their resources: that, not what was asked, is returned."""
    done = _of_request(tx, request_id, {OrderState.DELIVERED, OrderState.ACCEPTED})
    return classes(total(figures(one.freed) for one in done), Arch(done[0].pool.arch)) if done else {}


def _request_is_delivering(tx: Tx, one: WorkOrder) -> None:
    if one.request_id is not None:
        request = requests.lock(tx, one.request_id)
        if request.state == RequestState.APPROVED:
            fulfilment.delivering(tx, request)


__all__ = [
    "Carried",
    "OrderState",
    "WorkOrder",
    "accept",
    "accept_request",
    "cancel",
    "carry",
    "carry_all",
    "deem_accepted",
    "mark_delivered",
    "place",
    "place_for_request",
    "refuse",
    "report_failed",
    "retry",
    "start",
    "waiting",
]
