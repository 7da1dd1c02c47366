"""What the house tells Prometheus: of the city's quota and its use, of work and how late it is, and of itself.

Labels are bounded: of departments and of systems the largest are told by their codes, the others together (``holdings``);
all else is few by nature. What a pool or a department is stands once in an info series, to be joined by its code.
"""

from __future__ import annotations

from console.metrics.collecting import REQUESTS, SECONDS, attach, collect, render, warm
from console.metrics.holdings import MOST_DEPARTMENTS, MOST_SYSTEMS, REST

__all__ = ["MOST_DEPARTMENTS", "MOST_SYSTEMS", "REQUESTS", "REST", "SECONDS", "attach", "collect", "render", "warm"]
