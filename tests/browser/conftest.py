"""A real browser on a real server: pages as people see them, checked by axe-core, and their screenshots.

``GUANJIA_SHOTS=folder`` saves what ``shot`` is asked for, at 1440 and 390 px. ``GUANJIA_WHOLE_WALKS=1`` (``make test-walks``) lets
everybody see every page and be sent every nonsense, and looks at colours at each width; otherwise each page is seen by one of those who
may open it, its colours at the widest, where most of it is shown, and of texts of the same colours three: they are half of what
axe-core does.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright
from werkzeug.serving import make_server

from console import assets, founding, i18n
from console.app import create_app
from console.settings import Settings
from quota.actors import Role
from quota.db import Book
from tests import books
from tests.city import CONSOLE, City
from tests.patience import PAGE_MS, PATIENCE

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = (1440, 390)
WHOLE_WALKS = bool(os.environ.get("GUANJIA_WHOLE_WALKS"))
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
LONG_MIN = 24 * 60
"""Nobody is logged out for having been idle: who logged in for one test is seen again whenever the next needs them."""

expect.set_options(timeout=PAGE_MS)
TEXTS = """all => {
    // How text stands out is a matter of its colours, of what lies behind it and of its size: of texts that are alike in these, three
    // are looked at (the first, one in the middle, the last), as each costs a look at all that lies in its place.
    const alike = new Map();
    for (const one of document.body.querySelectorAll('*')) {
        const field = one.matches('input, select, textarea');
        const says = field || [...one.childNodes].some(each => each.nodeType === 3 && each.nodeValue.trim());
        if (!says || !one.checkVisibility()) continue;
        const own = getComputedStyle(one);
        const label = one.closest('label');
        const told = [one.tagName, own.color, own.fontSize, own.fontWeight, own.textShadow, own.webkitTextFillColor,
            one.matches(':disabled'), !!one.closest('[aria-disabled="true"]'), !!label?.control?.disabled, field && one.type];
        for (let each = one; each; each = each.parentElement) {
            const style = getComputedStyle(each);
            told.push(style.backgroundColor, style.backgroundImage, style.opacity, style.filter, style.position);
        }
        const key = told.join('|');
        alike.set(key, [...(alike.get(key) ?? []), one]);
    }
    for (const many of alike.values())
        for (const one of all ? many : [many[0], many[many.length >> 1], many.at(-1)]) one.dataset.contrast = '';
    axe.configure({rules: [{id: 'color-contrast', selector: '[data-contrast]'}]});
}"""

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@dataclass
class Live:
    """A server that answers on the loopback, and who may log in there."""

    address: str
    passwords: dict[str, str]
    app: Flask
    cookies: dict[str, list[dict[str, object]]] = field(default_factory=dict)


def serve(app: Flask, passwords: dict[str, str]) -> Iterator[Live]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Live(f"http://127.0.0.1:{server.server_port}", passwords, app)
    server.shutdown()
    thread.join(PATIENCE)
    server.server_close()


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A console on the small city of tests/city.py."""
    assert assets.ready(), "run python -m console.assets first"
    i18n.compile_all()
    data = tmp_path_factory.mktemp("live")
    settings = Settings(data=data, idle_minutes=LONG_MIN)
    book = Book(books.sqlite(data / "book.db"))
    city = City(book, plan=CONSOLE)
    yield from serve(create_app(settings, book), city.passwords)
    book.dispose()


@pytest.fixture(scope="session")
def demo(demo_home: Path) -> Iterator[Live]:
    """A console on the demo city, as ``make run`` shows it."""
    assert assets.ready(), "run python -m console.assets first"
    i18n.compile_all()
    passwords = json.loads((demo_home / founding.ACCOUNTS).read_text(encoding="utf-8"))["accounts"]
    yield from serve(create_app(Settings(data=demo_home, demo=True, idle_minutes=LONG_MIN)), passwords)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    # The shell of its own is the same engine without a desktop's windows: 40 % less work where Debian has it.
    found = os.environ.get("GUANJIA_CHROMIUM") or shutil.which("chromium-headless-shell") or shutil.which("chromium")
    path = found or "/usr/bin/chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=CHROMIUM, timeout=PATIENCE * 1000)
        yield running
        running.close()


