"""Rows of evidence are read in words, units and the city's time; what they keep is for recomputation."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from flask import Flask

from console import scoring
from console.words import _
from console.words.evidence import called, facts, figure
from providers.assessment import FactFormat, FigureUnit, records, registry

ORDER = {
    "number": "GD-2026-000021", "verb": "create", "due_at": "2026-10-23T15:59:59+00:00", "delivered_at": None, "ok": False,
}  # fmt: skip
BILL = {
    "pool": "p", "lines": [7], "kind": "memory", "billed": "46080.0000", "metered": "1500.0000", "disputed": "0",
    "causes": ["x"],
}  # fmt: skip


def test_codes_moments_and_shares_are_written_for_people(app: Flask) -> None:
    with app.test_request_context("/"):
        assert facts(ORDER, "delivery") == "工单号 GD-2026-000021；事项 开通；期限 2026-10-23 23:59；达标 否"
        assert facts(ORDER, "optimisation", beside="工单 GD-2026-000021").startswith("事项 开通")
        assert facts(BILL, "metering") == "资源池 p；类别 内存；账单 46,080；已证实 1,500；有差异 0"
        assert facts({"rate": "0.6057", "at": "2026-11"}, "capacity") == "分配率 60.6 %；时点 2026-11"
        assert facts({"what": "none", "count": 1}, "security") == "内容 安全核查（当月无事件）；数量 1"


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("capacity:gov-arm/2026-09/memory", "分配率 · gov-arm · 2026-09 · 内存"),
        ("samples:gov-arm/2026-09", "数据上报 · gov-arm · 2026-09"),
        ("certificate:mlps3", "证书 · 等保三级测评"),
        ("bill:999/i-1/vcpu", "bill:999 · 〔其他单位的资源〕 · vCPU"),
        ("nothing that we know", "nothing that we know"),
    ],
)
def test_a_row_is_called_by_what_people_know(app: Flask, ref: str, name: str) -> None:
    """Read by nobody, who may know of no machine."""
    with app.test_request_context("/"):
        assert called(ref) == name


def test_no_word_of_an_indicator_is_without_its_english(app: Flask) -> None:
    assert scoring, "with it every indicator is registered"
    chinese = re.compile(r"[\u4e00-\u9fff]")
    with app.test_request_context("/", headers={"Cookie": "language=en"}):
        for one in registry.indicators():
            told = [one.label, one.explanation, *(limit.label for limit in one.measure.limits)]
            told += [source.label for source in one.sources.values()]
            told += [word for kind in one.records for word in (kind.label, *(field.label for field in kind.fields))]
            assert [word for word in told if chinese.search(_(word)) or not _(word)] == []
            for fact in one.facts:
                for code in fact.words:
                    said = facts({fact.name: code}, one.code)
                    assert said, (one.code, fact.name, code)
                    assert not chinese.search(said), said
                assert fact.label or fact.shown is FactFormat.HIDDEN
        for kind in records.kinds():
            if kind.veto:
                said = facts({"veto": kind.code}, "security")
                assert not said.endswith(f" {kind.code}"), said
                assert not chinese.search(said), said


def test_figures_of_indicators_have_their_unit(app: Flask) -> None:
    with app.test_request_context("/"):
        assert figure(Decimal("0.999512"), FigureUnit.SHARE) == "99.9512 %"
        assert figure(Decimal("0.0001"), FigureUnit.SHARE) == "0.01 %"
        assert figure(Decimal("2.5"), FigureUnit.POINTS) == "2.5 分"
        assert figure(Decimal(3), FigureUnit.COUNT) == "3"
        assert figure(None, FigureUnit.SHARE) == "—"


def test_a_card_of_an_indicator_that_is_not_registered_can_still_be_read(app: Flask) -> None:
    with app.test_request_context("/"):
        assert registry.label("no_more") == "no_more"
        assert facts({"ok": True, "veto": "no_more"}, "no_more") == "一票否决 no_more"
