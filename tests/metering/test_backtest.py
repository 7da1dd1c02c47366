"""Replaying sizing policies: the figures that are known of every trace, the cost quantile's marks, and no foresight."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from metering.series import MachineSeries, flatten
from metering.sizing import backtest, outcomes
from metering.sizing.rightsizing import PROFILES, Profile
from metering.sizing.traces import load
from providers.metrics import MISSING
from tests.recordings import truth
from tests.recordings.folder import recording

DAY = 288
REFERENCE = {
    "p95x1.15": "p95_x1.15",
    "p99x1.15": "p99_x1.15",
    "peakx1.15": "peak_x1.15",
    "vpa-p90-daily": "vpa_p90_x1.15_daily",
    "vpa-p95-daily": "vpa_p95_x1.15_daily",
    "peak14x1.15-daily": "roll14d_peak_x1.15_daily",
}
SETS = (
    "bitbrains_rnd",
    "bitbrains_faststorage50",
    "azure_v1_sample177",
    "planetlab_cloudsim",
    "google2011_gcd1600",
    "nab_aws_cloudwatch",
)


@pytest.fixture(scope="module")
def reference(published: Path) -> dict:
    return json.loads((published / "reference_open.json").read_text())["datasets"]


@pytest.fixture(scope="module")
def rnd(published: Path) -> dict[str, backtest.Result]:
    return backtest.run(load(published / "bitbrains_rnd.parquet"), ("as-is", "oracle", *backtest.NAMES))


@pytest.fixture(scope="module")
def carried(published: Path) -> dict[str, backtest.Result]:
    names = ("vpa-p95-daily!", "peak14x1.15-daily!", "steward-balanced+fast!")
    return backtest.run(load(published / "bitbrains_rnd.parquet"), names)


def steady(levels: list[float], days: int = 40, cores: float = 4.0) -> MachineSeries:
    """Machines of constant load (per cent), every slot there."""
    shape = (len(levels), days * DAY)
    cpu = np.repeat(np.round(np.array(levels) * 100).astype(np.uint16)[:, None], shape[1], axis=1)
    return flatten(
        "steady",
        tuple(f"m{i}" for i in range(len(levels))),
        1000 * DAY,
        cpu,
        np.ones(shape, np.uint8),
        np.full(shape, cores),
    )


@pytest.fixture(scope="module")
def generated(recordings: Path) -> dict[str, backtest.Result]:
    return backtest.run(load(recordings / "bitbrains_rnd.parquet"), ("as-is", "oracle", *backtest.NAMES))


@pytest.fixture(params=["generated", pytest.param("rnd", marks=pytest.mark.published)])
def either(request: pytest.FixtureRequest) -> dict[str, backtest.Result]:
    """Rnd generated and as it was published, for what holds of both."""
    return request.getfixturevalue(request.param)


class TestAgainstTheTruth:
    """Of a generated set everything is known: the marks are those of a plain loop over what it was made of."""

    @pytest.mark.parametrize("dataset", SETS)
    def test_baselines(self, dataset, recordings):
        known = recording(dataset).machines
        names = ("p95x1.15", "p99x1.15", "peakx1.15", "peak14x1.15-daily")
        results = backtest.run(load(recordings / f"{dataset}.parquet"), names)
        for name in names:
            expected = truth.backtest(known, name)
            ours = {**results[name].summary(), "samples": results[name].samples.sum()}
            assert {mark: ours[mark] for mark in expected} == pytest.approx(expected, abs=1e-9), name

    def test_what_already_is(self, generated):
        ours = generated["as-is"].summary()
        halves = [slice(len(one.ts) // 2, None) for one in recording("bitbrains_rnd").machines]
        machines = list(zip(recording("bitbrains_rnd").machines, halves, strict=True))
        over = sum(int((one.cpu[half] > 100).sum()) for one, half in machines)
        assert ours["violation_rate"] == pytest.approx(over / sum(len(one.ts[half]) for one, half in machines))
        assert ours["net_cores_saved_share"] == 0
        assert generated["as-is"].provisioned.sum() == sum(one.cores[half].sum() for one, half in machines)

    def test_foresight_never_violates_and_saves_more_than_any_static_size(self, generated):
        oracle = generated["oracle"].summary()
        assert oracle["violation_rate"] == 0
        assert oracle["net_cores_saved_share"] > generated["peakx1.15"].summary()["net_cores_saved_share"]


class TestAgainstTheReference:
    @pytest.mark.parametrize("dataset", SETS[1:])
    def test_baselines_on_the_other_sets(self, dataset, published, reference):
        results = backtest.run(load(published / f"{dataset}.parquet"), tuple(REFERENCE))
        self.compare(results, reference[dataset]["backtest_cpu"])

    def test_baselines_on_rnd(self, rnd, reference):
        self.compare(rnd, reference["bitbrains_rnd"]["backtest_cpu"])

    def compare(self, results, expected):
        for name, theirs in REFERENCE.items():
            ours, known = results[name].summary(), expected["policies"][theirs]
            assert ours["vms"] == expected["vms"]
            assert results[name].samples.sum() == expected["test_samples"]
            for mark in ("violation_rate", "net_cores_saved_share", "unserved_share_of_demand"):
                assert ours[mark] == pytest.approx(known[mark], abs=1e-4), (name, mark)
            for mark in ("vms_violating_over_1pct", "vms_violating_over_5pct"):
                # VPA's buckets grow by 5 %: a demand on their edge falls on either side by the last bit of a logarithm.
                assert abs(ours[mark] - known[mark]) <= (1 if "vpa" in name else 0), (name, mark)

    def test_what_already_is(self, rnd, reference):
        expected = reference["bitbrains_rnd"]["backtest_cpu"]
        ours = rnd["as-is"].summary()
        assert ours["violation_rate"] == pytest.approx(expected["baseline_share_above_provisioned"], abs=1e-6)
        assert ours["net_cores_saved_share"] == 0
        assert rnd["as-is"].provisioned.sum() / 12 == pytest.approx(expected["test_provisioned_core_h"], abs=0.1)
        assert rnd["as-is"].demand.sum() / 12 == pytest.approx(expected["test_used_core_h"], abs=0.1)


class TestTheSteward:
    def test_safe(self, rnd):
        marks = rnd["steward-safe"].summary()
        assert marks["violation_rate"] <= 0.0010
        assert marks["net_cores_saved_share"] >= 0.525
        assert marks["vms_violating_over_5pct"] == 0
        assert marks["changes_per_vm_30d"] <= 2.5

    def test_balanced_with_fast_expansion(self, rnd):
        marks = rnd["steward-balanced+fast"].summary()
        assert marks["violation_rate"] <= 0.0010
        assert marks["net_cores_saved_share"] >= 0.555
        assert marks["vms_violating_over_1pct"] == 0

    def test_as_it_is_carried_out(self, carried):
        """The settings were searched on the even machines: both halves hold, and the whole."""
        result = carried["steward-balanced+fast!"]
        for which in (slice(None), slice(0, None, 2), slice(1, None, 2)):
            marks = result.summary(which)
            assert marks["violation_rate"] <= 0.0010
            assert marks["net_cores_saved_share"] >= 0.58
            assert marks["vms_violating_over_1pct"] == 0
            assert marks["changes_per_vm_30d"] <= 6

    def test_whoever_looks_at_night_alone_pays_for_what_it_does_not_see(self, rnd, carried):
        ours = carried["steward-balanced+fast!"].summary()
        for name in ("vpa-p95-daily", "peak14x1.15-daily"):
            theirs = carried[f"{name}!"].summary()
            assert theirs["violation_rate"] > 2 * rnd[name].summary()["violation_rate"]
            assert ours["violation_rate"] < theirs["violation_rate"]
        assert ours["net_cores_saved_share"] > carried["peak14x1.15-daily!"].summary()["net_cores_saved_share"]

    def test_growth_on_whole_shapes_as_it_is_carried_out(self, published):
        name = "steward-balanced+fast!"
        marks = backtest.run(load(published / "bitbrains_rnd.parquet"), [name], shapes=[1, 2, 4, 8, 16, 32])[
            name
        ].summary()
        assert marks["caused_rate"] <= 0.0002
        assert marks["net_cores_saved_share"] >= 0.40

    def test_whole_shapes(self, published):
        """On the catalogue the cost quantile causes a quarter of VPA's violations with a quarter of its changes."""
        series = load(published / "bitbrains_rnd.parquet")
        ours, vpa = Profile("ours", 40.0), "vpa-p95-daily"
        results = backtest.run(series, [ours, vpa], shapes=[1, 2, 4, 8, 16, 32])
        marks, theirs = results["ours"].summary(), results[vpa].summary()
        assert marks["caused_rate"] <= 0.0006
        assert marks["net_cores_saved_share"] >= 0.395
        assert theirs["caused_rate"] == pytest.approx(0.00219, abs=5e-5)
        assert theirs["net_cores_saved_share"] == pytest.approx(0.449, abs=1e-3)
        assert marks["changes_per_vm_30d"] < theirs["changes_per_vm_30d"] / 3

    def test_profiles_trade_safety_for_saving(self, either):
        marks = [either[f"steward-{name}"].summary() for name in ("safe", "balanced", "economy")]
        for mark in ("violation_rate", "net_cores_saved_share", "unserved_share_of_demand"):
            assert [m[mark] for m in marks] == sorted(m[mark] for m in marks)

    def test_on_machines_that_keep_their_ways(self, generated):
        """Offices, bursts and levels that go on as they began: next to no violations, and almost half is saved."""
        marks = generated["steward-safe"].summary()
        assert marks["violation_rate"] <= 0.001
        assert marks["net_cores_saved_share"] >= 0.45
        assert marks["changes_per_vm_30d"] <= 2.5

    def test_safe_beats_the_fourteen_day_peak_in_both(self, rnd):
        ours, theirs = rnd["steward-safe"].summary(), rnd["peak14x1.15-daily"].summary()
        assert ours["violation_rate"] < theirs["violation_rate"]
        assert ours["net_cores_saved_share"] > theirs["net_cores_saved_share"] + 0.05

    def test_nobody_beats_foresight(self, rnd):
        oracle = rnd["oracle"].summary()
        assert oracle["violation_rate"] == 0
        assert oracle["net_cores_saved_share"] == pytest.approx(0.691, abs=0.001)


