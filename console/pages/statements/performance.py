"""性能等级: what items of the catalogue must reach to be worth their price, what was measured, and as what they are priced since."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import DecimalField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import frame, links
from console.access import BUSINESS, allow, proven
from console.book import actor, reading, transaction
from console.forms import DateField, answer, done
from console.lists import Column, Filter, Rows, listing
from console.programs import GENERATION, listed, takes
from console.security import row
from console.words import _, item_name, lazy, who
from metering.statements import PerformanceClass, PerformanceTest, performance
from quota.actors import Role
from quota.db import Tx
from quota.directory import CatalogItem, CloudProvider
from quota.errors import N_, Refused

blueprint = Blueprint("performance", __name__, url_prefix="/performance")
frame.page("reports", "performance.index", N_("性能测试"), order=44)
frame.page("reports", "performance.classes", N_("性能等级"), order=45)


def _state(query: Rows, value: str) -> Rows:
    confirmed = PerformanceTest.confirmed_at
    return query.where(confirmed.is_(None) if value == "waiting" else confirmed.is_not(None))


COLUMNS = [
    Column("number", N_("编号"), lambda t: t.id, sort=PerformanceTest.id, title=True),
    Column("provider", N_("云服务商"), lambda t: t.provider.name, href=links.provider(lambda t: t.provider_id)),
    Column("item", N_("目录条目"), lambda t: item_name(t.item), code=lambda t: t.item.code),
    Column("value", N_("实测值"), lambda t: t.value, number=True, text=lambda v: f"{v.normalize():f}"),
    Column("measured_on", N_("测试日期"), lambda t: t.measured_on, text=str, sort=PerformanceTest.measured_on),
    Column("evidence", N_("方法和报告"), lambda t: t.evidence),
    Column("by", N_("录入人"), lambda t: t.entered_by, text=who, minor=True),
    Column("confirmed", N_("确认于"), lambda t: t.confirmed_at),
    Column("confirmed_by", N_("确认人"), lambda t: t.confirmed_by or None, text=who, minor=True),
]  # fmt: skip
FILTERS = [Filter("state", N_("状态"), _state, options={"waiting": N_("待确认"), "confirmed": N_("已确认")})]
CLASS_COLUMNS = [
    Column("item", N_("目录条目"), lambda c: item_name(c.item), code=lambda c: c.item.code, title=True),
    Column("figure", N_("性能指标"), lambda c: c.figure, sort=PerformanceClass.figure),
    Column("least", N_("不低于"), lambda c: c.least, number=True, text=lambda v: f"{v.normalize():f}"),
    Column("from", N_("生效日期"), lambda c: c.effective_from, text=str, sort=PerformanceClass.effective_from),
    Column("reason", N_("依据"), lambda c: c.reason or None, minor=True),
    Column("by", N_("录入人"), lambda c: c.entered_by, text=who, minor=True),
]  # fmt: skip


class PerformanceClassForm(FlaskForm):  # type: ignore[misc]
    item = SelectField(lazy(N_("目录条目")), coerce=int)
    figure = StringField(
        lazy(N_("性能指标")), [InputRequired(lazy(N_("请写明性能指标"))), Length(max=64)],
        description=lazy(N_("同一服务类型、同一指标的条目按“不低于”分等级")),
    )  # fmt: skip
    least = DecimalField(lazy(N_("不低于")), [InputRequired(lazy(N_("请填写数量")))], places=2)
    effective_from = DateField(lazy(N_("生效日期")), [InputRequired(lazy(N_("请填写生效日期")))])
    reason = StringField(lazy(N_("依据")), [Optional(), Length(max=500)])


class PerformanceTestForm(FlaskForm):  # type: ignore[misc]
    provider = SelectField(lazy(N_("云服务商")), coerce=int)
    item = SelectField(lazy(N_("目录条目")), coerce=int)
    value = DecimalField(lazy(N_("实测值")), [InputRequired(lazy(N_("请填写数量")))], places=2)
    measured_on = DateField(lazy(N_("测试日期")), [InputRequired(lazy(N_("请填写日期")))])
    evidence = TextAreaField(
        lazy(N_("方法和报告")), [InputRequired(lazy(N_("请写明测试方法和报告出处"))), Length(max=4000)]
    )


def _items(tx: Tx) -> list[SelectChoice]:
    rows = tx.scalars(select(CatalogItem).where(CatalogItem.active).order_by(CatalogItem.service, CatalogItem.name))
    return [SelectChoice(str(one.id), item_name(one)) for one in rows]


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    """What was measured; a company sees its own."""
    tx, looks = reading(), actor()
    query = select(PerformanceTest).options(joinedload(PerformanceTest.provider), joinedload(PerformanceTest.item))
    if looks.role is Role.PROVIDER:
        query = query.where(PerformanceTest.provider_id == looks.provider_id)
    found = listing(tx, query, COLUMNS, key=PerformanceTest.id, filters=FILTERS, sort="-number")
    if (file := found.exported("performance")) is not None:
        return file
    waiting = PerformanceTest.confirmed_at.is_(None)
    rows = (
        tx.scalars(query.where(waiting).order_by(PerformanceTest.id).limit(20)).all()
        if looks.role is Role.AUTHORITY
        else []
    )
    return render_template("performance/index.html", found=found, waiting=rows, item_name=item_name)


@blueprint.get("/classes")
@allow(*BUSINESS)
@listed(CLASS_COLUMNS)
def classes() -> str | Response:
    """What items must reach, as it was entered."""
    query = select(PerformanceClass).options(joinedload(PerformanceClass.item))
    found = listing(reading(), query, CLASS_COLUMNS, key=PerformanceClass.id, sort="-from")
    return found.exported("performance-classes") or render_template("performance/classes.html", found=found)


@blueprint.route("/classes/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(PerformanceClassForm)
def demand() -> str | Response | tuple[str, int]:
    """Say what an item must reach from a day on."""
    form = PerformanceClassForm()
    form.item.choices = _items(reading())

    def act() -> Response:
        with transaction() as tx:
            performance.demand(
                tx, form.item.data, form.figure.data, form.least.data, form.effective_from.data, reason=form.reason.data or ""
            )  # fmt: skip
        return done(_("已录入"), "performance.classes")

    return answer(
        form, act, lambda: render_template("performance/edit.html", form=form, title=_("录入性能等级"), back="performance.classes"), Refused
    )  # fmt: skip


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(PerformanceTestForm)
def measure() -> str | Response | tuple[str, int]:
    """Enter what was measured; it counts once the authority confirmed it."""
    tx, form = reading(), PerformanceTestForm()
    companies = tx.execute(select(CloudProvider.id, CloudProvider.name).order_by(CloudProvider.name))
    form.provider.choices = [SelectChoice(str(one), name) for one, name in companies]
    form.item.choices = _items(tx)

    def act() -> Response:
        with transaction() as writing:
            performance.measure(
                writing,
                form.provider.data,
                form.item.data,
                form.value.data,
                form.measured_on.data,
                form.evidence.data or "",
            )
        return done(_("已录入，待主管部门确认"), "performance.index")

    return answer(
        form, act, lambda: render_template("performance/edit.html", form=form, title=_("录入性能测试"), back="performance.index"), Refused
    )  # fmt: skip


@blueprint.post("/<int:test_id>/confirm")
@allow(Role.AUTHORITY)
@proven
@takes(None, GENERATION)
def confirm(test_id: int) -> Response:
    """From the measured day on it is priced as what it reached."""
    with transaction() as tx:
        performance.confirm(tx, test_id, generation=request.form.get("generation", type=row) or 0)
    return done(_("已确认，自测试日期起按实测等级计价"), "performance.index")
