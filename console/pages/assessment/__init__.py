"""Pages of assessment: scorecards, records, compatibility, incidents."""

from __future__ import annotations

from console.pages.assessment import formulas, incidents, scorecards

__all__ = [
    "formulas",
    "incidents",
    "scorecards",
]
