"""Approval rules over HTTP: read by all, enacted by the authority alone, after seeing what they would change."""

from __future__ import annotations

import html
import json
import re
from datetime import date

import pytest

from console.pages.requests.rule_forms import filled
from console.pages.requests.rules import standings
from quota.actors import Actor, Role, steward
from quota.directory import catalog, pools
from quota.ledger import capacities, entries
from quota.requests import kinds, rulebook, submission
from quota.requests.asks import Ask, Line
from quota.requests.rulebook import ApprovalRule
from quota.units import VCPU, Arch, Commodity

CPU = Commodity(VCPU, Arch.AARCH64)


@pytest.fixture
def ruled(house, city):
    """The city with the default rules, and one request of 8 vCPU under way."""
    with house.transaction(steward()) as tx:
        rulebook.default_rules(tx)
        pool = pools.Pool(code="arm", name="信创池", provider_id=city.provider.id, arch="aarch64", zone="政务外网",
                          xinchuang=True, adapter="files")  # fmt: skip
        tx.add(pool)
        tx.flush()
        capacities.equip(tx, pool, VCPU, 100, key="cpu")
        item = catalog.offer(tx, "8c", "8C", "vm", {VCPU: 8}, [Arch.AARCH64])
        entries.grant(tx, pool.id, city.departments[0].id, {CPU: 20}, key="grant")
        pool_id, item_id = pool.id, item.id
    clerk = Actor("tenant1", "经办", Role.TENANT, city.departments[0].id)
    with house.transaction(clerk) as tx:
        ask = Ask(kinds.CREATE, city.departments[0].id, pool_id, [Line(item_id=item_id)], "高峰并发两千,按压测折算")
        one = submission.draft(tx, ask)
        return submission.submit(tx, one, generation=1).number


def form(house, of, **changed):
    """What a browser would send back of the form of ``of``'s next version."""
    with house.reading() as tx:
        row = max((one for one in tx.query(ApprovalRule) if one.code == of), key=lambda one: one.version)
    data = {"shown": str(row.version), "basis": "穗数〔2026〕1号"}
    for name, value in filled(row, date(2026, 6, 2)).items():
        if name == "groups":
            for g, group in enumerate(value or [{"rows": [{}]}]):
                for r, one in enumerate(group["rows"]):
                    for field, default in (("fact", ""), ("op", ">"), ("value", "")):
                        data[f"groups-{g}-rows-{r}-{field}"] = one.get(field, default)
        elif value not in ("", None):
            data[name] = str(value)
    for step in ("form_check", "technical_review", "authority_approval", "delivery", "acceptance"):
        data.setdefault(f"{step}_role", "")
    return {**data, **changed}


def enacted(client_of, answer):
    """The page of a draft that one person signed, signed by another."""
    assert answer.status_code == 302, answer.text
    second, address = client_of("authority2"), answer.location
    assert "待签署" in second.get(address).text
    done = second.send(f"{address}/sign", {})
    assert "已施行" in second.get(done.location).text


def test_everybody_of_the_trade_reads_what_is_in_force(ruled, client_of):
    for who in (Role.TENANT, Role.PROVIDER, Role.AUDITOR):
        page = client_of(who).get("/rules/")
        assert page.status_code == 200
        assert "超出配额；或 增加占用 且 非“信创资源池”" in page.text
    assert client_of(Role.SYSADMIN).get("/rules/").status_code == 403
    assert client_of(Role.TENANT).get("/rules/nothing").status_code == 404


