"""The door of the API: who a program acts for, how often it may ask, and whether its token allows what it asks.

A request below ``/api/v1`` brings ``Authorization: Bearer``; cookies are neither read nor set, so that no page of another site can
have a browser act here, and no CSRF token is needed.
"""

from __future__ import annotations

import time
from typing import Any, cast

from flask import Flask, current_app, g, request
from flask.sessions import SecureCookieSession, SessionInterface, SessionMixin
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from console import access
from console.api import tokens
from console.api.operations import PREFIX, ROOT, Operation
from console.api.tables import TokenKind
from console.book import book
from console.errors import Unidentified
from console.programs import asked
from quota.actors import nobody
from quota.errors import N_, NotAllowed, TooOften

EXTENSION = "guanjia_api"
A_MINUTE = 600
"""Requests that a token may send within a minute to one process of the console."""
FAILURES = 30
"""Requests without a good token that an address may send within a minute."""
PUBLIC = frozenset({"api.description", "api.calendar"})


class Gate:
    """What the application holds for the API: its operations, and how many came of late."""

    def __init__(self) -> None:
        self.operations: dict[str, Operation] = {}
        self.limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
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
    if not held.limiter.test(held.per_stranger, address):
        raise TooOften("api.often", OFTEN, seconds=60)
    try:
        with book().reading(nobody()) as tx:
            shown = tokens.recognise(tx, secret, kinds)
        if not access.stand_in(shown.person_id, f"api:{shown.prefix}"):
            raise Unidentified("token.unknown", tokens.UNKNOWN)
    except Unidentified:
        held.limiter.hit(held.per_stranger, address)
        raise
    if not held.limiter.hit(held.per_token, shown.prefix):
        raise TooOften("api.often", OFTEN, seconds=_seconds(held, shown.prefix))
    tokens.used(book(), shown, address)
    g.api_person = shown.person_id
    return shown


OFTEN = N_("请求过于频繁,请在%(seconds)s秒后再试")


def _seconds(held: Gate, prefix: str) -> int:
    resets = held.limiter.get_window_stats(held.per_token, prefix).reset_time
    return max(1, round(resets - time.time()))


def _gate() -> Gate:
    return gate(current_app._get_current_object())  # type: ignore[attr-defined]


def _bearer() -> str:
    """The token that the request shows. Raises Unidentified where there is none."""
    scheme, _blank, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unidentified("token.missing", N_("请在 Authorization 中给出 Bearer 令牌"))
    return token.strip()
