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
    """`Fast` of machines [r] that are walked together, each by its own figures; all looked for every `check_slots` samples, some times an
    hour."""

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
        if HOUR % every:
            raise ValueError(f"looks every {every} samples do not make an hour")

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
    heard: bool [m, 12], which of the last hour's slots had a sample (see `within`)."""

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


@dataclass(frozen=True, slots=True)
class GrownDay:
    """The machines [k] by their rows in which something was at the line or enlarged on a day: the size in force [k, n], and which began to
    grow [k]. All others had what is underneath."""

    rows: Array
    force: Array
    began: Array


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
) -> GrownDay:
    """One day of growth; `growth` goes on to the day's end.

    demand: [m, n], NaN = no sample; present: [m], the whole machine as known when the day begins. The same machines may be walked several
    times side by side: r is m or a multiple of it, row i is machine i % m. under: [r] or [r, n], what is in force underneath;
    reach: [r], the most seen of the days before; first: the day's first slot; offered: [s], the only sizes that can be
    had (see `fit`; None = any); limit: [r], what no growth goes beyond. A slot's size follows from samples before it; of those above their size nothing more is
    used than that they were at the line. A day is whole looks: n is a multiple of ``pace.check_slots``.
    """
    m = len(demand)
    if under.ndim == 1:
        at_line = np.tile(np.fmax.reduce(demand, axis=1), len(under) // m) >= pace.level * under - 1e-9
    else:
        lines = (pace.level[:, None] * under - 1e-9).reshape(-1, *demand.shape)
        at_line = (demand >= lines).any(axis=2).ravel()
    rows = np.flatnonzero(at_line | (growth.until > first) | (first - growth.capped < HOUR))
    heard = np.concatenate([growth.heard[:m], np.isfinite(demand)], axis=1)
    force, began = np.zeros((0, demand.shape[1])), np.zeros(0, bool)
    if len(rows):
        whole = rows % m
        day = _Day(growth, rows, demand[whole], under[rows], present[whole], reach[rows], heard[whole], pace.take(rows))
        force, began = day.walk(first, offered, np.full(len(rows), np.inf) if limit is None else limit[rows])
        day.leave(growth, rows)
    growth.heard = heard[:, -HOUR:]
    return GrownDay(rows, force, began)


class _Day:
    """The machines of a day in which something is at the line or enlarged, look by look; slots come first in its arrays, as it goes
    from one to the next. What a look has to ask is asked of those alone that were at the line since the one before, whose time is over, or
    that could not have more yet: until when a growth lasts is known with the last sample at the line."""

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
        self.seen, self.level = np.ascontiguousarray(demand.T), pace.level * under.T - 1e-9
        self.under = np.broadcast_to(under.T, self.seen.shape)
        self.present, self.reach, self.heard = present, reach, heard
        self.size, self.until, self.grown = growth.size[rows], growth.until[rows], growth.grown[rows]
        self.capped, self.busy = growth.capped[rows], growth.busy[rows]
        self.pace = pace

    def walk(self, first: int, offered: Array | None, limit: Array) -> tuple[Array, Array]:
        n, r = self.seen.shape
        hold, every = self.pace.hold, self.pace.check_slots
        force, began = np.empty((n, r)), np.zeros(r, bool)
        # Who is at the line of what is in force is at that of what is under it.
        slots, who = np.nonzero(self.seen >= self.level)
        used, level, at = self.seen[slots, who], self.pace.level[who], first + slots
        lasts = self.over(at, first, hold[who])
        bounds = np.searchsorted(slots, np.arange(0, n + every, every)).tolist()
        lent = np.where(self.until > first, self.size, 0.0)
        ends = self._next_end(lent)
        short = (self.capped >= self.grown) & (first - self.capped < HOUR)
        asked = bool(short.any())
        for look, start in enumerate(range(0, n, every)):
            stop, low, high = start + every, bounds[look], bounds[look + 1]
            now = first + stop
            np.maximum(self.under[start:stop], lent, out=force[start:stop])
            if low < high:
                each, told = who[low:high], at[low:high]
                full = used[low:high] >= level[low:high] * force[slots[low:high], each] - 1e-9
                capped = each[full]
                if len(capped):
                    self.capped[capped] = told[full]
                    short[capped] = asked = True
                self.busy[each] = told
                running = self.until[each] >= now
                stays = each[running]
                self.until[stays] = np.maximum(self.until[stays], lasts[low:high][running])
            if now >= ends:
                self._end(lent, now, stop)
                ends = self._next_end(lent)
            if asked:
                which, more = self._short(short, now, self.under[stop - 1], offered, limit)
                began[which] |= self.until[which] < now
                self.size[which] = lent[which] = more
                self.grown[which], short[which] = now, False
                self.until[which] = self.over(self.busy[which], first, hold[which])
                ends = min(ends, int(self.until[which].min(initial=-NEVER)))
                asked = bool(short.any())
        return force.T, began

    def over(self, busy: Array, first: int, hold: Array) -> Array:
        """When the time of who was last at the line in these slots is over: its hours after the last look within an hour of that."""
        return np.asarray(busy + HOUR - (busy - first) % self.pace.check_slots + hold)

    def _next_end(self, lent: Array) -> int:
        running = self.until[lent > 0]
        return int(running.min()) if len(running) else -NEVER

    def _end(self, lent: Array, now: int, stop: int) -> None:
        """Take back what is lent of who has come to the end of its time; an hour of which too little is known is no end."""
        over = np.flatnonzero((lent > 0) & (self.until <= now))
        known = self.heard[over, stop : stop + HOUR].sum(axis=1) >= COVERED * HOUR
        blind = (self.until[over] == now) & ~known
        self.until[over[blind]] = now + self.pace.check_slots
        lent[over[~blind]] = 0.0

    def _short(self, short: Array, now: int, under: Array, offered: Array | None, limit: Array) -> tuple[Array, Array]:
        """Who gets more at a look, and how much: of those that were at the line of what is in force within the hour."""
        which = np.flatnonzero(short)
        late = now - self.capped[which] > HOUR
        short[which[late]] = False
        which = which[~late]
        base = under[which]
        current = np.where(self.until[which] > now, np.maximum(base, self.size[which]), base)
        more = wanted(current, self.present[which], self.pace.take(which), self.reach[which])
        if offered is not None:
            more = np.nan_to_num(fit(more, base, offered, limit[which]))
        more = np.minimum(more, limit[which])
        enough = more > current + 1e-9
        return which[enough], more[enough]

    def leave(self, growth: Growth, rows: Array) -> None:
        growth.size[rows], growth.until[rows], growth.grown[rows] = self.size, self.until, self.grown
        growth.capped[rows], growth.busy[rows] = self.capped, self.busy
