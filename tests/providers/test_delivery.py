"""From an approved order to an accepted resource: each once, whatever dies in between, and the ledger in step."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy import select

from providers import observation, orders
from providers.adapters.simulated.cloud import SimulatedCloud
from providers.base import Inventory, ProviderFault, ResourceState, Verb
from providers.orders import carriage, tables
from providers.orders.tables import OrderState, WorkOrder
from quota import calendar, inventory
from quota.actors import Actor, Role, steward
from quota.audit import AuditRecord
from quota.directory import pools
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, OverCapacity, WrongState
from quota.inventory import Resource
from quota.ledger import entries, lending
from quota.ledger.tables import Holder
from quota.requests import kinds, submission, targets
from quota.requests.asks import Ask, Line
from quota.units import MEMORY, VCPU, Arch, Commodity
from tests.providers.conftest import CPU

GB = 1024
ROOT = Path(__file__).resolve().parents[2]


def made(works, key: str = "k") -> Resource:
    """A machine of 4 vCPU and 8 GB, ordered and delivered."""
    return works.now(works.carry(works.create(key))).resource


def test_an_order_becomes_a_resource(works) -> None:
    order = works.create()
    assert order.number == "GD-2026-000001"
    assert order.state == OrderState.PENDING
    assert works.balance(Holder.USED) == 4  # raised early
    order = works.now(works.carry(order))
    one = order.resource
    assert order.state == OrderState.DELIVERED
    assert (one.basis, one.booked, one.amounts) == ("order:1", {"vcpu": 4, "memory": 8192}, {"vcpu": 4, "memory": 8192})
    assert (one.department_id, one.system_id, one.name) == (works.bureau, works.system, "db-01")
    with works.book.transaction(steward()) as tx:
        pool = tx.get_one(pools.Pool, works.pool)
        drift = observation.observe(tx, pool, works.cloud().inventory(tx.now))
    assert one.id not in drift.new
    assert one.id not in drift.unapproved
    order = works.do(orders.accept, order, "clerk")
    assert (order.state, order.discrepancy, order.accepted_by) == (OrderState.ACCEPTED, {}, "clerk")
    works.prove()


def test_a_key_is_one_order(works) -> None:
    first = works.create("same")
    assert works.create("same").id == first.id
    assert works.balance(Holder.USED) == 4
    one = made(works, "other")
    with pytest.raises(Conflict, match=r"key\.reused"):
        works.place(Verb.STOP, "same", resource=one)


def test_what_is_not_granted_cannot_be_ordered(works) -> None:
    with pytest.raises(OverCapacity):
        works.create(amounts={VCPU: 33, MEMORY: GB})
    with works.book.reading() as tx:
        assert tx.scalars(select(WorkOrder)).all() == []


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from console.schema import models
from providers.orders import carry
from providers.adapters.simulated import SimulatedCloud
from quota.db import Book

class Dying(SimulatedCloud):
    def deliver(self, order, now):
        super().deliver(order, now)
        os.kill(os.getpid(), signal.SIGKILL)

book = Book(sys.argv[1], clock=lambda: datetime(2026, 6, 1, 2, tzinfo=UTC))
carry(book, int(sys.argv[3]), Dying(pool="gov-arm", epoch="2026-05-25", state_file=sys.argv[2]))
"""


def test_killed_between_the_call_and_the_record_acts_once(works) -> None:
    order = works.create()
    before = {fact.external_id for fact in works.cloud().inventory(works.book.clock()).facts}
    url = works.book.url.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, url, str(works.home / "cloud.jsonl"), str(order.id)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    assert works.now(order).state == OrderState.SENT  # the intent was kept
    after = {fact.external_id for fact in works.cloud().inventory(works.book.clock()).facts}
    assert len(after - before) == 1  # the cloud had done it
    order = works.now(works.carry(order))
    assert order.state == OrderState.DELIVERED
    assert {order.resource.external_id} == after - before
    assert {fact.external_id for fact in works.cloud().inventory(works.book.clock()).facts} == after


def test_an_order_that_takes_time_is_asked_for_again(works, clock) -> None:
    order = works.create()
    cloud = works.cloud(pending_minutes=60)
    order = works.carry(order, cloud)
    assert order.state == OrderState.DELIVERING
    with works.book.reading() as tx:
        assert orders.waiting(tx, works.pool) == []
    clock.advance(minutes=6)
    done = orders.carry_all(works.book, works.pool, cloud)
    assert done.pending == [order.id]
    clock.advance(hours=2)
    done = orders.carry_all(works.book, works.pool, cloud)
    assert done.delivered == [order.id]
    assert works.now(order).delivered_at <= clock.now


