"""Work orders: what companies must do by when; their staff does it, departments accept it, the steward sees all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, g, redirect, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import DecimalField, HiddenField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import frame, links
from console.access import BUSINESS, allow
from console.book import reading, transaction
from console.charts import shape, stated, timeline
from console.forms import answer, done, generation
from console.lists import Column, Filter, PagedList, Rows, figures_of, listing
from console.pages.orders import dialogues
from console.programs import Takes, listed, takes
from console.words import _, amount, amounts, lazy, waits, when
from metering import scale_outs
from metering.cases import enforcement
from providers import comments, orders
from providers import orders as delivery
from providers.assessment import ratings
from providers.base import HANDED_OVER, Verb
from providers.connection import FAULTS
from providers.orders import BUCKETS, OPEN, UNDER_WAY, VERB_LABELS, OrderState, WorkOrder, enactment
from quota.actors import Actor, Role
from quota.calendar import WorkingDays, working_days
from quota.db import Tx
from quota.directory import CloudProvider, Department
from quota.errors import N_, NotFound, Refused
from quota.requests import Request, kind_of
from quota.units import CLASSES, NOTHING, Arch, ClassCode, Commodity, base_units

blueprint = Blueprint("orders", __name__, url_prefix="/orders")
frame.page("providers", "orders.index", N_("工单"), order=10)

WINDOW = timedelta(days=90)
WAITING = "open"
LATE = "late"
STATES = {
    WAITING: N_("未完成"), LATE: N_("已逾期"),
    **{one.value: label for one, label in orders.STATE_LABELS.items()},
}  # fmt: skip
ACTIONS = {
    "order.place": N_("派单"), "order.send": N_("发往云平台"), "order.hand_over": N_("转人工交付"),
    "order.under_way": N_("云平台受理"), "order.retry": N_("重试"), "order.start": N_("开始交付"),
    "order.deliver": N_("交付"), "order.fail": N_("报告失败"), "order.accept": N_("验收"),
    "order.deem_accepted": N_("逾期视同验收"), "order.refuse": N_("验收退回"), "order.cancel": N_("取消"),
    "order.not_taken": N_("云平台未受理"), "order.answer_late": N_("取消或接办后云平台仍予执行"), "order.take_over": N_("改由人工交付"),
    "order.busy": N_("云平台忙,稍后再试"), "order.reschedule": N_("期限重算"), "remark.comment": N_("发表意见"), "remark.dispute": N_("提出争议"),
    "remark.upheld": N_("裁定争议成立"), "remark.dismissed": N_("裁定争议不成立"), "rating.give": N_("评价"),
}  # fmt: skip
FIELDS = {
    "state": N_("状态"), "amounts": N_("规格"), "due_at": N_("期限"), "attempts": N_("尝试次数"),
    "error": N_("原因"), "freed": N_("释放"), "discrepancy": N_("差异"), "stars": N_("评分"),
}  # fmt: skip


def code(order: WorkOrder) -> str:
    """The state's code among all states."""
    return f"order_{order.state}"


def turn(order: WorkOrder) -> str:
    """Whose turn it is."""
    if order.state in UNDER_WAY:
        return order.provider.name
    if order.state == OrderState.DELIVERED:
        return order.department.name if order.department else _("运营监督方")
    return _("运营监督方") if order.state == OrderState.FAILED else ""


def _state(query: Rows, value: str) -> Rows:
    if value == WAITING:
        return query.where(WorkOrder.state.in_([one.value for one in OPEN]))
    if value == LATE:
        return query.where(orders.late(reading().now))
    return query.where(WorkOrder.state == value)


def _bucket(query: Rows, value: str) -> Rows:
    """Orders delivered within the window of the page's figures that took as long."""
    tx = reading()
    start, end = _window(tx)
    number = [str(one) for one in BUCKETS].index(value)
    return query.where(
        WorkOrder.delivered_at >= start,
        WorkOrder.delivered_at < end,
        orders.bucket_number(_calendar(), start, end) == number,
    )


def _window(tx: Tx) -> tuple[datetime, datetime]:
    """The past weeks, this instant included."""
    return tx.now - WINDOW, tx.now + timedelta(seconds=1)


def _took(order: WorkOrder) -> int | None:
    if order.delivered_at is None:
        return None
    return max(1, _calendar().between(order.placed_at, order.delivered_at))


def _calendar() -> WorkingDays:
    if "order_days" not in g:
        g.order_days = working_days(reading())
    kept: WorkingDays = g.order_days
    return kept


def _waits(order: WorkOrder) -> str | None:
    return waits.of_order(order.state, order.by_hand, order.fault)


