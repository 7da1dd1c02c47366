"""Shapes of bodies: a pydantic model of each form and of each list, made of the classes that the pages use, and how a body
that fits becomes what a form takes.

The models are the edge alone: they refuse what no form could read, and the description is drawn from them. Names are English
codes; descriptions are what the page says beside the field, in the reader's language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, cast

import sqlalchemy as sa
import wtforms
from flask_wtf.file import FileField, MultipleFileField
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from werkzeug.datastructures import MultiDict
from wtforms.fields.core import UnboundField
from wtforms.validators import DataRequired, InputRequired, Length, NumberRange

from console.choices import ChoiceField, ChoicesField
from console.lists import ALL, EXPORTS, MAX_PAGE, MOST_ROWS, Column, Filter
from console.programs import Given, Takes
from console.words import _
from quota.errors import N_

KEY = "key"
"""The field of a form that keeps the same form from being handed in twice: programs send it as Idempotency-Key."""
UNASKED = ("csrf_token", KEY)
FILES = (FileField, MultipleFileField, wtforms.FileField, wtforms.MultipleFileField)
MOMENT = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?$"
LONGEST = 20_000
"""Characters of a text whose form sets no bound."""
MOST = 1_000
"""Entries of a list in a body."""

SAID = {
    "missing": N_("请填写这一项"),
    "extra_forbidden": N_("没有这一项"),
    "literal_error": N_("不在可选项中"),
    "int_type": N_("请填写整数"),
    "int_parsing": N_("请填写整数"),
    "int_from_float": N_("请填写整数"),
    "string_type": N_("请填写文本"),
    "bool_type": N_("请填写 true 或 false"),
    "date_from_datetime_parsing": N_("请填写日期,如 2026-10-31"),
    "date_type": N_("请填写日期,如 2026-10-31"),
    "string_too_long": N_("内容过长"),
    "string_too_short": N_("请填写这一项"),
    "list_type": N_("请填写列表"),
}
"""What pydantic finds wrong → our words; anything else is said as pydantic says it."""


class Strict(BaseModel):
    """A body or a query: what it does not know it refuses, so that nothing is passed over in silence."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)


class Loose(BaseModel):
    """A query: its values come as text."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Open(BaseModel):
    """What is told: programs must expect more fields in later versions."""

    model_config = ConfigDict(extra="allow")


class Wrong(Open):
    """A place that a problem was found at."""

    field: str
    detail: str


class Problem(Open):
    """A refusal: nothing was changed. ``code`` is permanent."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str
    errors: list[Wrong]


class Done(Open):
    """What came of an act: what it says of itself, and the address of what it was about."""

    said: list[str]
    location: str | None


# -- forms ------------------------------------------------------------------------------------------------------------


def unbound(form: type) -> Iterator[tuple[str, UnboundField]]:
    """The fields of a form class, in the order in which they were declared."""
    found = [(name, getattr(form, name)) for name in dir(form) if not name.startswith("_")]
    fields = [(name, one) for name, one in found if isinstance(one, UnboundField)]
    yield from sorted(fields, key=lambda pair: pair[1].creation_counter)


def names_of(takes: Takes) -> set[str]:
    """Names of all that the act takes."""
    form = takes.made
    names = {one.name for one in takes.given} | {name for name, _field in (unbound(form) if form is not None else ())}
    return names - {*takes.sends, *takes.own}


def has_key(takes: Takes) -> bool:
    """Whether the form itself keeps the same from being handed in twice."""
    return KEY in names_of(takes)


def files_of(takes: Takes) -> list[str]:
    """Names of the files that the form takes."""
    form = takes.made
    return [name for name, one in unbound(form) if issubclass(one.field_class, FILES)] if form is not None else []


def body(name: str, takes: Takes, *, as_shown: bool) -> type[BaseModel]:
    """The model of what an act takes as JSON. ``as_shown``: it is done to a thing of some generation."""
    fields: dict[str, Any] = {}
    if (form := takes.made) is not None:
        fields |= _of_form(name, form)
    fields |= {one.name: _given(one) for one in takes.given}
    for sent in (*takes.sends, *takes.own, *(() if as_shown else ("generation",))):
        fields.pop(sent, None)
    return cast("type[BaseModel]", create_model(name, __base__=Strict, **fields))


def _of_form(name: str, form: type) -> dict[str, Any]:
    fields = {}
    for field_name, field in unbound(form):
        if field_name in UNASKED or issubclass(field.field_class, (wtforms.SubmitField, *FILES)):
            continue
        told = _type(f"{name}_{field_name}", field)
        about = _about(field)
        wanted = _required(field) and not issubclass(field.field_class, wtforms.BooleanField)
        if field_name == "generation":
            fields[field_name] = (int | None, Field(None, description=_(GENERATION)))
            continue
        taken = hasattr(Strict, field_name)  # what every model has by that name
        alias = field_name if taken else None
        within = f"{field_name}_" if taken else field_name
        fields[within] = (
            (told, Field(description=about, alias=alias))
            if wanted
            else (told | None, Field(None, description=about, alias=alias))
        )
    return fields


