"""Growth within the day: when it begins, how large it is, and until when.

One rule, kept in two manners by the same functions. `BACKTESTED` is how a policy is backtested over a trace that was recorded
on large machines: demand is known in full, a sample counts when it lies above the size. `EXECUTED` is how the look within the day
keeps the rule on a machine that has that size: what it uses is cut off there, so a sample counts from 95 % of the size on
(where `rightsizing` calls demand saturated), and how much more was wanted is not seen. An hour of which too little is
known says nothing: silence is neither growth nor its end. `expand(…, EXECUTED)` is therefore what a look every hour does;
the tests hold the two against each other.

Pure: neither database nor clock. Sizes are in one unit (vCPU) throughout; r = machines, k <= 12 samples of the last hour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metering.sizing.rightsizing import EDGES, SATURATED_BIN, Fast
from providers.metrics import Array

HOUR = 12
"""Samples of five minutes in the hour that is looked at."""

SATURATED = float(EDGES[SATURATED_BIN]) / 100
COVERED = 0.75
"""Share of an hour's samples that must be there for it to say anything: nine of twelve."""

MOST = 1.0
"""Growth beyond the size underneath that temporary growth may be, unless a procedure says otherwise: as much again."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How the rule of a `Fast` is kept.

    level: the share of the size from which on a sample counts, None = only above it; cut: what is seen of demand ends at
    the size in force; coverage: share of the hour's samples without which nothing is said; once: a size is not raised
    again while it holds, and what is looked for at the very end of its time prolongs it.
    """

    level: float | None = None
    cut: bool = False
    coverage: float = 0.0
    once: bool = False


BACKTESTED = Manner()
EXECUTED = Manner(level=SATURATED, cut=True, coverage=COVERED, once=True)


@dataclass(frozen=True)
class Sight:
    """What the last hour shows of machines [r]: whether it is known, how many samples count, whether those are enough,
    and the size that the rule then wants."""

    known: Array
    count: Array
    over: Array
    wanted: Array


@dataclass(frozen=True)
class Growth:
    """What is in force of machines [r]: the enlarged size, and the slot at which its time is over (0 = not enlarged)."""

    size: Array
    until: Array


def sight(demand: Array, size: Array, force: Array, present: Array, fast: Fast, manner: Manner = BACKTESTED) -> Sight:
    """demand, size (what is in force underneath), force (what was in force): [r, k], NaN = no sample; present: [r], what
    100 points are."""
    there = np.isfinite(demand)
    seen = np.where(there, demand, 0.0)
    if manner.cut:
        seen = np.minimum(seen, force)
    above = there & ((seen > size) if manner.level is None else (seen >= manner.level * size - 1e-9))
    known = there.sum(axis=1) >= manner.coverage * HOUR
    count = above.sum(axis=1)
    wanted = fast.margin * seen.max(axis=1, initial=0.0) + fast.slack / 100 * present
    return Sight(known, count, known & (count >= fast.over), wanted)


def fit(wanted: Array, size: Array, offered: Array, most: float = MOST) -> Array:
    """[r]: the smallest of the `offered` sizes ([s] or [r, s], NaN = not offered) that is enough and larger than the size
    underneath, but not by more than `most` of it; NaN where there is none."""
    table = np.sort(np.broadcast_to(offered, (len(wanted), np.shape(offered)[-1])), axis=1)
    fits = (table >= wanted[:, None] - 1e-9) & (table > size[:, None]) & (table <= (1 + most) * size[:, None] + 1e-9)
    at = np.argmax(fits, axis=1)
    return np.where(fits.any(axis=1), table[np.arange(len(table)), at], np.nan)


def grow(
    growth: Growth, seen: Sight, wanted: Array, now: int, fast: Fast, manner: Manner = BACKTESTED
) -> tuple[Growth, Array]:
    """The growth in force after a look at slot `now`, and where one began.

    wanted: [r], what can be had of `seen.wanted` (NaN = nothing: it does not begin). A growth that is looked at in time is
    prolonged by the whole of its time. One whose time is over and of whose last hour nothing is known is kept until the
    next look (`manner.once`).
    """
    running = (growth.until >= now) & (growth.until > 0) if manner.once else growth.until > now
    over = seen.over & (running | np.isfinite(wanted))
    began = over & ~running
    raised = np.where(running, growth.size if manner.once else np.fmax(growth.size, wanted), wanted)
    until = np.where(over, now + fast.hold_hours * HOUR, growth.until)
    if manner.once:
        until = np.where(running & (growth.until == now) & ~seen.known, now + fast.check_slots, until)
    return Growth(np.where(over, raised, growth.size), until), began


def expand(
    demand: Array,
    size: Array,
    present: Array,
    fast: Fast,
    manner: Manner = BACKTESTED,
    offered: Array | None = None,
    most: float = MOST,
) -> tuple[Array, Array]:
    """Growth within the day over consecutive slots of 5 minutes: size in force [r, n], and where one began, bool [r, n].

    demand: [r, n], NaN = no sample; size: [r, n], what is in force underneath; present: [r, n], what 100 points are; all
    in one unit. offered: [s], the only sizes that can be had (see `fit`; None = any). Only what came before a moment of
    looking is used for what follows it.
    """
    r, n = demand.shape
    force = np.array(size, np.float64)
    began = np.zeros((r, n), bool)
    growth = Growth(np.zeros(r), np.zeros(r, np.int64))
    for now in range(fast.check_slots, n, fast.check_slots):
        hour = slice(max(0, now - HOUR), now)
        seen = sight(demand[:, hour], size[:, hour], force[:, hour], present[:, now - 1], fast, manner)
        wanted = seen.wanted if offered is None else fit(seen.wanted, size[:, now - 1], offered, most)
        growth, began[:, now] = grow(growth, seen, wanted, now, fast, manner)
        active = growth.until > now
        if active.any():
            span = slice(now, now + fast.check_slots)
            force[active, span] = np.maximum(force[active, span], growth.size[active, None])
    return force, began
