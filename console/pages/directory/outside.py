"""云外资源: what departments keep outside the government cloud, whether it may stay there, by when it must move; and the share of systems
on the cloud."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from flask import Blueprint, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.wrappers import Response
from wtforms import HiddenField, SelectField, SelectMultipleField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from console import choices, frame, links
from console.access import STEWARDS, allow
from console.book import actor, reading, settings, transaction
from console.choices import ChoiceField
from console.forms import DateField, answer, done, generation
from console.lists import Column, Filter, Rows, listing
from console.programs import GENERATION, Given, listed, takes
from console.security import row
from console.words import _, events, lazy
from quota import audit
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import (
    FACILITY_FIELDS,
    FACILITY_LABELS,
    FacilityState,
    OutsideFacility,
    Pool,
    System,
    cloud_targets,
    departments,
    outside,
)
from quota.errors import N_, Refused
from quota.requests import OPEN, Request, declared

blueprint = Blueprint("outside", __name__, url_prefix="/outside")
frame.page("resources", "outside.index", N_("云外资源"), order=23)

KEEPERS = (Role.AUTHORITY, Role.SUPERVISOR, Role.TENANT)
RULERS = (Role.AUTHORITY, Role.SUPERVISOR)
NEAR_DAYS = 90
"""What must move, or is recognised no longer, within so many days is on the due list."""
SHOWN = 8
"""How many a block of the home page shows."""
DUE = "due"
STATES = {
    DUE: N_("90 天内到期或逾期"), FacilityState.REGISTERED.value: N_("已登记"), FacilityState.RECOGNISED.value: N_("已认定"),
    FacilityState.LAPSED.value: N_("认定已到期"), FacilityState.MOVING.value: N_("限期迁移"),
    FacilityState.LATE.value: N_("逾期未迁移"), FacilityState.LEFT.value: N_("已迁移或停用"),
}  # fmt: skip


def _today() -> date:
    return reading().now.astimezone(settings().zone).date()


def code(one: OutsideFacility) -> str:
    """The state's code among all states."""
    return f"outside_{one.state(_today()).value}"


def _due(today: date) -> Any:
    return outside.due(today + timedelta(days=NEAR_DAYS + 1))


def _state(query: Rows, value: str) -> Rows:
    return query.where(_due(_today()) if value == DUE else outside.in_state(FacilityState(value), _today()))


COLUMNS = [
    Column("name", N_("名称"), lambda f: f.name, sort=OutsideFacility.name, title=True,
           href=lambda f: url_for("outside.show", facility_id=f.id)),
    Column("state", N_("状态"), code, state=True),
    Column("kind", N_("类型"), lambda f: _(FACILITY_LABELS[f.kind]), code=lambda f: f.kind),
    Column("department", N_("使用单位"), lambda f: f.department.name, href=links.department(lambda f: f.department_id)),
    Column("place", N_("地点"), lambda f: f.place),
    Column("size", N_("规模"), lambda f: f.size or None, minor=True),
    Column("systems", N_("信息系统"), lambda f: len(f.systems), number=True),
    Column("until", N_("认定期限"), lambda f: f.recognised_until, sort=OutsideFacility.recognised_until),
    Column("move_by", N_("迁移期限"), lambda f: f.move_by, sort=OutsideFacility.move_by),
    Column("basis", N_("依据的申请"), lambda f: f.basis or None, minor=True),
    Column("left_on", N_("迁移或停用日期"), lambda f: f.left_on, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), _state, options=STATES),
    Filter("kind", N_("类型"), lambda q, v: q.where(OutsideFacility.kind == v), options=dict(FACILITY_LABELS)),
    Filter("q", N_("名称或地点"), lambda q, v: q.where(frame.matching(v, OutsideFacility.name, OutsideFacility.place))),
]  # fmt: skip


class FacilityForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    department = ChoiceField(lazy(N_("使用单位")))
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=128)])
    kind = SelectField(
        lazy(N_("类型")), choices=[SelectChoice(one, lazy(label)) for one, label in FACILITY_LABELS.items()]
    )
    place = StringField(lazy(N_("地点")), [InputRequired(lazy(N_("请填写地点"))), Length(max=128)])
    size = StringField(lazy(N_("规模")), [Length(max=256)], description=lazy(N_("机柜、服务器、存储的数量等")))
    systems = SelectMultipleField(lazy(N_("在此运行的信息系统")), coerce=int)

    def facts(self) -> dict[str, Any]:
        return {name: self._fields[name].data for name in FACILITY_FIELDS}


class FacilityDayForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    on = DateField(lazy(N_("日期")), [InputRequired(lazy(N_("请填写日期")))])
    note = TextAreaField(lazy(N_("说明")), [InputRequired(lazy(N_("请写明说明"))), Length(max=2000)])


def _rows(tx: Tx) -> Rows:
    return (
        select(OutsideFacility)
        .where(outside.visible(tx, actor()))
        .options(joinedload(OutsideFacility.department), selectinload(OutsideFacility.systems))
    )


def _within(tx: Tx) -> set[int] | None:
    """The departments that the visitor looks at; None: all."""
    who = actor()
    return departments.subtree(tx, who.department_id or 0) if who.role is Role.TENANT else None


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    """The register, and what share of the systems in use is on the cloud by it."""
    tx = reading()
    found = listing(tx, _rows(tx), COLUMNS, key=OutsideFacility.id, filters=FILTERS, sort="move_by")
    if (file := found.exported("outside")) is not None:
        return file
    on, total = outside.on_the_cloud(tx, _today(), _within(tx))
    target = cloud_targets.of_year(tx, _today().year)
    own = actor().department_id if actor().role is Role.TENANT else None
    share = target.share(own) if target is not None else None
    return render_template("outside/index.html", found=found, on=on, total=total, year=_today().year, share=share)


@blueprint.get("/<int:facility_id>")
@allow(*STEWARDS, Role.TENANT)
def show(facility_id: int) -> str:
    tx = reading()
    one, within, who = outside.facility(tx, facility_id), _within(tx), actor()
    kind = declared("outside")
    asked = tx.execute(
        select(Request.id, Request.number, Request.state)
        .where(Request.kind == kind.code, Request.entry_id == one.id).order_by(Request.id.desc()).limit(20)
    ).all()  # fmt: skip
    there, decided = one.left_on is None, one.state(_today()) is FacilityState.RECOGNISED
    busy = any(state in OPEN for _id, _number, state in asked)
    asks = there and not busy and who.role is Role.TENANT and not (decided and one.recognised_until is None)
    return render_template(
        "outside/show.html", one=one, code=code(one), kind=_(FACILITY_LABELS[one.kind]), there=there, busy=busy, asked=asked,
        systems=[each for each in one.systems if within is None or each.department_id in within],
        pools=tx.scalars(select(Pool).where(Pool.active).order_by(Pool.name)).all() if asks else [],
        history=events(audit.of(tx, one.subject, 50)),
    )  # fmt: skip


def _offer(form: FacilityForm, within: set[int]) -> None:
    query = select(System.id, System.name).where(System.department_id.in_(within), System.active)
    form.systems.choices = [
        SelectChoice(str(id_), name) for id_, name in reading().execute(query.order_by(System.name))
    ]