GENERATION = N_("对象的版本(generation);也可用 If-Match 给出")


def _arguments(field: UnboundField) -> tuple[str, Sequence[Any]]:
    """(label, validators) of a field that was not made yet."""
    of_others = issubclass(field.field_class, wtforms.FieldList | wtforms.FormField)
    args = field.args[1:] if of_others else field.args  # before the label they take what they are made of
    label = field.kwargs.get("label", args[0] if args else "")
    validators = field.kwargs.get("validators", args[1] if len(args) > 1 else ())
    return str(label or ""), validators or ()


def _about(field: UnboundField) -> str:
    label, _validators = _arguments(field)
    more = str(field.kwargs.get("description", "") or "")
    return _("；").join(filter(None, (label, more)))


def _required(field: UnboundField) -> bool:
    return any(isinstance(one, InputRequired | DataRequired) for one in _arguments(field)[1])


def _type(name: str, field: UnboundField) -> Any:
    """The type of a field's value in JSON."""
    made, validators = field.field_class, _arguments(field)[1]
    if issubclass(made, wtforms.FieldList):
        entry = field.args[0] if field.args else field.kwargs["unbound_field"]
        most = field.kwargs.get("max_entries") or MOST
        return Annotated[list[_type(name, entry)], Field(max_length=most)]  # type: ignore[misc]
    if issubclass(made, wtforms.FormField):
        inner = field.args[0] if field.args else field.kwargs["form_class"]
        return create_model(name, __base__=Strict, **_of_form(name, inner))
    if issubclass(made, wtforms.BooleanField):
        return bool
    if issubclass(made, wtforms.DateTimeLocalField):
        return Annotated[str, Field(pattern=MOMENT)]
    if issubclass(made, wtforms.DateField):
        return date
    if issubclass(made, wtforms.SelectMultipleField):
        return Annotated[list[_choice(field)], Field(max_length=MOST)]  # type: ignore[misc]
    if issubclass(made, wtforms.SelectField | wtforms.RadioField):
        return _choice(field)
    if issubclass(made, wtforms.IntegerField):
        return Annotated[int, Field(**_range(validators))]
    if issubclass(made, wtforms.DecimalField | wtforms.FloatField):
        return Annotated[Decimal, Field(**_range(validators))]
    longest = next((one.max for one in validators if isinstance(one, Length) and one.max and one.max > 0), LONGEST)
    return Annotated[str, Field(max_length=longest, min_length=1 if _required(field) else 0)]


def _range(validators: Sequence[Any]) -> dict[str, Any]:
    limits = next((one for one in validators if isinstance(one, NumberRange)), None)
    low = limits.min if limits is not None and limits.min is not None else -(10**15)
    high = limits.max if limits is not None and limits.max is not None else 10**15
    return {"ge": low, "le": high}


def _choice(field: UnboundField) -> Any:
    """What may be chosen: a code where the class says which there are, else a code or the number of a row of the book."""
    choices = field.kwargs.get("choices") or ()
    every = choices() if callable(choices) else choices
    values = [one.value if hasattr(one, "value") else one[0] for one in every]
    if (
        issubclass(field.field_class, ChoiceField | ChoicesField)
        or field.kwargs.get("coerce") is int
        or not isinstance(field.kwargs.get("coerce", str), type)
    ):
        return Annotated[int, Field(ge=0, le=2**31 - 1)]
    codes = [str(one) for one in values if str(one)]
    return Literal[tuple(codes)] if codes else Annotated[str, Field(max_length=200)]


def _given(given: Given) -> Any:
    if given.values:
        kind: Any = Literal[tuple(given.values)]
    elif given.kind is int:
        kind = Annotated[int, Field(ge=0, le=2**31 - 1)]
    elif given.kind is str:
        kind = Annotated[str, Field(max_length=given.longest or 4000, min_length=1 if given.required else 0)]
    else:
        kind = dict[str, Any] if given.kind is dict else given.kind
    if given.many:
        kind = Annotated[list[kind], Field(max_length=MOST)]
    label = GENERATION if given.name == "generation" else given.label
    about = _(label) if label else ""
    return (kind, Field(description=about)) if given.required else (kind | None, Field(None, description=about))


def args(name: str, given: Sequence[Given]) -> type[BaseModel]:
    """The model of what an act takes in its address."""
    return cast("type[BaseModel]", create_model(name, __base__=Loose, **{one.name: _given(one) for one in given}))


