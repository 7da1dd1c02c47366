"""Requests: what a department asks for, held from submission until it is decided.

    draft ─submit▶ in_review ─last signature▶ approved ▶ delivering ▶ accepting ▶ done
                    │  ▲  └─reject▶ rejected              (of quota or a term: from the signature to done)
              return▼  │resubmit
                   supplement ─(nothing for 5 working days)▶ withdrawn

A submitted request takes what it needs out of circulation at once: as much as possible from the department's
granted quota, the rest from the pool's free capacity. Nothing about it expires while it waits for us. Every change
raises ``generation``; whoever acts names the generation that was shown to them, and a stale one is refused.

The tables are in ``quota.requests.tables``, the form's content in ``quota.requests.asks``, what every verb takes in
``quota.requests.progress``, the signatures in ``quota.requests.approvals``, what comes after them in ``quota.requests.fulfilment``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import select

from quota import calendar, ledger
from quota.calendar import ZONE
from quota.directory import Department, departments
from quota.errors import N_, Invalid, reused
from quota.ledger import Holder, Side
from quota.requests import asks, granting, parties, rulebook, rules, targets
from quota.requests.asks import Ask, Line
from quota.requests.declarations import RequestKind, kind_of
from quota.requests.facts import facts as seen
from quota.requests.progress import (
    act_for,
    begin,
    changed,
    changes,
    close,
    lock,
    must_be,
    own,
    request,
    start,
    visible,
    whose_turn,
)
from quota.requests.tables import (
    OPEN,
    STATE_LABELS,
    Request,
    RequestLine,
    RequestState,
    RequestStep,
)
from quota.units import Commodity

if TYPE_CHECKING:
    from quota.db import Tx

__all__ = [
    "OPEN",
    "STATE_LABELS",
    "Ask",
    "Line",
    "Request",
    "RequestLine",
    "RequestPlan",
    "RequestState",
    "RequestStep",
    "changed",
    "changes",
    "close",
    "draft",
    "drawn",
    "foreseen",
    "lock",
    "must_be",
    "own",
    "plan",
    "request",
    "resubmit",
    "revise",
    "start",
    "submit",
    "visible",
    "whose_turn",
    "withdraw",
]


@dataclass(frozen=True, slots=True)
class RequestSources:
    """Where what a request takes comes from: its system's share (``shared``), the department's quota (``within``), of what is
    ``borrowed``, ``beyond`` all; ``missing``: what its system has too little of, which comes from nowhere."""

    shared: ledger.Classes
    within: ledger.Classes
    borrowed: ledger.Classes
    beyond: ledger.Classes
    missing: ledger.Classes


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """What submitting would do: whence what it takes would come, and who would sign, or what it ``passed`` by where nobody does."""

    sources: RequestSources
    facts: Mapping[str, Any]
    path: Sequence[rules.Step]
    passed: rules.Ground | None = None

    @property
    def over_quota(self) -> bool:
        return bool(self.facts["over_quota"])


# ----------------------------------------------------------------------------------------------------------- reading


def drawn(
    tx: Tx, kind: RequestKind, pool_id: int, department_id: int, takes: ledger.Classes, system_id: int | None = None
) -> RequestSources:
    """Where ``takes`` would come from now: of what its system has a share of, that share alone; else the department's granted
    quota, then what it borrowed, then the pool's free capacity (whether or not there is as much). What counts as quota comes out
    of the pool alone."""
    within: dict[Commodity, int] = {}
    borrowed: dict[Commodity, int] = {}
    beyond = dict(takes)
    shared: dict[Commodity, int] = {}
    missing: dict[Commodity, int] = {}
    if kind.counts_as is Holder.USED:
        for cls, (_share, has) in ledger.shares.drawn(tx, system_id, pool_id, takes).items():
            amount = beyond.pop(cls)
            shared[cls] = min(has, amount)
            if amount > has:
                missing[cls] = amount - has
        for holder, share in ((Holder.GRANTED, within), (Holder.LENT, borrowed)):
            for cls, amount in beyond.items():
                has = ledger.balance(tx, Side(pool_id, cls, holder, department_id))
                if has:
                    share[cls] = min(has, amount)
            beyond = {cls: rest for cls, amount in beyond.items() if (rest := amount - share.get(cls, 0))}
    return RequestSources({cls: n for cls, n in shared.items() if n}, within, borrowed, beyond, missing)


def foreseen(tx: Tx, ask: Ask) -> tuple[dict[str, Any], rules.Judgement]:
    """What the rules would see of ``ask`` as far as it is typed, and what they would say. Writes nothing; raises as ``draft``."""
    request = asks.imagined(tx, ask)
    takes = request.takes()
    beyond = drawn(tx, ask.kind, ask.pool_id, ask.department_id, takes, request.of_system).beyond
    facts = seen(tx, request, takes, bool(beyond))
    return facts, rules.judge(facts, rulebook.enacted(tx), tx.now.astimezone(ZONE).date())


def plan(tx: Tx, request: Request, had: ledger.Classes | None = None) -> RequestPlan:
    """What submitting ``request`` now would hold, and who would sign. Takes nothing. ``had``: what of the pool's free capacity it held
    until now, and is free again: as much waits for nobody. Raises Invalid where the rules do not allow it, with their reasons, or name nobody to sign,
    OverCapacity where it would take what is kept for promises that wait, or more than is left of its system's share."""
    kind, takes = kind_of(request), request.takes()
    found = drawn(tx, kind, request.pool_id, request.department_id, takes, request.of_system)
    for cls, missing in found.missing.items():
        has = found.shared.get(cls, 0)
        raise ledger.shares.short(cls, has, has + missing, system=_system_called(tx, request))
    beyond = found.beyond
    if kind.counts_as is not None and beyond:
        ledger.commitments.keep_for_queue(tx, request.pool_id, _asked_anew(tx, request, beyond, had))
    facts = seen(tx, request, takes, bool(beyond))
    said = rules.allowed(rules.judge(facts, rulebook.enacted(tx), tx.now.astimezone(ZONE).date()))
    path = said.signers if kind.tasks is None else said.path
    return RequestPlan(found, facts, path, said.passed)


