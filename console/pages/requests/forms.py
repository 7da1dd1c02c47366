"""The form of a request, by what its kind declares, and how what was typed becomes an ask of the book."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from flask_wtf import FlaskForm
from sqlalchemy import select
from wtforms import FieldList, FormField, HiddenField, IntegerField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from console.forms import DateField, InnerForm
from console.words import KINDS, _, amounts, item_name, lazy
from providers.base import ServiceKind
from quota.db import Tx
from quota.directory import CatalogItem, Department, Pool, System, departments, presets
from quota.errors import N_, Invalid
from quota.inventory import Resource
from quota.requests import About, Ask, Line, Request, RequestField, RequestKind, Term, asks, kind_of
from quota.units import CLASSES, Arch, ClassCode, base_units, shown

MOST_LINES = 8


class LineForm(InnerForm):
    """One position of a new order: a shape of the catalogue, how many, and what it is for."""

    item = SelectField(lazy(N_("规格")), coerce=int, default=0)
    quantity = IntegerField(
        lazy(N_("数量")), [Optional(), NumberRange(1, 10_000, lazy(N_("数量须为 1 至 10000 的整数")))]
    )
    name = StringField(lazy(N_("用途")), [Length(max=96)])


class OwnShapeForm(InnerForm):
    """What is said of the pieces of a shape of one's own, as of those of the catalogue."""

    name = StringField(lazy(N_("用途")), [Length(max=96)])


class RequestForm(FlaskForm):  # type: ignore[misc]
    """What every request asks; ``form_class`` adds what its kind declares."""

    key = HiddenField()
    generation = HiddenField()
    system = SelectField(lazy(N_("信息系统")), coerce=int, default=0)
    lines = FieldList(FormField(LineForm), min_entries=0, max_entries=MOST_LINES)
    item = SelectField(lazy(N_("新规格")), coerce=int, default=0)
    preset = SelectField(lazy(N_("规格预设")), coerce=int, default=0)
    preset_amounts: Mapping[int, Mapping[ClassCode, int]] = MappingProxyType({})
    quantity = IntegerField(
        lazy(N_("自定义规格的数量")), [Optional(), NumberRange(1, 10_000, lazy(N_("数量须为 1 至 10000 的整数")))]
    )


def form_class(kind: RequestKind) -> type[RequestForm]:
    """The form of a request kind: a field for each amount that it may name, the term, and the fields that it declares."""
    fields: dict[str, Any] = {}
    low = -10_000_000 if kind.lines is not None and kind.lines.signed else 0
    for one in kind.lines.offered() if kind.lines is not None else ():
        fields[f"amount_{one}"] = IntegerField(
            lazy(CLASSES[one].label), [Optional(), NumberRange(low, 10_000_000, lazy(N_("请填写整数")))]
        )
    if kind.term is not Term.NONE:
        label, missing = N_("使用期限"), N_("请填写使用期限")
        if kind.about is About.TERM:
            label, missing = N_("新的使用期限"), N_("请填写新的使用期限")
        must = InputRequired(lazy(missing)) if kind.term is Term.REQUIRED else Optional()
        fields["use_until"] = DateField(lazy(label), [must])
    fields["justification"] = TextAreaField(
        lazy(kind.why.label), [InputRequired(lazy(kind.why.missing)), Length(max=4000)]
    )
    for more in kind.fields:
        missing_too = [InputRequired(lazy(N_("请填写这一项")))] if more.required and not more.each else []
        hint = lazy(more.hint) if more.hint else ""
        if more.offers is not None:
            fields[f"more_{more.name}"] = SelectField(
                lazy(more.label), missing_too, choices=[], validate_choice=False, description=hint
            )
            continue
        if more.choices is not None:
            known = [SelectChoice(code, lazy(label)) for code, label in more.choices.items()]
            fields[f"more_{more.name}"] = SelectField(
                lazy(more.label), missing_too, choices=[SelectChoice("", "—"), *known], default="", description=hint
            )
            continue
        if more.day:
            fields[f"more_{more.name}"] = DateField(lazy(more.label), missing_too or [Optional()], description=hint)
            continue
        field = TextAreaField if more.long else StringField
        fields[f"more_{more.name}"] = field(lazy(more.label), [*missing_too, Length(max=500)], description=hint)
    if kind.each:
        own = {f"more_{one.name}": _each(one) for one in kind.each}
        line = type(f"{kind.code.title()}LineForm", (LineForm,), own)
        fields["lines"] = FieldList(FormField(line), min_entries=0, max_entries=MOST_LINES)
        fields["own"] = FormField(type(f"{kind.code.title()}OwnForm", (OwnShapeForm,), own))
    return type(f"{kind.code.title()}Form", (RequestForm,), fields)


