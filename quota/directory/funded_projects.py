"""Funded projects (立项项目): what an information system is built for, by which approval and money, until when, and whether it was
accepted. A project has systems, these have resources.

    running ──(its planned day passes)──▶ late        either ──accept──▶ accepted, ──end──▶ ended; both ──reopen──▶ running or late

The register is the department's own word; acceptance and its end are the steward's. Nothing that runs is touched by any of it: rules
may ask (``requests.facts``) whether a request's system has a project that still runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Numeric,
    String,
    Text,
    UniqueConstraint,
    cast,
    false,
    or_,
    select,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Actor, Role
from quota.base import Base
from quota.calendar import ZONE
from quota.directory.departments import Department, System, above, department, must_be_open, subtree
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx

MOST_FUNDS = Decimal(10) ** 13
"""Yuan that no project has."""

RULERS = (Role.AUTHORITY, Role.SUPERVISOR)


class ProjectState(StrEnum):
    RUNNING = "running"
    LATE = "late"  # its planned day has passed and it was not accepted
    ACCEPTED = "accepted"
    ENDED = "ended"  # given up


class FundedProject(Base):
    """立项项目. ``funds`` in yuan; ``due_on``: the day by which it is to be accepted."""

    __tablename__ = "funded_projects"
    __table_args__ = (
        CheckConstraint("funds >= 0", name="funds"),
        CheckConstraint("due_on >= approved_on", name="days"),
        CheckConstraint("accepted_on IS NULL OR ended_on IS NULL", name="closed"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    approval_number: Mapped[str] = mapped_column(String(128), unique=True)
    name: Mapped[str] = mapped_column(String(128))
    department_id: Mapped[int] = mapped_column(ForeignKey("departments.id"), index=True)
    funds: Mapped[Decimal] = mapped_column(Numeric(16, 2))
    funding: Mapped[str] = mapped_column(String(128))
    approved_on: Mapped[date]
    due_on: Mapped[date] = mapped_column(index=True)
    accepted_on: Mapped[date | None]
    ended_on: Mapped[date | None]
    note: Mapped[str] = mapped_column(Text, default="")  # of its acceptance, or why it ended
    generation: Mapped[int] = mapped_column(default=1)
    by: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]

    department: Mapped[Department] = relationship()
    systems: Mapped[list[System]] = relationship(
        secondary="funded_project_systems", order_by="System.name", viewonly=True
    )

    @property
    def subject(self) -> str:
        return f"funded_project:{self.id}"

    @property
    def called(self) -> str:
        return self.name

    def state(self, today: date) -> ProjectState:
        """What it is on ``today``."""
        if self.ended_on is not None:
            return ProjectState.ENDED
        if self.accepted_on is not None:
            return ProjectState.ACCEPTED
        return ProjectState.LATE if self.due_on < today else ProjectState.RUNNING


class FundedProjectSystem(Base):
    """That a system belongs to a project; one may belong to several, built by one and extended by the next."""

    __tablename__ = "funded_project_systems"
    __table_args__ = (UniqueConstraint("project_id", "system_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("funded_projects.id"))
    system_id: Mapped[int] = mapped_column(ForeignKey("systems.id"), index=True)


FIELDS = {
    "approval_number": N_("立项批复文号"), "name": N_("项目名称"), "funds": N_("批复资金（元）"), "funding": N_("资金来源"),
    "approved_on": N_("批复日期"), "due_on": N_("计划验收日期"),
}  # fmt: skip
"""What is said of a project beside its department: field → label."""


Asks = Callable[["Tx", FundedProject], None]
_first: dict[str, list[Asks]] = {"change": [], "accept": []}


def before_change(asks: Asks) -> Asks:
    """Have ``asks`` raise where nobody may change a project or close it now (a decorator)."""
    return _before("change", asks)


def before_acceptance(asks: Asks) -> Asks:
    """Have ``asks`` raise where the steward may not note that a project was accepted (a decorator)."""
    return _before("accept", asks)


def _before(what: str, asks: Asks) -> Asks:
    if asks not in _first[what]:
        _first[what].append(asks)
    return asks


# ------------------------------------------------------------------------------------------------------------- reading


def visible(tx: Tx, actor: Actor) -> ColumnElement[bool]:
    """A tenant sees those of its departments; authority, supervisor and auditor all; nobody else any."""
    if actor.role is Role.TENANT and actor.department_id is not None:
        return FundedProject.department_id.in_(subtree(tx, actor.department_id))
    return true() if actor.role in (*RULERS, Role.AUDITOR, Role.SYSTEM) else false()


def in_state(state: ProjectState, today: date) -> ColumnElement[bool]:
    """Those that are in ``state`` on ``today``."""
    if state is ProjectState.ENDED:
        return FundedProject.ended_on.is_not(None)
    if state is ProjectState.ACCEPTED:
        return FundedProject.accepted_on.is_not(None)
    late = FundedProject.due_on < today if state is ProjectState.LATE else FundedProject.due_on >= today
    return FundedProject.ended_on.is_(None) & FundedProject.accepted_on.is_(None) & late


def project(tx: Tx, project_id: int) -> FundedProject:
    """The project, or NotFound: also where this actor may not see it."""
    found = tx.scalar(select(FundedProject).where(FundedProject.id == project_id, visible(tx, tx.actor)))
    if found is None:
        raise NotFound("project.none", N_("没有编号为 %(id)s 的立项项目"), id=project_id)
    return found


def named(tx: Tx, text: str) -> Sequence[FundedProject]:
    """The projects that this actor may see which ``text`` is the number, the approval number or the name of; at most two."""
    by = [
        FundedProject.name == text,
        FundedProject.approval_number == text,
        cast(FundedProject.id, String) == text,
    ]
    query = select(FundedProject).where(or_(*by), visible(tx, tx.actor)).order_by(FundedProject.id)
    return tx.scalars(query.limit(2)).all()


def of_system(tx: Tx, system_id: int) -> list[FundedProject]:
    """The projects of a system that this actor may see, in the order of ``counted``; of a system that changed hands also its former
    owner's."""
    return _of(tx, system_id, visible(tx, tx.actor))


