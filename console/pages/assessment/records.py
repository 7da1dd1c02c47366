"""What the steward records of companies: drills, backups, security events, certificates, the year-end review, vetoes."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.wrappers import Response
from wtforms import BooleanField, DecimalField, IntegerField, SelectField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import frame, links
from console.access import STEWARDS, allow
from console.book import reading, settings, transaction
from console.forms import DateField, hang
from console.lists import Column, Filter, listing
from console.words import _, lazy, who
from providers.assessment import CERTIFICATES, FORMS, LABELS, AssessmentRecord, RecordKind, records
from quota.actors import Role
from quota.directory import CloudProvider
from quota.errors import N_, Refused

blueprint = Blueprint("records", __name__, url_prefix="/assessment-records")
frame.page("providers", "records.index", N_("考核记录"), order=60)

READERS = (*STEWARDS, Role.PROVIDER)
FIGURES = {
    "count": N_("数量"), "due": N_("应备份"), "done": N_("成功"), "passed": N_("演练成功"), "certificate": N_("证书"),
    "points": N_("评分"),
}  # fmt: skip


def figures(one: AssessmentRecord) -> str | None:
    """What the record states, in words."""
    told = []
    for name, value in one.figures.items():
        shown = (_("是") if value else _("否")) if isinstance(value, bool) else value
        shown = _(CERTIFICATES[value]) if name == "certificate" else shown
        told.append(f"{_(FIGURES[name])} {shown}")
    return "；".join(told) or None


def code(one: AssessmentRecord) -> str:
    return "record_withdrawn" if one.withdrawal else "record_standing"


COLUMNS = [
    Column("kind", N_("类型"), lambda r: _(r.form.label), sort=AssessmentRecord.kind,
           href=lambda r: url_for("records.show", record_id=r.id), title=True),
    Column("state", N_("状态"), code, state=True),
    Column("provider", N_("云服务商"), lambda r: r.provider.name, href=links.provider(lambda r: r.provider_id)),
    Column("indicator", N_("指标"), lambda r: _(LABELS[r.form.indicator]) if r.form.indicator else None),
    Column("on", N_("日期"), lambda r: r.happened_on, sort=AssessmentRecord.happened_on),
    Column("until", N_("有效期至"), lambda r: r.valid_until, sort=AssessmentRecord.valid_until),
    Column("figures", N_("内容"), figures),
    Column("note", N_("依据"), lambda r: r.note, minor=True),
    Column("by", N_("记录人"), lambda r: r.recorded_by, text=who, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("kind", N_("类型"), lambda q, v: q.where(AssessmentRecord.kind == v),
           options={kind.value: form.label for kind, form in FORMS.items()}),
    Filter("q", N_("依据"), lambda q, v: q.where(frame.matching(v, AssessmentRecord.note))),
]  # fmt: skip


class RecordForm(FlaskForm):  # type: ignore[misc]
    provider = SelectField(lazy("云服务商"), coerce=int, choices=[])
    kind = SelectField(lazy("类型"), choices=[], validators=[InputRequired(lazy("请选择记录类型"))])
    happened_on = DateField(
        lazy("日期"), validators=[InputRequired(lazy("请填写日期"))], description=lazy("决定计入哪个月")
    )
    count = IntegerField(lazy("数量"), [Optional(), NumberRange(0, 10**6)], description=lazy("逾期漏洞的个数"))
    due = IntegerField(lazy("应备份次数"), [Optional(), NumberRange(0, 10**9)], description=lazy("备份任务统计填写"))
    done = IntegerField(lazy("成功次数"), [Optional(), NumberRange(0, 10**9)], description=lazy("备份任务统计填写"))
    passed = BooleanField(lazy("演练成功"))
    certificate = SelectField(lazy("证书"), choices=[], validators=[Optional()], description=lazy("合规证书填写"))
    valid_until = DateField(lazy("有效期至"), validators=[Optional()], description=lazy("合规证书填写"))
    points = DecimalField(
        lazy("评审得分"), [Optional(), NumberRange(0, 100)], description=lazy("年终评审填写，0 至 100")
    )
    note = TextAreaField(lazy("依据"), [InputRequired(lazy("请写明依据(文号、报告、日志)")), Length(max=4000)])

    def stated(self) -> dict[str, Any]:
        names = ("count", "due", "done", "passed", "certificate", "points")
        return {name: getattr(self, name).data for name in names}


class WithdrawForm(FlaskForm):  # type: ignore[misc]
    note = TextAreaField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=4000)])


@blueprint.get("/")
@allow(*READERS)
def index() -> str | Response:
    tx = reading()
    query = (
        select(AssessmentRecord)
        .where(records.visible(tx.actor))
        .options(joinedload(AssessmentRecord.provider), selectinload(AssessmentRecord.withdrawal))
    )
    found = listing(tx, query, COLUMNS, key=AssessmentRecord.id, filters=FILTERS, sort="-on")
    return found.exported("assessment-records") or render_template("records/index.html", records=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
def enter() -> str | Response | tuple[str, int]:
    tx = reading()
    form = RecordForm(happened_on=tx.now.astimezone(settings().zone).date(), count=1)
    rows = tx.execute(select(CloudProvider.id, CloudProvider.name).order_by(CloudProvider.name))
    form.provider.choices = [SelectChoice(str(id_), name) for id_, name in rows]
    form.kind.choices = [
        SelectChoice("", "—"),
        *(SelectChoice(kind.value, _(one.label)) for kind, one in FORMS.items() if kind is not RecordKind.WITHDRAWAL),
    ]
    form.certificate.choices = [
        SelectChoice("", "—"), *(SelectChoice(name, _(label)) for name, label in CERTIFICATES.items())
    ]  # fmt: skip
    if form.validate_on_submit():
        try:
            with transaction() as write:
                found = records.enter(
                    write, form.provider.data, RecordKind(form.kind.data), form.happened_on.data, form.note.data,
                    figures=form.stated(), valid_until=form.valid_until.data,
                )  # fmt: skip
        except Refused as refused:
            hang(form, refused)
        else:
            flash(_("已记录"), "success")
            return redirect(url_for("records.show", record_id=found.id))
    return render_template("records/enter.html", form=form), 422 if request.method == "POST" else 200


@blueprint.get("/<int:record_id>")
@allow(*READERS)
def show(record_id: int) -> str:
    tx = reading()
    one = records.record(tx, record_id)
    return render_template(
        "records/show.html", one=one, code=code(one), figures=figures(one), withdrawal=one.withdrawal,
        indicator=LABELS[one.form.indicator] if one.form.indicator else None,
    )  # fmt: skip


@blueprint.route("/<int:record_id>/withdraw", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
def withdraw(record_id: int) -> str | Response | tuple[str, int]:
    one = records.record(reading(), record_id)
    form = WithdrawForm()
    if form.validate_on_submit():
        try:
            with transaction() as tx:
                records.withdraw(tx, record_id, form.note.data)
        except Refused as refused:
            hang(form, refused)
        else:
            flash(_("已撤销"), "success")
            return redirect(url_for("records.show", record_id=record_id))
    return render_template("records/withdraw.html", form=form, one=one), 422 if request.method == "POST" else 200
