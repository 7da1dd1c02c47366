"""Placing: what was approved, or what a case takes, becomes work orders; each key is one order."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from quota.requests import Request, RequestKind, RequestState, StepName
from quota.units import Amounts, times
from quota.units import amounts as figures

if TYPE_CHECKING:
    from quota.db import Tx


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
    tx.alone(key)
    earlier = tx.scalar(select(WorkOrder).where(WorkOrder.key == key))
    if earlier is not None:
        if (earlier.verb, earlier.resource_id if verb is not Verb.CREATE else None) != (
            verb.value,
            resource.id if resource else None,
        ):
            raise reused(key)
        return earlier
    if verb is not Verb.CREATE and resource is None:
        raise Invalid("order.no_target", N_("请指明工单针对的资源"), field="resource_id")
    if resource is not None:
        if resource.pool_id != pool.id:
            raise Invalid("order.other_pool", N_("资源不在资源池 %(pool)s"), pool=pool.name, field="resource_id")
        kind, department_id, system_id = ServiceKind(resource.kind), resource.department_id, resource.system_id
    if kind is None or (verb in (Verb.CREATE, Verb.RESIZE) and not amounts):
        raise Invalid("order.no_shape", N_("请写明资源类型和规格"), field="amounts")
    days = limit_days or (item.delivery_days if item else tables.LIMITS.get(kind, STANDARD_DAYS))
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
        amounts={kind: figure for kind, figure in (amounts or {}).items() if figure},
        taken={},
        freed={},
        frees=frees.value,
        payload={},
        emergency=emergency,
        limit_days=days,
        due_at=tables.due(working_days(tx), tx.now, days, emergency=emergency),
        state=OrderState.PENDING.value,
        by_hand=False,
        attempts=0,
        refusals=0,
        told=False,
        last_error="",
        placed_at=tx.now,
        placed_by=tx.actor.login,
        discrepancy={},
        generation=1,
    )
    tx.add(one)
    tx.flush()
    one.number = tables.numbered(one.id, tx.now)
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
    """The orders of an approved request, one a piece; nothing for a change of quota. Twice is once.

    Pieces that are an amount (200 of 1 GB of a volume) are one order of all of it.
    """
    requests.must_be(request, RequestState.APPROVED, RequestState.DELIVERING)
    kind = RequestKind(request.kind)
    if kind is RequestKind.QUOTA:
        return []
    step = request.step(StepName.DELIVERY)
    limit = step.limit_days if step is not None else None
    found = []
    for line in request.lines:
        wanted = figures(line.granted_amounts)
        pieces = line.granted_quantity
        if pieces and kind is RequestKind.CREATE and line.item is not None and line.item.by_amount:
            wanted, pieces = times(wanted, pieces), 1
        for piece in range(1, pieces + 1):
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
                        name=_piece_name(line.name, piece, pieces),
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
            changed = {one: figure for one, figure in wanted.items() if line.current.get(one) != figure}
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
