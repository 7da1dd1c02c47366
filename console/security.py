"""Headers, cookies, limits: what every answer carries and what no request gets past."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Response, g, request
from flask_wtf.csrf import CSRFProtect
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import IntegerConverter, Map

from console.answers import MaskedCSRF, headers
from console.settings import Settings
from quota.errors import N_, Invalid, NoRoom

MAX_FORM_PARTS = 2000
MAX_FIELD_BYTES = 1024 * 1024
MAX_ROW = 2**31 - 1
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def attach(app: Flask, settings: Settings) -> CSRFProtect:
    """Harden ``app``; the CSRF protection, for views of programs that exempt themselves."""
    app.secret_key = settings.key()
    app.config.update(
        SESSION_COOKIE_NAME="guanjia",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.https,
        MAX_CONTENT_LENGTH=settings.max_upload_mb * 1024 * 1024,
        MAX_FORM_MEMORY_SIZE=MAX_FIELD_BYTES,
        MAX_FORM_PARTS=MAX_FORM_PARTS,
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session: a form left open over lunch still works
        SEND_FILE_MAX_AGE_DEFAULT=365 * 24 * 3600,
    )
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    headers.attach(app, https=settings.https)
    app.url_map.converters["int"] = RowConverter
    app.before_request(refuse_unread)
    app.before_request(refuse_nul)
    app.after_request(_finish)
    return MaskedCSRF(app)


View = TypeVar("View", bound=Callable[..., object])


def program(view: View) -> View:
    """The view is for programs that show a token of their own, never a session: no CSRF token is asked of them."""
    setattr(view, "guanjia_program", True)  # noqa: B010
    return view


def exempt(app: Flask, csrf: CSRFProtect) -> None:
    """Let programs' views past the CSRF protection; call when all views are registered."""
    for view in app.view_functions.values():
        if getattr(view, "guanjia_program", False):
            csrf.exempt(view)


class RowConverter(IntegerConverter):
    """Numbers of rows in addresses: none is larger than a database's integer."""

    def __init__(self, map: Map, *args: Any, **options: Any) -> None:  # noqa: A002 - werkzeug's word
        super().__init__(map, *args, **{"max": MAX_ROW, **options})


def row(text: str) -> int:
    """The number of a row that an address or a form names. Raises ValueError where no row can have it."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ROW)) and int(text) <= MAX_ROW:
        return int(text)
    raise ValueError(text[:20])


def row_or(text: str | None, otherwise: int) -> int:
    """``row``, or ``otherwise`` where that would refuse."""
    try:
        return row(text or "")
    except ValueError:
        return otherwise


def numbered(text: str, prefix: str) -> int:
    """The id that a number like ``YW-000012`` names; 0 where ``text`` is none of ``prefix``."""
    digits = text.strip().upper().removeprefix(prefix)
    named = text.strip().upper().startswith(prefix) and digits.isascii() and digits.isdigit()
    return row_or(digits, 0) if named else 0


def refuse_nul() -> None:
    """Refuse NUL in what is asked or typed: no database keeps it, and nobody types it. Raises Invalid.

    Only a form is read here: asking for one opens a body, before its view could say how large it may be.
    """
    typed = (request.form,) if request.mimetype in FORMS else ()
    for asked in (request.args, *typed):
        if any("\0" in value for values in asked.listvalues() for value in values):
            raise Invalid("text.nul", N_("内容含有无法保存的字符(NUL),请删去后再提交"))


UNREAD = "guanjia.unread"
"""What the web server leaves in a request's environment: the HTTP status that says why its body was not kept."""


def refuse_unread() -> None:
    """Refuse a request whose body was too large for the web server, or for the disk. Raises RequestEntityTooLarge, NoRoom."""
    status = request.environ.get(UNREAD)
    if status == 507:
        raise NoRoom(os.strerror(errno.ENOSPC))
    if status:
        raise RequestEntityTooLarge


def name_request() -> None:
    """Give the request an id: the one a proxy in front gave it where that is one, else a new one."""
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _ID.fullmatch(given) else secrets.token_hex(8)


def local(address: str | None, default: str = "/") -> str:
    """``address`` where it is a path of this site, else ``default``: no redirect leads elsewhere."""
    if not address or not address.startswith("/") or address.startswith(("//", "/\\")):
        return default
    if any(ord(c) < 32 or c == "\\" for c in address):
        return default
    parts = urlsplit(address)
    return default if parts.scheme or parts.netloc else address


def same_origin() -> bool:
    """Whether the browser says that this request comes from a page of this site."""
    origin = request.headers.get("Origin")
    if request.headers.get("Sec-Fetch-Site") == "same-origin":
        return True
    return bool(origin) and urlsplit(origin).netloc == request.host


def _finish(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id", "")
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response
