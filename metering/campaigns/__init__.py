"""Clean-up campaigns (清理行动): every owner in a scope is asked by a day which of its machines it still needs."""

from __future__ import annotations

from metering.campaigns import campaigns
from metering.campaigns.campaigns import CLEANUP, Campaign, CampaignState, Scope, Tally, campaign

__all__ = [
    "CLEANUP",
    "Campaign",
    "CampaignState",
    "Scope",
    "Tally",
    "campaign",
    "campaigns",
]
