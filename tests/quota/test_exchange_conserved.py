"""Whatever people do with market and conversions, in whatever order: nothing is given twice, nothing is lost, and what an architecture
has more the other has less, by worth."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import func, select

from quota.actors import steward
from quota.calendar import ZONE
from quota.db import Book
from quota.errors import Refused
from quota.exchange import (
    ConversionTerms,
    OfferWay,
    QuotaClaim,
    QuotaOffer,
    conversions,
    market,
)
from quota.exchange.conversions import Conversion
from quota.ledger import OWNED, Account, Holder, Side, entries, lending, tree
from quota.units import VCPU
from tests import books
from tests.city import TOWN, City
from tests.quota.conftest import CPU
from tests.quota.test_conversions import WEIGHTS, X86
from tests.quota.test_conversions import ruled as weighed
from tests.quota.test_market import ruled

DEPARTMENTS = st.sampled_from(["bureau", "branch", "neighbour"])
CREDIT = 25
TERMS = ConversionTerms(WEIGHTS, CREDIT)


class Exchange(RuleBasedStateMachine):
    """Quota used and released, offered, asked for, agreed to, moved, taken back, converted there and back; days that pass."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="guanjia-exchange-"))
        self.now = datetime(2026, 6, 1, 2, 0, tzinfo=UTC)
        self.city = City(Book(books.sqlite(self.home / "book.db"), clock=lambda: self.now), plan=TOWN)
        self.acts = 0
        ruled(self.city)
        weighed(self.city, credit=CREDIT)
        with self.city.book.transaction(steward()) as tx:
            for pool, cls, amount in ((self.city.arm, CPU, 50), (self.city.x86, X86, 40)):
                for name in ("bureau", "neighbour"):
                    entries.grant(tx, pool, self.city.named[name], {cls: amount}, key=f"{pool} {name}")
        self.worth = self.owned_worth()

    def teardown(self) -> None:
        self.city.prove()
        self.city.book.dispose()
        shutil.rmtree(self.home, ignore_errors=True)

    def owned_worth(self) -> int:
        """What all departments together hold, by worth."""
        with self.city.book.reading() as tx:
            held = select(func.sum(Account.balance)).where(
                Account.kind == VCPU, Account.holder.in_([one.value for one in OWNED])
            )
            arm = tx.scalar(held.where(Account.pool_id == self.city.arm)) or 0
            x86 = tx.scalar(held.where(Account.pool_id == self.city.x86)) or 0
        return int(arm) * TERMS.worth(CPU, True) + int(x86) * TERMS.worth(X86, False)

    def key(self) -> str:
        self.acts += 1
        return f"k{self.acts}"

    def tried(self, verb: Any, *args: Any, **more: Any) -> None:
        """The authority may do all of it; what is refused changes nothing, which the invariants see."""
        try:
            with self.city.book.transaction(self.city.people["chief"]) as tx:
                verb(tx, *args, **more)
        except Refused:
            pass

    def some(self, model: Any, number: int) -> tuple[int, int] | None:
        """(id, generation) of one of the rows there are."""
        with self.city.book.reading() as tx:
            rows = tx.execute(select(model.id, model.generation).order_by(model.id)).all()
        return (rows[number % len(rows)].id, rows[number % len(rows)].generation) if rows else None

    def day(self, days: int) -> Any:
        return self.now.astimezone(ZONE).date() + timedelta(days=days)

    @rule(whose=DEPARTMENTS, way=st.sampled_from(list(OfferWay)), amount=st.integers(1, 40), days=st.integers(0, 9))
    def publish(self, whose: str, way: OfferWay, amount: int, days: int) -> None:
        self.tried(
            market.publish, way, self.city.named[whose], self.city.arm, CPU, amount, until=self.day(days + 3),
            open_until=self.day(days), reason="推迟", key=self.key(),
        )  # fmt: skip

    @rule(number=st.integers(0, 9), whose=DEPARTMENTS, amount=st.integers(1, 30))
    def ask(self, number: int, whose: str, amount: int) -> None:
        if found := self.some(QuotaOffer, number):
            self.tried(market.ask, found[0], self.city.named[whose], amount, reason="急用", key=self.key())

    @rule(number=st.integers(0, 20), verb=st.sampled_from(["agree", "confirm", "refuse", "withdraw"]))
    def answer(self, number: int, verb: str) -> None:
        if found := self.some(QuotaClaim, number):
            more = {"reason": "不便"} if verb == "refuse" else {}
            self.tried(getattr(market, verb), found[0], generation=found[1], **more)

    @rule(number=st.integers(0, 9))
    def close(self, number: int) -> None:
        if found := self.some(QuotaOffer, number):
            self.tried(market.close, found[0], generation=found[1], reason="自用")

    @rule(whose=DEPARTMENTS, there=st.booleans(), amount=st.integers(1, 60))
    def convert(self, whose: str, there: bool, amount: int) -> None:
        city = self.city
        source, target = ((city.arm, CPU), city.x86) if there else ((city.x86, X86), city.arm)
        self.tried(conversions.ask, city.named[whose], source, target, amount, reason="改版", key=self.key())

    @rule(number=st.integers(0, 9))
    def carry_out(self, number: int) -> None:
        if found := self.some(Conversion, number):
            self.tried(conversions.carry_out, found[0], generation=found[1])

    @rule(whose=DEPARTMENTS, amount=st.integers(1, 30), back=st.booleans())
    def use(self, whose: str, amount: int, back: bool) -> None:
        holder = Holder.USED if back else Holder.GRANTED
        with self.city.book.transaction(steward()) as tx:
            department = self.city.named[whose]
            take = min(amount, entries.balance(tx, Side(self.city.arm, CPU, holder, department)))
            if take:
                verb = entries.release if back else entries.use
                verb(tx, self.city.arm, department, {CPU: take}, key=self.key())

    @rule(days=st.integers(1, 6))
    def wait(self, days: int) -> None:
        self.now += timedelta(days=days)
        with self.city.book.transaction(steward()) as tx:
            lending.settle(tx)
            market.lapse(tx)

    @invariant()
    def both_books_agree(self) -> None:
        with self.city.book.reading() as tx:
            assert entries.conserved(tx)
            assert [*tree.check(tx), *conversions.check(tx)] == []
        assert self.owned_worth() == self.worth

    @invariant()
    def nothing_is_promised_twice(self) -> None:
        with self.city.book.reading() as tx:
            for one in tx.query(QuotaOffer):
                agreed = select(func.sum(QuotaClaim.agreed)).where(
                    QuotaClaim.offer_id == one.id, QuotaClaim.state.in_(["agreed", "done"])
                )
                assert (tx.scalar(agreed) or 0) == one.taken <= one.amount


TestExchange = pytest.mark.slow(Exchange.TestCase)
TestExchange.settings = settings(
    max_examples=3, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
