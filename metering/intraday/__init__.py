"""Growth within the day: the look every quarter of an hour, and what becomes of what it found."""

from __future__ import annotations

from metering.intraday import look

__all__ = [
    "look",
]
