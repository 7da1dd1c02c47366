"""The pages of identity sources and emergency accounts: who may open them, what they refuse, what they show before it binds."""

from __future__ import annotations

import json
import re

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select

from console.accounts import Origin, accounts, admission, proofs
from console.identity import IdentityLink, IdentityRule, IdentitySource, break_glass, connections, rulebook
from console.mail import mails
from console.settings import Settings
from console.tables import Mail, MailItem
from quota.actors import Role, steward
from quota.directory import Person
from quota.errors import NotAllowed
from tests.identity import CLIENT, forger

CONNECTION = {
    "code": "oa", "name": "市OA", "option_issuer": "https://oa.example.gov.cn", "option_client_id": CLIENT,
    "option_client_secret": "env:OA_SECRET", "option_scopes": "openid profile",
}  # fmt: skip
RULES = {
    "login": "preferred_username", "name": "name", "department": "org_code", "create": "y", "lost": "ask", "shown": "0",
    "roles-0-claim": "groups", "roles-0-value": "staff", "roles-0-role": "tenant", "roles-0-company": "",
    "reason": "市里统一", "claims": "",
}  # fmt: skip


@pytest.fixture
def settings(tmp_path):
    return Settings(data=tmp_path, secret_key="t" * 40, secrets_key=Fernet.generate_key().decode())


@pytest.fixture
def secadmin(client_of):
    return client_of(Role.SECADMIN)


@pytest.fixture
def source(secadmin, house):
    answer = secadmin.send("/settings/identity/new", CONNECTION)
    assert answer.location == "/settings/identity/oa", answer.text
    with house.reading() as tx:
        return connections.source(tx, "oa")


def text(answer):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.text.partition("<main")[2]))


def test_the_connection_is_kept_with_its_secret_by_reference(secadmin, source, house):
    page = text(secadmin.get("/settings/identity/oa"))
    assert "http://localhost/identity/oa/back" in page
    assert "env:OA_SECRET" in page
    assert "还没有制定规则" in page
    form = {**CONNECTION, "active": "y", "generation": "1", "option_client_secret-new": "typed-in-clear"}
    assert secadmin.send("/settings/identity/oa/connection", form).status_code == 302
    with house.reading() as tx:
        assert connections.source(tx, "oa").options["client_secret"] == "store:identity.oa.client_secret"
    assert "typed-in-clear" not in secadmin.get("/settings/identity/oa/connection").text
    stale = secadmin.send("/settings/identity/oa/connection", form)
    assert stale.status_code == 422
    assert "已被他人修改" in stale.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"code": "OA"}, "编码以小写字母开头"),
        ({"code": "new"}, "编码以小写字母开头"),
        ({"name": " "}, "请填写名称"),
        ({"option_issuer": ""}, "请填写签发者地址"),
        ({"option_client_secret": "the secret itself"}, "不写口令本身"),
    ],
    ids=["capitals", "a page's own word", "no name", "no issuer", "a secret in clear"],
)
def test_a_connection_that_makes_no_sense_is_shown_back(secadmin, house, changes, said):
    answer = secadmin.send("/settings/identity/new", {**CONNECTION, **changes})
    assert answer.status_code == 422
    assert said in answer.text
    assert "the secret itself" not in answer.text
    with house.reading() as tx:
        assert tx.scalars(select(IdentitySource)).all() == []


def test_two_sources_have_two_codes(secadmin, source):
    assert "已被使用" in secadmin.send("/settings/identity/new", CONNECTION).text


def test_a_probe_says_what_is_wrong(secadmin, house, source):
    with forger() as issuer:
        issuer.metadata["issuer"] = "https://calls-itself.example"
        with house.transaction(steward()) as tx:
            connections.change(
                tx, connections.source(tx, "oa"), "市OA", {"issuer": issuer.issuer, "client_id": CLIENT}, active=True
            )
        page = text(secadmin.send("/settings/identity/oa/probe"))
        assert "身份源自称的签发者与登记的地址不同" in page
        assert "https://calls-itself.example" in page
        issuer.metadata.clear()
        assert "没有登记这个客户端编号" in text(secadmin.send("/settings/identity/oa/probe"))
        issuer.broken["/auth"] = 200, b"<form>"
        assert "连接正常" in text(secadmin.send("/settings/identity/oa/probe"))
        issuer.broken["/token"] = 401, b'{"error": "invalid_client"}'
        assert "不接受这个客户端的密钥" in text(secadmin.send("/settings/identity/oa/probe"))


