"""Long histories looked at in parts, by their numbers: all of them on request, of a night the newest and one in its turn.

What a night reads so doesn't grow with the history; in how many nights all of it was read does, and is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression

from quota.seals import GENESIS, seal

SPAN = 1 << 15
"""Numbers of one part. Segments that were sealed keep theirs: it is never changed in a city's life."""


@dataclass(frozen=True, slots=True)
class NumberSpan:
    """Numbers from ``low`` to ``high``, both within; None: whatever there is."""

    low: int | None = None
    high: int | None = None

    def of(self, column: SQLColumnExpression[Any]) -> list[ColumnElement[bool]]:
        """What a query asks for the rows whose number lies within."""
        found: list[ColumnElement[bool]] = []
        if self.low is not None:
            found.append(column >= self.low)
        if self.high is not None:
            found.append(column <= self.high)
        return found

    def has(self, number: int) -> bool:
        return (self.low is None or number >= self.low) and (self.high is None or number <= self.high)


WHOLE = NumberSpan()


def span(number: int, size: int | None = None) -> NumberSpan:
    """The part of this number, from 0 on, of a history that is longer."""
    return NumberSpan(behind(number, size).low, (number + 1) * (size or SPAN))


def spans(newest: int, size: int | None = None) -> list[NumberSpan]:
    """The parts of a history that ends at ``newest``, each number in one, those that should not be there as well."""
    last = max(0, newest - 1) // (size or SPAN)
    return [*(span(number, size) for number in range(last)), behind(last, size)]


def buckets(numbers: Sequence[int], size: int | None = None) -> list[NumberSpan]:
    """The parts, by their numbers, of a history that has wide gaps."""
    size = size or SPAN
    low, high = [None, *(one * size + 1 for one in numbers[1:])], [*((one + 1) * size for one in numbers[:-1]), None]
    return [NumberSpan(*ends) for ends in zip(low, high, strict=True)]


def whole(newest: int) -> int:
    """How many parts of a history that ends at ``newest`` are whole."""
    return newest // SPAN


def behind(parts: int, size: int | None = None) -> NumberSpan:
    """What comes behind so many parts."""
    return NumberSpan(parts * (size or SPAN) + 1 if parts else None)


def nights(parts: int) -> int:
    """In how many nights each of so many parts has its turn: a power of two, so that it stays the same while they become more,
    until they are twice as many."""
    return 1 << max(0, parts - 1).bit_length()


def turn(parts: int, night: date) -> int | None:
    """The number of the part whose turn it is; None where there is none."""
    if not parts:
        return None
    of = nights(parts)
    number = night.toordinal() % of
    return number if number < parts else number - of // 2


@dataclass(slots=True)
class Links:
    """The links of a chain as they are passed: what is digested when a part of it is sealed."""

    end: str = GENESIS
    lines: list[str] = field(default_factory=list)

    def add(self, number: int, digest: str) -> None:
        self.lines.append(f"{number} {digest}")
        self.end = digest

    @property
    def count(self) -> int:
        return len(self.lines)

    @property
    def digest(self) -> str:
        """Over the number and the digest of each, which is over its record."""
        return seal("\n".join(self.lines).encode())
