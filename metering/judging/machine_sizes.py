"""Sizes for machines whose policy names another method than the default, from the lake's samples: block by block.

The advice is made anew from the window's samples each time, so that it can be made again later, by the very code that
backtests the method over the past. A machine is shrunk onto a catalogue shape only; never one that is unknown, busy,
young, or whose demand is cut off at its ceiling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metering import quantiles
from metering.judging.assess import Findings
from metering.judging.policy import GROWS, STEADY, Verdict
from metering.judging.seen import demanded
from metering.lake import SampleMatrix as Block
from metering.lake import nothing
from metering.quantiles import BINS, histogram
from metering.sizing import FLOOR, Outlook, Profile, Sizing, backtest, rightsizing, sizing
from metering.workbench import Progress, Workbench, silent
from providers.base import ServiceKind
from providers.metrics import LIVE, MISSING
from quota.directory import CatalogItem
from quota.inventory import Resource
from quota.units import MEMORY, VCPU, Amount, ClassCode

if TYPE_CHECKING:
    from metering.judging.span import Window

GIB = 1024
KEPT = frozenset({*GROWS, Verdict.STARVED, Verdict.UNKNOWN, Verdict.DEAD, Verdict.UNJUDGED})
"""What is not shrunk, whatever its figures."""

MEMORY_KEEP = 0.5
"""Memory known from the hypervisor alone never falls under this share of what there is."""

YOUNG_DAYS = 7
SHRINK_BELOW = 0.9
"""A size that is not a tenth smaller is not worth the change."""

AS_BOOKED = 0.1
"""A guest counts its memory a little smaller than what was booked; more than this is another size."""

OF_SIZE = (("cpu_pct", "vcpu", VCPU), ("mem_pct", "mem_mb", MEMORY))
"""Share, the size that it is of, the kind that tells the present one."""

Offer = tuple[float, int, Amount]
"""A shape that is offered to a machine: its vCPU in points of the machine's, its memory, what it takes."""


@dataclass(frozen=True)
class Wanted:
    """Of the machines of a block: the size wanted in points of the present one, whether demand is cut off at the
    ceiling, and the days observed."""

    points: NDArray[np.float64]
    saturated: NDArray[np.bool_]
    observed: NDArray[np.int64]


def advise(
    workbench: Workbench,
    span: Window,
    resources: Sequence[Resource],
    found: Findings,
    shapes: Mapping[str, Sequence[CatalogItem]],
    progress: Progress = silent,
) -> dict[int, Amount | None]:
    """Resource id → the catalogue shape to shrink to, base units (None: leave it as it is), for every machine whose
    policy sizes by another method than the default one, and that is not to grow."""
    by_name: dict[str, dict[int, int]] = {}
    for i, one in enumerate(resources):
        name = found.policy.sizing_of(int(found.section[i]))
        if sizing(name).steady.name != STEADY and one.kind == ServiceKind.VM.value and found[i] not in GROWS:
            by_name.setdefault(name, {})[one.id] = i
    targets: dict[int, Amount | None] = {}
    for name, rows in by_name.items():
        how = sizing(name)
        profile = how.profile
        reach = max(span.days, profile.peak_days) if profile else span.days
        if how.method == "peak14x1.15-daily":
            reach = max(reach, int(how.figure("days")))
        first = span.last - timedelta(days=reach - 1)
        columns = ("cpu_pct", "mem_pct", "vcpu", "mem_mb", "steal_pct")
        for block in workbench.lake.windows(np.array(sorted(rows), np.int32), first, span.last, columns):
            members = [resources[rows[int(one)]] for one in block.resources]
            offered = [_offered(one, shapes.get(one.arch, ())) for one in members]
            block.values["cpu_pct"] = demanded(block.values["cpu_pct"], block.values["steal_pct"])
            cpu, mem = (_of_present(block, members, *each) for each in OF_SIZE)
            need = _memory(mem, block.state, workbench.lake.slots)
            memory = [share * one.actual().get(MEMORY, 0) for share, one in zip(need, members, strict=True)]
            if profile:
                wanted = _by_cost(cpu, block.state, workbench.lake.slots, profile, _sizes(offered, memory))
            else:
                wanted = _by_method(cpu, block.state, workbench.lake.slots, how, members)
            for i, one in enumerate(members):
                keep = found[rows[one.id]] in KEPT or bool(wanted.saturated[i]) or wanted.observed[i] < YOUNG_DAYS
                best = float(wanted.points[i])
                # Catalogue shapes are coarse: what would only be trimmed stays as it is.
                fits = not keep and best < 100 * (profile.shrink_below if profile else SHRINK_BELOW)
                targets[one.id] = _smallest(offered[i], best, memory[i]) if fits else None
            progress("size", len(targets), sum(map(len, by_name.values())))
    return targets


