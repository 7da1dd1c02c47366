"""Kinds of second factor: what one is enrolled with, and what proves it. Time-based codes (TOTP, RFC 6238) are here: six digits,
thirty seconds, and one step of slack either way, so that a code is good for ninety seconds at most, and once. Pure."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pyotp
from pyotp.exceptions import OTPVerificationError

from quota.errors import N_


@dataclass(frozen=True, slots=True)
class Site:
    """Where browsers reach the house: ``origin`` (https://guanjia.example.gov.cn), and ``host``, the name that its security keys are
    bound to."""

    origin: str
    host: str


@dataclass(frozen=True, slots=True)
class FactorAnswer:
    """What somebody answered at a moment. Where a security key was asked: to which ``challenge``, at which ``site``."""

    text: str
    at: datetime
    challenge: bytes = b""
    site: Site | None = None


class Factor(Protocol):
    """A kind of second factor. What a factor of it keeps is sealed in the book; its ``state`` a number that never shrinks."""

    label: str
    several: bool
    """Whether somebody may have more than one."""

    def new(self) -> str:
        """What an enrolment begins with: a secret, or a challenge."""
        ...

    def enrolled(self, begun: str, answer: FactorAnswer) -> tuple[str, int] | None:
        """What is kept, and its first state, where ``answer`` proves what was begun with; else None."""
        ...

    def verify(self, kept: str, state: int, answer: FactorAnswer) -> int | None:
        """The next state where ``answer`` proves what is kept, and was not taken before; else None."""
        ...


class Totp:
    """Time-based one-time passwords, as any authenticator app makes them."""

    label = N_("动态验证码")
    several = False
    slack = 1

    def new(self) -> str:
        return pyotp.random_base32()

    def address(self, secret: str, login: str, issuer: str) -> str:
        """What an authenticator takes the secret up from, as a picture or a link."""
        return pyotp.TOTP(secret).provisioning_uri(name=login, issuer_name=issuer)

    def enrolled(self, begun: str, answer: FactorAnswer) -> tuple[str, int] | None:
        step = self.verify(begun, 0, answer)
        return None if step is None else (begun, step)

    def verify(self, kept: str, state: int, answer: FactorAnswer) -> int | None:
        text = normal(answer.text)
        if not (len(text) == 6 and text.isascii() and text.isdigit()):
            return None
        try:
            step = pyotp.TOTP(kept).verify_and_get_timecode(text, for_time=answer.at, valid_window=self.slack)
        except OTPVerificationError:
            return None
        return step if step > state else None


def normal(answer: str) -> str:
    """An answer as it was meant: without blanks, digits as plain ones."""
    return "".join(unicodedata.normalize("NFKC", answer[:64]).split())
