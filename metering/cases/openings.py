"""From findings to cases: which are opened, in what order, and which are not, and why."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import ColumnElement, ForeignKey, Select, String, func, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.cases import exemptions, hearings, protections, suspensions
from metering.cases.figures import risk
from metering.cases.files import Case, start_clock
from metering.cases.steps import CaseState
from metering.judging import (
    CALLS_FOR,
    GROWS,
    TAKES,
    Assessment,
    CaseKind,
    Finding,
    Procedure,
    Verdict,
    findings,
    latest,
    less,
    more,
    of_run,
    service_sizes,
    worth,
)
from metering.overview import whole_systems
from metering.rollout import AwaitedCase, LetterRoom, RolloutStanding, ShadowSum, candidates, ceilings, scopes
from providers.base import ResourceState
from providers.orders import ended_terms, migrations
from quota.actors import Actor, Role, steward
from quota.base import Base, append_only
from quota.db import among
from quota.directory import CatalogItem, Department, catalog
from quota.errors import N_, WrongState
from quota.inventory import Resource
from quota.requests import OPEN as OPEN_REQUESTS
from quota.requests import Request, Then
from quota.units import VCPU, Amount

if TYPE_CHECKING:
    from quota.db import Book, Tx

log = logging.getLogger("guanjia.openings")


class Opening(Base):
    """That cases were opened from an assessment, once, and what was passed over.

    ``skipped``: [resource id, code of SKIPS] each.
    """

    __tablename__ = "case_openings"

    id: Mapped[int] = mapped_column(primary_key=True)
    assessment_id: Mapped[int] = mapped_column(ForeignKey("assessments.id"), unique=True)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(64))
    opened: Mapped[list[Any]]  # case ids, as ranked
    skipped: Mapped[list[Any]]

    assessment: Mapped[Assessment] = relationship()

    def why(self) -> dict[str, int]:
        """Code of SKIPS → how many resources were passed over for it."""
        counts: dict[str, int] = {}
        for _, code in self.skipped:
            counts[code] = counts.get(code, 0) + 1
        return counts


append_only(Opening.__table__)  # type: ignore[arg-type]

SKIPS = {
    "open_case": N_("已有在办案件"),
    "open_request": N_("已有在办申请"),
    "quiet": N_("尚在静默期"),
    "protected": N_("受保护"),
    "exempt": N_("豁免期内"),
    "ownerless": N_("没有使用单位"),
    "absent": N_("资源已不存在或状态异常"),
    "changed": N_("评估之后规格已变化"),
    "unapproved": N_("未经批准,尚未计入配额"),
    "no_target": N_("没有合适的目标规格"),
    "no_larger": N_("目录中没有更大的规格"),
    "run_ceiling": N_("超出单次立案上限"),
    "department_ceiling": N_("超出该单位在办上限"),
    "suspended": N_("策略版本已暂停"),
    "failed": N_("立案时出错"),
    "system_slack": N_("同一系统内有空闲云主机,宜先均衡负载"),
    "tier_slack": N_("同构组内有空闲云主机,宜先均衡负载"),
    "shadow": N_("试运行,尚未启用处置"),
    "letters": N_("本周通知已满,排队等候"),
    "department_letters": N_("该单位本周通知已满,排队等候"),
    "unjudged": N_("尚未评估"),
    "extended": N_("使用期限已延长或正在申请延期"),
}
"""Why a finding, or the end of a term, opened no case: code → words."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    finding: Finding
    resource: Resource
    kind: CaseKind
    target: Amount | None
    recovers: Amount
    worth: float


