"""Deciding requests: the queue by deadline, and one request with the evidence beside the decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flask
from flask import Blueprint, flash, redirect, render_template, url_for
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import HiddenField, RadioField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console import frame, links
from console.access import allow
from console.book import actor, reading, settings, transaction
from console.charts import outlooks
from console.forms import DateField, act_on, answer, generation
from console.lists import listing, place_in
from console.pages.orders import dialogues
from console.pages.quota import promises as promises_board
from console.pages.requests import evidence
from console.pages.requests.evidence import ApprovalEffect
from console.pages.requests.history import history
from console.pages.requests.requests import COLUMNS, KINDS, LOADED, line_told, turn_of, what
from console.programs import Given, asked, listed, takes, unfit
from console.security import row
from console.words import _, amount, item_name, kind_label, lazy, sentence
from quota import ledger, requests
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import catalog
from quota.errors import N_, Invalid, OverCapacity, WrongState
from quota.ledger import Holder, RunOut
from quota.ledger import outlook as promises
from quota.requests import (
    DECISION_LABELS,
    REPLACE_LABELS,
    Decision,
    Request,
    RequestStep,
    approvals,
    formbook,
    kind_of,
    terms,
    together,
)
from quota.units import CLASSES, Amount, Arch, ClassCode, Commodity, base_units, shown

blueprint = Blueprint("decisions", __name__, url_prefix="/decisions")
frame.page("requests", "decisions.index", N_("待审队列"), order=5)

SIGNERS = (Role.SUPERVISOR, Role.AUTHORITY)
PARTIES = (*SIGNERS, Role.TENANT, Role.PROVIDER)
"""Who may be a party of a step."""
IDLE = 6
"""Idle machines of the department that are named beside its request."""
BARRED = 20
"""Requests shown that wait for somebody who may not take their step."""


class DecisionForm(FlaskForm):  # type: ignore[misc]
    """What a signer says. What is approved of each line comes beside it, as ``quantity-<line>`` and so on."""

    decision = RadioField(
        lazy(N_("决定")),
        [InputRequired(lazy(N_("请选择一个决定")))],
        choices=[SelectChoice(one.value, lazy(label)) for one, label in DECISION_LABELS.items()],
    )
    use_until = DateField(
        lazy(N_("新的使用期限")),
        [Optional()],
        description=lazy(N_("申请的使用期限在办理期间已过;建议值与原申请时长相同")),
    )
    record = StringField(
        lazy(N_("文号")), [Length(max=64)], description=lazy(N_("通过须填写:会议纪要、批复或公函的编号"))
    )
    reason = TextAreaField(lazy(N_("意见")), [Length(max=2000)])
    generation = HiddenField()


@blueprint.get("/")
@allow(*PARTIES)
@listed(COLUMNS)
def index() -> str | Response:
    tx = reading()
    found = listing(tx, approvals.to_sign(tx).options(*LOADED).order_by(*approvals.URGENT), COLUMNS, key=Request.id)
    if exported := found.exported("decisions"):
        return exported
    suggested = _suggestions(tx, found.rows)
    return render_template(
        "decisions/index.html",
        address=links.address,
        waiting=found,
        what=what,
        turn_of=turn_of,
        kinds=KINDS,
        suggested=suggested,
        alike=together.groups(tx) if actor().role in SIGNERS else [],
        barred=tx.scalars(approvals.barred(tx).order_by(*approvals.URGENT).limit(BARRED)).all(),
        with_others=_with_others(tx),
    )


def _with_others(tx: Tx) -> list[tuple[Request, str]]:
    """What colleagues have taken on: the requests, each with the login of whose it is."""
    found = tx.scalars(approvals.with_others(tx).options(*LOADED).order_by(*approvals.URGENT).limit(BARRED)).all()
    return [(one, approvals.colleague(tx, one)) for one in found]


@blueprint.route("/<int:request_id>", methods=["GET", "POST"])
@allow(*PARTIES)
@takes(
    DecisionForm,
    Given("quantity", dict, N_("部分通过:行 → 数量")),
    Given("amount", dict, N_("部分通过:行 → 资源类别 → 数量")),
    Given("shape", dict, N_("部分通过：行 → 改为的目录规格")),
    Given("replace", dict, N_("部分通过：改为的使用性质（purpose）、网络区（zone）")),
)
def decide(request_id: int) -> str | Response | tuple[str, int]:
    """Evidence on the left, the decision on the right. Raises WrongState where it is not this person's to decide."""
    tx = reading()
    request = requests.request(tx, request_id)
    form = DecisionForm()
    if not request.lines:  # a term has no part
        form.decision.choices = [each for each in form.decision.choices if each.value != Decision.APPROVE_PART]
    if not terms.passed(tx, request):
        del form.use_until
    _fit(form, approvals.step_of(tx, request, actor()))
    if flask.request.method == "GET":
        form.generation.data = str(request.generation)
        if "use_until" in form:
            form.use_until.data = terms.anew(tx, request)
        if not approvals.may_sign(tx, request):  # the request's own page says why, and who may
            own = "decisions.index" if actor().role is Role.PROVIDER else "requests.show"
            return redirect(url_for(own, request_id=request.id))

    def sign() -> Response:
        decision = Decision(form.decision.data)
        with transaction() as writing:
            part = decision is Decision.APPROVE_PART
            quantities, amounts = _approved(request) if part else ({}, {})
            approvals.sign(
                writing,
                request.id,
                decision=decision,
                generation=generation(form),
                quantities=quantities,
                amounts=amounts,
                reason=form.reason.data or "",
                use_until=form.use_until.data if "use_until" in form else None,
                record=(form.record.data or "") if "record" in form else "",
                replacement=_replaced(request) if part else None,
            )
        flash(_("%(number)s:已%(decision)s", number=request.number, decision=_(DECISION_LABELS[decision])), "success")
        return redirect(_next(reading(), request.id))

    def page() -> str:
        if flask.request.method == "POST" and not approvals.may_sign(tx, request):
            raise WrongState("approve.not_now", N_("这份申请现在不由您办理"))
        return _page(tx, request, form)

    if flask.request.form.get("step") == "try" and not asked.by_program():
        return page()
    return answer(form, sign, page, Invalid, OverCapacity)


