"""Nothing that a page offers leads nowhere: each person follows every kind of link of the demo city that they see."""

from __future__ import annotations

import re
from collections import Counter, deque
from html import unescape
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
from flask import Flask
from sqlalchemy import event
from werkzeug.exceptions import HTTPException

from console.book import EXTENSION
from tests.browser.conftest import WHOLE_WALKS, Live

LINK = re.compile(r"<a\b[^>]*?\shref=\"([^\"]*)\"")
ID = re.compile(r"\sid=\"([^\"]+)\"")
WELL = (200, 302, 303, 304)
OF_A_KIND = 2 if WHOLE_WALKS else 1
"""How many addresses of one page are followed; of those that ask for something (filters), one for each set of names."""
MAX_STATEMENTS = 60
"""A page that asks the book more often than this asks once for each row."""
PEOPLE = ("tenant", "supervisor", "authority", "provider", "auditor", "sysadmin", "secadmin", "audadmin")


def kind_of(app: Flask, address: str) -> tuple[str, ...] | None:
    """What an address of this house is an address of: its endpoint and the names of what it asks; None for none."""
    parts = urlsplit(address)
    try:
        endpoint, values = app.url_map.bind("localhost").match(parts.path, method="GET")
    except HTTPException:
        return ("nowhere", parts.path)
    words = tuple(str(one) for one in values.values() if isinstance(one, str))
    asked = sorted(name for name, value in parse_qsl(parts.query) if value and name not in ("page", "sort"))
    return None if endpoint in ("static", "auth.language", "auth.look") else (endpoint, *words, *asked)


@pytest.mark.parametrize("login", PEOPLE)
def test_every_link_leads_somewhere(demo: Live, login: str) -> None:
    client = demo.app.test_client()
    token = re.search(r'name="csrf-token" content="([^"]+)"', client.get("/login").text)
    assert token
    form = {"login": login, "password": demo.passwords[login], "csrf_token": token[1]}
    assert client.post("/login", data=form).status_code == 302

    asked = 0

    def count(*_of: object) -> None:
        nonlocal asked
        asked += 1

    engine = demo.app.extensions[EXTENSION].book.engine
    event.listen(engine, "before_cursor_execute", count)
    seen: Counter[tuple[str, ...]] = Counter()
    waiting, known, dead, talkative = deque([("/", "")]), {"/"}, [], []
    try:
        while waiting:
            address, leading = waiting.popleft()
            asked = 0
            answer = client.get(address)
            if answer.status_code not in WELL:
                dead.append(f"{address} ({answer.status_code}) on {leading}")
                continue
            if answer.mimetype != "text/html":
                continue
            if asked > MAX_STATEMENTS:
                talkative.append(f"{address}: {asked}")
            ids = set(ID.findall(answer.text))
            for found in map(unescape, LINK.findall(answer.text)):
                if found.startswith(("http:", "https:", "mailto:")):
                    continue
                whole, _hash, fragment = urljoin(address, found).partition("#")
                if found.startswith("#"):
                    if fragment not in ids:
                        dead.append(f"#{fragment} on {address}")
                    continue
                kind = kind_of(demo.app, whole)
                if kind is None or whole in known or seen[kind] >= (1 if "?" in whole else OF_A_KIND):
                    continue
                seen[kind] += 1
                known.add(whole)
                waiting.append((whole, address))
    finally:
        event.remove(engine, "before_cursor_execute", count)
    assert dead == []
    assert talkative == []
    assert len(known) > 5
