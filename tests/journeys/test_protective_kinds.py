"""网络策略, 安全服务 and 密码服务 over HTTP: from the form to the company's work, and what becomes of a port whose term is over."""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from providers import orders
from providers.assessment import company, formula, gathering
from providers.orders import WorkOrder
from providers.tickets import Ticket, TicketStep, TicketTurn, granted
from quota import requests
from quota.actors import Actor, Role, steward
from quota.directory import Pool, departments
from quota.errors import Invalid
from quota.ledger import Holder, capacities
from quota.requests.kinds import network
from quota.requests.tables import Request
from quota.units import SECURITY, Arch, Commodity
from tests.journeys.test_clauses import enacted, fact, rule
from tests.journeys.test_request_kinds import filed, handed_in
from tests.journeys.test_requests import BASIS, decide, generation, small, state

PORT = {
    "more_direction": "internet_in", "more_source": "0.0.0.0/0", "more_destination": "10.2.3.4、oa.example.gov.cn",
    "more_protocol": "tcp", "more_ports": "443，8000-8010", "more_use": "对外服务",
}  # fmt: skip
ENDS = "2026-08-31"


def job(house, verb) -> list[Any]:
    with house.transaction(steward("job:test")) as tx:
        return [one.id for one in verb(tx)]


def opened(client_of, place) -> int:
    """A port that was asked for and granted: its request."""
    tenant, address = client_of(Role.TENANT), f"/requests/new/network?pool={place.pool}"
    number, _answer = handed_in(tenant, filed(tenant, address, use_until=ENDS, **PORT))
    for login in ("supervisor1", "supervisor2"):
        assert decide(client_of(login), number).status_code == 302
    assert state(place, number) == "done"
    return number


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"more_ports": "0"}, "不是端口"),
        ({"more_ports": "65536"}, "不是端口"),
        ({"more_ports": "9-2"}, "不是端口"),
        ({"more_ports": "22; rm -rf"}, "不是端口"),
        ({"more_ports": "80,79-81"}, "端口 80 重复"),
        ({"more_ports": ""}, "须填写端口"),
        ({"more_protocol": "icmp"}, "ICMP 不填"),
        ({"more_source": "300.1.1.1"}, "300.1.1.1”不是地址"),
        ({"more_source": "10.0.0.9-10.0.0.1"}, "不是地址"),
        ({"more_destination": "<b>"}, "不是地址"),
        ({"more_source": " ".join(f"1.1.1.{n}" for n in range(52))}, "最多写 50 项"),
    ],
)
def test_a_port_that_says_nothing_is_refused_with_its_place(client_of, place, changes, said) -> None:
    tenant, address = client_of(Role.TENANT), f"/requests/new/network?pool={place.pool}"
    sent = filed(tenant, address, use_until=ENDS, **PORT | changes)
    page = tenant.get(sent.location).text if sent.status_code == 302 else sent.text
    assert said in page


