"""What will be used in the coming weeks: level, damped trend, the week and declared busy periods, with an interval. Pure.

The interval is as wide as the forecast's own misses were: it is made from forecasts that would have been given at
earlier days of the same series, each from what was known then; the fewer weeks those lie apart, the wider it is, as
Student's t asks. r = series, d = days, h = days ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from providers.metrics import Array

WEEK = 7
MEMORY = 8 * WEEK  # days that the week and the trend are learnt from
LEAST = 2 * WEEK  # days of history without which nothing is forecast
HALF_LIFE = 8.0  # days, of the level
DOUBT = 2.0  # how much of the noise in a week's pattern is held against it
DAMPING = 0.85  # of the trend, a week
ORIGINS = 8  # earlier days that the interval is made from
APART = 4  # days between them; fewer where the history is short


@dataclass(frozen=True)
class Forecast:
    """mean, low, high: [r, h] in the unit of the series, NaN where there is too little history; origins: how many
    earlier forecasts the interval of each series was made from (0 = no interval)."""

    mean: Array
    low: Array
    high: Array
    origins: int


def predict(values: Array, horizon: int, busy: Array | None = None, share: float = 0.8) -> Forecast:
    """Forecast of the days after the last: values [r, d], one a day, NaN = unknown; busy: bool [k, d + horizon], days
    of declared periods (of all series); share: how often the interval should hold. Nothing is forecast below 0.

    Raises ValueError where shapes do not fit.
    """
    values = np.atleast_2d(np.asarray(values, np.float64))
    r, d = values.shape
    if horizon < 1 or (busy is not None and busy.shape[-1] != d + horizon):
        raise ValueError(f"{d} days and {horizon} ahead: busy is {None if busy is None else busy.shape}")
    mean = point(values, horizon, busy)
    misses = []
    apart = max(1, min(APART, (d - LEAST) // ORIGINS))
    for back in range(1, ORIGINS + 1):
        cut = d - apart * back
        if cut < LEAST:
            break
        ahead = min(horizon, d - cut)
        then = point(values[:, :cut], ahead, None if busy is None else busy[:, : cut + ahead])
        miss = np.full((r, horizon), np.nan)
        miss[:, :ahead] = np.abs(values[:, cut : cut + ahead] - then)
        misses.append(miss)
    if not misses:
        gone = np.full((r, horizon), np.nan)
        return Forecast(mean, gone, gone, 0)
    # Origins that lie close together miss alike: they count for as many as lie half a week apart.
    wide = _width(np.stack(misses), share) * _student(max(1, apart * len(misses) // APART), share)
    return Forecast(mean, np.maximum(mean - wide, 0.0), mean + wide, len(misses))


def _width(misses: Array, share: float) -> Array:
    """Half the interval [r, h] from misses [origins, r, h]: the quantile of each week ahead; never narrower further
    ahead, and growing by the root beyond what could be tried."""
    _origins, r, horizon = misses.shape
    wide = np.zeros((r, horizon))
    for first in range(0, horizon, WEEK):
        part = misses[:, :, first : first + WEEK].transpose(1, 0, 2).reshape(r, -1)
        known = np.isfinite(part).sum(axis=1)
        here = np.full(r, np.nan)
        # Fewer than a week of misses say nothing about the first week: then there is no interval at all.
        enough = known >= WEEK
        here[enough] = np.nanquantile(part[enough], share, axis=1)
        before = wide[:, first - 1] if first else np.full(r, np.nan)
        grown = before * np.sqrt((first / WEEK + 1) / max(first / WEEK, 1))
        wide[:, first : first + WEEK] = np.fmax(np.where(enough, here, grown), before)[:, None]
    return wide


def _student(independent: int, share: float) -> float:
    """How much wider an interval made from so few misses must be: Student's quantile to the normal one (by its
    expansion to the second order)."""
    z, k = NormalDist().inv_cdf((1 + share) / 2), min(independent, ORIGINS)
    t = z + (z**3 + z) / (4 * k) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * k**2)
    return float(t / z)


def point(values: Array, horizon: int, busy: Array | None = None) -> Array:
    """The forecast alone [r, h]; NaN for series with fewer than fourteen known days."""
    r, d = values.shape
    known = np.isfinite(values)
    recent = values[:, max(0, d - MEMORY) :]
    n = recent.shape[1]
    at = np.arange(d - n, d)
    any_busy = busy[:, at].any(axis=0) if busy is not None and len(busy) else np.zeros(n, bool)
    quiet = np.where(any_busy, np.nan, recent)
    rest = quiet - _centred(quiet)
    week = _weekday(rest, at % WEEK)
    event = np.zeros((r, 0))
    flat = recent - week[:, at % WEEK]
    if busy is not None and len(busy):
        event = np.zeros((r, len(busy)))
        for k, days in enumerate(busy):
            here = days[at]
            if here.any() and not here.all():
                other = np.where(here, np.nan, flat)
                seen = np.isfinite(other).any(axis=1)  # who was only ever seen in the period tells nothing of it
                usual = np.full(r, np.nan)
                usual[seen] = np.nanmedian(other[seen], axis=1)
                count = np.isfinite(flat[:, here]).sum(axis=1)
                event[:, k] = np.nansum(flat[:, here] - usual[:, None], axis=1) / (count + 1.0)
                flat = flat - event[:, k, None] * here
    age = n - 1 - np.arange(n)
    weight = np.where(np.isfinite(flat), 0.5 ** (age / HALF_LIFE), 0.0)
    heavy = weight.sum(axis=1)
    level = np.divide(np.nansum(np.nan_to_num(flat) * weight, axis=1), heavy, out=np.full(r, np.nan), where=heavy > 0)
    slope = _slope(flat)
    steps = np.arange(1, horizon + 1) / WEEK
    damped = slope[:, None] * WEEK * (1 - DAMPING**steps) / (1 - DAMPING) * 0.3
    ahead = d + np.arange(horizon)
    out = level[:, None] + damped + week[:, ahead % WEEK]
    if busy is not None and len(busy):
        out = out + event @ busy[:, d:].astype(np.float64)
    out = np.maximum(out, 0.0)
    return np.asarray(np.where(known.sum(axis=1)[:, None] >= LEAST, out, np.nan))


def _weekday(rest: Array, weekday: NDArray[np.integer]) -> Array:
    """What each weekday adds [r, 7], from series less their weekly means [r, n]: shrunk by the share of it that chance
    alone would make, so that a plain week stays whole and one that only looks like one vanishes."""
    r = len(rest)
    week, count, spread = np.zeros((r, WEEK)), np.zeros((r, WEEK)), np.zeros(r)
    for day in range(WEEK):
        mine = rest[:, weekday == day]
        known = np.isfinite(mine)
        count[:, day] = known.sum(axis=1)
        week[:, day] = np.nansum(mine, axis=1) / np.maximum(count[:, day], 1)
        spread += np.where(known, (np.nan_to_num(mine) - week[:, day, None]) ** 2, 0.0).sum(axis=1)
    week -= week.mean(axis=1, keepdims=True)
    noise = spread / np.maximum(count.sum(axis=1) - WEEK, 1) / np.maximum(count.mean(axis=1), 1)
    signal = (week**2).sum(axis=1) / (WEEK - 1)
    chance = np.divide(noise, signal, out=np.ones(r), where=signal > 0)
    return np.asarray(week * np.clip(1 - DOUBT * chance, 0.0, 1.0)[:, None])


def naive(values: Array, horizon: int) -> Array:
    """The yardstick: the same weekday of the last week [r, h]."""
    last = values[:, -WEEK:]
    return np.asarray(np.tile(last, (1, -(-horizon // WEEK)))[:, :horizon])


def _centred(values: Array) -> Array:
    """Means of the seven days around each; NaN at the edges, where the days around are no whole week."""
    padded = np.pad(values, ((0, 0), (3, 3)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WEEK, axis=1)
    count = np.isfinite(windows).sum(axis=2)
    answer: Array = np.divide(np.nansum(windows, axis=2), count, out=np.full(values.shape, np.nan), where=count > 0)
    answer[:, :3] = answer[:, -3:] = np.nan
    return answer


def _slope(flat: Array) -> Array:
    """The median slope between weekly means, a day (Theil and Sen): one wild week does not make a trend."""
    weeks = flat.shape[1] // WEEK
    if weeks < 3:
        return np.zeros(len(flat))
    cut = flat[:, flat.shape[1] - weeks * WEEK :].reshape(len(flat), weeks, WEEK)
    count = np.isfinite(cut).sum(axis=2)
    means = np.divide(np.nansum(cut, axis=2), count, out=np.full(count.shape, np.nan), where=count > 0)
    pairs = [(means[:, j] - means[:, i]) / ((j - i) * WEEK) for i in range(weeks) for j in range(i + 1, weeks)]
    stacked = np.stack(pairs)
    known = np.isfinite(stacked).any(axis=0)
    out = np.zeros(len(flat))
    out[known] = np.nanmedian(stacked[:, known], axis=0)
    return out
