"""Requests: what a department asks for, where it stands, and whose turn it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import flask
from flask import Blueprint, flash, redirect, render_template, url_for
from sqlalchemy import or_, select
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.wrappers import Response

from console import frame, links
from console.access import allow
from console.book import actor, book, reading, settings, transaction
from console.forms import answer, refused_here, sent_back
from console.lists import Column, Filter, Rows, figures_of, listing, marks_of
from console.pages.orders import dialogues
from console.pages.requests import forms
from console.pages.requests.evidence import consequences, consequences_of, entry_page, figures
from console.pages.requests.forms import RequestForm, amount_fields, form_class
from console.pages.requests.history import history
from console.programs import GENERATION, Given, Takes, listed, takes, unfit
from console.security import row
from console.words import _, amounts, days_left, identified, item_name, role, sentence, waits
from console.words import rules as rule_words
from console.words import who as named
from providers import orders, tickets
from providers.orders import WorkOrder, migrations
from quota import attachments, inventory, ledger, requests
from quota.actors import Actor, Role
from quota.calendar import ZONE
from quota.db import Tx, among
from quota.directory import Department, Pool, funded_projects, pools
from quota.directory import departments as agencies
from quota.errors import N_, Conflict, Invalid, NotFound, OverCapacity, Refused, WrongState
from quota.inventory import Resource
from quota.ledger import commitments
from quota.requests import (
    CHANGE_DIRECTIONS,
    KIND_LABELS,
    STATE_LABELS,
    About,
    Request,
    RequestKind,
    RequestLine,
    RequestState,
    RequestStep,
    StepName,
    approvals,
    asks,
    copies,
    declared,
    formbook,
    kind_of,
    known,
    notices,
    rulebook,
    terms,
)
from quota.requests import facts as request_facts
from quota.units import ClassCode

blueprint = Blueprint("requests", __name__, url_prefix="/requests")
frame.page("requests", "requests.index", N_("申请"), order=10)

READERS = (Role.AUTHORITY, Role.SUPERVISOR, Role.TENANT, Role.AUDITOR)
KINDS = KIND_LABELS
STATES = {state.value: label for state, label in STATE_LABELS.items()}
TERMS = {"7": N_("7 天内到期"), "14": N_("14 天内到期"), "30": N_("30 天内到期"), "past": N_("已到期")}


def turn_of(request: Request) -> str | None:
    """Whose turn it is, in words; None where nobody must act."""
    turn = requests.whose_turn(request)
    if turn is None:
        return None
    whose = request.pool.provider.name if turn.role is Role.PROVIDER else role(turn.role)
    if turn.role is Role.TENANT:
        asked = turn.step is not None and turn.department_id != request.department_id
        whose = rule_words.whose(turn.step) if asked and turn.step is not None else request.department.name
    return f"{whose} · {rule_words.step_label(turn.step)}" if turn.step else whose


def what(request: Request) -> str:
    """What is asked for, in one line: of which resource, and what."""
    if request.extends is not None:
        return _(kind_of(request).summary, number=request.extends.number, until=request.use_until or _("长期"))
    parts = [request.entry_called] if request.entry_called else []
    kind = kind_of(request)
    parts += [
        _(one.told(str(request.fields[name])))
        for name in kind.headline
        for one in kind.fields
        if one.name == name and request.fields.get(name)
    ]
    for line in request.lines:
        shape = item_name(line.item) if line.item else amounts({ClassCode(k): v for k, v in line.asked.items()})
        if line.current and not line.asked:
            shape = amounts({ClassCode(k): v for k, v in line.current.items()})
        parts.append(f"{shape} × {line.quantity}" if line.quantity > 1 else shape)
    told = _("、").join(parts)
    if any(line.current and line.asked for line in request.lines):
        told = _("%(way)s至 %(shape)s", way=_(CHANGE_DIRECTIONS[request.direction]), shape=told)
    if request.resource is None:
        return told
    of = identified(request.resource)
    return _("%(name)s：%(more)s", name=of, more=told) if told else of


def difference(request: Request) -> Mapping[ClassCode, int]:
    """What all its lines ask for together, class by class; negative where it returns."""
    found: dict[ClassCode, int] = {}
    for line in request.lines:
        for code, figure in line.difference().items():
            found[code] = found.get(code, 0) + figure
    return found


def line_told(line: RequestLine) -> str:
    """What a line says for its own pieces otherwise than its request for all, in one line."""
    return _in_words(formbook.form_of(reading(), line.request), line.fields) if line.fields else ""


def _filled(request: Request) -> str | None:
    """What its form's fields say, in one line."""
    return _in_words(formbook.form_of(reading(), request), request.fields) if request.fields else None


