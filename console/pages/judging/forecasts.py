"""What a pool, a department or a system will use in the coming weeks, beside what it has, with an honest interval."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, render_template, request
from sqlalchemy import Select, func, select

from console import frame
from console.access import BUSINESS, allow
from console.book import actor, book, lake, reading, settings
from console.charts import Chart, Series, when_full
from console.words import _
from metering.forecasting import AHEAD, HISTORY, SHARE, DemandForecast, demand, forecasts
from metering.judging import MACHINES, business
from quota import inventory
from quota.db import Tx
from quota.directory import Department, Pool, System, subtree
from quota.errors import N_, NotFound
from quota.inventory import Resource

blueprint = Blueprint("forecasts", __name__, url_prefix="/forecasts")
frame.page("resources", "forecasts.index", N_("用量预测"), order=40)


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
    told = outlook_of(tx, chosen) if chosen else None
    return render_template(
        "forecasts/index.html",
        options=options,
        chosen=chosen,
        chart=_chart(told, options[chosen]) if told else None,
        full=when_full(told),
        last=told.last if told else None,
        share=round(100 * SHARE),
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
    above = business.calendars(tx)
    departments = {each for one in departments for each in above.chain(one)}
    if (own := actor().department_id) is not None:
        departments &= set(subtree(tx, own))
    for one in tx.scalars(select(Department).where(Department.id.in_(departments)).order_by(Department.name)):
        found[f"department:{one.id}"] = _("单位:%(name)s", name=one.name)
    for system in tx.scalars(select(System).where(System.id.in_(systems)).order_by(System.name)):
        found[f"system:{system.id}"] = _("信息系统:%(name)s", name=system.name)
    return found


def outlook_of(tx: Tx, chosen: str) -> DemandForecast | None:
    """The forecast as the last night kept it; made now where it kept none, or where the visitor sees a part alone. None
    before any day is closed.

    chosen: "pool:3", "department:3" (and what is under it), "system:3" or "resource:3", as far as the visitor sees it.
    """
    kind, _colon, text = chosen.partition(":")
    of = int(text)
    # What has no cores of its own reports none: it would look like a gap.
    whole = select(Resource.id).where(Resource.gone_at.is_(None), Resource.kind.in_(MACHINES))
    if kind == "pool":
        whole = whole.where(Resource.pool_id == of)
    elif kind == "department":
        whole = whole.where(Resource.department_id.in_(subtree(tx, of)))
    elif kind == "system":
        whole = whole.where(Resource.system_id == of)
    else:
        whole = whole.where(Resource.id == of)
    seen = whole.where(inventory.visible(tx, actor()))
    if _count(tx, whole) == _count(tx, seen) and (kept := forecasts.kept(tx, kind, of)) is not None:
        return kept
    # A day that still runs would look like a fall.
    today = book().clock().astimezone(settings().zone).date()
    closed = [day for day in lake().days() if day < today]
    if not closed:
        return None
    past = demand.daily(lake(), tx.scalars(seen), max(closed), HISTORY, forecasts.cores(tx, seen))
    days = [*past.days, *(past.days[-1] + timedelta(days=n + 1) for n in range(AHEAD))]
    return forecasts.outlook(past, forecasts.busy_days(business.calendars(tx), *_owner(tx, kind, of), days))


def _count(tx: Tx, query: Select[int]) -> int:
    return tx.scalar(select(func.count()).select_from(query.subquery())) or 0


def _chart(of: DemandForecast, name: str) -> Chart:
    """The past by day, the weeks ahead, and the cores that are there as a line above."""
    gap: list[float | None] = [None] * len(of.used)
    ahead: list[float | None] = [None] * len(of.mean)
    return Chart(
        "forecast",
        name,
        of.days,
        [
            Series(_("已用(日均)"), [*of.used, *ahead]),
            Series(_("预测"), [*gap, *of.mean]),
            Series(_("区间下限"), [*gap, *of.low]),
            Series(_("区间上限"), [*gap, *of.high]),
            Series(_("主机规格合计"), [*of.size, *([of.has] * len(of.mean))], role="capacity"),
        ],
        unit="vCPU",
        period=f"{of.days[0]} – {of.days[-1]}",
        coverage=100 * of.coverage,
    )


def _owner(tx: Tx, kind: str, of: int) -> tuple[int | None, int | None]:
    """Department and system whose declared periods count; none are declared for a pool."""
    if kind == "department":
        return of, None
    if kind == "system":
        system = tx.get(System, of)
        return (system.department_id if system else None), of
    one = tx.get(Resource, of) if kind == "resource" else None
    return (one.department_id, one.system_id) if one else (None, None)
