"""What nobody could have saved more than: a bound on every path of sizes over a recording, from hindsight. Pure.

A policy that sees min(demand, size in force) gives on one recording one path of sizes. So does a table of sizes written down beforehand, which
sees less still; therefore no bound over *all* policies that see the same lies under the best table, and that is found in hindsight. What sight
forbids is told by a narrower kind: `REACTING` paths are lowered at any time and set to anything in the first hour of a day, and raised at another
time only within an hour of a sample at the line of what is in force. Every nightly sizing with growth within the day is one of them,
as carried out, at that line or a higher one: only its sight limits when it is raised, how far is chosen in hindsight.

Of all paths of a kind with at most V violations and M moves, sum of sizes >= L(a, b) - a V - b M for whatever a, b >= 0, where L is the least of
size + a x violations + b x moves over all paths (weak duality). L is found slot by slot over a grid of levels; demand is rounded down to it,
so that rounding any path down to the grid loses no served sample, adds no move and forbids no rise: the bound holds for
sizes as fine as one likes. r = machines, n = slots, k = levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from metering.series import MachineSeries
from metering.sizing.backtest import SHORTEST, calendar
from metering.sizing.expansion import HOUR
from providers.metrics import SLOTS, Array

LEVELS = 48
FINEST = 1.2
"""The search for the best prices ends where a step of this factor gains nothing."""


class PathKind(StrEnum):
    """Which paths of sizes are bound."""

    ANY = "any"
    REACTING = "reacting"


@dataclass(frozen=True)
class JudgedDemand:
    """Judged halves, slots first: demand [n, r], -inf where nothing is judged; line: the largest demand, judged or not, of the hour before each
    slot [n, r]; free: bool [n], slots of a day's first hour; days: judged machine days; provisioned: sum of cores over the samples."""

    demand: Array
    line: Array
    free: Array
    days: int
    samples: int
    provisioned: float

    @classmethod
    def of(cls, series: MachineSeries, utc_offset_s: int = 28800) -> JudgedDemand:
        """As backtests judge it by local days."""
        eligible = np.flatnonzero(np.diff(series.starts) >= SHORTEST)
        if not len(eligible):
            raise ValueError(f"{series.dataset}: no machine has {SHORTEST} samples")
        _, days = calendar(series.take(eligible), utc_offset_s)
        r = len(eligible)
        demand = np.nan_to_num(days.demand, nan=-np.inf).reshape(r, -1).T
        judged = days.judged.reshape(r, -1).T
        first = int(np.argmax(judged.any(axis=1))) // SLOTS * SLOTS
        line = np.full(demand.shape, -np.inf)
        for back in range(1, HOUR + 1):
            np.maximum(line[back:], demand[:-back], out=line[back:])
        return cls(
            np.where(judged, demand, -np.inf)[first:],
            line[first:],
            np.arange(len(demand) - first) % SLOTS < HOUR,
            int(days.judged.any(axis=2).sum()),
            int(judged.sum()),
            float(days.provisioned[days.judged].sum()),
        )

    def levels(self, count: int = LEVELS) -> Array:
        """[r, count] sizes that are told apart, rising, from 0 on to the largest demand: half by how often they are wanted, half evenly."""
        r = self.demand.shape[1]
        told = np.zeros((r, count))
        shares = 1 - np.geomspace(1, 1e-4, count - count // 2)
        for i in range(r):
            wanted = self.demand[:, i][np.isfinite(self.demand[:, i])]
            even = np.linspace(0, wanted.max(initial=0.0), count // 2 + 1)[1:]
            told[i] = np.sort(np.concatenate([np.quantile(wanted, shares) if len(wanted) else shares * 0, even]))
        told[:, 0] = 0.0
        return told


def least(judged: JudgedDemand, kind: PathKind, violation: float, move: float, level: float = 0.98) -> float:
    """L: the least sum of sizes + `violation` x violations + `move` x moves over all paths of a kind, in cores; a move is counted where the slots
    before and after it are judged, as backtests count it."""
    sizes = judged.levels()
    lines = level * sizes - 1e-9
    above = _next(sizes)  # a demand rounded down to the levels is above a size where it reaches the next one
    told = np.isfinite(judged.demand)
    costs, before = np.zeros(sizes.shape), np.zeros(len(sizes), bool)
    for demand, line, free, here in zip(judged.demand, judged.line, judged.free, told, strict=True):
        move_here = np.where(here & before, move, 0.0)[:, None]
        if kind is PathKind.ANY or free:
            other = costs.min(axis=1, keepdims=True)
        else:
            open_to = (line[:, None] >= lines) | ~(here & before)[:, None]
            rises = np.where(open_to, costs, np.inf).min(axis=1, keepdims=True)
            other = np.minimum(np.minimum.accumulate(costs[:, ::-1], axis=1)[:, ::-1], rises)
        np.minimum(costs, other + move_here, out=costs)
        costs += np.where(here[:, None], sizes, 0.0)
        costs += violation * (demand[:, None] >= above)
        before = here
    return float(costs.min(axis=1).sum())


def _next(sizes: Array) -> Array:
    """[r, k]: the next larger level, inf for the largest; levels that are the same have the same."""
    found = np.full(sizes.shape, np.inf)
    for at in range(sizes.shape[1] - 2, -1, -1):
        found[:, at] = np.where(sizes[:, at + 1] > sizes[:, at], sizes[:, at + 1], found[:, at + 1])
    return found


def most_saved(
    judged: JudgedDemand, kind: PathKind, violations: float, moves: float, cache: dict[tuple[PathKind, int, int], float]
) -> float:
    """The share of provisioned cores that no path of a kind can have saved with this share of violations and moves per machine and 30 days.

    Whatever prices it is found at, it is a bound; they are searched for so that it is near the least. cache: what was found at other prices.
    """
    hurt, moved = violations * judged.samples, moves * judged.days / 30
    unit = judged.provisioned / judged.samples
    fine = np.log(FINEST) / 2

    def saved(at: tuple[int, int]) -> float:
        a, b = (unit * float(np.exp(fine * power)) for power in at)
        if (key := (kind, *at)) not in cache:
            cache[key] = least(judged, kind, a, b)
        return 1 - (cache[key] - a * hurt - b * moved) / judged.provisioned

    return _lowest(saved, (32, 16))


def _lowest(of: Callable[[tuple[int, int]], float], start: tuple[int, int], step: int = 16) -> float:
    """The least value by steps to and fro along both axes, ever smaller; of a convex function nearly the least of all."""
    here, best = start, of(start)
    while step > 1:
        ways = [(here[0] + x, here[1] + y) for x, y in ((step, 0), (-step, 0), (0, step), (0, -step))]
        value, where = min((of(way), way) for way in ways)
        if value < best - 1e-5:
            here, best = where, value
        else:
            step //= 2
    return best
