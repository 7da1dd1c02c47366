"""Clause 62 of cities' published rules, enacted as data: items of supervision with their means, requirements and limits; who is named is warned
beyond a limit, and answers."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

from flask import url_for
from sqlalchemy import insert, select
from sqlalchemy import text as sql

from console import links, worklist
from console.lists import listing
from console.metrics import work
from console.reports.conduct_sections import supervision as told_of
from console.reports.documents import Paragraph, Table
from console.reports.inputs import Inputs
from metering.lake import Lake
from metering.reports import editions, periods, scopes
from metering.supervision import MEASURES, SupervisionAlert, measures
from metering.workbench import Workbench
from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.ledger import Holder, entries
from quota.units import VCPU, Arch, Commodity
from tests.console.test_house import check_page

CPU = Commodity(VCPU, Arch.AARCH64)
ITEM = {
    "code": "JG-01", "name": "资源池分配率", "requirement": "分配率不超过两成", "means": "每小时读取账本", "measure": "promised_vcpu", "object_type": "pool",
    "chosen": "p1", "side": "above", "threshold": "20", "hold_days": "2", "level": "serious", "answerer": "provider", "tells_authority": "y", "reply_days": "3",
    "effective_from": "2026-06-01", "reason": "监管目录",
}  # fmt: skip
QUIET = {
    **ITEM,
    "code": "JG-02",
    "name": "使用率",
    "measure": "use_vcpu",
    "side": "below",
    "hold_days": "0",
    "answerer": "supervisor",
}


def sections(house, tmp_path, whose):
    """What the report of June says of supervision."""
    with house.reading(steward()) as tx:
        frame = editions._frame(tx, str(tmp_path / "lake"), scopes.scope(tx, whose), periods.period("2026-06"), None)
        document = editions.gather(frame)
    told = list(told_of(Inputs(document, lambda text, **params: text % params if params else text, ZONE)))
    text = [one.text for one in told if isinstance(one, Paragraph)]
    return text, [row for one in told if isinstance(one, Table) for row in one.rows]


def test_62_items_of_supervision_warn_beyond_their_limits(
    client_of, house, place, clock, settings, tmp_path, posted
) -> None:
    lake = Lake(tmp_path / "lake")
    chiefs = client_of("authority1"), client_of("authority2")
    for says, word in (
        ({"threshold": "many"}, "限值"), ({"hold_days": "400"}, "持续天数"), ({"answerer": "tenant"}, "不能告知它"),
        ({"measure": "score"}, "不能按所选对象监测"), ({"chosen": "p1\nZ9"}, "没有编码为“Z9”"), ({"effective_from": "2026-05-31"}, "不能早于今天"),
    ):  # fmt: skip
        answer = chiefs[0].send("/supervision/items/new", {**ITEM, **says})
        assert (answer.status_code, word in answer.text) == (422, True), says
    assert client_of(Role.SUPERVISOR).send("/supervision/items/new", ITEM).status_code == 403
    for body in (ITEM, QUIET):
        made = chiefs[0].send("/supervision/items/new", body).location
        chiefs[0].send(f"{made}/sign")
        assert "须由另一人签署" in chiefs[0].get(made).text
        assert chiefs[1].send(f"{made}/sign").status_code == 302
    item = "/supervision/items/1"
    check_page(item, chiefs[1].get(item).text)
    check_page("/supervision/items/", chiefs[1].get("/supervision/items/").text)

    def hourly():
        worklist.run_once(Workbench(house, lake.root), settings, "supervise")

    posted()
    hourly()  # 40 of 200: at the limit
    place.grant({CPU: 1}, "one more")
    clock.advance(hours=1)
    for _day in range(2):
        hourly()
        assert (posted(), client_of(Role.SUPERVISOR).get("/supervision/?state=open").text.count("YJ-")) == ({}, 0)
        clock.advance(days=1)
    hourly()
    clock.advance(hours=1)
    hourly()
    assert {one[:-1] for one in posted()} == {"provider", "supervisor", "authority"}
    company, tenant, supervisor = client_of(Role.PROVIDER), client_of("tenant1"), client_of(Role.SUPERVISOR)
    for who in (company, supervisor, client_of(Role.AUTHORITY)):
        page = who.get("/").text
        check_page("/", page)
        assert (
            "资源池分配率" in page,
            "20.5 %" in page,
            "高于 20 %" in page,
            "使用率" in page.replace("实测使用率", ""),
        ) == (True, True, True, False)
    assert "监管预警" in client_of(Role.AUTHORITY).get("/cockpit").text
    assert (tenant.get("/supervision/1").status_code, "资源池分配率" in tenant.get("/").text) == (404, False)
    assert supervisor.send("/supervision/1/acknowledge", {"generation": "1"}).status_code == 302
    assert "由监管事项指定的一方签收" in supervisor.get("/supervision/1").text
    assert company.send("/supervision/1/acknowledge", {"generation": "1"}).location == "/supervision/1"
    check_page("/supervision/1", company.get("/supervision/1").text)
    assert "待答复" in supervisor.get("/supervision/1").text
    assert company.send("/supervision/1/answer", {"generation": "1", "text": "已"}).status_code == 422, (
        "of a page that is stale"
    )
    with house.reading() as tx:
        due = tx.get(SupervisionAlert, 1).due_at
        told = {one.name: [(sample.labels, sample.value) for sample in one.samples] for one in work._supervised(tx)}
    assert str(due.astimezone(ZONE))[:19] == "2026-06-08 23:59:59", "three working days after a Wednesday"
    assert told["guanjia_supervision_alerts"] == [({"item": "JG-01"}, 1), ({"item": "JG-02"}, 0)]
    clock.now = due
    assert posted() == {}
    clock.advance(seconds=1)
    assert {one[:-1] for one in posted()} == {"provider", "supervisor"}
    company = client_of(Role.PROVIDER)
    assert "YJ-000001" in company.get("/supervision/?state=late").text
    assert (
        company.send("/supervision/1/answer", {"generation": "2", "text": "月底扩容 200 核"}).location
        == "/supervision/1"
    )
    assert "月底扩容 200 核" in client_of(Role.SUPERVISOR).get("/supervision/1").text
    assert "YJ-000001" not in company.get("/").text, "answered"

    with house.transaction(steward()) as tx:
        entries.reclaim(tx, place.pool, place.department, {CPU: 1}, key="less", source=Holder.GRANTED)
    clock.advance(days=10)
    hourly()
    assert "已恢复" in client_of(Role.SUPERVISOR).get("/supervision/1").text
    place.grant({CPU: 1}, "again")
    clock.advance(hours=1)
    for _day in range(3):
        hourly()
        clock.advance(days=1)
    assert "YJ-000002" in client_of(Role.SUPERVISOR).get("/supervision/?state=open").text
    for who, text, found in (
        (Role.SUPERVISOR, "资源池分配", {1, 2}), (Role.PROVIDER, "jg-01", {1, 2}), ("tenant1", "资源池分配", set()), (Role.SUPERVISOR, "yj-000001", {1}),
    ):  # fmt: skip
        page = client_of(who).get(f"/search?q={text}").text
        assert {one for one in (1, 2, 3) if f'href="/supervision/{one}"' in page} == found, (who, text)
    chiefs = client_of("authority1"), client_of("authority2")
    ends = chiefs[0].send(f"{item}/stop", {"effective_from": "2026-07-02", "reason": "目录修订"}).location
    chiefs[1].send(f"{ends}/sign")
    clock.advance(days=20)
    text, rows = sections(house, tmp_path, "city")
    assert text == ["报告期内监管预警 2 项，其中期末尚未恢复 1 项，未按期答复 2 项。"]
    assert rows[0][:7] == ["YJ-000001", "资源池分配率", "严重", "政务外网区", "20.5 %", "高于 20 %", "2026-06-03 11:00"]
    assert sections(house, tmp_path, "department:A01") == ([], [])
    hourly()
    assert "不再监测" in client_of(Role.SUPERVISOR).get("/supervision/2").text
    assert sections(house, tmp_path, "provider:" + place.provider.code) == (text, rows), "as of the month's end"
    place.prove()


COUNTED = {
    "late_requests": ({"state": "in_review"}, "due_at"),
    "late_orders": ({"state": "failed"}, "due_at"),
    "late_cases": ({"state": "noticed"}, "due_at"),
    "late_tickets": ({"state": "filed"}, "due_at"),
    "late_rectifications": ({"state": "ordered"}, "due_at"),
    "open_incidents": ({}, "recovered_at"),
    "ended_entries": ({}, "ends_on"),
    "disputed": ({"state": "claimed", "fen": -150}, "state"),
}


def fill(tx, n, model, says):
    """A row of which nothing but what it ``says`` matters."""
    plain = {int: n, str: f"x{n}", bool: False, datetime: tx.now, date: tx.now.date(), Decimal: Decimal(n), float: 1.0}
    given = {
        one.name: plain.get(getattr(one.type, "impl", one.type).python_type, {})
        for one in model.__table__.columns
        if not (one.nullable or one.primary_key or one.default is not None or one.server_default is not None)
    }
    tx.execute(insert(model.__table__).values({**given, **says}))


def test_every_figure_that_counts_leads_to_the_rows_that_it_counts(app, house, client_of):
    """Two rows of one object, one of another, and one that is well: what the list shows by the figure's link is what was counted."""
    assert set(COUNTED) == {one.code for one in MEASURES.values() if one.counted} == set(links._LISTS)
    at = {one.code: next(iter(one.objects - {"city"})) for one in MEASURES.values() if one.counted}
    with house.transaction(steward()) as tx, app.test_request_context("/"):
        tx.execute(sql("PRAGMA defer_foreign_keys = ON"))  # rows of nothing, given up below
        tx.execute(sql("PRAGMA ignore_check_constraints = ON"))
        for code, (says, ends) in COUNTED.items():
            measure = MEASURES[code]
            own = [f"{one}_id" for one in measure.objects if one != "city"]
            gone, ahead = tx.now - timedelta(days=3), tx.now + timedelta(days=3)
            bad = {"due_at": gone, "ends_on": gone.date()}
            well = {"due_at": ahead, "ends_on": ahead.date(), "recovered_at": gone, "state": "settled"}
            for n, (whose, so) in enumerate(((1, bad), (1, bad), (2, bad), (1, well)), 1):
                fill(
                    tx,
                    n,
                    measure.model,
                    {**says, **({ends: so[ends]} if ends in so else {}), **dict.fromkeys(own, whose)},
                )
            for of in measure.objects:
                for whose, rows in ((0, 3),) if of == "city" else ((1, 2), (2, 1), (3, 0)):
                    figure = measures.figures(tx, code, of)(whose)
                    address = f"/?state=all&{links.WATCHED}={code}:{of}:{whose}"
                    with app.test_request_context(address):
                        narrowed = links.watched(tx, measure.model)
                        found = listing(tx, select(measure.model), [], key=measure.model.id, filters=narrowed)
                    assert figure == found.total * (Decimal("1.5") if code == "disputed" else 1), (code, of)
                    assert found.total == rows, (code, of, whose)
        tx.execute(sql("PRAGMA ignore_check_constraints = OFF"))
        tx.rollback()
    supervisor = client_of(Role.SUPERVISOR)
    for code, endpoint in links._LISTS.items():
        with app.test_request_context("/"):
            path = url_for(endpoint)
        page = supervisor.get(f"{path}?state=all&watched={code}:{at[code]}:1").text
        assert f'value="{code}:{at[code]}:1" selected' in page, path
        for wrong in ("", "nothing", f"{code}:nobody:1", "score:provider:1", "9" * 5000):
            assert supervisor.get(f"{path}?watched={wrong}").status_code == 200, (path, wrong[:9])
