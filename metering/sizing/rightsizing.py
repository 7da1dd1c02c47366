"""How big a machine should be: catalogue shapes by quantile, and the cost quantile as a state of many
machines.

Pure: neither database nor clock. Sizes are *points*, per cent of the machine's present size, unless a name
says vCPU or GB. r = machines. The cost quantile keeps, per machine, a decayed histogram of CPU in half-point
bins and the maxima of the last observed days; each night it chooses the size at which one unit of capacity
and the regret of being too small together cost least.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from providers.metrics import Array

BINS = 201
EDGES = np.arange(BINS) * 0.5
SATURATED_BIN = 190  # 95 %


@dataclass(frozen=True, slots=True)
class Shape:
    """A size that the catalogue offers."""

    code: str
    vcpu: int
    memory_gb: int


FLOOR = Shape("2C4G", 2, 4)
# Shapes that cities publish; a city's own catalogue replaces them.
SHAPES = (
    FLOOR,
    Shape("2C8G", 2, 8),
    Shape("4C8G", 4, 8),
    Shape("4C16G", 4, 16),
    Shape("8C16G", 8, 16),
    Shape("8C32G", 8, 32),
    Shape("16C32G", 16, 32),
    Shape("16C64G", 16, 64),
    Shape("32C64G", 32, 64),
    Shape("32C128G", 32, 128),
)


@dataclass(frozen=True)
class Advice:
    """What to do with each machine [r].

    shape: index into the shapes given, -1 = leave it; direction: -1 shrink, 0 leave, 1 grow; vcpu, memory_gb:
    the size after it; cpu_after, mem_after: CPU P95 and memory peak in per cent of that size (NaN = not
    known). young: observed too short to shrink; saturated: demand is cut off at the ceiling; memory_unsafe:
    memory known from the hypervisor's active figure alone (or not at all), so kept above a floor; confidence:
    0..1.
    """

    shape: Array
    direction: Array
    vcpu: Array
    memory_gb: Array
    cpu_after: Array
    mem_after: Array
    young: Array
    saturated: Array
    memory_unsafe: Array
    confidence: Array


def smallest_shape(
    shapes: Sequence[Shape],
    vcpu: Array,
    memory_gb: Array,
    cpu_p95: Array,
    mem_peak: Array,
    *,
    observed_days: Array,
    coverage: Array | None = None,
    grow: Array | None = None,
    saturated: Array | None = None,
    mem_allocated: Array | None = None,
    allowed: Array | None = None,
    ceiling: float | Array = 70.0,
    memory_keep: float = 0.5,
    floor: Shape = FLOOR,
    young_days: int = 7,
) -> Advice:
    """The smallest shape that keeps CPU P95 and the memory peak at or below `ceiling` per cent of the new
    size.

    vcpu, memory_gb: present size [r]; cpu_p95, mem_peak: per cent of it, NaN = not known (an unknown memory
    stays as it is; an unknown CPU leaves the machine alone). mem_allocated: per cent that the guest itself
    says is allocated, NaN = nobody asked it: then memory never falls under `memory_keep` of the present.
    grow: the machines that may become bigger (busy ones), all others may only shrink; a saturated one gets at
    least one step more of CPU and is never shrunk. allowed: bool [r, len(shapes)], what its pool offers.
    Nothing goes below `floor`, and nothing that was observed less than `young_days` is shrunk.
    """
    order = sorted(range(len(shapes)), key=lambda i: (shapes[i].vcpu, shapes[i].memory_gb))
    offered_cpu = np.array([shapes[i].vcpu for i in order], np.float64)
    offered_mem = np.array([shapes[i].memory_gb for i in order], np.float64)
    r = len(vcpu)
    busy = np.zeros(r, bool) if grow is None else np.asarray(grow, bool)
    cut = (np.zeros(r, bool) if saturated is None else np.asarray(saturated, bool)) | (cpu_p95 >= 95)
    own = np.full(r, np.nan) if mem_allocated is None else np.asarray(mem_allocated, np.float64)
    unsafe = ~np.isfinite(own)
    young = observed_days < young_days

    need_cpu = vcpu * cpu_p95 / ceiling
    need_mem = np.where(np.isfinite(mem_peak), memory_gb * np.fmax(mem_peak, own) / ceiling, memory_gb)
    need_mem = np.where(unsafe, np.maximum(need_mem, memory_keep * memory_gb), need_mem)

    open_to = np.ones((r, len(order)), bool) if allowed is None else np.asarray(allowed, bool)[:, order]
    cpu, mem = np.asarray(vcpu)[:, None], np.asarray(memory_gb)[:, None]
    enough = (offered_cpu >= need_cpu[:, None] - 1e-9) & (offered_mem >= need_mem[:, None] - 1e-9)
    other = (offered_cpu != cpu) | (offered_mem != mem)
    above_floor = (offered_cpu >= floor.vcpu) & (offered_mem >= floor.memory_gb)
    smaller = open_to & enough & other & above_floor & (offered_cpu <= cpu) & (offered_mem <= mem)
    smaller &= (np.isfinite(cpu_p95) & ~young & ~cut & ~busy)[:, None]
    larger = open_to & other & (offered_cpu >= cpu) & (offered_mem >= mem) & busy[:, None]
    larger &= ~cut[:, None] | (offered_cpu > cpu)

    best, direction = _chosen(smaller, larger, enough, cut)
    new_cpu = np.where(direction == 0, vcpu, offered_cpu[best])
    new_mem = np.where(direction == 0, memory_gb, offered_mem[best])
    with np.errstate(divide="ignore", invalid="ignore"):  # a machine whose size is not known has no use after either
        cpu_after, mem_after = cpu_p95 * vcpu / new_cpu, mem_peak * memory_gb / new_mem
    return Advice(
        shape=np.where(direction == 0, -1, np.array(order)[best]),
        direction=direction.astype(np.int8),
        vcpu=new_cpu,
        memory_gb=new_mem,
        cpu_after=cpu_after,
        mem_after=mem_after,
        young=young,
        saturated=cut,
        memory_unsafe=unsafe,
        confidence=confidence(observed_days, coverage),
    )


def _chosen(smaller: Array, larger: Array, enough: Array, cut: Array) -> tuple[Array, Array]:
    """Index of the shape for each machine, and the direction to it, from what it may shrink or grow to: bool [r, shapes],
    smallest shape first. cut [r]: its demand is cut off at the ceiling."""
    down, up, up_enough = smaller.any(axis=1), larger.any(axis=1), (larger & enough).any(axis=1)
    largest = larger.shape[1] - 1 - np.argmax(larger[:, ::-1], axis=1)
    # The smallest that is enough; where none is, the largest there is: better than nothing.
    best = np.where(up_enough, np.argmax(larger & enough, axis=1), largest)
    # A saturated machine's need is not known above its ceiling: one step up, then measure again.
    best = np.where(cut, np.argmax(larger, axis=1), best)
    best = np.where(down, np.argmax(smaller, axis=1), best)
    return best, np.where(down, -1, np.where(up, 1, 0))


def confidence(observed_days: Array, coverage: Array | None = None, full_days: int = 30) -> Array:
    """0..1: the share of a full month observed, times the coverage of the samples."""
    share = np.minimum(np.asarray(observed_days, np.float64) / full_days, 1.0)
    return share if coverage is None else share * np.clip(coverage, 0.0, 1.0)


def bounds(target: Array, observed_days: Array) -> tuple[Array, Array]:
    """Lower and upper bound of a target, wide for young data: Kubernetes VPA's confidence multipliers."""
    days = np.maximum(np.asarray(observed_days, np.float64), 1e-3)
    return target * (1 + 0.001 / days) ** -2, target * (1 + 1 / days)


