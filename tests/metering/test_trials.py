"""What was tried for growth within the day: walked plainly it is the rule in force, it sees what can be seen; and the bounds are bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metering.series import flatten
from metering.simulation import trials_report
from metering.simulation.trials import TRIALS, TrialRule, line, walk
from metering.sizing import Fast, Profile, backtest, bound
from metering.sizing.bound import JudgedDemand, PathKind

DAY = 288


@pytest.fixture(scope="module")
def bursts():
    """Six machines of fourteen days with bursts, the second and third moving with the first, gaps in the fifth."""
    rng = np.random.default_rng(13)
    days = 14
    cpu = rng.gamma(2.0, 250, (6, days * DAY)) * np.repeat(
        rng.choice([0.4, 0.8, 4, 12], (6, days * 24), p=[0.5, 0.44, 0.04, 0.02]), 12, axis=1
    )
    cpu[1], cpu[2] = np.roll(cpu[0], 1) * 1.1, np.roll(cpu[0], -1) * 0.9
    state = np.ones(cpu.shape, np.uint8)
    state[4, 1000:1700] = 0
    cores = np.full(cpu.shape, 8.0)
    cores[5, 11 * DAY :] = 4.0
    return flatten("made", tuple("abcdef"), 1000 * DAY, np.minimum(cpu, 11000).astype(np.uint16), state, cores)


def force(policy, days):
    return policy.sizes(days, None).by_slot


def test_with_nothing_changed_it_is_the_rule_in_force(bursts):
    _, days = backtest.calendar(bursts)
    for fast in (Fast(), Fast(check_slots=3, hold_hours=23, step=1.3, reach_days=3)):
        profile = Profile("x", 10.0, fast=fast)
        known = force(backtest.carrying(backtest.steward(profile)), days)
        np.testing.assert_array_equal(walk(TrialRule(profile), days).planned, known)
    assert (known > days.before[:, :, None] * 0.9).any()


def test_each_trial_does_what_is_otherwise_and_sees_nothing_above_the_size(bursts):
    """Everything above the size in force is replaced by twice the machine: no size changes by it."""
    _, days = backtest.calendar(bursts)
    base = walk(TrialRule(), days).planned
    for words, trial in TRIALS:
        found = walk(trial, days).planned
        assert not np.array_equal(found, base), words
        hidden = np.where(days.demand > found, 2 * days.provisioned, days.demand)
        assert (hidden != np.nan_to_num(days.demand, nan=-1))[days.known].any()
        np.testing.assert_array_equal(walk(trial, replace(days, demand=hidden)).planned, found, err_msg=words)


def sized(trial, demand):
    """Sizes in force of machines of 8 cores that are kept at half their size, on a day with these demands, in cores."""
    from metering.simulation import trials

    r, n = np.shape(demand)
    held = trials.ForceInTrial.none(r)
    under, whole, reach = np.full((r, n), 4.0), np.full(r, 8.0), np.full(r, 5.0)
    peers = (np.ones((r, r)) - np.eye(r)) / max(1, r - 1) if trial.alike else None
    return trials._day(trial, held, np.asarray(demand, float), under, whole, reach, 0, peers)[1]


def burst(*at, until=60, high=7.0):
    demand = np.full((1, DAY), 1.0)
    for begin in at:
        demand[0, begin:until] = high
    return demand


def test_rules_by_hand():
    one = sized(TrialRule(), burst(20))[0]
    assert (one[20], one[21], one[59 + 12 + 36 - 1], one[59 + 12 + 36]) == (4, 8, 8, 4)
    two = sized(TrialRule(samples=2), burst(20))[0]
    assert (two[21], two[22]) == (4, 8), "one sample later"
    brief = burst(20, until=21)
    assert sized(TrialRule(samples=2), brief).max() == 4, "a single sample is none"
    slow = Fast(step=1.2, reach_days=0)
    profile = Profile("x", 10.0, fast=slow)
    assert sized(TrialRule(profile), burst(20))[0].max() == pytest.approx(4 * 1.25 * 1.2 * 1.2)
    assert sized(TrialRule(profile, once=True), burst(20))[0].max() == 5, "to what it used, not raised again"
    back = sized(TrialRule(trim=1.1), burst(20, until=80, high=5.0))[0]
    assert (back[21], back[32], back[33]) == (8, 8, pytest.approx(5.5))
    both = np.concatenate([burst(20), np.ones((1, DAY))])
    assert sized(TrialRule(alike=0.9), both)[1, 21] == 5, "as much as it was seen to use"
    assert sized(TrialRule(alike=0.9, blind=True), both)[1, 21] == 8
    assert sized(TrialRule(alike=0.9, quorum=0.5), np.concatenate([both, np.ones((2, DAY))])).max(axis=1).tolist() == [
        8,
        4,
        4,
        4,
    ]


def made(demand):
    """One machine of 4 cores whose every slot is judged, none of them in a day's first hour."""
    demand = np.asarray(demand, float)[:, None]
    line = np.full(demand.shape, -np.inf)
    for back in range(1, 13):
        np.maximum(line[back:], demand[:-back], out=line[back:])
    return JudgedDemand(demand, line, np.zeros(len(demand), bool), 1, len(demand), 4.0 * len(demand))


