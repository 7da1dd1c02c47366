"""The inventory: every resource that one may see, and each with its figures, its history and the shape of its use."""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import TextAreaField
from wtforms.validators import InputRequired, Length

from console import frame, links
from console.access import BUSINESS, allow, proven
from console.book import actor, book, reading, transaction
from console.charts import Chart, use_charts
from console.forms import answer, done
from console.lists import Column, Filter, figures_of, listing
from console.programs import listed, takes
from console.words import KINDS, _, amounts, lazy
from metering.campaigns import CLEANUP
from metering.cases import Case, CaseState, exemptions, protections, visible
from metering.intake import feed_readings, feeds, short_deliveries
from metering.judging import CALLS_FOR, Finding, Reason, findings
from providers.observation import write_offs
from providers.orders import migrations
from quota import inventory
from quota.actors import Role
from quota.db import Tx
from quota.errors import N_, Refused
from quota.inventory import Resource, inquiries
from quota.requests import known

blueprint = Blueprint("resources", __name__, url_prefix="/resources")
frame.page("resources", "resources.index", N_("资源台账"), order=10)

STATES = {
    "running": N_("运行中"),
    "stopped": N_("已关机"),
    "recycled": N_("回收站"),
    "error": N_("故障"),
    "deleted": N_("已删除"),
    "building": N_("创建中"),
    "changing": N_("变更中"),
}
FIELDS = {
    "amounts": N_("规格"),
    "state": N_("状态"),
    "cloud_state": N_("云侧状态"),
    "arch": N_("架构"),
    "name": N_("名称"),
    "attached_to": N_("挂载于"),
    "address": N_("地址"),
    "department_code": N_("单位"),
    "owner": N_("使用单位"),
    "system_code": N_("信息系统"),
}
CHART_DAYS = 30


class WriteOffForm(FlaskForm):  # type: ignore[misc]
    document = TextAreaField(
        lazy(N_("核实材料")), [InputRequired(lazy(N_("请写明核销所依据的核实材料"))), Length(max=500)],
        description=lazy(N_("如云服务商的书面答复及其文号")),
    )  # fmt: skip


COLUMNS = [
    Column(
        "name",
        N_("名称"),
        lambda r: r.name or r.external_id,
        sort=Resource.name,
        href=lambda r: url_for("resources.show", resource_id=r.id),
        title=True,
    ),
    Column("kind", N_("类别"), lambda r: _(KINDS[r.kind]), code=lambda r: r.kind, sort=Resource.kind),
    Column("shape", N_("规格"), lambda r: amounts(r.actual())),
    *figures_of(lambda r: r.actual()),
    Column(
        "department",
        N_("使用单位"),
        lambda r: r.department.name if r.department else None,
        href=links.department(lambda r: r.department_id),
    ),
    Column(
        "system",
        N_("信息系统"),
        lambda r: r.system.name if r.system else None,
        href=links.system(lambda r: r.system_id),
    ),
    Column("pool", N_("资源池"), lambda r: r.pool.name, href=links.pool(lambda r: r.pool_id)),
    Column("address", N_("地址"), lambda r: r.address, minor=True),
    Column("state", N_("状态"), lambda r: r.state, sort=Resource.state, state=True),
    Column("external_id", N_("云侧编号"), lambda r: r.external_id, minor=True),
]
FILTERS = [
    Filter(
        "q",
        N_("名称、编号或地址"),
        lambda q, v: q.where(frame.matching(v, Resource.name, Resource.external_id, Resource.address)),
    ),
    Filter("kind", N_("类别"), lambda q, v: q.where(Resource.kind == v), options=KINDS),
    Filter("state", N_("状态"), lambda q, v: q.where(Resource.state == v), options=STATES),
]


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    query = (
        select(Resource)
        .where(inventory.visible(tx, actor()), Resource.gone_at.is_(None))
        .options(joinedload(Resource.department), joinedload(Resource.system), joinedload(Resource.pool))
    )
    found = listing(tx, query, COLUMNS, key=Resource.id, filters=FILTERS, sort="name")
    return found.exported("resources") or render_template("resources/index.html", resources=found)


