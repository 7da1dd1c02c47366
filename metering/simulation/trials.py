"""Rules that were tried for growth within the day and not taken, so that what is told of them can be made again.

Each is `steward-balanced+fast` but for what its `TrialRule` says, as it is carried out: it sees min(demand, size in force). The rule is walked here
slot by slot, as plainly as it can be told; `metering.sizing.expansion` is the quick one that is in force, and with no setting changed the two
are the same (the tests hold them against each other). r = machines, n = slots of a day.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from metering.sizing import COVERED, HOUR, PROFILES, Fast, MachineDays, Profile, backtest, expansion, rightsizing
from providers.metrics import SLOTS, Array

OURS = PROFILES["steward-balanced+fast"]
WEEK, FORTNIGHT = 7, 14


@dataclass(frozen=True)
class TrialRule:
    """What is otherwise; nothing by default.

    samples: so many at the line within an hour before it grows; once: not raised again while it holds; trim: an hour after it grew, back to so many
    times what was seen; record: by so much of itself the night's regret grows for each capped day, forgotten with a half-life of five;
    recent: who was capped within two days has no less than the most of so many; spread, jump: headroom of so many standard deviations of the
    last fortnight's daily peaks, or of so many times the last fortnight's hundredth largest rise from a sample to the next; hours, weeks: the most of this hour, and one
    beside it, on so many days before, or on the same weekday of so many weeks; alike: machines whose hours of the last week correlate with its own by as much or more
    have it grow when so large a share of them (`quorum`) is at the line, to what it used within a fortnight, or (blind) as at its own line.
    """

    profile: Profile = OURS
    samples: int = 1
    once: bool = False
    trim: float = 0.0
    record: float = 0.0
    recent: int = 0
    spread: float = 0.0
    jump: float = 0.0
    hours: int = 0
    weeks: int = 0
    alike: float = 0.0
    quorum: float = 0.0
    blind: bool = False

    @property
    def fast(self) -> Fast:
        return self.profile.fast or Fast()

    def policy(self, name: str) -> backtest.SizingPolicy:
        """As backtests take it."""
        return backtest.SizingPolicy(name, lambda days, _shapes, _capped: walk(self, days), local=True, capped=True)


@dataclass
class SeenDays:
    """What was seen up to the day that begins: use [r, d, 288], NaN = no sample; whether it was capped on a day [r, d]; the largest use
    of each day and each of its hours, and the hundredth largest rise from one sample to the next: [r, d], [r, d, 24], [r, d]."""

    use: Array
    capped: Array
    peak: Array
    hour: Array
    rise: Array

    @classmethod
    def none(cls, r: int, d: int) -> SeenDays:
        nothing = np.zeros((r, d))
        return cls(np.full((r, d, SLOTS), np.nan), nothing > 0, nothing, np.zeros((r, d, 24)), nothing.copy())

    def add(self, day: int, use: Array, line: Array) -> None:
        """A day is over."""
        self.use[:, day], self.capped[:, day] = use, line
        self.peak[:, day] = np.fmax.reduce(use, axis=1, initial=0.0)
        self.hour[:, day] = np.nan_to_num(use).reshape(len(use), 24, HOUR).max(axis=2)
        rises = np.nan_to_num(np.diff(use, axis=1))
        self.rise[:, day] = np.partition(rises, -3, axis=1)[:, -3]  # of 287


@dataclass
class ForceInTrial:
    """What is in force: the enlarged size and until which slot; the slots of the last growth, of the last samples at the line of what is in
    force and of what is underneath; ring: bool [12, r], the hour's samples at the line since it last grew; used, heard: [12, r], its use."""

    size: Array
    until: Array
    grown: Array
    capped: Array
    busy: Array
    ring: Array
    used: Array

    @classmethod
    def none(cls, r: int) -> ForceInTrial:
        until, grown, capped, busy = (np.full(r, expansion.NEVER) for _ in range(4))
        return cls(np.zeros(r), until, grown, capped, busy, np.zeros((HOUR, r), bool), np.full((HOUR, r), np.nan))


