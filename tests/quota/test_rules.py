"""Who must sign follows from rules that are data: pure, versioned, and closed where nobody is named."""

from __future__ import annotations

import json
from datetime import date, datetime
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota.actors import Role
from quota.calendar import WorkingDays
from quota.errors import Invalid, NotAllowed
from quota.requests import approvals, rulebook, rules
from quota.requests.rules import Rule, RuleOutcome, StepName

DAY = date(2026, 6, 1)
PLAIN: dict[str, Any] = {
    "kind": "create",
    "services": ["vm"],
    "quantity": 1,
    "vcpu": 8,
    "memory_gb": 16,
    "block_gb": 0,
    "accelerator": 0,
    "grows": True,
    "over_quota": False,
    "xinchuang": True,
}


@pytest.fixture
def defaults() -> list[Rule]:
    return [Rule(code, 1, DAY, priority, condition, steps) for code, _, priority, condition, steps in rulebook.DEFAULTS]


def days(facts: dict[str, Any], known: list[Rule]) -> dict[str, int]:
    return {step.name.value: step.days for step in rules.path({**PLAIN, **facts}, known, DAY)}


@pytest.mark.parametrize(
    ("facts", "review", "authority"),
    [
        ({}, 3, False),
        ({"vcpu": 64, "memory_gb": 128}, 3, False),
        ({"vcpu": 65}, 5, True),
        ({"memory_gb": 128.5}, 5, True),
        ({"accelerator": 1}, 5, True),
        ({"over_quota": True}, 3, True),
        ({"xinchuang": False}, 3, True),
        ({"xinchuang": False, "grows": False, "vcpu": 0, "kind": "unsubscribe"}, 3, False),
    ],
)
def test_the_default_path(defaults: list[Rule], facts: dict[str, Any], review: int, authority: bool) -> None:
    found = days(facts, defaults)
    assert found["form_check"] == 1
    assert found["technical_review"] == review
    assert found.get("authority_approval") == (2 if authority else None)
    assert found["acceptance"] == 3


def test_delivery_takes_as_long_as_the_thing(defaults: list[Rule]) -> None:
    assert days({}, defaults)["delivery"] == 2
    assert days({"services": ["bare_metal", "vm"]}, defaults)["delivery"] == 10
    assert days({"accelerator": 2, "services": ["accelerator"]}, defaults)["delivery"] == 10
    assert "delivery" not in days({"kind": "quota", "accelerator": 2}, defaults)


def test_steps_come_in_order_and_say_why(defaults: list[Rule]) -> None:
    found = rules.path({**PLAIN, "vcpu": 96, "over_quota": True}, defaults, DAY)
    assert [step.name for step in found] == list(StepName)
    authority = found[2]
    assert authority.role is Role.AUTHORITY
    assert authority.rule == "authority@1"
    assert authority.because == ("vcpu 96 > 64", "over_quota true")
    assert [step.name for step in rules.signers({**PLAIN, "vcpu": 96}, defaults, DAY)] == list(StepName)[:3]


def test_a_version_counts_from_its_day(defaults: list[Rule]) -> None:
    later = Rule("base", 2, date(2026, 7, 1), 0, {}, [{"name": "form_check", "role": "supervisor", "days": 2}])
    before, after = (rules.path(PLAIN, [*defaults, later], day) for day in (date(2026, 6, 30), date(2026, 7, 1)))
    assert [(step.name.value, step.days) for step in before][:2] == [("form_check", 1), ("technical_review", 3)]
    assert [(step.name.value, step.days) for step in after][:2] == [("form_check", 2), ("delivery", 2)]


def test_where_nobody_would_sign_nothing_passes(defaults: list[Rule]) -> None:
    repealed = Rule("base", 2, DAY, 0, {}, [])
    for known, day in (([], DAY), (defaults, date(2026, 5, 31)), ([*defaults, repealed], DAY)):
        with pytest.raises(Invalid) as refusal:
            rules.signers(PLAIN, known, day)
        assert refusal.value.code == "rules.nobody"


