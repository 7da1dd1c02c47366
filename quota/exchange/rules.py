"""Rules of the exchange: who sees what is offered, what amounts of two architectures are worth. Drafted, signed by two people of the
authority, in force from a day on.

A draft is never edited: to change it is to make another. Whoever drafts has signed. A rule counts until one of a later day does.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Index, String, Text, select
from sqlalchemy.orm import Mapped, mapped_column

from quota.actors import Actor, Role
from quota.base import Base
from quota.calendar import ZONE
from quota.errors import N_, Invalid, NotAllowed, NotFound, WrongState, stated
from quota.exchange.terms import CLOSED, ConversionTerms, ExchangeSubject, MarketTerms, Terms, terms

if TYPE_CHECKING:
    from quota.db import Tx

SIGNATURES = 2


class ExchangeRule(Base):
    """A rule or its draft. ``terms`` as ``Terms.to_json`` writes them; ``based_on``: the rule of its subject that was enacted last when
    it was drafted; ``signatures``: {"by", "at"} each."""

    __tablename__ = "exchange_rules"
    __table_args__ = (Index("ix_exchange_rules_subject", "subject", "effective_from"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(String(12))
    terms: Mapped[dict[str, Any]]
    effective_from: Mapped[date]
    reason: Mapped[str] = mapped_column(Text)
    based_on: Mapped[int | None]
    signatures: Mapped[list[Any]]
    drafted_by: Mapped[str] = mapped_column(String(64))
    drafted_at: Mapped[datetime]
    enacted_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]
    withdrawn_by: Mapped[str | None] = mapped_column(String(64))

    @property
    def state(self) -> str:
        """drafted, enacted or withdrawn."""
        return "enacted" if self.enacted_at else "withdrawn" if self.withdrawn_at else "drafted"

    @property
    def signed_by(self) -> list[str]:
        return [one["by"] for one in self.signatures]

    def says(self) -> Terms:
        """Its terms."""
        return terms(ExchangeSubject(self.subject), self.terms)


def rule(tx: Tx, rule_id: int) -> ExchangeRule:
    """The rule or draft, or NotFound."""
    found = tx.get(ExchangeRule, rule_id)
    if found is None:
        raise NotFound("exchange.no_rule", N_("没有编号为 %(id)s 的市场与换算规则"), id=rule_id)
    return found


def in_force(tx: Tx, subject: ExchangeSubject, day: date | None = None) -> ExchangeRule | None:
    """The rule that counts on ``day`` (today where None)."""
    on = day or tx.now.astimezone(ZONE).date()
    query = select(ExchangeRule).where(
        ExchangeRule.subject == subject.value, ExchangeRule.enacted_at.is_not(None), ExchangeRule.effective_from <= on
    )
    return tx.scalar(
        query.order_by(
            ExchangeRule.effective_from.desc(), ExchangeRule.enacted_at.desc(), ExchangeRule.id.desc()
        ).limit(1)
    )


def market(tx: Tx) -> MarketTerms:
    """The market's terms today; closed where none were enacted."""
    found = in_force(tx, ExchangeSubject.MARKET)
    said = found.says() if found else CLOSED
    return said if isinstance(said, MarketTerms) else CLOSED


def conversion(tx: Tx) -> tuple[ExchangeRule, ConversionTerms]:
    """The rule of conversions today. Raises WrongState where there is none."""
    found = in_force(tx, ExchangeSubject.CONVERSION)
    said = found.says() if found else None
    if found is None or not isinstance(said, ConversionTerms):
        raise WrongState("exchange.no_weights", N_("尚未施行架构换算规则"))
    return found, said


# --------------------------------------------------------------------------------------------------------------- verbs


def draft(tx: Tx, subject: ExchangeSubject, said: Terms, *, effective_from: date, reason: str) -> ExchangeRule:
    """Propose terms. The authority's; who drafts has signed. Raises Invalid for terms that cannot be applied, a day that is past, and
    a reason that is missing."""
    tx.actor.must_be(Role.AUTHORITY)
    tx.actor.must_sign()
    reason = stated(reason)
    said.sound()
    _not_past(tx, effective_from)
    row = ExchangeRule(
        subject=subject.value, terms=said.to_json(), effective_from=effective_from, reason=reason,
        based_on=_newest(tx, subject), signatures=[_signature(tx)], drafted_by=tx.actor.login, drafted_at=tx.now,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    tx.audit("exchange_rule.draft", _subject(row), after={"subject": subject, "terms": row.terms, "effective_from": effective_from}, reason=reason)  # fmt: skip
    return row


def sign(tx: Tx, rule_id: int) -> ExchangeRule:
    """Sign a draft; the second signature enacts it. By the authority.

    Raises NotAllowed for who signed already, WrongState for a draft that is no longer one or was overtaken, Invalid where its day
    has passed.
    """
    tx.actor.must_be(Role.AUTHORITY)
    tx.actor.must_sign()
    row = rule(tx, rule_id)
    tx.alone(f"exchange rules of {row.subject}")
    tx.lock(row)
    _must_be_drafted(row)
    if tx.actor.login in row.signed_by:
        raise NotAllowed("rules.own_draft", N_("您已签署这份草案,须由另一人签署"))
    if _newest(tx, ExchangeSubject(row.subject)) != row.based_on:
        raise WrongState("exchange.overtaken", N_("起草之后已有新的规则，请重新起草"))
    row.signatures = [*row.signatures, _signature(tx)]
    tx.audit("exchange_rule.sign", _subject(row), after={"signatures": len(row.signatures)}, reason=row.reason)
    if len(row.signatures) >= SIGNATURES:
        row.says().sound()
        _not_past(tx, row.effective_from)
        row.enacted_at = tx.now
        tx.audit("exchange_rule.enact", _subject(row), after={"terms": row.terms, "effective_from": row.effective_from})
    tx.flush()
    return row


def withdraw(tx: Tx, rule_id: int) -> ExchangeRule:
    """Give a draft up. The authority's. Raises WrongState for one that is no longer a draft."""
    tx.actor.must_be(Role.AUTHORITY)
    row = tx.lock(rule(tx, rule_id))
    _must_be_drafted(row)
    row.withdrawn_at, row.withdrawn_by = tx.now, tx.actor.login
    tx.flush()
    tx.audit("exchange_rule.withdraw", _subject(row), before={"terms": row.terms})
    return row


def may_sign(row: ExchangeRule, actor: Actor) -> bool:
    """Whether ``actor`` may sign it now."""
    able = actor.role is Role.AUTHORITY and not actor.program
    return row.state == "drafted" and able and actor.login not in row.signed_by


# ----------------------------------------------------------------------------------------------------------- mechanism


def _newest(tx: Tx, subject: ExchangeSubject) -> int | None:
    enacted = (ExchangeRule.subject == subject.value, ExchangeRule.enacted_at.is_not(None))
    query = select(ExchangeRule.id).where(*enacted).order_by(ExchangeRule.enacted_at.desc(), ExchangeRule.id.desc())
    return tx.scalar(query.limit(1))


def _must_be_drafted(row: ExchangeRule) -> None:
    if row.state != "drafted":
        raise WrongState("rules.closed", N_("该草案已生效或已撤回"))


def _signature(tx: Tx) -> dict[str, str]:
    return {"by": tx.actor.login, "at": tx.now.isoformat()}


def _subject(row: ExchangeRule) -> str:
    return f"exchange_rule:{row.id}"


def _not_past(tx: Tx, day: date) -> None:
    if day < tx.now.astimezone(ZONE).date():
        raise Invalid("rules.past", N_("规则不能从过去的日期起生效"), field="effective_from")
