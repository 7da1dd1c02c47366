"""Resource classes: everybody reads what can be held; the supervisor and the authority add classes and end them."""

from __future__ import annotations

from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from werkzeug.wrappers import Response
from wtforms import BooleanField, HiddenField, IntegerField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import frame
from console.access import BUSINESS, allow, proven
from console.book import reading, transaction
from console.forms import answer, done
from console.lists import Column, Filter, listing
from console.programs import listed, takes
from console.security import row_or
from console.words import _, lazy
from quota import resource_classes
from quota.actors import Role
from quota.audit import AuditRecord
from quota.db import Tx
from quota.errors import N_
from quota.ledger import Account, Holder
from quota.resource_classes import MOST_BASE, MOST_PARTS, ResourceClassRow
from quota.units import CLASSES, ClassCode, Group

blueprint = Blueprint("classes", __name__, url_prefix="/classes")
frame.page("requests", "classes.index", N_("资源类别"), order=45)

KEEPERS = (Role.SUPERVISOR, Role.AUTHORITY)
GROUPS = {
    Group.COMPUTE.value: N_("计算"),
    Group.STORAGE.value: N_("存储"),
    Group.NETWORK.value: N_("网络"),
    Group.SECURITY.value: N_("安全"),
    Group.DATABASE.value: N_("数据库"),
    Group.MIDDLEWARE.value: N_("中间件"),
    Group.AI.value: N_("人工智能"),
}
STATES = {"open": N_("在用"), "ended": N_("已停用")}
TRAITS = {
    "by_arch": N_("分架构"),
    "resizable": N_("可变更规格"),
    "measured": N_("有用量采集"),
    "recyclable": N_("可回收"),
}


class ClassForm(FlaskForm):  # type: ignore[misc]
    code = StringField(
        lazy(N_("代码")),
        [InputRequired(lazy(N_("请填写代码"))), Length(max=16)],
        description=lazy(N_("小写字母、数字和 _,增加后不能更改")),
    )
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=48)])
    name_en = StringField(lazy(N_("英文名称")), [Length(max=48)])
    group = SelectField(lazy(N_("能力分组")), [InputRequired()])
    unit = StringField(
        lazy(N_("显示单位")),
        [InputRequired(lazy(N_("请填写单位"))), Length(max=16)],
        description=lazy(N_("例如 GB、Mbps、套")),
    )
    base_unit = StringField(lazy(N_("记账单位")), [Length(max=16)], description=lazy(N_("留空即与显示单位相同")))
    factor = IntegerField(
        lazy(N_("换算")),
        [InputRequired(lazy(N_("请填写整数"))), NumberRange(1, MOST_BASE)],
        default=1,
        description=lazy(N_("一个显示单位等于多少个记账单位")),
    )
    whole = SelectField(lazy(N_("切片所属的整卡")), default="", description=lazy(N_("仅切片填写：它是哪一类卡的一份")))
    parts = IntegerField(lazy(N_("一张卡切为几份")), [Optional(), NumberRange(2, MOST_PARTS)])
    by_arch = BooleanField(lazy(N_("分架构")), description=lazy(N_("各芯片架构分别记账,互不调剂")))
    resizable = BooleanField(lazy(N_("可变更规格")), description=lazy(N_("已有资源可以增减它")))
    recyclable = BooleanField(lazy(N_("可回收")), default=True, description=lazy(N_("未使用的可以收回")))


class ProfilesForm(FlaskForm):  # type: ignore[misc]
    named = HiddenField()
    profiles = TextAreaField(
        lazy(N_("切片规格名")),
        [Length(max=4000)],
        description=lazy(N_("每行一个：MIG 规格、vNPU 模板、DCU 切分等，如 1g.10gb、vir04")),
    )


class EndClassForm(FlaskForm):  # type: ignore[misc]
    reason = TextAreaField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=2000)])


def standing(row: ResourceClassRow) -> str:
    return "class_ended" if row.ended_at else "class_open"


def traits(row: ResourceClassRow) -> str:
    return " · ".join(_(label) for name, label in TRAITS.items() if getattr(row, name)) or "—"


def counted(row: ResourceClassRow) -> str:
    """``1 GB = 1024 MiB``; the unit alone where the ledger counts in it."""
    if row.parts:
        return _(
            "1 %(unit)s = 1/%(parts)s %(whole)s",
            unit=_(row.shown_unit),
            parts=row.parts,
            whole=_(CLASSES[ClassCode(row.whole)].label),
        )
    return _(row.shown_unit) if row.factor == 1 else f"1 {_(row.shown_unit)} = {row.factor} {_(row.base_unit)}"


