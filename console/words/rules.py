"""Approval rules in words, and the plain form in which a person can write one: any of some groups, all of a group.

Every condition that ``quota.requests.rules`` knows can be written so (its disjunctive normal form); what comes back means the
same, as a test proves with conditions of all kinds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console.words.services import KINDS
from console.words.texts import ARCH_LABELS, _, kind_label, number
from quota.actors import ROLE_LABELS, Role
from quota.directory import FACILITY_LABELS
from quota.errors import N_
from quota.requests import (
    CHANGE_DIRECTIONS,
    FACTS,
    KIND_LABELS,
    OUTCOME_LABELS,
    PASSED,
    STEP_LABELS,
    THEN_LABELS,
    UNIT_LABELS,
    Condition,
    Judgement,
    Party,
    RequestStep,
    Rule,
    RuleOutcome,
    Step,
    Unit,
    Whose,
    rules,
)
from quota.units import CLASSES

OPERATOR_LABELS: Mapping[str, str] = {
    ">": N_("大于"),
    ">=": N_("不少于"),
    "<": N_("小于"),
    "<=": N_("不超过"),
    "==": N_("是"),
    "!=": N_("不是"),
    "in": N_("属于"),
    "not in": N_("不属于"),
    "has": N_("包含"),
    "lacks": N_("不包含"),
    "multiple": N_("是以下数的倍数："),
    "not multiple": N_("不是以下数的倍数："),
}
OPPOSITE: Mapping[str, str] = {
    ">": "<=", "<=": ">", "<": ">=", ">=": "<", "==": "!=", "!=": "==",
    "in": "not in", "not in": "in", "has": "lacks", "lacks": "has", "multiple": "not multiple", "not multiple": "multiple",
}  # fmt: skip
WHOSE_LABELS: Mapping[Whose, str] = {
    Whose.APPLICANT: N_("申请单位另一人"),
    Whose.ABOVE: N_("申请单位的上级单位"),
    Whose.PROVIDER: N_("云服务商出具意见"),
}
PROJECT_LABELS: Mapping[str, str] = {
    "running": N_("在建"), "late": N_("逾期未验收"), "accepted": N_("已验收"), "ended": N_("已终止"), "none": N_("未登记"),
}  # fmt: skip
_NEGATIONS = {"not in": "in", "lacks": "has", "not multiple": "multiple"}
_SPELLED = re.compile(r"(not )?(\w+) (.+) (==|!=|<=|>=|<|>|in|has|multiple) (.+)")
_NAMES: Mapping[str, Mapping[str, str]] = {
    "kind": KIND_LABELS,
    "services": KINDS,
    "project": PROJECT_LABELS,
    "outside": FACILITY_LABELS,
    "direction": CHANGE_DIRECTIONS,
    "arch": {arch.value: label for arch, label in ARCH_LABELS.items()},
}


@dataclass(frozen=True, slots=True)
class FactComparison:
    """One row of a group. ``op`` is one of OPERATOR_LABELS."""

    fact: str
    op: str
    value: Any

    def condition(self) -> dict[str, Any]:
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        if self.op in _NEGATIONS:
            return {"not": {"fact": self.fact, "op": _NEGATIONS[self.op], "value": value}}
        return {"fact": self.fact, "op": self.op, "value": value}

    def opposite(self) -> FactComparison:
        return FactComparison(self.fact, OPPOSITE[self.op], self.value)


Groups = list[list[FactComparison]]
"""Any of them holds; none at all: always."""


def groups(condition: Condition) -> Groups:
    """``condition`` as groups, each row once in its group."""
    return [] if not condition else [list(dict.fromkeys(map(_hashable, one))) for one in _any_of(condition, False)]


def condition(of: Iterable[Sequence[FactComparison]]) -> dict[str, Any]:
    """The condition that groups mean."""
    parts = [
        rows[0].condition() if len(rows) == 1 else {"all": [row.condition() for row in rows]}
        for rows in of
        if rows
    ]  # fmt: skip
    if not parts:
        return {}
    return parts[0] if len(parts) == 1 else {"any": parts}


def _any_of(of: Condition, negated: bool) -> list[list[FactComparison]]:
    if "not" in of:
        return _any_of(of["not"], not negated)
    if "fact" in of:
        one = FactComparison(of["fact"], of["op"], of["value"])
        return [[one.opposite() if negated else one]]
    word = "any" if "any" in of else "all"
    parts = [_any_of(part, negated) for part in of[word]]
    if (word == "any") != negated:
        return [group for part in parts for group in part]
    product: list[list[FactComparison]] = [[]]
    for part in parts:
        product = [[*left, *right] for left in product for right in part]
    return product


def _hashable(row: FactComparison) -> FactComparison:
    return FactComparison(row.fact, row.op, tuple(row.value)) if isinstance(row.value, list) else row


# ------------------------------------------------------------------------------------------------------------ in words


def value_words(fact: str, value: Any) -> str:
    """A value as people write it: ``是``, ``新增``, ``云主机、裸金属``, ``64``."""
    if isinstance(value, bool):
        return _("是") if value else _("否")
    if isinstance(value, list | tuple):
        return _("、").join(value_words(fact, one) for one in value)
    if isinstance(value, int | float):
        return number(value)
    return _(_NAMES.get(fact, {}).get(str(value), str(value)))


def fact_name(name: str) -> str:
    """The name of a fact: of the amount of a class, with that class's."""
    fact = FACTS.get(name)
    if fact is None:  # of a kind or a class that is no more
        return name
    if fact.of is not None:
        return _(fact.label, what=f"{kind_label(fact.of)} {_(CLASSES[fact.of].shown)}")
    return _(fact.label)


