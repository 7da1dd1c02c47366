"""Notices about surplus: opened and ended by what the newest assessment measured, moved on by people.

The share is what the findings on a department's own resources would free of its vCPU; those below it answer for theirs. What nobody
may take, and what is in a case already, is not counted. The terms (how much is allowed, how long the department has, how long after
the authority's urging) are the policy's, kept by each notice as they stood when it was opened; a policy that allows more since ends it.
What the last assessment of each calendar month found is kept, for a policy that asks for several months running.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    delete,
    false,
    func,
    select,
    text,
    true,
)
from sqlalchemy.orm import Mapped, joinedload, mapped_column, relationship

from metering.cases import openings
from metering.judging import MOST_MONTHS, Assessment, MeasuredUse, PolicyVersion, SurplusTerms, findings, months
from quota.actors import Actor, Role
from quota.base import Base, Count
from quota.calendar import working_days
from quota.db import among
from quota.directory import Department, subtree
from quota.errors import N_, NotAllowed, NotFound, WrongState, stated
from quota.inventory import Resource
from quota.units import VCPU

if TYPE_CHECKING:
    from quota.db import Tx


class SurplusState(StrEnum):
    REMINDED = "reminded"
    URGED = "urged"
    CUT = "cut"  # ruled: what is idle is to be taken by cases
    TAKEN = "taken"  # ruled so, and no more is left outside of cases than was allowed
    KEPT = "kept"  # ruled: it may stay as it is
    ENDED = "ended"  # no more idle than is allowed
    COVERED = "covered"  # what is idle beyond that is in cases, or may not be taken
    RELAXED = "relaxed"  # the policy allows as much by now
    DISSOLVED = "dissolved"  # the department is no more


SURPLUS_LABELS = {
    SurplusState.REMINDED: N_("已提醒"),
    SurplusState.URGED: N_("主管部门已督促"),
    SurplusState.CUT: N_("裁定收回"),
    SurplusState.TAKEN: N_("裁定收回，已逐台立案"),
    SurplusState.KEPT: N_("裁定保留"),
    SurplusState.ENDED: N_("已自行核减"),
    SurplusState.COVERED: N_("闲置已立案或依规保留"),
    SurplusState.RELAXED: N_("现行策略已允许"),
    SurplusState.DISSOLVED: N_("单位已撤并"),
}
MONTH_END_DAYS = 7
"""An assessment stands for its month where no more days of it are left than these."""
OPEN = frozenset({SurplusState.REMINDED.value, SurplusState.URGED.value})
_IS_OPEN = "state IN ('reminded', 'urged')"


class SurplusNotice(Base):
    """One reminder of one department and what came of it; at most one is open. ``freed`` of ``total`` base units of vCPU were
    idle when it was opened, above ``allowed`` per cent. ``due_at``: the end of the time that runs now. ``months``: where the policy
    asked for months, of each {month, freed, total}, the oldest first."""

    __tablename__ = "surplus_notices"
    __table_args__ = (
        CheckConstraint(f"(closed_at IS NULL) = ({_IS_OPEN})", name="closed"),
        Index(
            "uq_surplus_notices_open_department_id",
            "department_id",
            unique=True,
            sqlite_where=text(_IS_OPEN),
            postgresql_where=text(_IS_OPEN),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    policy_version_id: Mapped[int] = mapped_column(ForeignKey("policy_versions.id"))
    state: Mapped[str] = mapped_column(String(12))
    freed: Mapped[int] = mapped_column(Count)
    total: Mapped[int] = mapped_column(Count)
    allowed: Mapped[float] = mapped_column(Float)
    urge_days: Mapped[int]
    opened_at: Mapped[datetime]
    due_at: Mapped[datetime]
    reply: Mapped[str] = mapped_column(Text, default="")
    replied_by: Mapped[str] = mapped_column(String(64), default="")
    replied_at: Mapped[datetime | None]
    urging: Mapped[str] = mapped_column(Text, default="")
    urged_by: Mapped[str] = mapped_column(String(64), default="")
    urged_at: Mapped[datetime | None]
    closed_by: Mapped[str] = mapped_column(String(64), default="")
    closed_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(Text, default="")
    generation: Mapped[int] = mapped_column(default=1)
    months: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))

    department: Mapped[Department] = relationship()
    policy_version: Mapped[PolicyVersion] = relationship()

    @property
    def subject(self) -> str:
        return f"surplus:{self.id}"

    @property
    def open(self) -> bool:
        return self.state in OPEN

    @property
    def share(self) -> float:
        """Idle when it was opened, in per cent."""
        return 100 * self.freed / self.total if self.total else 0.0


class SurplusMonth(Base):
    """How much of what a department had was idle by the last assessment of a calendar month (``month``: its first day): as
    ``IdleShare`` had it on the morning after ``last_day``."""

    __tablename__ = "surplus_months"
    __table_args__ = (UniqueConstraint("department_id", "month"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"))
    month: Mapped[date] = mapped_column(index=True)
    last_day: Mapped[date]
    freed: Mapped[int] = mapped_column(Count)
    total: Mapped[int] = mapped_column(Count)
    known: Mapped[int] = mapped_column(Count)

    def share(self) -> IdleShare:
        return IdleShare(self.freed, self.total, self.known)

    @property
    def settled(self) -> bool:
        """Whether it was assessed at the month's end."""
        return (self.last_day + timedelta(days=MONTH_END_DAYS)).replace(day=1) > self.month