def test_a_new_version_is_tried_checked_and_enacted(ruled, house, client_of):
    chief = client_of(Role.AUTHORITY)
    assert "groups-4-rows-1-fact" in chief.get("/rules/authority/enact").text
    data = form(house, "authority", **{"groups-0-rows-0-value": "4"})
    check = chief.send("/rules/authority/enact", data)
    assert check.status_code == 200
    assert "新增 vCPU 大于 4" in check.text
    assert ruled in check.text  # the request of 8 vCPU would have gone to the authority, too
    assert "9 → 11 个工作日" in check.text
    with house.reading() as tx:
        assert len([one for one in rulebook.enacted(tx) if one.code == "authority"]) == 1

    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', check.text)
    carried = {name: html.unescape(value) for name, value in hidden}
    assert carried.pop("csrf_token")
    answer = chief.send("/rules/authority/enact", {**carried, "step": "confirm"})
    with house.reading() as tx:
        assert rulebook.newest(tx, "authority") == 1  # one signature enacts nothing
    own = chief.send(f"{answer.location}/sign", {})
    assert "须由另一人签署" in chief.get(own.location).text
    assert "可以签署的有" in chief.get(answer.location).text
    assert client_of("supervisor1").send(f"{answer.location}/sign", {}).status_code == 403
    enacted(client_of, answer)
    page = chief.get("/rules/authority?version=2")
    assert "待生效" in page.text
    assert "authority@2" in page.text
    with house.reading() as tx:
        assert [one.version for one in rulebook.in_force(tx, date(2026, 6, 1)) if one.code == "authority"] == [1]
        (new,) = [one for one in rulebook.in_force(tx, date(2026, 6, 2)) if one.code == "authority"]
        assert new.condition["any"][0] == {"fact": "vcpu", "op": ">", "value": 4}
        assert new.enacted_by == "authority2"


def test_a_page_made_from_an_older_version_is_refused(ruled, house, client_of):
    chief = client_of(Role.AUTHORITY)
    data = form(house, "big", step="confirm")
    enacted(client_of, chief.send("/rules/big/enact", data))
    answer = chief.send("/rules/big/enact", {**data, "name": "另一版"})
    assert answer.status_code == 409
    assert "已有第 2 版" in answer.text
    assert 'value="另一版"' in answer.text
    assert chief.send("/rules/big/enact", {**data, "shown": "2"}).status_code == 302


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"groups-0-rows-0-value": "许多"}, "“许多”不是数"),
        ({"groups-0-rows-0-value": ""}, "请填写比较的值"),
        ({"groups-0-rows-0-op": "has"}, "不能这样比较"),
        ({"groups-0-rows-0-fact": "kind", "groups-0-rows-0-op": "==", "groups-0-rows-0-value": "送货"}, "没有“送货”"),
        ({"technical_review_days": ""}, "请填写“技术评审”的时限"),
        ({"technical_review_role": ""}, "请至少选定一个步骤由谁办理"),
        ({"technical_review_days": "900"}, "technical_review_days-error"),
        ({"effective_from": "2026-05-31"}, "规则不能从过去的日期起生效"),
        ({"basis": ""}, "请写明制定依据"),
        ({"outcome": "refuse"}, "请写明不予受理的理由"),
        ({"groups-0-rows-0-fact": "arch", "groups-0-rows-0-op": "==", "groups-0-rows-0-value": "mips"}, "没有“mips”"),
    ],
)
def test_what_makes_no_sense_is_named_and_nothing_is_lost(ruled, house, client_of, changed, told):
    answer = client_of(Role.AUTHORITY).send("/rules/big/enact", form(house, "big", name="大额申请的评审", **changed))
    assert answer.status_code == 422
    assert told in answer.text
    assert 'value="大额申请的评审"' in answer.text


def test_groups_and_rows_grow_without_scripts(ruled, house, client_of):
    chief = client_of(Role.AUTHORITY)
    page = chief.send("/rules/base/enact", form(house, "base", step="group"))
    assert page.status_code == 200
    assert "groups-1-rows-0-fact" in page.text
    data = form(house, "base", step="row-0")
    assert "groups-0-rows-1-fact" in chief.send("/rules/base/enact", data).text
    assert chief.send("/rules/base/enact", {**data, "step": "row-77"}).status_code == 200


