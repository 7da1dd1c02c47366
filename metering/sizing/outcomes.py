"""What policies would have done, as marks: per machine, in sum, by group, the worst drawn, the frontier. Pure.

r = machines. Shares are fractions; the words are those of ``metering.sizing.backtest``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from providers.metrics import SLOTS, STEP_S, Array

MARKS = (
    "violation_rate",
    "net_cores_saved_share",
    "unserved_share_of_demand",
    "vms_violating_over_1pct",
    "vms_violating_over_5pct",
    "changes_per_vm_30d",
    "moves_per_vm_30d",
)
"""The marks of a backtest that are always told; ``report`` with ``detail`` tells them all."""


@dataclass(frozen=True)
class SizingResult:
    """What one policy did to every judged machine; all arrays [r], in the order of `names`.

    samples, violations: judged samples, and those above the size; caused: those above the size but not above
    what was provisioned; demand, unserved, size, provisioned: sums over judged samples in cores; deepest:
    largest demand above the size, cores; changes, expansions: in the judged half; days: judged days with
    samples; final: cores at the end, without an expansion that runs; trail: per machine (first day, sizes in
    force by day, largest demand by day) in the policy's own days.
    """

    policy: str
    names: tuple[str, ...]
    samples: Array
    violations: Array
    caused: Array
    demand: Array
    unserved: Array
    size: Array
    provisioned: Array
    deepest: Array
    changes: Array
    expansions: Array
    moves: Array
    days: Array
    final: Array
    trail: tuple[Trail, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def rate(self) -> Array:
        """Violations / samples of each machine."""
        rate: Array = self.violations / self.samples
        return rate

    def summary(self, which: Array | slice = slice(None)) -> dict[str, float | int]:
        """Shares as fractions over these machines (default: all)."""
        samples, rate = int(self.samples[which].sum()), self.rate[which]
        provisioned, days = float(self.provisioned[which].sum()), int(self.days[which].sum())
        demand = float(self.demand[which].sum())
        return {
            "vms": len(rate),
            "violation_rate": _ratio(self.violations[which].sum(), samples),
            "caused_rate": _ratio(self.caused[which].sum(), samples),
            "net_cores_saved_share": _ratio(provisioned - self.size[which].sum(), provisioned),
            "unserved_share_of_demand": _ratio(self.unserved[which].sum(), demand),
            "vms_violating_over_1pct": int((rate > 0.01).sum()),
            "vms_violating_over_5pct": int((rate > 0.05).sum()),
            "changes_per_vm_30d": _ratio(30 * self.changes[which].sum(), days),
            "expansions_per_vm_30d": _ratio(30 * self.expansions[which].sum(), days),
            "moves_per_vm_30d": _ratio(30 * self.moves[which].sum(), days),
            "cores_at_end": float(self.final[which].sum()),
        }

    def by_group(self, labels: Sequence[str]) -> dict[str, dict[str, float | int]]:
        """`summary` per label (a department, a system): labels [r], in the order of `names`."""
        label = np.asarray(labels)
        if len(label) != len(self):
            raise ValueError(f"{len(label)} labels for {len(self)} machines")
        return {str(each): self.summary(np.flatnonzero(label == each)) for each in np.unique(label)}

    def worst(self, count: int = 10) -> Array:
        """Indices of the machines hurt most: by violation rate, then by unserved demand; only those hurt at
        all."""
        order = np.lexsort((-self.unserved, -self.rate))[:count]
        return order[self.violations[order] > 0]


@dataclass(frozen=True)
class Trail:
    """One machine's days, for drawing: slot (floor(epoch seconds / 300)) at which the first begins; size: in
    force at the start of each day, top: the largest within it, peak: the largest demand (NaN = no sample),
    all in cores; judged: the first judged day."""

    first_slot: int
    size: Array
    top: Array
    peak: Array
    judged: int


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else 0.0


def join(parts: Sequence[SizingResult]) -> SizingResult:
    """The same policy on blocks of machines, one after another. At least one."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
    return SizingResult(
        parts[0].policy,
        sum((part.names for part in parts), ()),
        trail=sum((part.trail for part in parts), ()),
        **columns,
    )