@dataclass(frozen=True, slots=True)
class IdleShare:
    """Of a department's own resources: ``freed`` of ``total`` base units of vCPU would be freed, ``known`` of them are measured.
    ``spared``: what else is idle, and may not be taken or is in a case."""

    freed: int
    total: int
    known: int
    spared: int = 0

    @property
    def percent(self) -> float:
        return 100 * self.freed / self.total if self.total else 0.0

    @property
    def idle(self) -> float:
        """In per cent, with what is spared."""
        return 100 * (self.freed + self.spared) / self.total if self.total else 0.0


# ------------------------------------------------------------------------------------------------------------ reading


def shares(tx: Tx, run: Assessment, department_id: int | None = None) -> Mapping[int, IdleShare]:
    """Department id → how much of what it has is idle by ``run``; of all departments, or of one."""
    sums = [func.sum(one) for one in (MeasuredUse.reclaimable, MeasuredUse.total, MeasuredUse.measured)]
    own = MeasuredUse.department_id
    query = (
        select(own, *sums)
        .where(MeasuredUse.assessment_id == run.id, MeasuredUse.kind == VCPU)
        .where(own.is_not(None) if department_id is None else own == department_id)
        .group_by(own)
    )
    spared = openings.spared(tx, run, department_id)
    found = {}
    for owner, *rest in tx.execute(query).all():
        freed, total, known = map(int, rest)
        kept = min(freed, spared.get(int(owner or 0), 0))
        found[int(owner or 0)] = IdleShare(freed - kept, total, known, kept)
    return found


def measured(tx: Tx, run: Assessment) -> Mapping[int, IdleShare]:
    """``shares`` of the departments of which as much is measured as the policy of ``run`` asks for wholes."""
    return {one: share for one, share in shares(tx, run).items() if _known(run, share)}


