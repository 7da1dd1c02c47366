"""When a disk will be full, from its level at the end of each day: the trend of what was not cleaned away since. Pure.

Levels are per cent of the size; r = disks, d = days, the last of them the newest; NaN = not told. A disk is written to day by day,
emptied at once, enlarged, or filled at one go: none of these may look like a trend, and no silence may.
"""

from __future__ import annotations

import numpy as np

from providers.metrics import Array

FULL = 100.0
FALL = 3.0
"""Points from one told day to the next by which a level has fallen when something was deleted, or the disk was enlarged."""

LEAST_DAYS = 7
"""Days told since the last fall, without which nothing is said."""

COVERED = 0.7
"""Share of the days since the last fall that must be told."""

FRESH_DAYS = 2
"""The newest level may be so many days old."""

LEAST_RISE = 2.0
"""Points that it must have risen since the last fall; less is wobble."""

STEADY = 0.75
"""Share of all pairs of days in which the later one must be the fuller one, of those that differ."""

ONCE = 0.5
"""A rise of one day that is a larger share of the whole was filled in at one go: it is left out of the trend."""

LONGEST = 366.0


def days_until_full(level: Array) -> Array:
    """Days from the end of the last day until each disk [r] is full, of levels [r, d]; NaN where nothing in them says that it
    will be within a year, or where too little is known to say so.

    The trend is the median of the slopes between all pairs of days since the level last fell (Theil and Sen). A disk that was
    emptied twice and more in these days is emptied before it is full, until it is fuller than it ever was then.
    """
    level = np.asarray(level, np.float64)
    found = np.full(len(level), np.nan)
    if not level.size:
        return found
    known = np.isfinite(level)
    worth = (known.sum(axis=1) >= LEAST_DAYS) & known[:, -min(FRESH_DAYS + 1, level.shape[1]) :].any(axis=1)
    spread = np.where(known, level, -np.inf).max(axis=1) - np.where(known, level, np.inf).min(axis=1)
    for row in np.flatnonzero(worth & (spread >= LEAST_RISE)):
        at = np.flatnonzero(known[row])
        found[row] = _until_full(at.astype(np.float64), level[row, at], level.shape[1])
    return found


def growth(level: Array) -> Array:
    """By how many points each disk [r] was fuller at the end of the newest day that was told than at the end of the oldest, of levels
    [r, d]; less than nothing where it was emptied, NaN where fewer than LEAST_DAYS or less than COVERED of the days were told."""
    level = np.asarray(level, np.float64)
    found = np.full(len(level), np.nan)
    if not level.size:
        return found
    known = np.isfinite(level)
    told, days = known.sum(axis=1), level.shape[1]
    rows = np.flatnonzero((told >= LEAST_DAYS) & (told >= COVERED * days))
    first, last = np.argmax(known[rows], axis=1), days - 1 - np.argmax(known[rows, ::-1], axis=1)
    found[rows] = level[rows, last] - level[rows, first]
    return found


def _until_full(day: Array, level: Array, days: int) -> float:
    """Of one disk: ``day`` [n], rising, on which it had ``level`` [n]."""
    falls = np.flatnonzero(np.diff(level) <= -FALL) + 1
    first = int(falls[-1]) if len(falls) else 0
    since, now = level[first:], float(level[-1])
    if len(falls) > 1 and now <= level[:first].max() + LEAST_RISE:
        return np.nan
    day, since = day[first:], since.copy()
    if len(day) < LEAST_DAYS or len(day) < COVERED * (days - day[0]):
        return np.nan
    rises = np.diff(since)
    largest = int(np.argmax(rises))
    if rises[largest] > ONCE * (since[-1] - since[0]):
        since[largest + 1 :] -= rises[largest]
    if since[-1] - since[0] < LEAST_RISE:
        return np.nan
    earlier, later = np.triu_indices(len(day), 1)
    rise = since[later] - since[earlier]
    differ = np.count_nonzero(rise)
    if not differ or np.count_nonzero(rise > 0) < STEADY * differ:
        return np.nan
    slope = float(np.median(rise / (day[later] - day[earlier])))
    if slope <= 0:
        return np.nan
    left = (FULL - now) / slope - (days - 1 - day[-1])
    return max(0.0, left) if left <= LONGEST else np.nan
