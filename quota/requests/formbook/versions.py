"""What a version of a field says, and the form that comes of the versions that count.

A version either names a field of the kind's declaration, which it calls otherwise or asks for otherwise, or is a field or an annex of the
city's own. Of a name the newest counts; what a name is (text, figure, …) never changes, so that every answer stays readable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any

from quota.errors import N_, Invalid
from quota.requests.declarations import NumberBounds, RequestAnnex, RequestField, RequestKind

NAME = re.compile(r"[a-z][a-z0-9_]{1,31}")
LONGEST_LABEL, LONGEST_HINT, LONGEST_UNIT, LONGEST_CHOICE, MOST_CHOICES = 48, 300, 16, 60, 50
FIGURE = re.compile(r"-?\d{1,12}(\.\d{1,4})?", re.ASCII)


class FieldShape(StrEnum):
    """What a field is. Stored, so never changed."""

    DECLARED = ""  # as the kind declares it
    TEXT = "text"
    LONG = "long"
    NUMBER = "number"
    DAY = "day"
    CHOICE = "choice"
    YES_NO = "yes_no"
    ANNEX = "annex"


SHAPE_LABELS: Mapping[str, str] = {
    FieldShape.DECLARED: N_("原有字段"),
    FieldShape.TEXT: N_("一行文字"),
    FieldShape.LONG: N_("多行文字"),
    FieldShape.NUMBER: N_("数字"),
    FieldShape.DAY: N_("日期"),
    FieldShape.CHOICE: N_("单选"),
    FieldShape.YES_NO: N_("是或否"),
    FieldShape.ANNEX: N_("附件"),
}


class FormDemand(StrEnum):
    """Whether a form asks for it. Stored, so never changed."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    DROPPED = "dropped"


DEMAND_LABELS: Mapping[str, str] = {
    FormDemand.REQUIRED: N_("必填"),
    FormDemand.OPTIONAL: N_("选填"),
    FormDemand.DROPPED: N_("不再要求"),
}

YES_NO = {"yes": N_("是"), "no": N_("否")}


