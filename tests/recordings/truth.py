"""What is true of a generated recording, and what follows from it without any reader of the product.

These modules import nothing of the product: what they say of a recording they know because they made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Array = NDArray[Any]
STEP_S = 300
DAY = 86400 // STEP_S
SHORTEST = 2 * DAY
"""Samples below which no size is judged."""


@dataclass(frozen=True)
class Machine:
    """The samples [n] that count of one machine, one per 300 s: while it has cores, in the order of time.

    cpu and mem in per cent, cpu in whole hundredths; mem None = not recorded, NaN = of no known size; cores 1 = unknown.
    """

    name: str
    ts: Array
    cpu: Array
    cores: Array
    mem: Array | None = None
    verdict: str = ""
    """The class that the machine was made for: idle, normal, busy."""

    @property
    def demand(self) -> Array:
        """[n] in cores."""
        return np.asarray(self.cpu / 100 * self.cores)


@dataclass(frozen=True)
class Recording:
    """A data set in the published layout, with its machines by name and how often each quirk is in it."""

    name: str
    table: pa.Table
    machines: tuple[Machine, ...]
    counts: dict[str, int] = field(default_factory=dict)
    raw: dict[str, str] = field(default_factory=dict)
    """Path below ``raw/`` → the text of an original file."""

    def machine(self, name: str) -> Machine:
        return next(one for one in self.machines if one.name == name)


def sized(machine: Machine, policy: str) -> Iterator[tuple[Array, Array, float]]:
    """The second half of the samples in days from its beginning on: (demand, provisioned, size in force), in cores."""
    demand, cores, slot = machine.demand, machine.cores, machine.ts // STEP_S
    middle = len(demand) // 2
    day = (slot - slot[middle]) // DAY
    for each in range(int(day[-1]) + 1):
        now = (day == each) & (np.arange(len(demand)) >= middle)
        if now.any():
            yield demand[now], cores[now], _size(policy, demand, day, middle, each)


def _size(policy: str, demand: Array, day: Array, middle: int, each: int) -> float:
    fit = demand[:middle]
    if policy == "peak14x1.15-daily":
        lately = (day < each) & (day >= each - 14)
        return float(demand[lately if lately.any() else day < each].max() * 1.15)
    quantile = {"p95x1.15": 0.95, "p99x1.15": 0.99, "peakx1.15": 1.0}[policy]
    return float(np.quantile(fit, quantile) * 1.15)


def backtest(machines: tuple[Machine, ...], policy: str) -> dict[str, float]:
    """The marks of a naive sizing policy over the machines' second halves, sample by sample."""
    judged = [one for one in machines if len(one.ts) >= SHORTEST]
    samples = violations = 0
    sizes = provisioned = unserved = asked = 0.0
    over = {0.01: 0, 0.05: 0}
    for one in judged:
        seen = broken = 0
        for demand, cores, size in sized(one, policy):
            seen += len(demand)
            broken += int((demand > size).sum())
            sizes += size * len(demand)
            provisioned += float(cores.sum())
            unserved += float(np.maximum(demand - size, 0).sum())
            asked += float(demand.sum())
        samples, violations = samples + seen, violations + broken
        over = {share: count + (broken > share * seen) for share, count in over.items()}
    return {
        "vms": len(judged),
        "samples": samples,
        "violation_rate": violations / samples,
        "net_cores_saved_share": 1 - sizes / provisioned,
        "unserved_share_of_demand": unserved / asked,
        "vms_violating_over_1pct": over[0.01],
        "vms_violating_over_5pct": over[0.05],
    }
