"""What of the requests a reorganisation takes along: with a merger drafts and what is under way."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_

from quota.db import among
from quota.directory import movers
from quota.errors import N_
from quota.requests.tables import OPEN, Request, RequestState


class Requests(movers.Rows):
    def forbids(self, found: movers.Parts) -> ColumnElement[bool]:
        return and_(Request.state.in_(OPEN), among(Request.system_id, found["systems"].rows))


requests = movers.register(
    Requests("requests", Request, N_("未办结的申请"), noun=N_("申请"), waiting=[*OPEN, RequestState.DRAFT]), order=310
)
