"""People come by a real CAS server on the loopback: who they are here, what they may, how they leave; and what no answer of a server may
bring about."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from sqlalchemy import select

from console import health
from console.accounts import SignIn, accounts
from console.api import TokenKind, tokens
from console.health import Level
from console.identity import FAULTS, IdentityLink, IdentitySession, SourceFault, connections, rulebook, rules
from console.identity.cas import Cas, CasOptions
from quota.actors import Role, steward
from quota.audit import AuditRecord
from quota.directory import Person
from quota.errors import Invalid
from tests.console.test_identity import said
from tests.identity.cas import PEOPLE, SECRET, answerer, cas_server, left
from tests.patience import refusing_port

HOME = "http://localhost"
BACK = f"{HOME}/identity/sso/back"
RULES = {
    "login": "user", "name": "displayName", "create": True, "department": "orgCode", "lost": "remove",
    "roles": [{"claim": "memberOf", "value": "staff", "role": "tenant"},
              {"claim": "memberOf", "value": "auditors", "role": "auditor"}],
}  # fmt: skip
NOW = int(datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp())


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with cas_server(tmp_path_factory.mktemp("cas"), BACK) as found:
        yield found


@pytest.fixture
def sso(running):
    """The server, its people as they are."""
    running.people.clear()
    for login, attributes in PEOPLE.items():
        running.tell(login, **attributes)
    return running


@pytest.fixture
def clock(clock):
    clock.now = datetime.now(UTC)  # the server has the machine's
    return clock


@pytest.fixture
def source(house, sso, clock):
    with house.transaction(steward()) as tx:
        row = connections.register(tx, "sso", "cas", "统一认证", {"server": sso.address, "subject": "employeeNumber"})
        rulebook.enact(tx, row, RULES, "试用")
        return row


def at_server(address, who, there, password=SECRET):
    """What a browser does there, that keeps its cookies in ``there``: the address that leads back, or the server's page."""
    answer = there.get(address, allow_redirects=False)
    if answer.status_code == 200:
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)"(?: value="([^"]*)")?', answer.text))
        form = {**fields, "username": who, "password": password}
        answer = there.post(address.partition("?")[0], data=form, allow_redirects=False)
    return answer.headers["Location"].removeprefix(HOME) if answer.is_redirect else answer.text


def come(visit, who, there=None, **query):
    """Log in by the server; the answer to coming back."""
    sent = visit.get("/identity/sso/go", query_string=query)
    assert sent.status_code == 302, sent.text
    return visit.get(at_server(sent.location, who, there or requests.Session()))


def granted(house, login):
    with house.transaction(steward()) as tx:
        tx.scalars(select(Person).where(Person.login == login)).one().granted = True


def actions(house):
    with house.reading() as tx:
        found = tx.scalars(select(AuditRecord.action).order_by(AuditRecord.sequence)).all()
    return [one for one in found if one.startswith(("identity.", "login."))]


def newest(house):
    with house.reading() as tx:
        return tx.scalars(select(SignIn).order_by(SignIn.id.desc())).first()


def test_who_comes_first_waits_for_a_grant_and_is_in_once_granted(client, house, source):
    first = come(client, "chen.hao")
    assert first.status_code == 403
    assert "账号未启用" in said(first)
    with house.reading() as tx:
        who = tx.scalars(select(Person).where(Person.login == "chen.hao")).one()
        assert (who.name, who.role, who.department.code, who.granted) == ("陈浩", "tenant", "A01", False)
        assert tx.scalars(select(IdentityLink.subject)).all() == ["E-1001"], "a login may be given to somebody else"
    granted(house, "chen.hao")
    let_in = come(client, "chen.hao", next="/requests/")
    assert (let_in.status_code, let_in.location) == (302, "/requests/")
    assert client.get("/").status_code == 200
    assert newest(house).method == "cas"


def test_an_account_that_is_there_is_linked_by_its_owner_alone(client_of, client, house, source):
    refused = come(client, "auditor1")
    assert refused.status_code == 403
    assert "已有账号" in said(refused)
    visit = client_of(Role.AUDITOR)
    offered = come(visit, "auditor1", link=1)
    assert "与账号同名" in said(offered)
    assert "E-1002" in said(offered)
    assert visit.send("/identity/confirm").status_code == 302
    assert come(client, "auditor1").status_code == 302


def test_who_is_allowed_nothing_gets_no_account(client, house, source):
    assert "没有可用于本系统的角色" in said(come(client, "nobody.here"))
    with house.reading() as tx:
        assert tx.scalar(select(Person.id).where(Person.login == "nobody.here")) is None


def test_rights_that_the_server_tells_no_more_are_taken(client, house, sso, source):
    come(client, "chen.hao")
    granted(house, "chen.hao")
    sso.tell("chen.hao", memberOf=["all"])
    assert come(client, "chen.hao").status_code == 403
    assert "identity.withdraw" in actions(house)


def test_a_ticket_opens_the_door_that_it_was_asked_at_and_once(client, house, source, app, sso):
    come(client, "chen.hao")
    granted(house, "chen.hao")
    sent = client.get("/identity/sso/go").location
    back = at_server(sent, "chen.hao", requests.Session())
    stranger = app.test_client()
    stranger.get("/identity/sso/go")
    assert "已过期或已用过" in said(stranger.get(back)), "sent in by somebody else's ticket"
    assert client.get(back).status_code == 302
    assert "已过期或已用过" in said(stranger.get(back))
    # The same ticket at the server, for the same service: used.
    query = parse_qs(urlsplit(back).query)
    asked = Cas(CasOptions(server=sso.address))
    with pytest.raises(SourceFault) as fault:
        asked.finish({"state": query["state"][0]}, {name: one[0] for name, one in query.items()}, BACK, NOW)
    assert fault.value.code == "stale"


def test_leaving_here_leads_on_to_leave_there(client, house, sso, source):
    come(client, "chen.hao")
    granted(house, "chen.hao")
    come(client, "chen.hao")
    client.get("/")
    page = client.send("/logout")
    assert f"{sso.address}/logout?service=http%3A%2F%2Flocalhost%2Flogin" in page.text
    with house.reading() as tx:
        assert tx.scalars(select(IdentitySession.ended_at).order_by(IdentitySession.id.desc())).first() is not None


def ticket_of(visit, who="chen.hao"):
    """Come in, and the ticket by which."""
    back = at_server(visit.get("/identity/sso/go").location, who, requests.Session())
    assert visit.get(back).status_code == 302
    return parse_qs(urlsplit(back).query)["ticket"][0]


def test_what_the_server_says_of_a_session_ends_it_and_no_other(client, app, house, source):
    come(client, "chen.hao")
    granted(house, "chen.hao")
    ticket = ticket_of(client)
    other = app.test_client()
    ticket_of(other)
    before = actions(house)
    for strange in ("ST-of-nobody", ticket[:-1], ticket.lower()):
        assert (
            app.test_client().post("/identity/sso/back?state=x", data={"logoutRequest": left(strange)}).status_code
            == 200
        )
    assert actions(house) == before, "of what anybody may send nothing is kept"
    # To the service, as the protocol has it; to an address of its own it goes as well.
    assert app.test_client().post("/identity/sso/back?state=x", data={"logoutRequest": left(ticket)}).status_code == 200
    assert client.get("/").location.startswith("/login")
    assert other.get("/").status_code == 200
    assert actions(house)[len(before) :] == ["login.end", "identity.departed"]
    again = app.test_client().post("/identity/sso/departed", data={"logoutRequest": left(ticket)})
    assert again.status_code == 200
    assert actions(house)[len(before) :] == ["login.end", "identity.departed"]


DOCTYPE = '<!DOCTYPE a [<!ENTITY e "ST-1">]>'


@pytest.mark.parametrize(
    "message",
    ["", "<", left("ST-1").replace("LogoutRequest", "LogoutResponse"), left(""), left("x" * 2000), DOCTYPE + left("&e;"),
     left("ST-1</samlp:SessionIndex><samlp:SessionIndex>ST-2"), left("ST-1").replace("SAML:2.0:protocol", "SAML:9"),
     "<a>" * 5000, left("ST-1") + "x" * 70_000, "\ud800"],
    ids=["nothing", "no document", "an answer", "no ticket", "a long ticket", "a document type", "two tickets", "another language",
         "deep", "large", "no text"],
)  # fmt: skip
def test_a_departure_that_is_none_is_refused(message):
    with pytest.raises(SourceFault) as fault:
        Cas(CasOptions(server="https://sso.example")).departed({"logoutRequest": message}, NOW)
    assert fault.value.code in ("answer", "token", "large")


def test_a_flood_of_departures_is_slowed_down(app, house, source):
    answers = [
        app.test_client().post("/identity/sso/departed", data={"logoutRequest": "<"}).status_code for _try in range(30)
    ]
    assert (answers[0], answers[-1]) == (400, 429)


# --- asked anew ---


@pytest.fixture
def working(client, house, source):
    """Somebody who works here, and the browser's cookies at the server."""
    there = requests.Session()
    come(client, "chen.hao")
    granted(house, "chen.hao")
    assert come(client, "chen.hao", there).status_code == 302
    return client, there


def test_the_server_is_asked_silently_whether_it_still_knows_somebody(working, house, source, clock, sso):
    visit, there = working
    with house.transaction(steward()) as tx:
        rulebook.enact(tx, source, {**RULES, "anew": 10}, "试用")
    clock.now += timedelta(minutes=11)
    sent = visit.get("/requests/")
    off = visit.get(sent.location).location
    assert "gateway=true" in off
    assert visit.get(at_server(off, "", there)).location == "/requests/"
    assert visit.get("/requests/").status_code == 200
    assert newest(house).again_at == clock.now + timedelta(minutes=10)
    there.get(f"{sso.address}/logout")
    clock.now += timedelta(minutes=11)
    off = visit.get(visit.get("/requests/").location).location
    back = at_server(off, "", there)
    assert "ticket" not in back
    assert visit.get(back).location == "/login"
    assert "已结束" in said(visit.get("/login"))


def test_who_acts_on_something_that_weighs_logs_in_there_anew(working, house, source, clock, sso):
    visit, there = working
    clock.now += timedelta(minutes=1)
    off = visit.get("/identity/sso/go?again=1").location
    assert "renew=true" in off
    # A ticket of the session that is there already, though the server was asked for a new login.
    old = at_server(off.replace("&renew=true", ""), "chen.hao", there)
    assert "没有让您重新登录" in said(visit.get(old, follow_redirects=True))
    off = visit.get("/identity/sso/go?again=1").location
    back = at_server(off, "chen.hao", there)
    assert visit.get(back).status_code == 200
    assert "login.proven" in actions(house)
    # The server names this session by the ticket of the newer login from now on.
    ticket = parse_qs(urlsplit(back).query)["ticket"][0]
    assert visit.get("/requests/").status_code == 200
    assert visit.post("/identity/sso/departed", data={"logoutRequest": left(ticket)}).status_code == 200
    assert visit.get("/requests/").location.startswith("/login")


def test_tokens_rest_until_their_person_comes_again(client, app, house, source, clock):
    come(client, "chen.hao")
    granted(house, "chen.hao")
    come(client, "chen.hao")
    with house.transaction(steward()) as tx:
        rulebook.enact(tx, source, {**RULES, "tokens": 30}, "试用")
        who = accounts.person(tx, tx.scalars(select(Person.id).where(Person.login == "chen.hao")).one())
    with house.transaction(who.actor("192.0.2.1", "")) as tx:
        _row, secret = tokens.make(tx, who, "日报", ["requests:read"], 90, TokenKind.PERSONAL)

    def ask():
        return app.test_client().get("/api/v1/requests/", headers={"Authorization": f"Bearer {secret}"})

    assert ask().status_code == 200
    clock.advance(days=30)
    assert (ask().status_code, ask().json["code"]) == (403, "token.rests")
    visit = app.test_client()
    assert come(visit, "chen.hao").status_code == 302
    assert ask().status_code == 200
    clock.advance(days=31)
    assert ask().status_code == 403
    with house.transaction(steward()) as tx:
        connections.change(tx, connections.source(tx, "sso"), "统一认证", dict(source.options), active=False)
    assert ask().status_code == 200, "a source that is out of use asks for nothing"


@pytest.mark.parametrize("days", [-1, 366, "30", True, 1.5, None])
def test_days_that_are_none_are_refused(days):
    with pytest.raises(Invalid, match=r"identity\.rules"):
        rules.read({**RULES, "tokens": days})


# --- what no answer may bring about ---


@pytest.fixture(scope="module")
def answering():
    with answerer() as found:
        yield found


@pytest.fixture
def server(answering):
    """As it is at first: it knows everybody."""
    answering.status, answering.login = 200, (200, "")
    answering.says()
    return answering


def asked(server, **options):
    return Cas(CasOptions(server=server.address, **options))


def finish(server, since=0, **options):
    kept = {"state": "s-1", **({"since": str(since)} if since else {})}
    return asked(server, **options).finish(kept, {"state": "s-1", "ticket": "ST-1"}, BACK, NOW)


def attributes(**told):
    inner = "".join(f"<cas:{name}>{one}</cas:{name}>" for name, many in told.items() for one in many)
    return f"<cas:attributes>{inner}</cas:attributes>"


def test_a_ticket_is_checked_by_the_service_that_it_was_for(server):
    server.says(more=attributes(mail=["a@x", "b@x"], empty=[""], user=["root"]))
    identity = finish(server)
    assert (identity.issuer, identity.subject) == (server.address, "chen.hao")
    assert identity.claims == {"mail": ["a@x", "b@x"], "user": "chen.hao"}, (
        "what stands among the attributes is no user"
    )
    assert "ST-1" not in identity.session
    sent = urlsplit(server.asked[-1])
    assert sent.path == "/cas/p3/serviceValidate"
    assert parse_qs(sent.query) == {"service": [f"{BACK}?state=s-1"], "ticket": ["ST-1"]}
    finish(server, validate="serviceValidate")
    assert urlsplit(server.asked[-1]).path == "/cas/serviceValidate"


FAILURE = '<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas"><cas:authenticationFailure code="{code}">x</cas:authenticationFailure></cas:serviceResponse>'
TWICE = "<cas:authenticationSuccess><cas:user>root</cas:user></cas:authenticationSuccess>"


def spoilt(old, new):
    return lambda body: body.replace(old, new)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda _body: FAILURE.format(code="INVALID_TICKET"), "stale"),
        (lambda _body: FAILURE.format(code="INVALID_SERVICE"), "callback"),
        (lambda _body: FAILURE.format(code="INTERNAL_ERROR"), "server"),
        (lambda _body: FAILURE.format(code="INVALID_PROXY_CALLBACK"), "token"),
        (lambda _body: "yes\nchen.hao\n", "answer"),
        (lambda _body: "", "answer"),
        (lambda body: DOCTYPE + body.replace("chen.hao", "&e;"), "answer"),
        (spoilt("www.yale.edu", "www.example.com"), "answer"),
        (spoilt("</cas:serviceResponse>", TWICE + "</cas:serviceResponse>"), "answer"),
        (spoilt("</cas:user>", "</cas:user><cas:user>root</cas:user>"), "token"),
        (spoilt("<cas:user>chen.hao</cas:user>", attributes(user=["root"])), "token"),
        (spoilt("chen.hao", " "), "token"),
        (spoilt("</cas:user>", "</cas:user><cas:proxies><cas:proxy>https://x</cas:proxy></cas:proxies>"), "token"),
        (spoilt("authenticationSuccess", "somethingElse"), "answer"),
        (spoilt("chen.hao", "x" * 300), "subject"),
        (spoilt("chen.hao", "a&#9;b"), "subject"),
        (lambda body: body + " " * 2_000_000, "large"),
    ],
    ids=["used", "another service", "broken there", "another failure", "of the first protocol", "nothing", "a document type",
         "another namespace", "two answers", "two users", "a user among attributes", "no user", "by proxy", "neither", "too long",
         "no text", "large"],
)  # fmt: skip
def test_an_answer_that_is_none_opens_nothing(server, spoil, code):
    server.body = spoil(server.body.decode()).encode()
    with pytest.raises(SourceFault) as fault:
        finish(server)
    assert fault.value.code == code
    assert fault.value.code in FAULTS


