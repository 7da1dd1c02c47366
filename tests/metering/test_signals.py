"""Counters and gauges become samples: by the rule, and as a slow reading of the rule says."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.intake import signals
from metering.intake.folding import fold
from metering.intake.signals import POINTS, Points, Signal

STEP = 300
SLOT = 1_790_000_100  # the start of a slot


def points(*rows, folded=False):
    """rows: (series, signal, second after SLOT, value, place, resource)."""
    full = [(*row, *(0, 7)[len(row) - 4 :]) for row in rows]
    return Points.of(
        pa.table(
            {
                "resource": [row[5] for row in full],
                "signal": [int(row[1]) for row in full],
                "series": [row[0] for row in full],
                "place": [row[4] for row in full],
                "ts": [round((SLOT + row[2]) * 1000) for row in full],
                "value": [float(row[3]) for row in full],
                "folded": [folded] * len(full),
            },
            schema=POINTS,
        )
    )


def samples(given_points, until=10 * STEP, **more):
    table = fold(given_points, STEP, (SLOT + until) * 1000, **more).samples
    return {(row.pop("resource"), row.pop("ts") - SLOT): row for row in table.to_pylist()}


def every(series, signal, seconds, rate, place=0, start=0.0, since=0):
    """A counter that rises by ``rate`` a second, seen at ``seconds``."""
    return [(series, signal, second, start + rate * (second - since), place, 7) for second in seconds]


SCRAPES = range(0, 2 * STEP, 15)


def test_cpu_is_busy_over_all_and_cpus_are_counted():
    assert SLOT % STEP == 0
    rows = []
    for cpu in range(2):
        rows += every(10 * cpu + 1, Signal.CPU_IDLE_S, SCRAPES, 0.7, place=cpu)
        rows += every(10 * cpu + 2, Signal.CPU_BUSY_S, SCRAPES, 0.3, place=cpu)
    found = samples(points(*rows))
    assert found[7, 0]["cpu_pct"] == pytest.approx(30)
    assert found[7, 0]["vcpu"] == 2
    assert found[7, STEP]["cpu_pct"] == pytest.approx(30)


def test_rates_are_summed_over_links_and_disks():
    rows = every(1, Signal.NET_RX_B, SCRAPES, 1000, place=1) + every(2, Signal.NET_RX_B, SCRAPES, 250, place=2)
    rows += every(3, Signal.DISK_READ_B, SCRAPES, 2048)
    found = samples(points(*rows))[7, STEP]
    assert found["net_rx_kbps"] == pytest.approx(10)
    assert found["disk_read_kbs"] == pytest.approx(2)


def test_what_a_pair_of_senders_tells_twice_counts_once():
    """Two Prometheus servers scrape the same machine, each with a label of its own; one began later."""
    rows = []
    for replica, seconds in ((0, SCRAPES), (100, range(7, 2 * STEP, 15))):
        rows += every(replica + 1, Signal.NET_RX_B, seconds, 1000, place=1)
        rows += every(replica + 2, Signal.NET_RX_B, seconds, 250, place=2)
        rows += every(replica + 3, Signal.DISK_WRITTEN_B, seconds, 4096, place=3)
        for cpu in range(2):
            rows += every(replica + 10 + cpu, Signal.CPU_IDLE_S, seconds, 0.7, place=10 + cpu)
            rows += every(replica + 20 + cpu, Signal.CPU_BUSY_S, seconds, 0.3, place=10 + cpu)
        rows += [(replica + 4, Signal.MEM_TOTAL_B, second, 2**33, 0, 7) for second in seconds]
        rows += [(replica + 5, Signal.MEM_AVAILABLE_B, second, 2**32, 0, 7) for second in seconds]
        # Another machine tells its memory by state, and no total.
        rows += [(replica + 6, Signal.MEM_USED_B, second, 3 * 2**30, 0, 8) for second in seconds]
        rows += [(replica + n, Signal.MEM_REST_B, second, 2**29, 0, 8) for n in (7, 8) for second in seconds]
    found = samples(points(*rows))
    one, other = found[7, STEP], found[8, STEP]
    assert one["net_rx_kbps"] == pytest.approx(10)
    assert one["disk_write_kbs"] == pytest.approx(4)
    assert (one["cpu_pct"], one["vcpu"]) == (pytest.approx(30), 2)
    assert (one["mem_mb"], one["mem_pct"]) == (8192, 50)
    assert (other["mem_mb"], other["mem_pct"]) == (4096, 75)


def test_a_reset_counts_from_zero_and_never_below():
    values = [(0, 1_000_000), (60, 1_006_000), (120, 2_000), (180, 8_000), (240, 14_000), (300, 20_000)]
    rows = [(1, Signal.NET_TX_B, second, value) for second, value in values]
    assert samples(points(*rows))[7, 0]["net_tx_kbps"] == pytest.approx((6_000 + 2_000 + 18_000) / 300 * 8 / 1000)


def test_a_difference_across_silence_is_not_used():
    # Seen until 60 s, silent for two slots, seen again: what lies between is unknown, not a rate.
    rows = every(1, Signal.NET_RX_B, [0, 60, 700, 760, 820, 880], 1000)
    found = samples(points(*rows))
    assert (7, STEP) not in found
    assert "net_rx_kbps" not in found.get((7, 0), {})  # 60 of 300 seconds are less than half
    assert found[7, 2 * STEP]["net_rx_kbps"] == pytest.approx(8)


def test_a_difference_across_a_step_is_used_and_across_more_only_from_who_sends_so():
    """Two points alone tell no habit: a tenth more than a step is let pass, more is silence."""
    for apart, told in ((STEP, 8), (STEP + 30, 8), (STEP + 31, None)):
        rows = every(1, Signal.NET_RX_B, [0, apart], 1000, place=1)
        found = samples(points(*rows)).get((7, 0), {})
        assert found.get("net_rx_kbps") == (told if told is None else pytest.approx(told))


def test_memory_and_the_fullest_filesystem():
    rows = [
        (1, Signal.MEM_TOTAL_B, 10, 8 * 2**30),
        (2, Signal.MEM_AVAILABLE_B, 10, 6 * 2**30),
        (2, Signal.MEM_AVAILABLE_B, 100, 4 * 2**30),
        (3, Signal.FS_SIZE_B, 10, 100, 1),
        (4, Signal.FS_AVAILABLE_B, 10, 90, 1),
        (5, Signal.FS_SIZE_B, 10, 1000, 2),
        (6, Signal.FS_AVAILABLE_B, 10, 50, 2),
    ]
    found = samples(points(*rows))[7, 0]
    assert found["mem_pct"] == pytest.approx(100 * 3 / 8)
    assert found["mem_mb"] == 8192
    assert found["disk_pct"] == pytest.approx(95)


def test_what_opentelemetry_tells_of_memory_and_disks():
    rows = [
        (1, Signal.MEM_USED_B, 10, 3 * 2**30),
        (2, Signal.MEM_REST_B, 10, 2 * 2**30),
        (3, Signal.MEM_REST_B, 10, 3 * 2**30),
        (4, Signal.FS_USED_B, 10, 30, 1),
        (5, Signal.FS_AVAILABLE_B, 10, 10, 1),
        (6, Signal.CPU_USED_SHARE, 10, 0.5),
    ]
    found = samples(points(*rows))[7, 0]
    assert found["mem_pct"] == pytest.approx(37.5)
    assert found["disk_pct"] == pytest.approx(75)


def test_a_slot_waits_for_its_end_and_a_late_point_moves_what_follows_it():
    first = fold(points(*every(1, Signal.NET_RX_B, range(0, 2 * STEP, 60), 1000)), STEP, (SLOT + STEP) * 1000)
    assert first.samples["ts"].to_pylist() == [SLOT]
    assert first.points.folded.all()
    until = (SLOT + 2 * STEP) * 1000
    then = fold(first.points, STEP, until, (SLOT + STEP) * 1000)
    assert then.samples["ts"].to_pylist() == [SLOT + STEP], "the slot before is not folded again"
    assert fold(then.points, STEP, until, until).samples.num_rows == 0
    late = points((1, Signal.NET_RX_B, 299, 299_000))
    both = Points.of(pa.concat_tables([one.table(np.ones(len(one), bool), one.folded) for one in (then.points, late)]))
    # 299 lies in the first slot; the difference from it to 300 ends there, too.
    assert fold(both, STEP, until, until).samples["ts"].to_pylist() == [SLOT]


@pytest.mark.parametrize(
    ("labels", "signal"),
    [
        ({"__name__": "node_cpu_seconds_total", "mode": "idle", "cpu": "0"}, Signal.CPU_IDLE_S),
        ({"__name__": "node_cpu_seconds_total", "mode": "steal", "cpu": "0"}, Signal.CPU_STEAL_S),
        ({"__name__": "node_cpu_seconds_total", "mode": "iowait", "cpu": "0"}, Signal.CPU_WAIT_S),
        ({"__name__": "node_cpu_seconds_total", "mode": "user", "cpu": "0"}, Signal.CPU_BUSY_S),
        ({"__name__": "node_cpu_seconds_total", "mode": "guest"}, None),
        ({"__name__": "node_network_receive_bytes_total", "device": "lo"}, None),
        ({"__name__": "node_network_receive_bytes_total", "device": "eth0"}, Signal.NET_RX_B),
        ({"__name__": "node_filesystem_size_bytes", "fstype": "tmpfs"}, None),
        ({"__name__": "system.network.io", "direction": "transmit"}, Signal.NET_TX_B),
        ({"__name__": "system.cpu.time", "state": "idle"}, Signal.CPU_IDLE_S),
        ({"__name__": "guanjia_cpu_pct"}, signals.DIRECT),
        ({"__name__": "go_goroutines"}, None),
        ({}, None),
    ],
)
def test_series_are_recognised(labels, signal):
    assert signals.recognise(labels) == signal


def slowly(rows, until):
    """net_rx_kbps by (resource, slot), read off the rule one point at a time."""
    unique = {(series, resource, ts): value for series, _signal, ts, value, _place, resource in rows}
    of = defaultdict(list)
    for (series, resource, ts), value in sorted(unique.items()):
        of[series, resource].append((ts, value))
    seen = defaultdict(lambda: defaultdict(list))
    for (series, resource), told in of.items():
        gaps = sorted(later[0] - one[0] for one, later in pairwise(told))
        usual = gaps[(len(gaps) - 1) // 2] if gaps else 0
        high = None
        for (begin, before), (end, value) in pairwise(told):
            gone = end - begin
            high = before if high is None else high
            if value < before / 2:
                rise, high = value, value
            elif value < before * 0.99:
                high = value
                continue
            else:
                rise, high = max(high, value) - high, max(high, value)
            habit = len(gaps) >= 2 and gone <= 1.5 * usual and gone <= 990
            if gone <= STEP or (len(gaps) < 2 and gone <= 330) or habit:
                for slot in range(begin // STEP, (end - 1) // STEP + 1):
                    part = min(end, (slot + 1) * STEP) - max(begin, slot * STEP)
                    seen[resource, slot * STEP][series].append((rise * part / gone, part))
    result = {}
    for key, series in seen.items():
        covered = sum(part for pairs in series.values() for _rise, part in pairs) / len(series)
        if key[1] + STEP <= until and covered >= STEP / 2:
            result[key] = (
                sum(sum(r for r, _p in each) / sum(p for _r, p in each) for each in series.values()) * 8 / 1000
            )
    return result


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 6 * STEP), st.integers(900, 1000) | st.integers(0, 1000)),
        min_size=1,
        max_size=120,
    )
)
def test_the_fold_equals_the_rule_read_slowly(raw):
    rows = [(series, Signal.NET_RX_B, second, value, series, series // 2) for series, second, value in raw]
    expected = slowly(rows, 5 * STEP)
    found = {key: row["net_rx_kbps"] for key, row in samples(points(*rows), until=5 * STEP).items()}
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value)
