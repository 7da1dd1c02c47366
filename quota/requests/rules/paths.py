"""Who must sign what, and within what time: approval rules as data, and what follows from them. Pure.

A rule is a condition over the facts of a request and what follows where it holds: steps that it asks for, that the request
passes by itself, that it is not allowed, and why, what the end of its term will lead to, or what its rejection does. All rules in force whose condition holds contribute, those of lower
priority first. Where two name the same step, the later one decides its role and limit; a rule that lets pass takes away the
signatures asked for before it, and those asked for after it stay; one that does not allow is heard whatever else holds.

Where a condition hangs on what is not known (``conditions``), steps are asked for, and nothing is passed or forbidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from quota.errors import N_, Invalid
from quota.requests.rules import conditions
from quota.requests.rules.conditions import Condition, Facts, bad
from quota.requests.rules.endings import (
    Obligation,
    TermEnd,
    check_obligation,
    check_term_end,
    obliged,
    term_end,
)
from quota.requests.rules.steps import Step, check_steps, step
from quota.requests.rules.vocabulary import FACTS


class RuleOutcome(StrEnum):
    """What follows where the condition of a rule holds. Stored, so never changed."""

    SIGN = "sign"
    PASS = "pass"  # noqa: S105 - it is no password
    REFUSE = "refuse"
    END = "end"  # nothing now: what the end of its term leads to
    OBLIGE = "oblige"  # nothing now: within what time its department has to do what follows from a rejection


LATER = (RuleOutcome.END, RuleOutcome.OBLIGE)
"""Outcomes that change nothing of what a request goes through."""


OUTCOME_LABELS = {
    RuleOutcome.SIGN: N_("由有关各方办理"),
    RuleOutcome.PASS: N_("自动通过"),
    RuleOutcome.REFUSE: N_("不予受理"),
    RuleOutcome.END: N_("使用期满征询"),
    RuleOutcome.OBLIGE: N_("驳回后限期办理"),
}

LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Rule:
    """One version of one rule. Steps are JSON (``steps``). ``reason``: why it does not
    allow; ``ending``: what the end of a term leads to, or a rejection (``endings``). One that asks for steps and names none repeals the rule."""

    code: str
    version: int
    effective_from: date
    priority: int
    condition: Condition
    steps: Sequence[Mapping[str, Any]] = ()
    outcome: RuleOutcome = RuleOutcome.SIGN
    reason: str = ""
    ending: Mapping[str, Any] = field(default_factory=dict)

    @property
    def named(self) -> str:
        return f"{self.code}@{self.version}"

    @property
    def repealed(self) -> bool:
        return self.outcome is RuleOutcome.SIGN and not self.steps


@dataclass(frozen=True, slots=True)
class Ground:
    """The rule that something rests on (``code@version``), the comparisons that held, and the reason that the rule gives."""

    rule: str
    because: tuple[str, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class Judgement:
    """What the rules say of a request: the ``path`` that it takes, in order; what it ``passed`` by, where nobody signs; and
    every ground on which it is not allowed."""

    path: list[Step] = field(default_factory=list)
    passed: Ground | None = None
    refused: list[Ground] = field(default_factory=list)

    @property
    def signers(self) -> list[Step]:
        """The steps that come before the decision."""
        return [one for one in self.path if one.signs]

    @property
    def decided(self) -> bool:
        """Whether anybody decides; a company's opinion is no decision."""
        return any(one.decides for one in self.path)


def judge(facts: Facts, rules: Iterable[Rule], on: date) -> Judgement:
    """What the rules in force on ``on`` say of a request with ``facts``. What is over quota never passes by itself."""
    found: dict[str, Step] = {}
    said = Judgement()
    for rule in in_force(rules, on):
        if rule.outcome in LATER:
            continue
        sure = conditions.truth(rule.condition, facts)
        if sure is False or (sure is None and rule.outcome is not RuleOutcome.SIGN):
            continue
        because = tuple(conditions.why(rule.condition, facts))
        if rule.outcome is RuleOutcome.REFUSE:
            said.refused.append(Ground(rule.named, because, rule.reason))
        elif rule.outcome is RuleOutcome.SIGN:
            found |= {raw["name"]: step(raw, rule.named, because) for raw in rule.steps}
        elif facts.get("over_quota") is False:
            said.passed = Ground(rule.named, because)
            found = {name: one for name, one in found.items() if not one.signs}
    said.path = sorted(found.values(), key=lambda one: one.stage)
    if said.decided:
        said.passed = None
    elif said.passed is not None:  # an opinion for nobody to read
        said.path = [one for one in said.path if not one.signs]
    return said


