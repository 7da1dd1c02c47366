"""Clauses of cities' published rules on requests, by number, each enacted as data: a document of rules comes in by the page's or
the command's own import, two people sign, it holds from its day, and requests are filed at its limit and one beyond it.

None of it is named in the four packages: a test at the end looks.
"""

from __future__ import annotations

import io
import json
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from console import request_sheets, workbooks
from metering.judging import Verdict, findings, policies
from metering.judging.findings import Judged
from metering.overview import asked_uses
from metering.statements import tariffs
from providers import orders
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import Department, departments
from quota.ledger import Holder, entries
from quota.requests import fulfilment
from quota.requests.tables import Request
from quota.units import BLOCK, MEMORY, NOTHING, VCPU, Amount, Arch
from tests.city import GB
from tests.journeys.terminal import of_terminal
from tests.journeys.test_request_kinds import filed as filed_at
from tests.journeys.test_requests import BASIS, decide, filed, generation, small, state
from tests.quota.test_attachments import PDF
from tests.suite.outside import ROOT

ENACTED = "2026-06-02"
DEPARTMENT, SYSTEM = "A01", "S01"


def rule(code, condition, /, **says):
    return {
        "code": code,
        "name": f"条款 {code}",
        "effective_from": ENACTED,
        "priority": 60,
        "condition": condition,
        **says,
    }


def fact(name, op, value):
    return {"fact": name, "op": op, "value": value}


def enacted(client_of, clock, *rules):
    """Import by one person, second signature by another, and on to the day when the rules hold."""
    document = json.dumps({"format": "guanjia-approval-rules/1", "rules": list(rules)})
    answer = client_of("authority1").send("/rules/import", {"document": document, "reason": "市政府办公厅文件"})
    assert answer.status_code == 302, re.findall(r'class="gj-error[^>]*>.*?</p>', answer.text, re.S)
    assert client_of("authority2").send(f"{answer.location}/sign", {}).status_code == 302
    clock.advance(days=1)


@pytest.fixture
def system(place):
    """Makes the level of 等保 of the department's system, and gives its number."""

    def of(level):
        with place.book.transaction(chief()) as tx:
            known = tx.query(departments.System).filter_by(code=SYSTEM).one_or_none()
            facts = {"name": "政务系统", "mlps_level": level}
            if known is None:
                return departments.enter(tx, SYSTEM, place.department, facts).id
            return departments.amend(tx, known, facts).id

    return of


def chief():
    return Actor("authority1", "主", Role.AUTHORITY)


def submitted(client, place, **fields):
    """File a request and hand it in: its number, and what the page says where it was refused."""
    number = filed(client, place, **fields)
    check = client.get(f"/requests/{number}/check")
    seen = re.search(r'name="generation"[^>]*value="(\d+)"', check.text)
    seen = seen.group(1) if seen else generation(client, number, "/edit")
    answer = client.send(f"/requests/{number}/submit", {"generation": seen})
    return number, "" if answer.location.endswith(f"/requests/{number}") else client.get(answer.location).text


def test_28_systems_above_a_level_are_not_hosted(client_of, place, clock, system):
    reason = "等保四级及以上的信息系统不在政务云上托管"
    before = client_of(Role.TENANT)
    four = system(4)
    number, refused = submitted(before, place, system=str(four), **small(place, 1))
    assert not refused  # what was handed in before the day goes on
    enacted(
        client_of, clock,
        rule("level", fact("mlps_level", ">=", 4), outcome="refuse", reason=reason),
        rule("named", fact("system", "==", False), outcome="refuse", reason="须写明信息系统"),
    )  # fmt: skip
    tenant = client_of(Role.TENANT)
    assert state(place, number) == "in_review"
    number, refused = submitted(tenant, place, system=str(four), **small(place, 1))
    assert reason in refused
    assert state(place, number) == "draft"
    assert "须写明信息系统" in submitted(tenant, place, **small(place, 1))[1]
    form = {"system": str(four), "key": "0" * 32, "justification": "峰值并发三千,现有四台主机", **small(place, 1)}
    assert reason in tenant.send(f"/requests/impact/create?pool={place.pool}", form).text  # while it is typed
    number, refused = submitted(tenant, place, system=str(system(3)), **small(place, 1))
    assert not refused
    assert state(place, number) == "in_review"


