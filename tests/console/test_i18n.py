"""Every text for people is marked, and has its English."""

from __future__ import annotations

import ast
import functools
import json
import re
from pathlib import Path

import pytest
from jinja2 import Environment
from jinja2.lexer import TOKEN_DATA

from console import i18n
from console.settings import Settings
from console.words import texts
from quota.actors import ROLE_LABELS, Role

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
MODULES = [
    path for path in sorted((ROOT / "console").rglob("*.py")) if "demo" not in path.parts and path.name != "examples.py"
]
"""All but the demo and the workbook's examples, whose Chinese is what people of their cities are called and say."""

CHINESE = re.compile(r"[\u3400-\u9fff]")
MARKS = {"_", "N_", "lazy", "gettext", "lazy_gettext"}


@pytest.fixture(scope="module", autouse=True)
def _read_once():
    """Every source is read through once for all tests, none of which changes one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(i18n, "extracted", functools.cache(i18n.extracted))
        yield


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_the_catalog_is_complete(language):
    assert list(i18n.problems(language)) == []


def test_extraction_sees_templates_code_and_the_book():
    found = {message.id for message in i18n.extracted()}
    for text in ("跳到正文", "登录名或密码不对", "使用单位", "筛选"):
        assert text in found


def test_the_check_sees_what_is_wrong(tmp_path, monkeypatch):
    catalog = i18n.Catalog(locale="en")
    catalog.add("登录", "Log in", flags=["fuzzy"])
    catalog.add("第 %(n)s 页", "Page")
    catalog.add("筛选", "筛选")
    catalog.add("提交申请", "submit ")
    monkeypatch.setattr(i18n, "TRANSLATIONS", tmp_path)
    i18n.write("en", catalog)
    found = "\n".join(i18n.problems("en"))
    for words in (
        "fuzzy: 登录",
        "other places: '第 %(n)s 页' → 'Page'",
        "Chinese in the translation: '筛选'",
        "not in the catalog: 退出",
        "a button begins with a capital: '提交申请' → 'submit '",
        "blank at the end: '提交申请'",
    ):
        assert words in found


def test_filling_in_keeps_what_was_there_and_names_strangers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(i18n, "TRANSLATIONS", tmp_path)
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"登录": "Log in", "没有这句": "?"}), encoding="utf-8")
    assert i18n.main(["fill", str(file)]) == 1
    assert "没有这句" in capsys.readouterr().err
    assert i18n.main(["extract"]) == 0
    assert i18n.read("en").get("登录").string == "Log in"
    assert "登录" not in i18n.missing("en")
    assert i18n.main(["check"]) == 1


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_templates_have_no_unmarked_chinese(path):
    source = path.read_text(encoding="utf-8")
    environment = Environment(extensions=["jinja2.ext.i18n"], autoescape=True)
    data = "".join(value for _line, kind, value in environment.lex(source) if kind == TOKEN_DATA)
    data = re.sub(r"<!--.*?-->", "", data, flags=re.S)
    assert not CHINESE.findall(data), "Chinese outside _()"
    expressions = environment.parse(source)
    marked = {id(arg) for call in expressions.find_all(_call()) if _is_mark(call) for arg in call.args}
    loose = [
        one.value
        for one in expressions.find_all(_const())
        if isinstance(one.value, str) and CHINESE.search(one.value) and id(one) not in marked
    ]
    assert not loose, "Chinese outside _()"


def _call():
    from jinja2.nodes import Call

    return Call


def _const():
    from jinja2.nodes import Const

    return Const


def _is_mark(call):
    return getattr(call.node, "name", "") in MARKS


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "console")))
def test_the_console_has_no_unmarked_chinese(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    fine = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in MARKS:
            fine |= {id(one) for one in ast.walk(node) if isinstance(one, ast.Constant)}
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            fine.add(id(node.value))  # a docstring
    loose = [
        f"line {node.lineno}: {node.value}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CHINESE.search(node.value)
        and id(node) not in fine and (path.name, node.value) not in ALLOWED
    ]  # fmt: skip
    assert not loose, "Chinese outside _() or N_()"


ALLOWED = {
    ("settings.py", Settings.city),
    ("settings.py", Settings().lead_body),
    ("settings.py", Settings().city),
    ("texts.py", "中文"),
    ("i18n.py", i18n.CHINESE.pattern),
}
"""Proper names that are settings, a language's own name."""


