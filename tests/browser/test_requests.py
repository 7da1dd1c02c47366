"""A request in a real browser, from the catalogue to acceptance: by clicking, and decided by keyboard too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from playwright.sync_api import Page, expect

from console import assets, i18n
from console.app import create_app
from console.settings import Settings
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.db import Book
from quota.requests import approvals, fulfilment, kinds, submission
from quota.requests.approvals import Decision
from quota.requests.asks import Ask, Line
from quota.requests.tables import Request
from tests import books
from tests.browser.conftest import LONG_MIN, follow, serve
from tests.city import CONSOLE, CONSOLE_POOL, City

BASIS = "峰值并发三千,现有四台主机已到七成"


class Served(City):
    """The small city with a pool, on a server (``live``)."""

    def another(self, until: date | None = None) -> int:
        """Another request of the department, handed in without a browser."""
        clerk = Actor("tenant1", "tenant甲", Role.TENANT, self.department)
        with self.book.transaction(clerk) as tx:
            lines = [Line(item_id=self.small, name="前置")]
            made = submission.draft(tx, Ask(kinds.CREATE, self.department, self.pool, lines, BASIS, use_until=until))
            return submission.submit(tx, made, generation=made.generation).id

    def signed(self, number: int) -> None:
        for login in ("supervisor1", "supervisor2"):
            with self.book.transaction(Actor(login, login, Role.SUPERVISOR)) as tx:
                seen = submission.request(tx, number).generation
                approvals.sign(tx, number, decision=Decision.APPROVE, generation=seen)

    def state(self, number: int) -> str:
        with self.book.reading() as tx:
            return tx.get_one(Request, number).state


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    assert assets.ready(), "run python -m console.assets first"
    i18n.compile_all()
    settings = Settings(data=tmp_path_factory.mktemp("requests"), idle_minutes=LONG_MIN)
    book = Book(books.sqlite(settings.data / "book.db"))
    city = Served(book, plan=CONSOLE)
    city.add(CONSOLE_POOL)
    for live in serve(create_app(settings, book), city.passwords):
        city.live = live
        yield city
    book.dispose()


def filed(page: Page, place: Served, check, shot) -> int:
    """From the list to the detail page by clicking; the request's number in its address."""
    page.goto("/requests/")
    follow(page.get_by_role("link", name="新建申请").first)
    check(page)
    page.locator("form[action='/requests/new/create'] button").click()
    page.wait_for_url("**/requests/new/create?*")
    check(page)
    page.get_by_role("button", name="下一步").click()
    expect(page.locator(".gj-errors")).to_contain_text("请写明测算依据")
    check(page)
    page.select_option("#lines-0-item", str(place.small))
    page.fill("#lines-0-quantity", "3")
    page.fill("#lines-0-name", "应用")
    page.fill("#justification", BASIS)
    expect(page.locator("#impact")).to_contain_text("12 vCPU")
    shot(page, "request-form", full=True)
    page.get_by_role("button", name="下一步").click()
    page.wait_for_url("**/check")
    expect(page.locator("main")).to_contain_text("形式审查")
    check(page)
    shot(page, "request-check", full=True)
    page.get_by_role("button", name="提交申请").click()
    page.wait_for_url(re.compile(r"/requests/\d+$"))
    expect(page.locator("main")).to_contain_text("预占 12 vCPU")
    check(page)
    shot(page, "request-show", full=True)
    return int(page.url.rsplit("/", 1)[1])


def walked(page: Page, first: int, second: int) -> None:
    """j goes to the next request of the queue and k back; not while somebody writes."""
    page.locator("#reason").focus()
    page.keyboard.type("jk")
    expect(page.locator("#reason")).to_have_value("jk")
    assert page.url.endswith(f"/decisions/{first}")
    page.fill("#reason", "")
    page.locator("h1").click()
    page.keyboard.press("j")
    page.wait_for_url(f"**/decisions/{second}")
    page.keyboard.press("k")
    page.wait_for_url(f"**/decisions/{first}")


