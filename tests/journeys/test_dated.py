"""到期台账 over HTTP: what ends is entered, renewed, told of in time and closed; vendors' people end with them and must be out; what
probes see of certificates is entered by itself; what rules, cards and metrics are told of it."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import select, update

from console.metrics import work
from providers import monitoring
from providers.assessment import department, gathering
from providers.base import CERTIFICATE_SERIES, PROBE_SERIES, Readings
from quota.actors import Actor, Role, steward
from quota.directory import DatedEntry, DatedKind, DatedState, DatedTerm, Person, System, assurance, dated, departments
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, WrongState
from tests.console.test_house import check_page
from tests.journeys.test_clauses import enacted, fact, rule, submitted
from tests.journeys.test_requests import small

STAFF = Actor("supervisor1", "监督", Role.SUPERVISOR)
TODAY = date(2026, 6, 1)


def seen(client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    check_page(address, answer.text)
    return answer.text


def sheet(client, address: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(client.get(f"{address}?export=csv").data.decode("utf-8-sig"))))


@pytest.fixture
def clerk(place) -> Actor:
    return Actor("tenant1", "员", Role.TENANT, department_id=place.first)


def made(
    house, who: Actor, kind: DatedKind, department_id: int | None, ends_on: date, vendor: int | None = None, **facts
) -> int:
    told = {"name": f"{kind} 一", "grants": "运维", "ends_on": ends_on, **facts}
    with house.transaction(who) as tx:
        return dated.enter(tx, kind, department_id, told, vendor).id


def test_the_ends_of_a_systems_assessments_are_among_what_ends(client_of, house, place, clock) -> None:
    """等保 by its level and 密评, as the register of systems says; they are changed there alone, and told as all that ends."""
    today = clock.now.date()
    facts = {
        "name": "公文",
        "mlps_level": 3,
        "mlps_assessed_on": date(2025, 6, 30),
        "crypto_assessed_on": date(2024, 2, 29),
    }
    with house.transaction(STAFF) as tx:
        system = departments.enter(tx, "S1", place.first, facts)
        departments.enter(
            tx, "S2", place.first, {"name": "网站", "mlps_level": 2, "mlps_assessed_on": date(2025, 6, 30)}
        )
        departments.enter(tx, "S3", place.second, {"name": "未测", "mlps_level": 3})
        departments.enter(tx, "S4", place.second, {"name": "一级", "mlps_level": 1, "mlps_assessed_on": today})

    def told() -> dict[tuple[str, str], tuple[str, str]]:
        rows = sheet(client_of("supervisor1"), "/dated/")
        return {(row["信息系统"], row["类型"]): (row["到期日"], row["状态"]) for row in rows}

    assert told() == {
        ("公文", "等保测评"): ("2026-06-30", "即将到期"), ("公文", "密评"): ("2025-02-28", "已到期"),
        ("网站", "等保测评"): ("2027-06-30", "有效"),
    }  # fmt: skip
    mine = client_of(Role.TENANT)
    assert "公文" in seen(mine, "/"), "what is over stands on the department's home page"
    with house.reading() as tx:
        kept = tx.scalars(select(DatedEntry).where(DatedEntry.kind == DatedKind.CRYPTO)).one()
    body = {"generation": str(kept.generation), "on": str(today), "note": "已测评"}
    assert mine.send(f"/dated/{kept.id}/close", body).status_code in (409, 422)
    assert mine.send("/dated/new", {"kind": "mlps", "department": str(place.first), "vendor": "0", "name": "x", "system": "0",
                                    "ends_on": str(today)}).status_code == 422  # fmt: skip
    with house.transaction(STAFF) as tx:
        departments.amend(
            tx, departments.system(tx, system.id), {"mlps_level": 4, "crypto_assessed_on": date(2026, 5, 20)}
        )
    assert told()[("公文", "等保测评")] == ("2025-12-30", "已到期")
    assert told()[("公文", "密评")] == ("2027-05-20", "有效")
    with house.transaction(STAFF) as tx:
        departments.amend(tx, departments.system(tx, system.id), {"active": False})
    assert {state for (name, _kind), (_day, state) in told().items() if name == "公文"} == {"已办结"}
    with house.transaction(STAFF) as tx:
        departments.amend(tx, departments.system(tx, system.id), {"active": True})
    assert told()[("公文", "密评")] == ("2027-05-20", "有效")


def test_systems_that_were_registered_before_are_taken_up(house, place) -> None:
    with house.transaction(STAFF) as tx:
        tx.add(
            System(code="S9", name="旧系统", department_id=place.first, mlps_level=3, mlps_assessed_on=date(2026, 1, 1))
        )
        tx.add(
            System(code="S8", name="一级", department_id=place.first, mlps_level=1, mlps_assessed_on=date(2026, 1, 1))
        )
        tx.flush()
        assert [assurance.sweep(tx), assurance.sweep(tx)] == [1, 0]
        assert tx.scalars(select(DatedEntry.ends_on)).all() == [date(2027, 1, 1)]


def entry(house, number: int) -> DatedEntry:
    with house.reading() as tx:
        return dated.entry(tx, number)


def test_a_licence_is_entered_renewed_and_closed(client_of, house, place, clock) -> None:
    mine, other = client_of(Role.TENANT), client_of("tenant2")
    body = {
        "kind": "licence", "department": str(place.first), "vendor": "0", "name": "数据库许可", "number": "XK-1", "system": "0",
        "grants": "", "login": "", "ends_on": str(clock.now.date() + timedelta(days=31)),
    }  # fmt: skip
    for changes in ({"name": " "}, {"ends_on": ""}, {"ends_on": "1999-01-01"}, {"login": "zhang"}, {"department": str(place.second)},
                    {"kind": "vendor"}, {"kind": "access"}, {"kind": "splendid"}):  # fmt: skip
        assert mine.send("/dated/new", {**body, **changes}).status_code == 422, changes
    where = mine.send("/dated/new", body).location
    assert "数据库许可" in seen(mine, where)
    assert "数据库许可" not in seen(mine, "/"), "31 days are far"
    assert (other.get(where).status_code, client_of(Role.PROVIDER).get("/dated/").status_code) == (404, 403)
    clock.advance(days=1)
    mine = client_of(Role.TENANT)
    assert "数据库许可" in seen(mine, "/"), "30 days are near"
    assert [row["状态"] for row in sheet(mine, "/dated/")] == ["即将到期"]
    clock.advance(days=31)
    mine = client_of(Role.TENANT)
    assert [row["状态"] for row in sheet(mine, "/dated/")] == ["已到期"]
    renewed = {**body, "generation": "1", "ends_on": "2027-07-02", "reason": ""}
    assert mine.send(f"{where}/edit", renewed).status_code == 422
    assert mine.send(f"{where}/edit", {**renewed, "reason": "续签合同"}).status_code == 302
    assert "已被更新" in mine.send(f"{where}/edit", {**renewed, "reason": "旧页面"}).text
    page = seen(mine, where)
    assert re.findall(r"<b>(\d{4}-\d\d-\d\d)</b>", page) == ["2027-07-02", "2026-07-02"]
    assert "续签合同" in page
    for wrong in ({"on": "2026-01-01"}, {"on": "2027-01-01"}, {"note": " "}):
        assert (
            mine.send(f"{where}/close", {"generation": "2", "on": "2026-07-03", "note": "停用", **wrong}).status_code
            == 422
        )
    assert mine.send(f"{where}/close", {"generation": "2", "on": "2026-07-03", "note": "停用"}).status_code == 302
    assert [row["状态"] for row in sheet(mine, "/dated/")] == ["已办结"]
    assert mine.send(f"{where}/edit", {**renewed, "generation": "3", "reason": "再续"}).status_code == 422


def test_a_vendors_people_end_with_it_and_must_be_out(client_of, house, place, clock, clerk) -> None:
    end = clock.now.date() + timedelta(days=60)
    vendor = made(house, clerk, DatedKind.VENDOR, place.first, end, name="华信运维")
    with pytest.raises(Invalid, match=r"dated\.beyond"):
        made(house, clerk, DatedKind.ACCESS, None, end + timedelta(days=1), vendor, name="李四")
    with pytest.raises(NotFound):
        made(
            house, Actor("tenant2", "他", Role.TENANT, department_id=place.second), DatedKind.ACCESS, None, end, vendor
        )
    person = made(house, clerk, DatedKind.ACCESS, None, end, vendor, name="李四", login="tenant2", grants="堡垒机")
    assert entry(house, person).department_id == place.first, "it is the vendor's department's"
    facts = {"name": "华信运维", "grants": "运维", "ends_on": end - timedelta(days=50)}
    with house.transaction(clerk) as tx:
        dated.amend(tx, vendor, facts, "合同提前终止", generation=1)
    assert entry(house, person).ends_on == end - timedelta(days=50), "it ends with the vendor"
    with house.transaction(clerk) as tx, pytest.raises(WrongState, match=r"dated\.people_in"):
        dated.close(tx, vendor, tx.now.date(), "终止", generation=2)
    clock.advance(days=11)
    mine = client_of(Role.TENANT)
    assert "到期未退出" in seen(mine, f"/dated/{person}")
    assert "李四" in seen(mine, f"/dated/{vendor}")
    out = {"generation": "2", "on": str(clock.now.date()), "note": "证件已收回"}
    assert "仍在用" in mine.send(f"/dated/{person}/close", out).text
    with house.transaction(steward()) as tx:
        tx.execute(update(Person).where(Person.login == "tenant2").values(active=False))
    assert mine.send(f"/dated/{person}/close", out).status_code == 302
    with house.transaction(clerk) as tx:
        dated.close(tx, vendor, tx.now.date(), "终止", generation=2)
        with pytest.raises(Invalid, match=r"dated\.vendor"):
            dated.enter(tx, DatedKind.ACCESS, None, {**facts, "name": "王五"}, vendor)


def test_who_is_written_to_and_of_each_day_once(house, place, clock, clerk, posted) -> None:
    day = clock.now.date()
    vendor = made(house, clerk, DatedKind.VENDOR, place.first, day + timedelta(days=40), name="华信运维")
    made(house, clerk, DatedKind.ACCESS, None, day + timedelta(days=20), vendor, name="李四")
    made(house, STAFF, DatedKind.DOMAIN, None, day + timedelta(days=30), name="city.example")
    found = posted()
    assert ("李四" in found["tenant1"], "华信运维" in found["tenant1"]) == (True, False)
    assert ("city.example" in found["supervisor1"], "李四" in found["supervisor1"]) == (True, False)
    assert posted() == {}, "once"
    clock.advance(days=21)
    found = posted()
    assert ("李四" in found["tenant1"], "华信运维" in found["tenant1"], "李四" in found["supervisor1"]) == (
        True,
        True,
        True,
    )
    with house.transaction(clerk) as tx:
        dated.amend(
            tx, 2, {"name": "李四", "grants": "运维", "ends_on": day + timedelta(days=35)}, "延期", generation=1
        )
    assert "李四" in posted()["tenant1"], "another day"


def test_certificates_are_read_from_probes(house, place, clock) -> None:
    """The last whole day by the earliest end told; renewed by itself; nonsense is not believed; nobody says it otherwise by hand."""
    with house.transaction(STAFF) as tx:
        system = departments.enter(tx, "T01", place.first, {"name": "门户"}).id
        watched = monitoring.endpoints.register(
            tx, place.pool, "https://portal", "门户网站", system_id=None, level=2, interval_s=60, fails=3
        )
        watched.system_id = system

    def told(*ends: float) -> None:
        series = [
            {"__name__": PROBE_SERIES, "instance": "https://portal"},
            {"__name__": CERTIFICATE_SERIES, "instance": "nobody"},
        ]
        series += [
            {"__name__": CERTIFICATE_SERIES, "instance": "https://portal", "n": str(n)} for n in range(len(ends))
        ]
        values = [1.0, 1e9, *ends]
        readings = Readings(
            series, np.arange(len(values)), np.full(len(values), round(clock.now.timestamp() * 1000)), np.array(values), "instance",
            clock.now - timedelta(minutes=5), clock.now, origin="blackbox",
        )  # fmt: skip
        found = monitoring.by_target(readings)
        with house.transaction(steward("job:feeds")) as tx:
            monitoring.endpoints.certified(tx, place.pool, found.ends)

    def ends() -> list[date]:
        with house.reading() as tx:
            return list(tx.scalars(select(DatedTerm.ends_on).order_by(DatedTerm.id)))

    told(-1.0)
    told(float("nan"))
    told(9e18)
    assert ends() == []
    noon = datetime(2026, 7, 10, 4, tzinfo=UTC).timestamp()  # 12:00 in the city: the 9th is the last whole day
    told(noon + 86_400 * 90, noon)
    assert ends() == [date(2026, 7, 9)]
    (one,) = [entry(house, 1)]
    assert (one.kind, one.department_id, one.system_id, one.source) == (
        "certificate",
        place.first,
        system,
        "endpoint:1",
    )
    told(noon)
    told(noon + 86_400 * 90)
    assert ends() == [date(2026, 7, 9)], "of one day the earliest"
    told(datetime(2026, 7, 9, 15, 59, 59, tzinfo=UTC).timestamp())
    assert ends() == [date(2026, 7, 9)], "to its last second"
    clock.advance(days=1)
    told(noon + 86_400 * 90)
    assert ends() == [date(2026, 7, 9), date(2026, 10, 7)]
    with house.transaction(STAFF) as tx, pytest.raises(WrongState, match=r"dated\.seen"):
        dated.amend(tx, 1, {"name": "甲", "ends_on": date(2030, 1, 1)}, "手工", generation=2)
    with house.transaction(STAFF) as tx:
        dated.close(tx, 1, tx.now.date(), "下线", generation=2)
    clock.advance(days=1)
    told(noon + 86_400 * 180)
    assert (len(ends()), entry(house, 1).closed_on is not None) == (2, True)


def test_rules_cards_and_metrics_are_told(client_of, house, place, clock, clerk) -> None:
    with house.transaction(STAFF) as tx:
        system = departments.enter(tx, "T01", place.first, {"name": "门户"}).id
    enacted(
        client_of, clock,
        rule("expired", fact("ended_entries", ">", 0), outcome="refuse", reason="证书或许可已到期"),
        rule("inside", fact("ended_access", ">", 1), outcome="refuse", reason="供应商人员未退出"),
    )  # fmt: skip
    tenant = client_of(Role.TENANT)
    yesterday = clock.now.date() - timedelta(days=1)
    licence = made(
        house, clerk, DatedKind.LICENCE, place.first, yesterday + timedelta(days=1), system_id=system, name="许可"
    )
    vendor = made(house, clerk, DatedKind.VENDOR, place.first, date(2027, 1, 1))
    made(house, clerk, DatedKind.ACCESS, None, yesterday, vendor, name="李四")
    assert not submitted(tenant, place, system=str(system), **small(place, 1))[1], (
        "on its last day, and one person inside"
    )
    clock.advance(days=1)
    tenant = client_of(Role.TENANT)
    assert "证书或许可已到期" in submitted(tenant, place, system=str(system), **small(place, 1))[1]
    assert not submitted(tenant, place, **small(place, 1))[1]
    made(house, clerk, DatedKind.ACCESS, None, yesterday, vendor, name="王五")
    assert "供应商人员未退出" in submitted(tenant, place, **small(place, 1))[1]
    with house.reading() as tx:
        told = {(one.labels["kind"], one.labels["state"]): one.value for one in work._dated(tx).samples}
        assert told == {("licence", "over"): 1, ("access", "over"): 2, ("vendor", "valid"): 1}
    clock.advance(days=35)
    with house.transaction(clerk) as tx:
        dated.amend(
            tx, licence, {"name": "许可", "ends_on": date(2027, 1, 1), "system_id": system}, "续签", generation=1
        )
    with house.reading() as tx:
        rows = {
            one.facts["name"]: one.facts["ok"]
            for one in gathering.gather(tx, department(place.first), "2026-06")["dated"]
        }
        assert rows == {"许可": False, "vendor 一": True, "李四": False, "王五": False}, (
            "renewed after the period is late"
        )
        now = {
            one.facts["name"]: one.facts["ok"]
            for one in gathering.gather(tx, department(place.first), "2026-07")["dated"]
        }
        assert now["许可"] is True
        assert gathering.gather(tx, department(place.second), "2026-06")["dated"] == []


def test_each_keeps_its_own(house, place, clerk, clock) -> None:
    day = clock.now.date()
    with pytest.raises(NotAllowed):
        made(house, clerk, DatedKind.DOMAIN, None, day)
    with pytest.raises(NotAllowed):
        made(house, clerk, DatedKind.DOMAIN, place.second, day)
    with house.transaction(STAFF) as tx:
        foreign = departments.enter(tx, "T02", place.second, {"name": "别家"}).id
    with pytest.raises(Invalid, match=r"dated\.system"):
        made(house, clerk, DatedKind.DOMAIN, place.first, day, system_id=foreign)
    number = made(house, STAFF, DatedKind.DOMAIN, place.first, day)
    with house.transaction(clerk) as tx, pytest.raises(Conflict, match=r"dated\.stale"):
        dated.close(tx, number, day, "停用", generation=7)
    assert entry(house, number).state(day) is DatedState.NEAR
    assert entry(house, number).state(day + timedelta(days=1)) is DatedState.OVER
