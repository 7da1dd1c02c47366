"""The indicator «数据上报»: of the samples that a company's machines owe, how many came, and how late."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from metering.lake import Lake
from metering.workbench import Workbench
from providers.assessment import (
    CardSubject,
    Direction,
    EvidenceRow,
    Fact,
    FactFormat,
    FigureUnit,
    Indicator,
    Measure,
    MeasureLimit,
    MeasureResult,
    RefSource,
    measures,
    periods,
    register,
)
from providers.base import ResourceState, ServiceKind
from providers.billing import Interval, month_bounds
from providers.observation import Listing
from quota import inventory
from quota.calendar import ZONE
from quota.directory import Pool
from quota.errors import N_
from quota.inventory import Resource

if TYPE_CHECKING:
    from quota.db import Tx

HOSTS = (ServiceKind.VM.value, ServiceKind.BARE_METAL.value)
MOMENT = timedelta(microseconds=1)


def reported(ref: str, expected: int, received: int, lag_minutes: float | None = None, **facts: Any) -> EvidenceRow:
    """A row: samples due and samples that came; ``lag_minutes`` None where it is not known."""
    lag = None if lag_minutes is None else str(round(lag_minutes, 1))
    return EvidenceRow(ref, {"expected": expected, "received": received, "lag_minutes": lag, **facts})


def beforehand(workbench: Workbench, subject: CardSubject, period: str) -> Mapping[str, Sequence[EvidenceRow]]:
    """Month → a row a pool: the lake is read here, while nobody waits for the book."""
    with workbench.book.reading() as tx:
        pools = tx.scalars(select(Pool).where(Pool.provider_id == subject.id).order_by(Pool.id)).all()
        stays = [_stays(tx, pool) for pool in pools]
        off = _off(tx, [pool.id for pool in pools], *periods.bounds(period))
        first = next(iter(workbench.lake.days()), None)
        months = {month: list(whole_days(month, first, tx.now)) for month in periods.months(period)}
    return {month: _of_month(workbench.lake, stays, off, month, days) for month, days in months.items()}


@dataclass(frozen=True, slots=True)
class _Stays:
    """The machines of a pool [r], rising: their ids, and since when and until when each is there (seconds since 1970)."""

    pool: str
    ids: NDArray[np.int64]
    since: NDArray[np.float64]
    until: NDArray[np.float64]


def _stays(tx: Tx, pool: Pool) -> _Stays:
    """The pool's machines. None owes anything of a time before its pool was listed for the first time: nobody asked yet."""
    asked = tx.scalar(select(func.min(Listing.as_of)).where(Listing.pool_id == pool.id, Listing.resources > 0))
    query = select(Resource.id, Resource.created_at, Resource.first_seen_at, Resource.gone_at)
    found = tx.execute(query.where(Resource.pool_id == pool.id, Resource.kind.in_(HOSTS)).order_by(Resource.id)).all()
    return _Stays(
        pool.code,
        np.array([row.id for row in found], np.int64),
        np.array(
            [max(row.created_at or row.first_seen_at, asked or row.first_seen_at).timestamp() for row in found], float
        ),
        np.array([np.inf if row.gone_at is None else row.gone_at.timestamp() for row in found], float),
    )


def _of_month(
    lake: Lake, stays: Sequence[_Stays], off: Mapping[date, set[int]], month: str, days: Sequence[date]
) -> list[EvidenceRow]:
    """One row a pool of which any sample was due: samples due and come on the month's days that are over."""
    slots = 86_400 // lake.step_s
    expected, received = ([0] * len(stays) for _figure in range(2))
    mine = np.unique(np.concatenate([one.ids for one in stays])) if stays else np.zeros(0, np.int64)
    for day in days:
        told, three = lake.day_counts(day, mine)
        come = np.minimum(slots, three.sum(axis=1))
        begin, end = (moment.timestamp() for moment in _bounds(day))
        silent = np.fromiter(off.get(day, ()), np.int64)
        for place, one in enumerate(stays):
            there = one.ids[(one.since <= begin) & (one.until >= end)]
            there = there[~np.isin(there, silent)]
            expected[place] += slots * len(there)
            received[place] += int(come[np.isin(told, there)].sum())
    return [
        reported(f"samples:{one.pool}/{month}", due, came, pool=one.pool, month=month, days=len(days))
        for one, due, came in zip(stays, expected, received, strict=True)
        if due
    ]


