"""How a request goes on: who sees it, whose turn it is, how it is locked as shown, changed, noted in the trail and closed.

What every verb about requests takes: those of ``submission``, ``approvals`` and ``fulfilment``, and those of a request kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, exists, false, or_, select, true

from quota import calendar, ledger, search
from quota.actors import Actor, Role
from quota.audit import AuditRecord
from quota.directory import Department, Person, Pool, System, delegations, departments
from quota.errors import N_, Conflict, NotAllowed, NotFound, WrongState
from quota.requests.rules import StepName
from quota.requests.tables import STATE_LABELS, Request, RequestLine, RequestState, RequestStep

if TYPE_CHECKING:
    from quota.db import Tx


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is: a role, for a department or a company where it is one's, at which step and until when."""

    role: Role
    step: RequestStep | None
    due_at: datetime | None
    department_id: int | None = None
    provider_id: int | None = None


def visible(tx: Tx, actor: Actor | None = None) -> ColumnElement[bool]:
    """What ``actor`` (this transaction's where None) may see of Request, as a condition for a query.

    A tenant sees its department and those below, and what it has a step of; authority, supervisor and auditor see all; a company
    what it is asked about; nobody else any.
    """
    who = actor or tx.actor
    if who.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM):
        return true()
    asked = exists().where(
        RequestStep.request_id == Request.id, RequestStep.round == Request.round, taken_by(tx, who), RequestStep.name != StepName.DELIVERY
    )  # fmt: skip
    if who.role is Role.TENANT and who.department_id is not None:
        return or_(Request.department_id.in_(departments.subtree(tx, who.department_id)), asked)
    return asked if who.role is Role.PROVIDER else false()


search.register(
    search.Sought(
        "request", 4, Request,
        select(
            Request.id, Request.department_id, Request.pool_id, Request.number, Department.name.label("department"),
            System.name.label("system"), Request.state,
        )
        .join(Department, Department.id == Request.department_id)
        .outerjoin(System, System.id == Request.system_id),
        lambda row: (
            row.number, " · ".join(filter(None, (row.department, row.system))), (row.department, row.system)
        ),
        visible,
        follows={"departments": Request.department_id, "systems": Request.system_id},
        narrowed=False,  # who is asked for a signature or an opinion sees it, too
    )
)  # fmt: skip


def taken_by(tx: Tx, who: Actor, step: type[RequestStep] = RequestStep) -> ColumnElement[bool]:
    """Whether ``who`` is the party of ``step``, a row of a query beside its Request, as a condition: also for whom he stands in, and
    where whom the rule names is there no more. Says nothing of what bars him, nor of whom it was handed to."""
    named = step.person
    mine = and_(
        step.role == who.role.value,
        or_(named.is_(None), named == who.login, named.in_(delegations.principals(tx, who)), left(step, named)),
    )
    if who.role is Role.TENANT:
        return and_(mine, step.department_id == who.department_id)
    if who.role is Role.PROVIDER:
        return and_(mine, Request.pool_id.in_(select(Pool.id).where(Pool.provider_id == who.provider_id)))
    return mine


def left(step: type[RequestStep], named: SQLColumnExpression[Any]) -> ColumnElement[bool]:
    """Whether who is ``named`` for ``step``, a row of a query beside its Request, is of its party no more: blocked, gone, or of another
    role, department or company by now. His step is then anybody's of the party."""
    company = select(Pool.provider_id).where(Pool.id == Request.pool_id).correlate(Request).scalar_subquery()
    there = (
        exists()
        .where(
            Person.login == named,
            Person.active,
            Person.granted,
            Person.role == step.role,
            or_(step.department_id.is_(None), Person.department_id == step.department_id),
            or_(Person.provider_id.is_(None), Person.provider_id == company),
        )
        .correlate(Request, step)  # by itself it would look past the query around it at any request
    )
    return and_(named.is_not(None), ~there)


def request(tx: Tx, request_id: int) -> Request:
    """The request, or NotFound: also where this actor may not see it."""
    found = tx.scalar(select(Request).where(Request.id == request_id, visible(tx)))
    if found is None:
        raise NotFound("request.none", N_("没有编号为 %(id)s 的申请"), id=request_id)
    return found


def whose_turn(request: Request) -> Turn | None:
    """Who must act next; None where nobody must."""
    if request.turn is None:
        return None
    role = Role(request.turn)
    current = request.current
    return Turn(
        role=role,
        step=current,
        due_at=request.due_at,
        department_id=_department(request, current) if role is Role.TENANT else None,
        provider_id=request.pool.provider_id if role is Role.PROVIDER else None,
    )


def _department(request: Request, step: RequestStep | None) -> int:
    """Whose turn it is of all departments: to mend and to accept is the applicant's, a step that of whom it names."""
    asked = step is not None and step.department_id is not None and request.state == RequestState.IN_REVIEW
    return step.department_id if asked and step is not None and step.department_id else request.department_id


