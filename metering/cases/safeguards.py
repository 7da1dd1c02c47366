"""What stands in the way of doing something to a resource, looked at in the very transaction that would order it.

Exempt, protected, unknown, busy again, under dispute: nothing is taken away. Whoever looks holds the resource's row, so
an exemption granted meanwhile either came first and is seen, or waits until the order is placed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from metering.cases import authorisations, exemptions, protections, surges, suspensions
from metering.cases.figures import crowded
from metering.cases.files import Case
from metering.cases.steps import STOPPABLE, Consent, Ending
from metering.judging import ALIVE, GROWS, LABELS, STILL, CaseKind, Finding, Verdict, gentler, latest, less
from providers import observation
from providers.base import ResourceState, Verb
from providers.orders import WorkOrder, ended_terms, migrations, returns
from quota.calendar import ZONE
from quota.errors import N_, Conflict
from quota.inventory import Resource
from quota.requests import OPEN as OPEN_REQUESTS
from quota.requests import Request
from quota.units import NOTHING, Amount

if TYPE_CHECKING:
    from quota.db import Tx

OUTDATED = "case.target_outdated"
"""Code of the obstacle for which an order is taken back and the case decided on anew."""

FOR_GOOD = frozenset({Verb.RECYCLE, Verb.DELETE})
"""What is done to a resource that is off by our hand, of which no judgement can say any more whether it is used."""

BLIND = frozenset({Verdict.UNKNOWN, Verdict.DEAD, Verdict.UNJUDGED})
"""Classes that say that nothing is known of how a resource is used."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why not. ``ending``: how the case ends for it; None: it only has to wait."""

    code: str
    message: str
    ending: Ending | None
    params: dict[str, Any] = field(default_factory=dict)

    def sentence(self) -> str:
        return self.message % self.params if self.params else self.message


@dataclass(frozen=True, slots=True)
class SafetyLook:
    """What was seen: an obstacle or none, and the finding that was relied on."""

    obstacle: Obstacle | None
    finding: Finding | None


def look(tx: Tx, case: Case) -> SafetyLook:
    """Look whether the case may go on. Before anything was done the use must have been judged again, on fresh data, and
    the resource be what it was; once it is off or in the bin, it must have stayed there. Locks the resource's row."""
    exemptions.lock(tx, case.resource)
    finding = latest(tx, case.resource_id, case.policy_version.name)
    obstacle = (
        _off_limits(tx, case)
        or extended(tx, case)
        or _asked_for(tx, case)
        or _suspended(tx, case)
        or _revoked(tx, case)
        or (_came_alive(case, finding) if resting(case) else _not_as_found(tx, case, finding))
    )
    return SafetyLook(obstacle, finding)


def extended(tx: Tx, case: Case) -> Obstacle | None:
    """Of a case that began with the end of a term: that the term was moved, which ends it, or that an extension is under way, for
    which it waits."""
    if case.term is None:
        return None
    why = ended_terms.must_be_over(tx, case.term)
    if why is None:
        return None
    moved = why.code == ended_terms.EXTENDED
    return Obstacle(why.code, why.message, Ending.EXTENDED if moved else None, why.params)


def resting(case: Case) -> bool:
    """Whether a reclaim has taken effect: its resource is off or in the recycle bin by our hand."""
    return case.kind == CaseKind.RECLAIM and (case.effective_at is not None or case.binned_at is not None)


def off_limits(tx: Tx, case: Case) -> Obstacle | None:
    """What ends a case at any time: its resource became protected, exempt, or is gone."""
    exemptions.lock(tx, case.resource)
    return _off_limits(tx, case)


