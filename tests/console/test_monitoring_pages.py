"""Monitoring over HTTP: endpoints entered and changed, what alerts are about drafted and signed, and what an incident rests on."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from providers.monitoring import Alert, ProbeEndpoint, alerts, endpoints, receiving
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import Pool
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
