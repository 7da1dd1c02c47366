"""How many requests a token, and how many failures an address, may have within a minute: of all web processes together.

What is counted lies in the book, as the tries to log in do. A process takes requests out of it in blocks, which it hands out by
itself: a write a request would have readers wait for the book's writer. A block is a part of what is left, so that little is left over
in other processes when a minute's requests run out. Where the book can't be written to, each process counts by itself: nobody is
kept from reading.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from sqlalchemy.exc import OperationalError

from console.accounts import throttle
from quota.actors import nobody
from quota.db import Book
from quota.errors import NoRoom

PART, LARGEST = 8, 16
"""A block is at most an eighth of what is left, and a sixteenth of the whole."""
KEPT = 10_000
"""Identifiers that a process remembers; beyond that it forgets all of them, which costs each a look into the book."""


class Allowances:
    """What this process holds of each identifier; may be shared by threads. ``clock``: seconds that only run forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._held: dict[str, tuple[float, int]] = {}
        self._refused: dict[str, float] = {}
        self._alone = SlidingWindowCounterRateLimiter(MemoryStorage())

    def refused(self, item: RateLimitItem, identifier: str) -> float:
        """Seconds until ``identifier`` may come again, as this process knows it; 0: nothing is against it. Asks nobody."""
        with self._guard:
            return max(0.0, self._refused.get(item.key_for(identifier), 0.0) - self._clock())

    def take(self, book: Book, item: RateLimitItem, identifier: str, *, at_once: bool = True) -> float:
        """Count one of ``identifier``; seconds to wait where there are none left, else 0. ``at_once``: several are taken out of
        the book at once; else each is counted there, for what is rare and must not be exceeded."""
        waiting = self.refused(item, identifier)
        if waiting:
            return waiting
        key = item.key_for(identifier)
        if at_once and self._of_block(key):
            return 0.0
        got, seconds = self._reserved(book, item, identifier, at_once)
        now = self._clock()
        with self._guard:
            if len(self._held) + len(self._refused) > KEPT:
                self._held.clear()
                self._refused.clear()
            if not got:
                self._refused[key] = now + seconds
                return seconds
            until, left = self._held.get(key, (0.0, 0))
            self._held[key] = (now + seconds, got - 1 + (left if until > now else 0))
        return 0.0

    def _of_block(self, key: str) -> bool:
        with self._guard:
            until, left = self._held.get(key, (0.0, 0))
            if left <= 0 or until <= self._clock():
                return False
            self._held[key] = (until, left - 1)
            return True

    def _reserved(self, book: Book, item: RateLimitItem, identifier: str, at_once: bool) -> tuple[int, float]:
        """(how many may be handed out now, for how many seconds); of none, until when nothing more is to be had."""
        try:
            with book.transaction(nobody()) as tx:
                storage = throttle.BookStorage(tx)
                limiter = SlidingWindowCounterRateLimiter(storage)
                left = limiter.get_window_stats(item, identifier).remaining
                block = max(1, min(left // PART, item.amount // LARGEST)) if at_once else 1
                got = block if limiter.hit(item, identifier, cost=block) else 0
                return got, storage.window_s(item.get_expiry()) if got else _until_one_is_free(
                    storage, item, identifier
                )
        except (NoRoom, OperationalError):
            got = int(self._alone.hit(item, identifier))
            return got, 1.0


def _until_one_is_free(storage: throttle.BookStorage, item: RateLimitItem, identifier: str) -> float:
    """Seconds until the sliding window has room for one more, at least one."""
    expiry = item.get_expiry()
    before, _left, current, _ends = storage.get_sliding_window(item.key_for(identifier), expiry)
    in_window = storage.window_s(expiry)
    if current >= item.amount or not before:
        return max(1.0, in_window)
    # What is left of the former window counts less with every second that goes by.
    room = (item.amount - current - 1) * expiry / before
    return min(max(1.0, in_window - room), max(1.0, in_window))
