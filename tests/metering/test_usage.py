"""The report's figures against numpy's own, row by row, with gaps; from histograms within what is stated."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metering.judging import engines
from metering.lake.store import Lake
from metering.overview import usage, usage_reports
from quota.calendar import WorkingDays
from tests.metering.samples import DAY, joined, steady

SLOTS = 6


@st.composite
def blocks(draw):
    r, d = draw(st.integers(1, 4)), draw(st.integers(1, 16))
    values = draw(
        hnp.arrays(
            np.uint16, (r, d * SLOTS), elements=st.sampled_from([0, 100, 499, 500, 7999, 8000, 10600, 65534, 65535])
        )
    )
    state = draw(hnp.arrays(np.uint8, values.shape, elements=st.sampled_from([0, 1, 1, 1, 2, 3])))
    worked = draw(hnp.arrays(bool, d))
    return values, state, worked


def by_hand(values, state, worked):
    """One row the slow way."""
    days = len(worked)
    known = [(i // SLOTS, int(v)) for i, (v, s) in enumerate(zip(values, state, strict=True)) if s == 1 and v != 65535]
    plain = np.array([v for _, v in known], float) / 100

    def mean(days_wanted):
        some = [v / 100 for day, v in known if day in days_wanted]
        return np.mean(some) if some else np.nan

    week, before = set(range(max(0, days - 7), days)), set(range(max(0, days - 14), max(0, days - 7)))
    quantile = np.quantile(plain, [0.5, 0.95, 0.99, 1.0]) if len(plain) else np.full(4, np.nan)
    return [
        len(plain),
        *quantile,
        mean(set(range(days))),
        int((plain >= 80).sum()),
        int((plain < 5).sum()),
        mean({day for day in range(days) if worked[day]}),
        mean({day for day in range(days) if not worked[day]}),
        mean(week) - mean(before),
    ]


@given(blocks())
@settings(max_examples=150, deadline=None)
def test_every_figure_is_what_numpy_says(block):
    values, state, worked = block
    got = usage.profile(values.copy(), state, worked)
    for row in range(len(values)):
        expected = by_hand(values[row], state[row], worked)
        found = [getattr(got, name)[row] for name in usage.Usage.__dataclass_fields__]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9, equal_nan=True)


def test_days_that_are_not_whole_are_refused():
    with pytest.raises(ValueError, match="not 2 whole days"):
        usage.profile(np.zeros((1, 7), np.uint16), np.ones((1, 7), np.uint8), np.ones(2, bool))


def test_a_report_near_and_exact_by_any_engine(tmp_path):
    """Means, maxima and counts the same, quantiles within half a point; machines that came late, one above 100 %."""
    lake = Lake(tmp_path)
    parts = [steady(one, days=15, level=float(one % 90)) for one in range(0, 1500, 37)]
    parts.append(steady(3000, days=4, level=150.0, start=parts[0]["ts"][288 * 9] - 7))
    lake.append("a", joined(*parts))
    lake.roll()
    last = DAY + timedelta(days=14)
    exact = usage_reports.exact(str(tmp_path), DAY, last, WorkingDays())
    near = usage_reports.near(str(tmp_path), DAY, last, WorkingDays())
    assert exact.ids.tolist() == near.ids.tolist() == [*range(0, 1500, 37), 3000]
    for a, b in ((exact.cpu, near.cpu), (exact.mem, near.mem)):
        for name in ("n", "top", "mean", "over", "under", "workdays", "weekends", "trend"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=0, atol=1e-9, equal_nan=True)
        for name in ("p50", "p95", "p99"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=0, atol=0.5)
    again = usage_reports.exact(str(tmp_path), DAY, last, WorkingDays(), engines.named("workers", 2))
    assert usage_reports.table(again).equals(usage_reports.table(exact))
    with pytest.raises(LookupError, match="no closed day"):
        usage_reports.exact(str(tmp_path), last + timedelta(days=5), last + timedelta(days=6), WorkingDays())
