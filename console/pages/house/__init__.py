"""Pages of the house itself: home, login, cockpit, search, jobs, mail, calendar, metrics."""

from __future__ import annotations

from console.pages.house import gauges

__all__ = [
    "gauges",
]
