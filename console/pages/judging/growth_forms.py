"""The fields of growth within the day beside CPU's: for each gauge whether it grows, when, by how much, up to where, and when it is given
back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField, FloatField, IntegerField
from wtforms.validators import Optional

from console.words import _, lazy, policies
from metering.judging import GAUGES, GrowthTerms, growth_terms
from quota.errors import N_

WHOLE = ("samples", "hold_hours")
FIGURES = {
    "level": N_("达到现规格的(%)"),
    "samples": N_("一小时12个样本中有几个达到"),
    "step": N_("扩到至少几倍"),
    "most": N_("至多原规格的几倍"),
    "calm": N_("低于原规格的(%)才归还"),
    "hold_hours": N_("至少保持几小时"),
}
"""Figure of `GrowthTerms` → what the form calls it."""

GIVING_BACK = ("calm", "hold_hours")
"""Figures of which what stays has no use."""


def growth_fields(growths: Sequence[GrowthTerms], prefix: str = "g") -> dict[str, Any]:
    """The fields by name, filled with what these say, else with the built-in figures."""
    fields: dict[str, Any] = {}
    for gauge, (terms, used) in _terms(growths).items():
        fields[f"{prefix}_{gauge}"] = BooleanField(policies.grows(gauge), default=used)
        for name, value in asdict(terms).items():
            if name in named(gauge):
                kind = IntegerField if name in WHOLE else FloatField
                fields[f"{prefix}_{gauge}_{name}"] = kind(lazy(FIGURES[name]), [Optional()], default=value)
    return fields


def _terms(growths: Sequence[GrowthTerms]) -> dict[str, tuple[GrowthTerms, bool]]:
    """Gauge → its terms, and whether they are laid down; else the built-in ones."""
    found = {one.gauge: (one, False) for one in growth_terms.DEFAULTS}
    return found | {one.gauge: (one, True) for one in growths}


def named(gauge: str) -> list[str]:
    """The figures that a gauge has use for, in the order in which they are read."""
    return [name for name in FIGURES if not (GAUGES[gauge].stays and name in GIVING_BACK)]


def rows(form: FlaskForm, prefix: str = "g") -> Iterator[tuple[Any, list[Any]]]:
    """Of each gauge: whether it grows, and its figures."""
    for gauge in GAUGES:
        yield form[f"{prefix}_{gauge}"], [form[f"{prefix}_{gauge}_{name}"] for name in named(gauge)]


def read(form: FlaskForm, growths: Sequence[GrowthTerms], prefix: str = "g") -> tuple[GrowthTerms, ...]:
    """What was filled in, in the order of the gauges. What makes no sense is told beside its field and left out."""
    found = []
    for gauge, (was, _used) in _terms(growths).items():
        fields = {name: form[f"{prefix}_{gauge}_{name}"] for name in named(gauge)}
        if not form[f"{prefix}_{gauge}"].data or any(field.errors for field in fields.values()):
            continue
        for name, field in fields.items():
            least, most = GAUGES[gauge].bounds(name)
            if field.data is None or not least <= field.data <= most:
                _say(field, _("须在%(least)s至%(most)s之间", least=f"{least:g}", most=f"{most:g}"))
        told = asdict(was) | {name: field.data for name, field in fields.items()}
        if any(field.errors for field in fields.values()):
            continue
        if told["calm"] >= told["level"]:
            _say(fields.get("calm", fields["level"]), _("须低于扩容的门槛"))
        elif told["most"] < told["step"]:
            _say(fields["most"], _("不得小于一次扩到的倍数"))
        else:
            found.append(GrowthTerms(**told))
    order = list(GAUGES)
    return tuple(sorted(found, key=lambda one: order.index(one.gauge)))


def _say(field: Any, text: str) -> None:
    field.errors = [*field.errors, text]
