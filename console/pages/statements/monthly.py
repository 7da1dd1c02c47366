"""The monthly operations report (运营分析月报): one page that prints, each figure a link to its rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Blueprint, render_template, request
from sqlalchemy import case, func, select

from console import anchors, frame
from console.access import STEWARDS, allow
from console.book import reading
from console.pages.statements.statements import hours, money, standing
from console.words import UNKNOWN, _, kind_label, percent
from metering import statements
from metering.judging import LABELS, Verdict, findings
from metering.statements import (
    CORRECTION,
    STATE_LABELS,
    Dispute,
    DisputeState,
    StatementLine,
    StatementRun,
    closings,
    disputes,
    reconciliation,
    unit_hours,
    yuan,
)
from providers.billing import month_bounds
from providers.orders import WorkOrder, delivery_times
from quota.audit import AuditRecord
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import CloudProvider, Department
from quota.errors import N_
from quota.units import CLASSES, ClassCode

blueprint = Blueprint("monthly", __name__, url_prefix="/reports/monthly")
frame.page("reports", "monthly.index", N_("运营月报"), order=50)


NAMED = 15
"""Owners that are named; the rest is summed."""


@blueprint.get("/")
@allow(*STEWARDS)
def index() -> str:
    tx = reading()
    run = standing(tx, request.args.get("month", ""))
    months = statements.months(tx)
    if run is None:
        return render_template("monthly/index.html", run=None, months=months)
    start, end = month_bounds(run.month)
    judged = findings.last_run(tx)
    head = tx.scalar(select(AuditRecord).order_by(AuditRecord.sequence.desc()).limit(1))
    return render_template(
        "monthly/index.html",
        run=run,
        months=months,
        closing=closings.closing(tx, run.month),
        period=f"{start.astimezone(ZONE):%Y-%m-%d} – {min(run.until, end).astimezone(ZONE) - timedelta(seconds=1):%Y-%m-%d}",
        kinds=_kinds(tx, run),
        departments=_by(tx, run, Department, StatementLine.department_id),
        providers=_by(tx, run, CloudProvider, StatementLine.provider_id),
        bills=_bills(tx, run.month),
        disputes=_disputes(tx, run.month),
        delivery=_delivery(tx, run.month),
        judged=judged,
        verdicts=[(_(LABELS[Verdict(name)]), count) for name, count in sorted(judged.counts.items())] if judged else [],
        payable=money(yuan(run.proven_fen + run.correction_fen)),
        unmeasured=money(yuan(run.unmeasured_fen)),
        coverage=_share(run.proven_fen, run.proven_fen + run.unmeasured_fen),
        head=head,
        anchored=anchors.newest(tx),
        short=anchors.short,
    )


def _share(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


def _kinds(tx: Tx, run: StatementRun) -> list[list[Any]]:
    """What was held of each kind, and how much of it is proven."""
    rows = tx.execute(
        select(
            StatementLine.kind, func.sum(StatementLine.allocated), func.sum(StatementLine.proven),
            func.sum(StatementLine.cost_fen),
        )
        .where(StatementLine.run_id == run.id, StatementLine.charge != CORRECTION)
        .group_by(StatementLine.kind)
    )  # fmt: skip
    return [
        [
            kind_label(kind),
            hours(unit_hours(kind, int(allocated))),
            _(CLASSES[ClassCode(kind)].shown) + "·" + _("时"),
            percent(_share(int(proven), int(allocated))),
            money(yuan(int(cost)) if cost is not None else None),
        ]
        for kind, allocated, proven, cost in sorted(rows, key=lambda row: CLASSES.place(ClassCode(row[0])))
    ]


def _by(tx: Tx, run: StatementRun, model: Any, column: Any) -> list[list[Any]]:
    """Cost by owner, the largest and the rest."""
    owners = (
        select(
            column.label("owner"), func.sum(StatementLine.cost_fen).label("fen"),
            func.count(StatementLine.resource_id.distinct()).label("resources"),
        )
        .where(StatementLine.run_id == run.id)
        .group_by(column)
        .subquery()
    )  # fmt: skip
    owner = owners.c
    most = (
        select(model.name, owner.fen, owner.resources)
        .select_from(owners)
        .outerjoin(model, model.id == owner.owner)
        .order_by(func.coalesce(owner.fen, 0).desc(), model.name)
        .limit(NAMED)
    )
    rows = tx.execute(most).all()
    told = [
        [name or _("无归属"), f"{count:,}", money(yuan(int(cost)) if cost is not None else None)]
        for name, cost, count in rows
    ]
    count, fen, resources = tx.execute(select(func.count(), func.sum(owner.fen), func.sum(owner.resources))).one()
    if count > len(rows):
        rest = int(fen or 0) - sum(int(cost or 0) for _name, cost, _count in rows)
        left = int(resources) - sum(each for _name, _cost, each in rows)
        told.append([_("其余%(count)s个", count=count - len(rows)), f"{left:,}", money(yuan(rest))])
    return told


def _bills(tx: Tx, month: str) -> list[list[Any]]:
    return [
        [
            one.pool.name,
            one.provider.name,
            *(
                money(yuan(figure)) if one.bill_id else UNKNOWN
                for figure in (one.billed_fen, one.proven_fen, one.disputed_fen, one.unmeasured_fen)
            ),
        ]
        for one in reconciliation.standing(tx, month)
    ]


def _disputes(tx: Tx, month: str) -> list[list[Any]]:
    rows = tx.execute(
        select(Dispute.state, func.count(), func.sum(Dispute.fen))
        .where(Dispute.month == month, disputes.visible(tx.actor))
        .group_by(Dispute.state)
    ).all()
    by = {state: (count, None if fen is None else int(fen)) for state, count, fen in rows}
    return [
        [_(label), f"{by[state.value][0]:,}", money(yuan(by[state.value][1]))]
        for state, label in STATE_LABELS.items()
        if state.value in by and state is not DisputeState.LAPSED
    ]


def _delivery(tx: Tx, month: str) -> dict[str, Any]:
    start, end = month_bounds(month)
    # Whose limit is past was either delivered by it or was not.
    in_time = func.count(case((WorkOrder.delivered_at <= WorkOrder.due_at, 1)))
    due = select(func.count(), in_time).where(WorkOrder.due_at >= start, WorkOrder.due_at < min(end, tx.now))
    orders, kept = tx.execute(due).one()
    return {
        "orders": orders,
        "in_time": _share(kept, orders),
        "buckets": [[str(bucket), f"{count:,}"] for bucket, count in delivery_times(tx, start, end).items()],
    }