def _each(of: RequestField) -> Any:
    """The field of a line for what its kind lets each line say."""
    if of.choices is not None:
        known = [SelectChoice(code, lazy(label)) for code, label in of.choices.items()]
        return SelectField(lazy(of.label), choices=[SelectChoice("", "—"), *known], default="")
    return StringField(lazy(of.label), [Length(max=asks.LONGEST)])


def amount_fields(form: RequestForm) -> list[tuple[ClassCode, Any]]:
    """(kind, field) of every amount that the form asks for."""
    return [(kind, form[f"amount_{kind}"]) for kind in CLASSES if f"amount_{kind}" in form]


def offer(
    form: RequestForm, tx: Tx, department: Department, pool: Pool, kind: RequestKind, resource: Resource | None = None
) -> None:
    """Fill the choices: the department's systems, and what the catalogue offers on the pool's architecture. About a resource, only what
    fits it: an amount that such a thing cannot have, or that cannot be changed, is no field of its form."""
    if resource is not None:
        for code, field in amount_fields(form):
            fits = code in resource.can_have and CLASSES[code].resizable
            if not fits and not field.raw_data:  # what a program sends all the same is refused, not dropped
                del form[f"amount_{code}"]
    below = departments.subtree(tx, department.id)
    systems = tx.scalars(select(System).where(System.department_id.in_(below), System.active).order_by(System.name))
    form.system.choices = [SelectChoice("0", _("不指定")), *(SelectChoice(str(one.id), one.name) for one in systems)]
    items = [
        SelectChoice("0", "—"),
        *(SelectChoice(str(one.id), _shape(one)) for one in offered(tx, pool, kind, resource)),
    ]
    form.item.choices = items
    for more in kind.fields:
        if more.offers is not None:
            form[f"more_{more.name}"].choices = [
                SelectChoice("", "—"),
                *(SelectChoice(code, label) for code, label in more.offers(tx, pool).items()),
            ]
    if kind.lines is not None and kind.lines.pieces:
        while len(form.lines) < 3:
            form.lines.append_entry()
    for line in form.lines:
        line.item.choices = items
    _preset(form, tx)
    if not form.key.data:
        form.key.data = uuid4().hex


def _preset(form: RequestForm, tx: Tx) -> None:
    """Offer the presets all of whose amounts this form may name."""
    named = {one for one, _field in amount_fields(form)}
    fit = [one for one in presets.offered(tx) if named.issuperset(one.takes())] if named else []
    form.preset_amounts = {one.id: one.takes() for one in fit}
    told = [
        SelectChoice(str(one.id), _("%(name)s（%(more)s）", name=one.name, more=amounts(one.takes()))) for one in fit
    ]
    form.preset.choices = [SelectChoice("0", "—"), *told]


def offered(tx: Tx, pool: Pool, kind: RequestKind | None = None, resource: Resource | None = None) -> list[CatalogItem]:
    """The catalogue's active items on the pool's architecture that a request kind may ask for (of ``resource``), by service and size."""
    only = kind.lines.service if kind is not None and kind.lines is not None else ""
    only = resource.kind if resource is not None else only
    rows = tx.scalars(select(CatalogItem).where(CatalogItem.active).order_by(CatalogItem.service, CatalogItem.id))
    return [one for one in rows if one.offered_on(Arch(pool.arch)) and only in ("", one.service)]


def _shape(item: CatalogItem) -> str:
    return _("%(name)s（%(more)s）", name=f"{_(KINDS[item.service])} · {item_name(item)}", more=amounts(item.takes()))


def ask(
    form: RequestForm, kind: RequestKind, department: Department, pool: Pool, resource: Resource | None,
    extends: Request | None = None, entry_id: int | None = None,
) -> Ask:  # fmt: skip
    """What was typed, as the book takes it. Amounts in base units."""
    return Ask(
        kind=kind,
        department_id=department.id,
        pool_id=pool.id,
        lines=list(_lines(form, kind, resource)),
        justification=form["justification"].data or "",
        system_id=extends.system_id if extends else form.system.data or (resource.system_id if resource else None) or None,
        extends_id=extends.id if extends else None,
        entry_id=entry_id,
        resource_id=resource.id if resource else None,
        use_until=form["use_until"].data if "use_until" in form else None,
        fields={one.name: said for one in kind.fields if (said := str(form[f"more_{one.name}"].data or "").strip())},
        key=form.key.data or None,
    )  # fmt: skip


