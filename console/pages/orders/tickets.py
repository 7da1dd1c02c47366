"""运维请求: what departments ask for beyond delivery; filed, answered, asked back, handed on, solved, confirmed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, RadioField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import choices, frame, links
from console.access import BUSINESS, STEWARDS, allow
from console.book import reading, transaction
from console.choices import ChoiceField
from console.forms import act_on, answer, done, generation, refused_here
from console.lists import Column, Filter, Rows, listing
from console.pages.orders.orders import company_filter
from console.programs import Given, listed, takes
from console.security import numbered
from console.words import _, lazy, who
from providers import tickets
from providers.tickets import TICKET_KINDS, Ticket, TicketAct, TicketKind, TicketState, handling
from quota import requests
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Pool
from quota.errors import N_, Refused
from quota.inventory import Resource
from quota.requests import Request

blueprint = Blueprint("tickets", __name__, url_prefix="/tickets")
frame.page("providers", "tickets.index", N_("运维请求"), order=15)

SHOWN = 8
"""How many a block of the home page shows."""
LEVELS = {"1": N_("一级"), "2": N_("二级"), "3": N_("三级"), "4": N_("四级")}
HANDLERS = (Role.PROVIDER, Role.SUPERVISOR)
ACTS = {
    TicketAct.FILED: N_("提出"), TicketAct.ANSWERED: N_("响应"), TicketAct.SAID: N_("留言"), TicketAct.ASKED: N_("请单位补充说明"),
    TicketAct.TOLD: N_("补充说明"), TicketAct.HANDED: N_("转办"), TicketAct.LEVELLED: N_("核定级别"), TicketAct.SOLVED: N_("报已解决"),
    TicketAct.REOPENED: N_("未解决，退回继续处理"), TicketAct.CONFIRMED: N_("确认已解决"), TicketAct.CLOSED: N_("监督方办结"),
    TicketAct.WITHDRAWN: N_("撤回"),
}  # fmt: skip
STATES = {
    "open": N_("在办"), "overdue": N_("逾期"),
    TicketState.FILED.value: N_("待响应"), TicketState.WORKING.value: N_("处理中"), TicketState.ASKED.value: N_("待补充说明"),
    TicketState.SOLVED.value: N_("待确认解决"), TicketState.CONFIRMED.value: N_("已解决"), TicketState.CLOSED.value: N_("已由监督方办结"),
    TicketState.WITHDRAWN.value: N_("已撤回"),
}  # fmt: skip


def code(ticket: Ticket) -> str:
    """The state's code among all states."""
    return f"ticket_{ticket.state}"


def handler(ticket: Ticket) -> str:
    """Who handles it."""
    return ticket.provider.name if ticket.provider is not None else _("运营监督方")


def turn(ticket: Ticket) -> str | None:
    """Whose turn it is; None once it is over."""
    if ticket.state in tickets.DEPARTMENTS_TURN:
        return ticket.department.name
    return handler(ticket) if ticket.open else None


def _state(query: Rows, value: str) -> Rows:
    if value == "overdue":
        return query.where(tickets.late(reading().now))
    if value == "open":
        return query.where(Ticket.state.in_(tickets.OPEN_TICKETS))
    return query.where(Ticket.state == value)


COLUMNS = [
    Column("number", N_("编号"), lambda t: t.number, sort=Ticket.id, title=True,
           href=lambda t: url_for("tickets.show", ticket_id=t.id)),
    Column("state", N_("状态"), code, state=True),
    Column("level", N_("级别"), lambda t: _(LEVELS[str(t.level)]), code=lambda t: t.level),
    Column("kind", N_("事项"), lambda t: _(TICKET_KINDS[TicketKind(t.kind)]), code=lambda t: t.kind),
    Column("title", N_("标题"), lambda t: t.title),
    Column("department", N_("使用单位"), lambda t: t.department.name, href=links.department(lambda t: t.department_id)),
    Column("system", N_("信息系统"), lambda t: t.system.name if t.system else None, href=links.system(lambda t: t.system_id), minor=True),
    Column("pool", N_("资源池"), lambda t: t.pool.name if t.pool else None, href=links.pool(lambda t: t.pool_id), minor=True),
    Column("handler", N_("承办方"), handler),
    Column("turn", N_("待办方"), turn),
    Column("due", N_("期限"), lambda t: t.due_at, sort=Ticket.due_at),
    Column("overdue", N_("逾期"), lambda t: _("是") if t.overdue(reading().now) else None, code=lambda t: t.overdue(reading().now)),
    Column("filed", N_("提出于"), lambda t: t.filed_at, sort=Ticket.filed_at),
    Column("by", N_("提出人"), lambda t: t.filed_by, text=who, minor=True),
    Column("closed", N_("办结于"), lambda t: t.closed_at, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), _state, options=STATES),
    Filter("kind", N_("事项"), lambda q, v: q.where(Ticket.kind == v), options={one.value: label for one, label in TICKET_KINDS.items()}),
    Filter("level", N_("级别"), lambda q, v: q.where(Ticket.level == int(v)), options=LEVELS),
    Filter("q", N_("标题"), lambda q, v: q.where(frame.matching(v, Ticket.title))),
]  # fmt: skip


