"""Clause 59 of cities' published rules, enacted as data: equipment that departments have a company keep is theirs; whose it is says what it is
and for how long, the company where it stands; what is kept past its day is told, and rules may refuse by it."""

from __future__ import annotations

import re
from datetime import timedelta

from console.reports.documents import Table
from console.reports.inputs import Inputs
from console.reports.scale_sections import _hosting
from metering.lake import Lake
from metering.reports import editions, periods, scopes
from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.directory import DatedEntry, HostedEquipment, departments
from tests.console.test_house import check_page
from tests.journeys.test_clauses import chief, enacted, fact, rule, submitted
from tests.journeys.test_requests import small

ITEM = {
    "name": "数据库服务器", "kind": "server", "asset_number": "ZC-1", "serial": "SN1", "model": "2288H", "owner": "", "agreement": "TG-1",
    "height_u": "4", "power_w": "800",
}  # fmt: skip


def rows_of(house, tmp_path, whose):
    """What the report of June says of hosted equipment."""
    with house.reading(steward()) as tx:
        frame = editions._frame(tx, str(tmp_path / "lake"), scopes.scope(tx, whose), periods.period("2026-06"), None)
        told = Inputs(editions.gather(frame), lambda text, **params: text % params if params else text, ZONE)
    return [row for one in _hosting(told) if isinstance(one, Table) for row in one.rows]


def test_59_hosted_equipment_is_its_departments(client_of, house, place, clock, tmp_path, posted) -> None:
    Lake(tmp_path / "lake")
    with house.transaction(chief()) as tx:
        system = departments.enter(tx, "H01", place.department, {"name": "门户"}).id
        other = departments.enter(tx, "H02", place.second, {"name": "管网"}).id
    enacted(client_of, clock, rule("kept", fact("ended_entries", ">", 0), outcome="refuse", reason="设备托管已到期"))
    tenant, company = client_of("tenant1"), client_of(Role.PROVIDER)
    ends_on = clock.now.date() + timedelta(days=31)
    body = {
        **ITEM,
        "department": str(place.department),
        "provider": str(place.provider.id),
        "system": str(system),
        "ends_on": str(ends_on),
    }
    for says, word in (
        ({"height_u": "61"}, "60"), ({"height_u": "0"}, "1"), ({"power_w": "-1"}, "0"), ({"kind": "ship"}, ""), ({"name": " "}, "名称"),
        ({"ends_on": ""}, "到期日"), ({"system": str(other)}, "系统"), ({"department": str(place.second)}, "单位"), ({"provider": "0"}, ""),
    ):  # fmt: skip
        answer = tenant.send("/hosted/new", {**body, **says})
        assert (answer.status_code, word in answer.text) == (422, True), says
    first = tenant.send("/hosted/new", body).location
    assert "序列号 SN1 已登记" in tenant.send("/hosted/new", body).text
    second = tenant.send(
        "/hosted/new", {**body, "serial": "SN2", "system": "0", "owner": "租赁公司", "ends_on": "2027-06-01"}
    ).location
    assert company.send("/hosted/new", body).status_code == 403
    for who, status in ((tenant, 200), (company, 200), (client_of(Role.SUPERVISOR), 200), (client_of("tenant2"), 404)):
        assert who.get(first).status_code == status
    assert "待上架和已到期的托管设备（2）" in company.get("/").text
    assert tenant.get(f"{first}/place").status_code == 403

    def placed(what, u_from, generation, cabinet="A01"):
        said = {"room": "二号机房", "cabinet": cabinet, "u_from": str(u_from), "generation": str(generation)}
        return company.send(f"{what}/place", said)

    assert "1 至 60" in placed(first, 58, 1).text, "4 U from 58 on end above the cabinet"
    assert placed(first, 57, 1).location == first
    assert "A01 机柜 57–60 U 已有设备" in placed(second, 54, 1).text
    assert placed(second, 53, 1).location == second, "just below it"
    assert company.get(f"{first}/edit").status_code == 403
    page = company.get(first).text
    check_page(first, page)
    assert ("二号机房" in page, "57–60" in page, "市教育局" in page) == (True, True, True)
    assert "租赁公司" in tenant.get(second).text
    clerk = {
        **body,
        "serial": "SN2",
        "name": "备份机",
        "height_u": "5",
        "ends_on": "2027-06-01",
        "reason": "清点",
        "generation": "2",
    }
    assert "57–60" in tenant.send(f"{second}/edit", clerk).text, "it would not fit"
    assert tenant.send(f"{second}/edit", {**clerk, "height_u": "3", "reason": " "}).status_code == 422
    assert tenant.send(f"{second}/edit", {**clerk, "height_u": "3", "generation": "1"}).status_code == 422
    assert tenant.send(f"{second}/edit", {**clerk, "height_u": "3"}).location == second
    totals = re.search(r"<tfoot>.*?</tfoot>", tenant.get("/hosted/").text, re.DOTALL)
    assert totals is not None
    assert re.findall(r">(\d[\d,]*)<", totals[0]) == ["7", "1,600"], "4 and 3 U, twice 800 W"
    told = tenant.get("/hosted/?q=SN1&export=csv").text
    assert ("二号机房,A01,57–60,4,800,ZC-1,SN1" in told, "SN2" in told) == (True, False)

    posted()
    clock.advance(days=1)
    assert [who for who in posted() if who.startswith("tenant1")], "30 days before"
    clock.advance(days=30)
    tenant = client_of("tenant1")
    assert not submitted(tenant, place, system=str(system), **small(place, 1))[1], "on its last day"
    clock.advance(days=1)
    tenant, company = client_of("tenant1"), client_of(Role.PROVIDER)
    assert "设备托管已到期" in submitted(tenant, place, system=str(system), **small(place, 1))[1]
    assert "数据库服务器" in company.get("/").text
    assert "数据库服务器" in tenant.get("/hosted/?state=over").text
    assert "备份机" not in tenant.get("/hosted/?state=over").text
    with house.reading() as tx:
        entry = tx.query(DatedEntry).filter_by(source="hosted:1").one()
        assert tx.get(HostedEquipment, 1).generation == 2
    said = {"on": str(clock.now.date()), "note": "已办结", "generation": str(entry.generation)}
    assert "在“托管设备”中办理" in tenant.send(f"/dated/{entry.id}/close", said).text

    whole = rows_of(house, tmp_path, "city")
    assert whole == [[place.provider.name, "服务器", 2, 7, 1600, 0, 2, 0]]
    longer = {**body, "ends_on": "2026-12-31", "power_w": "900", "reason": "续签", "generation": "2"}
    assert tenant.send(f"{first}/edit", longer).location == first
    assert not submitted(tenant, place, system=str(system), **small(place, 1))[1]
    gone = {"on": str(clock.now.date()), "note": "搬回", "generation": "3"}
    assert tenant.send(f"{second}/leave", gone).location == second
    assert placed(second, 1, 4).status_code == 422, "it is not there any more"
    assert rows_of(house, tmp_path, "city") == rows_of(house, tmp_path, "department:A01") == whole
    assert rows_of(house, tmp_path, "department:A02") == []
    with house.reading() as tx:
        closed = {one.source: one.closed_on for one in tx.query(DatedEntry)}
    assert closed == {"hosted:1": None, "hosted:2": clock.now.date()}
    place.prove()
