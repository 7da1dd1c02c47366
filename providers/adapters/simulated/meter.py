"""What the simulated cloud's collectors report of one local day: demand measured against size, with gaps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from providers.adapters.simulated.fleet import DAY_S, Machine, moment
from providers.adapters.simulated.load import Load, LoadDemand, Loads, demand, draw, stream
from providers.base import ResourceState, ServiceKind
from providers.metrics import SLOTS, STEP_S, Array
from quota.calendar import WorkingDays

# One source a kind of collector, each with its own columns. Security and cryptography report no use.
PARTS: Mapping[str, tuple[ServiceKind, ...]] = {
    "compute": (ServiceKind.VM, ServiceKind.BARE_METAL, ServiceKind.DATABASE, ServiceKind.MIDDLEWARE),
    "storage": (ServiceKind.VOLUME, ServiceKind.OBJECT_STORE),
    "network": (ServiceKind.EIP, ServiceKind.BANDWIDTH),
    "accelerator": (ServiceKind.ACCELERATOR,),
}
INSTANCES = frozenset({ServiceKind.DATABASE, ServiceKind.MIDDLEWARE})
HOST_GIVES = 0.5
"""What a host that sold more than it has gives of what its starved machine asks for."""

_SCALE = {ServiceKind.VOLUME: 0.01, ServiceKind.OBJECT_STORE: 0.001}  # GB that work as hard as a core


@dataclass(frozen=True)
class SimulatedMeter:
    """Reads a pool's machines, in a fixed order: a row keeps its random numbers. ``missing``: share lost."""

    machines: Sequence[Machine]
    seed: int
    start: date
    missing: float
    working: WorkingDays
    loads: Loads

    @classmethod
    def of(cls, machines: Sequence[Machine], seed: int, start: date, missing: float) -> SimulatedMeter:
        """A meter of machines whose demand is measured in shares of the size that each was built with."""
        built = [one.size(one.life[0].amounts) for one in machines]
        cores = [size[0] * _SCALE.get(one.kind, 1.0) for one, size in zip(machines, built, strict=True)]
        loads = draw(seed, [one.load for one in machines], cores, [size[1] for size in built])
        return cls(machines, seed, start, missing, WorkingDays(), loads)

    def read(
        self, day: date, since: int, until: int, *, lost: bool = False
    ) -> Iterator[tuple[str, list[str], pa.Table]]:
        """Part, external ids and table of every part with samples on ``day`` with since <= ts < until; ``lost``: with those
        instead that never arrived."""
        begin = moment(day)
        ts = begin + STEP_S * np.arange(SLOTS, dtype=np.int64)
        if not self.machines:
            return
        wanted = demand(self.loads, self.seed, day, self.start, self.working)
        on, cores, mem_mb = self._sizes(begin)
        on &= ((ts >= since) & (ts < until))[None, :]
        on &= self._lost(day) if lost else ~self._lost(day)
        kinds = np.array([one.kind.value for one in self.machines])
        for part, members in PARTS.items():
            rows = np.flatnonzero(np.isin(kinds, [kind.value for kind in members]) & on.any(axis=1))
            if not len(rows):
                continue
            columns = self._columns(part, rows, wanted, cores, mem_mb)
            self._die(rows, begin, columns)
            where, slot = np.nonzero(on[rows])
            table = {
                "resource": where.astype(np.int32),
                "ts": ts[slot],
                **{name: values[where, slot] for name, values in columns.items()},
            }
            yield part, [self.machines[row].external_id for row in rows.tolist()], pa.table(table)

    def _sizes(self, begin: int) -> tuple[Array, Array, Array]:
        """[row, slot]: whether it reports, its size (cores, cards, GB, Mbps), its MiB."""
        n = len(self.machines)
        on = np.zeros((n, SLOTS), bool)
        size = np.zeros((n, SLOTS), np.float32)
        memory = np.zeros((n, SLOTS), np.float32)
        for row, machine in enumerate(self.machines):
            first = max(bisect_right(machine.life, begin, key=lambda one: one.at) - 1, 0)
            for change in machine.life[first:]:
                if change.at >= begin + DAY_S:
                    break
                slot = _slot(change.at, begin)
                on[row, slot:] = change.state is ResourceState.RUNNING
                size[row, slot:], memory[row, slot:] = machine.size(change.amounts)
            if machine.detached_at is not None:
                on[row, _slot(machine.detached_at, begin) :] = False
        return on, size, memory

    def _lost(self, day: date) -> Array:
        """bool [row, slot]: single samples lost on the way, and the silent hours of gappy machines."""
        dice = stream(self.seed, day.toordinal(), 3).random((len(self.machines), SLOTS + 4), np.float32)
        lost: Array = dice[:, :SLOTS] < self.missing
        slots = np.arange(SLOTS)
        for row, machine in enumerate(self.machines):
            if machine.load is Load.GAPPY and machine.host is None:
                for start, length in dice[row, SLOTS:].reshape(2, 2).tolist():
                    first = int(start * (SLOTS - 60))
                    lost[row] |= (slots >= first) & (slots < first + 24 + int(36 * length))
        return lost

    def _columns(self, part: str, rows: Array, wanted: LoadDemand, size: Array, mem_mb: Array) -> dict[str, Array]:
        def percent(values: Array, whole: Array) -> Array:
            """Two decimals, as collectors write them; what is asked for above 100 is never seen."""
            share = np.divide(100 * values, whole, out=np.full_like(values, np.nan), where=whole > 0)
            seen: Array = np.round(np.minimum(share, 100), 2)
            return seen

        size = size[rows]
        if part == "accelerator":
            return {"card_pct": percent(wanted.cores[rows], size)}
        if part == "network":
            limit = np.where(self._is(rows, {ServiceKind.BANDWIDTH}), size * 500, np.inf).astype(np.float32)
            return {
                "net_rx_kbps": np.minimum(wanted.net_rx[rows], limit),
                "net_tx_kbps": np.minimum(wanted.net_tx[rows], limit),
            }
        io = {"disk_read_kbs": wanted.disk_read[rows], "disk_write_kbs": wanted.disk_write[rows]}
        if part == "storage":
            scale = np.array([_SCALE[self.machines[row].kind] for row in rows.tolist()], np.float32)
            built = (self.loads.cores[rows] / scale)[:, None]
            return {"disk_pct": percent(wanted.disk[rows] * built, size), **io}
        asked = percent(wanted.cores[rows], size)
        starved = [self.machines[row].load is Load.STARVED for row in rows.tolist()]
        given = np.round(asked * np.where(starved, HOST_GIVES, 1).astype(np.float32)[:, None], 2)
        return {
            "cpu_pct": given,
            "steal_pct": np.where(self._is(rows, {ServiceKind.VM}), np.round(asked - given, 2), np.float32(np.nan)),
            "mem_pct": percent(wanted.memory[rows], mem_mb[rows]),
            "disk_pct": np.round(100 * wanted.disk[rows], 2),
            "net_rx_kbps": wanted.net_rx[rows],
            "net_tx_kbps": wanted.net_tx[rows],
            **io,
            "connections": np.where(self._is(rows, INSTANCES), wanted.connections[rows], np.float32(np.nan)),
            "vcpu": size.astype(np.int32),
            "mem_mb": mem_mb[rows].astype(np.int32),
        }

    def _is(self, rows: Array, kinds: set[ServiceKind] | frozenset[ServiceKind]) -> Array:
        return np.array([[self.machines[row].kind in kinds] for row in rows.tolist()], bool)

    def _die(self, rows: Array, begin: int, columns: dict[str, Array]) -> None:
        """From their turn on, frozen and ghost machines repeat the same values; a ghost 0 cores too."""
        for index, row in enumerate(rows.tolist()):
            machine = self.machines[row]
            if machine.turn is None or machine.turn >= begin + DAY_S:
                continue
            dead = slice(_slot(machine.turn, begin), None)
            own = self.loads.take(np.array([row]))
            share = float(own.rest[0] + 0.4 * (own.peak[0] - own.rest[0]))
            cores = share * float(own.cores[0])
            last = {
                "cpu_pct": round(100 * share, 2),
                "mem_pct": round(100 * float(own.memory[0]), 2),
                "disk_pct": round(100 * float(own.disk[0]), 2),
                "net_rx_kbps": 0.45 * float(own.net[0]) * cores,
                "net_tx_kbps": 0.55 * float(own.net[0]) * cores,
                "disk_read_kbs": 0.4 * float(own.io[0]) * cores,
                "disk_write_kbs": 0.6 * float(own.io[0]) * cores,
            }
            if machine.load is Load.GHOST:
                last |= {"vcpu": 0, "mem_mb": 0}
            for name, value in last.items():
                columns[name][index, dead] = value


def _slot(at: int, begin: int) -> int:
    """The first slot of the day that starts at or after ``at``."""
    return min(max(-((begin - at) // STEP_S), 0), SLOTS)
