"""Orders of a pool whose agent was silent: what was decided before is looked at again before the agent gets it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from providers import observation, orders
from providers.adapters.agent import AgentCloud
from providers.base import Inventory, Order, Outcome, OutcomeState, ResourceFact, ResourceState, ServiceKind, Verb
from providers.mailbox import GOOD, AgentReport, Mailbox
from providers.mailbox.mailbox import ANSWERING
from providers.orders import OrderState, WorkOrder
from quota.actors import steward
from quota.directory import Pool
from quota.inventory import Resource
from quota.units import VCPU, Amount, Arch
from tests.city import SMALL

VERBS = frozenset({Verb.STOP, Verb.CREATE, Verb.RESIZE})


class Beside:
    """An agent, played: it calls when it is told to."""

    def __init__(self, works, clock, folder: Path) -> None:
        self.works, self.clock = works, clock
        self.box, self.cloud = Mailbox(folder), AgentCloud(folder)

    def hello(self) -> tuple[list[str], list[str]]:
        """Keys of what it may begin, and of what it may only go on with."""
        self.box.report(AgentReport("i", "1", "other", self.clock(), VERBS, every_s=60), self.clock())
        with self.works.book.reading() as tx:
            wanted = orders.awaited(tx, [lies.order.key for lies in self.box.waiting()])
        fresh, late = self.box.fetch(self.clock(), wanted)
        return [order.key for order in fresh], [order.key for order in late]

    def list(self, as_of: datetime | None = None) -> None:
        """Its cloud is listed, and the listing entered."""
        with self.works.book.transaction(steward()) as tx:
            pool = tx.get_one(Pool, self.works.pool)
            facts = [fact(f"m-{n}", Arch(pool.arch)) for n in range(4)]
            self.box.keep_listing(Inventory(as_of or self.clock(), facts, False), self.clock())
            observation.observe(tx, pool, self.cloud.inventory(self.clock()))

    def back(self) -> tuple[list[str], list[str]]:
        self.hello()
        self.list()
        return self.hello()

    def calls_for(self, minutes: int) -> None:
        for _minute in range(minutes):
            self.clock.advance(minutes=1)
            self.hello()

    def carry(self, look=None, ceiling=None) -> orders.Carried:
        return orders.carry_all(self.works.book, self.works.pool, self.cloud, look, ceiling=ceiling)

    def ends(self, key: str) -> None:
        assert self.box.settle(Outcome(key, OutcomeState.DONE, self.clock()))


def fact(name: str, arch: Arch) -> ResourceFact:
    return ResourceFact(name, name, ServiceKind.VM, arch, Amount(SMALL), ResourceState.RUNNING)


@pytest.fixture
def beside(works, clock, tmp_path) -> Beside:
    found = Beside(works, clock, tmp_path / "box")
    found.back()
    return found


@pytest.fixture
def stops(works, beside) -> list[WorkOrder]:
    """An order to stop each of four machines, placed and not carried."""
    with works.book.reading() as tx:
        found = {one.external_id: one for one in tx.scalars(select(Resource))}
        tx.expunge_all()
    return [works.place(Verb.STOP, f"stop {n}", resource=found[f"m-{n}"]) for n in range(4)]


def test_nothing_is_ordered_of_a_silent_agent(works, clock, beside, stops) -> None:
    """Its orders wait in the house, take no place under the ceiling, use up no try, and can be called back."""
    clock.advance(minutes=GOOD.seconds // 60 + 1)
    assert beside.carry(ceiling=2).held == [one.id for one in stops]
    held = works.now(stops[0])
    assert (held.fault, held.last_error) == ("away", orders.HELD["away"])
    assert (held.state, held.attempts, held.told, held.told_at) == (OrderState.PENDING, 0, False, None)
    assert beside.box.waiting() == []
    works.do(orders.cancel, stops[0], "reviewer", "不再需要")
    for _hour in range(5):
        clock.advance(hours=1)
        beside.carry(ceiling=2)
    assert works.now(stops[1]).attempts == 0
    assert beside.back() == ([], [])
    clock.advance(minutes=6)
    beside.hello()
    assert beside.carry(ceiling=2).pending == [stops[1].id, stops[2].id]
    assert beside.hello()[0] == ["stop 1", "stop 2"]


def test_after_a_silence_the_cloud_is_listed_before_anything_is_ordered(works, clock, beside, stops) -> None:
    clock.advance(hours=3)
    beside.hello()
    assert beside.carry().held == [one.id for one in stops], "what the machines are now nobody knows yet"
    clock.advance(minutes=6)
    beside.hello()
    assert len(beside.carry().held) == 4
    beside.list()
    clock.advance(minutes=6)
    beside.hello()
    assert len(beside.carry().pending) == 4
    assert len(beside.hello()[0]) == 4


def test_what_was_not_fetched_in_time_is_looked_at_again(works, clock, beside, stops) -> None:
    """The decision is withdrawn while the agent is silent: on its return the machine is left alone."""
    beside.carry(ceiling=2)
    assert [works.now(one).told for one in stops] == [True, True, False, False]
    clock.advance(hours=4)
    withdrawn = {stops[0].id: "案件已不再等待这张工单"}
    done = beside.carry(lambda _tx, order_id: withdrawn.get(order_id), ceiling=2)
    assert done.held == [one.id for one in stops[1:]]
    first = works.now(stops[0])
    assert (first.fault, first.told, first.state) == ("objection", False, OrderState.PENDING)
    assert beside.hello() == ([], []), "what still lies in the mailbox is of before"
    beside.list()
    clock.advance(minutes=6)
    beside.hello()
    beside.carry(lambda _tx, order_id: withdrawn.get(order_id), ceiling=2)
    assert beside.hello() == (["stop 1", "stop 2"], [])
    works.do(orders.cancel, stops[0], "reviewer", "已撤回")
    clock.advance(minutes=30)
    assert "stop 0" not in beside.hello()[0]


def test_on_return_no_more_are_stopped_than_may_be_within_an_hour(works, clock, beside, stops) -> None:
    """Two lie in the mailbox of an agent that is silent for hours, two wait: of the four two go at once, two an hour later."""
    assert len(beside.carry(ceiling=2).pending) == 2
    begun: dict[str, datetime] = {}

    def calls() -> None:
        for key in beside.hello()[0]:
            if key not in begun:
                begun[key] = clock()
                beside.ends(key)

    clock.advance(hours=5)
    calls()
    assert begun == {}
    beside.list()
    for _minute in range(140):
        clock.advance(minutes=1)
        beside.carry(ceiling=2)
        calls()
    assert len(begun) == 4
    moments = sorted(begun.values())
    assert moments[1] - moments[0] < timedelta(minutes=10)
    assert moments[2] - moments[1] >= timedelta(hours=1)
    assert [works.now(one).state for one in stops] == [OrderState.DELIVERED] * 4


def test_what_was_stopped_late_counts_from_then(works, clock, beside, stops) -> None:
    """Fetched a quarter of an hour after it was sent, it was stopped then: the hour runs from there."""
    beside.carry(ceiling=2)
    clock.advance(minutes=14)
    for key in beside.hello()[0]:
        beside.ends(key)
    beside.calls_for(6)
    assert len(beside.carry(ceiling=2).delivered) == 2
    beside.calls_for(41)  # an hour and a minute after they were sent
    assert beside.carry(ceiling=2).held == [one.id for one in stops[2:]]
    assert works.now(stops[2]).fault == "ceiling"
    beside.calls_for(14)
    assert len(beside.carry(ceiling=2).pending) == 2


def test_what_was_fetched_and_not_begun_is_declined_and_looked_at_again(works, clock, beside, stops) -> None:
    beside.carry()
    assert len(beside.hello()[0]) == 4
    assert beside.box.decline("stop 0", clock()) is False, "it may still begin it"
    clock.advance(hours=2)
    fresh, late = beside.hello()
    assert (fresh, late) == ([], [f"stop {n}" for n in range(4)])
    beside.carry()
    assert works.now(stops[0]).state == OrderState.DELIVERING, "nobody knows yet whether it began it"
    assert beside.box.decline("stop 0", clock()) is True
    assert beside.box.decline("stop 0", clock()) is False
    assert beside.box.decline("never", clock()) is False
    beside.ends("stop 1")  # this one it had begun
    beside.list()
    clock.advance(minutes=6)
    beside.hello()
    done = beside.carry(lambda _tx, order_id: "受保护" if order_id == stops[0].id else None)
    assert done.delivered == [stops[1].id]
    first = works.now(stops[0])
    assert (first.fault, first.told) == ("objection", False)
    assert "stop 0" not in [*beside.hello()[0], *beside.hello()[1]]


def test_what_people_took_over_is_not_handed_out(works, clock, beside, stops) -> None:
    beside.carry()
    works.do(orders.take_over, stops[0], "operator", "接口没有反应，人工处理")
    assert beside.hello()[0] == ["stop 1", "stop 2", "stop 3"]
    works.do(orders.take_over, stops[1], "operator", "接口没有反应，人工处理")
    assert beside.hello() == (["stop 2", "stop 3"], ["stop 1"]), "it may have begun it just now"


def test_an_order_under_a_new_key_is_awaited_by_that(works, clock, beside, stops) -> None:
    beside.carry()
    beside.hello()
    beside.box.settle(Outcome("stop 0", OutcomeState.FAILED, clock(), message="busy"))
    clock.advance(minutes=6)
    beside.hello()
    beside.carry()
    clock.advance(minutes=6)
    beside.hello()
    beside.carry()
    with works.book.reading() as tx:
        assert orders.awaited(tx, ["stop 0", "stop 0#2", "stop 1", "stop 9", "#", ""]) == {"stop 0#2", "stop 1"}
    assert "stop 0#2" in beside.hello()[0]


def test_a_call_that_comes_just_in_time_has_its_answer(tmp_path, clock) -> None:
    """Between the last moment at which it is handed out and the first at which it counts as missed lies what an answer takes."""
    box = Mailbox(tmp_path / "box")
    order = Order("o", Verb.STOP, ServiceKind.VM, Arch.X86_64, "m")
    box.order(order, clock())
    until = clock() + GOOD
    assert box.fetch(until, ["o"]) == ([], [])
    assert box.knows("o", until)
    assert not box.knows("o", until + ANSWERING)
    box.order(order, until)
    assert [lies.until for lies in box.waiting()] == [until], "put there once"
    box.order(order, until + ANSWERING)
    assert [lies.until for lies in box.waiting()] == [until + ANSWERING + GOOD], "and anew where it was missed"
    assert box.fetch(until + ANSWERING, []) == ([], []), "nobody wants it any more"
    assert box.fetch(until + ANSWERING, ["o"]) == ([order], [])
    assert box.fetch(until + timedelta(days=1), []) == ([], [order])
    assert box.knows("o", until + timedelta(days=1))


def test_how_long_an_order_lies_follows_how_often_the_agent_calls() -> None:
    def good(every_s: int | None) -> timedelta:
        return AgentReport("i", "1", "other", datetime(2026, 6, 1, tzinfo=UTC), every_s=every_s).good_for

    assert [good(None), good(60), good(-5)] == [GOOD, GOOD, GOOD]
    assert good(900) == timedelta(minutes=31)
    assert good(3600) == good(10**12) == timedelta(hours=2)


def test_orders_of_before_are_taken_for_fetched(tmp_path, clock) -> None:
    box = Mailbox(tmp_path / "box")
    order = Order("o", Verb.STOP, ServiceKind.VM, Arch.X86_64, "m")
    box.order(order, clock())
    [path] = (tmp_path / "box" / "orders").glob("*.json")
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({"order": raw["order"], "at": raw["at"]}))
    assert box.knows("o", clock() + timedelta(days=9))
    assert box.fetch(clock(), ["o"]) == ([], [order])


def test_a_resize_that_shuts_a_machine_down_is_counted_whoever_carries_it_out(works, beside, clock) -> None:
    with works.book.reading() as tx:
        machines = list(tx.scalars(select(Resource).order_by(Resource.id)))
        tx.expunge_all()
    smaller = [
        works.place(Verb.RESIZE, f"smaller {n}", resource=one, amounts={VCPU: 2}) for n, one in enumerate(machines)
    ]
    assert beside.carry(ceiling=3).held == [smaller[3].id]
    assert works.now(smaller[3]).fault == "ceiling"


def test_what_is_listed_again_and_not_entered_yet_holds_nothing_back(works, clock, beside, stops) -> None:
    """An agent lists its cloud after each order, which the house enters by its own schedule."""
    beside.calls_for(20)
    beside.box.keep_listing(Inventory(clock(), [], False), clock())
    assert len(beside.carry().pending) == 4
    clock.advance(hours=3)
    beside.hello()
    beside.box.keep_listing(Inventory(clock(), [], False), clock())
    assert beside.cloud.listed(clock()) == clock(), "after a silence it is waited for anew"


def test_a_listing_that_is_not_of_today_is_a_listing_where_the_agent_brought_it_since(
    works, clock, beside, stops
) -> None:
    """A cloud of sheets tells by the sheet of last week, and nothing newer."""
    week = clock() - timedelta(days=7)
    clock.advance(hours=3)
    beside.hello()
    beside.box.keep_listing(Inventory(week, [], False), clock())
    assert len(beside.carry().held) == 4, "what is here is newer, and of before"


def test_a_cloud_of_sheets_is_ordered_of_by_its_last_sheet(works, clock, tmp_path) -> None:
    sheet = clock() - timedelta(days=7)
    beside = Beside(works, clock, tmp_path / "sheets")
    beside.hello()
    beside.list(sheet)
    with works.book.reading() as tx:
        machine = tx.scalars(select(Resource)).first()
        tx.expunge_all()
    order = works.place(Verb.STOP, "stop", resource=machine)
    clock.advance(hours=3)
    beside.hello()
    assert beside.carry().held == [order.id]
    beside.list(sheet)  # read anew, and the same
    clock.advance(minutes=6)
    beside.hello()
    assert beside.carry().pending == [order.id]