def pressed(page: Page, decision: str, reason: str = "") -> None:
    """Decide without a mouse: the choice by the space bar, the reason typed, the button by Enter."""
    page.locator(f"input[name=decision][value={decision}]").focus()
    page.keyboard.press("Space")
    page.locator("#reason").focus()
    page.keyboard.type(reason)
    page.get_by_role("button", name="确定").focus()
    page.keyboard.press("Enter")


@pytest.mark.parametrize("width", [1440, 390])
def test_the_whole_walk(open_page, check, shot, place, width):
    tenant = open_page("tenant1", width, at=place.live)
    number = filed(tenant, place, check, shot)
    other = place.another()

    page = open_page("supervisor1", width, at=place.live)
    page.goto("/decisions/")
    check(page)
    page.locator(f"main a[href='/decisions/{number}']").first.click()
    expect(page.locator("main")).to_contain_text(BASIS)
    check(page)
    shot(page, "request-decide", full=True)
    walked(page, number, other)
    page.get_by_label("通过", exact=True).check()
    page.get_by_role("button", name="确定").click()
    page.wait_for_url(f"**/decisions/{other}")  # on to the next by itself
    page.get_by_label("驳回").check()
    page.get_by_role("button", name="确定").click()
    expect(page.locator(".gj-errors")).to_contain_text("请写明理由")
    check(page)
    page.get_by_label("通过", exact=True).check()
    page.get_by_role("button", name="确定").click()
    page.wait_for_url("**/decisions/")
    assert place.state(number) == "in_review"  # the second step is another person's

    page = open_page("supervisor2", width, at=place.live)
    page.goto(f"/decisions/{number}")
    walked(page, number, other)
    pressed(page, "approve")
    page.wait_for_url(f"**/decisions/{other}")
    pressed(page, "reject", "与立项批复不符")
    page.wait_for_url("**/decisions/")
    check(page)
    assert (place.state(number), place.state(other)) == ("approved", "rejected")

    with place.book.transaction(steward()) as tx:
        fulfilment.delivered(tx, number)
    tenant.goto("/")
    tenant.locator(f"main a[href='/requests/{number}']").first.click()
    follow(tenant.get_by_role("link", name="验收").first)
    check(tenant)
    shot(tenant, "request-acceptance", full=True)
    tenant.get_by_role("button", name="验收通过").click()
    tenant.wait_for_url(f"**/requests/{number}")
    assert place.state(number) == "done"
    expect(tenant.locator("main")).to_contain_text("验收通过")
    check(tenant)
    tenant.goto(f"/requests/{other}")
    expect(tenant.locator("main")).to_contain_text("与立项批复不符")


def test_a_term_is_extended(open_page, check, shot, place):
    """From what ends soon to the signer's page, on a telephone."""
    ends = place.book.clock().astimezone(ZONE).date() + timedelta(days=20)
    number = place.another(until=ends)
    place.signed(number)
    page = open_page("tenant1", 390, at=place.live)
    page.goto("/requests/?term=30")
    check(page)
    page.locator(f"main a[href='/requests/{number}']").first.click()
    follow(page.get_by_role("link", name="申请延期"))
    check(page)
    page.fill("#use_until", str(ends + timedelta(days=60)))
    page.fill("#justification", "活动延至年底,高峰并发不减")
    shot(page, "extension-form", full=True)
    page.get_by_role("button", name="下一步").click()
    page.wait_for_url("**/check")
    check(page)
    page.get_by_role("button", name="提交申请").click()
    page.wait_for_url(re.compile(r"/requests/\d+$"))
    check(page)
    longer = int(page.url.rsplit("/", 1)[1])
    page.goto(f"/requests/{number}")
    expect(page.locator("main")).to_contain_text("办结前期限到了也不收回")
    check(page)
    signer = open_page("supervisor1", 390, at=place.live)
    signer.goto(f"/decisions/{longer}")
    expect(signer.locator("main")).to_contain_text("不占用容量")
    expect(signer.get_by_label("部分通过")).to_have_count(0)
    check(signer)
    shot(signer, "extension-decide", full=True)
    place.signed(longer)
    page.reload()
    expect(page.locator("main")).to_contain_text("延长使用期限")
