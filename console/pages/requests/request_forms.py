"""申请表单: what the form of each request kind asks for, now and to come; drafted and signed by two of the authority."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import flask
from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import DecimalField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import frame
from console.access import STEWARDS, allow, proven
from console.book import reading, settings, transaction
from console.forms import DateField, answer, done, given_up, signed, signing
from console.lists import Column, Filter, listing
from console.programs import listed, takes, unfit
from console.words import _, lazy, number
from quota.actors import Role
from quota.db import Tx
from quota.errors import N_, Invalid, NotFound
from quota.requests import KIND_LABELS, RequestField, RequestKind, declared, formbook, known

blueprint = Blueprint("request_forms", __name__, url_prefix="/request-forms")
frame.page("requests", "request_forms.index", N_("申请表单"), order=42)

COLUMNS = [
    Column("number", N_("编号"), lambda r: f"BD-{r.id:06d}", title=True, sort=formbook.RequestFormField.id,
           href=lambda r: url_for("request_forms.show", version_id=r.id)),
    Column("kind", N_("类型"), lambda r: _(KIND_LABELS[r.kind]), code=lambda r: r.kind, sort=formbook.RequestFormField.kind),
    Column("label", N_("名称"), lambda r: _(r.label)),
    Column("name", N_("字段代码"), lambda r: r.name, minor=True),
    Column("shape", N_("字段类型"), lambda r: _(formbook.SHAPE_LABELS[r.shape]), code=lambda r: r.shape),
    Column("demand", N_("要求"), lambda r: _(formbook.DEMAND_LABELS[r.demand]), code=lambda r: r.demand),
    Column("effective_from", N_("生效日期"), lambda r: r.effective_from, sort=formbook.RequestFormField.effective_from, text=str),
    Column("state", N_("状态"), lambda r: f"draft_{r.standing}", state=True),
]  # fmt: skip
FILTERS = [
    Filter("kind", N_("类型"), lambda q, v: q.where(formbook.RequestFormField.kind == v), options=KIND_LABELS),
    Filter("q", N_("名称或代码"), lambda q, v: q.where(frame.matching(v, formbook.RequestFormField.label, formbook.RequestFormField.name))),
]  # fmt: skip


class VersionForm(FlaskForm):  # type: ignore[misc]
    name = StringField(
        lazy(N_("字段代码")), [InputRequired(lazy(N_("请填写字段代码"))), Length(max=32)],
        description=lazy(N_("小写字母、数字和 _；审批规则的“已填写的字段”用它，不再更改")),
    )  # fmt: skip
    shape = SelectField(lazy(N_("字段类型")))
    demand = SelectField(lazy(N_("要求")))
    label = StringField(
        lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=formbook.LONGEST_LABEL)],
        description=lazy(N_("申请表上的叫法；附件以它为种类")),
    )  # fmt: skip
    label_en = StringField(lazy(N_("英文名称")), [Length(max=2 * formbook.LONGEST_LABEL)])
    hint = StringField(lazy(N_("填写说明")), [Length(max=formbook.LONGEST_HINT)])
    hint_en = StringField(lazy(N_("英文填写说明")), [Length(max=2 * formbook.LONGEST_HINT)])
    unit = StringField(lazy(N_("计量单位")), [Length(max=16)], description=lazy(N_("仅数字填写")))
    least = DecimalField(lazy(N_("下限")), [Optional()], places=None, description=lazy(N_("仅数字填写，不填为不限")))
    most = DecimalField(lazy(N_("上限")), [Optional()], places=None, description=lazy(N_("仅数字填写，不填为不限")))
    choices = TextAreaField(
        lazy(N_("选项")), [Length(max=10_000)], description=lazy(N_("仅单选填写：每行一个，英文写在竖线后，如“专网 | Private network”"))
    )  # fmt: skip
    effective_from = DateField(lazy(N_("生效日期")), [InputRequired(lazy(N_("请填写生效日期")))])
    reason = TextAreaField(lazy(N_("制定依据")), [InputRequired(lazy(N_("请写明制定依据"))), Length(max=2000)])


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    """Every version and draft, and the way to each kind's form."""
    found = listing(
        reading(),
        select(formbook.RequestFormField),
        COLUMNS,
        key=formbook.RequestFormField.id,
        filters=FILTERS,
        sort="-number",
    )
    return found.exported("request-forms") or render_template(
        "request_forms/index.html", found=found, kinds=[kind for kind in known() if kind.by_itself]
    )


@blueprint.get("/kinds/<kind>")
@allow(*STEWARDS, Role.TENANT)
def of_kind(kind: str) -> str:
    """The form of a kind as it is today."""
    tx = reading()
    wanted = formbook.today(tx, _by_itself(kind))
    asked = [_row(wanted, one) for one in wanted.fields]
    asked += [
        (one.label, "", _(formbook.SHAPE_LABELS[formbook.FieldShape.ANNEX]), _demand(one.required), _(one.hint))
        for one in wanted.annexes
    ]
    return render_template("request_forms/kind.html", kind=wanted, asked=asked)


def _row(kind: RequestKind, field: RequestField) -> tuple[str, str, str, str, str]:
    """(name, code, what it is, whether it must be filled in, what to write) of a field on a form."""
    return field.label, field.name, _what(kind, field), _demand(field.required), _(field.hint) if field.hint else ""


