"""What others have written into scripts: commands with their options, addresses, variables. What is renamed keeps its old
spelling as an alias; what stands here may grow and not shrink."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from flask import Flask

from console.app import create_app
from console.cli import main
from console.settings import Settings, load
from tests.suite.outside import ROOT

COMMANDS = {
    "init": {"--data", "--empty"},
    "run": {"--data", "--empty", "--port", "--host"},
    "serve": {"--data", "--host", "--port", "--workers"},
    "jobs": {"--data", "--once", "--lane"},
    "verify": {"--data", "--anchor", "--anchor-key", "--json"},
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
    "account unlock": {"--data"},
    "account forget-factor": {"--data"},
    "account open-networks": {"--data"},
    "backup make": {"--data", "--every", "--json"},
    "backup list": {"--data", "--json"},
    "backup verify": {"--data", "--at", "--all", "--drill", "--database", "--json"},
    "backup new-key": set(),
    "restore": {"--data", "--at", "--without-keys", "--json"},
    "doctor": {"--data", "--json"},
    "support-bundle": {"--data"},
    "anchor": {"--data", "--rotate", "--json"},
    "report make": {"--data", "--month", "--period", "--for", "--out", "--edition", "--json"},
    "report list": {"--data", "--json"},
    "rules export": {"--data", "--out", "-o"},
    "rules import": {"--data", "--reason", "--check", "--json"},
    "requests template": {"--data", "--by"},
    "requests file": {"--data", "--by", "--check", "--sound", "--submit", "--json"},
    "scorecard bundle": set(),
    "scorecard verify": set(),
}
METRICS = {
    "anchor", "anchors", "audit", "backup", "cases", "cost", "department", "disk", "disputed", "disputes", "feed", "findings",
    "http", "incidents", "intake", "job", "ledger", "mails", "orders", "pool", "reclaimable", "rectifications", "requests",
    "resources", "scorecard", "source", "spool", "statement", "system", "tickets", "transitions", "verification", "waiting",
}  # fmt: skip
"""What stands between ``guanjia_`` and the rest of the names of metrics: alerts and dashboards of others ask for them."""


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


def test_the_old_name_of_a_command_is_the_command() -> None:
    assert main.commands["replay"] is main.commands["rehearse"]


def test_a_command_ends_as_scripts_know_it(tmp_path: Path) -> None:
    """0 done, 1 found or refused, 2 wrong words, 3 no such house."""
    kept, new, nowhere = str(tmp_path / "kept"), str(tmp_path / "new"), str(tmp_path / "nowhere")
    ends = {
        0: [["--version"], ["backup", "new-key"], ["verify", "--help"]],
        1: [["restore", kept, "--data", new], ["formula", "check", __file__]],
        2: [["verify", "--no-such"], ["no-such"], ["backup", "--data", nowhere], ["backup", "verify", kept, "--all", "--at", "x"]],
        3: [[one, "--data", nowhere] for one in ("verify", "doctor", "anchor", "assess", "recompute")],
    }  # fmt: skip
    found = {code: [CliRunner().invoke(main, words).exit_code for words in calls] for code, calls in ends.items()}
    assert found == {code: [code] * len(calls) for code, calls in ends.items()}


def test_metrics_begin_as_dashboards_know_them() -> None:
    """The table is held to the code by test_documents."""
    table = (ROOT / "docs" / "operators" / "metrics.md").read_text("utf-8")
    names = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert names
    assert {one for one in names if not one.startswith("guanjia_")} == set()
    assert {one.split("_")[1] for one in names} >= METRICS