def test_the_page_switches_to_english_and_back(client):
    assert 'lang="zh-CN"' in client.get("/login").text
    answer = client.get("/language/en?next=/login")
    assert answer.location == "/login"
    page = client.get("/login").text
    assert '<html lang="en"' in page
    assert "Log in" in page
    assert not CHINESE.search(re.sub(r"示例市|市政务服务和数据管理局|中文", "", page))
    client.get("/language/zh_CN?next=/login")
    assert "登录名" in client.get("/login").text
    assert client.get("/language/fr?next=https://evil.example/").location == "/"


def test_figures_have_units_and_unknown_is_not_nought(app):
    with app.test_request_context():
        assert texts.number(None) == texts.number(float("nan")) == texts.percent(None) == "—"
        assert [texts.capital(one) for one in ("memory (GB)", "vCPU", "disk_growth", "台数")] == [
            "Memory (GB)", "vCPU", "disk_growth", "台数",
        ]  # fmt: skip
        assert texts.number(1234567) == "1,234,567"
        assert texts.number(12.3456) == "12.3"
        assert texts.number(0.00123) == "0.00123"
        assert texts.number(98765.4) == "98,765"
        assert texts.number(0) == "0"
        assert texts.number(99.96) == "100"
        assert [texts.number(one) for one in (559.7, 100.4, 999.96, -250.3)] == ["560", "100", "1,000", "-250"]
        assert texts.percent(12.34) == "12.3 %"
        assert texts.share(1, 3) == "33.3 %"
        assert texts.share(1, 0) == "—"
        assert texts.amount(131072, "memory") == "128 GB"
        assert texts.amount(1536, "memory") == "1.5 GB"
        assert texts.amounts({"memory": 4096, "vcpu": 2, "block": 100}) == "2 vCPU · 4 GB 内存 · 100 GB 块存储"
        assert texts.amounts({}) == "—"


def test_times_are_the_citys_and_days_are_working_days(app, clock):
    from datetime import UTC, datetime

    with app.test_request_context():
        # the clock stands at Monday 2026-06-01 10:00 in the city
        assert texts.when(clock()) == "2026-06-01 10:00"
        assert texts.when(clock(), "date") == "2026-06-01"
        assert texts.days_left(datetime(2026, 6, 5, 15, 59, tzinfo=UTC)) == "剩4个工作日"
        assert texts.days_left(datetime(2026, 6, 8, 15, 59, tzinfo=UTC)) == "剩5个工作日"
        assert texts.days_left(datetime(2026, 6, 1, 15, 59, tzinfo=UTC)) == "今天到期"
        assert texts.days_left(datetime(2026, 6, 1, 1, 0, tzinfo=UTC)) == "今天逾期"
        assert texts.days_left(datetime(2026, 5, 28, 15, 59, tzinfo=UTC)) == "逾期2个工作日"
        assert texts.days_left(datetime(2031, 6, 5, 15, 59, tzinfo=UTC)).endswith(
            "（日历未发布，按法定节日和周末推算）"
        )


def test_every_role_has_a_word_in_both_languages(app):
    for language in ("zh_CN", "en"):
        with app.test_request_context(headers={"Cookie": f"language={language}"}):
            words = [texts.role(role) for role in Role]
            assert all(words)
            assert bool(CHINESE.search("".join(words))) == (language == "zh_CN")
    assert set(ROLE_LABELS) == set(Role)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("1 {case|cases}", "1 case"),
        ("2 {case|cases}", "2 cases"),
        ("0 {case|cases}, 1 {day|days}", "0 cases, 1 day"),
        ("1,001 {case|cases}", "1,001 cases"),
        ("2.1 {case|cases}", "2.1 cases"),
        ("of 1 working {day|days} left", "of 1 working day left"),
        ("{instance|instances}", "instances"),
        ("{home} stands", "{home} stands"),
        ("a | b", "a | b"),
    ],
)
def test_words_agree_with_their_figures(said: str, read: str) -> None:
    assert texts.agreed(said) == read


def test_units_and_sentences_agree_in_english(app) -> None:
    with app.test_request_context("/", headers={"Cookie": "language=en"}):
        assert texts.quantity(1, "实例") == "1 instance"
        assert texts.quantity(3, "实例") == "3 instances"
        assert texts._("实例") == "instances"
        assert texts._("%(n)s件", n="1") == "1 case"
        assert texts.sentence("豁免期最长%(days)s天", {"days": 1}) == "An exemption lasts 1 day at most"
        assert str(texts.lazy("豁免期最长%(days)s天", days=180)) == "An exemption lasts 180 days at most"
        html = app.jinja_env.from_string("{{ _('%(n)s件', n='<b>1</b>') }}").render()
        assert html == "&lt;b&gt;1&lt;/b&gt; case"
