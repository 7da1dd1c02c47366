"""The lake against a model that knows no files: whatever the order, the batches, the repeats and the closing in between."""

import hashlib
import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.lake import readings as lake_readings
from metering.lake.samples import COLUMNS, natural
from metering.lake.store import Lake
from providers.metrics import ABSENT, FROZEN, LIVE, OFF
from tests.metering.samples import DAY, MIDNIGHT, Model, Sample, days_of, joined, steady, table
from tests.patience import PATIENCE

NAMES = ("cpu_pct", "mem_pct", "net_rx_kbps")

moments = st.one_of(
    st.integers(MIDNIGHT, MIDNIGHT + 1500),  # crowded slots
    st.integers(MIDNIGHT - 86_400, MIDNIGHT + 2 * 86_400 - 1),
)
readings = st.dictionaries(st.sampled_from(NAMES), st.floats(0, 130, width=32), min_size=1)


@st.composite
def histories(draw) -> list[Sample]:
    keys = draw(st.sets(st.tuples(st.sampled_from([3, 4, 700, 9000]), moments), min_size=1, max_size=40))
    found = []
    for resource, ts in sorted(keys):
        off = draw(st.integers(0, 4)) == 0
        found.append(Sample(resource, ts, () if off else tuple(sorted(draw(readings).items())), off))
    return found


def seen(lake: Lake, first, last, names=NAMES):
    """resource -> (state [n], values by metric [n] in units) of the closed days."""
    found = {}
    for window in lake.windows(None, first, last, names):
        for row, resource in enumerate(window.resources.tolist()):
            values = {name: natural(name, window.values[name][row]) for name in names}
            found[resource] = (window.state[row], values)
    return found


