"""帮助: the manual of who reads, and what there is to know of each page that they may open."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, send_from_directory, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from console import frame, manuals
from console.access import EVERYBODY, allow, may
from console.book import actor
from console.words import language

blueprint = Blueprint("manuals", __name__, url_prefix="/help")


@blueprint.get("/")
@allow(*EVERYBODY)
def index() -> Response:
    """The reader's own manual."""
    return redirect(url_for("manuals.show", name=manuals.manual_of(actor().role).name))


@blueprint.get("/<name>")
@allow(*EVERYBODY)
def show(name: str) -> str:
    """A manual; after it what is said of the pages that the reader may open."""
    found = manuals.MANUALS.get(name)
    if found is None:
        raise NotFound
    mine = {manuals.anchor(endpoint) for endpoint in frame.endpoints() if may(endpoint)}
    parts = [
        (one.title, [entry for entry in one.entries if entry.anchor in mine])
        for one in manuals.entries(language())
        if any(entry.anchor in mine for entry in one.entries)
    ]
    return render_template(
        "manuals/show.html",
        manual=found,
        others=[one for one in manuals.MANUALS.values() if one is not found],
        text=manuals.narrative(name, language(), url_for("manuals.picture", name="")),
        parts=parts,
    )


@blueprint.get("/pictures/<path:name>")
@allow(*EVERYBODY)
def picture(name: str) -> Response:
    """A picture of a manual."""
    return send_from_directory(manuals.PICTURES, name, mimetype="image/png")
