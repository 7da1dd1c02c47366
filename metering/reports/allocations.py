"""What was promised at the end of a period, by the entries of the ledger up to then, and when it would run out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from metering.reports.frames import Frame, day
from metering.reports.scopes import ScopeKind
from quota.ledger import OWNED, Account, Entry, Holder, Transfer, histories, outlook
from quota.units import BLOCK, CLASSES, MEMORY, OBJECT, VCPU, ClassCode

HISTORY_DAYS = 90
FORETOLD = (VCPU, MEMORY, BLOCK, OBJECT)
"""Classes of which a date is told when they run out."""

Balances = dict[tuple[int, str, str], dict[str, int]]


def allocations(frame: Frame) -> list[dict[str, Any]]:
    """By pool and commodity: installed, promised and in use at the end, and promised at the start. Base units. A department
    reads its own accounts alone: what a pool has is no word on it. Nothing of a system: the ledger counts none."""
    if frame.scope.kind is ScopeKind.SYSTEM:
        return []
    now, then = _balances(frame, frame.end), _balances(frame, frame.start)
    told = []
    for (pool_id, kind, arch), row in now.items():
        before = then.get((pool_id, kind, arch), {})
        pool = frame.pools[pool_id]
        told.append(
            {
                "pool": frame.name("pool", pool_id),
                "zone": pool.zone,
                "arch": pool.arch,
                "kind": kind,
                "installed": None if frame.scope.kind is ScopeKind.DEPARTMENT else -row.get(Holder.SUPPLY.value, 0),
                "promised": _promised(row),
                "used": row.get(Holder.USED.value, 0),
                "held": row.get(Holder.HELD.value, 0),
                "promised_before": _promised(before),
            }
        )
    told = [one for one in told if one["promised"] or one["installed"]]
    return sorted(told, key=lambda one: (one["zone"], one["pool"], CLASSES.place(ClassCode(one["kind"])), one["arch"]))


def _promised(row: Mapping[str, int]) -> int:
    return sum(row.get(holder.value, 0) for holder in OWNED)


def _balances(frame: Frame, upto: datetime) -> Balances:
    query = (
        select(Account.pool_id, Account.kind, Account.arch, Account.holder, func.sum(Entry.delta))
        .join(Entry, Entry.account_id == Account.id)
        .join(Transfer, Transfer.id == Entry.transfer_id)
        .where(Transfer.at < upto, frame.scope.rows(department=Account.department_id, pool=Account.pool_id))
        .group_by(Account.pool_id, Account.kind, Account.arch, Account.holder)
    )
    found: Balances = {}
    for pool_id, kind, arch, holder, total in frame.tx.execute(query):
        found.setdefault((pool_id, kind, arch), {})[holder] = int(total)
    return found


def outlooks(frame: Frame) -> list[dict[str, Any]]:
    """By pool and commodity of ``FORETOLD``: the line of its promises in the days up to the end, and when it would run out.
    ``state``: "foretold", "steady" (not within the horizon), "full", "short" (too few days to say)."""
    if frame.scope.kind not in (ScopeKind.CITY, ScopeKind.PROVIDER):
        return []
    zone = frame.calendar.zone
    first, last = histories.window(frame.period.last, HISTORY_DAYS)
    begun, began = histories.begun(frame.tx, zone=zone), histories.begun_by_pool(frame.tx, zone=zone)
    first = min(max(first, begun), last) if begun else last
    pool_ids = sorted(frame.scope.pools) if frame.scope.pools is not None else None
    grown = histories.daily(frame.tx, OWNED, first, last, pool_ids=pool_ids, zone=zone)
    adopted = histories.daily(frame.tx, OWNED, first, last, pool_ids=pool_ids, adopted=True, zone=zone)
    now = _balances(frame, frame.end)
    told = []
    for (pool_id, cls), line in grown.items():
        row = now.get((pool_id, cls.kind, cls.arch), {})
        installed = -row.get(Holder.SUPPLY.value, 0)
        if cls.kind not in FORETOLD or not installed:
            continue
        taken_over = adopted.get((pool_id, cls), [0] * len(line))
        history = outlook.grown(line, taken_over)[max((began.get(pool_id, first) - first).days, 0) :]
        left = outlook.left_after(installed, _promised(row))
        trend = outlook.trend(history)
        out = outlook.runs_out(trend, left, frame.period.last) if trend is not None else None
        told.append(
            {
                "pool": frame.name("pool", pool_id),
                "zone": frame.pools[pool_id].zone,
                "kind": str(cls.kind),
                "arch": str(cls.arch),
                "installed": installed,
                "left": left,
                "days": len(history),
                "state": _state(left, out),
                "on": day(out.on) if out else None,
                "earliest": day(out.earliest) if out else None,
                "latest": day(out.latest) if out else None,
            }
        )
    return sorted(told, key=lambda one: (one["on"] or "9", one["pool"], CLASSES.place(ClassCode(one["kind"]))))


def _state(left: int, out: outlook.RunOut | None) -> str:
    if left <= 0:
        return "full"
    if out is None:
        return "short"
    return "foretold" if out.on is not None else "steady"


def promised_by_day(frame: Frame) -> dict[str, Any] | None:
    """vCPU promised at the end of each day of the period, of all chips together: for the chart."""
    if frame.scope.kind is ScopeKind.SYSTEM:
        return None
    grown = histories.daily(
        frame.tx,
        OWNED,
        frame.period.first,
        frame.period.last,
        pool_ids=sorted(frame.scope.pools) if frame.scope.pools is not None else None,
        department_ids=sorted(frame.scope.departments) if frame.scope.departments is not None else None,
        zone=frame.calendar.zone,
    )
    lines = [line for (_pool, cls), line in grown.items() if cls.kind == VCPU]
    days = [frame.period.first + timedelta(days=n) for n in range(frame.period.days)]
    if not lines:
        return None
    return {"days": [one.isoformat() for one in days], "vcpu": [sum(at) for at in zip(*lines, strict=True)]}
