"""An order becomes a plan, call by call: led on, turned back, resumed by whoever comes after, held back, shown."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from providers import orders
from providers.adapters.conformance import CloudSuite
from providers.base import BUSY, CallState, Order, Outcome, PlannedCall, ProviderFault, Verb
from providers.hands import IN_FLIGHT, MemoryJournal
from providers.orders import plans
from providers.orders.tables import OrderState, WorkOrder
from quota.actors import steward
from quota.audit import AuditRecord
from quota.directory import Pool, pools
from quota.errors import Invalid, NotAllowed
from quota.ledger.tables import Holder
from quota.units import MEMORY, VCPU
from tests.city import City
from tests.patience import PATIENCE, together, until
from tests.providers.stepping import SteppingCloud

BIG = {VCPU: 8, MEMORY: 16384}


class TestStepping(CloudSuite):
    """A cloud whose orders take several calls keeps what any must."""

    adapter = SteppingCloud
    history = None

    def options(self, folder: Path) -> Mapping[str, Any]:
        return {"file": str(folder / "cloud.json")}


@pytest.fixture
def cloud(works: City, tmp_path: Path) -> SteppingCloud:
    return SteppingCloud(tmp_path / "stepping.json")


def taken(cloud: SteppingCloud) -> list[str]:
    return [one.split()[0] for one in cloud.state["taken"]]


def states(works: City, order: WorkOrder) -> list[list[tuple[str, str]]]:
    with works.book.reading() as tx:
        return [[(one.name, one.state) for one in plan.calls] for plan in plans.of_order(tx, order.id)]


def led(works: City, clock: Any, order: WorkOrder, cloud: SteppingCloud, rounds: int = 12) -> WorkOrder:
    """Carry it until it is delivered or has failed, time passing as its own looks want it."""
    for _round in range(rounds):
        order = orders.carry(works.book, order.id, cloud)
        if order.next_try_at is None:
            break
        clock.advance(seconds=(order.next_try_at - clock.now).total_seconds() + 1)
    return works.now(order)


@pytest.fixture
def machine(works: City, clock: Any, cloud: SteppingCloud) -> WorkOrder:
    """A delivered machine of 4 vCPU and 8 GB."""
    return led(works, clock, works.create(), cloud)


def resize(works: City, machine: WorkOrder, key: str = "bigger", amounts: Any = None) -> WorkOrder:
    return works.place(Verb.RESIZE, key, resource=machine.resource, amounts=amounts or {VCPU: 8})


def test_an_order_is_a_plan_of_calls_and_each_is_led_to_its_end(works, clock, cloud, machine) -> None:
    assert states(works, machine) == [[("create", "done")]]
    order = led(works, clock, resize(works, machine), cloud)
    assert order.state == OrderState.DELIVERED
    assert order.resource.actual() == {VCPU: 8, MEMORY: 8192}
    assert states(works, order) == [[("resize", "done"), ("confirm", "done")]]
    assert taken(cloud) == ["create", "resize", "confirm"]
    with works.book.reading() as tx:
        [plan] = plans.of_order(tx, order.id)
        assert [one.frees for one in plan.calls] == [[], ["memory", "vcpu"]]
        assert all(one.began_at and one.ended_at for one in plan.calls)
        assert Order.from_json(plan.asked).verb is Verb.RESIZE
    works.prove()


@pytest.mark.parametrize("call", ["create", "resize", "confirm"])
@pytest.mark.parametrize("how", ["lost", "deaf"])
def test_an_answer_that_never_came_is_looked_for_in_the_cloud(works, clock, cloud, call, how) -> None:
    cloud.trouble = {call: [how]}
    machine = led(works, clock, works.create(), cloud)
    order = led(works, clock, resize(works, machine), cloud)
    assert order.state == OrderState.DELIVERED
    assert taken(cloud) == ["create", "resize", "confirm"], "each once"
    works.prove()


def test_a_failed_call_takes_back_what_was_done_before_it(works, clock, cloud, machine) -> None:
    cloud.trouble = {"confirm": ["never"]}
    order = led(works, clock, resize(works, machine), cloud)
    assert (order.state, order.fault) == (OrderState.FAILED, "never")
    assert "confirm: never" in order.last_error
    assert states(works, order) == [[("resize", "done"), ("confirm", "failed"), ("revert", "done")]]
    assert cloud.state["machines"]["made-k"]["size"] == {"vcpu": 4, "memory": 8192}
    order = works.do(orders.cancel, order, "checker", "不再需要")
    assert works.balance(Holder.USED) == 4
    works.prove()


def test_what_can_never_succeed_is_not_tried_again(works, clock, cloud, machine) -> None:
    order = led(works, clock, resize(works, machine, amounts={VCPU: 30}), cloud)
    assert order.state == OrderState.DELIVERED
    with works.book.transaction(steward()) as tx:  # granted since
        pools_ = tx.get_one(Pool, works.pool)
        order = orders.place(
            tx, pools_, Verb.RESIZE, key="too much", resource=order.resource, amounts={VCPU: 66}, paid=True
        )
    order = orders.carry(works.book, order.id, cloud)
    assert (order.state, order.attempts, order.fault) == (OrderState.FAILED, 1, "never")
    assert "no flavor" in order.last_error


def test_over_the_clouds_own_quota_waits_for_somebody(works, cloud) -> None:
    cloud.trouble = {"create": ["over_quota"]}
    order = orders.carry(works.book, works.create().id, cloud)
    assert (order.state, order.fault) == (OrderState.FAILED, "over_quota")
    order = works.do(orders.retry, order, "checker")
    assert orders.carry(works.book, order.id, cloud).state == OrderState.DELIVERED
    assert taken(cloud) == ["create"]


@pytest.mark.parametrize("how", ["busy", "rest"])
def test_a_busy_cloud_is_left_alone_as_long_as_it_asks_and_uses_up_no_try(works, clock, cloud, how) -> None:
    cloud.trouble = {"create": [how] * 7}
    order = orders.carry(works.book, works.create().id, cloud)
    assert (order.state, order.fault, order.attempts) == (OrderState.PENDING, how, 0)
    assert order.next_try_at == clock.now + timedelta(seconds=90)
    order = led(works, clock, order, cloud)
    assert (order.state, order.fault, order.attempts) == (OrderState.DELIVERED, "", 0)
    assert taken(cloud) == ["create"]


def test_busy_in_the_middle_goes_on_where_it_was(works, clock, cloud, machine) -> None:
    cloud.trouble = {"confirm": ["busy", "busy"]}
    order = led(works, clock, resize(works, machine), cloud)
    assert order.state == OrderState.DELIVERED
    assert taken(cloud) == ["create", "resize", "confirm"]


def test_what_the_cloud_never_took_is_looked_at_afresh_before_it_is_sent_again(works, clock, cloud) -> None:
    cloud.trouble = {"create": ["deaf"]}
    order = orders.carry(works.book, works.create().id, cloud)
    assert order.told
    clock.advance(minutes=6)
    assert timedelta(minutes=6) > IN_FLIGHT
    for _round in range(2):
        order = orders.carry(works.book, order.id, cloud, lambda _tx, _id: "不可执行")
        clock.advance(minutes=6)
    assert (order.state, order.fault, order.told) == (OrderState.PENDING, "objection", False)
    assert taken(cloud) == []


def test_looks_come_at_the_pace_of_the_work(works, clock) -> None:
    order = works.create()
    cloud = works.cloud(pending_minutes=600)
    order = works.carry(order, cloud)
    pauses = []
    for _look in range(20):
        pauses.append((order.next_try_at - clock.now).total_seconds())
        clock.advance(seconds=pauses[-1])
        order = works.carry(order, cloud)
    assert pauses[0] == orders.SOONEST.total_seconds()
    assert pauses == sorted(pauses)
    assert pauses[-1] <= orders.POLL.total_seconds()
    assert pauses[-1] > 60


def test_at_most_so_many_are_stopped_within_an_hour(works, clock) -> None:
    made = [works.now(works.carry(works.create(str(n), amounts={VCPU: 2, MEMORY: 4096}))) for n in range(4)]
    stops = [works.place(Verb.STOP, f"stop {n}", resource=one.resource) for n, one in enumerate(made)]
    done = orders.carry_all(works.book, works.pool, works.cloud(), ceiling=2)
    assert (len(done.delivered), done.held) == (2, [one.id for one in stops[2:]])
    held = works.now(stops[2])
    assert (held.state, held.fault, held.last_error) == (OrderState.PENDING, "ceiling", orders.HELD["ceiling"])
    [[call]] = states(works, held)
    assert call == ("deliver", "waiting"), "what would be called can be seen meanwhile"
    clock.advance(minutes=30)
    assert orders.carry_all(works.book, works.pool, works.cloud(), ceiling=2).delivered == []
    clock.advance(minutes=31)
    assert len(orders.carry_all(works.book, works.pool, works.cloud(), ceiling=2).delivered) == 2


def test_what_is_told_again_is_counted_again(works, clock, monkeypatch) -> None:
    """A cloud that took nothing is told again an hour later: that stops machines then, not when it was told first."""
    made = [works.now(works.carry(works.create(str(n), amounts={VCPU: 2, MEMORY: 4096}))) for n in range(4)]
    stops = [works.place(Verb.STOP, f"stop {n}", resource=one.resource) for n, one in enumerate(made)]
    cloud = works.cloud()

    def deaf(*_order: Any) -> Outcome:
        raise ProviderFault("no answer", transient=True)

    with monkeypatch.context() as patched:
        patched.setattr(cloud, "deliver", deaf)
        patched.setattr(cloud, "inquire", lambda *_key: None)
        assert orders.carry_all(works.book, works.pool, cloud, ceiling=2).held == [one.id for one in stops[2:]]
        clock.advance(minutes=61)
        done = orders.carry_all(works.book, works.pool, cloud, ceiling=2)
        assert done.held == [one.id for one in stops[2:]], "the first two go on, and are as many as may"
        first = works.now(stops[0])
        assert (first.told_at, first.sent_at) == (clock.now, clock.now - timedelta(minutes=61))
        clock.advance(minutes=30)
        assert orders.carry_all(works.book, works.pool, cloud, ceiling=2).held == [one.id for one in stops[2:]]
    clock.advance(minutes=30)
    assert orders.carry_all(works.book, works.pool, cloud, ceiling=2).delivered == [one.id for one in stops[:2]]
    clock.advance(minutes=61)
    assert orders.carry_all(works.book, works.pool, cloud, ceiling=2).delivered == [one.id for one in stops[2:]]


def test_what_stops_a_machine_on_the_way_is_counted_with_what_stops_it(works, clock, cloud, monkeypatch) -> None:
    plan = SteppingCloud.plan

    def stopping(self: SteppingCloud, order: Order, now: datetime) -> tuple[PlannedCall, ...]:
        return tuple(replace(one, stops=one.name == "resize") for one in plan(self, order, now))

    monkeypatch.setattr(SteppingCloud, "plan", stopping)
    made = [led(works, clock, works.create(str(n), amounts={VCPU: 2, MEMORY: 4096}), cloud) for n in range(3)]
    first, second, third = (
        works.place(Verb.RESIZE, f"bigger {n}", resource=one.resource, amounts={VCPU: 3}) for n, one in enumerate(made)
    )
    assert orders.carry_all(works.book, works.pool, cloud, ceiling=2).held == [third.id]
    assert orders.carry_all(works.book, works.pool, cloud, ceiling=2).held == []
    held = works.now(third)
    assert (held.fault, held.told) == ("ceiling", False)
    assert [works.now(one).told for one in (first, second)] == [True, True]
    clock.advance(minutes=61)
    orders.carry_all(works.book, works.pool, cloud, ceiling=2)
    assert works.now(third).told


def test_a_pool_that_is_only_tried_out_shows_what_it_would_call_and_calls_nothing(works, clock, cloud) -> None:
    with works.book.transaction(works.people["chief"]) as tx:
        pools.try_out(tx, tx.get_one(Pool, works.pool), dry_run=True, reason="先看一周")
    order = works.create()
    done = orders.carry_all(works.book, works.pool, cloud)
    assert done.held == [order.id]
    assert states(works, order) == [[("create", "waiting")]]
    assert (taken(cloud), works.now(order).told) == ([], False)
    with works.book.transaction(works.people["chief"]) as tx:
        pools.try_out(tx, tx.get_one(Pool, works.pool), dry_run=False, reason="看过了")
    clock.advance(minutes=6)
    assert orders.carry_all(works.book, works.pool, cloud).delivered == [order.id]
    with works.book.reading() as tx:
        trail = tx.scalars(select(AuditRecord).where(AuditRecord.action == "pool.dry_run")).all()
    assert [one.after["dry_run"] for one in trail] == [True, False]


def test_who_may_not_and_why_is_said(works) -> None:
    with pytest.raises(NotAllowed), works.book.transaction(works.people["clerk"]) as tx:
        pools.try_out(tx, tx.get_one(Pool, works.pool), dry_run=True, reason="x")
    with pytest.raises(Invalid), works.book.transaction(works.people["chief"]) as tx:
        pools.try_out(tx, tx.get_one(Pool, works.pool), dry_run=True, reason=" ")


def test_a_dry_run_keeps_nothing(works, cloud) -> None:
    order = works.create()
    [call] = orders.rehearse(works.book, order.id, cloud)
    assert (call.name, call.text) == ("create", "POST /db-01/create")
    assert states(works, order) == []
    assert taken(cloud) == []


def test_people_are_the_hands_of_the_same_plan(works, cloud, machine) -> None:
    cloud.capabilities = frozenset()
    order = orders.carry(works.book, resize(works, machine).id, cloud)
    assert (order.by_hand, states(works, order)) == (True, [[("by_hand", "waiting")]])
    order = works.do(orders.start, order, "operator")
    assert states(works, order) == [[("by_hand", "sent")]]
    order = works.do(orders.report_failed, order, "operator", "宿主机没有内存")
    assert states(works, order) == [[("by_hand", "failed")]]
    order = works.do(orders.retry, order, "checker")
    order = works.do(orders.start, order, "operator")
    assert (order.fault, order.last_error) == ("", "")
    order = works.do(orders.mark_delivered, order, "operator")
    assert states(works, order) == [[("by_hand", "done")], [("by_hand", "failed")]]
    assert works.now(order).state == OrderState.DELIVERED
    works.prove()


@pytest.mark.parametrize(("trouble", "fault"), [("deaf", "unreachable"), ("over_quota", "over_quota")])
def test_what_an_interface_said_is_over_once_people_have_it(works, cloud, trouble, fault) -> None:
    cloud.trouble = {"create": [trouble]}
    order = orders.carry(works.book, works.create().id, cloud)
    assert (order.fault, bool(order.last_error)) == (fault, True)
    if trouble == "deaf":
        order = works.do(orders.take_over, order, "operator", "接口不通")
    else:
        order = works.do(orders.start, order, "operator")
    assert (order.state, order.fault, order.last_error) == (OrderState.DELIVERING, "", "")


def test_what_people_take_over_is_not_sent_any_more(works, clock, cloud, machine) -> None:
    cloud.trouble = {"confirm": ["busy"] * 9}
    order = orders.carry(works.book, resize(works, machine).id, cloud)
    assert order.state == OrderState.DELIVERING
    order = works.do(orders.take_over, order, "operator", "接口卡住")
    assert states(works, order) == [[("by_hand", "sent")], [("resize", "done"), ("confirm", "dropped")]]
    clock.advance(hours=1)
    assert orders.carry_all(works.book, works.pool, cloud).pending == []
    assert taken(cloud) == ["create", "resize"]


def test_a_cloud_that_takes_orders_whole_has_a_plan_of_one_call(works, clock) -> None:
    cloud = works.cloud(pending_minutes=60)
    order = works.carry(works.create(), cloud)
    assert states(works, order) == [[("deliver", "sent")]]
    clock.advance(hours=3)
    assert states(works, works.carry(order, cloud)) == [[("deliver", "done")]]


def test_what_a_cloud_refused_stays_beside_the_next_plan(works, clock) -> None:
    refuse = {"what": "refuse", "since": "2026-06-01T00:00:00+00:00", "until": "2026-06-01T02:03:00+00:00"}
    cloud = works.cloud(faults=[refuse])
    order = works.carry(works.create(), cloud)
    assert states(works, order) == [[("deliver", "failed")]]
    clock.advance(minutes=6)
    order = works.carry(order, cloud)
    assert states(works, order) == [[("deliver", "done")], [("deliver", "failed")]]


@pytest.fixture(params=["book", "memory"])
def journal(request: pytest.FixtureRequest, works: City) -> Any:
    """The house's journal and the one for trying out must not differ."""
    works.create("k1")
    return plans.BookJournal(works.book) if request.param == "book" else MemoryJournal()