def _of_present(
    block: Block, members: Sequence[Resource], share: str, size: str, kind: ClassCode
) -> NDArray[np.uint16]:
    """``share`` (hundredths of a per cent of the size at that time) in those of the present size, as the backtest has it:
    what a machine did before it was resized counts by what it needed. A slot that tells no size has that of the slot
    before it; before the first, the present one."""
    told, sizes = block.values[share], block.values[size]
    known = (sizes != nothing(size)) & (sizes > 0)
    column = np.maximum.accumulate(np.where(known, np.arange(told.shape[1]), -1), axis=1)
    held = np.take_along_axis(sizes, np.maximum(column, 0), axis=1).astype(np.float64)
    has = np.array([[one.actual().get(kind, 0)] for one in members], np.float64)
    ratio = np.divide(held, has, out=np.ones_like(held), where=(column >= 0) & (has > 0))
    resized = (np.abs(ratio - 1) > AS_BOOKED) & (told != MISSING)
    if not resized.any():
        return told
    return np.where(resized, np.clip(np.rint(told * ratio), 0, MISSING - 1), told).astype(np.uint16)


def of_present_size(
    workbench: Workbench, last: date, days: int, resources: Sequence[Resource]
) -> dict[int, Mapping[str, float]]:
    """Resource id → its P95 over ``days`` up to ``last`` in per cent of the present size, whatever size it had meanwhile; by the names of
    the figures, those that are known."""
    members = {one.id: one for one in resources}
    first, columns = last - timedelta(days=days - 1), ("cpu_pct", "mem_pct", "vcpu", "mem_mb", "steal_pct")
    found: dict[int, Mapping[str, float]] = {}
    for block in workbench.lake.windows(np.array(sorted(members), np.int32), first, last, columns) if members else ():
        block.values["cpu_pct"] = demanded(block.values["cpu_pct"], block.values["steal_pct"])
        rows = [members[int(one)] for one in block.resources]
        for name, (share, size, kind) in zip(("cpu_p95", "mem_p95"), OF_SIZE, strict=True):
            told = _of_present(block, rows, share, size, kind)
            p95 = quantiles.exact(told, 0.95, (block.state == LIVE) & (told != MISSING))[:, 0]
            for one, figure in zip(rows, p95.tolist(), strict=True):
                if np.isfinite(figure):
                    found[one.id] = {**found.get(one.id, {}), name: round(figure, 2)}
    return found


def _by_cost(
    cpu: NDArray[np.uint16], state: NDArray[np.uint8], slots: int, profile: Profile, sizes: NDArray[np.float64]
) -> Wanted:
    seen = look(cpu, state, slots, profile, sizes)
    return Wanted(seen.recent_peak, seen.saturated, seen.observed)


def _by_method(
    cpu: NDArray[np.uint16], state: NDArray[np.uint8], slots: int, how: Sizing, members: Sequence[Resource]
) -> Wanted:
    """By a quantile or a maximum, as the backtest of the same name takes it."""
    valid = (state == LIVE) & (cpu != MISSING)
    r, n = cpu.shape
    days = valid.reshape(r, n // slots, slots)
    if how.method == "p95@70":
        points = quantiles.exact(cpu, how.figure("quantile") / 100, valid)[:, 0] / how.figure("ceiling") * 100
    elif how.method == "p95x1.15":
        points = quantiles.exact(cpu, how.figure("quantile") / 100, valid)[:, 0] * how.figure("margin")
    else:
        cores = np.array([one.actual().get(VCPU, 0) or 1 for one in members], np.float64)[:, None, None]
        demand = np.where(days, cpu.reshape(days.shape) / 10_000 * cores, np.nan)
        # One day more, of which nothing is known yet: the one to be sized.
        ahead = ((0, 0), (0, 1), (0, 0))
        past = backtest.MachineDays(
            np.pad(demand, ahead, constant_values=np.nan),
            np.pad(np.where(days, cores, 0.0), ahead),
            np.pad(np.zeros(days.shape, bool), ahead),
        )
        points = backtest.policy(how.name).sizes(past, None).by_day[:, -1] / cores[:, 0, 0] * 100
    top = quantiles.exact(cpu, 0.95, valid)[:, 0]
    observed = days.any(axis=2).sum(axis=1)
    return Wanted(np.where(observed > 0, points, np.inf), np.nan_to_num(top) >= 95, observed)


def _sizes(offered: Sequence[Sequence[Offer]], memory: Sequence[float]) -> NDArray[np.float64]:
    """The shapes with memory enough, in points [r, most]; NaN = not offered."""
    sizes = np.full((len(offered), max(map(len, offered), default=0) or 1), np.nan)
    for i, items in enumerate(offered):
        for j, (points, holds, _takes) in enumerate(items):
            if holds >= memory[i]:
                sizes[i, j] = points
    return sizes


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


def _offered(resource: Resource, items: Sequence[CatalogItem]) -> list[Offer]:
    """Shapes that are no bigger than the machine and not under the floor, smallest first."""
    has = resource.actual()
    cpu, memory = has.get(VCPU, 0), has.get(MEMORY, 0)
    found = []
    for item in items:
        takes = item.takes()
        if takes.get(VCPU, 0) <= cpu and takes.get(MEMORY, 0) <= memory and cpu:
            shape = Amount({VCPU: takes.get(VCPU, 0), MEMORY: takes.get(MEMORY, 0)})
            enough = shape.get(VCPU, 0) >= FLOOR.vcpu and shape.get(MEMORY, 0) >= FLOOR.memory_gb * GIB
            if enough and shape != {VCPU: cpu, MEMORY: memory}:
                found.append((100.0 * shape[VCPU] / cpu, shape[MEMORY], shape))
    return sorted(found, key=lambda each: (each[0], each[1]))


def _smallest(offered: Sequence[Offer], points: float, memory: float) -> Amount | None:
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
