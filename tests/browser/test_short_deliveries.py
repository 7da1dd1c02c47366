"""Both readings of a short delivery in a browser, at both widths."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from console.book import EXTENSION
from metering.intake import FeedReading, ShortDelivery, feeds
from providers import observation
from providers.base import Inventory, ResourceFact, ResourceState, ServiceKind
from quota.actors import Role, steward
from quota.directory.pools import CloudProvider, Pool
from quota.inventory import Resource
from quota.units import MEMORY, VCPU, Arch


@pytest.mark.parametrize(("width", "language"), [(1440, "zh_CN"), (390, "en")])
def test_readings_of_every_side(live, open_page, check, shot, width: int, language: str) -> None:
    name, now = f"short-{width}", datetime.now(UTC)
    with live.app.extensions[EXTENSION].book.transaction(steward()) as tx:
        company = CloudProvider(code=name, name=f"短云{width}")
        tx.add(company)
        tx.flush()
        pool = Pool(code=name, name="短云池", provider_id=company.id, arch="x86_64", zone="政务外网", adapter="files")
        tx.add(pool)
        tx.flush()
        fact = ResourceFact(name, name, ServiceKind.VM, Arch.X86_64, {VCPU: 8, MEMORY: 32768}, ResourceState.RUNNING)
        observation.observe(tx, pool, Inventory(tx.now - timedelta(hours=1), [fact]))
        resource = tx.query(Resource).filter_by(external_id=name).one().id
        row = feeds.register(tx, name, "机内采集", pool.id, "promql", {"url": "http://127.0.0.1:1"})
        tx.add(
            FeedReading(
                feed_id=row.id, resource_id=resource, since=now, at=now, vcpu=4, mem_mb=15900, cpu_pct=12.5, steal_pct=3
            )
        )
        for what, delivered, seen in (("vcpu", 8, 4), ("memory", 32768, 15900)):
            told = {
                "delivered": delivered,
                "seen": seen,
                "first_at": now,
                "last_at": now,
                "confirmed_at": now,
                "listed_at": now,
            }
            tx.add(ShortDelivery(resource_id=resource, feed_id=row.id, what=what, **told))
        feed = row.id
    page = open_page(Role.SUPERVISOR, width, language=language)
    page.goto(f"/resources/{resource}")
    expect(page.locator("main")).to_contain_text("15,900")
    check(page)
    shot(page, "short-resource", full=True)
    page.goto(f"/resources/feeds/{feed}")
    check(page)
    page.goto("/resources/short-deliveries/")
    expect(page.locator("main")).to_contain_text(name)
    check(page)
    shot(page, "short-list")
