"""Refusals: what the book says when it will not do a thing.

Every refusal carries a permanent ``code`` (for programs, logs and tests) and a sentence for a person. The sentence is
a Chinese source text with ``%(name)s`` places; the console translates it and fills the places from ``params``. The
quota package knows no HTTP status: one table in ``console.errors`` maps the classes.
"""

from __future__ import annotations

import errno
from typing import Any


def N_(text: str) -> str:  # noqa: N802 - the name that gettext tools know
    """Mark ``text`` for translation without translating it."""
    return text


class Refused(Exception):
    """The command was understood and will not be carried out; nothing was changed."""

    def __init__(self, code: str, message: str, /, **params: Any) -> None:
        super().__init__(code, message, params)
        self.code = code
        self.message = message
        self.params = params

    def sentence(self) -> str:
        """What people are told, in Chinese as the source has it, with its places filled."""
        try:
            return self.message % self.params if self.params else self.message
        except (KeyError, TypeError, ValueError):
            return self.message

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence()}"


class NotFound(Refused):
    """What was named does not exist."""


class NotAllowed(Refused):
    """It exists, but this person may not do this to it."""


class Conflict(Refused):
    """Somebody changed it meanwhile, or the same key was used for something else."""


class OverCapacity(Refused):
    """There is not enough in the account that it would be taken from."""


class WrongState(Refused):
    """It cannot be done in the state that the thing is in."""


class TooOften(Refused):
    """It was tried too often; it may be tried again after ``params['seconds']``."""


class NoRoom(Refused):
    """There is no room left to keep it; nothing of it was kept, and the same may be tried again once there is room."""

    def __init__(
        self, why: object, code: str = "room.none", message: str = N_("存储空间已满,没有保存:%(why)s")
    ) -> None:
        super().__init__(code, message, why=str(why))


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SQLITE_FULL = (
    "SQLITE_FULL",
    "SQLITE_IOERR_WRITE",
    "SQLITE_IOERR_FSYNC",
    "SQLITE_IOERR_SHMSIZE",
    "SQLITE_IOERR_TRUNCATE",
)
POSTGRES_FULL = "53100"


def out_of_room(error: BaseException | None) -> bool:
    """Whether the system or a database says by ``error`` that there is no room left to write."""
    if isinstance(error, OSError):
        return error.errno in FULL
    return getattr(error, "sqlite_errorname", "") in SQLITE_FULL or getattr(error, "sqlstate", "") == POSTGRES_FULL


class Invalid(Refused):
    """What was given makes no sense; ``params['field']`` names the place where known."""


REASON = N_("请写明理由")


def stated(text: str, field: str = "reason", *, code: str = "reason.missing", message: str = REASON) -> str:
    """``text`` without the blanks around it. Raises Invalid where nothing is left: what is decided, is for a reason."""
    if not (said := text.strip()):
        raise Invalid(code, message, field=field)
    return said


def reused(key: str) -> Conflict:
    """That an idempotency key came again with something else."""
    return Conflict("key.reused", N_("幂等键 %(key)s 已用于另一笔操作"), key=key)