def counted(tx: Tx, system: System) -> list[FundedProject]:
    """The projects by which requests of a system are judged, whoever looks: those of its department and of the ones above it, none
    of a former owner's. First those that run, then accepted ones, then ended ones; of each the one that is due last."""
    return _of(tx, system.id, FundedProject.department_id.in_(above(tx, system.department_id)))


def may_link(tx: Tx, one: FundedProject, *, off: bool = False) -> bool:
    """Whether this actor may say of systems that they belong to the project, or (``off``) do not. Since rules refuse requests by it,
    of one that is closed the steward alone may, and alone take systems off one that is late."""
    state = one.state(tx.now.astimezone(ZONE).date())
    free = state is ProjectState.RUNNING or (state is ProjectState.LATE and not off)
    return _keeps(tx, one.department_id) and (free or tx.actor.role in RULERS)


def _of(tx: Tx, system_id: int, which: ColumnElement[bool]) -> list[FundedProject]:
    query = (
        select(FundedProject)
        .join(FundedProjectSystem, FundedProjectSystem.project_id == FundedProject.id)
        .where(FundedProjectSystem.system_id == system_id, which)
    )
    rank = (FundedProject.ended_on.is_not(None), FundedProject.accepted_on.is_not(None))
    return list(tx.scalars(query.order_by(*rank, FundedProject.due_on.desc(), FundedProject.id.desc())))


# --------------------------------------------------------------------------------------------------------------- verbs


def register(tx: Tx, department_id: int, facts: Mapping[str, Any]) -> FundedProject:
    """Enter a project; ``facts`` are FIELDS, all of them. The department's, or the steward's.

    Raises NotAllowed for another department's, Invalid for what makes no sense, Conflict for an approval number that is taken.
    """
    _must_keep(tx, department_id)
    owner = department(tx, department_id)
    must_be_open(owner, "department")
    return _entered(tx, owner.id, _checked(facts))


def _entered(tx: Tx, department_id: int, checked: Mapping[str, Any]) -> FundedProject:
    tx.alone("funded projects")
    _must_be_free(tx, checked["approval_number"])
    made = FundedProject(department_id=department_id, **checked, note="", generation=1, by=tx.actor.login, at=tx.now)
    tx.add(made)
    tx.flush()
    tx.audit("project.register", made.subject, after={"department": department_id, **checked})
    return made


def amend(tx: Tx, project_id: int, facts: Mapping[str, Any], *, generation: int, reason: str = "") -> FundedProject:
    """Correct what is said of a project that is neither accepted nor ended; only what differs is written and audited.

    A later ``due_on`` asks a ``reason``; NotAllowed where the day has passed and the actor is not the steward's.
    """
    checked = _checked(facts)
    tx.alone("funded projects")
    found = _locked(tx, project_id, generation)
    _must_keep(tx, found.department_id)
    _must_be_open(found)
    _must_be_free_of(tx, found, "change")
    changed = {name: value for name, value in checked.items() if getattr(found, name) != value}
    if checked["due_on"] > found.due_on:
        reason = _postponed(tx, found, reason)
    if "approval_number" in changed:
        _must_be_free(tx, changed["approval_number"])
    if changed:
        before = {name: getattr(found, name) for name in changed}
        _change(tx, found, "project.amend", changed, before, reason.strip())
    return found


