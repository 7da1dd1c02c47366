"""The door of the API: who a program acts for, how often it may ask, and whether its token allows what it asks.

A request below ``/api/v1`` brings ``Authorization: Bearer``; cookies are neither read nor set, so that no page of another site can
have a browser act here, and no CSRF token is needed.
"""

from __future__ import annotations

from typing import Any, cast

from flask import Flask, current_app, g, request
from flask.sessions import SecureCookieSession, SessionInterface, SessionMixin
from limits import RateLimitItemPerMinute

from console import access
from console.accounts import throttle
from console.api import tokens
from console.api.allowances import Allowances
from console.api.operations import PREFIX, ROOT, Operation
from console.api.tables import TokenKind
from console.book import book
from console.errors import Unidentified
from console.identity import absences
from console.programs import asked
from quota.actors import nobody
from quota.errors import N_, NotAllowed, TooOften

EXTENSION = "guanjia_api"
A_MINUTE = 600
"""Requests that a token may send within a minute."""
FAILURES = 30
"""Requests without a good token that an address may send within a minute."""
PUBLIC = frozenset({"api.description", "api.calendar"})


class Gate:
    """What the application holds for the API: its operations, and how many may still come."""

    def __init__(self) -> None:
        self.operations: dict[str, Operation] = {}
        self.allowances = Allowances()
        self.per_token = RateLimitItemPerMinute(A_MINUTE)
        self.per_stranger = RateLimitItemPerMinute(FAILURES)


class Cookieless(SessionInterface):
    """Sessions as they were; for programs one that lasts as long as the request and that no cookie holds."""

    def __init__(self, inner: SessionInterface) -> None:
        self.inner = inner

    def open_session(self, app: Flask, asking: Any) -> SessionMixin | None:
        if for_programs(asking.path, asking.endpoint):
            return SecureCookieSession()
        return self.inner.open_session(app, asking)

    def save_session(self, app: Flask, session: SessionMixin, response: Any) -> None:
        if not asked.by_program():
            self.inner.save_session(app, session, response)


def for_programs(path: str, endpoint: str | None) -> bool:
    """Whether a request is one of the API: an operation, or an address below it that nothing answers to."""
    return (endpoint or "").startswith(PREFIX) or (endpoint is None and path.startswith(f"{ROOT}/"))


def gate(app: Flask) -> Gate:
    return cast("Gate", app.extensions[EXTENSION])


def identify() -> None:
    """Know the person behind a program's token. Raises Unidentified, TooOften, NotAllowed. Before anything else looks who asks."""
    if not for_programs(request.path, request.endpoint):
        return
    asked.begin(asked.Asked())
    g.csrf_valid = True  # there is no cookie that a page of another site could send along
    if request.endpoint is None or request.endpoint in PUBLIC:
        return
    shown = recognised(_bearer(), (TokenKind.PERSONAL, TokenKind.SERVICE))
    operation = _gate().operations[request.endpoint]
    if operation.scope not in shown.scopes:
        raise NotAllowed("token.scope", N_("令牌的范围不含 %(scope)s"), scope=operation.scope)


def recognised(secret: str, kinds: tuple[TokenKind, ...]) -> tokens.TokenUse:
    """What ``secret`` is good for, and this request its person's. Raises as ``identify``."""
    held, address = _gate(), request.remote_addr or ""
    stranger = f"api-address-{throttle.network(address)}"
    _wait(held.allowances.refused(held.per_stranger, stranger))
    try:
        with book().reading(nobody()) as tx:
            shown = tokens.recognise(tx, secret, kinds)
            away = absences.absence(tx, shown.person_id)
        if not access.stand_in(shown.person_id, f"api:{shown.prefix}"):
            raise Unidentified("token.unknown", tokens.UNKNOWN)
    except Unidentified:
        _wait(held.allowances.take(book(), held.per_stranger, stranger, at_once=False))
        raise
    _wait(held.allowances.take(book(), held.per_token, f"api-{shown.prefix}"))
    if away is not None:
        raise NotAllowed("token.rests", tokens.RESTS, source=away.source, days=away.days)
    tokens.used(book(), shown, address)
    g.api_person = shown.person_id
    return shown


OFTEN = N_("请求过于频繁,请在%(seconds)s秒后再试")


def _wait(seconds: float) -> None:
    """Raises TooOften where somebody has to wait."""
    if seconds:
        raise TooOften("api.often", OFTEN, seconds=max(1, -int(-seconds // 1)))


def _gate() -> Gate:
    return gate(current_app._get_current_object())  # type: ignore[attr-defined]


def _bearer() -> str:
    """The token that the request shows. Raises Unidentified where there is none."""
    scheme, _blank, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unidentified("token.missing", N_("请在 Authorization 中给出 Bearer 令牌"))
    return token.strip()
