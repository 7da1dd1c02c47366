"""What of the requests a reorganisation takes along: with a merger drafts and what is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, select

from quota.db import among
from quota.directory import Adjustment, movers
from quota.errors import N_
from quota.requests.copies import RequestTemplate
from quota.requests.shutdowns import UNDER_WAY, SystemShutdown
from quota.requests.tables import OPEN, Request, RequestState, RequestStep

if TYPE_CHECKING:
    from quota.db import Tx


class Requests(movers.Rows):
    def forbids(self, found: movers.Parts) -> ColumnElement[bool]:
        return and_(Request.state.in_(OPEN), among(Request.system_id, found["systems"].rows))


requests = movers.register(
    Requests("requests", Request, N_("未办结的申请"), noun=N_("申请"), waiting=[*OPEN, RequestState.DRAFT]), order=310
)

templates = movers.register(
    movers.Rows("request_templates", RequestTemplate, N_("常用申请"), noun=N_("常用申请")), order=311
)


class Shutdowns(movers.Rows):
    def forbids(self, found: movers.Parts) -> ColumnElement[bool]:
        return and_(SystemShutdown.state.in_(UNDER_WAY), among(SystemShutdown.system_id, found["systems"].rows))


shutdowns = movers.register(
    Shutdowns("system_shutdowns", SystemShutdown, N_("在办的系统下线"), noun=N_("系统下线"), waiting=sorted(UNDER_WAY)),
    order=312,
)


class Steps(movers.Rows):
    """Steps that a department still has to take: whoever takes over from it takes them."""

    def find(self, tx: Tx, step: movers.ReorganisationStep, found: movers.Parts) -> movers.Part:
        del found
        if step.kind is Adjustment.SYSTEMS:
            return movers.Part()
        query = select(RequestStep.id).where(
            RequestStep.department_id == step.source_id, RequestStep.decided_at.is_(None)
        )
        return movers.Part(list(tx.scalars(query.order_by(RequestStep.id))))

    def back(self, tx: Tx, step: movers.ReorganisationStep, part: movers.Part, found: movers.Parts) -> movers.Part:
        del step, found
        rows = tx.scalars(
            select(RequestStep.id).where(among(RequestStep.id, part.rows), RequestStep.decided_at.is_(None))
        )
        return movers.Part(list(rows))


steps = movers.register(Steps("request_steps", RequestStep, N_("待办的会审步骤"), noun=N_("步骤")), order=315)
