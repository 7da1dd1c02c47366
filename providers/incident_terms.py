"""How fast incidents must be answered and recovered, and how early maintenance is announced: what a city lays down.

Pure: figures alone. What holds where nothing was laid down is ``DEFAULT``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

LEVELS = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class Limit:
    """Clock time, or working days where whole numbers, from an incident's start."""

    respond: timedelta | int
    recover: timedelta | int


LIMITS: Mapping[int, Limit] = {
    1: Limit(timedelta(minutes=15), timedelta(hours=2)),
    2: Limit(timedelta(minutes=30), timedelta(hours=4)),
    3: Limit(timedelta(hours=2), timedelta(hours=8)),
    4: Limit(1, 3),
}
"""Our own default, by level."""


@dataclass(frozen=True, slots=True)
class IncidentTerms:
    """``limits`` by level, one for each of LEVELS; ``announced_days``: working days before its start that maintenance must
    have been announced."""

    limits: Mapping[int, Limit] = field(default_factory=lambda: LIMITS)
    announced_days: int = 3


DEFAULT = IncidentTerms()