def walk(trial: TrialRule, days: MachineDays) -> backtest.Sizes:
    """The sizes in force, each from what was seen before it. Pure."""
    r, d = days.seen.shape
    profile, state = trial.profile, rightsizing.newborn(r, trial.profile)
    size, planned, present = np.zeros((r, d)), np.zeros((r, d, SLOTS)), days.present
    seen, force, record = SeenDays.none(r, d), ForceInTrial.none(r), np.zeros(r)
    for day in range(d):
        before = days.before[:, day]
        size[:, day] = _floored(trial, seen, day, state.size / 100 * before)
        under = _by_the_hour(trial, seen, day, size[:, day], before)
        reach = seen.peak[:, max(0, day - trial.fast.reach_days) : day].max(axis=1, initial=0.0)
        peers = _peers(trial, seen, day)
        use, planned[:, day], line = _day(trial, force, days.demand[:, day], under, before, reach, day * SLOTS, peers)
        seen.add(day, use, line)
        record = record * 2 ** (-1 / 5) + line
        counts = backtest.histogram(use, present[:, day])
        if day:
            state = rightsizing.rescale(state, present[:, day - 1] / present[:, day])
        state = _night(
            state, counts, seen.peak[:, day] / present[:, day] * 100, profile, trial.record * np.rint(record)
        )
    return backtest.Sizes(size, planned)


def _night(
    state: rightsizing.SizingState, counts: Array, peak: Array, profile: Profile, more: Array
) -> rightsizing.SizingState:
    """`night`, with the regret of each machine by `more` [r] of itself larger."""
    after = state
    for each in np.unique(more):
        rows = np.flatnonzero(more == each)
        one = rightsizing.SizingState(
            **{name.name: getattr(state, name.name)[rows] for name in fields(rightsizing.SizingState)}
        )
        one = rightsizing.night(
            one, counts[rows], peak[rows], replace(profile, regret=profile.regret * (1 + float(each)))
        )
        if len(rows) == len(more):
            return one
        parts = {name.name: getattr(after, name.name).copy() for name in fields(rightsizing.SizingState)}
        for name, column in parts.items():
            column[rows] = getattr(one, name)
        after = rightsizing.SizingState(**parts)
    return after


def _floored(trial: TrialRule, seen: SeenDays, day: int, size: Array) -> Array:
    """The day's size with what is had besides."""
    last = slice(max(0, day - FORTNIGHT), day)
    if trial.recent and day:
        lately = seen.capped[:, max(0, day - 2) : day].any(axis=1)
        most = seen.peak[:, max(0, day - trial.recent) : day].max(axis=1)
        size = np.where(lately, np.maximum(size, most), size)
    if trial.spread and day:
        size = size + trial.spread * seen.peak[:, last].std(axis=1)
    if trial.jump and day:
        size = size + trial.jump * seen.rise[:, last].max(axis=1)
    return size


def _by_the_hour(trial: TrialRule, seen: SeenDays, day: int, size: Array, present: Array) -> Array:
    """[r, 288]: what is in force underneath, no less than what was seen at this hour before."""
    past = range(max(0, day - trial.hours), day) if trial.hours else range(day - WEEK, -1, -WEEK)[: trial.weeks]
    under = np.repeat(size[:, None], 24, axis=1)
    for each in past:
        hour = seen.hour[:, each]
        wide = np.maximum(hour, np.maximum(np.roll(hour, 1, axis=1), np.roll(hour, -1, axis=1)))
        np.maximum(under, trial.profile.margin * wide + trial.profile.slack / 100 * present[:, None], out=under)
    return np.repeat(under, HOUR, axis=1)


def _peers(trial: TrialRule, seen: SeenDays, day: int) -> Array | None:
    """[r, r]: by which share the machines of a column count for that of the row, rows of 1 or 0 in all: those that moved with it for a week."""
    if not trial.alike or day < WEEK:
        return None
    hours = seen.hour[:, day - WEEK : day].reshape(len(seen.hour), -1)
    away = hours - hours.mean(axis=1, keepdims=True)
    length = np.sqrt((away**2).sum(axis=1))
    away = away / np.where(length > 0, length, np.inf)[:, None]
    near = (away @ away.T) >= trial.alike
    np.fill_diagonal(near, False)
    return np.asarray(near / np.maximum(near.sum(axis=1, keepdims=True), 1))


def _day(
    trial: TrialRule,
    force: ForceInTrial,
    demand: Array,
    under: Array,
    present: Array,
    reach: Array,
    first: int,
    peers: Array | None,
) -> tuple[Array, Array, Array]:
    """What was used [r, n], what was in force [r, n], and who was at its line [r]; `force` goes on to the day's end."""
    use, sizes = np.full(demand.shape, np.nan), np.zeros(demand.shape)
    line_today = np.zeros(len(demand), bool)
    level, every = trial.fast.level, trial.fast.check_slots
    for at in range(demand.shape[1]):
        slot, ring = first + at, (first + at) % HOUR
        sizes[:, at] = np.where(force.until > slot, np.maximum(under[:, at], force.size), under[:, at])
        use[:, at] = force.used[ring] = np.minimum(demand[:, at], sizes[:, at])
        line = use[:, at] >= level * sizes[:, at] - 1e-9
        force.ring[ring] = line
        force.capped[line] = slot
        force.busy[use[:, at] >= level * under[:, at] - 1e-9] = slot
        line_today |= line
        if not (slot + 1) % every:
            _look(trial, force, under[:, at], present, reach, slot + 1, None if peers is None else peers @ line)
    return use, sizes, line_today


