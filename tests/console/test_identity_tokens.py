"""What a provider, or somebody who speaks in its name, may send: every token that is not exactly what was asked for is refused,
every failure has its sentence, and nobody can have the provider asked at will."""

from __future__ import annotations

import hmac
import json
import ssl
import threading
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import trustme
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from sqlalchemy import cast, select

from console.accounts import Origin, SignIn, admission
from console.identity import (
    FAULTS,
    Identity,
    IdentitySession,
    RedirectSource,
    SourceFault,
    arrivals,
    connections,
    departures,
    kinds,
    rulebook,
)
from console.identity import oidc as protocol
from console.identity.oidc import Oidc, OidcOptions
from providers.secrets import Secret
from quota.actors import steward
from quota.errors import NotAllowed
from tests.identity import CLIENT, forger
from tests.patience import free_port

BACK = "http://localhost/identity/oa/back"
NOW = 1_780_000_000
EVENT = {protocol.LEFT: {}}


@pytest.fixture(scope="module")
def speaker():
    with forger() as made:
        yield made


@pytest.fixture
def issuer(speaker):
    speaker.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
    speaker.published, speaker.token, speaker.metadata, speaker.broken, speaker.user = [speaker.key], None, {}, {}, {}
    speaker.asked.clear()
    speaker.forms.clear()
    return speaker


def source_of(issuer, **options):
    told = {
        "issuer": issuer.issuer,
        "client_id": CLIENT,
        "client_secret": Secret("env:X", lambda _place: "shh-shh-shh"),
    }
    return Oidc(OidcOptions(**{**told, **options}))


def claims(issuer, nonce, /, **changes):
    told = {"iss": issuer.issuer, "sub": "u-1", "aud": CLIENT, "iat": NOW, "exp": NOW + 300, "nonce": nonce}
    return {name: value for name, value in {**told, **changes}.items() if value is not None}


def finish(issuer, source, make, now=NOW, **answer):
    begun = source.begin(BACK)
    issuer.token = make(begun.kept["nonce"])
    return source.finish(begun.kept, {"state": begun.kept["state"], "code": "a-code", **answer}, BACK, now)


def refused(issuer, make, code="token", **options):
    with pytest.raises(SourceFault) as fault:
        finish(issuer, source_of(issuer), make, **options)
    assert fault.value.code == code, fault.value
    assert "ey" not in fault.value.said  # no token in what is logged
    return fault.value


def test_what_was_asked_for_is_taken(issuer):
    found = finish(issuer, source_of(issuer), lambda nonce: issuer.sign(claims(issuer, nonce, name="王", sid="s-1")))
    assert (found.issuer, found.subject, found.session, found.claims["name"]) == (issuer.issuer, "u-1", "s-1", "王")
    form = issuer.forms[-1]
    assert form["redirect_uri"] == BACK
    assert len(form["code_verifier"]) >= 43


