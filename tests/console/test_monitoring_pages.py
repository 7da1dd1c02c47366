"""Monitoring over HTTP: endpoints entered and changed, what alerts are about drafted and signed, and what an incident rests on."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from providers.base import IncidentFact, Responsibility
from providers.billing import Incident, incidents
from providers.monitoring import Alert, ProbeEndpoint, alerts, endpoints, mappings, receiving
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import Pool, System
from quota.inventory import Resource
from tests.console.test_house import check_page

SUPERVISOR = Actor("supervisor1", "监督", Role.SUPERVISOR)


@pytest.fixture
def pool(house, city) -> int:
    with house.transaction(steward()) as tx:
        one = Pool(code="arm", name="信创池", provider_id=city.provider.id, arch="aarch64", zone="政务外网", xinchuang=True,
                   adapter="files")  # fmt: skip
        tx.add(one)
        tx.flush()
        return one.id


def seen(client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    check_page(address, answer.text)
    return answer.text


def test_an_outage_from_endpoint_to_the_company_s_word(client_of, house, clock, pool) -> None:
    steward_, authority, company = (client_of(role) for role in (Role.SUPERVISOR, Role.AUTHORITY, Role.PROVIDER))
    seen(steward_, "/endpoints/new")
    body = {"pool": pool, "target": "https://gw", "name": "网关", "system": 0, "level": 1, "interval_s": 60, "fails": 2}
    place = steward_.send("/endpoints/new", body).location
    assert "已登记目标" in steward_.send("/endpoints/new", body).text
    assert "还没有探测结果" in seen(steward_, place)

    seen(steward_, "/alert-mappings/new")
    today = clock.now.astimezone(ZONE).date()
    draft = {"lines": "job=bb -> endpoint=$instance\njob ignore", "effective_from": str(today), "reason": "试运行"}
    assert "第 2 行" in steward_.send("/alert-mappings/new", draft).text
    draft["lines"] = "job=bb -> endpoint=$instance"
    mapping = steward_.send("/alert-mappings/new", draft).location
    assert "待签署的告警对照" in seen(authority, "/")
    waiting = Alert("00000000000000aa", {"job": "bb", "instance": "https://gw"}, "网关不通", clock.now, None)
    with house.transaction(SUPERVISOR) as tx:
        assert receiving.take(tx, alerts.AlertGroup([waiting], 0)).unmapped == 1
    assert "没有对照" in seen(steward_, "/outage-signals/?state=unmapped")
    seen(authority, f"{mapping}/sign")
    assert authority.send(f"{mapping}/sign", {"reason": "同意"}).status_code == 302
    assert "1 条等候的告警已对上" in seen(authority, mapping)
    assert steward_.send(f"{mapping}/withdraw").status_code == 409

    clock.advance(minutes=10)
    first = round((clock.now - timedelta(minutes=10, seconds=30)).timestamp() * 1000)
    with house.transaction(steward("job:feeds")) as tx:
        said = {"https://gw": [(first + n * 60_000, n >= 7) for n in range(10)]}
        assert endpoints.take(tx, pool, said, clock.now) == (10, {})
    page = seen(steward_, place)
    assert "99." not in page
    assert "monitoring-" in page
    incident = re.search(r"/incidents/(\d+)", page)[1]
    told = seen(company, f"/incidents/{incident}")
    assert "监测依据" in told
    assert told.count("https://gw") >= 1
    seen(company, f"/incidents/{incident}/respond")
    at = (clock.now - timedelta(minutes=8)).astimezone(ZONE)
    answer = {"generation": 3, "responded_at": f"{at:%Y-%m-%dT%H:%M}"}
    generation = (
        seen(company, f"/incidents/{incident}/respond").split('name="generation"')[1].split('value="')[1].split('"')[0]
    )
    assert company.send(f"/incidents/{incident}/respond", {**answer, "generation": generation}).status_code == 302
    assert f"{at:%H:%M}" in seen(company, f"/incidents/{incident}")
    assert company.get("/outage-signals/").status_code == 403

    seen(steward_, f"{place}/edit")
    change = {**body, "generation": 1, "name": "总网关"}
    assert steward_.send(f"{place}/edit", change).status_code == 302
    assert steward_.send(f"{place}/edit", {**change, "name": "又改"}).status_code == 422
    with house.reading() as tx:
        assert not tx.get_one(ProbeEndpoint, int(place.rsplit("/", 1)[1])).active
    seen(steward_, "/endpoints/")
    seen(steward_, "/alert-mappings/")
    seen(steward_, "/outage-signals/?kind=alert")


def test_the_steward_corrects_takes_out_and_merges_what_monitoring_found(client_of, house, clock, pool) -> None:
    steward_, authority, company = (client_of(role) for role in (Role.SUPERVISOR, Role.AUTHORITY, Role.PROVIDER))
    began = clock.now - timedelta(hours=2)
    with house.transaction(SUPERVISOR) as tx:
        draft = mappings.draft(tx, "team=net -> pool=arm level=2", effective_from=clock.now.date(), reason="x")
        draft.effective_from, number = draft.effective_from - timedelta(days=60), draft.id
    with house.transaction(Actor("authority1", "主任", Role.AUTHORITY)) as tx:
        mappings.sign(tx, number, reason="x")
    with house.transaction(SUPERVISOR) as tx:
        receiving.take(tx, alerts.AlertGroup([Alert("00000000000000aa", {"team": "net"}, "断网", began, None)], 0))
        mine = tx.scalars(select(Incident).filter_by(side="monitoring")).one().id
        again = IncidentFact("again", 2, "也断了", began, None, began + timedelta(hours=1), Responsibility.PROVIDER)
        theirs = incidents.report(tx, tx.get_one(Pool, pool), again, description="x").id
    assert company.get(f"/incidents/{mine}/correct").status_code == 403

    def form(act: str, **said: object) -> dict[str, object]:
        page = seen(authority if act == "merge" else steward_, f"/incidents/{mine}/{act}")
        return {"generation": re.search(r'name="generation"[^>]*value="(\d+)"', page)[1], "reason": "查日志", **said}

    page = seen(steward_, f"/incidents/{mine}")
    assert all(one in page for one in ("更正", "并入同一故障", "剔除", "again"))
    times = {"level": 3, "started_at": f"{began.astimezone(ZONE):%Y-%m-%dT%H:%M}", "affected": "vm-1\nvm-1\nvm-2"}
    early = f"{(began - timedelta(hours=1)).astimezone(ZONE):%Y-%m-%dT%H:%M}"
    assert steward_.send(f"/incidents/{mine}/correct", form("correct", **times, recovered_at=early)).status_code == 422
    late = f"{(began + timedelta(minutes=30)).astimezone(ZONE):%Y-%m-%dT%H:%M}"
    assert steward_.send(f"/incidents/{mine}/correct", form("correct", **times, recovered_at=late)).status_code == 302
    assert "监测不再改动" in seen(company, f"/incidents/{mine}")
    with house.reading(SUPERVISOR) as tx:
        one = tx.get_one(Incident, mine)
        assert (one.started_at, one.level, one.affected) == (began, 3, ["vm-1", "vm-2"]), "to the second, as it was"
        assert one.recovered_at - one.started_at <= timedelta(minutes=30)
    seen(steward_, "/outage-signals/1/detach")
    assert steward_.get("/outage-signals/99/detach").status_code == 404
    assert steward_.send("/outage-signals/1/detach", {"reason": ""}).status_code == 422
    assert steward_.send("/outage-signals/1/detach", {"reason": "误报"}).location.endswith(f"/incidents/{mine}")
    assert "监测依据" not in seen(steward_, f"/incidents/{mine}")
    assert authority.send(f"/incidents/{mine}/merge", form("merge", into=mine)).status_code == 422
    assert authority.send(f"/incidents/{mine}/merge", form("merge", into=theirs)).status_code == 302
    page = seen(steward_, f"/incidents/{mine}")
    assert "为同一故障" in page
    assert f"/incidents/{theirs}" in page
    assert "同一故障" in seen(steward_, "/incidents/")


def test_another_department_reads_nothing_of_a_system_s_endpoint(client_of, house, city, clock, pool) -> None:
    own = client_of(Role.TENANT)
    with house.transaction(steward()) as tx:
        mine, other = (
            System(code=f"w{one.id}", name=f"系统{one.id}", department_id=one.id) for one in city.departments[:2]
        )
        tx.add_all([mine, other])
        tx.flush()
        for number, system in enumerate((mine, other)):
            tx.add(
                Resource(
                    pool_id=pool,
                    external_id=f"vm-w{number}",
                    name=f"w{number}",
                    kind="vm",
                    arch="aarch64",
                    state="running",
                    first_seen_at=clock.now - timedelta(days=9),
                    system_id=system.id,
                )
            )
        tx.flush()
        pair = mine.id, other.id
    first = round((clock.now - timedelta(minutes=10)).timestamp() * 1000)
    for number, system in enumerate(pair):
        with house.transaction(SUPERVISOR) as tx:
            endpoints.register(
                tx, pool, f"https://inner{number}", f"内网{number}", system_id=system, level=2, interval_s=60, fails=2
            )
        with house.transaction(steward("job:feeds")) as tx:
            said = [(first + n * 60_000, n not in (2, 3, 4)) for n in range(9)]
            endpoints.take(tx, pool, {f"https://inner{number}": said}, clock.now)
    with house.reading(SUPERVISOR) as tx:
        ids = tx.scalars(select(Incident.id).filter_by(side="monitoring").order_by(Incident.id)).all()
    read = [seen(own, "/incidents/"), *(seen(own, f"/incidents/{one}") for one in ids)]
    assert "内网0 https://inner0" in read[1]
    assert not any("inner1" in page or "内网1" in page for page in read)
    assert "其他单位的信息系统" in read[2]
    assert f"/incidents/{ids[1]}" not in seen(own, "/search?q=inner1")
    assert "https://inner1" in seen(client_of(Role.SUPERVISOR), f"/incidents/{ids[1]}")