class AssignForm(FlaskForm):  # type: ignore[misc]
    """Whose it shall be; nobody's means everybody's of the party."""

    generation = HiddenField()
    assignee = SelectField(lazy(N_("承办人")))
    reason = TextAreaField(lazy(N_("理由")), [Length(max=2000)], description=lazy(N_("由他人承办的，改派须写明理由")))


@blueprint.route("/<int:request_id>/assign", methods=["GET", "POST"])
@allow(*PARTIES)
@takes(AssignForm)
def assign(request_id: int) -> str | Response | tuple[str, int]:
    """Take a step on, hand it to a colleague, or give it back to all of the party."""
    tx, form = reading(), AssignForm()
    request = requests.request(tx, request_id)
    step = approvals.step_of(tx, request, actor())
    if step is None:
        raise WrongState("approve.not_now", N_("这份申请现在不由您办理"))
    able = approvals.able(tx, request, step)
    form.assignee.choices = [SelectChoice("", _("不指定")), *(SelectChoice(one.login, one.name) for one in able)]
    if not form.is_submitted():
        form.assignee.data = step.assignee or ""
    return act_on(
        form,
        request.generation,
        lambda writing: approvals.assign(
            writing, request_id, generation(form), form.assignee.data or None, form.reason.data or ""
        ),
        lambda: render_template("decisions/assign.html", one=request, step=step, form=form),
        _("承办人已更改"),
        "decisions.index",
    )


def _fit(form: DecisionForm, step: RequestStep | None) -> None:
    """Leave of the form what the step asks for: a document's number only where it does, of a company its opinion alone."""
    if step is None or not step.record:
        del form.record
    if step is not None and step.advises:
        form.decision.choices = [SelectChoice(Decision.APPROVE.value, _("出具意见"))]
        form.decision.data = form.decision.data or Decision.APPROVE.value


def _page(tx: Tx, request: Request, form: DecisionForm) -> str:
    place = place_in(tx, approvals.to_sign(tx), Request.id, approvals.URGENT, request.id)
    measured = evidence.use(tx, request.department_id, request.pool_id)
    step = approvals.step_of(tx, request, actor())
    fallen = approvals.fallen(tx, request).get(step.id) if step is not None else None
    return render_template(
        "decisions/decide.html",
        one=request,
        form=form,
        me=actor().login,
        kind=KINDS[request.kind],
        why=kind_of(request).why.label,
        entry_page=evidence.entry_page(tx, request),
        what=what,
        step=step,
        fallen=fallen,
        away=step.person if step is not None and fallen is None and step.person != actor().login else None,
        steward=actor().role in SIGNERS,
        advises=step is not None and step.advises,
        taken=[one for one in request.path if one.decision and one.signs],
        lines=[_line(tx, line, step) for line in request.lines],
        replaceable=list(formbook.replaceable(tx, request, step).values()) if step is not None else [],
        **_impact(tx, request),
        measured=measured,
        idle=evidence.idle(tx, measured, request.department_id, request.pool_id, IDLE),
        suggestion=evidence.suggest(kind_of(request), request.takes(approved=True), measured),
        forecasts=outlooks.told(
            tx,
            [
                *([("system", request.system.id, request.system.name)] if request.system else []),
                ("department", request.department_id, request.department.name),
                ("pool", request.pool_id, request.pool.name),
            ],
        ),
        similar=evidence.similar(tx, request) if actor().role in SIGNERS else [],
        fields=[(_(label), _(said)) for label, said in formbook.form_of(tx, request).told(request.fields)],
        history=history(tx, request),
        **dialogues.thread(tx, request.subject),
        before=url_for("decisions.decide", request_id=place.before) if place.before else "",
        after=url_for("decisions.decide", request_id=place.after) if place.at and place.after else "",
        at=place.at,
        of=place.of,
    )


