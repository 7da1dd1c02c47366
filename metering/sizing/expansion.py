"""Growth within the day: when it begins, how large it is, and until when.

A machine uses no more than it has, so demand above its size is not seen: what is seen is a sample *at the line*, at
``Fast.level`` of the size or more, where use ends. The rule goes by that alone. Who is at the line gets ``Fast.step`` times the
size in force, at once what it was seen to use on the last ``Fast.reach_days`` days, and again as much while that is not enough; who
has stayed under the line of the size underneath for an hour and ``Fast.hold_hours`` goes back to it. A sample is ground enough to
begin; an hour of which too little is known is no ground to end.

`within` is the rule over days of samples, as backtests keep it; `sight` is the same rule over one last hour, as the look within
the day keeps it on the lake. The tests hold the two against each other.

Pure: neither database nor clock. Sizes are in one unit (vCPU) throughout; r = machines, n = slots of five minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metering.sizing.rightsizing import Fast
from providers.metrics import Array

HOUR = 12
"""Samples of five minutes in the hour that is looked at."""

COVERED = 0.75
"""Share of an hour's samples that must be there for it to say that a machine is calm: nine of twelve."""

NEVER = -(10**9)
"""A slot before all others."""


@dataclass(frozen=True)
class Sight:
    """What the last hour shows of machines [r]: whether it is known, how many samples are at the line of the size underneath, whether
    that is any, whether one is at the line of what is in force, and the size wanted then."""

    known: Array
    count: Array
    over: Array
    short: Array
    wanted: Array


@dataclass(frozen=True)
class Pace:
    """`Fast` of machines [r] that are walked together, each by its own figures; all looked for every `check_slots` samples."""

    level: Array
    step: Array
    margin: Array
    slack: Array
    hold: Array
    check_slots: int

    @classmethod
    def of(cls, each: Sequence[tuple[Fast, int]]) -> Pace:
        """How many machines grow by which: one after the other."""
        (every,) = {fast.check_slots for fast, _ in each}

        def column(figures: Sequence[float]) -> Array:
            return np.repeat(figures, [r for _, r in each])

        return cls(
            column([fast.level for fast, _ in each]),
            column([fast.step for fast, _ in each]),
            column([fast.margin for fast, _ in each]),
            column([fast.slack for fast, _ in each]),
            column([fast.hold_hours * HOUR for fast, _ in each]),
            every,
        )

    def take(self, rows: Array) -> Pace:
        """Of these machines."""
        return Pace(
            self.level[rows], self.step[rows], self.margin[rows], self.slack[rows], self.hold[rows], self.check_slots
        )


def sight(demand: Array, size: Array, force: Array, present: Array, fast: Fast) -> Sight:
    """What the samples of one hour say. demand: [r, k], NaN = no sample, each no more than the size in force at its time; size
    (underneath), force (in force now), present (the whole machine): [r]."""
    there = np.isfinite(demand)
    seen = np.where(there, demand, -1.0)
    count = (seen >= fast.level * size[:, None] - 1e-9).sum(axis=1)
    short = np.asarray((seen >= fast.level * force[:, None] - 1e-9).any(axis=1))
    known = there.sum(axis=1) >= COVERED * HOUR
    return Sight(known, count, count > 0, short, wanted(force, present, fast, np.zeros(len(size))))


def wanted(force: Array, present: Array, fast: Fast | Pace, reach: Array) -> Array:
    """The size for who is at the line of `force`: `step` times as much, and what was seen of the last days; beyond the whole
    machine a tenth at a time."""
    whole = fast.margin * np.maximum(present, force) + fast.slack / 100 * present
    return np.asarray(np.minimum(np.maximum(fast.step * force, reach), whole))


def fit(wanted: Array, size: Array, offered: Array, limit: Array) -> Array:
    """[r]: the smallest of the `offered` sizes ([s] or [r, s], NaN = not offered) that is enough, larger than the size underneath, and not
    beyond `limit` [r]; where none is enough the largest of them; NaN where there is none."""
    table = np.sort(np.broadcast_to(offered, (len(wanted), np.shape(offered)[-1])), axis=1)
    open_to = (table > size[:, None]) & (table <= limit[:, None] + 1e-9)
    enough = open_to & (table >= wanted[:, None] - 1e-9)
    largest = table.shape[1] - 1 - np.argmax(open_to[:, ::-1], axis=1)
    at = np.where(enough.any(axis=1), np.argmax(enough, axis=1), largest)
    return np.where(open_to.any(axis=1), table[np.arange(len(table)), at], np.nan)


@dataclass
class Growth:
    """What is in force of machines [r] from one day to the next: the enlarged size and the slot at which its time is over (it runs while
    that is later than now); the slots of the last growth, of the last samples at the line of what is in force and of what is underneath;
    heard: bool [r, 12], which of the last hour's slots had a sample."""

    size: Array
    until: Array
    grown: Array
    capped: Array
    busy: Array
    heard: Array

    @classmethod
    def none(cls, r: int) -> Growth:
        """Machines of which none is enlarged."""
        until, grown, capped, busy = (np.full(r, NEVER) for _ in range(4))
        return cls(np.zeros(r), until, grown, capped, busy, np.zeros((r, HOUR), bool))