def test_a_port_is_opened_by_people_and_closed_when_its_department_says_so(
    house, client_of, place, city, clock
) -> None:
    tenant = client_of(Role.TENANT)
    assert "到哪一天" in tenant.get("/requests/new").text
    without = filed(tenant, f"/requests/new/network?pool={place.pool}", **PORT)
    assert without.status_code == 422, "a port has a term"
    number = opened(client_of, place)
    with house.reading() as tx:
        facts = tx.get_one(Request, number).facts
        assert (facts["network_direction"], facts["network_ports"], facts["network_any"]) == ("internet_in", 12, True)
        assert facts["protected_level"] == 0
    (ticket,) = job(house, granted.place)
    assert job(house, granted.place) == [], "once"
    operator = client_of(Role.PROVIDER)
    page = operator.get(f"/tickets/{ticket}").text
    for told in ("443，8000-8010", "互联网访问本系统", "对外服务", ENDS):
        assert told in page
    assert f"/tickets/{ticket}" in tenant.get(f"/requests/{number}").text
    assert f'href="/requests/{number}"' in tenant.get(f"/tickets/{ticket}").text
    assert f'href="/requests/{number}"' not in page, "the request's page is not the company's to open"
    assert operator.send(f"/tickets/{ticket}/solve", {"generation": 1, "text": "已开放"}).status_code == 302
    assert tenant.send(f"/tickets/{ticket}/confirm", {"generation": 2, "text": ""}).status_code == 302
    assert job(house, granted.ask_ended) == [], "its term is not over"

    clock.now = clock.now.replace(month=9, day=1)
    (asked,) = job(house, granted.ask_ended)
    assert job(house, granted.ask_ended) == [], "once for each end"
    tenant = client_of(Role.TENANT)
    assert "使用期限已满" in tenant.get(f"/tickets/{asked}").text
    assert f"YW-{asked:06d}" in tenant.get("/").text
    assert f"YW-{asked:06d}" not in client_of(Role.PROVIDER).get("/").text
    clock.advance(days=2)
    tenant, operator = client_of(Role.TENANT), client_of(Role.PROVIDER)
    assert tenant.send(f"/tickets/{asked}/tell", {"generation": 2, "text": "不用了"}).status_code == 302
    clock.advance(hours=1)
    operator = client_of(Role.PROVIDER)
    assert operator.send(f"/tickets/{asked}/solve", {"generation": 3, "text": "已关闭"}).status_code == 302
    with house.reading() as tx:
        turn = tx.scalars(select(TicketTurn).where(TicketTurn.ticket_id == asked)).one()
        assert turn.in_time(tx.now), "the days that the department took are not the company's"


def test_what_is_wanted_longer_is_not_closed(house, client_of, place, city, clock) -> None:
    number = opened(client_of, place)
    job(house, granted.place)
    clock.now = clock.now.replace(month=9, day=1)
    (asked,) = job(house, granted.ask_ended)
    tenant = client_of(Role.TENANT)
    longer, _answer = handed_in(tenant, filed(tenant, f"/requests/new/extend?request={number}", use_until="2026-12-31"))
    assert job(house, granted.let_be) == [], "nothing is decided yet"
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), longer)
    assert job(house, granted.let_be) == [asked]
    with house.reading() as tx:
        assert tx.get_one(Ticket, asked).state == "withdrawn"
        steps = tx.scalars(select(TicketStep.act).where(TicketStep.ticket_id == asked).order_by(TicketStep.id)).all()
        assert steps == ["filed", "asked", "withdrawn"]
        assert tx.get_one(Request, number).use_until == date(2026, 12, 31)
    assert job(house, granted.ask_ended) == []
    clock.now = clock.now.replace(month=12, day=31) + timedelta(days=1)
    assert len(job(house, granted.ask_ended)) == 1, "a later end is asked about anew"


def test_what_is_closed_already_is_not_called_off(house, client_of, place, city, clock) -> None:
    number = opened(client_of, place)
    clock.now = clock.now.replace(month=9, day=1)
    (asked,) = job(house, granted.ask_ended)
    tenant = client_of(Role.TENANT)
    tenant.send(f"/tickets/{asked}/tell", {"generation": 2, "text": "不用了"})
    longer, _answer = handed_in(tenant, filed(tenant, f"/requests/new/extend?request={number}", use_until="2026-12-31"))
    client_of(Role.PROVIDER).send(f"/tickets/{asked}/solve", {"generation": 3, "text": "已关闭"})
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), longer)
    assert job(house, granted.let_be) == [], "its department says itself whether it is to be opened again"
    with house.reading() as tx:
        assert tx.get_one(Request, number).use_until == date(2026, 12, 31)
        assert tx.get_one(Ticket, asked).state == "solved"


def test_what_a_department_does_not_answer_is_no_success_of_the_company(house, client_of, place, city, clock) -> None:
    opened(client_of, place)
    clock.now = clock.now.replace(month=9, day=1)
    (asked,) = job(house, granted.ask_ended)
    clock.now = clock.now.replace(day=29)
    with house.reading() as tx:
        assert gathering.gather(tx, company(city.companies["jia"]), "2026-09", by=formula.default())["tickets"] == []
        assert tx.get_one(Ticket, asked).state == "asked"


