"""到期台账: certificates, domain names and licences by their last days; vendors and their people, of whom who ended must be out."""

from __future__ import annotations

from datetime import date
from typing import Any

from flask import Blueprint, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from console import choices, frame, links
from console.access import STEWARDS, allow
from console.book import actor, reading, settings, transaction
from console.charts import timeline
from console.choices import ChoiceField
from console.forms import DateField, answer, done, generation
from console.lists import Column, Filter, Rows, listing
from console.programs import Given, listed, takes
from console.security import row
from console.words import _, lazy, names
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import DATED_FIELDS, DATED_LABELS, DatedEntry, DatedKind, DatedState, dated, departments
from quota.errors import N_, Refused

blueprint = Blueprint("dated", __name__, url_prefix="/dated")
frame.page("resources", "dated.index", N_("到期台账"), order=24)

READERS = (*STEWARDS, Role.TENANT)
KEEPERS = (Role.TENANT, Role.SUPERVISOR, Role.AUTHORITY)
SHOWN = 8
"""How many a block of the home page shows."""
PEOPLE = 50
"""Of a vendor's people, how many its page shows."""
DUE = "due"
STATES = {
    DUE: N_("30 天内到期或已到期"), DatedState.VALID.value: N_("有效"), DatedState.NEAR.value: N_("即将到期"),
    DatedState.OVER.value: N_("已到期"), DatedState.CLOSED.value: N_("已办结"),
}  # fmt: skip
ACTIONS = {"dated.enter": N_("登记"), "dated.amend": N_("更正或续期"), "dated.close": N_("办结")}


def _today() -> date:
    return reading().now.astimezone(settings().zone).date()


def code(one: DatedEntry) -> str:
    """The state's code among all states; of somebody who should be out, one that says so."""
    state = one.state(_today())
    inside = one.kind == DatedKind.ACCESS and state is DatedState.OVER
    return "dated_inside" if inside else f"dated_{state.value}"


def _state(query: Rows, value: str) -> Rows:
    return query.where(dated.due(_today()) if value == DUE else dated.in_state(DatedState(value), _today()))


COLUMNS = [
    Column("name", N_("名称"), lambda r: r.name, sort=DatedEntry.name, href=lambda r: url_for("dated.show", entry_id=r.id), title=True),
    Column("state", N_("状态"), code, state=True),
    Column("kind", N_("类型"), lambda r: _(DATED_LABELS[r.kind]), code=lambda r: r.kind),
    Column("number", N_("编号"), lambda r: r.number or None, minor=True),
    Column("vendor", N_("供应商"), lambda r: r.vendor.name if r.vendor else None),
    Column("department", N_("使用单位"), lambda r: r.department.name if r.department else None, href=links.department(lambda r: r.department_id)),
    Column("system", N_("信息系统"), lambda r: r.system.name if r.system else None, href=links.system(lambda r: r.system_id)),
    Column("grants", N_("内容"), lambda r: r.grants or None, minor=True),
    Column("login", N_("本系统账号"), lambda r: r.login or None, minor=True),
    Column("source", N_("来源"), lambda r: names.subject(r.source) if r.source else None, code=lambda r: r.source or None, minor=True,
           href=lambda r: links.address(r.source) if r.source else None),
    Column("ends_on", N_("到期日"), lambda r: r.ends_on, sort=DatedEntry.ends_on),
    Column("closed_on", N_("办结日期"), lambda r: r.closed_on, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), _state, options=STATES),
    Filter("kind", N_("类型"), lambda q, v: q.where(DatedEntry.kind == v), options=dict(DATED_LABELS)),
    Filter("q", N_("名称或编号"), lambda q, v: q.where(frame.matching(v, DatedEntry.name, DatedEntry.number, DatedEntry.login))),
]  # fmt: skip


class DatedForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    kind = SelectField(
        lazy(N_("类型")),
        choices=[SelectChoice(one, lazy(label)) for one, label in DATED_LABELS.items() if one not in dated.KEPT],
    )
    department = ChoiceField(lazy(N_("使用单位")))
    vendor = ChoiceField(lazy(N_("供应商")), description=lazy(N_("登记供应商人员权限时选择；其单位同供应商")))
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=256)],
                       description=lazy(N_("域名、软件、供应商或人员的名称")))  # fmt: skip
    number = StringField(lazy(N_("编号")), [Length(max=128)], description=lazy(N_("证书、合同或证件的编号")))
    system = ChoiceField(lazy(N_("信息系统")))
    grants = TextAreaField(
        lazy(N_("内容")), [Length(max=2000)], description=lazy(N_("供应商供应什么，人员可以访问什么"))
    )
    login = StringField(
        lazy(N_("本系统账号")), [Length(max=64)], description=lazy(N_("供应商人员在本系统有账号时填写"))
    )
    ends_on = DateField(
        lazy(N_("到期日")), [InputRequired(lazy(N_("请填写到期日")))], description=lazy(N_("有效的最后一天"))
    )
    reason = TextAreaField(lazy(N_("更正或续期的依据")), [Length(max=2000)])

    def facts(self) -> dict[str, Any]:
        told = {name: self._fields[name].data for name in DATED_FIELDS if name != "system_id"}
        return {**told, "system_id": self.system.data or None}


class DatedCloseForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    on = DateField(lazy(N_("日期")), [InputRequired(lazy(N_("请填写日期")))])
    note = TextAreaField(
        lazy(N_("如何核实")), [InputRequired(lazy(N_("请写明如何核实"))), Length(max=2000)],
        description=lazy(N_("人员退出的，写明账号停用、证件和设备收回的情况")),
    )  # fmt: skip


