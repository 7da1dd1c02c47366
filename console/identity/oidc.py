"""OpenID Connect: the authorization code flow with PKCE, logout from both sides. Speaks to nobody before it is asked to.

The grammar of requests, tokens and signatures is that of Authlib and joserfc; here is what the house asks of an answer:

- the issuer's own name is that which was registered, in its configuration, in the answer's ``iss`` (RFC 9207) and in tokens;
- signatures are asymmetric, by a key that the issuer publishes; ``none`` and shared secrets are refused whatever it says;
- times may differ by ``SKEW_S``; a token without an end, an audience or a subject is none;
- ``nonce`` and ``state`` are of this browser and this try (that they are used once is watched by who calls);
- everything that is fetched lies under https (or on this very machine), follows no redirect, and is bounded in size and time.

Configuration and keys are kept for ``FRESH_S``. A token that names an unknown key has the keys fetched anew, at most once in
``REFETCH_S``, so that nobody can have the provider asked at will. A provider that doesn't answer is not asked again for
``REST_S``: a dead one costs a web thread one time-out, not every one of them.
"""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry

from console.identity.over_http import LARGEST, TIMEOUT_S, fault, guarded, secure
from console.identity.sources import Begun, Identity, LogoutNotice, SourceFault
from providers.options import option
from providers.secrets import Secret
from quota.errors import N_, Refused

SKEW_S = 60
"""How far the provider's clock may be from ours."""
FRESH_S, REFETCH_S, REST_S = 3600.0, 10.0, 10.0
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
LEFT = "http://schemas.openid.net/event/backchannel-logout"
HOURS_LEFT_S = 24 * 3600
"""A logout token is never believed for longer than this, whatever it says of itself."""
OF_THIS_LOGIN = ("amr", "acr", "auth_time")
"""Claims that say how somebody logged in there: taken from the signed token alone, never from what is told of the account."""


@dataclass(frozen=True, kw_only=True)
class OidcOptions:
    """What one is told by whoever runs the provider."""

    issuer: str = option(
        N_("签发者地址"), N_("issuer，如 https://oa.example.gov.cn/oidc；配置说明在其下的 .well-known 中")
    )
    client_id: str = option(N_("客户端编号"), N_("身份源为本系统登记的 client_id"))
    client_secret: Secret | None = option(N_("客户端密钥"), default=None)
    scopes: str = option(N_("申请的范围"), N_("openid 之外以空格分开"), default="openid profile")
    ca_file: str | None = option(N_("CA 证书文件"), N_("自建 CA 的证书，在运行本系统的主机上"), default=None)


@dataclass(slots=True)
class _Held:
    """What was read of the provider, and when (by a clock that only runs forward)."""

    metadata: dict[str, Any] | None = None
    metadata_at: float = 0.0
    keys: KeySet | None = None
    keys_at: float = 0.0
    rests_until: float = 0.0
    fault: SourceFault | None = None


