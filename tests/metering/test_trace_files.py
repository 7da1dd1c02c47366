"""Trace files as people have them: what cannot be used is named, what can gives the figures of the clean file."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metering.sizing import backtest, traces

N = 4 * 288


def table() -> pa.Table:
    """Two machines over four days."""
    rng = np.random.default_rng(11)
    ts = 1_372_629_600 + np.arange(N, dtype=np.int64) * 300
    cpu = np.round(rng.gamma(2, 8, 2 * N), 2)
    return pa.table(
        {"vm_id": ["a"] * N + ["b"] * N, "ts": np.tile(ts, 2), "cpu_pct": cpu, "cpu_cores": np.full(2 * N, 4)}
    )


def read(tmp_path, of: pa.Table) -> traces.Series:
    pq.write_table(of, tmp_path / "t.parquet")
    return traces.load(tmp_path / "t.parquet")


def changed(of: pa.Table, name: str, values) -> pa.Table:
    return of.set_column(of.column_names.index(name), name, pa.array(values))


def marks(series: traces.Series) -> list[float]:
    found = backtest.run(series, ["steward-safe", "p95x1.15"])
    return [float(one.size.sum()) for one in found.values()] + [int(one.violations.sum()) for one in found.values()]


@pytest.mark.parametrize("how", ["shuffled", "repeated", "timestamps", "zoned", "text", "float cores", "whole ids"])
def test_the_same_however_it_is_written(tmp_path, how):
    clean = table()
    ts = clean["ts"].to_numpy()
    other = {
        "shuffled": lambda: clean.take(pa.array(np.random.default_rng(1).permutation(len(clean)))),
        "repeated": lambda: pa.concat_tables([clean, clean]),
        "timestamps": lambda: changed(clean, "ts", (ts * 1_000_000).astype("datetime64[us]")),
        "zoned": lambda: clean.set_column(1, "ts", clean["ts"].cast(pa.timestamp("s", "Asia/Shanghai"))),
        "text": lambda: clean.set_column(2, "cpu_pct", clean["cpu_pct"].cast(pa.string())),
        "float cores": lambda: changed(clean, "cpu_cores", np.full(2 * N, 4.0)),
        "whole ids": lambda: changed(clean, "vm_id", [1] * N + [2] * N),
    }[how]()
    assert marks(read(tmp_path, other)) == marks(read(tmp_path, clean))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1.0, 1e12])
def test_a_figure_that_cannot_be_is_no_sample(tmp_path, bad):
    clean = table()
    cpu = clean["cpu_pct"].to_numpy().copy()
    cpu[::7] = bad
    keep = np.ones(2 * N, bool)
    keep[::7] = False
    series = read(tmp_path, changed(clean, "cpu_pct", cpu))
    assert series.cpu.max() < 20_000
    assert marks(series) == marks(read(tmp_path, clean.filter(pa.array(keep))))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -4.0, 1e300])
def test_a_size_that_cannot_be_is_no_sample(tmp_path, bad):
    clean = table()
    cores = clean["cpu_cores"].to_numpy().astype(float)
    cores[::7] = bad
    keep = np.arange(2 * N) % 7 > 0
    series = read(tmp_path, changed(clean, "cpu_cores", cores))
    assert marks(series) == marks(read(tmp_path, clean.filter(pa.array(keep))))


def test_times_may_have_fractions_and_holes(tmp_path):
    clean = table()
    ts = clean["ts"].to_numpy().astype(float) + 0.25
    ts[3] = np.nan
    assert len(read(tmp_path, changed(clean, "ts", ts)).slot) == 2 * N - 1


def test_memory_is_read_where_both_columns_are_there(tmp_path):
    clean = table().append_column("mem_used_mb", pa.array(np.full(2 * N, 512.0)))
    assert read(tmp_path, clean).mem is None
    both = clean.append_column("mem_total_mb", pa.array(np.full(2 * N, 2048)))
    assert set(read(tmp_path, both).mem.tolist()) == {2500}


@pytest.mark.parametrize("how", ["empty", "text", "cut off", "damaged"])
def test_what_is_no_parquet_file_is_named(tmp_path, how):
    file = tmp_path / "t.parquet"
    pq.write_table(table(), file, compression="snappy", use_dictionary=False)
    whole = file.read_bytes()
    file.write_bytes(
        {
            "empty": b"",
            "text": b"vm_id,ts,cpu_pct\n" * 99,
            "cut off": whole[:-99],
            "damaged": whole[:200] + bytes(4000) + whole[4200:],
        }[how]
    )
    with pytest.raises(ValueError, match=r"t\.parquet: (no Parquet file|damaged)"):
        traces.load(file)


def test_a_row_of_no_machine_or_no_time_is_left_out(tmp_path):
    clean = table()
    ids, ts = clean["vm_id"].to_pylist(), clean["ts"].to_pylist()
    ids[5], ts[9] = None, None
    series = read(tmp_path, changed(changed(clean, "vm_id", ids), "ts", ts))
    assert len(series.slot) == 2 * N - 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda t: t.drop_columns(["cpu_pct", "ts"]), "no column cpu_pct, ts"),
        (lambda t: changed(t, "ts", t["ts"].to_numpy() * 1000), "must be epoch seconds"),
        (lambda t: changed(t, "ts", -t["ts"].to_numpy()), "must be epoch seconds"),
        (lambda t: changed(t, "cpu_pct", ["n/a"] * len(t)), "column cpu_pct holds no numbers"),
        (lambda t: changed(t, "vm_id", [["a"]] * len(t)), "column vm_id holds no names"),
        (lambda t: t.append_column("mem_pct", pa.array(["low"] * len(t))), "column mem_pct holds no numbers"),
        (lambda t: changed(t, "ts", [0, *t["ts"].to_pylist()[1:-1], 9 * 10**10]), "span 1,041,666 days"),
        (lambda t: t.append_column("cpu_pct", t["cpu_pct"]), "more than one column cpu_pct"),
        (lambda t: changed(t, "ts", ["yesterday"] * len(t)), "column ts holds no times"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, make, said):
    with pytest.raises((ValueError, KeyError), match=said):
        read(tmp_path, make(table()))


@pytest.mark.parametrize("of", [table().slice(0, 0), changed(table(), "cpu_pct", np.full(2 * N, np.nan))])
def test_nothing_to_judge_is_said(tmp_path, of):
    with pytest.raises(ValueError, match="no machine has 576 samples"):
        backtest.run(read(tmp_path, of), ["steward-safe"])
