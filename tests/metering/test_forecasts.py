"""The forecasts that the night keeps: whose they are, what they are made from, and when something is full."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import func, select

from metering.forecasting import demand, forecasts
from metering.forecasting.forecasts import AHEAD, HISTORY, DemandForecast, KeptForecast
from metering.judging import business, pipeline, policies
from metering.lake.store import Lake
from metering.workbench import Workbench
from quota.actors import steward
from quota.calendar import ZONE
from quota.directory.departments import Department, System
from quota.inventory import Resource
from tests.metering.past import found_past


@pytest.fixture
def works(book, tmp_path, clock):
    with book.transaction(steward()) as tx:
        policies.seed(tx)
    return Workbench(book, Lake(tmp_path / "lake"), tmp_path)


@pytest.fixture
def past(works, book, clock):
    return found_past(book, works, clock().astimezone(ZONE).date())


def test_the_night_keeps_one_of_each_and_no_more(works, past, book, clock):
    today = clock().astimezone(ZONE).date()
    pipeline.judge(works, today)
    kept = forecasts.keep(works)
    with book.reading() as tx:
        rows = tx.scalars(select(KeptForecast)).all()
        of = {(one.scope, one.scope_id) for one in rows}
        parent = tx.scalar(select(Department).where(Department.code == "P"))
        system = tx.scalar(select(System))
        # The departments with machines and the one above them; of machines those that something was found of.
        assert ("department", parent.id) in of
        assert ("system", system.id) in of
        assert ("resource", past["full"]) in of
        assert ("resource", past["office"]) not in of
        assert kept == len(rows) == len(of)
        whole = forecasts.kept(tx, "department", parent.id)
        live = demand.daily(works.lake, past.values(), today - timedelta(days=1), HISTORY)
        made = forecasts.outlook(live, forecasts.busy_days(business.calendars(tx), parent.id, None, whole.days))
    assert whole == made
    assert whole.last == today - timedelta(days=1)
    assert len(whole.days) == HISTORY + AHEAD
    assert whole.used[-1] == pytest.approx(float(np.nansum(live.mean[-1])), abs=1e-3)
    clock.advance(hours=1)
    assert forecasts.keep(works) == kept
    with book.reading() as tx:
        assert tx.scalar(select(func.count()).select_from(KeptForecast)) == kept


def test_groups_are_summed_as_each_by_itself(works, past, clock):
    last = clock().astimezone(ZONE).date() - timedelta(days=1)
    ids = list(past.values())
    groups = [ids, ids[:2], [ids[1]], [10_000], []]
    for one, group in zip(demand.of_groups(works.lake, groups, last, 50), groups, strict=True):
        alone = demand.daily(works.lake, group, last, 50)
        np.testing.assert_array_equal(one.mean, alone.mean)
        np.testing.assert_array_equal(one.size, alone.size)
        assert one.coverage == alone.coverage
    assert np.nanmax(demand.of_groups(works.lake, [[ids[0]]], last, 50)[0].mean) < 8


def test_a_machine_that_goes_is_forecast_no_more(works, past, book, clock):
    pipeline.judge(works, clock().astimezone(ZONE).date())
    forecasts.keep(works)
    with book.transaction(steward()) as tx:
        tx.get_one(Resource, past["full"]).gone_at = clock()
    forecasts.keep(works)
    with book.reading() as tx:
        assert forecasts.kept(tx, "resource", past["full"]) is None


def test_nothing_is_kept_before_a_day_is_closed(works):
    assert forecasts.keep(works) == 0


def outlook(mean: list[float | None], high: list[float | None], has: float | None = 10.0) -> DemandForecast:
    return DemandForecast(date(2026, 11, 23), [5.0], [has], mean, [None] * len(mean), high, 1.0)


def test_when_it_is_full():
    assert outlook([6, 7, 8], [8, 9, 10]).runs_out(0.7) == (date(2026, 11, 25), date(2026, 11, 24))
    assert outlook([6, 6, 6], [6, 6, 7]).runs_out(0.7) == (None, date(2026, 11, 26))
    assert outlook([1, 1], [2, None]).runs_out() == (None, None)
    assert outlook([9.0], [9.0], None).runs_out() == (None, None)


def test_there_and_back_as_json():
    one = outlook([6, None], [8, 9])
    assert DemandForecast.from_json(one.to_json()) == one


def test_who_tells_no_cores_has_those_of_the_inventory_or_is_unknown(tmp_path):
    """Eight cores at 50 % from a sender that does not split by CPU: four cores wanted, not none."""
    lake = Lake(tmp_path)
    day = date(2026, 9, 21)
    begin = int(datetime(2026, 9, 20, 16, tzinfo=UTC).timestamp())
    ts = begin + 300 * np.arange(288)
    lake.append("a", pa.table({"resource": np.ones(288, np.int32), "ts": ts, "cpu_pct": 49.0 + np.arange(288) % 3}))
    lake.roll()
    told = demand.daily(lake, [1], day, 1, {1: 8.0})
    assert (told.mean[0], told.size[0], told.coverage) == (4, 8, 1)
    silent = demand.daily(lake, [1], day, 1)
    assert (np.isnan(silent.mean[0]), silent.coverage) == (True, 0)