def _in_words(kind: RequestKind, fields: Mapping[str, Any]) -> str:
    return _("；").join(
        _("%(label)s：%(value)s", label=_(label), value=_(said)) for label, said in kind.told(fields)
    )  # fmt: skip


def _mine(query: Rows, value: str) -> Rows:
    if value != "mine":
        return query
    return query.where(or_(Request.turn == actor().role.value, approvals.signable(reading(), actor())))


def _overdue(query: Rows, value: str) -> Rows:
    return query.where(Request.turn.is_not(None), Request.due_at < book().clock()) if value == "yes" else query


def _term(query: Rows, value: str) -> Rows:
    """What was granted for a term that ends soon, or has ended, and is not given back."""
    tx = reading()
    today = tx.now.astimezone(ZONE).date()
    query = query.where(~among(Request.id, orders.returned(tx)))
    if value == "past":
        return query.where(terms.ending(today))
    return query.where(terms.ending(today + timedelta(days=int(value) + 1)), Request.use_until >= today)


COLUMNS = [
    Column(
        "number",
        N_("编号"),
        lambda r: r.number,
        sort=Request.id,
        href=lambda r: url_for("requests.show", request_id=r.id),
        title=True,
    ),
    Column("kind", N_("类型"), lambda r: _(KINDS[r.kind]), code=lambda r: r.kind, sort=Request.kind),
    Column("what", N_("内容"), what),
    *marks_of(lambda r: r.resource),
    *figures_of(difference),
    Column(
        "each",
        N_("各台要求"),
        lambda r: _("、").join(filter(None, map(line_told, r.lines))) or None,
        minor=True,
    ),
    Column("filled", N_("表单内容"), _filled, code=lambda r: dict(r.fields), apart=True),
    Column("department", N_("使用单位"), lambda r: r.department.name, href=links.department(lambda r: r.department_id)),
    Column(
        "system",
        N_("信息系统"),
        lambda r: r.system.name if r.system else None,
        href=links.system(lambda r: r.system_id),
        minor=True,
    ),
    Column("pool", N_("资源池"), lambda r: r.pool.name, href=links.pool(lambda r: r.pool_id)),
    Column("state", N_("状态"), lambda r: r.state, sort=Request.state, state=True),
    Column("turn", N_("等待"), turn_of, code=lambda r: r.turn),
    Column(
        "reason",
        N_("等候原因"),
        lambda r: _(waits.WAITS[code]) if (code := waits.of_request(r.state, r.turn)) else None,
        code=lambda r: waits.of_request(r.state, r.turn),
        minor=True,
    ),
    Column("due", N_("时限"), lambda r: r.due_at, sort=Request.due_at),
    Column("until", N_("使用期限"), lambda r: r.use_until, sort=Request.use_until, minor=True),
    Column("submitted", N_("提交时间"), lambda r: r.submitted_at, sort=Request.submitted_at, minor=True),
]
MORE = [
    Column("justification", N_("测算依据"), lambda r: r.justification),
    Column("fields", N_("其他内容"), lambda r: dict(r.fields)),
    Column("lines", N_("内容"), lambda r: [_line_told(one) for one in r.lines]),
    Column("steps", N_("步骤"), lambda r: [_step_told(one) for one in r.steps if one.round == r.round]),
    Column("resource_id", N_("资源"), lambda r: r.resource_id),
    Column("extends_id", N_("延期的申请"), lambda r: r.extends_id),
    Column("entry_id", N_("登记事项"), lambda r: r.entry_id),
]
"""What programs are told of one request beside its row."""


def _line_told(line: RequestLine) -> dict[str, Any]:
    """Amounts in base units."""
    return {
        "id": line.id,
        "item": line.item.code if line.item else None,
        "quantity": line.quantity,
        "name": line.name,
        "fields": dict(line.fields),
        "asked": dict(line.asked),
        "current": dict(line.current),
        "granted_item": line.granted_item.code if line.granted_item else None,
        "granted_quantity": line.granted_quantity,
        "granted": dict(line.granted_amounts),
    }


def _step_told(step: Any) -> dict[str, Any]:
    return {
        "step": step.name,
        "label": step.label,
        "role": step.role,
        "department_id": step.department_id,
        "due_at": step.due_at,
        "record_number": step.record_number,
        "decision": step.decision,
        "decided_at": step.decided_at,
        "reason": step.reason,
    }


