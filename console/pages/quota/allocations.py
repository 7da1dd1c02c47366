"""额度: what each node was given from above or for a time, with its end; extended by who gave it."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, TextAreaField
from wtforms.validators import InputRequired, Length, Optional

from console import frame, links
from console.access import STEWARDS, allow
from console.book import actor, reading, settings, transaction
from console.forms import DateField, answer, done, generation
from console.lists import Column, Filter, listing
from console.programs import listed, takes
from console.words import _, events, kind_label, lazy
from quota import audit
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Department, departments
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState
from quota.ledger import Allocation, AllocationState, allocations, expiry, tree
from quota.units import CLASSES, shown

blueprint = Blueprint("allocations", __name__, url_prefix="/quota/allocations")
frame.page("quota", "allocations.index", N_("额度与有效期"), order=16)

STATES = {
    AllocationState.RUNNING.value: N_("有效"),
    AllocationState.OVERDUE.value: N_("到期仍在用"),
    AllocationState.ENDED.value: N_("已收回"),
}
TERMS = {"good": N_("长期"), "timed": N_("有期限")}

COLUMNS = [
    Column("id", N_("编号"), lambda one: one.id, sort=Allocation.id, title=True, text=lambda value: f"ED-{value:06d}",
           href=lambda one: url_for("allocations.show", allocation_id=one.id)),
    Column("state", N_("状态"), lambda one: f"allocation_{one.state}", sort=Allocation.state, state=True),
    Column("giver", N_("下拨单位"), lambda one: one.giver.name if one.giver else _("全市"), code=lambda one: one.giver_id),
    Column("receiver", N_("单位"), lambda one: one.receiver.name),
    Column("pool", N_("资源池"), lambda one: one.pool.name, href=links.pool(lambda one: one.pool_id)),
    Column("class", N_("资源"), lambda one: kind_label(one.commodity)),
    Column("amount", N_("下拨量"), lambda one: shown(one.commodity.kind, one.amount), number=True),
    Column("outstanding", N_("未收回"), lambda one: shown(one.commodity.kind, one.outstanding), number=True),
    Column("unit", N_("计量单位"), lambda one: _(CLASSES[one.commodity.kind].shown)),
    Column("ends_on", N_("有效期至"), lambda one: one.ends_on, sort=Allocation.ends_on, text=lambda value: str(value) if value else _("长期")),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), lambda q, v: q.where(Allocation.state == v), options=STATES),
    Filter("term", N_("期限"), lambda q, v: q.where(Allocation.ends_on.is_(None) if v == "good" else Allocation.ends_on.is_not(None)), options=TERMS),
    Filter("q", N_("单位名称"), lambda q, v: q.where(Allocation.receiver_id.in_(select(Department.id).where(frame.matching(v, Department.name))))),
]  # fmt: skip


class ExtendForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    ends_on = DateField(lazy(N_("有效期至")), [Optional()], description=lazy(N_("不填为长期")))
    reason = TextAreaField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=500)])


def _visible(tx: Tx, who: Actor) -> ColumnElement[bool]:
    """What the visitor may see: a tenant what its departments gave or were given."""
    if who.role is not Role.TENANT:
        return true()
    own = departments.subtree(tx, who.department_id or 0)
    return or_(Allocation.giver_id.in_(own), Allocation.receiver_id.in_(own))


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    query = (
        select(Allocation)
        .where(_visible(tx, actor()))
        .options(joinedload(Allocation.giver), joinedload(Allocation.receiver), joinedload(Allocation.pool))
    )
    found = listing(tx, query, COLUMNS, key=Allocation.id, filters=FILTERS, sort="-id")
    return found.exported("allocations") or render_template("allocations/index.html", found=found)


def _one(tx: Tx, allocation_id: int) -> Allocation:
    """The allocation; NotFound also for one that the visitor has no part in."""
    found = tx.scalar(select(Allocation).where(Allocation.id == allocation_id, _visible(tx, actor())))
    if found is None:
        raise NotFound("allocation.none", N_("没有编号为 %(id)s 的额度"), id=allocation_id)
    return found


@blueprint.get("/<int:allocation_id>")
@allow(*STEWARDS, Role.TENANT)
def show(allocation_id: int) -> str:
    tx = reading()
    one = _one(tx, allocation_id)
    managed = tree.manages(tx, actor())
    history = events(audit.of(tx, one.subject, 100))
    return render_template(
        "allocations/show.html",
        one=one,
        history=history,
        manages=one.state in allocations.OPEN and (managed is None or one.giver_id in managed),
    )


@blueprint.route("/<int:allocation_id>/extend", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.TENANT)
@takes(ExtendForm)
def extend(allocation_id: int) -> str | Response | tuple[str, int]:
    """Another last day, or none. NotAllowed for who may not share out what lies with its giver."""
    tx = reading()
    one = _one(tx, allocation_id)
    tree.must_manage(tx, one.giver_id)
    form = ExtendForm(generation=str(one.generation), ends_on=one.ends_on)

    def act() -> Response:
        with transaction() as writing:
            expiry.extend(
                writing, allocation_id, form.ends_on.data, generation=generation(form), reason=form.reason.data or ""
            )
        return done(_("已改变有效期"), "allocations.show", allocation_id=allocation_id)

    def page() -> str:
        return render_template("allocations/extend.html", form=form, one=one)

    return answer(form, act, page, Invalid, Conflict, WrongState, NotAllowed)


@frame.home_block(Role.AUTHORITY, Role.TENANT, order=35, side=True)
def ending(tx: Tx, who: Actor) -> str | None:
    """What ends soon, and what ended with part of it in use."""
    today = tx.now.astimezone(settings().zone).date()
    rows = tx.scalars(
        select(Allocation)
        .where(
            _visible(tx, who),
            Allocation.state.in_(allocations.OPEN),
            Allocation.ends_on <= today + timedelta(days=expiry.NOTICE_DAYS),
        )
        .options(joinedload(Allocation.receiver))
        .order_by(Allocation.ends_on, Allocation.id)
        .limit(8)
    ).all()
    return render_template("allocations/_home.html", rows=rows) if rows else None
