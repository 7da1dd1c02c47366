"""People come by the password of a real directory, typed on the login page: who they are here, what they may, what is refused."""

from __future__ import annotations

import socket
from contextlib import suppress
from datetime import UTC, datetime

import ldap3
import pytest
from ldap3.core.exceptions import LDAPNoSuchObjectResult
from sqlalchemy import func, select

from console.accounts import Origin, SignIn, throttle
from console.accounts.tables import TryCounter
from console.identity import (
    FAULTS,
    Identity,
    IdentityLink,
    SourceFault,
    arrivals,
    connections,
    ldap,
    rechecks,
    rulebook,
)
from console.identity.ldap import Ldap, LdapOptions
from console.jobs import Unsuccessful
from console.worklist import Worklist
from metering.lake.store import Lake
from metering.workbench import Workbench
from providers.options import read
from providers.secrets import by_reference
from quota.actors import Role, steward
from quota.audit import AuditRecord
from quota.directory import Person
from quota.errors import Invalid
from tests.console.test_identity import said
from tests.identity.slapd import PEOPLE, READER, READER_PASSWORD, directory
from tests.patience import PATIENCE, refusing_port

RULES = {
    "login": "uid", "name": "cn", "create": True, "department": "departmentNumber", "lost": "remove",
    "roles": [{"claim": "employeeType", "value": "staff", "role": "tenant"}],
}  # fmt: skip
SECRET = "Zhao-qian-2026"
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with directory(tmp_path_factory.mktemp("ldap")) as found:
        found.add(
            "zhao.qian", "赵倩", SECRET, employeeType="staff", departmentNumber="A01", jpegPhoto=b"\xff\xd8\xff\xe0"
        )  # fmt: skip
        found.add("li.lei", "李雷", "Li-lei-2026", employeeType="guest", departmentNumber="A01")
        found.add("tenant1", "与账号同名", "Tong-ming-2026", employeeType="staff", departmentNumber="A01")
        found.add("twin", "双一", "Shuang-2026", mail="twin@example.gov.cn")
        found.add("twin2", "双二", "Shuang-2026", mail="twin@example.gov.cn")
        yield found


@pytest.fixture
def source(house, running, monkeypatch):
    monkeypatch.setenv("READER_PASSWORD", READER_PASSWORD)
    with house.transaction(steward()) as tx:
        row = connections.register(tx, "ldap", "ldap", "市目录", options(running))
        rulebook.enact(tx, row, RULES, "试用")
        return row


def test_a_directory_says_nothing_of_two_factors(house, source):
    with house.transaction(steward()) as tx, pytest.raises(Invalid, match=r"identity\.second"):
        rulebook.enact(tx, source, {**RULES, "second": [{"claim": "amr", "value": "otp"}]}, "试")


def options(running, **changes):
    return {
        "server": running.secure, "base": PEOPLE, "bind_dn": READER, "bind_password": "env:READER_PASSWORD",
        "ca_file": str(running.ca_file), **changes,
    }  # fmt: skip


def come(visit, login, password, source="ldap"):
    visit.get("/login")
    return visit.send("/login", {"login": login, "password": password, "source": source})


def records(house, action):
    with house.reading() as tx:
        return tx.scalars(
            select(AuditRecord).where(AuditRecord.action == action).order_by(AuditRecord.sequence)
        ).all()  # fmt: skip


def person(house, login):
    with house.reading() as tx:
        return tx.scalar(select(Person).where(Person.login == login))


