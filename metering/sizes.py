"""Sizes by the cost quantile for machines whose policy says so, from the lake's samples: block by block.

The advice is made anew from the window's daily histograms each time, so that it can be made again later. A machine is
shrunk onto a catalogue shape only; never one that is unknown, busy, young, or whose demand is cut off at its ceiling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metering import rightsizing
from metering.assess import Findings
from metering.policy import GROWS, Verdict
from metering.quantiles import BINS, MISSING, histogram
from metering.rightsizing import PROFILES, Outlook, Profile
from metering.series import LIVE
from metering.works import Progress, Works, silent
from providers.base import ServiceKind
from providers.inventory import Resource
from quota.catalog import CatalogItem
from quota.units import Amounts, Kind

if TYPE_CHECKING:
    from metering.pipeline import Window

GIB = 1024
KEPT = frozenset({*GROWS, Verdict.UNKNOWN, Verdict.DEAD, Verdict.UNJUDGED})
"""What is not shrunk, whatever its figures."""

MEMORY_KEEP = 0.5
"""Memory known from the hypervisor alone never falls under this share of what there is."""


def advise(
    works: Works,
    span: Window,
    resources: Sequence[Resource],
    found: Findings,
    shapes: Mapping[str, Sequence[CatalogItem]],
    progress: Progress = silent,
) -> dict[int, Amounts | None]:
    """Resource id → the catalogue shape that costs least, base units (None: leave it as it is), for every machine
    whose sizing policy is a profile of the cost quantile and that is not to grow."""
    wanted: dict[str, dict[int, int]] = {}
    for i, one in enumerate(resources):
        name = found.policy.sizing_of(int(found.section[i]))
        if name in PROFILES and one.kind == ServiceKind.VM.value and found[i] not in GROWS:
            wanted.setdefault(name, {})[one.id] = i
    targets: dict[int, Amounts | None] = {}
    for name, rows in wanted.items():
        profile = PROFILES[name]
        first = span.last - timedelta(days=max(span.days, profile.peak_days) - 1)
        for block in works.lake.windows(np.array(sorted(rows), np.int32), first, span.last, ("cpu_pct", "mem_pct")):
            members = [resources[rows[int(one)]] for one in block.resources]
            offered = [_offered(one, shapes.get(one.arch, ())) for one in members]
            sizes = np.full((len(members), max(map(len, offered), default=0) or 1), np.nan)
            need = _memory(block.values["mem_pct"], block.state, works.lake.slots)
            for i, (one, items) in enumerate(zip(members, offered, strict=True)):
                for j, (points, memory, _takes) in enumerate(items):
                    if memory >= need[i] * one.has().get(Kind.MEMORY, 0):
                        sizes[i, j] = points
            seen = look(block.values["cpu_pct"], block.state, works.lake.slots, profile, sizes)
            for i, one in enumerate(members):
                verdict = found[rows[one.id]]
                keep = verdict in KEPT or bool(seen.saturated[i]) or seen.observed[i] < profile.young_days
                best = float(seen.lately[i])
                if keep or best >= 100 * profile.shrink_below:
                    targets[one.id] = None
                else:
                    targets[one.id] = _smallest(offered[i], best, need[i] * one.has().get(Kind.MEMORY, 0))
            progress("size", len(targets), sum(map(len, wanted.values())))
    return targets


def look(
    cpu: NDArray[np.uint16],
    state: NDArray[np.uint8],
    slots: int,
    profile: Profile,
    sizes: NDArray[np.float64] | None = None,
) -> Outlook:
    """The outlook of machines from exact samples: cpu uint16 hundredths, state uint8, both [r, d x slots]."""
    r, n = cpu.shape
    days = n // slots
    valid = (state == LIVE) & (cpu != MISSING)
    counts = histogram(cpu.reshape(r * days, slots), valid.reshape(r * days, slots)).reshape(r, days, BINS)
    peak = np.where(valid, cpu, 0).reshape(r, days, slots).max(axis=2) / 100
    return rightsizing.outlook(counts, peak, profile, sizes)


def _offered(one: Resource, items: Sequence[CatalogItem]) -> list[tuple[float, int, Amounts]]:
    """Shapes that are no bigger than the machine: (points of its vCPU, memory, amounts), smallest first."""
    has = one.has()
    cpu, memory = has.get(Kind.VCPU, 0), has.get(Kind.MEMORY, 0)
    found = []
    for item in items:
        takes = item.takes()
        if takes.get(Kind.VCPU, 0) <= cpu and takes.get(Kind.MEMORY, 0) <= memory and cpu:
            shape = {Kind.VCPU: takes.get(Kind.VCPU, 0), Kind.MEMORY: takes.get(Kind.MEMORY, 0)}
            if all(shape.values()) and shape != {Kind.VCPU: cpu, Kind.MEMORY: memory}:
                found.append((100.0 * shape[Kind.VCPU] / cpu, shape[Kind.MEMORY], shape))
    return sorted(found, key=lambda each: (each[0], each[1]))


def _smallest(offered: Sequence[tuple[float, int, Amounts]], points: float, memory: float) -> Amounts | None:
    for size, holds, shape in offered:
        if size >= points - 1e-6 and holds >= memory:
            return shape
    return None


def _memory(mem: NDArray[np.uint16], state: NDArray[np.uint8], slots: int) -> NDArray[np.float64]:
    """The share of its memory that each machine needs [r]: daily peaks, half-life eight days, never under
    MEMORY_KEEP; all of it where nothing is known."""
    r, n = mem.shape
    valid = ((state == LIVE) & (mem != MISSING)).reshape(r, n // slots, slots)
    tops = np.where(valid, mem.reshape(valid.shape), 0).max(axis=2) / 100
    need = rightsizing.memory_need(np.where(valid.any(axis=2), tops, np.nan)) / 100
    return np.where(np.isfinite(need), np.clip(need, MEMORY_KEEP, 1.0), 1.0)
