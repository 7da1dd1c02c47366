"""A real browser on a real server: pages as people see them, checked by axe-core, and their screenshots.

``GUANJIA_SHOTS=folder`` saves what ``shot`` is asked for, at 1440 and 390 px.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, sync_playwright
from werkzeug.serving import make_server

from console import assets, founding, i18n
from console.app import create_app
from console.settings import Settings
from quota.actors import Role
from quota.db import Base, Book
from tests.city import found_city

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = (1440, 390)
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
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
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A console on the small city of tests/city.py."""
    assert assets.ready(), "run python -m console.assets first"
    i18n.compile_all()
    data = tmp_path_factory.mktemp("live")
    settings = Settings(data=data)
    book = Book(settings.database_url)
    Base.metadata.create_all(book.engine)
    city = found_city(book)
    yield from serve(create_app(settings, book), city.passwords)
    book.dispose()


@pytest.fixture(scope="session")
def demo(demo_home: Path) -> Iterator[Live]:
    """A console on the demo city, as ``make run`` shows it."""
    assert assets.ready(), "run python -m console.assets first"
    i18n.compile_all()
    passwords = json.loads((demo_home / founding.ACCOUNTS).read_text(encoding="utf-8"))["accounts"]
    yield from serve(create_app(replace(Settings(data=demo_home), demo=True)), passwords)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = os.environ.get("GUANJIA_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=CHROMIUM)
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Browser, live: Live) -> Iterator[Callable[..., Page]]:
    """``open_page(Role.TENANT or login or None, width, look, language, at)`` → a page, logged in unless for None.

    What the browser complains of (scripts that fail, anything that the content security policy stops) fails the test.
    """
    contexts, troubles = [], []

    def open_for(
        who: Role | str | None, width: int = 1440, look: str = "light", language: str = "zh_CN", at: Live = live
    ) -> Page:
        context = browser.new_context(
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
def check(axe: str) -> Callable[[Page], None]:
    """Fails where axe-core finds a fault, or where the page is wider than the window."""

    def look(page: Page) -> None:
        page.wait_for_load_state("load")
        width = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1], f"{page.url}: {width[0]} px wide in a window of {width[1]}"
        page.evaluate(axe)
        found = page.evaluate("tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", RULES)
        faults = [
            f"{one['id']}: {one['help']}: {node['html'][:200]} {node['failureSummary'][:300]}"
            for one in found["violations"]
            for node in one["nodes"][:5]
        ]
        assert faults == [], f"{page.url}\n" + "\n".join(faults)

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
