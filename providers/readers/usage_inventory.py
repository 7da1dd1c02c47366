"""What machines a usage file speaks of, for sources that come without an inventory.

The rule: a machine's size is what its last sample with cores > 0 says (cores, and provisioned memory where
that is told); it runs if its last sample says so, and is stopped since the first sample without cores after
its last one with. Where a source tells no cores, the size stays unknown and every reporting machine counts
as running.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from providers.base import Inventory, ResourceFact, ResourceState, Samples, ServiceKind
from quota.units import MEMORY, VCPU, Arch, ClassCode


@dataclass(slots=True)
class _Machine:
    """What is known so far of one machine; times in epoch seconds."""

    first: int
    last: int
    on: int | None = None  # last sample with cores
    off: int | None = None  # first sample without cores after it
    last_off: int | None = None
    vcpu: int | None = None
    mem_mb: int | None = None


def inventory_from_usage(
    batches: Iterable[Samples], *, arch: Arch = Arch.ANY, known: Inventory | None = None
) -> Inventory:
    """Derive the facts of every machine in ``batches``, which may come in any order of resources and times.

    ``known`` are facts that need no deriving; they stay as they are. The result is never complete: a
    machine that does not report may still be there. ``as_of`` is the last sample's time.
    """
    machines: dict[str, _Machine] = {}
    for batch in batches:
        _look(batch, machines)
    facts = {one.external_id: one for one in known.facts} if known else {}
    for name, one in machines.items():
        if name not in facts:
            facts[name] = _fact(name, one, arch)
    last = max((one.last for one in machines.values()), default=0)
    as_of = datetime.fromtimestamp(last, UTC)
    return Inventory(max(as_of, known.as_of) if known else as_of, list(facts.values()), complete=False)


def _look(batch: Samples, machines: dict[str, _Machine]) -> None:
    table = batch.table
    resource, ts = table["resource"].to_numpy(), table["ts"].to_numpy()
    order = np.lexsort((ts, resource))
    resource, ts = resource[order], ts[order]
    vcpu = _column(table, "vcpu", order)
    memory = _column(table, "mem_mb", order)
    starts = np.flatnonzero(np.append(True, resource[1:] != resource[:-1])) if len(ts) else np.empty(0, np.int64)
    for start, end in zip(starts, np.append(starts[1:], len(ts)), strict=True):
        name = batch.external_ids[int(resource[start])]
        one = machines.setdefault(name, _Machine(int(ts[start]), int(ts[start])))
        one.first, one.last = min(one.first, int(ts[start])), max(one.last, int(ts[end - 1]))
        if vcpu is None:
            continue
        cores, when = vcpu[start:end], ts[start:end]
        on = np.flatnonzero(cores > 0)
        if len(on) and (one.on is None or when[on[-1]] >= one.on):
            one.on = int(when[on[-1]])
            one.vcpu = int(cores[on[-1]])
            told = on if memory is None else on[memory[start:end][on] > 0]
            if memory is not None and len(told):
                one.mem_mb = round(float(memory[start:end][told[-1]]))
        off = when[cores == 0]
        if len(off):
            one.last_off = max(int(off[-1]), one.last_off or 0)
        after = [int(t) for t in off[np.searchsorted(off, one.on or 0, "right") :][:1]]
        # What an earlier batch saw counts only if it is still after the last sample with cores.
        after += [t for t in (one.off, one.last_off) if t is not None and t > (one.on or 0)]
        one.off = min(after, default=None)


def _column(table: Any, name: str, order: NDArray[Any]) -> NDArray[Any] | None:
    if name not in table.column_names:
        return None
    values: NDArray[Any] = np.asarray(table[name].to_numpy(), np.float64)
    ordered: NDArray[Any] = values[order]
    return ordered


def _fact(name: str, machine: _Machine, arch: Arch) -> ResourceFact:
    amounts: dict[ClassCode, int] = {}
    if machine.vcpu:
        amounts[VCPU] = machine.vcpu
    if machine.mem_mb:
        amounts[MEMORY] = machine.mem_mb
    stopped = machine.off is not None
    return ResourceFact(
        name,
        name,
        ServiceKind.VM,
        arch,
        amounts,
        ResourceState.STOPPED if stopped else ResourceState.RUNNING,
        stopped_at=datetime.fromtimestamp(machine.off, UTC) if machine.off is not None else None,
        tags={
            "derived": "usage",
            "first_seen": datetime.fromtimestamp(machine.first, UTC).isoformat(),
            "last_seen": datetime.fromtimestamp(machine.last, UTC).isoformat(),
        },
    )
