"""Strangers at the door: what they can't learn, whom they can't keep out, how long they wait."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, func, select

from console.accounts import Origin, accounts, passwords, proofs, sessions, throttle
from console.accounts.tables import TryCounter
from console.app import create_app
from console.settings import Settings
from quota.actors import Role, steward
from quota.audit import AuditRecord
from quota.directory import Person
from quota.errors import NotAllowed, TooOften
from tests.console.conftest import Visit

WRONG = "Wrong-pass-1"
STRANGER, OWNER = {"REMOTE_ADDR": "198.51.100.7"}, {"REMOTE_ADDR": "10.1.2.3"}


def knock(app, login, password=WRONG, address=STRANGER, visit=None, **kwargs):
    visit = visit or app.test_client()
    visit.get("/login", environ_base=address)
    return visit.send("/login", {"login": login, "password": password}, environ_base=address, **kwargs)


def person(book, login):
    with book.reading() as tx:
        return tx.scalars(select(Person).where(Person.login == login)).one()


def records(book, *actions):
    with book.reading() as tx:
        return tx.scalars(select(AuditRecord).where(AuditRecord.action.in_(actions))).all()


def test_a_stranger_keeps_nobody_out(app, city, house):
    """Five posts at each of fifteen accounts, the administrators' among them; then everybody logs in from elsewhere."""
    logins = sorted(city.passwords)[:15]
    assert {"sysadmin1", "secadmin1", "audadmin1"} <= {*logins, "sysadmin1", "secadmin1"}
    answers = [knock(app, login).status_code for login in logins for _try in range(5)]
    assert set(answers) == {422, 429}
    for login in ("sysadmin1", "secadmin1", "audadmin1", logins[0]):
        assert knock(app, login, city.passwords[login], OWNER).status_code == 302


def test_a_browser_that_is_known_gets_in_from_behind_the_strangers_own_address(app, city):
    owner = app.test_client()
    assert knock(app, "auditor1", city.passwords["auditor1"], STRANGER, owner).status_code == 302
    owner.send("/logout", environ_base=STRANGER)
    for _try in range(30):
        last = knock(app, "auditor1")
    assert last.status_code == 429
    assert knock(app, "auditor1", city.passwords["auditor1"], STRANGER).status_code == 429
    assert knock(app, "auditor1", city.passwords["auditor1"], STRANGER, owner).status_code == 302


def test_the_mark_of_a_browser_is_of_its_own_accounts_alone(app, city):
    thief = app.test_client()
    assert knock(app, "tenant1", city.passwords["tenant1"], STRANGER, thief).status_code == 302
    thief.send("/logout", environ_base=STRANGER)
    for _try in range(5):
        knock(app, "auditor1", visit=thief)
    assert knock(app, "auditor1", visit=thief).status_code == 429
    for forged in ("x", "e30.x.y", thief.get_cookie("guanjia-device", path="/login").value[:-2] + "AA"):
        thief.set_cookie("guanjia-device", forged, path="/login")
        assert knock(app, "auditor1", visit=thief).status_code == 429


def plain(answer):
    """What a stranger sees of an answer, without what differs from one to the next anyway."""
    text = re.sub(
        r'(csrf[-_]token" (?:content|value)=)"[^"]*"|nonce="[^"]*"|value="(auditor1|nobody-1)"', "", answer.text
    )
    headers = {
        name: re.sub(r"nonce-[\w-]+", "", value)
        for name, value in answer.headers
        if name not in ("X-Request-ID", "Set-Cookie")
    }
    cookies = [one.split("=")[0] for one in answer.headers.getlist("Set-Cookie")]
    return answer.status_code, text, {**headers, "Content-Length": ""}, cookies


def test_known_and_unknown_logins_get_the_same_answers(app):
    known, unknown = ([plain(knock(app, login)) for _try in range(7)] for login in ("auditor1", "nobody-1"))
    # The eighth try on is the address's, which both share: seven each stay below it.
    assert [one[0] for one in known] == [422] * 5 + [429] * 2
    assert known == unknown


