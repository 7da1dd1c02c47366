"""Growth within the day beside that of CPU: what is seen of memory, disks, lines, connections and cards, when each grows, by how much, up
to where, and when it is given back. Pure.

A gauge is what can be seen; terms are what a policy says of it. What is at the end of its size shows no more than that: a share above
100 counts as 100, so nothing that was wanted beyond the size has a say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from metering.sizing import COVERED, HOUR
from providers.metrics import Array
from quota.errors import N_
from quota.units import ACCELERATOR, BANDWIDTH, BLOCK, MEMORY, OBJECT, ClassCode


@dataclass(frozen=True, slots=True)
class GrowthGauge:
    """A share of a size that is seen. columns: of the lake, added up, in per cent of the size, or in kbit/s of a line. grows: service
    kind → the class of it that is enlarged. stays: it can't be taken back from what is in use, so it is not lent. of_time: the share is one
    of the time, in which something waited for what is short: it tells that more is wanted, and not how much of the size is used."""

    code: str
    label: str
    columns: tuple[str, ...]
    grows: Mapping[str, ClassCode]
    stays: bool = False
    of_time: bool = False

    def bounds(self, name: str) -> tuple[float, float]:
        """The least and the most that a figure of `GrowthTerms` may be."""
        return OF_TIME.get(name, BOUNDS[name]) if self.of_time else BOUNDS[name]


_INSTANCES = ("database", "middleware")
_STORED = ("vm", "volume", *_INSTANCES)

GAUGES: Mapping[str, GrowthGauge] = {
    one.code: one
    for one in (
        GrowthGauge("memory", N_("内存使用率"), ("mem_pct",), dict.fromkeys(("vm", *_INSTANCES), MEMORY)),
        GrowthGauge(
            "disk", N_("磁盘使用率"), ("disk_pct",), {**dict.fromkeys(_STORED, BLOCK), "object_store": OBJECT}, stays=True
        ),
        GrowthGauge("line", N_("带宽使用率"), ("net_rx_kbps", "net_tx_kbps"), {"bandwidth": BANDWIDTH}),
        # How many connections an instance takes follows from its memory.
        GrowthGauge("connections", N_("连接数使用率"), ("conn_pct",), dict.fromkeys(_INSTANCES, MEMORY)),
        # How many cards a model needs to fit is not seen: none are taken back.
        GrowthGauge("card", N_("加速卡使用率"), ("card_pct",), {"accelerator": ACCELERATOR}, stays=True),
        GrowthGauge(
            "memory_wait", N_("内存等待时间占比"), ("mem_wait_pct",), dict.fromkeys(("vm", *_INSTANCES), MEMORY), of_time=True
        ),
    )
}  # fmt: skip

BOUNDS: Mapping[str, tuple[float, float]] = {
    "level": (50, 100),
    "samples": (1, HOUR),
    "step": (1.05, 4),
    "most": (1.05, 8),
    "calm": (10, 99),
    "hold_hours": (1, 72),
}
"""Figure of `GrowthTerms` → the least and the most that it may be."""

OF_TIME: Mapping[str, tuple[float, float]] = {"level": (1, 100), "calm": (0.1, 99)}
"""The same of a share of the time, where it is otherwise."""


@dataclass(frozen=True, slots=True)
class GrowthTerms:
    """``samples`` of an hour's twelve at ``level`` % of the size in force (of the time) or above: the next size on offer of at least ``step`` times
    it, never beyond ``most`` times the size underneath. Given back once it was lent for ``hold_hours`` and an hour stayed under ``calm`` % of
    the size underneath (of the time); what stays has no use for these two."""

    gauge: str
    level: float = 95.0
    samples: int = 3
    step: float = 1.5
    most: float = 2.0
    calm: float = 80.0
    hold_hours: int = 3

    def __post_init__(self) -> None:
        if self.gauge not in GAUGES:
            raise ValueError(f"no such gauge: {self.gauge}")
        for name in BOUNDS:
            least, most = self.about.bounds(name)
            figure = getattr(self, name)
            whole = name in ("samples", "hold_hours")
            if isinstance(figure, bool) or not isinstance(figure, int if whole else int | float):
                raise ValueError(f"{self.gauge}: {name} {figure!r} is no number")
            if not least <= figure <= most:
                raise ValueError(f"{self.gauge}: {name} {figure} is not from {least} to {most}")
        if self.calm >= self.level:
            raise ValueError(f"{self.gauge}: what is calm ({self.calm}) is not below what is full ({self.level})")
        if self.most < self.step:
            raise ValueError(f"{self.gauge}: a step of {self.step} goes beyond {self.most}")

    @property
    def about(self) -> GrowthGauge:
        """What is seen."""
        return GAUGES[self.gauge]


DEFAULTS = (
    GrowthTerms("memory"),
    GrowthTerms("disk", level=95, samples=1, step=1.25, most=4),
    GrowthTerms("line", level=95, samples=3, step=1.5, most=4, calm=70),
    GrowthTerms("connections", level=90, samples=3, step=1.5, most=2, calm=70),
    GrowthTerms("card", level=95, samples=9, step=1.25, most=2),
    GrowthTerms("memory_wait", level=20, samples=3, step=1.5, most=2, calm=5),
)
"""The built-in policy's; our own figures."""


@dataclass(frozen=True)
class GaugeSight:
    """What the last hour shows of resources [r]: whether it is known; how many samples are at the line of the size underneath (of one that is
    lent: too high for it); whether that is enough to grow, or to keep what was lent; whether it is short of what is in force."""

    known: Array
    count: Array
    over: Array
    short: Array


def sight(share: Array, size: Array, force: Array, lent: Array, terms: GrowthTerms) -> GaugeSight:
    """What the samples of one hour say. share: [r, 12], % of the size in force, NaN = no sample; size (underneath), force (in force
    now): [r]; lent: bool [r], whether it is enlarged now."""
    there = np.isfinite(share)
    if terms.about.of_time:  # it says nothing of a size
        size = force = np.ones(len(share))
    used = np.where(there, np.clip(share, 0, 100), -1.0) / 100 * force[:, None]
    full = (used >= terms.level / 100 * force[:, None] - 1e-9).sum(axis=1)
    needed = (used >= terms.calm / 100 * size[:, None] - 1e-9).sum(axis=1)
    known = there.sum(axis=1) >= COVERED * HOUR
    short = full >= terms.samples
    return GaugeSight(known, np.where(lent, needed, full), np.where(lent, needed > 0, short), short)


def fit(steps: Array, force: float, size: float, terms: GrowthTerms) -> float | None:
    """Out of the sizes ``steps`` that can be had the smallest of at least ``step`` times what is in force, and no more than ``most`` times
    the size underneath; where none is enough the largest that is larger; None where there is none."""
    limit = terms.most * size
    larger = sorted(float(one) for one in steps if force < one <= limit + 1e-9)
    return next((one for one in larger if one >= terms.step * force - 1e-9), larger[-1] if larger else None)
