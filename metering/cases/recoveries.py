"""What cases recovered, what is on its way, and what we should not have taken: the steward's own account."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, func, literal, not_, select

from metering.cases.files import Case, Ruling
from metering.cases.steps import CaseState, Ending, Matter, RulingDecision
from metering.judging import TAKES, Assessment, MeasuredUse
from quota.directory import Department, Pool
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
    """Base units by class. ``recovered``: freed for good; ``under_way``: of open cases; ``given``: by expansions, for good, or
    lent and returned."""

    recovered: dict[Commodity, int] = field(default_factory=dict)
    under_way: dict[Commodity, int] = field(default_factory=dict)
    given: dict[Commodity, int] = field(default_factory=dict)
    cases_recovered: int = 0
    cases_under_way: int = 0
    cases_given: int = 0


def on_judgement() -> tuple[ColumnElement[bool], ...]:
    """Cases by which something was taken on a judgement: the end of a term is none."""
    takes = Case.kind.in_([kind.value for kind in TAKES])
    return takes, Case.effective_at.is_not(None), Case.term_id.is_(None)


def regret(tx: Tx, policy_version_id: int | None = None, since: datetime | None = None) -> Regret:
    """The regret of one policy version, or of all; of what was done since an instant, or ever."""
    query = select(func.count(), func.count(Case.regretted_at)).where(*on_judgement())
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
        .where(*on_judgement())
        .group_by(Case.policy_version_id)
    )
    return {version: Regret(acted, regretted) for version, acted, regretted in tx.execute(query)}


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Rulings on objections to the cases of a policy version, and how many of them upheld it."""

    ruled: int
    upheld: int


def contradictions(tx: Tx, policy_version_id: int) -> Contradiction:
    """How often departments objected to what was judged by a policy version, and were right."""
    query = (
        select(func.count(), func.count(case((Ruling.decision == RulingDecision.UPHOLD.value, 1))))
        .join(Case, Case.id == Ruling.case_id)
        .where(Ruling.matter == Matter.OBJECTION.value, Case.policy_version_id == policy_version_id)
    )
    ruled, upheld = tx.execute(query).one()
    return Contradiction(ruled, upheld)


def recoveries(tx: Tx, since: datetime | None = None, policy_version_id: int | None = None) -> Recoveries:
    """What was recovered (since an instant, or ever), what open cases would recover, what was given; by the cases of one policy
    version, or by all."""
    mine = [] if policy_version_id is None else [Case.policy_version_id == policy_version_id]
    ended = [Case.state == CaseState.CLOSED.value, *mine]
    if since is not None:
        ended.append(Case.closed_at >= since)
    taken = [one.value for one in TAKEN]
    open_ = [Case.state != CaseState.CLOSED.value, Case.kind.in_([kind.value for kind in TAKES]), *mine]
    found = Recoveries()
    found.cases_under_way, found.under_way = _summed(tx, Case.recoverable, *open_)
    found.cases_recovered, found.recovered = _summed(tx, Case.freed, Case.ending.in_(taken), *ended)
    found.cases_given, found.given = given(tx, *ended)
    return found


def given(tx: Tx, *where: ColumnElement[bool]) -> tuple[int, dict[Commodity, int]]:
    """How many expansions were carried out to their end, of the cases that ``where`` says, and what they gave: for good, or lent and
    returned; base units by class."""
    count, found = _summed(tx, Case.freed, Case.ending == Ending.EXPANDED.value, *where)
    returned = Case.ending == Ending.TERM_OVER.value, Case.effective_at.is_not(None)
    lent, amounts = _summed(tx, Case.recoverable, *returned, *where)
    _add(found, amounts)
    return count + lent, found


def _summed(tx: Tx, amounts: Any, *where: ColumnElement[bool]) -> tuple[int, dict[Commodity, int]]:
    """How many cases, and the sum of one of their columns of amounts, by class."""
    count, found = 0, dict[Commodity, int]()
    for _all, cases, sums in _sums(tx, amounts, literal(0), *where):
        count += cases
        _add(found, sums)
    return count, found


def _sums(
    tx: Tx, amounts: Any, by: Any, *where: ColumnElement[bool]
) -> Iterator[tuple[Any, int, dict[Commodity, int]]]:
    """As ``_summed``, ``by`` something and by architecture: summed where they lie."""
    kinds, group = list(CLASSES), by.label("by")
    cases = (
        select(group, Pool.arch, amounts.label("amounts")).join(Pool, Pool.id == Case.pool_id).where(*where).subquery()
    )
    columns = [func.sum(cases.c.amounts[kind].as_integer()) for kind in kinds]
    query = select(cases.c.by, cases.c.arch, func.count(), *columns).group_by(cases.c.by, cases.c.arch)
    for one, arch, count, *sums in tx.execute(query):
        told = {Commodity.of(kind, Arch(arch)): int(figure) for kind, figure in zip(kinds, sums, strict=True) if figure}
        yield one, count, told


