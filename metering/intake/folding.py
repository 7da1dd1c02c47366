"""Points of agents become samples: one for each (resource, slot). Arrow tables in and out; no file, no database, no clock.

* A counter speaks through the difference of neighbouring points of one series, shared out over the slots that lie between
  them by time, so that what is folded of it is what it counted: nothing twice, nothing lost.
* Silence is unknown. A difference counts across a step; across more, up to REACH, only where the sender usually leaves such
  a gap: one and a half times the series' own median at most. Longer intervals are named.
* A counter that fell under half of what it was has begun anew, and has counted at least what it shows. A hundredth less is
  a step back of a counter that goes on: it stands still until it is above what it was. What lies between is unknown, and so
  is a jump that no machine makes (CEILINGS, or the speed that a link tells).
* cpu_pct = busy / (busy + idle + waiting + steal) of all CPUs; steal_pct is what the machine wanted and was not given. The
  times of a CPU add up to the time that passed; where they don't, a part is missing and nothing is said.
* load_pct = tasks that run or want to / CPUs, where both are told; disk_wait_ms = the time of reads and writes / how many.
* Rates: the sum over the links or disks of the layer nearest to the wire (metering.intake.devices).
* A gauge speaks by its mean over the slot; a slot without a reading of its own, between two of a usual interval, by what
  lies on the line between them.
* mem_pct = 1 - available / total, or used / total. The total is what the sender tells, or what its states add up to where
  its version says that they do and the inventory does not say otherwise, or the inventory's. Above 100 % it is unknown.
* disk_pct is that of the fullest filesystem. A slot whose counters were seen for less than half of it has no rate.
* What two senders tell of one place of a machine (a pair of Prometheus servers, each with a label of its own) counts once.
* A share of 1 under a name by which some senders mean per cent (SHARE) is believed of who said something between 0 and 1 within
  a day, and of who said no 1 that could be one per cent; whoever said more than 1 within it means per cent, and is not read.
* A point that says for an earlier time more than was counted later comes from a clock that was set back: refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.intake.devices import BOND
from metering.intake.signals import COUNTERS, CPU_TIMES, DIRECT, LAYER, SHARE, WHOLE, Points, Signal
from metering.quantiles import STARVED
from providers.metrics import METRICS, Array

REACH_S = 900
"""The longest interval whose difference is shared out: what lies within is an average already."""

LATE = 1.1
"""How much later than due a point may be where nothing is known yet of its sender's habit."""

USUAL = 1.5
"""How much longer than the series' usual interval a gap may be before it is silence."""

STEP_BACK, ANEW = 0.99, 0.5
"""Shares of what a counter was: above the first it stepped back, under the second it began anew."""

CEILINGS: Mapping[int, float] = {
    **dict.fromkeys(CPU_TIMES, 1.0),  # a second a second, each CPU
    Signal.NET_RX_B: 1e11,  # 800 Gbit/s, the fastest Ethernet there is (IEEE 802.3df)
    Signal.NET_TX_B: 1e11,
    Signal.DISK_READ_B: 1e11,
    Signal.DISK_WRITTEN_B: 1e11,
    Signal.CPU_PRESSED_S: 1.0,  # of the time: no more than passed
    Signal.MEM_PRESSED_S: 1.0,
}
MOST_CPUS = 4096
"""Of a machine that tells of all its CPUs at once."""

MARGIN, SLACK_S = 1.25, 1.0
"""A scrape is stamped a little before or after the counter is read."""

ALL_OF_A_CPU = (0.5, 1.25)
"""The times of a CPU, of the time that passed: less, and a mode is not sent; more, and something is counted twice."""

AS_BOOKED = 0.1
"""A guest counts its memory a little smaller than what was booked."""

FULL = 100.5
"""Per cent of memory that rounding explains."""

NOTED = frozenset({"unit.fraction?", "cpu.starved"})
"""What is said of what was used all the same."""

HABIT_MS = 86_400_000
"""For so long what a sender said tells what it means by a share."""

NEVER_MS = -1
"""The moment of what was never said."""

