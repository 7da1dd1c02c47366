"""What samples and findings say of systems, departments and pools as wholes."""

from __future__ import annotations

from metering.overview import asked_uses, systems, usage_reports, utilizations, whole_systems
from metering.overview.gains import Gains, gains, most_reclaimable
from metering.overview.systems import ZOMBIES
from metering.overview.utilizations import Measured, Utilization, measured
from metering.overview.whole_systems import MACHINES, WholeSystem

__all__ = [
    "MACHINES",
    "ZOMBIES",
    "Gains",
    "Measured",
    "Utilization",
    "WholeSystem",
    "asked_uses",
    "gains",
    "measured",
    "most_reclaimable",
    "systems",
    "usage_reports",
    "utilizations",
    "whole_systems",
]