FILTERS = [
    Filter("state", N_("状态"), lambda q, v: q.where(Request.state == v), options=STATES),
    Filter("kind", N_("类型"), lambda q, v: q.where(Request.kind == v), options=KINDS),
    Filter("turn", N_("轮到"), _mine, options={"mine": N_("我方")}),
    Filter("late", N_("逾期"), _overdue, options={"yes": N_("已逾期")}),
    Filter("term", N_("使用期限"), _term, options=TERMS),
    Filter("q", N_("编号、单位或系统"), lambda q, v: q.where(_named(v))),
]


def _named(text: str) -> Any:
    return (
        frame.matching(text, Request.number)
        | Request.department.has(frame.matching(text, Department.name))
        | Request.system.has(frame.matching(text, agencies.System.name))
    )


LOADED = (
    joinedload(Request.department),
    joinedload(Request.system),
    joinedload(Request.pool).joinedload(Pool.provider),
    selectinload(Request.lines).joinedload(RequestLine.item),
    selectinload(Request.lines).joinedload(RequestLine.approved_item),
    selectinload(Request.steps).joinedload(RequestStep.department),
    selectinload(Request.extends),
    selectinload(Request.resource),
)
"""What a row about a request says, looked up for all rows at once."""


def _loaded() -> Any:
    return select(Request).options(*LOADED)


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS, more=MORE, args=(links.WATCHED,))
def index() -> str | Response:
    tx = reading()
    query = _loaded().where(requests.visible(tx))
    filters = [*FILTERS, *links.watched(tx, Request)]
    found = listing(tx, query, COLUMNS, key=Request.id, filters=filters, sort="-number")
    return found.exported("requests") or render_template("requests/index.html", requests=found)


# --- asking ------------------------------------------------------------------------------------------------


@blueprint.get("/new")
@allow(Role.TENANT)
def new() -> str:
    """Which request kind, for which department, in which pool."""
    tx = reading()
    active = tx.scalars(select(Pool).where(Pool.active).order_by(Pool.name)).all()
    return render_template(
        "requests/new.html",
        pools=active,
        kinds=[kind for kind in known() if kind.hint],
        invited=_invited(About.RESOURCE),
        departments=_departments(tx),
        templates=copies.offered(tx),
        what=what,
        key=uuid4().hex,
    )


