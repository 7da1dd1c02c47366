"""Companies and their assessment over HTTP: an order from placing to the re-scored card, an incident to its ruling, a
bill and an inventory from good and bad files.

haichen-like company 甲云 (provider1), pools: hand (files adapter: done by hand); department A01 (tenant1).
"""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from click.testing import CliRunner
from openpyxl import load_workbook
from sqlalchemy import select

from console.cli import main
from console.pages.inventory import inventories
from console.settings import load
from providers import comments, orders
from providers.assessment import appeals, cards, records, subjects
from providers.base import ServiceKind, Verb
from providers.billing import BillLine, bills
from providers.orders import tables
from providers.orders.tables import WorkOrder
from providers.readers import bill_words
from providers.readers.usage_columns import plain
from providers.registry import open_provider
from quota import inventory
from quota.actors import Role, steward
from quota.db import Book
from quota.directory.departments import Department
from quota.directory.pools import CloudProvider, Pool
from quota.ledger import capacities, entries
from quota.units import MEMORY, VCPU, Amount, Arch
from tests.console.test_house import check_page
from tests.quota.test_attachments import PDF

SMALL = {VCPU: 4, MEMORY: 8 * 1024}


@pytest.fixture
def pool(house) -> int:
    """A pool of 甲云 that nobody's program acts on, with capacity, and some of it granted to A01."""
    with house.transaction(steward()) as tx:
        company = tx.scalars(select(CloudProvider)).one()
        one = Pool(
            code="hand", name="甲云信创池", provider_id=company.id, arch="aarch64", zone="政务外网", xinchuang=True,
            adapter="files", adapter_options={}, active=True,
        )  # fmt: skip
        tx.add(one)
        tx.flush()
        for kind, total in ((VCPU, 100), (MEMORY, 200 * 1024)):
            capacities.equip(tx, one, kind, total, key=f"equip:{kind}")
        ours = tx.scalar(select(Department.id).where(Department.code == "A01"))
        what = Amount({VCPU: 50, MEMORY: 100 * 1024}).of_arch(Arch.AARCH64)
        entries.grant(tx, one.id, ours, what, key="grant", subject="test")
        return one.id


def place(house, pool: int, key: str = "k", **more: Any) -> int:
    with house.transaction(steward()) as tx:
        ours = tx.scalar(select(Department.id).where(Department.code == "A01"))
        return orders.place(
            tx, tx.get_one(Pool, pool), Verb.CREATE, key=key, kind=ServiceKind.VM, amounts=SMALL, name=f"web-{key}",
            department_id=ours, case_id=1, **more,
        ).id  # fmt: skip


def generation(house, order_id: int) -> int:
    with house.reading() as tx:
        return tx.get_one(WorkOrder, order_id).generation


def act(client, house, order_id: int, name: str, **data: Any):
    url = f"/orders/{order_id}/{name}"
    assert client.get(url).status_code == 200
    return client.send(url, {"generation": generation(house, order_id), **data})


def test_an_order_is_worked_by_hand_and_accepted_and_rated(client_of, house, pool, clock) -> None:
    one = place(house, pool)
    company, department, steward = client_of(Role.PROVIDER), client_of(Role.TENANT), client_of(Role.SUPERVISOR)
    home = company.get("/").text
    assert "待交付工单" in home
    assert "web-k" in home
    assert act(company, house, one, "start").status_code == 302
    refused = act(company, house, one, "deliver")
    assert refused.status_code == 422
    assert "请填写交付的资源编号" in refused.text
    assert act(company, house, one, "deliver", external_id="vm-77", has_vcpu="2").status_code == 302
    page = department.get(f"/orders/{one}").text
    assert "待验收" in page
    assert "不符" in page  # 4 vCPU approved, 2 appeared
    stale = department.send(f"/orders/{one}/accept", {"generation": 1})
    assert stale.status_code == 422
    assert "已被他人更新" in stale.text
    assert act(department, house, one, "accept").status_code == 302
    assert department.send(f"/ratings/orders/{one}", {"stars": "2"}).status_code == 422  # a low mark says why
    assert department.send(f"/ratings/orders/{one}", {"stars": "2", "word": "少了一半"}).status_code == 302
    again = department.send(f"/ratings/orders/{one}", {"stars": "5"})
    assert "已经评价过" in again.text
    shown = steward.get(f"/orders/{one}").text
    assert "少了一半" in shown
    assert "vm-77" in shown
    with house.reading() as tx:
        found = tables.order(tx, one)
        assert found.discrepancy == {"amounts": {"vcpu": [4, 2]}}


