"""A console on an empty book, with one person of every role.

departments  A01 市教育局, A02 市水务局      companies  甲云
people       <role>1 of every role; tenant1 in A01, tenant2 in A02; provider1 of 甲云
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import make_url
from werkzeug.routing import Rule
from werkzeug.routing.matcher import State, StateMachineMatcher
from werkzeug.test import TestResponse

from console import i18n
from console.api import operations
from console.app import create_app
from console.settings import Settings
from quota.actors import Role
from quota.db import Book
from tests import books
from tests.city import CONSOLE, City

FOUNDED = datetime(2026, 5, 29, 2, 0, tzinfo=UTC)

_compile = Rule.compile
_compiled: dict[tuple[object, ...], Rule] = {}
COMPILED = ("_parts", "_trace", "_converters", "arguments")


def _compiled_once(rule: Rule) -> None:
    """What werkzeug makes of a rule's text is the same in every application.

    A console has some nine hundred rules, and making one for each test would mostly be this.
    """
    key = (rule.rule, repr(rule.defaults), rule.subdomain, rule.host, rule.merge_slashes)
    if key not in _compiled:
        _compile(rule)
        _compiled[key] = rule
        return
    first = _compiled[key]
    for name in COMPILED:
        setattr(rule, name, getattr(first, name))
    rule._build = first._build.__func__.__get__(rule)  # type: ignore[attr-defined]
    rule._build_unknown = first._build_unknown.__func__.__get__(rule)  # type: ignore[attr-defined]


Rule.compile = _compiled_once  # type: ignore[method-assign]


def _known(matcher: StateMachineMatcher, rule: Rule) -> None:
    """As werkzeug adds a rule, without a new state for each part that is known already: four in five."""
    state = matcher._root
    for part in rule._parts:
        if part.static:
            if part.content not in state.static:
                state.static[part.content] = State()
            state = state.static[part.content]
            continue
        known = next((after for before, after in state.dynamic if before == part), None)
        if known is None:
            known = State()
            state.dynamic.append((part, known))
        state = known
    state.rules.append(rule)


StateMachineMatcher.add = _known  # type: ignore[method-assign]

_operations = operations.operations
_operations_of: dict[tuple[tuple[str, str, Callable[..., Any]], ...], list[operations.Operation]] = {}


def _operations_once(app: Flask) -> list[operations.Operation]:
    """Applications with the same views have the same operations, and models of what these take are made once for all of them."""
    rules = [one for one in app.url_map.iter_rules() if one.endpoint != "static"]
    views = tuple((one.rule, one.endpoint, app.view_functions[one.endpoint]) for one in rules)
    if views not in _operations_of:
        _operations_of[views] = _operations(app)
    return list(_operations_of[views])


operations.operations = _operations_once


class CompiledTemplates(BytecodeCache):
    """Templates as they were compiled for the first application of this process; each test makes one of its own."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key + bucket.checksum in self.kept:
            bucket.bytecode_from_string(self.kept[bucket.key + bucket.checksum])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.kept[bucket.key + bucket.checksum] = bucket.bytecode_to_string()


Flask.jinja_options = {"bytecode_cache": CompiledTemplates()}

TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')


class Visit(FlaskClient):
    """A browser without scripts: ``send`` posts with the token of the last page."""

    token = ""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        answer = super().open(*args, **kwargs)
        if answer.mimetype == "text/html":
            found = TOKEN.search(answer.get_data(as_text=True))
            self.token = found.group(1) if found else self.token
        return answer

    def send(self, url: str, data: dict[str, Any] | None = None, **kwargs: Any) -> TestResponse:
        if not self.token:
            self.get("/password")
        return self.post(url, data={"csrf_token": self.token, **(data or {})}, **kwargs)

    def log_in(self, login: str, password: str, **kwargs: Any) -> TestResponse:
        self.get("/login")
        answer = self.send("/login", {"login": login, "password": password}, **kwargs)
        self.token = ""
        return answer


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, secret_key="t" * 40)


@pytest.fixture(scope="session", autouse=True)
def _catalog() -> None:
    i18n.compile_all()


ON_POSTGRES = os.environ.get("GUANJIA_TEST_PAGES") == "postgresql"
"""The pages and the stories on PostgreSQL instead of SQLite: what a city runs on (`make pages`)."""


@pytest.fixture(scope="session")
def founded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, City]:
    """A book with the city in it, made once."""
    if ON_POSTGRES:
        url = books.postgres(request.getfixturevalue("postgres"))
    else:
        url = books.sqlite(tmp_path_factory.mktemp("founded") / "book.db")
    book = Book(url, clock=lambda: FOUNDED)
    city = City(book, plan=CONSOLE)
    if not ON_POSTGRES:
        books.settle(book)
    book.dispose()
    return url, city


@pytest.fixture
def city(founded: tuple[Path, City]) -> City:
    return founded[1]


@pytest.fixture
def house(request: pytest.FixtureRequest, tmp_path: Path, clock: Any, founded: tuple[str, City]) -> Iterator[Book]:
    """The book of the city, for this test alone; its time is ``clock``."""
    made = make_url(founded[0])
    if ON_POSTGRES:
        url = books.postgres(request.getfixturevalue("postgres"), founded[0])
    else:
        shutil.copyfile(str(made.database), tmp_path / "book.db")
        url = f"sqlite:///{tmp_path / 'book.db'}"
    book = Book(url, clock=clock)
    yield book
    book.dispose()
    if ON_POSTGRES:
        books.drop(request.getfixturevalue("postgres"), url)


@pytest.fixture
def app(settings: Settings, house: Book) -> Flask:
    made = create_app(settings, house)
    made.test_client_class = Visit
    return made


@pytest.fixture
def client(app: Flask) -> Visit:
    """Somebody who has not logged in."""
    return app.test_client()  # type: ignore[return-value]


@pytest.fixture
def client_of(app: Flask, city: City) -> Callable[[Role | str], Visit]:
    """``client_of(Role.TENANT)`` or ``client_of("tenant2")`` → a client that has logged in."""

    def log_in(who: Role | str) -> Visit:
        login = f"{who.value}1" if isinstance(who, Role) else who
        visit: Visit = app.test_client()  # type: ignore[assignment]
        answer = visit.log_in(login, city.passwords[login])
        assert answer.status_code == 302, answer.get_data(as_text=True)
        return visit

    return log_in
