"""The forms of requests as a city enacts them: two sign, it holds from its day, and form, sheet, paper, programs and decisions follow;
what was handed in before keeps the form of its day."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

import pytest

from console import request_sheets
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import catalog
from quota.errors import Invalid
from quota.ledger import Holder
from quota.requests import RequestNotice, declared, formbook, kind_of, known
from quota.requests.formbook import FieldShape, FieldVersion, FormDemand
from quota.requests.rules.steps import check_steps
from quota.requests.tables import Request
from quota.units import MEMORY, VCPU, Arch
from tests.city import GB
from tests.journeys.test_clauses import enacted as rules_enacted
from tests.journeys.test_clauses import fact, put_forward, rule, submitted
from tests.journeys.test_requests import decide, filed, generation, small, state

SEATS = FieldVersion("seats", FieldShape.NUMBER, FormDemand.REQUIRED, "座席数", "Seats", "含备用", "Spares too", "人",
                     Decimal("1"), Decimal("500.5"))  # fmt: skip
LETTER = FieldVersion("letter", FieldShape.ANNEX, FormDemand.REQUIRED, "申请公函", "Letter")


def drafted(client, kind, **fields):
    plain = {"demand": "optional", "effective_from": "2026-06-02", "reason": "市办〔2026〕5号"}
    return client.send(f"/request-forms/kinds/{kind}/draft", {**plain, **fields})


def enacted(client_of, kind, **fields):
    """By the pages: drafted by one, signed by another."""
    answer = drafted(client_of("authority1"), kind, **fields)
    assert answer.status_code == 302, re.findall(r'class="gj-error[^>]*>.*?</p>', answer.text, re.S)
    assert client_of("authority2").send(f"{answer.location}/sign", {}).status_code == 302


def test_a_city_asks_for_more_and_calls_it_otherwise(client_of, place, clock):
    tenant = client_of(Role.TENANT)
    before, refused = submitted(tenant, place, more_approval_number="发改1号", **small(place, 1))
    assert not refused
    waits = filed(tenant, place, more_note="旧备注", **small(place, 1))
    enacted(client_of, "create", name="seats", shape="number", demand="required", label="座席数", label_en="Seats",
            unit="人", least="1", most="500.5")  # fmt: skip
    enacted(
        client_of,
        "create",
        name="net",
        shape="choice",
        label="接入网络",
        choices="专网 | Private network\n互联网 | Internet",
    )
    enacted(client_of, "create", name="letter", shape="annex", demand="required", label="申请公函")
    enacted(
        client_of,
        "create",
        name="approval_number",
        shape="",
        demand="required",
        label="项目统一代码",
        label_en="Project code",
    )
    enacted(client_of, "create", name="note", shape="", demand="dropped", label="备注")
    address = f"/requests/new/create?pool={place.pool}"
    assert "座席数" not in tenant.get(address).text  # not yet
    clock.advance(days=1)
    tenant = client_of(Role.TENANT)
    form = tenant.get(address).text
    assert all(one in form for one in ("座席数", "接入网络", "项目统一代码", "申请公函"))
    assert "立项批复文号" not in form
    typed = {"key": "0" * 32, "justification": "峰值并发三千,现有四台主机", "system": "0", "more_approval_number": "2026-1",
             "more_net": "专网", **small(place, 1)}  # fmt: skip
    for wrong, told in (
        ("", "请填写这一项"),
        ("0", "“座席数”不能小于 1"),
        ("501", "“座席数”不能大于 500.5"),
        ("1e2", "“座席数”须为数字"),
    ):
        answer = tenant.send(address, {**typed, "more_seats": wrong})
        assert (answer.status_code, told in answer.text) == (422, True), wrong
    number = filed(tenant, place, more_seats="20", more_approval_number="2026-1", more_net="专网", **small(place, 1))
    check = tenant.get(f"/requests/{number}/check").text
    assert "请提交附件“申请公函”" in check
    assert put_forward(tenant, number, "申请公函").status_code == 302
    tenant.send(f"/requests/{number}/submit", {"generation": generation(tenant, number, "/check")})
    assert state(place, number) == "in_review"
    for page in (f"/requests/{number}", f"/requests/{number}/paper"):
        text = tenant.get(page).text
        assert "座席数" in text
        assert "20 人" in text
    assert "项目统一代码" in client_of("supervisor1").get(f"/decisions/{number}").text
    exported = tenant.get("/requests/?export=csv").text
    assert "座席数：20 人；接入网络：专网" in exported
    # What was handed in by the form of its day is told by that form, and a draft is held to that of the day on which it is handed in.
    assert "立项批复文号" in tenant.get(f"/requests/{before}").text
    check = tenant.get(f"/requests/{waits}/check").text
    assert "请填写“项目统一代码”" in check
    assert "旧备注" not in check
    tenant.set_cookie("language", "en")
    english = tenant.get(address).text
    assert all(one in english for one in ("Seats", "Project code", "Private network"))
    with place.book.reading(Actor("tenant1", "办", Role.TENANT, place.department)) as tx:
        columns = {
            one.label: one for one in next(one for one in request_sheets.sheets(tx) if one.name == "create").columns
        }
    assert columns["座席数（人）"].required
    assert set(columns["接入网络"].options) == {"专网", "互联网"}
    place.prove()


def test_what_makes_no_form_is_refused(client_of, house, city, clock):
    chief = client_of("authority1")
    for changed, told in (
        ({"effective_from": "2026-06-01"}, "最早从明天起"),
        ({"name": "Seats!"}, "字段代码由小写字母"),
        ({"name": "zone"}, "这个代码是原有字段的"),
        ({"name": "mail", "shape": ""}, "没有这个代码的原有字段"),
        ({"label": "操作系统"}, "表单上已有“操作系统”"),
        ({"unit": "人"}, "只有数字才有"),
        ({"shape": "number", "least": "2", "most": "1"}, "上限不能小于下限"),
        ({"shape": "choice"}, "单选须写明选项"),
        ({"shape": "choice", "choices": "甲\n甲"}, "个不同的选项"),
        ({"choices": "甲\n乙"}, "只有单选才有选项"),
        ({"reason": ""}, "请写明制定依据"),
    ):  # fmt: skip
        answer = drafted(chief, "create", **{"name": "seats", "shape": "text", "label": "座席", **changed})
        assert (answer.status_code, told in answer.text) == (422, True), changed
    assert "只能是必填" in drafted(chief, "temporary", name="occasion", shape="", label="事项").text
    assert client_of(Role.SUPERVISOR).get("/request-forms/kinds/create/draft").status_code == 403
    assert chief.get("/request-forms/kinds/nothing").status_code == 404
    answer = drafted(chief, "create", name="seats", shape="text", label="座席")
    assert "须由另一人签署" in chief.send(f"{answer.location}/sign", {}, follow_redirects=True).text
    clock.advance(days=1)  # its day has come before the second signature
    assert "最早从明天起" in client_of("authority2").send(f"{answer.location}/sign", {}, follow_redirects=True).text
    with house.reading() as tx:
        assert formbook.form_field(tx, 1).standing == "drafted"


def test_a_new_house_asks_what_published_forms_ask(house, city):
    """And what a name is stays what it is, on both databases by the same verbs."""
    with house.transaction(steward("init")) as tx:
        made = formbook.begin(tx)
        assert formbook.begin(tx) == []
        assert {one.reason != "" for one in made} == {True}
        create = formbook.today(tx, declared("create"))
        assert {"申请公函", "建设或技术方案"} <= {one.label for one in create.annexes if one.required}
        assert formbook.today(tx, declared("create")) is create
        assert all(formbook.today(tx, kind).code == kind.code for kind in known())
        tomorrow = tx.now.astimezone(ZONE).date().replace(day=2)
    with house.transaction(Actor("authority1", "主", Role.AUTHORITY)) as tx:
        with pytest.raises(Invalid) as refused:
            formbook.draft(tx, "create", replace(LETTER, shape=FieldShape.TEXT), effective_from=tomorrow, reason="文件")
        assert refused.value.code == "form.shape"
        given_up = formbook.draft(
            tx, "create", replace(LETTER, demand=FormDemand.DROPPED), effective_from=tomorrow, reason="文件"
        )
        formbook.withdraw(tx, given_up.id)
        assert formbook.draft(tx, "create", SEATS, effective_from=tomorrow, reason="文件").says() == SEATS
        assert tx.query(Request).count() == 0


def test_a_step_says_another_shape_purpose_and_zone_where_its_rule_lets_it(client_of, place, clock):
    steps = [{"name": "technical_review", "role": "supervisor", "days": 3, "replace": ["shape", "purpose", "zone"]}]
    rules_enacted(client_of, clock, rule("amends", fact("kind", "==", "create"), steps=steps))
    with place.book.transaction(steward()) as tx:
        least = catalog.offer(tx, "least", "最小型", "vm", {VCPU: 1, MEMORY: GB}, [Arch.AARCH64]).id
        more = catalog.offer(tx, "more", "加大型", "vm", {VCPU: 64, MEMORY: GB}, [Arch.AARCH64]).id
    tenant = client_of(Role.TENANT)
    number, refused = submitted(tenant, place, more_purpose="production", more_zone="互联网区", **small(place, 2))
    assert not refused
    held = place.balance(Holder.HELD)
    with place.book.reading() as tx:
        line = tx.get_one(Request, number).lines[0].id
    checker, reviewer = client_of("supervisor1"), client_of("supervisor2")
    assert "规格改为" not in checker.get(f"/decisions/{number}").text  # the rule lets the review alone
    part = {"decision": "approve_part", "reason": "先按测试环境最低配置", f"quantity-{line}": "2"}
    refused = decide(checker, number, **part | {"replace-purpose": "test"})
    assert (refused.status_code, "这个步骤不能更改“使用性质”" in refused.text) == (422, True)
    assert decide(checker, number).status_code == 302
    form = reviewer.get(f"/decisions/{number}").text
    assert all(one in form for one in ("规格改为", "最小型", "使用性质改为", "网络区改为"))
    assert "加大型" not in form  # more than was asked for
    for wrong, said in (
        ({f"shape-{line}": str(more)}, "“加大型”超出第 1 行的申请量"),
        ({"replace-purpose": "party"}, "“使用性质”没有这个选项"),
        ({"replace-zone": "区" * 501}, "须为 1 至 500 个字符"),
        ({}, "没有改动任何数量"),
    ):
        refused = decide(reviewer, number, **part | wrong)
        assert (refused.status_code, said in refused.text) == (422, True), wrong
    assert place.balance(Holder.HELD) == held
    said = {f"shape-{line}": str(least), "replace-purpose": "test", "replace-zone": "测试区"}
    assert decide(reviewer, number, **part | said).status_code == 302
    with place.book.reading() as tx:
        one = tx.get_one(Request, number)
        assert (one.fields["purpose"], one.fields["zone"], one.state) == ("test", "测试区", "approved")
        assert (one.lines[0].granted_item.code, one.lines[0].granted_amounts) == ("least", {"vcpu": 1, "memory": GB})
        assert one.lines[0].item_id == place.small  # what was asked for stays
        assert [task.item.code for task in kind_of(one).tasks(one)] == ["least", "least"]
        told = [
            (notice.text, notice.role)
            for notice in tx.query(RequestNotice).filter_by(request_id=number, kind="replaced")
        ]
        assert told == [("先按测试环境最低配置", "tenant")]
    page = tenant.get(f"/requests/{number}").text
    assert all(text in page for text in ("最小型", "测试区", "互联网区", "先按测试环境最低配置"))
    place.prove()


@pytest.mark.parametrize("wrong", [[], "shape", ["shape", "shape"], ["owner"], [1]])
def test_what_a_step_cannot_replace_is_no_rule(wrong):
    with pytest.raises(Invalid):
        check_steps([{"name": "technical_review", "role": "supervisor", "days": 3, "replace": wrong}])
    with pytest.raises(Invalid):
        check_steps([{"name": "delivery", "role": "provider", "days": 3, "replace": ["shape"]}])
