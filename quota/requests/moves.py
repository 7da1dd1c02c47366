"""What of the requests a reorganisation takes along: with a merger drafts and what is under way; with a split those about what goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, or_, select

from quota.db import among
from quota.directory import Adjustment, movers
from quota.errors import N_, WrongState
from quota.requests.copies import RequestTemplate
from quota.requests.shutdowns import UNDER_WAY, SystemShutdown
from quota.requests.tables import OPEN, Request, RequestState, RequestStep

if TYPE_CHECKING:
    from quota.db import Tx


UNDECIDED = (RequestState.DRAFT, RequestState.IN_REVIEW, RequestState.SUPPLEMENT)


class Requests(movers.Rows):
    """With their holds; one that was granted without orders has quota in use that nothing is named for yet, and must wait."""

    def forbids(self, found: movers.Parts) -> ColumnElement[bool]:
        return and_(Request.state.in_(OPEN), among(Request.system_id, found["systems"].rows))

    def about(self, found: movers.Parts) -> ColumnElement[bool]:
        of = among(Request.system_id, found["systems"].rows), among(Request.resource_id, found["resources"].rows)
        return and_(Request.state.in_([*OPEN, RequestState.DRAFT]), or_(*of))

    def free(self) -> ColumnElement[bool]:
        nothing = Request.system_id, Request.resource_id, Request.extends_id, Request.entry_id
        return and_(Request.state.in_(UNDECIDED), *(column.is_(None) for column in nothing))

    def find(self, tx: Tx, step: movers.ReorganisationStep, found: movers.Parts) -> movers.Part:
        part = super().find(tx, step, found)
        if step.kind is Adjustment.SPLIT:
            waits = next((id_ for id_, state in part.states.items() if state == RequestState.APPROVED.value), None)
            if waits is not None:
                raise WrongState(
                    "reorganisation.approved",
                    N_("申请 %(number)s 已批准、尚未派单,请派单后再拆分"),
                    number=tx.get_one(Request, int(waits)).number,
                )
            part.holds = [f"request:{id_}" for id_ in part.rows]
        return part


requests = movers.register(
    Requests("requests", Request, N_("未办结的申请"), noun=N_("申请"), waiting=[*OPEN, RequestState.DRAFT]), order=215
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
        if step.kind is Adjustment.SYSTEMS:
            return movers.Part()
        query = select(RequestStep.id).where(
            RequestStep.department_id == step.source_id, RequestStep.decided_at.is_(None)
        )
        if step.kind is Adjustment.SPLIT:  # its own word on what it asked for; on others' it still has the say
            query = query.where(among(RequestStep.request_id, found["requests"].rows))
        return movers.Part(list(tx.scalars(query.order_by(RequestStep.id))))

    def back(self, tx: Tx, step: movers.ReorganisationStep, part: movers.Part, found: movers.Parts) -> movers.Part:
        del step, found
        rows = tx.scalars(
            select(RequestStep.id).where(among(RequestStep.id, part.rows), RequestStep.decided_at.is_(None))
        )
        return movers.Part(list(rows))


steps = movers.register(Steps("request_steps", RequestStep, N_("待办的会审步骤"), noun=N_("步骤")), order=315)
