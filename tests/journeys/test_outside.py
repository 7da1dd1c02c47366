"""What is not on the cloud, over HTTP: registered by its department, recognised or refused by whom the city's rules name, moved in time;
clauses of cities' published rules by number, each enacted as data (``test_clauses``)."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.directory import OutsideFacility, System, departments, outside
from quota.requests.tables import Request
from tests.journeys.test_clauses import enacted, fact, names, put_forward, rule, step
from tests.journeys.test_requests import BASIS, decide, generation, state

ROOM = {"name": "档案楼机房", "kind": "room", "place": "档案楼三层", "size": "8 个机柜、42 台服务器"}


@pytest.fixture
def registered(client_of, place):
    """Registers something of the first department's outside: its number."""

    def by(**says):
        answer = client_of("tenant1").send("/outside/new", {"department": str(place.department), **ROOM, **says})
        assert answer.status_code == 302, answer.text
        return int(answer.location.rsplit("/", 1)[1])

    return by


def asked(client, place, number, **says):
    """Ask on the page for its recognition: the request's number, and what the page says where it was refused."""
    address = f"/requests/new/outside?entry={number}&pool={place.pool}"
    page = client.get(address)
    assert page.status_code == 200
    assert ROOM["name"] in page.text
    key = re.search(r'name="key"[^>]*value="([0-9a-f]+)"', page.text).group(1)
    form = {"key": key, "justification": BASIS, "system": "0", "more_plan": "一年内迁入政务云", **says}
    answer = client.send(address, form)
    assert answer.status_code == 302, re.findall(r'class="gj-error[^>]*>.*?</p>', answer.text, re.S)
    made = int(re.search(r"/requests/(\d+)/check", answer.location).group(1))
    seen = generation(client, made, "/edit")
    answer = client.send(f"/requests/{made}/submit", {"generation": seen})
    where = answer.location
    if where is None:
        return made, answer.text
    return made, "" if where.endswith(f"/requests/{made}") else client.get(where).text


def found(place, number):
    with place.book.reading() as tx:
        return tx.get(OutsideFacility, number)


def test_27_exceptions_need_the_committee(client_of, place, clock, registered):
    own = fact("outside", "in", ["room", "equipment"])
    committee = step("committee", "市级领导小组", {"department": "A02"}, {"role": "authority"}, stage=40, record=True)
    enacted(
        client_of, clock,
        rule("committee", {"all": [fact("kind", "==", "outside"), own]}, steps=[committee]),
        rule("letter", {"all": [own, {"not": fact("annexes", "has", "领导小组申请")}]}, outcome="refuse", reason="须附领导小组申请"),
        rule("short", {"all": [fact("outside", "==", "cloud"), fact("term_days", ">", 180)]}, outcome="refuse", reason="其他云最长半年"),
    )  # fmt: skip
    room, tenant = registered(), client_of("tenant1")
    number, refused = asked(tenant, place, room)
    assert "须附领导小组申请" in refused
    put_forward(tenant, number, "领导小组申请")
    assert (
        tenant.send(f"/requests/{number}/submit", {"generation": generation(tenant, number, "/check")}).status_code
        == 302
    )
    assert [name for name, _decision in names(place, number)] == [
        "形式审查",
        "技术评审",
        "市级领导小组",
        "市级领导小组",
    ]
    for login in ("supervisor1", "supervisor2"):
        assert "档案楼机房" in client_of(login).get(f"/decisions/{number}").text
        decide(client_of(login), number)
    assert "须填写文号" in decide(client_of("authority1"), number).text
    decide(client_of("authority1"), number, record="领导小组〔2026〕4号")
    assert found(place, room).recognised_on is None  # one of two
    other = client_of("tenant2")
    assert other.get(f"/outside/{room}").status_code == 404
    decide(other, number, record="领导小组〔2026〕5号")
    assert state(place, number) == "done"
    one = found(place, room)
    assert (one.recognised_on, one.recognised_until, one.refused_on) == (clock.now.astimezone(ZONE).date(), None, None)
    with place.book.reading() as tx:
        assert one.basis == tx.get(Request, number).number
    page = tenant.get(f"/outside/{room}").text
    assert "已认定" in page
    assert "/requests/new/outside" not in page  # for good: nothing more to ask for
    assert "已认定为长期" in asked(tenant, place, room)[1]
    # What is no room of its own and needs no committee has a limit instead: at it, and one day beyond.
    today = clock.now.astimezone(ZONE).date()
    for days, refused in ((181, "其他云最长半年"), (180, "")):
        cloud = registered(kind="cloud", place=f"租用机房 {days}")
        number, said = asked(tenant, place, cloud, use_until=str(today + timedelta(days=days)))
        assert (refused in said) if refused else not said
    assert "市级领导小组" not in dict(names(place, number))
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), number)
    assert found(place, cloud).recognised_until == today + timedelta(days=180)
    clock.advance(days=90)
    assert "到期或逾期的云外资源" in client_of("tenant1").get("/").text
    clock.advance(days=91)
    assert "认定已到期" in client_of("supervisor1").get(f"/outside/{cloud}").text
    assert not asked(client_of("tenant1"), place, cloud, use_until=str(today + timedelta(days=300)))[1]  # anew
    place.prove()