def memory_need(
    peaks: Array,
    allocated: Array | None = None,
    *,
    quantile: float = 0.9,
    margin: float = 1.15,
    half_life_days: float = 8.0,
) -> Array:
    """Memory that a machine needs, in points [r], from its daily peaks [r, d] (per cent, oldest first, NaN =
    none).

    The quantile of the peaks, each weighing half after eight observed days, times the margin; never below
    what the guest's own exporter says is allocated (per cent [r], NaN = not known). NaN where there is no
    peak at all.
    """
    known = np.isfinite(peaks)
    age = known[:, ::-1].cumsum(axis=1)[:, ::-1] - 1
    weight = np.where(known, 0.5 ** (age / half_life_days), 0.0)
    order = np.argsort(np.where(known, peaks, np.inf), axis=1)
    ranked = np.take_along_axis(np.where(known, peaks, 0.0), order, axis=1)
    heaped = np.cumsum(np.take_along_axis(weight, order, axis=1), axis=1)
    at = np.argmax(heaped >= quantile * heaped[:, -1:] - 1e-12, axis=1)
    need = np.where(known.any(axis=1), ranked[np.arange(len(peaks)), at] * margin, np.nan)
    return need if allocated is None else np.fmax(need, allocated)


# ---------------------------------------------------------------- the cost quantile


