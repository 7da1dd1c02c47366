"""How the house itself is: whether it can serve (``/readyz``), what of its set-up is amiss (``guanjia doctor``), and what may
be sent to who helps (``guanjia support-bundle``)."""

from __future__ import annotations

from console.health.bundles import bundle
from console.health.checks import Finding, Level, examine, ready

__all__ = [
    "Finding",
    "Level",
    "bundle",
    "examine",
    "ready",
]