def test_an_order_that_nobody_can_deal_with_keeps_no_younger_one_waiting(works) -> None:
    first, second = works.create("first"), works.create("second")
    cloud = works.cloud()
    deliver = cloud.deliver
    cloud.deliver = lambda order, now: {}["a fault of ours"] if order.key == first.cloud_key else deliver(order, now)
    with pytest.raises(KeyError, match="a fault of ours"):
        orders.carry_all(works.book, works.pool, cloud)
    assert works.now(second).state == OrderState.DELIVERED
    assert works.now(first).state == OrderState.SENT


def test_a_cloud_out_of_reach_is_tried_again_with_the_same_key(works, clock) -> None:
    order = works.create()
    down = {"what": "unreachable", "since": "2026-06-01T00:00:00+00:00", "until": "2026-06-01T02:30:00+00:00"}
    cloud = works.cloud(faults=[down])
    order = works.carry(order, cloud)
    assert (order.state, order.attempts, order.cloud_key) == (OrderState.PENDING, 1, order.key)
    assert order.next_try_at == clock.now + orders.BACK_OFF
    clock.advance(minutes=6)
    order = works.carry(order, cloud)
    assert order.next_try_at == clock.now + 2 * orders.BACK_OFF
    clock.advance(minutes=30)
    assert works.carry(order, cloud).state == OrderState.DELIVERED


def test_a_lost_reply_is_not_a_second_machine(works, clock) -> None:
    order = works.create()
    lost = {"what": "lost_reply", "since": "2026-06-01T00:00:00+00:00", "until": "2026-06-01T02:01:00+00:00"}
    cloud = works.cloud(faults=[lost])
    before = len(cloud.inventory(clock.now).facts)
    assert works.carry(order, cloud).state == OrderState.PENDING
    clock.advance(minutes=5)
    assert works.carry(order, cloud).state == OrderState.DELIVERED
    assert len(cloud.inventory(clock.now).facts) == before + 1


class Forgets(SimulatedCloud):
    """Its answers are lost on the way, so nobody knows what it did; ``deaf``: nor did it hear."""

    deaf = False

    def deliver(self, order, now):
        if not self.deaf:
            super().deliver(order, now)
        raise ProviderFault("connection reset", transient=True)


class Deaf(Forgets):
    deaf = True


def test_what_the_cloud_may_have_taken_is_not_taken_back_before_it_was_asked(works, clock) -> None:
    order = works.now(works.carry(works.create(), works.cloud(Forgets)))
    assert (order.state, order.told, order.may_be_called_back()) == (OrderState.PENDING, True, False)
    with pytest.raises(WrongState, match=r"order\.told"):
        works.do(orders.cancel, order, "checker", "不再需要")
    with pytest.raises(WrongState, match=r"order\.at_cloud"):
        works.do(orders.start, order, "operator")
    clock.advance(minutes=5)
    assert works.carry(order).state == OrderState.DELIVERED, "it had done it"
    works.prove()


def test_what_the_cloud_never_took_is_looked_at_before_it_is_told_again(works, clock) -> None:
    order = works.carry(works.create(), works.cloud(Deaf))
    against = orders.carry(works.book, order.id, works.cloud(), lambda _tx, _id: "不可执行")
    assert against.told, "its last try is too near: who tells it may be telling it still"
    clock.advance(minutes=5)
    against = orders.carry(works.book, order.id, works.cloud(), lambda _tx, _id: "不可执行")
    assert (against.state, against.told, against.last_error) == (OrderState.PENDING, False, "不可执行")
    with works.book.reading() as tx:
        told = tx.scalars(select(AuditRecord.action).where(AuditRecord.subject == "order:1")).all()
    assert told == ["order.place", "order.send", "order.retry"]
    order = works.do(orders.cancel, against, "checker", "不再需要")
    assert order.state == OrderState.CANCELLED
    assert works.balance(Holder.USED) == 0
    works.prove()


def test_an_answer_that_comes_after_the_order_was_taken_back_is_on_record(works, clock) -> None:
    class Slow(SimulatedCloud):
        """Somebody asks, hears that it knows nothing, and takes the order back, while it is being told."""

        def deliver(self, order, now):
            clock.advance(minutes=16)
            orders.carry(works.book, 1, works.cloud(), lambda _tx, _id: "不可执行")
            works.do(orders.cancel, works.now(placed), "checker", "不再需要")
            return super().deliver(order, now)

    placed = works.create()
    assert works.carry(placed, works.cloud(Slow)).state == OrderState.CANCELLED
    with works.book.reading() as tx:
        late = tx.scalars(select(AuditRecord).where(AuditRecord.action == "order.answer_late")).one()
    assert (late.subject, late.after["answer"]) == ("order:1", "done")


