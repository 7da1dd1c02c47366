"""Quota told over HTTP: granted by the authority with its consequence shown, lent, reorganised, and replayed."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.directory import Department, Person, System, departments, pools
from quota.inventory import Resource
from quota.ledger import capacities, entries, lending
from quota.ledger.lending import Loan, LoanState
from quota.ledger.tables import Holder, Side
from quota.units import VCPU, Arch, Commodity
from tests.console.test_api import program, scopes  # noqa: F401 - fixtures

CPU = Commodity(VCPU, Arch.AARCH64)
KEY = re.compile(r'name="key" type="hidden" value="(\w+)"|id="key" name="key" type="hidden" value="(\w+)"')


@pytest.fixture
def wallet(house, city) -> str:
    """A pool of 100 vCPU; its wallet as forms name it."""
    with house.transaction(steward()) as tx:
        pool = pools.register(
            tx, "arm", "信创池", city.provider.id, Arch.AARCH64, "政务外网", adapter="files", options={}, xinchuang=True
        )
        capacities.equip(tx, pool, VCPU, 100, key="cpu")
        return f"{pool.id}/{CPU}"


def form(city, wallet: str, **other) -> dict[str, object]:
    return {
        "department": city.departments[0].id,
        "wallet": wallet,
        "amount": 20,
        "reason": "年度配额",
        "key": "k1",
    } | other


def balance(house, department, holder: Holder = Holder.GRANTED) -> int:
    with house.reading() as tx:
        assert entries.conserved(tx)
        assert list(entries.check(tx)) == []
        return entries.balance(tx, Side(1, CPU, holder, department.id))


def test_a_grant_is_shown_before_it_is_made_and_made_once(house, city, client_of, wallet) -> None:
    chief = client_of(Role.AUTHORITY)
    assert KEY.search(chief.get("/quota/acts/grant").text)
    page = chief.send("/quota/acts/grant", form(city, wallet))
    assert page.status_code == 200
    assert "80 vCPU" in page.text  # free afterwards
    assert balance(house, city.departments[0]) == 0
    for _ in range(2):
        assert chief.send("/quota/acts/grant", form(city, wallet, confirm=1)).status_code == 302
    assert balance(house, city.departments[0]) == 20
    board = chief.get("/quota/").text
    assert city.departments[0].name in board
    assert "账本守恒" in board


def test_too_much_is_refused_beside_its_field(house, city, client_of, wallet) -> None:
    chief = client_of(Role.AUTHORITY)
    page = chief.send("/quota/acts/grant", form(city, wallet, amount=101, confirm=1))
    assert page.status_code == 422
    assert 'id="amount-error"' in page.text
    for bad in ({"reason": ""}, {"amount": 0}, {"wallet": "9/vcpu:aarch64"}, {"department": 99}):
        assert chief.send("/quota/acts/grant", form(city, wallet) | {"confirm": 1} | bad).status_code == 422
    assert balance(house, city.departments[0]) == 0


def test_moved_and_taken_back(house, city, client_of, wallet) -> None:
    chief = client_of(Role.AUTHORITY)
    first, second = city.departments
    chief.send("/quota/acts/grant", form(city, wallet, confirm=1))
    assert (
        chief.send("/quota/acts/move", form(city, wallet, amount=5, target=second.id, key="k2", confirm=1)).status_code
        == 302
    )
    assert chief.send("/quota/acts/reclaim", form(city, wallet, amount=6, key="k3", confirm=1)).status_code == 302
    assert (balance(house, first), balance(house, second)) == (9, 5)
    assert chief.send("/quota/acts/reclaim", form(city, wallet, amount=10, key="k4", confirm=1)).status_code == 422


def test_an_account_is_replayed_from_its_rows(house, city, client_of, wallet, clock) -> None:
    chief = client_of(Role.AUTHORITY)
    chief.send("/quota/acts/grant", form(city, wallet, confirm=1))
    before = clock.now
    clock.advance(minutes=5)
    chief.send("/quota/acts/grant", form(city, wallet, amount=7, key="k2", confirm=1))
    with house.reading() as tx:
        account = next(one for one in entries.balances(tx) if one.holder == Holder.GRANTED.value)
    url = f"/quota/accounts/{account.id}"
    page = chief.get(f"{url}?at={before.isoformat().replace('+', '%2B')}").text
    assert "27 vCPU" in page
    assert "20 vCPU" in page
    assert "相符" in page
    assert "格式不对" in chief.get(f"{url}?at=yesterday").text
    assert chief.get(f"{url}?export=csv").text.count("\n") == 3
    assert client_of("tenant1").get(url).status_code == 200
    assert client_of("tenant2").get(url).status_code == 404
    own = client_of("tenant1").get(f"/quota/departments/{city.departments[0].id}").text
    (address,) = re.findall(r'href="(/quota/accounts/\?under=[^"]*kind=vcpu[^"]*holder=granted)"', own)
    assert f'href="{url}"' in client_of("tenant1").get(address.replace("&amp;", "&")).text
    assert f'href="{url}"' not in client_of("tenant2").get("/quota/accounts/").text
    assert client_of(Role.PROVIDER).get(url).status_code == 403


def test_a_loan_from_offer_to_return(house, city, client_of, wallet, clock) -> None:
    client_of(Role.AUTHORITY).send("/quota/acts/grant", form(city, wallet, confirm=1))
    lender, borrower = client_of("tenant1"), client_of("tenant2")
    terms = {"borrower": city.departments[1].id, "amount": 8, "days": 30, "guaranteed_days": 3, "notice_days": 2}
    page = lender.send("/quota/loans/new", form(city, wallet, **terms))
    assert "12 vCPU" in page.text
    assert lender.send("/quota/loans/new", form(city, wallet, confirm=1, **terms)).status_code == 302
    assert borrower.send("/quota/loans/1/accept", {"generation": 9}).status_code == 409
    assert lender.send("/quota/loans/1/accept", {"generation": 1}).status_code == 403
    assert borrower.send("/quota/loans/1/accept", {"generation": 1}).status_code == 302
    assert balance(house, city.departments[1], Holder.LENT) == 8
    assert lender.send("/quota/loans/1/recall", {"generation": 2, "reason": "自用"}).status_code == 302
    assert "召回中" in borrower.get("/quota/loans/1").text
    for typed in ("0", "5.5", "abc", "-1", "²"):  # nothing that was mistyped gives all of it back
        assert borrower.send("/quota/loans/1/give_back", {"generation": 3, "amount": typed}).status_code == 422
    clock.advance(days=3)
    with house.transaction(steward()) as tx:
        assert [one.state for one in lending.settle(tx)] == [LoanState.RETURNED]
        assert tx.get_one(Loan, 1).ended_at == tx.now
    assert balance(house, city.departments[0]) == 20


def test_departments_merge_and_part_again(house, city, client_of, wallet) -> None:
    chief = client_of(Role.AUTHORITY)
    first, second = city.departments
    chief.send("/quota/acts/grant", form(city, wallet, confirm=1))
    batch = {"kind": "merge", "target": second.id, "reason": "机构改革", "key": "m"}
    assert "随迁" in chief.send(f"/departments/{first.id}/reorganise", batch).text
    assert balance(house, first) == 20
    assert chief.send(f"/departments/{first.id}/reorganise", batch | {"confirm": 1}).status_code == 302
    assert (balance(house, first), balance(house, second)) == (0, 20)
    assert "撤销这次调整" in chief.get(f"/departments/{second.id}").text
    assert chief.send("/departments/reorganisations/1/undo", {"reason": "方案调整"}).status_code == 302
    assert (balance(house, first), balance(house, second)) == (20, 0)


def test_a_department_is_split_and_made_whole_again(house, city, client_of, wallet, program) -> None:  # noqa: F811
    """A new department takes a system with its machine, the clerk and a quarter of what is unused."""
    chief, first = client_of(Role.AUTHORITY), city.departments[0]
    chief.send("/quota/acts/grant", form(city, wallet, confirm=1))
    with house.transaction(steward()) as tx:
        system = System(code="S9", name="办件系统", department_id=first.id)
        clerk = tx.scalars(select(Person).where(Person.login == "tenant1")).one().id
        tx.add(system)
        tx.flush()
        entries.use(tx, 1, first.id, {CPU: 8}, key="machine")
        shape = {"vcpu": 8}
        machine = Resource(
            pool_id=1, external_id="i-1", name="办件库", kind="vm", arch="aarch64", amounts=shape, booked=shape, tags={},
            state="running", department_id=first.id, system_id=system.id, basis="adopted", first_seen_at=tx.now,
        )  # fmt: skip
        loose = Resource(
            pool_id=1, external_id="i-2", name="散机", kind="vm", arch="aarch64", amounts={}, booked={}, tags={},
            state="running", department_id=first.id, basis="adopted", first_seen_at=tx.now,
        )  # fmt: skip
        tx.add_all([machine, loose])
        tx.flush()
        system_id, machine_id, loose_id = system.id, machine.id, loose.id
    url, asked = f"/departments/{first.id}/split", {
        "target": 0, "code": "A09", "name": "市数据局", "parent": 0, "systems": system_id, "people": clerk, "share": 25,
        "reason": "机构改革", "key": "m", "resources": loose_id,
    }  # fmt: skip
    page = chief.get(url).text
    assert "办件系统" in page
    assert ("散机" in page, "办件库" in page) == (True, False), "what a system runs on goes with it"
    for wrong in ({"share": 101}, {"code": first.code}, {"systems": "", "people": "", "share": 0, "resources": ""}, {"name": ""},
                  {"resources": machine_id}):  # fmt: skip
        assert chief.send(url, asked | wrong).status_code in (409, 422), wrong
    told = chief.send(url, asked).text
    assert "8 vCPU" in told
    assert "3 vCPU" in told
    assert f'name="resources" value="{loose_id}"' in told
    assert balance(house, first) == 12, "nothing has moved yet"
    assert client_of("supervisor1").send(url, asked | {"confirm": 1}).status_code == 403
    assert chief.send(url, asked | {"confirm": 1}).status_code == 302
    with house.reading() as tx:
        (new,) = tx.scalars(select(Department).where(Department.code == "A09"))
        assert new.name == "市数据局"
        moved = [tx.get_one(Resource, machine_id), tx.get_one(Resource, loose_id), tx.get_one(System, system_id)]
        assert [each.department_id for each in moved] == [new.id] * 3
    both = Holder.GRANTED, Holder.USED
    assert [balance(house, one, holder) for one in (first, new) for holder in both] == [9, 0, 3, 8]
    assert "市数据局" in client_of("tenant1").get(f"/departments/{new.id}").text
    assert "撤销这次调整" in chief.get(f"/departments/{new.id}").text
    assert chief.send("/departments/reorganisations/1/undo", {"reason": "方案调整"}).status_code == 302
    assert [balance(house, first, holder) for holder in both] == [12, 8]
    with house.reading() as tx:
        assert not tx.get_one(Department, new.id).active
        assert tx.get_one(Person, clerk).department_id == first.id
        assert (entries.conserved(tx), list(entries.check(tx))) == (True, [])

    sent = {"code": "A10", "name": "市档案局", "share": 50, "reason": "机构改革"}
    answer = program("authority1").post(url, sent)
    assert answer.status_code == 200, answer.text
    with house.reading() as tx:
        third = tx.scalars(select(Department).where(Department.code == "A10")).one()
    assert (balance(house, first), balance(house, third)) == (6, 6)
    with house.transaction(steward()) as tx:
        entries.use(tx, 1, third.id, {CPU: 1}, key="its own")
    assert chief.send("/departments/reorganisations/2/undo", {"reason": "方案调整"}).status_code in (409, 422)
    assert (balance(house, first), balance(house, third)) == (6, 5)


def test_the_promise_board_says_nothing_of_a_short_history(city, client_of, wallet, clock) -> None:
    chief = client_of(Role.AUTHORITY)
    chief.send("/quota/acts/grant", form(city, wallet, confirm=1))
    page = chief.get("/quota/promises/").text
    assert "20 vCPU" in page
    answer = chief.get("/quota/promises/", query_string={"where": f"政务外网/aarch64/{CPU}", "wanted": 90}).text
    assert "还差 10 vCPU" in answer
    for day in range(20):
        clock.now += timedelta(days=1)
        chief = client_of(Role.AUTHORITY)
        chief.send("/quota/acts/grant", form(city, wallet, amount=1, key=f"d{day}", confirm=1))
    assert str((clock.now + timedelta(days=60)).date())[:7] in chief.get("/quota/promises/").text


def test_what_was_adopted_is_no_growth(house, city, client_of, wallet, clock) -> None:
    """One vCPU a day was granted, and what ran already was found in between, the last of it today: 100 − 60 at one a day."""
    for day in range(20):
        with house.transaction(steward()) as tx:
            department = city.departments[0].id
            entries.grant(tx, 1, department, {CPU: 1}, key=f"g{day}")
            if day in (3, 11, 19):
                found = "takeover:1:1" if day == 3 else f"adopt:1:{day}"
                entries.grant(tx, 1, department, {CPU: 10}, key=f"{found}:grant")
                entries.use(tx, 1, department, {CPU: 10}, key=f"{found}:use")
        if day < 19:
            clock.advance(days=1)
    page = client_of(Role.AUTHORITY).get("/quota/promises/").text
    assert "50 vCPU" in page
    assert f'data-label="用尽日期">{(clock.now + timedelta(days=50)).astimezone(ZONE).date()}' in page


def test_a_system_is_given_a_share_and_gives_it_back(house, city, client_of, wallet, program) -> None:  # noqa: F811
    chief, first = client_of(Role.AUTHORITY), city.departments[0]
    chief.send("/quota/acts/grant", form(city, wallet, confirm=1))
    with house.transaction(steward()) as tx:
        system = departments.enter(tx, "S1", first.id, {"name": "办件系统"}).id
        other = departments.enter(tx, "S2", first.id, {"name": "监管系统"}).id
    assert "系统份额" not in chief.get(f"/systems/{system}").text
    assert "系统份额" in chief.get(f"/quota/tree/{first.id}").text
    assert "划给系统" in chief.get("/quota/systems/").text
    asked = {"system": system, "wallet": wallet, "amount": 12, "reason": "办件高峰", "key": "k2"}
    assert KEY.search(chief.get("/quota/systems/give").text)
    for _ in range(2):
        assert chief.send("/quota/systems/give", asked).status_code == 302
    too_much = chief.send("/quota/systems/give", asked | {"amount": 9, "key": "k3"})
    assert (too_much.status_code, 'id="amount-error"' in too_much.text) == (422, True)
    more = {"target": other, "amount": 5, "key": "k4"}
    assert chief.send("/quota/systems/reallot", asked | more).status_code == 302
    assert (balance(house, first), balance(house, first, Holder.SHARED)) == (8, 12)
    assert "系统份额" in chief.get(f"/systems/{system}").text
    rows = program("authority1").get("/quota/systems").get_json()["items"]
    assert [(one["system"], one["amount"], one["unused"]) for one in rows] == [("办件系统", 7, 7), ("监管系统", 5, 5)]
    for url in ("/quota/", f"/quota/departments/{first.id}", "/quota/promises/", "/quota/systems/end"):
        assert chief.get(url).status_code == 200
    clerk = client_of("tenant1")  # who manages no quota
    assert ("办件系统" in clerk.get("/quota/systems/").text, "划给系统" in clerk.get("/quota/systems/").text) == (
        True,
        False,
    )
    assert "办件系统" not in client_of("tenant2").get("/quota/systems/").text
    assert clerk.send("/quota/systems/take_back", asked | {"key": "k5"}).status_code == 403
    assert (
        chief.send(
            "/quota/systems/end", {"system": other, "wallet": wallet, "reason": "不再单列", "key": "k6"}
        ).status_code
        == 302
    )
    assert (balance(house, first), balance(house, first, Holder.SHARED)) == (13, 7)


def test_systems_are_registered_and_amended(city, client_of) -> None:
    clerk = client_of("tenant1")
    facts = {
        "code": "S1",
        "department": city.departments[0].id,
        "name": "办件系统",
        "mlps_level": 3,
        "arch": "",
        "active": "y",
    }
    assert clerk.send("/systems/new", facts | {"monthly_active_users": 9, "registered_users": 5}).status_code == 422
    assert clerk.send("/systems/new", facts).status_code == 302
    # Is it another one? His own are named; of others' a department is told how many there are.
    asked = clerk.send("/systems/new", facts)
    assert (asked.status_code, "名称相近" in asked.text, ">办件系统</a>" in asked.text) == (200, True, True)
    assert (
        clerk.send("/systems/new", facts | {"confirm": "1", "about": "别的"}).status_code == 200
    )  # asked of another name
    assert (
        clerk.send("/systems/new", facts | {"confirm": "1", "about": "办件系统"}).status_code == 422
    )  # its code is taken
    other = facts | {"code": "S2", "department": city.departments[1].id, "name": "办件 平台（二期）"}
    told = client_of("tenant2").send("/systems/new", other).text
    assert ("其他单位另有 1 个" in told, "办件系统" in told) == (True, False)
    assert client_of("tenant2").send("/systems/new", other | {"name": "财务系统"}).status_code == 302
    assert client_of("tenant2").send("/systems/new", other | {"code": "S3", "confirm": "1"}).status_code == 302
    edited = facts | {"mlps_record": "备 2026-001", "rto_minutes": 30}
    assert clerk.send("/systems/1/edit", edited).status_code == 302
    page = clerk.get("/systems/1").text
    assert "备 2026-001" in page
    assert "30 分钟" in page
    assert client_of("tenant2").get("/systems/1").status_code == 404
    assert "办件系统" in clerk.get("/search?q=办件", follow_redirects=True).text


def test_capacity_is_put_in_and_never_taken_from_what_is_promised(house, city, client_of, wallet) -> None:
    chief = client_of(Role.AUTHORITY)
    chief.send("/quota/acts/grant", form(city, wallet, confirm=1))
    facts = {"kind": "vcpu", "total": 60, "reserved": 10, "ratio": "2", "reason": "扩容", "key": "c1"}
    assert "80 vCPU" in chief.send("/pools/1/capacity", facts | {"reserved": 20}).text  # to give out, afterwards
    for _ in range(2):
        assert chief.send("/pools/1/capacity", facts | {"total": 70, "confirm": 1}).status_code == 302
    with house.reading() as tx:
        assert entries.balance(tx, Side(1, CPU, Holder.FREE)) == 100
    short = chief.send("/pools/1/capacity", facts | {"total": 19, "key": "c2", "confirm": 1})
    assert short.status_code == 422
    assert balance(house, city.departments[0]) == 20
    assert "vCPU" in client_of(Role.PROVIDER).get("/pools/1").text
    assert client_of(Role.TENANT).get("/pools/1").status_code == 403


def test_a_pool_is_registered_with_an_adapter_that_opens(city, client_of, tmp_path) -> None:
    chief = client_of(Role.AUTHORITY)
    facts = {
        "code": "x",
        "name": "新池",
        "provider": city.provider.id,
        "arch": "x86_64",
        "zone": "互联网",
        "adapter": "files",
    }
    assert 'name="option_folder"' in chief.get("/pools/new?adapter=files").text
    for field, value in (("folder", ""), ("folder", "/no/such/folder"), ("format", "smoke"), ("utc_offset_s", "soon")):
        page = chief.send("/pools/new", facts | {"option_folder": str(tmp_path), f"option_{field}": value})
        assert page.status_code == 422, value
        assert f'id="option_{field}-error"' in page.text
    assert chief.send("/pools/new", facts | {"option_folder": str(tmp_path)}).status_code == 302
    assert "新池" in chief.get("/pools/").text


def test_the_cockpit_is_for_stewards_and_refreshes_itself(client_of, wallet) -> None:
    page = client_of(Role.AUTHORITY).get("/cockpit").text
    assert 'data-hx-trigger="every 60s"' in page
    assert "信创池" in page
    assert client_of(Role.TENANT).get("/cockpit").status_code == 403


def test_the_cockpit_sums_up_districts_and_the_citys_own_departments(house, city, client_of, wallet) -> None:
    """A district with all that lies under it; departments of a top that has no deeper tree together. Each leads to its page."""
    chief = client_of(Role.AUTHORITY)
    for number, (one, amount) in enumerate(zip(city.departments[:2], (20, 30), strict=True)):
        told = form(city, wallet, department=one.id, amount=amount, key=f"k{number}", confirm=1)
        assert chief.send("/quota/acts/grant", told).status_code == 302
    with house.transaction(steward()) as tx:
        ours, theirs = (tx.get_one(Department, one.id) for one in city.departments[:2])
        tops = [Department(code=f"T{n}", name=name, active=True) for n, name in enumerate(("各区", "市直部门"))]
        tx.add_all(tops)
        tx.flush()
        district = Department(code="D", name="东区", parent_id=tops[0].id, active=True)
        tx.add(district)
        tx.flush()
        ours.parent_id, theirs.parent_id = district.id, tops[1].id
        wanted = [(str(tops[1].id), "市直部门", "0", "30"), (str(district.id), "东区", "0", "20")]
    (block,) = re.findall(r'id="wall-districts".*?</article>', chief.get("/cockpit").text, re.S)
    assert re.findall(r'href="/departments/(\d+)">([^<]+)</a> <span>(\d+) / (\d+) vCPU', block) == wanted