def test_33_own_rooms_are_recognised_or_move_within_a_year(client_of, place, clock, registered):
    enacted(
        client_of, clock,
        rule("moves", fact("outside", "==", "room"), outcome="oblige", ending={"limit": 12, "unit": "months"}),
    )  # fmt: skip
    assert "驳回后限期办理：12 个月内" in client_of("authority1").get("/rules/moves").text
    room, tenant = registered(), client_of("tenant1")
    with place.book.transaction(steward()) as tx:
        systems = [departments.enter(tx, f"x{n}", place.department, {"name": f"系统{n}"}).id for n in (1, 2)]
    edit = {"generation": "1", **ROOM, "systems": str(systems[0])}
    assert tenant.send(f"/outside/{room}/edit", edit).status_code == 302
    assert "上云率 50" in tenant.get("/outside/").text
    assert "None" not in tenant.get("/outside/").text
    number, refused = asked(tenant, place, room)
    assert not refused
    assert "已有在办申请" in asked(tenant, place, room)[1]
    assert "正在办理申请" in tenant.send(f"/outside/{room}/edit", {**edit, "generation": "2"}).text
    decide(client_of("supervisor1"), number, "reject", "等级保护不达标")
    assert state(place, number) == "rejected"
    one, today = found(place, room), clock.now.astimezone(ZONE).date()
    assert (one.refused_on, one.move_by) == (today, today.replace(year=today.year + 1))
    assert f"{one.move_by}" in tenant.get(f"/outside/{room}").text
    assert "限期迁移" in tenant.get("/outside/?state=moving").text
    clock.now = clock.now.replace(year=today.year + 1)  # the last day
    supervisor = client_of("supervisor1")
    assert f"/outside/{room}" in supervisor.get("/").text
    assert "逾期未迁移" not in supervisor.get(f"/outside/{room}").text
    clock.advance(days=1)
    supervisor = client_of("supervisor1")
    assert "逾期未迁移" in supervisor.get(f"/outside/{room}").text
    assert ROOM["name"] in supervisor.get("/outside/?state=late&export=csv").text
    day = {"generation": str(one.generation), "on": str(clock.now.date() + timedelta(days=30)), "note": "设备采购延误"}
    assert supervisor.send(f"/outside/{room}/day", day).status_code == 403
    assert client_of("authority1").send(f"/outside/{room}/day", day).status_code == 302
    gone = {"generation": str(one.generation + 1), "on": str(clock.now.date()), "note": "已全部迁入政务云"}
    assert client_of("tenant1").send(f"/outside/{room}/leave", gone).status_code == 403
    assert supervisor.send(f"/outside/{room}/leave", gone).status_code == 302
    assert "上云率 100" in supervisor.get("/outside/").text
    assert f"/outside/{room}" not in supervisor.get("/").text
    assert "已迁移或停用" in asked(client_of("tenant1"), place, room)[1]


def test_what_no_rule_gives_a_day_waits_for_the_authoritys(client_of, place, clock, registered):
    """Nobody is refused by a figure that nobody enacted; and what it was recognised for is not cut short."""
    room, today = registered(), clock.now.astimezone(ZONE).date()
    number, _refused = asked(client_of("tenant1"), place, room, use_until=str(today + timedelta(days=500)))
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), number)
    enacted(
        client_of,
        clock,
        rule("moves", fact("outside", "==", "room"), outcome="oblige", ending={"limit": 30, "unit": "days"}),
    )
    number, _refused = asked(client_of("tenant1"), place, room)
    decide(client_of("supervisor1"), number, "reject", "不再具备条件")
    assert found(place, room).move_by == today + timedelta(days=500)
    other = registered(kind="system")
    number, _refused = asked(client_of("tenant1"), place, other)
    decide(client_of("supervisor1"), number, "reject", "可以上云")
    assert found(place, other).move_by is None
    assert "由主管部门核定" in client_of("authority1").get(f"/outside/{other}").text