@pytest.mark.parametrize(
    ("source", "anywhere"),
    [
        ("0.0.0.0/0", True), ("::/0", True), ("0.0.0.0-255.255.255.255", True), ("0.0.0.0/1 128.0.0.0/1", True),
        ("10.0.0.1 0.0.0.0/1 128.0.0.0-255.255.255.255", True), ("0.0.0.0/1", False), ("10.0.0.0-10.0.0.9", False),
        ("0.0.0.0/1 8000::/1", False), ("oa-1.example.gov.cn", False),
    ],
)  # fmt: skip
def test_any_address_is_any_however_it_is_written(source, anywhere) -> None:
    assert network.anywhere(Request(fields={"source": source}), "source") is anywhere


def test_a_security_service_names_what_it_protects(house, client_of, place, city, clock) -> None:
    own, other = (one.id for one in place.departments)
    with house.transaction(steward()) as tx:
        departments.enter(tx, "s1", own, {"name": "一网通办", "mlps_level": 3})
        departments.enter(tx, "s2", own, {"name": "协同办公"})
        departments.enter(tx, "s3", other, {"name": "别家的"})
        capacities.equip(tx, tx.get_one(Pool, place.pool), SECURITY, 5, reserved=0, ratio=Decimal(1), key="sets")
    place.grant({Commodity(SECURITY, Arch.ANY): 3}, "sets-of-a01")
    tenant, address = client_of(Role.TENANT), f"/requests/new/security?pool={place.pool}"
    form = {"amount_security": "2", "more_protects": "一网通办\ns2", "more_wanted": "WAF"}
    assert filed(tenant, address, **form | {"more_protects": ""}).status_code == 422
    for wrong, said in (("别家的", "没有在用的信息系统“别家的”"), ("s1、一网通办", "写了两次")):
        assert said in tenant.get(filed(tenant, address, **form | {"more_protects": wrong}).location).text
    draft = filed(tenant, address, **form).location.removesuffix("/check")
    mended = {**form, "generation": generation(tenant, draft.rpartition("/")[2], "/edit"), "more_wanted": "IPS"}
    assert tenant.send(f"{draft}/edit", {"justification": BASIS, "system": "0", **mended}).status_code == 302
    said = re.findall(r"<dt>([^<]+)</dt><dd><del>WAF</del>.*?<ins>IPS</ins>", tenant.get(draft).text)
    assert said == ["需要的安全能力"], "as this kind calls it, not another"
    number, _answer = handed_in(tenant, filed(tenant, address, **form))
    with house.reading() as tx:
        request = tx.get_one(Request, number)
        assert (request.facts["protected_level"], request.facts["services"]) == (3, ["security"])
        assert [(line.service, line.asked, line.quantity) for line in request.lines] == [
            ("security", {"security": 2}, 1)
        ]
    for login in ("supervisor1", "supervisor2", "authority1"):
        if state(place, number) == "in_review":
            decide(client_of(login), number)
    assert state(place, number) == "approved"
    assert place.balance(Holder.GRANTED, Commodity(SECURITY, Arch.ANY)) == 1
    with house.transaction(steward()) as tx:
        (order,) = orders.place_for_request(tx, requests.request(tx, number))
        assert (order.verb, order.kind, order.amounts) == ("create", "security", {"security": 2})
        made = order.id
    with house.transaction(Actor("provider1", "商", Role.PROVIDER, provider_id=city.companies["jia"])) as tx:
        orders.mark_delivered(tx, made, orders.order(tx, made).generation, external_id="waf-1", has={SECURITY: 2})
    seen = generation(tenant, number, "/acceptance")
    assert tenant.send(f"/requests/{number}/acceptance", {"verdict": "accept", "generation": seen}).status_code == 302
    assert state(place, number) == "done"
    with house.reading() as tx:
        assert tx.get_one(WorkOrder, made).resource.kind == "security"
    place.prove()


