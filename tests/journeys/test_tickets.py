"""运维请求 over HTTP: filed, answered, asked back, handed on, solved, reopened and confirmed; what each party sees, what mails say, what
the company is marked with; and everything that is refused.

pool p1 of 甲云 (provider1), pool p2 of 乙云; tenant1 of A01 with system s1 on p1, tenant2 of A02. Monday, 2026-06-01, 10:00.
"""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import func, select

from console.api import calendars
from providers.assessment import company, formula, formula_documents, formula_drafts, gathering
from providers.ticket_terms import DEFAULT_TICKETS
from providers.tickets import Ticket, TicketKind, TicketStep, TicketTurn, handling, steps, ticket, waiting
from quota.actors import Actor, Role, steward
from quota.audit import AuditRecord
from quota.calendar import ZONE, correct
from quota.directory import Adjustment, CloudProvider, Pool, departments, reorganisations
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, Refused, WrongState
from quota.inventory import Resource
from tests.console.test_house import check_page
from tests.quota.test_attachments import PDF

SUPERVISOR = Actor("supervisor1", "监督", Role.SUPERVISOR)


@pytest.fixture
def clerk(place) -> Actor:
    return Actor("tenant1", "经办", Role.TENANT, department_id=place.departments[0].id)


@pytest.fixture
def operator(place) -> Actor:
    return Actor("provider1", "运维", Role.PROVIDER, provider_id=place.provider.id)


@pytest.fixture
def told(house, place) -> dict[str, Any]:
    """A system with one machine on p1, and a pool of another company."""
    own = place.departments[0].id
    with house.transaction(steward()) as tx:
        system = departments.enter(tx, "s1", own, {"name": "一网通办"}).id
        other = CloudProvider(code="yi", name="乙云")
        tx.add(other)
        tx.flush()
        pool = Pool(
            code="p2", name="乙池", provider_id=other.id, arch="x86_64", zone="互联网", xinchuang=False, adapter="files"
        )
        machine = Resource(
            pool_id=place.pools["p1"], external_id="i-1", name="网关", kind="vm", arch="aarch64", amounts={"vcpu": 6}, booked={},
            state="running", department_id=own, system_id=system, basis="adopted", first_seen_at=tx.now, tags={},
        )  # fmt: skip
        tx.add_all([pool, machine])
        tx.flush()
        return {"system": system, "pool": pool.id, "company": other.id, "machine": machine.id}


def filed(
    house, who: Actor, kind: TicketKind = TicketKind.FAULT, level: int = 2, title: str = "登录慢", **about
) -> int:
    with house.transaction(who) as tx:
        return handling.file(tx, kind, level, title, "九点起登录要一分钟", **about).id


def did(house, who: Actor, verb, number: int, *more, said: str = "已处理") -> Ticket:
    with house.transaction(who) as tx:
        return verb(tx, number, None, *more, said)


def told_of(letters: dict[str, str], said: str) -> set[str]:
    return {login for login, text in letters.items() if said in text}


def due(house, number: int) -> tuple[datetime, datetime, datetime | None]:
    """(respond by, resolve by, by when whoever's turn it is must act), in the city's time."""
    with house.reading() as tx:
        turn = tx.scalars(
            select(TicketTurn).where(TicketTurn.ticket_id == number).order_by(TicketTurn.id.desc())
        ).first()
        at = tx.get_one(Ticket, number).due_at
        return turn.respond_by.astimezone(ZONE), turn.resolve_by.astimezone(ZONE), at and at.astimezone(ZONE)


def local(day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 6, day, hour, minute, second, tzinfo=ZONE)


def evidence(house, provider_id: int, period: str = "2026-06") -> list[dict[str, Any]]:
    with house.reading() as tx:
        found = gathering.gather(tx, company(provider_id), period, by=formula.default())["tickets"]
        return [{"ref": one.ref, **one.facts} for one in found]


