"""Assessments and their findings: what was judged, by which policy version, by which figures. Never rewritten.

A run is one (policy version, window, as-of instant); recording it again returns the first. A finding keeps every
figure that it was judged by, so that ``recheck`` can judge it again and say where the result differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    Select,
    String,
    UniqueConstraint,
    insert,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.sql.functions import FunctionElement

from metering.judging import wholes
from metering.judging.assess import Findings, judge
from metering.judging.facts import Facts
from metering.judging.figures import FIGURES
from metering.judging.months import MonthlyUses
from metering.judging.policies import PolicyVersion
from metering.judging.policy import Policy, PolicyRule, Verdict
from metering.judging.procedure import CALLS_FOR, CaseKind
from metering.judging.shape_changes import less
from metering.judging.wholes import JudgedWhole, KnownFigure
from quota.base import Base, append_only
from quota.errors import N_, Invalid, NotFound
from quota.inspection import going_on, rows
from quota.inventory import Resource
from quota.seals import GENESIS, link
from quota.units import NOTHING, Amount

if TYPE_CHECKING:
    from quota.db import Tx
    from quota.directory import Pool

BATCH = 1000


class Assessment(Base):
    """One run over local days ``first_day`` to ``last_day``, both included. ``counts``: class → resources."""

    __tablename__ = "assessments"
    __table_args__ = (
        UniqueConstraint("policy_version_id", "first_day", "last_day", "as_of"),
        Index("ix_assessments_as_of", "as_of"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    policy_version_id: Mapped[int] = mapped_column(ForeignKey("policy_versions.id"))
    first_day: Mapped[date]
    last_day: Mapped[date]
    as_of: Mapped[datetime]
    engine: Mapped[str] = mapped_column(String(48))  # what computed it: exact, daily
    counts: Mapped[dict[str, int]]
    resources: Mapped[int]
    recorded_at: Mapped[datetime]
    recorded_by: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))  # SM3 chain over its findings, by resource

    policy_version: Mapped[PolicyVersion] = relationship()


class Finding(Base):
    """What one resource was judged to be. ``numbers`` is ``Facts.row``, ``reasons`` a list of ``Reason.to_json``."""

    __tablename__ = "findings"
    __table_args__ = (
        UniqueConstraint("assessment_id", "resource_id"),
        Index("ix_findings_resource_id_id", "resource_id", "id"),
        Index("ix_findings_assessment_id_verdict_id", "assessment_id", "verdict", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    assessment_id: Mapped[int] = mapped_column(ForeignKey("assessments.id"))
    resource_id: Mapped[int] = mapped_column(ForeignKey("resources.id"))
    verdict: Mapped[str] = mapped_column(String(16), index=True)
    coverage: Mapped[float | None] = mapped_column(Float)
    numbers: Mapped[dict[str, Any]]
    reasons: Mapped[list[Any]]
    shape: Mapped[dict[str, int]]
    target: Mapped[dict[str, int] | None]
    recoverable: Mapped[dict[str, int]]

    assessment: Mapped[Assessment] = relationship()
    resource: Mapped[Resource] = relationship()

    def is_now(self) -> Verdict:
        """The class, as the trade names it."""
        return Verdict(self.verdict)

    def had(self) -> Amount:
        """The shape at the time, in base units."""
        return Amount.from_json(self.shape)

    def should_have(self) -> Amount | None:
        """The shape that fits, in base units; None where no advice is given."""
        return None if self.target is None else Amount.from_json(self.target)

    def content(self) -> dict[str, Any]:
        """What the assessment's digest covers."""
        return {name: getattr(self, name) for name in SEALED}


class _Urgency(FunctionElement[int]):
    """How late in a list a finding comes: by what its verdict calls for, then by the vCPU that it recovers, the most first. Written
    out without parameters, as its index has it: else no index serves it."""

    type = Integer()
    inherit_cache = True


URGENCY = {
    Verdict.OVERLOADED: 0, Verdict.BUSY: 1, Verdict.STARVED: 1, Verdict.STOPPED: 2, Verdict.UNATTACHED: 2, Verdict.IDLE: 2, Verdict.UNDERUSED: 3,
    Verdict.DEAD: 4, Verdict.UNKNOWN: 5, Verdict.NORMAL: 6, Verdict.UNJUDGED: 7,
}  # fmt: skip
"""What is short comes before what lies idle, the judged before what is not known, and what needs nothing last."""
MOST_VCPU = 1_000_000
"""No resource recovers as many."""


