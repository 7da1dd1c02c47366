"""The stated rules of docs/metering.md, one test each: what the lake says where the world is not as it should be."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from metering.judging import facts
from metering.judging.policy import default
from metering.lake.dayblock import Edges, freeze, lay
from metering.lake.samples import Cells
from metering.lake.store import Lake
from providers.metrics import FROZEN, LIVE, OFF
from tests.metering.samples import DAY, MIDNIGHT, Sample, joined, steady, table
from tests.metering.test_lake import seen

START = datetime.fromtimestamp(MIDNIGHT, UTC)


def closed(tmp_path, *parts) -> Lake:
    lake = Lake(tmp_path)
    lake.append("a", joined(*parts))
    lake.roll()
    return lake


def flat(resource: int, first: int, n: int, **values: float) -> dict:
    """One resource saying the same from slot `first` on."""
    return {
        "resource": np.full(n, resource, np.int64),
        "ts": MIDNIGHT + 300 * (first + np.arange(n, dtype=np.int64)) + 7,
        **{name: np.full(n, value) for name, value in values.items()},
    }


def without(columns, keep):
    return {name: values[keep] for name, values in columns.items()}


# --- gaps ---------------------------------------------------------------------------------------------------


def test_gaps_bend_neither_means_nor_quantiles_nor_shares(tmp_path):
    """Two machines with the same samples, one of them heard only every third time: same figures, lower coverage."""
    whole = {**steady(1, days=7), "cpu_pct": np.tile([10.0, 20.0, 30.0], 672), "mem_pct": np.full(2016, 50.0)}
    whole["net_rx_kbps"] = np.arange(2016) % 7.0 + 1
    keep = np.zeros(2016, bool)
    keep[::4] = True  # every value of CPU as often as before
    holes = without({**whole, "resource": np.full(2016, 2)}, keep)
    lake = closed(tmp_path, whole, holes)
    windows = list(lake.windows(None, DAY, DAY + timedelta(days=6), ("cpu_pct", "mem_pct")))
    found = facts.measure(windows[0].values, windows[0].state, policy=default())
    week = found.windows[7]
    assert week.coverage.tolist() == [1.0, 0.25]
    for name in ("cpu_p95", "mem_mean", "mem_p95"):
        assert getattr(week, name)[0] == getattr(week, name)[1]
    hours = [lake.hours(one, START, START + timedelta(days=7), ("cpu_pct",)) for one in (1, 2)]
    assert np.nanmean(hours[0].values["cpu_pct"]) == pytest.approx(np.nanmean(hours[1].values["cpu_pct"]))
    assert (hours[0].count.sum(), hours[1].count.sum()) == (2016, 504)
    assert hours[1].coverage == 0.25


def test_silence_is_unknown_and_not_zero(tmp_path):
    lake = closed(tmp_path, flat(1, 0, 12, cpu_pct=50.0))
    hours = lake.hours(1, START, START + timedelta(days=1), ("cpu_pct",))
    assert hours.values["cpu_pct"][0] == 50.0
    assert np.isnan(hours.values["cpu_pct"][1:]).all()
    assert hours.coverage == 12 / 288
    chart = lake.chart(1, START, START + timedelta(days=1), ("cpu_pct",))
    assert np.isnan(chart.values["cpu_pct"][12:]).all()


# --- dead, but reporting ------------------------------------------------------------------------------------


def test_the_same_telling_figures_for_an_hour_are_frozen(tmp_path):
    moving = steady(1)
    frozen = flat(1, 100, 12, cpu_pct=3.37, mem_pct=41.0, net_rx_kbps=12.4)
    almost = flat(2, 100, 11, cpu_pct=3.37, mem_pct=41.0, net_rx_kbps=12.4)
    lake = closed(tmp_path, without(moving, slice(0, 100)), frozen, almost)
    state, values = seen(lake, DAY, DAY)[1]
    assert (state[100:112] == FROZEN).all()
    assert (state[:100] == LIVE).all()
    assert values["cpu_pct"][105] == 3.37  # kept, but not counted
    assert (seen(lake, DAY, DAY)[2][0][100:111] == LIVE).all()
    assert lake.counts(DAY, DAY)[1].tolist() == [100, 0, 12]
    hour = lake.hours(1, START + timedelta(hours=8), START + timedelta(hours=9), ("cpu_pct",))
    assert hour.count.tolist() == [4]


def test_an_idle_machine_rounded_to_nothing_is_not_dead(tmp_path):
    lake = closed(tmp_path, flat(1, 0, 288, cpu_pct=0.0, mem_pct=0.0, net_rx_kbps=0.0))
    assert (seen(lake, DAY, DAY)[1][0] == LIVE).all()
    coarse = closed(tmp_path / "coarse", flat(1, 0, 287, cpu_pct=0.5, mem_pct=20.0))
    assert (seen(coarse, DAY, DAY)[1][0][:287] == LIVE).all()


def test_half_a_point_and_nothing_else_is_dead_after_a_day(tmp_path):
    lake = closed(tmp_path, flat(1, 0, 288, cpu_pct=0.5, mem_pct=20.0))
    assert (seen(lake, DAY, DAY)[1][0] == FROZEN).all()


def test_a_frozen_run_over_midnight_is_known_whichever_day_is_closed_first(tmp_path):
    run = flat(1, 282, 12, cpu_pct=3.37, net_rx_kbps=12.4)
    lake = Lake(tmp_path)
    after, before = without(run, slice(6, 12)), without(run, slice(0, 6))
    lake.append("a", joined(after))
    lake.roll()
    assert (seen(lake, DAY, DAY + timedelta(days=1))[1][0][288:294] == LIVE).all()
    lake.append("a", joined(before))
    assert lake.roll() == [DAY]
    state, _ = seen(lake, DAY, DAY + timedelta(days=1))[1]
    assert (state[282:294] == FROZEN).all()  # yesterday's neighbour was settled with it
    lake.append("a", table([Sample(1, MIDNIGHT + 283 * 300 + 7, (("cpu_pct", 9.0),))]))
    lake.roll()
    state, _ = seen(lake, DAY, DAY + timedelta(days=1))[1]
    assert (state[282:294] == LIVE).all()  # and thaws with it
    assert lake.verify() == []


def test_off_is_a_state_and_never_a_figure(tmp_path):
    off = {**flat(1, 0, 6, cpu_pct=80.0), "vcpu": np.zeros(6)}
    on = {**flat(1, 6, 6, cpu_pct=20.0), "vcpu": np.full(6, 4.0)}
    lake = closed(tmp_path, off, on)
    state, values = seen(lake, DAY, DAY)[1]
    assert state[:12].tolist() == [OFF] * 6 + [LIVE] * 6
    assert np.isnan(values["cpu_pct"][:6]).all()
    assert lake.hours(1, START, START + timedelta(hours=1), ("cpu_pct",)).values["cpu_pct"].tolist() == [20.0]


# --- clocks -------------------------------------------------------------------------------------------------


def test_what_lies_in_the_future_is_refused_and_counted(tmp_path):
    lake = Lake(tmp_path)
    now = START + timedelta(hours=1)
    batch = joined(flat(1, 0, 12, cpu_pct=1.0), flat(1, 288, 3, cpu_pct=99.0))
    receipt = lake.append("a", batch, not_after=now)
    assert (receipt.taken, dict(receipt.refused)) == (12, {"row:future": 3})
    assert lake.hot_days() == [DAY]
    # Two steps ahead is within what clocks differ.
    assert lake.append("a", joined(flat(1, 12, 2, cpu_pct=1.0)), not_after=now).taken == 2


def test_a_clock_that_goes_back_writes_no_slot_twice(tmp_path):
    """After the jump the same slots come again with other seconds: the first sample of each slot speaks."""
    first = steady(1, days=0.5)
    again = {**steady(1, days=0.25, seed=5), "ts": steady(1, days=0.25)["ts"] + 60}
    lake = closed(tmp_path, first, again)
    state, values = seen(lake, DAY, DAY)[1]
    assert int((state == LIVE).sum()) == 144
    np.testing.assert_allclose(values["cpu_pct"][:72], first["cpu_pct"][:72])
    assert lake.counts(DAY, DAY)[1][0] == 144


def test_twelve_rows_at_one_timestamp_are_one_sample(tmp_path):
    """As in a clock change that folds an hour: the highest CPU figure of equals speaks."""
    rows = {"resource": np.full(12, 1), "ts": np.full(12, MIDNIGHT), "cpu_pct": np.arange(12.0)}
    lake = closed(tmp_path, rows)
    state, values = seen(lake, DAY, DAY)[1]
    assert (int((state == LIVE).sum()), values["cpu_pct"][0]) == (1, 11.0)


# --- figures that can't be ----------------------------------------------------------------------------------


def test_over_a_hundred_per_cent_is_kept_and_the_absurd_refused(tmp_path):
    lake = Lake(tmp_path)
    rows = {
        "resource": np.arange(1, 6),
        "ts": np.full(5, MIDNIGHT),
        "cpu_pct": np.array([182.0, 700.0, 1000.5, -0.01, np.inf]),
    }
    receipt = lake.append("a", pa.table(rows))
    assert dict(receipt.refused) == {"cpu_pct:negative": 1, "cpu_pct:absurd": 2, "row:empty": 3}
    lake.roll()
    found = seen(lake, DAY, DAY)
    assert found[1][1]["cpu_pct"][0] == 182.0
    assert found[2][1]["cpu_pct"][0] == 655.34  # the greatest that 16 bits hold
    assert sorted(found) == [1, 2]


def test_a_counter_that_was_reset_is_a_hole_and_not_a_negative_rate(tmp_path):
    """Sources turn counters into rates; the one after a reset comes out negative and is refused, not zeroed."""
    rate = np.diff([0.0, 600, 1200, 1800, 100, 700]) / 300
    rows = {"resource": np.full(5, 1), "ts": MIDNIGHT + 300 * np.arange(5), "net_rx_kbps": rate}
    lake = Lake(tmp_path)
    assert dict(lake.append("a", pa.table(rows)).refused) == {"net_rx_kbps:negative": 1, "row:empty": 1}
    lake.roll()
    _, values = seen(lake, DAY, DAY)[1]
    assert values["net_rx_kbps"][:4].tolist()[:3] == [2.0, 2.0, 2.0]
    assert np.isnan(values["net_rx_kbps"][3])
    assert values["net_rx_kbps"][4] == 2.0


# --- resources that change ----------------------------------------------------------------------------------


def test_each_sample_keeps_the_size_it_was_measured_at(tmp_path):
    small = {**steady(1, days=0.5), "vcpu": np.full(144, 4.0), "mem_mb": np.full(144, 8192.0)}
    large = {**steady(1, days=0.5, start=MIDNIGHT + 43_200), "vcpu": np.full(144, 8.0), "mem_mb": np.full(144, 16384.0)}
    lake = closed(tmp_path, small, large)
    (window,) = lake.windows([1], DAY, DAY, ("cpu_pct", "vcpu", "mem_mb"))
    assert window.values["vcpu"][0].tolist() == [4] * 144 + [8] * 144
    assert window.values["mem_mb"][0].tolist() == [8192] * 144 + [16384] * 144


def test_another_id_is_another_resource(tmp_path):
    """The inventory says which machine an id is; the lake never joins two by what they report."""
    same = steady(7)
    lake = closed(tmp_path, same, {**same, "resource": np.full(288, 8)})
    assert sorted(seen(lake, DAY, DAY)) == [7, 8]
    assert lake.counts(DAY, DAY)[7].tolist() == lake.counts(DAY, DAY)[8].tolist() == [288, 0, 0]


# --- a metric that joined later -----------------------------------------------------------------------------


def test_a_metric_that_joined_later_leaves_the_marks_of_days_that_were_closed_without_it(tmp_path):
    """A run over midnight is known by a mark that both days keep: what tells no stolen time has the mark it had, whoever
    else tells it, and a machine that goes on telling the same is still frozen."""
    run = {"cpu_pct": 3.37, "net_rx_kbps": 12.4}
    alone = closed(tmp_path / "a", flat(1, 282, 12, **run))
    beside = closed(tmp_path / "b", flat(1, 282, 12, **run), {**flat(2, 282, 12, **run), "steal_pct": np.full(12, 5.0)})
    for name in ("head_mark", "tail_mark"):
        edges = [getattr(lake.edges(DAY), name) for lake in (alone, beside)]
        assert edges[0][0] == edges[1][0] != 0
        assert edges[1][1] not in (0, edges[1][0])
    for resource in (1, 2):
        assert (seen(beside, DAY, DAY + timedelta(days=1))[resource][0][282:294] == FROZEN).all()
    assert beside.verify() == []


def test_deliveries_side_by_side_are_laid_as_those_that_lie_over_each_other():
    """The same delivery again lies over itself and is laid sample by sample; alone it is laid as it stands."""
    rng = np.random.default_rng(3)
    resource, slot = np.repeat(np.array([7, 8, 11], np.int32), 288), np.tile(np.arange(288, dtype=np.uint16), 3)
    n = len(slot)
    off = (resource == 8) & (slot > 280)
    cpu, disk = rng.integers(0, 4000, n).astype(np.uint16), rng.random(n).astype(np.float32) * 50
    held = (resource == 11) & (slot >= 100) & (slot < 130)  # the same figures for two hours and a half
    cpu[held], disk[held] = 1234, 5.5
    cpu[off], disk[off | (~held & (rng.random(n) < 0.1))] = 65535, np.nan
    whole = Cells(
        resource,
        slot,
        rng.integers(0, 299, n).astype(np.uint16),
        np.where(off, OFF, LIVE).astype(np.uint8),
        {"cpu_pct": cpu, "disk_read_kbs": disk, "vcpu": np.where(off, 0, 4).astype(np.uint16)},
    )
    patchy = rng.random(n) < 0.8
    for parts in (
        [whole],
        [whole.take(slot < 90), whole.take(slot >= 90)],
        [whole.take(patchy), whole.take(~patchy & (resource != 8))],
    ):
        plain, again = lay(parts, 288), lay([*parts, parts[-1]], 288)
        nobody = Edges.none(np.zeros(0, np.int32))
        edges, edges_again = freeze(plain, nobody, nobody), freeze(again, nobody, nobody)
        assert plain.state[2, 110] == FROZEN
        assert plain.state[2, 99] != FROZEN != plain.state[2, 130]
        for mine, other in ((plain, again), (edges, edges_again)):
            for each in fields(mine):
                ours, theirs = getattr(mine, each.name), getattr(other, each.name)
                if isinstance(ours, dict):
                    assert ours.keys() == theirs.keys()
                    assert all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in ours), each.name
                else:
                    assert np.array_equal(ours, theirs), each.name