def attach(tx: Tx, project_id: int, system_ids: Collection[int]) -> FundedProject:
    """Say that these systems of the department, or of those below it, are what the project is for; what is said already stays.
    Of a project that was accepted or ended only the steward may."""
    found = _locked(tx, project_id)
    _must_link(tx, found)
    within = subtree(tx, found.department_id)
    for system_id in sorted(set(system_ids)):
        one = tx.get(System, system_id)
        if one is None or one.department_id not in within:
            raise Invalid("project.system", N_("只能选择项目单位及其下属单位的信息系统"), field="systems")
        said = (FundedProjectSystem.project_id == found.id) & (FundedProjectSystem.system_id == one.id)
        if tx.scalar(select(FundedProjectSystem.id).where(said)) is None:
            tx.add(FundedProjectSystem(project_id=found.id, system_id=one.id))
            tx.audit("project.attach", found.subject, after={"system": one.id})
    tx.flush()
    tx.expire(found, ["systems"])
    return found


def detach(tx: Tx, project_id: int, system_id: int) -> FundedProject:
    """Take back that a system belongs to the project; of one that is late, accepted or ended only the steward may. Raises NotFound
    where it does not belong to it."""
    found = _locked(tx, project_id)
    _must_link(tx, found, off=True)
    said = (FundedProjectSystem.project_id == found.id) & (FundedProjectSystem.system_id == system_id)
    row = tx.scalar(select(FundedProjectSystem).where(said))
    if row is None:
        raise NotFound("project.not_its", N_("该信息系统不属于这个项目"))
    tx.delete(row)
    tx.audit("project.detach", found.subject, before={"system": system_id})
    tx.flush()
    tx.expire(found, ["systems"])
    return found


def accept(tx: Tx, project_id: int, on: date, note: str, *, generation: int) -> FundedProject:
    """The steward notes that it was accepted on a day, with the conclusion, unless the city's rules want it asked for."""
    tx.actor.must_be(*RULERS)
    found = _locked(tx, project_id, generation)
    _must_be_open(found)
    _must_be_free_of(tx, found, "change", "accept")
    _not_to_come(tx, found, on)
    said = stated(note, "note", code="project.note", message=N_("请写明验收结论"))
    return _change(tx, found, "project.accept", {"accepted_on": on, "note": said}, {"accepted_on": None})


def accept_as_asked(tx: Tx, project_id: int, note: str) -> FundedProject:
    """A request for its acceptance was granted, by whoever had to sign it."""
    found = tx.lock(tx.get_one(FundedProject, project_id))
    _must_be_open(found)
    after = {"accepted_on": tx.now.astimezone(ZONE).date(), "note": note}
    return _change(tx, found, "project.accept", after, {"accepted_on": None})


def enter_as_asked(tx: Tx, department_id: int, facts: Mapping[str, Any], asked: str) -> FundedProject:
    """A request for a project (``asked``: its number) was granted, by whoever had to sign it: it is registered. One document may approve
    many: all but the first have the request's number behind the document's."""
    checked = _checked(facts)
    tx.alone("funded projects")
    if _has(tx, checked["approval_number"]):
        checked["approval_number"] += f" · {asked}"
    return _entered(tx, department_id, checked)


def attach_as_asked(tx: Tx, one: FundedProject, system_id: int) -> None:
    """The system that a granted request named is what the project is for."""
    tx.add(FundedProjectSystem(project_id=one.id, system_id=system_id))
    tx.audit("project.attach", one.subject, after={"system": system_id})
    tx.flush()


def end(tx: Tx, project_id: int, on: date, reason: str, *, generation: int) -> FundedProject:
    """The steward notes that it was given up on a day, and why. Nothing of its systems ends by it."""
    tx.actor.must_be(*RULERS)
    found = _locked(tx, project_id, generation)
    _must_be_open(found)
    _must_be_free_of(tx, found, "change")
    _not_to_come(tx, found, on)
    return _change(tx, found, "project.end", {"ended_on": on, "note": stated(reason, "note")}, {"ended_on": None})