def fingerprint(lake: Lake) -> dict[str, str]:
    """What every closed file holds, byte for byte."""
    return {
        str(path.relative_to(lake.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for kind in ("days", "hours", "daily")
        for path in sorted((lake.root / kind).glob("*.parquet"))
    }


def agree(lake: Lake, samples: list[Sample]) -> None:
    first, last = min(days_of(samples)), max(days_of(samples))
    got = seen(lake, first, last)
    resources = sorted({one.resource for one in samples})
    assert sorted(got) == resources
    days = (last - first).days + 1
    state, values = Model.of(samples).matrices(resources, first, days, NAMES)
    for row, resource in enumerate(resources):
        assert np.array_equal(got[resource][0], state[row])
        for name in NAMES:
            np.testing.assert_allclose(got[resource][1][name], values[name][row], rtol=0, atol=1e-9)


@given(histories(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_order_batches_repeats_and_early_closing_change_nothing(tmp_path_factory, samples, random):
    plain = Lake(tmp_path_factory.mktemp("plain"))
    plain.append("a", table(samples))
    plain.roll()
    agree(plain, samples)

    shuffled = samples[:]
    random.shuffle(shuffled)
    lake = Lake(tmp_path_factory.mktemp("lake"))
    cuts = sorted(random.sample(range(len(samples) + 1), min(3, len(samples))))
    batches = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(samples)], strict=True) if a < b]
    for number, batch in enumerate(batches):
        lake.append(f"s{number % 2}", table(batch))
        if random.random() < 0.4:
            lake.roll()
        if random.random() < 0.4:
            lake.append(f"s{number % 2}", table(batch))
    lake.roll()
    assert fingerprint(lake) == fingerprint(plain)
    assert lake.verify() == []


@given(histories())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rollups_are_what_the_samples_make_them(tmp_path_factory, samples):
    lake = Lake(tmp_path_factory.mktemp("lake"))
    lake.append("a", table(samples))
    lake.roll()
    first, last = min(days_of(samples)), max(days_of(samples))
    state, values = Model.of(samples).matrices(
        resources := sorted({one.resource for one in samples}), first, (last - first).days + 1, NAMES
    )
    counts = lake.counts(first, last)
    start = datetime.fromtimestamp(MIDNIGHT, UTC) + timedelta(days=(first - DAY).days)
    end = start + timedelta(days=(last - first).days + 1)
    for row, resource in enumerate(resources):
        assert counts[resource].tolist() == [int((state[row] == one).sum()) for one in (LIVE, OFF, FROZEN)]
        hours = lake.hours(resource, start, end, NAMES)
        assert hours.count.tolist() == (state[row].reshape(-1, 12) == LIVE).sum(axis=1).tolist()
        for name in NAMES:
            by_hour = values[name][row].reshape(-1, 12)
            known = np.isfinite(by_hour)
            n = known.sum(axis=1)
            mean = np.divide(np.nansum(by_hour, axis=1), n, out=np.full(len(n), np.nan), where=n > 0)
            np.testing.assert_allclose(hours.values[name], mean, rtol=2e-6, atol=1e-6)


def test_append_is_there_before_it_returns_and_only_once(tmp_path):
    lake = Lake(tmp_path)
    batch = joined(steady(1), steady(2))
    first, again = lake.append("agent", batch), lake.append("agent", batch)
    assert (first.rows, first.taken, first.files, dict(first.refused)) == (576, 576, 1, {})
    assert again.files == 0
    chart = Lake(tmp_path).chart(
        1, datetime.fromtimestamp(MIDNIGHT, UTC), datetime.fromtimestamp(MIDNIGHT + 86_400, UTC), NAMES
    )
    assert chart.coverage == 1.0
    assert lake.hot_days() == [DAY]
    assert lake.days() == []
    lake.roll()
    lake.append("agent", batch)
    before = fingerprint(lake)
    lake.roll()
    assert fingerprint(lake) == before
    assert lake.status().values == 2 * 576


def test_a_correction_replaces_what_it_corrects_and_nothing_else(tmp_path):
    lake = Lake(tmp_path)
    lake.append("a", joined(steady(1, days=3), steady(600, days=3)))
    lake.roll()
    before = fingerprint(lake)
    ts = MIDNIGHT + 86_400 + 7
    lake.append("a", table([Sample(1, ts, (("cpu_pct", 99.0),))]))
    assert lake.hot_days() == [DAY + timedelta(days=1)]
    assert lake.roll() == [DAY + timedelta(days=1)]
    after = fingerprint(lake)
    changed = {name for name in after if after[name] != before[name]}
    assert {name.split("/")[1][:10] for name in changed} == {"2026-09-22"}
    state, values = seen(lake, DAY, DAY + timedelta(days=2))[1]
    assert values["cpu_pct"][288] == 99.0
    assert values["mem_pct"][288] == steady(1, days=3)["mem_pct"][288]  # not named in the correction
    assert (state == LIVE).all()
    np.testing.assert_array_equal(seen(lake, DAY, DAY)[600][1]["cpu_pct"], np.round(steady(600)["cpu_pct"], 2))


def test_readers_beside_one_writer_see_each_sample_all_the_time(tmp_path):
    """While deliveries come and days close, what was acknowledged never disappears, not for a moment."""
    lake = Lake(tmp_path)
    start, end = datetime.fromtimestamp(MIDNIGHT, UTC), datetime.fromtimestamp(MIDNIGHT + 86_400, UTC)
    acknowledged = 0
    problems: list[str] = []
    stop = threading.Event()

    def read() -> None:
        mine = Lake(tmp_path)
        while not stop.is_set():
            promised = acknowledged
            live = int((mine.chart(1, start, end, ("cpu_pct",)).state == LIVE).sum())
            if live < promised:
                problems.append(f"{promised} acknowledged, {live} seen")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for n in range(60):
            lake.append("a", table([Sample(1, MIDNIGHT + 300 * n, (("cpu_pct", 1.0 + n),))]))
            acknowledged = n + 1
            if n % 5 == 4:
                lake.roll()
    finally:
        stop.set()
        reader.join(PATIENCE)
    assert problems == []


def test_a_city_larger_than_a_chunk_is_closed_block_by_block(tmp_path, monkeypatch):
    """Days wider than what is closed at a time, with columns that only some of it have, come out as if it were not so."""
    from metering.lake import closing

    parts = [steady(one) for one in (0, 511, 512, 1023, 2048)]
    parts.append(steady(5000, net_rx_kbps=12.5))
    late = table([Sample(512, MIDNIGHT + 60, (("card_pct", 5.0),))])
    whole = Lake(tmp_path / "whole")
    whole.append("a", joined(*parts))
    whole.append("b", late)
    whole.roll()
    monkeypatch.setattr(closing, "CHUNK", 512)
    narrow = Lake(tmp_path / "narrow")
    narrow.append("a", joined(*parts))
    narrow.append("b", late)
    narrow.roll()
    assert narrow.verify() == []
    one, other = (seen(lake, DAY, DAY, tuple(COLUMNS)[:-2]) for lake in (whole, narrow))
    assert one.keys() == other.keys()
    for resource in one:
        assert np.array_equal(one[resource][0], other[resource][0])
        for name, values in one[resource][1].items():
            np.testing.assert_array_equal(values, other[resource][1][name])
    with_row_groups = {path.name: path for path in (tmp_path / "narrow" / "days").iterdir()}
    assert (tmp_path / "whole" / "days" / "2026-09-21.parquet").read_bytes() == next(
        iter(with_row_groups.values())
    ).read_bytes()


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"resource": [1]}, KeyError),
        ({"resource": [1], "ts": [MIDNIGHT], "gpu": [1.0]}, ValueError),
        ({"resource": ["a"], "ts": [MIDNIGHT]}, TypeError),
        ({"resource": [1], "ts": [MIDNIGHT], "cpu_pct": ["high"]}, TypeError),
    ],
)
def test_a_delivery_that_makes_no_sense_is_refused_whole(tmp_path, columns, error):
    lake = Lake(tmp_path)
    with pytest.raises(error):
        lake.append("a", pa.table(columns))
    assert lake.hot_days() == []


