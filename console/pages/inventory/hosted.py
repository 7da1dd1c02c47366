"""托管设备: what departments own and a company keeps for them: entered by whose it is, placed by the company, by room, cabinet and U."""

from __future__ import annotations

from datetime import date
from typing import Any

from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, IntegerField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange

from console import choices, frame, links
from console.access import BUSINESS, allow
from console.book import actor, reading, settings, transaction
from console.choices import ChoiceField
from console.forms import DateField, act_on, answer, done, generation
from console.lists import Column, Filter, Rows, listing
from console.programs import listed, takes
from console.words import _, events, lazy
from quota import audit
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import (
    HOSTED_FIELDS,
    HOSTED_LABELS,
    CloudProvider,
    HostedEquipment,
    HostedState,
    departments,
    hosted,
)
from quota.errors import N_, Refused

blueprint = Blueprint("hosted", __name__, url_prefix="/hosted")
frame.page("resources", "hosted.index", N_("托管设备"), order=25)

KEEPERS = (Role.TENANT, Role.SUPERVISOR, Role.AUTHORITY)
SHOWN = 8
"""How many a block of the home page shows."""
DUE = "due"
STATES = {
    DUE: N_("30 天内到期或已到期"), HostedState.ENTERED.value: N_("待上架"), HostedState.STANDING.value: N_("托管中"),
    HostedState.OVER.value: N_("已到期"), HostedState.LEFT.value: N_("已取回"),
}  # fmt: skip


def _today() -> date:
    return reading().now.astimezone(settings().zone).date()


def code(one: HostedEquipment) -> str:
    """The state's code among all states."""
    return f"hosted_{one.state(_today()).value}"


def units(one: HostedEquipment) -> str | None:
    """The units of height that it takes: 10–11."""
    if one.u_from is None:
        return None
    return str(one.u_from) if one.height_u == 1 else f"{one.u_from}–{one.u_to}"


def whose(one: HostedEquipment) -> str:
    """Whose property it is: the department's, where nobody else is named."""
    return one.owner or one.department.name


def _state(query: Rows, value: str) -> Rows:
    return query.where(hosted.due(_today()) if value == DUE else hosted.in_state(HostedState(value), _today()))


COLUMNS = [
    Column("name", N_("名称"), lambda r: r.name, sort=HostedEquipment.name, href=lambda r: url_for("hosted.show", hosted_id=r.id), title=True),
    Column("state", N_("状态"), code, state=True),
    Column("kind", N_("类型"), lambda r: _(HOSTED_LABELS[r.kind]), code=lambda r: r.kind),
    Column("department", N_("使用单位"), lambda r: r.department.name, href=links.department(lambda r: r.department_id)),
    Column("owner", N_("产权方"), whose, minor=True),
    Column("system", N_("信息系统"), lambda r: r.system.name if r.system else None, href=links.system(lambda r: r.system_id), minor=True),
    Column("provider", N_("云服务商"), lambda r: r.provider.name, href=links.provider(lambda r: r.provider_id)),
    Column("room", N_("机房"), lambda r: r.room or None),
    Column("cabinet", N_("机柜"), lambda r: r.cabinet or None),
    Column("units", N_("U 位"), units),
    Column("height_u", N_("高度"), lambda r: r.height_u, unit="U", number=True, total=func.sum(HostedEquipment.height_u)),
    Column("power_w", N_("额定功率"), lambda r: r.power_w, unit=N_("瓦"), number=True, total=func.sum(HostedEquipment.power_w)),
    Column("asset_number", N_("资产编号"), lambda r: r.asset_number or None, minor=True),
    Column("serial", N_("序列号"), lambda r: r.serial or None, minor=True),
    Column("model", N_("品牌型号"), lambda r: r.model or None, minor=True),
    Column("agreement", N_("托管协议"), lambda r: r.agreement or None, minor=True),
    Column("ends_on", N_("托管到期日"), lambda r: r.ends_on, sort=HostedEquipment.ends_on, text=str),
    Column("left_on", N_("取回日期"), lambda r: r.left_on, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), _state, options=STATES),
    Filter("kind", N_("类型"), lambda q, v: q.where(HostedEquipment.kind == v), options=dict(HOSTED_LABELS)),
    Filter("place", N_("机房或机柜"), lambda q, v: q.where(frame.matching(v, HostedEquipment.room, HostedEquipment.cabinet))),
    Filter("q", N_("名称或编号"), lambda q, v: q.where(frame.matching(v, HostedEquipment.name, HostedEquipment.asset_number, HostedEquipment.serial))),
]  # fmt: skip


class HostedForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    department = ChoiceField(lazy(N_("使用单位")))
    provider = SelectField(lazy(N_("托管的云服务商")), coerce=int)
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=128)])
    kind = SelectField(
        lazy(N_("类型")), choices=[SelectChoice(one, lazy(label)) for one, label in HOSTED_LABELS.items()]
    )
    asset_number = StringField(lazy(N_("资产编号")), [Length(max=64)])
    serial = StringField(lazy(N_("序列号")), [Length(max=64)])
    model = StringField(lazy(N_("品牌型号")), [Length(max=128)])
    owner = StringField(
        lazy(N_("产权方")), [Length(max=128)], description=lazy(N_("归本单位所有的不填；租用等写明所有者"))
    )
    agreement = StringField(lazy(N_("托管协议")), [Length(max=128)], description=lazy(N_("合同或协议的编号")))
    system = ChoiceField(lazy(N_("信息系统")))
    height_u = IntegerField(
        lazy(N_("高度（U）")), [InputRequired(lazy(N_("请填写高度"))), NumberRange(1, hosted.CABINET_U)]
    )
    power_w = IntegerField(
        lazy(N_("额定功率（瓦）")), [InputRequired(lazy(N_("请填写额定功率"))), NumberRange(0, hosted.MOST_POWER_W)]
    )
    ends_on = DateField(
        lazy(N_("托管到期日")), [InputRequired(lazy(N_("请填写托管到期日")))], description=lazy(N_("托管的最后一天"))
    )
    reason = TextAreaField(lazy(N_("更正或续期的依据")), [Length(max=2000)])

    def facts(self) -> dict[str, Any]:
        told = {name: self._fields[name].data for name in HOSTED_FIELDS if name != "system_id"}
        return {**told, "system_id": self.system.data or None}


class PlacingForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    room = StringField(lazy(N_("机房")), [InputRequired(lazy(N_("请填写机房"))), Length(max=64)])
    cabinet = StringField(lazy(N_("机柜")), [InputRequired(lazy(N_("请填写机柜"))), Length(max=32)])
    u_from = IntegerField(lazy(N_("起始 U 位")), [InputRequired(lazy(N_("请填写起始 U 位"))), NumberRange(1, hosted.CABINET_U)],
                          description=lazy(N_("自下而上，最低的一个")))  # fmt: skip


class HostedLeavingForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    on = DateField(lazy(N_("日期")), [InputRequired(lazy(N_("请填写日期")))])
    note = TextAreaField(lazy(N_("取回的情况")), [InputRequired(lazy(N_("请写明取回的情况"))), Length(max=2000)])


def _rows(tx: Tx) -> Rows:
    one = HostedEquipment
    whole = (joinedload(one.department), joinedload(one.system), joinedload(one.provider))
    return select(one).where(hosted.visible(tx, actor())).options(*whole)


def _within(tx: Tx) -> set[int] | None:
    """The departments that the visitor looks at; None: all."""
    who = actor()
    return departments.subtree(tx, who.department_id or 0) if who.role is Role.TENANT else None


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    found = listing(tx, _rows(tx), COLUMNS, key=HostedEquipment.id, filters=FILTERS, sort="ends_on")
    return found.exported("hosted") or render_template("hosted/index.html", found=found)


@blueprint.get("/<int:hosted_id>")
@allow(*BUSINESS)
def show(hosted_id: int) -> str:
    tx = reading()
    one = hosted.equipment(tx, hosted_id)
    there = one.left_on is None
    return render_template(
        "hosted/show.html", one=one, code=code(one), kind=_(HOSTED_LABELS[one.kind]), units=units(one), whose=whose(one),
        keeps=there and hosted.keeps(tx, one.department_id), places=there and hosted.places(actor(), one.provider_id),
        history=events(audit.of(tx, one.subject, 50)),
    )  # fmt: skip


