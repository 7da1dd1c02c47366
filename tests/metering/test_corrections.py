"""Corrections of closed months: those of which something changed are reckoned again, and no other one needs it."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pyarrow as pa
import pytest
from sqlalchemy import select

from metering import memory
from metering.statements import closings, corrections, reckoning_inputs, settling, statements
from metering.statements.tables import CORRECTION
from providers import observation
from providers.base import Inventory, ResourceFact, ResourceState, ServiceKind
from providers.billing.bills import month_bounds
from quota import inventory
from quota.actors import steward
from quota.calendar import ZONE
from quota.directory import pools
from quota.directory.catalog import offer
from quota.inventory import Resource
from quota.units import MEMORY, VCPU, Arch
from tests.city import GB, STATEMENTS, City
from tests.metering.test_statements import AUTHORITY, SUPERVISOR

MACHINES = ("web", "db", "job")


class Past(City):
    """A city whose months go by; what may happen to the evidence of a month happens by chance."""

    def __init__(self, book, home, clock, seed):
        super().__init__(book, clock, STATEMENTS, home)
        self.dice = random.Random(seed)
        self.shape = dict.fromkeys(MACHINES, 4)
        self.off: set[str] = set()
        self.stopped: dict[str, object] = {}
        self.arch = dict.fromkeys(MACHINES, Arch.AARCH64)
        self.there = set(MACHINES)
        self.first = date(2026, 1, 1)
        clock.now = self.start("2026-01") + timedelta(hours=1)
        with book.transaction(steward()) as tx:
            self.item = offer(tx, "big", "大型", "vm", {VCPU: 4}, [Arch.AARCH64]).id
        self.survey()
        self.price(VCPU, "46")
        self.price(VCPU, "40", arch=Arch.X86_64)
        self.price(MEMORY, "18")

    @staticmethod
    def start(month):
        return month_bounds(month)[0]

    def survey(self):
        """A complete listing, as of now."""
        now = self.clock.advance(seconds=1)
        facts = [
            ResourceFact(
                name, name, ServiceKind.VM, self.arch[name], {VCPU: self.shape[name], MEMORY: 8 * GB},
                ResourceState.STOPPED if name in self.off else ResourceState.RUNNING, "d1",
                created_at=self.start("2026-01"), stopped_at=self.stopped.get(name),
            )
            for name in sorted(self.there)
        ]  # fmt: skip
        with self.book.transaction(steward()) as tx:
            observation.observe(tx, tx.get_one(pools.Pool, self.pools["jia"]), Inventory(now, facts, True))

    def samples(self, name, day, hours):
        """A live sample in some hours of a day, whatever month it lies in."""
        with self.book.reading() as tx:
            one = tx.scalar(select(Resource.id).where(Resource.external_id == name))
        midnight = month_bounds(f"{day:%Y-%m}")[0] + timedelta(days=day.day - 1)
        ts = [int((midnight + timedelta(hours=hour)).timestamp()) for hour in hours]
        figures = [self.dice.uniform(5, 60) for _ in ts]
        self.lake.append(
            f"agent{self.dice.randrange(2)}", pa.table({"resource": [one] * len(ts), "ts": ts, "cpu_pct": figures})
        )
        self.lake.roll()

    def some_day(self):
        """A day from January until yesterday."""
        days = (self.clock.now.astimezone(ZONE).date() - self.first).days
        return self.first + timedelta(days=self.dice.randrange(max(days, 1)))

    # ------------------------------------------------------------------------------------------- what may happen

    def late(self):
        self.samples(self.dice.choice(MACHINES), self.some_day(), self.dice.sample(range(24), 5))

    def tariff(self):
        kind = self.dice.choice([VCPU, MEMORY])
        more = self.dice.choice([{}, {"catalog_item_id": self.item}, {"arch": Arch.X86_64}]) if kind == VCPU else {}
        self.price(kind, str(self.dice.randrange(10, 99)), self.some_day(), reason="更正", **more)

    def tariff_to_come(self):
        self.price(VCPU, str(self.dice.randrange(10, 99)), self.clock.now.date() + timedelta(days=400), reason="预告")

    def resize(self):
        self.shape[self.dice.choice(MACHINES)] = self.dice.choice([2, 4, 8])
        self.survey()

    def switch(self):
        """Off, since a moment that lies a while back; or on again."""
        name = self.dice.choice(MACHINES)
        self.off ^= {name}
        self.stopped[name] = self.clock.now - timedelta(days=self.dice.randrange(40)) if name in self.off else None
        self.survey()

    def go_or_come(self):
        self.there ^= {self.dice.choice(MACHINES)}
        self.survey()

    def chip(self):
        name = self.dice.choice(MACHINES)
        self.arch[name] = Arch.X86_64 if self.arch[name] is Arch.AARCH64 else Arch.AARCH64
        self.survey()

    def ordered(self):
        """An order turns out to have made a machine from an item of the catalogue."""
        with self.book.transaction(steward()) as tx:
            one = tx.scalars(select(Resource).order_by(Resource.id).offset(self.dice.randrange(3)).limit(1)).one()
            if not one.basis:
                inventory.arrive(
                    tx, one.pool, one.external_id, at=tx.now, source=f"order:{one.id}", kind=ServiceKind.VM,
                    approved={VCPU: 4}, has={VCPU: 4}, department_id=one.department_id,
                    system_id=None, name=one.name, catalog_item_id=self.item,
                )  # fmt: skip

    def found_late(self):
        """A machine that ran all the time and that no listing showed before."""
        name = f"found{self.dice.randrange(10**6)}"
        with self.book.transaction(steward()) as tx:
            made = month_bounds(f"{self.some_day():%Y-%m}")[0] + timedelta(days=self.dice.randrange(20))
            fact = ResourceFact(
                name, name, ServiceKind.VM, Arch.AARCH64, {VCPU: 2}, ResourceState.RUNNING, "d2", created_at=made
            )
            pool = tx.get_one(pools.Pool, self.pools["yi"])
            observation.observe(tx, pool, Inventory(self.clock.advance(seconds=1), [fact], False))

    def day(self):
        self.clock.advance(hours=self.dice.choice([6, 24, 24]))
        self.survey()

    def rebuild(self):
        if days := self.lake.days():
            self.lake.rebuild(self.dice.choice(days))

    def following(self):
        with self.book.reading() as tx:
            return closings.corrected_in(tx) or "2026-01"

    def make(self, month=None):
        return statements.make(self.works, month or self.following(), actor=SUPERVISOR)

    def close_month(self):
        """Close the next month, now and then without looking again first."""
        month = self.following()
        self.clock.now = max(self.clock.now, month_bounds(month)[1] + timedelta(hours=self.dice.choice([1, 30])))
        self.survey()
        run = self.make(month)
        if self.dice.random() < 0.3:
            self.late()
        if self.dice.random() < 0.5:
            statements.settle(self.works, month, run_id=run.id, actor=AUTHORITY)
        else:
            self.close(run)
            if self.dice.random() < 0.5:
                settling.seal(self.works)


def weighed(past):
    """The months to be corrected, those that are taken up, and the lines of all of them and of these."""
    with past.book.reading() as tx:
        months = corrections.months(tx, past.following())
        taken = corrections.changed(tx, reckoning_inputs.digests(tx, past.lake, months))
        return months, taken, corrections.lines(tx, past.lake, months), corrections.lines(tx, past.lake, taken)


@pytest.mark.parametrize("seed", range(3))
def test_no_month_that_is_passed_over_has_a_correction(book, tmp_path, clock, seed):
    past = Past(book, tmp_path, clock, seed)
    happens = [
        past.late, past.late, past.tariff, past.tariff_to_come, past.resize, past.switch, past.go_or_come, past.chip,
        past.ordered, past.found_late, past.day, past.rebuild, past.make, past.close_month, past.close_month,
    ]  # fmt: skip
    past.close_month()
    passed_over = corrected = 0
    for step in range(20):
        what = past.dice.choice(happens)
        what()
        months, taken, whole, some = weighed(past)
        assert some == whole, f"after step {step}, {what.__name__}: {set(months) - set(taken)} passed over"
        passed_over += len(months) - len(taken)
        corrected += bool(whole)
    assert passed_over > 5, "months are passed over at all"
    assert corrected > 2, "and there is something to correct"


def test_a_month_is_taken_up_until_a_closed_run_has_billed_it(book, tmp_path, clock):
    past = Past(book, tmp_path, clock, 7)
    for _ in range(3):
        past.close_month()
    past.dice = random.Random(1)
    past.make()
    closing = weighed(past)[1]
    past.clock.advance(days=2)
    past.survey()
    past.make()
    run = past.make()
    past.clock.now = month_bounds(run.month)[1] + timedelta(days=2)
    past.survey()
    run = past.make()
    past.close(run)
    months, taken, whole, _some = weighed(past)
    assert len(months) == 4
    assert (taken, whole) == ([], []), f"at first {closing}"
    past.tariff_to_come()
    assert weighed(past)[1] == []
    past.samples("web", date(2026, 2, 27), [3])
    assert weighed(past)[1] == ["2026-02"]
    past.price(MEMORY, "19", date(2026, 3, 15), reason="更正")
    assert weighed(past)[1] == ["2026-02", "2026-03", "2026-04"]
    past.clock.now = month_bounds(past.following())[1] + timedelta(days=2)
    past.survey()
    run = past.make()
    assert {one.corrects for one in past.lines(run) if one.charge == CORRECTION} == {"2026-02", "2026-03", "2026-04"}
    assert weighed(past)[1] == ["2026-02", "2026-03", "2026-04"], "billed only when it is closed"
    assert statements.make(past.works, run.month, afresh=True, actor=SUPERVISOR).id == run.id
    past.close(run)
    assert weighed(past)[1] == []


def test_a_run_from_before_this_was_noted_is_reckoned_again(book, tmp_path, clock):
    """Closed runs of an older release say nothing of what they follow from."""
    past = Past(book, tmp_path, clock, 3)
    past.close_month()
    with past.book.reading() as tx:
        assert corrections.changed(tx, {"2026-01": "another", "2025-12": "unheard of"}) == ["2026-01", "2025-12"]
        digests = reckoning_inputs.digests(tx, past.lake, ["2026-01"])
        with memory.uncollected():
            assert reckoning_inputs.digests(tx, past.lake, ["2026-01"]) == digests


def test_whatever_tells_something_of_a_closed_month_has_it_taken_up(book, tmp_path, clock):
    """One thing after another, each billed before the next: what changes figures of months also has them taken up."""
    past = Past(book, tmp_path, clock, 5)
    past.price(VCPU, "99", catalog_item_id=past.item)
    past.stopped = {}

    def item():
        with past.book.transaction(steward()) as tx:
            one = tx.scalars(select(Resource).where(Resource.external_id == "web")).one()
            inventory.arrive(
                tx, one.pool, "web", at=tx.now, source="order:1", kind=ServiceKind.VM, approved={VCPU: 4},
                has={VCPU: 4}, department_id=one.department_id, system_id=None, name="web",
                catalog_item_id=past.item,
            )  # fmt: skip

    def stop():
        """Learnt by a listing of today: the machine has been off for weeks."""
        past.off = {"db"}
        past.stopped["db"] = past.clock.now - timedelta(days=20)
        past.survey()

    def chip():
        past.arch["job"] = Arch.X86_64
        past.survey()

    def samples():
        past.samples("db", month_bounds(month)[0].astimezone(ZONE).date() + timedelta(days=9), [4, 5])

    def price():
        past.price(MEMORY, "17", past.start(month).astimezone(ZONE).date() + timedelta(days=9), reason="更正")

    def company():
        """The pool is another company's, whose prices are other ones."""
        with past.book.transaction(steward()) as tx:
            tx.get_one(pools.Pool, past.pools["jia"]).provider_id = 2

    past.price(VCPU, "41", provider_id=2, arch=Arch.AARCH64)
    for happens in (item, stop, chip, samples, price, company):
        month = past.following()
        past.clock.now = month_bounds(month)[1] + timedelta(days=3)
        past.samples("web", past.clock.now.date() - timedelta(days=8), range(24))
        past.samples("job", past.clock.now.date() - timedelta(days=8), range(24))
        statements.settle(past.works, month, run_id=past.make(month).id, actor=AUTHORITY)
        assert weighed(past)[1:3] == ([], []), f"before {happens.__name__}"
        happens()
        _months, taken, whole, some = weighed(past)
        assert month in {one["corrects"] for one in whole}, happens.__name__
        assert {one["corrects"] for one in whole} <= set(taken)
        assert some == whole
