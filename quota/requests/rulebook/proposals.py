"""Rules before they hold: drafts of one rule or of several that belong together, enacted by the signatures of two people.

A draft is never edited: to change it is to make another. Who drafted it for the authority has signed it; what came by the command
line needs two people of the authority. The rules count from the days that they name, which may not have passed when the last signs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, Text, select
from sqlalchemy.orm import Mapped, mapped_column

from quota.actors import Actor, Role
from quota.base import Base
from quota.calendar import ZONE
from quota.directory import Person
from quota.errors import N_, Invalid, NotAllowed, NotFound, WrongState, stated
from quota.requests.rulebook import enactment
from quota.requests.rules import RuleText

if TYPE_CHECKING:
    from quota.db import Tx

SIGNATURES = 2


class RuleDraft(Base):
    """规则草案. ``rules``: RuleText each; ``based_on``: code → the newest version when it was drafted; ``signatures``: {"by", "at"}
    each, of people of the authority."""

    __tablename__ = "rule_drafts"

    id: Mapped[int] = mapped_column(primary_key=True)
    rules: Mapped[list[Any]]
    based_on: Mapped[dict[str, int]]
    reason: Mapped[str] = mapped_column(Text)
    signatures: Mapped[list[Any]]
    drafted_by: Mapped[str] = mapped_column(String(64))
    drafted_at: Mapped[datetime]
    enacted_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]
    withdrawn_by: Mapped[str | None] = mapped_column(String(64))

    @property
    def subject(self) -> str:
        return f"rule_draft:{self.id}"

    @property
    def state(self) -> str:
        """drafted, enacted or withdrawn."""
        return "enacted" if self.enacted_at else "withdrawn" if self.withdrawn_at else "drafted"

    @property
    def signed_by(self) -> list[str]:
        return [one["by"] for one in self.signatures]

    def texts(self) -> list[RuleText]:
        """Its rules as they are written down."""
        return [RuleText.model_validate(one) for one in self.rules]


def draft(tx: Tx, texts: Sequence[RuleText], *, reason: str) -> RuleDraft:
    """Propose ``texts`` as the next versions of their codes. The authority's, or the command line's. Raises Invalid for a rule that
    cannot be applied, a day that is past, and a reason that is missing."""
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    reason = stated(reason)
    if not texts:
        raise Invalid("rules.none_given", N_("草案里没有规则"), field="document")
    for one in texts:
        one.sound()
        _not_past(tx, one)
    row = RuleDraft(
        rules=[one.to_json() for one in texts],
        based_on={one.code: enactment.newest(tx, one.code) for one in texts},
        reason=reason,
        signatures=[_signature(tx)] if tx.actor.role is Role.AUTHORITY and not tx.actor.program else [],
        drafted_by=tx.actor.login,
        drafted_at=tx.now,
    )
    tx.add(row)
    tx.flush()
    tx.audit("rule.draft", row.subject, after={"rules": row.rules, "based_on": row.based_on}, reason=reason)
    return row


def sign(tx: Tx, draft_id: int) -> RuleDraft:
    """Sign a draft; the second signature enacts its rules, all or none. By the authority.

    Raises NotAllowed for who signed already, WrongState for a draft that is no longer one or whose rules have newer versions,
    Invalid where a day has passed on which a rule should take effect.
    """
    tx.actor.must_be(Role.AUTHORITY)
    tx.actor.must_sign()
    row = tx.scalar(select(RuleDraft).where(RuleDraft.id == draft_id).with_for_update())
    if row is None:
        raise _none(draft_id)
    tx.refresh(row)
    if row.state != "drafted":
        raise WrongState("rules.closed", N_("该草案已生效或已撤回"))
    if tx.actor.login in row.signed_by:
        raise NotAllowed("rules.own_draft", N_("您已签署这份草案,须由另一人签署"))
    for code, version in row.based_on.items():
        if enactment.newest(tx, code) != version:
            raise WrongState("rules.overtaken", N_("起草之后规则 %(code)s 已有新版本,请重新起草"), code=code)
    row.signatures = [*row.signatures, _signature(tx)]
    tx.audit("rule.sign", row.subject, after={"signatures": len(row.signatures)}, reason=row.reason)
    if len(row.signatures) >= SIGNATURES:
        for one in row.texts():
            _not_past(tx, one)
            enactment.enact(
                tx, one.code, one.name, one.condition, one.steps, effective_from=one.effective_from,
                priority=one.priority, basis=one.basis or row.reason, outcome=one.outcome, reason=one.reason,
                ending=one.ending,
            )  # fmt: skip
        row.enacted_at = tx.now
    return row


def withdraw(tx: Tx, draft_id: int) -> RuleDraft:
    """Give a draft up. The authority's. Raises WrongState for one that is no longer a draft."""
    tx.actor.must_be(Role.AUTHORITY)
    row = drafted(tx, draft_id)
    tx.lock(row)
    if row.state != "drafted":
        raise WrongState("rules.closed", N_("该草案已生效或已撤回"))
    row.withdrawn_at, row.withdrawn_by = tx.now, tx.actor.login
    tx.audit("rule.withdraw", row.subject, before={"rules": row.rules})
    return row


def drafted(tx: Tx, draft_id: int) -> RuleDraft:
    """The draft, or NotFound."""
    found = tx.get(RuleDraft, draft_id)
    if found is None:
        raise _none(draft_id)
    return found


def waiting(tx: Tx) -> list[RuleDraft]:
    """Drafts that wait for signatures, newest first."""
    query = select(RuleDraft).where(RuleDraft.enacted_at.is_(None), RuleDraft.withdrawn_at.is_(None))
    return list(tx.scalars(query.order_by(RuleDraft.id.desc())))


def others(tx: Tx, row: RuleDraft) -> list[Person]:
    """Who else of the authority may sign it."""
    people = tx.scalars(
        select(Person)
        .where(Person.role == Role.AUTHORITY.value, Person.active, Person.granted, ~Person.service)
        .order_by(Person.name, Person.id)
    )
    return [one for one in people if one.login not in row.signed_by]


def may_sign(row: RuleDraft, actor: Actor) -> bool:
    """Whether ``actor`` may sign it now."""
    able = actor.role is Role.AUTHORITY and not actor.program
    return row.state == "drafted" and able and actor.login not in row.signed_by


def _signature(tx: Tx) -> dict[str, str]:
    return {"by": tx.actor.login, "at": tx.now.isoformat()}


def _not_past(tx: Tx, rule: RuleText) -> None:
    if rule.effective_from < tx.now.astimezone(ZONE).date():
        raise Invalid("rules.past", N_("规则不能从过去的日期起生效"), field="effective_from")


def _none(draft_id: int) -> NotFound:
    return NotFound("rules.no_draft", N_("没有编号为 %(id)s 的规则草案"), id=draft_id)
