"""Taking over what runs, over HTTP: a sheet of a pool nobody has approved, whose machines are whose, and one act a department."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import select

from console.pages.inventory import takeovers as pages
from providers import observation
from quota import inventory, ledger
from quota.actors import Role
from quota.actors import steward as system
from quota.audit import AuditRecord
from quota.directory import Pool
from quota.directory.departments import Department
from quota.requests import rulebook
from quota.units import VCPU, Arch, Commodity
from tests.console.test_house import check_page
from tests.journeys.test_providers import looked_at, pool, upload  # noqa: F401 - a pool that nobody's program acts on

HEAD = "资源编号,名称,类型,核数,内存(GB),使用单位\n"
PAPER = "市数据局〔2026〕12号 关于接管存量云资源的通知"


def listed(steward, pool: int, rows: str, at: str = "2026-06-01T09:30") -> None:  # noqa: F811
    body = {"pool": pool, "as_of": at}
    assert (
        looked_at(steward, upload(steward, "/inventories/new", HEAD + rows, "inv.csv", **body), **body).status_code
        == 302
    )


def form_of(page: str) -> dict[str, Any]:
    """What the page's form would send as it stands."""
    hidden = dict(re.findall(r'<input[^>]*type="hidden"[^>]*name="(key|shown)"[^>]*value="([^"]*)"', page))
    hidden |= dict(re.findall(r'<input[^>]*name="(key|shown)"[^>]*type="hidden"[^>]*value="([^"]*)"', page))
    return {
        **hidden,
        "pools": re.findall(r'name="pools" value="(\d+)" checked', page),
        "seen": re.findall(r'name="seen" value="(\d+)"', page),
        "id": re.findall(r'name="id" value="(\d+)"', page),
    }


@pytest.fixture
def bureau(house) -> int:
    with house.reading() as tx:
        return tx.scalars(select(Department.id).where(Department.code == "A01")).one()


def used(house, pool: int, department_id: int) -> int:  # noqa: F811
    with house.reading() as tx:
        return ledger.balance(
            tx, ledger.Side(pool, Commodity(VCPU, Arch.AARCH64), ledger.Holder.USED, department_id)
        )  # fmt: skip


def test_a_department_is_taken_over_and_what_is_left_out_stays(client_of, house, pool, bureau) -> None:  # noqa: F811
    steward = client_of(Role.SUPERVISOR)
    listed(steward, pool, "vm-1,web,云主机,4,8,A01\nvm-2,db,云主机,8,16,A01\nvm-3,old,云主机,2,4,A01\n")
    left = steward.get("/takeovers/").text
    check_page("/takeovers/", left)
    assert f"/takeovers/new/{bureau}" in left
    page = steward.get(f"/takeovers/new/{bureau}")
    check_page(page.request.path, page.text)
    body = form_of(page.text)
    assert len(body["id"]) == 3
    assert steward.send(f"/takeovers/new/{bureau}", {**body, "step": "propose"}).status_code == 422, (
        "it rests on nothing"
    )
    assert used(house, pool, bureau) == 0
    body |= {"document": PAPER, "step": "propose", "id": body["id"][:2]}
    done = steward.send(f"/takeovers/new/{bureau}", body)
    assert done.status_code == 302
    assert used(house, pool, bureau) == 12
    shown = steward.get(done.location).text
    check_page(done.location, shown)
    assert PAPER in shown
    assert "已接管" in shown
    again = steward.get(f"/takeovers/new/{bureau}").text
    assert "old" in again
    assert "web" not in again
    assert steward.send(f"/takeovers/new/{bureau}", body).status_code == 422, "what it shows has been taken over"
    assert used(house, pool, bureau) == 12
    assert client_of(Role.AUTHORITY).get(f"/takeovers/new/{bureau}").status_code == 403
    assert client_of(Role.TENANT).get("/takeovers/").status_code == 403