def rows(tx: Tx) -> Rows:
    parts = (Ticket.department, Ticket.system, Ticket.pool, Ticket.provider)
    return select(Ticket).where(tickets.visible(tx, tx.actor)).options(*map(joinedload, parts))


class TicketForm(FlaskForm):  # type: ignore[misc]
    kind = RadioField(lazy("事项"), choices=[], validators=[InputRequired(lazy("请选择事项"))])
    system = ChoiceField(lazy("信息系统"))
    resource = ChoiceField(lazy("资源"))
    pool = SelectField(
        lazy("资源池"), coerce=int, default=0,
        description=lazy("按所选的资源或信息系统确定；系统的资源在几个资源池时须选择。咨询由运营监督方承办，可不选"),
    )  # fmt: skip
    level = SelectField(
        lazy("级别"), coerce=int, default=3, description=lazy("一级最急：业务全部中断。监督方可核定为另一级别")
    )
    title = StringField(lazy("标题"), [InputRequired(lazy("请填写标题")), Length(max=256)])
    description = TextAreaField(
        lazy("情况与要求"), [InputRequired(lazy("请写明情况与要求")), Length(max=handling.MOST)],
        description=lazy("故障写明现象和开始时间；端口写明源、目的、协议、端口、用途和期限；恢复写明对象和时间点。附件在提出后添加"),
    )  # fmt: skip

    def offer(self, tx: Tx) -> None:
        """What is the department's own, and every pool."""
        own = tx.actor.department_id or 0
        machines = select(Resource.id, Resource.external_id.label("code"), Resource.name.label("name"))
        machines = machines.where(Resource.department_id == own, Resource.gone_at.is_(None))
        self.kind.choices = [SelectChoice(one.value, _(label)) for one, label in TICKET_KINDS.items()]
        self.system.offer(tx, choices.systems(within=[own]), ("0", _("不涉及某个信息系统")))
        self.resource.offer(tx, machines, ("0", _("不涉及某项资源")))
        pools = tx.execute(select(Pool.id, Pool.name).where(Pool.active).order_by(Pool.name))
        self.pool.choices = [
            SelectChoice("0", _("按资源或信息系统确定")),
            *(SelectChoice(str(id_), name) for id_, name in pools),
        ]
        self.level.choices = [SelectChoice(level, _(label)) for level, label in LEVELS.items()]


class TicketStepForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    text = TextAreaField(lazy("内容"), [InputRequired(lazy("请写明内容")), Length(max=handling.MOST)])


class ConfirmForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    text = TextAreaField(lazy("意见"), [Optional(), Length(max=handling.MOST)])


class HandOverForm(TicketStepForm):
    to = SelectField(lazy("转给"), coerce=int, default=0)