COLUMNS = [
    Column("number", N_("工单号"), lambda o: o.number, sort=WorkOrder.id,
           href=lambda o: url_for("orders.show", order_id=o.id), title=True),
    Column("state", N_("状态"), code, sort=WorkOrder.state, state=True),
    Column("verb", N_("事项"), lambda o: _(VERB_LABELS[Verb(o.verb)]), code=lambda o: o.verb, sort=WorkOrder.verb),
    Column("name", N_("名称"), lambda o: o.name or (o.resource.external_id if o.resource else None), sort=WorkOrder.name),
    Column("amounts", N_("规格"), lambda o: amounts(o.approved()) if o.amounts else None),
    *figures_of(lambda o: o.approved()),
    Column("department", N_("使用单位"), lambda o: o.department.name if o.department else None, href=links.department(lambda o: o.department_id)),
    Column("pool", N_("资源池"), lambda o: o.pool.name, href=links.pool(lambda o: o.pool_id)),
    Column("provider", N_("云服务商"), lambda o: o.provider.name, href=links.provider(lambda o: o.provider_id), minor=True),
    Column("due", N_("期限"), lambda o: o.due_at, sort=WorkOrder.due_at),
    Column("took", N_("交付用时"), _took, unit=N_("工作日"), number=True),
    Column("reason", N_("等候原因"), lambda o: _(waits.WAITS[why]) if (why := _waits(o)) else None, code=_waits, minor=True),
    Column("drift", N_("与审批不符"), lambda o: bool(o.discrepancy) if o.accepted_at else None, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), _state, options=STATES, default=WAITING),
    Filter("verb", N_("事项"), lambda q, v: q.where(WorkOrder.verb == v),
           options={one.value: label for one, label in VERB_LABELS.items()}),
    Filter("bucket", N_("交付用时(工作日)"), _bucket, options={str(one): str(one) for one in BUCKETS}),
    Filter("q", N_("工单号、名称或单位"), lambda q, v: q.where(
        frame.matching(v, WorkOrder.number, WorkOrder.name)
        | WorkOrder.department.has(frame.matching(v, Department.name)))),
]  # fmt: skip


def rows(tx: Tx) -> Rows:
    """Orders that the visitor may see, with what their rows show."""
    return (
        select(WorkOrder)
        .where(orders.visible(tx, tx.actor))
        .options(
            joinedload(WorkOrder.pool), joinedload(WorkOrder.provider), joinedload(WorkOrder.department),
            joinedload(WorkOrder.resource),
        )
    )  # fmt: skip


def company_filter(tx: Tx, column: Any) -> Filter:
    """A choice of company, for those who see more than one."""
    options = {str(one): name for one, name in tx.execute(select(CloudProvider.id, CloudProvider.name))}
    return Filter("provider", N_("云服务商"), lambda q, v: q.where(column == int(v)), options=options)


def delivered_in(tx: Tx, provider_id: int | None) -> dict[orders.Bucket, int]:
    """How long deliveries of the past weeks took."""
    return orders.delivery_times(tx, *_window(tx), provider_id=provider_id)


def _found(tx: Tx) -> PagedList:
    own = tx.actor.role is Role.PROVIDER
    filters = [*FILTERS, *links.watched(tx, WorkOrder), *([] if own else [company_filter(tx, WorkOrder.provider_id)])]
    columns = [one for one in COLUMNS if not (own and one.key == "provider")]
    return listing(tx, rows(tx), columns, key=WorkOrder.id, filters=filters, sort="due")


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS, args=("provider", links.WATCHED))
def index() -> str | Response:
    tx = reading()
    found = _found(tx)
    exported = found.exported("orders")
    if exported:
        return exported
    times = None
    if tx.actor.role is not Role.TENANT:
        times = delivered_in(tx, tx.actor.provider_id)
    return render_template("orders/index.html", orders=found, times=times, days=WINDOW.days)


@blueprint.get("/<int:order_id>")
@allow(*BUSINESS)
def show(order_id: int) -> str:
    tx = reading()
    order = orders.order(tx, order_id)
    drift = enactment.compare(tx, order) if order.state in (OrderState.DELIVERED, OrderState.ACCEPTED) else {}
    known = {**FAULTS, **orders.HELD}.get(order.fault, "")
    fault, why = _(known) if known else "", _waits(order)
    reason = _(waits.WAITS[why]) if why else None
    return render_template(
        "orders/show.html",
        one=order,
        fault=fault,
        plans=[_planned(order, plan) for plan in orders.plans.of_order(tx, order.id)],
        code=code(order),
        reason=None if reason == fault else reason,  # said once
        turn=turn(order),
        verb=VERB_LABELS[Verb(order.verb)],
        restarts=_restarts(tx, order),
        drift=drift,
        sets=_sets(order),
        asked=_asked(tx, order),
        behind=links.address(order.subject),
        acts=_open_acts(tx, order),
        **dialogues.thread(tx, order.basis),
        rating=ratings.of(tx, order.id),
        history=timeline(
            tx, order.basis, ACTIONS, FIELDS, {"state": stated("order_"), "amounts": shape, "freed": shape}
        ),
    )


