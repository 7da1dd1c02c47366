"""What of the cases a reorganisation takes along: with a merger what is not closed."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_

from metering.cases.files import Case
from metering.cases.steps import CaseState
from quota.db import among
from quota.directory import movers
from quota.errors import N_


class Cases(movers.Rows):
    def forbids(self, found: movers.Parts) -> ColumnElement[bool]:
        return and_(Case.state != CaseState.CLOSED.value, among(Case.resource_id, found["resources"].rows))


cases = movers.register(
    Cases(
        "cases",
        Case,
        N_("未结案件"),
        noun=N_("案件"),
        waiting=[one.value for one in CaseState if one is not CaseState.CLOSED],
    ),
    order=710,
)