@dataclass(frozen=True, slots=True)
class Ceilings:
    """How much may be taken: ``cases`` new ones by a run, ``department_cases`` open at one time in a department, and as
    much in vCPU. What gives is not limited: nobody is hurt by it."""

    cases: int
    worth: float
    department_cases: int
    department_worth: float

    @classmethod
    def of(cls, procedure: Procedure, per_run: int | None = None, per_department: int | None = None) -> Ceilings:
        return cls(
            procedure.cases_per_run if per_run is None else per_run,
            procedure.worth_per_run,
            procedure.cases_per_department if per_department is None else per_department,
            procedure.worth_per_department,
        )

    def department_full(self, state: _Standing, candidate: _Candidate) -> bool:
        department = candidate.resource.department_id
        return (
            state.by_department.get(department, 0) >= self.department_cases
            or state.worth_by_department.get(department, 0.0) + candidate.worth > self.department_worth
        )

    def beyond(self, state: _Standing, candidate: _Candidate, cases: int, worth: float) -> str | None:
        """The code of the ceiling that ``candidate`` would pass where its run has taken as much already; None: none."""
        if candidate.kind not in TAKES:
            return None
        if cases >= self.cases or worth + candidate.worth > self.worth:
            return "run_ceiling"
        return "department_ceiling" if self.department_full(state, candidate) else None


def open_from(tx: Tx, run: Assessment, *, per_run: int | None = None, per_department: int | None = None) -> Opening:
    """Open cases from the findings of ``run``, those that recover most first; once for each run.

    ``per_run``: new cases that take something away; ``per_department``: such cases open at one time in a department.
    Both default to the procedure of the run's policy version, which also says how much in vCPU may be taken by a run
    and be under way in a department.
    """
    tx.actor.must_be(Role.SYSTEM, Role.SUPERVISOR)
    tx.alone(ceilings.ALONE)
    earlier = _opening(tx, run)
    if earlier is not None:
        return earlier
    procedure = run.policy_version.rules()
    limits = Ceilings.of(procedure, per_run, per_department)
    state = _Standing(tx, run)
    ranked, skipped = _ranked(tx, run, state)
    cases, worth = _taken(tx, run)
    for one in ranked:
        held = state.held(one) or limits.beyond(state, one, cases, worth)
        if held is not None:
            skipped[one.resource.id] = held
            continue
        if one.kind in TAKES:
            cases, worth = cases + 1, worth + one.worth
        state.take(one)
        _open(tx, run, one, procedure)
    return _concluded(tx, run, ranked, skipped)


def open_all(
    book: Book,
    run_id: int,
    actor: Actor | None = None,
    *,
    per_run: int | None = None,
    per_department: int | None = None,
) -> Opening:
    """As ``open_from``, but a transaction for each case, so that nobody's writing waits longer than for one of them.

    Each resource is looked at again in its own transaction, and the ceilings are counted there from the cases that there
    are: they hold exactly, whoever opens cases meanwhile. What goes wrong with a resource undoes that case alone and is
    tried once more at the end; then it is passed over as ``failed``. If the process dies, the next call goes on: what was
    opened counts, and no resource has a second case.
    """
    actor = actor or steward("job:cases")
    with book.reading(actor) as tx:
        tx.actor.must_be(Role.SYSTEM, Role.SUPERVISOR)
        run = findings.assessment(tx, run_id)
        earlier = _opening(tx, run)
        if earlier is not None:
            return earlier
        limits = Ceilings.of(run.policy_version.rules(), per_run, per_department)
        state = _Standing(tx, run)
        ranked, skipped = _ranked(tx, run, state)
    waiting = []
    for one in ranked:
        if state.shadows(one):
            skipped[one.resource.id] = candidates.SHADOW
        else:
            waiting.append(one)
    for attempt in (1, 2):
        waiting = _open_each(book, actor, run_id, waiting, limits, skipped, attempt)
    with book.transaction(actor) as tx:
        run = findings.assessment(tx, run_id)
        return _opening(tx, run) or _concluded(tx, run, ranked, skipped)