@dataclass(frozen=True, slots=True)
class Fast:
    """Growth within the day (`metering.sizing.expansion`): a sample at `level` of the size in force or above says that demand is cut off
    there; then `step` times that size, and at once the most that was seen on the last `reach_days` days, until `hold_hours` after an hour
    that stays under the line of the size underneath. Beyond the whole machine `margin` times as much and `slack` points. It is looked for
    every `check_slots` samples of five minutes. relief: the share of the night's regret that is left where any size can be had, as what is
    too small is so for a look only; whole shapes are chosen with all of it: what is too small there is so by half."""

    level: float = 0.98
    step: float = 2.0
    reach_days: int = 14
    margin: float = 1.1
    slack: float = 1.0
    hold_hours: int = 3
    check_slots: int = 1
    relief: float = 0.5


@dataclass(frozen=True, slots=True)
class Tide:
    """A size for each stretch of `hours` of the day, beside that of the day: `margin` x what the same stretch, or
    one up to `around` beside it, needed at most on the last `days` days, + `slack` points."""

    days: int = 7
    hours: int = 1
    around: int = 1
    margin: float = 1.1
    slack: float = 1.0


@dataclass(frozen=True, slots=True)
class Profile:
    """The cost quantile's settings. regret: units of capacity that a share of demand left above the size
    costs."""

    name: str
    regret: float
    half_life_days: float = 5.0
    peak_days: int = 45
    margin: float = 1.1
    slack: float = 1.0
    shrink_below: float = 0.9
    settle_days: int = 7
    young_days: int = 7
    fast: Fast | None = None
    tide: Tide | None = None

    @property
    def nightly(self) -> float:
        """The regret of the night: less of it where growth within the day mends what was sized too small."""
        return self.regret * (self.fast.relief if self.fast else 1.0)


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("steward-safe", 80.0),
        Profile("steward-balanced", 20.0),
        Profile("steward-economy", 10.0),
    )
}
SPEEDS: dict[str, tuple[Fast, Tide | None]] = {
    "fast": (Fast(), None),
    # For sources that deliver no more often than every quarter of an hour.
    "swift": (Fast(check_slots=3, relief=1.0), None),
    # Held for half a day: fewer moves, less saved.
    "prompt": (Fast(hold_hours=11, relief=1.0), None),
    "tide": (Fast(check_slots=3, hold_hours=5, relief=1.0), Tide(days=6, hours=4, around=0)),
}
"""How a size moves within the day, by name; tide: the day in stretches of four hours, each sized by the same stretch of
the last six days, for clouds that can change a running machine's size."""

