"""Requests that are alike, signed in one act: of one kind that may be (``RequestKind.together``), waiting at one step. Each is signed
by itself, in a transaction of its own with a record of its own; those that the signer takes out stay in the queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import Select, and_, func
from sqlalchemy.orm import aliased, joinedload, selectinload

from quota.actors import Actor
from quota.errors import N_, Conflict, Invalid, Refused, stated
from quota.requests import approvals, progress, terms
from quota.requests.approvals import Decision
from quota.requests.declarations import known
from quota.requests.tables import Request, RequestStep

if TYPE_CHECKING:
    from quota.db import Book, Tx

MOST = 500
"""Requests of one act."""

DECISIONS = (Decision.APPROVE, Decision.REJECT)
"""What may be decided of many at once."""


class SignedOutcome(StrEnum):
    """done; changed: no longer as the page showed it; refused: it may not be signed so, or not by who signs."""

    DONE = "done"
    CHANGED = "changed"
    REFUSED = "refused"


OUTCOME_LABELS = {
    SignedOutcome.DONE: N_("已办"),
    SignedOutcome.CHANGED: N_("已有变化,未办"),
    SignedOutcome.REFUSED: N_("不能办理"),
}


@dataclass(frozen=True, slots=True)
class AlikeRequests:
    """A group: its kind, the step that it waits at and what that is called, how many requests of how many departments, and the soonest limit."""

    kind: str
    step: str
    label: str
    requests: int
    departments: int
    soonest: datetime | None


@dataclass(frozen=True, slots=True)
class Signed:
    """What became of one request of an act; ``refused`` says why it was not signed."""

    request_id: int
    number: str
    outcome: SignedOutcome
    refused: Refused | None = None


def groups(tx: Tx) -> list[AlikeRequests]:
    """The groups of two and more that wait for this transaction's actor, the most urgent first."""
    query, step = _waiting(tx)
    count = func.count(Request.id)
    rows = tx.execute(
        query.with_only_columns(
            Request.kind,
            step.name,
            func.max(step.label),
            count,
            func.count(Request.department_id.distinct()),
            func.min(Request.due_at),
        )
        .group_by(Request.kind, step.name)
        .having(count > 1)
        .order_by(func.min(Request.due_at), Request.kind, step.name)
    )
    return [AlikeRequests(*row) for row in rows]


def members(tx: Tx, kind: str, at: str) -> list[Request]:
    """The requests of a group, the most urgent first, at most MOST. One whose term has passed while it waited is not among
    them: it needs a new one of its own."""
    query, step = _waiting(tx)
    query = query.where(Request.kind == kind, step.name == at).options(*LOADED)
    return [one for one in tx.scalars(query.order_by(*approvals.URGENT).limit(MOST)) if not terms.passed(tx, one)]


LOADED = (
    joinedload(Request.department), joinedload(Request.pool), joinedload(Request.resource), selectinload(Request.lines),
    selectinload(Request.steps),
)  # fmt: skip
"""What a page shows of each."""


def _waiting(tx: Tx) -> tuple[Select[Request], type[RequestStep]]:
    """Requests that may be signed together and wait for this transaction's actor, each with the step that it waits at."""
    step = aliased(RequestStep)
    query = (
        approvals.to_sign(tx)
        .join(step, and_(step.request_id == Request.id, step.round == Request.round, step.decided_at.is_(None)))
        .where(
            Request.kind.in_([one.code for one in known() if one.together]),
            step.started_at.is_not(None),
            ~step.record,
            progress.taken_by(tx.actor, step),
        )
    )
    return query, step


def sign_all(
    book: Book, actor: Actor, kind: str, step: str, shown: Mapping[int, int], decision: Decision, reason: str
) -> list[Signed]:
    """Sign those ``shown`` (request id → generation as the page showed it), one after the other. One that changed since the page, or
    that may not be signed, is named and left; the others go on. What is cut off leaves the rest in the queue.

    Raises Invalid for none or more than MOST, for another decision than DECISIONS, and for a rejection without a reason.
    """
    if not shown:
        raise Invalid("batch.none", N_("请至少选择一份申请"), field="request")
    if len(shown) > MOST:
        raise Invalid("batch.many", N_("一次最多办理 %(most)s 件"), most=MOST, field="request")
    if decision not in DECISIONS:
        raise Invalid("batch.decision", N_("请选择裁定"), field="decision")
    if decision is Decision.REJECT:
        reason = stated(reason)
    return [_sign(book, actor, kind, step, one, generation, decision, reason) for one, generation in shown.items()]


def _sign(
    book: Book,
    actor: Actor,
    kind: str,
    step: str,
    request_id: int,
    generation: int,
    decision: Decision,
    reason: str,
) -> Signed:
    number = str(request_id)
    try:
        with book.transaction(actor) as tx:
            found = progress.lock(tx, request_id)
            number = found.number
            found = progress.lock(tx, found, generation)
            own = approvals.step_of(found, actor)
            if found.kind != kind or own is None or own.name != step:
                raise Invalid("batch.alike", N_("申请 %(number)s 不属于这一组"), number=number)
            approvals.sign(tx, found, decision=decision, generation=generation, reason=reason)
    except Refused as refused:
        changed = isinstance(refused, Conflict)
        return Signed(request_id, number, SignedOutcome.CHANGED if changed else SignedOutcome.REFUSED, refused)
    return Signed(request_id, number, SignedOutcome.DONE)
