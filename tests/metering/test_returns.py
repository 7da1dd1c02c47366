"""What was granted for a time goes back by the clock: not while anything stands against it, what came out of the pool to the pool, and
what was changed otherwise meanwhile not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import event

from metering import cases
from metering.cases import exemptions
from metering.judging import Verdict
from metering.judging.procedure import Procedure
from providers import orders
from providers.base import Verb
from providers.orders import OrderState, WorkOrder
from quota import requests
from quota.calendar import ZONE
from quota.db import Book
from quota.errors import Conflict, Invalid, WrongState
from quota.inventory import Resource
from quota.ledger import Holder
from quota.requests import NoticeKind, Request, RequestKind, RequestState, approvals, asks, kinds, notices
from quota.units import MEMORY, VCPU, Arch
from tests import books
from tests.city import CASES, GB, City, Plan, PoolPlan
from tests.city.plans import _all
from tests.city.requests import WHY
from tests.metering.conftest import CPU

TERM = date(2026, 6, 2)
"""A day after the clock of the tests begins."""


THERE = PoolPlan("there_by", Arch.X86_64, _all(vcpu=100, memory=400 * GB, block=1000), "there", "互联网区")


def founded(book: Book, clock) -> City:
    return City(book, clock, replace(CASES, ruled=True))


@pytest.fixture
def town(book, clock) -> City:
    """On either database."""
    return founded(book, clock)


@pytest.fixture
def small_town(tmp_path, clock) -> Iterator[City]:
    """On SQLite alone."""
    opened = Book(books.sqlite(tmp_path / "small.db"), clock=clock)
    yield founded(opened, clock)
    opened.dispose()


def asked(town: City, kind: RequestKind, machine: int | None = None, **more) -> Request:
    """Handed in by the department."""
    with town.by(town.tenant) as tx:
        lines = []
        if machine is not None:
            has = tx.get_one(Resource, machine).counts()
            lines = [requests.Line(asked=more.pop("asked", {}), current=has, service="vm")]
        ask = requests.Ask(kind, town.department, town.pool, lines, WHY, resource_id=machine, **more)
        return requests.submit(tx, requests.draft(tx, ask), generation=1)


def signed(town: City, request: Request, **how) -> None:
    """By all who must."""
    for name in ("supervisor", "second", "authority"):
        with town.by(town.people[name]) as tx:
            now = requests.lock(tx, request.id)
            if now.state == RequestState.IN_REVIEW and now.current.role == town.people[name].role:
                approvals.sign(tx, now, decision=approvals.Decision.APPROVE, generation=now.generation, **how)


def delivered(town: City, order_id: int, vcpu: int) -> None:
    with town.by(town.provider) as tx:
        orders.mark_delivered(tx, order_id, orders.order(tx, order_id).generation, has={VCPU: vcpu})


def lent(town: City, machine: int, vcpu: int, until: date = TERM, **fields: str) -> int:
    """The machine was granted so many until a day, and the department accepted it; the request's id."""
    occasion = {"occasion": "高考报名", **fields}
    request = asked(town, kinds.TEMPORARY, machine, asked={VCPU: vcpu}, use_until=until, fields=occasion)
    signed(town, request)
    with town.by() as tx:
        (order,) = orders.place_for_request(tx, requests.lock(tx, request.id))
    delivered(town, order.id, vcpu)
    with town.by(town.tenant) as tx:
        assert not orders.returns.standing(tx, requests.request(tx, request.id)), "it is not accepted yet"
        orders.accept_request(tx, request.id, requests.lock(tx, request.id).generation)
    return request.id


def over(town: City) -> list[int]:
    """What the nightly round gives back."""
    with town.by() as tx:
        return [one.id for one in orders.returns.return_all(tx)]


def held(town: City, request_id: int) -> str | None:
    """What stands against it, as the page of the request says it."""
    with town.book.reading() as tx:
        why = orders.returns.held(tx, tx.get_one(Request, request_id))
        return why.code if why is not None else None


def given_back(town: City, request_id: int) -> None:
    """The department's own word."""
    with town.by(town.tenant) as tx:
        orders.returns.give_back(tx, request_id, generation=requests.request(tx, request_id).generation)


def told(town: City, who: str) -> list[str]:
    """Why it is held, as somebody was told, oldest first."""
    with town.book.reading() as tx:
        found = notices.received(tx, town.people[who])
        return [one.text for one in reversed(found) if one.kind == NoticeKind.HELD]