def test_who_comes_first_waits_for_a_grant_and_is_in_once_granted(client, house, source, client_of):
    page = client.get("/login").text
    assert "市目录" in page
    assert "本系统的账号" in page
    first = come(client, "zhao.qian", SECRET)
    assert "账号未启用" in said(first)
    who = person(house, "zhao.qian")
    assert (who.name, who.role, who.granted) == ("赵倩", "tenant", False)
    with house.transaction(steward()) as tx:
        tx.get_one(Person, who.id).granted = True
    assert come(client, "zhao.qian", SECRET).status_code == 302
    assert client.get("/").status_code == 200
    with house.reading() as tx:
        assert tx.scalar(select(SignIn.method).order_by(SignIn.id.desc())) == "ldap"
        link = tx.scalars(select(IdentityLink)).one()
        assert len(link.subject) == 36, "the entry's UUID: a login may be given to somebody else"
        kept = "".join(str(one.after) for one in tx.scalars(select(AuditRecord)))
        assert SECRET not in kept


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("zhao.qian", "wrong"),
        ("nobody", SECRET),
        ("*", SECRET),
        ("zhao*", SECRET),
        ("zhao.qian)(uid=*", SECRET),
        ("x" * 64, "y" * 128),
    ],
    ids=["password", "login", "any", "part", "injected", "long"],
)
def test_what_is_nobodys_is_refused_alike(client, house, source, login, password):
    answer = come(client, login, password)
    assert answer.status_code == 422
    assert "登录名或密码不对" in said(answer)
    with house.reading() as tx:
        assert tx.scalar(select(func.count()).select_from(IdentityLink)) == 0


def test_who_is_allowed_nothing_or_has_an_account_already_is_told(client, house, source, client_of):
    assert "没有可用于本系统的角色" in said(come(client, "li.lei", "Li-lei-2026"))
    assert "已有账号" in said(come(client, "tenant1", "Tong-ming-2026"))
    tenant = client_of("tenant1")
    assert "用市目录的密码证明是我" in tenant.get("/identity/").text
    assert tenant.send("/identity/ldap/enter", {"login": "tenant1", "password": "wrong"}).status_code == 422
    done = tenant.send("/identity/ldap/enter", {"login": "tenant1", "password": "Tong-ming-2026"})
    assert done.location.endswith("/identity/")
    assert come(client, "tenant1", "Tong-ming-2026").status_code == 302
    assert client.get("/").status_code == 200


def test_rights_that_the_directory_takes_are_taken_here(client, house, source, running):
    running.add("qian.du", "钱度", SECRET, employeeType="staff", departmentNumber="A01")
    come(client, "qian.du", SECRET)
    with house.transaction(steward()) as tx:
        who = tx.scalars(select(Person).where(Person.login == "qian.du")).one()
        who.granted = True
    assert come(client, "qian.du", SECRET).status_code == 302
    client.send("/logout")
    with running.root() as root:
        root.modify(f"uid=qian.du,{PEOPLE}", {"employeeType": [("MODIFY_REPLACE", ["guest"])]})
    assert come(client, "qian.du", SECRET).status_code == 422
    assert not person(house, "qian.du").granted


def test_tries_are_counted_before_the_directory_is_asked(client, settings, house, source):
    for _ in range(settings.lock_after):
        come(client, "zhao.qian", "wrong")
    assert come(client, "zhao.qian", SECRET).status_code == 429
    assert client.log_in("zhao.qian", "x").status_code == 422, "the house counts its own account of that login apart"


def test_the_system_administrator_sees_and_ends_a_wait_at_the_directory(client, client_of, settings, house, source):
    who, admin = person(house, "tenant1"), client_of(Role.SYSADMIN)
    for _ in range(settings.lock_after):
        come(client, "tenant1", "wrong")
    assert come(client, "tenant1", "Tong-ming-2026").status_code == 429
    assert "解除登录限制" in admin.get(f"/settings/people/{who.id}").text
    assert admin.send(f"/settings/people/{who.id}/unlock").status_code == 302
    assert "已有账号" in said(come(client, "tenant1", "Tong-ming-2026"))


def test_who_came_from_an_address_before_is_kept_out_of_there_by_nobody_elsewhere(client_of, settings, house, source):
    client_of("tenant1")
    with house.reading() as tx:
        here, there = (
            throttle.of_sign_in(tx, settings, "tenant1", Origin(one), at="ldap") for one in ("127.0.0.1", "192.0.2.1")
        )
    assert [one.identifiers[0] for one in here] == ["pair", "address"]
    assert [one.identifiers[0] for one in there] == ["pair", "address", "account"]