def test_much_at_once_waits_for_another_person(client_of, house, pool, bureau) -> None:  # noqa: F811
    steward, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    with house.transaction(system()) as tx:
        ledger.capacities.equip(tx, tx.get_one(Pool, pool), VCPU, 300, key="more")
    listed(steward, pool, "".join(f"vm-{n},m{n},云主机,1,1,A01\n" for n in range(60)))
    body = form_of(steward.get(f"/takeovers/new/{bureau}").text) | {"document": PAPER, "step": "propose"}
    where = steward.send(f"/takeovers/new/{bureau}", body).location
    assert used(house, pool, bureau) == 0
    assert "以外的另一人" in steward.get(where).text
    assert "待确认的接管" in chief.get("/").text
    assert steward.send(f"{where}/decide", {"generation": "1", "decision": "confirm"}).status_code == 403
    assert used(house, pool, bureau) == 0
    without = chief.send(f"{where}/decide", {"generation": "1", "decision": "withdraw"})
    assert "理由" in chief.get(without.location).text
    assert chief.send(f"{where}/decide", {"generation": "1", "decision": "confirm"}).status_code == 302
    assert used(house, pool, bureau) == 60
    assert chief.send(f"{where}/decide", {"generation": "1", "decision": "confirm"}).status_code == 409


def test_a_pool_that_is_too_small_says_by_how_much(client_of, house, pool, bureau) -> None:  # noqa: F811
    steward = client_of(Role.SUPERVISOR)
    listed(steward, pool, "".join(f"vm-{n},m{n},云主机,16,8,A01\n" for n in range(4)))
    page = steward.get(f"/takeovers/new/{bureau}").text
    assert "容量不足" in page
    body = form_of(page) | {"document": PAPER, "step": "propose"}
    assert steward.send(f"/takeovers/new/{bureau}", body).status_code == 422
    assert used(house, pool, bureau) == 0


def test_what_nobody_owns_goes_where_its_name_says(client_of, house, pool, bureau) -> None:  # noqa: F811
    steward = client_of(Role.SUPERVISOR)
    listed(steward, pool, "vm-1,a01-web,云主机,4,8,\nvm-2,mystery,云主机,8,16,\n")
    page = steward.get("/takeovers/ownerless").text
    check_page("/takeovers/ownerless", page)
    assert "“a01”" in page
    ids = re.findall(r'name="id" value="(\d+)"', page)
    assert len(ids) == 2
    told = {"reason": "按名称核对", "department": "0"}
    assert steward.send("/takeovers/ownerless", told).status_code == 422, "nothing is ticked"
    assert "没有建议" in steward.send("/takeovers/ownerless", {**told, "id": ids}).text
    with house.reading() as tx:
        named = {one.id: one.name for one in tx.scalars(select(inventory.Resource))}
    web = next(number for number in ids if named[int(number)] == "a01-web")
    other = next(number for number in ids if number != web)
    assert steward.send("/takeovers/ownerless", {**told, "id": [web]}).status_code == 302
    assert steward.send("/takeovers/ownerless", {**told, "id": [web]}).status_code == 422, "it has an owner by now"
    assert steward.send("/takeovers/ownerless", {**told, "department": str(bureau), "id": [other]}).status_code == 302
    with house.reading() as tx:
        assert {one.department_id for one in tx.scalars(select(inventory.Resource))} == {bureau}
    assert "每个资源都有使用单位" in steward.get("/takeovers/ownerless").text
    assert f"/takeovers/new/{bureau}" in steward.get("/takeovers/").text