def unproven(tx: Tx, case: Case) -> Obstacle | None:
    """Why what is off by our hand may not go into the recycle bin yet, nor what is in it be deleted: that no samples come
    proves nothing, so a listing of its pool has to show that it is still so. The listing must be of after the last step
    and not old; a cloud that cannot be read, or lists only a part, keeps a resource from being deleted."""
    resource, hours = case.resource, case.procedure().listing_hours
    since = case.binned_at or case.effective_at
    state: ResourceState | None = ResourceState(resource.state)
    seen = resource.last_seen_at
    if resource.gone_at is not None:  # some clouds list nothing that is in their bin
        listing = observation.last_listing(tx, case.pool_id, of=resource.kind)
        state, seen = None, listing.as_of if listing else None
    if seen is None or (since is not None and seen < since) or seen < tx.now - timedelta(hours=hours):
        return Obstacle(
            "case.unseen",
            N_("最近%(hours)s小时内没有资源池清单证实资源仍处于停用状态，不得回收或删除"),
            None,
            {"hours": hours},
        )
    expected = (ResourceState.RECYCLED, None) if case.binned_at is not None else (ResourceState.STOPPED,)
    if state not in expected:
        return Obstacle("case.seen_otherwise", N_("资源池清单所见与案件不符,须先由云服务商查明"), None)
    return None


def recovered(tx: Tx, case: Case) -> Obstacle | None:
    """Whether the latest judgement, made after the one that opened the case, plainly contradicts it; of a term that was over,
    whether it was moved."""
    if case.term_id is not None:
        why = extended(tx, case)
        return why if why is not None and why.ending is not None else None
    finding = latest(tx, case.resource_id, case.policy_version.name)
    if finding is None or finding.id == case.finding_id:
        return None
    if finding.assessment.as_of < case.finding.assessment.as_of:
        return None
    verdict = finding.is_now()
    if verdict in STILL[CaseKind(case.kind)] or verdict in BLIND:
        return None
    return _contradicted(verdict)


def keeps(tx: Tx, case: Case) -> Obstacle | None:
    """What keeps temporary growth from being returned although its term is over: protection, an exemption, or that the
    department asked for something else in time. Locks the resource's row."""
    exemptions.lock(tx, case.resource)
    if protections.protected(tx, case.resource):
        return Obstacle("case.protected", N_("资源受保护"), None)
    exemption = exemptions.holding(tx, case.resource_id)
    if exemption is not None:
        return Obstacle(
            "case.exempt", N_("资源在豁免期内，到%(until)s"), None, {"until": exemption.ends_on.isoformat()}
        )
    return _asked_for(tx, case)


def doubtful(tx: Tx, case: Case) -> Obstacle | None:
    """Why a machine must not be made as small again as it was before its temporary growth without somebody's decision:
    nothing is known of its use since then, it is busy, or it would be in its former shape. A term that was agreed on
    is no judgement."""
    if surges.calm(tx, case):
        return None
    finding, procedure = latest(tx, case.resource_id, case.policy_version.name), case.procedure()
    today = tx.now.astimezone(ZONE).date()
    grown = case.effective_at.astimezone(ZONE).date() if case.effective_at else today
    if finding is None or finding.assessment.last_day < max(today - timedelta(days=procedure.fresh_days), grown):
        return Obstacle(
            "case.term_stale", N_("临时扩容到期,但扩容以后没有评估数据,保持现有规格,须决定归还还是保留"), None
        )
    verdict = finding.is_now()
    if verdict in BLIND:
        return Obstacle(
            "case.term_unknown",
            N_("临时扩容到期时数据不足（采集覆盖率%(coverage)s），保持现有规格，须决定归还还是保留"),
            None,
            {"coverage": "—" if finding.coverage is None else f"{finding.coverage:.0%}"},
        )
    if verdict in GROWS:
        return Obstacle("case.term_busy", N_("临时扩容到期时仍繁忙,须决定归还还是长期保留"), None)
    full = crowded(finding.numbers, case.had(), case.resource.actual())
    if full is not None and full > procedure.rollback_level:
        return Obstacle(
            "case.term_crowded",
            N_("按最近用量，恢复原规格后P95将达%(full)s，保持现有规格，须决定归还还是保留"),
            None,
            {"full": f"{full:.0f}%"},
        )
    return None