class TestNoForesight:
    @pytest.mark.parametrize("name", backtest.NAMES)
    def test_tomorrow_changes_nothing_today(self, name):
        rng = np.random.default_rng(7)
        shape = (5, 30 * DAY)
        cpu = (rng.gamma(1, 8, shape) * 100).clip(0, 20000).astype(np.uint16)
        changed = cpu.copy()
        changed[:, 25 * DAY :] = (rng.gamma(1, 40, (5, 5 * DAY)) * 100).clip(0, 20000).astype(np.uint16)
        cores = np.full(shape, 4)
        resized = cores.copy()
        resized[:, 25 * DAY :] = 16
        trails = []
        for values, size in ((cpu, cores), (changed, resized)):
            series = flatten("two futures", tuple("abcde"), 1000 * DAY - 96, values, np.ones(shape, np.uint8), size)
            trails.append(backtest.run(series, [name])[name].trail)
        for one, other in zip(*trails, strict=True):
            np.testing.assert_array_equal(one.size[:26], other.size[:26])
            np.testing.assert_array_equal(one.top[:25], other.top[:25])

    @pytest.mark.parametrize("shapes", [None, [1, 2, 4, 8, 16]])
    @pytest.mark.parametrize("name", [*backtest.NAMES, "p95@70", "peak3x1.2-daily"])
    def test_later_samples_never_change_what_was_decided_before(self, name, shapes):
        """Slot by slot, at any moment of a day: through gaps, resizes, starts and ends of machines."""
        size = backtest.policy(name).sizes
        offered = None if shapes is None else np.array(shapes, float)
        felt = False
        for seed in range(4):
            rng = np.random.default_rng(seed)
            r, d = 4, 18
            n = d * DAY
            load = rng.gamma(1, 0.1, (r, n)) * np.repeat(rng.choice([0.3, 1, 4], (r, d)), DAY, axis=1)
            cores = np.repeat(rng.choice([2.0, 4.0, 8.0], (r, d * 2), p=[0.1, 0.8, 0.1]), DAY // 2, axis=1)
            known = np.repeat(rng.random((r, d * 4)) > 0.2, DAY // 4, axis=1)
            known[:, :3] = True
            cut = int(rng.integers(n // 2 + 1, n - DAY))
            forces = []
            for other in (False, True):
                if other:
                    load[:, cut:] = rng.gamma(1, 2, (r, n - cut))
                    cores[:, cut:] = 16.0
                    known[:, cut:] = ~known[:, cut:]
                shape = (r, d, DAY)
                days = backtest.MachineDays(
                    np.where(known, load * cores, np.nan).reshape(shape),
                    np.where(known, cores, 0.0).reshape(shape),
                    (known & (np.arange(n) >= n // 2)).reshape(shape),
                )
                found = size(days, offered)
                by_slot = np.repeat(found.by_day, DAY, axis=1) if found.by_slot is None else found.by_slot
                forces.append(by_slot.reshape(r, n))
            # What is in force in the slot of the cut was decided before it.
            np.testing.assert_array_equal(forces[0][:, n // 2 : cut + 1], forces[1][:, n // 2 : cut + 1])
            felt |= bool((forces[0][:, cut + 1 :] != forces[1][:, cut + 1 :]).any())
        assert felt or name.startswith(("p95x", "p99x", "peakx")), "what came later is felt later"


class TestSeenNotWished:
    """As carried out: min(demand, size in force) is all that a policy knows of demand, by night and within the day."""

    @pytest.mark.parametrize("shapes", [None, [1, 2, 4, 8, 16]], ids=["any", "shapes"])
    @pytest.mark.parametrize("name", [*backtest.NAMES, "p95@70", "peak3x1.2-daily"])
    def test_what_lies_above_the_size_decides_nothing(self, name, shapes):
        policy = backtest.carrying(backtest.policy(name))
        offered = None if shapes is None else np.array(shapes, float)
        rng = np.random.default_rng(5)
        r, d = 6, 24
        n = d * DAY
        load = rng.gamma(1, 0.12, (r, n)) * np.repeat(rng.choice([0.2, 1, 5], (r, d * 3)), DAY // 3, axis=1)
        cores = np.repeat(rng.choice([2.0, 4.0, 8.0], (r, d), p=[0.1, 0.8, 0.1]), DAY, axis=1)
        known = np.repeat(rng.random((r, d * 4)) > 0.1, DAY // 4, axis=1)
        known[:, :3] = True
        demand = np.where(known, load * cores, np.nan).reshape(r, d, DAY)
        provisioned = np.where(known, cores, 0.0).reshape(r, d, DAY)
        judged = (known & (np.arange(n) >= n // 2)).reshape(r, d, DAY)
        before = self.force(policy, demand, provisioned, judged, offered)
        if name.startswith(("p95x", "p99x", "peakx")):  # until it is fixed, what was provisioned is in force
            before = np.where(judged, before, np.where(provisioned > 0, provisioned, before))
        above = demand > before
        assert above.sum() > 50
        for factor in (1.0, 40.0):
            other = np.where(above, before * (1 + factor * rng.random(demand.shape)) + 1e-6, demand)
            found = self.force(policy, other, provisioned, judged, offered)
            np.testing.assert_array_equal(found[judged], before[judged])

    def force(self, policy, demand, provisioned, judged, offered):
        sizes = policy.sizes(backtest.MachineDays(demand, provisioned, judged), offered)
        return np.broadcast_to(sizes.by_day[:, :, None], demand.shape) if sizes.by_slot is None else sizes.by_slot

    def test_who_only_sees_what_it_granted_goes_blind(self):
        """A machine at half its size whose load triples: by night a tenth a day is all that is seen, within the day it is there
        after a look."""
        series = steady([20.0])
        series.cpu[25 * DAY :] = 6000
        names = ["peak14x1.15-daily", "steward-balanced", "steward-balanced+fast"]
        told = backtest.run(series, [f"{name}!" for name in names] + names, utc_offset_s=0)
        assert told["peak14x1.15-daily"].violations[0] == DAY
        assert told["peak14x1.15-daily!"].violations[0] >= 6 * DAY
        assert told["steward-balanced"].violations[0] == DAY
        assert told["steward-balanced!"].violations[0] >= 8 * DAY
        assert told["steward-balanced+fast!"].violations[0] <= 2

    def test_nothing_is_lent_for_nothing(self):
        """What growth lends counts against what is saved: by slot, at the size that was in force."""
        series = steady([10.0])
        series.cpu[30 * DAY + 100] = 5000
        names = ["steward-balanced!", "steward-balanced+fast!"]
        plain, fast = (backtest.run(series, [name], utc_offset_s=0)[name] for name in names)
        lent = fast.size[0] - plain.size[0]
        assert 3 * 12 * 0.4 < lent < 2 * DAY * 4


class TestOnKnownLoads:
    def test_a_constant_machine_costs_nothing_and_saves_its_slack(self):
        result = backtest.run(steady([25.0]), ["p95x1.15", "steward-safe"])
        assert result["p95x1.15"].summary()["net_cores_saved_share"] == pytest.approx(1 - 0.25 * 1.15)
        assert result["steward-safe"].summary()["net_cores_saved_share"] == pytest.approx(1 - (0.25 * 1.1 + 0.01))
        assert result["steward-safe"].summary()["violation_rate"] == 0
        assert result["steward-safe"].summary()["changes_per_vm_30d"] == 0

    def test_a_late_riser_violates_for_one_day_only(self):
        series = steady([10.0])
        series.cpu[30 * DAY :] = 5000
        result = backtest.run(series, ["steward-safe", "steward-safe+fast"], utc_offset_s=0)
        assert result["steward-safe"].violations[0] == DAY
        assert result["steward-safe+fast"].violations[0] == 3, "twice as much each look, until it is enough"
        assert result["steward-safe+fast"].expansions[0] == 1
        assert result["steward-safe"].deepest[0] == pytest.approx(4 * (0.5 - 0.12))
        assert result["steward-safe"].changes[0] == 1

    def test_the_size_is_held_through_a_gap(self):
        shape = (1, 60 * DAY)
        state = np.ones(shape, np.uint8)
        state[0, 35 * DAY : 55 * DAY] = 0
        series = flatten("gap", ("m",), 1000 * DAY, np.full(shape, 3000, np.uint16), state)
        for name in ("steward-safe", "peak14x1.15-daily", "vpa-p95-daily"):
            result = backtest.run(series, [name])[name]
            assert result.violations[0] == 0
            assert len(set(result.trail[0].size[34:].tolist())) == 1

    def test_on_whole_shapes_it_only_shrinks(self):
        result = backtest.run(
            steady([4.0, 30.0, 95.0, 130.0], cores=16), ["steward-safe", "p95x1.15"], shapes=[2, 4, 8, 16, 32]
        )
        for each in result.values():
            assert each.final.tolist() == [2, 8, 16, 16]
            assert each.caused.sum() == 0
            assert each.violations[3] > 0

    def test_a_resized_machine_keeps_its_cores_in_force(self):
        shape = (1, 40 * DAY)
        cores = np.full(shape, 8.0)
        cpu = np.full(shape, 1000, np.uint16)
        cores[0, 25 * DAY :] = 4
        cpu[0, 25 * DAY :] = 2000
        result = backtest.run(
            flatten("resized", ("m",), 1000 * DAY, cpu, np.ones(shape, np.uint8), cores),
            ["steward-safe"],
            utc_offset_s=0,
        )["steward-safe"]
        assert result.violations[0] == 0
        assert result.trail[0].size[24] == pytest.approx(0.96, abs=0.01)
        assert result.trail[0].size[26] == pytest.approx(0.96, abs=0.06)

    def test_two_days_of_samples_are_the_least(self):
        series = steady([10.0], days=1)
        with pytest.raises(ValueError, match="576"):
            backtest.run(series, ["p95x1.15"])

    def test_blocks_of_any_size_give_the_same(self, monkeypatch):
        series = steady([3.0, 20.0, 40.0, 60.0, 80.0])
        whole = outcomes.report("x", backtest.run(series, backtest.NAMES))
        monkeypatch.setattr(backtest, "CELLS", 2 * 42 * DAY)
        monkeypatch.setattr(backtest, "WIDE", 1)
        steps = []
        parts = outcomes.report("x", backtest.run(series, backtest.NAMES, progress=lambda *at: steps.append(at)))
        assert parts == whole
        assert steps[-1] == (3 * len(backtest.NAMES), 3 * len(backtest.NAMES))

    @pytest.mark.parametrize("shapes", [None, [1.0, 2.0, 4.0, 8.0]], ids=["any", "shapes"])
    def test_policies_that_are_walked_together_decide_as_each_does_alone(self, shapes, monkeypatch):
        rng = np.random.default_rng(11)
        r, n = 4, 16 * DAY
        load = rng.gamma(1, 0.1, (r, n)) * np.repeat(rng.choice([0.3, 1, 4], (r, 64)), DAY // 4, axis=1)
        known = np.repeat(rng.random((r, 64)) > 0.1, DAY // 4, axis=1)
        cores = np.repeat(rng.choice([4.0, 8.0], (r, 16), p=[0.9, 0.1]), DAY, axis=1)
        made = (np.where(known, load * cores, np.nan), np.where(known, cores, 0.0), known & (np.arange(n) >= n // 2))
        days = backtest.MachineDays(*(one.reshape(r, 16, DAY) for one in made))
        names = [*(name for name in backtest.NAMES if "+" in name), "steward-tide", "p95@70+prompt", "steward-safe"]
        chosen = [backtest.policy(name + seen) for name in names for seen in ("", "!")]
        offered = None if shapes is None else np.array(shapes)
        side_by_side = {each.name: sizes for each, sizes in backtest.together(chosen, days, offered)}
        monkeypatch.setattr(backtest, "TOGETHER", 1)
        for each, alone in backtest.together(chosen, days, offered):
            sizes = side_by_side[each.name]
            np.testing.assert_array_equal(sizes.by_day, alone.by_day, err_msg=each.name)
            if alone.by_slot is not None:
                np.testing.assert_array_equal(sizes.by_slot, alone.by_slot, err_msg=each.name)
                np.testing.assert_array_equal(sizes.began, alone.began, err_msg=each.name)
        assert sum(each.began is not None and each.began.any() for each in side_by_side.values()) > 5

    @pytest.mark.parametrize("shapes", [None, [1.0, 2.0, 4.0, 8.0]], ids=["any", "shapes"])
    def test_marks_are_those_of_every_slot_reckoned_out(self, shapes):
        """Bit for bit what comes of all slots in full, though most are never looked at."""
        rng = np.random.default_rng(17)
        r, n = 5, 16 * DAY
        load = rng.gamma(1, 0.1, (r, n)) * np.repeat(rng.choice([0.3, 1, 4], (r, 64)), DAY // 4, axis=1)
        cores = np.repeat(rng.choice([4.0, 8.0], (r, 16), p=[0.9, 0.1]), DAY, axis=1)
        state = np.repeat(rng.random((r, 64)) > 0.1, DAY // 4, axis=1).astype(np.uint8)
        names = tuple("abcde")
        series = flatten("made", names, 1000 * DAY - 7, (10_000 * load).clip(0, 40_000).astype(np.uint16), state, cores)
        plain = ["p95@70", "p95@70+prompt", "as-is", "peakx1.15", "vpa-p95-daily", "peak14x1.15-daily"]
        plain += ["steward-safe", "steward-balanced+fast", "steward-economy+swift", "steward-tide"]
        results = backtest.run(series, [*plain, *(f"{name}!" for name in plain)], shapes=shapes)
        offered = None if shapes is None else np.array(shapes)
        for name, found in results.items():
            policy = backtest.policy(name)
            _first, days = (backtest.calendar if policy.local else backtest.from_half)(series)
            sizes, judged = policy.sizes(days, offered), days.judged
            force = np.broadcast_to(sizes.by_day[:, :, None], judged.shape) if sizes.by_slot is None else sizes.by_slot
            demand = np.where(judged, days.demand, 0.0)
            over = np.maximum(np.where(judged, demand - force, 0.0), 0.0)
            steps = np.abs(np.diff(force.reshape(r, -1), axis=1)) > 1e-9
            known, seen = judged.reshape(r, -1), judged.any(axis=2)
            if sizes.by_slot is not None:
                steps &= known[:, 1:] & known[:, :-1]
            moves = np.concatenate([np.zeros((r, 1), bool), steps], axis=1).reshape(judged.shape).sum(axis=2)
            expected = {
                "samples": judged.sum(axis=(1, 2)),
                "violations": (over > 0).sum(axis=(1, 2)),
                "caused": ((over > 0) & (demand <= days.provisioned)).sum(axis=(1, 2)),
                "demand": demand.sum(axis=(1, 2)),
                "unserved": over.sum(axis=(1, 2)),
                "size": np.where(judged, force, 0.0).sum(axis=(1, 2)),
                "provisioned": np.where(judged, days.provisioned, 0.0).sum(axis=(1, 2)),
                "deepest": over.max(axis=(1, 2)),
                "moves": np.where(seen, moves, 0).sum(axis=1),
                "expansions": (sizes.began & seen).sum(axis=1),
            }
            for mark, figures in expected.items():
                np.testing.assert_array_equal(getattr(found, mark), figures, err_msg=f"{name}: {mark}")
            tops = force.max(axis=2).astype(np.float32)
            np.testing.assert_array_equal(np.array([one.top for one in found.trail]), tops, err_msg=name)
        assert sum(found.expansions.sum() > 0 for found in results.values()) > 5

    def test_a_policy_that_is_named_twice_is_judged_once(self):
        series = steady([20.0])
        twice, once = (backtest.run(series, ["steward-safe"] * times)["steward-safe"] for times in (2, 1))
        assert twice.names == once.names
        assert twice.samples.tolist() == once.samples.tolist()

    def test_samples_that_are_missing_or_not_live_do_not_count(self):
        cpu = np.full((1, 4 * DAY), 1000, np.uint16)
        cpu[0, 5] = MISSING
        state = np.ones(cpu.shape, np.uint8)
        state[0, 10:14] = [0, 2, 3, 1]
        assert len(flatten("few", ("m",), 0, cpu, state).slot) == 4 * DAY - 4


class TestReport:
    def test_form(self, either):
        told = json.loads(json.dumps(outcomes.report("bitbrains_rnd", either, worst=10)))
        assert (told["dataset"], told["vms"], set(told["policies"])) == (
            "bitbrains_rnd",
            len(either["oracle"]),
            set(either),
        )
        for marks in told["policies"].values():
            assert {
                "violation_rate",
                "net_cores_saved_share",
                "unserved_share_of_demand",
                "vms_violating_over_1pct",
                "vms_violating_over_5pct",
                "changes_per_vm_30d",
            } <= set(marks)
        assert told["policies"]["oracle"]["worst"] == []

    def test_the_worst_are_drawn_with_the_size_in_force(self, either):
        result = either["vpa-p95-daily"]
        worst = [outcomes.drawn(result, i) for i in result.worst(10)]
        assert len(worst) == min(10, int((result.violations > 0).sum()))
        rates = [machine["violation_rate"] for machine in worst]
        assert rates == sorted(rates, reverse=True)
        for machine in worst:
            judged = [at for at, ts in enumerate(machine["ts"]) if ts >= machine["judged_from"]]
            assert any(machine["peak"][at] is not None and machine["peak"][at] > machine["size"][at] for at in judged)
            assert np.diff(machine["ts"]).tolist() == [86400] * (len(machine["ts"]) - 1)

    def test_groups_add_up(self, either):
        result = either["steward-balanced"]
        labels = [f"department {i % 7}" for i in range(len(result))]
        told = outcomes.report("rnd", {"steward-balanced": result}, {"department": labels})
        groups = told["policies"]["steward-balanced"]["groups"]["department"]
        whole = result.summary()
        assert sum(group["vms"] for group in groups.values()) == len(result)
        assert sum(group["cores_at_end"] for group in groups.values()) == pytest.approx(whole["cores_at_end"])
        assert sum(g["vms_violating_over_1pct"] for g in groups.values()) == whole["vms_violating_over_1pct"]
        with pytest.raises(ValueError, match="labels"):
            result.by_group(labels[:-1])

    def test_frontier(self, either):
        best = outcomes.frontier(either)
        marks = [either[name].summary() for name in best]
        assert [m["violation_rate"] for m in marks] == sorted(m["violation_rate"] for m in marks)
        assert [m["net_cores_saved_share"] for m in marks] == sorted(m["net_cores_saved_share"] for m in marks)
        assert "oracle" not in best

    def test_the_fourteen_day_peak_is_beaten_on_rnd(self, rnd):
        assert "peak14x1.15-daily" not in outcomes.frontier(rnd)


class TestNames:
    @pytest.mark.parametrize(
        "name", ["p95x1.15", "p99.5x1.2", "peakx1.3", "vpa-p97-daily", "peak30x1.05-daily", *PROFILES]
    )
    def test_known(self, name):
        assert backtest.policy(name).name == name

    @pytest.mark.parametrize("name", ["", "p195x1.15", "peak0x1.15-daily", "vpa-p0-daily", "steward-bold"])
    def test_unknown(self, name):
        with pytest.raises(ValueError, match="no sizing policy"):
            backtest.policy(name)
