"""No sequence of looks, failures, replies and clocks grows a machine beyond its quota, its pool, its ceiling or what a term may give, and none
keeps a growth for ever.

What reaches the cloud is held against notes that the test keeps by itself: what each machine has there, what the department
may use, what it authorised. Directed walks reach every check; fixed seeds and hypothesis look for an order that breaks one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering import cases
from metering.cases.exemptions import Category
from metering.cases.files import Case
from metering.cases.steps import Answer, CaseState
from metering.judging.policy import Verdict
from metering.judging.procedure import Procedure
from metering.lake.store import Lake
from metering.sizing import Fast
from providers.base import Order, Verb
from quota.db import Book
from quota.errors import Refused
from quota.inventory import Resource
from quota.ledger import entries
from quota.ledger.tables import Holder
from quota.units import MEMORY, VCPU, Amount
from tests import books
from tests.city import GB, City
from tests.conftest import Clock
from tests.metering.cloud import Died
from tests.metering.surging import FOUR, FullPool, Surging

pytestmark = pytest.mark.slow

BEGIN = datetime.fromisoformat("2026-06-01T02:00:00+00:00")
SPARE: Amount = Amount({VCPU: 8, MEMORY: 40 * GB})
"""What the department may use beside its machines."""
LOADS = (99.0, 99.0, 99.0, 49.5, 20.0, 20.0, float("nan"))
AILS = ("", "", "dies", "dies before", "reply lost", "refuses", "unreachable")
EVENTS = ("hour",) * 8 + (
    "carry",
    "carry",
    "advance",
    "advance",
    "authorise",
    "authorise",
    "revoke",
    "reply",
    "exempt",
    "leap",
    "pool",
    "pool",
)
REACHED: Counter[str] = Counter()


class Growing:
    """Three machines of one system in a city of their own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.clock = Clock(BEGIN)
        book = Book(url, clock=self.clock)
        self.town = Surging(City(book, self.clock), Lake(folder), quota=SPARE)
        self.town.cloud.seen = self.reaches_the_cloud
        self.machines = [self.town.machine() for _ in range(3)]
        with book.reading() as tx:
            named = {tx.get_one(Resource, one).external_id: one for one in self.machines}
        self.named = named
        self.there = dict.fromkeys(self.machines, FOUR)  # as the cloud was last told
        self.pool = FullPool(self.town, 3 * FOUR[VCPU] + SPARE[VCPU], SPARE[VCPU])
        self.authorised: list[tuple[int, int]] = []  # (id, vCPU) of what holds
        self.agreed: set[int] = set()  # machines whose growth was agreed to one by one
        self.calm_since: dict[int, datetime] = {}

    # ------------------------------------------------------------------------------------------------ what is checked

    def reaches_the_cloud(self, order: Order) -> None:
        assert order.verb is Verb.RESIZE
        machine = self.named[order.external_id]
        after = {**self.there, machine: Amount(order.amounts)}
        if after[machine][VCPU] > self.there[machine][VCPU]:
            REACHED["grown"] += 1
            assert after[machine][VCPU] <= FOUR[VCPU] * (1 + Procedure().temporary_growth), (
                "no more than a term may give"
            )
            assert sum(one[VCPU] - FOUR[VCPU] for one in after.values()) <= self.pool.spare, "no more than the quota"
            assert sum(one[VCPU] for one in after.values()) <= self.pool.vcpu, "no more than the pool has"
            if machine not in self.agreed:
                ceiling = max((vcpu for _id, vcpu in self.authorised), default=0)
                lent = sum(one[VCPU] - FOUR[VCPU] for which, one in after.items() if which not in self.agreed)
                assert lent <= ceiling, "no more than what holds allows"
        else:
            REACHED["given back"] += 1
        self.there = after

    def holds_together(self) -> None:
        with self.town.book.reading() as tx:
            assert entries.conserved(tx)
            assert list(entries.check(tx)) == []
        assert self.town.city.balance(Holder.GRANTED) >= 0

    # --------------------------------------------------------------------------------------------------- what happens

    def anything(self, seed: int) -> None:
        draw = Random(seed)
        match draw.choice(EVENTS):
            case "hour":
                self.hour([draw.choice(LOADS) for _ in self.machines])
                self.carry(draw.choice(AILS))
            case "carry":
                self.carry(draw.choice(AILS))
            case "advance":
                self.town.city.advance()
            case "authorise":
                self.authorise(draw.choice([2, 4, 8, 16]), any_time=draw.random() < 0.5)
            case "revoke" if self.authorised:
                self.town.revoke(self.authorised.pop()[0])
                REACHED["revoked"] += 1
            case "reply":
                self.reply(draw.choice(self.machines), draw.choice([Answer.AGREE, Answer.OBJECT]))
            case "pool" if self.pool.spare == SPARE[VCPU] or draw.random() < 0.5:
                REACHED["pool shrunk"] += self.pool.shrink(draw.choice([2, 4, 8]))
            case "pool":
                self.pool.widen(SPARE[VCPU] - self.pool.spare)
            case "exempt":
                self.exempt(draw.choice(self.machines))
            case "leap":
                self.clock.advance(hours=draw.choice([2, 9, 30, 24 * 8]))
        self.holds_together()

    def hour(self, loads: list[float]) -> None:
        """An hour of these loads, in per cent of four vCPU: what a machine that has more shows is less."""
        shown = {}
        for machine, load in zip(self.machines, loads, strict=True):
            shown[machine] = load * FOUR[VCPU] / self.town.has(machine)[VCPU] if load < 99 else load
        self.town.hour(shown)

    def carry(self, ails: str = "") -> None:
        self.town.cloud.ails = ails
        with suppress(Died):
            self.town.carry()
        self.town.cloud.ails = ""

    def authorise(self, vcpu: int, *, any_time: bool = True) -> None:
        with suppress(Refused):  # there is one already
            self.authorised.append((self.town.authorise(vcpu, 4 * vcpu, any_time=any_time), vcpu))
            REACHED["authorised"] += 1

    def reply(self, machine: int, answer: Answer) -> None:
        case = self.town.case(machine)
        if case is None or case.state != CaseState.NOTICED:
            return
        until = self.clock.now.date() + timedelta(days=9)
        with suppress(Refused), self.town.book.transaction(self.town.city.tenant) as tx:
            cases.reply(
                tx,
                tx.get_one(Case, case.id),
                answer,
                reason="申报期间业务繁忙,请予安排",
                category=Category.KEY_PERIOD,
                until=until,
            )
            if answer is Answer.AGREE:
                self.agreed.add(machine)
                REACHED["agreed"] += 1

    def exempt(self, machine: int) -> None:
        with self.town.book.transaction(self.town.city.supervisor) as tx:
            until = tx.now.date() + timedelta(days=3)
            cases.exempt(tx, tx.get_one(Resource, machine), Category.KEY_PERIOD, "重保期间保持现状不得变更", until)

    def comes_to_rest(self) -> None:
        """Everything calm and every cloud well for longer than any exemption and any agreed term: all that grew is given back, also where a
        person had been asked what is to become of it."""
        for _day in range(12):
            for _ in range(Fast().hold_hours + 2):
                self.hour([20.0 for _ in self.machines])
                self.carry()
                self.town.city.advance()
                self.carry()
            self.clock.advance(hours=24 - Fast().hold_hours - 2)
            self.town.judge(dict.fromkeys(self.machines, Verdict.NORMAL))
            if all(self.town.has(one) == FOUR for one in self.machines):
                break
        for machine in self.machines:
            case = self.town.case(machine)
            assert self.town.has(machine) == FOUR, case and (case.state, case.reason)
        self.holds_together()


