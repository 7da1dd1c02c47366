"""How much machines used in each of the newest closed calendar months, from the lake's daily rollups: what a policy asks of wholes
that must hold in every one of so many months. Slots of which nothing came lower the coverage, never a mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import numpy as np
import pyarrow.parquet as pq

from metering.lake import Lake
from providers.metrics import Array
from quota.calendar import ZONE

MEANS = ("cpu_pct", "mem_pct")


@dataclass(frozen=True, slots=True)
class MonthUse:
    """One machine in one month (``2026-09``). Means in per cent, None: not known. ``coverage``: the share of the slots in which it was
    there; ``whole``: whether that was the whole month."""

    month: str
    cpu: float | None
    memory: float | None
    coverage: float
    whole: bool = True


MonthlyUses = Mapping[int, Sequence[MonthUse]]
"""Resource id → its months, the oldest first; those before it was there are left out."""


def closed(last: date, count: int) -> list[tuple[date, date]]:
    """First and last day of the ``count`` newest calendar months that are over at the end of ``last``, the oldest first."""
    found: list[tuple[date, date]] = []
    end = (last + timedelta(days=1)).replace(day=1) - timedelta(days=1)
    for _month in range(count):
        found.append((end.replace(day=1), end))
        end = end.replace(day=1) - timedelta(days=1)
    return found[::-1]


def measure(lake: Lake, since: Mapping[int, datetime | None], last: date, count: int) -> dict[int, list[MonthUse]]:
    """The ``count`` newest closed months of these resources (id → since when each is there; None: always)."""
    ids = np.array(sorted(since), np.int64)
    found: dict[int, list[MonthUse]] = {int(one): [] for one in ids}
    for first, end in closed(last, count) if len(ids) else ():
        n, total = _summed(lake, ids, first, end)
        begin = datetime.combine(first, time(), ZONE)
        over = datetime.combine(end + timedelta(days=1), time(), ZONE)
        for at, one in enumerate(found):
            start = max(begin, since[one] or begin)
            if start >= over:
                continue
            slots = (over - start).total_seconds() / lake.step_s
            cpu, memory = (float(total[k, at] / n[k, at]) / 100 if n[k, at] else None for k in range(len(MEANS)))
            covered = min(1.0, float(n[0, at]) / slots)
            found[one].append(MonthUse(f"{first:%Y-%m}", cpu, memory, covered, whole=start == begin))
    return found


def _summed(lake: Lake, ids: Array, first: date, last: date) -> tuple[Array, Array]:
    """Live samples and the sum of their hundredths of a per cent, [metrics, ids] each; a day that is not closed has none."""
    n, total = np.zeros((len(MEANS), len(ids))), np.zeros((len(MEANS), len(ids)))
    for number in range((last - first).days + 1):
        path = lake.path("daily", first + timedelta(days=number))
        if not path.exists():
            continue
        names = set(pq.read_schema(path).names)
        told = [name for name in MEANS if f"{name}_n" in names]
        table = pq.read_table(path, columns=["resource", *(f"{name}_{what}" for name in told for what in ("n", "sum"))])
        resource = table["resource"].to_numpy()
        where = np.minimum(np.searchsorted(ids, resource), len(ids) - 1)
        here = ids[where] == resource
        for k, name in enumerate(MEANS):
            if name in told:
                n[k, where[here]] += table[f"{name}_n"].to_numpy()[here]
                total[k, where[here]] += table[f"{name}_sum"].to_numpy()[here]
    return n, total
