"""The demo city founded on other days than today: a Sunday, holidays, both ends of a month and of a year, a leap day.

A small city is founded on days that are two of these at once where there are such; in it those departments alone have
machines whose clerks have accounts. With ``GUANJIA_WHOLE_DAYS=1`` (``make test-days``) the whole one is founded on every day, which takes
minutes a day.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient

from console import founding, i18n
from console.access import EVERYBODY, rule
from console.accounts import passwords
from console.api.operations import PREFIX
from console.app import create_app
from console.settings import Settings
from console.verification.checks import examine
from metering.lake.store import Lake
from metering.workbench import Workbench
from quota.actors import Role
from quota.calendar import ZONE, WorkingDays
from quota.db import Book
from quota.ledger import entries
from tests.features import DAYS, OF_SEVERAL_KINDS, missing

WHOLE = bool(os.environ.get("GUANJIA_WHOLE_DAYS"))
NOT_PAGES = {"auth.logout", "auth.healthz", "auth.readyz", "metrics.scrape", "static"}


def test_the_days_are_what_they_are_called() -> None:
    worked = WorkingDays()
    day = {name: at.astimezone(ZONE).date() for name, at in DAYS.items()}
    for name in ("working day", "working New Year's Eve"):
        assert day[name].weekday() < 5
        assert worked.is_working(day[name])
    for name in ("Sunday", "Sunday and New Year's Eve"):
        assert day[name].weekday() == 6
        assert not worked.is_working(day[name])
    assert (day["Sunday and New Year's Eve"].month, day["Sunday and New Year's Eve"].day) == (12, 31)
    holiday, leap = day["holiday and first of a month"], day["29 February and last of a month"]
    assert (holiday.weekday() < 5, worked.is_working(holiday), holiday.day) == (True, False, 1)
    assert day["weekend that is worked"].weekday() >= 5
    assert worked.is_working(day["weekend that is worked"])
    assert (leap.month, leap.day, worked.published(leap)) == (2, 29, False)


@pytest.fixture(params=DAYS if WHOLE else OF_SEVERAL_KINDS)
def at(request: pytest.FixtureRequest) -> datetime:
    return DAYS[request.param]


@pytest.fixture
def works(at: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    """The demo city of that day, its clock standing still."""
    # What a password costs to guess is not what is tested here: a dozen are made for each city.
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    founding.found(Settings(data=tmp_path), demo=True, at=at, small=not WHOLE)
    book = Book(Settings(data=tmp_path).database_url, clock=lambda: at)
    yield Workbench(book, Lake(tmp_path / "lake"), tmp_path)
    book.dispose()
    shutil.rmtree(tmp_path / "lake")


def test_everything_is_shown_and_every_page_opens(works: Workbench) -> None:
    with works.book.reading() as tx:
        assert missing(tx) == []
        assert entries.conserved(tx)
    if WHOLE:
        found = examine(works)
        assert found.clean, found.problems[:5]
    i18n.compile_all()
    app = create_app(replace(Settings(data=works.home), demo=True), works.book)
    clients: dict[Role, FlaskClient] = {}
    refused = []
    for address, role in _pages(app):
        if role not in clients:
            clients[role] = _logged_in(app, works.home, role)
        answer = clients[role].get(address)
        if answer.status_code not in (200, 302):
            refused.append((address, role, answer.status_code))
    assert len(clients) > 3
    assert refused == []


def _pages(app: Flask) -> Iterator[tuple[str, Role]]:
    """Every page without parameters, with one of those who may open it."""
    for one in sorted(app.url_map.iter_rules(), key=lambda one: one.rule):
        may = rule(app, one.endpoint)
        role = next((role for role in EVERYBODY if role in (may or ())), None)
        if (
            "GET" in (one.methods or ())
            and not one.arguments
            and one.endpoint not in NOT_PAGES
            and role
            and not one.endpoint.startswith(PREFIX)
        ):
            yield one.rule, role


def _logged_in(app: Flask, home: Path, role: Role) -> FlaskClient:
    first = json.loads((home / founding.ACCOUNTS).read_text("utf-8"))["accounts"]
    client = app.test_client()
    token = re.search(r'name="csrf-token" content="([^"]+)"', client.get("/login").text)
    assert token
    form = {"login": role.value, "password": first[role.value], "csrf_token": token[1]}
    assert client.post("/login", data=form).status_code == 302
    return client
