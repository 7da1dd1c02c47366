"""Forecasts that the night keeps: of every pool, department, system, and of each machine that was found to be anything.

A page then reads one row; what was forecast is told with the day that it was made from. Kept anew each night, never
evidence: a finding rests on samples, not on what may come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, String, UniqueConstraint, delete, insert, select
from sqlalchemy.orm import Mapped, mapped_column

from metering.forecasting import demand, model
from metering.forecasting.demand import DailyDemand
from metering.judging import CALLS_FOR, MACHINES, Finding, business, findings
from metering.workbench import Progress, Workbench, silent
from quota.actors import steward
from quota.base import Base
from quota.calendar import ZONE
from quota.directory import System
from quota.inventory import Resource
from quota.units import VCPU

if TYPE_CHECKING:
    from quota.db import Tx

AHEAD = 28
HISTORY = 90
SHARE = 0.8
"""How often the interval should hold."""
BATCH = 500
FloatArray = NDArray[np.float64]


class KeptForecast(Base):
    """``scope``: pool, department, system or resource; ``document``: ``Outlook.to_json``. Replaced each night."""

    __tablename__ = "kept_forecasts"
    __table_args__ = (UniqueConstraint("scope", "scope_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(String(12))
    scope_id: Mapped[int]
    last_day: Mapped[date]
    made_at: Mapped[datetime]
    document: Mapped[dict[str, Any]]


@dataclass(frozen=True)
class DemandForecast:
    """Cores by day: used and size [HISTORY] up to ``last``, then mean, low and high [AHEAD]; None = not known.
    coverage: live samples of those expected, 0..1."""

    last: date
    used: Sequence[float | None]
    size: Sequence[float | None]
    mean: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]
    coverage: float

    @property
    def days(self) -> list[date]:
        """Every day, those ahead among them."""
        return [self.last + timedelta(days=n) for n in range(1 - len(self.used), len(self.mean) + 1)]

    @property
    def has(self) -> float | None:
        """Cores of the machines that reported last."""
        return next((one for one in reversed(self.size) if one is not None), None)

    def runs_out(self, level: float = 1.0) -> tuple[date | None, date | None]:
        """The first day on which what is expected, and on which the upper end of the interval, reaches ``level`` of the
        cores that are there; None = not within the days ahead."""
        has = self.has

        def first(line: Sequence[float | None]) -> date | None:
            if not has:
                return None
            hit = (n for n, one in enumerate(line, 1) if one is not None and one >= level * has)
            at = next(hit, None)
            return None if at is None else self.last + timedelta(days=at)

        return first(self.mean), first(self.high)

    def to_json(self) -> dict[str, Any]:
        return {
            **{name: list(getattr(self, name)) for name in LINES},
            "last": self.last.isoformat(),
            "coverage": round(self.coverage, 4),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> DemandForecast:
        lines = {name: list(plain[name]) for name in LINES}
        return cls(date.fromisoformat(plain["last"]), **lines, coverage=float(plain["coverage"]))


LINES = ("used", "size", "mean", "low", "high")


def kept(tx: Tx, scope: str, scope_id: int) -> DemandForecast | None:
    """The forecast that the last night kept; None where it kept none."""
    row = tx.scalar(select(KeptForecast).where(KeptForecast.scope == scope, KeptForecast.scope_id == scope_id))
    return None if row is None else DemandForecast.from_json(row.document)


def outlook(past: DailyDemand, busy: NDArray[np.bool_] | None) -> DemandForecast:
    """The forecast of one series of demand; busy: bool [k, days + AHEAD], days of declared periods."""
    told = model.predict(past.mean[None, :], AHEAD, busy, SHARE)
    return _outlook(past.days[-1], past.mean, past.size, told.mean[0], told.low[0], told.high[0], past.coverage)


def cores(tx: Tx, of: Select[Any] | None = None) -> dict[int, float]:
    """Resource id → cores by the inventory, where it says any; ``of``: a query for the ids, None = all."""
    query = select(Resource.id, Resource.amounts)
    rows = tx.execute(query if of is None else query.where(Resource.id.in_(of)))
    return {one: float(amounts[VCPU]) for one, amounts in rows if amounts and amounts.get(VCPU)}


def keep(workbench: Workbench, progress: Progress = silent) -> int:
    """Make and keep every forecast from the closed days before today; how many. None before any day is closed."""
    today = workbench.book.clock().astimezone(ZONE).date()
    closed = [day for day in workbench.lake.days() if day < today]
    if not closed:
        return 0
    last = max(closed)
    who = steward("job:forecast")
    with workbench.book.reading(who) as tx:
        calendars = business.calendars(tx)
        members = _members(tx, calendars)
        booked = cores(tx)
        owners = dict(tx.execute(select(System.id, System.department_id)).all())
        of_resource = {
            one: (department, system)
            for one, department, system in tx.execute(select(Resource.id, Resource.department_id, Resource.system_id))
        }
    names = sorted(members)
    past = demand.of_groups(workbench.lake, [members[name] for name in names], last, HISTORY, booked)
    days = [last + timedelta(days=n) for n in range(1 - HISTORY, AHEAD + 1)]
    plain: list[int] = []
    rows: list[dict[str, Any]] = []
    at = workbench.book.clock()

    def add(which: Sequence[int], busy: NDArray[np.bool_] | None) -> None:
        told = model.predict(np.stack([past[i].mean for i in which]), AHEAD, busy, SHARE)
        for n, i in enumerate(which):
            one = _outlook(last, past[i].mean, past[i].size, told.mean[n], told.low[n], told.high[n], past[i].coverage)
            scope, scope_id = names[i]
            rows.append(
                {"scope": scope, "scope_id": scope_id, "last_day": last, "made_at": at, "document": one.to_json()}
            )

    for i, (scope, scope_id) in enumerate(names):
        if scope == "department":
            owner: tuple[int | None, int | None] = scope_id, None
        elif scope == "system":
            owner = owners.get(scope_id), scope_id
        else:  # none are declared for a pool
            owner = of_resource[scope_id] if scope == "resource" else (None, None)
        busy = busy_days(calendars, *owner, days)
        if busy is None:
            plain.append(i)
        else:
            add([i], busy)
    for start in range(0, len(plain), BATCH):
        add(plain[start : start + BATCH], None)
        progress("forecast", start, len(plain))
    with workbench.book.transaction(who) as tx:
        tx.execute(delete(KeptForecast))
        for start in range(0, len(rows), BATCH):
            tx.execute(insert(KeptForecast), rows[start : start + BATCH])
    return len(rows)


def busy_days(
    calendars: business.Calendars, department_id: int | None, system_id: int | None, days: Sequence[date]
) -> NDArray[np.bool_] | None:
    """Days of the declared periods [k, days] of a department or a system; None where none are declared."""
    periods = calendars.of(department_id, system_id) if department_id is not None or system_id is not None else ()
    return np.array([[one.includes(day) for day in days] for one in periods]) if periods else None


def _members(tx: Tx, calendars: business.Calendars) -> dict[tuple[str, int], list[int]]:
    """What is forecast → its machines: a department's with those under it; machines alone where something was found."""
    found: dict[tuple[str, int], list[int]] = {}
    run = findings.last_run(tx)
    called = set(
        tx.scalars(
            select(Finding.resource_id).where(
                Finding.assessment_id == (run.id if run else -1), Finding.verdict.in_([one.value for one in CALLS_FOR])
            )
        )
    )
    query = select(Resource.id, Resource.pool_id, Resource.department_id, Resource.system_id).where(
        Resource.gone_at.is_(None), Resource.kind.in_(MACHINES)
    )
    for one, pool, department, system in tx.execute(query.order_by(Resource.id)):
        names = [("pool", pool), *(("department", each) for each in calendars.chain(department))]
        names += [("system", system)] if system is not None else []
        names += [("resource", one)] if one in called else []
        for name in names:
            found.setdefault(name, []).append(one)
    return found


def _outlook(
    last: date, used: FloatArray, size: FloatArray, mean: FloatArray, low: FloatArray, high: FloatArray, share: float
) -> DemandForecast:
    return DemandForecast(last, _plain(used), _plain(size), _plain(mean), _plain(low), _plain(high), round(share, 4))


def _plain(line: FloatArray) -> list[float | None]:
    return [None if value != value else round(float(value), 4) for value in line]
