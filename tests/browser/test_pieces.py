"""The pieces that pages are made of, all on one page: charts, meters, figures, histories, forms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flask import render_template_string
from flask_wtf import FlaskForm
from playwright.sync_api import expect
from wtforms import BooleanField, IntegerField, RadioField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, NumberRange

from console.access import public
from console.app import create_app
from console.charts.charts import Chart, Series
from console.settings import Settings
from quota.db import Book
from tests import books
from tests.browser.conftest import LONG_MIN, Live, serve

PAGE = """{% extends "base.html" %}{% import "_macros.html" as ui %}
{% block title %}部件{% endblock %}
{% block main %}
{% call ui.header("教育局门户扩容", "submitted", "运营监督方", action=("同意", "/login"),
                  trail=[("申请", "/login"), ("A-17", "/login")], due=soon) %}
<a class="btn" href="/login">退回</a>{% endcall %}
{{ ui.as_of(old) }}
{% call ui.figures() %}
{{ ui.figure("已授予", 12345|quantity("vCPU"), "2026-05-01 – 2026-05-30", 98.7, "/login", "可用 214 vCPU") }}
{{ ui.figure("逾期", "3", tone="bad", href="/login") }}{{ ui.figure("使用率", none|percent) }}
{% endcall %}
<div class="gj-columns"><div>
{% call ui.card("使用情况") %}{{ ui.chart(cpu) }}{{ ui.chart(bars) }}{{ ui.chart(nothing) }}{% endcall %}
{% call ui.card("填报") %}{% call ui.form(form, draft="pieces") %}
{{ ui.field(form.count, unit="vCPU", hint="剩余 214 vCPU") }}
{{ ui.field(form.arch) }}{{ ui.field(form.why) }}{{ ui.field(form.sure) }}
{% endcall %}{% endcall %}
</div><div>
{% call ui.card("配额", ("全部", "/login")) %}
{{ ui.meter(60, 100, 20, "80 / 100 vCPU", "aarch64") }}{{ ui.meter(130, 100, 0, "130 / 100 GB", "x86_64") }}{% endcall %}
{% call ui.card("核对") %}{{ ui.check_answers([("数量", 8, "/login"), ("理由", "", none)]) }}{% endcall %}
{% call ui.card("清单") %}<ul>{% for n in range(4) %}<li><a href="/login">web-0{{ n }}</a> {{ ui.state("idle") }}</li>
<li><a href="/login">A-1{{ n }}</a></li>{% endfor %}</ul>{% endcall %}
{% call ui.card("历史") %}{{ ui.timeline(events) }}{% endcall %}
{% call ui.card("状态") %}{% for code in codes %}{{ ui.state(code) }} {% endfor %}
{{ ui.deadline(late) }} {{ ui.deadline(soon) }}{% endcall %}
{{ ui.note("说明") }}
{{ ui.note("注意", "attention") }}{{ ui.note("出错", "bad") }}{{ ui.note("完成", "good") }}
</div></div>
{% endblock %}
{% block charts %}{{ ui.chart_script() }}{% endblock %}"""

NOW = datetime(2026, 6, 1, 2, 0, tzinfo=UTC)


class Form(FlaskForm):
    count = IntegerField("数量", [InputRequired("请填写数量"), NumberRange(1, 64, "数量在1到64之间")])
    arch = RadioField("架构", [InputRequired("请选择架构")], choices=[SelectChoice("x86_64"), SelectChoice("aarch64")])
    why = TextAreaField("理由", description="说明测算依据")
    sure = BooleanField("已与业务处室确认")


@pytest.fixture(scope="module")
def pieces(tmp_path_factory) -> Iterator[Live]:
    settings = Settings(data=tmp_path_factory.mktemp("pieces"), idle_minutes=LONG_MIN)
    book = Book(books.sqlite(settings.data / "book.db"), clock=lambda: NOW)
    app = create_app(settings, book)
    hours = [NOW - timedelta(hours=n) for n in range(240, 0, -1)]
    use = [None if 90 < n < 120 else 40 + 30 * math.sin(n / 12) for n in range(240)]
    names = ["市教育局", "市水务局", "市交通局"]

    @app.route("/pieces", methods=["GET", "POST"])
    @public
    def show() -> str:
        form = Form()
        form.validate_on_submit()
        return render_template_string(
            PAGE,
            form=form,
            soon=NOW + timedelta(days=3),
            late=NOW - timedelta(days=3),
            old=NOW - timedelta(hours=5),
            codes=[
                "draft",
                "submitted",
                "returned",
                "approved",
                "rejected",
                "delivering",
                "overdue",
                "idle",
                "overloaded",
            ],
            events=[
                {
                    "at": NOW,
                    "who": "林督导",
                    "what": "部分通过",
                    "reason": "按测算依据核减",
                    "changes": [("数量", 16, 8), ("架构", None, "aarch64")],
                }
            ],
            cpu=Chart(
                "cpu",
                "CPU使用率",
                hours,
                [
                    Series("使用率", use),
                    Series("上周", [v and v - 9 for v in use]),
                    Series("规格", [100] * 240, role="capacity"),
                ],
                unit="%",
                period="2026-05-22 – 2026-05-31",
                coverage=87.5,
                thresholds=[("繁忙", 80)],
            ),
            bars=Chart(
                "bars",
                "按单位",
                names,
                [Series("已用", [40, 25, None], "bar", stack="a"), Series("预占", [4, 2, 6], "bar", stack="a")],
                unit="vCPU",
                horizontal=True,
                links=["/login?at=1", "/login?at=2", "/login?at=3"],
            ),
            nothing=Chart("nothing", "内存使用率", hours, [Series("使用率", [None] * 240)], unit="%"),
        )

    yield from serve(app, {})
    book.dispose()


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("look", ["light", "dark"])
def test_every_piece_is_accessible_and_fits(open_page, check, shot, pieces, width, look):
    page = open_page(None, width, look, at=pieces)
    page.goto("/pieces")
    expect(page.locator("canvas")).to_have_count(2)
    check(page)
    shot(page, f"pieces-{look}", full=True)


def test_a_chart_is_drawn_and_its_table_tells_the_same(open_page, pieces, check):
    page = open_page(None, at=pieces)
    page.goto("/pieces")
    drawn = page.evaluate("document.querySelector('[data-chart=cpu] canvas').toDataURL().length")
    assert drawn > 5000
    page.click("details.gj-behind >> nth=1")
    expect(page.locator("details[open] tbody tr").nth(2)).to_contain_text("—")
    expect(page.get_by_text("没有数据不等于零")).to_be_visible()
    check(page)


def test_a_click_on_a_bar_leads_to_its_rows(open_page, pieces):
    page = open_page(None, at=pieces)
    page.goto("/pieces")
    box = page.locator("[data-chart=bars] canvas").bounding_box()
    page.mouse.move(box["x"] + 150, box["y"] + 70)
    expect(page.locator(".gj-tip")).to_contain_text("vCPU")
    page.mouse.click(box["x"] + 150, box["y"] + 70)
    expect(page).to_have_url(pieces.address + "/login?at=1")


def test_a_form_says_what_is_wrong_and_keeps_what_was_typed(open_page, pieces, check):
    page = open_page(None, 390, at=pieces)
    page.goto("/pieces")
    page.fill("#count", "99")
    page.fill("#why", "汛期访问量大")
    page.click("main button.btn-primary")
    expect(page.locator("#errors li")).to_have_count(2)
    expect(page.locator("#count-error")).to_contain_text("数量在1到64之间")
    assert page.input_value("#count") == "99"
    assert page.input_value("#why") == "汛期访问量大"
    check(page)


def test_what_was_typed_survives_going_away_and_coming_back(open_page, pieces):
    page = open_page(None, at=pieces)
    page.goto("/pieces")
    page.fill("#why", "还没写完")
    page.goto("/login")
    page.goto("/pieces")
    assert page.input_value("#why") == "还没写完"
