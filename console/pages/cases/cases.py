"""Cases: a reclaim, a shrink or an expansion, from the finding to its certificate. The list, and each with its evidence."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response

from console import frame, links
from console.access import BUSINESS, STEWARDS, allow
from console.book import actor, book, reading, transaction
from console.lists import Column, Filter, ListPosition, Rows, figures_of, listing, marks_of, place_in
from console.pages.cases import evidence
from console.pages.cases.history import history
from console.programs import Given, listed, takes
from console.security import row
from console.words import _, amount, amounts, percent, policies, waits, when
from metering import cases
from metering.cases import (
    ANSWER_LABELS,
    CATEGORY_LABELS,
    CONSENT_LABELS,
    DECISION_LABELS,
    ENDING_LABELS,
    MATTER_LABELS,
    STATE_LABELS,
    TURNS,
    Case,
    CaseAct,
    CaseState,
    Notice,
    certificates,
    hearings,
    openings,
    risk_label,
    surges,
    suspensions,
    windows,
)
from metering.judging import GAUGES, KIND_LABELS, TAKES, findings
from providers.orders import WorkOrder
from quota import attachments, requests
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Department, Pool, System
from quota.errors import N_
from quota.inventory import Resource
from quota.requests import Request

blueprint = Blueprint("cases", __name__, url_prefix="/cases")
frame.page("cases", "cases.index", N_("案件"), order=30)

OPEN, MINE = "open", "mine"
UNSENT = (CaseState.DETECTED, CaseState.REVIEWED)
KINDS = {kind.value: label for kind, label in KIND_LABELS.items()}
CAUSES = {False: N_("评估"), True: N_("使用期满")}
"""What a case began with: whether with the end of a term."""
ENDINGS = {ending.value: label for ending, label in ENDING_LABELS.items()}
ACT_LABELS: dict[CaseAct, str] = {
    CaseAct.REVIEW: N_("审核同意"),
    CaseAct.DISMISS: N_("不予立案"),
    CaseAct.ISSUE: N_("发出通知"),
    CaseAct.REPLY: N_("答复"),
    CaseAct.RULE: N_("裁定"),
    CaseAct.WITHDRAW: N_("撤回案件"),
    CaseAct.ACT: N_("执行"),
    CaseAct.RESTORE: N_("恢复资源"),
    CaseAct.CONFIRM_DELETION: N_("确认删除"),
    CaseAct.ROLL_BACK: N_("恢复原规格"),
    CaseAct.KEEP: N_("维持现规格"),
}
FIRST = (
    CaseAct.REVIEW,
    CaseAct.ISSUE,
    CaseAct.REPLY,
    CaseAct.RULE,
    CaseAct.ACT,
    CaseAct.CONFIRM_DELETION,
    CaseAct.ROLL_BACK,
    CaseAct.RESTORE,
)
"""The one primary action of a page: the first of these that its reader may do."""


def _state_is(query: Rows, value: str) -> Rows:
    if value == OPEN:
        return query.where(Case.state != CaseState.CLOSED.value)
    if value == MINE:
        who = actor()
        mine = [state.value for state, (roles, _label) in TURNS.items() if who.role in roles]
        return query.where(Case.state.in_(mine), _not_shut_out(who))
    return query.where(Case.state == value)


def _not_shut_out(who: Actor) -> Any:
    """Who reviewed a case or signed its notice has no part in the ruling on it."""
    own = select(Notice.id).where(Notice.issued_by == who.login)
    unsigned = or_(Case.notice_id.is_(None), Case.notice_id.not_in(own))
    return or_(Case.state != CaseState.DISPUTED.value, and_(unsigned, Case.reviewed_by != who.login))


def _named(query: Rows, value: str) -> Rows:
    named = frame.matching(value, Resource.name, Resource.external_id)
    wanted = or_(  # looked up once each, not once a case
        Case.resource_id.in_(select(Resource.id).where(named)),
        Case.system_id.in_(select(System.id).where(frame.matching(value, System.name))),
    )
    number = _number(value)
    return query.where(or_(wanted, Case.id == number) if number else wanted)


def _number(text: str) -> int | None:
    """AJ2026-00012 (or its last part) → 12."""
    last = text.strip().rpartition("-")[2]
    return int(last) if last.isascii() and last.isdigit() and len(last) < 10 else None


COLUMNS = [
    Column(
        "number",
        N_("案件"),
        lambda c: c.number,
        sort=Case.id,
        href=lambda c: url_for("cases.show", case_id=c.id),
        title=True,
    ),
    Column("kind", N_("类别"), lambda c: _(KINDS[c.kind]), code=lambda c: c.kind, sort=Case.kind),
    Column("cause", N_("起因"), lambda c: _(CAUSES[c.term_id is not None]), code=lambda c: "term" if c.term_id is not None else "finding", minor=True),
    Column("state", N_("状态"), lambda c: f"case_{c.state}", sort=Case.state, state=True),
    Column("resource", N_("资源"), lambda c: c.resource.called, href=links.resource(lambda c: c.resource_id)),
    *marks_of(lambda c: c.resource),
    Column("department", N_("使用单位"), lambda c: c.department.name, href=links.department(lambda c: c.department_id), sort=Case.department_id),
    Column("system", N_("信息系统"), lambda c: c.system.name if c.system else None, href=links.system(lambda c: c.system_id), sort=Case.system_id),
    Column("what", N_("可回收(扩容为所需)"), lambda c: amounts(c.recovers())),
    *figures_of(lambda c: c.recovers()),
    Column("worth", N_("折合"), lambda c: round(c.worth, 1), unit="vCPU", sort=Case.worth, number=True,
           total=func.sum(Case.worth)),
    Column("risk", N_("风险"), lambda c: _(risk_label(c.risk)), sort=Case.risk),
    Column("reason", N_("等候原因"), lambda c: _(waits.WAITS[why]) if (why := waits.of_case(c.state)) else None,
           code=lambda c: waits.of_case(c.state), minor=True),
    Column("due", N_("期限"), lambda c: c.due_at or c.wake_at, sort=Case.due_at),
    Column("ending", N_("结果"), lambda c: _(ENDINGS[c.ending]) if c.ending else None, code=lambda c: c.ending if c.ending else None, sort=Case.ending, minor=True),
    Column("pool", N_("资源池"), lambda c: c.pool.name, href=links.pool(lambda c: c.pool_id), minor=True),
]  # fmt: skip
FILTERS = [
    Filter(
        "state",
        N_("状态"),
        _state_is,
        options={OPEN: N_("在办"), MINE: N_("等我办理"), **{one.value: label for one, label in STATE_LABELS.items()}},
        default=OPEN,
    ),
    Filter("kind", N_("类别"), lambda q, v: q.where(Case.kind == v), options=KINDS),
    Filter("cause", N_("起因"), lambda q, v: q.where(Case.term_id.is_not(None) if v == "term" else Case.term_id.is_(None)),
           options={"finding": CAUSES[False], "term": CAUSES[True]}),
    Filter(
        "department",
        N_("使用单位"),
        lambda q, v: q.where(
            Case.department_id.in_(select(Department.id).where(frame.matching(v, Department.name)))
        ),
    ),
    Filter("arch", N_("架构"), lambda q, v: q.where(Case.pool.has(Pool.arch == v)),
           options={"x86_64": "x86_64", "aarch64": "aarch64"}),
    Filter("ending", N_("结果"), lambda q, v: q.where(Case.ending == v), options=ENDINGS),
    Filter("q", N_("案号、资源或系统"), _named),
]  # fmt: skip
LOADED = (
    joinedload(Case.resource),
    joinedload(Case.department),
    joinedload(Case.system),
    joinedload(Case.pool),
)


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS, args=(links.WATCHED,))
def index() -> str | Response:
    tx = reading()
    query = select(Case).where(cases.visible(tx, actor())).options(*LOADED)
    queue = request.args.get("state") == MINE and "sort" not in request.args
    if queue:  # in the order in which the pages lead from one to the next
        query = query.order_by(*cases.URGENT)
    filters = [*FILTERS, *links.watched(tx, Case)]
    found = listing(tx, query, COLUMNS, key=Case.id, filters=filters, sort="" if queue else "-worth")
    outlook = openings.outlook(tx) if actor().role in STEWARDS else None
    return found.exported("cases") or render_template("cases/index.html", cases=found, outlook=outlook, queue=queue)


GROUPS = {"department": N_("使用单位"), "system": N_("信息系统")}


@blueprint.get("/groups")
@allow(*STEWARDS)
@listed((), args=("by",), open=True)
def groups() -> str | Response:
    """Open cases summed up by department or by system."""
    tx = reading()
    by = request.args.get("by", "department")
    by = by if by in GROUPS else "department"
    model: Any = Department if by == "department" else System
    on = Case.department_id if by == "department" else Case.system_id
    number, worth = func.count(Case.id), func.sum(Case.worth)
    soonest, riskiest = func.min(Case.due_at), func.max(Case.risk)
    query = (
        select(model.name.label("name"), number.label("number"), worth.label("worth"),
               riskiest.label("risk"), soonest.label("soonest"))
        .select_from(Case)
        .join(model, model.id == on)
        .where(Case.state != CaseState.CLOSED.value)
        .group_by(model.id, model.name)
    )  # fmt: skip
    named = "department" if by == "department" else "q"
    columns = [
        Column("name", GROUPS[by], lambda g: g.name, sort=model.name, title=True,
               href=lambda g: url_for("cases.index", **{named: g.name})),
        Column("number", N_("在办案件"), lambda g: g.number, sort=number, number=True),
        Column("worth", N_("折合"), lambda g: round(g.worth, 1), unit="vCPU", sort=worth, number=True),
        Column("risk", N_("最高风险"), lambda g: _(risk_label(g.risk)), sort=riskiest),
        Column("soonest", N_("最近期限"), lambda g: g.soonest, sort=soonest),
    ]  # fmt: skip
    found = listing(tx, query, columns, key=model.id, sort="-worth")
    return found.exported("case-groups") or render_template("cases/groups.html", groups=found, by=by, GROUPS=GROUPS)


@blueprint.post("/open")
@allow(Role.SUPERVISOR)
@takes(None, Given("finding", int, label=N_("评估"), required=True))
def open_one() -> Response:
    """Open a case from a finding."""
    with transaction() as tx:
        finding = findings.finding(tx, request.form.get("finding", 0, row))
        one = cases.open_one(tx, finding)
        case_id, number = one.id, one.number
    flash(_("已立案 %(number)s", number=number), "success")
    return redirect(url_for("cases.show", case_id=case_id))


@blueprint.get("/<int:case_id>")
@allow(*BUSINESS)
def show(case_id: int) -> str:
    """One case. Raises NotFound for one that the visitor may not see."""
    tx, who = reading(), actor()
    one = cases.case(tx, case_id)
    may = [act for act in cases.acts(one, who) if act in ACT_LABELS]
    asked = tx.get(Request, one.request_id) if one.request_id else None
    if one.state == CaseState.WATCHED:  # to give back early is possible, not what the page is for
        first = None
    else:
        first = next((act for act in FIRST if act in may), None)
    whole, rows = evidence.fellows(tx, one) if who.role in (*STEWARDS, Role.TENANT) else (None, [])
    newest = findings.latest(tx, one.resource_id, one.policy_version.name)
    place = _in_queue(tx, who, one)
    return render_template(
        "cases/show.html",
        one=one,
        turn=cases.whose_turn(one),
        reason=_(waits.WAITS[why]) if (why := waits.of_case(one.state)) else None,
        first=first,
        others=[act for act in may if act is not first],
        labels=ACT_LABELS,
        kind=KINDS[one.kind],
        ending=ENDINGS.get(one.ending or ""),
        consent=CONSENT_LABELS.get(one.consent) if one.consent else None,  # type: ignore[call-overload]
        matter=MATTER_LABELS.get(one.matter) if one.matter else None,  # type: ignore[call-overload]
        answers=ANSWER_LABELS,
        decisions=DECISION_LABELS,
        categories=CATEGORY_LABELS,
        verbs=evidence.VERB_LABELS,
        charts=evidence.use(one, book().clock()),
        reasons=evidence.reasons(one),
        newest=newest,
        starved=policies.starved((newest or one.finding).numbers.get("windows", {})),
        differs=evidence.verdict_then_and_now(one, newest),
        releases=evidence.release_map(one) if one.takes and one.state != CaseState.CLOSED else None,
        looks=_looks(tx, one),
        sizing=policies.sizing(seen.sizing) if (seen := surges.last(tx, one.id)) else "",
        counted=_(GAUGES[seen.sizing].label if seen.sizing in GAUGES else N_("CPU")) if seen else "",
        whole=whole,
        fellows=rows,
        effects=evidence.effects(tx, one) if who.role is not Role.PROVIDER and one.state != "closed" else [],
        orders=_orders(tx, one),
        certificate=certificates.of_case(tx, one),
        finding_at=links.to("finding", one.finding_id),
        suspended=suspensions.holding(tx, one.policy_version_id),
        waits=evidence.restarts(tx, [one]).get(one.id),
        opens=windows.opening(tx, one.pool_id) if one.takes else None,
        turn_on=hearings.turns(tx).get(one.id) if one.state in UNSENT else None,
        risk=risk_label(one.risk),
        term_at=links.to("request", one.term_id) if one.term and _sees(tx, one.term) else None,
        request=asked,
        request_at=links.to("request", asked.id) if asked and _sees(tx, asked) else None,
        files=attachments.of(tx, one.subject) if who.role is not Role.PROVIDER else {},
        history=history(tx, one) if who.role is not Role.PROVIDER else [],
        before=place.before,
        after=place.after,
        place=place.at,
        length=place.of,
    )


def _in_queue(tx: Tx, who: Actor, case: Case) -> ListPosition:
    """Where the case is in the visitor's queue."""
    mine = [state.value for state, (roles, _label) in TURNS.items() if who.role in roles]
    if not mine:
        return ListPosition(None, None, 0, 0)
    query = select(Case).where(cases.visible(tx, who), Case.state.in_(mine), _not_shut_out(who))
    return place_in(tx, query, Case.id, cases.URGENT, case.id)


