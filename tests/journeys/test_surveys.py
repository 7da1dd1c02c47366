"""Clause 53 of cities' published rules, enacted as data: satisfaction is measured by a survey with items of its own, drafted on its
page and signed by another, answered by departments within its days; a formula from its file takes the mark from it."""

from __future__ import annotations

import io
import json
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from openpyxl import load_workbook

from console import worklist
from metering.workbench import Workbench
from providers.assessment import ScorecardRecord, SurveyAnswer, SurveyResult, cards, surveys
from providers.assessment.surveys import SurveyItem
from quota.actors import Role
from tests.console.test_house import check_page

ITEMS = "响应速度 | 3 | Response\n\n服务态度\t1"
SAID = {"name": "上半年满意度调查", "items": ITEMS, "scale": "5", "reason": "数据局通知 3 号"}
RULE = {
    "code": "asked", "name": "满意度", "basis": "数据局办法", "grades": [["90", "excellent"], ["60", "pass"]],
    "rules": [{
        "indicator": "satisfaction", "weight": "100", "limits": {"per_star": "10", "least_answers": "2", "least_share": "1"},
        "terms": {"source": ["surveys"]},
    }],
}  # fmt: skip


@pytest.fixture
def hourly(house, settings, tmp_path):
    """Does what the hour does."""
    return lambda: worklist.run_once(Workbench(house, tmp_path / "lake"), settings, "expire")


@pytest.fixture
def opened(client_of, house, clock, hourly):
    """Drafts a survey of two weeks on its page, has another sign it, and goes on to its first day: its address."""

    def by(**says):
        first = clock.now.date() + timedelta(days=1)
        body = {**SAID, "starts_on": str(first), "ends_on": str(first + timedelta(days=13)), **says}
        made = client_of("authority1").send("/surveys/new", body)
        assert made.status_code == 302, re.findall(r'class="gj-error[^>]*>.*?</p>', made.text, re.S)
        assert client_of("authority2").send(f"{made.location}/sign").status_code == 302
        hourly()
        with house.reading() as tx:
            assert tx.query(SurveyAnswer).filter_by(survey_id=int(made.location.rsplit("/", 1)[1])).count() == 0
        clock.advance(days=1)
        hourly()
        return made.location

    return by


def answered(client, survey, scores, word=""):
    """Answer what the department's home asks of it: the address of the answer."""
    address = re.search(r"/surveys/answers/\d+", client.get("/").text).group()
    page = client.get(address)
    assert page.status_code == 200
    check_page(address, page.text)
    told = {f"scores-{place}-score": str(score) for place, score in enumerate(scores)}
    shown = re.search(r'name="generation"[^>]* value="(\d+)"', page.text)[1]
    answer = client.send(address, {**told, "word": word, "generation": shown})
    assert answer.location == survey, answer.text
    return address


def mark(client, house, place, period):
    """The company's card of a month: its mark of satisfaction, None where there is too little."""
    assert client.send("/scorecards/new", {"provider": place.provider.id, "period": period}).status_code == 302
    with house.reading() as tx:
        found = tx.query(ScorecardRecord).filter_by(month=period).order_by(ScorecardRecord.revision.desc()).first()
        assert list(cards.check(tx)) == []
        return found.marks[0].mark


