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
from metering.sizing.expansion import Growth, Pace, within
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
TOGETHER = 20  # policies that grow within the day walked at once: 16 MB each, and so many times fewer steps
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

    def histogram(self, day: int) -> Array:
        """[r, 201]: the day's samples in half-point bins of the cores at the day's end."""
        return histogram(self.demand[:, day], self.present[:, day])


def histogram(demand: Array, cores: Array) -> Array:
    """[r, 201]: samples [r, n], NaN = none, in half-point bins of `cores` [r]."""
    r = len(demand)
    points = np.nan_to_num(demand) / cores[:, None] * 100
    # A sample that lies on an edge belongs to the bin above it, whatever the division made of it.
    cell = np.minimum(np.floor(points * 2 + 1e-6), BINS - 1).astype(np.int64)
    cell = np.where(np.isfinite(demand), cell, BINS) + np.arange(r)[:, None] * (BINS + 1)
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
    n = np.diff(series.starts)
    column = series.slot - np.repeat(first, n)
    days = int(column.max()) // SLOTS + 1
    row = series.machine
    position = np.arange(len(row)) - np.repeat(series.starts[:-1], n)

    def dense(values: Array, nothing: float | bool) -> Array:
        matrix = np.full((len(series), days * SLOTS), nothing)
        matrix[row, column] = values
        return matrix.reshape(len(series), days, SLOTS)

    return MachineDays(
        dense(series.cpu * series.cores / POINTS, np.nan),
        dense(series.cores, 0.0),
        dense(position >= np.repeat(n // 2, n), False),
    )


# ---------------------------------------------------------------- policies


@dataclass(frozen=True)
class Sizes:
    """Sizes in force in cores: by_day [r, d], or by_slot [r, d, 288] where they move within days (then by_day
    is the size underneath); began: bool [r, d], days in which a fast expansion began."""

    by_day: Array
    by_slot: Array | None = None
    began: Array | None = None


@dataclass(frozen=True, slots=True)
class AskedDay:
    """What a policy that grows within the day wants to know of a day: by `fast` above `under` [r, 288], with the most seen of the days
    before, reach [r]. The answer is the size in force [r, 288] and who began to grow [r]."""

    fast: Fast
    under: Array
    reach: Array


Walk = Generator[AskedDay, tuple[Array, Array], Sizes]
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
    paced: dict[int, list[int]] = {}
    for i, (_, _, asked) in enumerate(walking):
        paced.setdefault(asked.fast.check_slots, []).append(i)
    asks = [asked for _, _, asked in walking]
    found: dict[int, Sizes] = {}
    for members in paced.values():
        n = len(members)
        growth, pace = Growth.none(n * r), Pace.of([(asks[i].fast, r) for i in members])
        for day in range(d):
            before = days.before[:, day]
            under = np.concatenate([asks[i].under for i in members])
            # On catalogue shapes machines are only ever shrunk: no growth goes beyond what was provisioned.
            limit = None if offered is None else np.maximum(np.tile(before, n), under.max(axis=1))
            force, began = within(
                growth,
                np.tile(days.demand[:, day], (n, 1)),
                under,
                np.tile(before, n),
                np.concatenate([asks[i].reach for i in members]),
                day * SLOTS,
                pace,
                offered,
                limit,
            )
            for k, i in enumerate(members):
                rows = slice(k * r, (k + 1) * r)
                try:
                    asks[i] = walking[i][1].send((force[rows], began[rows]))
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


def _seen(demand: Array, force: Array, capped: bool) -> Array:
    """What is seen of a day's demand [r, 288] under the size in force ([r] or [r, 288])."""
    if not capped:
        return demand
    seen: Array = np.minimum(demand, force if force.ndim == 2 else force[:, None])  # NaN stays
    return seen


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
        into = bucket(_seen(days.demand[:, day], size[:, day], capped)) + row
        new = np.bincount(into.ravel(), (days.known[:, day] * weight).ravel(), r * width)
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
    kept = np.zeros((span, r, BINS), np.int32)
    observed, settled = np.zeros(r, np.int64), np.full(r, settle)
    grown = _Grown(days, fast) if fast else None
    for day in range(d):
        if day:
            resized = days.present[:, day] != days.present[:, day - 1]
            for i in np.flatnonzero(resized):
                kept[:, i] = rebin(kept[:, i], days.present[i, day - 1] / days.present[i, day])
        size[:, day] = now
        force = now
        if grown:
            force = yield from grown.day(day, np.repeat(now[:, None], SLOTS, axis=1))
        demand = _seen(days.demand[:, day], force, capped)
        peak[:, day] = np.nan_to_num(demand).max(axis=1)
        if grown:
            grown.peak[:, day] = peak[:, day]
        each = np.flatnonzero(days.seen[:, day])
        kept[observed[each] % span, each] = histogram(demand, days.present[:, day])[each]
        observed[each] += 1
        heap = kept.sum(axis=0)
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
    return Sizes(size, grown.force, grown.began) if grown else Sizes(size)


def _cost(days: MachineDays, profile: Profile, shapes: Array | None, capped: bool) -> Walk:
    r, d = days.seen.shape
    state = newborn(r, profile)
    size, present = np.zeros((r, d)), days.present
    fast = profile.fast if profile.tide is None else None
    grown = _Grown(days, fast) if fast else None
    for day in range(d):
        size[:, day] = force = state.size / 100 * days.before[:, day]
        if grown:
            force = yield from grown.day(day, np.repeat(force[:, None], SLOTS, axis=1))
        demand = _seen(days.demand[:, day], force, capped)
        peak = np.nan_to_num(demand).max(axis=1)
        if grown:
            grown.peak[:, day] = peak
        if day:
            state = rescale(state, present[:, day - 1] / present[:, day])
        offered = None if shapes is None else np.asarray(shapes)[None, :] / present[:, day, None] * 100
        counts = histogram(demand, present[:, day])
        state = night(state, counts, peak / present[:, day] * 100, profile, offered)
    if profile.tide is not None:
        return (yield from _by_the_tide(days, profile, size, shapes))
    return Sizes(size, grown.force, grown.began) if grown else Sizes(size)


def _by_the_tide(days: MachineDays, profile: Profile, size: Array, shapes: Array | None) -> Walk:
    """A size for every stretch of the day, and growth within the day above it. Demand is seen in full."""
    under = tidal(days.demand, size, days.before, profile.tide or Tide())
    if shapes is not None:
        under = _snap(under, days.before[:, :, None], np.asarray(shapes))
    grown = _Grown(days, profile.fast or Fast())
    for day in range(size.shape[1]):
        yield from grown.day(day, under[:, day])
        grown.peak[:, day] = days.peak[:, day]
    return Sizes(under.max(axis=2), grown.force, grown.began)


class _Grown:
    """Growth within the day, day after day: what was in force by slot, where it began, and the largest use seen [r, d], which whoever
    walks the days enters after each."""

    def __init__(self, days: MachineDays, fast: Fast) -> None:
        self.fast = fast
        r, d = days.seen.shape
        self.force, self.began = np.zeros((r, d, SLOTS)), np.zeros((r, d), bool)
        self.peak = np.zeros((r, d))

    def day(self, day: int, under: Array) -> Generator[AskedDay, tuple[Array, Array], Array]:
        """The sizes in force of a day above `under`, both [r, 288]."""
        reach = self.peak[:, max(0, day - self.fast.reach_days) : day].max(axis=1, initial=0.0)
        self.force[:, day], self.began[:, day] = yield AskedDay(self.fast, under, reach)
        return np.asarray(self.force[:, day])


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
    chosen = [_chosen(each) for each in policies]
    blocks = list(_blocks(series))
    done = 0
    steps = len(blocks) * len(chosen)

    def told() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, steps)

    parts = [_block(series.take(rows), chosen, shapes, utc_offset_s, told) for rows in blocks]
    if not parts:
        raise ValueError(f"{series.dataset}: no machine has {SHORTEST} samples")
    return {each.name: join([part[each.name] for part in parts]) for each in chosen}


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
    chosen = [_chosen(each) for each in policies]
    found: list[dict[str, SizingResult]] = []
    done = 0
    for series in parts:
        found += [_block(series.take(rows), chosen, shapes, utc_offset_s, _quietly) for rows in _blocks(series)]
        done += len(series)
        if progress:
            progress(done)
    if not found:
        raise ValueError(f"no machine has {SHORTEST} samples")
    return {each.name: join([part[each.name] for part in found]) for each in chosen}


def _quietly() -> None:
    """Nobody is told."""


def _chosen(each: str | SizingPolicy | Profile) -> SizingPolicy:
    return each if isinstance(each, SizingPolicy) else steward(each) if isinstance(each, Profile) else policy(each)


def _blocks(series: MachineSeries) -> Iterator[Array]:
    """Machines with samples enough, as many at once as fit the memory that we allow ourselves."""
    eligible = np.flatnonzero(np.diff(series.starts) >= SHORTEST)
    if len(eligible):
        step = max(1, CELLS // (int(series.slot.max() - series.slot.min()) + 2 * SLOTS))
        for low in range(0, len(eligible), step):
            yield eligible[low : low + step]


def _block(
    series: MachineSeries,
    chosen: Sequence[SizingPolicy],
    shapes: Sequence[float] | None,
    utc_offset_s: int,
    told: Callable[[], None],
) -> dict[str, SizingResult]:
    offered = None if shapes is None else np.asarray(sorted(shapes), np.float64)
    found: dict[str, SizingResult] = {}
    for local in (False, True):
        mine = [each for each in chosen if each.local is local]
        if mine:
            first_slot, days = _days(series, local, utc_offset_s)
            for each, sizes in together(mine, days, offered):
                found[each.name] = _judge(each.name, series, days, first_slot, sizes)
                told()
    return found


def _days(series: MachineSeries, local: bool, utc_offset_s: int) -> tuple[Array, MachineDays]:
    return calendar(series, utc_offset_s) if local else from_half(series)


def _judge(name: str, series: MachineSeries, days: MachineDays, first_slot: Array, sizes: Sizes) -> SizingResult:
    judged = days.judged
    demand = np.where(judged, days.demand, 0.0)
    force = sizes.by_slot if sizes.by_slot is not None else np.broadcast_to(sizes.by_day[:, :, None], judged.shape)
    over = np.maximum(np.where(judged, demand - force, 0.0), 0.0)
    above: Array = np.greater(over, 0)
    seen = np.asarray(judged.any(axis=2))
    changed = np.zeros(seen.shape, bool)
    changed[:, 1:] = np.abs(np.diff(sizes.by_day, axis=1)) > 1e-9
    moved = changed.astype(np.int64)
    if sizes.by_slot is not None:
        flat = force.reshape(len(seen), -1)
        known = judged.reshape(len(seen), -1)
        steps = np.zeros(flat.shape, bool)
        steps[:, 1:] = (np.abs(np.diff(flat, axis=1)) > 1e-9) & known[:, 1:] & known[:, :-1]
        moved = steps.reshape(force.shape).sum(axis=2)
    last = seen.shape[1] - 1 - np.argmax(seen[:, ::-1], axis=1)
    top = sizes.by_day if sizes.by_slot is None else force.max(axis=2)
    peak = np.where(days.seen, days.peak, np.nan)
    begins = np.argmax(seen, axis=1)
    return SizingResult(
        policy=name,
        names=series.names,
        samples=judged.sum(axis=(1, 2)),
        violations=above.sum(axis=(1, 2)),
        caused=(above & (demand <= days.provisioned)).sum(axis=(1, 2)),
        demand=demand.sum(axis=(1, 2)),
        unserved=over.sum(axis=(1, 2)),
        size=np.where(judged, force, 0.0).sum(axis=(1, 2)),
        provisioned=np.where(judged, days.provisioned, 0.0).sum(axis=(1, 2)),
        deepest=over.max(axis=(1, 2)),
        changes=(changed & seen).sum(axis=1),
        expansions=np.zeros(len(seen), np.int64) if sizes.began is None else (sizes.began & seen).sum(axis=1),
        moves=np.where(seen, moved, 0).sum(axis=1),
        days=seen.sum(axis=1),
        final=sizes.by_day[np.arange(len(seen)), last],
        trail=tuple(
            Trail(
                int(first_slot[i]),
                sizes.by_day[i].astype(np.float32),
                top[i].astype(np.float32),
                peak[i].astype(np.float32),
                int(begins[i]),
            )
            for i in range(len(seen))
        ),
    )