def test_who_slept_between_the_record_and_the_call_does_not_tell_the_cloud(works, clock, monkeypatch) -> None:
    order, cloud, record = works.create(), works.cloud(), carriage._send
    recorded = []

    def recording(tx, one, provider):
        recorded.append(record(tx, one, provider))
        return recorded[-1]

    monkeypatch.setattr(carriage, "_send", recording)
    works.book.clock = lambda: clock.now + orders.LEASE if recorded else clock.now
    try:
        assert orders.carry(works.book, order.id, cloud).state == OrderState.SENT
    finally:
        works.book.clock = clock
    assert recorded
    assert cloud.inquire(order.key, clock.now) is None


def test_what_a_cloud_keeps_refusing_is_reported_and_may_be_cancelled(works, clock) -> None:
    order = works.create()
    refuse = {"what": "refuse", "since": "2026-06-01T00:00:00+00:00", "until": "2026-06-09T00:00:00+00:00"}
    cloud = works.cloud(faults=[refuse])
    for _ in range(orders.ATTEMPTS):
        order = works.carry(order, cloud)
        clock.advance(hours=4)
    assert (order.state, order.attempts) == (OrderState.FAILED, orders.ATTEMPTS)
    assert order.last_error == "云平台拒绝执行"
    with works.book.reading() as tx:
        assert orders.waiting(tx, works.pool) == []
        assert tx.scalars(select(AuditRecord).where(AuditRecord.action == "order.fail")).one().subject == "order:1"
    assert works.balance(Holder.USED) == 4
    order = works.do(orders.cancel, order, "checker", "换一个资源池")
    assert order.state == OrderState.CANCELLED
    assert works.balance(Holder.USED) == 0
    assert works.balance(Holder.GRANTED) == 32
    works.prove()


def test_a_failed_order_may_be_tried_again_after_the_cause_is_gone(works, clock) -> None:
    order = works.create()
    refuse = {"what": "refuse", "since": "2026-06-01T00:00:00+00:00", "until": "2026-06-02T00:00:00+00:00"}
    cloud = works.cloud(faults=[refuse])
    for _ in range(orders.ATTEMPTS):
        order = works.carry(order, cloud)
        clock.advance(hours=5)
    order = works.do(orders.retry, order, "checker")
    assert (order.state, order.cloud_key) == (OrderState.PENDING, "k#6")  # the cloud said that it did nothing
    assert works.carry(order, cloud).state == OrderState.DELIVERED


def test_shrinking_frees_to_whom_the_order_says_once_it_is_done(works) -> None:
    one = made(works)
    half = {VCPU: 2, MEMORY: 4 * GB}
    order = works.place(Verb.RESIZE, "shrink", resource=one, amounts=half, case_id=7, frees=Holder.FREE)
    free = works.balance(Holder.FREE)
    assert works.balance(Holder.USED) == 4  # not before the cloud confirms
    order = works.now(works.carry(order))
    assert works.balance(Holder.USED) == 2
    assert works.balance(Holder.FREE) == free + 2
    assert order.freed == {"vcpu": 2, "memory": 4096}
    assert (order.resource.amounts, order.resource.booked) == ({"vcpu": 2, "memory": 4096},) * 2
    with works.book.reading() as tx:
        moved = tx.scalars(select(entries.Transfer).where(entries.Transfer.key == f"order:{order.id}:free")).one()
        assert (moved.command, moved.subject) == ("reclaim", "case:7")
        assert [c.source for c in inventory.history(tx, one.id)] == ["order:1", f"order:{order.id}"]
    works.prove()


def test_growing_takes_from_the_quota_before_the_cloud_is_told(works) -> None:
    one = made(works)
    order = works.place(Verb.RESIZE, "grow", resource=one, amounts={VCPU: 8})
    assert works.balance(Holder.USED) == 8
    order = works.now(works.carry(order))
    assert (order.resource.amounts, order.resource.booked) == ({"vcpu": 8, "memory": 8192},) * 2
    assert order.freed == {}


def test_from_stop_to_deletion_only_deletion_frees_here(works) -> None:
    one = made(works)
    for number, (verb, state, used) in enumerate(
        [
            (Verb.SNAPSHOT, ResourceState.RUNNING, 4),
            (Verb.STOP, ResourceState.STOPPED, 4),
            (Verb.RECYCLE, ResourceState.RECYCLED, 4),
            (Verb.RESTORE, ResourceState.STOPPED, 4),
            (Verb.START, ResourceState.RUNNING, 4),
            (Verb.DELETE, ResourceState.DELETED, 0),
        ]
    ):
        order = works.now(works.carry(works.place(verb, f"step{number}", resource=one)))
        assert order.state == OrderState.DELIVERED, order.last_error
        assert order.resource.state == state
        assert works.balance(Holder.USED) == used
    assert works.balance(Holder.GRANTED) == 32
    works.prove()


