"""Forms: refusals of the book hung beside the field that they are about, and what is wrong said with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Any, ClassVar

import flask_wtf.i18n
import wtforms
from flask import Flask, flash, redirect, url_for
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import FieldList, FormField, SelectField
from wtforms.fields import Field
from wtforms.form import Form
from wtforms.validators import ValidationError

from console.book import actor, transaction
from console.errors import Unfilled
from console.programs import asked
from console.security import row_or
from console.words import _, sentence
from quota.actors import Role
from quota.db import Tx
from quota.errors import N_, Conflict, Invalid, NotAllowed, Refused, WrongState
from quota.signed import SIGNATURES, TwiceSigned

EARLIEST, LATEST = 1990, 2200
"""Years that a day or a moment may lie in: what is beyond them is a slip of the finger, and no calendar reckons with it."""

OURS = {"'%(value)s' is not a valid choice for this field.": N_("“%(value)s”不在可选项中")}
"""What wtforms says in English alone → our words."""


class Translations(flask_wtf.i18n.Translations):  # type: ignore[misc]
    """What wtforms says of its own, in the reader's language."""

    def ngettext(self, singular: str, plural: str, n: int) -> str:
        if singular in OURS:
            return _(OURS[singular])
        return str(super().ngettext(singular, plural, n))


TRANSLATIONS = Translations()


class InnerForm(Form):  # type: ignore[misc]
    """A form inside a form: rows of a table, groups of fields. It speaks the language of the form around it."""

    class Meta:
        def get_translations(self, _form: Form) -> Translations:
            return TRANSLATIONS


def attach(_app: Flask) -> None:
    """Every form speaks the reader's language."""
    FlaskForm.Meta.get_translations = InnerForm.Meta.get_translations


class DateField(wtforms.DateField):  # type: ignore[misc]
    """A day of a year that anybody means."""

    def pre_validate(self, _form: Form) -> None:
        within_reason(self.data)


class DateTimeLocalField(wtforms.DateTimeLocalField):  # type: ignore[misc]
    """A moment, in the city's time, of a year that anybody means."""

    def pre_validate(self, _form: Form) -> None:
        within_reason(self.data)


class NeededByAnAct:
    """Marks a field that one of several acts of a form needs: it is not offered as optional, and that act refuses without it."""

    field_flags: ClassVar[dict[str, bool]] = {"required": True}

    def __call__(self, _form: Form, _field: Field) -> None:
        pass


def within_reason(day: date | None) -> None:
    """Raises ValidationError for a day of another age."""
    if day is not None and not EARLIEST <= day.year <= LATEST:
        raise ValidationError(_("年份须在%(first)s到%(last)s之间", first=EARLIEST, last=LATEST))


def hang(form: FlaskForm, refused: Refused) -> None:
    """Show ``refused`` beside the field that it names, else on top of the form. Programs get the refusal itself."""
    if asked.by_program():
        raise refused
    text = sentence(refused.message, refused.params)
    field = form._fields.get(str(refused.params.get("field", "")))
    if field is None:
        form.form_errors = [*form.form_errors, text]
    else:
        field.errors = [*field.errors, text]


def answer(
    form: FlaskForm,
    act: Callable[[], str | Response],
    page: Callable[[], str],
    *refusals: type[Refused],
    hung: Callable[[FlaskForm, Refused], None] = hang,
) -> str | Response | tuple[str, int]:
    """What a page with a form answers: the form, with 422 where something in it is wrong, or what ``act`` answers.

    ``act`` runs once the form is sent and filled in as its fields ask. It does the deed in a transaction of its own and
    answers with what comes next; ``refusals`` (Invalid, where none are named) that it raises are shown in the form by
    ``hung``.
    """
    shown_here = refusals or (Invalid,)
    if form.validate_on_submit():
        try:
            return act()
        except shown_here as refused:
            if asked.by_program():
                raise
            hung(form, refused)
    elif asked.by_program():
        raise Unfilled(places(form))
    return page(), 422 if form.errors else 200


def act_on(
    form: FlaskForm,
    shown: int,
    verb: Callable[[Tx], object],
    page: Callable[[], str],
    told: str,
    endpoint: str,
    **values: Any,
) -> str | Response | tuple[str, int]:
    """What a page answers on which one thing is done to one row, whose generation is ``shown``: the form, which sends that along
    and any refusal is hung in, or off to ``endpoint`` with what is ``told``. ``verb`` is given the transaction."""
    if not form.is_submitted():
        form.generation.data = str(shown)

    def act() -> Response:
        with transaction() as tx:
            verb(tx)
        return done(told, endpoint, **values)

    return answer(form, act, page, Refused)


