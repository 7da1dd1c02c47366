"""Scoring a company for a period: the eye's evidence (samples due and come, bills beside what was metered) put beside the
book's, and kept as a card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import select

from metering.statements import reconciliation
from metering.workbench import Works
from providers.assessment import DEFAULT, Row, ScorecardRecord, cards, evidence, gathering, periods
from providers.base import ProviderFault, ResourceState, ServiceKind
from providers.billing import Interval, bills, incidents, month_bounds
from quota import inventory
from quota.actors import Actor, steward
from quota.calendar import ZONE
from quota.db import Tx
from quota.directory import CloudProvider, Pool
from quota.errors import N_, Refused, WrongState
from quota.inventory import Resource

HOSTS = (ServiceKind.VM.value, ServiceKind.BARE_METAL.value)
MOMENT = timedelta(microseconds=1)
LOOK_BACK = timedelta(days=40)
"""How far back companies are asked for their incidents: what was added later is taken up, too."""


def score(
    works: Works, provider_id: int, period: str, *, actor: Actor | None = None, reason: str = ""
) -> ScorecardRecord:
    """Score a company for a month or a quarter and keep the card; bills that came since the last comparison are compared
    first. Raises WrongState before the period has begun."""
    with works.book.reading() as tx:
        start, _end = periods.bounds(period)
        if start > tx.now:
            raise WrongState("period.future", N_("%(period)s 还没有开始"), period=period, field="period")
        reporting = samples(works, tx, provider_id, period)
    for month in periods.months(period):
        reconciliation.bring_up_to_date(works, provider_id, month)
    with works.book.transaction(actor or steward("job:score")) as tx:
        metering = {month: reconciliation.evidence(tx, provider_id, month) for month in periods.months(period)}
        found = gathering.gather(tx, provider_id, period, reporting=reporting, metering=metering)
        return cards.keep(tx, provider_id, period, found, DEFAULT, reason=reason)


def samples(works: Works, tx: Tx, provider_id: int, period: str) -> list[Row]:
    """Of a company's pools in ``period``: samples due and come by pool and month."""
    rows: list[Row] = []
    slots = 86_400 // works.lake.step_s
    pools = tx.scalars(select(Pool).where(Pool.provider_id == provider_id).order_by(Pool.id)).all()
    first_day = next(iter(works.lake.days()), None)
    hosts = {
        pool.id: list(
            tx.execute(
                select(Resource.id, Resource.created_at, Resource.first_seen_at, Resource.gone_at).where(
                    Resource.pool_id == pool.id, Resource.kind.in_(HOSTS)
                )
            )
        )
        for pool in pools
    }
    for month in periods.months(period):
        off = _off(tx, [pool.id for pool in pools], month)
        for day in _days(month, first_day, tx.now):
            counts = works.lake.counts(day, day)
            begin, end = _bounds(day)
            for pool in pools:
                there = [
                    row.id
                    for row in hosts[pool.id]
                    if (row.created_at or row.first_seen_at) <= begin
                    and (row.gone_at is None or row.gone_at >= end)
                    and (row.id, day) not in off
                ]
                come = sum(min(slots, int(counts[one].sum())) for one in there if one in counts)
                rows.append(
                    Row(
                        f"samples:{pool.code}/{day}",
                        {"pool": pool.code, "month": month, "expected": slots * len(there), "received": come},
                    )
                )
    return _by_month(rows)


def _off(tx: Tx, pool_ids: list[int], month: str) -> set[tuple[int, date]]:
    """Machines and the local days on which they did not run all day: that they are silent then is nobody's fault."""
    start, end = month_bounds(month)
    found: set[tuple[int, date]] = set()
    for one, told in inventory.spells(tx, start, end, pool_ids=pool_ids).items():
        for spell in told:
            if spell.state is not ResourceState.RUNNING:
                day, last = spell.start.astimezone(ZONE).date(), (spell.end - MOMENT).astimezone(ZONE).date()
                found |= {(one, day + timedelta(days=n)) for n in range((last - day).days + 1)}
    return found


def _by_month(rows: list[Row]) -> list[Row]:
    """One row a pool and month: the sums of its days."""
    sums: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        kept = sums.setdefault((row.facts["pool"], row.facts["month"]), [0, 0, 0])
        for place, figure in enumerate((row.facts["expected"], row.facts["received"], 1)):
            kept[place] += figure
    return [
        evidence.reported(f"samples:{pool}/{month}", expected, received, pool=pool, month=month, days=days)
        for (pool, month), (expected, received, days) in sums.items()
        if expected
    ]


def _days(month: str, first: date | None, now: datetime) -> Iterator[date]:
    """The whole days of ``month`` that are over, from the first that the lake knows."""
    start, end = (moment.astimezone(ZONE).date() for moment in month_bounds(month))
    day, last = max(start, first or end), min(end, now.astimezone(ZONE).date())
    while day < last:
        yield day
        day += timedelta(days=1)


def _bounds(day: date) -> Interval:
    start = datetime.combine(day, time(), ZONE).astimezone(UTC)
    return start, start + timedelta(days=1)


@dataclass(slots=True)
class Accounted:
    """What was asked of every cloud. ``faults``: pool's code → what stood in the way."""

    incidents: int = 0
    bills: int = 0
    faults: dict[str, Exception] = field(default_factory=dict)


def collect(works: Works) -> Accounted:
    """Ask every cloud for its incidents of the past weeks and its bill of the past month."""
    now = works.book.clock()
    month = periods.before(periods.month_of(now))
    found = Accounted()
    for pool in works.pools():
        try:
            cloud = works.provider(pool)
            found.incidents += len(incidents.collect(works.book, pool.id, cloud, now - LOOK_BACK, now) or ())
            taken = bills.collect(works.book, pool.id, cloud, month)
            found.bills += bool(taken and taken.new)
        except (ProviderFault, Refused, OSError) as error:
            found.faults[pool.code] = error
    return found


def due(works: Works) -> list[tuple[int, str]]:
    """(company, period) whose card the clock asks for: the past month and the past quarter, unless published."""
    now = works.book.clock()
    wanted = [periods.before(periods.month_of(now)), periods.before(periods.quarter_of(now))]
    with works.book.reading() as tx:
        companies = tx.scalars(select(CloudProvider.id).where(CloudProvider.active).order_by(CloudProvider.id)).all()
        found = []
        for company in companies:
            for period in wanted:
                card = cards.current(tx, company, period)
                if card is None or not card.published:
                    found.append((company, period))
        return found
