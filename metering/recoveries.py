"""What cases recovered, what is on its way, and what we should not have taken: the steward's own account."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from metering.case_files import Case
from metering.case_steps import TAKES, Ending, State
from quota.units import Arch, ResourceClass, amounts, classes

if TYPE_CHECKING:
    from quota.db import Tx

TAKEN = (Ending.SHRUNK, Ending.DELETED)


@dataclass(frozen=True, slots=True)
class Regret:
    """Of how many resources that were stopped or shrunk under a policy version it turned out that we should not have:
    they were wanted back, or strained in their new shape."""

    acted: int
    regretted: int

    @property
    def rate(self) -> float | None:
        """Share of those acted on; None where nothing was done."""
        return self.regretted / self.acted if self.acted else None


@dataclass(slots=True)
class Recoveries:
    """Base units by class. ``recovered``: freed for good; ``under_way``: of open cases; ``given``: by expansions."""

    recovered: dict[ResourceClass, int] = field(default_factory=dict)
    under_way: dict[ResourceClass, int] = field(default_factory=dict)
    given: dict[ResourceClass, int] = field(default_factory=dict)


def regret(tx: Tx, policy_version_id: int | None = None, since: datetime | None = None) -> Regret:
    """The regret of one policy version, or of all; of what was done since an instant, or ever."""
    query = select(Case.regretted_at).where(
        Case.kind.in_([kind.value for kind in TAKES]), Case.effective_at.is_not(None)
    )
    if policy_version_id is not None:
        query = query.where(Case.policy_version_id == policy_version_id)
    if since is not None:
        query = query.where(Case.effective_at > since)
    rows = tx.scalars(query).all()
    return Regret(len(rows), sum(at is not None for at in rows))


def recoveries(tx: Tx, since: datetime | None = None) -> Recoveries:
    """What was recovered (since an instant, or ever), what open cases would recover, what was given."""
    found = Recoveries()
    for one in tx.scalars(select(Case)):
        arch = Arch(one.pool.arch)
        if one.state != State.CLOSED:
            if one.takes:
                _add(found.under_way, classes(one.recovers(), arch))
        elif since is None or (one.closed_at is not None and one.closed_at >= since):
            if one.ending in TAKEN:
                _add(found.recovered, classes(amounts(one.freed), arch))
            elif one.ending == Ending.EXPANDED:
                _add(found.given, classes(amounts(one.freed), arch))
    return found


def _add(total: dict[ResourceClass, int], what: dict[ResourceClass, int]) -> None:
    for cls, figure in what.items():
        total[cls] = total.get(cls, 0) + figure
