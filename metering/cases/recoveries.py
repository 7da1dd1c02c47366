"""What cases recovered, what is on its way, and what we should not have taken: the steward's own account."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, select

from metering.cases.files import Case
from metering.cases.steps import CaseState, Ending
from metering.judging import CALLS_FOR, TAKES, Assessment, CaseKind, Finding
from quota.directory import Department, Pool
from quota.inventory import Resource
from quota.ledger import Account, Entry, Holder, Transfer
from quota.requests import Request
from quota.units import CLASSES, Amount, Arch, ClassCode, Commodity

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

    recovered: dict[Commodity, int] = field(default_factory=dict)
    under_way: dict[Commodity, int] = field(default_factory=dict)
    given: dict[Commodity, int] = field(default_factory=dict)
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
        if state != CaseState.CLOSED:
            if CaseKind(kind) in TAKES:
                _add(found.under_way, Amount.from_json(recoverable).of_arch(Arch(arch)))
                found.cases_under_way += 1
        elif since is None or (closed_at is not None and closed_at >= since):
            if ending in TAKEN:
                _add(found.recovered, Amount.from_json(freed).of_arch(Arch(arch)))
                found.cases_recovered += 1
            elif ending == Ending.EXPANDED:
                _add(found.given, Amount.from_json(freed).of_arch(Arch(arch)))
                found.cases_given += 1
    return found


def recoverable(tx: Tx, run: Assessment) -> dict[Commodity, int]:
    """What could be taken by ``run``, whether or not a case is open: base units by class."""
    wanted = [verdict.value for verdict, kind in CALLS_FOR.items() if kind in TAKES]
    kinds = list(CLASSES)
    query = (
        select(Resource.arch, *_freed(kinds))
        .join(Resource, Resource.id == Finding.resource_id)
        .where(Finding.assessment_id == run.id, Finding.verdict.in_(wanted))
        .group_by(Resource.arch)
    )
    found: dict[Commodity, int] = {}
    for arch, *sums in tx.execute(query):
        _add(found, _by_class(kinds, sums).of_arch(Arch(arch)))
    return found


def recoverable_by_kind(tx: Tx, run: Assessment) -> Amount:
    """What ``run`` found to be recoverable, in base units by kind."""
    kinds = list(CLASSES)
    return _by_class(kinds, tx.execute(select(*_freed(kinds)).where(Finding.assessment_id == run.id)).one())


def _freed(kinds: Iterable[ClassCode]) -> list[ColumnElement[Any]]:
    """What findings would free, by class: summed where they lie, a city has as many as machines."""
    return [func.sum(Finding.recoverable[kind].as_integer()) for kind in kinds]


def _by_class(kinds: Iterable[ClassCode], sums: Iterable[Any]) -> Amount:
    return Amount({kind: int(figure) for kind, figure in zip(kinds, sums, strict=True) if figure})


def by_month(tx: Tx, since: datetime) -> list[tuple[datetime, Commodity, int]]:
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
        for cls, figure in Amount.from_json(freed).of_arch(Arch(arch)).items()
    ]


@dataclass(frozen=True, slots=True)
class Went:
    """What one department got for one reason: base units by class. ``subject`` (request:7; pool:1 for machines that were
    found in the cloud and entered; "" for a direct grant) as the ledger's transfers name it; ``number``: what people
    call it."""

    department_id: int
    department: str
    subject: str
    number: str
    at: datetime
    what: dict[Commodity, int]


def went_to(tx: Tx, since: datetime, most: int | None = None) -> list[Went]:
    """Who got what after something of that pool and class had come back since an instant; newest first, ``most`` of them.

    Traced to the entries of the ledger: what the transfers of one reason added to a department's granted and used
    quota, net. What moves within a department (an expansion inside its quota) adds nothing and is not listed; what is
    not listed is free still.
    """
    moved = (
        select(
            Account.pool_id,
            Account.kind,
            Account.arch,
            Account.department_id,
            Transfer.command,
            Transfer.subject,
            Transfer.at,
            Entry.delta,
        )
        .join(Entry, Entry.account_id == Account.id)
        .join(Transfer, Transfer.id == Entry.transfer_id)
        .where(
            Transfer.at >= since,
            Account.department_id.is_not(None),
            Account.holder.in_([Holder.GRANTED.value, Holder.USED.value]),
        )
        .order_by(Entry.id)
    )
    came_back: set[tuple[int, str, str]] = set()
    sums: dict[tuple[int, str], dict[Commodity, int]] = {}
    last: dict[tuple[int, str], datetime] = {}
    for pool_id, kind, arch, department_id, command, subject, at, delta in tx.execute(moved):
        if subject.startswith("case:"):  # takes, or moves within the quota that its department has
            if command == "reclaim":
                came_back.add((pool_id, kind, arch))
        elif department_id is not None and (pool_id, kind, arch) in came_back:
            gained = sums.setdefault((department_id, subject), {})
            cls = Commodity(ClassCode(kind), Arch(arch))
            gained[cls] = gained.get(cls, 0) + delta
            last[department_id, subject] = at
    gains = {key: {cls: n for cls, n in gained.items() if n > 0} for key, gained in sums.items()}
    newest = sorted((key for key, what in gains.items() if what), key=lambda key: (last[key], key[1]), reverse=True)[
        :most
    ]
    departments = select(Department.id, Department.name).where(Department.id.in_({one for one, _subject in newest}))
    names = dict(tx.execute(departments).all())
    numbers = _numbers(tx, [subject for _one, subject in newest])
    return [
        Went(one, names[one], subject, numbers.get(subject, ""), last[one, subject], gains[one, subject])
        for one, subject in newest
    ]


def _numbers(tx: Tx, subjects: Iterable[str]) -> dict[str, str]:
    """What people call the requests among these subjects of transfers."""
    asked = {one: one.partition(":")[2] for one in subjects if one.startswith("request:")}
    ids = {one: int(number) for one, number in asked.items() if number.isdigit()}
    query = select(Request.id, Request.number).where(Request.id.in_(ids.values()))
    known = dict(tx.execute(query).all())
    return {one: known.get(number) or one for one, number in ids.items()}


def _add(total: dict[Commodity, int], what: dict[Commodity, int]) -> None:
    for cls, figure in what.items():
        total[cls] = total.get(cls, 0) + figure