COLUMNS = [
    Column("name", N_("名称"), lambda r: _(r.name), sort=ResourceClassRow.name, title=True,
           href=lambda r: url_for("classes.show", class_id=r.id)),
    Column("code", N_("代码"), lambda r: r.code, sort=ResourceClassRow.code),
    Column("group", N_("能力分组"), lambda r: _(GROUPS[r.group]), code=lambda r: r.group, sort=ResourceClassRow.group),
    Column("unit", N_("计量单位"), counted),
    Column("traits", N_("特性"), traits),
    Column("profiles", N_("切片规格名"), lambda r: _("、").join(r.profiles.splitlines()) or None,
           code=lambda r: r.profiles.splitlines(), minor=True),
    Column("added", N_("增加"), lambda r: r.added_at, sort=ResourceClassRow.added_at, minor=True),
    Column("state", N_("状态"), standing, state=True),
]  # fmt: skip
FILTERS = [
    Filter("q", N_("名称或代码"), lambda q, v: q.where(
        frame.matching(v, ResourceClassRow.name, ResourceClassRow.code, ResourceClassRow.name_en))),
    Filter("group", N_("能力分组"), lambda q, v: q.where(ResourceClassRow.group == v), options=GROUPS),
    Filter("state", N_("状态"), lambda q, v: q.where(ResourceClassRow.ended_at.is_(None) if v == "open"
           else ResourceClassRow.ended_at.is_not(None)), options=STATES),
]  # fmt: skip


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    rows = listing(reading(), select(ResourceClassRow), COLUMNS, key=ResourceClassRow.id, filters=FILTERS, sort="group")
    return rows.exported("classes") or render_template("classes/index.html", rows=rows)


@blueprint.get("/<int:class_id>")
@allow(*BUSINESS)
def show(class_id: int) -> str:
    tx = reading()
    row = resource_classes.resource_class(tx, class_id)
    records = tx.scalars(
        select(AuditRecord).where(AuditRecord.subject == row.subject).order_by(AuditRecord.sequence.desc())
    )
    labels = {
        "resource_class.add": N_("增加"), "resource_class.end": N_("停用"), "resource_class.profiles": N_("登记切片规格名"),
    }  # fmt: skip
    return render_template(
        "classes/show.html", row=row, standing=standing(row), counted=counted(row), traits=traits(row),
        group=GROUPS[row.group], may_end=row.added_at is not None and row.ended_at is None,
        history=[
            {"at": one.at, "who": one.actor, "what": _(labels[one.action]), "reason": one.reason} for one in records
        ],
    )  # fmt: skip


@blueprint.route("/new", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(ClassForm)
def add() -> str | Response | tuple[str, int]:
    form = ClassForm()
    form.group.choices = [SelectChoice(code, _(label)) for code, label in GROUPS.items()]
    cards = [one for one in CLASSES.values() if one.group is Group.AI and not (one.ended or one.parts)]
    form.whole.choices = [SelectChoice("", "—"), *(SelectChoice(one.code, _(one.label)) for one in cards)]

    def act() -> Response:
        with transaction() as tx:
            row = resource_classes.add(
                tx, form.code.data.strip(), form.name.data, Group(form.group.data), form.unit.data,
                name_en=form.name_en.data or "", base_unit=form.base_unit.data or "", factor=form.factor.data,
                by_arch=form.by_arch.data, resizable=form.resizable.data, recyclable=form.recyclable.data,
                whole=form.whole.data or "", parts=form.parts.data or 0,
            )  # fmt: skip
        return done(_("已增加资源类别"), "classes.show", class_id=row.id)

    return answer(form, act, lambda: render_template("classes/add.html", form=form))


@blueprint.route("/<int:class_id>/profiles", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(ProfilesForm)
def profiles(class_id: int) -> str | Response | tuple[str, int]:
    """What clouds call the placement of one slice."""
    row = resource_classes.resource_class(reading(), class_id)
    form = ProfilesForm(profiles=row.profiles, named=row.named)

    def act() -> Response:
        with transaction() as writing:
            one = resource_classes.resource_class(writing, class_id)
            seen = row_or(form.named.data, -1) if form.named.data else None
            resource_classes.name_profiles(writing, one, form.profiles.data or "", seen)
        return done(_("已登记切片规格名"), "classes.show", class_id=class_id)

    return answer(form, act, lambda: render_template("classes/profiles.html", form=form, row=row))


@blueprint.route("/<int:class_id>/end", methods=["GET", "POST"])
@allow(*KEEPERS)
@proven
@takes(EndClassForm)
def end(class_id: int) -> str | Response | tuple[str, int]:
    tx = reading()
    row, form = resource_classes.resource_class(tx, class_id), EndClassForm()

    def act() -> Response:
        with transaction() as writing:
            resource_classes.end(writing, resource_classes.resource_class(writing, class_id), form.reason.data)
        return done(_("已停用:%(name)s", name=_(row.name)), "classes.show", class_id=class_id)

    return answer(form, act, lambda: render_template("classes/end.html", form=form, row=row, held=_held(tx, row)))


def _held(tx: Tx, row: ResourceClassRow) -> int:
    """How many departments hold something of it."""
    return (
        tx.scalar(
            select(func.count(Account.department_id.distinct())).where(
                Account.kind == row.code,
                Account.balance > 0,
                Account.holder.not_in([Holder.SUPPLY.value, Holder.FREE.value]),
            )
        )
        or 0
    )
