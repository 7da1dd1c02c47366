"""A deprecation that a call of ours raises is an error, wherever the library says that it comes from."""

from __future__ import annotations

import warnings

import jinja2
import pytest
from flask import Flask
from flask_wtf import FlaskForm
from sqlalchemy import create_engine, text
from wtforms import Form, SelectField


def test_a_result_asked_for_tuples() -> None:
    with create_engine("sqlite://").connect() as connection, pytest.raises(DeprecationWarning, match="tuples"):
        connection.execute(text("SELECT 1")).tuples()


class Early(Form):
    one = SelectField(choices=[("a", "b")])


class Late(FlaskForm):
    one = SelectField(choices=[])


def test_choices_as_tuples_however_they_are_given() -> None:
    with pytest.raises(DeprecationWarning, match="tuples"):
        Early()
    with Flask(__name__).test_request_context():
        form = Late(meta={"csrf": False})
        with pytest.raises(DeprecationWarning, match="tuples"):
            form.one.choices = [("a", "b")]


def test_a_template_that_calls_what_is_deprecated() -> None:
    def old() -> None:
        warnings.warn("old", DeprecationWarning, stacklevel=2)

    with pytest.raises(DeprecationWarning, match="old"):
        jinja2.Template("{{ old() }}").render(old=old)
