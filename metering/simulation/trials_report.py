"""Of docs/judgement.md what was tried, the frontier under six moves, and the bounds: run anew each time, no figure typed by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from metering.series import MachineSeries
from metering.simulation.trials import OURS, TRIALS, TrialRule, line, regretting
from metering.sizing import PROFILES, Fast, Profile, SizingResult, backtest, bound
from providers.metrics import Array

TARGET = "bitbrains_rnd"
EVEN, ODD, ALL = slice(0, None, 2), slice(1, None, 2), slice(None)
FEW = 6.0
"""Moves a machine and 30 days that a target on `changes` means where growths are counted, too."""


def _variant(**changes: float) -> Profile:
    """`steward-balanced+fast` but for these settings of its growth within the day."""
    return replace(OURS, fast=replace(Fast(), **changes))  # type: ignore[arg-type]


VARIANTS: tuple[tuple[str, Profile], ...] = (
    ("`steward-balanced+fast`", PROFILES["steward-balanced+fast"]),
    ("looked for every 15 minutes, not 5", _variant(check_slots=3)),
    ("every hour", _variant(check_slots=12)),
    ("it acts at 95 % of the size, not at 98 %", _variant(level=0.95)),
    ("at 90 %", _variant(level=0.9)),
    ("at 80 %", _variant(level=0.8)),
    ("it grows by a tenth, not to twice", _variant(step=1.1)),
    ("by half", _variant(step=1.5)),
    ("to three times", _variant(step=3.0)),
    ("to four times", _variant(step=4.0)),
    ("it remembers nothing of the days before", _variant(reach_days=0)),
    ("the most of 45 days, not of 14", _variant(reach_days=45)),
    ("given back after 1 + 1 calm hours, not 1 + 3", _variant(hold_hours=1)),
    ("after 1 + 7", _variant(hold_hours=7)),
    ("after 1 + 23", _variant(hold_hours=23)),
    ("the night's regret in full (L = 20), not half", _variant(relief=1.0)),
    ("a quarter of it (L = 5)", _variant(relief=0.25)),
    ("the night forgets in 3 days, not in 5", replace(OURS, half_life_days=3.0)),
    ("in 8 days", replace(OURS, half_life_days=8.0)),
    ("the night's margin 1.05, not 1.1", replace(OURS, margin=1.05)),
    ("1.2", replace(OURS, margin=1.2)),
)
"""The rule in force with one setting changed, in words and settings."""

SEARCHED: tuple[tuple[str, TrialRule], ...] = tuple(
    (
        f"L = {regret:g}, held 1 + {hold} h, {samples} sample{'s' if samples > 1 else ''}",
        TrialRule(replace(regretting(regret), fast=Fast(hold_hours=hold)), samples=samples),
    )
    for regret, hold, samples in product((5, 6, 8, 10, 20, 40), (3, 11, 23), (1, 2, 3))
)
"""Settings among which those of few moves are looked for: the night's regret, how long a growth is held, samples at the line before it."""

TRIED = """## What was tried, as carried out

Violations % / saved %, `steward-balanced+fast` with one thing changed at a time.
"""

OTHERWISE = """Rules of another make (`metering.simulation.trials`, each walked slot by slot). *Beside the line*: points saved more or less than the rule in
force has at the same violations, by another regret of the night (L from {low:g} to {high:g}, straight between them), on Rnd's even | odd machines. What is
not above 0 on both is had cheaper by another L. *Moves*: a machine and 30 days, on all of Rnd, where the rule in force has {moves:.1f}.
"""