def test_a_listing_of_before_an_order_does_not_undo_it(works, clock) -> None:
    one, cloud = made(works), works.cloud()
    clock.advance(hours=1)
    old = cloud.inventory(clock.now)  # on its way, as a file may be for a day
    clock.advance(hours=1)
    works.carry(works.place(Verb.STOP, "off", resource=one), cloud)
    works.carry(works.place(Verb.RESIZE, "less", resource=one, amounts={VCPU: 2}), cloud)
    for listing, seen in ((old, old.as_of), (cloud.inventory(clock.advance(hours=1)), clock.now)):
        with works.book.transaction(steward()) as tx:
            drift = observation.observe(tx, tx.get_one(pools.Pool, works.pool), listing)
            assert one.id not in drift.reshaped
        with works.book.reading() as tx:
            found = tx.get_one(Resource, one.id)
            assert (found.state, found.amounts["vcpu"], found.last_seen_at) == (ResourceState.STOPPED, 2, seen)
            assert found.stopped_at is not None


def test_where_stopping_frees_starting_takes_it_back(works) -> None:
    class Shelving(type(works.cloud())):
        releases: ClassVar[Any] = {**type(works.cloud()).releases, Verb.STOP: frozenset({VCPU})}

    one = made(works)
    order = works.place(Verb.STOP, "off", resource=one, frees=Holder.FREE)
    works.carry(order, works.cloud(Shelving))
    assert works.balance(Holder.USED) == 0
    order = works.place(Verb.START, "on", resource=works.now(order).resource)
    assert works.balance(Holder.USED) == 4
    order = works.now(works.carry(order, works.cloud(Shelving)))
    assert order.resource.booked == {"vcpu": 4, "memory": 8192}
    works.prove()


def test_orders_of_one_resource_go_one_after_the_other(works) -> None:
    one = made(works)
    first = works.place(Verb.SNAPSHOT, "a", resource=one)
    second = works.place(Verb.STOP, "b", resource=one)
    with works.book.reading() as tx:
        assert orders.waiting(tx, works.pool) == [first.id]
    assert orders.carry_all(works.book, works.pool, works.cloud()).delivered == [first.id]
    assert orders.carry_all(works.book, works.pool, works.cloud()).delivered == [second.id]


# -------------------------------------------------------------------------------------------- without hands


class Handless(SimulatedCloud):
    """The same cloud through an adapter that can only look."""

    capabilities = frozenset()


def test_staff_does_what_the_adapter_cannot(works, clock) -> None:
    order = works.carry(works.create(), works.cloud(Handless))
    assert (order.state, order.by_hand) == (OrderState.SENT, True)
    with works.book.reading() as tx:
        assert orders.waiting(tx, works.pool) == []
    order = works.do(orders.start, order, "operator")
    assert order.state == OrderState.DELIVERING
    with pytest.raises(Invalid, match=r"order\.no_resource"):
        works.do(orders.mark_delivered, order, "operator")
    clock.advance(hours=3)
    order = works.do(orders.mark_delivered, order, "operator", external_id=" i-77 ", note="机房 3 区")
    assert (order.state, order.delivered_by, order.delivered_at) == (OrderState.DELIVERED, "operator", clock.now)
    assert works.now(order).resource.external_id == "i-77"
    clock.advance(hours=1)
    listing = Inventory(clock.now, [])  # the next complete listing does not show it
    with works.book.transaction(steward()) as tx:
        observation.observe(tx, tx.get_one(pools.Pool, works.pool), listing)
    order = works.do(orders.accept, order, "clerk")
    assert order.discrepancy == {"unseen": True}


def test_less_than_approved_is_on_record(works, clock) -> None:
    order = works.carry(works.create(), works.cloud(Handless))
    order = works.do(orders.mark_delivered, order, "operator", external_id="i-1", has={VCPU: 2, MEMORY: 8 * GB})
    order = works.do(orders.accept, order, "checker")
    assert order.discrepancy == {"amounts": {"vcpu": [4, 2]}}
    assert works.now(order).resource.booked["vcpu"] == 4


