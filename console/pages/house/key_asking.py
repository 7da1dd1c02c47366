"""What security keys are asked on pages: a challenge that the browser's session keeps until it is answered, for all forms alike.

Keys are asked for where the house has a name (``public_url``) under https; without one, on the machine itself by ``localhost``.
Anywhere else a sentence says so, and codes go on. That the browser stands at that address is what the key signs.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Any

from flask import request, session
from flask_wtf import FlaskForm
from webauthn import base64url_to_bytes
from webauthn.helpers import bytes_to_base64url, generate_challenge
from wtforms.validators import StopValidation

from console.accounts import Site, factors, security_keys
from console.book import book, reading, settings
from console.words import _

CHALLENGE = "key-challenge"
LASTS_S = 600
"""How long a challenge waits to be signed."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page asks keys by: ``options`` for the browser, at which ``origin``; or ``why`` none can be asked here."""

    options: str = ""
    origin: str = ""
    why: str = ""


class Unless:
    """A field that has to be filled in unless a key answered: ``said`` where neither is."""

    def __init__(self, said: str) -> None:
        self.said = said
        self.field_flags = {"required": True}

    def __call__(self, form: FlaskForm, field: Any) -> None:
        if not field.data and not form.credential.data:
            raise StopValidation(self.said)


def answered(form: FlaskForm) -> str:
    """What ``form`` was answered: by a key, or what was typed."""
    return str(form.credential.data or form.passcode.data or "")


def site() -> Site | None:
    """Where keys are bound to; None where none can be asked."""
    if settings().public_url:
        return security_keys.site(settings().public_url)
    found = security_keys.site(request.host_url)
    return found if found is not None and found.host in security_keys.LOCAL else None


def elsewhere() -> str:
    """Why no key can be asked here."""
    address = settings().public_url
    if address:
        return _("安全密钥须经 https 和域名使用；设定的访问地址 %(address)s 用不了", address=address)
    return _("安全密钥须经 https 和域名使用：请系统管理员设定访问地址（public_url）")


def shown(person_id: int) -> Shown | None:
    """What to ask the keys of somebody by; None for who has none."""
    kept = factors.kept(reading(), settings(), person_id, factors.KEY)
    if not kept:
        return None
    where = site()
    if where is None:
        return Shown(why=elsewhere())
    options = security_keys.asking(where, _challenge(), kept)
    return Shown(options, where.origin) if options else Shown(why=_("您的密钥登记在另一个地址，在这里用不了"))


def asked() -> factors.KeyChallenge | None:
    """What this browser's session was asked to have signed."""
    where, challenge = site(), _held()
    return factors.KeyChallenge(challenge, where) if where is not None and challenge else None


def done() -> None:
    """A key has answered: the next is asked by another challenge."""
    session.pop(CHALLENGE, None)


def _challenge() -> bytes:
    """The one that waits, so that pages side by side ask by the same; else a new one."""
    held = _held()
    if held:
        return held
    made: bytes = generate_challenge()
    session[CHALLENGE] = [bytes_to_base64url(made), _now()]
    return made


def _held() -> bytes:
    held = session.get(CHALLENGE)
    if not isinstance(held, list) or len(held) != 2 or not 0 <= _now() - held[1] <= LASTS_S:
        return b""
    try:
        return bytes(base64url_to_bytes(held[0]))
    except (TypeError, ValueError, binascii.Error):
        return b""


def _now() -> int:
    return int(book().clock().timestamp())
