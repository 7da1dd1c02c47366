"""A month's statement of 100,000 resources: 31 days, changes of size, hours of silence, priced to the fen; pandas beside it.

Both get the same stretches and the same table of covered hours and give the same figures: unit-seconds allocated and proven
for every resource and kind, and the cost of what is proven. Neither reads or writes the book.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.harness import Watch, Within, work
from metering.allocation import Spells, allocate
from metering.charges import Price, charge
from quota.units import UNITS, Kind

RESOURCES, DAYS = 100_000, 31
MONTH_S = DAYS * 86_400
PRICES = {"vcpu": 46, "memory": 18}
CHECK = "sums.npy"


def prepare(home: Path) -> None:
    """100,000 machines, of which a fifth changes size within the month, with 3 % of hours silent."""
    dice = np.random.default_rng(20261001)
    changes = dice.random(RESOURCES) < 0.2
    at = dice.integers(1, MONTH_S, RESOURCES)
    row = np.concatenate([np.arange(RESOURCES), np.flatnonzero(changes)])
    start = np.concatenate([np.zeros(RESOURCES, np.int64), at[changes]])
    end = np.concatenate([np.where(changes, at, MONTH_S), np.full(int(changes.sum()), MONTH_S)])
    vcpu = dice.choice([2, 4, 8, 16, 32], len(row))
    np.savez(
        home / "month.npz", row=row, start=start, end=end, vcpu=vcpu, memory=vcpu * 2048,
        covered=dice.random((RESOURCES, DAYS * 24)) > 0.03,
    )  # fmt: skip


def ours(home: Path, watch: Watch) -> float:
    told = np.load(home / "month.npz")
    covered = told["covered"]
    edges = np.arange(DAYS + 1, dtype=np.int64) * 86_400
    prices = {
        kind: [Price(n, price * 10**8, price * 10**8, MONTH_S)] * DAYS for n, (kind, price) in enumerate(PRICES.items())
    }
    spells = Spells(
        told["row"], np.zeros(len(told["row"]), bool), told["start"], told["end"],
        {"vcpu": told["vcpu"], "memory": told["memory"]},
    )  # fmt: skip
    with watch:
        held = allocate(spells, covered, edges)
        lines = charge(held, lambda _row, kind: prices[kind], {kind.value: UNITS[kind].factor for kind in Kind})
    _agree(home, sum(one.allocated for one in lines), sum(one.proven for one in lines), len(lines))
    return float(RESOURCES)


def pandas(home: Path, watch: Watch) -> float:
    import pandas as pd

    told = np.load(home / "month.npz")
    covered = told["covered"]
    stretches = pd.DataFrame({name: told[name] for name in ("row", "start", "end", "vcpu", "memory")})
    with watch:
        proven = []
        for day in range(DAYS):
            low, high = day * 86_400, (day + 1) * 86_400
            there = stretches[(stretches.start < high) & (stretches.end > low)].copy()
            for hour in range(24):
                since, until = low + hour * 3600, low + (hour + 1) * 3600
                lasted = there.end.clip(upper=until) - there.start.clip(lower=since)
                lasted = lasted.clip(lower=0)
                shown = lasted.where(covered[there.row.to_numpy(), day * 24 + hour], 0)
                for kind in PRICES:
                    there[f"{kind}_all"] = there.get(f"{kind}_all", 0) + lasted * there[kind]
                    there[f"{kind}_shown"] = there.get(f"{kind}_shown", 0) + shown * there[kind]
            there["day"] = day
            proven.append(there.drop(columns=["start", "end", "vcpu", "memory"]))
        days = pd.concat(proven).groupby(["row", "day"], sort=True).sum()
        months = days.groupby("row").sum()
        for kind, price in PRICES.items():
            factor = UNITS[Kind(kind)].factor
            months[f"{kind}_cost"] = (months[f"{kind}_shown"] / (factor * MONTH_S) * price).round(2)
    allocated = int(months["vcpu_all"].sum() + months["memory_all"].sum())
    shown = int(months["vcpu_shown"].sum() + months["memory_shown"].sum())
    _agree(home, allocated, shown, 2 * len(months))
    return float(RESOURCES)


def _agree(home: Path, *sums: int) -> None:
    """Whoever comes second must have found the same."""
    path = home / CHECK
    if path.exists():
        assert np.load(path).tolist() == list(sums)
    else:
        np.save(path, np.array(sums, np.int64))


work(
    "statements", "month statement of 100,000 resources", unit="resources", prepare=prepare, reach=Within(10),
    contenders={"guanjia": ours, "pandas": pandas}, rounds={"pandas": 1},
)  # fmt: skip
