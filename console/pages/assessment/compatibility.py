"""信创 compatibility: what combinations of chip, system, database and middleware each company's cloud carries."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import BooleanField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import frame, links
from console.access import BUSINESS, allow
from console.book import actor, reading, transaction
from console.charts import timeline
from console.forms import DateField, answer, done
from console.lists import Column, Filter, listing
from console.pages.orders import company_filter
from console.programs import Given, listed, takes
from console.security import row
from console.words import _, lazy
from providers.assessment import CHIPS, FITNESS_LABELS, Combination, Fitness, compatibility
from quota.actors import Role
from quota.directory import CloudProvider
from quota.errors import N_, Refused

blueprint = Blueprint("compatibility", __name__, url_prefix="/compatibility")
frame.page("providers", "compatibility.index", N_("信创适配"), order=70)

FIELDS = {
    "fitness": N_("适配状态"), "certificate": N_("证书"), "valid_until": N_("有效期至"), "required": N_("全市要求"),
    "note": N_("说明"),
}  # fmt: skip


def code(combination: Combination) -> str:
    return f"fit_{combination.fitness}"


def _company(combination: Combination) -> str | None:
    """A company opens its own page alone."""
    return (
        links.to("provider", combination.provider_id)
        if actor().provider_id in (None, combination.provider_id)
        else None
    )


COLUMNS = [
    Column("chip", N_("芯片"), lambda c: c.chip, sort=Combination.chip,
           href=lambda c: url_for("compatibility.show", combination_id=c.id), title=True),
    Column("system", N_("操作系统"), lambda c: c.system, sort=Combination.system),
    Column("database", N_("数据库"), lambda c: c.database or None, sort=Combination.database),
    Column("middleware", N_("中间件"), lambda c: c.middleware or None, sort=Combination.middleware),
    Column("state", N_("适配状态"), code, sort=Combination.fitness, state=True),
    Column("until", N_("有效期至"), lambda c: c.valid_until, sort=Combination.valid_until),
    Column("required", N_("全市要求"), lambda c: c.required),
    Column("provider", N_("云服务商"), lambda c: c.provider.name, href=_company),
]  # fmt: skip
FILTERS = [
    Filter("chip", N_("芯片"), lambda q, v: q.where(Combination.chip == v), options={chip: chip for chip in CHIPS}),
    Filter("fitness", N_("适配状态"), lambda q, v: q.where(Combination.fitness == v),
           options={fitness.value: label for fitness, label in FITNESS_LABELS.items()}),
    Filter("q", N_("系统、数据库或中间件"), lambda q, v: q.where(
        frame.matching(v, Combination.system, Combination.database, Combination.middleware))),
]  # fmt: skip


class CombinationForm(FlaskForm):  # type: ignore[misc]
    provider = SelectField(lazy("云服务商"), coerce=int, choices=[])
    chip = SelectField(lazy("芯片"), choices=[SelectChoice(chip) for chip in CHIPS])
    system = StringField(lazy("操作系统"), [InputRequired(lazy("请填写操作系统")), Length(max=64)])
    database = StringField(lazy("数据库"), [Optional(), Length(max=64)])
    middleware = StringField(lazy("中间件"), [Optional(), Length(max=64)])
    fitness = SelectField(lazy("适配状态"), choices=[])
    certificate = StringField(lazy("证书编号"), [Optional(), Length(max=128)], description=lazy("已认证的填写"))
    valid_until = DateField(lazy("有效期至"), validators=[Optional()], description=lazy("已认证的填写"))
    required = BooleanField(lazy("全市要求"), description=lazy("勾选后计入信创适配指标"))
    note = TextAreaField(lazy("说明"), [Optional(), Length(max=2000)])


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS, args=("provider",))
def index() -> str | Response:
    tx = reading()
    query = select(Combination).options(joinedload(Combination.provider))
    filters = [*FILTERS, company_filter(tx, Combination.provider_id)]
    found = listing(tx, query, COLUMNS, key=Combination.id, filters=filters, sort="chip")
    return found.exported("compatibility") or render_template("compatibility/index.html", combinations=found)


@blueprint.get("/<int:combination_id>")
@allow(*BUSINESS)
def show(combination_id: int) -> str:
    tx = reading()
    combination = compatibility.combination(tx, combination_id)
    history = timeline(
        tx, f"combination:{combination.id}", {"compatibility.state": N_("登记适配状态")}, FIELDS,
        {"fitness": lambda raw: _(FITNESS_LABELS[Fitness(raw)])},
    )  # fmt: skip
    return render_template("compatibility/show.html", combination=combination, code=code(combination), history=history)


@blueprint.route("/edit", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(CombinationForm, args=(Given("of", int),))
def edit() -> str | Response | tuple[str, int]:
    """Say how a combination stands; ``?of=ID`` starts from a known one."""
    tx = reading()
    wanted = request.args.get("of", 0, row)
    known: dict[str, Any] = {}
    if wanted:
        combination = compatibility.combination(tx, wanted)
        names = (
            "chip",
            "system",
            "database",
            "middleware",
            "fitness",
            "certificate",
            "valid_until",
            "required",
            "note",
        )
        known = {"provider": combination.provider_id, **{name: getattr(combination, name) for name in names}}
    form = CombinationForm(data=known)
    rows = tx.execute(select(CloudProvider.id, CloudProvider.name).order_by(CloudProvider.name))
    form.provider.choices = [SelectChoice(str(id_), name) for id_, name in rows]
    form.fitness.choices = [SelectChoice(fitness.value, _(label)) for fitness, label in FITNESS_LABELS.items()]

    def act() -> Response:
        with transaction() as write:
            found = compatibility.state(
                write, form.provider.data, form.chip.data, form.system.data, Fitness(form.fitness.data),
                database=form.database.data or "", middleware=form.middleware.data or "",
                required=form.required.data, certificate=form.certificate.data or "",
                valid_until=form.valid_until.data, note=form.note.data or "",
            )  # fmt: skip
        return done(_("已登记"), "compatibility.show", combination_id=found.id)

    return answer(form, act, lambda: render_template("compatibility/edit.html", form=form), Refused)
