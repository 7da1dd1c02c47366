"""整改: what a card or an incident found is ordered to be put right by a day, planned and proven by whom it is about, and
accepted or refused by the supervisor; what is asked of the steward itself by the authority. What was asked, planned, proven and
ruled is kept step by step and never overwritten.

In time is what was handed in by its day and accepted: how long the review takes costs nobody anything, a refusal does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, ForeignKey, Index, String, Text, and_, false, not_, or_, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.assessment import cards, whose
from providers.assessment.cards import ScorecardRecord
from providers.assessment.subjects import CardSubject, SubjectType, company
from providers.assessment.whose import OfSubject
from providers.base import Responsibility
from providers.billing import incidents
from quota.actors import Actor, Role
from quota.base import Base, append_only
from quota.calendar import ZONE
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx

LONGEST = timedelta(days=366)
"""The furthest day by which something may be ordered to be put right."""

MOST = 8000
"""Characters of what either side writes."""

_SOURCE = re.compile(r"(incident):(\d{1,9})|(scorecard):(\d{1,9})/([a-z][a-z_]{1,15})")


class RectificationState(StrEnum):
    ORDERED = "ordered"
    PLANNED = "planned"
    PROVEN = "proven"
    REFUSED = "refused"
    ACCEPTED = "accepted"
    WITHDRAWN = "withdrawn"


OPEN = (
    RectificationState.ORDERED,
    RectificationState.PLANNED,
    RectificationState.PROVEN,
    RectificationState.REFUSED,
)
PARTYS_TURN = (RectificationState.ORDERED, RectificationState.PLANNED, RectificationState.REFUSED)


class Rectification(OfSubject, Base):
    """One order to rectify, of one subject. ``source``: what it is about (``incident:3``, ``scorecard:5/delivery``); ``handed_in_at``: when
    the proof that stands was handed in; ``due_at``: the end of its day (23:59:59) in the city's time."""

    __tablename__ = "rectifications"
    __table_args__ = (
        Index("ix_rectifications_provider_id_due_at", "provider_id", "due_at"),
        Index("ix_rectifications_department_id_due_at", "department_id", "due_at"),
        Index("ix_rectifications_system_id_due_at", "system_id", "due_at"),
        Index("ix_rectifications_state_due_at", "state", "due_at"),
        Index("ix_rectifications_ordered_at_id", "ordered_at", "id"),
        whose.one_at_most(),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(String(64), index=True)
    title: Mapped[str] = mapped_column(String(256))
    state: Mapped[str] = mapped_column(String(16))
    due_at: Mapped[datetime]
    ordered_at: Mapped[datetime]
    ordered_by: Mapped[str] = mapped_column(String(64))
    handed_in_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    generation: Mapped[int] = mapped_column(default=1)

    steps: Mapped[list[RectificationStep]] = relationship(order_by="RectificationStep.id")

    @property
    def number(self) -> str:
        return f"ZG-{self.id:06d}"

    @property
    def ref(self) -> str:
        """What the book calls it."""
        return f"rectification:{self.id}"

    @property
    def open(self) -> bool:
        return self.state in OPEN

    def overdue(self, now: datetime) -> bool:
        """Whether whom it is about owes something whose day is past."""
        return self.state in PARTYS_TURN and self.due_at < now

    def in_time(self, now: datetime) -> bool:
        """Whether whom it is about did by its day what they could: what stands was handed in by then and was not refused."""
        if self.state in PARTYS_TURN:
            return self.due_at >= now
        return self.handed_in_at is not None and self.handed_in_at <= self.due_at


class RectificationStep(Base):
    """One step: what was asked (ordered), how it will be done (planned), that it was done (proven), what the review said
    (refused, accepted), or why it is not asked any more (withdrawn)."""

    __tablename__ = "rectification_steps"

    id: Mapped[int] = mapped_column(primary_key=True)
    rectification_id: Mapped[int] = mapped_column(ForeignKey("rectifications.id"), index=True)
    step: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(index=True)
    by: Mapped[str] = mapped_column(String(64))


append_only(RectificationStep.__table__)  # type: ignore[arg-type]


def order(tx: Tx, source: str, title: str, demand: str, due_on: date) -> Rectification:
    """The supervisor or the authority orders whom ``source`` speaks of to put something right by the end of ``due_on``; the
    steward itself, the authority.

    Raises Invalid for a source that found nothing against anybody (an incident that was not settled as the company's, a
    mark that cost nothing, a card that is not the newest of its period) and for a day that is past or too far; Conflict
    where an order about it is open.
    """
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    whom = accused(tx, source)
    tx.actor.must_be(*whose.overseers(whom))
    stated(title, "title", code="rectification.title", message=N_("请填写整改事项"))
    stated(demand, "demand", code="rectification.demand", message=N_("请写明整改要求"))
    today = tx.now.astimezone(ZONE).date()
    if not today < due_on <= today + LONGEST:
        raise Invalid("rectification.due", N_("整改期限须晚于今天,且不超过一年"), field="due_on")
    whose.hold(tx, whom)  # one at a time
    standing = open_about(tx, source)
    if standing is not None:
        raise Conflict("rectification.twice", N_("这一事项已有在办的整改 %(number)s"), number=standing.number)
    found = Rectification(
        **whose.columns_of(whom), source=source, title=title.strip()[:256], state=RectificationState.ORDERED.value,
        due_at=_end_of(due_on), ordered_at=tx.now, ordered_by=tx.actor.login, generation=1,
    )  # fmt: skip
    tx.add(found)
    tx.flush()
    _step(tx, found, RectificationState.ORDERED, demand)
    tx.audit(
        "rectification.order", found.ref, reason=demand.strip(),
        after={"source": source, **whose.told(whom), "title": found.title, "due_at": found.due_at},
    )  # fmt: skip
    return found


def accused(tx: Tx, source: str) -> CardSubject:
    """Whom ``source`` found something against. Raises Invalid naming why it did not, NotFound where it is none."""
    told = _SOURCE.fullmatch(source)
    if told is None:
        raise Invalid("rectification.source", N_("依据写作 incident:12 或 scorecard:5/delivery"), field="source")
    if told[1]:
        incident = incidents.incident(tx, int(told[2]))
        if incident.responsibility != Responsibility.PROVIDER:
            raise Invalid("rectification.not_theirs", N_("只有定责为云服务商的故障可以责令整改"), field="source")
        return company(incident.provider_id)
    card = cards.scorecard(tx, int(told[4]))
    newest = cards.of(tx, card.subject, card.month)
    if newest is None or newest.id != card.id:
        raise Invalid("rectification.not_newest", N_("只能依据最新版本的评分责令整改"), field="source")
    if not any(mark.indicator == told[5] and mark.deduction for mark in card.marks):
        raise Invalid("rectification.full_mark", N_("这项指标没有扣分,不能据以责令整改"), field="source")
    return card.subject


def plan(tx: Tx, number: int, generation: int, text: str) -> Rectification:
    """Whom it is about says how and by when it will be done; again, as long as nothing was handed in since the last review."""
    found = _of_party(tx, number, generation)
    if found.state not in PARTYS_TURN:
        raise _not_now()
    stated(text, "text", code="rectification.plan", message=N_("请写明整改方案"))
    return _moved(tx, found, RectificationState.PLANNED, "rectification.plan", text)


def prove(tx: Tx, number: int, generation: int, text: str) -> Rectification:
    """Whom it is about hands in what shows that it was done. Raises WrongState without a plan."""
    found = _of_party(tx, number, generation)
    if found.state != RectificationState.PLANNED:
        raise (
            WrongState("rectification.no_plan", N_("请先提交整改方案")) if found.state in PARTYS_TURN else _not_now()
        )
    stated(text, "text", code="rectification.proof", message=N_("请写明完成情况和证明"))
    found.handed_in_at = tx.now
    return _moved(tx, found, RectificationState.PROVEN, "rectification.prove", text)


def review(tx: Tx, number: int, generation: int, *, accepted: bool, text: str) -> Rectification:
    """Who oversees whom it is about has looked at the proof: accepted, it is over; refused, it is with them again and its
    day stands."""
    found = _overseen(tx, number, generation)
    if found.state != RectificationState.PROVEN:
        raise WrongState("rectification.nothing_in", N_("还没有待复核的整改证明"))
    stated(text, "text", code="rectification.ruling", message=N_("请写明复核意见"))
    if not accepted:
        found.handed_in_at = None
        return _moved(tx, found, RectificationState.REFUSED, "rectification.refuse", text)
    found.closed_at = tx.now
    return _moved(tx, found, RectificationState.ACCEPTED, "rectification.accept", text)


def withdraw(tx: Tx, number: int, generation: int, text: str) -> Rectification:
    """Not asked any more, with the reason: an order that was wrong costs nobody anything."""
    found = _overseen(tx, number, generation)
    if not found.open:
        raise _not_now()
    stated(text, "text")
    found.closed_at = tx.now
    return _moved(tx, found, RectificationState.WITHDRAWN, "rectification.withdraw", text)


# ------------------------------------------------------------------------------------------------------------- reading


def rectification(tx: Tx, number: int) -> Rectification:
    """The order, or NotFound, also where the actor may not see it."""
    found = tx.scalar(select(Rectification).where(Rectification.id == number, visible(tx, tx.actor)))
    if found is None:
        raise NotFound("rectification.none", N_("没有编号为 %(id)s 的整改"), id=number)
    return found


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """A company and a department their own; the steward, the authority and the auditor all."""
    return whose.seen_by(tx, Rectification, actor)


def open_about(tx: Tx, source: str) -> Rectification | None:
    """The open order about ``source``."""
    going = Rectification.state.in_([one.value for one in OPEN])
    return tx.scalar(select(Rectification).where(Rectification.source == source, going).limit(1))


def about_cards(tx: Tx, subject: CardSubject, period: str) -> Sequence[Rectification]:
    """What was ordered on the word of a subject's cards of a period, whichever version, and the actor may see."""
    versions = select(ScorecardRecord.id).where(whose.about(ScorecardRecord, subject), ScorecardRecord.month == period)
    found = [f"scorecard:{one}/" for one in tx.scalars(versions)]
    if not found:
        return []
    about = or_(*(Rectification.source.startswith(one) for one in found))
    query = select(Rectification).where(visible(tx, tx.actor), about)
    return tx.scalars(query.order_by(Rectification.id)).all()


def waiting(tx: Tx, who: Actor, most: int | None = None) -> Sequence[Rectification]:
    """What waits for ``who``: whom it is about to plan and to prove, the supervisor to review; of the steward's own, the
    supervisor to plan and to prove, the authority to review. The nearest day first."""
    stewards = whose.of_type(Rectification, SubjectType.STEWARD)
    proven = Rectification.state == RectificationState.PROVEN.value
    turn = {
        Role.PROVIDER: owed(),
        Role.TENANT: owed(),
        Role.SUPERVISOR: or_(and_(proven, not_(stewards)), and_(owed(), stewards)),
        Role.AUTHORITY: and_(proven, stewards),
    }.get(who.role, false())
    query = select(Rectification).where(visible(tx, who), turn)
    return tx.scalars(query.order_by(Rectification.due_at, Rectification.id).limit(most)).all()


def owed() -> ColumnElement[bool]:
    """Orders of which whom they are about owe something."""
    return Rectification.state.in_([one.value for one in PARTYS_TURN])


def late(now: datetime) -> ColumnElement[bool]:
    """Orders of which something is owed and the day is past."""
    return owed() & (Rectification.due_at < now)


# ------------------------------------------------------------------------------------------------------------- keeping


def _end_of(day: date) -> datetime:
    return datetime.combine(day, time(23, 59, 59), ZONE)


def _not_now() -> WrongState:
    return WrongState("rectification.state", N_("这项整改现在不能这样办理"))


def _of_party(tx: Tx, number: int, generation: int) -> Rectification:
    found = _locked(tx, number, generation)
    if not whose.speaks_for(tx, tx.actor, found.subject):
        raise NotAllowed("rectification.not_yours", N_("只能办理本单位的整改"))
    return found


def _overseen(tx: Tx, number: int, generation: int) -> Rectification:
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    found = _locked(tx, number, generation)
    tx.actor.must_be(*whose.overseers(found.subject))
    return found


def _locked(tx: Tx, number: int, generation: int) -> Rectification:
    found = rectification(tx, number)
    stale = Conflict("rectification.stale", N_("整改 %(number)s 已被更新,请刷新后再操作"), number=found.number)
    tx.lock_as_shown(found, generation, stale)
    return found


def _moved(tx: Tx, found: Rectification, state: RectificationState, action: str, text: str) -> Rectification:
    before, found.state = found.state, state.value
    found.generation += 1
    _step(tx, found, state, text)
    tx.audit(action, found.ref, before={"state": before}, after={"state": state}, reason=text.strip()[:MOST])
    return found


def _step(tx: Tx, found: Rectification, state: RectificationState, text: str) -> None:
    tx.add(
        RectificationStep(
            rectification_id=found.id, step=state.value, text=text.strip()[:MOST], at=tx.now, by=tx.actor.login
        )
    )
    tx.flush()
