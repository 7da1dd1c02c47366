"""What of the work orders a reorganisation takes along: with a merger what is open, with a split that about what goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, or_, select

from providers.orders.tables import OPEN, OrderState, WorkOrder
from quota.db import among
from quota.directory import Adjustment, movers
from quota.errors import N_
from quota.units import Amount, Arch

if TYPE_CHECKING:
    from quota.db import Tx


class Orders(movers.Rows):
    """With what was counted as used for them and no resource has yet."""

    def forbids(self, found: movers.Parts) -> ColumnElement[bool]:
        return and_(WorkOrder.state.in_(OPEN), among(WorkOrder.resource_id, found["resources"].rows))

    def about(self, found: movers.Parts) -> ColumnElement[bool]:
        of = among(WorkOrder.resource_id, found["resources"].rows), among(WorkOrder.request_id, found["requests"].rows)
        return and_(WorkOrder.state.in_(OPEN), or_(*of))

    def find(self, tx: Tx, step: movers.ReorganisationStep, found: movers.Parts) -> movers.Part:
        part = super().find(tx, step, found)
        if step.kind is Adjustment.SPLIT:
            undelivered = among(WorkOrder.id, part.rows), WorkOrder.state != OrderState.DELIVERED.value
            for order in tx.scalars(select(WorkOrder).where(*undelivered)):
                for cls, amount in Amount.from_json(order.taken).of_arch(Arch(order.pool.arch)).items():
                    place = order.pool_id, cls
                    part.used[place] = part.used.get(place, 0) + amount
        return part


orders = movers.register(
    Orders("orders", WorkOrder, N_("未办结的工单"), noun=N_("工单"), waiting=list(OPEN)), order=216
)