class Oidc:
    """A provider. ``RedirectSource``; may be shared by threads."""

    Options = OidcOptions

    def __init__(self, options: OidcOptions) -> None:
        self.options = options
        self._held = _Held()
        self._guard = threading.Lock()

    # --- the person's way there and back ---

    def begin(self, callback: str, since: int = 0, *, silent: bool = False) -> Begun:
        endpoint = self._endpoint("authorization_endpoint")
        kept = {"state": generate_token(32), "nonce": generate_token(32), "verifier": generate_token(64)}
        anew = {"prompt": "login", "max_age": "0"} if since else {"prompt": "none"} if silent else {}
        with self._session(callback) as session:
            address, _state = session.create_authorization_url(
                endpoint, state=kept["state"], nonce=kept["nonce"], code_verifier=kept["verifier"], **anew
            )
        return Begun(address, {**kept, "since": str(since)} if since else kept)

    def finish(self, kept: Mapping[str, str], answer: Mapping[str, str], callback: str, now: int) -> Identity:
        if not kept.get("state") or not hmac.compare_digest(kept["state"].encode(), answer.get("state", "").encode()):
            raise SourceFault("stale", "state")
        self._issued_by(answer)
        if "error" in answer:
            raise _told(answer["error"], answer.get("error_description", ""))
        if not answer.get("code"):
            raise SourceFault("answer", "no code")
        token = self._token(answer["code"], kept["verifier"], callback)
        raw, access = token.get("id_token"), token.get("access_token")
        if not isinstance(raw, str):
            raise SourceFault("token", "no id_token")
        header, claims = self._opened(raw)
        found = CodeIDToken(
            claims, header,
            options={"iss": {"essential": True, "value": self._metadata()["issuer"]},
                     "aud": {"essential": True, "value": self.options.client_id}},
            params={"nonce": kept["nonce"], "client_id": self.options.client_id, "access_token": access},
        )  # fmt: skip
        _sound(claims, now)
        try:
            found.validate(now=now, leeway=SKEW_S)
        except (JoseError, TypeError, ValueError, AttributeError) as error:
            raise SourceFault("token", _why(error)) from None
        proven_at = claims.get("auth_time", 0)
        if kept.get("since") and not int(kept["since"]) - SKEW_S <= _number(proven_at) <= now + SKEW_S:
            raise SourceFault("not_anew", "auth_time")
        about = self._user_info(access, claims["sub"])
        told = {**{name: one for name, one in about.items() if name not in OF_THIS_LOGIN}, **claims}
        return Identity(claims["iss"], claims["sub"], told, str(claims.get("sid") or "")[:255], raw)

    def leave(self, identity: Identity, back: str) -> str:
        endpoint = self._metadata().get("end_session_endpoint")
        if not endpoint:
            return ""
        told = {"client_id": self.options.client_id, "post_logout_redirect_uri": back}
        if identity.hint:
            told["id_token_hint"] = identity.hint
        place = secure(str(endpoint))
        return f"{place}{'&' if '?' in place else '?'}{urlencode(told)}"

    def departed(self, message: Mapping[str, str], now: int) -> LogoutNotice:
        token = message.get("logout_token", "")
        if len(token) > LARGEST // 16:
            raise SourceFault("large")
        header, claims = self._opened(token)
        if str(header.get("typ", "logout+jwt")).lower() not in ("logout+jwt", "jwt", "application/logout+jwt"):
            raise SourceFault("token", "typ")
        registry = JWTClaimsRegistry(
            now=now, leeway=SKEW_S,
            iss={"essential": True, "value": self._metadata()["issuer"]},
            aud={"essential": True, "value": self.options.client_id},
            iat={"essential": True}, jti={"essential": True}, events={"essential": True},
        )  # fmt: skip
        try:
            registry.validate(claims)
        except JoseError as error:
            raise SourceFault("token", _why(error)) from None
        events = claims["events"]
        if not isinstance(events, dict) or not isinstance(events.get(LEFT), dict) or "nonce" in claims:
            raise SourceFault("token", "events")
        subject, session, mark = claims.get("sub") or "", claims.get("sid") or "", claims["jti"]
        if not all(isinstance(one, str) and len(one) <= 255 for one in (subject, session, mark)) or not (
            (subject or session) and mark
        ):
            raise SourceFault("token", "sub, sid")
        # Specified since 2022; older providers send none. What is old enough is not believed, so no mark is kept for ever.
        if claims["iat"] < now - HOURS_LEFT_S or claims.get("exp", now + SKEW_S) > now + HOURS_LEFT_S:
            raise SourceFault("token", "iat, exp")
        until = max(int(claims.get("exp", 0)), int(claims["iat"]) + HOURS_LEFT_S) + SKEW_S
        return LogoutNotice(claims["iss"], subject, session, mark, until)

    def probe(self, callback: str) -> str:
        """Configuration, keys, and whether the provider knows this client with this secret and this way back. What is asked
        there is refused by every provider for another reason (a code that it never gave), which tells who we are to it."""
        self._held = _Held()
        metadata = self._metadata()
        count = len(list(self._keys()))
        self._known_client(callback)
        try:
            self._token(generate_token(24), generate_token(64), callback)
        except SourceFault as told:
            if told.code != "stale":
                raise
        ways = [name for name in ("end_session_endpoint", "userinfo_endpoint") if metadata.get(name)]
        if metadata.get("backchannel_logout_supported"):
            ways.append("backchannel_logout")
        return ", ".join([str(metadata["issuer"]), f"{count} keys", *ways])

    def _known_client(self, callback: str) -> None:
        """Ask for the login page as a browser would. A provider that does not know the client, or this way back to it, may
        redirect nowhere and answers with an error itself."""
        sent = self.begin(callback).address
        answer = self._asked("GET", sent)
        if 400 <= answer.status_code < 500:
            text = answer.text[:20_000]
            said = f"HTTP {answer.status_code}"
            if "redirect_uri" in text:
                raise SourceFault("callback", f"{said}: {callback}")
            raise SourceFault("client", said)
        if answer.status_code >= 500:
            raise SourceFault("server", f"HTTP {answer.status_code}")

    # --- what is asked of the provider ---

    def _metadata(self) -> dict[str, Any]:
        held = self._held
        if held.metadata is not None and time.monotonic() - held.metadata_at < FRESH_S:
            return held.metadata
        issuer = secure(self.options.issuer.rstrip("/"))
        with self._guard:
            if held.metadata is not None and time.monotonic() - held.metadata_at < FRESH_S:
                return held.metadata
            found = self._json(get_well_known_url(issuer, external=True), "kind")
            # A slash at the end is the one difference that people can't see.
            if str(found.get("issuer", "")).rstrip("/") != issuer:
                raise SourceFault("issuer", str(found.get("issuer", "-")))
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if not isinstance(found.get(name), str):
                    raise SourceFault("metadata", name)
                secure(found[name])
            if "code" not in found.get("response_types_supported", ["code"]):
                raise SourceFault("metadata", "response_types_supported")
            held.metadata, held.metadata_at = found, time.monotonic()
            return found

    def _keys(self, unknown: bool = False) -> KeySet:
        """The provider's keys; ``unknown``: one is needed that is not among them."""
        uri = self._endpoint("jwks_uri")
        held = self._held
        with self._guard:
            age = time.monotonic() - held.keys_at
            if held.keys is not None and age < (REFETCH_S if unknown else FRESH_S):
                return held.keys
            content = self._json(uri, "keys")
            try:
                usable = [one for one in content["keys"] if one.get("kty") != "oct"]
                if not usable:
                    raise SourceFault("keys", uri)
                found = KeySet.import_key_set({"keys": usable})
            except (JoseError, KeyError, TypeError, ValueError, AttributeError) as error:
                raise SourceFault("keys", _why(error)) from None
            held.keys, held.keys_at = found, time.monotonic()
            return found

    def _opened(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """(header, claims) of a signed token. Raises SourceFault for every other."""
        allowed = self._metadata().get("id_token_signing_alg_values_supported")
        algorithms = [one for one in ALGORITHMS if not isinstance(allowed, list) or one in allowed] or list(ALGORITHMS)
        try:
            try:
                found = jwt.decode(token, self._keys(), algorithms=algorithms)
            except InvalidKeyIdError:
                found = jwt.decode(token, self._keys(unknown=True), algorithms=algorithms)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise SourceFault("token", _why(error)) from None
        return dict(found.header), dict(found.claims)

    def _token(self, code: str, verifier: str, callback: str) -> Mapping[str, Any]:
        endpoint = self._endpoint("token_endpoint")
        try:
            with self._session(callback) as session:
                token: Mapping[str, Any] = session.fetch_token(
                    endpoint, grant_type="authorization_code", code=code, code_verifier=verifier, redirect_uri=callback,
                    allow_redirects=False,
                )  # fmt: skip
                return token
        except OAuthError as error:
            raise _told(str(error.error), str(error.description or "")) from None
        except requests.HTTPError as error:
            raise SourceFault("server", str(error)[:100]) from None
        except ValueError as error:
            raise SourceFault("answer", _why(error)) from None
        except OSError as error:
            raise fault(error, endpoint) from None

    def _user_info(self, access: Any, subject: str) -> dict[str, Any]:
        """What the provider tells beside the token; nothing where it has no such place. Of another subject it is refused."""
        uri = self._metadata().get("userinfo_endpoint")
        if not isinstance(uri, str) or not isinstance(access, str):
            return {}
        found = self._json(secure(uri), "answer", {"Authorization": f"Bearer {access}"})
        if found.get("sub") != subject:
            raise SourceFault("token", "userinfo sub")
        return found

    def _json(self, uri: str, otherwise: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON object at ``uri``; a fault of the code ``otherwise`` where there is none."""
        held = self._held
        if held.fault is not None and time.monotonic() < held.rests_until:
            raise held.fault
        answer = self._asked("GET", uri, headers)
        if answer.status_code >= 500:
            raise SourceFault("server", f"{uri}: HTTP {answer.status_code}")
        try:
            found = answer.json() if answer.status_code == 200 else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise SourceFault(otherwise, f"{uri}: HTTP {answer.status_code}")
        return found

    def _asked(self, method: str, uri: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        try:
            with self._session("") as session:
                answer: requests.Response = session.request(
                    method, uri, withhold_token=True, allow_redirects=False,
                    headers={"Accept": "application/json, text/html;q=0.5", **(headers or {})},
                )  # fmt: skip
                return answer
        except OSError as error:
            found = fault(error, uri)
            self._held.fault, self._held.rests_until = found, time.monotonic() + REST_S
            raise found from None

    def _session(self, callback: str) -> OAuth2Session:
        secret = _plain(self.options.client_secret)
        known = (self._held.metadata or {}).get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        method = (
            "none" if not secret else "client_secret_basic" if "client_secret_basic" in known else "client_secret_post"
        )
        scopes = ["openid", *(one for one in self.options.scopes.split() if one != "openid")]
        session = OAuth2Session(
            self.options.client_id, secret, token_endpoint_auth_method=method, scope=" ".join(scopes),
            redirect_uri=callback, code_challenge_method="S256", default_timeout=TIMEOUT_S,
        )  # fmt: skip
        guarded(session, self.options.ca_file)
        return session

    def _endpoint(self, name: str) -> str:
        return secure(str(self._metadata()[name]))

    def _issued_by(self, answer: Mapping[str, str]) -> None:
        """Whether the answer says that it is of this provider, where that is a provider that says so."""
        metadata = self._metadata()
        if "iss" not in answer and not metadata.get("authorization_response_iss_parameter_supported"):
            return
        if answer.get("iss") != metadata["issuer"]:
            raise SourceFault("answer", "iss")


def _told(error: str, description: str) -> SourceFault:
    """The fault that a provider names by an error of OAuth."""
    codes = {
        "invalid_client": "client_secret",
        "unauthorized_client": "client",
        "invalid_grant": "stale",
        **dict.fromkeys(
            ("login_required", "interaction_required", "consent_required", "account_selection_required"), "away"
        ),
        "redirect_uri_mismatch": "callback",
        "invalid_redirect_uri": "callback",
        "server_error": "server",
        "temporarily_unavailable": "busy",
    }
    plain = "".join(one for one in f"{error}: {description}"[:300] if ord(one) >= 32)
    return SourceFault(codes.get(error, "declined"), plain)


def _sound(claims: Mapping[str, Any], now: int) -> None:
    """Refuse what a token never holds: an issuer or subject that is no text, times that are no numbers of this age."""
    for name in ("iss", "sub"):
        if not isinstance(claims.get(name), str) or not 0 < len(claims[name]) <= 255:
            raise SourceFault("token", name)
    for name in ("exp", "iat"):
        value = claims.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not -(2**53) < value < 2**53:
            raise SourceFault("token", name)
    if claims["iat"] > now + SKEW_S:
        raise SourceFault("token", "iat")


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _plain(secret: Secret | None) -> str:
    if secret is None:
        return ""
    try:
        return secret.reveal()
    except Refused as refused:
        raise SourceFault("secret", str(refused)) from None


def _why(error: BaseException) -> str:
    """What is wrong, without what was wrong: a token's content is nobody's to read in a log."""
    return getattr(error, "error", "") or type(error).__name__