@blueprint.post("/<int:request_id>/impact")
@allow(*SIGNERS)
@unfit("a part of the decision's page; it writes nothing")
def impact(request_id: int) -> str:
    """What deciding as the form stands would do: beside it, while one chooses. Writes nothing."""
    tx = reading()
    request = requests.request(tx, request_id)
    return render_template("decisions/_impact.html", one=request, what=what, **_impact(tx, request))


def _impact(tx: Tx, request: Request) -> dict[str, Any]:
    """The figures beside the decision, as it is chosen on the form: ``rows``, when the pool runs out, what of the form is ``wrong``
    for them, and which decision they are of (none yet: approved as asked for)."""
    rows, wrong = evidence.consequences(tx, request), ""
    chosen = flask.request.form.get("decision", "")
    if chosen == Decision.REJECT:
        rows = evidence.if_decided(rows, {}, {})
    elif chosen == Decision.APPROVE_PART:
        try:
            rows = evidence.if_decided(rows, *_parts(request))
        except Invalid as refused:
            wrong = sentence(refused.message, refused.params)
    return {"rows": rows, "outlook": outlook(tx, request, rows), "wrong": wrong, "chosen": chosen}


def _parts(request: Request) -> tuple[dict[Commodity, int], dict[Commodity, int]]:
    """What the form approves of the request: what it takes, and what it gives. Raises Invalid for what is no whole number."""
    quantities, amounts = _approved(request)
    takes: dict[ClassCode, int] = {}
    gives: dict[ClassCode, int] = {}
    replaced = _replaced(request).shapes
    for line in request.lines:
        shape = {ClassCode(name): figure for name, figure in line.granted_amounts.items()} | amounts.get(line.id, {})
        if line.id in replaced:
            item = catalog.item(reading(), replaced[line.id])
            shape = {ClassCode(name): figure for name, figure in formbook.reshaped(line, item).items()}
        count = quantities.get(line.id, line.granted_quantity)
        for name in {*shape, *map(ClassCode, line.current)}:
            more = (shape.get(name, 0) - line.current.get(name, 0)) * max(count, 0)
            into = takes if more > 0 else gives
            into[name] = into.get(name, 0) + abs(more)
    arch = Arch(request.pool.arch)
    return Amount(takes).of_arch(arch), Amount(gives).of_arch(arch)


def outlook(tx: Tx, request: Request, rows: list[ApprovalEffect]) -> str:
    """When the pool runs out if the request is approved, and if it is not, of the first class (vCPU before others) that
    comes out of its free capacity. What is held counts as promised already. Nothing where it takes no free capacity."""
    holds = [one for one in ledger.pending(tx, request.subject) if one.source == Holder.FREE.value]
    if not holds:
        return ""
    cls = min((one.commodity for one in holds), key=lambda one: CLASSES.place(one.kind))
    held = sum(one.amount for one in holds if one.commodity == cls)
    beyond = sum(row.beyond for row in rows if row.cls == cls)
    line = next((row for row in promises_board.lines(tx, (cls.kind,), request.pool_id) if row.cls == cls), None)
    if line is None:
        return ""
    today = tx.now.astimezone(settings().zone).date()
    without = promises.left_after(line.installed, line.promised, -held)
    left = without - beyond
    if line.trend is None:
        return _(
            "%(pool)s %(kind)s:通过后余 %(left)s;台账不足 %(days)s 天,不推算用尽日期",
            pool=request.pool.name, kind=kind_label(cls.kind), left=amount(left, cls), days=promises.MIN_DAYS,
        )  # fmt: skip
    return _(
        "%(pool)s %(kind)s:通过后余 %(left)s,照近期增速%(then)s用尽;不通过则%(otherwise)s",
        pool=request.pool.name,
        kind=kind_label(cls.kind),
        left=amount(left, cls),
        then=_run_out(promises.runs_out(line.trend, left, today)),
        otherwise=_run_out(promises.runs_out(line.trend, without, today)),
    )


