"""Forms: refusals of the book hung beside the field that they are about."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import SelectField

from console.security import row_or
from console.texts import sentence
from quota.errors import Refused


def hang(form: FlaskForm, refused: Refused) -> None:
    """Show ``refused`` beside the field that it names, else on top of the form."""
    text = sentence(refused.message, refused.params)
    field = form._fields.get(str(refused.params.get("field", "")))
    if field is None:
        form.form_errors = [*form.form_errors, text]
    else:
        field.errors = [*field.errors, text]


def generation(form: FlaskForm) -> int:
    """What the page was made from, as its hidden field says; 0, which is always stale, where that is no number."""
    return row_or(form.generation.data, 0)


def always_chosen(field: SelectField) -> bool:
    """Whether the first choice is an answer, so that a browser always sends one."""
    return any(str(one.value) != "" for one in field.iter_choices()[:1])


def problems(form: FlaskForm) -> list[tuple[str, str]]:
    """(id of the field or "", sentence) of everything wrong with ``form``, in the order of its fields."""
    found = [(field.id, str(error)) for field in form for error in _flat(field.errors)]
    return [("", str(error)) for error in form.form_errors] + found


def _flat(errors: object) -> list[object]:
    if isinstance(errors, dict):
        return [one for many in errors.values() for one in _flat(many)]
    if isinstance(errors, list | tuple):
        return [one for many in errors for one in (_flat(many) if isinstance(many, dict | list | tuple) else [many])]
    return [errors]