def test_a_directory_that_hangs_is_asked_once_for_a_while(running, monkeypatch):
    monkeypatch.setenv("READER_PASSWORD", READER_PASSWORD)
    monkeypatch.setattr("console.identity.ldap.TIMEOUT_S", 1)
    monkeypatch.setattr("console.identity.ldap.REST_S", PATIENCE)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        hanging = Ldap(
            read(LdapOptions, options(running, server=f"ldaps://127.0.0.1:{mute.getsockname()[1]}"), by_reference)
        )
        for rested in (False, True, True):
            with pytest.raises(SourceFault) as found:
                hanging.identify("zhao.qian", SECRET)
            assert (found.value.code, found.value.rested) == ("timeout", rested)
        mute.accept()[0].close()
        mute.settimeout(0)
        with pytest.raises(BlockingIOError):
            mute.accept()  # it was asked once


def test_a_source_that_is_not_offered_is_answered_without_a_record(client, client_of, house, source):
    with house.transaction(steward()) as tx:
        connections.register(tx, "oa", "oidc", "市OA", {"issuer": "https://oa.example.gov.cn", "client_id": "x"})
        row = connections.source(tx, "ldap")
        connections.change(tx, row, row.name, row.options, active=False)
    tenant = client_of("tenant1")
    with house.reading() as tx:
        before = tx.scalar(select(func.count(AuditRecord.sequence)))
    for code in ("oa", "ldap", "none"):
        answer = come(client, "zhao.qian", SECRET, code)
        assert answer.status_code == 422
        assert "请重新选择" in said(answer)
        assert tenant.send(f"/identity/{code}/enter", {"login": "tenant1", "password": "x"}).status_code == 404
    with house.reading() as tx:
        assert tx.scalar(select(func.count(AuditRecord.sequence))) == before


def test_another_address_of_the_directory_changes_nobody(client, house, source, running):
    come(client, "zhao.qian", SECRET)
    with house.transaction(steward()) as tx:
        row = connections.source(tx, "ldap")
        moved = {"server": running.plain, "base": PEOPLE.replace("ou=", "OU=").replace(",", ", ")}
        connections.change(tx, row, row.name, {**row.options, **moved}, active=True)
    assert "账号未启用" in said(come(client, "zhao.qian", SECRET))
    with house.reading() as tx:
        assert tx.scalars(select(IdentityLink.issuer)).all() == [f"ldap:{PEOPLE}"]


def test_a_dead_directory_leaves_the_password(client, city, house, source, settings, monkeypatch):
    monkeypatch.setattr("console.identity.ldap.REST_S", PATIENCE)
    with house.transaction(steward()) as tx:
        row = connections.source(tx, "ldap")
        connections.change(
            tx, row, row.name, {**row.options, "server": f"ldaps://127.0.0.1:{refusing_port()}"}, active=True
        )
    for _ in range(settings.lock_after):
        answer = come(client, "zhao.qian", SECRET)
        assert answer.status_code == 502
        assert "拒绝连接" in said(answer)
    assert len(records(house, "identity.fail")) == 1, "who knocks at a dead directory fills no trail"
    with house.reading() as tx:
        counted = tx.execute(select(TryCounter.key, TryCounter.count).where(TryCounter.count > 0)).all()
    of_address = {count for key, count in counted if key.startswith("LIMITER/address/")}
    assert of_address == {1}, "what was asked of the directory counts, what was told from memory does not"
    assert not [key for key, _count in counted if key.startswith(("LIMITER/pair/", "LIMITER/account/"))]
    assert client.log_in("tenant1", city.passwords["tenant1"]).status_code == 302