def _open_each(
    book: Book,
    actor: Actor,
    run_id: int,
    waiting: Sequence[_Candidate],
    limits: Ceilings,
    skipped: dict[int, str],
    attempt: int,
) -> list[_Candidate]:
    """Open a case for each of ``waiting``, a transaction each, and enter into ``skipped`` why where none may be opened. Returns
    those that failed. Once the city's letters of the week are full, they are so for all that come after."""
    failed, full = [], None
    for one in waiting:
        why = full
        if why is None:
            try:
                with book.transaction(actor) as tx:
                    why = _open_next(tx, run_id, one.finding.id, limits)
            except Exception:
                log.exception("no case for resource %s (try %s)", one.resource.id, attempt)
                failed.append(one)
                why = "failed"
            full = why if why == "letters" else None
        skipped.pop(one.resource.id, None)
        if why is not None:
            skipped[one.resource.id] = why
    return failed


def _open_next(tx: Tx, run_id: int, finding_id: int, limits: Ceilings) -> str | None:
    """Open the case that a finding calls for, as things stand now; the code of SKIPS where none may be opened. Locks the
    letters, the run, the department and the resource, in this order."""
    tx.alone(ceilings.ALONE)
    run = findings.assessment(tx, run_id)
    if _opening(tx, run) is not None:
        return "open_case"  # another run of the job has finished meanwhile: its word stands
    finding = tx.get_one(Finding, finding_id)
    resource = finding.resource
    if resource.department_id is not None:
        tx.execute(select(Department.id).where(Department.id == resource.department_id).with_for_update())
    tx.lock(resource)
    state = _Standing(tx, run, resource.id)
    state.look_at_systems(tx, run, [finding])
    found = _candidate(state, finding)
    if isinstance(found, str):
        return found
    held = state.held(found) or limits.beyond(state, found, *_taken(tx, run))
    if held is None:
        _open(tx, run, found, run.policy_version.rules())
    return held


def shadow(tx: Tx, run: Assessment, departments: Collection[int] = (), pools: Collection[int] = ()) -> ShadowSum:
    """What ``run`` calls for where nothing is opened yet: what would become of it, were the scope open. Of these departments and
    pools alone, where any are named."""
    state = _Standing(tx, run)
    return ShadowSum.of(
        (one.kind, one.worth)
        for one in _ranked(tx, run, state)[0]
        if state.shadows(one)
        and (not departments or one.resource.department_id in departments)
        and (not pools or one.resource.pool_id in pools)
    )


@dataclass(frozen=True, slots=True)
class OpeningOutlook:
    """How far the city has come, and by what: ``day`` of the assessment that cases were last opened from (None: never yet);
    ``newer``: one on later data, from which none were opened yet, so that no sum of what waits holds it."""

    standing: RolloutStanding
    day: date | None
    newer: Assessment | None


def outlook(tx: Tx) -> OpeningOutlook:
    """How far the city has come, by the last opening."""
    last = tx.scalar(
        select(Assessment).join(Opening, Opening.assessment_id == Assessment.id).order_by(Opening.id.desc()).limit(1)
    )
    run = findings.last_run(tx)
    newer = run if run is not None and (last is None or run.as_of > last.as_of) else None
    return OpeningOutlook(candidates.standing(tx), last.last_day if last is not None else None, newer)


def _opening(tx: Tx, run: Assessment) -> Opening | None:
    """The opening of ``run`` where it is concluded. Who writes holds the run from then on."""
    if tx.writes:
        tx.lock(run)
    return tx.scalar(select(Opening).where(Opening.assessment_id == run.id))


def _ranked(tx: Tx, run: Assessment, state: _Standing) -> tuple[list[_Candidate], dict[int, str]]:
    """The cases that ``run`` calls for, as they are ranked; resource id → code of SKIPS for the others."""
    wanted = of_run(tx, run, *CALLS_FOR)
    state.look_at_systems(tx, run, wanted)
    ranked: list[_Candidate] = []
    skipped: dict[int, str] = {}
    for finding in wanted:
        found = _candidate(state, finding)
        if isinstance(found, str):
            skipped[finding.resource_id] = found
        else:
            ranked.append(found)
    since = candidates.since(tx, run)
    ranked.sort(key=lambda one: _rank(one, since.get((one.resource.id, one.kind.value), tx.now)))
    return ranked, skipped