def reopen(tx: Tx, project_id: int, reason: str, *, generation: int) -> FundedProject:
    """The steward takes back that it was accepted or ended."""
    tx.actor.must_be(*RULERS)
    found = _locked(tx, project_id, generation)
    if found.accepted_on is None and found.ended_on is None:
        raise WrongState("project.open", N_("该项目尚未验收或终止"))
    before = {"accepted_on": found.accepted_on, "ended_on": found.ended_on, "note": found.note}
    said = stated(reason)
    return _change(tx, found, "project.reopen", {"accepted_on": None, "ended_on": None, "note": ""}, before, said)


# ----------------------------------------------------------------------------------------------------------- mechanism


def _checked(facts: Mapping[str, Any]) -> dict[str, Any]:
    """FIELDS as they are kept. Raises Invalid naming the one that makes no sense."""
    found = {name: facts.get(name) for name in FIELDS}
    for name in ("approval_number", "name", "funding"):
        found[name] = stated(
            str(found[name] or ""), name, code="project.empty", message=N_("立项批复文号、名称和资金来源都不能为空")
        )
    funds = found["funds"]
    if not (
        isinstance(funds, Decimal)
        and funds.is_finite()
        and 0 <= funds < MOST_FUNDS
        and funds == funds.quantize(Decimal("0.01"))
    ):
        raise Invalid("project.funds", N_("批复资金须为不小于零、最多两位小数的金额"), field="funds")
    if not isinstance(found["approved_on"], date) or not isinstance(found["due_on"], date):
        raise Invalid("project.days", N_("请填写批复日期和计划验收日期"), field="approved_on")
    if found["due_on"] < found["approved_on"]:
        raise Invalid("project.order", N_("计划验收日期不能早于批复日期"), field="due_on")
    return found


def _has(tx: Tx, approval_number: str) -> bool:
    query = select(FundedProject.id).where(FundedProject.approval_number == approval_number)
    return tx.scalar(query) is not None


def _must_be_free(tx: Tx, approval_number: str) -> None:
    if _has(tx, approval_number):
        raise Conflict(
            "project.taken", N_("立项批复文号 %(number)s 已登记"), number=approval_number, field="approval_number"
        )


def _must_keep(tx: Tx, department_id: int) -> None:
    """Raise NotAllowed unless this actor may say something of a project of the department."""
    if not _keeps(tx, department_id):
        raise NotAllowed("project.not_yours", N_("只能登记本单位及下属单位的立项项目"))


def _keeps(tx: Tx, department_id: int) -> bool:
    who = tx.actor
    own = who.role is Role.TENANT and who.department_id is not None and department_id in subtree(tx, who.department_id)
    return own or who.role in RULERS


def _must_link(tx: Tx, one: FundedProject, *, off: bool = False) -> None:
    _must_keep(tx, one.department_id)
    if not may_link(tx, one, off=off):
        raise NotAllowed(
            "project.links", N_("该项目已过计划验收日期、已验收或已终止，所关联的信息系统只能由主管部门或运营监督人员更正")
        )  # fmt: skip


def _postponed(tx: Tx, one: FundedProject, reason: str) -> str:
    """The reason for a later day of a project. Raises NotAllowed or Invalid where it may not be put off, or not without one."""
    if one.state(tx.now.astimezone(ZONE).date()) is ProjectState.LATE and tx.actor.role not in RULERS:
        raise NotAllowed("project.late", N_("计划验收日期已过，只能由主管部门或运营监督人员推迟"))
    return stated(reason, code="project.postponed", message=N_("推迟计划验收日期须写明理由"))


def _must_be_free_of(tx: Tx, one: FundedProject, *what: str) -> None:
    for each in what:
        for asks in _first[each]:
            asks(tx, one)


def _must_be_open(one: FundedProject) -> None:
    if one.accepted_on is not None or one.ended_on is not None:
        raise WrongState("project.closed", N_("该项目已验收或终止"))


def _not_to_come(tx: Tx, one: FundedProject, day: date) -> None:
    if not one.approved_on <= day <= tx.now.astimezone(ZONE).date():
        raise Invalid("project.day", N_("日期须在批复日期与今天之间"), field="on")


def _locked(tx: Tx, project_id: int, generation: int | None = None) -> FundedProject:
    stale = Conflict("project.stale", N_("该项目已被他人更新，请核对后再办理"))
    return tx.lock_as_shown(project(tx, project_id), generation, stale)


def _change(
    tx: Tx, one: FundedProject, action: str, after: Mapping[str, Any], before: Mapping[str, Any], reason: str = ""
) -> FundedProject:
    for name, value in after.items():
        setattr(one, name, value)
    one.generation += 1
    tx.flush()
    tx.audit(action, one.subject, before=before, after=after, reason=reason)
    return one
