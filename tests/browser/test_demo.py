"""Every page of the demo city, for everybody who may open it, in a real browser; and the pictures of the README."""

from __future__ import annotations

import os
import re
from collections import deque
from html import unescape
from urllib.parse import urljoin

import pytest

from console.access import EVERYBODY, rule
from console.api.operations import PREFIX
from quota.actors import Role
from tests.browser.conftest import ROOT, WHOLE_WALKS, WIDTHS
from tests.browser.test_links import LINK, kind_of

NOT_PAGES = {"auth.logout", "auth.healthz", "auth.readyz", "metrics.scrape", "static"}


SEEN_BY_ALL = {"/", "/cockpit"}
"""Pages that are another for everybody."""


def looked_at(app, role):
    """Of the pages that ``role`` may open those that nobody before it may: each is looked at once, but for ``SEEN_BY_ALL``."""
    before = {url for one in EVERYBODY[: EVERYBODY.index(role)] for url in addresses(app, one)} - SEEN_BY_ALL
    return [url for url in addresses(app, role) if WHOLE_WALKS or url not in before]


def addresses(app, role):
    """Pages without parameters that ``role`` may open."""
    for one in sorted(app.url_map.iter_rules(), key=lambda one: one.rule):
        if (
            "GET" in one.methods
            and not one.arguments
            and one.endpoint not in NOT_PAGES
            and not one.endpoint.startswith(PREFIX)
            and role in (rule(app, one.endpoint) or ())
        ):
            yield one.rule


MIXED = re.compile(r"[\u3400-\u9fff”）][,;:?!(][\u3400-\u9fff“]|[\u3400-\u9fff][,;]|[,;?!)][\u3400-\u9fff]")
"""A Latin mark beside Chinese."""
TEXT = """() => [...document.querySelectorAll('pre, code')].reduce(
    (text, code) => text.replace(code.innerText, ' '), document.body.innerText)"""


def punctuated(page):
    """What people read on a Chinese page has Chinese marks, the words of the demo's people too; code has its own."""
    assert [line for line in page.evaluate(TEXT).splitlines() if MIXED.search(line)] == [], page.url


ELSEWHERE = {"/account/keys/add": 409}
"""Pages that say where they can be used: a security key is bound to a name, and this console is looked at by its number."""
FILES = (".csv", ".docx", ".html", ".json", ".parquet", ".pdf", ".xlsx")


@pytest.mark.parametrize("role", EVERYBODY)
def test_every_page_is_accessible_and_fits(open_page, check_widths, demo, role):
    page = open_page(role, at=demo)
    details = set()
    for url in looked_at(demo.app, role):
        if url.endswith(FILES):  # a file, which no browser opens as a page
            assert page.request.get(url).ok, url
            continue
        answer = page.goto(url)
        assert answer.status == ELSEWHERE.get(url, 200), url
        if "text/html" not in answer.headers["content-type"]:
            continue
        check_widths(page)
        punctuated(page)
        first = page.locator("#results tbody a, .gj-hits a").first
        if first.count():
            details.add(first.get_attribute("href"))
    for url in sorted(details):
        assert page.goto(url).status == 200, url
        check_widths(page)


def of_each_kind(page, app, role):
    """One address of every page about a thing (a case, a letter, a form about one) that ``role`` is led to."""
    waiting, seen, found = deque(addresses(app, role)), set(), {}
    while waiting:
        url = waiting.popleft()
        answer = page.request.get(url)
        if not answer.ok or "text/html" not in answer.headers["content-type"]:
            continue
        for link in map(unescape, LINK.findall(answer.text())):
            kind = kind_of(app, urljoin(url, link)) if link.startswith("/") else None
            if kind is None or kind in seen or not re.search(r"/\d", link) or link.endswith(FILES):
                continue
            seen.add(kind)
            found.setdefault(kind[0], link)
            waiting.append(link)
    return sorted(found.values())


@pytest.mark.parametrize(("role", "width"), [(Role.SUPERVISOR, 1440), (Role.TENANT, 390), (Role.PROVIDER, 1440)])
def test_pages_about_a_thing_are_accessible_and_fit(open_page, check, demo, role, width):
    page = open_page(role, width, at=demo)
    urls = of_each_kind(page, demo.app, role)
    assert len(urls) > 15, urls
    for url in urls:
        answer = page.goto(url)
        assert answer.status == 200, url
        if "text/html" in answer.headers["content-type"]:
            check(page)
            punctuated(page)


def test_decisions_of_every_kind_are_accessible(open_page, check_widths, demo):
    """Beside each decision lies its evidence: lists of links that no other page has, different for each kind."""
    kinds = set()
    for login in ("supervisor", "authority"):
        page = open_page(login, at=demo)
        page.goto("/decisions/")
        waiting = page.locator("tbody tr").all()
        rows = [
            (one.locator("a").first.get_attribute("href"), one.locator("td").nth(1).inner_text()) for one in waiting
        ]
        for url, kind in rows:
            kinds.add(kind)
            assert page.goto(url).status == 200, url
            check_widths(page)
    assert len(kinds) >= 3, kinds


SHOTS = {
    "cockpit": ("authority", "/cockpit"),
    "promises": ("authority", "/quota/promises/"),
    "quota": ("authority", "/quota/"),
    "findings": ("supervisor", "/findings/"),
    "scorecards": ("authority", "/scorecards/"),
    "decisions": ("supervisor", "/decisions/"),
    "requests": ("tenant", "/requests/"),
    "home-tenant": ("tenant", "/"),
    "home-supervisor": ("supervisor", "/"),
    "home-authority": ("authority", "/"),
    "home-provider": ("provider", "/"),
    "people": ("sysadmin", "/settings/people/"),
    "recoveries": ("supervisor", "/recoveries/"),
    "cases": ("supervisor", "/cases/"),
    "statements": ("supervisor", "/reports/statements/"),
    "statement-lines": ("tenant", "/reports/statements/lines"),
    "reconciliation": ("supervisor", "/reports/reconciliation/"),
    "disputes": ("provider", "/reports/disputes/"),
    "tariffs": ("authority", "/reports/tariffs/"),
    "monthly": ("authority", "/reports/monthly/"),
}
"""Name → (login, address). Views add their own."""


IN_ENGLISH = {
    found
    for text in (ROOT / "docs" / "en").glob("*.md")
    for found in re.findall(r"screenshots/([a-z-]+)-en-1440", text.read_text("utf-8"))
}
"""Pictures of the manuals in English."""


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("name", SHOTS)
def test_screenshots(open_page, shot, demo, name, width):
    login, url = SHOTS[name]
    page = open_page(login, width, at=demo)
    assert page.goto(url).status == 200
    assert page.locator("h1").count() == 1
    shot(page, name)
    if os.environ.get("GUANJIA_SHOTS") and width == max(WIDTHS) and name in IN_ENGLISH:
        page = open_page(login, width, language="en", at=demo)
        page.goto(url)
        shot(page, f"{name}-en")
