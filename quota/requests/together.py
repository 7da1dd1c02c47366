"""Many requests in one act: drafts handed in, and those that are alike signed. Each by itself, in a transaction of its own with a
record of its own; what is taken out stays where it is, and what cannot be done is named and left.

Alike are requests that wait at one step: of a kind that says so (``RequestKind.together``) all of them; of one that offers the
catalogue those of one item in one pool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Select, and_, exists, func, select
from sqlalchemy.orm import aliased, joinedload, selectinload

from quota.actors import Actor
from quota.db import among
from quota.directory import CatalogItem, Pool, departments
from quota.errors import N_, Conflict, Invalid, Refused, stated
from quota.requests import approvals, progress, submission, terms
from quota.requests.approvals import Decision
from quota.requests.declarations import kind_of, known
from quota.requests.tables import FAR, Request, RequestLine, RequestState, RequestStep

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
class AlikeKey:
    """What requests that are alike share: kind and step; with them pool and item of the catalogue, where their kind asks for that."""

    kind: str
    step: str
    pool_id: int | None = None
    item_id: int | None = None

    def holds(self, request: Request) -> bool:
        """Whether ``request`` is one of them, wherever it waits."""
        if request.kind != self.kind:
            return False
        if self.item_id is None:
            return kind_of(request).together
        return request.pool_id == self.pool_id and [line.item_id for line in request.lines] == [self.item_id]


@dataclass(frozen=True, slots=True)
class AlikeRequests:
    """A group, what its step is called, how many requests of how many departments, and the soonest limit."""

    group: AlikeKey
    label: str
    requests: int
    departments: int
    soonest: datetime | None
    pool: str = ""
    item: str = ""

    @property
    def kind(self) -> str:
        return self.group.kind

    @property
    def step(self) -> str:
        return self.group.step


@dataclass(frozen=True, slots=True)
class Signed:
    """What became of one request of an act; ``refused`` says why it was not signed."""

    request_id: int
    number: str
    outcome: SignedOutcome
    refused: Refused | None = None


def groups(tx: Tx) -> list[AlikeRequests]:
    """The groups of two and more that wait for this transaction's actor, the most urgent first."""
    count, soonest = func.count(Request.id), func.min(Request.due_at)
    query, step = _waiting(tx)
    told = (func.max(step.label), count, func.count(Request.department_id.distinct()), soonest)
    plain = (
        query.where(_may_together())
        .with_only_columns(Request.kind, step.name, *told)
        .group_by(Request.kind, step.name)
        .having(count > 1)
    )
    found = [AlikeRequests(AlikeKey(*row[:2]), *row[2:]) for row in tx.execute(plain)]
    alike = (
        _of_items(query)
        .join(CatalogItem, CatalogItem.id == RequestLine.item_id)
        .join(Pool, Pool.id == Request.pool_id)
        .with_only_columns(
            Request.kind, step.name, Request.pool_id, RequestLine.item_id, *told, Pool.name, CatalogItem.name
        )
        .group_by(Request.kind, step.name, Request.pool_id, RequestLine.item_id, Pool.name, CatalogItem.name)
        .having(count > 1)
    )
    found += [AlikeRequests(AlikeKey(*row[:4]), *row[4:]) for row in tx.execute(alike)]
    return sorted(found, key=lambda one: (one.soonest or FAR, one.kind, one.step, one.pool, one.item))


def members(tx: Tx, group: AlikeKey) -> list[Request]:
    """The requests of a group, the most urgent first, at most MOST. One whose term has passed while it waited is not among
    them: it needs a new one of its own."""
    query, step = _waiting(tx)
    query = query.where(Request.kind == group.kind, step.name == group.step).options(*LOADED)
    if group.item_id is None:
        query = query.where(_may_together())
    else:
        query = _of_items(query).where(Request.pool_id == group.pool_id, RequestLine.item_id == group.item_id)
    found = tx.scalars(query.order_by(*approvals.URGENT).limit(MOST))
    return [one for one in found if not terms.passed(tx, one)]


def drafts(tx: Tx) -> list[Request]:
    """The drafts of this transaction's actor's department and those below it, oldest first, at most MOST."""
    below = departments.subtree(tx, departments.acting(tx, tx.actor).id)
    query = select(Request).where(Request.department_id.in_(below), Request.state == RequestState.DRAFT.value)
    return list(tx.scalars(query.options(*LOADED).order_by(Request.id).limit(MOST)))


