"""Acting on a case: orders are placed in the transaction that changes its state, and settled once each.

An order's key follows from the case and the number of the order in it. ``settle`` takes what became of the order that
is out; any other order, and the same one again, changes nothing: whatever dies in between is resumed by calling again.

What a shrink, a stop or the recycle bin frees stays set aside for the department (a hold) as long as it may want its
resource back; at the end of the case it goes to the city.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from metering.cases import certificates, surges, windows
from metering.cases.files import Case, Confirmation, close, confirmed_by, lock, move, take_up
from metering.cases.safeguards import (
    FOR_GOOD,
    Obstacle,
    against_order,
    doubtful,
    keeps,
    look,
    off_limits,
    resting,
    safe_target,
    unproven,
)
from metering.cases.steps import REGRETS, CaseAct, CaseState, Consent, Ending, next_order
from metering.judging import CaseKind, Finding, more
from providers import orders
from providers.base import ResourceState, Verb
from providers.orders import OrderState, WorkOrder
from quota import ledger
from quota.actors import Role
from quota.calendar import ZONE
from quota.errors import N_, NotAllowed, WrongState
from quota.ledger import Holder, Side, lending
from quota.requests import Request, reservations
from quota.units import NOTHING, Amount, Arch, Commodity

if TYPE_CHECKING:
    from quota.db import Tx


def act(tx: Tx, case: Case, *, generation: int | None = None) -> Case:
    """Begin what a cleared case is for: judged again first; the first order is placed with the change of state.

    Where the fresh judgement contradicts the case, it ends by itself with the reason (look at ``ending``). Raises
    WrongState where there is no fresh judgement, OverCapacity where the quota for an expansion is short.
    """
    take_up(tx, case, CaseAct.ACT, generation)
    obstacle = _go_on(tx, case, None)
    if obstacle is not None:
        if obstacle.ending is None:
            raise WrongState(obstacle.code, obstacle.message, **obstacle.params)
        close(tx, case, obstacle.ending, obstacle.sentence())
    else:
        case.acted_by, case.acted_at = tx.actor.login, tx.now
    return case


def begin(tx: Tx, case: Case) -> Obstacle | None:
    """As ``act``, by the look within the day on a standing authorisation; returns what stands against it."""
    tx.actor.must_be(Role.SYSTEM)
    lock(tx, case)
    obstacle = _go_on(tx, case, None)
    if obstacle is None:
        case.acted_by, case.acted_at = tx.actor.login, tx.now
    return obstacle


def raise_to(tx: Tx, case: Case, target: Amount) -> Obstacle | None:
    """Enlarge once more what a look within the day enlarged, to ``target``; returns what stands against it: then nothing was changed."""
    tx.actor.must_be(Role.SYSTEM)
    lock(tx, case)
    if not surges.on_loan(case) or case.state != CaseState.WATCHED:
        raise WrongState("case.not_lent", N_("案件不在当日扩容期内"))
    before = case.target, case.recoverable
    case.target, case.recoverable = target.to_json(), more(case.had(), target).to_json()
    obstacle = _go_on(tx, case, None)
    if obstacle is not None:
        case.target, case.recoverable = before
    return obstacle


def confirm_deletion(tx: Tx, case: Case, *, generation: int | None = None) -> Case:
    """One of two persons confirms that the resource may be deleted for good; the second word places the order."""
    take_up(tx, case, CaseAct.CONFIRM_DELETION, generation)
    tx.actor.must_sign()
    if tx.actor.login in confirmed_by(case):
        raise NotAllowed("case.confirmed_twice", N_("您已确认过,须由另一人再确认"))
    tx.add(Confirmation(case_id=case.id, attempt=case.attempts, by=tx.actor.login, role=tx.actor.role.value, at=tx.now))
    tx.flush()
    tx.expire(case, ["confirmations"])
    case.generation += 1
    tx.audit("case.confirm_deletion", case.subject, after={"confirmed": len(confirmed_by(case))})
    if len(confirmed_by(case)) >= 2:
        obstacle = _go_on(tx, case, Verb.RECYCLE)
        if obstacle is not None and obstacle.ending is None:
            raise WrongState(obstacle.code, obstacle.message, **obstacle.params)
        if obstacle is not None and obstacle.ending is not None:
            give_back(tx, case, obstacle.ending, obstacle.sentence())
    return case


def restore(tx: Tx, case: Case, reason: str = "", *, generation: int | None = None) -> Case:
    """Have a reclaimed resource back: started again during the watch, restored from the bin until it is deleted."""
    take_up(tx, case, CaseAct.RESTORE, generation)
    give_back(tx, case, Ending.RETURNED, reason.strip() or N_("使用单位要求恢复"))
    return case


def roll_back(tx: Tx, case: Case, reason: str = "", *, generation: int | None = None) -> Case:
    """Give a resource its former shape again: a shrunk one while it is watched or after a rollback was proposed, one that
    was enlarged for a term before its end.

    What was lent the department gives back whenever it likes; the steward takes it only from whom a fresh judgement
    shows to do without it (WrongState otherwise).
    """
    take_up(tx, case, CaseAct.ROLL_BACK, generation)
    if case.kind == CaseKind.EXPAND:
        if tx.actor.role is Role.TENANT:
            case.consent = Consent.ASKED.value
        elif (obstacle := keeps(tx, case) or doubtful(tx, case)) is not None:
            raise WrongState(obstacle.code, obstacle.message, **obstacle.params)
        give_back(tx, case, Ending.TERM_OVER, reason.strip() or N_("提前归还临时扩容"))
    else:
        give_back(tx, case, Ending.ROLLED_BACK, reason.strip() or N_("缩容后负载过高,恢复原规格"))
    return case


def keep(tx: Tx, case: Case, reason: str = "", *, generation: int | None = None) -> Case:
    """Leave a shrunk resource as it is although a rollback was proposed; or let temporary growth stay for good."""
    take_up(tx, case, CaseAct.KEEP, generation)
    if case.kind == CaseKind.EXPAND:
        tx.actor.must_be(Role.SUPERVISOR)  # what was lent for a term is not kept on the borrower's own word
        certificates.certify(tx, case, charged_until=case.effective_at or tx.now)
        close(tx, case, Ending.EXPANDED, reason.strip() or N_("核实后长期保留"))
    else:
        finish(tx, case, Ending.SHRUNK, reason.strip() or N_("核实后维持缩容"))
    return case


def settle(tx: Tx, case: Case, order: WorkOrder) -> bool:
    """Take what became of ``order`` into the case; False where there is nothing (new) to take.

    A delivered order takes the case on; a cancelled one takes it back to where somebody decides.
    """
    lock(tx, case)
    if case.order_key != order.key:
        return False
    tx.refresh(order)
    if order.state in (OrderState.DELIVERED, OrderState.ACCEPTED):
        _delivered(tx, case, order)
    elif order.state == OrderState.CANCELLED:
        _cancelled(tx, case, order)
    else:
        return False
    return True


def current_order(tx: Tx, case: Case) -> WorkOrder | None:
    """The order that a case waits for."""
    return tx.scalar(select(WorkOrder).where(WorkOrder.key == case.order_key)) if case.order_key else None


# ---------------------------------------------------------------------------------------------- what time and jobs do


def recycle(tx: Tx, case: Case) -> Obstacle | None:
    """The watch is over: into the recycle bin, unless something stands against it."""
    return _go_on(tx, case, Verb.STOP)


def give_back(tx: Tx, case: Case, ending: Ending, reason: str) -> None:
    """Undo what was done so far; the case ends with ``ending`` once that is delivered."""
    case.going_back, case.reason = ending.value, reason
    # Who starts it again at the cloud itself wants it back as much as who asks us for it.
    taken = case.was_running or case.binned_at is not None
    if case.regretted_at is None and (ending in REGRETS or (ending is Ending.RECOVERED and taken)):
        case.regretted_at = tx.now
    if case.kind != CaseKind.RECLAIM:
        _order(tx, case, Verb.RESIZE, _changed(case, Amount.from_json(case.shape)), reason)
    elif case.binned_at is not None:
        _order(tx, case, Verb.RESTORE, NOTHING, reason)
    elif case.was_running:
        _order(tx, case, Verb.START, NOTHING, reason)
    else:
        _let_go(tx, case)
        close(tx, case, ending, reason)


def ask(tx: Tx, case: Case, obstacle: Obstacle) -> None:
    """Temporary growth whose term is over stays as it is, and says why, until somebody decides."""
    case.going_back, case.reason = None, obstacle.sentence()
    move(tx, case, CaseState.STRAINED, "case.term_over", days=case.procedure().ruling_days, reason=case.reason)


def last_look(tx: Tx, order_id: int) -> str | None:
    """Why an order that was placed for a case, or by the clock to give back what was granted for a time, must not be sent just
    now; None where it may go. To be called in the transaction that sends it: whatever came up since it was placed counts, also
    between two runs of the job."""
    against = objection(tx, order_id)
    if against is not None:
        return against
    order = tx.get_one(WorkOrder, order_id)
    one = tx.get(Case, order.case_id) if order.case_id is not None else None
    if one is None:
        waits = reserved(tx, order)
        return N_("不在变更窗口内") if waits is not None and waits.opens > tx.now and not waits.late else None
    if in_windows(tx, one, Verb(order.verb)) and opening(tx, one, Verb(order.verb)) > tx.now:
        return N_("不在变更窗口内")
    return None


@dataclass(frozen=True, slots=True)
class PeakWait:
    """``opens``: when a machine may next be shut down to grow for a declared peak, or to be given back after it; ``late``: not before that
    peak, so that it is not waited for."""

    opens: datetime
    late: bool


def reserved(tx: Tx, order: WorkOrder) -> PeakWait | None:
    """What an order on a reservation waits for where it shuts a machine down; None for others."""
    request_id, machine = order.request_id or order.gives_back, order.resource
    if order.case_id is not None or request_id is None or machine is None or order.verb != Verb.RESIZE:
        return None
    if order.pool.live_resize is not False or machine.kind not in surges.RESTARTED:
        return None
    request = tx.get(Request, request_id)
    peak = reservations.peak_of(request) if request is not None else None
    if peak is None or machine.state == ResourceState.STOPPED:
        return None
    opens = windows.opening(tx, order.pool_id, restarts=True)
    return PeakWait(opens, order.gives_back is None and opens >= datetime.combine(peak, time(), ZONE))


def opening(tx: Tx, case: Case, verb: Verb) -> datetime:
    """From when on an order of a case that is sent inside change windows may go."""
    return windows.opening(tx, case.pool_id, restarts=verb is Verb.RESIZE and surges.shuts_down(tx, case))


def in_windows(tx: Tx, case: Case, verb: Verb) -> bool:
    """Whether an order of a case is sent inside change windows alone: what takes something away, and what shuts a machine down
    to change its size, both ways."""
    if verb is Verb.SNAPSHOT:
        return False
    return (case.takes and not case.going_back) or surges.restarts(tx, case)


def objection(tx: Tx, order_id: int) -> str | None:
    """As ``last_look``, for people who begin an order by hand: in the window or not, they answer for."""
    order = tx.get_one(WorkOrder, order_id)
    one = tx.get(Case, order.case_id) if order.case_id is not None else None
    if one is None:
        needed = orders.returns.against_order(tx, order)
        return None if needed is None else needed.sentence()
    lock(tx, one)
    if one.order_key != order.key:
        return N_("案件已不再等待这张工单")
    obstacle = against_order(tx, one, order)
    return None if obstacle is None else obstacle.sentence()


def finish(tx: Tx, case: Case, ending: Ending, reason: str) -> None:
    """What was taken away stays away: what was set aside goes to the city, and a certificate says so. What the department
    had borrowed for it stays with it, to go home to its lender."""
    what = lending.spare(tx, case.pool_id, case.department_id, _let_go(tx, case))
    if what:
        ledger.reclaim(
            tx,
            case.pool_id,
            case.department_id,
            what,
            key=f"{case.subject}:reclaim",
            source=Holder.GRANTED,
            subject=case.subject,
        )
    done = select(func.max(WorkOrder.delivered_at)).where(
        WorkOrder.case_id == case.id, WorkOrder.verb.in_([Verb.RESIZE.value, Verb.DELETE.value])
    )
    certificates.certify(tx, case, charged_until=tx.scalar(done) or tx.now)
    close(tx, case, ending, reason)


# ---------------------------------------------------------------------------------------------------------- mechanism


def _go_on(tx: Tx, case: Case, done: Verb | None) -> Obstacle | None:
    """Place the order that comes after ``done``, unless something stands against it: then nothing was changed."""
    seen = look(tx, case)
    if seen.obstacle is not None:
        return seen.obstacle
    if not resting(case):
        _take_note(case, seen.finding)
    verb = next_order(CaseKind(case.kind), case.service(), done)
    if resting(case) and verb in FOR_GOOD and (doubt := unproven(tx, case)) is not None:
        return doubt
    case.reason = ""  # whatever it waited for
    if verb is Verb.STOP and case.resource.state == ResourceState.STOPPED:
        # It was off already; it is watched all the same.
        _watch(tx, case, case.procedure().stop_watch_days)
        return None
    if verb is None:
        raise AssertionError(f"{case.subject}: nothing comes after {done}")
    _order(tx, case, verb, _changed(case, case.will_have() or NOTHING) if verb is Verb.RESIZE else NOTHING, "")
    return None


def _take_note(case: Case, finding: Finding | None) -> None:
    """What the case is acted on by, and what the resource is like at that moment."""
    case.fresh_finding_id = finding.id if finding else None
    case.was_running = case.resource.state == ResourceState.RUNNING
    if case.kind == CaseKind.SHRINK:
        case.target = safe_target(case, finding).to_json()


def _order(tx: Tx, case: Case, verb: Verb, what: Amount, reason: str) -> None:
    """Place the case's next order and wait for it. What harms came through ``_go_on``, which looked."""
    if case.going_back:
        _let_go(tx, case)
    case.orders += 1
    key = f"{case.subject}:{case.orders}:{verb}"
    order = orders.place(
        tx,
        case.pool,
        verb,
        key=key,
        resource=case.resource,
        amounts=what or None,
        case_id=case.id,
        emergency=bool(case.going_back),
        frees=Holder.FREE if verb is Verb.DELETE else Holder.GRANTED,
    )
    if in_windows(tx, case, verb):
        opens = opening(tx, case, verb)
        if opens > tx.now:
            order.next_try_at = opens
    case.step, case.order_key = verb.value, key
    move(tx, case, CaseState.ORDERED, "case.order", reason=reason, verb=verb, order=order.number, amounts=what)