@pytest.mark.parametrize(
    ("change", "code"),
    [({"ca_file": None}, "certificate"), ({"bind_password": "env:WRONG"}, "bind"), ({"base": "ou=none,dc=example,dc=gov,dc=cn"}, "base"),
     ({"server": "http://127.0.0.1"}, "address"), ({"server": "ldaps://[::1"}, "address"), ({"bind_password": "env:MISSING"}, "secret"), ({"subject": "description"}, "subject"),
     ({"subject": "jpegPhoto"}, "subject"), ({"subject": "employeeType"}, "subject"), ({"ca_file": "/none/ca.pem"}, "ca_file"),
     ({"filter": "(mail={login}@example.gov.cn)"}, "answer"), ({"filter": "(uid={login}"}, "filter"),
     ({"filter": "(uid=twin)"}, "filter")],
    ids=["foreign CA", "wrong reader", "no branch", "no LDAP", "no address", "no secret", "no subject", "subject is no text",
         "subject of several", "no CA file", "two entries", "no filter", "the same for every login"],
)  # fmt: skip
def test_what_is_set_up_wrong_is_named(running, monkeypatch, change, code):
    monkeypatch.setenv("READER_PASSWORD", READER_PASSWORD)
    monkeypatch.setenv("WRONG", "wrong")
    given = {name: value for name, value in options(running, **change).items() if value is not None}
    directory_ = Ldap(read(LdapOptions, given, by_reference))
    login, password = ("twin", "Shuang-2026") if "filter" in change else ("zhao.qian", SECRET)
    with pytest.raises(SourceFault) as found:
        directory_.identify(login, password)
    assert found.value.code == code, found.value.said
    assert code in FAULTS
    assert SECRET not in found.value.said


@pytest.mark.parametrize(
    ("change", "code"),
    [({"subject": "employeeType"}, "subject"), ({"subject": "jpegPhoto"}, "subject"), ({"subject": "title"}, "nobody"),
     ({"filter": "(title={login})"}, "nobody"), ({"filter": "(uid={login}"}, "filter"), ({"filter": "(|(uid={login})(cn=*))"}, "filter")],
    ids=["subject of several", "subject is no text", "no subject", "nobody fits", "no filter", "everybody fits"],
)  # fmt: skip
def test_a_trial_tries_the_filter_and_the_permanent_ids(running, monkeypatch, change, code):
    monkeypatch.setenv("READER_PASSWORD", READER_PASSWORD)
    with pytest.raises(SourceFault) as found:
        Ldap(read(LdapOptions, options(running, **change), by_reference)).probe("")
    assert found.value.code == code, found.value.said


@pytest.mark.parametrize(
    ("result", "code"), [(19, "wrong"), (53, "wrong"), (49, "wrong"), (51, "server")],
    ids=["locked", "closed", "password", "busy"],
)  # fmt: skip
def test_what_a_directory_says_to_somebodys_own_password_is_told_by_whose_fault_it_is(
    running, monkeypatch, result, code
):
    monkeypatch.setenv("READER_PASSWORD", READER_PASSWORD)
    real = ldap3.Connection.bind

    def bind(self, **more):
        if self.user == READER:
            return real(self, **more)
        self.result = {"result": result, "description": "said"}
        return False

    monkeypatch.setattr(ldap3.Connection, "bind", bind)
    directory_ = Ldap(read(LdapOptions, options(running), by_reference))
    for _time in range(2):
        with pytest.raises(SourceFault) as found:
            directory_.identify("zhao.qian", SECRET)
        assert (found.value.code, found.value.rested) == (code, False), "strangers can have nothing rest"


def test_who_has_no_password_there_is_refused_like_a_wrong_one(running, monkeypatch):
    monkeypatch.setenv("READER_PASSWORD", READER_PASSWORD)
    running.add("no.password", "无密码", "")
    with pytest.raises(SourceFault, match="wrong"):
        Ldap(read(LdapOptions, options(running), by_reference)).identify("no.password", SECRET)


def test_known_and_unknown_logins_take_the_same_steps(running, monkeypatch):
    monkeypatch.setenv("READER_PASSWORD", READER_PASSWORD)
    directory_ = Ldap(read(LdapOptions, options(running), by_reference))
    steps = []
    for name in ("_bound", "_searched"):
        real = getattr(directory_, name)
        monkeypatch.setattr(
            directory_,
            name,
            lambda *args, _real=real, _name=name, **more: steps[-1].append(_name) or _real(*args, **more),
        )
    for login in ("zhao.qian", "nobody.here"):
        steps.append([])
        with pytest.raises(SourceFault, match="wrong"):
            directory_.identify(login, "wrong")
    assert steps[0] == steps[1] == ["_bound", "_searched", "_bound"]


