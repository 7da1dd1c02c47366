"""Signatures: who decides a request, one step after the other, and what the last signature does.

Never the requester, never two steps of one request by one person, never provider staff; each only the step of the own
role, and only what the page showed. The last signature posts what was held, in whole or in part; the rest returns to
where it came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, exists, func, select
from sqlalchemy.orm import aliased

from quota import calendar
from quota.actors import ROLE_LABELS, Actor, Role
from quota.calendar import WorkingDays
from quota.directory import Person
from quota.errors import N_, Invalid, NotAllowed, WrongState, stated
from quota.requests import granting, progress, terms
from quota.requests.declarations import kind_of
from quota.requests.notices import NoticeKind, give
from quota.requests.rulebook import ApprovalRule, default_rules, enact, in_force
from quota.requests.rules import MAY_TAKE, STEP_LABELS, StepName
from quota.requests.tables import OPEN, Request, RequestLine, RequestState, RequestStep
from quota.units import CLASSES, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx

__all__ = [
    "DECISION_LABELS",
    "ApprovalRule",
    "Decision",
    "default_rules",
    "enact",
    "in_force",
    "lapse",
    "left_alone",
    "may_sign",
    "may_take",
    "moving",
    "others",
    "queue",
    "redate",
    "sign",
    "take",
]


class Decision(StrEnum):
    APPROVE = "approve"
    APPROVE_PART = "approve_part"
    RETURN = "return"
    REJECT = "reject"


DECISION_LABELS = {
    Decision.APPROVE: N_("通过"),
    Decision.APPROVE_PART: N_("部分通过"),
    Decision.RETURN: N_("退回补正"),
    Decision.REJECT: N_("驳回"),
}


def sign(
    tx: Tx,
    request: Request | int,
    *,
    decision: Decision,
    generation: int,
    quantities: Mapping[int, int] | None = None,
    amounts: Mapping[int, Mapping[ClassCode, int]] | None = None,
    reason: str = "",
    use_until: date | None = None,
) -> Request:
    """Decide the step that is under way. ``generation`` is the one that the page showed.

    approve: the figures as they stand, asked for or reduced by an earlier signature. approve_part: ``quantities``
    (line id → pieces) and ``amounts`` (line id → figures in base units that replace those asked for; kinds not named
    stay); a later signature may set them anew, never above what was asked for. return: the requester has to mend it,
    once a step. Reasons are required for all but approve. Where the term asked for has passed while the request waited, what
    is approved needs a new one, ``use_until``; it is of no account otherwise.

    Raises Conflict (request.stale) for a page that is out of date, NotAllowed, WrongState, Invalid, and OverCapacity
    where quota to be returned is in use meanwhile.
    """
    found = progress.lock(tx, request)
    _may_sign_at_all(tx.actor)
    found = progress.lock(tx, found, generation)
    progress.must_be(found, RequestState.IN_REVIEW)
    step = found.current
    assert step is not None  # noqa: S101 - a request in review has the step that it waits for
    _may_sign(tx.actor, found, step)
    decision = Decision(decision)
    if decision is not Decision.APPROVE:
        reason = stated(reason)
    if decision is Decision.RETURN:
        return _return(tx, found, step, reason)
    if decision is not Decision.APPROVE_PART and (quantities or amounts):
        raise Invalid("approve.whole", N_("改动数量请用“部分通过”"), field="decision")
    if decision is Decision.APPROVE_PART:
        _reduce(found, quantities or {}, amounts or {})
    before: dict[str, Any] = {"state": found.state, "step": step.name}
    if decision is not Decision.REJECT and terms.passed(tx, found):
        before["use_until"] = found.use_until
        terms.set_anew(tx, found, use_until)
    step.decision, step.decided_by, step.decided_at = decision.value, tx.actor.login, tx.now
    step.reason = reason.strip()
    return _reject(tx, found, step) if decision is Decision.REJECT else _go_on(tx, found, step, before)


def may_sign(tx: Tx, request: Request, actor: Actor | None = None) -> bool:
    """Whether ``actor`` (this transaction's where None) may decide the step that is under way."""
    who = actor or tx.actor
    step = request.current
    if request.state != RequestState.IN_REVIEW or step is None:
        return False
    try:
        _may_sign_at_all(who)
        _may_sign(who, request, step)
    except NotAllowed:
        return False
    return True


def others(tx: Tx, request: Request) -> list[Person]:
    """Who else may decide the step that is under way: people of its role who have an account, did not ask for it and took
    none of its other steps."""
    step = request.current
    if step is None:
        return []
    barred = {request.created_by, request.submitted_by, *(one.decided_by for one in request.path), tx.actor.login}
    people = tx.scalars(
        select(Person)
        .where(Person.role == step.role, Person.active, Person.granted, ~Person.service)
        .order_by(Person.name, Person.id)
    )
    return [one for one in people if one.login not in barred]


def left_alone() -> Select[Request]:
    """Requests whose technical review waits for a supervisor where none is left who may decide it, without an order."""
    own, done = aliased(RequestStep), aliased(RequestStep)
    able = exists().where(
        Person.role == Role.SUPERVISOR.value,
        Person.active,
        Person.granted,
        ~Person.service,
        Person.login.not_in([Request.created_by, func.coalesce(Request.submitted_by, "")]),
        ~exists().where(own.request_id == Request.id, own.round == Request.round, own.decided_by == Person.login),
    )
    reviewed = exists().where(
        done.request_id == Request.id, done.round == Request.round, done.name == StepName.FORM_CHECK.value,
        done.decided_by.is_not(None),
    )  # fmt: skip
    return select(Request).where(
        Request.state == RequestState.IN_REVIEW.value, Request.turn == Role.SUPERVISOR.value, reviewed, ~able
    )


def may_take(tx: Tx, request: Request) -> bool:
    """Whether the step under way may be taken over by this transaction's actor: one of the supervisor's that the authority
    may take too, and that no supervisor is left for."""
    step = request.current
    return (
        request.state == RequestState.IN_REVIEW
        and step is not None
        and step.role == Role.SUPERVISOR
        and tx.actor.role is Role.AUTHORITY
        and Role.AUTHORITY in MAY_TAKE[StepName(step.name)]
        and not others(tx, request)
    )


def take(tx: Tx, request: Request | int, generation: int, reason: str) -> Request:
    """The authority takes over a step that no supervisor is left for: a city may have one, and nobody decides two steps of
    a request. The limit runs on. Raises WrongState while somebody else may decide it, Invalid without a reason."""
    tx.actor.must_be(Role.AUTHORITY)
    found = progress.lock(tx, request, generation)
    progress.must_be(found, RequestState.IN_REVIEW)
    reason = stated(reason)
    step = found.current
    assert step is not None  # noqa: S101 - a request in review has the step that it waits for
    if not may_take(tx, found):
        raise WrongState(
            "approve.others",
            N_("“%(step)s”仍可由%(role)s办理,不能接办"),
            step=STEP_LABELS[StepName(step.name)],
            role=ROLE_LABELS[Role(step.role)],
        )
    before = {"role": step.role, "turn": found.turn}
    step.role = found.turn = Role.AUTHORITY.value
    progress.changed(
        tx, found, "request.take", before=before, after={"role": step.role, "turn": found.turn}, reason=reason
    )
    return found


URGENT = (Request.due_at, Request.submitted_at, Request.id)
"""The order of a queue: the most urgent first."""


def queue(tx: Tx, actor: Actor | None = None) -> list[Request]:
    """What waits for ``actor`` (this transaction's where None), the most urgent first."""
    return list(tx.scalars(queued(tx, actor).order_by(*URGENT)))


def queued(tx: Tx, actor: Actor | None = None) -> Select[Request]:
    """What waits for ``actor``, as a query without an order.

    For who signs: the steps that they may sign. For a department: what to mend and what to accept.
    """
    who = actor or tx.actor
    query = select(Request).where(Request.turn == who.role.value, progress.visible(tx, who))
    if who.role is Role.TENANT:
        query = query.where(Request.state.in_([RequestState.SUPPLEMENT, RequestState.ACCEPTING]))
    else:
        mine = aliased(RequestStep)
        query = query.where(
            Request.state == RequestState.IN_REVIEW,
            Request.created_by != who.login,
            Request.submitted_by != who.login,
            ~exists().where(mine.request_id == Request.id, mine.round == Request.round, mine.decided_by == who.login),
        )
    return query


def lapse(tx: Tx) -> list[Request]:
    """Withdraw what was returned for supplement and not mended in time, and tell the department. A job's work."""
    tx.actor.must_be(Role.SYSTEM)
    late = tx.scalars(
        select(Request.id)
        .where(Request.state == RequestState.SUPPLEMENT.value, Request.due_at < tx.now)
        .order_by(Request.id)
    ).all()
    lapsed = []
    for request_id in late:
        found = progress.lock(tx, request_id)
        # Mended between our reading and our lock: then it was mended in time.
        if found.state == RequestState.SUPPLEMENT and found.due_at is not None and found.due_at < tx.now:
            progress.close(tx, found, RequestState.WITHDRAWN, "request.lapse", N_("逾期未补正"))
            give(tx, found, NoticeKind.LAPSED, Role.TENANT, once="")
            lapsed.append(found)
    return lapsed


def redate(tx: Tx) -> list[Request]:
    """Compute the time limits that run anew, after the calendar was published or corrected; those that moved."""
    days = calendar.working_days(tx)
    moved = []
    stale = [
        request_id for request_id, due_at, step, due in _limits(tx, days) if due != due_at or due != _limit_of(step)
    ]
    for request_id in stale:
        found = progress.lock(tx, request_id)
        step = found.current
        if step is None:
            continue
        due = _due(step, days)
        if step.stopped:
            step.supplement_due_at = due
        else:
            step.due_at = due
        if due != found.due_at:
            before, found.due_at = found.due_at, due
            progress.changed(tx, found, "request.redate", before={"due_at": before}, after={"due_at": due})
            moved.append(found)
    return moved


def moving(tx: Tx, days: WorkingDays) -> list[tuple[Request, datetime | None]]:
    """Requests whose running limit would be another one by the calendar ``days``, and that limit. Changes nothing."""
    moved = [(request_id, due) for request_id, due_at, _step, due in _limits(tx, days) if due != due_at]
    return [(tx.get_one(Request, request_id), due) for request_id, due in moved]


# ---------------------------------------------------------------------------------------------------------- mechanism


def _limits(tx: Tx, days: WorkingDays) -> Iterator[tuple[int, datetime | None, RequestStep, datetime | None]]:
    """Each running request, the limit that it has, its step that is under way, and the limit by ``days``: by one query."""
    running = (
        select(Request.id, Request.due_at, RequestStep)
        .join(RequestStep, and_(RequestStep.request_id == Request.id, RequestStep.round == Request.round))
        .where(
            Request.turn.is_not(None),
            Request.state.in_([one.value for one in OPEN]),
            RequestStep.decided_at.is_(None),
        )
        .order_by(Request.id, RequestStep.sequence)
    )
    before = None
    for request_id, due_at, step in tx.execute(running):
        if request_id != before:
            yield request_id, due_at, step, _due(step, days)
        before = request_id


def _limit_of(step: RequestStep) -> datetime | None:
    return step.supplement_due_at if step.stopped else step.due_at


def _due(step: RequestStep, days: WorkingDays) -> datetime | None:
    """The limit that runs for ``step`` by ``days``: the supplement's where it was returned, else its own."""
    if step.stopped and step.returned_at is not None:
        return days.due(step.returned_at, step.supplement_days)
    return step.deadline(days)


def _may_sign_at_all(actor: Actor) -> None:
    actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)