def refused_here(refused: Refused) -> str:
    """The sentence of what was refused, for a page without a form class. Programs get the refusal itself."""
    if asked.by_program():
        raise refused
    return sentence(refused.message, refused.params)


def sent_back(refused: Refused, endpoint: str, **values: Any) -> Response:
    """Off to the page where it can be mended, with what was refused on top. Programs get the refusal itself."""
    if asked.by_program():
        raise refused
    flash(sentence(refused.message, refused.params), "error")
    return redirect(url_for(endpoint, **values))


def done(said: str, endpoint: str, **values: Any) -> Response:
    """Off to the page of what was done, which says so on top."""
    flash(said, "success")
    return redirect(url_for(endpoint, **values))


def signing(row: TwiceSigned, sign: str, withdraw: str, **values: Any) -> dict[str, Any]:
    """What the card of signatures says of ``row`` and offers (``ui.signing``): ``sign`` and ``withdraw`` are endpoints."""
    who, draft = actor(), row.standing == "drafted"
    return {
        "row": row,
        "needed": SIGNATURES - len(row.signatures) if draft else 0,
        "sign": url_for(sign, **values) if row.may_sign(who) else "",
        "withdraw": url_for(withdraw, **values) if draft and who.role is Role.AUTHORITY else "",
    }


def signed(verb: Callable[[Tx], TwiceSigned], enacted: str, endpoint: str, **values: Any) -> Response:
    """What signing a draft answers: that it is ``enacted`` where this was the second signature. ``endpoint``: the draft's page."""

    def told(tx: Tx) -> str:
        return enacted if verb(tx).standing == "enacted" else _("已签署,还须另一人签署")

    return _pressed(told, endpoint, **values)


def given_up(verb: Callable[[Tx], object], endpoint: str, **values: Any) -> Response:
    """What giving a draft up answers. ``endpoint``: the draft's page."""

    def told(tx: Tx) -> str:
        verb(tx)
        return _("已撤回草案")

    return _pressed(told, endpoint, **values)


def _pressed(verb: Callable[[Tx], str], endpoint: str, **values: Any) -> Response:
    """Off to the row's page with what ``verb`` tells, or with what was refused."""
    try:
        with transaction() as tx:
            told = verb(tx)
    except (Conflict, Invalid, NotAllowed, WrongState) as refused:
        return sent_back(refused, endpoint, **values)
    return done(told, endpoint, **values)


def generation(form: FlaskForm) -> int:
    """What the page was made from, as its hidden field says; 0, which is always stale, where that is no number."""
    return row_or(form.generation.data, 0)


def always_chosen(field: SelectField) -> bool:
    """Whether the first choice is an answer, so that a browser always sends one."""
    return any(str(one.value) != "" for one in field.iter_choices()[:1])


def problems(form: FlaskForm) -> list[tuple[str, str]]:
    """(id of the field or "", what is wrong there) of ``form``, in the order of its fields.

    What is said beside a field is said on top with the field's name; of a field that is wrong twice, the first.
    """
    return [("", str(error)) for error in form.form_errors] + [
        (field.id, _placed(field, said)) for field, said in _wrong(form)
    ]


def refuse_unfilled(form: FlaskForm, valid: bool, *more: tuple[str, Iterable[str]]) -> None:
    """Programs that sent ``form`` are told at once what is wrong in it, and ``more``: (place, what is wrong there). For views
    that show it themselves. Raises Unfilled."""
    if asked.by_program():
        found = [(place, str(said)) for place, many in more for said in many]
        if found or not valid:
            raise Unfilled([*places(form), *found])


def places(form: FlaskForm) -> list[tuple[str, str]]:
    """(name of the field or "", what is wrong there) of ``form``, as programs are told."""
    return [("", str(error)) for error in form.form_errors] + [(field.name, said) for field, said in _wrong(form)]


def _wrong(fields: Iterable[Field]) -> Iterator[tuple[Field, str]]:
    """Each field that is wrong, innermost, and the first that is said of it."""
    for field in fields:
        inner = list(_wrong(field)) if isinstance(field, FieldList | FormField) else []
        if inner:
            yield from inner
        elif said := _flat(field.errors):
            yield field, str(said[0])


def _placed(field: Field, said: str) -> str:
    name = str(field.label.text).rstrip("：:")
    return said if not name or name in said else _("%(place)s：%(what)s", place=name, what=said)


def _flat(errors: object) -> list[object]:
    if isinstance(errors, dict):
        return [one for many in errors.values() for one in _flat(many)]
    if isinstance(errors, list | tuple):
        return [one for many in errors for one in (_flat(many) if isinstance(many, dict | list | tuple) else [many])]
    return [errors]
