"""The monthly operations report (运营分析月报): one page that prints, each figure a link to its rows."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from flask import Blueprint, render_template, request
from sqlalchemy import func, select

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
    """Cost by owner, the largest fifteen and the rest."""
    rows = tx.execute(
        select(model.name, func.sum(StatementLine.cost_fen), func.count(StatementLine.resource_id.distinct()))
        .select_from(StatementLine)
        .outerjoin(model, model.id == column)
        .where(StatementLine.run_id == run.id)
        .group_by(model.name)
    ).all()
    ordered = sorted(rows, key=lambda row: -(row[1] or 0))
    told = [
        [name or _("无归属"), f"{count:,}", money(yuan(int(cost)) if cost is not None else None)]
        for name, cost, count in ordered[:15]
    ]
    if len(ordered) > 15:
        rest: Decimal | None = yuan(sum(int(row[1] or 0) for row in ordered[15:]))
        told.append(
            [_("其余%(count)s个", count=len(ordered) - 15), f"{sum(row[2] for row in ordered[15:]):,}", money(rest)]
        )
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
    due = tx.scalars(select(WorkOrder).where(WorkOrder.due_at >= start, WorkOrder.due_at < min(end, tx.now))).all()
    told = [one.in_time(tx.now) for one in due]
    known = [one for one in told if one is not None]
    return {
        "orders": len(known),
        "in_time": _share(sum(known), len(known)),
        "buckets": [[str(bucket), f"{count:,}"] for bucket, count in delivery_times(tx, start, end).items()],
    }