def current(tx: Tx, run: Assessment, department_id: int) -> IdleShare | None:
    """How much of what a department has is idle by ``run``: 0 of 0 where it has nothing left, None where too little is measured."""
    share = shares(tx, run, department_id).get(department_id)
    if share is None:
        return None if _holders(tx, [department_id]) else IdleShare(0, 0, 0)
    return share if _known(run, share) else None


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """What ``actor`` may see: a department its own and those of whom lies below it, who sees the whole city everything."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        return cast("ColumnElement[bool]", SurplusNotice.department_id.in_(subtree(tx, actor.department_id)))
    if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM):
        return true()
    return false()


def notice(tx: Tx, notice_id: int) -> SurplusNotice:
    """The notice, or NotFound, also where the actor may not see it."""
    query = select(SurplusNotice).options(joinedload(SurplusNotice.department)).where(SurplusNotice.id == notice_id)
    found = tx.scalar(query.where(visible(tx, tx.actor)))
    if found is None:
        raise NotFound("surplus.none", N_("没有编号为 %(id)s 的冗余提醒"), id=notice_id)
    return found


def over(tx: Tx, most: int) -> list[SurplusNotice]:
    """Open notices whose time is over: the authority's turn, the oldest first, ``most`` of them."""
    query = select(SurplusNotice).where(SurplusNotice.state.in_(OPEN), SurplusNotice.due_at < tx.now)
    return list(
        tx.scalars(query.options(joinedload(SurplusNotice.department)).order_by(SurplusNotice.due_at).limit(most))
    )


def to_take(tx: Tx, most: int) -> list[SurplusNotice]:
    """Rulings to take back of which more is left outside of cases than was allowed: the supervisor's turn, the oldest first,
    ``most`` of them."""
    query = select(SurplusNotice).join(SurplusNotice.department).where(SurplusNotice.state == SurplusState.CUT.value)
    query = query.where(Department.active).options(joinedload(SurplusNotice.department))
    return list(tx.scalars(query.order_by(SurplusNotice.closed_at, SurplusNotice.id).limit(most)))


# -------------------------------------------------------------------------------------------------------------- verbs


def review(tx: Tx, run: Assessment) -> tuple[int, int]:
    """Remind the departments that leave more idle than the policy of ``run`` allows, and end the notices of those that do no more;
    (reminded, ended). By the system alone, as often as one likes.

    A department of which less is measured than the policy asks for wholes is neither reminded nor let off: no data is not zero. One
    that has no vCPU left has none idle. Of a run that is not the newest, and by a policy that allows any share, nobody is reminded;
    nor who was ruled on, for as many months as a reminder gives; nor, where the policy asks for months, who was within it, or of
    whom too little is known, in one of them.
    """
    tx.actor.must_be(Role.SYSTEM)
    terms = run.policy_version.policy().surplus
    newest = findings.last_run(tx, run.policy_version.name)
    if newest is None or newest.id != run.id:
        return 0, 0
    known = shares(tx, run)
    _keep_month(tx, run, known)
    seen = {one: share for one, share in known.items() if _known(run, share)}
    active = dict(tx.execute(select(Department.id, Department.active)).all())
    standing = select(SurplusNotice).where(SurplusNotice.state.in_([*OPEN, SurplusState.CUT.value]))
    notices = tx.scalars(standing.order_by(SurplusNotice.id)).all()
    missing = {one.department_id for one in notices} - set(known)
    seen |= dict.fromkeys(missing - _holders(tx, missing), IdleShare(0, 0, 0))
    ended = 0
    held = _ruled_on(tx, terms.months)
    for one in notices:
        share = seen.get(one.department_id)
        if not one.open:
            _carried_out(tx, one, share)
            continue
        ending = SurplusState.DISSOLVED if not active[one.department_id] else _ending(one, share, terms.allowed)
        if ending is None:
            held.add(one.department_id)
        else:
            _close(tx, one, ending, "")
            ended += 1
    above = {
        one: share
        for one, share in sorted(seen.items())
        if terms.allowed is not None and share.percent > terms.allowed and one not in held and active[one]
    }
    remind = _months_above(tx, run, above, terms)
    for department_id, told in remind.items():
        _remind(tx, run, department_id, above[department_id], terms, told)
    return len(remind), ended


