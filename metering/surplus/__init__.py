"""Surplus (冗余): a department that leaves more idle than the policy allows is reminded, has its time to cut by itself, is urged by the
authority, and then ruled on. Silence decides nothing, and nothing is known of what was not measured."""

from __future__ import annotations

from metering.surplus import surpluses
from metering.surplus.surpluses import OPEN, SURPLUS_LABELS, IdleShare, SurplusMonth, SurplusNotice, SurplusState

__all__ = ["OPEN", "SURPLUS_LABELS", "IdleShare", "SurplusMonth", "SurplusNotice", "SurplusState", "surpluses"]