def _look(
    trial: TrialRule, force: ForceInTrial, under: Array, present: Array, reach: Array, now: int, alike: Array | None
) -> None:
    """One look: who goes on, who is given back, who grows. alike [r]: the share of its like that is at the line."""
    fast = trial.fast
    hold = fast.hold_hours * HOUR
    goes_on = (force.until >= now) & (now - force.busy <= HOUR)
    force.until[goes_on] = now + hold
    ending = ~goes_on & (force.until == now)
    if ending.any():
        blind = ending & (np.isfinite(force.used).sum(axis=0) < COVERED * HOUR)
        force.until[blind] = now + fast.check_slots
    if trial.trim:
        over = (force.until > now) & (now - force.grown == HOUR) & ~force.ring.any(axis=0)
        force.size[over] = np.minimum(force.size, trial.trim * np.fmax.reduce(force.used, axis=0, initial=0.0))[over]
    short = (force.capped >= force.grown) & (now - force.capped <= HOUR)
    if trial.samples > 1:
        short &= force.ring.sum(axis=0) >= trial.samples
    if trial.once:
        short &= force.until <= now
    called = np.zeros(len(short), bool) if alike is None else (alike > 0) & (alike >= trial.quorum) & ~short
    if not (short.any() or called.any()):
        return
    current = np.where(force.until > now, np.maximum(under, force.size), under)
    more = expansion.wanted(current, present, fast, reach)
    if not trial.blind:
        more = np.where(called, reach, more)
    grows = (short | called) & (more > current + 1e-9)
    force.size[grows] = more[grows]
    force.grown[grows], force.until[grows] = now, now + hold
    force.ring[:, grows] = False


def regretting(regret: float) -> Profile:
    """Ours with another regret left to the night (ours has 10 left of 20)."""
    return replace(OURS, regret=2 * regret)


TRIALS: tuple[tuple[str, TrialRule], ...] = (
    ("two samples at the line before it grows", TrialRule(samples=2)),
    ("three", TrialRule(samples=3)),
    ("not raised again while it holds", TrialRule(once=True)),
    ("grown, looked at for an hour, then back to 1.1 times what was seen", TrialRule(trim=1.1)),
    ("the same, grown to four times", TrialRule(replace(OURS, fast=Fast(step=4.0)), trim=1.1)),
    ("a regret by a fifth larger for each day at the line", TrialRule(record=0.2)),
    ("the same from L = 5 on", TrialRule(regretting(5), record=0.2)),
    ("who was at the line within two days has the most of three", TrialRule(recent=3)),
    ("the same with L = 5", TrialRule(regretting(5), recent=3)),
    ("headroom by volatility: half a standard deviation of the daily peaks", TrialRule(spread=0.5)),
    ("the same with L = 5", TrialRule(regretting(5), spread=0.5)),
    ("a fifth of one, with L = 5", TrialRule(regretting(5), spread=0.2)),
    ("headroom by jumps: a quarter of the largest rises within five minutes", TrialRule(jump=0.25)),
    ("the same with L = 5", TrialRule(regretting(5), jump=0.25)),
    ("a tenth of them, with L = 5", TrialRule(regretting(5), jump=0.1)),
    ("the most of this hour on the six days before", TrialRule(hours=6)),
    ("the same with L = 5", TrialRule(regretting(5), hours=6)),
    ("the same with L = 1", TrialRule(regretting(1), hours=6)),
    ("the most of this hour on this weekday of the three weeks before", TrialRule(weeks=3)),
    ("the same with L = 5", TrialRule(regretting(5), weeks=3)),
    ("grown when one of its like (hours of a week, r ≥ 0.9) is at the line, to what it used", TrialRule(alike=0.9)),
    ("when half of them are", TrialRule(alike=0.9, quorum=0.5)),
    ("the same from r ≥ 0.8, with L = 5", TrialRule(regretting(5), alike=0.8, quorum=0.5)),
    ("when half of them are (r ≥ 0.9), as at its own line", TrialRule(alike=0.9, quorum=0.5, blind=True)),
)
"""In words and settings; figures of all of them stand in docs/judgement.md."""

REGRETS = (1, 2.5, 5, 7.5, 10, 12.5, 15, 20, 30, 40)
"""The line of the rule itself, by the regret that the night has left: what a trial has to lie beyond to be any better."""


def line() -> list[Profile]:
    """The rule itself by these regrets."""
    return [replace(regretting(regret), name=f"L = {regret:g}") for regret in REGRETS]
