"""Periods that companies are assessed over: a month ``2026-10``, a quarter ``2026-Q4``, in the city's time."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from providers.billing import Interval, month_bounds
from quota.calendar import ZONE
from quota.errors import N_, Invalid

_QUARTER = re.compile(r"([0-9]{4})-Q([1-4])")


def months(period: str) -> list[str]:
    """The months of ``period``. Raises Invalid for what is neither a month nor a quarter."""
    found = _QUARTER.fullmatch(period)
    if found:
        first = 3 * int(found[2]) - 2
        return [f"{found[1]}-{month:02d}" for month in range(first, first + 3)]
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}", period):
        raise Invalid("period.bad", N_("%(period)s 不是月份(2026-10)或季度(2026-Q4)"), period=period, field="period")
    month_bounds(period)
    return [period]


def bounds(period: str) -> Interval:
    """Start and end of ``period``, in UTC."""
    of = months(period)
    return month_bounds(of[0])[0], month_bounds(of[-1])[1]


def is_quarter(period: str) -> bool:
    return _QUARTER.fullmatch(period) is not None


def month_of(at: datetime | date) -> str:
    """The month of an instant (in the city's time) or of a day."""
    day = at.astimezone(ZONE).date() if isinstance(at, datetime) else at
    return f"{day:%Y-%m}"


def quarter_of(at: datetime | date) -> str:
    day = at.astimezone(ZONE).date() if isinstance(at, datetime) else at
    return f"{day.year}-Q{(day.month + 2) // 3}"


def before(period: str) -> str:
    """The period before ``period``, of the same length."""
    year, rest = int(period[:4]), period[5:]
    if is_quarter(period):
        quarter = int(rest[1:])
        return f"{year}-Q{quarter - 1}" if quarter > 1 else f"{year - 1}-Q4"
    month = int(rest)
    return f"{year}-{month - 1:02d}" if month > 1 else f"{year - 1}-12"


def first_day(period: str) -> date:
    """The first day of ``period`` in the city's time."""
    return bounds(period)[0].astimezone(ZONE).date()


def end(period: str, now: datetime) -> datetime:
    """The end of ``period``, in UTC, or of what is over of it at ``now``."""
    return min(bounds(period)[1], now)


def last_day(period: str, now: datetime) -> date:
    """The last day of ``period`` in the city's time, or of what is over of it at ``now``."""
    return (end(period, now) - timedelta(seconds=1)).astimezone(ZONE).date()