def test_what_is_wrong_is_named_and_nothing_is_written(client_of, place, registered):
    tenant, room = client_of("tenant1"), registered()
    neighbour = client_of("tenant2")
    for says, word in (
        ({"name": " "}, "都不能为空"),
        ({"kind": "moon"}, "类型"),
        ({"place": ""}, "请填写地点"),
        ({"name": "机" * 129}, "128"),
    ):
        answer = tenant.send("/outside/new", {"department": str(place.department), **ROOM, **says})
        assert answer.status_code == 422, says
        assert word in answer.text
    assert neighbour.get(f"/requests/new/outside?entry={room}&pool={place.pool}").status_code == 404
    assert tenant.get(f"/requests/new/outside?entry=999&pool={place.pool}").status_code == 404
    assert tenant.get("/requests/new/outside?entry=x").status_code == 404
    assert client_of(Role.AUDITOR).send("/outside/new", ROOM).status_code == 403
    assert client_of(Role.PROVIDER).get("/outside/").status_code == 403
    assert tenant.send(f"/outside/{room}/edit", {"generation": "9", **ROOM}).status_code == 422
    with place.book.reading() as tx:
        assert tx.query(OutsideFacility).count() == 1
        assert tx.query(Request).count() == 0


def test_the_nearest_day_stands_first_whichever_day_it_is(client_of, place, clock, registered):
    today = clock.now.astimezone(ZONE).date()
    staying, moving, over = (registered(place=f"{n} 层") for n in range(3))
    with place.book.transaction(steward()) as tx:
        outside.recognise(tx, staying, today + timedelta(days=80), "一")
        outside.refuse(tx, moving, today + timedelta(days=40), "二")
        outside.recognise(tx, over, today + timedelta(days=1), "三")
    page = client_of("supervisor1").get("/").text
    assert [int(one) for one in re.findall(r'href="/outside/(\d+)"', page)] == [over, moving, staying]


def test_a_system_that_went_to_another_department_is_kept_and_not_shown(client_of, place, registered):
    room, tenant = registered(), client_of("tenant1")
    with place.book.transaction(steward()) as tx:
        own, gone = (departments.enter(tx, f"x{n}", place.department, {"name": f"系统{n}"}).id for n in (1, 2))
    edit = {"generation": "1", **ROOM, "systems": [str(own), str(gone)]}
    assert tenant.send(f"/outside/{room}/edit", edit).status_code == 302
    with place.book.transaction(steward()) as tx:
        tx.get_one(System, gone).department_id = place.second
    assert "系统1" in tenant.get(f"/outside/{room}/edit").text
    assert "系统2" not in tenant.get(f"/outside/{room}/edit").text
    assert (
        tenant.send(f"/outside/{room}/edit", {**edit, "generation": "2", "systems": str(own), "size": "9"}).status_code
        == 302
    )
    with place.book.reading() as tx:
        assert {one.id for one in tx.get_one(OutsideFacility, room).systems} == {own, gone}


def test_what_is_entered_already_or_was_decided_on_is_not_entered_or_changed_by_its_department(
    client_of, place, registered
):
    room, tenant = registered(), client_of("tenant1")
    again = tenant.send("/outside/new", {"department": str(place.department), **ROOM})
    assert again.status_code == 422
    assert "已登记“档案楼机房”" in again.text
    with place.book.transaction(steward()) as tx:
        outside.recognise(tx, room, None, "一")
    wider = {"generation": "2", **ROOM, "kind": "cloud", "size": "80 个机柜"}
    assert "只能由主管部门或运营监督人员更正" in tenant.send(f"/outside/{room}/edit", wider).text
    assert client_of("supervisor1").send(f"/outside/{room}/edit", wider).status_code == 302
    with place.book.reading() as tx:
        assert tx.get_one(OutsideFacility, room).size == "80 个机柜"
