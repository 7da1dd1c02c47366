"""Working days as the city keeps them: published holidays, 调休 weekends, its own corrections, and honest guesses."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import chinese_calendar
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota import calendar
from quota.actors import steward
from quota.calendar import WorkingDays
from quota.db import Book

SHANGHAI = ZoneInfo("Asia/Shanghai")
CALENDAR = WorkingDays()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


@pytest.mark.parametrize(
    ("day", "working"),
    [
        ("2026-01-01", False),  # 元旦
        ("2026-01-04", True),  # Sunday worked for it
        ("2026-02-14", True),  # Saturday worked for 春节
        ("2026-02-16", False),  # Monday of 春节
        ("2026-02-28", True),  # Saturday worked for 春节
        ("2026-05-09", True),  # Saturday worked for 劳动节
        ("2026-09-20", True),  # Sunday worked for 国庆
        ("2026-10-05", False),  # Monday of 国庆
        ("2026-10-10", True),  # Saturday worked for 国庆
        ("2026-06-01", True),
        ("2026-06-06", False),
        ("2013-09-19", False),  # 中秋, as the traces' year has it
        ("2013-09-22", True),
    ],
)
def test_published_days(day: str, working: bool) -> None:
    assert CALENDAR.is_working(date.fromisoformat(day)) is working
    assert CALENDAR.published(date.fromisoformat(day))


def test_an_unpublished_year_goes_by_weekends_and_says_so() -> None:
    friday, saturday = date(2041, 11, 1), date(2041, 11, 2)
    assert (friday.weekday(), saturday.weekday()) == (4, 5)
    assert not CALENDAR.published(friday)
    assert CALENDAR.is_working(friday)
    assert not CALENDAR.is_working(saturday)
    known = WorkingDays({friday: False})
    assert known.published(friday)
    assert not known.is_working(friday)


def test_what_is_off_by_law_needs_no_publication(monkeypatch: pytest.MonkeyPatch) -> None:
    unpublished(monkeypatch)
    new_year = date(2027, 1, 1)
    assert (CALENDAR.is_working(new_year), CALENDAR.published(new_year)) == (False, True)
    assert calendar.festival(new_year) == "元旦"
    assert CALENDAR.due(at("2026-12-31 09:00"), 5) == at("2027-01-08 23:59:59")
    off = [day for day in year(2027) if calendar.statutory(day)]
    assert [day.isoformat()[5:] for day in off] == [
        *("01-01", "02-05", "02-06", "02-07", "02-08", "04-05", "05-01", "05-02"),
        *("06-09", "09-15", "10-01", "10-02", "10-03"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        ("2027-04-05", ("2027-04-03", "2027-04-05")),  # 清明, a Monday
        ("2028-04-04", ("2028-04-02", "2028-04-04")),  # 清明, a Tuesday
        ("2028-05-28", ("2028-05-27", "2028-05-29")),  # 端午, a Sunday
        ("2027-06-09", ("2027-06-09", "2027-06-09")),  # 端午, a Wednesday
        ("2027-09-15", ("2027-09-15", "2027-09-15")),  # 中秋, a Wednesday
        ("2029-09-22", ("2029-09-22", "2029-09-24")),  # 中秋, a Saturday
        ("2036-01-01", ("2035-12-30", "2036-01-01")),  # 元旦, a Tuesday
        ("2027-05-01", ("2027-05-01", "2027-05-05")),
        ("2028-05-01", ("2028-04-29", "2028-05-03")),  # a Monday
        ("2027-10-01", ("2027-10-01", "2027-10-07")),
        ("2028-10-01", ("2028-10-01", "2028-10-08")),  # 中秋 among it
        ("2027-02-06", ("2027-02-05", "2027-02-12")),
    ],
)
def test_the_usual_days_around_a_festival(on: str, expected: tuple[str, str]) -> None:
    (name,) = {name for name, day in calendar.festivals(int(on[:4])).items() if day == date.fromisoformat(on)}
    near = [date.fromisoformat(on) + timedelta(days=n) for n in range(-10, 12)]
    off = [day for day in near if name in calendar.usual(day)]
    assert (off[0].isoformat(), off[-1].isoformat()) == expected
    assert len(off) == (off[-1] - off[0]).days + 1


@pytest.mark.parametrize("which", [2025, 2026])
def test_custom_is_what_the_latest_decrees_said(which: int) -> None:
    for day in year(which):
        off, name = chinese_calendar.get_holiday_detail(day)
        assert bool(off and name) == bool(calendar.usual(day)), day


@pytest.mark.parametrize(("which", "day"), [(2008, 4), (2023, 5), (2027, 5), (2028, 4), (2060, 4), (2096, 4)])
def test_tomb_sweeping_day_goes_by_the_sun(which: int, day: int) -> None:
    assert calendar.festivals(which)["Tomb-sweeping Day"] == date(which, 4, day)


def test_years_beyond_what_is_known_of_the_moon_have_the_fixed_festivals() -> None:
    assert set(calendar.festivals(2150)) == {"New Year's Day", "Labour Day", "National Day"}
    assert calendar.usual(date(2150, 6, 15)) == []
    assert CALENDAR.is_working(date(2150, 10, 1)) is False


def year(which: int) -> list[date]:
    return [date(which, 1, 1) + timedelta(days=n) for n in range(365)]


def unpublished(monkeypatch: pytest.MonkeyPatch, since: int = 2027) -> None:
    """As if no calendar were published from ``since`` on, whatever the library knows by now."""
    known = chinese_calendar.get_holiday_detail

    def asked(day: date) -> tuple[bool, str | None]:
        if day.year >= since:
            raise NotImplementedError
        return known(day)

    monkeypatch.setattr(chinese_calendar, "get_holiday_detail", asked)
    monkeypatch.setattr(calendar, "_published", lambda day: None if day.year >= since else not asked(day)[0])


def test_a_time_limit_starts_on_the_day_after_and_ends_with_its_last_day() -> None:
    # Monday 2026-06-01 + 3 working days = Thursday, the end of it.
    assert CALENDAR.due(at("2026-06-01 09:00"), 3) == at("2026-06-04 23:59:59")
    assert CALENDAR.due(at("2026-06-01 23:59"), 3) == at("2026-06-04 23:59:59")
    assert CALENDAR.due(at("2026-06-01 09:00"), 0) == at("2026-06-01 23:59:59")
    # A weekend lies between; Friday + 1 = Monday.
    assert CALENDAR.due(at("2026-06-05 17:00"), 1) == at("2026-06-08 23:59:59")
    # Over 国庆: Wednesday 30 September + 2 = Thursday 8 and Friday 9 October.
    assert CALENDAR.due(at("2026-09-30 12:00"), 2) == at("2026-10-09 23:59:59")
    # A Saturday that is worked counts.
    assert CALENDAR.due(at("2026-10-09 12:00"), 1) == at("2026-10-10 23:59:59")


def test_the_day_is_the_citys_not_utcs() -> None:
    # 17:00 UTC on Monday is Tuesday in the city.
    late = datetime(2026, 6, 1, 17, 0, tzinfo=UTC)
    assert CALENDAR.due(late, 1) == at("2026-06-03 23:59:59")
    assert WorkingDays(zone=ZoneInfo("UTC")).due(late, 1) == datetime(2026, 6, 2, 23, 59, 59, tzinfo=UTC)


def test_a_negative_limit_is_none() -> None:
    with pytest.raises(ValueError, match="no time limit"):
        CALENDAR.due(at("2026-06-01 09:00"), -1)


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        ("2026-06-01 09:00", "2026-06-01 23:00", 0),
        ("2026-06-01 23:00", "2026-06-02 00:01", 1),
        ("2026-06-05 09:00", "2026-06-08 09:00", 1),
        ("2026-09-30 09:00", "2026-10-10 09:00", 3),
        ("2026-10-10 09:00", "2026-09-30 09:00", -3),
    ],
)
def test_days_between(start: str, end: str, days: int) -> None:
    assert CALENDAR.between(at(start), at(end)) == days


@given(
    st.integers(0, 6 * 365 * 24 * 60).map(lambda minutes: at("2020-11-01 00:00") + timedelta(minutes=minutes)),
    st.integers(0, 30),
)
def test_due_and_between_agree(start: datetime, days: int) -> None:
    due = CALENDAR.due(start, days)
    assert CALENDAR.between(start, due) == days
    assert due >= start
    assert days == 0 or CALENDAR.is_working(due.date())
    assert days == 0 or CALENDAR.between(start, due - timedelta(days=1)) == days - 1


def test_the_city_corrects_its_calendar_and_takes_it_back(book: Book) -> None:
    typhoon = date(2026, 6, 2)
    with book.transaction(steward()) as tx:
        calendar.correct(tx, typhoon, False, "台风停工")
        calendar.correct(tx, date(2041, 11, 2), True, "预计调休")
    with book.reading() as tx:
        days = calendar.working_days(tx)
        assert days.due(at("2026-06-01 09:00"), 1) == at("2026-06-03 23:59:59")
        assert days.is_working(date(2041, 11, 2))
        assert days.published(date(2041, 11, 2))
    with book.transaction(steward()) as tx:
        calendar.correct(tx, typhoon, True, "风向变了")
        calendar.uncorrect(tx, date(2041, 11, 2))
        calendar.uncorrect(tx, date(2041, 11, 3))  # never corrected: nothing happens
    with book.reading() as tx:
        days = calendar.working_days(tx)
        assert days.is_working(typhoon)
        assert not days.is_working(date(2041, 11, 2))
        assert days.corrections == {typhoon: True}


@pytest.mark.parametrize(
    ("day", "back", "worked"),
    [
        ("2026-11-25", 0, "2026-11-25"),
        ("2026-11-29", 0, "2026-11-27"),  # Sunday: the last day worked
        ("2026-11-29", 2, "2026-11-25"),
        ("2026-10-08", 1, "2026-09-30"),  # over 国庆
        ("2026-10-12", 1, "2026-10-10"),  # a Saturday worked
        ("2028-02-29", 3, "2028-02-24"),  # not published: by weekends
    ],
)
def test_working_days_are_counted_back(day: str, back: int, worked: str) -> None:
    found = CALENDAR.worked(date.fromisoformat(day), back)
    assert found == date.fromisoformat(worked)
    assert CALENDAR.between(at(f"{found}T10:00"), at(f"{day}T10:00")) >= back