@blueprint.route("/new/<kind>", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(
    each=lambda: {
        kind.code: Takes(partial(_form_now, kind), args=_asked_of(kind), stamp=partial(_as_now, kind))
        for kind in known()
    },
    of="kind",
)
def draft(kind: str) -> str | Response | tuple[str, int]:
    """Type a request; it is kept as a draft and shown once more before it is handed in."""
    tx = reading()
    wanted = formbook.today(tx, declared(kind))
    if wanted.moves and "pool" not in flask.request.args and flask.request.method == "GET":
        return _where(tx, wanted)
    wanted, department, pool, resource = _about(tx, kind)
    of, entry = _extended(tx, wanted), _entry(tx, wanted)
    form = form_class(wanted)()
    forms.offer(form, tx, department, pool, wanted, resource)
    if resource is not None and flask.request.method == "GET":
        form.system.data = resource.system_id or 0

    def keep() -> Response:
        with transaction() as writing:
            made = requests.draft(
                writing, forms.ask(form, wanted, department, pool, resource, of, entry.id if entry else None)
            )
        return redirect(url_for("requests.check", request_id=made.id))

    return answer(
        form, keep, lambda: _form_page(form, wanted, department, pool, resource, of=of, entry=entry),
        Invalid, Conflict, NotFound,
    )  # fmt: skip


@blueprint.route("/<int:request_id>/edit", methods=["GET", "POST"])
@allow(Role.TENANT)
@unfit("revised on the page, or drafted anew: which fields there are depends on the request")
def edit(request_id: int) -> str | Response | tuple[str, int]:
    """Change a draft, or what was returned for supplement."""
    tx = reading()
    request = requests.request(tx, request_id)
    requests.own(tx, request)
    requests.must_be(request, RequestState.DRAFT, RequestState.SUPPLEMENT)
    kind = formbook.form_of(tx, request)
    resource = inventory.resource(tx, request.resource_id) if request.resource_id else None
    form = form_class(kind)()
    if flask.request.method == "GET":
        forms.fill(form, request)
    forms.offer(form, tx, request.department, request.pool, kind, resource)

    def revise() -> Response:
        with transaction() as writing:
            given = forms.ask(form, kind, request.department, request.pool, resource, request.extends, request.entry_id)
            given = replace(given, lines=[*given.lines, *forms.kept(request)])
            requests.revise(writing, request.id, given, generation=_generation())
        return redirect(url_for("requests.check", request_id=request.id))

    return answer(
        form, revise,
        lambda: _form_page(
            form, kind, request.department, request.pool, resource, request, request.extends, _entry(tx, kind, request.entry_id)
        ),
    )  # fmt: skip


def _where(tx: Tx, kind: RequestKind) -> str:
    """To which other pool a resource shall be moved."""
    resource = inventory.resource(tx, flask.request.args.get("resource", 0, row))
    others = select(Pool).where(Pool.active, Pool.id != resource.pool_id).options(joinedload(Pool.provider))
    return render_template(
        "requests/where.html", kind=kind, resource=resource, pools=tx.scalars(others.order_by(Pool.name)).all()
    )


def _form_page(
    form: RequestForm, kind: RequestKind, department: Department, pool: Pool, resource: Resource | None,
    request: Request | None = None, of: Request | None = None, entry: Any = None,
) -> str:  # fmt: skip
    tx = reading()
    return render_template(
        "requests/form.html",
        form=form,
        kind=kind,
        title=_(kind.label),
        department=department,
        pool=pool,
        resource=resource,
        one=request,
        of=of,
        entry=entry,
        entry_page=links.address(entry.subject) if entry is not None else None,
        amounts=amount_fields(form),
        groups=kind.groups(),
        ways=_ways(resource) if resource is not None and not kind.unapproved else [],
        ends=kind.lasting and rulebook.ends_terms(tx, kind.code),
        quota=figures(tx, pool.id, department.id, dict.fromkeys(pool.classes, 0), {}, {}),
    )


@blueprint.post("/impact/<kind>")
@allow(Role.TENANT)
@unfit("a part of the form's page; it writes nothing")
def impact(kind: str) -> str:
    """What the form as it stands would take: for the form's side, while it is typed. Writes nothing."""
    tx = reading()
    wanted, department, pool, resource = _about(tx, kind)
    entry = _entry(tx, wanted)
    form = form_class(wanted)()
    forms.offer(form, tx, department, pool, wanted, resource)
    wrong, rows, forbidden, cost, budget = "", [], [], None, None
    try:
        asked = forms.ask(form, wanted, department, pool, resource, entry_id=entry.id if entry else None)
        rows = consequences_of(tx, wanted, pool.id, department.id, asks.takes(tx, asked), asked.system_id)
        facts, said = requests.foreseen(tx, asked)
        forbidden = [one.reason for one in said.refused]
        cost, budget = facts.get("month_yuan"), facts.get("budget_share")
    except Refused as refused:
        wrong = sentence(refused.message, refused.params)
    return render_template(
        "requests/_impact.html", rows=rows, wrong=wrong, forbidden=forbidden, cost=cost, budget=budget
    )


@blueprint.get("/<int:request_id>/check")
@allow(Role.TENANT)
def check(request_id: int) -> str:
    """Everything once more, with what handing it in would do: what is held, who signs and why."""
    tx = reading()
    request = requests.request(tx, request_id)
    requests.own(tx, request)
    requests.must_be(request, RequestState.DRAFT, RequestState.SUPPLEMENT)
    wrong, plan = "", None
    try:
        asks.check_complete(tx, request)
        plan = requests.plan(tx, request)
    except Refused as refused:
        wrong = sentence(refused.message, refused.params)
    return render_template(
        "requests/check.html",
        one=request,
        plan=plan,
        wrong=wrong,
        what=what(request),
        line_told=line_told,
        annexes=formbook.form_of(tx, request).annexes,
        ways=_ways(request.resource) if request.resource is not None and not kind_of(request).unapproved else [],
        rows=consequences(tx, request),
        answers=_answers(request, url_for("requests.edit", request_id=request.id)),
    )


@blueprint.post("/<int:request_id>/submit")
@allow(Role.TENANT)
@takes(None, GENERATION)
def submit(request_id: int) -> Response:
    """Hand in a draft, or what was mended."""
    try:
        with transaction() as tx:
            request = requests.request(tx, request_id)
            hand_in = requests.resubmit if request.state == RequestState.SUPPLEMENT else requests.submit
            hand_in(tx, request, generation=_generation())
            held = kind_of(request).counts_as is not None and bool(request.takes())
    except (Invalid, OverCapacity) as refused:
        return sent_back(refused, "requests.check", request_id=request_id)
    flash(_("已提交,所需资源已预占") if held else _("已提交"), "success")
    return redirect(url_for("requests.show", request_id=request_id))


# --- following ---------------------------------------------------------------------------------------------


@blueprint.get("/<int:request_id>/paper")
@allow(*READERS)
def paper(request_id: int) -> str:
    """A request as a sheet to print, sign and seal: all that it says, machine by machine, and who signs or has signed it."""
    tx = reading()
    request = requests.request(tx, request_id)
    return render_template(
        "requests/paper.html",
        one=request,
        kind=KINDS[request.kind],
        answers=[(label, value) for label, value, _change in _answers(request, "")],
        each=[one for one in formbook.form_of(tx, request).each if any(line.said(one.name) for line in request.lines)],
        annexes=list(attachments.of(tx, request.subject).values()),
        decisions=waits.BECAME,
    )


@blueprint.get("/<int:request_id>")
@allow(*READERS)
def show(request_id: int) -> str:
    tx = reading()
    request = requests.request(tx, request_id)
    who = actor()
    owner = who.role is Role.TENANT and request.department_id in agencies.subtree(tx, who.department_id or 0)
    moved = migrations.of_request(tx, request)
    return render_template(
        "requests/show.html",
        one=request,
        owner=owner,
        entry_page=entry_page(tx, request),
        kind=KINDS[request.kind],
        turn=turn_of(request) or "",
        reason=_(waits.WAITS[why]) if (why := waits.of_request(request.state, request.turn)) else None,
        what=what(request),
        what_of=what,
        line_told=line_told,
        answers=[(label, value) for label, value, _change in _answers(request, "")],
        rows=consequences(tx, request),
        holds=ledger.pending(tx, request.subject),
        decisions=waits.BECAME,
        may_sign=approvals.may_sign(tx, request),
        primary=_primary(request, who, owner) or _to_switch(tx, moved),
        barred=_barred(tx, request, who),
        fallen=approvals.fallen(tx, request),
        may_assign=_may_assign(tx, request, who),
        copyable=owner and copies.copyable(request),
        copy_key=uuid4().hex,
        may_take=approvals.may_take(tx, request),
        may_urge=owner
        and request.turn is not None
        and request.state not in (RequestState.SUPPLEMENT, RequestState.ACCEPTING),
        orders=_orders(tx, request, moved),
        migration=moved,
        tickets=tickets.of_request(tx, request.id) if requests.kind_of(request).by_ticket else [],
        labels=migrations.MIGRATION_LABELS,
        history=history(tx, request),
        **dialogues.thread(tx, request.subject),
        resource=tx.get(Resource, request.resource_id) if request.resource_id else None,
        extends_at=_extended_at(tx, request),
        longer=[kind for kind in _invited(About.TERM) if kind.fits is None or kind.fits(request)]
        if owner and terms.running(request) and request.id not in orders.returned(tx)
        else [],
        extension=terms.extension(tx, request),
        **_lent(tx, request, owner),
        reserved=requests.reservations.begins(request) if requests.reservations.waits(tx, request) else None,
        may_cancel=owner,
        promised=commitments.by_basis(tx, request.subject) if kind_of(request).counts_as is None else None,
    )


@blueprint.post("/<int:request_id>/remark")
@allow(Role.TENANT, Role.SUPERVISOR, Role.AUTHORITY)
@takes(None, *dialogues.COMMENT)
def remark(request_id: int) -> Response:
    """Say something about a request that was handed in, without sending it back."""
    found = requests.request(reading(), request_id)
    if found.state == RequestState.DRAFT:
        raise WrongState("request.draft", N_("申请 %(number)s 还没有提交"), number=found.number)
    dialogues.comment(
        found.subject,
        lambda tx, kept: notices.said(tx, requests.request(tx, request_id), kept.text, f"remark:{kept.id}"),
    )
    back = flask.request.form.get("to") == "decision"
    return redirect(url_for("decisions.decide" if back else "requests.show", request_id=request_id))


def _extended_at(tx: Tx, request: Request) -> str | None:
    """The address of the request whose term ``request`` moves; None where the visitor may not see it: what was another's is extended by
    who has it now."""
    if request.extends_id is None:
        return None
    seen = tx.scalar(select(Request.id).where(Request.id == request.extends_id, requests.visible(tx, actor())))
    return url_for("requests.show", request_id=seen) if seen is not None else None


def _lent(tx: Tx, request: Request, owner: bool) -> dict[str, Any]:
    """Of what was granted for a time and is there: why it stays although the time is over, and whether the visitor may give it
    back."""
    if not orders.returns.standing(tx, request):
        return {"lent": False}
    held = orders.returns.held(tx, request) if orders.returns.ended(tx, request) else None
    return {
        "lent": True,
        "held": sentence(held.message, held.params) if held is not None else "",
        "may_give_back": owner,
    }


def _orders(tx: Tx, request: Request, moved: migrations.Migration | None) -> list[WorkOrder]:
    """The orders of a request, and the one by which what it moved ends."""
    found = tx.scalars(select(WorkOrder).where(WorkOrder.request_id == request.id).order_by(WorkOrder.id)).all()
    return [*found, moved.order] if moved is not None and moved.order is not None else list(found)


def _to_switch(tx: Tx, moved: migrations.Migration | None) -> tuple[str, str] | None:
    """Where the visitor says what shall become of a migration that waits for his word."""
    waits = moved is not None and moved.until is not None and moved.state is migrations.MigrationState.SIDE_BY_SIDE
    if moved is None or not waits or not moved.mine(tx):
        return None
    return _("确认切换"), url_for("migrations.switch", request_id=moved.request.id)


def _barred(tx: Tx, request: Request, who: Actor) -> str | None:
    """Why somebody of the role that is to decide may not, and who may instead; None where that is not so."""
    step = approvals.step_of(tx, request, who)
    if request.state != RequestState.IN_REVIEW or step is None or approvals.may_sign(tx, request):
        return None
    label = rule_words.step_label(step)
    if step.assignee not in (None, who.login) and approvals.holder(tx, request, step) is not None:
        return _("“%(step)s”由 %(name)s 承办。", step=label, name=named(step.assignee))
    names = "、".join(each.name for each in approvals.others(tx, request))
    if names:
        return _("同一份申请的两个步骤不能由一人办理。“%(step)s”可由以下人员办理：%(names)s。", step=label, names=names)
    if who.role is Role.SUPERVISOR and step.name == StepName.TECHNICAL_REVIEW:
        return _(
            "同一份申请的两个步骤不能由一人办理，而现在没有另一位运营监督人员。“%(step)s”可由主管部门接办，或由系统管理员录入、安全管理员授权另一位。",
            step=label,
        )
    return _(
        "同一份申请的两个步骤不能由一人办理，而现在没有另一位可办“%(step)s”的人员；请系统管理员录入、安全管理员授权另一位。",
        step=label,
    )


def _may_assign(tx: Tx, request: Request, who: Actor) -> bool:
    """Whether a step is under way that the visitor is a party of, and that no rule names somebody for who is there; not of what he asked
    for."""
    step = approvals.step_of(tx, request, who) if request.state == RequestState.IN_REVIEW else None
    if step is None or who.login in (request.created_by, request.submitted_by):
        return False
    return step.person is None or approvals.holder(tx, request, step) is None


@blueprint.post("/<int:request_id>/take")
@allow(Role.AUTHORITY)
@takes(None, GENERATION, Given("reason", label=N_("理由"), longest=500))
def take(request_id: int) -> Response:
    """The authority takes over a review that no supervisor is left for."""
    with transaction() as tx:
        approvals.take(tx, requests.request(tx, request_id), _generation(), flask.request.form.get("reason", "")[:500])
    return redirect(url_for("decisions.decide", request_id=request_id))


def _primary(request: Request, who: Actor, owner: bool) -> tuple[str, str] | None:
    """The one thing that this person may do next."""
    if approvals.may_sign(reading(), request):
        return _("审批"), url_for("decisions.decide", request_id=request.id)
    if owner and who.role is Role.TENANT:
        if request.state == RequestState.DRAFT:
            return _("核对并提交"), url_for("requests.check", request_id=request.id)
        if request.state == RequestState.SUPPLEMENT:
            return _("补正"), url_for("requests.edit", request_id=request.id)
        if request.state == RequestState.ACCEPTING:
            return _("验收"), url_for("requests.acceptance", request_id=request.id)
    return None


@blueprint.post("/<int:request_id>/withdraw")
@allow(Role.TENANT)
@takes(None, GENERATION)
def withdraw(request_id: int) -> Response:
    with transaction() as tx:
        requests.withdraw(tx, requests.request(tx, request_id), generation=_generation())
    flash(_("申请已撤回,预占已释放"), "success")
    return redirect(url_for("requests.show", request_id=request_id))


@blueprint.post("/<int:request_id>/give-back")
@allow(Role.TENANT)
@takes(None, GENERATION)
def give_back(request_id: int) -> Response:
    """What was granted for a time goes back now."""
    with transaction() as tx:
        request = requests.request(tx, request_id)
        orders.returns.give_back(tx, request.id, generation=_generation())
    flash(_("已下达恢复原规格的工单"), "success")
    return redirect(url_for("requests.show", request_id=request_id))


@blueprint.post("/<int:request_id>/urge")
@allow(Role.TENANT)
@takes()
def urge(request_id: int) -> Response:
    with transaction() as tx:
        notices.urge(tx, requests.request(tx, request_id))
    flash(_("已催办,办理方会收到通知"), "success")
    return redirect(url_for("requests.show", request_id=request_id))


@blueprint.route("/<int:request_id>/acceptance", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(
    None,
    GENERATION,
    Given("verdict", label=N_("验收结果"), required=True, values=("accept", "refuse")),
    Given("reason", label=N_("理由")),
)
def acceptance(request_id: int) -> str | Response | tuple[str, int]:
    """Look at what was delivered: accept it, or say what is not as approved."""
    tx = reading()
    request = requests.request(tx, request_id)
    requests.own(tx, request)
    requests.must_be(request, RequestState.ACCEPTING)
    wrong = ""
    if flask.request.method == "POST":
        reason, fine = flask.request.form.get("reason", ""), flask.request.form.get("verdict") == "accept"
        try:
            with transaction() as writing:
                if fine:
                    orders.accept_request(writing, request.id, generation=_generation())
                else:
                    orders.refuse_request(writing, request.id, generation=_generation(), reason=reason)
        except Invalid as refused:
            wrong = refused_here(refused)
        else:
            flash(_("验收通过,申请办结") if fine else _("已退回云服务商重新交付"), "success")
            return redirect(url_for("requests.show", request_id=request.id))
    placed = tx.scalars(select(WorkOrder).where(WorkOrder.request_id == request.id).order_by(WorkOrder.id)).all()
    made = [order.resource_id for order in placed if order.resource_id]
    resources = tx.scalars(select(Resource).where(among(Resource.id, made))).all() if made else []
    page = render_template(
        "requests/acceptance.html", one=request, what=what(request), orders=placed, resources=resources, wrong=wrong
    )
    return page, 422 if wrong else 200


# --- parts -------------------------------------------------------------------------------------------------


def _departments(tx: Tx) -> list[Department]:
    own = agencies.acting(tx, actor()).id
    found = tx.scalars(select(Department).where(Department.id.in_(agencies.subtree(tx, own)), Department.active))
    return sorted(found, key=lambda one: (one.id != own, one.name))


def _about(tx: Tx, kind: str) -> tuple[RequestKind, Department, Pool, Resource | None]:
    """What the address says that a new request is about. Raises NotFound for what is not the visitor's."""
    wanted = formbook.today(tx, declared(kind))
    if not wanted.by_itself:
        raise NotFound("request.not_alone", N_("这类申请随信息系统下线一并提交"))
    departments = {one.id: one for one in _departments(tx)}
    if wanted.about is About.RESOURCE:
        resource = inventory.resource(tx, flask.request.args.get("resource", 0, row))
        if resource.department_id not in departments:
            raise NotFound("resource.none", N_("没有编号为 %(id)s 的资源"), id=resource.id)
        pool = pools.pool(tx, flask.request.args.get("pool", 0, row)) if wanted.moves else resource.pool
        return wanted, departments[resource.department_id], pool, resource
    of = _extended(tx, wanted)
    if of is not None:
        return wanted, agencies.successor(of.department), of.pool, None
    entry = _entry(tx, wanted)
    if entry is not None:
        if entry.department_id not in departments:
            raise NotFound("request.entry_none", N_("没有编号为 %(id)s 的登记事项"), id=entry.id)
        return wanted, departments[entry.department_id], pools.pool(tx, flask.request.args.get("pool", 0, row)), None
    chosen = departments.get(flask.request.args.get("department", 0, row)) or next(iter(departments.values()))
    return wanted, chosen, pools.pool(tx, flask.request.args.get("pool", 0, row)), None


def _as_now(kind: RequestKind) -> RequestKind:
    """The kind with its form as it is now, where there is a reader."""
    return formbook.today(reading(), kind) if flask.has_request_context() else kind


def _form_now(kind: RequestKind) -> type[RequestForm]:
    return form_class(_as_now(kind))


def _asked_of(kind: RequestKind) -> tuple[Given, ...]:
    """What the address of a new request of the kind names: what it is about."""
    if kind.about is About.RESOURCE:
        of = Given("resource", int, N_("资源"), required=True)
        return (of, Given("pool", int, N_("新资源池"), required=True)) if kind.moves else (of,)
    if kind.about is About.TERM:
        return (Given("request", int, N_("延期的申请"), required=True),)
    pool = Given("pool", int, N_("资源池"), required=True)
    if kind.register is not None:
        return Given("entry", int, kind.register.label, required=True), pool
    return pool, Given("department", int, N_("使用单位"))


def _entry(tx: Tx, kind: RequestKind, entry_id: int | None = None) -> Any:
    """The row of its register that a request of the kind is about; None for one that is about none. Raises NotFound."""
    if kind.register is None:
        return None
    return kind.register.find(tx, entry_id if entry_id is not None else flask.request.args.get("entry", 0, row))


def _extended(tx: Tx, kind: RequestKind) -> Request | None:
    """The request whose term another shall move. Raises NotFound for what is not the visitor's or has no term."""
    if kind.about is not About.TERM:
        return None
    found = requests.request(tx, flask.request.args.get("request", 0, row))
    if not terms.running(found):
        raise NotFound("extend.no_term", N_("申请 %(number)s 没有可以延长的使用期限"), number=found.number)
    return found


def _ways(resource: Resource) -> list[RequestKind]:
    """What can be asked for about a resource that nobody approved, before anything else can; nothing for one that was."""
    if resource.is_approved:
        return []
    return [kind for kind in known() if kind.invites and kind.offered_for(resource.kind, approved=False)]


def _invited(about: About) -> list[RequestKind]:
    """The request kinds that the page of what they are about offers."""
    return [kind for kind in known() if kind.invites and kind.about is about and not kind.unapproved]


def _generation() -> int:
    """What the page was made from; 0, which is always stale, where it does not say."""
    return flask.request.form.get("generation", 0, row) or 0


def _project(request: Request) -> str:
    """The funded project that rules judge the request's system by, in words; nothing where none is registered. Of what was handed in
    the state that rules saw then; of a system that changed hands since no project of its new owner's."""
    if request.system is None:
        return ""
    tx = reading()
    line = agencies.above(tx, request.department_id) | agencies.subtree(tx, request.department_id)
    found = next((one for one in funded_projects.counted(tx, request.system) if one.department_id in line), None)
    open_ = request.state in (RequestState.DRAFT.value, RequestState.SUPPLEMENT.value)
    saw = None if open_ else (request.facts or {}).get("project")
    if saw == request_facts.NO_PROJECT or (saw is None and found is None):
        return ""
    told = [] if found is None else [found.name, found.approval_number]
    if saw is not None:
        told.append(_("提交时%(state)s", state=_(rule_words.PROJECT_LABELS[saw])))
    elif found is not None:
        told.append(_(rule_words.PROJECT_LABELS[found.state(tx.now.astimezone(settings().zone).date()).value]))
    if found is not None:
        told.append(_("计划验收 %(on)s", on=found.due_on))
    return " · ".join(told)


def _budget(request: Request) -> float | None:
    """Per cent of its department's budget of the year that would be spent with it, as it was when it was handed in."""
    found: float | None = (request.facts or {}).get("budget_share")
    return found


def _answers(request: Request, change: str) -> list[tuple[str, Any, str]]:
    kind = formbook.form_of(reading(), request)
    found: list[tuple[str, Any, str]] = [
        (_("类型"), _(kind.label), ""),
        (_("使用单位"), request.department.name, ""),
        (_("资源池"), request.pool.name, ""),
        (_("信息系统"), request.system.name if request.system else None, change),
        *([(_("立项项目"), project, "")] if (project := _project(request)) else []),
        (_("内容"), what(request), change),
        *([(_(kind.register.label), request.entry_called, "")] if kind.register is not None else []),
        *(
            [(_("年度预算预计占用"), _("%(share)s%%", share=share), "")]
            if (share := _budget(request)) is not None
            else []
        ),
        *([(_("现在的使用期限"), request.extends.use_until, "")] if request.extends else []),
        (
            _("新的使用期限") if request.extends else _("使用期限"),
            request.use_until or (_("长期") if request.extends else None),
            change,
        ),
        (_(kind.why.label), request.justification, change),
    ]
    return found + [(_(label), _(said), change) for label, said in kind.told(request.fields)]


@frame.home_block(Role.TENANT, order=10)
def waiting(tx: Tx, who: Actor) -> str | None:
    """What the department must mend or accept, and where its open requests are."""
    todo = [one for one in approvals.queue(tx, who) if one.state != RequestState.IN_REVIEW]
    states = [state.value for state in requests.OPEN] + [RequestState.DRAFT.value]
    open_ones = (
        tx.scalars(
            _loaded().where(requests.visible(tx, who), Request.state.in_(states)).order_by(Request.due_at).limit(12)
        )
        .unique()
        .all()
    )
    return render_template(
        "requests/_home.html", todo=todo, rows=open_ones, what=what, turn_of=turn_of, kinds=KINDS, days=days_left
    )
