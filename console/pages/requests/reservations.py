"""预定日历: what is reserved for peaks that are still to come, day by day, and each reservation with its window."""

from __future__ import annotations

import calendar as months
from datetime import date, datetime, timedelta
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.wrappers import Response

from console import frame, links
from console.access import BUSINESS, allow
from console.book import reading, transaction
from console.lists import Column, Filter, Rows, listing, marks_of
from console.programs import GENERATION, Given, listed, takes
from console.security import row
from console.words import _, amounts, identified
from quota import requests
from quota.actors import Role
from quota.calendar import ZONE
from quota.directory import Department
from quota.errors import N_
from quota.requests import Request, RequestState, kind_of, reservations
from quota.units import MEMORY, VCPU, Amount

blueprint = Blueprint("reservations", __name__, url_prefix="/reservations")
frame.page("requests", "reservations.index", N_("预定日历"), order=33)

WEEKDAYS = (N_("周一"), N_("周二"), N_("周三"), N_("周四"), N_("周五"), N_("周六"), N_("周日"))
ENDED = (RequestState.REJECTED.value, RequestState.WITHDRAWN.value)


def _more(one: Request) -> Amount:
    """What it adds."""
    return Amount.total(Amount(line.difference(approved=line.approved is not None)) for line in one.lines)


def _starts(one: Request) -> datetime | None:
    """When the machine grows."""
    starts = kind_of(one).starts
    return None if starts is None else starts(one)


def _state_is(query: Rows, value: str) -> Rows:
    today = reading().now.astimezone(ZONE).date()
    live = Request.state.not_in(ENDED)
    match value:
        case "coming":
            return query.where(live, Request.use_until >= today)
        case "past":
            return query.where(live, Request.use_until < today)
    return query.where(~live)


COLUMNS = [
    Column(
        "number", N_("编号"), lambda r: r.number, title=True, href=lambda r: url_for("requests.show", request_id=r.id)
    ),
    Column("occasion", N_("重保或应急事项"), lambda r: r.fields.get("occasion", "")),
    Column("department", N_("使用单位"), lambda r: r.department.name, href=links.department(lambda r: r.department_id)),
    Column("resource", N_("资源"), lambda r: identified(r.resource) if r.resource else "—"),
    *marks_of(lambda r: r.resource),
    Column("more", N_("增加"), lambda r: amounts(_more(r))),
    Column("starts", N_("扩容时间"), _starts),
    Column("begins", N_("高峰开始日"), lambda r: r.fields[reservations.BEGINS]),
    Column("until", N_("使用期限"), lambda r: r.use_until, sort=Request.use_until),
    Column("state", N_("状态"), lambda r: r.state, state=True),
]
FILTERS = [
    Filter(
        "when", N_("时间"), _state_is,
        options={"coming": N_("未结束"), "past": N_("已结束"), "off": N_("已驳回或撤回")}, default="coming",
    ),
    Filter("q", N_("事项或单位"), lambda q, v: q.where(Request.department.has(frame.matching(v, Department.name)))),
]  # fmt: skip


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    """A month of days, and the reservations."""
    tx = reading()
    query = (
        select(Request)
        .where(requests.visible(tx), reservations.reserving())
        .where(Request.state != RequestState.DRAFT.value)
        .options(joinedload(Request.department), joinedload(Request.resource), selectinload(Request.lines))
    )
    found = listing(tx, query, COLUMNS, key=Request.id, filters=FILTERS)
    exported = found.exported("reservations")
    if exported is not None:
        return exported
    first = _month()
    last = first.replace(day=months.monthrange(first.year, first.month)[1])
    told = reservations.by_day(tx, first, last)
    return render_template(
        "reservations/index.html",
        found=found,
        month=f"{first:%Y-%m}",
        before=f"{first - timedelta(days=1):%Y-%m}",
        after=f"{last + timedelta(days=1):%Y-%m}",
        weekdays=[_(one) for one in WEEKDAYS],
        today=tx.now.astimezone(ZONE).date(),
        weeks=[[_cell(day, first, told) for day in week] for week in months.Calendar().monthdatescalendar(first.year, first.month)],
    )  # fmt: skip


@blueprint.post("/<int:request_id>/cancel")
@allow(Role.TENANT)
@takes(None, GENERATION, Given("reason", label=N_("理由"), required=True))
def cancel(request_id: int) -> Response:
    """A reservation that has not begun is needed no more."""
    with transaction() as tx:
        one = requests.request(tx, request_id)
        reservations.cancel(
            tx, one.id, generation=request.form.get("generation", -1, row), reason=request.form.get("reason", "")
        )
    flash(_("预定已取消，占用的配额已回到本单位"), "success")
    return redirect(url_for("requests.show", request_id=request_id))


def _month() -> date:
    """The first day of the month that is asked for; of this one where none is, or what is asked for is none."""
    today = reading().now.astimezone(ZONE).date()
    try:
        asked = date.fromisoformat(f"{request.args.get('month', '')}-01")
    except ValueError:
        asked = today
    return (asked if 2000 <= asked.year <= 2100 else today).replace(day=1)


def _cell(day: date, first: date, told: dict[date, Any]) -> tuple[date, list[str]] | None:
    """A day and what is reserved on it; None for those of other months."""
    if day.month != first.month:
        return None
    one, parts = told.get(day), []
    if one is not None and one.machines:
        parts.append(_("云主机 %(n)s 台", n=one.machines))
        parts.append(amounts(Amount({VCPU: one.vcpu, MEMORY: one.memory})))
    if one is not None and one.asked:
        parts.append(_("待批 %(n)s", n=one.asked))
    return day, parts