def _changed(case: Case, target: Amount) -> Amount:
    """What of ``target`` differs from what the resource has now."""
    return target.differing(case.resource.actual())


def _delivered(tx: Tx, case: Case, order: WorkOrder) -> None:
    verb, procedure = Verb(order.verb), case.procedure()
    when = order.delivered_at or tx.now
    if verb is not Verb.DELETE:  # the confirmations of a deletion are of this attempt
        case.attempts = 0
    if case.going_back:
        if verb is Verb.RESTORE and case.was_running and case.resource.state != ResourceState.RUNNING:
            _order(tx, case, Verb.START, NOTHING, case.reason)
        else:
            case.freed = {}
            if case.going_back == Ending.TERM_OVER:
                certificates.certify(tx, case, charged_until=when)
            close(tx, case, Ending(case.going_back), case.reason)
        return
    _set_aside(tx, case, order)
    if case.kind == CaseKind.EXPAND:
        case.effective_at = case.effective_at or when  # the longest term is counted from the first time
        case.freed = more(Amount.from_json(case.shape), case.will_have() or NOTHING).to_json()
        if case.ends_on is None:
            certificates.certify(tx, case, charged_until=when)
            close(tx, case, Ending.EXPANDED, N_("已按建议扩容"))
        else:
            until = datetime.combine(case.ends_on + timedelta(days=1), time(), ZONE)
            if surges.on_loan(case) and (seen := surges.last(tx, case.id)) is not None and seen.until is not None:
                until = seen.until  # lent by the hour
            move(tx, case, CaseState.WATCHED, "case.lend", wake_at=until, until=case.ends_on)
    elif verb is Verb.RESIZE:
        case.effective_at = when
        barred = off_limits(tx, case)  # granted while the cloud was at it, and could not be called back
        if barred is not None and barred.ending in (Ending.EXEMPTED, Ending.PROTECTED):
            give_back(tx, case, barred.ending, barred.sentence())
        else:
            _watch(tx, case, procedure.shrink_watch_days)
    elif verb is Verb.STOP:
        case.effective_at = when
        _watch(tx, case, procedure.stop_watch_days)
    elif verb is Verb.RECYCLE:
        case.binned_at = when
        case.effective_at = case.effective_at or when
        move(tx, case, CaseState.BINNED, "case.bin", wake_at=tx.now + timedelta(days=procedure.bin_days))
    elif verb is Verb.DELETE:
        finish(tx, case, Ending.DELETED, N_("两人确认后删除,配额已收回,计费已停止"))
    else:
        obstacle = _go_on(tx, case, verb)
        if obstacle is not None:
            halt(tx, case, obstacle)