def test_a_fast_track_passes_by_itself_inside_the_quota(client_of, place, clock):
    enacted(client_of, clock, rule("quick", fact("vcpu", "<=", 8), outcome="pass"))
    tenant = client_of(Role.TENANT)
    number, refused = submitted(tenant, place, **small(place, 2))
    assert not refused
    assert state(place, number) == "approved"
    page = tenant.get(f"/requests/{number}").text
    assert "按规则自动通过" in page
    assert "条款 quick" in page
    with place.book.reading() as tx:
        found = tx.get(Request, number)
        assert (found.path[0].name, found.path[0].decided_by) == ("passed", "system")
        assert found.turn == "provider"
    number, _refused = submitted(tenant, place, **small(place, 3))
    assert state(place, number) == "in_review"
    place.prove()


def test_a_price_decides_and_what_has_no_price_asks_for_more(client_of, place, clock):
    step = {"name": "authority_approval", "role": "authority", "days": 2}
    enacted(client_of, clock, rule("costly", fact("month_yuan", ">", 200), steps=[step]))
    tenant = client_of(Role.TENANT)
    number, _refused = submitted(tenant, place, **small(place, 1))
    assert "每月费用 元未知" in tenant.get(f"/requests/{number}").text  # no tariff: somebody looks
    with place.book.transaction(chief()) as tx:
        for code, price in ((VCPU, "46"), (MEMORY, "2"), (BLOCK, "0")):
            tariffs.enter(tx, code, Decimal(price), tx.now.date())
    paths = {}
    for count in (1, 2):  # 4 × 46 + 8 × 2 = 200
        number, _refused = submitted(tenant, place, **small(place, count))
        with place.book.reading() as tx:
            found = tx.get(Request, number)
            paths[found.facts["month_yuan"]] = [one.name for one in found.path]
    assert "authority_approval" not in paths[200.0]
    assert "authority_approval" in paths[400.0]


@pytest.fixture
def command(house, settings, clock, monkeypatch):
    """``guanjia rules`` on the book of the test, at its time."""
    return of_terminal("rules", house, settings, clock, monkeypatch)


def test_the_command_drafts_what_two_people_sign(client_of, place, clock, tmp_path, command):
    path, reason = tmp_path / "rules.json", "本区单位须经区里统一申请"
    texts = [rule("district", fact("departments", "has", DEPARTMENT), outcome="refuse", reason=reason)]
    path.write_text(json.dumps({"format": "guanjia-approval-rules/1", "rules": texts}), "utf-8")
    words = ("import", path, "--reason", "区办函", "--json")
    assert json.loads(command(*words, "--check").stdout)["draft"] is None
    draft = json.loads(command(*words).stdout)["draft"]
    assert draft == 1
    client_of("authority1").send(f"/rules/drafts/{draft}/sign", {})
    assert "还须 1 人签署" in client_of("authority1").get(f"/rules/drafts/{draft}").text
    client_of("authority2").send(f"/rules/drafts/{draft}/sign", {})
    clock.advance(days=1)
    assert reason in submitted(client_of(Role.TENANT), place, **small(place, 1))[1]
    assert reason in command("export").stdout
    path.write_text("{", "utf-8")
    assert "rules.document" in command(*words, code=1).stderr


def step(name, label, *by, stage=25, limit=3, unit="working_days", **more):
    return {"name": name, "label": label, "stage": stage, "by": list(by), "limit": limit, "unit": unit, **more}


def names(place, number):
    """The steps before the decision, with what became of each."""
    with place.book.reading() as tx:
        return [(one.called, one.decision) for one in tx.get(Request, number).path if one.signs]


@pytest.fixture
def district(place):
    """A02 stands above A01, as a district above its bureau."""
    with place.book.transaction(steward()) as tx:
        first, second = (tx.query(Department).filter_by(code=code).one() for code in ("A01", "A02"))
        first.parent_id = second.id


