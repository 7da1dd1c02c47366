"""Fields of forms: one, or several, of what may be many. In forms they are what they were declared as, with ``offer`` called before
they are looked at; programs send ids, whichever way people choose."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from flask import abort, jsonify, request
from markupsafe import Markup
from wtforms import SelectField, SelectMultipleField
from wtforms.fields import Field
from wtforms.fields.choices import SelectChoice
from wtforms.form import Form
from wtforms.validators import ValidationError
from wtforms.widgets import TextArea, TextInput

from console.choices import matching
from console.choices.matching import MOST, Choosable, Named, Unclear
from console.programs import asked
from console.security import row_or
from console.words import _
from quota.db import Tx

SUGGEST = "suggest"
"""The parameter of a page's own address that names the field whose suggestions are wanted; ``near`` is what was typed."""
LINES = re.compile(r"[\n\r;；、]+")
MOST_LINES = 1_000


def suggestions(tx: Tx, name: str, among: Choosable) -> None:
    """Answer instead of the page where the request asks for what field ``name`` suggests: the page has looked already who may
    see it, and ``among`` is what this field of this visitor offers."""
    if request.method == "GET" and request.args.get(SUGGEST) == name:
        rows = matching.suggested(tx, among, request.args.get("near", ""))
        abort(jsonify([one.written for one in rows]))


def attributes(name: str, id_: str) -> dict[str, Any]:
    """What makes an input one that is suggested to."""
    return {
        "list": f"{id_}-options",
        "autocomplete": "off",
        "data-suggest": name,
        "maxlength": matching.LONGEST,
    }


def options(id_: str, rows: Sequence[Named]) -> Markup:
    """The first suggestions, which those without scripts choose from."""
    told = Markup().join(Markup('<option value="{}">').format(one.written) for one in rows)
    return Markup('<datalist id="{}-options">{}</datalist>').format(id_, told)


class _Typed(TextInput):  # type: ignore[misc]
    """An input with its suggestions."""

    def __call__(self, field: ChoiceField, **more: Any) -> Markup:
        kept = {key: value for key, value in more.items() if key != "autocomplete"}
        if field.extra:
            kept["placeholder"] = field.extra[0].label
        made = super().__call__(field, **attributes(field.name, field.id), **kept)
        return Markup("{}{}").format(made, options(field.id, field.first))


def _hint(field: Field, how: str) -> None:
    """Say below the label how it is filled in, behind what stands there."""
    field.description = _("%(hint)s；%(how)s", hint=field.description, how=how) if field.description else how


class ChoiceField(SelectField):  # type: ignore[misc]
    """One of many. ``data`` is the row's id, or the value of one of the ``extra`` choices that lie before the rows: 0 and below."""

    data: Any
    choices: Any

    def __init__(self, label: Any = None, validators: Any = None, **more: Any) -> None:
        super().__init__(label, validators, coerce=int, **more)
        self.type = "SelectField"
        self.sent: str | None = None
        self.typed = False
        self.wrong = ""
        self.first: list[Named] = []
        self.extra: list[SelectChoice] = []

    def process_formdata(self, valuelist: list[str]) -> None:
        if not valuelist:
            return
        self.sent = valuelist[0]
        try:
            self.data = int(self.sent)
        except ValueError:
            self.data = None

    def offer(self, tx: Tx, among: Choosable, *extra: tuple[str, str]) -> None:
        """Let people choose ``among`` (rows of id, code, name), or one of ``extra``, (value, label) each, the first of which is
        what nothing chosen means. Once a request: what was offered first would be suggested."""
        if self.choices is not None:
            raise RuntimeError(f"{self.name} is offered twice")
        suggestions(tx, self.name, among)
        self.extra = [SelectChoice(value, label) for value, label in extra]
        self.first = matching.some(tx, among, MOST + 1)
        self.typed = len(self.first) > MOST
        if not self.typed:
            self.choices = [*self.extra, *(SelectChoice(str(one.id), one.name) for one in self.first)]
            return
        self.first, self._of = self.first[: matching.SUGGESTED], (tx, among)
        self.type, self.widget, self.choices = "StringField", _Typed(), []
        self.flags.required = not self.extra
        _hint(self, _("填写编码或名称，输入时有提示"))
        if self.sent is not None:
            self._match(tx, among, self.sent.strip())

    def _match(self, tx: Tx, among: Choosable, text: str) -> None:
        chosen = next((one for one in self.extra if text in (one.label, "")), None)
        if asked.by_program():
            number = row_or(text, 0)
            known = text in {one.value for one in self.extra} or (number and matching.by_id(tx, among, number))
            self.wrong = "" if known else _("不在可选项中")
        elif chosen is not None:
            self.data = int(chosen.value)
        elif not text:
            self.data, self.wrong = None, _("请填写编码或名称")
        else:
            try:
                self.data = matching.found(tx, among, text).id
            except Unclear as unclear:
                self.data, self.wrong = None, str(unclear)

    def pre_validate(self, form: Form) -> None:
        if not self.typed:
            if self.data is None and self.sent is not None:
                raise ValidationError(_("“%(value)s”不在可选项中", value=self.sent[:40]))
            super().pre_validate(form)
        elif self.sent is None:
            if not self.extra:
                raise ValidationError(_("请填写编码或名称"))
        elif self.wrong:
            raise ValidationError(self.wrong)

    @property
    def again(self) -> str:
        """What means the same when it is sent once more: a page of one's answers sends it along. An id would not do where one
        types: another row may have that number as its code."""
        if not self.typed:
            return "" if self.data is None else str(self.data)
        one = matching.by_id(*self._of, int(self.data)) if self.data else None
        return one.written if one else ""

    def _value(self) -> str:
        """What the input holds: what was sent, or what is chosen, as it is written."""
        return self.again if self.sent is None else self.sent


