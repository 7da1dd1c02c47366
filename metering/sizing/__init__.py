"""Sizing: how big a machine should be, by which method, and what a method would have done to the past."""

from __future__ import annotations

from metering.sizing import backtest, bound, expansion, methods, rightsizing, shapes, traces
from metering.sizing.backtest import NAMES, MachineDays
from metering.sizing.expansion import COVERED, HOUR
from metering.sizing.methods import LIMITS, METHODS, OWN, Sizing, sizing
from metering.sizing.outcomes import MARKS, SizingResult, frontier, merge, report
from metering.sizing.rightsizing import FLOOR, PROFILES, Fast, Outlook, Profile, Tide, profile

__all__ = [
    "COVERED",
    "FLOOR",
    "HOUR",
    "LIMITS",
    "MARKS",
    "METHODS",
    "NAMES",
    "OWN",
    "PROFILES",
    "Fast",
    "MachineDays",
    "Outlook",
    "Profile",
    "Sizing",
    "SizingResult",
    "Tide",
    "backtest",
    "bound",
    "expansion",
    "frontier",
    "merge",
    "methods",
    "profile",
    "report",
    "rightsizing",
    "shapes",
    "sizing",
    "traces",
]
