"""Tokens and the interface's reference in a browser, at both widths."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from quota.actors import Role


@pytest.mark.parametrize("width", [1440, 390])
def test_a_token_is_made_shown_once_and_revoked(open_page, check, shot, width):
    page = open_page(Role.SUPERVISOR, width)
    page.goto("/settings/tokens/new")
    check(page)
    page.click("main button.btn-primary")
    expect(page.locator("#errors")).to_be_focused()
    page.fill("#name", "报表平台")
    for scope in ("requests:read", "quota:read"):
        page.check(f'#scopes input[value="{scope}"]')
    shot(page, "token-new")
    page.click("main button.btn-primary")
    expect(page.locator(".gj-secret")).to_contain_text("gj_")
    check(page)
    shot(page, "token-shown")
    page.click("text=已记下")
    expect(page.locator("h1")).to_contain_text("报表平台")
    check(page)
    page.click("text=吊销")
    expect(page.locator("main")).to_contain_text("已吊销")
    page.goto("/settings/tokens/")
    check(page)
    shot(page, "tokens")


@pytest.mark.parametrize(("width", "language"), [(1440, "zh_CN"), (390, "en")])
def test_the_reference_of_the_interface(open_page, check, shot, width, language):
    page = open_page(Role.TENANT, width, language=language)
    page.goto("/settings/interface/")
    page.locator("summary", has_text="/requests/new/create").click()
    expect(page.locator("details.gj-operation[open]")).to_have_count(1)
    check(page)
    shot(page, "interface")


def test_a_service_and_a_calendar(open_page, check, shot):
    page = open_page(Role.SYSADMIN)
    page.goto("/settings/tokens/services/new")
    check(page)
    shot(page, "service-new")
    page.goto("/settings/tokens/calendar")
    check(page)
