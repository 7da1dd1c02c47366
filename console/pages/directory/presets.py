"""规格预设: amounts that forms fill in under a name; the authority and the supervisor add them and end them."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import IntegerField, StringField
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console import frame
from console.access import BUSINESS, allow, proven
from console.book import reading, transaction
from console.forms import answer, done, sent_back
from console.lists import Column, Filter, listing
from console.programs import listed, takes
from console.words import _, amounts, lazy, who
from quota.actors import Role
from quota.directory import SizePreset, presets
from quota.errors import N_, Conflict, Invalid, WrongState
from quota.units import ACCELERATOR, BLOCK, CLASSES, MEMORY, VCPU, base_units

blueprint = Blueprint("presets", __name__, url_prefix="/size-presets")
frame.page("requests", "presets.index", N_("规格预设"), order=42)

KEEPERS = (Role.SUPERVISOR, Role.AUTHORITY)
NAMED = (VCPU, MEMORY, BLOCK, ACCELERATOR)
"""The classes that the form offers."""
STATES = {"open": N_("在用"), "ended": N_("已停用")}
COLUMNS = [
    Column("name", N_("名称"), lambda p: p.name, title=True),
    Column("amounts", N_("规格"), lambda p: amounts(p.takes())),
    Column("state", N_("状态"), lambda p: "class_ended" if p.ended_at else "class_open", state=True),
    Column("added", N_("增加"), lambda p: p.added_at, sort=SizePreset.id),
    Column("by", N_("增加人"), lambda p: p.added_by, text=who, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), lambda q, v: q.where(
        SizePreset.ended_at.is_(None) if v == "open" else SizePreset.ended_at.is_not(None)), options=STATES),
]  # fmt: skip


class PresetForm(FlaskForm):  # type: ignore[misc]
    name = StringField(lazy("名称"), [InputRequired(lazy("请填写名称")), Length(max=presets.LONGEST)])


for _code in NAMED:
    setattr(
        PresetForm,
        f"amount_{_code}",
        IntegerField(lazy(CLASSES[_code].label), [Optional(), NumberRange(0, 10_000_000)]),
    )


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    found = listing(tx, select(SizePreset), COLUMNS, key=SizePreset.id, filters=FILTERS, sort="-added")
    return found.exported("size-presets") or render_template(
        "presets/index.html", found=found, standing=presets.standing(tx) if tx.actor.role in KEEPERS else []
    )


@blueprint.route("/new", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(PresetForm)
def add() -> str | Response | tuple[str, int]:
    form = PresetForm()

    def act() -> Response:
        typed = {code: form[f"amount_{code}"].data or 0 for code in NAMED}
        with transaction() as tx:
            presets.add(
                tx, form.name.data, {code: base_units(code, figure) for code, figure in typed.items() if figure}
            )
        return done(_("已增加，申请表即可选用"), "presets.index")

    def page() -> str:
        return render_template("presets/add.html", form=form, named=NAMED, units=CLASSES)

    return answer(form, act, page, Invalid, Conflict)


@blueprint.post("/<int:preset_id>/end")
@allow(*KEEPERS)
@proven
@takes(None)
def end(preset_id: int) -> Response:
    """Offer it no more."""
    try:
        with transaction() as tx:
            presets.end(tx, preset_id)
    except WrongState as refused:
        return sent_back(refused, "presets.index")
    return done(_("已停用"), "presets.index")