def test_known_and_unknown_logins_make_the_same_work(house, settings, monkeypatch):
    with pytest.raises(NotAllowed):
        proofs.by_password(house, settings, "warm-up", WRONG, Origin("10.0.0.2"))
    verified: list[str] = []
    real = passwords._hasher.verify
    monkeypatch.setattr(
        passwords, "_hasher", type("Counted", (), {"verify": lambda _s, kept, p: verified.append(p) or real(kept, p)})()
    )
    done: dict[str, list[str]] = {}
    for login in ("auditor1", "nobody-1"):
        statements = done.setdefault(login, [])

        def note(_connection, _cursor, statement, *_rest, into=statements):
            into.append(" ".join(statement.split()[:4]))

        event.listen(house.engine, "before_cursor_execute", note)
        with pytest.raises(NotAllowed, match=r"login\.wrong"):
            proofs.by_password(house, settings, login, "x" * 10_000, Origin("10.0.0.1"))
        event.remove(house.engine, "before_cursor_execute", note)
    assert [len(one) for one in verified] == [passwords.MAX_LENGTH] * 2
    assert done["auditor1"] == done["nobody-1"]
    assert {one.subject for one in records(house, "login.fail")} == {
        f"person:{person(house, 'auditor1').id}",
        proofs.UNKNOWN,
    }
    assert "nobody-1" not in str([one.content() for one in records(house, "login.fail")])


def test_waits_grow_and_end(app, clock, city, house):
    for _try in range(5):
        assert "登录名或密码不对" in knock(app, "auditor1").text
    told = knock(app, "auditor1", city.passwords["auditor1"])
    assert told.status_code == 429
    assert "60秒后再试" in told.text
    assert told.headers["Retry-After"] == "60"
    clock.advance(seconds=61)
    for _try in range(5):
        assert knock(app, "auditor1").status_code == 422
    assert int(knock(app, "auditor1").headers["Retry-After"]) > 800
    clock.advance(minutes=15)
    assert knock(app, "auditor1", city.passwords["auditor1"]).status_code == 302
    limits = records(house, "login.limit")
    assert [one.after["seconds"] for one in limits] == [60, 60, 900]
    assert knock(app, "auditor1").status_code == 422  # what was right forgot what was wrong


def test_what_waits_writes_nothing(app, house):
    def rows():
        with house.reading() as tx:
            return tx.scalar(select(func.count(AuditRecord.sequence))), tx.scalar(select(func.sum(TryCounter.count)))

    for _try in range(5):
        knock(app, "auditor1")
    before = rows()
    for _try in range(20):
        assert knock(app, "auditor1").status_code == 429
    assert rows() == before