def answer(tx: Tx, notice_id: int, generation: int, said: str) -> SurplusNotice:
    """The department's own word on it, in place of what it said before. WrongState once it is closed; NotAllowed for those above."""
    one = _locked(tx, notice_id, generation)
    tx.actor.must_be(Role.TENANT)
    if tx.actor.department_id != one.department_id:
        raise NotAllowed("surplus.other", N_("由被提醒的单位自行答复"))
    stated(said, code="surplus.said", message=N_("请写明情况与核减安排"))
    one.reply, one.replied_by, one.replied_at = said.strip(), tx.actor.login, tx.now
    tx.audit("surplus.answer", one.subject, after={"reply": one.reply})
    return one


def urge(tx: Tx, notice_id: int, generation: int, said: str) -> SurplusNotice:
    """The authority's second word, once the time after the reminder is over; it begins the last one, in working days. WrongState
    before, or twice."""
    one = _locked(tx, notice_id, generation)
    tx.actor.must_be(Role.AUTHORITY)
    if one.state != SurplusState.REMINDED:
        raise WrongState("surplus.urged", N_("已经督促过"))
    _must_be_over(tx, one)
    stated(said, code="surplus.said", message=N_("请写明督促的要求"))
    one.state, one.urging, one.urged_by, one.urged_at = SurplusState.URGED.value, said.strip(), tx.actor.login, tx.now
    one.due_at = working_days(tx).due(tx.now, one.urge_days)
    tx.audit("surplus.urge", one.subject, after={"urging": one.urging, "due_at": one.due_at})
    return one


def rule(tx: Tx, notice_id: int, generation: int, *, cut: bool, reason: str) -> SurplusNotice:
    """The authority's ruling, once the time after its urging is over: ``cut``, what is idle is taken back by cases, each with its
    notice and its right to object; or it may stay. A person's act. WrongState before; NotAllowed for who urged."""
    one = _locked(tx, notice_id, generation)
    tx.actor.must_be(Role.AUTHORITY)
    tx.actor.must_sign()
    if one.state != SurplusState.URGED:
        raise WrongState("surplus.not_urged", N_("须先督促，逾期未核减的方可裁定"))
    _must_be_over(tx, one)
    if one.urged_by == tx.actor.login:
        raise NotAllowed("surplus.own", N_("本人督促的须由另一人裁定"))
    stated(reason, code="surplus.reason", message=N_("请写明裁定的理由"))
    _close(tx, one, SurplusState.CUT if cut else SurplusState.KEPT, reason.strip())
    return one


# ---------------------------------------------------------------------------------------------------------- mechanism


def _known(run: Assessment, share: IdleShare) -> bool:
    return share.known >= run.policy_version.policy().wholes.covered * share.total


def _holders(tx: Tx, department_ids: Collection[int]) -> set[int]:
    """Those of these departments that have any vCPU, whether it was measured or not."""
    query = select(Resource.department_id, Resource.amounts).where(Resource.gone_at.is_(None))
    rows = tx.execute(query.where(among(Resource.department_id, department_ids))) if department_ids else ()
    return {owner for owner, amounts in rows if owner is not None and amounts.get(VCPU)}


def _ending(one: SurplusNotice, share: IdleShare | None, allowed: float | None) -> SurplusState | None:
    """How an open notice ends by what is idle now, None: unknown; ``allowed``: by the policy that holds now, None: any share."""
    if share is not None and share.percent <= one.allowed:
        return SurplusState.ENDED if share.idle <= one.allowed else SurplusState.COVERED
    if allowed is None or (share is not None and share.percent <= allowed):
        return SurplusState.RELAXED
    return None


def _carried_out(tx: Tx, one: SurplusNotice, share: IdleShare | None) -> None:
    """Note of a ruling to take back that it is carried out, once cases leave no more than was allowed."""
    if share is not None and share.percent <= one.allowed:
        one.state = SurplusState.TAKEN.value
        one.generation += 1
        tx.audit("surplus.settle", one.subject, after={"freed": share.freed, "total": share.total})


