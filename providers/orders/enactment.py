"""What a delivered order does to the inventory and the ledger.

Use is raised when an order is placed and lowered only once the cloud (or its staff) says that it is done.
What a verb frees differs between clouds: the adapter's release map says it; without one, only deleting and
shrinking free anything. What a request returns, ``quota.requests.fulfilment`` releases when all its orders are
delivered; here only its resource is entered.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from providers.base import ResourceState, ServiceKind, Verb
from providers.orders.tables import OrderState, WorkOrder
from quota import inventory, ledger
from quota.errors import N_, Conflict, Invalid
from quota.ledger import Holder, lending
from quota.units import CLASSES, Amounts, Arch, ClassCode, amounts, classes

if TYPE_CHECKING:
    from quota.db import Tx

Releases = Mapping[Verb, frozenset[ClassCode]]

BY_HAND: Releases = {Verb.RESIZE: frozenset(CLASSES), Verb.DELETE: frozenset(CLASSES)}
"""What is freed where no adapter says it."""

GROWING = frozenset({Verb.CREATE, Verb.RESIZE, Verb.START, Verb.RESTORE})

_HOSTS = frozenset({ServiceKind.VM, ServiceKind.BARE_METAL})


def take(tx: Tx, order: WorkOrder, *, paid: bool) -> None:
    """Count as used what ``order`` will add, before it is carried out. ``paid``: a request's holds did so
    already.

    Raises OverCapacity where the department has not been granted as much.
    """
    grown = _grown(tx, order)
    if not grown:
        return
    if order.department_id is None:
        raise Invalid("order.ownerless", N_("资源不属于任何单位,不能增加占用"), field="department_id")
    if not paid:
        if order.verb in (Verb.START, Verb.RESTORE):
            _back_from_city(tx, order, grown)
        ledger.use(
            tx,
            order.pool_id,
            order.department_id,
            _by_class(order, grown),
            key=f"{order.basis}:take",
            subject=order.subject,
        )
    order.taken = _spelled(grown)


def give_back(tx: Tx, order: WorkOrder) -> None:
    """The order will not be carried out: what it took is the department's quota again."""
    taken = amounts(order.taken)
    if taken and order.department_id is not None:
        ledger.release(
            tx,
            order.pool_id,
            order.department_id,
            _by_class(order, taken),
            key=f"{order.basis}:give_back",
            subject=order.subject,
        )
        order.taken = {}


def enact(tx: Tx, order: WorkOrder, *, at: datetime, external_id: str | None, has: Amounts, releases: Releases) -> None:
    """``order`` was carried out at ``at``: enter the resource as it is now and free what this frees.

    ``has``: what the cloud says the resource has now (empty: it did not say). Raises Invalid for a creation
    without the resource's id, Conflict for an id that is something else's.
    """
    verb = Verb(order.verb)
    if verb is Verb.CREATE:
        if not external_id:
            raise Invalid("order.no_resource", N_("请填写交付的资源编号"), field="external_id")
        former = order.resource
        if former is not None and former.external_id != external_id and former.basis == order.basis:
            former.basis, former.booked = "", {}  # delivered anew as something else: what is counted goes with it
        one = inventory.arrive(
            tx,
            order.pool,
            external_id,
            at=at,
            source=order.basis,
            kind=ServiceKind(order.kind),
            approved=order.approved(),
            has=has or order.approved(),
            department_id=order.department_id,
            system_id=order.system_id,
            name=order.name or external_id,
            catalog_item_id=order.catalog_item_id,
        )
        order.resource_id = one.id
        return
    if order.resource is None:
        raise Invalid("order.no_resource", N_("请填写交付的资源编号"), field="external_id")
    one = order.resource
    if external_id and external_id != one.external_id and verb is not Verb.SNAPSHOT:
        raise Conflict(
            "order.other_resource",
            N_("工单针对的是资源 %(own)s,不是 %(other)s"),
            own=one.external_id,
            other=external_id,
            field="external_id",
        )
    booked = dict(one.counts())
    after = dict(booked)
    told: dict[str, Any] = {}
    if verb is Verb.RESIZE:
        told["amounts"] = _spelled({**one.has(), **order.approved(), **has})
        if booked:
            after.update(order.approved())
    elif verb is Verb.STOP:
        told |= {"state": ResourceState.STOPPED, "stopped_at": at}
    elif verb is Verb.START:
        told |= {"state": ResourceState.RUNNING, "stopped_at": None}
    elif verb is Verb.RECYCLE:
        told["state"] = ResourceState.RECYCLED
    elif verb is Verb.RESTORE:  # a host comes back switched off
        told["state"] = ResourceState.STOPPED if ServiceKind(one.kind) in _HOSTS else ResourceState.RUNNING
    elif verb is Verb.DELETE:
        told["state"] = ResourceState.DELETED
    if verb in (Verb.START, Verb.RESTORE):
        for kind, figure in amounts(order.taken).items():
            after[kind] = after.get(kind, 0) + figure
    freeing = releases.get(verb, frozenset())
    freed: dict[ClassCode, int] = {}
    for kind, figure in booked.items():
        less = figure - after[kind] if verb is Verb.RESIZE else figure if kind in freeing else 0
        if less > 0 and kind in freeing:
            freed[kind] = less
            after[kind] = figure - less
        elif less > 0:  # shrunk, but this cloud does not give it back
            after[kind] = figure
    if freed and one.department_id is not None and order.request_id is None:
        _free(tx, order, one.department_id, _by_class(order, freed))
    order.freed = _spelled(freed)
    one.booked = _spelled(after)
    inventory.enact(tx, one, at=at, source=order.basis, **told)


