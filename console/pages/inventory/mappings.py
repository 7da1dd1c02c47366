"""列对照: what the columns of a pool's own sheets mean: proposed, corrected, tried on the file, kept, changed, ended."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import (
    BooleanField,
    FieldList,
    FloatField,
    FormField,
    IntegerField,
    SelectField,
    StringField,
    TextAreaField,
)
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import frame
from console.access import STEWARDS, allow, proven
from console.book import actor, book, lake, reading, settings, transaction
from console.forms import DateTimeLocalField, InnerForm, answer, done, hang, refuse_unfilled
from console.lists import Column, Filter, listing
from console.pages.inventory import uploads
from console.programs import asked, listed, takes
from console.security import row_or
from console.words import KINDS, _, lazy, sentence, state, who
from metering.intake import Imported, ListingReport, imports
from metering.workbench import Workbench
from providers import mappings
from providers.base import ResourceState, ServiceKind
from providers.mappings import SheetLook, SheetMapping, held_sheets, sheet_mappings
from providers.readers import ColumnMapping, Convention, SheetPurpose, column_mapping, sheet_purposes
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Department, Pool, System
from quota.directory import pool as pool_of
from quota.errors import N_, Invalid, Refused
from quota.units import Arch

blueprint = Blueprint("mappings", __name__, url_prefix="/inventories/mappings")
frame.page("providers", "mappings.index", N_("列对照"), order=86)

INVENTORY, USAGE, PURPOSES = sheet_purposes.INVENTORY, sheet_purposes.USAGE, sheet_purposes.PURPOSES
PURPOSE_LABELS = {INVENTORY.code: N_("清单"), USAGE.code: N_("用量")}

COLUMNS = [
    Column("pool", N_("资源池"), lambda m: m.pool.name, title=True, href=lambda m: url_for("mappings.show", mapping_id=m.id)),
    Column("file", N_("文件"), lambda m: m.seen["file"]),
    Column("purpose", N_("读作"), lambda m: _(PURPOSE_LABELS[m.columns.purpose]) if m.mapping else None),
    Column("columns", N_("读入的列"), lambda m: len(m.mapping.get("columns", ())), number=True),
    Column("version", N_("版本"), lambda m: m.version, number=True),
    Column("state", N_("状态"), lambda m: "mapping_in_force" if m.mapping else "mapping_ended", state=True),
    Column("by", N_("修改人"), lambda m: m.made_by, text=who),
    Column("at", N_("修改时间"), lambda m: m.made_at, sort=SheetMapping.made_at),
]  # fmt: skip
FILTERS = [
    Filter("q", N_("资源池"), lambda q, v: q.where(
        SheetMapping.pool_id.in_(select(Pool.id).where(frame.matching(v, Pool.name, Pool.code))))),
]  # fmt: skip


class EndForm(FlaskForm):  # type: ignore[misc]
    reason = TextAreaField(
        lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=sheet_mappings.LONGEST_REASON)]
    )


@dataclass(slots=True)
class MappingDesk:
    """What is being mapped: a sheet of ``pool``, read as ``purpose``: uploaded (``token``; a listing as of ``as_of``, usage with
    what else its page was told), delivered into its folder (``held``), or the one that a mapping was made from. ``before``: what
    is in force for its headings."""

    pool: Pool
    look: SheetLook
    purpose: SheetPurpose = INVENTORY
    token: str = ""
    as_of: datetime | None = None
    held: bool = False
    before: SheetMapping | None = None
    like: ColumnMapping | None = None
    departments: dict[str, str] = field(default_factory=dict)
    systems: dict[str, str] = field(default_factory=dict)

    @property
    def has_file(self) -> bool:
        return bool(self.token) or self.held


@blueprint.get("/")
@allow(*STEWARDS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    query = sheet_mappings.newest().options(joinedload(SheetMapping.pool))
    found = listing(tx, query, COLUMNS, key=SheetMapping.id, filters=FILTERS, sort="-at")
    waiting = held_sheets.waiting(tx)
    return found.exported("mappings") or render_template("mappings/index.html", rows=found, waiting=waiting)


@blueprint.get("/<int:mapping_id>")
@allow(*STEWARDS)
def show(mapping_id: int) -> str:
    """One version: what each column means, the words, the units; and the versions before and after it."""
    tx = reading()
    one = sheet_mappings.sheet_mapping(tx, mapping_id)
    versions = sheet_mappings.versions(tx, one.pool_id, one.header)
    fields = PURPOSES[one.columns.purpose].fields if one.mapping else {}
    return render_template(
        "mappings/show.html", one=one, versions=versions, newest=versions[0].id == one.id, fields=fields,
        mean=_mean, unit=_unit_label, columns=one.columns if one.mapping else None, look=one.look,
    )  # fmt: skip


@blueprint.route("/<int:mapping_id>/end", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@proven
@takes(EndForm)
def end(mapping_id: int) -> str | Response | tuple[str, int]:
    """Read such sheets by it no more."""
    one = sheet_mappings.sheet_mapping(reading(), mapping_id)
    form = EndForm()

    def act() -> Response:
        with transaction() as tx:
            sheet_mappings.end(tx, sheet_mappings.sheet_mapping(tx, mapping_id), form.reason.data)
        return done(_("列对照已停用"), "mappings.index")

    return answer(form, act, lambda: render_template("mappings/end.html", form=form, one=one), Refused)


class ColumnForm(InnerForm):
    head = StringField(lazy(N_("列的表头")), [InputRequired(), Length(max=200)])
    field = StringField(lazy(N_("读作的字段")), [InputRequired(), Length(max=64)])
    unit = StringField(lazy(N_("单位")), [Length(max=32)])


class WordForm(InnerForm):
    field = StringField(lazy(N_("字段")), [InputRequired(), Length(max=64)])
    said = StringField(lazy(N_("表中的写法")), [InputRequired(), Length(max=200)])
    means = StringField(lazy(N_("含义")), [InputRequired(), Length(max=64)])


class MappingForm(FlaskForm):  # type: ignore[misc]
    """What programs say: a file, or none for the sheet that waits in the pool's folder, and what its columns mean."""

    pool = IntegerField(lazy(N_("资源池")), [InputRequired()])
    purpose = SelectField(
        lazy(N_("文件")), choices=[SelectChoice(code, code) for code in PURPOSES], default=INVENTORY.code
    )
    file = FileField(lazy(N_("文件")))
    sheet = StringField(lazy(N_("工作表")), [Length(max=64)])
    as_of = DateTimeLocalField(lazy(N_("清单时点")), [Optional()])
    offset = FloatField(lazy(N_("时区偏移")), [Optional(), NumberRange(-16, 16)])
    register = BooleanField(lazy(N_("登记台账中没有的机器")))
    columns = FieldList(FormField(ColumnForm), max_entries=500)
    words = FieldList(FormField(WordForm), max_entries=1000)
    enter = BooleanField(lazy(N_("保存后即按它读入这个文件")))
    version = IntegerField(lazy(N_("所依据的列对照;没有则不填")), [Optional()])


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(MappingForm)
def draw() -> str | Response | tuple[str, int]:
    """What the columns of a sheet mean: proposed, corrected by a person, tried on the file, and kept. Of no sheet in
    particular: where one is handed in."""
    if asked.by_program():
        return _drawn(MappingForm())
    if not request.values.get("pool") and not request.values.get("mapping"):
        where = "usage_files" if request.values.get("purpose") == USAGE.code else "inventories"
        return redirect(url_for(f"{where}.upload"))
    with _desk(reading()) as (desk, path):
        proposed = mappings.looks.propose(
            desk.look, desk.departments, desk.systems,
            desk.before.columns if desk.before and desk.before.mapping else desk.like, desk.purpose,
        )  # fmt: skip
        chosen = _chosen(desk, proposed)
        form = _form(desk, chosen, proposed)
        found: ListingReport | Imported | None = None
        tried: ColumnMapping | None = None
        step = request.form.get("step", "")
        if request.method == "POST" and step != "look" and form.validate_on_submit():
            try:
                tried = _mapping(desk, form, chosen)
                if step in ("keep", "enter"):
                    return _kept(desk, tried, path, enters=step == "enter" and bool(desk.token))
                found = _tried(desk, tried, path)
            except Refused as refused:
                tried = None
                hang(form, refused)
        page = render_template(
            "mappings/draw.html", desk=desk, form=form, chosen=chosen, found=found, tried=tried, words=_word_fields(desk, chosen),
            fields=desk.purpose.fields, passed=_passed(desk), usage=desk.purpose is USAGE,
            report=uploads.told(found.report.files[0]) if found is not None and found.report.files else None,
        )  # fmt: skip
    return page, 422 if form.errors else 200


