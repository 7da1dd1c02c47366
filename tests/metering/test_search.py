"""A search over settings: the same order whatever is wanted, gone on with after it was killed, the frontier of what was found."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from console.cli.commands import main
from metering.series import MachineSeries
from metering.simulation import search
from metering.simulation.search import Tried
from metering.sizing import backtest, sizing

DAYS = 12


def past(machines: int = 3, seed: int = 7) -> MachineSeries:
    """Machines of four cores with a daily peak."""
    draw, n = np.random.default_rng(seed), DAYS * 288
    hours = np.arange(n) % 288 / 12
    busy = 30 + 25 * np.exp(-((hours - 14) ** 2) / 8)
    cpu = np.concatenate([np.clip(busy + draw.normal(0, 6, n) + 5 * i, 1, 99) for i in range(machines)])
    slot = np.tile(np.arange(n) + 5_950_000, machines)
    starts = np.arange(machines + 1) * n
    names = tuple(f"vm-{i}" for i in range(machines))
    return MachineSeries("made", names, starts, slot, np.rint(cpu * 100).astype(np.uint16), np.full(n * machines, 4.0))


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "past"
    search.lay_down(found, [past(2), past(1, seed=8)])
    return found


def test_settings_are_the_same_however_many_are_wanted_and_a_policy_takes_them():
    many = search.settings(300)
    assert search.settings(40) == many[:40]
    assert len(set(many)) == 300
    for name in many:
        assert sizing(name).name == name or backtest.policy(name).name == name


def test_what_is_kept_is_the_past_as_it_was(folder):
    parts = list(search.kept(folder))
    assert [one.names for one in parts] == [("vm-0", "vm-1"), ("vm-0",)]
    for name in search.COLUMNS:
        assert (getattr(parts[0], name) == getattr(past(2), name)).all()


def test_marks_are_those_of_a_backtest_as_carried_out(folder):
    (tried, _other) = search.search(folder, 2)
    carried = backtest.carrying(backtest.policy(tried.name))
    whole = backtest.run_parts([past(2), past(1, seed=8)], [carried])[carried.name].summary()
    assert tried.marks["violation_rate"] == pytest.approx(whole["violation_rate"])
    assert tried.marks["net_cores_saved_share"] == pytest.approx(whole["net_cores_saved_share"])


def test_killed_it_goes_on_where_it_was(folder, monkeypatch):
    whole = search.search(folder, 9)
    lines = (folder / "results.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 10
    (folder / "results.jsonl").write_text("".join(lines[:6]) + lines[6][:20])  # killed while it wrote the sixth
    judged: list[str] = []
    real = search.judge

    def noted(where, names, shapes):
        judged.extend(names)
        return real(where, names, shapes)

    monkeypatch.setattr(search, "judge", noted)
    assert search.search(folder, 9) == whole
    assert judged == search.settings(9)[5:]
    judged.clear()
    assert search.search(folder, 9) == whole
    assert judged == []


def test_results_of_another_past_or_of_other_shapes_are_refused(folder, tmp_path):
    search.search(folder, 1)
    with pytest.raises(ValueError, match="other shapes"):
        search.search(folder, 1, shapes=[1.0, 2.0])
    other = tmp_path / "other"
    search.lay_down(other, [past(1)])
    (other / "results.jsonl").write_bytes((folder / "results.jsonl").read_bytes())
    with pytest.raises(ValueError, match="another past"):
        search.search(other, 1)


def test_a_past_that_was_half_kept_is_kept_anew(folder):
    (folder / "whole").unlink()
    search.lay_down(folder, [past(1)])
    assert [one.names for one in search.kept(folder)] == [("vm-0",)]
    search.lay_down(folder, [past(3)])
    assert len(list(search.kept(folder))) == 1, "kept already"


def test_the_frontier_is_what_no_other_beats():
    points = {"a": (0.1, 0.5), "b": (0.1, 0.4), "c": (0.2, 0.6), "d": (0.3, 0.55), "e": (0.0, 0.1), "f": (0.2, 0.6)}
    tried = [Tried(name, {"violation_rate": x, "net_cores_saved_share": y}) for name, (x, y) in points.items()]
    assert [one.name for one in search.frontier(tried)] == ["e", "a", "c"]
    picture = search.drawn("settings", tried)
    assert picture.startswith("<svg")
    assert ">a<" in picture
    assert ">d<" not in picture


@pytest.mark.slow
def test_from_the_command_line_with_two_processes(folder):
    done = CliRunner().invoke(main, ["search", "anything", str(folder), "--count", "9", "--workers", "2", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["settings"] == 9
    assert (folder / "frontier.svg").read_text("utf-8").startswith("<svg")
    assert [one["name"] for one in told["frontier"]] == [one.name for one in search.frontier(search.search(folder, 9))]
    missing = CliRunner().invoke(main, ["search", str(folder / "no.parquet"), str(folder / "new")])
    assert missing.exit_code == 2
