"""Who must sign what, and in how many working days: approval rules as data, and what follows from them.

Pure: neither database nor clock. A rule is a condition over the facts of a request and the steps that it asks for.
All rules in force whose condition holds contribute; where two name the same step, the one of higher priority decides
its role and limit. Conditions are JSON:

    {}                                                    always
    {"fact": "vcpu", "op": ">", "value": 64}              a comparison
    {"all": [...]}, {"any": [...]}, {"not": {...}}        and, or, not
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from quota.actors import Role
from quota.errors import N_, Invalid


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


@dataclass(frozen=True, slots=True)
class RuleFact:
    """What a condition may speak of: its type, its name for people, and its value where least is asked for, which it also
    has for request kinds that do not know it."""

    type: type
    label: str
    least: Any


FACTS: dict[str, RuleFact] = {
    "kind": RuleFact(str, N_("申请类型"), ""),  # the code of a request kind
    "services": RuleFact(list, N_("服务类型"), []),  # kinds of service asked for
    "quantity": RuleFact(int, N_("件数"), 1),  # pieces asked for
    "vcpu": RuleFact(int, N_("新增 vCPU"), 1),  # what it adds, over all lines
    "memory_gb": RuleFact(float, N_("新增内存 GB"), 1),
    "block_gb": RuleFact(int, N_("新增块存储 GB"), 0),
    "accelerator": RuleFact(int, N_("新增加速卡"), 0),  # cards
    "grows": RuleFact(bool, N_("增加占用"), True),  # it adds anything at all
    "over_quota": RuleFact(bool, N_("超出配额"), False),  # more than the department's granted quota covers
    "xinchuang": RuleFact(bool, N_("信创资源池"), True),  # the pool is 信创
}
"""What a condition may speak of. Request kinds add what only they know (``declarations.register``)."""

Facts = Mapping[str, Any]
Condition = Mapping[str, Any]

OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda fact, values: fact in values,
    "has": lambda facts, value: value in facts,
}


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
    """One version of one rule. Steps are JSON: {"name", "role", "days", "supplement_days"?}; none = repealed."""

    code: str
    version: int
    effective_from: date
    priority: int
    condition: Condition
    steps: Sequence[Mapping[str, Any]]


def path(facts: Facts, rules: Iterable[Rule], on: date) -> list[Step]:
    """Every step that a request with ``facts`` goes through under the rules in force on ``on``, in order."""
    found: dict[StepName, Step] = {}
    for rule in in_force(rules, on):
        if holds(rule.condition, facts):
            because = tuple(why(rule.condition, facts))
            for raw in rule.steps:
                step = _step(raw, f"{rule.code}@{rule.version}", because)
                found[step.name] = step
    order = list(StepName)
    return sorted(found.values(), key=lambda step: order.index(step.name))


def signers(facts: Facts, rules: Iterable[Rule], on: date) -> list[Step]:
    """The steps of ``path`` that decide. Nobody to sign is no approval: raises Invalid where no rule asks for any."""
    found = [step for step in path(facts, rules, on) if step.signs]
    if not found:
        raise Invalid("rules.nobody", N_("现行审批规则没有规定由谁审批这类申请,请联系主管部门"), field="kind")
    return found


def in_force(rules: Iterable[Rule], on: date) -> list[Rule]:
    """The newest version of each rule that is effective on ``on``, lowest priority first."""
    newest: dict[str, Rule] = {}
    for rule in rules:
        if rule.effective_from <= on:
            known = newest.get(rule.code)
            if known is None or rule.version > known.version:
                newest[rule.code] = rule
    return sorted(newest.values(), key=lambda rule: (rule.priority, rule.code))


def holds(condition: Condition, facts: Facts) -> bool:
    """Whether ``condition`` is true of ``facts``. Raises Invalid where a fact that it needs is not known."""
    if not condition:
        return True
    if "all" in condition:
        return all(holds(one, facts) for one in condition["all"])
    if "any" in condition:
        return any(holds(one, facts) for one in condition["any"])
    if "not" in condition:
        return not holds(condition["not"], facts)
    name = condition["fact"]
    if name not in facts:
        raise Invalid("rules.fact", N_("审批规则用到了未知的事实 %(fact)s"), fact=name)
    return bool(OPERATORS[condition["op"]](facts[name], condition["value"]))


def why(condition: Condition, facts: Facts) -> list[str]:
    """The comparisons in ``condition`` that hold of ``facts``, as text (``vcpu 96 > 64``)."""
    if not condition:
        return []
    for word in ("all", "any"):
        if word in condition:
            return [text for one in condition[word] if holds(one, facts) for text in why(one, facts)]
    if "not" in condition:
        inner = condition["not"]
        return [f"not {_spelled(inner, facts)}"] if "fact" in inner else []
    return [_spelled(condition, facts)]


def check(condition: Any, steps: Any) -> None:
    """Refuse a rule that cannot be applied: Invalid naming what is wrong."""
    _check_condition(condition)
    if not isinstance(steps, list):
        raise _bad(N_("步骤须为列表"))
    for raw in steps:
        if not isinstance(raw, Mapping) or set(raw) - {"name", "role", "days", "supplement_days"}:
            raise _bad(N_("步骤须写明名称、角色和工作日数"))
        try:
            step = _step(raw, "", ())
        except (KeyError, ValueError):
            raise _bad(N_("步骤的名称或角色不存在")) from None
        if step.role not in MAY_TAKE[step.name]:
            raise _bad(N_("这个角色不能承担这个步骤"))
        for days in (step.days, step.supplement_days):
            if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 250:
                raise _bad(N_("时限须为 1 至 250 个工作日"))
    names = [raw["name"] for raw in steps]
    if len(names) != len(set(names)):
        raise _bad(N_("同一步骤不能出现两次"))


def _check_condition(condition: Any, depth: int = 0) -> None:
    if not isinstance(condition, Mapping) or depth > 8:
        raise _bad(N_("条件的写法不对"))
    words = set(condition)
    if not words and depth == 0:
        return
    if words in ({"all"}, {"any"}):
        (parts,) = condition.values()
        if not isinstance(parts, list) or not parts:
            raise _bad(N_("条件的写法不对"))
        for part in parts:
            _check_condition(part, depth + 1)
    elif words == {"not"}:
        _check_condition(condition["not"], depth + 1)
    elif words == {"fact", "op", "value"}:
        _check_comparison(condition["fact"], condition["op"], condition["value"])
    else:
        raise _bad(N_("条件的写法不对"))


def _check_comparison(fact: Any, op: Any, value: Any) -> None:
    if fact not in FACTS or op not in OPERATORS:
        raise _bad(N_("条件用到了未知的事实或比较符"))
    kind = FACTS[fact].type
    number = kind in (int, float)
    if op == "in":
        fits = kind is not list and isinstance(value, list) and all(_is(kind, one) for one in value)
    elif op == "has":
        fits = kind is list and isinstance(value, str)
    elif op in ("==", "!="):
        fits = kind is not list and _is(kind, value)
    else:
        fits = number and _is(kind, value)
    if not fits:
        raise _bad(N_("条件中的值与事实的类型不符"))


def _is(kind: type, value: Any) -> bool:
    if kind in (int, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def _bad(why_not: str) -> Invalid:
    return Invalid("rules.bad", N_("审批规则无效:%(why)s"), why=why_not, field="condition")


def _spelled(comparison: Condition, facts: Facts) -> str:
    name, op, value = comparison["fact"], comparison["op"], comparison["value"]
    fact = facts[name]
    if isinstance(fact, bool) and isinstance(value, bool) and op in ("==", "!="):
        return f"{name} {str(fact).lower()}"
    return f"{name} {fact} {op} {value}"


def _step(raw: Mapping[str, Any], rule: str, because: tuple[str, ...]) -> Step:
    return Step(
        name=StepName(raw["name"]),
        role=Role(raw["role"]),
        days=raw["days"],
        supplement_days=raw.get("supplement_days", 5),
        rule=rule,
        because=because,
    )