def test_a_journal_notes_each_call_once(journal, works, clock, cloud) -> None:
    order = Order.from_json({
        "key": "k1", "verb": "resize", "kind": "vm", "arch": "aarch64", "external_id": "m-1",
        "amounts": {"vcpu": 8}, "name": None, "department_code": None, "system_code": None,
    })  # fmt: skip
    calls = cloud.plan(order, clock.now)
    assert journal.order("k1") is None
    assert journal.calls("k1") == []
    assert [one.call for one in journal.open(order, calls)] == list(calls)
    assert [one.call for one in journal.open(order, ())] == list(calls), "once"
    assert journal.order("k1") == order
    assert journal.begin("k1", 0, clock.now, {"former": "m4"})
    assert not journal.begin("k1", 0, clock.now), "somebody else has it"
    journal.note("k1", 0, CallState.WAITING, clock.now, said="503")
    assert journal.begin("k1", 0, clock.now)
    journal.note("k1", 0, CallState.DONE, clock.now, facts={"action": "req-1"})
    assert journal.begin("k1", 1, clock.now)
    journal.note("k1", 1, CallState.FAILED, clock.now, said="409", facts={"code": BUSY})
    back = cloud.back(order, journal.calls("k1"))
    assert journal.turn("k1", back) == 2
    assert journal.turn("k1", back) == 2
    found = journal.calls("k1")
    assert [(one.call.name, one.state) for one in found] == [
        ("resize", CallState.DONE), ("confirm", CallState.FAILED), ("revert", CallState.WAITING),
    ]  # fmt: skip
    assert dict(found[0].facts) == {"former": "m4", "action": "req-1"}
    assert (found[0].began_at, found[0].ended_at, found[1].said) == (clock.now, clock.now, "409")


