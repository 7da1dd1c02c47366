"""系统下线 over HTTP: listed, its data handed over, asked for in one act, signed, deleted, erasure proven, ended; and in halves."""

from __future__ import annotations

import io
import re

import pytest
from sqlalchemy import select

from providers import orders
from quota.actors import Actor, Role, steward
from quota.directory import System
from quota.inventory import Resource
from quota.ledger import Holder, entries
from quota.requests.shutdowns import ERASED, HANDED_OVER
from quota.requests.tables import Request
from quota.units import MEMORY, VCPU, Amount, Arch
from tests.console.test_house import check_page
from tests.journeys.test_clauses import enacted, fact, names, rule, step
from tests.journeys.test_request_kinds import filed as filed_at
from tests.journeys.test_requests import decide, generation, state
from tests.quota.test_attachments import PDF

SHAPE = Amount({VCPU: 4, MEMORY: 8 * 1024})
WHY = "业务并入一体化平台,数据已移交档案馆"
TYPED = {"reason": WHY, "why_rest": ""}


@pytest.fixture
def portal(place) -> int:
    """A system with two machines that were approved and one that nobody approved."""
    with place.book.transaction(steward()) as tx:
        system = System(code="portal", name="旧门户", department_id=place.department)
        tx.add(system)
        tx.flush()
        entries.use(tx, place.pool, place.department, (SHAPE * 2).of_arch(Arch.AARCH64), key="use")
        found = system.id
    for name in ("web", "db"):
        place.standing_machine(SHAPE, name, system_id=found)
    place.standing_machine(SHAPE, "stray", system_id=found, basis="", booked={})
    return found


def page(client, at="/shutdowns/1"):
    text = client.get(at).text
    check_page(at, text)
    return text


def act(client, name, **more):
    seen = re.search(r'name="generation" value="(\d+)"', client.get("/shutdowns/1").text).group(1)
    return client.get(client.send(f"/shutdowns/1/{name}", {"generation": seen, **more}).location).text


def begun(client, portal, going, **more):
    at = f"/shutdowns/new?system={portal}"
    key = re.search(r'name="key" value="(\w+)"', page(client, at)).group(1)
    return client.send(at, {"key": key, "id": [str(one) for one in going], **TYPED, **more})


def prove(client, label):
    form = {"label": label, "files": (io.BytesIO(PDF + label.encode()), "证明.pdf")}
    assert client.send("/attachments/shutdown/1/add", form).status_code == 302


def test_nothing_is_proven_erased_before_it_was_asked_for(client_of, place, portal):
    tenant = client_of(Role.TENANT)
    begun(tenant, portal, ids(place).values())
    form = {"label": ERASED, "files": (io.BytesIO(PDF), "证明.pdf")}
    assert tenant.send("/attachments/shutdown/1/add", form).status_code == 422


def ids(place):
    with place.book.reading() as tx:
        return dict(tx.execute(select(Resource.name, Resource.id)).all())


def asked(place) -> dict[str, Request]:
    with place.book.reading() as tx:
        found = {one.resource.name: one for one in tx.scalars(select(Request).order_by(Request.id))}
        tx.expunge_all()
        return found


def deleted(place, city, request) -> None:
    """Its order, placed and done by the company's people, and what came of it accepted."""
    with place.book.transaction(steward()) as tx:
        (order,) = orders.place_for_request(tx, tx.get(Request, request.id))
        made = order.id
    with place.book.transaction(Actor("provider1", "商", Role.PROVIDER, provider_id=city.companies["jia"])) as tx:
        orders.mark_delivered(tx, made, orders.order(tx, made).generation)
    with place.book.transaction(Actor("tenant1", "办", Role.TENANT, place.department)) as tx:
        one = tx.get(Request, request.id)
        orders.accept_request(tx, one.id, generation=one.generation)


def test_31_and_32_a_whole_system_goes_in_one_act_and_both_proofs_are_asked_for(client_of, place, city, portal):
    tenant, has = client_of(Role.TENANT), ids(place)
    assert f"/shutdowns/new?system={portal}" in tenant.get(f"/systems/{portal}").text
    sent = begun(tenant, portal, has.values())
    assert sent.location == "/shutdowns/1"
    assert client_of("tenant2").get(f"/shutdowns/new?system={portal}").status_code == 404
    assert "数据移交证明" in act(tenant, "submit")
    assert not asked(place)
    prove(tenant, HANDED_OVER)
    assert "已提交 3 件申请" in act(tenant, "submit")
    requests = asked(place)
    assert {name: one.kind for name, one in requests.items()} == {
        "web": "shutdown",
        "db": "shutdown",
        "stray": "surrender",
    }
    assert f"/requests/{requests['web'].id}" in page(tenant)
    assert "未办结" in act(tenant, "finish")
    assert "/shutdowns/1" in page(client_of("supervisor1"), "/shutdowns/")
    assert client_of("tenant2").get("/shutdowns/1").status_code == 404
    assert client_of("tenant2").get("/attachments/1").status_code == 404
    for one in requests.values():
        for login in ("supervisor1", "supervisor2"):
            assert decide(client_of(login), one.id).status_code == 302
    assert "已通过" in act(tenant, "withdraw", reason="不下线了"), "what is decided is not taken back so"
    for one in requests.values():
        deleted(place, city, one)
    assert place.balance(Holder.USED) == 0
    assert "数据清除证明" in act(tenant, "finish")
    prove(tenant, ERASED)
    assert "系统已下线" in act(tenant, "finish")
    with place.book.reading() as tx:
        system = tx.get(System, portal)
        assert (system.active, system.offline_on) == (False, tx.now.date())
    assert "系统下线" in client_of(Role.AUDITOR).get("/audit/?subject=shutdown:1").text
    place.prove()