def fields_of(given: Mapping[str, Any], prefix: str = "") -> MultiDict[str, str]:
    """What a page's form would have sent for ``given``: ``{"lines": [{"item": 3}]}`` is ``lines-0-item=3``; nothing for null,
    and for a box that is not ticked."""
    found: MultiDict[str, str] = MultiDict()
    for name, value in given.items():
        _put(found, f"{prefix}{name}", value)
    return found


def _put(found: MultiDict[str, str], name: str, value: Any) -> None:
    if value is None or value is False:
        return
    if isinstance(value, Mapping):
        for inner, one in value.items():
            _put(found, f"{name}-{inner}", one)
    elif isinstance(value, list | tuple):
        for at, one in enumerate(value):
            _put(found, f"{name}-{at}" if isinstance(one, Mapping) else name, one)
    elif value is True:
        found.add(name, "1")
    elif isinstance(value, Decimal):
        found.add(name, format(value, "f"))
    else:
        found.add(name, value.isoformat() if isinstance(value, date | datetime) else str(value))


def joined(fields: MultiDict[str, str], given: Sequence[Given]) -> MultiDict[str, str]:
    """``fields`` with those of dictionaries named as their forms name them."""
    other = {f"{one.name}-": f"{one.name}{one.joint}" for one in given if one.joint != "-"}
    found: MultiDict[str, str] = MultiDict()
    for name, value in fields.items(multi=True):
        head = next((one for one in other if name.startswith(one)), "")
        found.add(other.get(head, "") + name.removeprefix(head), value)
    return found


def wrong(error: ValidationError) -> list[tuple[str, str]]:
    """(place, what is wrong there) of a body or a query that does not fit, in the reader's language."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [(".".join(str(part) for part in one["loc"]), _said(one["type"], one["msg"])) for one in found]


def _said(kind: str, otherwise: str) -> str:
    ours = SAID.get(kind)
    return _(ours) if ours else otherwise


# -- lists ------------------------------------------------------------------------------------------------------------


def query(
    name: str, filters: Sequence[Filter], columns: Sequence[Column], args: Sequence[Given], *, open_: bool
) -> Any:
    """The model of a list's query: its filters, order, page and size, or the form in which all of it is exported."""
    fields: dict[str, Any] = {one.name: _given(one) for one in args}
    for one in filters:
        about = Field(None, description=_(one.label), alias=one.key)
        if one.options:
            fields[_safe(one.key)] = (Literal[(ALL, *one.options)] | None, about)
        elif one.kind == "date":
            fields[_safe(one.key)] = (date | None, about)
        else:
            fields[_safe(one.key)] = (Annotated[str, Field(max_length=200)] | None, about)
    sorts = [way + one.key for one in columns if one.sort is not None for way in ("", "-")]
    if sorts:
        fields["sort"] = (Literal[tuple(sorts)] | None, Field(None, description=_("排序的列,倒序前加 -")))
    fields["page"] = (Annotated[int, Field(ge=1, le=MAX_PAGE)] | None, Field(None, description=_("第几页")))
    fields["size"] = (Annotated[int, Field(ge=1, le=MOST_ROWS)] | None, Field(None, description=_("每页行数")))
    fields["export"] = (Literal[EXPORTS] | None, Field(None, description=_("全部行的文件:csv、xlsx 或 parquet")))
    base = Open if open_ else Loose
    return create_model(name, __base__=base, **fields)


def _safe(key: str) -> str:
    return re.sub(r"\W", "_", key) if key.isidentifier() else f"of_{re.sub(r'[^A-Za-z0-9_]', '_', key)}"


def page(name: str, columns: Sequence[Column]) -> type[BaseModel]:
    """The model of a page of a list."""
    item = one(f"{name}Item", columns)
    return create_model(
        name,
        __base__=Open,
        items=(list[item], ...),  # type: ignore[valid-type]
        total=(int, ...),
        page=(int, ...),
        pages=(int, ...),
        size=(int, ...),
        sums=(dict[str, Any], ...),
    )


def one(name: str, columns: Sequence[Column]) -> type[BaseModel]:
    """The model of a row of a list; a column may be missing for readers that do not see it."""
    fields: dict[str, Any] = {
        "id": (int | str | None, Field(None)),
        "generation": (int | None, Field(None)),
        "links": (dict[str, str], Field(description=_("行内所指对象的地址"))),
    }
    for column in columns:
        fields[_safe(column.key)] = (_cell(column), Field(None, description=column.head, alias=column.key))
    return cast("type[BaseModel]", create_model(name, __base__=Open, **fields))


Scalar = str | int | float | bool | dict[str, Any] | list[Any] | None


def _cell(column: Column) -> Any:
    """The type of a column's value, where the column that it is sorted by, or its manner, says so."""
    if column.state:
        return str | None
    kind = getattr(column.sort, "type", None)
    if isinstance(kind, sa.DateTime) and column.key not in ("number",):
        return datetime | str | None
    if column.number:
        return int | float | str | None
    return Scalar


Model = type[BaseModel]
Maker = Callable[[], Model]
