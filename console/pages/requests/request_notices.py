"""What this person is told about requests: limits that end, returns, decisions, deliveries, urgings."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response

from console import frame, links
from console.access import allow, may
from console.book import actor, reading, transaction
from console.lists import Column, Filter, Rows, listing
from console.programs import Given, listed, takes
from console.security import row
from console.words import _, plain
from quota.actors import Actor, Role
from quota.db import Tx
from quota.errors import N_
from quota.requests import NOTICE_LABELS, OPEN, NoticeKind, NoticeReading, Request, RequestNotice, notices

blueprint = Blueprint("request_notices", __name__, url_prefix="/requests/notices")
frame.page("requests", "request_notices.index", N_("申请通知"), order=30, count=notices.unread)

TOLD = (Role.TENANT, Role.SUPERVISOR, Role.AUTHORITY, Role.PROVIDER)
RECENT = timedelta(days=7)
SHOWN = 5
SPANS = {"open": N_("在办申请"), "week": N_("近 7 天")}
KINDS = {kind.value: label for kind, label in NOTICE_LABELS.items()}


def address(notice: RequestNotice) -> str | None:
    """The page of the request that it is about, for those who may open it."""
    return url_for("requests.show", request_id=notice.request_id) if may("requests.show") else None


def _span(query: Rows, value: str) -> Rows:
    if value == "open":
        return query.where(Request.state.in_(OPEN))
    return query.where(RequestNotice.at >= reading().now - RECENT)


def _read_state(query: Rows, value: str) -> Rows:
    read = notices.was_read(actor())
    return query.where(read if value == "read" else ~read)


COLUMNS = [
    Column("number", N_("申请"), lambda n: n.request.number, sort=Request.number, href=address, title=True),
    Column(
        "kind",
        N_("通知"),
        lambda n: _(NOTICE_LABELS[NoticeKind(n.kind)]),
        code=lambda n: n.kind,
        sort=RequestNotice.kind,
    ),
    Column(
        "department",
        N_("使用单位"),
        lambda n: n.request.department.name,
        href=links.department(lambda n: n.request.department_id),
    ),
    Column("at", N_("时间"), lambda n: n.at, sort=RequestNotice.at),
    Column("due_at", N_("期限"), lambda n: n.due_at, sort=RequestNotice.due_at),
    Column("state", N_("申请状态"), lambda n: n.request.state, state=True),
    Column("text", N_("说明"), lambda n: plain(n.text) or None, minor=True),
    Column("read", N_("阅读"), lambda n: _("已读") if n.id in _already() else _("未读")),
]
FILTERS = [
    Filter("number", N_("申请编号"), lambda q, v: q.where(frame.matching(v, Request.number))),
    Filter("kind", N_("通知"), lambda q, v: q.where(RequestNotice.kind == v), options=KINDS),
    Filter("span", N_("范围"), _span, options=SPANS),
    Filter("read", N_("阅读"), _read_state, options={"unread": N_("未读"), "read": N_("已读")}),
]


@blueprint.get("/")
@allow(*TOLD)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    found = listing(tx, _to(tx, actor()), COLUMNS, key=RequestNotice.id, filters=FILTERS, sort="-at")
    return found.exported("request-notices") or render_template(
        "request_notices/index.html",
        notices=found,
        already=_already(),
        unread=notices.unread(tx, actor()),
        newest=tx.scalar(select(func.max(RequestNotice.id)).where(notices.addressed(tx, actor()))) or 0,
    )


@blueprint.post("/<int:notice_id>/read")
@allow(*TOLD)
@takes()
def read(notice_id: int) -> Response:
    """Mark one as read, and stay."""
    with transaction() as tx:
        notices.read(tx, notice_id)
    return redirect(frame.back())


@blueprint.post("/read")
@allow(*TOLD)
@takes(None, Given("upto", int, N_("到此编号为止"), required=True))
def read_all() -> Response:
    """Mark as read all that the page knew of; what came meanwhile stays unread."""
    with transaction() as tx:
        count = notices.read_all(tx, request.form.get("upto", 0, row))
    flash(_("已标为已读:%(count)s条", count=count), "success")
    return redirect(url_for("request_notices.index"))


def _already() -> set[int]:
    """The notices that the visitor has read."""
    if "read_notices" not in g:
        mine = select(NoticeReading.notice_id).where(NoticeReading.login == actor().login)
        g.read_notices = set(reading().scalars(mine))
    return cast("set[int]", g.read_notices)


def _to(tx: Tx, who: Actor) -> Rows:
    return (
        select(RequestNotice)
        .join(Request, Request.id == RequestNotice.request_id)
        .where(notices.addressed(tx, who))
        .options(joinedload(RequestNotice.request).joinedload(Request.department))
    )


@frame.home_block(*TOLD, order=60, side=True)
def _latest(tx: Tx, who: Actor) -> str | None:
    """The latest notices of the past week."""
    query = _to(tx, who).where(RequestNotice.at >= tx.now - RECENT)
    rows = tx.scalars(query.order_by(RequestNotice.at.desc(), RequestNotice.id.desc()).limit(SHOWN)).all()
    if not rows:
        return None
    return render_template(
        "request_notices/_home.html", rows=rows, labels=KINDS, address=address, already=_already(),
        unread=notices.unread(tx, who),
    )  # fmt: skip
