"""The rule of growth within the day: what can be had, what is seen, and how its two manners differ."""

from __future__ import annotations

import numpy as np
import pytest

from metering.sizing import backtest
from metering.sizing.expansion import BACKTESTED, EXECUTED, expand, fit, sight
from metering.sizing.rightsizing import Fast

NAN = float("nan")


def test_the_smallest_size_that_is_enough_within_the_limit():
    sizes = np.array([2.0, 4.0, 8.0, 16.0])
    found = fit(np.array([4.4, 4.4, 9.0, 1.0, 3.0]), np.array([4.0, 2.0, 4.0, 2.0, 16.0]), sizes)
    np.testing.assert_array_equal(found, [8.0, NAN, NAN, 4.0, NAN])
    assert fit(np.array([9.0]), np.array([4.0]), sizes, most=3.0)[0] == 16


def test_what_is_seen_ends_at_the_size_where_it_is_carried_out():
    demand, size = np.full((1, 12), 9.0), np.full((1, 12), 4.0)
    seen = {
        manner: sight(demand, size, size, np.array([4.0]), Fast(), manner).wanted[0]
        for manner in (BACKTESTED, EXECUTED)
    }
    assert seen[BACKTESTED] == pytest.approx(1.1 * 9 + 0.04)
    assert seen[EXECUTED] == pytest.approx(1.1 * 4 + 0.04)


def test_what_is_not_known_is_neither_growth_nor_its_end():
    demand = np.full((1, 12 * 30), 1.0)
    demand[0, 6:12] = 9.0
    demand[0, :5] = NAN
    under = np.full(demand.shape, 4.0)
    assert not expand(demand, under, under, Fast(), EXECUTED)[1].any(), "seven of twelve"
    assert expand(demand, under, under, Fast())[1].any(), "a replay takes what there is"
    demand[0, :6] = 9.0
    demand[0, 12 * 24 : 12 * 27] = NAN
    force = expand(demand, under, under, Fast(), EXECUTED)[0]
    assert (force[0, 12 : 12 * 28] > 4).all(), "kept until something is known"
    assert (force[0, 12 * 28 :] == 4).all()


def test_names_of_what_is_carried_out():
    assert backtest.carried_out("steward-balanced+fast") == "steward-balanced+fast!"
    assert backtest.carried_out("steward-balanced") == "steward-balanced"
    assert backtest.carried_out("p95@70") == "p95@70"
    assert "tide" not in backtest.carried_out("steward-tide")
    assert backtest.policy("steward-safe+swift!").name == "steward-safe+swift!"
    for name in ("steward-safe!", "steward-tide!", "p95x1.15!"):
        with pytest.raises(ValueError, match="no sizing"):
            backtest.policy(name)
