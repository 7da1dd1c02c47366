"""Systems judged from their machines, suspected zombies first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from flask import Blueprint, render_template, url_for
from sqlalchemy import case, func, not_, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response

from console import choices, frame, links
from console.access import STEWARDS, allow
from console.book import book, reading, settings
from console.lists import Column, Filter, listing
from console.programs import listed
from console.words import _, percent
from console.words import policies as policy_words
from metering.intake import PushSource
from metering.judging import LABELS, USES, JudgedWhole, SystemUse, Verdict, WholeLevels, findings, policies
from metering.overview import ZOMBIES, systems
from metering.visits import MeasuredVisits
from quota.directory import System
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
    run = findings.last_run(tx)
    levels = policies.levels(tx, today)
    suspicion = systems.suspected(today, levels)
    named = dict(tx.execute(select(PushSource.id, PushSource.name)).all())
    columns = [
        Column("name", N_("信息系统"), lambda r: r.System.name, sort=System.name, title=True,
               href=lambda r: url_for("systems.show", system_id=r.System.id)),
        Column("code", N_("编码"), lambda r: r.System.code, sort=System.code, minor=True),
        Column("department", N_("使用单位"), lambda r: r.System.department.name,
               href=links.department(lambda r: r.System.department_id)),
        Column("zombie", N_("疑似僵尸"), lambda r: _zombie(r, today, levels, named),
               sort=case((suspicion, 0), else_=1)),
        *judged_columns(),
    ]  # fmt: skip
    filters = [
        Filter("q", N_("名称或编码"), lambda q, v: q.where(frame.matching(v, System.name, System.code))),
        Filter("department", N_("使用单位"), lambda q, v: q.where(System.department_id == int(v)),
               among=choices.departments(ended=True)),
        Filter("zombie", N_("疑似僵尸"), lambda q, v: q.where(suspicion if v == SUSPECTED else not_(suspicion)),
               options={SUSPECTED: N_("是"), NOT_SUSPECTED: N_("否")}),
        by_use(),
    ]  # fmt: skip
    more = MeasuredVisits, systems.most_users(today, levels).label("monthly")
    query = systems.of_run(run, System).options(joinedload(System.department)).add_columns(*more)
    query = query.outerjoin(MeasuredVisits, MeasuredVisits.system_id == System.id)
    found = listing(tx, query, columns, key=System.id, filters=filters, sort="zombie")
    return found.exported("judged-systems") or render_template(
        "judged_systems/index.html",
        found=found,
        suspect=SUSPECTED,
        suspected=tx.scalar(select(func.count()).select_from(System).where(System.active, suspicion)),
        uses=systems.uses(tx, run, System),
        run=run,
    )


def judged_columns() -> list[Column]:
    """The columns of what was judged, of rows with a JudgedWhole; None: of nothing, of which nothing is known."""

    def figure(name: str, label: str, unit: str = "", times: int = 1) -> Column:
        def value(row: Any) -> float | None:
            one = row.JudgedWhole
            found = None if one is None else getattr(one, name)
            return found if found is None or isinstance(found, int) else round(times * found, 1)

        return Column(name, label, value, sort=getattr(JudgedWhole, name), unit=unit, number=True)

    def count(name: str, label: str) -> Column:
        by = func.coalesce(getattr(JudgedWhole, name), 0)
        return Column(name, label, lambda row: getattr(row.JudgedWhole, name, 0), sort=by, number=True)

    return [
        Column("use", N_("利用率"), lambda row: _use(row.JudgedWhole), state=True),
        count("machines", N_("资源")),
        count("cores", "vCPU"),
        figure("cpu", N_("CPU 均值"), "%"),
        figure("memory", N_("内存均值"), "%"),
        figure("coverage", N_("采集覆盖率"), "%", 100),
        Column("classes", N_("各类资源数"), lambda row: _classes(row.JudgedWhole), minor=True),
        Column("months", N_("逐月"), lambda row: _months(row.JudgedWhole), minor=True),
    ]


def by_use() -> Filter:
    options = {one.value: USES[one] for one in SystemUse}
    return Filter("use", N_("利用率"), lambda query, value: query.where(systems.USE.in_([value])), options=options)


def _zombie(row: Any, today: date, levels: WholeLevels, named: Mapping[int, str]) -> str | None:
    """Why it is suspected, and by whom that was measured."""
    why, by = systems.zombie(row.System, row.MeasuredVisits, today, levels, row.monthly)
    if not why:
        return None
    told = _(ZOMBIES[why], days=levels.asleep_days, share=f"{100 * levels.least_active:g}")
    if why == "deserted":
        told = policy_words.each_month(told, levels.deserted_months)
    return _("%(told)s（实测：%(source)s）", told=told, source=named[by]) if by is not None else told


def _use(judged: JudgedWhole | None) -> str:
    return SystemUse.UNKNOWN.value if judged is None else judged.use


def _months(judged: JudgedWhole | None) -> str | None:
    """What the closed months were that the policy asks for, each with its figures."""
    told = [
        _("%(month)s：CPU %(cpu)s，内存 %(memory)s，覆盖 %(coverage)s，%(use)s", month=one["month"], use=_(USES[SystemUse(one["use"])]),
          cpu=percent(one["cpu"]), memory=percent(one["memory"]), coverage=percent(100 * one["coverage"]))
        for one in (judged.months if judged else ())
    ]  # fmt: skip
    return _("；").join(told) or None


def _classes(judged: JudgedWhole | None) -> str | None:
    parts = [f"{_(LABELS[Verdict(verdict)])} {n}" for verdict, n in sorted(judged.classes.items())] if judged else []
    return _("、").join(parts) or None
