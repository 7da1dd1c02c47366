"""The console as a worker of ours holds it (console.service.web), in the process that measures it."""

from __future__ import annotations

from flask import Flask

from console.memory import loading
from console.settings import Settings
from quota.db import Book


def served(settings: Settings, book: Book | None = None) -> Flask:
    """An application whose modules and templates the collector of cycles does not walk in the middle of a page."""
    with loading():
        from console.app import create_app

        return create_app(settings, book)