def test_it_is_registered_tried_and_ruled_on_its_pages(client_of, house, running, monkeypatch):
    monkeypatch.setenv("READER_PASSWORD", READER_PASSWORD)
    admin = client_of(Role.SECADMIN)
    page = admin.get("/settings/identity/new?kind=ldap").text
    assert 'name="option_server"' in page
    facts = {f"option_{name}": value for name, value in options(running).items()}
    more = {"code": "dir", "name": "市目录", "option_filter": "(uid={login})", "option_subject": "entryUUID"}
    made = admin.send("/settings/identity/new?kind=ldap", facts | more)
    assert made.status_code == 302, said(made)
    tried = admin.send("/settings/identity/dir/probe")
    assert "TLS" in tried.text
    assert "redirect_uri" not in tried.text
    form = admin.get("/settings/identity/dir/rules").text
    assert 'value="uid"' in form
    assert 'name="anew"' not in form, "a directory is asked by the clock"


def test_clear_text_goes_to_this_machine_alone(running, monkeypatch):
    monkeypatch.setenv("READER_PASSWORD", READER_PASSWORD)
    here = Ldap(read(LdapOptions, options(running, server=running.plain), by_reference))
    assert "loopback" in here.probe("")
    monkeypatch.setattr("console.identity.ldap.LOOPBACK", ())
    assert "TLS" in here.probe(""), "anywhere else the connection is made secure first"


def test_who_came_by_the_directory_proves_by_its_password_to_be_here_still(client, house, source, settings):
    come(client, "zhao.qian", SECRET)
    with house.transaction(steward()) as tx:
        tx.scalars(select(Person).where(Person.login == "zhao.qian")).one().granted = True
    come(client, "zhao.qian", SECRET)
    client.get("/password")
    wrong = client.send("/prove", {"passcode": "wrong", "next": "/"})
    assert wrong.status_code == 422
    failed = records(house, "login.fail")[-1]
    who = person(house, "zhao.qian")
    assert (failed.actor, failed.subject, failed.after) == (who.login, f"person:{who.id}", {"source": "ldap"})
    right = client.send("/prove", {"passcode": SECRET, "next": "/"})
    assert right.status_code == 200, said(right)


def test_one_proves_anew_at_the_directory_that_one_came_by(client, house, source, running):
    come(client, "zhao.qian", SECRET)
    with house.transaction(steward()) as tx:
        who = tx.scalars(select(Person).where(Person.login == "zhao.qian")).one()
        who.granted = True
        dead = {"server": f"ldaps://127.0.0.1:{refusing_port()}"}
        other = connections.register(tx, "dead", "ldap", "Another", options(running, **dead))
    with house.reading() as tx:
        link = tx.scalars(select(IdentityLink)).one()
    arrivals.link_own(house, other.id, Identity("dead:", link.subject), who.id, Origin("192.0.2.1"))
    come(client, "zhao.qian", SECRET)
    client.get("/password")
    assert client.send("/prove", {"passcode": SECRET, "next": "/"}).status_code == 200


# ------------------------------------------------------------------------------------------- who left while they were away


@pytest.fixture
def here(app, house, source, running):
    """People of the directory who are logged in here, with rights: a function from login to the browser."""
    made = []

    def arrived(login):
        made.append(login)
        running.add(login, login, SECRET, employeeType="staff", departmentNumber="A01")
        visit = app.test_client()
        come(visit, login, SECRET)
        with house.transaction(steward()) as tx:
            tx.scalars(select(Person).where(Person.login == login)).one().granted = True
        assert come(visit, login, SECRET).status_code == 302
        return visit

    yield arrived
    with running.root() as root:
        for login in made:
            with suppress(LDAPNoSuchObjectResult):
                root.delete(f"uid={login},{PEOPLE}")