def test_two_orders_cannot_name_one_resource(works) -> None:
    first, second = (works.carry(works.create(key), works.cloud(Handless)) for key in "ab")
    works.do(orders.mark_delivered, first, "operator", external_id="i-1")
    with pytest.raises(Conflict, match=r"resource\.taken"):
        works.do(orders.mark_delivered, second, "operator", external_id="i-1")
    assert works.now(second).state == OrderState.SENT


def test_an_order_at_the_cloud_is_not_done_by_hand_as_well(works) -> None:
    order = works.carry(works.create(), works.cloud(pending_minutes=60))
    with pytest.raises(WrongState, match=r"order\.at_cloud"):
        works.do(orders.mark_delivered, order, "operator", external_id="i-1")


def test_hands_take_over_from_an_interface_that_does_nothing(works) -> None:
    order = works.carry(works.create(), works.cloud(pending_minutes=60))
    with pytest.raises(Invalid, match=r"reason\.missing"):
        works.do(orders.take_over, order, "operator", " ")
    with pytest.raises(NotAllowed):
        works.do(orders.take_over, order, "checker", "接口停用")
    order = works.do(orders.take_over, order, "operator", "接口停用")
    assert (order.state, order.by_hand) == (OrderState.DELIVERING, True)
    with pytest.raises(WrongState, match=r"order\.not_at_cloud"):
        works.do(orders.take_over, order, "operator", "再来")
    assert works.carry(order).state == OrderState.DELIVERING, "the interface has it no more"
    order = works.do(orders.mark_delivered, order, "operator", external_id="i-1")
    assert order.state == OrderState.DELIVERED
    works.prove()


def test_what_nobody_looks_at_is_deemed_accepted_after_three_working_days(works, clock) -> None:
    order = works.carry(works.create())  # a Monday
    for days, state in ((3, OrderState.DELIVERED), (1, OrderState.ACCEPTED)):
        clock.advance(days=days)
        with works.book.transaction(steward()) as tx:
            orders.deem_accepted(tx)
        assert works.now(order).state == state
    assert works.now(order).accepted_by == "deemed"


def test_what_was_refused_is_done_again(works, clock) -> None:
    order = works.carry(works.create())
    with pytest.raises(Invalid, match=r"reason\.missing"):
        works.do(orders.refuse, order, "clerk", "  ")
    clock.advance(days=1)
    order = works.do(orders.refuse, order, "clerk", "磁盘没有挂载")
    assert (order.state, order.by_hand, order.delivered_at) == (OrderState.DELIVERING, True, None)
    order = works.do(orders.mark_delivered, order, "operator", external_id=works.now(order).resource.external_id)
    assert works.do(orders.accept, order, "clerk").state == OrderState.ACCEPTED
    assert works.balance(Holder.USED) == 4
    works.prove()


# ------------------------------------------------------------------------------------------------ who may


def test_each_sees_and_does_only_their_own(works) -> None:
    order = works.carry(works.create(), works.cloud(Handless))
    for login, sees in (
        ("clerk", True),
        ("operator", True),
        ("checker", True),
        ("auditor", True),
        ("stranger", False),
        ("rival", False),
    ):
        actor = works.people[login]
        with works.book.reading(actor) as tx:
            assert bool(tx.scalars(select(WorkOrder).where(tables.visible(tx, actor))).all()) is sees
            if not sees:
                with pytest.raises(NotFound, match=r"order\.none"):
                    tables.order(tx, order.id)
    for what, by in (
        (orders.mark_delivered, "clerk"),
        (orders.start, "checker"),
        (orders.accept, "operator"),
        (orders.accept, "auditor"),
        (orders.retry, "operator"),
    ):
        with pytest.raises((NotAllowed, WrongState)) as refusal:
            works.do(what, order, by)
        assert refusal.value.code in ("role.missing", "order.state")
    with pytest.raises(NotFound):
        works.do(orders.mark_delivered, order, "rival", external_id="i-1")
    admin = Actor("root", "root", Role.SYSADMIN)
    with works.book.reading(admin) as tx, pytest.raises(NotFound):
        tables.order(tx, order.id)


def test_a_stale_page_is_refused(works) -> None:
    order = works.create()
    works.carry(order, works.cloud(Handless))
    with pytest.raises(Conflict, match=r"order\.stale"), works.book.transaction(works.people["operator"]) as tx:
        orders.start(tx, order.id, order.generation - 1)


# ----------------------------------------------------------------------------------------------- requests


def state_of(works, request) -> str:
    with works.book.reading() as tx:
        return submission.request(tx, request.id).state