def _drawn(form: MappingForm) -> Response:
    """What a program says a sheet means, kept; and the sheet read by it where it says so."""
    refuse_unfilled(form, form.validate())
    columns = {one.form.field.data: one.form.head.data for one in form.columns}
    units = {one.form.field.data: one.form.unit.data for one in form.columns if one.form.unit.data}
    words: dict[str, dict[str, str]] = {}
    for one in form.words:
        words.setdefault(one.form.field.data, {})[one.form.said.data] = one.form.means.data
    if len(columns) != len(form.columns):
        raise Invalid("mapping.again", N_("一个字段只能由一列读入"), field="columns")
    token = ""
    if form.file.data is not None:
        token = uploads.kept(form.file.data, "").token
    with _desk(reading(), {**request.form.to_dict(), "token": token, "mapping": ""}) as (desk, path):
        wanted = column_mapping.mapping(desk.look.heads, columns, units, words, desk.purpose)
        return _kept(desk, wanted, path, enters=bool(form.enter.data))


# -------------------------------------------------------------------------------------------------- what is mapped


@contextmanager
def _desk(tx: Tx, said: Mapping[str, str] | None = None) -> Iterator[tuple[MappingDesk, Path | None]]:
    """The sheet that the address or the form names, and where it lies while the page is made.

    Raises NotFound or Invalid where it is no longer there, or is no table.
    """
    given = request.values if said is None else said
    purpose = PURPOSES.get(given.get("purpose", ""), INVENTORY)
    version = row_or(given.get("mapping", ""), 0)
    token, sheet = given.get("token", ""), given.get("sheet", "")
    if version:
        kept = sheet_mappings.sheet_mapping(tx, version)
        purpose = PURPOSES[kept.columns.purpose] if kept.mapping else purpose
        yield _laid(tx, pool_of(tx, kept.pool_id), kept.look, purpose), None
        return
    pool = pool_of(tx, row_or(given.get("pool", ""), 0))
    if token:
        with uploads.laid_out(uploads.kept(None, token)) as path:
            desk = _laid(tx, pool, mappings.looks.look(path, sheet, purpose), purpose)
            desk.token, desk.as_of = token, _moment(given.get("as_of", ""))
            yield desk, path
    else:
        with held_sheets.laid_out(held_sheets.held_sheet(tx, pool.id, purpose)) as path:
            desk = _laid(tx, pool, mappings.looks.look(path, sheet, purpose), purpose)
            desk.held, desk.as_of = True, tx.now
            yield desk, path


