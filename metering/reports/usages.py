"""How much of what there was, was used: from the lake's closed days of the period itself, whatever policies judge by.

Means over machines are weighed by what each has. Machines that nothing is known of lower the coverage, never a mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metering.judging import SystemUse, WholeLevels, wholes
from metering.reports.frames import Frame, rounded
from metering.reports.inventories import ResourceHistory
from metering.reports.readings import COUNT, FIGURES
from quota.units import MEMORY, VCPU

BANDS = (0.0, 5.0, 10.0, 30.0, 50.0, 80.0)
"""Where bands of the mean CPU use begin, per cent of a machine; the last is open upward."""

MOST_SYSTEMS = 20
"""Low and high systems that the text lists; the annex has all."""


@dataclass(frozen=True, slots=True)
class MachineUse:
    """One machine over the period. Per cent; None: not known. ``coverage``: share of the slots in which it was there."""

    machine: ResourceHistory
    vcpu: int
    memory: int
    cpu: float | None = None
    cpu_p95: float | None = None
    cpu_top: float | None = None
    mem: float | None = None
    mem_p95: float | None = None
    coverage: float = 0.0


def uses(frame: Frame, rows: Sequence[ResourceHistory], at: int) -> list[MachineUse]:
    """Of every machine that was there at the end; without a closed day nothing is known of any."""
    machines = [one for one in rows if one.machine and one.at[at] is not None]
    sizes = {one.id: one.at[at] or {} for one in machines}
    found = frame.readings.of(frame.period, frame.calendar, sizes)
    if found is None:
        return [MachineUse(one, int(sizes[one.id].get(VCPU, 0)), int(sizes[one.id].get(MEMORY, 0))) for one in machines]
    cpu, cpu_p95, cpu_top, mem, mem_p95 = (found.figures[name] for name in FIGURES)
    place = {int(one_id): at for at, one_id in enumerate(found.ids)}
    told = []
    for one in machines:
        vcpu, memory = int(sizes[one.id].get(VCPU, 0)), int(sizes[one.id].get(MEMORY, 0))
        where = place.get(one.id)
        if where is None:
            told.append(MachineUse(one, vcpu, memory))
            continue
        slots = (frame.end - max(one.since, frame.start)).total_seconds() / found.step_s
        told.append(
            MachineUse(
                one,
                vcpu,
                memory,
                _known(cpu[where]),
                _known(cpu_p95[where]),
                _known(cpu_top[where]),
                _known(mem[where]),
                _known(mem_p95[where]),
                min(1.0, int(found.figures[COUNT][where]) / slots) if slots > 0 else 0.0,
            )
        )
    return told


def _known(figure: Any) -> float | None:
    return None if not np.isfinite(figure) else float(figure)


def by_pool(frame: Frame, told: Sequence[MachineUse]) -> list[dict[str, Any]]:
    """By pool: machines, and the use of CPU and memory."""
    groups: dict[int, list[MachineUse]] = {}
    for one in told:
        groups.setdefault(one.machine.pool_id, []).append(one)
    rows = [
        {"pool": frame.name("pool", pool_id), "zone": frame.pools[pool_id].zone, **together(mine)}
        for pool_id, mine in groups.items()
    ]
    return sorted(rows, key=lambda one: (one["zone"], one["pool"]))


def together(told: Sequence[MachineUse]) -> dict[str, Any]:
    """A group of machines as one: weighed by cores, or by memory."""
    tops = [one.cpu_top for one in told if one.cpu_top is not None]
    cores = sum(one.vcpu for one in told)
    return {
        "machines": len(told),
        "vcpu": cores,
        "cpu": rounded(_mean((one.cpu, one.vcpu) for one in told)),
        "cpu_p95": rounded(_mean((one.cpu_p95, one.vcpu) for one in told)),
        "cpu_top": rounded(max(tops, default=None)),
        "mem": rounded(_mean((one.mem, one.memory) for one in told)),
        "mem_p95": rounded(_mean((one.mem_p95, one.memory) for one in told)),
        "coverage": rounded(100 * sum(one.coverage * one.vcpu for one in told) / cores) if cores else None,
    }


def _mean(pairs: Iterable[tuple[float | None, int]]) -> float | None:
    known = [(figure, weight) for figure, weight in pairs if figure is not None]
    total = sum(weight for _figure, weight in known)
    return sum(figure * weight for figure, weight in known) / total if total else None


def bands(told: Sequence[MachineUse], levels: WholeLevels) -> list[dict[str, Any]]:
    """Machines by their mean CPU use; those of which too little is known apart (``low`` None)."""
    found: Counter[float | None] = Counter()
    cores: Counter[float | None] = Counter()
    for one in told:
        known = one.cpu is not None and one.coverage >= levels.covered
        low = max(edge for edge in BANDS if edge <= (one.cpu or 0.0)) if known else None
        found[low] += 1
        cores[low] += one.vcpu
    edges: list[float | None] = [*BANDS, None]
    return [
        {"low": low, "high": BANDS[at + 1] if at + 1 < len(BANDS) else None, "machines": found[low], "vcpu": cores[low]}
        for at, low in enumerate(edges)
    ]


def systems(frame: Frame, told: Sequence[MachineUse]) -> list[dict[str, Any]]:
    """Each system that had machines, judged as a whole; by cores, the largest first."""
    groups: dict[int, list[MachineUse]] = {}
    for one in told:
        if one.machine.system_id is not None:
            groups.setdefault(one.machine.system_id, []).append(one)
    rows = []
    for system_id, mine in groups.items():
        whole = together(mine)
        covered = (whole["coverage"] or 0.0) / 100
        use = wholes.use_of(frame.levels, whole["cpu"], whole["mem"], covered)
        owner = frame.owners_of_systems[system_id]
        rows.append(
            {
                "system": frame.name("system", system_id),
                "code": frame.systems[system_id].code,
                "department": frame.name("department", owner),
                **whole,
                "use": use.value,
            }
        )
    return sorted(rows, key=lambda one: (-one["vcpu"], one["code"]))


def system_counts(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many systems are low, normal, high, unknown."""
    found = Counter(one["use"] for one in rows)
    return {use.value: found[use.value] for use in SystemUse}


