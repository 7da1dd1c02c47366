"""Bitbrains' two traces, generated: the monthly files of Rnd, and fastStorage as OpenDC merged it.

Rnd has what the original has: a header of milliseconds over seconds, ``;`` and a tab between cells, gaps of a day at the
month ends and of 31 hours in July, machines that go on reporting without cores (two or three times per five minutes, at
shifted seconds, many rows verbatim again), frozen runs, CPU over 100, memory over what is provisioned, resizes, machines
that come late, are silent for weeks or go early.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from .truth import DAY, STEP_S, Array, Machine, Recording

BEGIN = 1372629600 + 204  # 2013-06-30 22:00 UTC = 00:00 of July in Amsterdam, three minutes later
MONTHS = {"2013-7": 30 * DAY, "2013-8": 30 * DAY, "2013-9": 29 * DAY}
STARTS = np.array([0, 31 * DAY, 62 * DAY])  # a day is missing between the files
HEADER = ";\t".join(
    (
        "Timestamp [ms]", "CPU cores", "CPU capacity provisioned [MHZ]", "CPU usage [MHZ]", "CPU usage [%]",
        "Memory capacity provisioned [KB]", "Memory usage [KB]", "Disk read throughput [KB/s]",
        "Disk write throughput [KB/s]", "Network received throughput [KB/s]", "Network transmitted throughput [KB/s]",
    )
)  # fmt: skip
MHZ = 2926


@dataclass(frozen=True)
class Design:
    """A machine as it was meant: what it does in the slots [n] of the recording, before anything is lost."""

    number: int
    cores: int
    memory_mb: int
    cpu: Callable[[Array, np.random.Generator], Array]
    used: float = 0.05
    """Share of the memory in use."""
    verdict: str = "normal"
    raw: bool = False
    """Whether its original files are there, too."""
    alive: tuple[int, int] = (0, 92)
    """Days from which to which it has cores."""
    silent: tuple[int, int] = (0, 0)
    """Hours of silence, from the first to the last."""


def flat(level: float, width: float) -> Callable[[Array, np.random.Generator], Array]:
    return lambda slots, rng: level + rng.uniform(-width, width, len(slots))


def office(low: float, high: float) -> Callable[[Array, np.random.Generator], Array]:
    """Busy from 8 to 18 in Shanghai on workdays, on some days more than on others."""

    def cpu(slots: Array, rng: np.random.Generator) -> Array:
        local = (BEGIN + slots * STEP_S + 8 * 3600) // STEP_S
        hour, weekday = local % DAY // 12, (local // DAY + 3) % 7
        working = (weekday < 5) & (hour >= 8) & (hour < 18)
        today = rng.uniform(0.75, 1.25, int(slots[-1]) // DAY + 2)[(local - local[0] + local[0] % DAY) // DAY]
        return np.where(working, high, low) * today * rng.uniform(0.9, 1.1, len(slots))

    return cpu


def bursts(low: float, high: float, share: float) -> Callable[[Array, np.random.Generator], Array]:
    return lambda slots, rng: np.where(rng.random(len(slots)) < share, high, low) * rng.uniform(0.95, 1.05, len(slots))


FLEET = (
    Design(1, 4, 8192, office(6, 40), raw=True),
    Design(2, 2, 4096, flat(1.5, 1), verdict="idle", raw=True),
    Design(3, 8, 16384, flat(0.8, 0.6), verdict="idle", alive=(20, 92)),
    Design(4, 8, 8192, bursts(92, 101, 0.3), used=0.4, verdict="busy", raw=True),
    Design(5, 2, 4096, office(12, 55), used=0.2),
    Design(6, 4, 16384, bursts(3, 60, 0.02), verdict="idle", raw=True, alive=(0, 62)),
    Design(7, 8, 8192, office(8, 35), used=0.4, raw=True, alive=(40, 92)),
    Design(8, 1, 2048, flat(2, 1), verdict="idle", raw=True),
    Design(9, 4, 8192, bursts(15, 70, 0.03), silent=(800, 1224)),
    Design(10, 16, 65536, flat(3, 2), verdict="idle", silent=(0, 480)),
    Design(11, 4, 4096, flat(25, 10), silent=(2000, 2208)),
    Design(12, 4, 8192, office(10, 30), used=0.35),
    Design(13, 2, 96, flat(12, 4), used=2.0),
)
FROZEN, RESIZED, MOVING = 8, 12, 13
FROZEN_AT = slice(70 * DAY, 72 * DAY)


def rnd() -> Recording:
    """The generated Rnd: thirteen machines over three monthly files."""
    slots = np.concatenate([start + np.arange(n) for start, n in zip(STARTS, MONTHS.values(), strict=True)])
    made = [_machine(design, slots) for design in FLEET]
    rows = {name: np.concatenate([one.rows[name] for one in made]) for name in made[0].rows}
    table = pa.table({"vm_id": pa.array(np.repeat([m.truth.name for m in made], [m.distinct for m in made]))} | rows)
    counts = {
        "rows": len(table),
        "zero_cores": int((rows["cpu_cores"] == 0).sum()),
        "over_100": int((rows["cpu_pct"] > 100).sum()),
        "raw_rows": sum(len(one.written) for one in made if one.design.raw),
        "raw_duplicates": sum(len(one.written) - one.distinct for one in made if one.design.raw),
        "clipped": int((rows["mem_used_mb"] > 6.5534 * rows["mem_total_mb"]).sum()),
    }
    raw = {
        f"bitbrains_rnd/{month}/{one.design.number}.csv": text
        for one in made
        if one.design.raw
        for month, text in one.files().items()
    }
    return Recording("bitbrains_rnd", table, tuple(one.truth for one in made), counts, raw)


@dataclass(frozen=True)
class _Made:
    design: Design
    truth: Machine
    rows: dict[str, Array]
    written: Array
    """Which row each line of the original is."""

    @property
    def distinct(self) -> int:
        return len(self.rows["ts"])

    def files(self) -> dict[str, str]:
        """Month → its original file."""
        month = np.searchsorted(BEGIN // STEP_S + STARTS, self.rows["ts"][self.written] // STEP_S, side="right") - 1
        lines = self._lines()
        found = {}
        for number, name in enumerate(MONTHS):
            mine = [lines[row] for row in self.written[month == number].tolist()]
            if mine:
                found[name] = "\n".join([HEADER, *mine, ""])
        return found

    def _lines(self) -> list[str]:
        columns = [one.tolist() for one in self.rows.values()]
        return [
            f"{ts};\t{cores};\t{cap:.1f};\t{cap * cpu / 100:.4f};\t{cpu + 0.0031 * (cpu > 0):.6f};\t"
            f"{total * 1024:.1f};\t{used * 1024:.1f};\t{dr:.1f};\t{dw:.1f};\t{rx:.1f};\t{tx:.1f}"
            for ts, cores, cap, cpu, total, used, dr, dw, rx, tx in zip(*columns, strict=True)
        ]


def _machine(design: Design, slots: Array) -> _Made:
    rng = np.random.default_rng(design.number)
    cpu = np.round(np.maximum(design.cpu(slots, rng), 0), 2)
    second = design.number * 7 % 90  # of a machine's own, within the slot
    at = slots
    total = np.full(len(slots), design.memory_mb)
    used = np.round(design.memory_mb * design.used * rng.uniform(0.8, 1.2, len(slots))).astype(np.int64)
    used[rng.random(len(slots)) < 0.05] = 0  # hypervisors say active memory: none at times
    cores = np.where((at >= design.alive[0] * DAY) & (at < design.alive[1] * DAY), design.cores, 0)
    if design.number == RESIZED:
        cores = np.where(at >= 46 * DAY, design.cores * 2, cores)
    if design.number == MOVING:
        total = total + at // DAY % 5 * 8
        used[::400] = 7 * total[::400]  # beyond what a per cent can hold
    if design.number == 4:
        cpu[5000] = 182.13
    if design.number == FROZEN:
        for column in (cpu, used):
            column[FROZEN_AT] = column[FROZEN_AT.start]
    kept = ~((at >= 16 * DAY) & (at < 16 * DAY + 31 * 12)) | (design.number in (2, 5))
    kept &= ~((at >= design.silent[0] * 12) & (at < design.silent[1] * 12))
    at, cpu, total, used, cores = (one[kept] for one in (at, cpu, total, used, cores))
    live = cores > 0
    cpu, total, used = (np.where(live, one, 0) for one in (cpu, total, used))
    ts = BEGIN + at * STEP_S + second
    busy = np.round(np.where(live, cpu / 10, 0), 1)
    still = design.number == FROZEN
    rows = {
        "ts": ts,
        "cpu_cores": cores.astype(np.int16),
        "cpu_cap_mhz": (cores * MHZ).astype(np.int32),
        "cpu_pct": cpu.astype(np.float32),
        "mem_total_mb": total.astype(np.int32),
        "mem_used_mb": used.astype(np.int32),
        "disk_read_kbs": np.zeros(len(at), np.float32),
        "disk_write_kbs": (np.full(len(at), 1.5) if still else busy).astype(np.float32),
        "net_rx_kbs": (np.full(len(at), 2.0) if still else busy * 3).astype(np.float32),
        "net_tx_kbs": (np.full(len(at), 2.0) if still else busy * 2).astype(np.float32),
    }
    truth = Machine(
        f"rnd-{design.number:03d}", ts[live], cpu[live], cores[live].astype(float),
        np.divide(100.0 * used[live], total[live], out=np.full(int(live.sum()), np.nan), where=total[live] > 0),
        design.verdict,
    )  # fmt: skip
    # Without cores: again at shifted seconds, every second slot; and every third of all such rows verbatim again.
    again = np.flatnonzero(~live)[::2]
    rows = {name: np.concatenate([one, one[again]]) for name, one in rows.items()}
    rows["ts"][len(at) :] += 41
    order = np.argsort(rows["ts"], kind="stable")
    rows = {name: one[order] for name, one in rows.items()}
    dead = np.flatnonzero(rows["cpu_cores"] == 0)[::3]
    return _Made(design, truth, rows, np.sort(np.concatenate([np.arange(len(order)), dead])))


def faststorage(machines: int = 12, days: int = 30) -> Recording:
    """Neighbouring equal readings merged into one row that ends at ``ts`` and lasted ``dur_s``."""
    made, columns = [], []
    for number in range(machines):
        rng = np.random.default_rng(100 + number)
        slots = np.arange(days * DAY)
        cores, zero = 1 + number % 4, number % 5 == 4
        level = np.round(office(2 + number, 20 + 5 * number)(slots, rng), 2)
        level[::97] = 105.5 if cores == 4 else level[::97]
        still = np.repeat(rng.random(len(slots) // 4) < 0.45, 4)  # four slots as the first of them
        level = np.where(still, np.repeat(level[::4], 4), level)
        ends = np.flatnonzero(np.append(np.diff(level) != 0, True))
        lasted = np.diff(ends, prepend=-1) * STEP_S
        ts = BEGIN + 43 * 86400 + (ends + 1) * STEP_S + number * 11
        present = np.where(zero & (np.arange(len(ends)) < 50), 0, cores)
        values = np.where(present > 0, level[ends], 0.0)
        name = f"fast-{1000 + number}"
        live = present > 0
        made.append(Machine(name, ts[live], values[live], present[live].astype(float)))
        columns.append(
            pa.table(
                {
                    "vm_id": pa.array([name] * len(ends)),
                    "ts": ts,
                    "dur_s": lasted.astype(np.int32),
                    "cpu_cores": present.astype(np.int16),
                    "cpu_cap_mhz": (present * 2600).astype(np.int32),
                    "cpu_pct": values.astype(np.float32),
                    "mem_total_mb": np.full(len(ends), 2048, np.int32),
                }
            )
        )
    table = pa.concat_tables(columns)
    counts = {"rows": len(table), "samples": int(table["dur_s"].to_numpy().sum()) // STEP_S}
    return Recording("bitbrains_faststorage50", table, tuple(made), counts)
