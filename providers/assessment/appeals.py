"""Appeals (申诉): once a subject and period, within the working days of its formula after publication, ruled on within those
of its formula by somebody who did not issue the score. A ruling that strikes rows of evidence makes a new version of the card; the old one stays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, ForeignKey, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column

from providers.assessment import cards, whose
from providers.assessment.cards import ScorecardRecord
from providers.assessment.subjects import CardSubject, SubjectType
from providers.assessment.whose import OfSubject
from quota.actors import Actor, Role
from quota.base import Base
from quota.calendar import working_days
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx


class AppealState(StrEnum):
    FILED = "appeal_filed"
    UPHELD = "appeal_upheld"
    DISMISSED = "appeal_dismissed"


class Appeal(OfSubject, Base):
    """The one appeal of a company, or of a department for itself or a system of its own, against a period's card. ``refs``: the evidence rows that it contests; ``struck``:
    those that the ruling leaves out; ``result_id``: the version that came of it."""

    __tablename__ = "scorecard_appeals"
    __table_args__ = (
        UniqueConstraint("provider_id", "period"),
        UniqueConstraint("department_id", "period"),
        UniqueConstraint("system_id", "period"),
        whose.one_at_most(),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    scorecard_id: Mapped[int] = mapped_column(ForeignKey("scorecards.id"), index=True)
    period: Mapped[str] = mapped_column(String(7))
    text: Mapped[str] = mapped_column(Text)
    refs: Mapped[list[str]] = mapped_column(default=list)
    state: Mapped[str] = mapped_column(String(16))
    filed_at: Mapped[datetime]
    filed_by: Mapped[str] = mapped_column(String(64))
    due_at: Mapped[datetime]
    struck: Mapped[list[str]] = mapped_column(default=list)
    ruling: Mapped[str] = mapped_column(Text, default="")
    ruled_at: Mapped[datetime | None]
    ruled_by: Mapped[str | None] = mapped_column(String(64))
    result_id: Mapped[int | None] = mapped_column(ForeignKey("scorecards.id"))


def closes(tx: Tx, record: ScorecardRecord) -> datetime | None:
    """Until when the card is on display and may be appealed; None where it was not published."""
    if record.published_at is None:
        return None
    return working_days(tx).due(record.published_at, cards.formula_of(record).days.publicity)


def appealable(tx: Tx, record: ScorecardRecord) -> bool:
    """Whether an appeal against the card can still be filed."""
    until = closes(tx, record)
    return until is not None and tx.now <= until and of(tx, record.subject, record.month) is None


def may_file(tx: Tx, actor: Actor, subject: CardSubject) -> bool:
    """Whether ``actor`` may appeal for ``subject``: who speaks for it. Nobody appeals for the steward."""
    return subject.type is not SubjectType.STEWARD and whose.speaks_for(tx, actor, subject)


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """Appeals that ``actor`` may see: of whom it speaks for; the steward, the authority and the auditor all."""
    return whose.seen_by(tx, Appeal, actor)


def file(tx: Tx, scorecard_id: int, text: str, refs: Sequence[str] = ()) -> Appeal:
    """The company or the department appeals its published card, with its evidence; ``refs`` name the rows that it contests.

    Raises WrongState before publication and after its days of display, Conflict for a second appeal, Invalid for rows
    that the card does not rest on.
    """
    tx.actor.must_be(Role.PROVIDER, Role.TENANT)
    record = cards.scorecard(tx, scorecard_id)
    if not may_file(tx, tx.actor, record.subject):
        raise NotAllowed("appeal.not_yours", N_("只能就本单位的评分申诉"))
    whose.hold(tx, record.subject)
    if of(tx, record.subject, record.month) is not None:
        raise Conflict("appeal.twice", N_("每期评分只能申诉一次"))
    until = closes(tx, record)
    if until is None:
        raise WrongState("appeal.early", N_("公示后才能申诉"))
    if tx.now > until:
        raise WrongState("appeal.late", N_("申诉期已于 %(at)s 截止"), at=until)
    stated(text, "text", code="appeal.empty", message=N_("请写明申诉理由和证据"))
    known = {row.ref for row in cards.evidence_of(tx, record)}
    for ref in refs:
        if ref not in known:
            raise Invalid("appeal.ref", N_("这份评分没有依据 %(ref)s"), ref=ref, field="refs")
    appeal = Appeal(
        scorecard_id=record.id, **whose.columns_of(record.subject), period=record.month, text=text.strip()[:8000],
        refs=list(refs), state=AppealState.FILED.value, filed_at=tx.now, filed_by=tx.actor.login,
        due_at=working_days(tx).due(tx.now, cards.formula_of(record).days.ruling), struck=[], ruling="",
    )  # fmt: skip
    tx.add(appeal)
    tx.flush()
    tx.audit(
        "appeal.file", f"scorecard:{record.id}",
        after={"appeal": appeal.id, "refs": appeal.refs, "due_at": appeal.due_at}, reason=appeal.text,
    )  # fmt: skip
    return appeal


def rule(tx: Tx, appeal_id: int, *, upheld: bool, ruling: str, struck: Sequence[str] = ()) -> Appeal:
    """Settle an appeal. By the supervisor or the authority, but not by who published or computed the card. Upheld, it
    names the evidence rows to leave out; the caller scores again (``cards.keep``) and records it with ``resolve``."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    tx.actor.must_sign()
    appeal = tx.scalar(select(Appeal).where(Appeal.id == appeal_id).with_for_update())
    if appeal is None:
        raise NotFound("appeal.none", N_("没有编号为 %(id)s 的申诉"), id=appeal_id)
    if appeal.state != AppealState.FILED:
        raise WrongState("appeal.ruled", N_("这项申诉已经裁定"))
    record = cards.scorecard(tx, appeal.scorecard_id)
    if tx.actor.login in (record.published_by, record.computed_by):
        raise NotAllowed("appeal.issuer", N_("出具评分的人不能裁定对它的申诉"))
    stated(ruling, "ruling")
    if upheld and not struck:
        raise Invalid("appeal.nothing", N_("申诉成立时,请勾选不再计入的依据"), field="struck")
    known = {row.ref for row in cards.evidence_of(tx, record)}
    for ref in struck:
        if ref not in known:
            raise Invalid("appeal.ref", N_("这份评分没有依据 %(ref)s"), ref=ref, field="struck")
    appeal.state = (AppealState.UPHELD if upheld else AppealState.DISMISSED).value
    appeal.struck = list(struck) if upheld else []
    appeal.ruling, appeal.ruled_at, appeal.ruled_by = ruling.strip()[:8000], tx.now, tx.actor.login
    tx.flush()
    tx.audit(
        "appeal.rule", f"scorecard:{record.id}",
        before={"state": AppealState.FILED}, after={"appeal": appeal.id, "state": appeal.state, "struck": appeal.struck},
        reason=appeal.ruling,
    )  # fmt: skip
    return appeal