def _what(kind: RequestKind, field: RequestField) -> str:
    if any(one.name == field.name for one in declared(kind.code).fields):
        return _(formbook.SHAPE_LABELS[formbook.FieldShape.DECLARED])
    if field.number is not None:
        shape = formbook.FieldShape.NUMBER
    elif field.choices is not None:
        return _("、").join(_(one) for one in field.choices.values())
    else:
        shape = (
            formbook.FieldShape.DAY
            if field.day
            else formbook.FieldShape.LONG
            if field.long
            else formbook.FieldShape.TEXT
        )
    return _(formbook.SHAPE_LABELS[shape])


def _demand(required: bool) -> str:
    return _(formbook.DEMAND_LABELS[formbook.FormDemand.REQUIRED if required else formbook.FormDemand.OPTIONAL])


def _by_itself(kind: str) -> RequestKind:
    found = declared(kind)
    if not found.by_itself:
        raise NotFound("request.kind", N_("没有这种申请"))
    return found


@blueprint.get("/<int:version_id>")
@allow(*STEWARDS, Role.TENANT)
def show(version_id: int) -> str:
    one = formbook.form_field(reading(), version_id)
    return render_template(
        "request_forms/show.html", one=one, kind=_(KIND_LABELS[one.kind]), told=_told(one),
        signing=signing(one, "request_forms.sign", "request_forms.withdraw", version_id=one.id),
    )  # fmt: skip


def _told(one: formbook.RequestFormField) -> list[tuple[str, Any]]:
    """What a version says, in words: (what of it, what)."""
    said = one.says()
    more: list[tuple[str, Any]] = [
        (_("英文名称"), said.label_en), (_("填写说明"), said.hint), (_("英文填写说明"), said.hint_en), (_("计量单位"), said.unit),
        (_("下限"), number(said.least) if said.least is not None else ""),
        (_("上限"), number(said.most) if said.most is not None else ""),
        (_("选项"), _("、").join(chinese for chinese, _other in said.choices)),
    ]  # fmt: skip
    return [
        (_("名称"), said.label), (_("字段代码"), said.name), (_("字段类型"), _(formbook.SHAPE_LABELS[said.shape])),
        (_("要求"), _(formbook.DEMAND_LABELS[said.demand])), *((label, value) for label, value in more if value),
        (_("生效日期"), str(one.effective_from)),
    ]  # fmt: skip


@blueprint.route("/kinds/<kind>/draft", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@unfit("who drafts signs, in person")
def draft(kind: str) -> str | Response | tuple[str, int]:
    """Draft a field, or what one is to be from a day on (``?name=``: as it is now); who drafts has signed."""
    tx, wanted = reading(), _by_itself(kind)
    form = VersionForm(data=_now(tx, wanted, flask.request.args.get("name", "")))
    form.shape.choices = [SelectChoice(code, _(label)) for code, label in formbook.SHAPE_LABELS.items()]
    form.demand.choices = [SelectChoice(code, _(label)) for code, label in formbook.DEMAND_LABELS.items()]

    def act() -> Response:
        said = {
            name: (form[name].data or "").strip() for name in ("name", "label", "label_en", "hint", "hint_en", "unit")
        }
        version = formbook.FieldVersion(
            **said, shape=formbook.FieldShape(form.shape.data), demand=formbook.FormDemand(form.demand.data), least=form.least.data,
            most=form.most.data, choices=formbook.choices_of(form.choices.data or ""),
        )  # fmt: skip
        with transaction() as writing:
            made = formbook.draft(
                writing, wanted.code, version, effective_from=form.effective_from.data, reason=form.reason.data or ""
            ).id
        return done(_("已起草并由您签署，另一人签署后自生效日期起施行"), "request_forms.show", version_id=made)

    return answer(form, act, lambda: render_template("request_forms/draft.html", form=form, kind=wanted), Invalid)


def _now(tx: Tx, kind: RequestKind, name: str) -> dict[str, Any]:
    """What the form of a draft begins with: the field as it is asked for now."""
    tomorrow = tx.now.astimezone(settings().zone).date() + timedelta(days=1)
    start: dict[str, Any] = {
        "effective_from": tomorrow,
        "demand": formbook.FormDemand.OPTIONAL.value,
        "shape": formbook.FieldShape.TEXT.value,
    }
    said = formbook.newest(tx, kind, name)
    if said is not None:
        return {
            **start, "name": name, "shape": said.shape.value, "demand": said.demand.value, "label": said.label,
            "label_en": said.label_en, "hint": said.hint, "hint_en": said.hint_en, "unit": said.unit, "least": said.least,
            "most": said.most, "choices": "\n".join(" | ".join(filter(None, pair)) for pair in said.choices),
        }  # fmt: skip
    plain = next((one for one in kind.fields if one.name == name), None)
    if plain is None:
        return start
    demand = formbook.FormDemand.REQUIRED if plain.required else formbook.FormDemand.OPTIONAL
    return {**start, "name": name, "shape": "", "demand": demand.value, "label": plain.label, "hint": plain.hint}


@blueprint.post("/<int:version_id>/sign")
@allow(Role.AUTHORITY)
@proven
@unfit("two people sign in person, each having looked at the page")
def sign(version_id: int) -> Response:
    """The second signature enacts."""
    return signed(
        lambda tx: formbook.sign(tx, version_id),
        _("已签署，表单自生效日期起施行"),
        "request_forms.show",
        version_id=version_id,
    )


@blueprint.post("/<int:version_id>/withdraw")
@allow(Role.AUTHORITY)
@takes(None)
def withdraw(version_id: int) -> Response:
    """Give a draft up."""
    return given_up(lambda tx: formbook.withdraw(tx, version_id), "request_forms.show", version_id=version_id)