@dataclass
class TriedRules:
    """What was tried, set by set: `add` each, then `text`."""

    heads: list[str] = field(default_factory=list)
    variants: list[list[str]] = field(default_factory=lambda: [[words] for words, _ in VARIANTS])
    trials: list[list[str]] = field(default_factory=lambda: [[words] for words, _ in TRIALS])
    beside: list[str] = field(default_factory=list)
    moves: list[str] = field(default_factory=list)
    ours: float = 0.0

    def add(self, series: MachineSeries) -> None:
        """Run every variant and every trial on this set as it is carried out."""
        halves = series.dataset == TARGET
        variants = [replace(profile, name=f"v{i}") for i, (_words, profile) in enumerate(VARIANTS)]
        policies = [backtest.carrying(backtest.steward(each)) for each in (*variants, *(line() if halves else ()))]
        policies += [trial.policy(f"t{i}") for i, (_words, trial) in enumerate(TRIALS)]
        results = backtest.run(series, policies)
        tail = " fastStorage" if "faststorage" in series.dataset else ""
        self.heads += [f"{series.dataset} even", "odd"] if halves else [series.dataset.partition("_")[0] + tail]
        parts = (EVEN, ODD) if halves else (ALL,)
        for i, row in enumerate(self.variants):
            row += [_pair(results[f"v{i}!"], part) for part in parts]
        for i, row in enumerate(self.trials):
            row += [_pair(results[f"t{i}"], part) for part in parts]
        if halves:
            own = [results[f"{each.name}!"] for each in line()]
            made = [results[f"t{i}"] for i in range(len(TRIALS))]
            self.beside = [" | ".join(f"{beside(own, each, part):+.2f}" for part in parts) for each in made]
            self.moves = [f"{each.summary()['moves_per_vm_30d']:.1f}" for each in made]
            self.ours = results["v0!"].summary()["moves_per_vm_30d"]

    def text(self) -> str:
        """Both tables."""
        parts = [TRIED, table(["what is otherwise", *self.heads], self.variants)]
        heads, rows = ["rule", *self.heads], self.trials
        if self.beside:
            regrets = [each.nightly for each in line()]
            parts.append(OTHERWISE.format(low=min(regrets), high=max(regrets), moves=self.ours))
            heads = [*heads, "beside the line: even", "odd", "moves"]
            rows = [[*row, each, moves] for row, each, moves in zip(rows, self.beside, self.moves, strict=True)]
        return "\n".join([*parts, table(heads, rows)])


def beside(own: Sequence[SizingResult], result: SizingResult, part: slice) -> float:
    """Points that a result saves more than the line `own` at its violations; at the line's ends, than the end."""
    hurt, saved = np.array(sorted(marks(each, part)[:2] for each in own)).T
    here, kept, _moved = marks(result, part)
    return 100 * float(kept - np.interp(here, hurt, np.maximum.accumulate(saved)))


def few_moves(series: MachineSeries) -> tuple[str, dict[str, SizingResult]]:
    """The frontier under six moves, chosen on even machines and told of both halves; and the results of all settings that were searched."""
    found = backtest.run(series, [trial.policy(words) for words, trial in SEARCHED])
    few = {name: marks(each, EVEN) for name, each in found.items() if marks(each, EVEN)[2] <= FEW}
    best = sorted((at, name) for name, at in few.items() if not any(_beats(other, at) for other in few.values()))
    rows = []
    for _at, name in best:
        told = [
            f"{100 * hurt:.3f} / {100 * saved:.1f} / {moved:.1f}"
            for hurt, saved, moved in (marks(found[name], part) for part in (EVEN, ODD, ALL))
        ]
        over = [str(found[name].summary(part)["vms_violating_over_1pct"]) for part in (EVEN, ODD)]
        rows.append([f"**{name}**" if not _missed(found[name], EVEN) else name, *told, " + ".join(over)])
    return (
        "\n".join(
            [
                FEW_MOVES.format(count=len(SEARCHED), few=len(few)),
                table(
                    ["setting", "even: violations % / saved % / moves", "odd", "all", "machines > 1 %: even + odd"],
                    rows,
                ),
                _outcome(found, [name for _at, name in best if not _missed(found[name], EVEN)]),
            ]
        ),
        found,
    )


FEW_MOVES = """## Six moves at most, growths among them

Where *changes* in the target is read as every move of the size in force, `steward-balanced+fast` does not meet it. {count} settings of the same rule were
searched: the night's regret L, how long a growth is held after the last sample at the line, and how many samples at the line within
an hour it takes to grow. Of these {few} move a machine at most 6 times in 30 days on Rnd's even machines; the table has those that no other of them
beats there, chosen on the even machines alone. Bold: meets the target there, with 0.10 % violations, 58 % saved and no machine over 1 %.
The odd ones were looked at while the settings were laid out: they are less biased than the even ones, not unseen.
"""


def _outcome(found: Mapping[str, SizingResult], names: Sequence[str]) -> str:
    """What of the target those keep on the other machines, and on all, that were chosen on the even ones."""
    if not names:
        return "None meets the whole target on the even machines.\n"
    told = []
    for name in names:
        odd, every = (" and ".join(_missed(found[name], part)) for part in (ODD, ALL))
        told.append(
            f"`{name}`, chosen on the even machines, {f'misses {odd} on the odd ones' if odd else 'meets all four marks on the odd ones'} and "
            f"{f'misses {every} on all' if every else 'meets all four on all'}."
        )
    return " ".join(told) + "\n"