def _taken(tx: Tx, run: Assessment) -> tuple[int, float]:
    """How many cases that take something were opened from the findings of ``run``, and how much they take."""
    query = (
        select(func.count(), func.sum(Case.worth))
        .join(Finding, Finding.id == Case.finding_id)
        .where(Finding.assessment_id == run.id, Case.kind.in_([kind.value for kind in TAKES]))
    )
    count, worth = tx.execute(query).one()
    return count, float(worth or 0.0)


def _concluded(tx: Tx, run: Assessment, ranked: Sequence[_Candidate], skipped: Mapping[int, str]) -> Opening:
    """Write down what was opened from ``run`` and what was passed over; what of ``ranked`` waits, in its order."""
    query = (
        select(Case.id, Case.resource_id)
        .join(Finding, Finding.id == Case.finding_id)
        .where(Finding.assessment_id == run.id)
        .order_by(Case.id)
    )
    rows = tx.execute(query).all()
    has_one = {row.resource_id for row in rows}
    row = Opening(
        assessment_id=run.id,
        at=tx.now,
        by=tx.actor.login,
        opened=[row.id for row in rows],
        skipped=[[resource_id, why] for resource_id, why in sorted(skipped.items()) if resource_id not in has_one],
    )
    tx.add(row)
    tx.flush()
    _wait(tx, run, [(one, skipped.get(one.resource.id, "")) for one in ranked if one.resource.id not in has_one])
    tx.audit("case.open_from", f"assessment:{run.id}", after={"opened": len(rows), "skipped": row.why()})
    return row


def _wait(tx: Tx, run: Assessment, passed_over: Sequence[tuple[_Candidate, str]]) -> None:
    """Keep what would be opened another time, with the week of its turn where it waits for letters."""
    held = [(one, why) for one, why in passed_over if why in candidates.HELD]
    ahead = [department_id for _case_id, department_id in hearings.prepared(tx)]
    queue = [one.resource.department_id or 0 for one, why in held if why in candidates.LETTERS]
    weeks = iter(hearings.letter_room(tx).weeks([*ahead, *queue])[len(ahead) :] if queue else ())
    rows = [
        AwaitedCase(
            resource_id=one.resource.id,
            finding_id=one.finding.id,
            assessment_id=run.id,
            department_id=one.resource.department_id,
            pool_id=one.resource.pool_id,
            kind=one.kind.value,
            recoverable=one.recovers.to_json(),
            worth=one.worth,
            why=why,
            expected_on=ceilings.turn(tx.now, next(weeks)) if why in candidates.LETTERS else None,
        )
        for one, why in held
    ]
    candidates.replace(tx, run, rows)


def open_one(tx: Tx, finding: Finding) -> Case:
    """Open a case from one finding, by hand. WrongState with the reason where none may be opened."""
    tx.actor.must_be(Role.SUPERVISOR)
    tx.alone(ceilings.ALONE)
    run = finding.assessment
    if finding.resource.department_id is not None:
        tx.execute(select(Department.id).where(Department.id == finding.resource.department_id).with_for_update())
    tx.lock(finding.resource)
    newest = latest(tx, finding.resource_id, run.policy_version.name)
    if newest is not None and newest.id != finding.id:
        raise WrongState("case.old_finding", N_("该资源已有更新的评估结论,请以最新结论立案"))
    if finding.is_now() not in CALLS_FOR:
        raise WrongState("case.no_call", N_("评估结论不需要立案"))
    procedure = run.policy_version.rules()
    state = _Standing(tx, run)
    state.look_at_systems(tx, run, [finding])
    found = _candidate(state, finding)
    if isinstance(found, str):
        raise WrongState("case.not_opened", N_("不能立案:%(why)s"), why=SKIPS[found])
    held = state.held(found)
    if held is None and found.kind in TAKES and Ceilings.of(procedure).department_full(state, found):
        held = "department_ceiling"
    if held is not None:
        raise WrongState("case.not_opened", N_("不能立案:%(why)s"), why=SKIPS[held])
    return _open(tx, run, found, procedure)