def test_an_unknown_fact_is_not_false(defaults: list[Rule]) -> None:
    with pytest.raises(Invalid) as refusal:
        rules.path({name: value for name, value in PLAIN.items() if name != "vcpu"}, defaults, DAY)
    assert refusal.value.code == "rules.fact"


@pytest.mark.parametrize(
    "condition",
    [
        [],
        {"all": []},
        {"all": [{}]},
        {"fact": "vcpu", "op": ">"},
        {"fact": "vcpu", "op": ">", "value": "64"},
        {"fact": "vcpu", "op": ">", "value": True},
        {"fact": "vcpu", "op": "__import__", "value": 1},
        {"fact": "shoe_size", "op": ">", "value": 1},
        {"fact": "grows", "op": "<", "value": True},
        {"fact": "kind", "op": "in", "value": "create"},
        {"fact": "services", "op": "==", "value": ["vm"]},
        {"all": [{"fact": "grows", "op": "==", "value": True}], "any": []},
        {"not": {}},
        {"fact": "annexes", "op": "has", "value": "证" * 65},
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(condition: Any) -> None:
    with pytest.raises(Invalid) as refusal:
        rules.check(condition, [{"name": "form_check", "role": "supervisor", "days": 1}])
    assert refusal.value.code == "rules.bad"


@pytest.mark.parametrize(
    "step",
    [
        {"name": "form_check", "role": "provider", "days": 1},
        {"name": "authority_approval", "role": "supervisor", "days": 1},
        {"name": "form_check", "role": "supervisor", "days": 0},
        {"name": "form_check", "role": "supervisor", "days": 1.5},
        {"name": "form_check", "role": "nobody", "days": 1},
        {"name": "prayer", "role": "supervisor", "days": 1},
        {"name": "council", "label": "会审", "stage": 20, "days": 1},
        {"name": "council", "label": "会审", "stage": 20, "days": 1, "by": []},
        {"name": "council", "label": "会审", "stage": 20, "days": 1, "by": [{"role": "tenant"}]},
        {"name": "council", "label": "会审", "stage": 20, "days": 1, "by": [{"role": "provider"}]},
        {"name": "council", "label": "会审", "stage": 20, "days": 1, "by": [{"of": "provider"}, {"role": "authority"}]},
        {"name": "council", "label": "会审", "stage": 20, "days": 1, "by": [{"role": "authority"}] * 2},
        {"name": "council", "label": "会审", "stage": 20, "days": 1, "by": [{"role": "authority"}], "need": 2},
        {"name": "council", "label": "会审", "stage": 80, "days": 1, "by": [{"role": "authority"}]},
        {"name": "council", "label": "", "stage": 20, "days": 1, "by": [{"role": "authority"}]},
        {"name": "passed", "label": "会审", "stage": 20, "days": 1, "by": [{"role": "authority"}]},
        {"name": "form_check", "role": "supervisor", "days": 1, "limit": 1},
        {"name": "form_check", "role": "supervisor", "limit": 241, "unit": "hours"},
        {"name": "form_check", "role": "supervisor", "limit": 1, "unit": "weeks"},
        {"name": "form_check", "role": "supervisor", "days": 1, "record": True},
        {"name": "form_check", "role": "supervisor"},
        {"name": "form_check", "role": "supervisor", "days": 1, "supplement_days": 0},
        "form_check",
    ],
)
def test_a_step_that_makes_no_sense_is_refused(step: Any) -> None:
    with pytest.raises(Invalid) as refusal:
        rules.check({}, [step])
    assert refusal.value.code == "rules.bad"


def test_the_authority_alone_enacts_and_never_backwards(town) -> None:
    steps = [{"name": "form_check", "role": "supervisor", "days": 1}]
    with pytest.raises(NotAllowed), town.book.transaction(town.people["checker"]) as tx:
        approvals.enact(tx, "base", "新规", {}, steps, effective_from=DAY)
    with pytest.raises(Invalid) as refusal, town.book.transaction(town.people["chief"]) as tx:
        approvals.enact(tx, "base", "新规", {}, steps, effective_from=date(2026, 5, 31))
    assert refusal.value.code == "rules.past"
    with town.book.transaction(town.people["chief"]) as tx:
        row = approvals.enact(tx, "base", "新规", {}, steps, effective_from=date(2026, 7, 1))
        assert row.version == 2
    with town.book.reading() as tx:
        assert [one.version for one in approvals.in_force(tx, DAY) if one.code == "base"] == [1]
        assert [one.version for one in approvals.in_force(tx, date(2026, 7, 1)) if one.code == "base"] == [2]
        assert len(approvals.in_force(tx, DAY)) == 5


leaves = st.one_of(
    st.builds(
        lambda fact, op, value: {"fact": fact, "op": op, "value": value},
        st.sampled_from(["vcpu", "memory_gb", "accelerator", "quantity"]),
        st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
        st.integers(0, 100),
    ),
    st.builds(
        lambda fact, value: {"fact": fact, "op": "==", "value": value},
        st.sampled_from(["grows", "over_quota", "xinchuang"]),
        st.booleans(),
    ),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=8,
)


@given(conditions, st.integers(0, 100), st.booleans())
def test_conditions_obey_logic(condition: dict[str, Any], vcpu: int, grows: bool) -> None:
    facts = {**PLAIN, "vcpu": vcpu, "grows": grows}
    truth = rules.holds(condition, facts)
    assert rules.holds({"not": condition}, facts) is not truth
    assert rules.holds({"all": [condition, {"not": condition}]}, facts) is False
    assert rules.holds({"any": [condition, {"not": condition}]}, facts) is True
    if not truth and "not" not in condition and "all" not in condition:
        assert rules.holds({"any": [condition, condition]}, facts) is False


THREE = st.sampled_from([True, False, None])


@given(THREE, THREE, THREE)
def test_what_is_not_known_is_neither_true_nor_false(a: bool | None, b: bool | None, c: bool | None) -> None:
    """Kleene's logic: a condition is decided exactly where every value of what is not known decides it alike."""
    facts = {"grows": a, "over_quota": b, "xinchuang": c}
    parts = [{"fact": name, "op": "==", "value": True} for name in facts]
    for condition in ({"all": parts}, {"any": parts}, {"not": {"all": parts}}, {"any": [{"all": parts[:2]}, parts[2]]}):
        worlds = [
            rules.holds(condition, dict(zip(facts, world, strict=True)))
            for world in product(*[[True, False] if one is None else [one] for one in (a, b, c)])
        ]
        assert rules.truth(condition, facts) == (worlds[0] if len(set(worlds)) == 1 else None)


LEVEL = {"fact": "mlps_level", "op": ">=", "value": 4}


def test_what_is_not_known_asks_for_signatures_and_forbids_nothing(defaults: list[Rule]) -> None:
    forbids = Rule("level", 1, DAY, 50, LEVEL, (), RuleOutcome.REFUSE, "不托管")
    lets = Rule("quick", 1, DAY, 50, {"not": LEVEL}, (), RuleOutcome.PASS)
    asks = Rule("level", 1, DAY, 50, LEVEL, [{"name": "authority_approval", "role": "authority", "days": 2}])
    for level, refused, passed, asked in ((4, True, False, True), (3, False, True, False), (None, False, False, True)):
        facts = {**PLAIN, "mlps_level": level}
        assert bool(rules.judge(facts, [*defaults, forbids], DAY).refused) == refused
        assert (rules.judge(facts, [*defaults, lets], DAY).passed is not None) == passed
        assert any(one.name == "authority_approval" for one in rules.path(facts, [*defaults, asks], DAY)) == asked


def test_a_pass_takes_away_what_was_asked_for_before_it_alone_and_never_over_quota(defaults: list[Rule]) -> None:
    small = {"fact": "vcpu", "op": "<=", "value": 96}
    for priority, signed in ((15, ["authority_approval"]), (25, []), (0, ["form_check", "technical_review"])):
        # Of one priority the code decides: `a` comes before `base`.
        lets = Rule("a", 1, DAY, priority, small, (), RuleOutcome.PASS)
        said = rules.judge({**PLAIN, "vcpu": 96}, [*defaults, lets], DAY)
        assert [one.name.value for one in said.signers][: len(signed)] == signed
        assert (said.passed is not None) == (not signed)
        assert [one.name.value for one in said.path][-2:] == ["delivery", "acceptance"]
        over = rules.judge({**PLAIN, "over_quota": True}, [*defaults, lets], DAY)
        assert over.passed is None
        assert len(over.signers) == 3


def test_every_reason_is_given_once_and_named_by_its_rule(defaults: list[Rule]) -> None:
    known = [
        Rule(code, 2, DAY, 5, {"fact": "vcpu", "op": ">", "value": least}, (), RuleOutcome.REFUSE, reason)
        for code, least, reason in (("one", 10, "太大"), ("two", 20, "太大"), ("three", 30, "须分期"))
    ]
    with pytest.raises(Invalid) as refusal:
        rules.signers({**PLAIN, "vcpu": 40}, [*defaults, *known], DAY)
    assert refusal.value.code == "rules.refused"
    assert refusal.value.params["rules"] == ["one@2", "three@2", "two@2"]
    assert refusal.value.params["reasons"] == "太大;须分期"


@pytest.mark.parametrize(
    ("condition", "steps", "outcome", "reason"),
    [
        ({}, [], "pass", ""),
        (LEVEL, [{"name": "form_check", "role": "supervisor", "days": 1}], "pass", ""),
        (LEVEL, [], "pass", "为什么"),
        (LEVEL, [], "refuse", " "),
        (LEVEL, [], "refuse", "长" * 501),
        (LEVEL, [], "refuse", None),
        (LEVEL, [], "perhaps", ""),
        ({"fact": "mlps_level", "op": ">", "value": float("nan")}, [], "refuse", "不"),
        ({"fact": ["vcpu"], "op": ">", "value": 1}, [], "refuse", "不"),
        ({"any": [LEVEL] * 201}, [], "refuse", "不"),
    ],
)
def test_an_outcome_that_makes_no_sense_is_refused(condition: Any, steps: Any, outcome: Any, reason: Any) -> None:
    with pytest.raises(Invalid) as refusal:
        rules.check(condition, steps, outcome, reason)
    assert refusal.value.code == "rules.bad"


END = {"limit": 5, "unit": "days", "then": "case"}


@pytest.mark.parametrize(
    ("ending", "steps", "outcome", "reason"),
    [
        *((wrong, [], "end", "") for wrong in (
            None, {}, [], {"limit": 5}, {**END, "then": "stop"}, {**END, "limit": 0}, {**END, "limit": True}, {**END, "limit": 151},
            {**END, "unit": "hours"}, {**END, "unit": None}, {**END, "then": []}, {**END, "at": "once"},
        )),
        (END, [], "end", "到期"),
        (END, [{"name": "form_check", "role": "supervisor", "days": 1}], "end", ""),
        (END, [{"name": "form_check", "role": "supervisor", "days": 1}], "sign", ""),
        (END, [], "refuse", "不"),
    ],
    ids=range(16),
)  # fmt: skip
def test_what_the_end_of_a_term_cannot_lead_to_is_refused(ending: Any, steps: Any, outcome: Any, reason: Any) -> None:
    with pytest.raises(Invalid) as refusal:
        rules.check(LEVEL, steps, outcome, reason, ending)
    assert refusal.value.code == "rules.bad"


def test_the_end_of_a_term_leads_to_what_the_last_rule_says_that_holds_for_certain(defaults: list[Rule]) -> None:
    def ends(code: str, priority: int, condition: Any, **says: Any) -> Rule:
        return Rule(code, 1, DAY, priority, condition, (), RuleOutcome.END, ending={**END, **says})

    test, facts = {"fact": "purpose", "op": "==", "value": "test"}, {**PLAIN, "purpose": "test", "mlps_level": None}
    known = [*defaults, ends("all", 10, {}, then="question"), ends("test", 20, test), ends("level", 30, LEVEL, limit=1)]
    assert rules.end_of_term(facts, known, DAY).rule == "test@1"
    known.append(ends("term", 40, {"any": [{"fact": "term_days", "op": ">", "value": 1}, LEVEL]}))
    of_old = {name: value for name, value in facts.items() if name not in ("term_days", "mlps_level")}
    assert rules.end_of_term(of_old, known, DAY).rule == "test@1", (
        "one rule that hangs on what is missing silences no other"
    )
    assert rules.end_of_term({**facts, "purpose": "event"}, known, DAY).then == "question"
    assert rules.end_of_term(facts, defaults, DAY) is None
    assert rules.path(facts, known, DAY) == rules.path(facts, defaults, DAY)
    repealed = Rule("test", 2, DAY, 20, {})
    assert rules.end_of_term(facts, [*known, repealed], DAY).rule == "all@1"


TEXT = {"code": "level", "name": "等保四级以上", "effective_from": "2026-06-02", "condition": LEVEL, "outcome": "refuse",
        "reason": "不托管"}  # fmt: skip


def document(*texts: Any, form: str = "guanjia-approval-rules/1") -> str:
    return json.dumps({"format": form, "rules": list(texts)})


def test_a_document_says_what_was_read_from_it() -> None:
    (found,) = rules.read(document(TEXT))
    assert found.rule(3) == Rule("level", 3, date(2026, 6, 2), 0, LEVEL, (), RuleOutcome.REFUSE, "不托管")
    assert rules.read(rules.written([found])) == [found]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (document(), "1 至 200"),
        (document(*[TEXT] * 201), "1 至 200"),
        (document(TEXT, form="guanjia/0"), "须为"),
        (document(TEXT, TEXT), "第 2 条规则的 code"),
        (document(TEXT, {**TEXT, "code": "b2", "effective_from": "明年"}), "第 2 条规则的 effective_from"),
        (document({**TEXT, "colour": 1}), "第 1 条规则的 colour:没有这一项"),
        (document({**TEXT, "priority": True}), "第 1 条规则的 priority"),
        (document({**TEXT, "priority": 1001}), "第 1 条规则的 priority"),
        (document({**TEXT, "name": ""}), "第 1 条规则的 name:不能为空"),
        (document({**TEXT, "code": "drafts"}), "第 1 条规则的 drafts"),
        (document({**TEXT, "reason": ""}), "第 1 条规则的 level:不予受理须写明理由"),
        (document("rule"), "第 1 条规则"),
        ("[" * 100_000, "不是规则文件"),
        (document(TEXT).replace('"code"', '"name": 1, "code"'), "twice"),
        (document({**TEXT, "name": "\ud800"}), "不是规则文件"),
        (document({**TEXT, "name": "a\0b"}), "NUL"),
        (document({**TEXT, "condition": {**LEVEL, "value": float("inf")}}), "Infinity"),
        (" " * 1_000_001, "文件过大"),
        (b"\xff\xfe", "不是规则文件"),
    ],
    ids=range(19),
)
def test_a_document_with_a_mistake_is_refused_by_its_place(text: Any, told: str) -> None:
    with pytest.raises(Invalid) as refusal:
        rules.read(text)
    assert refusal.value.code == "rules.document"
    assert told in str(refusal.value)


@pytest.mark.parametrize(
    ("unit", "count", "due"),
    [
        ("hours", 24, "2026-01-31T10:30:00+08:00"),
        ("days", 15, "2026-02-14T23:59:59+08:00"),
        ("months", 1, "2026-02-28T23:59:59+08:00"),
        ("months", 12, "2027-01-30T23:59:59+08:00"),
        ("working_days", 1, "2026-02-02T23:59:59+08:00"),
    ],
)
def test_a_limit_counts_in_its_unit(unit: str, count: int, due: str) -> None:
    start = datetime.fromisoformat("2026-01-30T10:30:00+08:00")  # a Friday
    assert WorkingDays().limit(start, count, unit) == datetime.fromisoformat(due)
    with pytest.raises(ValueError, match="weeks"):
        WorkingDays().limit(start, 1, "weeks")
