"""Bills are claims: kept as they came, compared piece by piece, each difference with its cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from providers import base, observation
from providers.base import Inventory, ResourceFact, ResourceState, ServiceKind
from providers.billing import bills
from providers.billing.bills import Bill, BillLine, month_bounds
from providers.billing.claims import Cause, Claim, Comparison, ResourceMonth, Span, compare
from providers.readers.bill_files import read_bill
from providers.readers.refusals import Reading
from quota import inventory
from quota.actors import steward
from quota.db import Tx
from quota.directory import pools
from quota.errors import Invalid, NotAllowed, NotFound
from quota.inventory import Resource
from quota.units import BLOCK, MEMORY, VCPU, Arch, ClassCode

START, END = month_bounds("2026-10")
HOURS = 744


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def claim(quantity: float, first: float = 0, last: float = HOURS, *, line: int = 1, of: str = "a", kind=VCPU) -> Claim:
    return Claim(line, of, kind, Decimal(str(quantity)), at(first), at(last))


def held(*spans: tuple[float, float, Mapping[ClassCode, int]], since: float = -1000, covered=None) -> ResourceMonth:
    return ResourceMonth(
        at(since),
        [Span(at(first), at(last), amounts) for first, last, amounts in spans],
        None if covered is None else [(at(first), at(last)) for first, last in covered],
    )


FOUR = {VCPU: 4}


@pytest.mark.parametrize(
    ("claims", "allocation", "causes", "metered", "unmeasured"),
    [
        ([claim(4 * HOURS)], held((0, HOURS, FOUR)), {}, 4 * HOURS, 0),
        ([claim(8 * HOURS)], held((0, HOURS, FOUR)), {Cause.LARGER_SHAPE: 4 * HOURS}, 4 * HOURS, 0),
        ([claim(2 * HOURS)], held((0, HOURS, FOUR)), {Cause.SMALLER_SHAPE: -2 * HOURS}, 4 * HOURS, 0),
        ([claim(4 * HOURS)], held((0, 100, FOUR)), {Cause.AFTER_DELETION: 4 * (HOURS - 100)}, 400, 0),
        ([claim(4 * HOURS)], held((100, HOURS, FOUR), since=100), {Cause.BEFORE_CREATION: 400}, 4 * (HOURS - 100), 0),
        ([claim(4 * HOURS)], held(since=-500), {Cause.AFTER_DELETION: 4 * HOURS}, 0, 0),  # gone before the month
        ([claim(4 * HOURS)], None, {Cause.NOT_IN_INVENTORY: 4 * HOURS}, 0, 0),
        ([], held((0, HOURS, FOUR)), {Cause.NOT_BILLED: -4 * HOURS}, 4 * HOURS, 0),
        ([claim(4 * HOURS), claim(400, 0, 100, line=2)], held((0, HOURS, FOUR)), {Cause.BILLED_TWICE: 400}, 4 * HOURS, 0),
        # Half of the month nobody saw it: neither right nor wrong.
        ([claim(8 * HOURS)], held((0, HOURS, FOUR), covered=[(0, 372)]), {Cause.LARGER_SHAPE: 4 * 372}, 4 * 372, 8 * 372),
        ([claim(8 * HOURS)], held((0, HOURS, FOUR), covered=[]), {}, 0, 8 * HOURS),
        # One line over a resize is an even rate: too much and too little cancel out.
        ([claim(4 * 344 + 8 * 400)], held((0, 344, FOUR), (344, HOURS, {VCPU: 8})), {}, 4 * 344 + 8 * 400, 0),
        # Even where the even rate is twenty-four times what was there first: nobody mistook a unit.
        ([claim(24 * HOURS)], held((0, 372, {VCPU: 1}), (372, HOURS, {VCPU: 47})), {}, 24 * HOURS, 0),
        # A unit is mistaken throughout; where part of it is right, something else is wrong with the rest.
        ([claim(4096 * 372, 0, 372), claim(4096 * 372, 372, HOURS, line=2)], held((0, HOURS, FOUR)), {Cause.WRONG_UNIT: 4092 * HOURS}, 4 * HOURS, 0),
        ([claim(4096 * 372, 0, 372), claim(4 * 372, 372, HOURS, line=2)], held((0, HOURS, FOUR)), {Cause.LARGER_SHAPE: 4092 * 372}, 4 * HOURS, 0),
        ([claim(1 * 372, 0, 372), claim(2 * 372, 372, HOURS, line=2)], held((0, 372, {VCPU: 24}), (372, HOURS, {VCPU: 48})), {Cause.WRONG_UNIT: -69 * 372}, 72 * 372, 0),
        ([claim(0)], held((0, HOURS, FOUR)), {Cause.SMALLER_SHAPE: -4 * HOURS}, 4 * HOURS, 0),
        ([claim(4 * HOURS + 0.01)], held((0, HOURS, FOUR)), {}, 4 * HOURS, 0),  # the company rounds
    ],
)  # fmt: skip
def test_each_difference_has_a_cause(claims, allocation, causes, metered, unmeasured) -> None:
    (found,) = compare(claims, {} if allocation is None else {"a": allocation}, START, END)
    assert {cause: float(figure) for cause, figure in found.causes.items()} == pytest.approx(causes)
    assert float(found.metered) == pytest.approx(metered)
    assert float(found.unmeasured) == pytest.approx(unmeasured)
    assert found.lines == tuple(one.line for one in claims)


stretches = st.lists(st.integers(0, HOURS), min_size=2, max_size=6, unique=True).map(sorted)


@given(
    lines=st.lists(st.tuples(st.integers(0, 100_000), stretches), max_size=4),
    shapes=st.lists(st.integers(0, 64), min_size=5, max_size=5),
    cuts=stretches,
    covered=st.none() | stretches,
)
def test_billed_is_metered_and_unmeasured_and_differences(lines, shapes, cuts, covered) -> None:
    claims = [claim(amount, ends[0], ends[-1], line=n) for n, (amount, ends) in enumerate(lines)]
    spans = [(first, last, {VCPU: shape}) for first, last, shape in zip(cuts, cuts[1:], shapes, strict=False)]
    seen = None if covered is None else list(zip(covered[::2], covered[1::2], strict=False))
    for one in compare(claims, {"a": held(*spans, since=cuts[0], covered=seen)}, START, END):
        total = one.metered + one.unmeasured + one.difference
        slack = Decimal("0.02") * (len(Cause) * max(len(claims), 1))
        assert abs(one.billed - total) <= slack
        assert one.metered >= 0
        assert one.unmeasured >= 0


# ---------------------------------------------------------------------------------------------------- on record


def billed(of: str = "a", quantity: float = 4 * HOURS, kind: ClassCode = VCPU, **other) -> base.BillFact:
    line = base.BillFact("2026-10", of, ServiceKind.VM, kind, Arch.AARCH64, Decimal(str(quantity)), START, END)
    return replace(line, **other)


def take(works, *lines: base.BillFact, by: str | None = None) -> bills.Taken:
    with works.book.transaction(works.people[by] if by else steward()) as tx:
        return bills.take(tx, tx.get_one(pools.Pool, works.pool), "2026-10", lines, source="test")


def test_the_same_bill_again_is_the_same_bill(works) -> None:
    first = take(works, billed(), billed("b"))
    again = take(works, billed("b"), billed())
    assert (first.new, again.new, again.bill.id, again.lines) == (True, False, first.bill.id, 2)
    other = take(works, billed(quantity=5), billed("b"), by="operator")
    assert (other.new, other.bill.revision, other.bill.taken_by) == (True, 2, "operator")
    with works.book.reading() as tx:
        assert bills.current(tx, works.pool, "2026-10").id == other.bill.id
        assert [one.quantity for one in bills.lines_of(tx, other.bill)] == [Decimal(5), Decimal(4 * HOURS)]
        assert len(tx.scalars(select(BillLine)).all()) == 4  # what was claimed first is kept


def test_a_line_that_makes_no_sense_is_refused_alone(works) -> None:
    found = take(
        works,
        billed(),
        billed(""),
        billed("m", month="2026-09"),
        billed("q", quantity="NaN"),
        billed("n", quantity=-1),
        billed("s", since=START - timedelta(seconds=1)),
        billed("t", since=END, until=END),
        billed(quantity=7),
    )
    assert found.lines == 1
    assert [(one.at, one.reason) for one in found.refused] == [
        (2, "bill.id"),
        (3, "bill.month"),
        (4, "bill.quantity"),
        (5, "bill.quantity"),
        (6, "bill.span"),
        (7, "bill.span"),
        (8, "bill.twice"),
    ]
    with pytest.raises(Invalid, match=r"bill\.empty"):
        take(works, billed(""))
    with pytest.raises(Invalid, match=r"month\.bad"), works.book.transaction(steward()) as tx:
        bills.take(tx, tx.get_one(pools.Pool, works.pool), "2026-13", [billed()], source="test")


def test_bills_are_the_companys_and_cannot_be_rewritten(works) -> None:
    with pytest.raises(NotAllowed, match=r"bill\.not_yours"):
        take(works, billed(), by="rival")
    with pytest.raises(NotAllowed, match=r"role\.missing"):
        take(works, billed(), by="clerk")
    take(works, billed())
    with works.book.reading() as tx:
        seen = {
            login: len(tx.scalars(select(Bill).where(bills.visible(actor))).all())
            for login, actor in works.people.items()
        }
    assert seen == {
        "operator": 1, "checker": 1, "reviewer": 1, "chief": 1, "auditor": 1, "rival": 0, "clerk": 0, "stranger": 0,
    }  # fmt: skip
    for statement in ("UPDATE bill_lines SET quantity = 1", "DELETE FROM bills"):
        with pytest.raises(DBAPIError), works.book.engine.begin() as connection:
            connection.execute(text(statement))


def test_a_line_of_a_bill_changed_behind_its_back_is_named(works) -> None:
    lines = [
        billed(of, quantity=quantity, kind=kind, cost=cost)
        for of in ("b", "a", "甲")
        for kind in (VCPU, MEMORY, BLOCK)
        for quantity, cost in [("1234567.8901", Decimal("12.345")), (0, None)][kind == BLOCK :]
    ][:7]
    ids = [take(works, *lines).bill.id, take(works, billed(), by="operator").bill.id]
    with works.book.reading() as tx:
        assert list(bills.check(tx, ids)) == []
        bill = tx.get_one(Bill, ids[0])
        bill.month = "2026-09"  # as if it had been changed below the guard
        with tx.no_autoflush:
            assert [f"row {ids[0]} " in told for told in bills.check(tx, ids)] == [True]


def fact(of: str, vcpu: int = 4) -> ResourceFact:
    return ResourceFact(of, of, ServiceKind.VM, Arch.AARCH64, {VCPU: vcpu}, ResourceState.RUNNING, created_at=at(-500))


def observe(works, hours: float, *facts: ResourceFact) -> observation.Drift:
    with works.book.transaction(steward()) as tx:
        return observation.observe(tx, tx.get_one(pools.Pool, works.pool), Inventory(at(hours), list(facts)))


def against_inventory(tx: Tx, pool: int, month: str) -> list[Comparison]:
    """The bill that stands beside the inventory's history, all of it proven: every listing of the month was seen."""
    start, end = month_bounds(month)
    state_periods = inventory.state_periods(tx, start, end, pool_ids=[pool])
    allocations = {
        one.external_id: ResourceMonth(
            one.first_seen_at, [Span(x.start, x.end, x.amounts) for x in state_periods.get(one.id, ())]
        )
        for one in tx.scalars(select(Resource).where(Resource.pool_id == pool))
    }
    bill = bills.current(tx, pool, month)
    return compare(bills.claims(bills.lines_of(tx, bill)), allocations, start, end)