def test_24_the_district_reviews_first_and_its_opinion_goes_along(client_of, place, clock, district):
    below = {"all": [fact("departments", "has", "A02"), fact("department", "!=", "A02")]}
    enacted(client_of, clock, rule("district", below, steps=[step("district", "区县初审", {"of": "above"}, stage=5)]))
    number, _refused = submitted(client_of(Role.TENANT), place, **small(place, 1))
    checker = client_of("supervisor1")
    assert f"/decisions/{number}" not in checker.get("/decisions/").text  # not yet
    assert decide(checker, number, seen="2").status_code in (403, 409, 422)
    above = client_of("tenant2")
    assert f"/decisions/{number}" in above.get("/decisions/").text
    assert f"/decisions/{number}" in above.get("/").text
    decide(above, number, reason="已核,同意上报")
    assert "已核,同意上报" in checker.get(f"/decisions/{number}").text
    decide(checker, number)
    decide(client_of("supervisor2"), number)
    assert state(place, number) == "approved"
    assert names(place, number)[0] == ("区县初审", "approve")
    number, _refused = submitted(above, place, **small(place, 1))  # the district's own goes the city's way
    assert "区县初审" not in dict(names(place, number))


@pytest.mark.parametrize("rejects", [False, True])
def test_29_weighty_matters_are_deliberated_by_several(client_of, place, clock, rejects):
    bodies = [{"person": "authority1"}, {"department": "A02"}, {"role": "authority"}]
    together = step("council", "联席审议", *bodies, stage=40, limit=1, unit="months", need=2, record=True)
    enacted(client_of, clock, rule("weighty", fact("vcpu", ">", 8), steps=[together]))
    tenant = client_of(Role.TENANT)
    number, _refused = submitted(tenant, place, **small(place, 2))
    assert [name for name, _decision in names(place, number)] == ["形式审查", "技术评审"]  # at the limit
    number, _refused = submitted(tenant, place, **small(place, 3))
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), number)
    chief = client_of("authority1")
    assert "须填写文号" in decide(chief, number).text
    decide(chief, number, record="联席〔2026〕3号")
    assert state(place, number) == "in_review"
    other = client_of("tenant2")
    assert "联席〔2026〕3号" in other.get(f"/decisions/{number}").text
    if rejects:
        decide(other, number, "reject", "与在建项目重复")
        assert state(place, number) == "in_review"  # two of three can still be
        decide(client_of("authority2"), number, "reject", "同意上述意见")
        assert state(place, number) == "rejected"
        assert place.balance(Holder.HELD) == 8  # what the first request holds
    else:
        decide(other, number, record="水函〔2026〕9号")
        assert state(place, number) == "approved"
        assert names(place, number)[-3:] == [
            ("联席审议", "approve"),
            ("联席审议", "approve"),
            ("联席审议", "not_needed"),
        ]
        assert "已达会签方数" in tenant.get(f"/requests/{number}").text
    place.prove()


def test_30_finance_looks_beside_the_review_and_a_return_stops_both(client_of, place, clock):
    beside = step("finance", "财政会审", {"department": "A02"}, stage=20, limit=48, unit="hours")
    enacted(client_of, clock, rule("finance", fact("vcpu", ">", 4), steps=[beside]))
    number, _refused = submitted(client_of(Role.TENANT), place, **small(place, 2))
    decide(client_of("supervisor1"), number)
    with place.book.reading() as tx:
        review, money = sorted(tx.get(Request, number).active, key=lambda one: one.name, reverse=True)
        assert (review.name, money.name) == ("technical_review", "finance")
        assert money.due_at - money.started_at == timedelta(hours=48)
        assert tx.get(Request, number).due_at == min(review.due_at, money.due_at)
    clock.advance(hours=20)
    decide(client_of("tenant2"), number, "return", "请补资金来源")
    assert state(place, number) == "supplement"
    assert f"/decisions/{number}" not in client_of("supervisor2").get("/decisions/").text
    clock.advance(hours=72)
    tenant = client_of(Role.TENANT)
    seen = re.search(r'name="generation"[^>]*value="(\d+)"', tenant.get(f"/requests/{number}/check").text).group(1)
    tenant.send(f"/requests/{number}/submit", {"generation": seen})
    with place.book.reading() as tx:
        money = next(one for one in tx.get(Request, number).active if one.name == "finance")
        assert money.due_at - money.resumed_at == timedelta(hours=28)
    decide(client_of("supervisor2"), number)
    assert state(place, number) == "in_review"
    decide(client_of("tenant2"), number)
    assert state(place, number) == "approved"