def test_what_waits_behind_a_failed_call_is_dropped(journal, works, clock, cloud) -> None:
    order = Order.from_json({**json.loads(json.dumps(_RESIZE)), "key": "k1"})
    journal.open(order, cloud.plan(order, clock.now))
    journal.begin("k1", 0, clock.now)
    journal.note("k1", 0, CallState.FAILED, clock.now, said="400")
    assert [one.state for one in journal.calls("k1")] == [CallState.FAILED, CallState.DROPPED]


_RESIZE = {
    "key": "", "verb": "resize", "kind": "vm", "arch": "aarch64", "external_id": "m-1", "amounts": {"vcpu": 8},
    "name": None, "department_code": None, "system_code": None,
}  # fmt: skip


def test_the_house_journals_nothing_that_it_did_not_order(works, clock, cloud) -> None:
    order = Order.from_json({**_RESIZE, "key": "somebody's"})
    with pytest.raises(KeyError):
        plans.BookJournal(works.book).open(order, cloud.plan(order, clock.now))


def test_a_key_that_was_used_for_another_order_is_refused(clock, cloud) -> None:
    cloud.keep_journal(MemoryJournal())
    first = Order.from_json({**_RESIZE, "key": "k1"})
    cloud.deliver(first, clock.now)
    with pytest.raises(ProviderFault) as fault:
        cloud.deliver(Order.from_json({**_RESIZE, "key": "k1", "amounts": {"vcpu": 2}}), clock.now)
    assert (fault.value.transient, fault.value.code) == (False, "never")


