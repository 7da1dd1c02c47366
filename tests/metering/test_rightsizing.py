"""Target sizes: the smallest shape, the cost quantile from night to night, fast expansion, memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metering.sizing import rightsizing
from metering.sizing.rightsizing import PROFILES, SHAPES

SAFE = PROFILES["steward-safe"]
CODES = [shape.code for shape in SHAPES]


def advise(vcpu=16, memory=64, cpu=10.0, mem=10.0, days=30, allocated=20.0, **more):
    r = 1
    return rightsizing.smallest_shape(
        SHAPES,
        np.full(r, vcpu),
        np.full(r, memory),
        np.full(r, float(cpu)),
        np.full(r, float(mem)),
        observed_days=np.full(r, days),
        mem_allocated=None if allocated is None else np.full(r, float(allocated)),
        **more,
    )


def code(advice) -> str | None:
    return None if advice.shape[0] < 0 else CODES[advice.shape[0]]


def day(*levels: float) -> tuple[np.ndarray, np.ndarray]:
    """A day of constant load for each machine: its histogram and its peak."""
    counts = np.zeros((len(levels), 201))
    for i, level in enumerate(levels):
        if level == level:
            counts[i, min(int(level * 2), 200)] = 288
    return counts, np.nan_to_num(np.array(levels, float))


def nights(state, profile, days, *levels):
    for _ in range(days):
        state = rightsizing.night(state, *day(*levels), profile)
    return state


class TestSmallestShape:
    def test_keeps_p95_at_seventy_per_cent_of_the_new_size(self):
        # 16 vCPU at 35 % are 5.6 cores: 8 vCPU would run at exactly 70 %.
        assert code(advice := advise(cpu=35, mem=20, allocated=20)) == "8C32G"
        assert advice.cpu_after[0] == pytest.approx(70)
        assert code(advise(cpu=35.1, mem=20, allocated=20)) == "16C32G"

    def test_memory_decides_too(self):
        assert code(advise(cpu=10, mem=15, allocated=17.5)) == "4C16G"
        assert code(advise(cpu=10, mem=15, allocated=17.6)) == "8C32G"
        assert advise(cpu=10, mem=15, allocated=50).direction[0] == 0

    def test_never_below_the_floor(self):
        advice = advise(vcpu=2, memory=8, cpu=0.1, mem=1, allocated=1)
        assert (code(advice), advice.vcpu[0], advice.memory_gb[0]) == ("2C4G", 2, 4)
        assert advise(vcpu=2, memory=4, cpu=0.1, mem=1, allocated=1).direction[0] == 0
        assert advise(vcpu=1, memory=2, cpu=0.1, mem=1, allocated=1).direction[0] == 0

    def test_hypervisor_memory_alone_keeps_half(self):
        advice = advise(cpu=5, mem=3, allocated=None)
        assert advice.memory_unsafe[0]
        assert advice.memory_gb[0] == 32
        assert not advise(cpu=5, mem=3).memory_unsafe[0]

    def test_unknown_memory_is_left_alone_and_unknown_cpu_leaves_all_alone(self):
        assert advise(vcpu=32, memory=64, cpu=5, mem=np.nan, allocated=None).memory_gb[0] == 64
        assert advise(cpu=np.nan).direction[0] == 0

    def test_under_seven_observed_days_nothing_shrinks(self):
        assert advise(days=6).direction[0] == 0
        assert advise(days=6).young[0]
        assert advise(days=7).direction[0] == -1

    def test_only_the_busy_may_grow(self):
        crowded = {"vcpu": 4, "memory": 16, "cpu": 85, "mem": 40, "allocated": 40}
        assert advise(**crowded).direction[0] == 0
        advice = advise(**crowded, grow=np.array([True]))
        assert (advice.direction[0], code(advice)) == (1, "8C16G")

    def test_a_saturated_machine_goes_up_one_step_and_never_down(self):
        full = {"vcpu": 4, "memory": 16, "cpu": 99, "mem": 40, "allocated": 40}
        advice = advise(**full, grow=np.array([True]))
        assert (code(advice), advice.saturated[0]) == ("8C16G", True)
        assert advise(cpu=20, saturated=np.array([True])).direction[0] == 0

    def test_where_no_shape_is_enough_the_largest(self):
        advice = advise(vcpu=16, memory=64, cpu=90, mem=95, allocated=95, grow=np.array([True]))
        assert code(advice) == "32C128G"
        biggest = advise(vcpu=32, memory=128, cpu=90, mem=95, allocated=95, grow=np.array([True]))
        assert biggest.direction[0] == 0

    def test_only_what_the_pool_offers(self):
        allowed = np.array([[c != "4C16G" for c in CODES]])
        assert code(advise(cpu=10, mem=15, allocated=17.5, allowed=allowed)) == "8C16G"

    def test_many_at_once_as_one_by_one(self):
        rng = np.random.default_rng(3)
        r = 200
        vcpu = rng.choice([2, 4, 6, 8, 16, 32], r)
        memory = rng.choice([4, 8, 16, 32, 64, 100], r)
        cpu, mem = rng.uniform(0, 110, r), rng.uniform(0, 100, r)
        days, grow = rng.integers(1, 40, r), rng.random(r) < 0.3
        own = np.where(rng.random(r) < 0.5, mem, np.nan)
        together = rightsizing.smallest_shape(
            SHAPES, vcpu, memory, cpu, mem, observed_days=days, grow=grow, mem_allocated=own
        )
        for i in range(r):
            new = SHAPES[together.shape[i]] if together.shape[i] >= 0 else None
            if together.direction[i] < 0:
                assert new.vcpu <= vcpu[i]
                assert new.memory_gb <= memory[i]
                assert cpu[i] * vcpu[i] / new.vcpu <= 70 + 1e-6
                assert mem[i] * memory[i] / new.memory_gb <= 70 + 1e-6
                assert days[i] >= 7
                assert cpu[i] < 95
                assert not grow[i]
                if np.isnan(own[i]):
                    assert new.memory_gb >= memory[i] / 2
                smaller = [
                    s
                    for s in SHAPES
                    if (s.vcpu, s.memory_gb) < (new.vcpu, new.memory_gb)
                    and s.memory_gb <= memory[i]
                    and cpu[i] * vcpu[i] / s.vcpu <= 70
                    and mem[i] * memory[i] / s.memory_gb <= 70
                    and (np.isfinite(own[i]) or s.memory_gb >= memory[i] / 2)
                ]
                assert smaller == []
            elif together.direction[i] > 0:
                assert grow[i]
                assert new.vcpu >= vcpu[i]
                assert new.memory_gb >= memory[i]
            else:
                assert (together.vcpu[i], together.memory_gb[i]) == (vcpu[i], memory[i])


class TestConfidence:
    def test_grows_with_days_and_coverage(self):
        assert rightsizing.confidence(np.array([3, 15, 30, 90])).tolist() == [0.1, 0.5, 1.0, 1.0]
        assert rightsizing.confidence(np.array([30]), np.array([0.9])).tolist() == [0.9]

    def test_bounds_narrow_with_time(self):
        low, high = rightsizing.bounds(np.array([50.0, 50.0]), np.array([1.0, 50.0]))
        assert high.tolist() == [100.0, 51.0]
        assert low[0] < low[1] < 50


class TestMemoryNeed:
    def test_a_steady_peak_plus_margin(self):
        assert rightsizing.memory_need(np.full((1, 20), 40.0))[0] == pytest.approx(46.0)

    def test_the_old_peak_fades(self):
        peaks = np.full((1, 60), 20.0)
        peaks[0, :20] = 80
        assert rightsizing.memory_need(peaks)[0] == pytest.approx(23.0)
        peaks[0, -20:] = 80
        assert rightsizing.memory_need(peaks)[0] == pytest.approx(92.0)

    def test_gaps_do_not_age_and_the_guest_has_the_last_word(self):
        peaks = np.array([[60.0, 60.0, np.nan, np.nan], [np.nan] * 4])
        assert rightsizing.memory_need(peaks)[0] == pytest.approx(69.0)
        assert np.isnan(rightsizing.memory_need(peaks)[1])
        assert rightsizing.memory_need(peaks, np.array([90.0, 30.0])).tolist() == [90.0, 30.0]


class TestCostQuantile:
    def test_against_trying_every_size(self):
        rng = np.random.default_rng(1)
        samples = np.clip(rng.gamma(1.2, 9, (20, 4000)), 0, 130)
        counts = np.stack([np.bincount(np.minimum(row * 2, 200).astype(int), minlength=201) for row in samples])
        peak = samples.max(axis=1)
        for regret in (10, 80, 640):
            ours = rightsizing.cost_quantile(counts.astype(float), peak, regret)
            for i in range(20):
                edges = [edge for edge in np.arange(201) / 2 if edge < peak[i]] + [peak[i]]
                cost = [edge / 100 + regret * (0 if edge == peak[i] else (samples[i] >= edge).mean()) for edge in edges]
                assert ours[i] == pytest.approx(edges[int(np.argmin(cost))])

    def test_dearer_regret_never_means_a_smaller_size(self):
        counts, peak = day(5)
        counts[0, 60:122] = 1
        peak[0] = 61
        sizes = [rightsizing.cost_quantile(counts, peak, regret)[0] for regret in (1, 10, 20, 80, 640)]
        assert sizes == sorted(sizes)
        assert sizes[-1] == 61

    def test_on_a_catalogue(self):
        counts, peak = day(20, 60, np.nan)
        sizes = np.array([12.5, 25.0, 50.0, 200.0])
        assert rightsizing.cheapest_shape(counts, peak, 40, sizes)[:2].tolist() == [25.0, 100.0]


class TestNight:
    def test_shrinks_after_seven_observed_days_to_the_target(self):
        state = nights(rightsizing.newborn(1, SAFE), SAFE, 6, 20)
        assert state.size[0] == 100
        state = nights(state, SAFE, 1, 20)
        assert state.size[0] == pytest.approx(1.1 * 20 + 1)

    def test_grows_at_once_and_shrinks_only_a_week_later(self):
        small = nights(rightsizing.newborn(1, SAFE), SAFE, 8, 20)
        grown = nights(small, SAFE, 1, 60)
        assert grown.size[0] == pytest.approx(1.1 * 60 + 1)
        assert nights(grown, SAFE, 6, 20).size[0] == grown.size[0]

    def test_shrinks_once_in_a_week_however_fast_the_load_falls(self):
        eager = replace(SAFE, half_life_days=0.1, peak_days=1)
        state = nights(rightsizing.newborn(1, eager), eager, 10, 90)
        sizes = []
        for n in range(30):
            state = nights(state, eager, 1, 90 * 0.9**n)
            sizes.append(float(state.size[0]))
        changed = np.flatnonzero(np.diff(sizes))
        assert len(changed) >= 3
        assert np.diff(changed).min() >= SAFE.settle_days

    def test_margin_alone_never_lifts_above_the_present_size(self):
        assert nights(rightsizing.newborn(1, SAFE), SAFE, 10, 94).size[0] == 100
        assert nights(rightsizing.newborn(1, SAFE), SAFE, 10, 120).size[0] == pytest.approx(121)

    def test_a_gap_is_held_through(self):
        state = nights(rightsizing.newborn(2, SAFE), SAFE, 12, 20, 20)
        after = nights(state, SAFE, 40, np.nan, 20)
        assert after.size[0] == state.size[0]
        assert after.observed.tolist() == [12, 52]
        np.testing.assert_array_equal(after.heap[0], state.heap[0])

    def test_saturated_on_three_of_seven_days_is_never_shrunk(self):
        state = nights(rightsizing.newborn(1, SAFE), SAFE, 10, 98)
        assert state.saturated[0]
        eager = replace(SAFE, half_life_days=0.1, peak_days=1, settle_days=1)
        state = nights(rightsizing.newborn(1, eager), eager, 10, 98)
        assert nights(state, eager, 4, 5).size[0] == 100
        assert nights(state, eager, 6, 5).size[0] < 10

    def test_a_changed_shape_keeps_the_cores(self):
        state = nights(rightsizing.newborn(1, SAFE), SAFE, 8, 20)
        half = rightsizing.rescale(state, np.array([0.5]))
        assert half.size[0] == state.size[0] / 2
        assert half.heap.sum() == pytest.approx(state.heap.sum())
        assert nights(half, SAFE, 10, 10).size[0] == pytest.approx(1.1 * 10 + 1, abs=1.2)

    def test_blocks_are_independent(self):
        rng = np.random.default_rng(2)
        states = [rightsizing.newborn(6, SAFE), rightsizing.newborn(3, SAFE), rightsizing.newborn(3, SAFE)]
        for _ in range(30):
            counts, peak = day(*rng.uniform(1, 90, 6))
            states[0] = rightsizing.night(states[0], counts, peak, SAFE)
            states[1] = rightsizing.night(states[1], counts[:3], peak[:3], SAFE)
            states[2] = rightsizing.night(states[2], counts[3:], peak[3:], SAFE)
        np.testing.assert_array_equal(states[0].size, np.concatenate([states[1].size, states[2].size]))