def _restarts(tx: Tx, order: WorkOrder) -> str:
    """That what grows for a peak is shut down for it, and when; empty where it is not, or not any more."""
    waits = enforcement.reserved(tx, order) if order.state == OrderState.PENDING else None
    if waits is None:
        return ""
    if waits.late:
        return _("该资源池不能在线调整规格，须关机；高峰之前没有变更窗口，因此不等窗口，按预定的时间执行。")
    return _("该资源池不能在线调整规格，须关机，在变更窗口 %(at)s 执行。", at=when(waits.opens))


def _sets(order: WorkOrder) -> str:
    """What an order about a quota sets it to, class by class."""
    limits = order.payload.get("limits", {})
    told = (
        f"{_(CLASSES[ClassCode(kind)].label)} {amount(most, Commodity(ClassCode(kind), Arch.ANY))}"
        for kind, most in limits.items()
    )
    return _("、").join(told)


def _asked(tx: Tx, order: WorkOrder) -> list[tuple[str, str]]:
    """What the request behind an order says of the machine beside its amounts."""
    part_of = order.payload.get(orders.PART_OF)
    told = [(_("加配于"), str(part_of))] if part_of else []
    fields = order.payload.get(orders.ASKED)
    if not fields or order.request_id is None:
        return told
    kind = kind_of(tx.get_one(Request, order.request_id))
    return [*told, *((_(label), _(said)) for label, said in kind.told(fields))]


@dataclass(frozen=True, slots=True)
class ShownCall:
    """One call of a plan as the page shows it. ``frees``: what of the resource's quota comes free with it, or came."""

    row: orders.plans.OrderCall
    text: str
    frees: str
    state: str


def _planned(order: WorkOrder, plan: orders.plans.OrderPlan) -> list[ShownCall]:
    texts = {orders.plans.BY_HAND: N_("由云服务商人员办理"), HANDED_OVER: N_("交给云平台接口办理")}
    return [
        ShownCall(
            one,
            _(texts[one.name]) if one.name in texts else one.text,
            "" if order.delivered_at else amounts(enactment.would_free(order, [ClassCode(kind) for kind in one.frees])),
            f"call_{one.state}",
        )
        for one in plan.calls
    ]


# ----------------------------------------------------------------------------------------------------------------- acts


class ActForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    text = TextAreaField(lazy("说明"), [Optional(), Length(max=4000)])


class OrderReasonForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    text = TextAreaField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=4000)])


class OrderAct:
    """Something that may be done to an order: by whom, in which states, with what consequence."""

    def __init__(
        self,
        name: str,
        label: str,
        consequence: str,
        done: str,
        roles: tuple[Role, ...],
        states: frozenset[OrderState],
        do: Callable[[Tx, WorkOrder, int, FlaskForm], object],
        form: type[FlaskForm] = OrderReasonForm,
        tone: str = "primary",
    ) -> None:
        self.name, self.label, self.consequence, self.done = name, label, consequence, done
        self.roles, self.states, self.do, self.form, self.tone = roles, states, do, form, tone

    def open_to(self, who: Actor, order: WorkOrder) -> bool:
        if who.role not in self.roles or order.state not in self.states:
            return False
        if who.role is Role.SUPERVISOR and self.name in ("accept", "refuse"):
            return order.request_id is None
        if self.name == "cancel":
            return order.may_be_called_back()
        if self.name == "take_over":
            return order.with_interface()
        return not (order.with_interface() and self.name in ("start", "deliver", "fail"))


def _deliver(tx: Tx, order: WorkOrder, generation: int, form: FlaskForm) -> object:
    """What was left empty is as it was approved."""
    typed = {
        kind: base_units(kind, field.data, field=f"has_{kind}")
        for kind in order.approved()
        if (field := getattr(form, f"has_{kind}", None)) is not None and field.data is not None
    }
    external_id = form.external_id.data if hasattr(form, "external_id") else None
    return delivery.mark_delivered(
        tx, order.id, generation, external_id=external_id, has=order.approved() | typed if typed else NOTHING,
        note=form.text.data or "",
    )  # fmt: skip