def _free(tx: Tx, order: WorkOrder, department_id: int, freed: ledger.Classes) -> None:
    """What falls free goes to whom the order says; what the department borrowed stays with it, to go home from there."""
    to_city = lending.spare(tx, order.pool_id, department_id, freed) if order.frees == Holder.FREE.value else {}
    rest = {cls: left for cls, figure in freed.items() if (left := figure - to_city.get(cls, 0))}
    for move, what, word in ((ledger.reclaim, to_city, "free"), (ledger.release, rest, "keep" if to_city else "free")):
        if what:
            move(tx, order.pool_id, department_id, what, key=f"{order.basis}:{word}", subject=order.subject)


def compare(order: WorkOrder) -> dict[str, Any]:
    """Where what was approved and what appeared differ: {"amounts": {kind: [approved, appeared]}, "unseen":
    true}.

    ``unseen``: a complete listing made after the delivery does not show the resource.
    """
    one = order.resource
    if one is None or order.verb not in (Verb.CREATE, Verb.RESIZE):
        return {}
    found: dict[str, Any] = {}
    approved, appeared = order.approved(), one.has()
    kinds = set(approved) | (set(appeared) if order.verb == Verb.CREATE else set())
    differing = {
        kind: [approved.get(kind, 0), appeared.get(kind, 0)]
        for kind in sorted(kinds)
        if approved.get(kind, 0) != appeared.get(kind, 0)
    }
    if differing:
        found["amounts"] = differing
    if one.gone_at is not None:
        found["unseen"] = True
    return found


def _grown(tx: Tx, order: WorkOrder) -> dict[ClassCode, int]:
    """What ``order`` will add to what is counted as used."""
    verb, wanted = Verb(order.verb), order.approved()
    if verb is Verb.CREATE:
        return dict(wanted)
    if verb is Verb.RESIZE and order.resource is not None and order.resource.booked:
        booked = order.resource.counts()
        more = {kind: figure - booked.get(kind, 0) for kind, figure in wanted.items()}
        return {kind: figure for kind, figure in more.items() if figure > 0}
    if verb in (Verb.START, Verb.RESTORE):
        undone = _undone(tx, order)
        if undone is None or order.resource is None:
            return {}
        booked, has = order.resource.counts(), order.resource.has()
        more = {
            kind: min(figure, has.get(kind, 0) - booked.get(kind, 0)) for kind, figure in amounts(undone.freed).items()
        }
        return {kind: figure for kind, figure in more.items() if figure > 0}
    return {}


def _undone(tx: Tx, order: WorkOrder) -> WorkOrder | None:
    """The stop or recycling that a start or restore undoes."""
    verb = Verb.STOP if order.verb == Verb.START else Verb.RECYCLE
    return tx.scalar(
        select(WorkOrder)
        .where(
            WorkOrder.resource_id == order.resource_id,
            WorkOrder.verb == verb.value,
            WorkOrder.state.in_([OrderState.DELIVERED.value, OrderState.ACCEPTED.value]),
        )
        .order_by(WorkOrder.id.desc())
        .limit(1)
    )


def _back_from_city(tx: Tx, order: WorkOrder, grown: Amounts) -> None:
    """What the undone order gave to the city is granted again; OverCapacity where the city no longer has
    it."""
    undone = _undone(tx, order)
    if undone is not None and undone.frees == Holder.FREE.value and order.department_id is not None:
        ledger.grant(
            tx,
            order.pool_id,
            order.department_id,
            _by_class(order, grown),
            key=f"{order.basis}:grant",
            subject=order.subject,
        )


def _by_class(order: WorkOrder, what: Amounts) -> ledger.Classes:
    return classes(what, Arch(order.pool.arch))


def _spelled(what: Amounts) -> dict[str, int]:
    return {kind: figure for kind, figure in what.items() if figure}