def resolve(tx: Tx, appeal: Appeal) -> ScorecardRecord:
    """Score an upheld appeal's card again without the rows that were struck: the same formula, the same other rows. The
    result is the next version; what it changed is told by ``cards.changes``."""
    if appeal.state != AppealState.UPHELD:
        raise WrongState("appeal.state", N_("只有申诉成立才重新评分"))
    contested = cards.scorecard(tx, appeal.scorecard_id)
    without = {
        indicator: [row for row in rows if row.ref not in appeal.struck]
        for indicator, rows in cards.rows_of(tx, contested).items()
    }
    reason = f"appeal:{appeal.id}: {appeal.ruling}"
    result = cards.keep(tx, contested.subject, appeal.period, without, cards.formula_of(contested), reason=reason)
    appeal.result_id = result.id
    tx.flush()
    return result


def of(tx: Tx, subject: CardSubject, period: str) -> Appeal | None:
    """The appeal against a period's card of ``subject``; never one against the steward's."""
    if subject.type is SubjectType.STEWARD:
        return None
    return tx.scalar(select(Appeal).where(whose.about(Appeal, subject), Appeal.period == period))


def struck(tx: Tx, subject: CardSubject, period: str | None = None) -> set[str]:
    """Refs of evidence that rulings have struck for ``subject``, in appeals of any period or of this one."""
    query = select(Appeal.struck).where(whose.about(Appeal, subject), Appeal.state == AppealState.UPHELD.value)
    found = tx.scalars(query if period is None else query.where(Appeal.period == period))
    return {ref for refs in found for ref in refs}