def test_a_failed_order_and_a_dispute(client_of, house, pool, clock) -> None:
    one = place(house, pool)
    company, steward = client_of(Role.PROVIDER), client_of(Role.SUPERVISOR)
    assert company.send(f"/orders/{one}/fail", {"generation": generation(house, one), "text": ""}).status_code == 422
    assert act(company, house, one, "fail", text="机房断电").status_code == 302
    assert "机房断电" in steward.get("/").text
    assert company.get(f"/orders/{one}/retry").status_code == 404
    assert act(steward, house, one, "retry").status_code == 302
    assert act(company, house, one, "dispute", text="断电由园区造成").status_code == 302
    assert "断电由园区造成" in steward.get("/").text
    with house.reading() as tx:
        dispute = comments.open_dispute(tx, f"order:{one}")
        assert dispute is not None
    steward.get(f"/orders/{one}")
    steward.send(f"/orders/{one}/rule", {"dispute": dispute.id, "upheld": "1", "text": "园区已书面确认"})
    with house.reading() as tx:
        assert comments.open_dispute(tx, f"order:{one}") is None
        assert comments.upheld(tx, [f"order:{one}"]) == {f"order:{one}"}
    stranger = client_of("tenant2")
    assert stranger.get(f"/orders/{one}").status_code == 404


def test_an_order_is_found_and_listed_by_bucket(client_of, house, pool, clock) -> None:
    one = place(house, pool)
    with house.reading() as tx:
        number = tx.get_one(WorkOrder, one).number
    company = client_of(Role.PROVIDER)
    assert company.get(f"/search?q={number}").headers["Location"] == f"/orders/{one}"
    assert number in company.get(f"/search?q={number[:-1]}").text
    act(company, house, one, "deliver", external_id="vm-1")
    listed = company.get("/orders/?state=all&bucket=1%E2%80%933").text
    assert number in listed
    assert number not in company.get("/orders/?state=all&bucket=4%E2%80%9310").text
    assert company.get("/orders/?state=all&export=csv").text.count(number) == 1


REPORT = {
    "external_id": "INC-1", "level": "2", "title": "网络出口中断", "started_at": "2026-06-01T06:00",
    "responded_at": "2026-06-01T06:20", "affected": "", "description": "核心交换机重启", "evidence": "工单 881",
    "claimed": "third_party",
}  # fmt: skip


def test_an_incident_from_report_to_ruling(client_of, house, pool, clock) -> None:
    company, steward = client_of(Role.PROVIDER), client_of(Role.SUPERVISOR)
    early = company.send("/incidents/new", {**REPORT, "pool": pool, "responded_at": "2026-06-01T05:00"})
    assert early.status_code == 422
    assert "依次先后" in early.text
    answer = company.send("/incidents/new", {**REPORT, "pool": pool})
    assert answer.status_code == 302
    found = answer.location
    twice = company.send("/incidents/new", {**REPORT, "pool": pool, "title": "别的"})
    assert "已报送过" in twice.text
    number = int(found.rsplit("/", 1)[1])
    clock.advance(hours=8)
    company, steward = client_of(Role.PROVIDER), client_of(Role.SUPERVISOR)
    amended = {**REPORT, "pool": pool, "recovered_at": "2026-06-01T11:00"}
    assert company.send(f"/incidents/new?amend={number}", amended).status_code == 302
    assert "INC-1" in steward.get("/").text
    proof = {"files": (io.BytesIO(PDF), "恢复报告.pdf")}
    added = company.send(f"/attachments/incident/{number}/add", proof, content_type="multipart/form-data")
    assert added.status_code == 302
    assert "恢复报告.pdf" in steward.get(found).text
    assert client_of(Role.TENANT).get("/attachments/1").status_code == 404
    assert client_of(Role.AUDITOR).get("/attachments/1").data == PDF
    settle = f"{found}/settle"
    assert "超时 1 次" in steward.get(settle).text
    body = {"generation": 2, "responsibility": "maintenance", "reason": "见日志"}
    assert "至少提前" in steward.send(settle, body).text
    assert steward.send(settle, {**body, "responsibility": "provider"}).status_code == 302
    proof = {"files": (io.BytesIO(PDF), "再补.pdf")}
    closed = company.send(f"/attachments/incident/{number}/add", proof, content_type="multipart/form-data")
    assert closed.status_code == 409, "it is settled"
    page = company.get(found).text
    assert "云服务商责任" in page
    assert "对定责提出争议" in page
    company.send(f"{found}/remark", {"text": "运营商线路中断", "kind": "dispute"})
    client_of("tenant1").send(f"{found}/remark", {"text": "我单位当日无法办事"})
    page = steward.get(found).text
    assert "运营商线路中断" in page
    assert "我单位当日无法办事" in page


GOOD = "资源编号,资源类别,用量\nvm-1,vcpu,2880\nvm-1,memory,5898240\n"