def test_a_cryptography_service_takes_no_machine(client_of, place) -> None:
    with place.book.transaction(steward()) as tx:
        departments.enter(tx, "s1", place.department, {"name": "一网通办"})
    tenant, address = client_of(Role.TENANT), f"/requests/new/cryptography?pool={place.pool}"
    page = tenant.get(address).text
    assert "4C8G" not in page, "only what is of its kind is offered"
    form = {
        "more_protects": "s1",
        "more_wanted": "SM2 签名验签",
        "lines-0-item": str(place.small),
        "lines-0-quantity": "1",
    }
    assert filed(tenant, address, **form).status_code == 422
    clerk = Actor("tenant1", "办", Role.TENANT, place.department)
    ask = requests.Ask(
        requests.declared("cryptography"), place.department, place.pool, [requests.Line(item_id=place.small)], "十个字以上的理由说明",
        fields={"protects": "s1", "wanted": "SM2"},
    )  # fmt: skip
    with pytest.raises(Invalid, match="line"), place.book.transaction(clerk) as tx:
        requests.submit(tx, requests.draft(tx, ask), generation=1)


INWARD = {
    "more_origin": "moved", "more_moved_from": "本单位机房", "more_users": "社会公众", "more_networks": "政务外网、互联网",
    "more_mlps": "3", "more_mlps_record": "11010099001-23001", "more_data_level": "important", "more_owner": "王工",
    "more_phone": "83110000", "more_registered_users": "12000", "more_online_on": "2026-09-01",
}  # fmt: skip


def test_a_system_is_taken_onto_the_cloud_and_the_register_says_what_was_approved(
    house, client_of, place, clock
) -> None:
    with place.book.transaction(Actor("authority1", "主", Role.AUTHORITY)) as tx:
        of = departments.enter(tx, "S09", place.department, {"name": "档案系统", "mlps_level": 2}).id
    enacted(
        client_of, clock,
        rule("first", {"all": [fact("kind", "==", "create"), fact("onboarded", "==", False)]}, outcome="refuse", reason="须先办接入"),
        rule("high", fact("onboard_level", ">=", 4), outcome="refuse", reason="四级及以上不上政务云"),
    )  # fmt: skip
    tenant, address = client_of(Role.TENANT), f"/requests/new/onboard?pool={place.pool}"
    assert "做好接入准备" in tenant.get("/requests/new").text

    def check(**changes) -> str:
        answer = filed(tenant, address, **{"system": str(of), **INWARD, **changes})
        return answer.text if answer.status_code != 302 else tenant.get(answer.location).text

    for changes, said in (
        ({"system": "0"}, "请选择要接入的信息系统"),
        ({"more_mlps": ""}, "请填写这一项"),
        ({"more_mlps": "4"}, "四级及以上不上政务云"),
        ({"more_moved_from": ""}, "请写明原部署地点"),
        ({"more_registered_users": "1.5"}, "注册用户数须为整数"),
        ({"more_registered_users": "-1"}, "不能小于 0"),
        ({"more_phone": "8" * 33}, "“联系电话”最长 32 字"),
    ):
        assert said in check(**changes), changes
    machines = f"/requests/new/create?pool={place.pool}"
    before = filed(tenant, machines, **small(place, 1), system=str(of)).location
    assert "须先办接入" in tenant.get(before).text
    number, _answer = handed_in(tenant, filed(tenant, address, **{"system": str(of), **INWARD}))
    assert f"已由申请 SQ-2026-{number:06d} 接入" in check()
    page = tenant.get(f"/requests/{number}").text
    assert all(one in page for one in ("等保三级、社会公众", "重要数据", "由云外迁入"))
    for login in ("supervisor1", "supervisor2"):
        assert decide(client_of(login), number).status_code == 302
    assert state(place, number) == "done"
    with place.book.reading() as tx:
        one = departments.system(tx, of)
        assert (one.mlps_level, one.mlps_record, one.data_level) == (3, "11010099001-23001", "important")
        assert (one.users, one.owner, one.registered_users, str(one.online_on)) == (
            "社会公众",
            "王工",
            12000,
            "2026-09-01",
        )
    (ticket,) = job(house, granted.place)
    assert "需要接入的网络：政务外网、互联网" in client_of(Role.PROVIDER).get(f"/tickets/{ticket}").text
    assert "须先办接入" not in tenant.get(before).text
    place.prove()
