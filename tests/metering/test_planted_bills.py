"""Forty differences planted into a bill are found, each with its cause and amount, and none else; of a right bill, none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import select, update

from metering.statements import reconciliation
from metering.statements.disputes import Dispute, DisputeState
from providers.billing import bills
from providers.readers.bill_files import read_bill
from providers.readers.refusals import Reading
from quota import inventory
from quota.actors import steward
from quota.db import Book
from quota.directory import Department, pools
from quota.inventory import Resource
from quota.ledger import capacities
from quota.units import MEMORY, VCPU, Arch
from tests import books
from tests.city import STATEMENTS, City
from tests.city.statements import END, at
from tests.metering.test_statements import SUPERVISOR
from tests.recordings import planted_bills
from tests.recordings.planted_bills import Machine

MACHINES = [
    *(Machine(f"m{n:02}", 2 + n % 5, 4 + n % 9) for n in range(24)),
    *(Machine(f"new{n}", 4, 8, since=240) for n in range(4)),
    *(Machine(f"old{n}", 2, 16, until=480) for n in range(4)),
]
OTHERS = [Machine(f"other{n}", 2, 4) for n in range(3)]
"""In another pool of the same company."""
WILD = [Machine(f"wild{n}", 2, 4) for n in range(4)]
"""That nobody approved."""
MANY = 40
CAUSES = {
    "larger_shape", "smaller_shape",  # quantity, size
    "price", "wrong_unit", "currency", "before_creation", "after_deletion",  # the period, what has ended
    "billed_twice", "not_billed", "not_in_inventory", "other_pool", "unapproved", "wrong_payer", "rounded",
}  # fmt: skip
"""What a bill is to be found wrong in."""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """The machines, each proven from its first hour to its last, and the prices."""
    home = tmp_path_factory.mktemp("planted")
    book = Book(books.sqlite(home / "book.db"), clock=lambda: END + timedelta(days=9))
    city = City(book, book.clock, STATEMENTS, home)

    def listed(pool: str, hour: int, machines: list[Machine]) -> None:
        there = [one for one in machines if one.since <= hour < one.until or one.since == 0 and hour < 0]
        created = {one.name: at(one.since) for one in there if one.since}
        city.list(pool, at(hour), created, **{one.name: {VCPU: one.vcpu, MEMORY: one.memory * 1024} for one in there})

    with book.transaction(steward()) as tx:
        beside = pools.Pool(code="jia-2", name="jia-2", provider_id=tx.get_one(pools.Pool, city.pools["jia"]).provider_id,
                            arch="aarch64", zone="政务外网", xinchuang=False, adapter="files")  # fmt: skip
        tx.add(beside)
        tx.flush()
        city.pools["jia-2"] = beside.id
    listed("jia-2", -1, OTHERS)
    for hour in (-1, 240):
        listed("jia", hour, MACHINES)
    with book.transaction(steward()) as tx:
        pool = tx.get_one(pools.Pool, city.pools["jia"])
        for kind, amount in ((VCPU, 1000), (MEMORY, 1000 * 1024)):
            capacities.equip(tx, pool, kind, amount, key=f"equip:{kind}")
        inventory.adopt(tx, pool)
    listed("jia", 480, MACHINES + WILD)
    with book.transaction(steward()) as tx:
        tx.execute(
            update(Resource).values(
                department_id=select(Department.id).where(Department.code == planted_bills.OWNER).scalar_subquery()
            )
        )
        ids = dict(tx.execute(select(Resource.external_id, Resource.id)).all())
    rows = [
        (ids[one.name], int(at(hour).timestamp())) for one in MACHINES + WILD for hour in range(one.since, one.until)
    ]
    city.lake.append(
        "agent",
        pa.table(
            {
                "resource": pa.array([row[0] for row in rows], pa.int32()),
                "ts": pa.array([row[1] for row in rows], pa.int64()),
                "cpu_pct": pa.array([10.0 + n % 7 for n in range(len(rows))], pa.float64()),
            }
        ),
    )
    city.lake.roll()
    city.price(VCPU, "72")
    city.price(MEMORY, "36")
    yield city
    book.dispose()


def compared(city: City, text: str, home: Path):
    """The bill taken from its file and compared: the run, and what it found of the bill."""
    file = home / "bill.csv"
    file.write_text(text, "utf-8")
    reading = Reading(str(file))
    lines = read_bill(file, "2026-04", reading, arch=Arch.AARCH64)
    assert not reading.refused, "a wrong bill is a bill"
    with city.book.transaction(SUPERVISOR) as tx:
        bills.take(tx, tx.get_one(pools.Pool, city.pools["jia"]), "2026-04", lines, source="test")
    run = reconciliation.reconcile(city.works, city.pools["jia"], "2026-04", actor=SUPERVISOR)
    with city.book.reading() as tx:
        standing = tx.scalars(select(Dispute).where(Dispute.state == DisputeState.OPEN.value))
        return run, {(one.external_id, one.kind, one.cause): (one.quantity, one.fen) for one in standing}


@pytest.mark.parametrize("seed", range(20))
def test_what_is_planted_is_found_and_nothing_else(town, tmp_path, seed) -> None:
    bill = planted_bills.planted(MACHINES, OTHERS, WILD, seed, MANY)
    assert len(bill.planted) == MANY
    run, found = compared(town, bill.text(), tmp_path)
    assert set(found) == set(bill.found)
    for key, (quantity, fen) in bill.found.items():
        assert abs(found[key][0] - quantity) <= Decimal("0.02"), key
        assert abs(found[key][1] - fen) <= 1, key
    claimed = sum(int((line.yuan() * 100).quantize(Decimal(1))) for line in bill.lines)
    assert abs(run.billed_fen - claimed) <= len(bill.lines), "rounded by line"
    assert run.billed_fen == run.proven_fen + run.disputed_fen + run.unmeasured_fen, "to the cent"


def test_nothing_planted_is_nothing_found(town, tmp_path) -> None:
    bill = planted_bills.planted(MACHINES, OTHERS, WILD, 1, 0)
    run, found = compared(town, bill.text(), tmp_path)
    assert (found, run.disputed_fen) == ({}, 0)
    assert run.proven_fen == run.billed_fen > 0


def test_every_cause_of_a_bill_is_planted_somewhere() -> None:
    seen = {
        cause
        for seed in range(20)
        for _name, _kind, cause in planted_bills.planted(MACHINES, OTHERS, WILD, seed, MANY).found
    }
    assert seen == CAUSES
