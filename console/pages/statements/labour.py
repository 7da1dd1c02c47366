"""人工服务: what companies' people do for departments once: jobs as they were granted, done and confirmed, and what they cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import BooleanField, DecimalField, HiddenField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import frame, links
from console.access import BUSINESS, allow
from console.book import reading, settings, transaction
from console.forms import DateField, act_on, answer, done, generation
from console.lists import Column, Filter, Rows, listing
from console.programs import listed, takes
from console.words import _, events, lazy, who
from providers.labour import JOB_LABELS, UNDER_WAY, LabourJob, LabourRate, LabourState, jobs, rates
from quota import audit
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import CloudProvider
from quota.errors import N_, Refused

blueprint = Blueprint("labour", __name__, url_prefix="/labour")
frame.page("reports", "labour.index", N_("人工服务"), order=42)
frame.page("reports", "labour.prices", N_("人工服务单价"), order=43)

SHOWN = 8
"""How many a block of the home page shows."""
STATES = {"open": N_("在办"), **{one.value: label for one, label in JOB_LABELS.items()}}


def code(one: LabourJob) -> str:
    """The state's code among all states."""
    return f"labour_{one.state}"


def amount(quantity: Decimal | None, unit: str) -> str | None:
    """``12.5 人天``."""
    return f"{quantity.normalize():f} {unit}" if quantity is not None else None


def _state(query: Rows, value: str) -> Rows:
    return query.where(LabourJob.state.in_(UNDER_WAY) if value == "open" else LabourJob.state == value)


COLUMNS = [
    Column("number", N_("编号"), lambda j: j.number, sort=LabourJob.id, title=True,
           href=lambda j: url_for("labour.show", job_id=j.id)),
    Column("state", N_("状态"), code, state=True),
    Column("service", N_("服务项目"), lambda j: j.rate.name, code=lambda j: j.rate.code),
    Column("department", N_("使用单位"), lambda j: j.department.name, href=links.department(lambda j: j.department_id)),
    Column("system", N_("信息系统"), lambda j: j.system.name if j.system else None, href=links.system(lambda j: j.system_id), minor=True),
    Column("provider", N_("云服务商"), lambda j: j.provider.name, href=links.provider(lambda j: j.provider_id)),
    Column("quantity", N_("批准数量"), lambda j: j.quantity, number=True, text=lambda v: f"{v.normalize():f}"),
    Column("done", N_("完成数量"), lambda j: j.done, number=True, text=lambda v: f"{v.normalize():f}" if v is not None else "—"),
    Column("unit", N_("计量单位"), lambda j: j.rate.unit),
    Column("price", N_("单价"), lambda j: j.rate.price, unit=N_("元"), number=True, text=lambda v: f"{v:,.2f}"),
    Column("yuan", N_("金额"), lambda j: Decimal(j.fen).scaleb(-2) if j.fen is not None else None, unit=N_("元"), number=True,
           text=lambda v: f"{v:,.2f}" if v is not None else "—"),
    Column("ordered", N_("下单于"), lambda j: j.ordered_at, minor=True),
    Column("confirmed", N_("确认于"), lambda j: j.confirmed_at),
]  # fmt: skip
FILTERS = [Filter("state", N_("状态"), _state, options=STATES)]

RATE_COLUMNS = [
    Column("code", N_("代码"), lambda r: r.code, sort=LabourRate.code, title=True),
    Column("name", N_("名称"), lambda r: r.name),
    Column("unit", N_("计量单位"), lambda r: r.unit),
    Column("price", N_("单价"), lambda r: r.price, unit=N_("元"), number=True, text=lambda v: f"{v:,.2f}"),
    Column("provider", N_("云服务商"), lambda r: r.provider.name if r.provider else None, href=links.provider(lambda r: r.provider_id)),
    Column("from", N_("生效日期"), lambda r: r.effective_from, sort=LabourRate.effective_from),
    Column("offered", N_("提供"), lambda r: _("是") if r.offered else _("否"), code=lambda r: "yes" if r.offered else "no"),
    Column("reason", N_("依据或更正原因"), lambda r: r.reason or None, minor=True),
    Column("by", N_("录入人"), lambda r: r.entered_by, text=who, minor=True),
]  # fmt: skip


class LabourRateForm(FlaskForm):  # type: ignore[misc]
    code = StringField(lazy(N_("代码")), [InputRequired(lazy(N_("请填写代码"))), Length(max=32)])
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=96)])
    unit = StringField(
        lazy(N_("计量单位")), [InputRequired(lazy(N_("请填写计量单位"))), Length(max=16)], description=lazy(N_("人天、次、套等"))
    )  # fmt: skip
    price = DecimalField(lazy(N_("单价(元)")), [InputRequired(lazy(N_("请填写单价")))], places=2)
    provider = SelectField(lazy(N_("云服务商")), coerce=int, default=0)
    effective_from = DateField(lazy(N_("生效日期")), [InputRequired(lazy(N_("请填写生效日期")))])
    ended = BooleanField(lazy(N_("自该日起不再提供")))
    reason = StringField(lazy(N_("依据或更正原因")), [Optional(), Length(max=500)])


class LabourReportForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    done = DecimalField(lazy(N_("完成数量")), [InputRequired(lazy(N_("请填写数量")))], places=2)
    on = DateField(lazy(N_("完成日期")), [InputRequired(lazy(N_("请填写日期")))])
    text = TextAreaField(lazy(N_("完成的内容")), [InputRequired(lazy(N_("请写明完成的内容"))), Length(max=2000)])


class LabourAnswerForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    text = TextAreaField(lazy(N_("说明")), [Length(max=2000)])


def _rows(tx: Tx) -> Rows:
    return (
        select(LabourJob)
        .where(jobs.visible(tx, tx.actor))
        .options(
            joinedload(LabourJob.rate), joinedload(LabourJob.department), joinedload(LabourJob.system), joinedload(LabourJob.provider)
        )
    )  # fmt: skip


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    found = listing(tx, _rows(tx), COLUMNS, key=LabourJob.id, filters=FILTERS, sort="-number")
    return found.exported("labour") or render_template("labour/index.html", found=found)


@blueprint.get("/<int:job_id>")
@allow(*BUSINESS)
def show(job_id: int) -> str:
    tx = reading()
    one = jobs.job(tx, job_id)
    return render_template(
        "labour/show.html", one=one, code=code(one), price=f"{one.rate.price:,.2f}", quantity=amount(one.quantity, one.rate.unit),
        done=amount(one.done, one.rate.unit), sum=f"{Decimal(one.fen).scaleb(-2):,.2f}" if one.fen is not None else None,
        expected=f"{Decimal(jobs.worth(one.rate.price, one.done or one.quantity)).scaleb(-2):,.2f}",
        ordered=one.state == LabourState.ORDERED, reported=one.state == LabourState.REPORTED, open=one.state in UNDER_WAY,
        asked=links.to("request", one.request_id),
        history=events(audit.of(tx, one.subject, 50)),
    )  # fmt: skip


def _act(job_id: int, form: Any, title: str, told: str, verb: Any) -> str | Response | tuple[str, int]:
    one = jobs.job(reading(), job_id)
    return act_on(
        form, one.generation, verb, lambda: render_template("labour/act.html", form=form, one=one, title=title),
        told, "labour.show", job_id=job_id,
    )  # fmt: skip


@blueprint.route("/<int:job_id>/report", methods=["GET", "POST"])
@allow(Role.PROVIDER)
@takes(LabourReportForm)
def report(job_id: int) -> str | Response | tuple[str, int]:
    """The company says what was done."""
    form = LabourReportForm(on=reading().now.astimezone(settings().zone).date())
    return _act(
        job_id, form, _("报告完成"), _("已报告，待单位确认"),
        lambda tx: jobs.report(tx, job_id, form.done.data, form.on.data, form.text.data or "", generation=generation(form)),
    )  # fmt: skip


@blueprint.route("/<int:job_id>/confirm", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(LabourAnswerForm)
def confirm(job_id: int) -> str | Response | tuple[str, int]:
    """The department confirms it; it is paid for."""
    form = LabourAnswerForm()
    return _act(
        job_id, form, _("确认完成"), _("已确认，计入本月结算"),
        lambda tx: jobs.confirm(tx, job_id, form.text.data or "", generation=generation(form)),
    )  # fmt: skip


@blueprint.route("/<int:job_id>/back", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(LabourAnswerForm)
def send_back(job_id: int) -> str | Response | tuple[str, int]:
    """The department says why it is not done as reported."""
    form = LabourAnswerForm()
    return _act(
        job_id, form, _("退回"), _("已退回云服务商"),
        lambda tx: jobs.send_back(tx, job_id, form.text.data or "", generation=generation(form)),
    )  # fmt: skip


@blueprint.route("/<int:job_id>/cancel", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(LabourAnswerForm)
def cancel(job_id: int) -> str | Response | tuple[str, int]:
    """The supervisor ends what will not be done."""
    form = LabourAnswerForm()
    return _act(
        job_id, form, _("取消"), _("已取消"),
        lambda tx: jobs.cancel(tx, job_id, form.text.data or "", generation=generation(form)),
    )  # fmt: skip


@blueprint.get("/rates")
@allow(*BUSINESS)
@listed(RATE_COLUMNS)
def prices() -> str | Response:
    """Every rate that was entered."""
    query = select(LabourRate).options(joinedload(LabourRate.provider))
    found = listing(reading(), query, RATE_COLUMNS, key=LabourRate.id, sort="-from")
    return found.exported("labour-rates") or render_template("labour/rates.html", found=found)


@blueprint.route("/rates/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(LabourRateForm)
def enter() -> str | Response | tuple[str, int]:
    """Enter a rate, correct one by another of its day, or end one."""
    form = LabourRateForm()
    companies = reading().execute(select(CloudProvider.id, CloudProvider.name).order_by(CloudProvider.name))
    form.provider.choices = [SelectChoice("0", _("不限")), *(SelectChoice(str(one), name) for one, name in companies)]

    def act() -> Response:
        with transaction() as tx:
            rates.enter(
                tx, form.code.data, form.name.data, form.unit.data, form.price.data, form.effective_from.data,
                provider_id=form.provider.data or None, offered=not form.ended.data, reason=form.reason.data or "",
            )  # fmt: skip
        return done(_("单价已录入"), "labour.prices")

    return answer(form, act, lambda: render_template("labour/enter.html", form=form), Refused)


@frame.home_block(Role.PROVIDER, Role.TENANT, order=37)
def _waiting(tx: Tx, who_looks: Actor) -> str | None:
    """What the company has to do, or the department to confirm; nothing where there is none."""
    mine = LabourState.REPORTED if who_looks.role is Role.TENANT else LabourState.ORDERED
    query = _rows(tx).where(LabourJob.state == mine).order_by(LabourJob.id)
    found, count = frame.shortened(tx, query, SHOWN)
    if not found:
        return None
    return render_template("labour/_home.html", found=found, count=count, code=code, state=mine.value, amount=amount)
