"""The four-way line: approved, enacted, metered and billed on one line; disputes from their claim to their settlement."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import case, func, select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response

from console import frame, links
from console.access import BUSINESS, STEWARDS, allow, may
from console.book import actor, book, lake, reading, settings
from console.lists import Column, Filter, Rows, listing
from console.pages.statements.statements import as_billed, money
from console.programs import Given, listed, takes
from console.words import CLASS_LABELS, UNKNOWN, _, kind_label
from metering.statements import (
    LABELS,
    Dispute,
    DisputeState,
    FourWayLine,
    ReconciliationRun,
    disputes,
    reconciliation,
    yuan,
)
from metering.workbench import Workbench
from providers.base import CNY
from providers.billing import Bill
from quota.actors import Role
from quota.db import Tx
from quota.directory import Pool
from quota.errors import N_, NotFound
from quota.units import CLASSES, ClassCode

blueprint = Blueprint("reconciliation", __name__, url_prefix="/reports/reconciliation")
frame.page("reports", "reconciliation.index", N_("四方对账"), order=20)

DIFFERING = "differing"
CAUSES = {DIFFERING: N_("有差异"), **LABELS}
BADGES = {
    DisputeState.OPEN: "dispute_open", DisputeState.CLAIMED: "dispute_claimed",
    DisputeState.ANSWERED: "dispute_answered", DisputeState.SETTLED: "dispute_settled",
    DisputeState.LAPSED: "dispute_lapsed",
}  # fmt: skip


def cause_label(code: str) -> str:
    return _(LABELS[code])


def shown_hours(kind: str, quantity: Decimal | None) -> Decimal | None:
    """Base units × hours → shown units × hours."""
    return None if quantity is None else quantity / CLASSES[ClassCode(kind)].factor


def written(value: Decimal | None) -> str:
    return UNKNOWN if value is None else f"{value:,.1f}"


def unit_of(kind: str) -> str:
    return _(CLASSES[ClassCode(kind)].shown) + "·" + _("时")


def _side(name: str) -> Any:
    return lambda row: shown_hours(row.kind, getattr(row, name))


def _causes(row: FourWayLine) -> str | None:
    return _("；").join(cause_label(one["cause"]) for one in row.causes) or None


COLUMNS = [
    Column("name", N_("资源"), lambda r: r.resource.name or r.external_id if r.resource else r.external_id,
           sort=FourWayLine.external_id, href=lambda r: url_for("reconciliation.line", line_id=r.id), title=True),
    Column("kind", N_("类别"), lambda r: kind_label(r.kind), code=lambda r: r.kind, sort=FourWayLine.kind),
    Column("department", N_("使用单位"), lambda r: r.department.name if r.department else None, href=links.department(lambda r: r.department_id), minor=True),
    Column("pool", N_("资源池"), lambda r: r.pool.name, href=links.pool(lambda r: r.pool_id), minor=True),
    Column("approved", N_("批准"), _side("approved"), number=True, text=written),
    Column("enacted", N_("提供"), _side("enacted"), number=True, text=written),
    Column("metered", N_("计量"), _side("metered"), number=True, text=written),
    Column("unmeasured", N_("不可计量"), _side("unmeasured"), number=True, text=written),
    Column("billed", N_("账单"), _side("billed"), number=True, text=written),
    Column("unit", N_("计量单位"), lambda r: unit_of(r.kind), minor=True),
    Column("cause", N_("差异原因"), _causes),
    Column("billed_cost", N_("账单金额"), lambda r: yuan(r.billed_fen), unit=N_("元"), number=True, text=money,
           total=func.sum(FourWayLine.billed_fen) / 100.0, minor=True),
    Column("disputed", N_("争议金额"), lambda r: yuan(r.disputed_fen), unit=N_("元"), number=True, text=money,
           sort=FourWayLine.disputed_fen, total=func.sum(FourWayLine.disputed_fen) / 100.0),
]  # fmt: skip


_UNMEASURABLE = reconciliation.Gap.UNMEASURABLE.value


def _counted(tx: Tx, run_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Run → how many of its lines each choice of the filter shows."""
    query = (
        select(
            FourWayLine.run_id, func.sum(case((reconciliation.differs(), 1), else_=0)),
            func.sum(case((reconciliation.has(_UNMEASURABLE), 1), else_=0)), func.count(),
        )
        .where(FourWayLine.run_id.in_(run_ids), reconciliation.visible(tx, actor()))
        .group_by(FourWayLine.run_id)
    )  # fmt: skip
    return {
        run_id: {DIFFERING: int(differing), _UNMEASURABLE: int(unmeasurable), "all": int(lines)}
        for run_id, differing, unmeasurable, lines in tx.execute(query)
    }


