"""Money of a period: what statements prove and cannot measure, what bills claim, what is disputed. Fen, as integers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import func, select

from metering.reports.frames import Frame, rounded
from metering.reports.scopes import ScopeKind
from metering.statements import CORRECTION, Dispute, DisputeState, StatementLine, StatementRun, closings, reconciliation


def months(frame: Frame) -> list[dict[str, Any]]:
    """Each calendar month that the period touches: on which run of its statement it rests (the closed one; else the newest
    known), and its sums. A month without a statement has none."""
    told = []
    for month in frame.period.months():
        run = _run(frame, month)
        told.append({"month": month, **(_sums(frame, run) if run is not None else _NOTHING)})
    return told


_NOTHING: dict[str, Any] = {
    "revision": None, "digest": None, "closed": False, "proven": None, "unmeasured": None, "corrections": None,
    "resources": 0, "unpriced": 0, "coverage": None,
}  # fmt: skip


def _run(frame: Frame, month: str) -> StatementRun | None:
    closed = closings.closing(frame.tx, month)
    if closed is not None and closed.closed_at <= frame.known_at:
        return frame.tx.get(StatementRun, closed.run_id)
    return frame.tx.scalar(
        select(StatementRun)
        .where(StatementRun.month == month, StatementRun.made_at <= frame.known_at)
        .order_by(StatementRun.revision.desc())
        .limit(1)
    )


def _sums(frame: Frame, run: StatementRun) -> dict[str, Any]:
    closed = closings.closing(frame.tx, run.month)
    usual = StatementLine.charge != CORRECTION
    query = select(
        func.sum(StatementLine.cost_fen).filter(usual),
        func.sum(StatementLine.unmeasured_fen).filter(usual),
        func.sum(StatementLine.cost_fen).filter(~usual),
        func.count(StatementLine.resource_id.distinct()),
        func.count().filter(StatementLine.tariff_id.is_(None), usual),
        func.sum(StatementLine.proven).filter(usual, StatementLine.kind == "vcpu"),
        func.sum(StatementLine.allocated).filter(usual, StatementLine.kind == "vcpu"),
    ).where(StatementLine.run_id == run.id, _own(frame))
    proven, unmeasured, corrections, resources, unpriced, shown, held = frame.tx.execute(query).one()
    return {
        "revision": run.revision,
        "digest": run.digest,
        "closed": closed is not None and closed.run_id == run.id,
        "proven": int(proven or 0),
        "unmeasured": int(unmeasured or 0),
        "corrections": int(corrections or 0),
        "resources": int(resources),
        "unpriced": int(unpriced),
        "coverage": rounded(100 * int(shown or 0) / int(held)) if held else None,
    }


def _own(frame: Frame) -> Any:
    return frame.scope.rows(
        department=StatementLine.department_id, provider=StatementLine.provider_id, system=StatementLine.system_id
    )


def kinds(frame: Frame) -> list[dict[str, Any]]:
    """By class: unit-seconds held and proven, and what the proven ones cost, over all months that have a statement."""
    held: Counter[str] = Counter()
    proven: Counter[str] = Counter()
    cost: Counter[str] = Counter()
    for run in filter(None, (_run(frame, month) for month in frame.period.months())):
        query = (
            select(
                StatementLine.kind, func.sum(StatementLine.allocated), func.sum(StatementLine.proven),
                func.sum(StatementLine.cost_fen),
            )
            .where(StatementLine.run_id == run.id, StatementLine.charge != CORRECTION, _own(frame))
            .group_by(StatementLine.kind)
        )  # fmt: skip
        for kind, allocated, shown, fen in frame.tx.execute(query):
            held[kind] += int(allocated)
            proven[kind] += int(shown)
            cost[kind] += int(fen or 0)
    return [{"kind": kind, "held": held[kind], "proven": proven[kind], "fen": cost[kind]} for kind in sorted(held)]


def payers(frame: Frame) -> list[dict[str, Any]]:
    """By department: resources, proven and unmeasurable cost, the largest first."""
    sums: dict[int | None, Counter[str]] = {}
    for run in filter(None, (_run(frame, month) for month in frame.period.months())):
        query = (
            select(
                StatementLine.department_id, func.sum(StatementLine.cost_fen), func.sum(StatementLine.unmeasured_fen),
            )
            .where(StatementLine.run_id == run.id, _own(frame))
            .group_by(StatementLine.department_id)
        )  # fmt: skip
        for department_id, fen, unmeasured in frame.tx.execute(query):
            row = sums.setdefault(department_id, Counter())
            row["proven"] += int(fen or 0)
            row["unmeasured"] += int(unmeasured or 0)
    told = [
        {
            "department": frame.name("department", one_id),
            "proven": row["proven"],
            "unmeasured": row["unmeasured"],
        }
        for one_id, row in sums.items()
    ]
    return sorted(told, key=lambda one: (one["department"] is None, -one["proven"], one["department"] or ""))


def bills(frame: Frame) -> list[dict[str, Any]]:
    """Each month's bill of each pool against our own evidence: billed, proven, disputed, unmeasurable. The city's and a
    company's own reports alone have them."""
    if frame.scope.kind not in (ScopeKind.CITY, ScopeKind.PROVIDER):
        return []
    provider = frame.scope.id if frame.scope.kind is ScopeKind.PROVIDER else None
    told = []
    for month in frame.period.months():
        for one in reconciliation.standing(frame.tx, month, provider, known_at=frame.known_at):
            there = one.bill_id is not None
            told.append(
                {
                    "month": month,
                    "pool": frame.name("pool", one.pool_id),
                    "provider": frame.name("provider", one.provider_id),
                    "revision": one.revision,
                    "digest": one.digest,
                    "billed": one.billed_fen if there else None,
                    "proven": one.proven_fen if there else None,
                    "disputed": one.disputed_fen if there else None,
                    "unmeasured": one.unmeasured_fen if there else None,
                }
            )
    return told


def disputes(frame: Frame) -> list[dict[str, Any]]:
    """Disputes about the period's bills as they stood at what is known: open, settled, withdrawn."""
    if frame.scope.kind not in (ScopeKind.CITY, ScopeKind.PROVIDER):
        return []
    query = select(Dispute.fen, Dispute.settled_at, Dispute.settled_fen, Dispute.state).where(
        Dispute.month.in_(frame.period.months()),
        Dispute.opened_at <= frame.known_at,
        frame.scope.rows(provider=Dispute.provider_id),
    )
    found: dict[str, list[int]] = {}
    for fen, settled_at, settled_fen, state in frame.tx.execute(query):
        if state == DisputeState.LAPSED.value:
            continue
        done = settled_at is not None and settled_at <= frame.known_at
        row = found.setdefault("settled" if done else "open", [0, 0, 0])
        row[0] += 1
        row[1] += int(fen or 0)
        row[2] += int(settled_fen or 0) if done else 0
    return [
        {"state": state, "count": n, "fen": fen, "settled": settled}
        for state, (n, fen, settled) in sorted(found.items())
    ]
