"""Conversion between architectures: equal worth or nothing, what does not divide stays, and the database itself holds the proof."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from quota.actors import steward
from quota.calendar import ZONE
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, OverCapacity, Refused, WrongState
from quota.exchange import Conversion, ConversionState, ConversionTerms, ExchangeSubject, conversions, rules
from quota.ledger import Holder, Side, balance, entries
from quota.units import BLOCK, MEMORY, VCPU, Arch, Commodity
from tests.city import GB, City
from tests.quota.conftest import CPU, MEM
from tests.quota.test_market import DEPUTY

X86 = Commodity(VCPU, Arch.X86_64)
WEIGHTS = {X86: 100, CPU: 80}


def ruled(town: City, weights: Mapping[Commodity, int] = WEIGHTS, credit: int = 0) -> None:
    with town.book.transaction(town.people["chief"]) as tx:
        day = tx.now.astimezone(ZONE).date()
        terms = ConversionTerms(dict(weights), credit)
        row = rules.draft(tx, ExchangeSubject.CONVERSION, terms, effective_from=day, reason="统筹办法第九条")
    with town.book.transaction(DEPUTY) as tx:
        rules.sign(tx, row.id)


@pytest.fixture
def rich(town: City) -> City:
    """The bureau has 40 vCPU of aarch64 that it does not use; 4 of x86_64 are worth 5 of them."""
    town.grant({CPU: 40, MEM: 40 * GB}, "rich")
    ruled(town)
    return town


def asked(town: City, amount: int = 22, by: str = "clerk", cls: Commodity = CPU, **other: Any) -> Conversion:
    said = {"reason": "系统改版,只支持 x86", "key": f"k{amount}"} | other
    with town.book.transaction(town.people[by]) as tx:
        source, target = (town.arm, town.x86) if cls.arch is Arch.AARCH64 else (town.x86, town.arm)
        return conversions.ask(tx, town.bureau, (source, cls), said.pop("target", target), amount, **said)


def act(town: City, by: str, verb: Any, one: Conversion, **other: Any) -> Conversion:
    with town.book.transaction(town.people[by]) as tx:
        return verb(tx, one.id, generation=tx.get_one(Conversion, one.id).generation, **other)


def has(town: City, pool: int, cls: Commodity, holder: Holder = Holder.GRANTED) -> int:
    town.prove()
    with town.book.reading() as tx:
        assert list(conversions.check(tx)) == []
        return balance(tx, Side(pool, cls, holder, town.bureau if holder is Holder.GRANTED else None))


def test_what_divides_is_converted_and_the_rest_stays(rich: City) -> None:
    done = act(rich, "chief", conversions.carry_out, asked(rich, 22))
    assert (done.state, done.given, done.received) == (ConversionState.DONE, 20, 16)
    assert (has(rich, rich.arm, CPU), has(rich, rich.x86, X86)) == (20, 16)
    assert (has(rich, rich.arm, CPU, Holder.FREE), has(rich, rich.x86, X86, Holder.FREE)) == (180, 84)


def test_what_was_converted_comes_back_whole(rich: City) -> None:
    ruled(rich, credit=25)  # a unit outside 信创 counts for 125 per cent
    done = act(rich, "chief", conversions.carry_out, asked(rich, 25))
    assert (done.given, done.received) == (25, 16)
    back = act(rich, "chief", conversions.carry_out, asked(rich, 16, cls=X86))
    assert (back.given, back.received) == (16, 25)
    assert (has(rich, rich.arm, CPU), has(rich, rich.x86, X86)) == (40, 0)


def test_memory_is_converted_in_whole_gigabytes(rich: City) -> None:
    other = Commodity(MEMORY, Arch.X86_64)
    ruled(rich, WEIGHTS | {MEM: 3, other: 2})
    done = act(rich, "chief", conversions.carry_out, asked(rich, 5 * GB + 512, cls=MEM))
    assert (done.given, done.received) == (4 * GB, 6 * GB)


def test_what_cannot_be_converted_is_refused(rich: City) -> None:
    refusals: list[tuple[dict[str, Any], type[Refused], str]] = [
        ({"amount": 4}, Invalid, "conversion.part"),
        ({"amount": 0}, Invalid, "transfer.amount"),
        ({"amount": 45}, OverCapacity, "capacity.short"),
        ({"cls": MEM}, Invalid, "exchange.weightless"),
        ({"cls": Commodity(BLOCK, Arch.ANY), "target": rich.x86}, Invalid, "exchange.no_arch"),
        ({"target": rich.arm}, Invalid, "conversion.same"),
        ({"reason": ""}, Invalid, "reason.missing"),
        ({"by": "stranger"}, NotAllowed, "conversion.not_yours"),
    ]
    for change, refused, code in refusals:
        with pytest.raises(refused) as told:
            asked(rich, **change)
        assert told.value.code == code
    with rich.book.reading() as tx:
        assert tx.query(Conversion).count() == 0


def test_nothing_is_converted_without_a_rule_nor_beyond_what_is_free(town: City) -> None:
    town.grant({CPU: 190}, "rich")
    with pytest.raises(WrongState, match=r"exchange\.no_weights"):
        asked(town)
    ruled(town)
    with pytest.raises(OverCapacity, match=r"capacity\.short"):  # 190 are worth 152 of the 100 that there are
        asked(town, 190)


def test_what_the_rule_and_the_accounts_say_on_the_day_counts(rich: City) -> None:
    one = asked(rich, 40)
    with rich.book.transaction(steward()) as tx:
        entries.use(tx, rich.arm, rich.bureau, {CPU: 15}, key="use")
    with pytest.raises(OverCapacity, match=r"capacity\.short"):
        act(rich, "chief", conversions.carry_out, one)
    other = asked(rich, 20, key="less")
    ruled(rich, {X86: 100, CPU: 50})
    done = act(rich, "chief", conversions.carry_out, other)
    assert (done.given, done.received) == (20, 10)


def test_who_may_decide_and_who_may_see(rich: City) -> None:
    one = asked(rich)
    for verb, more in ((conversions.carry_out, {}), (conversions.refuse, {"reason": "先用空闲"})):
        with pytest.raises(NotAllowed, match=r"role\.missing"):
            act(rich, "clerk", verb, one, **more)
    with pytest.raises(NotFound):
        act(rich, "stranger", conversions.withdraw, one)
    with rich.book.transaction(rich.people["chief"]) as tx, pytest.raises(Conflict, match=r"conversion\.stale"):
        conversions.carry_out(tx, one.id, generation=9)
    assert act(rich, "clerk", conversions.withdraw, one).state == ConversionState.WITHDRAWN
    with pytest.raises(WrongState, match=r"conversion\.decided"):
        act(rich, "chief", conversions.carry_out, one)


def test_the_same_key_is_the_same_conversion(rich: City) -> None:
    assert asked(rich).id == asked(rich).id
    with pytest.raises(Conflict, match=r"key\.reused"):
        asked(rich, 30, key="k22")


def test_the_database_refuses_what_is_not_worth_the_same_and_the_proof_finds_it(rich: City) -> None:
    done = act(rich, "chief", conversions.carry_out, asked(rich, 20))
    with pytest.raises(IntegrityError), rich.book.transaction(steward()) as tx:
        tx.get_one(Conversion, done.id).received = 17
    with rich.book.transaction(steward()) as tx:
        row = tx.get_one(Conversion, done.id)
        row.given, row.received = 10, 8
    with rich.book.reading() as tx:
        assert [one.split(" is not")[0] for one in conversions.check(tx)] == [f"quota_conversions: row {done.id}"]


@pytest.mark.parametrize(
    ("weights", "credit", "code"),
    [
        ({X86: 100}, 0, "exchange.pair"),
        ({X86: 100, MEM: 80}, 0, "exchange.pair"),
        ({X86: 0, CPU: 80}, 0, "exchange.weight"),
        ({X86: 1001, CPU: 80}, 0, "exchange.weight"),
        (WEIGHTS, 101, "exchange.credit"),
        (WEIGHTS, -1, "exchange.credit"),
        ({Commodity(BLOCK, Arch.ANY): 1, X86: 1, CPU: 1}, 0, "exchange.no_arch"),
    ],
)
def test_a_rule_that_cannot_be_applied_is_refused(weights: dict[Commodity, int], credit: int, code: str) -> None:
    with pytest.raises(Invalid, match=code.replace(".", r"\.")):
        ConversionTerms(weights, credit).sound()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 1000),
    st.integers(1, 1000),
    st.integers(0, 100),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10**13),
)
def test_a_round_trip_neither_gains_nor_loses(
    one: int, other: int, credit: int, xinchuang: bool, too: bool, amount: int
) -> None:
    terms = ConversionTerms({X86: one, CPU: other}, credit)
    source, target = (X86, xinchuang), (CPU, too)
    there = terms.convert(source, target, amount)
    assert there.given + there.stays == amount
    assert there.given * terms.worth(*source) == there.received * terms.worth(*target)
    assert there.stays < there.received_worth  # no more stays than does not make one more step
    back = terms.convert(target, source, there.received)
    assert (back.given, back.received, back.stays) == (there.received, there.given, 0)