def changes(tx: Tx, request: Request, generation: int) -> list[dict[str, Any]]:
    """What happened to it after ``generation``: by, at, action, before, after, reason; oldest first."""
    rows = tx.scalars(select(AuditRecord).where(AuditRecord.subject == request.subject).order_by(AuditRecord.sequence))
    return [
        {
            "by": row.actor,
            "at": row.at,
            "action": row.action,
            "before": row.before,
            "after": row.after,
            "reason": row.reason,
        }
        for row in rows
        if row.after.get("generation", 0) > generation
    ]


def lock(tx: Tx, request: Request | int, generation: int | None = None) -> Request:
    """The request as it is now, its row locked until this transaction ends.

    Where ``generation`` is given and is not the present one: Conflict, with ``by``, ``at``, ``generation`` and
    ``changes`` saying what happened meanwhile.
    """
    request_id = request if isinstance(request, int) else request.id
    tx.flush()
    if tx.scalar(select(Request.id).where(Request.id == request_id).with_for_update()) is None:
        raise NotFound("request.none", N_("没有编号为 %(id)s 的申请"), id=request_id)
    # Read again now that nobody else can change it: this session may have seen it before it was locked.
    fresh = {"populate_existing": True}
    found = tx.scalars(select(Request).where(Request.id == request_id).execution_options(**fresh)).one()
    tx.expire(found, ["lines", "steps"])
    for model in (RequestLine, RequestStep):
        tx.scalars(select(model).where(model.request_id == request_id).execution_options(**fresh)).all()
    if generation is not None and generation != found.generation:
        raise Conflict(
            "request.stale",
            N_("您看到的页面已过时:申请 %(number)s 已由 %(by)s 更新,请核对后再操作"),
            number=found.number,
            by=found.changed_by,
            at=found.changed_at,
            generation=found.generation,
            changes=changes(tx, found, generation),
        )
    return found


def must_be(request: Request, *states: RequestState) -> None:
    """Raise WrongState unless ``request`` is in one of ``states``."""
    if request.state not in states:
        raise WrongState(
            "request.state",
            N_("申请 %(number)s 现为“%(state)s”,不能这样操作"),
            number=request.number,
            state=STATE_LABELS[RequestState(request.state)],
        )


def act_for(tx: Tx, department_id: int) -> None:
    """Raise NotAllowed unless this actor acts for the department."""
    tx.actor.must_be(Role.TENANT)
    mine = departments.acting(tx, tx.actor).id
    if department_id != mine and department_id not in departments.subtree(tx, mine):
        raise NotAllowed("request.not_yours", N_("只能办理本单位及下属单位的申请"))


def own(tx: Tx, request: Request) -> None:
    """Raise NotAllowed unless this actor acts for the department of ``request``."""
    act_for(tx, request.department_id)


def changed(
    tx: Tx,
    request: Request,
    action: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
) -> None:
    """Raise the generation of ``request`` and note what was done."""
    request.generation += 1
    request.changed_by, request.changed_at = tx.actor.login, tx.now
    tx.flush()
    tx.audit(
        action,
        request.subject,
        before=before,
        after={"generation": request.generation, **(after or {})},
        reason=reason,
    )


def close(tx: Tx, request: Request, state: RequestState, action: str, reason: str, **told: str) -> None:
    """End ``request`` without granting it: void what it holds. ``told``: what the trail says besides."""
    before = {"state": request.state}
    holds = ledger.pending(tx, request.subject)
    if holds:
        ledger.void(tx, holds, key=f"{request.subject}/void/{request.round}")
    request.state = state.value
    request.turn, request.due_at, request.closed_at = None, None, tx.now
    changed(tx, request, action, before=before, after={"state": state, **told}, reason=reason)


def refill(tx: Tx, request: Request, gives: ledger.Classes, key: str) -> None:
    """``request`` gave back ``gives`` under ``key``: what of it came out of its system's share is the share's again."""
    ledger.shares.refill(
        tx, request.of_system, request.pool_id, request.department_id, gives, key=key, subject=request.subject
    )


def start(tx: Tx, request: Request, step: RequestStep, at: datetime | None = None) -> None:
    """Begin ``step``: from now on it is its role's turn; its clock runs from ``at`` on where that is later."""
    step.started_at = max(tx.now, at or tx.now)
    step.due_at = step.deadline(calendar.working_days(tx))
    request.turn, request.due_at = step.role, step.due_at


def begin(tx: Tx, request: Request) -> None:
    """Begin the steps of the stage that is under way, those that began already go on: it is the turn of who is due first."""
    days = calendar.working_days(tx)
    for step in request.active:
        if step.started_at is None:
            step.started_at = tx.now
            step.due_at = step.deadline(days)
    first = request.current
    if first is not None:
        request.turn, request.due_at = first.role, first.due_at
