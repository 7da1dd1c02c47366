"""The console for programs: ``/api/v1``.

An operation is a view of the console that declares what it lists, takes or sends (``console.programs``), served at its own address
below ``/api/v1`` with its own rights, form, verb and refusals (``serving``). ``door`` knows who a token acts for, ``keys`` that a post
is not carried out twice, ``shapes`` and ``description`` say all of it as OpenAPI 3.1.
"""

from __future__ import annotations

from flask import Flask

from console.api import calendars, description, door, operations, serving, tables, tokens
from console.api.operations import ROOT, Operation, Sort
from console.api.tables import ApiToken, TokenKind

__all__ = [
    "ROOT",
    "ApiToken",
    "Operation",
    "Sort",
    "TokenKind",
    "attach",
    "calendars",
    "description",
    "door",
    "open_door",
    "operations",
    "tables",
    "tokens",
]


def open_door(app: Flask) -> None:
    """Know programs by their tokens. Before anything else looks who asks."""
    app.extensions[door.EXTENSION] = door.Gate()
    app.before_request(door.identify)


def attach(app: Flask) -> None:
    """Serve each declared view; once all of them are there."""
    held = door.gate(app)
    held.operations = {one.endpoint: one for one in operations.operations(app)}
    app.session_interface = door.Cookieless(app.session_interface)
    serving.attach(app)