@pytest.mark.parametrize(("status", "code"), [(500, "server"), (404, "answer"), (302, "answer")])
def test_an_answer_of_another_status_opens_nothing(server, status, code):
    server.status = status
    with pytest.raises(SourceFault) as fault:
        finish(server)
    assert fault.value.code == code


AT = datetime.fromtimestamp(NOW, UTC)


@pytest.mark.parametrize(
    ("told", "good"),
    [
        ({"isFromNewLogin": ["true"]}, True),
        ({"isFromNewLogin": ["true"], "authenticationDate": [AT.isoformat()]}, True),
        ({"authenticationDate": [f"{AT:%Y-%m-%dT%H:%M:%S}.123456Z[UTC]"]}, True),
        ({"isFromNewLogin": ["false"], "authenticationDate": [AT.isoformat()]}, False),
        ({"isFromNewLogin": ["true"], "authenticationDate": [(AT - timedelta(hours=1)).isoformat()]}, False),
        ({"authenticationDate": [(AT + timedelta(hours=1)).isoformat()]}, False),
        ({"authenticationDate": [f"{AT:%Y-%m-%dT%H:%M:%S}"]}, False),
        ({"authenticationDate": ["yesterday"]}, False),
        ({"isFromNewLogin": ["true", "true"]}, False),
        ({}, False),
    ],
    ids=["new", "new, and when", "when", "of before", "long ago", "in the future", "of no zone", "no time", "twice", "says nothing"],
)  # fmt: skip
def test_a_new_login_is_one_that_the_server_says_is_new(server, told, good):
    server.says(more=attributes(**told))
    if good:
        assert finish(server, since=NOW - 30).subject == "chen.hao"
    else:
        with pytest.raises(SourceFault) as fault:
            finish(server, since=NOW - 30)
        assert fault.value.code == "not_anew"
    assert parse_qs(urlsplit(server.asked[-1]).query)["renew"] == ["true"]


