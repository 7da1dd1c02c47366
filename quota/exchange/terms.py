"""What rules of the exchange say, and the arithmetic of a conversion. Pure.

A conversion gives amounts of one architecture for another **of equal worth**: what a unit is worth is its class's weight on that
architecture, and less in a pool of 信创 by the credit. Worth is a figure of the unit alone, so that no round of conversions comes
back with more than it began with; what does not divide stays where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import gcd
from typing import Any

from quota.errors import N_, Invalid
from quota.units import CLASSES, Arch, Commodity

MOST_WEIGHT = 1000
MOST_CREDIT = 100
"""Weights and credit are bounded so that worth times any pool's amount stays an integer of 64 bits."""

LONGEST_DAYS = 366


class ExchangeSubject(StrEnum):
    """What there are rules of."""

    MARKET = "market"
    CONVERSION = "conversion"


class MarketScope(StrEnum):
    """Who sees what a department offers."""

    CLOSED = "closed"  # nobody but itself and the steward
    BRANCH = "branch"  # those under the same top of the tree
    CITY = "city"


@dataclass(frozen=True, slots=True)
class MarketTerms:
    """``longest_days``: for how long something may be lent by the market; ``for_good``: whether quota may be given away."""

    scope: MarketScope
    longest_days: int
    for_good: bool

    def sound(self) -> None:
        """Raise Invalid for what cannot be applied."""
        if not 1 <= self.longest_days <= LONGEST_DAYS:
            raise Invalid("exchange.days", N_("期限须在 1 至 %(most)s 天之间"), most=LONGEST_DAYS, field="longest_days")

    def to_json(self) -> dict[str, Any]:
        return {"scope": self.scope.value, "longest_days": self.longest_days, "for_good": self.for_good}

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> MarketTerms:
        return cls(MarketScope(written["scope"]), int(written["longest_days"]), bool(written["for_good"]))


CLOSED = MarketTerms(MarketScope.CLOSED, LONGEST_DAYS, False)
"""As long as nothing was enacted."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What is given and got of one conversion: base units, and what one of each is worth, both divided by what divides both.
    ``stays``: base units that were asked for and are not converted, since they do not divide."""

    given: int
    received: int
    given_worth: int
    received_worth: int
    stays: int


@dataclass(frozen=True, slots=True)
class ConversionTerms:
    """``weights``: class on an architecture → weight of one unit; what has none is not converted. ``credit``: by how many per
    cent a unit outside 信创 is worth more than one of the same weight within."""

    weights: Mapping[Commodity, int]
    credit: int

    def sound(self) -> None:
        """Raise Invalid for what cannot be applied."""
        if not 0 <= self.credit <= MOST_CREDIT:
            raise Invalid("exchange.credit", N_("信创鼓励须在 0 至 %(most)s 之间"), most=MOST_CREDIT, field="credit")
        for cls, weight in self.weights.items():
            if not CLASSES[cls.kind].by_arch or cls.arch is Arch.ANY:
                raise Invalid("exchange.no_arch", N_("%(kind)s不分架构，无须换算"), kind=CLASSES[cls.kind].label)
            if isinstance(weight, bool) or not 1 <= weight <= MOST_WEIGHT:
                raise Invalid("exchange.weight", N_("权重须为 1 至 %(most)s 的整数"), most=MOST_WEIGHT, field="weights")
        kinds = [cls.kind for cls in self.weights]
        if not any(kinds.count(kind) > 1 for kind in kinds):
            raise Invalid("exchange.pair", N_("至少为一类资源的两种架构填写权重"), field="weights")

    def worth(self, cls: Commodity, xinchuang: bool) -> int:
        """What one base unit is worth. Raises Invalid where it has no weight."""
        weight = self.weights.get(cls)
        if weight is None:
            raise Invalid(
                "exchange.weightless", N_("换算规则没有为%(kind)s（%(arch)s）设定权重"),
                kind=CLASSES[cls.kind].label, arch=cls.arch, field="amount",
            )  # fmt: skip
        return weight * (100 if xinchuang else 100 + self.credit)

    def convert(self, source: tuple[Commodity, bool], target: tuple[Commodity, bool], amount: int) -> Worth:
        """What becomes of ``amount`` base units of the source; of both the class and whether its pool is one of 信创.

        Both sides are whole amounts as people read them, so that an account never holds parts of a unit.
        """
        one, other = self._ratio(source, target)
        step, gets = self.parcel(source, target)
        steps = amount // step
        return Worth(steps * step, steps * gets, one, other, amount - steps * step)

    def parcel(self, source: tuple[Commodity, bool], target: tuple[Commodity, bool]) -> tuple[int, int]:
        """The least that can be converted and what is got for it, in base units; only multiples of it are."""
        one, other = self._ratio(source, target)
        return other * CLASSES[source[0].kind].factor, one * CLASSES[source[0].kind].factor

    def _ratio(self, source: tuple[Commodity, bool], target: tuple[Commodity, bool]) -> tuple[int, int]:
        one, other = self.worth(*source), self.worth(*target)
        shared = gcd(one, other)
        return one // shared, other // shared

    def to_json(self) -> dict[str, Any]:
        return {"weights": {str(cls): weight for cls, weight in sorted(self.weights.items())}, "credit": self.credit}

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> ConversionTerms:
        weights = {Commodity.parse(code): int(weight) for code, weight in written["weights"].items()}
        return cls(weights, int(written["credit"]))


Terms = MarketTerms | ConversionTerms


def terms(subject: ExchangeSubject, written: Mapping[str, Any]) -> Terms:
    """The terms of a rule as it is kept."""
    return MarketTerms.of(written) if subject is ExchangeSubject.MARKET else ConversionTerms.of(written)
