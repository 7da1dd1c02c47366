"""The figures that can be known of a resource, by name: what policies may ask for and findings keep. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    pass

Array = NDArray[Any]


MISSING = 65535  # uint16 sentinel: not reported


@dataclass(frozen=True)
class Figures:
    """What was seen in one window, one entry a resource; NaN = not known.

    wanted: all slots of the window; expected: those between the first and the last due; live, off, frozen: by
    state; coverage: live / wanted, so that a resource younger than the window is covered only in part;
    received: live / expected; cpu, mem, net, card coverage: slots with that value / all slots of the window.
    daily_peak: mean of the daily maxima of CPU (均峰值). hot_days: days at or above the policy's hot level
    for the policy's minutes, of CPU, of memory, of either. disk_last: the latest reading in the window.
    line_mean, line_peak: traffic both ways as % of the bought bandwidth, its mean and the mean of its daily maxima;
    conn_max: the most connections at one time (databases, middleware), conn_coverage as cpu_coverage. Of these daily
    rollups tell nothing.
    CPU is what was wanted: what was used, and what the hypervisor gave to others (steal). steal_mean: that part, mean;
    starved: the share of slots in which it was STARVED or more. From daily rollups CPU is what was used.
    """

    wanted: Array
    expected: Array
    live: Array
    off: Array
    frozen: Array
    observed_days: Array
    coverage: Array
    received: Array
    cpu_coverage: Array
    cpu_mean: Array
    cpu_p50: Array
    cpu_p95: Array
    cpu_p99: Array
    cpu_max: Array
    daily_peak: Array
    cpu_hot_days: Array
    mem_coverage: Array
    mem_mean: Array
    mem_p95: Array
    mem_max: Array
    mem_hot_days: Array
    hot_days: Array
    net_coverage: Array
    net_mean: Array
    disk_last: Array
    card_coverage: Array
    card_mean: Array
    line_mean: Array
    line_peak: Array
    conn_coverage: Array
    conn_max: Array
    steal_coverage: Array
    steal_mean: Array
    starved: Array


FIGURES = tuple(f.name for f in fields(Figures))


COUNTS = (
    "wanted",
    "expected",
    "live",
    "off",
    "frozen",
    "observed_days",
    "cpu_hot_days",
    "mem_hot_days",
    "hot_days",
)


CIRCUMSTANCES = ("off_days", "dead_days", "unattached_days", "age_days", "cycle_left")


@dataclass(frozen=True)
class Facts:
    """All that a policy may look at: figures per window length in days, and circumstances per resource.

    kind: str [r]; off_days: days powered off up to the end of the block, by the samples or the inventory;
    dead_days: days up to the end in which only frozen values came; unattached_days: NaN = attached, or not
    known; age_days.
    """

    kind: Array
    off_days: Array
    dead_days: Array
    unattached_days: Array
    age_days: Array
    cycle_left: Array
    windows: Mapping[int, Figures]

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, which: Array) -> Facts:
        """The facts of the resources at these indices (or under this mask)."""
        windows = {
            days: Figures(**{name: getattr(seen, name)[which] for name in FIGURES})
            for days, seen in self.windows.items()
        }
        return Facts(self.kind[which], windows=windows, **{name: getattr(self, name)[which] for name in CIRCUMSTANCES})

    def figure(self, name: str, days: int) -> Array:
        """[r] of one figure over one window, or of a circumstance."""
        return np.asarray(getattr(self, name) if name in CIRCUMSTANCES else getattr(self.windows[days], name))

    def row(self, i: int) -> dict[str, Any]:
        """Everything known of resource i as plain JSON: what a finding keeps. Unknown figures are None."""
        return {
            "kind": str(self.kind[i]),
            **{name: plain(name, getattr(self, name)[i]) for name in CIRCUMSTANCES},
            "windows": {
                str(days): {name: plain(name, getattr(seen, name)[i]) for name in FIGURES}
                for days, seen in self.windows.items()
            },
        }

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> Facts:
        """The facts again from what `row` kept, so that a finding can be recomputed. Raises KeyError on other
        rows."""

        def column(values: list[Any]) -> Array:
            return np.array([np.nan if value is None else value for value in values], np.float64)

        return cls(
            np.array([row["kind"] for row in rows], dtype=object),
            **{name: column([row.get(name) for row in rows]) for name in CIRCUMSTANCES},
            windows={
                # A figure that was not yet measured when the row was kept is not known.
                int(days): Figures(
                    **{name: column([row["windows"][days].get(name) for row in rows]) for name in FIGURES}
                )
                for days in (rows[0]["windows"] if rows else ())
            },
        )


def plain(name: str, value: Any) -> float | int | None:
    """One figure as a JSON value; NaN is None, slots and days stay whole."""
    if value != value:
        return None
    return int(value) if name in COUNTS else round(float(value), 6)


def concat(parts: Sequence[Facts]) -> Facts:
    """Blocks of resources one after another; all measured for the same windows. At least one."""
    windows = {
        days: Figures(**{name: np.concatenate([getattr(p.windows[days], name) for p in parts]) for name in FIGURES})
        for days in parts[0].windows
    }
    return Facts(
        np.concatenate([p.kind for p in parts]),
        windows=windows,
        **{name: np.concatenate([getattr(p, name) for p in parts]) for name in CIRCUMSTANCES},
    )
