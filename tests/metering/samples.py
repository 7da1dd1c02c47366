"""What a lake should say of a set of samples, worked out the slow and obvious way; and samples to try it on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa

from providers.metrics import ABSENT, LIVE, METRICS, OFF

STEP, OFFSET = 300, 28_800
DAY = date(2026, 9, 21)
MIDNIGHT = int(datetime(2026, 9, 20, 16, tzinfo=UTC).timestamp())  # the local day DAY begins


@dataclass(frozen=True)
class Sample:
    """One row of a delivery; ``values`` by metric; off = vcpu 0."""

    resource: int
    ts: int
    values: tuple[tuple[str, float], ...] = ()
    off: bool = False


def table(samples: Iterable[Sample]) -> pa.Table:
    rows = list(samples)
    names = sorted({name for one in rows for name, _ in one.values})
    columns = {
        "resource": pa.array([one.resource for one in rows], pa.int64()),
        "ts": pa.array([one.ts for one in rows], pa.int64()),
        "vcpu": pa.array([0.0 if one.off else 4.0 for one in rows], pa.float64()),
    }
    for name in names:
        columns[name] = pa.array([dict(one.values).get(name, np.nan) for one in rows], pa.float64())
    return pa.table(columns)


@dataclass
class Model:
    """(resource, slot since 1970) -> state and values, by the rules in docs/metering.md."""

    cells: dict[tuple[int, int], tuple[int, dict[str, float]]] = field(default_factory=dict)

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> Model:
        slots: dict[tuple[int, int], list[Sample]] = defaultdict(list)
        for one in samples:
            if one.off or one.values:
                slots[one.resource, one.ts // STEP].append(one)
        model = cls()
        for cell, members in slots.items():
            members.sort(key=lambda one: one.ts)
            live = [one for one in members if not one.off]
            values: dict[str, float] = {}
            for one in live:
                for name, value in one.values:
                    values.setdefault(name, stored(name, value))
            model.cells[cell] = (LIVE if live else OFF, values)
        return model

    def matrices(self, resources: list[int], first: date, days: int, names: Iterable[str]):
        """state [r, n] and values by metric [r, n] in units, NaN = none."""
        begin = (MIDNIGHT + (first - DAY).days * 86_400) // STEP
        n = days * 288
        state = np.full((len(resources), n), ABSENT)
        values = {name: np.full((len(resources), n), np.nan) for name in names}
        for (resource, slot), (how, found) in self.cells.items():
            if resource in resources and 0 <= slot - begin < n:
                row = resources.index(resource)
                state[row, slot - begin] = how
                for name, value in found.items():
                    values[name][row, slot - begin] = value
        return state, values


def stored(name: str, value: float) -> float:
    """A value as the lake keeps it, in its unit."""
    return float(np.rint(value * 100)) / 100 if METRICS[name].percent else float(np.float32(value))


def days_of(samples: Iterable[Sample]) -> set[date]:
    return {DAY + timedelta(days=(one.ts - MIDNIGHT) // 86_400) for one in samples}


def steady(
    resource: int, *, days: float = 1, start: int = MIDNIGHT, level: float = 20.0, seed: int = 0, **columns: float
) -> Mapping[str, np.ndarray]:
    """Columns of one resource reporting every five minutes: CPU and memory that move."""
    rng = np.random.default_rng(seed + resource)
    n = int(days * 288)
    return {
        "resource": np.full(n, resource, np.int64),
        "ts": start + 300 * np.arange(n, dtype=np.int64) + 7,
        "cpu_pct": np.round(level + rng.uniform(0, 10, n), 2),
        "mem_pct": np.round(40 + rng.uniform(0, 5, n), 2),
        **{name: np.full(n, value) for name, value in columns.items()},
    }


def joined(*parts: Mapping[str, np.ndarray]) -> pa.Table:
    names = {name for part in parts for name in part}
    return pa.table(
        {
            name: np.concatenate([part[name] if name in part else np.full(len(part["ts"]), np.nan) for part in parts])
            for name in sorted(names)
        }
    )
