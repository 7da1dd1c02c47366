"""Signatures: who decides a request, one step after the other, and what the last signature does.

Never the requester, never two steps of one request by one person, never provider staff; each only the step of the own
role, and only what the page showed. The last signature posts what was held, in whole or in part; the rest returns to
where it came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, and_, exists, false, func, or_, select, true
from sqlalchemy.orm import aliased

from quota import calendar
from quota.actors import ROLE_LABELS, Actor, Role
from quota.calendar import WorkingDays
from quota.directory import Person, delegations
from quota.errors import N_, Invalid, NotAllowed, WrongState, stated
from quota.requests import formbook, granting, progress, tasks, terms
from quota.requests.declarations import kind_of
from quota.requests.notices import NoticeKind, RequestNotice, give
from quota.requests.rulebook import ApprovalRule, default_rules, enact, in_force
from quota.requests.rules import StepName
from quota.requests.tables import OPEN, Request, RequestLine, RequestState, RequestStep
from quota.units import CLASSES, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx

__all__ = [
    "DECISION_LABELS",
    "NOT_NEEDED",
    "ApprovalRule",
    "Decision",
    "able",
    "assign",
    "barred",
    "colleague",
    "default_rules",
    "enact",
    "fallen",
    "holder",
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
    "signable",
    "step_of",
    "take",
    "tell_fallen",
    "to_sign",
    "with_others",
]


class Decision(StrEnum):
    APPROVE = "approve"
    APPROVE_PART = "approve_part"
    RETURN = "return"
    REJECT = "reject"


NOT_NEEDED = "not_needed"
"""What became of a party whose word was not needed any more."""

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
    record: str = "",
    replacement: formbook.Replacement | None = None,
) -> Request:
    """Decide the step that is under way, of several the own one. ``generation`` is the one that the page showed.

    approve: the figures as they stand, asked for or reduced by an earlier signature. approve_part: ``quantities``
    (line id → pieces) and ``amounts`` (line id → figures in base units that replace those asked for; kinds not named
    stay); a later signature may set them anew, never above what was asked for. return: the requester has to mend it,
    once a step. Reasons are required for all but approve. Where the term asked for has passed while the request waited, what
    is approved needs a new one, ``use_until``; it is of no account otherwise. Where the step asks for a document, what is approved needs
    its number, ``record``. Where the rule of the step lets it, approve_part may say another shape, purpose or zone, ``replacement``. A company gives its opinion (approve, with a reason) and decides nothing.

    Raises Conflict (request.stale) for a page that is out of date, NotAllowed, WrongState, Invalid, and OverCapacity
    where quota to be returned is in use meanwhile.
    """
    found = progress.lock(tx, request)
    _may_sign_at_all(tx, tx.actor, found)
    found = progress.lock(tx, found, generation)
    progress.must_be(found, RequestState.IN_REVIEW)
    step = _own_step(tx, tx.actor, found)
    decision = Decision(decision)
    if decision is not Decision.APPROVE or step.advises:
        reason = stated(reason)
    if step.advises and decision is not Decision.APPROVE:
        raise Invalid("approve.advises", N_("云服务商只出具意见,不作决定"), field="decision")
    approves = decision in (Decision.APPROVE, Decision.APPROVE_PART)
    if step.record and approves:
        step.record_number = _numbered(record)
    if decision is Decision.RETURN:
        return _return(tx, found, step, reason)
    if decision is not Decision.APPROVE_PART and (quantities or amounts or replacement):
        raise Invalid("approve.whole", N_("改动数量请用“部分通过”"), field="decision")
    before: dict[str, Any] = {"state": found.state, "step": step.label or step.name}
    if decision is Decision.APPROVE_PART:
        said = dict(found.fields)
        replaced = formbook.replace(tx, found, step, replacement or formbook.Replacement())
        _reduce(found, quantities or {}, amounts or {}, replaced=replaced)
        if replaced:
            before["fields"] = said
            give(tx, found, NoticeKind.REPLACED, Role.TENANT, once=str(step.id), text=reason)
    if decision is not Decision.REJECT and terms.passed(tx, found):
        before["use_until"] = found.use_until
        terms.set_anew(tx, found, use_until)
    step.decision, step.decided_by, step.decided_at = decision.value, tx.actor.login, tx.now
    step.decided_for = _stands_in_for(tx, tx.actor, step)
    step.reason = reason.strip()
    if decision is Decision.REJECT and not _still_reached(found, step):
        return _reject(tx, found, step)
    return _go_on(tx, found, step, before)


def may_sign(tx: Tx, request: Request, actor: Actor | None = None) -> bool:
    """Whether ``actor`` (this transaction's where None) may decide the step that is under way."""
    who = actor or tx.actor
    if request.state != RequestState.IN_REVIEW:
        return False
    try:
        _may_sign_at_all(tx, who, request)
        _own_step(tx, who, request)
    except NotAllowed:
        return False
    return True


def step_of(tx: Tx, request: Request, actor: Actor) -> RequestStep | None:
    """The step under way that ``actor`` signs, of several his own before what is for all and that of who is away; where something bars
    him from each, the first that he is a party of."""
    mine = [one for one in request.active if taken_by(tx, request, one, actor)]
    mine.sort(key=lambda one: (actor.login, None).index(named) if (named := whose(one)) in (actor.login, None) else 2)
    return next((one for one in mine if _refused(tx, actor, request, one) is None), mine[0] if mine else None)


def whose(step: RequestStep) -> str | None:
    """The login of who alone takes ``step``: whom the rule names, or who took it on; None where anybody of its party may."""
    return step.person or step.assignee


def holder(tx: Tx, request: Request, step: RequestStep) -> Person | None:
    """Who alone takes ``step``, as ``whose`` has it; None, too, where he is of its party no more (``progress.left``)."""
    named = whose(step)
    if named is None:
        return None
    someone = tx.scalar(select(Person).where(Person.login == named, Person.active, Person.granted))
    return someone if someone is not None and _of_party(someone.actor(), request, step) else None


def fallen(tx: Tx, request: Request) -> dict[int, str]:
    """The steps under way that were somebody's who is of their party no more, and now are anybody's of it, each with his login."""
    named = {
        one.id: (one, login)
        for one in request.active
        if request.state == RequestState.IN_REVIEW and (login := whose(one))
    }
    return {id_: login for id_, (one, login) in named.items() if holder(tx, request, one) is None}


def colleague(tx: Tx, request: Request) -> str:
    """The login of whom a step of this transaction's actor's party was handed to; "" where that is nobody else."""
    mine = (one for one in request.active if taken_by(tx, request, one, tx.actor))
    return next((named for one in mine if (named := whose(one)) not in (None, tx.actor.login)), None) or ""


def taken_by(tx: Tx, request: Request, step: RequestStep, actor: Actor) -> bool:
    """Whether ``actor`` is the party of ``step``, or stands in for whom the rule names, while that one is there."""
    if not _of_party(actor, request, step):
        return False
    if step.person in (None, actor.login) or step.person in delegations.stood_in_for(tx, actor):
        return True
    return holder(tx, request, step) is None


def _of_party(actor: Actor, request: Request, step: RequestStep) -> bool:
    """Whether ``actor`` holds the role of ``step``, for its department or company."""
    if step.role != actor.role.value:
        return False
    if actor.role is Role.TENANT:
        return step.department_id == actor.department_id
    return actor.role is not Role.PROVIDER or request.pool.provider_id == actor.provider_id


def others(tx: Tx, request: Request, step: RequestStep | None = None) -> list[Person]:
    """Who else may decide ``step``, or the one that is under way (of several the own one): people of its party who have an account, did not
    ask for it and took none of its other steps."""
    step = step or step_of(tx, request, tx.actor) or request.current
    return [one for one in able(tx, request, step) if one.login != tx.actor.login] if step is not None else []


def able(tx: Tx, request: Request, step: RequestStep) -> list[Person]:
    """Who may decide ``step``: people of its party who have an account, did not ask for it and took none of its other steps."""
    barred = {request.created_by, request.submitted_by, *_took(request)}
    alone = holder(tx, request, step) if step.person is not None else None
    if alone is not None and alone.login in barred:
        return []  # what he may not sign, nobody signs for him
    people = select(Person).where(Person.role == step.role, Person.active, Person.granted, ~Person.service)
    if step.role == Role.TENANT:  # of all departments' people those of the one
        people = people.where(Person.department_id == step.department_id)
    elif step.role == Role.PROVIDER:
        people = people.where(Person.provider_id == request.pool.provider_id)
    found = [one for one in tx.scalars(people.order_by(Person.name, Person.id)) if one.login not in barred]
    return found if alone is None else [one for one in found if taken_by(tx, request, step, one.actor())]


def _took(request: Request) -> set[str | None]:
    """The logins of who decided a step of ``request``, or was away while a deputy did."""
    return {login for one in request.path for login in (one.decided_by, one.decided_for)}


def left_alone() -> Select[Request]:
    """Requests whose technical review waits for a supervisor where none is left who may decide it, without an order."""
    own, done = aliased(RequestStep), aliased(RequestStep)
    able = exists().where(
        Person.role == Role.SUPERVISOR.value,
        Person.active,
        Person.granted,
        ~Person.service,
        Person.login.not_in([Request.created_by, func.coalesce(Request.submitted_by, "")]),
        ~exists()
        .where(
            own.request_id == Request.id,
            own.round == Request.round,
            or_(own.decided_by == Person.login, own.decided_for == Person.login),
        )
        .correlate(Request, Person),  # by itself it would look past the query around it at any request
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
    step = _review(request)
    return (
        request.state == RequestState.IN_REVIEW
        and not tx.actor.program
        and step is not None
        and tx.actor.role is Role.AUTHORITY
        and not others(tx, request, step)
    )


def _review(request: Request) -> RequestStep | None:
    """The technical review, where it is under way and a supervisor's."""
    mine = (StepName.TECHNICAL_REVIEW, Role.SUPERVISOR)
    return next((one for one in request.active if (one.name, one.role) == mine), None)


def take(tx: Tx, request: Request | int, generation: int, reason: str) -> Request:
    """The authority takes over a step that no supervisor is left for: a city may have one, and nobody decides two steps of
    a request. The limit runs on. Raises WrongState while somebody else may decide it, Invalid without a reason."""
    tx.actor.must_be(Role.AUTHORITY)
    tx.actor.must_sign()
    found = progress.lock(tx, request, generation)
    progress.must_be(found, RequestState.IN_REVIEW)
    reason = stated(reason)
    step = _review(found)
    if step is None or not may_take(tx, found):
        waits = step or found.current
        raise WrongState(
            "approve.others",
            N_("“%(step)s”仍可由%(role)s办理,不能接办"),
            step=waits.called if waits is not None else "",
            role=ROLE_LABELS[Role(waits.role)] if waits is not None else "",
        )
    before = {"role": step.role, "turn": found.turn}
    step.role, step.person, step.assignee = Role.AUTHORITY.value, None, None
    progress.begin(tx, found)  # it may be whose turn it is
    progress.changed(
        tx, found, "request.take", before=before, after={"role": step.role, "turn": found.turn}, reason=reason
    )
    return found


def assign(tx: Tx, request: Request | int, generation: int, login: str | None, reason: str = "") -> Request:
    """Take the own step on (领办), hand it to a colleague (改派), or give it back to all of the party (``login`` None). Whoever it is
    handed to signs it, or who stands in for him; so that it cannot be forgotten, any colleague may hand it on, with a reason. Who is
    handed it is told, and whose it was.

    Raises NotAllowed for who is not of the party or asked for it himself, WrongState for a step that the rule names somebody for who is
    there, Invalid for somebody who may not sign it.
    """
    tx.actor.must_sign()
    found = progress.lock(tx, request, generation)
    progress.must_be(found, RequestState.IN_REVIEW)
    step = _party_step(tx, tx.actor, found)
    if tx.actor.login in (found.created_by, found.submitted_by):
        raise NotAllowed("assign.own", N_("不能指定自己所提申请的承办人"))
    had, was = holder(tx, found, step), whose(step)
    if step.person is not None and had is not None:
        raise WrongState(
            "assign.named", N_("“%(step)s”由规则指定的人员办理，不能改派；本人外出时请登记委托代办"), step=step.called
        )
    if login == step.assignee:
        raise Invalid("assign.same", N_("承办人没有变化"), field="assignee")
    if login is not None and all(one.login != login for one in able(tx, found, step)):
        raise Invalid("assign.whom", N_("请选择可以办理“%(step)s”的人员"), step=step.called, field="assignee")
    if step.assignee not in (None, tx.actor.login):
        reason = stated(reason)
    step.person, step.assignee = None, login
    progress.changed(
        tx, found, "request.assign", before={"assignee": was}, after={"assignee": login}, reason=reason.strip()
    )
    for kind, whom in ((NoticeKind.HANDED, login), (NoticeKind.HANDED_ON, had.login if had is not None else None)):
        if whom not in (None, tx.actor.login):
            give(
                tx, found, kind, Role(step.role), once=f"{step.id}/{found.generation}", text=reason.strip(), due_at=step.due_at,
                department_id=step.department_id, login=whom,
            )  # fmt: skip
    return found


def tell_fallen(tx: Tx) -> list[RequestNotice]:
    """Tell the party of each step under way that was somebody's who is of it no more, once, that it is now theirs; the authority, too,
    where nobody is left who may decide it. A job's work; returns what was new."""
    named = func.coalesce(RequestStep.person, RequestStep.assignee)
    query = (
        select(RequestStep)
        .join(Request, and_(Request.id == RequestStep.request_id, Request.round == RequestStep.round))
        .where(
            Request.state == RequestState.IN_REVIEW.value,
            RequestStep.decided_at.is_(None),
            RequestStep.started_at.is_not(None),
            progress.left(RequestStep, named),
        )
        .order_by(RequestStep.id)
    )
    told = []
    for step in tx.scalars(query).all():
        request, login = step.request, whose(step) or ""
        parties = {Role(step.role): step.department_id}
        if not able(tx, request, step):
            parties.setdefault(Role.AUTHORITY, None)
        name = tx.scalar(select(Person.name).where(Person.login == login)) or login
        for role, department_id in parties.items():
            told.append(
                give(
                    tx, request, NoticeKind.FALLEN, role, once=f"{step.id}/{login}", text=name, due_at=step.due_at,
                    department_id=department_id,
                )
            )  # fmt: skip
    return [one for one in told if one is not None]


URGENT = (Request.due_at, Request.submitted_at, Request.id)
"""The order of a queue: the most urgent first."""


def queue(tx: Tx, actor: Actor | None = None) -> list[Request]:
    """What waits for ``actor`` (this transaction's where None), the most urgent first."""
    return list(tx.scalars(queued(tx, actor).order_by(*URGENT)))


def queued(tx: Tx, actor: Actor | None = None) -> Select[Request]:
    """What waits for ``actor``, as a query without an order: the steps that they may sign, and for a department what to mend and
    what to accept."""
    who = actor or tx.actor
    signed = signable(tx, who)
    if who.role is not Role.TENANT:
        return select(Request).where(signed)
    theirs = and_(
        Request.turn == who.role.value,
        progress.visible(tx, who),
        Request.state.in_([RequestState.SUPPLEMENT, RequestState.ACCEPTING]),
    )
    return select(Request).where(or_(signed, theirs))


def to_sign(tx: Tx, actor: Actor | None = None) -> Select[Request]:
    """The requests of which ``actor`` may sign a step now, as a query without an order."""
    return select(Request).where(signable(tx, actor or tx.actor))


def barred(tx: Tx) -> Select[Request]:
    """The requests of which a step waits for this transaction's actor, who may not take it: he asked for it, or took another."""
    return select(Request).where(_asked(tx, tx.actor), ~_free(tx.actor))


def with_others(tx: Tx) -> Select[Request]:
    """The requests of which a step is this transaction's actor's party's, and handed to a colleague; without what he asked for."""
    mine = or_(Request.created_by == tx.actor.login, Request.submitted_by == tx.actor.login)
    return select(Request).where(_asked(tx, tx.actor, own=False), ~_asked(tx, tx.actor), ~mine)


def signable(tx: Tx, who: Actor) -> ColumnElement[bool]:
    """Whether ``who`` may sign a step of a request now, as a condition for a query."""
    return and_(_asked(tx, who), _free(who)) if not who.program else false()


def _asked(tx: Tx, who: Actor, *, own: bool = True) -> ColumnElement[bool]:
    """Whether a step under way has ``who`` as its party; where ``own``, without those that were handed to others."""
    step = aliased(RequestStep)
    return and_(
        Request.state == RequestState.IN_REVIEW.value,
        exists().where(
            step.request_id == Request.id,
            step.round == Request.round,
            step.decided_at.is_(None),
            step.started_at.is_not(None),
            progress.taken_by(tx, who, step),
            waits_for(tx, who, step) if own else true(),
        ),
    )


def waits_for(tx: Tx, who: Actor, step: type[RequestStep]) -> ColumnElement[bool]:
    """Whether ``step``, which is of the party of ``who``, is nobody else's: as ``_stands_in_for`` has it."""
    named, other = func.coalesce(step.person, step.assignee), aliased(RequestStep)
    for_another = and_(
        named.in_(delegations.principals(tx, who)),
        named.not_in([Request.created_by, func.coalesce(Request.submitted_by, "")]),
        ~exists()
        .where(
            other.request_id == Request.id,
            other.round == Request.round,
            or_(other.decided_by == named, other.decided_for == named),
        )
        .correlate(Request, step),  # by itself it would look past the query around it at any request
    )
    return or_(named.is_(None), named == who.login, for_another, progress.left(step, named))


def _free(who: Actor) -> ColumnElement[bool]:
    """Whether nothing bars ``who`` from signing: he did not ask for it and took no other step."""
    mine = aliased(RequestStep)
    return and_(
        Request.created_by != who.login,
        Request.submitted_by != who.login,
        ~exists().where(
            mine.request_id == Request.id,
            mine.round == Request.round,
            or_(mine.decided_by == who.login, mine.decided_for == who.login),
        ),
    )


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
    stale = [one.request_id for one in _limits(tx, days) if one.due != one.due_at or one.stale]
    for request_id in stale:
        found = progress.lock(tx, request_id)
        for step in found.active:
            if step.stopped:
                step.supplement_due_at = _due(step, days)
            elif step.due_at is not None:
                step.due_at = _due(step, days)
        if found.current is None:
            continue
        due = _due(found.current, days)
        if due != found.due_at:
            before, found.due_at = found.due_at, due
            progress.changed(tx, found, "request.redate", before={"due_at": before}, after={"due_at": due})
            moved.append(found)
    return moved


def moving(tx: Tx, days: WorkingDays) -> list[tuple[Request, datetime | None]]:
    """Requests whose running limit would be another one by the calendar ``days``, and that limit. Changes nothing."""
    moved = [(one.request_id, one.due) for one in _limits(tx, days) if one.due != one.due_at]
    return [(tx.get_one(Request, request_id), due) for request_id, due in moved]


# ---------------------------------------------------------------------------------------------------------- mechanism


@dataclass(frozen=True, slots=True)
class _Limit:
    """The limit that a running request has, and what it is by a calendar; ``stale``: one of its steps has another one."""

    request_id: int
    due_at: datetime | None
    due: datetime | None
    stale: bool


def _limits(tx: Tx, days: WorkingDays) -> Iterator[_Limit]:
    """The limit of each running request by ``days``, of the steps that are under way: by one query."""
    running = (
        select(Request.id, Request.due_at, RequestStep)
        .join(RequestStep, and_(RequestStep.request_id == Request.id, RequestStep.round == Request.round))
        .where(
            Request.turn.is_not(None),
            Request.state.in_([one.value for one in OPEN]),
            RequestStep.decided_at.is_(None),
            RequestStep.started_at.is_not(None),
        )
        .order_by(Request.id, RequestStep.sequence)
    )
    for (request_id, due_at), rows in groupby(tx.execute(running), key=lambda row: (row[0], row[1])):
        steps = [row[2] for row in rows if row[2].stopped or row[2].due_at is not None]
        limits = [_due(one, days) for one in steps if one.stopped] or [_due(one, days) for one in steps]
        due = min((one for one in limits if one is not None), default=None)
        yield _Limit(request_id, due_at, due, any(_due(one, days) != _limit_of(one) for one in steps))


def _limit_of(step: RequestStep) -> datetime | None:
    return step.supplement_due_at if step.stopped else step.due_at


def _due(step: RequestStep, days: WorkingDays) -> datetime | None:
    """The limit that runs for ``step`` by ``days``: the supplement's where it was returned, else its own."""
    if step.stopped and step.returned_at is not None:
        return days.due(step.returned_at, step.supplement_days)
    return step.deadline(days)


def _may_sign_at_all(tx: Tx, actor: Actor, request: Request) -> None:
    if step_of(tx, request, actor) is None:
        actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)


def _own_step(tx: Tx, actor: Actor, request: Request) -> RequestStep:
    """The step under way that ``actor`` may sign. Raises NotAllowed for a service, where there is none or it was handed to somebody else,
    or where he, or for whom he stands in, asked for it or took another step of it."""
    actor.must_sign()
    step = _party_step(tx, actor, request)
    refused = _refused(tx, actor, request, step)
    if refused is not None:
        raise refused
    return step


def _refused(tx: Tx, actor: Actor, request: Request, step: RequestStep) -> NotAllowed | None:
    """Why ``actor``, a party of ``step``, may not sign it; None where he may."""
    try:
        away = _stands_in_for(tx, actor, step)
    except NotAllowed as refused:
        return refused
    for login in filter(None, (actor.login, away)):
        if login in (request.created_by, request.submitted_by):
            return NotAllowed("approve.own", N_("不能审批自己提交的申请"))
        if login in _took(request):
            return NotAllowed("approve.twice", N_("您已办理过这份申请的另一个步骤,须由他人办理"))
    return None


def _party_step(tx: Tx, actor: Actor, request: Request) -> RequestStep:
    """The step under way that ``actor`` is a party of. Raises NotAllowed where there is none."""
    step = step_of(tx, request, actor)
    if step is None:
        waits = request.current
        raise NotAllowed(
            "approve.not_your_step",
            N_("“%(step)s”由%(role)s办理"),
            step=waits.called if waits is not None else "",
            role=ROLE_LABELS[Role(waits.role)] if waits is not None else "",
        )
    return step


def _stands_in_for(tx: Tx, actor: Actor, step: RequestStep) -> str | None:
    """The login of who is away, for whom ``actor`` signs ``step``; None where he signs it as himself. Raises NotAllowed where it was
    handed to somebody else who is there."""
    if whose(step) in (None, actor.login):
        return None
    alone = holder(tx, step.request, step)
    if alone is None:
        return None
    if alone.login in delegations.stood_in_for(tx, actor):
        return alone.login
    raise NotAllowed(
        "approve.assigned", N_("“%(step)s”由 %(name)s 承办，要由您办理请先改派"), step=step.called, name=alone.name
    )


def _numbered(record: str) -> str:
    """The number of the document that a step asks for. Raises Invalid where none, or no number, is given."""
    record = record.strip()
    if not record or len(record) > 64:
        raise Invalid("approve.record", N_("这个步骤须填写文号(至多 64 个字符)"), field="record")
    return record


def _party(request: Request, step: RequestStep) -> list[RequestStep]:
    """The rows of the step that ``step`` is one party of."""
    return [one for one in request.path if one.name == step.name]


def _still_reached(request: Request, rejected: RequestStep) -> bool:
    """Whether the parties that are left can still be as many as the step needs."""
    rows = _party(request, rejected)
    return len(rows) - sum(one.decision == Decision.REJECT for one in rows) >= rejected.need


def _close_what_is_reached(tx: Tx, request: Request, signed: RequestStep) -> None:
    """Once as many parties approved as a step needs, the others need not."""
    rows = _party(request, signed)
    if sum(one.decision in (Decision.APPROVE, Decision.APPROVE_PART) for one in rows) >= signed.need:
        for one in rows:
            if one.decided_at is None:
                one.decision, one.decided_at, one.due_at = NOT_NEEDED, tx.now, None


def _go_on(tx: Tx, request: Request, signed: RequestStep, before: Mapping[str, Any]) -> Request:
    """``signed`` was approved: the next step that decides begins, or it was the last one. ``before``: what stood before."""
    _close_what_is_reached(tx, request, signed)
    following = request.current
    if following is not None and following.signs:
        progress.begin(tx, request)
        following = request.current
    else:
        granting.grant(tx, request, following)
    after: dict[str, Any] = {
        "decision": signed.decision,
        "state": request.state,
        "step": (following.label or following.name) if following is not None else None,
        "turn": request.turn,
        "due_at": request.due_at,
        "approved": _approved(request),
    }
    if "use_until" in before:
        after["use_until"] = request.use_until
    if "fields" in before:
        after["fields"] = request.fields
    if signed.record_number:
        after["record"] = signed.record_number
    after |= _told_for(signed.decided_for)
    progress.changed(tx, request, "request.sign", before=before, after=after, reason=signed.reason)
    granting.tell(tx, request, signed.reason)
    return request


def _told_for(login: str | None) -> dict[str, str]:
    """What the trail says of for whom a deputy acted."""
    return {"for": login} if login else {}


def _reject(tx: Tx, request: Request, signed: RequestStep) -> Request:
    request.decided_at = tx.now
    progress.close(tx, request, RequestState.REJECTED, "request.reject", signed.reason, **_told_for(signed.decided_for))
    rejected = kind_of(request).rejected
    if rejected is not None:
        rejected(tx, request)
    give(tx, request, NoticeKind.REJECTED, Role.TENANT, once="", text=signed.reason)
    return request


def _return(tx: Tx, request: Request, step: RequestStep, reason: str) -> Request:
    if any(one.name == step.name and one.returned_at is not None for one in request.steps):
        raise WrongState(
            "request.returned_before",
            N_("“%(step)s”已退回过一次,请作出通过或驳回的决定"),
            step=step.called,
        )
    away = _stands_in_for(tx, tx.actor, step)
    step.returned_at, step.returned_by, step.return_reason = tx.now, tx.actor.login, reason
    step.supplement_due_at = calendar.working_days(tx).due(tx.now, step.supplement_days)
    for one in request.active:  # those beside it wait for the same
        one.due_at = None
    before = {"state": request.state}
    request.state = RequestState.SUPPLEMENT.value
    request.turn, request.due_at = Role.TENANT.value, step.supplement_due_at
    progress.changed(
        tx,
        request,
        "request.return",
        before=before,
        after={"state": request.state, "step": step.label or step.name, "due_at": request.due_at, **_told_for(away)},
        reason=reason,
    )
    give(tx, request, NoticeKind.RETURNED, Role.TENANT, once=str(step.id), text=reason)
    return request


def _reduce(
    request: Request, quantities: Mapping[int, int], amounts: Mapping[int, Mapping[ClassCode, int]], *, replaced: bool
) -> None:
    """Write what is approved of each line; lines not named stay as they stand. ``replaced``: something is approved otherwise already."""
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
    if not replaced and before == [(line.granted_quantity, line.granted_amounts) for line in request.lines]:
        raise Invalid("approve.unchanged", N_("没有改动任何数量;请改用“通过”"), field="amounts")
    if not request.takes(approved=True) and not request.gives(approved=True):
        raise Invalid("approve.nothing", N_("批准量为零;请改用“驳回”"), field="amounts")
    tasks.check_parts(request)


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
        {
            "line": line.position,
            "quantity": line.granted_quantity,
            "amounts": line.granted_amounts,
            **({"item": line.approved_item_id} if line.approved_item_id is not None else {}),
        }
        for line in request.lines
    ]
