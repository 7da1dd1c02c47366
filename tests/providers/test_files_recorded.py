"""Generated files with the quirks of the published ones: what is read of them is what they were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from providers.readers.refusals import Refusals
from providers.readers.usage_files import read_usage
from quota.errors import Invalid
from tests.recordings.folder import recording
from tests.recordings.others import COLLAPSED, PLANETLAB_DAYS, midnight

from .files import column, read


@pytest.fixture(scope="module")
def raw(recordings: Path) -> Path:
    return recordings / "raw"


def test_bitbrains_months_become_the_samples_that_they_were_made_of(raw: Path) -> None:
    made = recording("bitbrains_rnd")
    got = read(raw / "bitbrains_rnd")
    assert {one.format for one in got.report.files} == {"bitbrains"}
    assert len(got.report.files) == sum(path.startswith("bitbrains_rnd/") for path in made.raw)
    assert (got.report.rows, got.report.duplicates, got.report.refused) == (
        made.counts["raw_rows"], made.counts["raw_duplicates"], 0,
    )  # fmt: skip
    assert got.notes == {"time.header_unit"}  # [ms] over seconds
    for number in {Path(path).stem for path in made.raw if path.startswith("bitbrains_rnd/")}:
        true = made.machine(f"rnd-{int(number):03d}")
        live = column(got.batches, "vcpu", number) > 0
        assert (column(got.batches, "ts", number)[live] == true.ts).all()
        assert (column(got.batches, "vcpu", number)[live] == true.cores).all()
        assert np.abs(column(got.batches, "cpu_pct", number)[live] - true.cpu).max() <= 0.0051
        assert np.abs(column(got.batches, "mem_pct", number)[live] - true.mem).max() <= 0.0051


def test_rows_without_cores_stay_as_state(raw: Path) -> None:
    """The machine starts in August: its month has both."""
    cores = column(read(raw / "bitbrains_rnd" / "2013-8" / "7.csv").batches, "vcpu", "7")
    assert set(cores.tolist()) == {0, 8}


def test_cpu_over_100_and_memory_over_provisioned_are_kept(recordings: Path) -> None:
    made = recording("bitbrains_rnd")
    got = read(recordings / "bitbrains_rnd.parquet")
    assert got.report.taken == got.report.rows == made.counts["rows"]
    columns = {
        name: np.concatenate([b.table[name].to_numpy() for b in got.batches]) for name in ("cpu_pct", "vcpu", "mem_pct")
    }
    assert (columns["cpu_pct"] > 100).sum() == made.counts["over_100"] > 0
    assert columns["cpu_pct"].max() == np.float32(182.13)
    assert (columns["vcpu"] == 0).sum() == made.counts["zero_cores"] > 0
    assert (columns["mem_pct"] == np.float32(655.34)).sum() == made.counts["clipped"] > 0
    assert "value.clipped" in got.notes


@pytest.mark.parametrize("day", [PLANETLAB_DAYS[0], PLANETLAB_DAYS[-1]])
def test_planetlab(raw: Path, day: str) -> None:
    made = recording("planetlab_cloudsim")
    got = read(raw / "planetlab" / day)
    assert got.report.taken == 288 * len(got.report.files) > 0
    assert any(" " in one.file for one in got.report.files)
    for one in got.report.files:
        true = made.machine(one.file)
        of_day = (true.ts >= midnight(day)) & (true.ts < midnight(day) + 86400)
        assert (column(got.batches, "ts", one.file) == true.ts[of_day]).all()
        assert (column(got.batches, "cpu_pct", one.file) == true.cpu[of_day]).all()


def test_google(raw: Path) -> None:
    made = recording("google2011_gcd1600")
    got = read(raw / "google2011_gcd")
    assert {one.format for one in got.report.files} == {"gcd"}
    assert got.report.taken == made.counts["rows"]
    for true in made.machines:
        assert (column(got.batches, "ts", true.name) == true.ts).all()
        assert np.abs(column(got.batches, "cpu_pct", true.name) - true.cpu).max() < 0.0051
        assert np.abs(column(got.batches, "mem_pct", true.name) - true.mem).max() < 0.0051


def test_cloudwatch(raw: Path) -> None:
    made = recording("nab_aws_cloudwatch")
    got = read(raw / "nab")
    assert [(one.file, one.error.code) for one in got.report.failed if one.error] == [
        ("grok_asg_anomaly.csv", "metric.unknown")  # the name tells of no metric that is known
    ]
    for true in made.machines:
        assert (column(got.batches, "ts", true.name) == true.ts).all()
        assert np.allclose(column(got.batches, "cpu_pct", true.name), true.cpu)
    bytes_in = made.raw["nab/ec2_network_in_257a54.csv"].splitlines()[1]
    inward = column(got.batches, "net_rx_kbps", "ec2_network_in_257a54")
    assert inward[0] == pytest.approx(float(bytes_in.split(",")[1]) * 8 / 1000 / 300)


def test_twelve_rows_of_one_moment_all_stay(raw: Path) -> None:
    got = read(raw / "nab" / "ec2_network_in_257a54.csv")
    assert sum(row["ts"] == COLLAPSED for row in got.rows()) + got.report.duplicates == 12
    assert "time.same" in got.notes


def test_a_merged_row_stands_for_the_time_before_it(recordings: Path) -> None:
    """Rows end at ``ts``: each begins where the one before ends, so spreading fills the gaps exactly."""
    made = recording("bitbrains_faststorage50")
    got = read(recordings / "bitbrains_faststorage50.parquet")
    assert got.report.files[0].format == "merged"
    assert (got.report.rows, got.report.samples) == (made.counts["rows"], made.counts["samples"])
    for true in made.machines:
        mine = column(got.batches, "ts", true.name)
        assert (np.diff(mine) == 300).all()
        assert set(true.ts.tolist()) <= set(mine.tolist())


@pytest.mark.parametrize("name", ["azure_v1_sample177", "google2011_gcd1600", "planetlab_cloudsim"])
def test_other_parquet_traces_are_taken_whole(recordings: Path, name: str) -> None:
    got = read(recordings / f"{name}.parquet")
    assert got.report.taken == got.report.samples == recording(name).counts["rows"]


def test_the_long_trace(recordings: Path) -> None:
    made = recording("nab_aws_cloudwatch")
    one = read(recordings / "nab_aws_cloudwatch.parquet").report.files[0]
    assert one.format == "long"
    assert one.reasons == {"metric.unknown": made.counts["unknown"]}
    assert one.rows == made.counts["rows"]


def test_reading_again_gives_the_same_batches(traces: Path) -> None:
    folder = traces / "raw" / "bitbrains_rnd" / "2013-9"
    first, second = read(folder), read(folder)
    assert [b.source for b in first.batches] == [b.source for b in second.batches]
    assert first.rows() == second.rows()
    assert len(first.rows()) == first.report.taken


def test_batches_are_bounded_and_lose_nothing(traces: Path) -> None:
    report = Refusals()
    batches = list(read_usage(traces / "raw" / "bitbrains_rnd", report, batch_rows=10_000))
    assert max(batch.table.num_rows for batch in batches) <= 10_000
    assert sum(batch.table.num_rows for batch in batches) == report.taken
    assert len({batch.source for batch in batches}) == len(batches)


def test_a_format_that_is_told_and_is_not_there(raw: Path) -> None:
    with pytest.raises(Invalid, match=r"file\.format"):
        read(raw / "nab" / "ec2_cpu_utilization_24ae8d.csv", format="bitbrains")