def _cause(query: Rows, value: str) -> Rows:
    if value == DIFFERING:
        return query.where(reconciliation.differs())
    return query.where(reconciliation.has(value))


def pools(tx: Tx) -> dict[str, str]:
    query = select(Pool.id, Pool.name).order_by(Pool.name)
    if actor().role is Role.PROVIDER:
        query = query.where(Pool.provider_id == actor().provider_id)
    return {str(one): name for one, name in tx.execute(query)}


@blueprint.get("/")
@allow(*BUSINESS)
@listed(
    COLUMNS,
    args=("month", "pool", "cause", "kind", "q", "provider"),
)
def index() -> str | Response:
    tx = reading()
    months = reconciliation.months(tx)
    asked = request.args.get("month", "")
    month = asked if asked in months else (months[0] if months else "")
    runs = reconciliation.standing(tx, month)
    filters = [
        Filter("month", N_("月份"), lambda q, _v: q, options={one: one for one in months}, default=month),
        Filter("pool", N_("资源池"), lambda q, v: q.where(FourWayLine.pool_id == int(v)), options=pools(tx)),
        Filter("cause", N_("差异原因"), _cause, options=CAUSES, default=DIFFERING),
        Filter("kind", N_("类别"), lambda q, v: q.where(FourWayLine.kind == v), options=CLASS_LABELS),
        Filter("q", N_("云侧编号"), lambda q, v: q.where(frame.matching(v, FourWayLine.external_id))),
    ]
    query = (
        select(FourWayLine)
        .where(FourWayLine.run_id.in_([one.id for one in runs]), reconciliation.visible(tx, actor()))
        .options(joinedload(FourWayLine.resource), joinedload(FourWayLine.department), joinedload(FourWayLine.pool))
    )
    found = listing(tx, query, COLUMNS, key=FourWayLine.id, filters=filters, sort="-disputed")
    exported = found.exported(f"four-way-{month}")
    if exported:
        return exported
    mine = actor()
    bills = [
        one
        for one in runs
        if mine.role in STEWARDS or (mine.role is Role.PROVIDER and one.provider_id == mine.provider_id)
    ]
    counted = _counted(tx, [one.id for one in bills])
    handed_in = _handed_in(tx, month, bills)
    rows = [
        [
            one.pool.name,
            one.provider.name,
            _bill_of(one, handed_in.get(one.pool_id)),
            *(
                money(yuan(figure)) if one.bill_id else UNKNOWN
                for figure in (one.billed_fen, one.proven_fen, one.disputed_fen, one.unmeasured_fen, one.unbilled_fen)
            ),
            *(
                [
                    (
                        f"{counted.get(one.id, {}).get(cause, 0):,}",
                        url_for(".index", month=month, pool=one.pool_id, cause=cause),
                    )
                ]
                for cause in (DIFFERING, _UNMEASURABLE, "all")
            ),
        ]
        for one in bills
    ]
    return render_template(
        "reconciliation/index.html", rows=found, bills=rows, month=month, last=_last_month(tx),
        made=max((one.made_at for one in runs), default=None),
    )  # fmt: skip


def _handed_in(tx: Tx, month: str, runs: Sequence[ReconciliationRun]) -> dict[int, Bill]:
    """Pool → the newest revision of its bill for the month. The bills that ``runs`` compared come along, by the same query."""
    pools_of = [one.pool_id for one in runs]
    newest = select(func.max(Bill.id)).where(Bill.month == month, Bill.pool_id.in_(pools_of)).group_by(Bill.pool_id)
    compared = [one.bill_id for one in runs if one.bill_id is not None]
    query = select(Bill).where(Bill.id.in_(newest) | Bill.id.in_(compared)).order_by(Bill.id)
    return {one.pool_id: one for one in tx.scalars(query)}


