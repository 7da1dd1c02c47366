"""A pool collected into the lake: all of it, once, also by a replay whose samples are younger than the book's clock."""

from datetime import UTC, datetime, timedelta

import pytest

from metering import intake
from metering.lake import Lake
from metering.works import Works
from providers.simulated import SimulatedCloud
from providers.simulated_city import pools as city_pools
from quota.pools import CloudProvider, Pool

EPOCH = datetime(2026, 5, 25, tzinfo=UTC)


@pytest.fixture
def works(book, tmp_path) -> Works:
    arm = next(one for one in city_pools() if one.code == "gov-arm")
    with book.transaction() as tx:
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
    return Works(book, Lake(tmp_path / "lake"), tmp_path, {number: cloud})


def test_a_replay_ahead_of_the_clock_is_taken_whole_and_only_once(works, clock):
    clock.now = EPOCH  # the book is founded as of the beginning, then the past is read up to a later day
    until = EPOCH + timedelta(hours=6)
    (pool,) = works.pools()
    first = intake.collect(works, pool, until=until)
    assert first.taken > 1000
    assert "row:future" not in first.refused
    again = intake.collect(works, pool, until=until)
    assert again.since == until - intake.OVERLAP
    works.lake.roll()
    counted = sum(int(one.sum()) for one in works.lake.counts(works.lake.days()[0], works.lake.days()[-1]).values())
    assert counted <= first.taken
    intake.collect(works, pool, until=until)
    works.lake.roll()
    days = works.lake.days()
    assert counted == sum(int(one.sum()) for one in works.lake.counts(days[0], days[-1]).values())
    with works.book.reading() as tx:
        assert tx.get_one(intake.Intake, pool.id).collected_until == until
