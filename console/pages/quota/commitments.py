"""远期承诺: what was promised for a day to come, in the order of its queue; called off by its department or the authority."""

from __future__ import annotations

from flask import Blueprint, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response

from console import frame, links
from console.access import STEWARDS, allow
from console.book import actor, reading, transaction
from console.forms import done, sent_back
from console.lists import Column, Filter, Rows, listing
from console.programs import GENERATION, Given, listed, takes
from console.security import row_or
from console.words import _, amounts, events
from quota import audit
from quota.actors import Role
from quota.directory import Department, Pool
from quota.errors import N_, Invalid
from quota.ledger import Commitment, CommitmentState, commitments
from quota.requests import notices

blueprint = Blueprint("commitments", __name__, url_prefix="/quota/commitments")
frame.page("quota", "commitments.index", N_("远期承诺"), order=21)

OPEN = "open"
STATES = {
    OPEN: N_("未办结"),
    CommitmentState.WAITING.value: N_("排队"),
    CommitmentState.CONFIRMED.value: N_("已落实"),
    CommitmentState.GIVEN.value: N_("已转为配额"),
    CommitmentState.CANCELLED.value: N_("已取消"),
}


def _state(query: Rows, value: str) -> Rows:
    return query.where(Commitment.state.in_(commitments.OPEN) if value == OPEN else Commitment.state == value)


COLUMNS = [
    Column("number", N_("申请"), lambda one: one.called, title=True,
           href=lambda one: url_for("commitments.show", commitment_id=one.id)),
    Column("state", N_("状态"), lambda one: f"commitment_{one.state}", sort=Commitment.state, state=True),
    Column("department", N_("使用单位"), lambda one: one.department.name, href=links.department(lambda one: one.department_id)),
    Column("pool", N_("资源池"), lambda one: one.pool.name, href=links.pool(lambda one: one.pool_id)),
    Column("amounts", N_("数量"), lambda one: amounts(one.takes()), code=lambda one: one.amounts),
    Column("wanted", N_("需要日期"), lambda one: one.wanted_on, sort=Commitment.wanted_on),
    Column("entered", N_("批准时间"), lambda one: one.entered_at, sort=Commitment.entered_at),
    Column("confirmed", N_("落实时间"), lambda one: one.confirmed_at, minor=True),
    Column("late", N_("逾期未落实"), lambda one: one.late_at, minor=True),
    Column("passed_over", N_("暂停预留"), lambda one: one.passed_over_at, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), _state, options=STATES, default=OPEN),
    Filter("q", N_("单位、资源池或申请编号"), lambda q, v: q.where(
        frame.matching(v, Commitment.called) | Commitment.department.has(frame.matching(v, Department.name))
        | Commitment.pool.has(frame.matching(v, Pool.name)))),
]  # fmt: skip


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    loaded = joinedload(Commitment.department), joinedload(Commitment.pool)
    query = select(Commitment).where(commitments.visible(tx, actor())).options(*loaded)
    found = listing(tx, query, COLUMNS, key=Commitment.id, filters=FILTERS, sort="wanted")
    return found.exported("commitments") or render_template("commitments/index.html", found=found)


@blueprint.get("/<int:commitment_id>")
@allow(*STEWARDS, Role.TENANT)
def show(commitment_id: int) -> str:
    tx = reading()
    one = commitments.commitment(tx, commitment_id)
    return render_template(
        "commitments/show.html",
        one=one,
        behind=links.address(one.basis),
        ahead=commitments.ahead(tx, one),
        may_cancel=commitments.may_cancel(tx, one),
        may_pass=actor().role is Role.AUTHORITY and one.state == CommitmentState.WAITING,
        history=events(audit.of(tx, one.subject, 100)),
    )


@blueprint.post("/<int:commitment_id>/pass")
@allow(Role.AUTHORITY)
@takes(
    None,
    GENERATION,
    Given("reason", label=N_("理由"), longest=500, required=True),
    Given("over", int, N_("1 暂停预留，0 恢复预留")),
)
def pass_over(commitment_id: int) -> Response:
    """Others may take what is free before it, or no longer."""
    over = request.form.get("over", "1") != "0"
    try:
        with transaction() as tx:
            seen, reason = request.form.get("generation"), request.form.get("reason", "")[:500]
            notices.pass_over(tx, commitment_id, generation=row_or(seen, 0), reason=reason, over=over)
    except Invalid as refused:
        return sent_back(refused, "commitments.show", commitment_id=commitment_id)
    said = _("已暂停为这项远期承诺预留容量") if over else _("已恢复为这项远期承诺预留容量")
    return done(said, "commitments.show", commitment_id=commitment_id)


@blueprint.post("/<int:commitment_id>/cancel")
@allow(Role.TENANT, Role.AUTHORITY)
@takes(None, GENERATION, Given("reason", label=N_("理由"), longest=500, required=True))
def cancel(commitment_id: int) -> Response:
    """It is wanted, or promised, no more."""
    try:
        with transaction() as tx:
            seen, reason = request.form.get("generation"), request.form.get("reason", "")[:500]
            notices.call_off(tx, commitment_id, generation=row_or(seen, 0), reason=reason)
    except Invalid as refused:
        return sent_back(refused, "commitments.show", commitment_id=commitment_id)
    return done(_("远期承诺已取消，占用的容量已释放"), "commitments.show", commitment_id=commitment_id)