def test_what_one_order_waits_for_holds_no_other(works, tmp_path) -> None:
    opened = threading.Event()

    class Gate(SteppingCloud):
        """Several at a time: what is made as "slow" takes until somebody opens the gate."""

        at_once = 3

        def deliver(self, order: Order, now: datetime) -> Outcome:
            if order.name == "slow":
                assert opened.wait(PATIENCE)
            return super().deliver(order, now)

    cloud = Gate(tmp_path / "gate.json")
    slow, quick = works.create("slow", name="slow"), works.create("quick", name="quick")
    rounds: list[orders.Carried] = []

    def carry() -> None:
        rounds.append(orders.carry_all(works.book, works.pool, cloud, another=lambda: Gate(cloud.file)))

    def watch() -> None:
        try:
            until(lambda: works.now(quick).state == OrderState.DELIVERED, "the quick one, beside the slow one")
            assert works.now(slow).state == OrderState.SENT
        finally:
            opened.set()

    together(carry, watch)
    assert rounds[0].delivered == [slow.id, quick.id], "told in the order in which they were placed"
    assert taken(cloud) == ["create", "create"]
    works.prove()


def test_a_cloud_that_does_not_say_so_is_told_one_order_after_the_other(works, cloud) -> None:
    made = [works.create("a", name="a"), works.create("b", name="b")]

    def another() -> SteppingCloud:
        raise AssertionError("opened twice")

    assert orders.carry_all(works.book, works.pool, cloud, another=another).delivered == [one.id for one in made]
