"""What was held, priced. Pure: integers all the way, one rounding a line, half up.

A line is one kind of one resource in one state (on or off) over the days that one price holds. Its quantity is rounded to
a billionth of the priced unit, its cost is price × that quantity, rounded to the fen; only the proven part is charged, the
unmeasurable part is priced beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

import numpy as np

from metering.allocation import HOUR, Held, runs

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


@dataclass(frozen=True, slots=True)
class Line:
    """One line. ``allocated`` and ``proven``: unit-seconds; ``quantity_nano``: billionths of the priced unit that are proven
    (of an hour of a unit where there is no price); ``cost_fen`` and ``unmeasured_fen``: None where there is no price;
    ``days``: runs of equal days, from 0, as metering.allocation.runs tells them."""

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


def half_up(figure: int, by: int) -> int:
    """``figure`` ÷ ``by``, rounded half away from zero."""
    sign = -1 if figure < 0 else 1
    return sign * ((2 * abs(figure) + by) // (2 * by))


def cost(unit: int, quantity_nano: int) -> int:
    """Fen for a quantity at a price in 1e-8 yuan."""
    return half_up(unit * quantity_nano, PRICE_SCALE * NANO // 100)


def charge(
    held: Mapping[str, Held],
    priced: Callable[[int, str], Sequence[Price | None]],
    factors: Mapping[str, int],
) -> list[Line]:
    """Every line of a month, in the order of (row, kind, stopped, first day).

    ``priced(row, kind)``: the price on each day, the same object for equal rows where it can be; ``factors``: kind → base
    units in a shown unit.
    """
    found: list[Line] = []
    segments: dict[int, list[tuple[int, int, Price | None]]] = {}
    kept: list[Sequence[Price | None]] = []  # keeps what is known by its id alive
    for kind, one in held.items():
        totals = np.stack([one.allocated, one.proven], axis=2)
        whole = totals.sum(axis=1).tolist()
        told = runs(totals)
        for n, (row, stopped) in enumerate(zip(one.row.tolist(), one.stopped.tolist(), strict=True)):
            prices = priced(row, kind)
            pieces = segments.get(id(prices))
            if pieces is None:
                kept.append(prices)
                pieces = segments[id(prices)] = _segments(prices)
            for first, last, price in pieces:
                if len(pieces) == 1:
                    (allocated, proven), days = whole[n], told[n]
                else:
                    part = totals[n : n + 1, first : last + 1]
                    allocated, proven = part[0].sum(axis=0).tolist()
                    days = runs(part)[0]
                    days = [[first + one for one in days[0]], [first + one for one in days[1]], *days[2:]]
                if allocated:
                    found.append(_line(row, kind, stopped, price, first, last, allocated, proven, factors[kind], days))
    found.sort(key=lambda line: (line.row, line.kind, line.stopped, line.first_day))
    return found


def _segments(prices: Sequence[Price | None]) -> list[tuple[int, int, Price | None]]:
    found = []
    for _, group in groupby(enumerate(prices), key=lambda one: one[1].id if one[1] is not None else None):
        members = list(group)
        found.append((members[0][0], members[-1][0], members[0][1]))
    return found


def _line(
    row: int, kind: str, stopped: bool, price: Price | None, first: int, last: int, allocated: int, proven: int,
    factor: int, days: list[list[int]],
) -> Line:  # fmt: skip
    if price is None:
        quantity = half_up(proven * NANO, factor * HOUR)
        return Line(row, kind, stopped, None, first, last, allocated, proven, quantity, None, None, days)
    unit = price.off if stopped else price.unit
    by = factor * price.seconds
    quantity = half_up(proven * NANO, by)
    unmeasured = cost(unit, half_up((allocated - proven) * NANO, by)) if allocated > proven else 0
    return Line(
        row, kind, stopped, price.id, first, last, allocated, proven, quantity, cost(unit, quantity), unmeasured, days
    )
