"""Maintenance windows: announced by companies before they begin, seen by everybody whom they may concern."""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import Blueprint, g, render_template
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from console import frame, links
from console.access import BUSINESS, allow
from console.book import reading, settings, transaction
from console.forms import DateTimeLocalField, answer, done, generation
from console.lists import Column, Filter, Rows, listing
from console.pages.orders import company_filter
from console.programs import listed, takes
from console.words import _, disclosure, lazy, who
from providers.assessment import formulas
from providers.billing import Maintenance, maintenances
from quota.actors import Actor, Role
from quota.calendar import ZONE, WorkingDays, working_days
from quota.db import Tx
from quota.directory import Pool
from quota.errors import N_, NotFound, Refused

blueprint = Blueprint("maintenances", __name__, url_prefix="/maintenances")
frame.page("providers", "maintenances.index", N_("维护公告"), order=25)

ANNOUNCERS = (Role.PROVIDER, Role.SUPERVISOR)
SOON = timedelta(days=7)
SHOWN = 6


def code(maintenance: Maintenance) -> str:
    """The state's code among all states."""
    now = reading().now
    if maintenance.cancelled_at is not None:
        return "maintenance_cancelled"
    if now < maintenance.starts_at:
        return "maintenance_planned"
    return "maintenance_running" if now < maintenance.ends_at else "maintenance_over"


def _in_time(maintenance: Maintenance) -> bool:
    """Whether it was announced as early as the formula of its day asks; calendar and formulas are looked up once."""
    if "maintenance_days" not in g:
        g.maintenance_days = working_days(reading()), formulas.enacted(reading())
    days: WorkingDays = g.maintenance_days[0]
    enacted: formulas.Enacted = g.maintenance_days[1]
    return maintenance.in_time(
        days, enacted.formula(maintenance.provider_id, maintenance.starts_at.astimezone(ZONE).date()).incidents
    )


def _state(query: Rows, value: str) -> Rows:
    now = reading().now
    if value == "cancelled":
        return query.where(Maintenance.cancelled_at.is_not(None))
    query = query.where(Maintenance.cancelled_at.is_(None))
    return query.where(Maintenance.ends_at <= now) if value == "over" else query.where(Maintenance.ends_at > now)


COLUMNS = [
    Column("title", N_("标题"), lambda m: disclosure.told(m.title),
           href=lambda m: links.address(m.subject), title=True),
    Column("state", N_("状态"), code, state=True),
    Column("pool", N_("资源池"), lambda m: m.pool.name, href=links.pool(lambda m: m.pool_id)),
    Column("provider", N_("云服务商"), lambda m: m.provider.name, href=links.provider(lambda m: m.provider_id), minor=True),
    Column("starts", N_("开始"), lambda m: m.starts_at, sort=Maintenance.starts_at),
    Column("ends", N_("结束"), lambda m: m.ends_at, sort=Maintenance.ends_at),
    Column("announced", N_("公告于"), lambda m: m.announced_at, sort=Maintenance.announced_at, minor=True),
    Column("in_time", N_("公告及时"), lambda m: _("是") if _in_time(m) else _("否"), code=_in_time),
    Column("by", N_("公告人"), lambda m: m.announced_by, text=who, minor=True),
]  # fmt: skip
FILTERS = [
    Filter(
        "state", N_("状态"), _state, options={"open": N_("未结束"), "over": N_("已结束"), "cancelled": N_("已取消")}
    ),
    Filter("q", N_("标题"), lambda q, v: q.where(frame.matching(v, Maintenance.title))),
]


class AnnounceForm(FlaskForm):  # type: ignore[misc]
    pool = SelectField(lazy("资源池"), coerce=int, choices=[])
    title = StringField(lazy("标题"), [InputRequired(lazy("请填写维护标题")), Length(max=256)])
    starts_at = DateTimeLocalField(lazy("开始"), validators=[InputRequired(lazy("请填写开始时间"))])
    ends_at = DateTimeLocalField(lazy("结束"), validators=[InputRequired(lazy("请填写结束时间"))])
    text = TextAreaField(lazy("内容和影响"), [InputRequired(lazy("请写明维护内容和影响")), Length(max=8000)])


class CancelForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    reason = TextAreaField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=4000)])


def _zoned(value: datetime) -> datetime:
    return value.replace(tzinfo=settings().zone)


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS, args=("provider",))
def index() -> str | Response:
    tx = reading()
    query = (
        select(Maintenance)
        .where(maintenances.visible(tx.actor))
        .options(joinedload(Maintenance.pool), joinedload(Maintenance.provider))
    )
    own = tx.actor.role is Role.PROVIDER
    filters = FILTERS if own else [*FILTERS, company_filter(tx, Maintenance.provider_id)]
    found = listing(tx, query, COLUMNS, key=Maintenance.id, filters=filters, sort="-starts")
    disclosure.learn(one.title for one in found.rows)
    return found.exported("maintenances") or render_template("maintenances/index.html", found=found)


@blueprint.get("/<int:maintenance_id>")
@allow(*BUSINESS)
def show(maintenance_id: int) -> str:
    one = maintenances.maintenance(reading(), maintenance_id)
    disclosure.learn((one.title, one.text, one.reason))
    return render_template("maintenances/show.html", one=one, code=code(one), in_time=_in_time(one))


@blueprint.route("/new", methods=["GET", "POST"])
@allow(*ANNOUNCERS)
@takes(AnnounceForm)
def announce() -> str | Response | tuple[str, int]:
    tx = reading()
    form = AnnounceForm()
    pools = select(Pool.id, Pool.name).order_by(Pool.name)
    if tx.actor.role is Role.PROVIDER:
        pools = pools.where(Pool.provider_id == tx.actor.provider_id)
    form.pool.choices = [SelectChoice(str(id_), name) for id_, name in tx.execute(pools)]

    def act() -> Response:
        with transaction() as write:
            pool = write.get(Pool, form.pool.data)
            if pool is None:
                raise NotFound("pool.none", N_("没有编号为 %(id)s 的资源池"), id=form.pool.data)
            found = maintenances.announce(
                write, pool, _zoned(form.starts_at.data), _zoned(form.ends_at.data), form.title.data, form.text.data
            )
        return done(_("已公告"), "maintenances.show", maintenance_id=found.id)

    return answer(form, act, lambda: render_template("maintenances/announce.html", form=form), Refused)


@blueprint.route("/<int:maintenance_id>/cancel", methods=["GET", "POST"])
@allow(*ANNOUNCERS)
@takes(CancelForm)
def cancel(maintenance_id: int) -> str | Response | tuple[str, int]:
    one = maintenances.maintenance(reading(), maintenance_id)
    form = CancelForm(generation=one.generation)

    def act() -> Response:
        with transaction() as write:
            maintenances.cancel(write, maintenance_id, generation(form), form.reason.data)
        return done(_("已取消"), "maintenances.show", maintenance_id=maintenance_id)

    return answer(form, act, lambda: render_template("maintenances/cancel.html", form=form, one=one), Refused)


@frame.home_block(Role.TENANT, Role.SUPERVISOR, Role.PROVIDER, order=60, side=True)
def _soon(tx: Tx, actor: Actor) -> str | None:
    """What is under way or begins within a week; nothing where there is none."""
    found = maintenances.to_come(tx, actor, tx.now + SOON, SHOWN)
    disclosure.learn(one.title for one in found)
    return render_template("maintenances/_home.html", found=found, code=code) if found else None
