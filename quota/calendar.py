"""Working days: the published Chinese calendar (调休 included), with the city's own corrections on top.

``chinesecalendar`` knows the published years and raises beyond them. There we go by the days that are off by law in every
year and by weekends, and say so (``published`` is False: 日历未发布,按法定节日和周末推算); deadlines are computed when they are
needed from a start and a number of days where they can be, so that publication corrects them.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import chinese_calendar
from borax.calendars.lunardate import LunarDate, TermUtils
from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column

from quota.actors import Role
from quota.base import Base
from quota.errors import N_

if TYPE_CHECKING:
    from quota.db import Tx

ZONE = ZoneInfo("Asia/Shanghai")

FIRST_YEAR = 1949
"""No law before it says which days are off."""

FESTIVALS: Mapping[str, str] = {
    "New Year's Day": N_("元旦"),
    "Spring Festival": N_("春节"),
    "Tomb-sweeping Day": N_("清明"),
    "Labour Day": N_("劳动节"),
    "Dragon Boat Festival": N_("端午"),
    "Mid-autumn Festival": N_("中秋"),
    "National Day": N_("国庆节"),
    "Anti-Fascist 70th Day": N_("抗战胜利纪念日"),
}
"""The festivals that the published calendar moves days for, by its names."""


_LAW: Mapping[str, tuple[int, int]] = {
    "New Year's Day": (0, 0),
    "Spring Festival": (-1, 2),
    "Tomb-sweeping Day": (0, 0),
    "Labour Day": (0, 1),
    "Dragon Boat Festival": (0, 0),
    "Mid-autumn Festival": (0, 0),
    "National Day": (0, 2),
}
"""Festival → its days off by law (《全国年节及纪念日放假办法》 as of 2025), from the day of the festival."""

_BY_MOON: Mapping[str, tuple[int, int]] = {
    "Spring Festival": (1, 1),
    "Dragon Boat Festival": (5, 5),
    "Mid-autumn Festival": (8, 15),
}
"""Festival → month and day of the lunar calendar."""

_MOON_UNTIL = 2100
"""Years up to this are known of the moon."""

_ROUND_ONE_DAY: Sequence[tuple[int, int]] = ((-2, 0), (-2, 0), (0, 0), (0, 2), (0, 2), (0, 2), (-1, 1))
"""Days off around a festival of one day that falls on a Monday, …, a Sunday: with the weekend beside it, from Thursday on
and on Tuesdays by a weekend day that is worked for it; a Wednesday stands alone. So it was in each decree since 2020."""


@lru_cache(maxsize=256)
def festivals(year: int) -> Mapping[str, date]:
    """Festival → its day in ``year``: by the sun, by the moon, or fixed."""
    found = {
        "New Year's Day": date(year, 1, 1),
        "Labour Day": date(year, 5, 1),
        "National Day": date(year, 10, 1),
    }
    if FIRST_YEAR <= year <= _MOON_UNTIL:
        found["Tomb-sweeping Day"] = TermUtils.nth_term_day(year, TermUtils.name2index("清明"))
        for name, (month, day) in _BY_MOON.items():
            found[name] = LunarDate(year, month, day).to_solar_date()
    return found


def statutory(day: date) -> str | None:
    """The festival that ``day`` is off for by law in every year, without any decree, as the law is since 2025."""
    for name, begins in festivals(day.year).items():
        before, after = _LAW[name]
        if before <= (day - begins).days <= after:
            return name
    return None


def _by_custom(name: str, begins: date, year: Mapping[str, date]) -> tuple[int, int]:
    """Days before and after the festival's day that decrees of recent years had off with it, as offsets."""
    weekday = begins.weekday()
    if name == "Spring Festival":  # eight days from the eve on, and the Sunday before it
        return (-2, 6) if (begins - timedelta(days=2)).weekday() == 6 else (-1, 6)
    if name == "Labour Day":
        return {0: (-2, 2), 6: (-1, 3)}.get(weekday, (0, 4))
    if name == "National Day":
        moon = year.get("Mid-autumn Festival")
        return (0, 7) if moon is not None and 0 <= (moon - begins).days <= 6 else (0, 6)
    return _ROUND_ONE_DAY[weekday]


class CalendarDay(Base):
    """A correction of the published calendar: this day is (not) worked in this city."""

    __tablename__ = "calendar_days"

    day: Mapped[date] = mapped_column(primary_key=True)
    working: Mapped[bool]
    note: Mapped[str] = mapped_column(String(128), default="")