def test_a_request_is_delivered_piece_by_piece(works) -> None:
    request = works.approved()
    assert works.balance(Holder.USED) == 8
    for _ in range(2):
        with works.book.transaction(steward()) as tx:
            placed = orders.place_for_request(tx, submission.lock(tx, request))
    assert [one.name for one in placed] == ["web-01", "web-02"]
    assert works.balance(Holder.USED) == 8  # the holds had paid for them
    works.carry(placed[0])
    assert state_of(works, request) == "delivering"
    works.carry(placed[1])
    assert state_of(works, request) == "accepting"
    with works.book.transaction(works.people["clerk"]) as tx:
        seen = submission.lock(tx, request).generation
        done = orders.accept_request(tx, request.id, seen)
    assert [one.state for one in done] == [OrderState.ACCEPTED] * 2
    assert state_of(works, request) == "done"
    works.prove()


def test_a_request_that_is_refused_goes_back_with_all_that_was_delivered(works) -> None:
    request = works.approved()
    with works.book.transaction(steward()) as tx:
        placed = orders.place_for_request(tx, submission.lock(tx, request))
    for one in placed:
        works.carry(one)
    with works.book.transaction(works.people["clerk"]) as tx:
        seen = submission.lock(tx, request).generation
        back = orders.refuse_request(tx, request.id, seen, "少了一块盘")
        assert [(one.state, one.last_error, one.by_hand) for one in back] == [
            (OrderState.DELIVERING, "少了一块盘", True)
        ] * 2
    assert state_of(works, request) == "delivering"
    for one in back:
        with works.book.transaction(works.people["operator"]) as tx:
            now = tx.get_one(WorkOrder, one.id)
            orders.mark_delivered(tx, one.id, now.generation, external_id=now.resource.external_id, note="补上了")
    assert state_of(works, request) == "accepting", "it can be delivered once more"


def test_the_last_accepted_order_closes_its_request(works) -> None:
    request = works.approved()
    with works.book.transaction(steward()) as tx:
        placed = orders.place_for_request(tx, submission.lock(tx, request))
    delivered = [works.carry(one) for one in placed]
    works.do(orders.accept, delivered[0], "clerk")
    assert state_of(works, request) == "accepting"
    works.do(orders.accept, delivered[1], "clerk")
    assert state_of(works, request) == "done"


def test_a_request_deemed_accepted_takes_its_orders_along(works, clock) -> None:
    request = works.approved()
    with works.book.transaction(steward()) as tx:
        placed = orders.place_for_request(tx, submission.lock(tx, request))
    for one in placed:
        works.carry(one)
    clock.advance(days=10)
    with works.book.transaction(steward()) as tx:
        assert len(orders.deem_accepted(tx)) == 2
    assert state_of(works, request) == "done"
    assert works.now(placed[0]).accepted_by == "deemed"


@pytest.mark.parametrize(
    ("kind", "amounts", "used"),
    [(kinds.RESIZE, {VCPU: 2, MEMORY: 8 * GB}, 2), (kinds.UNSUBSCRIBE, {}, 0)],
)
def test_what_a_request_returns_is_released_once(works, kind, amounts, used) -> None:
    one = made(works)
    line = Line(current={VCPU: 4, MEMORY: 8 * GB}, asked=amounts, service="vm")
    request = works.approved(kind, resource_id=one.id, lines=[line])
    with works.book.transaction(steward()) as tx:
        (order,) = orders.place_for_request(tx, submission.lock(tx, request))
    assert works.balance(Holder.USED) == 4
    order = works.now(works.carry(order))
    assert order.state == OrderState.DELIVERED, order.last_error
    assert works.balance(Holder.USED) == used
    assert works.balance(Holder.GRANTED) == 32 - used
    assert order.resource.booked.get("vcpu", 0) == used
    works.prove()


# ------------------------------------------------------------------------------------------------- clocks


def test_limits_are_working_days_and_hours_in_an_emergency(works, clock) -> None:
    order = works.create("a", limit_days=2)
    assert order.due_at.isoformat() == "2026-06-03T23:59:59+08:00"
    order = works.create("b", emergency=True)
    assert order.due_at == clock.now + timedelta(hours=4)
    assert order.in_time(clock.now) is None
    clock.advance(hours=5)
    assert order.in_time(clock.now) is False


def test_delivery_times_are_counted_in_the_citys_buckets(works, clock) -> None:
    start = clock.now
    waiting = [works.create(key, amounts={VCPU: 1, MEMORY: GB}) for key in "abc"]
    for order, days in zip(waiting, (0, 7, 120), strict=True):
        clock.now = start + timedelta(days=days)
        works.carry(order)
    with works.book.reading() as tx:
        found = tables.delivery_times(tx, start, clock.now + timedelta(days=1))
        assert {str(one): count for one, count in found.items()} == {
            "1–3": 1,
            "4–10": 1,
            "11–30": 0,
            "31–60": 0,
            ">60": 1,
        }
        assert sum(tables.delivery_times(tx, start, clock.now, provider_id=works.companies["lantu"]).values()) == 0


