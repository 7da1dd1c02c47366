"""Judging at night, and replaying: our kernels beside what one would write in pandas or numpy, resource by resource."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import Broken, Rate, Watch, Within, work
from metering.judging import assess, facts
from metering.judging.policy import default
from metering.judging.seen import TRAFFIC, DailyUse
from metering.simulation import search
from metering.sizing import backtest, rightsizing, traces
from metering.sizing.rightsizing import PROFILES, SHAPES

RESOURCES = int(os.environ.get("GUANJIA_BENCH_RESOURCES", "100000"))
DAYS = 30
BLOCK = 1024
SUBSET = 500  # what the contenders that go one by one are given


def _blocks(resources: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Daily histograms of ``resources`` machines, block by block, made before the watch runs: sparse as the lake keeps
    them is not the point here, the judging is. Blocks repeat; their content does not matter to the time."""
    rng = np.random.default_rng(1)
    made = []
    for _ in range(4):
        load = rng.gamma(1.5, 6, (BLOCK, DAYS, 24)) * rng.uniform(0.1, 3, (BLOCK, 1, 1))
        bins = np.minimum((load * 2).astype(np.int64), 200)
        cell = (np.arange(BLOCK * DAYS) * 201)[:, None] + bins.reshape(BLOCK * DAYS, 24)
        counts = np.bincount(cell.ravel(), minlength=BLOCK * DAYS * 201).reshape(BLOCK, DAYS, 201) * 12
        made.append((counts.astype(np.uint16), load.sum(axis=2) * 12, load.max(axis=2)))
    for low in range(0, resources, BLOCK):
        yield tuple(one[: min(BLOCK, resources - low)] for one in made[low // BLOCK % 4])


def _offered() -> np.ndarray:
    return np.array(sorted({100.0 * shape.vcpu / 16 for shape in SHAPES if shape.vcpu <= 16}))


def ours(_home: Path, watch: Watch) -> float:
    policy, profile, offered = default(), PROFILES["steward-safe"], _offered()
    blocks = _blocks(RESOURCES)
    done = 0
    while True:
        block = next(blocks, None)
        if block is None:
            return float(done)
        counts, total, peak = block
        r = len(counts)
        with watch:
            live = counts.sum(axis=2, dtype=np.int64)
            nothing = np.zeros_like(live)
            use = DailyUse(counts, total, peak)
            # Memory is judged as CPU is: twice the work.
            given = {
                "cpu_pct": use,
                "mem_pct": use,
                TRAFFIC: DailyUse(n=live, total=live * 50.0),
                "disk_pct": DailyUse(last=np.full((r, DAYS), 40.0)),
            }
            seen = facts.measure_daily(given, live, nothing, nothing, policy=policy)
            found = assess.judge(seen, policy)
            sized = rightsizing.outlook(counts, peak, profile, offered)
            rightsizing.memory_need(peak)
            found.counts()
            sized.recent_peak.sum()
        done += r


def one_by_one(_home: Path, watch: Watch) -> float:
    """The same figures, rules and targets with numpy, one resource at a time: what a script does."""
    profile, offered = PROFILES["steward-safe"], _offered()
    blocks = _blocks(SUBSET)
    edges = np.arange(201) * 0.5
    done = 0
    for counts, total, peak in blocks:
        with watch:
            for i in range(len(counts)):
                for _metric in ("cpu", "mem"):
                    for span in (7, 14, 30):
                        merged = counts[i, -span:].sum(axis=0, dtype=np.int64)
                        n = merged.sum()
                        ranks = np.searchsorted(np.cumsum(merged), np.array([0.5, 0.95, 0.99]) * n)
                        figures = (edges[ranks], total[i, -span:].sum() / n, peak[i, -span:].mean())
                        hot = (counts[i, -span:, 180:].sum(axis=1) >= 6).sum()
                        _ = figures[0][1] < 5 or figures[1] < 10 or hot >= 3
                heap, wanted = np.zeros(201), []
                for day in range(DAYS):
                    heap = heap * 2 ** (-1 / profile.half_life_days) + counts[i, day]
                    if day >= DAYS - 7:
                        above = np.cumsum(heap[::-1])[::-1] / heap.sum()
                        into = ((offered - 1) * 2).astype(int)
                        wanted.append(offered[np.argmin(offered / 100 + profile.regret * above[into])])
                max(wanted)
                done += 1
    return float(done)


def pandas_way(_home: Path, watch: Watch) -> float:
    """The figures alone (no targets) with pandas over one row a resource, day and bin."""
    import pandas as pd

    counts, _total, peak = next(_blocks(SUBSET))
    r, d, b = np.nonzero(counts)
    frame = pd.DataFrame({"resource": r, "day": d, "bin": b, "n": counts[r, d, b].astype(np.int64)})
    tops = pd.DataFrame({"resource": np.repeat(np.arange(len(peak)), DAYS), "peak": peak.ravel()})
    with watch:
        for _metric in ("cpu", "mem"):
            for span in (7, 14, 30):
                window = frame[frame["day"] >= DAYS - span]
                merged = window.groupby(["resource", "bin"])["n"].sum().reset_index()
                merged["heap"] = merged.groupby("resource")["n"].cumsum()
                merged["all"] = merged.groupby("resource")["n"].transform("sum")
                for q in (0.5, 0.95, 0.99):
                    merged[merged["heap"] >= q * merged["all"]].groupby("resource")["bin"].first()
                window.assign(w=window["bin"] * window["n"]).groupby("resource")[["w", "n"]].sum()
                window[window["bin"] >= 180].groupby(["resource", "day"])["n"].sum()
        tops.groupby("resource")["peak"].mean()
    return float(len(counts))


work(
    "judge-night",
    f"nightly judgement with targets from {DAYS} days of daily histograms, {RESOURCES:,} resources",
    unit="resources",
    reach=Within(20.0, 3000),
    contenders={
        "guanjia": ours,
        f"numpy, one by one ({SUBSET})": one_by_one,
        f"pandas, no targets ({SUBSET})": pandas_way,
    },
    rounds={"guanjia": 3},
)


# ------------------------------------------------------------------------------------------------------------ replaying

TEN = (
    "p95x1.15",
    "p99x1.15",
    "peakx1.15",
    "vpa-p95-daily",
    "peak14x1.15-daily",
    "steward-safe",
    "steward-balanced",
    "steward-economy",
    "steward-balanced+fast",
    "steward-economy+fast",
)
TRACES = Path(os.environ.get("GUANJIA_TRACES", Path(__file__).resolve().parents[2] / "shared" / "traces"))


def replay_ten(_home: Path, watch: Watch) -> float:
    with watch:
        results = backtest.run(traces.load(TRACES / "bitbrains_rnd.parquet"), TEN)
    return float(len(results) * len(results["steward-safe"]))


def replay_pandas(_home: Path, watch: Watch) -> float:
    """One policy, the 14-day peak × 1.15 from day to day, as one writes it in pandas; a twelfth of our work."""
    import pandas as pd

    with watch:
        frame = pd.read_parquet(TRACES / "bitbrains_rnd.parquet", columns=["vm_id", "ts", "cpu_pct", "cpu_cores"])
        frame = frame[frame["cpu_cores"] > 0].sort_values(["vm_id", "ts", "cpu_pct"], ascending=[True, True, False])
        frame["slot"] = frame["ts"] // 300
        frame = frame.drop_duplicates(["vm_id", "slot"])
        frame["demand"] = frame["cpu_pct"] * frame["cpu_cores"] / 100
        machines = 0
        for _name, one in frame.groupby("vm_id"):
            if len(one) < 576:
                continue
            machines += 1
            middle = one["slot"].iloc[len(one) // 2]
            day = (one["slot"] - middle) // 288
            daily = one.groupby(day)["demand"].max()
            daily = daily.reindex(range(int(daily.index.min()), int(daily.index.max()) + 1))
            size = daily.rolling(14, min_periods=1).max().shift(1).ffill() * 1.15
            judged = one[day >= 0]
            force = day[day >= 0].map(size)
            (judged["demand"] > force).mean(), (1 - force.sum() / judged["cpu_cores"].sum())
    return float(machines)


work(
    "replay",
    "replay of 243 machines × 91 days × 10 policies, file reading included",
    unit="machine × policy",
    reach=Within(60.0),
    contenders={"guanjia": replay_ten, "pandas, one policy": replay_pandas},
)


GROWING = (
    "steward-safe+fast",
    "steward-safe+swift",
    "steward-balanced+fast",
    "steward-balanced+swift",
    "steward-economy+fast",
    "steward-economy+swift",
    "steward-lean+swift",
    "steward-L40+fast",
    "steward-L5+swift",
    "p95@70+fast",
)


def replay_growing(_home: Path, watch: Watch) -> float:
    """Each in both manners, as the command tells them: twenty in all."""
    with watch:
        carried = [backtest.carrying(backtest.policy(name)) for name in GROWING]
        results = backtest.run(traces.load(TRACES / "bitbrains_rnd.parquet"), [*GROWING, *carried])
    return float(len(results) // 2 * len(results["steward-safe+fast"]))


def growing_pandas(_home: Path, watch: Watch) -> float:
    """One growing policy in one manner, `p95@70+fast` as carried out: the nights in pandas, the days in the loop that one writes. It keeps
    no hysteresis and forgets no resize, so it does less."""
    import pandas as pd

    with watch:
        frame = pd.read_parquet(TRACES / "bitbrains_rnd.parquet", columns=["vm_id", "ts", "cpu_pct", "cpu_cores"])
        frame = frame[frame["cpu_cores"] > 0].sort_values(["vm_id", "ts", "cpu_pct"], ascending=[True, True, False])
        frame["slot"] = frame["ts"] // 300
        frame = frame.drop_duplicates(["vm_id", "slot"])
        frame["demand"] = frame["cpu_pct"] * frame["cpu_cores"] / 100
        frame["day"] = (frame["slot"] + 96) // 288
        machines = 0
        for _name, one in frame.groupby("vm_id"):
            if len(one) < 576:
                continue
            machines += 1
            nights: list[pd.Series] = []
            grown, until, busy = 0.0, -1, -1
            for _day, today in one.groupby("day"):
                whole = float(today["cpu_cores"].iloc[0])
                size = pd.concat(nights[-30:]).quantile(0.95) / 0.7 if len(nights) >= 7 else whole
                reach = max((float(each.max()) for each in nights[-14:]), default=0.0)
                seen = []
                for slot, demand in zip(today["slot"].tolist(), today["demand"].tolist(), strict=True):
                    force = max(size, grown) if until > slot else size
                    seen.append(min(demand, force))
                    if demand >= 0.98 * size:
                        busy = slot
                    if until > slot and slot - busy <= 12:
                        until = slot + 1 + 36
                    if demand >= 0.98 * force:
                        grown, until = min(max(2 * force, reach), 1.1 * max(whole, force) + whole / 100), slot + 1 + 36
                nights.append(pd.Series(seen))
    return float(machines)


work(
    "replay-growing",
    "replay of 243 machines × 91 days × 10 growing policies, as carried out and seen in full, file reading included",
    unit="machine × policy",
    reach=Within(20.0),
    contenders={"guanjia": replay_growing, "pandas and a loop, one policy": growing_pandas},
)

SETTINGS = int(os.environ.get("GUANJIA_BENCH_SETTINGS", "1000"))


def lay_down(home: Path) -> None:
    search.lay_down(home / "past", iter([traces.load(TRACES / "bitbrains_rnd.parquet")]))


def searched(home: Path, watch: Watch) -> float:
    """From nothing each time, with its frontier drawn."""
    (home / "past" / "results.jsonl").unlink(missing_ok=True)
    with watch:
        tried = search.search(home / "past", SETTINGS, workers=2)
        drawing = search.drawn("settings", tried)
    if len(tried) != SETTINGS or "<svg" not in drawing:
        raise Broken(f"{len(tried)} settings judged")
    return float(SETTINGS)


work(
    "search-settings",
    f"search over {SETTINGS:,} settings of a policy on 243 machines × 91 days, as carried out, two processes, its frontier drawn",
    unit="settings",
    reach=Rate(1000 / 600),
    contenders={"guanjia": searched},
    prepare=lay_down,
    rounds={"guanjia": 1},
)
