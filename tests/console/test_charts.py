"""Charts as data: gaps stay gaps, instants are the city's, long tables are thinned and say so."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from console.charts.charts import MAX_TABLE, Chart, Series

START = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _request(app):
    with app.test_request_context():
        yield


def chart(values, **more):
    hours = [START + timedelta(hours=n) for n in range(len(values))]
    return Chart("cpu", "CPU", hours, [Series("使用率", values)], unit="%", **more)


def test_a_gap_is_null_and_never_nought():
    spec = chart([1.0, float("nan"), None, 12.34567, 0]).spec()
    assert spec["series"][0]["values"] == [1.0, None, None, 12.35, 0]
    assert "NaN" not in json.dumps(spec, allow_nan=False)


def test_instants_are_written_in_the_citys_time():
    assert chart([1.0]).spec()["x"] == ["2026-05-01T08:00:00"]


def test_the_table_behind_says_what_it_shows():
    assert chart([1.5, None]).table() == [["2026-05-01 08:00", "1.5"], ["2026-05-01 09:00", "—"]]
    long = chart([float(n) for n in range(3 * MAX_TABLE)])
    assert len(long.table()) == MAX_TABLE
    assert long.table()[0] == ["2026-05-01 08:00 起3点平均", "1"]


def test_words_range_and_last_value_are_said_of_a_picture():
    assert chart([3.0, 1.0, None]).summary() == "使用率：最低1，最高3，最近1"


def test_no_figure_at_all_is_no_chart():
    assert not chart([None, float("nan")]).has_data
    assert chart([0.0]).has_data
