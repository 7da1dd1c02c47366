"""Carriage: orders go to their clouds, outside any transaction, and what the clouds say comes back.

``carry`` plans what will be called, records the intent, commits, calls the cloud with the order's key, and records what it
said in a second transaction. Whatever dies in between, the next call first asks the cloud what became of that key. What it took is
recorded; what it did not take is looked at afresh before it is sent, as if it never had been: nothing is done twice, and
nothing on a judgement of before the crash. So it is with what somebody beside the cloud did not fetch in time; while he is away,
and until his cloud was listed again, nothing is sent. Where the adapter has no hands, the provider's staff does the work and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from queue import Queue
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from providers.base import (
    BUSY,
    NEVER,
    OVER_QUOTA,
    REST,
    STALLED,
    Advancing,
    CallState,
    Fetching,
    Journalled,
    Order,
    Outcome,
    OutcomeState,
    Parallel,
    PlannedCall,
    Provider,
    ProviderFault,
    ServiceKind,
    Verb,
    planned,
)
from providers.observation import last_listing
from providers.orders import enactment, plans, tables
from providers.orders.steps import begin_request, delivered, lock, move
from providers.orders.tables import TAKING, UNDER_WAY, OrderState, WorkOrder
from quota.actors import steward
from quota.errors import Refused
from quota.inventory import CloudProject
from quota.units import CLASSES, Amount, Arch

if TYPE_CHECKING:
    from quota.db import Book, Tx

ATTEMPTS = 5
"""Tries that may fail before an order is reported as failed."""

BACK_OFF = timedelta(minutes=5)
"""After the first failed try; doubled after each further one."""

POLL = timedelta(minutes=5)
"""The longest pause between two looks at an order that the cloud is still at, and before one that is held back is
looked at again."""

SOONEST = timedelta(seconds=20)
"""The shortest."""

PACE = 4
"""The pause before the next look is so many times shorter than what the work has taken by now: what takes seconds is seen
within seconds, what takes hours is not asked about all the time."""

LEASE = timedelta(minutes=15)
"""How long a call may take before ``waiting`` offers its order again."""

HOUR = timedelta(hours=1)


LastLook = Callable[["Tx", int], str | None]
"""Asked with the id of an order: why it must not be sent now; None: it may."""


@dataclass(slots=True)
class Carried:
    """What one round did. Ids of work orders; ``held``: what waits because of the ceiling, since its pool is only tried
    out, or since nobody is there to fetch it; ``faults``: what the cloud or the network said."""

    delivered: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    retried: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    by_hand: list[int] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)

    def note(self, order: WorkOrder) -> None:
        """Put an order where it belongs, as it stands after its turn."""
        state = OrderState(order.state)
        if state is OrderState.DELIVERED:
            self.delivered.append(order.id)
        elif state is OrderState.FAILED:
            self.failed.append(order.id)
        elif order.by_hand:
            self.by_hand.append(order.id)
        elif order.fault in ("ceiling", "dry_run", "away"):
            self.held.append(order.id)
        else:
            (self.pending if state is OrderState.DELIVERING else self.retried).append(order.id)
        if order.last_error and state is not OrderState.DELIVERED:
            self.faults[order.id] = order.last_error


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


def carry_all(
    book: Book,
    pool_id: int,
    provider: Provider,
    look: LastLook | None = None,
    *,
    ceiling: int | None = None,
    another: Callable[[], Provider] | None = None,
) -> Carried:
    """Carry every order of the pool whose turn it is, oldest first. ``look``, ``ceiling``: as for `carry`. ``another`` opens the
    pool's cloud once more: where that admits several at a time (``providers.base.Parallel``), what one order waits for holds no
    other. What cannot be told by an outcome is raised when all had their turn."""
    round_ = Carried()
    with book.reading() as tx:
        found = waiting(tx, pool_id)
    many = min(provider.at_once, len(found)) if another is not None and isinstance(provider, Parallel) else 1
    if another is None or many <= 1:
        unexpected: Exception | None = None
        for order_id in found:
            try:
                round_.note(carry(book, order_id, provider, look, ceiling=ceiling))
            except Exception as error:  # one that can't be dealt with keeps no younger one waiting
                unexpected = unexpected or error
        if unexpected is not None:
            raise unexpected
        return round_
    idle: Queue[Provider] = Queue()
    for one in (provider, *(another() for _more in range(many - 1))):
        idle.put(one)

    def turn(order_id: int) -> WorkOrder:
        own = idle.get()
        try:
            return carry(book, order_id, own, look, ceiling=ceiling)
        finally:
            idle.put(own)

    with ThreadPoolExecutor(many, thread_name_prefix="carry") as hands:
        turns = [hands.submit(turn, order_id) for order_id in found]
    for done in turns:
        round_.note(done.result())
    return round_


def carry(
    book: Book, order_id: int, provider: Provider, look: LastLook | None = None, *, ceiling: int | None = None
) -> WorkOrder:
    """Take one order a step further: ask what became of it if its cloud may know it and have it go on, else plan and send
    it. Returns it as it then stands.

    ``look`` is asked in the transaction that sends it whether something came up against it since it was placed; then
    it is not sent, and tried again later. So it is each time before the cloud is told, also where somebody told it
    before and died: what the cloud did not take is no more decided than what it never heard of. Safe to call again at
    any time, also by two at once: the cloud knows the order by its key, and what another call recorded meanwhile
    stands. ``ceiling``: how many orders that take something away (TAKING), or whose plan stops what runs, may be sent within an hour, for the first time
    or again, in the whole house;
    None: as many as there are.
    """
    actor = steward("delivery")
    if isinstance(provider, Journalled):
        provider.keep_journal(plans.BookJournal(book))
    with book.reading(actor) as tx:
        seen = tables.order(tx, order_id)
        asked = _asked(tx, seen)
    try:
        answer = _news(provider, asked.key, book.clock()) if seen.told and _at_cloud(seen) else None
        if answer is not None:
            return _enter(book, order_id, asked.key, answer, provider)
        calls = _planned(book, provider, asked) if _at_cloud(seen) and asked.verb in provider.capabilities else ()
    except ProviderFault as fault:
        return _missed(book, order_id, asked.key, fault)
    with book.transaction(actor) as tx:
        if ceiling is not None and _takes(asked, calls):
            tx.alone("orders.ceiling")
        order, sent = _readied(tx, seen, asked, calls, provider, look, ceiling)
        until = tx.now + LEASE
    if not sent or book.clock() >= until:
        return order  # where we slept, somebody else may have found by now that the cloud was never told
    try:
        outcome = provider.deliver(asked, book.clock())
    except ProviderFault as fault:
        return _missed(book, order_id, asked.key, fault)
    return _enter(book, order_id, asked.key, outcome, provider)


def _readied(
    tx: Tx,
    seen: WorkOrder,
    asked: Order,
    calls: tuple[PlannedCall, ...],
    provider: Provider,
    look: LastLook | None,
    ceiling: int | None,
) -> tuple[WorkOrder, bool]:
    """The order, and whether it is noted as sent, so that the cloud is to be told now."""
    # Looked at first: rows are locked in the order case, resource, work order by everybody.
    objection = look(tx, seen.id) if look and OrderState(tables.order(tx, seen.id).state) in UNDER_WAY else None
    order = lock(tx, seen.id)
    if not _at_cloud(order) or order.generation != seen.generation:
        return order, False
    if order.told:
        if order.next_try_at is not None and order.next_try_at > tx.now:
            # Somebody may be telling the cloud just now: that it does not know the order proves nothing.
            return order, False
        _not_taken(tx, order)
    if objection is None and _hand_over(tx, order, provider):
        return order, False
    if _asked(tx, order) != asked:  # what it is about changed since it was planned: it is planned anew the next time
        return order, False
    if calls:
        plans.keep(tx, order.id, asked.key, asked.to_json(), calls)
    if _held(tx, order, provider, objection, ceiling if _takes(asked, calls) else None):
        return order, False
    _send(tx, order, provider)
    return order, True


def rehearse(book: Book, order_id: int, provider: Provider) -> tuple[PlannedCall, ...]:
    """What would be called for an order if it were sent now: nothing is sent and nothing kept. Raises ProviderFault for one
    that can't succeed, and where its cloud can't be asked."""
    with book.reading() as tx:
        asked = _asked(tx, tables.order(tx, order_id))
    if asked.verb not in provider.capabilities:
        return (PlannedCall(plans.BY_HAND, "", frozenset(enactment.BY_HAND.get(asked.verb, ()))),)
    return planned(provider, asked, book.clock())


def _news(provider: Provider, key: str, now: datetime) -> Outcome | None:
    """What became of the order with that ``key``; where it is under way and its cloud wants to be led on, that is done."""
    answer = provider.inquire(key, now)
    if answer is not None and answer.state is OutcomeState.PENDING and isinstance(provider, Advancing):
        return provider.advance(key, now)
    return answer


def _planned(book: Book, provider: Provider, asked: Order) -> tuple[PlannedCall, ...]:
    """What would be called; an order that is held back is not planned anew at every look."""
    with book.reading() as tx:
        plan = plans.of_key(tx, asked.key)
        fresh = plan is not None and plan.made_at + HOUR > tx.now and plan.asked == asked.to_json() and not plan.begun
        if plan is not None and fresh:
            return tuple(one.record().call for one in plan.calls)
    return planned(provider, asked, book.clock())


def _takes(asked: Order, calls: tuple[PlannedCall, ...]) -> bool:
    """Whether an order takes a running thing away, be it for a while."""
    return asked.verb in TAKING or any(one.stops for one in calls)


def _held(tx: Tx, order: WorkOrder, provider: Provider, objection: str | None, ceiling: int | None) -> bool:
    """Whether the order is kept back; it then says why, and is looked at again later. ``ceiling``: None where it takes nothing away."""
    if objection is not None:
        order.fault, order.last_error = "objection", objection
    elif order.pool.dry_run:
        order.fault, order.last_error = "dry_run", tables.HELD["dry_run"]
    elif isinstance(provider, Fetching) and _away(tx, order, provider):
        order.fault, order.last_error = "away", tables.HELD["away"]
    elif ceiling is not None and _taken(tx, order.id) >= ceiling:
        order.fault, order.last_error = "ceiling", tables.HELD["ceiling"]
    else:
        return False
    order.next_try_at = tx.now + POLL
    return True


def _away(tx: Tx, order: WorkOrder, provider: Fetching) -> bool:
    """Whether nobody would fetch the order now, or nothing is known of its cloud since he was away."""
    told, entered = provider.listed(tx.now), last_listing(tx, order.pool_id)
    return told is None or entered is None or entered.as_of < told


def _taken(tx: Tx, but: int) -> int:
    """How many orders that take something away were sent within the past hour, again or for the first time, or were carried out in
    it, however long before they were sent, beside this one."""
    lately = (WorkOrder.told_at, WorkOrder.sent_at, WorkOrder.delivered_at)
    query = select(func.count()).where(
        or_(*(moment > tx.now - HOUR for moment in lately)),
        or_(WorkOrder.verb.in_([one.value for one in TAKING]), plans.stopping()),
        WorkOrder.by_hand.is_(False),
        WorkOrder.id != but,
    )
    return tx.scalar(query) or 0


def awaited(tx: Tx, keys: Collection[str]) -> set[str]:
    """Those of ``keys`` (``WorkOrder.cloud_key``) whose order its cloud was told and is still to carry out."""
    told = select(WorkOrder).where(
        WorkOrder.key.in_({key.rpartition("#")[0] or key for key in keys} | set(keys)), WorkOrder.told.is_(True)
    )
    return {order.cloud_key for order in tx.scalars(told) if _at_cloud(order)} & set(keys)


def _at_cloud(order: WorkOrder) -> bool:
    """Whether it is the cloud's interface that has to do it."""
    return OrderState(order.state) in UNDER_WAY and not order.by_hand


