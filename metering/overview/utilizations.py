"""What is measured of what is booked, by pool, department and kind: from the numbers that the latest assessment kept.

A mean over machines is weighed by what each has. The share of it that was measured stands beside it as coverage:
machines whose readings are missing lower the coverage, never the mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, case, func, select

from metering.judging import Assessment, Finding, findings
from quota.inventory import Resource
from quota.units import ACCELERATOR, MEMORY, VCPU, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx

FIGURES = {
    VCPU: ("cpu_mean", "cpu_coverage"),
    MEMORY: ("mem_mean", "mem_coverage"),
    ACCELERATOR: ("card_mean", "card_coverage"),
}
"""ClassCode → the figure and its coverage; other kinds have no utilisation that anybody measures."""

UtilizationKey = tuple[int, int, ClassCode]
"""Pool, department (0: nobody's), kind."""


@dataclass(slots=True)
class Utilization:
    """``mean`` in per cent of ``measured``, of which something is known; ``covered``: base units × share of slots."""

    load: float = 0.0
    measured: int = 0
    covered: float = 0.0
    total: int = 0

    @property
    def mean(self) -> float | None:
        return self.load / self.measured if self.measured else None

    @property
    def coverage(self) -> float | None:
        """In per cent of all that is there."""
        return 100 * self.covered / self.total if self.total else None

    def add(self, amount: int, mean: float | None, coverage: float | None) -> None:
        self.total += amount
        if mean is not None and coverage:
            self.load += amount * mean
            self.measured += amount
            self.covered += amount * coverage

    def join(self, other: Utilization) -> None:
        self.load += other.load
        self.measured += other.measured
        self.covered += other.covered
        self.total += other.total


UNMEASURED = Utilization()
"""Of what nothing measures."""


@dataclass(frozen=True)
class Measured:
    """Of one assessment: its id, the days that the means are over, and the utilisations."""

    run: Assessment | None
    days: int
    of: Mapping[UtilizationKey, Utilization]

    def total(
        self, kind: ClassCode, *, pools: Iterable[int] | None = None, departments: Iterable[int] | None = None
    ) -> Utilization:
        """All of ``kind`` in these pools and departments (every one where None)."""
        found = Utilization()
        in_pools = None if pools is None else set(pools)
        in_departments = None if departments is None else set(departments)
        for (pool_id, department_id, one), row in self.of.items():
            if (
                one == kind
                and (in_pools is None or pool_id in in_pools)
                and (in_departments is None or department_id in in_departments)
            ):
                found.join(row)
        return found


NOTHING = Measured(None, 0, MappingProxyType({}))


def measured(tx: Tx) -> Measured:
    """What the latest assessment measured; kept in this process until there is another."""
    run = findings.last_run(tx)
    if run is None:
        return NOTHING
    key = (str(tx.get_bind().engine.url), run.id, run.resources)
    kept = _kept(key)
    if not kept:
        kept.append(_read(tx, run))
    days, of = kept[0]
    return Measured(run, days, of)


@lru_cache(maxsize=4)
def _kept(key: tuple[str, int, int]) -> list[tuple[int, Mapping[UtilizationKey, Utilization]]]:  # noqa: ARG001 - what it is kept by
    return []


def _read(tx: Tx, run: Assessment) -> tuple[int, Mapping[UtilizationKey, Utilization]]:
    """Summed where the findings lie: their numbers are the largest thing that a city's book holds."""
    numbers = tx.scalar(select(Finding.numbers).where(Finding.assessment_id == run.id).limit(1)) or {}
    longest = max(numbers.get("windows") or {"0": {}}, key=int)  # all of an assessment are measured for the same
    columns = [one for kind in FIGURES for one in sums(kind, longest)]
    query = (
        select(Resource.pool_id, Resource.department_id, *columns)
        .join(Finding, Finding.resource_id == Resource.id)
        .where(Finding.assessment_id == run.id, Resource.gone_at.is_(None))
        .group_by(Resource.pool_id, Resource.department_id)
    )
    found: dict[UtilizationKey, Utilization] = {}
    for pool_id, department_id, *figures in tx.execute(query):
        for at, kind in enumerate(FIGURES):
            load, measured, covered, total = figures[4 * at : 4 * at + 4]
            if total:
                row = Utilization(float(load or 0), int(measured or 0), float(covered or 0), int(total))
                found[pool_id, department_id or 0, kind] = row
    return int(longest), MappingProxyType(found)


def sums(kind: ClassCode, days: str) -> list[ColumnElement[Any]]:
    """As `Utilization.add` adds: load, measured, covered and total."""
    mean, coverage = (Finding.numbers[("windows", days, name)].as_float() for name in FIGURES[kind])
    amount = Resource.amounts[kind].as_integer()
    known = mean.is_not(None) & (coverage > 0)
    return [*(func.sum(case((known, one))) for one in (amount * mean, amount, amount * coverage)), func.sum(amount)]