def test_the_simulated_companys_errors_are_found(works, clock) -> None:
    clock.now = datetime(2026, 4, 30, 15, 0, tzinfo=UTC)  # before the month: every listing of it is seen
    cloud = works.cloud()
    _, end = month_bounds("2026-05")
    while clock.now < end:
        with works.book.transaction(steward()) as tx:
            observation.observe(tx, tx.get_one(pools.Pool, works.pool), cloud.inventory(clock.now))
        clock.advance(days=1)
    found = bills.collect(works.book, works.pool, cloud, "2026-05")
    assert found.new
    assert found.refused == []
    assert not bills.collect(works.book, works.pool, cloud, "2026-05").new
    with works.book.reading() as tx:
        rows = against_inventory(tx, works.pool, "2026-05")
    assert len({one.external_id for one in rows}) > 150
    assert Cause.NOT_IN_INVENTORY not in {cause for one in rows for cause in one.causes}
    disputed, metered = (
        sum(getattr(one, name) for one in rows if one.kind == VCPU) for name in ("disputed", "metered")
    )
    assert disputed / metered < Decimal("0.005")  # this company bills carefully
    # A bill with one shape doubled and one resource invented: exactly these are disputed.
    lines = [one for one in cloud.bills("2026-05") if one.kind == VCPU]
    victim = lines[0]
    wrong = [replace(victim, quantity=victim.quantity * 2), replace(victim, external_id="ghost"), *lines[1:]]
    with works.book.transaction(steward()) as tx:
        bills.take(tx, tx.get_one(pools.Pool, works.pool), "2026-05", wrong, source="test")
    with works.book.reading() as tx:
        after = [one for one in against_inventory(tx, works.pool, "2026-05") if one.kind == VCPU]
    before = {one.external_id: one.causes for one in rows if one.kind == VCPU}
    changed = {one.external_id: one.causes for one in after if one.causes != before.get(one.external_id)}
    assert set(changed) == {victim.external_id, "ghost"}
    assert set(changed["ghost"]) == {Cause.NOT_IN_INVENTORY}
    assert set(changed[victim.external_id]) == {Cause.LARGER_SHAPE}


