"""What a counter counted, from the points of one series: in which time, and how much of it is known. No file, no database, no clock.

* The difference of two points is what was counted between them, however far apart they are: silence loses nothing, and a point that
  comes late or twice says nothing that a later one has not said.
* A counter that fell under half of what it was has begun anew, and has counted at least what it shows. A hundredth less is a step back
  of one that goes on: it stands still until it is above what it was. What lies between is unknown, and so is a jump that nobody makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from math import floor

from quota.calendar import ZONE

STEP_BACK, ANEW = 0.99, 0.5
"""Shares of what a counter was: above the first it stepped back, under the second it began anew."""
REACH_MS = 15 * 60 * 1000
"""A counter that began anew after a longer silence may have counted more than it shows: that time is not known."""
MOST_A_SECOND = 1_000_000
"""More visits than that no front serves."""


@dataclass(frozen=True, slots=True)
class CounterState:
    """How far a series was read: its newest point (ms since 1970) and the most that it showed since it began."""

    ts: int
    high: float


@dataclass(frozen=True, slots=True)
class Rise:
    """What was counted after ``since`` up to ``until`` (ms since 1970); ``known``: no less and no more than that."""

    since: int
    until: int
    count: int
    known: bool


def read(state: CounterState | None, points: Iterable[tuple[int, float]]) -> tuple[CounterState | None, list[Rise]]:
    """Read on from ``state``, None where nothing was read yet: points (ms, value) in any order. The first one of all says nothing."""
    found: list[Rise] = []
    for ts, shown in sorted(points):
        value = float(floor(shown))
        if state is None:
            state = CounterState(ts, value)
        elif ts > state.ts:
            rise, known = _risen(state.high, value, ts - state.ts)
            found.append(Rise(state.ts, ts, rise, known))
            stands = known and STEP_BACK * state.high <= value < state.high
            state = CounterState(ts, state.high if stands else value)
    return state, found


def _risen(high: float, value: float, gap: int) -> tuple[int, bool]:
    if value >= high:
        rise, known = value - high, True
    elif value < ANEW * high:
        rise, known = value, gap <= REACH_MS
    else:
        rise, known = 0.0, value >= STEP_BACK * high
    if rise > MOST_A_SECOND * (gap / 1000 + 1):
        return 0, False
    return int(rise), known


def by_day(rise: Rise) -> Iterator[tuple[date, int]]:
    """Local days and what of it was counted in each, by time; whole numbers that come to all of it."""
    done = 0
    for day, _since, until in days(rise.since, rise.until):
        upto = rise.count if until == rise.until else rise.count * (until - rise.since) // (rise.until - rise.since)
        yield day, upto - done
        done = upto


def days(since: int, until: int) -> Iterator[tuple[date, int, int]]:
    """The local days that a time (ms) lies in, each with the part of it that does."""
    while since < until:
        day = datetime.fromtimestamp(since / 1000, ZONE).date()
        end = int(datetime.combine(day + timedelta(days=1), time(), ZONE).timestamp() * 1000)
        yield day, since, min(end, until)
        since = min(end, until)
