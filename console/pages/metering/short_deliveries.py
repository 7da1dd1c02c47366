"""交付不足: machines that see less than their company says that it delivered, each with both readings, and what its company says
of it."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response

from console import frame, links
from console.access import STEWARDS, allow
from console.book import reading
from console.lists import Column, Filter, Rows, listing
from console.pages.orders import dialogues
from console.programs import listed, takes
from console.words import _
from metering.intake import Feed, ShortDelivery
from metering.intake import short_deliveries as rules
from providers import comments
from quota.actors import Actor, Role
from quota.calendar import working_days
from quota.db import Tx
from quota.errors import N_
from quota.inventory import Resource

blueprint = Blueprint("short_deliveries", __name__, url_prefix="/resources/short-deliveries")
frame.page("resources", "short_deliveries.index", N_("交付不足"), order=56)

SHOWN = 10

STANDINGS = {"open": N_("仍然不足"), "unanswered": N_("待服务商答复"), "ended": N_("已恢复")}


def _standing(query: Rows, value: str) -> Rows:
    if value == "unanswered":
        return query.where(rules.unanswered())
    return query.where(ShortDelivery.ended_at.is_(None) if value == "open" else ShortDelivery.ended_at.is_not(None))


COLUMNS = [
    Column("resource", N_("资源"), lambda s: s.resource.called, title=True, href=lambda s: url_for("short_deliveries.show", short_id=s.id)),
    Column("pool", N_("资源池"), lambda s: s.resource.pool.name, href=links.pool(lambda s: s.resource.pool_id)),
    Column("department", N_("使用单位"), lambda s: s.resource.department.name if s.resource.department else None, minor=True),
    Column("what", N_("项目"), lambda s: _(rules.LABELS[rules.ShortAmount(s.what)]), code=lambda s: s.what),
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
    found = listing(tx, _rows(tx), COLUMNS, key=ShortDelivery.id, filters=FILTERS, sort="-first")
    return found.exported("short-deliveries") or render_template("short_deliveries/index.html", rows=found)


@blueprint.get("/<int:short_id>")
@allow(*STEWARDS, Role.PROVIDER)
def show(short_id: int) -> str:
    """One case: what each side says of the machine, what its company answers by when, and how that was ruled."""
    tx = reading()
    one = rules.short_delivery(tx, short_id)
    return render_template(
        "short_deliveries/show.html", one=one, what=rules.LABELS[rules.ShortAmount(one.what)], due=rules.due_at(one, working_days(tx)),
        answered=any(remark.role == Role.PROVIDER.value for remark in comments.of(tx, one.subject)),
        **dialogues.thread(tx, one.subject),
    )  # fmt: skip


@blueprint.post("/<int:short_id>/remark")
@allow(Role.PROVIDER, Role.SUPERVISOR, Role.AUTHORITY)
@takes(None, *dialogues.REMARK)
def remark(short_id: int) -> Response:
    one = rules.short_delivery(reading(), short_id)
    dialogues.say(one.subject, one.provider_id)
    return redirect(url_for("short_deliveries.show", short_id=short_id))


@blueprint.post("/<int:short_id>/rule")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(None, *dialogues.RULING)
def rule(short_id: int) -> Response:
    dialogues.rule(rules.short_delivery(reading(), short_id).subject)
    return redirect(url_for("short_deliveries.show", short_id=short_id))


def _rows(tx: Tx) -> Rows:
    query = rules.told().options(
        joinedload(ShortDelivery.feed),
        joinedload(ShortDelivery.resource).options(joinedload(Resource.pool), joinedload(Resource.department)),
    )
    return query.where(rules.visible(tx)) if tx.actor.role is Role.PROVIDER else query


@frame.home_block(Role.PROVIDER, Role.SUPERVISOR, order=42)
def _unanswered(tx: Tx, _actor: Actor) -> str | None:
    """Short deliveries of which the company has said nothing yet; nothing where there is none."""
    waiting = _rows(tx).where(rules.unanswered()).order_by(ShortDelivery.first_at, ShortDelivery.id).limit(SHOWN)
    days = working_days(tx)
    found = [(one, rules.due_at(one, days)) for one in tx.scalars(waiting)]
    return render_template("short_deliveries/_home.html", rows=found, labels=rules.LABELS) if found else None
