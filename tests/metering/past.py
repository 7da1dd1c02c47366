"""A small past for replays: a lake of six machines over forty-five days, and the book's rows for them.

office  8 cores, busy from 9 to 12 each day          quiet   8 cores, 1 % always
late    8 cores, 1 % until day 38, then 60 %         full    2 cores, 95 % always
seasons 8 cores, 1 % always, a system with a yearly cycle
young   8 cores, 1 %, seen for three days only
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import numpy as np
import pyarrow as pa
from sqlalchemy import select

from metering.lake.store import Lake
from metering.workbench import Workbench
from quota.actors import steward
from quota.calendar import ZONE
from quota.db import Book
from quota.directory import catalog, departments, pools
from quota.directory.departments import System
from quota.inventory import Resource
from quota.ledger import capacities
from quota.units import MEMORY, VCPU, Arch
from tests import lakes

DAYS = 45
GIB = 1024
SHAPES = {"2C4G": (2, 4), "4C8G": (4, 8), "8C16G": (8, 16)}
NAMES = ("office", "quiet", "late", "full", "seasons", "young")


def loads(days: int = DAYS) -> np.ndarray:
    """CPU per cent [6, days, 288], NaN = not reported."""
    cpu = np.full((6, days, 288), 1.0)
    cpu[0] = 5.0
    cpu[0, :, 9 * 12 : 12 * 12] = 45.0
    cpu[2, days - 7 :] = 60.0
    cpu[3] = 95.0
    cpu[5, : days - 3] = np.nan
    # A live machine never repeats a value for an hour: those that do are taken for frozen.
    cpu += np.random.default_rng(3).random(cpu.shape) * 0.4
    return cpu


def found_past(book: Book, works: Workbench, today: date) -> dict[str, int]:
    """Fill the book and the lake; name → resource id. The lake's last closed day is yesterday."""
    first = today - timedelta(days=DAYS)
    began = datetime.combine(first, time(), ZONE)
    with book.transaction(steward()) as tx:
        company = pools.CloudProvider(code="past", name="旧云")
        tx.add(company)
        tx.flush()
        pool = pools.Pool(
            code="xc", name="信创池", provider_id=company.id, arch="x86_64", zone="政务外网", adapter="files"
        )
        tx.add(pool)
        tx.flush()
        for kind, total in ((VCPU, 200), (MEMORY, 400 * GIB)):
            capacities.equip(tx, pool, kind, total, key=f"past:{kind}")
        group = departments.register(tx, "P", "市直部门")
        office = departments.register(tx, "P1", "市民政局", group)
        exams = departments.register(tx, "P2", "市考试院", group)
        system = System(code="exam", name="报名系统", department_id=exams.id, mlps_level=3, active=True)
        tx.add(system)
        for code, (vcpu, memory) in SHAPES.items():
            catalog.offer(tx, code, code, "vm", {VCPU: vcpu, MEMORY: memory * GIB}, [Arch.X86_64], delivery_days=2)
        tx.flush()
        ids = {}
        for name in NAMES:
            vcpu, memory = (2, 4) if name == "full" else (8, 16)
            row = Resource(
                pool_id=pool.id,
                external_id=name,
                name=name,
                kind="vm",
                arch="x86_64",
                amounts={"vcpu": vcpu, "memory": memory * GIB},
                booked={},
                state="running",
                department_id=(exams if name == "seasons" else office).id,
                system_id=system.id if name == "seasons" else None,
                basis="adopted",
                tags={},
                created_at=began - timedelta(days=1) if name != "young" else began + timedelta(days=DAYS - 3),
                first_seen_at=began,
                protected=False,
            )
            tx.add(row)
            tx.flush()
            ids[name] = row.id
    lakes.fill(works.lake, ("past", *ids.values(), first), lambda: fill(works.lake, list(ids.values()), first))
    return ids


def fill(lake: Lake, ids: list[int], first: date) -> None:
    cpu = loads()
    start = int(datetime.combine(first, time(), ZONE).timestamp())
    ts = start + np.arange(DAYS * 288, dtype=np.int64) * 300
    known = np.isfinite(cpu.reshape(6, -1))
    row, column = np.nonzero(known)
    vcpu = np.array([8, 8, 8, 2, 8, 8])
    lake.append(
        "past",
        pa.table(
            {
                "resource": np.array(ids, np.int32)[row],
                "ts": ts[column],
                "cpu_pct": cpu.reshape(6, -1)[known],
                "mem_pct": 15.0 + (column % 7) * 0.1,
                "net_rx_kbps": np.full(len(row), 2.0) + (column % 11) * 0.05,
                "net_tx_kbps": np.full(len(row), 2.0),
                "vcpu": vcpu[row],
            }
        ),
    )
    lake.roll()


def mute(book: Book, works: Workbench, today: date) -> tuple[int, int]:
    """A second pool with one machine that is as quiet as «quiet», of whose network nothing is told; ids of pool and machine."""
    with book.transaction(steward()) as tx:
        quiet = tx.scalars(select(Resource).where(Resource.name == "quiet")).one()
        one = tx.get_one(pools.Pool, quiet.pool_id)
        pool = pools.Pool(
            code="mute", name="无网络池", provider_id=one.provider_id, arch="x86_64", zone=one.zone, adapter="files"
        )
        tx.add(pool)
        tx.flush()
        row = Resource(
            pool_id=pool.id, external_id="mute", name="mute", kind="vm", arch="x86_64", amounts=quiet.amounts, booked={},
            state="running", department_id=quiet.department_id, basis="adopted", tags={}, created_at=quiet.created_at,
            first_seen_at=quiet.first_seen_at, protected=False,
        )  # fmt: skip
        tx.add(row)
        tx.flush()
        found = pool.id, row.id
    begin = int(datetime.combine(today - timedelta(days=DAYS), time(), ZONE).timestamp())
    ts = begin + np.arange(DAYS * 288, dtype=np.int64) * 300
    cpu = 1.0 + np.random.default_rng(5).random(len(ts)) * 0.4
    columns = {"cpu_pct": cpu, "mem_pct": np.full(len(ts), 15.0), "vcpu": np.full(len(ts), 8)}
    works.lake.append("mute", pa.table({"resource": np.full(len(ts), found[1], np.int32), "ts": ts, **columns}))
    works.lake.roll()
    return found