def test_25_and_26_the_company_says_what_it_can_do_before_the_authority_decides(client_of, place, clock):
    asked = [
        step("quotation", "报价与可行性", {"of": "provider"}, stage=5, limit=2),
        step("plan", "迁移方案评审", {"role": "authority"}, stage=35, record=True),
    ]
    enacted(client_of, clock, rule("quoted", fact("kind", "==", "create"), steps=asked))
    number, _refused = submitted(client_of(Role.TENANT), place, **small(place, 1))
    company = client_of(Role.PROVIDER)
    page = company.get(f"/decisions/{number}").text
    assert "报价与可行性" in page
    assert "部分通过" not in page
    assert "单位可用配额" not in page  # the department's figures are none of its business
    assert "请写明理由" in decide(company, number).text
    assert decide(company, number, "reject", "不想做").status_code == 422
    decide(company, number, reason="可提供,两日内,每月 320 元")
    assert company.get(f"/decisions/{number}").status_code == 302
    assert "每月 320 元" in client_of("supervisor1").get(f"/decisions/{number}").text
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), number)
    decide(client_of("authority1"), number, record="评审〔2026〕1号")
    assert state(place, number) == "approved"


def test_an_opinion_alone_is_no_approval(client_of, place, clock):
    enacted(
        client_of, clock,
        *(rule(code, {}, steps=[], priority=0) for code in ("base", "big", "authority")),
        rule("quoted", {}, steps=[step("quotation", "报价", {"of": "provider"})]),
    )  # fmt: skip
    assert "没有规定由谁审批" in submitted(client_of(Role.TENANT), place, **small(place, 1))[1]


def test_22_and_21_hours_to_hand_over_and_named_reviewers_in_turn(client_of, place, clock):
    delivery = {"name": "delivery", "role": "provider", "limit": 24, "unit": "hours"}
    reviewers = [
        step(f"section{n}", label, {"person": login}, stage=10 + n)
        for n, (label, login) in enumerate(
            (("技术科", "supervisor2"), ("基础设施科", "authority2"), ("分管领导", "authority1"))
        )
    ]
    check = {"name": "form_check", "role": "supervisor", "days": 1}
    enacted(
        client_of, clock, rule("base", {}, steps=[check], priority=0), rule("branch", {}, steps=[delivery, *reviewers])
    )
    number, _refused = submitted(client_of(Role.TENANT), place, system="0", **{**small(place, 1), "lines-0-item": "0"},
                                 amount_vcpu="2", quantity="1")  # fmt: skip
    decide(client_of("supervisor1"), number)
    assert decide(client_of("authority2"), number, seen="3").status_code == 403  # not his turn
    for login in ("supervisor2", "authority2", "authority1"):
        assert f"/decisions/{number}" in client_of(login).get("/decisions/").text
        decide(client_of(login), number)
    assert state(place, number) == "approved"
    with place.book.transaction(steward()) as tx:
        (order,) = orders.place_for_request(tx, tx.get(Request, number))
        assert order.due_at == order.placed_at + timedelta(hours=24)
        shown = order.id
    assert "24 小时" in client_of(Role.PROVIDER).get(f"/orders/{shown}").text


def test_a_house_without_the_people_is_told_when_it_enacts_and_in_the_queue(client_of, place, clock):
    twice = [step(f"look{n}", f"第{n}次复核", {"role": "supervisor"}, stage=20 + n) for n in (1, 2)]
    document = json.dumps(
        {"format": "guanjia-approval-rules/1", "rules": [rule("looks", fact("vcpu", ">", 64), steps=twice)]}
    )
    draft = client_of("authority1").send("/rules/import", {"document": document, "reason": "复核"}).location
    page = client_of("authority2").get(draft).text
    assert "人手不足" in page
    assert "需要 4 人，现有 2 人" in page
    gone = rule(
        "nobody", {}, steps=[step("look", "专员复核", {"person": "nobody9"}), step("far", "区县", {"of": "above"})]
    )
    enacted(client_of, clock, gone)
    assert "没有可用账号" in submitted(client_of(Role.TENANT), place, **small(place, 1))[1]
    enacted(client_of, clock, {**gone, "effective_from": "2026-06-03", "steps": [step("far", "区县", {"of": "above"})]})
    assert "没有上级单位" in submitted(client_of(Role.TENANT), place, **small(place, 1))[1]


