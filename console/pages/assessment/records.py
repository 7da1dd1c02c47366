"""What the steward records of whom it assesses: drills, backups, security events, certificates, the year-end review, vetoes."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.wrappers import Response
from wtforms import BooleanField, DecimalField, IntegerField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.fields.core import UnboundField
from wtforms.validators import InputRequired, Length, NumberRange, Optional, Regexp

from console import frame
from console.access import STEWARDS, allow
from console.book import reading, settings, transaction
from console.forms import DateField, answer, done
from console.lists import Column, Filter, listing
from console.programs import listed, takes
from console.words import _, lazy, who
from providers.assessment import (
    STEWARD,
    SUBJECT_LABELS,
    AssessmentRecord,
    CardSubject,
    FieldType,
    RecordField,
    SubjectType,
    formulas,
    periods,
    records,
    registry,
    whose,
)
from quota import attachments
from quota.actors import Role
from quota.db import Tx
from quota.directory import CloudProvider
from quota.errors import N_, Invalid, Refused

blueprint = Blueprint("records", __name__, url_prefix="/assessment-records")
frame.page("providers", "records.index", N_("考核记录"), order=60)

READERS = (*STEWARDS, Role.PROVIDER, Role.TENANT)
RECORDERS = (Role.SUPERVISOR, Role.AUTHORITY)
"""The authority of the steward, the supervisor of everybody else."""
LEAST = {FieldType.COUNT: 0, FieldType.POINTS: 0}
MOST = {FieldType.COUNT: 10**9, FieldType.POINTS: 100}
NAMED = (AssessmentRecord.provider, AssessmentRecord.department, AssessmentRecord.system)


def figures(record: AssessmentRecord) -> str | None:
    """What the record states, in words."""
    fields = {field.name: field for field in records.kind(record.kind).fields}
    told = {name: value for name, value in record.figures.items() if name != "item"}  # a code, said by its label
    return _("；").join(_said(fields.get(name), name, value) for name, value in told.items()) or None


def _said(field: RecordField | None, name: str, value: Any) -> str:
    if isinstance(value, bool):
        value = _("是") if value else _("否")
    elif field is not None and field.type is FieldType.CHOICE:
        value = _(field.choices.get(value, value))
    return f"{_(field.label) if field is not None else name} {value}"


def indicator(record: AssessmentRecord) -> str | None:
    """The label of the indicator that the record speaks for."""
    found = registry.indicator_of(record.kind)
    return found.label if found is not None else None


def code(record: AssessmentRecord) -> str:
    return "record_withdrawn" if record.withdrawal else "record_standing"


COLUMNS = [
    Column("kind", N_("类型"), lambda r: _(r.label), sort=AssessmentRecord.kind,
           href=lambda r: url_for("records.show", record_id=r.id), title=True),
    Column("state", N_("状态"), code, state=True),
    Column("whom", N_("被考核方"), lambda r: _(r.whose), code=lambda r: r.whose_code),
    Column("indicator", N_("指标"), lambda r: _(named) if (named := indicator(r)) else None),
    Column("on", N_("日期"), lambda r: r.happened_on, sort=AssessmentRecord.happened_on),
    Column("until", N_("有效期至"), lambda r: r.valid_until, sort=AssessmentRecord.valid_until),
    Column("figures", N_("内容"), figures),
    Column("note", N_("依据"), lambda r: r.note, minor=True),
    Column("by", N_("记录人"), lambda r: r.recorded_by, text=who, minor=True),
]  # fmt: skip


def _filters() -> list[Filter]:
    return [
        Filter("kind", N_("类型"), lambda q, v: q.where(AssessmentRecord.kind == v),
               options={kind.code: kind.label for kind in (*records.kinds(), records.BY_HAND, records.WITHDRAWAL)}),
        Filter("whom", N_("被考核方"), lambda q, v: q.where(whose.of_type(AssessmentRecord, SubjectType(v))),
               options={kind.value: label for kind, label in SUBJECT_LABELS.items()}),
        Filter("q", N_("依据"), lambda q, v: q.where(frame.matching(v, AssessmentRecord.note))),
    ]  # fmt: skip


class WhomForm(FlaskForm):  # type: ignore[misc]
    """Whom something is recorded of."""

    whom = SelectField(
        lazy("被考核方"), default=SubjectType.COMPANY.value,
        choices=[SelectChoice(kind.value, lazy(label)) for kind, label in SUBJECT_LABELS.items()],
        description=lazy("运营监督方自身的，由主管部门记录"),
    )  # fmt: skip
    provider = SelectField(lazy("云服务商"), [Optional()], coerce=int, choices=[])
    code = StringField(
        lazy("代码"), [Optional(), Length(max=32)],
        description=lazy("被考核方为使用单位或信息系统时填写其代码"),
    )  # fmt: skip

    def offer(self, tx: Tx) -> None:
        """Let people choose among companies."""
        rows = tx.execute(select(CloudProvider.id, CloudProvider.name).order_by(CloudProvider.name))
        self.provider.choices = [SelectChoice(str(id_), name) for id_, name in rows]

    def subject(self, tx: Tx) -> CardSubject:
        """Whom the form names. Raises Invalid for no company, or a code that nobody has."""
        kind = SubjectType(self.whom.data)
        if kind is SubjectType.COMPANY:
            if not self.provider.data:
                raise Invalid("subject.provider", N_("请选择云服务商"), field="provider")
            return CardSubject(kind, self.provider.data)
        return STEWARD if kind is SubjectType.STEWARD else whose.by_code(tx, kind, self.code.data or "")


class RecordForm(WhomForm):
    kind = SelectField(lazy("类型"), choices=[], validators=[InputRequired(lazy("请选择记录类型"))])
    happened_on = DateField(
        lazy("日期"), validators=[InputRequired(lazy("请填写日期"))], description=lazy("决定计入哪个月")
    )
    note = TextAreaField(lazy("依据"), [InputRequired(lazy("请写明依据(文号、报告、日志)")), Length(max=4000)])

    stated: tuple[str, ...] = ()
    """Names of the fields that kinds of record have of their own."""


def _form_class() -> type[RecordForm]:
    """The form with a field for whatever some kind of record states."""
    stated = {field.name: field for kind in records.kinds() for field in kind.fields}
    fields = {name: _field(field) for name, field in stated.items()}
    return type("RecordForm", (RecordForm,), {**fields, "stated": tuple(stated)})


def _field(field: RecordField) -> UnboundField:
    label, told = lazy(field.label), lazy(field.help) if field.help else ""
    if field.type is FieldType.YES:
        return BooleanField(label, description=told)
    if field.type is FieldType.UNTIL:
        return DateField(label, validators=[Optional()], description=told)
    if field.type is FieldType.CHOICE:
        choices = [SelectChoice("", "—"), *(SelectChoice(code, lazy(word)) for code, word in field.choices.items())]
        return SelectField(label, [Optional()], choices=choices, description=told)
    bounds = [Optional(), NumberRange(LEAST[field.type], MOST[field.type])]
    return (IntegerField if field.type is FieldType.COUNT else DecimalField)(label, bounds, description=told)


class WithdrawRecordForm(FlaskForm):  # type: ignore[misc]
    note = TextAreaField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=4000)])


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, _filters(), args=("provider",))
def index() -> str | Response:
    tx = reading()
    query = (
        select(AssessmentRecord)
        .where(records.visible(tx, tx.actor))
        .options(*map(joinedload, NAMED), selectinload(AssessmentRecord.withdrawal))
    )
    found = listing(tx, query, COLUMNS, key=AssessmentRecord.id, filters=_filters(), sort="-on")
    return found.exported("assessment-records") or render_template("records/index.html", records=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(*RECORDERS)
@takes(_form_class)
def enter() -> str | Response | tuple[str, int]:
    tx = reading()
    form = _form_class()(happened_on=tx.now.astimezone(settings().zone).date(), count=1)
    form.offer(tx)
    form.kind.choices = [
        SelectChoice("", "—"),
        *(SelectChoice(kind.code, _(kind.label)) for kind in records.kinds()),
    ]

    def act() -> Response:
        with transaction() as write:
            found = records.enter(
                write, form.subject(write), form.kind.data, form.happened_on.data, form.note.data,
                figures={name: form[name].data for name in form.stated},
                valid_until=form.valid_until.data if "valid_until" in form.stated else None,
            )  # fmt: skip
        return done(_("已记录"), "records.show", record_id=found.id)

    return answer(form, act, lambda: render_template("records/enter.html", form=form), Refused)


class ByHandForm(WhomForm):
    """What a formula has people score of somebody in a period."""

    period = StringField(
        lazy("期间"),
        [InputRequired(lazy("请填写期间")), Regexp(r"\d{4}-(\d{2}|Q[1-4])$", message=lazy("写作 2026-10 或 2026-Q4"))],
        description=lazy("写作 2026-10 或 2026-Q4"),
    )
    item = SelectField(lazy("评分项"), choices=[], validators=[InputRequired(lazy("请选择评分项"))],
                       description=lazy("本期适用的考核公式里由人评分、加分、扣减或否决的项目"))  # fmt: skip
    points = DecimalField(lazy("得分"), [Optional(), NumberRange(0, 1000)], description=lazy("否决事项不填"))
    note = TextAreaField(lazy("理由和依据"), [InputRequired(lazy("请写明依据(文号、报告、日志)")), Length(max=4000)])


@blueprint.route("/by-hand", methods=["GET", "POST"])
@allow(*RECORDERS)
@takes(ByHandForm)
def score_by_hand() -> str | Response | tuple[str, int]:
    tx = reading()
    form = ByHandForm(period=periods.before(periods.quarter_of(tx.now)))
    form.offer(tx)
    items = _items(formulas.enacted(tx))
    form.item.choices = [SelectChoice("", "—"), *(SelectChoice(code, label) for code, label in items.items())]

    def act() -> Response:
        with transaction() as write:
            found = records.score_by_hand(
                write, form.subject(write), form.period.data, form.item.data, form.points.data, form.note.data
            )
        return done(_("已评分"), "records.show", record_id=found.id)

    return answer(form, act, lambda: render_template("records/by_hand.html", form=form, items=items), Refused)


def _items(held: formulas.Enacted) -> dict[str, str]:
    """Code → label of all that some enacted formula has people say."""
    found: dict[str, str] = {}
    for one in held.versions:
        by = None if one.ends else one.formula()
        if by is not None:
            found |= {each.indicator: each.label for each in by.criteria if each.by_hand}
            found |= {
                code: _("%(name)s（%(more)s）", name=label, more=_("一票否决"))
                for code, label in (by.vetoes or {}).items()
                if label
            }
    return found


@blueprint.get("/<int:record_id>")
@allow(*READERS)
def show(record_id: int) -> str:
    tx = reading()
    record = records.record(tx, record_id)
    return render_template(
        "records/show.html", record=record, code=code(record), figures=figures(record), withdrawal=record.withdrawal,
        indicator=indicator(record), unproven=_unproven(tx, record),
        may_withdraw=tx.actor.role is records.recorder(record.subject),
    )  # fmt: skip


def _unproven(tx: Tx, record: AssessmentRecord) -> bool:
    """Whether it should have a proof, and stands without one."""
    wanted = records.kind(record.kind).proof and record.withdrawal is None
    return wanted and not attachments.of(tx, f"record:{record.id}")


@blueprint.route("/<int:record_id>/withdraw", methods=["GET", "POST"])
@allow(*RECORDERS)
@takes(WithdrawRecordForm)
def withdraw(record_id: int) -> str | Response | tuple[str, int]:
    record = records.record(reading(), record_id)
    form = WithdrawRecordForm()

    def act() -> Response:
        with transaction() as tx:
            records.withdraw(tx, record_id, form.note.data)
        return done(_("已撤销"), "records.show", record_id=record_id)

    return answer(form, act, lambda: render_template("records/withdraw.html", form=form, record=record), Refused)
