"""云外认定: that what a department has outside the government cloud may stay there, until a day or for good; decided by the last
signature. Where it is rejected, it must move within the time that the city's rules say (the outcome ``oblige``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from quota import calendar
from quota.calendar import ZONE
from quota.directory import FacilityState, OutsideFacility, outside
from quota.errors import N_, Invalid
from quota.requests import facts, rulebook, rules
from quota.requests.declarations import About, EntryRegister, Question, RequestField, RequestKind, Term, register
from quota.requests.tables import OPEN, Request

if TYPE_CHECKING:
    from datetime import date

    from quota.db import Tx

CODE = "outside"


def check(tx: Tx, request: Request) -> None:
    """Raise Invalid for what is gone, or may stay for good already."""
    one, today = outside.facility(tx, request.entry_id or 0), tx.now.astimezone(ZONE).date()
    state = one.state(today)
    if state is FacilityState.LEFT:
        raise Invalid("outside.left", N_("该云外资源已迁移或停用"), field="entry")
    if state is FacilityState.RECOGNISED and one.recognised_until is None:
        raise Invalid("outside.for_good", N_("该云外资源已认定为长期，不需要再申请"), field="entry")


def granted(tx: Tx, request: Request) -> None:
    outside.recognise(tx, request.entry_id or 0, request.use_until, request.number)


def rejected(tx: Tx, request: Request) -> None:
    outside.refuse(tx, request.entry_id or 0, _move_by(tx, request), request.number)


def _move_by(tx: Tx, request: Request) -> date | None:
    """By the rules that the request was handed in under, counted from its rejection."""
    on = (request.submitted_at or tx.now).astimezone(ZONE).date()
    within = rules.obligation(request.facts, rulebook.enacted(tx), on)
    if within is None:
        return None
    return calendar.working_days(tx).limit(tx.now, within.limit, within.unit).astimezone(ZONE).date()


@outside.decided_by
def _under_way(tx: Tx, facility_id: int) -> str | None:
    query = select(Request.number).where(Request.kind == CODE, Request.entry_id == facility_id, Request.state.in_(OPEN))
    return tx.scalar(query.limit(1))


def _sees(tx: Tx, request: Request) -> str:
    found = tx.get(OutsideFacility, request.entry_id) if request.kind == CODE and request.entry_id else None
    return found.kind if found is not None else ""


facts.register("outside", rules.RuleFact(str, N_("云外资源类型"), ""), _sees)

OUTSIDE = register(
    RequestKind(
        code=CODE,
        label=N_("云外认定"),
        position=80,
        about=About.ENTRY,
        register=EntryRegister(N_("云外资源"), outside.facility, outside.named),
        term=Term.OPTIONAL,
        fields=(RequestField("plan", N_("不予认定时的迁移安排"), long=True, required=True),),
        why=Question(
            N_("留在云外的理由"),
            N_("写明为什么不能或暂不能上云、依据的文件、安全和运维如何保证"),
            N_("请写明留在云外的理由"),
        ),
        check=check,
        granted=granted,
        rejected=rejected,
        icon="building",
    )
)
