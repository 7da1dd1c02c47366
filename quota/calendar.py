"""Working days: the published Chinese calendar (调休 included), with the city's own corrections on top.

``chinesecalendar`` knows the published years and raises beyond them. There we go by weekends, and say so
(``published`` is False: 日历未发布,按周末推算); deadlines are computed when they are needed from a start and a number of
days where they can be, so that publication corrects them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import chinese_calendar
from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column

from quota.actors import Role
from quota.db import Base
from quota.errors import N_

if TYPE_CHECKING:
    from quota.db import Tx

ZONE = ZoneInfo("Asia/Shanghai")

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


_BEGINS: Mapping[str, tuple[tuple[int, int], int, int]] = {
    "New Year's Day": ((1, 1), 0, 2),
    "Tomb-sweeping Day": ((4, 4), 0, 2),
    "Labour Day": ((5, 1), 0, 4),
    "National Day": ((10, 1), 0, 6),
}
"""Festival → the day of law, days off before it and after it as they were lately."""

_LUNAR: Mapping[str, tuple[Mapping[int, tuple[int, int]], int, int]] = {
    "Spring Festival": (
        {
            2027: (2, 6), 2028: (1, 26), 2029: (2, 13), 2030: (2, 3), 2031: (1, 23), 2032: (2, 11), 2033: (1, 31),
            2034: (2, 19), 2035: (2, 8),
        },
        1,
        7,
    ),
    "Dragon Boat Festival": (
        {
            2027: (6, 9), 2028: (5, 28), 2029: (6, 16), 2030: (6, 5), 2031: (6, 24), 2032: (6, 12), 2033: (6, 1),
            2034: (6, 20), 2035: (6, 10),
        },
        0,
        2,
    ),
    "Mid-autumn Festival": (
        {
            2027: (9, 15), 2028: (10, 3), 2029: (9, 22), 2030: (9, 12), 2031: (10, 1), 2032: (9, 19), 2033: (9, 8),
            2034: (9, 27), 2035: (9, 16),
        },
        0,
        2,
    ),
}  # fmt: skip
"""The same of the festivals that go by the moon, by year."""


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
        return day.weekday() < 5 if worked is None else worked

    def published(self, day: date) -> bool:
        """Whether the calendar of ``day`` is known, not extrapolated from weekends."""
        return day in self.corrections or _published(day) is not None

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
    """The festival that ``day`` is off for, or worked in exchange for, by the published calendar."""
    try:
        _off, name = chinese_calendar.get_holiday_detail(day)
    except NotImplementedError:
        return None
    return FESTIVALS.get(str(name), str(name)) if name else None


def usual(day: date) -> list[str]:
    """The festivals that ``day`` will likely be off for in a year whose calendar is not published yet: the days of law, and
    as many around them as were off lately. By the moon as far as 2035."""
    found = []
    for name, (begins, before, after) in _BEGINS.items():
        if -before <= (day - date(day.year, *begins)).days <= after:
            found.append(name)
    for name, (years, before, after) in _LUNAR.items():
        if day.year in years and -before <= (day - date(day.year, *years[day.year])).days <= after:
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
