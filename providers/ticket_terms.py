"""How fast tickets must be answered and solved, and how long a department has to say whether they are: what a city lays down.

Pure: figures alone. What holds where nothing was laid down is ``DEFAULT_TICKETS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from providers.incident_terms import Limit

TICKET_LIMITS: Mapping[int, Limit] = {
    1: Limit(timedelta(minutes=30), timedelta(hours=4)),
    2: Limit(timedelta(hours=2), timedelta(hours=8)),
    3: Limit(timedelta(hours=4), 3),
    4: Limit(1, 5),
}
"""Our own default, by level: to answer, to solve. Formulas that were enacted without a word on it mean these figures: they stay."""


@dataclass(frozen=True, slots=True)
class TicketTerms:
    """``limits`` by level, one for each of LEVELS, from when a ticket came to a party; ``confirm_days``: working days that the
    department has to answer what it is asked, and to say whether it is solved."""

    limits: Mapping[int, Limit] = field(default_factory=lambda: TICKET_LIMITS)
    confirm_days: int = 5


DEFAULT_TICKETS = TicketTerms()
