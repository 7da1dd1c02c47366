"""The promise board's arithmetic: what is promised, when it runs out, what one more request would do.

Pure. Promised = granted + held + used + lent, installed = what may be given out (after reserve and overcommit), both in
base units. The trend is a straight line through the promises at the ends of days. Neighbouring days are alike, so that
the residuals' lag-1 autocorrelation shrinks the number of observations that the interval is computed from; without
that a staircase of grants would look far more certain than it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from statistics import NormalDist

MIN_DAYS = 14
"""A history shorter than this says nothing about the future."""

CONFIDENCE = 0.8
"""Of the interval: in four cases of five the date lies within it, if the line goes on."""

HORIZON_DAYS = 3650
"""Whatever runs out later than this does not run out, for what a board can say."""


@dataclass(frozen=True, slots=True)
class Trend:
    """Growth of the promises in base units a day: the line's, and the interval's ends."""

    per_day: float
    low: float
    high: float
    days: int


@dataclass(frozen=True, slots=True)
class RunOut:
    """When nothing is left: by the line, at the earliest, at the latest. None: not within the horizon."""

    on: date | None
    earliest: date | None
    latest: date | None


def trend(promised: Sequence[float]) -> Trend | None:
    """The line through ``promised``, one figure a day, oldest first; None where the history is too short."""
    n = len(promised)
    if n < MIN_DAYS:
        return None
    middle = (n - 1) / 2
    mean = sum(promised) / n
    spread = sum((x - middle) ** 2 for x in range(n))
    slope = sum((x - middle) * (y - mean) for x, y in enumerate(promised)) / spread
    rest = [y - mean - slope * (x - middle) for x, y in enumerate(promised)]
    squares = sum(one * one for one in rest)
    alike = sum(a * b for a, b in pairwise(rest)) / squares if squares > 0 else 0.0
    alike = min(max(alike, 0.0), 0.99)
    effective = max(n * (1 - alike) / (1 + alike), 4.0)
    error = math.sqrt(squares / (effective - 2) / spread)
    reach = quantile_of_t((1 + CONFIDENCE) / 2, effective - 2) * error
    return Trend(slope, slope - reach, slope + reach, n)


def grown(promised: Sequence[int], adopted: Sequence[int]) -> list[int]:
    """The promises day by day as they would have been, had what was adopted (both at the ends of the same days) been on the book
    from the first of them: what ran before it was found is no growth."""
    return [whole + adopted[-1] - known for whole, known in zip(promised, adopted, strict=True)]


def runs_out(line: Trend, left: float, today: date) -> RunOut:
    """When ``left`` base units are gone if the promises go on growing as ``line``: today where nothing is left."""
    return RunOut(_after(left, line.per_day, today), _after(left, line.high, today), _after(left, line.low, today))


def left_after(installed: int, promised: int, wanted: int = 0) -> int:
    """What remains if ``wanted`` base units more were promised; below zero: by how much it falls short."""
    return installed - promised - wanted


def _after(left: float, per_day: float, today: date) -> date | None:
    if left <= 0:
        return today
    if per_day <= 0 or left / per_day > HORIZON_DAYS:
        return None
    return today + timedelta(days=math.floor(left / per_day))


def quantile_of_t(p: float, degrees: float) -> float:
    """The ``p`` quantile (p ≥ 0.5) of Student's t, by the Cornish-Fisher expansion: within 2 % for 2 degrees and more
    at the levels used here."""
    z = NormalDist().inv_cdf(p)
    return (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    )
