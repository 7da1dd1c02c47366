"""Quantiles against numpy's own, and what a histogram may lose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metering import quantiles

QS = [0.0, 0.05, 0.5, 0.95, 0.99, 1.0]


def reference(row: np.ndarray) -> np.ndarray:
    kept = row[row != quantiles.MISSING].astype(float) / 100
    return np.quantile(kept, QS) if len(kept) else np.full(len(QS), np.nan)


matrices = st.tuples(st.integers(1, 6), st.integers(0, 40)).flatmap(
    lambda shape: hnp.arrays(
        np.uint16, shape, elements=st.one_of(st.integers(0, 10_600), st.sampled_from([0, 65534, 65535]))
    )
)


@given(matrices)
@settings(max_examples=200, deadline=None)
def test_exact_agrees_with_numpy(values):
    got = quantiles.exact(values, QS)
    assert np.allclose(got, [reference(row) for row in values], rtol=0, atol=1e-9, equal_nan=True)


def test_either_way_of_sorting_gives_the_same():
    assert quantiles.sorter() in ("stable", "quicksort")
    rows = np.random.default_rng(3).integers(0, 2**16, (7, 999), np.uint16)
    assert np.array_equal(np.sort(rows, axis=1, kind="stable"), np.sort(rows, axis=1, kind="quicksort"))


@given(matrices, st.data())
@settings(max_examples=100, deadline=None)
def test_what_is_not_valid_does_not_count(values, data):
    valid = data.draw(hnp.arrays(bool, values.shape))
    masked = np.where(valid, values, quantiles.MISSING)
    assert np.array_equal(quantiles.exact(values, QS, valid), quantiles.exact(masked, QS), equal_nan=True)
    assert np.array_equal(quantiles.histogram(values, valid), quantiles.histogram(masked))


@given(matrices)
@settings(max_examples=200, deadline=None)
def test_wide_histogram_is_within_a_quarter_point(values):
    counts = quantiles.histogram(values, bins=quantiles.WIDE_BINS)
    assert np.array_equal(counts.sum(axis=1), (values != quantiles.MISSING).sum(axis=1))
    top = quantiles.exact(values, [1.0])[:, 0]
    near = quantiles.from_histogram(counts, QS, top)
    assert np.allclose(near, quantiles.exact(values, QS), rtol=0, atol=0.25, equal_nan=True)


@given(matrices)
@settings(max_examples=200, deadline=None)
def test_histogram_with_overflow_is_near_below_100_and_never_above_the_maximum(values):
    counts = quantiles.histogram(values)
    assert counts.shape == (len(values), 201)
    top = quantiles.exact(values, [1.0])[:, 0]
    near = quantiles.from_histogram(counts, QS, top)
    sure = quantiles.exact(values, QS)
    with np.errstate(invalid="ignore"):
        low = values.astype(int).max(axis=1, initial=0, where=values != quantiles.MISSING) < 10_000
        assert np.all(np.nan_to_num(near - top[:, None]) <= 1e-9)
    assert np.allclose(near[low], sure[low], rtol=0, atol=0.25, equal_nan=True)


def test_overflow_is_spread_up_to_the_maximum():
    counts = np.zeros((1, 201), np.uint32)
    counts[0, 200] = 4
    assert quantiles.from_histogram(counts, [0.0, 1.0], np.array([108.0])).tolist() == [[101.0, 107.0]]
    assert quantiles.from_histogram(counts, [0.5]).tolist() == [[100.0]]


def test_quantiles_outside_0_to_1_are_refused():
    with pytest.raises(ValueError, match="from 0 to 1"):
        quantiles.exact(np.zeros((1, 3), np.uint16), [95])