@dataclass(frozen=True, slots=True)
class FieldVersion:
    """What one version of a field says. ``choices``: (in Chinese, in English) each; the Chinese is what is kept."""

    name: str
    shape: FieldShape
    demand: FormDemand
    label: str
    label_en: str = ""
    hint: str = ""
    hint_en: str = ""
    unit: str = ""
    least: Decimal | None = None
    most: Decimal | None = None
    choices: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What of it is no column."""
        figures = {"least": self.least, "most": self.most}
        return {
            **({"unit": self.unit} if self.unit else {}),
            **{name: str(value) for name, value in figures.items() if value is not None},
            **({"choices": [list(pair) for pair in self.choices]} if self.choices else {}),
        }

    @property
    def words(self) -> dict[str, str]:
        """Chinese → English of all that it shows."""
        pairs = ((self.label, self.label_en), (self.hint, self.hint_en), *self.choices)
        return {chinese: other for chinese, other in pairs if chinese and other}

    def sound(self, kind: RequestKind) -> None:
        """Raise Invalid naming what of it cannot be applied to ``kind``."""
        declared = next((one for one in kind.fields if one.name == self.name), None)
        if not NAME.fullmatch(self.name):
            raise _bad("name", N_("字段代码由小写字母、数字和 _ 组成，2 至 32 个字符"))
        if (self.shape is FieldShape.DECLARED) != (declared is not None):
            raise _bad(
                "name", N_("这个代码是原有字段的，类型应选“原有字段”") if declared else N_("没有这个代码的原有字段")
            )
        needed = declared is not None and (declared.required or self.name in kind.headline)
        if needed and self.demand is not FormDemand.REQUIRED:
            raise _bad("demand", N_("该字段由系统使用，只能是必填"))
        for field, text, most in (
            ("label", self.label, LONGEST_LABEL), ("label_en", self.label_en, 2 * LONGEST_LABEL), ("hint", self.hint, LONGEST_HINT),
            ("hint_en", self.hint_en, 2 * LONGEST_HINT), ("unit", self.unit, LONGEST_UNIT),
        ):  # fmt: skip
            if len(text) > most or (field == "label" and not text):
                raise Invalid("form.text", N_("须为 1 至 %(most)s 个字符"), most=most, field=field)
        self._figures_sound()
        self._choices_sound()

    def _figures_sound(self) -> None:
        said = [one for one in (self.least, self.most) if one is not None]
        if self.shape is not FieldShape.NUMBER and (said or self.unit):
            raise _bad("unit" if self.unit else "least", N_("只有数字才有单位和上下限"))
        if not all(one.is_finite() and FIGURE.fullmatch(str(one)) for one in said):
            raise _bad("least", N_("上下限须为不超过 12 位整数、4 位小数的数"))
        if len(said) == 2 and said[0] > said[1]:
            raise _bad("most", N_("上限不能小于下限"))

    def _choices_sound(self) -> None:
        if (self.shape is FieldShape.CHOICE) != bool(self.choices):
            raise _bad("choices", N_("单选须写明选项") if not self.choices else N_("只有单选才有选项"))
        names = [chinese for chinese, _other in self.choices]
        if len(names) > MOST_CHOICES or len(set(names)) != len(names) or len(names) == 1:
            raise Invalid("form.choices", N_("须有 2 至 %(most)s 个不同的选项"), most=MOST_CHOICES, field="choices")
        if any(
            not 0 < len(chinese) <= LONGEST_CHOICE or len(other) > 2 * LONGEST_CHOICE for chinese, other in self.choices
        ):
            raise Invalid(
                "form.choice_long", N_("每个选项须为 1 至 %(most)s 个字符"), most=LONGEST_CHOICE, field="choices"
            )

    def made(self) -> RequestField:
        """The field of a form that it is."""
        choices = {FieldShape.CHOICE: {one: one for one, _other in self.choices}, FieldShape.YES_NO: YES_NO}
        return RequestField(
            self.name, self.label, long=self.shape is FieldShape.LONG, required=self.demand is FormDemand.REQUIRED,
            choices=choices.get(self.shape), day=self.shape is FieldShape.DAY, hint=self.hint,
            number=NumberBounds(self.least, self.most, self.unit) if self.shape is FieldShape.NUMBER else None,
        )  # fmt: skip


def _bad(field: str, message: str) -> Invalid:
    return Invalid("form.bad", message, field=field)


def choices_of(text: str) -> tuple[tuple[str, str], ...]:
    """Choices as people write them: a line each, the English after a bar."""
    rows = [line.replace("｜", "|").partition("|") for line in text.splitlines() if line.strip()]
    return tuple((chinese.strip(), other.strip()) for chinese, _bar, other in rows)


def fits(field: RequestField, said: Any) -> None:
    """Raise Invalid where ``said`` is no answer to ``field``; nothing said is one to all."""
    if said is None or (said == "" and field.choices is None):
        return
    if field.choices is not None and said not in field.choices:
        raise Invalid("request.choice", N_("“%(name)s”没有这个选项"), name=field.label, field=field.name)
    if field.day and not _is_day(said):
        raise Invalid("request.day", N_("“%(name)s”须是日期，写作 2026-01-31"), name=field.label, field=field.name)
    if field.number is not None:
        _within(field, field.number, said)


def _within(field: RequestField, bounds: NumberBounds, said: Any) -> None:
    if not isinstance(said, str) or not FIGURE.fullmatch(said):
        raise Invalid(
            "request.number", N_("“%(name)s”须为数字，至多 12 位整数、4 位小数"), name=field.label, field=field.name
        )  # fmt: skip
    figure = Decimal(said)
    for bound, wrong, word in (
        (bounds.least, bounds.least is not None and figure < bounds.least, N_("“%(name)s”不能小于 %(bound)s")),
        (bounds.most, bounds.most is not None and figure > bounds.most, N_("“%(name)s”不能大于 %(bound)s")),
    ):
        if wrong:
            raise Invalid("request.bounds", word, name=field.label, bound=str(bound), field=field.name)


def _is_day(text: Any) -> bool:
    try:
        return isinstance(text, str) and date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


_ENGLISH: dict[str, str] = {}


def english(chinese: str) -> str:
    """What a city calls in English what its forms say; empty where it does not say."""
    return _ENGLISH.get(chinese, "")


@lru_cache(maxsize=512)
def applied(kind: RequestKind, versions: tuple[FieldVersion, ...]) -> RequestKind:
    """``kind`` with the form that ``versions`` make, one of each name. The same for the same."""
    for one in versions:
        _ENGLISH.update(one.words)
    said = {one.name: one for one in versions}
    fields = []
    for field in kind.fields:
        of = said.pop(field.name, None)
        if of is None:
            fields.append(field)
        elif of.demand is not FormDemand.DROPPED:
            must = of.demand is FormDemand.REQUIRED
            fields.append(replace(field, label=of.label, hint=of.hint or field.hint, required=must))
    own = [one for one in said.values() if one.demand is not FormDemand.DROPPED and one.shape]
    return replace(
        kind,
        fields=(*fields, *(one.made() for one in own if one.shape is not FieldShape.ANNEX)),
        annexes=tuple(
            RequestAnnex(one.label, one.demand is FormDemand.REQUIRED, one.hint)
            for one in own
            if one.shape is FieldShape.ANNEX
        ),
    )
