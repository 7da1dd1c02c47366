"""People log in at a real OpenID provider in a real browser, wait for their grant, get in, and leave from either side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from console import assets, i18n
from console.accounts import SignIn, accounts
from console.app import create_app
from console.identity import connections, rulebook
from console.settings import Settings
from quota.actors import Role, steward
from quota.db import Book
from quota.directory import Person
from tests import books
from tests.browser.conftest import Live, context_of, serve
from tests.city import CONSOLE, City
from tests.identity import CLIENT, SECRET, Provider, provider
from tests.identity.cas import SECRET as CAS_PASSWORD
from tests.identity.cas import CasServer, cas_server
from tests.patience import until

RULES = {
    "login": "preferred_username", "create": True, "department": "org_code",
    "roles": [{"claim": "groups", "value": "staff", "role": "tenant"}],
}  # fmt: skip

CAS_RULES = {
    "login": "user", "name": "displayName", "link": True, "department": "orgCode",
    "roles": [{"claim": "memberOf", "value": "staff", "role": "tenant"}],
}  # fmt: skip


@dataclass
class Town:
    """A console, and the provider and the CAS server that know it."""

    live: Live
    oa: Provider
    sso: CasServer
    book: Book


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    assert assets.ready(), "run python -m console.assets first"
    i18n.compile_all()
    data = tmp_path_factory.mktemp("town")
    secrets = data / "secrets"
    secrets.mkdir()
    (secrets / "oa").write_text(SECRET)
    book = Book(books.sqlite(data / "book.db"))
    city = City(book, plan=CONSOLE)
    for live in serve(create_app(Settings(data=data), book), city.passwords):
        with provider(data, live.address) as oa, cas_server(data, f"{live.address}/identity/sso/back") as sso:
            with book.transaction(steward()) as tx:
                options = {"issuer": oa.issuer, "client_id": CLIENT, "client_secret": f"file:{secrets / 'oa'}"}
                source = connections.register(tx, "oa", "oidc", "市OA", options)
                rulebook.enact(tx, source, RULES, "试用")
                source = connections.register(tx, "sso", "cas", "统一认证", {"server": sso.address})
                rulebook.enact(tx, source, CAS_RULES, "试用")
            yield Town(live, oa, sso, book)
    book.dispose()


@pytest.fixture
def visit(browser: Browser, town: Town) -> Iterator[Callable[[], Page]]:
    contexts = []

    def opened(width: int = 1440) -> Page:
        context = context_of(browser, viewport={"width": width, "height": 900}, base_url=town.live.address)
        contexts.append(context)
        context.add_cookies([{"name": "language", "value": "zh_CN", "url": town.live.address}])
        return context.new_page()

    yield opened
    for context in contexts:
        context.close()


def come(page: Page, who: str) -> None:
    """By the button, through the provider, back."""
    page.goto("/login")
    page.get_by_role("link", name="用市OA登录").click()
    page.fill("#who", who)
    page.get_by_role("button", name="In").click()


def person(town: Town, login: str) -> Person | None:
    with town.book.reading() as tx:
        found: Person | None = tx.scalar(select(Person).where(Person.login == login))
        return found


def open_sessions(town: Town, login: str) -> int:
    with town.book.reading() as tx:
        query = select(SignIn.id).join(Person).where(Person.login == login, SignIn.ended_at.is_(None))
        return len(tx.scalars(query).all())


def test_from_the_first_visit_to_leaving_everywhere(
    town: Town, visit: Callable[..., Page], check: Callable[[Page], None], shot: Callable[..., None]
) -> None:
    page = visit()
    page.goto("/login")
    check(page)
    shot(page, "login-with-source")
    come(page, "u-0001")
    expect(page.get_by_role("alert")).to_contain_text("账号未启用")
    check(page)
    who = person(town, "wang.fang")
    assert who is not None
    assert not who.granted

    granting = visit()
    granting.goto("/login")
    granting.fill("#login", "secadmin1")
    granting.fill("#password", town.live.passwords["secadmin1"])
    granting.get_by_role("button", name="登录", exact=True).click()
    granting.get_by_role("link", name="王芳").click()
    granting.get_by_role("link", name="授权", exact=True).click()
    granting.get_by_role("button", name="授权", exact=True).click()
    expect(granting.locator("main")).to_contain_text("启用")

    # The provider still knows this browser: one click, and in.
    page.goto("/login")
    page.get_by_role("link", name="用市OA登录").click()
    page.wait_for_url(town.live.address + "/")
    expect(page.locator(".gj-who")).to_contain_text("王芳")
    page.goto("/identity/")
    check(page)
    shot(page, "own-ways")

    # Leaving here leads on to the provider, and leaving there back.
    page.locator(".gj-menu summary").click()
    page.get_by_role("button", name="退出").click()
    page.get_by_role("button", name="Leave").click()
    page.wait_for_url(town.live.address + "/login")
    assert open_sessions(town, "wang.fang") == 0
    page.get_by_role("link", name="用市OA登录").click()
    expect(page.locator("#who")).to_be_visible()  # the provider has forgotten, too


def test_leaving_there_ends_the_session_here(town: Town, visit: Callable[..., Page]) -> None:
    town.oa.tell("u-0005", preferred_username="li.na", name="李娜", groups=["staff"], org_code="A01")
    page = visit()
    come(page, "u-0005")
    with town.book.transaction(steward()) as tx:
        who = tx.scalars(select(Person).where(Person.login == "li.na")).one()
        found = accounts.person(tx, who.id)
        accounts.grant(tx, found, Role.TENANT, department=found.department)
    page.goto("/login")
    page.get_by_role("link", name="用市OA登录").click()
    page.wait_for_url(town.live.address + "/")
    assert open_sessions(town, "li.na") == 1
    page.goto(f"{town.oa.issuer}/session/end")
    page.get_by_role("button", name="Leave").click()
    until(lambda: open_sessions(town, "li.na") == 0, "the provider's word that somebody left")
    page.goto("/")
    page.wait_for_url("**/login*")


def test_by_cas_and_away_from_either_side(
    town: Town, visit: Callable[..., Page], check: Callable[[Page], None], shot: Callable[..., None]
) -> None:
    town.sso.tell("tenant1", displayName="租户", orgCode="A01", memberOf=["staff"])
    page = visit()

    def come() -> None:
        page.goto("/login")
        page.get_by_role("link", name="用统一认证登录").click()

    come()
    page.fill("#id_username", "tenant1")
    page.fill("#id_password", CAS_PASSWORD)
    page.get_by_role("button", name="Login").click()
    page.wait_for_url(town.live.address + "/")
    assert open_sessions(town, "tenant1") == 1
    page.context.clear_cookies(name="guanjia")
    come()  # the server still knows this browser
    page.wait_for_url(town.live.address + "/")
    assert open_sessions(town, "tenant1") == 2

    # Leaving there ends what was opened here, by the server's own word of each ticket.
    page.goto(f"{town.sso.address}/logout")
    until(lambda: open_sessions(town, "tenant1") == 0, "the server's word that somebody left")
    page.goto("/")
    page.wait_for_url("**/login*")
    check(page)

    # Leaving here leads on to leave there.
    come()
    page.fill("#id_username", "tenant1")
    page.fill("#id_password", CAS_PASSWORD)
    page.get_by_role("button", name="Login").click()
    page.wait_for_url(town.live.address + "/")
    page.locator(".gj-menu summary").click()
    page.get_by_role("button", name="退出").click()
    page.wait_for_url(town.live.address + "/login")
    come()
    expect(page.locator("#id_username")).to_be_visible()  # the server has forgotten, too


def test_who_enrolled_a_second_factor_comes_by_the_provider_and_is_asked_for_it(
    town: Town, visit: Callable[..., Page], check: Callable[[Page], None]
) -> None:
    town.oa.tell("u-0006", preferred_username="zhou.jie", name="周杰", groups=["staff"], org_code="A01")
    page = visit()
    come(page, "u-0006")
    expect(page.get_by_role("alert")).to_contain_text("账号未启用")
    with town.book.transaction(steward()) as tx:
        who = tx.scalars(select(Person).where(Person.login == "zhou.jie")).one()
        found = accounts.person(tx, who.id)
        accounts.grant(tx, found, Role.TENANT, department=found.department)

    def by_provider() -> None:
        """The provider still knows this browser: one click."""
        page.goto("/login?next=/account/")
        page.get_by_role("link", name="用市OA登录").click()

    by_provider()
    page.get_by_role("link", name="登记两步验证").first.click()
    page.click("main button.btn-primary")  # who came a moment ago is asked for no password
    authenticator = pyotp.TOTP((page.text_content(".gj-secret") or "").replace(" ", ""))
    page.fill("#passcode", authenticator.now())
    page.click("main button.btn-primary")
    recovery = page.locator(".gj-codes code").first.text_content() or ""

    # Another day: the provider's word alone opens nothing, a wrong answer neither.
    page.context.clear_cookies(name="guanjia")
    by_provider()
    expect(page.locator("#passcode")).to_be_visible()
    check(page)
    assert open_sessions(town, "zhou.jie") == 1, "the session of before; none was opened"
    page.fill("#passcode", "wrong-code")
    page.click("main button.btn-primary")
    expect(page.locator("#errors")).to_be_visible()
    page.fill("#passcode", recovery)
    page.click("main button.btn-primary")
    page.wait_for_url(town.live.address + "/account/")
    with town.book.reading() as tx:
        newest = tx.scalars(
            select(SignIn).join(Person).where(Person.login == "zhou.jie").order_by(SignIn.id.desc())
        ).first()
    assert newest is not None
    assert newest.method == "oidc"
    assert newest.factor


@pytest.mark.parametrize("width", [1440, 390])
def test_the_pages_of_the_security_administrator(
    town: Town, visit: Callable[..., Page], check: Callable[[Page], None], shot: Callable[..., None], width: int
) -> None:
    page = visit(width)
    page.goto("/login")
    check(page)
    page.fill("#login", "secadmin1")
    page.fill("#password", town.live.passwords["secadmin1"])
    page.get_by_role("button", name="登录", exact=True).click()
    page.wait_for_url(town.live.address + "/")
    for name, path in {
        "identity-sources": "/settings/identity/", "identity-source": "/settings/identity/oa",
        "identity-register": "/settings/identity/new", "identity-register-cas": "/settings/identity/new?kind=cas",
        "identity-source-cas": "/settings/identity/sso", "identity-connect": "/settings/identity/oa/connection",
        "identity-rules": "/settings/identity/oa/rules", "identity-links": "/settings/identity/oa/links",
        "break-glass": "/settings/break-glass/", "break-glass-name": "/settings/break-glass/new",
    }.items():  # fmt: skip
        page.goto(path)
        check(page)
        shot(page, name, full=True)
    page.goto("/settings/identity/oa")
    page.get_by_role("button", name="测试连接").click()
    expect(page.locator(".gj-note-good")).to_contain_text("连接正常")
    check(page)
    shot(page, "identity-probed", full=True)
    page.goto("/settings/identity/oa/rules")
    page.fill("#claims", '{"preferred_username": "x.y", "groups": ["staff"], "org_code": "A01"}')
    page.fill("#reason", "试算")
    page.get_by_role("button", name="试算并核对").last.click()
    expect(page.locator("main")).to_contain_text("建账号，等待授权")
    check(page)
    shot(page, "identity-check", full=True)