def _dispute(tx: Tx, order: WorkOrder, _generation: int, form: FlaskForm) -> object:
    return comments.dispute(tx, order.basis, order.provider_id, form.text.data)


_TO_DO = frozenset({OrderState.PENDING, OrderState.SENT, OrderState.DELIVERING})
_ALL = frozenset(OrderState)
ACTS: dict[str, OrderAct] = {
    one.name: one
    for one in (
        OrderAct("start", N_("开始交付"), N_("工单转为“交付中”，由贵公司人员办理，云平台接口不再自动执行。"), N_("已开始交付"),
            (Role.PROVIDER,), frozenset({OrderState.PENDING, OrderState.SENT, OrderState.FAILED}),
            lambda tx, o, g, _f: delivery.start(tx, o.id, g, scale_outs.objection), ActForm),
        OrderAct("deliver", N_("标记已交付"), N_("交付时间记为现在，不能倒填；资源进入台账，等待使用单位验收。"), N_("已标记交付，等待验收"),
            (Role.PROVIDER,), _TO_DO | {OrderState.FAILED}, _deliver, ActForm),
        OrderAct("take_over", N_("改由人工交付"), N_("工单转为“交付中”，由贵公司人员办理。请先确认云平台接口没有执行；接口此后的答复只留记录，不作数。"),
            N_("已改由人工交付"), (Role.PROVIDER,), _TO_DO,
            lambda tx, o, g, f: delivery.take_over(tx, o.id, g, f.text.data)),
        OrderAct("fail", N_("报告失败"), N_("工单转为“失败”，由运营监督方决定重试或取消；期限照常计算。"), N_("已报告失败"),
            (Role.PROVIDER,), _TO_DO, lambda tx, o, g, f: delivery.report_failed(tx, o.id, g, f.text.data), tone="danger"),
        OrderAct("dispute", N_("提出争议"), N_("争议由运营监督方裁定；成立的，此工单不计入交付及时率。"), N_("争议已提出，等待裁定"),
            (Role.PROVIDER,), _ALL, _dispute),
        OrderAct("accept", N_("验收通过"), N_("确认交付与申请相符；验收后可以评价。与审批不符之处照样记录。"), N_("已验收"),
            (Role.TENANT, Role.SUPERVISOR), frozenset({OrderState.DELIVERED}),
            lambda tx, o, g, _f: delivery.accept(tx, o.id, g), ActForm),
        OrderAct("refuse", N_("验收退回"), N_("工单退回云服务商重新交付，期限从现在重新计算。"), N_("已退回"),
            (Role.TENANT, Role.SUPERVISOR), frozenset({OrderState.DELIVERED}),
            lambda tx, o, g, f: delivery.refuse(tx, o.id, g, f.text.data), tone="danger"),
        OrderAct("retry", N_("重试"), N_("工单重新排队，由云平台接口再次执行；期限不变。"), N_("已重新排队"),
            (Role.SUPERVISOR,), frozenset({OrderState.FAILED}), lambda tx, o, g, _f: delivery.retry(tx, o.id, g), ActForm),
        OrderAct("cancel", N_("取消工单"), N_("工单不再执行，为它占用的配额退回使用单位。不能撤销。"), N_("已取消"),
            (Role.SUPERVISOR,), frozenset({OrderState.PENDING, OrderState.FAILED}),
            lambda tx, o, g, f: delivery.cancel(tx, o.id, g, f.text.data), tone="danger"),
    )
}  # fmt: skip


def _open_acts(tx: Tx, order: WorkOrder) -> list[OrderAct]:
    busy = comments.open_dispute(tx, order.basis) is not None
    return [act for act in ACTS.values() if act.open_to(tx.actor, order) and not (act.name == "dispute" and busy)]


def _form(act: OrderAct, order: WorkOrder) -> FlaskForm:
    """The act's form; a delivery of a new resource also asks for its id and for what it really has."""
    if act.name != "deliver" or order.verb not in (Verb.CREATE, Verb.RESIZE):
        return act.form(generation=order.generation)
    more: dict[str, Any] = {}
    if order.verb == Verb.CREATE:
        more["external_id"] = StringField(
            lazy("云侧编号"), [InputRequired(lazy("请填写交付的资源编号")), Length(max=128)],
            description=lazy("资源在云平台上的编号，采集时按它对照"),
        )  # fmt: skip
    for kind in order.approved():
        more[f"has_{kind}"] = DecimalField(
            f"{_('实际')} {_(CLASSES[kind].label)}",
            [Optional(), NumberRange(min=0, max=10**9, message=lazy("请填写不小于 0 的数"))],
            description=_("审批为 %(approved)s；相同可不填", approved=amounts({kind: order.approved()[kind]})),
        )
    made: FlaskForm = type("DeliverForm", (ActForm,), more)(generation=order.generation)
    return made