def halt(tx: Tx, case: Case, obstacle: Obstacle) -> None:
    """Nothing was taken yet and something stands against it: end the case, or wait until somebody acts again."""
    if obstacle.ending is None:
        case.reason = obstacle.sentence()
        move(tx, case, CaseState.CLEARED, "case.halt", days=case.procedure().act_days, reason=case.reason)
    else:
        close(tx, case, obstacle.ending, obstacle.sentence())


def _cancelled(tx: Tx, case: Case, order: WorkOrder) -> None:
    verb, procedure = Verb(order.verb), case.procedure()
    case.attempts += 1
    case.reason = order.last_error or N_("工单已取消")
    doubt = against_order(tx, case, order) if case.going_back else None
    if doubt is not None:
        ask(tx, case, doubt)
    elif surges.on_loan(case) and case.freed and not case.going_back:
        _as_it_was_lent(tx, case)
    elif case.going_back:  # the department has a right to it: ordered anew
        give_back(tx, case, Ending(case.going_back), case.reason)
    elif verb is Verb.DELETE:
        move(tx, case, CaseState.CONFIRMING, "case.fail", days=procedure.confirm_days, reason=case.reason)
    elif resting(case) and case.attempts < procedure.attempts:
        move(tx, case, CaseState.WATCHED, "case.fail", wake_at=tx.now + timedelta(days=1), reason=case.reason)
    elif resting(case):
        give_back(tx, case, Ending.FAILED, case.reason)
    elif case.attempts < procedure.attempts:
        move(tx, case, CaseState.CLEARED, "case.fail", days=procedure.act_days, reason=case.reason)
    else:
        close(tx, case, Ending.FAILED, case.reason)


