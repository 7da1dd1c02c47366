"""The past backtested: rehearsals of the whole loop on a recording, backtests of policies, drafts that are signed on them."""

from __future__ import annotations

from metering.simulation import (
    drafts,
    growth_replays,
    history,
    judgement_report,
    policy_backtests,
    rehearsal,
    rehearsal_report,
    search,
    trials,
    trials_report,
)
from metering.simulation.drafts import PolicyDraft
from metering.simulation.policy_backtests import DRAFT, EXECUTED, IN_FORCE, PolicyBacktest

__all__ = [
    "DRAFT",
    "EXECUTED",
    "IN_FORCE",
    "PolicyBacktest",
    "PolicyDraft",
    "drafts",
    "growth_replays",
    "history",
    "judgement_report",
    "policy_backtests",
    "rehearsal",
    "rehearsal_report",
    "search",
    "trials",
    "trials_report",
]
