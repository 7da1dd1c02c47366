"""What was seen of a block of resources in one window: the parts that figures are made of. Pure.

A window is seen through exact samples (`Exact`) or through daily rollups (`Daily`). Both say the same in the same words:
the states of slots, and of each metric a column that knows how many samples it has, their mean, quantiles, maximum. A figure
is an expression over these, and does not ask which of the two it was given. What one of them can't tell is NaN, of no sample.
r = resources, n = slots, d = days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metering import quantiles
from providers.metrics import FROZEN, LIVE, MISSING, OFF, Array, reported

QUANTILES = (0.50, 0.95, 0.99)


def share(part: Array, whole: Array) -> Array:
    """part / whole, NaN where there is nothing to be a part of."""
    ratio: Array = np.full(np.shape(part), np.nan)
    return np.divide(part, whole, out=ratio, where=np.asarray(whole) > 0)


def demanded(cpu: NDArray[np.uint16], steal: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """What machines wanted of their CPUs, hundredths of a per cent: what they used, and what was wanted and not given.
    A machine that gets half of what it asks for is not half idle."""
    both = (cpu != MISSING) & (steal != MISSING) & (steal > 0)
    if not both.any():
        return cpu
    total = np.minimum(cpu.astype(np.uint32) + steal, MISSING - 1)
    return np.where(both, total, cpu).astype(np.uint16)


def both_ways(rx: NDArray[np.float32], tx: NDArray[np.float32]) -> NDArray[np.float32]:
    """Traffic both ways; unknown only where neither way is known."""
    known = np.isfinite(rx) | np.isfinite(tx)
    return np.where(known, np.nan_to_num(rx) + np.nan_to_num(tx), np.nan).astype(np.float32)


DEMAND, TRAFFIC = "demand_pct", "traffic_kbps"


@dataclass(frozen=True, slots=True)
class Derived:
    """A column that is made of two others, either of which may be missing as a whole (None)."""

    of: tuple[str, str]
    make: Callable[[Array | None, Array | None], Array | None]


def _demand(cpu: Array | None, steal: Array | None) -> Array | None:
    return cpu if cpu is None or steal is None else demanded(cpu, steal)


def _traffic(rx: Array | None, tx: Array | None) -> Array | None:
    return (tx if rx is None else rx) if rx is None or tx is None else both_ways(rx, tx)


DERIVED: Mapping[str, Derived] = {
    DEMAND: Derived(("cpu_pct", "steal_pct"), _demand),
    TRAFFIC: Derived(("net_rx_kbps", "net_tx_kbps"), _traffic),
}


class MetricColumn(Protocol):
    """One metric of r resources in a window, in its unit (per cent for percentages); NaN = not known."""

    @property
    def n(self) -> Array:
        """Samples that tell it."""

    @property
    def mean(self) -> Array: ...

    @property
    def max(self) -> Array: ...

    @property
    def last(self) -> Array:
        """The latest value in the window."""

    @property
    def daily_last(self) -> Array:
        """[r, d]: the latest value of each day."""

    @property
    def daily_peak(self) -> Array:
        """Mean of the daily maxima (均峰值)."""

    @property
    def hot(self) -> Array:
        """bool [r, d]: the days at or above the policy's hot level for the policy's minutes. Of percentages."""

    def quantile(self, q: float) -> Array:
        """One of QUANTILES. Of percentages."""

    def at_least(self, level: float) -> Array:
        """The share of its samples at or above a level."""


class SeenWindow(Protocol):
    """One window of r resources.

    wanted: all slots of the window; expected: those between the first and the last due; live, off, frozen: slots by
    state; observed_days: days with a live one.
    """

    wanted: int
    expected: Array
    live: Array
    off: Array
    frozen: Array
    observed_days: Array

    def column(self, name: str) -> MetricColumn:
        """A metric of the lake by its name, or DEMAND, TRAFFIC."""

    @property
    def line(self) -> tuple[Array, Array]:
        """Mean and mean daily maximum of the traffic, % of what was bought; NaN = nothing bought, or nothing known."""

    def given(self) -> tuple[Array, SeenWindow] | None:
        """Indices of those from whom CPU time was kept, and the same window of them alone, in which demand is what they got;
        None = nobody is known to be."""


class Silent:
    """A column of which nothing is known."""

    def __init__(self, r: int, days: int) -> None:
        self.n: Array = np.zeros(r)
        self.mean = self.max = self.last = self.daily_peak = np.full(r, np.nan)
        self.hot: Array = np.zeros((r, days), bool)
        self.daily_last: Array = np.full((r, days), np.nan)

    def quantile(self, q: float) -> Array:  # noqa: ARG002 - as every column says it
        return np.full(len(self.n), np.nan)

    def at_least(self, level: float) -> Array:  # noqa: ARG002 - as every column says it
        return np.full(len(self.n), np.nan)


@dataclass(frozen=True, slots=True)
class Hot:
    """From which level (per cent) on, and for how many minutes of a day, a day is hot."""

    level: float
    minutes: float


@dataclass(frozen=True)
class SampleBlock:
    """Exact samples of a block: columns [r, n] by metric, as the lake has them; state: uint8 [r, n]; bought: float [r],
    the bandwidth of a line in kbit/s, NaN = none."""

    columns: Mapping[str, Array]
    state: Array
    bought: Array

    @cached_property
    def _derived(self) -> dict[str, Array | None]:
        return {name: how.make(*(self.columns.get(each) for each in how.of)) for name, how in DERIVED.items()}

    def values(self, name: str) -> Array | None:
        """A column of the lake or of DERIVED, None where nothing came of it."""
        return self._derived[name] if name in DERIVED else self.columns.get(name)


class ExactColumn:
    """A column from exact samples: values [r, n], of which those in live slots count."""

    def __init__(self, values: Array, live: Array, slots: int, hot: Hot) -> None:
        self.values, self._slots, self._hot = values, slots, hot
        self.scale = 1.0 if values.dtype.kind == "f" else 100.0
        self.valid: Array = live & reported(values)
        self._by_day = (-1, values.shape[1] // slots, slots)

    @cached_property
    def n(self) -> Array:
        return np.asarray(self.valid.sum(axis=1))

    @cached_property
    def kept(self) -> Array:
        """The values that count, elsewhere 0."""
        return np.where(self.valid, self.values, 0)

    @cached_property
    def mean(self) -> Array:
        exact = np.float64 if self.scale == 1.0 else np.int64
        return share(self.kept.sum(axis=1, dtype=exact), self.n * self.scale)

    @cached_property
    def peaks(self) -> Array:
        """Maxima of the days [r, d], in the values' own scale."""
        return np.asarray(self.kept.reshape(self._by_day).max(axis=2))

    @cached_property
    def max(self) -> Array:
        return np.where(self.n > 0, self.peaks.max(axis=1) / self.scale, np.nan)

    @cached_property
    def last(self) -> Array:
        at = self.values.shape[1] - 1 - np.argmax(self.valid[:, ::-1], axis=1)
        found = self.values[np.arange(len(self.values)), at] / self.scale
        return np.where(self.valid.any(axis=1), found, np.nan)

    @cached_property
    def daily_last(self) -> Array:
        there = self.valid.reshape(self._by_day)
        at = self._slots - 1 - np.argmax(there[:, :, ::-1], axis=2)
        found = np.take_along_axis(self.values.reshape(self._by_day), at[:, :, None], axis=2)[:, :, 0] / self.scale
        return np.where(there.any(axis=2), found, np.nan)

    @cached_property
    def daily_peak(self) -> Array:
        known = self.valid.reshape(self._by_day).any(axis=2).sum(axis=1)
        exact = np.float64 if self.scale == 1.0 else np.int64
        return share(self.peaks.sum(axis=1, dtype=exact), known * self.scale)

    @cached_property
    def hot(self) -> Array:
        above = self.kept >= round(self._hot.level * self.scale)
        slots = above.reshape(self._by_day).sum(axis=2)
        return np.asarray(slots * (1440 / self._slots) >= self._hot.minutes)

    @cached_property
    def _quantiles(self) -> Array:
        return np.asarray(quantiles.exact(self.values, QUANTILES, self.valid))

    def quantile(self, q: float) -> Array:
        return self._quantiles[:, QUANTILES.index(q)]

    def at_least(self, level: float) -> Array:
        return share((self.kept >= level * self.scale).sum(axis=1), self.n)


