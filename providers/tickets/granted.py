"""What was granted and people carry out: the company of the pool is told by a ticket, and when the term is over the department is asked
whether it is to be undone. A job's work; each once."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy import exists, select
from sqlalchemy.orm import aliased

from providers.tickets import handling
from providers.tickets.tables import UNDONE, Ticket, TicketKind
from quota.actors import Role
from quota.calendar import ZONE
from quota.errors import N_
from quota.requests import OPEN, Request, RequestState, declared, formbook, known

if TYPE_CHECKING:
    from quota.db import Tx

LEVEL = 3
"""Of tickets that nobody gave a level."""
ENDED = N_("使用期限已满。仍要使用的请申请延期；不用的请答复，由云服务商撤销。答复之前一切不变。")
PROLONGED = N_("使用期限已延长，不必再办。")


def place(tx: Tx) -> list[Ticket]:
    """File a ticket with the company of the pool for each request that was granted and has none yet."""
    tx.actor.must_be(Role.SYSTEM)
    filed = exists().where(Ticket.request_id == Request.id, Ticket.ends_on.is_(None))
    query = select(Request).where(Request.kind.in_(_kinds()), Request.state == RequestState.DONE.value, ~filed)
    return [_file(tx, one, None, _told(tx, one)) for one in tx.scalars(query.order_by(Request.id)).all()]


def ask_ended(tx: Tx) -> list[Ticket]:
    """Ask departments of what was granted for a term that is over, once for each end, without what they ask to have longer."""
    tx.actor.must_be(Role.SYSTEM)
    today = tx.now.astimezone(ZONE).date()
    longer = aliased(Request)
    query = select(Request).where(
        Request.kind.in_(_kinds()),
        Request.state == RequestState.DONE.value,
        Request.use_until < today,
        ~exists().where(longer.extends_id == Request.id, longer.state.in_(OPEN)),
        ~exists().where(Ticket.request_id == Request.id, Ticket.ends_on == Request.use_until),
    )
    found = []
    for one in tx.scalars(query.order_by(Request.id)).all():
        ticket = _file(tx, one, one.use_until, _told(tx, one))
        handling.ask_whether(tx, ticket, ENDED)
        found.append(ticket)
    return found


def let_be(tx: Tx) -> list[Ticket]:
    """Withdraw what departments were asked about a term that was moved since; not what was undone already, of which the department says
    itself whether it is to be done again."""
    tx.actor.must_be(Role.SYSTEM)
    query = (
        select(Ticket)
        .join(Request, Request.id == Ticket.request_id)
        .where(Ticket.ends_on.is_not(None), Ticket.state.in_(UNDONE))
        .where(Request.use_until.is_(None) | (Request.use_until > Ticket.ends_on))
    )
    return [one for one in tx.scalars(query.order_by(Ticket.id)).all() if handling.let_be(tx, one, PROLONGED)]


def _kinds() -> list[str]:
    return [kind.code for kind in known() if kind.by_ticket]


def _file(tx: Tx, request: Request, ends_on: date | None, said: str) -> Ticket:
    kind = declared(request.kind)
    return handling.enter(
        tx, TicketKind(kind.by_ticket), LEVEL, f"{request.number} {kind.label}", said, department=request.department,
        system=request.system, pool=request.pool, provider_id=request.pool.provider_id, request_id=request.id, ends_on=ends_on,
    )  # fmt: skip


def _told(tx: Tx, request: Request) -> str:
    """What was granted, as it was asked for."""
    kind = formbook.form_of(tx, request)
    said = kind.told(request.fields)
    said += [(N_("使用期限"), str(request.use_until or "—")), (kind.why.label, request.justification)]
    return "\n".join(f"{label}：{told}" for label, told in said)[: handling.MOST]
