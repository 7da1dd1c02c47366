"""The frame in a browser: the login, the homes, the lists, the errors; at both widths, both looks, both languages."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from console.access import EVERYBODY
from quota.actors import Role
from tests.browser.conftest import context_of

WIDTHS = (1440, 390)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("look", ["light", "dark"])
def test_the_login_page(open_page, check, shot, width, look):
    page = open_page(None, width, look)
    page.goto("/login")
    expect(page).to_have_title("登录 · 管家")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", look)
    check(page)
    if look == "light":
        shot(page, "login")
    page.click("main button")
    expect(page.locator("#errors")).to_be_focused()
    page.click("#errors a >> nth=0")
    expect(page.locator("#login")).to_be_focused()
    check(page)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("role", EVERYBODY)
def test_every_home_page(open_page, check, width, role):
    page = open_page(role, width)
    page.goto("/")
    expect(page.locator("h1")).to_be_visible()
    check(page)


@pytest.mark.parametrize(
    ("width", "look", "language"),
    [(1440, "light", "zh_CN"), (390, "dark", "en"), (1440, "dark", "en"), (390, "light", "zh_CN")],
)
@pytest.mark.parametrize(
    "url",
    [
        "/settings/people/",
        "/settings/people/1",
        "/settings/people/new",
        "/settings/people/?q=nobody",
        "/password",
        "/search?q=x",
        "/search",
        "/no/such/page",
    ],
)
def test_pages_of_the_frame(open_page, check, shot, url, width, look, language):
    page = open_page(Role.SYSADMIN, width, look, language)
    page.goto(url)
    check(page)
    if language == "zh_CN":
        shot(page, "frame" + re.sub(r"\W+", "-", url).rstrip("-"))


def test_403_in_a_browser(open_page, check):
    page = open_page(Role.TENANT, 390)
    page.goto("/settings/people/")
    expect(page.locator("h1")).to_have_text("没有权限")
    check(page)


def test_a_list_is_filtered_and_sorted_without_leaving_the_page(open_page):
    page = open_page(Role.SYSADMIN)
    page.goto("/settings/people/")
    page.evaluate("window.stayed = true")
    page.select_option("#f-role", "provider")
    expect(page.locator("#results [role=status]")).to_contain_text("共 2 条")
    expect(page).to_have_url(re.compile(r"role=provider"))
    assert page.evaluate("window.stayed") is True
    page.click("th >> text=登录名")
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("登录名")
    expect(page).to_have_url(re.compile(r"role=provider.*sort=login"))


def test_the_menu_opens_by_keyboard_and_closes_by_escape(open_page, check):
    page = open_page(Role.AUDITOR)
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.locator(".gj-skip")).to_be_focused()
    page.focus(".gj-menu summary")
    page.keyboard.press("Enter")
    expect(page.locator(".gj-drop")).to_be_visible()
    check(page)
    page.keyboard.press("Escape")
    expect(page.locator(".gj-drop")).not_to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()


def test_the_look_can_be_chosen(open_page):
    page = open_page(Role.AUDITOR, look="light")
    page.goto("/")
    page.click(".gj-menu summary")
    page.click(".gj-looks >> text=深色")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")


def test_everything_works_without_scripts(browser, live):
    context = context_of(browser, java_script_enabled=False, base_url=live.address)
    page = context.new_page()
    page.goto("/settings/people/?role=provider")
    page.fill("#login", "sysadmin2")
    page.fill("#password", live.passwords["sysadmin2"])
    page.click("main button")
    expect(page).to_have_url(re.compile(r"/settings/people/\?role=provider$"))
    page.select_option("#f-role", "tenant")
    page.click(".gj-filters button")
    expect(page.locator("#results [role=status]")).to_contain_text("共 2 条")
    page.click(".gj-menu summary")
    page.click("text=退出")
    expect(page.locator(".gj-note")).to_contain_text("您已退出")
    context.close()


def test_one_text_that_does_not_stand_out_is_found_among_many(open_page, check):
    page = open_page(None)
    page.goto("/login")
    check(page)
    page.evaluate(
        """() => {
            document.querySelector('main').insertAdjacentHTML('beforeend', '<p>看得清楚</p>'.repeat(80));
            Object.assign(document.querySelectorAll('main p')[41].style, {color: '#999', background: '#fff'});
        }"""
    )
    with pytest.raises(AssertionError, match="color-contrast"):
        check(page)
