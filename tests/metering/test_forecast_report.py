"""The test of forecasts: on series whose answer is known, on a real trace, and as a command."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from console.cli.commands import main
from metering.forecasting import report


@pytest.fixture(scope="module")
def folder(traces, tmp_path_factory):
    """Two small sets: one with four weeks, one with ten days."""
    place = tmp_path_factory.mktemp("sets")
    for name in ("bitbrains_faststorage50", "google2011_gcd1600"):
        shutil.copy(traces / f"{name}.parquet", place)
    return place


def run(*words):
    return CliRunner().invoke(main, ["forecast", "test", *map(str, words)])


class TestMarks:
    def test_a_week_that_repeats_is_told_by_naive_exactly_and_by_ours_nearly(self):
        week = np.tile([10.0, 10, 10, 10, 10, 2, 2], 10)[None, :] + np.arange(3)[:, None]
        marks = report.held_back(week, 28, (42,), report.MEAN, "one machine")
        assert marks.naive == 0
        assert 0 < marks.error < 0.1
        assert marks.better == 0
        assert marks.days == 3 * 28
        assert marks.coverage == 1

    def test_noise_is_told_better_than_by_one_week(self):
        noise = np.random.default_rng(4).normal(50, 5, (20, 90))
        marks = report.held_back(noise, 28, (62, 59, 56), report.MEAN, "one machine")
        assert marks.ratio < 0.9
        assert marks.better == 1
        assert 0.7 <= marks.coverage <= 0.95

    def test_a_step_loses_and_says_so(self):
        """Up since six days: last week's weekdays know it, a level that forgets slowly does not yet."""
        step = np.concatenate([np.full(56, 10.0), np.full(34, 30.0)])[None, :]
        marks = report.held_back(step, 28, (62,), report.MEAN, "one machine")
        assert marks.ratio > 1

    def test_gaps_are_not_judged(self):
        values = np.full((1, 90), 5.0)
        values[0, 70:] = np.nan
        assert report.held_back(values, 28, (62,), report.MEAN, "one machine").days == 8

    def test_sums_are_of_those_that_reported(self):
        mean = np.array([[1.0, np.nan, np.nan], [2.0, 2.0, np.nan], [4.0, 4.0, 4.0]])
        np.testing.assert_array_equal(report.together(mean, 2), [[3, 2, np.nan], [4, 4, 4]])

    @pytest.mark.parametrize(("days", "ahead"), [(23, 0), (24, 6), (83, 6), (84, 28)])
    def test_days_ahead_by_what_there_is(self, days, ahead):
        assert report.horizon(days)[0] == ahead
        assert all(cut + ahead <= days for cut in report.horizon(days)[1])


def test_short_sets_are_named_and_nothing_is_claimed(folder, tmp_path):
    target = tmp_path / "forecast.md"
    answer = run(folder, "--write", target, "--json")
    assert answer.exit_code == 0, answer.output
    told = {one["dataset"]: one for one in json.loads(answer.stdout)["sets"]}
    assert told["google2011_gcd1600"]["ahead"] == 0
    assert told["google2011_gcd1600"]["marks"] == []
    kept = told["bitbrains_faststorage50"]["marks"]
    assert {one["of"] for one in kept} == {"one machine", "10 machines", "all"}
    assert all(one["days"] > 0 and 0 < one["mase"] < 1.2 for one in kept)
    text = target.read_text(encoding="utf-8")
    assert "Nothing is claimed on it" in text
    assert text.count("- bitbrains_faststorage50, ") >= sum((one["ratio"] >= 1) or (one["mase"] >= 1) for one in kept)
    assert (tmp_path / "forecast" / "bitbrains_faststorage50.svg").read_text().startswith("<svg")
    assert "nan" not in text


def test_a_folder_without_traces_is_refused(tmp_path):
    answer = run(tmp_path)
    assert answer.exit_code == 2
    assert "no Parquet files" in answer.output
