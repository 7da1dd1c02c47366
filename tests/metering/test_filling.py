"""When a disk will be full: generated levels whose truth is known, and what must not look like a trend."""

from __future__ import annotations

import numpy as np
import pytest

from metering.filling import days_until_full, growth
from metering.judging.seen import Daily, DailyUse, Exact, Hot, Rollups, SampleBlock
from providers.metrics import LIVE

DAYS = 30
DAY = np.arange(DAYS, dtype=np.float64)
RANDOM = np.random.default_rng(11)


def told(level) -> float:
    return float(days_until_full(np.asarray(level, np.float64)[None, :])[0])


def without(level, *gone) -> np.ndarray:
    level = np.array(level, np.float64)
    for days in gone:
        level[days] = np.nan
    return level


@pytest.mark.parametrize("slope", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_a_steady_trend_is_told_to_the_day(slope, noise):
    level = 20 + slope * DAY + noise * RANDOM.standard_normal(DAYS)
    truth = (100 - (20 + slope * DAY[-1])) / slope
    assert told(level) == pytest.approx(truth, rel=0.05 if not noise else 0.15, abs=0.1)


FILLS = {
    "on working days alone": (np.cumsum(np.where(DAY % 7 < 5, 1.4, 0.0)) + 50, (100 - 50 - 30.8) / 1.0),
    "a batch a week": (50 + 6 * (DAY // 7), (100 - 74) / (6 / 7)),
    "cleaned once, filling since": (np.where(DAY < 12, 60 + 2.5 * DAY, 20 + 3.0 * (DAY - 12)), (100 - 71) / 3.0),
    "enlarged once, filling since": (np.where(DAY < 10, 80 + DAY, 45 + 1.5 * (DAY - 10)), (100 - 73.5) / 1.5),
    "filled at one go, and slowly besides": (30 + 1.0 * DAY + np.where(DAY >= 20, 15, 0), (100 - 74) / 1.0),
    "a week without samples": (without(30 + 2.0 * DAY, slice(10, 17)), (100 - 88) / 2.0),
    "yesterday not told": (without(30 + 2.0 * DAY, -1), (100 - 88) / 2.0),
    "emptied again and again, and now fuller than ever": (np.r_[50 + 3 * DAY[:10], 50 + 3 * DAY[:8], 55 + 3 * DAY[:12]], 4.0),
}  # fmt: skip


@pytest.mark.parametrize("name", FILLS)
def test_what_fills_is_told(name):
    level, truth = FILLS[name]
    assert told(level) == pytest.approx(truth, rel=0.25, abs=1.5)


NEVER = {
    "no samples": np.full(DAYS, np.nan),
    "too few days": without(30 + 2.0 * DAY, slice(0, DAYS - 6)),
    "silent for the last days": without(30 + 2.0 * DAY, slice(DAYS - 4, DAYS)),
    "too many gaps": without(30 + 2.0 * DAY, *(slice(n, n + 2) for n in range(0, 27, 3))),
    "flat": np.full(DAYS, 84.9),
    "wobble": 84 + 0.8 * RANDOM.standard_normal(DAYS),
    "falling": 90 - DAY,
    "filled at one go": np.where(DAY < 22, 40.0, 84.0),
    "emptied every week": 40 + 6.0 * (DAY % 7),
    "emptied every day but the last": 70 + 9.0 * (DAY % 2),
    "just cleaned": np.where(DAY < 26, 60 + DAY, 30 + 5 * (DAY - 26)),
    "more than a year": 20 + 0.09 * DAY,
    "nothing": np.zeros(DAYS),
}


@pytest.mark.parametrize("name", NEVER)
def test_what_does_not_fill_is_not(name):
    assert np.isnan(told(NEVER[name]))


def test_a_thousand_disks_that_only_wobble_raise_no_alarm_and_a_thousand_that_fill_all_do():
    noise = RANDOM.standard_normal((1000, DAYS))
    wobbles = np.clip(RANDOM.uniform(20, 85, (1000, 1)) + 1.5 * noise, 0, 100)
    assert np.count_nonzero(days_until_full(wobbles) < 14) == 0
    slopes = RANDOM.uniform(0.5, 2.5, (1000, 1))
    left = RANDOM.uniform(2, 13, (1000, 1))
    fills = 100 - slopes * (left + (DAYS - 1 - DAY)) + 0.3 * noise
    found = days_until_full(fills)
    assert np.isfinite(found).all()
    assert np.median(np.abs(found - left[:, 0])) < 0.5
    assert np.abs(found - left[:, 0]).max() < 4


SPAN, DISKS, WARNED = 80, 40, 14.0


def ways_to_fill() -> dict[str, np.ndarray]:
    """Levels [40, 80] of disks that are written to at 0.5 to 3 points a day from a level under 40, some of them until they are full."""
    draw, day = np.random.default_rng(5), np.arange(SPAN)
    slope, start = draw.uniform(0.5, 3, (DISKS, 1)), draw.uniform(5, 40, (DISKS, 1))
    shift, noise = draw.integers(0, 7, (DISKS, 1)), 0.4 * draw.standard_normal((DISKS, SPAN))
    return {
        "steadily": start + slope * day + noise,
        "on working days": start + np.cumsum(np.where((day + shift) % 7 < 5, 1.4 * slope, 0), axis=1) + noise,
        "a batch a week": start + 7 * slope * ((day + shift) // 7) + noise,
        "faster from the twentieth day on": start + np.where(day < 20, 0.4 * day, 8 + slope * (day - 20)) + noise,
    }


@pytest.mark.parametrize(("way", "least", "median"), [
    ("steadily", 13, 14), ("on working days", 13, 14), ("a batch a week", 1, 13), ("faster from the twentieth day on", 6, 12),
])  # fmt: skip
def test_who_fills_is_told_so_many_days_before(way, least, median):
    """Judged every evening from the last thirty days alone, as the nights are: the first that says «within a fortnight», against the day
    on which it is full, which the trend has not seen."""
    level = ways_to_fill()[way]
    fills = (level >= 100).any(axis=1)
    full = np.argmax(level >= 100, axis=1)
    told_on = np.full(DISKS, -1)
    for day in range(6, SPAN):
        left = days_until_full(np.minimum(level[:, max(0, day - DAYS + 1) : day + 1], 100))
        told_on[(left < WARNED) & (told_on < 0) & (day < full)] = day
    told_too = fills & (told_on >= 0)
    assert fills.sum() >= 20
    sudden = 1 if way == "a batch a week" else 0  # the disk that three batches fill: no trend that anybody could see
    assert (told_too == fills).all()
    before = (full - told_on)[told_too]
    assert before.min() >= least
    assert np.count_nonzero(before < 6) <= sudden
    assert np.median(before) >= median
    assert before.max() <= 21, "nor weeks too early"


def test_full_is_now_and_empty_input_is_nothing():
    assert told(np.minimum(71 + DAY, 100)) == 0
    assert days_until_full(np.zeros((0, DAYS))).shape == (0,)
    assert np.isnan(days_until_full(np.full((2, 0), np.nan))).all()
    assert np.isnan(told([50.0]))


def test_exact_samples_and_rollups_say_the_same():
    slots, days = 24, DAYS
    level = (30 + 2 * np.arange(days * slots) / slots)[None, :]
    values, state = np.round(level * 100).astype(np.uint16), np.full((1, days * slots), LIVE, np.uint8)
    hot = Hot(90, 30)
    block = SampleBlock({"disk_pct": values}, state, np.full(1, np.nan))
    exact = Exact(
        block, days * slots, wanted=days * slots, expected=np.array([days * slots]), frozen_is_live=False, slots=slots, hot=hot
    )  # fmt: skip
    whole = np.full((1, days), slots)
    rollups = Rollups({"disk_pct": DailyUse(last=level[:, slots - 1 :: slots])}, whole, whole * 0, whole * 0, whole)
    rolled = Daily(rollups, days, wanted=days * slots, slots=slots, hot=hot)
    ours, theirs = (days_until_full(one.column("disk_pct").daily_last) for one in (exact, rolled))
    np.testing.assert_allclose(ours, theirs, atol=0.02)
    assert ours[0] == pytest.approx((100 - level[0, -1]) / 2, abs=0.05)
    assert np.isnan(days_until_full(exact.column("mem_pct").daily_last)).all()


@pytest.mark.parametrize(
    ("level", "points"),
    [
        (np.full(DAYS, 10.0), 0),
        (10 + DAY, DAYS - 1),
        (40 - DAY, 1 - DAYS),
        (without(10 + DAY, 0, DAYS - 1), DAYS - 3),
        (without(10 + DAY, range(9)), DAYS - 10),
        (without(10 + DAY, range(10)), np.nan),
        ((10 + DAY)[:7], 6),
        ((10 + DAY)[:6], np.nan),
        (np.full(DAYS, np.nan), np.nan),
    ],
)
def test_growth_is_from_the_oldest_day_told_to_the_newest(level, points) -> None:
    np.testing.assert_equal(growth(level[None, :]), [points])
