"""After the decision: what was approved is delivered and accepted. Called from above, by deliveries and jobs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from quota import ledger
from quota.actors import Role
from quota.errors import N_, NotAllowed, stated
from quota.requests import progress
from quota.requests.notices import NoticeKind, give
from quota.requests.rules import StepName
from quota.requests.tables import Request, RequestState

if TYPE_CHECKING:
    from quota.db import Tx


def delivering(tx: Tx, request: Request | int) -> Request:
    """The order went to the provider: approved → delivering."""
    found = progress.lock(tx, request)
    _may_deliver(tx, found)
    progress.must_be(found, RequestState.APPROVED)
    found.state = RequestState.DELIVERING.value
    progress.changed(
        tx, found, "request.deliver", before={"state": RequestState.APPROVED}, after={"state": found.state}
    )
    return found


def delivered(
    tx: Tx, request: Request | int, *, at: datetime | None = None, gives: ledger.Classes | None = None
) -> Request:
    """The cloud did it, at ``at`` (now where None): → accepting, and the department has 3 working days to look.

    What the request returns (退订, a shape that shrank) goes from used back to the department's granted quota now,
    not earlier: only what the cloud confirmed is free, ``gives`` (all that the request names where None). Posting what
    it takes was the last signature's work.
    """
    found = progress.lock(tx, request)
    _may_deliver(tx, found)
    progress.must_be(found, RequestState.APPROVED, RequestState.DELIVERING)
    before = {"state": found.state}
    when = at or tx.now
    key = f"{found.subject}/release"
    if gives is None:
        gives = found.gives(approved=True)
    elif gives and ledger.made(tx, key) is not None:  # refused and delivered anew: what that freed besides
        key = f"{key}/{found.generation}"
    if gives:
        ledger.release(tx, found.pool_id, found.department_id, gives, key=key, subject=found.subject)
        progress.refill(tx, found, gives, key)
    _did(tx, found, StepName.DELIVERY, when)
    found.state, found.delivered_at = RequestState.ACCEPTING.value, when
    found.turn, found.due_at = Role.TENANT.value, None
    acceptance = found.step(StepName.ACCEPTANCE)
    if acceptance is not None:
        progress.start(tx, found, acceptance)
    progress.changed(
        tx,
        found,
        "request.delivered",
        before=before,
        after={"state": found.state, "delivered_at": when, "due_at": found.due_at},
    )
    give(tx, found, NoticeKind.DELIVERED, Role.TENANT, once=str(found.generation))
    return found


def accepted(tx: Tx, request: Request | int, *, generation: int | None = None) -> Request:
    """The department has what it asked for: accepting → done."""
    found = progress.lock(tx, request)
    progress.own(tx, found)
    found = progress.lock(tx, found, generation)
    progress.must_be(found, RequestState.ACCEPTING)
    return _accept(tx, found, "request.accept", "")


def refused(tx: Tx, request: Request | int, *, generation: int, reason: str) -> Request:
    """What was delivered is not what was approved: accepting → delivering, with the reason, and a new time limit."""
    found = progress.lock(tx, request)
    progress.own(tx, found)
    found = progress.lock(tx, found, generation)
    progress.must_be(found, RequestState.ACCEPTING)
    reason = stated(reason)
    found.state, found.delivered_at = RequestState.DELIVERING.value, None
    acceptance, delivery = found.step(StepName.ACCEPTANCE), found.step(StepName.DELIVERY)
    if acceptance is not None:
        acceptance.started_at = acceptance.due_at = None
    found.turn, found.due_at = Role.PROVIDER.value, None
    if delivery is not None:
        delivery.decision = delivery.decided_by = delivery.decided_at = None
        progress.start(tx, found, delivery)
    progress.changed(
        tx,
        found,
        "request.refuse",
        before={"state": RequestState.ACCEPTING},
        after={"state": found.state, "due_at": found.due_at},
        reason=reason,
    )
    give(tx, found, NoticeKind.REFUSED, Role.PROVIDER, once=str(found.generation), text=reason)
    return found


def abandoned(tx: Tx, request: Request | int, *, reason: str) -> Request:
    """What was approved cannot be delivered and nothing of it was: the request ends withdrawn, with the reason.

    What its orders had taken they gave back to the department's quota when they were cancelled.
    """
    found = progress.lock(tx, request)
    tx.actor.must_be(Role.SUPERVISOR, Role.SYSTEM)
    progress.must_be(found, RequestState.APPROVED, RequestState.DELIVERING)
    reason = stated(reason)
    progress.close(tx, found, RequestState.WITHDRAWN, "request.abandon", reason)
    give(tx, found, NoticeKind.ABANDONED, Role.TENANT, once="", text=reason)
    return found


def deemed_accepted(tx: Tx) -> list[Request]:
    """Accept what the department did not look at in time (视为验收通过), and tell it. A job's work."""
    tx.actor.must_be(Role.SYSTEM)
    late = tx.scalars(
        select(Request.id)
        .where(Request.state == RequestState.ACCEPTING.value, Request.due_at < tx.now)
        .order_by(Request.id)
    ).all()
    done = []
    for request_id in late:
        found = progress.lock(tx, request_id)
        if found.state == RequestState.ACCEPTING and found.due_at is not None and found.due_at < tx.now:
            done.append(_accept(tx, found, "request.deem_accepted", N_("逾期未验收,视为验收通过")))
            give(tx, found, NoticeKind.ACCEPTED, Role.TENANT, once="")
    return done


def _accept(tx: Tx, request: Request, action: str, reason: str) -> Request:
    _did(tx, request, StepName.ACCEPTANCE, tx.now, reason)
    request.state = RequestState.DONE.value
    request.turn, request.due_at, request.closed_at = None, None, tx.now
    progress.changed(
        tx,
        request,
        action,
        before={"state": RequestState.ACCEPTING},
        after={"state": request.state},
        reason=reason,
    )
    return request


def _did(tx: Tx, request: Request, name: StepName, at: datetime, reason: str = "") -> None:
    step = request.step(name)
    if step is not None:
        step.decision, step.decided_by, step.decided_at, step.reason = "done", tx.actor.login, at, reason


def _may_deliver(tx: Tx, request: Request) -> None:
    # The supervisor, too: cancelling the last order that was open leaves the request delivered as far as it was.
    tx.actor.must_be(Role.PROVIDER, Role.SUPERVISOR, Role.SYSTEM)
    if tx.actor.role is Role.PROVIDER and tx.actor.provider_id != request.pool.provider_id:
        raise NotAllowed("request.not_your_pool", N_("只能办理本公司资源池的工单"))
