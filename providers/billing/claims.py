"""What a company bills against what was seen: per resource and kind, in unit-hours, with a cause for each difference.

Pure. Unit-hours are base units of quota.units × hours. A claim is taken as an even rate over its time; time is cut where
claims, shapes or coverage change, and each piece is compared. What was not covered by evidence is neither right nor
wrong: it is counted as unmeasured. For every resource and kind

    billed = metered + unmeasured + the sum of its differences

to within what the company rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

from quota.errors import N_
from quota.units import Amount, ClassCode

ZERO = Decimal(0)
PLACES = Decimal("0.0001")
HOUR = Decimal(3600)

ROUNDING = Decimal("0.01")
"""Unit-hours by which a line may differ because the company rounds."""


UNIT_SLIPS = tuple(map(Decimal, (24, 60, 1000, 1024, 3600, 1024**2)))
"""How many times too much or too little is what a figure in another unit makes: days, minutes or seconds for hours, kilo, kibi,
mebi."""

SLIP_WITHIN = Decimal("0.001")
"""Share of it by which a figure may miss what a slip of its unit makes; bills are rounded."""


class Cause(StrEnum):
    NOT_IN_INVENTORY = "not_in_inventory"
    BEFORE_CREATION = "before_creation"
    AFTER_DELETION = "after_deletion"
    LARGER_SHAPE = "larger_shape"
    SMALLER_SHAPE = "smaller_shape"
    WRONG_UNIT = "wrong_unit"
    BILLED_TWICE = "billed_twice"
    NOT_BILLED = "not_billed"


CAUSE_LABELS = {
    Cause.NOT_IN_INVENTORY: N_("台账中没有该资源"),
    Cause.BEFORE_CREATION: N_("开通之前计费"),
    Cause.AFTER_DELETION: N_("删除之后计费"),
    Cause.LARGER_SHAPE: N_("计费规格大于实际规格"),
    Cause.SMALLER_SHAPE: N_("计费规格小于实际规格"),
    Cause.WRONG_UNIT: N_("计量单位不符"),
    Cause.BILLED_TWICE: N_("重复计费"),
    Cause.NOT_BILLED: N_("有用量而未计费"),
}


@dataclass(frozen=True, slots=True)
class Claim:
    """One bill line. ``quantity`` unit-hours over [since, until)."""

    line: int
    external_id: str
    kind: ClassCode
    quantity: Decimal
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Span:
    """[start, end) in which a resource existed with ``amounts``."""

    start: datetime
    end: datetime
    amounts: Amount


@dataclass(frozen=True, slots=True)
class ResourceMonth:
    """What is known of one resource: since when, and its spans within the month. ``covered``: the stretches for which
    there is evidence; None = all of it."""

    known_since: datetime
    spans: Sequence[Span]
    covered: Sequence[tuple[datetime, datetime]] | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One resource and kind. All figures in unit-hours; ``causes`` signed: above zero, billed too much."""

    external_id: str
    kind: ClassCode
    billed: Decimal
    metered: Decimal
    unmeasured: Decimal
    causes: Mapping[Cause, Decimal] = field(default_factory=dict)
    lines: tuple[int, ...] = ()

    @property
    def difference(self) -> Decimal:
        """Billed less metered, where it could be measured."""
        return sum(self.causes.values(), ZERO)

    @property
    def disputed(self) -> Decimal:
        """The sum of all differences, too much and too little alike."""
        return sum((abs(figure) for figure in self.causes.values()), ZERO)


def compare(
    billed: Iterable[Claim], metered: Mapping[str, ResourceMonth], start: datetime, end: datetime
) -> list[Comparison]:
    """Bill lines against allocations within [start, end), by resource and kind. Raises ValueError for a line that takes
    no time or lies outside of it."""
    claims: dict[tuple[str, ClassCode], list[Claim]] = {}
    for one in billed:
        if not start <= one.since < one.until <= end:
            raise ValueError(f"bill line {one.line} is not within the month")
        claims.setdefault((one.external_id, one.kind), []).append(one)
    for external_id, allocation in metered.items():
        for span in allocation.spans:
            for kind, figure in span.amounts.items():
                if figure:
                    claims.setdefault((external_id, kind), [])
    return [
        _compared(external_id, kind, lines, metered.get(external_id), start, end)
        for (external_id, kind), lines in sorted(claims.items())
    ]


