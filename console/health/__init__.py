"""How the house itself is: whether it can serve (``/readyz``), what of its set-up is amiss (``guanjia doctor``), and what may
be sent to who helps (``guanjia support-bundle``)."""

from __future__ import annotations

from console.health.bundles import bundle
from console.health.checks import CheckResult, Level, examine, ready

__all__ = [
    "CheckResult",
    "Level",
    "bundle",
    "examine",
    "ready",
]
