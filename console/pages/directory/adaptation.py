"""信创与 IPv6: by department how far its systems are moved to domestic chips, reached by IPv6, and classed; by pool, IPv6."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from flask import Blueprint, render_template, url_for
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response

from console import frame
from console.access import STEWARDS, allow
from console.book import actor, book, reading, settings
from console.lists import Column, Filter, listing
from console.programs import listed
from console.words import _, percent
from quota.actors import Role
from quota.db import Tx
from quota.directory import Department, Pool, departments
from quota.errors import N_
from quota.inventory import readiness

blueprint = Blueprint("adaptation", __name__, url_prefix="/adaptation")
frame.page("resources", "adaptation.index", N_("信创与 IPv6"), order=25)

FIGURES = (
    ("systems", N_("信息系统")), ("present", N_("有主机的")), ("moved", N_("已迁信创")), ("partly", N_("部分迁移")),
    ("overdue", N_("过计划日")), ("unplanned", N_("无计划日")), ("reached", N_("全部有 IPv6")),
    ("protected", N_("重要及核心数据")), ("unclassed", N_("数据未定级")),
)  # fmt: skip


def _share(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(
    (),
    args=("q",),
    open=True,
)
def index() -> str | Response:
    tx, who = reading(), actor()
    found_of = readiness.by_department(book().clock().astimezone(settings().zone).date())
    columns = [
        Column("name", N_("使用单位"), lambda r: r.Department.name, sort=Department.name, title=True,
               href=lambda r: url_for("systems.index", department=r.Department.id)),
        *(
            Column(name, label, attrgetter(name), sort=found_of.c[name], total=func.sum(found_of.c[name]), number=True)
            for name, label in FIGURES
        ),
        Column("done", N_("信创完成率"), lambda r: _share(r.moved, r.present), unit="%", number=True),
        Column("ipv6", N_("IPv6 占已知地址的主机"), lambda r: _share(r.ipv6, r.addressed), unit="%", number=True),
    ]  # fmt: skip
    query = select(Department, *(one for one in found_of.c if one.name != "department_id")).join(
        found_of, found_of.c.department_id == Department.id
    )
    if who.role is Role.TENANT:
        query = query.where(Department.id.in_(departments.subtree(tx, who.department_id or 0)))
    filters = [Filter("q", N_("名称或编码"), lambda q, v: q.where(frame.matching(v, Department.name, Department.code)))]
    found = listing(tx, query, columns, key=Department.id, filters=filters, sort="-systems")
    return found.exported("adaptation") or render_template(
        "adaptation/index.html", found=found, pools=_pools(tx) if who.role is not Role.TENANT else []
    )


def _pools(tx: Tx) -> list[list[Any]]:
    rows = tx.execute(readiness.by_pool().order_by(Pool.code).options(joinedload(Pool.provider)))
    return [
        [one.Pool.name, one.Pool.provider.name, _("是") if one.Pool.xinchuang else _("否"), one.machines, one.addressed, one.ipv6,
         percent(_share(one.ipv6, one.addressed))]
        for one in rows
    ]  # fmt: skip