ARRAYS = (
    "samples",
    "violations",
    "caused",
    "demand",
    "unserved",
    "size",
    "provisioned",
    "deepest",
    "changes",
    "expansions",
    "moves",
    "days",
    "final",
)


def report(
    dataset: str,
    results: Mapping[str, SizingResult],
    groups: Mapping[str, Sequence[str]] | None = None,
    worst: int = 0,
    *,
    detail: bool = False,
    caused: bool = False,
    against: str | None = None,
    carried: Mapping[str, SizingResult] | None = None,
) -> dict[str, Any]:
    """Plain JSON: {"dataset", "vms", "policies": {name: MARKS}}, shares as fractions.

    carried: name -> the same policy as it is carried out, adds "as_carried_out" with the same marks to each.

    caused: with "caused_rate", for backtests on whole shapes; detail: with every mark. against: the policy in
    force, adds "in_force" and to each policy "against_in_force", its marks less those. groups: kind of group (department, system) -> label per machine, adds "groups": {kind: {label: summary}}
    to each policy; worst: how many of the machines hurt most to add, with the size in force by day.
    """
    policies: dict[str, Any] = {}
    base = results[against].summary() if against else {}
    for name, result in results.items():
        full = result.summary()
        told = [mark for mark in full if detail or mark in MARKS or (caused and mark == "caused_rate")]
        policies[name] = {mark: full[mark] for mark in told}
        if carried:
            done = carried[name].summary()
            policies[name]["as_carried_out"] = {mark: done[mark] for mark in told}
        if against:
            policies[name]["against_in_force"] = {mark: full[mark] - base[mark] for mark in told if mark != "vms"}
        if groups:
            policies[name]["groups"] = {kind: result.by_group(labels) for kind, labels in groups.items()}
        if worst:
            policies[name]["worst"] = [drawn(result, int(i)) for i in result.worst(worst)]
    vms = len(next(iter(results.values())))
    return {"dataset": dataset, "vms": vms, "policies": policies, **({"in_force": against} if against else {})}


def drawn(result: SizingResult, i: int) -> dict[str, Any]:
    """Machine i as plain JSON for a chart: its marks, and by day the size in force, its largest, and the peak
    demand in cores; ts: epoch seconds of each day's beginning."""
    trail = result.trail[i]
    return {
        "name": result.names[i],
        "violation_rate": float(result.rate[i]),
        "unserved_share_of_demand": _ratio(result.unserved[i], result.demand[i]),
        "deepest_cores": float(result.deepest[i]),
        "judged_from": (trail.first_slot + trail.judged * SLOTS) * STEP_S,
        "ts": [(trail.first_slot + day * SLOTS) * STEP_S for day in range(len(trail.size))],
        "size": [round(float(cores), 3) for cores in trail.size],
        "top": [round(float(cores), 3) for cores in trail.top],
        "peak": [None if np.isnan(cores) else round(float(cores), 3) for cores in trail.peak],
    }


def frontier(results: Mapping[str, SizingResult]) -> list[str]:
    """The policies that no other beats in both violations and saving, from safest to thriftiest; what already
    is and what nobody can know are no policies."""
    marks = {
        name: (result.summary()["violation_rate"], -result.summary()["net_cores_saved_share"])
        for name, result in results.items()
        if name not in ("as-is", "oracle")
    }
    best = [
        name
        for name, (hurt, kept) in marks.items()
        if not any(h <= hurt and k <= kept and (h, k) != (hurt, kept) for h, k in marks.values())
    ]
    return sorted(best, key=lambda name: marks[name])


def merge(results: Mapping[str, SizingResult], chosen: Sequence[str], name: str) -> SizingResult:
    """One result out of several of the same machines: machine i's from the policy ``chosen[i]``."""
    first = next(iter(results.values()))
    if len(chosen) != len(first):
        raise ValueError(f"{len(chosen)} choices for {len(first)} machines")
    columns = {}
    for column in ARRAYS:
        columns[column] = np.array([getattr(results[which], column)[i] for i, which in enumerate(chosen)])
    trail = tuple(results[which].trail[i] for i, which in enumerate(chosen))
    return SizingResult(name, first.names, trail=trail, **columns)
