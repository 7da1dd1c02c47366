"""Disputes (争议): a difference on a bill from its finding to its settlement.

    open 待主张 → claimed 已主张 → answered 已答复 → settled 已了结
         ↘ lapsed 已消除 (a later comparison no longer finds it)

Claimed by the supervisor, answered by the company, settled by the authority or by a supervisor other than the one who claimed;
where the company does not answer in time, without its answer. Each step is a row of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, ForeignKey, Index, Numeric, String, Text, UniqueConstraint, false, select, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.statements.tables import yuan
from quota.actors import Actor, Role
from quota.base import Base, Count, append_only
from quota.calendar import working_days
from quota.directory import CloudProvider, Pool
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated
from quota.inventory import Resource

if TYPE_CHECKING:
    from quota.db import Tx


ANSWER_DAYS = 5
"""Our own default: working days that a company has to answer a claim."""

MOST_FEN = 10**13
"""No difference is worth as much: a slip of the keyboard."""


class DisputeState(StrEnum):
    OPEN = "open"
    CLAIMED = "claimed"
    ANSWERED = "answered"
    SETTLED = "settled"
    LAPSED = "lapsed"


STATE_LABELS = {
    DisputeState.OPEN: N_("待主张"),
    DisputeState.CLAIMED: N_("待服务商答复"),
    DisputeState.ANSWERED: N_("待裁定"),
    DisputeState.SETTLED: N_("已了结"),
    DisputeState.LAPSED: N_("已消除"),
}


class DisputeAnswer(StrEnum):
    ACCEPT = "accept"
    CONTEST = "contest"


ANSWER_LABELS = {DisputeAnswer.ACCEPT: N_("认可差异"), DisputeAnswer.CONTEST: N_("不认可")}


class Dispute(Base):
    """One difference of one bill. ``quantity`` in base units × hours and ``fen``: above zero, billed too much; None where no
    tariff prices it. ``settled_fen``: what the company takes back in the end."""

    __tablename__ = "disputes"
    __table_args__ = (
        UniqueConstraint("month", "pool_id", "external_id", "kind", "cause"),
        Index("ix_disputes_state_provider_id", "state", "provider_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    month: Mapped[str] = mapped_column(String(7))
    pool_id: Mapped[int] = mapped_column(ForeignKey("pools.id"))
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"))
    bill_id: Mapped[int] = mapped_column(ForeignKey("bills.id"))
    resource_id: Mapped[int | None] = mapped_column(ForeignKey("resources.id"))
    external_id: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(16))
    cause: Mapped[str] = mapped_column(String(24))
    quantity: Mapped[Decimal] = mapped_column(Numeric(20, 4))
    fen: Mapped[int | None] = mapped_column(Count)
    refs: Mapped[list[str]]
    state: Mapped[str] = mapped_column(String(12), default=DisputeState.OPEN.value)
    opened_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    claimed_by: Mapped[str | None] = mapped_column(String(64))
    answer: Mapped[str | None] = mapped_column(String(12))
    answered_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]
    settled_by: Mapped[str | None] = mapped_column(String(64))
    settled_fen: Mapped[int | None] = mapped_column(Count)
    generation: Mapped[int] = mapped_column(default=1)

    pool: Mapped[Pool] = relationship()
    provider: Mapped[CloudProvider] = relationship()
    resource: Mapped[Resource | None] = relationship()

    @property
    def amount(self) -> Decimal | None:
        """Yuan in dispute."""
        return yuan(self.fen)


class DisputeStep(Base):
    """One step of a dispute: who said what, when."""

    __tablename__ = "dispute_steps"

    id: Mapped[int] = mapped_column(primary_key=True)
    dispute_id: Mapped[int] = mapped_column(ForeignKey("disputes.id"), index=True)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(64))
    verb: Mapped[str] = mapped_column(String(12))
    text: Mapped[str] = mapped_column(Text, default="")
    fen: Mapped[int | None] = mapped_column(Count)


append_only(DisputeStep.__table__)  # type: ignore[arg-type]


def visible(actor: Actor) -> ColumnElement[bool]:
    """A company its own once they are claimed; the steward, the authority and the auditor all."""
    if actor.role is Role.PROVIDER and actor.provider_id is not None:
        return (Dispute.provider_id == actor.provider_id) & (
            Dispute.state.in_([DisputeState.CLAIMED, DisputeState.ANSWERED, DisputeState.SETTLED])
        )
    return true() if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM) else false()


def dispute(tx: Tx, dispute_id: int) -> Dispute:
    """The dispute, where the actor may see it. Raises NotFound."""
    found = tx.scalar(select(Dispute).where(Dispute.id == dispute_id, visible(tx.actor)))
    if found is None:
        raise NotFound("dispute.none", N_("没有编号为 %(id)s 的争议"), id=dispute_id)
    return found


def steps(tx: Tx, of: Dispute) -> list[DisputeStep]:
    """The steps of a dispute, oldest first."""
    return list(tx.scalars(select(DisputeStep).where(DisputeStep.dispute_id == of.id).order_by(DisputeStep.id)))


def claim(tx: Tx, dispute_id: int, *, generation: int, text: str = "") -> Dispute:
    """Lay the difference before the company. Raises NotAllowed, WrongState, Conflict for a stale page."""
    tx.actor.must_be(Role.SUPERVISOR)
    one = _locked(tx, dispute_id, generation, DisputeState.OPEN)
    one.state, one.claimed_at, one.claimed_by = DisputeState.CLAIMED.value, tx.now, tx.actor.login
    return _stepped(tx, one, "claim", text)


def answer(tx: Tx, dispute_id: int, what: DisputeAnswer, *, generation: int, text: str) -> Dispute:
    """The company accepts the difference or contests it; contesting needs words."""
    tx.actor.must_be(Role.PROVIDER)
    one = _locked(tx, dispute_id, generation, DisputeState.CLAIMED)
    if one.provider_id != tx.actor.provider_id:
        raise NotAllowed("dispute.not_yours", N_("只能答复本公司的争议"))
    if what is DisputeAnswer.CONTEST and not text.strip():
        raise Invalid("dispute.words", N_("不认可时须写明理由"), field="text")
    one.state, one.answer, one.answered_at = DisputeState.ANSWERED.value, what.value, tx.now
    return _stepped(tx, one, what.value, text)


def answer_due(tx: Tx, dispute: Dispute) -> datetime | None:
    """Until when the company has to answer; None before it was claimed."""
    return working_days(tx).due(dispute.claimed_at, ANSWER_DAYS) if dispute.claimed_at is not None else None


def ripe(tx: Tx, dispute: Dispute) -> bool:
    """Whether it can be settled: it was answered, or not in time."""
    due = answer_due(tx, dispute)
    return dispute.state == DisputeState.ANSWERED or (
        dispute.state == DisputeState.CLAIMED and due is not None and due < tx.now
    )


def settle(tx: Tx, dispute_id: int, *, generation: int, fen: int, text: str) -> Dispute:
    """Settle: the company takes back ``fen`` (0: its bill stands). Raises WrongState while the company still has time to
    answer, NotAllowed for the supervisor who claimed it, Invalid for more than is in dispute, or without words."""
    tx.actor.must_be(Role.AUTHORITY, Role.SUPERVISOR)
    tx.actor.must_sign()
    one = _locked(tx, dispute_id, generation, DisputeState.ANSWERED, DisputeState.CLAIMED)
    if not ripe(tx, one):
        raise WrongState("dispute.early", N_("云服务商尚在答复期内"))
    if one.claimed_by == tx.actor.login:
        raise NotAllowed("dispute.own_claim", N_("主张人不能裁定自己的主张"))
    stated(text, "text", code="dispute.why", message=N_("请写明裁定理由"))
    limit = one.fen or 0
    if abs(fen) > MOST_FEN or (one.fen is not None and not min(limit, 0) <= fen <= max(limit, 0)):
        raise Invalid("dispute.amount", N_("裁定金额不得超出争议金额"), field="amount")
    one.state, one.settled_at, one.settled_by, one.settled_fen = DisputeState.SETTLED.value, tx.now, tx.actor.login, fen
    return _stepped(tx, one, "settle", text, fen)


def _locked(tx: Tx, dispute_id: int, generation: int, *states: DisputeState) -> Dispute:
    one = tx.lock(dispute(tx, dispute_id))
    if one.state not in states:
        raise WrongState("dispute.state", N_("争议现为“%(state)s”"), state=STATE_LABELS[DisputeState(one.state)])
    return tx.lock_as_shown(one, generation, Conflict("dispute.stale", N_("争议已有变化,请重新查看")))


def _stepped(tx: Tx, dispute: Dispute, verb: str, text: str, fen: int | None = None) -> Dispute:
    dispute.generation += 1
    tx.add(DisputeStep(dispute_id=dispute.id, at=tx.now, by=tx.actor.login, verb=verb, text=text.strip(), fen=fen))
    tx.flush()
    tx.audit(
        f"dispute.{verb}", f"dispute:{dispute.id}", after={"state": dispute.state, "fen": fen}, reason=text.strip()
    )
    return dispute


def lapse(tx: Tx, those: Sequence[Dispute]) -> None:
    """Differences that a later comparison no longer finds, as long as nobody claimed them."""
    for one in those:
        one.state = DisputeState.LAPSED.value
        _stepped(tx, one, "lapse", "")
