"""Departments judged from the machines of their own and of those under them."""

from __future__ import annotations

from collections import Counter

from flask import Blueprint, render_template, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from console import frame
from console.access import STEWARDS, allow
from console.book import reading
from console.lists import Column, Filter, listing
from console.pages.judging.judged_systems import by_use
from console.pages.judging.judged_systems import judged as judged_columns
from console.programs import listed
from metering.judging import findings
from metering.overview import systems
from quota.db import among
from quota.directory import Department
from quota.errors import N_

blueprint = Blueprint("judged_departments", __name__, url_prefix="/findings/departments")
frame.page("cases", "judged_departments.index", N_("单位评估"), order=26)


@blueprint.get("/")
@allow(*STEWARDS)
@listed(
    (),
    args=("q", "use"),
    open=True,
)
def index() -> str | Response:
    tx = reading()
    run = findings.last_run(tx)
    told = {department.id: one for department, one in systems.departments(tx, run)}
    columns = [
        Column("name", N_("使用单位"), lambda d: d.name, sort=Department.name, title=True,
               href=lambda d: url_for("departments.show", department_id=d.id)),
        Column("code", N_("编码"), lambda d: d.code, sort=Department.code, minor=True),
        *judged_columns(Department.id, told),
    ]  # fmt: skip
    filters = [
        Filter("q", N_("名称或编码"), lambda q, v: q.where(frame.matching(v, Department.name, Department.code))),
        by_use(Department.id, told),
    ]  # fmt: skip
    query = select(Department).where(among(Department.id, told))
    found = listing(tx, query, columns, key=Department.id, filters=filters, sort="-cores")
    return found.exported("judged-departments") or render_template(
        "judged_departments/index.html",
        found=found,
        uses=Counter(one.use.value for one in told.values()),
        run=run,
    )