def test_one_account_guessed_from_everywhere_stays_open_where_it_was_used(house, settings, city):
    right = city.passwords["auditor1"]
    used = Origin("10.9.9.9")
    with house.transaction(steward()) as tx:
        who = tx.scalars(select(Person).where(Person.login == "auditor1")).one()
        sessions.start(tx, who, proofs.Proof(who.id, proofs.PASSWORD, who.session_epoch), used)
    for number in range(throttle.ACCOUNT_TRIES // 4):
        for _try in range(4):
            with pytest.raises(NotAllowed, match=r"login\.wrong"):
                proofs.by_password(house, settings, "auditor1", WRONG, Origin(f"203.0.113.{number}"))
    with pytest.raises(TooOften):
        proofs.by_password(house, settings, "auditor1", right, Origin("192.0.2.1"))
    assert proofs.by_password(house, settings, "auditor1", right, used).method == proofs.PASSWORD
    marked = Origin("192.0.2.1", device="known")
    assert proofs.by_password(house, settings, "auditor1", right, marked).method == proofs.PASSWORD


def test_many_tries_at_once_are_no_more_than_one_after_the_other(book):
    settings, let, barrier = Settings(), [], threading.Barrier(8)
    with book.transaction(steward()) as tx:
        accounts.enrol(tx, "an", "安", Role.AUDITOR, granted=True)

    def tries() -> None:
        barrier.wait()
        for _try in range(3):
            try:
                proofs.by_password(book, settings, "an", WRONG, Origin("192.0.2.1"))
            except TooOften:
                continue
            except NotAllowed:
                let.append(1)

    threads = [threading.Thread(target=tries) for _one in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(let) == settings.lock_after


def test_a_stranger_makes_no_new_addresses(settings, house, app):
    """Neither by a header that no trusted proxy wrote, nor by the addresses that an IPv6 host may choose from."""
    for number in range(5):
        knock(app, "auditor1", headers={"X-Forwarded-For": f"192.0.2.{number}"})
    assert knock(app, "auditor1", headers={"X-Forwarded-For": "192.0.2.99"}).status_code == 429
    behind = create_app(replace(settings, trusted_proxies=1), house)
    behind.test_client_class = Visit
    for number in range(5):
        # The proxy appends the address that it saw: what stands before it is the stranger's own.
        knock(behind, "auditor2", headers={"X-Forwarded-For": f"192.0.2.{number}, 203.0.113.5"})
    assert knock(behind, "auditor2", headers={"X-Forwarded-For": "192.0.2.99, 203.0.113.5"}).status_code == 429
    assert knock(behind, "auditor2", headers={"X-Forwarded-For": "203.0.113.6"}).status_code == 422


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("", ""),
        ("nonsense" * 20, ("nonsense" * 20)[:64]),
    ],
)
def test_what_one_stranger_can_have_counts_as_one(address, counted):
    assert throttle.network(address) == counted


def test_logins_that_differ_in_case_or_blanks_are_tried_as_one(app):
    for login in ("auditor1", "AUDITOR1", " auditor1 ", "Auditor1", "auditor1"):
        assert knock(app, login).status_code == 422
    assert knock(app, "auDitor1").status_code == 429


@pytest.mark.parametrize(
    "typed",
    ["ZHAO QIAN", " zhao \t qian ", "\uff5a\uff48\uff41\uff4f\u3000qian", "zh\u00e1o qian", "zha\u0301o qian", "zh\u00adao q\u200bian", "zhao\u200b \u200bqian"],
    ids=["case", "blanks", "wide", "accent", "accent apart", "unseen", "unseen among blanks"],
)  # fmt: skip
def test_what_a_directory_may_take_for_one_login_is_counted_as_one(typed):
    assert throttle.mark(typed) == throttle.mark("zhao qian")
    assert throttle.mark(typed) != throttle.mark("zhaoqian")


def test_two_web_processes_count_together(settings, house, app):
    other = create_app(settings, house)
    other.test_client_class = Visit
    answers = [knock(one, "auditor1").status_code for _try in range(3) for one in (app, other)]
    assert answers == [422] * 5 + [429]


def test_the_system_administrator_ends_a_wait(app, client_of, house, city):
    sysadmin, who = client_of(Role.SYSADMIN), person(house, "auditor1")
    assert sysadmin.send(f"/settings/people/{who.id}/unlock").status_code == 409
    for _try in range(5):
        knock(app, "auditor1")
    assert "解除登录限制" in sysadmin.get(f"/settings/people/{who.id}").text
    assert sysadmin.send(f"/settings/people/{who.id}/unlock").status_code == 302
    assert knock(app, "auditor1", city.passwords["auditor1"]).status_code == 302


def test_counters_whose_time_is_over_are_swept(house, settings, clock):
    for login in ("auditor1", "nobody-1"):
        with pytest.raises(NotAllowed):
            proofs.by_password(house, settings, login, WRONG, Origin("192.0.2.1"))
    with house.transaction(steward()) as tx:
        assert throttle.sweep(tx) == 0
    clock.now += timedelta(hours=2)
    with house.transaction(steward()) as tx:
        assert throttle.sweep(tx) > 0
        assert tx.scalar(select(func.count()).select_from(TryCounter)) == 0
