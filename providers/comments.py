"""What the parties say to each other about an order, an incident or a bill: comments, disputes, and how they were ruled.

Nothing said is unsaid: a remark is kept for good, a dispute is settled by a ruling that answers it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, ForeignKey, Index, String, Text, and_, or_, select
from sqlalchemy.orm import Mapped, aliased, mapped_column

from quota.actors import Role
from quota.base import Base, append_only
from quota.errors import N_, Invalid, NotAllowed, NotFound, WrongState

if TYPE_CHECKING:
    from sqlalchemy.sql import Select

    from quota.db import Tx

MOST = 4000
"""Characters of a remark."""


class RemarkKind(StrEnum):
    COMMENT = "comment"
    DISPUTE = "dispute"
    UPHELD = "upheld"
    DISMISSED = "dismissed"
    REVIEWED = "reviewed_ok"


KIND_LABELS = {
    RemarkKind.COMMENT: N_("意见"),
    RemarkKind.DISPUTE: N_("争议"),
    RemarkKind.UPHELD: N_("裁定成立"),
    RemarkKind.DISMISSED: N_("裁定不成立"),
    RemarkKind.REVIEWED: N_("已复核"),
}


class Remark(Base):
    """One remark on ``subject`` (order:12, incident:3, bill:7) of one company's, or of nobody who is a company. ``answers``: the
    dispute that it rules."""

    __tablename__ = "provider_remarks"
    __table_args__ = (Index("ix_provider_remarks_subject", "subject"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(String(64))
    provider_id: Mapped[int | None] = mapped_column(ForeignKey("cloud_providers.id"), index=True)
    kind: Mapped[str] = mapped_column(String(12))
    answers: Mapped[int | None] = mapped_column(ForeignKey("provider_remarks.id"), unique=True)
    text: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))


append_only(Remark.__table__)  # type: ignore[arg-type]

PARTIES = (Role.PROVIDER, Role.SUPERVISOR, Role.AUTHORITY, Role.TENANT)


def comment(tx: Tx, subject: str, provider_id: int | None, text: str) -> Remark:
    """Say something about ``subject``; whoever may see it may comment, which the caller has checked."""
    tx.actor.must_be(*PARTIES)
    return _keep(tx, subject, provider_id, RemarkKind.COMMENT, text)


def dispute(tx: Tx, subject: str, provider_id: int | None, text: str) -> Remark:
    """The company contests ``subject``, or the supervisor what the company claims (a bill); of what is no company's
    (``provider_id`` None), whom it is about, which the caller has checked. Raises NotAllowed for another company's staff,
    WrongState while an earlier dispute is open."""
    tx.actor.must_be(Role.PROVIDER, Role.SUPERVISOR, *([Role.TENANT] if provider_id is None else []))
    if tx.actor.role is Role.PROVIDER and tx.actor.provider_id != provider_id:
        raise NotAllowed("dispute.not_yours", N_("只能就本公司的事项提出争议"))
    if open_dispute(tx, subject) is not None:
        raise WrongState("dispute.open", N_("已有一项争议待裁定"))
    return _keep(tx, subject, provider_id, RemarkKind.DISPUTE, text)


def rule(
    tx: Tx, dispute_id: int, *, upheld: bool, text: str, subject: str | None = None, issued_by: str = ""
) -> Remark:
    """The supervisor or the authority settles a dispute, once, with a reason; nobody settles his own, nor one about what he
    issued himself (``issued_by``). ``subject``: what it must be about; anything where not given."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    tx.actor.must_sign()
    found = tx.scalar(
        select(Remark).where(Remark.id == dispute_id, Remark.kind == RemarkKind.DISPUTE.value).with_for_update()
    )
    if found is None or (subject is not None and found.subject != subject):
        raise NotFound("dispute.none", N_("没有编号为 %(id)s 的争议"), id=dispute_id)
    if tx.scalar(select(Remark.id).where(Remark.answers == found.id)) is not None:
        raise WrongState("dispute.ruled", N_("这项争议已经裁定"))
    if found.by == tx.actor.login:
        raise NotAllowed("dispute.own", N_("不能裁定自己提出的争议"))
    if found.provider_id is None and found.role == Role.SUPERVISOR:  # as ``stewards``
        tx.actor.must_be(Role.AUTHORITY)
    if tx.actor.login == issued_by:
        raise NotAllowed("dispute.issuer", N_("作出决定的人不能裁定对它的争议"))
    kind = RemarkKind.UPHELD if upheld else RemarkKind.DISMISSED
    return _keep(tx, found.subject, found.provider_id, kind, text, answers=found.id)


def review(tx: Tx, subject: str, provider_id: int | None, text: str) -> Remark:
    """The supervisor has gone through ``subject`` and says with what result."""
    tx.actor.must_be(Role.SUPERVISOR)
    return _keep(tx, subject, provider_id, RemarkKind.REVIEWED, text)


def of(tx: Tx, subject: str) -> list[Remark]:
    """Everything said about ``subject``, oldest first."""
    return list(tx.scalars(select(Remark).where(Remark.subject == subject).order_by(Remark.id)))


def open_dispute(tx: Tx, subject: str) -> Remark | None:
    """The dispute about ``subject`` that waits for a ruling."""
    return tx.scalar(open_disputes().where(Remark.subject == subject))


def open_disputes() -> Select[Remark]:
    """Disputes that nobody has ruled on."""
    ruling = aliased(Remark)
    return select(Remark).where(
        Remark.kind == RemarkKind.DISPUTE.value,
        ~select(ruling.id).where(ruling.answers == Remark.id).exists(),
    )


def stewards() -> ColumnElement[bool]:
    """Whether a dispute is the steward's own, on which the authority alone rules."""
    return and_(Remark.provider_id.is_(None), Remark.role == Role.SUPERVISOR.value)


def upheld(tx: Tx, subjects: Iterable[str]) -> set[str]:
    """Those of ``subjects`` about which whom they are about was found to be right: their own disputes, not those raised
    against a company."""
    wanted, raised = set(subjects), aliased(Remark)
    if not wanted:
        return set()
    found = tx.scalars(
        select(Remark.subject)
        .join(raised, raised.id == Remark.answers)
        .where(
            Remark.kind == RemarkKind.UPHELD.value,
            or_(raised.role == Role.PROVIDER.value, raised.provider_id.is_(None)),
        )
    )
    return {one for one in found if one in wanted}


def _keep(
    tx: Tx, subject: str, provider_id: int | None, kind: RemarkKind, text: str, *, answers: int | None = None
) -> Remark:
    text = text.strip()
    if not text:
        raise Invalid("remark.empty", N_("请写明内容"), field="text")
    if len(text) > MOST:
        raise Invalid("remark.long", N_("不超过 %(most)s 字"), most=MOST, field="text")
    one = Remark(
        subject=subject, provider_id=provider_id, kind=kind.value, answers=answers, text=text, at=tx.now,
        by=tx.actor.login, name=tx.actor.name, role=tx.actor.role.value,
    )  # fmt: skip
    tx.add(one)
    tx.flush()
    tx.audit(f"remark.{kind.value}", subject, after={"remark": one.id, "answers": answers}, reason=text)
    return one