def _compared(
    external_id: str,
    kind: ClassCode,
    lines: Sequence[Claim],
    allocation: ResourceMonth | None,
    start: datetime,
    end: datetime,
) -> Comparison:
    total = sum((one.quantity for one in lines), ZERO)
    numbers = tuple(sorted(one.line for one in lines))
    if allocation is None:
        found = {Cause.NOT_IN_INVENTORY: total} if total else {}
        return Comparison(external_id, kind, total, ZERO, ZERO, found, numbers)
    metered, unmeasured = ZERO, ZERO
    causes: dict[Cause, Decimal] = {}
    shapes: list[tuple[Decimal, Decimal, Decimal]] = []
    lines = sorted(lines, key=lambda one: (one.since, one.line))
    for first, last in _pieces(lines, allocation, start, end):
        hours = _hours(first, last)
        over = [one for one in lines if one.since <= first and last <= one.until]
        rates = [one.quantity / _hours(one.since, one.until) for one in over]
        span = next((one for one in allocation.spans if one.start <= first and last <= one.end), None)
        if span is None:
            if rates:
                early = first < allocation.known_since
                cause = Cause.BEFORE_CREATION if early else Cause.AFTER_DELETION
                causes[cause] = causes.get(cause, ZERO) + sum(rates, ZERO) * hours
            continue
        if not _covered(allocation, first, last):
            unmeasured += sum(rates, ZERO) * hours
            continue
        has = Decimal(span.amounts.get(kind, 0))
        metered += has * hours
        if not rates:
            if has:
                causes[Cause.NOT_BILLED] = causes.get(Cause.NOT_BILLED, ZERO) - has * hours
            continue
        rate, again = rates[0], rates[1:]
        shapes.append((rate, has, hours))
        if again:
            causes[Cause.BILLED_TWICE] = causes.get(Cause.BILLED_TWICE, ZERO) + sum(again, ZERO) * hours
    # A line over a time in which the shape changed is an even rate over it: what that makes too much and too little
    # of the same resource cancels out.
    shape = sum(((rate - has) * hours for rate, has, hours in shapes), ZERO)
    if shape:
        larger = Cause.LARGER_SHAPE if shape > 0 else Cause.SMALLER_SHAPE
        causes[Cause.WRONG_UNIT if _slipped(shapes) else larger] = shape
    slack = ROUNDING * max(len(lines), 1)
    kept = {cause: figure.quantize(PLACES) for cause, figure in sorted(causes.items()) if abs(figure) > slack}
    return Comparison(external_id, kind, total, metered.quantize(PLACES), unmeasured.quantize(PLACES), kept, numbers)


def _slipped(shapes: Sequence[tuple[Decimal, Decimal, Decimal]]) -> bool:
    """Whether one slip of unit explains all of it, piece by piece: (billed rate, what there was, hours). A company that
    mistakes a unit mistakes it throughout; a figure that is right in one place is not in another unit."""

    def explains(factor: Decimal) -> bool:
        return all(
            abs(rate - has * factor) * hours <= max(ROUNDING, SLIP_WITHIN * has * factor * hours)
            for rate, has, hours in told
        )

    told = [one for one in shapes if one[0] or one[1]]
    if not all(rate and has for rate, has, _hours in told):
        return False
    return any(explains(factor) for slip in UNIT_SLIPS for factor in (slip, 1 / slip))


def _pieces(
    lines: Sequence[Claim], allocation: ResourceMonth, start: datetime, end: datetime
) -> Iterable[tuple[datetime, datetime]]:
    """[start, end) cut wherever anything changes."""
    cuts = {start, end, allocation.known_since}
    for line in lines:
        cuts |= {line.since, line.until}
    for span in allocation.spans:
        cuts |= {span.start, span.end}
    for first, last in allocation.covered or ():
        cuts |= {first, last}
    inside = sorted(one for one in cuts if start <= one <= end)
    return pairwise(inside)


def _covered(allocation: ResourceMonth, first: datetime, last: datetime) -> bool:
    return allocation.covered is None or any(start <= first and last <= end for start, end in allocation.covered)


def _hours(start: datetime, end: datetime) -> Decimal:
    lasted = end - start
    return (Decimal(lasted.days * 86400 + lasted.seconds) + Decimal(lasted.microseconds) / 1_000_000) / HOUR