def open_growth(tx: Tx, finding: Finding, target: Amount) -> Case:
    """Open an expansion to ``target`` from what the look within the day saw; ``finding``: the latest judgement of the resource,
    whose policy's procedure the case follows. The caller has looked at what stands against it."""
    tx.actor.must_be(Role.SYSTEM)
    needs = more(finding.resource.actual(), target)
    one = _Candidate(finding, finding.resource, CaseKind.EXPAND, target, needs, worth(needs))
    return _open(tx, finding.assessment, one, finding.assessment.policy_version.rules())


def open_terms(book: Book, run_id: int, actor: Actor | None = None) -> tuple[list[int], dict[str, int]]:
    """Open a case for what is still there although its term is over and its department had its time to answer, where the rules say
    so; a transaction each, under the procedure and the ceilings of the run's policy. Returns the cases' ids, and how many were
    passed over by code of SKIPS. What the run did not look at waits for one that does: a case shows how its resource is used."""
    actor = actor or steward("job:cases")
    with book.reading(actor) as tx:
        tx.actor.must_be(Role.SYSTEM, Role.SUPERVISOR)
        waiting, skipped = _sifted_terms(tx, findings.assessment(tx, run_id))
    opened: list[int] = []
    for request_id, resource_id in waiting:
        try:
            with book.transaction(actor) as tx:
                found = _open_term(tx, run_id, request_id, resource_id)
                if isinstance(found, Case):
                    opened.append(found.id)
                    continue
        except Exception:
            log.exception("no case for resource %s, whose term is over", resource_id)
            found = "failed"
        skipped[found] = skipped.get(found, 0) + 1
    return opened, skipped


def _sifted_terms(tx: Tx, run: Assessment) -> tuple[list[tuple[int, int]], dict[str, int]]:
    """(request id, resource id) of the ended terms that may become cases as things stand; how many others, by code of SKIPS. What stays
    in the shadow, or waits for letters or room, costs nobody's writing anything."""
    found = [one for one in ended_terms.left_open(tx) if one.end.then is Then.CASE]
    if not found:
        return [], {}
    judged = select(Finding).where(
        Finding.assessment_id == run.id, among(Finding.resource_id, [one.resource.id for one in found])
    )
    of_resource = {one.resource_id: one for one in tx.scalars(judged)}
    state, limits, (cases, worth) = _Standing(tx, run), Ceilings.of(run.policy_version.rules()), _taken(tx, run)
    waiting: list[tuple[int, int]] = []
    skipped: dict[str, int] = {}
    for one in found:
        candidate = _of_term(state, of_resource.get(one.resource.id))
        if isinstance(candidate, _Candidate):
            held = state.held(candidate) or limits.beyond(state, candidate, cases, worth)
            if held is None:
                state.take(candidate)
                cases, worth = cases + 1, worth + candidate.worth
                waiting.append((one.request.id, one.resource.id))
                continue
            candidate = held
        skipped[candidate] = skipped.get(candidate, 0) + 1
    return waiting, skipped


def _of_term(state: _Standing, finding: Finding | None) -> _Candidate | str:
    """The case that the end of a term leads to, beside the finding that shows how the resource is used; the code of SKIPS where none."""
    if finding is None:
        return "unjudged"
    resource = finding.resource
    barred = _barred(state, resource, CaseKind.RECLAIM)
    if barred is not None:
        return barred
    shape = resource.actual()
    return _Candidate(finding, resource, CaseKind.RECLAIM, None, shape, worth(shape)) if shape else "no_target"