def test_53_satisfaction_is_measured_by_a_survey_with_its_own_items(
    client_of, house, place, clock, opened, hourly, posted
) -> None:
    place.machine(), place.machine(department_id=place.second)
    supervisor, chief = client_of(Role.SUPERVISOR), client_of("authority1")
    drafted = supervisor.send(
        "/formulas/drafts/new", {"document": json.dumps(RULE), "effective_from": "2026-06-02", "reason": "数据局办法"}
    ).location
    digest = re.search(r'name="digest"[^>]* value="([0-9a-f]+)"', chief.get(f"{drafted}/enact").text)[1]
    assert chief.send(f"{drafted}/enact", {"digest": digest, "reason": "同意"}).status_code == 302

    posted()
    survey = opened()
    assert {who[:-1] for who in posted()} == {"tenant"}
    first, second, company = client_of("tenant1"), client_of("tenant2"), client_of(Role.PROVIDER)
    page = answered(first, survey, (1, 1), "总是联系不上")
    assert "/surveys/answers/" not in first.get("/").text
    again = {"scores-0-score": "4", "scores-1-score": "2", "word": "仍有不足"}
    assert "已由同事提交" in first.send(page, {**again, "generation": "1"}).text
    assert first.send(page, {**again, "generation": "2"}).location == survey
    assert second.get(page).status_code == 404
    assert first.send(page, {"scores-0-score": "6", "scores-1-score": "2"}).status_code == 422
    assert first.send(page, {"scores-0-score": "4"}).status_code == 422
    for days, told in ((9, set()), (1, {"tenant2"}), (3, set())):  # to the last day
        clock.advance(days=days)
        assert {who for who in posted() if who.startswith("tenant")} == told, (
            "who did not answer, once, three days before"
        )
    hourly()
    assert "答复中" in client_of(Role.SUPERVISOR).get(survey).text
    clock.advance(days=1)
    hourly()
    late = client_of("tenant1")
    assert "截止" in late.send(page, {"scores-0-score": "5", "scores-1-score": "5"}).text
    assert "/surveys/answers/" not in client_of("tenant2").get("/").text
    clock.advance(days=16)
    supervisor = client_of(Role.SUPERVISOR)
    assert mark(supervisor, house, place, "2026-06") is None, "one of two that were asked is too little"

    survey = opened(name="下半年满意度调查")
    answered(client_of("tenant1"), survey, (4, 2), "仍有不足")
    answered(client_of("tenant2"), survey, (5, 5))
    clock.advance(days=30)
    hourly()
    with house.reading() as tx:
        kept = tx.query(SurveyResult).order_by(SurveyResult.id).all()
        assert [(one.asked, one.answered, one.sums) for one in kept] == [(2, 1, [4, 2]), (2, 2, [9, 7])]
        assert kept[1].stars == Decimal("4.25")  # (4.5 × 3 + 3.5) / 4
    supervisor = client_of(Role.SUPERVISOR)
    assert mark(supervisor, house, place, "2026-07") == Decimal("92.5")
    with house.reading() as tx:
        card = tx.query(ScorecardRecord).filter_by(month="2026-07").one().id
    rows = supervisor.get(f"/scorecards/{card}/satisfaction").text
    check_page("/scorecards/satisfaction", rows)
    assert "下半年满意度调查" in rows, "the evidence is called by its name"
    company = client_of(Role.PROVIDER)
    told = company.get(survey).text
    assert "4.25" in told
    assert "4.50、3.50" in told
    for hidden in ("仍有不足", "市教育局"):
        assert hidden not in told
        assert hidden in client_of(Role.SUPERVISOR).get(survey).text
    assert "市水务局" not in client_of("tenant1").get(survey).text
    assert "4.25" not in client_of("tenant1").get(survey).text
    place.prove()