Habits = Mapping[int, tuple[int, int]]
"""Resource → when it said last, under a share's name, what is more than 1, and what lies between 0 and 1 (ms)."""

FEW = 12
"""Readings from which on a habit is seen."""

_PERCENT = np.array([DIRECT + number for number, metric in enumerate(METRICS.values()) if metric.percent])
_ROOM = np.array([DIRECT + list(METRICS).index(name) for name in ("mem_pct", "disk_pct")])


@dataclass(slots=True)
class FoldNotes:
    """What could not be used, by reason, and an example each: (resource, what)."""

    refused: Counter[str]
    examples: dict[str, tuple[int, str]]

    def add(self, reason: str, points: Points, which: NDArray[np.int64], what: Callable[[int], str]) -> None:
        if len(which):
            self.refused[reason] += len(which)
            first = int(which[0])
            self.examples.setdefault(reason, (int(points.resource[first]), what(first)))


@dataclass(frozen=True, slots=True)
class Fold:
    """samples: a table as `Lake.append` takes it (resource, ts = the slot's start, metrics, mem_mb, vcpu); points: all of
    them, marked as folded; said: what of the new ones could not be used, or is to be known (NOTED); habits: for the next fold."""

    samples: pa.Table
    points: Points
    said: FoldNotes
    habits: Habits


def fold(
    points: Points,
    step_s: int,
    until_ms: int,
    since_ms: int = 0,
    memory_b: Mapping[int, float] | None = None,
    habits: Habits | None = None,
) -> Fold:
    """Samples of every slot that ended after ``since_ms`` (up to which the last fold reached) and by ``until_ms``, and of
    those before that a new point touches. ``memory_b``: what the inventory says, for machines that don't tell; ``habits``: as the
    fold before found them, None where whoever reads the points has judged of them."""
    said = FoldNotes(Counter(), {})
    points = _settled(points, said)
    step = step_s * 1000
    gaps = _Gaps(points, step, said)
    held = _fractions(points, said)
    if habits is not None:
        doubted, habits = _doubted(points, habits, step, (since_ms, until_ms), said)
        held |= doubted
    known: Habits = habits or {}
    spans = _Spans(points, gaps, step)
    wanted = _wanted(points, spans, step, since_ms, until_ms)
    done = replace(points, folded=np.ones(len(points), bool))
    if not len(wanted):
        return Fold(pa.table({"resource": pa.array([], pa.int32()), "ts": pa.array([], pa.int64())}), done, said, known)
    rows = _Rows(points, gaps, spans, wanted, step, ~held, memory_b or {}, said)
    rows.new = ((wanted & ((1 << 36) - 1)) + 1) * step > since_ms
    found = rows.metrics()
    speaks = np.zeros(len(wanted), bool)
    for name, column in found.items():
        if name in METRICS:
            speaks |= ~np.isnan(column)
    speaks |= found["vcpu"] == 0  # off, and its host says so
    table = {
        "resource": (wanted >> 36)[speaks].astype(np.int32),
        "ts": (wanted & ((1 << 36) - 1))[speaks] * step_s,
        **{name: column[speaks] for name, column in found.items() if not np.isnan(column[speaks]).all()},
    }
    return Fold(pa.table(table), done, said, known)


def _counters(points: Points) -> NDArray[np.bool_]:
    return np.isin(points.signal % LAYER, list(COUNTERS))


def _settled(points: Points, said: FoldNotes) -> Points:
    """Without what comes from a clock that was set back; a mark without a value stands where such a series went on, so that
    no difference is taken across."""
    n = len(points)
    if not n:
        return points
    counts = _counters(points)
    known = points.folded & ~np.isnan(points.value)
    after = np.minimum.accumulate(np.where(known, np.arange(n), n)[::-1])[::-1]
    behind = np.minimum(after, n - 1)
    late = ~points.folded & (after < n) & (points.series[behind] == points.series)
    back = late & counts & (points.value > points.value[behind])
    if not back.any():
        return points
    gone = late & np.isin(points.resource, np.unique(points.resource[back]))
    which = np.flatnonzero(gone)
    said.add("ts.back", points, which, lambda i: f"{points.ts[i]}")
    # The newest point that was folded of each of these series.
    known_of = np.flatnonzero(known & np.isin(points.series, np.unique(points.series[gone])))
    last = known_of[np.append(points.series[known_of][1:] != points.series[known_of][:-1], True)]
    rows = np.concatenate([np.flatnonzero(~gone), last])
    mark = np.concatenate([np.zeros(n - len(which), bool), np.ones(len(last), bool)])
    table = pa.table(
        {
            "resource": points.resource[rows],
            "signal": points.signal[rows],
            "series": points.series[rows],
            "place": points.place[rows],
            "ts": points.ts[rows] + mark,
            "value": np.where(mark, np.nan, points.value[rows]),
            "folded": points.folded[rows],
        }
    )
    return Points.of(table)


