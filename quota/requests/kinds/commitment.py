"""远期配额: quota for a day to come, promised although the pool may not have it yet. Granted, it waits in the pool's queue
(``quota.ledger.commitments``), is held as soon as there is capacity for it, and is the department's quota on its day."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from quota.errors import N_
from quota.ledger import commitments
from quota.requests import facts
from quota.requests.declarations import Lines, Question, RequestField, RequestKind, register
from quota.requests.rules import RuleFact
from quota.requests.tables import Request
from quota.units import Amount

if TYPE_CHECKING:
    from quota.db import Tx

CODE = "commitment"


def _wanted_on(request: Request) -> date:
    return date.fromisoformat(str(request.fields["wanted_on"]))


def check(tx: Tx, request: Request) -> None:
    commitments.check(tx, _wanted_on(request), Amount.total(line.takes() for line in request.lines))


def granted(tx: Tx, request: Request) -> None:
    what = Amount.total(line.takes(approved=True) for line in request.lines)
    commitments.enter(
        tx, request.department_id, request.pool_id, what, _wanted_on(request), basis=request.subject, called=request.number
    )  # fmt: skip


def _queued(tx: Tx, request: Request) -> bool:
    """Whether somebody was promised what this would take of the pool, and waits for it."""
    return commitments.waiting_for(tx, request.pool_id, request.takes().keys())


facts.register("queued", RuleFact(bool, N_("资源池有远期承诺在等候同类资源"), False), _queued)

COMMITMENT = register(
    RequestKind(
        code=CODE,
        label=N_("远期配额"),
        position=42,
        lines=Lines(named=None),
        fields=(RequestField("wanted_on", N_("需要日期"), required=True, day=True),),
        counts_as=None,
        why=Question(N_("需求依据"), N_("写明到时用于什么、数量如何测算"), N_("请写明到时的用途和测算")),
        check=check,
        granted=granted,
        signed=lambda request: {"wanted_on": request.fields.get("wanted_on")},
        hint=N_("预先申请以后某日的配额：批准后按日期排队，资源池有容量时自动落实"),
    )
)
