"""再次申请: a request copied into a new draft, and those that a department copies again and again, kept under a name."""

from __future__ import annotations

from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response

from console import frame
from console.access import allow
from console.book import reading, transaction
from console.forms import done, sent_back
from console.programs import Given, takes
from console.words import _
from quota import requests
from quota.actors import Role
from quota.errors import N_, Refused
from quota.requests import copies

blueprint = Blueprint("request_copies", __name__, url_prefix="/requests")
frame.under("requests.index", "request_copies")
KEY = Given("key", label=N_("幂等键:同一个键只复制一次"), longest=64)


@blueprint.post("/<int:request_id>/copy")
@allow(Role.TENANT)
@takes(None, KEY)
def copy(request_id: int) -> Response:
    """A new draft that asks for the same."""
    requests.request(reading(), request_id)
    try:
        with transaction() as tx:
            made = copies.copy(tx, requests.request(tx, request_id), _key())
    except Refused as refused:
        return sent_back(refused, "requests.show", request_id=request_id)
    return redirect(url_for("requests.edit", request_id=made.id))


@blueprint.post("/<int:request_id>/keep")
@allow(Role.TENANT)
@takes(None, Given("name", label=N_("名称"), required=True, longest=copies.LONGEST))
def keep(request_id: int) -> Response:
    """Keep it under a name, to be copied again."""
    requests.request(reading(), request_id)
    try:
        with transaction() as tx:
            copies.keep(tx, requests.request(tx, request_id), request.form.get("name", ""))
    except Refused as refused:
        return sent_back(refused, "requests.show", request_id=request_id)
    return done(_("已存为常用申请"), "requests.new")


@blueprint.post("/templates/<int:template_id>/use")
@allow(Role.TENANT)
@takes(None, KEY)
def use(template_id: int) -> Response:
    """A new draft of what was kept."""
    copies.template(reading(), template_id)
    try:
        with transaction() as tx:
            made = copies.use(tx, template_id, _key())
    except Refused as refused:
        return sent_back(refused, "requests.new")
    return redirect(url_for("requests.edit", request_id=made.id))


@blueprint.post("/templates/<int:template_id>/end")
@allow(Role.TENANT)
@takes(None)
def end(template_id: int) -> Response:
    """Offer it no more; what was asked for with it stays."""
    copies.template(reading(), template_id)
    try:
        with transaction() as tx:
            copies.end(tx, template_id)
    except Refused as refused:
        return sent_back(refused, "requests.new")
    return done(_("已停用"), "requests.new")


def _key() -> str | None:
    return request.form.get("key", "")[:64] or None
