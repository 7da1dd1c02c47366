"""The city's monthly report of 100,000 resources: gathered as of the month's end, kept as an edition, written as PDF, docx, xlsx and
HTML; pandas beside it.

pandas reads the same history and the same daily rollups and reckons what was there, whose it was, the mean CPU use of cores, its
coverage and its bands: no quantile, no memory, no ledger, no requests, cases or money, nothing kept and nothing drawn.
"""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from benchmarks.bench_statements import RESOURCES, house, prepare_house
from benchmarks.harness import Watch, Within, work
from console import reports
from metering.reports import BANDS, ReportEdition, ReportInputs, editions, periods
from quota.actors import steward

MONTH, NIGHT = "2026-10", date(2026, 11, 2)
CHECK = "report.npy"


def ours(home: Path, watch: Watch) -> float:
    for beside in home.glob("book.db*"):
        beside.unlink()
    shutil.copyfile(home / "book.before", home / "book.db")
    works = house(home, NIGHT)
    with watch:
        made = editions.make(works, "city", periods.period(MONTH), actor=steward("bench"))
        with works.book.reading() as tx:
            edition = tx.get_one(ReportEdition, made.id)
            whole = reports.document(tx, edition, ZoneInfo("Asia/Shanghai"))
        files = reports.drawn(whole, reports.FORMATS)
    with works.book.reading() as tx:
        told = tx.get_one(ReportInputs, made.inputs_digest).document()
    works.book.dispose()
    assert min(map(len, files.values())) > 10_000
    use = told["use"]
    agree(
        home,
        use["whole"]["machines"],
        use["whole"]["vcpu"],
        use["whole"]["cpu"],
        [one["machines"] for one in use["bands"]],
    )
    return float(RESOURCES)


def pandas(home: Path, watch: Watch) -> float:
    import pandas as pd
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{home / 'book.before'}")
    with watch:
        changes = pd.read_sql(
            "SELECT c.resource_id, c.after, r.department_id, r.pool_id FROM resource_changes c JOIN resources r ON "
            "r.id = c.resource_id WHERE c.at < '2026-10-31 16:00:00' ORDER BY c.resource_id, c.at, c.id",
            engine,
        )
        after = changes["after"].map(json.loads)
        changes["vcpu"] = after.map(lambda one: one.get("amounts", {}).get("vcpu"))
        changes["state"] = after.map(lambda one: one.get("state"))
        there = changes.groupby("resource_id").agg(
            {"vcpu": "last", "state": "last", "department_id": "last", "pool_id": "last"}
        )
        there = there[there["state"].notna()]
        days = [
            pd.read_parquet(path, columns=["resource", "cpu_pct_n", "cpu_pct_sum"])
            for path in sorted((home / "lake" / "daily").glob("2026-10-*.parquet"))
        ]
        used = pd.concat(days).groupby("resource").sum()
        there = there.join(used)
        there["cpu"] = there["cpu_pct_sum"] / 100 / there["cpu_pct_n"]
        there["coverage"] = there["cpu_pct_n"] / (31 * 288)
        known = there[there["cpu"].notna()]
        mean = float((known["cpu"] * known["vcpu"]).sum() / known["vcpu"].sum())
        by_owner = there.groupby("department_id")["vcpu"].agg(["sum", "count"])
        by_pool = there.groupby("pool_id")["vcpu"].agg(["sum", "count"])
        covered = there["cpu"].where(there["coverage"] >= 0.9)
        counts = pd.cut(covered, [*BANDS, np.inf], right=False).value_counts(sort=False).tolist()
    assert len(by_owner) == 50
    assert len(by_pool) == 1
    agree(home, len(there), int(there["vcpu"].sum()), round(mean, 2), [*counts, int(covered.isna().sum())])
    return float(RESOURCES)


def agree(home: Path, machines: int, vcpu: int, cpu: float, bands: list[int]) -> None:
    """Whoever comes second must have found the same."""
    found = [machines, vcpu, cpu, *bands]
    path = home / CHECK
    if path.exists():
        assert np.allclose(np.load(path), found, atol=0.011), (np.load(path).tolist(), found)
    else:
        np.save(path, np.array(found, float))


work(
    "report",
    "the city's monthly report of 100,000 resources, as of its end, kept, and written in four formats (pandas: part of its figures)",
    unit="resources",
    reach=Within(20),
    prepare=prepare_house,
    contenders={"guanjia": ours, "pandas": pandas},
)
