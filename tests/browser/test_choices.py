"""Choosing among many in a browser: suggestions while one types, at both widths, in both languages."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from console.app import create_app
from console.choices import MOST
from console.settings import Settings
from quota.actors import Role, steward
from quota.db import Book
from quota.directory import Department
from tests import books
from tests.browser.conftest import LONG_MIN, Live, serve
from tests.city import CONSOLE, City
from tests.patience import until


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The small city with more departments than a list shows."""
    data = tmp_path_factory.mktemp("crowded")
    book = Book(books.sqlite(data / "book.db"))
    city = City(book, plan=CONSOLE)
    with book.transaction(steward()) as tx:
        tx.add_all(Department(code=f"J{one:02}", name=f"第{one:02}街道办事处") for one in range(MOST))
    yield from serve(create_app(Settings(data=data, idle_minutes=LONG_MIN), book), city.passwords)
    book.dispose()


@pytest.mark.parametrize("language", ["zh_CN", "en"])
def test_one_types_and_is_suggested_to(
    open_page: Callable[..., Page], check_widths: Callable[[Page], None], crowded: Live, language: str
) -> None:
    page = open_page(Role.AUTHORITY, language=language, at=crowded)
    page.goto("/departments/new")
    check_widths(page)
    field = page.locator("#parent")
    field.press_sequentially("A02")
    options = page.locator("#parent-options option")
    until(lambda: options.count() == 1, "the one that is meant")
    suggested = options.first.get_attribute("value")
    assert suggested in ("市水务局（A02）", "市水务局 (A02)")
    page.fill("#code", f"N-{language}")
    page.fill("#name", "市节水办")
    page.fill("#parent", "市节约用水局")
    page.locator("main button.btn-primary").click()
    expect(page.locator("#errors")).to_contain_text("市水务局")
    expect(field).to_have_value("市节约用水局")
    check_widths(page)
    page.fill("#parent", suggested)
    page.locator("main button.btn-primary").click()
    expect(page.locator("h1")).to_contain_text("市节水办")
    page.goto("/systems/")
    page.locator("#f-department").fill("水务")
    page.locator("#f-department").press("Enter")
    page.wait_for_url("**/systems/?**department=**")
    check_widths(page)
