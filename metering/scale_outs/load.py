"""What the last hour shows of a tier as a whole, and what follows from it. Pure: neither database nor clock.

A balancer spreads what comes in, so a tier is as loaded as its machines are on average: five minutes at a time, over those that tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metering.sizing import COVERED, HOUR
from providers.metrics import Array

RECENT = 3
"""Samples of five minutes that say how loaded a tier is now: one alone may be a cron job."""


@dataclass(frozen=True, slots=True)
class TierLoad:
    """``machines`` that run; ``now`` and ``peak``: mean CPU of all, % of their size, over the last fifteen minutes and at its highest in the
    hour, None = not known; ``covered``: whether enough of the hour is known to say that it is calm."""

    machines: int
    now: float | None
    peak: float | None
    covered: bool

    def busy(self, level: float) -> bool:
        """Whether all together they are as loaded as ``level`` %."""
        return self.now is not None and self.now >= level

    def calm(self, level: float) -> bool:
        """Whether they do as they are: none of the hour's moments came to ``level`` %."""
        return self.covered and self.peak is not None and self.peak < level

    def spare(self, level: float) -> bool:
        """Whether one machine fewer would do: none of the hour's moments would have come to ``level`` % without it."""
        if not self.covered or self.peak is None or self.machines < 2:
            return False
        return self.peak * self.machines / (self.machines - 1) < level


def measured(cpu: Array) -> TierLoad:
    """cpu: [machines, 12], % of each machine's size, NaN = no sample. A moment counts where at least half of them tell it."""
    machines = len(cpu)
    told = np.isfinite(cpu).sum(axis=0)
    known = (told > 0) & (2 * told >= machines)
    mean = np.where(known, np.nansum(np.where(np.isfinite(cpu), cpu, 0.0), axis=0) / np.maximum(told, 1), np.nan)
    recent = mean[-RECENT:][known[-RECENT:]]
    return TierLoad(
        machines=machines,
        now=round(float(recent.mean()), 2) if len(recent) else None,
        peak=round(float(mean[known].max()), 2) if known.any() else None,
        covered=bool(known.sum() >= COVERED * HOUR),
    )