def upload(client, url: str, text: str | bytes, name: str = "bill.csv", **data: Any):
    raw = text.encode() if isinstance(text, str) else text
    client.get(url)
    return client.send(url, {**data, "file": (io.BytesIO(raw), name)}, content_type="multipart/form-data")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "空文件"),
        ("资源编号,用量\nvm-1,3\n", "缺少列"),
        ("资源编号,资源类别,用量,用量\nvm-1,vcpu,3,3\n", "出现两次"),
        (GOOD + "vm-2,vcpu,-5\n", "数值为负"),
        (GOOD + "vm-2,vcpu,NaN\n", "NaN"),
        (GOOD + "vm-2,gold,5\n", "不认识的资源类别"),
        (GOOD + "vm-1,vcpu,7\n", "重复"),
        (GOOD + "vm-1,vcpu,2880\n", "重复"),
        (GOOD + "vm-2,vcpu,5", "截断"),
    ],
)
def test_a_bad_bill_enters_nothing_and_says_where(client_of, house, pool, text, told) -> None:
    company = client_of(Role.PROVIDER)
    answer = upload(company, "/bills/new", text, pool=pool, month="2026-05")
    assert answer.status_code == 422
    assert told in answer.text
    with house.reading() as tx:
        assert bills.current(tx, pool, "2026-05") is None


def test_the_supervisor_enters_a_bill_in_hand_from_the_template_that_is_given(client_of, house, pool) -> None:
    steward = client_of(Role.SUPERVISOR)
    page = steward.get("/bills/new").text
    for said in ("数据库", "云数据库", "CPU", "GB·时"):
        assert said in page, "what is taken stands beside the form"
    given = load_workbook(io.BytesIO(steward.get("/bills/template.xlsx").data))
    given.active.append(["vm-1", "CPU", 2880, "", "2026-05"])
    given.active.append(["db-1", "数据库", 720, "", "2026-05"])
    filled = io.BytesIO()
    given.save(filled)
    assert upload(steward, "/bills/new", filled.getvalue(), "bill.xlsx", pool=pool, month="2026-05").status_code == 302
    with house.reading() as tx:
        entered = bills.current(tx, pool, "2026-05")
        assert entered.taken_by == "supervisor1"
        kinds = tx.scalars(select(BillLine.kind).where(BillLine.bill_id == entered.id)).all()
    assert sorted(kinds) == ["database", "vcpu"]
    assert client_of(Role.AUDITOR).get("/bills/new").status_code == 403


@pytest.mark.parametrize("language", ["zh_CN", "en"])
def test_the_template_s_headings_are_those_that_the_reader_knows(client_of, language) -> None:
    company = client_of(Role.PROVIDER)
    company.set_cookie("language", language)
    heads = [cell.value for cell in load_workbook(io.BytesIO(company.get("/bills/template.xlsx").data)).active[1]]
    assert [bill_words.HEADERS.get(plain(head)) for head in heads] == list(bill_words.HEADINGS)


def test_a_good_bill_is_entered_once_reviewed_and_disputed(client_of, house, pool) -> None:
    company, steward = client_of(Role.PROVIDER), client_of(Role.SUPERVISOR)
    for text in (GOOD, GOOD.encode("gb18030"), b"\xef\xbb\xbf" + GOOD.replace(",", ";").encode()):
        answer = upload(company, "/bills/new", text, pool=pool, month="2026-05")
        if text is GOOD:
            assert answer.status_code == 302
            found = answer.location
        else:
            assert answer.status_code == 422
            assert "未重复入账" in answer.text
    page = steward.get(found).text
    assert "vm-1" in page
    steward.send(f"{found}/remark", {"text": "与台账一致", "kind": "review"})
    assert "已复核" in steward.get("/bills/").text
    steward.send(f"{found}/remark", {"text": "vm-1 已缩容", "kind": "dispute"})
    page = company.get(found).text
    assert "争议中" in page
    assert "2026-05" in steward.get("/search?q=2026-05").text
    assert client_of(Role.TENANT).get(found).status_code == 403


def test_an_excel_bill(client_of, house, pool) -> None:
    from openpyxl import Workbook

    book = Workbook()
    for row in ("资源编号", "资源类别", "用量"), ("vm-1", "vcpu", 2880), ("vm-2", "vcpu", "很多"):
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    answer = upload(client_of(Role.PROVIDER), "/bills/new", file.getvalue(), "bill.xlsx", pool=pool, month="2026-05")
    assert answer.status_code == 422
    assert "不是数字" in answer.text
    assert "很多" in answer.text


def test_what_a_bill_does_not_use_is_said_and_its_money_is_kept(client_of, house, pool) -> None:
    company = client_of(Role.PROVIDER)
    assert "币种" in company.get("/bills/new").text
    text = "五月账单,,,,\n资源编号,资源类别,用量,金额(元),项目\nvm-1,vcpu,2976,12.345,a\n合计,,2976,12.345,\n"
    answer = upload(company, "/bills/new", text.encode(), "bill.csv", pool=pool, month="2026-05")
    assert answer.status_code == 302
    page = company.get(answer.location).text
    for said in ("未使用的列：项目", "1 行是合计行，未读入（第 4 行）", "12.345"):
        assert said in page
    bad = upload(company, "/bills/new", text.replace("(元)", "(美元)").encode(), "bill.csv", pool=pool, month="2026-05")
    assert bad.status_code == 422
    assert "第 2 行第 4 列 金额(美元) 不是人民币金额" in bad.text