WRONG = {
    "another nonce": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "another audience": {"aud": "somebody-else"},
    "no audience": {"aud": None},
    "several audiences, none authorised": {"aud": [CLIENT, "other"]},
    "another authorised party": {"azp": "somebody-else"},
    "another issuer": {"iss": "https://other.example"},
    "no issuer": {"iss": None},
    "expired": {"exp": NOW - 61},
    "no end": {"exp": None},
    "an end that is no number": {"exp": "tomorrow"},
    "an end that is true": {"exp": True},
    "an end beyond all numbers": {"exp": 10**400},
    "no beginning": {"iat": None},
    "not begun": {"iat": NOW + 61, "exp": NOW + 999},
    "not yet": {"nbf": NOW + 61},
    "no subject": {"sub": None},
    "a subject that is a list": {"sub": ["u-1"]},
    "a subject without an end": {"sub": "u" * 300},
    "an empty subject": {"sub": ""},
    "of another access token": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_a_claim_that_is_wrong_is_refused(issuer, changes):
    refused(issuer, lambda nonce: issuer.sign(claims(issuer, nonce, **changes)))


@pytest.mark.parametrize("changes", [{"exp": NOW - 59}, {"iat": NOW + 59, "exp": NOW + 400}], ids=["behind", "ahead"])
def test_a_clock_may_be_a_minute_off(issuer, changes):
    assert (
        finish(issuer, source_of(issuer), lambda nonce: issuer.sign(claims(issuer, nonce, **changes))).subject == "u-1"
    )


def unsigned(token):
    """The token without a signature, saying so."""
    return jwt.encode({"alg": "none"}, token, OctKey.generate_key(256), algorithms=["none"])


def shared(token, secret):
    """The token signed with a secret that both sides know, by hand: no library signs with a public key."""
    head, body = (
        urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in ({"alg": "HS256", "kid": "one"}, token)
    )
    signature = hmac.digest(secret, head + b"." + body, "sha256")
    return b".".join([head, body, urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def test_no_signature_is_none(issuer):
    refused(issuer, lambda nonce: unsigned(claims(issuer, nonce)))
    issuer.metadata["id_token_signing_alg_values_supported"] = ["none"]
    refused(issuer, lambda nonce: unsigned(claims(issuer, nonce)))


def test_a_signature_by_another_key_is_refused(issuer):
    stranger = RSAKey.generate_key(2048, {"kid": "one"})
    refused(issuer, lambda nonce: issuer.sign(claims(issuer, nonce), key=stranger))


def test_a_public_key_is_no_shared_secret(issuer):
    """What everybody knows of the provider signs nothing, nor does the client's secret."""
    issuer.metadata["id_token_signing_alg_values_supported"] = ["RS256", "HS256"]
    for secret in (issuer.key.as_pem(private=False), b"shh-shh-shh"):
        refused(issuer, lambda nonce, secret=secret: shared(claims(issuer, nonce), secret))


def test_a_key_within_the_token_itself_is_not_looked_at(issuer):
    stranger = RSAKey.generate_key(2048, {"kid": "mine"})
    header = {"jwk": stranger.as_dict(private=False)}
    refused(issuer, lambda nonce: issuer.sign(claims(issuer, nonce), key=stranger, **header))


@pytest.mark.parametrize("token", ["", "a.b.c", "{}", "x" * 100_000, "e30.e30.", "王.王.王"])
def test_what_is_no_token_is_refused(issuer, token):
    refused(issuer, lambda _nonce: token)


@pytest.mark.parametrize("auth_time", [None, NOW - 3600, NOW + 3600, True, "now"])
def test_a_proof_from_before_is_none_that_is_asked_for_anew(issuer, auth_time):
    source = source_of(issuer)
    begun = source.begin(BACK, NOW - 10)
    answer = {"state": begun.kept["state"], "code": "a-code"}
    issuer.token = issuer.sign(claims(issuer, begun.kept["nonce"], auth_time=auth_time))
    with pytest.raises(SourceFault) as fault:
        source.finish(begun.kept, answer, BACK, NOW)
    assert fault.value.code == ("token" if auth_time == "now" else "not_anew")
    issuer.token = issuer.sign(claims(issuer, begun.kept["nonce"], auth_time=NOW - 5))
    assert source.finish(begun.kept, answer, BACK, NOW).subject == "u-1"


def test_keys_are_fetched_anew_for_one_that_is_not_known(issuer, monkeypatch):
    monkeypatch.setattr(protocol, "REFETCH_S", 0.0)
    source = source_of(issuer)
    finish(issuer, source, lambda nonce: issuer.sign(claims(issuer, nonce)))
    issuer.key = ECKey.generate_key("P-256", {"kid": "two", "use": "sig"})
    issuer.published = [issuer.key]
    issuer.metadata["id_token_signing_alg_values_supported"] = ["RS256", "ES256"]
    fresh = source_of(issuer)
    assert finish(issuer, fresh, lambda nonce: issuer.sign(claims(issuer, nonce), alg="ES256")).subject == "u-1"
    third = ECKey.generate_key("P-256", {"kid": "three", "use": "sig"})
    issuer.published.append(third)
    assert (
        finish(issuer, fresh, lambda nonce: issuer.sign(claims(issuer, nonce), key=third, alg="ES256")).subject == "u-1"
    )
    assert issuer.asked.count("/jwks") == 3


def test_nobody_has_the_keys_fetched_at_will(issuer):
    source = source_of(issuer)
    stranger = RSAKey.generate_key(2048, {"kid": "never heard of"})
    for _try in range(5):
        with pytest.raises(SourceFault):
            source.departed(told(issuer.sign(gone(issuer), key=stranger)), NOW)
    assert issuer.asked.count("/jwks") == 1
    assert issuer.asked.count("/.well-known/openid-configuration") == 1


def test_a_provider_that_names_itself_in_answers_must(issuer):
    issuer.metadata["authorization_response_iss_parameter_supported"] = True
    refused(issuer, lambda nonce: issuer.sign(claims(issuer, nonce)), code="answer")
    refused(issuer, lambda nonce: issuer.sign(claims(issuer, nonce)), code="answer", iss="https://other.example")


def test_another_state_is_refused_before_the_provider_is_asked(issuer):
    refused(issuer, lambda nonce: issuer.sign(claims(issuer, nonce)), code="stale", state="another")
    assert "/token" not in issuer.asked


def test_what_is_told_of_another_person_is_refused(issuer):
    issuer.metadata["userinfo_endpoint"] = f"{issuer.issuer}/me"
    issuer.user = {"sub": "u-2", "groups": ["auditors"]}
    refused(issuer, lambda nonce: issuer.sign(claims(issuer, nonce)))
    issuer.user = {"sub": "u-1", "iss": "https://other.example", "groups": ["staff"], "amr": ["otp"], "acr": "3"}
    found = finish(issuer, source_of(issuer), lambda nonce: issuer.sign(claims(issuer, nonce)))
    assert found.claims["groups"] == ["staff"]
    assert found.claims["iss"] == issuer.issuer  # what is signed goes before what is told
    assert not {"amr", "acr"} & set(found.claims)  # how somebody logged in is signed, or not known


BROKEN = {
    "an empty page": ("/.well-known/openid-configuration", 200, b"", "kind"),
    "a list": ("/.well-known/openid-configuration", 200, b"[]", "kind"),
    "not there": ("/.well-known/openid-configuration", 404, b"{}", "kind"),
    "out of order": ("/.well-known/openid-configuration", 503, b"{}", "server"),
    "deeper than anybody means": ("/.well-known/openid-configuration", 200, b"[" * 100_000, "kind"),
    "without an end": ("/.well-known/openid-configuration", 200, b" " * (2 * 2**20), "large"),
    "keys that are none": ("/jwks", 200, b'{"keys": "no"}', "keys"),
    "no keys": ("/jwks", 200, b'{"keys": []}', "keys"),
    "secret keys": ("/jwks", 200, b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "one"}]}', "keys"),
    "keys elsewhere": ("/jwks", 302, b"", "keys"),
    "another client": ("/token", 401, b'{"error": "invalid_client"}', "client_secret"),
    "a page for people": ("/token", 200, b"<html>", "answer"),
    "a dead token endpoint": ("/token", 500, b"", "server"),
}


@pytest.mark.parametrize(("path", "status", "body", "code"), BROKEN.values(), ids=BROKEN)
def test_a_broken_provider_has_a_sentence(issuer, path, status, body, code):
    issuer.broken[path] = status, body
    refused(issuer, lambda nonce: issuer.sign(claims(issuer, nonce)), code=code)
    assert FAULTS[code]


WRONG_METADATA = {
    "another issuer": ({"issuer": "https://other.example"}, "issuer"),
    "no token endpoint": ({"token_endpoint": None}, "metadata"),
    "another flow": ({"response_types_supported": ["id_token"]}, "metadata"),
    "keys in clear over the network": ({"jwks_uri": "http://oa.example/jwks"}, "insecure"),
    "keys in a file": ({"jwks_uri": "file:///etc/passwd"}, "insecure"),
}


@pytest.mark.parametrize(("changes", "code"), WRONG_METADATA.values(), ids=WRONG_METADATA)
def test_a_configuration_that_makes_no_sense_is_refused(issuer, changes, code):
    issuer.metadata.update(changes)
    refused(issuer, lambda nonce: issuer.sign(claims(issuer, nonce)), code=code)


def test_an_address_in_clear_is_not_asked():
    with pytest.raises(SourceFault) as fault:
        Oidc(OidcOptions(issuer="http://oa.example", client_id="x")).begin(BACK)
    assert fault.value.code == "insecure"


def test_no_name_and_nobody_there_have_sentences():
    for address, code in (("https://no-such-host.invalid", "name"), (f"http://127.0.0.1:{free_port()}", "refused")):
        source = Oidc(OidcOptions(issuer=address, client_id="x"))
        with pytest.raises(SourceFault) as fault:
            source.probe(BACK)
        assert fault.value.code == code


def test_a_dead_provider_is_asked_once_in_a_while(issuer, monkeypatch):
    source = Oidc(OidcOptions(issuer=f"http://127.0.0.1:{free_port()}", client_id="x"))
    asked = []
    real = source._asked
    monkeypatch.setattr(source, "_asked", lambda *one: asked.append(one) or real(*one))
    for _try in range(5):
        with pytest.raises(SourceFault):
            source.begin(BACK)
    assert len(asked) == 1


def test_an_authority_of_ones_own_is_trusted_by_its_file_alone(tmp_path):
    authority = trustme.CA()
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    address = f"https://localhost:{server.server_port}"
    try:
        for ca_file, code in (
            (None, "certificate"),
            (str(tmp_path / "ca.pem"), "server"),
            ("/nowhere.pem", "certificate"),
        ):
            with pytest.raises(SourceFault) as fault:
                Oidc(OidcOptions(issuer=address, client_id="x", ca_file=ca_file)).begin(BACK)
            assert fault.value.code == code, fault.value  # a handler without verbs answers 501
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- what a provider says behind the browser's back ---


def told(token):
    """The form that says it."""
    return {"logout_token": token}


def gone(issuer, **changes):
    claims = {"iss": issuer.issuer, "aud": CLIENT, "iat": NOW, "exp": NOW + 120, "jti": "j-1", "sub": "u-1", "sid": "s-1",
              "events": EVENT}  # fmt: skip
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


WRONG_DEPARTURES = {
    "another audience": {"aud": "somebody-else"},
    "another issuer": {"iss": "https://other.example"},
    "expired": {"exp": NOW - 61},
    "an end too far away": {"exp": NOW + 10**7},
    "old": {"iat": NOW - 25 * 3600},
    "a login": {"events": None},
    "another event": {"events": {"http://other.example": {}}},
    "an event that is a text": {"events": protocol.LEFT},
    "a nonce": {"nonce": "n"},
    "of nobody": {"sub": None, "sid": None},
    "without a number": {"jti": None},
    "a number that is none": {"jti": 7},
    "a subject that is none": {"sub": {"a": 1}},
}


@pytest.mark.parametrize("changes", WRONG_DEPARTURES.values(), ids=WRONG_DEPARTURES)
def test_a_departure_that_is_none_is_refused(issuer, changes):
    with pytest.raises(SourceFault) as fault:
        source_of(issuer).departed(told(issuer.sign(gone(issuer, **changes))), NOW)
    assert fault.value.code == "token"


def test_an_unsigned_departure_is_refused(issuer):
    with pytest.raises(SourceFault):
        source_of(issuer).departed(told(unsigned(gone(issuer))), NOW)
    with pytest.raises(SourceFault):
        source_of(issuer).departed(told(issuer.sign(gone(issuer), typ="at+jwt")), NOW)


@pytest.fixture
def clock(clock):
    clock.now = datetime.fromtimestamp(NOW, UTC)
    return clock


@pytest.fixture
def source(house, issuer):
    with house.transaction(steward()) as tx:
        row = connections.register(tx, "oa", "oidc", "市OA", {"issuer": issuer.issuer, "client_id": CLIENT})
        rulebook.enact(tx, row, {"login": "login", "link": True}, "试用")
    return row


def came(house, settings, source, issuer, subject, session, login="auditor1"):
    identity = Identity(issuer.issuer, subject, {"login": login}, session, "a-hint")
    here = Origin("192.0.2.1")
    return admission.enter(house, settings, arrivals.arrive(house, source.id, identity, here), here).token


def open_sessions(house):
    with house.reading() as tx:
        rows = tx.execute(
            select(IdentitySession.session, IdentitySession.hint).join(
                SignIn, (SignIn.outside == cast(IdentitySession.id, SignIn.outside.type)) & SignIn.ended_at.is_(None)
            )
        ).all()
    assert all(hint for _session, hint in rows)
    return {session for session, _hint in rows}


def test_who_left_there_leaves_here_once(client, house, settings, source, issuer):
    for subject, session, login in (
        ("u-1", "s-1", "auditor1"),
        ("u-1", "s-2", "auditor1"),
        ("u-2", "s-3", "supervisor1"),
    ):
        came(house, settings, source, issuer, subject, session, login)
    assert open_sessions(house) == {"s-1", "s-2", "s-3"}
    token = issuer.sign(gone(issuer))
    answer = client.post("/identity/oa/departed", data={"logout_token": token})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert open_sessions(house) == {"s-2", "s-3"}
    came(house, settings, source, issuer, "u-1", "s-1")
    again = client.post("/identity/oa/departed", data={"logout_token": token})
    assert (again.status_code, again.json["error"]) == (400, "invalid_request")
    assert open_sessions(house) == {"s-1", "s-2", "s-3"}
    of_all = issuer.sign(gone(issuer, sid=None, jti="j-2"))
    assert client.post("/identity/oa/departed", data={"logout_token": of_all}).status_code == 200
    assert open_sessions(house) == {"s-3"}
    mixed = issuer.sign(gone(issuer, sub="u-1", sid="s-3", jti="j-3"))
    assert client.post("/identity/oa/departed", data={"logout_token": mixed}).status_code == 200
    assert open_sessions(house) == {"s-3"}


def test_strangers_who_send_departures_wait(client, house, source, issuer):
    answers = [client.post("/identity/oa/departed", data={"logout_token": "a.b.c"}).status_code for _try in range(30)]
    assert answers[0] == 400
    assert answers[-1] == 429
    assert client.post("/identity/none/departed").status_code == 404


def test_a_session_that_ended_there_before_the_door_opened_stays_shut(house, settings, source, issuer):
    """Between the proof and the door a second factor may take minutes: what ended meanwhile opens nothing."""
    identity = Identity(issuer.issuer, "u-1", {"login": "auditor1"}, "s-1", "")
    here = Origin("192.0.2.1")
    proof = arrivals.arrive(house, source.id, identity, here)
    departures.departed(house, settings, source, told(issuer.sign(gone(issuer))), "192.0.2.9")
    with pytest.raises(NotAllowed, match=r"identity\.ended"):
        admission.enter(house, settings, proof, here)


# --- another kind of source ---


class Ticket:
    """One that people go to without keys or tokens, as CAS is."""

    def __init__(self, options):
        self.options = options

    def begin(self, callback, since=0, *, silent=False):
        return protocol.Begun(f"/cas?service={callback}{'&renew=true' if since else ''}", {})

    def finish(self, _kept, answer, _callback, _now):
        if answer.get("ticket") != "ST-1":
            raise SourceFault("token")
        return Identity("cas:here", "an", {"uid": "auditor1"})

    def leave(self, _identity, _back):
        return ""

    def departed(self, _message, _now):
        raise SourceFault("answer")

    def probe(self, _callback):
        return "a ticket office"


@dataclass(frozen=True)
class NoOptions:
    """It wants to be told nothing."""


@pytest.fixture
def other_kinds(monkeypatch):
    monkeypatch.setattr(kinds, "_kinds", dict(kinds._kinds))
    kinds.register(kinds.SourceKind("toy-cas", "票据", NoOptions, Ticket, login="user", name="name"))


def test_other_kinds_join_by_the_same_interface(other_kinds, client, house, settings):
    with house.transaction(steward()) as tx:
        row = connections.register(tx, "toy-cas", "toy-cas", "toy-cas", {})
        rulebook.enact(tx, row, {"login": "uid", "link": True}, "试用")
    assert isinstance(connections.opened(house, settings, row), RedirectSource)
    assert client.get("/identity/toy-cas/go").location == "/cas?service=http://localhost/identity/toy-cas/back"
    assert client.get("/identity/toy-cas/back?ticket=ST-9").status_code == 502
    client.get("/identity/toy-cas/go")
    assert client.get("/identity/toy-cas/back?ticket=ST-1").status_code == 302
    client.get("/password")
    assert client.send("/logout").status_code == 302  # it has no place to leave at
    with house.reading() as tx:
        assert {one.method for one in tx.scalars(select(SignIn))} == {"toy-cas"}
