"""Disputes over bills: what the steward claims, what the company answers, how it is settled."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal, InvalidOperation
from itertools import islice

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import or_, select, true
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response

from console import frame, links
from console.access import STEWARDS, allow
from console.book import actor, reading, transaction
from console.lists import Column, Filter, listing
from console.pages.statements.reconciliation import BADGES, named, pools, shown_hours, unit_of, written
from console.pages.statements.statements import money
from console.programs import GENERATION, Given, listed, takes
from console.words import _, kind_label
from metering.statements import (
    ANSWER_LABELS,
    LABELS,
    STATE_LABELS,
    Dispute,
    DisputeAnswer,
    DisputeState,
    disputes,
    reconciliation,
    yuan,
)
from quota.actors import Actor, Role
from quota.db import Tx
from quota.errors import N_, Invalid

blueprint = Blueprint("disputes", __name__, url_prefix="/reports/disputes")
frame.page("reports", "disputes.index", N_("账单争议"), order=30)

STATES = {state.value: label for state, label in STATE_LABELS.items()}
VERBS = {
    "claim": N_("主张"), "accept": N_("认可差异"), "contest": N_("不认可"), "settle": N_("裁定"), "lapse": N_("已消除"),
}  # fmt: skip

LISTED = [
    Column("name", N_("资源"), lambda d: d.resource.name or d.external_id if d.resource else d.external_id,
           href=lambda d: url_for("disputes.show", dispute_id=d.id), title=True),
    Column("month", N_("月份"), lambda d: d.month, sort=Dispute.month),
    Column("provider", N_("云服务商"), lambda d: d.provider.name, href=links.provider(lambda d: d.provider_id)),
    Column("kind", N_("类别"), lambda d: kind_label(d.kind), code=lambda d: d.kind),
    Column("cause", N_("差异原因"), lambda d: _(LABELS[d.cause]), code=lambda d: d.cause, sort=Dispute.cause),
    Column("quantity", N_("差异量"), lambda d: shown_hours(d.kind, d.quantity), number=True, text=written, minor=True),
    Column("amount", N_("金额"), lambda d: d.amount, sort=Dispute.fen, unit=N_("元"), number=True, text=money),
    Column("state", N_("状态"), lambda d: BADGES[DisputeState(d.state)], sort=Dispute.state, state=True),
    Column("settled", N_("核减"), lambda d: yuan(d.settled_fen), unit=N_("元"), number=True, text=money, minor=True),
]  # fmt: skip


@blueprint.get("/")
@allow(*STEWARDS, Role.PROVIDER)
@listed(
    LISTED,
    args=("state", "cause", "pool", "q", "provider", links.WATCHED),
)
def index() -> str | Response:
    tx = reading()
    filters = [
        Filter("state", N_("状态"), lambda q, v: q.where(Dispute.state == v), options=STATES),
        Filter("cause", N_("差异原因"), lambda q, v: q.where(Dispute.cause == v),
               options={cause: label for cause, label in LABELS.items() if cause in reconciliation.DISPUTED}),
        Filter("pool", N_("资源池"), lambda q, v: q.where(Dispute.pool_id == int(v)), options=pools(tx)),
        Filter("q", N_("云侧编号"), lambda q, v: q.where(frame.matching(v, Dispute.external_id))),
        *links.watched(tx, Dispute),
    ]  # fmt: skip
    query = (
        select(Dispute)
        .where(disputes.visible(actor()))
        .options(joinedload(Dispute.resource), joinedload(Dispute.provider))
    )
    found = listing(tx, query, LISTED, key=Dispute.id, filters=filters, sort="-amount")
    return found.exported("disputes") or render_template("disputes/index.html", rows=found)


@blueprint.get("/<int:dispute_id>")
@allow(*STEWARDS, Role.PROVIDER)
def show(dispute_id: int) -> str:
    tx = reading()
    one = disputes.dispute(tx, dispute_id)
    history = [
        {
            "at": step.at,
            "who": step.by,
            "what": _(VERBS[step.verb]) + (f" {money(yuan(step.fen))} " + _("元") if step.fen is not None else ""),
            "reason": step.text,
            "changes": [],
        }
        for step in reversed(disputes.steps(tx, one))
    ]
    return render_template(
        "disputes/show.html", one=one, badge=BADGES[DisputeState(one.state)], cause=_(LABELS[one.cause]),
        history=history, links=named(tx, one.refs), step=_step(tx, one, actor()),
        due=disputes.answer_due(tx, one), answers=ANSWER_LABELS,
        quantity=written(shown_hours(one.kind, one.quantity)), unit=unit_of(one.kind), amount=money(one.amount),
        limit=f"{one.amount or 0:.2f}", settled=money(yuan(one.settled_fen)),
        answer=_(ANSWER_LABELS[DisputeAnswer(one.answer)]) if one.answer else None,
    )  # fmt: skip


def _step(tx: Tx, dispute: Dispute, who: Actor) -> str:
    """What ``who`` may do next: claim, answer, settle, or nothing."""
    if dispute.state == DisputeState.OPEN and who.role is Role.SUPERVISOR:
        return "claim"
    if dispute.state == DisputeState.CLAIMED and who.role is Role.PROVIDER:
        return "answer"
    settles = who.role in (Role.AUTHORITY, Role.SUPERVISOR) and who.login != dispute.claimed_by
    return "settle" if settles and disputes.ripe(tx, dispute) else ""


@blueprint.post("/<int:dispute_id>/claim")
@allow(Role.SUPERVISOR)
@takes(None, GENERATION, Given("text", label=N_("说明")))
def claim(dispute_id: int) -> Response:
    with transaction() as tx:
        disputes.claim(tx, dispute_id, generation=_generation(), text=_words())
    flash(_("已向云服务商主张"), "success")
    return redirect(url_for("disputes.show", dispute_id=dispute_id))


@blueprint.post("/<int:dispute_id>/answer")
@allow(Role.PROVIDER)
@takes(
    None,
    GENERATION,
    Given("answer", label=N_("答复"), required=True, values=("accept", "contest")),
    Given("text", label=N_("说明")),
)
def answer(dispute_id: int) -> Response:
    told = request.form.get("answer", "")
    if told not in list(DisputeAnswer):
        raise Invalid("dispute.answer", N_("请选择是否认可"), field="answer")
    with transaction() as tx:
        disputes.answer(tx, dispute_id, DisputeAnswer(told), generation=_generation(), text=_words())
    flash(_("已答复"), "success")
    return redirect(url_for("disputes.show", dispute_id=dispute_id))


@blueprint.post("/<int:dispute_id>/settle")
@allow(Role.AUTHORITY, Role.SUPERVISOR)
@takes(None, GENERATION, Given("amount", label=N_("核减金额(元)"), required=True), Given("text", label=N_("说明")))
def settle(dispute_id: int) -> Response:
    try:
        fen = int((Decimal(request.form.get("amount", "").strip() or "x") * 100).to_integral_exact())
    except (InvalidOperation, ValueError, OverflowError):
        raise Invalid("dispute.amount.text", N_("裁定金额不是数"), field="amount") from None
    with transaction() as tx:
        disputes.settle(tx, dispute_id, generation=_generation(), fen=fen, text=_words())
    flash(_("争议已了结"), "success")
    return redirect(url_for("disputes.show", dispute_id=dispute_id))


def _generation() -> int:
    told = request.form.get("generation", "")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 10 else 0


def _words() -> str:
    return request.form.get("text", "")[:2000]


@frame.home_block(Role.PROVIDER, Role.AUTHORITY, Role.SUPERVISOR, order=60)
def _waiting(tx: Tx, who: Actor) -> str | None:
    """Disputes whose turn it is: the company's to answer, the authority's or a supervisor's, who did not claim them, to settle."""
    wanted = DisputeState.CLAIMED if who.role is Role.PROVIDER else DisputeState.ANSWERED
    theirs = true() if who.role is Role.PROVIDER else Dispute.claimed_by != who.login
    open_ = tx.scalars(
        select(Dispute)
        .where(
            disputes.visible(who),
            theirs,
            or_(
                Dispute.state == wanted.value,
                (Dispute.state == DisputeState.CLAIMED.value)
                & (Dispute.claimed_at < tx.now - timedelta(days=disputes.ANSWER_DAYS)),
            ),
        )
        .order_by(Dispute.claimed_at, Dispute.id)
    )
    rows = list(islice((one for one in open_ if one.state == wanted or disputes.ripe(tx, one)), 10))
    if not rows:
        return None
    told = [(one, _(LABELS[one.cause]), money(one.amount)) for one in rows]
    return render_template("disputes/_waiting.html", rows=told, state=wanted.value)