def _open_term(tx: Tx, run_id: int, request_id: int, resource_id: int) -> Case | str:
    """The case of one ended term as things stand now; the code of SKIPS where none may be opened. Locks as ``_open_next``."""
    tx.alone(ceilings.ALONE)
    run, request = findings.assessment(tx, run_id), tx.get_one(Request, request_id)
    finding = tx.scalar(select(Finding).where(Finding.assessment_id == run.id, Finding.resource_id == resource_id))
    if finding is None:
        return "unjudged"
    resource = finding.resource
    tx.execute(select(Department.id).where(Department.id == resource.department_id).with_for_update())
    tx.lock(resource)
    if ended_terms.must_be_over(tx, request) is not None:
        return "extended"
    state, procedure = _Standing(tx, run, resource.id), run.policy_version.rules()
    one = _of_term(state, finding)
    if isinstance(one, str):
        return one
    held = state.held(one) or Ceilings.of(procedure).beyond(state, one, *_taken(tx, run))
    return held if held is not None else _open(tx, run, one, procedure, term=request)


def spared(tx: Tx, run: Assessment, department_id: int | None = None) -> Mapping[int, int]:
    """Department id → base units of vCPU that findings of ``run`` would free and that nobody may take now (protected, exempt, or let
    be for a time after a case), or that are in an open case. Of all departments, or of one."""
    owner = Resource.department_id
    only = None if department_id is None else select(Resource.id).where(owner == department_id)
    quiet = {resource_id for resource_id, takes in _quiet(tx, only) if takes}
    untouched = _busy(tx, only) | exemptions.exempt_now(tx) | quiet
    rules = protections.tags(tx)
    taking = [verdict.value for verdict, kind in CALLS_FOR.items() if kind in TAKES]
    query = (
        select(owner, Resource.id, Resource.protected, Resource.tags, Finding.recoverable)
        .join(Finding, Finding.resource_id == Resource.id)
        .where(Finding.assessment_id == run.id, Finding.verdict.in_(taking), Resource.gone_at.is_(None))
        .where(owner.is_not(None) if department_id is None else owner == department_id)
    )
    sums: Counter[int] = Counter()
    for of, resource_id, protected, tags, recoverable in tx.execute(query):
        if of is not None and (protected or resource_id in untouched or protections.by_tag(rules, tags)):
            sums[of] += int(recoverable.get(VCPU, 0))
    return sums


def _rank(candidate: _Candidate, since: datetime) -> tuple[Any, ...]:
    """Overloaded machines first, then what recovers most, then what has waited longest, then what is known best."""
    urgent = candidate.finding.verdict != Verdict.OVERLOADED.value
    return (urgent, -candidate.worth, since, -(candidate.finding.coverage or 0.0), candidate.resource.id)


Only = int | Select[int] | None
"""One resource, those of a query, or all."""


def _of(column: Any, only: Only) -> ColumnElement[bool]:
    if only is None:
        return cast("ColumnElement[bool]", column.is_not(None))
    return cast("ColumnElement[bool]", column == only if isinstance(only, int) else column.in_(only))


def _busy(tx: Tx, only: Only = None) -> set[int]:
    """Ids of the resources that have an open case."""
    return set(tx.scalars(select(Case.resource_id).where(_of(Case.resource_id, only), Case.state != CaseState.CLOSED)))


def _quiet(tx: Tx, only: Only = None) -> set[tuple[int, bool]]:
    """Resource id, and whether it is cases that take something, for which the last case lets be until a day yet to come."""
    last = (
        select(func.max(Case.id))
        .where(_of(Case.resource_id, only), Case.state == CaseState.CLOSED.value)
        .group_by(Case.resource_id, Case.kind == CaseKind.EXPAND.value)
    )
    query = select(Case.resource_id, Case.kind, Case.quiet_until).where(Case.id.in_(last))
    return {
        (resource_id, kind in TAKES)
        for resource_id, kind, until in tx.execute(query)
        if until is not None and until > tx.now
    }