def test_answers_come_back_in_a_workbook_all_or_none(client_of, house, place, opened) -> None:
    place.machine()
    survey = opened(items="响应速度* | 3\n服务态度 | 1")
    tenant, other = client_of("tenant1"), client_of("tenant2")
    check_page(f"{survey}/sheet", tenant.get(f"{survey}/sheet").text)

    def sent(*rows, by=tenant):
        """Fill the rows in beneath the headings of what was downloaded and bring it back."""
        book = load_workbook(io.BytesIO(tenant.get(f"{survey}/answers.xlsx").data))
        page = book["答卷"]
        page.delete_rows(2, page.max_row)
        for row in rows:
            page.append(row)
        kept = io.BytesIO()
        book.save(kept)
        return by.send(f"{survey}/sheet", {"file": (io.BytesIO(kept.getvalue()), "答卷.xlsx")})

    page = load_workbook(io.BytesIO(tenant.get(f"{survey}/answers.xlsx").data))["答卷"]
    head, row = page.iter_rows(values_only=True)
    assert head == ("答卷*", "版次*", "使用单位", "云服务商", "1. 响应速度", "2. 服务态度", "意见")
    assert row == ("DJ-000001", 1, "市教育局", place.provider.name, None, None, None)
    assert sent(row).location == survey, "what is not filled in is not answered"
    good = (*row[:4], 4, 2, "仍有不足")
    for wrong, word in (
        ((*row[:4], 6, 2, ""), "1. 响应速度"), ((*row[:4], 4, None, ""), "2. 服务态度"), ((*row[:4], "好", 2, ""), "不是数"),
        (("DJ-9", *good[1:]), "没有编号为 9 的答卷"), (("第一份", *good[1:]), "没有编号为 0 的答卷"), ((row[0], 2, *good[2:]), "已由同事提交"),
    ):  # fmt: skip
        told = sent(wrong)
        assert (told.status_code, word in told.text, "没有登记任何内容" in told.text) == (200, True, True), wrong
    assert "与第 2 行重复" in sent(good, good).text
    assert "没有编号为 1 的答卷" in sent(good, by=other).text
    with house.reading() as tx:
        assert tx.query(SurveyAnswer).one().scores is None
    assert sent(good).location == survey
    assert sent(good).location == survey, "again changes nothing"
    with house.reading() as tx:
        kept = tx.query(SurveyAnswer).one()
        assert (kept.scores, kept.word, kept.generation) == ([4, 2], "仍有不足", 2)


def test_a_draft_is_signed_by_two_and_seen_by_none_before_its_day(client_of, house, place, clock) -> None:
    today, chief = clock.now.date(), client_of("authority1")
    body = {**SAID, "starts_on": str(today), "ends_on": str(today)}
    for says, word in (
        ({"items": "响应速度"}, "第 1 行"),
        ({"items": "响应速度 | 3\n态度 | 0"}, "第 2 行的权重"),
        ({"items": "响应速度 | 3\n响应速度 | 3"}, "第 2 行的题目与前面重复"),
        ({"items": "速" * 201 + " | 3"}, "第 1 行的题目超过 200 字"),
        ({"items": " \n "}, "题目"),
        ({"items": "\n".join(f"题 {n} | 1" for n in range(61))}, "1 至 60 道"),
        ({"scale": "1"}, "2"),
        ({"ends_on": str(today - timedelta(days=1))}, "截止日须不早于开始日"),
        ({"ends_on": str(today + timedelta(days=366))}, "不超过一年"),
        ({"starts_on": str(today - timedelta(days=1))}, "不能从过去的日期开始"),
        ({"name": " "}, "名称"),
    ):
        answer = chief.send("/surveys/new", {**body, **says})
        assert (answer.status_code, word in answer.text) == (422, True), says
    made = chief.send("/surveys/new", body).location
    assert client_of(Role.SUPERVISOR).send("/surveys/new", body).status_code == 403
    chief.send(f"{made}/sign")
    assert "须由另一人签署" in chief.get(made).text
    assert client_of("tenant1").get(made).status_code == 404
    other = chief.send("/surveys/new", body).location
    assert chief.send(f"{other}/withdraw").status_code == 302
    second = client_of("authority2")
    second.send(f"{other}/sign")
    assert "已生效或已撤回" in second.get(other).text
    clock.advance(days=1)
    second = client_of("authority2")
    second.send(f"{made}/sign")
    assert "不能从过去的日期开始" in second.get(made).text, "what was signed too late asks nobody"
    with house.reading() as tx:
        assert [one.state for one in tx.query(surveys.Survey).order_by(surveys.Survey.id)] == ["drafted", "withdrawn"]


@pytest.mark.parametrize("scale", [2, 5, 10])
def test_the_ends_of_any_scale_are_one_and_five_stars(scale) -> None:
    items = [SurveyItem("甲", 3), SurveyItem("乙", 1)]
    assert surveys.stars(items, scale, [Decimal(1)] * 2) == 1
    assert surveys.stars(items, scale, [Decimal(scale)] * 2) == 5
    assert surveys.stars(items, scale, [Decimal(scale), Decimal(1)]) == 4
