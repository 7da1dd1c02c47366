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
from quota.units import Arch

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
        one = lock(tx, order_id)
        if not _at_cloud(one) or one.generation != seen.generation:
            return one
        if one.told:
            if one.next_try_at is not None and one.next_try_at > tx.now:
                return one  # somebody may be telling the cloud just now: that it does not know the order proves nothing
            _not_taken(tx, one)
        if objection is not None:
            one.next_try_at, one.last_error = tx.now + POLL, objection
            return one
        if Verb(one.verb) not in provider.capabilities:
            _hand_over(tx, one)
            return one
        asked, until = _send(tx, one), tx.now + LEASE
    if book.clock() >= until:
        return one  # we slept: by now somebody else may have found that the cloud was never told
    try:
        outcome = provider.deliver(asked, book.clock())
    except ProviderFault as fault:
        return _missed(book, order_id, asked.key, fault)
    return _enter(book, order_id, asked.key, outcome, provider)


def _at_cloud(one: WorkOrder) -> bool:
    """Whether it is the cloud's interface that has to do it."""
    return OrderState(one.state) in UNDER_WAY and not one.by_hand


def _missed(book: Book, order_id: int, key: str, fault: ProviderFault) -> WorkOrder:
    """The cloud gave no answer; whether it took the order is asked the next time."""
    with book.transaction(steward("delivery")) as tx:
        one = lock(tx, order_id)
        if _still(one, key):
            _fault(tx, one, str(fault), final=not fault.transient)
        return one


def _enter(book: Book, order_id: int, key: str, outcome: Outcome, provider: Provider) -> WorkOrder:
    """Record what the cloud said. An answer that cannot be entered is its company's to mend, and keeps no other order
    waiting."""
    actor = steward("delivery")
    try:
        with book.transaction(actor) as tx:
            one = lock(tx, order_id)
            if _still(one, key):
                _record(tx, one, outcome, provider)
            elif (one.by_hand or one.state == OrderState.CANCELLED) and outcome.state is not OutcomeState.FAILED:
                tx.audit("order.answer_late", one.basis, after={"answer": outcome.state, "at": outcome.at})
            return one
    except Refused as refusal:
        with book.transaction(actor) as tx:
            one = lock(tx, order_id)
            if _still(one, key):
                _fault(tx, one, str(refusal), final=True)
            return one


def _not_taken(tx: Tx, one: WorkOrder) -> None:
    """The cloud does not know the order: it is as if nobody had told it."""
    one.told = False
    if one.state != OrderState.PENDING:
        move(tx, one, OrderState.PENDING, "order.not_taken")


def _send(tx: Tx, one: WorkOrder) -> Order:
    """Record that the cloud is about to be told, and what."""
    first = one.sent_at is None
    one.sent_at, one.told = one.sent_at or tx.now, True
    move(tx, one, OrderState.SENT, "order.send", attempts=one.attempts)
    if first:
        begin_request(tx, one)
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


def _still(one: WorkOrder, key: str) -> bool:
    """Whether the answer to ``key`` is still awaited: nobody recorded, cancelled or took it over meanwhile."""
    return _at_cloud(one) and one.cloud_key == key


def _record(tx: Tx, one: WorkOrder, outcome: Outcome, provider: Provider) -> None:
    if outcome.state is OutcomeState.PENDING:
        one.next_try_at, one.last_error = tx.now + POLL, ""
        if one.state != OrderState.DELIVERING:
            move(tx, one, OrderState.DELIVERING, "order.under_way")
    elif outcome.state is OutcomeState.FAILED:
        one.refusals += 1  # the cloud says that it did nothing: the next try is a new command to it
        one.told = False
        _fault(tx, one, outcome.message, final=False)
    else:
        if outcome.message:
            one.payload = {**one.payload, "message": outcome.message}
        delivered(
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
        move(tx, one, OrderState.FAILED, "order.fail", attempts=one.attempts, error=message)
    else:
        one.next_try_at = tx.now + BACK_OFF * 2 ** (one.attempts - 1)
        move(tx, one, OrderState.PENDING, "order.retry", attempts=one.attempts, error=message)


def _hand_over(tx: Tx, one: WorkOrder) -> None:
    """This cloud cannot be told so by a program: it is its staff's to do."""
    one.by_hand, one.sent_at, one.next_try_at = True, one.sent_at or tx.now, None
    move(tx, one, OrderState.SENT, "order.hand_over")
    begin_request(tx, one)
