"""Evidence rows of the indicators that rest on capacity, incidents, ratings and what the steward records.

A company without any such row in a period has none, and the indicator is not scored: silence is no full mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from providers.assessment import periods, ratings, records
from providers.assessment.compatibility import Combination
from providers.assessment.measures import Row, rounded
from providers.assessment.ratings import Rating
from providers.assessment.records import CERTIFICATES, RecordKind
from providers.assessment.scorecard import Indicator
from providers.base import Responsibility, ServiceKind
from providers.billing import Incident, month_bounds
from quota.calendar import ZONE
from quota.directory import Pool
from quota.inventory import Resource
from quota.ledger import Account, Entry, Holder, Transfer
from quota.units import MEMORY, VCPU

if TYPE_CHECKING:
    from quota.db import Tx

OUTAGE = 2
"""Our own default: incidents of this level and worse take what they affect down."""

WATCHED = Decimal("0.9")
"""Our own default: a pool that reported less than this share of its samples was not watched."""

LOW, HIGH = Decimal("0.3"), Decimal("0.8")
"""Our own default: how much of a pool should be allocated."""

MEASURED = (VCPU, MEMORY)

Found = Mapping[Indicator, list[Row]]


def of_month(tx: Tx, provider_id: int, month: str, reporting: Sequence[Row]) -> Found:
    """Rows that belong to one month."""
    pools = tx.scalars(select(Pool).where(Pool.provider_id == provider_id).order_by(Pool.id)).all()
    return {
        Indicator.AVAILABILITY: _availability(tx, pools, month, reporting),
        Indicator.CAPACITY: _capacity(tx, pools, month),
        Indicator.SATISFACTION: _ratings(tx, provider_id, month),
        Indicator.SECURITY: _security(tx, provider_id, month),
        Indicator.BACKUP: _backup(tx, provider_id, month),
        Indicator.METERING: _vetoes(tx, provider_id, month, RecordKind.FALSIFIED),
    }


def of_period(tx: Tx, provider_id: int, period: str) -> Found:
    """Rows that hold for a period as it stands at its end (or now, while it runs)."""
    _, end = periods.bounds(period)
    day = (min(end, tx.now) - timedelta(seconds=1)).astimezone(ZONE).date()
    kept = records.standing(tx, provider_id, RecordKind.CERTIFICATE)
    certificates = []
    if kept:
        for code in CERTIFICATES:
            mine = [one for one in kept if one.figures["certificate"] == code and one.happened_on <= day]
            last = max(mine, key=lambda one: one.valid_until or one.happened_on, default=None)
            until = last.valid_until if last is not None else None
            ref = f"record:{last.id}" if last is not None else f"certificate:{code}"
            certificates.append(
                Row(ref, {"certificate": code, "valid_until": until and until.isoformat(), "on": day.isoformat(),
                          "ok": until is not None and until >= day})
            )  # fmt: skip
    wanted = tx.scalars(
        select(Combination)
        .where(Combination.provider_id == provider_id, Combination.required.is_(True))
        .order_by(Combination.id)
    )
    combinations = [
        Row(
            f"combination:{one.id}",
            {"what": " · ".join(filter(None, (one.chip, one.system, one.database, one.middleware))),
             "fitness": one.fitness, "valid_until": one.valid_until and one.valid_until.isoformat(),
             "ok": one.good(day)},
        )
        for one in wanted
    ]  # fmt: skip
    return {Indicator.COMPLIANCE: certificates, Indicator.XINCHUANG: combinations}


def _availability(tx: Tx, pools: Iterable[Pool], month: str, reporting: Sequence[Row]) -> list[Row]:
    """Minutes of a pool and minutes that its settled incidents took, in proportion to the hosts that were hit."""
    start, end = month_bounds(month)
    end = min(end, tx.now)
    rows = []
    for pool in pools:
        if end <= start or not _watched(pool.code, month, reporting):
            continue
        hosts = tx.scalar(
            select(func.count(Resource.id)).where(
                Resource.pool_id == pool.id,
                Resource.kind.in_([ServiceKind.VM.value, ServiceKind.BARE_METAL.value]),
                Resource.first_seen_at < end,
                (Resource.gone_at.is_(None)) | (Resource.gone_at > start),
            )
        )
        outages, named = [], []
        hit = tx.scalars(
            select(Incident)
            .where(
                Incident.pool_id == pool.id,
                Incident.level <= OUTAGE,
                Incident.responsibility == Responsibility.PROVIDER.value,
                Incident.started_at < end,
            )
            .order_by(Incident.id)
        )
        for one in hit:
            over = min(one.recovered_at or end, end)
            began = max(one.started_at, start)
            if over <= began:
                continue
            share = min(Decimal(1), Decimal(len(one.affected)) / hosts) if one.affected and hosts else Decimal(1)
            outages.append((began, over, share))
            named.append(f"incident:{one.id}")
        rows.append(
            Row(
                f"pool:{pool.code}/{month}",
                {"pool": pool.code, "minutes": str(_minutes(start, end)), "down_minutes": str(rounded(_down(outages), 4)),
                 "hosts": hosts, "incidents": named},
            )
        )  # fmt: skip
    return rows


def _down(outages: Sequence[tuple[datetime, datetime, Decimal]]) -> Decimal:
    """Minutes lost to outages (from, to, share of the pool): those that overlap take down no more than the whole pool."""
    edges = sorted({edge for began, over, _ in outages for edge in (began, over)})
    lost = Decimal(0)
    for first, last in pairwise(edges):
        share = sum((part for began, over, part in outages if began <= first and last <= over), Decimal(0))
        lost += _minutes(first, last) * min(share, Decimal(1))
    return lost


def _watched(code: str, month: str, reporting: Sequence[Row]) -> bool:
    mine = [row for row in reporting if row.facts.get("pool") == code and row.facts.get("month") == month]
    expected = sum(int(row.facts["expected"]) for row in mine)
    return expected > 0 and Decimal(sum(int(row.facts["received"]) for row in mine)) / expected >= WATCHED


def _capacity(tx: Tx, pools: Iterable[Pool], month: str) -> list[Row]:
    """How much of each pool was allocated at the end of the month, by the ledger as of then."""
    _, end = month_bounds(month)
    until = min(end, tx.now)
    rows = []
    for pool in pools:
        for kind in MEASURED:
            query = (
                select(Account.holder, func.sum(Entry.delta))
                .join(Entry, Entry.account_id == Account.id)
                .join(Transfer, Transfer.id == Entry.transfer_id)
                .where(Account.pool_id == pool.id, Account.kind == kind, Transfer.at < until)
                .group_by(Account.holder)
            )
            sums = {holder: int(figure or 0) for holder, figure in tx.execute(query)}
            capacity = -sums.get(Holder.SUPPLY.value, 0)
            if capacity <= 0:
                continue
            if sums.get(Holder.FREE.value, 0) == capacity:  # equipped, but nothing was booked yet: not known
                continue
            rate = 1 - Decimal(sums.get(Holder.FREE.value, 0)) / capacity
            rows.append(
                Row(
                    f"capacity:{pool.code}/{month}/{kind}",
                    {"pool": pool.code, "kind": kind, "capacity": capacity, "rate": str(rounded(rate, 4)),
                     "at": until.astimezone(UTC).isoformat() if end <= tx.now else month, "ok": LOW <= rate <= HIGH},
                )
            )  # fmt: skip
    return rows


def _ratings(tx: Tx, provider_id: int, month: str) -> list[Row]:
    start, end = month_bounds(month)
    of = ratings.served(tx, provider_id)
    found = tx.scalars(
        select(Rating).where(Rating.provider_id == provider_id, Rating.at >= start, Rating.at < end).order_by(Rating.id)
    )
    return [
        Row(
            f"rating:{one.id}",
            {"order": one.order_id, "stars": one.stars, "department": one.department_id, "of": of},
        )
        for one in found
    ]


_WHAT: Mapping[str, str] = {
    RecordKind.REVIEW: "none",
    RecordKind.EVENT: "general",
    RecordKind.MAJOR_EVENT: "major",
    RecordKind.VULNERABILITY: "vulnerability",
}


def _security(tx: Tx, provider_id: int, month: str) -> list[Row]:
    rows = [
        Row(f"record:{one.id}", {"what": _WHAT[one.kind], "count": one.figures.get("count", 1)})
        for one in records.standing(tx, provider_id, *map(RecordKind, _WHAT))
        if periods.month_of(one.happened_on) == month
    ]
    return rows + _vetoes(tx, provider_id, month, RecordKind.LEAK)


def _vetoes(tx: Tx, provider_id: int, month: str, kind: RecordKind) -> list[Row]:
    return [
        Row(f"record:{one.id}", {"veto": kind.value})
        for one in records.standing(tx, provider_id, kind)
        if periods.month_of(one.happened_on) == month
    ]


def _backup(tx: Tx, provider_id: int, month: str) -> list[Row]:
    rows = []
    for one in records.standing(tx, provider_id, RecordKind.BACKUPS, RecordKind.DRILL):
        if periods.month_of(one.happened_on) != month:
            continue
        drill = one.kind == RecordKind.DRILL
        facts = {"drill": one.figures["passed"]} if drill else {"due": one.figures["due"], "done": one.figures["done"]}
        rows.append(Row(f"record:{one.id}", facts))
    return rows


def _minutes(start: datetime, end: datetime) -> Decimal:
    return Decimal(max(0, int((end - start).total_seconds()))) / 60
