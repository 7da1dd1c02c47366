"""The last hour out of the lake: closed or hot, over midnight, corrected, and as a slow and obvious reading has it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from metering.intraday import last_hour
from metering.lake.store import Lake
from tests.metering.samples import MIDNIGHT, STEP

MOMENT = datetime.fromtimestamp(MIDNIGHT + 12 * 3600, UTC)


def samples(random: np.random.Generator, slots: range, ids: range = range(1, 4)) -> list[tuple[int, int, float, float]]:
    """(resource, ts, cpu, net), one a slot, some seconds into it."""
    return [
        (one, MIDNIGHT + slot * STEP + int(random.integers(0, 200)), round(float(random.random() * 100), 2), slot + 0.5)
        for slot in slots
        for one in ids
    ]


def give(lake: Lake, rows: list[tuple[int, int, float, float]], source: str = "agent") -> None:
    columns = list(zip(*rows, strict=True))
    lake.append(
        source,
        pa.table(
            {
                "resource": pa.array(columns[0], pa.int64()),
                "ts": pa.array(columns[1], pa.int64()),
                "cpu_pct": pa.array(columns[2], pa.float64()),
                "net_rx_kbps": pa.array(columns[3], pa.float64()),
                "vcpu": pa.array([4.0] * len(rows), pa.float64()),
            }
        ),
    )


def expected(rows: list[tuple[int, int, float, float]], end: datetime, ids: range = range(1, 4)) -> np.ndarray:
    """The first sample of each slot of the hour."""
    found = np.full((len(ids), 12), np.nan)
    first = int(end.timestamp()) // STEP - 12
    for one, ts, cpu, _ in sorted(rows, key=lambda row: -row[1]):
        if 0 <= (slot := ts // STEP - first) < 12 and one in ids:
            found[ids.index(one), slot] = cpu
    return found


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("end", [MOMENT, MOMENT + timedelta(hours=12, minutes=15)])
def test_it_is_what_was_delivered(lake: Lake, closed: bool, end: datetime):
    """Also over midnight, and with a day that is closed already."""
    random = np.random.default_rng(1)
    slot = (int(end.timestamp()) - MIDNIGHT) // STEP
    rows = samples(random, range(slot - 30, slot + 5)) + samples(random, range(slot - 5, slot))
    half = len(rows) // 2
    give(lake, rows[:half])
    give(lake, rows[half:], "other")
    if closed:
        lake.roll()
    hour = last_hour.hour(lake, end)
    np.testing.assert_array_equal(hour.resources, [1, 2, 3])
    np.testing.assert_allclose(hour.cpu, expected(rows, end))
    assert last_hour.last_told(hour.vcpu).tolist() == [4.0] * 3
    np.testing.assert_array_equal(np.isfinite(hour.vcpu), np.isfinite(hour.cpu))
    assert last_hour.hour(lake, end + timedelta(days=3)).resources.tolist() == []


def test_silence_is_not_a_number_and_compaction_changes_nothing(lake: Lake):
    rows = [row for row in samples(np.random.default_rng(2), range(120, 144)) if row[0] != 2 or row[2] < 50]
    for row in range(0, len(rows), 3):
        give(lake, rows[row : row + 3])
    before = last_hour.hour(lake, MOMENT)
    lake.compact(2)
    after = last_hour.hour(lake, MOMENT)
    np.testing.assert_array_equal(before.cpu, after.cpu)
    np.testing.assert_allclose(after.cpu, expected(rows, MOMENT))
    cpu, vcpu = after.of([2, 99])
    assert np.isnan(cpu[1]).all()
    assert np.isnan(last_hour.last_told(vcpu)[1])


def test_what_repeats_itself_while_hot_is_silence(lake: Lake):
    rows = [
        (one, MIDNIGHT + slot * STEP, 99.5, 40.0 if one == 1 else slot) for slot in range(132, 144) for one in (1, 2)
    ]
    give(lake, rows)
    hour = last_hour.hour(lake, MOMENT)
    assert np.isnan(hour.cpu[0]).all()
    assert (hour.cpu[1] == 99.5).all()


def test_a_look_waits_for_its_samples():
    at = datetime(2026, 9, 21, 4, 4, tzinfo=UTC)
    assert last_hour.last_look(at, 15, timedelta(minutes=5)) == datetime(2026, 9, 21, 3, 45, tzinfo=UTC)
    assert last_hour.last_look(at + timedelta(minutes=1), 60, timedelta(minutes=5)) == datetime(
        2026, 9, 21, 4, tzinfo=UTC
    )


def test_who_is_not_read_again_would_have_been_found_alive(lake: Lake):
    """At the line all the time, with figures that repeat themselves so often, and samples that are missing or off in between."""
    random, ids, first = np.random.default_rng(4), range(1, 400), 131
    rows = []
    for one in ids:
        stands = int(random.integers(4, 14))  # samples that are the same
        moves = random.random() < 0.3  # what the network says
        for slot in range(first, first + 13):
            if random.random() < 0.05:
                continue
            same = slot - first < stands
            cpu = 100.0 if same else 98 + float(random.integers(0, 3))
            net = 512.0 if same and not moves else float(random.integers(1, 5000))
            rows.append((one, MIDNIGHT + slot * STEP + 7, cpu, net))
    give(lake, rows)
    hour = last_hour.hour(lake, MOMENT)
    alive = last_hour.alive(lake, MOMENT, list(ids))
    np.testing.assert_array_equal(hour.resources, list(ids))
    np.testing.assert_array_equal(np.isfinite(hour.cpu), alive)
    silent = np.isnan(hour.cpu).sum(axis=1) >= 9
    assert 20 < silent.sum() < len(ids) - 100, "both are there"
