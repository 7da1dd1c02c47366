"""What a delivered order does to the inventory and the ledger.

Use is raised when an order is placed and lowered only once the cloud (or its staff) says that it is done.
What a verb frees differs between clouds: the adapter's release map says it; without one, only deleting and
shrinking free anything. What a request returns, ``quota.requests.fulfilment`` releases when all its orders are
delivered; here only its resource is entered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from providers.base import HOSTS, ResourceState, ServiceKind, Verb
from providers.observation import cloud_figures, quota_drifts
from providers.orders.tables import OrderState, WorkOrder
from quota import inventory, ledger
from quota.errors import N_, Conflict, Invalid
from quota.inventory import Resource
from quota.ledger import Holder, lending
from quota.requests import Compared, Request, kind_of
from quota.units import CLASSES, NOTHING, Amount, Arch, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx

Releases = Mapping[Verb, Collection[ClassCode]]

BY_HAND: Releases = {Verb.RESIZE: CLASSES, Verb.DELETE: CLASSES}
"""What is freed where no adapter says it."""

GROWING = frozenset({Verb.CREATE, Verb.RESIZE, Verb.START, Verb.RESTORE})


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
    order.taken = grown.to_json()


def give_back(tx: Tx, order: WorkOrder) -> None:
    """The order will not be carried out: what it took is the department's quota again."""
    taken = Amount.from_json(order.taken)
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


def enact(tx: Tx, order: WorkOrder, *, at: datetime, external_id: str | None, has: Amount, releases: Releases) -> None:
    """``order`` was carried out at ``at``: enter the resource as it is now and free what this frees.

    ``has``: what the cloud says the resource has now (empty: it did not say). Raises Invalid for a creation
    without the resource's id, Conflict for an id that is something else's.
    """
    if order.verb == Verb.CREATE:
        _arrive(tx, order, at, external_id, has)
        return
    if (
        order.verb == Verb.SET_QUOTA
    ):  # it changes no resource: what the cloud says of its quotas is read anew, and compared
        for pool_id in (order.pool_id, *(one.id for one in quota_drifts.of_same_cloud(tx, order.pool_id))):
            cloud_figures.again(tx, pool_id, cloud_figures.CloudBook.QUOTAS)
        return
    resource = _target(order, external_id)
    told = _told(order, resource, at, has)
    after, freed = _counted(order, resource, releases.get(Verb(order.verb), frozenset()))
    if freed and resource.department_id is not None and order.request_id is None:
        _free(tx, order, resource.department_id, _by_class(order, freed))
    order.freed, resource.booked = freed.to_json(), after.to_json()
    inventory.enact(tx, resource, at=at, source=order.basis, **told)


