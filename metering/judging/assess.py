"""Which resources are idle, underused, busy or overloaded, and by which figures.

`measure` (exact samples) or `measure_daily` (daily histograms) turn a block of resources into `Facts`;
`judge` holds a `Policy` against them. A finding names the rule, the figure and the threshold that decided it.
No data is not zero: where the coverage is short the verdict is `unknown`. Pure: neither database nor clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from metering.judging.facts import Facts, Figures, concat, measure, measure_daily
from metering.judging.figures import CIRCUMSTANCES, FIGURES, GIVEN, figure, plain
from metering.judging.policy import (
    BUILT_IN,
    COMPARE,
    GROWS,
    LABELS,
    RECLAIMABLE,
    VERDICTS,
    Condition,
    Policy,
    PolicyRule,
    Verdict,
    default,
    reference,
)
from providers.metrics import FROZEN, LIVE, MISSING, OFF, Array

__all__ = [
    "BUILT_IN",
    "CIRCUMSTANCES",
    "FIGURES",
    "FROZEN",
    "GROWS",
    "LABELS",
    "LIVE",
    "MISSING",
    "OFF",
    "RECLAIMABLE",
    "VERDICTS",
    "Condition",
    "Facts",
    "Figures",
    "Findings",
    "Policy",
    "PolicyRule",
    "Reason",
    "Verdict",
    "concat",
    "default",
    "judge",
    "measure",
    "measure_daily",
    "reference",
]

HELD = -2
"""``Findings.blocked`` of what a declared business cycle keeps from being reclaimed."""

SIGNS = {">=": "≥", "<=": "≤"}
"""Comparisons as people write them."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One figure beside its threshold. value None = not known. days: the window, 0 = all that was looked
    at."""

    figure: str
    value: float | None
    op: str
    threshold: float
    days: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def text(self, translate: Callable[[str], str] = str) -> str:
        """For a page: "CPU P95 2.1% < 5%"; `translate` turns the source language's labels into the
        reader's."""
        about = figure(self.figure)
        value = "?" if self.value is None else f"{round(about.shown(self.value), 2):g}{about.unit}"
        limit = f"{about.shown(self.threshold):g}{about.unit}"
        return f"{translate(about.label)} {value} {SIGNS.get(self.op, self.op)} {limit}"


@dataclass(frozen=True)
class Findings:
    """Verdicts [r] as indices into VERDICTS, and the rule that decided each (-1 = none, by elimination).

    blocked: index of the first rule that could not be evaluated and so made the verdict unknown, else -1
    (HELD: its business cycle did). section:
    index of the policy's section that each was judged by, -1 = the policy itself. Rules count in ``policy.every``.
    """

    policy: Policy
    facts: Facts
    verdict: Array
    rule: Array
    blocked: Array
    section: Array

    def __len__(self) -> int:
        return len(self.verdict)

    def __getitem__(self, i: int) -> Verdict:
        return VERDICTS[int(self.verdict[i])]

    def __iter__(self) -> Iterator[Verdict]:
        return (VERDICTS[int(code)] for code in self.verdict)

    def of(self, *verdicts: Verdict) -> Array:
        """Indices of the resources of these classes."""
        return np.flatnonzero(np.isin(self.verdict, [VERDICTS.index(v) for v in verdicts]))

    def counts(self) -> dict[str, int]:
        """Class -> resources, the classes that occur, in order of precedence."""
        found = np.bincount(self.verdict, minlength=len(VERDICTS))
        return {str(v): int(n) for v, n in zip(VERDICTS, found, strict=True) if n}

    def reasons(self, i: int) -> tuple[Reason, ...]:
        """The conditions that decided resource i; for an unknown one what is missing. Empty for a normal
        one."""
        if self.blocked[i] == HELD:
            return (Reason("cycle_left", plain("cycle_left", self.facts.cycle_left[i]), ">", 0, 0),)
        if self.verdict[i] == VERDICTS.index(Verdict.UNKNOWN) and self.blocked[i] >= 0:
            rule = self.policy.every[self.blocked[i]]
            seen = self.facts.windows[rule.days]
            if seen.coverage[i] < rule.coverage:
                short = Reason("coverage", plain("coverage", seen.coverage[i]), "<", rule.coverage, rule.days)
                if seen.expected[i] >= rule.coverage * seen.wanted[i]:
                    return (short,)
                observed = plain("observed_days", seen.observed_days[i])
                return short, Reason("observed_days", observed, "<", rule.days, rule.days)
            return tuple(
                Reason(c.figure, None, c.op, c.threshold, rule.days)
                for c in rule.conditions
                if not _known(self.facts, rule, c)[i] and c.missing == "unknown"
            )
        if self.rule[i] < 0:
            return ()
        rule = self.policy.every[self.rule[i]]
        told = [(c, _decides(self.facts, rule, c, i)) for c in rule.conditions]
        return tuple(
            Reason(name, plain(name, self.facts.figure(name, rule.days)[i]), c.op, c.threshold, rule.days)
            for c, name in told
        )

    def row(self, i: int) -> dict[str, Any]:
        """Finding i as plain JSON: verdict, policy and version, reasons, and all facts it was judged by."""
        return {
            "verdict": str(self[i]),
            "policy": self.policy.name,
            "version": self.policy.version,
            "reasons": [reason.to_json() for reason in self.reasons(i)],
            "facts": self.facts.row(i),
        }


