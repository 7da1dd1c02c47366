"""Making a statement while its month, or the one before, is closed beside it: what is closed is what was looked at."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import select

from metering.statements import closings, statements, tariffs
from metering.statements.closings import MonthClosing
from metering.statements.tables import CORRECTION, StatementRun
from quota.db import Book
from quota.errors import Conflict, Invalid
from quota.units import MEMORY, VCPU
from tests.city import GB, STATEMENTS, City
from tests.city.statements import at
from tests.metering.test_statements import AUTHORITY, SUPERVISOR
from tests.patience import PATIENCE, pause


@pytest.fixture
def city(book, tmp_path, clock):
    made = City(book, clock, STATEMENTS, tmp_path)
    made.list("jia", at(-1), web={VCPU: 4, MEMORY: 8 * GB})
    made.report("web", range(700))
    made.price(VCPU, "46")
    return made


class Interposed(Book):
    """A book in which something happens just before each transaction of one that makes a statement."""

    def __init__(self, url, clock, *happens):
        super().__init__(url, clock=clock)
        self.happens = list(happens)

    @contextmanager
    def transaction(self, actor):
        if self.happens:
            self.happens.pop(0)()
        with super().transaction(actor) as tx:
            yield tx


def make_while(city, *happens, month="2026-04"):
    book = Interposed(city.book.url, city.clock, *happens)
    try:
        return statements.make(dataclasses.replace(city.works, book=book), month, actor=SUPERVISOR)
    finally:
        book.dispose()


def test_a_month_that_is_being_closed_gets_no_run_beside(city):
    run = city.make()
    city.price(VCPU, "40", reason="更正")  # so that making it again would be another revision
    with ThreadPoolExecutor(1) as beside:
        with city.book.transaction(AUTHORITY) as tx:
            statements.close(tx, run.month, run_id=run.id)
            other = beside.submit(city.make)
            pause(1)
            assert not other.done()
        assert other.result(PATIENCE).id == run.id
    with city.book.reading() as tx:
        assert [one.id for one in statements.runs_of(tx, run.month)] == [run.id]


def test_who_closes_waits_for_a_run_that_is_being_kept_and_sees_it(city):
    run = city.make()
    city.price(VCPU, "40", reason="更正")
    held, done = threading.Event(), threading.Event()

    def keep():
        with city.book.transaction(SUPERVISOR) as tx:
            closings.hold(tx)
            kept = tx.get_one(StatementRun, run.id)
            held.set()
            pause(1)
            assert not done.is_set()
            same = {one.key: getattr(kept, one.key) for one in StatementRun.__table__.columns if one.key != "id"}
            tx.add(StatementRun(**{**same, "revision": 2, "digest": "0" * 64}))

    with ThreadPoolExecutor(1) as beside:
        keeping = beside.submit(keep)
        assert held.wait(PATIENCE)
        with pytest.raises(Invalid, match="新的版本"), city.book.transaction(AUTHORITY) as tx:
            statements.close(tx, run.month, run_id=run.id)
        done.set()
        keeping.result(PATIENCE)
    with city.book.reading() as tx:
        assert closings.closings(tx) == []


def test_an_older_look_does_not_stand_over_a_newer_one(city):
    """A price is entered and the month made anew while another process is still at the older figures."""

    def newer():
        city.price(VCPU, "40", reason="更正")
        assert city.make().revision == 1

    run = make_while(city, newer)
    with city.book.reading() as tx:
        assert [one.id for one in statements.runs_of(tx, "2026-04")] == [run.id]
    assert run.proven_fen == 15556


def test_a_month_closed_meanwhile_is_corrected_all_the_same(city):
    city.clock.advance(days=31)
    city.list("jia", city.clock.now, web={VCPU: 4, MEMORY: 8 * GB})
    april = city.make()

    def close_april():
        city.close(april)
        city.report("web", range(700, 710))

    may = make_while(city, close_april, month="2026-05")
    assert {one.corrects for one in city.lines(may) if one.charge == CORRECTION} == {"2026-04"}
    assert make_while(city, lambda: city.close(may), month="2026-05").id == may.id


def test_who_never_finds_a_quiet_moment_is_told(city):
    prices = [str(price) for price in range(50, 50 + statements.TRIES)]

    def another():
        city.price(VCPU, prices.pop(), reason="更正")
        city.make()

    with pytest.raises(Conflict) as told:
        make_while(city, *[another] * statements.TRIES)
    assert told.value.code == "statement.busy"


def test_makers_and_closers_side_by_side(city):
    """Two make the month again and again at other prices, two close what they see: one run is closed, and none comes after."""
    city.make()
    closed = threading.Event()

    def maker(number):
        for price in range(20):
            if closed.is_set():
                break
            with city.book.transaction(AUTHORITY) as tx:
                tariffs.enter(tx, VCPU, Decimal(50 + 20 * number + price), date(2026, 1, 1), reason="更正")
            try:
                city.make()
            except Conflict as busy:
                assert busy.code == "statement.busy"

    def closer():
        pause(0.3)
        while not closed.is_set():
            with city.book.reading() as tx:
                seen = statements.latest(tx, "2026-04")
            try:
                with city.book.transaction(AUTHORITY) as tx:
                    statements.close(tx, "2026-04", run_id=seen.id)
                closed.set()
            except (Invalid, Conflict) as late:
                assert late.code in ("statement.stale", "month.closed_already")
                pause(0.01)

    with ThreadPoolExecutor(4) as crowd:
        for one in [crowd.submit(maker, 0), crowd.submit(maker, 1), crowd.submit(closer), crowd.submit(closer)]:
            one.result(PATIENCE)
    with city.book.reading() as tx:
        closing = tx.scalars(select(MonthClosing)).one()
        runs = statements.runs_of(tx, "2026-04")
        assert closing.run_id == runs[0].id
        assert [one.revision for one in runs] == list(range(len(runs), 0, -1))
        assert closing.closed_at >= runs[0].made_at
