"""The interface as its users meet it: the description for programs, the same as a page for people, and calendars."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify, render_template, request, url_for

from console import api, frame
from console.access import EVERYBODY, allow, public
from console.api import ROOT, Operation, TokenKind, calendars, description, door
from console.book import actor, reading, settings
from console.links import address as page_of
from console.pages.programs.tokens import scope_label
from console.security import program
from console.words import _, language, role
from quota.errors import N_

blueprint = Blueprint("interface", __name__, url_prefix="/settings/interface")
programs = Blueprint("api", __name__, url_prefix=ROOT)
blueprint.record_once(lambda state: state.app.register_blueprint(programs))
frame.page("settings", "interface.index", N_("接口说明"), order=45)


def _operations() -> list[Operation]:
    return list(door.gate(current_app._get_current_object()).operations.values())  # type: ignore[attr-defined]


@programs.get("/openapi.json", endpoint="description")
@public
@program
def openapi() -> Response:
    """The description of all operations (OpenAPI 3.1), in the language that is asked for."""
    told = jsonify(description.description(_operations(), language()))
    told.add_etag()
    told.headers["Cache-Control"] = "no-cache"
    return told.make_conditional(request)  # type: ignore[return-value]


@programs.get("/calendar/<token>.ics", endpoint="calendar")
@public
@program
def calendar(token: str) -> Response:
    """What waits for the person of the token, as iCalendar. The token opens nothing else."""
    door.recognised(token, (TokenKind.CALENDAR,))
    tx, site = reading(), settings().public_url or request.host_url

    def address(of: str) -> str | None:
        path = page_of(of)
        return f"{site.rstrip('/')}{path}" if path else None

    raw = calendars.written(calendars.due(tx, actor()), request.host, tx.now, address)
    return Response(raw, mimetype="text/calendar")


@blueprint.get("/")
@allow(*EVERYBODY)
def index() -> str:
    """Every operation that the reader may call, by section, with what it takes."""
    found = description.description(_operations(), language())
    mine = [one for one in _operations() if actor().role in one.roles]
    sections: dict[str, list[dict[str, Any]]] = {}
    for one in mine:
        path = api.description.path_of(one)
        told = found["paths"][path][one.method.lower()]
        sections.setdefault(one.section, []).append(
            {
                "method": one.method,
                "path": path,
                "name": one.name,
                "scope": scope_label(one.scope),
                "summary": told["summary"],
                "parameters": told["parameters"],
                "body": _body(found, told),
            }
        )
    return render_template(
        "interface/index.html",
        parts=[(name, _(frame.SECTIONS[name][0]), rows) for name, rows in sections.items()],
        count=len(mine),
        root=ROOT,
        described=url_for("api.description"),
        whose=role(actor().role),
        limit=door.A_MINUTE,
    )


def _body(found: dict[str, Any], told: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of an act's body, as rows."""
    content: dict[str, Any] = told.get("requestBody", {}).get("content", {})
    schema: dict[str, Any] = next((one["schema"] for one in content.values()), {})
    refs = [schema, *schema.get("allOf", ())]
    rows = []
    for one in refs:
        named = one.get("$ref", "").rpartition("/")[2]
        model = found["components"]["schemas"].get(named, one if "properties" in one else {})
        needed = model.get("required", ())
        rows += [
            {"name": name, "type": kind(field), "needed": name in needed, "about": field.get("description", "")}
            for name, field in model.get("properties", {}).items()
        ]
    return rows


def kind(schema: dict[str, Any]) -> str:
    """The type of a field in a word or two."""
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(kind(one) for one in schema["anyOf"] if one.get("type") != "null"))
    if "$ref" in schema:
        return "object"
    name = str(schema.get("format") or schema.get("type", "any"))
    return f"{kind(schema['items'])}[]" if name == "array" and "items" in schema else name
