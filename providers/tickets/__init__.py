"""Tickets (运维请求): what a department asks for beyond delivery. A fault, a port, a restore go to the company of the pool, advice to the
supervisor; each party has its clock, and what they say to each other stays."""

from __future__ import annotations

from providers.tickets import granted, handling
from providers.tickets import moves as _moves  # noqa: F401 - what of tickets a reorganisation moves, registered
from providers.tickets.tables import (
    DEPARTMENTS_TURN,
    HANDLERS_TURN,
    OPEN_TICKETS,
    TICKET_KINDS,
    Ticket,
    TicketAct,
    TicketKind,
    TicketState,
    TicketStep,
    TicketTurn,
    late,
    left_to,
    of_request,
    steps,
    ticket,
    turns,
    visible,
    waiting,
)

__all__ = [
    "DEPARTMENTS_TURN",
    "HANDLERS_TURN",
    "OPEN_TICKETS",
    "TICKET_KINDS",
    "Ticket",
    "TicketAct",
    "TicketKind",
    "TicketState",
    "TicketStep",
    "TicketTurn",
    "granted",
    "handling",
    "late",
    "left_to",
    "of_request",
    "steps",
    "ticket",
    "turns",
    "visible",
    "waiting",
]
