"""监测端点: what is probed from the city's side, whose it is, and what its probes said."""

from __future__ import annotations

from datetime import date, timedelta

from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import BooleanField, HiddenField, IntegerField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange

from console import choices, frame, links
from console.access import STEWARDS, allow
from console.book import reading, transaction
from console.choices import ChoiceField
from console.forms import answer, done, generation
from console.lists import Column, Filter, listing
from console.pages.assessment import incidents
from console.programs import listed, takes
from console.words import _, lazy
from providers.monitoring import OutageSignal, ProbeEndpoint, SignalKind, endpoints
from quota.actors import Role
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import Pool
from quota.errors import N_, Conflict, Invalid

blueprint = Blueprint("endpoints", __name__, url_prefix="/endpoints")
frame.page("providers", "endpoints.index", N_("监测端点"), order=23)

MONTHS = 3
MOST_SIGNALS = 50


def standing(one: ProbeEndpoint) -> str:
    """The state of an endpoint, as its word has it."""
    if not one.active:
        return "inactive"
    if one.probed_ms is None:
        return "endpoint_waiting"
    return "endpoint_down" if one.failed >= one.fails else "endpoint_up"


COLUMNS = [
    Column("name", N_("名称"), lambda e: e.name, sort=ProbeEndpoint.name, title=True,
           href=lambda e: url_for("endpoints.show", endpoint_id=e.id)),
    Column("state", N_("状态"), standing, state=True),
    Column("target", N_("探测目标"), lambda e: e.target, sort=ProbeEndpoint.target),
    Column("pool", N_("资源池"), lambda e: e.pool.name, href=links.pool(lambda e: e.pool_id)),
    Column("system", N_("信息系统"), lambda e: e.system.name if e.system else None),
    Column("level", N_("故障级别"), lambda e: _(incidents.LEVELS[str(e.level)]), code=lambda e: e.level),
    Column("probed", N_("最近一次探测"), lambda e: e.probed_at, sort=ProbeEndpoint.probed_ms),
]  # fmt: skip
FILTERS = [Filter("q", N_("名称或目标"), lambda q, v: q.where(
    frame.matching(v, ProbeEndpoint.name, ProbeEndpoint.target)))]  # fmt: skip


class EndpointForm(FlaskForm):  # type: ignore[misc]
    pool = SelectField(lazy(N_("资源池")), coerce=int)
    target = StringField(
        lazy(N_("探测目标")), [InputRequired(lazy(N_("请填写探测目标"))), Length(max=256)],
        description=lazy(N_("blackbox_exporter 的 probe_success 中 instance 标签的值，如 https://oa.example.gov.cn/health")),
    )  # fmt: skip
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=128)])
    system = ChoiceField(
        lazy(N_("信息系统")), description=lazy(N_("不选：它不通即整个资源池中断；选了则只按该系统的主机折算"))
    )  # fmt: skip
    level = SelectField(lazy(N_("故障级别")), coerce=int)
    interval_s = IntegerField(
        lazy(N_("探测间隔（秒）")), [InputRequired(lazy(N_("请填写数量"))), NumberRange(1, 3600)], default=60,
        description=lazy(N_("超过三个间隔没有探测的时间既不算通，也不算断")),
    )  # fmt: skip
    fails = IntegerField(
        lazy(N_("连续失败几次算中断")),
        [InputRequired(lazy(N_("请填写数量"))), NumberRange(1, endpoints.MOST_FAILS)],
        default=2,
        description=lazy(N_("中断自其中第一次失败起算，至第一次成功止")),
    )

    def offer(self, tx: Tx) -> None:
        self.system.offer(tx, choices.systems(), ("0", _("整个资源池")))
        self.level.choices = [SelectChoice(level, _(label)) for level, label in incidents.LEVELS.items()]


class EndpointChangeForm(EndpointForm):
    pool = None
    target = None
    generation = HiddenField()
    active = BooleanField(lazy(N_("继续监测")), description=lazy(N_("不再监测时，未结束的中断以最后一次探测为止")))


@blueprint.get("/")
@allow(*STEWARDS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    query = select(ProbeEndpoint).options(joinedload(ProbeEndpoint.pool), joinedload(ProbeEndpoint.system))
    found = listing(reading(), query, COLUMNS, key=ProbeEndpoint.id, filters=FILTERS, sort="name")
    return found.exported("endpoints") or render_template("endpoints/index.html", endpoints=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(EndpointForm)
def register() -> str | Response | tuple[str, int]:
    """Enter an endpoint that is probed."""
    tx = reading()
    form = EndpointForm()
    form.offer(tx)
    pools = tx.execute(select(Pool.id, Pool.name).where(Pool.active).order_by(Pool.name))
    form.pool.choices = [SelectChoice(str(id_), name) for id_, name in pools]

    def act() -> Response:
        with transaction() as write:
            found = endpoints.register(
                write, form.pool.data, form.target.data, form.name.data, system_id=form.system.data or None,
                level=form.level.data, interval_s=form.interval_s.data, fails=form.fails.data,
            )  # fmt: skip
        return done(_("已登记：%(name)s", name=found.name), "endpoints.show", endpoint_id=found.id)

    return answer(form, act, lambda: render_template("endpoints/edit.html", form=form, one=None), Invalid, Conflict)


@blueprint.get("/<int:endpoint_id>")
@allow(*STEWARDS)
def show(endpoint_id: int) -> str:
    tx = reading()
    one = endpoints.endpoint(tx, endpoint_id)
    mine = select(OutageSignal).where(OutageSignal.kind == SignalKind.PROBE.value, OutageSignal.key == str(one.id))
    signals = tx.scalars(
        mine.options(joinedload(OutageSignal.incident)).order_by(OutageSignal.began_at.desc()).limit(MOST_SIGNALS)
    ).all()
    return render_template(
        "endpoints/show.html",
        one=one,
        state=standing(one),
        level=incidents.LEVELS[str(one.level)],
        months=_months(tx, one),
        signals=signals,
    )


def _months(tx: Tx, one: ProbeEndpoint) -> list[tuple[str, timedelta, timedelta]]:
    """(month, how long it was looked at, how long of that it failed), the newest first; without those of which nothing is known."""
    found = []
    day = tx.now.astimezone(ZONE).date()
    for _month in range(MONTHS):
        first: date = day.replace(day=1)
        seen, down = endpoints.availability(tx, [one.id], first, day).get(one.id, (timedelta(), timedelta()))
        if seen:
            found.append((f"{first:%Y-%m}", seen, down))
        day = first - timedelta(days=1)
    return found


@blueprint.route("/<int:endpoint_id>/edit", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(EndpointChangeForm)
def change(endpoint_id: int) -> str | Response | tuple[str, int]:
    """Say otherwise whose an endpoint is and what its failing means."""
    tx = reading()
    one = endpoints.endpoint(tx, endpoint_id)
    form = EndpointChangeForm(
        data={
            "generation": one.generation, "name": one.name, "system": one.system_id or 0, "level": one.level,
            "interval_s": one.interval_s, "fails": one.fails, "active": one.active,
        }
    )  # fmt: skip
    form.offer(tx)

    def act() -> Response:
        with transaction() as write:
            endpoints.change(
                write, endpoint_id, generation(form), name=form.name.data, system_id=form.system.data or None,
                level=form.level.data, interval_s=form.interval_s.data, fails=form.fails.data, active=form.active.data,
            )  # fmt: skip
        return done(_("已保存"), "endpoints.show", endpoint_id=endpoint_id)

    return answer(form, act, lambda: render_template("endpoints/edit.html", form=form, one=one), Invalid, Conflict)
