"""系统下线: a whole system ended in one act: listed, proven, asked for, and what came of it."""

from __future__ import annotations

from uuid import uuid4

from flask import Blueprint, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, TextAreaField
from wtforms.validators import InputRequired, Length

from console import frame, links
from console.access import STEWARDS, allow, proven
from console.book import actor, reading, transaction
from console.forms import answer, done, sent_back
from console.lists import Column, Filter, Rows, listing
from console.programs import GENERATION, Given, listed, takes
from console.security import row, row_or
from console.words import _, lazy, who
from quota import attachments
from quota.actors import Role
from quota.db import Tx
from quota.directory import System, departments
from quota.errors import N_, Invalid, NotFound, Refused, WrongState
from quota.requests import STATE_LABELS, shutdowns

blueprint = Blueprint("shutdowns", __name__, url_prefix="/shutdowns")
frame.page("requests", "shutdowns.index", N_("系统下线"), order=35)

READERS = (*STEWARDS, Role.TENANT)
OPEN = "open"


def _state_is(query: Rows, value: str) -> Rows:
    return query.where(
        shutdowns.SystemShutdown.state.in_(shutdowns.UNDER_WAY)
        if value == OPEN
        else shutdowns.SystemShutdown.state == value
    )


COLUMNS = [
    Column("number", N_("编号"), lambda s: s.number, sort=shutdowns.SystemShutdown.id, title=True,
           href=lambda s: url_for("shutdowns.show", shutdown_id=s.id)),
    Column("system", N_("信息系统"), lambda s: s.system.name, href=links.system(lambda s: s.system_id)),
    Column("department", N_("使用单位"), lambda s: s.department.name, href=links.department(lambda s: s.department_id)),
    Column("state", N_("状态"), lambda s: f"shutdown_{s.state}", state=True),
    Column("begun_by", N_("发起人"), lambda s: s.begun_by, text=who, minor=True),
    Column("begun_at", N_("发起时间"), lambda s: s.begun_at, sort=shutdowns.SystemShutdown.begun_at),
]  # fmt: skip
FILTERS = [
    Filter(
        "state",
        N_("状态"),
        _state_is,
        options={OPEN: N_("在办"), **{one.value: label for one, label in shutdowns.SHUTDOWN_LABELS.items()}},
    )
]


