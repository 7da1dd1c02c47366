"""What a pool, a department or a system will use in the coming weeks, beside what it has, with an honest interval."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Blueprint, render_template, request
from sqlalchemy import ColumnElement, Select, func, literal, select, union_all

from console import frame
from console.access import BUSINESS, allow
from console.book import actor, book, lake, reading, settings
from console.charts import Chart, Series, when_full
from console.choices import Choosable, by_id, narrowed
from console.security import row_or
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


PLACES = {"pool": N_("资源池:%(name)s"), "department": N_("单位:%(name)s"), "system": N_("信息系统:%(name)s")}
"""Of what a forecast is offered, in this order."""


@blueprint.get("/")
@allow(*BUSINESS)
def index() -> str:
    tx = reading()
    offered = _offered(tx)
    said = request.args.get("of", "").strip()
    kind, _colon, text = said.partition(":")
    number = row_or(text, 0)
    if kind == "resource" and number:  # too many to offer: linked from their own pages
        one = inventory.resource(tx, number)
        chosen, name = f"resource:{number}", _("资源:%(name)s", name=one.name or one.external_id)
        meant = narrowed(tx, "of", offered, {}, "")
    else:
        known = kind in PLACES and text.isdecimal()
        wanted = str(_number(kind, number)) if known else said or str(_first(tx))
        meant = narrowed(tx, "of", offered, {}, wanted)
        found = by_id(tx, offered, row_or(meant.value, 0)) if meant.value else None
        if found is None and (known or kind == "resource" or (said and meant.options is not None)):
            raise NotFound("forecast.none", N_("没有可以预测的对象"))
        chosen, name = (_place(found.id), found.name) if found else ("", "")
    told = outlook_of(tx, chosen) if chosen else None
    return render_template(
        "forecasts/index.html",
        options={_place(int(one)): label for one, label in sorted(meant.options.items(), key=_in_order)}
        if meant.options is not None
        else None,
        meant=meant,
        chosen=chosen,
        name=name,
        chart=_chart(told, name) if told else None,
        full=when_full(told),
        last=told.last if told else None,
        share=round(100 * SHARE),
    )


def _number(kind: str, of: int) -> int:
    """What is offered of several tables has a number of its own."""
    return of * len(PLACES) + list(PLACES).index(kind)


def _place(number: int) -> str:
    """``pool:3`` of such a number."""
    return f"{list(PLACES)[number % len(PLACES)]}:{number // len(PLACES)}"


def _in_order(option: tuple[str, str]) -> int:
    return int(option[0]) % len(PLACES)


def _first(tx: Tx) -> int:
    """What is looked at where nothing was asked for: the first pool of which the visitor may see machines."""
    seen = _machines(tx).where(Resource.pool_id == Pool.id)
    found = tx.scalar(select(Pool.id).where(seen.exists()).order_by(Pool.name, Pool.id).limit(1))
    return _number("pool", found) if found is not None else 0


def _machines(tx: Tx) -> Select[int]:
    """What is there of what the visitor may see."""
    return select(Resource.id).where(inventory.visible(tx, actor()), Resource.gone_at.is_(None))


def _offered(tx: Tx) -> Choosable:
    """Pools, departments (and those above them) and systems of which the visitor may see machines."""
    machines = _machines(tx)
    whose = machines.with_only_columns(Resource.department_id.label("id")).where(Resource.department_id.is_not(None))
    owners = whose.distinct().cte("above", recursive=True)
    above = owners.union(
        select(Department.parent_id).join(owners, Department.id == owners.c.id).where(Department.parent_id.is_not(None))
    )
    departments: ColumnElement[bool] = Department.id.in_(select(above.c.id))
    if (own := actor().department_id) is not None:
        departments = departments & Department.id.in_(subtree(tx, own))
    of: dict[str, tuple[Any, Any]] = {
        "pool": (Pool, machines.where(Resource.pool_id == Pool.id).exists()),
        "department": (Department, departments),
        "system": (System, machines.where(Resource.system_id == System.id).exists()),
    }
    parts = []
    for place, (kind, label) in enumerate(PLACES.items()):
        table, where = of[kind]
        before, after = _(label, name="\0").split("\0")
        name = literal(before).concat(table.name).concat(after)
        parts.append(
            select((table.id * len(PLACES) + place).label("id"), table.code.label("code"), name.label("name")).where(
                where
            )
        )
    every = union_all(*parts).subquery()
    return select(every.c.id, every.c.code, every.c.name)


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
    owner = _owner(tx, kind, of)
    return forecasts.outlook(past, forecasts.busy_days(business.calendars_of(tx, *owner), *owner, days))


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