def _laid(tx: Tx, pool: Pool, look: SheetLook, purpose: SheetPurpose) -> MappingDesk:
    before = next(iter(sheet_mappings.versions(tx, pool.id, look.key(purpose))), None)
    like = next(iter(sheet_mappings.in_force(tx, pool.id, purpose)), None)
    departments = tx.execute(select(Department.code, Department.name).where(Department.active)).all()
    systems = tx.execute(select(System.code, System.name)).all()
    return MappingDesk(
        pool, look, purpose, before=before, like=like, departments=dict(departments), systems=dict(systems)
    )  # fmt: skip


def _passed(desk: MappingDesk) -> dict[str, str]:
    """What the page was told of its file, to be told it again with the form."""
    if not desk.has_file:
        return {"mapping": request.values.get("mapping", ""), "purpose": desk.purpose.code}
    names = ("offset", "register") if desk.purpose is USAGE else ("as_of",)
    more = {name: value for name in names if (value := request.values.get(name, ""))}
    return {
        "pool": str(desk.pool.id),
        "token": desk.token,
        "sheet": desk.look.sheet,
        "purpose": desk.purpose.code,
        **more,
    }


def _moment(text: str) -> datetime | None:
    """When an uploaded listing is of, as its page said."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=settings().zone) if text else None
    except ValueError:
        raise Invalid("mapping.as_of", N_("清单时点无法识别"), field="as_of") from None


# --------------------------------------------------------------------------------------------------------- the form


def _chosen(desk: MappingDesk, proposed: ColumnMapping) -> dict[int, str]:
    """Column's number → field, as the form has it, else as it is proposed."""
    look = desk.look
    by_head = {column_mapping.spelled(head): name for name, head in proposed.columns.items()}
    found: dict[int, str] = {}
    for n, column in enumerate(look.columns):
        name = request.form.get(f"column_{n}", by_head.get(column_mapping.spelled(column.head), ""))
        if name in desk.purpose.fields:
            found[n] = name
    return found


