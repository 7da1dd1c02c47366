"""What nobody should send: nonsense in every address and every form of the demo city, and no page that breaks.

Everything is sent to a copy of the city's book. A refusal says why; a break is a 500, or a book that no longer adds up.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from console import founding, i18n
from console.access import EVERYBODY, rule
from console.api.operations import PREFIX
from console.app import create_app
from console.book import EXTENSION
from console.settings import Settings
from quota import audit
from quota.actors import Role
from quota.ledger import entries
from tests import books
from tests.browser.conftest import LONG_MIN, WHOLE_WALKS

TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')
FIELD = re.compile(r'<(?:input|select|textarea)\b[^>]*?\bname="([^"]+)"')
ASKED = re.compile(r'(?:args|form|values)\.get(?:list)?\(\s*"([\w-]+)"|Filter\(\s*"(\w+)"')
ROOT = Path(__file__).resolve().parents[2]
KEPT = {"csrf_token", "step"}
UNSENT = {"auth.logout", "metrics.scrape", "static"}
"""Left out: what ends the session, and what programs read."""
UNPOSTED = {
    *UNSENT, "auth.login", "auth.password", "own_account.end", "own_account.end_others", "people.activate",
    "people.end_session", "people.end_sessions", "people.grant", "people.reset",
}  # fmt: skip
"""Where garbage that happens to be well formed would take away the accounts and sessions that the test needs."""
NUMBERS = ("1", "7", "999999", "2147483647", "2147483648", "9223372036854775808", "9" * 40)
WORDS = ("x", "🏛", "a%2F..", "%00", "1'--")
NONSENSE = (
    "",
    "-1",
    "9" * 30,
    "1e400",
    "NaN",
    "²",
    "\0",
    "‮🏛 <script>alert(1)</script> ' OR 1=1 --",
    "9999-99-99",
    "x" * 3000,
)
GARBAGE = {
    "nothing": "",
    "negative": "-99999999999999999999",
    "huge": "9" * 60,
    "float": "1e308",
    "digit": "²",
    "nul": "a\0b",
    "words": "‮🏛 <b>ª</b> '\"\\ \r\n\t",
    "long": "长" * 5_000,
}


ON_POSTGRES = os.environ.get("GUANJIA_TEST_PAGES") == "postgresql"
"""On PostgreSQL instead of SQLite, which is more particular about types, lengths and NUL (`make pages`)."""


@pytest.fixture(scope="module")
def city(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Flask, Path]:
    """A console on a copy of the demo city's book, beside the same lake; on PostgreSQL, on a demo city of its own."""
    i18n.compile_all()
    home = tmp_path_factory.mktemp("hostile")
    settings = Settings(data=home, demo=True, secret_key="h" * 40, idle_minutes=LONG_MIN)
    if ON_POSTGRES:
        settings = replace(settings, database=books.postgres(request.getfixturevalue("postgres"), "template1"))
        founding.found(settings, demo=True)
        return create_app(settings), home
    for path in request.getfixturevalue("demo_home").iterdir():
        if path.name.startswith("book.db") or path.name == founding.ACCOUNTS:
            shutil.copyfile(path, home / path.name)
        else:
            (home / path.name).symlink_to(path)
    return create_app(settings), home


@pytest.fixture(scope="module")
def visitor(city: tuple[Flask, Path]) -> dict[Role, FlaskClient]:
    """One who has logged in, of each role."""
    import json

    app, home = city
    passwords = json.loads((home / founding.ACCOUNTS).read_text("utf-8"))["accounts"]
    found = {}
    for role in EVERYBODY:
        client = app.test_client()
        form = {"login": role.value, "password": passwords[role.value], "csrf_token": token(client, "/login")}
        assert client.post("/login", data=form).status_code == 302
        found[role] = client
    return found


def token(client: FlaskClient, page: str = "/password") -> str:
    found = TOKEN.search(client.get(page).text)
    assert found
    return found[1]


def rules(app: Flask, method: str) -> Iterator[Rule]:
    without = UNSENT if method == "GET" else UNPOSTED
    for one in sorted(app.url_map.iter_rules(), key=lambda one: one.rule):
        if one.endpoint.startswith(PREFIX):
            continue  # programs' addresses take no session; test_api_fuzzed sends them nonsense
        if method in one.methods and one.endpoint not in without and rule(app, one.endpoint):
            yield one


def addresses(one: Rule) -> Iterator[str]:
    """The addresses of a rule with rows that are there, another's or none, and words that mean nothing."""
    for number, word in zip(NUMBERS, (*WORDS, *WORDS), strict=False):
        yield re.sub(r"<(?:(\w+)[^:>]*:)?\w+>", lambda found, n=number, w=word: n if found[1] == "int" else w, one.rule)
        if not one.arguments:
            return


