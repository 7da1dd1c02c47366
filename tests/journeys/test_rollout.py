"""Starting softly, over HTTP: the shadow, what it would open, the authority's word, letters a week; and many cases in one act."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import select

from metering import batches, cases
from metering.cases import openings
from metering.judging.policy import Verdict
from metering.rollout import ceilings, scopes
from quota.actors import Actor, Role, steward
from tests.city import SMALL
from tests.console.test_house import check_page
from tests.journeys.test_cases import Journey, town  # noqa: F401 - a city of cases behind the front door

HIDDEN = re.compile(r'<input[^>]*name="(seen|case|key)"[^>]*value="([^"]*)"')
HIDDEN_BEFORE = re.compile(r'<input[^>]*value="([^"]*)"[^>]*name="(key)"')


def looked_at(town: Journey, login: str, url: str) -> str:  # noqa: F811
    page = town.page(login, url)
    check_page(url, page)
    return page


def send(town: Journey, login: str, url: str, body: dict[str, Any], status: int = 302) -> Any:  # noqa: F811
    answer = town.visit(login).send(url, body)
    assert answer.status_code == status, answer.text[-3000:]
    if status == 200:
        check_page(url, answer.text)
    return answer


def night(town: Journey, machines: list[int]) -> openings.Opening:  # noqa: F811
    return openings.open_all(town.book, town.judge(dict.fromkeys(machines, Verdict.IDLE), target={}))


@pytest.fixture
def founded_town(town: Journey) -> Journey:  # noqa: F811
    """As a house that was just founded: in the shadow, with few letters."""
    with town.book.transaction(steward("init")) as tx:
        scopes.begin_in_shadow(tx)
        ceilings.begin_low(tx)
    return town


def test_from_the_shadow_to_the_first_cases(founded_town: Journey) -> None:
    town = founded_town  # noqa: F811
    machines = [town.machine() for _ in range(3)]
    body = {"direction": "open", "departments": [town.department], "pools": [], "reason": "结论核对无误"}
    assert "还没有评估过" in send(town, "authority1", "/rollout/decide", body, 200).text
    run = town.judge(dict.fromkeys(machines, Verdict.IDLE), target={})
    assert "还没有立过案" in looked_at(town, "authority1", "/rollout/")
    assert "本应立案 3 件" in send(town, "authority1", "/rollout/decide", body, 200).text, "judged, and not summed yet"
    assert openings.open_all(town.book, run).why() == {"shadow": 3}
    assert "还没有立过案" not in looked_at(town, "authority1", "/rollout/")
    for url in ("/", "/findings/", "/cases/", "/rollout/"):
        page = looked_at(town, "authority1", url)
        assert "试运行" in page, url
        assert "72" in page, f"{url} says what it would recover"
    assert "机器1" in looked_at(town, "supervisor1", "/rollout/waiting?why=shadow")
    assert "某局" not in looked_at(town, "auditor1", "/rollout/waiting?why=letters")
    assert "据此结论不立案" in looked_at(town, "supervisor1", "/findings/1")
    assert "据此结论不立案" not in looked_at(town, "tenant1", "/findings/1")
    assert 'action="/cases/open"' not in town.page("supervisor1", "/findings/"), (
        "nothing is opened by hand there, either"
    )
    assert "本应立案 3 件" in send(town, "authority1", "/rollout/decide", body, 200).text
    assert town.page("supervisor1", "/rollout/decide", 403)
    send(town, "authority1", "/rollout/decide", {**body, "step": "confirm"})
    assert "结论核对无误" in looked_at(town, "auditor1", "/rollout/")
    send(town, "authority1", "/rollout/decide", {**body, "step": "confirm"}, 422)
    send(
        town, "authority1", "/rollout/ceiling", {"scope": "city", "department": 0, "per_week": 2, "reason": "循序渐进"}
    )
    town.clock.advance(days=1)
    assert night(town, machines).why() == {"letters": 1}
    page = looked_at(town, "supervisor1", "/rollout/waiting")
    assert "本周通知已满" in page
    assert "2026-09-28" in page, "the Monday of its turn"
    assert "1 件等候通知名额" in looked_at(town, "supervisor1", "/cases/")


def test_the_ceiling_holds_on_the_page_of_letters(town: Journey) -> None:  # noqa: F811
    night(town, [town.machine() for _ in range(3)])
    with town.book.reading() as tx:
        ids = list(tx.scalars(select(cases.Case.id).order_by(cases.Case.id)))
    for case_id in ids:
        town.do("supervisor1", case_id, "review")
    for wrong in ({"per_week": 0}, {"per_week": 5, "scope": "one"}, {"per_week": "x"}, {"reason": ""}):
        body = {"scope": "city", "department": 0, "per_week": 2, "reason": "循序渐进", **wrong}
        send(town, "authority1", "/rollout/ceiling", body, 422)
    send(
        town, "authority1", "/rollout/ceiling", {"scope": "city", "department": 0, "per_week": 2, "reason": "循序渐进"}
    )
    page = looked_at(town, "supervisor1", "/notices/new")
    assert "还可通知 2 件" in page
    assert page.count(" checked") == 2
    assert "预计 2026-09-28 当周轮到" in page
    assert "预计 2026-09-28 当周轮到" in looked_at(town, "supervisor1", f"/cases/{ids[2]}")
    assert "当周轮到" not in looked_at(town, "supervisor1", f"/cases/{ids[0]}")
    chosen = [f"{one}:{town.see(one).generation}" for one in ids]
    refused = send(town, "supervisor1", "/notices/new", {"case": chosen, "confirmed": "1"}, 422)
    assert "本周还可通知 2 件" in refused.text
    send(town, "supervisor1", "/notices/new", {"case": chosen[:2], "confirmed": "1"})
    assert [town.see(one).state for one in ids] == ["noticed", "noticed", "reviewed"]


def form_of(page: str) -> dict[str, Any]:
    found: dict[str, Any] = {"seen": [], "case": []}
    for name, value in HIDDEN.findall(page):
        found[name] = value if name == "key" else [*found[name], value]
    return found | {name: value for value, name in HIDDEN_BEFORE.findall(page)}


def test_alike_cases_are_reviewed_and_noticed_in_one_act(town: Journey) -> None:  # noqa: F811
    night(town, [town.machine(SMALL) for _ in range(4)])
    groups = looked_at(town, "supervisor1", "/batches/")
    url = re.search(r'href="(/batches/review/[^"]*)"', groups).group(1)
    body = form_of(looked_at(town, "supervisor1", url))
    assert len(body["case"]) == 4
    kept = body["case"][0].partition(":")[0]
    body |= {"case": body["case"][1:], "reason": "集中审核", "step": "check"}
    check = send(town, "supervisor1", url, body, 200).text
    assert f'name="except-{kept}"' in check
    body["step"] = "confirm"
    assert "请写明每个除外案件的理由" in send(town, "supervisor1", url, body, 200).text
    with town.book.transaction(town.second) as tx:  # somebody else was there first
        two = cases.case(tx, int(body["case"][0].partition(":")[0]))
        cases.dismiss(tx, two, "该资源已列入迁移计划,不再处理")
    done = send(town, "supervisor1", url, {**body, f"except-{kept}": "正在核对归属"})
    shown = looked_at(town, "supervisor1", done.location)
    assert "正在核对归属" in shown
    assert "已有变化" in shown
    again = send(town, "supervisor1", url, {**body, f"except-{kept}": "正在核对归属"})
    assert again.location == done.location, "the same act again is the same"
    assert "正在核对归属" in looked_at(town, "supervisor1", f"/cases/{kept}")
    page = looked_at(town, "supervisor1", "/batches/")
    url = re.search(r'href="(/batches/issue/[^"]*)"', page).group(1)
    body = form_of(looked_at(town, "supervisor1", url)) | {"reason": "请按期答复", "step": "confirm"}
    sent = send(town, "supervisor1", url, body)
    assert "闲收忙扩" in looked_at(town, "auditor1", sent.location)
    assert town.page("tenant1", sent.location, 403)
    assert town.page("authority1", url, 403), "who may not notice one may not notice many"
    assert town.page("supervisor1", "/batches/reply/reclaim/idle/1", 404)
    letter = looked_at(town, "tenant1", "/notices/1")
    assert letter.count("AJ2026") >= 2


def test_what_was_cut_off_waits_for_who_signed_it(town: Journey) -> None:  # noqa: F811
    night(town, [town.machine(SMALL) for _ in range(2)])
    with town.book.reading() as tx:
        shown = {one.id: one.generation for one in tx.scalars(select(cases.Case))}
    group = batches.Alike(cases.CaseAct.REVIEW, "reclaim", "idle", town.policy)
    with town.book.transaction(Actor("supervisor1", "甲", Role.SUPERVISOR)) as tx:  # and there the power failed
        batch = batches.begin(tx, group, shown, {}, "集中审核", key="one").id
    assert f"/batches/{batch}" in looked_at(town, "supervisor1", "/")
    assert "没有办完的批量办理" not in looked_at(town, "supervisor2", "/")
    page = looked_at(town, "supervisor1", f"/batches/{batch}")
    assert "继续办理" in page
    assert "须由签办人继续办理" in looked_at(town, "supervisor2", f"/batches/{batch}")
    send(town, "supervisor2", f"/batches/{batch}/resume", {}, 403)
    assert [town.see(one).state for one in shown] == ["detected"] * 2
    send(town, "supervisor1", f"/batches/{batch}/resume", {})
    assert [town.see(one).state for one in shown] == ["reviewed"] * 2
    assert "没有办完的批量办理" not in looked_at(town, "supervisor1", "/")
    send(town, "supervisor1", "/batches/999/resume", {}, 404)
