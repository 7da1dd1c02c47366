"""Logging in, staying in, being let in, and who may do what to whose account."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import pairwise
from unittest.mock import patch

import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import VerifyMismatchError
from click.testing import CliRunner
from sqlalchemy import select

from console import access
from console.access import EVERYBODY, allow
from console.accounts import accounts, passwords
from console.book import actor
from console.cli.commands import main
from console.schema import upgrade
from console.security import local
from quota import inventory
from quota.actors import HELD, Role, nobody, steward
from quota.audit import AuditRecord
from quota.db import Book
from quota.directory.people import Person
from quota.errors import Invalid, NotAllowed, WrongState
from quota.inventory import Resource
from quota.requests import kinds, submission
from tests.suite.outside import ROOT

GOOD = "Guanjia-2026"


def actions(book):
    with book.reading() as tx:
        return list(tx.scalars(select(AuditRecord.action).order_by(AuditRecord.sequence)))


def person(book, login):
    with book.reading() as tx:
        who = tx.scalars(select(Person).where(Person.login == login)).one()
        tx.expunge(who)
        return who


# -- in and out


def test_a_right_password_opens_the_page_that_was_asked_for(client, city, house):
    answer = client.get("/settings/people/?state=locked")
    assert answer.status_code == 302
    assert answer.location == "/login?next=/settings/people/?state%3Dlocked"
    client.get(answer.location)
    answer = client.send(
        "/login",
        {"login": "sysadmin1", "password": city.passwords["sysadmin1"], "next": "/settings/people/?state=locked"},
    )
    assert answer.location == "/settings/people/?state=locked"
    assert client.get(answer.location).status_code == 200
    assert "login.ok" in actions(house)


def test_a_password_of_nobody_is_verified_at_the_cost_of_anybodys():
    hasher = PasswordHasher()
    with patch.object(passwords, "_hasher", hasher):
        drawn = passwords._nobodys.__wrapped__()
    assert not hasher.check_needs_rehash(drawn)
    with pytest.raises(VerifyMismatchError):  # not InvalidHashError, which comes at once
        hasher.verify(drawn, "any")
    assert not passwords.matches(None, "any")


@pytest.mark.parametrize("login", ["sysadmin1", "nobody-here"])
def test_a_wrong_login_and_a_wrong_password_read_the_same(client, login):
    answer = client.log_in(login, "Wrong-pass-1")
    assert answer.status_code == 422
    assert "登录名或密码不对" in answer.text
    assert "Wrong-pass-1" not in answer.text


def test_a_success_forgets_earlier_failures(client, city):
    for _round in range(2):
        for _attempt in range(4):
            client.log_in("auditor1", "Wrong-pass-1")
        assert client.log_in("auditor1", city.passwords["auditor1"]).status_code == 302
        client.send("/logout")


def test_a_session_that_rests_ends(client_of, clock):
    client = client_of(Role.AUDITOR)
    clock.advance(minutes=29)
    assert client.get("/").status_code == 200
    clock.advance(minutes=29)
    assert client.get("/").status_code == 200
    clock.advance(minutes=31)
    answer = client.get("/", follow_redirects=True)
    assert "您已超过30分钟没有操作" in answer.text


def test_a_session_ends_after_eight_hours_however_busy(client_of, clock):
    client = client_of(Role.AUDITOR)
    for _step in range(24):
        clock.advance(minutes=20)
        assert client.get("/").status_code == 200
    clock.advance(minutes=20)
    assert "登录已满8小时" in client.get("/", follow_redirects=True).text


def test_a_page_that_refreshes_itself_does_not_keep_the_session_open(client_of, clock):
    client = client_of(Role.AUDITOR)
    for _step in range(3):
        clock.advance(minutes=10)
        assert client.get("/", headers={"X-Background": "1"}).status_code == 200
    clock.advance(minutes=1)
    assert client.get("/", headers={"X-Background": "1"}).status_code == 302


def test_login_begins_a_session_of_its_own(client, city):
    client.get("/login")
    with client.session_transaction() as before:
        planted = before["csrf_token"]
    client.log_in("auditor1", city.passwords["auditor1"])
    client.get("/")
    with client.session_transaction() as after:
        assert after["csrf_token"] != planted


def test_logging_out_ends_the_session_even_for_who_kept_its_cookie(client_of, app):
    client = client_of(Role.AUDITOR)
    stolen = client.get_cookie("guanjia").value
    assert client.send("/logout").location == "/login"
    thief = app.test_client()
    thief.set_cookie("guanjia", stolen)
    assert thief.get("/").status_code == 302


def test_an_account_that_is_closed_or_not_granted_lets_nobody_in(client_of, client, city, house):
    open_session = client_of("auditor1")
    with house.transaction(steward()) as tx:
        tx.actor = person(house, "sysadmin1").actor()
        accounts.activate(tx, tx.scalars(select(Person).where(Person.login == "auditor1")).one(), False)
    assert open_session.get("/").status_code == 302
    assert "账号未启用" in client.log_in("auditor1", city.passwords["auditor1"]).text


def test_the_health_check_needs_no_login(client):
    assert client.get("/healthz").text == "ok\n"


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("/settings/people/?q=a&page=2", True),
        ("/", True),
        ("//evil.example", False),
        ("/\\evil.example", False),
        ("https://evil.example/", False),
        ("javascript:alert(1)", False),
        ("/a\nb", False),
        ("\t//evil.example", False),
        ("", False),
        (None, False),
    ],
)
def test_redirects_stay_on_this_site(address, kept):
    assert local(address, "/default") == (address if kept else "/default")


# -- passwords


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("Short-1", "password.short"),
        ("alllowercase1", "password.plain"),
        ("Auditor1-2026", "password.login"),
        ("A-1" + "a" * 126, "password.long"),
        (GOOD, ""),
        ("一个很长的密码-Abc", ""),
    ],
)
def test_what_a_good_password_is(password, code):
    if not code:
        passwords.check(password, "auditor1", [])
        return
    with pytest.raises(Invalid) as refused:
        passwords.check(password, "auditor1", [])
    assert refused.value.code == code


def test_what_is_kept_of_a_password_takes_a_thief_long():
    """argon2id by 64 MiB in three passes, in the house itself: tests hash faster (tests/conftest.py)."""
    asked = "from console.accounts import passwords; print(passwords.hashed('Guanjia-2026'))"
    kept = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    found = extract_parameters(kept.strip())
    assert (found.type, found.memory_cost >= 65536, found.time_cost >= 3) == (Type.ID, True, True)


def test_first_passwords_are_good_and_differ():
    made = {passwords.random() for _ in range(50)}
    assert len(made) == 50
    for one in made:
        passwords.check(one, "auditor1", [])


def test_the_last_five_passwords_are_not_used_again(house, city):
    used = [city.passwords["auditor1"], *(f"Guanjia-202{n}" for n in range(5))]
    with house.transaction(steward()) as tx:
        who = tx.scalars(select(Person).where(Person.login == "auditor1")).one()
        for old, new in pairwise(used):
            accounts.change_password(tx, who, old, new)
        for one in used[1:]:
            with pytest.raises(Invalid, match=r"password\.used"):
                accounts.change_password(tx, who, used[-1], one)
        accounts.change_password(tx, who, used[-1], used[0])


def test_a_first_password_opens_nothing_but_its_own_change(client_of, client, city, house):
    answer = client_of(Role.SYSADMIN).send(f"/settings/people/{person(house, 'auditor1').id}/reset")
    first = answer.text.split('gj-secret">')[1].split("<")[0]
    regranted(client_of, house, "auditor1")
    assert client.log_in("auditor1", first).location == "/"
    assert client.get("/").location == "/password"
    assert client.get("/search?q=a").location == "/password"
    form = {"old": first, "password": GOOD, "again": "Guanjia-2027"}
    assert "两次输入的新密码不同" in client.send("/password", form).text
    assert client.send("/password", {**form, "again": GOOD}).location == "/"
    assert client.get("/").status_code == 200
    assert client.log_in("auditor1", first).status_code == 422


def regranted(client_of, house, login):
    who = person(house, login)
    form = {"role": who.role, "department": who.department_id or 0, "provider": who.provider_id or 0}
    assert client_of(Role.SECADMIN).send(f"/settings/people/{who.id}/grant", form).status_code == 302


@pytest.mark.parametrize("login", ["authority1", "secadmin2"])
def test_who_resets_a_password_gets_no_rights_by_it(client_of, client, house, login):
    answer = client_of(Role.SYSADMIN).send(f"/settings/people/{person(house, login).id}/reset")
    first = answer.text.split('gj-secret">')[1].split("<")[0]
    assert "安全管理员" in answer.text
    assert "账号未启用" in client.log_in(login, first).text
    regranted(client_of, house, login)
    assert client.log_in(login, first).status_code == 302


def test_the_last_security_administrator_is_let_in_from_the_machine(client_of, client, house):
    with house.transaction(steward()) as tx:
        tx.scalars(select(Person).where(Person.login == "secadmin2")).one().active = False
    last = person(house, "secadmin1")
    assert client_of(Role.SYSADMIN).send(f"/settings/people/{last.id}/reset").status_code == 409
    with house.transaction(steward()) as tx:
        first = accounts.reset_password(tx, accounts.person(tx, last.id))
    assert client.log_in("secadmin1", first).location == "/"
    assert client.get("/").location == "/password"


def test_a_password_is_reset_on_the_machine(tmp_path):
    settings = tmp_path / "house"
    settings.mkdir()
    book = Book(f"sqlite:///{settings / 'book.db'}")
    upgrade.migrate(book)
    with book.transaction(steward()) as tx:
        who, _first = accounts.enrol(tx, "an", "安", Role.SECADMIN, granted=True)
        before = who.password_hash
    done = CliRunner().invoke(main, ["account", "reset", "an", "--data", str(settings)])
    assert done.exit_code == 0, done.output
    first = done.output.strip()
    after = person(book, "an")
    assert after.granted
    assert (passwords.matches(after.password_hash, first), passwords.matches(before, first)) == (True, False)
    assert first not in str([record.content() for record in trail(book)])
    assert CliRunner().invoke(main, ["account", "reset", "niemand", "--data", str(settings)]).exit_code == 1
    book.dispose()


def test_changing_the_password_ends_the_other_sessions(client_of, city):
    here, there = client_of("auditor1"), client_of("auditor1")
    form = {"old": city.passwords["auditor1"], "password": GOOD, "again": GOOD}
    assert here.send("/password", form).location == "/"
    assert here.get("/").status_code == 200
    assert there.get("/").location == "/login"


# -- rights


def test_a_view_says_which_roles_it_is_for():
    with pytest.raises(ValueError, match="roles"):
        allow()
    with pytest.raises(ValueError, match="roles"):
        allow(Role.SYSTEM)


def test_a_view_without_a_rule_stays_shut(app, client_of):
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    answer = client_of(Role.AUTHORITY).get("/forgotten")
    assert answer.status_code == 403
    assert "secret" not in answer.text


@pytest.mark.parametrize("role", EVERYBODY)
def test_only_the_administrators_see_the_people(client_of, role):
    allowed = {Role.SYSADMIN, Role.SECADMIN, Role.AUDADMIN, Role.AUDITOR}
    assert client_of(role).get("/settings/people/").status_code == (200 if role in allowed else 403)


def test_entering_and_granting_are_two_persons_work(client_of, client, house):
    sysadmin, secadmin = client_of(Role.SYSADMIN), client_of(Role.SECADMIN)
    form = {"login": "zhang.san", "name": "张三", "role": "auditor", "department": "0", "provider": "0"}
    answer = sysadmin.send("/settings/people/new", form)
    first = answer.text.split('gj-secret">')[1].split("<")[0]
    who = person(house, "zhang.san")
    assert not who.granted
    assert "账号未启用" in client.log_in("zhang.san", first).text

    assert sysadmin.send(f"/settings/people/{who.id}/grant", form).status_code == 403
    assert secadmin.send("/settings/people/new", form).status_code == 403
    assert "张三" in secadmin.get("/").text  # waits on the security administrator's home page
    answer = secadmin.send(f"/settings/people/{who.id}/grant", {**form, "role": "supervisor"}, follow_redirects=True)
    assert "已授权：张三，运营监督方" in answer.text
    assert client.log_in("zhang.san", first).status_code == 302
    assert first not in str([record.content() for record in trail(house)])


def trail(book):
    with book.reading() as tx:
        return list(tx.scalars(select(AuditRecord)))


@pytest.mark.parametrize(("admin", "verb"), [("sysadmin1", "active"), ("sysadmin1", "reset"), ("sysadmin1", "unlock")])
def test_no_administrator_acts_on_his_own_account(client_of, house, admin, verb):
    own = person(house, admin)
    answer = client_of(admin).send(f"/settings/people/{own.id}/{verb}", {"active": "0"})
    assert answer.status_code == 403
    assert "请另一位管理员来做" in answer.text
    assert person(house, admin).session_epoch == own.session_epoch


def test_the_security_administrator_does_not_grant_to_himself(client_of, house):
    own = person(house, "secadmin1")
    form = {"role": "authority", "department": "0", "provider": "0"}
    assert client_of("secadmin1").send(f"/settings/people/{own.id}/grant", form).status_code == 403
    assert person(house, "secadmin1").role == "secadmin"


def test_a_new_role_ends_the_sessions_of_the_old_one(client_of, house):
    supervisor = client_of("supervisor1")
    who = person(house, "supervisor1")
    form = {"role": "auditor", "department": "0", "provider": "0"}
    assert client_of(Role.SECADMIN).send(f"/settings/people/{who.id}/grant", form).status_code == 302
    assert supervisor.get("/").status_code == 302


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"role": "tenant", "department": "0"}, "使用单位的人员须选一个单位"),
        ({"role": "auditor", "department": "1"}, "使用单位的人员须选一个单位"),
        ({"role": "provider", "provider": "0"}, "云服务商的人员须选一家公司"),
        ({"role": "", "provider": "0"}, "请选择角色"),
        ({"role": "system", "provider": "0"}, "请改正 1 处"),
        ({"role": "auditor", "login": "auditor1"}, "登录名 auditor1 已被使用"),
        ({"role": "auditor", "login": "AUDITOR1"}, "登录名 AUDITOR1 已被使用"),
        ({"role": "auditor", "login": "张三"}, "登录名只能用字母"),
        ({"role": "auditor", "name": "  "}, "登录名和姓名都不能为空"),
    ],
)
def test_nobody_is_entered_with_a_form_that_makes_no_sense(client_of, house, form, said):
    full = {"login": "li.si", "name": "李四", "department": "0", "provider": "0", **form}
    before = len(actions(house))
    answer = client_of(Role.SYSADMIN).send("/settings/people/new", full)
    assert answer.status_code == 422
    assert said in answer.text
    assert full["login"] in answer.text  # nothing typed is lost
    assert [one for one in actions(house)[before:] if one != "login.ok"] == []


def test_sessions_of_wrongly_typed_marks_are_strangers(app, client):
    for mark in ("", "x", "1", "1:0", "0" * 43, "\0"):
        with client.session_transaction() as session:
            session["_user_id"] = mark
            session["started"] = session["seen"] = 1 << 40
        assert client.get("/").status_code == 302


# -- nobody, and the last of their kind


def test_who_has_not_logged_in_is_nobody(app):
    with app.test_request_context("/login", environ_base={"REMOTE_ADDR": "10.0.0.7"}):
        assert (actor().role, actor().address) == (Role.NOBODY, "10.0.0.7")
        with pytest.raises(NotAllowed):
            actor().must_be(*HELD, Role.SYSTEM)


def test_no_rule_names_nobody(app):
    for endpoint in app.view_functions:
        assert Role.NOBODY not in (access.rule(app, endpoint) or ())
    with pytest.raises(ValueError, match="roles"):
        allow(Role.NOBODY)
    for path in ("console", "metering", "providers", "quota"):
        named = [
            file
            for file in (ROOT / path).rglob("*.py")
            if "Role.NOBODY" in file.read_text() and file.name != "actors.py"
        ]
        assert named == []


def test_nobody_sees_nothing(house):
    with house.reading(nobody()) as tx:
        assert tx.scalars(select(Resource.id).where(inventory.visible(tx, tx.actor))).all() == []
        with pytest.raises(NotAllowed):
            submission.draft(tx, submission.Ask(kinds.CREATE, 1, 1, None, ""))


def test_nothing_is_written_without_an_actor(house):
    with pytest.raises(TypeError), house.transaction():
        pass


@pytest.mark.parametrize("role", [Role.SYSADMIN, Role.SECADMIN, Role.AUDADMIN, Role.AUTHORITY])
def test_the_last_who_can_do_what_somebody_must_stays(client_of, house, role):
    admin = steward()
    first, last = f"{role}1", f"{role}2"
    with house.transaction(admin) as tx:
        accounts.activate(tx, accounts.person(tx, person(house, first).id), False)
    for act in (
        lambda tx, who: accounts.activate(tx, who, False),
        lambda tx, who: accounts.grant(tx, who, Role.AUDITOR),
    ):
        with house.transaction(admin) as tx, pytest.raises(WrongState, match=r"person\.only"):
            act(tx, accounts.person(tx, person(house, last).id))
    assert (person(house, last).role, person(house, last).active) == (role, True)
    with house.transaction(admin) as tx:
        accounts.activate(tx, accounts.person(tx, person(house, first).id), True)
    with house.transaction(admin) as tx:
        accounts.grant(tx, accounts.person(tx, person(house, last).id), Role.AUDITOR)
    assert person(house, last).role == Role.AUDITOR


def test_the_security_administrator_is_told_whom_the_house_would_lack(client_of, house):
    with house.transaction(steward()) as tx:
        accounts.activate(tx, accounts.person(tx, person(house, "audadmin2").id), False)
    last = person(house, "audadmin1")
    form = {"role": "auditor", "department": "0", "provider": "0"}
    answer = client_of(Role.SECADMIN).send(f"/settings/people/{last.id}/grant", form)
    assert answer.status_code == 422
    assert "是唯一可用的审计管理员" in answer.text
    refused = client_of(Role.SYSADMIN).send(f"/settings/people/{last.id}/active", {"active": "0"})
    assert refused.status_code == 409
    assert "请先启用并授权另一位审计管理员" in refused.text


def test_two_do_not_take_the_last_role_from_each_other(book):
    with book.transaction(steward()) as tx:
        people = [
            accounts.enrol(tx, f"{role}{number}", "某", role, granted=True)[0]
            for role in (Role.SYSADMIN, Role.AUDADMIN)
            for number in (1, 2)
        ]
        ids = {one.login: one.id for one in people}
    refused: list[str] = []
    ready = threading.Barrier(2)

    def close(login: str) -> None:
        try:
            with book.transaction(steward()) as tx:
                if tx.dialect == "postgresql":
                    tx.execute(select(1))
                    ready.wait()
                accounts.activate(tx, accounts.person(tx, ids[login]), False)
        except WrongState as one:
            refused.append(one.code)

    threads = [threading.Thread(target=close, args=(login,)) for login in ("audadmin1", "audadmin2")]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert refused == ["person.only"]