def off_days(tx: Tx, pool_ids: list[int], month: str) -> set[tuple[int, date]]:
    """Machines and the local days on which they did not run all day: that they are silent then is nobody's fault."""
    found = _off(tx, pool_ids, *month_bounds(month))
    return {(machine, day) for day, machines in found.items() for machine in machines}


def _off(tx: Tx, pool_ids: list[int], start: datetime, end: datetime) -> dict[date, set[int]]:
    """Local day → machines that did not run on all of it."""
    found: dict[date, set[int]] = defaultdict(set)
    for machine, told in inventory.state_periods(tx, start, end, pool_ids=pool_ids, shapes=False).items():
        for spell in told:
            if spell.state is not ResourceState.RUNNING:
                day, last = spell.start.astimezone(ZONE).date(), (spell.end - MOMENT).astimezone(ZONE).date()
                for ahead in range((last - day).days + 1):
                    found[day + timedelta(days=ahead)].add(machine)
    return found


def whole_days(month: str, first: date | None, now: datetime) -> Iterator[date]:
    """The whole days of ``month`` that are over, from the first that the lake knows."""
    start, end = (moment.astimezone(ZONE).date() for moment in month_bounds(month))
    day, last = max(start, first or end), min(end, now.astimezone(ZONE).date())
    while day < last:
        yield day
        day += timedelta(days=1)


def _bounds(day: date) -> Interval:
    start = datetime.combine(day, time(), ZONE).astimezone(UTC)
    return start, start + timedelta(days=1)


def _measure(rows: Sequence[EvidenceRow], limits: Mapping[str, Decimal]) -> MeasureResult | None:
    """Samples received ÷ expected (None where none was due); below ``full``, ``per_point`` a percentage point. ``late`` more
    where on more than ``late_share`` of the rows that tell it the lag exceeds ``lag_minutes``."""
    expected = sum(int(row.facts["expected"]) for row in rows)
    received = sum(int(row.facts["received"]) for row in rows)
    if not expected:
        return None
    share = min(measures.ONE, Decimal(received) / expected)
    lags = [Decimal(str(row.facts["lag_minutes"])) for row in rows if row.facts.get("lag_minutes") is not None]
    late = sum(lag > limits["lag_minutes"] for lag in lags)
    deduction = measures.below(share, limits)
    if lags and Decimal(late) / len(lags) > limits["late_share"]:
        deduction += limits["late"]
    return MeasureResult(
        measures.rounded(share, 4), deduction,
        N_("应收样本 %(expected)s,实收 %(received)s,完整率 %(share)s%%(满分线 %(full)s%%);"
           "%(lags)s 次中 %(late)s 次时延超过 %(limit)s 分钟"),  # stands in cards: permanent
        {"expected": expected, "received": received, "share": measures.percent(share), "full": measures.percent(limits["full"]),
         "lags": len(lags), "late": late, "limit": measures.plain(limits["lag_minutes"])},
    )  # fmt: skip


register(
    Indicator(
        code="reporting",
        label=N_("数据上报"),
        explanation=N_("运行中的主机应报采样与实收采样之比;时延过长的另扣"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=Measure(
            "reporting",
            (
                measures.FULL,
                measures.PER_POINT,
                MeasureLimit("lag_minutes", N_("时延上限"), FigureUnit.MINUTES),
                MeasureLimit("late_share", N_("超时延占比上限"), FigureUnit.SHARE),
                MeasureLimit("late", N_("超过占比时扣"), FigureUnit.POINTS),
            ),
            _measure,
        ),
        weight=Decimal(3),
        limits={
            "full": Decimal("0.99"),
            "per_point": measures.ONE,
            "lag_minutes": Decimal(15),
            "late_share": Decimal("0.05"),
            "late": measures.ONE,
        },
        order=110,
        edition=2,
        beforehand=beforehand,
        facts=(
            Fact("expected", N_("应收")),
            Fact("received", N_("实收")),
            Fact("lag_minutes", N_("时延(分钟)")),
            Fact("pool", N_("资源池"), FactFormat.POOL),
            Fact("month", N_("月份"), FactFormat.PLAIN),
            Fact("days", N_("天数")),
        ),
        sources={"samples": RefSource(N_("数据上报"))},
    )
)