# ----------------------------------------------------------------------------------------------- verbs of the requester


def draft(tx: Tx, ask: Ask) -> Request:
    """Keep what somebody typed as a draft. Only what makes no sense at all is refused; ``submit`` looks closely.

    The same ``ask.key`` again returns the first draft.
    """
    act_for(tx, ask.department_id)
    if ask.key is not None:
        _one_at_a_time(tx, ask.department_id)
        earlier = tx.scalar(select(Request).where(Request.key == ask.key))
        if earlier is not None:
            if earlier.created_by != tx.actor.login:
                raise reused(ask.key)
            return earlier
    department = departments.department(tx, ask.department_id)
    departments.must_be_open(department, "department")
    request = Request(
        number=uuid4().hex,  # until the id is known
        key=ask.key,
        kind=ask.kind.code,
        state=RequestState.DRAFT.value,
        department_id=department.id,
        created_by=tx.actor.login,
        created_at=tx.now,
        changed_by=tx.actor.login,
        changed_at=tx.now,
        generation=1,
        round=1,
    )
    asks.write(tx, request, ask)
    tx.add(request)
    tx.flush()
    request.number = f"SQ-{tx.now.astimezone(ZONE).year}-{request.id:06d}"
    tx.flush()
    tx.audit(
        "request.draft",
        request.subject,
        after={"generation": 1, "number": request.number, **asks.told(request)},
    )
    return request


