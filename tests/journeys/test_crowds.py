"""Two hundred people at once before a console of real processes: a hundred hand in for what a quarter of them can have, a hundred
sign where four sign the same. On both databases nothing is given twice, lost or half done, and nobody sees an error page."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import requests as http
from sqlalchemy import func, select

from console.accounts import accounts, passwords, sessions
from console.accounts.origins import Origin
from console.accounts.proofs import Proof
from console.app import create_app
from console.schema import upgrade
from console.settings import Settings
from quota.actors import Role
from quota.db import Book
from quota.directory import Department
from quota.ledger import Holder
from quota.requests.asks import Line
from quota.requests.tables import Request, RequestState, RequestStep
from tests.city import TOWN, City
from tests.patience import A_WHILE_S, PATIENCE, free_port, together, until

EACH, MACHINE, FREE = 100, 4, 200
"""People of each side, vCPU of a machine, and vCPU of the pool."""
WAITING = 25
"""Requests that wait for a signature: they hold half of the pool."""
LEFT = (FREE - WAITING * MACHINE) // MACHINE
SECRET = "c" * 40


class Crowd:
    """A town with a hundred clerks, each with a draft, and a hundred supervisors, and its console: ``address``."""

    def __init__(self, book: Book, settings: Settings) -> None:
        self.book, self.city = book, City(book, plan=TOWN)
        self.app = create_app(settings, book)
        first = passwords.random()
        secret = (first, passwords.hashed(first))
        self.cookies: dict[str, str] = {}
        with book.transaction(self.city.people["chief"]) as tx:
            bureau = tx.get_one(Department, self.city.department)
            for number in range(EACH):
                for role, of in ((Role.TENANT, bureau), (Role.SUPERVISOR, None)):
                    who, _first = accounts.enrol(
                        tx, f"{role}{number}", f"{number} 号", role, department=of, granted=True, must_change=False,
                        secret=secret,
                    )  # fmt: skip
                    token = sessions.start(tx, who, Proof(who.id, "password", who.session_epoch), Origin("127.0.0.1"))
                    self.cookies[who.login] = self._cookie(token, int(tx.now.timestamp()))
        one = [Line(item_id=self.city.item, quantity=1)]
        self.waiting = [self.city.submit(lines=one).id for _ in range(WAITING)]
        self.drafts = [self.city.draft(lines=one).id for _ in range(EACH)]

    def _cookie(self, token: str, now: int) -> str:
        """What a browser holds that has logged in: two hundred passwords are another test's matter."""
        client = self.app.test_client()
        with client.session_transaction() as held:
            held.update(_user_id=token, _fresh=True, started=now, seen=now)
        cookie = client.get_cookie(self.app.config["SESSION_COOKIE_NAME"])
        assert cookie is not None
        return cookie.value

    def browser(self, login: str) -> http.Session:
        made = http.Session()
        made.cookies.set(self.app.config["SESSION_COOKIE_NAME"], self.cookies[login], domain="127.0.0.1", path="/")
        return made


def heard(address: str) -> bool:
    with suppress(http.ConnectionError, http.Timeout):
        return http.get(address, timeout=A_WHILE_S).ok
    return False


@pytest.fixture
def crowd(book_url: str, tmp_path) -> Iterator[Crowd]:
    settings = Settings(
        data=tmp_path, database=book_url if book_url.startswith("postgresql") else "", secret_key=SECRET
    )
    book = Book(book_url)
    with book.engine.begin() as connection:  # its tables are those that migrations make (tests/console/test_schema.py)
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{upgrade.newest()}')")
    made = Crowd(book, settings)
    port = free_port()
    made.address = f"http://127.0.0.1:{port}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GUANJIA_")}
    environment |= {"GUANJIA_DATA": str(tmp_path), "GUANJIA_SECRET_KEY": SECRET}
    environment |= {"GUANJIA_DATABASE": settings.database} if settings.database else {}
    command = [sys.executable, "-m", "console.cli", "serve", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        until(lambda: process.poll() is not None or heard(f"{made.address}/healthz"), "an answer of the console", 0.1)
        assert process.poll() is None, "the console ended"
        yield made
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        book.dispose()


def seen(browser: http.Session, page: str) -> dict[str, str]:
    """What the form of a page sends by itself."""
    text = browser.get(page, timeout=PATIENCE).text
    token = re.search(r'name="csrf-token" content="([^"]+)"', text)
    generation = re.search(r'name="generation"[^>]*value="(\d+)"', text)
    assert token is not None, text[:2000]
    assert generation is not None, text[:2000]
    return {"csrf_token": token[1], "generation": generation[1]}


def test_two_hundred_hand_in_and_sign_at_once(crowd: Crowd) -> None:
    gate = threading.Barrier(2 * EACH)
    handed_in: list[tuple[int, int, str]] = []
    signed: list[tuple[int, int]] = []

    def hands_in(login: str, number: int) -> None:
        browser, page = crowd.browser(login), f"{crowd.address}/requests/{number}"
        form = seen(browser, f"{page}/check")
        gate.wait(PATIENCE)
        answer = browser.post(f"{page}/submit", form, timeout=PATIENCE, allow_redirects=False)
        handed_in.append((number, answer.status_code, answer.headers.get("Location", "")))

    def signs(login: str, number: int) -> None:
        browser, page = crowd.browser(login), f"{crowd.address}/decisions/{number}"
        form = seen(browser, page)
        gate.wait(PATIENCE)
        form |= {"decision": "approve", "reason": "材料齐全"}
        signed.append((number, browser.post(page, form, timeout=PATIENCE, allow_redirects=False).status_code))

    works: list[Callable[[], None]] = []
    for n in range(EACH):
        works.append(lambda n=n: hands_in(f"tenant{n}", crowd.drafts[n]))  # type: ignore[misc]
        works.append(lambda n=n: signs(f"supervisor{n}", crowd.waiting[n % WAITING]))  # type: ignore[misc]
    together(*works)

    assert Counter(code for _number, code in signed) == {302: WAITING, 409: EACH - WAITING}
    assert {number for number, code in signed if code == 302} == set(crowd.waiting), "each once"
    assert {code for _number, code, _to in handed_in} <= {302, 409, 422}, Counter(code for _n, code, _to in handed_in)
    taken = {number for number, code, to in handed_in if code == 302 and to.endswith(f"/requests/{number}")}
    with crowd.book.reading() as tx:
        states = dict(tx.execute(select(Request.id, Request.state).where(Request.id.in_(crowd.drafts))).all())
        signatures = tx.execute(
            select(RequestStep.request_id, func.count())
            .where(RequestStep.request_id.in_(crowd.waiting), RequestStep.decided_at.is_not(None))
            .group_by(RequestStep.request_id)
        ).all()
    assert {number for number, state in states.items() if state == RequestState.IN_REVIEW} == taken
    assert {number for number, state in states.items() if state == RequestState.DRAFT} == set(crowd.drafts) - taken
    assert len(taken) == LEFT
    assert dict(signatures) == dict.fromkeys(crowd.waiting, 1)
    assert crowd.city.balance(Holder.HELD) == FREE
    assert crowd.city.balance(Holder.FREE) == 0
    crowd.city.prove()
