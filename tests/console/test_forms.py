"""What is wrong with a form is said with its place, in the reader's language, once."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from flask import Flask
from flask_wtf import FlaskForm
from wtforms import FieldList, FormField, IntegerField, SelectMultipleField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import Length, NumberRange, Optional

from console.forms import DateField, DateTimeLocalField, InnerForm, problems
from quota.actors import Role

CHINESE = re.compile(r"[\u4e00-\u9fff]")


class Row(InnerForm):
    word = StringField("用途", [Length(max=3)])


class Asked(FlaskForm):  # type: ignore[misc]
    count = IntegerField("数量", [NumberRange(min=1, max=9)])
    kinds = SelectMultipleField("类别", choices=[SelectChoice("a", "A")])
    rows = FieldList(FormField(Row), min_entries=1)
    at = DateTimeLocalField("开始", validators=[Optional()])
    on = DateField("末日", validators=[Optional()])


WRONG = {"count": "NaN", "kinds": "no-such", "rows-0-word": "长" * 9, "at": "0001-01-01T00:00", "on": "9999-12-31"}


@pytest.mark.parametrize("language", ["zh_CN", "en"])
def test_what_is_wrong_names_its_place(app: Flask, language: str) -> None:
    with app.test_request_context("/", method="POST", data=WRONG, headers={"Cookie": f"language={language}"}):
        form = Asked(meta={"csrf": False})
        assert not form.validate()
        said = problems(form)
    assert [place for place, _ in said] == ["count", "kinds", "rows-0-word", "at", "on"], "once for each field"
    for (_, text), label in zip(said, ("数量", "类别", "用途", "开始", "末日"), strict=True):
        name, what = re.split("：|: ", text, maxsplit=1)
        assert name == label
        assert bool(CHINESE.search(what)) == (language == "zh_CN"), what


def test_nothing_is_said_of_what_is_right(app: Flask) -> None:
    data = {"count": "3", "kinds": "a", "rows-0-word": "好", "at": "2026-06-01T10:00"}
    with app.test_request_context("/", method="POST", data=data):
        form = Asked(meta={"csrf": False})
        assert form.validate()
        assert problems(form) == []
        assert form.at.data.isoformat() == "2026-06-01T10:00:00"


@pytest.mark.parametrize("at", ["0001-01-01T00:00", "9999-12-31T23:59"])
def test_an_incident_of_another_age_is_refused_beside_its_field(client_of, at: str) -> None:
    visit = client_of(Role.PROVIDER)
    visit.get("/incidents/new")
    answer = visit.send("/incidents/new", {"external_id": "x", "level": "1", "title": "x", "started_at": at})
    assert answer.status_code == 422
    assert "开始：年份须在1990到2200之间" in answer.text


def test_forms_that_say_what_they_were_made_from_send_it_back() -> None:
    """A page whose act asks for ``generation(form)`` renders that field: left out, every post of a browser is taken for stale."""
    left_out, seen = set(), set()
    for page in Path("console/pages").rglob("*.py"):
        functions = {one.name: one for one in ast.walk(ast.parse(page.read_text())) if isinstance(one, ast.FunctionDef)}
        for function in functions.values():
            calls = [one for one in ast.walk(function) if isinstance(one, ast.Call)]
            if not any(getattr(one.func, "id", "").endswith("generation") for one in calls):
                continue
            for template in _rendered(functions, function.name, set()):
                seen.add(template)
                text = Path("templates", template).read_text()
                if not re.search(r'form\.generation|name="generation"|== "HiddenField" %}{{ field }}', text):
                    left_out.add(template)
    assert len(seen) > 20
    assert left_out == set()


def _rendered(functions: dict[str, ast.FunctionDef], name: str, met: set[str]) -> set[str]:
    """The templates that a function, or what it names of its module, renders with a form."""
    met.add(name)
    found = set()
    for node in ast.walk(functions[name]):
        if isinstance(node, ast.Name) and node.id in functions and node.id not in met:
            found |= _rendered(functions, node.id, met)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "render_template":
            told = node.args[0]
            if isinstance(told, ast.Constant) and any(one.arg == "form" for one in node.keywords):
                found.add(str(told.value))
    return found
