"""云侧代理: the door through which an agent beside a cloud calls the console, and the page of a pool that shows how it is."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response as AnyResponse

from console import frame
from console.access import STEWARDS, allow, public
from console.book import book, reading, settings, transaction
from console.errors import status
from console.lists import Column, listing
from console.programs import Given, listed, takes, unfit
from console.security import program
from console.words import _, sentence, waits
from metering.intake import schedules
from providers import orders
from providers.agents import ADAPTER, Agent, agents
from providers.base import Inventory, Outcome, Verb
from providers.mailbox import (
    AgentNews,
    AgentReport,
    BillBrought,
    Brought,
    CapacityBrought,
    IncidentsBrought,
    Mailbox,
    MailedOrder,
    QuotasBrought,
    codec,
)
from providers.orders import UNDER_WAY, VERB_LABELS, WorkOrder
from quota.actors import Role, nobody
from quota.db import Tx
from quota.directory import Pool, pool
from quota.errors import N_, Conflict, Invalid, NoRoom, NotFound, Refused, out_of_room

blueprint = Blueprint("agents", __name__)
frame.under("pools.index", "agents")

MAX_BODY = 32 * 2**20
MAX_UNPACKED = 128 * 2**20
"""Bytes of a body as it comes, and unpacked: a listing of some hundred thousand resources."""
ALONE = timedelta(minutes=10)
"""How long after an agent's last call another one with the same token is kept out."""
AHEAD = timedelta(minutes=10)
"""By how much an agent's clock may be ahead before what it says of now is refused."""


def mailbox(pool: Pool) -> Mailbox:
    """The pool's mailbox, where its adapter looks for it."""
    folder = str(pool.adapter_options.get("folder", "")).replace("{home}", str(settings().data))
    return Mailbox(Path(folder))


def reported(pool: Pool) -> AgentReport | None:
    """What the pool's agent said of itself last; None before it called, or where that cannot be read."""
    news = _standing(mailbox(pool))[0]
    return news.report if news else None


# ------------------------------------------------------------------------------------------------------ the agent's door


@blueprint.post("/agent/v1/hello")
@public
@program
def hello() -> Response:
    """How the agent is → the pool's name, up to when there are samples, the orders that it may begin now, and those (``late``) that it
    may only go on with where it has begun them."""
    return _answered(_hello)


@blueprint.post("/agent/v1/listings")
@public
@program
def listings() -> Response:
    """A listing. The last one is kept."""

    def keep(box: Mailbox, raw: Any, now: datetime) -> dict[str, Any]:
        listing = codec.read(raw, Inventory)
        _not_ahead(listing.as_of, now)
        box.keep_listing(listing, now)
        return {"kept": len(listing.facts)}

    return _answered(keep)


@blueprint.post("/agent/v1/capacity")
@public
@program
def capacity() -> Response:
    """What the cloud has room for. The last one is kept."""
    return _answered(partial(_brought, CapacityBrought))


@blueprint.post("/agent/v1/quotas")
@public
@program
def quotas() -> Response:
    """What the cloud lets each project have. The last one is kept."""
    return _answered(partial(_brought, QuotasBrought))


@blueprint.post("/agent/v1/bills")
@public
@program
def bills() -> Response:
    """The company's bill of a month. The last one of each month is kept."""
    return _answered(partial(_brought, BillBrought))


@blueprint.post("/agent/v1/incidents")
@public
@program
def incidents() -> Response:
    """The company's incident reports. The last ones are kept."""
    return _answered(partial(_brought, IncidentsBrought))


@blueprint.post("/agent/v1/samples")
@public
@program
def samples() -> Response:
    """A batch of samples; the same again changes nothing."""
    return _answered(lambda box, raw, now: {"kept": box.take(codec.samples_read(raw), now)})


@blueprint.post("/agent/v1/mark")
@public
@program
def mark() -> Response:
    """All samples before ``until`` were brought, where those before ``after`` were."""

    def keep(box: Mailbox, raw: Any, now: datetime) -> dict[str, Any]:
        told = raw if isinstance(raw, Mapping) else {}
        until = codec.read(told.get("until"), datetime)
        after = codec.read(told["after"], datetime) if told.get("after") is not None else None
        _not_ahead(until, now)
        return {"kept": box.mark(until, now, after)}

    return _answered(keep)


