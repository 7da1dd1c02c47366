"""Departments as a tree: each with its people, systems, quota, resources and requests; entered, renamed, reorganised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import uuid4

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import ColumnElement, String, func, or_, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, IntegerField, SelectField, SelectMultipleField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import choices, frame
from console.access import STEWARDS, allow, proven
from console.book import actor, reading, settings, transaction
from console.charts import outlooks
from console.choices import ChoiceField, ChoicesField
from console.forms import answer, done
from console.founding import Look, checklist
from console.lists import Column, Filter, listing
from console.pages.quota import mine_or_any, wallets
from console.programs import Given, listed, takes
from console.words import _, lazy
from quota.actors import Role
from quota.db import Tx
from quota.directory import (
    DUTY_LABELS,
    LABELS,
    Adjustment,
    Department,
    Division,
    Duty,
    Person,
    Reorganisation,
    System,
    departments,
    headships,
    reorganisations,
)
from quota.errors import N_, Conflict, Invalid, OverCapacity, WrongState
from quota.inventory import Resource
from quota.requests import KIND_LABELS, OPEN, Request

blueprint = Blueprint("departments", __name__, url_prefix="/departments")
frame.page("quota", "departments.index", N_("使用单位"), order=50)

STATES = {"active": N_("启用"), "inactive": N_("停用")}


class DepartmentForm(FlaskForm):  # type: ignore[misc]
    code = StringField(lazy(N_("编码")), [InputRequired(lazy(N_("请填写编码"))), Length(max=32)])
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=128)])
    parent = ChoiceField(lazy(N_("上级单位")))


class NameForm(FlaskForm):  # type: ignore[misc]
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=128)])


class ReorganiseForm(FlaskForm):  # type: ignore[misc]
    key = HiddenField()
    kind = SelectField(lazy(N_("方式")))
    target = ChoiceField(lazy(N_("接收或上级单位")))
    systems = SelectMultipleField(lazy(N_("划转的信息系统")), coerce=int, description=lazy(N_("仅系统划转时选择")))
    reason = TextAreaField(lazy(N_("理由与依据文号")), [InputRequired(lazy(N_("请写明理由"))), Length(max=500)])

    def sent(self) -> list[tuple[str, object]]:
        """What the page of the consequences sends along."""
        single = [
            ("key", self.key.data),
            ("kind", self.kind.data),
            ("target", self.target.again),
            ("reason", self.reason.data),
        ]
        return [*single, *(("systems", one) for one in self.systems.data or ())]


class SplitForm(FlaskForm):  # type: ignore[misc]
    key = HiddenField()
    target = ChoiceField(lazy(N_("新单位")), description=lazy(N_("选已登记的须是空单位")))
    code = StringField(lazy(N_("编码")), [Length(max=32)], description=lazy(N_("仅登记新单位时填写")))
    name = StringField(lazy(N_("名称")), [Length(max=128)], description=lazy(N_("仅登记新单位时填写")))
    parent = ChoiceField(lazy(N_("上级单位")), description=lazy(N_("仅登记新单位时选择")))
    systems = SelectMultipleField(
        lazy(N_("转出的信息系统")), coerce=int, description=lazy(N_("其资源、案件、工单、申请和在用配额随之转出"))
    )
    people = SelectMultipleField(lazy(N_("转出的人员")), coerce=int)
    resources = ChoicesField(
        lazy(N_("转出的其他资源")),
        [Optional()],
        description=lazy(N_("未归入信息系统的资源；其案件、工单和在用配额随之转出")),
    )
    business = SelectMultipleField(
        lazy(N_("转出的其他在办事项")),
        description=lazy(N_("没有写明系统和资源的申请、运维请求，以及出借、远期承诺、挂牌、求借和架构换算")),
    )
    share = IntegerField(
        lazy(N_("未用配额的份额")),
        [Optional(), NumberRange(0, 100)],
        default=0,
        description=lazy(N_("百分数，各池各类分别折算，不足一份的留在原单位")),
    )
    reason = TextAreaField(lazy(N_("理由与依据文号")), [InputRequired(lazy(N_("请写明理由"))), Length(max=500)])

    def division(self) -> Division:
        chosen: dict[str, set[int]] = {
            "people": set(self.people.data or ()),
            "resources": set(self.resources.data or ()),
        }
        for one in self.business.data or ():
            mover, _slash, id_ = one.partition("/")
            chosen.setdefault(mover, set()).add(int(id_))
        return Division(
            {mover: frozenset(ids) for mover, ids in chosen.items()},
            self.share.data or 0,
            self.code.data or "",
            self.name.data or "",
            self.parent.data or None,
        )

    def sent(self) -> list[tuple[str, object]]:
        """What the page of the consequences sends along."""
        single = [("key", self.key.data), ("target", self.target.again), ("code", self.code.data), ("name", self.name.data),
                  ("parent", self.parent.again), ("share", self.share.data or 0), ("reason", self.reason.data)]  # fmt: skip
        several = [("systems", self.systems.data), ("people", self.people.data), ("business", self.business.data),
                   ("resources", self.resources.again)]  # fmt: skip
        return [*single, *((name, one) for name, data in several for one in data or ())]


def _today(tx: Tx) -> date:
    return tx.now.astimezone(settings().zone).date()


def _state(query: object, value: str) -> object:
    return query.where(Department.active.is_(value == "active"))  # type: ignore[attr-defined]


@dataclass(slots=True)
class Counts:
    """Of the departments that are shown: their superiors' names, and department id → how many of what it has."""

    names: dict[int, str] = field(default_factory=dict)
    people: dict[int, int] = field(default_factory=dict)
    systems: dict[int, int] = field(default_factory=dict)
    resources: dict[int, int] = field(default_factory=dict)
    heads: dict[int, str] = field(default_factory=dict)

    def read(self, tx: Tx, shown: Sequence[Department]) -> None:
        """Of ``shown`` alone; of all where none are, for an export."""

        def counted(model: type[System] | type[Resource] | type[Person], *where: ColumnElement[bool]) -> dict[int, int]:
            query = select(model.department_id, func.count()).where(model.department_id.is_not(None), *where)
            if shown:
                query = query.where(model.department_id.in_([one.id for one in shown]))
            return {one: count for one, count in tx.execute(query.group_by(model.department_id)) if one is not None}

        names = select(Department.id, Department.name)
        if shown:
            names = names.where(Department.id.in_({one.parent_id for one in shown if one.parent_id is not None}))
        self.names = dict(tx.execute(names).all())
        self.people = counted(Person, Person.active.is_(True))
        self.systems = counted(System, System.active.is_(True))
        self.resources = counted(Resource, Resource.gone_at.is_(None))
        had = headships.standing(tx, [one.id for one in shown] or tx.scalars(select(Department.id)).all(), _today(tx))
        self.heads = {one: by[Duty.HEAD].name for one, by in had.items() if Duty.HEAD in by}