def test_a_repeal_says_who_would_be_left_without_a_signature(ruled, house, client_of):
    chief = client_of(Role.AUTHORITY)
    data = form(house, "base", repeal="y")
    check = chief.send("/rules/base/enact", data)
    assert "生效后无人审批的申请类型" in check.text
    assert "无（废止）" in check.text
    enacted(client_of, chief.send("/rules/base/enact", {**data, "step": "confirm"}))
    with house.reading() as tx:
        rows = list(tx.query(ApprovalRule))
    states = standings(rows, date(2026, 6, 2))
    assert {(one.version, states[one.id]) for one in rows if one.code == "base"} == {
        (1, "rule_superseded"),
        (2, "rule_repealed"),
    }


def test_a_rule_of_ones_own(ruled, house, client_of):
    chief = client_of(Role.AUTHORITY)
    data = form(
        house, "base", code="weekend", shown="0", name="数据库须评审 4 日", priority="60", technical_review_days="4",
        **{"groups-0-rows-0-fact": "services", "groups-0-rows-0-op": "has", "groups-0-rows-0-value": "数据库"},
    )  # fmt: skip
    assert chief.send("/rules/new", {**data, "code": "Week End"}).status_code == 422
    assert chief.send("/rules/new", {**data, "code": "new"}).status_code == 422
    enacted(client_of, chief.send("/rules/new", {**data, "step": "confirm"}))
    with house.reading() as tx:
        (row,) = [one for one in rulebook.enacted(tx) if one.code == "weekend"]
    assert row.condition == {"fact": "services", "op": "has", "value": "database"}
    for who in (Role.SUPERVISOR, Role.TENANT):
        assert client_of(who).send("/rules/new", data).status_code == 403


def test_two_drafts_of_one_rule_and_a_draft_given_up(ruled, house, client_of):
    chief, second = client_of("authority1"), client_of("authority2")
    data = form(house, "big", step="confirm")
    one, other = (chief.send("/rules/big/enact", data).location for _ in range(2))
    assert chief.get("/rules/").text.count("/rules/drafts/") == 2
    second.send(f"{one}/sign", {})
    refused = second.send(f"{other}/sign", {})
    assert "已有新版本" in second.get(refused.location).text
    assert chief.send(f"{other}/withdraw", {}).status_code == 302
    assert "已撤回" in chief.get(other).text
    assert chief.send(f"{other}/withdraw", {}).status_code == 409
    again = second.send(f"{one}/sign", {})
    assert "已生效或已撤回" in second.get(again.location).text
    with house.reading() as tx:
        assert rulebook.newest(tx, "big") == 2


def test_a_day_that_passed_while_it_waited_enacts_nothing(ruled, house, client_of, clock):
    chief = client_of("authority1")
    address = chief.send("/rules/big/enact", form(house, "big", step="confirm")).location
    clock.advance(days=2)
    second = client_of("authority2")
    refused = second.send(f"{address}/sign", {})
    assert "不能从过去的日期起生效" in second.get(refused.location).text
    with house.reading() as tx:
        assert rulebook.newest(tx, "big") == 1


def test_what_is_exported_can_be_imported_and_a_mistake_names_its_place(ruled, house, client_of):
    chief = client_of("authority1")
    text = chief.get("/rules/export.json").text
    known = json.loads(text)
    assert [one["code"] for one in known["rules"]] == ["base", "big", "authority", "delivery", "slow_delivery"]
    fields = {"document": text.replace(known["rules"][0]["effective_from"], "2026-06-02"), "reason": "照旧"}
    enacted(client_of, chief.send("/rules/import", fields))
    with house.reading() as tx:
        assert {rulebook.newest(tx, one["code"]) for one in known["rules"]} == {2}

    broken = json.loads(fields["document"])
    broken["rules"][2]["steps"][0]["days"] = 0
    for document, told in (
        (json.dumps(broken), "第 3 条规则的 authority"),
        ("[]", "不是规则文件"),
        ("", "不是规则文件"),
    ):
        answer = chief.send("/rules/import", {"document": document, "reason": "试"})
        assert answer.status_code == 422
        assert told in html.unescape(answer.text)
    assert chief.send("/rules/import", {"document": text, "reason": "早已过去"}).status_code in (302, 422)
    assert client_of("tenant1").send("/rules/import", fields).status_code == 403