class ShutdownForm(FlaskForm):  # type: ignore[misc]
    reason = TextAreaField(
        lazy(N_("下线理由")),
        [InputRequired(lazy(N_("请写明系统下线的理由"))), Length(max=shutdowns.LONGEST_REASON)],
        description=lazy(N_("写明系统为什么下线、业务去向")),
    )
    why_rest = TextAreaField(
        lazy(N_("保留其余资源的理由")),
        [Length(max=shutdowns.LONGEST_REASON)],
        description=lazy(N_("全部退订的不必填写")),
    )
    key = HiddenField()


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    query = select(shutdowns.SystemShutdown).where(shutdowns.visible(tx, actor()))
    query = query.options(joinedload(shutdowns.SystemShutdown.system), joinedload(shutdowns.SystemShutdown.department))
    found = listing(tx, query, COLUMNS, key=shutdowns.SystemShutdown.id, filters=FILTERS, sort="-begun_at")
    return found.exported("shutdowns") or render_template("shutdowns/index.html", shutdowns=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(
    ShutdownForm,
    Given("id", int, label=N_("一并退订的资源"), many=True),
    args=(Given("system", int, N_("信息系统"), required=True),),
)
def begin() -> str | Response | tuple[str, int]:
    """Choose what of a system goes; nothing is asked for yet."""
    if request.method == "GET" and "system" not in request.args:
        return done(_("请在要下线的信息系统的页面上申请"), "systems.index")
    tx = reading()
    system = _own(tx, request.args.get("system", 0, row))
    under_way = shutdowns.under_way(tx, system.id)
    if under_way is not None and request.method != "POST":
        return done(_("这个系统的下线正在办理"), "shutdowns.show", shutdown_id=under_way.id)
    has = shutdowns.runs_on(tx, system)
    form = ShutdownForm(data={"key": uuid4().hex})
    ticked = {number for text in request.form.getlist("id") if (number := row_or(text, 0))}

    def act() -> Response:
        with transaction() as writing:
            made = shutdowns.begin(
                writing, system.id, ticked, reason=form.reason.data, why_rest=form.why_rest.data or "",
                key=f"form:{(form.key.data or '')[:64]}",
            )  # fmt: skip
        return done(_("已列出，请提交数据移交证明后提交申请"), "shutdowns.show", shutdown_id=made.id)

    def page() -> str:
        chosen = ticked if request.method == "POST" else {one.id for one in has}
        return render_template("shutdowns/new.html", form=form, system=system, has=has, chosen=chosen)

    return answer(form, act, page, Invalid, WrongState)


@blueprint.get("/<int:shutdown_id>")
@allow(*READERS)
def show(shutdown_id: int) -> str:
    tx = reading()
    one = shutdowns.shutdown(tx, shutdown_id)
    open_ = one.state in shutdowns.UNDER_WAY
    return render_template(
        "shutdowns/show.html",
        one=one,
        state=f"shutdown_{one.state}",
        proofs=[(label, label in shutdowns.proven(tx, one)) for label in shutdowns.PROOFS],
        files=list(attachments.of(tx, one.subject).values()),
        own=open_ and actor().role is Role.TENANT,
        preparing=one.state == shutdowns.ShutdownState.PREPARING,
        address=links.address,
        request_states=STATE_LABELS,
    )


@blueprint.post("/<int:shutdown_id>/submit")
@allow(Role.TENANT)
@proven
@takes(None, GENERATION)
def submit(shutdown_id: int) -> Response:
    """Ask for all that goes."""
    try:
        with transaction() as tx:
            found = shutdowns.submit(tx, shutdown_id, generation=_generation())
            asked = sum(one.request_id is not None for one in found.items)
    except Refused as refused:
        return sent_back(refused, "shutdowns.show", shutdown_id=shutdown_id)
    return done(_("已提交 %(n)s 件申请", n=asked), "shutdowns.show", shutdown_id=shutdown_id)


@blueprint.post("/<int:shutdown_id>/finish")
@allow(Role.TENANT)
@proven
@takes(None, GENERATION)
def finish(shutdown_id: int) -> Response:
    """End the system, or note what stays."""
    try:
        with transaction() as tx:
            ended = shutdowns.finish(tx, shutdown_id, generation=_generation()).state == shutdowns.ShutdownState.ENDED
    except Refused as refused:
        return sent_back(refused, "shutdowns.show", shutdown_id=shutdown_id)
    said = _("系统已下线") if ended else _("已办结；系统还有资源，继续运行")
    return done(said, "shutdowns.show", shutdown_id=shutdown_id)


@blueprint.post("/<int:shutdown_id>/withdraw")
@allow(Role.TENANT)
@takes(None, GENERATION, Given("reason", label=N_("理由"), required=True, longest=500))
def withdraw(shutdown_id: int) -> Response:
    """Take it back with all that it asked for."""
    try:
        with transaction() as tx:
            reason = request.form.get("reason", "")[:500]
            shutdowns.withdraw(tx, shutdown_id, generation=_generation(), reason=reason)
    except Refused as refused:
        return sent_back(refused, "shutdowns.show", shutdown_id=shutdown_id)
    return done(_("已撤回"), "shutdowns.show", shutdown_id=shutdown_id)


def _generation() -> int:
    return row_or(request.form.get("generation"), 0)


def _own(tx: Tx, system_id: int) -> System:
    """The visitor's own system, or NotFound."""
    found = departments.system(tx, system_id)
    if found.department_id not in departments.subtree(tx, actor().department_id or 0):
        raise NotFound("system.none", N_("没有编号为 %(id)s 的信息系统"), id=system_id)
    return found
