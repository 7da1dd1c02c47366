"""单位负责人: who answers for a department's cloud, who did before, who takes it up and leaves it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from werkzeug.wrappers import Response
from wtforms import HiddenField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from console import frame
from console.access import STEWARDS, allow
from console.book import actor, reading, settings, transaction
from console.forms import DateField, act_on, answer, done, generation
from console.lists import Column, listing
from console.pages.quota import mine_or_any
from console.programs import listed, takes
from console.words import _, lazy
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import DUTY_LABELS, HEADSHIP_FIELDS, Department, Duty, Headship, headships, subtree
from quota.errors import N_, Refused

blueprint = Blueprint("headships", __name__, url_prefix="/departments")
frame.under("departments.index", "headships")

KEEPERS = (Role.AUTHORITY, Role.SUPERVISOR, Role.TENANT)
SHOWN = 5
COLUMNS = [
    Column("name", N_("姓名"), lambda one: one.name, title=True, sort=Headship.name),
    Column("duty", N_("职责"), lambda one: _(DUTY_LABELS[one.duty]), code=lambda one: one.duty),
    Column("title", N_("职务"), lambda one: one.title or None),
    Column("phone", N_("电话"), lambda one: one.phone or None),
    Column("email", N_("邮箱"), lambda one: one.email or None),
    Column("document", N_("任职文号"), lambda one: one.document or None),
    Column("since", N_("任职日期"), lambda one: one.since, sort=Headship.since, text=str),
    Column("until", N_("离任日期"), lambda one: one.until, sort=Headship.until, text=str),
]  # fmt: skip


class HeadForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    duty = SelectField(
        lazy(N_("职责")), choices=[SelectChoice(code, lazy(label)) for code, label in DUTY_LABELS.items()]
    )
    name = StringField(lazy(N_("姓名")), [InputRequired(lazy(N_("请输入姓名"))), Length(max=64)])
    title = StringField(lazy(N_("职务")), [Length(max=64)])
    phone = StringField(lazy(N_("电话")), [Length(max=32)], description=lazy(N_("电话和邮箱至少填写一项")))
    email = StringField(lazy(N_("邮箱")), [Length(max=254)])
    document = StringField(lazy(N_("任职文号")), [Length(max=128)])
    since = DateField(lazy(N_("任职日期")), [InputRequired(lazy(N_("请填写日期")))])

    def said(self) -> dict[str, str]:
        return {name: self._fields[name].data or "" for name in HEADSHIP_FIELDS}


class HeadLeavingForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    until = DateField(lazy(N_("离任日期")), [InputRequired(lazy(N_("请填写日期")))])


def _today() -> date:
    return reading().now.astimezone(settings().zone).date()


@blueprint.get("/<int:department_id>/heads/")
@allow(*STEWARDS, Role.TENANT)
@listed(COLUMNS)
def index(department_id: int) -> str | Response:
    """Whoever had a duty of the department's."""
    tx = reading()
    one = mine_or_any(tx, department_id)
    query = select(Headship).where(Headship.department_id == one.id)
    found = listing(tx, query, COLUMNS, key=Headship.id, sort="-since")
    return found.exported("heads") or render_template("headships/index.html", one=one, found=found)


@blueprint.route("/<int:department_id>/heads/new", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(HeadForm)
def appoint(department_id: int) -> str | Response | tuple[str, int]:
    """Somebody takes up a duty; who had it ends with the day before."""
    one = mine_or_any(reading(), department_id)
    form = HeadForm(since=_today())

    def act() -> Response:
        with transaction() as tx:
            headships.appoint(tx, one.id, Duty(form.duty.data), form.said(), form.since.data)
        return done(_("已登记：%(name)s", name=form.name.data), "departments.show", department_id=one.id)

    return answer(form, act, _page(form, one, _("登记负责人")), Refused)


@blueprint.route("/heads/<int:headship_id>/edit", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(HeadForm)
def edit(headship_id: int) -> str | Response | tuple[str, int]:
    """Correct what is said of somebody; the days stay."""
    row, one = _row(headship_id)
    form = HeadForm(**{name: getattr(row, name) for name in HEADSHIP_FIELDS})
    del form.duty, form.since

    def act(tx: Tx) -> object:
        return headships.amend(tx, row.id, form.said(), generation=generation(form))

    page = _page(form, one, _("更正：%(name)s", name=row.name))
    return act_on(form, row.generation, act, page, _("已保存"), "departments.show", department_id=one.id)


@blueprint.route("/heads/<int:headship_id>/leave", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(HeadLeavingForm)
def leave(headship_id: int) -> str | Response | tuple[str, int]:
    """Somebody leaves, and nobody follows yet."""
    row, one = _row(headship_id)
    form = HeadLeavingForm(until=_today())

    def act(tx: Tx) -> object:
        return headships.leave(tx, row.id, form.until.data, generation=generation(form))

    page = _page(form, one, _("离任：%(name)s", name=row.name))
    return act_on(form, row.generation, act, page, _("已记录"), "departments.show", department_id=one.id)


def _row(headship_id: int) -> tuple[Headship, Department]:
    row = headships.headship(reading(), headship_id)
    return row, mine_or_any(reading(), row.department_id)


def _page(form: FlaskForm, one: Department, label: str) -> Callable[[], str]:
    return lambda: render_template("headships/edit.html", form=form, one=one, label=label)


@frame.home_block(*KEEPERS, order=62)
def _headless(tx: Tx, _who: Actor) -> str | None:
    """Departments without a head, once anybody keeps the register; nothing where there is none."""
    query = select(Department, func.count().over()).where(headships.missing(_today())).order_by(Department.code)
    who = actor()
    if who.role is Role.TENANT:
        query = query.where(Department.id.in_(subtree(tx, who.department_id or 0)))
    rows = tx.execute(query.limit(SHOWN)).all()
    if not rows:
        return None
    found, count = [one for one, _count in rows], rows[0][1]
    more = None if who.role is Role.TENANT else (_("全部"), url_for("departments.index", head="none"))
    return render_template("headships/_home.html", found=found, count=count, more=more)