PROFILES |= {
    f"{name}+{speed}": replace(profile, name=f"{name}+{speed}", fast=SPEEDS[speed][0])
    for name, profile in tuple(PROFILES.items())
    for speed in ("fast", "swift")
}
# The regret of these two, and the swift settings, were picked by their marks on both halves of the open Rnd trace: those
# marks are optimistic. The other five sets had no say (docs/judgement.md).
PROFILES["steward-lean+swift"] = Profile("steward-lean+swift", 2.0, fast=SPEEDS["prompt"][0])
PROFILES["steward-tide"] = Profile("steward-tide", 1.0, fast=SPEEDS["tide"][0], tide=SPEEDS["tide"][1])

OWN_SETTINGS = re.compile(r"steward-L(\d+(?:\.\d+)?)(?:-h(\d+(?:\.\d+)?))?(?:-m(\d+(?:\.\d+)?))?(?:\+([a-z]+))?")


def profile(name: str) -> Profile | None:
    """The cost quantile's settings by name: a preset, or ``steward-L40-h3-m1.2+fast`` with its own regret, half-life
    (observed days) and margin; None where there are none of this name."""
    if name in PROFILES:
        return PROFILES[name]
    found = OWN_SETTINGS.fullmatch(name)
    if found is None or (found[4] and found[4] not in SPEEDS):
        return None
    regret, half_life, margin = float(found[1]), float(found[2] or 5), float(found[3] or 1.1)
    if not (regret > 0 and half_life > 0 and margin >= 1):
        return None
    fast, tide = SPEEDS[found[4]] if found[4] else (None, None)
    return Profile(name, regret, half_life, margin=margin, fast=fast, tide=tide)


@dataclass(frozen=True)
class SizingState:
    """What is remembered of r machines from night to night.

    heap: [r, 201] decayed histogram; peaks: [r, peak_days] maxima of the latest observed days, in points, in
    any order; targets: [r, settle_days] of the latest nights; hot: bool [r, 7], saturated days; observed:
    days with samples; settled: nights since the last change; size: points in force.
    """

    heap: Array
    peaks: Array
    targets: Array
    hot: Array
    observed: Array
    settled: Array
    size: Array

    @property
    def saturated(self) -> Array:
        """P95 at or above 95 % on three or more of the last seven observed days."""
        return np.asarray(self.hot.sum(axis=1) >= 3)


def newborn(r: int, profile: Profile) -> SizingState:
    """Machines of which nothing is known yet, at their present size."""
    return SizingState(
        np.zeros((r, BINS)),
        np.zeros((r, profile.peak_days)),
        np.zeros((r, profile.settle_days)),
        np.zeros((r, 7), bool),
        np.zeros(r, np.int64),
        np.full(r, profile.settle_days),
        np.full(r, 100.0),
    )


def rescale(state: SizingState, factor: Array) -> SizingState:
    """The same memory in points of another size: factor [r] = old size / new size (1 = unchanged)."""
    changed = np.flatnonzero(factor != 1)
    if not len(changed):
        return state
    by = factor[changed, None]
    heap = state.heap.copy()
    for i in changed:
        bins = np.minimum((EDGES + 0.25) * factor[i] * 2, BINS - 1).astype(np.int64)
        heap[i] = np.bincount(bins, state.heap[i], BINS)
    peaks, targets, size = state.peaks.copy(), state.targets.copy(), state.size.copy()
    peaks[changed] *= by
    targets[changed] *= by
    size[changed] *= factor[changed]
    return replace(state, heap=heap, peaks=peaks, targets=targets, size=size)


def rebin(counts: Array, factor: float) -> Array:
    """Histograms [n, 201] of points in points of another size: factor = old size / new size."""
    bins = np.minimum((EDGES + 0.25) * factor * 2, BINS - 1).astype(np.int64)
    moved = np.zeros_like(counts)
    for at, to in enumerate(bins):
        moved[:, to] += counts[:, at]
    return moved


