"""Delivery: what becomes of a work order, from its placing to its acceptance. The door to all its verbs.

``place`` and ``place_for_request`` make orders; ``carry`` takes them to the cloud, ``start``, ``mark_delivered`` and
``report_failed`` are the provider's staff's, ``retry`` and ``cancel`` the supervisor's; ``accept`` and ``refuse`` are who
ordered it. Read through ``providers.orders``.
"""

from __future__ import annotations

from providers.orders import enactment, ended_terms, migrations, plans, quota_orders, returns
from providers.orders import moves as _moves  # noqa: F401 - what of the orders a reorganisation moves, registered
from providers.orders.acceptance import accept, accept_request, deem_accepted, refuse, refuse_request
from providers.orders.carriage import (
    ATTEMPTS,
    BACK_OFF,
    LEASE,
    POLL,
    SOONEST,
    Carried,
    LastLook,
    awaited,
    carry,
    carry_all,
    rehearse,
    waiting,
)
from providers.orders.handwork import cancel, mark_delivered, report_failed, retry, start, take_over
from providers.orders.placing import ASKED, PART_OF, place, place_for_request
from providers.orders.tables import (
    BUCKETS,
    HELD,
    OPEN,
    STATE_LABELS,
    TAKING,
    UNDER_WAY,
    VERB_LABELS,
    Bucket,
    OrderState,
    WorkOrder,
    bucket,
    bucket_number,
    delivery_times,
    late,
    moving,
    order,
    reschedule,
    returned,
    undecided,
    visible,
)

__all__ = [
    "ASKED",
    "ATTEMPTS",
    "BACK_OFF",
    "BUCKETS",
    "HELD",
    "LEASE",
    "OPEN",
    "PART_OF",
    "POLL",
    "SOONEST",
    "STATE_LABELS",
    "TAKING",
    "UNDER_WAY",
    "VERB_LABELS",
    "Bucket",
    "Carried",
    "LastLook",
    "OrderState",
    "WorkOrder",
    "accept",
    "accept_request",
    "awaited",
    "bucket",
    "bucket_number",
    "cancel",
    "carry",
    "carry_all",
    "deem_accepted",
    "delivery_times",
    "enactment",
    "ended_terms",
    "late",
    "mark_delivered",
    "migrations",
    "moving",
    "order",
    "place",
    "place_for_request",
    "plans",
    "quota_orders",
    "refuse",
    "refuse_request",
    "rehearse",
    "report_failed",
    "reschedule",
    "retry",
    "returned",
    "returns",
    "start",
    "take_over",
    "undecided",
    "visible",
    "waiting",
]