def _may_sign(actor: Actor, request: Request, step: RequestStep) -> None:
    if actor.role.value != step.role:
        raise NotAllowed(
            "approve.not_your_step",
            N_("“%(step)s”由%(role)s办理"),
            step=STEP_LABELS[StepName(step.name)],
            role=ROLE_LABELS[Role(step.role)],
        )
    if actor.login in (request.created_by, request.submitted_by):
        raise NotAllowed("approve.own", N_("不能审批自己提交的申请"))
    if any(one.decided_by == actor.login for one in request.path):
        raise NotAllowed("approve.twice", N_("您已办理过这份申请的另一个步骤,须由他人办理"))


def _go_on(tx: Tx, request: Request, signed: RequestStep, before: Mapping[str, Any]) -> Request:
    """``signed`` was approved: the next step that decides begins, or it was the last one. ``before``: what stood before."""
    following = request.current
    if following is not None and following.signs:
        progress.start(tx, request, following)
    else:
        granting.grant(tx, request, following)
    after: dict[str, Any] = {
        "decision": signed.decision,
        "state": request.state,
        "step": following.name if following is not None else None,
        "turn": request.turn,
        "due_at": request.due_at,
        "approved": _approved(request),
    }
    if "use_until" in before:
        after["use_until"] = request.use_until
    progress.changed(tx, request, "request.sign", before=before, after=after, reason=signed.reason)
    granting.tell(tx, request, signed.reason)
    return request