@blueprint.post("/agent/v1/outcomes")
@public
@program
def outcomes() -> Response:
    """What became of an order. The first end stands."""
    return _answered(lambda box, raw, _now: {"kept": box.settle(codec.read(raw, Outcome))})


@blueprint.post("/agent/v1/declined")
@public
@program
def declined() -> Response:
    """An order was fetched and not begun, and is not going to be: whether it is still wanted is looked at anew."""

    def keep(box: Mailbox, raw: Any, now: datetime) -> dict[str, Any]:
        key = codec.read(raw.get("key") if isinstance(raw, Mapping) else None, str)
        return {"kept": box.decline(key, now)}

    return _answered(keep)


def _brought(of: type[Brought], box: Mailbox, raw: Any, now: datetime) -> dict[str, Any]:
    one: Brought = codec.read(raw, of)
    _not_ahead(one.as_of, now)
    return {"kept": box.keep(one)}


def _hello(box: Mailbox, raw: Any, now: datetime) -> dict[str, Any]:
    report = codec.read(raw, AgentReport)
    last = box.news()
    if last is not None and last.report.instance != report.instance and now - last.at < ALONE:
        raise Conflict("agent.other", N_("另一个代理正在用同一令牌联系;请停掉其中一个,或十分钟后再试"))
    box.report(report, now)
    until = box.marked()
    with book().reading(nobody()) as tx:
        awaited = orders.awaited(tx, [lies.order.key for lies in box.waiting()])
    fresh, late = box.fetch(now, awaited)
    if report.every_s is None:  # one of before that knows of no late ones, and goes on with nothing that it is not told
        fresh, late = [*late, *fresh], []
    return {
        "until": until.isoformat() if until else None,
        "orders": [codec.plain(order) for order in fresh],
        "late": [codec.plain(order) for order in late],
    }


def _not_ahead(moment: datetime, now: datetime) -> None:
    if moment > now + AHEAD:
        raise Invalid(
            "agent.ahead", N_("代理的时钟快了%(seconds)s秒,请先校时"), seconds=round((moment - now).total_seconds())
        )


def _answered(act: Callable[[Mailbox, Any, datetime], dict[str, Any]]) -> Response:
    """Let the agent in, read its JSON, act on the pool's mailbox, and say what came of it, with how the pool is collected; refusals as
    JSON, too."""
    scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
    try:
        with book().reading(nobody()) as tx:
            one = agents.admit(tx, token.strip() if scheme.lower() == "bearer" else "").pool
            pace = asdict(schedules.pace(tx, one.id))
        now = book().clock().astimezone(UTC)
        return _told(200, {**act(mailbox(one), _body(), now), "pool": one.code, "pace": pace})
    except Refused as refused:
        code = 401 if refused.code == "agent.token" else status(refused)
        return _told(code, {"code": refused.code, "message": sentence(refused.message, refused.params)})
    except RequestEntityTooLarge:
        return _told(413, {"code": "agent.large", "message": f"more than {MAX_BODY} bytes"})
    except OSError as error:
        if out_of_room(error):
            raise NoRoom(error) from error
        raise


def _body() -> Any:
    """The JSON that came, unpacked. Raises Invalid for what is none, or too much of it."""
    request.max_content_length = MAX_BODY
    content = request.get_data(cache=False)
    if request.headers.get("Content-Encoding", "").strip().lower() == "gzip":
        unpacking = zlib.decompressobj(wbits=31)
        try:
            content = unpacking.decompress(content, MAX_UNPACKED)
        except zlib.error:
            raise Invalid("agent.body", N_("内容不是 JSON")) from None
        if unpacking.unconsumed_tail or not unpacking.eof:
            raise Invalid("agent.large", N_("内容过大或不完整"))
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Invalid("agent.body", N_("内容不是 JSON")) from None


def _told(code: int, content: Mapping[str, Any]) -> Response:
    answer = Response(json.dumps(content, ensure_ascii=False), code, content_type="application/json")
    if code == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="guanjia"'
    return answer


# --------------------------------------------------------------------------------------------------------- the pool's page


