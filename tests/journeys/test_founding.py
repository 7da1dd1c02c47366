"""From an empty house to a governed city: what ``guanjia run --empty`` leaves to people, done by people over HTTP."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from openpyxl import load_workbook
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from console import founding
from console.app import create_app
from console.founding import checklist, houses
from console.settings import Settings
from quota.actors import Role
from quota.db import Book
from quota.directory import CatalogItem, CloudProvider, Department, Person, Pool, city
from quota.requests import Request
from tests.conftest import Clock
from tests.console.conftest import Visit
from tests.quota.test_attachments import PDF

FIRST = re.compile(r'<span class="gj-secret">([^<]+)</span>')
OWN = "Guan-jia-2026-Sheng"
COMPANY = {
    "code": "jia",
    "name": "甲云科技有限公司",
    "credit_code": "91110000600037341L",
    "contract_number": "2026-001",
    "contract_from": "2026-01-01",
    "contract_until": "2028-12-31",
    "contacts": "张三，商务，020-1，a@example.com\n李四",
}


class EmptyHouse:
    """A house as ``--empty`` founds it, and browsers for whoever comes in."""

    def __init__(self, home: Path, clock: Clock | None = None) -> None:
        self.home = home
        at = None if clock is None else clock.now
        self.settings = founding.found(Settings(data=home, secret_key="t" * 40), demo=False, at=at)
        self.first = houses._kept(self.settings)["accounts"]
        self.book = Book(self.settings.database_url) if clock is None else Book(self.settings.database_url, clock=clock)
        self.app: Flask = create_app(self.settings, self.book)
        self.app.test_client_class = Visit
        self.visits: dict[str, Visit] = {}

    def enter(self, login: str, first: str) -> Visit:
        """Log in for the first time, and choose a password."""
        visit: Any = self.app.test_client()
        assert visit.log_in(login, first).status_code == 302
        answer = visit.send("/password", {"old": first, "password": OWN, "again": OWN})
        assert answer.status_code == 302, answer.text
        visit.token = ""  # the session is another
        self.visits[login] = visit
        return visit

    def administrator(self, role: Role) -> Visit:
        login = role.value
        return self.visits.get(login) or self.enter(login, self.first[login])

    def person(self, role: Role, login: str = "", **belonging: int) -> Visit:
        """Somebody of ``role``: entered by the one administrator, granted by the other."""
        login = login or role.value
        if login in self.visits:
            return self.visits[login]
        wanted = {"role": role.value, "department": 0, "provider": 0, **belonging}
        told = self.administrator(Role.SYSADMIN).send(
            "/settings/people/new", {"login": login, "name": login, "email": "", **wanted}
        )
        found = FIRST.search(told.text)
        assert found, told.text
        person_id = int(re.findall(r"/settings/people/(\d+)", told.text)[0])
        assert self.administrator(Role.SECADMIN).send(f"/settings/people/{person_id}/grant", wanted).status_code == 302
        return self.enter(login, found.group(1))


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[EmptyHouse]:
    house = EmptyHouse(tmp_path / "home")
    yield house
    house.book.dispose()


def test_from_nobody_to_a_pool(empty: EmptyHouse) -> None:
    chief = empty.person(Role.AUTHORITY)
    page = chief.get("/pools/new")
    assert "先登记公司" in page.text
    assert 'href="/companies/new"' in page.text

    wrong = chief.send("/companies/new", {**COMPANY, "credit_code": "91110000600037341M"})
    assert wrong.status_code == 422
    assert "校验位不对" in wrong.text
    assert 'value="2026-001"' in wrong.text  # what was typed stays
    made = chief.send("/companies/new", COMPANY)
    assert made.status_code == 302, made.text
    company = chief.get(made.location).text
    for said in ("91110000600037341L", "2026-001", "张三", "020-1", "登记公司"):
        assert said in company
    assert "甲云科技有限公司" in chief.get("/companies/?q=91110000").text

    folder = empty.home / "清单"
    pool = {
        "code": "gov", "name": "政务池", "provider": 1, "arch": "x86_64", "zone": "政务外网", "adapter": "",
        "option_folder": "{home}/清单",
    }  # fmt: skip
    form = chief.get("/pools/new").text
    assert "simulated" not in form  # that is for a demo
    assert '<option value="files">' in form
    assert chief.send("/pools/new", pool).status_code == 422  # nothing is chosen beforehand
    refused = chief.send("/pools/new", {**pool, "adapter": "simulated"})
    assert refused.status_code == 422
    assert chief.send("/pools/new", {**pool, "adapter": "files"}).status_code == 422  # there is no such folder yet
    folder.mkdir()
    made = chief.send("/pools/new", {**pool, "adapter": "files"})
    assert made.status_code == 302, made.text
    sizes = {"kind": "vcpu", "total": 64, "reserved": 0, "ratio": "1", "reason": "首次投入", "key": "k", "confirm": "1"}
    assert chief.send(made.location, sizes).status_code == 302
    with empty.book.reading() as tx:
        assert tx.scalars(select(Pool.code)).all() == ["gov"]

    staff = empty.person(Role.PROVIDER, provider=1)
    assert "甲云科技有限公司" in staff.get("/companies/1").text
    assert staff.get("/companies/new").status_code == 403


def test_a_company_ends_and_stays_on_record(empty: EmptyHouse) -> None:
    chief = empty.person(Role.AUTHORITY)
    assert chief.send("/companies/new", COMPANY).status_code == 302
    (empty.home / "p").mkdir()
    pool = {
        "code": "gov", "name": "政务池", "provider": 1, "arch": "x86_64", "zone": "政务外网", "adapter": "files",
        "option_folder": "{home}/p",
    }  # fmt: skip
    assert chief.send("/pools/new", pool).status_code == 302
    over = {"on": "2027-01-01", "reason": "合同到期"}
    answer = chief.send("/companies/1/end", over)
    assert answer.status_code == 422
    assert "政务池" in answer.text
    assert chief.send("/pools/1/close", {"reason": "合同到期"}).status_code == 302
    assert chief.send("/companies/1/end", over).status_code == 302
    assert "合同到期" in chief.get("/companies/1").text
    assert "甲云" not in chief.get("/companies/").text
    assert "已终止" in chief.get("/companies/?state=ended").text
    told = chief.get("/companies/1").text
    assert "合同到期" in told
    assert "2027-01-01" in told
    assert "先登记公司" in chief.get("/pools/new").text
    again = {**COMPANY, "name": "甲云", "contract_until": "2030-12-31"}
    assert chief.send("/companies/1/resume", {"reason": "续签"}).status_code == 302
    del again["code"]
    assert chief.send("/companies/1/edit", again).status_code == 302
    with empty.book.reading() as tx:
        one = tx.scalars(select(CloudProvider)).one()
        assert (one.name, one.active, str(one.contract_until)) == ("甲云", True, "2030-12-31")
        assert tx.scalar(select(Department.id)) is None


def test_a_demo_may_have_the_simulated_cloud(empty: EmptyHouse) -> None:
    chief = empty.person(Role.AUTHORITY)
    chief.send("/companies/new", COMPANY)
    demo = create_app(replace(empty.settings, demo=True), empty.book)
    demo.test_client_class = Visit
    visit: Any = demo.test_client()
    visit.log_in("authority", OWN)
    assert '<option value="simulated">' in visit.get("/pools/new").text


def test_the_checklist_greets_and_goes_step_by_step(empty: EmptyHouse) -> None:
    keeper = empty.administrator(Role.SYSADMIN)
    greeting = keeper.get("/").text
    assert "这里还没有开始监督一座城市" in greeting
    assert 'href="/settings/people/"' in greeting  # his own steps lead to their pages
    chief = empty.person(Role.AUTHORITY)
    page = chief.get("/city/founding").text
    steps = checklist.steps()
    assert [one.name for one in steps] == [
        "city", "people", "departments", "systems", "companies", "accounts", "pools", "capacity", "catalogue", "tariffs",
        "rules", "policy", "calendar", "mail", "listing", "takeover", "metered", "judged", "enforcement",
    ]  # fmt: skip
    for one in steps:
        assert one.label in page
        assert one.needs in page
    assert "1 / 2" in page  # the authority is there, no supervisor yet
    saved = chief.send("/city/name", {"city": "云川市", "lead_body": "云川市数据局"})
    assert saved.status_code == 302
    assert "云川市政务云运营监督" in chief.get("/").text
    assert "云川市数据局" in empty.app.test_client().get("/login").text
    assert chief.send("/city/name", {"city": " ", "lead_body": "x"}).status_code == 422
    assert chief.send("/city/founding/rules/without", {"reason": "不要"}).status_code == 404  # that is no choice
    assert keeper.send("/city/founding/mail/without", {"reason": ""}).status_code == 422
    assert keeper.send("/city/founding/mail/without", {"reason": "市里没有邮件服务"}).status_code == 302
    page = chief.get("/city/founding").text
    assert "市里没有邮件服务" in page
    found = {one.step.name: one.settled for one in entries(empty)}
    assert {name for name, settled in found.items() if settled} == {"city", "rules", "policy", "calendar", "mail"}


def entries(house: EmptyHouse) -> list[checklist.ChecklistEntry]:
    with house.book.reading() as tx:
        today = tx.now.astimezone(house.settings.zone).date()
        return checklist.entries(checklist.Look(tx, house.settings, today, set, city.told(tx)))


def test_a_city_out_of_one_workbook_in_the_console_asks_for_machines(empty: EmptyHouse, tmp_path: Path) -> None:
    chief = empty.person(Role.AUTHORITY)
    assert "用工作簿一次登记" in chief.get("/city/founding").text
    file = chief.get("/city/workbook/template.xlsx").data
    page = chief.send("/city/workbook/", {"file": (io.BytesIO(b"PK no workbook"), "city.xlsx")})
    assert page.status_code == 422
    assert "无法读取" in page.text
    wrong = load_workbook(io.BytesIO(file))
    wrong["人员"]["C2"] = "市长"
    spoilt = io.BytesIO()
    wrong.save(spoilt)
    page = chief.send("/city/workbook/", {"file": (io.BytesIO(spoilt.getvalue()), "city.xlsx")}).text
    assert "有 1 处错误，没有登记任何内容" in page
    assert "“市长”不在可选项中" in page
    page = chief.send("/city/workbook/", {"file": (io.BytesIO(file), "city.xlsx")}).text
    assert "全部登记" in page
    token = re.search(r'name="token" value="([\w-]+)"', page)
    assert token, page
    with empty.book.reading() as tx:
        assert tx.scalar(select(Department.id)) is None  # that was only a look
    done = chief.send("/city/workbook/", {"token": token[1], "step": "enter"})
    assert done.status_code == 302, done.text
    told = chief.get(done.location).text
    assert "first-passwords" in told
    again = chief.send("/city/workbook/", {"file": (io.BytesIO(file), "city.xlsx")}).text
    assert "没有要变更的" in again
    assert "云主机 4C8G" in chief.get("/catalog/").text

    keeper = empty.administrator(Role.SECADMIN)
    with empty.book.reading() as tx:
        people = {one.login: one for one in tx.scalars(select(Person).options(joinedload(Person.department)))}
        item = tx.scalars(select(CatalogItem.id).where(CatalogItem.code == "vm-4c8g")).one()
    for login in ("jiaoyu", "jiandu1", "jiandu2"):
        one = people[login]
        wanted = {"role": one.role, "department": one.department_id or 0, "provider": one.provider_id or 0}
        assert keeper.send(f"/settings/people/{one.id}/grant", wanted).status_code == 302
    first = (empty.home / "first-passwords" / "jiaoyu.txt").read_text("utf-8").split()[1]
    clerk = empty.enter("jiaoyu", first)
    address = "/requests/new/create?pool=1"
    key = re.search(r'name="key"[^>]*value="([0-9a-f]+)"', clerk.get(address).text)
    assert key
    asked = clerk.send(address, {
        "key": key[1], "justification": "学籍系统上线,峰值并发三千", "system": "1", "lines-0-item": str(item),
        "lines-0-quantity": "2", "lines-0-name": "应用", "more_system_head": "王工 138", "more_origin": "新建",
    })  # fmt: skip
    assert asked.status_code == 302, asked.text
    number = re.search(r"/requests/(\d+)/check", asked.location)[1]
    for label in ("申请公函", "建设或技术方案"):  # what a new house asks for
        assert f"请提交附件“{label}”" in clerk.get(asked.location).text
        file = (io.BytesIO(PDF + label.encode()), f"{label}.pdf")
        add = f"/attachments/request/{number}/add"
        assert clerk.send(add, {"label": label, "files": file}).status_code == 302
    check = clerk.get(asked.location).text
    seen = re.search(r'name="generation"[^>]*value="(\d+)"', check)
    assert seen, check
    filed = clerk.send(asked.location.replace("/check", "/submit"), {"generation": seen[1]})
    assert filed.status_code == 302
    with empty.book.reading() as tx:
        assert tx.scalars(select(Request.state)).all() == ["in_review"]


def test_a_ready_catalogue_is_one_choice(empty: EmptyHouse) -> None:
    checker = empty.person(Role.SUPERVISOR)
    assert "采用现成目录" in checker.get("/catalog/").text
    assert checker.send("/catalog/ready").status_code == 302
    page = checker.get("/catalog/").text
    assert "云主机 32C128G" in page
    assert "采用现成目录" not in page
