"""The rule of growth within the day: what can be had, what is seen, and that a day of it is what a plain loop makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from metering.sizing import backtest
from metering.sizing.expansion import HOUR, Growth, Pace, fit, sight, wanted, within
from metering.sizing.rightsizing import Fast

NAN = float("nan")


def test_the_smallest_size_that_is_enough_within_the_limit_else_the_largest():
    sizes = np.array([2.0, 4.0, 8.0, 16.0])
    under = np.array([4.0, 2.0, 4.0, 2.0, 16.0, 3.0])
    found = fit(np.array([4.4, 4.4, 9.0, 1.0, 3.0, 6.0]), under, sizes, 2 * under)
    np.testing.assert_array_equal(found, [8.0, 4.0, 8.0, 4.0, NAN, 4.0])
    assert fit(np.array([9.0]), np.array([4.0]), sizes, np.array([16.0]))[0] == 16


def test_who_is_at_the_line_gets_twice_as_much_or_what_it_used_and_little_beyond_the_whole():
    force, present = np.array([1.0, 1.0, 3.0, 4.0]), np.full(4, 4.0)
    found = wanted(force, present, Fast(), np.array([0.0, 3.5, 0.0, 9.0]))
    np.testing.assert_allclose(found, [2.0, 3.5, 4.44, 4.44])


def test_an_hour_says_who_is_short_and_who_is_calm():
    size, force = np.array([4.0, 4.0, 4.0, 4.0]), np.array([4.0, 8.0, 8.0, 4.0])
    demand = np.full((4, HOUR), 1.0)
    demand[0, 3], demand[1, 3], demand[2, 3] = 3.92, 5.0, 7.9
    demand[3, :4] = NAN
    seen = sight(demand, size, force, size, Fast())
    assert seen.over.tolist() == [True, True, True, False]
    assert seen.short.tolist() == [True, False, True, False]
    assert seen.known.tolist() == [True, True, True, False], "eight of twelve say nothing of calm"


def days_of(demand, under, present, fast, offered=None, limit=None):
    """`within` day by day: sizes in force [r, n] and where growth began, [r, days]."""
    growth, r = Growth.none(len(demand)), len(demand)
    pace = Pace.of([(fast, r)])
    forces, begun, peaks = [], [], []
    for day in range(demand.shape[1] // 288):
        span = slice(day * 288, (day + 1) * 288)
        reach = np.max(peaks[-fast.reach_days :], axis=0) if peaks and fast.reach_days else np.zeros(r)
        grown = within(growth, demand[:, span], under[:, span], present, reach, day * 288, pace, offered, limit)
        force, began = under[:, span].copy(), np.zeros(r, bool)
        force[grown.rows], began[grown.rows] = grown.force, grown.began
        forces.append(force)
        begun.append(began)
        peaks.append(np.nan_to_num(np.minimum(demand[:, span], force)).max(axis=1))
    return np.concatenate(forces, axis=1), np.array(begun).T


def plainly(demand, under, present, fast, offered=None, limit=np.inf):
    """One machine, slot by slot, as one would tell it."""
    n = len(demand)
    force, size, until, grown, at_line, busy, peaks = [], 0.0, -1, -(10**9), -(10**9), -(10**9), {}
    for slot in range(n):
        now_in_force = max(under[slot], size) if until > slot else under[slot]
        force.append(now_in_force)
        if demand[slot] == demand[slot]:
            use = min(demand[slot], now_in_force)
            peaks[slot // 288] = max(peaks.get(slot // 288, 0.0), use)
            at_line = slot if use >= fast.level * now_in_force - 1e-9 else at_line
            busy = slot if use >= fast.level * under[slot] - 1e-9 else busy
        now = slot + 1
        if now % fast.check_slots:
            continue
        if until >= now and now - busy <= HOUR:
            until = now + fast.hold_hours * HOUR
        elif until == now and np.isfinite(demand[max(0, now - HOUR) : now]).sum() < 9:
            until = now + fast.check_slots
        if at_line >= grown and now - at_line <= HOUR:
            current = max(under[slot], size) if until > now else under[slot]
            today = slot // 288
            most = max((peaks.get(day, 0.0) for day in range(today - fast.reach_days, today)), default=0.0)
            more = min(max(fast.step * current, most), fast.margin * max(present, current) + fast.slack / 100 * present)
            if offered is not None:
                open_to = [one for one in sorted(offered) if under[slot] < one <= limit]
                enough = [one for one in open_to if one >= more - 1e-9]
                more = enough[0] if enough else open_to[-1] if open_to else 0.0
            if more > current + 1e-9:
                size, grown, until = more, now, now + fast.hold_hours * HOUR
    return np.array(force)


@pytest.mark.parametrize("offered", [None, [1.0, 2.0, 4.0, 8.0]], ids=["any", "shapes"])
@pytest.mark.parametrize(
    "fast",
    [Fast(), Fast(check_slots=3, hold_hours=1, step=1.2), Fast(check_slots=12, reach_days=0, level=0.8)],
    ids=str,
)
def test_a_day_is_what_a_plain_loop_makes_of_it(fast: Fast, offered: list[float] | None):
    rng = np.random.default_rng(3)
    r, n = 12, 288 * 5
    demand = rng.gamma(1.0, 0.3, (r, n)) * np.repeat(rng.choice([0.3, 1.0, 3.0], (r, n // 24)), 24, axis=1)
    demand[np.repeat(rng.random((r, n // 6)) < 0.15, 6, axis=1)] = NAN
    under = np.repeat(rng.choice([1.0, 2.0, 4.0], (r, 5)), 288, axis=1)
    present = np.full(r, 4.0)
    table, limit = (None, None) if offered is None else (np.array(offered), np.full(r, 8.0))
    force, began = days_of(demand, under, present, fast, table, limit)
    assert began.any()
    for i in range(r):
        np.testing.assert_array_equal(force[i], plainly(demand[i], under[i], 4.0, fast, offered, 8.0), err_msg=str(i))
    with pytest.raises(ValueError, match="hour"):
        Pace.of([(Fast(check_slots=5), r)])


def test_it_begins_after_one_sample_and_lasts_while_the_load_does():
    demand = np.full((1, 288), 0.5)
    demand[0, 20:60] = 3.0
    under = np.full(demand.shape, 2.0)
    force, began = days_of(demand, under, np.array([8.0]), Fast())
    assert began[0, 0]
    assert (force[0, :21] == 2).all()
    assert (force[0, 21:107] == 4).all(), "an hour and three hours from the last sample above what is underneath"
    assert (force[0, 107:] == 2).all()


def test_no_sample_is_no_demand():
    none = np.full((1, 288), NAN)
    force, began = days_of(none, np.full(none.shape, 2.0), np.array([8.0]), Fast())
    assert not began.any()
    assert (force == 2).all()


def test_what_is_not_known_is_no_end():
    demand = np.full((1, 288), 1.0)
    demand[0, 20] = 9.0
    demand[0, 60:90] = NAN
    under = np.full(demand.shape, 4.0)
    force, began = days_of(demand, under, np.array([8.0]), Fast())
    assert began.any()
    assert (force[0, 21:99] == 8).all(), (
        "its time is over after four hours, and it is kept until three quarters of an hour are known"
    )
    assert (force[0, 100:] == 4).all()


def test_names_of_what_is_carried_out():
    assert backtest.carried_out("steward-balanced+fast") == "steward-balanced+fast!"
    assert backtest.carried_out("steward-balanced") == "steward-balanced"
    assert backtest.carried_out("p95@70") == "p95@70"
    assert "tide" not in backtest.carried_out("steward-tide")
    for name in ("steward-safe+swift!", "vpa-p95-daily!", "steward-tide!", "as-is!"):
        assert backtest.policy(name).name == name
        assert backtest.policy(name).capped
    with pytest.raises(ValueError, match="no sizing"):
        backtest.policy("steward-fast!")
