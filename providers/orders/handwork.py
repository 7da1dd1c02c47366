"""Handwork: what people do about an order: the provider's staff where no program can, the supervisor where it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from providers.base import CallState
from providers.orders import enactment, plans
from providers.orders.carriage import LastLook
from providers.orders.steps import begin_request, delivered, freed, lock, move, must_be, of_request
from providers.orders.tables import UNDER_WAY, OrderState, WorkOrder
from quota.actors import Role
from quota.errors import N_, NotAllowed, WrongState, stated
from quota.requests import fulfilment
from quota.units import NOTHING, Amount

if TYPE_CHECKING:
    from quota.db import Tx


def start(tx: Tx, order_id: int, generation: int, look: LastLook | None = None) -> WorkOrder:
    """The provider's staff begins an order that is done by hand. ``look`` is asked first, as before a cloud is told: what
    came up against the order keeps people from it too (WrongState)."""
    against = look(tx, order_id) if look else None
    order = lock(tx, order_id, generation)
    _own_company(tx, order)
    must_be(order, OrderState.PENDING, OrderState.SENT, OrderState.FAILED)
    if order.with_interface():
        raise WrongState("order.at_cloud", N_("工单 %(number)s 正由云平台接口执行"), number=order.number)
    if against is not None:
        raise WrongState(
            "order.objection", N_("工单 %(number)s 现在不得办理:%(why)s"), number=order.number, why=against
        )
    order.by_hand, order.sent_at, order.fault, order.last_error = True, order.sent_at or tx.now, "", ""
    plans.by_hand(tx, order, CallState.SENT)
    move(tx, order, OrderState.DELIVERING, "order.start")
    begin_request(tx, order)
    return order


def take_over(tx: Tx, order_id: int, generation: int, reason: str) -> WorkOrder:
    """The provider's staff takes an order out of its cloud's interface, having seen that it does not do it there, and says
    why; what the interface answers afterwards is put on record and changes nothing."""
    order = lock(tx, order_id, generation)
    _own_company(tx, order)
    must_be(order, OrderState.PENDING, OrderState.SENT, OrderState.DELIVERING)
    reason = stated(reason)
    if not order.with_interface():
        raise WrongState("order.not_at_cloud", N_("工单 %(number)s 不在云平台接口手中"), number=order.number)
    order.by_hand, order.sent_at, order.next_try_at = True, order.sent_at or tx.now, None
    order.fault, order.last_error = "", ""  # of the interface, which the trail keeps
    plans.by_hand(tx, order, CallState.SENT)
    move(tx, order, OrderState.DELIVERING, "order.take_over", reason=reason)
    begin_request(tx, order)
    return order


def mark_delivered(
    tx: Tx,
    order_id: int,
    generation: int,
    *,
    external_id: str | None = None,
    has: Amount | None = None,
    note: str = "",
) -> WorkOrder:
    """The provider's staff has done what no adapter could, or what failed there. A creation names its
    resource.

    Delivered is now: nobody dates a delivery back. Raises WrongState while the cloud's interface is at it.
    """
    order = lock(tx, order_id, generation)
    _own_company(tx, order)
    must_be(order, OrderState.PENDING, OrderState.SENT, OrderState.DELIVERING, OrderState.FAILED)
    if order.with_interface():
        raise WrongState("order.at_cloud", N_("工单 %(number)s 正由云平台接口执行"), number=order.number)
    order.by_hand, order.sent_at = True, order.sent_at or tx.now
    plans.by_hand(tx, order, CallState.DONE)
    if note:
        order.payload = {**order.payload, "message": note}
    begin_request(tx, order)
    delivered(
        tx,
        order,
        at=tx.now,
        by=tx.actor.login,
        external_id=(external_id or "").strip() or None,
        has=has or NOTHING,
        releases=enactment.BY_HAND,
    )
    return order


def report_failed(tx: Tx, order_id: int, generation: int, reason: str) -> WorkOrder:
    """The provider's staff cannot do it, and says why; the supervisor has it tried again or takes it back. The limit
    runs on. Raises WrongState while the cloud's interface is at it."""
    order = lock(tx, order_id, generation)
    _own_company(tx, order)
    must_be(order, OrderState.PENDING, OrderState.SENT, OrderState.DELIVERING)
    if order.with_interface():
        raise WrongState("order.at_cloud", N_("工单 %(number)s 正由云平台接口执行"), number=order.number)
    reason = stated(reason)
    plans.by_hand(tx, order, CallState.FAILED)
    order.attempts += 1
    order.last_error, order.fault, order.next_try_at = reason, "", None
    move(tx, order, OrderState.FAILED, "order.fail", reason=reason, attempts=order.attempts, error=reason)
    return order


def retry(tx: Tx, order_id: int, generation: int) -> WorkOrder:
    """The supervisor has a failed order tried again."""
    tx.actor.must_be(Role.SUPERVISOR, Role.SYSTEM)
    order = lock(tx, order_id, generation)
    must_be(order, OrderState.FAILED)
    order.attempts, order.next_try_at, order.fault = 0, None, ""
    move(tx, order, OrderState.PENDING, "order.retry")
    return order


def cancel(tx: Tx, order_id: int, generation: int, reason: str) -> WorkOrder:
    """The supervisor takes back an order that was not sent, that failed, or that the provider's staff was handed and has
    not begun; what it took is quota again. The last order of a request takes it along: delivered as far as it was, or
    ended where nothing was. Raises WrongState also where its cloud may have taken it: that is asked first, by a retry, or
    said by the provider's staff."""
    tx.actor.must_be(Role.SUPERVISOR, Role.SYSTEM)
    order = lock(tx, order_id, generation)
    if not order.may_be_called_back():
        must_be(order, OrderState.PENDING, OrderState.FAILED)
        raise WrongState(
            "order.told",
            N_("云平台可能已受理工单 %(number)s,请先重试以查明,或由云服务商人员接手说明"),
            number=order.number,
        )
    reason = stated(reason)
    enactment.give_back(tx, order)
    plans.drop(tx, order)
    order.next_try_at = None
    move(tx, order, OrderState.CANCELLED, "order.cancel", reason=reason)
    if order.request_id is not None and not of_request(tx, order.request_id, UNDER_WAY | {OrderState.FAILED}):
        rest = of_request(tx, order.request_id, {OrderState.DELIVERED, OrderState.ACCEPTED})
        if rest:
            last = max(o.delivered_at for o in rest if o.delivered_at)
            fulfilment.delivered(tx, order.request_id, at=last, gives=freed(tx, order.request_id))
        else:
            fulfilment.abandoned(tx, order.request_id, reason=reason)
    return order


def _own_company(tx: Tx, order: WorkOrder) -> None:
    tx.actor.must_be(Role.PROVIDER, Role.SYSTEM)
    if tx.actor.role is Role.PROVIDER and tx.actor.provider_id != order.provider_id:
        raise NotAllowed("order.not_yours", N_("只能办理本公司的工单"))
