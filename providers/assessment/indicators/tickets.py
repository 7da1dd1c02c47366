"""Tickets of departments: whether they were answered and solved in time."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import joinedload

from providers.assessment import periods
from providers.assessment.evidence import OK
from providers.assessment.measures import SHARE, EvidenceRow, FigureUnit
from providers.assessment.registry import Direction, Fact, FactFormat, Gathering, Indicator, register
from providers.billing import month_bounds
from providers.tickets import Ticket, TicketState, TicketTurn
from quota.errors import N_


def gather(gathering: Gathering, month: str) -> list[EvidenceRow]:
    """Tickets that lay with the company and had to be solved by a time in the month that is over."""
    start, end = month_bounds(month)
    return _rows(gathering, TicketTurn.resolve_by > start, TicketTurn.resolve_by <= end)


def left(gathering: Gathering, rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """Those of earlier periods that were still not solved when this one began: each costs once in every period."""
    start, _end = periods.bounds(gathering.period)
    known = {row.ref for row in rows}
    over = func.coalesce(TicketTurn.solved_at, TicketTurn.ended_at, TicketTurn.paused_at)
    still = or_(over.is_(None), over > start)
    return [row for row in _rows(gathering, TicketTurn.resolve_by <= start, still) if row.ref not in known]


def _rows(gathering: Gathering, *chosen: ColumnElement[bool]) -> list[EvidenceRow]:
    """Without what lies with the department, which asks for its time back: it falls due when it is told."""
    tx = gathering.tx
    due = or_(
        TicketTurn.paused_at.is_(None), TicketTurn.solved_at.is_not(None), TicketTurn.paused_at > TicketTurn.resolve_by
    )
    found = tx.scalars(
        select(TicketTurn)
        .join(TicketTurn.ticket)
        .where(
            TicketTurn.provider_id == gathering.subject.id,
            TicketTurn.resolve_by <= tx.now,
            Ticket.state != TicketState.WITHDRAWN.value,
            due,
            *chosen,
        )
        .options(joinedload(TicketTurn.ticket))
        .order_by(TicketTurn.id)
    ).all()
    return [
        EvidenceRow(
            turn.ticket.subject,
            {
                "number": turn.ticket.number,
                "level": turn.ticket.level,
                "respond_by": turn.respond_by.isoformat(),
                "responded_at": turn.responded_at and turn.responded_at.isoformat(),
                "resolve_by": turn.resolve_by.isoformat(),
                "solved_at": (at := turn.solved_at or turn.ended_at) and at.isoformat(),
                "ok": turn.in_time(tx.now),
            },
        )
        for turn in found
    ]


register(
    Indicator(
        code="tickets",
        label=N_("运维请求及时率"),
        explanation=N_(
            "当期到期的运维请求按时响应并按时解决（或转办）的比例；在单位手中的时间不计，单位撤回的不计，往期逾期仍未解决的逐期计入"
        ),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=SHARE,
        lateness=("resolve_by", "solved_at"),
        weight=Decimal(5),
        limits={"full": Decimal(1), "per_point": Decimal("0.1")},
        order=58,
        edition=9,
        happened=gather,
        holding=left,
        facts=(
            Fact("number", N_("运维请求"), FactFormat.PLAIN, names=True),
            Fact("level", N_("级别")),
            Fact("respond_by", N_("响应期限"), FactFormat.MOMENT),
            Fact("responded_at", N_("响应"), FactFormat.MOMENT),
            Fact("resolve_by", N_("解决期限"), FactFormat.MOMENT),
            Fact("solved_at", N_("解决"), FactFormat.MOMENT),
            OK,
        ),
    )
)