def _delivered() -> type[FlaskForm]:
    """All that a delivery may say, whatever is delivered."""
    more: dict[str, Any] = {
        "external_id": StringField(lazy(N_("云侧编号")), [Optional(), Length(max=128)]),
        **{f"has_{kind}": DecimalField(lazy(CLASSES[kind].label), [Optional()]) for kind in CLASSES},
    }
    return type("DeliverForm", (ActForm,), more)


def _operations() -> dict[str, Takes]:
    return {one.name: Takes(_delivered if one.name == "deliver" else one.form) for one in ACTS.values()}


@blueprint.route("/<int:order_id>/<name>", methods=["GET", "POST"])
@allow(Role.PROVIDER, Role.TENANT, Role.SUPERVISOR)
@takes(each=_operations, of="name")
def act(order_id: int, name: str) -> str | Response | tuple[str, int]:
    """Do one of ACTS, its consequence shown first."""
    tx = reading()
    order = orders.order(tx, order_id)
    doing = ACTS.get(name)
    if doing is None or tx.actor.role not in doing.roles:
        raise NotFound("page.none", N_("没有这个页面"))
    form = _form(doing, order)

    def carry_out() -> Response:
        with transaction() as write:
            doing.do(write, orders.order(write, order_id), generation(form), form)
        return done(_(doing.done), "orders.show", order_id=order_id)

    kinds = [(kind, CLASSES[kind].shown) for kind in order.approved() if hasattr(form, f"has_{kind}")]
    return answer(
        form,
        carry_out,
        lambda: render_template("orders/act.html", one=order, act=doing, form=form, kinds=kinds),
        Refused,
    )


@blueprint.post("/<int:order_id>/remark")
@allow(Role.PROVIDER, Role.TENANT, Role.SUPERVISOR, Role.AUTHORITY)
@takes(None, *dialogues.REMARK)
def remark(order_id: int) -> Response:
    order = orders.order(reading(), order_id)
    dialogues.say(order.basis, order.provider_id)
    return redirect(url_for("orders.show", order_id=order_id))


@blueprint.post("/<int:order_id>/rule")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(None, *dialogues.RULING)
def rule(order_id: int) -> Response:
    dialogues.rule(orders.order(reading(), order_id).basis)
    return redirect(url_for("orders.show", order_id=order_id))


# --------------------------------------------------------------------------------------------------------- home, search


@frame.home_block(Role.PROVIDER, order=10)
def _mine(tx: Tx, _actor: Actor) -> str | None:
    """The company's orders by deadline, and how many are late."""
    open_ = [one.value for one in UNDER_WAY]
    query = rows(tx).where(WorkOrder.state.in_(open_))
    found, count = frame.shortened(tx, query.order_by(WorkOrder.due_at, WorkOrder.id), 10)
    late = tx.scalar(select(func.count()).select_from(query.where(WorkOrder.due_at < tx.now).subquery())) or 0
    return render_template("orders/_home.html", rows=found, count=count, late=late, code=code, verbs=VERB_LABELS)


@frame.home_block(Role.PROVIDER, Role.SUPERVISOR, order=40)
def _disputes(tx: Tx, actor: Actor) -> str | None:
    """Disputes that wait for a ruling, and orders that failed."""
    whose = comments.Remark.provider_id == actor.provider_id if actor.role is Role.PROVIDER else ~comments.stewards()
    failed = tx.scalars(rows(tx).where(WorkOrder.state == OrderState.FAILED.value).order_by(WorkOrder.due_at).limit(10))
    failures, waiting = failed.all(), _contested(tx, whose)
    if not waiting and not failures and actor.role is Role.SUPERVISOR:
        return None
    return render_template("orders/_disputes.html", waiting=waiting, failures=failures, code=code, verbs=VERB_LABELS)


@frame.home_block(Role.AUTHORITY, order=40)
def _stewards_disputes(tx: Tx, _actor: Actor) -> str | None:
    """What the steward itself disputes, on which the authority alone rules; nothing where there is none."""
    waiting = _contested(tx, comments.stewards())
    return render_template("orders/_disputes.html", waiting=waiting, failures=[]) if waiting else None


def _contested(tx: Tx, whose: ColumnElement[bool]) -> list[tuple[comments.Remark, str | None]]:
    """Disputes that wait for a ruling, each with its page."""
    query = comments.open_disputes().where(whose).order_by(comments.Remark.id).limit(10)
    return [(one, links.address(one.subject)) for one in tx.scalars(query)]
