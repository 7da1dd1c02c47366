"""The days that a report is about: a month, a quarter, half a year, a year, or any others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from quota.calendar import ZONE
from quota.errors import N_, Invalid

LONGEST_DAYS = 1100
"""Three years and a little: no report is about more."""


class PeriodKind(StrEnum):
    MONTH = "month"
    QUARTER = "quarter"
    HALF = "half"
    YEAR = "year"
    RANGE = "range"


PERIOD_LABELS = {
    PeriodKind.MONTH: N_("月报"),
    PeriodKind.QUARTER: N_("季报"),
    PeriodKind.HALF: N_("半年报"),
    PeriodKind.YEAR: N_("年报"),
    PeriodKind.RANGE: N_("专报"),
}

MONTHS = {PeriodKind.MONTH: 1, PeriodKind.QUARTER: 3, PeriodKind.HALF: 6, PeriodKind.YEAR: 12}

_SPELLED = re.compile(
    r"(?P<year>20\d\d)(?:-?(?:Q(?P<quarter>[1-4])|H(?P<half>[12]))|-(?P<month>0[1-9]|1[0-2]))?", re.ASCII | re.I
)
_DAYS = re.compile(r"(20\d\d-\d\d-\d\d)\.\.(20\d\d-\d\d-\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class ReportPeriod:
    """Local days ``first`` to ``last``, both included."""

    first: date
    last: date

    @property
    def kind(self) -> PeriodKind:
        """What the trade calls it; days that are no calendar period are a range."""
        after = self.last + timedelta(days=1)
        if self.first.day != 1 or after.day != 1:
            return PeriodKind.RANGE
        months = (after.year - self.first.year) * 12 + after.month - self.first.month
        for kind, length in MONTHS.items():
            if months == length and (self.first.month - 1) % length == 0:
                return kind
        return PeriodKind.RANGE

    @property
    def code(self) -> str:
        """As people and programs name it: 2026-10, 2026Q3, 2026H1, 2026, 2026-09-15..2026-10-14."""
        first = self.first
        match self.kind:
            case PeriodKind.MONTH:
                return f"{first:%Y-%m}"
            case PeriodKind.QUARTER:
                return f"{first.year}Q{(first.month + 2) // 3}"
            case PeriodKind.HALF:
                return f"{first.year}H{(first.month + 5) // 6}"
            case PeriodKind.YEAR:
                return f"{first.year}"
            case PeriodKind.RANGE:
                return f"{first}..{self.last}"

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def instants(self, zone: ZoneInfo = ZONE) -> tuple[datetime, datetime]:
        """[start, end) as instants."""
        after = self.last + timedelta(days=1)
        return (
            datetime(self.first.year, self.first.month, self.first.day, tzinfo=zone),
            datetime(after.year, after.month, after.day, tzinfo=zone),
        )

    def months(self) -> list[str]:
        """The calendar months that it touches, oldest first."""
        found, year, month = [], self.first.year, self.first.month
        while (year, month) <= (self.last.year, self.last.month):
            found.append(f"{year}-{month:02d}")
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        return found

    def before(self) -> ReportPeriod:
        """The period before it that it is compared with: of the same kind, or of as many days."""
        if self.kind is PeriodKind.RANGE:
            return ReportPeriod(self.first - timedelta(days=self.days), self.first - timedelta(days=1))
        return ReportPeriod(_back(self.first, MONTHS[self.kind]), self.first - timedelta(days=1))

    def year_before(self) -> ReportPeriod:
        """The same days a year ago; the end of a month stays the end of a month."""
        after = self.last + timedelta(days=1)
        if after.day == 1:
            return ReportPeriod(_back(self.first, 12), _back(after, 12) - timedelta(days=1))
        return ReportPeriod(_back(self.first, 12), _back(self.last, 12))


def _back(day: date, months: int) -> date:
    at = day.year * 12 + day.month - 1 - months
    year, month = divmod(at, 12)
    for dom in range(day.day, 27, -1):
        try:
            return date(year, month + 1, dom)
        except ValueError:
            continue
    return date(year, month + 1, day.day)


def period(text: str) -> ReportPeriod:
    """``2026-10``, ``2026Q3``, ``2026H1``, ``2026`` or ``2026-09-15..2026-10-14``. Raises Invalid."""
    text = text.strip()
    if days := _DAYS.fullmatch(text):
        try:
            first, last = (date.fromisoformat(one) for one in days.groups())
        except ValueError:
            raise _unreadable(text) from None
        return between(first, last)
    found = _SPELLED.fullmatch(text)
    if found is None:
        raise _unreadable(text)
    year, opens, length = int(found["year"]), 1, 12
    if found["month"]:
        opens, length = int(found["month"]), 1
    elif found["quarter"]:
        opens, length = 3 * int(found["quarter"]) - 2, 3
    elif found["half"]:
        opens, length = 6 * int(found["half"]) - 5, 6
    end = year * 12 + opens - 1 + length
    return ReportPeriod(date(year, opens, 1), date(end // 12, end % 12 + 1, 1) - timedelta(days=1))


def last_month(now: datetime, zone: ZoneInfo = ZONE) -> ReportPeriod:
    """The calendar month before that of ``now``."""
    ended = now.astimezone(zone).date().replace(day=1) - timedelta(days=1)
    return ReportPeriod(ended.replace(day=1), ended)


def between(first: date, last: date) -> ReportPeriod:
    """The days from ``first`` to ``last``. Raises Invalid where they are none, or too many."""
    if last < first:
        raise Invalid("report.backwards", N_("结束日期不能早于开始日期"), field="last")
    if (last - first).days >= LONGEST_DAYS:
        raise Invalid("report.too_long", N_("报告期不能超过%(days)s天"), days=LONGEST_DAYS, field="last")
    return ReportPeriod(first, last)


def _unreadable(text: str) -> Invalid:
    return Invalid(
        "report.period",
        N_("无法识别报告期“%(text)s”；请写作 2026-10、2026Q3、2026H1、2026 或 2026-09-15..2026-10-14"),
        text=text[:64],
        field="period",
    )