class _Standing:
    """What stands against opening a case, for all resources at once, or for the one with id ``only``."""

    def __init__(self, tx: Tx, run: Assessment, only: int | None = None) -> None:
        self._tx = tx
        self.suspended = suspensions.holding(tx, run.policy_version_id) is not None
        self.tags = protections.tags(tx)
        self.systems: dict[int, whole_systems.WholeSystem] = {}
        self.tiers: dict[int, whole_systems.WholeSystem] = {}  # by resource
        self.slack = run.policy_version.rules().system_slack
        self.scopes = scopes.now(tx)
        self.letters: LetterRoom = hearings.letter_room(tx, prepared=True)

        self.busy = _busy(tx, only)
        asked = select(Request.resource_id).where(
            _of(Request.resource_id, only), Request.state.in_([one.value for one in OPEN_REQUESTS])
        )
        self.asked = {*tx.scalars(asked), *migrations.sides(tx, only)}
        self.exempt = exemptions.exempt_now(tx)
        self.quiet = _quiet(tx, only)
        open_takes = (
            select(Case.department_id, func.count(), func.sum(Case.worth))
            .where(Case.state != CaseState.CLOSED.value, Case.kind.in_([kind.value for kind in TAKES]))
            .group_by(Case.department_id)
        )
        self.by_department: dict[int | None, int] = {}
        self.worth_by_department: dict[int | None, float] = {}
        for department, count, total in tx.execute(open_takes):
            self.by_department[department] = count
            self.worth_by_department[department] = float(total)

    @cached_property
    def items(self) -> Sequence[CatalogItem]:
        """What the catalogue offers; asked for once, where something busy is advised nothing."""
        return catalog.offered(self._tx)

    def look_at_systems(self, tx: Tx, run: Assessment, wanted: Sequence[Finding]) -> None:
        """See the systems of busy machines as a whole; reads all resources concerned at once."""
        if len(wanted) > 1:
            ids = select(Finding.resource_id).where(
                Finding.assessment_id == run.id, Finding.verdict.in_([one.value for one in CALLS_FOR])
            )
            self.resources = tx.scalars(select(Resource).where(Resource.id.in_(ids))).all()
        concerned = {one.resource.system_id for one in wanted if one.is_now() in GROWS} - {None}
        self.systems = whole_systems.whole_systems(tx, run, [each for each in concerned if each is not None])
        self.tiers = whole_systems.whole_tiers(tx, run, [one.resource_id for one in wanted if one.is_now() in GROWS])

    def shadows(self, candidate: _Candidate) -> bool:
        """Whether cases are not opened yet where it is."""
        return not self.scopes.opened(candidate.resource.department_id, candidate.resource.pool_id)

    def held(self, candidate: _Candidate) -> str | None:
        """The code of SKIPS for which it waits, whatever the ceilings of cases say: the shadow, or letters."""
        return (
            candidates.SHADOW if self.shadows(candidate) else self.letters.full(candidate.resource.department_id or 0)
        )

    def take(self, candidate: _Candidate) -> None:
        """One more case."""
        department, takes = candidate.resource.department_id, candidate.kind in TAKES
        self.letters.take(department or 0)
        if takes:
            self.by_department[department] = self.by_department.get(department, 0) + 1
            self.worth_by_department[department] = self.worth_by_department.get(department, 0.0) + candidate.worth


