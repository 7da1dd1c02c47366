"""``guanjia import usage`` with files as people really have them, from the command line through to the lake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console import founding
from console.cli import commands
from console.schema import upgrade
from console.settings import Settings
from metering.intake.collection import SampleRefusal
from metering.lake.store import Lake
from providers.mappings import looks, sheet_mappings
from providers.readers import column_mapping
from quota.actors import steward
from quota.db import Book
from quota.directory import pools
from tests.providers.files import HEADER, T0, bitbrains

DAY = datetime.fromtimestamp(T0, UTC).date()
GUANJIA = Path(sys.executable).with_name("guanjia")


@dataclass
class House:
    """An empty house with one pool; what is imported is registered as the files tell it."""

    home: Path

    def words(self, *words: object) -> list[str]:
        return ["import", *map(str, words), "--data", str(self.home)]

    def run(self, *words: object) -> Result:
        """The command in this process, which has imported all that a new one would."""
        return CliRunner().invoke(commands.main, self.words(*words))

    def usage(self, *words: object, code: int = 0) -> dict[str, Any]:
        """The report of an import; checks its exit code and that rows = taken + duplicates + refused."""
        run = self.run("usage", *words, "--pool", "p", "--register", "--json")
        assert run.exit_code == code, (run.exit_code, run.stdout[-2000:], run.stderr[-2000:], run.exc_info)
        report: dict[str, Any] = json.loads(run.stdout)
        assert report["rows"] == report["taken"] + report["duplicates"] + report["refused"]
        return report

    def samples(self) -> int:
        """Samples in the closed days of the lake."""
        lake = Lake(self.home / "lake")
        days = lake.days()
        return int(sum(one.sum() for one in lake.counts(days[0], days[-1]).values())) if days else 0

    def bytes(self) -> dict[str, bytes]:
        """Every closed file of the lake."""
        root = self.home / "lake"
        return {str(one.relative_to(root)): one.read_bytes() for one in sorted(root.rglob("*.parquet"))}

    def refusals(self) -> list[tuple[str, str, int]]:
        book = Book(f"sqlite:///{self.home / 'book.db'}")
        with book.reading() as tx:
            found = [(one.source, one.reason, one.count) for one in tx.query(SampleRefusal).order_by(SampleRefusal.id)]
        book.dispose()
        return found


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("house")
    founding.found(Settings(data=home), demo=False)
    book = Book(f"sqlite:///{home / 'book.db'}")
    with book.transaction(steward()) as tx:
        company = pools.CloudProvider(code="c", name="某云")
        tx.add(company)
        tx.flush()
        tx.add(pools.Pool(code="p", name="池", provider_id=company.id, arch="x86_64", zone="政务外网", adapter="files"))
    assert upgrade.current(book) == upgrade.latest()
    book.dispose()
    return home


@pytest.fixture
def house(founded: Path, tmp_path: Path) -> House:
    import shutil

    return House(Path(shutil.copytree(founded, tmp_path / "house")))


def lines(*rows: str) -> str:
    return "\n".join((HEADER, *rows)) + "\n"


GOOD = [bitbrains(T0 + 300 * n) for n in range(12)]


def test_whole_files_go_to_the_lake_and_again_changes_nothing(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("7.csv", "8.csv"):
        (folder / name).write_text(lines(*GOOD))
    report = house.usage(folder)
    assert (report["rows"], report["taken"], report["samples_taken"], report["machines_registered"]) == (24, 24, 24, 2)
    assert house.samples() == 24
    before, refused = house.bytes(), house.refusals()
    words = house.words("usage", folder, "--pool", "p", "--register", "--json")
    run = subprocess.run([GUANJIA, *words], capture_output=True, text=True, check=True)
    again = json.loads(run.stdout)
    assert (again["taken"], again["machines_registered"], "Traceback" in run.stderr) == (24, 0, False)
    assert (house.samples(), house.refusals()) == (24, refused)
    assert house.bytes() == before


def test_machines_that_no_listing_has_shown_are_refused_by_name(house: House, tmp_path: Path) -> None:
    path = tmp_path / "7.csv"
    path.write_text(lines(*GOOD))
    run = house.run("usage", path, "--pool", "p", "--json")
    assert run.exit_code == 1
    report = json.loads(run.stdout)
    assert (report["samples_taken"], report["unknown_machines"]) == (0, {"7": 12})
    assert house.refusals() == [("import", "resource.unknown", 12)]
    assert house.samples() == 0


def test_a_dry_run_tells_and_writes_nothing(house: House, tmp_path: Path) -> None:
    path = tmp_path / "7.csv"
    path.write_text(lines(*GOOD))
    report = house.usage(path, "--dry-run")
    assert (report["samples_taken"], report["machines_registered"], report["lake_files_written"]) == (12, 1, 0)
    assert house.samples() == 0
    assert house.refusals() == []


EMPTY: dict[str, bytes] = {
    "empty": b"",
    "header alone": (HEADER + "\n").encode(),
    "column missing": lines(*GOOD).replace("Timestamp [ms]", "Something").encode(),
    "column twice": lines(*GOOD).replace("CPU usage [MHZ]", "CPU usage [%]").encode(),
    "an image": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
}


@pytest.mark.parametrize("what", EMPTY)
def test_what_cannot_be_used_is_refused_whole_and_named(house: House, tmp_path: Path, what: str) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "7.csv").write_text(lines(*GOOD))
    (tmp_path / "good" / "bad.csv").write_bytes(EMPTY[what])
    report = house.usage(tmp_path / "good", code=1)
    assert report["samples_taken"] == 12, "the others are taken"
    assert [one["file"] for one in report["files_refused"]] == ["bad.csv"]
    assert house.samples() == 12
    assert any(source == "import:bad.csv" for source, _, _ in house.refusals())
    house.usage(tmp_path / "good", code=1)
    assert len(house.refusals()) == 1, "evidence is entered once"


@pytest.mark.parametrize(
    ("content", "taken"),
    [
        (lines(*GOOD).encode("gb18030"), 12),
        (("服务器 [中文];\t" + lines(*GOOD)).encode("gb18030"), None),
        (b"\xef\xbb\xbf" + lines(*GOOD).encode(), 12),
        (lines(*GOOD).encode("utf-16"), 12),
        (lines(*GOOD).replace(";\t", ",").encode(), 12),
        (lines(*GOOD).replace(";\t", "\t").encode(), 12),
        (lines(*GOOD).replace("\n", "\r\n").encode(), 12),
    ],
    ids=["gb18030", "gb18030 header", "bom", "utf-16", "commas", "tabs", "crlf"],
)
def test_encodings_and_separators(house: House, tmp_path: Path, content: bytes, taken: int | None) -> None:
    path = tmp_path / "7.csv"
    path.write_bytes(content)
    run = house.run("usage", path, "--pool", "p", "--register", "--json")
    assert run.exit_code in (0, 1), run.stderr
    if taken is not None:
        assert json.loads(run.stdout)["samples_taken"] == taken
        assert house.samples() == taken


def test_a_line_cut_in_the_middle_costs_itself_alone(house: House, tmp_path: Path) -> None:
    path = tmp_path / "7.csv"
    path.write_text(lines(*GOOD)[:-40])
    report = house.usage(path, code=1)
    (place,) = report["examples"]
    assert (place["line"], report["refused"], report["samples_taken"]) == (13, 1, 11)
    assert house.samples() == 11


def test_bad_values_are_named_by_file_line_and_column(house: House, tmp_path: Path) -> None:
    path = tmp_path / "7.csv"
    bad = [bitbrains(T0 + 300, cpu="NaN"), bitbrains(T0 + 600, cpu=-5), bitbrains(T0 + 900, cpu="1e30")]
    bad += [bitbrains(T0 + 1200, cpu="abc"), bitbrains(T0 + 1500, rx=-1)]
    path.write_text(lines(bitbrains(T0), *bad))
    report = house.usage(path, code=1)
    assert report["values_refused"] == 5
    places = {(one["line"], one["column"], one["reason"]) for one in report["examples"]}
    assert places == {
        (3, 5, "value.nan"),
        (4, 5, "value.negative"),
        (5, 5, "value.absurd"),
        (6, 5, "value.text"),
        (7, 10, "value.negative"),
    }
    assert report["samples_taken"] == 6, "a row stays without its bad value"


def test_seconds_under_a_header_that_says_milliseconds(house: House, tmp_path: Path) -> None:
    path = tmp_path / "7.csv"
    path.write_text(lines(*GOOD))
    assert "Timestamp [ms]" in HEADER
    report = house.usage(path)
    assert "time.header_unit" in {one["code"] for one in report["notes"]}
    lake = Lake(house.home / "lake")
    assert set(lake.days()) <= {DAY, DAY + timedelta(days=1)}


def test_a_million_duplicate_rows(house: House, tmp_path: Path) -> None:
    path = tmp_path / "7.csv"
    with path.open("w") as file:
        file.write(HEADER + "\n")
        file.writelines([GOOD[0] + "\n"] * 1_000_000)
    report = house.usage(path)
    assert (report["rows"], report["taken"], report["duplicates"]) == (1_000_000, 1, 999_999)
    assert house.samples() == 1


def test_the_words_of_the_call_are_checked(house: House, tmp_path: Path) -> None:
    path = tmp_path / "7.csv"
    path.write_text(lines(*GOOD))
    assert house.run("usage", path).exit_code == 2, "which pool?"
    assert house.run("usage", path, "--pool", "p", "--format", "odd").exit_code == 2
    assert house.run("usage", tmp_path / "none.csv", "--pool", "p").exit_code == 2
    wrong = house.run("usage", path, "--pool", "nowhere")
    assert (wrong.exit_code, "nowhere" in wrong.stderr) == (1, True)
    assert House(tmp_path / "nothing").run("usage", path, "--pool", "p").exit_code == 3


def test_a_listing_is_entered_and_a_bad_one_is_not(house: House, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("id,name,kind,vcpu,memory_gb,state\nvm-1,甲,vm,4,8,running\nvm-2,乙,vm,8,16,running\n", "utf-8")
    run = house.run("inventory", path, "--pool", "p", "--json")
    assert run.exit_code == 0, run.stderr + run.stdout
    assert json.loads(run.stdout)["new"] == 2
    again = json.loads(house.run("inventory", path, "--pool", "p", "--json").stdout)
    assert (again["again"], again["new"], again["changed"]) == (True, 0, 0)
    ahead = datetime.now(UTC).timestamp() + 3600
    os.utime(path, (ahead, ahead))
    future = house.run("inventory", path, "--pool", "p")
    assert (future.exit_code, future.stdout) == (1, "")
    path.write_bytes(b"")
    assert house.run("inventory", path, "--pool", "p").exit_code == 1


def test_a_listing_that_lacks_most_of_the_pool_is_held(house: House, tmp_path: Path) -> None:
    head = "id,name,kind,vcpu,memory_gb,state\n"
    machines = [f"vm-{number},机{number},vm,4,8,running\n" for number in range(30)]
    path = tmp_path / "list.csv"

    def listed(count: int, minutes: int, *flags: str) -> tuple[int, dict[str, Any]]:
        path.write_text(head + "".join(machines[:count]), "utf-8")
        at = datetime.now(UTC).timestamp() - 86_400 + 60 * minutes
        os.utime(path, (at, at))
        run = house.run("inventory", path, "--pool", "p", "--json", *flags)
        return run.exit_code, json.loads(run.stdout)

    code, told = listed(30, 0, "--dry-run")
    assert (code, told["new"], told["dry_run"]) == (0, 30, True)
    assert listed(30, 1)[1]["new"] == 30, "the dry run had entered nothing"
    code, told = listed(3, 2, "--dry-run")
    assert (code, told["held"], told["gone"], told["standing"]) == (1, 27, 0, 30)
    assert len(told["missing"]) == 27
    code, told = listed(3, 3)
    assert (code, told["held"], told["gone"]) == (1, 27, 0)
    said = house.run("inventory", path, "--pool", "p").stdout
    assert "held: it lacks 27 of the 30 machines" in said
    code, told = listed(3, 4, "--end-missing")
    assert (code, told["held"], told["gone"]) == (0, 0, 27)


def test_how_much_a_listing_may_end_is_set(house: House, tmp_path: Path) -> None:
    (house.home / "guanjia.toml").write_text("listing_machines = 0\nlisting_percent = 50\n")
    path = tmp_path / "list.csv"
    path.write_text("id,name,kind,vcpu,memory_gb\na,甲,vm,4,8\nb,乙,vm,4,8\nc,丙,vm,4,8\n", "utf-8")
    os.utime(path, (T0, T0))
    assert house.run("inventory", path, "--pool", "p").exit_code == 0
    path.write_text("id,name,kind,vcpu,memory_gb\na,甲,vm,4,8\n", "utf-8")
    os.utime(path, (T0 + 600, T0 + 600))
    assert json.loads(house.run("inventory", path, "--pool", "p", "--json").stdout)["held"] == 2
    (house.home / "guanjia.toml").write_text("listing_percent = 101\n")
    refused = house.run("inventory", path, "--pool", "p")
    assert (refused.exit_code, "101 is not between 0 and 100" in refused.stderr) == (2, True)


def test_today_stays_open(house: House, tmp_path: Path) -> None:
    now = int(datetime.now(UTC).timestamp()) // 300 * 300 - 300
    path = tmp_path / "7.csv"
    path.write_text(lines(bitbrains(now), bitbrains(now + 86_400)))
    report = house.usage(path, code=1)
    assert report["refused_by_the_lake"] == {"row:future": 1}
    assert date.fromisoformat(report["days"][0]) >= datetime.now(UTC).date() - timedelta(days=1)


def test_a_listing_with_headings_of_its_own_says_where_to_explain_it_and_is_read_once_that_is_done(
    house: House, tmp_path: Path
) -> None:
    path = tmp_path / "cmdb.csv"
    path.write_text("资产编码,虚机名,CPU核心,内存大小\nZC-1,门户,4,8192\n")
    refused = house.run("inventory", path, "--pool", "p")
    assert refused.exit_code == 1
    assert "/inventories/new" in refused.stderr
    book = Book(f"sqlite:///{house.home / 'book.db'}")
    with book.transaction(steward()) as tx:
        look = looks.look(path)
        columns = {"id": "资产编码", "name": "虚机名", "vcpu": "CPU核心", "memory_gb": "内存大小"}
        pool = tx.query(pools.Pool).filter_by(code="p").one()
        sheet_mappings.keep(tx, pool, column_mapping.mapping(look.heads, columns, {"memory_gb": "MB"}), look)
    book.dispose()
    told = json.loads(house.run("inventory", path, "--pool", "p", "--json").stdout)
    assert (told["taken"], told["new"]) == (1, 1)
    path.write_text("资产编码,虚机名,CPU核心,内存\nZC-1,门户,4,8\n")
    changed = house.run("inventory", path, "--pool", "p")
    assert changed.exit_code == 1
    assert "内存大小" in changed.stderr
