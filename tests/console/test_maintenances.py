"""Maintenance over HTTP: announced before it begins, told to whom it may concern, called off; what was announced in time may be
settled as maintenance, and what goes on beyond its end counts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from console.api import calendars
from console.mail import mails
from console.tables import MailItem, MailSource
from providers import observation
from providers.assessment import company, formula, gathering
from providers.assessment.measures import EvidenceRow
from providers.base import IncidentFact, Inventory, ResourceFact, ResourceState, Responsibility, ServiceKind
from providers.billing import Maintenance, incidents, maintenances
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import Person, Pool
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, WrongState
from quota.units import VCPU, Arch
from tests.console.test_house import check_page

AUTHORITY, SUPERVISOR = Actor("authority1", "主任", Role.AUTHORITY), Actor("supervisor1", "监督", Role.SUPERVISOR)


@pytest.fixture
def pool(house, city) -> int:
    with house.transaction(steward()) as tx:
        one = Pool(code="arm", name="信创池", provider_id=city.provider.id, arch="aarch64", zone="政务外网", xinchuang=True,
                   adapter="files")  # fmt: skip
        tx.add(one)
        tx.flush()
        return one.id


@pytest.fixture
def operator(city) -> Actor:
    return Actor("provider1", "运维", Role.PROVIDER, provider_id=city.provider.id)


def announced(house, who: Actor, pool: int, starts, hours: float = 2) -> int:
    with house.transaction(who) as tx:
        ends = starts + timedelta(hours=hours)
        return maintenances.announce(tx, tx.get_one(Pool, pool), starts, ends, "换防火墙", "短时中断").id


def seen(client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    check_page(address, answer.text)
    return answer.text


def test_announced_seen_and_called_off(client_of, house, clock, pool) -> None:
    operator, tenant = client_of(Role.PROVIDER), client_of(Role.TENANT)
    seen(operator, "/maintenances/new")
    start = clock.now.astimezone(ZONE) + timedelta(days=6)
    body = {"pool": pool, "title": "换防火墙", "text": "短时中断", "starts_at": f"{start:%Y-%m-%dT%H:%M}",
            "ends_at": f"{start + timedelta(hours=2):%Y-%m-%dT%H:%M}"}  # fmt: skip
    swapped = {**body, "ends_at": body["starts_at"]}
    assert "结束须晚于开始" in operator.send("/maintenances/new", swapped).text
    late = clock.now.astimezone(ZONE) - timedelta(hours=1)
    assert (
        "须在开始之前公告" in operator.send("/maintenances/new", {**body, "starts_at": f"{late:%Y-%m-%dT%H:%M}"}).text
    )
    place = operator.send("/maintenances/new", body).location
    for page in (seen(tenant, "/"), seen(tenant, "/maintenances/?state=open"), seen(tenant, place)):
        assert "换防火墙" in page
    assert tenant.get("/maintenances/new").status_code == 403
    assert "取消维护" in seen(operator, f"{place}/cancel")
    assert operator.send(f"{place}/cancel", {"generation": 1, "reason": "推迟"}).status_code == 302
    assert "推迟" in seen(tenant, place)
    assert "换防火墙" not in seen(tenant, "/")
    assert "换防火墙" in seen(tenant, "/maintenances/?state=cancelled")


def test_who_may_announce_what(house, city, clock, pool, operator) -> None:
    start = clock.now + timedelta(days=3)
    stranger = Actor("other", "别家", Role.PROVIDER, provider_id=city.provider.id + 1)
    with pytest.raises(NotAllowed, match=r"maintenance\.not_yours"):
        announced(house, stranger, pool, start)
    with pytest.raises(NotAllowed):
        announced(house, AUTHORITY, pool, start)
    for begins, hours, code in (
        (clock.now, 1, "starts"),
        (clock.now + timedelta(days=500), 1, "starts"),
        (start, 24 * 8, "ends"),
    ):
        with pytest.raises(Invalid, match=rf"maintenance\.{code}"):
            announced(house, operator, pool, begins, hours)
    number = announced(house, operator, pool, start)
    with house.transaction(stranger) as tx, pytest.raises(NotFound):
        maintenances.cancel(tx, number, 1, "不是我的")
    with house.transaction(operator) as tx, pytest.raises(Conflict, match="stale"):
        maintenances.cancel(tx, number, 5, "旧页面")
    clock.now = start + timedelta(minutes=1)
    with house.transaction(operator) as tx, pytest.raises(WrongState, match="begun"):
        maintenances.cancel(tx, number, 1, "太晚")


def test_only_what_was_announced_in_time_is_maintenance_and_beyond_its_end_counts(
    client_of, house, city, clock, pool, operator
) -> None:
    """Down for five hours: three within the window, two beyond. What the report itself says of an announcement is nothing."""
    start = clock.now + timedelta(days=10)
    announced(house, operator, pool, start, 3)
    late = start + timedelta(days=1)
    clock.now = late - timedelta(hours=3)
    announced(house, operator, pool, late, 3)  # three hours ahead
    clock.now = late + timedelta(hours=8)
    with house.transaction(operator) as tx:
        where = tx.get_one(Pool, pool)
        first, second = (
            incidents.report(
                tx,
                where,
                IncidentFact(
                    name,
                    1,
                    "维护",
                    begins,
                    begins,
                    begins + timedelta(hours=5),
                    Responsibility.MAINTENANCE,
                    announced_at=begins - timedelta(days=30),
                ),
            )
            for name, begins in (("A", start), ("B", late))
        )
    with house.transaction(AUTHORITY) as tx:
        incidents.settle(tx, first.id, 1, Responsibility.MAINTENANCE, "公告在先")
    with house.transaction(AUTHORITY) as tx, pytest.raises(Invalid, match="not_announced"):
        incidents.settle(tx, second.id, 1, Responsibility.MAINTENANCE, "公告太迟")
    told = "没有至少提前 3 个工作日在本系统公告的维护"
    client = client_of(Role.SUPERVISOR)
    assert [told in seen(client, f"/incidents/{one.id}") for one in (first, second)] == [False, True]
    month = f"{start.astimezone(ZONE):%Y-%m}"
    watched = EvidenceRow(f"samples:arm/{month}", {"pool": "arm", "month": month, "expected": 100, "received": 100})
    with house.reading() as tx:
        found = gathering.gather(
            tx, company(city.provider.id), month, by=formula.default(), given={"reporting": {month: [watched]}}
        )["availability"]
    (row,) = [one for one in found if one.facts["pool"] == "arm"]
    assert (row.facts["down_minutes"], row.facts["incidents"]) == ("120.0000", [f"incident:{first.id}"])


def test_departments_in_the_pool_are_told_and_have_it_in_their_calendar(house, city, clock, pool, operator) -> None:
    with house.transaction(steward()) as tx:
        where = tx.get_one(Pool, pool)
        codes = [one.code for one in city.departments[:2]]
        facts = [
            ResourceFact(f"vm{n}", f"vm{n}", ServiceKind.VM, Arch.AARCH64, {VCPU: 4}, ResourceState.RUNNING, codes[0],
                         created_at=tx.now)
            for n in range(2)
        ]  # fmt: skip
        observation.observe(tx, where, Inventory(tx.now, facts, True))
        for login in ("tenant1", "tenant2"):
            tx.scalars(select(Person).where(Person.login == login)).one().email = f"{login}@example.org"
    number = announced(house, operator, pool, clock.now + timedelta(days=6))

    def told() -> list[tuple[str, str]]:
        with house.transaction(steward("job:mail")) as tx:
            return [
                (one.source, mail.person.login)
                for mail in mails.gather(tx)
                for one in tx.scalars(select(MailItem).where(MailItem.mail_id == mail.id))
            ]

    assert told() == [(MailSource.MAINTENANCE, "tenant1")]
    assert told() == []
    clerk = Actor("tenant1", "经办", Role.TENANT, city.departments[0].id)
    with house.reading(clerk) as tx:
        (entry,) = [one for one in calendars.due(tx, clerk) if one.of == f"maintenance:{number}"]
        one = tx.get_one(Maintenance, number)
        assert (entry.begins, entry.at) == (one.starts_at, one.ends_at)
        written = calendars.written([entry], "city", tx.now, lambda _of: None).decode()
    assert f"DTSTART:{one.starts_at:%Y%m%dT%H%M%S}Z" in written.replace("\r", "")
    with house.transaction(SUPERVISOR) as tx:
        maintenances.cancel(tx, number, 1, "推迟")
    assert told() == [(MailSource.MAINTENANCE_OFF, "tenant1")]
    with house.reading(clerk) as tx:
        assert [one for one in calendars.due(tx, clerk) if one.of == f"maintenance:{number}"] == []