def _missed(result: SizingResult, part: slice) -> list[str]:
    """Which marks of the target these machines miss, with what they have instead."""
    hurt, saved, moved = marks(result, part)
    over = result.summary(part)["vms_violating_over_1pct"]
    return [
        words
        for words, met in (
            (f"violations ({100 * hurt:.3f} %)", hurt <= 0.001),
            (f"savings ({100 * saved:.1f} %)", saved >= 0.58),
            (f"moves ({moved:.1f})", moved <= FEW),
            (f"machines over 1 % ({over})", not over),
        )
        if not met
    ]


def _beats(other: tuple[float, float, float], at: tuple[float, float, float]) -> bool:
    return other[:2] != at[:2] and other[0] <= at[0] and other[1] >= at[1]


BOUNDS = """## What none could have saved more than (Rnd, all machines)

Upper bounds on net cores saved, %, for what has no more violations and moves than the column says. Not estimates: each is proved by duality
(`metering.sizing.bound`), for sizes as fine as one likes.

- *any path of sizes*: any policy, whatever it sees. A table of sizes written down beforehand sees less than any policy and is among them, so no bound over
  all policies that see min(demand, size) lies lower than the best table does.
- *raised at the line only*: of those, the paths that are raised, but in the first hour of a day, only within an hour of a sample at 98 % of the
  size in force: every nightly sizing with growth within the day that sees min(demand, size), at this line or a higher one. When it may
  be raised follows from what is seen; how far, how far down and to what by night is chosen in hindsight.
- *the best setting for each machine*: for each machine that one of the {count} settings above which suits it best in hindsight, each carried out by what it saw.
  No way to choose among them by machine does better.
"""


HINDSIGHT = """What lies between a bound and what is reached is not shown to be out of reach: the first two know what comes. The second is hardly lower than
the first, as hindsight may lower a size onto the very demand and so be at the line when it likes. The third says how much is to be had of these rules by
fitting them to each machine, no more.
"""


def bounds(series: MachineSeries, ours: SizingResult, searched: Mapping[str, SizingResult]) -> str:
    """The table of bounds at the target's marks and at ours."""
    recording = bound.JudgedDemand.of(series)
    hurt, saved, moved = marks(ours, ALL)
    columns = ((0.001, FEW), (0.001, moved), (hurt, moved))
    rows = []
    for kind, words in (
        (bound.PathKind.ANY, "any path of sizes"),
        (bound.PathKind.REACTING, "raised at the line only"),
    ):
        cache: dict[tuple[bound.PathKind, int, int], float] = {}
        told = [bound.most_saved(recording, kind, *column, cache) for column in columns]
        rows.append([words, *(f"{100 * each:.1f}" for each in told)])
    told = [picked(list(searched.values()), *column) for column in columns]
    rows.append(["the best setting for each machine", *(f"{100 * each:.1f}" for each in told)])
    rows.append(["reached by `steward-balanced+fast`", "–", "–", f"{100 * saved:.1f}"])
    heads = [f"≤ {100 * violations:.3f} % and ≤ {moves:.1f} moves" for violations, moves in columns]
    return "\n".join(
        [
            BOUNDS.format(count=len(searched)),
            table(["", *heads], rows),
            HINDSIGHT,
        ]
    )


def picked(results: Sequence[SizingResult], violations: float, moves: float) -> float:
    """The share that no choice of one of the results for each machine can have saved, with this share of violations and moves in sum (weak duality)."""
    size, hurt, moved = (
        np.array([getattr(each, name) for each in results]) for name in ("size", "violations", "moves")
    )
    some = results[0]
    provisioned, samples, days = float(some.provisioned.sum()), int(some.samples.sum()), int(some.days.sum())

    def saved(a: float, b: float) -> float:
        least = (size + a * hurt + b * moved).min(axis=0).sum()
        return float(1 - (least - a * violations * samples - b * moves * days / 30) / provisioned)

    prices = provisioned / samples * np.concatenate([[0.0], np.geomspace(0.1, 1e5, 120)])
    return min(saved(float(a), float(b)) for a in prices for b in prices)


def marks(result: SizingResult, part: slice | Array) -> tuple[float, float, float]:
    """Violations, saved, moves a machine and 30 days."""
    told = result.summary(part)
    return told["violation_rate"], told["net_cores_saved_share"], told["moves_per_vm_30d"]


def _pair(result: SizingResult, part: slice) -> str:
    hurt, saved, _moved = marks(result, part)
    return f"{100 * hurt:.3f} / {100 * saved:.1f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""

    def lines() -> Iterator[str]:
        yield f"| {' | '.join(heads)} |"
        yield "|---" + "|--:" * (len(heads) - 1) + "|"
        yield from (f"| {' | '.join(row)} |" for row in rows)
        yield ""

    return "\n".join(lines())
