"""The steps of a work order that every room of the delivery takes: locked, moved, noted in the trail, delivered."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from providers.orders import enactment, tables
from providers.orders.tables import STATE_LABELS, UNDER_WAY, OrderState, WorkOrder
from quota import requests
from quota.errors import N_, WrongState
from quota.ledger import Classes
from quota.requests import RequestState, fulfilment
from quota.units import Amount, Arch

if TYPE_CHECKING:
    from quota.db import Tx


def lock(tx: Tx, order_id: int, generation: int | None = None) -> WorkOrder:
    """The order, locked, its request before it: one order of locking for all."""
    request_id = tables.order(tx, order_id).request_id
    if request_id is not None:
        requests.lock(tx, request_id)
    return tables.locked(tx, order_id, generation)


def move(tx: Tx, order: WorkOrder, state: OrderState, action: str, reason: str = "", **after: object) -> None:
    """Take an order to its next state: new generation, one line in the trail that tells ``after``."""
    before = order.state
    order.state = state.value
    order.generation += 1
    tx.flush()
    tx.audit(action, order.basis, before={"state": before}, after={"state": state, **after}, reason=reason)


def must_be(order: WorkOrder, *states: OrderState) -> None:
    """WrongState for an order that is in none of ``states``."""
    if order.state not in states:
        raise WrongState(
            "order.state",
            N_("工单 %(number)s 现为“%(state)s”,不能这样操作"),
            number=order.number,
            state=STATE_LABELS[OrderState(order.state)],
        )


def of_request(tx: Tx, request_id: int, states: set[OrderState] | frozenset[OrderState]) -> list[WorkOrder]:
    """The orders of a request that are in one of ``states``, oldest first."""
    return list(
        tx.scalars(
            select(WorkOrder)
            .where(WorkOrder.request_id == request_id, WorkOrder.state.in_([one.value for one in states]))
            .order_by(WorkOrder.id)
        )
    )


def begin_request(tx: Tx, order: WorkOrder) -> None:
    """The request of an order, if it has one, is being delivered from now on."""
    if order.request_id is not None:
        request = requests.lock(tx, order.request_id)
        if request.state == RequestState.APPROVED:
            fulfilment.delivering(tx, request)


def delivered(
    tx: Tx,
    order: WorkOrder,
    *,
    at: datetime,
    by: str,
    external_id: str | None,
    has: Amount,
    releases: enactment.Releases,
) -> None:
    """Enter that an order was carried out at ``at``; with the last one its request is delivered. Raises as
    ``enactment.enact``."""
    enactment.enact(tx, order, at=at, external_id=external_id, has=has, releases=releases)
    order.delivered_at, order.delivered_by, order.next_try_at, order.last_error, order.fault = at, by, None, "", ""
    move(tx, order, OrderState.DELIVERED, "order.deliver", at=at, by=by, resource=order.resource_id, freed=order.freed)
    if order.request_id is not None and not of_request(tx, order.request_id, UNDER_WAY | {OrderState.FAILED}):
        fulfilment.delivered(tx, order.request_id, at=at, gives=freed(tx, order.request_id))


def freed(tx: Tx, request_id: int) -> Classes:
    """What the orders of a request freed of what is counted for their resources: that, not what was asked, is returned."""
    done = of_request(tx, request_id, {OrderState.DELIVERED, OrderState.ACCEPTED})
    return Amount.total(Amount.from_json(one.freed) for one in done).of_arch(Arch(done[0].pool.arch)) if done else {}