@returns.against
def needed(tx: Tx, resource: Resource, before: Amount, since: date) -> Conflict | None:
    """Why what a department was granted for a time, and has since then, is not given back by a clock, to have ``before`` again; as
    ``keeps`` and ``doubtful`` say it of growth that a case lent. Locks the resource's row for who writes."""
    if tx.writes:
        exemptions.lock(tx, resource)
    if protections.protected(tx, resource):
        return Conflict("case.protected", N_("资源受保护"))
    exemption = exemptions.holding(tx, resource.id)
    if exemption is not None:
        return Conflict("case.exempt", N_("资源在豁免期内，到%(until)s"), until=exemption.ends_on.isoformat())
    finding = latest(tx, resource.id)
    if finding is None or finding.is_now() in BLIND:
        return Conflict("case.term_blind", N_("期满时没有足够的用量数据，保持现有规格，须决定归还还是延期"))
    procedure = finding.assessment.policy_version.rules()
    today = tx.now.astimezone(ZONE).date()
    if finding.assessment.last_day < max(today - timedelta(days=procedure.fresh_days), since):
        return Conflict("case.term_blind", N_("期满时没有足够的用量数据，保持现有规格，须决定归还还是延期"))
    if finding.is_now() in GROWS:
        return Conflict("case.term_busy", N_("期满时仍繁忙，保持现有规格，须决定归还还是延期"))
    full = crowded(finding.numbers, before, resource.actual())
    if full is not None and full > procedure.rollback_level:
        return Conflict("case.term_crowded", N_("按最近用量，恢复原规格后会过载，保持现有规格，须决定归还还是延期"))
    return None


def against_order(tx: Tx, case: Case, order: WorkOrder) -> Obstacle | None:
    """What came up against an order of ``case`` that was placed and has not reached its cloud. None: it may go.

    What gives back goes in any case, and so does a snapshot. Locks the rows of the case's resource.
    """
    verb = Verb(order.verb)
    if case.going_back:
        if case.kind == CaseKind.EXPAND and case.consent != Consent.ASKED:
            return keeps(tx, case) or doubtful(tx, case)
        return None
    seen = look(tx, case)
    if seen.obstacle is None and resting(case) and verb in FOR_GOOD:
        return unproven(tx, case)
    if seen.obstacle is not None or case.kind != CaseKind.SHRINK or verb is not Verb.RESIZE:
        return seen.obstacle
    safe = safe_target(case, seen.finding)
    if any(figure < safe.get(kind, figure) for kind, figure in order.approved().items()):
        return Obstacle(OUTDATED, N_("最新评估的安全规格高于工单所写,须重新执行"), None)
    return None


def safe_target(case: Case, finding: Finding | None) -> Amount:
    """What a shrink may go down to, by what the department was told and by the fresh judgement."""
    fresh = finding.should_have() if finding is not None else None
    return gentler(case.resource.actual(), case.will_have() or NOTHING, fresh)


def _off_limits(tx: Tx, case: Case) -> Obstacle | None:
    resource = case.resource
    if case.takes and protections.protected(tx, resource):
        return Obstacle("case.protected", N_("资源受保护"), Ending.PROTECTED)
    if case.takes and (exemption := exemptions.holding(tx, resource.id)) is not None:
        return Obstacle(
            "case.exempt", N_("资源在豁免期内，到%(until)s"), Ending.EXEMPTED, {"until": exemption.ends_on.isoformat()}
        )
    lost = resource.state in (ResourceState.DELETED, ResourceState.ERROR) or resource.gone_at is not None
    if lost and not resting(case):
        return Obstacle("case.gone", N_("资源已不存在或状态异常"), Ending.CHANGED)
    return None


def _asked_for(tx: Tx, case: Case) -> Obstacle | None:
    number = tx.scalar(
        select(Request.number).where(
            Request.resource_id == case.resource_id, Request.state.in_([each.value for each in OPEN_REQUESTS])
        )
    ) or migrations.sides(tx, case.resource_id).get(case.resource_id)
    if number is None:
        return None
    return Obstacle("case.request_open", N_("使用单位对该资源有在办申请 %(number)s"), None, {"number": number})