def _ranked(verdict: str, vcpu: str) -> str:
    cases = " ".join(f"WHEN '{one.value}' THEN {place}" for one, place in URGENCY.items())
    return f"(CASE {verdict} {cases} ELSE {len(URGENCY)} END * {MOST_VCPU} - coalesce({vcpu}, 0))"


@compiles(_Urgency, "sqlite")
def _ranked_on_sqlite(element: _Urgency, compiler: Any, **kw: Any) -> str:
    verdict, recoverable = (compiler.process(one, **kw) for one in element.clauses)
    vcpu = f"CAST(json_extract({recoverable}, '$.vcpu') AS INTEGER)"
    return _ranked(
        verdict, f"CASE WHEN json_valid({recoverable}) THEN {vcpu} END"
    )  # a damaged row is told, not in the way


@compiles(_Urgency, "postgresql")
def _ranked_on_postgresql(element: _Urgency, compiler: Any, **kw: Any) -> str:
    verdict, recoverable = (compiler.process(one, **kw) for one in element.clauses)
    return _ranked(verdict, f"CAST({recoverable} ->> 'vcpu' AS integer)")


URGENT: ColumnElement[int] = _Urgency(Finding.verdict, Finding.recoverable)
"""To sort findings by: what is most urgent first, and of as urgent ones what recovers most."""
Index("ix_findings_assessment_id_urgency_id", Finding.assessment_id, URGENT, Finding.id)


