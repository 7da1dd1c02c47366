"""交付不足: machines that see less than their company says that it delivered, each with both readings."""

from __future__ import annotations

from flask import Blueprint, render_template, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response

from console import frame, links
from console.access import STEWARDS, allow
from console.book import reading
from console.lists import Column, Filter, Rows, listing
from console.programs import listed
from console.words import _
from metering.intake import Feed, ShortDelivery
from metering.intake import short_deliveries as rules
from quota import inventory
from quota.actors import Role
from quota.errors import N_
from quota.inventory import Resource

blueprint = Blueprint("short_deliveries", __name__, url_prefix="/resources/short-deliveries")
frame.page("resources", "short_deliveries.index", N_("交付不足"), order=56)

STANDINGS = {"open": N_("仍然不足"), "ended": N_("已恢复")}


def _standing(query: Rows, value: str) -> Rows:
    return query.where(ShortDelivery.ended_at.is_(None) if value == "open" else ShortDelivery.ended_at.is_not(None))


COLUMNS = [
    Column("resource", N_("资源"), lambda s: s.resource.called, title=True, href=lambda s: url_for("resources.show", resource_id=s.resource_id)),
    Column("pool", N_("资源池"), lambda s: s.resource.pool.name, href=links.pool(lambda s: s.resource.pool_id)),
    Column("department", N_("使用单位"), lambda s: s.resource.department.name if s.resource.department else None, minor=True),
    Column("what", N_("项目"), lambda s: _(rules.LABELS[rules.Short(s.what)]), code=lambda s: s.what),
    Column("delivered", N_("服务商称已交付"), lambda s: s.delivered, number=True),
    Column("seen", N_("机器内部见到"), lambda s: s.seen, number=True),
    Column("host", N_("宿主机读数"), lambda s: s.host, number=True),
    Column("feed", N_("用量源"), lambda s: s.feed.name),
    Column("first", N_("自何时起"), lambda s: s.first_at, sort=ShortDelivery.first_at),
    Column("confirmed", N_("确认于"), lambda s: s.confirmed_at, minor=True),
    Column("last", N_("最近读数"), lambda s: s.last_at),
    Column("ended", N_("恢复于"), lambda s: s.ended_at, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("standing", N_("状态"), _standing, options=STANDINGS, default="open"),
    Filter("what", N_("项目"), lambda q, v: q.where(ShortDelivery.what == v), options={one.value: text for one, text in rules.LABELS.items()}),
    Filter("feed", N_("用量源代码"), lambda q, v: q.where(ShortDelivery.feed_id.in_(select(Feed.id).where(Feed.code == v)))),
]  # fmt: skip


@blueprint.get("/")
@allow(*STEWARDS, Role.PROVIDER)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    query = (
        select(ShortDelivery)
        .where(ShortDelivery.confirmed_at.is_not(None))
        .options(
            joinedload(ShortDelivery.feed),
            joinedload(ShortDelivery.resource).options(joinedload(Resource.pool), joinedload(Resource.department)),
        )
    )
    if tx.actor.role is Role.PROVIDER:
        mine = select(Resource.id).where(inventory.visible(tx, tx.actor))
        query = query.where(ShortDelivery.resource_id.in_(mine))
    found = listing(tx, query, COLUMNS, key=ShortDelivery.id, filters=FILTERS, sort="-first")
    return found.exported("short-deliveries") or render_template("short_deliveries/index.html", rows=found)
