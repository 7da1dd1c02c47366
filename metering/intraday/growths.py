"""What becomes of a machine in which the look within the day found the rule of its growth to hold, or that it enlarged before.

Everything that stands against it is looked at in the transaction that acts, with the machine's row held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import func, select

from metering.cases import (
    Authorisation,
    Case,
    CaseState,
    Consent,
    Ending,
    Notice,
    Obstacle,
    Surge,
    SurgeOutcome,
    authorisations,
    close,
    enforcement,
    exemptions,
    hearings,
    lock,
    move,
    notices,
    open_case,
    openings,
    protections,
    safeguards,
    surges,
    windows,
)
from metering.judging import CaseKind, Finding, GrowthTerms, Procedure, growth_terms, latest, more, service_sizes
from metering.rollout import ceilings, scopes
from metering.scale_outs import settling
from metering.sizing import Fast, expansion
from providers.base import ResourceState, ServiceKind
from providers.orders import migrations
from quota.actors import Role
from quota.calendar import ZONE
from quota.directory import CatalogItem
from quota.errors import N_, WrongState
from quota.inventory import Resource
from quota.requests import OPEN as OPEN_REQUESTS
from quota.requests import Request
from quota.units import MEMORY, NOTHING, VCPU, Amount, Arch, ClassCode

if TYPE_CHECKING:
    from quota.db import Tx

ASKED = N_(
    "下列资源最近一小时 CPU 已达规格上限。请答复是否临时扩容;如需今后由管家即时扩容、到时归还,可为该系统办理常备授权。"
)
ASKED_THOUGH = N_("下列资源最近一小时 CPU 已达规格上限，这一次按常备授权不能即时扩容。请答复是否临时扩容。")
ASKED_COLD = N_(
    "下列资源最近一小时 CPU 已达规格上限，其资源池不能在线调整规格：扩容须关机，等到变更窗口执行，等多久、等候期间约触顶多少分钟逐台写明。请答复是否临时扩容。"
)
DONE = N_("下列资源最近一小时 CPU 已达规格上限,已按贵单位的常备授权即时扩容,到时按用量归还;无须答复。")
ASKED_OTHERS = N_(
    "下列资源最近一小时内存、磁盘、带宽或连接数已达规格上限。请答复是否扩容；如需今后由管家即时扩容，可为该系统办理常备授权。"
)
ASKED_OTHERS_THOUGH = N_(
    "下列资源最近一小时内存、磁盘、带宽或连接数已达规格上限，这一次按常备授权不能即时扩容。请答复是否扩容。"
)
ASKED_OTHERS_COLD = N_(
    "下列资源最近一小时内存、磁盘、带宽、连接数或加速卡已达规格上限，不能在线调整规格：扩容须关机，等到变更窗口执行，等多久、等候期间约触顶多少分钟逐台写明。请答复是否扩容。"
)
DONE_OTHERS = N_(
    "下列资源最近一小时内存、磁盘、带宽或连接数已达规格上限，已按贵单位的常备授权即时扩容；除磁盘外到时按用量归还。无须答复。"
)


NOTED = timedelta(hours=1)
"""How often a growth that goes on from look to look is written down."""


@dataclass(frozen=True, slots=True)
class MachineLook:
    """What a look saw of one machine. ``short``: whether something is at the line of what is in force. ``case_id``: the case that enlarged it, if it is enlarged; ``size``: of ``cls`` underneath;
    ``samples`` known of 12, ``count`` of them at the line, ``top`` the largest in %; ``wanted``: of ``cls``, as far as the hour tells; ``queued``: vCPU that its tasks would have used while it was at the line. By ``fast`` in CPU, or by
    ``terms`` in another class; ``sizing``: the name of the sizing, or of the gauge."""

    resource_id: int
    sizing: str
    fast: Fast | None
    case_id: int | None
    size: int
    known: bool
    over: bool
    short: bool
    samples: int
    count: int
    top: float | None
    wanted: float
    terms: GrowthTerms | None = None
    cls: ClassCode = VCPU
    queued: float = 0.0

    @property
    def hold_hours(self) -> int:
        """For how long it is lent at a time."""
        return self.terms.hold_hours if self.terms is not None else (self.fast or Fast()).hold_hours

    @property
    def stays(self) -> bool:
        """Whether it is enlarged for good."""
        return self.terms is not None and self.terms.about.stays


@dataclass(frozen=True, slots=True)
class Settled:
    """``code``: surges.Outcome with the case, or a code of surges.SKIPS without."""

    code: str
    case_id: int | None = None


@dataclass(slots=True)
class GrowthBasis:
    """What a look stands on: its moment, the policy version and name in force, resources that are left alone as others can or will take
    over from them (a code of SKIPS each), which pools change running machines and which resize at all, the shapes on offer by architecture
    and all that is offered, and the letters that it wrote: (department, what it says) → notice id."""

    moment: datetime
    version_id: int
    policy: str
    relieved: Mapping[int, str]
    live: Mapping[int, bool]
    offers: Mapping[str, Sequence[CatalogItem]]
    hands: Mapping[int, bool] = field(default_factory=dict)
    items: Sequence[CatalogItem] = ()
    letters: dict[tuple[int, str], int] = field(default_factory=dict)


def settle(tx: Tx, seen: MachineLook, ground: GrowthBasis) -> Settled:
    """Enlarge, ask, prolong or give back. Twice for the same moment is once."""
    tx.actor.must_be(Role.SYSTEM)
    tx.alone(ceilings.ALONE)
    resource = tx.get_one(Resource, seen.resource_id)
    exemptions.lock(tx, resource)
    looked = select(Surge.id).where(Surge.resource_id == resource.id, Surge.at == ground.moment)
    if tx.scalar(looked) is not None:
        return Settled("done")
    if seen.case_id is None:
        return _begin(tx, resource, seen, ground)
    one = tx.get_one(Case, seen.case_id)
    lock(tx, one)
    if one.state != CaseState.WATCHED or not surges.on_loan(one) or one.wake_at is None:
        return Settled("open_case")  # somebody was faster
    ended = one.wake_at <= ground.moment
    if seen.short and resource.id not in ground.relieved and (raised := _raise(tx, one, seen, ground)) is not None:
        return raised
    if seen.over:
        return _prolong(tx, one, seen, ground, ended=ended)
    if not ended:
        return Settled("held")
    return _give_back(tx, one, seen, ground) if seen.known else _stay(tx, one, seen, ground)


# ------------------------------------------------------------------------------------------------------------ it begins


def _begin(tx: Tx, resource: Resource, seen: MachineLook, ground: GrowthBasis) -> Settled:
    finding = latest(tx, resource.id, ground.policy)
    one = open_case(tx, resource.id)
    if one is not None:
        lock(tx, one)
        row = surges.last(tx, one.id)
        if one.state != CaseState.NOTICED or row is None or row.outcome != SurgeOutcome.PROPOSED:
            return Settled("open_case")
    against = _against(tx, resource, seen, ground)
    if against is not None:
        return Settled(against)
    if one is None and not scopes.now(tx).opened(resource.department_id, resource.pool_id):
        return Settled("shadow")
    if finding is None:
        return Settled("unjudged")
    procedure = finding.assessment.policy_version.rules()
    target = _target(tx, resource, finding, seen, ground)
    if target is None:
        return Settled("no_target")
    if one is not None and (one.will_have() or NOTHING) != {**resource.actual(), **target}:
        return Settled("open_case")
    needs = more(resource.actual(), target)
    allowed = None if resource.system_id is None else authorisations.holding(tx, resource.system_id)
    why = _why_not(tx, resource, needs, allowed, ground)
    if why and (one is not None or _told(tx, resource, procedure)):
        return Settled("told" if one is None else "open_case")
    if why and (full := hearings.letter_room(tx, prepared=True).full(resource.department_id or 0)) is not None:
        return Settled(full)
    if one is None:
        text = _letter(resource, needs, why, allowed, ground, of_cpu=seen.terms is None)
        one = _open(tx, finding, target, procedure, ground, text)
    until = None if why or seen.stays else ground.moment + timedelta(hours=seen.hold_hours)
    outcome = SurgeOutcome.PROPOSED if why else SurgeOutcome.BEGUN
    _note(tx, one, seen, ground, outcome, why=why, until=until, allowed=None if why else allowed)
    if not why:
        one.consent, one.reason = Consent.STANDING.value, ""
        one.ends_on = None if until is None else until.astimezone(ZONE).date()
        move(tx, one, CaseState.CLEARED, "case.authorised", days=procedure.act_days, until=until, target=one.target)
        obstacle = enforcement.begin(tx, one)
        if obstacle is not None:
            raise WrongState(obstacle.code, obstacle.message, **obstacle.params)
    else:
        one.reason = surges.WHY[why]
    return Settled(outcome.value, one.id)


def _against(tx: Tx, resource: Resource, seen: MachineLook, ground: GrowthBasis) -> str | None:
    """A code of SKIPS: why nothing is done about this machine at all."""
    if resource.gone_at is not None or resource.state != ResourceState.RUNNING:
        return "absent"
    if resource.department_id is None:
        return "ownerless"
    if not resource.booked:
        return "unapproved"
    if resource.actual().get(seen.cls, 0) != seen.size:
        return "changed"
    asked = select(Request.id).where(
        Request.resource_id == resource.id, Request.state.in_([one.value for one in OPEN_REQUESTS])
    )
    if tx.scalar(asked.limit(1)) is not None or migrations.sides(tx, resource.id):
        return "open_request"
    if protections.protected(tx, resource):
        return "protected"
    if exemptions.holding(tx, resource.id) is not None:
        return "exempt"
    before = tx.scalar(
        select(Case)
        .where(
            Case.resource_id == resource.id,
            Case.kind == CaseKind.EXPAND.value,
            Case.state == CaseState.CLOSED.value,
        )
        .order_by(Case.id.desc())
        .limit(1)
    )
    if before is not None and before.quiet_until is not None and before.quiet_until > tx.now:
        return "quiet"
    return ground.relieved.get(resource.id)


def _target(tx: Tx, resource: Resource, finding: Finding, seen: MachineLook, ground: GrowthBasis) -> Amount | None:
    """What it should be enlarged to; None where nothing larger is on offer within bounds."""
    if seen.terms is not None:
        return _other_target(tx, resource, finding, seen, seen.terms, ground)
    items: Sequence[CatalogItem] = ground.offers.get(resource.arch, ())
    if resource.kind != ServiceKind.VM:
        arch = Arch(resource.arch)
        items = [one for one in ground.items if one.service == resource.kind and one.offered_on(arch)]
    return _machine_target(tx, resource, finding, seen, seen.fast or Fast(), items)


def _other_target(
    tx: Tx, resource: Resource, finding: Finding, seen: MachineLook, terms: GrowthTerms, ground: GrowthBasis
) -> Amount | None:
    """By the terms of its class: the next step of the catalogue; of memory, a shape with no fewer vCPU and, within what temporary growth may
    be, as few as there are."""
    has = resource.actual()
    under = has if seen.case_id is None else tx.get_one(Case, seen.case_id).had()
    force, size = has.get(seen.cls, 0), under.get(seen.cls, 0)
    if seen.cls != MEMORY:
        steps = service_sizes.steps_of(ground.items, resource.kind, seen.cls, Arch(resource.arch))
        found = growth_terms.fit(np.array(steps), force, size, terms)
        return None if found is None else Amount({seen.cls: int(found)})
    most = (1 + finding.assessment.policy_version.rules().temporary_growth) * under.get(VCPU, 0)
    shapes = [
        takes
        for item in ground.items
        if item.service == resource.kind and item.offered_on(Arch(resource.arch))
        if MEMORY in (takes := item.takes()) and has.get(VCPU, 0) <= takes.get(VCPU, 0) <= most
    ]
    found = growth_terms.fit(np.array([one[MEMORY] for one in shapes]), force, size, terms)
    if found is None:
        return None
    cores = min(one.get(VCPU, 0) for one in shapes if one[MEMORY] == found)
    return Amount({MEMORY: int(found), **({VCPU: cores} if cores else {})})


def _machine_target(
    tx: Tx, resource: Resource, finding: Finding, seen: MachineLook, fast: Fast, items: Sequence[CatalogItem]
) -> Amount | None:
    """The smallest catalogue shape that is enough, within what temporary growth may be, or back to what the resource had before it was
    shrunk; its memory no less than now. At once what the latest judgement saw it use, or what its run queue tells, where that is more."""
    has, most = resource.actual(), finding.assessment.policy_version.rules().temporary_growth
    under = has if seen.case_id is None else tx.get_one(Case, seen.case_id).had()
    cpu, memory = has.get(VCPU, 0), has.get(MEMORY, 0)
    former = _former(tx, resource)
    limit = {kind: max((1 + most) * under.get(kind, 0), former.get(kind, 0)) for kind in (VCPU, MEMORY)}
    shapes = [
        (takes[VCPU], takes[MEMORY])
        for item in items
        if {VCPU, MEMORY} <= set(takes := item.takes()) and memory <= takes[MEMORY] <= limit[MEMORY]
    ]
    if not shapes:
        return None
    offered = np.array([[one for one, _ in shapes]], np.float64)
    whole = max(seen.size, former.get(VCPU, 0))
    wanted = expansion.wanted(np.array([cpu]), np.array([whole]), fast, np.array([_most_used(finding)]))
    wanted = np.maximum(wanted, seen.queued)
    found = expansion.fit(wanted, np.array([cpu], np.float64), offered, np.array([limit[VCPU]]))[0]
    if not np.isfinite(found):
        return None
    return Amount({VCPU: int(found), MEMORY: min(holds for one, holds in shapes if one == found)})


def _most_used(finding: Finding) -> float:
    """vCPU that a judgement saw a machine use at most, over the shortest window that tells it; 0 where none does."""
    windows = finding.numbers.get("windows", {})
    told = [(int(days), window["cpu_max"]) for days, window in windows.items() if window.get("cpu_max") is not None]
    return min(told, default=(0, 0.0))[1] / 100 * finding.had().get(VCPU, 0)


def _former(tx: Tx, resource: Resource) -> Amount:
    """What a resource had before the steward last shrank it; nothing where it never did."""
    one = tx.scalar(
        select(Case)
        .where(
            Case.resource_id == resource.id,
            Case.kind == CaseKind.SHRINK.value,
            Case.state == CaseState.CLOSED.value,
            Case.ending == Ending.SHRUNK.value,
        )
        .order_by(Case.id.desc())
        .limit(1)
    )
    return NOTHING if one is None else one.had()


def _why_not(tx: Tx, resource: Resource, needs: Amount, allowed: Authorisation | None, ground: GrowthBasis) -> str:
    """A code of WHY: why the department is asked first; "" where it authorised this and all else allows it."""
    department = resource.department_id or 0
    if allowed is None:
        return "unauthorised"
    tx.lock(allowed)  # one growth at a time is counted against its ceiling
    if not allowed.holds(tx.now.astimezone(ZONE).date()):
        return "unauthorised"
    if _stopped_for(resource, needs, ground) or not ground.hands.get(resource.pool_id, False):
        return "live_resize"
    if windows.opening(tx, resource.pool_id, any_time=allowed.any_time) > tx.now:
        return "window"
    loan = Amount.total([settling.lent_to(tx, allowed.system_id), _for_good(tx, allowed)])
    if any(loan.get(kind, 0) + figure > allowed.ceiling().get(kind, 0) for kind, figure in needs.items()):
        return "ceiling"
    return "" if hearings.affordable(tx, resource.pool, department, needs) else "quota"


def _for_good(tx: Tx, allowed: Authorisation) -> Amount:
    """What was enlarged for good on an authorisation, which counts against its ceiling as long as it holds."""
    begun = select(Surge.case_id).where(
        Surge.authorisation_id == allowed.id, Surge.outcome == SurgeOutcome.BEGUN.value, Surge.until.is_(None)
    )
    query = select(Case).where(Case.id.in_(begun), Case.state == CaseState.CLOSED.value, Case.effective_at.is_not(None))
    return Amount.total(one.recovers() for one in tx.scalars(query))


def _told(tx: Tx, resource: Resource, procedure: Procedure) -> bool:
    """Whether the department was asked about this machine within the back-off: once is enough."""
    last = tx.scalar(
        select(func.max(Surge.at)).where(Surge.resource_id == resource.id, Surge.outcome == SurgeOutcome.PROPOSED.value)
    )
    return last is not None and last > tx.now - timedelta(days=procedure.backoff_days)


def _letter(
    resource: Resource,
    needs: Amount,
    why: str,
    allowed: Authorisation | None,
    ground: GrowthBasis,
    *,
    of_cpu: bool,
) -> str:
    """What the department is written: an authorisation is advised to who has none, where it would help."""
    if not why:
        return DONE if of_cpu else DONE_OTHERS
    if _stopped_for(resource, needs, ground):
        return ASKED_COLD if of_cpu else ASKED_OTHERS_COLD
    if allowed is not None:
        return ASKED_THOUGH if of_cpu else ASKED_OTHERS_THOUGH
    return ASKED if of_cpu else ASKED_OTHERS


def _stopped_for(resource: Resource, needs: Amount, ground: GrowthBasis) -> bool:
    """Whether it is shut down to get more of that: for cards in any cloud, for vCPU and memory where its cloud does not resize live."""
    if resource.kind == ServiceKind.ACCELERATOR:
        return True
    restarted = resource.kind in surges.RESTARTED and bool({VCPU, MEMORY} & set(needs))
    return restarted and not ground.live.get(resource.pool_id, False)


def _open(tx: Tx, finding: Finding, target: Amount, procedure: Procedure, ground: GrowthBasis, text: str) -> Case:
    """A case that its department has been told of: one letter of each kind a look."""
    one = openings.open_growth(tx, finding, target)
    one.reviewed_by, one.reviewed_at = tx.actor.login, tx.now
    move(tx, one, CaseState.REVIEWED, "case.review", days=procedure.act_days)
    letter_id = ground.letters.get((one.department_id, text))
    letter = tx.get(Notice, letter_id) if letter_id is not None else None
    if letter is None:
        letter = notices.write(tx, one.department_id, text, procedure.reply_days, procedure.reminder_days)
        tx.audit(
            "notice.issue", f"notice:{letter.id}", after={"department": letter.department_id, "cases": [one.number]}
        )
        ground.letters[one.department_id, text] = letter.id
    one.notice_id, one.notice = letter.id, letter
    move(tx, one, CaseState.NOTICED, "case.issue", days=letter.reply_days, notice=letter.number)
    return one


# -------------------------------------------------------------------------------------------------- it goes on, or ends


def _raise(tx: Tx, case: Case, seen: MachineLook, ground: GrowthBasis) -> Settled | None:
    """It is at the line of what it was lent: once more, by the conditions of the first time; None where that cannot be."""
    resource, finding = case.resource, latest(tx, case.resource_id, ground.policy)
    until = ground.moment + timedelta(hours=seen.hold_hours)
    longest = (case.effective_at or tx.now) + timedelta(days=case.procedure().temporary_days)
    if finding is None or until > longest or (case.will_have() or NOTHING) != resource.actual():
        return None
    target = _target(tx, resource, finding, seen, ground)
    if target is None:
        return None
    allowed = None if resource.system_id is None else authorisations.holding(tx, resource.system_id)
    if _why_not(tx, resource, more(resource.actual(), target), allowed, ground):
        return None
    _note(tx, case, seen, ground, SurgeOutcome.RAISED, until=until, allowed=allowed)
    tx.flush()
    obstacle = enforcement.raise_to(tx, case, resource.actual() | target)
    if obstacle is not None:
        raise WrongState(obstacle.code, obstacle.message, **obstacle.params)
    case.ends_on, case.reason = until.astimezone(ZONE).date(), ""
    return Settled(SurgeOutcome.RAISED.value, case.id)


def _prolong(tx: Tx, case: Case, seen: MachineLook, ground: GrowthBasis, *, ended: bool) -> Settled:
    """It is still saturated: for the whole of its time again, as long as the authorisation and the longest term allow."""
    until = ground.moment + timedelta(hours=seen.hold_hours)
    latest_end = (case.effective_at or tx.now) + timedelta(days=case.procedure().temporary_days)
    held = case.system_id is not None and authorisations.holding(tx, case.system_id) is not None
    row = surges.last(tx, case.id)
    if held and until <= latest_end:
        if not ended and row is not None and row.at > ground.moment - NOTED:
            case.wake_at, case.ends_on = until, until.astimezone(ZONE).date()  # written down once an hour
            return Settled("held", None)
        case.wake_at, case.ends_on, case.reason = until, until.astimezone(ZONE).date(), ""
        case.generation += 1
        _note(tx, case, seen, ground, SurgeOutcome.PROLONGED, until=until)
        tx.audit("case.prolong", case.subject, after={"until": until})
        return Settled(SurgeOutcome.PROLONGED.value, case.id)
    code = "term" if held else "revoked"
    if ended:
        enforcement.ask(tx, case, Obstacle("case.term_busy", N_("临时扩容到期时仍繁忙,须决定归还还是长期保留"), None))
        return Settled("asked", case.id)
    return Settled(code)


def _stay(tx: Tx, case: Case, seen: MachineLook, ground: GrowthBasis) -> Settled:
    """Its time is over and nothing is known of the last hour: it stays, and says so once."""
    row = surges.last(tx, case.id)
    if row is not None and row.outcome == SurgeOutcome.BLIND:
        return Settled("blind")
    case.reason = N_("临时扩容到时,但最近一小时数据不足,保持现规格,有数据后再定")
    case.generation += 1
    _note(tx, case, seen, ground, SurgeOutcome.BLIND)
    tx.audit("case.stay", case.subject, reason=case.reason)
    return Settled(SurgeOutcome.BLIND.value, case.id)


def _give_back(tx: Tx, case: Case, seen: MachineLook, ground: GrowthBasis) -> Settled:
    """The last hour shows that it does without."""
    has, given = case.resource.actual(), case.will_have() or NOTHING
    if case.resource.gone_at is not None or case.resource.state == ResourceState.DELETED:
        close(tx, case, Ending.CHANGED, N_("资源已不存在"))
        return Settled("closed", case.id)
    if any(has.get(kind) != figure for kind, figure in given.items()):
        close(tx, case, Ending.CHANGED, N_("资源规格已另行变更,不再恢复"))
        return Settled("closed", case.id)
    waits = safeguards.keeps(tx, case)
    if waits is not None:
        case.reason = waits.sentence()
        return Settled("kept")
    _note(tx, case, seen, ground, SurgeOutcome.CALM)
    enforcement.give_back(tx, case, Ending.TERM_OVER, N_("当日扩容到时,最近一小时已不饱和,恢复原规格"))
    return Settled(SurgeOutcome.CALM.value, case.id)


def _note(
    tx: Tx,
    case: Case,
    seen: MachineLook,
    ground: GrowthBasis,
    outcome: SurgeOutcome,
    *,
    why: str = "",
    until: datetime | None = None,
    allowed: Authorisation | None = None,
) -> None:
    tx.add(
        Surge(
            resource_id=case.resource_id,
            at=ground.moment,
            case_id=case.id,
            policy_version_id=ground.version_id,
            sizing=seen.sizing,
            cls=seen.cls,
            outcome=outcome.value,
            why=why,
            authorisation_id=None if allowed is None else allowed.id,
            samples=seen.samples,
            over=seen.count,
            top=seen.top,
            size=seen.size,
            wanted=seen.wanted,
            until=until,
            made_at=tx.now,
        )
    )
    tx.flush()


__all__ = ["GrowthBasis", "MachineLook", "Settled", "settle"]