def exceeding(heap: Array) -> Array:
    """[r, 201]: the share of each histogram above the lower edge of each bin; 0 for an empty one."""
    share = np.empty(heap.shape, heap.dtype)
    np.cumsum(heap[:, ::-1], axis=1, out=share[:, ::-1])
    share /= np.where(share[:, :1] > 0, share[:, :1], 1)
    return share


def cost_quantile(heap: Array, peak: Array, regret: float) -> Array:
    """[r] points: argmin over bin edges s and the peak of s / 100 + regret x E(s); E(s) = share above s,
    E(peak) = 0."""
    share = exceeding(heap)
    share *= regret
    cost = EDGES / 100 + share
    np.putmask(cost, peak[:, None] <= EDGES, np.inf)
    best = cost.argmin(axis=1)
    return np.where(cost[np.arange(len(heap)), best] < peak / 100, EDGES[best], peak)


def cheapest_shape(heap: Array, peak: Array, regret: float, sizes: Array) -> Array:
    """[r] points, out of `sizes` [s] or [r, s] (points; NaN = not offered) and 100, the present size, none of
    them above it: the least size / 100 + regret x E(size - 1 point)."""
    offered = np.broadcast_to(sizes, (len(heap), np.shape(sizes)[-1]))
    offered = np.concatenate([offered, np.full((len(heap), 1), 100.0)], axis=1)
    usable = offered <= 100
    # A bin that reaches over the size counts as above it: the share is never flattered.
    into = np.clip(np.floor((np.where(usable, offered, 100.0) - 1) * 2), 0, BINS - 1).astype(np.int64)
    above = np.take_along_axis(exceeding(heap), into, axis=1)
    above = np.where(offered - 1 >= peak[:, None], 0.0, above)
    cost = np.where(usable, offered / 100 + regret * above, np.inf)
    return np.asarray(np.take_along_axis(offered, cost.argmin(axis=1)[:, None], axis=1)[:, 0])


def night(state: SizingState, counts: Array, peak: Array, profile: Profile, sizes: Array | None = None) -> SizingState:
    """The state after a day with these samples: counts [r, 201] half-point bins, peak [r] points.

    A machine without a sample that day keeps everything, its size above all: gaps are held through, not
    decayed. Grows to the target at once; shrinks to the largest target of the last days, if that is clearly
    smaller and nothing changed for as long. Not before `young_days` observed days, and never while saturated.
    sizes: catalogue sizes in points ([s] or [r, s]) to choose from instead of any.
    """
    n = counts.sum(axis=1)
    seen = n > 0
    each = np.flatnonzero(seen)
    decay = 2 ** (-1 / profile.half_life_days)
    if len(each) == len(seen):
        heap = state.heap * decay
        heap += counts
    else:
        heap = state.heap.copy()
        heap[each] = heap[each] * decay + counts[each]
    peaks, targets, hot = state.peaks.copy(), state.targets.copy(), state.hot.copy()
    peaks[each, state.observed[each] % profile.peak_days] = peak[each]
    hot[each, state.observed[each] % 7] = counts[each, SATURATED_BIN:].sum(axis=1) >= 0.05 * n[each]
    top = peaks.max(axis=1)
    if sizes is None:
        q = cost_quantile(heap, top, profile.nightly)
        target = np.minimum(profile.margin * q + profile.slack, np.maximum(q + profile.slack, 100.0))
    else:
        target = cheapest_shape(heap, top, profile.regret, sizes)
    targets[each, state.observed[each] % profile.settle_days] = target[each]
    observed = state.observed + seen

    recent_peak = targets.max(axis=1)
    after = replace(state, heap=heap, peaks=peaks, targets=targets, hot=hot, observed=observed)
    grows = seen & (target > state.size)
    shrinks = (
        seen
        & ~grows
        & ~after.saturated
        & (recent_peak < profile.shrink_below * state.size)
        & (state.settled >= profile.settle_days)
        & (observed >= profile.young_days)
    )
    size = np.where(grows, target, np.where(shrinks, recent_peak, state.size))
    return replace(after, size=size, settled=np.where(size != state.size, 1, state.settled + 1))