def rechecked(house, settings):
    return [(one.asked, one.gone, one.changed, one.doubted) for one in rechecks.recheck(house, settings)]


def test_rights_end_here_when_the_directory_takes_them(house, settings, here, running):
    stays, left, moved = here("stays"), here("left"), here("moved")
    assert rechecked(house, settings) == [(3, 0, 0, False)]
    with house.reading() as tx:
        before = tx.scalar(select(func.count(AuditRecord.sequence)))
    with running.root() as root:
        root.delete(f"uid=left,{PEOPLE}")
        root.modify(f"uid=moved,{PEOPLE}", {"employeeType": [("MODIFY_REPLACE", ["guest"])]})
    assert rechecked(house, settings) == [(3, 1, 2, False)]
    assert [one.get("/").status_code for one in (stays, left, moved)] == [200, 302, 302]
    assert [person(house, one).granted for one in ("stays", "left", "moved")] == [True, False, False]
    with house.reading() as tx:
        told = tx.scalars(select(AuditRecord.action).where(AuditRecord.sequence > before)).all()
    assert sorted(set(told)) == ["identity.gone", "identity.withdraw", "login.end"]
    assert rechecked(house, settings) == [(1, 0, 0, False)], "who has no rights is not asked about"


def test_where_rights_are_kept_the_session_ends_and_somebody_is_shown_the_rest(house, settings, here, running, source):
    with house.transaction(steward()) as tx:
        rulebook.enact(tx, source, {**RULES, "lost": "ask"}, "先看")
    left, stays = here("left"), here("stays")
    with running.root() as root:
        root.delete(f"uid=left,{PEOPLE}")
    for changed in (1, 0):
        assert rechecked(house, settings) == [(2, 1, changed, False)]
    assert [one.get("/").status_code for one in (left, stays)] == [302, 200]
    assert person(house, "left").granted
    with house.reading() as tx:
        assert tx.scalars(select(IdentityLink.person_id).where(IdentityLink.differs_since.is_not(None))).all() == [
            person(house, "left").id
        ]  # fmt: skip
    assert len(records(house, "identity.gone")) == 1


def test_a_directory_that_knows_most_of_them_no_longer_is_not_believed(house, settings, here, running, monkeypatch):
    monkeypatch.setattr(rechecks, "FEW", 1)
    visits = [here(f"clerk{number}") for number in range(3)]
    with running.root() as root:
        for number in range(2):
            root.modify(f"uid=clerk{number},{PEOPLE}", {"title": [("MODIFY_ADD", ["x"])]})
    with house.transaction(steward()) as tx:
        row = connections.source(tx, "ldap")
        connections.change(tx, row, row.name, {**row.options, "filter": "(&(uid={login})(!(title=x)))"}, active=True)
    assert rechecked(house, settings) == [(3, 2, 0, True)]
    with pytest.raises(Unsuccessful) as said_:
        Worklist(Workbench(house, Lake(settings.data / "lake"), settings.data), settings).identities()
    assert [(one.code, dict(one.figures)) for one in said_.value.said] == [
        ("recheck_doubted", {"at": "ldap", "asked": 3, "gone": 2})
    ]
    assert [one.get("/").status_code for one in visits] == [200] * 3


def test_an_attribute_that_nobody_has_any_more_shuts_nobody_out(house, settings, here, running, monkeypatch):
    """It was renamed, or the account that looks people up may not see it: nobody is gone, and all would lose what they may."""
    monkeypatch.setattr(rechecks, "FEW", 1)
    visits = [here(f"clerk{number}") for number in range(3)]
    with running.root() as root:
        for number in range(3):
            root.modify(f"uid=clerk{number},{PEOPLE}", {"employeeType": [("MODIFY_DELETE", [])]})
    assert rechecked(house, settings) == [(3, 0, 0, True)]
    with pytest.raises(Unsuccessful) as said_:
        Worklist(Workbench(house, Lake(settings.data / "lake"), settings.data), settings).identities()
    assert [(one.code, dict(one.figures)) for one in said_.value.said] == [
        ("recheck_less_doubted", {"at": "ldap", "asked": 3, "gone": 0, "less": 3})
    ]
    assert [one.get("/").status_code for one in visits] == [200] * 3
    with running.root() as root:
        root.modify(f"uid=clerk0,{PEOPLE}", {"employeeType": [("MODIFY_REPLACE", ["staff"])]})
        root.modify(f"uid=clerk1,{PEOPLE}", {"employeeType": [("MODIFY_REPLACE", ["staff"])]})
    assert rechecked(house, settings) == [(3, 0, 1, False)], "few are believed"