@pytest.mark.parametrize("source", ["", "../up", "a/b", ".hidden", "x" * 121, "a b"])
def test_a_source_is_a_name(tmp_path, source):
    with pytest.raises(ValueError, match="a source"):
        Lake(tmp_path).append(source, joined(steady(1)))


def test_a_lake_is_opened_as_what_it_is(tmp_path):
    Lake(tmp_path)
    with pytest.raises(ValueError, match="is a lake of"):
        Lake(tmp_path, step_s=60)
    with pytest.raises(ValueError, match="step"):
        Lake(tmp_path / "other", step_s=7)


def test_sources_say_when_they_last_reported_and_how_much(tmp_path):
    lake = Lake(tmp_path)
    lake.append("a", joined(steady(1, days=2)))
    lake.append("b", joined(steady(2)))
    lake.roll()
    lake.append("b", joined(steady(2, start=MIDNIGHT + 86_400, days=0.5)))
    found = lake.sources()
    assert found["a"].rows == {DAY: 288, DAY + timedelta(days=1): 288}
    assert found["a"].last == MIDNIGHT + 7 + 300 * 575
    assert (found["b"].rows, found["b"].hot_files) == ({DAY: 288}, 1)
    assert found["b"].last == MIDNIGHT + 86_400 + 7 + 300 * 143


def test_states_tell_absent_from_off(tmp_path):
    lake = Lake(tmp_path)
    lake.append("a", table([Sample(1, MIDNIGHT + 5, off=True), Sample(1, MIDNIGHT + 605, (("cpu_pct", 3.0),))]))
    lake.roll()
    state, _ = seen(lake, DAY, DAY)[1]
    assert state[:4].tolist() == [OFF, ABSENT, LIVE, ABSENT]


def test_hours_above_a_bound_are_counted_of_those_asked_for_and_no_other_group_is_read(tmp_path, monkeypatch):
    stolen = {3: [12.0, 9.0], 4: [50.0, 50.0], 9000: [10.0], 30_000: [99.0]}
    samples = [
        Sample(one, MIDNIGHT + 3600 * hour + 300 * slot, (("steal_pct", told),))
        for one, mine in stolen.items()
        for hour, told in enumerate(mine)
        for slot in range(12)
    ]
    samples += [Sample(700, MIDNIGHT, (("cpu_pct", 5.0),))]
    samples += [
        Sample(3, MIDNIGHT + 86_400, (("cpu_pct", 5.0),)),
        Sample(9000, MIDNIGHT + 2 * 86_400, (("steal_pct", 20.0),)),
    ]
    lake = Lake(tmp_path)
    lake.append("a", table(samples))
    lake.roll()
    read: list[tuple[int, int]] = []
    whole = lake_readings.Reader.read

    def noted(self, groups, columns):
        read.extend(self.ranges[one] for one in groups)
        return whole(self, groups, columns)

    monkeypatch.setattr(lake_readings.Reader, "read", noted)
    last = DAY + timedelta(days=3)
    assert lake.hours_above([9000, 3, 700, 12], DAY, last, "steal_pct", 10) == {3: (2, 1), 9000: (2, 2)}
    assert read
    assert all(high < 30_000 for _low, high in read)
    assert (
        lake.hours_above([], DAY, last, "steal_pct", 10) == lake.hours_above([31_000], DAY, last, "steal_pct", 10) == {}
    )
