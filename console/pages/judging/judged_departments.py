"""Departments judged from the machines of their own and of those under them."""

from __future__ import annotations

from flask import Blueprint, render_template, url_for
from werkzeug.wrappers import Response

from console import frame
from console.access import STEWARDS, allow
from console.book import reading
from console.lists import Column, Filter, listing
from console.pages.judging.judged_systems import by_use, judged_columns
from console.programs import listed
from metering.judging import findings
from metering.overview import systems
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
    columns = [
        Column("name", N_("使用单位"), lambda r: r.Department.name, sort=Department.name, title=True,
               href=lambda r: url_for("departments.show", department_id=r.Department.id)),
        Column("code", N_("编码"), lambda r: r.Department.code, sort=Department.code, minor=True),
        *judged_columns(),
    ]  # fmt: skip
    filters = [
        Filter("q", N_("名称或编码"), lambda q, v: q.where(frame.matching(v, Department.name, Department.code))),
        by_use(),
    ]  # fmt: skip
    query = systems.of_run(run, Department)
    found = listing(tx, query, columns, key=Department.id, filters=filters, sort="-cores")
    return found.exported("judged-departments") or render_template(
        "judged_departments/index.html",
        found=found,
        uses=systems.uses(tx, run, Department),
        run=run,
    )
