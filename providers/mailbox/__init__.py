"""Mailboxes: what an agent beside a cloud brings to the console and fetches from it, as files that either side may find at
any time. The door to all of it."""

from __future__ import annotations

from providers.mailbox import codec
from providers.mailbox.brought import BillBrought, Brought, CapacityBrought, IncidentsBrought, QuotasBrought
from providers.mailbox.mailbox import GOOD, KEPT, AgentNews, AgentReport, Mailbox, MailedOrder

__all__ = [
    "GOOD",
    "KEPT",
    "AgentNews",
    "AgentReport",
    "BillBrought",
    "Brought",
    "CapacityBrought",
    "IncidentsBrought",
    "Mailbox",
    "MailedOrder",
    "QuotasBrought",
    "codec",
]
