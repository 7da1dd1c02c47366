"""A pool and a feed over the same libvirt hosts: guests entered, their counters polled by the feed's runs and folded into the
lake, one that is off counted as off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from metering.intake import collection, feeding, feeds
from metering.lake import Lake
from metering.workbench import Workbench
from providers.base import Order, ServiceKind, Verb
from quota.actors import steward
from quota.directory.pools import CloudProvider, Pool
from quota.inventory import Resource
from quota.units import Arch
from tests.providers.test_libvirt import DATABASE, node


def test_guests_are_entered_and_their_usage_comes_by_a_feed(book, clock, tmp_path: Path) -> None:
    clock.now = datetime.now(UTC)
    options = {"hosts": [f"test://{node(tmp_path)}"]}
    with book.transaction(steward()) as tx:
        company = CloudProvider(code="kvm", name="甲机房")
        tx.add(company)
        tx.flush()
        pool = Pool(
            code="kvm",
            name="甲机房",
            provider_id=company.id,
            arch="x86_64",
            zone="政务外网",
            adapter="libvirt",
            adapter_options=options,
        )
        tx.add(pool)
        tx.flush()
        feed = feeds.register(tx, "kvm-usage", "甲机房用量", pool.id, "libvirt", options)
        number, row = pool.id, feed.id
    works = Workbench(book, Lake(tmp_path / "lake"), tmp_path)
    with book.reading() as tx:
        pool, feed = tx.get_one(Pool, number), tx.get_one(feeds.Feed, row)
    collection.collect(works, pool)
    with book.reading() as tx:
        known = {one.external_id: one for one in tx.scalars(select(Resource))}
    assert sorted(one.name for one in known.values()) == ["db", "web"]
    assert {one.cloud_state for one in known.values()} == {"running"}
    meter = works.meter("libvirt", options, "kvm-usage")
    assert (tmp_path / "libvirt.db").exists() is False, "nobody has asked for usage yet"
    meter.deliver(Order("off", Verb.STOP, ServiceKind.VM, Arch.AARCH64, DATABASE), clock.now)
    for minutes in range(30, 0, -5):
        meter.poll(clock.now - timedelta(minutes=minutes))
    fed = feeding.feed(works, feed)
    assert fed.fault == ("", "")
    assert fed.seen == {one.id for one in known.values()}
    assert not fed.unknown
    assert fed.samples >= 2 * 4
    assert (tmp_path / "libvirt.db").exists(), "the journal lies in the data directory, wherever nobody says otherwise"


def test_a_cloud_that_is_open_already_is_asked_whatever_the_registry_knows(book, tmp_path: Path) -> None:
    with book.transaction(steward()) as tx:
        company = CloudProvider(code="kvm", name="甲机房")
        tx.add(company)
        tx.flush()
        tx.add(Pool(code="r", name="录制", provider_id=company.id, arch="x86_64", zone="z", adapter="recorded"))
    works = Workbench(book, Lake(tmp_path / "lake"), tmp_path)
    (pool,) = works.pools()
    works.opened[pool.id] = recorded = object()
    assert works.provider(pool) is recorded
