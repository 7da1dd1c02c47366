"""One box that finds any thing by name, number or address. What it finds comes from the other view modules."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response

from console import frame
from console.access import EVERYBODY, allow
from console.book import actor, reading

blueprint = Blueprint("search", __name__)

LIMIT = 10
MAX_TEXT = 100


@blueprint.get("/search")
@allow(*EVERYBODY)
def index() -> str | Response:
    text = request.args.get("q", "").strip()[:MAX_TEXT]
    hits = frame.find(reading(), actor(), text, LIMIT) if text else []
    exact = [hit for hit in hits if hit.title == text]
    if len(exact) == 1 and len(hits) == 1:
        return redirect(exact[0].url)
    return render_template("search/index.html", text=text, hits=hits, limit=LIMIT)
