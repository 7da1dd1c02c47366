"""What of the tickets a reorganisation takes along: with a merger what is open, with a split that about what goes."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_

from providers.tickets.tables import OPEN_TICKETS, Ticket
from quota.db import among
from quota.directory import movers
from quota.errors import N_


class Tickets(movers.Rows):
    def forbids(self, found: movers.Parts) -> ColumnElement[bool]:
        about = [among(Ticket.resource_id, found["resources"].rows), among(Ticket.system_id, found["systems"].rows)]
        return and_(Ticket.state.in_(OPEN_TICKETS), or_(*about))

    def about(self, found: movers.Parts) -> ColumnElement[bool]:
        of_request = and_(Ticket.state.in_(OPEN_TICKETS), among(Ticket.request_id, found["requests"].rows))
        return or_(self.forbids(found), of_request)

    def free(self) -> ColumnElement[bool]:
        nothing = Ticket.system_id, Ticket.resource_id, Ticket.request_id
        return and_(Ticket.state.in_(OPEN_TICKETS), *(column.is_(None) for column in nothing))


tickets = movers.register(
    Tickets("tickets", Ticket, N_("未办结的运维请求"), noun=N_("运维请求"), waiting=list(OPEN_TICKETS)), order=520
)
