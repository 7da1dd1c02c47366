"""What of the cases a reorganisation takes along: with a merger what is not closed, with a split that about what goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_

from metering.cases.files import Case
from metering.cases.steps import CaseState
from quota.db import among
from quota.directory import movers
from quota.errors import N_

if TYPE_CHECKING:
    from quota.db import Tx


class Cases(movers.Rows):
    """With what is set aside of what they freed."""

    def forbids(self, found: movers.Parts) -> ColumnElement[bool]:
        return and_(Case.state != CaseState.CLOSED.value, among(Case.resource_id, found["resources"].rows))

    def find(self, tx: Tx, step: movers.ReorganisationStep, found: movers.Parts) -> movers.Part:
        part = super().find(tx, step, found)
        part.holds = [f"case:{id_}" for id_ in part.rows]
        return part


cases = movers.register(
    Cases(
        "cases",
        Case,
        N_("未结案件"),
        noun=N_("案件"),
        waiting=[one.value for one in CaseState if one is not CaseState.CLOSED],
    ),
    order=217,
)