def test_a_fault_from_report_to_confirmation(house, place, told, client_of, clock, posted) -> None:
    clerk, neighbour = client_of("tenant1"), client_of("tenant2")
    operator, supervisor = client_of(Role.PROVIDER), client_of(Role.SUPERVISOR)
    posted()
    check_page("/tickets/new", clerk.get("/tickets/new").text)
    body = {
        "kind": "fault",
        "system": told["system"],
        "resource": 0,
        "pool": 0,
        "level": 2,
        "title": "登录慢",
        "description": "九点起登录要一分钟",
    }
    assert clerk.send("/tickets/new", body | {"description": " "}).status_code == 422
    assert clerk.send("/tickets/new", body | {"kind": "tea"}).status_code == 422
    assert clerk.send("/tickets/new", body | {"level": "9"}).status_code == 422
    assert clerk.send("/tickets/new", body).location.endswith("/tickets/1")
    assert "YW-000001" in clerk.send("/tickets/new", body).text, "the same is open already"
    assert told_of(posted(), "收到运维请求，请响应") == {"provider1", "provider2"}
    assert operator.send("/tickets/new", body).status_code == 403
    for who in (operator, supervisor, clerk):
        page = who.get("/tickets/1")
        check_page("/tickets/1", page.text)
        assert "登录慢" in page.text
    assert neighbour.get("/tickets/1").status_code == 404
    assert "登录慢" not in neighbour.get("/tickets/?export=csv").text
    assert "YW-000001" in operator.get("/").text
    assert "YW-000001" not in supervisor.get("/").text, "it is the company's"
    assert clerk.send("/tickets/1/answer", {"generation": 1, "text": "我自己来"}).status_code == 403
    assert supervisor.send("/tickets/1/solve", {"generation": 1, "text": "好了"}).status_code == 422, "who handles it"

    clock.advance(hours=1)
    clerk, operator, supervisor = client_of("tenant1"), client_of(Role.PROVIDER), client_of(Role.SUPERVISOR)
    assert operator.send("/tickets/1/answer", {"generation": 1, "text": "值班员在查"}).status_code == 302
    assert operator.send("/tickets/1/answer", {"generation": 2, "text": "再答"}).status_code == 422
    assert "已被更新" in operator.send("/tickets/1/solve", {"generation": 1, "text": "旧页面"}).text
    assert operator.send("/tickets/1/ask", {"generation": 2, "text": "哪些账号？"}).status_code == 302
    assert told_of(posted(), "请补充说明") == {"tenant1"}
    assert "YW-000001" in clerk.get("/").text
    assert "YW-000001" not in operator.get("/").text
    clock.advance(hours=2)
    clerk, operator, supervisor = client_of("tenant1"), client_of(Role.PROVIDER), client_of(Role.SUPERVISOR)
    assert clerk.send("/tickets/1/tell", {"generation": 3, "text": "全部账号"}).status_code == 302
    attached = clerk.send(
        "/attachments/ticket/1/add", {"files": (io.BytesIO(PDF), "截图.pdf")}, content_type="multipart/form-data"
    )
    assert attached.status_code == 302
    assert "截图.pdf" in operator.get("/tickets/1").text
    assert client_of("tenant2").get("/attachments/1").status_code == 404
    assert operator.send("/tickets/1/say", {"text": "已定位到数据库"}).status_code == 302
    letters = posted()
    assert told_of(letters, "已补充说明，请继续处理") == {"provider1", "provider2"}
    assert told_of(letters, "运维请求有新留言") == {"tenant1"}
    clock.advance(hours=6)
    clerk, operator, supervisor = client_of("tenant1"), client_of(Role.PROVIDER), client_of(Role.SUPERVISOR)
    assert operator.send("/tickets/1/solve", {"generation": 4, "text": "重建了索引"}).status_code == 302
    assert due(house, 1)[:2] == (local(1, 12), local(1, 20)), "two hours of eight lay with the department"
    assert clerk.send("/tickets/1/reopen", {"generation": 5, "text": "下午还是慢"}).status_code == 302
    clock.advance(hours=2)
    clerk, operator, supervisor = client_of("tenant1"), client_of(Role.PROVIDER), client_of(Role.SUPERVISOR)
    assert "逾期" in supervisor.get("/tickets/?state=overdue&export=csv").text
    assert "YW-000001" in supervisor.get("/").text, "it is late with the company"
    assert told_of(posted(), "运维请求已逾期") == {
        "provider1",
        "provider2",
        "supervisor1",
        "supervisor2",
    }
    assert posted() == {}, "once"
    assert operator.send("/tickets/1/solve", {"generation": 6, "text": "换了参数"}).status_code == 302
    assert clerk.send("/tickets/1/confirm", {"generation": 7, "text": ""}).status_code == 302
    page = clerk.get("/tickets/1").text
    for said in (
        "值班员在查",
        "哪些账号？",
        "全部账号",
        "已定位到数据库",
        "重建了索引",
        "下午还是慢",
        "换了参数",
        "已解决",
    ):
        assert said in page, "nothing that was said is gone"
    assert clerk.send("/tickets/1/say", {"text": "谢谢"}, follow_redirects=True).status_code == 200
    assert clerk.send("/tickets/1/withdraw", {"generation": 8, "text": "不要了"}).status_code == 422
    assert evidence(house, place.provider.id) == [
        {
            "ref": "ticket:1", "number": "YW-000001", "level": 2, "respond_by": _iso(1, 12), "responded_at": _iso(1, 11),
            "resolve_by": _iso(1, 20), "solved_at": _iso(1, 21), "ok": False,
        }
    ]  # fmt: skip
    with house.reading() as tx:
        acts = tx.scalars(select(TicketStep.act).order_by(TicketStep.id)).all()
        trail = tx.scalars(
            select(AuditRecord.action)
            .where(AuditRecord.subject == "ticket:1", AuditRecord.action.like("ticket.%"))
            .order_by(AuditRecord.sequence)
        ).all()
    assert [f"ticket.{one}" for one in acts] == list(trail)
    assert acts == ["filed", "answered", "asked", "told", "said", "solved", "reopened", "solved", "confirmed"]