def test_31_and_32_change_and_leaving_go_ways_of_their_own_from_their_day(client_of, place, portal, clock):
    """A change by more than half is weighed by the authority, and the exit is reviewed with a number; until then the ways of all."""
    exit_ = step("exit", "退云审核", {"role": "authority"}, stage=40, record=True)
    change = [fact("kind", "==", "resize"), fact("growth_percent", ">", 50)]
    has = ids(place)
    tenant = client_of(Role.TENANT)

    def grown(vcpu):
        at = f"/requests/new/resize?resource={has['web']}"
        address = filed_at(tenant, at, item="0", amount_vcpu=vcpu).location
        number = int(re.search(r"/requests/(\d+)/", address).group(1))
        tenant.send(f"/requests/{number}/submit", {"generation": generation(tenant, number, "/check")})
        assert state(place, number) == "in_review"
        found = [name for name, _decision in names(place, number)]
        seen = generation(tenant, number)
        assert (
            tenant.send(f"/requests/{number}/withdraw", {"generation": seen, "reason": "不变更了"}).status_code == 302
        )
        return found

    assert "变更评审" not in grown("7")
    enacted(
        client_of, clock,
        rule("exit", fact("kind", "==", "shutdown"), steps=[exit_]),
        rule("less", {"all": [change[0], fact("direction", "==", "shrink")]},
             steps=[step("less", "缩容核查", {"role": "authority"}, stage=40)]),
        rule("change", {"all": change}, steps=[step("change", "变更评审", {"role": "authority"}, stage=40)]),
    )  # fmt: skip
    tenant = client_of(Role.TENANT)
    assert "变更评审" not in grown("6")  # 4 and a half more
    assert {"变更评审", "缩容核查"} & {*grown("7")} == {"变更评审"}
    assert {"变更评审", "缩容核查"} & {*grown("3")} == {"缩容核查"}
    listed = tenant.get("/requests/?kind=resize").text
    assert ("扩容至 7 vCPU" in listed, "缩容至 3 vCPU" in listed) == (True, True)
    begun(tenant, portal, has.values())
    prove(tenant, HANDED_OVER)
    assert "已提交 3 件申请" in act(tenant, "submit")
    leaving = asked(place)
    for name in ("web", "db"):
        number = leaving[name].id
        for login in ("supervisor1", "supervisor2"):
            decide(client_of(login), number)
        assert state(place, number) == "in_review"
        assert "须填写文号" in decide(client_of("authority1"), number).text
        assert decide(client_of("authority1"), number, record="退云〔2026〕1号").status_code == 302
        assert state(place, number) == "approved"
    assert "退云审核" not in dict(names(place, leaving["stray"].id))  # what nobody approved leaves nothing
    place.prove()


def test_what_is_left_out_stays_with_its_system_and_nothing_goes_undecided(client_of, place, city, portal):
    tenant, has = client_of(Role.TENANT), ids(place)
    assert "请写明理由" in begun(tenant, portal, [has["web"], has["db"]]).text
    assert "至少选择一项" in begun(tenant, portal, [], why_rest="都留着").text
    assert "不是这个系统的" in begun(tenant, portal, [999], why_rest="留").text
    assert "10 至" in begun(tenant, portal, [has["web"]], reason="下线", why_rest="留").text
    assert begun(tenant, portal, [has["web"], has["db"]], why_rest="数据库改作他用").status_code == 302
    again = f"/shutdowns/new?system={portal}"
    assert tenant.get(again).location == "/shutdowns/1"
    twice = tenant.send(again, {"key": "0" * 32, "id": [str(has["web"])], **TYPED, "why_rest": "重复"})
    assert "正在办理" in twice.text, "one at a time"
    prove(tenant, HANDED_OVER)
    assert "已提交 2 件申请" in act(tenant, "submit")
    requests = asked(place)
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), requests["web"].id)
    decide(client_of("supervisor1"), requests["db"].id, "reject", "另有系统共用,请先迁移")
    deleted(place, city, requests["web"])
    prove(tenant, ERASED)
    assert "继续运行" in act(tenant, "finish")
    with place.book.reading() as tx:
        assert tx.get(System, portal).active
        states = {one.name: one.state for one in tx.scalars(select(Resource))}
        assert states == {"web": "deleted", "db": "running", "stray": "running"}
    place.prove()


def test_a_shutdown_is_taken_back_with_what_it_asked_for_and_is_not_filed_by_itself(client_of, place, portal):
    tenant, has = client_of(Role.TENANT), ids(place)
    begun(tenant, portal, has.values())
    prove(tenant, HANDED_OVER)
    act(tenant, "submit")
    assert "已撤回" in act(tenant, "withdraw", reason="业务恢复")
    assert {one.state for one in asked(place).values()} == {"withdrawn"}
    at = f"/requests/new/shutdown?resource={has['web']}"
    assert tenant.get(at).status_code == 404
    assert tenant.send(at, {"key": "a" * 32, "justification": WHY, "system": str(portal)}).status_code == 404
    place.prove()