def _looks(tx: Tx, case: Case) -> list[list[Any]]:
    """What the looks within the day found of its machine, newest first: rows of a table."""
    return [
        [
            when(each.at),
            _(surges.OUTCOME_LABELS[surges.SurgeOutcome(each.outcome)])
            + (f" · {_(surges.WHY[each.why])}" if each.why else ""),
            f"{each.over} / {each.samples}",
            percent(each.top),
            f"{amount(each.size, each.cls)} → {amount(round(each.wanted), each.cls)}",
            when(each.until) if each.until else "—",
        ]
        for each in reversed(surges.of_case(tx, case.id))
    ]


def _sees(tx: Tx, request: Request) -> bool:
    return tx.scalar(select(Request.id).where(Request.id == request.id, requests.visible(tx))) is not None


def _orders(tx: Tx, case: Case) -> list[WorkOrder]:
    return list(tx.scalars(select(WorkOrder).where(WorkOrder.case_id == case.id).order_by(WorkOrder.id)))


@blueprint.get("/<int:case_id>/certificate")
@allow(*BUSINESS)
def certificate(case_id: int) -> str | Response:
    """The certificate of a case, to print."""
    tx = reading()
    one = cases.case(tx, case_id)
    found = certificates.of_case(tx, one)
    if found is None:
        flash(_("这起案件还没有凭证"), "warning")
        return redirect(url_for("cases.show", case_id=case_id))
    return render_template(
        "cases/certificate.html",
        one=one,
        it=found,
        to=links.to,
        placed={each.number: each.id for each in _orders(tx, one)},
        kind=KINDS[one.kind],
        consent=CONSENT_LABELS.get(one.consent) if one.consent else None,  # type: ignore[call-overload]
        verbs=evidence.VERB_LABELS,
        answers=ANSWER_LABELS,
        decisions=DECISION_LABELS,
        instant=datetime.fromisoformat,
    )