def end_of_term(facts: Facts, rules: Iterable[Rule], on: date) -> TermEnd | None:
    """What the end of the term of a request with ``facts`` leads to by the rules in force on ``on``: of those that hold for certain
    the last one says. None: nothing but reminders. A fact that a request of long ago does not have is not known: what hangs on it
    ends nothing, and no other rule is silent for it."""
    found, filled = None, {**dict.fromkeys(FACTS), **facts}
    for rule in in_force(rules, on):
        if rule.outcome is RuleOutcome.END and conditions.holds(rule.condition, filled):
            found = term_end(rule.ending, rule.named)
    return found


def obligation(facts: Facts, rules: Iterable[Rule], on: date) -> Obligation | None:
    """Within what time the department of a rejected request with ``facts`` has to do what follows, as ``end_of_term`` says the end of a
    term. None: the rules say none."""
    found, filled = None, {**dict.fromkeys(FACTS), **facts}
    for rule in in_force(rules, on):
        if rule.outcome is RuleOutcome.OBLIGE and conditions.holds(rule.condition, filled):
            found = obliged(rule.ending, rule.named)
    return found


def path(facts: Facts, rules: Iterable[Rule], on: date) -> list[Step]:
    """Every step that a request with ``facts`` goes through under the rules in force on ``on``, in order."""
    return judge(facts, rules, on).path


def allowed(said: Judgement) -> Judgement:
    """``said``, where the request may be handed in. Raises Invalid with the reasons where it is not allowed, and where no rule
    asks for anybody to sign and none lets it pass: nobody to sign is no approval."""
    if said.refused:
        raise Invalid(
            "rules.refused",
            N_("按现行规则不予受理:%(reasons)s"),
            reasons=";".join(dict.fromkeys(one.reason for one in said.refused)),
            rules=[one.rule for one in said.refused],
            field="kind",
        )
    if not said.decided and said.passed is None:
        raise Invalid("rules.nobody", N_("现行审批规则没有规定由谁审批这类申请,请联系主管部门"), field="kind")
    return said


def signers(facts: Facts, rules: Iterable[Rule], on: date) -> list[Step]:
    """The steps of ``path`` that decide. Raises Invalid as ``allowed``."""
    return allowed(judge(facts, rules, on)).signers


def in_force(rules: Iterable[Rule], on: date) -> list[Rule]:
    """The newest version of each rule that is effective on ``on``, lowest priority first."""
    newest: dict[str, Rule] = {}
    for rule in rules:
        if rule.effective_from <= on:
            known = newest.get(rule.code)
            if known is None or rule.version > known.version:
                newest[rule.code] = rule
    return sorted(newest.values(), key=lambda rule: (rule.priority, rule.code))


def check(
    condition: Any,
    steps: Any,
    outcome: Any = RuleOutcome.SIGN,
    reason: Any = "",
    ending: Mapping[str, Any] | None = None,
) -> None:
    """Refuse a rule that cannot be applied: Invalid naming what is wrong."""
    conditions.check(condition)
    check_steps(steps)
    if outcome not in list(RuleOutcome):
        raise bad(N_("结果须为 sign、pass、refuse、end 或 oblige"))
    if outcome != RuleOutcome.SIGN and steps:
        raise bad(N_("只有由有关各方办理的规则写步骤"))
    if outcome == RuleOutcome.END:
        check_term_end(ending)
    elif outcome == RuleOutcome.OBLIGE:
        check_obligation(ending)
    elif ending:
        raise bad(N_("只有使用期满征询和驳回后限期办理的规则写 ending"))
    if outcome == RuleOutcome.PASS and not condition:
        raise bad(N_("自动通过须有条件,不能适用于所有申请"))
    if not isinstance(reason, str) or len(reason) > LONGEST_REASON:
        raise bad(N_("理由须为不超过 %(most)s 字的文字"), most=LONGEST_REASON)
    if (outcome == RuleOutcome.REFUSE) != bool(reason.strip()):
        raise bad(N_("不予受理须写明理由") if outcome == RuleOutcome.REFUSE else N_("只有不予受理的规则写理由"))