@pytest.mark.parametrize(
    ("change", "code"),
    [({"server": "ldap://127.0.0.1:1"}, "refused"), ({"filter": "(&(uid={login})(title=none))"}, "nobody"),
     ({"bind_password": "env:WRONG"}, "bind")],
    ids=["dead", "sees nobody", "refused"],
)  # fmt: skip
def test_a_directory_that_does_not_say_changes_nothing(house, settings, here, monkeypatch, change, code):
    monkeypatch.setenv("WRONG", "wrong")
    visit = here("clerk")
    with house.transaction(steward()) as tx:
        row = connections.source(tx, "ldap")
        connections.change(tx, row, row.name, {**row.options, **change}, active=True)
    (found,) = rechecks.recheck(house, settings)
    assert found.fault.code == code
    assert visit.get("/").status_code == 200


def test_many_are_asked_about_in_few_searches(house, source, running, monkeypatch):
    monkeypatch.setenv("READER_PASSWORD", READER_PASSWORD)
    monkeypatch.setattr("console.identity.ldap.AT_ONCE", 2)
    directory_ = Ldap(read(LdapOptions, options(running), by_reference))
    mine = directory_.identify("zhao.qian", SECRET)
    searches = []
    real = directory_._searched
    monkeypatch.setattr(directory_, "_searched", lambda *args, **more: searches.append(args[1]) or real(*args, **more))
    told = directory_.standing(["no such id", mine.subject, "*", ")(uid=*", "0" * 36], NOON)
    assert list(told) == [mine.subject]
    assert told[mine.subject]["employeeType"] == ["staff"]
    assert len(searches) == 3
    assert directory_.standing([], NOON) == {}


@pytest.mark.parametrize(
    ("claims", "closed"),
    [({"userAccountControl": ["514"]}, True), ({"useraccountcontrol": ["512"]}, False), ({"nsAccountLock": ["TRUE"]}, True),
     ({"pwdAccountLockedTime": ["000001010000Z"]}, True), ({"pwdAccountLockedTime": ["20260601020000Z"]}, False),
     ({"userAccountControl": ["x", ""]}, False), ({}, False),
     ({"accountExpires": ["134247888000000000"]}, True), ({"accountExpires": ["134247888000000001"]}, False),
     ({"accountExpires": ["0"]}, False), ({"accountExpires": ["9223372036854775807"]}, False),
     ({"shadowExpire": ["20605"]}, True), ({"shadowExpire": ["20606"]}, False), ({"shadowExpire": ["-1", "0", "²"]}, False),
     ({"krbPrincipalExpiration": ["20260601120000Z"]}, True), ({"krbPrincipalExpiration": ["20260601120001Z"]}, False),
     ({"krbPrincipalExpiration": ["20260601200000+0800"]}, True),
     ({"krbPrincipalExpiration": ["19700101000000Z", "soon", "20261301000000Z"]}, False)],
    ids=["AD closed", "AD open", "389 DS", "OpenLDAP for good", "OpenLDAP for a while", "no figure", "nothing",
         "AD over", "AD not yet", "AD unset", "AD never", "shadow over", "shadow not yet", "shadow never",
         "Kerberos over", "Kerberos not yet", "Kerberos elsewhere", "Kerberos never"],
)  # fmt: skip
def test_an_account_that_is_closed_there_is_known_by_what_directories_say(claims, closed):
    assert ldap._closed({"dn": "uid=x", **claims}, NOON) is closed
