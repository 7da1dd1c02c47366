"""驾驶舱: the city on one wall, 1920 × 1080, dark, without scrolling; it refreshes itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Blueprint, render_template
from sqlalchemy import func, select

from console import frame
from console.access import STEWARDS, allow
from console.book import book, reading
from console.pages.quota import capacity
from metering.cases import Case, CaseState, recoveries
from metering.judging import Finding
from metering.overview import Measured, measured
from providers.assessment import ScorecardRecord
from quota import ledger
from quota.db import Tx
from quota.directory import CloudProvider
from quota.errors import N_
from quota.ledger import Holder
from quota.requests import OPEN, Request
from quota.units import BLOCK, CLASSES, MEMORY, VCPU

blueprint = Blueprint("cockpit", __name__)
frame.page("reports", "cockpit.index", N_("驾驶舱"), order=90)

SHOWN = (VCPU, MEMORY, BLOCK)
CARDS = 6


@blueprint.get("/cockpit")
@allow(*STEWARDS)
def index() -> str:
    tx = reading()
    now = book().clock()
    use = measured(tx)
    return render_template(
        "cockpit/index.html",
        pools=_pools(tx, use),
        run=use.run,
        coverage=use.total(VCPU).coverage,
        mean=use.total(VCPU).mean,
        verdicts=_verdicts(tx, use.run.id) if use.run else {},
        requests=_count(tx, Request, Request.state.in_(OPEN)),
        overdue=_count(tx, Request, Request.state.in_(OPEN), Request.due_at < now),
        cases=_count(tx, Case, Case.state != CaseState.CLOSED.value),
        late=_count(tx, Case, Case.state != CaseState.CLOSED.value, Case.due_at < now),
        recovered=recoveries.recoveries(tx).recovered,
        companies=_standing(tx),
        conserved=ledger.conserved(tx),
        changes=_count(tx, ledger.Transfer, ledger.Transfer.at >= now - timedelta(days=1)),
    )


def _count(tx: Tx, model: Any, *where: Any) -> int:
    return tx.scalar(select(func.count()).select_from(model).where(*where)) or 0


def _verdicts(tx: Tx, run_id: int) -> dict[str, int]:
    rows = tx.execute(
        select(Finding.verdict, func.count()).where(Finding.assessment_id == run_id).group_by(Finding.verdict)
    )
    return {str(verdict): int(count) for verdict, count in rows}


def _pools(tx: Tx, use: Measured) -> list[dict[str, Any]]:
    """Each pool with the kinds that a wall has room for: promised, used and measured of what may be given out."""
    found: dict[int, dict[str, Any]] = {}
    for row in capacity(tx, {}):
        if row["cls"].kind not in SHOWN or not row["pool"].active:
            continue
        one = found.setdefault(row["pool"].id, {"pool": row["pool"], "lines": []})
        parts = row["parts"]
        one["lines"].append(
            {
                "cls": row["cls"],
                "sum": row["sum"],
                "used": parts.get(Holder.USED.value, 0),
                "promised": row["sum"] - parts.get(Holder.FREE.value, 0),
                "use": use.total(row["cls"].kind, pools=[row["pool"].id]),
            }
        )
    for one in found.values():
        one["lines"].sort(key=lambda line: CLASSES.place(line["cls"].kind))
    return list(found.values())[:CARDS]


def _standing(tx: Tx) -> list[tuple[str, ScorecardRecord | None]]:
    """Each company with its newest scorecard."""
    newest = select(func.max(ScorecardRecord.id)).group_by(ScorecardRecord.provider_id)
    cards = {one.provider_id: one for one in tx.scalars(select(ScorecardRecord).where(ScorecardRecord.id.in_(newest)))}
    rows = tx.scalars(select(CloudProvider).where(CloudProvider.active).order_by(CloudProvider.id).limit(CARDS))
    return [(one.name, cards.get(one.id)) for one in rows]
