"""What a contract, or a lot of one, covers, and which of a company's covers what on a day. Pure.

Of those that cover something the narrowest counts, so that a lot takes its part out of the contract as a whole: what names
catalogue items before what names pools, these before classes and departments. Each thing has one lot a day, or none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple

LABOUR = "labour"
"""Among the classes: services of people, which are no resource."""


@dataclass(frozen=True, slots=True)
class ContractCoverage:
    """Ids of catalogue items, pools and departments (with all below them), and codes of classes. Where none is named, all of
    them."""

    items: frozenset[int] = frozenset()
    pools: frozenset[int] = frozenset()
    classes: frozenset[str] = frozenset()
    departments: frozenset[int] = frozenset()

    @property
    def whole(self) -> bool:
        """Whether it covers all that the company does."""
        return not any(self._named())

    @property
    def narrow(self) -> tuple[bool, ...]:
        """By what it is ranked: two of the same rank name the same dimensions."""
        return tuple(map(bool, self._named()))

    def _named(self) -> tuple[frozenset[Any], ...]:
        return self.items, self.pools, self.classes, self.departments

    def meets(self, other: ContractCoverage) -> bool:
        """Whether something may be covered by both."""
        return all(
            not mine or not theirs or mine & theirs for mine, theirs in zip(self._named(), other._named(), strict=True)
        )

    def covers(self, what: Held) -> bool:
        asked = (what.item_id, what.pool_id, what.kind, what.department_id)
        return all(not mine or one in mine for mine, one in zip(self._named(), asked, strict=True))

    def to_json(self) -> dict[str, list[Any]]:
        """As it is kept: dimensions that are named."""
        names = ("items", "pools", "classes", "departments")
        return {name: sorted(mine) for name, mine in zip(names, self._named(), strict=True) if mine}

    @classmethod
    def from_json(cls, told: Mapping[str, Sequence[Any]]) -> ContractCoverage:
        return cls(**{name: frozenset(of) for name, of in told.items()})


class Held(NamedTuple):
    """What is to be covered: something of a class (or LABOUR) that a company provides."""

    provider_id: int
    pool_id: int
    kind: str
    item_id: int | None = None
    department_id: int | None = None


@dataclass(frozen=True, slots=True)
class Lot:
    """A contract as far as it says what it covers; ``coverage`` names departments with all below them."""

    id: int
    number: str
    provider_id: int
    first_day: date
    last_day: date
    coverage: ContractCoverage

    def on(self, day: date) -> bool:
        return self.first_day <= day <= self.last_day

    @property
    def rank(self) -> tuple[int, ...]:
        """The narrowest first, of equal ones the one entered first."""
        return (*(not named for named in self.coverage.narrow), self.id)


@dataclass(frozen=True, slots=True)
class Lots:
    """The lots of companies, to be asked often."""

    by_company: Mapping[int, Sequence[Lot]]
    _fitting: dict[Held, list[Lot]] = field(default_factory=dict)
    _days: dict[tuple[Held, date, int], tuple[int | None, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, lots: Iterable[Lot]) -> Lots:
        found: dict[int, list[Lot]] = {}
        for lot in lots:
            found.setdefault(lot.provider_id, []).append(lot)
        return cls(found)

    def fitting(self, what: Held) -> list[Lot]:
        """Whatever the day, by rank."""
        if what not in self._fitting:
            mine = [lot for lot in self.by_company.get(what.provider_id, ()) if lot.coverage.covers(what)]
            self._fitting[what] = sorted(mine, key=lambda lot: lot.rank)
        return self._fitting[what]

    def on(self, what: Held, day: date) -> int | None:
        """The contract that covers something on a day; None: no one does."""
        return next((lot.id for lot in self.fitting(what) if lot.on(day)), None)

    def by_day(self, what: Held, first: date, days: int) -> tuple[int | None, ...]:
        """The contract of each of so many days."""
        key = (what, first, days)
        if key not in self._days:
            self._days[key] = tuple(self.on(what, first + timedelta(days=n)) for n in range(days))
        return self._days[key]

    def stretches(self, provider_ids: Collection[int], first: date, last: date) -> list[date]:
        """The first days of the stretches of these days within which no contract of these companies begins or ends."""
        mine = [lot for one in provider_ids for lot in self.by_company.get(one, ())]
        begun = {
            day for lot in mine for day in (lot.first_day, lot.last_day + timedelta(days=1)) if first < day <= last
        }
        return [first, *sorted(begun)]

    def alone(self, provider_id: int, first: date, last: date) -> int | None:
        """The contract that covers all that a company does over all of these days, where no other one has a part of it."""
        there = [lot for lot in self.by_company.get(provider_id, ()) if lot.first_day <= last and lot.last_day >= first]
        sole = len(there) == 1 and there[0].coverage.whole and there[0].on(first) and there[0].on(last)
        return there[0].id if sole else None