def proven(client_of, drill: str) -> None:
    """A drill's proof comes from who recorded it, and is read by whom it is about."""
    steward, company = client_of(Role.SUPERVISOR), client_of(Role.PROVIDER)
    add = f"/attachments/record/{drill.rpartition('/')[2]}/add"
    assert "还没有附上证明材料" in steward.get(drill).text

    def sent(client, name: str) -> int:
        form = {"files": (io.BytesIO(PDF), name)}
        return client.send(add, form, content_type="multipart/form-data").status_code

    assert (sent(company, "自证.pdf"), sent(client_of(Role.AUTHORITY), "代交.pdf")) == (409, 409)
    assert sent(client_of("tenant1"), "别家.pdf") == 404
    assert sent(steward, "演练报告.pdf") == 302
    page = company.get(drill).text
    assert ("还没有附上证明材料" in page, "演练报告.pdf" in page, add in page) == (False, True, False)
    (number,) = re.findall(r"/attachments/(\d+)", page)
    assert company.get(f"/attachments/{number}").data == PDF
    assert client_of("tenant1").get(f"/attachments/{number}").status_code == 404


def test_an_order_becomes_a_score_that_is_appealed_and_scored_again(client_of, house, pool, clock, posted) -> None:
    company, steward, chief = client_of(Role.PROVIDER), client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    late, good = place(house, pool, "late"), place(house, pool, "good")
    act(company, house, good, "deliver", external_id="vm-2")
    clock.advance(days=9)
    company, steward, chief = client_of(Role.PROVIDER), client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    act(company, house, late, "deliver", external_id="vm-1")
    record = {"kind": "drill", "happened_on": "2026-06-03", "passed": "y", "note": "演练报告 3 号"}
    with house.reading() as tx:
        company_id = tx.scalars(select(CloudProvider.id)).one()
    answer = steward.send("/assessment-records/new", {**record, "provider": company_id})
    assert answer.status_code == 302
    proven(client_of, answer.location)
    answer = steward.send("/scorecards/new", {"provider": company_id, "period": "2026-06"})
    assert answer.status_code == 302
    card = answer.location
    page = steward.get(card).text
    assert "不计分" in page
    assert "证据不足，不评总分" in page
    listed = steward.get("/scorecards/?export=csv").text.splitlines()
    assert ",证据不足，不评总分," in listed[1]  # neither a total before it nor a payment share after it
    rows = steward.get(f"{card}/optimisation").text
    assert f"/orders/{late}" in rows
    assert company.send(f"{card}/appeal", {"text": "早了"}).status_code == 422  # not published yet
    number = int(card.rsplit("/", 1)[1])
    assert client_of("tenant1").get(card).status_code == 404
    assert "公示" in chief.get(card).text
    assert chief.send(f"{card}/publish", {"generation": 1}).status_code == 302
    assert client_of("tenant1").get(card).status_code == 200
    assert "一致" in company.send(f"{card}/verify").text

    form = company.get(f"{card}/appeal").text
    assert f"order:{late}" in form
    filed = company.send(f"{card}/appeal", {"text": "园区断电，附证明", "refs": [f"order:{late}"]})
    assert filed.status_code == 302
    with house.reading() as tx:
        appeal_id = appeals.of(tx, subjects.company(company_id), "2026-06").id
    add = f"/attachments/appeal/{appeal_id}/add"
    assert add in company.get(card).text
    proof = {"files": (io.BytesIO(PDF), "断电证明.pdf")}
    assert company.send(add, proof, content_type="multipart/form-data").status_code == 302
    assert "断电证明.pdf" in client_of("supervisor2").get(f"{card}/ruling").text
    assert {who for who, said in posted().items() if "收到申诉，待裁定" in said} >= {
        "authority1",
        "supervisor1",
        "supervisor2",
    }
    assert "只能申诉一次" in company.send(f"{card}/appeal", {"text": "再来"}).text
    ruling = {"upheld": "1", "struck": [f"order:{late}"], "ruling": "证明属实"}
    assert "出具评分的人" in steward.send(f"{card}/ruling", ruling).text  # he scored it
    assert "出具评分的人" in chief.send(f"{card}/ruling", ruling).text  # he published it
    other = client_of("supervisor2")
    assert "请勾选" in other.send(f"{card}/ruling", {**ruling, "struck": []}).text
    answer = other.send(f"{card}/ruling", ruling)
    assert answer.status_code == 302
    assert answer.location != card
    said = posted()["provider1"]
    assert "2026-06 申诉已裁定" in said
    assert f"https://city.example{answer.location}" in said
    page = other.get(answer.location).text
    assert "较上一版的变化" in page
    assert f"order:{late}" in page
    with house.reading() as tx:
        before, after = cards.scorecard(tx, number), cards.scorecard(tx, int(answer.location.rsplit("/", 1)[1]))
        assert after.revision == before.revision + 1
        assert (before.rated, after.rated) == (False, False)
        assert sum(mark.deduction or 0 for mark in after.marks) < sum(mark.deduction or 0 for mark in before.marks)
        assert before.published
        changed = cards.changes(tx, after)
        assert changed.gone == [f"order:{late}"]
        assert set(changed.marks) == {"optimisation"}
        assert appeals.of(tx, subjects.company(company_id), "2026-06").result_id == after.id
        assert list(cards.check(tx)) == []
    again = steward.send("/scorecards/new", {"provider": company_id, "period": "2026-06"})
    assert again.location == answer.location  # what was struck stays struck
    assert "2026" in steward.get(f"/scorecards/year/{company_id}/2026").text