def _columns(counts: Counts) -> list[Column]:
    return [
        Column("name", N_("名称"), lambda d: d.name, sort=Department.name, title=True,
               href=lambda d: url_for("departments.show", department_id=d.id)),
        Column("code", N_("编码"), lambda d: d.code, sort=Department.code),
        Column("parent", N_("上级单位"), lambda d: counts.names.get(d.parent_id)),
        Column("head", N_("负责人"), lambda d: counts.heads.get(d.id)),
        Column("people", N_("人员"), lambda d: counts.people.get(d.id, 0), number=True),
        Column("systems", N_("信息系统"), lambda d: counts.systems.get(d.id, 0), number=True,
               href=lambda d: url_for("systems.index", department=d.id)),
        Column("resources", N_("资源"), lambda d: counts.resources.get(d.id, 0), number=True),
        Column("state", N_("状态"), lambda d: "active" if d.active else "inactive", state=True),
    ]  # fmt: skip


@blueprint.get("/")
@allow(*STEWARDS)
@listed(
    (),
    args=("q", "state", "head"),
    open=True,
)
def index() -> str | Response:
    tx = reading()
    filters = [
        Filter("q", N_("名称或编码"), lambda q, v: q.where(frame.matching(v, Department.name, Department.code))),
        Filter("state", N_("状态"), _state, options=STATES, default="active"),  # type: ignore[arg-type]
        Filter("head", N_("负责人"), lambda q, _v: q.where(headships.headless(_today(tx))), options={"none": N_("未登记")}),
    ]  # fmt: skip
    counts = Counts()
    found = listing(tx, select(Department), _columns(counts), key=Department.id, filters=filters, sort="code")
    counts.read(tx, found.rows)
    return found.exported("departments") or render_template("departments/index.html", departments=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(DepartmentForm)
def register() -> str | Response | tuple[str, int]:
    form = DepartmentForm()
    form.parent.offer(reading(), choices.departments(), ("0", "—"))

    def act() -> Response:
        with transaction() as tx:
            parent = departments.department(tx, form.parent.data) if form.parent.data else None
            one = departments.register(tx, form.code.data, form.name.data, parent)
        return done(_("已登记：%(name)s", name=one.name), "departments.show", department_id=one.id)

    return answer(
        form, act, lambda: render_template("departments/register.html", form=form, one=None), Invalid, Conflict
    )


@blueprint.get("/<int:department_id>")
@allow(*STEWARDS, Role.TENANT)
def show(department_id: int) -> str:
    tx = reading()
    one = mine_or_any(tx, department_id)
    below = departments.subtree(tx, one.id)
    return render_template(
        "departments/show.html",
        one=one,
        forecast=outlooks.has_machines(tx, actor(), Resource.department_id.in_(below)),
        heads=headships.standing(tx, [one.id], _today(tx))[one.id].values(),
        duties=DUTY_LABELS,
        may_appoint=one.active and headships.may_write(tx, one.id),
        children=list(tx.scalars(select(Department).where(Department.parent_id == one.id).order_by(Department.name))),
        people=list(
            tx.scalars(select(Person).where(Person.department_id.in_(below), Person.active).order_by(Person.name))
        ),
        systems=list(
            tx.scalars(select(System).where(System.department_id.in_(below), System.active).order_by(System.name))
        ),
        wallets=wallets(tx, below),
        resources=tx.scalar(
            select(func.count())
            .select_from(Resource)
            .where(Resource.department_id.in_(below), Resource.gone_at.is_(None))
        ),
        requests=list(
            tx.scalars(select(Request).where(Request.department_id.in_(below), Request.state.in_(OPEN)).limit(20))
        ),
        kinds=KIND_LABELS,
        batches=list(
            tx.scalars(
                select(Reorganisation)
                .where(or_(Reorganisation.source_id == one.id, Reorganisation.target_id == one.id))
                .options(joinedload(Reorganisation.source), joinedload(Reorganisation.target))
                .order_by(Reorganisation.id.desc())
            )
        ),
        labels={kind.value: label for kind, label in LABELS.items()},
    )


@blueprint.route("/<int:department_id>/name", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(NameForm)
def rename(department_id: int) -> str | Response | tuple[str, int]:
    one = departments.department(reading(), department_id)
    form = NameForm(name=one.name)

    def renamed() -> Response:
        with transaction() as tx:
            departments.rename(tx, departments.department(tx, department_id), form.name.data)
        return done(_("已更名"), "departments.show", department_id=department_id)

    return answer(form, renamed, lambda: render_template("departments/register.html", form=form, one=one))


@blueprint.route("/<int:department_id>/reorganise", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@takes(ReorganiseForm, sends={"confirm": "1"})
def reorganise(department_id: int) -> str | Response | tuple[str, int]:
    """One batch; the first sending shows what it would move, the second (``confirm``) moves it."""
    tx = reading()
    one = departments.department(tx, department_id)
    form = ReorganiseForm()
    form.key.data = form.key.data or uuid4().hex
    form.kind.choices = [
        SelectChoice(kind.value, _(label)) for kind, label in LABELS.items() if kind is not Adjustment.SPLIT
    ]
    form.target.offer(tx, choices.departments(), ("0", _("—（无上级）")))
    owned = select(System.id, System.name).where(System.department_id == one.id).order_by(System.name)
    form.systems.choices = [SelectChoice(str(id_), name) for id_, name in tx.execute(owned)]

    def act() -> str | Response:
        kind, target = Adjustment(form.kind.data), form.target.data or None
        systems = form.systems.data if kind is Adjustment.SYSTEMS else []
        if not request.form.get("confirm"):
            what = reorganisations.preview(tx, kind, one.id, target, systems)
            receiver = tx.get(Department, target) if target else None
            return render_template(
                "departments/check.html", sent=form.sent(), one=one, what=what, label=LABELS[kind],
                target=receiver.name if receiver else "—", back=request.path,
            )  # fmt: skip
        with transaction() as writing:
            batch = reorganisations.reorganise(
                writing, kind, one.id, target, reason=form.reason.data, key=f"form:{form.key.data[:64]}",
                system_ids=systems,
            )  # fmt: skip
        return done(_("机构调整已完成，可在单位页撤销"), "departments.show", department_id=target or batch.source_id)

    def page() -> str:
        return render_template("departments/reorganise.html", form=form, one=one)

    return answer(form, act, page, Invalid, WrongState, OverCapacity, Conflict)


def _loose(department_id: int) -> choices.Choosable:
    """The department's resources that belong to no system."""
    name = func.coalesce(func.nullif(Resource.name, "", type_=String), Resource.external_id).label("name")
    there = Resource.department_id == department_id, Resource.system_id.is_(None), Resource.gone_at.is_(None)
    return select(Resource.id, Resource.external_id.label("code"), name).where(*there)


@blueprint.route("/<int:department_id>/split", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@takes(SplitForm, sends={"confirm": "1"})
def split(department_id: int) -> str | Response | tuple[str, int]:
    """One batch, as ``reorganise``: shown first, carried out when it is confirmed."""
    tx = reading()
    one = departments.department(tx, department_id)
    form = SplitForm(target=0, parent=one.parent_id or 0)
    form.key.data = form.key.data or uuid4().hex
    form.target.offer(tx, choices.departments(), ("0", _("登记新单位")))
    form.parent.offer(tx, choices.departments(), ("0", "—"))
    for chosen, owner in ((form.systems, System), (form.people, Person)):
        owned = select(owner.id, owner.name).where(owner.department_id == one.id).order_by(owner.name)
        chosen.choices = [SelectChoice(str(id_), name) for id_, name in tx.execute(owned)]
    form.resources.offer(tx, _loose(one.id))
    form.business.choices = [
        SelectChoice(key, f"{_(noun)} {called}") for key, noun, called in reorganisations.choosable(tx, one.id)
    ]

    def act() -> str | Response:
        target, division, systems = form.target.data or None, form.division(), form.systems.data or []
        if not request.form.get("confirm"):
            what = reorganisations.preview(tx, Adjustment.SPLIT, one.id, target, systems, division)
            receiver = departments.department(tx, target).name if target else division.name
            return render_template(
                "departments/check.html", sent=form.sent(), one=one, what=what, label=LABELS[Adjustment.SPLIT],
                target=receiver, back=request.path,
            )  # fmt: skip
        with transaction() as writing:
            batch = reorganisations.reorganise(
                writing, Adjustment.SPLIT, one.id, target, reason=form.reason.data, key=f"form:{form.key.data[:64]}",
                system_ids=systems, division=division,
            )  # fmt: skip
        return done(_("拆分已完成，可在单位页撤销"), "departments.show", department_id=batch.target_id)

    def page() -> str:
        return render_template("departments/split.html", form=form, one=one)

    return answer(form, act, page, Invalid, WrongState, OverCapacity, Conflict)


@blueprint.post("/reorganisations/<int:batch_id>/undo")
@allow(Role.AUTHORITY)
@proven
@takes(None, Given("reason", label=N_("理由")))
def undo(batch_id: int) -> Response:
    with transaction() as tx:
        batch = reorganisations.undo(tx, batch_id, reason=request.form.get("reason", "")[:500])
    flash(_("机构调整已撤销"), "success")
    return redirect(url_for("departments.show", department_id=batch.source_id))


@checklist.step("departments", N_("使用单位"), N_("登记使用单位及其上下级。"), Role.AUTHORITY,
                endpoint="departments.index", order=30)  # fmt: skip
def _registered(look: Look) -> bool:
    return look.tx.scalar(select(Department.id).where(Department.active).limit(1)) is not None