def row_words(row: FactComparison) -> str:
    """``新增 vCPU 大于 64``."""
    fact = fact_name(row.fact)
    if isinstance(row.value, bool):
        holds = row.value == (row.op == "==")
        return fact if holds else _("非“%(fact)s”", fact=fact)
    return f"{fact} {_(OPERATOR_LABELS[row.op])} {value_words(row.fact, row.value)}"


def condition_words(of: Condition) -> list[str]:
    """One sentence for each group, any of which suffices; one alone where the rule is about every request."""
    return [_(" 且 ").join(row_words(row) for row in rows) for rows in groups(of)] or [_("所有申请")]


def limit_words(limit: int, unit: str) -> str:
    """``5 个工作日``, ``24 小时``."""
    return _(UNIT_LABELS[Unit(unit)], n=limit)


def party_words(party: Party) -> str:
    """Who takes a step, as a rule says it: a role, a department's or a person's code, one that hangs on the request."""
    if party.role is not None:
        return _(ROLE_LABELS[party.role])
    if party.of is not None:
        return _(WHOSE_LABELS[party.of])
    return party.department or party.person


def step_words(step: Step) -> str:
    """``技术评审：运营监督方，5 个工作日``; of several parties how many must approve, and whether a document's number is asked for."""
    parties = _("、").join(map(party_words, step.parties))
    if len(step.parties) > 1:
        all_of_them = step.need == len(step.parties)
        parties = _("%(parties)s会签", parties=parties) if all_of_them else _(
            "%(parties)s中 %(need)s 方会签", parties=parties, need=step.need
        )  # fmt: skip
    words = _(
        "%(step)s：%(role)s，%(limit)s",
        step=step_of_rule(step),
        role=parties,
        limit=limit_words(step.limit, step.unit),
    )
    return _("%(words)s，须填文号", words=words) if step.record else words


def step_name(name: str) -> str:
    """The name of a step on a path."""
    return _(N_("按规则自动通过")) if name == PASSED else _(STEP_LABELS.get(name, name))


def step_of_rule(step: Step) -> str:
    """The name of a step that a rule asks for."""
    return step.label or step_name(step.name)


def step_label(step: RequestStep) -> str:
    """The name of a step of a request; a city's own is as the city calls it."""
    return step.label or step_name(step.name)


