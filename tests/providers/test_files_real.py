"""The original files of the published traces (raw/), read as a user has them, against the published Parquet of the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from .files import column, read


def test_bitbrains_rows_are_those_of_the_published_parquet(published: Path) -> None:
    got = read(published / "raw" / "bitbrains_rnd")
    assert [one.format for one in got.report.files] == ["bitbrains"] * 20
    assert (got.report.rows, got.report.duplicates, got.report.refused) == (179_818, 5_639, 0)
    assert got.notes == {"time.header_unit", "time.same"}  # [ms] over seconds
    table = pq.read_table(published / "bitbrains_rnd.parquet")
    for number in (39, 61, 106, 180, 446, 460):  # all three months are here
        theirs = table.filter(pc.equal(table["vm_id"], f"rnd-{number:03d}"))
        for name, original, step in (
            ("cpu_pct", "cpu_pct", 0.01),
            ("vcpu", "cpu_cores", 0.0),
            ("mem_mb", "mem_total_mb", 1.0),
            ("disk_write_kbs", "disk_write_kbs", 0.1),
        ):
            mine = column(got.batches, name, str(number))
            assert len(mine) == theirs.num_rows
            same_time = np.sort(theirs["ts"].to_numpy())
            assert (column(got.batches, "ts", str(number)) == same_time).all()
            if len(np.unique(same_time)) == len(same_time):
                assert np.abs(mine - theirs[original].to_numpy()).max() <= step * 0.51 + 1e-4


def test_rows_without_cores_stay_as_state(published: Path) -> None:
    got = read(published / "raw" / "bitbrains_rnd" / "2013-8" / "54.csv")
    cores = column(got.batches, "vcpu", "54")
    assert (cores == 0).any()
    assert (cores == 8).any()


def test_cpu_over_100_and_memory_over_provisioned_are_kept(published: Path) -> None:
    got = read(published / "bitbrains_rnd.parquet")
    assert got.report.taken == got.report.rows == 6_051_648
    over = sum(int((batch.table["cpu_pct"].to_numpy() > 100).sum()) for batch in got.batches)
    assert over == 108_005  # as reference_open.json counts them
    assert sum(int((batch.table["vcpu"].to_numpy() == 0).sum()) for batch in got.batches) == 166_828
    assert max(float(np.nanmax(batch.table["mem_pct"].to_numpy())) for batch in got.batches) == np.float32(655.34)
    assert "value.clipped" in got.notes
    assert all(batch.table.num_rows <= 2_000_000 for batch in got.batches)


@pytest.mark.parametrize("day", ["20110303", "20110411", "20110403"])
def test_planetlab(published: Path, day: str) -> None:
    got = read(published / "raw" / "planetlab" / day)
    table = pq.read_table(published / "planetlab_cloudsim.parquet")
    midnight = int(np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}", "s").astype(np.int64))
    assert got.report.taken == 288 * len(got.report.files)
    for one in got.report.files:
        theirs = table.filter(
            pc.and_(
                pc.equal(table["vm_id"], one.file),
                pc.and_(pc.greater_equal(table["ts"], midnight), pc.less(table["ts"], midnight + 86400)),
            )
        )
        assert (column(got.batches, "ts", one.file) == theirs["ts"].to_numpy()).all()
        assert (column(got.batches, "cpu_pct", one.file) == theirs["cpu_pct"].to_numpy()).all()


def test_google(published: Path) -> None:
    got = read(published / "raw" / "google2011_gcd")
    table = pq.read_table(published / "google2011_gcd1600.parquet")
    assert [one.format for one in got.report.files] == ["gcd"] * 6
    compared = 0
    for name in sorted({name for batch in got.batches for name in batch.external_ids}):
        theirs = table.filter(pc.equal(table["vm_id"], name))
        theirs = theirs.filter(pc.is_in(theirs["ts"], pc.unique(pc.cast(column(got.batches, "ts", name), "int64"))))
        for metric in ("cpu_pct", "mem_pct"):
            assert np.abs(column(got.batches, metric, name) - theirs[metric].to_numpy()).max() < 0.0051
        compared += theirs.num_rows
    assert compared == 6 * 288


def test_cloudwatch(published: Path) -> None:
    got = read(published / "raw" / "nab")
    assert [(one.file, one.error.code) for one in got.report.failed if one.error] == [
        ("grok_asg_anomaly.csv", "metric.unknown")  # the name tells of no metric that is known
    ]
    table = pq.read_table(published / "nab_aws_cloudwatch.parquet")
    for name in ("ec2_cpu_utilization_24ae8d", "rds_cpu_utilization_cc0c53"):
        theirs = table.filter(pc.equal(table["vm_id"], name))
        assert (column(got.batches, "ts", name) == theirs["ts"].to_numpy()).all()
        assert np.allclose(column(got.batches, "cpu_pct", name), theirs["value"].to_numpy())
    inward = column(got.batches, "net_rx_kbps", "ec2_network_in_257a54")
    assert inward[0] == pytest.approx(251643 * 8 / 1000 / 300)


def test_twelve_rows_of_one_moment_all_stay(published: Path) -> None:
    got = read(published / "raw" / "nab" / "ec2_network_in_5abac7.csv")
    collapsed = 1394334000  # 2014-03-09 03:00, when the clocks changed
    assert sum(row["ts"] == collapsed for row in got.rows()) + got.report.duplicates == 12
    assert "time.same" in got.notes


def test_a_merged_row_stands_for_the_time_before_it(published: Path) -> None:
    """OpenDC's rows end at ``ts``: each begins where the one before ends, so spreading fills the gaps exactly."""
    got = read(published / "bitbrains_faststorage50.parquet")
    table = pq.read_table(published / "bitbrains_faststorage50.parquet")
    assert got.report.files[0].format == "merged"
    assert got.report.samples == int(np.maximum(1, np.rint(table["dur_s"].to_numpy() / 300)).sum())
    one = "fast-1052"
    mine = column(got.batches, "ts", one)
    theirs = table.filter(pc.equal(table["vm_id"], one))
    ends, lasts = theirs["ts"].to_numpy(), theirs["dur_s"].to_numpy()
    assert (np.diff(mine) >= 299).all()
    assert set(ends) <= set(mine.tolist())
    long = int(np.argmax(lasts[1:5000])) + 1
    covered = mine[(mine > ends[long - 1]) & (mine <= ends[long])]
    assert len(covered) == round(lasts[long] / 300)
    assert (ends[long] - covered[::-1] == np.arange(len(covered)) * 300).all()


@pytest.mark.parametrize(
    ("name", "rows"),
    [("azure_v1_sample177", 679_776), ("google2011_gcd1600", 222_336), ("planetlab_cloudsim", 1_665_504)],
)
def test_other_parquet_traces_are_taken_whole(published: Path, name: str, rows: int) -> None:
    got = read(published / f"{name}.parquet")
    assert (got.report.taken, got.report.samples) == (rows, rows)


def test_the_long_trace(published: Path) -> None:
    got = read(published / "nab_aws_cloudwatch.parquet")
    one = got.report.files[0]
    assert one.format == "long"
    assert one.reasons == {"metric.unknown": 4_621 + 1_243}
    assert one.rows == 61_598
