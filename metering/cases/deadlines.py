"""What time moves in cases: reminders, escalation, silence, the ends of watches, of the recycle bin, of exemptions.

``advance_all`` is the job, each case in a transaction of its own so that people may write in between; ``advance`` does the
same in one. Both may run at any time and as often as one likes: what was done is not done again, and what should have
happened while nobody ran it happens then, with the department's time to answer counted from its reminder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, String, and_, cast, exists, func, not_, or_, select
from sqlalchemy.orm import aliased

from metering.cases import enforcement, exemptions, protections, safeguards, surges, suspensions
from metering.cases.exemptions import Category, Exemption
from metering.cases.figures import strain
from metering.cases.files import Case, close, lock, move, open_case
from metering.cases.notices import Notice
from metering.cases.steps import HEARING, OPEN, RESTING, STOPPABLE, CaseState, Consent, Ending, Matter
from metering.judging import (
    ALIVE,
    GROWS,
    STILL,
    TAKES,
    Assessment,
    CaseKind,
    Finding,
    PolicyVersion,
    Verdict,
    findings,
    latest,
    policies,
)
from providers import orders
from providers.base import ResourceState, Verb
from providers.orders import OrderState, WorkOrder
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE, WorkingDays, working_days
from quota.db import among
from quota.errors import N_, Refused
from quota.inventory import Resource
from quota.requests import Request
from quota.units import NOTHING

if TYPE_CHECKING:
    from quota.db import Book, Tx

log = logging.getLogger("guanjia.deadlines")

RECHECK = timedelta(hours=1)
"""How long an order is kept back before it is looked at again."""


@dataclass(slots=True)
class Advanced:
    """What one run moved. Ids of cases (of notices, exemptions, policy versions); ``refused``: case id → what stands in the
    way; ``failed``: case id → the fault of ours that it met."""

    settled: list[int] = field(default_factory=list)
    reminded: list[int] = field(default_factory=list)
    escalated: list[int] = field(default_factory=list)
    consented: list[int] = field(default_factory=list)
    moved: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    exemptions_ended: list[int] = field(default_factory=list)
    suspended: list[int] = field(default_factory=list)
    refused: dict[int, Refused] = field(default_factory=dict)
    failed: dict[int, Exception] = field(default_factory=dict)

    def add(self, other: Advanced) -> None:
        """Count what another transaction moved with it."""
        for one in fields(self):
            mine, theirs = getattr(self, one.name), getattr(other, one.name)
            mine.update(theirs) if isinstance(mine, dict) else mine.extend(theirs)

    def quiet(self) -> bool:
        """Whether nothing moved."""
        return not any(
            (
                self.settled,
                self.reminded,
                self.escalated,
                self.consented,
                self.moved,
                self.closed,
                self.exemptions_ended,
                self.suspended,
            )
        )


def advance_all(book: Book, actor: Actor | None = None) -> Advanced:
    """As ``advance``, but a transaction for each case, so that nobody's writing waits longer than for one of them.

    Whatever goes wrong with a case undoes that case alone: it is named in ``refused`` or ``failed``, and tried again the
    next time. What was moved before stays moved if the process dies.
    """
    actor = actor or steward("job:cases")
    done = Advanced()
    with book.transaction(actor) as tx:
        tx.actor.must_be(Role.SYSTEM, Role.SUPERVISOR)
        done.exemptions_ended = [one.id for one in exemptions.end_due(tx)]
        calendar = working_days(tx)
        _remind(tx, calendar, done)
    with book.reading(actor) as tx:
        waiting = movable(tx, calendar)
    for case_id in waiting:
        moved = Advanced()
        try:
            with book.transaction(actor) as tx:
                _advance(tx, tx.get_one(Case, case_id), calendar, moved)
        except Refused as refusal:
            done.refused[case_id] = refusal
        except Exception as fault:
            log.exception("case %s cannot be moved", case_id)
            done.failed[case_id] = fault
        else:
            done.add(moved)
    with book.transaction(actor) as tx:
        done.suspended = [one.policy_version_id for one in suspensions.examine(tx)]
    return done


def advance(tx: Tx) -> Advanced:
    """Move everything that time, the clouds and fresh judgements move. One case that cannot be moved does not keep the
    others: it is named in ``refused`` and tried again the next time."""
    tx.actor.must_be(Role.SYSTEM, Role.SUPERVISOR)
    done = Advanced()
    done.exemptions_ended = [one.id for one in exemptions.end_due(tx)]
    calendar = working_days(tx)
    _remind(tx, calendar, done)
    for case_id in movable(tx, calendar):
        one = tx.get_one(Case, case_id)
        _alone(tx, one, done, lambda one=one: _advance(tx, one, calendar, done))  # type: ignore[misc]
    done.suspended = [one.policy_version_id for one in suspensions.examine(tx)]
    return done


def exempt(
    tx: Tx, resource: Resource, category: Category, reason: str, until: date, *, last_peak: str = ""
) -> Exemption:
    """Exempt a resource on the steward's own initiative, and stop at once what is under way against it.

    An order that the cloud has been sent cannot be called back; what it does is undone when it is delivered.
    """
    procedure = policies.in_force(tx, tx.now.astimezone(ZONE).date()).rules()
    granted = exemptions.grant(tx, resource, category, reason, until, procedure, last_peak=last_peak)
    one = open_case(tx, resource.id)
    if one is not None:
        calendar, done = working_days(tx), Advanced()
        _alone(tx, one, done, lambda: _advance(tx, one, calendar, done))
    return granted


def _alone(tx: Tx, case: Case, done: Advanced, step: Callable[[], None]) -> None:
    """Do ``step`` so that its refusal undoes it alone."""
    try:
        with tx.apart():
            step()
    except Refused as refusal:
        done.refused[case.id] = refusal
        tx.expire(case)


def _advance(tx: Tx, case: Case, calendar: WorkingDays, done: Advanced) -> None:
    lock(tx, case)
    state, before = CaseState(case.state), case.generation
    if state is CaseState.CLOSED:  # meanwhile, by somebody else
        return
    if state is CaseState.ORDERED:
        _ordered(tx, case, done)
    elif state in HEARING:
        _hearing(tx, case, calendar, done)
    elif state in RESTING and case.kind == CaseKind.RECLAIM:
        _resting(tx, case)
    elif state in (CaseState.WATCHED, CaseState.STRAINED) and case.kind == CaseKind.EXPAND:
        _lent(tx, case)
    elif state is CaseState.WATCHED:
        _watched(tx, case)
    if case.generation != before:
        (done.closed if case.state == CaseState.CLOSED else done.moved).append(case.id)
    elif case.due_from is not None and case.due_days is not None:
        case.due_at = calendar.due(case.due_from, case.due_days)  # the calendar may have been published since


# -------------------------------------------------------------------------------------------------- which to look at


def movable(tx: Tx, calendar: WorkingDays) -> list[int]:
    """Ids of the open cases that time, an order, the inventory or the newest judgement may move now: asked of all of them at
    once, by as many queries however many are open. One that is named may stay where it is; none that would move is left out."""
    return sorted({*_by_what_is_known(tx), *_strained_again(tx), *_out_of_time(tx, calendar), *_redated(tx, calendar)})


def _by_what_is_known(tx: Tx) -> set[int]:
    """By the resource, its newest finding, the order that is out, and the end of a watch."""
    fresh = aliased(Finding)
    lost = or_(
        Resource.gone_at.is_not(None), Resource.state.in_([ResourceState.DELETED.value, ResourceState.ERROR.value])
    )
    kept = and_(_of(*TAKES), or_(Resource.protected, exemptions.held(tx)))
    started = and_(
        Resource.state == ResourceState.RUNNING.value,
        or_(Case.binned_at.is_not(None), Resource.kind.in_([one.value for one in STOPPABLE])),
    )
    otherwise = and_(
        fresh.id != Case.finding_id,
        or_(*(and_(_of(kind), fresh.verdict.not_in(_values(STILL[kind] | safeguards.BLIND))) for kind in CaseKind)),
    )
    woken, reclaim = Case.wake_at <= tx.now, _of(CaseKind.RECLAIM)
    moves = or_(
        and_(_in(*HEARING, *RESTING), Case.term_id.in_(select(Request.id).where(Request.use_until >= _today(tx)))),
        and_(_in(*HEARING), or_(lost, kept, and_(Case.term_id.is_(None), or_(otherwise, fresh.id.is_(None))))),
        and_(
            _in(*RESTING),
            reclaim,
            or_(woken, kept, started, and_(Case.term_id.is_(None), fresh.verdict.in_(_values(ALIVE)))),
        ),
        and_(_in(CaseState.WATCHED), not_(reclaim), woken),
        and_(_in(CaseState.STRAINED), _of(CaseKind.EXPAND)),
        and_(_in(CaseState.ORDERED), exists().where(WorkOrder.key == Case.order_key, orders.undecided())),
    )
    worn = protections.tags(tx)
    found: set[int] = set()
    for versions, run in _judged_by(tx):
        newest = and_(fresh.resource_id == Case.resource_id, fresh.assessment_id == run.id)
        query = (
            select(Case.id)
            .join(Resource, Resource.id == Case.resource_id)
            .outerjoin(fresh, newest)
            .where(Case.policy_version_id.in_(versions), _in(*OPEN))
        )
        found.update(tx.scalars(query.where(moves)))
        if worn:
            tagged = query.add_columns(Resource.tags).where(_of(*TAKES), cast(Resource.tags, String) != "{}")
            found.update(one for one, tags in tx.execute(tagged) if protections.by_tag(worn, tags) is not None)
    return found


def _judged_by(tx: Tx) -> Iterator[tuple[list[int], Assessment]]:
    """The versions of each policy that open cases stand on, and the newest assessment by it."""
    used = select(Case.policy_version_id).where(_in(*OPEN))
    names = select(PolicyVersion.id, PolicyVersion.name).where(PolicyVersion.id.in_(used)).order_by(PolicyVersion.id)
    versions: dict[str, list[int]] = {}
    for version_id, name in tx.execute(names):
        versions.setdefault(name, []).append(version_id)
    for name, ids in versions.items():
        if (run := findings.last_run(tx, name)) is not None:
            yield ids, run


def _strained_again(tx: Tx) -> Iterator[int]:
    """Those shrunk whose newest finding shows strain since."""
    for versions, run in _judged_by(tx):
        query = (
            select(Case, Finding)
            .join(Finding, and_(Finding.resource_id == Case.resource_id, Finding.assessment_id == run.id))
            .where(Case.policy_version_id.in_(versions), _in(CaseState.WATCHED), _of(CaseKind.SHRINK))
        )
        for case, finding in tx.execute(query.where(Case.effective_at < run.as_of)):
            whole = _first_whole_day(case)
            if run.last_day >= whole and _strained(finding, whole, case.procedure().rollback_level):
                yield case.id


def _out_of_time(tx: Tx, calendar: WorkingDays) -> list[int]:
    """Those noticed by letters whose time is over by now, or is longer than it was as they were reminded of late."""
    reminded = (
        select(Notice, func.min(Case.due_at))
        .join(Case, Case.notice_id == Notice.id)
        .where(_in(CaseState.NOTICED), Notice.reminded_at.is_not(None))
        .group_by(Notice.id)
    )
    over = []
    for letter, due_at in tx.execute(reminded):
        end = _end_of(letter, calendar)
        if end is not None and (tx.now > end or (due_at is not None and end > due_at)):
            over.append(letter.id)
    return list(tx.scalars(select(Case.id).where(_in(CaseState.NOTICED), among(Case.notice_id, over)))) if over else []


def _redated(tx: Tx, calendar: WorkingDays) -> Iterator[int]:
    """Those whose deadline is another one by the calendar as it is now."""
    clock = (Case.due_from, Case.due_days, Case.due_at)
    running = select(*clock).where(_in(*OPEN), Case.due_from.is_not(None), Case.due_days.is_not(None))
    stale = {
        (begun, days)
        for begun, days, due_at in tx.execute(running.distinct())
        if begun is not None and days is not None and calendar.due(begun, days) != due_at
    }
    if stale:
        for case_id, begun, days in tx.execute(running.with_only_columns(Case.id, Case.due_from, Case.due_days)):
            if (begun, days) in stale:
                yield case_id


def _today(tx: Tx) -> date:
    return tx.now.astimezone(ZONE).date()


def _in(*states: CaseState) -> ColumnElement[bool]:
    return Case.state.in_([one.value for one in states])


def _of(*kinds: CaseKind) -> ColumnElement[bool]:
    return Case.kind.in_([one.value for one in kinds])


def _values(verdicts: Iterable[Verdict]) -> list[str]:
    return [one.value for one in verdicts]


# ---------------------------------------------------------------------------------------------------------- the hearing


def _remind(tx: Tx, calendar: WorkingDays, done: Advanced) -> None:
    """Remind each department once of each letter that has unanswered cases, half way through its time."""
    waiting = select(Case.notice_id).where(Case.state == CaseState.NOTICED.value)
    letters = tx.scalars(
        select(Notice)
        .where(Notice.reminded_at.is_(None), Notice.id.in_(waiting))
        .order_by(Notice.id)
        .with_for_update(of=Notice)
    )
    for letter in letters.all():
        if calendar.between(letter.issued_at, tx.now) < letter.reminder_days:
            continue
        letter.reminded_at = tx.now
        tx.audit("notice.remind", f"notice:{letter.id}", after={"department": letter.department_id})
        done.reminded.append(letter.id)


def _hearing(tx: Tx, case: Case, calendar: WorkingDays, done: Advanced) -> None:
    obstacle = safeguards.off_limits(tx, case) or safeguards.recovered(tx, case)
    if obstacle is not None and obstacle.ending is not None:
        close(tx, case, obstacle.ending, obstacle.sentence())
    elif case.state == CaseState.NOTICED and case.notice is not None and case.notice.reminded_at is not None:
        letter, end = case.notice, _end_of(case.notice, calendar)
        if case.due_at is not None and end is not None and end > case.due_at:
            case.due_from, case.due_days = letter.reminded_at, letter.reply_days - letter.reminder_days
        if end is not None and tx.now > end:
            _silence(tx, case, done)


def answerable_until(letter: Notice, calendar: WorkingDays) -> datetime:
    """Until when a letter may be answered, as far as is known by now."""
    return _end_of(letter, calendar) or calendar.due(letter.issued_at, letter.reply_days)


def _end_of(letter: Notice, calendar: WorkingDays) -> datetime | None:
    """Until when a letter may be answered that was reminded of; None: it was not yet. Who was reminded late has as long from then
    on as everybody has after the reminder."""
    if letter.reminded_at is None:
        return None
    return max(
        calendar.due(letter.issued_at, letter.reply_days),
        calendar.due(letter.reminded_at, letter.reply_days - letter.reminder_days),
    )


def _silence(tx: Tx, case: Case, done: Advanced) -> None:
    """Nobody answered. That is consent to a shrink; it never powers anything off: there somebody has to rule."""
    letter = case.notice
    if letter is not None and letter.escalated_at is None:
        letter.escalated_at = tx.now
        tx.audit("notice.escalate", f"notice:{letter.id}", after={"department": letter.department_id})
        done.escalated.append(letter.id)
    procedure = case.procedure()
    if case.kind == CaseKind.SHRINK:
        case.consent = Consent.SILENCE.value
        move(tx, case, CaseState.CLEARED, "case.silence", days=procedure.act_days)
        done.consented.append(case.id)
    elif case.kind == CaseKind.RECLAIM:
        case.matter = Matter.SILENCE.value
        move(tx, case, CaseState.DISPUTED, "case.silence", days=procedure.ruling_days)
    else:
        close(tx, case, Ending.LAPSED, N_("使用单位逾期未答复,不作扩容"), "case.silence")


# ------------------------------------------------------------------------------------------------ after it was acted on


def _ordered(tx: Tx, case: Case, done: Advanced) -> None:
    """Take in what became of the order; call back one that is not on its way yet if something came in between."""
    order = enforcement.current_order(tx, case)
    if order is None:
        return
    if enforcement.settle(tx, case, order):
        done.settled.append(case.id)
        return
    if not order.may_be_called_back():
        return
    obstacle = safeguards.against_order(tx, case, order)
    if obstacle is None or (obstacle.ending is None and not case.going_back and obstacle.code != safeguards.OUTDATED):
        if order.state == OrderState.PENDING and enforcement.in_windows(tx, case, Verb(order.verb)):
            _hold_back(tx, case, order, obstacle)
        return
    orders.cancel(tx, order.id, order.generation, obstacle.sentence())
    if case.going_back:
        enforcement.ask(tx, case, obstacle)
    elif safeguards.resting(case) and obstacle.ending is not None:
        enforcement.give_back(tx, case, obstacle.ending, obstacle.sentence())
    else:
        enforcement.halt(tx, case, obstacle)


def _hold_back(tx: Tx, case: Case, order: WorkOrder, obstacle: safeguards.Obstacle | None) -> None:
    """An order that is not on its way yet goes in the next window, and not while something has to be cleared first."""
    opens = enforcement.opening(tx, case, Verb(order.verb))
    if obstacle is not None:
        opens = max(opens, tx.now + RECHECK)
        case.reason = obstacle.sentence()
    if order.attempts == 0:
        order.next_try_at = opens if opens > tx.now else None
    elif opens > tx.now and (order.next_try_at is None or order.next_try_at < opens):
        order.next_try_at = opens


def _lent(tx: Tx, case: Case) -> None:
    """Temporary growth returns when its term is over; of whose use nothing is known, or who needs it still, is not made
    smaller by a clock: there somebody decides, unless it turns out before that it does without."""
    asked = case.state == CaseState.STRAINED
    if not asked and (case.wake_at is None or case.wake_at > tx.now):
        return
    if case.wake_at is not None and surges.on_loan(case) and tx.now < case.wake_at + surges.ABANDONED:
        return  # lent by the hour: the look within the day sees whether it does without
    waits = safeguards.keeps(tx, case)
    has, given = case.resource.actual(), case.will_have() or NOTHING
    if case.resource.gone_at is not None or case.resource.state == ResourceState.DELETED:
        close(tx, case, Ending.CHANGED, N_("资源已不存在"))
    elif any(has.get(kind) != figure for kind, figure in given.items()):
        close(tx, case, Ending.CHANGED, N_("资源规格已另行变更,不再恢复"))
    elif waits is not None:
        case.reason = waits.sentence()
    elif (doubt := safeguards.doubtful(tx, case)) is not None:
        if not asked:
            enforcement.ask(tx, case, doubt)
    elif asked:
        enforcement.give_back(tx, case, Ending.TERM_OVER, N_("临时扩容期满后查明已不需要，恢复原规格"))
    else:
        enforcement.give_back(tx, case, Ending.TERM_OVER, N_("临时扩容期满,恢复原规格"))


def _resting(tx: Tx, case: Case) -> None:
    """Off or in the bin: back if it is wanted, further if its time is over."""
    obstacle = safeguards.look(tx, case).obstacle
    if obstacle is not None:
        if obstacle.ending is not None:
            enforcement.give_back(tx, case, obstacle.ending, obstacle.sentence())
        elif case.wake_at is not None and case.wake_at <= tx.now:
            case.reason = obstacle.sentence()
        return
    if case.wake_at is None or case.wake_at > tx.now:
        return
    if case.state == CaseState.WATCHED:
        waits = enforcement.recycle(tx, case)
        if waits is not None:
            case.reason = waits.sentence()
    elif case.state == CaseState.BINNED:
        move(tx, case, CaseState.CONFIRMING, "case.ripen", days=case.procedure().confirm_days)


def _watched(tx: Tx, case: Case) -> None:
    """After a shrink: propose a rollback as soon as it shows strain, end the case when its time passed without."""
    if case.effective_at is None or case.wake_at is None:
        return
    procedure = case.procedure()
    whole = _first_whole_day(case)
    finding = latest(tx, case.resource_id, case.policy_version.name)
    shown = finding is not None and finding.assessment.last_day >= whole
    if finding is not None and shown and _strained(finding, whole, procedure.rollback_level):
        case.reason = N_("缩容后负载过高,建议恢复原规格")
        case.regretted_at = tx.now
        move(
            tx,
            case,
            CaseState.STRAINED,
            "case.propose_rollback",
            days=procedure.ruling_days,
            reason=case.reason,
            finding=finding.id,
        )
        return
    if tx.now < case.wake_at:
        return
    last = case.wake_at.astimezone(ZONE).date() - timedelta(days=1)
    if finding is not None and finding.assessment.last_day >= last and finding.is_now() not in safeguards.BLIND:
        enforcement.finish(tx, case, Ending.SHRUNK, N_("观察期内负载正常"))
    elif tx.now >= case.wake_at + timedelta(days=procedure.shrink_watch_days):
        enforcement.finish(tx, case, Ending.SHRUNK, N_("观察期已延长一倍,仍没有足够的监测数据"))


def _first_whole_day(case: Case) -> date:
    """The first whole day in the new shape, of a case that has taken effect."""
    assert case.effective_at is not None  # noqa: S101 - it has
    return case.effective_at.astimezone(ZONE).date() + timedelta(days=1)


def _strained(finding: Finding, whole: date, level: float) -> bool:
    """Whether it shows strain in the new shape: by its class, or by the P95 of a window that lies wholly in it."""
    if finding.is_now() in GROWS:
        return True
    days = (finding.assessment.last_day - whole).days + 1
    peak = strain(finding.numbers, days)
    return peak is not None and peak > level
