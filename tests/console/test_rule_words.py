"""A rule in words says what the rule says: conditions as groups, values as people write them, reasons."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.words import rules as rule_words
from console.words.rules import FactComparison
from quota.requests import rules

leaves = st.one_of(
    st.builds(
        lambda fact, op, value: {"fact": fact, "op": op, "value": value},
        st.sampled_from(["vcpu", "memory_gb", "quantity"]),
        st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
        st.integers(0, 3),
    ),
    st.builds(
        lambda fact, op, value: {"fact": fact, "op": op, "value": value},
        st.sampled_from(["grows", "over_quota"]),
        st.sampled_from(["==", "!="]),
        st.booleans(),
    ),
    st.builds(
        lambda values: {"fact": "kind", "op": "in", "value": values}, st.lists(st.sampled_from(["create", "quota"]))
    ),
    st.builds(
        lambda value: {"fact": "services", "op": "has", "value": value}, st.sampled_from(["vm", "accelerator"])
    ),
)  # fmt: skip
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=6,
)
facts = st.fixed_dictionaries(
    {
        "vcpu": st.integers(0, 3),
        "memory_gb": st.integers(0, 3),
        "quantity": st.integers(0, 3),
        "grows": st.booleans(),
        "over_quota": st.booleans(),
        "kind": st.sampled_from(["create", "quota", "resize"]),
        "services": st.lists(st.sampled_from(["vm", "accelerator"]), unique=True),
    }
)


@given(conditions, st.lists(facts, min_size=5, max_size=20))
def test_groups_mean_what_the_condition_means(condition: dict[str, Any], many: list[dict[str, Any]]) -> None:
    again = rule_words.condition(rule_words.groups(condition))
    rules.check(again, [])
    for one in many:
        assert rules.holds(again, one) == rules.holds(condition, one)


def test_no_condition_is_about_every_request(app) -> None:
    assert rule_words.groups({}) == []
    assert rule_words.condition([[], []]) == {}
    with app.test_request_context("/"):
        assert rule_words.condition_words({}) == ["所有申请"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (FactComparison("vcpu", ">", 1500), "新增 vCPU 大于 1,500"),
        (FactComparison("over_quota", "==", True), "超出配额"),
        (FactComparison("xinchuang", "!=", True), "非“信创资源池”"),
        (FactComparison("xinchuang", "==", False), "非“信创资源池”"),
        (FactComparison("kind", "not in", ("create", "quota")), "申请类型 不属于 新增、配额调整"),
        (FactComparison("services", "lacks", "bare_metal"), "服务类型 不包含 裸金属"),
    ],
)
def test_a_row_in_words(app, row: FactComparison, words: str) -> None:
    with app.test_request_context("/"):
        assert rule_words.row_words(row) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vcpu 96 > 64", "新增 vCPU 96 大于 64"),
        ("over_quota true", "超出配额"),
        ("xinchuang false", "非“信创资源池”"),
        ("not xinchuang false", "非“信创资源池”"),
        ("memory_gb 256.0 > 128", "新增内存 GB 256 大于 128"),
        ("not kind create == quota", "申请类型 新增 不是 配额调整"),
        ("services ['vm', 'accelerator'] has accelerator", "服务类型 包含 加速卡"),
        ("something else", "something else"),
    ],
)
def test_a_reason_in_words(app, text: str, words: str) -> None:
    with app.test_request_context("/"):
        assert rule_words.because([text]) == words


def test_reasons_are_one_sentence(app) -> None:
    with app.test_request_context("/"):
        assert rule_words.because(["grows true", "vcpu 96 > 64"]) == "增加占用，新增 vCPU 96 大于 64"
        assert rule_words.because([]) == ""


@pytest.mark.parametrize("xinchuang", [True, False])
def test_a_negated_fact_is_said_as_it_is(app, xinchuang: bool) -> None:
    condition = {"not": {"fact": "xinchuang", "op": "==", "value": not xinchuang}}
    written = rules.why(condition, {"xinchuang": xinchuang})
    with app.test_request_context("/"):
        assert rule_words.because(written) == ("信创资源池" if xinchuang else "非“信创资源池”")


def test_reasons_are_those_that_the_rules_write(app) -> None:
    every = {"kind": "create", "services": ["vm"], "quantity": 1, "vcpu": 96, "memory_gb": 16.5, "block_gb": 0,
             "accelerator": 0, "grows": True, "over_quota": True, "xinchuang": False}  # fmt: skip
    condition = {"all": [
        {"fact": "vcpu", "op": ">", "value": 64}, {"fact": "memory_gb", "op": "<", "value": 20},
        {"not": {"fact": "kind", "op": "==", "value": "quota"}}, {"fact": "kind", "op": "in", "value": ["create"]},
        {"fact": "services", "op": "has", "value": "vm"}, {"fact": "xinchuang", "op": "==", "value": False},
    ]}  # fmt: skip
    reasons = rules.why(condition, every)
    assert len(reasons) == 6
    with app.test_request_context("/"):
        for reason in reasons:
            assert rule_words.because([reason]) != reason