def test_who_took_one_step_is_told_in_the_queue_that_another_must_take_the_next(client_of, place):
    number, _refused = submitted(client_of(Role.TENANT), place, **small(place, 1))
    checker = client_of("supervisor1")
    decide(checker, number)
    page = checker.get("/decisions/").text
    assert "须由他人办理" in page
    assert f'href="/requests/{number}"' in page
    assert "须由他人办理" not in client_of("supervisor2").get("/decisions/").text


def lacks(name, value):
    return {"not": fact(name, "has", value)}


def put_forward(client, number, label, content=PDF):
    page = client.get(f"/attachments/request/{number}/add").text
    assert f">{label}</option>" in page
    file = (io.BytesIO(content), f"{label}.pdf")
    return client.send(f"/attachments/request/{number}/add", {"label": label, "files": file})


def test_18_19_20_and_58_what_must_be_said_and_put_forward(client_of, place, clock, system):
    """Named fields and annexes, a filed 等保 and a 密评 that is no older than a year: by the page, the sheet and the interface alike."""
    new = fact("kind", "==", "create")
    enacted(
        client_of, clock,
        rule("letter", {"all": [new, lacks("annexes", "申请公函")]}, outcome="refuse", reason="须附加盖公章的申请公函"),
        rule("plan", {"all": [new, lacks("annexes", "建设方案")]}, outcome="refuse", reason="须附建设方案"),
        rule("approved", {"all": [new, lacks("filled", "approval_number")]}, outcome="refuse", reason="须填写立项批复文号"),
        rule("filed", {"all": [new, fact("mlps_level", ">=", 3), fact("mlps_record", "==", False)]}, outcome="refuse",
             reason="三级系统须先备案"),
        rule("crypto", {"all": [new, fact("crypto_age_days", ">", 365)]}, outcome="refuse", reason="密评已超过一年"),
    )  # fmt: skip
    tenant, of = client_of(Role.TENANT), system(3)
    number, refused = submitted(tenant, place, system=str(of), **small(place, 1))
    for reason in ("须附加盖公章的申请公函", "须附建设方案", "须填写立项批复文号", "三级系统须先备案"):
        assert reason in refused
    assert "密评已超过一年" not in refused  # it is not known
    assert put_forward(tenant, number, "申请公函").status_code == 302
    assert put_forward(tenant, number, "建设方案", PDF + b"\n").status_code == 302
    tenant.send(f"/attachments/request/{number}/add", {"label": "别的", "files": (io.BytesIO(PDF), "x.pdf")})
    told = tenant.get(f"/requests/{number}/check").text
    assert "申请公函 · " in told
    assert "须附" not in told
    assert "三级系统须先备案" in told
    with place.book.transaction(chief()) as tx:
        one = tx.get(departments.System, of)
        days = [tx.now.date() - timedelta(days=age) for age in (366, 365)]
        facts = {"mlps_record": "4401-0001", "crypto_level": 3}
        departments.amend(tx, one, {**facts, "crypto_assessed_on": days[0]})
    seen = generation(tenant, number, "/edit")
    form = {"system": str(of), "justification": BASIS, "generation": seen, "more_approval_number": "发改〔2026〕8号"}
    assert tenant.send(f"/requests/{number}/edit", {**form, **small(place, 1)}).status_code == 302
    assert "密评已超过一年" in tenant.get(f"/requests/{number}/check").text
    with place.book.transaction(chief()) as tx:
        departments.amend(tx, tx.get(departments.System, of), {"crypto_assessed_on": days[1]})
    tenant.send(f"/requests/{number}/submit", {"generation": generation(tenant, number, "/check")})
    assert state(place, number) == "in_review"
    # A sheet is told what its rows lack; annexes come with the drafts.
    actor = Actor("tenant1", "办", Role.TENANT, place.department)
    with place.book.reading(actor) as tx:
        sheets = request_sheets.sheets(tx)
    row = {one.key: None for one in next(one for one in sheets if one.name == "create").columns}
    row |= {"ref": "1", "pool": "p1", "amount_vcpu": 1, "justification": BASIS}
    filled = workbooks.Workbook({"create": [workbooks.SheetRow(sheets[0], 2, row)]}, [])
    (wrong,) = request_sheets.check(place.book, filled, actor).faults
    assert (wrong.code, "立项批复文号" in str(wrong.params), "公函" in str(wrong.params)) == (
        "rules.refused",
        True,
        False,
    )