def _arrive(tx: Tx, order: WorkOrder, at: datetime, external_id: str | None, has: Amount) -> None:
    """Enter what ``order`` made."""
    if not external_id:
        raise Invalid("order.no_resource", N_("请填写交付的资源编号"), field="external_id")
    former = order.resource
    if former is not None and former.external_id != external_id and former.basis == order.basis:
        former.basis, former.booked = "", {}  # delivered anew as something else: what is counted goes with it
    made = inventory.arrive(
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
    order.resource_id = made.id


def _target(order: WorkOrder, external_id: str | None) -> Resource:
    """The resource that ``order`` is about, which is what was named, if anything was."""
    if order.resource is None:
        raise Invalid("order.no_resource", N_("请填写交付的资源编号"), field="external_id")
    if external_id and external_id != order.resource.external_id and order.verb != Verb.SNAPSHOT:
        raise Conflict(
            "order.other_resource",
            N_("工单针对的是资源 %(own)s,不是 %(other)s"),
            own=order.resource.external_id,
            other=external_id,
            field="external_id",
        )
    return order.resource


def _told(order: WorkOrder, resource: Resource, at: datetime, has: Amount) -> dict[str, Any]:
    """What the inventory learns of ``resource`` by ``order``."""
    match Verb(order.verb):
        case Verb.RESIZE:
            return {"amounts": (resource.actual() | order.approved() | has).to_json()}
        case Verb.STOP:
            return {"state": ResourceState.STOPPED, "stopped_at": at}
        case Verb.START:
            return {"state": ResourceState.RUNNING, "stopped_at": None}
        case Verb.RECYCLE:
            return {"state": ResourceState.RECYCLED}
        case Verb.RESTORE:  # a host comes back switched off
            host = ServiceKind(resource.kind) in HOSTS
            return {"state": ResourceState.STOPPED if host else ResourceState.RUNNING}
        case Verb.DELETE:
            return {"state": ResourceState.DELETED}
        case _:
            return {}


def _counted(order: WorkOrder, resource: Resource, freeing: Collection[ClassCode]) -> tuple[Amount, Amount]:
    """What is counted for ``resource`` after ``order``, and what that frees: of the kinds ``freeing`` alone."""
    verb, booked = Verb(order.verb), resource.counts()
    after, freed = dict(booked), dict[ClassCode, int]()
    if verb is Verb.RESIZE and booked:
        after.update(order.approved())
    elif verb in (Verb.START, Verb.RESTORE):
        for kind, figure in Amount.from_json(order.taken).items():
            after[kind] = after.get(kind, 0) + figure
    for kind, figure in booked.items():
        less = figure - after[kind] if verb is Verb.RESIZE else figure if kind in freeing else 0
        if less > 0 and kind in freeing:
            freed[kind] = less
            after[kind] = figure - less
        elif less > 0:  # shrunk, but this cloud does not give it back
            after[kind] = figure
    return Amount(after), Amount(freed)


def would_free(order: WorkOrder, kinds: Collection[ClassCode]) -> Amount:
    """What of the classes ``kinds`` would come free if ``order`` were carried out now."""
    return (
        _counted(order, order.resource, kinds)[1]
        if order.resource is not None and order.verb != Verb.CREATE
        else NOTHING
    )


def _free(tx: Tx, order: WorkOrder, department_id: int, freed: ledger.Classes) -> None:
    """What falls free goes to whom the order says; what the department borrowed stays with it, to go home from there."""
    citys = _citys(tx, order, freed)
    to_city = lending.spare(tx, order.pool_id, department_id, citys) if citys else {}
    rest = {cls: left for cls, figure in freed.items() if (left := figure - to_city.get(cls, 0))}
    for move, what, word in ((ledger.reclaim, to_city, "free"), (ledger.release, rest, "keep" if to_city else "free")):
        if what:
            move(tx, order.pool_id, department_id, what, key=f"{order.basis}:{word}", subject=order.subject)


def _citys(tx: Tx, order: WorkOrder, freed: ledger.Classes) -> ledger.Classes:
    """What of ``freed`` is not the department's: all of it where the order says so; of what was granted for a time as much as came
    out of the pool for it, which is no quota that outlives the term."""
    if order.frees == Holder.FREE.value:
        return freed
    if order.gives_back is None:
        return {}
    drawn = ledger.drawn_of_pool(tx, f"request:{order.gives_back}")
    return {cls: part for cls, figure in freed.items() if (part := min(figure, drawn.get(cls, 0)))}


COMPARED = {Verb.CREATE: Compared.ALL, Verb.RESIZE: Compared.NAMED}
"""What is compared of an order that no request asked for; else its request kind says it."""


def compare(tx: Tx, order: WorkOrder) -> dict[str, Any]:
    """Where what was approved and what appeared differ: {"amounts": {kind: [approved, appeared]}, "unseen": true}.

    ``unseen``: a complete listing made after the delivery does not show the resource.
    """
    request = tx.get(Request, order.request_id) if order.request_id is not None else None
    compares = kind_of(request).compares if request else COMPARED.get(Verb(order.verb), Compared.NOTHING)
    resource = order.resource
    if resource is None or compares is Compared.NOTHING:
        return {}
    found: dict[str, Any] = {}
    approved, appeared = order.approved(), resource.actual()
    kinds = {*approved, *appeared} if compares is Compared.ALL else set(approved)
    differing = {
        kind: [approved.get(kind, 0), appeared.get(kind, 0)]
        for kind in sorted(kinds)
        if approved.get(kind, 0) != appeared.get(kind, 0)
    }
    if differing:
        found["amounts"] = differing
    if resource.gone_at is not None:
        found["unseen"] = True
    return found


def _grown(tx: Tx, order: WorkOrder) -> Amount:
    """What ``order`` will add to what is counted as used."""
    verb, wanted = Verb(order.verb), order.approved()
    if verb is Verb.CREATE:
        return wanted
    if verb is Verb.RESIZE and order.resource is not None and order.resource.booked:
        return wanted.over(order.resource.counts())
    if verb in (Verb.START, Verb.RESTORE):
        undone = _undone(tx, order)
        if undone is None or order.resource is None:
            return NOTHING
        return Amount.from_json(undone.freed).within(order.resource.actual().over(order.resource.counts()))
    return NOTHING


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


def _back_from_city(tx: Tx, order: WorkOrder, grown: Amount) -> None:
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


def _by_class(order: WorkOrder, what: Amount) -> ledger.Classes:
    return what.of_arch(Arch(order.pool.arch))
