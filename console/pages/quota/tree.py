"""配额树: each node of the tree with what it was given, what it gave on, and what it keeps; drawn storey by storey."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request, url_for
from sqlalchemy import func, select
from sqlalchemy.sql.elements import ColumnElement
from werkzeug.wrappers import Response

from console import frame, links
from console.access import STEWARDS, allow
from console.book import actor, reading
from console.lists import Column, Filter, PagedList, Rows, listing
from console.pages.quota.quota import ARCHS, accounts_by_wallet, class_of, mine_or_any
from console.programs import listed
from console.words import CLASS_LABELS, _, amount, kind_label
from quota.actors import Role
from quota.db import Tx
from quota.directory import Department, Pool, System, departments
from quota.errors import N_
from quota.ledger import Allocation, allocations, shares, tree
from quota.units import CLASSES, VCPU, ClassCode, shown

blueprint = Blueprint("tree", __name__, url_prefix="/quota/tree")
frame.page("quota", "tree.index", N_("配额树"), order=15)

DEPTHS = {"next": N_("下一级"), "all": N_("全部下级")}
FIGURES = {
    "given": N_("上级下拨"),
    "shared": N_("已下拨"),
    "quota": N_("本级留用"),
    "used": N_("在用"),
    "held": N_("预占"),
    "granted": N_("未用"),
}
"""Column of a node's row → what it is called. What it was given and what it gave on, then what it keeps, and of that what is
used, held, free."""


def _outstanding(whose: Any) -> Any:
    """What is out of allocations, by the department that is ``whose``, pool and class."""
    return (
        select(
            whose.label("node"),
            Allocation.pool_id,
            Allocation.kind,
            Allocation.arch,
            func.sum(Allocation.amount - Allocation.returned).label("n"),
        )
        .where(Allocation.state.in_(allocations.OPEN), Allocation.giver_id.is_not(None))
        .group_by(whose, Allocation.pool_id, Allocation.kind, Allocation.arch)
        .subquery()
    )


def _nodes(where: ColumnElement[bool]) -> tuple[Rows, Any, dict[str, Any]]:
    """The nodes that are ``where``, a row for each pool and class; their key, and column → what it is in the query."""
    held, given, shared = accounts_by_wallet(), _outstanding(Allocation.receiver_id), _outstanding(Allocation.giver_id)

    def same(other: Any) -> Any:
        return (
            (other.c.node == held.c.department_id)
            & (other.c.pool_id == held.c.pool_id)
            & (other.c.kind == held.c.kind)
            & (other.c.arch == held.c.arch)
        )

    figures = {
        "given": func.coalesce(given.c.n, 0),
        "shared": func.coalesce(shared.c.n, 0),
        **{name: held.c[name] for name in ("quota", "used", "held")},
        "granted": held.c.granted + held.c.shared,
    }
    query = (
        select(
            held.c.id,
            held.c.department_id,
            held.c.pool_id,
            held.c.kind,
            held.c.arch,
            Department.name.label("department"),
            Pool.name.label("pool"),
            *(what.label(name) for name, what in figures.items()),
        )
        .join(Department, Department.id == held.c.department_id)
        .join(Pool, Pool.id == held.c.pool_id)
        .outerjoin(given, same(given))
        .outerjoin(shared, same(shared))
        .where(where, (figures["quota"] > 0) | (figures["shared"] > 0))
    )
    return query, held, figures


def _column(name: str, what: Any, kind: str) -> Column:
    known = CLASSES[ClassCode(kind)] if kind in CLASS_LABELS else None
    return Column(
        name,
        FIGURES[name],
        lambda row: shown(ClassCode(row.kind), int(getattr(row, name))),
        sort=what,
        number=True,
        unit=known.shown if known else "",
        total=func.sum(what) * 1.0 / known.factor if known else None,
    )


def _listing(tx: Tx, top: Department | None, values: Any) -> PagedList:
    """The nodes below ``top``, or those that the visitor's tree begins with."""
    if top is not None:
        below: ColumnElement[bool] = Department.parent_id == top.id
        if values.get("depth") == "all":
            below = Department.id.in_(departments.subtree(tx, top.id) - {top.id})
    elif actor().role is Role.TENANT:
        below = Department.id == actor().department_id
    else:
        below = Department.parent_id.is_(None)
        if values.get("depth") == "all":
            below = Department.id.is_not(None)
    query, held, figures = _nodes(below)
    kind = values.get("kind", VCPU)
    columns = [
        Column("department", N_("单位"), lambda row: row.department, sort=Department.name, title=True,
               href=lambda row: url_for("tree.show", department_id=row.department_id)),
        Column("pool", N_("资源池"), lambda row: row.pool, sort=Pool.name, href=links.pool(lambda row: row.pool_id)),
        Column("class", N_("资源"), lambda row: kind_label(class_of(row))),
        *(_column(name, what, kind) for name, what in figures.items()),
    ]  # fmt: skip
    pools = {str(one.id): one.name for one in tx.scalars(select(Pool).order_by(Pool.id))}
    filters = [
        Filter("depth", N_("层级"), lambda q, _v: q, options=DEPTHS, default="next"),
        Filter("kind", N_("资源"), lambda q, v: q.where(held.c.kind == v), options=CLASS_LABELS, default=VCPU),
        Filter("pool", N_("资源池"), lambda q, v: q.where(held.c.pool_id == int(v)), options=pools),
        Filter("arch", N_("架构"), lambda q, v: q.where(held.c.arch == v), options=ARCHS),
        Filter("q", N_("单位名称"), lambda q, v: q.where(frame.matching(v, Department.name))),
    ]
    return listing(tx, query, columns, key=held.c.id, filters=filters, sort="department")


