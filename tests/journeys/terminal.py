"""Commands of the terminal on the book of a story, at its time."""

from __future__ import annotations

from click.testing import CliRunner

from console.cli import main, terminal
from quota.db import Book


def of_terminal(group, house, settings, clock, monkeypatch):
    """Calls ``guanjia GROUP …`` and answers with what it said; ``code`` is the exit code that it must have."""
    monkeypatch.setattr(terminal, "Book", lambda _url: Book(house.url, clock=clock))
    monkeypatch.setattr(terminal.upgrade, "current", lambda _book: terminal.upgrade.latest())
    monkeypatch.setattr(terminal, "_exists", lambda _settings: True)

    def call(*words, code=0):
        answer = CliRunner().invoke(main, [group, *map(str, words), "--data", str(settings.data)])
        assert answer.exit_code == code, answer.output or answer.exc_info
        return answer

    return call
