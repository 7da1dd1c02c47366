"""Wholes that are low, or high, only where they were so in each of so many calendar months; what is not known counts as neither."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from metering.judging import SystemUse, WholeLevels, months
from metering.judging.months import MonthUse
from metering.judging.wholes import WholeSums, use_over
from metering.lake.store import Lake
from quota.calendar import ZONE
from tests.metering.samples import joined, steady
from tests.metering.test_systems import finding

LOW, NORMAL, HIGH, UNKNOWN = SystemUse.LOW, SystemUse.NORMAL, SystemUse.HIGH, SystemUse.UNKNOWN


@pytest.mark.parametrize(
    ("low", "high", "now", "seen", "use"),
    [
        (3, 0, LOW, [LOW, LOW, LOW], LOW),
        (3, 0, NORMAL, [LOW, LOW, LOW], LOW),  # the months are what is asked for
        (3, 0, LOW, [LOW, NORMAL, LOW], NORMAL),
        (3, 0, LOW, [NORMAL, LOW, LOW, LOW], LOW),  # not the month before them
        (3, 0, LOW, [LOW, UNKNOWN, LOW], UNKNOWN),  # no data is not low
        (3, 0, LOW, [NORMAL, UNKNOWN, LOW], NORMAL),  # one that is known refutes it
        (3, 0, LOW, [LOW, LOW], UNKNOWN),  # it has not been there for three
        (3, 0, HIGH, [LOW, LOW, NORMAL], HIGH),
        (0, 2, HIGH, [LOW, HIGH], NORMAL),
        (0, 2, LOW, [HIGH, HIGH], HIGH),
        (0, 2, LOW, [], LOW),
        (0, 2, NORMAL, [HIGH, UNKNOWN], UNKNOWN),
        (0, 0, LOW, [], LOW),
        (0, 0, UNKNOWN, [], UNKNOWN),
    ],
)
def test_each_of_so_many_months(low, high, now, seen, use):
    assert use_over(WholeLevels(low_months=low, high_months=high), now, seen) is use


def test_closed_months_end_with_their_last_day():
    assert months.closed(date(2026, 3, 30), 2) == [
        (date(2026, 1, 1), date(2026, 1, 31)),
        (date(2026, 2, 1), date(2026, 2, 28)),
    ]
    assert months.closed(date(2026, 3, 31), 1) == [(date(2026, 3, 1), date(2026, 3, 31))]
    assert months.closed(date(2026, 3, 31), 0) == []


def test_months_of_machines_from_the_lake(tmp_path):
    """One reports through September and half of October; one came on 16 October; of one nothing is known."""
    start = int(datetime(2026, 9, 1, tzinfo=ZONE).timestamp())
    lake = Lake(tmp_path)
    lake.append(
        "a", joined(steady(1, days=46, start=start, level=10), steady(2, days=16, start=start + 45 * 86_400, level=60))
    )
    lake.roll()
    since = {1: None, 2: datetime(2026, 10, 16, tzinfo=ZONE), 3: datetime(2026, 11, 5, tzinfo=ZONE), 4: None}
    told = months.measure(lake, since, date(2026, 11, 1), 2)
    assert [(one.month, one.whole, round(one.coverage, 2)) for one in told[1]] == [
        ("2026-09", True, 1.0),
        ("2026-10", True, 0.52),
    ]
    assert [one.cpu for one in told[1]] == pytest.approx([15, 15], abs=0.5)
    assert told[1][0].memory == pytest.approx(42.5, abs=0.5)
    assert [(one.month, one.whole, one.coverage) for one in told[2]] == [("2026-10", False, 1.0)]
    assert told[3] == []
    assert told[4] == [MonthUse("2026-09", None, None, 0.0), MonthUse("2026-10", None, None, 0.0)]
    assert months.measure(lake, {}, date(2026, 11, 1), 2) == {}

    sums, above = WholeSums(), WholeSums()
    sums.add(finding(10, 20, vcpu=30), told[1])
    sums.add(finding(60, 20, vcpu=2), told[2])
    above.join(sums)
    levels = WholeLevels(low_months=2, low_memory=50, covered=0.5)
    assert [(one["month"], round(one["cpu"]), round(one["coverage"], 2), one["use"]) for one in above.by_month(levels)] == [
        ("2026-09", 15, 1.0, "system_low"), ("2026-10", 18, 0.55, "system_low"),
    ]  # fmt: skip
    assert above.use(levels) is LOW
    assert above.use(WholeLevels(low_months=2, low_memory=50)) is UNKNOWN  # October is seen through too many gaps
    young = WholeSums()
    young.add(finding(1, 1), told[2])
    assert young.use(WholeLevels(low_months=1, covered=0.5)) is UNKNOWN  # half a month is none


@pytest.mark.parametrize("given", [{"low_months": -1}, {"high_months": 13}, {"low_months": True}, {"low_months": 1.5}])
def test_months_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match="not so many months"):
        WholeLevels(**given)