@blueprint.get("/<int:resource_id>")
@allow(*BUSINESS)
def show(resource_id: int) -> str:
    """One resource. Raises NotFound for one that the visitor may not see."""
    tx = reading()
    one = inventory.resource(tx, resource_id)
    finding = findings.latest(tx, one.id)
    reasons = [Reason(**row).text(_) for row in finding.reasons] if finding else []
    history = [
        {
            "at": change.at,
            "who": change.source,
            "what": _("出现") if change.what == "appeared" else _("变化"),
            "reason": "",
            "changes": [
                (_(FIELDS[name]), _written(name, change.before.get(name)), _written(name, value))
                for name, value in change.after.items()
                if name in FIELDS
            ],
        }
        for change in reversed(inventory.history(tx, one.id))
    ]
    return render_template(
        "resources/show.html",
        one=one,
        kind=KINDS[one.kind],
        finding=finding,
        reasons=reasons,
        history=history,
        charts=_charts(one, book().clock(), finding),
        case=_case(tx, one),
        may_open=finding is not None and finding.is_now() in CALLS_FOR,
        exemption=exemptions.holding(tx, one.id),
        protected=protections.protected(tx, one),
        said=_said(tx, one),
        readings=feed_readings.of_resource(tx, one.id),
        short=short_deliveries.of_resource(tx, one.id),
        short_labels=short_deliveries.LABELS,
        vantages=feeds.VANTAGES,
        lost=one.gone_at is not None and bool(one.booked),
        migrations=migrations.of_resource(tx, one) if actor().role is not Role.PROVIDER else [],
        offered=[kind for kind in known() if kind.invites and kind.offered_for(one.kind, approved=one.is_approved)],
    )


@blueprint.route("/<int:resource_id>/write-off", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@proven
@takes(WriteOffForm)
def write_off(resource_id: int) -> str | Response | tuple[str, int]:
    """Take what its cloud has no more off the book. WrongState where nothing proves that it is gone."""
    tx = reading()
    one = inventory.resource(tx, resource_id)
    shown_by, _since = write_offs.proof(tx, one)
    form = WriteOffForm()

    def act() -> Response:
        with transaction() as writing:
            what = write_offs.write_off(writing, resource_id, form.document.data)
        return done(
            _("已核销，%(what)s回到其单位的配额", what=amounts(what)), "resources.show", resource_id=resource_id
        )

    return answer(
        form, act, lambda: render_template("resources/write_off.html", form=form, one=one, listing=shown_by), Refused
    )


def _said(tx: Tx, resource: Resource) -> str | None:
    """What its department said last when it was asked whether it still needs it."""
    found = [item for item in inquiries.asked_about(tx, [resource.id], CLEANUP.code) if item.answer]
    if not found:
        return None
    last = found[-1]
    return _("；").join(part for part in (_(CLEANUP.labels()[last.answer]), last.reason) if part)


def _case(tx: Tx, resource: Resource) -> Case | None:
    """The open case of a resource, where the visitor may see it."""
    return tx.scalar(
        select(Case).where(Case.resource_id == resource.id, Case.state != CaseState.CLOSED.value, visible(tx, actor()))
    )


def _written(name: str, value: object) -> str | None:
    if name == "amounts" and isinstance(value, dict):
        return str(amounts(value))
    if name == "state" and value in STATES:
        return _(STATES[str(value)])
    return None if value is None else str(value)


def _charts(resource: Resource, now: datetime, finding: Finding | None) -> list[Chart]:
    """How it was used over the last days, with what it was judged by; hours without a live sample are gaps."""
    start = now - timedelta(days=CHART_DAYS)
    return use_charts(resource, start, now, reasons=finding.reasons if finding else [])
