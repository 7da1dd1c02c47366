"""What is measured of what is booked, by pool, department and kind: from the numbers that the latest assessment kept.

A mean over machines is weighed by what each has. The share of it that was measured stands beside it as coverage:
machines whose readings are missing lower the coverage, never the mean.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from metering.judging import Assessment, MeasuredUse, findings, wholes
from quota.db import among
from quota.units import ClassCode

if TYPE_CHECKING:
    from quota.db import Tx

UtilizationKey = tuple[int, int, ClassCode]
"""Pool, department (0: nobody's, or all together), kind."""


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

    def join(self, other: Utilization) -> None:
        self.load += other.load
        self.measured += other.measured
        self.covered += other.covered
        self.total += other.total


UNMEASURED = Utilization()
"""Of what nothing measures."""


@dataclass(frozen=True)
class Measured:
    """Of one assessment (None: there is none yet): its utilisations."""

    run: Assessment | None
    of: Mapping[UtilizationKey, Utilization] = field(default_factory=dict)

    def total(self, kind: ClassCode, *, pools: Iterable[int] | None = None) -> Utilization:
        """All of ``kind`` in these pools (every one where None)."""
        found = Utilization()
        in_pools = None if pools is None else set(pools)
        for (pool_id, _department_id, one), row in self.of.items():
            if one == kind and (in_pools is None or pool_id in in_pools):
                found.join(row)
        return found


def measured(
    tx: Tx,
    *,
    pools: Collection[int] | None = None,
    departments: Collection[int] | None = None,
    systems: Collection[int] | None = None,
    apart: bool = False,
) -> Measured:
    """What the latest assessment measured in these pools, departments and systems (every one where None); each department
    ``apart``, or all together."""
    run = findings.last_run(tx)
    if run is None:
        return Measured(None)
    whose = [func.coalesce(MeasuredUse.department_id, 0)] if apart else []
    sums = [func.sum(one) for one in (MeasuredUse.load, MeasuredUse.measured, MeasuredUse.covered, MeasuredUse.total)]
    query = (
        select(MeasuredUse.pool_id, MeasuredUse.kind, *sums, *whose)
        .where(MeasuredUse.assessment_id == run.id, MeasuredUse.kind.in_(list(wholes.FIGURES)), MeasuredUse.total > 0)
        .group_by(MeasuredUse.pool_id, MeasuredUse.kind, *whose)
    )
    for column, chosen in (
        (MeasuredUse.pool_id, pools),
        (MeasuredUse.department_id, departments),
        (MeasuredUse.system_id, systems),
    ):
        if chosen is not None:
            query = query.where(among(column, chosen))
    return Measured(
        run,
        {
            (pool_id, department[0] if department else 0, ClassCode(kind)): Utilization(
                float(load), int(known), float(covered), int(total)
            )
            for pool_id, kind, load, known, covered, total, *department in tx.execute(query)
        },
    )