class Exact:
    """The last `span` slots of a block; wanted: the slots of the window, which may reach back beyond the block."""

    def __init__(
        self, block: SampleBlock, span: int, *, wanted: int, expected: Array, frozen_is_live: bool, slots: int, hot: Hot
    ) -> None:
        self._block, self._slots, self._hot = block, slots, hot
        n = block.state.shape[1]
        self._last = slice(n - span, n)
        state = block.state[:, self._last]
        self.wanted, self.expected = wanted, expected
        self._live: Array = (state == LIVE) | (frozen_is_live & (state == FROZEN))
        self.live: Array = self._live.sum(axis=1)
        self.off: Array = (state == OFF).sum(axis=1)
        self.frozen: Array = (state == FROZEN).sum(axis=1)
        self.observed_days: Array = self._live.reshape(-1, span // slots, slots).any(axis=2).sum(axis=1)
        self._columns: dict[str, MetricColumn] = {}

    def blind(self) -> Exact:
        """The same window, of whose columns nothing came."""
        other = copy(self)
        other._block, other._columns = replace(self._block, columns={}), {}
        other.__dict__.pop("_given", None)
        return other

    def given(self) -> tuple[Array, SeenWindow] | None:
        return self._given

    @cached_property
    def _given(self) -> tuple[Array, SeenWindow] | None:
        cpu, steal = (self._block.values(name) for name in DERIVED[DEMAND].of)
        if cpu is None or steal is None:
            return None
        kept = (steal[:, self._last] > 0) & (steal[:, self._last] != MISSING)
        if not kept.any():
            return None
        rows = np.flatnonzero((kept & self._live & (cpu[:, self._last] != MISSING)).any(axis=1))
        if not len(rows):
            return None
        block = self._block
        columns = {name: values[rows] for name, values in block.columns.items() if name != "steal_pct"}
        other = copy(self)
        other.__dict__.pop("line", None)
        other._block, other._columns = SampleBlock(columns, block.state[rows], block.bought[rows]), {}
        other._live, other.expected = self._live[rows], self.expected[rows]
        for name in ("live", "off", "frozen", "observed_days"):
            setattr(other, name, getattr(self, name)[rows])
        return rows, other

    def column(self, name: str) -> MetricColumn:
        if name not in self._columns:
            values = self._block.values(name)
            if values is None:
                self._columns[name] = Silent(len(self.live), self._live.shape[1] // self._slots)
            else:
                self._columns[name] = ExactColumn(values[:, self._last], self._live, self._slots, self._hot)
        return self._columns[name]

    @cached_property
    def line(self) -> tuple[Array, Array]:
        bought = self._block.bought
        mean, peak = np.full(len(bought), np.nan), np.full(len(bought), np.nan)
        rows = np.flatnonzero(bought > 0)
        traffic = self._block.values(TRAFFIC)
        if traffic is None or not len(rows):
            return mean, peak
        values = traffic[rows, self._last]
        known = self._live[rows] & np.isfinite(values)
        percent = np.where(known, values, 0).astype(np.float64) * 100.0 / bought[rows, None]
        daily = known.reshape(len(rows), -1, self._slots).any(axis=2)
        tops = percent.reshape(len(rows), -1, self._slots).max(axis=2)
        mean[rows] = share(percent.sum(axis=1), known.sum(axis=1))
        peak[rows] = share(tops.sum(axis=1), daily.sum(axis=1))
        return mean, peak


@dataclass(frozen=True)
class DailyUse:
    """One metric by resource and day, as the lake rolls it up; all [r, d] in the metric's unit, None = not rolled up.

    n: samples; total, peak: their sum and maximum, 0 where there was none; counts: [r, d, bins] in half-point bins, the
    last open (of percentages); last: the day's latest value, NaN = none. Where counts are given n follows from them.
    """

    counts: Array | None = None
    total: Array | None = None
    peak: Array | None = None
    n: Array | None = None
    last: Array | None = None


class DailyColumn:
    """A column from daily rollups, of the days of a window."""

    def __init__(self, use: DailyUse, last: slice, shape: tuple[int, int], slots: int, hot: Hot) -> None:
        self._nan: Array = np.full(shape[0], np.nan)
        self._cold: Array = np.zeros(shape, bool)
        self._counts, self._total, self._peak, given, self._last = (
            None if each is None else each[:, last] for each in (use.counts, use.total, use.peak, use.n, use.last)
        )
        self._slots, self._hot = slots, hot
        if self._counts is not None:
            self._by_day: Array = self._counts.sum(axis=2, dtype=np.int64)
        else:
            self._by_day = np.zeros(shape) if given is None else given
        self.n: Array = self._by_day.sum(axis=1)

    @cached_property
    def mean(self) -> Array:
        return self._nan if self._total is None else share(self._total.sum(axis=1), self.n)

    @cached_property
    def _top(self) -> Array:
        return self._nan if self._peak is None else self._peak.max(axis=1)

    @cached_property
    def max(self) -> Array:
        return np.where(self.n > 0, self._top, np.nan)

    @cached_property
    def last(self) -> Array:
        if self._last is None:
            return self._nan
        known = np.isfinite(self._last)
        at = known.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
        return np.where(known.any(axis=1), self._last[np.arange(len(known)), at], np.nan)

    @cached_property
    def daily_last(self) -> Array:
        return np.full(self._by_day.shape, np.nan) if self._last is None else self._last

    @cached_property
    def daily_peak(self) -> Array:
        if self._peak is None:
            return self._nan
        known = self._by_day > 0
        return share(np.where(known, self._peak, 0.0).sum(axis=1), known.sum(axis=1))

    @cached_property
    def hot(self) -> Array:
        if self._counts is None:
            return self._cold
        slots = self._counts[:, :, round(self._hot.level * 2) :].sum(axis=2)
        return np.asarray(slots >= self._hot.minutes * self._slots / 1440)

    @cached_property
    def _quantiles(self) -> Array:
        if self._counts is None:
            return np.repeat(self._nan[:, None], len(QUANTILES), axis=1)
        whole = self._counts.sum(axis=1, dtype=np.int64)
        return np.asarray(quantiles.from_histogram(whole, QUANTILES, self._top))

    def quantile(self, q: float) -> Array:
        return self._quantiles[:, QUANTILES.index(q)]

    def at_least(self, level: float) -> Array:
        if self._counts is None:
            return self._nan
        return share(self._counts[:, :, round(level * 2) :].sum(axis=(1, 2)), self.n)


@dataclass(frozen=True)
class Rollups:
    """Daily rollups of a block by metric, and slots by state: live, off, frozen, due, int [r, d]."""

    uses: Mapping[str, DailyUse]
    live: Array
    off: Array
    frozen: Array
    due: Array


class Daily:
    """The last `span` days of rollups. CPU is what was used, and of a line nothing is known: both hang on two metrics at
    the same instant."""

    def __init__(self, rollups: Rollups, span: int, *, wanted: int, slots: int, hot: Hot) -> None:
        self._rollups, self._slots, self._hot = rollups, slots, hot
        d = rollups.live.shape[1]
        self._days = slice(d - span, d)
        live = rollups.live[:, self._days]
        self.wanted = wanted
        self.expected: Array = rollups.due[:, self._days].sum(axis=1)
        self.live: Array = live.sum(axis=1)
        self.off: Array = rollups.off[:, self._days].sum(axis=1)
        self.frozen: Array = rollups.frozen[:, self._days].sum(axis=1)
        self.observed_days: Array = (live > 0).sum(axis=1)
        self._shape: tuple[int, int] = live.shape
        self._columns: dict[str, MetricColumn] = {}

    def column(self, name: str) -> MetricColumn:
        if name not in self._columns:
            use = self._rollups.uses.get({DEMAND: "cpu_pct"}.get(name, name))
            made: MetricColumn = Silent(*self._shape)
            if use is not None:
                made = DailyColumn(use, self._days, self._shape, self._slots, self._hot)
            self._columns[name] = made
        return self._columns[name]

    def given(self) -> tuple[Array, SeenWindow] | None:
        return None

    @property
    def line(self) -> tuple[Array, Array]:
        unknown = np.full(self._shape[0], np.nan)
        return unknown, unknown
