"""What of the tickets a reorganisation takes along: with a merger what is open."""

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


tickets = movers.register(
    Tickets("tickets", Ticket, N_("未办结的运维请求"), noun=N_("运维请求"), waiting=list(OPEN_TICKETS)), order=520
)
