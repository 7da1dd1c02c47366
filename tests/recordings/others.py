"""The traces of the other four sources, generated: Azure, PlanetLab, Google's jobs, CloudWatch."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from .truth import DAY, STEP_S, Array, Machine, Recording

PLANETLAB_DAYS = (
    "20110303", "20110306", "20110309", "20110322", "20110325", "20110403", "20110409", "20110411", "20110412", "20110420",
)  # fmt: skip
GOOGLE_DAYS = 10
COLLAPSED = 1394334000  # 2014-03-09 03:00, where the clock changed: the hour before fell into one moment


def midnight(day: str) -> int:
    return int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp())


def _together(machines: list[Machine], name: str, kind: str = "float32") -> pa.Table:
    values = np.concatenate([one.cpu for one in machines])
    return pa.table(
        {
            "vm_id": pa.array(np.repeat([one.name for one in machines], [len(one.ts) for one in machines])),
            "ts": np.concatenate([one.ts for one in machines]),
            name: values.astype(kind),
        }
    )


def _daily(rng: np.random.Generator, n: int, low: float, high: float) -> Array:
    """A wave of one day with noise, in per cent."""
    wave = (1 - np.cos(2 * np.pi * np.arange(n) / DAY)) / 2
    return np.asarray(np.round((low + (high - low) * wave) * rng.uniform(0.9, 1.1, n), 2))


def azure() -> Recording:
    """Averages and maxima of five minutes, machines without known cores that lived all the time."""
    n, first = 28 * DAY - 60, midnight("20161116")
    machines = []
    for number in range(6):
        rng = np.random.default_rng(200 + number)
        cpu = _daily(rng, n, 2 + number, 10 + 12 * number)
        machines.append(Machine(f"az100-{number}", first + np.arange(n) * STEP_S, cpu, np.ones(n)))
    table = _together(machines, "cpu_pct")
    most = np.minimum(100, np.round(np.concatenate([one.cpu for one in machines]) * 1.4, 2))
    return Recording(
        "azure_v1_sample177",
        table.append_column("cpu_pct_max", pa.array(most.astype(np.float32))),
        tuple(machines),
        {"rows": len(table)},
    )


def planetlab() -> Recording:
    """Whole per cents on days that are not neighbours; the same name on one day to ten; spaces in names."""
    machines, raw = [], {}
    for number in range(10):
        name = f"planetlab{number}_cs_example_edu_{' ' if number % 3 == 0 else ''}slice_{number}"
        days = PLANETLAB_DAYS[: number + 1] if number % 2 else PLANETLAB_DAYS[-1 - number :]
        ts, cpu = [], []
        for place, day in enumerate(days):
            rng = np.random.default_rng([300, number, place])
            values = np.clip(rng.gamma(2, 3 + number, DAY), 0, 99).astype(np.int64)
            ts.append(midnight(day) + np.arange(DAY) * STEP_S)
            cpu.append(values)
            raw[f"planetlab/{day}/{name}"] = "\n".join(map(str, values.tolist())) + "\n"
        n = DAY * len(days)
        machines.append(Machine(name, np.concatenate(ts), np.concatenate(cpu).astype(float), np.ones(n)))
    table = _together(machines, "cpu_pct", "int16")
    return Recording("planetlab_cloudsim", table, tuple(machines), {"rows": len(table)}, raw)


def google() -> Recording:
    """Jobs of up to ten whole days, CPU and memory; memory reaches twice the unit that it is measured in."""
    machines, raw = [], {}
    for number in range(8):
        job = 1_218_322_450 + number * 7_919
        days = [day for day in range(1, GOOGLE_DAYS + 1) if (day + number) % 6]  # not every day is there
        ts, cpu, mem = [], [], []
        for day in days:
            rng = np.random.default_rng([400, number, day])
            used = _daily(rng, DAY, 5 + number, 30 + 5 * number)
            held = np.round(rng.uniform(0.9, 1.1, DAY) * (200 if number == 7 else 20 + number), 2)
            ts.append(midnight("20110502") + (day - 1) * 86400 + np.arange(DAY) * STEP_S)
            cpu.append(used)
            mem.append(held)
            lines = [f"{a!r} {b!r}" for a, b in zip((used + 1e-10).tolist(), (held + 1e-10).tolist(), strict=True)]
            raw[f"google2011_gcd/vm_{job}_{day}"] = "\n".join(lines) + "\n"
        n = DAY * len(days)
        machines.append(Machine(f"gcd-{job}", np.concatenate(ts), np.concatenate(cpu), np.ones(n), np.concatenate(mem)))
    held = np.concatenate([one.mem for one in machines if one.mem is not None])
    table = _together(machines, "cpu_pct").append_column("mem_pct", pa.array(held.astype(np.float32)))
    return Recording("google2011_gcd1600", table, tuple(machines), {"rows": len(table)}, raw)


def cloudwatch() -> Recording:
    """One metric a series: CPU, bytes that came in (an hour of them at one moment), and one whose name tells nothing."""
    machines, columns, raw = [], [], {}
    unknown = 0
    for place, (metric, suffix) in enumerate(
        (
            ("ec2_cpu_utilization", "_24ae8d"), ("ec2_cpu_utilization", "_53ea38"), ("rds_cpu_utilization", "_cc0c53"),
            ("ec2_network_in", "_257a54"), ("grok_asg_anomaly", ""),
        )
    ):  # fmt: skip
        rng = np.random.default_rng(500 + place)
        n = 14 * DAY
        ts = (COLLAPSED // 86400 - 7) * 86400 + 97 * STEP_S + np.arange(n) * STEP_S + (0, 0, 60, 60, 0)[place]
        values = _daily(rng, n, 2 + place, 30 + 10 * place)
        if metric == "ec2_network_in":
            values = np.round(values * 10_000)
            ts[(ts >= COLLAPSED - 3600) & (ts < COLLAPSED)] = COLLAPSED
        cpu = "cpu" in metric
        unknown += n if metric == "grok_asg_anomaly" else 0
        name = metric + suffix
        if cpu:
            machines.append(Machine(name, ts, values, np.ones(n)))
        columns.append(
            pa.table(
                {
                    "vm_id": pa.array([name] * n),
                    "metric": pa.array([metric] * n),
                    "ts": ts,
                    "value": values,
                    "cpu_pct": pa.array(values.astype(np.float32) if cpu else [None] * n, pa.float32()),
                }
            )
        )
        lines = [
            f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M:%S},{v!r}"
            for t, v in zip(ts.tolist(), values.tolist(), strict=True)
        ]
        raw[f"nab/{name}.csv"] = "\n".join(["timestamp,value", *lines, ""])
    table = pa.concat_tables(columns)
    return Recording("nab_aws_cloudwatch", table, tuple(machines), {"rows": len(table), "unknown": unknown}, raw)