def _missed(book: Book, order_id: int, key: str, fault: ProviderFault) -> WorkOrder:
    """The cloud gave no answer; whether it took the order is asked the next time."""
    with book.transaction(steward("delivery")) as tx:
        order = lock(tx, order_id)
        if _still(order, key):
            _fault(tx, order, str(fault), final=not fault.transient, code=fault.code, wait_s=fault.wait_s)
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
                _fault(tx, order, str(refusal), final=True, code="", wait_s=None)
            return order


def _not_taken(tx: Tx, order: WorkOrder) -> None:
    """The cloud does not know the order: it is as if nobody had told it."""
    order.told = False
    plans.reset(tx, order.cloud_key)
    if order.state != OrderState.PENDING:
        move(tx, order, OrderState.PENDING, "order.not_taken")


def _send(tx: Tx, order: WorkOrder, provider: Provider) -> None:
    """Record that the cloud is about to be told."""
    first = order.sent_at is None
    order.sent_at, order.told_at, order.told = order.sent_at or tx.now, tx.now, True
    move(tx, order, OrderState.SENT, "order.send", attempts=order.attempts)
    if first:
        begin_request(tx, order)
    order.next_try_at, order.fault = tx.now + LEASE, ""
    if not isinstance(provider, Journalled):
        plans.follow(tx, order, OutcomeState.PENDING, tx.now)