@blueprint.route("/new", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(HostedForm)
def enter() -> str | Response | tuple[str, int]:
    """Enter what a department has a company keep."""
    tx = reading()
    form = HostedForm(department=actor().department_id or 0, system=0, height_u=2, power_w=500)
    form.department.offer(tx, choices.departments(within=_within(tx)))
    form.system.offer(tx, choices.systems(within=_within(tx)), ("0", "—"))
    companies = select(CloudProvider.id, CloudProvider.name).where(CloudProvider.active).order_by(CloudProvider.id)
    form.provider.choices = [SelectChoice(str(id_), name) for id_, name in tx.execute(companies)]
    del form.reason

    def act() -> Response:
        with transaction() as writing:
            made = hosted.enter(writing, form.department.data, form.provider.data, form.facts())
        return done(_("已登记：%(name)s", name=made.name), "hosted.show", hosted_id=made.id)

    return answer(form, act, lambda: render_template("hosted/edit.html", form=form, one=None), Refused)


@blueprint.route("/<int:hosted_id>/edit", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(HostedForm)
def edit(hosted_id: int) -> str | Response | tuple[str, int]:
    """Correct what it is, or have it kept longer, with the reason."""
    tx = reading()
    one = hosted.equipment(tx, hosted_id)
    told = {name: getattr(one, name) for name in HOSTED_FIELDS if name != "system_id"}
    form = HostedForm(system=one.system_id or 0, **told)
    del form.department, form.provider
    form.system.offer(tx, choices.systems(within=_within(tx)), ("0", "—"))
    return act_on(
        form, one.generation,
        lambda writing: hosted.amend(writing, hosted_id, form.facts(), form.reason.data or "", generation=generation(form)),
        lambda: render_template("hosted/edit.html", form=form, one=one), _("已保存"), "hosted.show", hosted_id=hosted_id,
    )  # fmt: skip


@blueprint.route("/<int:hosted_id>/place", methods=["GET", "POST"])
@allow(Role.PROVIDER)
@takes(PlacingForm)
def place(hosted_id: int) -> str | Response | tuple[str, int]:
    """The company says where it stands."""
    one = hosted.equipment(reading(), hosted_id)
    form = PlacingForm(room=one.room, cabinet=one.cabinet, u_from=one.u_from)

    def act(tx: Tx) -> object:
        return hosted.place(
            tx, hosted_id, form.room.data, form.cabinet.data, form.u_from.data, generation=generation(form)
        )

    return act_on(
        form, one.generation, act, lambda: render_template("hosted/place.html", form=form, one=one),
        _("已登记位置"), "hosted.show", hosted_id=hosted_id,
    )  # fmt: skip


@blueprint.route("/<int:hosted_id>/leave", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(HostedLeavingForm)
def leave(hosted_id: int) -> str | Response | tuple[str, int]:
    """State that it was taken back."""
    one = hosted.equipment(reading(), hosted_id)
    form = HostedLeavingForm(on=_today())
    return act_on(
        form, one.generation, lambda tx: hosted.leave(tx, hosted_id, form.on.data, form.note.data or "", generation=generation(form)),
        lambda: render_template("hosted/leave.html", form=form, one=one), _("已取回"), "hosted.show", hosted_id=hosted_id,
    )  # fmt: skip


@frame.home_block(Role.PROVIDER, order=62)
def _to_place(tx: Tx, _who: Actor) -> str | None:
    """What is to be placed, and what is over and there still; nothing where there is none."""
    wanted = hosted.in_state(HostedState.ENTERED, _today()) | hosted.in_state(HostedState.OVER, _today())
    found, count = frame.shortened(
        tx, _rows(tx).where(wanted).order_by(HostedEquipment.ends_on, HostedEquipment.id), SHOWN
    )
    return render_template("hosted/_home.html", found=found, count=count, code=code) if found else None


@frame.finder(*BUSINESS, order=38)
def find(tx: Tx, _who: Actor, text: str, limit: int) -> list[frame.Hit]:
    """Equipment, by name or number."""
    one = HostedEquipment
    wanted = frame.matching(text, one.name, one.asset_number, one.serial)
    return [
        frame.Hit(N_("托管设备"), row.name, url_for("hosted.show", hosted_id=row.id), row.serial, code(row))
        for row in tx.scalars(_rows(tx).where(wanted).order_by(one.id.desc()).limit(limit))
    ]
