"""Granting: what the last signature does, and a rule that lets a request pass without any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quota import ledger
from quota.actors import Role
from quota.ledger import Holder
from quota.requests import asks, progress
from quota.requests.declarations import RequestKind, kind_of
from quota.requests.notices import NoticeKind, give
from quota.requests.rules import Ground
from quota.requests.tables import PASSED, Request, RequestState, RequestStep

if TYPE_CHECKING:
    from quota.db import Tx


def passed(tx: Tx, request: Request, by: Ground) -> RequestStep:
    """The step that stands for all signatures where a rule asks for none: nobody takes it, it is done."""
    return RequestStep(
        round=request.round,
        sequence=len(request.path) + 1,
        name=PASSED,
        role=Role.SYSTEM.value,
        limit=0,
        supplement_days=0,
        rule=by.rule,
        because=list(by.because),
        started_at=tx.now,
        decision="approve",
        decided_by=Role.SYSTEM.value,
        decided_at=tx.now,
    )


def grant(tx: Tx, request: Request, following: RequestStep | None) -> None:
    """Grant ``request``: what was held goes to the department; delivery (``following``) begins, or it is done."""
    kind, takes = kind_of(request), request.takes(approved=True)
    holds = ledger.pending(tx, request.subject)
    if holds and takes:
        ledger.post(tx, holds, takes, key=f"{request.subject}/post")
    elif holds:
        ledger.void(tx, holds, key=f"{request.subject}/void/{request.round}")
    request.decided_at = tx.now
    if kind.granted is not None:
        kind.granted(tx, request)
    if kind.tasks is None:
        _give_back(tx, request, kind)
        request.state = RequestState.DONE.value
        request.turn, request.due_at, request.closed_at = None, None, tx.now
        return
    request.state = RequestState.APPROVED.value
    request.turn, request.due_at = Role.PROVIDER.value, None
    if following is not None:
        progress.start(tx, request, following, kind.starts(request) if kind.starts is not None else None)


def _give_back(tx: Tx, request: Request, kind: RequestKind) -> None:
    """What nobody has to deliver is returned with the last signature: quota to the pool, use to the department's quota."""
    gives = request.gives(approved=True)
    if not gives:
        return
    asks.check_returnable(tx, request, approved=True)
    where, subject = (request.pool_id, request.department_id), request.subject
    if kind.counts_as is Holder.GRANTED:
        ledger.reclaim(tx, *where, gives, key=f"{subject}/reclaim", source=Holder.GRANTED, subject=subject)
    else:
        ledger.release(tx, *where, gives, key=f"{subject}/release", subject=subject)
        progress.refill(tx, request, gives, f"{subject}/release")


def tell(tx: Tx, request: Request, text: str = "") -> None:
    """Tell the department that ``request`` was granted, where it was."""
    if request.decided_at is not None and request.state != RequestState.REJECTED:
        give(tx, request, NoticeKind.APPROVED, Role.TENANT, once="", text=text)
