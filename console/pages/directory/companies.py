"""Companies that operate the clouds: their pools, and what they are doing, billing and scoring."""

from __future__ import annotations

from flask import Blueprint, render_template, url_for
from sqlalchemy import func, select
from werkzeug.wrappers import Response

from console import frame
from console.access import STEWARDS, allow
from console.book import reading
from console.lists import Column, Filter, listing
from console.pages.assessment import incidents as incident_pages
from console.pages.assessment import scorecards as score_pages
from console.pages.orders import orders as order_pages
from providers.assessment import ScorecardRecord, cards
from providers.billing import Bill, Incident, bills, incidents
from providers.orders import UNDER_WAY, VERB_LABELS, WorkOrder
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import CloudProvider, provider
from quota.errors import N_, NotFound

blueprint = Blueprint("companies", __name__, url_prefix="/companies")
frame.page("providers", "companies.index", N_("公司"), order=5)

READERS = (*STEWARDS, Role.PROVIDER)


def _under_way(company: CloudProvider) -> int:
    tx = reading()
    return (
        tx.scalar(
            select(func.count(WorkOrder.id)).where(
                WorkOrder.provider_id == company.id, WorkOrder.state.in_([one.value for one in UNDER_WAY])
            )
        )
        or 0
    )


def _latest(company: CloudProvider) -> ScorecardRecord | None:
    tx = reading()
    return tx.scalar(
        select(ScorecardRecord)
        .where(ScorecardRecord.provider_id == company.id, cards.visible(tx.actor))
        .order_by(ScorecardRecord.computed_at.desc())
        .limit(1)
    )


def _latest_text(company: CloudProvider) -> str | None:
    card = _latest(company)
    return f"{card.month} {card.total if card.total is not None else '—'}" if card else None


COLUMNS = [
    Column("name", N_("公司"), lambda c: c.name, sort=CloudProvider.name,
           href=lambda c: url_for("companies.show", provider_id=c.id), title=True),
    Column("code", N_("代码"), lambda c: c.code, sort=CloudProvider.code),
    Column("pools", N_("资源池"), lambda c: len(c.pools), number=True),
    Column("orders", N_("待交付工单"), _under_way, number=True),
    Column("score", N_("最近评分"), _latest_text),
    Column("state", N_("状态"), lambda c: "active" if c.active else "inactive", state=True),
]  # fmt: skip
FILTERS = [Filter("q", N_("名称或代码"), lambda q, v: q.where(
    frame.matching(v, CloudProvider.name, CloudProvider.code)))]  # fmt: skip


def _own(tx: Tx, query: object) -> object:
    if tx.actor.role is Role.PROVIDER:
        return query.where(CloudProvider.id == tx.actor.provider_id)  # type: ignore[attr-defined]
    return query


@blueprint.get("/")
@allow(*READERS)
def index() -> str | Response:
    tx = reading()
    query = _own(tx, select(CloudProvider))
    found = listing(tx, query, COLUMNS, key=CloudProvider.id, filters=FILTERS, sort="name")  # type: ignore[arg-type]
    return found.exported("companies") or render_template("companies/index.html", companies=found)


@blueprint.get("/<int:provider_id>")
@allow(*READERS)
def show(provider_id: int) -> str:
    tx = reading()
    one = provider(tx, provider_id)
    if tx.actor.role is Role.PROVIDER and tx.actor.provider_id != one.id:
        raise NotFound("provider.none", N_("没有编号为 %(id)s 的云服务商"), id=provider_id)
    open_orders = order_pages.rows(tx).where(
        WorkOrder.provider_id == one.id, WorkOrder.state.in_([state.value for state in UNDER_WAY])
    )
    return render_template(
        "companies/show.html",
        one=one,
        orders=tx.scalars(open_orders.order_by(WorkOrder.due_at).limit(8)).all(),
        under_way=_under_way(one),
        late=tx.scalar(select(func.count()).select_from(open_orders.where(WorkOrder.due_at < tx.now).subquery())),
        times=order_pages.delivered_in(tx, one.id),
        days=order_pages.WINDOW.days,
        incidents=tx.scalars(
            select(Incident).where(Incident.provider_id == one.id, incidents.visible(tx.actor))
            .order_by(Incident.started_at.desc()).limit(8)
        ).all(),
        bills=tx.scalars(
            select(Bill).where(Bill.provider_id == one.id, bills.visible(tx.actor))
            .order_by(Bill.month.desc(), Bill.revision.desc()).limit(6)
        ).all(),
        cards=tx.scalars(
            select(ScorecardRecord).where(ScorecardRecord.provider_id == one.id, cards.visible(tx.actor))
            .order_by(ScorecardRecord.month.desc(), ScorecardRecord.revision.desc()).limit(6)
        ).all(),
        order_code=order_pages.code,
        incident_code=incident_pages.code,
        card_code=score_pages.code,
        grade=score_pages.grade,
        verbs=VERB_LABELS,
    )  # fmt: skip


@frame.finder(*READERS, order=50)
def _find(tx: Tx, _actor: Actor, text: str, limit: int) -> list[frame.Hit]:
    query = _own(tx, select(CloudProvider).where(frame.matching(text, CloudProvider.name)))
    return [
        frame.Hit(N_("云服务商"), one.name, url_for("companies.show", provider_id=one.id), one.code)
        for one in tx.scalars(query.limit(limit))  # type: ignore[attr-defined]
    ]
