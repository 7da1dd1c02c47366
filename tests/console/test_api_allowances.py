"""What a token may ask within a minute is counted for all web processes together, and seldom written."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from limits import RateLimitItemPerMinute
from sqlalchemy import func, select

from console.accounts import throttle
from console.accounts.tables import TryCounter
from console.api.allowances import Allowances
from quota.actors import steward
from quota.db import Book
from quota.errors import NoRoom
from tests.conftest import Clock

MINUTE = RateLimitItemPerMinute(600)


@pytest.fixture
def process(book: Book, clock: Clock) -> Callable[[], Allowances]:
    """One more web process, whose clock is the book's."""
    return lambda: Allowances(lambda: clock.now.timestamp())


@pytest.fixture
def written(book: Book, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An entry for each transaction that writes."""
    made: list[str] = []
    real = Book.transaction

    def counted(self: Book, *words: Any) -> Any:
        made.append("written")
        return real(self, *words)

    monkeypatch.setattr(Book, "transaction", counted)
    return made


def taken(allowances: Allowances, book: Book, asked: int, who: str = "a") -> int:
    return sum(allowances.take(book, MINUTE, who) == 0 for _ in range(asked))


def test_processes_hand_out_together_what_there_is(
    book: Book, clock: Clock, process: Callable[[], Allowances], written: list[str]
) -> None:
    four = [process() for _ in range(4)]
    got = 0
    while any(one.refused(MINUTE, "a") == 0 for one in four):
        got += sum(taken(one, book, 1) for one in four)
    left_over = sum(left for one in four for _until, left in one._held.values())
    assert got + left_over == 600
    assert got > 590, "little is left over in other processes"
    assert len(written) < 120
    before = len(written)
    assert taken(four[0], book, 50) == 0
    assert len(written) == before, "who has to wait costs nothing"
    assert 1 <= four[0].take(book, MINUTE, "a") <= 60
    assert taken(four[0], book, 10, "another token") == 10
    clock.advance(minutes=2)
    assert taken(four[1], book, 700) == 600


def test_a_minute_slides(book: Book, clock: Clock, process: Callable[[], Allowances]) -> None:
    one = process()
    clock.advance(seconds=60 - clock.now.timestamp() % 60 + 50)
    assert taken(one, book, 700) == 600
    clock.advance(seconds=20)  # ten seconds into the next one: five sixths of what was before still count
    assert taken(process(), book, 700) == pytest.approx(100, abs=2)
    waiting = one.take(book, MINUTE, "a")
    assert 0 < waiting < 2
    clock.advance(seconds=2 * waiting)
    assert one.take(book, MINUTE, "a") == 0
    with book.transaction(steward()) as tx:
        assert tx.scalar(select(func.count()).select_from(TryCounter)) == 2
        clock.advance(minutes=5)
        assert throttle.sweep(tx) == 0, "the transaction's own time stands still"
    with book.transaction(steward()) as tx:
        assert throttle.sweep(tx) == 2


def test_at_the_same_moment_there_is_not_more(book: Book, process: Callable[[], Allowances]) -> None:
    few = RateLimitItemPerMinute(40)
    many = [process() for _ in range(4)]
    with ThreadPoolExecutor(4) as at_once:
        found = at_once.map(lambda one: sum(one.take(book, few, "a") == 0 for _ in range(30)), many)
        got = sum(found)
    assert 30 <= got <= 40


def test_what_is_counted_one_by_one_is_shared_at_once(book: Book, process: Callable[[], Allowances]) -> None:
    two = [process(), process()]
    few = RateLimitItemPerMinute(3)
    assert [bool(two[n % 2].take(book, few, "stranger", at_once=False)) for n in range(5)] == [False] * 3 + [True] * 2
    assert all(one.refused(few, "stranger") for one in two)


def test_a_book_that_takes_nothing_keeps_nobody_from_reading(
    book: Book, process: Callable[[], Allowances], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def full(_self: Book, *_words: Any) -> Any:
        raise NoRoom("disk")
        yield

    monkeypatch.setattr(Book, "transaction", full)
    assert 600 <= taken(process(), book, 700) < 700, "each process counts by itself"
