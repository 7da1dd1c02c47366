"""What was held, priced. Pure: integers all the way, one rounding a line, half up.

A line is one kind of one resource in one state (on or off) over the days that one price holds. Its quantity is rounded to
a billionth of the priced unit, its cost is price × that quantity, rounded to the fen; only the proven part is charged, the
unmeasurable part is priced beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby, repeat
from math import gcd
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metering.memory import uncollected
from metering.statements.allocation import HOUR, HeldAmounts, runs

IntArray = NDArray[np.int64]
NANO = 10**9
PRICE_SCALE = 10**8
"""Prices are counted in units of 1e-8 yuan: six places, and hundredths of them for machines that are off."""


@dataclass(frozen=True, slots=True)
class Price:
    """``unit`` × 1e-8 yuan for one shown unit held for ``seconds`` seconds; ``off`` the same of a machine that is off."""

    id: int
    unit: int
    off: int
    seconds: int

    @classmethod
    def of(cls, id_: int, unit: Decimal, off: Decimal, seconds: int) -> Price:
        """From yuan. Raises ValueError for more than eight places."""
        scaled = [one * PRICE_SCALE for one in (unit, off)]
        if any(one != one.to_integral_value() for one in scaled):
            raise ValueError("a price has at most eight decimal places")
        return cls(id_, int(scaled[0]), int(scaled[1]), seconds)


class ChargedLine(NamedTuple):
    """One line. ``allocated`` and ``proven``: unit-seconds; ``quantity_nano``: billionths of the priced unit that are proven
    (of an hour of a unit where there is no price); ``cost_fen`` and ``unmeasured_fen``: None where there is no price;
    ``days``: runs of equal days, from 0, as metering.statements.allocation.runs tells them."""

    row: int
    kind: str
    stopped: bool
    price: int | None
    first_day: int
    last_day: int
    allocated: int
    proven: int
    quantity_nano: int
    cost_fen: int | None
    unmeasured_fen: int | None
    days: list[list[int]]  # firsts, lasts, allocated, proven


BLOCK = 8192
"""Lines priced at once: what is laid out for them stays in the processor's cache and in the heap."""


def half_up(figure: int, by: int) -> int:
    """``figure`` ÷ ``by``, rounded half away from zero."""
    sign = -1 if figure < 0 else 1
    return sign * ((2 * abs(figure) + by) // (2 * by))


def half_ups(figures: IntArray, times: int, by: int) -> IntArray:
    """``half_up(figure * times, by)`` of each of ``figures`` >= 0, exactly: in machine integers where none can overflow, once
    the fraction is reduced, and else in Python's."""
    common = gcd(times, by)
    times, by = times // common, by // common
    if len(figures) and 2 * int(figures.max()) * times + by >= 2**63:
        return np.array([half_up(one * times, by) for one in figures.tolist()], np.int64)
    return (2 * figures * times + by) // (2 * by)


def charge(
    held: Mapping[str, HeldAmounts],
    priced: Callable[[int, str], Sequence[Price | None]],
    factors: Mapping[str, int],
) -> list[ChargedLine]:
    """Every line of a month, in the order of (row, kind, stopped, first day).

    ``priced(row, kind)``: the price on each day, the same object for equal rows where it can be; ``factors``: kind → base
    units in a shown unit.
    """
    found: list[ChargedLine] = []
    segments: dict[int, list[tuple[int, int, Price | None]]] = {}
    kept: list[Sequence[Price | None]] = []  # keeps what is known by its id alive
    with uncollected():
        for kind, one in held.items():
            alike: dict[int, list[int]] = {}  # prices, by their id → lines
            for n, row in enumerate(one.row.tolist()):
                prices = priced(row, kind)
                if id(prices) not in segments:
                    kept.append(prices)
                    segments[id(prices)] = _segments(prices)
                alike.setdefault(id(prices), []).append(n)
            for key, lines in alike.items():
                for first, last, price in segments[key]:
                    for low in range(0, len(lines), BLOCK):
                        some = np.array(lines[low : low + BLOCK])
                        found += _lines(kind, one, some, first, last, price, factors[kind])
        found.sort(key=itemgetter(0, 1, 2, 4))
    return found


def _segments(prices: Sequence[Price | None]) -> list[tuple[int, int, Price | None]]:
    found = []
    for _, group in groupby(enumerate(prices), key=lambda one: one[1].id if one[1] is not None else None):
        members = list(group)
        found.append((members[0][0], members[-1][0], members[0][1]))
    return found


def _lines(
    kind: str, held: HeldAmounts, which: IntArray, first: int, last: int, price: Price | None, factor: int
) -> Iterator[ChargedLine]:
    """The lines ``which`` of a kind, over the days that one price holds."""
    cut = slice(first, last + 1)
    days = np.stack([held.allocated[which, cut], held.proven[which, cut]], axis=2)
    allocated, proven = days.sum(axis=1).T
    there = np.flatnonzero(allocated)
    which, allocated, proven, days = which[there], allocated[there], proven[there], days[there]
    stopped = held.stopped[which]
    by = factor * (HOUR if price is None else price.seconds)
    quantity = half_ups(proven, NANO, by)
    costs: Sequence[int | None] = [None] * len(which)
    rest: Sequence[int | None] = costs
    if price is not None:
        priced = np.zeros((2, len(which)), np.int64)
        missing = half_ups(allocated - proven, NANO, by)
        for off, unit in ((False, price.unit), (True, price.off)):
            those = stopped == off
            for target, amount in zip(priced, (quantity, missing), strict=True):
                target[those] = half_ups(amount[those], unit, PRICE_SCALE * NANO // 100)
        costs, rest = priced.tolist()
    told = runs(days, first)
    return map(
        ChargedLine, held.row[which].tolist(), repeat(kind), stopped.tolist(), repeat(price.id if price else None),
        repeat(first), repeat(last), allocated.tolist(), proven.tolist(), quantity.tolist(), costs, rest, told,
    )  # fmt: skip