def test_an_appeal_comes_too_late(client_of, house, pool, clock) -> None:
    with house.reading() as tx:
        company_id = tx.scalars(select(CloudProvider.id)).one()
    steward = client_of(Role.SUPERVISOR)
    body = {"provider": company_id, "kind": "review", "happened_on": "2026-06-01", "note": "核查 1 号"}
    steward.send("/assessment-records/new", body)
    card = steward.send("/scorecards/new", {"provider": company_id, "period": "2026-06"}).location
    client_of(Role.AUTHORITY).get(card)
    chief = client_of(Role.AUTHORITY)
    chief.get(card)
    assert chief.send(f"{card}/publish", {"generation": 1}).status_code == 302
    clock.advance(days=14)
    late = client_of(Role.PROVIDER).send(f"{card}/appeal", {"text": "晚了"})
    assert "截止" in late.text


def test_a_veto_fails_the_company_and_a_withdrawn_one_does_not(client_of, house, pool, clock) -> None:
    with house.reading() as tx:
        company_id = tx.scalars(select(CloudProvider.id)).one()
    steward = client_of(Role.SUPERVISOR)
    body = {"provider": company_id, "kind": "review", "happened_on": "2026-06-01", "note": "核查 1 号"}
    steward.send("/assessment-records/new", body)
    leak = steward.send("/assessment-records/new", {**body, "kind": "leak", "note": "通报 2 号"}).location
    card = steward.send("/scorecards/new", {"provider": company_id, "period": "2026-06"}).location
    page = steward.get(card).text
    assert "一票否决" in page
    assert "不合格" in page
    assert steward.send(f"{leak}/withdraw", {"note": "误报"}).status_code == 302
    again = steward.send("/scorecards/new", {"provider": company_id, "period": "2026-06"}).location
    assert again != card
    assert "一票否决：" not in steward.get(again).text
    with house.reading() as tx:
        assert tx.get_one(records.AssessmentRecord, int(leak.rsplit("/", 1)[1])).withdrawal is not None


INVENTORY = "资源编号,名称,类型,核数,内存(GB)\nvm-1,web,云主机,4,8\nvm-2,db,云主机,8,16\n"


def entered(house, pool: int) -> int:
    with house.reading() as tx:
        return len(list(tx.scalars(select(inventory.Resource).where(inventory.Resource.pool_id == pool))))


def looked_at(client, answer, **body: Any):
    """The second step of an upload: what was compared is entered."""
    (token,) = re.findall('name="token" value="([^"]+)"', answer.text)
    return client.send("/inventories/new", {**body, "token": token, "step": "enter"})


def test_an_inventory_is_compared_and_then_entered_once(client_of, house, pool, clock) -> None:
    steward = client_of(Role.SUPERVISOR)
    body = {"pool": pool, "as_of": "2026-06-01T09:30"}
    compared = upload(steward, "/inventories/new", INVENTORY, "inv.csv", **body)
    assert compared.status_code == 200
    assert "尚未入库" in compared.text
    assert entered(house, pool) == 0
    assert looked_at(steward, compared, **body).status_code == 302
    assert entered(house, pool) == 2
    assert looked_at(steward, compared, **body).status_code == 422, "what was entered is not there to be entered again"
    again = upload(steward, "/inventories/new", INVENTORY, "inv.csv", **body)
    assert "与上次的清单相同" in again.text
    assert looked_at(steward, again, **body).status_code == 302
    assert "没有变化" in steward.get("/inventories/").text
    drift = steward.get("/inventories/drift").text
    assert "无审批依据" in drift
    assert "web" in drift
    assert client_of(Role.PROVIDER).get("/inventories/drift").status_code == 200


