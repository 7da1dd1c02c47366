"""Clause 34 of cities' published rules, enacted as data (``test_clauses``): the year's projects are collected and judged, their technical plans
reviewed, and an assent comes before a project is accepted."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.directory import FundedProject, departments
from tests.journeys.test_clauses import enacted, fact, names, put_forward, rule, step
from tests.journeys.test_requests import BASIS, decide, filed, generation, state

YEAR = 2027
WANTED = {
    "more_name": "一网通办三期", "more_year": str(YEAR), "more_funds": "5,000,000.00", "more_funding": "本级财政",
    "more_due_on": "2027-12-31", "more_content": "扩建统一受理平台，沿用信创技术路线",
}  # fmt: skip


def handed_in(client, number):
    """Hand a draft in: what the page says where it was refused."""
    answer = client.send(f"/requests/{number}/submit", {"generation": generation(client, number, "/edit")})
    if answer.location is None:
        return answer.text
    return "" if answer.location.endswith(f"/requests/{number}") else client.get(answer.location).text


def asked(client, place, **says):
    number = filed(client, place, "annual_project", **{**WANTED, **says})
    return number, handed_in(client, number)


def accepted(client, place, project, **says):
    """Ask on the project's page for its acceptance."""
    address = f"/requests/new/project_accept?entry={project}&pool={place.pool}"
    key = re.search(r'name="key"[^>]*value="([0-9a-f]+)"', client.get(address).text).group(1)
    form = {"key": key, "justification": BASIS, "system": "0", "more_result": "试运行三个月，无遗留问题", **says}
    answer = client.send(address, form)
    assert answer.status_code == 302, answer.text
    number = int(re.search(r"/requests/(\d+)/check", answer.location).group(1))
    return number, handed_in(client, number)


@pytest.fixture
def measures(client_of, clock):
    year, accept = fact("kind", "==", "annual_project"), fact("kind", "==", "project_accept")
    experts = step("experts", "技术方案专家评审", {"department": "A02"}, stage=25, record=True)
    assent = step("assent", "数据主管部门验收意见", {"role": "authority"}, stage=40, record=True)
    enacted(
        client_of, clock,
        rule("collects", year, steps=[step("office", "项目统筹评审", {"role": "authority"}, stage=40, record=True)]),
        rule("whose_year", {"all": [year, fact("plan_year", "!=", YEAR)]}, outcome="refuse", reason="本次只收二〇二七年度项目"),
        rule("plan", {"all": [year, {"not": fact("annexes", "has", "技术方案")}]}, outcome="refuse", reason="须附技术方案"),
        rule("experts", {"all": [year, fact("project_yuan", ">", 5_000_000)]}, steps=[experts]),
        rule("assent", accept, steps=[assent]),
        rule("first", {"all": [accept, fact("noted", "==", True)]}, outcome="refuse", reason="终验前须申请并取得同意"),
    )  # fmt: skip


