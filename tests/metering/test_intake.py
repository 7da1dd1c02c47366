"""A pool collected into the lake: all of it, once, also by a replay whose samples are younger than the book's clock."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from metering.intake import collection, keeping, schedules
from metering.lake.retention import Keep
from metering.lake.store import Lake
from metering.workbench import Workbench
from providers.adapters.simulated.city import pools as city_pools
from providers.adapters.simulated.cloud import SimulatedCloud
from providers.base import Samples
from quota.actors import steward
from quota.directory.pools import CloudProvider, Pool

EPOCH = datetime(2026, 5, 25, tzinfo=UTC)


@pytest.fixture
def works(book, tmp_path) -> Workbench:
    arm = next(one for one in city_pools() if one.code == "gov-arm")
    with book.transaction(steward()) as tx:
        company = CloudProvider(code="haichen", name="海辰云")
        tx.add(company)
        tx.flush()
        pool = Pool(
            code="gov-arm", name="信创区", provider_id=company.id, arch="aarch64", zone=arm.zone, adapter="simulated"
        )
        tx.add(pool)
        tx.flush()
        number = pool.id
    cloud = SimulatedCloud(pool="gov-arm", epoch="2026-05-25", state_file=tmp_path / "cloud.jsonl")
    return Workbench(book, Lake(tmp_path / "lake"), tmp_path, {number: cloud})


def test_a_replay_ahead_of_the_clock_is_taken_whole_and_only_once(works, clock):
    clock.now = EPOCH  # the book is founded as of the beginning, then the past is read up to a later day
    until = EPOCH + timedelta(hours=6)
    (pool,) = works.pools()
    first = collection.collect(works, pool, until=until)
    assert first.taken > 1000
    assert "row:future" not in first.refused
    again = collection.collect(works, pool, until=until)
    assert again.since == until - schedules.USUAL.lookback
    works.lake.roll()
    counted = sum(int(one.sum()) for one in works.lake.counts(works.lake.days()[0], works.lake.days()[-1]).values())
    assert counted <= first.taken
    collection.collect(works, pool, until=until)
    works.lake.roll()
    days = works.lake.days()
    assert counted == sum(int(one.sum()) for one in works.lake.counts(days[0], days[-1]).values())
    with works.book.reading() as tx:
        assert tx.get_one(collection.Intake, pool.id).collected_until == until
        assert tx.get_one(Pool, pool.id).live_resize is True, "as the adapter says at each listing"


class Spoilt(SimulatedCloud):
    """Every five minutes: a sample of a machine that no listing shows, and a negative one of a machine that is there."""

    ahead = False
    strangers = 1

    def samples(self, since: datetime, until: datetime) -> Iterator[Samples]:
        known = self.inventory(until).facts[0].external_id
        names = [known, *(f"stranger-{n}" for n in range(self.strangers))]
        step = timedelta(minutes=5)
        first = EPOCH + step * math.ceil((since - EPOCH) / step)
        moments = [int((first + step * n).timestamp()) for n in range(math.ceil((until - first) / step))]
        if self.ahead:
            moments.append(int((until + timedelta(days=1)).timestamp()))
        rows = [(index, ts, -1.0 if index == 0 else 5.0) for ts in moments for index in range(len(names))]
        table = pa.table(
            {
                "resource": pa.array([row[0] for row in rows], pa.int32()),
                "ts": pa.array([row[1] for row in rows], pa.int64()),
                "cpu_pct": pa.array([row[2] for row in rows], pa.float64()),
                "mem_pct": pa.array([5.0] * len(rows), pa.float64()),
            }
        )
        yield Samples("spoilt", names, table)


def spoil(works: Workbench, tmp_path: Path) -> Spoilt:
    """The cloud of the only pool, read up to EPOCH before."""
    cloud = Spoilt(pool="gov-arm", epoch="2026-05-25", state_file=tmp_path / "cloud.jsonl")
    (pool,) = works.pools()
    works.opened[pool.id] = cloud
    with works.book.transaction(steward()) as tx:
        collection.mark(tx, pool.id, EPOCH, rows=0, refused=0, unknown=0)
    return cloud


def refusals(works: Workbench) -> dict[tuple[str, str], list[int]]:
    """(reason, example) → the count of each row."""
    found: dict[tuple[str, str], list[int]] = {}
    with works.book.reading() as tx:
        for one in tx.query(collection.SampleRefusal).order_by(collection.SampleRefusal.id):
            found.setdefault((one.reason, one.example), []).append(one.count)
    return found


def test_what_is_refused_is_counted_once_however_often_it_is_read_again(works, clock, tmp_path):
    clock.now = EPOCH
    (pool,) = works.pools()
    spoil(works, tmp_path)
    for _ in range(6 * 12):
        clock.now += timedelta(minutes=5)
        found = collection.collect(works, pool)
    assert found.refused == {"cpu_pct:negative": 25}  # of that reading, the overlap with it
    # Six hours passed. The two before them were read again first; the last two will be, so nothing is said of them yet.
    assert refusals(works) == {("cpu_pct:negative", ""): [72], ("resource.unknown", "stranger-0"): [72]}
    clock.now += timedelta(days=1)
    collection.collect(works, pool)
    assert refusals(works)["cpu_pct:negative", ""] == [72, 288]  # another day, another row


def test_evidence_is_bounded_whatever_a_source_sends(works, clock, tmp_path):
    clock.now = EPOCH
    (pool,) = works.pools()
    cloud = spoil(works, tmp_path)
    cloud.strangers, cloud.ahead = 30, True
    for _ in range(3):
        clock.now += timedelta(hours=3)
        collection.collect(works, pool)
    found = refusals(works)
    unknown = {example: counts for (reason, example), counts in found.items() if reason == collection.UNKNOWN}
    assert len(unknown) == collection.NAMED + 1  # those beyond are summed in a row without a name
    assert sum(sum(counts) for counts in unknown.values()) == 30 * 9 * 12
    assert unknown[""] == [10 * 9 * 12]
    assert found["row:future", ""] == [1]  # the same clock that is ahead, three times


def test_evidence_goes_when_the_samples_of_its_time_go(works, clock, tmp_path):
    clock.now = EPOCH
    (pool,) = works.pools()
    spoil(works, tmp_path)
    clock.now += timedelta(hours=6)
    collection.collect(works, pool)
    assert len(refusals(works)) == 2
    keeping.retain(works, EPOCH.date() + timedelta(days=100), Keep(100, 200))
    assert len(refusals(works)) == 2
    keeping.retain(works, EPOCH.date() + timedelta(days=101), Keep(100, 200))
    assert refusals(works) == {}


def test_a_listing_that_was_entered_by_hand_since_stops_no_collection(works, clock):
    clock.now = EPOCH + timedelta(hours=2)
    (pool,) = works.pools()
    collection.collect(works, pool)

    class Yesterday(SimulatedCloud):
        """Its listing is a file that nobody has written anew."""

        def inventory(self, now):
            return replace(super().inventory(now), as_of=EPOCH)

    works.opened[pool.id] = Yesterday(pool="gov-arm", epoch="2026-05-25", state_file=works.home / "cloud.jsonl")
    clock.advance(hours=1)
    found = collection.collect(works, pool)
    assert found.drift is None
    assert found.taken > 0
    with works.book.reading() as tx:
        assert tx.get_one(collection.Intake, pool.id).fault == ""