def test_the_database_counts_working_days_as_the_calendar_does(works, clock) -> None:
    """Over the New Year and the Spring Festival, with days off that the city worked: at each hour of placing and delivery."""
    first = works.create("a", amounts={VCPU: 1, MEMORY: GB}).id
    begin = datetime(2026, 1, 20, 3, tzinfo=UTC)
    with works.book.transaction(steward()) as tx:
        calendar.correct(tx, date(2026, 2, 20), True)
        days, order = calendar.working_days(tx), tx.get_one(tables.WorkOrder, first)
        start, end = begin, begin + timedelta(days=35)
        number = select(tables.bucket_number(days, start, end)).where(tables.WorkOrder.id == first)
        for turn in range(150):
            order.delivered_at = begin + timedelta(hours=turn * 5.6)
            order.placed_at = order.delivered_at - timedelta(hours=(turn * 37) % 2000 - 3)
            tx.flush()
            expected = tables.bucket(days.between(order.placed_at, order.delivered_at))
            assert tables.BUCKETS[tx.scalar(number)] == expected, (order.placed_at, order.delivered_at)
        order.delivered_at = end
        tx.flush()
        assert tx.scalar(number) is None


@pytest.mark.parametrize(
    ("days", "name"), [(0, "1–3"), (3, "1–3"), (4, "4–10"), (10, "4–10"), (60, "31–60"), (61, ">60")]
)
def test_the_edges_of_the_buckets(days, name) -> None:
    assert str(tables.bucket(days)) == name


def test_a_corrected_calendar_moves_open_limits(works) -> None:
    order = works.create(limit_days=2)
    with works.book.transaction(steward()) as tx:
        calendar.correct(tx, order.due_at.date(), working=False, note="防汛放假")
        assert tables.reschedule(tx) == 1
    assert works.now(order).due_at > order.due_at


# ---------------------------------------------------------------------------- what must not wait for ever


def test_an_answer_that_cannot_be_entered_keeps_no_other_order_waiting(works) -> None:
    poisoned, other = works.create("a"), works.create("b")

    class Forgetful(SimulatedCloud):
        """Says that it is done, and of the first order not what it made."""

        def deliver(self, order, now):
            found = super().deliver(order, now)
            return replace(found, external_id=None) if order.key == "a" else found

    done = orders.carry_all(works.book, works.pool, works.cloud(Forgetful))
    assert (done.failed, done.delivered) == ([poisoned.id], [other.id])
    assert "order.no_resource" in works.now(poisoned).last_error
    order = works.do(orders.mark_delivered, works.now(poisoned), "operator", external_id="i-by-hand")
    assert order.state == OrderState.DELIVERED
    works.prove()


def test_a_request_ends_with_the_last_of_its_orders(works) -> None:
    request = works.approved()
    with works.book.transaction(steward()) as tx:
        placed = orders.place_for_request(tx, submission.lock(tx, request))
    works.do(orders.cancel, placed[0], "checker", "机房无法扩容")
    assert state_of(works, request) == "approved"
    works.do(orders.cancel, placed[1], "checker", "机房无法扩容")
    assert state_of(works, request) == "withdrawn"
    assert (works.balance(Holder.USED), works.balance(Holder.GRANTED)) == (0, 32)
    works.prove()


def test_a_request_is_looked_at_where_its_last_order_is_cancelled_after_the_others_were_accepted(works) -> None:
    request = works.approved()
    with works.book.transaction(steward()) as tx:
        placed = orders.place_for_request(tx, submission.lock(tx, request))
    first = works.carry(placed[0])
    works.do(orders.accept, first, "clerk")
    works.do(orders.cancel, placed[1], "checker", "机房无法扩容")
    assert state_of(works, request) == "accepting"
    works.prove()


def test_what_was_refused_keeps_its_new_limit_when_the_calendar_changes(works, clock) -> None:
    order = works.carry(works.create(limit_days=2))
    clock.advance(days=3)
    order = works.do(orders.refuse, order, "clerk", "磁盘没有挂载")
    with works.book.transaction(steward()) as tx:
        assert tables.reschedule(tx) == 0  # nothing changed
        calendar.correct(tx, order.due_at.date(), working=False, note="防汛放假")
        assert tables.reschedule(tx) == 1
    assert works.now(order).due_at > order.due_at