def _iso(day: int, hour: int) -> str:
    return local(day, hour).astimezone(UTC).isoformat()


def test_advice_is_the_supervisors_and_a_fault_is_handed_on(
    house, place, told, client_of, clock, clerk, operator
) -> None:
    supervisor = client_of(Role.SUPERVISOR)
    advice = filed(house, clerk, TicketKind.ADVICE, title="怎样申请专线", pool_id=place.pools["p1"])
    assert "怎样申请专线" in supervisor.get("/").text
    with pytest.raises(NotFound), house.reading(operator) as tx:
        ticket(tx, advice)  # what is asked of the supervisor is no business of the company
    number = filed(house, clerk, system_id=told["system"])
    other = Actor("p2", "乙", Role.PROVIDER, provider_id=told["company"])
    with pytest.raises(NotFound), house.reading(other) as tx:
        ticket(tx, number)
    with pytest.raises(NotAllowed):
        did(house, operator, handling.hand_over, number, told["pool"])
    clock.advance(hours=1)
    did(house, operator, handling.hand_over, number, None, said="是乙云的专线")
    assert due(house, number) == (local(1, 13), local(1, 19), local(1, 13))
    with pytest.raises(NotAllowed):
        did(house, operator, handling.solve, number)
    clock.advance(hours=1)
    supervisor = client_of(Role.SUPERVISOR)
    page = supervisor.get(f"/tickets/{number}/hand-over").text
    assert "乙云（乙池）" in page
    with house.reading(SUPERVISOR) as tx:
        shown = ticket(tx, number).generation
    sent = {"generation": shown, "to": told["pool"], "text": "请乙云查"}
    assert supervisor.send(f"/tickets/{number}/hand-over", sent | {"to": "999"}).status_code == 422
    assert supervisor.send(f"/tickets/{number}/hand-over", sent).status_code == 302
    assert due(house, number) == (local(1, 14), local(1, 20), local(1, 14))
    did(house, other, handling.answer, number, said="在查")
    with house.reading(operator) as tx:
        assert [one.text for one in steps(tx, ticket(tx, number))] == ["九点起登录要一分钟", "是乙云的专线"]
        assert calendars.due(tx, operator) == []
    assert client_of(Role.PROVIDER).get(f"/attachments/ticket/{number}/add").status_code == 404
    # back to the first company: its clock goes on where it stood, an hour of which was its own
    did(house, SUPERVISOR, handling.hand_over, number, place.pools["p1"], said="确是甲云")
    clock.advance(hours=2)
    did(house, operator, handling.solve, number)
    with house.reading() as tx:
        mine = tx.scalars(select(TicketTurn).where(TicketTurn.provider_id == place.provider.id)).one()
        assert mine.resolve_by.astimezone(ZONE) == local(1, 19)
        assert mine.respond_by.astimezone(ZONE) == local(1, 13), "the hour at the supervisor's is not its own"
        assert mine.responded_at.astimezone(ZONE) == local(1, 14)
    did(house, clerk, handling.confirm, number)
    clock.now = local(2, 9)
    assert [one["ok"] for one in evidence(house, place.provider.id)] == [False], "it was answered an hour too late"
    assert [one["ok"] for one in evidence(house, told["company"])] == [True]


