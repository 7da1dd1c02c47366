"""Who must sign what, and in how many working days: approval rules as data, and what follows from them. Pure.

A rule is a condition over the facts of a request and what follows where it holds: steps that it asks for, that the request
passes by itself, or that it is not allowed, and why. All rules in force whose condition holds contribute, those of lower
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

from quota.actors import Role
from quota.errors import N_, Invalid
from quota.requests.rules import conditions
from quota.requests.rules.conditions import Condition, Facts, bad


class StepName(StrEnum):
    """The steps of a request, in the order in which they are taken."""

    FORM_CHECK = "form_check"
    TECHNICAL_REVIEW = "technical_review"
    AUTHORITY_APPROVAL = "authority_approval"
    DELIVERY = "delivery"
    ACCEPTANCE = "acceptance"


STEP_LABELS = {
    StepName.FORM_CHECK: N_("形式审查"),
    StepName.TECHNICAL_REVIEW: N_("技术评审"),
    StepName.AUTHORITY_APPROVAL: N_("主管审批"),
    StepName.DELIVERY: N_("交付"),
    StepName.ACCEPTANCE: N_("验收"),
}

SIGNED = frozenset({StepName.FORM_CHECK, StepName.TECHNICAL_REVIEW, StepName.AUTHORITY_APPROVAL})
"""Steps that decide. The others are done after the decision."""

MAY_TAKE: Mapping[StepName, frozenset[Role]] = {
    StepName.FORM_CHECK: frozenset({Role.SUPERVISOR}),
    StepName.TECHNICAL_REVIEW: frozenset({Role.SUPERVISOR, Role.AUTHORITY}),
    StepName.AUTHORITY_APPROVAL: frozenset({Role.AUTHORITY}),
    StepName.DELIVERY: frozenset({Role.PROVIDER}),
    StepName.ACCEPTANCE: frozenset({Role.TENANT}),
}
"""Whom a rule may give a step to. Provider staff never sign, whatever a rule says."""


class Outcome(StrEnum):
    """What follows where the condition of a rule holds. Stored, so never changed."""

    SIGN = "sign"
    PASS = "pass"  # noqa: S105 - it is no password
    REFUSE = "refuse"


OUTCOME_LABELS = {
    Outcome.SIGN: N_("由有关各方办理"),
    Outcome.PASS: N_("自动通过"),
    Outcome.REFUSE: N_("不予受理"),
}

LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a request. ``days``: its limit; ``supplement_days``: what the requester has to mend a return.

    ``rule`` (``code@version``) and ``because`` say where it comes from: the comparisons that held.
    """

    name: StepName
    role: Role
    days: int
    supplement_days: int = 5
    rule: str = ""
    because: tuple[str, ...] = ()

    @property
    def signs(self) -> bool:
        return self.name in SIGNED


@dataclass(frozen=True, slots=True)
class Rule:
    """One version of one rule. Steps are JSON: {"name", "role", "days", "supplement_days"?}. ``reason``: why it does not
    allow. One that asks for steps and names none repeals the rule."""

    code: str
    version: int
    effective_from: date
    priority: int
    condition: Condition
    steps: Sequence[Mapping[str, Any]] = ()
    outcome: Outcome = Outcome.SIGN
    reason: str = ""

    @property
    def named(self) -> str:
        return f"{self.code}@{self.version}"

    @property
    def repealed(self) -> bool:
        return self.outcome is Outcome.SIGN and not self.steps


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
        return [step for step in self.path if step.signs]


def judge(facts: Facts, rules: Iterable[Rule], on: date) -> Judgement:
    """What the rules in force on ``on`` say of a request with ``facts``. What is over quota never passes by itself."""
    found: dict[StepName, Step] = {}
    said = Judgement()
    for rule in in_force(rules, on):
        sure = conditions.truth(rule.condition, facts)
        if sure is False or (sure is None and rule.outcome is not Outcome.SIGN):
            continue
        because = tuple(conditions.why(rule.condition, facts))
        if rule.outcome is Outcome.REFUSE:
            said.refused.append(Ground(rule.named, because, rule.reason))
        elif rule.outcome is Outcome.SIGN:
            found |= {step.name: step for step in (_step(raw, rule.named, because) for raw in rule.steps)}
        elif facts.get("over_quota") is False:
            said.passed = Ground(rule.named, because)
            found = {name: step for name, step in found.items() if not step.signs}
    order = list(StepName)
    said.path = sorted(found.values(), key=lambda step: order.index(step.name))
    if said.signers:
        said.passed = None
    return said


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
    if not said.signers and said.passed is None:
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


def check(condition: Any, steps: Any, outcome: Any = Outcome.SIGN, reason: Any = "") -> None:
    """Refuse a rule that cannot be applied: Invalid naming what is wrong."""
    conditions.check(condition)
    if not isinstance(steps, list):
        raise bad(N_("步骤须为列表"))
    if outcome not in list(Outcome):
        raise bad(N_("结果须为 sign、pass 或 refuse"))
    if outcome != Outcome.SIGN and steps:
        raise bad(N_("自动通过和不予受理的规则不写步骤"))
    if outcome == Outcome.PASS and not condition:
        raise bad(N_("自动通过须有条件,不能适用于所有申请"))
    if not isinstance(reason, str) or len(reason) > LONGEST_REASON:
        raise bad(N_("理由须为不超过 %(most)s 字的文字"), most=LONGEST_REASON)
    if (outcome == Outcome.REFUSE) != bool(reason.strip()):
        raise bad(N_("不予受理须写明理由") if outcome == Outcome.REFUSE else N_("只有不予受理的规则写理由"))
    for raw in steps:
        _check_step(raw)
    names = [raw["name"] for raw in steps]
    if len(names) != len(set(names)):
        raise bad(N_("同一步骤不能出现两次"))


def _check_step(raw: Any) -> None:
    if not isinstance(raw, Mapping) or set(raw) - {"name", "role", "days", "supplement_days"}:
        raise bad(N_("步骤须写明名称、角色和工作日数"))
    try:
        step = _step(raw, "", ())
    except (KeyError, ValueError):
        raise bad(N_("步骤的名称或角色不存在")) from None
    if step.role not in MAY_TAKE[step.name]:
        raise bad(N_("这个角色不能承担这个步骤"))
    for days in (step.days, step.supplement_days):
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 250:
            raise bad(N_("时限须为 1 至 250 个工作日"))


def _step(raw: Mapping[str, Any], rule: str, because: tuple[str, ...]) -> Step:
    return Step(
        name=StepName(raw["name"]),
        role=Role(raw["role"]),
        days=raw["days"],
        supplement_days=raw.get("supplement_days", 5),
        rule=rule,
        because=because,
    )
