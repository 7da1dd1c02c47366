"""What the latest assessment found: idle and busy resources, with the numbers behind each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from flask import Blueprint, g, render_template, url_for
from sqlalchemy import or_, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response

from console import frame, links
from console.access import BUSINESS, STEWARDS, allow, may
from console.book import book, lake, reading, settings
from console.founding import Look, StepStanding, checklist
from console.lists import Column, Filter, Rows, listing
from console.programs import listed
from console.words import _, amounts, policies, sentence
from console.words import show as show_value
from metering.archive import archives, recompute
from metering.cases import Case, CaseState, openings, recoveries, windows
from metering.judging import (
    APART,
    CALLS_FOR,
    CIRCUMSTANCES,
    FIGURES,
    GROWS,
    LABELS,
    RECLAIMABLE,
    Assessment,
    Finding,
    Prospect,
    Reason,
    Verdict,
    figure,
    findings,
    prospects,
    service_sizes,
)
from metering.judging import policies as versions
from metering.rollout import scopes
from metering.workbench import Workbench
from quota import inventory
from quota.actors import Actor, Role
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import Department, catalog
from quota.errors import N_, NotFound, WrongState
from quota.inventory import Resource
from quota.units import NOTHING, VCPU, Amount

blueprint = Blueprint("findings", __name__, url_prefix="/findings")
frame.page("cases", "findings.index", N_("评估发现"), order=20)

ACTION = "action"
VERDICTS = {ACTION: N_("需处理"), **{verdict.value: label for verdict, label in LABELS.items()}}


def _verdict(query: Rows, value: str) -> Rows:
    if value == ACTION:
        return query.where(Finding.verdict.in_([one.value for one in GROWS | RECLAIMABLE]))
    return query.where(Finding.verdict == value)


def _of_department(query: Rows, value: str) -> Rows:
    """Of the department with the code ``value``, and of those with it in their name."""
    found = select(Department.id).where(or_(Department.code == value, frame.matching(value, Department.name)))
    return query.where(Resource.department_id.in_(found))


def _figure(name: str) -> Any:
    """A figure of the longest window that knows it; None = not known."""

    def value(row: Finding) -> float | None:
        windows = row.numbers.get("windows", {})
        for days in sorted(windows, key=int, reverse=True):
            found = windows[days].get(name)
            if found is not None:
                return round(float(found), 2)
        return None

    return value


def _opened(row: Finding) -> tuple[str | None, str | None]:
    """Number and address of the case that is open for the resource of ``row``."""
    if "open_cases" not in g:  # an export, which names them all
        g.open_cases = _open_cases(reading())
    one = g.open_cases.get(row.resource_id)
    return (one.number, url_for("cases.show", case_id=one.id)) if one else (None, None)


def _open_cases(tx: Tx, rows: Sequence[Finding] | None = None) -> dict[int, Case]:
    """Resource → the case that is open for it; of the resources of ``rows``, or of all."""
    query = select(Case).where(Case.state != CaseState.CLOSED.value)
    if rows is not None:
        query = query.where(Case.resource_id.in_([one.resource_id for one in rows]))
    return {one.resource_id: one for one in tx.scalars(query)}


COLUMNS = [
    Column(
        "name",
        N_("资源"),
        lambda f: f.resource.name or f.resource.external_id,
        href=lambda f: url_for("resources.show", resource_id=f.resource_id),
        title=True,
    ),
    Column(
        "verdict",
        N_("结论"),
        lambda f: f.verdict,
        sort=findings.URGENT,
        state=True,
        href=lambda f: url_for("findings.show", finding_id=f.id),
    ),
    Column(
        "department",
        N_("使用单位"),
        lambda f: f.resource.department.name if f.resource.department else None,
        href=links.department(lambda f: f.resource.department_id),
    ),
    Column("shape", N_("规格"), lambda f: amounts(f.had())),
    Column("cpu_p95", "CPU P95", _figure("cpu_p95"), unit="%", number=True),
    Column("mem_mean", N_("内存均值"), _figure("mem_mean"), unit="%", number=True),
    Column(
        "coverage",
        N_("采集覆盖率"),
        lambda f: None if f.coverage is None else round(100 * f.coverage, 1),
        unit="%",
        number=True,
    ),
    Column(
        "recoverable",
        N_("可回收 vCPU"),
        lambda f: int(f.recoverable.get(VCPU, 0)) or None,
        number=True,
    ),
    Column("target", N_("建议规格"), lambda f: amounts(f.should_have() or {}) if f.target else None),
    Column(
        "case",
        N_("案件"),
        lambda f: _opened(f)[0],
        href=lambda f: _opened(f)[1],
    ),
    Column("reasons", N_("依据"), lambda f: _("；").join(Reason(**row).text(_) for row in f.reasons), minor=True),
]
FILTERS = [
    Filter("verdict", N_("结论"), _verdict, options=VERDICTS, default=ACTION),
    Filter("q", N_("资源名称"), lambda q, v: q.where(frame.matching(v, Resource.name))),
    Filter("department", N_("使用单位"), _of_department),
]


@blueprint.get("/")
@allow(*STEWARDS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    run = findings.last_run(tx)
    query = (
        select(Finding)
        .join(Resource, Resource.id == Finding.resource_id)
        .where(Finding.assessment_id == (run.id if run else -1))
        .options(joinedload(Finding.resource).joinedload(Resource.department))
    )
    found = listing(tx, query, COLUMNS, key=Finding.id, filters=FILTERS, sort="verdict")
    exported = found.exported("findings")
    if exported:
        return exported
    g.open_cases = _open_cases(tx, found.rows)
    opened = scopes.now(tx).opened
    return render_template(
        "findings/index.html",
        findings=found,
        run=run,
        recoverable=_recoverable(tx, run),
        calls=[one.value for one in CALLS_FOR],
        opened=_opened,
        shadowed=lambda one: not opened(one.resource.department_id, one.resource.pool_id),
        outlook=openings.outlook(tx),
        ahead=_ahead(tx, run),
    )


def _ahead(tx: Tx, run: Assessment | None) -> Prospect | None:
    """When the first verdict is due, where none has been come to yet."""
    if run is not None and not prospects.silent(run.counts):
        return None
    return _prospect(tx, tx.now.astimezone(settings().zone).date(), {*lake().days(), *lake().hot_days()})


def _prospect(tx: Tx, today: date, sampled: set[date]) -> Prospect | None:
    """What the policy in force still waits for; None where none is in force."""
    try:
        return prospects.prospect(versions.in_force(tx, today).policy(), today, sampled)
    except NotFound:
        return None


@blueprint.get("/<int:finding_id>")
@allow(*BUSINESS)
def show(finding_id: int) -> str:
    """One finding with every number it was judged by. NotFound where its resource may not be seen."""
    return _page(finding_id, None)


@blueprint.get("/<int:finding_id>/recomputed")
@allow(*BUSINESS)
def recomputed(finding_id: int) -> str:
    """The finding made again from the lake, beside what was written down."""
    findings_of = Workbench(book(), lake(), settings().data)
    _seen(reading(), finding_id)
    try:
        again = recompute.finding(findings_of, finding_id)
    except WrongState as gone:
        return _page(finding_id, None, gone=sentence(gone.message, gone.params))
    return _page(finding_id, again)


def _seen(tx: Tx, finding_id: int) -> Finding:
    one = archives.finding(tx, lake(), finding_id)
    inventory.resource(tx, one.resource_id)
    return one


def _filling(one: Finding) -> str | None:
    """On which day its disk will be full, by the trend of the window that a rule looked at; None where no rule called for it."""
    for reason in one.reasons:
        if reason["figure"] == "disk_full_days" and one.is_now() in GROWS and reason["value"] is not None:
            stored = one.numbers["windows"][str(reason["days"])].get("disk_last")
            day = one.assessment.last_day + timedelta(days=math.ceil(reason["value"]))
            told = _(
                "磁盘将满：按近%(days)s天每日末的磁盘使用率走势(现%(now)s),预计%(day)s前后写满。清理、扩盘和一次性写入不计入走势。",
                days=reason["days"],
                now="—" if stored is None else f"{stored:.1f}%",
                day=day,
            )
            tx = reading()
            opens = windows.opening(tx, one.resource.pool_id).astimezone(ZONE).date()
            if tx.now.astimezone(ZONE).date() <= day < opens:  # of a finding of long ago nothing is left to clean up
                told += " " + _("这早于该资源池的下一变更窗口（%(at)s）：请先清理，不要等到窗口。", at=opens)
            return told
    return None


def _largest(one: Finding) -> bool:
    """Whether what is busy is advised nothing because the catalogue has nothing larger."""
    if one.is_now() not in GROWS or one.target is not None:
        return False
    figures = {reason["figure"] for reason in one.reasons}
    return not service_sizes.on_offer(catalog.offered(reading()), one.resource, figures)


def _lacking(one: Finding) -> str | None:
    """That nothing is said of a resource for want of figures that its source does not tell."""
    reasons = [Reason(**row) for row in one.reasons] if one.is_now() is Verdict.UNKNOWN else []
    names = [_(figure(each.figure).label) for each in reasons if each.value is None and each.figure in FIGURES]
    if not names:
        return None
    return _(
        "没有（或没有足够的）「%(figures)s」数据，所以不作结论：没有数据不等于闲置。资源池的采集页写明来源有没有上报这项指标。",
        figures=_("、").join(names),
    )


def _page(finding_id: int, again: recompute.Recomputed | None, gone: str = "") -> str:
    one = _seen(reading(), finding_id)
    windows = one.numbers.get("windows", {})
    ordered = sorted(windows, key=int)
    rows = [
        [_(each.label), *(each.text(windows[days].get(code)) for days in ordered)]
        for code, each in FIGURES.items()
        if (each.offered or code in APART) and any(code in windows[days] for days in ordered)
    ]
    around = [
        (_(each.label), each.text(one.numbers.get(code)))
        for code, each in CIRCUMSTANCES.items()
        if one.numbers.get(code) is not None
    ]
    return render_template(
        "findings/show.html",
        one=one,
        run=one.assessment,
        reasons=[Reason(**row).text(_) for row in one.reasons],
        heads=[(_("指标"), False), *((_("近%(days)s天", days=days), True) for days in ordered)],
        rows=rows,
        around=around,
        basis=_basis(one),
        starved=policies.starved(windows),
        lacking=_lacking(one),
        filling=_filling(one),
        largest=_largest(one),
        shadowed=_shadowed(reading(), one),
        archived=archives.archived_at(reading(), one.assessment),
        again=again,
        gone=gone,
        differences=[
            [
                differing(each.what),
                str(each.days or "—"),
                show_value(each.before),
                show_value(each.now),
            ]
            for each in (again.differences if again else ())
        ],
    )


def _shadowed(tx: Tx, finding: Finding) -> bool:
    """Whether a finding that calls for a case opens none because it is in the shadow; told to whoever may see all of them."""
    if not may("findings.index") or finding.is_now() not in CALLS_FOR:
        return False
    return not scopes.now(tx).opened(finding.resource.department_id, finding.resource.pool_id)


OTHER = {"verdict": N_("结论"), "reasons": N_("依据"), "target": N_("建议规格")}
"""What may come out otherwise when a finding is made again, beside figures."""


def differing(what: str) -> str:
    """What comes out otherwise, in words."""
    return _(OTHER.get(what) or figure(what).label)


def _basis(finding: Finding) -> str | None:
    """What the advised size follows from, in words; None for findings that keep nothing of it."""
    why = finding.numbers.get("sizing") or {}
    told = [policies.sizing(why["method"])] if "method" in why else []
    if "figure" in why:
        label = N_("带宽使用率 P95") if why["figure"] == "line_p95" else figure(why["figure"]).label
        told.append(
            _(
                "%(figure)s %(value)s%%,改后 %(after)s%%",
                figure=_(label),
                value=f"{why['value']:.1f}",
                after=f"{why['after']:.1f}",
            )
        )
    return _("；").join(told) or None


def _recoverable(tx: Tx, run: Assessment | None) -> Amount:
    """What could be recovered by the latest assessment, in base units by kind."""
    return NOTHING if run is None else recoveries.recoverable_by_kind(tx, run)


@frame.home_block(Role.SUPERVISOR, Role.AUTHORITY, order=40)
def recoverable_now(tx: Tx, _who: Actor) -> str | None:
    """What the latest assessment found, by class, and what could be recovered."""
    run = findings.last_run(tx)
    if run is None:
        return None
    return render_template("findings/_home.html", run=run, labels=LABELS, recoverable=_recoverable(tx, run))


@checklist.step("judged", N_("首次评估结论"), N_("每天凌晨评估；采样满首个窗口后作出首批结论。"), Role.SUPERVISOR,
                endpoint="findings.index", order=180)  # fmt: skip
def _judged(look: Look) -> StepStanding:
    run = findings.last_run(look.tx)
    if run is not None and not prospects.silent(run.counts):
        return StepStanding(True)
    ahead = _prospect(look.tx, look.today, look.sampled())
    return StepStanding(False, ahead.days, ahead.needed) if ahead else StepStanding(False)
