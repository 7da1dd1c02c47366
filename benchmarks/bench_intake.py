"""Files to the lake: the Parquet trace, Bitbrains CSV; and the whole loop on 243 machines.

Read, checked, made durable and closed into days. Beside it what people do with such files today: pandas, a database.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from sqlalchemy import create_engine

from benchmarks.harness import Rate, Watch, Within, work
from console.cli import rehearse
from console.schema import models  # noqa: F401 - every table is known
from metering.intake import imports
from metering.lake.store import Lake
from metering.workbench import Workbench
from providers import observation
from providers.readers.refusals import Refusals
from providers.readers.usage_columns import BITBRAINS
from providers.readers.usage_files import find_usage, read_usage_files
from providers.readers.usage_inventory import inventory_from_usage
from quota.actors import steward
from quota.base import Base
from quota.db import Book
from quota.directory.pools import CloudProvider, Pool
from quota.units import Arch

TRACES = Path(os.environ.get("GUANJIA_TRACES", Path(__file__).resolve().parents[2] / "shared" / "traces"))
TRACE = TRACES / "bitbrains_rnd.parquet"
MACHINES, ROWS = 48, 8928


def house(home: Path) -> tuple[Workbench, Pool]:
    """An empty house with one pool, another one in each round."""
    base = Path(tempfile.mkdtemp(prefix="house-", dir=home))
    book = Book(f"sqlite:///{base / 'book.db'}")
    Base.metadata.create_all(book.engine)
    with book.transaction(steward("bench")) as tx:
        company = CloudProvider(code="c", name="c")
        tx.add(company)
        tx.flush()
        pool = Pool(code="p", name="p", provider_id=company.id, arch="x86_64", zone="z", adapter="files")
        tx.add(pool)
    return Workbench(book, Lake(base / "lake"), base), pool


def imported(home: Path, watch: Watch, path: Path) -> float:
    """What ``guanjia import usage`` does, machines registered from an earlier look; to the last fsync, days closed."""
    works, pool = house(home)
    looked = read_usage_files(find_usage(path, Refusals()), Refusals())
    listing = inventory_from_usage(looked, arch=Arch(pool.arch))
    with works.book.transaction(steward("bench")) as tx:
        observation.observe(tx, tx.get_one(Pool, pool.id), listing)
    with watch:
        found = imports.import_usage(works, pool, [path])
    assert found.report.refused == 0
    assert not found.unknown
    return found.report.rows


def parquet(home: Path, watch: Watch) -> float:
    return imported(home, watch, TRACE)


def parquet_in_pandas(_home: Path, watch: Watch) -> float:
    """Read, one canonical row a slot, hourly means: what a notebook does; nothing is checked and nothing kept."""
    with watch:
        frame = pd.read_parquet(TRACE)
        frame = frame[frame.cpu_cores > 0].sort_values(["vm_id", "ts", "cpu_pct"], ascending=[True, True, False])
        frame = frame.assign(slot=frame.ts // 300).drop_duplicates(["vm_id", "slot"])
        hourly = frame.groupby(["vm_id", frame.ts // 3600]).mean(numeric_only=True)
    assert len(hourly)
    return float(pq.read_metadata(TRACE).num_rows)


def parquet_in_sqlite(home: Path, watch: Watch) -> float:
    """The first million rows through SQLAlchemy into SQLite, keyed by machine and time."""
    rows = 1_000_000
    frame = pd.read_parquet(TRACE).iloc[:rows]
    engine = create_engine(f"sqlite:///{tempfile.mkdtemp(dir=home)}/rows.db")
    with watch, engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE samples (vm_id TEXT, ts INTEGER, cpu REAL, mem REAL, rx REAL, tx REAL)"
        )
        connection.exec_driver_sql(
            "INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?)",
            list(
                frame[["vm_id", "ts", "cpu_pct", "mem_used_mb", "net_rx_kbs", "net_tx_kbs"]].itertuples(
                    index=False, name=None
                )
            ),
        )
    engine.dispose()
    return float(rows)


def write_csv(home: Path) -> None:
    """48 machines' month in the original layout: one file a machine."""
    folder = home / "csv"
    folder.mkdir()
    rng = np.random.default_rng(1)
    start = int(datetime(2013, 8, 1, tzinfo=UTC).timestamp())
    for machine in range(MACHINES):
        load = rng.gamma(2, 4, ROWS).clip(0, 100).round(2)
        rates = rng.exponential(5, (ROWS, 4)).round(1)
        used = rng.uniform(1e6, 4e6, ROWS).round()
        with (folder / f"{machine + 1}.csv").open("w") as file:
            file.write(";\t".join(BITBRAINS) + "\n")
            file.writelines(
                f"{start + 300 * n};\t4;\t10400.0;\t{104 * load[n]:.2f};\t{load[n]};\t8388608.0;\t{used[n]};\t"
                f"{rates[n, 0]};\t{rates[n, 1]};\t{rates[n, 2]};\t{rates[n, 3]}\n"
                for n in range(ROWS)
            )


def csv(home: Path, watch: Watch) -> float:
    return imported(home, watch, home / "csv")


def csv_in_pandas(home: Path, watch: Watch) -> float:
    """read_csv and to_sql, as a script would."""
    path = Path(tempfile.mkdtemp(dir=home)) / "rows.db"
    path.unlink(missing_ok=True)
    book = sqlite3.connect(path)
    rows = 0
    with watch:
        for file in sorted((home / "csv").iterdir()):
            frame = pd.read_csv(file, sep=";\t", engine="python", names=[f"c{n}" for n in range(11)], skiprows=1)
            frame.insert(0, "vm", file.stem)
            frame.to_sql("samples", book, if_exists="append", index=False)
            rows += len(frame)
        book.commit()
    book.close()
    return float(rows)


def whole_loop(_home: Path, watch: Watch) -> float:
    """What ``guanjia replay`` does on the 243 machines."""
    with watch:
        report = rehearse.rehearsed(TRACE, "default", lambda *_: None)
    assert report["conserved"]
    assert report["vms"] == 243
    return float(report["vms"])


work(
    "import-parquet",
    "import of the Parquet trace, days closed",
    unit="rows",
    reach=Rate(500_000),
    contenders={"guanjia": parquet, "pandas read + group": parquet_in_pandas, "SQLAlchemy + SQLite": parquet_in_sqlite},
)
work(
    "import-csv",
    "import of Bitbrains CSV, days closed",
    unit="rows",
    reach=Rate(200_000),
    prepare=write_csv,
    contenders={"guanjia": csv, "pandas + to_sql": csv_in_pandas},
)
work(
    "whole-loop",
    "the whole loop on 243 machines and a quarter of a year",
    unit="machines",
    reach=Within(90, 2000),
    contenders={"guanjia": whole_loop},
    rounds={"guanjia": 1},
)