def _run_out(found: RunOut) -> str:
    return _("约 %(on)s", on=found.on) if found.on else _("十年内不会")


def _replaced(request: Request) -> formbook.Replacement:
    """What the form approves otherwise than asked for."""
    sent = flask.request.form
    shapes = {line.id: item for line in request.lines if (item := sent.get(f"shape-{line.id}", 0, row))}
    known = ((name, sent.get(f"replace-{name}", "").strip()) for name in REPLACE_LABELS)
    return formbook.Replacement(shapes, {name: said for name, said in known if said})


def _line(tx: Tx, line: Any, step: RequestStep | None) -> dict[str, Any]:
    """A line with the fields that a part approval may change: pieces of a new order, figures of the rest."""
    says = kind_of(line.request).lines
    wanted = {ClassCode(name): figure for name, figure in line.asked.items()}
    by_piece = says is not None and says.pieces
    return {
        "id": line.id,
        "name": item_name(line.item) if line.item else "",
        "purpose": line.name,
        "said": line_told(line),
        "amounts": wanted,
        "current": {ClassCode(name): figure for name, figure in line.current.items()},
        "quantity": line.quantity,
        "approved": line.granted_quantity,
        "as": item_name(line.granted_item) if line.approved_item_id else "",
        "shapes": formbook.shapes_for(tx, line) if step is not None and formbook.SHAPE in step.replaces else [],
        "by_piece": by_piece,
        "figures": [] if by_piece else [
            (one, CLASSES[one], shown(one, line.granted_amounts.get(one, 0)), shown(one, figure))
            for one, figure in wanted.items()
        ],
    }  # fmt: skip


def _approved(request: Request) -> tuple[dict[int, int], dict[int, dict[ClassCode, int]]]:
    """What the form says is approved, line by line. Raises Invalid naming the place of what is no number."""
    quantities: dict[int, int] = {}
    amounts: dict[int, dict[ClassCode, int]] = {}
    for line in request.lines:
        typed = flask.request.form.get(f"quantity-{line.id}", "").strip()
        if typed:
            quantities[line.id] = _whole(typed)
        for name in line.asked:
            typed = flask.request.form.get(f"amount-{line.id}-{name}", "").strip()
            if typed:
                amounts.setdefault(line.id, {})[ClassCode(name)] = base_units(ClassCode(name), _whole(typed))
    return quantities, amounts


def _whole(typed: str) -> int:
    try:
        return int(typed)
    except ValueError:
        raise Invalid("approve.number", N_("“%(typed)s”不是整数"), typed=typed[:20], field="decision") from None


def _next(tx: Tx, done: int) -> str:
    """The most urgent request that is left, else the queue."""
    rest = approvals.to_sign(tx).where(Request.id != done).order_by(*approvals.URGENT).limit(1)
    one = tx.scalar(rest.with_only_columns(Request.id))
    return url_for("decisions.decide", request_id=one) if one else url_for("decisions.index")


def _suggestions(tx: Tx, rows: Sequence[Request]) -> dict[int, evidence.DecisionSuggestion]:
    """Request id → what the figures speak for; each department is measured once in each pool. For the steward's and the authority's
    eyes alone: other parties are shown nothing of a department's use."""
    if actor().role not in SIGNERS:
        return {}
    uses = evidence.uses(tx, [(one.department_id, one.pool_id) for one in rows])
    return {
        one.id: evidence.suggest(kind_of(one), one.takes(approved=True), uses[one.department_id, one.pool_id])
        for one in rows
    }


@frame.home_block(*PARTIES, order=10)
def waiting(tx: Tx, who: Actor) -> str | None:
    """The queue by deadline; for the authority each with a suggested answer."""
    queue = approvals.to_sign(tx, who).options(*LOADED).order_by(*approvals.URGENT)
    rows, total = frame.shortened(tx, queue, 8)
    if not rows and who.role not in SIGNERS:
        return None
    return render_template(
        "decisions/_home.html", rows=rows, total=total, what=what, kinds=KINDS, suggested=_suggestions(tx, rows)
    )


@frame.home_block(Role.AUTHORITY, order=15)
def _alone(tx: Tx, _actor: Actor) -> str | None:
    """Requests that no supervisor is left for, so that somebody of the authority may take them over."""
    found = tx.scalars(approvals.left_alone().order_by(*approvals.URGENT).limit(10)).all()
    return render_template("requests/_alone.html", rows=found) if found else None
