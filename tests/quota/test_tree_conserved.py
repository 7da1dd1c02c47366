"""Whatever people do with the tree, its periods and loans, in whatever order: nothing is given twice, nothing is lost, and what runs
goes on running."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from quota.actors import steward
from quota.calendar import ZONE
from quota.db import Book
from quota.directory import Adjustment, departments, reorganisations
from quota.errors import Refused
from quota.ledger import ShareAct, ShareOrder, allotments, entries, expiry, lending, shares, tree
from quota.ledger.allocations import OPEN, Allocation
from quota.ledger.allotments import Act, Allotment
from quota.ledger.tables import Holder, Side
from tests import books
from tests.city import City
from tests.quota.conftest import CPU
from tests.quota.test_tree import DISTRICT, founded

NODES = st.sampled_from(list(DISTRICT.departments))
AMOUNTS = st.integers(1, 60)
SYSTEMS = st.integers(0, 3)
ENDS = st.none() | st.integers(0, 20)


class Tree(RuleBasedStateMachine):
    """Quota granted, shared out, taken back, moved, lent, used, released, ended, and departments that change their place."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="guanjia-tree-"))
        self.now = datetime(2026, 6, 1, 2, 0, tzinfo=UTC)
        book = Book(books.sqlite(self.home / "book.db"), clock=lambda: self.now)
        self.city: City = founded(book)
        with book.transaction(steward()) as tx:
            self.systems = [
                departments.enter(tx, f"s{n}", self.city.named[node], {"name": f"系统{n}"}).id
                for n, node in enumerate(("district", "bureau1", "bureau1", "bureau2"))
            ]
        self.used = dict.fromkeys(DISTRICT.departments, 0)
        self.acts = 0

    def teardown(self) -> None:
        self.city.prove()
        self.city.book.dispose()
        shutil.rmtree(self.home, ignore_errors=True)

    def key(self) -> str:
        self.acts += 1
        return f"k{self.acts}"

    def balance(self, node: str, holder: Holder) -> int:
        with self.city.book.reading() as tx:
            return entries.balance(tx, Side(self.city.arm, CPU, holder, self.city.named[node]))

    @rule(act=st.sampled_from(list(Act)), node=NODES, other=NODES, amount=AMOUNTS, days=ENDS)
    def deal(self, act: Act, node: str, other: str, amount: int, days: int | None) -> None:
        """The authority may do all of it; what is refused changes nothing, which the invariants see."""
        ends = None
        if days is not None and act in (Act.GRANT, Act.SHARE):
            ends = self.now.astimezone(ZONE).date() + timedelta(days=days)
        what = Allotment(act, self.city.arm, CPU, self.city.named[node], amount, "统筹", self.city.named[other], ends)
        try:
            with self.city.book.transaction(self.city.people["chief"]) as tx:
                allotments.carry_out(tx, what, key=self.key())
        except Refused:
            pass

    @rule(act=st.sampled_from(list(ShareAct)), of=SYSTEMS, to=SYSTEMS, amount=AMOUNTS)
    def deal_with_systems(self, act: ShareAct, of: int, to: int, amount: int) -> None:
        what = ShareOrder(act, self.systems[of], self.city.arm, CPU, amount, "统筹", self.systems[to])
        try:
            with self.city.book.transaction(self.city.people["chief"]) as tx:
                shares.carry_out(tx, what, key=self.key())
        except Refused:
            pass

    @rule(of=SYSTEMS, amount=AMOUNTS, posted=st.integers(0, 60))
    def draw(self, of: int, amount: int, posted: int) -> None:
        """A request of the system: held out of its share, then granted in part, or not."""
        with self.city.book.transaction(steward()) as tx:
            row = shares.share(tx, self.systems[of], self.city.arm, CPU)
            take = min(amount, shares.unused(tx, row)) if row is not None else 0
            if row is None or not take:
                return
            node, key, posted = row.system.department_id, self.key(), min(posted, take)
            holds = entries.hold(
                tx, self.city.arm, node, {CPU: take}, key=key, subject=key,
                source=Holder.SHARED, target=Holder.USED, share_ids={CPU: row.id},
            )  # fmt: skip
            if posted:
                entries.post(tx, holds, {CPU: posted}, key=f"{key}/post")
            else:
                entries.void(tx, holds, key=f"{key}/void")
        self.used[next(name for name in DISTRICT.departments if self.city.named[name] == node)] += posted

    @rule(lender=NODES, borrower=NODES, amount=AMOUNTS, days=st.integers(1, 20))
    def lend(self, lender: str, borrower: str, amount: int, days: int) -> None:
        try:
            with self.city.book.transaction(self.city.people["chief"]) as tx:
                loan = lending.offer(
                    tx, self.city.arm, CPU, amount, self.city.named[lender], self.city.named[borrower],
                    days=days, guaranteed_days=0, notice_days=0, reason="互助", key=self.key(),
                )  # fmt: skip
                lending.accept(tx, loan.id, generation=loan.generation)
        except Refused:
            pass

    @rule(node=NODES, amount=AMOUNTS)
    def use(self, node: str, amount: int) -> None:
        take = min(amount, self.balance(node, Holder.GRANTED))
        if take:
            with self.city.book.transaction(steward()) as tx:
                entries.use(tx, self.city.arm, self.city.named[node], {CPU: take}, key=self.key())
            self.used[node] += take

    @rule(node=NODES, amount=AMOUNTS)
    def release(self, node: str, amount: int) -> None:
        """What falls free goes to the city as far as it is the department's own, as a reclaim does it."""
        give = min(amount, self.used[node])
        if not give:
            return
        with self.city.book.transaction(steward()) as tx:
            where = self.city.arm, self.city.named[node]
            own = lending.spare(tx, *where, {CPU: give}).get(CPU, 0)
            if own:
                entries.reclaim(tx, *where, {CPU: own}, key=self.key())
            if give - own:
                entries.release(tx, *where, {CPU: give - own}, key=self.key())
        self.used[node] -= give

    @rule(days=st.integers(1, 12))
    def wait(self, days: int) -> None:
        self.now += timedelta(days=days)
        with self.city.book.transaction(steward()) as tx:
            lending.settle(tx)
            expiry.settle(tx)

    @rule(node=NODES, other=NODES)
    def place(self, node: str, other: str) -> None:
        try:
            with self.city.book.transaction(self.city.people["chief"]) as tx:
                reorganisations.reorganise(
                    tx,
                    Adjustment.PARENT,
                    self.city.named[node],
                    self.city.named[other],
                    reason="机构改革",
                    key=self.key(),
                )
        except Refused:
            pass

    @invariant()
    def every_level_is_conserved(self) -> None:
        with self.city.book.reading() as tx:
            assert entries.conserved(tx)
            assert list(tree.check(tx)) == []

    @invariant()
    def what_runs_goes_on_running(self) -> None:
        for node, amount in self.used.items():
            assert self.balance(node, Holder.USED) == amount

    @invariant()
    def who_gave_stands_above(self) -> None:
        with self.city.book.reading() as tx:
            for one in tx.query(Allocation).filter(Allocation.state.in_(OPEN), Allocation.giver_id.is_not(None)):
                assert one.giver_id in departments.above(tx, one.receiver_id)


TestTree = pytest.mark.slow(Tree.TestCase)
TestTree.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
