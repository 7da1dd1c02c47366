"""The door: an application for the given settings, with every view module hung in the frame."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask

from console import access, api, book, errors, forms, frame, metrics, security
from console.answers import compression
from console.pages import blueprints
from console.pages.attachments import uploads
from console.schema import models  # noqa: F401 - all tables
from console.settings import Settings
from console.words import names, rules, texts
from quota.db import Book

HERE = Path(__file__).resolve().parent
STATIC = str(HERE / "static")
TEMPLATES = next(one for one in (HERE / "templates", HERE.parent / "templates") if one.is_dir())
"""In a wheel they lie inside the package, in a checkout beside it."""


def create_app(settings: Settings, opened: Book | None = None) -> Flask:
    """A WSGI application on the book that ``settings`` name (or on ``opened``, for tests and replays)."""
    app = Flask("console", template_folder=str(TEMPLATES), static_folder=STATIC)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    book.attach(app, settings, opened or Book(settings.database_url))
    compression.attach(app)  # first, so that it comes last to every answer
    app.before_request(security.name_request)
    api.open_door(app)
    texts.attach(app)
    forms.attach(app)
    access.attach(app)
    csrf = security.attach(app, settings)
    errors.attach(app)
    frame.attach(app)
    metrics.attach(app, app.extensions[book.EXTENSION].book, settings)
    for blueprint in blueprints():
        app.register_blueprint(blueprint)
    api.attach(app)
    security.exempt(app, csrf)
    app.jinja_env.filters.update(names.FILTERS)
    app.jinja_env.filters["because"] = rules.because
    app.jinja_env.filters |= {
        "step": rules.step_label,
        "whose": rules.whose,
        "step_words": rules.step_words,
        "limit": rules.limit_words,
    }
    app.jinja_env.filters |= {"step_name": rules.step_name, "step_of_rule": rules.step_of_rule}
    app.jinja_env.globals.update(evidence_of=uploads.evidence_of, settings=settings, now=lambda: book.book().clock())

    @app.url_defaults
    def _versioned(endpoint: str, values: dict[str, Any]) -> None:
        # Static files are cached for a year; another content has another address.
        if endpoint == "static" and "filename" in values:
            values.setdefault("v", _version(os.path.join(STATIC, values["filename"])))

    return app


def _version(path: str) -> str:
    try:
        stat = os.stat(path)
    except OSError:
        return "0"
    return _digest(path, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest(path: str, _changed: int) -> str:
    import hashlib

    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:10]
