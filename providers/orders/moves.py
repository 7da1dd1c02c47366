"""What of the work orders a reorganisation takes along: with a merger what is open."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_

from providers.orders.tables import OPEN, WorkOrder
from quota.db import among
from quota.directory import movers
from quota.errors import N_


class Orders(movers.Rows):
    def forbids(self, found: movers.Parts) -> ColumnElement[bool]:
        return and_(WorkOrder.state.in_(OPEN), among(WorkOrder.resource_id, found["resources"].rows))


orders = movers.register(
    Orders("orders", WorkOrder, N_("未办结的工单"), noun=N_("工单"), waiting=list(OPEN)), order=510
)