def _columns(waiting: Mapping[str, MailedOrder]) -> list[Column]:
    """``waiting``: what lies in the mailbox, by its key."""

    def lies(what: str) -> Callable[[WorkOrder], datetime | None]:
        return lambda order: getattr(waiting.get(order.cloud_key), what, None)

    def why(order: WorkOrder) -> str | None:
        return waits.of_order(order.state, order.by_hand, order.fault)

    return [
        Column("number", N_("工单号"), lambda order: order.number, sort=WorkOrder.id,
               href=lambda order: url_for("orders.show", order_id=order.id), title=True),
        Column("verb", N_("事项"), lambda order: _(VERB_LABELS[Verb(order.verb)]), code=lambda order: order.verb),
        Column("name", N_("名称"), lambda order: order.name or (order.resource.external_id if order.resource else None)),
        Column("placed", N_("下单时间"), lambda order: order.placed_at, sort=WorkOrder.placed_at),
        Column("reason", N_("等候原因"), lambda order: _(waits.WAITS[code]) if (code := why(order)) else None, code=why),
        Column("mailed", N_("放入信箱"), lies("at")),
        Column("fetched", N_("代理取走"), lies("fetched")),
    ]  # fmt: skip


@blueprint.get("/pools/<int:pool_id>/agent")
@allow(*STEWARDS)
@listed(_columns({}), at="orders", alone=False)
def show(pool_id: int) -> str | Response:
    """How the pool's agent is: its last call, its clock, what it could not do, what waits for it, and since when."""
    one, tx = _by_agent(pool_id), reading()
    news, wrong, until, waiting = _standing(mailbox(one))
    query = (
        select(WorkOrder)
        .where(WorkOrder.pool_id == pool_id, WorkOrder.state.in_(list(UNDER_WAY)), WorkOrder.by_hand.is_(False))
        .options(joinedload(WorkOrder.resource))
    )
    found = listing(tx, query, _columns(waiting), key=WorkOrder.id, sort="placed")
    return found.exported("orders") or render_template(
        "agents/show.html", one=one, row=agents.of_pool(tx, pool_id), news=news, until=until, orders=found,
        away=news is not None and tx.now - news.at > news.report.good_for,
        parts={name: _(label) for name, label in PARTS.items()}, unreadable=wrong, pace=schedules.pace(tx, one.id),
    )  # fmt: skip


PARTS = {
    "probe": N_("连接"),
    "inventory": N_("清单"),
    "samples": N_("用量"),
    "second": N_("重读前一天"),
    "order": N_("工单"),
    "capacity": N_("容量"),
    "quotas": N_("云侧配额"),
    "accounts": N_("账单与故障"),
}


@blueprint.post("/pools/<int:pool_id>/agent/token")
@allow(Role.AUTHORITY)
@unfit("a secret is shown once, to a person")
def issue(pool_id: int) -> str:
    """A new token, shown this once."""
    with transaction() as tx:
        _row, token = agents.issue(tx, pool(tx, pool_id))
    one = _by_agent(pool_id)
    return render_template("agents/token.html", one=one, token=token, root=request.url_root.rstrip("/"))


@blueprint.post("/pools/<int:pool_id>/agent/active")
@allow(Role.AUTHORITY)
@takes(None, Given("active", bool, label=N_("启用")))
def activate(pool_id: int) -> AnyResponse:
    wanted = request.form.get("active") == "1"
    with transaction() as tx:
        agents.activate(tx, _agent(tx, pool_id), wanted)
    flash(_("云侧代理已启用") if wanted else _("云侧代理已停用，其令牌不再被接受"), "success")
    return redirect(url_for("agents.show", pool_id=pool_id))


def _by_agent(pool_id: int) -> Pool:
    one = pool(reading(), pool_id)
    if one.adapter != ADAPTER:
        raise NotFound("agent.adapter", N_("资源池“%(name)s”不由云侧代理接入"), name=one.name)
    return one


def _agent(tx: Tx, pool_id: int) -> Agent:
    found = agents.of_pool(tx, pool_id)
    if found is None:
        raise NotFound("agent.unknown", N_("还没有给云侧代理发过令牌"))
    return found


def _standing(box: Mailbox) -> tuple[AgentNews | None, str, datetime | None, dict[str, MailedOrder]]:
    """(last call, why the mailbox cannot be read, mark, what lies in it by its key)."""
    try:
        return box.news(), "", box.marked(), {lies.order.key: lies for lies in box.waiting()}
    except (OSError, ValueError, Refused) as error:
        return None, str(error), None, {}
