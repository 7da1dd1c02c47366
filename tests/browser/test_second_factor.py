"""A person enrols an authenticator in a real browser, logs in by it, and is asked for it before an act that weighs."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from console.accounts import access_rules, accounts, tables
from console.book import EXTENSION
from quota.actors import Role, steward
from quota.directory import Person


@pytest.fixture
def guard(live):
    """(login, password, the book) of a security administrator of this test's own."""
    book = live.app.extensions[EXTENSION].book
    login = f"guard{len(live.passwords)}"
    with book.transaction(steward("test")) as tx:
        _who, password = accounts.enrol(tx, login, "卫士", Role.SECADMIN, granted=True, must_change=False)
    live.passwords[login] = password
    yield login, password, book
    with book.transaction(steward("test")) as tx:
        access_rules.enact(
            tx, second=set(), grace_days=0, proof_minutes=0, password_days=0, allowed={}, reason="结束"
        )  # fmt: skip
        tx.scalars(select(Person).where(Person.login == login)).one().active = False


def step(book, login):
    """Have the code of this moment be good again, as half a minute of waiting would."""
    with book.transaction(steward("test")) as tx:
        who = tx.scalars(select(Person.id).where(Person.login == login)).one()
        for row in tx.scalars(select(tables.SecondFactor).where(tables.SecondFactor.person_id == who)):
            row.state = 0


@pytest.fixture
def keyring():
    """Plugs a security key into a page: Chromium's own, which touches itself."""

    def plug(page, **kind):
        session = page.context.new_cdp_session(page)
        session.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2", "transport": "usb", "hasResidentKey": True, "hasUserVerification": True,
            "isUserVerified": True, "automaticPresenceSimulation": True, **kind,
        }  # fmt: skip
        made = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]
        return session, made

    return plug


def test_a_security_key_enrols_logs_in_and_proves(open_page, check_widths, shot, guard, live, keyring):
    login, password, book = guard
    named = replace(live, address=live.address.replace("127.0.0.1", "localhost"), cookies={})  # keys know no numbers
    page = open_page(login, at=named)
    session, made = keyring(page)
    page.goto("/account/")
    page.click("text=登记安全密钥")
    page.fill("#name", "办公室的密钥")
    page.fill("#passcode", password)
    check_widths(page)
    page.click("main button.btn-primary")
    expect(page.locator(".gj-key button")).to_be_visible()
    check_widths(page)
    shot(page, "security-key")
    page.click(".gj-key button")
    expect(page.locator(".gj-codes li")).to_have_count(10)
    page.click("text=已存好")
    expect(page.locator("main")).to_contain_text("办公室的密钥")
    check_widths(page)
    shot(page, "account-keys")
    # The same key is not enrolled twice: the browser says so, the page says it, nothing is lost.
    page.click("text=添加安全密钥")
    page.fill("#name", "又一把")
    page.click(".gj-key button")
    expect(page.locator("h2", has_text="又一把")).to_be_visible()
    page.click(".gj-key button")
    expect(page.locator(".gj-key [role=status]")).to_contain_text("没有登记成")

    stranger = open_page(None, language="en", width=390, at=named)
    other, there = keyring(stranger)
    stranger.goto("/login?next=/account/")
    stranger.fill("#login", login)
    stranger.fill("#password", password)
    stranger.click("main button.btn-primary")
    expect(stranger.locator(".gj-key button")).to_be_visible()
    check_widths(stranger)
    shot(stranger, "second-by-key")
    stranger.click(".gj-key button")  # a key that was never enrolled
    expect(stranger.locator(".gj-key [role=status]")).to_contain_text("did not answer")
    for credential in session.send("WebAuthn.getCredentials", {"authenticatorId": made})["credentials"]:
        other.send("WebAuthn.addCredential", {"authenticatorId": there, "credential": credential})
    stranger.click(".gj-key button")
    stranger.wait_for_url(re.compile("/account/$"))

    with book.transaction(steward("test")) as tx:
        access_rules.enact(
            tx, second=set(), grace_days=0, proof_minutes=1, password_days=0, allowed={}, reason="核验"
        )  # fmt: skip
        for row in tx.scalars(select(tables.SignIn)):
            row.proven_at = datetime.now(UTC) - timedelta(minutes=5)
    stranger.goto("/settings/access/enact")
    stranger.fill("#reason", "再次整改")
    stranger.fill("#password_days", "78")
    stranger.click("main button.btn-primary")
    expect(stranger.locator(".gj-key button")).to_be_visible()
    check_widths(stranger)
    stranger.click(".gj-key button")
    expect(stranger.locator("main")).to_contain_text("再次整改")
    stranger.click("main button.btn-primary")
    expect(stranger.locator("main")).to_contain_text("78")


def test_enrolling_and_logging_in_by_an_authenticator(open_page, check_widths, shot, guard, live):
    login, password, book = guard
    page = open_page(login)
    page.goto("/account/")
    check_widths(page)
    page.click("text=登记两步验证")
    page.fill("#passcode", password)
    check_widths(page)
    page.click("main button.btn-primary")
    expect(page.locator(".gj-qr")).to_be_visible()
    assert page.evaluate("document.querySelector('.gj-qr').naturalWidth") > 100  # drawn, within the content policy
    check_widths(page)
    shot(page, "factor")
    authenticator = pyotp.TOTP((page.text_content(".gj-secret") or "").replace(" ", ""))
    page.fill("#passcode", "000000")
    page.click("main button.btn-primary")
    expect(page.locator("#errors")).to_be_visible()
    page.fill("#passcode", authenticator.now())
    page.click("main button.btn-primary")
    expect(page.locator(".gj-codes li")).to_have_count(10)
    check_widths(page)
    shot(page, "recovery-codes")
    recovery = page.locator(".gj-codes code").first.text_content() or ""
    page.click("text=已存好")
    expect(page.locator("main")).to_contain_text("动态验证码")
    shot(page, "account")

    step(book, login)
    stranger = open_page(None, language="en", width=390)
    for answer in (authenticator.now, lambda: recovery):
        stranger.goto("/login?next=/account/")
        stranger.fill("#login", login)
        stranger.fill("#password", password)
        stranger.click("main button.btn-primary")
        expect(stranger.locator("#passcode")).to_be_visible()
        check_widths(stranger)
        stranger.fill("#passcode", answer())
        stranger.click("main button.btn-primary")
        stranger.wait_for_url(re.compile("/account/$"))
        stranger.context.clear_cookies(name="guanjia")

    page.goto("/settings/access/enact")
    check_widths(page)
    shot(page, "access-rules")
    page.fill("#proof_minutes", "1")
    page.fill("#reason", "等保整改")
    page.click("main button.btn-primary")
    expect(page.locator("main")).to_contain_text("距上次核验超过1分钟")
    check_widths(page)
    shot(page, "access-rules-shown")
    with book.transaction(steward("test")) as tx:
        for row in tx.scalars(select(tables.SignIn)):
            row.proven_at = datetime.now(UTC) - timedelta(minutes=5)
    page.goto("/settings/access/enact")
    page.fill("#password_days", "77")
    page.fill("#reason", "再次整改")
    page.click("main button.btn-primary")
    expect(page.locator("h1")).to_have_text("再次核验身份")
    check_widths(page)
    shot(page, "prove")
    step(book, login)
    page.fill("#passcode", authenticator.now())
    page.click("main button.btn-primary")
    expect(page.locator("main")).to_contain_text("再次整改")
    page.click("main button.btn-primary")
    expect(page.locator("main")).to_contain_text("77天")