def test_34_the_years_projects_are_judged_and_assent_comes_before_acceptance(client_of, place, clock, measures):
    tenant, house = client_of("tenant1"), place.book
    with house.transaction(steward()) as tx:
        system = departments.enter(tx, "x1", place.department, {"name": "一网通办"}).id
    number, refused = asked(tenant, place, more_year="2028", system=str(system))
    assert "只收二〇二七年度项目" in refused
    assert "须附技术方案" in refused
    number, refused = asked(tenant, place, system=str(system))
    assert "只收" not in refused
    put_forward(tenant, number, "技术方案")
    assert not handed_in(tenant, number)
    assert "技术方案专家评审" not in dict(names(place, number))  # at the limit
    beyond = filed(tenant, place, "annual_project", **{**WANTED, "more_funds": "5000000.01", "more_name": "大数据平台"})
    put_forward(tenant, beyond, "技术方案")
    assert not handed_in(tenant, beyond)
    assert "技术方案专家评审" in dict(names(place, beyond))  # a fen beyond it
    collected = client_of("authority1").get("/requests/?kind=annual_project&export=csv").text
    assert "一网通办三期" in collected
    assert "大数据平台" in collected
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), number)
        decide(client_of(login), beyond)
    decide(client_of("authority1"), number, record="数统筹〔2026〕9号")
    assert state(place, number) == "done"
    assert state(place, beyond) == "in_review"
    decide(client_of("tenant2"), beyond, record="专审〔2026〕1号")
    decide(client_of("authority1"), beyond, record="数统筹〔2026〕9号")  # one document, both
    assert state(place, beyond) == "done"
    with house.reading() as tx:
        first, second = tx.query(FundedProject).order_by(FundedProject.id)
        assert (first.approval_number, first.funds, str(first.due_on)) == (
            "数统筹〔2026〕9号",
            Decimal(5_000_000),
            "2027-12-31",
        )
        assert [one.id for one in first.systems] == [system]
        assert second.approval_number.startswith("数统筹〔2026〕9号 · SQ-")
        project = first.id
    # Nobody accepts it beside the rules, and nobody changes it while the assent is asked for.
    supervisor = client_of("supervisor1")
    closing = {"generation": "1", "on": str(clock.now.astimezone(ZONE).date()), "note": "通过竣工验收"}
    assert "终验前须申请并取得同意" in supervisor.send(f"/projects/{project}/accept", closing).text
    assert f"entry={project}" not in supervisor.get(f"/projects/{project}").text
    assert "申请验收" in tenant.get(f"/projects/{project}").text
    asks, refused = accepted(tenant, place, project)
    assert not refused
    assert "已有在办申请" in accepted(tenant, place, project)[1]
    assert "正在办理申请" in supervisor.send(f"/projects/{project}/terminate", closing).text
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), asks)
    assert "须填写文号" in decide(client_of("authority1"), asks).text
    assert "在建" in tenant.get(f"/projects/{project}").text
    decide(client_of("authority1"), asks, record="数验〔2027〕3号")
    assert state(place, asks) == "done"
    page = tenant.get(f"/projects/{project}").text
    assert "已验收" in page
    assert "数验〔2027〕3号" in page
    assert "已验收或终止" in accepted(tenant, place, project)[1]
    place.prove()


def test_without_such_a_rule_the_steward_notes_acceptance_as_before(client_of, place, clock):
    today = clock.now.astimezone(ZONE).date()
    said = {
        "department": place.department, "approval_number": "数发〔2026〕12 号", "name": "二期", "funds": "1", "funding": "本级财政",
        "approved_on": str(today), "due_on": str(today),
    }  # fmt: skip
    assert client_of("tenant1").send("/projects/new", said).status_code == 302
    closing = {"generation": "1", "on": str(today), "note": "通过竣工验收"}
    assert client_of(Role.SUPERVISOR).send("/projects/1/accept", closing).status_code == 302


@pytest.mark.parametrize(
    ("says", "word"),
    [
        ({"more_year": "二七"}, "四位数的年份"),
        ({"more_year": "9999"}, "四位数的年份"),
        ({"more_funds": "五百万"}, "最多两位小数"),
        ({"more_funds": "NaN"}, "最多两位小数"),
        ({"more_funds": "1.005"}, "最多两位小数"),
        ({"more_funds": "-1"}, "最多两位小数"),
        ({"more_funds": "1e999999"}, "最多两位小数"),
        ({"more_due_on": "明年底"}, "今天或以后的日期"),
        ({"more_due_on": "2020-01-01"}, "今天或以后的日期"),
        ({"more_name": "长" * 129}, "最长 128 字"),
    ],
)
def test_what_is_no_year_sum_or_day_is_said_before_it_is_handed_in(client_of, place, says, word):
    tenant = client_of("tenant1")
    number, refused = asked(tenant, place, **says)
    assert word in refused
    assert state(place, number) == "draft"
    assert tenant.get(f"/requests/{number}/check").status_code == 200
    with place.book.reading() as tx:
        assert tx.query(FundedProject).count() == 0
