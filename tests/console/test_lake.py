"""The lake from the command line and on its page: what it says, whom, and with which exit code."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from console import founding
from console.cli.commands import main
from console.settings import Settings
from metering.intake import keeping
from metering.lake.landing import Landing
from metering.lake.retention import Keep
from metering.lake.sql import query
from metering.lake.store import Lake
from metering.workbench import Workbench
from quota.audit import AuditRecord
from quota.db import Book
from quota.errors import Invalid
from tests.metering.samples import DAY, MIDNIGHT, Sample, joined, steady, table


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Settings:
    """An empty house whose lake holds two resources over three days that are long past."""
    settings = Settings(data=tmp_path_factory.mktemp("house"))
    founding.found(settings, demo=False)
    lake = Lake(settings.lake_dir)
    lake.append("east.api", joined(steady(1, days=3, vcpu=4.0), steady(600, days=3)))
    return settings


def run(place: Settings, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["lake", *words, "--data", str(place.data)])
    assert done.exit_code == code, done.output
    return done.stdout


def test_the_commands_in_the_order_of_a_life(place):
    assert json.loads(run(place, "status", "--json"))["hot_days"] == 3
    assert json.loads(run(place, "compact", "--json"))["closed"] == [str(DAY + timedelta(days=n)) for n in range(3)]
    report = json.loads(run(place, "status", "--json"))
    assert (report["days"], report["values"], report["hot_days"]) == (3, 2 * 2 * 864, 0)
    assert report["sources"]["east.api"]["silent"] is True
    assert "silent" in run(place, "status")
    assert run(place, "verify").strip() == "clean: 9 files"
    assert json.loads(run(place, "verify", "--json")) == {"clean": True, "files": 9, "problems": []}

    lake = Lake(place.lake_dir)
    damaged = lake.path("hours", DAY)
    damaged.write_bytes(damaged.read_bytes()[:-50])
    said = run(place, "verify", code=1)
    assert str(damaged) in said
    assert said.strip().endswith("1 problems: 9 files")
    assert "rebuilt" in run(place, "rebuild")
    assert run(place, "rebuild").strip() == "0 files"
    lake.path("days", DAY).write_bytes(b"no longer")
    assert json.loads(run(place, "rebuild", "--json", code=1))["repairs"][0]["lost"] == "all samples of the day"
    lake.append("east.api", joined(steady(1, vcpu=4.0), steady(600)))
    run(place, "compact")
    run(place, "verify")


def test_the_module_runs_as_the_command_does(place):
    """As the jobs process is started."""
    words = [sys.executable, "-m", "console.cli", "lake", "status", "--json", "--data", str(place.data)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["corrections"] == 0


def test_sql_reads_the_lake_and_nothing_else(place):
    run(place, "compact")
    asked = "SELECT resource, count(*), round(avg(cpu_pct), 6), min(ts), max(vcpu) FROM samples WHERE day = '2026-09-21' GROUP BY 1 ORDER BY 1"
    rows = json.loads(run(place, "sql", asked, "--json"))["rows"]
    assert rows == [
        [one, 288, pytest.approx(steady(one)["cpu_pct"].mean(), abs=1e-6), MIDNIGHT + 7, vcpu]
        for one, vcpu in ((1, 4), (600, None))
    ]
    assert "288" in run(place, "sql", "SELECT sum(n_live) FROM hours WHERE resource = 1 AND day = '2026-09-22'")
    lake = Lake(place.lake_dir)
    for sql in (
        "DROP VIEW samples",
        "COPY (SELECT 1) TO '/tmp/out.csv'",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SET enable_external_access = true",
        "ATTACH '/tmp/x.db'",
        "SELECT nonsense FROM samples",
        "not sql",
        "SELECT error('late') FROM samples",
    ):
        with pytest.raises(Invalid):
            query(lake, sql)
    assert run(place, "sql", "DROP VIEW samples", code=1) == ""


def test_retention_deletes_by_rule_and_says_so_in_the_trail(place):
    run(place, "compact")
    assert json.loads(run(place, "retain", "--json"))["files"] == []
    run(place, "retain", "--days", "100", "--hours", "90", code=2)
    run(place, "retain", "--days", "30", code=2)
    book = Book(place.database_url)
    with book.reading() as tx:
        assert tx.query(AuditRecord).filter_by(action="lake.retain").count() == 0
    lake = Lake(place.lake_dir)
    removed = keeping.retain(Workbench(book, lake), DAY + timedelta(days=101), Keep(100, 200))
    assert [path.name for path in removed.files] == [f"{DAY}.parquet"]
    with book.reading() as tx:
        (record,) = tx.query(AuditRecord).filter_by(action="lake.retain")
        assert record.after["names"] == [f"days/{DAY}.parquet"]
        assert record.after["samples_from"] == str(DAY + timedelta(days=1))
    book.dispose()


def test_publishing_to_a_folder_and_nowhere(place, tmp_path):
    done = json.loads(run(place, "publish", str(tmp_path / "copy"), "--json"))
    assert done["copied"] >= 4
    assert (tmp_path / "copy" / "lake.json").exists()
    run(place, "publish", "nonsense://place", code=1)


def test_a_report_is_written_for_people_and_for_programs(place, tmp_path):
    run(place, "compact")
    for name, more in (("exact.csv", ()), ("near.parquet", ("--near",))):
        said = run(place, "report", "--days", "3", "--write", str(tmp_path / name), *more)
        assert said.startswith("2 resources")
    lines = (tmp_path / "exact.csv").read_text().splitlines()
    assert lines[0].startswith('"resource","cpu_n","cpu_p50","cpu_p95"')
    assert len(lines) == 3
    assert pq.read_table(tmp_path / "near.parquet")["resource"].to_pylist() == [1, 600]
    run(place, "report", "--write", str(tmp_path / "x.doc"), code=2)
    run(place, "report", "--write", str(tmp_path / "x.csv"), "--engine", "abacus", code=2)


def test_waiting_deliveries_are_laid_together_and_mean_the_same(tmp_path):
    whole, pieces = Lake(tmp_path / "whole"), Lake(tmp_path / "pieces")
    columns = [steady(1, net_rx_kbps=3.0), steady(600)]
    for lake in (whole, pieces):
        for slot in range(0, 288, 8):
            rows = [{name: column[slot : slot + 8] for name, column in one.items()} for one in columns]
            lake.append("a", joined(*rows))
            lake.append("b", table([Sample(9000, MIDNIGHT + slot * 300, (("cpu_pct", slot / 10),))]))
            lake.append("c", table([Sample(1, MIDNIGHT + slot * 300 + 30, (("card_pct", 5.0),))]))
    assert len(pieces.hot_files(DAY)) == 108
    assert pieces.compact() == 35  # b alone; a and c both report resource 1
    assert len(pieces.hot_files(DAY)) == 73
    start = datetime.fromtimestamp(MIDNIGHT, UTC)
    charts = [lake.chart(9000, start, start + timedelta(days=1), ("cpu_pct",)) for lake in (whole, pieces)]
    assert charts[0].values["cpu_pct"].tobytes() == charts[1].values["cpu_pct"].tobytes()
    pieces.append("b", table([Sample(9000, MIDNIGHT, (("cpu_pct", 77.0),))]))
    whole.append("b", table([Sample(9000, MIDNIGHT, (("cpu_pct", 77.0),))]))
    whole.roll()
    pieces.roll()
    for kind in ("days", "hours", "daily"):
        assert whole.path(kind, DAY).read_bytes() == pieces.path(kind, DAY).read_bytes()


# --- the page -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "status"),
    [("supervisor1", 200), ("sysadmin1", 200), ("auditor1", 200), ("tenant1", 403), ("provider1", 403)],
)
def test_who_sees_the_lake(client_of, login, status):
    assert client_of(login).get("/resources/lake/").status_code == status


def test_the_page_says_who_fell_silent(settings, client_of, clock):
    lake = Lake(settings.lake_dir)
    yesterday = int((clock() - timedelta(days=1)).timestamp())
    lake.append("east.api", pa.table({"resource": [1], "ts": [yesterday], "cpu_pct": [5.0]}))
    lake.roll()
    page = client_of("supervisor1").get("/resources/lake/").get_data(as_text=True)
    assert "east.api" in page
    assert "停止上报" in page
    home = client_of("supervisor1").get("/").get_data(as_text=True)
    assert "停止上报的来源" in home
    assert "停止上报的来源" not in client_of("tenant1").get("/").get_data(as_text=True)


def test_an_import_that_was_broken_off_is_named_with_what_to_do(settings, client_of, clock):
    lake = Lake(settings.lake_dir)
    with Landing(lake, "k", pool="east", named=["a.csv", "b.csv"]) as landing:
        landing.append("east.a", joined(steady(1)), clock())
        assert "导入中" in client_of("supervisor1").get("/resources/lake/").get_data(as_text=True)
        landing.land(1)
    page = client_of("supervisor1").get("/resources/lake/").get_data(as_text=True)
    assert "导入中断" in page
    assert "1 / 2 个文件已入湖" in page
    assert "a.csv、b.csv" in page


def test_the_status_says_what_became_of_an_import(place):
    lake = Lake(place.lake_dir)
    with Landing(lake, "k", pool="east", named=["a.csv", "b.csv"]) as landing:
        landing.append("east.landed", joined(steady(4000)), datetime.now(UTC))
        landing.land(1)
    assert json.loads(run(place, "status", "--json"))["imports"][0]["state"] == "broken_off"
    assert "1 of 2 files into east" in run(place, "status")
    assert "import them again" in run(place, "rebuild", code=1)
    assert json.loads(run(place, "status", "--json"))["imports"] == []
    run(place, "compact")