def one_of(app: Flask, one: Rule, number: int) -> Role:
    """One of those who may come here, another for another ``number``."""
    roles = [role for role in EVERYBODY if role in (rule(app, one.endpoint) or ())]
    return roles[number % len(roles)]


def both_kinds(app: Flask, one: Rule, number: int) -> list[Role]:
    """One of those who may come here, and one who may not, if there is one."""
    others = [role for role in EVERYBODY if role not in (rule(app, one.endpoint) or ())]
    return [one_of(app, one, number), *others[number % max(1, len(others)) :][:1]]


SHARE = 1 if WHOLE_WALKS else 4
"""Each of so many pages and forms is sent one kind of nonsense, its neighbours others: all are sent some, and all of it is sent."""


def some(found: Iterator[Rule], turn: int) -> Iterator[Rule]:
    """Those whose ``turn`` it is."""
    return (one for number, one in enumerate(found) if number % SHARE == turn % SHARE)


def asked() -> list[str]:
    """Every name that a view asks the address for."""
    found = set()
    for path in [*(ROOT / "console").glob("*.py"), *(ROOT / "console" / "pages").rglob("*.py")]:
        for match in ASKED.finditer(path.read_text("utf-8")):
            found.add(match[1] or match[2])
    return sorted(found - KEPT | {"page", "sort", "export"})


class Broken(list[str]):
    """What did not end well, all of it at once."""

    def note(self, answer: TestResponse, about: str) -> None:
        """Answered, or refused in words: never a break."""
        if answer.status_code >= 500 or (
            answer.status_code >= 400 and answer.mimetype == "text/html" and "<h1" not in answer.text
        ):
            self.append(f"{about}: {answer.status_code}")


@pytest.mark.parametrize("role", EVERYBODY)
def test_no_address_breaks_a_page(city, visitor, role: Role) -> None:
    app, _home = city
    broken = Broken()
    for number, one in enumerate(rules(app, "GET")):
        if role in (rule(app, one.endpoint) or ()):
            every = WHOLE_WALKS or role is one_of(app, one, number)
            for address in addresses(one) if every else [next(addresses(one))]:
                broken.note(visitor[role].get(address), f"{role} GET {address}")
        else:
            answer = visitor[role].get(next(addresses(one)))
            assert answer.status_code in (403, 404), f"{role} GET {one.rule}: {answer.status_code}"
    assert broken == []


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_no_question_breaks_a_page(city, visitor, nonsense: str) -> None:
    app, _home = city
    query = dict.fromkeys(asked(), nonsense)
    broken = Broken()
    for number, one in enumerate(some(rules(app, "GET"), NONSENSE.index(nonsense))):
        role = one_of(app, one, number)
        broken.note(visitor[role].get(next(addresses(one)), query_string=query), f"{role} GET {one.rule}")
    assert broken == []


def test_nothing_is_done_without_the_token(city, visitor) -> None:
    app, _home = city
    for number, one in enumerate(rules(app, "POST")):
        for role in EVERYBODY if WHOLE_WALKS else both_kinds(app, one, number):
            for data in ({"csrf_token": "no-such-token"}, {}) if role is Role.SUPERVISOR else ({},):
                answer = visitor[role].post(next(addresses(one)), data=data)
                expected = (400,) if role in (rule(app, one.endpoint) or ()) else (403,)
                assert answer.status_code in (*expected, 404), f"{role} POST {one.rule}: {answer.status_code}"


@pytest.mark.parametrize("garbage", GARBAGE)
def test_no_form_breaks(city, visitor, garbage: str) -> None:
    app, _home = city
    broken = Broken()
    tokens = {role: token(visitor[role]) for role in EVERYBODY}
    turn = list(GARBAGE).index(garbage)
    for number, one in enumerate(some(rules(app, "POST"), turn), turn):
        role = one_of(app, one, number)
        for address in list(addresses(one))[:2]:
            page = visitor[role].get(address).text if "GET" in one.methods else ""
            names = {unescape(name) for name in FIELD.findall(page)} | {"generation", "reason", "text", "amount"}
            data = dict.fromkeys(names - KEPT, GARBAGE[garbage])
            for step in ("", "confirm"):
                sent = {**data, "csrf_token": tokens[role], **({"step": step} if step else {})}
                answer = visitor[role].post(address, data=sent)
                broken.note(answer, f"{role} POST {address} with {garbage}, {step or 'once'}")
    assert broken == []


def test_what_is_too_large_is_refused_in_words(city, visitor) -> None:
    steward = visitor[Role.SUPERVISOR]
    for size in (1024 * 1024 + 1, 3 * 1024 * 1024):
        answer = steward.post("/business/", data={"csrf_token": token(steward), "name": "x" * size})
        assert answer.status_code in (413, 422)
        assert "<h1" in answer.text


def test_the_book_still_adds_up(city) -> None:
    app, _home = city
    with app.extensions[EXTENSION].book.reading() as tx:
        assert entries.conserved(tx)
        assert list(audit.check(tx)) == []
