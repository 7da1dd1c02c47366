"""Plans: what is called for an order, call by call, and how far each is.

A plan is made before anything is sent, and kept under the key that its cloud is given. Adapters of clouds that know no
keys write into it themselves, as their journal; for all others it is kept in step with what their cloud says. Done by hand
it has one call, and people carry it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, ForeignKey, String, Text, UniqueConstraint, exists, false, select, update
from sqlalchemy.orm import Mapped, mapped_column, relationship, selectinload

from providers.base import CallRecord, CallState, Order, OutcomeState, PlannedCall, Verb
from providers.orders import enactment
from providers.orders.tables import WorkOrder
from quota.actors import steward
from quota.base import Base
from quota.units import ClassCode

if TYPE_CHECKING:
    from quota.db import Book, Tx

BY_HAND = "by_hand"
"""The name of the only call of a plan that people carry out."""

_ACTOR = steward("delivery")

_OPEN = [CallState.WAITING.value, CallState.SENT.value]


class OrderPlan(Base):
    """What is to be called for one order under one key. ``asked``: the order as its cloud is told it (``Order.to_json``);
    empty where people do it."""

    __tablename__ = "order_plans"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("work_orders.id"), index=True)
    key: Mapped[str] = mapped_column(String(140), unique=True)
    asked: Mapped[dict[str, Any]] = mapped_column(default=dict)
    made_at: Mapped[datetime]

    calls: Mapped[list[OrderCall]] = relationship(order_by="OrderCall.place", cascade="all, delete-orphan")

    @property
    def people(self) -> bool:
        """Whether people carry it out."""
        return not self.asked

    @property
    def begun(self) -> bool:
        """Whether anything of it was sent."""
        return any(one.state != CallState.WAITING for one in self.calls)


class OrderCall(Base):
    """One call of a plan. ``facts``: what its adapter noted for itself; ``said``: the cloud's word."""

    __tablename__ = "order_calls"
    __table_args__ = (UniqueConstraint("plan_id", "place"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    plan_id: Mapped[int] = mapped_column(ForeignKey("order_plans.id"))
    place: Mapped[int]
    name: Mapped[str] = mapped_column(String(32))
    text: Mapped[str] = mapped_column(Text)
    frees: Mapped[list[str]] = mapped_column(default=list)
    final: Mapped[bool] = mapped_column(default=False)
    stops: Mapped[bool] = mapped_column(default=False, server_default=false())
    state: Mapped[str] = mapped_column(String(8), default=CallState.WAITING.value)
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    said: Mapped[str] = mapped_column(Text, default="")
    began_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    def record(self) -> CallRecord:
        """As adapters read it."""
        call = PlannedCall(
            self.name, self.text, frozenset(ClassCode(one) for one in self.frees), self.final, self.stops
        )
        return CallRecord(
            self.place, call, CallState(self.state), dict(self.facts), self.said, self.began_at, self.ended_at
        )


def of_order(tx: Tx, order_id: int) -> list[OrderPlan]:
    """The plans of an order, newest first: one for each time that it was given to its cloud anew, or to people."""
    query = select(OrderPlan).where(OrderPlan.order_id == order_id).options(selectinload(OrderPlan.calls))
    return list(tx.scalars(query.order_by(OrderPlan.id.desc())))


def of_key(tx: Tx, key: str) -> OrderPlan | None:
    return tx.scalar(select(OrderPlan).where(OrderPlan.key == key))


def stopping() -> ColumnElement[bool]:
    """Whether a plan of a work order has a call that stops what runs (SQL, of WorkOrder)."""
    return exists().where(OrderPlan.order_id == WorkOrder.id, OrderCall.plan_id == OrderPlan.id, OrderCall.stops)


def keep(tx: Tx, order_id: int, key: str, asked: Mapping[str, Any], calls: Sequence[PlannedCall]) -> OrderPlan:
    """Keep a plan under its key, in place of an older one of which nothing was sent; one that was begun stays."""
    found = of_key(tx, key)
    if found is not None and found.begun:
        return found
    if found is None:
        found = OrderPlan(order_id=order_id, key=key, asked={}, made_at=tx.now, calls=[])
        tx.add(found)
    made = [_call(place, one) for place, one in enumerate(calls)]
    if dict(found.asked) != dict(asked) or [_shape(one) for one in found.calls] != [_shape(one) for one in made]:
        found.calls.clear()
        tx.flush()
        found.asked, found.made_at = dict(asked), tx.now
        found.calls.extend(made)
    tx.flush()
    return found


def by_hand(tx: Tx, order: WorkOrder, state: CallState) -> None:
    """People have it: its plan is one call of theirs, and what was still open with the interface is not sent any more."""
    plan = next((one for one in of_order(tx, order.id) if one.people and one.calls[0].state in _OPEN), None)
    if plan is None:
        _close(tx, order, CallState.DROPPED)
        frees = frozenset(enactment.BY_HAND.get(Verb(order.verb), ()))
        key = f"{order.basis}:{BY_HAND}:{order.generation}"
        plan = keep(tx, order.id, key, {}, [PlannedCall(BY_HAND, "", frees)])
    call = plan.calls[0]
    call.state = state.value
    if state is not CallState.WAITING:
        call.began_at = call.began_at or tx.now
    call.ended_at = tx.now if state in (CallState.DONE, CallState.FAILED) else None
    tx.flush()


def follow(tx: Tx, order: WorkOrder, outcome: OutcomeState, at: datetime) -> None:
    """Keep the plan of a cloud that takes orders whole in step with what it says."""
    plan = of_key(tx, order.cloud_key)
    state = {OutcomeState.DONE: CallState.DONE, OutcomeState.FAILED: CallState.FAILED}.get(outcome, CallState.SENT)
    for one in plan.calls if plan is not None else ():
        one.state, one.began_at = state.value, one.began_at or order.sent_at or tx.now
        one.ended_at = None if state is CallState.SENT else at
    tx.flush()


def reset(tx: Tx, key: str) -> None:
    """The cloud never took it: of what is noted as sent nothing was."""
    plan = of_key(tx, key)
    for one in plan.calls if plan is not None else ():
        if one.state == CallState.SENT:
            one.state, one.began_at = CallState.WAITING.value, None
    tx.flush()


def drop(tx: Tx, order: WorkOrder) -> None:
    """The order will not be carried out: what of its plans is open is not sent."""
    _close(tx, order, CallState.DROPPED)


def _close(tx: Tx, order: WorkOrder, state: CallState) -> None:
    own = select(OrderPlan.id).where(OrderPlan.order_id == order.id)
    tx.execute(
        update(OrderCall)
        .where(OrderCall.plan_id.in_(own), OrderCall.state.in_(_OPEN))
        .values(state=state.value)
        .execution_options(synchronize_session="fetch")
    )


def _call(place: int, call: PlannedCall) -> OrderCall:
    return OrderCall(
        place=place,
        name=call.name,
        text=call.text,
        frees=sorted(call.frees),
        final=call.final,
        stops=call.stops,
        state=CallState.WAITING.value,
        facts={},
        said="",
    )


def _shape(call: OrderCall) -> tuple[str, str, tuple[str, ...], bool, bool]:
    return call.name, call.text, tuple(call.frees), call.final, call.stops


class BookJournal:
    """The journal that the house keeps for adapters, in the plans of its orders. Implements providers.base.OrderJournal.

    Each method is a transaction of its own. ``open`` raises KeyError for a key that no work order has: what the house did
    not order is not called.
    """

    def __init__(self, book: Book) -> None:
        self._book = book

    def order(self, key: str) -> Order | None:
        with self._book.reading() as tx:
            plan = of_key(tx, key)
            return Order.from_json(plan.asked) if plan is not None and plan.asked else None

    def calls(self, key: str) -> list[CallRecord]:
        with self._book.reading() as tx:
            plan = of_key(tx, key)
            return [one.record() for one in plan.calls] if plan is not None else []

    def open(self, order: Order, calls: Sequence[PlannedCall]) -> list[CallRecord]:
        with self._book.transaction(_ACTOR) as tx:
            known = (order.key, order.key.rpartition("#")[0])  # as WorkOrder.cloud_key makes it
            order_id = tx.scalar(select(WorkOrder.id).where(WorkOrder.key.in_(known)))
            if order_id is None:
                raise KeyError(order.key)
            plan = of_key(tx, order.key) or keep(tx, order_id, order.key, order.to_json(), calls)
            return [one.record() for one in plan.calls]

    def begin(self, key: str, place: int, at: datetime, facts: Mapping[str, Any] | None = None) -> bool:
        with self._book.transaction(_ACTOR) as tx:
            call = self._locked(tx, key, place)
            if call.state != CallState.WAITING:
                return False
            call.state, call.began_at, call.facts = CallState.SENT.value, at, {**call.facts, **(facts or {})}
            return True

    def note(
        self,
        key: str,
        place: int,
        state: CallState,
        at: datetime,
        *,
        facts: Mapping[str, Any] | None = None,
        said: str = "",
    ) -> None:
        with self._book.transaction(_ACTOR) as tx:
            call = self._locked(tx, key, place)
            call.state, call.facts, call.said = state.value, {**call.facts, **(facts or {})}, said or call.said
            if state is CallState.WAITING:
                call.began_at = None
            elif state is not CallState.SENT:
                call.ended_at = at
            if state is CallState.FAILED:
                for one in self._after(tx, call):
                    one.state = CallState.DROPPED.value

    def turn(self, key: str, call: PlannedCall) -> int:
        with self._book.transaction(_ACTOR) as tx:
            last = self._locked(tx, key, None)
            if last.name == call.name:
                return last.place
            plan = tx.get_one(OrderPlan, last.plan_id)
            for one in plan.calls:
                if one.state == CallState.WAITING:
                    one.state = CallState.DROPPED.value
            plan.calls.append(_call(last.place + 1, call))
            return last.place + 1

    def _locked(self, tx: Tx, key: str, place: int | None) -> OrderCall:
        """The call at ``place`` (None: the last), nobody else writing to it."""
        query = select(OrderCall).join(OrderPlan, OrderPlan.id == OrderCall.plan_id).where(OrderPlan.key == key)
        if place is not None:
            query = query.where(OrderCall.place == place)
        return tx.lock(tx.scalars(query.order_by(OrderCall.place.desc()).limit(1)).one())

    def _after(self, tx: Tx, call: OrderCall) -> list[OrderCall]:
        query = select(OrderCall).where(
            OrderCall.plan_id == call.plan_id,
            OrderCall.place > call.place,
            OrderCall.state == CallState.WAITING.value,
        )
        return list(tx.scalars(query))