def generations(tx: Tx, request_ids: Sequence[int]) -> dict[int, int]:
    """Request id → generation, of those of ``request_ids`` that are drafts, in their order."""
    query = select(Request.id, Request.generation).where(
        among(Request.id, request_ids), Request.state == RequestState.DRAFT.value
    )
    found = dict(tx.execute(query).all())
    return {one: found[one] for one in request_ids if one in found}


LOADED = (
    joinedload(Request.department), joinedload(Request.pool), joinedload(Request.resource),
    selectinload(Request.lines).joinedload(RequestLine.item), selectinload(Request.extends), selectinload(Request.steps),
)  # fmt: skip
"""What a page shows of each."""


def _waiting(tx: Tx) -> tuple[Select[Request], type[RequestStep]]:
    """Requests that may be signed together and wait for this transaction's actor, each with the step that it waits at."""
    step = aliased(RequestStep)
    query = (
        approvals.to_sign(tx)
        .join(step, and_(step.request_id == Request.id, step.round == Request.round, step.decided_at.is_(None)))
        .where(
            step.started_at.is_not(None),
            ~step.record,
            progress.taken_by(tx, tx.actor, step),
            approvals.waits_for(tx, tx.actor, step),
        )
    )
    return query, step


def _may_together() -> ColumnElement[bool]:
    return Request.kind.in_([one.code for one in known() if one.together])


def _of_items(query: Select[Request]) -> Select[Request]:
    """Of ``query`` those that ask for one item of the catalogue and nothing else, with their line."""
    offering = [one.code for one in known() if one.lines is not None and one.lines.items]
    other = aliased(RequestLine)
    return query.join(RequestLine, RequestLine.request_id == Request.id).where(
        Request.kind.in_(offering),
        RequestLine.item_id.is_not(None),
        ~exists().where(other.request_id == Request.id, other.id != RequestLine.id),
    )


def submit_all(book: Book, actor: Actor, shown: Mapping[int, int]) -> list[Signed]:
    """Hand in the drafts ``shown`` (request id → generation as the page showed it), one after the other. One that changed since the
    page, or that is not ready, is named and stays a draft. Raises Invalid for none or more than MOST."""
    _some(shown)

    def hand_in(tx: Tx, found: Request, generation: int) -> None:
        submission.submit(tx, found, generation=generation)

    return [_do(book, actor, one, generation, hand_in) for one, generation in shown.items()]


def _some(shown: Mapping[int, int]) -> None:
    if not shown:
        raise Invalid("batch.none", N_("请至少选择一份申请"), field="request")
    if len(shown) > MOST:
        raise Invalid("batch.many", N_("一次最多办理 %(most)s 件"), most=MOST, field="request")


def sign_all(
    book: Book, actor: Actor, group: AlikeKey, shown: Mapping[int, int], decision: Decision, reason: str
) -> list[Signed]:
    """Sign those ``shown`` (request id → generation as the page showed it), one after the other. One that changed since the page, or
    that may not be signed, is named and left; the others go on. What is cut off leaves the rest in the queue.

    Raises Invalid for none or more than MOST, for another decision than DECISIONS, and for a rejection without a reason.
    """
    _some(shown)
    if decision not in DECISIONS:
        raise Invalid("batch.decision", N_("请选择裁定"), field="decision")
    if decision is Decision.REJECT:
        reason = stated(reason)

    def sign(tx: Tx, found: Request, generation: int) -> None:
        own = approvals.step_of(tx, found, actor)
        if not group.holds(found) or own is None or own.name != group.step:
            raise Invalid("batch.alike", N_("申请 %(number)s 不属于这一组"), number=found.number)
        approvals.sign(tx, found, decision=decision, generation=generation, reason=reason)

    return [_do(book, actor, one, generation, sign) for one, generation in shown.items()]


def _do(book: Book, actor: Actor, request_id: int, generation: int, act: Callable[[Tx, Request, int], None]) -> Signed:
    number = str(request_id)
    try:
        with book.transaction(actor) as tx:
            found = progress.request(tx, request_id)
            number = found.number
            act(tx, progress.lock(tx, found, generation), generation)
    except Refused as refused:
        changed = isinstance(refused, Conflict)
        return Signed(request_id, number, SignedOutcome.CHANGED if changed else SignedOutcome.REFUSED, refused)
    return Signed(request_id, number, SignedOutcome.DONE)
