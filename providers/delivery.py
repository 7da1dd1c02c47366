"""Delivery: what becomes of a work order, from its placing to its acceptance. The door to all its verbs.

``place`` and ``place_for_request`` make orders; ``carry`` takes them to the cloud, ``start``, ``mark_delivered`` and
``report_failed`` are the provider's staff's, ``retry`` and ``cancel`` the supervisor's; ``accept`` and ``refuse`` are who
ordered it. Read through ``providers.orders``.
"""

from __future__ import annotations

from providers.acceptance import accept, accept_request, deem_accepted, refuse
from providers.carriage import ATTEMPTS, BACK_OFF, LEASE, POLL, Carried, LastLook, carry, carry_all, waiting
from providers.handwork import cancel, mark_delivered, report_failed, retry, start
from providers.orders import OrderState, WorkOrder
from providers.placing import place, place_for_request

__all__ = [
    "ATTEMPTS",
    "BACK_OFF",
    "LEASE",
    "POLL",
    "Carried",
    "LastLook",
    "OrderState",
    "WorkOrder",
    "accept",
    "accept_request",
    "cancel",
    "carry",
    "carry_all",
    "deem_accepted",
    "mark_delivered",
    "place",
    "place_for_request",
    "refuse",
    "report_failed",
    "retry",
    "start",
    "waiting",
]