def test_rules_are_tried_looked_at_and_enacted(secadmin, house, source):
    tried = json.dumps({"sub": "1", "preferred_username": "wang.fang", "groups": ["staff", "x"], "org_code": "A01"})
    check = secadmin.send("/settings/identity/oa/rules", {**RULES, "claims": tried})
    assert check.status_code == 200
    assert "建账号，等待授权：使用单位（A01）" in text(check)
    assert "groups 含“staff”：可以是使用单位" in text(check)
    with house.reading() as tx:
        assert tx.scalars(select(IdentityRule)).all() == []
    for claims, outcome in (
        ({"preferred_username": "auditor1", "groups": ["staff"], "org_code": "A01"}, "须本人登录后自行关联"),
        ({"preferred_username": "wang.fang", "groups": []}, "拒绝：没有可用的角色"),
        ({"groups": ["staff"]}, "拒绝：没有可用的登录名"),
        ({"preferred_username": "w", "groups": ["staff"], "org_code": "Z9"}, "拒绝：没有可用的角色"),
    ):
        answer = secadmin.send("/settings/identity/oa/rules", {**RULES, "claims": json.dumps(claims)})
        assert outcome in text(answer)
    assert secadmin.send("/settings/identity/oa/rules", {**RULES, "step": "confirm"}).status_code == 302
    stale = secadmin.send("/settings/identity/oa/rules", {**RULES, "step": "confirm"})
    assert stale.status_code == 409
    assert "已有第 1 版" in stale.text
    again = {**RULES, "shown": "1", "link": "y", "second": "amr=otp\r\n\r\nacr = urn:x=3\r\namr=otp", "anew": "60",
             "step": "confirm"}  # fmt: skip
    assert secadmin.send("/settings/identity/oa/rules", again).status_code == 302
    page = text(secadmin.get("/settings/identity/oa?version=1"))
    assert "规则第 1 版" in page
    with house.reading() as tx:
        assert [one.version for one in tx.scalars(select(IdentityRule))] == [1, 2]
        assert rulebook.in_force(tx, source.id).link
        assert rulebook.in_force(tx, source.id).second == (("amr", "otp"), ("acr", "urn:x=3"))
    assert "amr=otp；acr=urn:x=3" in text(secadmin.get("/settings/identity/oa?version=2"))
    assert "每60分钟" in text(secadmin.get("/settings/identity/oa?version=2"))
    form = secadmin.get("/settings/identity/oa/rules").text
    assert "amr=otp\nacr=urn:x=3" in form
    assert re.search(r'name="anew"[^>]*value="60"', form)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"login": "email"}, "邮箱地址不能作登录名"),
        ({"department": ""}, "须写明哪个声明是单位编码"),
        ({"roles-0-role": ""}, "没有这个角色"),
        ({"roles-0-role": "system"}, "gj-error"),
        ({"roles-0-value": ""}, "每条须写明声明的值"),
        ({"roles-0-role": "provider", "roles-0-company": ""}, "须写明公司编码"),
        ({"roles-0-role": "provider", "roles-0-company": "NONE"}, "没有编码为 NONE 的公司"),
        ({"roles-0-claim": "", "roles-0-value": ""}, "须至少有一条角色规则"),
        ({"required": "secadmin"}, "先指定一个可用的安全管理员账号为应急账号"),
        ({"required": "nobody"}, "nobody"),
        ({"second": "otp"}, "每行须写明声明和它的值"),
        ({"anew": "5"}, "须为 0 或 10 至 1440 的整数"),
        ({"anew": "1441"}, "gj-error"),
        ({"claims": "[1"}, "须为一个 JSON 对象"),
        ({"claims": "[" * 5000}, "须为一个 JSON 对象"),
        ({"reason": " "}, "请写明理由"),
    ],
    ids=["mail", "no department", "no role", "a role of nobody", "no value", "no company", "another company", "no lines",
         "nobody left", "a role that is none", "half a proof", "too often", "too seldom", "no claims", "deep claims", "no reason"],
)  # fmt: skip
def test_rules_that_make_no_sense_are_shown_back(secadmin, house, source, changes, said):
    answer = secadmin.send("/settings/identity/oa/rules", {**RULES, **changes})
    assert answer.status_code == 422, answer.text
    assert said in answer.text
    confirmed = secadmin.send("/settings/identity/oa/rules", {**RULES, **changes, "step": "confirm"})
    if "claims" not in changes:
        assert confirmed.status_code == 422
        with house.reading() as tx:
            assert tx.scalars(select(IdentityRule)).all() == []


def test_lines_are_added_without_losing_what_was_typed(secadmin, source):
    page = secadmin.send("/settings/identity/oa/rules", {**RULES, "step": "row"})
    assert page.status_code == 200
    assert 'name="roles-1-claim"' in page.text
    assert 'value="staff"' in page.text


