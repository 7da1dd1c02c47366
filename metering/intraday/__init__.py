"""Growth within the day: the look every five minutes, what becomes of what it found, and what policy versions did by it."""

from __future__ import annotations

from metering.intraday import effects, look
from metering.intraday.effects import PolicyDay, PolicyEffect

__all__ = [
    "PolicyDay",
    "PolicyEffect",
    "effects",
    "look",
]