@pytest.mark.parametrize(
    ("text", "told", "taken"),
    [
        (b"", "空文件", 0),
        ("名称,类型\nweb,云主机\n".encode(), "缺少列", 0),
        (INVENTORY.encode("gb18030"), "", 2),
        (b"\xef\xbb\xbf" + INVENTORY.encode(), "", 2),
        (INVENTORY.replace(",", "\t").encode(), "", 2),
        ((INVENTORY + "vm-3,x,云主机,-4,8\n").encode(), "数值为负", 2),
        ((INVENTORY + "vm-3,x,云主机,4").encode(), "拒收", 2),
        ((INVENTORY + "vm-1,web,云主机,64,8\n").encode(), "重复且内容不同", 2),
    ],
)
def test_inventory_files_as_people_have_them(client_of, house, pool, text, told, taken) -> None:
    steward = client_of(Role.SUPERVISOR)
    body = {"pool": pool, "as_of": "2026-06-01T09:30"}
    answer = upload(steward, "/inventories/new", text, "inv.csv", **body)
    assert answer.status_code == (200 if taken else 422)
    assert told in answer.text
    if taken:
        assert looked_at(steward, answer, **body).status_code == 302
    assert entered(house, pool) == taken


def test_a_listing_that_lacks_most_of_a_pool_waits_for_a_look(client_of, house, pool, clock) -> None:
    steward, company = client_of(Role.SUPERVISOR), client_of(Role.PROVIDER)
    lines = [f"vm-{number},机{number},云主机,4,8\n" for number in range(30)]
    head = INVENTORY.splitlines(keepends=True)[0]
    for count, at in ((30, "2026-06-01T08:00"), (3, "2026-06-01T09:00")):
        body = {"pool": pool, "as_of": at}
        answer = upload(steward, "/inventories/new", head + "".join(lines[:count]), "inv.csv", **body)
        entry = looked_at(steward, answer, **body)
    assert "清单缺少现有 30 台中的 27 台" in answer.text
    assert "请核实" in steward.get(entry.location).text
    with house.reading() as tx:
        assert tx.scalars(select(inventory.Resource.gone_at).where(inventory.Resource.gone_at.is_not(None))).all() == []
    for page in ("/", "/inventories/"):
        assert "缺 27 台" in steward.get(page).text
    (page,) = set(re.findall(r"/inventories/\d+", steward.get("/").text))
    assert "会被记为消失的资源（27 台）" in steward.get(page).text
    assert "机29" in company.get(page).text
    for shown in (page, "/", "/inventories/"):
        check_page(shown, steward.get(shown).text)
    check_page("/inventories/new", answer.text)
    assert company.send(f"{page}/decide", {"decision": "end", "reason": "x"}).status_code == 403
    # Whoever handed it in ends nothing by it, where there is somebody else to look.
    own = steward.send(f"{page}/decide", {"decision": "end", "reason": "已核实"})
    assert own.status_code in (302, 403)
    with house.reading() as tx:
        assert tx.scalars(select(inventory.Resource.gone_at).where(inventory.Resource.gone_at.is_not(None))).all() == []
    steward = client_of("supervisor2")
    assert (
        "请写明核实情况" in steward.get(steward.send(f"{page}/decide", {"decision": "end", "reason": ""}).location).text
    )
    assert steward.send(f"{page}/decide", {"decision": "end", "reason": "公司确认已迁走"}).status_code == 302
    with house.reading() as tx:
        gone = tx.scalars(select(inventory.Resource.id).where(inventory.Resource.gone_at.is_not(None))).all()
        assert len(gone) == 27
    shown = steward.get(page).text
    assert "已核实消失" in shown
    assert "公司确认已迁走" in shown
    assert "取代" in steward.get(steward.send(f"{page}/decide", {"decision": "keep", "reason": "再看"}).location).text


def test_each_kind_of_difference_lists_those_of_which_it_is_said(client_of, house, pool, monkeypatch) -> None:
    monkeypatch.setattr(inventories, "_expired", frozenset)  # of which there are none
    supervisor = client_of(Role.SUPERVISOR)
    body = {"pool": pool, "as_of": "2026-06-01T09:30"}
    looked_at(supervisor, upload(supervisor, "/inventories/new", INVENTORY, "inv.csv", **body), **body)
    with house.transaction(steward()) as tx:
        many = tx.scalars(select(inventory.Resource).order_by(inventory.Resource.id)).all()
        ours, others = (tx.scalar(select(Department.id).where(Department.code == code)) for code in ("A01", "A02"))
        project = inventory.CloudProject(
            pool_id=pool, external_id="p", department_id=others, first_seen_at=tx.now, last_seen_at=tx.now
        )
        tx.add(project)
        tx.flush()
        for n in range(120):
            one = many[n] if n < len(many) else inventory.Resource(
                pool_id=pool, external_id=f"x-{n}", kind="vm", amounts={"vcpu": 4, "memory": 8192}, state="running",
                first_seen_at=tx.now, last_seen_at=tx.now,
            )  # fmt: skip
            one.name, one.arch = f"m-{n}", ("aarch64", "x86_64", "any")[n % 3 if n % 8 == 0 else 0]
            one.basis, one.department_id = "" if n % 3 == 0 else "adopted", None if n % 13 == 0 else ours
            one.department_code = {1: "A02", 2: "A01", 4: "unknown"}.get(n % 6)
            one.project_id = project.id if n % 6 == 5 else None
            one.booked = {} if n % 4 == 0 else dict(reversed(one.amounts.items()))
            if n % 5 == 0:
                one.booked = {**one.booked, "vcpu": one.amounts.get("vcpu", 0) + n % 2, "block": 0}
            if n % 7 == 0:
                one.gone_at = tx.now
            if n % 11 == 0:
                one.state = "deleted"
            tx.add(one)
    with house.reading() as tx:
        there = tx.scalars(select(inventory.Resource).where(inventory.Resource.state != "deleted")).all()
        theirs = frozenset(one.id for one in there if one.basis and one.department_id
                           and (one.department_code == "A02" or one.project_id))  # fmt: skip
        monkeypatch.setattr(inventories, "_misowned", lambda: theirs)
        differ = {one.name: inventories.difference(one) for one in there}
    for what in ("", *inventories.DIFFERENCES):
        said = {name for name, found in differ.items() if found and (not what or what in found)}
        assert said or what == "expired"
        sent = supervisor.get(f"/inventories/drift?what={what}&export=csv").text.lstrip("\ufeff")
        assert {row["资源"] for row in csv.DictReader(io.StringIO(sent))} == said, what


