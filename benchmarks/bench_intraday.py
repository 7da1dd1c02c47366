"""The look within the day: which of a city's machines used up their size in the last hour, out of a day's hot files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.city_samples import MIDNIGHT, SENT, Fleet
from benchmarks.harness import Broken, Watch, Within, work
from metering.intraday import last_hour
from metering.lake.store import Lake
from metering.sizing import expansion
from metering.sizing.expansion import HOUR
from metering.sizing.rightsizing import Fast
from providers.metrics import STEP_S

MACHINES = 100_000
FAST = Fast()
HOURS = 12
END = MIDNIGHT + HOURS * HOUR * STEP_S  # 12:00: half a day so far, and one file


def prepare(home: Path) -> None:
    """A day up to noon, laid together at 11:35 as the job does it, and what came since, five minutes at a time."""
    lake, fleet = Lake(home / "lake"), Fleet(MACHINES)
    slots = HOURS * HOUR
    for first in range(0, slots - 5, HOUR):
        lake.append("bench", pa.concat_tables([fleet.batch(n) for n in range(first, min(first + HOUR, slots - 5))]))
    lake.compact(2)
    for slot in range(slots - 5, slots):
        lake.append("bench", fleet.batch(slot))
    hour = np.stack([fleet.batch(n)["cpu_pct"].to_numpy() for n in range(slots - HOUR, slots)], axis=1)
    np.save(home / "expected.npy", np.flatnonzero((hour >= 100 * FAST.level).any(axis=1)))


def checked(home: Path, found: np.ndarray) -> float:
    if not np.array_equal(np.sort(found), np.load(home / "expected.npy")):
        raise Broken("not the machines that used up their size")
    return float(MACHINES)


def ours(home: Path, watch: Watch) -> float:
    with watch:
        hour = last_hour.hour(Lake(home / "lake"), datetime.fromtimestamp(END, UTC))
        size = np.full(len(hour.cpu), 100.0)
        over = expansion.sight(hour.cpu, size, size, size, FAST).over
    return checked(home, hour.resources[over])


def duckdb_way(home: Path, watch: Watch) -> float:
    """In SQL over the same files; it takes no account of machines that repeat themselves, nor of corrected samples."""
    import duckdb

    last = HOURS * HOUR
    with watch:
        rows = duckdb.sql(
            f"""
            SELECT resource FROM (
                SELECT resource, slot, max(cpu_pct) AS cpu
                FROM read_parquet('{home}/lake/hot/*/*/*.parquet')
                WHERE slot >= {last - HOUR} AND slot < {last} AND state = 1 AND cpu_pct <> 65535
                GROUP BY resource, slot
            )
            GROUP BY resource
            HAVING count(*) FILTER (cpu >= {10_000 * FAST.level}) > 0
            """
        ).fetchnumpy()["resource"]
    return checked(home, np.asarray(rows))


work(
    "look-hour",
    f"The last hour of {MACHINES:,} machines looked at, out of half a day's {len(SENT)} metrics that are still hot",
    unit="machines",
    contenders={"guanjia": ours, "DuckDB SQL": duckdb_way},
    reach=Within(5.0),
    prepare=prepare,
)