def _suspended(tx: Tx, case: Case) -> Obstacle | None:
    """Its policy version has been taking what was wanted back: nothing more is taken under it."""
    if not case.takes or suspensions.holding(tx, case.policy_version_id) is None:
        return None
    return Obstacle("case.suspended", N_("所依据的策略版本误回收率超限,已暂停执行"), None)


def _revoked(tx: Tx, case: Case) -> Obstacle | None:
    """Growth within the day stands on an authorisation that may be taken back until the order has left."""
    if not surges.on_loan(case):
        return None
    if protections.protected(tx, case.resource):
        return Obstacle("case.protected", N_("资源受保护"), Ending.PROTECTED)
    if (exemption := exemptions.holding(tx, case.resource_id)) is not None:
        until = {"until": exemption.ends_on.isoformat()}
        return Obstacle("case.exempt", N_("资源在豁免期内，到%(until)s"), Ending.EXEMPTED, until)
    if case.system_id is not None and authorisations.holding(tx, case.system_id) is not None:
        return None
    return Obstacle("case.revoked", N_("使用单位已撤销常备授权,或授权已到期"), Ending.DECLINED)


def _not_as_found(tx: Tx, case: Case, finding: Finding | None) -> Obstacle | None:
    """Before anything is done. A term that is over is no judgement: who agreed or ruled knew that the resource may be in use."""
    if case.term_id is not None:
        reshaped = case.resource.amounts != case.shape
        return Obstacle("case.reshaped", N_("立案之后资源规格已变化"), Ending.CHANGED) if reshaped else None
    days = case.procedure().fresh_days
    today = tx.now.astimezone(ZONE).date()
    first = finding is not None and finding.id == case.finding_id
    if (first or (surges.on_loan(case) and case.freed)) and (seen := surges.last(tx, case.id)) is not None:
        # What the last hour showed is newer than any judgement, as long as none was made since.
        if seen.at < tx.now - surges.ABANDONED:
            return Obstacle("case.stale_surge", N_("距查看时已超过一天,须等下一次评估"), None)
        if not _as_left(case):
            return Obstacle("case.reshaped", N_("立案之后资源规格已变化"), Ending.CHANGED)
        return None
    if finding is None or finding.assessment.last_day < today - timedelta(days=days):
        return Obstacle("case.stale_finding", N_("须先用最近%(days)s天内的数据重新评估"), None, {"days": days})
    verdict = finding.is_now()
    if verdict in BLIND:
        return Obstacle("case.unknown", N_("重新评估时数据不足,不能执行"), Ending.UNKNOWN)
    if verdict not in STILL[CaseKind(case.kind)]:
        return _contradicted(verdict)
    if case.resource.amounts != case.shape:
        return Obstacle("case.reshaped", N_("立案之后资源规格已变化"), Ending.CHANGED)
    if case.kind == CaseKind.SHRINK and not less(case.resource.actual(), safe_target(case, finding)):
        return Obstacle("case.no_surplus", N_("按最新数据已没有可缩减的余量"), Ending.RECOVERED)
    return None


def _as_left(case: Case) -> bool:
    """Whether a resource has what it had when its case was opened, or what a look within the day lent it since."""
    if not case.freed:
        return bool(case.resource.amounts == case.shape)
    return case.resource.actual() == case.had() + Amount.from_json(case.freed)


def _came_alive(case: Case, finding: Finding | None) -> Obstacle | None:
    """While it is off or in the bin: that no samples come is then our own doing, and the inventory's word counts."""
    state = ResourceState(case.resource.state)
    if state is ResourceState.RUNNING and (case.binned_at is not None or case.service() in STOPPABLE):
        return Obstacle("case.started", N_("资源已被重新启用"), Ending.RECOVERED)
    if state is ResourceState.ERROR:
        return Obstacle("case.error", N_("资源状态异常,须先由云服务商查明"), None)
    if case.term_id is None and finding is not None and finding.is_now() in ALIVE:
        return _contradicted(finding.is_now())
    return None


def _contradicted(verdict: Verdict) -> Obstacle:
    return Obstacle("case.recovered", N_("重新评估为“%(verdict)s”"), Ending.RECOVERED, {"verdict": LABELS[verdict]})
