"""Who must sign follows from rules that are data: pure, versioned, and closed where nobody is named."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota.actors import Role
from quota.errors import Invalid, NotAllowed
from quota.requests import approvals, rulebook, rules
from quota.requests.rules import Rule, StepName

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