def test_who_gets_it_back_unanswered_loses_no_time_by_another(house, place, told, clock, clerk, operator) -> None:
    number = filed(house, clerk, system_id=told["system"])
    clock.advance(hours=1)
    did(house, operator, handling.hand_over, number, None, said="不是我们的")
    clock.advance(hours=5)
    did(house, SUPERVISOR, handling.hand_over, number, place.pools["p1"], said="确是甲云")
    with house.reading() as tx:
        assert tx.get_one(Ticket, number).due_at.astimezone(ZONE) == local(1, 17), "an hour of its two is left"
    clock.advance(minutes=30)
    did(house, operator, handling.answer, number)
    clock.advance(minutes=30)
    did(house, operator, handling.ask, number)
    clock.advance(hours=4)
    did(house, clerk, handling.tell, number)
    with house.reading() as tx:
        mine = tx.scalars(select(TicketTurn).where(TicketTurn.provider_id == place.provider.id)).one()
        assert mine.respond_by.astimezone(ZONE) == local(1, 17), "what comes after the answer moves it no more"
        assert mine.resolve_by.astimezone(ZONE) == local(2, 3)
    did(house, operator, handling.solve, number)
    clock.now = local(3, 9)
    assert [one["ok"] for one in evidence(house, place.provider.id)] == [True]


def test_what_lies_with_the_department_is_not_due(house, place, told, clock, clerk, operator) -> None:
    number = filed(house, clerk, system_id=told["system"])
    did(house, operator, handling.ask, number, said="哪些账号？")
    clock.now = local(20, 9)
    assert evidence(house, place.provider.id) == [], "neither in time nor late: nothing was solved"
    did(house, clerk, handling.tell, number)
    clock.now = local(21, 9)
    assert [one["ok"] for one in evidence(house, place.provider.id)] == [False]


def test_a_word_of_the_supervisor_goes_to_both(house, place, told, clerk, posted) -> None:
    number = filed(house, clerk, system_id=told["system"])
    posted()
    with house.transaction(SUPERVISOR) as tx:
        handling.say(tx, number, "请今天处理")
    assert told_of(posted(), "运维请求有新留言") == {"tenant1", "provider1", "provider2"}


def test_a_ticket_is_found_by_its_number(house, place, told, client_of, clerk) -> None:
    number = filed(house, clerk, system_id=told["system"])

    def found(login: str, typed: str) -> bool:
        return "登录慢" in client_of(login).get(f"/search?q={typed}", follow_redirects=True).text

    for typed in (f"YW-{number:06d}", f"yw-{number}"):
        assert found("tenant1", typed)
        assert not found("tenant2", typed)
    for typed in ("YW-000099", "YW-", "YW-x", "YW-99999999999999999999", f"ZG-{number}"):
        assert not found("tenant1", typed)


def test_working_days_and_the_calendar(house, place, told, clock, clerk, operator) -> None:
    number = filed(house, clerk, level=4, system_id=told["system"])
    assert due(house, number) == (local(2, 23, 59, 59), local(8, 23, 59, 59), local(2, 23, 59, 59))
    with house.transaction(Actor("authority1", "主任", Role.AUTHORITY)) as tx:
        correct(tx, date(2026, 6, 2), working=False)
        tx.flush()
        assert handling.redate(tx) == 1
        assert handling.redate(tx) == 0
    assert due(house, number) == (local(3, 23, 59, 59), local(9, 23, 59, 59), local(3, 23, 59, 59))
    clock.now = local(3, 10)
    did(house, operator, handling.ask, number)
    assert due(house, number)[2] == local(10, 23, 59, 59)
    clock.now = local(5, 10)
    did(house, clerk, handling.tell, number)
    assert due(house, number)[1:] == (local(11, 23, 59, 59), local(11, 23, 59, 59)), (
        "two working days with the department"
    )
    did(house, SUPERVISOR, handling.set_level, number, 3)
    assert due(house, number)[:2] == (local(1, 14), local(9, 23, 59, 59))
    with pytest.raises(Invalid):
        did(house, SUPERVISOR, handling.set_level, number, 3)
    with pytest.raises(NotAllowed):
        did(house, operator, handling.set_level, number, 4)