@pytest.mark.parametrize("numbers", [[], ["E-1", "E-2"]], ids=["none", "two"])
def test_a_permanent_id_is_one(server, numbers):
    server.says(more=attributes(employeeNumber=numbers))
    with pytest.raises(SourceFault) as fault:
        finish(server, subject="employeeNumber")
    assert fault.value.code == "subject"


@pytest.mark.parametrize("address", ["http://sso.example.gov.cn/cas", "ftp://127.0.0.1/cas", "sso", "", "https://[::1"])
def test_a_server_in_clear_is_asked_nothing(address):
    with pytest.raises(SourceFault) as fault:
        Cas(CasOptions(server=address)).begin(BACK)
    assert fault.value.code == "insecure"


def test_a_server_that_does_not_answer_is_asked_once_for_a_while():
    dead = Cas(CasOptions(server=f"http://127.0.0.1:{refusing_port()}/cas"))
    rested = []
    for _try in range(3):
        with pytest.raises(SourceFault) as fault:
            dead.finish({"state": "s"}, {"state": "s", "ticket": "ST-1"}, BACK, NOW)
        assert fault.value.code == "refused"
        rested.append(fault.value.rested)
    assert rested == [False, True, True]


# --- registered, tried, ruled ---


def test_it_is_registered_tried_and_ruled_on_its_pages(client_of, house, sso):
    visit = client_of(Role.SECADMIN)
    assert "p3/serviceValidate" in visit.get("/settings/identity/new?kind=cas").text
    form = {"code": "sso", "name": "统一认证", "option_server": sso.address, "option_validate": "p3/serviceValidate"}
    assert visit.send("/settings/identity/new?kind=cas", form).status_code == 302
    page = said(visit.get("/settings/identity/sso"))
    assert BACK in page
    assert r"^http://localhost/identity/sso/back(\?.*)?$" in page
    assert "连接正常" in said(visit.send("/settings/identity/sso/probe"))
    form = {
        "login": "user", "name": "displayName", "department": "orgCode", "create": "y", "lost": "ask", "shown": "0",
        "roles-0-claim": "memberOf", "roles-0-value": "staff", "roles-0-role": "tenant", "roles-0-company": "",
        "reason": "市里统一", "claims": "", "step": "confirm",
    }  # fmt: skip
    assert visit.send("/settings/identity/sso/rules", {**form, "second": "amr=otp"}).status_code == 422
    assert visit.send("/settings/identity/sso/rules", {**form, "anew": "60", "tokens": "30"}).status_code == 302
    assert "超过30天" in said(visit.get("/settings/identity/sso"))