def whose(step: RequestStep) -> str:
    """Whose a step of a request is."""
    if step.department is not None and step.signs:
        return step.department.name
    return _(ROLE_LABELS[Role(step.role)])


def result_words(rule: Rule) -> list[str]:
    """What follows where the condition of ``rule`` holds: its steps, a sentence each, or one sentence."""
    if rule.outcome is RuleOutcome.REFUSE:
        return [_("%(outcome)s：%(reason)s", outcome=_(OUTCOME_LABELS[rule.outcome]), reason=rule.reason)]
    if rule.outcome is RuleOutcome.PASS:
        return [_(OUTCOME_LABELS[rule.outcome])]
    if rule.outcome is RuleOutcome.END:
        return [term_end_words(rules.term_end(rule.ending))]
    if rule.outcome is RuleOutcome.OBLIGE:
        within = rules.obliged(rule.ending)
        return [
            _(
                "%(outcome)s：%(limit)s内",
                outcome=_(OUTCOME_LABELS[rule.outcome]),
                limit=limit_words(within.limit, within.unit),
            )
        ]
    return steps_words(rule.steps)


def term_end_words(end: rules.TermEnd) -> str:
    """``使用期满征询：10 个工作日内答复；立案，…``."""
    return _(
        "%(outcome)s：%(limit)s内答复；%(then)s",
        outcome=_(OUTCOME_LABELS[RuleOutcome.END]),
        limit=limit_words(end.limit, end.unit),
        then=_(THEN_LABELS[end.then]),
    )


def judgement_words(said: Judgement) -> list[str]:
    """What the rules say of a request: why it is not allowed, or its path."""
    if said.refused:
        outcome = _(OUTCOME_LABELS[RuleOutcome.REFUSE])
        return [_("%(outcome)s：%(reason)s", outcome=outcome, reason=one.reason) for one in said.refused]
    passed = [_(OUTCOME_LABELS[RuleOutcome.PASS])] if said.passed is not None else []
    return [
        *passed,
        *map(step_words, said.path),
    ]


def steps_words(steps: Iterable[Mapping[str, Any]]) -> list[str]:
    """One sentence a step, in the order in which they are taken."""
    return [step_words(one) for one in sorted(map(rules.step, steps), key=lambda one: one.stage)]


def because(comparisons: Iterable[str]) -> str:
    """Why a step is asked for, in words: ``["over_quota true", "vcpu 96 > 64"]``, as ``quota.requests.rules.why`` writes them,
    is ``超出配额，新增 vCPU 96 大于 64``. Empty for a rule about every request."""
    return _("，").join(map(_reason, comparisons))


def _reason(text: str) -> str:
    # Of a fact that is true or false the rules write what it is, be the comparison negated or not.
    fact, _space, truth = text.removeprefix("not ").partition(" ")
    if fact in FACTS and truth in ("true", "false"):
        return row_words(FactComparison(fact, "==", truth == "true"))
    found = _SPELLED.fullmatch(text)
    if found is None or found[2] not in FACTS:
        return text
    negated, fact, figure, op, value = found.groups()
    words = _(OPERATOR_LABELS[OPPOSITE[op] if negated else op])
    if figure == "?":
        return _(
            "%(fact)s未知（%(words)s %(value)s 时适用）", fact=fact_name(fact), words=words, value=_listed(fact, value)
        )
    if op in ("has", "in"):
        return f"{fact_name(fact)} {words} {_listed(fact, value)}"
    return f"{fact_name(fact)} {_listed(fact, figure)} {words} {_listed(fact, value)}"


def _listed(fact: str, text: str) -> str:
    """A value written by Python's ``str`` with the names that people know."""
    words = re.findall(r"[\w.-]+", text)
    return _("、").join(_figure(word) or _(_NAMES.get(fact, {}).get(word, word)) for word in words)


def _figure(word: str) -> str:
    return number(float(word)) if re.fullmatch(r"-?\d+(\.\d+)?", word) else ""
