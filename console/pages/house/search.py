"""One box that finds any thing by a part of its name, number or address: what a city has many of by the kept index, page by page,
the rest from the other view modules."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from console import frame
from console.access import EVERYBODY, allow
from console.book import actor, reading
from console.lists import Column, Filter, Rows, listing
from console.programs import listed
from console.words import _
from quota import search
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Pool, subtree
from quota.errors import N_
from quota.search import SearchEntry

blueprint = Blueprint("search", __name__)

frame.within("resources", "search")
LIMIT = 10
MAX_TEXT = 100

KINDS = {
    "department": (N_("使用单位"), "departments.show", "department_id"),
    "system": (N_("信息系统"), "systems.show", "system_id"),
    "resource": (N_("资源"), "resources.show", "resource_id"),
    "request": (N_("申请"), "requests.show", "request_id"),
    "order": (N_("工单"), "orders.show", "order_id"),
    "case": (N_("案件"), "cases.show", "case_id"),
}
"""What the index knows, the highest rank first: its name, its page, and what that page calls its id."""


def _page(entry: SearchEntry) -> str:
    _label, endpoint, name = KINDS[entry.kind]
    where: dict[str, Any] = {name: entry.ref}
    return url_for(endpoint, **where)


PREFIXES = {"order": "order_", "case": "case_"}
"""How the codes of states begin that others have, too."""

COLUMNS = [
    Column("title", N_("名称"), lambda e: e.title, href=_page, title=True),
    Column("kind", N_("类别"), lambda e: _(KINDS[e.kind][0]), code=lambda e: e.kind),
    Column("detail", N_("说明"), lambda e: e.detail),
    Column("state", N_("状态"), lambda e: PREFIXES.get(e.kind, "") + e.state if e.state else None, state=True),
]
FILTERS = [
    Filter("q", N_("名称、编号或IP"), lambda query, _value: query),  # narrowed before: nothing typed finds nothing
    Filter("kind", N_("类别"), lambda query, value: query.where(SearchEntry.kind == value),
           options={kind: label for kind, (label, _endpoint, _name) in KINDS.items()}),
]  # fmt: skip


def found(tx: Tx, who: Actor, text: str) -> Rows:
    """What the index has for ``text`` that ``who`` may see."""
    own: dict[str, Any] = {}
    if who.role is Role.TENANT:
        own["departments"] = subtree(tx, who.department_id or 0)
    elif who.role is Role.PROVIDER:
        own["pools"] = tx.scalars(select(Pool.id).where(Pool.provider_id == who.provider_id)).all()
    return search.found(tx, who, text, **own)


@blueprint.get("/search")
@allow(*EVERYBODY)
@listed(COLUMNS, FILTERS, alone=False)
def index() -> str | Response:
    tx, who = reading(), actor()
    text = request.args.get("q", "").strip()[:MAX_TEXT]
    page = listing(tx, found(tx, who, text), COLUMNS, filters=FILTERS, key=search.place(tx))
    if (answer := page.exported("search")) is not None:
        return answer
    first = text and page.page == 1 and not page.values["kind"]
    others = frame.find(tx, who, text, LIMIT) if first else []
    if first and page.total + len(others) == 1:
        title, url = next(((one.title, _page(one)) for one in page.rows), None) or (others[0].title, others[0].url)
        if title == text:
            return redirect(url)
    return render_template("search/index.html", text=text, page=page, others=others, limit=LIMIT)