def judge(facts: Facts, policy: Policy, section: Array | None = None) -> Findings:
    """The class of every resource under a policy, facts having been measured for the policy's windows; section: int
    [r], ``Policy.section`` of each, default all -1.

    The first rule that holds decides. A rule whose window is not covered, or that hangs on an unknown figure,
    says nothing; then a verdict that takes something away, or "normal", would be a guess: the resource is
    unknown. A verdict that gives stands, whatever was not seen. Raises KeyError if a window was not measured.
    """
    r = len(facts)
    chosen = np.full(r, -1)
    blocked = np.full(r, -1)
    applies = np.zeros(r, bool)
    of = np.full(r, -1) if section is None else np.asarray(section)
    kinds = facts.kind.astype(str)
    every = policy.every
    for index, among in [(i, of == each) for each in np.unique(of) for i in policy.rules_of(int(each))]:
        rule = every[index]
        mine = among & np.isin(kinds, rule.kinds)
        applies |= mine
        holds, unsure = _evaluate(facts, rule)
        undecided = mine & (chosen < 0)
        blocked = np.where(undecided & unsure & (blocked < 0), index, blocked)
        chosen = np.where(undecided & holds & ((blocked < 0) | (rule.verdict in GROWS)), index, chosen)
    verdict = np.full(r, VERDICTS.index(Verdict.NORMAL))
    decided = np.array([VERDICTS.index(rule.verdict) for rule in every])
    verdict = np.where(chosen >= 0, decided[chosen], verdict)
    verdict = np.where((chosen < 0) & (blocked >= 0), VERDICTS.index(Verdict.UNKNOWN), verdict)
    verdict = np.where(applies, verdict, VERDICTS.index(Verdict.UNJUDGED))
    # No machine is called idle before one whole cycle of its business was seen.
    held = np.isin(verdict, [VERDICTS.index(each) for each in RECLAIMABLE]) & (np.nan_to_num(facts.cycle_left) > 0)
    verdict = np.where(held, VERDICTS.index(Verdict.UNKNOWN), verdict)
    chosen, blocked = np.where(held, -1, chosen), np.where(held, HELD, blocked)
    return Findings(policy, facts, verdict.astype(np.int8), chosen, blocked, of)


def _given(facts: Facts, rule: PolicyRule, condition: Condition) -> Array | None:
    """What a rule by which machines grow goes by instead, NaN where it does not: what was given, of those from whom something was kept."""
    name = GIVEN.get(condition.figure) if rule.verdict in GROWS else None
    return None if name is None else facts.windows[rule.days].values.get(name)


def _value(facts: Facts, rule: PolicyRule, condition: Condition) -> Array:
    value, given = facts.figure(condition.figure, rule.days), _given(facts, rule, condition)
    return value if given is None else np.where(np.isfinite(given), given, value)


def _decides(facts: Facts, rule: PolicyRule, condition: Condition, i: int) -> str:
    """The figure that ``condition`` was held against for resource i."""
    given = _given(facts, rule, condition)
    return condition.figure if given is None or not np.isfinite(given[i]) else GIVEN[condition.figure]


def _known(facts: Facts, rule: PolicyRule, condition: Condition) -> Array:
    """Whether the figure is there, from as many slots as the rule wants."""
    known: Array = np.isfinite(facts.figure(condition.figure, rule.days))
    cover = figure(condition.figure).coverage
    if cover and rule.coverage:
        known &= facts.windows[rule.days][cover] >= rule.coverage
    return known


def _evaluate(facts: Facts, rule: PolicyRule) -> tuple[Array, Array]:
    """Where the rule holds, and where it cannot say: AND in three values, a failed condition settles it."""
    failed = np.zeros(len(facts), bool)
    short = facts.windows[rule.days].coverage < rule.coverage
    unsure = short
    for condition in rule.conditions:
        known = _known(facts, rule, condition)
        met = COMPARE[condition.op](_value(facts, rule, condition), condition.threshold)
        failed |= known & ~met
        if condition.missing == "fail":
            failed |= ~known
        elif condition.missing == "unknown":
            unsure = unsure | ~known
    # What is seen through too many gaps cannot refute the rule either.
    return ~failed & ~unsure, unsure & (~failed | short)