def context_of(browser: Browser, **options: Any) -> BrowserContext:
    """A window of its own, patient with a busy machine."""
    context = browser.new_context(**options)
    context.set_default_timeout(PAGE_MS)
    return context


def follow(pressed: Locator) -> None:
    """Click what sends a form or leads to a page, and be back when the answer is there, at the same address, too.

    A click by itself may be over before the answer begins: who then reads the page may read the old one.
    """
    with pressed.page.expect_navigation():
        pressed.click()


@pytest.fixture
def open_page(browser: Browser, live: Live) -> Iterator[Callable[..., Page]]:
    """``open_page(Role.TENANT or login or None, width, look, language, at)`` → a page, logged in unless for None.

    What the browser complains of (scripts that fail, anything that the content security policy stops) fails the test.
    """
    contexts, troubles = [], []

    def open_for(
        who: Role | str | None, width: int = 1440, look: str = "light", language: str = "zh_CN", at: Live = live
    ) -> Page:
        context = context_of(
            browser,
            viewport={"width": width, "height": 900 if width > 500 else 844},
            color_scheme="dark" if look == "dark" else "light",
            base_url=at.address,
            device_scale_factor=1 if width > 500 else 2,
        )
        contexts.append(context)
        context.add_cookies([{"name": "language", "value": language, "url": at.address}])
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        if who is not None:
            login = (
                who if not isinstance(who, Role) else f"{who.value}1" if f"{who.value}1" in at.passwords else who.value
            )
            if login not in at.cookies:
                page.goto("/login")
                page.fill("#login", login)
                page.fill("#password", at.passwords[login])
                page.click("main button.btn-primary")
                page.wait_for_url(at.address + "/")
                at.cookies[login] = [one for one in context.cookies() if one["name"] == "guanjia"]
            context.add_cookies(at.cookies[login])
        return page

    yield open_for
    for context in contexts:
        context.close()
    expected = ("Failed to load resource",)  # a page that is meant to be a 403 or 404 says so in the console
    assert [one for one in troubles if not one.startswith(expected)] == []


@pytest.fixture(scope="session")
def axe() -> str:
    return (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def check(axe: str) -> Callable[..., None]:
    """Fails where axe-core finds a fault, or where the page is wider than the window."""

    def look(page: Page, colours: bool = True) -> None:
        page.wait_for_load_state("load")
        if not page.evaluate("'axe' in window"):
            page.evaluate(axe)
        width = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1], f"{page.url}: {width[0]} px wide in a window of {width[1]}"
        if colours:
            page.evaluate(TEXTS, WHOLE_WALKS)
        asked = {
            "runOnly": RULES,
            "resultTypes": ["violations"],
            "rules": {"color-contrast": {"enabled": colours}},
        }
        found = page.evaluate("asked => axe.run(document, asked)", asked)
        faults = [
            f"{one['id']}: {one['help']}: {node['html'][:200]} {node['failureSummary'][:300]}"
            for one in found["violations"]
            for node in one["nodes"][:5]
        ]
        assert faults == [], f"{page.url}\n" + "\n".join(faults)

    return look


@pytest.fixture
def check_widths(check: Callable[..., None]) -> Callable[[Page], None]:
    """``check`` at each of WIDTHS, of a page that is loaded once: what is dear is to make and to load it."""

    def look(page: Page) -> None:
        size = page.viewport_size
        assert size is not None
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": size["height"]})
            check(page, colours=WHOLE_WALKS or width == max(WIDTHS))

    return look


@pytest.fixture
def shot() -> Callable[..., None]:
    """``shot(page, name)`` saves the page as it is, where screenshots are asked for."""
    folder = os.environ.get("GUANJIA_SHOTS")

    def save(page: Page, name: str, full: bool = False) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            size = page.viewport_size
            assert size is not None
            page.wait_for_load_state("networkidle")
            page.screenshot(path=Path(folder) / f"{name}-{size['width']}.png", full_page=full)

    return save
