"""What many resources used together, day by day, from the daily rollups alone: cores, for forecasts of groups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from metering.lake import Lake
from metering.samples import nothing


@dataclass(frozen=True)
class Demand:
    """days: each day; mean: cores used on average, NaN = nothing reported; size: cores of those that reported;
    coverage: live samples of those expected of the resources asked for, 0..1."""

    days: tuple[date, ...]
    mean: NDArray[np.float64]
    size: NDArray[np.float64]
    coverage: float


def daily(lake: Lake, resources: Iterable[int], last: date, days: int = 90) -> Demand:
    """The demand of ``resources`` on the ``days`` days up to ``last``; days that are not closed are gaps."""
    wanted = np.unique(np.fromiter(resources, np.int64))
    span = tuple(last - timedelta(days=days - 1 - n) for n in range(days))
    mean, size = np.full(days, np.nan), np.full(days, np.nan)
    live = closed = 0
    for at, day in enumerate(span):
        path = lake.path("daily", day)
        if not path.exists() or not len(wanted):
            continue
        closed += 1
        table = pq.read_table(path, columns=["resource", "vcpu", "cpu_pct_n", "cpu_pct_sum"])
        ids = table["resource"].to_numpy()
        here = np.isin(ids, wanted)
        n = table["cpu_pct_n"].to_numpy()[here].astype(np.float64)
        vcpu = table["vcpu"].to_numpy()[here]
        cores = np.where(vcpu == nothing("vcpu"), 0, vcpu).astype(np.float64)
        total = table["cpu_pct_sum"].to_numpy()[here].astype(np.float64)
        live += int(n.sum())
        if (n > 0).any():
            # hundredths of a per cent of the machine's own size
            mean[at] = float((np.divide(total, n, out=np.zeros_like(total), where=n > 0) / 10_000 * cores).sum())
            size[at] = float(cores[n > 0].sum())
    expected = closed * lake.slots * len(wanted)
    return Demand(span, mean, size, live / expected if expected else 0.0)