def recoverable(tx: Tx, run: Assessment) -> dict[Commodity, int]:
    """What could be taken by ``run``, the newest of its policy, whether or not a case is open: base units by class."""
    found: dict[Commodity, int] = {}
    for arch, kind, figure in _reclaimable(tx, run, MeasuredUse.arch):
        _add(found, {Commodity.of(kind, Arch(arch)): figure})
    return found


def recoverable_by_kind(tx: Tx, run: Assessment) -> Amount:
    """What ``run``, the newest of its policy, found to be recoverable, in base units by kind."""
    return Amount(dict(_reclaimable(tx, run)))


def _reclaimable(tx: Tx, run: Assessment, *by: Any) -> list[Any]:
    """Rows of (what it is summed by, kind, base units), as far as there is any."""
    sums = (
        select(*by, MeasuredUse.kind, func.sum(MeasuredUse.reclaimable))
        .where(MeasuredUse.assessment_id == run.id, MeasuredUse.reclaimable > 0)
        .group_by(*by, MeasuredUse.kind)
    )
    return [(*where, ClassCode(kind), int(figure)) for *where, kind, figure in tx.execute(sums)]


def by_month(tx: Tx, months: Sequence[tuple[datetime, datetime]]) -> list[dict[Commodity, int]]:
    """What ended cases freed for good in each of these spans (from, to) that follow each other, in base units by class."""
    found: list[dict[Commodity, int]] = [{} for _month in months]
    taken = (
        Case.ending.in_([one.value for one in TAKEN]),
        Case.closed_at >= months[0][0],
        Case.closed_at < months[-1][1],
    )
    month = case(*((Case.closed_at < end, place) for place, (_begin, end) in enumerate(months)))
    for place, _count, sums in _sums(tx, Case.freed, month, *taken):
        _add(found[place], sums)
    return found


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
    entries = (
        select()
        .select_from(Entry)
        .join(Account, Account.id == Entry.account_id)
        .join(Transfer, Transfer.id == Entry.transfer_id)
        .where(
            Transfer.at >= since,
            Account.department_id.is_not(None),
            Account.holder.in_([Holder.GRANTED.value, Holder.USED.value]),
        )
    )
    where, of_case = (Account.pool_id, Account.kind, Account.arch), Transfer.subject.like("case:%")
    came_back = (
        entries.with_only_columns(*where, func.min(Entry.id).label("first"))
        .where(
            of_case, Transfer.command == "reclaim"
        )  # a case takes, or moves within the quota that its department has
        .group_by(*where)
        .subquery()
    )
    gained = (
        entries.with_only_columns(
            Account.department_id, Transfer.subject, Account.kind, Account.arch,
            func.sum(Entry.delta).label("gain"), func.max(Transfer.at).label("last"), func.min(Entry.id).label("begun"),
        )
        .join(came_back, and_(*(one == came_back.c[one.key] for one in where)))
        .where(not_(of_case), Entry.id > came_back.c.first)
        .group_by(Account.department_id, Transfer.subject, Account.kind, Account.arch)
        .subquery()
    )  # fmt: skip
    reasons = (gained.c.department_id, gained.c.subject)
    last = func.max(gained.c.last)
    newest = tx.execute(
        select(*reasons, last)
        .group_by(*reasons)
        .having(func.max(gained.c.gain) > 0)
        .order_by(last.desc(), gained.c.subject.desc(), func.min(gained.c.begun))
        .limit(most)
    ).all()
    gains: dict[tuple[int, str], dict[Commodity, int]] = {}
    shown = select(gained).where(gained.c.gain > 0, gained.c.subject.in_({subject for _one, subject, _at in newest}))
    for department_id, subject, kind, arch, gain, *_rest in tx.execute(shown):
        _add(gains.setdefault((department_id, subject), {}), {Commodity(ClassCode(kind), Arch(arch)): int(gain)})
    departments = select(Department.id, Department.name).where(
        Department.id.in_({one for one, _subject, _at in newest})
    )
    names = dict(tx.execute(departments).all())
    numbers = _numbers(tx, [subject for _one, subject, _at in newest])
    return [
        Went(one, names[one], subject, numbers.get(subject, ""), at, gains[one, subject]) for one, subject, at in newest
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