def test_the_doctor_says_which_source_nobody_comes_by(house, source, sso, settings):
    outside = replace(settings, public_url=HOME)

    def found(about):
        return [(one.level, one.said) for one in health.examine(about, house) if one.check == "identities"]

    assert found(outside) == [(Level.GOOD, "in order")]
    assert found(settings) == [(Level.NOTE, "public_url is not set: whether sso knows the way back is not asked")]
    assert found(replace(settings, public_url="https://elsewhere.example")) == [
        (
            Level.BAD,
            "nobody comes by the identity source sso: gateway (HTTP 200: https://elsewhere.example/identity/sso/back)",
        )
    ]
    with house.transaction(steward()) as tx:
        row = connections.register(tx, "new-one", "cas", "新的", {"server": sso.address})
        assert row.active
    assert (Level.NOTE, "the identity source new-one has no rules: nobody comes by it") in found(outside)


def test_what_it_tells_is_no_second_factor(house, source):
    with house.transaction(steward()) as tx, pytest.raises(Invalid, match=r"identity\.second"):
        rulebook.enact(tx, source, {**RULES, "second": [{"claim": "amr", "value": "otp"}]}, "试")


def test_a_trial_says_what_is_wrong(server, sso):
    server.body = FAILURE.format(code="INVALID_TICKET").encode()
    for login, code in (((200, ""), "gateway"), ((403, ""), "gateway"), ((302, "https://elsewhere.example/"), "gateway"),
                        ((302, BACK), "gateway"), ((500, ""), "server")):  # fmt: skip
        server.login = login
        with pytest.raises(SourceFault) as fault:
            asked(server).probe(BACK)
        assert fault.value.code == code, login
    server.body = b"no such page"
    with pytest.raises(SourceFault) as fault:
        asked(server).probe(BACK)
    assert fault.value.code == "protocol"
    server.body = FAILURE.format(code="UNAUTHORIZED_SERVICE").encode()
    with pytest.raises(SourceFault) as fault:
        asked(server).probe(BACK)
    assert fault.value.code == "callback"
    with pytest.raises(SourceFault) as fault:
        Cas(CasOptions(server=sso.address)).probe("http://elsewhere.example/identity/sso/back")
    assert fault.value.code == "gateway", "a service that the server does not know"