def test_only_so_many_are_shown_and_all_are_taken(client_of, house, pool, bureau, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(pages, "SHOWN", 5)
    steward = client_of(Role.SUPERVISOR)
    listed(steward, pool, "".join(f"vm-{n},m{n},云主机,1,1,A01\n" for n in range(12)))
    page = steward.get(f"/takeovers/new/{bureau}").text
    body = form_of(page) | {"document": PAPER, "step": "propose"}
    assert len(body["id"]) == 5
    assert "其余 7 个一并接管" in page
    body["id"] = body["id"][1:]
    assert steward.send(f"/takeovers/new/{bureau}", body).status_code == 302
    assert used(house, pool, bureau) == 11


def test_a_whole_pool_is_taken_over_at_once(client_of, house, pool, bureau) -> None:  # noqa: F811
    steward = client_of(Role.SUPERVISOR)
    listed(steward, pool, "vm-1,web,云主机,4,8,A01\nvm-2,db,云主机,8,16,A02\nvm-3,lost,云主机,2,4,\n")
    left = steward.get("/takeovers/").text
    assert f"/takeovers/pools/{pool}" in left
    page = steward.get(f"/takeovers/pools/{pool}")
    check_page(page.request.path, page.text)
    assert "市水务局" in page.text
    body = form_of(page.text) | {"document": PAPER, "step": "propose"}
    assert len(body["id"]) == 2
    done = steward.send(f"/takeovers/pools/{pool}", body)
    assert done.status_code == 302
    shown = steward.get(done.location).text
    check_page(done.location, shown)
    assert "2 个单位" in shown
    assert "市水务局" in shown
    assert used(house, pool, bureau) == 4
    assert "2 个单位" in steward.get("/takeovers/").text
    assert "没有待接管的资源" in steward.get(f"/takeovers/pools/{pool}").text
    assert client_of(Role.AUTHORITY).get(f"/takeovers/pools/{pool}").status_code == 403


def test_the_authority_says_how_much_wants_two_persons(client_of, house, pool, bureau) -> None:  # noqa: F811
    chief, steward = client_of(Role.AUTHORITY), client_of(Role.SUPERVISOR)
    page = chief.get("/city/takeovers").text
    check_page("/city/takeovers", page)
    assert 'value="50"' in page
    none = dict.fromkeys(("resources", "vcpu", "memory_gb", "storage_gb"), "")
    assert chief.send("/city/takeovers", none).status_code == 422
    assert chief.send("/city/takeovers", {**none, "vcpu": "-3"}).status_code == 422
    assert chief.send("/city/takeovers", {**none, "vcpu": "11"}).status_code == 302
    assert steward.get("/city/takeovers").status_code == 403
    assert client_of(Role.SYSADMIN).get("/city/takeovers").status_code == 403
    listed(steward, pool, "vm-1,web,云主机,4,8,A01\nvm-2,db,云主机,8,16,A01\n")
    page = steward.get(f"/takeovers/new/{bureau}").text
    assert "须由另一人确认" in page
    body = form_of(page) | {"document": PAPER, "step": "propose"}
    where = steward.send(f"/takeovers/new/{bureau}", body).location
    assert used(house, pool, bureau) == 0
    assert "已在待确认的接管" in steward.get(f"/takeovers/new/{bureau}").text
    assert chief.send(f"{where}/decide", {"generation": "1", "decision": "confirm"}).status_code == 302
    assert used(house, pool, bureau) == 12


def test_departments_are_asked_what_is_theirs(client_of, house, pool, bureau) -> None:  # noqa: F811
    steward, tenant, other = client_of(Role.SUPERVISOR), client_of(Role.TENANT), client_of("tenant2")
    listed(steward, pool, "vm-1,a01-web,云主机,4,8,\nvm-2,mystery,云主机,8,16,\n")
    page = steward.get("/takeovers/ownerless").text
    ids = re.findall(r'name="id" value="(\d+)"', page)
    key = re.search(r'name="key"[^>]*value="(\w+)"', page).group(1)
    with house.reading() as tx:
        second = tx.scalars(select(Department.id).where(Department.code == "A02")).one()
    told = {"step": "ask", "department": "0", "due_on": "2026-06-20", "text": "请于下周答复", "key": key}
    assert steward.send("/takeovers/ownerless", {**told, "due_on": "", "id": ids}).status_code == 422
    assert steward.send("/takeovers/ownerless", {**told, "id": ids}).status_code == 422, "one has no suggestion"
    body = {**told, "id": ids, "asked": [str(bureau), str(second)]}
    assert steward.send("/takeovers/ownerless", body).status_code == 302
    assert "市水务局：待答复" in steward.get("/takeovers/ownerless").text
    assert "待答复的征询" in tenant.get("/").text
    listing = tenant.get("/inquiries/").text
    check_page("/inquiries/", listing)
    (where,) = set(re.findall(r'href="(/inquiries/\d+)"', listing))
    asked = tenant.get(where).text
    check_page(where, asked)
    assert "请于下周答复" in asked
    assert tenant.send(where, {"answer": "yes"}).status_code == 422, "nothing is ticked"
    items = re.findall(r'name="id" value="(\d+)"', asked)
    assert len(items) == 2
    assert tenant.send(where, {"answer": "yes", "id": items[:1]}).status_code == 302
    assert tenant.send(where, {"answer": "no", "every": "y"}).status_code == 302
    with house.reading() as tx:
        owned = [one.department_id for one in tx.scalars(select(inventory.Resource).order_by(inventory.Resource.id))]
    assert owned == [bureau, None]
    assert other.get(where).status_code == 404
    (their,) = set(re.findall(r'href="(/inquiries/\d+)"', other.get("/inquiries/").text))
    theirs = re.findall(r'name="id" value="(\d+)"', other.get(their).text)
    taken = other.send(their, {"answer": "yes", "id": theirs[:1]})
    assert taken.status_code == 422
    assert "已另行办理" in taken.text
    assert "不是本单位的" in steward.get("/takeovers/ownerless").text
    shown = steward.get(their).text
    check_page(their, shown)
    found = steward.get("/inquiries/?state=late").text
    assert their not in found
    assert steward.send(f"{their}/withdraw", {"generation": "1", "reason": ""}).status_code == 302
    assert steward.send(f"{their}/withdraw", {"generation": "1", "reason": "已查明"}).status_code == 302
    assert "已查明" in steward.get(their).text
    assert client_of(Role.PROVIDER).get("/inquiries/").status_code == 403
    assert client_of(Role.AUDITOR).get(their).status_code == 200


def test_what_is_found_later_is_taken_over_or_put_to_its_department(client_of, house, pool, bureau) -> None:  # noqa: F811
    steward, tenant = client_of(Role.SUPERVISOR), client_of(Role.TENANT)
    with house.transaction(system()) as tx:
        rulebook.default_rules(tx)
    listed(
        steward,
        pool,
        "vm-1,web,云主机,4,8,A01\nvm-2,db,云主机,8,16,A01\nvm-3,old,云主机,2,4,A02\nvm-4,lost,云主机,1,1,\n",
    )
    page = steward.get("/inventories/drift?what=unapproved")
    check_page(page.request.path, page.text)
    names = re.findall(r'name="id" value="(\d+)"', page.text)
    with house.reading() as tx:
        ids = {one.name: str(one.id) for one in tx.scalars(select(inventory.Resource))}
    assert set(ids.values()) <= set(names)

    def act(step: str, *which: str, **more: str):
        key = re.search(r'name="key"[^>]*value="(\w+)"', steward.get("/inventories/drift").text).group(1)
        body = {"step": step, "id": [ids[one] for one in which], "key": key, "due_on": "2026-06-20", **more}
        return steward.send("/inventories/drift", body)

    assert act("take", "web", "old").status_code == 422, "it rests on nothing"
    assert act("take", document=PAPER).status_code == 422, "nothing is ticked"
    assert act("take", "lost", document=PAPER).status_code == 422, "nobody's"
    done = act("take", "web", "old", document=PAPER)
    assert done.status_code == 302
    assert "2 个单位" in steward.get(done.location).text
    assert used(house, pool, bureau) == 4
    assert act("ask", "web").status_code == 422, "it is approved by now"
    assert act("ask", "lost").status_code == 422
    assert act("ask", "db", text="上线时漏报").status_code == 302
    assert "待答复" in steward.get("/inventories/drift?what=unapproved").text

    refused = tenant.get(f"/requests/new/resize?resource={ids['db']}").text
    assert f"/requests/new/adopt?resource={ids['db']}" in refused
    assert f"/requests/new/surrender?resource={ids['db']}" in refused
    shown = tenant.get(f"/resources/{ids['db']}").text
    assert "申请补登" in shown
    assert "变更规格" not in shown
    own = tenant.get(f"/requests/new/adopt?resource={ids['db']}")
    check_page(own.request.path, own.text)
    check_page("surrender", tenant.get(f"/requests/new/surrender?resource={ids['db']}").text)

    (where,) = set(re.findall(r'href="(/inquiries/\d+)"', tenant.get("/inquiries/").text))
    asked = tenant.get(where).text
    check_page(where, asked)
    assert "上线时漏报" in asked
    assert tenant.send(where, {"answer": "adopt", "every": "y"}).status_code == 422, "without a reason"
    done = tenant.send(where, {"answer": "adopt", "every": "y", "reason": "数据库备机"})
    assert done.status_code == 302
    answered = tenant.get(f"{where}?answer=all").text
    (filed,) = set(re.findall(r'href="(/requests/\d+)"', answered))
    request = tenant.get(filed).text
    check_page(filed, request)
    assert "数据库备机" in request
    assert "/inventories/drift" not in tenant.get("/").text
    assert tenant.get("/inventories/drift").status_code == 403
    assert 'id="finds"' not in client_of(Role.AUDITOR).get("/inventories/drift").text


def test_what_nobody_answered_comes_back_to_who_asked(client_of, house, pool, clock) -> None:  # noqa: F811
    steward = client_of(Role.SUPERVISOR)
    listed(steward, pool, "vm-1,a01-web,云主机,4,8,\n")
    page = steward.get("/takeovers/ownerless").text
    key = re.search(r'name="key"[^>]*value="(\w+)"', page).group(1)
    ids = re.findall(r'name="id" value="(\d+)"', page)
    told = {"step": "ask", "department": "0", "due_on": "2026-06-05", "key": key, "id": ids}
    assert steward.send("/takeovers/ownerless", told).status_code == 302
    assert "逾期未答复的征询" not in steward.get("/").text
    clock.advance(days=6)
    steward = client_of(Role.SUPERVISOR)
    assert "逾期未答复的征询" in steward.get("/").text
    found = steward.get("/inquiries/?state=late").text
    check_page("/inquiries/?state=late", found)
    assert "ZX2026-00001" in found
    assert "逾期" in steward.get("/inquiries/1").text
    assert "ZX2026-00001" in steward.get("/search?q=zx2026-00001").text


def test_what_the_cloud_has_no_more_is_written_off_on_a_document(client_of, house, pool, bureau) -> None:  # noqa: F811
    steward = client_of(Role.SUPERVISOR)
    both = "vm-1,web,云主机,4,8,A01\nvm-2,db,云主机,8,16,A01\n"
    listed(steward, pool, both)
    body = form_of(steward.get(f"/takeovers/new/{bureau}").text) | {"document": PAPER, "step": "propose"}
    assert steward.send(f"/takeovers/new/{bureau}", body).status_code == 302
    with house.reading() as tx:
        number = tx.scalars(select(inventory.Resource.id).where(inventory.Resource.name == "db")).one()
        granted = ledger.Side(pool, Commodity(VCPU, Arch.AARCH64), ledger.Holder.GRANTED, bureau)
        before = ledger.balance(tx, granted)
    where, typed = f"/resources/{number}/write-off", {"document": "甲云〔2026〕7号复函"}
    assert steward.send(where, typed).status_code == 409, "it is there"
    listed(steward, pool, both.splitlines()[0] + "\n", at="2026-06-01T09:40")
    page = steward.get("/inventories/drift?what=gone").text
    assert "在资源页面核销" in page
    assert where in steward.get(f"/resources/{number}").text
    page = steward.get(where).text
    check_page(where, page)
    assert "8 vCPU" in page
    assert steward.send(where, {"document": " "}).status_code == 422
    with house.transaction(system()) as tx:
        last = observation.last_listing(tx, pool)
        assert last is not None
        last.complete, last.short = False, "vm"
    assert "没有给全" in steward.send(where, typed).text
    assert used(house, pool, bureau) == 12, "a listing that is not whole proves nothing"
    with house.transaction(system()) as tx:
        observation.last_listing(tx, pool).complete = True  # type: ignore[union-attr]
    assert client_of(Role.AUTHORITY).send(where, typed).status_code == 403
    done = steward.send(where, typed)
    assert done.status_code == 302
    assert "已核销" in steward.get(done.location).text
    with house.reading() as tx:
        assert (used(house, pool, bureau), ledger.balance(tx, granted)) == (4, before + 8)
        assert ledger.entries.conserved(tx)
        record = tx.scalars(select(AuditRecord).where(AuditRecord.action == "resource.write_off")).one()
        assert record.reason == typed["document"]
    assert steward.send(where, typed).status_code == 409, "once"
    listed(steward, pool, both, at="2026-06-01T09:50")
    assert "无审批依据" in steward.get("/inventories/drift").text, "what comes back is a find like any other"
