"""A city's samples for measuring: load that follows the hours, weekends, machines of every kind; the same every time."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from metering.lake.store import Lake
from providers.metrics import SLOTS, STEP_S

FIRST = date(2026, 9, 21)
MIDNIGHT = int(datetime(2026, 9, 20, 16, tzinfo=UTC).timestamp())
SENT = ("cpu_pct", "mem_pct", "disk_pct", "net_rx_kbps", "net_tx_kbps", "disk_read_kbs")


class Fleet:
    """`n` machines with ids from 0."""

    def __init__(self, n: int, seed: int = 7) -> None:
        rng = np.random.default_rng(seed)
        self.n = n
        self.ids = np.arange(n, dtype=np.int32)
        self.level = rng.gamma(1.5, 12, n)
        self.swing = rng.uniform(0, 0.8, n)
        self.phase = rng.normal(0, 0.6, n)
        self.mem = rng.uniform(10, 80, n)
        self.disk = rng.uniform(5, 90, n).round(2)
        self.net = rng.gamma(1, 40, n)
        self.weekend = np.where(rng.random(n) < 0.6, 0.3, 1.0)

    def batch(self, slot: int, metrics: tuple[str, ...] = SENT) -> pa.Table:
        """One sample of every machine, `slot` slots after the first midnight."""
        rng = np.random.default_rng(abs(slot))
        hour = (slot % SLOTS) / 12
        quiet = self.weekend if (FIRST + timedelta(days=slot // SLOTS)).weekday() >= 5 else 1.0
        busy = 1 + self.swing * np.sin((hour - 8) / 24 * 2 * np.pi + self.phase)
        columns = {
            "resource": self.ids,
            "ts": np.full(self.n, MIDNIGHT + slot * STEP_S + 3, np.int64),
            "cpu_pct": np.clip(self.level * busy * quiet + rng.normal(0, 2, self.n), 0, 105).round(2),
            "mem_pct": np.clip(self.mem + rng.normal(0, 0.4, self.n), 0, 100).round(2),
            "disk_pct": self.disk,
            "net_rx_kbps": (self.net * rng.gamma(2, 0.5, self.n)).round(1),
            "net_tx_kbps": (self.net * rng.gamma(2, 0.4, self.n)).round(1),
            "disk_read_kbs": rng.gamma(0.3, 20, self.n).round(1),
        }
        return pa.table({name: columns[name] for name in ("resource", "ts", *metrics)})


def closed(root: Path, machines: int, days: int, *, distinct: int = 3, metrics: tuple[str, ...] = SENT[:2]) -> Lake:
    """A lake of `machines` over `days` closed days. `distinct` days are delivered and closed as any; the others are
    copies of their files under another day's name, read like any file: making them all would take an hour."""
    lake = Lake(root)
    fleet = Fleet(machines)
    for day in range(min(distinct, days)):
        for hour in range(24):
            slots = range(day * SLOTS + hour * 12, day * SLOTS + hour * 12 + 12)
            lake.append("bench", pa.concat_tables([fleet.batch(slot, metrics) for slot in slots]))
        lake.roll()
    for day in range(distinct, days):
        for kind in ("days", "hours", "daily"):
            source = lake.path(kind, FIRST + timedelta(days=day % distinct))
            shutil.copyfile(source, lake.path(kind, FIRST + timedelta(days=day)))
    os.sync()
    return lake
