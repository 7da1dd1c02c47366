"""The quota tree and allocations in a browser: accessible and fitting at both widths, and a sharing-out from form to page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select

from console.app import create_app
from console.settings import Settings
from quota.actors import Actor, Role
from quota.calendar import ZONE
from quota.db import Book
from quota.directory import Person, departments
from quota.ledger import Act, Allotment, allotments, demands, entries
from quota.units import VCPU, Arch, Commodity
from tests import books
from tests.browser.conftest import LONG_MIN, Live, follow, serve
from tests.city import CONSOLE, CONSOLE_POOL, City

CPU = Commodity(VCPU, Arch.AARCH64)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A01 with two bureaus below it, one of which was given 15 of its 40 vCPU until the end of next month; tenant1 manages them."""
    data = tmp_path_factory.mktemp("tree")
    book = Book(books.sqlite(data / "book.db"))
    city = City(book, plan=CONSOLE)
    city.add(CONSOLE_POOL)
    first = city.departments[0]
    chief = Actor("authority1", "主", Role.AUTHORITY)
    with book.transaction(chief) as tx:
        bureaus = [
            departments.register(tx, code, f"区{name}局", first).id for code, name in (("q1", "教育"), ("q2", "水务"))
        ]
        tx.scalars(select(Person).where(Person.login == "tenant1")).one().quota_manager = True
        ends = tx.now.astimezone(ZONE).date() + timedelta(days=20)
        what = Allotment(Act.SHARE, city.pool, CPU, first.id, 15, "年度统筹", bureaus[0], ends)
        allotments.carry_out(tx, what, key="given")
        entries.use(tx, city.pool, bureaus[0], {CPU: 6}, key="used")
        round_id = demands.open_round(tx, ends.year + 1, ends).id
        demands.enter(tx, round_id, first.id, city.pool, CPU, 60, "新平台上线,按压测折算并发三千")
        demands.enter(tx, round_id, bureaus[0], city.pool, CPU, 30, "扩容")
    yield from serve(create_app(Settings(data=data, idle_minutes=LONG_MIN), book), city.passwords)
    book.dispose()


PAGES = (
    "/quota/tree/",
    "/quota/tree/1",
    "/quota/acts/share?department=1",
    "/quota/acts/take_back?department=1",
    "/quota/acts/reallot?node=1",
    "/quota/allocations/",
    "/quota/allocations/1",
    "/quota/allocations/1/extend",
    "/quota/demands/",
    "/quota/demands/1",
    "/quota/demands/1/enter",
    "/",
)


@pytest.mark.parametrize("role", [Role.TENANT, Role.AUTHORITY])
def test_its_pages_are_accessible_and_fit(open_page, check_widths, shot, town, role) -> None:
    page = open_page(role, at=town)
    for address in PAGES:
        answer = page.goto(address)
        assert answer.status == 200, address
        check_widths(page)
        page.set_viewport_size({"width": 390, "height": 844})
        shot(
            page, f"tree-{role.value}-{address.strip('/').replace('/', '-').partition('?')[0] or 'home'}-390", full=True
        )
        page.set_viewport_size({"width": 1440, "height": 900})
        shot(
            page,
            f"tree-{role.value}-{address.strip('/').replace('/', '-').partition('?')[0] or 'home'}-1440",
            full=True,
        )


def test_the_meeting_is_accessible_and_fits(open_page, check_widths, shot, town) -> None:
    page = open_page(Role.AUTHORITY, at=town)
    for address in ("/quota/demands/new", "/quota/demands/1/meeting", "/quota/demands/1/enact"):
        page.goto(address)
        check_widths(page)
        page.set_viewport_size({"width": 390, "height": 844})
        shot(page, f"demands-{address.rpartition('/')[2]}-390", full=True)
        page.set_viewport_size({"width": 1440, "height": 900})
        shot(page, f"demands-{address.rpartition('/')[2]}-1440", full=True)


def test_a_sharing_out_on_a_narrow_window(open_page, check, shot, town) -> None:
    page = open_page(Role.TENANT, width=390, at=town)
    page.goto("/quota/tree/1")
    page.click("text=下拨配额")
    page.select_option("#target", label="区水务局")
    page.select_option("#wallet", index=0)
    page.fill("#amount", "9999")
    page.fill("#reason", "按年度计划")
    follow(page.locator("main form.gj-form button.btn-primary"))
    check(page)
    assert "请改正 1 处" in page.inner_text("#errors")
    page.fill("#amount", "8")
    follow(page.locator("main form.gj-form button.btn-primary"))
    check(page)
    shot(page, "tree-check-390", full=True)
    page.click("main .gj-submit button.btn-primary")
    page.wait_for_url("**/quota/tree/1?kind=memory")
    assert "区水务局" in page.inner_text("main")
