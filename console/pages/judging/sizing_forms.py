"""The fields of a sizing: a method, and the figures in which it is to differ from the method's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flask_wtf import FlaskForm
from wtforms import FloatField, SelectField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import Optional

from console.words import FIGURES, SPEEDS, _, lazy, policies
from metering.sizing import LIMITS, METHODS, OWN, Sizing, methods, sizing
from quota.errors import N_


def sizing_fields(prefix: str, now: str, *, optional: bool = False) -> dict[str, Any]:
    """The fields of a sizing by name, filled with the one called ``now`` ("" = none of its own, where that may be)."""
    one = sizing(now) if now else None
    methods = [SelectChoice(name, policies.method(name)) for name in METHODS]
    fields: dict[str, Any] = {
        prefix: SelectField(
            lazy(N_("定规格方法")),
            [Optional()],
            choices=[SelectChoice("", _("与全市相同")), *methods] if optional else methods,
            default=one.method if one else "",
        )
    }
    for name, (label, unit) in FIGURES.items():
        takers = [own for own in OWN.values() if name in own]
        values = sorted({f"{own[name]:g}" for own in takers}, key=float)
        fields[f"{prefix}_{name}"] = FloatField(
            f"{_(label)}{f' ({unit})' if unit else ''}",
            [Optional()],
            default=one.figures.get(name) if one else None,
            description=_("留空按方法自定(%(values)s)", values=_("、").join(values)),
            render_kw={"data-only-of": prefix, "data-only": " ".join(key for key, own in OWN.items() if name in own)},
        )
    fields[f"{prefix}_speed"] = SelectField(
        lazy(N_("当日扩容")),
        [Optional()],
        choices=[SelectChoice("", _("不用")), *(SelectChoice(key, _(label)) for key, label in SPEEDS.items())],
        default=one.speed if one else "",
    )
    return fields


def fields_of(form: FlaskForm, prefix: str) -> list[Any]:
    """The fields of one sizing, the method first."""
    return [form[prefix], *(form[f"{prefix}_{name}"] for name in FIGURES), form[f"{prefix}_speed"]]


def read(form: FlaskForm, prefix: str) -> str:
    """The name of the sizing that was filled in; "" where none was. Each figure that the method has no use for, or that
    is out of bounds, is told beside its field."""
    if any(field.errors for field in fields_of(form, prefix)):
        return ""  # told already
    method, speed = form[prefix].data or "", form[f"{prefix}_speed"].data or ""
    given = {name: form[f"{prefix}_{name}"].data for name in FIGURES}
    figures = {name: float(value) for name, value in given.items() if value is not None}
    wrong = dict(_wrong(method, figures, speed))
    for name, text in wrong.items():
        field = form[f"{prefix}_{name}"]
        field.errors = [*field.errors, text]
    if wrong or not method:
        return ""
    differing = {name: value for name, value in figures.items() if value != OWN[method][name]}
    return Sizing(method, differing, speed).name


def _wrong(method: str, figures: Mapping[str, float], speed: str) -> Iterator[tuple[str, str]]:
    for name, value in figures.items():
        least, most = LIMITS[name]
        if not method:
            yield name, _("请先选择方法")
        elif name not in OWN[method]:
            yield name, _("“%(method)s”不用这一项,请留空", method=policies.method(method))
        elif not least <= value <= most:
            yield name, _("须在%(least)s至%(most)s之间", least=f"{least:g}", most=f"{most:g}")
        elif name == "days" and value != int(value):
            yield name, _("须为整数")
    if speed and not methods.grows(method, speed):
        yield "speed", _("只有成本分位与默认方法能当日扩容,随时段的只有成本分位")