def basis(levels: WholeLevels) -> dict[str, Any]:
    """By what systems are called low or high: figures in per cent, printed beside them; ``either``: one low figure is enough."""
    return {
        "low_cpu": levels.low_cpu,
        "low_memory": levels.low_memory,
        "high_cpu": levels.high_cpu,
        "high_memory": levels.high_memory,
        "covered": 100 * levels.covered,
        **({"either": True} if levels.either else {}),
    }


def silent(told: Sequence[MachineUse]) -> int:
    """Machines without one sample in the period."""
    return sum(one.cpu is None for one in told)


def ranking(told: Sequence[MachineUse], frame: Frame) -> list[dict[str, Any]]:
    """Departments by the use of their cores, the highest first; those of which too little is known last, without a place."""
    groups: dict[int, list[MachineUse]] = {}
    for one in told:
        if one.machine.department_id is not None:
            groups.setdefault(one.machine.department_id, []).append(one)
    rows = []
    for department_id, mine in groups.items():
        whole = together(mine)
        known = whole["cpu"] is not None and (whole["coverage"] or 0.0) >= 100 * frame.levels.covered
        low = sum(one.vcpu for one in mine if one.cpu is not None and one.cpu < BANDS[2])
        rows.append(
            {
                "department": frame.name("department", department_id),
                "ranked": known,
                "low_share": rounded(100 * low / whole["vcpu"]) if known and whole["vcpu"] else None,
                **{name: whole[name] for name in ("machines", "vcpu", "cpu", "cpu_p95", "mem", "coverage")},
            }
        )
    return sorted(rows, key=lambda one: (not one["ranked"], -(one["cpu"] or 0.0), one["department"] or ""))