def _candidate(state: _Standing, finding: Finding) -> _Candidate | str:
    """What case the finding calls for; or the code of SKIPS that says why none."""
    resource, kind = finding.resource, CALLS_FOR[finding.is_now()]
    shape = resource.actual()
    barred = _barred(state, resource, kind)
    if barred is not None:
        return barred
    if dict(shape) != dict(finding.had()):
        return "changed"
    target = None if kind is CaseKind.RECLAIM else finding.should_have()
    if kind is CaseKind.RECLAIM:
        recovers = shape
    elif target is None:
        figures = {one["figure"] for one in finding.reasons}
        larger = kind is not CaseKind.EXPAND or service_sizes.on_offer(state.items, resource, figures)
        return "no_target" if larger else "no_larger"
    else:
        recovers = less(shape, target) if kind is CaseKind.SHRINK else more(shape, target)
    if not recovers:
        return "no_target"
    # Idle machines take over from a busy one; they do nothing for a line or a disk that is full.
    spread = resource.kind in whole_systems.MACHINES and target is not None and VCPU in target
    tier = state.tiers.get(resource.id)  # what is not of its tier cannot take over from it
    whole = (tier or state.systems.get(resource.system_id or 0)) if spread else None
    if kind is CaseKind.EXPAND and whole is not None and whole.has_slack(state.slack):
        return "system_slack" if tier is None else "tier_slack"
    return _Candidate(finding, resource, kind, target, recovers, worth(recovers))


def _barred(state: _Standing, resource: Resource, kind: CaseKind) -> str | None:
    """The code of SKIPS for which there is no case of ``kind`` about the resource, whatever was found; None: there may be one."""
    if resource.gone_at is not None or resource.state not in (ResourceState.RUNNING, ResourceState.STOPPED):
        return "absent"
    if resource.department_id is None:
        return "ownerless"
    if kind is CaseKind.EXPAND and not resource.booked:
        return "unapproved"  # what nobody approved is not counted: it would grow outside of every quota
    if resource.id in state.busy:
        return "open_case"
    if resource.id in state.asked:
        return "open_request"
    if (resource.id, kind in TAKES) in state.quiet:
        return "quiet"
    if kind in TAKES and (resource.protected or protections.by_tag(state.tags, resource.tags)):
        return "protected"
    if kind in TAKES and state.suspended:
        return "suspended"
    if kind in TAKES and resource.id in state.exempt:
        return "exempt"
    return None


def _risk(tx: Tx, candidate: _Candidate) -> float:
    resource = candidate.resource
    setbacks = tx.scalar(select(func.count()).where(Case.resource_id == resource.id, Case.regretted_at.is_not(None)))
    had = worth(resource.actual())
    left = worth(resource.actual() | candidate.target) / had if candidate.target and had else 0.0
    level = resource.system.mlps_level if resource.system else None
    return risk(candidate.kind, candidate.finding.numbers, candidate.finding.coverage, level, setbacks or 0, left)


def _open(tx: Tx, run: Assessment, candidate: _Candidate, procedure: Procedure, *, term: Request | None = None) -> Case:
    resource = candidate.resource
    row = Case(
        kind=candidate.kind.value,
        state=CaseState.DETECTED.value,
        resource_id=resource.id,
        pool_id=resource.pool_id,
        department_id=resource.department_id,
        system_id=resource.system_id,
        policy_version_id=run.policy_version_id,
        finding_id=candidate.finding.id,
        shape=dict(resource.amounts),
        target=None if candidate.target is None else (resource.actual() | candidate.target).to_json(),
        recoverable=candidate.recovers.to_json(),
        worth=candidate.worth,
        risk=_risk(tx, candidate),
        was_running=resource.state == ResourceState.RUNNING,
        term_id=term.id if term is not None else None,
        opened_at=tx.now,
    )
    start_clock(tx, row, procedure.recommend_days if candidate.kind is CaseKind.EXPAND else procedure.review_days)
    tx.add(row)
    tx.flush()
    candidates.drop(tx, resource.id)
    tx.audit(
        "case.open",
        row.subject,
        after={
            "kind": candidate.kind,
            "resource": resource.id,
            "finding": candidate.finding.id,
            "verdict": candidate.finding.verdict,
            "shape": row.shape,
            "target": row.target,
            "worth": row.worth,
            **({"term": term.number, "until": term.use_until} if term is not None else {}),
        },
    )
    return row