def test_16_test_resources_first_for_fifteen_days_at_the_minimum(client_of, place, clock):
    new, test = fact("kind", "==", "create"), fact("purpose", "==", "test")
    enacted(
        client_of, clock,
        rule("said", {"all": [new, fact("purpose", "==", "")]}, outcome="refuse", reason="须写明使用性质"),
        rule("ends", {"all": [new, test, fact("lasts", "==", True)]}, outcome="refuse", reason="测试资源须写明期限"),
        rule("days", {"all": [new, test, fact("term_days", ">", 15)]}, outcome="refuse", reason="测试资源最长十五天"),
        rule("least", {"all": [new, test, fact("vcpu", ">", 4)]}, outcome="refuse", reason="测试资源按最低配置"),
    )  # fmt: skip
    tenant, today = client_of(Role.TENANT), clock.now.date()
    until = {days: str(today + timedelta(days=days)) for days in (15, 16)}
    for said, reason in (
        ({}, "须写明使用性质"),
        ({"more_purpose": "test"}, "测试资源须写明期限"),
        ({"more_purpose": "test", "use_until": until[16]}, "测试资源最长十五天"),
        ({"more_purpose": "test", "use_until": until[15], "lines-0-quantity": "2"}, "测试资源按最低配置"),
    ):
        assert reason in submitted(tenant, place, **{**small(place, 1), **said})[1]
    at_the_limit = {"more_purpose": "test", "use_until": until[15]}
    number, refused = submitted(tenant, place, **small(place, 1), **at_the_limit)
    assert not refused
    page = tenant.get(f"/requests/{number}").text
    assert "使用性质" in page
    assert "测试" in page
    assert not submitted(tenant, place, more_purpose="production", **small(place, 2))[1]


def own(vcpu, memory):
    """The form's fields of a machine of a shape of one's own."""
    return {"lines-0-item": "0", "quantity": "1", "amount_vcpu": str(vcpu), "amount_memory": str(memory)}


def test_37_shapes_of_ones_own_in_steps_between_a_floor_and_a_ceiling(client_of, place, clock):
    def step(name, of):
        return {"not": fact(name, "multiple", of)}

    enacted(
        client_of, clock,
        rule("steps", {"any": [step("shape_vcpu_step", 2), step("shape_memory_gb_step", 4)]}, outcome="refuse",
             reason="自定规格以2核、4GB为一档"),
        rule("bounds", {"any": [fact("shape_vcpu_most", ">", 8), fact("shape_memory_gb_most", ">", 32)]}, outcome="refuse",
             reason="自定规格最多8核32GB"),
        rule("ratio", {"any": [fact("gb_per_vcpu_least", "<", 2), fact("gb_per_vcpu_most", ">", 8)]}, outcome="refuse",
             reason="每核配2至8GB内存"),
    )  # fmt: skip
    tenant = client_of(Role.TENANT)
    for vcpu, memory, reason in (
        (3, 8, "以2核、4GB为一档"),
        (2, 6, "以2核、4GB为一档"),
        (10, 32, "最多8核32GB"),
        (8, 36, "最多8核32GB"),
        (8, 12, "每核配2至8GB内存"),
        (2, 20, "每核配2至8GB内存"),
    ):
        assert reason in submitted(tenant, place, **own(vcpu, memory))[1], (vcpu, memory)
    for vcpu, memory in ((8, 32), (2, 16)):
        number, refused = submitted(tenant, place, **own(vcpu, memory))
        assert not refused
        assert state(place, number) == "in_review"
    assert not submitted(tenant, place, **small(place, 1))[1]  # an item of the catalogue is as it is
    with place.book.transaction(steward()) as tx:
        entries.use(tx, place.pool, place.department, Amount({VCPU: 1, MEMORY: GB}).of_arch(Arch.AARCH64), key="use:1")
    machine = place.standing_machine(Amount({VCPU: 1, MEMORY: GB}))
    resize = f"/requests/new/resize?resource={machine}"
    for said, reason in (
        ({"amount_block": "100"}, ""),
        ({"amount_vcpu": "3"}, "以2核、4GB为一档"),
        ({"amount_vcpu": "2"}, "每核配2至8GB"),
    ):
        check = tenant.get(filed_at(tenant, resize, item="0", **said).location).text
        assert (reason in check) if reason else ("自定规格" not in check and "每核配" not in check), said


