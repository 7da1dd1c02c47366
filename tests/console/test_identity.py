"""People come by a real OpenID provider on the loopback: who they are here, what they may, how they leave."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
import requests
from sqlalchemy import func, select

from console.accounts import Origin, SignIn, access_rules, accounts, admission, passwords, proofs
from console.identity import (
    BreakGlassUse,
    Identity,
    IdentityLink,
    IdentitySession,
    arrivals,
    break_glass,
    connections,
    marks,
    rulebook,
    rules,
)
from quota.actors import Role, steward
from quota.audit import AuditRecord
from quota.directory import Person
from quota.errors import Conflict, Invalid, NotAllowed, WrongState
from tests.console.test_second_factor import code, enrol, hidden
from tests.console.test_security_keys import enrol as keyed
from tests.identity import CLIENT, PEOPLE, SECRET, provider
from tests.patience import refusing_port

HOME = "http://localhost"
RULES = {
    "login": "preferred_username", "create": True, "department": "org_code", "lost": "ask",
    "roles": [{"claim": "groups", "value": "staff", "role": "tenant"},
              {"claim": "groups", "value": "auditors", "role": "auditor"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with provider(tmp_path_factory.mktemp("oa"), HOME) as found:
        yield found


@pytest.fixture
def oa(running):
    """The provider, its people as they are."""
    running.people.clear()
    for subject, claims in PEOPLE.items():
        running.tell(subject, **claims)
    return running


@pytest.fixture
def clock(clock):
    clock.now = datetime.now(UTC)  # the provider has the machine's
    return clock


@pytest.fixture
def source(house, oa, monkeypatch):
    monkeypatch.setenv("OA_SECRET", SECRET)
    with house.transaction(steward()) as tx:
        options = {"issuer": oa.issuer, "client_id": CLIENT, "client_secret": "env:OA_SECRET"}
        return connections.register(tx, "oa", "oidc", "市OA", options)


@pytest.fixture
def enacted(house, source):
    enact(house, source)
    return source


def enact(house, source, **changes):
    with house.transaction(steward()) as tx:
        rulebook.enact(tx, source, {**RULES, **changes}, "试用")


def at_provider(oa, address, who, session=None):
    """What a browser does there: the address that leads back."""
    browser = session or requests.Session()
    page = browser.get(address)
    answer = page.history[-1] if page.history else page
    if "/interaction/" in page.url:
        answer = browser.post(page.url, data={"who": who}, allow_redirects=False)
        while not answer.headers["Location"].startswith(HOME):
            answer = browser.get(urljoin(oa.issuer, answer.headers["Location"]), allow_redirects=False)
    return answer.headers["Location"].removeprefix(HOME)


def come(visit, oa, who, **query):
    """Log in by the provider; the answer to coming back."""
    sent = visit.get("/identity/oa/go", query_string=query)
    assert sent.status_code == 302, sent.text
    return visit.get(at_provider(oa, sent.location, who))


def said(answer):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.text.partition("<main")[2]))


def person(house, login):
    with house.reading() as tx:
        return accounts.person(tx, tx.scalar(select(Person.id).where(Person.login == login)))


def actions(house, *prefixes):
    with house.reading() as tx:
        found = tx.scalars(select(AuditRecord.action).order_by(AuditRecord.sequence)).all()
    return [one for one in found if one.startswith(prefixes or ("identity.", "break_glass."))]


def test_who_comes_first_waits_for_a_grant_and_is_in_once_granted(client, house, oa, enacted, client_of):
    refused = come(client, oa, "u-0001")
    assert refused.status_code == 403
    assert "账号未启用" in said(refused)
    who = person(house, "wang.fang")
    assert (who.name, who.role, who.department.code, who.granted) == ("王芳", "tenant", "A01", False)
    assert come(client, oa, "u-0001").status_code == 403
    assert actions(house, "person.enrol", "identity.", "login.")[-4:] == [
        "person.enrol", "identity.link", "login.closed", "login.closed",
    ]  # fmt: skip
    secadmin = client_of(Role.SECADMIN)
    form = {"role": "tenant", "department": who.department_id, "provider": 0}
    assert secadmin.send(f"/settings/people/{who.id}/grant", form).status_code == 302
    let_in = come(client, oa, "u-0001", next="/requests/")
    assert (let_in.status_code, let_in.location) == (302, "/requests/")
    assert client.get("/").status_code == 200  # no first password that would have to be changed
    with house.reading() as tx:
        assert tx.scalars(select(SignIn.method).where(SignIn.person_id == who.id)).all() == ["oidc"]


def test_who_is_allowed_nothing_gets_no_account(client, house, oa, enacted):
    refused = come(client, oa, "u-0003")
    assert refused.status_code == 403
    assert "没有可用于本系统的角色" in said(refused)
    with house.reading() as tx:
        assert tx.scalar(select(func.count(Person.id)).where(Person.login == "nobody.here")) == 0
        assert tx.scalar(select(func.count(IdentityLink.id))) == 0
    assert "identity.refuse" in actions(house)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"preferred_username": None}, "没有给出可用的登录名"),
        ({"preferred_username": "王芳"}, "没有给出可用的登录名"),
        ({"preferred_username": "a' OR 1=1 --"}, "没有给出可用的登录名"),
        ({"org_code": "Z99"}, "没有可用于本系统的角色"),
        ({"org_code": None}, "没有可用于本系统的角色"),
        ({"groups": {"staff": True}}, "没有可用于本系统的角色"),
    ],
    ids=["no login", "a name", "quotes", "no such department", "no department", "another shape"],
)
def test_claims_that_mean_nothing_are_refused_with_a_sentence(client, house, oa, enacted, claims, why):
    oa.tell("u-0001", **claims)
    refused = come(client, oa, "u-0001")
    assert refused.status_code == 403
    assert why in said(refused)
    with house.reading() as tx:
        assert tx.scalar(select(func.count(IdentityLink.id))) == 0


def test_an_account_of_that_login_is_linked_by_a_rule_alone(client, house, oa, source):
    enact(house, source)
    assert "登录名 auditor1 已有账号" in said(come(client, oa, "u-0002"))
    enact(house, source, link=True)
    assert come(client, oa, "u-0002").status_code == 302
    oa.tell("u-0002", preferred_username="somebody.else")  # the link is of the subject
    client.get("/login")
    other = client.application.test_client()
    assert come(other, oa, "u-0002").status_code == 302
    oa.tell("u-0009", preferred_username="auditor1", groups=["auditors"])
    assert "登录名 auditor1 已有账号" in said(come(client.application.test_client(), oa, "u-0009"))


def test_an_address_of_mail_is_no_login():
    for claim in ("email", "emails", "contact.mail"):
        with pytest.raises(Invalid):
            rules.read({"login": claim})


def test_one_links_ones_own_account_after_a_question(client_of, house, oa, enacted, client):
    visit = client_of("auditor1")
    asked = come(visit, oa, "u-0003", link=1)
    assert asked.status_code == 200
    assert "是我本人" in asked.text
    with house.reading() as tx:
        assert tx.scalar(select(func.count(IdentityLink.id))) == 0
    assert visit.send("/identity/confirm").status_code == 302
    assert visit.send("/identity/confirm").status_code == 409
    assert "u-0003" in visit.get("/identity/").text
    assert come(client, oa, "u-0003").status_code == 302  # rules allow it no role; nothing was taken: it is told
    with house.reading() as tx:
        link = tx.scalars(select(IdentityLink)).one()
        assert (link.linked_by, link.differs_since is not None) == ("auditor1", True)
    again = come(client_of("supervisor1"), oa, "u-0003", link=1)
    assert again.status_code == 200
    with pytest.raises(WrongState):
        arrivals.link_own(
            house, enacted.id, Identity(link.issuer, link.subject), person(house, "tenant1").id, Origin("")
        )
    assert visit.send("/identity/oa/unlink").status_code == 302
    assert visit.get("/").status_code == 302
    assert client.get("/").status_code == 302


@pytest.mark.parametrize("lost", ["ask", "remove"])
def test_a_role_that_was_taken_there_is_noticed_here(app, house, oa, source, lost, client_of):
    enact(house, source, link=True, lost=lost)
    first = app.test_client()
    assert come(first, oa, "u-0002").status_code == 302
    oa.tell("u-0002", groups=["staff"], org_code="A01")
    second = app.test_client()
    came = come(second, oa, "u-0002")
    who = person(house, "auditor1")
    assert who.role == "auditor"  # never another than the security administrator gave
    if lost == "remove":
        assert (came.status_code, who.granted) == (403, False)
        assert first.get("/").status_code == 302
        assert "identity.withdraw" in actions(house)
        return
    assert (came.status_code, who.granted) == (302, True)
    assert actions(house).count("identity.differ") == 1
    with house.reading() as tx:
        link = tx.scalars(select(IdentityLink)).one()
    with house.transaction(steward()) as tx:
        arrivals.settle(tx, tx.get_one(IdentityLink, link.id), "核对过")
    come(app.test_client(), oa, "u-0002")
    with house.reading() as tx:
        assert tx.get_one(IdentityLink, link.id).differs_since is None
    oa.tell("u-0002", groups=[])
    come(app.test_client(), oa, "u-0002")
    with house.reading() as tx:
        assert tx.get_one(IdentityLink, link.id).differs_since is not None
    oa.tell("u-0002", groups=["auditors"])
    come(app.test_client(), oa, "u-0002")
    with house.reading() as tx:
        assert tx.get_one(IdentityLink, link.id).differs_since is None


def test_the_last_security_administrator_is_asked_about_not_removed(client, house, oa, source):
    enact(house, source, link=True, lost="remove")
    with house.transaction(steward()) as tx:
        for other in tx.scalars(select(Person).where(Person.role == "secadmin", Person.login != "secadmin1")):
            accounts.activate(tx, other, False)
    oa.tell("u-0002", preferred_username="secadmin1", groups=["staff"], org_code="A01")
    assert come(client, oa, "u-0002").status_code == 302
    assert person(house, "secadmin1").granted
    assert "identity.differ" in actions(house)


def test_without_rules_nobody_comes(client, oa, source):
    assert "还没有制定规则" in said(come(client, oa, "u-0001"))


def test_a_way_back_is_used_once_and_by_its_own_browser(app, client, house, oa, enacted):
    sent = client.get("/identity/oa/go").location
    with client.session_transaction() as kept:
        way = dict(kept["identity"])
    back = at_provider(oa, sent, "u-0002")
    stranger = app.test_client()
    assert stranger.get(back).status_code == 502
    assert client.get(back).status_code == 403  # auditor1 is not linked: the way was good
    with client.session_transaction() as kept:
        kept["identity"] = way  # a browser that kept its old cookie
    replayed = client.get(back)
    assert replayed.status_code == 502
    assert "已过期或已用过" in said(replayed)
    with client.session_transaction() as kept:
        kept["identity"] = {**way, "kept": {**way["kept"], "state": "another"}}
    assert client.get(back).status_code == 502


def test_a_way_that_took_too_long_leads_nowhere(client, oa, enacted, clock):
    sent = client.get("/identity/oa/go").location
    back = at_provider(oa, sent, "u-0002")
    clock.advance(minutes=16)
    assert "已过期或已用过" in said(client.get(back))


def test_coming_back_from_another_issuer_is_refused(client, oa, enacted):
    back = at_provider(oa, client.get("/identity/oa/go").location, "u-0002")
    told = dict(parse_qsl(urlsplit(back).query))
    assert told["iss"] == oa.issuer
    answer = client.get("/identity/oa/back", query_string={**told, "iss": "https://other.example"})
    assert "不是对这次登录的" in said(answer)
    back = at_provider(oa, client.get("/identity/oa/go").location, "u-0002")
    told = dict(parse_qsl(urlsplit(back).query))
    del told["iss"]
    assert client.get("/identity/oa/back", query_string=told).status_code == 502


def test_who_was_not_let_in_there_is_told_here(client, oa, enacted):
    back = at_provider(oa, client.get("/identity/oa/go").location, "nobody that it knows")
    assert "没有同意登录" in said(client.get(back))


def test_tries_to_come_back_are_counted(client, settings, house, oa, enacted):
    answers = [client.get("/identity/oa/back?state=x&code=y").status_code for _try in range(30)]
    assert answers[0] == 502
    assert answers[-1] == 429


def test_a_dead_provider_leaves_the_password(client, city, house, source):
    with house.transaction(steward()) as tx:
        row = connections.source(tx, "oa")
        connections.change(tx, row, "市OA", {**row.options, "issuer": "http://127.0.0.1:9"}, active=True)
    answer = client.get("/identity/oa/go")
    assert answer.status_code == 502
    assert "主机拒绝连接" in said(answer)
    assert client.send("/login", {"login": "auditor1", "password": city.passwords["auditor1"]}).status_code == 302


def test_a_source_out_of_use_is_not_offered(client, house, source):
    assert "用市OA登录" in client.get("/login").text
    with house.transaction(steward()) as tx:
        row = connections.source(tx, "oa")
        connections.change(tx, row, "市OA", row.options, active=False)
    assert "用市OA登录" not in client.get("/login").text
    assert client.get("/identity/oa/go").status_code == 404
    assert client.get("/identity/none/go").status_code == 404


def test_leaving_leads_on_to_the_provider_and_keeps_no_token(client, house, oa, source):
    enact(house, source, link=True)
    come(client, oa, "u-0002")
    with house.reading() as tx:
        kept = tx.scalars(select(IdentitySession)).one().hint
    assert kept.startswith("gAAAA"), "sealed: a token of the source stands nowhere in clear"
    left = client.send("/logout")
    assert left.status_code == 200
    address = re.search(r'content="0; url=([^"]+)"', left.text).group(1).replace("&amp;", "&")
    told = dict(parse_qsl(urlsplit(address).query))
    assert address.startswith(oa.issuer)
    assert (told["client_id"], told["post_logout_redirect_uri"]) == (CLIENT, f"{HOME}/login")
    assert told["id_token_hint"].count(".") == 2
    assert client.get("/").status_code == 302
    with house.reading() as tx:
        row = tx.scalars(select(IdentitySession)).one()
        assert (row.hint, row.ended_at is not None) == ("", True)


def test_a_second_factor_is_asked_for_whichever_way_somebody_came(client, client_of, city, house, oa, source, clock):
    enact(house, source, link=True)
    own = client_of("auditor1")
    secret, _codes = enrol(own, city.passwords["auditor1"], clock)
    asked = come(client, oa, "u-0002", next="/requests/")
    assert asked.status_code == 200
    assert client.get("/requests/").status_code == 302
    clock.advance(seconds=60)
    form = {**hidden(asked.text), "passcode": code(secret, clock)}
    let_in = client.post("/login/second", data=form)
    assert (let_in.status_code, let_in.location) == (302, "/requests/")
    with house.reading() as tx:
        held = tx.scalars(select(SignIn).where(SignIn.method == "oidc")).one()
        assert (held.factor, bool(held.outside)) == ("totp", True)
    client.get("/password")
    assert client.send("/logout").status_code == 200  # leads on to the provider, as without a second factor


def test_two_factors_at_the_source_count_here_as_the_rules_say(app, client_of, city, house, oa, source, clock):
    """Without a rule, and for whom the claim does not say so, it is asked here; a password asks for it always."""
    with house.transaction(steward()) as tx:
        access_rules.enact(
            tx, second={Role.AUDITOR}, grace_days=0, proof_minutes=0, password_days=0, allowed={}, reason="试"
        )  # fmt: skip
    oa.tell("u-0002", amr=["pwd", "otp"])

    def arrived():
        visit = app.test_client()
        return visit, come(visit, oa, "u-0002")

    enact(house, source, link=True)
    visit, _answer = arrived()
    assert visit.get("/").location == "/account/factor"
    enact(house, source, link=True, second=[{"claim": "amr", "value": "otp"}, {"claim": "acr", "value": "urn:loa:3"}])
    visit, _answer = arrived()
    assert visit.get("/").status_code == 200
    with house.reading() as tx:
        assert tx.scalars(select(SignIn.factor).order_by(SignIn.id.desc())).first() == "source"
    enact(
        house, source, link=True, second=[{"claim": "acr", "value": "urn:loa:3"}]
    )  # the source's word is believed no more
    assert visit.get("/").location == "/account/factor"
    enact(house, source, link=True, second=[{"claim": "amr", "value": "otp"}])
    visit, _answer = arrived()
    # To be there still is proven as well as it was at first: a password alone is less.
    short = visit.send("/prove", {"passcode": city.passwords["auditor1"], "next": "/"})
    assert (short.status_code, "请到身份源再次核验" in short.text) == (422, True)
    for amr, status in ((["pwd"], 302), (["pwd", "otp"], 200)):
        oa.tell("u-0002", amr=amr)
        assert visit.get(at_provider(oa, visit.get("/identity/oa/go?again=1").location, "u-0002")).status_code == status
    assert client_of("auditor1").get("/").location == "/account/factor"
    # Who has a factor of their own is not asked for it, until the source says less.
    own = client_of("auditor1")
    secret, _codes = enrol(own, city.passwords["auditor1"], clock)
    visit, answer = arrived()
    assert (answer.status_code, visit.get("/").status_code) == (302, 200)
    oa.tell("u-0002", amr=["pwd"])
    visit, answer = arrived()
    assert (answer.status_code, "验证码" in answer.text) == (200, True)
    clock.advance(seconds=60)
    assert visit.post("/login/second", data={**hidden(answer.text), "passcode": code(secret, clock)}).status_code == 302


@pytest.mark.parametrize(
    "second", [{}, "amr", ["amr=otp"], [{"claim": "amr"}], [{"claim": "", "value": "otp"}], [{"claim": "memberOf", "value": "x"}], [{"claim": "amr", "value": ["otp"]}],
               [{"claim": "amr", "value": "otp", "role": "x"}], [{"claim": "amr", "value": str(n)} for n in range(51)]],
    ids=["object", "text", "lines", "no value", "no claim", "of an account", "list", "more", "many"],
)  # fmt: skip
def test_what_does_not_say_which_claim_proves_twice_is_refused(second):
    with pytest.raises(Invalid, match=r"identity\.rules"):
        rules.read({**RULES, "second": second})


# --- who comes in by password all the same ---


def by_password(house, settings, city, login):
    here = Origin("192.0.2.1")
    proof = proofs.by_password(house, settings, login, city.passwords[login], here)
    return admission.enter(house, settings, proof, here)


def test_a_role_can_be_held_to_the_source(house, settings, city, source):
    enact(house, source, required=["auditor"])
    with pytest.raises(NotAllowed, match=r"login\.source"):
        by_password(house, settings, city, "auditor1")
    assert by_password(house, settings, city, "supervisor1").token
    with house.transaction(steward()) as tx:
        break_glass.name(tx, accounts.person(tx, person(house, "auditor1").id), "值守")
    assert by_password(house, settings, city, "auditor1").token
    with house.reading() as tx:
        assert tx.scalars(select(BreakGlassUse.address)).all() == ["192.0.2.1"]
    assert actions(house, "break_glass.") == ["break_glass.name", "break_glass.use"]


def test_the_rules_always_leave_somebody_who_can_change_them(house, settings, city, source):
    with pytest.raises(Invalid, match=r"identity\.nobody"):
        enact(house, source, required=["secadmin"])
    keeper = person(house, "secadmin1")
    with house.transaction(steward()) as tx:
        break_glass.name(tx, accounts.person(tx, keeper.id), "值守")
    enact(house, source, required=["secadmin", "sysadmin"])
    with pytest.raises(WrongState, match=r"break_glass\.last"), house.transaction(steward()) as tx:
        break_glass.release(tx, accounts.person(tx, keeper.id), "不用了")
    assert by_password(house, settings, city, "secadmin1").token
    with house.transaction(steward()) as tx:
        other, first = accounts.enrol(tx, "secadmin9", "另一位", Role.SECADMIN, granted=True, must_change=False)
    city.passwords["secadmin9"] = first
    with pytest.raises(NotAllowed, match=r"login\.source"):
        by_password(house, settings, city, "secadmin9")
    # The keeper goes by another way than the rules: the passwords of the others open the door again.
    with house.transaction(steward()) as tx:
        accounts.activate(tx, accounts.person(tx, keeper.id), False)
    assert by_password(house, settings, city, "secadmin9").token
    assert "break_glass.fallback" in actions(house)
    assert other.granted


def test_a_source_out_of_use_holds_nobody(house, settings, city, source):
    enact(house, source, required=["auditor"])
    with house.transaction(steward()) as tx:
        row = connections.source(tx, "oa")
        connections.change(tx, row, "市OA", row.options, active=False)
    assert by_password(house, settings, city, "auditor1").token


def test_no_rule_links_an_emergency_account(client, house, oa, source):
    enact(house, source, link=True)
    with house.transaction(steward()) as tx:
        break_glass.name(tx, accounts.person(tx, person(house, "auditor1").id), "值守")
    assert "已有账号" in said(come(client, oa, "u-0002"))


def test_rules_are_versions_and_a_stale_page_is_refused(house, source):
    enact(house, source)
    with pytest.raises(Conflict), house.transaction(steward()) as tx:
        rulebook.enact(tx, source, RULES, "旧页面", after=0)
    with pytest.raises(Invalid), house.transaction(steward()) as tx:
        rulebook.enact(tx, source, RULES, " ")


def test_an_account_that_a_source_made_has_no_password_that_anybody_knows(client, house, oa, enacted):
    come(client, oa, "u-0001")
    who = person(house, "wang.fang")
    assert who.password_hash.startswith("$argon2id$")
    assert not passwords.matches(who.password_hash, "")


def test_what_is_used_up_is_swept(house, clock):
    with house.transaction(steward()) as tx:
        assert marks.use(tx, "once", clock() + timedelta(minutes=5))
        assert not marks.use(tx, "once", clock() + timedelta(minutes=5))
        assert marks.sweep(tx) == 0
    clock.advance(minutes=6)
    with house.transaction(steward()) as tx:
        assert marks.sweep(tx) == 1


def test_who_came_by_a_source_proves_there_to_be_here_still(client_of, house, oa, enacted, clock):
    with house.transaction(steward()) as tx:
        asked_for = {"second": set(), "grace_days": 0, "proof_minutes": 10, "password_days": 0, "allowed": {}}
        access_rules.enact(tx, **asked_for, reason="试用")
    clock.now = datetime.now(UTC) - timedelta(minutes=11)
    visit, own = client_of(Role.SECADMIN), person(house, "secadmin1")
    arrivals.link_own(house, enacted.id, Identity(oa.issuer, "u-0003"), own.id, Origin("192.0.2.1"))
    clock.now = datetime.now(UTC)  # the provider's clock is the machine's
    who = person(house, "supervisor1")
    asked = visit.send(f"/settings/people/{who.id}/grant", {"role": "auditor", "department": "0", "provider": "0"})
    assert asked.status_code == 401
    assert "/identity/oa/go?again=1" in asked.text
    fields = hidden(asked.text)
    assert visit.post("/prove", data=fields).status_code == 422  # nothing was proven yet
    # In another window. Somebody else there is nobody here; the provider asks anew although it knows its visitor.
    sent = visit.get("/identity/oa/go?again=1").location
    assert {"prompt": "login", "max_age": "0"}.items() <= dict(parse_qsl(urlsplit(sent).query)).items()
    assert visit.get(at_provider(oa, sent, "u-0002")).status_code == 302
    assert visit.post("/prove", data=fields).status_code == 422
    there = requests.Session()
    for _time in range(2):
        back = at_provider(oa, visit.get("/identity/oa/go?again=1").location, "u-0003", there)
        assert "code=" in back
    assert visit.get(back).status_code == 200
    went = visit.post("/prove", data=fields)
    assert went.status_code == 200
    assert visit.post(f"/settings/people/{who.id}/grant", data=hidden(went.text)).status_code == 302
    assert person(house, "supervisor1").role == "auditor"


def test_who_has_a_key_proves_by_it_and_by_no_login_at_the_source(client_of, city, house, oa, enacted, clock):
    with house.transaction(steward()) as tx:
        access_rules.enact(
            tx, second=set(), keys={Role.SECADMIN}, grace_days=0, proof_minutes=10, password_days=0, allowed={}, reason="试"
        )  # fmt: skip
    clock.now = datetime.now(UTC) - timedelta(minutes=11)
    visit, own = client_of(Role.SECADMIN), person(house, "secadmin1")
    arrivals.link_own(house, enacted.id, Identity(oa.issuer, "u-0003"), own.id, Origin("192.0.2.1"))
    sent = visit.get("/identity/oa/go?again=1").location
    with visit.session_transaction() as kept:
        way = kept["identity"]
    keyed(visit, city.passwords["secadmin1"], "办公室")
    clock.now = datetime.now(UTC)
    # By a way that was begun before there was a key, and by the address that the page does not show any more.
    with visit.session_transaction() as kept:
        kept["identity"] = way
    for address in (at_provider(oa, sent, "u-0003"), "/identity/oa/go?again=1"):
        refused = visit.get(address)
        assert (refused.status_code, refused.location) == (302, "/identity/")
        assert "已登记两步验证" in said(visit.get("/identity/"))
    form = {"role": "auditor", "department": "0", "provider": "0"}
    assert visit.send(f"/settings/people/{person(house, 'supervisor1').id}/grant", form).status_code == 401


def test_who_came_a_moment_ago_enrols_without_a_password(client_of, house, oa, enacted, clock):
    clock.now = datetime.now(UTC) - timedelta(minutes=25)
    visit, own = client_of(Role.SECADMIN), person(house, "secadmin1")
    assert visit.send("/account/factor").status_code == 422
    arrivals.link_own(house, enacted.id, Identity(oa.issuer, "u-0003"), own.id, Origin("192.0.2.1"))
    clock.advance(minutes=16)
    assert visit.send("/account/factor").status_code == 422
    clock.now = datetime.now(UTC)
    visit.get(at_provider(oa, visit.get("/identity/oa/go?again=1").location, "u-0003"))
    assert visit.send("/account/factor").status_code == 302
    shown = visit.get("/account/factor")
    assert shown.headers["Cache-Control"] == "no-store, no-transform"


# --------------------------------------------------------------------------- whether the source still knows who works here


@pytest.fixture
def working(client, house, oa, source):
    """Somebody who came by the source, of a session that is to be proven anew: their browser here and the one there."""
    enact(house, source, anew=60, lost="remove")
    come(client, oa, "u-0001")
    with house.transaction(steward()) as tx:
        tx.scalars(select(Person).where(Person.login == "wang.fang")).one().granted = True
    there = requests.Session()
    sent = client.get("/identity/oa/go")
    assert client.get(at_provider(oa, sent.location, "u-0001", there)).status_code == 302
    with house.transaction(steward()) as tx:
        row = tx.scalars(select(SignIn).order_by(SignIn.id.desc())).first()
        assert row.again_at - row.started_at == timedelta(minutes=60)
        row.again_at = tx.now
    return client, there


def asked_silently(visit, there):
    """Open a page; the answer to coming back from the source, which was asked nothing of the person."""
    sent = visit.get("/requests/?state=open")
    assert sent.location == "/identity/oa/go?silent=1&next=/requests/?state%3Dopen", sent.location
    off = visit.get(sent.location)
    assert "prompt=none" in off.location
    return visit.get(there.get(off.location, allow_redirects=False).headers["Location"].removeprefix(HOME))


def newest(house):
    with house.reading() as tx:
        return tx.scalars(select(SignIn).order_by(SignIn.id.desc())).first()


def test_a_source_that_still_knows_somebody_interrupts_nobody(house, working):
    visit, there = working
    back = asked_silently(visit, there)
    assert (back.status_code, back.location) == (302, "/requests/?state=open")
    assert visit.get("/requests/").status_code == 200
    row = newest(house)
    assert row.again_at > row.started_at
    assert row.ended_at is None


def test_what_is_typed_or_fetched_by_a_page_is_sent_nowhere(working):
    visit, _there = working
    for headers in ({"X-Background": "1"}, {"HX-Request": "true"}, {"Sec-Fetch-Dest": "empty"}):
        assert visit.get("/requests/", headers=headers).status_code == 200, headers
    assert visit.send("/requests/", {}).status_code == 405


@pytest.mark.parametrize("gone", ["logged out there", "somebody else there", "role taken there"])
def test_who_is_gone_there_leaves_here(house, oa, working, gone):
    visit, there = working
    if gone == "logged out there":
        there.cookies.clear()
    elif gone == "somebody else there":
        there.cookies.clear()
        at_provider(oa, visit.get("/identity/oa/go?link=1").location, "u-0002", there)
    else:
        oa.tell("u-0001", **{**PEOPLE["u-0001"], "groups": []})
    back = asked_silently(visit, there)
    assert back.status_code == 302
    lost = gone == "role taken there"
    assert visit.get("/requests/").location == "/login?next=/requests/"
    assert (newest(house).ended_at is None) is lost, "an account without rights needs no session to be ended"
    assert person(house, "wang.fang").granted is not lost
    assert lost or "在市OA的登录已结束" in visit.get("/login").text


def test_a_source_that_does_not_answer_keeps_nobody_from_working_for_half_an_hour(house, working, clock, source):
    visit, _there = working
    with house.transaction(steward()) as tx:
        row = connections.source(tx, "oa")
        connections.change(
            tx, row, row.name, {**row.options, "issuer": f"http://127.0.0.1:{refusing_port()}"}, active=True
        )
    sent = visit.get("/requests/")
    assert visit.get(sent.location).location == "/requests/"
    assert visit.get("/requests/").status_code == 200, "it is not asked at every click"
    clock.advance(minutes=6)
    assert "/identity/oa/go" in visit.get("/requests/").location
    for _ in range(2):
        clock.advance(minutes=12)
        visit.get("/")
    assert visit.get("/requests/").location == "/login?next=/requests/"
    assert "没有再次确认您的身份" in visit.get("/login").text


@pytest.mark.parametrize("first", ["a page", "a part of a page"])
def test_who_was_away_is_asked_and_not_put_out(house, working, first):
    visit, there = working
    if first == "a part of a page":
        assert visit.get("/requests/", headers={"HX-Request": "true"}).status_code == 200, "nothing was in its way then"
    with house.transaction(steward()) as tx:
        row = newest_of(tx, "oidc")
        assert (row.unheard_at is None) is (first == "a page")
        row.again_at = tx.now - timedelta(minutes=35)
        row.unheard_at = row.again_at if row.unheard_at else None
    assert visit.get("/requests/", headers={"X-Background": "1"}).status_code == (200 if first == "a page" else 204)
    back = asked_silently(visit, there)
    assert (back.status_code, back.location) == (302, "/requests/?state=open")
    row = newest(house)
    assert (row.ended_at, row.unheard_at) == (None, None)


def test_nobody_is_sent_away_by_an_address_that_others_write(client_of, house, oa, working, client):
    """A page elsewhere may have a browser open it: it asks the source that a session came by, and only once that is due."""
    inside = client_of("tenant1")
    assert inside.get("/identity/oa/go?silent=1&next=/requests/").location == "/requests/", "who came by password"
    assert inside.get("/requests/").status_code == 200
    visit, there = working
    sent = visit.get("/requests/")
    off = visit.get(sent.location)
    there.cookies.clear()
    away = there.get(off.location, allow_redirects=False).headers["Location"].removeprefix(HOME)
    with house.transaction(steward()) as tx:
        row = tx.get_one(SignIn, newest_of(tx, "oidc").id)
        row.again_at = tx.now + timedelta(minutes=5)
    assert visit.get("/identity/oa/go?silent=1&next=/requests/").location == "/requests/", "not due yet"
    assert visit.get(away).location == "/login"
    with house.reading() as tx:
        told = tx.scalars(select(AuditRecord).order_by(AuditRecord.sequence.desc()).limit(2)).all()
        assert [(one.action, one.actor) for one in told] == [
            ("identity.departed", "identity"),
            ("login.end", "identity"),
        ]


def newest_of(tx, method):
    return tx.scalars(select(SignIn).where(SignIn.method == method).order_by(SignIn.id.desc())).first()


def test_rules_say_at_once_when_open_sessions_are_proven_anew(house, oa, working, source, clock):
    for minutes, expected in ((0, None), (30, 30), (120, 30), (10, 10)):
        enact(house, source, anew=minutes)
        at = newest(house).again_at
        assert at == (clock.now + timedelta(minutes=expected) if expected else None), minutes


@pytest.mark.parametrize("minutes", [9, 1441, -1, "60", True, 1.5, None])
def test_minutes_that_are_none_are_refused(minutes):
    with pytest.raises(Invalid, match=r"identity\.rules"):
        rules.read({**RULES, "anew": minutes})
