"""What a sizing policy would have done to one's own past: sizes in force from what was known then, judged on
the second half of every machine's samples. Pure.

A *violation* is a sample whose demand (cores x CPU) is above the size in force; *saved* is 1 - sum of sizes /
sum of provisioned sizes over the judged samples, expansions counted against; *unserved* is demand above the
size / demand. r = machines, d = days of 24 h.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from metering.quantiles import from_histogram
from metering.series import MachineSeries
from metering.sizing.expansion import GrownDay, Growth, Pace, within
from metering.sizing.methods import grows, sizing
from metering.sizing.outcomes import SizingResult, Trail, join
from metering.sizing.rightsizing import (
    BINS,
    PROFILES,
    SPEEDS,
    Fast,
    Profile,
    Tide,
    newborn,
    night,
    profile,
    rebin,
    rescale,
    tidal,
)
from providers.metrics import SLOTS, STEP_S, Array

SHORTEST = 2 * SLOTS  # machines with fewer samples are not judged
CELLS = 2_000_000  # machines x slots handled at once: some 100 MB
WIDE = 4  # so many times as many where sizes may grow within the day: each slot is a step there
TOGETHER = 20  # policies that grow within the day walked at once, and so many times fewer steps
POINTS = 10_000.0  # hundredths of a per cent in one
NAMES = (
    "p95x1.15",
    "p99x1.15",
    "peakx1.15",
    "vpa-p90-daily",
    "vpa-p95-daily",
    "peak14x1.15-daily",
    *PROFILES,
)


@dataclass(frozen=True)
class MachineDays:
    """A block of machines laid out by days of 24 h.

    demand, provisioned: float64 [r, d, 288] in cores, NaN and 0 where there is no sample; judged: bool [r, d,
    288], the samples of the second half; known: bool, all samples.
    """

    demand: Array
    provisioned: Array
    judged: Array

    @property
    def known(self) -> Array:
        known: Array = np.greater(self.provisioned, 0)
        return known

    @cached_property
    def peak(self) -> Array:
        """Largest demand of each day [r, d], 0 where there was no sample."""
        peak: Array = np.nan_to_num(self.demand).max(axis=2)
        return peak

    @cached_property
    def seen(self) -> Array:
        """bool [r, d]: days with samples."""
        return np.asarray(self.known.any(axis=2))

    @cached_property
    def present(self) -> Array:
        """Provisioned cores at the end of each day [r, d]; through gaps the last known, before the first the
        first."""
        last = SLOTS - 1 - np.argmax(self.known[:, :, ::-1], axis=2)
        cores: Array = np.take_along_axis(self.provisioned, last[:, :, None], axis=2)[:, :, 0]
        column = np.where(cores > 0, np.arange(cores.shape[1]), -1)
        held = np.maximum.accumulate(column, axis=1)
        first = np.argmax(cores > 0, axis=1)[:, None]
        return np.asarray(np.take_along_axis(cores, np.where(held >= 0, held, first), axis=1))

    @cached_property
    def before(self) -> Array:
        """Provisioned cores as known when each day begins [r, d]: those at the end of the day before."""
        return np.concatenate([self.present[:, :1], self.present[:, :-1]], axis=1)

    @cached_property
    def histograms(self) -> Array:
        """[d, r, 201]: each day's samples in half-point bins of the cores at the day's end."""
        r, d = self.seen.shape
        found = np.zeros((d, r, BINS), np.uint16)
        for day in range(d):
            found[day] = histogram(self.demand[:, day], self.present[:, day])
        return found

    def told(self, day: int, size: Array, grown: GrownDay | None, capped: bool) -> tuple[Array, Array]:
        """What is seen of a day: its samples by bin [r, 201] and the largest [r]; capped: no more than what was in force, which was `size` [r]
        but of those that had grown."""
        counts, peak = self.histograms[day], self.peak[:, day]
        if not capped:
            return counts, peak
        above = peak > size
        if grown is not None:
            above[grown.rows] = True
        rows = np.flatnonzero(above)
        if not len(rows):
            return counts, peak
        seen = np.minimum(self.demand[rows, day], size[rows, None])  # NaN stays
        if grown is not None:
            seen[np.searchsorted(rows, grown.rows)] = np.minimum(self.demand[grown.rows, day], grown.force)
        counts, peak = counts.copy(), peak.copy()
        counts[rows], peak[rows] = histogram(seen, self.present[rows, day]), np.fmax.reduce(seen, axis=1, initial=0.0)
        return counts, peak

    @cached_property
    def half(self) -> JudgedHalf:
        """What of the judged half is the same for every policy."""
        return JudgedHalf.of(self)


def histogram(demand: Array, cores: Array) -> Array:
    """[r, 201]: samples [r, n], NaN = none, in half-point bins of `cores` [r]."""
    r = len(demand)
    points = np.fmax(demand, 0.0)
    points /= cores[:, None]
    points *= 100
    points *= 2
    points += 1e-6  # what lies on an edge belongs to the bin above it, whatever the division made of it
    cell = np.minimum(points, BINS - 1, out=points).astype(np.int64)
    cell[np.isnan(demand)] = BINS
    cell += np.arange(r)[:, None] * (BINS + 1)
    return np.bincount(cell.ravel(), minlength=r * (BINS + 1)).reshape(r, BINS + 1)[:, :BINS]


def calendar(series: MachineSeries, utc_offset_s: int = 28800) -> tuple[Array, MachineDays]:
    """Laid out by local day, as rollups are; with the slot [r] at which each machine's first day begins."""
    offset = utc_offset_s // STEP_S
    first = np.full(len(series), (series.slot.min() + offset) // SLOTS * SLOTS - offset)
    return first, _lay(series, first)


def from_half(series: MachineSeries) -> tuple[Array, MachineDays]:
    """Laid out so that each machine's judged half begins with a day: how the reference recomputes, every 24
    h."""
    n = np.diff(series.starts)
    middle = series.slot[series.starts[:-1] + n // 2]
    before = -((series.slot[series.starts[:-1]] - middle) // SLOTS)
    first = middle - before.max() * SLOTS
    return first, _lay(series, first)


def _lay(series: MachineSeries, first: Array) -> MachineDays:
    r, n, begins = len(series), np.diff(series.starts), series.starts[:-1]
    days = int((series.slot[series.starts[1:] - 1] - first).max()) // SLOTS + 1
    width = days * SLOTS
    cell = series.slot + np.repeat(np.arange(r) * width - first, n)

    def dense(values: Array, nothing: float) -> Array:
        cells = np.full(r * width, nothing)
        cells[cell] = values
        return cells.reshape(r, days, SLOTS)

    demand = series.cpu * series.cores
    demand /= POINTS
    provisioned = dense(series.cores, 0.0)
    half = np.arange(width) >= (series.slot[begins + n // 2] - first)[:, None]
    return MachineDays(dense(demand, np.nan), provisioned, (provisioned > 0) & half.reshape(r, days, SLOTS))


# ---------------------------------------------------------------- policies


@dataclass(frozen=True)
class Sizes:
    """Sizes in force in cores: by_day [r, d]; where they move within days by what is `planned` for each slot [r, d, 288], and by what was
    `grown` above that day by day (then by_day is the size underneath)."""

    by_day: Array
    planned: Array | None = None
    grown: Sequence[GrownDay] = ()

    @property
    def by_slot(self) -> Array | None:
        """[r, d, 288]; None where sizes are the same all day."""
        if self.planned is None and not self.grown:
            return None
        under = self.by_day[:, :, None] if self.planned is None else self.planned
        force = np.array(np.broadcast_to(under, (*self.by_day.shape, SLOTS)))
        for day, grown in enumerate(self.grown):
            force[grown.rows, day] = grown.force
        return force

    @property
    def began(self) -> Array:
        """bool [r, d]: days in which growth began."""
        found = np.zeros(self.by_day.shape, bool)
        for day, grown in enumerate(self.grown):
            found[grown.rows, day] = grown.began
        return found


@dataclass(frozen=True, slots=True)
class AskedDay:
    """What a policy that grows within the day wants to know of a day: by `fast` above `under` ([r] or [r, 288]), with the most seen of the
    days before, reach [r]. The answer is what grew."""

    fast: Fast
    under: Array
    reach: Array


Walk = Generator[AskedDay, GrownDay, Sizes]
"""A policy at work, day by day: it asks for each day's growth, and ends with its sizes. So several can be walked together."""


@dataclass(frozen=True)
class SizingPolicy:
    """A named way to size: `size` gives the sizes in force, each day's from what came before it, out of
    catalogue sizes in cores if given, with demand seen in full or (seen) no further than the size in force; where it may grow
    within the day, by a walk. local: it works by local days, else by days from the start of the judged half on."""

    name: str
    size: Callable[[MachineDays, Array | None, bool], Sizes | Walk]
    local: bool = False
    capped: bool = False

    def sizes(self, days: MachineDays, shapes: Array | None) -> Sizes:
        """The sizes in force over these days."""
        return next(sizes for _, sizes in together([self], days, shapes))


def together(
    policies: Sequence[SizingPolicy], days: MachineDays, shapes: Array | None
) -> Iterator[tuple[SizingPolicy, Sizes]]:
    """Each policy with its sizes over these days; those that grow within the day side by side, `TOGETHER` at a time: what is
    decided is the same, as no machine of one looks at another's."""
    walking: list[tuple[SizingPolicy, Walk, AskedDay]] = []
    for each in policies:
        made = each.size(days, shapes, each.capped)
        if not isinstance(made, Sizes):
            try:
                walking.append((each, made, next(made)))
            except StopIteration as end:
                made = end.value
            else:
                if len(walking) == TOGETHER:
                    yield from _walked(walking, days, shapes)
                    walking = []
                continue
        yield each, made
    if walking:
        yield from _walked(walking, days, shapes)


def _walked(
    walking: Sequence[tuple[SizingPolicy, Walk, AskedDay]], days: MachineDays, shapes: Array | None
) -> Iterator[tuple[SizingPolicy, Sizes]]:
    r, d = days.seen.shape
    offered = None if shapes is None else np.asarray(shapes, np.float64)
    paced: dict[tuple[int, int], list[int]] = {}
    for i, (_, _, asked) in enumerate(walking):
        paced.setdefault((asked.fast.check_slots, asked.under.ndim), []).append(i)
    asks = [asked for _, _, asked in walking]
    found: dict[int, Sizes] = {}
    for members in paced.values():
        n = len(members)
        growth, pace = Growth.none(n * r), Pace.of([(asks[i].fast, r) for i in members])
        for day in range(d):
            before = days.before[:, day]
            under = np.concatenate([asks[i].under for i in members])
            # On catalogue shapes machines are only ever shrunk: no growth goes beyond what was provisioned.
            most = under if under.ndim == 1 else under.max(axis=1)
            limit = None if offered is None else np.maximum(np.tile(before, n), most)
            reach = np.concatenate([asks[i].reach for i in members])
            grown = within(growth, days.demand[:, day], under, before, reach, day * SLOTS, pace, offered, limit)
            cuts = np.searchsorted(grown.rows, np.arange(n + 1) * r)
            for k, i in enumerate(members):
                part = slice(cuts[k], cuts[k + 1])
                force = np.ascontiguousarray(grown.force[part])
                try:
                    asks[i] = walking[i][1].send(GrownDay(grown.rows[part] - k * r, force, grown.began[part]))
                except StopIteration as end:
                    found[i] = end.value
    for i, (each, _, _) in enumerate(walking):
        yield each, found.pop(i)


def policy(name: str) -> SizingPolicy:
    """A policy by its name: as-is, oracle, or a sizing as `metering.sizing.methods` writes it; with "!", as it is carried out:
    whoever carries it out sees a machine's use only up to the size in force. Raises ValueError for any other name."""
    if name.endswith("!"):
        return carrying(policy(name[:-1]))
    if name == "as-is":
        return SizingPolicy(name, lambda days, _shapes, _capped: Sizes(days.present, days.provisioned))
    if name == "oracle":
        return SizingPolicy(name, lambda days, shapes, _capped: Sizes(_snap(days.peak, days.before, shapes)))
    if settings := profile(name):
        return steward(settings)
    if found := re.fullmatch(r"(?:p(\d+(?:\.\d+)?)|peak)x(\d+(?:\.\d+)?)", name):
        quantile, margin = float(found[1] or 100) / 100, float(found[2])
        if quantile <= 1 and margin > 0:
            return SizingPolicy(name, lambda days, shapes, capped: _fixed(days, quantile, margin, shapes, capped))
    if found := re.fullmatch(r"p(\d+(?:\.\d+)?)@(\d+(?:\.\d+)?)(?:\+([a-z]+))?", name):
        q, ceiling = float(found[1]) / 100, float(found[2]) / 100
        if q <= 1 and 0 < ceiling <= 1 and (not found[3] or grows("p95@70", found[3])):
            fast = SPEEDS[found[3]][0] if found[3] else None
            return SizingPolicy(
                name, lambda days, shapes, capped: _fit(days, q, ceiling, shapes, fast, capped=capped), local=True
            )
    if found := re.fullmatch(r"vpa-p(\d+(?:\.\d+)?)(?:x(\d+(?:\.\d+)?))?-daily", name):
        q, more = float(found[1]) / 100, float(found[2] or 1.15)
        if 0 < q <= 1 and more > 0:
            return SizingPolicy(name, lambda days, shapes, capped: _vpa(days, q, shapes, margin=more, capped=capped))
    if found := re.fullmatch(r"peak(\d+)x(\d+(?:\.\d+)?)-daily", name):
        span, times = int(found[1]), float(found[2])
        if span and times > 0:
            return SizingPolicy(name, lambda days, shapes, capped: _rolling(days, span, times, shapes, capped))
    raise ValueError(f"no sizing policy {name!r}; there are {', '.join(('as-is', 'oracle', *NAMES))}")


def steward(profile: Profile) -> SizingPolicy:
    """The cost quantile with these settings, decided at each local midnight."""
    return SizingPolicy(profile.name, lambda days, shapes, capped: _cost(days, profile, shapes, capped), local=True)


def carrying(policy: SizingPolicy) -> SizingPolicy:
    """The same as it is carried out, by night and within the day: it sees min(demand, size in force) and nothing else. Named ``…!``.
    A size for every stretch of the day is not carried out: of such a policy the steady size is."""
    settings = profile(policy.name)
    if settings is not None and settings.tide is not None:
        policy = replace(steward(replace(settings, fast=None, tide=None)), name=policy.name)
    return replace(policy, name=f"{policy.name}!", capped=True)


def carried_out(name: str) -> str:
    """What is carried out of a sizing that grows within the day, by its name: the same with "!"; of one that goes by the tide
    its steady size; any other as it is. Raises ValueError for a name that is none."""
    if (settings := profile(name)) and settings.tide:
        return sizing(name).steady.name
    grows_too = settings.fast if settings else "+" in name and sizing(name).fast
    return f"{name}!" if grows_too else name


def _snap(size: Array, present: Array, shapes: Array | None) -> Array:
    """The smallest offered size that is enough and not above the present one; else the present one. cores."""
    if shapes is None:
        return size
    offered = np.sort(shapes)
    at = np.searchsorted(offered, size - 1e-9)
    snapped = np.where(at < len(offered), offered[np.minimum(at, len(offered) - 1)], np.inf)
    return np.minimum(snapped, present)


def _fixed(days: MachineDays, quantile: float, margin: float, shapes: Array | None, capped: bool) -> Sizes:
    fit = days.known & ~days.judged
    demand = (
        np.minimum(days.demand, days.provisioned) if capped else days.demand
    )  # what was provisioned is in force until then
    size = np.array([np.quantile(demand[i][fit[i]], quantile) * margin for i in range(len(fit))])
    return Sizes(_snap(np.repeat(size[:, None], days.seen.shape[1], axis=1), days.before, shapes))


def _vpa(
    days: MachineDays,
    quantile: float,
    shapes: Array | None,
    first: float = 0.01,
    growth: float = 1.05,
    margin: float = 1.15,
    capped: bool = False,
) -> Sizes:
    """Kubernetes' vertical autoscaler: buckets from 0.01 cores growing by 5 %, half-life 24 h, the upper
    bound of the bucket that holds the quantile, + 15 %."""
    r, d = days.seen.shape

    def bucket(demand: Array) -> Array:
        return np.asarray(np.floor(np.log1p(np.nan_to_num(demand) * (growth - 1) / first) / np.log(growth)), np.int32)

    width = int(bucket(days.peak).max()) + 1
    ends = first * (growth ** np.arange(1, width + 1) - 1) / (growth - 1)
    weight = 0.5 ** ((SLOTS - np.arange(SLOTS)) / SLOTS)
    heap = np.zeros((r, width))
    size = np.zeros((r, d))
    row = np.arange(r)[:, None] * width
    for day in range(d):
        total = heap.sum(axis=1, keepdims=True)
        at = np.argmax(np.cumsum(heap, axis=1) >= quantile * total, axis=1)
        wanted = np.where(total[:, 0] > 0, margin * ends[at], days.before[:, day])
        size[:, day] = _snap(wanted, days.before[:, day], shapes)
        demand = days.demand[:, day]
        if capped:
            demand = np.minimum(demand, size[:, day, None])  # NaN stays
        into = bucket(demand) + row
        new = np.bincount(into.ravel(), ((days.provisioned[:, day] > 0) * weight).ravel(), r * width)
        heap = heap * 0.5 + new.reshape(r, width)
    return Sizes(size)


def _rolling(days: MachineDays, span: int, margin: float, shapes: Array | None, capped: bool) -> Sizes:
    """The maximum of the last `span` days; after a longer gap, of all that came before it."""
    r, d = days.seen.shape
    size, peak = np.zeros((r, d)), np.zeros((r, d))
    ever = np.zeros(r)
    for day in range(d):
        window = slice(max(0, day - span), day)
        if day:
            ever = np.maximum(ever, peak[:, day - 1])
            recent_peak = np.where(days.seen[:, window].any(axis=1), peak[:, window].max(axis=1), ever)
            wanted = np.where(days.seen[:, :day].any(axis=1), recent_peak * margin, days.before[:, day])
        else:
            wanted = days.before[:, 0]
        size[:, day] = _snap(wanted, days.before[:, day], shapes)
        peak[:, day] = np.minimum(days.peak[:, day], size[:, day]) if capped else days.peak[:, day]
    return Sizes(size)


def _fit(
    days: MachineDays,
    quantile: float,
    ceiling: float,
    shapes: Array | None,
    fast: Fast | None = None,
    span: int = 30,
    settle: int = 7,
    capped: bool = False,
) -> Walk:
    """DOMAIN.md's default: the quantile of the last `span` observed days at `ceiling` of the size. It grows at
    once; it shrinks where that frees a tenth, from `settle` observed days on, if nothing changed for as long."""
    r, d = days.seen.shape
    size, peak = np.zeros((r, d)), np.zeros((r, d))
    now = days.before[:, 0].copy()
    kept, heap = np.zeros((span, r, BINS), np.int32), np.zeros((r, BINS), np.int64)
    observed, settled = np.zeros(r, np.int64), np.full(r, settle)
    grown = _Grown(days, fast)
    for day in range(d):
        if day:
            resized = days.present[:, day] != days.present[:, day - 1]
            for i in np.flatnonzero(resized):
                kept[:, i] = rebin(kept[:, i], days.present[i, day - 1] / days.present[i, day])
                heap[i] = kept[:, i].sum(axis=0)
        size[:, day] = now
        counts, peak[:, day] = yield from grown.day(day, now, capped)
        each = np.flatnonzero(days.seen[:, day])
        at = observed[each] % span, each
        heap[each] += counts[each] - kept[at]
        kept[at] = counts[each]
        observed[each] += 1
        window = slice(max(0, day - span + 1), day + 1)
        highest = (peak[:, window] / days.present[:, window]).max(axis=1) * 100
        top = from_histogram(heap, quantile, highest)
        want = np.nan_to_num(top[:, 0]) / 100 * days.present[:, day] / ceiling
        want = _snap(want, days.present[:, day], shapes)
        seen = days.seen[:, day]
        more = seen & (want > now + 1e-9) & (observed >= settle)
        shrinks = seen & (want < 0.9 * now) & (observed >= settle) & (settled >= settle)
        settled = np.where(more | shrinks, 1, settled + 1)
        now = np.where(more | shrinks, want, now)
    return Sizes(size, grown=grown.days_grown)


def _cost(days: MachineDays, profile: Profile, shapes: Array | None, capped: bool) -> Walk:
    r, d = days.seen.shape
    state = newborn(r, profile)
    size, present = np.zeros((r, d)), days.present
    grown = _Grown(days, profile.fast if profile.tide is None else None)
    for day in range(d):
        size[:, day] = state.size / 100 * days.before[:, day]
        counts, peak = yield from grown.day(day, size[:, day], capped)
        if day:
            state = rescale(state, present[:, day - 1] / present[:, day])
        offered = None if shapes is None else np.asarray(shapes)[None, :] / present[:, day, None] * 100
        state = night(state, counts, peak / present[:, day] * 100, profile, offered)
    if profile.tide is not None:
        return (yield from _by_the_tide(days, profile, size, shapes))
    return Sizes(size, grown=grown.days_grown)


def _by_the_tide(days: MachineDays, profile: Profile, size: Array, shapes: Array | None) -> Walk:
    """A size for every stretch of the day, and growth within the day above it. Demand is seen in full."""
    under = tidal(days.demand, size, days.before, profile.tide or Tide())
    if shapes is not None:
        under = _snap(under, days.before[:, :, None], np.asarray(shapes))
    grown = _Grown(days, profile.fast or Fast())
    for day in range(size.shape[1]):
        yield from grown.day(day, under[:, day], capped=False)
    return Sizes(under.max(axis=2), under, grown.days_grown)


class _Grown:
    """Growth within the day, day after day: what grew, and the largest use seen [r, d]. Without `fast` nothing grows."""

    def __init__(self, days: MachineDays, fast: Fast | None) -> None:
        self.days, self.fast = days, fast
        self.days_grown: list[GrownDay] = []
        self.peak = np.zeros(days.seen.shape)

    def day(self, day: int, under: Array, capped: bool) -> Generator[AskedDay, GrownDay, tuple[Array, Array]]:
        """What is seen of a day (`MachineDays.told`) above `under`."""
        grown = None
        if self.fast:
            reach = self.peak[:, max(0, day - self.fast.reach_days) : day].max(axis=1, initial=0.0)
            grown = yield AskedDay(self.fast, under, reach)
            self.days_grown.append(grown)
        counts, self.peak[:, day] = self.days.told(day, under, grown, capped)
        return counts, self.peak[:, day]


# ---------------------------------------------------------------- running


def run(
    series: MachineSeries,
    policies: Sequence[str | SizingPolicy | Profile],
    *,
    shapes: Sequence[float] | None = None,
    utc_offset_s: int = 28800,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, SizingResult]:
    """Policy name -> what it would have done. Machines with fewer than 576 samples are left out.

    shapes: catalogue sizes in cores; then machines are only ever shrunk onto one of them. progress is told
    steps done and steps in all. Raises ValueError for an unknown policy, or if no machine has enough samples.
    """
    chosen = _chosen(policies)
    steps = sum(len(list(_blocks(series, local))) * len(_of(chosen, local)) for local in (False, True))
    done = 0

    def told() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, steps)

    return _joined(_judged(series, chosen, shapes, utc_offset_s, told), chosen, f"{series.dataset}: ")


def run_parts(
    parts: Iterable[MachineSeries],
    policies: Sequence[str | SizingPolicy | Profile],
    *,
    shapes: Sequence[float] | None = None,
    utc_offset_s: int = 28800,
    progress: Callable[[int], None] | None = None,
) -> dict[str, SizingResult]:
    """As `run`, over histories that come part by part, each of other machines: a city's lake is never in memory as a
    whole. progress is told the machines done. Raises ValueError if no machine has enough samples."""
    chosen = _chosen(policies)
    done = 0

    def judged() -> Iterator[SizingResult]:
        nonlocal done
        for series in parts:
            yield from _judged(series, chosen, shapes, utc_offset_s, _quietly)
            done += len(series)
            if progress:
                progress(done)

    return _joined(judged(), chosen)


def _quietly() -> None:
    """Nobody is told."""


def _chosen(policies: Sequence[str | SizingPolicy | Profile]) -> list[SizingPolicy]:
    """Each once."""
    made = (
        each if isinstance(each, SizingPolicy) else steward(each) if isinstance(each, Profile) else policy(each)
        for each in policies
    )
    return list({each.name: each for each in made}.values())


def _joined(parts: Iterable[SizingResult], chosen: Sequence[SizingPolicy], what: str = "") -> dict[str, SizingResult]:
    found: dict[str, list[SizingResult]] = {}
    for part in parts:
        found.setdefault(part.policy, []).append(part)
    if not found:
        raise ValueError(f"{what}no machine has {SHORTEST} samples")
    return {each.name: join(found[each.name]) for each in chosen}


def _of(chosen: Sequence[SizingPolicy], local: bool) -> list[SizingPolicy]:
    return [each for each in chosen if each.local is local]


def _blocks(series: MachineSeries, local: bool) -> Iterator[Array]:
    """Machines with samples enough, as many at once as fit the memory that we allow ourselves."""
    eligible = np.flatnonzero(np.diff(series.starts) >= SHORTEST)
    if len(eligible):
        cells = CELLS * WIDE if local else CELLS
        step = max(1, cells // (int(series.slot.max() - series.slot.min()) + 2 * SLOTS))
        for low in range(0, len(eligible), step):
            yield eligible[low : low + step]


def _judged(
    series: MachineSeries,
    chosen: Sequence[SizingPolicy],
    shapes: Sequence[float] | None,
    utc_offset_s: int,
    told: Callable[[], None],
) -> Iterator[SizingResult]:
    """Each policy on each block of machines, those of one policy in the order of the machines."""
    offered = None if shapes is None else np.asarray(sorted(shapes), np.float64)
    for local in (False, True):
        mine = _of(chosen, local)
        for rows in _blocks(series, local) if mine else ():
            block = series.take(rows)
            first_slot, days = _days(block, local, utc_offset_s)
            for each, sizes in together(mine, days, offered):
                yield _judge(each.name, block, days, first_slot, sizes)
                told()


def _days(series: MachineSeries, local: bool, utc_offset_s: int) -> tuple[Array, MachineDays]:
    return calendar(series, utc_offset_s) if local else from_half(series)


@dataclass(frozen=True)
class JudgedHalf:
    """What of the judged half is the same for every policy. From the day `first` on: demand [r, d - first, 288], -inf where nothing is judged,
    and its largest of each day, peak; of all days, seen: bool [r, d], days with judged samples; sums over the samples [r]; top: the
    largest demand of each day for drawings. force, over: [r, d, 288], zeros, to reckon with."""

    first: int
    demand: Array
    peak: Array
    seen: Array
    samples: Array
    wanted: Array
    provisioned: Array
    top: Array
    force: Array
    over: Array

    @classmethod
    def of(cls, days: MachineDays) -> JudgedHalf:
        judged = days.judged
        seen = np.asarray(judged.any(axis=2))
        first = int(np.argmax(seen.any(axis=0)))
        demand = np.where(judged[:, first:], days.demand[:, first:], -np.inf)
        force, over = np.zeros(judged.shape), np.zeros(judged.shape)
        np.copyto(over, days.demand, where=judged)
        np.copyto(force, days.provisioned, where=judged)
        wanted, provisioned = over.sum(axis=(1, 2)), force.sum(axis=(1, 2))
        over[:] = 0.0
        return cls(
            first,
            demand,
            demand.max(axis=2),
            seen,
            judged.sum(axis=(1, 2)),
            wanted,
            provisioned,
            np.where(days.seen, days.peak, np.nan).astype(np.float32),
            force,
            over,
        )


def _judge(name: str, series: MachineSeries, days: MachineDays, first_slot: Array, sizes: Sizes) -> SizingResult:
    half, r = days.half, len(series)
    seen = half.seen
    force, top = _in_force(days, sizes)
    low = sizes.by_day if sizes.planned is None else sizes.planned.min(axis=2)
    # Nothing is above the size on other days than these.
    at, day = np.nonzero(half.peak > low[:, half.first :])
    here = (at, day + half.first)
    wanted = half.demand[at, day]
    over = np.maximum(wanted - force[here], 0.0)
    above = over > 0
    deepest = np.zeros(seen.shape)
    deepest[here] = over.max(axis=1, initial=0.0)
    half.over[here] = over
    unserved = half.over.sum(axis=(1, 2))
    half.over[here] = 0.0
    changed = np.zeros(seen.shape, bool)
    changed[:, 1:] = np.abs(np.diff(sizes.by_day, axis=1)) > 1e-9
    moved = changed if sizes.planned is None and not sizes.grown else _moved(days, sizes, force)
    last = seen.shape[1] - 1 - np.argmax(seen[:, ::-1], axis=1)
    begins = np.argmax(seen, axis=1)
    drawn = sizes.by_day.astype(np.float32)
    return SizingResult(
        policy=name,
        names=series.names,
        samples=half.samples,
        violations=_summed(at, above, r),
        caused=_summed(at, above & (wanted <= days.provisioned[here]), r),
        demand=half.wanted,
        unserved=unserved,
        size=force.sum(axis=(1, 2)),
        provisioned=half.provisioned,
        deepest=deepest.max(axis=1),
        changes=(changed & seen).sum(axis=1),
        expansions=(sizes.began & seen).sum(axis=1),
        moves=np.where(seen, moved, 0).sum(axis=1),
        days=seen.sum(axis=1),
        final=sizes.by_day[np.arange(r), last],
        trail=tuple(Trail(int(first_slot[i]), drawn[i], top[i], half.top[i], int(begins[i])) for i in range(r)),
    )


def _in_force(days: MachineDays, sizes: Sizes) -> tuple[Array, Array]:
    """Sizes in force where something is judged, else 0 [r, d, 288], good until the next are reckoned; the largest of each day [r, d]."""
    half = days.half
    force, judged = half.force[:, half.first :], days.judged[:, half.first :]
    under = sizes.by_day[:, :, None] if sizes.planned is None else sizes.planned
    np.copyto(force, under[:, half.first :], where=judged)
    top = (sizes.by_day if sizes.planned is None else sizes.planned.max(axis=2)).astype(np.float32)
    for day, grown in enumerate(sizes.grown):
        if len(grown.rows):
            top[grown.rows, day] = grown.force.max(axis=1)
            half.force[grown.rows, day] = np.where(days.judged[grown.rows, day], grown.force, 0.0)
    return half.force, top


def _moved(days: MachineDays, sizes: Sizes, force: Array) -> Array:
    """How often on each day the size in force was another than a slot before, both judged [r, d]; force: as `_in_force` has it."""
    judged = days.judged
    moved = np.zeros(sizes.by_day.shape, np.int64)
    between = np.abs(force[:, 1:, 0] - force[:, :-1, -1]) > 1e-9
    moved[:, 1:] = between & judged[:, 1:, 0] & judged[:, :-1, -1]
    every = np.arange(len(force))
    within_days = (
        enumerate(grown.rows for grown in sizes.grown)
        if sizes.planned is None
        else ((i, every) for i in range(force.shape[1]))
    )
    for day, rows in within_days:
        if day >= days.half.first and len(rows):
            steps = np.abs(np.diff(force[rows, day], axis=1)) > 1e-9
            known = judged[rows, day]
            moved[rows, day] += (steps & known[:, 1:] & known[:, :-1]).sum(axis=1)
    return moved


def _summed(at: Array, marks: Array, r: int) -> Array:
    """How many of the marks [k, 288] each of r machines has, row i being of machine ``at[i]``."""
    return np.bincount(at, marks.sum(axis=1), minlength=r).astype(np.int64)