def test_a_combination_is_entered_and_changed(client_of, house, clock) -> None:
    with house.reading() as tx:
        company_id = tx.scalars(select(CloudProvider.id)).one()
    steward = client_of(Role.SUPERVISOR)
    body = {"provider": company_id, "chip": "鲲鹏", "system": "麒麟 V10", "fitness": "certified", "required": "y"}
    assert "证书编号" in steward.send("/compatibility/edit", body).text
    told = {**body, "certificate": "KP-1", "valid_until": "2027-01-01"}
    page = steward.send("/compatibility/edit", told).location
    assert steward.send("/compatibility/edit", {**told, "fitness": "adapted"}).location == page
    assert re.search("已认证.*→.*已适配", steward.get(page).text, re.S)


def test_a_company_sees_itself_alone(client_of, house, pool, clock) -> None:
    with house.transaction(steward()) as tx:
        other = CloudProvider(code="yi", name="乙云")
        tx.add(other)
        tx.flush()
        other_id = other.id
    company = client_of(Role.PROVIDER)
    assert "乙云" not in company.get("/companies/").text
    assert company.get(f"/companies/{other_id}").status_code == 404
    assert client_of(Role.SUPERVISOR).get(f"/companies/{other_id}").status_code == 200


USAGE = "资源编号,时间,CPU使用率(%),内存使用率(%)\n" + "".join(
    f"vm-{1 + number % 2},2026-05-30T08:{5 * (number // 2):02d}:00+08:00,{12.5 + number},40\n" for number in range(12)
)


def taken_in(client, answer, **body: Any):
    (token,) = re.findall('name="token" value="([^"]+)"', answer.text)
    return client.send("/usage-files/new", {**body, "token": token, "step": "enter"})


def test_a_file_of_usage_is_looked_at_and_then_taken_once(client_of, house, pool) -> None:
    steward = client_of(Role.SUPERVISOR)
    assert steward.get("/usage-files/new").status_code == 200
    body = {"pool": pool}
    seen = upload(steward, "/usage-files/new", USAGE, "usage.csv", **body)
    assert seen.status_code == 200, seen.text
    assert "尚未入湖" in seen.text
    assert "vm-1" in seen.text, "machines that no listing has shown are named"
    assert entered(house, pool) == 0
    body["register"] = "y"
    seen = upload(steward, "/usage-files/new", USAGE, "usage.csv", **body)
    check_page("/usage-files/new", seen.text)
    assert entered(house, pool) == 0, "looking enters nothing"
    done = taken_in(steward, seen, **body)
    assert done.status_code == 302
    assert "12 个采样已入湖" in steward.get(done.location).text
    assert entered(house, pool) == 2
    assert taken_in(steward, seen, **body).status_code == 422, "what was taken is not there to be taken again"
    again = taken_in(steward, upload(steward, "/usage-files/new", USAGE, "usage.csv", **body), **body)
    assert again.status_code == 302
    assert entered(house, pool) == 2
    assert client_of(Role.TENANT).get("/usage-files/new").status_code == 403


@pytest.mark.parametrize(
    ("text", "told", "body"),
    [
        (b"", "空文件", {}),
        (b"hello\nworld\n", "", {}),
        (USAGE.replace("+08:00", ""), "", {"offset": "99"}),
        (USAGE, "", {"format": "nonsense"}),
    ],
)
def test_a_file_of_usage_that_cannot_be_used_is_refused_with_its_reason(
    client_of, house, pool, text, told, body
) -> None:
    answer = upload(client_of(Role.SUPERVISOR), "/usage-files/new", text, "usage.csv", pool=pool, **body)
    assert answer.status_code == 422
    assert told in answer.text
    assert 'type="file"' in answer.text, "the file can be chosen again"
    assert entered(house, pool) == 0


