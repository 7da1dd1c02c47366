"""The four-way line on both databases: causes, amounts, the split of a bill, disputes to their end."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import select

from metering.statements import disputes, reconciliation, statements
from metering.statements.disputes import Dispute, DisputeAnswer, DisputeState
from metering.statements.reconciliation_tables import FourWayLine
from providers import base
from providers.assessment import gathering
from providers.assessment.subjects import company
from providers.base import ServiceKind
from providers.billing import bills
from providers.contracts import ContractTerms, contracts
from quota import inventory
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import departments, pools
from quota.errors import Conflict, Invalid, NotAllowed, NotFound, WrongState
from quota.ledger import capacities, entries
from quota.ledger.tables import Holder, Side
from quota.units import BLOCK, VCPU, Arch, Commodity
from tests.city import STATEMENTS, City
from tests.city.statements import at
from tests.metering.test_statements import AUTHORITY, SUPERVISOR

SECOND = Actor("li", "李", Role.SUPERVISOR)
COMPANY = Actor("zhou", "周", Role.PROVIDER, provider_id=1)
RIVAL = Actor("wu", "吴", Role.PROVIDER, provider_id=2)
FOUR = {VCPU: 4}


@pytest.fixture
def city(book, tmp_path, clock):
    return City(book, clock, STATEMENTS, tmp_path)


@pytest.fixture
def small(city):
    """web: 4 vCPU, adopted, 700 of 720 hours proven; 46 yuan a vCPU and month."""
    with city.book.transaction(steward()) as tx:
        capacities.equip(tx, tx.get_one(pools.Pool, city.pools["jia"]), VCPU, 100, key="equip")
    city.list("jia", at(-1), web=FOUR)
    with city.book.transaction(steward()) as tx:
        inventory.adopt(tx, tx.get_one(pools.Pool, city.pools["jia"]))
        assert entries.balance(tx, Side(city.pools["jia"], Commodity(VCPU, Arch.AARCH64), Holder.FREE)) == 96
    city.report("web", range(700))
    city.price(VCPU, "46")
    return city


def bill(city, *told, pool="jia"):
    """(external id, quantity, cost or None, first hour, last hour) …"""
    lines = [
        base.BillFact(
            "2026-04", name, ServiceKind.VM, VCPU, Arch.AARCH64, Decimal(str(quantity)),
            at(first), at(last), None if cost is None else Decimal(cost),
        )
        for name, quantity, cost, first, last in told
    ]  # fmt: skip
    with city.book.transaction(SUPERVISOR) as tx:
        return bills.take(tx, tx.get_one(pools.Pool, city.pools[pool]), "2026-04", lines, source="test").bill


def compare(city):
    run = reconciliation.reconcile(city.works, city.pools["jia"], "2026-04", actor=SUPERVISOR)
    with city.book.reading() as tx:
        rows = list(tx.scalars(select(FourWayLine).where(FourWayLine.run_id == run.id).order_by(FourWayLine.id)))
        return run, {row.external_id: row for row in rows}


def found(city):
    with city.book.reading() as tx:
        return list(tx.scalars(select(Dispute).order_by(Dispute.id)))


def act(city, actor, verb, dispute, *more, **how):
    with city.book.transaction(actor) as tx:
        return verb(tx, dispute.id, *more, generation=tx.get_one(Dispute, dispute.id).generation, **how)


def test_four_that_agree_are_one_line_without_dispute(small):
    bill(small, ("web", 4 * 720, "184", 0, 720))
    run, rows = compare(small)
    web = rows["web"]
    assert (web.approved, web.enacted, web.metered, web.unmeasured, web.billed) == (2880, 2880, 2800, 80, 2880)
    assert [cause["cause"] for cause in web.causes] == ["unmeasurable"]
    assert (run.billed_fen, run.proven_fen, run.disputed_fen, run.unmeasured_fen) == (18400, 17889, 0, 511)
    assert found(small) == []
    assert compare(small)[0].id == run.id


@pytest.mark.parametrize(
    ("lines", "cause", "fen"),
    [
        ([("web", 8 * 720, None, 0, 720)], "larger_shape", 17889),
        ([("web", 2 * 720, None, 0, 720)], "smaller_shape", -8944),
        ([("web", 2880, None, 0, 720), ("web", 400, None, 0.5, 100.5)], "billed_twice", 2556),
        ([("web", 2880, None, 0, 720), ("ghost", 720, None, 0, 720)], "not_in_inventory", 4600),
        ([("web", 2880, "200.00", 0, 720)], "price", 1600),
        ([("ghost", 720, None, 0, 720)], "not_billed", -17889),
    ],
)
def test_each_difference_has_its_cause_and_amount(small, lines, cause, fen):
    bill(small, *lines)
    run, rows = compare(small)
    told = {one["cause"]: one["fen"] for row in rows.values() for one in row.causes}
    assert told[cause] == fen
    assert (cause, fen) in [(one.cause, one.fen) for one in found(small)]
    assert run.billed_fen == run.proven_fen + run.disputed_fen + run.unmeasured_fen
    assert all(ref.partition(":")[0] in ("resource", "order", "bill_line") for row in rows.values() for ref in row.refs)


def test_a_price_that_changes_within_the_month_is_no_difference(small):
    """Billed by the old price until the fifteenth and by the new one after it, in one line or in two."""
    small.price(VCPU, "92", at(360).astimezone(ZONE).date())
    half = 4 * 360
    for lines in (
        [("web", 2 * half, "276.00", 0, 720)],
        [("web", half, "92.00", 0, 360), ("web", half, "184.00", 360, 720)],
    ):
        bill(small, *lines)
        run, rows = compare(small)
        assert [one["cause"] for one in rows["web"].causes] == ["unmeasurable"]
        assert run.billed_fen == 27600
    bill(small, ("web", 2 * half, "368.00", 0, 720))  # all of it by the new price
    _run, rows = compare(small)
    assert {one["cause"]: one["fen"] for one in rows["web"].causes}["price"] == 9200
    small.price(VCPU, "46.0025", reason="test")  # 92.005 and 184.005: rounded together 276.01, each by itself 276.02
    small.price(VCPU, "92.0025", at(360).astimezone(ZONE).date(), reason="test")
    for cost, told in (("276.01", []), ("276.02", []), ("276.03", [1])):
        bill(small, ("web", 2 * half, cost, 0, 720))
        _run, rows = compare(small)
        assert [one["fen"] for one in rows["web"].causes if one["cause"] == "rounded"] == told


def test_who_held_it_in_the_month_and_who_pays_by_a_contract_may_be_billed(small):
    with small.book.transaction(steward()) as tx:
        for code, name in (("d3", "市财政局"), ("d4", "市水务局")):
            departments.register(tx, code, name)
        web, company_id = small.id("web"), tx.get_one(pools.Pool, small.pools["jia"]).provider_id
        for whose in (1, 2):
            inventory.reassign(tx, [web], whose, source="test")
    terms = ContractTerms(
        number="HT-1",
        name="",
        payer="市财政局",
        first_day=date(2026, 4, 30),
        last_day=date(2026, 12, 31),
        ceiling_fen=1,
    )
    with small.book.transaction(AUTHORITY) as tx:
        contracts.enter(tx, company_id, terms)
    line = base.BillFact(
        "2026-04", "web", ServiceKind.VM, VCPU, Arch.AARCH64, Decimal(2880), at(0), at(720), Decimal("184.00")
    )
    for payer, wrong in (("d1", False), ("d2", False), ("d3", False), ("市财政局", False), ("市水务局", True)):
        with small.book.transaction(SUPERVISOR) as tx:
            bills.take(
                tx, tx.get_one(pools.Pool, small.pools["jia"]), "2026-04", [replace(line, payer=payer)], source=payer
            )
        _run, rows = compare(small)
        assert ("wrong_payer" in [one["cause"] for one in rows["web"].causes]) is wrong, payer


def test_a_credit_is_neither_disputed_nor_unmeasurable(small):
    bill(small, ("web", 2880, "184.00", 0, 720), ("gone", 0, "-50.00", 0, 720))
    run, _rows = compare(small)
    assert (run.billed_fen, run.disputed_fen, run.unmeasured_fen) == (18400 - 5000, 0, 511)
    assert run.proven_fen == 17889 - 5000


def test_what_no_tariff_speaks_of_does_not_vanish_from_the_bill(small):
    """The three parts add up to what the company claims, whatever of it we have a price for."""
    lines = [
        base.BillFact(
            "2026-04", "web", ServiceKind.VM, kind, Arch.AARCH64, Decimal(quantity), at(0), at(720), Decimal(cost)
        )
        for kind, quantity, cost in ((VCPU, 2880, "184.00"), (BLOCK, 720 * 100, "75.30"))
    ]
    with small.book.transaction(SUPERVISOR) as tx:
        bills.take(tx, tx.get_one(pools.Pool, small.pools["jia"]), "2026-04", lines, source="test")
    run, _rows = compare(small)
    assert run.billed_fen == 18400 + 7530
    assert (run.proven_fen, run.unmeasured_fen) == (17889, 511 + 7530)


def test_after_deletion_and_without_approval(small):
    small.list("jia", at(500), web=FOUR, wild={VCPU: 1})
    small.list("jia", at(600), wild={VCPU: 1})
    bill(small, ("web", 2880, None, 0, 720))
    _, rows = compare(small)
    assert {one["cause"] for one in rows["web"].causes} == {"after_deletion", "other_size"}
    assert rows["wild"].approved == 0
    assert "unapproved" in {one["cause"] for one in rows["wild"].causes}


def test_a_bill_that_nobody_handed_in_is_not_compared(small):
    run, rows = compare(small)
    assert (run.bill_id, run.billed_fen, rows["web"].billed) == (None, 0, None)
    assert found(small) == []


def test_a_dispute_goes_from_claim_to_settlement(small):
    bill(small, ("web", 8 * 720, None, 0, 720))
    compare(small)
    (one,) = found(small)
    with pytest.raises(NotFound), small.book.reading(COMPANY) as tx:
        disputes.dispute(tx, one.id)  # not before it is claimed
    act(small, SUPERVISOR, disputes.claim, one, text="账单按 8 核计")
    with pytest.raises(NotFound):
        act(small, RIVAL, disputes.answer, one, DisputeAnswer.ACCEPT, text="")
    with pytest.raises(Invalid):
        act(small, COMPANY, disputes.answer, one, DisputeAnswer.CONTEST, text=" ")
    act(small, COMPANY, disputes.answer, one, DisputeAnswer.ACCEPT, text="规格录入有误")
    with pytest.raises(NotAllowed):
        act(small, SUPERVISOR, disputes.settle, one, fen=17889, text="同意")
    with pytest.raises(Invalid):
        act(small, SECOND, disputes.settle, one, fen=17890, text="同意")
    settled = act(small, SECOND, disputes.settle, one, fen=17889, text="同意核减")
    assert (settled.state, settled.settled_by, settled.settled_fen) == ("settled", "li", 17889)
    with small.book.reading() as tx:
        assert [step.verb for step in disputes.steps(tx, settled)] == ["claim", "accept", "settle"]
    with pytest.raises(WrongState):
        act(small, AUTHORITY, disputes.settle, one, fen=0, text="再议")


def test_a_line_of_two_causes_is_found_under_each_and_the_month_is_one_total(small):
    """5,760 core-hours at 500 yuan: twice the size, and dearer than 368."""
    bill(small, ("web", 2 * 2880, "500.00", 0, 720))
    run, rows = compare(small)
    assert [one["cause"] for one in rows["web"].causes] == ["larger_shape", "unmeasurable", "price"]
    query = select(FourWayLine.external_id).where(FourWayLine.run_id == run.id)
    with small.book.reading() as tx:
        for cause in (reconciliation.has(one) for one in ("larger_shape", "unmeasurable", "price")):
            assert tx.scalars(query.where(cause)).all() == ["web"]
        assert tx.scalars(query.where(reconciliation.has("smaller_shape"))).all() == []
        assert tx.scalars(query.where(reconciliation.differs())).all() == ["web"]
        before = reconciliation.billed_month(tx)
    assert (before.month, before.billed, before.disputed) == ("2026-04", 50000, run.disputed_fen)
    price = next(one for one in found(small) if one.cause == "price")
    act(small, SUPERVISOR, disputes.claim, price, text="单价 46 元")
    act(small, COMPANY, disputes.answer, price, DisputeAnswer.ACCEPT, text="认可")
    act(small, SECOND, disputes.settle, price, fen=10000, text="核减 100 元")
    with small.book.reading() as tx:
        after = reconciliation.billed_month(tx)
    assert (after.billed, after.disputed, after.proven) == (
        40000, before.disputed - price.fen, before.proven + price.fen - 10000,
    )  # fmt: skip


def test_who_does_not_answer_in_time_is_settled_without(small, clock):
    bill(small, ("web", 8 * 720, None, 0, 720))
    compare(small)
    (one,) = found(small)
    act(small, SUPERVISOR, disputes.claim, one, text="账单按 8 核计")
    with pytest.raises(WrongState, match=r"dispute\.early"):
        act(small, SECOND, disputes.settle, one, fen=17889, text="同意核减")
    clock.advance(days=9)
    settled = act(small, SECOND, disputes.settle, one, fen=17889, text="逾期未答复,同意核减")
    assert (settled.state, settled.answer) == ("settled", None)


def test_what_is_billed_for_the_rest_of_a_running_month_is_unproven_not_gone(small, clock):
    bill(small, ("web", 2880, None, 0, 720))
    clock.now = at(600)
    run, rows = compare(small)
    assert {one["cause"] for one in rows["web"].causes} <= {"unmeasurable"}
    assert (rows["web"].enacted, run.disputed_fen) == (2400, 0)
    assert run.billed_fen == run.proven_fen + run.unmeasured_fen


def test_stale_pages_are_refused(small):
    bill(small, ("web", 8 * 720, None, 0, 720))
    compare(small)
    (one,) = found(small)
    with pytest.raises(Conflict), small.book.transaction(SUPERVISOR) as tx:
        disputes.claim(tx, one.id, generation=one.generation + 1)


def test_a_corrected_bill_lets_open_disputes_lapse_and_keeps_claimed_ones(small):
    bill(small, ("web", 8 * 720, None, 0, 720), ("ghost", 720, None, 0, 720))
    compare(small)
    ghost, web = sorted(found(small), key=lambda one: one.external_id)
    act(small, SUPERVISOR, disputes.claim, web)
    bill(small, ("web", 4 * 720, None, 0, 720))
    compare(small)
    states = {one.external_id: one.state for one in found(small)}
    assert states == {"ghost": DisputeState.LAPSED, "web": DisputeState.CLAIMED}
    bill(small, ("web", 4 * 720, None, 0, 720), ("ghost", 700, None, 0, 720))
    compare(small)
    again = {one.external_id: one for one in found(small)}["ghost"]
    assert (again.id, again.state, again.quantity) == (ghost.id, DisputeState.OPEN, 700)


@pytest.fixture
def beside(small):
    """A second pool of the company."""
    with small.book.transaction(steward()) as tx:
        one = pools.Pool(code="jia-2", name="jia-2", provider_id=tx.get_one(pools.Pool, small.pools["jia"]).provider_id,
                         arch="aarch64", zone="政务外网", xinchuang=False, adapter="files")  # fmt: skip
        tx.add(one)
        tx.flush()
        small.pools["jia-2"] = one.id
    return "jia-2"


def test_another_pool_is_one_of_the_same_company_that_had_it_then(small, beside):
    """What another company's pool has, or what was gone before the month, is nobody's excuse for a line on this bill."""
    old = {"gone": at(-900), "there": at(-900), "later": at(900)}
    small.list(beside, at(-900), old, gone=FOUR, there=FOUR)
    small.list(beside, at(-800), old, there=FOUR)
    small.list("yi", at(-1), theirs=FOUR)
    small.list(beside, at(900), old, there=FOUR, later=FOUR)
    told = ("there", "gone", "theirs", "later", "nobodys")
    bill(small, ("web", 2880, None, 0, 720), *((name, 720, None, 0, 720) for name in told))
    compare(small)
    assert {one.external_id: one.cause for one in found(small)} == {
        "there": "other_pool", **dict.fromkeys(told[1:], "not_in_inventory"),
    }  # fmt: skip


@pytest.mark.parametrize("claimed", [True, False], ids=["claimed", "open"])
def test_the_same_money_is_not_disputed_again_under_another_cause(small, beside, claimed):
    bill(small, ("web", 24 * 2880, None, 0, 720), ("ghost", 720, None, 0, 720))
    compare(small)
    for one in found(small):
        if one.external_id == "web":  # as it was called before slips of units were told
            with small.book.transaction(steward()) as tx:
                assert tx.get_one(Dispute, one.id).cause == "wrong_unit"
                tx.get_one(Dispute, one.id).cause = "larger_shape"
        if claimed:
            act(small, SUPERVISOR, disputes.claim, one)
    small.list(beside, at(-1), ghost={VCPU: 1})
    compare(small)
    standing = {(one.external_id, one.cause): one.state for one in found(small)}
    if claimed:
        assert standing == dict.fromkeys([("ghost", "not_in_inventory"), ("web", "larger_shape")], DisputeState.CLAIMED)
    else:
        assert standing == {
            **dict.fromkeys([("ghost", "not_in_inventory"), ("web", "larger_shape")], DisputeState.LAPSED),
            **dict.fromkeys([("ghost", "other_pool"), ("web", "wrong_unit")], DisputeState.OPEN),
        }


def test_what_differs_the_other_way_is_another_dispute(small):
    bill(small, ("web", 2 * 720, None, 0, 720))
    compare(small)
    (one,) = found(small)
    act(small, SUPERVISOR, disputes.claim, one)
    bill(small, ("web", 24 * 2880, None, 0, 720))
    compare(small)
    assert {(one.cause, one.state) for one in found(small)} == {
        ("smaller_shape", DisputeState.CLAIMED), ("wrong_unit", DisputeState.OPEN),
    }  # fmt: skip


def test_scorecards_take_their_evidence_from_here(small):
    bill(small, ("web", 8 * 720, None, 0, 720))
    compare(small)
    with small.book.reading() as tx:
        gathered = gathering.gather(tx, company(1), "2026-04")
    assert [(row.facts["metered"], row.facts["disputed"]) for row in gathered["metering"]] == [
        ("2800.0000", "2800.0000")
    ]


def test_the_statement_and_the_comparison_prove_the_same(small):
    run = statements.make(small.works, "2026-04", actor=SUPERVISOR)
    _, rows = compare(small)
    (line,) = small.lines(run)
    assert line.proven == int(rows["web"].metered * 3600)
