"""The ledger keeps its promises on both databases: conserved, never below zero, once only, tamper-evident."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from providers.adapters.simulated.city import CityCapacity
from quota.actors import steward
from quota.db import Book, Tx
from quota.directory import departments, pools
from quota.errors import Conflict, Invalid, OverCapacity, WrongState
from quota.ledger import capacities, entries, histories
from quota.ledger.tables import Holder, Side
from quota.units import MEMORY, VCPU, Arch, Commodity
from tests.city import City, DepartmentPlan, Plan, PoolPlan
from tests.patience import PATIENCE, pause, together

CPU = Commodity(VCPU, Arch.X86_64)
MEM = Commodity(MEMORY, Arch.X86_64)


PLAN = Plan(
    companies={"company": ("c", "某云")},
    pools={
        "pool": PoolPlan(
            "company",
            Arch.X86_64,
            (
                CityCapacity(VCPU, 60, 10, Decimal(2)),
                CityCapacity(MEMORY, 200 * 1024, 0, Decimal(1)),
            ),
            "p",
            "政务外网区",
        )
    },
    departments={"department": DepartmentPlan("d", "某局")},
)
"""A pool of 100 vCPU that may be given out and of 200 GB, and a department."""


@pytest.fixture
def city(book: Book) -> tuple[Book, int, int]:
    """(book, pool id, department id)"""
    found = City(book, plan=PLAN)
    return book, found.pool, found.department


def figures(book: Book) -> dict[str, int]:
    with book.reading() as tx:
        assert entries.conserved(tx)
        assert list(entries.check(tx)) == []
        return {account.code: account.balance for account in entries.balances(tx) if account.balance}


def test_capacity_is_what_may_be_given_out(city: tuple[Book, int, int]) -> None:
    book, pool, _ = city
    with book.reading() as tx:
        assert entries.balance(tx, Side(pool, CPU, Holder.FREE)) == 100
        assert entries.balance(tx, Side(pool, CPU, Holder.SUPPLY)) == -100


def test_part_of_a_hold_is_posted_and_the_rest_returns(city: tuple[Book, int, int]) -> None:
    book, pool, dept = city
    with book.transaction(steward()) as tx:
        entries.grant(tx, pool, dept, {CPU: 10}, key="g")
        within = entries.hold(
            tx, pool, dept, {CPU: 10}, key="h1", subject="request:1", source=Holder.GRANTED, target=Holder.USED
        )
        beyond = entries.hold(
            tx, pool, dept, {CPU: 20}, key="h2", subject="request:1", source=Holder.FREE, target=Holder.USED
        )
    assert figures(book)[f"{pool}/{CPU}/held/{dept}"] == 30
    with book.transaction(steward()) as tx:
        entries.post(tx, [tx.merge(one) for one in within + beyond], {CPU: 16}, key="p")
    after = figures(book)
    # 10 within quota are taken first, 6 from the city; 14 go back to the city.
    assert after[f"{pool}/{CPU}/used/{dept}"] == 16
    assert after[f"{pool}/{CPU}/free/-"] == 84
    assert f"{pool}/{CPU}/granted/{dept}" not in after


@pytest.mark.parametrize("second", ["post", "void", "expire"])
@pytest.mark.parametrize(
    ("first", "code"), [("post", "hold.posted"), ("void", "hold.voided"), ("expire", "hold.expired")]
)
def test_a_hold_is_decided_once(city: tuple[Book, int, int], first: str, second: str, code: str) -> None:
    book, pool, dept = city
    with book.transaction(steward()) as tx:
        holds = entries.hold(
            tx,
            pool,
            dept,
            {CPU: 5, MEM: 1024},
            key="h",
            subject="request:1",
            source=Holder.FREE,
            target=Holder.GRANTED,
            expires_at=tx.now,
        )
        getattr(entries, first)(tx, holds, key="first")
    before = figures(book)
    with pytest.raises(WrongState) as refusal, book.transaction(steward()) as tx:
        getattr(entries, second)(tx, [tx.merge(one) for one in holds], key="second")
    assert refusal.value.code == code
    assert figures(book) == before
    with book.transaction(steward()) as tx:  # the same command again is the same transfer
        getattr(entries, first)(tx, [tx.merge(one) for one in holds], key="first")
    assert figures(book) == before


def test_a_hold_does_not_expire_early(city: tuple[Book, int, int]) -> None:
    book, pool, dept = city
    with book.transaction(steward()) as tx:
        holds = entries.hold(
            tx,
            pool,
            dept,
            {CPU: 5},
            key="h",
            subject="request:1",
            source=Holder.FREE,
            target=Holder.USED,
            expires_at=tx.now + timedelta(days=1),
        )
        with pytest.raises(WrongState, match=r"hold\.early"):
            entries.expire(tx, holds, key="e")


def test_a_key_is_one_command(city: tuple[Book, int, int]) -> None:
    book, pool, dept = city
    for _ in range(3):
        with book.transaction(steward()) as tx:
            entries.grant(tx, pool, dept, {CPU: 7}, key="same")
    assert figures(book)[f"{pool}/{CPU}/granted/{dept}"] == 7
    with pytest.raises(Conflict), book.transaction(steward()) as tx:
        entries.grant(tx, pool, dept, {CPU: 8}, key="same")


@pytest.mark.parametrize("amount", [0, -1, 1.5, True])
def test_amounts_are_positive_whole_numbers(city: tuple[Book, int, int], amount: int) -> None:
    book, pool, dept = city
    with pytest.raises(Invalid), book.transaction(steward()) as tx:
        entries.grant(tx, pool, dept, {CPU: amount}, key="bad")


def test_nothing_is_half_done(city: tuple[Book, int, int]) -> None:
    book, pool, dept = city
    before = figures(book)
    with pytest.raises(OverCapacity) as refusal, book.transaction(steward()) as tx:
        entries.grant(tx, pool, dept, {MEM: 1024, CPU: 101}, key="too much")
    assert refusal.value.params["have"] == 100
    assert figures(book) == before


def test_the_database_itself_refuses_what_python_would(city: tuple[Book, int, int]) -> None:
    book, pool, dept = city
    with book.transaction(steward()) as tx:
        entries.grant(tx, pool, dept, {CPU: 7}, key="g")
    for statement in (
        "UPDATE accounts SET balance = -1 WHERE holder = 'free'",
        "UPDATE entries SET delta = 1",
        "DELETE FROM entries",
        "UPDATE transfers SET memo = 'x'",
        "DELETE FROM audit_records",
        "UPDATE audit_records SET actor = 'somebody else'",
    ):
        with pytest.raises(DBAPIError), book.engine.begin() as connection:
            connection.execute(text(statement))


def test_two_at_once_cannot_take_the_same_capacity(city: tuple[Book, int, int]) -> None:
    book, pool, dept = city
    refused: list[Exception] = []

    def take(number: int) -> None:
        try:
            with book.transaction(steward()) as tx:
                entries.grant(tx, pool, dept, {CPU: 30}, key=f"g{number}")
        except OverCapacity as error:
            refused.append(error)

    together(*(partial(take, number) for number in range(5)))
    assert len(refused) == 2
    assert figures(book)[f"{pool}/{CPU}/granted/{dept}"] == 90


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        ("UPDATE accounts SET balance = balance + 1 WHERE holder = 'granted'", "accounts: row"),
        ("UPDATE accounts SET holder = 'used' WHERE holder = 'granted'", "accounts: row"),
        (
            "UPDATE entries SET delta = delta + 1, balance = balance + 1 WHERE id = (SELECT max(id) FROM entries)",
            "entries: row",
        ),
        ("DELETE FROM entries WHERE id = (SELECT max(id) FROM entries)", "accounts: row"),
        ("UPDATE transfers SET actor = 'x' WHERE id = (SELECT max(id) FROM transfers)", "entries: row"),
        ("UPDATE holds SET amount = amount + 1", "holds: "),
    ],
)
def test_a_row_changed_behind_its_back_is_named(city: tuple[Book, int, int], tamper: str, named: str) -> None:
    book, pool, dept = city
    with book.transaction(steward()) as tx:
        entries.grant(tx, pool, dept, {CPU: 7}, key="g")
        entries.hold(tx, pool, dept, {CPU: 5}, key="h", subject="request:1", source=Holder.FREE, target=Holder.USED)
    figures(book)
    with book.engine.begin() as connection:
        if book.engine.dialect.name == "sqlite":
            for name in ("entries", "transfers"):
                for verb in ("update", "delete"):
                    connection.execute(text(f"DROP TRIGGER {name}_no_{verb}"))
        else:
            connection.execute(text("SET session_replication_role = replica"))
        connection.execute(text(tamper))
    with book.reading() as tx:
        found = list(entries.check(tx))
    assert any(named in line for line in found), found


class Ledger(RuleBasedStateMachine):
    """Any commands in any order, against a model that only adds up: the book and the model always agree."""

    opened: Book

    def __init__(self) -> None:
        super().__init__()
        self.book = self.opened
        self.number = next(_machines)
        with self.book.transaction(steward()) as tx:
            company = pools.CloudProvider(code=f"c{self.number}", name="某云")
            tx.add(company)
            tx.flush()
            pool = pools.Pool(
                code=f"p{self.number}", name="池", provider_id=company.id, arch="x86_64", zone="外网", adapter="files"
            )
            tx.add(pool)
            tx.flush()
            self.pool = pool.id
            self.departments = [departments.register(tx, f"d{self.number}-{name}", name).id for name in "甲乙"]
            entries.provision(tx, self.pool, {CPU: 50}, key=f"{self.number}/begin")
        self.model: dict[tuple[Holder, int | None], int] = {(Holder.FREE, None): 50}
        self.capacity = 50
        self.holds: dict[int, tuple[int, Holder, Holder, int]] = {}
        self.decided: list[int] = []
        self.keys = 0
        self.last: tuple[Callable[[Tx, str], object], str] | None = None

    def do(
        self, moves: list[tuple[Holder, int | None, Holder, int | None, int]], verb: Callable[[Tx, str], object]
    ) -> bool:
        """Carry ``verb`` out; it succeeds exactly where the model says that nothing falls below zero."""
        after = dict(self.model)
        for source, whose, target, whom, amount in moves:
            if source is not Holder.SUPPLY:
                after[source, whose] = after.get((source, whose), 0) - amount
            if target is not Holder.SUPPLY:
                after[target, whom] = after.get((target, whom), 0) + amount
        self.keys += 1
        key = f"{self.number}/{self.keys}"
        try:
            with self.book.transaction(steward()) as tx:
                verb(tx, key)
        except OverCapacity:
            assert min(after.values()) < 0
            return False
        assert min(after.values()) >= 0
        self.model, self.last = after, (verb, key)
        return True

    who = st.integers(0, 1)
    much = st.integers(1, 30)

    @rule(amount=much)
    def provision(self, amount: int) -> None:
        self.do(
            [(Holder.SUPPLY, None, Holder.FREE, None, amount)],
            lambda tx, key: entries.provision(tx, self.pool, {CPU: amount}, key=key),
        )
        self.capacity += amount

    @rule(amount=much)
    def retire(self, amount: int) -> None:
        if self.do(
            [(Holder.FREE, None, Holder.SUPPLY, None, amount)],
            lambda tx, key: entries.retire(tx, self.pool, {CPU: amount}, key=key),
        ):
            self.capacity -= amount

    @rule(who=who, amount=much, verb=st.sampled_from(["grant", "use", "release", "reclaim"]))
    def move(self, who: int, amount: int, verb: str) -> None:
        one = self.departments[who]
        source, target = {
            "grant": (Holder.FREE, Holder.GRANTED), "use": (Holder.GRANTED, Holder.USED),
            "release": (Holder.USED, Holder.GRANTED), "reclaim": (Holder.USED, Holder.FREE),
        }[verb]  # fmt: skip

        def whose(holder: Holder) -> int | None:
            return None if holder is Holder.FREE else one

        self.do(
            [(source, whose(source), target, whose(target), amount)],
            lambda tx, key: getattr(entries, verb)(tx, self.pool, one, {CPU: amount}, key=key),
        )

    @rule(who=who, amount=much)
    def lend(self, who: int, amount: int) -> None:
        a, b = self.departments[who], self.departments[1 - who]
        self.do(
            [(Holder.GRANTED, a, Holder.LENT, b, amount)],
            lambda tx, key: entries.lend(tx, self.pool, a, b, {CPU: amount}, key=key, subject="loan:1"),
        )

    @rule(who=who, amount=much, holder=st.sampled_from([Holder.LENT, Holder.GRANTED]))
    def give_back(self, who: int, amount: int, holder: Holder) -> None:
        a, b = self.departments[who], self.departments[1 - who]
        self.do(
            [(holder, a, Holder.GRANTED, b, amount)],
            lambda tx, key: entries.give_back(tx, self.pool, a, b, CPU, {holder: amount}, key=key, subject="loan:1"),
        )

    @rule(who=who, amount=much, holder=st.sampled_from([Holder.LENT, Holder.GRANTED, Holder.USED]))
    def hand_over(self, who: int, amount: int, holder: Holder) -> None:
        a, b = self.departments[who], self.departments[1 - who]
        mine = [id_ for id_, (whose, *_rest) in self.holds.items() if whose == a]
        moves = [(holder, a, holder, b, amount)]
        moves += [(Holder.HELD, a, Holder.HELD, b, self.holds[id_][3]) for id_ in mine]

        def verb(tx: Tx, key: str) -> None:
            holds = [tx.get_one(entries.Hold, id_) for id_ in mine]
            entries.hand_over(tx, a, b, {(self.pool, CPU, holder): amount}, key=key, holds=holds)

        if self.do(moves, verb):
            for id_ in mine:
                self.holds[id_] = (b, *self.holds[id_][1:])

    @rule(who=who, amount=much, source=st.sampled_from([Holder.FREE, Holder.GRANTED, Holder.LENT]))
    def hold(self, who: int, amount: int, source: Holder) -> None:
        one = self.departments[who]
        made: list[int] = []

        def verb(tx: Tx, key: str) -> None:
            made[:] = [
                hold.id
                for hold in entries.hold(
                    tx, self.pool, one, {CPU: amount}, key=key, subject=f"r:{key}", source=source, target=Holder.USED,
                    expires_at=tx.now,
                )
            ]  # fmt: skip

        if self.do([(source, None if source is Holder.FREE else one, Holder.HELD, one, amount)], verb):
            self.holds[made[0]] = (one, source, Holder.USED, amount)

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), verb=st.sampled_from(["post", "part", "void", "expire"]))
    def decide(self, data: st.DataObject, verb: str) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.holds)))
        one, source, target, amount = self.holds[id_]
        take = {"post": amount, "part": max(1, amount // 2)}.get(verb, 0)
        moves = [
            (Holder.HELD, one, target, one, take),
            (Holder.HELD, one, source, None if source is Holder.FREE else one, amount - take),
        ]

        def act(tx: Tx, key: str) -> None:
            holds = [tx.get_one(entries.Hold, id_)]
            if take:
                entries.post(tx, holds, {CPU: take}, key=key)
            else:
                getattr(entries, verb)(tx, holds, key=key)

        assert self.do(moves, act)
        del self.holds[id_]
        self.decided.append(id_)

    @precondition(lambda self: self.decided)
    @rule(data=st.data(), verb=st.sampled_from(["post", "void", "expire"]))
    def decide_again(self, data: st.DataObject, verb: str) -> None:
        id_ = data.draw(st.sampled_from(self.decided))
        self.keys += 1
        with pytest.raises(WrongState), self.book.transaction(steward()) as tx:
            getattr(entries, verb)(tx, [tx.get_one(entries.Hold, id_)], key=f"{self.number}/{self.keys}")

    @precondition(lambda self: self.last is not None)
    @rule()
    def the_same_again(self) -> None:
        assert self.last is not None
        verb, key = self.last
        with self.book.transaction(steward()) as tx:
            verb(tx, key)

    @invariant()
    def agrees(self) -> None:
        with self.book.reading() as tx:
            assert entries.conserved(tx)
            found = {
                (Holder(one.holder), one.department_id): one.balance for one in entries.balances(tx, pool_id=self.pool)
            }
        assert found.pop((Holder.SUPPLY, None)) == -self.capacity
        assert {place: amount for place, amount in found.items() if amount} == {
            place: amount for place, amount in self.model.items() if amount
        }
        assert sum(found.values()) == self.capacity


_machines = itertools.count()


@pytest.mark.slow
def test_any_commands_in_any_order(book: Book) -> None:
    Ledger.opened = book
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
    with book.reading() as tx:
        assert list(entries.check(tx)) == []


def test_two_who_change_a_capacity_at_once_move_each_its_own_difference(city: tuple[Book, int, int]) -> None:
    book, pool, _ = city

    def second() -> None:
        with book.transaction(steward()) as tx:
            capacities.equip(tx, tx.get_one(pools.Pool, pool), VCPU, 130, key="second")

    other = threading.Thread(target=second)
    with book.transaction(steward()) as tx:
        capacities.equip(tx, tx.get_one(pools.Pool, pool), VCPU, 120, key="first")
        other.start()
        pause(0.5)
    other.join(PATIENCE)
    assert figures(book)[Side(pool, CPU, Holder.SUPPLY).code] == -130


@pytest.mark.parametrize("ratio", ["NaN", "Infinity", "0", "-1", "1.2345", "1000"])
def test_a_ratio_that_cannot_be_kept_is_refused(city: tuple[Book, int, int], ratio: str) -> None:
    book, pool, _ = city
    with pytest.raises(Invalid) as refusal, book.transaction(steward()) as tx:
        capacities.equip(tx, tx.get_one(pools.Pool, pool), VCPU, 1_000_000, ratio=Decimal(ratio), key="odd")
    assert refusal.value.params["field"] == "ratio"


def test_what_was_held_at_an_instant_is_what_the_entries_up_to_it_add_up_to(city, book: Book, clock) -> None:
    _book, pool, department = city
    began = clock.now
    for day, figure in enumerate((10, 20, 5)):
        with book.transaction(steward()) as tx:
            entries.grant(tx, pool, department, {CPU: figure, MEM: 1024}, key=f"grant:{day}")
            entries.use(tx, pool, department, {CPU: figure}, key=f"use:{day}") if day == 1 else None
        clock.advance(days=1)
    instants = [began - timedelta(days=1), *(began + timedelta(days=day, hours=1) for day in range(3)), clock.now]
    with book.reading() as tx:
        given = histories.held_at(tx, VCPU, (Holder.GRANTED, Holder.HELD, Holder.USED), instants)
        used = histories.held_at(tx, VCPU, (Holder.USED,), instants)
    assert (given, used) == ([0, 10, 30, 35, 35], [0, 0, 20, 20, 20])
