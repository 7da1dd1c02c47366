"""The promise board's arithmetic, against figures worked out by other means."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random

import pytest

from quota.ledger import outlook
from quota.ledger.outlook import MIN_DAYS, quantile_of_t, runs_out, trend

TODAY = date(2026, 6, 1)


@pytest.mark.parametrize(
    ("p", "degrees", "table"),
    [(0.9, 2, 1.886), (0.9, 3, 1.638), (0.9, 10, 1.372), (0.9, 88, 1.291), (0.95, 5, 2.015), (0.975, 30, 2.042)],
)
def test_quantiles_are_those_of_the_table(p: float, degrees: float, table: float) -> None:
    assert quantile_of_t(p, degrees) == pytest.approx(table, rel=0.02)


def test_a_short_history_says_nothing() -> None:
    assert trend([1.0] * (MIN_DAYS - 1)) is None
    assert trend([]) is None


def test_a_straight_line_runs_out_on_one_day() -> None:
    line = trend([100 + 4 * day for day in range(30)])
    assert line is not None
    assert line.per_day == pytest.approx(4)
    assert (line.low, line.high) == pytest.approx((4, 4))
    found = runs_out(line, 42, TODAY)
    assert found.on == found.earliest == found.latest == TODAY + timedelta(days=10)


def test_what_does_not_grow_does_not_run_out() -> None:
    for figures in ([50.0] * 30, [100.0 - day for day in range(30)]):
        line = trend(figures)
        assert line is not None
        assert runs_out(line, 10, TODAY).on is None
    assert runs_out(line, 0, TODAY).on == TODAY


def test_a_staircase_is_less_certain_than_scattered_points() -> None:
    stairs = trend([float(day // 15 * 15) for day in range(60)])
    random = Random(1)
    scattered = trend([day + random.choice((-1, 1)) * 4.3 for day in range(60)])
    assert stairs is not None
    assert scattered is not None
    assert stairs.high - stairs.low > 2 * (scattered.high - scattered.low)
    found = runs_out(stairs, 60, TODAY)
    assert found.earliest is not None
    assert found.on is not None
    assert found.earliest < found.on


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random, held, tried = Random(7), 0, 400
    for _ in range(tried):
        level, figures = 0.0, []
        for day in range(60):
            level = 0.6 * level + random.gauss(0, 5)
            figures.append(200 + 2.0 * day + level)
        line = trend(figures)
        assert line is not None
        held += line.low <= 2.0 <= line.high
    assert 0.70 <= held / tried <= 0.95


def test_what_if_counts_below_zero() -> None:
    assert outlook.left_after(100, 80, 10) == 10
    assert outlook.left_after(100, 80, 30) == -10


def test_what_was_found_later_was_there_all_along() -> None:
    assert outlook.grown([10, 11, 32, 33], [0, 0, 20, 20]) == [30, 31, 32, 33]
    assert outlook.grown([5, 6], [0, 0]) == [5, 6]