def _keep_month(tx: Tx, run: Assessment, found: Mapping[int, IdleShare]) -> None:
    """What ``run`` found, as its month's, in place of what an earlier one of that month did; no longer than a policy can ask for."""
    month = run.last_day.replace(day=1)
    tx.execute(delete(SurplusMonth).where(SurplusMonth.month < months.closed(run.last_day, MOST_MONTHS)[0][0]))
    there = {one.department_id: one for one in tx.scalars(select(SurplusMonth).where(SurplusMonth.month == month))}
    for department_id, share in sorted(found.items()):
        row = there.get(department_id) or SurplusMonth(department_id=department_id, month=month)
        row.last_day, row.freed, row.total, row.known = run.last_day, share.freed, share.total, share.known
        tx.add(row)
    tx.flush()


def _months_above(
    tx: Tx, run: Assessment, departments: Collection[int], terms: SurplusTerms
) -> dict[int, list[dict[str, Any]]]:
    """Those of these departments that left more idle than is allowed in each month that the policy asks for, and what it was in each."""
    asked = [first for first, _last in months.closed(run.last_day, terms.held_months)]
    found: dict[int, list[dict[str, Any]]] = {one: [] for one in departments}
    query = select(SurplusMonth).where(SurplusMonth.month.in_(asked)).order_by(SurplusMonth.month)
    for row in tx.scalars(query) if asked else ():
        share = row.share()
        if row.department_id in found and row.settled and _known(run, share) and share.percent > (terms.allowed or 0.0):
            told = {"month": f"{row.month:%Y-%m}", "freed": row.freed, "total": row.total}
            found[row.department_id].append(told)
    return {one: told for one, told in found.items() if len(told) == len(asked)}


def _remind(
    tx: Tx, run: Assessment, department_id: int, share: IdleShare, terms: SurplusTerms, held: list[dict[str, Any]]
) -> None:
    allowed = terms.allowed or 0.0
    row = SurplusNotice(
        department_id=department_id, policy_version_id=run.policy_version_id, state=SurplusState.REMINDED.value,
        freed=share.freed, total=share.total, allowed=allowed, urge_days=terms.urge_days, months=held,
        opened_at=tx.now, due_at=working_days(tx).limit(tx.now, terms.months, "months"),
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    after = {"department": department_id, "freed": share.freed, "total": share.total, "allowed": allowed}
    tx.audit("surplus.remind", row.subject, after={**after, "due_at": row.due_at, **({"months": held} if held else {})})


def _locked(tx: Tx, notice_id: int, generation: int) -> SurplusNotice:
    one = notice(tx, notice_id)
    tx.lock(one)
    if not one.open:
        raise WrongState("surplus.closed", N_("该提醒已办结"))
    if one.generation != generation:
        raise WrongState("surplus.changed", N_("该提醒已被他人修改，请重新打开"))
    one.generation += 1
    return one


def _ruled_on(tx: Tx, months: int) -> set[int]:
    """Departments of whose surplus a ruling holds still."""
    calendar = working_days(tx)
    ruled = (SurplusState.CUT.value, SurplusState.TAKEN.value, SurplusState.KEPT.value)
    query = select(SurplusNotice.department_id, SurplusNotice.closed_at).where(SurplusNotice.state.in_(ruled))
    return {
        department_id
        for department_id, closed_at in tx.execute(query)
        if closed_at is not None and tx.now <= calendar.limit(closed_at, months, "months")
    }


def _must_be_over(tx: Tx, one: SurplusNotice) -> None:
    if tx.now <= one.due_at:
        raise WrongState("surplus.early", N_("期限未到：%(due)s"), due=one.due_at)


def _close(tx: Tx, one: SurplusNotice, state: SurplusState, reason: str) -> None:
    before = one.state
    one.state, one.closed_at, one.closed_by, one.reason = state.value, tx.now, tx.actor.login, reason
    one.generation += 1
    tx.audit("surplus.close", one.subject, before={"state": before}, after={"state": state.value}, reason=reason)