def test_differences_are_looked_at(secadmin, house, source):
    with house.transaction(steward()) as tx:
        who = tx.scalars(select(Person).where(Person.login == "auditor1")).one()
        row = IdentityLink(
            source_id=source.id, issuer="https://oa", subject="u-1", person_id=who.id, linked_by="auditor1",
            linked_at=tx.now, allowed=[{"role": "tenant", "department": "A01", "company": ""}], differs_since=tx.now,
        )  # fmt: skip
        tx.add(row)
        tx.flush()
        number = row.id
    assert "权限与身份源不符" in secadmin.get("/").text
    assert "使用单位（A01）" in text(secadmin.get("/settings/identity/oa/links?state=differs"))
    assert "使用单位（A01）" in text(secadmin.get("/settings/identity/oa"))
    assert secadmin.send(f"/settings/identity/links/{number}", {"reason": ""}).status_code == 422
    assert secadmin.send(f"/settings/identity/links/{number}", {"reason": "借调"}).status_code == 302
    assert "权限与身份源不符" not in secadmin.get("/").text
    assert secadmin.send(f"/settings/identity/links/{number}", {"reason": "再来"}).status_code == 422
    assert secadmin.send(f"/settings/identity/links/{number}/unlink").status_code == 302
    assert secadmin.get(f"/settings/identity/links/{number}").status_code == 404


def test_emergency_accounts_are_named_and_released(secadmin, client_of, house, source, settings, city):
    with house.reading() as tx:
        keeper = tx.scalars(select(Person).where(Person.login == "secadmin1")).one()
    page = secadmin.get("/settings/break-glass/")
    assert "没有可用的安全管理员应急账号" in page.text
    assert secadmin.send("/settings/break-glass/new", {"person": keeper.id, "reason": "值守"}).status_code == 302
    again = secadmin.send("/settings/break-glass/new", {"person": keeper.id, "reason": "值守"})
    assert again.status_code == 422
    rules = {**RULES, "required": "secadmin", "step": "confirm"}
    assert secadmin.send("/settings/identity/oa/rules", rules).status_code == 302
    last = secadmin.send(f"/settings/break-glass/{keeper.id}", {"reason": "不用了"})
    assert last.status_code == 422
    assert "最后一个可用的应急账号" in last.text
    client_of("secadmin1")
    watching = client_of(Role.AUDADMIN)
    assert "应急账号用过" in watching.get("/").text
    assert "127.0.0.1" in text(watching.get("/settings/break-glass/"))
    with house.transaction(steward()) as tx:
        for who in tx.scalars(select(Person).where(Person.role.in_(["secadmin", "audadmin"]))):
            who.email = f"{who.login}@example.gov.cn"
    with house.transaction(steward("job:mail")) as tx:
        mails.gather(tx)
        told = select(Person.role).join(Mail, Mail.person_id == Person.id).join(MailItem, MailItem.mail_id == Mail.id)
        roles = tx.scalars(told.where(MailItem.source == "break_glass")).all()
        assert set(roles) == {"secadmin", "audadmin"}
    with house.transaction(steward("job:mail")) as tx:
        assert mails.gather(tx) == []


def test_who_looks_after_other_things_changes_nothing_here(client_of, source):
    reader = client_of(Role.SYSADMIN)
    assert reader.get("/settings/identity/oa").status_code == 200
    for path in ("/settings/identity/new", "/settings/identity/oa/rules", "/settings/break-glass/new"):
        assert reader.get(path).status_code == 403
    tenant = client_of(Role.TENANT)
    assert tenant.get("/settings/identity/").status_code == 403
    assert tenant.get("/identity/").status_code == 200


def test_in_english(secadmin, source):
    secadmin.get("/")  # what was said of the registration
    secadmin.set_cookie("language", "en")
    for path in ("/settings/identity/", "/settings/identity/oa", "/settings/identity/oa/rules", "/settings/identity/new",
                 "/settings/identity/oa/links", "/settings/break-glass/", "/settings/break-glass/new", "/identity/"):  # fmt: skip
        page = text(secadmin.get(path)).replace("市OA", "")
        page = re.sub(r"中文|市政务服务和数据管理局|示例市", "", page)
        left = set(re.findall(r"[\u4e00-\u9fff]+", page.partition("page made")[0]))
        named = {one for one in left if one in text(secadmin.get("/settings/people/"))}
        assert left == named, (path, left)


def test_the_door_of_a_role_is_the_same_for_all_ways(house, settings, city, source):
    with house.transaction(steward()) as tx:
        row = connections.source(tx, "oa")
        rulebook.enact(tx, row, {"login": "login", "required": ["auditor"]}, "试用")
        who = tx.scalars(select(Person).where(Person.login == "auditor1")).one()
        break_glass.name(tx, accounts.person(tx, who.id), "值守")
        accounts.activate(tx, accounts.person(tx, who.id), False)
    here = Origin("192.0.2.1")
    proof = proofs.by_password(house, settings, "auditor1", city.passwords["auditor1"], here)
    with pytest.raises(NotAllowed, match=r"login\.closed"):
        admission.enter(house, settings, proof, here)
