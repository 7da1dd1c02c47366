"""How a source is read: how often, how far back, and what of it is read twice. Whoever reads one keeps to it: the console, or an
agent beside a cloud.

The look-back is how far behind what was read before each reading asks again, for samples that a store took in late. What comes
later still is found by a second reading: once a day, six hours into it, the days before that were not yet read twice are asked
for anew, after what is new: a second reading that fails keeps nothing from coming in. The window bounds what is made up for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from time import monotonic
from typing import Any

from providers.base import ProviderFault
from quota.calendar import ZONE
from quota.errors import Refused

log = logging.getLogger("guanjia.paces")

EARLY = timedelta(seconds=30)
"""So much before its time a source is due, as runs begin a little early or late."""
SETTLED = timedelta(hours=6)
"""So long after its end a day is read a second time: most stores have by then what they take in late."""
TRIES = 3
"""So often a second reading is tried in a day; the next day's goes on where that stopped."""


@dataclass(frozen=True, slots=True)
class CollectionPace:
    """every_minutes: from one collection to the next; window_days: how far back is asked at the most; lookback_hours: how far behind
    the last collection each asks again."""

    every_minutes: int = 5
    window_days: int = 90
    lookback_hours: int = 2

    @property
    def every(self) -> timedelta:
        return timedelta(minutes=self.every_minutes)

    @property
    def window(self) -> timedelta:
        return timedelta(days=self.window_days)

    @property
    def lookback(self) -> timedelta:
        return timedelta(hours=self.lookback_hours)

    def due(self, last: datetime | None, now: datetime) -> bool:
        """Whether what was collected at ``last`` is to be collected again."""
        return last is None or now - last >= self.every - EARLY


USUAL = CollectionPace()


def day_of_second_reading(now: datetime) -> date:
    """The local day on which, at ``now``, the day before is to have been read twice."""
    return (now - SETTLED).astimezone(ZONE).date()


def read_once_since(now: datetime, done: date | None) -> datetime:
    """From when on nothing was read twice yet. ``done``: the day of which that was last done."""
    return _midnight(done or day_of_second_reading(now) - timedelta(days=1))


@dataclass(frozen=True, slots=True)
class SecondReading:
    """The days before ``day`` that are to be read twice, from ``since`` on; ``tries`` that failed, and what was said of the last."""

    day: date
    since: datetime
    tries: int = 0
    said: str = ""

    def pieces(self, end: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Local days, or parts of them, none beyond ``end``."""
        since, end = self.since, min(end, _midnight(self.day))
        while since < end:
            until = min(_midnight(since.astimezone(ZONE).date() + timedelta(days=1)), end)
            yield since, until
            since = until

    def to_json(self) -> dict[str, Any]:
        since = self.since.astimezone(UTC).isoformat()
        return {"day": self.day.isoformat(), "since": since, "tries": self.tries, "said": self.said}


def second_reading(now: datetime, done: date | None, kept: Mapping[str, Any], oldest: datetime) -> SecondReading | None:
    """What is to be read twice at ``now``; None where that was done, or was tried TRIES times today. ``done``: the day of which this
    was last done; ``kept``: how far one came that was begun (``SecondReading.to_json``), on an earlier day, too: then it goes on from
    there, with its tries before it; ``oldest``: nothing before is asked for."""
    day = day_of_second_reading(now)
    if done is not None and done >= day:
        return None
    if kept.get("day") == day.isoformat():
        found = SecondReading(day, datetime.fromisoformat(kept["since"]), kept["tries"], kept["said"])
        return found if found.tries < TRIES else None
    if kept and kept["day"] < day.isoformat():
        return SecondReading(day, max(datetime.fromisoformat(kept["since"]), oldest))
    first = day - timedelta(days=1)
    return SecondReading(day, max(_midnight(min(done or first, first)), oldest))


def read_again(
    second: SecondReading, end: datetime, read: Callable[[datetime, datetime], None], budget_s: float
) -> SecondReading | None:
    """Read piece by piece up to ``end``, and no further piece once ``budget_s`` have passed. How far it came; None: all was read."""
    begun, first = monotonic(), second.since
    try:
        for since, until in second.pieces(end):
            if since > first and monotonic() - begun > budget_s:
                return second
            read(since, until)
            second = replace(second, since=until)
    except Exception as error:  # told where people look; what is new was entered before
        if not isinstance(error, (ProviderFault, Refused)):
            log.exception("second reading of %s", second.day)
        return replace(second, tries=second.tries + 1, said=str(error)[:2000])
    return None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), ZONE)
