"""Business calendars: when a department or a system is busy by its nature, declared by itself or for it."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import IntegerField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import frame
from console.access import allow
from console.book import actor, reading, transaction
from console.forms import DateField, answer, done
from console.programs import takes
from console.words import _, lazy
from metering.judging import FESTIVALS, BusinessPeriod, Period, Recurs, business
from metering.judging import PERIOD_LABELS as LABELS
from quota.actors import Role
from quota.db import Tx
from quota.directory import Department, System, subtree
from quota.errors import N_, Invalid, NotAllowed

blueprint = Blueprint("business", __name__, url_prefix="/business")
frame.page("cases", "business.index", N_("业务周期"), order=70)


class PeriodForm(FlaskForm):  # type: ignore[misc]
    owner = SelectField(lazy("单位或信息系统"), [InputRequired(lazy("请选择一个单位或一个信息系统"))])
    name = StringField(lazy("名称"), [InputRequired(lazy("请填写名称")), Length(max=64)])
    recurs = SelectField(lazy("何时重复"))
    first_day = IntegerField(lazy("每月:第一天"), [Optional(), NumberRange(-31, 31)])
    last_day = IntegerField(lazy("每月:最后一天"), [Optional(), NumberRange(-31, 31)])
    starts_on = DateField(lazy("每年或一次:起"), [Optional()])
    ends_on = DateField(lazy("每年或一次:止"), [Optional()])
    festival = SelectField(lazy("节假日"), [Optional()])
    lead_days = IntegerField(lazy("节假日前后各加天数"), [Optional(), NumberRange(0, 60, lazy("提前天数在0到60之间"))])

    def offer(self, tx: Tx) -> None:
        """Fill the choices with what the visitor may declare for."""
        departments = select(Department).order_by(Department.name)
        systems = select(System).where(System.active).order_by(System.name).options(joinedload(System.department))
        who = actor()
        if who.role is Role.TENANT:
            mine = subtree(tx, who.department_id or -1)
            departments = departments.where(Department.id.in_(mine))
            systems = systems.where(System.department_id.in_(mine))
        self.owner.choices = [
            *(SelectChoice(f"d{one.id}", one.name) for one in tx.scalars(departments)),
            *(SelectChoice(f"s{one.id}", f"{one.name} · {one.department.name}") for one in tx.scalars(systems)),
        ]
        self.recurs.choices = [SelectChoice(one.value, _(label)) for one, label in LABELS.items()]
        self.festival.choices = [
            SelectChoice("", "—"),
            *(SelectChoice(one, _(label)) for one, label in FESTIVALS.items()),
        ]

    def period(self) -> Period:
        return Period(
            self.name.data,
            Recurs(self.recurs.data),
            self.first_day.data,
            self.last_day.data,
            self.starts_on.data,
            self.ends_on.data,
            self.festival.data or "",
            self.lead_days.data or 0,
        )


@blueprint.route("/", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY, Role.TENANT)
@takes(PeriodForm)
def index() -> str | Response | tuple[str, int]:
    form = PeriodForm()
    form.offer(reading())

    def act() -> Response:
        owner, number = form.owner.data[0], int(form.owner.data[1:])
        with transaction() as tx:
            if owner == "d":
                business.declare(tx, form.period(), department_id=number)
            else:
                business.declare(tx, form.period(), system_id=number)
        return done(_("业务周期已申报"), "business.index")

    def page() -> str:
        tx = reading()
        periods = [period for period in business.declared(tx) if business.may_see(tx, period)]
        rows = [(period, _owner(period), _when(period)) for period in periods]
        return render_template("business/index.html", form=form, rows=rows)

    return answer(form, act, page, Invalid, NotAllowed)


@blueprint.post("/<int:period_id>/withdraw")
@allow(Role.SUPERVISOR, Role.AUTHORITY, Role.TENANT)
@takes()
def withdraw(period_id: int) -> Response:
    with transaction() as tx:
        business.withdraw(tx, period_id)
    flash(_("业务周期已撤回"), "success")
    return redirect(url_for("business.index"))


def _owner(period: BusinessPeriod) -> str:
    return period.system.name if period.system else period.department.name if period.department else "—"


def _when(period: BusinessPeriod) -> str:
    """The period in words."""
    recurs = Recurs(period.recurs)
    if recurs is Recurs.MONTHLY:
        return _("每月 %(first)s 至 %(last)s 日(负数从月末倒数)", first=period.first_day, last=period.last_day)
    if recurs is Recurs.FESTIVAL:
        return _("%(festival)s,前后各%(days)s天", festival=_(FESTIVALS[period.festival]), days=period.lead_days)
    if recurs is Recurs.YEARLY and period.starts_on and period.ends_on:
        return _("每年 %(start)s 至 %(end)s", start=f"{period.starts_on:%m-%d}", end=f"{period.ends_on:%m-%d}")
    return f"{period.starts_on} – {period.ends_on}"