def test_what_nobody_confirms_the_supervisor_ends(house, place, told, client_of, clock, clerk, operator) -> None:
    number = filed(house, clerk, system_id=told["system"])
    did(house, operator, handling.solve, number)
    with pytest.raises(WrongState):
        did(house, SUPERVISOR, handling.close, number)
    clock.now = local(9, 9)
    assert f"YW-{number:06d}" in client_of(Role.SUPERVISOR).get("/").text
    with pytest.raises(NotAllowed):
        did(house, replace(SUPERVISOR, program=True), handling.close, number)
    closed = did(house, SUPERVISOR, handling.close, number, said="回访无人，监测正常")
    assert (closed.state, closed.due_at) == ("closed", None)
    assert [one["ok"] for one in evidence(house, place.provider.id)] == [True], "the company did what it could"


def test_what_is_withdrawn_counts_for_nobody_and_what_stays_unsolved_in_every_month(
    house, place, told, clock, clerk, operator
) -> None:
    gone = filed(house, clerk, system_id=told["system"])
    left = filed(house, clerk, title="打不开", system_id=told["system"])
    clock.now = local(20, 9)
    did(house, clerk, handling.withdraw, gone, said="自己好了")
    with pytest.raises(WrongState):
        did(house, operator, handling.solve, gone)
    assert [(one["ref"], one["ok"]) for one in evidence(house, place.provider.id)] == [(f"ticket:{left}", False)]
    clock.now = datetime(2026, 7, 31, 12, tzinfo=ZONE)
    assert [one["ok"] for one in evidence(house, place.provider.id, "2026-07")] == [False]
    did(house, operator, handling.solve, left)
    clock.now = datetime(2026, 8, 31, 12, tzinfo=ZONE)
    assert evidence(house, place.provider.id, "2026-08") == []


@pytest.mark.parametrize(
    ("changes", "kind", "code"),
    [
        ({"system_id": 999}, Invalid, "ticket.system"),
        ({"resource_id": 999}, Invalid, "ticket.resource"),
        ({"pool_id": 999}, Invalid, "ticket.pool"),
        ({"resource_id": "machine", "pool_id": "pool"}, Invalid, "ticket.resource_pool"),
        ({}, Invalid, "ticket.no_pool"),
        ({"level": 5, "pool_id": "pool"}, Invalid, "ticket.level"),
        ({"title": " ", "pool_id": "pool"}, Invalid, "ticket.title"),
        ({"title": "字" * 257, "pool_id": "pool"}, Invalid, "ticket.long"),
    ],
)  # fmt: skip
def test_what_is_filed_wrongly_leaves_nothing(
    house, place, told, clerk, changes, kind: type[Refused], code: str
) -> None:
    given = {name: told.get(value, value) if isinstance(value, str) else value for name, value in changes.items()}
    with pytest.raises(kind) as refused:
        filed(house, clerk, **given)
    assert refused.value.code == code
    with house.reading() as tx:
        assert tx.scalar(select(func.count()).select_from(Ticket)) == 0


def test_the_pool_is_found_where_there_is_one(house, place, told, clerk) -> None:
    number = filed(house, clerk, resource_id=told["machine"])
    with house.reading() as tx:
        one = tx.get_one(Ticket, number)
        assert (one.system_id, one.pool_id, one.provider_id) == (told["system"], place.pools["p1"], place.provider.id)
    with pytest.raises(Conflict):
        filed(house, clerk, resource_id=told["machine"])
    with house.transaction(steward()) as tx:
        machine = tx.get_one(Resource, told["machine"])
        tx.add(Resource(
            pool_id=told["pool"], external_id="i-2", name="库", kind="vm", arch="x86_64", amounts={"vcpu": 6}, booked={}, state="running",
            department_id=machine.department_id, system_id=told["system"], basis="adopted", first_seen_at=tx.now, tags={},
        ))  # fmt: skip
    with pytest.raises(Invalid, match="pools"):
        filed(house, clerk, title="另一件", system_id=told["system"])
    neighbour = Actor("tenant2", "邻", Role.TENANT, department_id=place.departments[1].id)
    with pytest.raises(Invalid, match="system"):
        filed(house, neighbour, system_id=told["system"])
    with pytest.raises(NotFound):
        did(house, neighbour, handling.withdraw, number)


def test_terms_are_a_citys_own(house, place, told, clock, clerk) -> None:
    raw = formula.to_json(replace(formula.default(), tickets=replace(DEFAULT_TICKETS, confirm_days=7)))
    assert raw["tickets"]["levels"]["3"] == {"respond": {"minutes": 240}, "resolve": {"days": 3}}
    assert formula.from_json(raw).tickets == replace(DEFAULT_TICKETS, confirm_days=7)
    assert "tickets" not in formula.to_json(formula.default())