# ---------------------------------------------------------------------------------------------------- home and search


@frame.home_block(Role.SUPERVISOR, order=20)
def by_recovery(tx: Tx, who: Actor) -> str | None:
    """Cases that wait for the supervisor, as the queue has them."""
    mine = [state.value for state, (roles, _label) in TURNS.items() if who.role in roles]
    query = select(Case).where(Case.state.in_(mine), _not_shut_out(who)).options(*LOADED)
    rows = list(tx.scalars(query.order_by(*cases.URGENT).limit(8)))
    if not rows:
        return None
    sums = {
        kind: (count, worth)
        for kind, count, worth in tx.execute(
            select(Case.kind, func.count(), func.sum(Case.worth))
            .where(Case.state.in_(mine), _not_shut_out(who))
            .group_by(Case.kind)
        )
    }
    taken = sum(worth for kind, (_count, worth) in sums.items() if kind in TAKES)
    given = sum(worth for kind, (_count, worth) in sums.items() if kind not in TAKES)
    waiting = sum(count for count, _worth in sums.values())
    return render_template("cases/_waiting.html", rows=rows, waiting=waiting, taken=taken, given=given, kinds=KINDS)


@frame.home_block(Role.AUTHORITY, order=20)
def to_confirm(tx: Tx, _who: Actor) -> str | None:
    """Deletions, exemptions and objections that wait for the authority."""
    wanted = (CaseState.CONFIRMING.value, CaseState.DISPUTED.value)
    query = select(Case).where(Case.state.in_(wanted)).options(*LOADED).order_by(*cases.URGENT).limit(12)
    rows = list(tx.scalars(query))
    if not rows:
        return None
    return render_template("cases/_confirm.html", rows=rows, kinds=KINDS, matters=MATTER_LABELS)
