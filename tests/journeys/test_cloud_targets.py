"""Clause 61 of cities' published rules, enacted as data: the share of systems on the cloud has targets of a year, for the city and for a
department, told beside the share, in the report and in the department's assessment."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from console.reports.documents import Paragraph, Table
from console.reports.inputs import Inputs
from console.reports.scale_sections import scale
from metering.lake import Lake
from metering.reports import editions, periods, scopes
from providers.assessment import ScorecardRecord
from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.directory import departments, outside
from tests.console.test_house import check_page
from tests.journeys.test_clauses import chief

ROOM = {"name": "档案楼机房", "kind": "room", "place": "档案楼三层", "size": "8 个机柜"}


def on_the_report(house, settings, tmp_path, whose):
    """What the report of June says of the share, in the words of its file: the paragraph, and the rows by department."""
    with house.reading(steward()) as tx:
        frame = editions._frame(tx, str(tmp_path / "lake"), scopes.scope(tx, whose), periods.period("2026-06"), None)
        document = editions.gather(frame)
    told = list(scale(Inputs(document, lambda text, **params: text % params if params else text, ZONE)))
    said = next(one.text for one in told if isinstance(one, Paragraph) and "上云率" in one.text)
    rows = next((one.rows for one in told if isinstance(one, Table) and "上云率" in one.title), None)
    return said, rows


def test_61_the_share_on_the_cloud_has_a_target(client_of, house, place, clock, settings, tmp_path) -> None:
    Lake(tmp_path / "lake")
    place.machine()
    with house.transaction(chief()) as tx:
        first = [departments.enter(tx, f"x{n}", place.department, {"name": f"系统{n}"}).id for n in range(1, 5)]
        departments.enter(tx, "y1", place.second, {"name": "管网"})
        room = outside.register(tx, place.department, ROOM, [first[0]]).id
    chiefs = client_of("authority1"), client_of("authority2")
    body = {"year": "2026", "shares": "全市 | 80\nA01\t80.5%", "reason": "省数据局通知"}
    for says, word in (
        ({"shares": "全市"}, "第 1 行"),
        ({"shares": "全市 | 95\nZ9 | 80"}, "第 2 行：没有编码为“Z9”的单位"),
        ({"shares": "全市 | 100.1"}, "第 1 行的百分比"),
        ({"shares": "全市 | 0"}, "第 1 行的百分比"),
        ({"shares": "A01 | 9\nA01 | 9"}, "第 2 行与前面重复"),
        ({"shares": "全市 | 95.55"}, "第 1 行"),
        ({"year": "2025"}, "本年度"),
    ):
        answer = chiefs[0].send("/outside/targets/new", {**body, **says})
        assert (answer.status_code, word in answer.text) == (422, True), says
    assert client_of(Role.SUPERVISOR).send("/outside/targets/new", body).status_code == 403
    made = chiefs[0].send("/outside/targets/new", body).location
    chiefs[0].send(f"{made}/sign")
    assert "须由另一人签署" in chiefs[0].get(made).text
    tenant = client_of("tenant1")
    assert "年度目标" not in tenant.get("/outside/").text, "a draft is no target"
    assert (tenant.get(made).status_code, made in tenant.get("/outside/targets/").text) == (404, False)
    assert chiefs[1].send(f"{made}/sign").status_code == 302
    check_page(made, chiefs[1].get(made).text)
    # At the target: four of five in the city. Below it: three of four in the department.
    assert "上云率 80 %。2026 年度目标 80 %，已达到" in client_of(Role.SUPERVISOR).get("/outside/").text
    assert "上云率 75 %。2026 年度目标 80.5 %，未达到" in tenant.get("/outside/").text
    assert "年度目标" not in client_of("tenant2").get("/outside/").text
    for who, own in ((tenant, True), (client_of("tenant2"), False)):
        page = who.get(made).text
        assert ("全市" in page, "80.5%" in page) == (True, own), "the city's, and one's own"
    assert "80 %（目标 80 %）" in client_of(Role.AUTHORITY).get("/cockpit").text

    clock.advance(days=31)
    supervisor = client_of(Role.SUPERVISOR)
    for code in ("A01", "A02"):
        said = {"kind": "department", "code": code, "period": "2026-06"}
        assert supervisor.send("/rankings/new", said).status_code == 302
    with house.reading() as tx:
        cards = {one.whose_code: one for one in tx.query(ScorecardRecord).filter_by(month="2026-06")}
        marks = {code: {mark.indicator: mark.mark for mark in card.marks}["on_cloud"] for code, card in cards.items()}
    assert marks["A01"] == Decimal("6.43"), (
        "5 points less half of one for each of 5.5 percentage points, of the 35 that were scored"
    )
    assert marks["A02"] is None, "who has no target is not marked"

    # What happens after the month changes nothing of its report; the next one is of what holds then.
    said, rows = on_the_report(house, settings, tmp_path, "city")
    assert "在用信息系统 5 个，其中 4 个在云上运行，上云率 80.0%，2026 年度目标 80.0%，已达到" in said
    assert rows == [["市教育局", 4, 3, 75.0, 80.5]]
    with house.transaction(chief()) as tx:
        row = outside.facility(tx, room)
        outside.amend(tx, room, ROOM, first[:2], generation=row.generation)
        departments.enter(tx, "x9", place.department, {"name": "后来的"})
    with house.transaction(chief()) as tx:
        row = outside.facility(tx, room)
        outside.leave(tx, room, date(2026, 7, 1), "已迁入", generation=row.generation)
    assert on_the_report(house, settings, tmp_path, "city") == (said, rows)
    said, rows = on_the_report(house, settings, tmp_path, "department:A01")
    assert "目标 80.5%，相差 5.5 个百分点" in said
    assert rows is None
    assert "上云率 100 %" in client_of(Role.SUPERVISOR).get("/outside/").text
    place.prove()
