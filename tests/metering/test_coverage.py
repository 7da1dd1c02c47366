"""What came of what was due: kept by day and pool when a day is closed, and reckoned where one was closed since."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import numpy as np
import pyarrow as pa
from sqlalchemy import func, select

from metering.intake import CoverageDay, reporters
from metering.lake import Lake
from quota.actors import steward
from quota.calendar import ZONE
from tests.city import CASES, City

SLOTS = 288


def closed(lake: Lake, day: date, machine: int, samples: int) -> None:
    start = int(datetime.combine(day, time(), ZONE).timestamp())
    told = {"resource": np.full(samples, machine, np.int32), "ts": start + 300 * np.arange(samples)}
    lake.append("agent", pa.table({**told, "cpu_pct": np.full(samples, 5.0)}))
    lake.roll([day])


def test_what_was_due_is_kept_until_another_day_is_closed(book, clock, tmp_path) -> None:
    city, lake = City(book, clock, CASES, tmp_path), Lake(tmp_path / "lake")
    machine = city.machine()
    today = clock().astimezone(ZONE).date()
    first, before, last = (today - timedelta(days=n) for n in (reporters.DAYS, 2, 1))

    def keep(today: date) -> int:
        with book.transaction(steward("job:roll")) as tx:
            return reporters.keep(tx, lake, today)

    def shown(to: date = last) -> dict[date, tuple[int, int]]:
        with book.reading() as tx:
            pools = reporters.coverage(tx, lake, to - timedelta(days=reporters.DAYS - 1), to)
        assert [one.pool for one in pools] in ([], ["政务外网区"])
        return pools[0].days if pools else {}

    assert (keep(today), shown()) == (0, {}), "nothing was closed"
    closed(lake, first, machine, 100)
    closed(lake, before, machine, SLOTS)
    found = {first: (100, SLOTS), before: (SLOTS, SLOTS)}
    assert shown(before) == found
    assert (keep(today), keep(today)) == (2, 0)
    assert shown(before) == found
    city.machine()
    assert shown(before) == found, "as of when the newest day was closed"
    closed(lake, last, machine, SLOTS)
    more = {first: (100, 2 * SLOTS), before: (SLOTS, 2 * SLOTS), last: (SLOTS, 2 * SLOTS)}
    with book.reading() as tx:
        assert not reporters.kept(tx, lake, today)
    assert shown() == more
    assert keep(today) == 3
    assert shown() == more
    closed(lake, today, machine, SLOTS)
    assert keep(today) == 0, "a day that is under way is none of them"
    assert keep(today + timedelta(days=1)) == 1
    with book.reading() as tx:
        assert tx.scalar(select(func.min(CoverageDay.day))) == before, "what is beyond the days shown goes"
        assert reporters.kept(tx, lake, today + timedelta(days=1))