def _reject(tx: Tx, request: Request, signed: RequestStep) -> Request:
    request.decided_at = tx.now
    progress.close(tx, request, RequestState.REJECTED, "request.reject", signed.reason)
    give(tx, request, NoticeKind.REJECTED, Role.TENANT, once="", text=signed.reason)
    return request


def _return(tx: Tx, request: Request, step: RequestStep, reason: str) -> Request:
    if any(one.name == step.name and one.returned_at is not None for one in request.steps):
        raise WrongState(
            "request.returned_before",
            N_("“%(step)s”已退回过一次,请作出通过或驳回的决定"),
            step=STEP_LABELS[StepName(step.name)],
        )
    step.returned_at, step.returned_by, step.return_reason = tx.now, tx.actor.login, reason
    step.supplement_due_at = calendar.working_days(tx).due(tx.now, step.supplement_days)
    step.due_at = None
    before = {"state": request.state}
    request.state = RequestState.SUPPLEMENT.value
    request.turn, request.due_at = Role.TENANT.value, step.supplement_due_at
    progress.changed(
        tx,
        request,
        "request.return",
        before=before,
        after={"state": request.state, "step": step.name, "due_at": request.due_at},
        reason=reason,
    )
    give(tx, request, NoticeKind.RETURNED, Role.TENANT, once=str(step.id), text=reason)
    return request