@dataclass(frozen=True)
class Outlook:
    """Of r machines after their last day: the target in points of the present size, the largest target of the last
    nights, the largest maximum kept, whether demand is cut off at the ceiling, and the days observed."""

    target: Array
    recent_peak: Array
    top: Array
    saturated: Array
    observed: Array


def outlook(counts: Array, peak: Array, profile: Profile, sizes: Array | None = None) -> Outlook:
    """What `night` would remember after these days, without a machine's state from night to night: a finding can be
    recomputed from the daily histograms alone.

    counts: [r, d, 201] half-point bins, oldest day first; peak: [r, d] points; sizes: as for `night`. With d days at
    hand the memory is d days long: 30 of a half-life of 5 hold all but 1.6 % of it.
    """
    r, d = counts.shape[:2]
    n = counts.sum(axis=2, dtype=np.int64)
    seen = n > 0
    behind = seen[:, ::-1].cumsum(axis=1)[:, ::-1]  # observed days from this one on, itself among them
    heap = np.zeros((r, BINS), np.float32)
    decay = np.float32(2 ** (-1 / profile.half_life_days))
    top, target, recent_peak = np.zeros(r), np.zeros(r), np.zeros(r)
    for day in range(d):
        here = seen[:, day]
        if here.all():
            heap *= decay
            heap += counts[:, day]
        else:
            heap[here] = heap[here] * decay + counts[here, day]
        recent = here & (behind[:, day] <= profile.peak_days)
        np.maximum(top, peak[:, day], out=top, where=recent)
        rows = np.flatnonzero(here & (behind[:, day] <= profile.settle_days))
        if len(rows):
            ceiling = top[rows]
            if sizes is None:
                q = cost_quantile(heap[rows], ceiling, profile.nightly)
                wanted = np.minimum(profile.margin * q + profile.slack, np.maximum(q + profile.slack, 100.0))
            else:
                offered = sizes if sizes.ndim == 1 else sizes[rows]
                wanted = cheapest_shape(heap[rows], ceiling, profile.regret, offered)
            target[rows] = wanted
            recent_peak[rows] = np.maximum(recent_peak[rows], wanted)
    hot = counts[:, :, SATURATED_BIN:].sum(axis=2, dtype=np.int64) >= 0.05 * np.maximum(n, 1)
    week = seen & (behind <= 7)
    return Outlook(target, recent_peak, top, (hot & week).sum(axis=1) >= 3, seen.sum(axis=1))


def tidal(demand: Array, size: Array, present: Array, tide: Tide) -> Array:
    """Size in force by slot [r, d, n]: never under the day's `size` [r, d], more at the hours that needed more.

    demand: [r, d, n] slots of 5 minutes, NaN = no sample; present: [r, d], what 100 points are; one unit. A day is
    sized from the days before it alone.
    """
    r, d, n = demand.shape
    parts = 24 // tide.hours
    top = np.nan_to_num(demand).reshape(r, d, parts, -1).max(axis=3)
    out: Array = np.repeat(size[:, :, None], parts, axis=2)
    edge = np.zeros((r, tide.around))
    for day in range(1, d):
        need = np.zeros((r, parts))
        for past in range(max(0, day - tide.days), day):
            before = top[:, past - 1, parts - tide.around :] if past else edge
            after = top[:, past + 1, : tide.around] if past + 1 < day else edge
            wide = np.concatenate([before, top[:, past], after], axis=1)
            for shift in range(2 * tide.around + 1):
                np.maximum(need, wide[:, shift : shift + parts], out=need)
        need = tide.margin * need + tide.slack / 100 * present[:, day, None]
        out[:, day] = np.maximum(out[:, day], need)
    return np.repeat(out, n // parts, axis=2)
