"""Carriage: orders go to their clouds, outside any transaction, and what the clouds say comes back.

``carry`` records the intent, commits, calls the cloud with the order's key, and records what it said in a
second transaction. Whatever dies in between, the next call first asks the cloud what became of that key. What it took is
recorded; what it did not take is looked at afresh before it is sent, as if it never had been: nothing is done twice, and
nothing on a judgement of before the crash. Where the adapter has no hands, the provider's staff does the work and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from providers.base import Order, Outcome, OutcomeState, Provider, ProviderFault, ServiceKind, Verb
from providers.orders import tables
from providers.orders.steps import begin_request, delivered, lock, move
from providers.orders.tables import UNDER_WAY, OrderState, WorkOrder
from quota.actors import steward
from quota.errors import Refused
from quota.units import Amount, Arch

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
        order = carry(book, order_id, provider, look)
        state = OrderState(order.state)
        if state is OrderState.DELIVERED:
            round_.delivered.append(order.id)
        elif state is OrderState.FAILED:
            round_.failed.append(order.id)
        elif order.by_hand:
            round_.by_hand.append(order.id)
        else:
            (round_.pending if state is OrderState.DELIVERING else round_.retried).append(order.id)
        if order.last_error and state is not OrderState.DELIVERED:
            round_.faults[order.id] = order.last_error
    return round_


def carry(book: Book, order_id: int, provider: Provider, look: LastLook | None = None) -> WorkOrder:
    """Take one order a step further: ask what became of it if its cloud may know it, else send it. Returns it as it
    then stands.

    ``look`` is asked in the transaction that sends it whether something came up against it since it was placed; then
    it is not sent, and tried again later. So it is each time before the cloud is told, also where somebody told it
    before and died: what the cloud did not take is no more decided than what it never heard of. Safe to call again at
    any time, also by two at once: the cloud knows the order by its key, and what another call recorded meanwhile
    stands.
    """
    actor = steward("delivery")
    with book.reading(actor) as tx:
        seen = tables.order(tx, order_id)
    if seen.told and _at_cloud(seen):
        try:
            answer = provider.inquire(seen.cloud_key, book.clock())
        except ProviderFault as fault:
            return _missed(book, order_id, seen.cloud_key, fault)
        if answer is not None:
            return _enter(book, order_id, seen.cloud_key, answer, provider)
    with book.transaction(actor) as tx:
        # Looked at first: rows are locked in the order case, resource, work order by everybody.
        objection = look(tx, order_id) if look and OrderState(tables.order(tx, order_id).state) in UNDER_WAY else None
        order = lock(tx, order_id)
        if not _at_cloud(order) or order.generation != seen.generation:
            return order
        if order.told:
            if order.next_try_at is not None and order.next_try_at > tx.now:
                return (
                    order  # somebody may be telling the cloud just now: that it does not know the order proves nothing
                )
            _not_taken(tx, order)
        if objection is not None:
            order.next_try_at, order.last_error = tx.now + POLL, objection
            return order
        if Verb(order.verb) not in provider.capabilities:
            _hand_over(tx, order)
            return order
        asked, until = _send(tx, order), tx.now + LEASE
    if book.clock() >= until:
        return order  # we slept: by now somebody else may have found that the cloud was never told
    try:
        outcome = provider.deliver(asked, book.clock())
    except ProviderFault as fault:
        return _missed(book, order_id, asked.key, fault)
    return _enter(book, order_id, asked.key, outcome, provider)


def _at_cloud(order: WorkOrder) -> bool:
    """Whether it is the cloud's interface that has to do it."""
    return OrderState(order.state) in UNDER_WAY and not order.by_hand


def _missed(book: Book, order_id: int, key: str, fault: ProviderFault) -> WorkOrder:
    """The cloud gave no answer; whether it took the order is asked the next time."""
    with book.transaction(steward("delivery")) as tx:
        order = lock(tx, order_id)
        if _still(order, key):
            _fault(tx, order, str(fault), final=not fault.transient)
        return order


