"""What others have written into scripts: commands with their options, addresses, variables. What is renamed keeps its old
spelling as an alias; what stands here may grow and not shrink."""

from __future__ import annotations

import click
import pytest
from flask import Flask

from console.app import create_app
from console.cli import main
from console.settings import Settings, load

COMMANDS = {
    "init": {"--data", "--empty"},
    "run": {"--data", "--empty", "--port", "--host"},
    "serve": {"--data", "--host", "--port", "--workers"},
    "jobs": {"--data", "--once", "--lane"},
    "verify": {"--data"},
    "assess": {"--data", "--engine", "--json"},
    "recompute": {"--data", "--json"},
    "rescore": {"--data", "--json"},
    "backtest": {"--policy", "--json", "--all", "--write"},
    "rehearse": {"--rule", "--json", "--write"},
    "replay": {"--rule", "--json", "--write"},
    "forecast test": {"--write"},
    "found template": {"-o", "--output", "--blank"},
    "found enter": {"--check", "--data", "--json"},
    "import usage": {"--pool", "--data", "--json"},
    "import inventory": {"--pool", "--data", "--json", "--dry-run", "--end-missing"},
    "statements make": {"--data", "--json"},
    "statements show": {"--data", "--json"},
    "statements close": {"--data"},
    "statements export": {"--data"},
    "statements check": set(),
    "lake status": {"--data", "--json"},
    "lake compact": {"--data"},
    "lake verify": {"--data"},
    "lake retain": {"--data"},
    "lake rebuild": {"--data"},
    "account reset": {"--data"},
}


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_has_the_options_that_it_had(words: str) -> None:
    found: click.Command = main
    for word in words.split():
        assert isinstance(found, click.Group)
        assert word in found.commands, f"guanjia {words} is gone"
        found = found.commands[word]
    options = {spelling for one in found.params if isinstance(one, click.Option) for spelling in one.opts}
    assert COMMANDS[words] <= options


@pytest.fixture
def app(tmp_path) -> Flask:
    return create_app(Settings(data=tmp_path))


def test_addresses_that_programs_ask(app: Flask) -> None:
    addresses = {rule.rule for rule in app.url_map.iter_rules()}
    assert {"/healthz", "/login", "/metrics"} <= addresses


def test_the_data_directory_is_told_by_a_variable(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("GUANJIA_DATA", str(tmp_path))
    assert load().data == tmp_path
