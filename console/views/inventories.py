"""Inventories: listings of pools as they came in, files taken in by hand, and where book and cloud differ."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from flask_wtf.file import FileField, FileRequired
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import SelectField
from wtforms.validators import InputRequired

from console import frame, links, uploads
from console.access import STEWARDS, allow
from console.book import actor, book, reading, settings
from console.forms import DateTimeLocalField, hang
from console.lists import Column, Filter, Rows, listing
from console.texts import _, amounts, lazy
from metering import imports
from providers import inventory
from providers.base import ResourceState
from providers.inventory import Listing, Resource
from quota.actors import Role
from quota.db import Tx
from quota.errors import N_
from quota.pools import Pool

blueprint = Blueprint("inventories", __name__, url_prefix="/inventories")
frame.page("providers", "inventories.drift", N_("台账差异"), order=80)
frame.page("providers", "inventories.index", N_("清单"), order=85)

READERS = (*STEWARDS, Role.PROVIDER)
DIFFERENCES = {
    "unapproved": N_("无审批依据"), "reshaped": N_("规格与账面不符"), "gone": N_("账面有、云上无"), "ownerless": N_("无使用单位"),
}  # fmt: skip


def difference(one: Resource) -> list[str]:
    """How a resource differs from the book; words of DIFFERENCES."""
    found = []
    if one.gone_at is not None:
        return ["gone"] if one.booked else []
    if not one.basis:
        found.append("unapproved")
    elif one.booked and dict(one.counts()) != {kind: figure for kind, figure in one.has().items() if figure}:
        found.append("reshaped")
    if one.department_id is None:
        found.append("ownerless")
    return found


def _different(tx: Tx, wanted: str = "") -> list[int]:
    """Ids of visible resources that differ (as ``wanted``)."""
    rows = tx.scalars(
        select(Resource).where(inventory.visible(tx, tx.actor), Resource.state != ResourceState.DELETED.value)
    )
    return [one.id for one in rows if (found := difference(one)) and (not wanted or wanted in found)]


def _kind(query: Rows, value: str) -> Rows:
    return query.where(Resource.id.in_(_different(reading(), value)))


DRIFT = [
    Column("name", N_("资源"), lambda r: r.name or r.external_id, sort=Resource.name,
           href=lambda r: url_for("resources.show", resource_id=r.id), title=True),
    Column("what", N_("差异"), lambda r: _("、").join(_(DIFFERENCES[one]) for one in difference(r))),
    Column("pool", N_("资源池"), lambda r: r.pool.name, href=links.pool(lambda r: r.pool_id)),
    Column("department", N_("使用单位"), lambda r: r.department.name if r.department else None, href=links.department(lambda r: r.department_id)),
    Column("booked", N_("账面"), lambda r: amounts(r.counts()) if r.booked else None),
    Column("has", N_("云上"), lambda r: amounts(r.has()) if r.gone_at is None else None),
    Column("seen", N_("最近见到"), lambda r: r.last_seen_at, sort=Resource.last_seen_at),
    Column("gone", N_("消失于"), lambda r: r.gone_at, sort=Resource.gone_at, minor=True),
]  # fmt: skip
DRIFT_FILTERS = [
    Filter("what", N_("差异"), _kind, options=DIFFERENCES),
    Filter("q", N_("名称或编号"), lambda q, v: q.where(
        frame.matching(v, Resource.name, Resource.external_id))),
]  # fmt: skip
LISTINGS = [
    Column("as_of", N_("时点"), lambda i: i.as_of, sort=Listing.as_of, title=True),
    Column("pool", N_("资源池"), lambda i: _pools()[i.pool_id]),
    Column("taken", N_("入库"), lambda i: i.taken_at, sort=Listing.taken_at),
    Column("complete", N_("完整"), lambda i: i.complete),
    Column("resources", N_("资源数"), lambda i: i.resources, sort=Listing.resources, number=True),
    *(
        Column(name, label, lambda i, name=name: i.drift.get(name), number=True)  # type: ignore[misc]
        for name, label in (("new", N_("新增")), ("changed", N_("变化")), ("gone", N_("消失")), ("returned", N_("重现")),
                            ("reshaped", N_("规格不符")), ("misowned", N_("归属不符")))
    ),
]  # fmt: skip


def _pools() -> dict[int, str]:
    if "pool_names" not in g:
        g.pool_names = {one.id: one.name for one in reading().scalars(select(Pool))}
    names: dict[int, str] = g.pool_names
    return names


class FileForm(FlaskForm):  # type: ignore[misc]
    pool = SelectField(lazy("资源池"), coerce=int, choices=[])
    as_of = DateTimeLocalField(
        lazy("清单时点"), validators=[InputRequired(lazy("请填写清单时点"))],
        description=lazy("清单是什么时候导出的；同一时点再次导入不改变任何内容"),
    )  # fmt: skip
    file = FileField(
        lazy("清单文件"), validators=[FileRequired(lazy("请选择文件"))],
        description=lazy("CSV、xlsx、xls、Parquet 或 JSON；至少有资源编号、类型和规格。合计行不读入"),
    )  # fmt: skip


@blueprint.get("/")
@allow(*READERS)
def index() -> str | Response:
    tx = reading()
    query = select(Listing)
    if tx.actor.role is Role.PROVIDER:
        query = query.where(Listing.pool_id.in_(select(Pool.id).where(Pool.provider_id == tx.actor.provider_id)))
    found = listing(tx, query, LISTINGS, key=Listing.id, sort="-as_of")
    return found.exported("inventories") or render_template("inventories/index.html", listings=found)


@blueprint.get("/drift")
@allow(*READERS)
def drift() -> str | Response:
    """Where book and cloud differ, each kept as it was seen: nothing here is put right by itself."""
    tx = reading()
    query = (
        select(Resource)
        .where(inventory.visible(tx, tx.actor), Resource.id.in_(_different(tx)))
        .options(joinedload(Resource.pool), joinedload(Resource.department))
    )
    found = listing(tx, query, DRIFT, key=Resource.id, filters=DRIFT_FILTERS, sort="name")
    exported = found.exported("drift")
    if exported:
        return exported
    latest = [(pool, inventory.last_listing(tx, pool.id)) for pool in tx.scalars(select(Pool).order_by(Pool.name))]
    return render_template("inventories/drift.html", rows=found, latest=latest)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
def upload() -> str | Response | tuple[str, int]:
    """An inventory file of a pool: what was taken, what was refused and why, and what it changed."""
    tx = reading()
    now = tx.now.astimezone(settings().zone).replace(tzinfo=None, second=0, microsecond=0)
    form = FileForm(as_of=now)
    pools = tx.scalars(select(Pool).order_by(Pool.name)).all()
    form.pool.choices = [(one.id, one.name) for one in pools]
    report: dict[str, Any] | None = None
    found = None
    if form.validate_on_submit():
        pool = next(one for one in pools if one.id == form.pool.data)
        when: datetime = form.as_of.data.replace(tzinfo=settings().zone)
        with uploads.held(form.file.data) as path:
            found = imports.import_inventory(book(), pool, path, as_of=when, actor=actor())
        report = uploads.told(found.report.files[0]) if found.report.files else None
        if found.error is not None:
            hang(form, found.error)
        elif found.whole:
            flash(_("清单与上次相同，没有变化") if found.again else _("清单已入库"), "success")
            for note in uploads.notes(found.report.files[0]):
                flash(note, "info")
            return redirect(url_for("inventories.index"))
    bad = request.method == "POST" and (found is None or found.error is not None)
    summary = found.drift.summary() if found is not None and found.drift is not None else None
    return render_template("inventories/upload.html", form=form, report=report, summary=summary), 422 if bad else 200
