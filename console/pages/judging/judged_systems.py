"""Systems judged from their machines, suspected zombies first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, render_template, url_for
from sqlalchemy import case, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response

from console import frame, links
from console.access import STEWARDS, allow
from console.book import book, reading, settings
from console.lists import Column, Filter, Rows, listing
from console.programs import listed
from console.words import _
from metering.judging import LABELS, Verdict, findings
from metering.overview import USES, ZOMBIES, JudgedSystem, SystemUse, systems
from quota.db import among
from quota.directory import Department, System
from quota.errors import N_

blueprint = Blueprint("judged_systems", __name__, url_prefix="/findings/systems")
frame.page("cases", "judged_systems.index", N_("系统评估"), order=25)

SUSPECTED = "suspected"
NOT_SUSPECTED = "no"


@blueprint.get("/")
@allow(*STEWARDS)
@listed(
    (),
    args=("q", "department", "zombie", "use"),
    open=True,
)
def index() -> str | Response:
    tx = reading()
    today = book().clock().astimezone(settings().zone).date()
    told = {system.id: one for system, one in systems.latest(tx, today)}
    owners = {str(id_): str(name) for id_, name in tx.execute(select(Department.id, Department.name))}
    columns = [
        Column("name", N_("信息系统"), lambda s: s.name, sort=System.name, title=True,
               href=lambda s: url_for("systems.show", system_id=s.id)),
        Column("code", N_("编码"), lambda s: s.code, sort=System.code, minor=True),
        Column("department", N_("使用单位"), lambda s: s.department.name, href=links.department(lambda s: s.department_id)),
        Column("zombie", N_("疑似僵尸"), lambda s: _(ZOMBIES[told[s.id].zombie]) if told[s.id].zombie else None,
               sort=ranked(System.id, {id_: int(not one.zombie) for id_, one in told.items()})),
        *judged(System.id, told),
    ]  # fmt: skip
    filters = [
        Filter("q", N_("名称或编码"), lambda q, v: q.where(frame.matching(v, System.name, System.code))),
        Filter("department", N_("使用单位"), lambda q, v: q.where(System.department_id == int(v)), options=owners),
        Filter("zombie", N_("疑似僵尸"), lambda q, v: q.where(among(
            System.id, [id_ for id_, one in told.items() if bool(one.zombie) == (v == SUSPECTED)])),
            options={SUSPECTED: N_("是"), NOT_SUSPECTED: N_("否")}),
        by_use(System.id, told),
    ]  # fmt: skip
    query = select(System).where(among(System.id, told)).options(joinedload(System.department))
    found = listing(tx, query, columns, key=System.id, filters=filters, sort="zombie")
    return found.exported("judged-systems") or render_template(
        "judged_systems/index.html",
        found=found,
        suspect=SUSPECTED,
        suspected=sum(bool(one.zombie) for one in told.values()),
        uses=Counter(one.use.value for one in told.values()),
        run=findings.last_run(tx),
    )


def ranked(key: Any, values: Mapping[int, float | int | None]) -> Any:
    """What is not in the book, to sort by: the value of each id."""
    known = {id_: value for id_, value in values.items() if value is not None}
    return case(known, value=key) if known else key


def judged(key: Any, told: Mapping[int, JudgedSystem]) -> list[Column]:
    """The columns of what was judged; ``key``: the id that ``told`` is by."""

    def figure(name: str, label: str, value: Callable[[JudgedSystem], float | int | None], unit: str = "") -> Column:
        by = ranked(key, {id_: value(one) for id_, one in told.items()})
        return Column(name, label, lambda row: value(told[row.id]), sort=by, unit=unit, number=True)

    return [
        Column("use", N_("利用率"), lambda row: told[row.id].use.value, state=True),
        figure("machines", N_("资源"), lambda one: one.machines),
        figure("cores", "vCPU", lambda one: one.cores),
        figure("cpu", N_("CPU 均值"), lambda one: _rounded(one.cpu), "%"),
        figure("memory", N_("内存均值"), lambda one: _rounded(one.memory), "%"),
        figure("coverage", N_("采集覆盖率"), lambda one: _rounded(100 * one.coverage if one.machines else None), "%"),
        Column("classes", N_("各类资源数"), lambda row: _classes(told[row.id]), minor=True),
    ]


def by_use(key: Any, told: Mapping[int, JudgedSystem]) -> Filter:
    def apply(query: Rows, value: str) -> Rows:
        return query.where(among(key, [id_ for id_, one in told.items() if one.use.value == value]))

    return Filter("use", N_("利用率"), apply, options={one.value: USES[one] for one in SystemUse})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _classes(judged: JudgedSystem) -> str | None:
    parts = [f"{_(LABELS[Verdict(verdict)])} {n}" for verdict, n in sorted(judged.classes.items())]
    return _("、").join(parts) or None
