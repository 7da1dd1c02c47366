"""The days that a judgement looks at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from metering.judging.policy import Policy
from quota.calendar import ZONE


@dataclass(frozen=True, slots=True)
class Window:
    """Whole local days ``first`` to ``last``, judged at the end of the last."""

    first: date
    last: date
    zone: ZoneInfo = ZONE

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def start(self) -> datetime:
        return datetime.combine(self.first, time(), self.zone)

    @property
    def end(self) -> datetime:
        return datetime.combine(self.last + timedelta(days=1), time(), self.zone)


def window(policy: Policy, on: date, lake_first: date | None, zone: ZoneInfo = ZONE) -> Window:
    """The days that ``policy`` looks at when it judges on the morning of ``on``; a whole-span policy takes all."""
    last = on - timedelta(days=1)
    reach = policy.reach()
    first = last - timedelta(days=reach - 1) if reach else (lake_first or last)
    return Window(min(first, last), last, zone)