def test_enacted_limits_hold_from_their_day_on(house, place, told, clock, clerk) -> None:
    """Written as a file, drafted by one and enacted by another: tickets that were filed before keep theirs."""
    whole = formula_documents.FormulaDocument("city", "本市办法", "", "", "", None, formula.default())
    raw = json.loads(formula_documents.text(whole))
    raw["tickets"] = {
        "levels": {str(n): {"respond": {"minutes": 10}, "resolve": {"days": 1}} for n in (1, 2, 3, 4)}, "confirm_days": 2,
    }  # fmt: skip
    for wrong, where in (
        ({"levels": {"1": raw["tickets"]["levels"]["1"]}}, "tickets.levels"),
        ({"levels": {**raw["tickets"]["levels"], "2": {"respond": {}, "resolve": {"days": 1}}}}, "tickets.levels.2.respond"),
        ({"levels": {**raw["tickets"]["levels"], "2": {"respond": {"minutes": 0}, "resolve": {"days": 1}}}}, "tickets.levels.2.respond.minutes"),
        ({**raw["tickets"], "confirm_days": 0}, "tickets.confirm_days"),
    ):  # fmt: skip
        assert where in [one.params["where"] for one in formula_documents.problems({**raw, "tickets": wrong})]
    document = formula_documents.read(raw)
    with house.transaction(SUPERVISOR) as tx:
        draft = formula_drafts.draft(tx, document, effective_from=date(2026, 6, 2), reason="本市的时限")
    with house.transaction(Actor("authority1", "主任", Role.AUTHORITY)) as tx:
        formula_drafts.enact(tx, draft.id, draft.digest, reason="同意")
    before = filed(house, clerk, system_id=told["system"])
    assert due(house, before)[:2] == (local(1, 12), local(1, 18))
    clock.now = local(2, 10)
    after = filed(house, clerk, title="打不开", system_id=told["system"])
    advice = filed(house, clerk, TicketKind.ADVICE, title="怎样选")
    for number in (after, advice):
        assert due(house, number)[:2] == (local(2, 10, 10), local(3, 23, 59, 59))
    did(house, SUPERVISOR, handling.set_level, before, 1)
    assert due(house, before)[:2] == (local(1, 10, 30), local(1, 14)), "as when it was filed"


def test_a_merger_takes_open_tickets_along_and_a_system_with_one_stays(
    house, place, told, clock, clerk, operator
) -> None:
    over = filed(house, clerk, title="旧事", system_id=told["system"])
    did(house, operator, handling.solve, over)
    did(house, clerk, handling.confirm, over)
    number = filed(house, clerk, system_id=told["system"])
    own, other = (one.id for one in place.departments)
    chief = Actor("authority1", "主任", Role.AUTHORITY)
    with pytest.raises(WrongState), house.transaction(chief) as tx:
        reorganisations.reorganise(
            tx, Adjustment.SYSTEMS, own, other, system_ids=[told["system"]], reason="划转", key="s"
        )
    with house.transaction(chief) as tx:
        reorganisations.reorganise(tx, Adjustment.MERGE, own, other, reason="机构改革", key="m")
    successor = Actor("tenant2", "邻", Role.TENANT, department_id=other)
    with house.reading() as tx:
        assert [tx.get_one(Ticket, one).department_id for one in (over, number)] == [own, other]
    with house.reading(successor) as tx:
        assert ticket(tx, over).number == "YW-000001", "what is over is seen by the successor"
    did(house, operator, handling.ask, number)
    assert did(house, successor, handling.tell, number).state == "working"


def test_only_whose_turn_it_is_is_waited_for(house, place, told, clock, clerk, operator) -> None:
    number = filed(house, clerk, system_id=told["system"])
    for who, waits in ((operator, [number]), (clerk, []), (SUPERVISOR, []), (Actor("a", "审", Role.AUDITOR), [])):
        with house.reading(who) as tx:
            assert [one.id for one in waiting(tx, who)] == waits
            assert [one.of for one in calendars.due(tx, who)] == [f"ticket:{one}" for one in waits]
    clock.advance(hours=3)
    with house.reading(SUPERVISOR) as tx:
        assert [one.id for one in waiting(tx, SUPERVISOR)] == [number]
    nobodys = Actor("tenant1", "经办", Role.TENANT, department_id=None)
    with house.reading(nobodys) as tx:
        assert waiting(tx, nobodys) == []
