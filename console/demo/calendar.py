"""Days of the demo city: what the stories are anchored to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime


class Calendar:
    """A clock that the demo moves through the past."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.between: Callable[[datetime], None] = lambda _moment: None

    def __call__(self) -> datetime:
        return self.now

    def to(self, moment: datetime) -> None:
        """Move forward, after living what lies between; a demo never goes back."""
        self.between(moment)
        self.now = max(self.now, moment)
