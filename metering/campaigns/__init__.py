"""Clean-up campaigns (清理行动): every owner in a scope is asked by a day which of its machines it still needs; and what was delivered and
is not known to be in use is asked about by the policy."""

from __future__ import annotations

from metering.campaigns import campaigns, deliveries
from metering.campaigns.campaigns import CLEANUP, Campaign, CampaignReach, CampaignScope, CampaignState, Tally, campaign

__all__ = [
    "CLEANUP",
    "Campaign",
    "CampaignReach",
    "CampaignScope",
    "CampaignState",
    "Tally",
    "campaign",
    "campaigns",
    "deliveries",
]
