"""Tickets as they are kept: what was asked, with whom it lay by which clock, and every step; who may see them."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    false,
    func,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.orm import Mapped, joinedload, mapped_column, relationship

from quota.actors import Actor, Role
from quota.base import Base, append_only
from quota.directory import CloudProvider, Department, Pool, System, subtree
from quota.errors import N_, NotFound
from quota.inventory import Resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quota.db import Tx


class TicketKind(StrEnum):
    FAULT = "fault"
    PORT = "port"
    RESTORE = "restore"
    CHANGE = "change"
    ADVICE = "advice"


TICKET_KINDS = {
    TicketKind.FAULT: N_("报障"),
    TicketKind.PORT: N_("端口与网络"),
    TicketKind.RESTORE: N_("数据恢复"),
    TicketKind.CHANGE: N_("其他操作"),
    TicketKind.ADVICE: N_("咨询"),
}
"""Advice is the supervisor's; everything else goes to the company of the pool that it is about."""


class TicketState(StrEnum):
    FILED = "filed"  # with a company or the supervisor, not answered yet
    WORKING = "working"
    ASKED = "asked"  # with the department, which was asked something
    SOLVED = "solved"  # with the department, which says whether it is
    CONFIRMED = "confirmed"
    CLOSED = "closed"  # by the supervisor, the department having said nothing in its time
    WITHDRAWN = "withdrawn"


HANDLERS_TURN = (TicketState.FILED.value, TicketState.WORKING.value)
DEPARTMENTS_TURN = (TicketState.ASKED.value, TicketState.SOLVED.value)
OPEN_TICKETS = (*HANDLERS_TURN, *DEPARTMENTS_TURN)
UNDONE = (*HANDLERS_TURN, TicketState.ASKED.value)
"""Of which nobody has said yet that it is done."""


class TicketAct(StrEnum):
    """What a step did. All but a word said move the ticket."""

    FILED = "filed"
    ANSWERED = "answered"  # by who handles it: taken up
    SAID = "said"
    ASKED = "asked"
    TOLD = "told"  # by the department: what it was asked
    HANDED = "handed"
    LEVELLED = "levelled"
    SOLVED = "solved"
    REOPENED = "reopened"
    CONFIRMED = "confirmed"
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"


class Ticket(Base):
    """One ticket of a department. ``provider_id``: the company that handles it, None where the supervisor does; ``request_id``: the granted request that
    it carries out, or, with ``ends_on``, undoes because its term is over; ``due_at``: by when
    whoever's turn it is must act, None once it is over."""

    __tablename__ = "tickets"
    __table_args__ = (
        CheckConstraint("level BETWEEN 1 AND 4", name="level"),
        Index("ix_tickets_state_due_at", "state", "due_at"),
        Index("ix_tickets_filed_at_id", "filed_at", "id"),
        Index("ix_tickets_provider_id_state", "provider_id", "state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(12))
    level: Mapped[int]
    title: Mapped[str] = mapped_column(String(256))
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    system_id: Mapped[int | None] = mapped_column(ForeignKey("systems.id"), index=True)
    resource_id: Mapped[int | None] = mapped_column(ForeignKey("resources.id"), index=True)
    pool_id: Mapped[int | None] = mapped_column(ForeignKey("pools.id"))
    request_id: Mapped[int | None] = mapped_column(index=True)
    ends_on: Mapped[date | None]
    provider_id: Mapped[int | None] = mapped_column(ForeignKey("cloud_providers.id"))
    state: Mapped[str] = mapped_column(String(12))
    due_at: Mapped[datetime | None] = mapped_column(index=True)
    filed_at: Mapped[datetime]
    filed_by: Mapped[str] = mapped_column(String(64))
    closed_at: Mapped[datetime | None]
    generation: Mapped[int] = mapped_column(default=1)

    department: Mapped[Department] = relationship()
    system: Mapped[System | None] = relationship()
    resource: Mapped[Resource | None] = relationship()
    pool: Mapped[Pool | None] = relationship()
    provider: Mapped[CloudProvider | None] = relationship()

    @property
    def number(self) -> str:
        return f"YW-{self.id:06d}"

    @property
    def subject(self) -> str:
        """What the book calls it."""
        return f"ticket:{self.id}"

    @property
    def open(self) -> bool:
        return self.state in OPEN_TICKETS

    def overdue(self, now: datetime) -> bool:
        """Whether the time of whoever's turn it is went by."""
        return self.due_at is not None and self.due_at < now


class TicketTurn(Base):
    """A ticket's time with one party (``provider_id`` None: the supervisor). What comes back to a party goes on by the clock that it had.
    ``allowed`` and ``pauses`` as ``clock`` has them; ``paused_at``: since when it lies with the department."""

    __tablename__ = "ticket_turns"
    __table_args__ = (
        UniqueConstraint("ticket_id", "provider_id"),
        Index("ix_ticket_turns_provider_id_resolve_by", "provider_id", "resolve_by"),
        Index(
            "uq_ticket_turns_open_ticket_id",
            "ticket_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"))
    provider_id: Mapped[int | None] = mapped_column(ForeignKey("cloud_providers.id"))
    began_at: Mapped[datetime]
    allowed: Mapped[dict[str, Any]]
    pauses: Mapped[list[Any]] = mapped_column(default=list)
    respond_by: Mapped[datetime]
    resolve_by: Mapped[datetime]
    responded_at: Mapped[datetime | None]
    solved_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    ticket: Mapped[Ticket] = relationship()
    provider: Mapped[CloudProvider | None] = relationship()

    def in_time(self, now: datetime) -> bool:
        """Whether it was answered by its time and is solved, or was handed on, by its time."""
        answered = self.responded_at or self.ended_at or now
        over = self.solved_at or self.ended_at or self.paused_at or now
        return answered <= self.respond_by and over <= self.resolve_by


class TicketStep(Base):
    """One step, or a word said on the way. ``provider_id``: to whom it was handed (None: the supervisor), ``level``: what was set."""

    __tablename__ = "ticket_steps"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)
    act: Mapped[str] = mapped_column(String(12))
    text: Mapped[str] = mapped_column(Text)
    provider_id: Mapped[int | None] = mapped_column(ForeignKey("cloud_providers.id"))
    level: Mapped[int | None]
    at: Mapped[datetime] = mapped_column(index=True)
    by: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))

    ticket: Mapped[Ticket] = relationship()
    provider: Mapped[CloudProvider | None] = relationship()