class FindingArchive(Base):
    """That the findings of an assessment lie in the lake (`metering.archive`), where they are kept for ever, and no longer in the book,
    but for those that something in the book rests on. ``first_id``, ``last_id``: the ids that they have; ``digest``: SM3 of the file."""

    __tablename__ = "finding_archives"

    assessment_id: Mapped[int] = mapped_column(ForeignKey("assessments.id"), primary_key=True)
    findings: Mapped[int]
    first_id: Mapped[int]
    last_id: Mapped[int] = mapped_column(index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(String(64))
    archived_at: Mapped[datetime]
    archived_by: Mapped[str] = mapped_column(String(64))

    assessment: Mapped[Assessment] = relationship()


append_only(Assessment.__table__)  # type: ignore[arg-type]
append_only(Finding.__table__, archived="finding_archives.assessment_id")  # type: ignore[arg-type]
append_only(FindingArchive.__table__)  # type: ignore[arg-type]

SEALED = ("resource_id", "verdict", "coverage", "numbers", "reasons", "shape", "target", "recoverable")


@dataclass(frozen=True, slots=True)
class Judged:
    """One finding before it is written down. Amount in base units; ``target`` None = no advice on size."""

    resource_id: int
    verdict: Verdict
    coverage: float | None
    numbers: Mapping[str, Any]
    reasons: Sequence[Mapping[str, Any]]
    shape: Amount
    target: Amount | None = None
    recoverable: Amount = NOTHING

    def values(self) -> dict[str, Any]:
        """As the columns keep it."""
        return {
            "resource_id": self.resource_id,
            "verdict": self.verdict.value,
            "coverage": self.coverage,
            "numbers": dict(self.numbers),
            "reasons": [dict(one) for one in self.reasons],
            "shape": self.shape.to_json(),
            "target": None if self.target is None else self.target.to_json(),
            "recoverable": self.recoverable.to_json(),
        }


def judged(
    found: Findings,
    resources: Sequence[Resource],
    targets: Mapping[int, Amount],
    basis: Mapping[int, Mapping[str, Any]] | None = None,
    of_present: Mapping[int, Mapping[str, float]] | None = None,
) -> list[Judged]:
    """Findings [r] of ``resources`` [r] ready to record. ``targets``: resource id → the shape that fits, where advised;
    ``basis``: what it follows from; ``of_present``: of what had another size within the shortest window, what it used there of the present
    one; both kept among the numbers.

    Recoverable is the whole shape of what may be reclaimed, and what the target frees of what may shrink.
    """
    rows = []
    for i, resource in enumerate(resources):
        shape, target = resource.actual(), targets.get(resource.id)
        why, used = (basis or {}).get(resource.id), (of_present or {}).get(resource.id)
        rows.append(
            Judged(
                resource.id,
                found[i],
                _coverage(found, i),
                {
                    **found.facts.row(i),
                    **_section(found, i),
                    **({"sizing": dict(why)} if why else {}),
                    **({"of_present": dict(used)} if used else {}),
                },
                [reason.to_json() for reason in found.reasons(i)],
                shape,
                target,
                recoverable(found[i], shape, target),
            )
        )
    return rows


def recoverable(verdict: Verdict, shape: Amount, target: Amount | None) -> Amount:
    """What a finding would give back: all of what may be reclaimed, what the target frees of what may shrink."""
    kind = CALLS_FOR.get(verdict)
    if kind is CaseKind.RECLAIM:
        return shape
    return less(shape, target) if kind is CaseKind.SHRINK and target is not None else NOTHING


def record(
    tx: Tx,
    policy: PolicyVersion,
    first_day: date,
    last_day: date,
    as_of: datetime,
    engine: str,
    found: Sequence[Judged],
    months: MonthlyUses | None = None,
) -> Assessment:
    """Write a run down, once: the same (policy version, window, as_of) again returns what was written first. ``months``: what the
    policy asks of closed months, by which wholes are called.

    Raises Invalid for a window that ends before it begins, or a resource judged twice.
    """
    earlier = of(tx, policy, first_day, last_day, as_of)
    if earlier is not None:
        return earlier
    if last_day < first_day:
        raise Invalid("assessment.window", N_("评估窗口的结束日早于开始日"), field="last_day")
    ordered = sorted(found, key=lambda one: one.resource_id)
    counts: dict[str, int] = {}
    digest, previous = GENESIS, None
    rows = []
    for one in ordered:
        if one.resource_id == previous:
            raise Invalid("assessment.twice", N_("资源 %(id)s 在同一次评估中出现两次"), id=one.resource_id)
        previous = one.resource_id
        values = one.values()
        digest = link(digest, values)
        counts[values["verdict"]] = counts.get(values["verdict"], 0) + 1
        rows.append(values)
    run = Assessment(
        policy_version_id=policy.id,
        first_day=first_day,
        last_day=last_day,
        as_of=as_of,
        engine=engine,
        counts=counts,
        resources=len(rows),
        recorded_at=tx.now,
        recorded_by=tx.actor.login,
        digest=digest,
    )
    tx.add(run)
    tx.flush()
    for part in _parts(rows):
        tx.execute(insert(Finding), [{**values, "assessment_id": run.id} for values in part])
    if last_run(tx, policy.name) is run:
        _keep_wholes(tx, run, [one.resource_id for one in ordered], ordered, months or {})
    tx.audit(
        "assessment.record",
        f"assessment:{run.id}",
        after={
            "policy": policy.name,
            "version": policy.version,
            "first_day": first_day,
            "last_day": last_day,
            "as_of": as_of,
            "counts": counts,
            "digest": digest,
        },
    )
    return run


def sum_up(tx: Tx) -> None:
    """Keep the sums of the newest assessment of each policy that was recorded before there were any. Of months nothing is known here:
    where the policy asks for them, wholes are unknown until the next night."""
    summed = set(tx.scalars(select(JudgedWhole.assessment_id).distinct()))
    summed &= set(tx.scalars(select(KnownFigure.assessment_id).distinct()))
    for name in tx.scalars(select(PolicyVersion.name).distinct().order_by(PolicyVersion.name)).all():
        run = last_run(tx, name)
        if run is not None and run.id not in summed:
            of_it = Finding.assessment_id == run.id
            names = ("resource_id", "verdict", "coverage", "numbers", "shape", "recoverable")
            query = (
                select(*(getattr(Finding, name) for name in names))
                .where(of_it)
                .order_by(Finding.resource_id)
                .execution_options(yield_per=BATCH)
            )
            ids = tx.scalars(select(Finding.resource_id).where(of_it)).all()
            _keep_wholes(tx, run, ids, tx.execute(query), {})


def _keep_wholes(tx: Tx, run: Assessment, ids: Sequence[int], found: Iterable[Any], months: MonthlyUses) -> None:
    policy = run.policy_version.policy()
    wanted = {(name, rule.days) for rule in policy.every for name in _needs(rule)}
    wholes.keep(tx, run.id, ids, found, _others(run), policy.wholes, wanted, months)


def _others(run: Assessment) -> Select[int]:
    """Ids of the assessments of the policy of ``run`` but it."""
    query = select(Assessment.id).join(PolicyVersion)
    return query.where(PolicyVersion.name == run.policy_version.name, Assessment.id != run.id)


# ------------------------------------------------------------------------------------------------------------ reading


def in_book() -> ColumnElement[bool]:
    """Whether an assessment's findings can be asked of the book (SQL)."""
    return Assessment.id.not_in(select(FindingArchive.assessment_id))


def of(tx: Tx, policy: PolicyVersion, first_day: date, last_day: date, as_of: datetime) -> Assessment | None:
    """The run of this policy version over this window, if it was recorded."""
    return tx.scalar(
        select(Assessment).where(
            Assessment.policy_version_id == policy.id,
            Assessment.first_day == first_day,
            Assessment.last_day == last_day,
            Assessment.as_of == as_of,
        )
    )


def assessment(tx: Tx, assessment_id: int) -> Assessment:
    """The run, or NotFound."""
    found = tx.get(Assessment, assessment_id)
    if found is None:
        raise NotFound("assessment.none", N_("没有编号为 %(id)s 的评估"), id=assessment_id)
    return found


def last_run(tx: Tx, name: str = "default") -> Assessment | None:
    """The run of the policy called ``name`` with the latest data; a look that writes nothing asks once, as a page does of its blocks."""
    key = ("last_run", name)
    if key in tx.info:
        kept: Assessment | None = tx.info[key]
        return kept
    query = select(Assessment).join(PolicyVersion).where(PolicyVersion.name == name)
    found = tx.scalar(query.order_by(Assessment.as_of.desc(), Assessment.id.desc()).limit(1))
    if not tx.writes:
        tx.info[key] = found
    return found


def latest(tx: Tx, resource_id: int, name: str = "default") -> Finding | None:
    """The finding of a resource on the latest data, by the policy called ``name``."""
    return tx.scalar(
        select(Finding)
        .join(Assessment)
        .join(PolicyVersion)
        .where(Finding.resource_id == resource_id, PolicyVersion.name == name)
        .order_by(Assessment.as_of.desc(), Assessment.id.desc())
        .limit(1)
    )


def finding(tx: Tx, finding_id: int) -> Finding:
    """The finding, or NotFound."""
    found = tx.get(Finding, finding_id)
    if found is None:
        raise NotFound("finding.none", N_("没有编号为 %(id)s 的评估结论"), id=finding_id)
    return found


def of_run(tx: Tx, run: Assessment, *verdicts: Verdict) -> list[Finding]:
    """The findings of a run, of these classes or of all, by resource."""
    query = select(Finding).where(Finding.assessment_id == run.id).order_by(Finding.resource_id)
    if verdicts:
        query = query.where(Finding.verdict.in_([one.value for one in verdicts]))
    return list(tx.scalars(query))


@dataclass(frozen=True, slots=True)
class BlindSpot:
    """A figure by which no machine of a pool is known well enough for the rules that want it, ``days``: over the longest window of
    theirs; ``verdicts``: what no machine there can be found to be for want of it, by whatever rule."""

    figure: str
    days: int
    verdicts: tuple[Verdict, ...]


def blind_spots(tx: Tx, run: Assessment, pool: Pool) -> list[BlindSpot]:
    """What the policy of a run wants to know of machines before it takes anything away, and a pool tells of none, though it is
    measured: its source does not keep it. A verdict that another rule reaches without that is not named."""
    rows = tx.scalars(
        select(KnownFigure).where(KnownFigure.assessment_id == run.id, KnownFigure.pool_id == pool.id)
    ).all()
    kinds, best = {row.kind for row in rows}, dict[tuple[str, int], float]()
    for row in rows:
        best[row.figure, row.days] = max(best.get((row.figure, row.days), 0.0), row.coverage)
    policy = run.policy_version.policy()
    sections = [-1, *(i for i, one in enumerate(policy.sections) if not one.pools or pool.code in one.pools)]
    rules = [
        rule
        for rule in dict.fromkeys(policy.every[i] for section in sections for i in policy.rules_of(section))
        if kinds & set(rule.kinds)
    ]
    wanted = list(dict.fromkeys((name, rule.days, rule.coverage) for rule in rules for name in _needs(rule)))
    if not wanted:
        return []
    missing = {
        (name, days, coverage)
        for name, days, coverage in wanted
        if (name, days) not in best or (coverage and FIGURES[name].coverage and best[name, days] < coverage)
    }
    blind = {
        rule: names
        for rule in rules
        if (names := [name for name in _needs(rule) if (name, rule.days, rule.coverage) in missing])
    }
    found: dict[str, BlindSpot] = {}
    for rule, names in blind.items():
        if all(one in blind for one in rules if one.verdict is rule.verdict):
            for name in names:
                before = found.get(name, BlindSpot(name, rule.days, ()))
                every = tuple(one for one in Verdict if one in {*before.verdicts, rule.verdict})
                found[name] = BlindSpot(name, max(rule.days, before.days), every)
    return list(found.values())


def _needs(rule: PolicyRule) -> list[str]:
    """The figures without which a rule says nothing."""
    return [one.figure for one in rule.conditions if one.missing == "unknown" and one.figure in FIGURES]


def check(tx: Tx, run_ids: Iterable[int]) -> Iterator[str]:
    """``recheck`` of each of these runs."""
    said: list[str] = []
    for run_id in run_ids:
        with going_on(said, "assessments", run_id):
            yield from recheck(tx, tx.get_one(Assessment, run_id))
    yield from said


def recheck(tx: Tx, run: Assessment) -> Iterator[str]:
    """Judge every finding of ``run`` again from the figures it kept, by the policy version it names.

    Yields a sentence for each finding whose class or reasons come out otherwise, and one if a row of the run was
    changed since it was written.
    """
    said: list[str] = []
    query = select(Finding).where(Finding.assessment_id == run.id).order_by(Finding.resource_id)
    yield from recheck_all(run, rows(tx, query, said), said)


def recheck_all(run: Assessment, found: Iterator[Finding], said: list[str]) -> Iterator[str]:
    """``recheck``, of the findings of a run by resource, wherever they come from; ``said`` gains what could not be read of them."""
    policy = run.policy_version.policy()
    digest, count = GENESIS, 0
    # A city's findings are some hundred thousand rows of JSON: never all at once.
    while part := list(islice(found, BATCH)):
        for one in part:
            with going_on(said, "findings", one.id):
                digest, count = link(digest, one.content()), count + 1
        try:
            yield from list(_rejudged(part, policy))
        except Exception:  # of one of them
            for one in part:
                with going_on(said, "findings", one.id):
                    yield from _rejudged([one], policy)
    yield from said
    if digest != run.digest or count != run.resources:
        yield f"assessments: run {run.id} does not match its seal: a finding was changed, added or removed"


# ---------------------------------------------------------------------------------------------------------- mechanism


def _rejudged(part: Sequence[Finding], policy: Policy) -> Iterator[str]:
    """Findings that their own figures make otherwise."""
    sections = np.array([policy.named(one.numbers.get("section")) for one in part])
    again = judge(Facts.from_rows([one.numbers for one in part]), policy, sections)
    for i, one in enumerate(part):
        if again[i].value != one.verdict:
            yield f"findings: row {one.id} says {one.verdict}, its own figures say {again[i].value}"
        elif [reason.to_json() for reason in again.reasons(i)] != one.reasons:
            yield f"findings: row {one.id} gives other reasons than its own figures do"


def _section(found: Findings, i: int) -> dict[str, str]:
    """The name of the section that a resource was judged by, where it was one."""
    at = int(found.section[i])
    return {"section": found.policy.sections[at].name} if at >= 0 else {}


def _coverage(found: Findings, i: int) -> float | None:
    """The share of live slots in the window that decided; in the longest where none did."""
    decided = found.rule[i] if found.rule[i] >= 0 else found.blocked[i]
    if decided >= 0:
        days = found.policy.every[decided].days
    else:
        days = found.policy.windows()[-1]
    share = float(found.facts.windows[days].coverage[i])
    return None if share != share else round(share, 6)


def _parts(rows: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]