@pytest.fixture
def growing(tmp_path: Path) -> Callable[[int], Growing]:
    def make(number: int = 0) -> Growing:
        folder = tmp_path / str(number)
        folder.mkdir()
        return Growing(books.sqlite(folder / "book.db"), folder / "lake")

    return make


def test_every_check_is_reached(growing: Callable[..., Growing]) -> None:
    REACHED.clear()
    one = growing()
    one.authorise(8)
    one.hour([99.0, 99.0, 99.0])  # two fit under the ceiling, and into the quota; the third is asked about
    one.carry()
    assert REACHED["grown"] == 2
    (asked,) = (which for which in one.machines if one.town.has(which) == FOUR)
    one.town.revoke(one.authorised.pop()[0])
    one.reply(asked, Answer.AGREE)
    for _ in range(6):
        one.town.city.advance()
        one.carry("reply lost")
        one.carry()
    one.comes_to_rest()
    assert REACHED["agreed"] == 1
    assert REACHED["given back"] >= 1


@pytest.mark.parametrize(("ceiling", "grown"), [(4, 1), (7, 1), (8, 2), (16, 2)])
def test_the_ceiling_and_then_the_quota_bound_what_grows_at_once(
    growing: Callable[..., Growing], ceiling: int, grown: int
) -> None:
    REACHED.clear()
    one = growing()
    one.authorise(ceiling)
    for _ in range(3):
        one.hour([99.0, 99.0, 99.0])
        one.carry()
    assert REACHED["grown"] == grown
    one.comes_to_rest()
    assert REACHED["given back"] == grown


def test_what_the_pool_has_no_more_bounds_what_grows(growing: Callable[..., Growing]) -> None:
    REACHED.clear()
    one = growing()
    one.authorise(16)
    assert one.pool.shrink(4)
    for _ in range(3):
        one.hour([99.0, 99.0, 99.0])
        one.carry()
    assert (REACHED["grown"], sum(one.town.has(which)[VCPU] for which in one.machines)) == (1, one.pool.vcpu)
    assert not one.pool.shrink(2), "it is used"
    one.comes_to_rest()
    assert one.pool.shrink(4), "what was given back is the department's again"


@pytest.mark.parametrize("seed", range(6))
def test_walks(growing: Callable[..., Growing], seed: int) -> None:
    one, draw = growing(), Random(seed)
    one.authorise(draw.choice([4, 8]))
    one.hour([99.0, 99.0, 99.0])
    for _ in range(30):
        one.anything(draw.randrange(2**32))
    one.comes_to_rest()


@settings(max_examples=6, database=None)
@given(seeds=st.lists(st.integers(0, 2**32 - 1), min_size=4, max_size=20))
def test_hypothesis_finds_no_order_that_breaks_a_bound(
    tmp_path_factory: pytest.TempPathFactory, seeds: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("growing")
    one = Growing(books.sqlite(folder / "book.db"), folder / "lake")
    for seed in seeds:
        one.anything(seed)
    one.comes_to_rest()