@contextmanager
def statements(book: Book) -> Iterator[list[str]]:
    said: list[str] = []

    def hear(_connection, _cursor, statement, *_rest) -> None:
        said.append(statement)

    event.listen(book.engine, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        event.remove(book.engine, "before_cursor_execute", hear)


def test_it_waits_while_anything_stands_against_it_and_the_pool_gets_back_what_it_lent(town, clock):
    machine = town.machine()  # 16 vCPU, and no quota besides
    town.grant({CPU: 3}, "spare")
    free = town.balance(Holder.FREE)
    town.judge({machine: Verdict.IDLE})  # of the days before the growth
    loan = lent(town, machine, 24)
    assert town.balance(Holder.FREE) == free - 5  # three of the eight were quota
    with town.by() as tx:
        assert [one.kind for one in notices.remind_of_terms(tx)] == [NoticeKind.LENT_ENDING]
    assert over(town) == []
    clock.advance(days=3)
    assert held(town, loan) == "case.term_blind"
    for verdict, p95, code in (
        (Verdict.UNKNOWN, 2.0, "case.term_blind"),
        (Verdict.BUSY, 2.0, "case.term_busy"),
        (Verdict.IDLE, 60.0, "case.term_crowded"),
        (Verdict.IDLE, 2.0, None),
    ):
        town.judge({machine: verdict}, p95=p95)
        assert held(town, loan) == code
    # 60 % of the former size for most of the week is 40 % of what it has now, and fits.
    town.judge({machine: Verdict.IDLE}, p95=60.0, of_present={"cpu_p95": 40.0})
    assert held(town, loan) is None

    with town.by(town.supervisor) as tx:
        until = clock.now.date() + timedelta(days=5)
        resource = tx.get_one(Resource, machine)
        row = exemptions.grant(
            tx, resource, exemptions.Category.KEY_PERIOD, "重保期间保持现有规格不变", until, Procedure()
        )
    assert (held(town, loan), over(town)) == ("case.exempt", [])
    with town.by(town.supervisor) as tx:
        exemptions.revoke(tx, tx.get_one(exemptions.Exemption, row.id), "重保提前结束")
        tx.get_one(Resource, machine).protected = True
    assert (held(town, loan), over(town)) == ("case.protected", [])
    with town.by() as tx:
        tx.get_one(Resource, machine).protected = False
    other = asked(town, kinds.UNSUBSCRIBE, machine)
    assert (held(town, loan), over(town)) == ("request.resource_busy", [])
    with pytest.raises(Conflict, match=r"request\.resource_busy"):
        given_back(town, loan)
    with town.by(town.tenant) as tx:
        requests.withdraw(tx, other.id, generation=requests.request(tx, other.id).generation)
    longer = asked(town, kinds.EXTEND, extends_id=loan, use_until=clock.now.date() + timedelta(days=30))
    assert (held(town, loan), over(town)) == ("return.extending", [])
    with town.by(town.tenant) as tx:
        requests.withdraw(tx, longer.id, generation=requests.request(tx, longer.id).generation)
    for who in ("tenant", "supervisor"):
        assert len(told(town, who)) == 4
        assert f"延期申请 {longer.number} 办结之前" in told(town, who)[3]

    # Ordered, and needed again before a cloud was told: not sent, taken back in the next round, ordered anew later.
    (first,) = over(town)
    with town.by() as tx:
        assert cases.last_look(tx, first) is None
    town.judge({machine: Verdict.BUSY})
    with town.by() as tx:
        assert "期满时仍繁忙" in cases.last_look(tx, first)
    assert over(town) == []
    with town.book.reading() as tx:
        assert tx.get_one(WorkOrder, first).state == OrderState.CANCELLED
    town.judge({machine: Verdict.IDLE})
    (second,) = over(town)
    assert (second != first, over(town)) == (True, [])
    delivered(town, second, 16)
    assert (town.balance(Holder.USED), town.balance(Holder.GRANTED), town.balance(Holder.FREE)) == (16, 3, free)
    with town.by() as tx, statements(town.book) as said:
        assert orders.returns.return_all(tx) == []
    assert len([one for one in said if one.lstrip().startswith("SELECT")]) <= 2, said
    town.prove()


def test_a_term_is_bounded_however_it_is_moved(small_town, clock):
    town, machine = small_town, small_town.machine()
    loan = lent(town, machine, 20)
    day = clock.now.astimezone(ZONE).date()
    with pytest.raises(Invalid, match=r"temporary\.long"):
        asked(town, kinds.EXTEND, extends_id=loan, use_until=day + timedelta(days=31))
    longer = asked(town, kinds.EXTEND, extends_id=loan, use_until=day + timedelta(days=30))
    clock.advance(days=40)  # the term passed while the extension waited
    day = clock.now.astimezone(ZONE).date()
    with pytest.raises(Invalid, match=r"temporary\.long"):
        signed(town, longer, use_until=day + timedelta(days=31))
    signed(town, longer, use_until=day + timedelta(days=30))
    with town.book.reading() as tx:
        assert tx.get_one(Request, loan).use_until == day + timedelta(days=30)


def test_what_was_changed_otherwise_is_no_loan_and_one_lent_on_top_goes_first(small_town, clock):
    town, machine, twin = small_town, small_town.machine(), small_town.machine()
    loan = lent(town, machine, 24)
    with town.by() as tx:  # the same figures, but as they shall be from now on
        resource = tx.get_one(Resource, machine)
        shape = {VCPU: 24, MEMORY: resource.actual()[MEMORY]}
        order = orders.place(tx, resource.pool, Verb.RESIZE, key="for good", resource=resource, amounts=shape)
    delivered(town, order.id, 24)
    below, above = lent(town, twin, 20), lent(town, twin, 24, TERM + timedelta(days=6))
    clock.advance(days=3)
    town.judge({machine: Verdict.IDLE, twin: Verdict.IDLE})
    assert (over(town), over(town)) == ([], [])
    assert told(town, "supervisor") == ["资源规格已另行变更，期满不再自动恢复，须核对是否归还"]
    assert told(town, "tenant") == []
    with pytest.raises(WrongState, match=r"return\.nothing"):
        given_back(town, loan)
    given_back(town, above)
    with town.book.reading() as tx:
        going = orders.returns.order_of(tx, tx.get_one(Request, above))
        assert cases.objection(tx, going.id) is None  # on the department's own word nothing is asked
    delivered(town, going.id, 20)
    (back,) = over(town)
    with town.book.reading() as tx:
        assert tx.get_one(WorkOrder, back).gives_back == below
    delivered(town, back, 16)
    assert town.balance(Holder.GRANTED) == 0
    town.prove()


def test_what_is_lent_does_not_move_to_another_pool(small_town):
    """It would be there for good on the other side, and its end would be nobody's."""
    town, machine = small_town, small_town.machine()
    loan = lent(town, machine, 24)
    plan = {"window": "周六夜间", "steps": "停写，同步", "fallback": "切回", "side_by_side": "7"}
    town.add(Plan(companies={"there_by": ("o", "乙云")}, pools={"there": THERE}, departments={}, ruled=False))
    with town.by(town.tenant) as tx:
        line = asks.moved(tx.get_one(Resource, machine), None, {})
        ask = requests.Ask(
            requests.declared("migrate"),
            town.department,
            town.pools["there"],
            [line],
            WHY,
            resource_id=machine,
            fields=plan,
        )
        moving = requests.draft(tx, ask).id
    with town.by(town.tenant) as tx, pytest.raises(Invalid, match=r"migrate\.lent"):
        requests.submit(tx, requests.lock(tx, moving), generation=1)
    given_back(town, loan)
    with town.by(town.tenant) as tx, pytest.raises(Invalid, match=r"request\.order_open"):
        requests.submit(tx, requests.lock(tx, moving), generation=1)


def by_hour(town: City) -> list[int]:
    """What the round of every minute gives back."""
    with town.by() as tx:
        return [one.gives_back for one in orders.returns.return_by_hour(tx)]


def test_what_ends_at_an_hour_goes_back_at_it_and_not_before(town: City, clock) -> None:
    machine, other, day = town.machine(), town.machine(), clock.now.astimezone(ZONE)
    with pytest.raises(Invalid) as refused:
        asked(town, kinds.TEMPORARY, machine, asked={VCPU: 24}, use_until=day.date(),
              fields={"occasion": "抢修", "nature": "emergency", "hour": f"{max(1, day.hour):02d}"})  # fmt: skip
    assert refused.value.code == "temporary.hour"
    request = lent(town, machine, 24, hour="14", nature="emergency")
    lent(town, other, 24)
    with town.book.reading() as tx:
        assert tx.get_one(Request, request).facts["emergency"] is True
    clock.now = clock.now.astimezone(ZONE).replace(day=2, hour=9).astimezone(clock.now.tzinfo)
    town.judge({machine: Verdict.IDLE, other: Verdict.IDLE}, p95=2.0)
    clock.now = clock.now.astimezone(ZONE).replace(day=2, hour=13, minute=59, second=59).astimezone(clock.now.tzinfo)
    assert (by_hour(town), over(town)) == ([], [])
    clock.now += timedelta(seconds=1)
    with town.book.reading() as tx:
        assert orders.returns.ended(tx, tx.get_one(Request, request))
    assert by_hour(town) == [request]
    assert by_hour(town) == []
    clock.now += timedelta(days=1)
    assert len(over(town)) == 1, "the other goes when its day is over"