def _asked(tx: Tx, order: WorkOrder) -> Order:
    """The order as its cloud is told it."""
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
        project=_project(tx, order) if order.verb == Verb.CREATE else order.payload.get("project"),
        limits={CLASSES.known(kind): most for kind, most in order.payload.get("limits", {}).items()},
    )


def _project(tx: Tx, order: WorkOrder) -> str | None:
    """The department's project in the pool's cloud, where people have said that it is its only one."""
    query = select(CloudProject.external_id).where(
        CloudProject.pool_id == order.pool_id, CloudProject.department_id == order.department_id
    )
    found = tx.scalars(query.limit(2)).all() if order.department_id is not None else []
    return found[0] if len(found) == 1 else None


def _still(order: WorkOrder, key: str) -> bool:
    """Whether the answer to ``key`` is still awaited: nobody recorded, cancelled or took it over meanwhile."""
    return _at_cloud(order) and order.cloud_key == key


def _record(tx: Tx, order: WorkOrder, outcome: Outcome, provider: Provider) -> None:
    if not isinstance(provider, Journalled):
        plans.follow(tx, order, outcome.state, outcome.at)
    if outcome.state is OutcomeState.PENDING:
        order.next_try_at, order.fault = tx.now + _pause(tx, order, outcome.wait_s), ""
        order.last_error = outcome.message
        if order.state != OrderState.DELIVERING:
            move(tx, order, OrderState.DELIVERING, "order.under_way")
    elif outcome.state is OutcomeState.FAILED:
        order.refusals += 1  # the cloud says that it did nothing: the next try is a new command to it
        order.told = False
        _fault(tx, order, outcome.message, final=False, code=outcome.code, wait_s=outcome.wait_s)
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


