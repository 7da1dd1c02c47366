"""What time a transaction writes when it had to wait: threads on the real clock, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from quota.actors import steward
from quota.audit import AuditRecord, check
from quota.db import Book, Tx
from quota.directory.departments import Department
from tests.patience import pause, together, until


@pytest.fixture
def living(book_url: str) -> Iterator[Book]:
    """A book on the real clock, with two departments."""
    book = Book(book_url)
    with book.transaction(steward()) as tx:
        tx.add_all([Department(code=code, name=code) for code in ("d1", "d2")])
    yield book
    book.dispose()


def held(tx: Tx, code: str) -> Department:
    return tx.scalars(select(Department).where(Department.code == code).with_for_update()).one()


def test_who_waited_for_a_row_writes_no_time_earlier_than_who_held_it(living: Book) -> None:
    holds = threading.Event()
    written: dict[str, datetime] = {}
    begun: dict[str, datetime] = {}

    def first() -> None:
        with living.transaction(steward()) as tx:
            held(tx, "d1")
            holds.set()
            until(lambda: "second" in begun, "the second has begun")
            pause(0.4)
            tx.waited()  # as if it had locked another row in the end
            written["first"] = tx.now

    def second() -> None:
        holds.wait()
        begun["second"] = datetime.now(UTC)
        with living.transaction(steward()) as tx:
            held(tx, "d1")
            written["second"] = tx.now

    together(first, second)
    assert begun["second"] < written["first"], "it began while the first was at it"
    assert written["second"] >= written["first"]
    assert written["second"] - begun["second"] >= timedelta(seconds=0.2)


def test_a_page_that_only_reads_waits_for_nobody(living: Book) -> None:
    with living.transaction(steward()) as tx:
        held(tx, "d1")
        with living.reading() as reader:
            assert reader.scalar(select(Department.name).where(Department.code == "d1")) == "d1"


def test_the_times_of_the_trail_never_go_back(living: Book) -> None:
    """Eight writers of different rows, some slower than others: nothing but the chain itself orders them."""

    def writer(number: int) -> Callable[[], None]:
        def work() -> None:
            for turn in range(6):
                with living.transaction(steward()) as tx:
                    held(tx, f"d{number % 2 + 1}") if turn % 3 == 0 else None
                    pause(0.01 * ((number * 7 + turn * 3) % 5))
                    tx.audit("test.write", f"writer:{number}", after={"turn": turn})

        return work

    together(*(writer(number) for number in range(8)))
    with living.reading() as tx:
        times = list(tx.scalars(select(AuditRecord.at).order_by(AuditRecord.sequence)))
        assert list(check(tx)) == []
    assert len(times) == 48
    assert times == sorted(times)


def test_a_connection_forgets_who_wrote_through_it(living: Book) -> None:
    with living.transaction(steward()) as tx:
        held(tx, "d1")
    before = tx.now
    with living.reading() as reader:
        reader.scalars(select(Department).with_for_update()).all()
    assert tx.now == before