def _fractions(points: Points, said: FoldNotes) -> NDArray[np.bool_]:
    """Readings under a name that says per cent which are shares of 1, by all that the source says: no machine runs with
    less than 1 % of its memory and disks. They are held back. Of CPUs alone it may be: that is only said."""
    percent = np.isin(points.signal, _PERCENT) & ~np.isnan(points.value)
    none = np.zeros(len(points), bool)
    above = points.value[percent]
    if len(above) < FEW or above.max() > 1 or above.max() == 0:
        return none
    sure = bool((np.isin(points.signal, _ROOM) & percent & (points.value > 0)).any())
    fresh = np.flatnonzero(percent & ~points.folded)
    said.add("unit.fraction" if sure else "unit.fraction?", points, fresh, lambda i: f"{points.value[i]:g}")
    return percent if sure else none


def _doubted(
    points: Points, habits: Habits, step: int, within: tuple[int, int], said: FoldNotes
) -> tuple[NDArray[np.bool_], Habits]:
    """Shares that may be per cent, by what their machine said within the day that ends with their slot, and what is known of
    machines now. ``within``: only of slots that end so are they named."""
    share = (points.signal >= SHARE) & (points.signal < LAYER) & ~np.isnan(points.value)
    held = np.zeros(len(points), bool)
    known = dict(habits)
    end = (points.ts // step + 1) * step
    unsure, per_cent = held.copy(), held.copy()
    shares = np.flatnonzero(share)
    shares = shares[np.argsort(points.resource[shares], kind="stable")]
    machines, first = np.unique(points.resource[shares], return_index=True)
    for machine, mine in zip(machines.tolist(), np.split(shares, first[1:]), strict=False):
        value, ts, ends = points.value[mine], points.ts[mine], end[mine]
        above, between = known.get(machine, (NEVER_MS, NEVER_MS))
        aboves = np.sort(np.append(ts[value > 1], above))
        betweens = np.sort(np.append(ts[(value > 0) & (value < 1)], between))
        per_cent[mine] = _within_a_day(aboves, ends)
        slots, slot = np.unique(ends, return_inverse=True)
        highest = np.full(len(slots), -np.inf)
        np.maximum.at(highest, slot, value)
        unsure[mine] = (highest[slot] == 1) & ~_within_a_day(betweens, ends) & ~per_cent[mine]
        known[machine] = int(aboves[-1]), int(betweens[-1])
    held = per_cent | unsure
    new = (end <= within[1]) & (~points.folded | (end > within[0]))
    for code, which in (("card.per_cent", per_cent), ("card.unsure", unsure)):
        said.add(code, points, np.flatnonzero(which & new & (points.value <= 1)), lambda i: f"{points.value[i]:g}")
    latest = int(points.ts.max(initial=0)) - HABIT_MS
    return held, {one: moments for one, moments in known.items() if max(moments) > latest}


def _within_a_day(said: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether anything of ``said`` (sorted) lies within the day before each of ``ends``."""
    last = said[np.maximum(np.searchsorted(said, ends) - 1, 0)]
    within: NDArray[np.bool_] = (last < ends) & (last > ends - HABIT_MS) & (last != NEVER_MS)
    return within


class _Gaps:
    """Of each point what lies between it and the point before it of its series.

    ms: how long; rise: what a counter rose by; timely: not silence; broken: a counter that says nothing there.
    """

    def __init__(self, points: Points, step: int, said: FoldNotes) -> None:
        n = len(points)
        self.same = np.zeros(n, bool)
        self.same[1:] = points.series[1:] == points.series[:-1]
        self.before = np.concatenate(([0], np.arange(max(n - 1, 0))))[:n]
        self.ms = np.where(self.same, points.ts - points.ts[self.before], 0)
        base = points.signal % LAYER
        self.counter = _counters(points)
        there = self.same & ~np.isnan(points.value) & ~np.isnan(points.value[self.before])
        usual, count = self._usual(points)
        near = (self.ms <= step) | ((self.ms <= step * LATE) & (count < 2))
        slow = (self.ms <= REACH_S * 1000 * LATE) & (self.ms <= usual * USUAL) & (count >= 2)
        self.timely = there & (near | slow)
        fresh = ~points.folded
        long = there & self.counter & fresh & (count >= 2) & (usual > REACH_S * 1000 * LATE) & ~self.timely
        said.add("interval.long", points, np.flatnonzero(long), lambda i: f"{usual[i] / 1000:.0f} s > {REACH_S} s")
        self.rise, fell = self._risen(points)
        ceiling = np.array([CEILINGS.get(signal, np.inf) for signal in range(LAYER)])[base]
        ceiling = np.where(np.isin(base, CPU_TIMES) & (points.place == WHOLE), MOST_CPUS, ceiling)
        with np.errstate(invalid="ignore"):
            jumped = self.counter & (self.rise > ceiling * (MARGIN * self.ms / 1000 + SLACK_S))
        self.broken = self.counter & (fell | jumped)

        def what(i: int) -> str:
            told = f"{points.value[self.before[i]]:.15g} → {points.value[i]:.15g}"
            return f"{Signal(int(base[i])).name.lower()}: {told}, {self.ms[i] / 1000:g} s"

        said.add("counter.fell", points, np.flatnonzero(self.timely & fell & fresh & self.counter), what)
        said.add("counter.jump", points, np.flatnonzero(self.timely & jumped & ~fell & fresh), what)

    def _usual(self, points: Points) -> tuple[Array, Array]:
        """Of each point the lower median of its series' gaps, ms, and how many there are."""
        number = np.cumsum(~self.same) - 1
        which = np.flatnonzero(self.same)
        if not len(which):
            return np.zeros(len(points)), np.zeros(len(points), np.int64)
        order = which[np.lexsort((self.ms[which], number[which]))]
        count = np.bincount(number[order], minlength=int(number[-1]) + 1)
        start = np.concatenate(([0], np.cumsum(count)[:-1]))
        middle = np.minimum(start + np.maximum(count - 1, 0) // 2, len(order) - 1)
        usual = np.where(count > 0, self.ms[order[middle]], 0)
        return usual[number], count[number]

    def _risen(self, points: Points) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """What each counter rose by, and where it fell so that nothing can be said."""
        value, before = points.value, points.value[self.before]
        with np.errstate(invalid="ignore"):
            fell = self.same & self.counter & (value < before)
            anew = fell & (value < before * ANEW)
            unsure = fell & ~anew & (value < before * STEP_BACK)
        rise = np.where(self.same, value - before, 0.0)
        if (fell & ~anew & ~unsure).any():
            touched = np.isin(points.series, points.series[fell & ~anew & ~unsure])
            rows = np.flatnonzero(touched)
            high = _highest(value[rows], ~self.same[rows] | anew[rows] | unsure[rows] | np.isnan(before[rows]))
            rise[rows[1:]] = np.diff(high)
        rise = np.where(anew, value, rise)
        return np.where(self.same, rise, 0.0), unsure


def _highest(value: NDArray[np.float64], begins: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The running maximum of each run; exact, by ranks, so that runs of any size need no loop."""
    order = np.argsort(value, kind="stable")
    rank = np.empty(len(value), np.int64)
    rank[order] = np.arange(len(value))
    run = np.cumsum(begins)
    best = np.maximum.accumulate(run * len(value) + rank) - run * len(value)
    highest: NDArray[np.float64] = value[order[best]]
    return highest


class _Spans:
    """The timely gaps cut at the slots' edges. point: whose gap; slot; ms: how much of it lies there; inner: the slot lies
    within and holds neither of its two points."""

    def __init__(self, points: Points, gaps: _Gaps, step: int) -> None:
        which = np.flatnonzero(gaps.timely)
        begin, end = points.ts[gaps.before[which]], points.ts[which]
        first, last = begin // step, (end - 1) // step
        count = last - first + 1
        self.point = np.repeat(which, count)
        offset = np.arange(len(self.point)) - np.repeat(np.cumsum(count) - count, count)
        self.slot = np.repeat(first, count) + offset
        begin, end = np.repeat(begin, count), np.repeat(end, count)
        self.ms = np.minimum(end, (self.slot + 1) * step) - np.maximum(begin, self.slot * step)
        self.inner = (self.slot > begin // step) & (self.slot < end // step)
        self.key = points.resource[self.point].astype(np.int64) << 36 | self.slot
        middle = np.clip((self.slot + 0.5) * step, begin, end)
        share = (middle - begin) / np.maximum(end - begin, 1)
        low, high = points.value[gaps.before[self.point]], points.value[self.point]
        self.between = low + (high - low) * share
        self.fresh = ~points.folded[self.point] | ~points.folded[gaps.before[self.point]]


def _wanted(points: Points, spans: _Spans, step: int, since: int, until: int) -> NDArray[np.int64]:
    """resource << 36 | slot of the samples to be made, sorted."""
    slot = points.ts // step
    key = points.resource.astype(np.int64) << 36 | slot
    keys = []
    for at, touched, name in ((slot, ~points.folded, key), (spans.slot, spans.fresh, spans.key)):
        end = (at + 1) * step
        keys.append(name[(end <= until) & (touched | (end > since))])
    return np.unique(np.concatenate(keys))


class _Rows:
    """The arithmetic of one fold: sums of readings and differences by (resource, slot), row by row of ``wanted``."""

    def __init__(
        self,
        points: Points,
        gaps: _Gaps,
        spans: _Spans,
        wanted: NDArray[np.int64],
        step: int,
        usable: NDArray[np.bool_],
        memory_b: Mapping[int, float],
        said: FoldNotes,
    ) -> None:
        self.points, self.rows, self.step, self.said = points, len(wanted), step, said
        self.resource = (wanted >> 36).astype(np.int64)
        self.new = np.ones(len(wanted), bool)  # whether the slot is folded for the first time, so that it is said once
        self.memory_b = np.array([memory_b.get(int(one), np.nan) for one in self.resource])

        def row(key: NDArray[np.int64]) -> NDArray[np.int64]:
            at = np.minimum(np.searchsorted(wanted, key), len(wanted) - 1)
            return np.where(wanted[at] == key, at, -1)

        # Differences of counters, and readings of gauges: (row, point), what each says.
        at = row(spans.key)
        mine = (at >= 0) & gaps.counter[spans.point]
        self.at, self.of, self.seconds = at[mine], spans.point[mine], spans.ms[mine] / 1000
        share = spans.ms[mine] / gaps.ms[self.of]
        self.broken = gaps.broken[self.of]
        self.rise = np.where(self.broken, 0.0, gaps.rise[self.of] * share)
        self.base = points.signal[self.of] % LAYER

        own = row(points.resource.astype(np.int64) << 36 | points.ts // step)
        gauge = ~gaps.counter & usable & ~np.isnan(points.value)
        real = np.flatnonzero((own >= 0) & gauge)
        within = np.flatnonzero((at >= 0) & spans.inner & gauge[spans.point])
        self.g_at = np.concatenate([own[real], at[within]])
        self.g_of = np.concatenate([real, spans.point[within]])
        self.g_value = np.concatenate([points.value[real], spans.between[within]])
        self.g_signal = points.signal[self.g_of]

    def metrics(self) -> dict[str, NDArray[np.float64]]:
        found = {name: self.mean(DIRECT + number) for number, name in enumerate(METRICS)}
        for number, metric in enumerate(METRICS.values()):
            if metric.shares:
                _first(found, metric.name, 100 * self.mean(SHARE + number))
        with np.errstate(invalid="ignore", divide="ignore"):
            self._cpu(found)
            self._memory(found)
            _first(found, "disk_pct", self.fullest(Signal.FS_SIZE_B, Signal.FS_AVAILABLE_B, whole=True))
            _first(found, "disk_pct", self.fullest(Signal.FS_USED_B, Signal.FS_AVAILABLE_B, whole=False))
            _first(found, "disk_pct", 100 * self.highest(Signal.FS_USED_SHARE))
            self._wanting(found)
        _first(found, "net_rx_kbps", self.rate(Signal.NET_RX_B) * 8 / 1000)
        _first(found, "net_tx_kbps", self.rate(Signal.NET_TX_B) * 8 / 1000)
        _first(found, "disk_read_kbs", self.rate(Signal.DISK_READ_B) / 1024)
        _first(found, "disk_write_kbs", self.rate(Signal.DISK_WRITTEN_B) / 1024)
        return found

    def _cpu(self, found: dict[str, NDArray[np.float64]]) -> None:
        busy, idle, wait, steal = (self.risen(signal) for signal in CPU_TIMES)
        # Of one CPU a mode that says nothing makes the others a lie.
        doubt = np.bincount(self.at[self.broken & np.isin(self.base, CPU_TIMES)], minlength=self.rows) > 0
        every = busy + idle + np.nan_to_num(wait) + np.nan_to_num(steal)
        idles = self.base == Signal.CPU_IDLE_S
        one = self.points.place[self.of] == WHOLE
        whole = np.bincount(self.at[idles & one], minlength=self.rows) > 0
        pace = every / np.bincount(self.at[idles], self.seconds[idles], self.rows)
        odd = ~whole & ~doubt & ((pace < ALL_OF_A_CPU[0]) | (pace > ALL_OF_A_CPU[1]))
        self._say("cpu.partial", np.flatnonzero(odd), lambda i: f"{100 * pace[i]:.0f} %")
        every = np.where(doubt | odd, np.nan, every)
        _first(found, "cpu_pct", 100 * busy / every)
        stolen = 100 * steal / every
        self._say("cpu.starved", np.flatnonzero(stolen >= STARVED / 100), lambda i: f"{stolen[i]:.0f} %")
        _first(found, "steal_pct", stolen)
        # How many CPUs there are: as many as tell of their idle time, or as many as are told.
        pairs = np.unique(np.stack([self.at[idles], self.points.place[self.of[idles]]]), axis=1)
        count = np.bincount(pairs[0].astype(np.int64), minlength=self.rows).astype(np.float64)
        found["vcpu"] = np.where((count > 0) & ~whole, count, self.told(Signal.CPUS))

    def _memory(self, found: dict[str, NDArray[np.float64]]) -> None:
        used, rest = self.told(Signal.MEM_USED_B), self.told(Signal.MEM_REST_B, beside=Signal.MEM_USED_B)
        summed, booked = used + rest, self.memory_b
        summed = np.where(np.isnan(booked) | (np.abs(summed / booked - 1) <= AS_BOOKED), summed, np.nan)
        seen = self.told(Signal.MEM_TOTAL_B)
        seen = np.where(np.isnan(seen), summed, seen)
        available = self.told(Signal.MEM_AVAILABLE_B)
        shares = [1 - available / seen, used / seen, self.mean(Signal.MEM_USED_SHARE)]
        for share in (*shares, 1 - available / booked, used / booked):
            _first(found, "mem_pct", 100 * share)
        above = (found["mem_pct"] > FULL) | (found["mem_pct"] < 100 - FULL)
        above &= ~np.isnan(used) | ~np.isnan(available)
        told = found["mem_pct"]
        self._say("memory.above", np.flatnonzero(above), lambda i: f"{told[i]:.1f} %")
        found["mem_pct"] = np.where(above, np.nan, told)
        found["mem_mb"] = np.where(above, np.nan, seen / 2**20)

    def _wanting(self, found: dict[str, NDArray[np.float64]]) -> None:
        """What tells that more is wanted than is used. Where nothing was read nor written no time is known that it takes."""
        # Beside a known use alone: after an outage a reading is there before a counter says how many CPUs there are.
        cpus = np.where(np.isnan(found["cpu_pct"]) | (found["vcpu"] == 0), np.nan, found["vcpu"])
        _first(found, "load_pct", 100 * self.told(Signal.LOAD) / cpus)
        for name, signal in (("cpu_wait_pct", Signal.CPU_PRESSED_S), ("mem_wait_pct", Signal.MEM_PRESSED_S)):
            _first(found, name, np.minimum(100 * self.rate(signal), 100))
        took = self.rate(Signal.DISK_READ_S) + self.rate(Signal.DISK_WRITE_S)
        ended = self.rate(Signal.DISK_READS) + self.rate(Signal.DISK_WRITES)
        _first(found, "disk_wait_ms", np.where(ended > 0, 1000 * took / ended, np.nan))

    def _say(self, reason: str, rows: NDArray[np.int64], what: Callable[[int], str]) -> None:
        rows = rows[self.new[rows]]
        if len(rows):
            self.said.refused[reason] += len(rows)
            self.said.examples.setdefault(reason, (int(self.resource[rows[0]]), what(int(rows[0]))))

    def _sum(self, chosen: NDArray[np.bool_], weights: Array) -> NDArray[np.float64]:
        return np.bincount(self.at[chosen], weights[chosen], self.rows).astype(np.float64)

    def risen(self, signal: int) -> NDArray[np.float64]:
        """What counters of ``signal`` rose by; NaN where they were seen for less than half of the slot."""
        chosen = self.base == signal
        return np.where(self._seen(chosen), self._sum(chosen, self.rise), np.nan)

    def rate(self, signal: int) -> NDArray[np.float64]:
        """rise / seconds, of several series of one place the highest, summed over the places of the layer nearest to the
        wire; NaN as for ``risen``."""
        good = (self.base == signal) & ~self.broken
        chosen = np.flatnonzero(good)
        if not len(chosen):
            return np.full(self.rows, np.nan)
        series, at = self.points.series[self.of[chosen]], self.at[chosen]
        order = np.lexsort((series, at))
        chosen, series, at = chosen[order], series[order], at[order]
        head = np.concatenate(([True], (series[1:] != series[:-1]) | (at[1:] != at[:-1])))
        starts = np.flatnonzero(head)
        each = np.add.reduceat(self.rise[chosen], starts) / np.add.reduceat(self.seconds[chosen], starts)
        point = self.of[chosen[starts]]
        layer = self.points.signal[point] // LAYER
        keys, which = np.unique(
            np.stack([at[starts], layer.astype(np.int64), self.points.place[point]]), axis=1, return_inverse=True
        )
        highest = np.full(keys.shape[1], -np.inf)
        np.maximum.at(highest, which.ravel(), each)
        row, layer = keys[0], keys[1]
        if signal in (Signal.NET_RX_B, Signal.NET_TX_B):
            fits = self._fits(row, keys[2], highest)
            row, layer, highest = row[fits], layer[fits], highest[fits]
        lowest = np.full(self.rows, LAYER)
        np.minimum.at(lowest, row, layer)
        near = layer == lowest[row]
        total = np.bincount(row[near], highest[near], self.rows)
        if signal in (Signal.NET_RX_B, Signal.NET_TX_B):
            # A bond carries no more than its legs; where it does, legs of it are not sent.
            bonds = layer == BOND
            total = np.maximum(total, np.bincount(row[bonds], highest[bonds], self.rows))
        return np.where(self._seen(good) & (lowest < LAYER), total, np.nan)

    def _fits(self, row: Array, place: Array, rates: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Where a link carries no more than the speed that it tells."""
        at, _series, where, speed = self._means(Signal.LINK_SPEED_BS, layers=True)
        known = {(r, p): v for r, p, v in zip(at.tolist(), where.tolist(), speed.tolist(), strict=True) if v > 0}
        if not known:
            return np.ones(len(row), bool)
        most = np.array([known.get(pair, np.inf) for pair in zip(row.tolist(), place.tolist(), strict=True)])
        fits: NDArray[np.bool_] = rates <= MARGIN * most
        bad = np.flatnonzero(~fits)
        if len(bad):
            text = f"{rates[bad[0]]:.3g} B/s > {most[bad[0]]:.3g} B/s"
            self._say("counter.jump", row[bad], lambda _row: text)
        return fits

    def _seen(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Slots of which the series were seen for half or more, by the mean over series."""
        picked = np.flatnonzero(chosen)
        pairs = np.unique(np.stack([self.at[picked], self.points.series[self.of[picked]]]), axis=1)
        series = np.bincount(pairs[0].astype(np.int64), minlength=self.rows)
        with np.errstate(invalid="ignore", divide="ignore"):
            seen: NDArray[np.bool_] = self._sum(chosen, self.seconds) / series >= self.step / 2000
        return seen

    def mean(self, signal: int) -> NDArray[np.float64]:
        """The mean of all readings of ``signal``."""
        chosen = self.g_signal == signal
        with np.errstate(invalid="ignore", divide="ignore"):
            total = np.bincount(self.g_at[chosen], self.g_value[chosen], self.rows)
            return total / np.bincount(self.g_at[chosen], minlength=self.rows)

    def _means(self, signal: int, *, layers: bool = False) -> tuple[Array, Array, Array, Array]:
        """(row, series, place, mean over the slot) of each series of ``signal`` (``layers``: on whatever layer)."""
        chosen = np.flatnonzero((self.g_signal % LAYER if layers else self.g_signal) == signal)
        series, at = self.points.series[self.g_of[chosen]], self.g_at[chosen]
        order = np.lexsort((series, at))
        chosen, series, at = chosen[order], series[order], at[order]
        if not len(chosen):
            return at, series, series, np.zeros(0)
        head = np.concatenate(([True], (series[1:] != series[:-1]) | (at[1:] != at[:-1])))
        starts = np.flatnonzero(head)
        counts = np.diff(np.append(starts, len(chosen)))
        means = np.add.reduceat(self.g_value[chosen], starts) / counts
        return at[starts], series[starts], self.points.place[self.g_of[chosen[starts]]], means

    def told(self, signal: int, beside: int | None = None) -> NDArray[np.float64]:
        """The sum over series of their means, for each series of ``beside`` (default: itself, so that it is their mean):
        there are as many of those as senders."""
        at, _series, _place, means = self._means(signal)
        senders = np.bincount(at if beside is None else self._means(beside)[0], minlength=self.rows)
        total = np.bincount(at, means, self.rows) / np.maximum(senders, 1)
        return np.where(np.bincount(at, minlength=self.rows) > 0, total, np.nan)

    def highest(self, signal: int) -> NDArray[np.float64]:
        """The greatest of the series' means."""
        at, _series, _place, means = self._means(signal)
        result = np.full(self.rows, -np.inf)
        np.maximum.at(result, at, means)
        return np.where(np.isinf(result), np.nan, result)

    def fullest(self, first: int, available: int, *, whole: bool) -> NDArray[np.float64]:
        """Use of the fullest place in percent; ``first`` is its size (``whole``) or what of it is used."""
        result = np.full(self.rows, -np.inf)
        a_at, _s, a_place, a = self._means(first)
        b_at, _s, b_place, b = self._means(available)
        known = {
            (row, where): value for row, where, value in zip(b_at.tolist(), b_place.tolist(), b.tolist(), strict=True)
        }
        for row, where, value in zip(a_at.tolist(), a_place.tolist(), a.tolist(), strict=True):
            free = known.get((row, where))
            size = value if whole else value + (free or 0.0)
            if free is not None and size > 0:
                result[row] = max(result[row], 100 * (1 - free / size))
        return np.where(np.isinf(result), np.nan, result)


def _first(found: dict[str, NDArray[np.float64]], name: str, column: NDArray[np.float64]) -> None:
    """Fill what is not known yet: what is told directly comes before what is reckoned."""
    found[name] = np.where(np.isnan(found[name]), column, found[name])