def within(
    growth: Growth,
    demand: Array,
    under: Array,
    present: Array,
    reach: Array,
    first: int,
    pace: Pace,
    offered: Array | None = None,
    limit: Array | None = None,
) -> tuple[Array, Array]:
    """One day of growth: size in force [r, n], and which machines began to grow, bool [r]; `growth` goes on to the day's end.

    demand: [r, n], NaN = no sample; under: [r, n], what is in force underneath; present: [r], the whole machine as known when the day
    begins; reach: [r], the most seen of the days before; first: the day's first slot; offered: [s], the only sizes that can be
    had (see `fit`; None = any); limit: [r], what no growth goes beyond. A slot's size follows from samples before it; of those above their size nothing more is
    used than that they were at the line.
    """
    force = np.array(under, np.float64)
    began = np.zeros(len(demand), bool)
    with np.errstate(invalid="ignore"):
        touched = (demand >= pace.level[:, None] * under - 1e-9).any(axis=1)
    rows = np.flatnonzero(touched | (growth.until > first) | (first - growth.capped < HOUR))
    heard = np.isfinite(demand)
    if len(rows):
        day = _Day(growth, rows, demand, under, present, reach, heard, pace.take(rows))
        most = np.full(len(rows), np.inf) if limit is None else limit[rows]
        force[rows], began[rows] = day.walk(first, offered, most)
        day.leave(growth, rows)
    growth.heard = heard[:, -HOUR:] if heard.shape[1] >= HOUR else np.concatenate([growth.heard, heard], 1)[:, -HOUR:]
    return force, began


class _Day:
    """The machines of a day in which something is at the line or enlarged, look by look; slots come first in its arrays, as it goes
    from one to the next."""

    def __init__(
        self,
        growth: Growth,
        rows: Array,
        demand: Array,
        under: Array,
        present: Array,
        reach: Array,
        heard: Array,
        pace: Pace,
    ) -> None:
        self.seen = np.ascontiguousarray(np.where(heard[rows], demand[rows], -1.0).T)
        self.under, self.present, self.reach = np.ascontiguousarray(under[rows].T), present[rows], reach[rows]
        # Samples in the hour before each slot: [n + 1, r].
        told = np.concatenate([np.zeros((len(rows), 1)), growth.heard[rows], heard[rows]], axis=1).cumsum(axis=1)
        self.known = np.ascontiguousarray((told[:, HOUR:] - told[:, :-HOUR] >= COVERED * HOUR).T)
        self.size, self.until, self.grown = growth.size[rows], growth.until[rows], growth.grown[rows]
        self.capped, self.busy = growth.capped[rows], growth.busy[rows]
        self.pace = pace

    def walk(self, first: int, offered: Array | None, limit: Array) -> tuple[Array, Array]:
        n, r = self.seen.shape
        level, hold, every = self.pace.level, self.pace.hold, self.pace.check_slots
        force = self.under.copy()
        began = np.zeros(r, bool)
        busy = (
            self.seen >= level * self.under - 1e-9
        )  # who is at the line of what is in force is at that of what is under it
        some = busy.any(axis=1)
        for start in range(0, n, every):
            stop = min(start + every, n)
            live = self.until > first + start
            if live.any():
                here = force[start:stop]
                np.maximum(here, self.size, out=here, where=live)
            for at in range(start, stop):
                if some[at]:
                    self.capped[busy[at] & (self.seen[at] >= level * force[at] - 1e-9)] = first + at
                    self.busy[busy[at]] = first + at
            now = first + stop
            running = self.until >= now
            stays = running & (now - self.busy <= HOUR)
            np.add(hold, now, out=self.until, where=stays)
            blind = running & (self.until == now) & ~self.known[stop]
            self.until[blind] = now + every
            short = (self.capped >= self.grown) & (now - self.capped <= HOUR)
            if short.any():
                which = np.flatnonzero(short)
                base = self.under[stop - 1, which]
                current = np.where(self.until[which] > now, np.maximum(base, self.size[which]), base)
                more = wanted(current, self.present[which], self.pace.take(which), self.reach[which])
                if offered is not None:
                    more = np.nan_to_num(fit(more, base, offered, limit[which]))
                more = np.minimum(more, limit[which])
                which, more = which[more > current + 1e-9], more[more > current + 1e-9]
                began[which] |= ~running[which]
                self.size[which], self.grown[which], self.until[which] = more, now, now + hold[which]
        return force.T, began

    def leave(self, growth: Growth, rows: Array) -> None:
        growth.size[rows], growth.until[rows], growth.grown[rows] = self.size, self.until, self.grown
        growth.capped[rows], growth.busy[rows] = self.capped, self.busy
