"""Placing: what was approved, or what a case takes, becomes work orders; each key is one order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from providers.base import ServiceKind, Verb
from providers.orders import enactment, tables
from providers.orders.tables import STANDARD_DAYS, OrderState, WorkOrder
from quota import requests
from quota.calendar import working_days
from quota.directory import CatalogItem, Pool
from quota.errors import N_, Invalid, reused
from quota.inventory import Resource
from quota.ledger import Holder
from quota.requests import Request, RequestState, StepName, Unit
from quota.units import Amount

if TYPE_CHECKING:
    from quota.db import Tx


ASKED = "asked"
"""In an order's payload: name of a field of the request's kind → what the request says of this piece."""


PART_OF = "part_of"
"""In an order's payload: what the piece is added to, by item, name and number."""


def place(
    tx: Tx,
    pool: Pool,
    verb: Verb,
    *,
    key: str,
    resource: Resource | None = None,
    kind: ServiceKind | None = None,
    amounts: Amount | None = None,
    name: str = "",
    department_id: int | None = None,
    system_id: int | None = None,
    item: CatalogItem | None = None,
    request_id: int | None = None,
    case_id: int | None = None,
    limit_days: int | None = None,
    limit_unit: Unit = Unit.WORKING_DAYS,
    emergency: bool = False,
    frees: Holder = Holder.GRANTED,
    paid: bool = False,
    payload: Mapping[str, Any] | None = None,
) -> WorkOrder:
    """Place an order; the same ``key`` again returns the first one.

    What it adds is counted as used at once, from the department's granted quota; ``paid``: a request's
    holds did so. What it frees goes to the department's quota, or to the city with ``frees`` FREE, when it
    is delivered. ``amounts`` of a resize name what shall change; what they leave out stays. ``payload`` is what the order says
    beside that (as providers.orders.quota_orders does). Raises OverCapacity
    where the quota is short, Conflict where the key was used for something else, Invalid where the resource
    or its kind is not named.
    """
    tx.alone(key)
    earlier = tx.scalar(select(WorkOrder).where(WorkOrder.key == key))
    if earlier is not None:
        made = None if verb is Verb.CREATE else earlier.resource_id  # what a creation is about, it made itself
        if (earlier.verb, made) != (verb.value, resource.id if resource else None):
            raise reused(key)
        return earlier
    if resource is not None:
        kind, department_id, system_id = ServiceKind(resource.kind), resource.department_id, resource.system_id
    kind = _checked(pool, verb, resource, kind, amounts)
    days = limit_days or (item.delivery_days if item else tables.LIMITS.get(kind, STANDARD_DAYS))
    order = WorkOrder(
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
        amounts={what: figure for what, figure in (amounts or {}).items() if figure},
        frees=frees.value,
        emergency=emergency,
        limit_days=days,
        limit_unit=limit_unit.value,
        due_at=tables.due(working_days(tx), tx.now, days, limit_unit, emergency=emergency),
        placed_at=tx.now,
        placed_by=tx.actor.login,
    )
    _enter(tx, order, paid=paid, payload=payload or {})
    return order


def _checked(
    pool: Pool, verb: Verb, resource: Resource | None, kind: ServiceKind | None, amounts: Amount | None
) -> ServiceKind:
    """The kind of service that is ordered. Raises Invalid for an order of nothing, or about what is not in the pool."""
    if verb not in (Verb.CREATE, Verb.SET_QUOTA) and resource is None:
        raise Invalid("order.no_target", N_("请指明工单针对的资源"), field="resource_id")
    if resource is not None and resource.pool_id != pool.id:
        raise Invalid("order.other_pool", N_("资源不在资源池 %(pool)s"), pool=pool.name, field="resource_id")
    if kind is None or (verb in (Verb.CREATE, Verb.RESIZE) and not amounts):
        raise Invalid("order.no_shape", N_("请写明资源类型和规格"), field="amounts")
    return kind


def _enter(tx: Tx, order: WorkOrder, *, paid: bool, payload: Mapping[str, Any]) -> None:
    """Enter a new order: it waits to be carried, gets its number, and what it adds is counted."""
    order.state, order.generation = OrderState.PENDING.value, 1
    order.taken, order.freed, order.payload, order.discrepancy = {}, {}, dict(payload), {}
    order.by_hand, order.told, order.attempts, order.refusals, order.last_error = False, False, 0, 0, ""
    order.fault = ""
    tx.add(order)
    tx.flush()
    order.number = tables.numbered(order.id, tx.now)
    enactment.take(tx, order, paid=paid)
    tx.flush()
    tx.audit(
        "order.place",
        order.basis,
        after={
            "number": order.number,
            "verb": order.verb,
            "kind": order.kind,
            "pool": order.pool.code,
            "resource": order.resource_id,
            "amounts": order.amounts,
            "due_at": order.due_at,
            "for": order.subject,
            **({"payload": order.payload} if order.payload else {}),
        },
    )


def place_for_request(tx: Tx, request: Request) -> list[WorkOrder]:
    """The orders of an approved request, one for each task that its kind has for providers. Twice is once."""
    requests.must_be(request, RequestState.APPROVED, RequestState.DELIVERING)
    kind = requests.kind_of(request)
    tasks = kind.tasks
    step = request.step(StepName.DELIVERY)
    return [
        place(
            tx,
            request.pool,
            Verb(task.verb),
            key=f"request:{request.id}:{request.round}:{task.place}",
            resource=tx.get_one(Resource, task.resource_id) if task.resource_id is not None else None,
            kind=ServiceKind(task.service) if task.service else None,
            amounts=task.amounts,
            name=task.name,
            item=task.item,
            department_id=request.department_id,
            system_id=request.system_id,
            request_id=request.id,
            limit_days=step.limit if step is not None else None,
            limit_unit=Unit(step.unit) if step is not None else Unit.WORKING_DAYS,
            paid=True,
            payload=_described(kind, task),
        )
        for task in (tasks(request) if tasks is not None else ())
    ]


def _described(kind: requests.RequestKind, task: requests.Task) -> dict[str, Any]:
    """What the line of a task says of each piece beside its amounts: its system, its database."""
    if task.line is None:
        return {}
    told = {one.name: said for one in kind.each if (said := task.line.said(one.name))}
    return {**({ASKED: told} if told else {}), **({PART_OF: task.part_of} if task.part_of else {})}
