"""Samples that are wider than a slot: an hour's mean covers the hour, and yields to whatever is finer, whichever came first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from metering.intake import widths
from metering.lake import Lake
from providers.metrics import LIVE

DAY = datetime(2026, 8, 3, tzinfo=UTC)
BEGIN = int(DAY.timestamp())


def table(*rows: tuple[int, float, Any]) -> pa.Table:
    ts, cpu, width = zip(*rows, strict=True)
    return pa.table({
        "resource": pa.array([1] * len(rows), pa.int32()), "ts": pa.array(ts, pa.int64()), "cpu_pct": pa.array(cpu, pa.float64()),
        "width_s": pa.array(width, pa.float64()),
    })  # fmt: skip


def test_an_hour_is_twelve_samples_and_what_fits_a_slot_is_one() -> None:
    found = widths.spread(table((BEGIN, 25.0, 3600), (BEGIN + 3610, 50.0, 300), (BEGIN + 4000, 75.0, None)), 300)
    assert "width_s" not in found.column_names
    rows = [(row["ts"] - BEGIN, row["cpu_pct"]) for row in found.to_pylist()]
    assert rows == [(300 * n + 299, 25.0) for n in range(12)] + [(3610, 50.0), (4000, 75.0)]
    bare = table((BEGIN, 25.0, 3600)).drop_columns(["width_s"])
    assert widths.spread(bare, 300) is bare


@pytest.mark.parametrize("width", [0, -3600, 300, 449, 3601, 1e300, float("nan"), float("inf"), None])
def test_a_width_that_is_none_or_beyond_belief_covers_one_slot(width: Any) -> None:
    assert widths.spread(table((BEGIN, 25.0, width)), 300).column("ts").to_pylist() == [BEGIN]


def test_a_width_that_begins_between_slots_covers_as_many() -> None:
    found = widths.spread(table((BEGIN + 140, 25.0, 900), (BEGIN + 7360, 25.0, 900)), 300).column("ts").to_pylist()
    assert [(one - BEGIN) // 300 for one in found] == [0, 1, 2, 25, 26, 27]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_what_is_finer_speaks_for_its_slot_whichever_came_first(tmp_path: Path, order: tuple[int, ...]) -> None:
    """Two fine samples within an hour of which the mean is told as well, and the same hour told once more."""
    deliveries = [
        table((BEGIN + 600, 90.0, 300), (BEGIN + 3300 + 120, 10.0, 300)),
        table((BEGIN, 25.0, 3600)),
        table((BEGIN, 25.0, 3600)),
    ]
    lake = Lake(tmp_path, utc_offset_s=0)
    for number in order:
        lake.append(f"s{number}", widths.spread(deliveries[number], 300), not_after=DAY + timedelta(days=2))
    lake.roll()
    matrix = next(iter(lake.windows(None, DAY.date(), DAY.date(), ["cpu_pct"])))
    values = matrix.values["cpu_pct"][0].astype(float) / 100
    assert np.flatnonzero(matrix.state[0] == LIVE).tolist() == list(range(12))
    assert values[:12].tolist() == [25.0, 25.0, 90.0, *[25.0] * 8, 10.0]
