"""Which points are kept: all of the last day, then the newest of each day, week and month. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """How many days, weeks and months each keep their newest point."""

    days: int = 14
    weeks: int = 8
    months: int = 12


def kept(moments: Sequence[datetime], rule: RetentionRule, zone: ZoneInfo) -> set[datetime]:
    """Those of ``moments`` that the rule keeps: whatever it says, those within a day of the newest. Days are those of ``zone``."""
    newest_first = sorted(moments, reverse=True)
    found = {at for at in newest_first if newest_first[0] - at < DAY}
    terms: tuple[tuple[int, Callable[[datetime], object]], ...] = (
        (rule.days, lambda at: at.date()),
        (rule.weeks, lambda at: at.isocalendar()[:2]),
        (rule.months, lambda at: (at.year, at.month)),
    )
    for most, term in terms:
        seen: set[object] = set()
        for at in newest_first:
            which = term(at.astimezone(zone))
            if which not in seen and len(seen) < most:
                seen.add(which)
                found.add(at)
    return found
