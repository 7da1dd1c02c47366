"""Services of people over HTTP, from their price to the settlement; clause 40 of cities' published rules, enacted as data (``test_clauses``)."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import pytest

from metering.settlement import sheets
from metering.statements import closings
from providers.contracts import ContractTerms, contracts
from providers.labour import LabourJob, LabourRate, jobs
from quota.actors import Actor, Role
from quota.calendar import ZONE
from tests.journeys.test_clauses import enacted, fact, names, rule
from tests.journeys.test_requests import decide, filed, generation, state

CHIEF, STAFF = Actor("authority1", "主任", Role.AUTHORITY), Actor("supervisor1", "监督", Role.SUPERVISOR)
DAY = {"code": "MD-1", "name": "高级工程师", "unit": "人天", "price": "1500.00", "provider": "0"}
MOVE = {"code": "MOVE", "name": "系统迁移", "unit": "次", "price": "8000.50", "provider": "0"}


@pytest.fixture
def priced(client_of, clock):
    """Enters rates on the page, from today on."""

    def by(**says):
        said = {**DAY, "effective_from": str(clock.now.astimezone(ZONE).date()), **says}
        return client_of("authority1").send("/labour/rates/new", said)

    return by


def asked(client, place, **says):
    """File a request and hand it in: its number, and what the page says where it was refused."""
    said = {"more_service": "MD-1", "more_quantity": "20", "more_content": "重保期间驻场值守", **says}
    number = filed(client, place, "labour", **said)
    answer = client.send(f"/requests/{number}/submit", {"generation": generation(client, number, "/edit")})
    return number, "" if answer.location.endswith(f"/requests/{number}") else client.get(answer.location).text


def granted(client_of, place, **says):
    """A job, granted by those who sign what is small."""
    number, refused = asked(client_of("tenant1"), place, **says)
    assert not refused
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), number)
    assert state(place, number) == "done"
    with place.book.reading() as tx:
        return tx.query(LabourJob).filter_by(request_id=number).one().id


def seen(client, address):
    return re.search(r'name="generation"[^>]*value="(\d+)"', client.get(address).text).group(1)


def act(client, job, what, **says):
    address = f"/labour/{job}/{what}"
    return client.send(address, {"generation": seen(client, address), **says})


def test_40_man_days_and_services_done_once_are_priced_done_confirmed_and_paid(client_of, place, clock, priced):
    assert priced().status_code == 302
    assert priced(**MOVE).status_code == 302
    office = {"name": "authority_approval", "role": "authority", "days": 2}
    many = {"all": [fact("kind", "==", "labour"), fact("labour_yuan", ">", 30_000)]}
    enacted(client_of, clock, rule("costly", many, steps=[office]))
    tenant, company = client_of("tenant1"), client_of(Role.PROVIDER)
    clock.advance(minutes=1)
    page = tenant.get(f"/requests/new/labour?pool={place.pool}").text
    assert "高级工程师 · ¥1,500.00/人天" in page
    number, refused = asked(tenant, place)  # 20 × 1,500.00 = 30,000.00
    assert not refused
    assert "主管审批" not in dict(names(place, number))
    beyond, refused = asked(tenant, place, more_quantity="20.01")
    assert not refused
    assert "主管审批" in dict(names(place, beyond))
    clock.advance(minutes=1)  # from today, and not for what was handed in before it
    assert priced(price="2000.00", reason="物价调整").status_code == 302
    clock.advance(days=1)
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), number)
    assert state(place, number) == "done"
    with place.book.reading() as tx:
        job = tx.query(LabourJob).one().id
    company, tenant = client_of(Role.PROVIDER), client_of("tenant1")
    assert f"/labour/{job}" in company.get("/").text
    assert client_of("tenant2").get(f"/labour/{job}").status_code == 404
    assert "FW-000001" in company.get("/labour/").text  # nothing is done yet
    today = str(clock.now.astimezone(ZONE).date())
    said = {"done": "20.01", "on": today, "text": "驻场值守"}
    assert "不超过批准的 20 人天" in act(company, job, "report", **said).text
    assert act(company, job, "report", **{**said, "done": "12.5"}).status_code == 302
    assert company.send(f"/labour/{job}/confirm", {"generation": "2"}).status_code == 403
    assert f"/labour/{job}" in tenant.get("/").text
    assert "请写明退回的理由" in act(tenant, job, "back", text=" ").text
    assert act(tenant, job, "back", text="少了两个夜班").status_code == 302
    assert "少了两个夜班" in company.get(f"/labour/{job}").text
    assert act(company, job, "report", **{**said, "done": "13.5"}).status_code == 302
    assert act(tenant, job, "confirm").status_code == 302
    assert "已确认" in company.get(f"/labour/{job}").text
    assert "FW-000001" in client_of(Role.SUPERVISOR).get("/labour/?state=confirmed&export=csv").text
    assert "FW-000001" not in client_of(Role.SUPERVISOR).get("/labour/?state=open&export=csv").text
    with place.book.reading() as tx:
        one = tx.get(LabourJob, job)
        price = one.rate.price
        assert one.fen == int(Decimal("13.5") * price * 100)
    moved = granted(client_of, place, more_service="MOVE", more_quantity="1")
    act(company, moved, "report", done="1", on=today, text="已迁移")
    act(client_of("tenant1"), moved, "confirm", text="同意")
    month = f"{clock.now.astimezone(ZONE):%Y-%m}"
    assert month == "2026-06"
    clock.advance(days=35)
    with place.book.transaction(CHIEF) as tx:
        closings.close(tx, month, 1, {f"{month}-jia": 100_000})
        terms = {
            "number": "HT-1", "name": "", "payer": "市财政局", "ceiling_fen": 100_000_000,
            "first_day": (clock.now - timedelta(days=200)).date(), "last_day": (clock.now + timedelta(days=200)).date(),
        }  # fmt: skip
        agreed = contracts.enter(tx, tx.get(LabourJob, job).provider_id, ContractTerms(**terms)).id
        coming = sheets.standing(tx, contracts.contract(tx, agreed)).coming
    with place.book.transaction(STAFF) as tx:
        sheet = sheets.draft(tx, agreed, month)
    served = int(Decimal("13.5") * price * 100) + 800_050
    assert [(line["code"], line["fen"]) for line in sheet.claimed] == [("month", 100_000), ("labour", served)]
    assert sheet.claimed[1]["refs"] == [f"labour:{job}", f"labour:{moved}"]
    assert coming == 100_000 + served
    place.prove()


def test_what_is_priced_for_a_company_holds_before_everybodys_and_what_ended_is_not_offered(
    client_of, place, clock, priced
):
    today = clock.now.astimezone(ZONE).date()
    company = place.provider.id
    priced()
    assert priced(price="1200", provider=str(company)).status_code == 302
    tenant = client_of("tenant1")
    assert "¥1,200.00/人天" in tenant.get(f"/requests/new/labour?pool={place.pool}").text
    job = granted(client_of, place, more_quantity="2")
    with place.book.reading() as tx:
        assert tx.get(LabourJob, job).rate.price == Decimal(1200)
    gone = {"provider": str(company), "ended": "y", "effective_from": str(today + timedelta(days=1))}
    assert priced(**gone).status_code == 302
    clock.advance(days=1)
    tenant = client_of("tenant1")
    assert "MD-1" not in tenant.get(f"/requests/new/labour?pool={place.pool}").text
    assert "没有对该云服务商生效的人工服务 MD-1" in asked(tenant, place)[1]


def test_what_is_wrong_is_named(client_of, place, clock, priced):
    for says, word in (
        ({"code": "高级"}, "代码由字母"), ({"price": "-1"}, "非负数"), ({"price": "1.005"}, "两位小数"), ({"price": "NaN"}, "单价"),
        ({"unit": " "}, "不能为空"), ({"price": "10000000"}, "10000000"),
    ):  # fmt: skip
        answer = priced(**says)
        assert answer.status_code == 422, says
        assert word in answer.text, says
    assert client_of("supervisor1").send("/labour/rates/new", DAY).status_code == 403
    assert priced().status_code == 302
    assert "更正须写明原因" in priced(price="2").text
    with place.book.reading() as tx:
        assert tx.query(LabourRate).count() == 1
    tenant = client_of("tenant1")
    for quantity in ("0", "-1", "十", "1.005", "10000.01", "Infinity"):
        assert "数量须大于 0" in asked(tenant, place, more_quantity=quantity)[1], quantity
    assert "没有对该云服务商生效" in asked(tenant, place, more_service="NONE")[1]
    job = granted(client_of, place)
    company, today = client_of(Role.PROVIDER), clock.now.astimezone(ZONE).date()
    for says, word in (
        ({"done": "0"}, "完成数量须大于 0"), ({"on": str(today + timedelta(days=1))}, "完成日期须在"),
        ({"on": str(today - timedelta(days=1))}, "完成日期须在"), ({"text": ""}, "请写明完成的内容"),
    ):  # fmt: skip
        answer = act(company, job, "report", **{"done": "1", "on": str(today), "text": "做了", **says})
        assert answer.status_code == 422
        assert word in answer.text
    assert "现为“待服务”" in client_of("tenant1").send(f"/labour/{job}/confirm", {"generation": "1"}).text
    assert (
        "他人更新"
        in company.send(f"/labour/{job}/report", {"generation": "9", "done": "1", "on": str(today), "text": "x"}).text
    )
    assert act(client_of("supervisor1"), job, "cancel", text="不再需要").status_code == 302
    assert (
        "现为“已取消”"
        in company.send(f"/labour/{job}/report", {"generation": "2", "done": "1", "on": str(today), "text": "x"}).text
    )
    with place.book.reading() as tx:
        assert jobs.by_month(tx, {f"{tx.now:%Y-%m}"}) == {}