def _as_it_was_lent(tx: Tx, case: Case) -> None:
    """What was to be enlarged once more could not be: it keeps what it was lent before, for the time that the last look gave it."""
    lent = (case.had() + Amount.from_json(case.freed)).to_json()
    case.target, case.recoverable = lent, case.freed
    seen = surges.last(tx, case.id)
    move(tx, case, CaseState.WATCHED, "case.fail", wake_at=(seen and seen.until) or tx.now, reason=case.reason)


def _watch(tx: Tx, case: Case, days: int) -> None:
    case.effective_at = case.effective_at or tx.now
    move(tx, case, CaseState.WATCHED, "case.watch", wake_at=tx.now + timedelta(days=days), days_watched=days)


def _set_aside(tx: Tx, case: Case, order: WorkOrder) -> None:
    """What the order freed is kept for the department, as far as it has not used it for something else by now."""
    freed = Amount.from_json(order.freed)
    if not freed:
        return
    case.freed = (Amount.from_json(case.freed) + freed).to_json()
    if order.frees != Holder.GRANTED.value:
        return
    what = freed.of_arch(Arch(case.pool.arch))
    sides = {cls: Side(case.pool_id, cls, Holder.GRANTED, case.department_id) for cls in what}
    ledger.lock(tx, sides.values())
    what = {cls: min(figure, ledger.balance(tx, sides[cls])) for cls, figure in what.items()}
    what = {cls: figure for cls, figure in what.items() if figure}
    if what:
        ledger.hold(
            tx,
            case.pool_id,
            case.department_id,
            what,
            key=f"{order.key}:aside",
            subject=case.subject,
            source=Holder.GRANTED,
            target=Holder.USED,
        )


def _let_go(tx: Tx, case: Case) -> dict[Commodity, int]:
    """What was set aside is the department's granted quota again; returns how much that is."""
    holds = ledger.pending(tx, case.subject)
    what: dict[Commodity, int] = {}
    for each in holds:
        what[each.commodity] = what.get(each.commodity, 0) + each.amount
    if holds:
        ledger.void(tx, holds, key=f"{case.subject}:{case.orders}:let-go")
    return what


__all__ = [
    "act",
    "ask",
    "begin",
    "confirm_deletion",
    "current_order",
    "finish",
    "give_back",
    "halt",
    "keep",
    "last_look",
    "objection",
    "opening",
    "raise_to",
    "recycle",
    "reserved",
    "restore",
    "roll_back",
    "settle",
]