@pytest.fixture
def measured(place, clock):
    """An assessment of machines, by hand: id of each → (its verdict, its figures over thirty days)."""

    def record(shape, figures):
        clock.advance(minutes=1)
        with place.book.transaction(steward()) as tx:
            rows = [
                Judged(
                    one, verdict, 0.9, {"windows": {"7": {"cpu_mean": 99.0, "cpu_coverage": 1.0}, "30": seen}}, [],
                    shape, None, shape if verdict is Verdict.IDLE else NOTHING,
                )
                for one, (verdict, seen) in figures.items()
            ]  # fmt: skip
            last = tx.now.astimezone(ZONE).date() - timedelta(days=1)
            policy = policies.seed(tx)
            findings.record(tx, policy, last - timedelta(days=29), last, tx.now, "by hand", rows)

    return record


def test_measured_use_decides_of_the_resource_and_of_what_the_department_has(client_of, place, clock, measured):
    """Nothing new for whom what it has stands idle, and no growth of what is not busy; what nobody measured forbids nothing."""
    larger = [fact("kind", "==", "resize"), fact("grows", "==", True)]
    enacted(
        client_of, clock,
        rule("busy", {"all": [*larger, fact("resource_cpu_p95", "<", 60)]}, outcome="refuse", reason="峰值不足六成"),
        rule("used", {"all": [fact("kind", "==", "create"), fact("held_cpu_mean", "<", 30)]}, outcome="refuse",
             reason="在用资源利用率不足三成"),
        rule("idle", {"all": [fact("kind", "==", "create"), fact("held_mem_idle", ">", 50)]}, outcome="refuse",
             reason="闲置过半"),
    )  # fmt: skip
    shape, tenant = Amount({VCPU: 2, MEMORY: 4 * GB}), client_of(Role.TENANT)
    with place.book.transaction(steward()) as tx:
        entries.use(tx, place.pool, place.department, (shape + shape).of_arch(Arch.AARCH64), key="use:1")
    one, other = place.standing_machine(shape, "i-1"), place.standing_machine(shape, "i-2")
    normal, idle = Verdict.NORMAL, Verdict.IDLE

    def told(address, **said):
        said = said or {"system": "0", **small(place, 1)}
        page = tenant.get(filed_at(tenant, address, **said).location).text
        return {one for one in ("峰值不足六成", "利用率不足三成", "闲置过半") if one in page}

    def resized(vcpu):
        return told(f"/requests/new/resize?resource={one}", item="0", amount_vcpu=vcpu)

    def seen(mean, p95, coverage=1.0):
        use = {"cpu_mean": mean, "cpu_p95": p95, "cpu_coverage": coverage}
        return use | {"mem_mean": 40.0, "mem_p95": 50.0, "mem_coverage": 1.0}

    create = f"/requests/new/create?pool={place.pool}"
    assert (told(create), resized("4")) == (set(), set())  # no assessment yet
    measured(shape, {one: (normal, seen(40.0, 60.0)), other: (idle, seen(20.0, 30.0))})
    assert (told(create), resized("4")) == (set(), set())  # at the limits: 30, 50 and 60
    measured(shape, {one: (idle, seen(39.98, 59.99)), other: (idle, seen(20.0, 30.0))})
    assert told(create) == {"利用率不足三成", "闲置过半"}
    assert resized("4") == {"峰值不足六成"}
    assert resized("1") == set()
    measured(shape, {one: (normal, seen(1.0, 1.0, coverage=0.49)), other: (normal, {})})
    assert (told(create), resized("4")) == (set(), set())  # a half of the cores, and less than half of the time
    with place.book.reading() as tx:
        draft = tx.scalars(select(Request).order_by(Request.id.desc())).first()
        facts = asked_uses.uses(tx, draft)
    # The mean is known of the shorter window; the peak of none.
    assert [facts[f"resource_{one}"] for one in ("mem_p95", "cpu_mean", "cpu_p95")] == [50.0, 99.0, None]
    assert (facts["held_mem_mean"], facts["held_cpu_mean"], facts["held_card_idle"]) == (None, None, None)