# ------------------------------------------------------------------------------------------------------- files

GOOD = "资源编号;资源类别;用量;起;止\na;vcpu;2976;;\nb;memory;100.5;2026-10-01 08:00:00;2026-10-02T00:00:00Z\n"


def read(folder: Path, content: str | bytes) -> tuple[list[base.BillFact], Reading]:
    path = folder / "bill.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    reading = Reading(path.name)
    return read_bill(path, "2026-10", reading, arch=Arch.AARCH64), reading


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_a_bill_file_is_read_in_what_people_save(tmp_path, encoding) -> None:
    lines, reading = read(tmp_path, GOOD.encode(encoding))
    assert lines == [
        base.BillFact("2026-10", "a", ServiceKind.VM, VCPU, Arch.AARCH64, Decimal(2976), START, END),
        base.BillFact(
            "2026-10", "b", ServiceKind.VM, MEMORY, Arch.AARCH64, Decimal("100.5"), at(8), at(32)
        ),
    ]  # fmt: skip
    assert (reading.rows, reading.taken, reading.refused) == (2, 2, 0)


def test_what_is_wrong_in_a_bill_file_is_named_by_line_and_column(tmp_path) -> None:
    lines, reading = read(
        tmp_path,
        "resource,kind,quantity,month\n"
        "a,vcpu,10,2026-10\n"
        "a,vcpu,10,2026-10\n"  # a duplicate
        "a,vcpu,11,2026-10\n"  # the same with another figure
        ",vcpu,10,\n"
        "b,disk,10,\n"
        "c,vcpu,ten,\n"
        "d,vcpu,NaN,\n"
        "e,vcpu,-1,\n"
        "f,vcpu,1e20,\n"
        "g,vcpu,,\n"
        "h,vcpu,1,2026-09\n"
        "i,vcpu,1\n"
        "j,vcpu,1,2026-1",
    )
    assert [one.external_id for one in lines] == ["a"]
    assert (reading.rows, reading.taken, reading.duplicates, reading.refused) == (13, 1, 1, 11)
    places = {(one.line, one.column, one.reason) for one in reading.examples}
    assert places == {
        (4, None, "bill.twice"),
        (5, 1, "bill.id"),
        (6, 2, "class.unknown"),
        (7, 3, "value.text"),
        (8, 3, "value.nan"),
        (9, 3, "value.negative"),
        (10, 3, "value.absurd"),
        (11, 3, "value.missing"),
        (12, 4, "bill.month"),
        (13, None, "line.fields"),
        (14, None, "line.cut"),
    }


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "file.empty"),
        ("resource,kind,quantity\n", "file.no_rows"),
        ("resource,quantity\na,1\n", "column.missing"),
        ("resource,kind,kind,quantity\na,vcpu,vcpu,1\n", "column.twice"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "file.binary"),
    ],
)
def test_what_is_no_bill_is_refused_whole(tmp_path, content, code) -> None:
    with pytest.raises(Invalid) as refusal:
        read(tmp_path, content)
    assert refusal.value.code == code


def test_no_file_is_said_so(tmp_path) -> None:
    with pytest.raises(NotFound):
        read_bill(tmp_path / "none.csv", "2026-10", Reading("none.csv"), arch=Arch.ANY)
