"""Nova's interface stopped while a pool is collected: nothing is lost, nothing counts twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from metering.intake import collection
from metering.lake import Lake
from metering.workbench import Workbench
from providers.adapters.openstack import OpenStackCloud
from providers.base import Inventory
from quota.actors import steward
from quota.directory import CloudProvider, Pool
from quota.inventory import Resource
from tests.clouds.services import PORTS, Services
from tests.clouds.test_openstack import opened
from tests.patience import until


@pytest.fixture
def services(real_cloud: dict[str, Any]) -> Iterator[Services]:
    """Of the cloud that make test-clouds brought up; all of them run when the test is over."""
    port = urlsplit(real_cloud["auth_url"]).port or 0
    found = Services(Path(os.environ["OS_CLIENT_CONFIG_FILE"]).parent, port - PORTS["keystone"])
    if not found.alive("nova-api"):
        pytest.skip("this cloud was brought up by somebody else, whose services are not ours to stop")
    yield found
    found.services()


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
    monkeypatch.setattr(collection, "HISTORY", timedelta(hours=6))
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