def _lines(form: RequestForm, kind: RequestKind, resource: Resource | None) -> Iterable[Line]:
    says = kind.lines
    if says is None:
        return
    typed = {one: base_units(one, field.data) for one, field in amount_fields(form) if field.data is not None}
    named = {**form.preset_amounts.get(form.preset.data or 0, {}), **typed}
    if form.preset.data and form.item.data:
        raise Invalid("request.item_or_amounts", N_("目录规格和自定义数量只能填一种"), field="preset")
    if kind.about is About.RESOURCE:
        if resource is not None:
            if kind.moves:
                yield asks.moved(resource, form.item.data or None, named)
            else:
                yield from _line_of(form, resource, named, wanted=says.wanted, stands=says.stands)
        return
    for number, line in enumerate(form.lines if says.pieces else (), start=1):
        said = _said(line.form, kind)
        if line.item.data:
            yield Line(
                item_id=line.item.data, quantity=line.quantity.data or 1, name=line["name"].data or "", fields=said
            )
        elif said:
            raise Invalid("request.line_empty", N_("第 %(n)s 行写了要求，没有选规格"), n=number, field="lines")
    said, name = (_said(form["own"].form, kind), form["own"]["name"].data or "") if "own" in form else ({}, "")
    if (said or name) and not any(named.values()):
        raise Invalid("request.own_empty", N_("自定义规格写了要求，没有填写数量"), field="quantity")
    if any(named.values()):
        amounts = {one: figure for one, figure in named.items() if figure}
        if says.pieces:
            service = says.service or ServiceKind.VM.value
            yield Line(asked=amounts, quantity=form.quantity.data or 1, service=service, name=name, fields=said)
        else:
            yield Line(asked=amounts)


def _said(form: Any, kind: RequestKind) -> dict[str, str]:
    """What a line says of what its kind lets each line say."""
    return {one.name: said for one in kind.each if (said := str(form[f"more_{one.name}"].data or "").strip())}


def _line_of(
    form: RequestForm, resource: Resource, named: Mapping[ClassCode, int], *, wanted: bool, stands: bool
) -> Iterable[Line]:
    """The one line about a resource: what it has, and what it shall have where the request kind says so, or (``stands``) what
    it has as what is asked for."""
    current, service = resource.counts(), resource.kind
    if stands:
        if resource.amounts:
            yield Line(asked=resource.actual(), service=service, name=resource.name)
    elif not wanted:
        yield Line(current=current, service=service, name=resource.name)
    elif form.item.data:
        yield Line(item_id=form.item.data, current=current, service=service, name=resource.name)
    elif named:
        yield Line(asked=named, current=current, service=service, name=resource.name)


def kept(request: Request) -> list[Line]:
    """Lines of shapes of one's own that the form has no place for, as a batch sheet may have several: it shows the first of them."""
    says = kind_of(request).lines
    own = [line for line in request.lines if line.item_id is None]
    return [asks.again(line) for line in own[1:]] if says is not None and says.pieces else []


def fill(form: RequestForm, request: Request) -> None:
    """Show what a draft says."""
    form.system.data = request.system_id or 0
    form["justification"].data = request.justification
    if "use_until" in form:
        form["use_until"].data = request.use_until
    form.key.data = request.key or uuid4().hex
    for name, value in request.fields.items():
        if f"more_{name}" in form:
            day = isinstance(form[f"more_{name}"], DateField)
            form[f"more_{name}"].data = date.fromisoformat(value) if day else value
    says, own_shapes = kind_of(request).lines, [line for line in request.lines if line.item_id is None]
    for line in request.lines:
        if line in own_shapes[1:]:
            continue
        if says is not None and line.item_id is not None:
            if says.pieces:
                own = {f"more_{name}": said for name, said in line.fields.items()}
                form.lines.append_entry({"item": line.item_id, "quantity": line.quantity, "name": line.name, **own})
            else:
                form.item.data = line.item_id
            continue
        for one, field in amount_fields(form):
            if one in line.asked:
                field.data = int(shown(one, line.asked[one]))
        form.quantity.data = line.quantity
        if "own" in form:
            form["own"]["name"].data = line.name
            for name, said in line.fields.items():
                form["own"][f"more_{name}"].data = said
    form.generation.data = str(request.generation)