def revise(tx: Tx, request: Request | int, ask: Ask, *, generation: int) -> Request:
    """Replace what a draft, or a request returned for supplement, says. Its request kind and department stay."""
    found = lock(tx, request, generation)
    own(tx, found)
    must_be(found, RequestState.DRAFT, RequestState.SUPPLEMENT)
    if (ask.kind.code, ask.department_id) != (found.kind, found.department_id):
        raise Invalid("request.fixed", N_("申请的类型和单位不能更改,请另行申请"), field="kind")
    before = asks.told(found)
    asks.write(tx, found, ask)
    tx.flush()
    after = asks.told(found)
    changed(
        tx,
        found,
        "request.revise",
        before={name: value for name, value in before.items() if after[name] != value},
        after={name: value for name, value in after.items() if before[name] != value},
    )
    return found


def submit(tx: Tx, request: Request | int, *, generation: int) -> Request:
    """Hand a draft in: what it needs is held, and the first of those who must sign begins; it is granted at once where the rules
    let it pass.

    Raises Invalid for what is missing, makes no sense or is not allowed, OverCapacity where the pool has not enough,
    Conflict where another open request is about the same resource.
    """
    found = lock(tx, request, generation)
    own(tx, found)
    must_be(found, RequestState.DRAFT)
    before = {"state": found.state}
    _enter_review(tx, found)
    changed(tx, found, "request.submit", before=before, after=_progress(tx, found))
    granting.tell(tx, found)
    return found


def resubmit(tx: Tx, request: Request | int, *, generation: int) -> Request:
    """Answer a return. The step goes on where its clock stopped; asking for something else begins a new round."""
    found = lock(tx, request, generation)
    own(tx, found)
    must_be(found, RequestState.SUPPLEMENT)
    before = {"state": found.state, "round": found.round}
    if found.asked == asks.asked(found) and _same_share(tx, found):
        asks.check_words(tx, found)
        targets.check(tx, found)
        step = found.current
        assert step is not None  # noqa: S101 - a request in supplement has the step that returned it
        days, step.resumed_at = calendar.working_days(tx), tx.now
        found.state = RequestState.IN_REVIEW.value
        for one in found.active:  # those beside it look at what was mended, with all their time
            one.started_at = one.started_at if one is step else tx.now
            one.due_at = one.deadline(days)
        begin(tx, found)
    else:
        # What was signed was about something else: its hold and its signatures are void.
        old = ledger.pending(tx, found.subject)
        had = _of_the_pool(found, old)
        _lock_accounts(tx, found, {one.commodity for one in old} | set(found.takes()), {one.pool_id for one in old})
        if old:
            ledger.void(tx, old, key=f"{found.subject}/void/{found.round}")
        for step in found.path:
            if step.decided_at is None:
                step.decision, step.decided_at, step.due_at = "superseded", tx.now, None
        found.round += 1
        _enter_review(tx, found, had)
    changed(tx, found, "request.resubmit", before=before, after=_progress(tx, found))
    granting.tell(tx, found)
    return found


def withdraw(tx: Tx, request: Request | int, *, generation: int, reason: str = "") -> Request:
    """Take a request back while it is not decided: what was held returns to where it came from."""
    found = lock(tx, request, generation)
    own(tx, found)
    must_be(found, RequestState.DRAFT, RequestState.IN_REVIEW, RequestState.SUPPLEMENT)
    close(tx, found, RequestState.WITHDRAWN, "request.withdraw", reason)
    return found


# -------------------------------------------------------------------------------------------------- mechanism


def _progress(tx: Tx, request: Request) -> dict[str, Any]:
    """Where a request stands after it was handed in, for the audit trail."""
    return {
        "state": request.state,
        "round": request.round,
        "turn": request.turn,
        "due_at": request.due_at,
        "path": [f"{step.name}:{step.role}:{step.rule}" for step in request.path],
        "held": {f"{one.source}/{one.commodity}": one.amount for one in ledger.pending(tx, request.subject)},
    }


