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
from quota.errors import N_, NotAllowed

CHALLENGE, FORMER = "key-challenge", "key-challenge-before"
LASTS_S = 600
"""How long a challenge waits to be signed."""
SHOWN_S = LASTS_S - security_keys.WAIT_MS // 1000
"""How long pages ask by it: whoever is asked has all the time that browsers give a key."""


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


def asked(answer: str) -> factors.KeyChallenge | None:
    """What this browser's session was asked to have signed. Raises NotAllowed where ``answer`` is a key's to what it was asked
    before: nothing wrong was tried, and nothing is counted."""
    where, challenge = site(), _held()
    told = bytes_to_base64url(security_keys.signed_challenge(answer)) if security_keys.is_answer(answer) else ""
    if told and told in (_kept(), session.get(FORMER)) and told != bytes_to_base64url(challenge):
        raise NotAllowed("factor.late", N_("密钥应答得晚了，请再触碰一次"), field="passcode")
    return factors.KeyChallenge(challenge, where) if where is not None and challenge else None


def done() -> None:
    """A key has answered: the next is asked by another challenge."""
    _forget()


def _challenge() -> bytes:
    """The one that waits long enough still, so that pages side by side ask by the same; else a new one."""
    held = _held(SHOWN_S)
    if held:
        return held
    _forget()
    made: bytes = generate_challenge()
    session[CHALLENGE] = [bytes_to_base64url(made), _now()]
    return made


def _forget() -> None:
    if kept := _kept():
        session[FORMER] = kept
    session.pop(CHALLENGE, None)


def _kept() -> str:
    """The challenge that was asked last, whether it waits still or not."""
    held = session.get(CHALLENGE)
    return str(held[0]) if isinstance(held, list) and len(held) == 2 else ""


def _held(most: int = LASTS_S) -> bytes:
    """The challenge that was asked last, where that was at most so many seconds ago."""
    held = session.get(CHALLENGE)
    if not isinstance(held, list) or len(held) != 2 or not 0 <= _now() - held[1] <= most:
        return b""
    try:
        return bytes(base64url_to_bytes(held[0]))
    except (TypeError, ValueError, binascii.Error):
        return b""


def _now() -> int:
    return int(book().clock().timestamp())