@blueprint.route("/new", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(FacilityForm)
def register() -> str | Response | tuple[str, int]:
    """Enter what a department has outside; which systems run there is said once it is there."""
    form = FacilityForm(department=0)
    form.department.offer(reading(), choices.departments(within=_within(reading())))
    form.systems.choices = []

    def act() -> Response:
        with transaction() as tx:
            made = outside.register(tx, form.department.data, form.facts())
        return done(_("已登记：%(name)s", name=made.name), "outside.show", facility_id=made.id)

    return answer(form, act, lambda: render_template("outside/edit.html", form=form, one=None), Refused)


@blueprint.route("/<int:facility_id>/edit", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(FacilityForm)
def edit(facility_id: int) -> str | Response | tuple[str, int]:
    """Correct what is said of it, and say which systems run there."""
    tx = reading()
    one, within = outside.facility(tx, facility_id), _within(tx)
    had = [system for system in one.systems if within is None or system.department_id in within]
    hidden = {system.id for system in one.systems} - {system.id for system in had}
    form = FacilityForm(
        generation=one.generation,
        systems=[it.id for it in had],
        **{name: getattr(one, name) for name in FACILITY_FIELDS},
    )
    del form.department
    _offer(form, departments.subtree(tx, one.department_id))
    kept = [SelectChoice(str(it.id), it.name) for it in had]  # one that went to another department stays as it is
    form.systems.choices += [it for it in kept if it.value not in {each.value for each in form.systems.choices}]

    def act() -> Response:
        with transaction() as writing:
            systems = {*(form.systems.data or []), *hidden}
            outside.amend(writing, facility_id, form.facts(), systems, generation=generation(form))
        return done(_("已保存"), "outside.show", facility_id=facility_id)

    return answer(form, act, lambda: render_template("outside/edit.html", form=form, one=one), Refused)


@blueprint.route("/<int:facility_id>/leave", methods=["GET", "POST"])
@allow(*RULERS)
@takes(FacilityDayForm)
def leave(facility_id: int) -> str | Response | tuple[str, int]:
    """Note that it moved to the cloud or was shut down."""
    return _closed(facility_id, outside.leave, _("已迁移或停用"), _("已记录"))


@blueprint.route("/<int:facility_id>/day", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(FacilityDayForm)
def day(facility_id: int) -> str | Response | tuple[str, int]:
    """Say by when it must have moved, or another day."""
    return _closed(facility_id, outside.set_day, _("核定迁移期限"), _("已保存"))


def _closed(facility_id: int, verb: Any, label: str, said: str) -> str | Response | tuple[str, int]:
    one = outside.facility(reading(), facility_id)
    form = FacilityDayForm(generation=one.generation, on=_today())

    def act() -> Response:
        with transaction() as tx:
            verb(tx, facility_id, form.on.data, form.note.data or "", generation=generation(form))
        return done(said, "outside.show", facility_id=facility_id)

    return answer(form, act, lambda: render_template("outside/close.html", form=form, one=one, label=label), Refused)


@blueprint.post("/<int:facility_id>/reopen")
@allow(*RULERS)
@takes(None, GENERATION, Given("reason", label=N_("理由"), longest=500, required=True))
def reopen(facility_id: int) -> Response:
    """Take back that it moved or was shut down."""
    with transaction() as tx:
        outside.reopen(
            tx,
            facility_id,
            request.form.get("reason", "")[:500],
            generation=request.form.get("generation", type=row) or 0,
        )
    return done(_("已撤销"), "outside.show", facility_id=facility_id)


@frame.home_block(Role.AUTHORITY, Role.SUPERVISOR, Role.TENANT, order=61)
def due_outside(tx: Tx, _who: Actor) -> str | None:
    """What must move soon or should have; nothing where there is none."""
    query = (
        _rows(tx)
        .where(_due(_today()))
        .order_by(func.coalesce(OutsideFacility.move_by, OutsideFacility.recognised_until), OutsideFacility.id)
    )
    found, count = frame.shortened(tx, query, SHOWN)
    if not found:
        return None
    return render_template("outside/_home.html", found=found, count=count, code=code, state=DUE)


@frame.finder(*STEWARDS, Role.TENANT, order=37)
def find(tx: Tx, _who: Actor, text: str, limit: int) -> list[frame.Hit]:
    """What is outside, by name or place."""
    wanted = frame.matching(text, OutsideFacility.name, OutsideFacility.place)
    return [
        frame.Hit(N_("云外资源"), one.name, url_for("outside.show", facility_id=one.id), one.place, code(one))
        for one in tx.scalars(_rows(tx).where(wanted).order_by(OutsideFacility.id.desc()).limit(limit))
    ]