def _enter(book: Book, order_id: int, key: str, outcome: Outcome, provider: Provider) -> WorkOrder:
    """Record what the cloud said. An answer that cannot be entered is its company's to mend, and keeps no other order
    waiting."""
    actor = steward("delivery")
    try:
        with book.transaction(actor) as tx:
            order = lock(tx, order_id)
            if _still(order, key):
                _record(tx, order, outcome, provider)
            elif (order.by_hand or order.state == OrderState.CANCELLED) and outcome.state is not OutcomeState.FAILED:
                tx.audit("order.answer_late", order.basis, after={"answer": outcome.state, "at": outcome.at})
            return order
    except Refused as refusal:
        with book.transaction(actor) as tx:
            order = lock(tx, order_id)
            if _still(order, key):
                _fault(tx, order, str(refusal), final=True)
            return order


def _not_taken(tx: Tx, order: WorkOrder) -> None:
    """The cloud does not know the order: it is as if nobody had told it."""
    order.told = False
    if order.state != OrderState.PENDING:
        move(tx, order, OrderState.PENDING, "order.not_taken")


def _send(tx: Tx, order: WorkOrder) -> Order:
    """Record that the cloud is about to be told, and what."""
    first = order.sent_at is None
    order.sent_at, order.told = order.sent_at or tx.now, True
    move(tx, order, OrderState.SENT, "order.send", attempts=order.attempts)
    if first:
        begin_request(tx, order)
    order.next_try_at = tx.now + LEASE
    resource = order.resource
    wanted = order.approved()
    if order.verb == Verb.RESIZE and resource is not None:
        has = resource.actual()
        wanted = wanted.differing(has) or wanted
    return Order(
        key=order.cloud_key,
        verb=Verb(order.verb),
        kind=ServiceKind(order.kind),
        arch=Arch(order.pool.arch),
        external_id=resource.external_id if resource is not None and order.verb != Verb.CREATE else None,
        amounts=wanted if order.verb in (Verb.CREATE, Verb.RESIZE) else {},
        name=order.name or None,
        department_code=order.department.code if order.department else None,
        system_code=order.system.code if order.system else None,
    )


def _still(order: WorkOrder, key: str) -> bool:
    """Whether the answer to ``key`` is still awaited: nobody recorded, cancelled or took it over meanwhile."""
    return _at_cloud(order) and order.cloud_key == key


def _record(tx: Tx, order: WorkOrder, outcome: Outcome, provider: Provider) -> None:
    if outcome.state is OutcomeState.PENDING:
        order.next_try_at, order.last_error = tx.now + POLL, ""
        if order.state != OrderState.DELIVERING:
            move(tx, order, OrderState.DELIVERING, "order.under_way")
    elif outcome.state is OutcomeState.FAILED:
        order.refusals += 1  # the cloud says that it did nothing: the next try is a new command to it
        order.told = False
        _fault(tx, order, outcome.message, final=False)
    else:
        if outcome.message:
            order.payload = {**order.payload, "message": outcome.message}
        delivered(
            tx,
            order,
            at=min(max(outcome.at, order.sent_at or outcome.at), tx.now),  # nobody did it before he was told
            by=provider.name,
            external_id=outcome.external_id,
            has=Amount(outcome.amounts),
            releases=provider.releases,
        )


def _fault(tx: Tx, order: WorkOrder, message: str, *, final: bool) -> None:
    """A try failed: back off, or give up and report it."""
    order.attempts += 1
    order.last_error = message
    if final or order.attempts >= ATTEMPTS:
        order.next_try_at = None
        move(tx, order, OrderState.FAILED, "order.fail", attempts=order.attempts, error=message)
    else:
        order.next_try_at = tx.now + BACK_OFF * 2 ** (order.attempts - 1)
        move(tx, order, OrderState.PENDING, "order.retry", attempts=order.attempts, error=message)


def _hand_over(tx: Tx, order: WorkOrder) -> None:
    """This cloud cannot be told so by a program: it is its staff's to do."""
    order.by_hand, order.sent_at, order.next_try_at = True, order.sent_at or tx.now, None
    move(tx, order, OrderState.SENT, "order.hand_over")
    begin_request(tx, order)