def _word_fields(desk: MappingDesk, chosen: dict[int, str]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """(field, heading, [(name of the form's field, what the sheet says)]) of the words that need a meaning."""
    found = []
    for n, name in chosen.items():
        if name not in desk.purpose.words and name not in desk.purpose.owners:
            continue
        column = desk.look.columns[n]
        codes = desk.departments if name == "department" else desk.systems
        known = desk.before.columns.words.get(name, {}) if desk.before is not None and desk.before.mapping else {}
        words = dict.fromkeys([*mappings.looks.unknown(name, column, codes),
                               *(one for one in column.values if column_mapping.spelled(one) in known)])  # fmt: skip
        if words:
            found.append((name, column.head, [(_word_field(name, said), said) for said in words]))
    return found


def _word_field(name: str, said: str) -> str:
    return f"word_{name}_{hashlib.blake2b(column_mapping.spelled(said).encode(), digest_size=6).hexdigest()}"


def _form(desk: MappingDesk, chosen: dict[int, str], proposed: ColumnMapping) -> Any:
    made: dict[str, Any] = {}
    begins: dict[str, Any] = {}
    for n, column in enumerate(desk.look.columns):
        choices = [
            SelectChoice("", _("不读入")),
            *(SelectChoice(name, _(label)) for name, label in desk.purpose.fields.items()),
        ]
        made[f"column_{n}"] = SelectField(column.head, [Optional()], choices=choices, validate_choice=True)
        begins[f"column_{n}"] = chosen.get(n, "")
        name = chosen.get(n, "")
        if name in desk.purpose.units:
            units = [
                SelectChoice("", _("请选择单位")),
                *(SelectChoice(one, _unit_label(one)) for one in desk.purpose.choices(name)),
            ]
            made[f"unit_{n}"] = SelectField(_("%(column)s：单位", column=column.head), [Optional()], choices=units)
            begins[f"unit_{n}"] = proposed.units.get(name, "") if proposed.columns.get(name) == column.head else ""
    for name, head, words in _word_fields(desk, chosen):
        for each, said in words:
            label = _("%(column)s：%(said)s", column=head, said=said)
            if name in desk.purpose.words:
                made[each] = SelectField(label, [Optional()], choices=_meanings(name))
            else:
                made[each] = StringField(label, [Optional(), Length(max=64)], render_kw={"list": f"{name}-codes"})
            begins[each] = proposed.words.get(name, {}).get(column_mapping.spelled(said), "")
    return type("MappingForm", (FlaskForm,), made)(data=begins)


def _unit_label(unit: str) -> str:
    """A unit as people choose it."""
    labels = {
        sheet_purposes.WRITTEN: N_("写在每个数值后面"),
        sheet_purposes.SHARE: N_("0 到 1 之间的比例"),
        "UTC+8": N_("北京时间"),
    }
    return _(labels[unit]) if unit in labels else unit


def _meanings(name: str) -> list[SelectChoice]:
    words: list[tuple[str, str]] = {
        "state": [(one.value, _(state(one.value).label)) for one in ResourceState],
        "kind": [(one.value, _(KINDS[one])) for one in ServiceKind if one is not ServiceKind.PROJECT],
        "arch": [(one.value, one.value) for one in Arch],
        "metric": [(mean, _metric(mean)) for mean in sheet_purposes.METRIC_MEANINGS],
    }[name]
    return [SelectChoice("", _("请选择")), *(SelectChoice(*one) for one in words),
            SelectChoice(sheet_purposes.LEFT_OUT, _("这样的行不读入"))]  # fmt: skip


def _metric(mean: str) -> str:
    name, unit = sheet_purposes.metric_label(mean)
    return f"{_(name)} {_unit_label(unit)}".rstrip()


def _mean(name: str, mean: str) -> str:
    """What a word means, as the page of a mapping has it."""
    if mean == sheet_purposes.LEFT_OUT:
        return _("这样的行不读入")
    if name == "state":
        return _(state(mean).label)
    if name == "metric":
        return _metric(mean)
    return _(KINDS[ServiceKind(mean)]) if name == "kind" else mean


def _mapping(desk: MappingDesk, form: Any, chosen: dict[int, str]) -> ColumnMapping:
    """The mapping that the form says. Raises Invalid, its ``field`` the form's, for what makes no sense or isn't said."""
    columns: dict[str, str] = {}
    units: dict[str, str] = {}
    at: dict[str, int] = {}
    for n, name in chosen.items():
        if name in columns:
            raise Invalid(
                "mapping.twice", N_("“%(one)s”和“%(other)s”不能都读作%(name)s"), one=columns[name],
                other=desk.look.columns[n].head, name=desk.purpose.fields[name], field=f"column_{n}",
            )  # fmt: skip
        columns[name], at[name] = desk.look.columns[n].head, n
        if f"unit_{n}" in form:
            units[name] = form[f"unit_{n}"].data or ""
    words: dict[str, dict[str, str]] = {}
    for name, _head, said in _word_fields(desk, chosen):
        for each, word in said:
            mean = (form[each].data or "").strip()
            if not mean and name in desk.purpose.words:
                raise Invalid("mapping.meaning", N_("请说明“%(said)s”的含义"), said=word, field=each)
            codes = desk.departments if name == "department" else desk.systems
            if mean and name in desk.purpose.owners and mean not in codes:
                raise Invalid("mapping.code", N_("没有编码为“%(code)s”的单位或系统"), code=mean, field=each)
            if mean:
                words.setdefault(name, {})[word] = mean
    try:
        return column_mapping.mapping(desk.look.heads, columns, units, words, desk.purpose)
    except Invalid as refused:
        name = str(refused.params.get("field", ""))
        place = "unit" if refused.code == "mapping.unit" else "column"
        refused.params["field"] = f"{place}_{at[name]}" if name in at else ""
        raise


# ------------------------------------------------------------------------------------------------- trying and keeping


def _tried(desk: MappingDesk, wanted: ColumnMapping, path: Path | None) -> ListingReport | Imported | None:
    """What would come of the file; None where there is none to try it on."""
    if path is None:
        return None
    if desk.purpose is USAGE:
        return _import_usage(desk, path, write=False, mapping=wanted)
    return imports.import_inventory(
        book(),
        desk.pool,
        path,
        as_of=desk.as_of,
        actor=actor(),
        caution=settings().caution,
        write=False,
        mapping=wanted,
    )


def _import_usage(desk: MappingDesk, path: Path, *, write: bool, mapping: ColumnMapping | None = None) -> Imported:
    """The file of usage, by what its page was told of it besides. Raises Invalid for an offset that is none."""
    try:
        hours = float(request.values.get("offset") or "nan")
    except ValueError:
        raise Invalid("offset.absurd", N_("时区偏移过大"), field="") from None
    convention = Convention(utc_offset_s=None if hours != hours else round(hours * 3600))
    workbench = Workbench(book(), lake(), settings().data, caution=settings().caution)
    return imports.import_usage(
        workbench, desk.pool, [path], convention, register=request.values.get("register") in ("y", "1"), write=write,
        actor=actor(), mapping=mapping,
    )  # fmt: skip


def _kept(desk: MappingDesk, wanted: ColumnMapping, path: Path | None, *, enters: bool) -> Response:
    shown = row_or(request.form.get("version", ""), 0)
    with transaction() as tx:
        row = sheet_mappings.keep(tx, pool_of(tx, desk.pool.id), wanted, desk.look, before=shown)
        if desk.held:
            held_sheets.release(tx, desk.pool.id, desk.purpose)
        kept_id = row.id
    if enters and path is not None and desk.purpose is USAGE:
        return _usage_entered(desk, path, kept_id)
    if enters and path is not None:
        found = imports.import_inventory(
            book(), desk.pool, path, as_of=desk.as_of, actor=actor(), caution=settings().caution
        )
        uploads.forget(desk.token)
        if found.error is not None:
            flash(
                _("列对照已保存；清单没有入库：%(why)s", why=sentence(found.error.message, found.error.params)), "error"
            )
            return redirect(url_for("mappings.show", mapping_id=kept_id))
        held = found.drift is not None and found.drift.held
        flash(_("列对照已保存，清单已入库"), "success")
        if held:
            flash(_("清单已入库；其中所缺资源占比过大，未认定消失，请核实"), "warning")
        return redirect(url_for("inventories.index"))
    flash(_("列对照已保存；下一次采集按它读入") if desk.held else _("列对照已保存"), "success")
    return redirect(url_for("mappings.show", mapping_id=kept_id))


def _usage_entered(desk: MappingDesk, path: Path, kept_id: int) -> Response:
    brought = _import_usage(desk, path, write=True)
    uploads.forget(desk.token)
    error = brought.report.files[0].error if brought.report.files else None
    if error is not None:
        flash(_("列对照已保存；用量没有入湖：%(why)s", why=sentence(error.message, error.params)), "error")
        return redirect(url_for("mappings.show", mapping_id=kept_id))
    flash(_("列对照已保存；%(samples)s 个采样已入湖", samples=brought.samples), "success")
    return redirect(url_for("lake.index"))


@frame.home_block(Role.SUPERVISOR, order=41)
def _waiting(tx: Tx, _actor: Actor) -> str | None:
    """Sheets that wait to be told of; nothing where there is none."""
    rows = held_sheets.waiting(tx)
    return render_template("mappings/_home.html", rows=rows) if rows else None