class ChoicesField(SelectMultipleField):  # type: ignore[misc]
    """Several of many: ``data`` is their ids. What is long is typed, one a line."""

    def __init__(self, label: Any = None, validators: Any = None, **more: Any) -> None:
        super().__init__(label, validators, coerce=int, **more)
        self.type = "SelectMultipleField"
        self.sent: list[str] | None = None
        self.typed = False
        self.wrong: list[str] = []
        self.unfit = False

    def process_formdata(self, valuelist: list[str]) -> None:
        self.sent = valuelist
        try:
            self.data = [int(one) for one in valuelist]
        except ValueError:
            self.data, self.unfit = [], True

    def offer(self, tx: Tx, among: Choosable) -> None:
        """Let people choose ``among``: rows of id, code, name."""
        rows = matching.some(tx, among, MOST + 1)
        self.typed = len(rows) > MOST
        if not self.typed:
            self.choices = [SelectChoice(str(one.id), one.name) for one in rows]
            return
        self._of = (tx, among)
        self.type, self.widget, self.choices = "TextAreaField", TextArea(), []
        _hint(self, _("每行一个，填写编码或名称"))
        if self.sent is not None:
            self._match(tx, among, self.sent)

    def _match(self, tx: Tx, among: Choosable, sent: list[str]) -> None:
        if asked.by_program():
            known = among.with_only_columns(among.selected_columns["id"]).where(
                among.selected_columns["id"].in_(self.data or [])
            )
            if self.unfit or set(self.data or ()) - set(tx.scalars(known)):
                self.wrong = [_("不在可选项中")]
            return
        lines = [line.strip() for text in sent for line in LINES.split(text) if line.strip()]
        self.data = []
        if len(lines) > MOST_LINES:
            self.wrong = [_("最多 %(most)s 行", most=MOST_LINES)]
            return
        for line in lines:
            try:
                self.data.append(matching.found(tx, among, line).id)
            except Unclear as unclear:
                self.wrong.append(str(unclear))
        self.data = list(dict.fromkeys(self.data))

    def pre_validate(self, form: Form) -> None:
        if not self.typed:
            if self.unfit and self.sent:
                raise ValidationError(_("“%(value)s”不在可选项中", value=_("、").join(self.sent)[:40]))
            super().pre_validate(form)
        elif self.wrong:
            raise ValidationError(" ".join(self.wrong))

    @property
    def labels(self) -> list[str]:
        """The names of those that are chosen."""
        if not self.typed:
            return [str(one.label) for one in self.choices if int(one.value) in (self.data or ())]
        rows = (matching.by_id(*self._of, number) for number in self.data or ())
        return [one.written for one in rows if one]

    @property
    def again(self) -> list[str]:
        """What a page sends along once more."""
        return list(self.sent or ()) if self.typed else [str(one) for one in self.data or ()]

    def _value(self) -> str:
        return "\n".join(self.labels if self.sent is None else self.sent)
