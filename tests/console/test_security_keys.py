"""Security keys as second factors: enrolled, logged in by, asked again, several, taken away; what is no answer of theirs."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace

import pyotp
import pytest
from sqlalchemy import select

from console import health
from console.accounts import Origin, access_rules, admission, factors, security_keys
from console.accounts.factor_kinds import FactorAnswer, Site
from console.accounts.proofs import AT_SOURCE, Proof
from console.accounts.tables import RecoveryCode, SecondFactor
from console.app import create_app
from quota.actors import Role, steward
from quota.audit import AuditRecord
from quota.directory import Person
from tests.console.conftest import Visit
from tests.console.test_second_factor import code
from tests.console.test_second_factor import enrol as totp
from tests.identity.soft_keys import PRESENT, SoftKey, coded

OPTIONS = re.compile(r'data-key-options="([^"]*)"')
CODES = re.compile(r"<code>([A-Z0-9-]{19})</code>")
SITE = Site("http://localhost", "localhost")


def options(text: str) -> str:
    """What the page asks a key by."""
    found = OPTIONS.search(text)
    assert found, text
    return html.unescape(found[1])


def enrol(visit: Visit, passcode: str, name: str, key: SoftKey | None = None) -> tuple[SoftKey, list[str]]:
    """Enrol a key as a browser does; (the key, new recovery codes)."""
    key = key or SoftKey()
    begun = visit.send("/account/keys/add", {"passcode": passcode, "name": name})
    assert begun.status_code == 302, begun.text
    answer = visit.send("/account/keys/add", {"credential": key.made(options(visit.get("/account/keys/add").text))})
    assert answer.status_code in (200, 302), answer.text
    return key, CODES.findall(answer.text)


@pytest.fixture
def keyed(client_of, city):
    """(a browser of auditor1, the key by which its account is proven, the recovery codes)."""
    visit = client_of("auditor1")
    key, codes = enrol(visit, city.passwords["auditor1"], "办公室")
    assert len(set(codes)) == factors.CODES
    return visit, key, codes


def first_proof(app, city, keyed=True) -> tuple[Visit, str]:
    visit: Visit = app.test_client()
    answer = visit.log_in("auditor1", city.passwords["auditor1"])
    assert answer.status_code == 200
    visit.token = re.search(r'name="csrf-token" content="([^"]+)"', answer.text)[1]
    return visit, options(answer.text) if keyed else ""


def test_who_has_a_key_gets_in_by_password_and_key(app, city, house, keyed):
    _visit, key, codes = keyed
    visit, asked = first_proof(app, city)
    assert visit.get("/").status_code == 302
    answer = visit.send("/login/second", {"credential": key.signed(asked), "next": "/account/"})
    assert (answer.status_code, answer.location) == (302, "/account/")
    shown = visit.get("/account/").text
    assert "办公室" in shown
    assert "安全密钥" in shown
    with house.reading() as tx:
        records = [one.after for one in tx.scalars(select(AuditRecord).where(AuditRecord.action == "login.ok"))]
        assert records[-1] == {"method": "password", "factor": "webauthn"}
        row = tx.scalars(select(SecondFactor)).one()
        assert (row.state, row.name) == (1, "办公室")
        assert coded(key.id) not in row.sealed
    other, _asked = first_proof(app, city)
    assert other.send("/login/second", {"passcode": codes[0]}).status_code == 302


def test_an_answer_is_taken_once_and_to_its_own_challenge_alone(app, city, keyed):
    _visit, key, _codes = keyed
    key.counts = False  # as passkeys do: nothing but the challenge tells one answer from another
    visit, asked = first_proof(app, city)
    seen = key.signed(asked)
    with visit.session_transaction() as session:
        held = dict(session)
    assert visit.send("/login/second", {"credential": seen}).status_code == 302
    # The cookie of before, as somebody would send it who has kept it with the answer.
    again: Visit = app.test_client()
    with again.session_transaction() as session:
        session.update(held)
    again.get("/login/second")
    assert again.send("/login/second", {"credential": seen}).status_code == 422
    other, new = first_proof(app, city)
    assert json.loads(new)["challenge"] != json.loads(asked)["challenge"]
    assert other.send("/login/second", {"credential": seen}).status_code == 422
    assert other.send("/login/second", {"credential": key.signed(new)}).status_code == 302


def test_a_challenge_does_not_wait_for_ever(client_of, city, clock, house, keyed):
    visit, key, _codes = keyed
    asked = options(visit.get("/account/codes").text)
    assert options(visit.get("/account/factor/remove").text) == asked, "pages side by side ask by one challenge"
    clock.advance(minutes=9)
    new = options(visit.get("/account/codes").text)
    assert json.loads(new)["challenge"] != json.loads(asked)["challenge"], (
        "whoever is asked has all the time of a browser"
    )
    for late, minutes in ((asked, 0), (new, 11)):
        clock.advance(minutes=minutes)
        answers = [visit.send("/account/codes", {"credential": key.signed(late)}) for _try in range(6)]
        assert {one.status_code for one in answers} == {422}, "what came too late is not counted"
        assert "请再触碰一次" in answers[-1].text
    made = visit.send("/account/codes", {"credential": key.signed(options(visit.get("/account/codes").text))})
    assert len(CODES.findall(made.text)) == factors.CODES


@pytest.mark.parametrize(
    "wrong",
    ["origin", "host", "challenge", "absent", "other key", "signature", "count"],
)
def test_what_another_place_or_key_signed_proves_nothing(wrong):
    kind, key = security_keys.SecurityKey(), SoftKey()
    begun = kind.new()
    asked = security_keys.making(SITE, city="城", person_id=1, login="a", name="甲", begun=begun, kept=[])
    kept, state = kind.enrolled(begun, FactorAnswer(key.made(asked), None, site=SITE))
    challenge = b"c" * 32
    asked = security_keys.asking(SITE, challenge, [kept])
    assert kind.verify(kept, state, FactorAnswer(key.signed(asked), None, challenge, SITE)) == 1
    signer, otherwise, state = key, {}, 1
    if wrong == "origin":
        signer.origin = "https://guanj1a.example"
    elif wrong == "host":
        otherwise = {"host": "guanj1a.example"}
    elif wrong == "challenge":
        otherwise = {"challenge": coded(b"d" * 32)}
    elif wrong == "absent":
        otherwise = {"flags": 0}
    elif wrong == "other key":
        signer = replace(SoftKey(), id=key.id)
    elif wrong == "count":
        state = 9  # a copy of the key was used meanwhile
    told = json.loads(signer.signed(asked, **otherwise))
    if wrong == "signature":
        told["response"]["signature"] = told["response"]["signature"][:-4] + "AAAA"
    assert kind.verify(kept, state, FactorAnswer(json.dumps(told), None, challenge, SITE)) is None
    assert kind.verify(kept, 1, FactorAnswer(key.signed(asked, flags=PRESENT), None, challenge, None)) is None


HOSTILE = [
    "{", "{}", "[]", "null", '{"id": 1}', '{"id": "\\ud800"}', "{" * 5000, "{" + "x" * 40_000,
    '{"id":"AA","rawId":"AA","type":"public-key","response":{"clientDataJSON":"AA","attestationObject":"oA"}}',
    '{"id":"AA","rawId":"AA","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"AA","signature":"AA"}}',
]  # fmt: skip


@pytest.mark.parametrize("n", range(len(HOSTILE)))
def test_what_is_no_answer_of_a_key_is_refused(n):
    kind, key = security_keys.SecurityKey(), SoftKey()
    begun = kind.new()
    asked = security_keys.making(SITE, city="城", person_id=1, login="a", name="甲", begun=begun, kept=[])
    kept, _state = kind.enrolled(begun, FactorAnswer(key.made(asked), None, site=SITE))
    assert kind.enrolled(begun, FactorAnswer(HOSTILE[n], None, site=SITE)) is None
    assert (
        kind.verify(kept, 0, FactorAnswer(HOSTILE[n].replace('"AA"', f'"{coded(key.id)}"'), None, b"c", SITE)) is None
    )


def test_wrong_answers_are_counted_like_wrong_codes(app, city, house, keyed):
    _visit, key, _codes = keyed
    visit, asked = first_proof(app, city)
    stranger = replace(SoftKey(), id=key.id)
    answers = [visit.send("/login/second", {"credential": stranger.signed(asked)}) for _try in range(6)]
    assert [one.status_code for one in answers] == [422] * 5 + [429]
    assert "安全密钥没有通过验证" in answers[0].text
    with house.reading() as tx:
        failed = select(AuditRecord).where(AuditRecord.action == "login.second_fail")
        assert len(tx.scalars(failed).all()) == 5
        assert tx.scalars(select(SecondFactor)).one().state == 0


def test_several_keys_and_an_authenticator_stand_beside_each_other(app, client_of, city, clock, house, keyed):
    visit, key, codes = keyed

    def proof() -> str:
        return key.signed(options(visit.get("/account/codes").text))

    for name, said in (("", "名字"), ("办公室", "已有一把")):
        refused = visit.send("/account/keys/add", {"credential": proof(), "name": name})
        assert (refused.status_code, said in refused.text) == (422, True)
    visit.send("/account/keys/add", {"credential": proof(), "name": "家里"})
    shown = options(visit.get("/account/keys/add").text)
    assert [one["id"] for one in json.loads(shown)["excludeCredentials"]] == [coded(key.id)]
    assert visit.send("/account/keys/add", {"credential": "{}"}).status_code == 422
    second = SoftKey()
    joined = visit.send("/account/keys/add", {"credential": second.made(shown)})
    assert (joined.status_code, joined.location) == (302, "/account/"), "the recovery codes hold on"
    # An authenticator joins, and is exchanged later: then the codes are new.
    assert visit.send("/account/factor", {"credential": proof()}).status_code == 302
    assert visit.send("/account/factor", {"credential": "{}"}).status_code == 422
    secret = re.search(r'gj-secret">([A-Z2-7 ]+)<', visit.get("/account/factor").text)[1].replace(" ", "")
    assert visit.send("/account/factor", {"passcode": pyotp.TOTP(secret).at(clock.now)}).location == "/account/"
    with house.reading() as tx:
        rows = {one.name or one.kind: one.id for one in tx.scalars(select(SecondFactor))}
        assert set(rows) == {"办公室", "家里", "totp"}
        assert len(tx.scalars(select(RecoveryCode)).all()) == factors.CODES
    stranger, asked = first_proof(app, city)
    assert {one["id"] for one in json.loads(asked)["allowCredentials"]} == {coded(key.id), coded(second.id)}
    assert stranger.send("/login/second", {"credential": second.signed(asked)}).status_code == 302
    # Nobody takes away another's, nor without a proof.
    other = client_of("supervisor1")
    assert other.get(f"/account/factors/{rows['家里']}/remove").status_code == 404
    visit.get("/account/")
    assert visit.send(f"/account/factors/{rows['家里']}/remove", {}).status_code == 422
    assert visit.send(f"/account/factors/{rows['家里']}/remove", {"credential": proof()}).status_code == 302
    stranger, asked = first_proof(app, city)
    assert stranger.send("/login/second", {"credential": second.signed(asked)}).status_code == 422
    visit.get("/account/")
    assert visit.send(f"/account/factors/{rows['totp']}/remove", {"passcode": codes[1]}).status_code == 302
    last = visit.send(f"/account/factors/{rows['办公室']}/remove", {"credential": proof()})
    assert (last.status_code, "最后一个" in last.text) == (422, True)
    assert visit.send("/account/factor/remove", {"credential": proof()}).status_code == 302
    with house.reading() as tx:
        assert not tx.scalars(select(SecondFactor)).all()


def test_a_role_that_needs_two_factors_has_them_by_a_key(client_of, city, clock, house):
    with house.transaction(steward("test")) as tx:
        access_rules.enact(
            tx, second={Role.AUDITOR}, grace_days=0, proof_minutes=5, password_days=0, allowed={}, reason="试"
        )  # fmt: skip
    visit = client_of("auditor1")
    assert visit.get("/").location == "/account/factor"
    assert visit.get("/account/keys/add").status_code == 200
    key, _codes = enrol(visit, city.passwords["auditor1"], "办公室")
    assert visit.get("/").status_code == 200
    refused = visit.send(
        "/account/factor/remove", {"credential": key.signed(options(visit.get("/account/codes").text))}
    )
    assert refused.status_code == 409


def demand_keys(house, *roles: Role, days: int = 0) -> None:
    with house.transaction(steward("test")) as tx:
        access_rules.enact(
            tx, second=set(), keys=set(roles), grace_days=days, proof_minutes=5, password_days=0, allowed={}, reason="试"
        )  # fmt: skip


def test_a_role_that_needs_a_key_comes_in_by_no_code_once_it_has_one(app, client_of, city, clock, house):
    visit = client_of("auditor1")
    secret, codes = totp(visit, city.passwords["auditor1"], clock)
    clock.advance(minutes=1)
    demand_keys(house, Role.AUDITOR, days=7)
    assert visit.get("/").status_code == 200
    assert "登记安全密钥" in visit.get("/").text
    clock.advance(days=8)
    # Past the grace: who has none comes in by the code, to enrol a key and for nothing else.
    visit, _asked = first_proof(app, city, keyed=False)
    assert visit.send("/login/second", {"passcode": code(secret, clock)}).status_code == 302
    assert visit.get("/requests/").location == "/account/keys/add"
    clock.advance(minutes=1)
    assert "必须使用安全密钥" in visit.get("/account/keys/add").text
    key, made = enrol(visit, code(secret, clock), "办公室")
    assert not made, "the recovery codes hold on"
    assert visit.get("/requests/").status_code == 200
    clock.advance(minutes=6)
    # A code is no proof any more, neither at the door nor before an act that weighs.
    stranger, asked = first_proof(app, city)
    refused = stranger.send("/login/second", {"passcode": code(secret, clock)})
    assert (refused.status_code, "须用安全密钥" in refused.text) == (422, True)
    assert "须用安全密钥" in visit.send("/account/codes", {"passcode": code(secret, clock)}).text
    assert stranger.send("/login/second", {"credential": key.signed(asked)}).status_code == 302
    # A recovery code opens once, for a key that is not at hand.
    stranger, _asked = first_proof(app, city)
    assert stranger.send("/login/second", {"passcode": codes[0]}).status_code == 302
    assert stranger.get("/requests/").status_code == 200


def test_a_key_of_another_address_holds_nobody_to_it(app, client_of, city, clock, house, settings):
    visit = client_of("auditor1")
    secret, _codes = totp(visit, city.passwords["auditor1"], clock)
    clock.advance(minutes=1)
    enrol(visit, code(secret, clock), "办公室")
    demand_keys(house, Role.AUDITOR)
    clock.advance(minutes=1)
    visit, _asked = first_proof(app, city)
    assert visit.send("/login/second", {"passcode": code(secret, clock)}).status_code == 422
    moved = replace(settings, public_url="https://new.example.gov.cn")
    there = create_app(moved, house)
    there.test_client_class = Visit
    said = {one.check: one.said for one in health.examine(moved, house)}["keys"]
    assert "the keys of 1 people" in said
    # Nor does it shut anybody out where no key can be used at all.
    bare = create_app(replace(settings, public_url="http://10.1.2.3:8000"), house)
    bare.test_client_class = Visit
    clock.advance(minutes=1)
    visit, _asked = first_proof(bare, city, keyed=False)
    assert visit.send("/login/second", {"passcode": code(secret, clock)}).status_code == 302
    assert visit.get("/requests/").status_code == 200
    clock.advance(minutes=1)
    visit, _asked = first_proof(there, city, keyed=False)
    assert visit.send("/login/second", {"passcode": code(secret, clock)}).status_code == 302
    assert visit.get("/requests/").location == "/account/keys/add"
    clock.advance(minutes=1)
    assert "必须使用安全密钥" in visit.get("/account/keys/add").text
    key, _made = enrol(visit, code(secret, clock), "新地址", SoftKey(origin=moved.public_url))
    assert visit.get("/requests/").status_code == 200
    clock.advance(minutes=1)
    visit, asked = first_proof(there, city)
    assert visit.send("/login/second", {"passcode": code(secret, clock)}).status_code == 422
    assert visit.send("/login/second", {"credential": key.signed(asked)}).status_code == 302
    # The one of before may go, the one that can be asked may not.
    with house.reading() as tx:
        rows = {one.name: one.id for one in tx.scalars(select(SecondFactor))}
    for name, status in (("新地址", 422), ("办公室", 302)):
        proof = key.signed(options(visit.get("/account/codes").text))
        assert visit.send(f"/account/factors/{rows[name]}/remove", {"credential": proof}).status_code == status


def test_a_role_that_needs_a_key_keeps_its_last_one(client_of, city, clock, house, keyed):
    visit, key, _codes = keyed
    demand_keys(house, Role.AUDITOR)

    def proof() -> str:
        return key.signed(options(visit.get("/account/codes").text))

    assert visit.send("/account/factor", {"credential": proof()}).status_code == 302
    secret = re.search(r'gj-secret">([A-Z2-7 ]+)<', visit.get("/account/factor").text)[1].replace(" ", "")
    assert visit.send("/account/factor", {"passcode": pyotp.TOTP(secret).at(clock.now)}).status_code == 302
    with house.reading() as tx:
        rows = {one.kind: one.id for one in tx.scalars(select(SecondFactor))}
    refused = visit.send(f"/account/factors/{rows['webauthn']}/remove", {"credential": proof()})
    assert (refused.status_code, "最后一把" in refused.text) == (422, True)
    assert visit.send("/account/factor/remove", {"credential": proof()}).status_code == 409
    assert visit.send(f"/account/factors/{rows['totp']}/remove", {"credential": proof()}).status_code == 302


def test_what_a_source_says_of_two_factors_is_no_key(house, settings, keyed):
    with house.reading() as tx:
        who = tx.scalars(select(Person).where(Person.login == "auditor1")).one()
    proof = Proof(who.id, "oidc", who.session_epoch, AT_SOURCE)
    assert admission.enter(house, settings, proof, Origin("192.0.2.1")).token
    demand_keys(house, Role.AUDITOR)
    assert not admission.enter(house, settings, proof, Origin("192.0.2.1")).token
    assert admission.enter(house, settings, replace(proof, factor=factors.KEY), Origin("192.0.2.1")).token


def test_a_key_is_demanded_where_keys_can_be_used_alone(client_of, city, house, settings):
    form = {"grace_days": 7, "proof_minutes": 0, "password_days": 0, "key_secadmin": "y", "reason": "试"}
    elsewhere = create_app(replace(settings, public_url="http://10.1.2.3"), house)
    elsewhere.test_client_class = Visit
    visit = elsewhere.test_client()
    visit.log_in("secadmin1", city.passwords["secadmin1"])
    visit.get("/settings/access/enact")
    refused = visit.send("/settings/access/enact", form)
    assert (refused.status_code, "须经 https 和域名使用" in refused.text) == (422, True)
    visit = client_of(Role.SECADMIN)
    assert visit.send("/settings/access/enact", form).status_code == 302
    assert "必须用安全密钥" in visit.get("/settings/access/").text
    box = re.search(r'<input[^>]*name="key_secadmin"[^>]*>', visit.get("/settings/access/enact").text)
    assert box
    assert "checked" in box[0]
    with house.reading() as tx:
        held = access_rules.in_force(tx)
        assert set(held.keys) == {"secadmin"}
        assert access_rules.of(held.to_json()) == held
        plain = {name: one for name, one in held.to_json().items() if name != "keys"}
        assert access_rules.of(plain).keys == {}, "versions from before it could be demanded"


def test_an_act_that_weighs_asks_the_key_again(client_of, city, clock, house):
    with house.transaction(steward("test")) as tx:
        access_rules.enact(
            tx, second=set(), grace_days=0, proof_minutes=5, password_days=0, allowed={}, reason="试"
        )  # fmt: skip
    visit = client_of(Role.SECADMIN)
    key, _codes = enrol(visit, city.passwords["secadmin1"], "办公室")
    clock.advance(minutes=6)
    form = {"grace_days": 1, "proof_minutes": 5, "password_days": 0, "reason": "再试"}
    held = visit.send("/settings/access/enact", form)
    assert held.status_code == 401
    answer = key.signed(options(held.text))
    resumed = visit.send("/prove", {"credential": answer, "next": "/settings/access/enact", "kept-reason": "再试"})
    assert resumed.status_code == 200
    assert "已核验" in resumed.text
    assert answer not in html.unescape(resumed.text)
    assert visit.send("/settings/access/enact", form).status_code == 302


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://guanjia.example.gov.cn", "https://guanjia.example.gov.cn"),
        ("https://Guanjia.example.gov.cn:8443/", "https://guanjia.example.gov.cn:8443"),
        ("https://guanjia.example.gov.cn:443/x", "https://guanjia.example.gov.cn"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("http://guanjia.example.gov.cn", None),
        ("https://管家.例子.中国/", "https://xn--fctr65e.xn--fsqu00a.xn--fiqs8s"),
        (f"https://{'管' * 80}.cn/", None),
        ("https://10.1.2.3/", None),
        ("https://[2001:db8::1]/", None),
        ("https://guanjia:x/", None),
        ("", None),
    ],
)
def test_keys_are_asked_for_by_name_and_https(address, origin):
    found = security_keys.site(address)
    assert (found and found.origin) == origin


def test_where_no_key_can_be_asked_a_sentence_says_so_and_codes_go_on(house, settings, city, keyed):
    """An address without https; and a name that the keys were not enrolled at."""
    for address, said, stands in (
        ("http://10.1.2.3:8000", "须经 https 和域名使用", False),
        ("https://new.example.gov.cn", "登记在另一个地址", True),
    ):
        app = create_app(replace(settings, public_url=address), house)
        app.test_client_class = Visit
        visit: Visit = app.test_client()
        page = visit.log_in("auditor1", city.passwords["auditor1"])
        assert said in page.text
        assert not OPTIONS.search(page.text)
        visit.get("/login/second")
        assert visit.send("/login/second", {"passcode": keyed[2].pop()}).status_code == 302
        assert ("/account/keys/add" in visit.get("/account/").text) == stands
        assert visit.get("/account/keys/add").status_code == (200 if stands else 409)
