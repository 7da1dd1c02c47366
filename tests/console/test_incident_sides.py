"""Incidents that others than the company report: under a number of the house, of their side, settled by somebody else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from providers.assessment import formula, gathering
from providers.assessment.subjects import company
from providers.base import IncidentFact, Responsibility
from providers.billing import Incident, incidents
from quota.actors import Actor, Role, steward
from quota.directory import Pool
from quota.errors import Invalid, NotAllowed
from tests.console.test_house import check_page


@pytest.fixture
def pool(house, city) -> int:
    with house.transaction(steward()) as tx:
        one = Pool(code="arm", name="信创池", provider_id=city.provider.id, arch="aarch64", zone="政务外网", xinchuang=True,
                   adapter="files")  # fmt: skip
        tx.add(one)
        tx.flush()
        return one.id


def report(clock, **more):
    start = clock.now.astimezone().replace(tzinfo=None) - timedelta(hours=30)
    told = {"level": "2", "title": "登录缓慢", "started_at": f"{start:%Y-%m-%dT%H:%M}", "description": "早上起无法登录",
            "claimed": "provider"}  # fmt: skip
    return told | more


def test_a_department_reports_and_the_company_cannot_rewrite_it(client_of, house, clock, pool) -> None:
    tenant, other, operator = client_of("tenant1"), client_of("tenant2"), client_of(Role.PROVIDER)
    page = tenant.get("/incidents/new").text
    check_page("/incidents/new", page)
    assert 'name="external_id"' not in page
    made = tenant.send("/incidents/new", {**report(clock), "pool": pool})
    assert made.status_code == 302
    number = int(made.location.rsplit("/", 1)[1])
    page = tenant.get(made.location).text
    assert "报送方认为的责任" in page
    assert "续报" in page
    assert "amend=" not in operator.get(made.location).text
    assert "amend=" not in other.get(made.location).text
    for client in (other, operator):
        assert client.get(f"/incidents/new?amend={number}").status_code == 404
        assert (
            client.send(f"/incidents/new?amend={number}", {**report(clock, title="没有的事"), "pool": pool}).status_code
            == 404
        )
    assert (
        tenant.send(f"/incidents/new?amend={number}", {**report(clock, title="不能登录"), "pool": pool}).status_code
        == 302
    )
    missing = operator.send("/incidents/new", {**report(clock), "pool": pool})
    assert (missing.status_code, "请填写故障编号" in missing.text) == (422, True), "companies have numbers of their own"
    with house.reading() as tx:
        (one,) = tx.scalars(select(Incident)).all()
        assert (one.title, one.side, one.external_id.split("-")[0]) == ("不能登录", "tenant", "tenant")


def test_nothing_counts_before_somebody_else_has_settled_it(client_of, house, clock, pool, city) -> None:
    supervisor, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    made = supervisor.send("/incidents/new", {**report(clock), "pool": pool}).location
    subject, by = company(city.provider.id), formula.default()
    with house.reading() as tx:
        one = tx.scalars(select(Incident)).one()
        month = f"{one.started_at:%Y-%m}"
        assert gathering.gather(tx, subject, month, by=by)["incidents"] == []
    verdict = {"generation": 1, "responsibility": "provider", "reason": "监测记录"}
    assert "报送人不能" in supervisor.send(f"{made}/settle", verdict).text
    assert chief.send(f"{made}/settle", verdict).status_code == 302
    with house.reading() as tx:
        (row,) = gathering.gather(tx, subject, month, by=by)["incidents"]
        assert row.facts["misses"] == 2


def test_a_companys_own_listing_does_not_touch_what_others_reported(house, clock, pool, city) -> None:
    start = clock.now - timedelta(hours=5)
    told = IncidentFact("tenant-1", 3, "磁盘告警", start, None, None, Responsibility.PROVIDER)
    clerk = Actor("tenant1", "经办", Role.TENANT, city.departments[0].id)
    operator = Actor("provider1", "运维", Role.PROVIDER, provider_id=city.provider.id)
    with house.transaction(clerk) as tx:
        one = incidents.report(tx, tx.get_one(Pool, pool), told)
        assert incidents.number(tx) != incidents.number(tx)
    other = IncidentFact("tenant-1", 4, "没有的事", start, None, None, Responsibility.TENANT)
    with house.transaction(operator) as tx, pytest.raises(NotAllowed, match=r"incident\.others"):
        incidents.report(tx, tx.get_one(Pool, pool), other)
    tomorrow = IncidentFact("x", 3, "明天", clock.now + timedelta(days=1), None, None, Responsibility.PROVIDER)
    with house.transaction(clerk) as tx, pytest.raises(Invalid, match=r"incident\.times"):
        incidents.report(tx, tx.get_one(Pool, pool), tomorrow)
    with house.reading() as tx:
        assert tx.get_one(Incident, one.id).title == "磁盘告警"
