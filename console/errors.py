"""Refusals and mishaps as pages: one table from the book's classes to HTTP, and what each page says."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flask import Flask, Response, current_app, g, render_template, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES

from console.programs import asked
from console.security import local, same_origin
from console.words import sentence
from quota.actors import Role
from quota.errors import (
    N_,
    Conflict,
    Invalid,
    NoRoom,
    NotAllowed,
    NotFound,
    OverCapacity,
    Refused,
    TooOften,
    WrongState,
    out_of_room,
)

log = logging.getLogger(__name__)

STATUS: dict[type[Refused], int] = {
    NotFound: 404,
    NotAllowed: 403,
    Conflict: 409,
    OverCapacity: 409,
    WrongState: 409,
    Invalid: 422,
    TooOften: 429,
    NoRoom: 507,  # who sent it keeps it and tries again
    Refused: 409,
}

SECRET = ("csrf_token", "password", "old", "new", "again", "next", "passcode", "credential")
"""Fields never shown back."""


PROBLEM = "application/problem+json"
UNFIT = N_("填写的内容或地址中有无法处理的数字或字符,请改正后重试")

Teller = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Denied(NotAllowed):
    """The page needs a right that this person lacks: ``roles`` are those that have it."""

    def __init__(self, roles: Iterable[Role]) -> None:
        super().__init__("role.missing", N_("您的角色没有打开这个页面的权限"))
        self.roles = frozenset(roles)


class Unidentified(NotAllowed):
    """Nobody is known by what a program showed."""


class Unfilled(Invalid):
    """A form lacks something or has what it cannot take: (name of the field or "", what is wrong) each."""

    def __init__(self, places: Iterable[tuple[str, str]]) -> None:
        super().__init__("form.unfilled", N_("填写的内容有误,请按所列各项改正"))
        self.places = tuple(places)


STATUS[Unidentified] = 401


def status(refused: Refused) -> int:
    """The HTTP status of a refusal: that of its nearest class in the table."""
    return next(STATUS[kind] for kind in type(refused).__mro__ if kind in STATUS)


def typed() -> list[tuple[str, str]]:
    """What the person had typed into the form that was refused, so that it can be copied or sent again."""
    if request.method != "POST":
        return []
    try:
        fields = list(request.form.items(multi=True))
    except RequestEntityTooLarge:
        return []
    return [
        (name, value)
        for name, value in fields
        if value.strip() and not any(name == one or name.endswith("-" + one) for one in SECRET)
    ]


AGAIN_S = 60
"""When to send again what there was no room for."""


def _refused(refused: Refused) -> Any:
    code = status(refused)
    if isinstance(refused, NoRoom):
        log.error("request %s %s %s: %s", g.get("request_id", "-"), request.method, request.path, refused)
        return _no_room(refused)
    if asked.by_program():
        answer = problem(code, refused.code, sentence(refused.message, refused.params), _places(refused))
        if isinstance(refused, TooOften):
            answer.headers.update(again_after(refused))
        return answer
    page = _page(
        code,
        reason=sentence(refused.message, refused.params),
        code=refused.code,
        roles=[role for role in Role if role in refused.roles] if isinstance(refused, Denied) else [],
        events=_events(refused),
    )
    return (*page, again_after(refused)) if isinstance(refused, TooOften) else page


def again_after(refused: TooOften) -> dict[str, str]:
    """The header that says after how long to come again."""
    return {"Retry-After": str(refused.params["seconds"])}


def _places(refused: Refused) -> list[tuple[str, str]]:
    """Where a refusal found what it refuses: (name of the field, what is wrong)."""
    if isinstance(refused, Unfilled):
        return list(refused.places)
    place = str(refused.params.get("field", ""))
    return [(place, sentence(refused.message, refused.params))] if place else []


def problem(status_code: int, code: str, said: str, places: Iterable[tuple[str, str]] = ()) -> Response:
    """A refusal or a mishap as ``application/problem+json`` (RFC 9457): its permanent code, a sentence, and the places."""
    told = {
        "type": f"urn:guanjia:{code}",
        "title": HTTP_STATUS_CODES.get(status_code, ""),
        "status": status_code,
        "code": code,
        "detail": said,
        "instance": f"urn:guanjia:request:{g.get('request_id', '')}",
        "errors": [{"field": field, "detail": what} for field, what in places],
    }
    answer = Response(json.dumps(told, ensure_ascii=False), status_code, mimetype=PROBLEM)
    if status_code == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="guanjia"'
    return answer


def _no_room(refused: NoRoom) -> Any:
    """A page for people; programs get JSON, and agents the one status that all of them hold for passing."""
    said, again = sentence(refused.message, refused.params), {"Retry-After": str(AGAIN_S)}
    of_program = getattr(current_app.view_functions.get(request.endpoint or ""), "guanjia_program", False)
    if asked.by_program():
        answer = problem(507, refused.code, said)
        answer.headers.update(again)
        return answer
    if of_program or request.accept_mimetypes.best == "application/json":
        told = {"code": refused.code, "message": said, "request_id": g.get("request_id", "")}
        return told, 503 if of_program else 507, again
    return *_page(507, reason=said, code=refused.code), again


_tellers: dict[str, Teller] = {}


def tell(code: str, teller: Teller) -> None:
    """Have the changes that a Conflict of ``code`` names told by ``teller``: recorded change → event of a timeline."""
    _tellers[code] = teller


def _events(refused: Refused) -> list[Mapping[str, Any]]:
    """What changed meanwhile, newest first, as events of a timeline: at, who, what, reason, changes."""
    teller = _tellers.get(refused.code)
    return [teller(one) for one in reversed(refused.params.get("changes") or [])] if teller else []


def _http(error: HTTPException) -> Any:
    if error.code is None or error.code < 400 or error.response is not None:
        return error
    return _page(error.code, reason="", code=error.name)


def _csrf(error: CSRFError) -> Any:
    log.info("csrf: %s", error.description)
    return _page(400, template="errors/expired.html", next=local(request.path), resend=same_origin())


def _unfit(error: DataError | OverflowError) -> Any:
    """A figure or a text that no column holds: a number of twenty digits in an address, a NUL in a field."""
    log.warning("request %s %s %s: %s", g.get("request_id", "-"), request.method, request.path, error, exc_info=error)
    return _page(422, reason=sentence(UNFIT, {}), code="input.unfit")


AT_ONCE = N_("有人同时在办同一件事")
TAKE_TURNS = ("40001", "40P01")
"""What PostgreSQL says of transactions that stood in each other's way: one of them shall try again."""