def _pause(tx: Tx, order: WorkOrder, wait_s: float | None) -> timedelta:
    """How long to leave the cloud alone: as it asks itself, else by how long it takes already."""
    if wait_s is not None:
        return max(timedelta(seconds=wait_s), SOONEST)
    return min(max((tx.now - (order.sent_at or tx.now)) / PACE, SOONEST), POLL)


def _fault(tx: Tx, order: WorkOrder, message: str, *, final: bool, code: str, wait_s: float | None) -> None:
    """A try failed: back off, or give up and report it. A cloud that is busy, asks to be left alone or is left alone is tried until it has
    time, which uses up no try; what can't succeed as it stands is not tried again."""
    order.last_error, order.fault = message, code
    if code in (BUSY, REST) and not final:
        order.next_try_at = tx.now + _pause(tx, order, wait_s)
        if order.state != OrderState.PENDING:
            move(tx, order, OrderState.PENDING, "order.busy", error=message)
        return
    order.attempts += 1
    if final or code in (NEVER, OVER_QUOTA, STALLED) or order.attempts >= ATTEMPTS:
        order.next_try_at = None
        move(tx, order, OrderState.FAILED, "order.fail", attempts=order.attempts, error=message)
    else:
        order.next_try_at = tx.now + max(BACK_OFF * 2 ** (order.attempts - 1), timedelta(seconds=wait_s or 0))
        move(tx, order, OrderState.PENDING, "order.retry", attempts=order.attempts, error=message)


def _hand_over(tx: Tx, order: WorkOrder, provider: Provider) -> bool:
    """Whether this cloud cannot be told so by a program: then it is its staff's to do."""
    if Verb(order.verb) in provider.capabilities:
        return False
    plans.by_hand(tx, order, CallState.WAITING)
    order.by_hand, order.sent_at, order.next_try_at = True, order.sent_at or tx.now, None
    order.fault, order.last_error = "", ""
    move(tx, order, OrderState.SENT, "order.hand_over")
    begin_request(tx, order)
    return True
