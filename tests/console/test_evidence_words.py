"""Rows of evidence are read in words, units and the city's time; what they keep is for recomputation."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from console.words import evidence as evidence_words
from console.words.evidence import FACTS, called, facts
from providers.assessment import evidence, evidence_rows
from providers.assessment.compatibility import Fitness
from providers.assessment.records import CERTIFICATES, RecordKind
from providers.base import Verb

ORDER = {
    "number": "GD-2026-000021", "verb": "create", "due_at": "2026-10-23T15:59:59+00:00", "delivered_at": None, "ok": False,
}  # fmt: skip
BILL = {
    "pool": "p", "lines": [7], "kind": "memory", "billed": "46080.0000", "metered": "1500.0000", "disputed": "0",
    "causes": ["x"],
}  # fmt: skip


def test_codes_moments_and_shares_are_written_for_people(app: Flask) -> None:
    with app.test_request_context("/"):
        assert facts(ORDER) == "工单号 GD-2026-000021；事项 开通；期限 2026-10-23 23:59；达标 否"
        assert facts(ORDER, beside="工单 GD-2026-000021").startswith("事项 开通")
        assert facts(BILL) == "资源池 p；类别 内存；账单 46,080；已证实 1,500；有差异 0"
        assert facts({"rate": "0.6057", "at": "2026-11"}) == "分配率 60.6 %；时点 2026-11"
        assert facts({"what": "none", "count": 1}) == "内容 安全核查(当月无事件)；数量 1"


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("capacity:gov-arm/2026-09/memory", "分配率 · gov-arm · 2026-09 · 内存"),
        ("samples:gov-arm/2026-09", "数据上报 · gov-arm · 2026-09"),
        ("certificate:mlps3", "证书 · 等保三级测评"),
        ("bill:999/i-1/vcpu", "bill:999 · i-1 · vCPU"),
        ("nothing that we know", "nothing that we know"),
    ],
)
def test_a_row_is_called_by_what_people_know(app: Flask, ref: str, name: str) -> None:
    with app.test_request_context("/"):
        assert called(ref) == name


def test_no_code_that_a_row_may_keep_is_without_words(app: Flask) -> None:
    from pathlib import Path

    source = "".join(Path(str(one.__file__)).read_text("utf-8") for one in (evidence, evidence_rows))
    kept = set(re.findall(r'"(\w+)": ', source)) - {"lines", "causes"}
    assert kept - set(FACTS) - {"figures", "passed"} == set()
    with app.test_request_context("/", headers={"Cookie": "language=en"}):
        for name, codes in (
            ("verb", Verb), ("fitness", Fitness), ("certificate", CERTIFICATES), ("what", evidence_words.SEEN),
            ("veto", (RecordKind.LEAK, RecordKind.FALSIFIED)),
        ):  # fmt: skip
            for code in codes:
                said = facts({name: str(code)})
                assert not said.endswith(f" {code}"), said
                assert not re.search(r"[\u4e00-\u9fff]", said), said