def test_a_file_whose_times_have_no_zone_asks_for_it(client_of, house, pool) -> None:
    steward = client_of(Role.SUPERVISOR)
    text = USAGE.replace("+08:00", "")
    without = upload(steward, "/usage-files/new", text, "usage.csv", pool=pool, register="y")
    assert "时区" in without.text
    told = upload(steward, "/usage-files/new", text, "usage.csv", pool=pool, register="y", offset="8")
    assert "尚未入湖" in told.text
    assert taken_in(steward, told, pool=pool, register="y", offset="8").status_code == 302
    assert entered(house, pool) == 2


def test_an_orders_page_shows_its_plan_before_anything_is_sent(client_of, house, pool, clock) -> None:
    """The pool is tried out first: the plan is there, nothing was sent, and the ceiling and the switch say so."""
    with house.transaction(steward()) as tx:
        one = tx.get_one(Pool, pool)
        one.adapter, one.adapter_options = "simulated", {"pool": "gov-arm", "epoch": "2026-05-25"}
    order_id = place(house, pool)
    chief, watcher, company = client_of(Role.AUTHORITY), client_of(Role.SUPERVISOR), client_of(Role.PROVIDER)
    url = f"/pools/{pool}/dry-run"
    assert "只列出要对云平台调用的步骤" in chief.get(url).text
    assert company.get(url).status_code == 403
    assert chief.send(url, {"dry_run": "1", "reason": ""}).status_code == 422
    assert chief.send(url, {"dry_run": "1", "reason": "新接入，先看一周"}).status_code == 302
    page = chief.get(f"/pools/{pool}").text
    assert "这个资源池的工单只列出要调用的步骤，不执行。" in page
    assert "还没有计划" in watcher.get(f"/orders/{order_id}").text
    with house.reading() as tx:
        where = tx.get_one(Pool, pool)
    cloud = open_provider(where.adapter, where.adapter_options)
    assert orders.carry_all(house, pool, cloud).held == [order_id]
    page = watcher.get(f"/orders/{order_id}").text
    check_page(f"/orders/{order_id}", page)
    assert "交给云平台接口办理" in page
    assert "未发出" in page
    assert page.count("该资源池只试算、不执行") == 1
    assert watcher.send(url, {"dry_run": "", "reason": "看过了"}).status_code == 302
    clock.advance(minutes=6)
    assert orders.carry_all(house, pool, cloud).delivered == [order_id]
    page = watcher.get(f"/orders/{order_id}").text
    assert "未发出" not in page
    assert "该资源池只试算" not in page


def test_what_would_be_called_is_told_by_a_command(tmp_path) -> None:
    home = tmp_path / "data"
    run = CliRunner()
    assert run.invoke(main, ["init", "--empty", "--data", str(home)]).exit_code == 0
    book = Book(load(home).database_url)
    with book.transaction(steward()) as tx:
        company = CloudProvider(code="jia", name="甲云", active=True)
        tx.add(company)
        tx.flush()
        where = Pool(
            code="hand", name="甲云信创池", provider_id=company.id, arch="aarch64", zone="政务外网", xinchuang=True,
            adapter="simulated", adapter_options={"pool": "gov-arm", "epoch": "2026-05-25"}, active=True,
        )  # fmt: skip
        department = Department(code="A01", name="某局", active=True)
        tx.add_all([where, department])
        tx.flush()
        for verb, key in ((Verb.CREATE, "a"), (Verb.CREATE, "b")):
            orders.place(
                tx, where, verb, key=key, kind=ServiceKind.VM, amounts=SMALL, name=f"web-{key}",
                department_id=department.id, paid=True,
            )  # fmt: skip
    told = run.invoke(main, ["orders", "plan", "--data", str(home), "--json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)["orders"]
    assert [(one["name"], [call["text"] for call in one["calls"]]) for one in found] == [
        ("web-a", ["create vm web-a"]), ("web-b", ["create vm web-b"]),
    ]  # fmt: skip
    told = run.invoke(main, ["orders", "plan", "--data", str(home), "--order", found[1]["order"]])
    assert "web-b" in told.output
    assert "web-a" not in told.output
    assert "1. create vm web-b" in told.output
    assert run.invoke(main, ["orders", "plan", "--data", str(home), "--order", "GD-1999-000001"]).exit_code == 1
    with book.reading() as tx:
        assert {one.told for one in tx.scalars(select(WorkOrder))} == {False}
        assert tx.scalars(select(orders.plans.OrderPlan)).all() == []
        where = tx.scalars(select(Pool)).one()
    with book.transaction(steward()) as tx:
        tx.get_one(Pool, where.id).adapter_options = {"pool": "nowhere", "epoch": "2026-05-25"}
    told = run.invoke(main, ["orders", "plan", "--data", str(home)])
    assert told.exit_code == 1
    assert "refused: " in told.output
    book.dispose()