append_only(TicketStep.__table__)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------- reading


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """What ``actor`` may see: a department its own and those of whom lies below it; a company what it handles or did; the city's
    supervisor, authority and auditor everything."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        return Ticket.department_id.in_(subtree(tx, actor.department_id))
    if actor.role is Role.PROVIDER and actor.provider_id is not None:
        had = select(TicketTurn.ticket_id).where(TicketTurn.provider_id == actor.provider_id)
        return or_(Ticket.provider_id == actor.provider_id, Ticket.id.in_(had))
    return true() if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM) else false()


def ticket(tx: Tx, number: int) -> Ticket:
    """The ticket, or NotFound, also where the actor may not see it."""
    found = tx.scalar(
        select(Ticket)
        .where(Ticket.id == number, visible(tx, tx.actor))
        .options(*(joinedload(one) for one in (Ticket.department, Ticket.system, Ticket.pool, Ticket.provider)))
    )
    if found is None:
        raise NotFound("ticket.none", N_("没有编号为 %(id)s 的运维请求"), id=number)
    return found


def left_to(actor: Actor, found: Ticket) -> bool:
    """Whether a company only handled it once: what came later is no business of its."""
    return actor.role is Role.PROVIDER and actor.provider_id != found.provider_id


def steps(tx: Tx, found: Ticket) -> Sequence[TicketStep]:
    """The steps that the actor may read, oldest first: who handed it on, up to that."""
    query = select(TicketStep).where(TicketStep.ticket_id == found.id).options(joinedload(TicketStep.provider))
    if left_to(tx.actor, found):
        last = select(func.max(TicketTurn.ended_at)).where(
            TicketTurn.ticket_id == found.id, TicketTurn.provider_id == tx.actor.provider_id
        )
        query = query.where(TicketStep.at <= last.scalar_subquery())
    return tx.scalars(query.order_by(TicketStep.id)).all()


def turns(tx: Tx, found: Ticket) -> Sequence[TicketTurn]:
    """With whom it lay, in order; a company that handed it on sees its own alone."""
    query = select(TicketTurn).where(TicketTurn.ticket_id == found.id).options(joinedload(TicketTurn.provider))
    if left_to(tx.actor, found):
        query = query.where(TicketTurn.provider_id == tx.actor.provider_id)
    return tx.scalars(query.order_by(TicketTurn.id)).all()


def of_request(tx: Tx, request_id: int) -> Sequence[Ticket]:
    """The tickets that carry out what a request was granted, as far as the actor may see them."""
    query = select(Ticket).where(Ticket.request_id == request_id, visible(tx, tx.actor))
    return tx.scalars(query.options(joinedload(Ticket.provider)).order_by(Ticket.id)).all()


def waiting(tx: Tx, who: Actor, most: int | None = None) -> Sequence[Ticket]:
    """What waits for ``who``, the nearest limit first: a department to answer or confirm its own, a company to handle; the supervisor
    what it handles itself, and what is late with anybody."""
    handled = Ticket.state.in_(HANDLERS_TURN)
    turn: ColumnElement[bool]
    if who.role is Role.TENANT:
        turn = Ticket.state.in_(DEPARTMENTS_TURN) & (Ticket.department_id == who.department_id)
    elif who.role is Role.PROVIDER:
        turn = handled & (Ticket.provider_id == who.provider_id)
    elif who.role is Role.SUPERVISOR:
        turn = or_(handled & Ticket.provider_id.is_(None), late(tx.now))
    else:
        return []
    query = select(Ticket).where(turn).options(joinedload(Ticket.department), joinedload(Ticket.provider))
    return tx.scalars(query.order_by(Ticket.due_at, Ticket.id).limit(most)).all()


def late(now: datetime) -> ColumnElement[bool]:
    """Tickets of which the time of whoever's turn it is went by."""
    return Ticket.state.in_(OPEN_TICKETS) & (Ticket.due_at < now)
