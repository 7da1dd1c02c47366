"""Short deliveries over HTTP: on the resource's page with what every side says, on the feed's, and in a list that companies see
their own part of; what a feed is said to be is changed on a page."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from metering.intake import FeedReading, ShortDelivery, feeds
from providers import comments, observation
from providers.assessment import formulas, periods, registry, subjects
from providers.assessment.registry import Gathering
from providers.base import Inventory, ResourceFact, ResourceState, ServiceKind
from quota.actors import Role, steward
from quota.directory.departments import Department
from quota.directory.pools import CloudProvider, Pool
from quota.inventory import Resource
from quota.units import MEMORY, VCPU, Arch
from tests.console.test_house import check_page


@pytest.fixture
def found(house, clock) -> tuple[int, int]:
    """(feed, resource) of a machine of A01 that sees half of what was delivered."""
    with house.transaction(steward()) as tx:
        company = tx.scalars(select(CloudProvider)).one()
        pool = Pool(
            code="vm",
            name="甲云池",
            provider_id=company.id,
            arch="x86_64",
            zone="政务外网",
            adapter="files",
            adapter_options={},
        )
        tx.add(pool)
        tx.flush()
        fact = ResourceFact(
            "vm-1",
            "web-1",
            ServiceKind.VM,
            Arch.X86_64,
            {VCPU: 8, MEMORY: 32768},
            ResourceState.RUNNING,
            department_code="A01",
        )
        observation.observe(tx, pool, Inventory(tx.now - timedelta(hours=1), [fact]))
        feed = feeds.register(tx, "node", "机内采集", pool.id, "promql", {"url": "http://127.0.0.1:1"})
        feed.unknown = {"WEB-1.city.example:9100": 3}
        one = tx.scalars(select(Resource)).one()
        assert one.department_id == tx.scalar(select(Department.id).where(Department.code == "A01"))
        tx.add(
            FeedReading(
                feed_id=feed.id, resource_id=one.id, since=tx.now, at=tx.now, vcpu=4, mem_mb=15900, cpu_pct=12.5
            )
        )
        tx.add(
            ShortDelivery(
                resource_id=one.id,
                feed_id=feed.id,
                what="vcpu",
                delivered=8,
                seen=4,
                host=4,
                listed_at=tx.now,
                first_at=tx.now,
                last_at=tx.now,
                confirmed_at=tx.now,
            )
        )
        tx.flush()
        return feed.id, one.id


def test_both_readings_stand_side_by_side_wherever_somebody_looks(client_of, house, found) -> None:
    feed, resource = found
    for who in (Role.SUPERVISOR, Role.PROVIDER, "tenant1"):
        page = client_of(who).get(f"/resources/{resource}").text
        check_page(f"/resources/{resource}", page)
        for said in ("各方读数", "服务商清单", "机器内部", "15,900", "服务商称 8，机器内部见到 4"):
            assert said in page
    steward_ = client_of(Role.SUPERVISOR)
    page = steward_.get(f"/resources/feeds/{feed}").text
    check_page(f"/resources/feeds/{feed}", page)
    assert "有 1 处规格小于服务商清单所称" in page
    for who in (Role.SUPERVISOR, Role.AUTHORITY, Role.PROVIDER):
        page = client_of(who).get("/resources/short-deliveries/?feed=node").text
        check_page("/resources/short-deliveries/", page)
        assert "web-1" in page
    assert "web-1" not in steward_.get("/resources/short-deliveries/?standing=ended").text
    assert client_of("tenant1").get("/resources/short-deliveries/").status_code == 403
    assert steward_.get("/resources/short-deliveries/?export=csv").status_code == 200


def test_what_a_feed_is_said_to_be_is_changed_and_names_are_suggested(client_of, house, found) -> None:
    feed, _resource = found
    steward_ = client_of(Role.SUPERVISOR)
    address = f"/resources/feeds/{feed}/weigh"
    check_page(address, steward_.get(address).text)
    assert steward_.send(address, {"vantage": "host", "trust": "0"}).status_code == 422
    assert steward_.send(address, {"vantage": "sky", "trust": "1"}).status_code == 422
    assert steward_.send(address, {"vantage": "host", "trust": "1"}).status_code == 302
    page = steward_.get(f"/resources/feeds/{feed}").text
    assert "宿主机" in page
    assert client_of(Role.PROVIDER).get(address).status_code == 403
    page = steward_.get(f"/resources/feeds/{feed}/names").text
    check_page(address, page)
    assert "WEB-1.city.example:9100 = vm-1" in page


def test_the_company_answers_contests_and_is_ruled_on(client_of, house, found, clock) -> None:
    """What it was found to be right about is held against nobody."""
    company, steward_ = client_of(Role.PROVIDER), client_of(Role.SUPERVISOR)
    address = "/resources/short-deliveries/1"
    for who in (company, steward_):
        home = who.get("/").text
        assert "待答复的交付不足" in home
        assert address in home
    page = company.get(address).text
    check_page(address, page)
    assert "待服务商答复" in page
    assert "web-1" in company.get("/resources/short-deliveries/?standing=unanswered").text
    assert shares(house)[0] == Decimal(0), "one machine is seen from inside, and it is short"

    assert client_of(Role.AUDITOR).send(f"{address}/remark", {"text": "x"}).status_code == 403
    assert steward_.send(f"{address}/remark", {"text": "请说明"}).status_code == 302
    assert "web-1" in company.get("/resources/short-deliveries/?standing=unanswered").text, (
        "the steward is not the company"
    )
    company.send(f"{address}/remark", {"text": "宿主机超分", "kind": "dispute"})
    page = company.get(address).text
    check_page(address, page)
    assert "服务商已答复" in page
    assert "web-1" not in company.get("/resources/short-deliveries/?standing=unanswered").text
    assert "待答复的交付不足" not in company.get("/").text
    assert 'href="/resources/short-deliveries/1"' in steward_.get("/").text, "the dispute waits for a ruling"
    with house.reading() as tx:
        dispute = comments.open_dispute(tx, "short:1")
    ruled = steward_.send(f"{address}/rule", {"dispute": dispute.id, "upheld": "1", "text": "内核参数所致"})
    assert ruled.status_code == 302
    check_page(address, steward_.get(address).text)
    assert shares(house) == (Decimal(1), Decimal(0))
    for nobody in ("/resources/short-deliveries/9", "/resources/short-deliveries/0"):
        assert steward_.get(nobody).status_code == 404


def shares(house) -> tuple[Decimal | None, Decimal | None]:
    """(figure, deduction) of the indicator in this month, by its default limits."""
    indicator = registry.find("sizes")
    with house.reading() as tx:
        subject = subjects.company(tx.scalars(select(CloudProvider.id)).one())
        month = periods.month_of(tx.now)
        rows = Gathering(tx, subject, month, [month], formulas.in_force(tx, subject.id, month)).happened("sizes", month)
    found = indicator.measure.compute(rows, indicator.limits)
    return (None, None) if found is None else (found.value, found.deduction)


def test_a_month_in_which_nothing_was_seen_from_inside_says_nothing(house, clock) -> None:
    assert shares(house) == (None, None)
