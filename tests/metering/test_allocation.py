"""Who held how much for how long: the vectorised kernel beside one that counts second by second."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.statements.allocation import HOUR, Spells, allocate, runs
from metering.statements.charges import NANO, half_up, half_ups

DAY = 4 * HOUR  # short days keep the naive model fast


def state_periods(*told, kinds=("vcpu",)):
    """(row, stopped, start, end, {kind: amount}) …"""
    column = list(zip(*told, strict=True)) if told else [(), (), (), (), ()]
    return Spells(
        np.array(column[0], np.int64),
        np.array(column[1], bool),
        np.array(column[2], np.int64),
        np.array(column[3], np.int64),
        {kind: np.array([one.get(kind, 0) for one in column[4]], np.int64) for kind in kinds},
    )


def naive(told, covered, edges, kind):
    """Second by second, in Python."""
    found = {}
    for row, stopped, start, end, amounts in told:
        for second in range(max(start, edges[0]), min(end, edges[-1])):
            day = next(n for n in range(len(edges) - 1) if edges[n] <= second < edges[n + 1])
            allocated, proven = found.setdefault((row, stopped), ([0] * (len(edges) - 1), [0] * (len(edges) - 1)))
            allocated[day] += amounts.get(kind, 0)
            proven[day] += amounts.get(kind, 0) if covered[row][second // HOUR] else 0
    return {key: one for key, one in found.items() if any(one[0])}


def table(held):
    return {
        (int(row), bool(stopped)): (held.allocated[n].tolist(), held.proven[n].tolist())
        for n, (row, stopped) in enumerate(zip(held.row, held.stopped, strict=True))
    }


moments = st.integers(0, 2 * DAY)
told = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.booleans(),
        moments,
        moments,
        st.dictionaries(st.sampled_from(["vcpu", "memory"]), st.integers(0, 524_288), max_size=2),
    ).map(lambda one: (one[0], one[1], min(one[2], one[3]), max(one[2], one[3]), one[4])),
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@given(told, st.lists(st.booleans(), min_size=16, max_size=16))
def test_the_kernel_agrees_with_counting_seconds(told, hours):
    covered = np.array(hours).reshape(2, 8)
    edges = np.array([0, DAY, 2 * DAY], np.int64)
    found = allocate(state_periods(*told, kinds=("vcpu", "memory")), covered, edges)
    for kind in ("vcpu", "memory"):
        assert table(found[kind]) == naive(told, covered, edges, kind)


def test_a_change_of_size_is_split_at_the_instant():
    covered = np.ones((1, 24), bool)
    edges = np.array([0, 24 * HOUR], np.int64)
    found = allocate(
        state_periods((0, False, 0, 3601, {"vcpu": 4}), (0, False, 3601, 7200, {"vcpu": 8})), covered, edges
    )
    assert found["vcpu"].allocated.tolist() == [[4 * 3601 + 8 * 3599]]


def test_silence_is_neither_zero_nor_proven():
    covered = np.zeros((1, 24), bool)
    covered[0, 3] = True
    edges = np.array([0, 24 * HOUR], np.int64)
    held = allocate(state_periods((0, False, 0, 24 * HOUR, {"vcpu": 2})), covered, edges)["vcpu"]
    assert (held.allocated.tolist(), held.proven.tolist()) == ([[2 * 86_400]], [[2 * HOUR]])


def test_stopped_time_has_a_line_of_its_own():
    covered = np.ones((1, 2), bool)
    edges = np.array([0, 2 * HOUR], np.int64)
    one, two, three = (
        (0, False, 0, 600, {"vcpu": 1}),
        (0, True, 600, 1200, {"vcpu": 1}),
        (0, False, 1200, 7200, {"vcpu": 1}),
    )
    held = allocate(state_periods(one, two, three), covered, edges)["vcpu"]
    assert table(held) == {(0, False): ([6600], [6600]), (0, True): ([600], [600])}


@pytest.mark.parametrize(
    ("told", "hours", "edges"),
    [([(0, False, 5, 4, {"vcpu": 1})], 24, [0, DAY]), ([], 3, [0, DAY]), ([], 24, [-1, DAY])],
)
def test_what_makes_no_sense_is_refused(told, hours, edges):
    with pytest.raises(ValueError, match=r"spell|hours"):
        allocate(state_periods(*told), np.zeros((1, hours), bool), np.array(edges, np.int64))


def test_equal_days_are_told_once():
    days = np.array([[[4, 4], [4, 4], [0, 0], [4, 2]], [[1, 0], [1, 0], [1, 0], [1, 0]], [[0, 0]] * 4], np.int64)
    assert runs(days) == [[[0, 3], [1, 3], [4, 4], [4, 2]], [[0], [3], [1], [0]], [[], [], [], []]]
    assert runs(np.zeros((1, 0, 2), np.int64)) == [[[], [], [], []]]
    assert runs(np.zeros((0, 3, 2), np.int64)) == []


@pytest.mark.parametrize("times", [1, 7, 18 * 10**8, NANO, 46 * 10**8, 10**15 + 1])
@pytest.mark.parametrize("by", [1, 3, 1024 * 3600, 1024 * 2_678_400, 10**15])
def test_whole_columns_are_rounded_as_single_figures_are(times, by):
    """Half up, to the last unit, below and beyond what a machine integer holds."""
    dice = np.random.default_rng(5)
    figures = np.concatenate([np.arange(50), dice.integers(0, 3_000, 200) * by // 2, dice.integers(0, 10**6, 200)])
    figures = figures[figures * float(times) / by < 2**62]
    assert half_ups(figures, times, by).tolist() == [half_up(one * times, by) for one in figures.tolist()]
    assert half_ups(figures[:0], times, by).tolist() == []
