"""Chinese is shown with Chinese marks, whichever width its source was typed with."""

from __future__ import annotations

import re

import pytest

from console import i18n
from console.marks import chinese
from console.words import texts
from quota.errors import Invalid

PLACE = re.compile(r"%\(\w+\)[sdf]")
MIXED = re.compile(r"[\u3400-\u9fff][,;:?!(]|[,;?!)][\u3400-\u9fff]")


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("已交付,请验收", "已交付，请验收"),
        ("办理:通过;退回?是!", "办理：通过；退回？是！"),
        ("关机计费比例(%)", "关机计费比例（%）"),
        ("内存 (MB), 均值", "内存（MB），均值"),
        ("%(name)s(已并入%(successor)s)", "%(name)s（已并入%(successor)s）"),
        ("%(pool)s %(kind)s:通过后余 %(left)s,照用", "%(pool)s %(kind)s：通过后余 %(left)s，照用"),
        ("%(level)s%%,%(minutes)s分钟", "%(level)s%%，%(minutes)s分钟"),
        ("机器(连接(小时均值))", "机器（连接（小时均值））"),
        ("规格名(可用 *)= 架构,如 kc1.* = aarch64", "规格名（可用 *）= 架构，如 kc1.* = aarch64"),
        # What is Latin on both sides stays.
        ("加速卡,如 a100, b200", "加速卡，如 a100, b200"),
        ("10:30起,至多 1,024 个", "10:30起，至多 1,024 个"),
        ('须为 {"format": "%(format)s", "rules": […]}', '须为 {"format": "%(format)s", "rules": […]}'),
        ("地址,如 https://cloud.example:5000/v3", "地址，如 https://cloud.example:5000/v3"),
        ("结果 = 100 * max by ($by) (rate(x{$match}[5m]))", "结果 = 100 * max by ($by) (rate(x{$match}[5m]))"),
        ("file:/路径、env:<变量名>", "file:/路径、env:<变量名>"),
        ("CPU (vCPU), memory; disk", "CPU (vCPU), memory; disk"),
        ("左括号(没有另一半,", "左括号(没有另一半，"),
    ],
)
def test_marks_beside_chinese_are_chinese(typed: str, shown: str) -> None:
    assert chinese(typed) == shown
    assert chinese(shown) == shown


def test_no_source_is_shown_with_both_widths() -> None:
    """Every text of the house as the Chinese page has it: its places kept, and no Latin mark beside Chinese."""
    sources = [str(one.id) for one in i18n.read("en") if one.id]
    assert len(sources) > 5000
    shown = {one: chinese(one) for one in sources}
    assert [one for one, text in shown.items() if PLACE.findall(one) != PLACE.findall(text)] == []
    assert [text for text in shown.values() if MIXED.search(text)] == []
    assert {str(one.id) for one in i18n.in_order() if one.id} == {one for one, text in shown.items() if one != text}


def test_pages_templates_and_refusals_show_them(app) -> None:
    typed, shown = "%(name)s(已并入%(successor)s)", "市一局(筹)（已并入市二局）"
    assert any(one.id == typed for one in i18n.read("en"))
    names = {"name": "市一局(筹)", "successor": "市二局"}
    with app.test_request_context("/"):
        assert texts._(typed, **names) == shown
        assert str(texts.lazy(typed, **names)) == shown
        assert texts.sentence(Invalid("x", typed).message, names) == shown
        assert app.jinja_env.from_string("{{ _(typed, **names) }}").render(typed=typed, names=names) == shown
    with app.test_request_context("/", headers={"Cookie": "language=en"}):
        assert texts._(typed, **names) == "市一局(筹) (merged into 市二局)"
