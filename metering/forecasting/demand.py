"""What many resources used together, day by day, from the daily rollups alone: cores, for forecasts of groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from metering.lake import Lake, nothing


@dataclass(frozen=True)
class DailyDemand:
    """days: each day; mean: cores used on average, NaN = nothing reported; size: cores of those that reported;
    coverage: live samples of those expected of the resources asked for, 0..1."""

    days: tuple[date, ...]
    mean: NDArray[np.float64]
    size: NDArray[np.float64]
    coverage: float


def daily(
    lake: Lake, resources: Iterable[int], last: date, days: int = 90, cores: Mapping[int, float] | None = None
) -> DailyDemand:
    """The demand of ``resources`` on the ``days`` days up to ``last``; days that are not closed are gaps. ``cores``: what the
    inventory says, for machines whose samples don't tell; of whom neither tells nothing is known."""
    return of_groups(lake, [list(resources)], last, days, cores)[0]


def of_groups(
    lake: Lake, groups: Sequence[Sequence[int]], last: date, days: int = 90, cores: Mapping[int, float] | None = None
) -> list[DailyDemand]:
    """The demand of each group of resources; a resource may be in many. Every day's file is read once for all."""
    span = tuple(last - timedelta(days=days - 1 - n) for n in range(days))
    group = np.repeat(np.arange(len(groups)), [len(one) for one in groups])
    every, place = np.unique(np.array([one for each in groups for one in each], np.int64), return_inverse=True)
    mean, size = np.full((len(groups), days), np.nan), np.full((len(groups), days), np.nan)
    booked = np.array([(cores or {}).get(one, 0.0) for one in every.tolist()])
    live = np.zeros(len(groups))
    closed = 0
    for at, day in enumerate(span):
        path = lake.path("daily", day)
        if not path.exists() or not len(every):
            continue
        closed += 1
        there = set(pq.read_schema(path).names)
        if "cpu_pct_n" not in there:
            continue
        names = ["resource", "vcpu", "cpu_pct_n", "cpu_pct_sum"]
        table = pq.read_table(path, columns=[name for name in names if name in there])
        ids = table["resource"].to_numpy()
        where = np.minimum(np.searchsorted(every, ids), len(every) - 1)
        here = every[where] == ids
        n, used, held = np.zeros(len(every)), np.zeros(len(every)), np.zeros(len(every))
        count = table["cpu_pct_n"].to_numpy()[here].astype(np.float64)
        vcpu = table["vcpu"].to_numpy()[here] if "vcpu" in there else np.full(len(count), nothing("vcpu"))
        has = np.where(vcpu == nothing("vcpu"), booked[where[here]], vcpu).astype(np.float64)
        count = np.where(has > 0, count, 0.0)
        total = table["cpu_pct_sum"].to_numpy()[here].astype(np.float64)
        n[where[here]] = count
        # hundredths of a per cent of the machine's own size
        used[where[here]] = np.divide(total, count, out=np.zeros_like(total), where=count > 0) / 10_000 * has
        held[where[here]] = np.where(count > 0, has, 0.0)
        seen = np.bincount(group, n[place], len(groups))
        live += seen
        mean[:, at] = np.where(seen > 0, np.bincount(group, used[place], len(groups)), np.nan)
        size[:, at] = np.where(seen > 0, np.bincount(group, held[place], len(groups)), np.nan)
    expected = [closed * lake.slots * len(set(one)) for one in groups]
    return [
        DailyDemand(span, mean[i], size[i], float(live[i] / expected[i]) if expected[i] else 0.0)
        for i in range(len(groups))
    ]