def test_delivered_anew_as_another_machine_is_counted_once(works) -> None:
    order = works.carry(works.create(), works.cloud(Handless))
    order = works.do(orders.mark_delivered, order, "operator", external_id="i-1")
    order = works.do(orders.refuse, order, "clerk", "系统盘损坏")
    order = works.do(orders.mark_delivered, order, "operator", external_id="i-2")
    with works.book.reading() as tx:
        booked = {one.external_id: (one.basis, one.booked) for one in tx.scalars(select(Resource))}
    assert booked == {"i-1": ("", {}), "i-2": (order.basis, {"vcpu": 4, "memory": 8192})}
    assert works.balance(Holder.USED) == 4


def test_nobody_delivers_before_he_was_told(works, clock) -> None:
    class Boastful(SimulatedCloud):
        def deliver(self, order, now):
            return replace(super().deliver(order, now), at=now - timedelta(days=30))

    order = works.create(limit_days=2)
    clock.advance(days=5)
    order = works.carry(order, works.cloud(Boastful))
    assert order.delivered_at == clock.now
    assert order.in_time(clock.now) is False


# ------------------------------------------------------------------------ a request about a resource starts from the book


def test_a_request_returns_what_was_counted_not_what_it_names(works) -> None:
    one = made(works)
    made(works, "another")
    told = {VCPU: 8, MEMORY: 8 * GB}  # the machine is counted with 4 by the time of its order
    with works.book.transaction(steward()) as tx:
        tx.get_one(Resource, one.id).booked = {"vcpu": 8, "memory": 8 * GB}
    request = works.approved(kinds.UNSUBSCRIBE, resource_id=one.id, lines=[Line(current=told, service="vm")])
    with works.book.transaction(steward()) as tx:
        tx.get_one(Resource, one.id).booked = {"vcpu": 4, "memory": 8 * GB}
        (order,) = orders.place_for_request(tx, submission.lock(tx, request))
    works.carry(order)
    assert works.balance(Holder.USED) == 4  # the other machine's
    assert works.balance(Holder.GRANTED) == 28
    works.prove()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"booked": {}, "basis": ""}, "request.unapproved"),
        ({"booked": {"vcpu": 2, "memory": 8192}}, "request.reshaped"),
        ({}, "request.order_open"),
    ],
)
def test_what_is_not_counted_or_has_changed_cannot_be_asked_back(works, change, code) -> None:
    one = made(works)
    line = Line(current={VCPU: 4, MEMORY: 8 * GB}, service="vm")
    ask = Ask(kinds.UNSUBSCRIBE, works.bureau, works.pool, [line], "系统下线,不再需要这台云主机", resource_id=one.id)
    with works.book.transaction(works.people["clerk"]) as tx:
        request = submission.draft(tx, ask)
        targets.check(tx, request)
    if not change:
        works.place(Verb.STOP, "stop", resource=one)
    with works.book.transaction(steward()) as tx:
        for name, value in change.items():
            setattr(tx.get_one(Resource, one.id), name, value)
    with works.book.transaction(works.people["clerk"]) as tx, pytest.raises(Invalid) as refusal:
        submission.submit(tx, request, generation=1)
    assert refusal.value.code == code


def test_what_was_borrowed_for_a_machine_does_not_go_to_the_city(works) -> None:
    memory = Commodity(MEMORY, Arch.AARCH64)
    with works.book.transaction(works.people["chief"]) as tx:
        entries.reclaim(tx, works.pool, works.bureau, {CPU: 32}, key="none", source=Holder.GRANTED)
        entries.grant(tx, works.pool, works.neighbour, {CPU: 4}, key="rich")
        terms = {"days": 30, "guaranteed_days": 0, "notice_days": 0, "reason": "重保互助", "key": "loan"}
        loan = lending.offer(tx, works.pool, CPU, 4, works.neighbour, works.bureau, **terms)
        lending.accept(tx, loan, generation=loan.generation)
        entries.hold(
            tx, works.pool, works.bureau, {CPU: 4}, key="h", subject="r", source=Holder.LENT, target=Holder.USED
        )
        entries.post(tx, entries.pending(tx, "r"), key="p")
        entries.use(tx, works.pool, works.bureau, {memory: 8 * GB}, key="use")
    one = works.now(works.carry(works.create(paid=True))).resource
    free = works.balance(Holder.FREE), works.balance(Holder.FREE, memory)
    works.carry(works.place(Verb.DELETE, "delete", resource=one, frees=Holder.FREE))
    assert (works.balance(Holder.USED), works.balance(Holder.GRANTED)) == (0, 4)
    assert (works.balance(Holder.FREE), works.balance(Holder.FREE, memory)) == (free[0], free[1] + 8 * GB)
    works.prove()