def _reduce(request: Request, quantities: Mapping[int, int], amounts: Mapping[int, Mapping[ClassCode, int]]) -> None:
    """Write what is approved of each line; lines not named stay as they stand."""
    lines = {line.id: line for line in request.lines}
    strangers = (set(quantities) | set(amounts)) - set(lines)
    if strangers:
        raise Invalid("approve.line", N_("这份申请没有这一项"), field="lines")
    says = kind_of(request).lines
    if says is not None and says.stands:
        raise Invalid("approve.as_it_stands", N_("资源按现状登记,不能部分通过;请用“通过”或“驳回”"), field="decision")
    before = [(line.granted_quantity, line.granted_amounts) for line in request.lines]
    for line_id, count in quantities.items():
        line = lines[line_id]
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= line.quantity:
            raise Invalid(
                "approve.quantity",
                N_("批准数量须在 0 到 %(most)s 之间"),
                most=line.quantity,
                field="quantities",
            )
        line.approved_quantity = count
    for line_id, figures in amounts.items():
        lines[line_id].approved = _shape(lines[line_id], figures)
    if before == [(line.granted_quantity, line.granted_amounts) for line in request.lines]:
        raise Invalid("approve.unchanged", N_("没有改动任何数量;请改用“通过”"), field="amounts")
    if not request.takes(approved=True) and not request.gives(approved=True):
        raise Invalid("approve.nothing", N_("批准量为零;请改用“驳回”"), field="amounts")


def _shape(line: RequestLine, figures: Mapping[ClassCode, int]) -> dict[str, int]:
    """The approved figures of ``line``: each between what is there now and what was asked for."""
    says = kind_of(line.request).lines
    if line.item_id is not None and says is not None and says.pieces:
        raise Invalid("approve.shape", N_("目录规格只能减少件数,不能改规格"), field="amounts")
    shape = dict(line.asked)
    for kind, figure in figures.items():
        name = CLASSES.known(kind)
        low, high = sorted((line.current.get(name, 0), line.asked.get(name, 0)))
        if isinstance(figure, bool) or not isinstance(figure, int) or not low <= figure <= high:
            raise Invalid(
                "approve.amount",
                N_("%(kind)s的批准量须在现有量与申请量之间"),
                kind=CLASSES[name].label,
                field=name,
            )
        shape[name] = figure
    return {name: figure for name, figure in shape.items() if figure}


def _approved(request: Request) -> list[dict[str, Any]]:
    return [
        {"line": line.position, "quantity": line.granted_quantity, "amounts": line.granted_amounts}
        for line in request.lines
    ]