@dataclass(frozen=True)
class WorkingDays:
    """The city's working days. ``corrections``: day → worked or not. Pure: the same answers for the same data."""

    corrections: Mapping[date, bool] = field(default_factory=dict)
    zone: ZoneInfo = ZONE

    def is_working(self, day: date) -> bool:
        """Whether ``day`` is worked."""
        if day in self.corrections:
            return self.corrections[day]
        worked = _published(day)
        return (day.weekday() < 5 and statutory(day) is None) if worked is None else worked

    def published(self, day: date) -> bool:
        """Whether the calendar of ``day`` is known, not extrapolated from weekends: published, corrected, or off by law."""
        return day in self.corrections or _published(day) is not None or statutory(day) is not None

    def without(self, *days: date) -> WorkingDays:
        """The same calendar with the corrections of ``days`` taken back."""
        return WorkingDays({day: worked for day, worked in self.corrections.items() if day not in days}, self.zone)

    def corrected(self, changes: Mapping[date, bool | None]) -> WorkingDays:
        """The same calendar with ``changes`` on top: day → worked or not, None = as published."""
        bare = self.without(*changes)
        on_top = {day: worked for day, worked in changes.items() if worked is not None}
        return WorkingDays({**bare.corrections, **on_top}, self.zone)

    def worked(self, day: date, back: int = 0) -> date:
        """The last working day up to ``day`` itself, or the one ``back`` working days before that."""
        while back or not self.is_working(day):
            back -= self.is_working(day)
            day -= timedelta(days=1)
        return day

    def due(self, start: datetime, days: int) -> datetime:
        """The end (23:59:59 local) of the ``days``-th working day after the day of ``start``.

        The day of ``start`` itself does not count, as in the city's rules on time limits. Raises ValueError for a
        negative number of days.
        """
        if days < 0:
            raise ValueError(f"{days} working days is no time limit")
        day = start.astimezone(self.zone).date()
        while days:
            day += timedelta(days=1)
            days -= self.is_working(day)
        return datetime.combine(day, time(23, 59, 59), self.zone)

    def limit(self, start: datetime, count: int, unit: str) -> datetime:
        """When ``count`` of ``unit`` (hours, working_days, days, months) after ``start`` are over: hours to the minute, anything longer
        at the end of its day. A month ends on the same day of a later month, or on that month's last. Raises ValueError for
        another unit."""
        if unit == "working_days":
            return self.due(start, count)
        if unit == "hours":
            return start + timedelta(hours=count)
        day = start.astimezone(self.zone).date()
        if unit == "days":
            day += timedelta(days=count)
        elif unit == "months":
            year, month = divmod(day.year * 12 + day.month - 1 + count, 12)
            day = date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
        else:
            raise ValueError(f"{unit!r} is no unit of time limits")
        return datetime.combine(day, time(23, 59, 59), self.zone)

    def between(self, start: datetime, end: datetime) -> int:
        """Working days after the day of ``start`` up to and including the day of ``end``; negative backwards."""
        first, last = (moment.astimezone(self.zone).date() for moment in (start, end))
        if last < first:
            return -self.between(end, start)
        return sum(self.is_working(first + timedelta(days=n + 1)) for n in range((last - first).days))


@lru_cache(maxsize=8192)
def _published(day: date) -> bool | None:
    """Whether the published calendar has ``day`` worked; None beyond it. Kept: a list asks for the same days over and
    over, and the library looks at its bounds each time."""
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:
        return None


def festival(day: date) -> str | None:
    """The festival that ``day`` is off for, or worked in exchange for, by the published calendar; by law beyond it."""
    try:
        _off, name = chinese_calendar.get_holiday_detail(day)
    except NotImplementedError:
        name = statutory(day)
    return FESTIVALS.get(str(name), str(name)) if name else None


def usual(day: date) -> list[str]:
    """The festivals that ``day`` is expected to be off for in a year whose calendar is not published yet: the days of law,
    and the days around them as custom has it. An expectation: time limits go by the law and by weekends alone."""
    found = []
    for year in (day.year, day.year + 1):  # the first days off for New Year may lie in the year before
        all_of_it = festivals(year)
        for name, begins in all_of_it.items():
            before, after = _by_custom(name, begins, all_of_it)
            if before <= (day - begins).days <= after:
                found.append(name)
    return found


def working_days(tx: Tx, zone: ZoneInfo = ZONE) -> WorkingDays:
    """The calendar as it stands, the city's corrections included."""
    return WorkingDays({one.day: one.working for one in tx.scalars(select(CalendarDay))}, zone)


def correct(tx: Tx, day: date, working: bool, note: str = "") -> CalendarDay:
    """Set whether ``day`` is worked in this city. The authority's right.

    Time limits that run are not computed anew here: whoever corrects calls ``approvals.redate`` and the like.
    """
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    row = tx.get(CalendarDay, day)
    before = {"working": row.working, "note": row.note} if row else {}
    if row is None:
        row = CalendarDay(day=day, working=working, note=note)
        tx.add(row)
    else:
        row.working, row.note = working, note
    tx.audit("calendar.correct", f"day:{day}", before=before, after={"working": working, "note": note})
    return row


def uncorrect(tx: Tx, day: date, reason: str = "") -> None:
    """Go back to the published calendar for ``day``; nothing happens where it was not corrected. The authority's."""
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    row = tx.get(CalendarDay, day)
    if row is not None:
        tx.delete(row)
        tx.audit("calendar.uncorrect", f"day:{day}", before={"working": row.working, "note": row.note}, reason=reason)