def _lock_accounts(tx: Tx, request: Request, what: Iterable[Commodity], pool_ids: Iterable[int] = ()) -> None:
    """Lock every account that holding or voiding may touch, in the ledger's one order, before reading any."""
    ledger.lock(
        tx,
        [
            Side(pool_id, cls, holder, None if holder is Holder.FREE else request.department_id)
            for pool_id in {request.pool_id, *pool_ids}
            for cls in what
            for holder in (Holder.FREE, Holder.GRANTED, Holder.HELD, Holder.LENT, Holder.SHARED)
        ],
    )


def _system_called(tx: Tx, request: Request) -> str:
    return departments.system(tx, request.of_system or 0).name


def _same_share(tx: Tx, request: Request) -> bool:
    """Whether what it holds is held out of the share of the system that it names now."""
    holds = ledger.pending(tx, request.subject)
    shares = ledger.shares.drawn(tx, request.of_system, request.pool_id, {one.commodity: one.amount for one in holds})
    now = {cls: row.id for cls, (row, _has) in shares.items()}
    return all(one.share_id is None or one.share_id == now.get(one.commodity) for one in holds)


def _asked_anew(tx: Tx, request: Request, beyond: ledger.Classes, had: ledger.Classes | None) -> dict[Commodity, int]:
    """What of ``beyond`` must be free beside what others wait for: nothing where it held as much. ``had`` None: it holds it yet."""
    if had is not None:
        return {cls: amount for cls, amount in beyond.items() if amount > had.get(cls, 0)}
    holds = _of_the_pool(request, ledger.pending(tx, request.subject))
    return {cls: amount - holds.get(cls, 0) for cls, amount in beyond.items()}


def _of_the_pool(request: Request, holds: Sequence[ledger.Hold]) -> dict[Commodity, int]:
    """What of ``holds`` came out of the free capacity of the pool that ``request`` is for."""
    came = (Holder.FREE.value, request.pool_id)
    return {one.commodity: one.amount for one in holds if (one.source, one.pool_id) == came}


def _one_at_a_time(tx: Tx, department_id: int) -> None:
    """Let no other form of this department be handed in before this transaction ends.

    So two of them cannot both find that there is no draft with their key, or no open request for their resource.
    """
    tx.execute(select(Department.id).where(Department.id == department_id).with_for_update(key_share=True))


def _enter_review(tx: Tx, request: Request, had: ledger.Classes | None = None) -> None:
    """``had`` as for ``plan``."""
    _one_at_a_time(tx, request.department_id)
    if request.submitted_at is None:
        asks.drop_unasked(tx, request)
    asks.check_complete(tx, request)
    _lock_accounts(tx, request, {*request.takes(), *request.gives()})
    planned, target = plan(tx, request, had), kind_of(request).counts_as
    found = planned.sources
    of_system = ledger.shares.drawn(tx, request.of_system, request.pool_id, found.shared)
    for source, what in (
        (Holder.SHARED, found.shared),
        (Holder.GRANTED, found.within),
        (Holder.LENT, found.borrowed),
        (Holder.FREE, found.beyond),
    ):
        if what and target is not None:
            ledger.hold(
                tx,
                request.pool_id,
                request.department_id,
                what,
                key=f"{request.subject}/hold/{request.round}/{source.value}",
                subject=request.subject,
                source=source,
                target=target,
                share_ids={cls: row.id for cls, (row, _has) in of_system.items()} if source is Holder.SHARED else None,
            )
    asks.check_returnable(tx, request)
    if planned.passed is not None:
        request.steps.append(granting.passed(tx, request, planned.passed))
    for step in planned.path:
        for row in parties.rows(tx, request, step):
            row.sequence = len(request.path) + 1
            request.steps.append(row)
    for line in request.lines:
        line.approved_quantity = line.approved = line.approved_item_id = None
    request.facts = dict(planned.facts)
    request.asked = asks.asked(request)
    request.state = RequestState.IN_REVIEW.value
    request.submitted_by, request.submitted_at = tx.actor.login, request.submitted_at or tx.now
    if planned.passed is None:
        begin(tx, request)
    else:
        granting.grant(tx, request, request.current)
    tx.flush()
