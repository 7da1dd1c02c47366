"""Judging: exact figures, the default table's classes, what is unknown, and the reference classes of the real
trace."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from metering.judging import assess, facts
from metering.judging.facts import Facts
from metering.judging.policy import Verdict
from metering.judging.seen import TRAFFIC, DailyUse
from metering.series import grid
from metering.sizing.traces import load
from providers.metrics import MISSING
from tests.recordings.folder import recording

DAY = 288
MONTH = 30 * DAY


def block(cpu: float = 50.0, mem: float = 50.0, net: float = 500.0, disk: float = 40.0, days: int = 30) -> dict:
    """One machine, constant load, all live."""
    shape = (1, days * DAY)
    return {
        "cpu": np.full(shape, round(cpu * 100), np.uint16),
        "mem": np.full(shape, round(mem * 100), np.uint16),
        "state": np.ones(shape, np.uint8),
        "net": np.full(shape, net, np.float32),
        "disk": np.full(shape, round(disk * 100), np.uint16),
    }


NAMED = {"cpu": "cpu_pct", "mem": "mem_pct", "net": "net_rx_kbps", "disk": "disk_pct", "card": "card_pct",
         "conn": "connections", "steal": "steal_pct"}  # fmt: skip


def measure(state: np.ndarray, policy: assess.Policy, slots_per_day: int = DAY, **samples) -> Facts:
    """Facts of samples by short names; what is no metric is a circumstance."""
    columns = {NAMED[name]: samples.pop(name) for name in list(samples) if name in NAMED}
    columns = {name: column for name, column in columns.items() if column is not None}
    return assess.measure(columns, state, policy=policy, slots_per_day=slots_per_day, **samples)


def verdict(samples: dict, policy: assess.Policy | None = None, **circumstances) -> assess.Findings:
    policy = policy or assess.default()
    return assess.judge(measure(**samples, policy=policy, **circumstances), policy)


def silence(samples: dict, slots: slice) -> dict:
    samples["state"][:, slots] = 0
    samples["cpu"][:, slots] = samples["mem"][:, slots] = MISSING
    samples["net"][:, slots] = np.nan
    return samples


class TestDefaultPolicy:
    @pytest.mark.parametrize(
        ("load", "expected"),
        [
            ({"cpu": 2, "mem": 10, "net": 3}, Verdict.IDLE),
            ({"cpu": 2, "mem": 10, "net": 10}, Verdict.UNDERUSED),
            ({"cpu": 2, "mem": 20, "net": 3}, Verdict.UNDERUSED),
            ({"cpu": 5, "mem": 10, "net": 3}, Verdict.UNDERUSED),
            ({"cpu": 2, "mem": 40, "net": 3}, Verdict.NORMAL),
            ({"cpu": 10, "mem": 10, "net": 3}, Verdict.NORMAL),
            ({"cpu": 79.99, "mem": 84.99, "disk": 84.99}, Verdict.NORMAL),
            ({"cpu": 80}, Verdict.BUSY),
            ({"mem": 85}, Verdict.BUSY),
            ({"disk": 85}, Verdict.BUSY),
            ({"cpu": 90}, Verdict.OVERLOADED),
            ({"mem": 90}, Verdict.OVERLOADED),
            ({"disk": 95}, Verdict.OVERLOADED),
        ],
    )
    def test_thresholds(self, load, expected):
        assert verdict(block(**load))[0] is expected

    def test_underused_needs_a_low_mean_of_daily_maxima(self):
        samples = block(cpu=2, mem=10)
        samples["cpu"][0, ::DAY] = 3100
        assert verdict(samples)[0] is Verdict.NORMAL
        samples["cpu"][0, ::DAY] = 2900
        assert verdict(samples)[0] is Verdict.UNDERUSED

    def test_overloaded_on_three_of_the_last_seven_days_for_half_an_hour(self):
        samples = block(cpu=20)
        for day in (24, 26, 29):
            samples["cpu"][0, day * DAY + 100 : day * DAY + 106] = 9000
        assert verdict(samples)[0] is Verdict.OVERLOADED
        samples["cpu"][0, 24 * DAY + 100] = 8999
        assert verdict(samples)[0] is Verdict.NORMAL
        earlier = block(cpu=20)
        for day in (1, 2, 3, 4):
            earlier["cpu"][0, day * DAY : day * DAY + 50] = 9500
        assert verdict(earlier)[0] is Verdict.NORMAL

    def test_busy_looks_at_the_last_week_only(self):
        samples = block(cpu=20)
        samples["cpu"][0, : 23 * DAY] = 8500
        assert verdict(samples)[0] is Verdict.NORMAL

    def test_reasons_name_figure_and_threshold(self):
        found = verdict(block(cpu=2.1, mem=10, net=3))
        assert [(r.figure, r.value, r.op, r.threshold, r.days) for r in found.reasons(0)] == [
            ("cpu_p95", 2.1, "<", 5, 30),
            ("mem_mean", 10.0, "<", 20, 30),
            ("net_mean", 3.0, "<", 10, 30),
        ]
        assert [r.text() for r in found.reasons(0)][::2] == ["CPU P95 2.1% < 5%", "网络均值 3 kbps < 10 kbps"]
        assert verdict(block()).reasons(0) == ()


class TestServices:
    """Databases and middleware by connections and disk, bandwidth by what was bought."""

    def connected(self, most: float, kind: str = "database", **load) -> assess.Findings:
        samples = block(**load)
        samples["conn"] = np.zeros((1, MONTH), np.float32)
        samples["conn"][0, 5000] = most
        return verdict(samples, kind=np.array([kind]))

    @pytest.mark.parametrize("kind", ["database", "middleware"])
    def test_nobody_connected_for_a_month_is_idle(self, kind):
        found = self.connected(0, kind)
        assert found[0] is Verdict.IDLE
        assert [(r.figure, r.value, r.threshold) for r in found.reasons(0)] == [("conn_max", 0, 1)]

    def test_one_connection_is_use(self):
        assert self.connected(1)[0] is Verdict.NORMAL
        assert self.connected(1).facts.windows[30].conn_max[0] == 1
        assert self.connected(1).facts.windows[7].conn_max[0] == 0

    def test_a_machine_is_not_judged_by_connections(self):
        assert self.connected(0, "vm")[0] is Verdict.NORMAL

    def test_unknown_connections_are_not_none(self):
        samples = block()
        assert verdict(samples, kind=np.array(["database"]))[0] is Verdict.NORMAL
        samples["conn"] = np.zeros((1, MONTH), np.float32)
        samples["conn"][0, : MONTH // 5] = np.nan
        found = verdict(samples, kind=np.array(["database"]))
        assert found.facts.windows[30].conn_coverage[0] == pytest.approx(0.8)
        assert found[0] is Verdict.NORMAL

    @pytest.mark.parametrize(
        ("disk", "expected"), [(84.99, Verdict.NORMAL), (85, Verdict.BUSY), (95, Verdict.OVERLOADED)]
    )
    @pytest.mark.parametrize("kind", ["database", "middleware"])
    def test_their_disk_fills(self, kind, disk, expected):
        assert self.connected(5, kind, disk=disk)[0] is expected

    def line(self, kbps: float, bought: float = 10_000.0, peak: float | None = None) -> assess.Findings:
        samples = block(net=kbps)
        samples["cpu"][:] = samples["mem"][:] = samples["disk"][:] = MISSING
        if peak is not None:
            samples["net"][0, ::DAY] = peak
        return verdict(samples, kind=np.array(["bandwidth"]), line_kbps=np.array([bought]))

    @pytest.mark.parametrize(
        ("kbps", "peak", "expected"),
        [
            (999, None, Verdict.UNDERUSED),
            (1000, None, Verdict.NORMAL),
            (900, 2999, Verdict.UNDERUSED),
            (900, 3001, Verdict.NORMAL),
            (2000, 7990, Verdict.NORMAL),
            (2000, 8000, Verdict.BUSY),
        ],
    )
    def test_traffic_against_what_was_bought(self, kbps, peak, expected):
        assert self.line(kbps, peak=peak)[0] is expected

    def test_the_same_traffic_on_a_wider_line(self):
        assert self.line(8000)[0] is Verdict.BUSY
        found = self.line(8000, bought=100_000)
        assert found[0] is Verdict.UNDERUSED
        assert found.facts.windows[30].line_mean[0] == pytest.approx(8)

    def test_a_line_of_unknown_width_or_without_traffic_data_is_unknown(self):
        assert self.line(100, bought=np.nan)[0] is Verdict.UNKNOWN
        assert self.line(np.nan)[0] is Verdict.UNKNOWN

    def test_rows_from_before_these_figures_are_read(self):
        found = self.connected(1)
        row = found.facts.row(0)
        for window in row["windows"].values():
            for name in ("line_mean", "line_peak", "conn_coverage", "conn_max"):
                del window[name]
        again = assess.judge(Facts.from_rows([row]), found.policy)
        assert again[0] is Verdict.NORMAL
        assert np.isnan(again.facts.windows[30].conn_max[0])


class TestUnknown:
    def test_no_data_is_not_zero(self):
        found = verdict(silence(block(cpu=1, mem=5, net=1), slice(0, MONTH)))
        assert found[0] is Verdict.UNKNOWN
        assert np.isnan(found.facts.windows[30].cpu_mean[0])
        assert found.reasons(0)[0].figure == "coverage"

    def test_coverage_just_enough_and_just_short(self):
        enough = silence(block(cpu=1, mem=5, net=1), slice(0, MONTH // 10))
        assert verdict(enough)[0] is Verdict.IDLE
        short = silence(block(cpu=1, mem=5, net=1), slice(0, MONTH // 10 + 1))
        found = verdict(short)
        assert found[0] is Verdict.UNKNOWN
        assert [(r.figure, r.op, r.threshold) for r in found.reasons(0)] == [("coverage", "<", 0.9)]

    def test_a_silent_week_hides_whether_it_is_busy(self):
        samples = silence(block(cpu=1, mem=5, net=1), slice(MONTH - DAY, MONTH))
        found = verdict(samples)
        assert found.facts.windows[30].coverage[0] > 0.9
        assert found[0] is Verdict.UNKNOWN

    def test_a_busy_machine_is_busy_whatever_was_not_seen_earlier(self):
        samples = silence(block(cpu=85), slice(0, 20 * DAY))
        assert verdict(samples)[0] is Verdict.BUSY

    def test_a_young_machine_is_told_apart_from_a_badly_reported_one(self):
        young = silence(block(cpu=1, mem=5, net=1), slice(0, 20 * DAY))
        found = verdict(young, expected_from=np.array([20 * DAY]))
        assert found[0] is Verdict.UNKNOWN
        assert found.facts.windows[30].received[0] == 1.0
        assert [(r.figure, r.value) for r in found.reasons(0)] == [
            ("coverage", 0.333333),
            ("observed_days", 10),
        ]

    @pytest.mark.parametrize("absent", ["mem", "net"])
    def test_an_unreported_metric_neither_proves_nor_hides(self, absent):
        idle_but_for = {**block(cpu=1, mem=5, net=1), absent: None}
        found = verdict(idle_but_for)
        assert found[0] is Verdict.UNKNOWN
        assert [(r.figure.split("_")[0], r.value) for r in found.reasons(0)] == [(absent, None)]
        assert verdict({**block(cpu=50), absent: None})[0] is Verdict.NORMAL

    def test_memory_reported_once_a_day_is_not_memory_known(self):
        samples = block(cpu=1, mem=5, net=1)
        samples["mem"][:] = MISSING
        samples["mem"][0, ::DAY] = 500
        assert verdict(samples)[0] is Verdict.UNKNOWN


class TestNotRunning:
    def test_off_but_reporting_for_thirty_days_is_stopped(self):
        samples = block(cpu=0, mem=0, net=0)
        samples["state"][:] = assess.OFF
        found = verdict(samples)
        assert found[0] is Verdict.STOPPED
        assert found.reasons(0)[0].value == 30
        samples["state"][0, 0] = assess.LIVE
        assert verdict(samples)[0] is Verdict.UNKNOWN

    def test_stopped_by_the_inventory_without_a_sample(self):
        samples = silence(block(), slice(0, MONTH))
        assert verdict(samples, stopped_days=np.array([45.0]))[0] is Verdict.STOPPED
        assert verdict(samples, stopped_days=np.array([29.0]))[0] is Verdict.UNKNOWN
        assert verdict(samples, stopped_days=np.array([np.nan]))[0] is Verdict.UNKNOWN

    def test_frozen_values_are_dead_not_idle(self):
        samples = block(cpu=1, mem=5, net=1)
        samples["state"][0, MONTH - DAY :] = assess.FROZEN
        assert verdict(samples)[0] is Verdict.DEAD
        samples["state"][0, -1] = assess.LIVE
        assert verdict(samples)[0] is not Verdict.DEAD

    def test_frozen_samples_enter_no_figure(self):
        samples = block(cpu=20)
        samples["state"][0, :DAY] = assess.FROZEN
        samples["cpu"][0, :DAY] = 9999
        seen = verdict(samples).facts.windows[30]
        assert (seen.cpu_max[0], seen.frozen[0], seen.live[0]) == (20.0, DAY, MONTH - DAY)


class TestOtherKinds:
    @pytest.mark.parametrize("kind", ["volume", "eip"])
    def test_unattached_for_fifteen_days(self, kind):
        samples = silence(block(), slice(0, MONTH))
        samples["disk"][:] = MISSING
        for days, expected in ((15.0, Verdict.UNATTACHED), (14.9, Verdict.NORMAL), (np.nan, Verdict.NORMAL)):
            found = verdict(samples, kind=np.array([kind]), unattached_days=np.array([days]))
            assert found[0] is expected

    def test_accelerator_by_the_mean_of_fourteen_days(self):
        samples = block(cpu=60)
        card = np.full_like(samples["cpu"], 4000)
        card[0, MONTH - 14 * DAY :] = 999
        assert verdict({**samples, "card": card}, kind=np.array(["accelerator"]))[0] is Verdict.IDLE
        card[0, -DAY:] = 1500
        assert verdict({**samples, "card": card}, kind=np.array(["accelerator"]))[0] is Verdict.NORMAL
        assert verdict(samples, kind=np.array(["accelerator"]))[0] is Verdict.UNKNOWN

    def test_a_kind_that_no_rule_is_about(self):
        assert verdict(block(), kind=np.array(["security"]))[0] is Verdict.UNJUDGED


class TestMeasure:
    def noisy(self, r=7, days=30, seed=5):
        rng = np.random.default_rng(seed)
        shape = (r, days * DAY)
        cpu = (rng.gamma(1.0, 12.0, shape) * 100).clip(0, 60000).astype(np.uint16)
        mem = (rng.uniform(20, 60, (r, 1)) * 100 + rng.integers(0, 500, shape)).astype(np.uint16)
        state = rng.choice(np.array([0, 1, 2, 3], np.uint8), shape, p=[0.02, 0.94, 0.02, 0.02])
        state[2] = 0
        cpu[rng.random(shape) < 0.01] = MISSING
        return {
            "cpu": cpu,
            "mem": mem,
            "state": state,
            "net": rng.gamma(1, 50, shape).astype(np.float32),
            "disk": np.full(shape, 3000, np.uint16),
        }

    def test_against_a_plain_loop(self):
        samples = self.noisy()
        seen = measure(**samples, policy=assess.default()).windows[7]
        for i in range(7):
            live = samples["state"][i, -7 * DAY :] == 1
            cpu = samples["cpu"][i, -7 * DAY :]
            known = cpu[live & (cpu != MISSING)] / 100
            if not known.size:
                assert np.isnan(seen.cpu_p95[i])
                assert seen.coverage[i] == 0
                continue
            by_day = [
                c[k].max() / 100
                for c, k in zip(cpu.reshape(7, DAY), (live & (cpu != MISSING)).reshape(7, DAY), strict=True)
            ]
            assert seen.live[i] == live.sum()
            assert seen.cpu_mean[i] == pytest.approx(known.mean())
            assert [seen.cpu_p50[i], seen.cpu_p95[i], seen.cpu_p99[i]] == pytest.approx(
                np.quantile(known, [0.5, 0.95, 0.99])
            )
            assert seen.cpu_max[i] == known.max()
            assert seen.daily_peak[i] == pytest.approx(np.mean(by_day))
            assert seen.net_mean[i] == pytest.approx(samples["net"][i, -7 * DAY :][live].mean(), rel=1e-5)

    def test_blocks_of_any_size_give_the_same(self, monkeypatch):
        samples = self.noisy()
        whole = measure(**samples, policy=assess.default())
        monkeypatch.setattr(facts, "CELLS", 2 * MONTH)
        parts = measure(**samples, policy=assess.default())
        assert [whole.row(i) for i in range(7)] == [parts.row(i) for i in range(7)]

    def test_daily_histograms_give_the_same_but_for_half_a_point(self):
        samples = self.noisy()
        exact = measure(**samples, policy=assess.default())
        live = (samples["state"] == 1).reshape(7, 30, DAY)

        def use(values):
            days = values.reshape(7, 30, DAY)
            known = live & (days != MISSING)
            bins = np.minimum(days // 50, 200)
            counts = np.zeros((7, 30, 201), np.uint16)
            r, d, s = np.nonzero(known)
            np.add.at(counts, (r, d, bins[r, d, s]), 1)
            kept = np.where(known, days, 0)
            return DailyUse(counts, kept.sum(axis=2) / 100, kept.max(axis=2) / 100)

        net = np.where(live, samples["net"].reshape(7, 30, DAY), 0).sum(axis=2) / np.maximum(live.sum(axis=2), 1)
        rolled = assess.measure_daily(
            {
                "cpu_pct": use(samples["cpu"]),
                "mem_pct": use(samples["mem"]),
                TRAFFIC: DailyUse(n=live.sum(axis=2), total=net * live.sum(axis=2)),
                "disk_pct": DailyUse(last=np.full((7, 30), 30.0)),
            },
            live.sum(axis=2),
            (samples["state"] == 2).reshape(7, 30, DAY).sum(axis=2),
            (samples["state"] == 3).reshape(7, 30, DAY).sum(axis=2),
            policy=assess.default(),
        )
        for name in assess.FIGURES:
            tolerance = 0.5 if name in ("cpu_p50", "cpu_p95", "cpu_p99", "mem_p95") else 1e-4
            ours, theirs = exact.windows[30][name], rolled.windows[30][name]
            if name in ("disk_last", "disk_growth"):
                ours = np.where(exact.windows[30].live > 0, ours, 30.0 if name == "disk_last" else 0.0)
            np.testing.assert_allclose(theirs, ours, atol=tolerance, err_msg=name)
        agreed = [
            a == b
            for a, b in zip(assess.judge(exact, assess.default()), assess.judge(rolled, assess.default()), strict=True)
        ]
        assert all(agreed)

    def test_daily_histograms_refuse_a_policy_that_wants_frozen_samples(self):
        nothing = DailyUse(np.zeros((1, 1, 201)), np.zeros((1, 1)), np.zeros((1, 1)))
        zero = np.zeros((1, 1), int)
        with pytest.raises(ValueError, match="frozen"):
            assess.measure_daily({"cpu_pct": nothing}, zero, zero, zero, policy=assess.reference())

    def test_shapes_that_do_not_fit(self):
        samples = block()
        with pytest.raises(ValueError, match="mem_pct is"):
            verdict({**samples, "mem": samples["mem"][:, :-1]})
        with pytest.raises(ValueError, match="whole days"):
            assess.measure({"cpu_pct": samples["cpu"][:, 1:]}, samples["state"][:, 1:], policy=assess.default())


class TestPolicyIsData:
    @pytest.mark.parametrize("name", assess.BUILT_IN)
    def test_through_json_and_back(self, name):
        policy = assess.BUILT_IN[name]()
        assert assess.Policy.from_json(json.loads(json.dumps(policy.to_json()))) == policy

    def test_what_is_not_a_policy(self):
        plain = assess.default().to_json()
        plain["rules"][0]["conditions"][0]["figure"] = "cpu_p96"
        with pytest.raises(ValueError, match="cpu_p96"):
            assess.Policy.from_json(plain)

    def test_a_finding_can_be_recomputed_from_what_it_kept(self):
        found = verdict(block(cpu=2.1, mem=10, net=3))
        kept = json.loads(json.dumps(found.row(0)))
        again = assess.judge(assess.Facts.from_rows([kept["facts"]]), assess.default())
        assert again.row(0) == found.row(0)

    def test_a_city_may_draw_the_line_elsewhere(self):
        stricter = replace(
            assess.default(),
            version=2,
            effective_from=date(2026, 1, 1),
            rules=tuple(
                replace(
                    rule,
                    conditions=tuple(
                        replace(c, threshold=1.0) if c.figure == "cpu_p95" and c.op == "<" else c
                        for c in rule.conditions
                    ),
                )
                for rule in assess.default().rules
            ),
        )
        assert verdict(block(cpu=2, mem=10, net=3), stricter)[0] is Verdict.UNDERUSED


def measured(trace: Path):
    """A trace, and its facts for the reference policy."""
    series = load(trace)
    laid = grid(series)
    return series, assess.measure(
        {"cpu_pct": laid.cpu} | ({} if laid.mem is None else {"mem_pct": laid.mem}),
        laid.state,
        policy=assess.reference(),
    )


@pytest.fixture(scope="module")
def made(recordings: Path):
    """As measured, of the generated Rnd, with its machines."""
    return *measured(recordings / "bitbrains_rnd.parquet"), recording("bitbrains_rnd").machines


class TestGeneratedTrace:
    def test_each_machine_has_the_class_that_it_was_made_for(self, made):
        series, facts, machines = made
        assert series.names == tuple(one.name for one in machines)
        assert len(series.slot) == sum(len(one.ts) for one in machines)
        found = assess.judge(facts, assess.reference())
        assert [found[i] for i in range(len(machines))] == [Verdict(one.verdict) for one in machines]

    def test_figures_of_each_machine(self, made):
        _, facts, machines = made
        of = facts.windows[0]
        for name, q in (("cpu_p50", 0.5), ("cpu_p95", 0.95), ("cpu_p99", 0.99), ("cpu_max", 1)):
            np.testing.assert_allclose(getattr(of, name), [np.quantile(one.cpu, q) for one in machines], atol=1e-6)
        np.testing.assert_allclose(of.cpu_mean, [one.cpu.mean() for one in machines], atol=1e-6)
        np.testing.assert_allclose(of.mem_p95, [np.quantile(one.mem, 0.95) for one in machines], atol=0.0051)


@pytest.fixture(scope="module")
def rnd(published: Path):
    """As measured, of the published Rnd, and what was computed of it independently."""
    series, facts = measured(published / "bitbrains_rnd.parquet")
    return series, facts, json.loads((published / "reference_open.json").read_text())["datasets"][series.dataset]


class TestRealTrace:
    def test_reference_classes(self, rnd):
        series, facts, expected = rnd
        assert len(series.slot) == expected["canonical_samples"]
        assert assess.judge(facts, assess.reference()).counts() == expected["class_whole_span"]
        assert expected["class_whole_span"] == {"idle": 148, "normal": 69, "busy": 26}

    def test_deciles_of_the_fleet(self, rnd):
        _, facts, expected = rnd
        for name in ("cpu_mean", "cpu_p50", "cpu_p95", "cpu_p99", "cpu_max", "mem_p95"):
            ours = np.quantile(getattr(facts.windows[0], name), np.arange(11) / 10)
            np.testing.assert_allclose(ours, list(expected["deciles_over_vms"][name].values()), atol=0.02)


class TestStarved:
    """A machine that is given half of what it wants is not half idle."""

    def starved(self, cpu=50.0, steal=50.0):
        samples = block(cpu=cpu)
        return {**samples, "steal": np.full(samples["cpu"].shape, round(steal * 100), np.uint16)}

    def test_demand_at_the_ceiling_is_neither_idle_nor_shrunk(self):
        found = verdict(self.starved())
        assert (found[0], verdict(block(cpu=100))[0]) == (Verdict.STARVED, Verdict.OVERLOADED)
        assert [one.text() for one in found.reasons(0)] == ["供给不足时段占比 100% ≥ 10%"]
        seen = found.facts.windows[30]
        assert (seen.cpu_mean[0], seen.steal_mean[0], seen.starved[0], seen.steal_coverage[0]) == (100, 50, 1, 1)

    @pytest.mark.parametrize(
        ("cpu", "steal", "says", "why"),
        [
            (20, 70, Verdict.STARVED, "供给不足时段占比 100% ≥ 10%"),
            (89, 9, Verdict.BUSY, "CPU 实得 P95 89% ≥ 80%"),
            (75, 9, Verdict.NORMAL, None),  # 84 % wanted
            (92, 50, Verdict.OVERLOADED, "实得高负载天数 7 ≥ 3"),
        ],
    )
    def test_what_is_to_be_larger_goes_by_what_was_given(self, cpu, steal, says, why):
        """The same machine beside others: as it is judged with steal of its own, and as its twin is that tells none."""
        one, others = self.starved(cpu, steal), [block(cpu=each) for each in (cpu, 50, 96)]
        told = {"steal": np.full((1, MONTH), 0, np.uint16)}
        rows = [one, *({**each, **told} for each in others)]
        found = verdict({name: np.concatenate([each[name] for each in rows]) for name in one})
        assert list(found)[1:] == [verdict(each)[0] for each in others]
        assert (found[0], [each.text() for each in found.reasons(0)]) == (says, [why] if why else [])
        assert (found.facts.windows[7].cpu_p95_given[0], found.facts.windows[7].cpu_p95[0]) == (cpu, cpu + steal)
        kept = [found.facts.row(i) for i in range(4)]
        assert ["cpu_p95_given" in each["windows"]["7"] for each in kept] == [True, False, False, False]
        again = assess.judge(assess.Facts.from_rows(kept), found.policy)
        assert [(v, again.reasons(i)) for i, v in enumerate(again)] == [
            (v, found.reasons(i)) for i, v in enumerate(found)
        ]

    def test_next_to_nothing_given_is_not_idle(self):
        samples = {**block(cpu=1, mem=5, net=1), "steal": np.full((1, MONTH), 6000, np.uint16)}
        assert verdict(block(cpu=1, mem=5, net=1))[0] == Verdict.IDLE
        assert verdict(samples)[0] not in assess.RECLAIMABLE

    def test_who_tells_no_steal_is_not_known_to_be_starved(self):
        for steal in (None, np.full((1, MONTH), MISSING, np.uint16)):
            found = verdict({**block(), "steal": steal})
            assert np.isnan(found.facts.windows[30].steal_mean[0])
            assert found[0] == verdict(block())[0]
            assert found.facts.windows[30].cpu_mean[0] == 50