@pytest.mark.parametrize(
    ("demand", "violation", "move", "any_path", "reacting"),
    [
        ([1] * 10 + [4] * 10 + [1] * 10, 1000, 0, 60, 60),
        ([1] * 10 + [4] * 10 + [1] * 10, 1000, 1, 62, 62),
        ([1] * 10 + [4] * 10 + [1] * 10, 1000, 1e3, 120, 120),
        ([1] * 10 + [4] * 10 + [1] * 10, 2, 1e3, 50, 50),
        # To 4 from 2 costs a move; whoever has to be at the line first goes down to 1 for it.
        ([2] + [1] * 14 + [4] * 4, 1000, 15, 61, 62),
        # A gap: what is moved in it is no move, and nothing is lent in it.
        ([1] * 3 + [-np.inf] * 5 + [4] * 3, 1000, 1e3, 15, 15),
    ],
)
def test_the_least_is_what_one_reckons_by_hand(demand, violation, move, any_path, reacting):
    assert bound.least(made(demand), PathKind.ANY, violation, move) == pytest.approx(any_path)
    assert bound.least(made(demand), PathKind.REACTING, violation, move) == pytest.approx(reacting)


def test_no_policy_saves_more_than_the_bound_at_its_own_marks(bursts):
    bursts = bursts.take(np.array([0, 4, 5]))
    judged = JudgedDemand.of(bursts)
    results = backtest.run(bursts, ["steward-safe+fast!", "steward-L1+swift!"])
    rng = np.random.default_rng(2)
    for kind in PathKind:
        for violation, move in rng.gamma(0.5, 100, (3, 2)):
            found = bound.least(judged, kind, violation, move)
            for each in results.values():
                paid = each.size + violation * each.violations + move * each.moves
                assert found <= paid.sum() + 1e-6, (each.policy, kind, violation, move)
    hurt, saved, moved = trials_report.marks(each, slice(None))
    assert saved < bound.most_saved(judged, PathKind.ANY, hurt, moved, {}) < 1
    assert (int(each.samples.sum()), int(each.days.sum())) == (judged.samples, judged.days)
    assert float(each.provisioned.sum()) == pytest.approx(judged.provisioned)
    best = {name: each.size for name, each in results.items()}
    mixed = np.minimum.reduce(list(best.values())).sum()
    free = trials_report.picked(list(results.values()), 1.0, 1e6)
    assert free == pytest.approx(1 - mixed / judged.provisioned), "with no limit each has its smallest"
    hurt, saved, moved = trials_report.marks(results["steward-safe+fast!"], slice(None))
    assert saved - 1e-9 <= trials_report.picked(list(results.values()), hurt, moved) <= free + 1e-9


def test_beside_the_line_and_what_is_missed(bursts):
    own = [backtest.carrying(backtest.steward(each)) for each in (line()[0], line()[-1])]
    results = list(backtest.run(bursts, own).values())
    every = slice(None)
    assert all(trials_report.beside(results, each, every) == pytest.approx(0) for each in results)
    (low_hurt, low, _), (high_hurt, high, _) = sorted(trials_report.marks(each, every) for each in results)
    between = replace(results[0], size=results[0].provisioned * (1 - (low + high) / 2 - 0.01))
    total = results[0].samples.sum() * (low_hurt + high_hurt) / 2
    between = replace(between, violations=between.samples / between.samples.sum() * total)
    assert trials_report.beside(results, between, every) == pytest.approx(1.0)
    calm = replace(results[0], violations=results[0].violations * 0, size=results[0].provisioned * 0.4)
    calm = replace(calm, moves=calm.days // 30)
    assert trials_report._missed(calm, every) == []
    told = trials_report._missed(replace(calm, size=calm.provisioned * 0.5, moves=calm.days), every)
    assert told == ["savings (50.0 %)", "moves (30.0)"]
