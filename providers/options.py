"""What an adapter wants to be told, declared once as a dataclass: it is read from what the book keeps, becomes the form on
the pool's page and the columns of a sheet, and refuses by the field's name what makes no sense.

    @dataclass(frozen=True, kw_only=True)
    class Options:
        url: str = option(N_("地址"), N_("如 https://prometheus.example:9090"))
        password: Secret | None = option(N_("口令"), default=None)

A field is a text, a whole number, a number, a yes or no, a list of texts (``tuple[str, ...]``), a ``Secret`` or, for what
only programs write, ``Json``. ``None`` beside the type says that it may be left empty.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, NewType, TypeVar

from providers.secrets import Secret, by_reference
from quota.errors import N_, Invalid

T = TypeVar("T")

Json = NewType("Json", object)
"""Whatever JSON holds: for options that only programs write. It is no field of a form."""


class OptionShape(StrEnum):
    """What a field holds."""

    TEXT = "text"
    WHOLE = "whole"
    NUMBER = "number"
    YES = "yes"
    TEXTS = "texts"
    SECRET = "secret"  # noqa: S105 - a word
    JSON = "json"


YES, NO = ("true", "yes", N_("是")), ("false", "no", N_("否"))
"""As forms and programs send it, and as people write it into a workbook."""

_SHAPES: Mapping[Any, OptionShape] = {
    str: OptionShape.TEXT, int: OptionShape.WHOLE, float: OptionShape.NUMBER, bool: OptionShape.YES, tuple[str, ...]: OptionShape.TEXTS,
    Secret: OptionShape.SECRET, Json: OptionShape.JSON,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OptionField:
    """One option: ``label`` and ``hint`` for people (texts to be translated), ``choices`` where only some values are
    right, ``least`` and ``most`` of a number, ``lines`` of a text that may have several."""

    name: str
    shape: OptionShape
    label: str
    hint: str
    required: bool
    default: Any
    choices: tuple[str, ...]
    least: float | None
    most: float | None
    lines: bool


def option(
    label: str,
    hint: str = "",
    *,
    default: Any = dataclasses.MISSING,
    choices: Sequence[str] = (),
    least: float | None = None,
    most: float | None = None,
    lines: bool = False,
) -> Any:
    """A field of an adapter's options. Without a default it must be given."""
    about = {"label": label, "hint": hint, "choices": tuple(choices), "least": least, "most": most, "lines": lines}
    return dataclasses.field(default=default, metadata=about)


def fields(options: type) -> tuple[OptionField, ...]:
    """The options that a dataclass declares, in its order. Raises TypeError for a type that no form has a field for."""
    return _fields(options)


@cache
def _fields(options: Any) -> tuple[OptionField, ...]:
    hints = typing.get_type_hints(options)
    return tuple(_field(one, hints[one.name]) for one in dataclasses.fields(options))


def _field(field: dataclasses.Field[Any], hint: Any) -> OptionField:
    inner = [each for each in typing.get_args(hint) if each is not types.NoneType]
    plain = inner[0] if isinstance(hint, types.UnionType) and len(inner) == 1 else hint
    if plain not in _SHAPES:
        raise TypeError(f"option {field.name}: {hint} is none of {', '.join(map(str, _SHAPES))}")
    about = field.metadata
    return OptionField(
        field.name, _SHAPES[plain], about.get("label", field.name), about.get("hint", ""),
        field.default is dataclasses.MISSING, None if field.default is dataclasses.MISSING else field.default,
        about.get("choices", ()), about.get("least"), about.get("most"), about.get("lines", False),
    )  # fmt: skip


def kept(options: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` as the book keeps it: plain JSON, secrets as references; what is left empty is left out.

    Raises Invalid, with the field's name, for what is missing, unknown or of no sense, and for a secret in clear.
    """
    known = {one.name: one for one in fields(options)}
    for name in given:
        if name not in known:
            raise Invalid(
                "options.unknown", N_("没有名为 %(name)s 的参数;现有:%(known)s"), name=name, known=", ".join(known),
                field=name,
            )  # fmt: skip
    found: dict[str, Any] = {}
    for name, one in known.items():
        value = given.get(name)
        if value is None or value == "":
            if one.required:
                raise Invalid("options.missing", N_("请填写%(label)s"), label=one.label, field=name)
            continue
        found[name] = _sound(one, value)
    return found


def read(options: type[T], given: Mapping[str, Any], reveal: Callable[[str], str] = by_reference) -> T:
    """The options that ``given`` holds, as the adapter gets them; ``reveal`` turns references into secrets, later.

    Raises Invalid as ``kept`` does.
    """
    values = kept(options, given)
    for one in fields(options):
        if one.name in values and one.shape is OptionShape.SECRET:
            values[one.name] = Secret(values[one.name], reveal)
        elif one.name in values and one.shape is OptionShape.TEXTS:
            values[one.name] = tuple(values[one.name])
    return options(**values)


def _sound(field: OptionField, value: Any) -> Any:
    try:
        found = _READ[field.shape](value)
    except (TypeError, ValueError):
        raise Invalid(
            "options.bad", N_("%(label)s不能是“%(value)s”"), label=field.label, value=str(value)[:80], field=field.name
        ) from None
    if field.shape is OptionShape.SECRET:
        Secret.check(found, field.name)
    if field.choices and found not in field.choices:
        raise Invalid(
            "options.choice", N_("%(label)s只能是:%(choices)s"), label=field.label, choices=", ".join(field.choices),
            field=field.name,
        )  # fmt: skip
    if field.shape in (OptionShape.WHOLE, OptionShape.NUMBER) and not (
        (field.least is None or found >= field.least) and (field.most is None or found <= field.most)
    ):
        raise Invalid(
            "options.range", N_("%(label)s须在%(least)s到%(most)s之间"), label=field.label, least=field.least, most=field.most,
            field=field.name,
        )  # fmt: skip
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool | int | float | list | dict):
        raise TypeError
    if any(ord(one) < 32 and one not in "\r\n\t" for one in str(value)):
        raise ValueError
    return str(value).strip()


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise TypeError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    if not math.isfinite(found := float(value)):
        raise ValueError
    return found


def _yes(value: Any) -> bool:
    said = str(value).strip().lower()
    if said not in (*YES, *NO):
        raise ValueError
    return said in YES


def _texts(value: Any) -> list[str]:
    parts = value.replace("，", ",").split(",") if isinstance(value, str) else list(value)
    return [_text(each) for each in parts if _text(each)]


_READ: Mapping[OptionShape, Callable[[Any], Any]] = {
    OptionShape.TEXT: _text, OptionShape.WHOLE: _whole, OptionShape.NUMBER: _number, OptionShape.YES: _yes, OptionShape.TEXTS: _texts,
    OptionShape.SECRET: _text, OptionShape.JSON: lambda value: value,
}  # fmt: skip