def _rows(tx: Tx) -> Rows:
    return (
        select(DatedEntry)
        .where(dated.visible(tx, actor()))
        .options(joinedload(DatedEntry.department), joinedload(DatedEntry.system), joinedload(DatedEntry.vendor))
    )


def _within(tx: Tx) -> set[int] | None:
    """The departments that the visitor looks at; None: all."""
    who = actor()
    return departments.subtree(tx, who.department_id or 0) if who.role is Role.TENANT else None


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS, args=("vendor", links.WATCHED))
def index() -> str | Response:
    tx = reading()
    query = _rows(tx)
    if vendor := request.args.get("vendor", 0, row):
        query = query.where(DatedEntry.vendor_id == vendor)
    filters = [*FILTERS, *links.watched(tx, DatedEntry)]
    found = listing(tx, query, COLUMNS, key=DatedEntry.id, filters=filters, sort="ends_on")
    if (file := found.exported("dated")) is not None:
        return file
    names.learn(one.source for one in found.rows)
    return render_template("dated/index.html", found=found)


@blueprint.get("/<int:entry_id>")
@allow(*READERS)
def show(entry_id: int) -> str:
    tx = reading()
    one = dated.entry(tx, entry_id)
    people, count = frame.shortened(
        tx, _rows(tx).where(DatedEntry.vendor_id == one.id).order_by(DatedEntry.ends_on, DatedEntry.id), PEOPLE
    )
    keeps = actor().role in KEEPERS and one.closed_on is None
    return render_template(
        "dated/show.html", one=one, code=code(one), kind=_(DATED_LABELS[one.kind]), keeps=keeps and one.kind not in dated.KEPT, amends=keeps and not one.source,
        people=people, count=count, state=code, vendor=one.kind == DatedKind.VENDOR, of_person=one.kind == DatedKind.ACCESS,
        source=names.subject(one.source) if one.source else None, history=timeline(tx, one.ref, ACTIONS, {}, {}),
    )  # fmt: skip


def _offer(tx: Tx, form: DatedForm) -> None:
    city = [] if actor().role is Role.TENANT else [("0", _("全市共用"))]
    form.department.offer(tx, choices.departments(within=_within(tx)), *city)
    form.system.offer(tx, choices.systems(within=_within(tx)), ("0", "—"))
    form.vendor.offer(tx, dated.vendors(tx), ("0", "—"))


@blueprint.route("/new", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(DatedForm, args=(Given("vendor", int),))
def enter() -> str | Response | tuple[str, int]:
    """Enter something that ends; ``?vendor=3`` one of its people."""
    tx = reading()
    vendor = request.args.get("vendor", 0, row)
    kind = DatedKind.ACCESS if vendor else DatedKind.CERTIFICATE
    form = DatedForm(kind=kind.value, vendor=vendor, system=0, department=actor().department_id or 0)
    _offer(tx, form)

    def act() -> Response:
        with transaction() as writing:
            made = dated.enter(
                writing, DatedKind(form.kind.data), form.department.data or None, form.facts(), form.vendor.data or None
            )
        return done(_("已登记：%(name)s", name=made.name), "dated.show", entry_id=made.id)

    return answer(form, act, lambda: render_template("dated/edit.html", form=form, one=None), Refused)


@blueprint.route("/<int:entry_id>/edit", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(DatedForm)
def edit(entry_id: int) -> str | Response | tuple[str, int]:
    """Correct or renew, with the reason."""
    tx = reading()
    one = dated.entry(tx, entry_id)
    told = {name: getattr(one, name) for name in DATED_FIELDS if name != "system_id"}
    form = DatedForm(generation=one.generation, system=one.system_id or 0, **told)
    del form.kind, form.department, form.vendor
    form.system.offer(tx, choices.systems(within=_within(tx)), ("0", "—"))

    def act() -> Response:
        with transaction() as writing:
            dated.amend(writing, entry_id, form.facts(), form.reason.data or "", generation=generation(form))
        return done(_("已保存"), "dated.show", entry_id=entry_id)

    return answer(form, act, lambda: render_template("dated/edit.html", form=form, one=one), Refused)


@blueprint.route("/<int:entry_id>/close", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(DatedCloseForm)
def close(entry_id: int) -> str | Response | tuple[str, int]:
    """State that it is over, or that the person is out."""
    one = dated.entry(reading(), entry_id)
    form = DatedCloseForm(generation=one.generation, on=_today())

    def act() -> Response:
        with transaction() as tx:
            dated.close(tx, entry_id, form.on.data, form.note.data or "", generation=generation(form))
        return done(_("已办结"), "dated.show", entry_id=entry_id)

    return answer(form, act, lambda: render_template("dated/close.html", form=form, one=one), Refused)


@frame.home_block(Role.AUTHORITY, Role.SUPERVISOR, Role.TENANT, order=62)
def due_dated(tx: Tx, _who: Actor) -> str | None:
    """What ends soon or has ended; nothing where there is none."""
    query = _rows(tx).where(dated.due(_today())).order_by(DatedEntry.ends_on, DatedEntry.id)
    found, count = frame.shortened(tx, query, SHOWN)
    return render_template("dated/_home.html", found=found, count=count, code=code, state=DUE) if found else None


@frame.finder(*READERS, order=38)
def find(tx: Tx, _who: Actor, text: str, limit: int) -> list[frame.Hit]:
    """What ends, by name or number."""
    wanted = frame.matching(text, DatedEntry.name, DatedEntry.number, DatedEntry.login)
    return [
        frame.Hit(
            _(DATED_LABELS[one.kind]), one.name, url_for("dated.show", entry_id=one.id), str(one.ends_on), code(one)
        )
        for one in tx.scalars(_rows(tx).where(wanted).order_by(DatedEntry.id.desc()).limit(limit))
    ]
