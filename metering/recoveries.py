"""What cases recovered, what is on its way, and what we should not have taken: the steward's own account."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload, selectinload

from metering.case_files import Case
from metering.case_steps import CALLS_FOR, TAKES, CaseKind, Ending, State
from metering.findings import Assessment, Finding
from providers.inventory import Resource
from quota.agencies import Department
from quota.dossier import Request, RequestState
from quota.pools import Pool
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
    cases_recovered: int = 0
    cases_under_way: int = 0
    cases_given: int = 0


def regret(tx: Tx, policy_version_id: int | None = None, since: datetime | None = None) -> Regret:
    """The regret of one policy version, or of all; of what was done since an instant, or ever."""
    query = select(func.count(), func.count(Case.regretted_at)).where(
        Case.kind.in_([kind.value for kind in TAKES]), Case.effective_at.is_not(None)
    )
    if policy_version_id is not None:
        query = query.where(Case.policy_version_id == policy_version_id)
    if since is not None:
        query = query.where(Case.effective_at > since)
    acted, regretted = tx.execute(query).one()
    return Regret(acted, regretted)


def regrets(tx: Tx) -> dict[int, Regret]:
    """Policy version id → its regret, of those under which anything was taken."""
    query = (
        select(Case.policy_version_id, func.count(), func.count(Case.regretted_at))
        .where(Case.kind.in_([kind.value for kind in TAKES]), Case.effective_at.is_not(None))
        .group_by(Case.policy_version_id)
    )
    return {version: Regret(acted, regretted) for version, acted, regretted in tx.execute(query)}


def recoveries(tx: Tx, since: datetime | None = None) -> Recoveries:
    """What was recovered (since an instant, or ever), what open cases would recover, what was given."""
    found = Recoveries()
    query = select(Case.kind, Case.state, Case.ending, Case.closed_at, Case.recoverable, Case.freed, Pool.arch).join(
        Pool, Pool.id == Case.pool_id
    )
    for kind, state, ending, closed_at, recoverable, freed, arch in tx.execute(query):
        if state != State.CLOSED:
            if CaseKind(kind) in TAKES:
                _add(found.under_way, classes(amounts(recoverable), Arch(arch)))
                found.cases_under_way += 1
        elif since is None or (closed_at is not None and closed_at >= since):
            if ending in TAKEN:
                _add(found.recovered, classes(amounts(freed), Arch(arch)))
                found.cases_recovered += 1
            elif ending == Ending.EXPANDED:
                _add(found.given, classes(amounts(freed), Arch(arch)))
                found.cases_given += 1
    return found


def recoverable(tx: Tx, run: Assessment) -> dict[ResourceClass, int]:
    """What could be taken by ``run``, whether or not a case is open: base units by class."""
    wanted = [verdict.value for verdict, kind in CALLS_FOR.items() if kind in TAKES]
    query = (
        select(Finding.recoverable, Resource.arch)
        .join(Resource, Resource.id == Finding.resource_id)
        .where(Finding.assessment_id == run.id, Finding.verdict.in_(wanted))
    )
    found: dict[ResourceClass, int] = {}
    for what, arch in tx.execute(query):
        _add(found, classes(amounts(what), Arch(arch)))
    return found


def by_month(tx: Tx, since: datetime) -> list[tuple[datetime, ResourceClass, int]]:
    """What ended cases freed for good since an instant: (closed at, class, base units) each, oldest first."""
    query = (
        select(Case.closed_at, Case.freed, Pool.arch)
        .join(Pool, Pool.id == Case.pool_id)
        .where(Case.ending.in_([one.value for one in TAKEN]), Case.closed_at >= since)
        .order_by(Case.closed_at)
    )
    return [
        (closed_at, cls, figure)
        for closed_at, freed, arch in tx.execute(query)
        if closed_at is not None
        for cls, figure in classes(amounts(freed), Arch(arch)).items()
    ]


@dataclass(frozen=True, slots=True)
class Went:
    """What a department was given since: base units by class, by expansion cases and by requests that are done."""

    department: str
    by_cases: dict[ResourceClass, int]
    by_requests: dict[ResourceClass, int]


def went_to(tx: Tx, since: datetime) -> list[Went]:
    """Who was given what since an instant: what was freed went there or is still free. By department's name."""
    found: dict[str, Went] = {}
    grown = (
        select(Department.name, Case.freed, Pool.arch)
        .join(Department, Department.id == Case.department_id)
        .join(Pool, Pool.id == Case.pool_id)
        .where(Case.ending == Ending.EXPANDED.value, Case.closed_at >= since)
    )
    for name, freed, arch in tx.execute(grown):
        one = found.setdefault(name, Went(name, {}, {}))
        _add(one.by_cases, classes(amounts(freed), Arch(arch)))
    done = (
        select(Request)
        .where(Request.state == RequestState.DONE.value, Request.closed_at >= since)
        .options(joinedload(Request.department), joinedload(Request.pool), selectinload(Request.lines))
    )
    for request in tx.scalars(done):
        takes = request.takes(approved=True)
        if takes:
            one = found.setdefault(request.department.name, Went(request.department.name, {}, {}))
            _add(one.by_requests, takes)
    return sorted(found.values(), key=lambda one: one.department)


def _add(total: dict[ResourceClass, int], what: dict[ResourceClass, int]) -> None:
    for cls, figure in what.items():
        total[cls] = total.get(cls, 0) + figure
