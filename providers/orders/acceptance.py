"""Acceptance: who ordered a thing looks whether what was delivered is what was approved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from providers.base import CallState
from providers.orders import enactment, plans, tables
from providers.orders.steps import lock, move, must_be, of_request
from providers.orders.tables import ACCEPTANCE_DAYS, OPEN, OrderState, WorkOrder
from quota import requests
from quota.actors import Role
from quota.calendar import working_days
from quota.errors import stated
from quota.requests import Request, RequestState, fulfilment

if TYPE_CHECKING:
    from quota.db import Tx


def accept(tx: Tx, order_id: int, generation: int) -> WorkOrder:
    """The department (of orders without a request also the supervisor) has looked: it is what was ordered.

    The last order of a request closes the request with it. A difference between what was approved and what
    appeared is recorded, not hidden by the acceptance.
    """
    order = lock(tx, order_id, generation)
    _may_judge(tx, order)
    must_be(order, OrderState.DELIVERED)
    _accept(tx, order, tx.actor.login, "order.accept")
    if order.request_id is not None and not of_request(tx, order.request_id, OPEN):
        fulfilment.accepted(tx, order.request_id)
    return order


def accept_request(tx: Tx, request_id: int, generation: int) -> list[WorkOrder]:
    """The department accepts all that was delivered for a request, and the request with it."""
    fulfilment.accepted(tx, request_id, generation=generation)
    found = of_request(tx, request_id, {OrderState.DELIVERED})
    for one in found:
        _accept(tx, one, tx.actor.login, "order.accept")
    return found


def refuse(tx: Tx, order_id: int, generation: int, reason: str) -> WorkOrder:
    """What was delivered is not what was approved: back to the provider's staff, with the reason and a new
    limit."""
    order = lock(tx, order_id, generation)
    _may_judge(tx, order)
    must_be(order, OrderState.DELIVERED)
    reason = stated(reason)
    if order.request_id is not None:
        request = requests.lock(tx, order.request_id)
        fulfilment.refused(tx, request, generation=request.generation, reason=reason)
    return _refuse(tx, order, reason)


def refuse_request(tx: Tx, request_id: int, generation: int, reason: str) -> list[WorkOrder]:
    """What was delivered for a request is not what was approved: all of it goes back to the provider's staff, and the request
    with it."""
    fulfilment.refused(tx, request_id, generation=generation, reason=reason)
    reason = stated(reason)
    return [_refuse(tx, one, reason) for one in of_request(tx, request_id, {OrderState.DELIVERED})]


def _refuse(tx: Tx, order: WorkOrder, reason: str) -> WorkOrder:
    order.by_hand, order.delivered_at, order.delivered_by, order.last_error = True, None, None, reason
    order.due_at = tables.due(working_days(tx), tx.now, order.limit_days, order.limit_unit, emergency=order.emergency)
    plans.by_hand(tx, order, CallState.SENT)
    move(tx, order, OrderState.DELIVERING, "order.refuse", reason=reason, due_at=order.due_at)
    return order


def deem_accepted(tx: Tx) -> list[WorkOrder]:
    """Accept what nobody looked at for 3 working days. Requests by their own clock, and their orders with
    them."""
    fulfilment.deemed_accepted(tx)
    calendar = working_days(tx)
    query = (
        select(WorkOrder.id, WorkOrder.request_id, WorkOrder.delivered_at, Request.state)
        .outerjoin(Request, Request.id == WorkOrder.request_id)
        .where(WorkOrder.state == OrderState.DELIVERED.value)
        .order_by(WorkOrder.id)
    )
    over = [
        order_id
        for order_id, request_id, delivered_at, state in tx.execute(query)
        if (
            state == RequestState.DONE
            if request_id is not None
            else delivered_at is not None and calendar.due(delivered_at, ACCEPTANCE_DAYS) < tx.now
        )
    ]
    done = []
    for order_id in over:
        order = lock(tx, order_id)
        if order.state == OrderState.DELIVERED:  # not accepted or refused between our reading and our lock
            _accept(tx, order, "deemed", "order.deem_accepted")
            done.append(order)
    return done


def _may_judge(tx: Tx, order: WorkOrder) -> None:
    """Whoever may see it and is the department's, or the supervisor for orders that the steward placed
    itself."""
    if order.request_id is not None:
        tx.actor.must_be(Role.TENANT)
    else:
        tx.actor.must_be(Role.TENANT, Role.SUPERVISOR, Role.SYSTEM)


def _accept(tx: Tx, order: WorkOrder, by: str, action: str) -> None:
    order.discrepancy = enactment.compare(tx, order)
    order.accepted_at, order.accepted_by = tx.now, by
    move(tx, order, OrderState.ACCEPTED, action, by=by, discrepancy=order.discrepancy)
