"""Forecasts on held-back weeks of traces against the same weekday of last week; and on series that are known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from metering.forecasting import model
from metering.sizing import backtest
from metering.sizing.traces import load
from tests.recordings.folder import recording

AHEAD = 28


def by_day(trace):
    """Mean and largest demand in cores by day of a trace's machines [r, d], NaN = no sample; whole days alone."""
    series = load(trace)
    series = series.take(np.flatnonzero(np.diff(series.starts) >= backtest.SHORTEST))
    _first, days = backtest.calendar(series)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.nanmean(days.demand, axis=2)
    peak = np.where(days.seen, days.peak, np.nan)
    return {"mean": mean[:, 1:-1], "peak": peak[:, 1:-1]}


@pytest.fixture(scope="module")
def daily(published):
    return by_day(published / "bitbrains_rnd.parquet")


@pytest.fixture(scope="module")
def made(recordings):
    return by_day(recordings / "bitbrains_rnd.parquet")


def held_back(series, size):
    """Sums of ``size`` machines at a time; MASE of ours and of naive, coverage, over several held-back months."""
    summed = np.array([np.nansum(series[low : low + size], axis=0) for low in range(0, len(series), size)])
    summed = np.where(summed > 0, summed, np.nan)
    ours, naive, inside = [], [], []
    for cut in range(summed.shape[1] - AHEAD, summed.shape[1] - AHEAD - 21, -3):
        past, true = summed[:, :cut], summed[:, cut : cut + AHEAD]
        told, plain = model.predict(past, AHEAD), model.naive(past, AHEAD)
        known = np.isfinite(true) & np.isfinite(told.mean) & np.isfinite(plain)
        scale = np.nanmean(np.abs(past[:, 7:] - past[:, :-7]), axis=1, keepdims=True) + 1e-6
        ours.append((np.abs(true - told.mean) / scale)[known].mean())
        naive.append((np.abs(true - plain) / scale)[known].mean())
        inside.append(((true >= told.low) & (true <= told.high))[known].mean())
    return np.mean(ours), np.mean(naive), np.mean(inside)


@pytest.mark.parametrize("what", ["mean", "peak"])
@pytest.mark.parametrize(("size", "ratio"), [(10, 0.93), (1000, 0.92)])
def test_better_than_the_same_weekday_of_last_week(daily, what, size, ratio):
    """Ten machines: a system; all of them: a pool. The interval of 80 % holds at least that often."""
    ours, naive, inside = held_back(daily[what], size)
    assert ours <= ratio * naive
    assert 0.78 <= inside <= 0.97


def test_single_machines_are_hard(daily):
    ours, naive, inside = held_back(daily["mean"], 1)
    assert ours <= naive
    assert 0.75 <= inside <= 0.92


@pytest.mark.parametrize(("size", "ratio"), [(1, 0.95), (10, 1.05)])
def test_a_generated_month_is_told_as_well_as_by_last_week_or_better(made, size, ratio):
    """Machines that keep their ways, on some days more than on others: many weeks know more of each than the last one. Of
    the sum of four, whose noise is half as large, some weeks of data tell no more than last week did."""
    names = [one.name for one in recording("bitbrains_rnd").machines]
    keeping = [names.index(one) for one in ("rnd-001", "rnd-004", "rnd-005", "rnd-013")]
    ours, naive, inside = held_back(made["mean"][keeping], size)
    assert ours <= ratio * naive
    assert 0.75 <= inside <= 0.97


def test_days_of_the_generated_trace_are_those_that_it_was_made_of(made):
    """Mean demand of a day in Shanghai; nothing where the files have a gap."""
    one = recording("bitbrains_rnd").machine("rnd-001")
    day = (one.ts + 28800) // 86400
    first = int(day.min()) + 1
    for column, value in enumerate(made["mean"][0]):
        of_day = one.demand[day == first + column]
        assert value == pytest.approx(of_day.mean(), rel=1e-6) if len(of_day) else np.isnan(value)


def test_any_series_has_a_forecast_that_makes_sense_or_none():
    """Holes of every size, days of zero, series without an end, periods over all of it: never a warning of the arithmetic,
    never an infinite figure, and the forecast within its interval."""
    rng = np.random.default_rng(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(400):
            r, d, ahead = (int(rng.integers(1, top)) for top in (4, 100, 40))
            values = rng.gamma(2, 10, (r, d))
            values[rng.random((r, d)) < rng.random()] = np.nan
            if rng.random() < 0.2:
                values[:] = 0
            if rng.random() < 0.2:
                values[0] = np.nan
            busy = rng.random((int(rng.integers(0, 3)), d + ahead)) < rng.random() if rng.random() < 0.6 else None
            told = model.predict(values, ahead, busy)
            known = np.isfinite(told.mean)
            assert (known.all(axis=1) == (np.isfinite(values).sum(axis=1) >= model.LEAST)).all()
            assert (told.mean[known] >= 0).all()
            between = known & np.isfinite(told.low)
            assert (told.low[between] <= told.mean[between]).all()
            assert (told.mean[between] <= told.high[between]).all()
            assert not np.isinf(told.high).any()


def week(weeks=10):
    return np.tile([10.0, 10, 10, 10, 10, 2, 2], weeks)[None, :]


class TestOnKnownSeries:
    def test_a_week_goes_on(self):
        told = model.predict(week(), 14)
        np.testing.assert_allclose(told.mean, week(2), atol=1.0)
        assert (told.low <= week(2) + 1e-9).all()
        assert (week(2) <= told.high + 1e-9).all()
        assert told.origins == model.ORIGINS

    def test_growth_goes_on_more_slowly(self):
        rising = np.arange(70.0)[None, :]
        told = model.predict(rising, 28).mean[0]
        assert told[0] < told[-1] < 70 + 28

    def test_busy_days_come_again(self):
        busy = np.zeros((1, 84), bool)
        busy[0, 27::28] = busy[0, 26::28] = True
        values = 10.0 + 20.0 * busy[:, :56]
        told = model.predict(values, 28, busy).mean[0]
        assert told[busy[0, 56:]].min() > 20
        assert told[~busy[0, 56:]].max() < 14

    def test_too_little_is_not_forecast(self):
        told = model.predict(np.ones((1, 13)), 7)
        assert np.isnan(told.mean).all()
        assert told.origins == 0

    def test_gaps_are_not_zeros(self):
        values = week()
        values[0, 20:40] = np.nan
        told = model.predict(values, 7)
        np.testing.assert_allclose(told.mean, week(1), atol=1.5)

    def test_nothing_below_nothing(self):
        falling = np.maximum(30.0 - np.arange(60.0), 0)[None, :]
        told = model.predict(falling, 28)
        assert (told.mean >= 0).all()
        assert (told.low >= 0).all()

    def test_shapes_are_checked(self):
        with pytest.raises(ValueError, match="busy"):
            model.predict(np.ones((1, 30)), 7, np.zeros((1, 30), bool))