def _at_once(error: IntegrityError | OperationalError) -> Any:
    """Two did the same at once: the book's own keys and locks let one through. Anything else of the kind is a bug."""
    about = str(error.orig).lower()
    unique = isinstance(error, IntegrityError) and "unique" in about
    waited = "database is locked" in about or getattr(error.orig, "sqlstate", None) in TAKE_TURNS
    if not (unique or waited):
        return _bug(error)
    log.warning("request %s %s %s: %s", g.get("request_id", "-"), request.method, request.path, error, exc_info=error)
    return _page(409, reason=sentence(AT_ONCE, {}), code="at-once")


def _bug(error: Exception) -> Any:
    if out_of_room(error):  # a file of the lake, an upload that waits on the disk, a cloud's own journal
        return _refused(NoRoom(error))
    log.exception("request %s %s %s failed", g.get("request_id", "-"), request.method, request.path, exc_info=error)
    return _page(500, reason="", code="bug")


def _page(status_code: int, template: str = "", **context: Any) -> Any:
    if asked.by_program():
        name = str(context.get("code") or "").lower().replace(" ", "-")
        return problem(
            status_code, name or "http", str(context.get("reason") or HTTP_STATUS_CODES.get(status_code, ""))
        )
    name = template or PAGES.get(status_code, "errors/other.html")
    if request.headers.get("HX-Request"):
        name = "errors/_fragment.html"
    try:
        page = render_template(name, status=status_code, typed=typed(), request_id=g.get("request_id", ""), **context)
    except Exception:
        # The book itself may be what is broken: then say it without it.
        log.exception("request %s: the error page failed, too", g.get("request_id", "-"))
        page = f"<!doctype html><title>{status_code}</title><h1>{status_code}</h1><p>{g.get('request_id', '')}</p>"
    return page, status_code


PAGES = {
    403: "errors/403.html",
    404: "errors/404.html",
    409: "errors/409.html",
    422: "errors/422.html",
    500: "errors/500.html",
}


def attach(app: Flask) -> None:
    """Show refusals, HTTP errors and bugs as pages of the console."""
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(CSRFError, _csrf)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(DataError, _unfit)
    app.register_error_handler(OverflowError, _unfit)
    app.register_error_handler(IntegrityError, _at_once)
    app.register_error_handler(OperationalError, _at_once)
    app.register_error_handler(Exception, _bug)
