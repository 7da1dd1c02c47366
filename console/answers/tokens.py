"""The CSRF token, written differently in every answer.

A page is compressed with its token in it, and beside it may stand what somebody else chose (a search, the title of an
incident). If the token were the same each time, the length of answers would tell it bit by bit (BREACH). So it is written as
a random pad and the token under that pad: no two answers have a byte of it in common.
"""

from __future__ import annotations

import base64
import binascii
import secrets

from flask import Flask
from flask_wtf.csrf import CSRFProtect, generate_csrf


def masked(token: str) -> str:
    """``token`` under a new pad."""
    plain = token.encode()
    pad = secrets.token_bytes(len(plain))
    return base64.urlsafe_b64encode(pad + bytes(map(int.__xor__, pad, plain))).decode().rstrip("=")


def unmasked(given: str) -> str:
    """The token that ``masked`` hid; empty where ``given`` is no such thing."""
    try:
        raw = base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True)
        pad, hidden = raw[: len(raw) // 2], raw[len(raw) // 2 :]
        return bytes(map(int.__xor__, pad, hidden)).decode("ascii")
    except (binascii.Error, ValueError):
        return ""


class MaskedCSRF(CSRFProtect):  # type: ignore[misc]
    """flask-wtf's protection with masked tokens."""

    def init_app(self, app: Flask) -> None:
        super().init_app(app)

        def token() -> str:
            return masked(generate_csrf())

        app.jinja_env.globals["csrf_token"] = token
        app.context_processor(lambda: {"csrf_token": token})

    def _get_csrf_token(self) -> str | None:
        given = super()._get_csrf_token()
        return unmasked(given) if given else None
