"""Where a pool's cloud lets departments have other quotas than the book gave them: evidence, age, and the next step of each."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4

from flask import Blueprint, g, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import HiddenField, TextAreaField
from wtforms.validators import InputRequired, Length

from console import frame, links
from console.access import STEWARDS, allow
from console.book import actor, reading, transaction
from console.forms import answer, done
from console.lists import Column, Filter, listing
from console.programs import listed, takes
from console.words import _, amount, lazy, sentence
from providers.observation import cloud_figures, quota_drifts
from providers.orders import quota_orders
from quota.actors import Role
from quota.db import Tx
from quota.directory import Department, Pool, departments, pools
from quota.errors import N_, Invalid, Refused
from quota.inventory import CloudProject
from quota.units import CLASSES, Arch, ClassCode, Commodity

blueprint = Blueprint("quota_drifts", __name__, url_prefix="/pools/<int:pool_id>/quota-drift")
frame.under("pools.index", "quota_drifts")


def _figure(drift: quota_drifts.QuotaDrift, figure: int | None) -> str:
    return _limit(ClassCode(drift.kind), figure)


def _book(drift: quota_drifts.QuotaDrift) -> str:
    said = _figure(drift, drift.book)
    return _("%(book)s（另预占 %(held)s）", book=said, held=_figure(drift, drift.held)) if drift.held else said


def _whose(drift: quota_drifts.QuotaDrift) -> str:
    found: str = g.drift_names.get(drift.subject, drift.subject)
    return found


def _set_href(drift: quota_drifts.QuotaDrift) -> str | None:
    """Where it is set: of a department's, for who may."""
    what, _colon, id_ = drift.subject.partition(":")
    if what != "department" or drift.drift not in quota_drifts.SET_BY_ORDER or actor().role is not Role.SUPERVISOR:
        return None
    return url_for("quota_drifts.set_quota", pool_id=drift.pool_id, department_id=int(id_))


def _href(drift: quota_drifts.QuotaDrift) -> str | None:
    if drift.subject.startswith("project:"):
        return url_for("cloud_projects.index", pool_id=drift.pool_id)
    return None


COLUMNS = [
    Column("whose", N_("使用单位或云侧项目"), _whose, title=True, href=_href),
    Column("kind", N_("类别"), lambda d: _(CLASSES[ClassCode(d.kind)].label)),
    Column(
        "drift",
        N_("差异"),
        lambda d: _(quota_drifts.LABELS[quota_drifts.QuotaDriftKind(d.drift)]),
        code=lambda d: d.drift,
    ),
    Column("book", N_("账面"), _book, number=True),
    Column(
        "meant",
        N_("账面所在资源池"),
        lambda d: g.drift_pools.get(d.meant_pool_id),
        href=links.pool(lambda d: d.meant_pool_id),
    ),
    Column("most", N_("云上配额"), lambda d: _figure(d, d.most), number=True),
    Column("used", N_("云上用量"), lambda d: _figure(d, d.used), number=True),
    Column("since", N_("发现于"), lambda d: d.since, sort=quota_drifts.QuotaDrift.since),
    Column(
        "next",
        N_("下一步"),
        lambda d: _(quota_drifts.NEXT_STEPS[quota_drifts.QuotaDriftKind(d.drift)]),
        code=lambda d: d.drift,
        href=_set_href,
    ),
]
FILTERS = [
    Filter("drift", N_("差异"), lambda q, v: q.where(quota_drifts.QuotaDrift.drift == v),
           options={one.value: label for one, label in quota_drifts.LABELS.items()}),
]  # fmt: skip


@blueprint.get("")
@allow(*STEWARDS)
@listed(COLUMNS, FILTERS)
def index(pool_id: int) -> str | Response:
    """What stands, the oldest first."""
    tx = reading()
    pool = pools.pool(tx, pool_id)
    query = select(quota_drifts.QuotaDrift).where(quota_drifts.QuotaDrift.pool_id == pool.id)
    found = listing(tx, query, COLUMNS, key=quota_drifts.QuotaDrift.id, filters=FILTERS, sort="since")
    g.drift_names = _names(tx, found.rows)
    g.drift_pools = _pools_meant(tx, found.rows)
    book = cloud_figures.reading(tx, pool.id, cloud_figures.CloudBook.QUOTAS)
    return found.exported("quota_drifts") or render_template(
        "quota_drifts/index.html", pool=pool, rows=found, book=book, beside=quota_drifts.of_same_cloud(tx, pool.id)
    )


class SetForm(FlaskForm):  # type: ignore[misc]
    key = HiddenField()
    reason = TextAreaField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=500)])


@blueprint.route("/<int:department_id>/set", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(SetForm)
def set_quota(pool_id: int, department_id: int) -> str | Response | tuple[str, int]:
    """An order sets the department's quota in the cloud to what the book gave it: shown class by class before it is placed."""
    tx = reading()
    pool = pools.pool(tx, pool_id)
    department = departments.department(tx, department_id)
    form = SetForm(data={"key": uuid4().hex})
    plan: quota_orders.QuotaPlan | None = None
    refusal = ""
    try:
        plan = quota_orders.planned(tx, pool, department_id)
    except Invalid as refused:
        refusal = sentence(refused.message, refused.params)

    def act() -> Response:
        with transaction() as writing:
            made = quota_orders.order(
                writing, writing.get_one(Pool, pool.id), department_id, form.reason.data or "",
                key=f"quota:{(form.key.data or '')[:64]}",
            )  # fmt: skip
        return done(_("已派工单 %(number)s", number=made.number), "orders.show", order_id=made.id)

    def page() -> str:
        rows = [
            [_(CLASSES[kind].label), _limit(kind, plan.now.get(kind)), _limit(kind, most)]
            for kind, most in plan.changes.items()
        ] if plan is not None else []  # fmt: skip
        return render_template(
            "quota_drifts/set.html", form=form, pool=pool, department=department, plan=plan, rows=rows, refusal=refusal
        )

    return answer(form, act, page, Refused)


def _limit(kind: ClassCode, figure: int | None) -> str:
    return _("不限") if figure is None else amount(figure, Commodity(kind, Arch.ANY))


def _pools_meant(tx: Tx, rows: Iterable[quota_drifts.QuotaDrift]) -> dict[int, str]:
    """Id → name of the pools in which the book gave what these rows tell of."""
    ids = {one.meant_pool_id for one in rows if one.meant_pool_id is not None}
    found: dict[int, str] = dict(tx.execute(select(Pool.id, Pool.name).where(Pool.id.in_(ids))).all()) if ids else {}
    return found


def _names(tx: Tx, rows: Iterable[quota_drifts.QuotaDrift]) -> dict[str, str]:
    """What the subjects of these rows are called."""
    ids: dict[str, list[int]] = {"department": [], "project": []}
    for one in rows:
        what, _colon, id_ = one.subject.partition(":")
        ids[what].append(int(id_))
    departments = tx.execute(select(Department.id, Department.name).where(Department.id.in_(ids["department"])))
    projects = tx.scalars(select(CloudProject).where(CloudProject.id.in_(ids["project"])))
    return {
        **{f"department:{id_}": name for id_, name in departments},
        **{f"project:{one.id}": one.called for one in projects},
    }
