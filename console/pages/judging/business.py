"""Business calendars: when a department or a system is busy by its nature, declared by itself or for it."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import IntegerField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import choices, frame
from console.access import allow
from console.book import actor, reading, transaction
from console.choices import ChoiceField
from console.forms import DateField, answer, done
from console.lists import Column, listing
from console.programs import listed, takes
from console.words import _, lazy, who
from metering.judging import FESTIVALS, BusinessPeriod, Period, Recurs, business
from metering.judging import PERIOD_LABELS as LABELS
from quota.actors import Role
from quota.db import Tx
from quota.directory import subtree
from quota.errors import N_, Invalid, NotAllowed

blueprint = Blueprint("business", __name__, url_prefix="/business")
frame.page("cases", "business.index", N_("业务周期"), order=70)


class PeriodForm(FlaskForm):  # type: ignore[misc]
    department = ChoiceField(lazy("使用单位"), default=0)
    system = ChoiceField(lazy("信息系统"), description=lazy("单位和信息系统选一个"), default=0)
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
        visitor, mine = actor(), None
        if visitor.role is Role.TENANT:
            mine = subtree(tx, visitor.department_id or -1)
        self.department.offer(tx, choices.departments(within=mine), ("0", "—"))
        self.system.offer(tx, choices.systems(within=mine), ("0", "—"))
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


COLUMNS = [
    Column("name", N_("名称"), lambda p: p.name, title=True),
    Column("owner", N_("单位或信息系统"), lambda p: _owner(p)),
    Column("when", N_("何时重复"), lambda p: _when(p), code=lambda p: p.recurs),
    Column("by", N_("申报人"), lambda p: who(p.declared_by), code=lambda p: p.declared_by),
    Column("act", N_("办理"), lambda _period: ""),
]


@blueprint.route("/", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY, Role.TENANT)
@listed(COLUMNS[:-1])
@takes(PeriodForm)
def index() -> str | Response | tuple[str, int]:
    tx = reading()
    query = business.declared().where(business.visible(tx))
    query = query.options(joinedload(BusinessPeriod.system), joinedload(BusinessPeriod.department))
    periods = listing(tx, query, COLUMNS, key=BusinessPeriod.id)
    if request.method == "GET" and (told := replace(periods, columns=COLUMNS[:-1]).exported("business")) is not None:
        return told
    form = PeriodForm()
    form.offer(tx)

    def act() -> Response:
        with transaction() as tx:
            business.declare(
                tx, form.period(), department_id=form.department.data or None, system_id=form.system.data or None
            )
        return done(_("业务周期已申报"), "business.index")

    return answer(
        form, act, lambda: render_template("business/index.html", form=form, periods=periods), Invalid, NotAllowed
    )


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
