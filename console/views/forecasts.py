"""What a pool, a department or a system will use in the coming weeks, beside what it has, with an honest interval."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from flask import Blueprint, render_template, request
from numpy.typing import NDArray
from sqlalchemy import select

from console import frame
from console.access import BUSINESS, allow
from console.book import actor, book, lake, reading, settings
from console.charts import Chart, Series
from console.texts import _
from metering import business, demand, forecast
from metering.policy import MACHINES
from providers import inventory
from providers.inventory import Resource
from quota.agencies import Department, System, subtree
from quota.db import Tx
from quota.errors import N_, NotFound
from quota.pools import Pool

blueprint = Blueprint("forecasts", __name__, url_prefix="/forecasts")
frame.page("resources", "forecasts.index", N_("用量预测"), order=40)

AHEAD = 28
HISTORY = 90
SHARE = 0.8


@blueprint.get("/")
@allow(*BUSINESS)
def index() -> str:
    tx = reading()
    options = _options(tx)
    chosen = request.args.get("of") or next(iter(options), "")
    if chosen.startswith("resource:") and chosen[9:].isdecimal():  # too many to offer: linked from their own pages
        one = inventory.resource(tx, int(chosen[9:]))
        options = {chosen: _("资源:%(name)s", name=one.name or one.external_id), **options}
    if chosen and chosen not in options:
        raise NotFound("forecast.none", N_("没有可以预测的对象"))
    chart = chart_of(tx, chosen, options[chosen]) if chosen else None
    return render_template(
        "forecasts/index.html", options=options, chosen=chosen, chart=chart, share=round(100 * SHARE)
    )


def _options(tx: Tx) -> dict[str, str]:
    """What the visitor may see machines of: "pool:3" → its name."""
    seen = select(Resource.pool_id, Resource.department_id, Resource.system_id).where(
        inventory.visible(tx, actor()), Resource.gone_at.is_(None)
    )
    rows = tx.execute(seen.distinct()).all()
    pools, departments, systems = ({row[n] for row in rows if row[n] is not None} for n in range(3))
    found: dict[str, str] = {}
    for pool in tx.scalars(select(Pool).where(Pool.id.in_(pools)).order_by(Pool.name)):
        found[f"pool:{pool.id}"] = _("资源池:%(name)s", name=pool.name)
    for one in tx.scalars(select(Department).where(Department.id.in_(departments)).order_by(Department.name)):
        found[f"department:{one.id}"] = _("单位:%(name)s", name=one.name)
    for system in tx.scalars(select(System).where(System.id.in_(systems)).order_by(System.name)):
        found[f"system:{system.id}"] = _("信息系统:%(name)s", name=system.name)
    return found


def chart_of(tx: Tx, chosen: str, name: str) -> Chart | None:
    """The past by day, the weeks ahead, and the cores that are there as a line above; None before any day is closed.

    chosen: "pool:3", "department:3" (and what is under it), "system:3" or "resource:3", as far as the visitor sees it.
    """
    # A day that still runs would look like a fall.
    today = book().clock().astimezone(settings().zone).date()
    closed = [day for day in lake().days() if day < today]
    if not closed:
        return None
    kind, _colon, text = chosen.partition(":")
    of = int(text)
    # What has no cores of its own reports none: it would look like a gap.
    query = select(Resource.id).where(
        inventory.visible(tx, actor()), Resource.gone_at.is_(None), Resource.kind.in_(MACHINES)
    )
    if kind == "pool":
        query = query.where(Resource.pool_id == of)
    elif kind == "department":
        query = query.where(Resource.department_id.in_(subtree(tx, of)))
    elif kind == "system":
        query = query.where(Resource.system_id == of)
    else:
        query = query.where(Resource.id == of)
    past = demand.daily(lake(), tx.scalars(query), max(closed), HISTORY)
    days = [*past.days, *(past.days[-1] + timedelta(days=n + 1) for n in range(AHEAD))]
    told = forecast.predict(past.mean[None, :], AHEAD, _busy(tx, kind, of, days), SHARE)
    gap: list[float | None] = [None] * HISTORY
    size = past.size[np.isfinite(past.size)]
    capacity = [*past.size.tolist(), *([float(size[-1])] * AHEAD if len(size) else [None] * AHEAD)]
    return Chart(
        "forecast",
        name,
        days,
        [
            Series(_("已用(日均)"), [*past.mean.tolist(), *([None] * AHEAD)]),
            Series(_("预测"), [*gap, *told.mean[0].tolist()]),
            Series(_("区间下限"), [*gap, *told.low[0].tolist()]),
            Series(_("区间上限"), [*gap, *told.high[0].tolist()]),
            Series(_("主机规格合计"), capacity, role="capacity"),
        ],
        unit="vCPU",
        period=f"{days[0]} – {days[-1]}",
        coverage=100 * past.coverage,
    )


def _busy(tx: Tx, kind: str, of: int, days: list[date]) -> NDArray[np.bool_] | None:
    """Days of the declared periods of a department, system or resource; none are declared for a pool."""
    calendars = business.calendars(tx)
    if kind == "department":
        periods = calendars.of(of, None)
    elif kind == "system":
        system = tx.get(System, of)
        periods = calendars.of(system.department_id if system else None, of)
    elif kind == "resource":
        one = tx.get(Resource, of)
        periods = calendars.of(one.department_id, one.system_id) if one else []
    else:
        periods = []
    if not periods:
        return None
    return np.array([[one.includes(day) for day in days] for one in periods])