class LevelForm(TicketStepForm):
    level = SelectField(lazy("级别"), coerce=int)


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS, args=("provider", links.WATCHED))
def index() -> str | Response:
    tx = reading()
    own = tx.actor.role is Role.PROVIDER
    filters = [*FILTERS, *links.watched(tx, Ticket), *([] if own else [company_filter(tx, Ticket.provider_id)])]
    if tx.actor.role in STEWARDS:
        whose = choices.departments(ended=True)
        filters = [
            *filters,
            Filter("department", N_("使用单位"), lambda q, v: q.where(Ticket.department_id == int(v)), among=whose),
        ]
    found = listing(tx, rows(tx), COLUMNS, key=Ticket.id, filters=filters, sort="-filed")
    return found.exported("tickets") or render_template("tickets/index.html", found=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(TicketForm, args=(Given("system", int),))
def file() -> str | Response | tuple[str, int]:
    """Ask for something; ``?system=3`` says of which system."""
    tx = reading()
    form = TicketForm(system=request.args.get("system", "0")[:9])
    form.offer(tx)

    def act() -> Response:
        with transaction() as write:
            found = handling.file(
                write, TicketKind(form.kind.data), form.level.data, form.title.data, form.description.data,
                system_id=form.system.data or None, resource_id=form.resource.data or None, pool_id=form.pool.data or None,
            )  # fmt: skip
        return done(_("已提出，可在下方添加附件"), "tickets.show", ticket_id=found.id)

    return answer(form, act, lambda: render_template("tickets/file.html", form=form), Refused)


@blueprint.get("/<int:ticket_id>")
@allow(*BUSINESS)
def show(ticket_id: int) -> str:
    tx = reading()
    one = tickets.ticket(tx, ticket_id)
    here = one.open and handling.party(tx, one)
    handles = here and (one.provider_id is None if tx.actor.role is Role.SUPERVISOR else tx.actor.role is Role.PROVIDER)
    return render_template(
        "tickets/show.html",
        one=one,
        code=code(one),
        kind=_(TICKET_KINDS[TicketKind(one.kind)]),
        level=_(LEVELS[str(one.level)]),
        handler=handler(one),
        turn=turn(one),
        late=one.overdue(tx.now),
        steps=[(step, _(ACTS[TicketAct(step.act)]), _more(step)) for step in tickets.steps(tx, one)],
        turns=tickets.turns(tx, one),
        speaks=here,
        asks=one.state in tickets.DEPARTMENTS_TURN and here and tx.actor.role is Role.TENANT,
        handles=handles and one.state in tickets.HANDLERS_TURN,
        left=tickets.left_to(tx.actor, one),
        **_asked_for(tx, one.request_id),
    )


def _asked_for(tx: Tx, request_id: int | None) -> dict[str, str | None]:
    """The number of the request that it came of, and its page where the visitor may see that: a company need not."""
    if request_id is None:
        return {"asked_for": None, "request_link": None}
    query = select(Request.number, requests.visible(tx)).where(Request.id == request_id)
    number, seen = tx.execute(query).first() or (None, False)
    return {"asked_for": number, "request_link": links.to("request", request_id) if seen else None}


def _more(step: tickets.TicketStep) -> str:
    """To whom it was handed, or what level was set."""
    if step.act == TicketAct.HANDED:
        return step.provider.name if step.provider is not None else _("运营监督方")
    return _(LEVELS[str(step.level)]) if step.level else ""


def _act(
    ticket_id: int, form: Any, title: str, told: str, note: str, verb: Callable[[Tx], Any]
) -> str | Response | tuple[str, int]:
    one = tickets.ticket(reading(), ticket_id)
    return act_on(
        form, one.generation, verb, lambda: render_template("tickets/act.html", form=form, one=one, title=title, note=note),
        told, "tickets.show", ticket_id=ticket_id,
    )  # fmt: skip


@blueprint.route("/<int:ticket_id>/answer", methods=["GET", "POST"])
@allow(*HANDLERS)
@takes(TicketStepForm)
def respond(ticket_id: int) -> str | Response | tuple[str, int]:
    form = TicketStepForm()
    return _act(
        ticket_id, form, _("响应"), _("已响应"), _("写明由谁处理、怎样处理。响应时限以此为准。"),
        lambda tx: handling.answer(tx, ticket_id, generation(form), form.text.data),
    )  # fmt: skip


@blueprint.route("/<int:ticket_id>/ask", methods=["GET", "POST"])
@allow(*HANDLERS)
@takes(TicketStepForm)
def ask(ticket_id: int) -> str | Response | tuple[str, int]:
    form = TicketStepForm()
    return _act(
        ticket_id, form, _("请单位补充说明"), _("已请单位补充说明"), _("写明还须知道什么。单位答复之前的时间不计入解决时限。"),
        lambda tx: handling.ask(tx, ticket_id, generation(form), form.text.data),
    )  # fmt: skip


@blueprint.route("/<int:ticket_id>/solve", methods=["GET", "POST"])
@allow(*HANDLERS)
@takes(TicketStepForm)
def solve(ticket_id: int) -> str | Response | tuple[str, int]:
    form = TicketStepForm()
    return _act(
        ticket_id, form, _("报已解决"), _("已报解决，等待单位确认"), _("写明做了什么、结果如何；记录等文件先作为附件添加。单位确认，或退回继续处理。"),
        lambda tx: handling.solve(tx, ticket_id, generation(form), form.text.data),
    )  # fmt: skip


@blueprint.route("/<int:ticket_id>/hand-over", methods=["GET", "POST"])
@allow(*HANDLERS)
@takes(HandOverForm)
def hand_over(ticket_id: int) -> str | Response | tuple[str, int]:
    tx = reading()
    form = HandOverForm()
    form.to.choices = [SelectChoice("0", _("运营监督方"))]
    if tx.actor.role is Role.SUPERVISOR:
        pools = tx.scalars(select(Pool).where(Pool.active).options(joinedload(Pool.provider)).order_by(Pool.name))
        form.to.choices += [
            SelectChoice(str(pool.id), _("%(name)s（%(more)s）", name=pool.provider.name, more=pool.name))
            for pool in pools
        ]
    return _act(
        ticket_id, form, _("转办"), _("已转办"), _("写明转办的理由和已做的处理。新的承办方从收到时起算时限；转回的接着原来的时限算。"),
        lambda tx: handling.hand_over(tx, ticket_id, generation(form), form.to.data or None, form.text.data),
    )  # fmt: skip


@blueprint.route("/<int:ticket_id>/level", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(LevelForm)
def set_level(ticket_id: int) -> str | Response | tuple[str, int]:
    form = LevelForm(level=tickets.ticket(reading(), ticket_id).level)
    form.level.choices = [SelectChoice(level, _(label)) for level, label in LEVELS.items()]
    return _act(
        ticket_id, form, _("核定级别"), _("级别已核定"), _("写明理由。时限按新的级别从承办方收到时起算。"),
        lambda tx: handling.set_level(tx, ticket_id, generation(form), form.level.data, form.text.data),
    )  # fmt: skip


@blueprint.route("/<int:ticket_id>/close", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(TicketStepForm)
def close(ticket_id: int) -> str | Response | tuple[str, int]:
    form = TicketStepForm()
    return _act(
        ticket_id, form, _("监督方办结"), _("已办结"), _("单位逾期没有确认的，核实后办结；写明怎样核实。"),
        lambda tx: handling.close(tx, ticket_id, generation(form), form.text.data),
    )  # fmt: skip


@blueprint.route("/<int:ticket_id>/tell", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(TicketStepForm)
def tell(ticket_id: int) -> str | Response | tuple[str, int]:
    form = TicketStepForm()
    return _act(
        ticket_id, form, _("补充说明"), _("已补充说明"), _("答复承办方要知道的；文件可作为附件添加。"),
        lambda tx: handling.tell(tx, ticket_id, generation(form), form.text.data),
    )  # fmt: skip


@blueprint.route("/<int:ticket_id>/confirm", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(ConfirmForm)
def confirm(ticket_id: int) -> str | Response | tuple[str, int]:
    form = ConfirmForm()
    return _act(
        ticket_id, form, _("确认已解决"), _("已确认解决"), _("确认后办结，不能再退回。"),
        lambda tx: handling.confirm(tx, ticket_id, generation(form), form.text.data or ""),
    )  # fmt: skip


@blueprint.route("/<int:ticket_id>/reopen", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(TicketStepForm)
def reopen(ticket_id: int) -> str | Response | tuple[str, int]:
    form = TicketStepForm()
    return _act(
        ticket_id, form, _("退回继续处理"), _("已退回"), _("写明哪里还没有解决。承办方的时限接着算，待单位确认的时间不计。"),
        lambda tx: handling.reopen(tx, ticket_id, generation(form), form.text.data),
    )  # fmt: skip


@blueprint.route("/<int:ticket_id>/withdraw", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(TicketStepForm)
def withdraw(ticket_id: int) -> str | Response | tuple[str, int]:
    form = TicketStepForm()
    return _act(
        ticket_id, form, _("撤回"), _("已撤回"), _("写明理由。撤回后不再办理，也不计入任何一方的考核。"),
        lambda tx: handling.withdraw(tx, ticket_id, generation(form), form.text.data),
    )  # fmt: skip


@blueprint.post("/<int:ticket_id>/say")
@allow(Role.TENANT, *HANDLERS)
@takes(None, Given("text", label=N_("留言"), required=True, longest=handling.MOST))
def say(ticket_id: int) -> Response:
    """A word on the way."""
    try:
        with transaction() as tx:
            handling.say(tx, ticket_id, request.form.get("text", ""))
    except Refused as refused:
        flash(refused_here(refused), "error")
    else:
        flash(_("已记录"), "success")
    return redirect(url_for("tickets.show", ticket_id=ticket_id))


@frame.home_block(Role.TENANT, Role.PROVIDER, Role.SUPERVISOR, order=44)
def _waiting(tx: Tx, who_: Actor) -> str | None:
    """What waits for the visitor; nothing where there is none."""
    found = tickets.waiting(tx, who_, SHOWN)
    return render_template("tickets/_home.html", found=found, code=code, turn=turn) if found else None


@frame.finder(*BUSINESS, order=44)
def _find(tx: Tx, _actor: Actor, text: str, limit: int) -> list[frame.Hit]:
    wanted = frame.matching(text, Ticket.title) | (Ticket.id == numbered(text, "YW-"))
    found = tx.scalars(rows(tx).where(wanted).order_by(Ticket.id.desc()).limit(limit))
    return [
        frame.Hit(N_("运维请求"), f"{one.number} {one.title}", url_for("tickets.show", ticket_id=one.id), one.department.name, code(one))
        for one in found
    ]  # fmt: skip