def test_17_and_57_a_trial_run_of_thirty_days_and_a_go_live_with_reports_that_several_sign(
    client_of, place, city, clock
):
    live, confirmed = fact("kind", "==", "golive"), [{"department": "A02"}, {"role": "authority"}]
    enacted(
        client_of, clock,
        rule("trial", {"all": [live, fact("trial_days", "<", 30)]}, outcome="refuse", reason="试运行不少于三十天"),
        rule("report", {"all": [live, lacks("annexes", "安全测评报告")]}, outcome="refuse", reason="须附安全测评报告"),
        rule("sign", live, steps=[
            step("company", "云服务商意见", {"of": "provider"}, stage=35), step("confirm", "三方确认", *confirmed, stage=40, need=2),
        ]),
    )  # fmt: skip
    until = str(clock.now.date() + timedelta(days=60))
    number, _refused = submitted(client_of(Role.TENANT), place, more_purpose="test", use_until=until, **small(place, 1))
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), number)
    page = client_of(Role.TENANT).get(f"/requests/{number}").text
    address = f"/requests/new/golive?request={number}"
    assert address in page
    with place.book.transaction(steward()) as tx:
        fulfilment.delivered(tx, number)
    with place.book.transaction(Actor("tenant1", "办", Role.TENANT, place.department)) as tx:
        fulfilment.accepted(tx, number)

    def filed_live(client):
        key = re.search(r'name="key"[^>]*value="(\w+)"', client.get(address).text).group(1)
        form = {
            "key": key,
            "justification": BASIS,
            "more_result": "无遗留问题",
            "use_until": "",
        }
        return int(re.search(r"/requests/(\d+)/check", client.send(address, form).location).group(1))

    clock.advance(days=29)
    tenant = client_of(Role.TENANT)
    asked = filed_live(tenant)
    told = tenant.get(f"/requests/{asked}/check").text
    assert "试运行不少于三十天" in told
    assert "须附安全测评报告" in told
    clock.advance(days=1)
    tenant = client_of(Role.TENANT)
    assert "试运行不少于三十天" not in tenant.get(f"/requests/{asked}/check").text
    assert put_forward(tenant, asked, "安全测评报告").status_code == 302
    tenant.send(f"/requests/{asked}/submit", {"generation": generation(tenant, asked, "/check")})
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), asked)
    decide(client_of(Role.PROVIDER), asked, reason="监控正常，同意")
    decide(client_of("tenant2"), asked)
    assert state(place, asked) == "in_review"
    decide(client_of("authority1"), asked)
    assert state(place, asked) == "done"
    with place.book.reading() as tx:
        found = tx.get(Request, number)
        assert (found.fields["purpose"], found.use_until) == ("production", None)
        told = f"{found.number} 正式上线，使用期限 长期"
    assert told in client_of(Role.TENANT).get("/requests/?kind=golive").text
    assert address not in client_of(Role.TENANT).get(f"/requests/{number}").text
    assert client_of(Role.TENANT).get(address).status_code == 404, "it has no term any more"


CITIES = [
    "重庆",
    "Chongqing",
    "四川",
    "Sichuan",
    "湖南",
    "Hunan",
    "长沙",
    "Changsha",
    "贵州",
    "Guizhou",
    "贵阳",
    "Guiyang",
    "安徽",
    "Anhui",
    "黄山",
    "Huangshan",
    "霍邱",
    "Huoqiu",
    "广州",
    "Guangzhou",
    "杭州",
    "Hangzhou",
    "东莞",
    "Dongguan",
    "巴中",
    "Bazhong",
    "遂宁",
    "Suining",
    "齐齐哈尔",
    "Qiqihar",
    "牡丹江",
    "Mudanjiang",
    "黑龙江",
    "Heilongjiang",
    "兰州",
    "Lanzhou",
    "北海",
    "Beihai",
    "平顶山",
    "Pingdingshan",
    "鄂尔多斯",
    "Ordos",
    "新余",
    "Xinyu",
    "忻州",
    "Xinzhou",
    "上海",
    "(?<!Asia/)Shanghai",
]
RULES_OF_CITIES = [
    r"DB\d\d/?T\b",
    r"GB/T ?34077",
    r"[Cc]lauses? \d",
    r"条款 ?\d",
    r"》第\S{1,4}条",
]
NAMES = re.compile("|".join([*CITIES, *RULES_OF_CITIES]))


def test_no_module_names_a_city_or_a_clause():
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for package in ("quota", "providers", "metering", "console", "templates")
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".html")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if NAMES.search(line)
    ]
    assert not found
