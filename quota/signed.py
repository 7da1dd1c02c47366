"""What two people sign: drafted by one, who has signed by it, in force once another has; never edited, given up while it is a draft."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from quota.actors import Actor, Role
from quota.errors import N_, NotAllowed, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx

SIGNATURES = 2


class TwiceSigned:
    """The columns of a table whose rows two people of the authority sign. ``signatures``: {"by", "at"} each."""

    id: Mapped[int]
    reason: Mapped[str] = mapped_column(Text)
    signatures: Mapped[list[Any]]
    drafted_by: Mapped[str] = mapped_column(String(64))
    drafted_at: Mapped[datetime]
    enacted_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]
    withdrawn_by: Mapped[str | None] = mapped_column(String(64))

    @property
    def subject(self) -> str:
        raise NotImplementedError

    @property
    def standing(self) -> str:
        """drafted, enacted or withdrawn."""
        return "enacted" if self.enacted_at else "withdrawn" if self.withdrawn_at else "drafted"

    @property
    def signed_by(self) -> list[str]:
        return [one["by"] for one in self.signatures]

    @property
    def signed(self) -> list[tuple[str, datetime]]:
        """Who signed, and when."""
        return [(one["by"], datetime.fromisoformat(one["at"])) for one in self.signatures]

    def may_sign(self, actor: Actor) -> bool:
        """Whether ``actor`` may sign it now."""
        able = actor.role is Role.AUTHORITY and not actor.program
        return self.standing == "drafted" and able and actor.login not in self.signed_by


def drafted(tx: Tx, reason: str) -> dict[str, Any]:
    """The columns of a draft that the actor, of the authority and in person, makes and signs now."""
    tx.actor.must_be(Role.AUTHORITY)
    tx.actor.must_sign()
    return {
        "reason": stated(reason), "signatures": [_signature(tx)], "drafted_by": tx.actor.login, "drafted_at": tx.now,
    }  # fmt: skip


def sign(tx: Tx, row: TwiceSigned, action: str) -> bool:
    """Sign a draft; whether it is in force now, for who asks to do what follows. Raises NotAllowed for who signed already, WrongState
    for what is no draft any more."""
    tx.actor.must_be(Role.AUTHORITY)
    tx.actor.must_sign()
    tx.lock(row)
    _must_be_drafted(row)
    if tx.actor.login in row.signed_by:
        raise NotAllowed("rules.own_draft", N_("您已签署这份草案,须由另一人签署"))
    row.signatures = [*row.signatures, _signature(tx)]
    tx.audit(f"{action}.sign", row.subject, after={"signatures": len(row.signatures)}, reason=row.reason)
    if len(row.signatures) >= SIGNATURES:
        row.enacted_at = tx.now
    tx.flush()
    return row.enacted_at is not None


def withdraw(tx: Tx, row: TwiceSigned, action: str) -> None:
    """Give a draft up. The authority's. Raises WrongState for one that is no longer a draft."""
    tx.actor.must_be(Role.AUTHORITY)
    tx.lock(row)
    _must_be_drafted(row)
    row.withdrawn_at, row.withdrawn_by = tx.now, tx.actor.login
    tx.flush()
    tx.audit(f"{action}.withdraw", row.subject)


def _must_be_drafted(row: TwiceSigned) -> None:
    if row.standing != "drafted":
        raise WrongState("rules.closed", N_("该草案已生效或已撤回"))


def _signature(tx: Tx) -> dict[str, str]:
    return {"by": tx.actor.login, "at": tx.now.isoformat()}
