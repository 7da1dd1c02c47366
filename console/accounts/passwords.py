"""Passwords: how they are kept (argon2id), what a good one is, and how a first one is made."""

from __future__ import annotations

import secrets
import string
from base64 import b64encode
from collections.abc import Sequence
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from quota.errors import N_, Invalid

MIN_LENGTH = 10
MAX_LENGTH = 128  # a bound on the work that a stranger can ask for
KINDS = 3
REMEMBERED = 5

_hasher = PasswordHasher()


def hashed(password: str) -> str:
    """``password`` as it is kept."""
    return _hasher.hash(password)


def matches(kept: str | None, password: str) -> bool:
    """Whether ``password`` is what ``kept`` was made from. Takes its time for ``None``, too, and says no."""
    try:
        return _hasher.verify(kept or _nobodys(), password[:MAX_LENGTH]) and bool(kept)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys() -> str:
    """The hash of no known password, at today's cost: somebody who does not exist takes as long to refuse as somebody who does.
    Its digest is drawn, not made: making it would cost each process a verification, and tell its first stranger apart."""
    h = _hasher
    drawn = (b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (h.salt_len, h.hash_len))
    return "$".join(
        ("", "argon2id", f"v={ARGON2_VERSION}", f"m={h.memory_cost},t={h.time_cost},p={h.parallelism}", *drawn)
    )


def check(password: str, login: str, kept: Sequence[str]) -> None:
    """Raise Invalid unless ``password`` may be the next one after those ``kept`` (the newest first or last alike)."""
    if len(password) < MIN_LENGTH:
        raise Invalid("password.short", N_("密码至少%(length)s个字符"), length=MIN_LENGTH, field="password")
    if len(password) > MAX_LENGTH:
        raise Invalid("password.long", N_("密码最多%(length)s个字符"), length=MAX_LENGTH, field="password")
    if _kinds(password) < KINDS:
        raise Invalid(
            "password.plain",
            N_("密码须含大写字母、小写字母、数字、符号中的至少%(kinds)s类"),
            kinds=KINDS,
            field="password",
        )
    if login and login.lower() in password.lower():
        raise Invalid("password.login", N_("密码中不能含有登录名"), field="password")
    if any(matches(one, password) for one in kept):
        raise Invalid("password.used", N_("不能使用最近%(count)s次用过的密码"), count=REMEMBERED, field="password")


def random() -> str:
    """A first password: 14 characters of all four kinds, none that is read as another."""
    alphabet = "".join(c for c in string.ascii_letters + string.digits if c not in "0O1lI") + "-_.+"
    while True:
        made = "".join(secrets.choice(alphabet) for _ in range(14))
        if _kinds(made) == 4 and made[0].isalpha() and made[-1].isalnum():
            return made


def _kinds(password: str) -> int:
    tests = (str.isupper, str.islower, str.isdigit, lambda c: not c.isalnum() or not c.isascii())
    return sum(any(test(c) for c in password) for test in tests)