def _bill_of(run: ReconciliationRun, newest: Bill | None) -> list[tuple[str, str]]:
    """The bill that ``run`` compared, whose figures stand beside it, in words, with its address; where a newer one came since, that
    one, too, as not compared yet."""
    found = [(_("未提交账单"), "")]
    if run.bill is not None:
        found = [(_("第 %(revision)s 版", revision=run.bill.revision), url_for("bills.show", bill_id=run.bill.id))]
    if newest is not None and newest.id != run.bill_id:
        text = _("第 %(revision)s 版已提交，尚未比对", revision=newest.revision)
        found.append((text, url_for("bills.show", bill_id=newest.id)))
    return found


def _last_month(tx: Tx) -> str:
    from console.pages.statements.statements import _last_month as last

    return last(tx)


@blueprint.post("/make")
@allow(Role.SUPERVISOR)
@takes(None, Given("month", label=N_("月份"), required=True))
def make() -> Response:
    month = request.form.get("month", "")
    runs = reconciliation.all_pools(Workbench(book(), lake(), settings().data), month, actor=actor())
    flash(_("已比对 %(count)s 个资源池", count=len(runs)), "success")
    return redirect(url_for("reconciliation.index", month=month))


@blueprint.get("/lines/<int:line_id>")
@allow(*BUSINESS)
def line(line_id: int) -> str:
    """One line with its causes and the rows that it rests on. Raises NotFound for one that the visitor may not see."""
    tx = reading()
    one = tx.scalar(select(FourWayLine).where(FourWayLine.id == line_id, reconciliation.visible(tx, actor())))
    if one is None:
        raise NotFound("line.none", N_("没有这一行"))
    causes = [
        [
            cause_label(cause["cause"]),
            f"{shown_hours(one.kind, Decimal(cause['quantity'])):+,.1f}" if Decimal(cause["quantity"]) else UNKNOWN,
            money(yuan(cause["fen"])),
        ]
        for cause in one.causes
    ]
    found = list(
        tx.scalars(
            select(Dispute)
            .where(
                disputes.visible(actor()),
                Dispute.month == one.run.month,
                Dispute.pool_id == one.pool_id,
                Dispute.external_id == one.external_id,
                Dispute.kind == one.kind,
            )
            .order_by(Dispute.id)
        )
    )
    sides = [(label, written(shown_hours(one.kind, figure))) for label, figure in (
        (_("批准"), one.approved), (_("提供"), one.enacted), (_("计量"), one.metered), (_("不可计量"), one.unmeasured),
        (_("账单"), one.billed))]  # fmt: skip
    return render_template(
        "reconciliation/line.html", one=one, sides=sides, causes=causes, unit=unit_of(one.kind), money=money(
            yuan(one.billed_fen)), links=named(tx, one.refs), disputes=[(d, BADGES[DisputeState(d.state)], _(LABELS[d.cause]), money(d.amount))
            for d in found],
    )  # fmt: skip


def named(tx: Tx, refs: list[str]) -> list[tuple[str, str | None]]:
    """(words, address or None) of the rows that a line rests on."""
    from providers.billing import BillLine
    from providers.orders import WorkOrder

    found: list[tuple[str, str | None]] = []
    for ref in refs:
        kind, _colon, number = ref.partition(":")
        if kind == "resource":
            found.append((_("资源台账"), url_for("resources.show", resource_id=int(number))))
        elif kind == "order":
            order = tx.get(WorkOrder, int(number))
            address = url_for("orders.show", order_id=int(number)) if may("orders.show") else None
            found.append((_("工单 %(number)s", number=order.number if order else number), address))
        elif kind == "bill_line":
            row = tx.get(BillLine, int(number))
            if row is not None:
                span = f"{row.since.astimezone(settings().zone):%m-%d %H:%M} – {row.until.astimezone(settings().zone):%m-%d %H:%M}"
                quantity = written(shown_hours(row.kind, row.quantity))
                words = _("账单行 %(number)s:%(quantity)s %(unit)s,%(span)s", number=row.id, quantity=quantity,
                          unit=unit_of(row.kind), span=span)  # fmt: skip
                address = url_for("bills.show", bill_id=row.bill_id) if may("bills.show") else None
                unit = _("元") if row.currency == CNY else row.currency
                money_ = f",{as_billed(row.cost)} {unit}" if row.cost is not None else ""
                found.append((words + money_ + (f",{row.payer}" if row.payer else ""), address))
    return found