ARGS = ("depth", "kind", "pool", "arch", "q")


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed((), args=ARGS, open=True)
def index() -> str | Response:
    """Where the visitor's tree begins: the city's districts and departments, or the own department."""
    tx = reading()
    found = _listing(tx, None, request.args)
    return found.exported("tree") or render_template(
        "tree/index.html", nodes=found, proof=next(tree.check(tx), None) is None
    )


@blueprint.get("/<int:department_id>")
@allow(*STEWARDS, Role.TENANT)
@listed((), args=ARGS, open=True, at="nodes")
def show(department_id: int) -> str | Response:
    """One node: what it has in each wallet, and those below it. NotFound for one that is not below the tenant's own."""
    tx = reading()
    one = mine_or_any(tx, department_id)
    found = _listing(tx, one, request.args)
    if exported := found.exported(f"tree-{one.code}"):
        return exported
    own, _held, _figures = _nodes(Department.id == one.id)
    managed = tree.manages(tx, actor())
    return render_template(
        "tree/show.html",
        one=one,
        trail=_trail(tx, one),
        wallets=[
            [row.pool, kind_label(class_of(row)), *(amount(int(getattr(row, name)), class_of(row)) for name in FIGURES)]
            for row in tx.execute(own.order_by(Pool.id, "kind", "arch"))
        ],
        heads=[(_("资源池"), False), (_("资源"), False), *((_(label), True) for label in FIGURES.values())],
        nodes=found,
        below=tx.scalar(select(func.count()).where(Department.parent_id == one.id, Department.active)) or 0,
        shares=shares.some(tx, one.id),
        systems=tx.scalar(select(System.id).where(System.department_id == one.id, System.active).limit(1)),
        manages=managed is None or one.id in managed,
    )  # fmt: skip


def _trail(tx: Tx, department: Department) -> list[tuple[str, str]]:
    """The nodes above that the visitor may open, from the top."""
    who = actor()
    seen = departments.subtree(tx, who.department_id or 0) if who.role is Role.TENANT else None
    found: list[tuple[str, str]] = []
    above = department.parent
    while above is not None and (seen is None or above.id in seen):
        found.insert(0, (above.name, url_for("tree.show", department_id=above.id)))
        above = above.parent
    return found
