"""Nova's interface stopped while a pool is collected: nothing is lost, nothing counts twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from metering.intake import collection, schedules
from metering.lake import Lake
from metering.workbench import Workbench
from providers.adapters.openstack import OpenStackCloud
from providers.base import Inventory
from quota.actors import steward
from quota.directory import CloudProvider, Pool
from quota.inventory import Resource
from tests.clouds.living import rested
from tests.clouds.test_openstack import opened
from tests.patience import until


@pytest.fixture
def works(house, settings, clock, real_cloud) -> tuple[Workbench, Pool, OpenStackCloud]:
    clock.now = datetime.now(UTC).replace(microsecond=0)
    with house.transaction(steward()) as tx:
        company = tx.scalars(select(CloudProvider)).first()
        pool = Pool(code="os", name="云一", provider_id=company.id, arch="x86_64", zone="z", adapter="openstack")
        tx.add(pool)
        tx.flush()
        tx.expunge(pool)
    cloud = opened(real_cloud)
    cloud.session.pause_s = 0.05
    return Workbench(house, Lake(settings.lake_dir), settings.data, {pool.id: cloud}), pool, cloud


def standing(house) -> dict[str, str]:
    with house.reading() as tx:
        return {one.external_id: one.kind for one in tx.scalars(select(Resource).where(Resource.gone_at.is_(None)))}


def counted(workbench: Workbench) -> int:
    """Samples that the lake keeps."""
    workbench.lake.roll()
    days = workbench.lake.days()
    return sum(int(one.sum()) for one in workbench.lake.counts(days[0], days[-1]).values())


def test_nova_is_stopped_between_two_collections_and_in_the_middle_of_one(
    works, services, house, clock, monkeypatch
) -> None:
    workbench, pool, cloud = works
    monkeypatch.setattr(schedules, "USUAL", schedules.CollectionPace(window_days=1))
    first = collection.collect(workbench, pool)
    before = standing(house)
    assert first.drift is not None
    assert first.drift.complete
    assert "vm" in before.values()

    services.stop("nova-api")
    until(lambda: not services.answers("nova"), "nova is down")
    clock.now += timedelta(minutes=5)
    drift = collection.collect(workbench, pool).drift
    assert drift is not None
    assert set(drift.short) == {"vm", "bare_metal"}
    assert (drift.gone, standing(house)) == ([], before)

    services.services()
    until(lambda: services.answers("nova"), "nova is back")
    rested(cloud)
    listing = cloud.inventory

    def torn(now: datetime) -> Inventory:
        """Nova goes when its list was read, before anything else is."""
        found = listing(now)
        services.stop("nova-api")
        return found

    monkeypatch.setattr(cloud, "inventory", torn)
    clock.now += timedelta(minutes=5)
    again = collection.collect(workbench, pool)
    assert again.drift is not None
    assert again.drift.complete
    assert (again.drift.gone, again.drift.new) == ([], [])
    services.services()
    until(lambda: services.answers("nova"), "nova is back")
    rested(cloud)
    monkeypatch.setattr(cloud, "inventory", listing)
    clock.now += timedelta(minutes=5)
    last = collection.collect(workbench, pool)
    assert last.drift is not None
    assert (last.drift.complete, last.drift.gone, last.drift.new) == (True, [], [])
    assert standing(house) == before
    kept = counted(workbench)
    assert kept > 0
    collection.collect(workbench, pool)
    assert counted(workbench) == kept, "what comes twice counts once"


def test_nova_is_stopped_within_its_list(works, services, house, clock, monkeypatch) -> None:
    """Between two pages: what the first told is entered, and nothing that the second would have told is gone."""
    workbench, pool, cloud = works
    monkeypatch.setattr(schedules, "USUAL", schedules.CollectionPace(window_days=1))
    collection.collect(workbench, pool)
    before = standing(house)
    read = cloud.session.get
    pages: list[str] = []

    def small(service: str, path: str, **more: Any) -> Any:
        if path != "/servers/detail":
            return read(service, path, **more)
        if pages:
            services.stop("nova-api")
        pages.append(path)
        return read(service, path, **{**more, "limit": 3})

    monkeypatch.setattr(cloud.session, "get", small)
    clock.now += timedelta(minutes=5)
    drift = collection.collect(workbench, pool).drift
    assert drift is not None
    assert set(drift.short) == {"vm", "bare_metal"}
    assert (drift.gone, drift.new, standing(house)) == ([], [], before)
    with house.reading() as tx:
        told = tx.scalars(select(Resource).where(Resource.kind == "vm")).all()
    assert sorted(one.last_seen_at == clock.now for one in told) == [False] * (len(told) - 3) + [True] * 3

    monkeypatch.undo()
    services.services()
    until(lambda: services.answers("nova"), "nova is back")
    rested(cloud)
    clock.now += timedelta(minutes=5)
    drift = collection.collect(workbench, pool).drift
    assert drift is not None
    assert (drift.complete, drift.gone, drift.new, standing(house)) == (True, [], [], before)
